package act

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ankan/passkey"
)

// FoundingKind is the kind of the act by which a site's first people put the
// first policy and themselves into force. No policy has a rule for it.
const FoundingKind = "site.found"

// A Founding is the beginning of a site: its first policy and people, and the
// signatures of every one of them over both. Nobody founds a site alone, and
// nobody is in it who did not sign.
type Founding struct {
	Act        string      `json:"act"` // canonical form
	Policy     Policy      `json:"policy"`
	People     []Person    `json:"people"`
	Signatures []Signature `json:"signatures"`
}

// A FoundingEntry is the data of the log's entry of a founding.
type FoundingEntry struct {
	Founding Founding `json:"founding"`
}

// NewFounding is a founding that nobody has signed. Its act lasts an hour.
func NewFounding(site string, p Policy, people []Person, now time.Time) (Founding, Act, error) {
	f := Founding{Policy: p, People: people}
	if err := f.checkPeople(); err != nil {
		return Founding{}, Act{}, err
	}
	a := New(site, FoundingKind, "site", people[0].ID, f.params(), Rule{ToApprove: 3600, ToUse: 3600, Version: p.Version}, now)
	f.Act = string(a.Canonical())
	return f, a, nil
}

// params are what the founders sign: the policy, and everybody's record.
func (f Founding) params() map[string]string {
	m := map[string]string{ParamPolicy: fmt.Sprintf("%x", f.Policy.Digest()), "policy_version": fmt.Sprint(f.Policy.Version)}
	for _, who := range f.People {
		m["person_"+who.ID] = fmt.Sprintf("%s; %s; %x", who.Name, strings.Join(who.Roles, ", "), who.Digest())
	}
	return m
}

func (f Founding) checkPeople() error {
	if len(f.People) < 2 {
		return fmt.Errorf("founding: %d people, want at least 2", len(f.People))
	}
	if err := f.Policy.Check(); err != nil {
		return err
	}
	for i, who := range f.People {
		if err := f.Policy.CheckPerson(who); err != nil {
			return fmt.Errorf("founding: %w", err)
		}
		if slices.ContainsFunc(f.People[:i], func(p Person) bool { return p.ID == who.ID }) {
			return fmt.Errorf("founding: person %s is there twice", who.ID)
		}
	}
	if err := f.Policy.CheckPeople(f.People); err != nil {
		return fmt.Errorf("founding: %w", err)
	}
	return nil
}

// Verb is what a founder's signature says: the first one asks, the others
// approve.
func (f Founding) Verb(person string) Verb {
	if len(f.People) > 0 && f.People[0].ID == person {
		return Request
	}
	return Approve
}

// Check refuses a founding that is not signed by each of its people.
func (f Founding) Check(now time.Time) error {
	if err := f.checkPeople(); err != nil {
		return err
	}
	a, err := Parse([]byte(f.Act))
	if err != nil {
		return err
	}
	if a.Kind != FoundingKind || a.Requester != f.People[0].ID || a.Policy != f.Policy.Version {
		return errors.New("founding: its act is another's")
	}
	if err := CheckTimes(a, now); err != nil {
		return err
	}
	want := f.params()
	for k, v := range a.Params {
		if want[k] != v {
			return fmt.Errorf("founding: %w: %s is not what was signed", ErrNotAllowed, k)
		}
	}
	if len(want) != len(a.Params) {
		return fmt.Errorf("founding: %w: %d things were signed, want %d", ErrNotAllowed, len(a.Params), len(want))
	}
	for _, who := range f.People {
		i := slices.IndexFunc(f.Signatures, func(s Signature) bool { return s.Person == who.ID })
		if i < 0 {
			return fmt.Errorf("founding: %w: person %s has not signed", ErrOpen, who.ID)
		}
		if _, err := Verify(a, who, f.Signatures[i], f.Verb(who.ID)); err != nil {
			return err
		}
	}
	if len(f.Signatures) != len(f.People) {
		return fmt.Errorf("founding: %w: %d signatures of %d people", ErrNotAllowed, len(f.Signatures), len(f.People))
	}
	return nil
}

// A Key signs in the name of a person; a software passkey is one.
type Key interface {
	Sign(challenge [32]byte) (passkey.Assertion, error)
}

// Sign adds a founder's signature, made by the founder's own passkey.
func (f *Founding) Sign(person string, key Key, now time.Time) error {
	a, err := Parse([]byte(f.Act))
	if err != nil {
		return err
	}
	assertion, err := key.Sign(a.Challenge(f.Verb(person)))
	if err != nil {
		return err
	}
	_, err = f.Add(person, assertion, now)
	return err
}

// Add adds what a founder's passkey signed, if it is the founder's word on
// this founding and the first one.
func (f *Founding) Add(person string, assertion passkey.Assertion, now time.Time) (passkey.Proof, error) {
	a, err := Parse([]byte(f.Act))
	if err != nil {
		return passkey.Proof{}, err
	}
	i := slices.IndexFunc(f.People, func(who Person) bool { return who.ID == person })
	if i < 0 {
		return passkey.Proof{}, fmt.Errorf("founding: %w: person %s is not in it", ErrNotAllowed, person)
	}
	if f.Signed(person) {
		return passkey.Proof{}, fmt.Errorf("founding: %w: person %s has signed already", ErrNotAllowed, person)
	}
	s := Signature{Person: person, Verb: f.Verb(person), At: now.UTC().Truncate(time.Second), Assertion: assertion}
	proof, err := Verify(a, f.People[i], s, s.Verb)
	if err == nil {
		f.Signatures = append(f.Signatures, s)
	}
	return proof, err
}

// Signed says whether a founder has signed.
func (f Founding) Signed(person string) bool {
	return slices.ContainsFunc(f.Signatures, func(s Signature) bool { return s.Person == person })
}

// Found is a founding that all of its people sign with keys that are at hand.
func Found(site string, p Policy, people []Person, keys map[string]Key, now time.Time) (Founding, error) {
	f, _, err := NewFounding(site, p, people, now)
	if err != nil {
		return f, err
	}
	for _, who := range people {
		if keys[who.ID] == nil {
			return f, fmt.Errorf("founding: %w: person %s has no passkey here to sign with", ErrOpen, who.ID)
		}
		if err := f.Sign(who.ID, keys[who.ID], now); err != nil {
			return f, err
		}
	}
	return f, nil
}
