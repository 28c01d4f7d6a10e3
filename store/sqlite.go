package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite" // the driver "sqlite"
	sqlitelib "modernc.org/sqlite/lib"
)

// sqliteReaders is the number of reader handles. SQLite's readers share memory
// maps and do not wait for the writer; more than this only cost memory.
const sqliteReaders = 8

// sqliteFile is a database in a file, which one process holds.
type sqliteFile struct {
	path  string
	lock  *lockFile
	db    *sql.DB
	moves *mover
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
func (f *sqliteFile) open(ctx context.Context) (_ *sql.DB, err error) {
	if f.lock, err = lock(f.path + ".lock"); err != nil {
		return nil, err
	}
	if err := createFile(f.path); err != nil {
		return nil, err
	}
	f.db, err = openSQLite(f.path, "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)",
		"secure_delete(ON)", "temp_store(MEMORY)", fmt.Sprintf("wal_autocheckpoint(%d)", 4*muchWaits), "cache_size(-16000)")
	if err != nil {
		return nil, err
	}
	f.db.SetMaxOpenConns(1)
	if err := settle(ctx, f.db); err != nil {
		return nil, err
	}
	f.moves, err = newMover(f.path)
	return f.db, err
}

// muchWaits is how many pages of the write-ahead log wait, some 16 MB, when they
// are moved into the database.
const muchWaits = 4000

// A mover moves the write-ahead log into the database beside the writer, whose own
// checkpoints would keep it from writing meanwhile. The writer makes one only if
// the log grew to four times as much. What a mover could not move stays in the
// log, and is moved later: its errors are nobody's.
type mover struct {
	db   *sql.DB
	shm  string // the log's index
	wake chan struct{}
	done chan struct{}
}

func newMover(path string) (*mover, error) {
	db, err := openSQLite(path, "synchronous(FULL)", "wal_autocheckpoint(0)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	m := &mover{db: db, shm: path + "-shm", wake: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		defer close(m.done)
		for range m.wake {
			if m.waiting() >= muchWaits {
				db.Exec("PRAGMA wal_checkpoint(PASSIVE)")
			}
		}
	}()
	return m, nil
}

// look has the mover look whether much waits.
func (m *mover) look() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// waiting is the pages that wait in the log, by its index (the format of the
// WAL-index: mxFrame and nBackfill); 0 if that cannot be read.
func (m *mover) waiting() int {
	f, err := os.Open(m.shm)
	if err != nil {
		return 0
	}
	defer f.Close()
	var index [100]byte
	if _, err := f.ReadAt(index[:], 0); err != nil {
		return 0
	}
	return int(binary.NativeEndian.Uint32(index[16:])) - int(binary.NativeEndian.Uint32(index[96:]))
}

func (m *mover) close() error {
	close(m.wake)
	<-m.done
	return m.db.Close()
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

// settle writes what a process before this one left in the write-ahead log into
// the database, and waits for the disk: if an fsync of that process failed, the
// log may be in the system's memory alone.
func settle(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	busy, err := truncateWAL(ctx, conn)
	if err == nil && busy {
		err = errors.New("another program reads the database; stop it first")
	}
	if err != nil {
		return fmt.Errorf("settling the write-ahead log: %w", err)
	}
	return nil
}

// unsafe reports whether an error leaves open what is on the disk.
func unsafe(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlitelib.SQLITE_IOERR
}

// full reports whether an error is that of a disk with no room, here or at a
// server (SQLSTATE 53100).
func full(err error) bool {
	var e *sqlite.Error
	var p *pgconn.PgError
	return errors.As(err, &e) && e.Code()&0xff == sqlitelib.SQLITE_FULL || errors.As(err, &p) && p.Code == "53100"
}

func (f *sqliteFile) begin(w *writer) ([]byte, error) {
	f.moves.look()
	return nil, w.do("BEGIN IMMEDIATE")
}

// truncateWAL moves everything from the write-ahead log into the database and
// cuts the log to nothing. It reports whether a reader was in the way.
func truncateWAL(ctx context.Context, conn *sql.Conn) (busy bool, err error) {
	var blocked, frames, moved int
	err = conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&blocked, &frames, &moved)
	return blocked != 0, err
}

// scrub moves everything from the write-ahead log into the database, where
// deleted rows are overwritten, and cuts the log to nothing.
func (f *sqliteFile) scrub(ctx context.Context, s *Store) (busy bool, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.writer == nil || s.isClosed() {
		return false, ErrClosed
	}
	if busy, err = truncateWAL(ctx, s.writer.conn); busy || err != nil {
		return busy, err
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
	if f.moves != nil {
		errs = append(errs, f.moves.close())
	}
	if f.db != nil {
		errs = append(errs, f.db.Close())
	}
	if f.lock != nil {
		errs = append(errs, f.lock.release())
	}
	return errors.Join(errs...)
}
