package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"
)

// maxKept bounds the statements kept prepared. More than this are queries
// built from values; those are prepared each time.
const maxKept = 500

// A writer is the one handle that writes. What it runs takes no context: a
// statement that is interrupted makes SQLite roll back the whole transaction,
// and with it the changes of others in the group.
type writer struct {
	conn *sql.Conn
	kept map[string]*sql.Stmt // nil when the driver keeps them itself

	// checked holds queries of changes that checkStatement has let pass. It is
	// not kept, in which the store's own statements are too.
	checked map[string]bool

	// commit ends the transaction; a field so that tests can let it fail in
	// both ways.
	commit func() error
}

func newWriter(conn *sql.Conn, keep bool) *writer {
	w := &writer{conn: conn, checked: map[string]bool{}}
	if keep {
		w.kept = map[string]*sql.Stmt{}
	}
	w.commit = func() error {
		_, err := w.exec("COMMIT")
		return err
	}
	return w
}

// statement returns query prepared, or nil when it is not kept.
func (w *writer) statement(query string) (*sql.Stmt, error) {
	if st, ok := w.kept[query]; ok || w.kept == nil || len(w.kept) >= maxKept {
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

// entries writes leaves into the log, from the index from on.
func (w *writer) entries(from int64, leaves [][]byte) error {
	if w.kept == nil { // a server: one question for all
		at := make([]int64, len(leaves))
		for i := range at {
			at[i] = from + int64(i)
		}
		_, err := w.exec("INSERT INTO log_entry (idx, leaf) SELECT * FROM unnest($1::bigint[], $2::bytea[])", at, leaves)
		return err
	}
	for i, leaf := range leaves {
		if _, err := w.exec("INSERT INTO log_entry (idx, leaf) VALUES ($1, $2)", from+int64(i), leaf); err != nil {
			return err
		}
	}
	return nil
}

// Query is for what is read inside a transaction by the store itself.
func (w *writer) Query(query string, args ...any) (*sql.Rows, error) {
	return w.conn.QueryContext(context.Background(), query, args...)
}

// QueryRow asks for at most one row.
func (w *writer) QueryRow(query string, args ...any) *sql.Row { return w.queryRow(query, args...) }

// do runs statements that have neither arguments nor results, until one fails.
func (w *writer) do(statements ...string) error {
	if w.kept == nil { // a server: one question for all
		statements = []string{strings.Join(statements, "; ")}
	}
	for _, q := range statements {
		if _, err := w.exec(q); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) close() {
	for _, st := range w.kept {
		st.Close()
	}
	discard(w.conn)
}

// discard closes a connection for good, and on a server with it the locks of
// its session.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = conn.Close()
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
