package soft

import (
	"crypto"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"ankan/hsm"
)

// A key is one live key. All but secret never change and may be used without
// the token's lock: what is running while a key is destroyed ends well.
type key struct {
	hsm.Key
	secret []byte // what the file holds; under the token's lock

	block  cipher.Block // AES, triple DES
	macs   sync.Pool    // HMAC: hash.Hash with the key worked in
	signer crypto.Signer
	agree  *ecdh.PrivateKey
	open   *rsa.PrivateKey
}

// draw makes the secret of a new key. Key pairs take their randomness from
// the standard library, whatever the token's source is; only RSA has one of
// its own.
func (t *token) draw(a hsm.Algorithm) ([]byte, error) {
	switch a.Cipher() {
	case hsm.AES128, hsm.AES256, hsm.HMAC256, hsm.TDES, hsm.TDES3:
		b, err := drawBytes(t.random, a.KeyLen())
		hsm.SetParity(a, b)
		return b, err
	case hsm.Ed25519:
		return drawBytes(t.random, 32)
	case hsm.P256:
		return drawEC(elliptic.P256())
	case hsm.P521:
		return drawEC(elliptic.P521())
	case hsm.RSA3072:
		k, err := t.rsa()
		if err != nil {
			return nil, err
		}
		return x509.MarshalPKCS1PrivateKey(k), nil
	}
	return nil, fmt.Errorf("algorithm %q is unknown", a)
}

func drawRSA() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 3072) }

func drawEC(c elliptic.Curve) ([]byte, error) {
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		return nil, err
	}
	return k.Bytes()
}

func drawBytes(random io.Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(random, b)
	return b, err
}

// newKey makes a key of its secret, which it keeps.
func newKey(id string, p hsm.Purpose, a hsm.Algorithm, exportable bool, created time.Time, secret []byte) (*key, error) {
	if err := p.Fits(a); err != nil {
		return nil, err
	}
	if exportable && !p.Exports() {
		return nil, fmt.Errorf("a key for %q is marked as one that leaves: %w", p, hsm.ErrPurpose)
	}
	k := &key{Key: hsm.Key{ID: id, Purpose: p, Algorithm: a, Created: created, Exportable: exportable}, secret: secret}
	if want, ok := secretLen(a); ok && len(secret) != want {
		return nil, fmt.Errorf("secret of %s has %d bytes, want %d", a, len(secret), want)
	}
	switch a.Cipher() {
	case hsm.AES128, hsm.AES256, hsm.TDES, hsm.TDES3:
		return k, k.setBlock()
	case hsm.Ed25519:
		priv := ed25519.NewKeyFromSeed(secret)
		k.signer, k.Public = priv, priv.Public()
	case hsm.P256:
		return k, k.setEC(elliptic.P256())
	case hsm.P521:
		return k, k.setEC(elliptic.P521())
	case hsm.RSA3072:
		return k, k.setRSA()
	}
	return k, nil
}

func secretLen(a hsm.Algorithm) (n int, fixed bool) {
	switch a.Cipher() {
	case hsm.AES128, hsm.TDES, hsm.TDES3:
		return a.KeyLen(), true
	case hsm.P521:
		return 66, true
	case hsm.RSA3072:
		return 0, false
	}
	return 32, true
}

// setBlock makes the block cipher. A key of triple DES that is no more than single
// DES is none, whatever way it came.
func (k *key) setBlock() (err error) {
	if k.Algorithm.NeedsWaiver() {
		if err := hsm.CheckKey(k.secret, k.Algorithm); err != nil {
			return err
		}
		hsm.SetParity(k.Algorithm, k.secret) // of what came
	}
	if k.block, err = hsm.NewCipher(k.Algorithm, k.secret); err != nil {
		return err
	}
	k.KCV, err = hsm.NewKCV(k.Algorithm.CheckMethod(), k.block)
	return err
}

func (k *key) setEC(c elliptic.Curve) error {
	priv, err := ecdsa.ParseRawPrivateKey(c, k.secret)
	if err != nil {
		return err
	}
	k.Public = &priv.PublicKey
	if k.Purpose == hsm.Agree {
		k.agree, err = priv.ECDH()
		return err
	}
	k.signer = priv
	return nil
}

