// Package soft is the embedded security module: a token in one file, sealed
// under a passphrase. It is certified by nobody; it is for demonstrations,
// tests and sites whose contract allows it.
//
// One process holds a token and changes it; others on the same machine may use
// it (OpenShared).
//
// It keeps its keys in the memory of the process, so that whoever can read
// that memory, or has the file and the passphrase, has the keys. A copy of the
// file outlives the destruction of a key: keep the file out of backups.
package soft

import (
	"bytes"
	"cmp"
	"context"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"ankan/durable"
	"ankan/hsm"
	"ankan/hsm/internal/secret"
	"ankan/hsm/internal/testrandom"
)

// Errors that callers branch on, besides those of package hsm.
var (
	ErrPassphrase = errors.New("the passphrase is wrong, or the token file was changed")
	ErrInUse      = errors.New("the token is in use")
	ErrFile       = errors.New("malformed token file")
	ErrCost       = errors.New("cost of the passphrase is out of bounds")
	ErrShared     = errors.New("the token is open for use, not for change; keys are made and destroyed by the site that holds it")
)

// minPassphrase is the shortest passphrase, in bytes.
const minPassphrase = 12

// A Token is the embedded module. It implements hsm.Module. It cannot be
// printed, marshalled or compared. The zero value refuses everything with
// hsm.ErrClosed.
type Token struct {
	unprintable
	state secret.Hidden[token]
}

type unprintable = secret.Unprintable

var _ hsm.Module = (*Token)(nil)

type token struct {
	random io.Reader
	rsa    func() (*rsa.PrivateKey, error)
	lock   *os.File // nil when shared
	shared *shared  // nil when this process holds the token
	file   cipher.AEAD
	header []byte
	writer writer

	// change is held by what writes the file, so that only one does; mu only
	// while the maps change, so that nobody waits for a disk.
	change sync.Mutex
	broken error // why the file takes no more changes

	mu        sync.RWMutex
	closed    bool
	live      map[string]*key
	destroyed map[string]struct{}
}

// An Option changes how a token is made.
type Option func(*options)

type options struct {
	cost   Cost
	random io.Reader
	rsa    func() (*rsa.PrivateKey, error)
	steps  durable.Steps
}

// WithCost sets the work that a guess of the passphrase takes; UsualCost if
// this option is not given.
func WithCost(c Cost) Option { return func(o *options) { o.cost = c } }

// WithSteps has each step by which the file is replaced go through s.
func WithSteps(s durable.Steps) Option { return func(o *options) { o.steps = s } }

// WithTestRandom replaces the source of symmetric keys, data keys and Random,
// and that of RSA key pairs.
// No package outside of hsm can make its argument; tests call hsmtest.Soft.
func WithTestRandom(s testrandom.Source) Option {
	return func(o *options) {
		if s.R != nil {
			o.random = s.R
		}
		if s.RSA != nil {
			o.rsa = s.RSA
		}
	}
}

// Create makes a new, empty token in the file path, which must not exist, and
// opens it. The passphrase is taken as it is, at least 12 bytes; Create does
// not keep it. Errors that it wraps: os.ErrExist, ErrInUse, ErrCost.
func Create(path string, passphrase []byte, opts ...Option) (*Token, error) {
	o := options{cost: UsualCost(), random: rand.Reader, rsa: drawRSA}
	for _, f := range opts {
		f(&o)
	}
	if len(passphrase) < minPassphrase {
		return nil, fmt.Errorf("passphrase has %d bytes, want at least %d", len(passphrase), minPassphrase)
	}
	if err := o.cost.check(); err != nil {
		return nil, err
	}
	return start(path, o, func(t *token) error {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("token file %s: %w; it is never overwritten", path, os.ErrExist)
		}
		salt := make([]byte, saltLen)
		rand.Read(salt)
		t.header = makeHeader(o.cost, salt)
		var err error
		if t.file, err = sealer(passphrase, o.cost, salt); err != nil {
			return err
		}
		return t.save(map[string]*key{}, map[string]struct{}{})
	})
}

// Open opens the token in the file path. One process at a time can. Errors
// that it wraps: os.ErrNotExist, ErrInUse, ErrPassphrase, ErrFile, ErrCost. The
// cost is what the file says.
func Open(path string, passphrase []byte, opts ...Option) (*Token, error) {
	o := options{random: rand.Reader, rsa: drawRSA}
	for _, f := range opts {
		f(&o)
	}
	return start(path, o, func(t *token) error {
		b, err := readFile(path)
		if err != nil {
			return err
		}
		if err := t.unlock(b, passphrase); err != nil {
			return err
		}
		t.live, t.destroyed, err = t.decipher(b)
		return err
	})
}

