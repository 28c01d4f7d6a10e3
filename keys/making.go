package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ankan/act"
	"ankan/hsm"
	"ankan/notice"
	"ankan/store"
)

// What the module makes and erases stands outside the database. The register
// hears of it before and after; what it did not hear the end of is found out by
// asking the module, by the same road whether the site stopped meanwhile or not.

// firstState is the state of a key that has just been made: what came from
// people is used after two of them have confirmed its check value.
func firstState(origin string) State {
	switch origin {
	case Components, Wrapped, Restored:
		return PreActivation
	}
	return Live
}

// begin writes that a key is being made, what it will be and touches, and by
// which key it comes.
func (r *Register) begin(ctx context.Context, k hsm.Key, origin, under string) error {
	first := firstState(origin)
	if ctx.Value(unconfirmed{}) != nil {
		first = PreActivation
	}
	return r.enter(ctx, "key.making", k, origin, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO key (id, purpose, algorithm, origin, owner, state, first, made) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			k.ID, string(k.Purpose), string(k.Algorithm), origin, r.site, Making, first, store.Stamp(tx.Time()))
		for _, what := range touching(ctx) {
			err = errors.Join(err, PutLink(tx, k.ID, what, 0))
		}
		if under != "" {
			err = errors.Join(err, PutLink(tx, under, "key/"+k.ID, 0))
		}
		return err
	})
}

// settle finds out what became of a key that was being made, and writes it
// down. ErrNoKey if it was not made: then its name is free. After any other
// error it is still not known.
func (r *Register) settle(ctx context.Context, m hsm.Token, id, text string) (hsm.Key, error) {
	ctx = context.WithoutCancel(ctx)
	k, err := m.Key(ctx, id)
	if errors.Is(err, hsm.ErrNoKey) {
		return hsm.Key{}, errors.Join(err, r.notMade(ctx, id, text))
	}
	if err != nil {
		return hsm.Key{}, fmt.Errorf("key %q: whether it was made is not known: %w", id, err)
	}
	return k, r.enter(ctx, "key.there", k, text, func(tx *store.Tx) error {
		var was hsm.Key
		var first State
		if err := tx.QueryRow(`SELECT purpose, algorithm, first FROM key WHERE id = $1 AND state = 'making'`, id).Scan(&was.Purpose, &was.Algorithm, &first); err != nil {
			return err
		}
		if was.Purpose != k.Purpose || was.Algorithm != k.Algorithm {
			return fmt.Errorf("key %q: %w: it was to be %s for %q, the module has %s for %q", id, hsm.ErrKeyExists, was.Algorithm, was.Purpose, k.Algorithm, k.Purpose)
		}
		return r.put(tx, k, first)
	}, m.Info())
}

func (r *Register) notMade(ctx context.Context, id, text string) error {
	return r.enter(ctx, "key.not-made", hsm.Key{ID: id}, text, func(tx *store.Tx) error {
		if _, err := tx.Exec(`DELETE FROM key_link WHERE key = $1 OR what = $2`, id, "key/"+id); err != nil {
			return err
		}
		return one(tx.Exec(`DELETE FROM key WHERE id = $1 AND state = 'making'`, id))
	})
}

// put writes that a key which is in the register as being made is there.
func (r *Register) put(tx *store.Tx, k hsm.Key, state State) error {
	if err := one(tx.Exec(`UPDATE key SET kcv = $1, state = $2 WHERE id = $3 AND state = 'making'`, k.KCV.String(), state, k.ID)); err != nil {
		return err
	}
	if state == Live {
		if err := r.activate(tx, k.ID, string(k.Purpose)); err != nil {
			return err
		}
	}
	return PutCopy(tx, Copy{Key: k.ID, Kind: CopyModule, Holder: r.site})
}

