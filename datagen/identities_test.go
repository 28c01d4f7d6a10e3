package datagen

import (
	"strings"
	"testing"

	"ankan/hsm"
	"ankan/sim"
	"ankan/store"
)

func TestSealRange(t *testing.T) {
	f := newBureau(t)
	b := f.batch("A1", 25, 0, 10)
	dk := f.dataKey(b)
	for _, msisdn := range []bool{true, false} {
		first := f.identityOf(0)
		if !msisdn {
			first.MSISDN = sim.MSISDN{}
		}
		r, err := sim.NewIdentityRange(first, 25)
		f.must(err)
		b.Range, err = SealRange(dk, "A1", r)
		f.must(err)
		ids, err := b.OpenRange(dk)
		f.must(err)
		got := make([]sim.Identity, 5)
		f.must(ids(got, 20))
		for i, id := range got {
			if want := r.At(uint64(20 + i)); id != want {
				t.Errorf("identity %d is %v, want %v", 20+i, id, want)
			}
		}
	}
	if strings.Contains(string(b.Range), f.identityOf(0).IMSI.String()) {
		t.Error("the range is in the clear")
	}
	other := b
	other.Order = "A2"
	_, err := other.OpenRange(dk)
	f.want("another order's", err, hsm.ErrSealed)
	more := b
	more.Cards = 26
	if _, err := more.OpenRange(dk); err == nil || !strings.Contains(err.Error(), "a range of 25, the batch has 26") {
		t.Errorf("too short a range: %v", err)
	}
	_, err = SealRange(new(hsm.DataKey), "A1", sim.IdentityRange{})
	f.want("no key", err, hsm.ErrClosed)
	_, err = b.OpenRange(new(hsm.DataKey))
	f.want("no key", err, hsm.ErrClosed)
}

func FuzzParseRange(f *testing.F) {
	f.Add(`{"iccid":"8991000000000000001","imsi":"001010000000000","msisdn":"910000000000","quantity":25}`)
	f.Add(`{"iccid":"8991000000000000001","imsi":"001010000000000","quantity":18446744073709551615}`)
	f.Add(`{"iccid":"8991000000000000000","imsi":"001010000000000","quantity":1}{}`)
	f.Add(`{"iccid":8991,"x":1}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRange([]byte(text))
		if err != nil {
			return
		}
		if r.Len() == 0 || r.At(r.Len()-1) == (sim.Identity{}) {
			t.Errorf("a range of %d", r.Len())
		}
	})
}

// A batch of an older program is completed before it is drawn.
func TestComplete(t *testing.T) {
	f := newBureau(t)
	b := f.batch("A1", 25, 0, 10)
	b.OP, b.Range = "op/1", []byte("sealed")
	load := func() Batch {
		t.Helper()
		had, err := Load(t.Context(), f.store, "A1")
		f.must(err)
		return had
	}
	if !load().Drawable() {
		t.Error("a batch of this program cannot be drawn")
	}
	f.must(f.change("test.old", func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE batch SET op = NULL, identities = NULL WHERE ord = 'A1'`)
		return err
	}))
	if load().Drawable() {
		t.Error("a batch of an older program can be drawn")
	}
	f.must(f.change("batch.completed", func(tx *store.Tx) error { return Complete(tx, b) }))
	if had := load(); !had.Drawable() || had.OP != "op/1" || string(had.Range) != "sealed" {
		t.Errorf("completed: %q, %q", had.OP, had.Range)
	}
}