func (k *key) setRSA() error {
	priv, err := x509.ParsePKCS1PrivateKey(k.secret)
	if err != nil {
		return err
	}
	if n := priv.N.BitLen(); n != 3072 {
		return fmt.Errorf("RSA key has %d bits, want 3072", n)
	}
	k.open, k.Public = priv, &priv.PublicKey
	return nil
}

// wipe overwrites the secret. The expanded keys are the standard library's;
// the collector takes them.
func (k *key) wipe() { clear(k.secret) }

// The keys in the file are their number (4 bytes) and, in the order of their
// names, each one's name, state and, of a live one, purpose, algorithm, second
// of creation and secret. Strings carry their length in 2 bytes. A destroyed
// key leaves its name for ever.
const (
	stateLive       = 1 // never leaves the module
	stateDestroyed  = 2
	stateExportable = 3 // live, and may leave
)

// encode writes all keys into one buffer of the right size: growing it would
// leave secrets behind. The caller wipes it.
func encode(live map[string]*key, destroyed map[string]struct{}) []byte {
	size := 4
	names := make([]string, 0, len(live)+len(destroyed))
	for name, k := range live {
		names = append(names, name)
		size += 2 + len(name) + 1 + 2 + len(k.Purpose) + 2 + len(k.Algorithm) + 8 + 2 + len(k.secret)
	}
	for name := range destroyed {
		names = append(names, name)
		size += 2 + len(name) + 1
	}
	slices.Sort(names)
	b := binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(len(names)))
	for _, name := range names {
		b = appendString(b, name)
		k := live[name]
		if k == nil {
			b = append(b, stateDestroyed)
			continue
		}
		if k.Exportable {
			b = append(b, stateExportable)
		} else {
			b = append(b, stateLive)
		}
		b = appendString(b, k.Purpose)
		b = appendString(b, k.Algorithm)
		b = binary.BigEndian.AppendUint64(b, uint64(k.Created.Unix()))
		b = appendString(b, k.secret)
	}
	return b
}

func appendString[S ~string | ~[]byte](b []byte, s S) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// decode reads what encode wrote, and nothing else. The secrets are copies.
func decode(b []byte) (live map[string]*key, destroyed map[string]struct{}, err error) {
	live, destroyed = map[string]*key{}, map[string]struct{}{}
	defer func() {
		if err != nil {
			for _, k := range live {
				k.wipe()
			}
		}
	}()
	r := reader{b: b}
	last := ""
	for range r.uint(4) {
		name := string(r.bytes())
		state := r.uint(1)
		if r.failed || hsm.CheckID(name) != nil || name <= last {
			return live, nil, fmt.Errorf("%w: a key's name is out of place", ErrFile)
		}
		last = name
		switch state {
		case stateDestroyed:
			destroyed[name] = struct{}{}
			continue
		case stateLive, stateExportable:
		default:
			return live, nil, fmt.Errorf("%w: key %q has state %d", ErrFile, name, state)
		}
		purpose, algorithm := hsm.Purpose(r.bytes()), hsm.Algorithm(r.bytes())
		created, secret := r.uint(8), slices.Clone(r.bytes())
		if r.failed {
			return live, nil, fmt.Errorf("%w: key %q is cut off", ErrFile, name)
		}
		k, err := newKey(name, purpose, algorithm, state == stateExportable, time.Unix(int64(created), 0).UTC(), secret)
		if err != nil {
			clear(secret)
			return live, nil, fmt.Errorf("%w: key %q: %w", ErrFile, name, err)
		}
		live[name] = k
	}
	if r.failed || len(r.b) > 0 {
		return live, nil, fmt.Errorf("%w: %d bytes are left over", ErrFile, len(r.b))
	}
	return live, destroyed, nil
}

// A reader takes fields off b; failed is set where b ends too early.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) take(n int) []byte {
	if r.failed || len(r.b) < n {
		r.failed = true
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) uint(n int) (v uint64) {
	for _, c := range r.take(n) {
		v = v<<8 | uint64(c)
	}
	return v
}

func (r *reader) bytes() []byte { return r.take(int(r.uint(2))) }
