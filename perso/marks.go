package perso

import (
	"bytes"
	"errors"
	"fmt"

	"ankan/uicc"
)

// Marks are what fresh chips of a lot say of themselves, as the lot has it. What
// is empty is not known, and not looked at.
type Marks struct {
	ATR     uicc.ATR
	Mask    []byte  // of the ATR: its bits are 1 where a chip's must be the same; nil: everywhere
	Serials []Range // that the chips' serial numbers are in
}

// A Range is serial numbers from one to another, both of them in it, in the
// order of their bytes.
type Range struct{ First, Last [8]byte }

// check refuses marks that no chip can have.
func (m Marks) check() error {
	if len(m.ATR) == 0 && len(m.Mask) > 0 || len(m.Mask) > 0 && len(m.Mask) != len(m.ATR) {
		return fmt.Errorf("the mask has %d bytes, the ATR %d; want as many", len(m.Mask), len(m.ATR))
	}
	for _, r := range m.Serials {
		if bytes.Compare(r.First[:], r.Last[:]) > 0 {
			return fmt.Errorf("serial numbers go from %x to %x", r.First, r.Last)
		}
	}
	return nil
}

// answersAs says whether an answer to reset is that of the marks.
func (m Marks) answersAs(atr uicc.ATR) bool {
	if len(m.ATR) == 0 {
		return true
	}
	if len(atr) != len(m.ATR) {
		return false
	}
	for i, b := range atr {
		if (b^m.ATR[i])&m.maskAt(i) != 0 {
			return false
		}
	}
	return atr.Check() == nil // also where its check byte is masked
}

func (m Marks) maskAt(i int) byte {
	if m.Mask == nil {
		return 0xFF
	}
	return m.Mask[i]
}

// has says whether a serial number is in a range of the marks.
func (m Marks) has(serial [8]byte) bool {
	for _, r := range m.Serials {
		if bytes.Compare(r.First[:], serial[:]) <= 0 && bytes.Compare(serial[:], r.Last[:]) <= 0 {
			return true
		}
	}
	return len(m.Serials) == 0
}

// suits refuses a chip that does not have the marks.
func (m Marks) suits(c chip) error {
	if !m.answersAs(c.atr) {
		return &Reject{WrongATR, fmt.Errorf("chip %s answers to reset %X, want %s", c.name(), []byte(c.atr), m.pattern())}
	}
	if !m.has(c.serial) {
		return &Reject{WrongSerial, fmt.Errorf("chip %s is in none of the lot's %d ranges of serial numbers", c.name(), len(m.Serials))}
	}
	return nil
}

// pattern is the ATR in hex, with a point for each digit that may be any.
func (m Marks) pattern() string {
	b := fmt.Appendf(nil, "%X", []byte(m.ATR))
	for i := range b {
		if m.maskAt(i/2)>>(4-i%2*4)&0x0F == 0 {
			b[i] = '.'
		}
	}
	return string(b)
}

var errShort = errors.New("INITIALIZE UPDATE was answered without key diversification data")
