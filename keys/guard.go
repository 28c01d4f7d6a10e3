package keys

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"ankan/audit"
	"ankan/hsm"
	"ankan/store"
)

// A Guard stands before a security module: it is a module that lets a key be
// used only as its state in the register allows, counts each use and what the
// key was used for, and makes and destroys no key that the register does not
// hear of first. The zero Guard refuses.
type Guard struct {
	hsm.Module // what is not overridden here asks nothing of a key

	r *Register

	mu   sync.Mutex
	keys map[string]*guarded
}

type guarded struct {
	state   State
	expires time.Time
	purpose hsm.Purpose
	uses    int64            // since the last Flush
	links   map[string]int64 // what it was used for, likewise
}

// NewGuard puts a guard before m. Reconcile comes first.
func NewGuard(ctx context.Context, r *Register, m hsm.Module) (*Guard, error) {
	g := &Guard{Module: m, r: r}
	return g, g.Reload(ctx)
}

// Reload reads the states of all keys again: after each change of a state.
func (g *Guard) Reload(ctx context.Context) error {
	all, _, err := g.r.Keys(ctx, Filter{})
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.keys
	g.keys = map[string]*guarded{}
	for _, k := range all {
		n := &guarded{links: map[string]int64{}}
		if had := old[k.ID]; had != nil {
			n.uses, n.links = had.uses, had.links
		}
		n.state, n.expires, n.purpose = k.State, k.Expires, hsm.Purpose(k.Purpose)
		g.keys[k.ID] = n
	}
	return nil
}

// A use either protects something new or opens what was protected before.
type use int

const (
	protects use = iota
	opens
)

type forKey struct{}

// For says in ctx what keys are used for from there on, such as order/ID: the
// register remembers it.
func For(ctx context.Context, what string) context.Context {
	return context.WithValue(ctx, forKey{}, what)
}

type unconfirmed struct{}

// Unconfirmed says in ctx that what is made from there on waits for two people
// to confirm its check value.
func Unconfirmed(ctx context.Context) context.Context {
	return context.WithValue(ctx, unconfirmed{}, true)
}

