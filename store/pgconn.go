package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"
)

// A pgConnector makes connections that do what those of SQLite do: a statement
// may be run while the rows of another are being read, and a truth value is a
// number.
type pgConnector struct{ driver.Connector }

func (c pgConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &pgConn{Conn: conn.(*stdlib.Conn), known: map[string]*pgconn.StatementDescription{}}, nil
}

type pgConn struct {
	*stdlib.Conn
	open *pgRows // that is being read from the connection
	// known are queries with text among their arguments, as the database
	// describes them.
	known map[string]*pgconn.StatementDescription
}

func (c *pgConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if err := c.drain(); err != nil {
		return nil, err
	}
	tx, err := c.Conn.BeginTx(ctx, opts)
	if err != nil {
		return nil, away(err)
	}
	return &pgTx{tx, c}, nil
}

// A pgTx ends a transaction when nothing is being read any more.
type pgTx struct {
	driver.Tx
	conn *pgConn
}

func (tx *pgTx) Commit() error {
	if err := tx.conn.drain(); err != nil {
		return err
	}
	return tx.Tx.Commit()
}

func (tx *pgTx) Rollback() error {
	_ = tx.conn.drain() // what is read there no longer counts
	return tx.Tx.Rollback()
}

func (c *pgConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.ready(ctx, query, args); err != nil {
		return nil, err
	}
	res, err := c.Conn.ExecContext(ctx, query, args)
	return res, away(err)
}

func (c *pgConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.ready(ctx, query, args); err != nil {
		return nil, err
	}
	rows, err := c.Conn.QueryContext(ctx, query, args)
	if err != nil {
		return nil, away(err)
	}
	c.open = &pgRows{rows: rows, conn: c}
	return c.open, nil
}

// ready makes the connection free for a query. It makes numbers of truth values,
// as SQLite has them, and refuses text for a column of bytes: PostgreSQL would
// read backslashes in it.
func (c *pgConn) ready(ctx context.Context, query string, args []driver.NamedValue) error {
	if err := c.drain(); err != nil {
		return err
	}
	kind := func(v driver.NamedValue) reflect.Kind { return reflect.ValueOf(v.Value).Kind() }
	look := slices.ContainsFunc(args, func(v driver.NamedValue) bool { return kind(v) == reflect.String || kind(v) == reflect.Bool })
	if !look || c.Conn.Conn().IsClosed() {
		return nil
	}
	st, ok := c.known[query]
	if !ok && len(c.known) < maxKept {
		var err error
		if st, err = c.Conn.Conn().Prepare(ctx, query, query); err != nil {
			return away(err)
		}
		c.known[query] = st
	}
	if st == nil {
		return nil
	}
	for i := range min(len(args), len(st.ParamOIDs)) {
		switch oid := st.ParamOIDs[i]; kind(args[i]) {
		case reflect.String:
			if oid == pgtype.ByteaOID {
				return fmt.Errorf("argument $%d of %.40q is text, want bytes", i+1, query)
			}
		case reflect.Bool:
			if oid == pgtype.Int8OID || oid == pgtype.Int4OID {
				n := int64(0)
				if reflect.ValueOf(args[i].Value).Bool() {
					n = 1
				}
				args[i].Value = n
			}
		}
	}
	return nil
}

func (c *pgConn) drain() error {
	if c.open == nil {
		return nil
	}
	return c.open.drain()
}

// pgRows are read from the connection one by one, until that is wanted for
// something else: then what is left is read into memory.
type pgRows struct {
	rows    driver.Rows
	conn    *pgConn
	drained bool
	rest    [][]driver.Value
	err     error
}

func (r *pgRows) Columns() []string { return r.rows.Columns() }

func (r *pgRows) drain() error {
	columns := len(r.Columns())
	for {
		row := make([]driver.Value, columns)
		if r.err = r.next(row); r.err != nil {
			break
		}
		r.rest = append(r.rest, row)
	}
	r.drained = true
	r.conn.open = nil
	_ = r.rows.Close() // its error is Next's
	if r.err != io.EOF {
		return r.err
	}
	return nil
}

// next reads a row from the connection.
func (r *pgRows) next(row []driver.Value) error {
	err := r.rows.Next(row)
	if err == nil || err == io.EOF {
		return err
	}
	return away(err)
}

// away has an error say that the way to the database was lost, if it was: in the
// middle of an answer there is no other sign of it.
func away(err error) error {
	if lostServer(err) && !errors.Is(err, ErrAway) {
		return fmt.Errorf("%w: %w", ErrAway, err)
	}
	return err
}

func (r *pgRows) Next(dest []driver.Value) error {
	if !r.drained {
		return r.next(dest)
	}
	if len(r.rest) == 0 {
		return r.err
	}
	copy(dest, r.rest[0])
	r.rest = r.rest[1:]
	return nil
}

func (r *pgRows) Close() error {
	if r.drained {
		return nil
	}
	if r.conn.open == r {
		r.conn.open = nil
	}
	return r.rows.Close()
}

// pgxConn is the connection below that of package sql.
func pgxConn(dc any) *pgx.Conn { return dc.(*pgConn).Conn.Conn() }
