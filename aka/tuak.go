package aka

import (
	"encoding/binary"
	"fmt"

	"ankan/sim"
)

// TuakParameters are what an operator chooses of TUAK (TS 35.231, 5): lengths
// in bits, and how often Keccak is done. The zero value is no choice.
type TuakParameters struct {
	K          int // 128 or 256
	MAC        int // 64, 128 or 256; AUTN and AUTS take 64 (TS 33.102, 6.3.7)
	RES        int // 32, 64, 128 or 256
	CK, IK     int // 128 or 256
	Iterations int // of Keccak, 1 to 255
}

// check refuses what TS 35.231 does not have.
func (p TuakParameters) check() error {
	for _, x := range [...]struct {
		name        string
		found       int
		smallest, n int // n doublings of the smallest are allowed
	}{{"K", p.K, 128, 1}, {"MAC", p.MAC, 64, 2}, {"RES", p.RES, 32, 3}, {"CK", p.CK, 128, 1}, {"IK", p.IK, 128, 1}} {
		ok := false
		for i := range x.n + 1 {
			ok = ok || x.found == x.smallest<<i
		}
		if !ok {
			return fmt.Errorf("TUAK: %s has %d bits, want %d to %d, by powers of two", x.name, x.found, x.smallest, x.smallest<<x.n)
		}
	}
	if p.Iterations < 1 || p.Iterations > 255 {
		return fmt.Errorf("TUAK: Keccak is done %d times, want 1 to 255", p.Iterations)
	}
	return nil
}

// Tuak is the algorithm set of TS 35.231 for one K and TOPc. It comes from
// NewTuak; the zero Tuak panics. It is secret (see sim.Hidden).
type Tuak struct {
	sim.Hidden
	open func() *tuak
}

type tuak struct {
	in [25]uint64 // the input of Keccak without INSTANCE, RAND, AMF and SQN
	p  TuakParameters
}

// INSTANCE's bits (TS 35.231, 6.2 to 6.5): which function, and which lengths.
const (
	instanceStar = 0x80
	instanceF2   = 0x40
	instanceCK   = 0x04 // CK has 256 bits
	instanceIK   = 0x02
	instanceK    = 0x01
)

// NewTuak keeps no reference to K and TOPc, which has 32 bytes.
func NewTuak(k, topc []byte, p TuakParameters) (Tuak, error) {
	if err := p.check(); err != nil {
		return Tuak{}, err
	}
	if len(k) != p.K/8 || len(topc) != 32 {
		return Tuak{}, fmt.Errorf("K has %d bytes, TOPc %d, want %d and 32", len(k), len(topc), p.K/8)
	}
	t := &tuak{in: tuakInput(k, topc), p: p}
	return Tuak{open: func() *tuak { return t }}, nil
}

// Set is the vectors and tokens of a. AUTN and AUTS have room for a MAC of 64
// bits; another is refused.
func (a Tuak) Set() (Set, error) {
	if n := a.open().p.MAC; n != 64 {
		return nil, errMAC(n)
	}
	return tokens{open: func() functions { return a.open() }}, nil
}

func errMAC(bits int) error {
	return fmt.Errorf("TUAK: MAC has %d bits, AUTN and AUTS take 64 (TS 33.102, 6.3.7)", bits)
}

// AppendTOPc appends TOPc, 32 bytes, to dst: TOP as this card's K hides it
// (TS 35.231, 6.1). K has 16 or 32 bytes, TOP 32; iterations is 1 to 255.
func AppendTOPc(dst, k, top []byte, iterations int) ([]byte, error) {
	if len(k) != 16 && len(k) != 32 || len(top) != 32 {
		return dst, fmt.Errorf("K has %d bytes, TOP %d, want 16 or 32, and 32", len(k), len(top))
	}
	if iterations < 1 || iterations > 255 {
		return dst, fmt.Errorf("TUAK: Keccak is done %d times, want 1 to 255", iterations)
	}
	t := tuak{in: tuakInput(k, top), p: TuakParameters{K: 8 * len(k), Iterations: iterations}}
	out := t.run(0, RAND{}, 0, AMF{})
	return appendLanes(dst, out[:], 32), nil
}

