package perso

import (
	"context"
	"errors"
	"slices"
	"testing"

	"ankan/durable"
)

// The cases that a line must survive, under the names of
// docs/reference/crash-cases.md.

// cutAt runs a batch with one station until the line dies at its n-th burst.
func (f *plant) cutAt(ord string, e durable.Event) {
	f.Helper()
	s := &durable.Script{Die: e}
	l := f.line()
	l.Steps = s.Steps()
	err := l.Run(f.Context(), ord, These(f.tray.station("st0")))
	if !s.Dead() || err == nil {
		f.Fatalf("the line did not die at burst %s: %v", e, err)
	}
}

// inDoubt is the one row of a batch that is in doubt.
func (f *plant) inDoubt(ord string) row {
	f.Helper()
	all := slices.DeleteFunc(f.rows(ord), func(w row) bool { return w.state != "doubt" })
	if len(all) != 1 {
		f.Fatalf("%d cards are in doubt, want one: %+v", len(all), all)
	}
	return all[0]
}

// Power goes between the intent and the first command that writes: the identity
// stays with that chip, whatever others there are, until it is in a reader again.
func TestR01_PowerCutBeforeTheFirstCommand(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 2, 0)
	f.load(4)
	f.cutAt("A1", durable.Event{Step: 2, Shape: durable.Before}) // the first burst only looks
	had := f.inDoubt("A1")
	away := f.tray.remove(had.chip)
	f.want("the chip is away", f.run(t.Context(), "A1", 2), ErrDoubt)
	if c := f.counts("A1", 2); c != (Counts{Cards: 2, Good: 1, Doubt: 1}) || f.inDoubt("A1").chip != had.chip {
		t.Errorf("%+v, and card %d is on another chip than %s", c, had.card, had.chip)
	}
	f.tray.order = append(f.tray.order, away)
	f.must(f.run(t.Context(), "A1", 2))
	if i := slices.IndexFunc(f.rows("A1"), func(w row) bool { return w.card == had.card }); f.rows("A1")[i].chip != had.chip {
		t.Errorf("card %d is on %+v, want chip %s", had.card, f.rows("A1")[i], had.chip)
	}
	f.check("A1", 2)
}

// Power goes while a chip is being written. The same chip is read again and
// written to its end; if it is dead, it is a reject, its destruction is recorded,
// and the identity goes on another chip with keys that no chip had.
func TestR02_PowerCutWhileWriting(t *testing.T) {
	for _, dead := range []bool{false, true} {
		f := newPlant(t)
		f.batch("A1", 1, 1)
		f.load(3)
		ctx, cancel := context.WithCancel(t.Context())
		f.tray.cut = func(n int, _ bool) error {
			if n == 80 {
				cancel()
				return errCrash
			}
			return nil
		}
		f.want("cut", f.run(ctx, "A1", 1), context.Canceled)
		f.tray.cut = nil
		had := f.inDoubt("A1")
		if dead {
			f.tray.find(had.chip).fault = from(1, mute)
			f.want("a dead chip", f.run(t.Context(), "A1", 1), ErrRejects)
			f.destroy("A1")
		}
		f.must(f.run(t.Context(), "A1", 1))
		last := f.rows("A1")[len(f.rows("A1"))-1]
		if dead != (last.chip != had.chip) || dead != (last.keyset != had.keyset) || last.state != "good" || last.card != had.card {
			t.Errorf("dead %t: %+v was %+v", dead, last, had)
		}
		f.check("A1", 1)
	}
}

// Power goes when the card is whole and its outcome not yet committed: it is read
// back, and becomes good once.
func TestR03_PowerCutBeforeTheOutcome(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 1, 0)
	f.load(2)
	f.cutAt("A1", durable.Event{Step: 3, Shape: durable.After}) // look, write, read
	had := f.inDoubt("A1")
	before := f.tray.clone(had.chip).Marshal()
	f.must(f.run(t.Context(), "A1", 1))
	if n := len(f.entries("card.good")); n != 1 || len(f.entries("card.intent")) != 1 {
		t.Errorf("the card became good %d times, with %d intents", n, len(f.entries("card.intent")))
	}
	if slices.Equal(before, make([]byte, len(before))) {
		t.Error("the chip was blank: nothing was cut")
	}
	f.check("A1", 1)
}

// Two lines work at one batch: the database gives a card to one of them, and no
// chip, key set or identity is used twice.
func TestR04_TwoLinesAtOneBatch(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 12, 0)
	f.load(30)
	ended := make(chan error)
	for range 2 {
		go func() { ended <- f.run(t.Context(), "A1", 2) }()
	}
	lost := 0
	for range 2 {
		if err := <-ended; err != nil {
			lost++
		}
	}
	// The loser stops; what it had in hand is in doubt, and the next run ends it.
	for range 3 {
		if c := f.counts("A1", 12); c.Good == 12 {
			break
		}
		if err := f.run(t.Context(), "A1", 1); errors.Is(err, ErrRejects) {
			f.destroy("A1")
		}
	}
	if c := f.counts("A1", 12); c.Good != 12 || c.Doubt != 0 {
		t.Errorf("%+v, and %d lines lost", c, lost)
	}
	f.check("A1", 12)
}

// A bad contact is tried again on the same chip, three times at most, and never
// on another: that is a remake, with fresh keys and a destroyed chip.
func TestR06_RejectedChipTriedAgain(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 2, 1)
	chips := f.load(4)
	f.tray.order[0].fault = twice(60, 80, mute)
	f.tray.order[1].fault = from(60, mute)
	f.want("a chip that fails for good", f.run(t.Context(), "A1", 1), ErrRejects)
	rows := f.rows("A1")
	if len(rows) != 2 || rows[0].chip != chips[0].String() || rows[0].state != "good" || rows[0].tries != 3 || rows[1].state != "reject" || rows[1].tries != 3 {
		t.Errorf("%+v", rows)
	}
	// The reject's identity waits: no other chip gets it before it is destroyed.
	f.want("again", f.run(t.Context(), "A1", 1), ErrRejects)
	if n := len(f.rows("A1")); n != 2 {
		t.Errorf("%d cards were begun, want 2", n)
	}
	f.destroy("A1")
	f.must(f.run(t.Context(), "A1", 1))
	if last := f.rows("A1"); len(last) != 3 || f.counts("A1", 2).Remade != 1 {
		t.Errorf("%+v", last)
	}
	f.check("A1", 2)
}