// make makes a key. What fails and may have happened is found out by looking.
// The key that opens what it comes in, under, is linked with it.
func (g *Guard) make(ctx context.Context, id string, p hsm.Purpose, a hsm.Algorithm, origin, under string, do func() (hsm.Key, error)) (hsm.Key, error) {
	if g.r == nil {
		return hsm.Key{}, fmt.Errorf("key %q: %w", id, hsm.ErrClosed)
	}
	exists := fmt.Errorf("key %q: %w", id, hsm.ErrKeyExists)
	if !g.claim(id) {
		return hsm.Key{}, exists
	}
	defer g.release(id)
	if err := g.making(id, origin); err != nil {
		return hsm.Key{}, err
	}
	if err := errors.Join(hsm.CheckID(id), p.Fits(a), g.r.Allowed(ctx, id, p, a)); err != nil {
		return hsm.Key{}, err
	}
	k, err := g.r.Key(ctx, id)
	if err == nil && k.State == Making {
		// A try before this one did not find out.
		if _, err = g.r.settle(ctx, g.Module, id, "it was looked for when it was to be made again"); err == nil {
			return hsm.Key{}, errors.Join(exists, g.Reload(context.WithoutCancel(ctx)))
		}
	} else if err == nil {
		return hsm.Key{}, exists
	}
	if !errors.Is(err, ErrNoKey) {
		return hsm.Key{}, err
	}
	if err := g.r.begin(ctx, hsm.Key{ID: id, Purpose: p, Algorithm: a}, origin, under); err != nil {
		return hsm.Key{}, err
	}
	_, err = do()
	if errors.Is(err, hsm.ErrKeyExists) { // of before the register knew keys, or destroyed then
		return hsm.Key{}, errors.Join(err, g.r.notMade(context.WithoutCancel(ctx), id, err.Error()))
	}
	text := origin
	if err != nil {
		text = err.Error()
	}
	made, look := g.r.settle(ctx, g.Module, id, text)
	if errors.Is(look, hsm.ErrNoKey) && err != nil {
		return hsm.Key{}, err
	}
	if look != nil {
		return hsm.Key{}, errors.Join(err, look)
	}
	return made, g.Reload(context.WithoutCancel(ctx))
}

// making is why no key is made now: the guard is held.
func (g *Guard) making(id, origin string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held == nil || origin == Restored {
		return nil
	}
	return fmt.Errorf("key %q: %w", id, g.held)
}

// claim keeps a name for one who makes or destroys the key.
func (g *Guard) claim(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.claimed[id] {
		return false
	}
	if g.claimed == nil {
		g.claimed = map[string]bool{}
	}
	g.claimed[id] = true
	return true
}

func (g *Guard) release(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.claimed, id)
}

// Settle finds out about keys that were being made and of which nobody knows
// whether they were: the module or the database did not answer then, and whoever
// wanted the key does not ask again.
func (g *Guard) Settle(ctx context.Context) error {
	making, _, err := g.r.Keys(ctx, Filter{State: string(Making)})
	if err != nil || len(making) == 0 {
		return err
	}
	var errs []error
	for _, k := range making {
		errs = append(errs, g.settle(ctx, k.ID))
	}
	return errors.Join(append(errs, g.Reload(context.WithoutCancel(ctx)))...)
}

func (g *Guard) settle(ctx context.Context, id string) error {
	if !g.claim(id) {
		return nil // it is being made now
	}
	defer g.release(id)
	if k, err := g.r.Key(ctx, id); err != nil || k.State != Making {
		return err
	}
	if _, err := g.r.settle(ctx, g.Module, id, "it was looked for since nobody knew"); !errors.Is(err, hsm.ErrNoKey) {
		return err
	}
	return nil
}

// Generate implements hsm.Token.
func (g *Guard) Generate(ctx context.Context, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	return g.make(ctx, id, p, a, Generated, "", func() (hsm.Key, error) { return g.Module.Generate(ctx, id, p, a) })
}

// GenerateShared implements hsm.Transfer. A key whose shares did not come out
// of the module is erased: nobody could ever restore it.
func (g *Guard) GenerateShared(ctx context.Context, id string, p hsm.Purpose, a hsm.Algorithm, set string, threshold int, to []hsm.Holder) (hsm.Key, []hsm.Share, error) {
	var shares []hsm.Share
	var failed error
	k, err := g.make(ctx, id, p, a, Generated, "", func() (made hsm.Key, err error) {
		made, shares, err = g.Module.GenerateShared(ctx, id, p, a, set, threshold, to)
		failed = err
		return made, err
	})
	if err == nil && failed != nil {
		err = errors.Join(fmt.Errorf("key %q: it was made and its shares were lost; it was erased, and its name with it: %w", id, failed), g.Destroy(context.WithoutCancel(ctx), id))
	}
	if err != nil {
		return hsm.Key{}, nil, err
	}
	return k, shares, nil
}

// TakeKey implements hsm.Token.
func (g *Guard) TakeKey(ctx context.Context, agree string, given hsm.Given, label, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	if err := g.use(ctx, agree, opens); err != nil {
		return hsm.Key{}, err
	}
	return g.make(ctx, id, p, a, Given, agree, func() (hsm.Key, error) { return g.Module.TakeKey(ctx, agree, given, label, id, p, a) })
}

