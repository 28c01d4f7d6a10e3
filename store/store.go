package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"ankan/audit"
	"ankan/durable"
)

// A Config says where a store is and who signs its log.
type Config struct {
	Path   string           // the database file; companions -wal, -shm and .lock stand beside it
	Origin string           // the log's name; the signer's must be the same
	Signer *audit.Signer    // of checkpoints
	Now    func() time.Time // the clock; time.Now when nil
	Steps  durable.Steps    // what its commits go through; nil: nothing
}

// Errors that callers branch on.
var (
	ErrTampered = errors.New("the log in the database is not what its checkpoint signs")
	ErrClosed   = errors.New("the store is closed")
	ErrFull     = errors.New("the disk is full: nothing was written")
	ErrInDoubt  = errors.New("the store does not know whether its last commit happened; restart to find out")
)

// A Store is an open database. Its methods may be called at the same time.
// Its zero value refuses.
type Store struct {
	path   string
	signer *audit.Signer
	now    func() time.Time
	steps  durable.Steps

	lock    *lockFile
	readers *sql.DB

	// head is what is committed. A head never changes; each group makes the next.
	head atomic.Pointer[head]

	mu      sync.Mutex // guards waiting and closed
	wake    sync.Cond  // when either changes; on mu
	waiting []*change
	closed  bool
	done    chan struct{} // closed when the committer has ended

	writing sync.Mutex // held over a group or a scrub; guards writer and broken
	writer  *writer
	failed  chan struct{} // closed when broken is set
	broken  error         // not nil once the outcome of a commit could not be found out
}

// A head is the log as committed: its right edge, its signed checkpoint, and
// the time of its last entry.
type head struct {
	tree   *audit.Tree
	signed []byte
	last   time.Time
}

// Open opens or creates the database and brings its schemas up to date. It
// refuses one that another process holds, one of a newer program (ErrNewer),
// and one whose log does not fit its signed checkpoint (ErrTampered).
func Open(ctx context.Context, c Config, schemas ...Schema) (*Store, error) {
	if c.Signer == nil || c.Signer.Name() != c.Origin || c.Origin == "" {
		return nil, fmt.Errorf("opening %s: log %q needs a signer of the same name", c.Path, c.Origin)
	}
	s := &Store{path: c.Path, signer: c.Signer, now: c.Now, steps: c.Steps, done: make(chan struct{}), failed: make(chan struct{})}
	s.wake.L = &s.mu
	if s.now == nil {
		s.now = time.Now
	}
	if err := s.open(ctx, schemas); err != nil {
		s.release()
		return nil, fmt.Errorf("opening %s: %w", c.Path, err)
	}
	go s.commitAll()
	if err := s.logSchemas(ctx, append([]Schema{logSchema()}, schemas...)); err != nil {
		s.Close()
		return nil, fmt.Errorf("opening %s: %w", c.Path, err)
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, schemas []Schema) (err error) {
	if s.lock, err = lock(s.path + ".lock"); err != nil {
		return err
	}
	if err := createFile(s.path); err != nil {
		return err
	}
	db, err := openWriter(s.path)
	if err != nil {
		return err
	}
	s.writer = &writer{db: db}
	if err := settle(ctx, db); err != nil {
		return err
	}
	// The log first: no migration touches a database that was tampered with.
	if err := migrate(ctx, db, []Schema{logSchema()}); err != nil {
		return err
	}
	if s.readers, err = openReaders(s.path); err != nil {
		return err
	}
	first, err := s.load(ctx)
	if err != nil {
		return err
	}
	if err := migrate(ctx, db, append([]Schema{logSchema()}, schemas...)); err != nil {
		return err
	}
	if s.writer, err = newWriter(ctx, db); err != nil {
		return err
	}
	if first {
		return s.begin()
	}
	return nil
}

// Failed is closed when the store takes no more changes, because it does not know
// what became of its last (ErrInDoubt): the program must end and start again.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Close waits for the changes under way and closes the database.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.done == nil || s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.closed = true
	s.wake.Broadcast()
	s.mu.Unlock()
	<-s.done
	return s.release()
}

// release closes what is open, in the order that lets SQLite tidy up.
func (s *Store) release() error {
	var errs []error
	if s.readers != nil {
		errs = append(errs, s.readers.Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
	}
	return errors.Join(errs...)
}

// Now is the time that a change would have now: by the store's clock, and never
// before the last entry of the log. It is zero when the store is not open.
func (s *Store) Now() time.Time {
	h := s.head.Load()
	if h == nil {
		return time.Time{}
	}
	return s.timeOf(audit.Entry{}, h.last)
}

// Query asks the database as it is committed. The rows must be closed.
func (s *Store) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := checkReading(query); err != nil {
		return nil, err
	}
	if s.readers == nil {
		return nil, ErrClosed
	}
	return s.readers.QueryContext(ctx, query, args...)
}

// QueryRow asks for at most one row.
func (s *Store) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	if err := checkReading(query); err != nil {
		return refused(err)
	}
	if s.readers == nil {
		return refused(ErrClosed)
	}
	return s.readers.QueryRowContext(ctx, query, args...)
}

// View lets fn ask several things of one and the same state. It may take long
// and keeps no writer waiting, but while it runs the write-ahead log grows.
func (s *Store) View(ctx context.Context, fn func(*ReadTx) error) error {
	if s.readers == nil {
		return ErrClosed
	}
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	view := &ReadTx{ctx: ctx, tx: tx}
	defer func() { view.tx = nil }()
	return fn(view)
}

// Scrub makes sure that what was deleted is gone from the disk's files: the
// write-ahead log, which still holds it, is moved into the database, where
// deleted rows are overwritten, and cut to nothing. It waits for readers of
// older states until ctx ends.
func (s *Store) Scrub(ctx context.Context) error {
	for {
		busy, err := s.scrub(ctx)
		if err != nil {
			return fmt.Errorf("scrubbing %s: %w", s.path, err)
		}
		if !busy {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("scrubbing %s: a reader is in the way: %w", s.path, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Store) scrub(ctx context.Context) (busy bool, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.writer == nil || s.isClosed() {
		return false, ErrClosed
	}
	if busy, err = truncateWAL(ctx, s.writer.conn); busy || err != nil {
		return busy, err
	}
	st, err := os.Stat(s.path + "-wal")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	if err == nil && st.Size() != 0 {
		return false, fmt.Errorf("the write-ahead log still has %d bytes", st.Size())
	}
	return false, nil
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}
