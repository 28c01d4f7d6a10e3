// Package access knows the people of a site, their roles and passkeys, the
// policy in force, and who is signed in.
package access

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/passkey"
	"ankan/store"
)

//go:embed migrations
var migrations embed.FS

// Schema is the tables that this package owns.
func Schema() store.Schema { return store.Embedded("access", migrations) }

// Errors that callers branch on.
var (
	ErrFounded  = errors.New("the site is founded already")
	ErrNoPerson = errors.New("no such person")
	ErrNoDraft  = errors.New("no such draft")
)

// The states of a person.
const (
	Active    = "active"
	Suspended = "suspended" // by an act
	Locked    = "locked"    // by themselves, or by the site: a cloned passkey
	Left      = "left"
)

// A View reads people and policy: as they are committed, or as a change sees
// them.
type View struct {
	db  func(context.Context) store.Querier
	now func() time.Time
}

// of gives a view what it reads, whatever the context.
func of(q store.Querier) func(context.Context) store.Querier {
	return func(context.Context) store.Querier { return q }
}

// In is the directory as a change sees it. What a change decides about people
// it must read here: others may stand before it in the same commit.
func In(tx *store.Tx) View { return View{of(tx), tx.Time} }

// At is the directory as one view of the store sees it.
func (d *Directory) At(tx *store.ReadTx) View { return View{of(tx), d.now} }

// A Directory is the people and the policy of one site.
type Directory struct {
	View
	store *store.Store
	hash  hasher
}

// New is the directory kept in s.
func New(s *store.Store) *Directory { return &Directory{View{s.Committed, s.Now}, s, newHasher()} }

// A Founding is what a site begins with: what its people signed, and what they
// sign in with, which the log does not hold. Who has no password signs in with
// a client certificate, or not at all before they are enrolled again.
type Founding struct {
	act.Founding
	Passwords map[string]Password // by person number
}

