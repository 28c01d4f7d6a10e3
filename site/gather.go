package site

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"ankan/backup"
	"ankan/hsm"
)

// A Gathering is custodians of one backup who come one by one, each with their
// share. It holds what they brought in memory alone, sealed to a key that it
// draws for itself, and opens it where the backup is opened.
type Gathering struct {
	backup.Header
	key *ecdh.PrivateKey

	mu    sync.Mutex
	given map[string]hsm.Given // by the share's label
	who   []string             // in the order in which they came
}

// NewGathering begins with nobody.
func NewGathering(h backup.Header) (*Gathering, error) {
	key, err := ecdh.P521().GenerateKey(rand.Reader)
	return &Gathering{Header: h, key: key, given: map[string]hsm.Given{}}, err
}

// Errors of a share that is handed in.
var (
	ErrEnough = errors.New("enough custodians are here: the restore goes on without another share")
	ErrShare  = errors.New("the share is not the one that this backup has for the custodian")
)

// To is the key to which shares are handed in (SubjectPublicKeyInfo).
func (g *Gathering) To() []byte {
	spki, err := x509.MarshalPKIXPublicKey(g.key.PublicKey())
	if err != nil {
		panic(err) // it is of P-521
	}
	return spki
}

// Custodian is one of the backup's custodians.
func (g *Gathering) Custodian(person string) (backup.Custodian, error) {
	i := slices.IndexFunc(g.Custodians, func(c backup.Custodian) bool { return c.Person == person })
	if i < 0 {
		return backup.Custodian{}, fmt.Errorf("person %s has no share of this backup; its custodians are %s", person, strings.Join(g.persons(), ", "))
	}
	return g.Custodians[i], nil
}

func (g *Gathering) persons() (ids []string) {
	for _, c := range g.Custodians {
		ids = append(ids, c.Person)
	}
	return ids
}

// Take takes the share of a custodian, opened by their passkey and sealed anew
// to To under the share's own content and label. It is checked by itself: its
// place, its set and its check value. ErrShare is wrapped where it is another one.
func (g *Gathering) Take(person string, given hsm.Given) error {
	c, err := g.Custodian(person)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case slices.Contains(g.who, person):
		return fmt.Errorf("the share of person %s: %w", person, hsm.ErrTwice)
	case len(g.who) >= g.Threshold:
		return ErrEnough
	}
	s := c.Share
	s.Given = given
	content, err := s.Open(g.take)
	if err != nil {
		return fmt.Errorf("%w: it is of another person, of another backup, or was changed: %w", ErrShare, err)
	}
	clear(content)
	g.given[s.Label()], g.who = given, append(g.who, person)
	return nil
}

// Bring is Take for a share that open opens here, with a software passkey.
func (g *Gathering) Bring(person string, open hsm.Opener) error {
	c, err := g.Custodian(person)
	if err != nil {
		return err
	}
	content, err := c.Share.Open(open)
	if err != nil {
		return err
	}
	defer clear(content)
	given, err := hsm.Give(g.key.PublicKey(), c.Share.Content(), c.Share.Label(), content)
	if err != nil {
		return err
	}
	return g.Take(person, given)
}

// Came is who handed in their share so far, in that order.
func (g *Gathering) Came() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.who)
}

// Open is the Opener for Restoring, of whoever came.
func (g *Gathering) Open(_ hsm.Given, what hsm.Content, label string) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.take(g.given[label], what, label)
}

func (g *Gathering) take(given hsm.Given, what hsm.Content, label string) ([]byte, error) {
	return hsm.Take(given, what, label, g.key.PublicKey(), g.key.ECDH)
}
