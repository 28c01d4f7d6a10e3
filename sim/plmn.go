package sim

import "fmt"

// PLMN names a network (TS 23.003, 12.1): a country code of 3 digits and a
// network code of 2 or 3. 404-01 and 404-001 are two networks. PLMNs compare
// with ==.
type PLMN struct {
	mcc, mnc uint16
	digits   uint8 // of the network code
}

// ParsePLMN reads 5 or 6 digits: the country code, then the network code.
func ParsePLMN(s string) (PLMN, error) {
	v, err := number("PLMN", s, 5, 6)
	if err != nil {
		return PLMN{}, err
	}
	return newPLMN(v, len(s)-3)
}

func newPLMN(v uint64, digits int) (PLMN, error) {
	mcc := v / pow10(digits)
	if mcc == 0 {
		return PLMN{}, wrong("PLMN has the country code 000, want 001 to 999")
	}
	return PLMN{uint16(mcc), uint16(v % pow10(digits)), uint8(digits)}, nil
}

// IsZero reports whether p is none.
func (p PLMN) IsZero() bool { return p.digits == 0 }

// MCC is the country code, 3 digits; empty for none.
func (p PLMN) MCC() string { return p.text(0, 3) }

// MNC is the network code, 2 or 3 digits; empty for none.
func (p PLMN) MNC() string { return p.text(3, 6) }

func (p PLMN) text(from, to int) string {
	s := p.String()
	return s[min(from, len(s)):min(to, len(s))]
}

// MNCDigits is the length of the network code, as EF_AD carries it: 2 or 3, 0
// for none.
func (p PLMN) MNCDigits() int { return int(p.digits) }

// String is 5 or 6 digits; empty for none.
func (p PLMN) String() string {
	if p.IsZero() {
		return ""
	}
	return fmt.Sprintf("%03d%0*d", p.mcc, p.digits, p.mnc)
}

// Bytes is the 3-byte coding of TS 24.008, 10.5.1.13: MCC2 MCC1, MNC3 MCC3,
// MNC2 MNC1, with F for a missing MNC3. FF FF FF, an empty entry, for none.
func (p PLMN) Bytes() [3]byte {
	s := p.String()
	if s == "" {
		return [3]byte{0xFF, 0xFF, 0xFF}
	}
	third := byte(0xF)
	if p.digits == 3 {
		third = s[5] - '0'
	}
	d := func(i int) byte { return s[i] - '0' }
	return [3]byte{d(1)<<4 | d(0), third<<4 | d(2), d(4)<<4 | d(3)}
}

// PLMNFromBytes reads the 3-byte coding. It refuses an empty entry.
func PLMNFromBytes(b [3]byte) (PLMN, error) {
	nibbles := [6]byte{b[0] & 0xF, b[0] >> 4, b[1] & 0xF, b[2] & 0xF, b[2] >> 4, b[1] >> 4}
	digits := 3
	if nibbles[5] == 0xF {
		digits = 2
	}
	var v uint64
	for _, n := range nibbles[:3+digits] {
		if n > 9 {
			return PLMN{}, wrong("PLMN is % X, want digits", b[:])
		}
		v = v*10 + uint64(n)
	}
	return newPLMN(v, digits)
}

// AppendText appends the digits; it refuses none.
func (p PLMN) AppendText(dst []byte) ([]byte, error) {
	if p.IsZero() {
		return dst, wrong("no PLMN to write")
	}
	return append(dst, p.String()...), nil
}

// MarshalText is the digits; it refuses none.
func (p PLMN) MarshalText() ([]byte, error) { return p.AppendText(nil) }

// UnmarshalText is ParsePLMN.
func (p *PLMN) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePLMN(string(text))
	return err
}
