package pkcs11

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"time"

	ck "github.com/miekg/pkcs11"

	"ankan/hsm"
)

// How a key is made and destroyed.
//
// A key is two objects: its record and the key object whose CKA_ID the record
// names. It is there if both are and there is no tombstone of its name.
//
// Making one writes the record, looks whether it is the only one of its name,
// writes the key object, and looks again. So of two processes that make the
// same name, at most one finds itself alone: the others take their record back
// and look again. A record without its key object is a making that was
// interrupted, or one that runs in another process: it is waited for, and
// after that taken away. Whoever's record was taken away sees it in his second
// look and takes his key object back; no key counts without its record.
//
// Destroying one writes the tombstone, destroys the key object, then the
// record. From the tombstone on the key is not there, whatever else is: Open
// and Destroy finish what was interrupted.
//
// The answer of a call that writes may be lost, with the session or without.
// Then we look whether its object is there, and do not assume. What was made
// and not answered for is taken back, so that a making that failed left
// nothing; only where the token stays away may its key be there all the same.

// errAgain: another process makes a key of this name at the same time.
var errAgain = errors.New("another process is making a key of this name")

// A key is a key in the token.
type key struct {
	hsm.Key
	object objectHandle
}

// An entry is a record as it lies in the token, with its key object if that is
// there.
type entry struct {
	record
	object, keyObject objectHandle
}

// state is what the token has of one name.
type state struct {
	live []entry // with a record that is no tombstone
	gone bool    // there is a tombstone
}

// key is the key of this name, if it is there.
func (st *state) key() *entry {
	if st.gone {
		return nil
	}
	for i := range st.live {
		if st.live[i].keyObject != 0 {
			return &st.live[i]
		}
	}
	return nil
}

// lookUp looks what the token has of a name.
func (s *session) lookUp(id string) (*state, error) {
	objects, err := s.find(number(ck.CKA_CLASS, ck.CKO_DATA), flag(ck.CKA_TOKEN, true),
		text(ck.CKA_APPLICATION, application), text(ck.CKA_LABEL, id))
	if err != nil {
		return nil, err
	}
	st := &state{}
	for _, o := range objects {
		values, err := s.read(o, ck.CKA_VALUE)
		if is(err, ck.CKR_OBJECT_HANDLE_INVALID) {
			continue // another process took it away meanwhile
		}
		if err != nil {
			return nil, err
		}
		r, err := parseRecord(id, values[0])
		if err != nil {
			return nil, err
		}
		if r.gone {
			st.gone = true
			continue
		}
		e := entry{record: r, object: o}
		if e.keyObject, err = s.keyObject(&r); err != nil {
			return nil, err
		}
		st.live = append(st.live, e)
	}
	return st, nil
}

// orphan says whether there is a key object of ours of this name without its
// record. Somebody took the record away; the name was used.
func (s *session) orphan(id string, st *state) (bool, error) {
	for _, class := range []uint{ck.CKO_SECRET_KEY, ck.CKO_PRIVATE_KEY} {
		keys, err := s.find(number(ck.CKA_CLASS, class), flag(ck.CKA_TOKEN, true), text(ck.CKA_LABEL, id))
		if err != nil {
			return false, err
		}
		for _, o := range keys {
			keyID, err := s.keyID(o)
			if err != nil {
				return false, err
			}
			recorded := slices.ContainsFunc(st.live, func(e entry) bool { return e.id == keyID })
			if len(keyID) == keyIDLen && strings.HasPrefix(keyID, keyIDPrefix) && !recorded {
				return true, nil
			}
		}
	}
	return false, nil
}

// keyID reads the CKA_ID of a key object; "" if it has none or is gone again.
func (s *session) keyID(o objectHandle) (string, error) {
	values, err := s.read(o, ck.CKA_ID)
	if is(err, ck.CKR_ATTRIBUTE_TYPE_INVALID, ck.CKR_ATTRIBUTE_SENSITIVE, ck.CKR_OBJECT_HANDLE_INVALID) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return string(values[0]), nil
}

// keyObject finds the key object of a record; 0 if there is none.
func (s *session) keyObject(r *record) (objectHandle, error) {
	found, err := s.find(number(ck.CKA_CLASS, classOf(r.key.Algorithm)), flag(ck.CKA_TOKEN, true), text(ck.CKA_ID, r.id))
	switch {
	case err != nil:
		return 0, err
	case len(found) == 0:
		return 0, nil
	case len(found) > 1:
		return 0, fmt.Errorf("key %q has %d key objects, want 1", r.key.ID, len(found))
	}
	return found[0], nil
}

