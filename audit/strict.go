package audit

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// Strict reads doc as exactly one JSON value into v, a pointer. Unknown fields,
// fields that are there twice or in other letters, and anything after the value,
// are refused: whoever reads doc reads the same out of it.
func Strict(doc []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more follows after the end")
	}
	return exactKeys(json.NewDecoder(bytes.NewReader(doc)), reflect.TypeOf(v))
}

// exactKeys reads a value that goes into a t, or into nothing known, and refuses
// an object with a key twice or with one that t does not write just so. The library
// takes the last of two, and "ACT" for "act".
func exactKeys(d *json.Decoder, t reflect.Type) error {
	open, err := d.Token()
	if err != nil {
		return err
	}
	t = inside(t)
	switch open {
	case json.Delim('['):
		for d.More() {
			if err := exactKeys(d, element(t)); err != nil {
				return err
			}
		}
		_, err = d.Token()
	case json.Delim('{'):
		seen := map[any]bool{}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return err
			}
			to, known := field(t, key.(string))
			if seen[key] || !known {
				return fmt.Errorf("key %q is there twice, or is written otherwise", key)
			}
			seen[key] = true
			if err := exactKeys(d, to); err != nil {
				return err
			}
		}
		_, err = d.Token()
	}
	return err
}

// inside is what a value of type t is made of; nil if only t itself knows.
func inside(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return nil
	}
	return t
}

func element(t reflect.Type) reflect.Type {
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		return t.Elem()
	}
	return nil
}

// field is the type of what a t keeps under key, and whether it keeps anything
// there.
func field(t reflect.Type, key string) (reflect.Type, bool) {
	if t == nil || t.Kind() != reflect.Struct {
		if t != nil && t.Kind() == reflect.Map {
			return t.Elem(), true
		}
		return nil, true
	}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == key || name == "" && f.Name == key {
			return f.Type, true
		}
	}
	return nil, false
}
