// Package keys is the key register and what guards it: each key's purpose,
// check value, holders, copies, life and uses, from request to destruction; the
// things of metal and paper that keys depend on; and the two-part forms with
// which components travel (SOP 6.4.e, 6.5.i).
package keys

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/hsm"
	"ankan/store"
	"ankan/waiver"
)

//go:embed migrations
var migrations embed.FS

// Schema is the tables that this package owns.
func Schema() store.Schema { return store.Embedded("keys", migrations) }

// A State is where a key is in its life (NIST SP 800-57 part 1, 7).
type State string

// The states. From Compromised and Destroyed no road leads back.
const (
	Making        State = "making" // begun; whether the module has it is not known
	PreActivation State = "pre-activation"
	Live          State = "active"
	Suspended     State = "suspended"
	Deactivated   State = "deactivated" // opens what it closed, closes nothing more
	Compromised   State = "compromised"
	Destroyed     State = "destroyed"
)

// How a key came to be here.
const (
	Generated  = "generated"
	Components = "components"
	Wrapped    = "wrapped"
	Given      = "given"
	Restored   = "restored"
	Found      = "found" // it was in the module before the register knew it
)

// The kinds of copies.
const (
	CopyModule    = "module"
	CopyComponent = "component"
	CopyShare     = "share"
	CopyPartner   = "partner"
	CopyWrapped   = "wrapped"
)

// Errors that callers branch on.
var (
	ErrNoKey = hsm.ErrNoKey
	ErrState = errors.New("the key's state does not allow this")
)

