package datagen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"ankan/aka"
	"ankan/hsm"
	"ankan/order"
	"ankan/profile"
	"ankan/sim"
)

func TestGenerate(t *testing.T) {
	f := newBureau(t)
	var done []int
	b := f.batch("A1", 25, 4, 10)
	f.must(f.generator().Run(t.Context(), b, f.identities(), func(n int) { done = append(done, n) }))
	if slices.Sort(done); !slices.Equal(done, []int{9, 10, 10}) {
		t.Errorf("stored %v key sets, want 10, 10 and 9", done)
	}
	r, err := NewReader(t.Context(), f.store, f.token, "A1")
	f.must(err)
	defer r.Close()
	c := checker{bureau: f, b: b, seen: map[string]string{}}
	for k := range b.Cards + b.Spares {
		rec, err := r.Record(t.Context(), nil, k)
		f.must(err)
		c.record(k, rec)
	}
	e, err := f.store.Entries(t.Context(), 0, 1000)
	f.must(err)
	blocks := 0
	for _, e := range e {
		if e.Kind == "batch.block-generated" {
			blocks++
		}
	}
	if blocks != 3 {
		t.Errorf("%d entries for 3 blocks", blocks)
	}
}

// Each algorithm has keys of its own length, and its OPc, TOPc, or none.
func TestGenerateForAlgorithms(t *testing.T) {
	f := newBureau(t)
	builtin, err := profile.Builtin("in-5g-usim")
	f.must(err)
	const tuak = "algorithm: TUAK\ntuak: {k-bits: %d, mac-bits: 64, res-bits: 64, ck-bits: 128, ik-bits: 128, iterations: %d}"
	for i, c := range []struct {
		algorithm string
		op        []byte
		k, opc    int
	}{
		{fmt.Sprintf(tuak, 128, 1), bytes.Repeat([]byte{7}, 32), 16, 32},
		{fmt.Sprintf(tuak, 256, 2), bytes.Repeat([]byte{8}, 32), 32, 32},
		{"test: true\nalgorithm: XOR", nil, 16, 0},
	} {
		f.doc = []byte(strings.Replace(builtin.String(), "algorithm: \"MILENAGE\"", c.algorithm, 1))
		f.prof, err = profile.Parse("profile.yaml", f.doc)
		f.must(err)
		if found := f.prof.Check(); len(found) > 0 {
			t.Fatal(found)
		}
		g := f.generator()
		var op *hsm.OP
		if g.OP = nil; c.op != nil {
			op, err = hsm.NewOP(c.op)
			f.must(err)
			g.OP = op
		}
		b := f.batch(fmt.Sprintf("A%d", i), 12, 2, 10)
		f.must(g.Run(t.Context(), b, f.identities(), nil))
		r, err := NewReader(t.Context(), f.store, f.token, b.Order)
		f.must(err)
		defer r.Close()
		l, p, seen := b.Profile.Layout(), b.Profile.Parameters(), map[string]bool{}
		for k := range b.Cards + b.Spares {
			rec, err := r.Record(t.Context(), nil, k)
			f.must(err)
			key, opc := l.Of(rec, profile.SlotK), l.Of(rec, profile.SlotOPC)
			want, err := p.AppendVariant(nil, key, c.op)
			if err != nil || len(key) != c.k || len(opc) != c.opc || !bytes.Equal(opc, want) || seen[string(key)] {
				t.Errorf("%s: key set %d has K of %d bytes and OPc of %d, %v", p, k, len(key), len(opc), err)
			}
			seen[string(key)] = true
			if _, err := p.Open(key, opc); err != nil {
				t.Errorf("%s: key set %d: %v", p, k, err)
			}
		}
	}
	// The OP of another algorithm draws nothing.
	b := f.batch("B1", 10, 0, 10)
	b.Profile = builtin
	wrong, err := hsm.NewOP(make([]byte, 32))
	f.must(err)
	g := f.generator()
	g.OP = wrong
	if err := g.Run(t.Context(), b, f.identities(), nil); err == nil || !strings.Contains(err.Error(), "OP 32, want 16 each") {
		t.Errorf("a TOP for MILENAGE: %v", err)
	}
}

