package worker

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// lockWorker is the first number of the advisory locks that show who lives.
const lockWorker = 0x416E6B63

// A lease shows that a process is there: as long as it is, one of its sessions
// at the database holds an advisory lock under its name. A process that is
// killed loses its sessions at once, a machine that vanishes within seconds.
type lease struct {
	pool *pgxpool.Pool
	id   string
	stop context.CancelFunc
	done chan struct{}
}

// leaseOf is the second number of a worker's lock.
func leaseOf(id string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(id))
	return h.Sum32() & 0x7fffffff
}

// takeLease shows that id is there, until release. When the session is lost it
// takes another one.
func takeLease(ctx context.Context, pool *pgxpool.Pool, id string) (*lease, error) {
	conn, err := holdLock(ctx, pool, id)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &lease{pool: pool, id: id, stop: stop, done: make(chan struct{})}
	go l.keep(ctx, conn)
	return l, nil
}

func holdLock(ctx context.Context, pool *pgxpool.Pool, id string) (*pgxpool.Conn, error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1, $2)`, int32(lockWorker), int32(leaseOf(id))); err != nil {
		conn.Release()
		return nil, fmt.Errorf("lease of %s: %w", id, err)
	}
	return conn, nil
}

// keep asks now and then whether the session is there.
func (l *lease) keep(ctx context.Context, conn *pgxpool.Conn) {
	defer close(l.done)
	for ctx.Err() == nil {
		if conn == nil {
			conn, _ = holdLock(ctx, l.pool, l.id) // it is tried again
		} else if err := conn.Ping(ctx); err != nil && ctx.Err() == nil {
			drop(conn)
			conn = nil
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
	if conn != nil {
		drop(conn)
	}
}

// drop ends a session, and with it its locks.
func drop(conn *pgxpool.Conn) {
	ctx, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()
	_ = conn.Hijack().Close(ctx) // the server ends it too when it is not told
}

func (l *lease) release() {
	l.stop()
	<-l.done
}

// living are the leases that are held.
func (q *Queue) living(ctx context.Context) (map[uint32]bool, error) {
	rows, err := q.pool.Query(ctx, `SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid = $1::bigint::oid AND objsubid = 2 AND granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`, int64(lockWorker))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[uint32]bool{}
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		all[uint32(n)] = true
	}
	return all, rows.Err()
}
