package keys_test

import (
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/keys"
	"ankan/notice"
	"ankan/passkey"
	"ankan/store"
	"ankan/store/storetest"
)

// The people of a vault. Cust1 to cust4 are custodians.
const (
	km    = "1001"
	ha    = "1002"
	so    = "1003"
	cust1 = "1004"
	cust2 = "1005"
	cust3 = "1006"
	nodal = "1007"
	green = "1008" // a custodian without training
	cust4 = "1009"
)

// A vault is a site with its people and its keys, at a time that the test sets.
// When the test ends, its whole log is replayed by somebody who trusts nobody.
type vault struct {
	testing.TB
	site   string
	store  *store.Store
	people *access.Directory
	desk   *custody.Desk
	board  *notice.Board
	reg    *keys.Register
	guard  *keys.Guard
	deeds  map[string]custody.Deed
	soft   map[string]*passkey.Soft

	mu    sync.Mutex
	clock time.Time
}

func newVault(t testing.TB, site string) *vault {
	t.Helper()
	v := &vault{TB: t, site: site, soft: map[string]*passkey.Soft{}, clock: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	signer, err := audit.NewSigner(site, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	v.must(err)
	v.store, err = store.Open(t.Context(), store.Config{Path: storetest.New(t), Origin: site, Signer: signer, Now: v.now},
		access.Schema(), notice.Schema(), custody.Schema(), keys.Schema())
	v.must(err)
	v.people = access.New(v.store)
	var all []act.Person
	signs := map[string]act.Key{}
	for id, role := range map[string]string{km: "key-manager", ha: "hsm-administrator", so: "security-officer", nodal: "nodal-officer",
		cust1: "key-custodian", cust2: "key-custodian", cust3: "key-custodian", cust4: "key-custodian", green: "key-custodian"} {
		k, err := passkey.NewSoft("site.example", "https://site.example")
		v.must(err)
		v.soft[id], signs[id] = k, k
		all = append(all, act.Person{ID: id, Name: "Person " + id, Roles: []string{role}, Employment: act.Permanent, Credential: k.Credential})
	}
	slices.SortFunc(all, func(a, b act.Person) int { return strings.Compare(a.ID, b.ID) })
	f, err := act.Found(site, access.DefaultPolicy(), all, signs, v.clock)
	v.must(err)
	v.must(v.people.Found(t.Context(), access.Founding{Founding: f}))
	v.change(func(tx *store.Tx) error {
		for _, id := range []string{cust1, cust2, cust3, cust4} {
			until := tx.Time().AddDate(5, 0, 0)
			v.must(v.people.PutRecord(tx, access.Training, act.Record{Person: id, What: "key-custodian", At: tx.Time(), Until: until}, ""))
			v.must(v.people.PutRecord(tx, access.Statement, act.Record{Person: id, What: "custodian", At: tx.Time(), Until: until}, ""))
		}
		return nil
	})
	v.desk, v.board = custody.New(site, v.store, v.people), notice.New(v.store)
	v.reg = keys.NewRegister(site, v.store, v.people)
	v.guard, err = keys.NewGuard(t.Context(), v.reg, hsmtest.Soft(t, nil))
	v.must(err)
	v.deeds = v.reg.Deeds(v.guard.Reload)
	t.Cleanup(func() {
		v.replay()
		v.store.Close()
	})
	return v
}

func (v *vault) must(err error) {
	v.Helper()
	if err != nil {
		v.Fatal(err)
	}
}

// refused wants an error that says something.
func (v *vault) refused(err error, want string) {
	v.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		v.Errorf("%v, want %q", err, want)
	}
}

func (v *vault) now() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.clock
}

func (v *vault) wait(days, minutes int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.clock = v.clock.AddDate(0, 0, days).Add(time.Duration(minutes) * time.Minute)
}

func (v *vault) change(fn func(*store.Tx) error) {
	v.Helper()
	v.must(v.store.Change(v.context(), audit.Entry{Kind: "test", Actor: "test"}, fn))
}

// context outlives the test, for its cleanup.
func (v *vault) context() context.Context { return context.WithoutCancel(v.Context()) }

