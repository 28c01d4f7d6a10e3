package hsm

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"math/big"
	"testing"
)

// NIST SP 800-57 part 1 rev. 5, 5.6.1, tables 2 and 3.
func TestStrength(t *testing.T) {
	for a, want := range map[Algorithm]int{
		AES128: 128, AES256: 256, HMAC256: 256, P256: 128, P521: 256, RSA3072: 128, Ed25519: 128, TDES: 80, TDES3: 112, LotEMV: 80, LotKDF3: 256, LotNoneShort: 128,
		"DES": 0, "AES-256/": 0, "AES-128/emv": 0, "": 0,
	} {
		if got := a.Strength(); got != want {
			t.Errorf("%q has %d bits, want %d", a, got, want)
		}
	}
	modulus := func(bits int) *rsa.PublicKey {
		return &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), uint(bits-1)), E: 65537}
	}
	for _, c := range []struct {
		name string
		pub  any
		want int
	}{
		{"RSA 1023", modulus(1023), 0}, {"RSA 1024", modulus(1024), 80}, {"RSA 2048", modulus(2048), 112},
		{"RSA 3071", modulus(3071), 112}, {"RSA 3072", modulus(3072), 128}, {"RSA 4096", modulus(4096), 128},
		{"RSA 7680", modulus(7680), 192}, {"RSA 15360", modulus(15360), 256},
		{"P-224", &ecdsa.PublicKey{Curve: elliptic.P224()}, 112}, {"P-256", &ecdsa.PublicKey{Curve: elliptic.P256()}, 128},
		{"P-384", &ecdsa.PublicKey{Curve: elliptic.P384()}, 192}, {"P-521", &ecdsa.PublicKey{Curve: elliptic.P521()}, 256},
		{"Ed25519", ed25519.PublicKey{}, 128},
		{"none", nil, 0}, {"nil RSA", (*rsa.PublicKey)(nil), 0}, {"zero RSA", &rsa.PublicKey{}, 0},
		{"nil ECDSA", (*ecdsa.PublicKey)(nil), 0}, {"zero ECDSA", &ecdsa.PublicKey{}, 0},
		{"nil ECDH", (*ecdh.PublicKey)(nil), 0}, {"zero ECDH", &ecdh.PublicKey{}, 0}, {"text", "key", 0},
	} {
		if got := PublicStrength(c.pub); got != c.want {
			t.Errorf("%s has %d bits, want %d", c.name, got, c.want)
		}
	}
	for curve, want := range map[ecdh.Curve]int{ecdh.X25519(): 128, ecdh.P256(): 128, ecdh.P384(): 192, ecdh.P521(): 256} {
		if got := PublicStrength(ecdhKey(t, curve).PublicKey()); got != want {
			t.Errorf("%v has %d bits, want %d", curve, got, want)
		}
	}
	for _, c := range []struct {
		a     Algorithm
		under int
		ok    bool
	}{{AES128, 128, true}, {AES256, 256, true}, {AES128, 256, true}, {AES256, 128, false}, {AES256, 192, false}, {AES128, 112, false}, {"DES", 256, false}, {TDES3, 112, true}, {TDES3, 80, false}} {
		if err := CheckStrength(c.a, c.under); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrWeaker) {
			t.Errorf("%s under %d bits: %v, want it taken: %t", c.a, c.under, err, c.ok)
		}
	}
}
