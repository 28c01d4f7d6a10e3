package gp

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // of load files and signatures of older cards
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"math/big"

	"ankan/scp"
)

// LoadFileHash is the load file data block hash (C.2), which INSTALL [for load]
// names and DAPs sign: SHA-1, SHA-256, SHA-384 or SHA-512 of a CAP's Code.
func LoadFileHash(code []byte, h crypto.Hash) ([]byte, error) {
	switch h {
	case crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512:
	default:
		return nil, fmt.Errorf("gp: load file hash by %v, want SHA-1, SHA-256, SHA-384 or SHA-512: %w", h, ErrCommand)
	}
	d := h.New()
	d.Write(code)
	return d.Sum(nil), nil
}

// A DAP is the signature of a security domain over a load file (C.3): over
// what LoadFileHash gives.
type DAP struct {
	Domain    []byte // AID of the domain that verifies it
	Signature []byte
}

// A Key signs and verifies DAPs, tokens and receipts. It cannot be printed or
// marshalled. The zero value refuses.
type Key struct {
	// state is a function because fmt follows pointers in the unexported fields
	// of what holds a Key, and prints what they point to.
	state func() *signing
}

type signing struct {
	mac    func(message []byte) []byte // both sides hold the key
	signer crypto.Signer
	public crypto.PublicKey
	hash   crypto.Hash
}

func newKey(s signing) Key { return Key{state: func() *signing { return &s }} }

// get gives a key without anything for the zero value.
func (k Key) get() *signing {
	if k.state == nil {
		return new(signing)
	}
	return k.state()
}

// Format prints a marker.
func (Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[key]") }

// LogValue logs a marker.
func (Key) LogValue() slog.Value { return slog.StringValue("[key]") }

// MarshalText gives a marker, for JSON and everything like it.
func (Key) MarshalText() ([]byte, error) { return []byte("[key]"), nil }

// AESKey makes CMACs of 16 bytes under an AES key of 16, 24 or 32 bytes.
func AESKey(key []byte) (Key, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return Key{}, fmt.Errorf("gp: AES key has %d bytes, want 16, 24 or 32", len(key))
	}
	return newKey(signing{mac: func(m []byte) []byte { sum := scp.SumCMAC(b, m); return sum[:] }}), nil
}

// DESKey makes MACs of 8 bytes by single DES and final triple DES (B.1.2.2)
// under a key of 16 bytes. It is for cards that have nothing better.
func DESKey(key []byte) (Key, error) {
	sum, err := scp.NewDESMAC(key)
	if err != nil {
		return Key{}, err
	}
	return newKey(signing{mac: func(m []byte) []byte { s := sum(m); return s[:] }}), nil
}

// PrivateKey signs with a key that may lie in a module: RSASSA-PKCS1-v1_5 with
// SHA-1 or SHA-256 (B.3), or ECDSA in the form of r and s with SHA-256, SHA-384
// or SHA-512 (B.4).
func PrivateKey(s crypto.Signer, h crypto.Hash) (Key, error) {
	if err := checkPublic(s.Public(), h); err != nil {
		return Key{}, err
	}
	return newKey(signing{signer: s, public: s.Public(), hash: h}), nil
}

// PublicKey verifies what PrivateKey signed.
func PublicKey(p crypto.PublicKey, h crypto.Hash) (Key, error) {
	if err := checkPublic(p, h); err != nil {
		return Key{}, err
	}
	return newKey(signing{public: p, hash: h}), nil
}

func checkPublic(p crypto.PublicKey, h crypto.Hash) error {
	ok := false
	switch p := p.(type) {
	case *rsa.PublicKey:
		ok = (h == crypto.SHA1 || h == crypto.SHA256) && p.N.BitLen() >= 1024
	case *ecdsa.PublicKey:
		ok = h == crypto.SHA256 || h == crypto.SHA384 || h == crypto.SHA512
	}
	if !ok {
		return fmt.Errorf("gp: signatures by %T with %v, want RSA of 1024 bits or more with SHA-1 or SHA-256, or ECDSA with SHA-256 or longer", p, h)
	}
	return nil
}

func (k *signing) digest(message []byte) []byte {
	d := k.hash.New()
	d.Write(message)
	return d.Sum(nil)
}

