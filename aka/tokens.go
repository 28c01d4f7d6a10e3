package aka

import (
	"crypto/subtle"
	"encoding/binary"

	"ankan/sim"
)

// functions are f1 to f5* of an algorithm set whose codes have 64 bits
// (TS 33.102, 6.3): what its tokens are made of.
type functions interface {
	f1(rand RAND, sqn SQN, amf AMF) uint64
	f1star(rand RAND, sqn SQN, amf AMF) uint64
	f2345(rand RAND) (s Session, ak uint64)
	f5star(rand RAND) uint64
}

// tokens is a Set of functions. Milenage does the same in fewer steps: its
// functions share one.
type tokens struct {
	sim.Hidden
	open func() functions
}

// Vector implements Set.
func (t tokens) Vector(rand RAND, sqn SQN, amf AMF) Vector {
	f := t.open()
	v := Vector{RAND: rand}
	var ak uint64
	v.Session, ak = f.f2345(rand)
	putSQN(v.AUTN[:6], uint64(sqn)^ak)
	copy(v.AUTN[6:8], amf[:])
	binary.BigEndian.PutUint64(v.AUTN[8:], f.f1(rand, sqn, amf))
	return v
}

// Answer implements Set.
func (t tokens) Answer(rand RAND, autn AUTN) (SQN, Session, error) {
	f := t.open()
	s, ak := f.f2345(rand)
	sqn := SQN(getSQN(autn[:6]) ^ ak)
	if !same(f.f1(rand, sqn, autn.AMF()), autn[8:]) {
		return 0, Session{}, ErrMAC
	}
	return sqn, s, nil
}

// AUTS implements Set.
func (t tokens) AUTS(rand RAND, highest SQN) AUTS {
	f := t.open()
	var auts AUTS
	putSQN(auts[:6], uint64(highest)^f.f5star(rand))
	binary.BigEndian.PutUint64(auts[6:], f.f1star(rand, highest, AMF{}))
	return auts
}

// Resync implements Set.
func (t tokens) Resync(rand RAND, auts AUTS) (SQN, error) {
	f := t.open()
	sqn := SQN(getSQN(auts[:6]) ^ f.f5star(rand))
	if !same(f.f1star(rand, sqn, AMF{}), auts[6:]) {
		return 0, ErrMAC
	}
	return sqn, nil
}

// Session implements Set.
func (t tokens) Session(rand RAND) (s Session, ak uint64) { return t.open().f2345(rand) }

// Triplet implements Set.
func (t tokens) Triplet(rand RAND) (sres [4]byte, kc [8]byte) {
	s, _ := t.open().f2345(rand)
	return s.SRES(), s.Kc()
}

// same compares a code of 64 bits in constant time.
func same(mac uint64, b []byte) bool {
	var want [8]byte
	binary.BigEndian.PutUint64(want[:], mac)
	return subtle.ConstantTimeCompare(want[:], b) == 1
}
