package sim

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// ErrSecret is what every attempt to encode a secret returns.
var ErrSecret = errors.New("a secret is never written in a text form")

// marker stands for a secret wherever one would print.
const marker = "[secret]"

// Hidden, embedded, makes a type that prints and logs as a marker, refuses to
// be encoded, and does not compile under ==.
//
// That is not all that a secret needs: fmt reads unexported fields past any
// method, and for %s even follows a pointer that it meets there. So the secret
// types of this package keep their bytes behind a function, of which fmt and
// reflect find no more than the address.
type Hidden struct{ _ [0]func() }

// Format prints a marker for every verb.
func (Hidden) Format(f fmt.State, _ rune) { io.WriteString(f, marker) }

// LogValue is a marker.
func (Hidden) LogValue() slog.Value { return slog.StringValue(marker) }

// MarshalText refuses with ErrSecret.
func (Hidden) MarshalText() ([]byte, error) { return nil, ErrSecret }

// MarshalJSON refuses with ErrSecret.
func (Hidden) MarshalJSON() ([]byte, error) { return nil, ErrSecret }

// MarshalBinary refuses with ErrSecret.
func (Hidden) MarshalBinary() ([]byte, error) { return nil, ErrSecret }

// Secret is bytes that must not be seen: a key, a password, an opened record.
// It cannot be compared with ==, printed, logged or encoded. Copies of a Secret
// share their bytes. The zero Secret is none and equals nothing.
type Secret struct {
	Hidden
	open func() *[]byte
}

// NewSecret hides b. The Secret owns b from then on: the caller keeps no
// other use of it.
func NewSecret(b []byte) Secret { return Secret{open: func() *[]byte { return &b }} }

// Bytes is the secret itself, for the one call that needs it; nil for none and
// after Wipe.
func (s Secret) Bytes() []byte {
	if s.open == nil {
		return nil
	}
	return *s.open()
}

// Len is the count of bytes; 0 for none and after Wipe.
func (s Secret) Len() int { return len(s.Bytes()) }

// Equal compares in constant time for secrets of one length. None equals
// nothing, not even none.
func (s Secret) Equal(o Secret) bool {
	return s.Len() > 0 && subtle.ConstantTimeCompare(s.Bytes(), o.Bytes()) == 1
}

// Wipe clears the bytes, for all copies of the Secret.
func (s Secret) Wipe() {
	if s.open != nil {
		b := s.open()
		clear(*b)
		*b = nil
	}
}
