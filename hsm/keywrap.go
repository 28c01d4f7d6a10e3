package hsm

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
)

// keyWrapIV is the initial value of RFC 3394, 2.2.3.1.
const keyWrapIV = 0xA6A6A6A6A6A6A6A6

// WrapKey wraps a key of at least 16 bytes, a multiple of 8, under an AES key
// (AES key wrap, RFC 3394, 2.2.1). The result is 8 bytes longer.
func WrapKey(kek cipher.Block, key []byte) ([]byte, error) {
	if len(key) < 16 || len(key)%8 != 0 {
		return nil, fmt.Errorf("key to wrap has %d bytes, want a multiple of 8, at least 16", len(key))
	}
	out := make([]byte, 8+len(key))
	copy(out[8:], key)
	var b [16]byte
	defer clear(b[:])
	binary.BigEndian.PutUint64(b[:8], keyWrapIV)
	n := len(key) / 8
	for t := 1; t <= 6*n; t++ {
		r := out[8+8*((t-1)%n):][:8]
		copy(b[8:], r)
		kek.Encrypt(b[:], b[:])
		copy(r, b[8:])
		binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])^uint64(t))
	}
	copy(out, b[:8])
	return out, nil
}

// UnwrapKey opens what WrapKey made (RFC 3394, 2.2.2); ErrSealed if it was not
// wrapped under this key or was changed.
func UnwrapKey(kek cipher.Block, wrapped []byte) ([]byte, error) {
	if len(wrapped) < 24 || len(wrapped)%8 != 0 {
		return nil, ErrSealed
	}
	out := make([]byte, len(wrapped)-8)
	copy(out, wrapped[8:])
	var b, iv [16]byte
	defer clear(b[:])
	copy(b[:8], wrapped)
	n := len(out) / 8
	for t := 6 * n; t >= 1; t-- {
		r := out[8*((t-1)%n):][:8]
		binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])^uint64(t))
		copy(b[8:], r)
		kek.Decrypt(b[:], b[:])
		copy(r, b[8:])
	}
	binary.BigEndian.PutUint64(iv[:], keyWrapIV)
	if subtle.ConstantTimeCompare(b[:8], iv[:8]) != 1 {
		clear(out)
		return nil, ErrSealed
	}
	return out, nil
}
