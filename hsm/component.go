package hsm

import (
	"crypto"
	"crypto/ecdh"
	"crypto/subtle"
	"errors"
	"fmt"
)

// An Opener opens what was given to one key, as Take does: ErrSealed if it is
// for another key, content or label. Who asks wipes the result.
type Opener func(given Given, what Content, label string) ([]byte, error)

// Names in components and shares have no space, so that a label can be read in
// one way only, and are short enough for one.
const (
	maxSet    = 100
	maxHolder = 64
)

// check refuses a component whose place says nothing, or whose algorithm is
// neither AES nor triple DES of a transport key.
func (c Component) check() error {
	if err := errors.Join(checkName("set", c.Set, maxSet), checkName("holder", c.Holder, maxHolder)); err != nil {
		return err
	}
	if c.Of < 2 || c.Of > 3 || c.Index < 1 || c.Index > c.Of {
		return fmt.Errorf("it is number %d of %d, want 1..2 of 2 or 1..3 of 3", c.Index, c.Of)
	}
	if a := c.Algorithm; a.CheckMethod() != GP && !a.NeedsWaiver() {
		return fmt.Errorf("%w: found %q, want %s, %s, %s or %s", ErrAlgorithm, a, AES128, AES256, TDES, TDES3)
	}
	return nil
}

func (c Component) wrong(err error) error {
	return &ComponentError{Holder: c.Holder, Index: c.Index, Err: err}
}

// Seal returns c with the part of the key that it holds, sealed to its holder
// or to a module, and the part's check value by the method. A *ComponentError
// says what is wrong with c or the part.
func (c Component) Seal(to crypto.PublicKey, method KCVMethod, part []byte) (Component, error) {
	err := c.check()
	if err == nil {
		err = CheckKey(part, c.Algorithm)
	}
	if err == nil {
		c.KCV, err = KeyKCV(method, c.Algorithm, part)
	}
	if err == nil {
		c.Given, err = Give(to, c.Content(), c.Label(), part)
	}
	if err != nil {
		return Component{}, c.wrong(err)
	}
	return c, nil
}

// Open opens the component and checks it by itself: its place, length and
// check value, and that it is not weak. A *ComponentError says what is wrong;
// an error of open other than ErrSealed comes as it is. The caller wipes the
// result.
func (c Component) Open(open Opener) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, c.wrong(err)
	}
	part, err := open(c.Given, c.Content(), c.Label())
	if errors.Is(err, ErrSealed) {
		return nil, c.wrong(err)
	}
	if err != nil {
		return nil, err
	}
	err = checkLen(part, c.Algorithm)
	if err == nil {
		err = checkKCV(part, c.Algorithm, c.KCV)
	}
	if err == nil {
		err = CheckKey(part, c.Algorithm)
	}
	if err != nil {
		clear(part)
		return nil, c.wrong(err)
	}
	return part, nil
}

func checkLen(key []byte, a Algorithm) error {
	if n := a.KeyLen(); len(key) != n || n == 0 {
		return fmt.Errorf("%w: %d bytes, want %d of %s", ErrAlgorithm, len(key), n, a)
	}
	return nil
}

// checkKCV compares the check value of a key with the one that is wanted.
func checkKCV(key []byte, a Algorithm, want KCV) error {
	if want.IsZero() {
		return fmt.Errorf("%w: there is none", ErrKCV)
	}
	got, err := KeyKCV(want.Method(), a, key)
	if err != nil {
		return err
	}
	if same, err := got.Matches(want); err != nil || !same {
		return fmt.Errorf("%w: found %v, want %v", ErrKCV, got, want)
	}
	return nil
}

// CombineComponents is Transfer.Combine without the keeping: the key is the XOR
// of all components, each checked as Component.Open does. They are of one set
// and of different holders, in any order. The caller wipes the result.
func CombineComponents(parts []Component, a Algorithm, want KCV, open Opener) ([]byte, error) {
	if err := checkComponents(parts, a); err != nil {
		return nil, err
	}
	opened := make([][]byte, 0, len(parts))
	defer func() {
		for _, p := range opened {
			clear(p)
		}
	}()
	for _, c := range parts {
		part, err := c.Open(open)
		if err != nil {
			return nil, err
		}
		for _, other := range opened {
			if subtle.ConstantTimeCompare(part, other) == 1 {
				clear(part)
				return nil, c.wrong(ErrTwice)
			}
		}
		opened = append(opened, part)
	}
	key := combineXOR(opened)
	err := CheckKey(key, a)
	SetParity(a, key) // two components of odd parity make a key of even parity
	if err == nil && !want.IsZero() {
		err = checkKCV(key, a, want)
	}
	if err != nil {
		clear(key)
		return nil, err
	}
	return key, nil
}

