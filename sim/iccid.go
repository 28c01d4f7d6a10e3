package sim

import "strconv"

// ICCID names a card (ITU-T E.118): 89, the country, the issuer and the
// account, 18 or 19 digits, then a Luhn check digit. ICCIDs compare with ==.
type ICCID struct {
	body   uint64 // without the check digit; starts with 89, so it has no leading zeros
	digits uint8  // visible digits with the check digit: 19 or 20
}

// ParseICCID reads all 19 or 20 digits, the last one the Luhn check digit. For
// the forms that trade files use see ICCIDVariant.
func ParseICCID(s string) (ICCID, error) {
	if len(s) != 19 && len(s) != 20 {
		_, err := number("ICCID", s, 19, 20)
		return ICCID{}, err
	}
	last := len(s) - 1
	v, err := number("ICCID", s[:last], 18, 19)
	if err != nil {
		return ICCID{}, err
	}
	found := s[last]
	if found < '0' || found > '9' {
		return ICCID{}, wrong("ICCID has %s at character %d, want a digit", strconv.QuoteToASCII(s[last:]), len(s))
	}
	id, err := NewICCID(v, len(s))
	if err != nil {
		return ICCID{}, err
	}
	if want := luhn(v); found != want {
		return ICCID{}, wrong("ICCID has the check digit %c, want %c", found, want)
	}
	return id, nil
}

// ICCIDFromBody reads 18 or 19 digits and adds the check digit.
func ICCIDFromBody(digits string) (ICCID, error) {
	v, err := number("ICCID body", digits, 18, 19)
	if err != nil {
		return ICCID{}, err
	}
	return NewICCID(v, len(digits)+1)
}

// NewICCID is the ICCID with this body (Body) and this many visible digits
// (Digits), 19 or 20.
func NewICCID(body uint64, digits int) (ICCID, error) {
	if digits != 19 && digits != 20 {
		return ICCID{}, wrong("ICCID has %d digits, want 19 or 20", digits)
	}
	// 89 is the industry identifier for telecommunication (E.118, 4.2.1).
	if first := body / pow10(digits-3); first != 89 {
		return ICCID{}, wrong("ICCID starts with %02d, want 89", first)
	}
	return ICCID{body, uint8(digits)}, nil
}

// luhn is the check digit of body as a character (ISO/IEC 7812-1, annex B).
func luhn(body uint64) byte {
	sum := uint64(0)
	for body > 0 {
		pair := body % 100
		body /= 100
		double := pair % 10 * 2
		if double > 9 {
			double -= 9
		}
		sum += double + pair/10
	}
	return byte('0' + (10-sum%10)%10)
}

// IsZero reports whether id is none.
func (id ICCID) IsZero() bool { return id.digits == 0 }

// Body is the number without its check digit.
func (id ICCID) Body() uint64 { return id.body }

// Digits is the count of visible digits with the check digit: 19 or 20, 0 for none.
func (id ICCID) Digits() int { return int(id.digits) }

// Add is the ICCID k bodies on, with its own check digit. It wraps ErrOverflow
// where the next number would leave 89 or need one more digit.
func (id ICCID) Add(k uint64) (ICCID, error) {
	if id.IsZero() {
		return ICCID{}, wrong("no ICCID to count on from")
	}
	last := 90*pow10(int(id.digits)-3) - 1
	if k > last-id.body {
		return ICCID{}, overflow("ICCID", id.String(), k)
	}
	id.body += k
	return id, nil
}

// Append appends all digits to dst; nothing for none.
func (id ICCID) Append(dst []byte) []byte {
	if id.IsZero() {
		return dst
	}
	return append(strconv.AppendUint(dst, id.body, 10), luhn(id.body))
}

// String is all digits; empty for none.
func (id ICCID) String() string {
	var b [20]byte
	return string(id.Append(b[:0]))
}

// Masked is what a screen shows: 89 99901 26••••••4417.
func (id ICCID) Masked() string {
	if id.IsZero() {
		return ""
	}
	s := id.String()
	return s[:2] + " " + s[2:7] + " " + s[7:9] + dots(len(s)-13) + s[len(s)-4:]
}

// EF is the content of EF_ICCID: BCD, nibbles swapped, filled with F
// (TS 102 221, 13.2). Filled with F altogether for none.
func (id ICCID) EF() [10]byte {
	var text [20]byte
	return [10]byte(appendBCD(make([]byte, 0, 10), id.Append(text[:0]), 10))
}

// ICCIDFromEF reads EF_ICCID. The check digit is a part of it.
func ICCIDFromEF(ef [10]byte) (ICCID, error) {
	var text [20]byte
	digits, err := readBCD(text[:0], "EF_ICCID", ef[:])
	if err != nil {
		return ICCID{}, err
	}
	return ParseICCID(string(digits))
}

// AppendText is Append for encoders; it refuses none.
func (id ICCID) AppendText(dst []byte) ([]byte, error) {
	if id.IsZero() {
		return dst, wrong("no ICCID to write")
	}
	return id.Append(dst), nil
}

// MarshalText is all digits; it refuses none.
func (id ICCID) MarshalText() ([]byte, error) { return id.AppendText(nil) }

// UnmarshalText is ParseICCID.
func (id *ICCID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseICCID(string(text))
	return err
}
