package slot

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ankan/pcsc"
	"ankan/pcsc/pcsctest"
	"ankan/scp"
	"ankan/simos"
	"ankan/station"
	"ankan/uicc"
)

const name = "Test Reader 00 00"

func chip(t *testing.T, n byte) *simos.Chip {
	t.Helper()
	key := bytes.Repeat([]byte{n}, 16)
	keys, err := scp.NewKeySet(key, key, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := simos.NewChip(simos.Config{Serial: simos.Serial{n}, Lot: "LOT-1", Keys: keys,
		Vendor: make(ed25519.PublicKey, ed25519.PublicKeySize), Seed: key, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A dead card gives no answer to reset.
type dead struct{}

func (dead) Transmit(context.Context, []byte) ([]byte, error) { return nil, errors.New("dead") }
func (dead) Reset() uicc.ATR                                  { return nil }
func (dead) Off()                                             {}

// A person does what the reader tells: for each text a step, in this order.
type person struct {
	t     *testing.T
	d     *pcsctest.Daemon
	steps []step
	told  []string
}

type step struct {
	want string
	do   func()
}

func (p *person) hear(text string) {
	p.told = append(p.told, text)
	if len(p.steps) == 0 || !strings.Contains(text, p.steps[0].want) {
		p.t.Errorf("the reader says %q out of turn", text)
		return
	}
	do := p.steps[0].do
	p.steps = p.steps[1:]
	go func() {
		for range 1000 {
			if p.d.Waiting() > 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		do()
	}()
}

func (p *person) open() station.Reader {
	p.t.Helper()
	r, err := Open(p.t.Context(), "Test", p.hear)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { r.Close() })
	return r
}

func TestReader(t *testing.T) {
	d := pcsctest.Start(t, name)
	one, two := chip(t, 1), chip(t, 2)
	p := &person{t: t, d: d, steps: []step{
		{"insert a fresh card", func() { d.Insert(name, one) }},
		{"take the card out", func() { d.Insert(name, nil) }},
		{"insert chip 0100000000000000 again", func() { d.Insert(name, two) }},
		{"this is chip 0200000000000000; take it out and insert chip 0100000000000000", func() { d.Insert(name, nil) }},
		{"this is chip 0200000000000000", func() { d.Insert(name, dead{}) }},
		{"does not say which chip it is", func() { d.Insert(name, nil) }},
		{"does not say which chip it is", func() { d.Insert(name, one) }},
		{"take the card out", func() { d.Insert(name, nil) }},
	}}
	r := p.open()
	ctx := t.Context()
	if err := r.Take(ctx); err != nil {
		t.Fatal(err)
	}
	if atr, err := r.Reset(ctx); err != nil || !bytes.Equal(atr, one.Clone().Reset()) {
		t.Fatalf("%X, %v", atr, err)
	}
	if s, err := serialOf(ctx, r); err != nil || s != one.Serial() {
		t.Fatalf("%X, %v", s, err)
	}
	if err := r.Eject(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.Eject(ctx); err != nil {
		t.Errorf("an empty reader: %v", err)
	}
	if err := r.Insert(ctx, one.Serial()); err != nil {
		t.Fatal(err)
	}
	if s, err := serialOf(ctx, r); err != nil || s != one.Serial() {
		t.Fatalf("%X, %v", s, err)
	}
	if err := r.Eject(ctx); err != nil {
		t.Fatal(err)
	}
	if len(p.steps) > 0 {
		t.Errorf("not told: %v", p.steps[0].want)
	}
}

// The line finds its own errors in those of the reader; a card that was taken
// out is not a mute one.
func TestErrors(t *testing.T) {
	d := pcsctest.Start(t, name)
	ctx := t.Context()
	if _, err := Open(ctx, "Gemalto", nil); !errors.Is(err, pcsc.UnknownReader) {
		t.Errorf("another reader: %v", err)
	}
	r, err := Open(ctx, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	d.Insert(name, dead{})
	if err := r.Take(ctx); err != nil {
		t.Errorf("a mute card: %v", err)
	}
	if _, err := r.Reset(ctx); !errors.Is(err, station.ErrMute) || !errors.Is(err, pcsc.UnresponsiveCard) {
		t.Errorf("reset of a mute card: %v", err)
	}
	d.Insert(name, chip(t, 1))
	if _, err := r.Reset(ctx); err != nil {
		t.Errorf("reset of the next card: %v", err)
	}
	d.Lock()
	d.Codes = map[uint32]uint32{0x09: uint32(pcsc.NotTransacted)}
	d.Unlock()
	if _, err := r.Transmit(ctx, []byte{0, 0xA4, 0, 0}); !errors.Is(err, station.ErrMute) {
		t.Errorf("no answer: %v", err)
	}
	d.Lock()
	d.Codes = nil
	d.Unlock()
	d.Insert(name, nil)
	for what, f := range map[string]func() error{
		"transmit": func() error { _, err := r.Transmit(ctx, []byte{0, 0xA4, 0, 0}); return err },
		"reset":    func() error { _, err := r.Reset(ctx); return err },
	} {
		if err := f(); !errors.Is(err, pcsc.RemovedCard) || errors.Is(err, station.ErrMute) {
			t.Errorf("%s of a card that was taken out: %v", what, err)
		}
	}
	if err := r.Eject(ctx); err != nil {
		t.Errorf("eject of a card that was taken out: %v", err)
	}
	d.Insert(name, chip(t, 2))
	other, err := Open(ctx, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Take(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.Take(ctx); !errors.Is(err, pcsc.SharingViolation) {
		t.Errorf("a card that another has: %v", err)
	}
	d.Plug()
	for what, f := range map[string]func() error{
		"take":   func() error { return r.Take(ctx) },
		"insert": func() error { return r.Insert(ctx, [8]byte{1}) },
		"eject":  func() error { return r.Eject(ctx) },
	} {
		if err := f(); !errors.Is(err, pcsc.ReaderUnavailable) {
			t.Errorf("%s at a reader that is gone: %v", what, err)
		}
	}
}

// A person who does not come holds no context up.
func TestNobody(t *testing.T) {
	d := pcsctest.Start(t, name)
	r, err := Open(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	late := errors.New("nobody came")
	for what, f := range map[string]func(context.Context) error{
		"take":   r.Take,
		"insert": func(ctx context.Context) error { return r.Insert(ctx, [8]byte{9}) },
		"other chip": func(ctx context.Context) error {
			d.Insert(name, chip(t, 1))
			defer d.Insert(name, nil)
			return r.Insert(ctx, [8]byte{9})
		},
		"eject": func(ctx context.Context) error {
			d.Insert(name, chip(t, 1))
			defer d.Insert(name, nil)
			return r.Eject(ctx)
		},
	} {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, late)
		if err := f(ctx); !errors.Is(err, late) {
			t.Errorf("%s: %v", what, err)
		}
		cancel()
	}
}

func TestSerial(t *testing.T) {
	for name, c := range map[string]answers{
		"no object":  {{0x90, 0}, {0x66, 0, 0x90, 0}},
		"short":      {{0x90, 0}, {0x9F, 0x7F, 1, 0, 0x90, 0}},
		"refused":    {{0x90, 0}, {0x6A, 0x88}},
		"no manager": {{0x6A, 0x82}},
	} {
		if s, err := serialOf(t.Context(), &c); err == nil {
			t.Errorf("%s: %X", name, s)
		}
	}
}

type answers [][]byte

func (a *answers) Transmit(context.Context, []byte) ([]byte, error) {
	if len(*a) == 0 {
		return nil, fmt.Errorf("no more answers")
	}
	b := (*a)[0]
	*a = (*a)[1:]
	return b, nil
}