// Found records the first policy and the first people of a site, once, as all
// of them signed it.
func (d *Directory) Found(ctx context.Context, f Founding) error {
	if err := f.Check(d.store.Now()); err != nil {
		return err
	}
	for id, p := range f.Passwords {
		if p.phc == nil || !slices.ContainsFunc(f.People, func(who act.Person) bool { return who.ID == id }) {
			return fmt.Errorf("founding: the password of person %q is empty, or of nobody who signed", id)
		}
	}
	data, err := audit.DataOf(act.FoundingEntry{Founding: f.Founding})
	if err != nil {
		return err
	}
	e := audit.Entry{Kind: act.SiteFounded, Actor: "system:founding", Subject: "site", Data: data}
	return d.store.Change(ctx, e, func(tx *store.Tx) error {
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM policy`).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return ErrFounded
		}
		if err := insert(tx, `INSERT INTO policy (version, document) VALUES ($1, $2)`, f.Policy, f.Policy.Version); err != nil {
			return err
		}
		for _, who := range f.People {
			if err := insert(tx, `INSERT INTO person (id, document) VALUES ($1, $2)`, who, who.ID); err != nil {
				return err
			}
			p, ok := f.Passwords[who.ID]
			if !ok {
				continue
			}
			if _, err := tx.Exec(`UPDATE person SET password = $1 WHERE id = $2`, p.phc(), who.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

func insert(tx *store.Tx, query string, document any, key any) error {
	doc, err := json.Marshal(document)
	if err != nil {
		return err
	}
	_, err = tx.Exec(query, key, doc)
	return err
}

// Policy is the policy in force.
func (v View) Policy(ctx context.Context) (act.Policy, error) {
	var p act.Policy
	err := scan(v.db(ctx).QueryRow(`SELECT document FROM policy ORDER BY version DESC LIMIT 1`), &p)
	if errors.Is(err, sql.ErrNoRows) {
		return p, errors.New("the site has no policy yet; found it: ankan site init")
	}
	return p, err
}

// Policies are all versions of the policy, oldest first.
func (v View) Policies(ctx context.Context) ([]act.Policy, error) {
	return store.Collect(v.db(ctx), store.Document[act.Policy], `SELECT document FROM policy ORDER BY version`)
}

// Person is one person who may act; ErrNoPerson if there is none, or if the
// person is suspended, locked or has left.
func (v View) Person(ctx context.Context, id string) (act.Person, error) {
	m, err := v.Member(ctx, id)
	if err == nil && m.State != Active {
		err = fmt.Errorf("person %q is %s: %w", id, m.State, ErrNoPerson)
	}
	return m.Person, err
}

// People is everybody who may act, in order of their numbers.
func (v View) People(ctx context.Context) ([]act.Person, error) {
	return store.Collect(v.db(ctx), store.Document[act.Person], `SELECT document FROM person WHERE state = 'active' ORDER BY id`)
}

// A Member is a person with the state that their record is in.
type Member struct {
	act.Person
	State       string `json:"state"`
	HasPassword bool   `json:"has_password"`
	Counter     uint32 `json:"counter"` // of the passkey, at its last use
}

// Member is one person, whatever the state; ErrNoPerson if there never was one.
func (v View) Member(ctx context.Context, id string) (Member, error) {
	all, err := v.members(ctx, `WHERE id = $1`, id)
	if err != nil {
		return Member{}, err
	}
	if len(all) == 0 {
		return Member{}, fmt.Errorf("person %q: %w", id, ErrNoPerson)
	}
	return all[0], nil
}

// Members is everybody who ever was enrolled, in order of their numbers.
func (v View) Members(ctx context.Context) ([]Member, error) {
	return v.members(ctx, `ORDER BY id`)
}

func (v View) members(ctx context.Context, where string, args ...any) ([]Member, error) {
	return store.Collect(v.db(ctx), func(rows *sql.Rows) (m Member, err error) {
		var doc []byte
		if err = rows.Scan(&doc, &m.State, &m.HasPassword, &m.Counter); err == nil {
			err = json.Unmarshal(doc, &m.Person)
		}
		return m, err
	}, `SELECT document, state, password <> '', counter FROM person `+where, args...)
}

// ErrCloned is wrapped where a passkey's counter went back.
var ErrCloned = passkey.ErrCloned

// Counted keeps the counter of a person's passkey at its use, in the change
// that the passkey signed. An error wraps ErrCloned; then Lock the person.
func (d *Directory) Counted(tx *store.Tx, person string, counter uint32) error {
	var last int64
	if err := tx.QueryRow(`SELECT counter FROM person WHERE id = $1`, person).Scan(&last); err != nil {
		return err
	}
	if err := passkey.CheckCounter(uint32(last), counter); err != nil {
		return fmt.Errorf("person %s: %w", person, err)
	}
	_, err := tx.Exec(`UPDATE person SET counter = $1 WHERE id = $2`, int64(counter), person)
	return err
}

// Lock takes a person's access away at once, by what the site saw or because
// they asked for it. Only enrolling again gives it back.
func (d *Directory) Lock(ctx context.Context, person, why string) error {
	data, err := audit.DataOf(act.LockEntry{Person: person, Why: why})
	if err != nil {
		return err
	}
	e := audit.Entry{Kind: act.PersonLocked, Actor: "system:access", Subject: "person/" + person, Data: data}
	return d.store.Change(ctx, e, func(tx *store.Tx) error { return setState(tx, person, Locked) })
}

func setState(tx *store.Tx, person, state string) error {
	res, err := tx.Exec(`UPDATE person SET state = $1 WHERE id = $2 AND state <> 'left'`, state, person)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(fmt.Errorf("person %q: %w", person, ErrNoPerson), err)
	}
	return nil
}

// Records are the trainings or statements that are on record, oldest first; of
// one person, or of everybody if person is "".
func (v View) Records(ctx context.Context, kind, person string) ([]act.Record, error) {
	return store.Collect(v.db(ctx), func(rows *sql.Rows) (r act.Record, err error) {
		var at, until string
		if err = rows.Scan(&r.Person, &r.What, &at, &until); err == nil {
			r.At, err = time.Parse(time.RFC3339, at)
		}
		if err == nil {
			r.Until, err = time.Parse(time.RFC3339, until)
		}
		return r, err
	}, `SELECT person, what, at, until FROM record WHERE kind = $1 AND ($2 = '' OR person = $2) ORDER BY at, person, what`, kind, person)
}

// The kinds of records.
const (
	Training  = "training"
	Statement = "statement"
)

// PutRecord keeps a training or a statement that an act records.
func (d *Directory) PutRecord(tx *store.Tx, kind string, r act.Record, actID string) error {
	_, err := tx.Exec(`INSERT INTO record (kind, person, what, at, until, act) VALUES ($1, $2, $3, $4, $5, $6)`,
		kind, r.Person, r.What, r.At.UTC().Format(time.RFC3339), r.Until.UTC().Format(time.RFC3339), actID)
	return err
}

// Fit refuses a person who may not act in a role now: not enrolled, without
// the role, or without what the policy asks of it.
func (v View) Fit(ctx context.Context, person, role string) (act.Person, error) {
	who, err := v.Person(ctx, person)
	if err != nil {
		return who, err
	}
	p, err := v.Policy(ctx)
	if err != nil {
		return who, err
	}
	training, err := v.Records(ctx, Training, person)
	if err != nil {
		return who, err
	}
	statements, err := v.Records(ctx, Statement, person)
	if err != nil {
		return who, err
	}
	return who, p.Fit(who, role, training, statements, v.now())
}

// Holders are the people who hold a role, in order of their numbers.
func (v View) Holders(ctx context.Context, roles ...string) ([]act.Person, error) {
	all, err := v.People(ctx)
	return slices.DeleteFunc(all, func(p act.Person) bool { return !p.Has(roles...) }), err
}

func scan(row interface{ Scan(...any) error }, v any) error {
	var doc []byte
	if err := row.Scan(&doc); err != nil {
		return err
	}
	return json.Unmarshal(doc, v)
}
