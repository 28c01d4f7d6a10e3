package sim

import "strconv"

// MSISDN is a telephone number in its international form (ITU-T E.164) without
// the plus sign: at most 15 digits, the first not 0. MSISDNs compare with ==.
type MSISDN struct{ v uint64 }

// The shortest is ours: E.164 gives no lower bound, and test networks use
// extensions.
const minMSISDN, maxMSISDN = 3, 15

// ParseMSISDN reads 3 to 15 digits.
func ParseMSISDN(s string) (MSISDN, error) {
	v, err := number("MSISDN", s, minMSISDN, maxMSISDN)
	if err != nil {
		return MSISDN{}, err
	}
	if s[0] == '0' {
		return MSISDN{}, wrong("MSISDN starts with 0, want a country code")
	}
	return MSISDN{v}, nil
}

// NewMSISDN is the MSISDN whose digits, read as a number, are v.
func NewMSISDN(v uint64) (MSISDN, error) {
	if n := digitCount(v); v == 0 || n < minMSISDN || n > maxMSISDN {
		return MSISDN{}, wrong("MSISDN has %d digits, want %d to %d", n, minMSISDN, maxMSISDN)
	}
	return MSISDN{v}, nil
}

// Value is the digits read as a number; 0 for none.
func (n MSISDN) Value() uint64 { return n.v }

// IsZero reports whether n is none.
func (n MSISDN) IsZero() bool { return n.v == 0 }

// Add is the MSISDN k numbers on. It wraps ErrOverflow where one more digit
// would be needed.
func (n MSISDN) Add(k uint64) (MSISDN, error) {
	if n.IsZero() {
		return MSISDN{}, wrong("no MSISDN to count on from")
	}
	if k > pow10(digitCount(n.v))-1-n.v {
		return MSISDN{}, overflow("MSISDN", n.String(), k)
	}
	return MSISDN{n.v + k}, nil
}

// Append appends the digits to dst; nothing for none.
func (n MSISDN) Append(dst []byte) []byte {
	if n.IsZero() {
		return dst
	}
	return strconv.AppendUint(dst, n.v, 10)
}

// String is the digits; empty for none.
func (n MSISDN) String() string {
	var b [maxMSISDN]byte
	return string(n.Append(b[:0]))
}

// AppendText is Append for encoders; it refuses none.
func (n MSISDN) AppendText(dst []byte) ([]byte, error) {
	if n.IsZero() {
		return dst, wrong("no MSISDN to write")
	}
	return n.Append(dst), nil
}

// MarshalText is the digits; it refuses none.
func (n MSISDN) MarshalText() ([]byte, error) { return n.AppendText(nil) }

// UnmarshalText is ParseMSISDN.
func (n *MSISDN) UnmarshalText(text []byte) (err error) {
	*n, err = ParseMSISDN(string(text))
	return err
}