// A Key is a key as the register knows it. It holds no secret.
type Key struct {
	ID        string    `json:"id"`
	Purpose   string    `json:"purpose"`
	Algorithm string    `json:"algorithm"`
	KCV       string    `json:"kcv,omitempty"` // with its method
	Origin    string    `json:"origin"`
	Owner     string    `json:"owner,omitempty"`
	State     State     `json:"state"`
	Made      time.Time `json:"made"`
	Activated time.Time `json:"activated,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	Uses      int64     `json:"uses"`
	Parties   []string  `json:"parties,omitempty"` // partners that share it
	// Waiver is what people signed last for a key of this name; the zero waiver
	// for one that needs none.
	Waiver waiver.Waiver `json:"waiver,omitzero"`
}

// Kind is the key's algorithm with what a waiver says of it now, such as "3DES
// under waiver until 2027-03-31".
func (k Key) Kind(now time.Time) string {
	if hsm.Algorithm(k.Algorithm).NeedsWaiver() {
		return k.Waiver.Kind(k.Algorithm, now)
	}
	return k.Algorithm
}

// Expired says whether the cryptoperiod is over.
func (k Key) Expired(now time.Time) bool { return !k.Expires.IsZero() && !now.Before(k.Expires) }

// An Event is one line of a key's life.
type Event struct {
	Entry int64     `json:"entry"` // in the log
	At    time.Time `json:"at"`
	Actor string    `json:"actor"`
	What  string    `json:"what"`
	Text  string    `json:"text,omitempty"`
}

// A Copy is one place where a key, or a part of it, is.
type Copy struct {
	Key    string    `json:"key"`
	Kind   string    `json:"kind"`
	Number int       `json:"number,omitempty"`
	Of     int       `json:"of,omitempty"`
	Holder string    `json:"holder"`
	Place  string    `json:"place,omitempty"`
	KCV    string    `json:"kcv,omitempty"`
	Since  time.Time `json:"since"`
	Gone   time.Time `json:"gone,omitzero"`
	// Missing is since when a count did not find it.
	Missing time.Time `json:"missing,omitzero"`

	// Sealed opens for its holder alone.
	Sealed []byte `json:"-"`
}

// Name says which copy it is, to people and in acts.
func (c Copy) Name() string {
	s := c.Kind
	if c.Number > 0 {
		s += fmt.Sprintf(" %d of %d", c.Number, c.Of)
	}
	s += ", " + c.Holder
	if c.Place != "" {
		s += ", " + c.Place
	}
	return s
}

// A Link is something that a key touched: an order, a partner, another key.
type Link struct {
	What  string    `json:"what"`
	Since time.Time `json:"since"`
	Uses  int64     `json:"uses"`
}

// A Register is the keys of one site.
type Register struct {
	site   string
	store  *store.Store
	people *access.Directory
}

// NewRegister is the register kept in s.
func NewRegister(site string, s *store.Store, people *access.Directory) *Register {
	return &Register{site: site, store: s, people: people}
}

const keyColumns = `id, purpose, algorithm, kcv, origin, owner, state, made, activated, expires, ended, uses`

// Key is one key; ErrNoKey if the register never had it.
func (r *Register) Key(ctx context.Context, id string) (Key, error) {
	all, err := r.query(ctx, `WHERE id = $1`, id)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("key %q: %w", id, ErrNoKey)
	}
	if err != nil {
		return Key{}, err
	}
	return all[0], nil
}

// A Filter picks keys; empty fields pick all.
type Filter struct {
	State, Purpose, Partner string
	Text                    string // part of the name or check value
	Limit, Offset           int    // 0: all
}

// Keys are those that f picks, in order of their names, and how many there are
// without its limit.
func (r *Register) Keys(ctx context.Context, f Filter) ([]Key, int, error) {
	where, args := []string{"1 = 1"}, []any{}
	arg := func(format string, v any) {
		args = append(args, v)
		where = append(where, fmt.Sprintf(format, len(args)))
	}
	if f.State != "" {
		arg("state = $%d", f.State)
	}
	if f.Purpose != "" {
		arg("purpose = $%d", f.Purpose)
	}
	if f.Partner != "" {
		arg("EXISTS (SELECT 1 FROM key_link WHERE key = id AND what = $%d)", "partner/"+f.Partner)
	}
	if f.Text != "" {
		// Has the text in it: without it, it is another.
		arg("(replace(lower(id), lower($%[1]d), '') <> lower(id) OR replace(lower(kcv), lower($%[1]d), '') <> lower(kcv))", f.Text)
	}
	cond := strings.Join(where, " AND ")
	var n int
	if err := r.store.QueryRow(ctx, `SELECT count(*) FROM key WHERE `+cond, args...).Scan(&n); err != nil {
		return nil, 0, err
	}
	q := `WHERE ` + cond + ` ORDER BY id`
	if f.Limit > 0 {
		q += fmt.Sprintf(` LIMIT %d OFFSET %d`, f.Limit, f.Offset)
	}
	all, err := r.query(ctx, q, args...)
	return all, n, err
}

// query reads keys, and in more queries what partners share them and which are
// waived.
func (r *Register) query(ctx context.Context, where string, args ...any) ([]Key, error) {
	return look(ctx, r, func(q view) ([]Key, error) {
		all, err := store.Collect(q, scanKey, `SELECT `+keyColumns+` FROM key `+where, args...)
		if err != nil || len(all) == 0 {
			return nil, err
		}
		shared, err := store.Collect(q, pair,
			`SELECT key, substr(what, 9) FROM key_link WHERE what LIKE 'partner/%' AND key IN (SELECT id FROM key `+where+`) ORDER BY key, what`, args...)
		if err != nil {
			return nil, err
		}
		parties := map[string][]string{}
		for _, l := range shared {
			parties[l[0]] = append(parties[l[0]], l[1])
		}
		waived, err := waivers(q, `WHERE key IN (SELECT id FROM key `+where+`)`, args...)
		for i := range all {
			all[i].Parties, all[i].Waiver = parties[all[i].ID], waived[all[i].ID]
		}
		return all, err
	})
}

func scanKey(rows *sql.Rows) (k Key, err error) {
	var made, activated, expires, ended string
	if err = rows.Scan(&k.ID, &k.Purpose, &k.Algorithm, &k.KCV, &k.Origin, &k.Owner, &k.State, &made, &activated, &expires, &ended, &k.Uses); err == nil {
		err = stamps([]string{made, activated, expires, ended}, &k.Made, &k.Activated, &k.Expires, &k.Ended)
	}
	return k, err
}

// Events are a key's life, oldest first.
func (r *Register) Events(ctx context.Context, id string) ([]Event, error) {
	return look(ctx, r, func(q view) ([]Event, error) {
		return store.Collect(q, scanEvent, `SELECT entry, at, actor, what, text FROM key_event WHERE key = $1 ORDER BY entry, rowid`, id)
	})
}

// Copies are all places where a key is or was.
func (r *Register) Copies(ctx context.Context, id string) ([]Copy, error) {
	return r.copies(ctx, `WHERE key = $1`, id)
}

// Held are the components and shares that a person holds.
func (r *Register) Held(ctx context.Context, person string) ([]Copy, error) {
	return r.copies(ctx, `WHERE holder = $1 AND kind IN ('component', 'share') AND gone = ''`, person)
}

func (r *Register) copies(ctx context.Context, where string, args ...any) ([]Copy, error) {
	return look(ctx, r, func(q view) ([]Copy, error) { return copies(q, where, args...) })
}

func copies(q store.Querier, where string, args ...any) ([]Copy, error) {
	return store.Collect(q, func(rows *sql.Rows) (c Copy, err error) {
		var since, gone, missing string
		if err = rows.Scan(&c.Key, &c.Kind, &c.Number, &c.Of, &c.Holder, &c.Place, &c.KCV, &c.Sealed, &since, &gone, &missing); err == nil {
			err = stamps([]string{since, gone, missing}, &c.Since, &c.Gone, &c.Missing)
		}
		return c, err
	}, `SELECT key, kind, number, of, holder, place, kcv, sealed, since, gone, missing FROM key_copy `+where+` ORDER BY key, kind, number, holder`, args...)
}

// Links are what a key touched.
func (r *Register) Links(ctx context.Context, id string) ([]Link, error) {
	return r.links(ctx, `SELECT what, since, uses FROM key_link WHERE key = $1 ORDER BY what`, id)
}

// Touched are the keys that touched something, such as an order.
func (r *Register) Touched(ctx context.Context, what string) ([]Link, error) {
	return r.links(ctx, `SELECT key, since, uses FROM key_link WHERE what = $1 ORDER BY key`, what)
}

func (r *Register) links(ctx context.Context, q string, args ...any) ([]Link, error) {
	return store.Collect(r.store.Committed(ctx), func(rows *sql.Rows) (l Link, err error) {
		var since string
		if err = rows.Scan(&l.What, &since, &l.Uses); err == nil {
			l.Since, err = store.ParseStamp(since)
		}
		return l, err
	}, q, args...)
}

func pair(rows *sql.Rows) (p [2]string, err error) {
	err = rows.Scan(&p[0], &p[1])
	return p, err
}

func triple(rows *sql.Rows) (t [3]string, err error) {
	err = rows.Scan(&t[0], &t[1], &t[2])
	return t, err
}

// one refuses a statement that changed other than one row.
func one(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(fmt.Errorf("%d rows, want 1", n), err)
	}
	return nil
}

// Happened writes a line into a key's life, in the change that makes it so.
func Happened(tx *store.Tx, id, actor, what, text string) error {
	_, err := tx.Exec(`INSERT INTO key_event (key, entry, at, actor, what, text) VALUES ($1, $2, $3, $4, $5, $6)`,
		id, tx.Index(), store.Stamp(tx.Time()), actor, what, text)
	return err
}

// PutCopy records where a key, or a part of it, is.
func PutCopy(tx *store.Tx, c Copy) error {
	_, err := tx.Exec(`INSERT INTO key_copy (key, kind, number, holder, of, place, kcv, sealed, since) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		c.Key, c.Kind, c.Number, c.Holder, c.Of, c.Place, c.KCV, c.Sealed, store.Stamp(tx.Time()))
	return err
}