// tuakInput lays the input out as TS 35.231, 6.1 to 6.5 does. Its bytes stand
// in reverse, so that a lane, little end first, is eight bytes, big end first.
func tuakInput(k, top []byte) (in [25]uint64) {
	putLanes(in[0:], top)
	in[4] = binary.BigEndian.Uint64([]byte("TUAK1.0\x00")) // INSTANCE is the last byte
	putLanes(in[8:], k)
	in[12], in[16] = 0x1F, 0x80<<56 // padding
	return in
}

// putLanes writes b, a whole number of lanes, the last lane first.
func putLanes(lanes []uint64, b []byte) {
	for i := range len(b) / 8 {
		lanes[i] = binary.BigEndian.Uint64(b[len(b)-8*i-8:])
	}
}

// appendLanes appends n bytes, 4 or a whole number of lanes, the last lane first.
func appendLanes(dst []byte, lanes []uint64, n int) []byte {
	if n == 4 {
		return binary.BigEndian.AppendUint32(dst, uint32(lanes[0]))
	}
	for i := n/8 - 1; i >= 0; i-- {
		dst = binary.BigEndian.AppendUint64(dst, lanes[i])
	}
	return dst
}

// run is Keccak of the input with these parts.
func (t *tuak) run(instance byte, rand RAND, sqn SQN, amf AMF) [25]uint64 {
	s := t.in
	if t.p.K == 256 {
		instance |= instanceK
	}
	s[4] |= uint64(instance)
	s[5], s[6] = binary.BigEndian.Uint64(rand[8:]), binary.BigEndian.Uint64(rand[:8])
	s[7] = uint64(sqn)<<16 | uint64(binary.BigEndian.Uint16(amf[:]))
	for range t.p.Iterations {
		keccak(&s)
	}
	return s
}

// AppendMAC appends f1, the network's code over SQN and AMF, of MAC bits.
func (a Tuak) AppendMAC(dst []byte, rand RAND, sqn SQN, amf AMF) []byte {
	return a.open().mac(dst, 0, rand, sqn, amf)
}

// AppendMACStar appends f1*, the card's code over SQN and AMF, of MAC bits.
func (a Tuak) AppendMACStar(dst []byte, rand RAND, sqn SQN, amf AMF) []byte {
	return a.open().mac(dst, instanceStar, rand, sqn, amf)
}

// mac is f1 or f1*. The length of the code in bytes is INSTANCE's bits 3 to 5.
func (t *tuak) mac(dst []byte, instance byte, rand RAND, sqn SQN, amf AMF) []byte {
	out := t.run(instance|byte(t.p.MAC/8), rand, sqn, amf)
	return appendLanes(dst, out[:], t.p.MAC/8)
}

// Session is f2, f3, f4 and f5: RES, CK, IK, and the anonymity key AK, 48 bits.
func (a Tuak) Session(rand RAND) (s Session, ak uint64) { return a.open().f2345(rand) }

// AKStar is f5*: the anonymity key of a resynchronisation, 48 bits.
func (a Tuak) AKStar(rand RAND) uint64 { return a.open().f5star(rand) }

func (t *tuak) f1(rand RAND, sqn SQN, amf AMF) uint64 { return t.run(8, rand, sqn, amf)[0] }

func (t *tuak) f1star(rand RAND, sqn SQN, amf AMF) uint64 {
	return t.run(instanceStar|8, rand, sqn, amf)[0]
}

func (t *tuak) f2345(rand RAND) (s Session, ak uint64) {
	instance := byte(instanceF2)
	if t.p.RES > 32 { // 32 bits are no bit set
		instance |= byte(t.p.RES / 8)
	}
	if t.p.CK == 256 {
		instance |= instanceCK
	}
	if t.p.IK == 256 {
		instance |= instanceIK
	}
	out := t.run(instance, rand, 0, AMF{})
	s.nRES, s.nCK, s.nIK = uint8(t.p.RES/8), uint8(t.p.CK/8), uint8(t.p.IK/8)
	appendLanes(s.res[:0], out[:], t.p.RES/8)
	appendLanes(s.ck[:0], out[4:], t.p.CK/8)
	appendLanes(s.ik[:0], out[8:], t.p.IK/8)
	return s, out[12] & (1<<48 - 1)
}

func (t *tuak) f5star(rand RAND) uint64 {
	return t.run(instanceStar|instanceF2, rand, 0, AMF{})[12] & (1<<48 - 1)
}
