package sim

import "strings"

// ICCIDVariant says how a file writes an ICCID. All of these occur, and some
// digits read differently under each, so the profile must say which: the zero
// value refuses. Set Digits18 or Digits19, and CheckDigit, Padded, Swapped as
// they are.
type ICCIDVariant uint8

// The parts of a variant.
const (
	Digits18   ICCIDVariant = 1 << iota // a body of 18 digits
	Digits19                            // a body of 19 digits
	CheckDigit                          // the Luhn digit follows the body; without it, it is left out
	Padded                              // filled with F to 20 characters
	Swapped                             // the two characters of each pair change places, as in EF_ICCID
)

// variantWords are the words of a variant in order.
func variantWords() [5]string { return [5]string{"18", "19", "check", "padded", "swapped"} }

// ParseICCIDVariant reads words as String writes them: "18 check padded".
func ParseICCIDVariant(s string) (ICCIDVariant, error) {
	var v ICCIDVariant
	names := variantWords()
	for word := range strings.SplitSeq(s, " ") {
		for i, name := range names {
			if word == name {
				v |= 1 << i
			}
		}
	}
	if err := v.check(); err != nil {
		return 0, err
	}
	if v.String() != s {
		return 0, wrong("ICCID variant is %q, want some of %q in this order", s, strings.Join(names[:], " "))
	}
	return v, nil
}

// String is the words of v: "18 check padded swapped".
func (v ICCIDVariant) String() string {
	var words []string
	for i, name := range variantWords() {
		if v&(1<<i) != 0 {
			words = append(words, name)
		}
	}
	return strings.Join(words, " ")
}

// check refuses what says too little or contradicts itself.
func (v ICCIDVariant) check() error {
	if v>>5 != 0 || (v&Digits18 != 0) == (v&Digits19 != 0) {
		return wrong("ICCID variant %q does not say a body of 18 or of 19 digits", v)
	}
	if v&Swapped != 0 && v&Padded == 0 && v.digits()%2 == 1 {
		return wrong("ICCID variant %q swaps %d digits, want an even count or padding", v, v.digits())
	}
	return nil
}

// digits is the count of digits that v writes.
func (v ICCIDVariant) digits() int {
	n := 18
	if v&Digits19 != 0 {
		n++
	}
	if v&CheckDigit != 0 {
		n++
	}
	return n
}

// Append appends id to dst as v writes it. An ICCID of another length than the
// variant's is refused.
func (v ICCIDVariant) Append(dst []byte, id ICCID) ([]byte, error) {
	if err := v.check(); err != nil {
		return dst, err
	}
	if want := (v | CheckDigit).digits(); id.Digits() != want {
		return dst, wrong("ICCID has %d digits, want %d for the variant %q", id.Digits(), want, v)
	}
	from := len(dst)
	dst = id.Append(dst)[:from+v.digits()]
	if v&Padded != 0 {
		for len(dst) < from+20 {
			dst = append(dst, 'F')
		}
	}
	if v&Swapped != 0 {
		swapPairs(dst[from:])
	}
	return dst, nil
}

// Parse reads s as v writes it; Append gives the same bytes again.
func (v ICCIDVariant) Parse(s string) (ICCID, error) {
	if err := v.check(); err != nil {
		return ICCID{}, err
	}
	size := v.digits()
	if v&Padded != 0 {
		size = 20
	}
	if len(s) != size {
		return ICCID{}, wrong("ICCID has %d characters, want %d for the variant %q", len(s), size, v)
	}
	var text [20]byte
	b := append(text[:0], s...)
	if v&Swapped != 0 {
		swapPairs(b)
	}
	digits, fill := string(b[:v.digits()]), string(b[v.digits():])
	if strings.Trim(fill, "F") != "" {
		return ICCID{}, wrong("ICCID ends in %q after %d digits, want only F", fill, v.digits())
	}
	if v&CheckDigit == 0 {
		return ICCIDFromBody(digits)
	}
	return ParseICCID(digits)
}

func swapPairs(b []byte) {
	for i := 0; i+1 < len(b); i += 2 {
		b[i], b[i+1] = b[i+1], b[i]
	}
}

// MarshalText is String; it refuses what Parse would refuse to use.
func (v ICCIDVariant) MarshalText() ([]byte, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	return []byte(v.String()), nil
}

// UnmarshalText is ParseICCIDVariant.
func (v *ICCIDVariant) UnmarshalText(text []byte) (err error) {
	*v, err = ParseICCIDVariant(string(text))
	return err
}