// unlock makes the cipher of a token file.
func (t *token) unlock(b, passphrase []byte) error {
	cost, salt, err := parseHeader(b)
	if err != nil {
		return fmt.Errorf("%s: %w", t.writer.path, err)
	}
	t.header = b[:headerLen:headerLen]
	t.file, err = sealer(passphrase, cost, salt)
	return err
}

// decipher reads the keys out of a token file.
func (t *token) decipher(b []byte) (live map[string]*key, destroyed map[string]struct{}, err error) {
	plain, err := t.file.Open(nil, nil, b[headerLen:], t.header)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", t.writer.path, ErrPassphrase)
	}
	defer clear(plain)
	if live, destroyed, err = decode(plain); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", t.writer.path, err)
	}
	return live, destroyed, nil
}

// start takes the lock and clears away what a crash left.
func start(path string, o options, fill func(*token) error) (*Token, error) {
	f, err := lock(path)
	if err != nil {
		return nil, err
	}
	t := &token{random: &lockedReader{r: o.random}, rsa: o.rsa, lock: f, writer: writer{path: path, steps: o.steps}}
	if err := os.Remove(t.writer.temporary()); err != nil && !errors.Is(err, os.ErrNotExist) {
		f.Close()
		return nil, err
	}
	if err := fill(t); err != nil {
		f.Close()
		return nil, err
	}
	return &Token{state: secret.Hide(t)}, nil
}

// Close wipes the keys and lets another process open the token. What is
// running ends well; everything later is refused with hsm.ErrClosed.
func (t *Token) Close() error {
	s := t.token()
	if s == nil {
		return nil
	}
	s.change.Lock()
	defer s.change.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	for _, k := range s.live {
		k.wipe()
	}
	s.live, s.file = nil, nil
	if s.shared != nil {
		return s.shared.held.Close()
	}
	return s.lock.Close()
}

func (t *Token) token() *token {
	if t == nil {
		return nil
	}
	return t.state.Get()
}

// Info implements hsm.Token.
func (t *Token) Info() hsm.Info { return Info() }

// Info is what every embedded module says of itself.
func Info() hsm.Info {
	return hsm.Info{Model: "Ankan soft token", Certified: false, Certificate: "not certified"}
}

// Check implements hsm.Token: the token is open and takes changes, and its
// file is there, opens and holds what the token holds.
func (t *Token) Check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, err := t.open()
	if err != nil {
		return err
	}
	s.change.Lock()
	defer s.change.Unlock()
	if s.closed {
		return fmt.Errorf("soft token: %w", hsm.ErrClosed)
	}
	if s.broken != nil {
		return s.broken
	}
	if s.shared != nil {
		return nil // it has read what is there just now
	}
	b, err := readFile(s.writer.path)
	if err != nil {
		return err
	}
	if len(b) < headerLen || !bytes.Equal(b[:headerLen], s.header) {
		return fmt.Errorf("%w: %s is another token's", ErrFile, s.writer.path)
	}
	plain, err := s.file.Open(nil, nil, b[headerLen:], s.header)
	if err != nil {
		return fmt.Errorf("%w: %s was changed while the token was open", ErrFile, s.writer.path)
	}
	defer clear(plain)
	want := encode(s.live, s.destroyed)
	defer clear(want)
	if subtle.ConstantTimeCompare(plain, want) != 1 {
		return fmt.Errorf("%w: %s is older than the open token", ErrFile, s.writer.path)
	}
	return nil
}

// Random implements hsm.Token.
func (t *Token) Random(p []byte) error {
	s, err := t.open()
	if err != nil {
		return err
	}
	return s.fill(p)
}

func (t *token) fill(p []byte) error {
	_, err := io.ReadFull(t.random, p)
	return err
}

// open refuses a token that is closed or none. A shared one has seen what was
// changed.
func (t *Token) open() (*token, error) {
	s := t.token()
	if s == nil {
		return nil, fmt.Errorf("soft token: %w", hsm.ErrClosed)
	}
	if s.shared != nil {
		if err := s.follow(); err != nil {
			return nil, err
		}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, fmt.Errorf("soft token: %w", hsm.ErrClosed)
	}
	return s, nil
}

// use finds a key for one of these purposes.
func (t *Token) use(ctx context.Context, id string, purposes ...hsm.Purpose) (*key, error) {
	k, err := t.find(ctx, id)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(purposes, k.Purpose) {
		return nil, fmt.Errorf("key %q is for %q: %w", id, k.Purpose, hsm.ErrPurpose)
	}
	return k, nil
}

func (t *Token) find(ctx context.Context, id string) (*key, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := t.open()
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	k := s.live[id]
	if k == nil {
		return nil, fmt.Errorf("key %q: %w", id, hsm.ErrNoKey)
	}
	return k, nil
}

