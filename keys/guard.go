package keys

import (
	"cmp"
	"context"
	"crypto"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"ankan/audit"
	"ankan/hsm"
	"ankan/store"
	"ankan/waiver"
)

// A Guard stands before a security module: it is a module that lets a key be
// used only as its state in the register allows, counts each use and what the
// key was used for, and makes and destroys no key that the register does not
// hear of first. Only NewGuard makes one; the zero Guard uses no key.
type Guard struct {
	hsm.Module // what is not overridden here asks nothing of a key

	r *Register

	reading sync.Mutex // held over a Reload, so that no older one overtakes it
	mu      sync.Mutex // guards what follows
	keys    map[string]*guarded
	claimed map[string]bool // names of keys that are being made or destroyed
	held    error           // why no key is used; nil lets them
}

// ErrHeld is wrapped by every refusal of a guard that is held.
var ErrHeld = errors.New("the site is locked, and issues nothing")

// Hold lets no key be used and none be made, except what a site needs to say so
// and to be set right: its log and its documents are signed, keys come back from
// their backups, and keys are erased. Free ends it.
func (g *Guard) Hold(why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = fmt.Errorf("%w: %s", ErrHeld, why)
}

// Free ends Hold.
func (g *Guard) Free() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = nil
}

type reconciling struct{}

// Reconciling says in ctx that what is done from there on sets a held site
// right: identities are looked up and marked as issued.
func Reconciling(ctx context.Context) context.Context {
	return context.WithValue(ctx, reconciling{}, true)
}

// holds is why a key of this purpose is not used now. g.mu is held.
func (g *Guard) holds(ctx context.Context, id string, p hsm.Purpose) error {
	switch {
	case g.held == nil, p == hsm.LogSign, p == hsm.SiteSign, p == hsm.MailOpen, p == hsm.Agree, p == hsm.Ledger && ctx.Value(reconciling{}) != nil:
		return nil
	}
	return fmt.Errorf("key %s: %w", id, g.held)
}

type guarded struct {
	state     State
	expires   time.Time
	purpose   hsm.Purpose
	algorithm hsm.Algorithm
	waiver    waiver.Waiver    // of an algorithm that needs one
	uses      int64            // since the last Flush
	links     map[string]int64 // what it was used for, likewise
}

// NewGuard puts a guard before m. Reconcile comes first.
func NewGuard(ctx context.Context, r *Register, m hsm.Module) (*Guard, error) {
	g := &Guard{Module: m, r: r}
	return g, g.Reload(ctx)
}

// Reload reads the states of all keys again: after each change of a state.
func (g *Guard) Reload(ctx context.Context) error {
	g.reading.Lock()
	defer g.reading.Unlock()
	fresh, err := g.r.guarded(ctx)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, had := range g.keys {
		if k := fresh[id]; k != nil {
			k.uses, k.links = had.uses, had.links
		} else if had.uses > 0 {
			fresh[id] = &guarded{state: Destroyed, uses: had.uses, links: had.links} // until they are written
		}
	}
	g.keys = fresh
	return nil
}

// guarded are the keys that a guard has to look after: all but those that are
// no more.
func (r *Register) guarded(ctx context.Context) (map[string]*guarded, error) {
	return look(ctx, r, func(q view) (map[string]*guarded, error) {
		waived, err := waivers(q, "")
		if err != nil {
			return nil, err
		}
		all := map[string]*guarded{}
		_, err = store.Collect(q, func(rows *sql.Rows) (n struct{}, err error) {
			var id, expires string
			k := &guarded{links: map[string]int64{}}
			if err := rows.Scan(&id, &k.state, &expires, &k.purpose, &k.algorithm); err != nil {
				return n, err
			}
			if k.expires, err = store.ParseStamp(expires); err != nil {
				return n, fmt.Errorf("key %s: %w", id, err)
			}
			k.waiver, all[id] = waived[id], k
			return n, nil
		}, `SELECT id, state, expires, purpose, algorithm FROM key WHERE state <> 'destroyed'`)
		return all, err
	})
}

// A use either protects something new or opens what was protected before.
type use int

const (
	protects use = iota
	opens
)

type forKey struct{}

// For says in ctx what keys are used for from there on, such as order/ID, beside
// what was said before: the register remembers it.
func For(ctx context.Context, what string) context.Context {
	return context.WithValue(ctx, forKey{}, append(slices.Clip(touching(ctx)), what))
}

// touching is what keys are used for in ctx.
func touching(ctx context.Context) []string {
	what, _ := ctx.Value(forKey{}).([]string)
	return what
}

