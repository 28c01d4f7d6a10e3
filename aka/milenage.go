package aka

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"fmt"

	"ankan/sim"
)

// Constants are the rotations R, in bits, and the additions C of MILENAGE
// (TS 35.206, 4.1). An operator may choose its own.
type Constants struct {
	R [5]uint8
	C [5][16]byte
}

// StandardConstants are the values of TS 35.206, 4.1.
func StandardConstants() Constants {
	c := Constants{R: [5]uint8{64, 0, 32, 64, 96}}
	for i := range 4 {
		c.C[i+1][15] = 1 << i
	}
	return c
}

// check refuses constants that would make two of the functions one.
func (c Constants) check() error {
	for i := range c.R {
		if c.R[i] > 127 {
			return fmt.Errorf("rotation r%d is %d bits, want at most 127", i+1, c.R[i])
		}
		for j := range i {
			if c.R[i] == c.R[j] && c.C[i] == c.C[j] {
				return fmt.Errorf("constants r%d, c%d repeat r%d, c%d", i+1, i+1, j+1, j+1)
			}
		}
	}
	return nil
}

// block is 128 bits, the most significant first.
type block struct{ hi, lo uint64 }

func blockOf(b *[16]byte) block {
	return block{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (x block) put(b *[16]byte) {
	binary.BigEndian.PutUint64(b[:8], x.hi)
	binary.BigEndian.PutUint64(b[8:], x.lo)
}

func (x block) xor(y block) block { return block{x.hi ^ y.hi, x.lo ^ y.lo} }

// rotate turns x left by r bits, 0 to 127.
func (x block) rotate(r uint8) block {
	if r >= 64 {
		x.hi, x.lo = x.lo, x.hi
		r -= 64
	}
	return block{x.hi<<r | x.lo>>(64-r), x.lo<<r | x.hi>>(64-r)}
}

// Milenage is the algorithm set of TS 35.206 for one K and OPc. It comes from
// New; the zero Milenage panics. Copies share their state, which one goroutine
// uses at a time. It is secret (see sim.Hidden).
type Milenage struct {
	sim.Hidden
	open func() *milenage
}

type milenage struct {
	aes cipher.Block
	opc block
	r   [5]uint8
	c   [5]block
	buf [16]byte // what AES works on: a local one would be allocated for each call
}

// New is MILENAGE with the standard constants. K and OPc are 16 bytes each; it
// keeps no reference to them.
func New(k, opc []byte) (Milenage, error) { return NewCustom(k, opc, StandardConstants()) }

// NewCustom is New with the operator's own constants.
func NewCustom(k, opc []byte, c Constants) (Milenage, error) {
	if len(k) != 16 || len(opc) != 16 {
		return Milenage{}, fmt.Errorf("K has %d bytes, OPc %d, want 16 each", len(k), len(opc))
	}
	if err := c.check(); err != nil {
		return Milenage{}, err
	}
	schedule, err := aes.NewCipher(k)
	if err != nil {
		return Milenage{}, err
	}
	m := &milenage{aes: schedule, opc: blockOf((*[16]byte)(opc)), r: c.R}
	for i := range c.C {
		m.c[i] = blockOf(&c.C[i])
	}
	return Milenage{open: func() *milenage { return m }}, nil
}

// AppendOPc appends OPc, 16 bytes, to dst: OP as this card's K hides it
// (TS 35.206, 4.1). K and OP are 16 bytes each.
func AppendOPc(dst, k, op []byte) ([]byte, error) {
	if len(k) != 16 || len(op) != 16 {
		return dst, fmt.Errorf("K has %d bytes, OP %d, want 16 each", len(k), len(op))
	}
	schedule, err := aes.NewCipher(k)
	if err != nil {
		return dst, err
	}
	dst = append(dst, op...)
	opc := dst[len(dst)-16:]
	schedule.Encrypt(opc, opc)
	subtle.XORBytes(opc, opc, op)
	return dst, nil
}

func (m *milenage) encrypt(x block) block {
	x.put(&m.buf)
	m.aes.Encrypt(m.buf[:], m.buf[:])
	return blockOf(&m.buf)
}

// temp is the value that all the functions start from.
func (m *milenage) temp(rand *RAND) block {
	return m.encrypt(blockOf((*[16]byte)(rand)).xor(m.opc))
}

// out1 is OUT1: f1 in its left half, f1* in its right.
func (m *milenage) out1(temp block, sqn SQN, amf AMF) block {
	half := uint64(sqn)<<16 | uint64(binary.BigEndian.Uint16(amf[:]))
	in := block{half, half}.xor(m.opc).rotate(m.r[0])
	return m.encrypt(temp.xor(in).xor(m.c[0])).xor(m.opc)
}

// out is OUT2 to OUT5.
func (m *milenage) out(temp block, n int) block {
	return m.encrypt(temp.xor(m.opc).rotate(m.r[n-1]).xor(m.c[n-1])).xor(m.opc)
}

// MAC is f1 and f1*: the network's and the card's code over SQN and AMF.
func (a Milenage) MAC(rand RAND, sqn SQN, amf AMF) (f1, f1star [8]byte) {
	m := a.open()
	out := m.out1(m.temp(&rand), sqn, amf)
	binary.BigEndian.PutUint64(f1[:], out.hi)
	binary.BigEndian.PutUint64(f1star[:], out.lo)
	return f1, f1star
}

// Session implements Set.
func (a Milenage) Session(rand RAND) (s Session, ak uint64) {
	m := a.open()
	return m.session(m.temp(&rand))
}

func (m *milenage) session(temp block) (s Session, ak uint64) {
	out2 := m.out(temp, 2)
	s.nRES, s.nCK, s.nIK = 8, 16, 16
	binary.BigEndian.PutUint64(s.res[:], out2.lo)
	m.out(temp, 3).put((*[16]byte)(s.ck[:]))
	m.out(temp, 4).put((*[16]byte)(s.ik[:]))
	return s, out2.hi >> 16
}

// AKStar is f5*: the anonymity key of a resynchronisation, 48 bits.
func (a Milenage) AKStar(rand RAND) uint64 {
	m := a.open()
	return m.out(m.temp(&rand), 5).hi >> 16
}

// Vector implements Set.
func (a Milenage) Vector(rand RAND, sqn SQN, amf AMF) Vector {
	m := a.open()
	v := Vector{RAND: rand}
	temp := m.temp(&rand)
	var ak uint64
	v.Session, ak = m.session(temp)
	putSQN(v.AUTN[:6], uint64(sqn)^ak)
	copy(v.AUTN[6:8], amf[:])
	binary.BigEndian.PutUint64(v.AUTN[8:], m.out1(temp, sqn, amf).hi)
	return v
}

// Answer implements Set.
func (a Milenage) Answer(rand RAND, autn AUTN) (SQN, Session, error) {
	m := a.open()
	temp := m.temp(&rand)
	s, ak := m.session(temp)
	sqn := SQN(getSQN(autn[:6]) ^ ak)
	var mac [8]byte
	binary.BigEndian.PutUint64(mac[:], m.out1(temp, sqn, autn.AMF()).hi)
	if subtle.ConstantTimeCompare(mac[:], autn[8:]) != 1 {
		return 0, Session{}, ErrMAC
	}
	return sqn, s, nil
}

// AUTS implements Set.
func (a Milenage) AUTS(rand RAND, highest SQN) AUTS {
	m := a.open()
	var auts AUTS
	temp := m.temp(&rand)
	putSQN(auts[:6], uint64(highest)^m.out(temp, 5).hi>>16)
	binary.BigEndian.PutUint64(auts[6:], m.out1(temp, highest, AMF{}).lo)
	return auts
}

// Resync implements Set.
func (a Milenage) Resync(rand RAND, auts AUTS) (SQN, error) {
	m := a.open()
	temp := m.temp(&rand)
	sqn := SQN(getSQN(auts[:6]) ^ m.out(temp, 5).hi>>16)
	var mac [8]byte
	binary.BigEndian.PutUint64(mac[:], m.out1(temp, sqn, AMF{}).lo)
	if subtle.ConstantTimeCompare(mac[:], auts[6:]) != 1 {
		return 0, ErrMAC
	}
	return sqn, nil
}

// Triplet implements Set (GSM-MILENAGE of TS 55.205).
func (a Milenage) Triplet(rand RAND) (sres [4]byte, kc [8]byte) {
	s, _ := a.Session(rand)
	return s.SRES(), s.Kc()
}