// get finds a key by its name, in this session's memory or in the token.
func (s *session) get(id string) (*key, error) {
	if k := s.cached(id); k != nil {
		return k, nil
	}
	st, err := s.lookUp(id)
	if err != nil {
		return nil, err
	}
	e := st.key()
	if e == nil {
		return nil, fmt.Errorf("key %q: %w", id, hsm.ErrNoKey)
	}
	k := &key{Key: e.key, object: e.keyObject}
	s.remember(k)
	return k, nil
}

// A draft is a key that is not in the token yet.
type draft struct {
	kcv    hsm.KCV
	public crypto.PublicKey
	// keep makes the key object, which is the one write of a key.
	keep func(r *record) (objectHandle, error)
	// drop takes back what the session holds of it.
	drop func()
}

// A source makes the draft of a key in a session. It may be called again.
type source func(s *session) (draft, error)

// names that end a template. CKA_MODIFIABLE is the last: what comes after it
// is refused by tokens that go through a template one by one.
func nameAttributes(r *record) []attribute {
	return []attribute{text(ck.CKA_LABEL, r.key.ID), text(ck.CKA_ID, r.id), flag(ck.CKA_MODIFIABLE, false)}
}

// extractable says whether the key object may be wrapped. An OP is read for
// drawing keys, whether or not it may leave.
func extractable(k *hsm.Key) bool { return k.Exportable || k.Purpose == hsm.Operator }

// generated is the source of a key that the token makes. It is made in the
// session and copied into the token: the copy is where a check value is known
// before the record is written, and where the use that computes it ends
// (PKCS #11 v2.40, 4.4: a copy may have fewer uses). seen, if any, is given the
// value before the copy, which cannot be wrapped any more.
func (t *token) generated(p hsm.Purpose, a hsm.Algorithm, seen func(s *session, value []byte) error) source {
	u := t.usesOf(p)
	return func(s *session) (d draft, err error) {
		copied := func(from objectHandle, secret bool) func(r *record) (objectHandle, error) {
			return func(r *record) (objectHandle, error) {
				template := []attribute{flag(ck.CKA_TOKEN, true)}
				if secret {
					template = append(template, flag(ck.CKA_ENCRYPT, u.encrypt))
				}
				if seen != nil && !extractable(&r.key) {
					template = append(template, flag(ck.CKA_EXTRACTABLE, false))
				}
				o, err := s.api.CopyObject(s.handle, from, append(template, nameAttributes(r)...))
				if err != nil {
					return 0, fmt.Errorf("C_CopyObject: %w", err)
				}
				return o, nil
			}
		}
		if classOf(a) == ck.CKO_PRIVATE_KEY {
			pub, priv, err := s.pair(a, u)
			if err != nil {
				return draft{}, err
			}
			d = draft{keep: copied(priv, false), drop: func() { s.discard(pub, priv) }}
			if d.public, err = s.public(pub, a); err != nil {
				d.drop()
			}
			return d, err
		}
		kind, _ := kindOf(a)
		job, length := makes(a)
		with, block := u, a.CheckMethod() != ""
		if block {
			with.encrypt = true
		}
		open := seen != nil || p.Exports()
		o, err := s.api.GenerateKey(s.handle, s.mech(job), sessionKey(kind, length, open, with))
		if err != nil {
			return draft{}, fmt.Errorf("C_GenerateKey: %w", err)
		}
		d = draft{keep: copied(o, block), drop: func() { s.discard(o) }}
		if block {
			b := &blocks{session: s, key: o, algorithm: a}
			if d.kcv, err = hsm.NewKCV(a.CheckMethod(), b); err == nil {
				err = b.err
			}
		}
		if err == nil && seen != nil {
			var value []byte
			if value, err = s.look(o); err == nil {
				err = seen(s, value)
				clear(value)
			}
		}
		if err != nil {
			d.drop()
		}
		return d, err
	}
}