// A checker looks at every record of a batch.
type checker struct {
	*bureau
	b    Batch
	seen map[string]string // keys, and whose they are
}

func (c *checker) record(k int, r []byte) {
	c.Helper()
	l := c.b.Profile.Layout()
	if len(r) != l.Size {
		c.Fatalf("key set %d has %d bytes, want %d", k, len(r), l.Size)
	}
	for _, s := range c.b.Profile.Slots() {
		field := l.Of(r, s.ID)
		switch s.Kind {
		case profile.RandomKey:
			if whose, had := c.seen[string(field)]; had {
				c.Errorf("key set %d: %s is also %s", k, s.Name, whose)
			}
			c.seen[string(field)] = s.Name
		case profile.RandomDigits:
			c.digits(k, s, field)
		}
	}
	opc, err := aka.AppendOPc(nil, l.Of(r, profile.SlotK), theOP[:])
	if err != nil || !bytes.Equal(opc, l.Of(r, profile.SlotOPC)) {
		c.Errorf("key set %d: OPc is not that of K and OP: %v", k, err)
	}
	c.identity(k, l, r)
}

func (c *checker) digits(k int, s profile.Slot, field []byte) {
	c.Helper()
	digits := bytes.TrimRight(field, "\xFF")
	if len(digits) != s.Digits || len(bytes.Trim(digits, "0123456789")) > 0 || s.Fixed != "" && string(digits) != s.Fixed {
		c.Errorf("key set %d: %s has %d characters, not the %d digits that the profile says", k, s.Name, len(digits), s.Digits)
	}
	if (s.ID == profile.SlotPUK1 || s.ID == profile.SlotPUK2) && s.Digits != 8 {
		c.Errorf("%s has %d digits, want 8 (TS 102 221, 9.5.2)", s.Name, s.Digits)
	}
}

func (c *checker) identity(k int, l *profile.Layout, r []byte) {
	c.Helper()
	id, err := Identity(l, r)
	if k >= c.b.Cards {
		if err == nil || bytes.Trim(r[:l.Offset[profile.SlotPIN1]], "\x00") != nil {
			c.Errorf("spare %d has an identity", k)
		}
		return
	}
	c.must(err)
	want := c.identityOf(k)
	acc := l.Of(r, profile.SlotACC)
	// ParseICCID checks Luhn's digit.
	if _, err := sim.ParseICCID(id.ICCID.String()); err != nil || id.ICCID != want.ICCID || id.IMSI != want.IMSI ||
		uint16(acc[0])<<8|uint16(acc[1]) != want.IMSI.ACC() {
		c.Errorf("key set %d has identity %v, want %v (%v)", k, id, want, err)
	}
	if l.Has(profile.SlotMSISDN) && string(bytes.TrimRight(l.Of(r, profile.SlotMSISDN), "\xFF")) != want.MSISDN.String() {
		c.Errorf("key set %d has another MSISDN than %s", k, want.MSISDN)
	}
}

func TestGenerateResumes(t *testing.T) {
	f := newBureau(t)
	b := f.batch("A1", 100, 3, 10)
	for i := 0; ; i++ {
		ctx, cancel := context.WithCancel(t.Context())
		err := f.generator().Run(ctx, b, f.identities(), func(int) { cancel() })
		cancel()
		if err == nil {
			break
		}
		f.want("a cut", err, context.Canceled)
		if i > b.Blocks() {
			t.Fatal("it does not come to an end")
		}
	}
	if got := f.have("A1"); got != "[0 1 2 3 4 5 6 7 8 9 10]" {
		t.Errorf("blocks %s, want 0 to 10", got)
	}
	r, err := NewReader(t.Context(), f.store, f.token, "A1")
	f.must(err)
	defer r.Close()
	c := checker{bureau: f, b: b, seen: map[string]string{}}
	for k := range b.Cards + b.Spares {
		rec, err := r.Record(t.Context(), nil, k)
		f.must(err)
		c.record(k, rec)
	}
	// Again, all there is: nothing is drawn.
	size := f.store.Size()
	f.must(f.generator().Run(t.Context(), b, f.identities(), nil))
	if f.store.Size() != size {
		t.Error("a finished batch was written to")
	}
}