// replay checks that nothing was done without its warrant.
func (v *vault) replay() {
	var b act.Book
	all, err := v.store.Entries(v.context(), 0, int(v.store.Size()))
	v.must(err)
	for i, e := range all {
		data, err := json.Marshal(e.Data)
		v.must(err)
		if err := b.Apply(e.Kind, e.Subject, e.Time, data); err != nil {
			v.Errorf("entry %d, %s of %s: %v", i, e.Kind, e.Subject, err)
		}
	}
	v.must(b.End())
}

// do asks for an act, has it signed, and does it. Everything that is done is
// tried three times: by a caller who is gone, which does nothing; in earnest;
// and again, which does nothing more.
func (v *vault) do(kind, subject, requester string, approvers ...string) error {
	v.Helper()
	w, err := v.signed(kind, subject, requester, approvers...)
	if err != nil {
		return err
	}
	gone, cancel := context.WithCancel(v.Context())
	cancel()
	before := v.store.Size()
	if err := v.deeds[kind].Do(gone, w); !errors.Is(err, context.Canceled) || v.store.Size() != before {
		v.Errorf("%s of %s by a caller who is gone: %v, and %d entries", kind, subject, err, v.store.Size()-before)
	}
	if err := v.deeds[kind].Do(v.Context(), w); err != nil {
		if v.store.Size() != before {
			v.Errorf("%s of %s was refused and left %d entries", kind, subject, v.store.Size()-before)
		}
		return err
	}
	after := v.store.Size()
	if err := v.deeds[kind].Do(v.Context(), w); !errors.Is(err, act.ErrUsed) || v.store.Size() != after {
		v.Errorf("%s of %s again: %v, and %d entries", kind, subject, err, v.store.Size()-after)
	}
	return nil
}

// signed is the warrant of an act.
func (v *vault) signed(kind, subject, requester string, approvers ...string) (w custody.Warrant, err error) {
	v.Helper()
	params, err := v.deeds[kind].Propose(v.Context(), subject)
	if err != nil {
		return w, err
	}
	return v.sign(kind, subject, params, requester, approvers...)
}

func (v *vault) sign(kind, subject string, params map[string]string, requester string, approvers ...string) (w custody.Warrant, err error) {
	v.Helper()
	rule, err := access.DefaultPolicy().Rule(kind)
	v.must(err)
	a := act.New(v.site, kind, subject, requester, maps.Clone(params), rule, v.now())
	if err := v.desk.Request(v.Context(), a.Canonical(), v.sig(a, requester, act.Request)); err != nil {
		return w, err
	}
	for _, who := range approvers {
		if err := v.desk.Sign(v.Context(), a.ID, v.sig(a, who, act.Approve)); err != nil {
			return w, err
		}
	}
	return v.desk.Warrant(v.Context(), a.ID)
}

func (v *vault) sig(a act.Act, person string, verb act.Verb) act.Signature {
	v.Helper()
	assertion, err := v.soft[person].Sign(a.Challenge(verb))
	v.must(err)
	return act.Signature{Person: person, Verb: verb, At: v.now(), Assertion: assertion}
}

// unread counts what a person was told of a kind.
func (v *vault) unread(person, kind string) (n int) {
	v.Helper()
	all, err := v.board.For(v.Context(), person, true, 1000)
	v.must(err)
	for _, x := range all {
		if x.Kind == kind {
			n++
		}
	}
	return n
}

// key makes a transport key that is shared with a partner.
func (v *vault) key(id, partner string) {
	v.Helper()
	_, err := v.guard.Generate(v.Context(), id, hsm.Transport, hsm.AES256)
	v.must(err)
	if partner != "" {
		v.change(func(tx *store.Tx) error { return keys.PutLink(tx, id, "partner/"+partner, 0) })
	}
}

