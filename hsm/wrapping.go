package hsm

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // OAEP's hash
	"errors"
	"fmt"
)

var errWrapping = errors.New("wrapping")

// CheckExport refuses a wrapping that cannot export a key of algorithm a: what
// it needs is missing, what it does not use is there, or the partner's key is
// weaker (ErrWeaker). An Exchange key is of AES-256: no key is stronger.
func (w Wrapping) CheckExport(a Algorithm) error {
	switch w.Format {
	case KW, KWP, TR31:
		if w.To != nil {
			return fmt.Errorf("%w: %s takes no public key", errWrapping, w.Format)
		}
		return w.checkKey()
	case OAEP, ECDH:
		if w.Key != "" {
			return fmt.Errorf("%w: export by %s is to a public key, not under key %q", errWrapping, w.Format, w.Key)
		}
		if w.To == nil {
			return fmt.Errorf("%w: export by %s wants the partner's public key", errWrapping, w.Format)
		}
		return CheckStrength(a, PublicStrength(w.To))
	}
	return w.unknown()
}

// CheckImport refuses a wrapping that cannot open anything: what it needs is
// missing, or what it does not use is there.
func (w Wrapping) CheckImport() error {
	switch w.Format {
	case KW, KWP, TR31, OAEP, ECDH:
		if w.To != nil {
			return fmt.Errorf("%w: an import takes no public key", errWrapping)
		}
		return w.checkKey()
	}
	return w.unknown()
}

func (w Wrapping) checkKey() error {
	if w.Key == "" {
		return fmt.Errorf("%w: %s wants the name of a key", errWrapping, w.Format)
	}
	if w.Label != "" && w.Format != OAEP && w.Format != ECDH {
		return fmt.Errorf("%w: %s binds no label", errWrapping, w.Format)
	}
	return nil
}

func (w Wrapping) unknown() error {
	return fmt.Errorf("%w: format %q, want one of %s, %s, %s, %s, %s", errWrapping, w.Format, KW, KWP, TR31, OAEP, ECDH)
}

// WrapOAEP wraps a key to an RSA public key (RFC 8017, 7.1.1) with SHA-256.
func WrapOAEP(to crypto.PublicKey, label string, key []byte) ([]byte, error) {
	pub, ok := to.(*rsa.PublicKey)
	if !ok || pub == nil {
		return nil, fmt.Errorf("%w: %s to a %T, want an RSA key", errWrapping, OAEP, to)
	}
	return rsa.EncryptOAEPWithOptions(rand.Reader, pub, key, &rsa.OAEPOptions{Hash: crypto.SHA256, Label: []byte(label)})
}

// UnwrapOAEP opens what WrapOAEP made, with an RSA private key wherever it is
// (RFC 8017, 7.1.2); ErrSealed if it is for another key or label, or was
// changed. The caller wipes the result.
func UnwrapOAEP(d crypto.Decrypter, label string, wrapped []byte) ([]byte, error) {
	key, err := d.Decrypt(rand.Reader, wrapped, &rsa.OAEPOptions{Hash: crypto.SHA256, Label: []byte(label)})
	if err != nil {
		return nil, ErrSealed
	}
	return key, nil
}
