package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ankan/audit"
)

// maxGroup bounds the changes of one transaction, so that the first of them
// does not wait long for the last.
const maxGroup = 512

// A change waits for its turn, has it, and waits for the group's commit.
type change struct {
	ctx    context.Context
	entry  audit.Entry
	fn     func(*Tx) error
	apart  bool
	turn   chan *Tx   // to the caller: your turn
	ran    chan error // to the committer: fn returned this
	answer chan error // to the caller: the outcome; at most one

	err      error // why the change is not in the group's commit
	answered bool
}

// errUnwound is what fn returned when it did not return: it panicked, or ended
// its goroutine.
var errUnwound = errors.New("the change's function did not return")

// Change runs fn and commits what it wrote together with the entry e, or
// nothing of both when fn returns an error, which is then Change's. It is the
// only way to write. When it returns nil, all is on disk.
//
// Changes run one after another, each seeing those before it, and share a
// commit with others that wait at the same time: fn must be quick, must not
// call outside and must not call Change. It runs on the caller's goroutine, so
// that a panic in it is the caller's, after its writes are rolled back. fn may
// be nil: then the entry is all there is.
//
// The entry's time is set by the store: it is e.Time or, when that is zero,
// now; and never before the entry that stands before it in the log.
//
// When ctx ends before the change's turn, nothing was done. Later it is not
// looked at: what has begun is carried to its end.
func (s *Store) Change(ctx context.Context, e audit.Entry, fn func(*Tx) error) error {
	return s.change(&change{ctx: ctx, entry: e, fn: fn})
}

func (s *Store) change(c *change) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	c.turn, c.ran, c.answer = make(chan *Tx, 1), make(chan error, 1), make(chan error, 1)
	if err := s.enqueue(c); err != nil {
		return err
	}
	ended := c.ctx.Done()
	for {
		select {
		case <-ended:
			if s.withdraw(c) {
				return c.ctx.Err()
			}
			ended = nil // the group has begun
		case tx := <-c.turn:
			c.run(tx)
			return <-c.answer
		case err := <-c.answer:
			return err
		}
	}
}

// Enter logs what changed nothing in the database: a refusal, a start, a file
// that was sent.
func (s *Store) Enter(ctx context.Context, e audit.Entry) error { return s.Change(ctx, e, nil) }

// run has the change's turn, on the caller's goroutine.
func (c *change) run(tx *Tx) {
	err := errUnwound
	defer func() {
		tx.over = true
		c.ran <- err
		if err == errUnwound {
			<-c.answer // not before all is rolled back
		}
	}()
	err = c.fn(tx)
}

func (s *Store) enqueue(c *change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.done == nil {
		return ErrClosed
	}
	s.waiting = append(s.waiting, c)
	s.wake.Signal()
	return nil
}

// withdraw takes c out of the queue. It reports false when c's group has begun.
func (s *Store) withdraw(c *change) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting, c)
	if i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
	return i >= 0
}

// commitAll is the committer: it takes all that waits, commits it as one
// group, and starts again.
func (s *Store) commitAll() {
	defer close(s.done)
	for {
		group := s.take()
		if group == nil {
			return
		}
		s.writing.Lock()
		err := s.commit(group)
		s.writing.Unlock()
		for _, c := range group {
			if !c.answered {
				c.answer <- outcome(err, c.err)
			}
		}
	}
}