// CopyGone records that a copy was destroyed, and forgets what was sealed.
func CopyGone(tx *store.Tx, c Copy) error {
	if err := one(tx.Exec(`UPDATE key_copy SET gone = $1, sealed = NULL WHERE key = $2 AND kind = $3 AND number = $4 AND holder = $5 AND place = $6 AND gone = ''`,
		store.Stamp(tx.Time()), c.Key, c.Kind, c.Number, c.Holder, c.Place)); err != nil {
		return fmt.Errorf("copy %s of key %s is not there, or is gone already: %w", c.Name(), c.Key, err)
	}
	return nil
}

// Shared records that a partner has a key too: it is told when the key is
// compromised, and its copy has to go before the key is destroyed.
func Shared(tx *store.Tx, id, partner, place string) error {
	return errors.Join(PutLink(tx, id, "partner/"+partner, 0), PutCopy(tx, Copy{Key: id, Kind: CopyPartner, Holder: partner, Place: place}))
}

// PutLink records that a key touched something, so many times more. A partner
// of whom that is heard after the key's compromise is to be told of it all the
// same.
func PutLink(tx *store.Tx, id, what string, uses int64) error {
	_, err := tx.Exec(`INSERT INTO key_link (key, what, since, uses) VALUES ($1, $2, $3, $4)
		ON CONFLICT (key, what) DO UPDATE SET uses = key_link.uses + excluded.uses`, id, what, store.Stamp(tx.Time()), uses)
	if partner, ok := strings.CutPrefix(what, "partner/"); ok && err == nil {
		_, err = tx.Exec(`INSERT INTO compromise_party (key, party) SELECT key, $1 FROM compromise WHERE key = $2 ON CONFLICT DO NOTHING`, partner, id)
	}
	return err
}

