package sim

import "strconv"

// IMSI names a subscription (TS 23.003, 2.2): mobile country code, network
// code, subscriber; here always 15 digits. IMSIs compare with ==.
type IMSI struct{ v uint64 }

const (
	imsiDigits = 15
	firstIMSI  = 1_000_000_000_000 // 001 00...: no country has the code 000
	lastIMSI   = 999_999_999_999_999
)

// ParseIMSI reads 15 digits.
func ParseIMSI(s string) (IMSI, error) {
	v, err := number("IMSI", s, imsiDigits, imsiDigits)
	if err != nil {
		return IMSI{}, err
	}
	return NewIMSI(v)
}

// NewIMSI is the IMSI whose 15 digits, read as a number, are v.
func NewIMSI(v uint64) (IMSI, error) {
	switch {
	case v < firstIMSI:
		return IMSI{}, wrong("IMSI has the country code 000, want 001 to 999")
	case v > lastIMSI:
		return IMSI{}, wrong("IMSI has %d digits, want %d", digitCount(v), imsiDigits)
	}
	return IMSI{v}, nil
}

// IsZero reports whether id is none.
func (id IMSI) IsZero() bool { return id.v == 0 }

// Value is the 15 digits read as a number; 0 for none.
func (id IMSI) Value() uint64 { return id.v }

// Add is the IMSI k numbers on. It wraps ErrOverflow beyond 15 digits.
func (id IMSI) Add(k uint64) (IMSI, error) {
	if id.IsZero() {
		return IMSI{}, wrong("no IMSI to count on from")
	}
	if k > lastIMSI-id.v {
		return IMSI{}, overflow("IMSI", id.String(), k)
	}
	return IMSI{id.v + k}, nil
}

// PLMN is the network of the IMSI; only its owner knows whether mncDigits, the
// length of the network code, is 2 or 3.
func (id IMSI) PLMN(mncDigits int) (PLMN, error) {
	switch {
	case id.IsZero():
		return PLMN{}, wrong("no IMSI to take a network from")
	case mncDigits != 2 && mncDigits != 3:
		return PLMN{}, wrong("MNC has %d digits, want 2 or 3", mncDigits)
	}
	mcc := id.v / pow10(12)
	mnc := id.v / pow10(12-mncDigits) % pow10(mncDigits)
	return PLMN{uint16(mcc), uint16(mnc), uint8(mncDigits)}, nil
}

// ACC is the content of EF_ACC: the bit of the access class, which is the last
// digit of the IMSI (TS 22.011, 4.2). 0 for none.
func (id IMSI) ACC() uint16 {
	if id.IsZero() {
		return 0
	}
	return 1 << (id.v % 10)
}

// Append appends 15 digits to dst; nothing for none.
func (id IMSI) Append(dst []byte) []byte {
	if id.IsZero() {
		return dst
	}
	for limit := uint64(lastIMSI/10 + 1); id.v < limit; limit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendUint(dst, id.v, 10)
}

// String is the 15 digits; empty for none.
func (id IMSI) String() string {
	var b [imsiDigits]byte
	return string(id.Append(b[:0]))
}

// Masked is what a screen shows: 99901••••••4417.
func (id IMSI) Masked() string {
	if id.IsZero() {
		return ""
	}
	s := id.String()
	return s[:5] + dots(6) + s[11:]
}

// EF is the content of EF_IMSI: length 8, parity nibble 9 (an odd number of
// digits, not a TMSI), swapped BCD (TS 31.102, 4.2.2; TS 24.008, 10.5.1.4).
// Zero bytes for none.
func (id IMSI) EF() [9]byte {
	var ef [9]byte
	if id.IsZero() {
		return ef
	}
	var text [16]byte
	appendBCD(ef[:1], id.Append(append(text[:0], '9')), 8)
	ef[0] = 8
	return ef
}

// IMSIFromEF reads EF_IMSI.
func IMSIFromEF(ef [9]byte) (IMSI, error) {
	if ef[0] != 8 {
		return IMSI{}, wrong("EF_IMSI has the length byte %02X, want 08", ef[0])
	}
	if parity := ef[1] & 0xF; parity != 9 {
		return IMSI{}, wrong("EF_IMSI has the parity nibble %X, want 9: 15 digits", parity)
	}
	var text [16]byte
	digits, err := readBCD(text[:0], "EF_IMSI", ef[1:])
	if err != nil {
		return IMSI{}, err
	}
	return ParseIMSI(string(digits[1:]))
}

// AppendText is Append for encoders; it refuses none.
func (id IMSI) AppendText(dst []byte) ([]byte, error) {
	if id.IsZero() {
		return dst, wrong("no IMSI to write")
	}
	return id.Append(dst), nil
}

// MarshalText is the 15 digits; it refuses none.
func (id IMSI) MarshalText() ([]byte, error) { return id.AppendText(nil) }

// UnmarshalText is ParseIMSI.
func (id *IMSI) UnmarshalText(text []byte) (err error) {
	*id, err = ParseIMSI(string(text))
	return err
}
