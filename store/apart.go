package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"ankan/audit"
)

// Apart is Change for work that many do at once, each writing rows of its own:
// fn's writes come before its turn in the log, so that on a server only the
// log's end is serial. Its entries are committed with what fn wrote, as
// Change's are.
//
// fn sees what is committed, and not what others are writing. It may be run
// again, when it got into another's way or when the database went away before
// the commit: it must do nothing but write. Index and Time of the change are
// known only at its end; asking for them fails the change.
//
// In a file Apart is one change among others.
func (s *Store) Apart(ctx context.Context, e audit.Entry, fn func(*Tx) error) error {
	p, ok := s.engine.(*postgresServer)
	if !ok {
		return s.change(&change{ctx: ctx, entry: e, fn: fn, apart: true})
	}
	if !s.enter() {
		return ErrClosed
	}
	defer s.aparts.Done()
	for tries := 1; ; tries++ {
		err := again(ctx, s.engine, func() error { return s.apart(ctx, p, e, fn) })
		if !inTheWay(err) || tries == apartTries {
			return err
		}
		// Two that met are not to meet again.
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(time.Duration(rand.Int64N(int64(20 * time.Millisecond)))):
		}
	}
}

const (
	apartTries = 20
	// apartWaits is how long a change apart waits for its turn in the log. It is
	// less than the second after which PostgreSQL looks for deadlocks, so that it
	// is the change apart that gives way, and not a group.
	apartWaits = 700 * time.Millisecond
)

var errTurn = errors.New("the change apart did not get its turn in the log")

// inTheWay says that a change apart met another's rows or locks, and may try again.
func inTheWay(err error) bool {
	var said *pgconn.PgError
	return errors.Is(err, errTurn) || errors.As(err, &said) && (said.Code == "40P01" || said.Code == "40001" || said.Code == "55P03")
}

func (s *Store) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.done == nil {
		return false
	}
	s.aparts.Add(1)
	return true
}

func (s *Store) apart(ctx context.Context, p *postgresServer, e audit.Entry, fn func(*Tx) error) (err error) {
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return err
	}
	w := newWriter(conn, false)
	tx := &Tx{w: w, entries: []audit.Entry{e}, apart: true}
	done := false
	defer func() {
		tx.over = true
		if !done && w.do("ROLLBACK") != nil {
			discard(conn)
			return
		}
		conn.Close()
	}()
	if err := w.do("BEGIN"); err != nil {
		return err
	}
	if fn != nil {
		err = fn(tx)
	}
	if err == nil {
		err = tx.misused()
	}
	if err != nil {
		return err
	}
	if !s.writing.lockWithin(apartWaits) {
		return errTurn
	}
	defer s.writing.Unlock()
	if s.broken != nil {
		return s.broken
	}
	if err := w.do(fmt.Sprintf("SET LOCAL lock_timeout = %d", apartWaits.Milliseconds())); err != nil {
		return err
	}
	var signed []byte
	if err := w.queryRow(lockCheckpoint).Scan(&signed); err != nil {
		return err
	}
	if err := s.follow(w, signed); err != nil {
		return err
	}
	g := newGroup(s.head.Load())
	tx.time = s.timeOf(e, g.next.last)
	for i := range tx.entries {
		tx.entries[i].Time = tx.time
	}
	if g.leaves, err = tx.leaves(nil); err != nil {
		return err
	}
	g.next.last = tx.time
	if err := s.writeLog(w, g); err != nil {
		return err
	}
	done = true // whichever way: finish looks after it
	return s.finish(w, g)
}
