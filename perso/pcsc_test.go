package perso

import (
	"context"
	"strings"
	"testing"
	"time"

	"ankan/pcsc/pcsctest"
	"ankan/station"
	feeder "ankan/station/slot"
)

// A person feeds a PC/SC reader, and once leaves a finished card in it.
func TestCardReader(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 3, 0)
	f.load(3)
	const name = "Reader 00 00"
	d := pcsctest.Start(t, name)
	told := make(chan string, 100)
	done := make(chan struct{})
	go func() { // the person
		defer close(done)
		next := 0
		for what := range told {
			switch {
			case strings.HasPrefix(what, "insert a fresh card") && next < len(f.tray.order):
				d.Insert(name, f.tray.order[next].chip)
				next++
			case strings.HasPrefix(what, "take the card out"):
				d.Insert(name, nil)
			}
		}
	}()
	st := Station{Name: "desk", Open: func(ctx context.Context) (station.Reader, error) {
		return feeder.Open(ctx, name, func(what string) { told <- what })
	}}
	f.must(f.line().Run(t.Context(), "A1", These(st)))
	f.check("A1", 3)
	// A card that is still in the reader is counted already.
	f.must(f.change("test.move", moveBack("A1")))
	f.must(f.change("test.card", dropCard("A1", 2)))
	d.Insert(name, f.tray.order[0].chip)
	blank := f.load(1)[0].String()
	before := f.counts("A1", 3)
	f.must(f.line().Run(t.Context(), "A1", These(st)))
	if c := f.counts("A1", 3); before.Good != 2 || c.Good != 3 || c.Aside != 0 {
		t.Errorf("%+v, then %+v", before, c)
	}
	if rows := f.rows("A1"); rows[2].chip != blank {
		t.Errorf("%+v", rows)
	}
	close(told)
	<-done
}

// A reader to which nobody comes has no chips; it did not fail.
func TestNobodyFeeds(t *testing.T) {
	const name = "Reader 00 00"
	pcsctest.Start(t, name)
	r, err := feeder.Open(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := r.Take(ctx); err != station.ErrNoChips {
		t.Errorf("%v, want no chips", err)
	}
	if err := r.Insert(ctx, [8]byte{1}); err != station.ErrAway {
		t.Errorf("%v, want the chip to be away", err)
	}
}
