package perso

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ankan/store"
	"ankan/store/storetest"
)

// put writes rows of the line's books as they come.
func (f *plant) put(query string, args ...any) {
	f.Helper()
	f.must(f.change("test.rows", func(tx *store.Tx) error {
		_, err := tx.Exec(query, args...)
		return err
	}))
}

// tallied makes sure that the totals are what the rows come to, by the database
// and by another count.
func (f *plant) tallied(ord string) {
	f.Helper()
	wrong, err := Recount(f.store.Committed(f.Context()))
	f.must(err)
	if len(wrong) > 0 {
		f.Fatalf("%v", wrong)
	}
	var want Counts
	for _, r := range f.rows(ord) {
		*map[string]*int{"good": &want.Good, "doubt": &want.Doubt, "reject": &want.Reject, "destroyed": &want.Destroyed}[r.state]++
		if r.state == "good" && r.card != r.keyset {
			want.Remade++
		}
	}
	want.Aside = len(f.aside(ord))
	f.must(f.store.QueryRow(f.Context(), `SELECT count(*) FROM retired WHERE ord = $1`, ord).Scan(&want.Retired))
	if got, err := Chips(f.store.Committed(f.Context()), ord); err != nil || got != want {
		f.Fatalf("%+v, want %+v; %v", got, want, err)
	}
}

// Whatever is written to the line's books, their totals go with it.
func TestTotals(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 2500, 50)
	f.batch("A2", 1, 0)
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 60 {
		card, spare := r.IntN(2500), 2500+n
		chip := fmt.Sprintf("%016x", n)
		f.must(f.change("test.row", func(tx *store.Tx) error {
			var live int
			if err := tx.QueryRow(`SELECT count(*) FROM card WHERE ord = 'A1' AND card = $1 AND state <> 'destroyed'`, card).Scan(&live); err != nil || live > 0 {
				return err
			}
			keyset := card
			if r.IntN(3) == 0 {
				keyset = spare
			}
			state := []string{"doubt", "good", "reject", "destroyed"}[r.IntN(4)]
			_, err := tx.Exec(`INSERT INTO card (ord, card, keyset, chip, state, tries, reason, station, at) VALUES ('A1', $1, $2, $3, $4, 1, '', 's', '') ON CONFLICT DO NOTHING`, card, keyset, chip, state)
			return err
		}))
		if n%6 == 0 {
			f.tallied("A1")
		}
	}
	for _, q := range []string{
		`UPDATE card SET state = 'good' WHERE state = 'doubt'`, `UPDATE card SET state = 'destroyed', reason = 'status' WHERE state = 'reject'`,
		`UPDATE card SET reason = 'no answer' WHERE state = 'destroyed' AND card % 2 = 0`, `UPDATE card SET at = '2026'`, `UPDATE card SET card = 2499 WHERE card = (SELECT min(card) FROM card WHERE state = 'good')`,
		`INSERT INTO set_aside (chip, ord, reason, at) VALUES ('a', 'A1', 'wrong lot', ''), ('b', 'A1', 'wrong lot', ''), ('c', 'A1', 'wrong ATR', '')`,
		`INSERT INTO retired (ord, card) VALUES ('A1', 0), ('A1', 2400)`, `DELETE FROM retired WHERE card = 0`, `DELETE FROM set_aside WHERE chip = 'a'`,
		`DELETE FROM card WHERE state = 'good' AND keyset <> card`, `UPDATE card SET state = 'reject' WHERE state = 'destroyed'`, `DELETE FROM card WHERE state = 'good'`,
		`UPDATE card SET ord = 'A2', card = 0 WHERE keyset = (SELECT max(keyset) FROM card)`, `DELETE FROM card`,
	} {
		f.put(q)
		f.tallied("A1")
		f.tallied("A2")
	}
}

