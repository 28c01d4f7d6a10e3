package order

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"ankan/sim"
)

// At is the identity of the order's i-th card, from 0. It panics if i is out
// of range.
func (in *Input) At(i int) sim.Identity {
	if in.list.n == 0 {
		return in.span.At(uint64(i))
	}
	p := in.list.chunks[i/chunk][i%chunk]
	// Both were read once, so they are read again.
	iccid, _ := sim.NewICCID(p.body, in.first.ICCID.Digits())
	imsi, _ := sim.NewIMSI(p.imsi)
	return sim.Identity{ICCID: iccid, IMSI: imsi}
}

// WithQuantity is the order file for another number of cards from the same
// first identity. A file that lists each identity has no such form.
func (in *Input) WithQuantity(n int) ([]byte, error) {
	if in.list.n > 0 {
		return nil, errors.New("order: the file lists each identity; its quantity cannot be changed")
	}
	if wrong := Quantity.wrong(strconv.Itoa(n)); wrong != "" {
		return nil, fmt.Errorf("order: quantity %s", wrong)
	}
	changed := *in
	changed.Header = in.with(Quantity, strconv.Itoa(n))
	var text bytes.Buffer
	err := changed.Render(&text)
	return text.Bytes(), err
}
