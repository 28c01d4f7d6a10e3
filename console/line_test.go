package console

import (
	"strings"
	"testing"
	"time"

	"ankan/audit"
	"ankan/perso"
	"ankan/store"
)

// The pages of the line, with what the line's books hold.
func TestLinePages(t *testing.T) {
	h := newHouse(t)
	db := h.site.Store()
	must[any](t)(nil, db.Change(t.Context(), audit.Entry{Kind: "test.line", Actor: "test"}, func(tx *store.Tx) error {
		if err := perso.Offer(tx, perso.Run{Order: "op/1?x", Bureau: hostile}); err != nil {
			return err
		}
		if err := perso.MoveRun(tx, "op/1?x", "offered", "received"); err != nil {
			return err
		}
		at := tx.Time().Format(time.RFC3339Nano)
		for i, state := range []string{"good", "reject", "doubt", "destroyed"} {
			reason := ""
			if state == "reject" || state == "destroyed" {
				reason = string(perso.NoAnswer)
			}
			if _, err := tx.Exec(`INSERT INTO card (ord, card, keyset, chip, state, tries, reason, station, at) VALUES ($1, $2, $2, $3, $4, 1, $5, $6, $7)`,
				"op/1?x", i, "632700000000000"+string(rune('0'+i)), state, reason, "st-1/1", at); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(`INSERT INTO pace (ord, station, minute, good, reject, ms) VALUES ($1, 'st-1/1', $2, 1, 2, 3000)`, "op/1?x", tx.Time().Unix()/60); err != nil {
			return err
		}
		return perso.PutPresence(tx, perso.Presence{Name: "st-1", Readers: 2, Version: "1", Here: true})
	}))
	lead := h.as("shift-lead")
	for path, want := range map[string][]string{
		"/line":                                   {"op/1?x", "st-1", "Present", `href="/line/op%2F1%3Fx"`},
		"/line/op%2F1%3Fx":                        {"st-1/1: card in doubt", "6327000000000002", "No answer", "Ask for the destruction", "1.00 s", "33.33 %", `<rect class="col"`},
		"/line/op%2F1%3Fx/cards":                  {"6327000000000000", "In doubt", "Destroyed"},
		"/line/op%2F1%3Fx/cards?state=reject":     {"6327000000000001"},
		"/line/op%2F1%3Fx/cards?state=no&from=-1": {"6327000000000003"},
		"/line/op%2F1%3Fx/cards?from=9":           {"No chip is in this state"},
		"/line/op%2F1%3Fx/cards/1":                {"6327000000000001", "No answer"},
	} {
		body := lead.page(path)
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s does not say %q", path, w)
			}
		}
	}
	if body := lead.page("/line/op%2F1%3Fx/cards?state=reject"); strings.Contains(body, "6327000000000000") {
		t.Error("a good card among the rejects")
	}
	for _, path := range []string{"/line/none", "/line/none/cards", "/line/op%2F1%3Fx/cards/77", "/line/op%2F1%3Fx/cards/x", "/line/op%2F1%3Fx/cards/-1"} {
		if got := lead.get(path); got.code != 404 {
			t.Errorf("%s: %d", path, got.code)
		}
	}
	if body := h.as("auditor").page("/line/op%2F1%3Fx"); strings.Contains(body, "Ask for the destruction") {
		t.Error("an auditor is offered the destruction of chips")
	}
}

func TestChart(t *testing.T) {
	for _, values := range [][]int{nil, {0, 0}, {5}, {9, 4, 1}, make([]int, 24)} {
		c := newChart(say("line"), values, make([]string, len(values)), true)
		for _, col := range c.Cols {
			if col.X < chartLeft || col.X+col.W > chartRight || col.Y < chartTop || col.Y+col.H != chartFoot {
				t.Errorf("%v: %+v", values, col)
			}
		}
	}
}
