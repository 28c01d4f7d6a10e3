package passkey

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
)

// A Sealing is the key pair to which key components are sealed for one person.
// Its private half is wrapped under a key that only the person's passkey
// gives, so that the site keeps it and cannot open it.
//
// That key is HKDF-SHA-256 of what the passkey answers to SealingSalt (PRF
// extension, WebAuthn level 3, 10.1.4), without salt, for the info "ankan seal
// wrap 1".
type Sealing struct {
	Public  Bytes `json:"public_key"` // P-521, SubjectPublicKeyInfo (DER)
	Wrapped Bytes `json:"wrapped"`    // nonce of 12 bytes, PKCS #8 under AES-256-GCM with Public as associated data
}

// SealingSalt is what a passkey's PRF is asked for.
const SealingSalt = "ankan component sealing v1"

const sealingInfo = "ankan seal wrap 1"

// mostWrapped is more than any encoding of a P-521 key needs, in bytes.
const mostWrapped = 1024

// Key is the public half, for hsm.Give. It refuses a pair that is not P-521 or
// has no private half.
func (s Sealing) Key() (*ecdh.PublicKey, error) {
	if n := len(s.Wrapped); n < 12+66+16 || n > mostWrapped {
		return nil, fmt.Errorf("sealing pair: the wrapped private key has %d bytes, want about 270", n)
	}
	k, err := x509.ParsePKIXPublicKey(s.Public)
	if err != nil {
		return nil, errors.New("sealing pair: the public key is not a SubjectPublicKeyInfo")
	}
	pub, ok := k.(*ecdsa.PublicKey)
	if !ok || pub.Curve.Params().BitSize != 521 {
		return nil, errors.New("sealing pair: the public key is not P-521")
	}
	return pub.ECDH()
}

// newSealing makes a pair under what a passkey's PRF gives.
func newSealing(prf []byte) (*Sealing, error) {
	key, err := ecdh.P521().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.PublicKey())
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	defer clear(private)
	aead, err := sealingCipher(prf)
	if err != nil {
		return nil, err
	}
	return &Sealing{Public: public, Wrapped: aead.Seal(nil, nil, private, public)}, nil
}

// open is for whoever has the passkey.
func (s Sealing) open(prf []byte) (*SealingKey, error) {
	public, err := s.Key()
	if err != nil {
		return nil, err
	}
	aead, err := sealingCipher(prf)
	if err != nil {
		return nil, err
	}
	private, err := aead.Open(nil, nil, s.Wrapped, s.Public)
	if err != nil {
		return nil, errors.New("sealing pair: it is not of this passkey, or was changed")
	}
	defer clear(private)
	k, err := x509.ParsePKCS8PrivateKey(private)
	if err != nil {
		return nil, errors.New("sealing pair: the private key is not PKCS #8")
	}
	ec, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("sealing pair: the private key is not P-521")
	}
	key, err := ec.ECDH()
	if err != nil || !key.PublicKey().Equal(public) {
		return nil, errors.New("sealing pair: the halves do not belong together")
	}
	return &SealingKey{public: public, agree: key.ECDH}, nil
}

// sealingCipher is the cipher that wraps a private half; it carries its nonce
// in front.
func sealingCipher(prf []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, prf, nil, sealingInfo, 32)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// A SealingKey is the private half of a Sealing, opened with its passkey. It
// agrees on secrets, for hsm.Take, and cannot be read. The zero value refuses.
type SealingKey struct {
	public *ecdh.PublicKey
	agree  func(*ecdh.PublicKey) ([]byte, error)
}

// Public is the public half.
func (k *SealingKey) Public() *ecdh.PublicKey { return k.public }

// ECDH computes the secret that is shared with the owner of peer, a P-521 key
// (SEC 1, 3.3.1). The caller wipes it.
func (k *SealingKey) ECDH(peer *ecdh.PublicKey) ([]byte, error) {
	if k == nil || k.agree == nil {
		return nil, errors.New("passkey: no sealing key")
	}
	return k.agree(peer)
}