// Totals that somebody changed are told, and a line that could not go on by them
// does not.
func TestTotalsThatAreNot(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 3, 0)
	f.load(3)
	f.must(f.run(t.Context(), "A1", 1))
	f.put(`UPDATE run SET state = 'received'`)
	for _, c := range []struct{ change, want, back string }{
		{`UPDATE tally SET n = 2 WHERE what = 'good'`, "order A1: the total of good  is -1 more than its rows", `UPDATE tally SET n = 3 WHERE what = 'good'`},
		{`UPDATE made SET n = 2`, "order A1: the total of block 0 is -1 more than its rows", `UPDATE made SET n = 3`},
		{`INSERT INTO made (ord, block, n) VALUES ('A1', 9, 1)`, "order A1: the total of block 9 is 1 more than its rows", `DELETE FROM made WHERE block = 9`},
		{`INSERT INTO tally (ord, what, reason, n) VALUES ('A1', 'lost', '', 1)`, "order A1: the total of lost  is 1 more than its rows", `DELETE FROM tally WHERE what = 'lost'`},
	} {
		f.put(c.change)
		if wrong, err := Recount(f.store.Committed(t.Context())); err != nil || !slices.Equal(wrong, []string{c.want}) {
			t.Errorf("%s: %q, %v; want %q", c.change, wrong, err, c.want)
		}
		f.put(c.back)
	}
	f.put(`INSERT INTO made (ord, block, n) VALUES ('A1', 9, 1)`)
	f.want("a block that the order has not", f.run(t.Context(), "A1", 1), ErrTotals)
	f.put(`DELETE FROM made WHERE block = 9`)
	f.put(`UPDATE made SET n = 4`)
	f.want("more cards in a block than it has", f.run(t.Context(), "A1", 1), ErrTotals)
	f.put(`INSERT INTO tally (ord, what, reason, n) VALUES ('A1', 'lost', '', 1)`)
	if _, err := Count(t.Context(), f.store, "A1", 3); err == nil || !strings.Contains(err.Error(), "which no chip is") {
		t.Errorf("a total of nothing known: %v", err)
	}
	err := f.change("test.row", func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE tally SET n = -1`)
		return err
	})
	if err == nil {
		t.Error("less than no chips were written")
	}
}

// A plant that had cards before there were totals has the right ones after.
func TestTotalsOfBefore(t *testing.T) {
	f := newPlant(t)
	if storetest.OnPostgres() {
		f.path = filepath.Join(t.TempDir(), "site.db")
		f.openStore()
	}
	f.batch("A1", 30, 30)
	f.put(`INSERT INTO card (ord, card, keyset, chip, state, tries, reason, station, at) VALUES
		('A1', 0, 0, 'a', 'destroyed', 1, 'status', 's', ''), ('A1', 0, 30, 'b', 'good', 1, '', 's', ''), ('A1', 1, 1, 'c', 'good', 1, '', 's', ''), ('A1', 2, 2, 'd', 'doubt', 0, '', 's', ''),
		('A1', 3, 3, 'e', 'reject', 1, 'status', 's', '')`)
	f.put(`INSERT INTO set_aside (chip, ord, reason, at) VALUES ('f', 'A1', 'wrong lot', '')`)
	f.put(`INSERT INTO retired (ord, card) VALUES ('A1', 4)`)
	f.put(`INSERT INTO pace (ord, station, minute, good, reject, ms) VALUES ('A1', 's', 5, 1, 2, 30), ('A1', 's', 7, 3, 0, 60)`)
	f.must(f.store.Close())
	db := storetest.Open(t, f.path)
	for _, q := range []string{
		`DROP TRIGGER card_begun`, `DROP TRIGGER card_changed`, `DROP TRIGGER card_withdrawn`, `DROP TRIGGER aside_begun`, `DROP TRIGGER aside_withdrawn`, `DROP TRIGGER retired_begun`, `DROP TRIGGER retired_withdrawn`, `DROP TRIGGER pace_begun`, `DROP TRIGGER pace_changed`,
		`DROP TABLE tally`, `DROP TABLE made`, `DROP TABLE pace_station`, `DROP INDEX card_open`, `CREATE INDEX card_state ON card (ord, state)`, `DELETE FROM schema_perso WHERE version_id = 61`,
	} {
		if _, err := db.Exec(q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	f.must(db.Close())
	f.openStore()
	f.tallied("A1")
	if c := f.counts("A1", 30); c != (Counts{Cards: 30, Good: 2, Doubt: 1, Reject: 1, Destroyed: 1, Aside: 1, Remade: 1, Retired: 1, Waiting: 25}) {
		t.Errorf("%+v", c)
	}
	all, err := ByStation(t.Context(), f.store, "A1")
	f.must(err)
	if want := (Pace{Station: "s", From: time.Unix(300, 0).UTC(), Last: time.Unix(420, 0).UTC(), Good: 4, Reject: 2, Each: 15 * time.Millisecond}); len(all) != 1 || all[0] != want {
		t.Errorf("%+v, want %+v", all, want)
	}
}

// No question about a batch reads all of its cards: SQLite says how it goes about
// each, and reads no table from end to end, nor sorts what it did not find by an
// index.
func TestQuestionsAreIndexed(t *testing.T) {
	f := newPlant(t)
	f.path = filepath.Join(t.TempDir(), "site.db") // SQLite's, whatever the suite runs on
	f.openStore()
	f.must(f.store.Close())
	db := storetest.Open(t, f.path)
	for name, q := range map[string]struct{ query, by string }{
		"samples":  {samples, "sqlite_autoindex_card_2"}, // by key set, backwards
		"byChip":   {byChip, "sqlite_autoindex_card_1"},
		"doubtful": {doubtful, "card_open"}, "rejected": {rejects, "card_open"}, "remade": {remade, "sqlite_autoindex_card_2"},
		"firstLive": {firstLive, "card_identity"}, "lastLive": {lastLive, "card_identity"}, "lastKeySet": {lastKeySet, "sqlite_autoindex_card_2"},
		"destroyed": {destroyed, "card_open"}, "blocks": {blocks, "sqlite_autoindex_made_1"}, "inBlock": {inBlock, "card_identity"},
		"tries": {tries, "card_identity"}, "listedGood": {listedGood, "card_identity"}, "listedRest": {listedRest, "card_open"}, "listedAll": {listedAll, "card_identity"},
		"causes": {causes, "sqlite_autoindex_tally_1"},
	} {
		var args []any
		for i := 1; strings.Contains(q.query, fmt.Sprint("$", i)); i++ {
			args = append(args, 1)
		}
		plan := explain(t, db, q.query, args...)
		for _, step := range plan {
			if strings.HasPrefix(step, "SCAN card") || strings.HasPrefix(step, "SCAN retired") || strings.HasPrefix(step, "SEARCH card USING INDEX") && strings.HasSuffix(step, "(ord=?)") && name != "samples" && name != "lastLive" && name != "firstLive" {
				t.Errorf("%s reads all cards of a batch: %q", name, plan)
			}
		}
		if !slices.ContainsFunc(plan, func(step string) bool { return strings.Contains(step, q.by) }) {
			t.Errorf("%s is not answered by %s: %q", name, q.by, plan)
		}
	}
}

// explain is how SQLite goes about a question.
func explain(t *testing.T, db *sql.DB, query string, args ...any) (plan []string) {
	t.Helper()
	rows, err := db.Query(`EXPLAIN QUERY PLAN `+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, step)
	}
	if err := rows.Err(); err != nil || len(plan) == 0 {
		t.Fatalf("%s: no plan: %v", query, err)
	}
	return plan
}
