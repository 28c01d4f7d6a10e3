package aka

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSQN(t *testing.T) {
	var s SQN
	for i := range uint64(100) {
		next, err := s.Next()
		if err != nil || next.SEQ() != i+1 || next.IND() != int(i+1)%32 {
			t.Fatalf("after %#x comes %#x, %v", uint64(s), uint64(next), err)
		}
		s = next
	}
	if far, err := SQN(0).Add(100); err != nil || far != s {
		t.Errorf("100 on is %#x, want %#x: %v", uint64(far), uint64(s), err)
	}
	if s.Bytes() != [6]byte{0, 0, 0, 0, 0x0C, 0x84} || SQNFromBytes(s.Bytes()) != s {
		t.Errorf("%#x is % X", uint64(s), s.Bytes())
	}
	last := SQN(1<<48 - 1)
	for _, n := range []uint64{1, 1 << 43, 1<<64 - 1} {
		if _, err := last.Add(n); err == nil || !strings.Contains(err.Error(), "all sequence numbers are used") {
			t.Errorf("%d after the last SQN: %v", n, err)
		}
	}
	if _, err := SQN(1<<64 - 1).Next(); err == nil {
		t.Error("an SQN of more than 48 bits has a next one")
	}
}

func TestWindow(t *testing.T) {
	at := func(seq uint64, ind int) SQN { return SQN(seq<<indBits | uint64(ind)) }
	var w Window
	for i, c := range []struct {
		sqn SQN
		ok  bool
	}{
		{at(0, 0), false},            // a new card wants SEQ 1
		{at(1, 1), true},             //
		{at(1, 1), false},            // a replay
		{at(10, 10), true},           //
		{at(5, 5), true},             // late, in its own slot
		{at(5, 5), false},            //
		{at(4, 5), false},            // older in the slot
		{at(10+maxJump+1, 7), false}, // too far ahead
		{at(10+maxJump, 7), true},    //
		{at(11, 11), true},           // still late and fresh
	} {
		if err := w.Accept(c.sqn); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrSync) {
			t.Errorf("step %d: SEQ %d in slot %d: %v", i, c.sqn.SEQ(), c.sqn.IND(), err)
		}
	}
	if w.Highest() != at(10+maxJump, 7) {
		t.Errorf("highest is %#x", uint64(w.Highest()))
	}
}

func TestAdvance(t *testing.T) {
	for _, c := range []struct{ network, card, want SQN }{
		{0, 0, 0}, {64, 32, 64}, {32, 64, 64}, {33, 62, 33}, {maxJump<<indBits - 32, 0, maxJump<<indBits - 32},
	} {
		if got, err := c.network.Advance(c.card); err != nil || got != c.want {
			t.Errorf("network %d, card %d: %d, %v", c.network, c.card, got, err)
		}
	}
	if _, err := SQN(maxJump << indBits).Advance(0); err == nil || !strings.Contains(err.Error(), "no vector can reach it") {
		t.Errorf("a card out of reach: %v", err)
	}
}

// A card takes no SQN twice, whatever it is sent, and after a resynchronisation
// it takes the network's next one.
func TestWindowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var card Window
		taken := map[SQN]bool{}
		network := SQN(rapid.Uint64Range(0, 1<<30).Draw(t, "start"))
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			sqn := SQN(rapid.Uint64Range(0, 1<<36).Draw(t, "sqn"))
			err := card.Accept(sqn)
			if err == nil && taken[sqn] {
				t.Fatalf("%#x was taken twice", uint64(sqn))
			}
			if err == nil {
				taken[sqn] = true
				continue
			}
			if network, err = network.Advance(card.Highest()); err != nil {
				continue // out of reach: refused, not repeated
			}
			if network, err = network.Next(); err != nil {
				t.Fatal(err)
			}
			if err := card.Accept(network); err != nil {
				t.Fatalf("after a resynchronisation: %v", err)
			}
			taken[network] = true
		}
	})
}

func FuzzSQN(f *testing.F) {
	f.Add(uint64(0), uint64(1))
	f.Add(uint64(1<<48-1), uint64(1))
	f.Fuzz(func(t *testing.T, v, n uint64) {
		s, err := ParseSQN(v)
		if err != nil {
			return
		}
		if SQNFromBytes(s.Bytes()) != s {
			t.Errorf("%#x became % X", v, s.Bytes())
		}
		if far, err := s.Add(n); err == nil && (far.SEQ() != s.SEQ()+n || far>>48 != 0) {
			t.Errorf("%#x plus %d is %#x", v, n, uint64(far))
		}
	})
}
