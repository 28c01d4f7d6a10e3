package pkcs11

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"

	ck "github.com/miekg/pkcs11"

	"ankan/hsm"
)

// A window is an AES-256 key that both this process and the token know, for
// one session: what must come out of the token into our memory for one call,
// or go in, is wrapped under it. So no clear key stands in an argument of a
// PKCS #11 call, where a trace, a network or freed memory of C would have it.
//
// The token makes a P-256 key pair, we make another, and both derive the key
// from them (ECDH without a KDF: the coordinate is the key). The pairs are
// thrown away.
type window struct {
	block  cipher.Block
	handle objectHandle
}

// window makes the session's window when it is first looked through.
func (s *session) window() (*window, error) {
	if s.through != nil {
		return s.through, nil
	}
	pub, priv, err := s.pair(hsm.P256, uses{derive: true})
	if err != nil {
		return nil, err
	}
	defer s.discard(pub, priv)
	point, err := s.point(pub, 65)
	if err != nil {
		return nil, err
	}
	theirs, err := ecdh.P256().NewPublicKey(point)
	if err != nil {
		return nil, fmt.Errorf("the token's session key: %w", err)
	}
	ours, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	secret, err := ours.ECDH(theirs)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	m := s.mech(jobECDH)
	m.point = ours.PublicKey().Bytes()
	handle, err := s.api.DeriveKey(s.handle, m, priv, sessionKey(ck.CKK_AES, 32, false, uses{wrap: true, unwrap: true}))
	if err != nil {
		return nil, fmt.Errorf("deriving a session key: %w", err)
	}
	s.through = &window{block: block, handle: handle}
	return s.through, nil
}

// look brings the value of an extractable key out through the window; the
// caller wipes it.
func (s *session) look(o objectHandle) ([]byte, error) {
	w, err := s.window()
	if err != nil {
		return nil, err
	}
	wrapped, err := s.api.WrapKey(s.handle, s.mech(jobKeyWrap), w.handle, o)
	if err != nil {
		return nil, fmt.Errorf("C_WrapKey: %w", err)
	}
	value, err := hsm.UnwrapKey(w.block, wrapped)
	if err != nil {
		return nil, errors.New("the token wraps a key otherwise than AES key wrap (RFC 3394) does; see the mechanism for \"key wrap\"")
	}
	return value, nil
}

// lookPadded is look for a value of any length.
func (s *session) lookPadded(o objectHandle) ([]byte, error) {
	w, err := s.window()
	if err != nil {
		return nil, err
	}
	wrapped, err := s.api.WrapKey(s.handle, s.mech(jobKeyWrapPad), w.handle, o)
	if err != nil {
		return nil, fmt.Errorf("C_WrapKey: %w", err)
	}
	value, err := hsm.UnwrapKeyPad(w.block, wrapped)
	if err != nil {
		return nil, errors.New("the token wraps a key otherwise than AES key wrap with padding (RFC 5649) does; see the mechanism for \"key wrap with padding\"")
	}
	return value, nil
}

// pass brings a key into the token through the window.
func (s *session) pass(value []byte, template []attribute) (objectHandle, error) {
	w, err := s.window()
	if err != nil {
		return 0, err
	}
	wrapped, err := hsm.WrapKey(w.block, value)
	if err != nil {
		return 0, err
	}
	o, err := s.api.UnwrapKey(s.handle, s.mech(jobKeyWrap), w.handle, wrapped, template)
	if err != nil {
		return 0, fmt.Errorf("C_UnwrapKey: %w", err)
	}
	return o, nil
}
