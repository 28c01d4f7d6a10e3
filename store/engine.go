package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

// An engine is a database: SQLite in a file, or a PostgreSQL server. The SQL of
// changes and questions is one text for both.
type engine interface {
	dialect() goose.Dialect
	// files is migrations in the database's own SQL.
	files(fs.FS) fs.FS
	// open takes the database for this process, and gives the handle for its
	// migrations and connections that write. It refuses when another process
	// holds it.
	open(ctx context.Context) (*sql.DB, error)
	// connect gives the connection that writes. It is asked again when one was
	// lost, and refuses when another process has taken the site over since.
	connect(ctx context.Context) (*writer, error)
	readers() (*sql.DB, error)
	view() *sql.TxOptions
	// begin begins a transaction before which all others are over, and gives
	// the checkpoint when another process can have written one.
	begin(w *writer) (signed []byte, err error)
	// alive says whether a connection can still be used.
	alive(w *writer) bool
	// lost says that an error is one of the way to the database, not of the
	// question: it may be asked again.
	lost(err error) bool
	// pending keeps other processes away from migrations that are due.
	pending(ctx context.Context) (done func(), err error)
	// ready is called when the tables are those of the program.
	ready(ctx context.Context) error
	// scrub does Scrub, or reports that somebody is in the way.
	scrub(ctx context.Context, s *Store) (busy bool, err error)
	// check asks whether the database is whole and its references hold.
	check(ctx context.Context, tx *sql.Tx) error
	close() error
}

// Errors of a database that is a server.
var (
	// ErrAway means that the database cannot be reached, or was lost in the
	// middle: nothing was written. The store comes back by itself.
	ErrAway = errors.New("the database is away")
	// ErrPrimary means that another process is the site's main process.
	ErrPrimary = errors.New("another process is the main process of this site")
)

// patience is how long a change or a question waits for a database that is
// away: longer than a restart takes.
const patience = 20 * time.Second

// again does do until it does not fail because the database is away, for as
// long as patience and ctx last.
func again(ctx context.Context, e engine, do func() error) error {
	until := time.Now().Add(patience)
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := do()
		if err == nil || !e.lost(err) {
			return err
		}
		if time.Now().Add(wait).After(until) {
			return away(err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(wait):
		}
	}
}
