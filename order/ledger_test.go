package order

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ankan/audit"
	"ankan/hsm"
	"ankan/hsm/soft"
	"ankan/sim"
	"ankan/store"
	"ankan/store/storetest"
)

func testLedger(t testing.TB) (*Ledger, *store.Store) {
	t.Helper()
	dir := t.TempDir()
	signer, err := audit.NewSigner("test", ed25519.NewKeyFromSeed(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{Path: storetest.New(t), Origin: "test", Signer: signer, Now: time.Now}, Schema())
	if err != nil {
		t.Fatal(err)
	}
	token, err := soft.Create(filepath.Join(dir, "token"), []byte("a long passphrase"), soft.WithCost(soft.LowestCost()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); token.Close() })
	if _, err := token.Generate(t.Context(), "ledger", hsm.Ledger, hsm.HMAC256); err != nil {
		t.Fatal(err)
	}
	l, err := NewLedger(token, "ledger")
	if err != nil {
		t.Fatal(err)
	}
	return l, s
}

// ids makes identities from numbers: ICCID and IMSI of pair i are base + pair.
func ids(pairs ...[2]uint64) iter.Seq2[int, sim.Identity] {
	return func(yield func(int, sim.Identity) bool) {
		for i, p := range pairs {
			if !yield(i, identity(p[0], p[1])) {
				return
			}
		}
	}
}

func identity(iccid, imsi uint64) sim.Identity {
	a, err := sim.NewICCID(899199900000000000+iccid, 19)
	b, err2 := sim.NewIMSI(404990000000000 + imsi)
	if err := errors.Join(err, err2); err != nil {
		panic(err)
	}
	return sim.Identity{ICCID: a, IMSI: b}
}

func span(from, n uint64) iter.Seq2[int, sim.Identity] {
	return func(yield func(int, sim.Identity) bool) {
		for i := range n {
			if !yield(int(i), identity(from+i, from+i)) {
				return
			}
		}
	}
}

func change(t testing.TB, s *store.Store, fn func(tx *store.Tx) error) error {
	t.Helper()
	return s.Change(t.Context(), audit.Entry{Kind: "test.reserved", Actor: "test", Subject: "order/1"}, fn)
}

// reserve has the identities held by an order of its own.
func reserve(t testing.TB, l *Ledger, s *store.Store, ids iter.Seq2[int, sim.Identity]) error {
	t.Helper()
	orders++
	h := Holder{fmt.Sprintf("order-%d", orders), "op"}
	if err := l.Reserve(t.Context(), s, h, ids); err != nil {
		return err
	}
	return change(t, s, func(tx *store.Tx) error { return l.Accept(tx, h.Order) })
}

var orders int // names orders; tests of the ledger run one after another

