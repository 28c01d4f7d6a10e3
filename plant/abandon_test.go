package plant

import (
	"errors"
	"strings"
	"testing"

	"ankan/message"
	"ankan/order"
	"ankan/perso"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/store"
)

// A plant stops a batch that its bureau gave up, also one that it lost; its people
// say what is here. It stops none for anybody else, and none that is being
// destroyed.
func TestTakeAbandon(t *testing.T) {
	bureau := site.Part{Role: site.Bureau}
	a, b := sitetest.Config(t, "line", site.Plant), sitetest.Config(t, "maker", site.Bureau)
	ta, tb := sitetest.Init(t, a, Part(), bureau), sitetest.Init(t, b, Part(), bureau)
	b.Plant = "line"
	a.Partners, b.Partners = []string{b.CardFile()}, []string{a.CardFile()}
	line, maker := sitetest.Open(t, a, ta, Part(), bureau), sitetest.Open(t, b, tb, Part(), bureau)
	put := func(ord, bureau string, states ...string) {
		sitetest.Change(t, line, func(tx *store.Tx) error {
			if err := perso.Offer(tx, perso.Run{Order: ord, Bureau: bureau, Agree: slotKey(ord), KEK: batchKey(ord)}); err != nil {
				return err
			}
			from := "offered"
			for _, to := range states {
				if err := perso.MoveRun(tx, ord, from, to); err != nil {
					return err
				}
				from = to
			}
			return nil
		})
	}
	put("op-1", "maker", "received")
	put("op-2", "other")
	put("op-3", "maker", "received", "finished", "reported", "condemned")
	abandon := func(ord string) error {
		return sitetest.Message(t, maker, line, "x"+strings.ReplaceAll(ord, "/", "-")+".destroy.pgp", message.DestroyOrder{Order: ord, Act: "00", Abandoned: "not wanted"})
	}
	for _, ord := range []string{"op-2", "op-3", "a/b", ""} {
		var r *site.Refusal
		if err := abandon(ord); !errors.As(err, &r) {
			t.Errorf("%q: %v", ord, err)
		}
	}
	for _, ord := range []string{"op-1", "op-4"} {
		if err := abandon(ord); err != nil {
			t.Fatal(err)
		}
		run, err := perso.GetRun(t.Context(), line.Store(), ord)
		gone, err2 := order.WhyAbandoned(line.Store().Committed(t.Context()), ord)
		if err != nil || err2 != nil || run.State != "abandoned" || run.Bureau != "maker" || gone == nil || gone.Why != "not wanted" {
			t.Errorf("%+v, %+v, %v, %v", run, gone, err, err2)
		}
	}
	// What was on its way comes to nothing.
	for name, v := range map[string]any{"op-4.offer.pgp": message.Offer{Order: "op-4", Operator: "op", Cards: 1, Profile: "p", OS: "o"},
		"op-1.batch.pgp": message.BatchHead{Format: message.BatchFormat, Order: "op-1", Cards: 1, BlockSize: 1}} {
		if err := sitetest.Message(t, maker, line, name, v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	sitetest.Change(t, line, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO card (ord, card, keyset, chip, state, tries, reason, station, at) VALUES ('op-1', 0, 0, '6300000000000001', 'good', 1, '', 's', '')`)
		return err
	})
	if _, err := line.Propose(t.Context(), "batch.destroy", "order/op-1"); err == nil || !strings.Contains(err.Error(), "good cards among them, are to be destroyed first") && !strings.Contains(err.Error(), "good cards among them") {
		t.Errorf("a batch with a good card: %v", err)
	}
	if p, err := line.Propose(t.Context(), "chip.destroy", "order/op-1"); err != nil || p["chips"] != "6300000000000001" {
		t.Errorf("%v, %v", p, err)
	}
	p, err := line.Propose(t.Context(), "batch.destroy", "order/op-4")
	if err != nil || p["abandoned"] != "not wanted" || p["not_here"] != "batch/op-4 slot/op-4" || p["cards_out"] != "0" || p["blocks"] != "0" {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := line.Propose(t.Context(), "chip.destroy", "order/op-1/6300000000000009"); err == nil || !strings.Contains(err.Error(), "that waits for destruction or was lost") {
		t.Errorf("a chip of nobody: %v", err)
	}
	for subject, want := range map[string]string{"chip/op-1/6300000000000001/fell": "is a good card", "chip/op-1/6300000000000009/fell": "is none of its chips", "chip/op-1/6300000000000001": "the reason has 0 bytes"} {
		if _, err := line.Propose(t.Context(), "chip.lost", subject); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", subject, err, want)
		}
	}
}
