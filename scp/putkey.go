package scp

import (
	"bytes"
	"crypto/aes"
	"crypto/subtle"
	"errors"
	"fmt"
)

// keyAES is the key type of AES (GlobalPlatform Card Specification, 11.1.8).
const keyAES = 0x88

// ErrKeyData is wrapped by every error of ParsePutKey.
var ErrKeyData = errors.New("malformed key data")

// CheckValue is GlobalPlatform's key check value of an AES key: the first
// three bytes of sixteen bytes 01 encrypted under it (Amendment D, 4.1.4).
func CheckValue(key []byte) ([3]byte, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return [3]byte{}, fmt.Errorf("scp: AES key has %d bytes, want 16, 24 or 32", len(key))
	}
	var block [16]byte
	for i := range block {
		block[i] = 1
	}
	b.Encrypt(block[:], block[:])
	return [3]byte(block[:]), nil
}

// PutKey appends the data field of PUT KEY for AES keys to dst: the new key
// version number, then each key sealed under the data encryption key with its
// length and check value (Amendment D, 7.2). The command is 80 D8, P1 = the
// version to replace or 00, P2 = 81 for keys 1, 2 and so on.
func PutKey(dst []byte, sealer Sealer, version byte, keys [][]byte) ([]byte, error) {
	dst = append(dst, version)
	padded := make([]byte, 32)
	defer clear(padded)
	for _, key := range keys {
		kcv, err := CheckValue(key)
		if err != nil {
			return nil, err
		}
		n := (len(key) + 15) / 16 * 16
		clear(padded)
		copy(padded, key)
		dst = appendAES(dst, len(key))
		if dst, err = sealer.SealKey(dst, padded[:n]); err != nil {
			return nil, err
		}
		dst = append(dst, 3)
		dst = append(dst, kcv[:]...)
	}
	return dst, nil
}

// PutKeyReceipt appends the data that a card answers to PUT KEY: the version
// and each key's check value (GlobalPlatform Card Specification, 11.8.3.1).
func PutKeyReceipt(dst []byte, version byte, keys [][]byte) ([]byte, error) {
	dst = append(dst, version)
	for _, key := range keys {
		kcv, err := CheckValue(key)
		if err != nil {
			return nil, err
		}
		dst = append(dst, kcv[:]...)
	}
	return dst, nil
}

// ParsePutKey reads the data field of a PUT KEY that carries three AES keys of
// one length, opens them under the card's data encryption key and checks their
// check values: SCP03's ENC, MAC and DEK, or SCP80's KIC, KID and KIK in the
// same places. It also returns what the card answers.
func ParsePutKey(data []byte, card KeySet) (version byte, keys KeySet, receipt []byte, err error) {
	if len(data) == 0 {
		return 0, KeySet{}, nil, fmt.Errorf("scp: PUT KEY: %w: no data", ErrKeyData)
	}
	var clearText [3][]byte
	defer func() {
		for _, k := range clearText {
			clear(k)
		}
	}()
	version, rest := data[0], data[1:]
	receipt = []byte{version}
	for i := range clearText {
		var kcv []byte
		if clearText[i], kcv, rest, err = parseKey(rest, card); err != nil {
			return 0, KeySet{}, nil, fmt.Errorf("scp: PUT KEY: key %d: %w", i+1, err)
		}
		receipt = append(receipt, kcv...)
	}
	if len(rest) > 0 {
		return 0, KeySet{}, nil, fmt.Errorf("scp: PUT KEY: %w: %d bytes after the third key", ErrKeyData, len(rest))
	}
	if keys, err = NewKeySet(clearText[0], clearText[1], clearText[2]); err != nil {
		return 0, KeySet{}, nil, fmt.Errorf("%w: %w", ErrKeyData, err)
	}
	return version, keys, receipt, nil
}