func TestLedgerClashes(t *testing.T) {
	l, s := testLedger(t)
	if err := reserve(t, l, s, span(500, 3000)); err != nil {
		t.Fatal(err)
	}
	iccid := func(n uint64) string { return identity(n, 1).ICCID.String() }
	tests := map[string]struct {
		ids  iter.Seq2[int, sim.Identity]
		want Clashes
	}{
		"free":               {ids([2]uint64{499, 3500}, [2]uint64{3500, 499}), nil},
		"IMSI":               {ids([2]uint64{9000, 9000}, [2]uint64{9001, 500}), Clashes{{KindIMSI, "404990000000500", 1, false}}},
		"ICCID":              {ids([2]uint64{3499, 9001}), Clashes{{KindICCID, iccid(3499), 0, false}}},
		"inside":             {ids([2]uint64{9100, 9100}, [2]uint64{9101, 9101}, [2]uint64{9100, 9102}), Clashes{{KindICCID, iccid(9100), 2, true}}},
		"both":               {ids([2]uint64{9200, 700}, [2]uint64{9201, 700}), Clashes{{KindIMSI, "404990000000700", 0, false}, {KindIMSI, "404990000000700", 1, true}}},
		"a thousand at most": {span(2990, 3000), nil},
	}
	for i := range uint64(500) {
		tt := tests["a thousand at most"]
		tt.want = append(tt.want, &Clash{KindICCID, iccid(2990 + i), int(i), false}, &Clash{KindIMSI, fmt.Sprint(404990000002990 + i), int(i), false})
		tests["a thousand at most"] = tt
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := reserve(t, l, s, tt.ids)
			var got Clashes
			if errors.As(err, &got); err != nil && got == nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
			var first *Clash
			if errors.As(err, &first) != (tt.want != nil) {
				t.Errorf("%v holds no clash", err)
			}
		})
	}
	// Nothing of a refused order is left, all of an accepted one is.
	for n, want := range map[uint64]bool{499: true, 500: true, 3499: true, 3500: true, 9000: false, 9101: false, 3501: false, 6000: false} {
		a, err := l.FindICCID(t.Context(), s, identity(n, 1).ICCID)
		b, err2 := l.FindIMSI(t.Context(), s, identity(1, n).IMSI)
		if errors.Join(err, err2) != nil || (a != nil) != want || (b != nil) != want {
			t.Errorf("%d: ICCID issued %v, IMSI issued %v, want %v (%v, %v)", n, a, b, want, err, err2)
		}
	}
}

func TestClashText(t *testing.T) {
	c := Clashes{{KindIMSI, "404990000000500", 1, false}, {KindICCID, "8991999000000000013", 2, true}}
	want := "IMSI 404990000000500 of card 2 was issued before\nICCID 8991999000000000013 of card 3 is twice in this order"
	if c.Error() != want {
		t.Error(c)
	}
	if all := slices.Repeat(c, maxClashes/2); !strings.HasSuffix(all.Error(), "\nthere may be more") {
		t.Error(all[0])
	}
}

// An ICCID of 20 digits is another number than one of 19.
func TestLedgerICCIDLengths(t *testing.T) {
	l, s := testLedger(t)
	long, err := sim.NewICCID(8991999000000000000, 20)
	if err != nil {
		t.Fatal(err)
	}
	a, b := identity(0, 0), identity(0, 1)
	b.ICCID = long
	err = reserve(t, l, s, func(yield func(int, sim.Identity) bool) { _ = yield(0, a) && yield(1, b) })
	if err != nil {
		t.Error(err)
	}
}

// An order's identities can be taken back until keys are drawn for them.
func TestLedgerHolds(t *testing.T) {
	l, s := testLedger(t)
	h := Holder{"op-1", "op"}
	do := func(fn func(tx *store.Tx, order string) error) error {
		return change(t, s, func(tx *store.Tx) error { return fn(tx, h.Order) })
	}
	hold := func() Hold {
		i, err := l.FindIMSI(t.Context(), s, identity(0, 0).IMSI)
		if err != nil {
			t.Fatal(err)
		}
		if i == nil {
			return ""
		}
		if i.Holder != h || i.Kind != KindIMSI || i.Since.IsZero() {
			t.Errorf("found %+v", i)
		}
		return i.Hold
	}
	for name, fn := range map[string]func(*store.Tx, string) error{"accepted": l.Accept, "confirmed": l.Confirm, "released": l.Release} {
		if err := do(fn); !errors.Is(err, ErrHeld) {
			t.Errorf("%s what was never reserved: %v", name, err)
		}
	}
	steps := []struct {
		name   string
		do     func(*store.Tx, string) error
		refuse bool
		want   Hold
	}{
		{"confirm before accepted", l.Confirm, true, Reserving},
		{"release before accepted", l.Release, true, Reserving},
		{"accept", l.Accept, false, Reserved},
		{"accept again", l.Accept, true, Reserved},
		{"release", l.Release, false, ""},
	}
	reserve := func() {
		if err := l.Reserve(t.Context(), s, h, span(0, 1500)); err != nil {
			t.Fatal(err)
		}
	}
	reserve()
	for _, st := range steps {
		if err := do(st.do); errors.Is(err, ErrHeld) != st.refuse || err != nil && !st.refuse {
			t.Errorf("%s: %v", st.name, err)
		}
		if got := hold(); got != st.want {
			t.Errorf("after %s it is %q, want %q", st.name, got, st.want)
		}
	}
	reserve()
	reserve() // what a crash left is forgotten
	for _, st := range []func(*store.Tx, string) error{l.Accept, l.Confirm, l.Confirm} {
		if err := do(st); err != nil {
			t.Fatal(err)
		}
	}
	if err := do(l.Release); !errors.Is(err, ErrHeld) || hold() != Issued {
		t.Errorf("released what was issued: %v, it is %s", err, hold())
	}
	if err := l.Reserve(t.Context(), s, h, span(5000, 1)); !errors.Is(err, ErrHeld) {
		t.Errorf("an order reserved twice: %v", err)
	}
	for _, h := range []Holder{{}, {Order: "op-9"}, {Operator: "op"}} {
		if err := l.Reserve(t.Context(), s, h, span(5000, 1)); err == nil {
			t.Errorf("reserved for %+v", h)
		}
	}
}

