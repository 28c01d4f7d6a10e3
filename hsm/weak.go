package hsm

import (
	"crypto/subtle"
	"encoding/hex"
	"fmt"
)

// CheckWeak refuses a symmetric key, or a component of one, of 16, 24 or 32
// bytes that is weak or that anybody knows: one with a pattern, and one that is
// an example in a standard or a default in a program. A key of 32 bytes is weak
// if one half is: the other is then all of its strength. The error wraps
// ErrWeakKey.
func CheckWeak(key []byte) error {
	if len(key) != 16 && len(key) != 24 && len(key) != 32 {
		return fmt.Errorf("key or component has %d bytes, want 16, 24 or 32: %w", len(key), ErrAlgorithm)
	}
	if repeats(key) {
		return fmt.Errorf("%w: its second half repeats the first", ErrWeakKey)
	}
	for part := range chunks(key, 16) {
		if repeats(part) {
			return fmt.Errorf("%w: 8 bytes of it repeat the 8 before", ErrWeakKey)
		}
		even, des := 1, 1
		for p := range chunks(part, 8) {
			even &= evenSteps(p)
			des &= weakDES(p)
		}
		if even == 1 {
			return fmt.Errorf("%w: its bytes go up or down in even steps", ErrWeakKey)
		}
		if des == 1 {
			return fmt.Errorf("%w: it is made of weak keys of DES", ErrWeakKey)
		}
	}
	for _, known := range knownKeys {
		b, err := hex.DecodeString(known.key)
		if err != nil {
			return fmt.Errorf("table of known keys: %w", err)
		}
		for part := range chunks(key, len(b)) {
			if subtle.ConstantTimeCompare(part, b) == 1 {
				return fmt.Errorf("%w: it is printed in %s", ErrWeakKey, known.source)
			}
		}
	}
	return nil
}

// CheckKey refuses a symmetric key that comes from elsewhere and is not of the
// algorithm (ErrAlgorithm) or is weak (ErrWeakKey): for triple DES, parts of it
// too, and one that is no more than single DES.
func CheckKey(key []byte, a Algorithm) error {
	err := checkLen(key, a)
	if err == nil {
		err = CheckWeak(key)
	}
	if err == nil && a.NeedsWaiver() {
		err = checkDES(key)
	}
	return err
}

// chunks gives b in parts of n bytes; none if b is shorter.
func chunks(b []byte, n int) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for ; len(b) >= n; b = b[n:] {
			if !yield(b[:n]) {
				return
			}
		}
	}
}

func repeats(b []byte) bool {
	n := len(b) / 2
	return subtle.ConstantTimeCompare(b[:n], b[n:]) == 1
}

// evenSteps is 1 if the difference from byte to byte is the same throughout,
// as in 00 00 00, 40 41 42, 01 23 45 or FE DC BA.
func evenSteps(b []byte) int {
	var differs byte
	for i := 2; i < len(b); i++ {
		differs |= (b[i] - b[i-1]) ^ (b[1] - b[0])
	}
	return subtle.ConstantTimeByteEq(differs, 0)
}
