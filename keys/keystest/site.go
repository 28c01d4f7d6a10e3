// Package keystest makes the rooms in which keys are tested: a site's people
// with software passkeys, a clock that the test sets, the desk, and a guarded
// module that fails when it is to.
package keystest

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
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
	"ankan/hsm/soft"
	"ankan/keys"
	"ankan/notice"
	"ankan/passkey"
	"ankan/store"
	"ankan/store/storetest"
)

// The people of every site.
const (
	KeyManager = "1001"
	HSMAdmin   = "1002"
	Officer    = "1003"
	Witness    = "1004"
	Custodian1 = "1005"
	Custodian2 = "1006"
	Custodian3 = "1007"
	Officer2   = "1008"
	Witness2   = "1009"
)

// Custodians are the three of them.
func Custodians() []string { return []string{Custodian1, Custodian2, Custodian3} }

// SiteKey is the key that signs documents of the site.
const SiteKey = "documents"

const passphrase = "a passphrase for tests"

// A Site is a site without its network: what keys and ceremonies need.
type Site struct {
	testing.TB
	ID       string
	Dir      string
	Database string // file, or address of a server
	Store    *store.Store
	People   *access.Directory
	Desk     *custody.Desk
	Register *keys.Register
	Module   *Module // what the guard stands before
	Guard    *keys.Guard
	Deeds    map[string]custody.Deed // what the site does; a test adds to it
	Keys     map[string]act.Key      // everybody's passkey

	options Options
	token   *soft.Token
	signer  *audit.Signer
	fuse    *fuse
	mu      sync.Mutex
	clock   time.Time
}

// Options are what a test wants otherwise.
type Options struct {
	// Change alters policy and people before the site is founded.
	Change func(*act.Policy, []act.Person)
	// Schemas are of the packages that come after keys.
	Schemas []store.Schema
	// File says that the database is a file also when the suite runs on
	// PostgreSQL: an Image is of files.
	File bool
	// Opened is called whenever the site was opened, to add its deeds.
	Opened func(*Site)
}

