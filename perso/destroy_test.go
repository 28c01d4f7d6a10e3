package perso

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ankan/act"
	"ankan/custody"
	"ankan/store"
)

// A reject that cannot be found is declared lost: its identity is retired and
// made on no other chip, the report says so, and if the chip turns up the line
// leaves it alone and says what to do.
func TestLostChip(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 3, 2)
	f.batch("A2", 1, 1)
	chips := f.load(3)
	f.tray.order[0].fault = from(150, mute)
	f.want("run", f.run(t.Context(), "A1", 1), ErrRejects)
	reject, good := chips[0].String(), chips[1].String()
	lost := func(ord, chip string) custody.Warrant { return f.leave("chip.lost", "chip/"+ord+"/"+chip+"/fell", nil) }
	lose := func(w custody.Warrant, ord, chip string) error {
		return LoseChip(t.Context(), f.store, w, ord, chip, nil)
	}
	f.want("no warrant", lose(custody.Warrant{}, "A1", reject), act.ErrNotAllowed)
	f.want("another chip's warrant", lose(lost("A1", good), "A1", reject), act.ErrNotAllowed)
	f.want("another order's warrant", lose(lost("A2", reject), "A1", reject), act.ErrNotAllowed)
	f.want("a warrant for destruction", lose(f.warrant("A1", reject), "A1", reject), act.ErrNotAllowed)
	for chip, want := range map[string]string{good: "is a good card", "0000000000000000": "is none of its chips"} {
		if err := lose(lost("A1", chip), "A1", chip); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("losing %s: %v, want %q", chip, err, want)
		}
	}
	if err := lose(lost("A2", reject), "A2", reject); err == nil || !strings.Contains(err.Error(), "is none of its chips") {
		t.Errorf("losing another order's reject: %v", err)
	}
	if c := f.counts("A1", 3); c.Lost != 0 || c.Reject != 1 {
		t.Fatalf("%+v, want nothing lost", c)
	}
	f.must(lose(lost("A1", reject), "A1", reject))
	if err := lose(lost("A1", reject), "A1", reject); err == nil || !strings.Contains(err.Error(), "is lost already") {
		t.Errorf("lost twice: %v", err)
	}
	want := Counts{Cards: 3, Good: 2, Retired: 1, Lost: 1}
	if c := f.counts("A1", 3); c != want {
		t.Errorf("%+v, want %+v", c, want)
	}
	if all, err := Lost(t.Context(), f.store, "A1"); err != nil || len(all) != 1 || all[0] != (Rejected{Card: 0, Chip: reject, Reason: string(NoAnswer)}) {
		t.Errorf("%+v, %v", all, err)
	}
	// Whoever writes beside the line cannot make the identity again either.
	if err := f.change("test", func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO card (ord, card, keyset, chip, lot, state, tries, reason, station, at) VALUES ('A1', 0, 3, 'another', '', 'doubt', 0, '', '', '')`)
		return err
	}); err == nil {
		t.Error("the identity of a lost chip was begun on another chip")
	}
	f.must(f.run(t.Context(), "A1", 1)) // there are chips and spares, and it is not remade
	if c := f.counts("A1", 3); c != want {
		t.Errorf("when the batch ended %+v, want %+v", c, want)
	}
	var out bytes.Buffer
	rep := Report{Format: ReportFormat, Order: "A1", Site: "plant", Counts: want, OS: "00", Rows: 1}
	f.must(WriteReport(t.Context(), f.store, &out, rep))
	var rows []string
	if got, err := ParseReport(&out, func(card, keyset int) error {
		rows = append(rows, fmt.Sprint(card, keyset))
		return nil
	}); err != nil || got != rep || !slices.Equal(rows, []string{"0 -1"}) {
		t.Errorf("%+v with %q, %v", got, rows, err)
	}

	// It turns up among the chips of the next batch.
	b := f.tray.remove(reject)
	b.fault, b.taken = nil, false
	f.tray.order = append(f.tray.order, b)
	f.load(1)
	f.must(f.run(t.Context(), "A2", 1))
	if all := f.entries("chip.turned-up"); len(all) != 1 || all[0].Subject != "order/A1" || all[0].Data["chip"] != reject {
		t.Errorf("%+v, want one entry about the chip", all)
	}
	var told int
	f.must(f.store.QueryRow(t.Context(), `SELECT count(*) FROM notice WHERE kind = 'chip.turned-up' AND text LIKE '%order/A1/'||$1||'%'`, reject).Scan(&told))
	if told != 3 {
		t.Errorf("%d people were told, want 3", told)
	}
	if c := f.counts("A2", 1); c != (Counts{Cards: 1, Good: 1}) || len(f.aside("A2")) != 0 {
		t.Errorf("%+v: the lost chip counts in another batch", c)
	}
	// It is destroyed, and stays retired.
	w := f.leave("chip.destroy", "order/A1/"+reject, map[string]string{"chips_sha256": ChipsDigest([]string{reject})})
	f.must(DestroyChips(t.Context(), f.store, w, "A1", []string{reject}, nil))
	if c := f.counts("A1", 3); c != (Counts{Cards: 3, Good: 2, Destroyed: 1, Retired: 1}) {
		t.Errorf("when it was found and destroyed: %+v", c)
	}
}

// Of an abandoned batch good cards are destroyed, of any other they are not; what
// else is done in the same change is undone with it.
func TestDestroyAbandoned(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 2, 1)
	chips := f.load(2)
	f.tray.order[1].fault = from(150, mute)
	f.want("run", f.run(t.Context(), "A1", 1), ErrRejects)
	good, reject := chips[0].String(), chips[1].String()
	waits := func(n int) (names []string) {
		all, err := Condemnable(t.Context(), f.store, "A1", n)
		f.must(err)
		for _, c := range all {
			names = append(names, c.Chip)
		}
		return names
	}
	if got := waits(9); !slices.Equal(got, []string{reject}) {
		t.Errorf("%q wait", got)
	}
	f.must(f.change("test", func(tx *store.Tx) error { return MoveRun(tx, "A1", "received", "abandoned") }))
	both := waits(9)
	if !slices.Equal(both, []string{reject, good}) || len(waits(1)) != 1 {
		t.Fatalf("%q wait", both)
	}
	if err := f.run(t.Context(), "A1", 1); err == nil || !strings.Contains(err.Error(), "is abandoned, want received") {
		t.Errorf("the line goes on: %v", err)
	}
	f.want("what else is done", DestroyChips(t.Context(), f.store, f.warrant("A1", both...), "A1", both, func(*store.Tx) error { return errFull }), errFull)
	f.must(DestroyChips(t.Context(), f.store, f.warrant("A1", both...), "A1", both, nil))
	if c := f.counts("A1", 2); c.Destroyed != 2 || c.Good != 0 {
		t.Errorf("%+v", c)
	}
}
