package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// Strict reads doc as exactly one JSON value into v. Unknown fields, and
// anything after the value, are refused.
func Strict(doc []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more follows after the end")
	}
	return nil
}
