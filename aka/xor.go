package aka

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// NewXOR is the test algorithm of TS 34.108, 8.1.2, for a K of 16 bytes, of
// which it keeps a copy. RES has 128 bits. It is for test cards: whoever sees a
// challenge and its answer has K.
func NewXOR(k []byte) (Set, error) {
	if len(k) != 16 {
		return nil, fmt.Errorf("K has %d bytes, want 16", len(k))
	}
	x := blockOf((*[16]byte)(k))
	if x == (block{}) {
		return nil, errors.New("K of the test algorithm is zero, want at least one bit (TS 34.108, 8.2)")
	}
	var f functions = &xor{x}
	return tokens{open: func() functions { return f }}, nil
}

type xor struct{ k block }

// xdout is RAND and K added: all else is parts of it.
func (x *xor) xdout(rand *RAND) block { return blockOf((*[16]byte)(rand)).xor(x.k) }

func (x *xor) f1(rand RAND, sqn SQN, amf AMF) uint64 {
	return x.xdout(&rand).hi ^ (uint64(sqn)<<16 | uint64(binary.BigEndian.Uint16(amf[:])))
}

func (x *xor) f1star(rand RAND, sqn SQN, amf AMF) uint64 { return x.f1(rand, sqn, amf) }

func (x *xor) f2345(rand RAND) (s Session, ak uint64) {
	out := x.xdout(&rand)
	s.nRES, s.nCK, s.nIK = 16, 16, 16
	out.put((*[16]byte)(s.res[:]))
	out.rotate(8).put((*[16]byte)(s.ck[:]))
	out.rotate(16).put((*[16]byte)(s.ik[:]))
	return s, x.ak(out)
}

// ak is bits 24 to 71.
func (x *xor) ak(out block) uint64 { return out.rotate(24).hi >> 16 }

func (x *xor) f5star(rand RAND) uint64 { return x.ak(x.xdout(&rand)) }
