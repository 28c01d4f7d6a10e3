package hsm

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
)

// Strength is the security strength of a key of this algorithm in bits (NIST
// SP 800-57 part 1 rev. 5, 5.6.1, tables 2 and 3); 0 for one that is unknown.
func (a Algorithm) Strength() int {
	switch a.Cipher() {
	case TDES:
		return 80
	case TDES3:
		return 112
	case AES128, P256, RSA3072, Ed25519:
		return 128
	case AES256, HMAC256, P521:
		return 256
	}
	return 0
}

// PublicStrength is the security strength in bits of the key pair that this
// public key belongs to (NIST SP 800-57 part 1 rev. 5, 5.6.1, table 2); 0 for
// one that the table has not.
func PublicStrength(pub crypto.PublicKey) int {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if k == nil || k.N == nil {
			return 0
		}
		return step(k.N.BitLen(), []int{1024, 80, 2048, 112, 3072, 128, 7680, 192, 15360, 256})
	case *ecdsa.PublicKey:
		if k == nil || k.Curve == nil {
			return 0
		}
		return curveStrength(k.Curve.Params().BitSize)
	case *ecdh.PublicKey:
		if k == nil {
			return 0
		}
		bits := map[ecdh.Curve]int{ecdh.X25519(): 256, ecdh.P256(): 256, ecdh.P384(): 384, ecdh.P521(): 521}
		return curveStrength(bits[k.Curve()])
	case ed25519.PublicKey:
		return 128
	}
	return 0
}

func curveStrength(bits int) int {
	return step(bits, []int{160, 80, 224, 112, 256, 128, 384, 192, 512, 256})
}

// step takes pairs of a length and the strength from that length on.
func step(bits int, table []int) (strength int) {
	for i := 0; i < len(table) && bits >= table[i]; i += 2 {
		strength = table[i+1]
	}
	return strength
}

// CheckStrength refuses to wrap a key of algorithm a under one of the strength
// under, in bits; the error wraps ErrWeaker.
func CheckStrength(a Algorithm, under int) error {
	if s := a.Strength(); s == 0 || s > under {
		return fmt.Errorf("%w: %s has %d bits of strength, the wrapping key %d", ErrWeaker, a, s, under)
	}
	return nil
}

// KeyLen is the length of a symmetric key in bytes, 0 for other algorithms.
func (a Algorithm) KeyLen() int {
	switch a.Cipher() {
	case AES128, TDES:
		return 16
	case TDES3:
		return 24
	case AES256, HMAC256:
		return 32
	}
	return 0
}
