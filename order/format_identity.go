package order

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// WithQuantity is the order file for another number of cards from the same
// first identity. A file that lists each identity has no such form.
func (in *Input) WithQuantity(n int) ([]byte, error) {
	if in.list != nil {
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