// What is retired is never issued, whether it was before or not.
func TestRetire(t *testing.T) {
	l, s := testLedger(t)
	if err := reserve(t, l, s, span(0, 1500)); err != nil {
		t.Fatal(err)
	}
	lost := Holder{"lost", "op"}
	for _, ids := range []iter.Seq2[int, sim.Identity]{span(1400, 200), span(1450, 200), ids([2]uint64{7, 7})} {
		if err := change(t, s, func(tx *store.Tx) error { return l.Retire(t.Context(), tx, lost, ids) }); err != nil {
			t.Fatal(err)
		}
	}
	for n, want := range map[uint64]Hold{0: Reserved, 7: Retired, 1399: Reserved, 1400: Retired, 1499: Retired, 1500: Retired, 1649: Retired, 1650: ""} {
		i, err := l.FindICCID(t.Context(), s, identity(n, 0).ICCID)
		if err != nil {
			t.Fatal(err)
		}
		if got := i; got == nil && want != "" || got != nil && got.Hold != want {
			t.Errorf("%d is %+v, want %q", n, got, want)
		}
		if i != nil && (i.Order == lost.Order) != (n >= 1500) {
			t.Errorf("%d is of %s", n, i.Order)
		}
	}
	var clash Clashes
	if err := reserve(t, l, s, span(1649, 10)); !errors.As(err, &clash) || clash[0].Position != 0 || len(clash) != 2 {
		t.Errorf("issued what is retired: %v", err)
	}
}