// outcome is the answer to a change: that its group failed, or else why the
// change itself did. A change that failed on its own in a group that failed
// gets the group's error, for it may have failed over what others wrote.
func outcome(group, own error) error {
	err := group
	if err == nil {
		err = own
	}
	if full(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// take waits for changes and takes up to maxGroup of them; nil when the store
// is closed and nothing waits any more.
func (s *Store) take() []*change {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) == 0 {
		if s.closed {
			return nil
		}
		s.wake.Wait()
	}
	n := min(len(s.waiting), maxGroup)
	group := slices.Clone(s.waiting[:n])
	s.waiting = slices.Delete(s.waiting, 0, n)
	return group
}

// A group is one transaction under way.
type group struct {
	next      head
	leaves    [][]byte
	savepoint bool // of the last change that had its turn; it is still there
}

// commit runs a group. Its error is that of the whole group; changes that
// failed alone have theirs in c.err.
func (s *Store) commit(changes []*change) error {
	if s.broken != nil {
		return s.broken
	}
	if err := s.beginGroup(); err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	g := newGroup(s.head.Load())
	err := s.runAll(g, changes)
	if err == nil && len(g.leaves) > 0 {
		err = s.writeLog(s.writer, g)
	}
	if err != nil || len(g.leaves) == 0 {
		// No error of the rollback counts: either all is rolled back already,
		// or the next begin fails and says so.
		_ = s.writer.do("ROLLBACK")
		if err != nil && !s.engine.alive(s.writer) {
			err = fmt.Errorf("%w: %w", ErrAway, err)
		}
		return err
	}
	return s.finish(s.writer, g)
}

func newGroup(now *head) *group {
	return &group{next: head{tree: now.tree.Clone(), last: now.last}}
}

// finish commits a group whose log is written.
func (s *Store) finish(w *writer, g *group) error {
	if err := s.steps.Do("store.commit", w.commit); err != nil {
		_ = w.do("ROLLBACK") // says that there is no transaction, if it happened
		if err := s.lookAfter(err, g); err != nil {
			return err
		}
	}
	s.head.Store(&g.next)
	return nil
}

// beginGroup begins a transaction on the writer, which it connects again when
// it was lost. Nothing has run yet, so that this can be done as often as it
// takes.
func (s *Store) beginGroup() error {
	err := again(context.Background(), s.engine, func() error {
		if !s.engine.alive(s.writer) {
			s.writer.close()
			w, err := s.engine.connect(context.Background())
			if err != nil {
				return err
			}
			s.writer = w
		}
		signed, err := s.engine.begin(s.writer)
		if err == nil {
			err = s.follow(s.writer, signed)
		}
		switch {
		case err == nil:
		case s.engine.lost(err):
			discard(s.writer.conn)
		case errors.Is(err, ErrTampered):
			_ = s.writer.do("ROLLBACK")
		}
		return err
	})
	if errors.Is(err, ErrPrimary) || errors.Is(err, ErrTampered) {
		s.breaks(err)
	}
	return err
}

// follow brings the head up to a checkpoint that another process has written:
// it reads the entries since, and refuses what does not give the root that is
// signed. It is called while nobody else can write.
func (s *Store) follow(w *writer, signed []byte) error {
	now := s.head.Load()
	if signed == nil || bytes.Equal(signed, now.signed) {
		return nil
	}
	next, err := s.followed(w, now, signed)
	if err != nil {
		return err
	}
	s.head.Store(next)
	return nil
}

func (s *Store) followed(w *writer, now *head, signed []byte) (*head, error) {
	c, err := audit.OpenCheckpoint(signed, s.signer.VerifierKey())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTampered, err)
	}
	next := &head{tree: now.tree.Clone(), signed: signed, last: now.last}
	var last []byte
	for leaf, err := range leaves(w, now.tree.Size(), max(0, c.Size-now.tree.Size())) {
		if err == nil {
			last = leaf
			err = next.tree.Append(audit.LeafHash(leaf), func(audit.Tile) error { return nil }) // who wrote the entries wrote the tiles
		}
		if err != nil {
			return nil, err
		}
	}
	if next.tree.Size() != c.Size || next.tree.Root() != c.Root {
		return nil, fmt.Errorf("%w: %w: what other processes wrote gives %d entries and root %s, the checkpoint signs %d and %s", ErrTampered,
			audit.Rewritten, next.tree.Size(), next.tree.Root(), c.Size, c.Root)
	}
	if last != nil {
		e, err := audit.ParseEntry(last)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTampered, err)
		}
		next.last = e.Time
	}
	return next, nil
}

func (s *Store) runAll(g *group, changes []*change) error {
	for _, c := range changes {
		if err := c.ctx.Err(); err != nil {
			c.err = err
			continue
		}
		if err := s.runOne(g, c); err != nil {
			return fmt.Errorf("the transaction was lost, with all changes in it: %w", err)
		}
	}
	if g.savepoint {
		if err := s.writer.do("RELEASE one"); err != nil {
			return fmt.Errorf("the transaction was lost, with all changes in it: %w", err)
		}
	}
	return nil
}

// runOne gives c its turn, inside a savepoint if another change is in the
// transaction: SQLite keeps in memory what is overwritten after one, and great
// changes mostly come alone. Its error means that the whole transaction is lost:
// some errors, a full disk for one, make SQLite roll back everything, and then
// the savepoint is gone.
func (s *Store) runOne(g *group, c *change) error {
	tx := &Tx{w: s.writer, index: g.next.tree.Size() + int64(len(g.leaves)), time: s.timeOf(c.entry, g.next.last)}
	tx.entries, tx.apart = []audit.Entry{c.entry}, c.apart
	if c.fn != nil {
		if len(g.leaves) > 0 {
			again := []string{"SAVEPOINT one"}
			if g.savepoint { // that of the change before
				again = []string{"RELEASE one", "SAVEPOINT one"}
			}
			if err := s.writer.do(again...); err != nil {
				return err
			}
			g.savepoint = true
		}
		c.turn <- tx
		c.err = <-c.ran
	}
	for i := range tx.entries { // one that was apart has not been told it
		tx.entries[i].Time = tx.time
	}
	leaves, err := tx.leaves(c.err)
	if c.err = err; err != nil {
		if c.fn == nil {
			return nil
		}
		if err := s.takeBack(g); err != nil {
			return fmt.Errorf("%w: %w", c.err, err)
		}
		if c.err == errUnwound {
			c.answered = true
			c.answer <- c.err
		}
		return nil
	}
	g.leaves = append(g.leaves, leaves...)
	g.next.last = tx.time
	return nil
}

