package aka

import (
	"encoding/binary"
	"fmt"
)

// SQN is a sequence number of 48 bits: SEQ, 43 bits, followed by IND, 5 bits
// (TS 33.102, C.1.1.1). The home network counts SEQ and takes turns through
// IND, so that vectors used out of order are still fresh for the card.
type SQN uint64

const (
	indBits = 5
	slots   = 1 << indBits
	maxSEQ  = 1<<(48-indBits) - 1

	// maxJump is the most that SEQ may be ahead of what the card saw: else one
	// forged or mistaken vector could use up all numbers (TS 33.102, C.2.1 and
	// C.3.2, which proposes 2^28).
	maxJump = 1 << 28
)

// ParseSQN takes a number of at most 48 bits.
func ParseSQN(v uint64) (SQN, error) {
	if v>>48 != 0 {
		return 0, fmt.Errorf("SQN is %#x, want at most 48 bits", v)
	}
	return SQN(v), nil
}

// SEQ is the counter in s.
func (s SQN) SEQ() uint64 { return uint64(s) >> indBits }

// IND is the slot in s, 0 to 31.
func (s SQN) IND() int { return int(s % slots) }

// Next is the sequence number of the next vector after s: the next SEQ in the
// next slot. It refuses when all are used.
func (s SQN) Next() (SQN, error) { return s.Add(1) }

// Add is the sequence number n vectors after s.
func (s SQN) Add(n uint64) (SQN, error) {
	if s.SEQ() > maxSEQ || n > maxSEQ-s.SEQ() {
		return 0, fmt.Errorf("SQN %#x plus %d: all sequence numbers are used", uint64(s), n)
	}
	return SQN((s.SEQ()+n)<<indBits | (uint64(s)+n)%slots), nil
}

// Bytes is the 6 bytes of s, the most significant first.
func (s SQN) Bytes() [6]byte {
	var b [6]byte
	putSQN(b[:], uint64(s))
	return b
}

// SQNFromBytes is the SQN of 6 bytes, the most significant first.
func SQNFromBytes(b [6]byte) SQN { return SQN(getSQN(b[:])) }

func putSQN(b []byte, v uint64) {
	binary.BigEndian.PutUint16(b, uint16(v>>32))
	binary.BigEndian.PutUint32(b[2:], uint32(v))
}

func getSQN(b []byte) uint64 {
	return uint64(binary.BigEndian.Uint16(b))<<32 | uint64(binary.BigEndian.Uint32(b[2:]))
}

// Window is the card's memory of sequence numbers: the last accepted SEQ of
// each slot (TS 33.102, C.2). The zero Window is a new card's, which accepts
// SEQ from 1.
type Window struct {
	seq [slots]uint64
}

// Highest is the SQN that the card reports in AUTS: the highest that it accepted.
func (w *Window) Highest() SQN {
	at := 0
	for i, seq := range w.seq {
		if seq > w.seq[at] {
			at = i
		}
	}
	return SQN(w.seq[at]<<indBits | uint64(at))
}

// Accept takes an SQN, once. It returns ErrSync for one that is not newer than
// the last of its slot, or too far ahead, and then remembers nothing.
func (w *Window) Accept(s SQN) error {
	seq, last := s.SEQ(), w.seq[s.IND()]
	if highest := w.Highest().SEQ(); seq > highest && seq-highest > maxJump {
		return fmt.Errorf("%w: SEQ %d is %d ahead, want at most %d", ErrSync, seq, seq-highest, maxJump)
	}
	if seq <= last {
		return fmt.Errorf("%w: SEQ %d, want more than %d in slot %d", ErrSync, seq, last, s.IND())
	}
	w.seq[s.IND()] = seq
	return nil
}

// Advance is the home network's side of a resynchronisation (TS 33.102,
// 6.3.5): the SQN to count on from, given the last one that was issued and the
// card's highest. It never goes back, for a number must not be issued twice:
// where the network is ahead of the card already, it stays; a card that is too
// far behind to accept the next vector is refused.
func (s SQN) Advance(highest SQN) (SQN, error) {
	switch {
	case highest.SEQ() > s.SEQ():
		return highest, nil
	case s.SEQ()-highest.SEQ() >= maxJump:
		return 0, fmt.Errorf("card is at SEQ %d, network at %d: no vector can reach it", highest.SEQ(), s.SEQ())
	}
	return s, nil
}