// transitions are the roads that people take a key from state to state. What
// the module does to it is in Guard.
func transitions() map[State][]State {
	return map[State][]State{
		PreActivation: {Live, Compromised, Destroyed, Suspended},
		Live:          {Suspended, Deactivated, Compromised, Destroyed},
		Suspended:     {Live, Deactivated, Compromised, Destroyed},
		Deactivated:   {Compromised, Destroyed},
		Compromised:   {Destroyed},
	}
}

// Move takes a key from one of its states to another, in the change that makes
// it so, and writes the line into its life. ErrState if no road leads there. A
// key goes back into use no further than it was: one that nobody confirmed
// waits for that again, and one that was deactivated before the module lost it
// stays so.
func (r *Register) Move(tx *store.Tx, id string, to State, actor, what, text string) error {
	var from State
	var purpose, activated, ended string
	err := tx.QueryRow(`SELECT state, purpose, activated, ended FROM key WHERE id = $1`, id).Scan(&from, &purpose, &activated, &ended)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("key %q: %w", id, ErrNoKey)
	}
	if err != nil {
		return err
	}
	if !slices.Contains(transitions()[from], to) {
		return fmt.Errorf("key %s: %w: it is %s, and cannot become %s", id, ErrState, from, to)
	}
	switch {
	case to == Live && from == Suspended && activated == "":
		to = PreActivation
	case to == Live && from == PreActivation && ended != "":
		to = Deactivated
	}
	now := store.Stamp(tx.Time())
	_, err = tx.Exec(`UPDATE key SET state = $1 WHERE id = $2`, to, id)
	if err == nil && to == Live {
		err = r.activate(tx, id, purpose)
	}
	if err == nil && (to == Deactivated || to == Compromised || to == Destroyed) {
		_, err = tx.Exec(`UPDATE key SET ended = $1 WHERE id = $2 AND (ended = '' OR $3 = 'destroyed')`, now, id, to)
	}
	if err != nil {
		return err
	}
	return Happened(tx, id, actor, what, text)
}

// activate begins a key's cryptoperiod, unless it has begun.
func (r *Register) activate(tx *store.Tx, id, purpose string) error {
	var doc []byte
	if err := tx.QueryRow(`SELECT document FROM policy ORDER BY version DESC LIMIT 1`).Scan(&doc); err != nil {
		return err
	}
	p, err := access.DecodePolicy(doc)
	if err != nil {
		return err
	}
	expires := ""
	if days := p.Keys[purpose].Cryptoperiod; days > 0 {
		expires = store.Stamp(tx.Time().AddDate(0, 0, days))
	}
	_, err = tx.Exec(`UPDATE key SET activated = $1, expires = $2 WHERE id = $3 AND activated = ''`, store.Stamp(tx.Time()), expires, id)
	return err
}

// Allowed refuses a key of this name and of an algorithm that the policy does not
// take for the purpose (SOP 6.4.e.i). What needs a waiver is taken under one,
// whatever the policy says of algorithms.
func (r *Register) Allowed(ctx context.Context, id string, p hsm.Purpose, a hsm.Algorithm) error {
	policy, err := r.people.Policy(ctx)
	if err != nil {
		return err
	}
	rule, ok := policy.Keys[string(p)]
	if !ok {
		return fmt.Errorf("a key for %q: %w: the policy has no rule for such keys", p, act.ErrNotAllowed)
	}
	if a.NeedsWaiver() {
		return r.Waived(ctx, id, a)
	}
	if !slices.Contains(rule.Algorithms, string(a)) {
		return fmt.Errorf("a key for %q: %w: it is %s, the policy takes %s (SOP 6.4.e.i)", p, act.ErrNotAllowed, a, strings.Join(rule.Algorithms, " or "))
	}
	return nil
}

// enter writes into a key's life, and into the log, what the site did by itself,
// and in which module.
func (r *Register) enter(ctx context.Context, kind string, k hsm.Key, text string, fn func(*store.Tx) error, in ...hsm.Info) error {
	e := audit.Entry{Kind: kind, Actor: "system:keys", Subject: "key/" + k.ID,
		Data: map[string]any{"purpose": string(k.Purpose), "algorithm": string(k.Algorithm), "kcv": k.KCV.String(), "text": text}}
	for _, m := range in {
		e.Data["module"], e.Data["serial"], e.Data["firmware"] = m.Model, m.Serial, m.Firmware
	}
	return r.store.Change(ctx, e, func(tx *store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return Happened(tx, k.ID, "system:keys", kind, text)
	})
}
