// Package sim holds the names and codes of a SIM card as types that cannot be
// wrong: ICCID, IMSI, PLMN, MSISDN, ranges of them, and the secrets PIN, PUK,
// ADM and Secret. Values come only from parsers, so what exists is valid; the
// zero value of each type is none and says so. It has no IO, no clock, no log.
package sim

import (
	"errors"
	"fmt"
	"strconv"
)

// ErrSyntax is wrapped by the errors of every parser of this package.
var ErrSyntax = errors.New("not valid")

// ErrOverflow is wrapped when counting on leaves the numbers that a field can hold.
var ErrOverflow = errors.New("no such number")

// wrong builds the error of a parser: "IMSI has 14 digits, want 15".
func wrong(format string, args ...any) error {
	return &syntaxError{fmt.Sprintf(format, args...)}
}

type syntaxError struct{ text string }

func (e *syntaxError) Error() string { return e.text }
func (e *syntaxError) Unwrap() error { return ErrSyntax }

// overflow builds the error of counting on too far.
func overflow(field, from string, k uint64) error {
	return fmt.Errorf("%w: %s %s plus %d", ErrOverflow, field, from, k)
}

// number reads lo to hi decimal digits, at most 19, and nothing else.
func number(field, s string, lo, hi int) (uint64, error) {
	var v uint64
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, wrong("%s has %s at character %d, want a digit", field, strconv.QuoteToASCII(s[i:i+1]), i+1)
		}
		if i >= hi {
			break // too long: refused below before v is used
		}
		v = v*10 + uint64(d)
	}
	if len(s) < lo || len(s) > hi {
		return 0, wrong("%s has %d digits, want %s", field, len(s), span(lo, hi))
	}
	return v, nil
}

func span(lo, hi int) string {
	switch hi - lo {
	case 0:
		return strconv.Itoa(lo)
	case 1:
		return fmt.Sprintf("%d or %d", lo, hi)
	}
	return fmt.Sprintf("%d to %d", lo, hi)
}

// pow10 is 10 to the power of n, for n of 0 to 19.
func pow10(n int) uint64 {
	p := uint64(1)
	for range n {
		p *= 10
	}
	return p
}

// digitCount is the number of decimal digits of v.
func digitCount(v uint64) int {
	n := 1
	for ; v >= 10; v /= 10 {
		n++
	}
	return n
}