// reveal gives f the secret of a key that use found, which Destroy and Close
// may be wiping meanwhile.
func (t *Token) reveal(k *key, f func(secret []byte) error) error {
	s := t.token()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return fmt.Errorf("soft token: %w", hsm.ErrClosed)
	}
	if s.live[k.ID] != k {
		return fmt.Errorf("key %q: %w", k.ID, hsm.ErrNoKey)
	}
	return f(k.secret)
}

// Generate implements hsm.Token.
func (t *Token) Generate(ctx context.Context, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	s, err := t.open()
	if err != nil {
		return hsm.Key{}, err
	}
	if err := p.Fits(a); err != nil {
		return hsm.Key{}, err
	}
	return s.add(ctx, id, p, a, p.Exports(), func() ([]byte, error) { return s.draw(a) })
}

// add makes a key of what source gives and keeps it durably. After an error
// nothing is kept, and what source gave is wiped.
func (t *token) add(ctx context.Context, id string, p hsm.Purpose, a hsm.Algorithm, exportable bool, source func() ([]byte, error)) (hsm.Key, error) {
	if err := ctx.Err(); err != nil {
		return hsm.Key{}, err
	}
	if err := hsm.CheckID(id); err != nil {
		return hsm.Key{}, err
	}
	if t.shared != nil {
		return hsm.Key{}, fmt.Errorf("key %q: %w", id, ErrShared)
	}
	t.change.Lock()
	defer t.change.Unlock()
	if t.closed {
		return hsm.Key{}, fmt.Errorf("soft token: %w", hsm.ErrClosed)
	}
	if _, gone := t.destroyed[id]; gone || t.live[id] != nil {
		return hsm.Key{}, fmt.Errorf("key %q: %w", id, hsm.ErrKeyExists)
	}
	secret, err := source()
	if err != nil {
		return hsm.Key{}, fmt.Errorf("key %q: %w", id, err)
	}
	k, err := newKey(id, p, a, exportable, time.Now().UTC().Truncate(time.Second), secret)
	if err == nil {
		live := maps.Clone(t.live)
		live[id] = k
		err = t.save(live, t.destroyed)
	}
	if err != nil {
		clear(secret)
		return hsm.Key{}, fmt.Errorf("key %q: %w", id, err)
	}
	return k.Key, nil
}

// save writes the keys durably, then puts them in place. The caller holds
// change and gives new maps, as those in place are being read.
func (t *token) save(live map[string]*key, destroyed map[string]struct{}) error {
	if t.broken != nil {
		return t.broken
	}
	plain := encode(live, destroyed)
	defer clear(plain)
	data := append(make([]byte, 0, headerLen+len(plain)+overhead), t.header...)
	data = t.file.Seal(data, nil, plain, t.header)
	err := t.writer.replace(data)
	if errors.Is(err, errUnsure) {
		// The new file has its place, and whether the disk knows is not known. All
		// of it is written anew: what failed once is not asked again.
		if err = t.writer.replace(data); err != nil {
			err = fmt.Errorf("%w: %w", errUnsure, err)
			t.broken = err
		}
	}
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live, t.destroyed = live, destroyed
	return nil
}

// Destroy implements hsm.Token. The name stays taken for ever.
func (t *Token) Destroy(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, err := t.open()
	if err != nil {
		return err
	}
	if s.shared != nil {
		return fmt.Errorf("key %q: %w", id, ErrShared)
	}
	s.change.Lock()
	defer s.change.Unlock()
	k := s.live[id]
	if k == nil {
		return fmt.Errorf("key %q: %w", id, hsm.ErrNoKey)
	}
	live, destroyed := maps.Clone(s.live), maps.Clone(s.destroyed)
	delete(live, id)
	destroyed[id] = struct{}{}
	if err := s.save(live, destroyed); err != nil {
		return fmt.Errorf("key %q: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k.wipe()
	return nil
}

// Destroyed implements hsm.Token.
func (t *Token) Destroyed(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := t.open()
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.destroyed)), nil
}

// Key implements hsm.Token.
func (t *Token) Key(ctx context.Context, id string) (hsm.Key, error) {
	k, err := t.find(ctx, id)
	if err != nil {
		return hsm.Key{}, err
	}
	return k.Key, nil
}

// Keys implements hsm.Token.
func (t *Token) Keys(ctx context.Context) ([]hsm.Key, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := t.open()
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]hsm.Key, 0, len(s.live))
	for _, k := range s.live {
		all = append(all, k.Key)
	}
	slices.SortFunc(all, func(a, b hsm.Key) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// lockedReader lets many goroutines read from a test's source.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

func (r *lockedReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.r.Read(p)
}
