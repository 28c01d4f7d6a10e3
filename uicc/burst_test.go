package uicc

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

func TestBurst(t *testing.T) {
	var b Burst
	b.Reset()
	read := Command{INS: INSReadBinary, P1: 0x82, Le: 9}
	for w, c := range map[Want]Command{WantOK: read} {
		if err := b.Command(w, c); err != nil {
			t.Fatal(err)
		}
	}
	ask := []byte{0x00, INSVerify, 0x00, 0x0A}
	if err := b.Add(WantTries, func(dst []byte) ([]byte, error) { return append(dst, ask...), nil }); err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(b.Bytes())
	cause := errors.New("cause")
	if err := b.Add(WantOK, func(dst []byte) ([]byte, error) { return append(dst, 1, 2), cause }); err != cause {
		t.Errorf("%v, want the cause", err)
	}
	if err := b.Add(WantOK, func(dst []byte) ([]byte, error) { return append(dst, 0, 0xB0, 0, 0, 9, 9), nil }); !errors.Is(err, ErrAPDU) {
		t.Errorf("%v, want no such command", err)
	}
	if !bytes.Equal(b.Bytes(), before) {
		t.Error("what was refused is in the burst")
	}
	again, err := ParseBurst(bytes.Clone(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	steps := slices.Collect(again.All())
	if len(steps) != 3 || steps[0].Command != nil || !bytes.Equal(steps[1].Command, read.Append(nil)) || !bytes.Equal(steps[2].Command, ask) || steps[2].Want != WantTries {
		t.Errorf("%+v", steps)
	}
	memory := b.Bytes()
	b.Clear()
	if len(b.Bytes()) != 0 || !bytes.Equal(memory, make([]byte, len(memory))) {
		t.Error("a cleared burst is still there")
	}
}

func TestWants(t *testing.T) {
	for _, c := range []struct {
		want Want
		sw   SW
		met  bool
	}{
		{WantOK, SWOK, true}, {WantOK, 0x9110, true}, {WantOK, 0x63C3, false}, {WantOK, SWFileNotFound, false},
		{WantAny, SWFileNotFound, true},
		{WantMore, SWOK, true}, {WantMore, SWMoreData, true}, {WantMore, SWMoreExpected, true}, {WantMore, 0x63C1, false},
		{WantTries, SWOK, true}, {WantTries, 0x63C2, true}, {WantTries, 0x63C1, false}, {WantTries, 0x63C0, false}, {WantTries, SWBlocked, false},
		{Want(9), SWOK, false},
	} {
		if c.want.Met(c.sw) != c.met {
			t.Errorf("want %d, %v: %t", c.want, c.sw, !c.met)
		}
	}
}

// What moves to a larger place leaves nothing behind.
func TestBurstMoves(t *testing.T) {
	var b Burst
	code := bytes.Repeat([]byte{0x31}, 8)
	var places [][]byte
	for range 200 {
		if err := b.Command(WantOK, Command{INS: INSVerify, P2: 1, Data: code}); err != nil {
			t.Fatal(err)
		}
		places = append(places, b.Bytes())
	}
	for _, p := range places {
		if &p[0] != &b.Bytes()[0] && bytes.Contains(p, code) {
			t.Fatal("a code was left behind")
		}
	}
}

func TestAnswers(t *testing.T) {
	var a Answers
	for _, x := range [][]byte{{1, 2, 0x90, 0}, {0x3B, 0x00}, {0x6A, 0x82}} {
		if err := a.Add(func(dst []byte) ([]byte, error) { return append(dst, x...), nil }); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Add(func(dst []byte) ([]byte, error) { return append(dst, make([]byte, maxAnswer+1)...), nil }); !errors.Is(err, ErrBurst) {
		t.Errorf("an answer without end: %v", err)
	}
	var b Answers
	if err := b.Parse(a.Bytes()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\x01\x02\x90\x00", "\x3B\x00", "\x6A\x82"} {
		if got, ok := b.Next(); !ok || string(got) != want {
			t.Errorf("%X, want %X", got, want)
		}
	}
	if got, ok := b.Next(); ok {
		t.Errorf("%X after the last", got)
	}
}

func FuzzBurst(f *testing.F) {
	var b Burst
	b.Reset()
	if err := b.Command(WantOK, Command{INS: INSSelect, Data: []byte{0x3F, 0}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte{0, 0, 4, 0, 0xA4, 0, 0})
	f.Add([]byte{0xFF, 0, 1, 0})
	f.Fuzz(func(t *testing.T, doc []byte) {
		b, err := ParseBurst(bytes.Clone(doc))
		if err != nil {
			if !errors.Is(err, ErrBurst) {
				t.Errorf("%v is no ErrBurst", err)
			}
		} else {
			var again Burst
			for s := range b.All() {
				if s.Command == nil {
					again.Reset()
				} else if err := again.Add(s.Want, func(dst []byte) ([]byte, error) { return append(dst, s.Command...), nil }); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(again.Bytes(), doc) {
				t.Errorf("%X comes back as %X", doc, again.Bytes())
			}
		}
		var a Answers
		if a.Parse(doc) == nil {
			n := 0
			for x, ok := a.Next(); ok; x, ok = a.Next() {
				n += 2 + len(x)
			}
			if n != len(doc) {
				t.Errorf("%d bytes of answers in %d", n, len(doc))
			}
		}
	})
}