func parseKey(b []byte, card KeySet) (key, kcv, rest []byte, err error) {
	if len(b) < 3 {
		return nil, nil, nil, fmt.Errorf("%w: %d bytes are left", ErrKeyData, len(b))
	}
	n := int(b[2]) // of the key in clear
	sealed := (n + 15) / 16 * 16
	switch {
	case b[0] != keyAES:
		return nil, nil, nil, fmt.Errorf("%w: key type %02X, want 88", ErrKeyData, b[0])
	case n != 16 && n != 24 && n != 32:
		return nil, nil, nil, fmt.Errorf("%w: key of %d bytes, want 16, 24 or 32", ErrKeyData, n)
	case int(b[1]) != sealed+1:
		return nil, nil, nil, fmt.Errorf("%w: length %d, want %d", ErrKeyData, b[1], sealed+1)
	case len(b) < 3+sealed+4:
		return nil, nil, nil, fmt.Errorf("%w: %d bytes are left, want %d", ErrKeyData, len(b), 3+sealed+4)
	case b[3+sealed] != 3:
		return nil, nil, nil, fmt.Errorf("%w: check value of %d bytes, want 3", ErrKeyData, b[3+sealed])
	}
	body, kcv, rest := b[3:3+sealed], b[4+sealed:7+sealed], b[7+sealed:]
	padded, err := card.OpenKey(make([]byte, 0, sealed), body)
	if err != nil {
		return nil, nil, nil, err
	}
	want, err := CheckValue(padded[:n])
	if err == nil && subtle.ConstantTimeCompare(want[:], kcv) != 1 {
		err = fmt.Errorf("%w: check value is wrong", ErrKeyData)
	}
	// The padding must be zeros: what PutKey makes is the only form.
	if err == nil && subtle.ConstantTimeCompare(padded[n:], make([]byte, sealed-n)) != 1 {
		err = fmt.Errorf("%w: padding is not zero", ErrKeyData)
	}
	if err != nil {
		clear(padded)
		return nil, nil, nil, err
	}
	return padded[:n], kcv, rest, nil
}

// A Sealer seals keys for PUT KEY: a Channel, or a Static of SCP03.
type Sealer interface {
	// SealKey encrypts key under the data encryption key and appends it to
	// dst.
	SealKey(dst, key []byte) ([]byte, error)
}

// A KeyType is the type of a key in PUT KEY (GlobalPlatform Card
// Specification, 11.1.8).
type KeyType byte

// The types.
const (
	KeyAES KeyType = 0x88
	KeyDES KeyType = 0x80 // triple DES of 16 or 24 bytes, mode known to both
)

// A Key is a key on its way to a card. It cannot be printed, marshalled or
// compared. The zero value refuses.
type Key struct {
	unprintable
	secret hidden[typedKey]
}

type typedKey struct {
	kind  KeyType
	value []byte
	kcv   [3]byte
}

// NewKey copies a key: of AES with 16, 24 or 32 bytes, of triple DES with 16 or
// 24.
func NewKey(kind KeyType, value []byte) (Key, error) {
	k := &typedKey{kind: kind, value: bytes.Clone(value)}
	var err error
	switch kind {
	case KeyAES:
		k.kcv, err = CheckValue(value)
	case KeyDES:
		k.kcv, err = DESCheckValue(value)
	default:
		err = fmt.Errorf("scp: key type %02X, want 88 (AES) or 80 (DES)", byte(kind))
	}
	if err != nil {
		return Key{}, err
	}
	return Key{secret: hide(k)}, nil
}

// Close wipes the key. Every copy refuses from then on.
func (k Key) Close() {
	if t := k.secret.get(); t != nil {
		clear(t.value)
		*t = typedKey{}
	}
}

// DESCheckValue is GlobalPlatform's key check value of a triple DES key of 16
// or 24 bytes: the first three bytes of eight zeros encrypted under it (B.6).
func DESCheckValue(key []byte) ([3]byte, error) {
	b, err := tripleDES(key)
	if err != nil {
		return [3]byte{}, fmt.Errorf("scp: %w", err)
	}
	var block [8]byte
	b.Encrypt(block[:], block[:])
	return [3]byte(block[:]), nil
}

// SealKeys is PutKey for keys of any type: the data field of PUT KEY, and what
// the card answers if it took them. A key of triple DES is sealed without its
// length (GlobalPlatform Card Specification, 11.8.2.3.1); if the channel's data
// encryption key is of AES it has 16 bytes, as it is not padded.
func SealKeys(sealer Sealer, version byte, keys []Key) (data, receipt []byte, err error) {
	data, receipt = []byte{version}, []byte{version}
	for i, key := range keys {
		k := key.secret.get()
		if k == nil || k.value == nil {
			return nil, nil, fmt.Errorf("key %d: %w", i+1, ErrClosed)
		}
		padded := k.value
		if k.kind == KeyAES {
			data = appendAES(data, len(k.value))
			padded = append(make([]byte, 0, 32), k.value...)[:(len(k.value)+15)/16*16]
			defer clear(padded)
		} else {
			data = append(data, byte(k.kind), byte(len(k.value)))
		}
		if data, err = sealer.SealKey(data, padded); err != nil {
			return nil, nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		data = append(append(data, 3), k.kcv[:]...)
		receipt = append(receipt, k.kcv[:]...)
	}
	return data, receipt, nil
}

// appendAES appends what stands before a sealed AES key of n bytes.
func appendAES(dst []byte, n int) []byte {
	return append(dst, keyAES, byte((n+15)/16*16+1), byte(n))
}
