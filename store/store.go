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

	"github.com/jackc/pgx/v5"

	"ankan/audit"
	"ankan/durable"
)

// A Config says where a store is and who signs its log.
type Config struct {
	// Path is the database file of SQLite, beside which stand its companions
	// -wal, -shm and .lock; or the address of a PostgreSQL server, postgres://...
	Path   string
	Origin string           // the log's name; the signer's must be the same
	Signer *audit.Signer    // of checkpoints
	Now    func() time.Time // the clock; time.Now when nil
	Steps  durable.Steps    // what its commits go through; nil: nothing

	// Password is asked for at each new connection to a server, which may want
	// none. Nothing keeps what it returns.
	Password func() (string, error)
	// Beside opens the database of a server beside the site's main process, for
	// one that works for it: it makes no tables and may be there many times.
	Beside bool
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

	engine  engine
	readers *sql.DB

	// head is what is committed. A head never changes; each group makes the next.
	head atomic.Pointer[head]

	mu      sync.Mutex // guards waiting and closed
	wake    sync.Cond  // when either changes; on mu
	waiting []*change
	closed  bool
	done    chan struct{} // closed when the committer has ended

	aparts sync.WaitGroup // changes apart that are under way

	writing gate // held over a group, or the end of a change apart; guards writer, broken and the making of heads
	writer  *writer
	failed  chan struct{} // closed when broken is set
	failing sync.Once     // closes it
	broken  error         // not nil once the outcome of a commit could not be found out
}

// A gate is a mutex that can be waited for no longer than a while.
type gate chan struct{}

func (g gate) Lock()   { g <- struct{}{} }
func (g gate) Unlock() { <-g }

func (g gate) lockWithin(d time.Duration) bool {
	select {
	case g <- struct{}{}:
		return true
	case <-time.After(d):
		return false
	}
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
	s := &Store{path: c.Path, signer: c.Signer, now: c.Now, steps: c.Steps, done: make(chan struct{}), failed: make(chan struct{}), writing: make(gate, 1)}
	s.wake.L = &s.mu
	if s.now == nil {
		s.now = time.Now
	}
	var err error
	if s.engine, err = newEngine(c); err != nil {
		return nil, err
	}
	schemas = append([]Schema{logSchema()}, schemas...)
	if err := s.open(ctx, c.Beside, schemas); err != nil {
		s.release()
		return nil, fmt.Errorf("opening %s: %w", c.Path, err)
	}
	go s.commitAll()
	if c.Beside {
		return s, nil
	}
	if err := s.logSchemas(ctx, schemas); err != nil {
		s.Close()
		return nil, fmt.Errorf("opening %s: %w", c.Path, err)
	}
	return s, nil
}

func newEngine(c Config) (engine, error) {
	if IsPostgres(c.Path) {
		return newPostgres(c)
	}
	if c.Beside {
		return nil, fmt.Errorf("opening %s: a database in a file has one process; others work beside it only on a PostgreSQL server", c.Path)
	}
	return &sqliteFile{path: c.Path}, nil
}

func (s *Store) open(ctx context.Context, beside bool, schemas []Schema) error {
	db, err := s.engine.open(ctx)
	if err != nil {
		return err
	}
	if err := checkNames(schemas); err != nil {
		return err
	}
	if err := s.engine.(dumper).half(ctx); err != nil {
		return err
	}
	// The log first: no migration touches a database that was tampered with.
	if !beside {
		if err := migrate(ctx, db, s.engine, schemas[:1]); err != nil {
			return err
		}
	}
	if s.readers, err = s.engine.readers(); err != nil {
		return err
	}
	first, err := s.load(ctx)
	if err != nil {
		return err
	}
	if beside {
		if err = fits(ctx, db, s.engine, schemas); err == nil && first {
			err = errors.New("the log has not begun; start the site's main process first")
		}
	} else {
		if err = migrate(ctx, db, s.engine, schemas); err == nil {
			err = s.engine.ready(ctx)
		}
	}
	if err != nil {
		return err
	}
	if s.writer, err = s.engine.connect(ctx); err != nil {
		return err
	}
	if first {
		return s.begin()
	}
	return nil
}

// Begun says whether there is a database at c.Path.
func Begun(ctx context.Context, c Config) (bool, error) {
	if !IsPostgres(c.Path) {
		_, err := os.Stat(c.Path)
		return err == nil, nil
	}
	p, err := newPostgres(c)
	if err != nil {
		return false, err
	}
	db := p.handle(nil, func(context.Context, *pgx.Conn) error { return nil })
	defer db.Close()
	var begun bool
	if err := db.QueryRowContext(ctx, "SELECT to_regclass('log_checkpoint') IS NOT NULL").Scan(&begun); err != nil {
		return false, fmt.Errorf("looking at %s: %w", c.Path, err)
	}
	return begun, nil
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
	s.aparts.Wait()
	return s.release()
}

// release closes what is open, in the order that lets SQLite tidy up.
func (s *Store) release() error {
	var errs []error
	if s.readers != nil {
		errs = append(errs, s.readers.Close())
	}
	if s.writer != nil {
		s.writer.close()
	}
	return errors.Join(append(errs, s.engine.close())...)
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
	var rows *sql.Rows
	err := again(ctx, s.engine, func() (err error) {
		rows, err = s.readers.QueryContext(ctx, query, args...)
		return err
	})
	return rows, err
}

// QueryRow asks for at most one row.
func (s *Store) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	if err := checkReading(query); err != nil {
		return refused(err)
	}
	if s.readers == nil {
		return refused(ErrClosed)
	}
	var row *sql.Row
	_ = again(ctx, s.engine, func() error {
		row = s.readers.QueryRowContext(ctx, query, args...)
		return row.Err()
	})
	return row // with its error
}

// View lets fn ask several things of one and the same state. It may take long
// and keeps no writer waiting, but while it runs the write-ahead log grows.
func (s *Store) View(ctx context.Context, fn func(*ReadTx) error) error {
	if s.readers == nil {
		return ErrClosed
	}
	var tx *sql.Tx
	err := again(ctx, s.engine, func() (err error) {
		tx, err = s.readers.BeginTx(ctx, s.engine.view())
		return err
	})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	view := &ReadTx{ctx: ctx, tx: tx}
	defer func() { view.tx = nil }()
	return fn(view)
}

// Scrub makes sure that what was deleted is gone from the disk's files. With
// SQLite the write-ahead log, which still holds it, is moved into the database,
// where deleted rows are overwritten, and cut to nothing; that waits for
// readers of older states until ctx ends. A PostgreSQL server takes deleted
// rows out of its tables (VACUUM); its own write-ahead log and its backups keep
// them for as long as they are kept themselves. Whatever must be gone for good
// is therefore sealed under a key that is erased first.
func (s *Store) Scrub(ctx context.Context) error {
	if s.isClosed() {
		return fmt.Errorf("scrubbing %s: %w", s.path, ErrClosed)
	}
	for {
		busy, err := s.engine.scrub(ctx, s)
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

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed || s.done == nil
}
