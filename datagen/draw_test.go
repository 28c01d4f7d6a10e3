package datagen

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ankan/sim"
	"ankan/store"
)

// generatedOnce counts entries, fingerprints and blocks of the store: each block
// has one of each.
func (f *bureau) generatedOnce(blocks int) {
	f.Helper()
	e, err := f.store.Entries(f.Context(), 0, 100000)
	f.must(err)
	said := map[string]int{}
	for _, e := range e {
		if e.Kind == "batch.block-generated" {
			said[fmt.Sprint(e.Subject, e.Data["block"])]++
		}
	}
	for what, n := range said {
		if n != 1 {
			f.Errorf("%s has %d entries", what, n)
		}
	}
	var stored, fingerprints int
	f.must(f.store.QueryRow(f.Context(), `SELECT count(*) FROM block`).Scan(&stored))
	f.must(f.store.QueryRow(f.Context(), `SELECT count(*) FROM ledger_fingerprint`).Scan(&fingerprints))
	if len(said) != blocks || stored != blocks || fingerprints != blocks {
		f.Errorf("%d entries, %d blocks, %d fingerprints, want %d of each", len(said), stored, fingerprints, blocks)
	}
}

// Several draw the same blocks at the same time: each is stored once.
func TestDrawTogether(t *testing.T) {
	f := newBureau(t)
	b := f.batch("A1", 1000, 7, 5)
	var all sync.WaitGroup
	var sets atomic.Int64
	for i := range 4 {
		all.Go(func() {
			in := Span{0, b.Blocks()}
			if i > 1 {
				in = Span{50, 150}
			}
			if err := f.generator().Draw(t.Context(), b, in, f.identities(), func(n int) { sets.Add(int64(n)) }); err != nil {
				t.Errorf("drawer %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if sets.Load() != 1007 {
		t.Errorf("%d key sets are said to be stored, want 1007", sets.Load())
	}
	f.generatedOnce(b.Blocks())
	r, err := NewReader(t.Context(), f.store, f.token, "A1")
	f.must(err)
	defer r.Close()
	c := checker{bureau: f, b: b, seen: map[string]string{}}
	for k := range b.Cards + b.Spares {
		rec, err := r.Record(t.Context(), nil, k)
		f.must(err)
		c.record(k, rec)
	}
}

// Somebody stores blocks that we are drawing: what they have not is drawn.
func TestDrawAfterOthers(t *testing.T) {
	f := newBureau(t)
	b := f.batch("A1", 100, 0, 10)
	once := sync.OnceFunc(func() {
		if err := f.generator().Draw(t.Context(), b, Span{3, 6}, f.identities(), nil); err != nil {
			t.Error(err)
		}
	})
	ids := f.identities()
	f.must(f.generator().Run(t.Context(), b, func(to []sim.Identity, first int) error {
		once() // others are done while this one draws
		return ids(to, first)
	}, nil))
	f.generatedOnce(10)
}

func TestMissing(t *testing.T) {
	f := newBureau(t)
	b := f.batch("A1", 95, 0, 10)
	missing := func(in Span) string {
		t.Helper()
		all, err := Missing(t.Context(), f.store, b, in)
		f.must(err)
		return fmt.Sprint(all)
	}
	whole := Span{0, 10}
	if got := missing(whole); got != "[{0 10}]" {
		t.Errorf("of a new batch %s is missing", got)
	}
	for _, in := range []Span{{2, 4}, {7, 8}, {9, 10}} {
		f.must(f.generator().Draw(t.Context(), b, in, f.identities(), nil))
	}
	if got := missing(whole); got != "[{0 2} {4 7} {8 9}]" {
		t.Errorf("missing %s", got)
	}
	if got := missing(Span{3, 5}); got != "[{4 5}]" {
		t.Errorf("missing in 3 to 5: %s", got)
	}
	if got := missing(Span{2, 4}) + missing(Span{5, 5}); got != "[][]" {
		t.Errorf("missing where nothing is: %s", got)
	}
	if n, err := Have(t.Context(), f.store, "A1"); err != nil || n != 4 {
		t.Errorf("%d blocks, %v, want 4", n, err)
	}
	done := 0
	f.must(f.generator().Run(t.Context(), b, f.identities(), func(n int) { done += n }))
	if got := missing(whole); got != "[]" || done != 60 {
		t.Errorf("missing %s, %d key sets drawn, want none and 60", got, done)
	}
	for _, in := range []Span{{-1, 2}, {4, 3}, {9, 11}} {
		if err := f.generator().Draw(t.Context(), b, in, f.identities(), nil); err == nil || !strings.Contains(err.Error(), "it has 10") {
			t.Errorf("%v: %v", in, err)
		}
	}
}

// Identities that cannot be had leave nothing behind.
func TestDrawWithoutIdentities(t *testing.T) {
	f := newBureau(t)
	b := f.batch("A1", 100, 10, 10)
	none := errors.New("there are none")
	f.want("no identities", f.generator().Run(t.Context(), b, func([]sim.Identity, int) error { return none }, nil), none)
	if got := f.have("A1"); strings.Contains(got, "9") || got != "[]" && got != "[10]" {
		t.Errorf("blocks %s, want none but that of the spares", got)
	}
}

// An import goes on over what is there, wherever it lies.
func TestImportOverHoles(t *testing.T) {
	f := newBureau(t)
	b := f.generated("A1", 60, 0, 10)
	var file strings.Builder
	f.must(Export(t.Context(), f.store, b, &file))
	plant := newBureau(t)
	dk := f.dataKey(b)
	f.must(plant.change("batch.created", func(tx *store.Tx) error { return Create(tx, b) }))
	for _, n := range []int{1, 2, 5} {
		f.must(putBlocks(t.Context(), plant.store, b, n, []sealedBlock{{sealed: f.sealed(b, n)}}, "batch.block-received", nil))
	}
	f.must(Import(t.Context(), plant.store, dk, b, strings.NewReader(file.String())))
	if got := plant.have("A1"); got != "[0 1 2 3 4 5]" {
		t.Errorf("blocks %s", got)
	}
}
