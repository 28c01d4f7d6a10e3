package hsm

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"sync/atomic"

	"ankan/hsm/internal/secret"
)

type unprintable = secret.Unprintable

// SealOverhead is how many bytes DataKey.Seal adds: nonce 12, tag 16.
const SealOverhead = 28

// A DataKey seals and opens blocks with AES-256-GCM and does nothing else. It
// is the one key that works outside the module. It cannot be printed,
// marshalled or compared. The zero value refuses. It may be used by many
// goroutines.
//
// Each seal draws a random nonce of 96 bits. One key is good for 2^32 seals
// (NIST SP 800-38D, 8.3); an order has some ten thousand blocks.
type DataKey struct {
	unprintable
	aead secret.Hidden[atomic.Pointer[cipher.AEAD]]
}

// NewDataKey makes a data key of 32 bytes; it is for implementations of Token.
// It keeps no copy of the bytes.
func NewDataKey(key []byte) (*DataKey, error) {
	if len(key) != 32 {
		return nil, fmt.Errorf("data key has %d bytes, want 32", len(key))
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(b)
	if err != nil {
		return nil, err
	}
	p := new(atomic.Pointer[cipher.AEAD])
	p.Store(&aead)
	return &DataKey{aead: secret.Hide(p)}, nil
}

// Seal encrypts and authenticates plaintext, authenticates aad, and appends
// the result to dst; it is SealOverhead bytes longer than plaintext. It does
// not allocate if dst has room. The room in dst must not overlap plaintext.
//
// It panics with ErrClosed after Close: there is nothing that could be sealed,
// and whoever goes on would lose what he meant to keep.
func (k *DataKey) Seal(dst, plaintext, aad []byte) []byte {
	aead, err := k.open()
	if err != nil {
		panic(err)
	}
	return aead.Seal(dst, nil, plaintext, aad)
}

// Open checks and decrypts what Seal made and appends it to dst. Its error is
// ErrSealed if sealed is not what Seal made under this key and aad, ErrClosed
// after Close.
func (k *DataKey) Open(dst, sealed, aad []byte) ([]byte, error) {
	aead, err := k.open()
	if err != nil {
		return nil, err
	}
	out, err := aead.Open(dst, nil, sealed, aad)
	if err != nil {
		return nil, ErrSealed
	}
	return out, nil
}

// Err is ErrClosed where Seal would panic, nil before.
func (k *DataKey) Err() error {
	_, err := k.open()
	return err
}

// Close drops the key; whatever is being sealed or opened meanwhile ends well.
// The expanded key is the standard library's: it cannot be overwritten, only
// left to the collector.
func (k *DataKey) Close() {
	if k == nil {
		return
	}
	if p := k.aead.Get(); p != nil {
		p.Store(nil)
	}
}

func (k *DataKey) open() (cipher.AEAD, error) {
	if k == nil {
		return nil, ErrClosed
	}
	p := k.aead.Get()
	if p == nil {
		return nil, ErrClosed
	}
	aead := p.Load()
	if aead == nil {
		return nil, ErrClosed
	}
	return *aead, nil
}