// checkComponents checks that these are the components of one key of the
// algorithm, all of them.
func checkComponents(parts []Component, a Algorithm) error {
	if len(parts) < 2 {
		return fmt.Errorf("%w: %d components, want 2 or 3", ErrFew, len(parts))
	}
	if len(parts) > 3 {
		return fmt.Errorf("%d components, want 2 or 3", len(parts))
	}
	first := parts[0]
	for i, c := range parts {
		if err := c.check(); err != nil {
			return c.wrong(err)
		}
		if c.Algorithm != a {
			return c.wrong(fmt.Errorf("%w: found %s, want %s", ErrAlgorithm, c.Algorithm, a))
		}
		if c.Set != first.Set || c.Of != first.Of {
			return c.wrong(fmt.Errorf("%w: found %s of %d, want %s of %d", ErrSet, c.Set, c.Of, first.Set, first.Of))
		}
		for _, other := range parts[:i] {
			if c.Index == other.Index || c.Holder == other.Holder {
				return c.wrong(ErrTwice)
			}
		}
	}
	if len(parts) != first.Of {
		return fmt.Errorf("%w: %d components, want %d", ErrFew, len(parts), first.Of)
	}
	return nil
}

// SplitComponents is Transfer.Split without the key's name: XOR components of a
// key of AES or triple DES, one sealed to each of two or three holders. Those of
// triple DES have odd parity each, which others want to see, so that their XOR
// is the key but for its parity. random fills its argument from the module's
// generator.
func SplitComponents(key []byte, a Algorithm, set string, method KCVMethod, to []Holder, random func([]byte) error) ([]Component, error) {
	if len(to) < 2 || len(to) > 3 {
		return nil, fmt.Errorf("%d holders of components, want 2 or 3", len(to))
	}
	if err := errors.Join(checkHolders(to), checkLen(key, a)); err != nil {
		return nil, err
	}
	parts, err := splitXOR(key, len(to), random)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, p := range parts {
			clear(p)
		}
	}()
	components := make([]Component, len(to))
	for i, h := range to {
		SetParity(a, parts[i])
		c := Component{Set: set, Index: i + 1, Of: len(to), Holder: h.Name, Algorithm: a}
		if components[i], err = c.Seal(h.Key, method, parts[i]); err != nil {
			return nil, err
		}
	}
	return components, nil
}

// checkHolders wants different people with different keys.
func checkHolders(to []Holder) error {
	keys := make([]*ecdh.PublicKey, len(to))
	for i, h := range to {
		if err := checkName("holder", h.Name, maxHolder); err != nil {
			return err
		}
		var err error
		if keys[i], err = agreeKey(h.Key); err != nil {
			return fmt.Errorf("holder %s: %w", h.Name, err)
		}
		for j := range i {
			if h.Name == to[j].Name || keys[i].Equal(keys[j]) {
				return fmt.Errorf("holder %s: %w, as %s", h.Name, ErrTwice, to[j].Name)
			}
		}
	}
	return nil
}

// splitXOR draws all parts but the last, which is what is left of the key.
func splitXOR(key []byte, n int, random func([]byte) error) ([][]byte, error) {
	parts := make([][]byte, n)
	last := append([]byte(nil), key...)
	parts[n-1] = last
	for i := range n - 1 {
		parts[i] = make([]byte, len(key))
		if err := random(parts[i]); err != nil {
			clear(last)
			return nil, err
		}
		subtle.XORBytes(last, last, parts[i])
	}
	return parts, nil
}

// combineXOR is the XOR of parts of one length.
func combineXOR(parts [][]byte) []byte {
	key := make([]byte, len(parts[0]))
	for _, p := range parts {
		subtle.XORBytes(key, key, p)
	}
	return key
}
