package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
)

// maxKept bounds the statements kept prepared. More than this are queries
// built from values; those are prepared each time.
const maxKept = 500

// A writer is the one handle that writes. What it runs takes no context: a
// statement that is interrupted makes SQLite roll back the whole transaction,
// and with it the changes of others in the group.
type writer struct {
	db   *sql.DB
	conn *sql.Conn
	kept map[string]*sql.Stmt

	// checked holds queries of changes that checkStatement has let pass. It is
	// not kept, in which the store's own statements are too.
	checked map[string]bool

	// commit ends the transaction; a field so that tests can let it fail in
	// both ways.
	commit func() error
}

func newWriter(ctx context.Context, db *sql.DB) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{db: db, conn: conn, kept: map[string]*sql.Stmt{}, checked: map[string]bool{}}
	w.commit = func() error {
		_, err := w.exec("COMMIT")
		return err
	}
	return w, nil
}

// statement returns query prepared, or nil when there are too many.
func (w *writer) statement(query string) (*sql.Stmt, error) {
	if st, ok := w.kept[query]; ok || len(w.kept) >= maxKept {
		return st, nil
	}
	st, err := w.conn.PrepareContext(context.Background(), query)
	if err == nil {
		w.kept[query] = st
	}
	return st, err
}

func (w *writer) exec(query string, args ...any) (sql.Result, error) {
	st, err := w.statement(query)
	if err != nil {
		return nil, err
	}
	if st == nil {
		return w.conn.ExecContext(context.Background(), query, args...)
	}
	return st.Exec(args...)
}

func (w *writer) queryRow(query string, args ...any) *sql.Row {
	st, err := w.statement(query)
	if err != nil {
		return refused(err)
	}
	if st == nil {
		return w.conn.QueryRowContext(context.Background(), query, args...)
	}
	return st.QueryRow(args...)
}

// do runs statements that have neither arguments nor results, until one fails.
func (w *writer) do(statements ...string) error {
	for _, q := range statements {
		if _, err := w.exec(q); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) close() error {
	for _, st := range w.kept {
		st.Close()
	}
	if w.conn != nil {
		w.conn.Close()
	}
	return w.db.Close()
}

// refused is a row that holds an error: package sql makes one only of a
// connection that cannot be had.
func refused(err error) *sql.Row {
	db := sql.OpenDB(noConnection{err})
	defer db.Close()
	return db.QueryRow("")
}

type noConnection struct{ err error }

func (c noConnection) Connect(context.Context) (driver.Conn, error) { return nil, c.err }
func (c noConnection) Driver() driver.Driver                        { return nil }