type unconfirmed struct{}

// Unconfirmed says in ctx that what is made from there on waits for two people
// to confirm its check value.
func Unconfirmed(ctx context.Context) context.Context {
	return context.WithValue(ctx, unconfirmed{}, true)
}

// use lets a key be used, and counts it. A key that the register does not know
// is none, whatever the module has.
func (g *Guard) use(ctx context.Context, id string, u use) error {
	if g.r == nil {
		return fmt.Errorf("key %q: %w", id, hsm.ErrClosed)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	k := g.keys[id]
	if k == nil || k.state == Destroyed {
		return cmp.Or(ctx.Err(), fmt.Errorf("key %q: %w", id, hsm.ErrNoKey))
	}
	if err := g.holds(ctx, id, k.purpose); err != nil {
		return err
	}
	// The log's own key is never held back: without it nobody could say why.
	if k.purpose != hsm.LogSign {
		if err := k.allows(id, u, g.r.store.Now); err != nil {
			return err
		}
	}
	if k.algorithm.NeedsWaiver() {
		if err := waived(id, k.algorithm, k.waiver, g.r.store.Now()); err != nil {
			return err
		}
	}
	k.uses++
	for _, what := range touching(ctx) {
		k.links[what]++
	}
	return nil
}

func (k *guarded) allows(id string, u use, now func() time.Time) error {
	switch k.state {
	case Live:
		if u == protects && !k.expires.IsZero() && !now().Before(k.expires) {
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

// mostUses bounds the names in an entry of uses, in bytes; what is more stays in
// the register alone.
const mostUses = 40000

// Flush writes the uses that were counted since the last time. One entry tells
// of all of them. What was counted since is lost with the process.
func (g *Guard) Flush(ctx context.Context) error {
	g.mu.Lock()
	uses, links, news := map[string]int64{}, map[string]map[string]int64{}, false
	for id, k := range g.keys {
		if k.uses > 0 {
			uses[id], links[id] = k.uses, k.links
			k.uses, k.links = 0, map[string]int64{}
			news = news || k.purpose != hsm.LogSign
		}
	}
	g.mu.Unlock()
	// The log's key is used by this very change: alone it is no news.
	if !news {
		g.back(uses, links)
		return nil
	}
	data, size := map[string]any{}, 0
	for _, id := range slices.Sorted(maps.Keys(uses)) {
		if size += len(id) + 24; size <= mostUses {
			data[id] = uses[id]
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

// Signer implements hsm.Token: each signature is a use.
func (g *Guard) Signer(ctx context.Context, id string) (crypto.Signer, error) {
	if g.r == nil {
		return nil, fmt.Errorf("key %q: %w", id, hsm.ErrClosed)
	}
	s, err := g.Module.Signer(ctx, id)
	if err != nil {
		return nil, err
	}
	return guardedSigner{s, context.WithoutCancel(ctx), g, id}, nil
}

type guardedSigner struct {
	crypto.Signer
	ctx context.Context // says what it is for
	g   *Guard
	id  string
}

// Sign implements crypto.Signer.
func (s guardedSigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := s.g.use(s.ctx, s.id, protects); err != nil {
		return nil, err
	}
	return s.Signer.Sign(random, digest, opts)
}

// Decrypter implements hsm.Token: each decryption is a use.
func (g *Guard) Decrypter(ctx context.Context, id string) (crypto.Decrypter, error) {
	if g.r == nil {
		return nil, fmt.Errorf("key %q: %w", id, hsm.ErrClosed)
	}
	d, err := g.Module.Decrypter(ctx, id)
	if err != nil {
		return nil, err
	}
	return guardedDecrypter{d, context.WithoutCancel(ctx), g, id}, nil
}

type guardedDecrypter struct {
	crypto.Decrypter
	ctx context.Context
	g   *Guard
	id  string
}

// Decrypt implements crypto.Decrypter.
func (d guardedDecrypter) Decrypt(random io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	if err := d.g.use(d.ctx, d.id, opens); err != nil {
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
	if err == nil { // what stays in the module stays, whatever it would be under
		if k, look := g.Module.Key(ctx, id); look != nil || !k.Exportable {
			return nil, cmp.Or(look, fmt.Errorf("key %q for %q: %w", id, k.Purpose, hsm.ErrMaster))
		}
	}
	if w.Key != "" {
		err = errors.Join(err, g.use(For(ctx, "key/"+id), w.Key, protects))
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
