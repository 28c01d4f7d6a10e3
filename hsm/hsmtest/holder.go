package hsmtest

import (
	"crypto"
	"crypto/ecdh"
	"crypto/rand"

	"ankan/hsm"
)

// A Holder is a custodian with the private half of the credential.
type Holder struct {
	hsm.Holder
	private *ecdh.PrivateKey
}

// NewHolder makes a custodian with a new credential.
func NewHolder(name string) Holder {
	k, err := ecdh.P521().GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return Holder{hsm.Holder{Name: name, Key: k.PublicKey()}, k}
}

// Open opens what was given to the holder: an hsm.Opener.
func (h Holder) Open(given hsm.Given, what hsm.Content, label string) ([]byte, error) {
	return hsm.Take(given, what, label, h.private.PublicKey(), h.private.ECDH)
}

// TakeComponent opens a component that is sealed to the holder.
func (h Holder) TakeComponent(c hsm.Component) ([]byte, error) { return c.Open(h.Open) }

// TakeShare opens a share that is sealed to the holder, and gives its content.
func (h Holder) TakeShare(s hsm.Share) ([]byte, error) { return s.Open(h.Open) }

// PassComponent seals the holder's component to a module's Agree key.
func (h Holder) PassComponent(c hsm.Component, agree crypto.PublicKey) (hsm.Component, error) {
	part, err := h.TakeComponent(c)
	if err != nil {
		return hsm.Component{}, err
	}
	defer clear(part)
	c.Given, err = hsm.Give(agree, c.Content(), c.Label(), part)
	return c, err
}

// PassShare seals the holder's share to a module's Agree key.
func (h Holder) PassShare(s hsm.Share, agree crypto.PublicKey) (hsm.Share, error) {
	content, err := h.TakeShare(s)
	if err != nil {
		return hsm.Share{}, err
	}
	defer clear(content)
	s.Given, err = hsm.Give(agree, s.Content(), s.Label(), content)
	return s, err
}