// Sign signs a message: for a DAP the load file hash, for a token its data.
func (key Key) Sign(message []byte) ([]byte, error) {
	k := key.get()
	switch {
	case k.mac != nil:
		return k.mac(message), nil
	case k.signer == nil:
		return nil, fmt.Errorf("gp: this key only verifies: %w", ErrCommand)
	}
	s, err := k.signer.Sign(rand.Reader, k.digest(message), k.hash)
	if err != nil {
		return nil, fmt.Errorf("gp: signing: %w", err)
	}
	if p, ok := k.public.(*ecdsa.PublicKey); ok {
		return plainECDSA(s, curveBytes(p))
	}
	return s, nil
}

// Verify checks a signature. The error wraps ErrSignature.
func (key Key) Verify(message, signature []byte) error {
	k := key.get()
	ok := false
	switch p := k.public.(type) {
	case nil:
		ok = k.mac != nil && subtle.ConstantTimeCompare(k.mac(message), signature) == 1
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(p, k.hash, k.digest(message), signature) == nil
	case *ecdsa.PublicKey:
		if n := curveBytes(p); len(signature) == 2*n {
			r, s := new(big.Int).SetBytes(signature[:n]), new(big.Int).SetBytes(signature[n:])
			ok = ecdsa.Verify(p, k.digest(message), r, s)
		}
	}
	if !ok {
		return fmt.Errorf("gp: %w", ErrSignature)
	}
	return nil
}

func curveBytes(p *ecdsa.PublicKey) int { return (p.Curve.Params().N.BitLen() + 7) / 8 }

// plainECDSA turns a DER signature into r and s, n bytes each.
func plainECDSA(der []byte, n int) ([]byte, error) {
	out := make([]byte, 0, 2*n)
	body, ok := derValue(&der, 0x30)
	for range 2 {
		var v []byte
		if ok {
			v, ok = derValue(&body, 0x02)
		}
		v = bytes.TrimLeft(v, "\x00")
		if !ok || len(v) > n {
			return nil, fmt.Errorf("gp: signing: no ECDSA signature of this curve")
		}
		out = append(append(out, make([]byte, n-len(v))...), v...)
	}
	return out, nil
}

// derValue takes an element with a length below 256 off b.
func derValue(b *[]byte, tag byte) ([]byte, bool) {
	if len(*b) < 2 || (*b)[0] != tag {
		return nil, false
	}
	v, rest, err := readLV((*b)[1:])
	*b = rest
	return v, err == nil
}

// A Confirmation is what a card with the privilege of receipt generation
// answers to LOAD, INSTALL and DELETE of delegated management (11.1.6).
type Confirmation struct {
	Receipt []byte
	Counter []byte
	Unique  []byte // data of the security domain
	signed  []byte // as it came
}

// ParseConfirmation reads the answer's data. A card that gives no receipt
// answers 00 or nothing; the confirmation then has none.
func ParseConfirmation(b []byte) (Confirmation, error) {
	if len(b) == 0 || len(b) == 1 && b[0] == 0 {
		return Confirmation{}, nil
	}
	var c Confirmation
	body, rest, err := readLV(b)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes follow: %w", len(rest), ErrData)
	}
	for _, field := range []*[]byte{&c.Receipt, &c.Counter, &c.Unique} {
		if err == nil {
			*field, body, err = readLV(body)
			if field == &c.Receipt {
				c.signed = body
			}
		}
	}
	// A token's identifier and digest may follow: they are signed as they are.
	for err == nil && len(body) > 0 {
		_, body, err = readLV(body)
	}
	if err != nil {
		return Confirmation{}, fmt.Errorf("gp: confirmation: %w", err)
	}
	return c, nil
}

// Verify checks the receipt with the receipt key (C.5): it signs the
// confirmation, and after it the AIDs that the act was about, each with its
// length. For LOAD these are load file and domain, for INSTALL load file and
// instance, for extradition the old domain, application and new domain, for
// DELETE what was deleted. ErrSignature also if there is no receipt.
func (c Confirmation) Verify(k Key, aids ...[]byte) error {
	m := append([]byte{}, c.signed...)
	for _, a := range aids {
		m = appendLV(m, a)
	}
	if len(c.Receipt) == 0 {
		return fmt.Errorf("gp: no receipt: %w", ErrSignature)
	}
	return k.Verify(m, c.Receipt)
}