// A crash between two windows leaves an order that is only reserving.
func TestLedgerCutShort(t *testing.T) {
	l, s := testLedger(t)
	l.window = 4
	h := Holder{"op-1", "op"}
	ctx, cancel := context.WithCancel(t.Context())
	err := l.Reserve(ctx, s, h, func(yield func(int, sim.Identity) bool) {
		for i, id := range span(0, 5000) {
			if i == 3500 {
				cancel() // as a stop of the site does
			}
			if !yield(i, id) {
				return
			}
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if i, err := l.FindIMSI(t.Context(), s, identity(0, 0).IMSI); i != nil || err != nil {
		t.Errorf("still held: %+v, %v", i, err)
	}
	if err := reserve(t, l, s, span(100, 4000)); err != nil {
		t.Error(err)
	}
}

// The windows that keep memory bounded change no answer.
func TestLedgerWindows(t *testing.T) {
	const cards = 1000
	l, s := testLedger(t)
	l.window = 150
	scattered := func(twice int) iter.Seq2[int, sim.Identity] {
		return func(yield func(int, sim.Identity) bool) {
			for i := range cards {
				n := uint64(i) * perBlock
				if i == cards-1 && twice >= 0 {
					n = uint64(twice) * perBlock
				}
				if !yield(i, identity(n, n+1)) {
					return
				}
			}
		}
	}
	at := cards - 1
	for _, twice := range []int{5, 100, at - 1} {
		n := uint64(twice) * perBlock
		want := Clashes{{KindICCID, identity(n, 1).ICCID.String(), at, true}, {KindIMSI, identity(1, n+1).IMSI.String(), at, true}}
		var got Clashes
		if err := reserve(t, l, s, scattered(twice)); !errors.As(err, &got) {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	if err := reserve(t, l, s, scattered(-1)); err != nil {
		t.Fatal(err)
	}
	var got Clashes
	if err := reserve(t, l, s, scattered(-1)); !errors.As(err, &got) || got[0].Position != 0 || got[0].Inside || got[9].Position != 4 {
		t.Error(err)
	}
}

// The ledger answers as a set does.
func TestLedgerIsASet(t *testing.T) {
	l, s := testLedger(t)
	model := make(map[number]bool)
	rapid.Check(t, func(t2 *rapid.T) {
		var pairs [][2]uint64
		inside := make(map[number]bool)
		clash := false
		for range rapid.IntRange(1, 6).Draw(t2, "cards") {
			p := [2]uint64{rapid.Uint64Range(0, 50_000).Draw(t2, "iccid"), rapid.Uint64Range(0, 50_000).Draw(t2, "imsi")}
			pairs = append(pairs, p)
			id := identity(p[0], p[1])
			for _, n := range []number{iccidNumber(id.ICCID), imsiNumber(id.IMSI)} {
				clash = clash || model[n] || inside[n]
				inside[n] = true
			}
		}
		err := reserve(t, l, s, ids(pairs...))
		if (err != nil) != clash {
			t2.Fatalf("%v: %v, want a clash: %v", pairs, err, clash)
		}
		if err == nil {
			for n := range inside {
				model[n] = true
			}
		}
	})
}

func TestBitmapForms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want, got bitmap
		for range rapid.IntRange(0, 40).Draw(t, "runs") {
			from := rapid.IntRange(0, perBlock-1).Draw(t, "from")
			for n := from; n < min(perBlock, from+rapid.IntRange(1, 100).Draw(t, "long")); n++ {
				want[n/8] |= 1 << (n % 8)
			}
		}
		stored := want.append([]byte("before"))[len("before"):]
		if len(stored) > bitBytes {
			t.Fatalf("it takes %d bytes", len(stored))
		}
		if !got.read(stored) || got != want {
			t.Fatalf("%v became %v", want, got)
		}
	})
	var full bitmap
	if !full.read([]byte{0x80, 0, 0x03, 0xE7}) || len(full.append(nil)) != 4 || full.next(0, 0xFF) != perBlock {
		t.Errorf("a full block is %x", full.append(nil))
	}
	for _, bad := range [][]byte{{1}, {3, 0xE8}, {0x80, 5}, {0x80, 5, 0, 4}, {0x80, 5, 3, 0xE8}, make([]byte, 127)} {
		if new(bitmap).read(bad) {
			t.Errorf("%x is a block", bad)
		}
	}
}

func TestFingerprint(t *testing.T) {
	l, s := testLedger(t)
	insert := func(key byte) error {
		k := make([]byte, 16)
		k[3] = key
		f, err := l.Fingerprint(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		return change(t, s, func(tx *store.Tx) error { return l.InsertFingerprint(tx, f) })
	}
	if err := errors.Join(insert(1), insert(2)); err != nil {
		t.Fatal(err)
	}
	if err := insert(1); !errors.Is(err, ErrRepeatedRandom) {
		t.Errorf("got %v, want %v", err, ErrRepeatedRandom)
	}
	if _, err := l.Fingerprint(t.Context(), make([]byte, 15)); err == nil {
		t.Error("fingerprint of a short key")
	}
}

func TestLedgerRefuses(t *testing.T) {
	l, s := testLedger(t)
	if _, err := NewLedger(nil, "ledger"); !errors.Is(err, ErrNoLedger) {
		t.Error(err)
	}
	if _, err := NewLedger(l.token, ""); !errors.Is(err, ErrNoLedger) {
		t.Error(err)
	}
	var zero Ledger
	if err := reserve(t, &zero, s, span(0, 1)); !errors.Is(err, ErrNoLedger) {
		t.Error(err)
	}
	if _, err := zero.FindIMSI(t.Context(), s, identity(0, 0).IMSI); !errors.Is(err, ErrNoLedger) {
		t.Error(err)
	}
	if _, err := zero.Fingerprint(t.Context(), make([]byte, 16)); !errors.Is(err, ErrNoLedger) {
		t.Error(err)
	}
	if err := change(t, s, func(tx *store.Tx) error { return zero.Retire(t.Context(), tx, Holder{"a", "b"}, span(0, 1)) }); !errors.Is(err, ErrNoLedger) {
		t.Error(err)
	}
	if err := change(t, s, func(tx *store.Tx) error { return zero.InsertFingerprint(tx, [32]byte{}) }); !errors.Is(err, ErrNoLedger) {
		t.Error(err)
	}
	other := &Ledger{l.token, "nokey", maxBlocks}
	if err := reserve(t, other, s, span(0, 1)); !errors.Is(err, hsm.ErrNoKey) {
		t.Error(err)
	}
	if _, err := other.FindIMSI(t.Context(), s, identity(0, 0).IMSI); !errors.Is(err, hsm.ErrNoKey) {
		t.Error(err)
	}
	// A block that something else has changed is not taken for an empty one.
	if err := reserve(t, l, s, span(0, 1)); err != nil {
		t.Fatal(err)
	}
	err := change(t, s, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE ledger_share SET issued = $1`, []byte{1})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := reserve(t, l, s, span(5, 1)); err == nil {
		t.Error("reserved in a broken block")
	}
	if _, err := l.FindIMSI(t.Context(), s, identity(0, 0).IMSI); err == nil {
		t.Error("read a broken block")
	}
}

// The table of a stolen ledger holds no number.
func TestLedgerTellsNothing(t *testing.T) {
	l, s := testLedger(t)
	if err := reserve(t, l, s, span(0, 1)); err != nil {
		t.Fatal(err)
	}
	other, _ := testLedger(t)
	mine, _ := l.name(t.Context(), imsiNumber(identity(0, 0).IMSI).block())
	theirs, _ := other.name(t.Context(), imsiNumber(identity(0, 0).IMSI).block())
	if mine == theirs {
		t.Error("two keys give a block one name")
	}
}

func BenchmarkReserveSequential(b *testing.B) {
	benchReserve(b, func(_ *rand.Rand, i uint64) uint64 { return i })
}
func BenchmarkReserveScattered(b *testing.B) {
	benchReserve(b, func(r *rand.Rand, _ uint64) uint64 { return r.Uint64N(4_000_000_000) })
}

// benchReserve reserves a million identities once for every iteration, each
// time others.
func benchReserve(b *testing.B, draw func(r *rand.Rand, i uint64) uint64) {
	const cards = 1_000_000
	l, s := testLedger(b)
	round := uint64(0)
	for b.Loop() {
		all := make(map[uint64]bool, cards)
		list := make([]sim.Identity, 0, cards)
		b.StopTimer()
		r := rand.New(rand.NewPCG(round, 1))
		for i := uint64(0); len(list) < cards; i++ {
			n := draw(r, i)
			if !all[n] {
				all[n] = true
				list = append(list, identity(round*5_000_000_000+n, round*5_000_000_000+n))
			}
		}
		round++
		b.StartTimer()
		err := l.Reserve(b.Context(), s, Holder{fmt.Sprint("bench-", round), "op"}, func(yield func(int, sim.Identity) bool) {
			for i, id := range list {
				if !yield(i, id) {
					return
				}
			}
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(cards*float64(b.N)/b.Elapsed().Seconds(), "cards/s")
}
