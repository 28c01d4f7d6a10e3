// Package secret keeps secrets of the security module out of reach of fmt,
// encoders and ==.
package secret

import (
	"fmt"
	"log/slog"
)

// Marker stands where a secret would be printed.
const Marker = "[secret]"

// Hidden keeps a secret behind a function. A pointer is not enough: where a
// struct holds it in an unexported field, fmt calls no method of ours, and
// verbs like %s that do not fit a pointer print what it points to. A function
// prints as an address under every verb, no encoder follows it, and what
// holds one does not compile with ==.
type Hidden[T any] func() *T

// Hide hides v.
func Hide[T any](v *T) Hidden[T] { return func() *T { return v } }

// Get returns what is hidden; nil for the zero value.
func (h Hidden[T]) Get() *T {
	if h == nil {
		return nil
	}
	return h()
}

// Unprintable gives a type that embeds it a marker for every way to print it.
type Unprintable struct{}

// Format prints a marker.
func (Unprintable) Format(f fmt.State, _ rune) { fmt.Fprint(f, Marker) }

// LogValue logs a marker.
func (Unprintable) LogValue() slog.Value { return slog.StringValue(Marker) }

// MarshalText gives a marker, for JSON and everything like it.
func (Unprintable) MarshalText() ([]byte, error) { return []byte(Marker), nil }
