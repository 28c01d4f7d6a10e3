package simos

import (
	"testing"

	"pgregory.net/rapid"

	"ankan/aka"
)

// The chip keeps sequence numbers in its memory; it must accept what
// aka.Window, the same rule without a memory, accepts.
func TestAcceptModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := &core{memory: memory{b: make([]byte, atRecords)}}
		k.setEnd(atRecords)
		k.commit()
		at := k.add(head(recordAKA, akaSet))
		k.commit()
		var w aka.Window
		seq := rapid.OneOf(rapid.Uint64Range(0, 40), rapid.Uint64Range(1<<28-2, 1<<28+40), rapid.Uint64Range(0, 1<<43-1))
		for range rapid.IntRange(1, 50).Draw(t, "n") {
			sqn := aka.SQN(seq.Draw(t, "SEQ")<<5 | rapid.Uint64Range(0, 31).Draw(t, "IND"))
			want := w.Accept(sqn) == nil
			if got := k.accept(at, sqn); got != want || k.highest(at) != w.Highest() {
				t.Fatalf("SQN %X: accepted %v, highest %X; want %v, %X", uint64(sqn), got, uint64(k.highest(at)), want, uint64(w.Highest()))
			}
			k.commit()
		}
	})
}
