package hsm

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
)

// keyWrapIV is the initial value of RFC 3394, 2.2.3.1.
const keyWrapIV = 0xA6A6A6A6A6A6A6A6

// padIV is the first half of the initial value of RFC 5649, 3.
const padIV = 0xA65959A6

// maxPadded is the longest key that WrapKeyPad takes, in bytes.
const maxPadded = 4096

// WrapKey wraps a key of at least 16 bytes, a multiple of 8, under an AES key
// (AES key wrap, RFC 3394, 2.2.1). The result is 8 bytes longer.
func WrapKey(kek cipher.Block, key []byte) ([]byte, error) {
	if len(key) < 16 || len(key)%8 != 0 {
		return nil, fmt.Errorf("key to wrap has %d bytes, want a multiple of 8, at least 16", len(key))
	}
	out := make([]byte, 8+len(key))
	copy(out[8:], key)
	wrap(kek, keyWrapIV, out)
	return out, nil
}

// wrap is RFC 3394, 2.2.1 on b[8:], in place; the integrity check goes to
// b[:8].
func wrap(kek cipher.Block, iv uint64, out []byte) {
	var b [16]byte
	defer clear(b[:])
	binary.BigEndian.PutUint64(b[:8], iv)
	n := len(out)/8 - 1
	for t := 1; t <= 6*n; t++ {
		r := out[8+8*((t-1)%n):][:8]
		copy(b[8:], r)
		kek.Encrypt(b[:], b[:])
		copy(r, b[8:])
		binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])^uint64(t))
	}
	copy(out, b[:8])
}

// UnwrapKey opens what WrapKey made (RFC 3394, 2.2.2); ErrSealed if it was not
// wrapped under this key or was changed.
func UnwrapKey(kek cipher.Block, wrapped []byte) ([]byte, error) {
	if len(wrapped) < 24 || len(wrapped)%8 != 0 {
		return nil, ErrSealed
	}
	iv, out := unwrap(kek, wrapped)
	var want [8]byte
	binary.BigEndian.PutUint64(want[:], keyWrapIV)
	if subtle.ConstantTimeCompare(iv[:], want[:]) != 1 {
		clear(out)
		return nil, ErrSealed
	}
	return out, nil
}

// unwrap is RFC 3394, 2.2.2 but for the comparison of the initial value.
func unwrap(kek cipher.Block, wrapped []byte) (iv [8]byte, out []byte) {
	out = make([]byte, len(wrapped)-8)
	copy(out, wrapped[8:])
	var b [16]byte
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
	return [8]byte(b[:8]), out
}

// WrapKeyPad wraps a key of 1 to 4096 bytes under an AES key (AES key wrap
// with padding, RFC 5649, 4.1).
func WrapKeyPad(kek cipher.Block, key []byte) ([]byte, error) {
	if len(key) < 1 || len(key) > maxPadded {
		return nil, fmt.Errorf("key to wrap has %d bytes, want 1..%d", len(key), maxPadded)
	}
	out := make([]byte, 8+(len(key)+7)/8*8)
	copy(out[8:], key)
	iv := padIV<<32 | uint64(len(key))
	if len(out) == 16 {
		binary.BigEndian.PutUint64(out, iv)
		kek.Encrypt(out, out)
		return out, nil
	}
	wrap(kek, iv, out)
	return out, nil
}

// UnwrapKeyPad opens what WrapKeyPad made (RFC 5649, 4.2); ErrSealed if it was
// not wrapped under this key or was changed.
func UnwrapKeyPad(kek cipher.Block, wrapped []byte) ([]byte, error) {
	if len(wrapped) < 16 || len(wrapped) > 8+maxPadded || len(wrapped)%8 != 0 {
		return nil, ErrSealed
	}
	var iv [8]byte
	var out []byte
	if len(wrapped) == 16 {
		b := make([]byte, 16)
		kek.Decrypt(b, wrapped)
		iv, out = [8]byte(b), b[8:]
	} else {
		iv, out = unwrap(kek, wrapped)
	}
	n, bad := binary.BigEndian.Uint32(iv[4:]), binary.BigEndian.Uint32(iv[:4])^padIV
	if bad != 0 || int(n) <= len(out)-8 || int(n) > len(out) || !zero(out[n:]) {
		clear(out)
		return nil, ErrSealed
	}
	return out[:n], nil
}

func zero(b []byte) bool {
	var any byte
	for _, c := range b {
		any |= c
	}
	return any == 0
}
