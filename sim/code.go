package sim

import (
	"crypto/subtle"
	"encoding/hex"
)

// code is the 8 bytes that VERIFY carries, hidden like every secret.
type code struct {
	Hidden
	open func() *coded
}

type coded struct {
	b     [8]byte
	wiped bool
}

func hide(c *coded) code { return code{open: func() *coded { return c }} }

// newCode codes lo to 8 digits in ASCII, filled with FF (TS 102 221, 9.5.1).
// Its errors never show the digits.
func newCode(field string, digits []byte, lo int) (code, error) {
	if len(digits) < lo || len(digits) > 8 {
		return code{}, wrong("%s has %d digits, want %s", field, len(digits), span(lo, 8))
	}
	p := &coded{b: [8]byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}}
	for i, d := range digits {
		if d < '0' || d > '9' {
			return code{}, wrong("%s has something else than a digit at character %d", field, i+1)
		}
		p.b[i] = d
	}
	return hide(p), nil
}

// IsZero reports whether there is no code, or none any more after Wipe.
func (c code) IsZero() bool { return c.open == nil || c.open().wiped }

// Coded is the 8 bytes that VERIFY carries. It panics where there is no code:
// eight bytes that nobody chose would cost a try.
func (c code) Coded() [8]byte {
	if c.IsZero() {
		panic("sim: no code")
	}
	return c.open().b
}

// Wipe clears the code, for all copies of it.
func (c code) Wipe() {
	if c.open != nil {
		*c.open() = coded{wiped: true}
	}
}

func (c code) equal(o code) bool {
	return !c.IsZero() && !o.IsZero() && subtle.ConstantTimeCompare(c.open().b[:], o.open().b[:]) == 1
}

// appendDigits appends the digits without their fill.
func (c code) appendDigits(dst []byte) []byte {
	if c.IsZero() {
		return dst
	}
	for _, d := range c.open().b {
		if d != 0xFF {
			dst = append(dst, d)
		}
	}
	return dst
}

// PIN is a cardholder's code of 4 to 8 digits. It is a secret (see Secret).
type PIN struct{ code }

// ParsePIN reads 4 to 8 digits. It keeps a copy.
func ParsePIN(digits []byte) (PIN, error) {
	c, err := newCode("PIN", digits, 4)
	return PIN{c}, err
}

// AppendDigits appends the digits to dst; nothing for none.
func (p PIN) AppendDigits(dst []byte) []byte { return p.appendDigits(dst) }

// Equal compares in constant time. None equals nothing.
func (p PIN) Equal(o PIN) bool { return p.equal(o.code) }

// PUK unblocks a PIN: 8 digits. It is a secret (see Secret).
type PUK struct{ code }

// ParsePUK reads 8 digits. It keeps a copy.
func ParsePUK(digits []byte) (PUK, error) {
	c, err := newCode("PUK", digits, 8)
	return PUK{c}, err
}

// AppendDigits appends the digits to dst; nothing for none.
func (p PUK) AppendDigits(dst []byte) []byte { return p.appendDigits(dst) }

// Equal compares in constant time. None equals nothing.
func (p PUK) Equal(o PUK) bool { return p.equal(o.code) }

// ADM is an administrative code of 8 bytes. Files write it as digits or as hex,
// and a wrong guess blocks cards: so there is a parser for each and none that
// guesses. It is a secret (see Secret).
type ADM struct{ code }

// ADMFromDigits codes 4 to 8 digits in ASCII, filled with FF. It keeps a copy.
func ADMFromDigits(digits []byte) (ADM, error) {
	c, err := newCode("ADM", digits, 4)
	return ADM{c}, err
}

// ADMFromHex reads 8 bytes as 16 hexadecimal digits of either case. It keeps a
// copy.
func ADMFromHex(text []byte) (ADM, error) {
	if len(text) != 16 {
		return ADM{}, wrong("ADM has %d hexadecimal digits, want 16", len(text))
	}
	p := new(coded)
	if _, err := hex.Decode(p.b[:], text); err != nil {
		return ADM{}, wrong("ADM has something else than hexadecimal digits") // err shows a character of it
	}
	return ADM{hide(p)}, nil
}

// Equal compares in constant time. None equals nothing.
func (a ADM) Equal(o ADM) bool { return a.equal(o.code) }
