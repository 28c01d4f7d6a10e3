package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"ankan/audit"
)

// A Tx is a change under way. It ends when the function of Change returns; its
// zero value refuses. It is for that function's goroutine alone.
type Tx struct {
	w       *writer
	time    time.Time
	index   int64
	entries []audit.Entry // the change's own, then those of Append
	err     error         // the first misuse; it fails the change
	failed  error         // of the first statement that failed
	over    bool
	apart   bool // index and time are not known yet
}

var errOver = errors.New("the transaction is over")

// errApart means that a change apart was asked where it stands in the log.
var errApart = errors.New("a change apart knows its time and its index in the log only at its end")

// Time is when the change happens: the time of all its entries.
func (tx *Tx) Time() time.Time {
	if tx.apart {
		tx.err = errors.Join(tx.err, errApart)
		return time.Time{}
	}
	return tx.time
}

// Index is the place in the log that the change's own entry takes if it
// commits; entries of Append follow it.
func (tx *Tx) Index() int64 {
	if tx.apart {
		tx.err = errors.Join(tx.err, errApart)
		return -1
	}
	return tx.index
}

// Note adds to the change's own entry. A key that is there already fails the change.
func (tx *Tx) Note(key string, value any) {
	if tx.over || len(tx.entries) == 0 {
		return
	}
	e := &tx.entries[0]
	if _, ok := e.Data[key]; ok {
		tx.err = errors.Join(tx.err, fmt.Errorf("entry %s has %q twice", e.Kind, key))
		return
	}
	m := maps.Clone(e.Data) // the map is the caller's
	if m == nil {
		m = map[string]any{}
	}
	m[key] = value
	e.Data = m
}

// Append adds an entry after the change's own. The entry's time is the change's.
func (tx *Tx) Append(e audit.Entry) error {
	if tx.over || tx.w == nil {
		return errOver
	}
	if e.Time = tx.time; e.Time.IsZero() {
		e.Time = time.Unix(0, 0).UTC() // until it is known
	}
	if _, err := e.Leaf(); err != nil {
		return err
	}
	tx.entries = append(tx.entries, e)
	return nil
}

// Exec runs one statement that returns no rows.
func (tx *Tx) Exec(query string, args ...any) (sql.Result, error) {
	if err := tx.check(query); err != nil {
		return nil, err
	}
	res, err := tx.w.exec(query, args...)
	return res, tx.ran(err)
}

// ran keeps the error of a statement. A change in which one failed cannot go
// on: PostgreSQL runs no other after it, and SQLite is held to the same.
func (tx *Tx) ran(err error) error {
	if err != nil && tx.failed == nil {
		tx.failed = err
	}
	return err
}

// misused is why a change whose function returned nil is not committed after
// all, if it is not.
func (tx *Tx) misused() error {
	if tx.err == nil && tx.failed != nil {
		return fmt.Errorf("a statement of the change failed, and the change went on: %w", tx.failed)
	}
	return tx.err
}

// Query runs one statement that returns rows. They must be closed before the
// function of Change returns.
func (tx *Tx) Query(query string, args ...any) (*sql.Rows, error) {
	if err := tx.check(query); err != nil {
		return nil, err
	}
	// Not a kept statement: it could stand in the middle of rows that an outer
	// loop is still reading.
	rows, err := tx.w.conn.QueryContext(context.Background(), query, args...)
	return rows, tx.ran(err)
}

// QueryRow runs one statement that returns at most one row. Scan it before the
// same query is asked again.
func (tx *Tx) QueryRow(query string, args ...any) *sql.Row {
	if err := tx.check(query); err != nil {
		return refused(err)
	}
	row := tx.w.queryRow(query, args...)
	_ = tx.ran(row.Err())
	return row
}

func (tx *Tx) check(query string) error {
	if tx.over || tx.w == nil {
		return errOver
	}
	if tx.w.checked[query] {
		return nil
	}
	err := checkStatement(query)
	if err == nil && len(tx.w.checked) < maxKept {
		tx.w.checked[query] = true
	}
	return err
}

// checkStatement refuses what would break the promise that a write and its
// entry commit together: ending the transaction, a second statement hidden
// behind the first, writing into the log, changing tables or settings.
func checkStatement(query string) error {
	switch firstWord(query) {
	case "SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE", "REPLACE":
	default:
		return fmt.Errorf("statement begins with %.20q, want SELECT, INSERT, UPDATE, DELETE or WITH", firstWord(query))
	}
	if err := oneStatement(query); err != nil {
		return err
	}
	if table, ok := ownTable(query); ok {
		return fmt.Errorf("statement names the table %s, which is the store's own", table)
	}
	return nil
}

// ownTable finds the name of one of the store's tables: log_... or schema_...
func ownTable(query string) (string, bool) {
	notName := func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
	}
	for _, name := range strings.FieldsFunc(strings.ToLower(query), notName) {
		if strings.HasPrefix(name, "log_") || strings.HasPrefix(name, "schema_") {
			return name, true
		}
	}
	return "", false
}

// checkReading refuses what is not a question.
func checkReading(query string) error {
	switch firstWord(query) {
	case "SELECT", "WITH", "VALUES":
		return oneStatement(query)
	}
	return fmt.Errorf("query begins with %.20q, want SELECT, WITH or VALUES", firstWord(query))
}

func firstWord(query string) string {
	if f := strings.Fields(query); len(f) > 0 {
		return strings.ToUpper(f[0])
	}
	return ""
}

func oneStatement(query string) error {
	if strings.Contains(strings.TrimRight(query, "; \t\r\n"), ";") {
		return errors.New("statement has a semicolon in it, want one statement and values as arguments")
	}
	return nil
}

// A ReadTx is a consistent view of the database.
type ReadTx struct {
	ctx context.Context
	tx  *sql.Tx
}

// Query runs a statement that returns rows.
func (tx *ReadTx) Query(query string, args ...any) (*sql.Rows, error) {
	if tx.tx == nil {
		return nil, errOver
	}
	if err := checkReading(query); err != nil {
		return nil, err
	}
	return tx.tx.QueryContext(tx.ctx, query, args...)
}

// QueryRow runs a statement that returns at most one row.
func (tx *ReadTx) QueryRow(query string, args ...any) *sql.Row {
	if tx.tx == nil {
		return refused(errOver)
	}
	if err := checkReading(query); err != nil {
		return refused(err)
	}
	return tx.tx.QueryRowContext(tx.ctx, query, args...)
}
