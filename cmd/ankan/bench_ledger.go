package main

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"

	"ankan/audit"
	"ankan/order"
	"ankan/sim"
	"ankan/store"
)

// benchLedgerCmd reserves identities: a row of them, and some that are scattered
// in short runs: with a run of 1 each is in a block of its own.
type benchLedgerCmd struct {
	benchDatabase
	Cards     int  `help:"Identities in a row." default:"1000000" placeholder:"N"`
	Scattered int  `help:"Scattered identities; without it, as many, and at most a million." placeholder:"N"`
	Runs      int  `name:"run" help:"Scattered identities that follow each other." default:"1" placeholder:"N"`
	JSON      bool `help:"Print JSON."`
}

// Of the benchmark's numbers.
const (
	benchICCID     = 899199900000000000 // first body
	benchIMSI      = 404990000000000    // first
	benchScattered = 1_000_000
	benchPlaces    = 9_000_000_000 // of the scattered ones
)

func (c benchLedgerCmd) Run(a *app) error {
	r, err := c.measure(a.ctx)
	if err != nil {
		return err
	}
	return a.printResult(c.JSON, r)
}

func (c benchLedgerCmd) measure(ctx context.Context) (result, error) {
	scattered := c.Scattered
	if scattered == 0 {
		scattered = min(c.Cards, benchScattered)
	}
	for _, n := range []int{c.Cards, scattered} {
		if n < 1 || n > benchPlaces/4 {
			return nil, fmt.Errorf("cards is %d, want 1 to %d", n, benchPlaces/4)
		}
	}
	if c.Runs < 1 || c.Runs > 500 {
		return nil, fmt.Errorf("run is %d, want 1 to 500", c.Runs)
	}
	w, err := newWorkshop(ctx, c.Database)
	if err != nil {
		return nil, err
	}
	defer w.close()
	var r result
	took, err := w.reserve(ctx, "row", c.Cards, func(i uint64) uint64 { return i })
	if err != nil {
		return nil, err
	}
	r.rate("cards", c.Cards, took)
	if err := w.store.Scrub(ctx); err != nil {
		return nil, err
	}
	size, rows, err := w.ledgerSize(ctx)
	if err != nil {
		return nil, err
	}
	r.add("ledger_mib", round(float64(size)/(1<<20)))
	r.add("ledger_rows", rows)
	// A step that is prime to their number visits all places, in no order that a
	// ledger could profit from.
	took, err = w.reserve(ctx, "scattered", scattered, func(i uint64) uint64 {
		run := uint64(c.Runs)
		at := (i/run*2_654_435_761 + 12345) % (benchPlaces / 2)
		return benchPlaces/2 + at/run*run + i%run
	})
	if err != nil {
		return nil, err
	}
	r.add("scattered", scattered)
	r.add("run", c.Runs)
	r.add("scattered_seconds", round(took.Seconds()))
	r.add("scattered_per_second", round(float64(scattered)/took.Seconds()))
	return r, r.machine()
}

// reserve has an order hold n identities.
func (w *workshop) reserve(ctx context.Context, name string, n int, at func(i uint64) uint64) (time.Duration, error) {
	var ids iter.Seq2[int, sim.Identity] = func(yield func(int, sim.Identity) bool) {
		for i := range n {
			v := at(uint64(i))
			iccid, err := sim.NewICCID(benchICCID+v, 19)
			imsi, err2 := sim.NewIMSI(benchIMSI + v)
			if err != nil || err2 != nil || !yield(i, sim.Identity{ICCID: iccid, IMSI: imsi}) {
				return
			}
		}
	}
	began := time.Now()
	if err := w.ledger.Reserve(ctx, w.store, order.Holder{Order: name, Operator: "bench"}, ids); err != nil {
		return 0, err
	}
	e := audit.Entry{Kind: "order.accepted", Actor: "partner/bench", Subject: "order/" + name}
	err := w.store.Change(ctx, e, func(tx *store.Tx) error { return w.ledger.Accept(tx, name) })
	return time.Since(began), err
}

// ledgerSize is the bytes of the ledger, with its index, and its rows. A file of
// SQLite holds little else, so that it is all of the file.
func (w *workshop) ledgerSize(ctx context.Context) (size, rows int64, err error) {
	if f, serr := os.Stat(filepath.Join(w.dir, "bench.db")); serr == nil {
		size = f.Size()
	} else if err = w.store.QueryRow(ctx, `SELECT pg_total_relation_size('ledger_share')`).Scan(&size); err != nil {
		return 0, 0, err
	}
	err = w.store.QueryRow(ctx, `SELECT count(*) FROM ledger_share`).Scan(&rows)
	return size, rows, err
}