// imported drafts a key whose value is in our memory, and wipes that when the
// draft is dropped or refused.
func (s *session) imported(p hsm.Purpose, a hsm.Algorithm, value []byte) (d draft, err error) {
	d.drop = func() { clear(value) }
	kind, length := kindOf(a)
	if len(value) != length {
		err = fmt.Errorf("a key of %s has %d bytes, want %d: %w", a, len(value), length, hsm.ErrSealed)
	} else if a.CheckMethod() != "" {
		d.kcv, err = hsm.KeyKCV(a.CheckMethod(), a, value)
	}
	if err == nil && a.NeedsWaiver() {
		err = hsm.CheckKey(value, a)
		hsm.SetParity(a, value)
	}
	if err != nil {
		d.drop()
		return draft{}, err
	}
	d.keep = func(r *record) (objectHandle, error) {
		template := secretKey(kind, 0, true, extractable(&r.key), s.usesOf(p))
		return s.pass(value, append(template, nameAttributes(r)...))
	}
	return d, nil
}

// add makes a key under a new name.
func (t *token) add(ctx context.Context, id string, p hsm.Purpose, a hsm.Algorithm, exportable bool, from source) (hsm.Key, error) {
	if err := ctx.Err(); err != nil {
		return hsm.Key{}, err
	}
	if err := hsm.CheckID(id); err != nil {
		return hsm.Key{}, err
	}
	if err := p.Fits(a); err != nil {
		return hsm.Key{}, err
	}
	if err := hsm.MethodStaysInside(a); err != nil {
		return hsm.Key{}, err
	}
	if err := t.does(a); err != nil {
		return hsm.Key{}, err
	}
	w := waiting{patience: t.patience, since: map[string]time.Time{}}
	repeated := false
	for {
		k := hsm.Key{ID: id, Purpose: p, Algorithm: a, Exportable: exportable}
		t.module.change.Lock()
		err := t.once(ctx, func(s *session) error { return s.make(&k, &w, from) })
		if err != nil && t.pending[w.made.id] {
			err = t.undo(ctx, err, &w.made)
		}
		t.module.change.Unlock()
		switch {
		case err == nil:
			return k, nil
		case errors.Is(err, errAgain):
			if err := w.pause(ctx); err != nil {
				return hsm.Key{}, fmt.Errorf("key %q: %w: %w", id, errAgain, err)
			}
		case lost(err) && !repeated:
			repeated = true
		default:
			return hsm.Key{}, fmt.Errorf("key %q: %w", id, err)
		}
	}
}

// undo takes back what a making left that failed with err, in a session of its
// own, where no call is half done. What it cannot take back stays pending: the
// next making of the name looks for it.
func (t *token) undo(ctx context.Context, err error, made *record) error {
	again := t.do(context.WithoutCancel(ctx), func(s *session) error { return s.takeBack(made) })
	if again != nil {
		return fmt.Errorf("%w; and what is left of it is not taken back: %w", err, again)
	}
	return err
}

// waiting is how long a making waits for another one of the same name.
type waiting struct {
	patience time.Duration
	since    map[string]time.Time // when another's record was first seen
	made     record               // what this making wrote last
}

// pause waits a short time, not the same for two processes.
func (w *waiting) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(20*time.Millisecond + mathrand.N(180*time.Millisecond)):
		return nil
	}
}

// over says whether an unfinished record was seen long enough.
func (w *waiting) over(id string) bool {
	if _, seen := w.since[id]; !seen {
		w.since[id] = time.Now()
	}
	return time.Since(w.since[id]) >= w.patience
}