// New is a site that its people found under the default policy. Custodians are
// trained and have signed their statement.
func New(t testing.TB, name string, o Options) *Site {
	t.Helper()
	s := &Site{TB: t, options: o, ID: name, Dir: disk(t), Keys: map[string]act.Key{}, fuse: &fuse{}, clock: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	if s.Database = filepath.Join(s.Dir, "site.db"); storetest.OnPostgres() && !o.File {
		s.Database = storetest.Postgres(t)
	}
	var people []act.Person
	for _, p := range [][2]string{
		{KeyManager, "key-manager"}, {HSMAdmin, "hsm-administrator"}, {Officer, "security-officer"}, {Witness, "witness"},
		{Custodian1, "key-custodian"}, {Custodian2, "key-custodian"}, {Custodian3, "key-custodian"},
		{Officer2, "security-officer"}, {Witness2, "witness"},
	} {
		k, err := passkey.NewSoft("site.example", "https://site.example")
		s.Must(err)
		s.Keys[p[0]] = k
		people = append(people, act.Person{ID: p[0], Name: "Person " + p[0], Roles: []string{p[1]}, Employment: act.Permanent, Credential: k.Credential})
	}
	policy := access.DefaultPolicy()
	if o.Change != nil {
		o.Change(&policy, people)
	}
	var err error
	s.token, err = soft.Create(filepath.Join(s.Dir, "token"), []byte(passphrase), soft.WithCost(soft.LowestCost()))
	s.Must(err)
	_, err = s.token.Generate(t.Context(), SiteKey, hsm.SiteSign, hsm.Ed25519)
	s.Must(err)
	s.open()
	f, err := act.Found(name, policy, people, s.Keys, s.Now())
	s.Must(err)
	s.Must(s.People.Found(t.Context(), access.Founding{Founding: f}))
	s.Change(func(tx *store.Tx) error {
		for _, who := range Custodians() {
			for kind, what := range map[string]string{access.Training: "key-custodian", access.Statement: "custodian"} {
				r := act.Record{Person: who, What: what, At: s.Now(), Until: s.Now().AddDate(1, 0, 0)}
				if err := s.People.PutRecord(tx, kind, r, ""); err != nil {
					return err
				}
			}
		}
		return nil
	})
	s.Reload()
	t.Cleanup(func() { s.close() })
	return s
}

// disk is a folder that goes with the test; in memory where the system has such,
// because these tests wait for thousands of commits.
func disk(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "ankan")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Before has f called before each event, a commit of the database or something
// that the module makes or erases, while all events before it are on the disk
// and nothing of it is. nil ends that.
func (s *Site) Before(f func()) {
	s.fuse.mu.Lock()
	defer s.fuse.mu.Unlock()
	s.fuse.before = f
}

// Image is a copy of the site's disk as it is, as a power cut would leave it.
func (s *Site) Image() string {
	s.Helper()
	dir := disk(s.TB)
	for _, name := range []string{"token", "site.db", "site.db-wal"} {
		doc, err := os.ReadFile(filepath.Join(s.Dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		s.Must(err)
		s.Must(os.WriteFile(filepath.Join(dir, name), doc, 0o600))
	}
	return dir
}

// Revive opens a site from an image of this one's disk, with the same people.
func (s *Site) Revive(t testing.TB, image string, opened func(*Site)) *Site {
	t.Helper()
	c := &Site{TB: t, options: s.options, ID: s.ID, Dir: image, Database: filepath.Join(image, "site.db"), Keys: s.Keys, fuse: &fuse{}, clock: s.Now()}
	c.options.Opened = opened
	c.reopen()
	t.Cleanup(func() { c.close() })
	return c
}

func (s *Site) open() {
	s.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	var err error
	s.signer, err = audit.NewSigner(s.ID+".example/log", signer{key, s.fuse})
	s.Must(err)
	s.Store, err = store.Open(context.Background(), store.Config{Path: s.Database, Origin: s.signer.Name(), Signer: s.signer, Now: s.Now},
		append([]store.Schema{access.Schema(), notice.Schema(), custody.Schema(), keys.Schema()}, s.options.Schemas...)...)
	s.Must(err)
	s.People = access.New(s.Store)
	s.Desk = custody.New(s.ID, s.Store, s.People)
	s.Register = keys.NewRegister(s.ID, s.Store, s.People)
	s.Module = &Module{Module: s.token, fuse: s.fuse}
}

// Reload reconciles the register with the module and puts a new guard before
// it, as a site does that is opened. It returns what the module has lost.
func (s *Site) Reload() []string {
	s.Helper()
	missing, err := s.Register.Reconcile(context.Background(), s.Module)
	s.Must(err)
	s.Guard, err = keys.NewGuard(context.Background(), s.Register, s.Module)
	s.Must(err)
	s.Deeds = s.Register.Deeds(s.Guard.Reload)
	if s.options.Opened != nil {
		s.options.Opened(s)
	}
	return missing
}

func (s *Site) reopen() {
	s.Helper()
	var err error
	s.token, err = soft.Open(filepath.Join(s.Dir, "token"), []byte(passphrase))
	s.Must(err)
	s.open()
	s.Reload()
}

func (s *Site) close() {
	if err := errors.Join(s.Store.Close(), s.token.Close()); err != nil {
		s.Error(err)
	}
}

// Reopen ends the site as it is and opens it again from its files.
func (s *Site) Reopen() {
	s.Helper()
	s.close()
	s.fuse.mu.Lock()
	s.fuse.set = false
	s.fuse.mu.Unlock()
	s.reopen()
}

// Replace puts another, empty module in the place of the site's, and reconciles.
// It returns what is lost.
func (s *Site) Replace() []string {
	s.Helper()
	s.Must(s.token.Close())
	s.Must(os.Remove(filepath.Join(s.Dir, "token")))
	var err error
	s.token, err = soft.Create(filepath.Join(s.Dir, "token"), []byte(passphrase), soft.WithCost(soft.LowestCost()))
	s.Must(err)
	s.Module.Module = s.token
	return s.Reload()
}

// DieAfter cuts the power after so many events more.
func (s *Site) DieAfter(events int) {
	s.fuse.mu.Lock()
	defer s.fuse.mu.Unlock()
	s.fuse.set, s.fuse.left = true, events
}

// signer signs checkpoints while there is power: without a checkpoint nothing
// commits.
type signer struct {
	crypto.Signer
	fuse *fuse
}

func (s signer) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := s.fuse.pass(); err != nil {
		return nil, err
	}
	return s.Signer.Sign(random, digest, opts)
}

// Must ends the test after an error.
func (s *Site) Must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// Refused reports an error that does not wrap target, if that is not nil, or
// that does not say all of this.
func (s *Site) Refused(err, target error, says ...string) {
	s.Helper()
	if err == nil || target != nil && !errors.Is(err, target) || !slices.Equal(says, slices.DeleteFunc(slices.Clone(says), func(w string) bool { return !strings.Contains(fmt.Sprint(err), w) })) {
		s.Errorf("got %v, want %v and %q", err, target, says)
	}
}

// Now is the site's time.
func (s *Site) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}

// Wait lets time pass.
func (s *Site) Wait(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = s.clock.Add(d)
}

// Change writes to the store.
func (s *Site) Change(fn func(*store.Tx) error) {
	s.Helper()
	s.Must(s.Store.Change(context.Background(), audit.Entry{Kind: "test", Actor: "test"}, fn))
}

// Propose is what an act would say.
func (s *Site) Propose(kind, subject string) (map[string]string, error) {
	d := s.Deeds[kind]
	if d.Propose == nil {
		return nil, fmt.Errorf("no deed %q", kind)
	}
	return d.Propose(context.Background(), subject)
}

// Act is an act as a person would ask for it now.
func (s *Site) Act(kind, subject, person string) (act.Act, error) {
	params, err := s.Propose(kind, subject)
	if err != nil {
		return act.Act{}, err
	}
	policy, err := s.People.Policy(context.Background())
	if err != nil {
		return act.Act{}, err
	}
	rule, err := policy.Rule(kind)
	return act.New(s.ID, kind, subject, person, params, rule, s.Now()), err
}

// Sign is a person's word on an act.
func (s *Site) Sign(a act.Act, person string, verb act.Verb) act.Signature {
	s.Helper()
	assertion, err := s.Keys[person].Sign(a.Challenge(verb))
	s.Must(err)
	return act.Signature{Person: person, Verb: verb, At: s.Now(), Assertion: assertion}
}

// Ask is an act that its requester and these approvers signed.
func (s *Site) Ask(kind, subject, person string, approvers ...string) (act.Act, error) {
	s.Helper()
	a, err := s.Act(kind, subject, person)
	if err != nil {
		return a, err
	}
	ctx := context.Background()
	if err := s.Desk.Request(ctx, a.Canonical(), s.Sign(a, person, act.Request)); err != nil {
		return a, err
	}
	for _, who := range approvers {
		if err := s.Desk.Sign(ctx, a.ID, s.Sign(a, who, act.Approve)); err != nil {
			return a, err
		}
	}
	return a, nil
}

// Perform does an act under its warrant, as a site does: what is so is looked at
// again, and what fails is entered.
func (s *Site) Perform(a act.Act) error {
	ctx := context.Background()
	w, err := s.Desk.Warrant(ctx, a.ID)
	if err != nil {
		return err
	}
	now, err := s.Propose(a.Kind, a.Subject)
	if err == nil && !maps.Equal(now, a.Params) {
		err = fmt.Errorf("act %s: %w: it says something else now", a.ID, act.ErrNotAllowed)
	}
	if err == nil {
		err = s.Deeds[a.Kind].Do(ctx, w)
	}
	if err != nil {
		e := audit.Entry{Kind: "act.failed", Actor: "person/" + a.Requester, Subject: a.Subject, Data: map[string]any{"id": a.ID, "kind": a.Kind, "why": err.Error()}}
		return errors.Join(err, s.Store.Enter(ctx, e))
	}
	return nil
}

// Do asks for an act and does it.
func (s *Site) Do(kind, subject, person string, approvers ...string) error {
	s.Helper()
	a, err := s.Ask(kind, subject, person, approvers...)
	if err != nil {
		return err
	}
	return s.Perform(a)
}

// Entries is the log.
func (s *Site) Entries() []audit.Entry {
	s.Helper()
	var all []audit.Entry
	for n := int64(0); n < s.Store.Size(); n = int64(len(all)) {
		more, err := s.Store.Entries(context.Background(), n, 1000)
		s.Must(err)
		all = append(all, more...)
	}
	return all
}

// Last is the last entry of a kind about a subject; it must be there.
func (s *Site) Last(kind, subject string) audit.Entry {
	s.Helper()
	all := s.Entries()
	for _, e := range slices.Backward(all) {
		if e.Kind == kind && e.Subject == subject {
			return e
		}
	}
	s.Fatalf("the log has no %s of %s", kind, subject)
	return audit.Entry{}
}

// Verify gives the exported log to somebody who trusts nobody.
func (s *Site) Verify() act.Book {
	s.Helper()
	dir := filepath.Join(s.TempDir(), "log")
	_, err := s.Store.Export(context.Background(), dir)
	s.Must(err)
	var b act.Book
	_, err = audit.Verify(os.DirFS(dir), s.signer.VerifierKey(), audit.Options{Visit: func(_ int64, e audit.Entry) error {
		doc, err := json.Marshal(e.Data)
		if err != nil {
			return err
		}
		return b.Apply(e.Kind, e.Subject, e.Time, doc)
	}})
	s.Must(err)
	s.Must(b.End())
	return b
}
