package aka

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Parameters are an algorithm set and what an operator chooses of it: all but
// the keys. They are the same for all cards of a profile, and no secret. The
// zero value is none.
type Parameters struct {
	Algorithm Algorithm      // MILENAGE, TUAK or XOR
	Milenage  Constants      // of MILENAGE; zero: the standard ones
	Tuak      TuakParameters // of TUAK
}

// Check refuses parameters that make no set that works in a network: those
// that TS 35.206 or TS 35.231 does not have, those of another algorithm, and a
// MAC that does not fit AUTN.
func (p Parameters) Check() error {
	switch a, err := ParseAlgorithm(string(p.Algorithm)); {
	case err != nil:
		return err
	case a != MILENAGE && p.Milenage != (Constants{}):
		return fmt.Errorf("algorithm is %s and there are constants of MILENAGE", a)
	case a != TUAK && p.Tuak != (TuakParameters{}):
		return fmt.Errorf("algorithm is %s and there are parameters of TUAK", a)
	case a == MILENAGE:
		return p.constants().check()
	case a == TUAK && p.Tuak.check() == nil && p.Tuak.MAC != 64:
		return errMAC(p.Tuak.MAC)
	case a == TUAK:
		return p.Tuak.check()
	}
	return nil
}

// constants is those of MILENAGE that are in force.
func (p Parameters) constants() Constants {
	if p.Milenage == (Constants{}) {
		return StandardConstants()
	}
	return p.Milenage
}

// KeySize is the bytes of K, 16 or 32; 0 for parameters that Check refuses.
func (p Parameters) KeySize() int {
	switch {
	case p.Check() != nil:
		return 0
	case p.Algorithm == TUAK:
		return p.Tuak.K / 8
	}
	return 16
}

// VariantSize is the bytes of OPc, 16, or TOPc, 32; 0 for XOR, which has none,
// and for parameters that Check refuses.
func (p Parameters) VariantSize() int {
	switch {
	case p.Check() != nil || p.Algorithm == XOR:
		return 0
	case p.Algorithm == TUAK:
		return 32
	}
	return 16
}

// AppendVariant appends OPc, or TOPc for TUAK, to dst: OP or TOP as this card's
// K hides it. XOR has none and appends nothing.
func (p Parameters) AppendVariant(dst, k, op []byte) ([]byte, error) {
	if err := p.Check(); err != nil {
		return dst, err
	}
	switch p.Algorithm {
	case MILENAGE:
		return AppendOPc(dst, k, op)
	case TUAK:
		if len(k) != p.Tuak.K/8 {
			return dst, fmt.Errorf("K has %d bytes, want %d", len(k), p.Tuak.K/8)
		}
		return AppendTOPc(dst, k, op, p.Tuak.Iterations)
	}
	return dst, nil
}

// Open is the set with a subscriber's K and OPc, or TOPc for TUAK; XOR has no
// variant. It keeps no reference to them.
func (p Parameters) Open(k, variant []byte) (Set, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	switch p.Algorithm {
	case MILENAGE:
		return NewCustom(k, variant, p.constants())
	case TUAK:
		t, err := NewTuak(k, variant, p.Tuak)
		if err != nil {
			return nil, err
		}
		return t.Set()
	}
	if len(variant) != 0 {
		return nil, fmt.Errorf("XOR: OPc has %d bytes, want none", len(variant))
	}
	return NewXOR(k)
}

// Append appends p in the form that a card takes before the keys: 01 for
// MILENAGE, with other than the standard constants r1 to r5 and c1 to c5 behind
// it, 85 bytes; 02 for TUAK, the bytes of K, MAC, RES, CK and IK, and the
// iterations; 03 for XOR. The numbers of the algorithms are those of the
// profile package of the TCA. What Check refuses appends nothing.
func (p Parameters) Append(dst []byte) []byte {
	if p.Check() != nil {
		return dst
	}
	switch p.Algorithm {
	case MILENAGE:
		dst = append(dst, 1)
		if p.constants() != StandardConstants() {
			dst = append(dst, p.Milenage.R[:]...)
			for _, c := range p.Milenage.C {
				dst = append(dst, c[:]...)
			}
		}
	case TUAK:
		t := p.Tuak
		dst = append(dst, 2, byte(t.K/8), byte(t.MAC/8), byte(t.RES/8), byte(t.CK/8), byte(t.IK/8), byte(t.Iterations))
	case XOR:
		dst = append(dst, 3)
	}
	return dst
}

