// Package suci conceals the MSIN of a subscriber under a key of the home network
// and opens it again (TS 33.501, annex C). The card, or the phone, conceals; the
// home network's SIDF opens. It has no IO and draws nothing: the caller gives the
// ephemeral key.
package suci

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
)

// A Scheme is a protection scheme by its identifier (TS 33.501, C.1).
type Scheme byte

// The protection schemes. The zero Scheme hides nothing.
const (
	Null     Scheme = 0
	ProfileA Scheme = 1 // X25519
	ProfileB Scheme = 2 // P-256, points are compressed
)

// String is the scheme as EF.SUCI_Calc_Info is written in a profile.
func (s Scheme) String() string {
	switch s {
	case Null:
		return "null"
	case ProfileA:
		return "profile-a"
	case ProfileB:
		return "profile-b"
	}
	return fmt.Sprintf("scheme %d", byte(s))
}

// Errors that callers branch on.
var (
	ErrScheme = errors.New("the protection scheme is not known")
	ErrKey    = errors.New("the home network's public key is wrong")
	ErrMAC    = errors.New("the SUCI was not made for this key, or was changed on its way")
	ErrOutput = errors.New("the scheme output is too short")
)

const macSize = 8

// curve and point are what a scheme takes: ErrScheme for the null scheme too,
// which has no keys.
func (s Scheme) curve() (ecdh.Curve, int, error) {
	switch s {
	case ProfileA:
		return ecdh.X25519(), 32, nil
	case ProfileB:
		return ecdh.P256(), 33, nil
	}
	return nil, 0, fmt.Errorf("SUCI: %w: %s", ErrScheme, s)
}

// PublicKey reads a home network public key as EF.SUCI_Calc_Info holds it:
// profile A 32 bytes, profile B a point, compressed (33 bytes) or not (65).
func (s Scheme) PublicKey(key []byte) (*ecdh.PublicKey, error) {
	c, _, err := s.curve()
	if err != nil {
		return nil, err
	}
	if s == ProfileB && len(key) == 33 {
		x, y := elliptic.UnmarshalCompressed(elliptic.P256(), key)
		if x == nil {
			return nil, fmt.Errorf("%w: not a point of P-256", ErrKey)
		}
		point := make([]byte, 65)
		point[0] = 4
		x.FillBytes(point[1:33])
		y.FillBytes(point[33:])
		key = point
	}
	p, err := c.NewPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("%w: %s, %d bytes: %w", ErrKey, s, len(key), err)
	}
	return p, nil
}

// PrivateKey makes a private key of 32 bytes: an ephemeral key of the card, or
// the home network's. Not every 32 bytes are a key of profile B.
func (s Scheme) PrivateKey(b []byte) (*ecdh.PrivateKey, error) {
	c, _, err := s.curve()
	if err != nil {
		return nil, err
	}
	return c.NewPrivateKey(b)
}

// point is a public key as the scheme sends it.
func (s Scheme) point(p *ecdh.PublicKey) []byte {
	b := p.Bytes()
	if s == ProfileB {
		b[32] = 2 | b[64]&1
		b = b[32:]
		copy(b[1:], p.Bytes()[1:33])
		return b[:33]
	}
	return b
}

// Conceal appends the scheme output for a plaintext, which is the MSIN in packed
// digits, to dst: the ephemeral public key, the ciphertext and 8 bytes of MAC
// (TS 33.501, C.3.2). The null scheme's output is the plaintext; it needs no
// keys. An ephemeral key is for one call.
func Conceal(dst []byte, s Scheme, home *ecdh.PublicKey, ephemeral *ecdh.PrivateKey, plaintext []byte) ([]byte, error) {
	if s == Null {
		return append(dst, plaintext...), nil
	}
	if _, _, err := s.curve(); err != nil {
		return nil, err
	}
	shared, err := ephemeral.ECDH(home)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	point := s.point(ephemeral.PublicKey())
	dst = append(dst, point...)
	start := len(dst)
	dst = append(dst, plaintext...)
	mac := crypt(dst[start:], shared, point, true)
	return append(dst, mac[:macSize]...), nil
}

// Deconceal opens a scheme output with the home network's private key and returns
// the plaintext. It returns ErrMAC for what was not made for this key, ErrOutput
// for what is cut.
func Deconceal(s Scheme, home *ecdh.PrivateKey, output []byte) ([]byte, error) {
	if s == Null {
		return append([]byte(nil), output...), nil
	}
	_, n, err := s.curve()
	if err != nil {
		return nil, err
	}
	if len(output) < n+macSize {
		return nil, fmt.Errorf("%w: %d bytes, want at least %d", ErrOutput, len(output), n+macSize)
	}
	point := output[:n]
	p, err := s.PublicKey(point)
	if err != nil {
		return nil, err
	}
	shared, err := home.ECDH(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	text := append([]byte(nil), output[n:len(output)-macSize]...)
	mac := crypt(text, shared, point, false)
	if subtle.ConstantTimeCompare(mac[:macSize], output[len(output)-macSize:]) != 1 {
		return nil, ErrMAC
	}
	return text, nil
}

// crypt enciphers or deciphers text in place, AES-128 in counter mode, and
// returns the HMAC-SHA-256 of the ciphertext. The keys come from the shared
// secret by ANSI X9.63 with SHA-256: 16 bytes of key, 16 of counter block, 32 of
// MAC key (TS 33.501, C.3.4).
func crypt(text, shared, info []byte, encrypt bool) []byte {
	var keys [64]byte
	for i := range uint32(2) {
		h := sha256.New()
		h.Write(shared)
		h.Write(binary.BigEndian.AppendUint32(nil, i+1))
		h.Write(info)
		h.Sum(keys[:32*i])
	}
	defer clear(keys[:])
	clear(shared)
	block, err := aes.NewCipher(keys[:16])
	if err != nil {
		panic(err) // 16 bytes are a key
	}
	stream := cipher.NewCTR(block, keys[16:32])
	mac := hmac.New(sha256.New, keys[32:])
	if encrypt {
		stream.XORKeyStream(text, text)
		mac.Write(text)
	} else {
		mac.Write(text)
		stream.XORKeyStream(text, text)
	}
	return mac.Sum(nil)
}
