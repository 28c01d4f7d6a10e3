package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"
)

// A Querier is asked for rows: a change (Tx), a view of one state (ReadTx), or
// what is committed at each question (Store.Committed).
type Querier interface {
	Query(query string, args ...any) (*sql.Rows, error)
	QueryRow(query string, args ...any) *sql.Row
}

// Committed is the database as it is committed when it is asked. Two questions
// may see two states; View sees one.
func (s *Store) Committed(ctx context.Context) Querier { return committed{ctx, s} }

type committed struct {
	ctx   context.Context
	store *Store
}

func (c committed) Query(query string, args ...any) (*sql.Rows, error) {
	return c.store.Query(c.ctx, query, args...)
}

func (c committed) QueryRow(query string, args ...any) *sql.Row {
	return c.store.QueryRow(c.ctx, query, args...)
}

// Collect asks for rows and has scan read each. No rows are an empty list and
// not nil, because programs are sent it as JSON.
func Collect[T any](q Querier, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := []T{}
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// Column scans rows of one column.
func Column[T any](rows *sql.Rows) (v T, err error) {
	err = rows.Scan(&v)
	return v, err
}

// Document scans rows of one column that holds JSON.
func Document[T any](rows *sql.Rows) (v T, err error) {
	var doc []byte
	if err = rows.Scan(&doc); err == nil {
		err = json.Unmarshal(doc, &v)
	}
	return v, err
}

// Stamp is a time as text, in UTC and whole seconds.
func Stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// ParseStamp reads what Stamp wrote; the zero time if that is nothing.
func ParseStamp(s string) (t time.Time, err error) {
	if s != "" {
		t, err = time.Parse(time.RFC3339, s)
	}
	return t, err
}
