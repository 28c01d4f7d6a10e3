package scp

import (
	"fmt"
	"log/slog"
)

// marker stands where a secret would be printed.
const marker = "[secret]"

// hidden keeps a secret behind a function. A pointer is not enough: where a
// struct holds it in an unexported field, fmt calls no method of ours, and
// verbs like %s that do not fit a pointer print what it points to. A function
// prints as an address under every verb, no encoder follows it, and what
// holds one does not compile with ==.
type hidden[T any] func() *T

func hide[T any](v *T) hidden[T] { return func() *T { return v } }

// get returns nil for the zero value.
func (h hidden[T]) get() *T {
	if h == nil {
		return nil
	}
	return h()
}

// unprintable gives a type that embeds it a marker for every way to print it.
type unprintable struct{}

// Format prints a marker.
func (unprintable) Format(f fmt.State, _ rune) { fmt.Fprint(f, marker) }

// LogValue logs a marker.
func (unprintable) LogValue() slog.Value { return slog.StringValue(marker) }

// MarshalText gives a marker, for JSON and everything like it.
func (unprintable) MarshalText() ([]byte, error) { return []byte(marker), nil }