// make makes a key. After an error the caller takes back what is pending of
// it. The caller holds module.change.
func (s *session) make(k *hsm.Key, w *waiting, from source) error {
	st, err := s.lookUp(k.ID)
	if err != nil {
		return err
	}
	if st.gone || st.key() != nil {
		return hsm.ErrKeyExists
	}
	orphan, err := s.orphan(k.ID, st)
	if err != nil {
		return err
	}
	if orphan {
		return fmt.Errorf("the token has a key object of this name whose record somebody took away: %w", hsm.ErrKeyExists)
	}
	for _, e := range st.live {
		if !s.pending[e.id] && !w.over(e.id) {
			return errAgain
		}
		if err := s.takeAway(&e); err != nil {
			return err
		}
	}
	d, err := from(s)
	if err != nil {
		return err
	}
	defer d.drop()
	r := record{id: keyIDPrefix + string(randomBytes(keyIDLen-len(keyIDPrefix))), key: *k}
	r.key.Created = time.Now().UTC().Truncate(time.Second)
	r.key.KCV, r.key.Public = d.kcv, d.public
	w.made = r
	s.pending[r.id] = true
	if err := s.writeRecord(&r); err != nil {
		return err
	}
	if err := s.alone(&r, false); err != nil {
		return err
	}
	o, err := d.keep(&r)
	if err != nil {
		there, lookErr := s.keyObject(&r)
		if lookErr != nil || there == 0 {
			return errors.Join(err, lookErr)
		}
		o = there
	}
	if err := s.alone(&r, true); err != nil {
		return err
	}
	delete(s.pending, r.id)
	*k = r.key
	s.remember(&key{Key: r.key, object: o})
	return nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// writeRecord writes a record. If the answer is lost with a working session,
// the record is looked for.
func (s *session) writeRecord(r *record) error {
	value, err := r.encode()
	if err != nil {
		return err
	}
	_, err = s.api.CreateObject(s.handle, []attribute{
		number(ck.CKA_CLASS, ck.CKO_DATA), flag(ck.CKA_TOKEN, true), flag(ck.CKA_PRIVATE, true),
		text(ck.CKA_APPLICATION, application), text(ck.CKA_LABEL, r.key.ID), text(ck.CKA_VALUE, value), flag(ck.CKA_MODIFIABLE, false),
	})
	if err == nil {
		return nil
	}
	err = fmt.Errorf("C_CreateObject: %w", err)
	st, lookErr := s.lookUp(r.key.ID)
	if lookErr != nil {
		return errors.Join(err, lookErr)
	}
	if r.gone && st.gone || !r.gone && slices.ContainsFunc(st.live, func(e entry) bool { return e.id == r.id }) {
		return nil
	}
	return err
}

// alone looks whether the record is the only one of its name, with its key
// object if that was made.
func (s *session) alone(r *record, made bool) error {
	st, err := s.lookUp(r.key.ID)
	switch {
	case err != nil:
		return err
	case st.gone:
		return hsm.ErrKeyExists
	case len(st.live) != 1 || st.live[0].id != r.id:
		return errAgain
	case made && st.live[0].keyObject == 0:
		return errors.New("the token does not show the key that it made")
	}
	return nil
}

// takeBack takes back what this making wrote: the key object first, so that
// none is left without its record.
func (s *session) takeBack(r *record) error {
	o, err := s.keyObject(r)
	if err != nil {
		return err
	}
	if o != 0 {
		if err := s.destroyObject(o, func() (bool, error) { o, err := s.keyObject(r); return o != 0, err }); err != nil {
			return err
		}
	}
	st, err := s.lookUp(r.key.ID)
	if err != nil {
		return err
	}
	for _, e := range st.live {
		if e.id == r.id {
			if err := s.destroyRecord(&e); err != nil {
				return err
			}
		}
	}
	delete(s.pending, r.id)
	return nil
}

// takeAway takes away the record of an interrupted making. If its key object
// came in this very moment, the record is put back: the key is the other's.
func (s *session) takeAway(e *entry) error {
	if err := s.destroyRecord(e); err != nil {
		return err
	}
	o, err := s.keyObject(&e.record)
	if err != nil {
		return err
	}
	if o != 0 {
		return errors.Join(errAgain, s.writeRecord(&e.record))
	}
	delete(s.pending, e.id)
	return nil
}

func (s *session) destroyRecord(e *entry) error {
	return s.destroyObject(e.object, func() (bool, error) {
		st, err := s.lookUp(e.key.ID)
		return err == nil && slices.ContainsFunc(st.live, func(l entry) bool { return l.id == e.id }), err
	})
}

// destroyObject destroys an object. Whatever the token answers, it is gone if
// it is not there any more, and only then.
func (s *session) destroyObject(o objectHandle, there func() (bool, error)) error {
	err := s.api.DestroyObject(s.handle, o)
	still, lookErr := there()
	switch {
	case lookErr != nil:
		return errors.Join(err, lookErr)
	case still && err != nil:
		return fmt.Errorf("C_DestroyObject: %w", err)
	case still:
		return errors.New("the token shows an object that it said it destroyed")
	}
	return nil
}

// destroy destroys a key, or finishes that. The caller holds module.change.
// begun remembers that this call found the key.
func (s *session) destroy(id string, begun *bool) error {
	st, err := s.lookUp(id)
	if err != nil {
		return err
	}
	if k := st.key(); k != nil {
		*begun = true
		tomb := k.record
		tomb.gone = true
		if err := s.writeRecord(&tomb); err != nil {
			return err
		}
		st.gone = true
	}
	s.forget(id)
	if !st.gone || len(st.live) == 0 {
		if *begun {
			return nil
		}
		return hsm.ErrNoKey
	}
	for _, e := range st.live {
		if e.keyObject != 0 {
			*begun = true
			err := s.destroyObject(e.keyObject, func() (bool, error) { o, err := s.keyObject(&e.record); return o != 0, err })
			if err != nil {
				return err
			}
		}
		if err := s.destroyRecord(&e); err != nil {
			return err
		}
	}
	if !*begun {
		return hsm.ErrNoKey
	}
	return nil
}

// inventory reads all records; a name may have several.
func (s *session) inventory() (map[string]*state, error) {
	objects, err := s.find(number(ck.CKA_CLASS, ck.CKO_DATA), flag(ck.CKA_TOKEN, true), text(ck.CKA_APPLICATION, application))
	if err != nil {
		return nil, err
	}
	keys := map[string]objectHandle{}
	for _, class := range []uint{ck.CKO_SECRET_KEY, ck.CKO_PRIVATE_KEY} {
		found, err := s.find(number(ck.CKA_CLASS, class), flag(ck.CKA_TOKEN, true))
		if err != nil {
			return nil, err
		}
		for _, o := range found {
			id, err := s.keyID(o)
			if err != nil {
				return nil, err
			}
			keys[id] = o
		}
	}
	all := map[string]*state{}
	for _, o := range objects {
		values, err := s.read(o, ck.CKA_LABEL, ck.CKA_VALUE)
		if is(err, ck.CKR_OBJECT_HANDLE_INVALID) {
			continue // another process took it away meanwhile
		}
		if err != nil {
			return nil, err
		}
		id := string(values[0])
		r, err := parseRecord(id, values[1])
		if err != nil {
			return nil, err
		}
		if all[id] == nil {
			all[id] = &state{}
		}
		if r.gone {
			all[id].gone = true
		} else {
			all[id].live = append(all[id].live, entry{record: r, object: o, keyObject: keys[r.id]})
		}
	}
	return all, nil
}

// finish ends every destruction that was interrupted.
func (s *session) finish() error {
	all, err := s.inventory()
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if st := all[id]; st.gone && len(st.live) > 0 {
			if err := s.destroy(id, new(bool)); err != nil && !errors.Is(err, hsm.ErrNoKey) {
				return fmt.Errorf("ending the destruction of key %q: %w", id, err)
			}
		}
	}
	return nil
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
	return s.add(ctx, id, p, a, p.Exports(), s.generated(p, a, nil))
}