// use lets a key be used, and counts it. A key that the register does not know
// is left to the module, which has none either.
func (g *Guard) use(ctx context.Context, id string, u use) error {
	if g.r == nil {
		return fmt.Errorf("key %q: %w", id, hsm.ErrClosed)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	k := g.keys[id]
	if k == nil {
		return nil
	}
	// The log's own key is never held back: without it nobody could say why.
	if k.purpose != hsm.LogSign {
		if err := k.allows(id, u, g.r.store.Now()); err != nil {
			return err
		}
	}
	k.uses++
	if what, ok := ctx.Value(forKey{}).(string); ok {
		k.links[what]++
	}
	return nil
}

func (k *guarded) allows(id string, u use, now time.Time) error {
	switch k.state {
	case Live:
		if u == protects && !k.expires.IsZero() && !now.Before(k.expires) {
			return fmt.Errorf("key %s: %w: its cryptoperiod ended %s; it opens what it closed and closes nothing more; rotate it", id, ErrState, k.expires.Format(time.DateOnly))
		}
		return nil
	case Deactivated:
		if u == opens {
			return nil
		}
		return fmt.Errorf("key %s: %w: it is deactivated, and only opens what it closed", id, ErrState)
	case PreActivation:
		return fmt.Errorf("key %s: %w: two people have not confirmed its check value yet", id, ErrState)
	case Making:
		return fmt.Errorf("key %s: %w: it is being made", id, ErrState)
	}
	return fmt.Errorf("key %s: %w: it is %s", id, ErrState, k.state)
}

// Flush writes the uses that were counted since the last time. One entry tells
// of all of them.
func (g *Guard) Flush(ctx context.Context) error {
	g.mu.Lock()
	uses, links := map[string]int64{}, map[string]map[string]int64{}
	for id, k := range g.keys {
		if k.uses > 0 {
			uses[id], links[id] = k.uses, k.links
			k.uses, k.links = 0, map[string]int64{}
		}
	}
	g.mu.Unlock()
	// The log's key is used by this very change: alone it is no news.
	if n := len(uses); n == 0 || n == 1 && uses["log"] > 0 {
		g.back(uses, links)
		return nil
	}
	data := map[string]any{}
	for id, n := range uses {
		if len(data) < 500 { // what is more stays in the register alone
			data[id] = n
		}
	}
	e := audit.Entry{Kind: "keys.used", Actor: "system:keys", Subject: "keys", Data: map[string]any{"uses": data, "keys": len(uses)}}
	err := g.r.store.Change(ctx, e, func(tx *store.Tx) error {
		for id, n := range uses {
			if _, err := tx.Exec(`UPDATE key SET uses = uses + $1 WHERE id = $2`, n, id); err != nil {
				return err
			}
			for what, m := range links[id] {
				if err := PutLink(tx, id, what, m); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		g.back(uses, links)
	}
	return err
}

// back gives counts back that were not written.
func (g *Guard) back(uses map[string]int64, links map[string]map[string]int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, n := range uses {
		k := g.keys[id]
		if k == nil {
			continue
		}
		k.uses += n
		for what, m := range links[id] {
			k.links[what] += m
		}
	}
}

// make makes a key: the register hears of it before, and of the outcome after.
// What fails and may have happened is found out by looking.
func (g *Guard) make(ctx context.Context, id string, p hsm.Purpose, a hsm.Algorithm, origin string, do func() (hsm.Key, error)) (hsm.Key, error) {
	if g.r == nil {
		return hsm.Key{}, fmt.Errorf("key %q: %w", id, hsm.ErrClosed)
	}
	if err := errors.Join(hsm.CheckID(id), p.Fits(a), g.r.Allowed(ctx, p, a)); err != nil {
		return hsm.Key{}, err
	}
	if k, err := g.r.Key(ctx, id); err == nil && k.State != Making {
		return hsm.Key{}, fmt.Errorf("key %q: %w", id, hsm.ErrKeyExists)
	}
	begun := hsm.Key{ID: id, Purpose: p, Algorithm: a}
	err := g.r.enter(ctx, "key.making", begun, origin, func(tx *store.Tx) error { return g.r.put(tx, begun, origin, g.r.site, Making) })
	if err != nil {
		return hsm.Key{}, err
	}
	k, err := do()
	if err != nil {
		if there, lookErr := g.Module.Key(context.WithoutCancel(ctx), id); lookErr == nil && !errors.Is(err, hsm.ErrKeyExists) {
			k, err = there, nil // it failed, and it happened
		} else if errors.Is(lookErr, hsm.ErrNoKey) {
			not := g.r.enter(context.WithoutCancel(ctx), "key.not-made", hsm.Key{ID: id}, err.Error(), func(tx *store.Tx) error {
				_, err := tx.Exec(`DELETE FROM key WHERE id = $1 AND state = 'making'`, id)
				return err
			})
			return hsm.Key{}, errors.Join(err, not)
		} else if errors.Is(err, hsm.ErrKeyExists) && lookErr == nil {
			// It was there before the register knew of it: a try before this one.
			return hsm.Key{}, errors.Join(err, g.outcome(ctx, there, origin))
		}
	}
	if err != nil {
		return hsm.Key{}, err
	}
	return k, g.outcome(ctx, k, origin)
}

func (g *Guard) outcome(ctx context.Context, k hsm.Key, origin string) error {
	err := g.r.enter(context.WithoutCancel(ctx), "key.there", k, origin, func(tx *store.Tx) error {
		state := firstState(origin)
		if ctx.Value(unconfirmed{}) != nil {
			state = PreActivation
		}
		if err := g.r.put(tx, k, origin, g.r.site, state); err != nil {
			return err
		}
		if what, ok := ctx.Value(forKey{}).(string); ok {
			return PutLink(tx, k.ID, what, 0)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return g.Reload(context.WithoutCancel(ctx))
}

// Generate implements hsm.Token.
func (g *Guard) Generate(ctx context.Context, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	return g.make(ctx, id, p, a, Generated, func() (hsm.Key, error) { return g.Module.Generate(ctx, id, p, a) })
}

// GenerateShared implements hsm.Transfer.
func (g *Guard) GenerateShared(ctx context.Context, id string, p hsm.Purpose, a hsm.Algorithm, set string, threshold int, to []hsm.Holder) (k hsm.Key, shares []hsm.Share, err error) {
	k, err = g.make(ctx, id, p, a, Generated, func() (made hsm.Key, err error) {
		made, shares, err = g.Module.GenerateShared(ctx, id, p, a, set, threshold, to)
		return made, err
	})
	return k, shares, err
}

// TakeKey implements hsm.Token.
func (g *Guard) TakeKey(ctx context.Context, agree string, given hsm.Given, label, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	if err := g.use(ctx, agree, opens); err != nil {
		return hsm.Key{}, err
	}
	return g.make(ctx, id, p, a, Given, func() (hsm.Key, error) { return g.Module.TakeKey(ctx, agree, given, label, id, p, a) })
}

// Combine implements hsm.Transfer.
func (g *Guard) Combine(ctx context.Context, agree string, parts []hsm.Component, id string, p hsm.Purpose, a hsm.Algorithm, want hsm.KCV) (hsm.Key, error) {
	if err := g.use(ctx, agree, opens); err != nil {
		return hsm.Key{}, err
	}
	return g.make(ctx, id, p, a, Components, func() (hsm.Key, error) { return g.Module.Combine(ctx, agree, parts, id, p, a, want) })
}

// Restore implements hsm.Transfer.
func (g *Guard) Restore(ctx context.Context, agree string, shares []hsm.Share, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	if err := g.use(ctx, agree, opens); err != nil {
		return hsm.Key{}, err
	}
	return g.make(ctx, id, p, a, Restored, func() (hsm.Key, error) { return g.Module.Restore(ctx, agree, shares, id, p, a) })
}

// Import implements hsm.Transfer.
func (g *Guard) Import(ctx context.Context, blob []byte, w hsm.Wrapping, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	if err := g.use(ctx, w.Key, opens); err != nil {
		return hsm.Key{}, err
	}
	return g.make(ctx, id, p, a, Wrapped, func() (hsm.Key, error) { return g.Module.Import(ctx, blob, w, id, p, a) })
}

// Destroy implements hsm.Token. That it is to be destroyed is known before, and
// that it is gone after; a key that is gone already is success, as the life of
// it then says so.
func (g *Guard) Destroy(ctx context.Context, id string) error {
	if g.r == nil {
		return fmt.Errorf("key %q: %w", id, hsm.ErrClosed)
	}
	k, err := g.r.Key(ctx, id)
	if err != nil {
		return err
	}
	if k.State == Destroyed {
		return fmt.Errorf("key %q: %w", id, hsm.ErrNoKey)
	}
	err = g.Module.Destroy(ctx, id)
	if err != nil && !errors.Is(err, hsm.ErrNoKey) {
		if _, look := g.Module.Key(context.WithoutCancel(ctx), id); !errors.Is(look, hsm.ErrNoKey) {
			return err
		}
	}
	gone := g.r.enter(context.WithoutCancel(ctx), "key.erased", hsm.Key{ID: id}, "erased in the module", func(tx *store.Tx) error {
		if _, err := tx.Exec(`UPDATE key SET state = 'destroyed', ended = $1 WHERE id = $2`, stamp(tx.Time()), id); err != nil {
			return err
		}
		_, err := tx.Exec(`UPDATE key_copy SET gone = $1 WHERE key = $2 AND kind = 'module' AND gone = ''`, stamp(tx.Time()), id)
		return err
	})
	return errors.Join(gone, g.Reload(context.WithoutCancel(ctx)))
}

// Signer implements hsm.Token: each signature is a use.
func (g *Guard) Signer(ctx context.Context, id string) (crypto.Signer, error) {
	s, err := g.Module.Signer(ctx, id)
	if err != nil {
		return nil, err
	}
	return guardedSigner{s, g, id}, nil
}

type guardedSigner struct {
	crypto.Signer
	g  *Guard
	id string
}

// Sign implements crypto.Signer.
func (s guardedSigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := s.g.use(context.Background(), s.id, protects); err != nil {
		return nil, err
	}
	return s.Signer.Sign(random, digest, opts)
}

// Decrypter implements hsm.Token: each decryption is a use.
func (g *Guard) Decrypter(ctx context.Context, id string) (crypto.Decrypter, error) {
	d, err := g.Module.Decrypter(ctx, id)
	if err != nil {
		return nil, err
	}
	return guardedDecrypter{d, g, id}, nil
}

type guardedDecrypter struct {
	crypto.Decrypter
	g  *Guard
	id string
}

// Decrypt implements crypto.Decrypter.
func (d guardedDecrypter) Decrypt(random io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	if err := d.g.use(context.Background(), d.id, opens); err != nil {
		return nil, err
	}
	return d.Decrypter.Decrypt(random, msg, opts)
}

// MAC implements hsm.Token.
func (g *Guard) MAC(ctx context.Context, id string, parts ...[]byte) ([32]byte, error) {
	if err := g.use(ctx, id, protects); err != nil {
		return [32]byte{}, err
	}
	return g.Module.MAC(ctx, id, parts...)
}

// NewDataKey implements hsm.Token.
func (g *Guard) NewDataKey(ctx context.Context, kek string) (*hsm.DataKey, hsm.Wrapped, error) {
	if err := g.use(ctx, kek, protects); err != nil {
		return nil, nil, err
	}
	return g.Module.NewDataKey(ctx, kek)
}

// OpenDataKey implements hsm.Token.
func (g *Guard) OpenDataKey(ctx context.Context, kek string, wrapped hsm.Wrapped) (*hsm.DataKey, error) {
	if err := g.use(ctx, kek, opens); err != nil {
		return nil, err
	}
	return g.Module.OpenDataKey(ctx, kek, wrapped)
}

// GiveDataKey implements hsm.Token.
func (g *Guard) GiveDataKey(ctx context.Context, kek string, wrapped hsm.Wrapped, to crypto.PublicKey, label string) (hsm.Given, error) {
	if err := g.use(ctx, kek, opens); err != nil {
		return nil, err
	}
	return g.Module.GiveDataKey(ctx, kek, wrapped, to, label)
}

// TakeDataKey implements hsm.Token.
func (g *Guard) TakeDataKey(ctx context.Context, agree string, given hsm.Given, label, kek string) (hsm.Wrapped, error) {
	if err := errors.Join(g.use(ctx, agree, opens), g.use(ctx, kek, protects)); err != nil {
		return nil, err
	}
	return g.Module.TakeDataKey(ctx, agree, given, label, kek)
}

// GiveKey implements hsm.Token.
func (g *Guard) GiveKey(ctx context.Context, id string, to crypto.PublicKey, label string) (hsm.Given, error) {
	if err := g.use(ctx, id, protects); err != nil {
		return nil, err
	}
	return g.Module.GiveKey(ctx, id, to, label)
}

// SealColumn implements hsm.Token.
func (g *Guard) SealColumn(ctx context.Context, id string, dst, src []byte) error {
	if err := g.use(ctx, id, protects); err != nil {
		return err
	}
	return g.Module.SealColumn(ctx, id, dst, src)
}

// Translate implements hsm.Token.
func (g *Guard) Translate(ctx context.Context, from string, src []byte, size int, to *hsm.DataKey, aad func(i int) []byte) ([][]byte, error) {
	if err := g.use(ctx, from, opens); err != nil {
		return nil, err
	}
	return g.Module.Translate(ctx, from, src, size, to, aad)
}

// OP implements hsm.Token.
func (g *Guard) OP(ctx context.Context, id string) (*hsm.OP, error) {
	if err := g.use(ctx, id, protects); err != nil {
		return nil, err
	}
	return g.Module.OP(ctx, id)
}

// ChipKeys implements hsm.Token.
func (g *Guard) ChipKeys(ctx context.Context, lot string, serial []byte) (*hsm.ChipKeys, error) {
	if err := g.use(ctx, lot, opens); err != nil {
		return nil, err
	}
	return g.Module.ChipKeys(ctx, lot, serial)
}

// CheckComponent implements hsm.Transfer.
func (g *Guard) CheckComponent(ctx context.Context, agree string, c hsm.Component) error {
	if err := g.use(ctx, agree, opens); err != nil {
		return err
	}
	return g.Module.CheckComponent(ctx, agree, c)
}

// CheckShare implements hsm.Transfer.
func (g *Guard) CheckShare(ctx context.Context, agree string, s hsm.Share) error {
	if err := g.use(ctx, agree, opens); err != nil {
		return err
	}
	return g.Module.CheckShare(ctx, agree, s)
}

// Split implements hsm.Transfer.
func (g *Guard) Split(ctx context.Context, id, set string, method hsm.KCVMethod, to []hsm.Holder) ([]hsm.Component, error) {
	if err := g.use(ctx, id, protects); err != nil {
		return nil, err
	}
	return g.Module.Split(ctx, id, set, method, to)
}

// Export implements hsm.Transfer.
func (g *Guard) Export(ctx context.Context, id string, w hsm.Wrapping) ([]byte, error) {
	err := g.use(ctx, id, protects)
	if w.Key != "" {
		err = errors.Join(err, g.use(ctx, w.Key, protects))
	}
	if err != nil {
		return nil, err
	}
	return g.Module.Export(ctx, id, w)
}

// Rewrap implements hsm.Transfer.
func (g *Guard) Rewrap(ctx context.Context, from string, wrapped hsm.Wrapped, to string) (hsm.Wrapped, error) {
	if err := errors.Join(g.use(ctx, from, opens), g.use(ctx, to, protects)); err != nil {
		return nil, err
	}
	return g.Module.Rewrap(ctx, from, wrapped, to)
}

// Uses are the counts that wait for the next Flush, for tests and health.
func (g *Guard) Uses() map[string]int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := map[string]int64{}
	for id, k := range g.keys {
		if k.uses > 0 {
			m[id] = k.uses
		}
	}
	return m
}

// Purposes are all purposes that keys of the register have, sorted.
func Purposes(all []Key) []string {
	var p []string
	for _, k := range all {
		if !slices.Contains(p, k.Purpose) {
			p = append(p, k.Purpose)
		}
	}
	slices.SortFunc(p, strings.Compare)
	return p
}