// split makes components of a key, as an export ceremony does, and returns their
// references.
func (v *vault) split(id, ceremony string, to ...string) (refs []string) {
	v.Helper()
	var holders []hsm.Holder
	for _, who := range to {
		pub, err := v.soft[who].Credential.Seal.Key()
		v.must(err)
		holders = append(holders, hsm.Holder{Name: who, Key: pub})
	}
	parts, err := v.guard.Split(v.Context(), id, ceremony, hsm.CMAC, holders)
	v.must(err)
	v.change(func(tx *store.Tx) error {
		for _, p := range parts {
			doc, err := json.Marshal(p)
			v.must(err)
			c := keys.Copy{Key: id, Kind: keys.CopyComponent, Number: p.Index, Of: p.Of, Holder: p.Holder, Place: ceremony, KCV: p.KCV.String(), Sealed: doc}
			refs = append(refs, c.Ref())
			v.must(keys.PutCopy(tx, c))
		}
		return nil
	})
	return refs
}

// opener opens what is sealed to a person, as their browser does.
func (v *vault) opener(person string) hsm.Opener {
	v.Helper()
	k, err := v.soft[person].OpenSealing()
	v.must(err)
	return func(given hsm.Given, what hsm.Content, label string) ([]byte, error) {
		return hsm.Take(given, what, label, k.Public(), k.ECDH)
	}
}

// reseal does what the outgoing custodian's browser does.
func (v *vault) reseal(person, ref, incoming string) []byte {
	v.Helper()
	s, err := v.reg.Reseal(v.Context(), person, ref, incoming)
	v.must(err)
	content, err := v.opener(person)(s.Given, hsm.Content(s.Content), s.Label)
	v.must(err)
	pub, err := passkey.Sealing{Public: s.To, Wrapped: v.soft[incoming].Credential.Seal.Wrapped}.Key()
	v.must(err)
	return withGiven(v, s.New, v.give(pub, s.Content, s.NewLabel, content))
}

func (v *vault) give(to *ecdh.PublicKey, content, label string, secret []byte) hsm.Given {
	v.Helper()
	given, err := hsm.Give(to, hsm.Content(content), label, secret)
	v.must(err)
	return given
}

// withGiven puts what was sealed into a component or share.
func withGiven(v *vault, doc []byte, given hsm.Given) []byte {
	v.Helper()
	var m map[string]json.RawMessage
	v.must(json.Unmarshal(doc, &m))
	var err error
	m["given"], err = json.Marshal(given)
	v.must(err)
	doc, err = json.Marshal(m)
	v.must(err)
	return doc
}

// item registers something that a person holds.
func (v *vault) item(i keys.Item) {
	v.Helper()
	who := i.Holder
	if who != cust1 && who != cust2 && who != cust3 && who != cust4 {
		who = km
	}
	v.must(v.reg.PutItem(v.Context(), who, i))
	v.must(v.do("item.register", i.Ref(), who))
}

func (v *vault) things(person string) (refs []string) {
	v.Helper()
	all, err := v.reg.Things(v.Context(), person)
	v.must(err)
	for _, t := range all {
		refs = append(refs, t.Ref)
	}
	return refs
}

// count has a custodian see everything but what is named, before the officer.
func (v *vault) count(person string, missing ...string) error {
	v.Helper()
	seen := map[string]bool{}
	for _, ref := range v.things(person) {
		seen[ref] = !slices.Contains(missing, ref)
	}
	if err := v.reg.PutCount(v.Context(), person, seen); err != nil {
		return err
	}
	return v.do("custody.inventory", "inventory/"+person, person, so)
}

// leave ends a person's access and flags what they held, as a site does.
func (v *vault) leave(person string) (text string) {
	v.Helper()
	m, err := v.people.Member(v.Context(), person)
	v.must(err)
	data, err := v.people.PersonData(v.Context(), person, true)
	v.must(err)
	params, err := v.people.ProposeLeave(v.Context(), m.ID)
	v.must(err)
	w, err := v.sign("person.leave", "person/"+person, params, so, km)
	v.must(err)
	v.must(w.Use(v.Context(), "person.leave", "person/"+person, data, func(tx *store.Tx) (err error) {
		v.must(v.people.Leave(tx, person))
		text, err = v.reg.PersonLeft(tx, person)
		return err
	}))
	return text
}