// What is drawn when Run ends must not meet a closed key: Seal panics then.
func TestGenerateEndsWell(t *testing.T) {
	f := newBureau(t)
	b := f.batch("A1", 100000, 0, 1000)
	for i := range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond/2)
		drawing := f.identities()
		over := false
		err := f.generator().Run(ctx, b, func(ids []sim.Identity, first int) error {
			if over {
				t.Error("drawing goes on after Run")
			}
			return drawing(ids, first)
		}, nil)
		over = true
		cancel()
		f.want("a cut", err, context.DeadlineExceeded)
	}
}

// failing is a module that has no random numbers, or an operator without OP.
type failing struct{ hsm.Token }

var errBroken = errors.New("broken")

func (failing) Random([]byte) error                                 { return errBroken }
func (failing) OPc(dst, _ []byte, _ aka.Parameters) ([]byte, error) { return dst, errBroken }
func (f *bureau) with(change func(*Generator)) error                { return f.withBatch(change, "A1") }

func (f *bureau) withBatch(change func(*Generator), ord string) error {
	f.Helper()
	b, err := Load(f.Context(), f.store, ord)
	f.must(err)
	g := f.generator()
	change(g)
	return g.Run(f.Context(), b, f.identities(), nil)
}

func TestGenerateRefuses(t *testing.T) {
	f := newBureau(t)
	b := f.batch("A1", 10, 0, 10)
	if err := new(Generator).Run(t.Context(), b, f.identities(), nil); err == nil {
		t.Error("the zero Generator draws")
	}
	for name, change := range map[string]func(*Generator){
		"no store":  func(g *Generator) { g.Store = nil },
		"no token":  func(g *Generator) { g.Token = nil },
		"no ledger": func(g *Generator) { g.Ledger = nil },
		"no OP":     func(g *Generator) { g.OP = nil },
	} {
		if err := f.with(change); err == nil {
			t.Errorf("%s: it draws", name)
		}
	}
	if err := f.generator().Run(t.Context(), Batch{}, f.identities(), nil); err == nil {
		t.Error("the zero Batch is drawn")
	}
	f.want("no random", f.with(func(g *Generator) { g.Token = failing{f.token} }), errBroken)
	f.want("no OPc", f.with(func(g *Generator) { g.OP = failing{} }), errBroken)
	f.want("zero ledger", f.with(func(g *Generator) { g.Ledger = new(order.Ledger) }), order.ErrNoLedger)
	f.must(f.token.Destroy(t.Context(), "kek"))
	f.want("destroyed key", f.with(func(*Generator) {}), hsm.ErrNoKey)
	if got := f.have("A1"); got != "[]" {
		t.Errorf("blocks %s were stored", got)
	}
}

