package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// sqliteReaders is the number of reader handles. SQLite's readers share memory
// maps and do not wait for the writer; more than this only cost memory.
const sqliteReaders = 8

// sqliteFile is a database in a file, which one process holds.
type sqliteFile struct {
	path string
	lock *lockFile
	db   *sql.DB
}

func (f *sqliteFile) dialect() goose.Dialect { return goose.DialectSQLite3 }
func (f *sqliteFile) files(in fs.FS) fs.FS   { return in }
func (f *sqliteFile) view() *sql.TxOptions   { return &sql.TxOptions{ReadOnly: true} }
func (f *sqliteFile) alive(*writer) bool     { return true }
func (f *sqliteFile) lost(error) bool        { return false }

func (f *sqliteFile) ready(context.Context) error { return nil }

func (f *sqliteFile) pending(context.Context) (func(), error) { return func() {}, nil }

// open locks the file and opens the one handle that writes. synchronous(FULL)
// makes a commit wait for the disk; secure_delete overwrites what is deleted;
// temp_store keeps intermediate results out of files.
func (f *sqliteFile) open(context.Context) (_ *sql.DB, err error) {
	if f.lock, err = lock(f.path + ".lock"); err != nil {
		return nil, err
	}
	if err := createFile(f.path); err != nil {
		return nil, err
	}
	f.db, err = openSQLite(f.path, "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)",
		"secure_delete(ON)", "temp_store(MEMORY)", "wal_autocheckpoint(4000)", "cache_size(-16000)")
	if err == nil {
		f.db.SetMaxOpenConns(1)
	}
	return f.db, err
}

// createFile makes the database file readable for its owner only; SQLite gives
// its companions the same mode. A file that exists stays as it is.
func createFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func (f *sqliteFile) connect(ctx context.Context) (*writer, error) {
	conn, err := f.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return newWriter(conn, true), nil
}

func (f *sqliteFile) readers() (*sql.DB, error) {
	db, err := openSQLite(f.path, "query_only(ON)", "temp_store(MEMORY)")
	if err == nil {
		db.SetMaxOpenConns(sqliteReaders)
		db.SetMaxIdleConns(sqliteReaders)
	}
	return db, err
}

func openSQLite(path string, pragmas ...string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	q := url.Values{"_pragma": append([]string{"busy_timeout(1000)"}, pragmas...), "_defensive": {"1"}, "_dqs": {"0"}}
	return sql.Open("sqlite", (&url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}).String())
}

func (f *sqliteFile) begin(w *writer) ([]byte, error) { return nil, w.do("BEGIN IMMEDIATE") }

// scrub moves everything from the write-ahead log into the database, where
// deleted rows are overwritten, and cuts the log to nothing.
func (f *sqliteFile) scrub(ctx context.Context, s *Store) (busy bool, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.writer == nil || s.isClosed() {
		return false, ErrClosed
	}
	var blocked, frames, moved int
	if err := s.writer.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&blocked, &frames, &moved); err != nil || blocked != 0 {
		return blocked != 0, err
	}
	st, err := os.Stat(f.path + "-wal")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	if err == nil && st.Size() != 0 {
		return false, fmt.Errorf("the write-ahead log still has %d bytes", st.Size())
	}
	return false, nil
}

func (f *sqliteFile) check(ctx context.Context, tx *sql.Tx) error {
	var said string
	if err := tx.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&said); err != nil {
		return err
	}
	if said != "ok" {
		return fmt.Errorf("database file is damaged: %s", said)
	}
	rows, err := tx.QueryContext(ctx, "SELECT \"table\", parent FROM pragma_foreign_key_check LIMIT 1")
	if err != nil {
		return err
	}
	defer rows.Close()
	if rows.Next() {
		var table, parent string
		if err := rows.Scan(&table, &parent); err != nil {
			return err
		}
		return fmt.Errorf("a row of table %s refers to none of %s", table, parent)
	}
	return rows.Err()
}

func (f *sqliteFile) close() error {
	var errs []error
	if f.db != nil {
		errs = append(errs, f.db.Close())
	}
	if f.lock != nil {
		errs = append(errs, f.lock.release())
	}
	return errors.Join(errs...)
}