// Combine implements hsm.Transfer.
func (g *Guard) Combine(ctx context.Context, agree string, parts []hsm.Component, id string, p hsm.Purpose, a hsm.Algorithm, want hsm.KCV) (hsm.Key, error) {
	if err := g.use(ctx, agree, opens); err != nil {
		return hsm.Key{}, err
	}
	return g.make(ctx, id, p, a, Components, agree, func() (hsm.Key, error) { return g.Module.Combine(ctx, agree, parts, id, p, a, want) })
}

// Restore implements hsm.Transfer. A key that the module has lost comes back
// under its own name; one that was destroyed or is compromised never does.
func (g *Guard) Restore(ctx context.Context, agree string, shares []hsm.Share, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	if err := g.use(ctx, agree, opens); err != nil {
		return hsm.Key{}, err
	}
	do := func() (hsm.Key, error) { return g.Module.Restore(ctx, agree, shares, id, p, a) }
	k, err := g.r.Key(ctx, id)
	if err == nil && k.State != Making && k.State != Destroyed && k.State != Compromised {
		return g.regain(ctx, k, shares, p, a, do)
	}
	return g.make(ctx, id, p, a, Restored, agree, do)
}

// regain restores a key that the module has lost, if the shares are of it. It
// waits for two people from the moment that this is tried.
func (g *Guard) regain(ctx context.Context, k Key, shares []hsm.Share, p hsm.Purpose, a hsm.Algorithm, do func() (hsm.Key, error)) (hsm.Key, error) {
	if !g.claim(k.ID) {
		return hsm.Key{}, fmt.Errorf("key %q: %w", k.ID, hsm.ErrKeyExists)
	}
	defer g.release(k.ID)
	if _, err := g.Module.Key(ctx, k.ID); !errors.Is(err, hsm.ErrNoKey) {
		return hsm.Key{}, errors.Join(err, fmt.Errorf("key %q: %w", k.ID, hsm.ErrKeyExists))
	}
	if k.Purpose != string(p) || k.Algorithm != string(a) {
		return hsm.Key{}, fmt.Errorf("key %q: %w: it is %s for %q, not %s for %q", k.ID, hsm.ErrPurpose, k.Algorithm, k.Purpose, a, p)
	}
	for _, s := range shares {
		if s.KCV.String() != k.KCV {
			return hsm.Key{}, &hsm.ComponentError{Holder: s.Holder, Index: s.Index, Err: fmt.Errorf("%w: it is of a key %q, key %s is %q", hsm.ErrKCV, s.KCV, k.ID, k.KCV)}
		}
	}
	known := hsm.Key{ID: k.ID, Purpose: p, Algorithm: a}
	err := g.r.enter(ctx, "key.restoring", known, "the module has lost it; it was "+string(k.State), func(tx *store.Tx) error {
		if err := one(tx.Exec(`UPDATE key SET state = 'pre-activation' WHERE id = $1`, k.ID)); err != nil {
			return err
		}
		for _, what := range touching(ctx) {
			if err := PutLink(tx, k.ID, what, 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = g.Reload(context.WithoutCancel(ctx))
	}
	if err != nil {
		return hsm.Key{}, err
	}
	back, err := do()
	if err != nil { // and may have happened
		var look error
		if back, look = g.Module.Key(context.WithoutCancel(ctx), k.ID); look != nil {
			return hsm.Key{}, err
		}
	}
	return back, g.r.enter(context.WithoutCancel(ctx), "key.there", back, Restored, func(*store.Tx) error { return nil }, g.Module.Info())
}

// Import implements hsm.Transfer.
func (g *Guard) Import(ctx context.Context, blob []byte, w hsm.Wrapping, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	if err := g.use(ctx, w.Key, opens); err != nil {
		return hsm.Key{}, err
	}
	return g.make(ctx, id, p, a, Wrapped, w.Key, func() (hsm.Key, error) { return g.Module.Import(ctx, blob, w, id, p, a) })
}

// Destroy implements hsm.Token. That it is to be destroyed is known before, and
// that it is gone after; a key that the module has lost is destroyed by this too.
func (g *Guard) Destroy(ctx context.Context, id string) error {
	if g.r == nil {
		return fmt.Errorf("key %q: %w", id, hsm.ErrClosed)
	}
	if !g.claim(id) {
		return fmt.Errorf("key %q: %w: it is being made or destroyed", id, ErrState)
	}
	defer g.release(id)
	k, err := g.r.Key(ctx, id)
	if err != nil {
		return err
	}
	if k.State == Destroyed {
		return fmt.Errorf("key %q: %w", id, hsm.ErrNoKey)
	}
	if err := g.r.once(ctx, "key.erasing", hsm.Key{ID: id}, "to be erased in the module", nil); err != nil {
		return err
	}
	err = g.Module.Destroy(ctx, id)
	if err != nil && !errors.Is(err, hsm.ErrNoKey) {
		if _, look := g.Module.Key(context.WithoutCancel(ctx), id); !errors.Is(look, hsm.ErrNoKey) {
			return err
		}
	}
	return errors.Join(g.r.erased(context.WithoutCancel(ctx), id), g.Reload(context.WithoutCancel(ctx)))
}

// erased writes that a key is gone from the module.
func (r *Register) erased(ctx context.Context, id string) error {
	return r.enter(ctx, "key.erased", hsm.Key{ID: id}, "erased in the module", func(tx *store.Tx) error {
		if _, err := tx.Exec(`UPDATE key SET state = 'destroyed', ended = $1 WHERE id = $2`, store.Stamp(tx.Time()), id); err != nil {
			return err
		}
		_, err := tx.Exec(`UPDATE key_copy SET gone = $1 WHERE key = $2 AND kind = 'module' AND gone = ''`, store.Stamp(tx.Time()), id)
		return err
	})
}

// once writes into a key's life what is not the last thing in it already: what
// is tried, or seen, again and again is said the first time.
func (r *Register) once(ctx context.Context, kind string, k hsm.Key, text string, fn func(*store.Tx) error) error {
	if last, err := r.last(ctx, k.ID); err != nil || last == kind {
		return err
	}
	return r.enter(ctx, kind, k, text, func(tx *store.Tx) error {
		if fn == nil {
			return nil
		}
		return fn(tx)
	})
}

// last is the kind of the last event of a key's life.
func (r *Register) last(ctx context.Context, id string) (kind string, err error) {
	err = r.store.QueryRow(ctx, `SELECT coalesce((SELECT what FROM key_event WHERE key = $1 ORDER BY entry DESC, rowid DESC LIMIT 1), '')`, id).Scan(&kind)
	return kind, err
}

// Reconcile compares the register with the module. What the module has and the
// register does not is taken in; what was being made or erased when the site
// stopped is looked for. What the module has lost stays in the register as it
// is, and is returned. A key that is not what the register says is suspended; a
// destroyed one that is back is used for nothing. Of all three the people who
// look after keys are told.
func (r *Register) Reconcile(ctx context.Context, m hsm.Token) (missing []string, err error) {
	have, err := m.Keys(ctx)
	if err != nil {
		return nil, err
	}
	in := map[string]hsm.Key{}
	for _, k := range have {
		in[k.ID] = k
	}
	known, _, err := r.Keys(ctx, Filter{})
	if err != nil {
		return nil, err
	}
	for _, k := range known {
		h, there := in[k.ID]
		delete(in, k.ID)
		lost, err := r.compare(ctx, m, k, h, there)
		if err != nil {
			return nil, err
		}
		if lost {
			missing = append(missing, k.ID)
		}
	}
	// The first time, the register takes over what the module has, the log's own
	// key last: then it is the register's. A key that it does not know after that
	// was made behind its back, or it has forgotten it.
	state := Live
	if settled(known) {
		state = Suspended
	}
	slices.SortStableFunc(have, func(a, b hsm.Key) int { return cmp.Compare(last(a.Purpose), last(b.Purpose)) })
	for _, k := range have {
		if _, ok := in[k.ID]; !ok {
			continue
		}
		err := r.enter(ctx, "key.found", k, "it was in the module and not in the register", func(tx *store.Tx) error {
			_, err := tx.Exec(`INSERT INTO key (id, purpose, algorithm, origin, owner, state, made) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
				k.ID, string(k.Purpose), string(k.Algorithm), Found, r.site, Making, store.Stamp(tx.Time()))
			return errors.Join(err, r.put(tx, k, state))
		}, m.Info())
		if err != nil {
			return nil, err
		}
	}
	return missing, r.recall(ctx, m, known)
}

func last(p hsm.Purpose) int {
	if p == hsm.LogSign {
		return 1
	}
	return 0
}

// settled says that the register has taken over its module before.
func settled(known []Key) bool {
	return slices.ContainsFunc(known, func(k Key) bool { return k.Purpose == string(hsm.LogSign) })
}

// recall takes over what the module remembers of keys that were destroyed and
// the register does not know: their names stay taken.
func (r *Register) recall(ctx context.Context, m hsm.Token, known []Key) error {
	gone, err := m.Destroyed(ctx)
	if err != nil {
		return err
	}
	for _, id := range gone {
		if slices.ContainsFunc(known, func(k Key) bool { return k.ID == id }) {
			continue
		}
		err := r.enter(ctx, "key.found", hsm.Key{ID: id}, "it was destroyed in the module, and is not in the register", func(tx *store.Tx) error {
			_, err := tx.Exec(`INSERT INTO key (id, purpose, algorithm, origin, owner, state, made, ended) VALUES ($1, '', '', $2, $3, $4, $5, $5)`,
				id, Found, r.site, Destroyed, store.Stamp(tx.Time()))
			return err
		}, m.Info())
		if err != nil {
			return err
		}
	}
	return nil
}

// Behind says by what the module shows that the register is older than it: it
// has keys, or destroyed some, of which a register that is its own had heard
// first. Reconcile makes both agree again, so ask before.
func (r *Register) Behind(ctx context.Context, m hsm.Token) ([]string, error) {
	known, _, err := r.Keys(ctx, Filter{})
	if err != nil || !settled(known) {
		return nil, err // a new register
	}
	states := map[string]State{}
	for _, k := range known {
		states[k.ID] = k.State
	}
	have, err := m.Keys(ctx)
	if err != nil {
		return nil, err
	}
	gone, err := m.Destroyed(ctx)
	if err != nil {
		return nil, err
	}
	var signs []string
	for _, k := range have {
		if _, ok := states[k.ID]; !ok {
			signs = append(signs, fmt.Sprintf("key %s is in the security module, and the register never heard of it", k.ID))
		}
	}
	for _, id := range gone {
		switch state, ok := states[id]; {
		case !ok:
			signs = append(signs, fmt.Sprintf("key %s was destroyed in the security module, and the register never heard of it", id))
		case state != Destroyed && state != Making:
			last, err := r.last(ctx, id)
			if err != nil {
				return nil, err
			}
			if last != "key.erasing" {
				signs = append(signs, fmt.Sprintf("key %s was destroyed in the security module, and is %s in the register", id, state))
			}
		}
	}
	return signs, nil
}

// compare is Reconcile of one key that the register knows.
func (r *Register) compare(ctx context.Context, m hsm.Token, k Key, h hsm.Key, there bool) (lost bool, err error) {
	self := hsm.Key{ID: k.ID}
	alarm := func(kind, text string, fn func(*store.Tx) error) error {
		return r.once(ctx, kind, self, text, func(tx *store.Tx) error {
			n := notice.Notice{Kind: kind, Subject: "key/" + k.ID, Link: "/keys/" + k.ID, Text: fmt.Sprintf("Key %s: %s.", k.ID, text)}
			if err := notice.TellHolders(ctx, tx, n, "key-manager", "hsm-administrator", "security-officer", act.Nodal, act.Alternate); err != nil || fn == nil {
				return err
			}
			return fn(tx)
		})
	}
	switch {
	case k.State == Making:
		_, err = r.settle(ctx, m, k.ID, "it was being made when the site stopped")
		if errors.Is(err, hsm.ErrNoKey) {
			err = nil
		}
	case k.State == Destroyed && there:
		err = alarm("key.came-back", "it was destroyed, and is in the module: find out from where it came, and erase it there", nil)
	case k.State != Destroyed && !there:
		last, err := r.last(ctx, k.ID)
		if err == nil && last == "key.erasing" {
			return false, r.erased(ctx, k.ID)
		}
		// The module remembers for ever what it destroyed, also what the register
		// has forgotten: that never comes back.
		gone, look := m.Destroyed(ctx)
		if err == nil && look == nil && slices.Contains(gone, k.ID) {
			return false, r.erased(ctx, k.ID)
		}
		return true, errors.Join(err, look, alarm("key.missing", "the module has lost it; restore it from its backup, or put the right module back", nil))
	case there && (k.Purpose != string(h.Purpose) || k.Algorithm != string(h.Algorithm) || k.KCV != h.KCV.String()):
		text := strings.Join(slices.DeleteFunc([]string{string(h.Algorithm), "for " + string(h.Purpose), h.KCV.String()}, func(s string) bool { return s == "" }), " ")
		err = alarm("key.differs", "the module has another one under this name: "+text, func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE key SET state = 'suspended' WHERE id = $1 AND state IN ('active', 'pre-activation')`, k.ID)
			return err
		})
	}
	return false, err
}