// ReadParameters reads what Append wrote from the beginning of b, whose last
// bytes are K and OPc or TOPc, clear or sealed in as many bytes, and returns
// those.
func ReadParameters(b []byte) (p Parameters, keys []byte, err error) {
	errLen := func(n int) error { return fmt.Errorf("parameters and keys have %d bytes, want %d", len(b), n) }
	if len(b) == 0 {
		return p, nil, errors.New("parameters and keys have no bytes")
	}
	n := 1
	switch b[0] {
	case 1:
		p.Algorithm = MILENAGE
		if n = len(b) - 32; n == 86 {
			copy(p.Milenage.R[:], b[1:])
			for i := range p.Milenage.C {
				copy(p.Milenage.C[i][:], b[6+16*i:])
			}
			if p.Milenage == StandardConstants() || p.Milenage == (Constants{}) {
				return Parameters{}, nil, errors.New("the constants are the standard ones, want none")
			}
		} else if n != 1 {
			return Parameters{}, nil, errLen(33)
		}
	case 2:
		if n = 7; len(b) < n {
			return p, nil, errLen(n + 48)
		}
		p.Algorithm = TUAK
		p.Tuak = TuakParameters{8 * int(b[1]), 8 * int(b[2]), 8 * int(b[3]), 8 * int(b[4]), 8 * int(b[5]), int(b[6])}
	case 3:
		p.Algorithm = XOR
	default:
		return p, nil, fmt.Errorf("algorithm is %02X, want 01, 02 or 03", b[0])
	}
	if err := p.Check(); err != nil {
		return Parameters{}, nil, err
	}
	if want := n + p.KeySize() + p.VariantSize(); len(b) != want {
		return Parameters{}, nil, errLen(want)
	}
	return p, b[n:], nil
}

// String is p on one line, for people and for columns of text:
//
//	MILENAGE
//	MILENAGE r=64,0,32,64,96 c=00…00,00…01,00…02,00…04,00…08
//	TUAK k=256 mac=64 res=64 ck=128 ik=128 iterations=1
//	XOR
//
// The standard constants are not written.
func (p Parameters) String() string {
	s := string(p.Algorithm)
	if p.Algorithm == MILENAGE && p.constants() != StandardConstants() {
		var r, c []string
		for i := range p.Milenage.R {
			r = append(r, strconv.Itoa(int(p.Milenage.R[i])))
			c = append(c, hex.EncodeToString(p.Milenage.C[i][:]))
		}
		s += " r=" + strings.Join(r, ",") + " c=" + strings.Join(c, ",")
	}
	if t := p.Tuak; p.Algorithm == TUAK {
		s += fmt.Sprintf(" k=%d mac=%d res=%d ck=%d ik=%d iterations=%d", t.K, t.MAC, t.RES, t.CK, t.IK, t.Iterations)
	}
	return s
}

// ParseParameters reads what String wrote and Check takes; nothing else.
func ParseParameters(text string) (Parameters, error) {
	name, rest, _ := strings.Cut(text, " ")
	a, err := ParseAlgorithm(name)
	if err != nil {
		return Parameters{}, err
	}
	p := Parameters{Algorithm: a}
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			return -1
		}
		return n
	}
	into := map[string]*int{"k": &p.Tuak.K, "mac": &p.Tuak.MAC, "res": &p.Tuak.RES, "ck": &p.Tuak.CK, "ik": &p.Tuak.IK, "iterations": &p.Tuak.Iterations}
	for _, field := range strings.Fields(rest) {
		key, value, _ := strings.Cut(field, "=")
		values := strings.Split(value, ",")
		switch {
		case a == TUAK && into[key] != nil:
			*into[key] = number(value)
		case a == MILENAGE && key == "r" && len(values) == 5:
			for i, v := range values {
				p.Milenage.R[i] = uint8(number(v))
			}
		case a == MILENAGE && key == "c" && len(values) == 5:
			for i, v := range values {
				b, _ := hex.DecodeString(v)
				copy(p.Milenage.C[i][:], b)
			}
		}
	}
	if err := p.Check(); err != nil {
		return Parameters{}, err
	}
	// What was passed over or written otherwise does not come back.
	if again := p.String(); again != text {
		return Parameters{}, fmt.Errorf("parameters are %q, want %q", text, again)
	}
	return p, nil
}
