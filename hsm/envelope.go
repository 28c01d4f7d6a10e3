package hsm

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
)

// A Content says what travels in a Given, so that nothing is taken for
// something else.
type Content string

// DataKeyContent is a data key.
const DataKeyContent Content = "data key"

// KeyContent is a key of this purpose and algorithm.
func KeyContent(p Purpose, a Algorithm) Content {
	return Content("key " + string(p) + " " + string(a))
}

// A Given is a version byte, an ephemeral public key as an uncompressed point
// (SEC 1, 2.3.3) and the wrapped secret. The curve is P-521, so that no key of
// AES-256 travels under a weaker one.
const (
	givenVersion = 2
	pointLen     = 133
	givenHeader  = 1 + pointLen
)

// ErrPublicKey: a public key is not one of curve P-521.
var ErrPublicKey = errors.New("public key is not of curve P-521")

// Give wraps a secret for the owner of a P-521 key: ECDH with an ephemeral
// key, HKDF-SHA-512, AES key wrap. Content, label and both public keys are
// bound into it. It is for implementations of Token and for a chip maker who
// sends a lot key.
func Give(to crypto.PublicKey, what Content, label string, secret []byte) (Given, error) {
	static, err := agreeKey(to)
	if err != nil {
		return nil, err
	}
	ephemeral, err := ecdh.P521().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("drawing an ephemeral key: %w", err)
	}
	shared, err := ephemeral.ECDH(static)
	if err != nil {
		return nil, err
	}
	kek, err := envelopeKey(shared, what, label, ephemeral.PublicKey(), static)
	if err != nil {
		return nil, err
	}
	wrapped, err := WrapKey(kek, secret)
	if err != nil {
		return nil, err
	}
	given := append(Given{givenVersion}, ephemeral.PublicKey().Bytes()...)
	return append(given, wrapped...), nil
}

// Take opens what Give made for the key self; ErrSealed if it is for another
// key, content or label, or was changed. The private half stays where it is:
// agree computes the shared secret with it (SEC 1, 3.3.1), and Take wipes
// what agree returns. The caller wipes the result.
func Take(given Given, what Content, label string, self crypto.PublicKey, agree func(*ecdh.PublicKey) ([]byte, error)) ([]byte, error) {
	static, err := agreeKey(self)
	if err != nil {
		return nil, err
	}
	if len(given) < givenHeader || given[0] != givenVersion {
		return nil, ErrSealed
	}
	ephemeral, err := ecdh.P521().NewPublicKey(given[1:givenHeader])
	if err != nil {
		return nil, ErrSealed
	}
	shared, err := agree(ephemeral)
	if err != nil {
		return nil, err
	}
	kek, err := envelopeKey(shared, what, label, ephemeral, static)
	if err != nil {
		return nil, err
	}
	return UnwrapKey(kek, given[givenHeader:])
}

// envelopeKey derives the wrapping key and wipes the shared secret. Every
// field of the info carries its length, so that no two fields can be read as
// others.
func envelopeKey(shared []byte, what Content, label string, ephemeral, static *ecdh.PublicKey) (cipher.Block, error) {
	defer clear(shared)
	if label == "" || len(label) > 255 {
		return nil, fmt.Errorf("label has %d bytes, want 1..255", len(label))
	}
	var info []byte
	for _, f := range []string{"ankan given 2", string(what), label, string(ephemeral.Bytes()), string(static.Bytes())} {
		info = binary.BigEndian.AppendUint16(info, uint16(len(f)))
		info = append(info, f...)
	}
	key, err := hkdf.Key(sha512.New, shared, nil, string(info), 32)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return aes.NewCipher(key)
}

func agreeKey(pub crypto.PublicKey) (*ecdh.PublicKey, error) {
	switch k := pub.(type) {
	case *ecdh.PublicKey:
		if k != nil && k.Curve() == ecdh.P521() {
			return k, nil
		}
	case *ecdsa.PublicKey:
		if k != nil && k.Curve == elliptic.P521() {
			if p, err := k.ECDH(); err == nil {
				return p, nil
			}
		}
	}
	return nil, ErrPublicKey
}
