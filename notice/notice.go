// Package notice tells people what happened that is their business: what waits
// for their signature, what became of what they asked for, who came and left.
// A notice is written in the change that it tells of, so that none is lost and
// none tells of what did not happen.
package notice

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"time"

	"ankan/access"
	"ankan/audit"
	"ankan/store"
)

//go:embed migrations
var migrations embed.FS

// Schema is the tables that this package owns.
func Schema() store.Schema { return store.Embedded("notice", migrations) }

// A Notice is one thing told to one person.
type Notice struct {
	ID      int64     `json:"id"`
	Person  string    `json:"person"`
	Kind    string    `json:"kind"`    // "act.waits"
	Subject string    `json:"subject"` // what it is about
	Text    string    `json:"text"`    // English; holds no secret
	Link    string    `json:"link"`    // path in the console, such as /acts/ID
	At      time.Time `json:"at"`
	Read    time.Time `json:"read,omitzero"`
}

// Tell writes the same notice to each of these people, in the change that it
// tells of.
func Tell(tx *store.Tx, people []string, n Notice) error {
	at := tx.Time().UTC().Format(time.RFC3339Nano)
	people = slices.Clone(people)
	slices.Sort(people)
	for _, person := range slices.Compact(people) {
		_, err := tx.Exec(`INSERT INTO notice (person, kind, subject, text, link, at) VALUES ($1, $2, $3, $4, $5, $6)`,
			person, n.Kind, n.Subject, n.Text, n.Link, at)
		if err != nil {
			return err
		}
	}
	return nil
}

// TellHolders writes a notice to everybody who holds one of these roles, in the
// change that it tells of.
func TellHolders(ctx context.Context, tx *store.Tx, n Notice, roles ...string) error {
	people, err := access.In(tx).Holders(ctx, roles...)
	if err != nil {
		return err
	}
	var ids []string
	for _, who := range people {
		ids = append(ids, who.ID)
	}
	return Tell(tx, ids, n)
}

// contact marks who is told and is nobody of the site: whom a contract names.
const contact = "contact:"

// TellContacts writes a notice to addresses outside of the site, in the change
// that it tells of: mail addresses get it as mail, and a webhook gets all. They
// have no console, so that it has no link.
func TellContacts(tx *store.Tx, addresses []string, n Notice) error {
	n.Link = ""
	var all []string
	for _, a := range addresses {
		all = append(all, contact+a)
	}
	return Tell(tx, all, n)
}

// contactMail is the mail address of a contact, if it has one.
func contactMail(person string) (address string, is, ok bool) {
	if address, is = strings.CutPrefix(person, contact); !is {
		return "", false, false
	}
	a, err := mail.ParseAddress(address)
	return address, true, err == nil && a.Address == address
}

// A Board is what was told at one site.
type Board struct {
	store *store.Store
	round sync.Mutex // of Deliver
}

// New is the board kept in s.
func New(s *store.Store) *Board { return &Board{store: s} }

// For is what was told to a person, newest first, at most n; only what is
// unread if unread is set.
func (b *Board) For(ctx context.Context, person string, unread bool, n int) ([]Notice, error) {
	return b.query(ctx, `SELECT id, person, kind, subject, text, link, at, read FROM notice
		WHERE person = $1 AND ($2 = 0 OR read = '') ORDER BY id DESC LIMIT $3`, person, unread, n)
}

// Unread counts what a person has not read.
func (b *Board) Unread(ctx context.Context, person string) (n int, err error) {
	err = b.store.QueryRow(ctx, `SELECT count(*) FROM notice WHERE person = $1 AND read = ''`, person).Scan(&n)
	return n, err
}

// Read marks all that a person was told up to a notice as read: that they
// looked is in the log.
func (b *Board) Read(ctx context.Context, person string, upTo int64) error {
	e := audit.Entry{Kind: "notice.read", Actor: "person/" + person, Subject: "notices", Data: map[string]any{"up_to": upTo}}
	return b.store.Change(ctx, e, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE notice SET read = $1 WHERE person = $2 AND id <= $3 AND read = ''`, tx.Time().UTC().Format(time.RFC3339Nano), person, upTo)
		return err
	})
}

func (b *Board) query(ctx context.Context, q string, args ...any) ([]Notice, error) {
	return store.Collect(b.store.Committed(ctx), func(rows *sql.Rows) (n Notice, err error) {
		var at, read string
		if err = rows.Scan(&n.ID, &n.Person, &n.Kind, &n.Subject, &n.Text, &n.Link, &at, &read); err != nil {
			return n, err
		}
		if n.At, err = time.Parse(time.RFC3339Nano, at); err == nil && read != "" {
			n.Read, err = time.Parse(time.RFC3339Nano, read)
		}
		if err != nil {
			err = fmt.Errorf("notice %d: %w", n.ID, err)
		}
		return n, err
	}, q, args...)
}
