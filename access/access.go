// Package access knows the people of a site, their roles and passkeys, and the
// policy in force.
package access

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"ankan/act"
	"ankan/audit"
	"ankan/document"
	"ankan/store"
)

//go:embed policy.yaml
var defaultPolicy []byte

//go:embed migrations
var migrations embed.FS

// Schema is the tables that this package owns.
func Schema() store.Schema { return store.Embedded("access", migrations) }

// DefaultPolicy is the policy that a new site starts with.
func DefaultPolicy() act.Policy {
	p, err := ParsePolicy(defaultPolicy)
	if err != nil {
		panic("access: embedded policy: " + err.Error())
	}
	return p
}

// ParsePolicy reads a policy document (YAML). Unknown keys, a second document
// and numbers that are not whole are refused.
func ParsePolicy(doc []byte) (act.Policy, error) {
	var in written
	if _, err := document.Read("policy", doc, &in); err != nil {
		return act.Policy{}, err
	}
	p, err := in.policy()
	if err == nil {
		err = p.Check()
	}
	if err != nil {
		return act.Policy{}, err
	}
	return p, nil
}

// A written policy is a policy as YAML has it. It is not act.Policy itself because
// the YAML library panics over an array that is too long, and cuts fractions off.
type written struct {
	Version   whole           `yaml:"version"`
	Roles     []string        `yaml:"roles"`
	Conflicts [][]string      `yaml:"conflicts"`
	Acts      map[string]rule `yaml:"acts"`
}

type rule struct {
	Request   []string   `yaml:"request"`
	Seats     [][]string `yaml:"seats"`
	ToApprove whole      `yaml:"to_approve"`
	ToUse     whole      `yaml:"to_use"`
	Entry     string     `yaml:"entry"`
	Clause    string     `yaml:"clause"`
}

func (d written) policy() (act.Policy, error) {
	p := act.Policy{Version: int(d.Version), Roles: d.Roles, Acts: map[string]act.Rule{}}
	for _, c := range d.Conflicts {
		if len(c) != 2 {
			return act.Policy{}, fmt.Errorf("policy: a conflict names %d roles, want 2", len(c))
		}
		p.Conflicts = append(p.Conflicts, [2]string(c))
	}
	for kind, r := range d.Acts {
		p.Acts[kind] = act.Rule{Request: r.Request, Seats: r.Seats, ToApprove: int(r.ToApprove), ToUse: int(r.ToUse), Entry: r.Entry, Clause: r.Clause}
	}
	return p, nil
}

// whole is a number without a fraction and without quotes.
type whole int32

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (w *whole) UnmarshalYAML(decode func(any) error) error {
	var v any
	if err := decode(&v); err != nil {
		return err
	}
	n, ok := v.(uint64)
	if !ok || n > math.MaxInt32 {
		return fmt.Errorf("found %v, want a whole number up to %d", v, math.MaxInt32)
	}
	*w = whole(n)
	return nil
}

// Errors that callers branch on.
var (
	ErrFounded  = errors.New("the site is founded already")
	ErrNoPerson = errors.New("no such person")
)

// A Directory is the people and the policy of one site.
type Directory struct{ store *store.Store }

// New is the directory kept in s.
func New(s *store.Store) *Directory { return &Directory{store: s} }

// Found records the first policy and the first people of a site, once. It
// takes at least two people: nobody founds a site alone.
func (d *Directory) Found(ctx context.Context, p act.Policy, people []act.Person) error {
	if len(people) < 2 {
		return fmt.Errorf("founding: %d people, want at least 2", len(people))
	}
	if err := p.Check(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, who := range people {
		if err := p.CheckPerson(who); err != nil {
			return err
		}
		// A passkey under another name is the same passkey if its key is the same.
		for _, one := range []string{"person " + who.ID, "passkey " + string(who.Credential.ID), "key " + string(who.Credential.Public)} {
			if seen[one] {
				return fmt.Errorf("founding: person %s or the passkey is there twice", who.ID)
			}
			seen[one] = true
		}
	}
	e := audit.Entry{Kind: "site.founded", Actor: "system:founding", Subject: "site", Data: map[string]any{"people": len(people)}}
	return d.store.Change(ctx, e, func(tx *store.Tx) error {
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM policy`).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return ErrFounded
		}
		if err := insert(tx, `INSERT INTO policy (version, document) VALUES ($1, $2)`, p, p.Version); err != nil {
			return err
		}
		if err := appendEntry(tx, act.PolicyAdopted, "policy", act.PolicyEntry{Policy: p}); err != nil {
			return err
		}
		for _, who := range people {
			if err := insert(tx, `INSERT INTO person (id, document) VALUES ($1, $2)`, who, who.ID); err != nil {
				return err
			}
			if err := appendEntry(tx, act.PersonEnrolled, "person/"+who.ID, act.PersonEntry{Person: who}); err != nil {
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

func appendEntry(tx *store.Tx, kind, subject string, data any) error {
	m, err := audit.DataOf(data)
	if err != nil {
		return err
	}
	return tx.Append(audit.Entry{Kind: kind, Actor: "system:founding", Subject: subject, Data: m})
}

// Policy is the policy in force.
func (d *Directory) Policy(ctx context.Context) (act.Policy, error) {
	var p act.Policy
	err := scan(d.store.QueryRow(ctx, `SELECT document FROM policy ORDER BY version DESC LIMIT 1`), &p)
	if errors.Is(err, sql.ErrNoRows) {
		return p, errors.New("the site has no policy yet; found it: ankan site init")
	}
	return p, err
}

// Person is one person; ErrNoPerson if there is none.
func (d *Directory) Person(ctx context.Context, id string) (act.Person, error) {
	var who act.Person
	err := scan(d.store.QueryRow(ctx, `SELECT document FROM person WHERE id = $1`, id), &who)
	if errors.Is(err, sql.ErrNoRows) {
		return who, fmt.Errorf("person %q: %w", id, ErrNoPerson)
	}
	return who, err
}

// People is everybody, in order of their numbers.
func (d *Directory) People(ctx context.Context) ([]act.Person, error) {
	rows, err := d.store.Query(ctx, `SELECT document FROM person ORDER BY id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []act.Person
	for rows.Next() {
		var who act.Person
		if err := scan(rows, &who); err != nil {
			return nil, err
		}
		all = append(all, who)
	}
	return all, rows.Err()
}

func scan(row interface{ Scan(...any) error }, v any) error {
	var doc []byte
	if err := row.Scan(&doc); err != nil {
		return err
	}
	return json.Unmarshal(doc, v)
}