// A restored snapshot that repeats its random stream draws a block again: its
// fingerprint is in the ledger, and nothing of it is stored.
func TestR16_RepeatedRandom(t *testing.T) {
	f := newBureau(t)
	g, b := f.generator(), f.batch("A1", 20, 0, 10)
	drawn, err := g.blocks(t.Context(), f.dataKey(b), b, Span{0, 1}, f.identities())
	f.must(err)
	f.must(g.put(t.Context(), b, 0, drawn))
	f.want("same keys as block 1", g.put(t.Context(), b, 1, drawn), order.ErrRepeatedRandom)
	other := f.batch("A2", 10, 0, 10)
	f.want("same keys in another order", g.put(t.Context(), other, 0, drawn), order.ErrRepeatedRandom)
	if f.have("A1") != "[0]" || f.have("A2") != "[]" {
		t.Errorf("blocks %s and %s, want [0] and none", f.have("A1"), f.have("A2"))
	}
	// A module that always says the same does not repeat a stream: the
	// operating system's random and the block's name are mixed in.
	g.Token = constant{f.token}
	one, err := g.blocks(t.Context(), f.dataKey(b), b, Span{1, 2}, f.identities())
	f.must(err)
	two, err := g.blocks(t.Context(), f.dataKey(b), b, Span{1, 2}, f.identities())
	f.must(err)
	if one[0].fingerprint == two[0].fingerprint {
		t.Error("a repeating module gives repeated keys")
	}
}

type constant struct{ hsm.Token }

func (constant) Random(p []byte) error { clear(p); return nil }

// chiSquare measures how far counts are from equal; with 9 degrees of freedom
// 45 is passed once in a million times.
func chiSquare(counts []int) float64 {
	n := 0
	for _, c := range counts {
		n += c
	}
	want, x := float64(n)/float64(len(counts)), 0.0
	for _, c := range counts {
		x += math.Pow(float64(c)-want, 2) / want
	}
	return x
}

func TestDigits(t *testing.T) {
	f := newBureau(t)
	d, err := newDRBG(f.token, []byte("digits"))
	f.must(err)
	defer d.Close()
	p := make([]byte, 1e6)
	d.digits(p)
	counts, pairs := make([]int, 10), make([]int, 100)
	for i, c := range p {
		if c < '0' || c > '9' {
			t.Fatalf("%02X is no digit", c)
		}
		counts[c-'0']++
		if i%2 == 1 {
			pairs[10*(p[i-1]-'0')+c-'0']++
		}
	}
	// 99 degrees of freedom: 180 is passed less than once in a million times.
	if x, y := chiSquare(counts), chiSquare(pairs); x > 45 || y > 180 {
		t.Errorf("digits %v: chi-square %.1f, of pairs %.1f", counts, x, y)
	}
	counts[3] += 6000
	if chiSquare(counts) < 45 {
		t.Error("the test would not notice 6 % more of one digit")
	}
}

func TestStream(t *testing.T) {
	f := newBureau(t)
	d, err := newDRBG(f.token, nil)
	f.must(err)
	seen := map[[16]byte]bool{}
	for range 5000 { // past the buffer's end, also in the middle of a key
		var k [16]byte
		d.fill(k[:])
		d.fill(make([]byte, 3))
		if seen[k] {
			t.Fatal("the stream repeats")
		}
		seen[k] = true
	}
	d.Close()
	if d.buf != [4096]byte{} {
		t.Error("Close leaves random numbers in memory")
	}
}

func BenchmarkGenerate(b *testing.B) {
	f := newBureau(b)
	g, batch, ids := f.generator(), f.batch("A1", 1e9, 0, BlockSize), f.identities()
	dk := f.dataKey(batch)
	b.ReportAllocs()
	n := 0
	for ; b.Loop(); n += perCommit {
		if _, err := g.blocks(b.Context(), dk, batch, Span{n, n + perCommit}, ids); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*BlockSize/b.Elapsed().Seconds(), "cards/s")
}

// With the store: what an order takes on all cores.
func BenchmarkRun(b *testing.B) {
	f := newBureau(b)
	g, ids := f.generator(), f.identities()
	const cards = 100 * BlockSize
	n := 0
	for ; b.Loop(); n++ {
		b.StopTimer()
		batch := f.batch(time.Now().Format(time.RFC3339Nano), cards, 0, BlockSize)
		b.StartTimer()
		f.must(g.Run(b.Context(), batch, ids, nil))
	}
	b.ReportMetric(float64(n)*cards/b.Elapsed().Seconds(), "cards/s")
}