// takeBack undoes what the change that had its turn did. If it was the first,
// nothing else is in the transaction, which begins anew: another process may
// have written in between, so the head is read again.
func (s *Store) takeBack(g *group) error {
	if g.savepoint {
		return s.writer.do("ROLLBACK TO one")
	}
	if err := s.writer.do("ROLLBACK"); err != nil {
		return err
	}
	err := s.beginGroup()
	*g = *newGroup(s.head.Load())
	return err
}

// timeOf is the time of a change that comes after the entry of the time last.
func (s *Store) timeOf(e audit.Entry, last time.Time) time.Time {
	t := e.Time
	if t.IsZero() {
		t = s.now()
	}
	t = t.UTC().Round(0)
	if t.Before(last) {
		return last
	}
	return t
}

// leaves renders the entries of a change whose function returned err.
func (tx *Tx) leaves(err error) ([][]byte, error) {
	if err != nil {
		return nil, err
	}
	if err := tx.misused(); err != nil {
		return nil, err
	}
	leaves := make([][]byte, len(tx.entries))
	for i, e := range tx.entries {
		if leaves[i], err = e.Leaf(); err != nil {
			return nil, err
		}
	}
	return leaves, nil
}

// writeLog writes the group's entries, the tiles that they fill, and the
// checkpoint over all.
func (s *Store) writeLog(w *writer, g *group) error {
	if err := w.entries(g.next.tree.Size(), g.leaves); err != nil {
		return fmt.Errorf("writing the log: %w", err)
	}
	for _, leaf := range g.leaves {
		err := g.next.tree.Append(audit.LeafHash(leaf), func(t audit.Tile) error {
			_, err := w.exec("INSERT INTO log_tile (level, n, hashes) VALUES ($1, $2, $3)", t.Level, t.N, t.Bytes())
			return err
		})
		if err != nil {
			return fmt.Errorf("writing the log: %w", err)
		}
	}
	return s.sign(w, &g.next)
}

// sign writes the checkpoint of h. It is nobody's before the transaction
// commits: one that is rolled back has never left this function.
func (s *Store) sign(w *writer, h *head) (err error) {
	c := audit.Checkpoint{Origin: s.signer.Name(), Size: h.tree.Size(), Root: h.tree.Root()}
	if h.signed, err = c.Sign(s.signer); err != nil {
		return err
	}
	_, err = w.exec(`INSERT INTO log_checkpoint (id, signed) VALUES (1, $1)
		ON CONFLICT (id) DO UPDATE SET signed = excluded.signed`, h.signed)
	return err
}

// lookAfter finds out whether a commit that failed did happen after all: the
// checkpoint in the database tells, or, when other processes have written since,
// the entries below it. nil means that it did.
//
// When even that cannot be read, a store in a file takes no more changes. One on
// a server comes back to it with its next change: what it finds then is what is
// so, but who asked for this change is not told any more.
func (s *Store) lookAfter(failed error, g *group) error {
	if unsafe(failed) {
		// What the system shows now may be in its memory alone: fsync
		// fails once, and then says that all is well. Opening the database
		// again writes everything anew.
		return s.breaks(fmt.Errorf("%w: committing: %w", ErrInDoubt, failed))
	}
	before := s.head.Load()
	happened, err := s.look(before, g)
	switch {
	case err == nil && happened:
		return nil
	case err == nil:
		return fmt.Errorf("committing: %w", failed)
	}
	comesBack := s.engine.lost(err)
	err = fmt.Errorf("%w: committing: %w; looking after it: %w", ErrInDoubt, failed, err)
	if !comesBack {
		return s.breaks(err)
	}
	return err
}

// breaks has the store take no more changes.
func (s *Store) breaks(err error) error {
	s.broken = err
	s.failing.Do(func() { close(s.failed) })
	return err
}

// look says whether g's entries are in the log after those of before. Its
// transaction begins when that of g is over, whichever way.
func (s *Store) look(before *head, g *group) (happened bool, err error) {
	if err := s.beginGroup(); err != nil {
		return false, err
	}
	defer func() { _ = s.writer.do("ROLLBACK") }()
	var signed []byte
	if err := s.writer.queryRow("SELECT signed FROM log_checkpoint WHERE id = 1").Scan(&signed); err != nil {
		return false, err
	}
	if bytes.Equal(signed, g.next.signed) || bytes.Equal(signed, before.signed) {
		return bytes.Equal(signed, g.next.signed), nil
	}
	next, err := s.followed(s.writer, before, signed)
	if err != nil {
		return false, err
	}
	at := 0
	for leaf, err := range leaves(s.writer, before.tree.Size(), int64(len(g.leaves))) {
		if err != nil {
			return false, err
		}
		if at >= len(g.leaves) || !bytes.Equal(leaf, g.leaves[at]) {
			return false, nil
		}
		at++
	}
	if at < len(g.leaves) {
		return false, nil
	}
	g.next = *next
	return true, nil
}
