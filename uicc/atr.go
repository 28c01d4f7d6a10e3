package uicc

import (
	"errors"
	"fmt"
)

// An ATR is an answer to reset (ISO/IEC 7816-3, 8.2; TS 102 221, 6.3).
type ATR []byte

// ErrATR is wrapped by every error of Check.
var ErrATR = errors.New("wrong ATR")

// Check walks the interface bytes, the historical bytes and TCK, and refuses
// an ATR that does not end where it says or whose check byte is wrong.
func (a ATR) Check() error {
	_, _, err := a.parse()
	return err
}

// Protocol is the first protocol that the card offers: 0 for T=0, 1 for T=1.
func (a ATR) Protocol() (int, error) {
	t, _, err := a.parse()
	return t, err
}

// Historical are the historical bytes.
func (a ATR) Historical() ([]byte, error) {
	_, h, err := a.parse()
	return h, err
}

func (a ATR) parse() (protocol int, historical []byte, err error) {
	if len(a) < 2 || len(a) > 33 || a[0] != 0x3B && a[0] != 0x3F {
		return 0, nil, fmt.Errorf("%w: %d bytes, want 2..33 from 3B or 3F on", ErrATR, len(a))
	}
	i, y, first, check := 2, a[1]>>4, -1, false
	for y != 0 {
		i += int(y&1 + y>>1&1 + y>>2&1) // TA, TB, TC
		if y&8 == 0 {
			break
		}
		if i >= len(a) {
			return 0, nil, fmt.Errorf("%w: ends within its interface bytes", ErrATR)
		}
		t := int(a[i] & 0x0F)
		if first < 0 {
			first = t
		}
		check = check || t != 0
		y = a[i] >> 4
		i++
	}
	end := i + int(a[1]&0x0F)
	want := end
	if check {
		want++
	}
	if len(a) != want {
		return 0, nil, fmt.Errorf("%w: %d bytes, want %d", ErrATR, len(a), want)
	}
	if check {
		var x byte
		for _, b := range a[1:] {
			x ^= b
		}
		if x != 0 {
			return 0, nil, fmt.Errorf("%w: check byte is %02X, want %02X", ErrATR, a[end], a[end]^x)
		}
	}
	return max(first, 0), a[i:end], nil
}