// Key implements hsm.Token.
func (t *Token) Key(ctx context.Context, id string) (found hsm.Key, err error) {
	s, err := t.open()
	if err != nil {
		return found, err
	}
	err = s.do(ctx, func(s *session) error {
		st, err := s.lookUp(id)
		if err != nil {
			return err
		}
		e := st.key()
		if e == nil {
			return fmt.Errorf("key %q: %w", id, hsm.ErrNoKey)
		}
		found = e.key
		return nil
	})
	return found, err
}

// Keys implements hsm.Token.
func (t *Token) Keys(ctx context.Context) ([]hsm.Key, error) {
	all, err := t.states(ctx)
	if err != nil {
		return nil, err
	}
	keys := make([]hsm.Key, 0, len(all))
	for _, st := range all {
		if e := st.key(); e != nil {
			keys = append(keys, e.key)
		}
	}
	slices.SortFunc(keys, func(a, b hsm.Key) int { return cmp.Compare(a.ID, b.ID) })
	return keys, nil
}

// Destroyed implements hsm.Token.
func (t *Token) Destroyed(ctx context.Context) ([]string, error) {
	all, err := t.states(ctx)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for id, st := range all {
		if st.gone {
			names = append(names, id)
		}
	}
	slices.Sort(names)
	return names, nil
}

// states is what the token has of every name.
func (t *Token) states(ctx context.Context) (all map[string]*state, err error) {
	s, err := t.open()
	if err != nil {
		return nil, err
	}
	err = s.do(ctx, func(s *session) (err error) {
		all, err = s.inventory()
		return err
	})
	return all, err
}

// Destroy implements hsm.Token. The name stays taken for ever.
func (t *Token) Destroy(ctx context.Context, id string) error {
	s, err := t.open()
	if err != nil {
		return err
	}
	begun := false
	s.module.change.Lock()
	defer s.module.change.Unlock()
	err = s.do(ctx, func(s *session) error { return s.destroy(id, &begun) })
	if err != nil {
		return fmt.Errorf("key %q: %w", id, err)
	}
	return nil
}
