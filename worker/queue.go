package worker

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"ankan/datagen"
	"ankan/store"
)

// A Queue hands the blocks of orders out to all that draw for a site, as jobs in
// its PostgreSQL database. A job is a span of blocks and no more: what is to be
// done follows from the blocks that are stored, so a job may come twice, late,
// or when nothing is left to do. Only Open makes one.
type Queue struct {
	drawer *Drawer
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx]
	lease  *lease
	log    *slog.Logger

	mu    sync.Mutex
	seen  map[attempt]time.Time // running jobs, since when
	stale map[string]time.Time  // workers that were not there, since when
}

// An attempt is one run of a job.
type attempt struct {
	job int64
	n   int
}

// Options are how a process takes part.
type Options struct {
	Address  string                 // of the database: postgres://...
	Password func() (string, error) // for each connection; may be nil
	Name     string                 // of this process, for people
	// Leads makes the tables and looks after them: the site's main process.
	Leads bool
	// Spans is how many spans of blocks this process draws at the same time; 0:
	// it draws none. Each takes some 32 MB.
	Spans int
	Log   *slog.Logger
}

const (
	drawing = "draw" // the queue that all draw from
	resting = "rest" // one with nothing in it, for a leader that draws nothing

	// Most spans that an order has in the queue at the same time, so that the
	// queue does not grow with the order.
	mostOffered = 128

	// A job takes a second or two. One that takes longer than jobTimeout is cut
	// short and tried again, and keeps what is stored.
	jobTimeout = time.Minute
	// overdue is when a job that is said to run surely does not.
	overdue = jobTimeout + 15*time.Second
	// grace is how long a worker may not be seen: it connects anew when the
	// database was restarted.
	grace = 2 * time.Second
)

// draw is a job: blocks of an order that are to be drawn. It tells nothing else.
type draw struct {
	Order string `json:"order"`
	From  int    `json:"from"`
	To    int    `json:"to"`
	// After is the job whose worker is gone, and whose place this one takes.
	After int64 `json:"after,omitempty"`
}

// Kind implements river.JobArgs.
func (draw) Kind() string { return "ankan_draw" }

// InsertOpts implements river.JobArgsWithInsertOpts: a job is there once until
// it is done.
func (draw) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: drawing, UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateRetryable, rivertype.JobStateScheduled,
	}}}
}

// Open takes part in handing out and drawing: it draws from the queue until
// Close. A site's queue is made by its main process.
func Open(ctx context.Context, d *Drawer, o Options) (_ *Queue, err error) {
	if d == nil || o.Log == nil || o.Name == "" {
		return nil, errors.New("queue: drawer, log and name must be there")
	}
	q := &Queue{drawer: d, log: o.Log, seen: map[attempt]time.Time{}, stale: map[string]time.Time{}}
	defer func() {
		if err != nil {
			q.Close()
		}
	}()
	if q.pool, err = connect(ctx, o); err != nil {
		return nil, err
	}
	quiet := slog.New(only{slog.LevelError, o.Log.Handler()})
	driver := riverpgxv5.New(q.pool)
	if o.Leads {
		m, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet})
		if err != nil {
			return nil, err
		}
		if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
			return nil, fmt.Errorf("queue: making its tables: %w", err)
		}
	}
	id := o.Name + "-" + strings.ToLower(rand.Text()[:10])
	if q.lease, err = takeLease(ctx, q.pool, id); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &job{queue: q})
	queues := map[string]river.QueueConfig{resting: {MaxWorkers: 1}}
	if o.Spans > 0 {
		queues = map[string]river.QueueConfig{drawing: {MaxWorkers: o.Spans}}
	}
	q.client, err = river.NewClient(driver, &river.Config{
		ID: id, Queues: queues, Workers: workers, Logger: quiet, LeaderElectionDisabled: !o.Leads,
		FetchCooldown: 10 * time.Millisecond, FetchPollInterval: 500 * time.Millisecond,
		JobTimeout: jobTimeout, RescueStuckJobsAfter: 2 * jobTimeout, SoftStopTimeout: jobTimeout,
		CompletedJobRetentionPeriod: 10 * time.Minute, CancelledJobRetentionPeriod: time.Hour, DiscardedJobRetentionPeriod: time.Hour,
	})
	if err != nil {
		return nil, err
	}
	// It ends when it is told to, so that a span that was begun is finished.
	return q, q.client.Start(context.WithoutCancel(ctx))
}

// connect opens connections of the queue's own. The server notices within
// seconds when this machine is gone.
func connect(ctx context.Context, o Options) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(o.Address)
	if err != nil {
		return nil, errors.New("queue: the database's address is none of PostgreSQL")
	}
	if c.ConnConfig, err = store.ParseAddress(o.Address); err != nil {
		return nil, err
	}
	p := c.ConnConfig.RuntimeParams
	p["application_name"] = "ankan queue " + o.Name
	p["tcp_keepalives_idle"], p["tcp_keepalives_interval"], p["tcp_keepalives_count"] = "2", "1", "3"
	c.MaxConns = int32(6 + o.Spans) // one listens, one holds the lease
	c.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) (err error) {
		if o.Password != nil {
			c.Password, err = o.Password()
		}
		return err
	}
	return pgxpool.NewWithConfig(ctx, c)
}

// Close finishes the spans that are being drawn and leaves the queue.
func (q *Queue) Close() {
	if q.client != nil {
		// Without a client that was started there is nothing to stop.
		_ = q.client.Stop(context.Background())
	}
	if q.lease != nil {
		q.lease.release()
	}
	if q.pool != nil {
		q.pool.Close()
	}
}

// A job draws a span.
type job struct {
	river.WorkerDefaults[draw]
	queue *Queue
}

// Work implements river.Worker.
func (j *job) Work(ctx context.Context, of *river.Job[draw]) error {
	err := j.queue.drawer.Draw(ctx, of.Args.Order, datagen.Span{From: of.Args.From, To: of.Args.To})
	if errors.Is(err, datagen.ErrNoBatch) {
		return river.JobCancel(err) // the order went another way meanwhile
	}
	if err != nil {
		j.queue.log.Warn("drawing", "order", of.Args.Order, "from", of.Args.From, "to", of.Args.To, "try", of.Attempt, "err", err)
	}
	return err
}

// NextRetry implements river.Worker: soon, and not so often that a module that
// is away is stormed.
func (j *job) NextRetry(of *river.Job[draw]) time.Time {
	return time.Now().Add(min(time.Duration(of.Attempt)*time.Second, 20*time.Second))
}

// Spans cuts a batch into the spans that are handed out: tens of blocks each,
// and some for everybody.
func spans(b datagen.Batch) []datagen.Span {
	size := max(8, min(64, b.Blocks()/32))
	var all []datagen.Span
	for at := 0; at < b.Blocks(); at += size {
		all = append(all, datagen.Span{From: at, To: min(at+size, b.Blocks())})
	}
	return all
}

// Offer puts what is missing of a batch into the queue, unless it is there, and
// what a worker that is gone was drawing. It says how many blocks are missing:
// none, and the batch is drawn. It is asked again and again until then. The
// error may be that of somebody who tried to draw.
func (q *Queue) Offer(ctx context.Context, b datagen.Batch) (missing int, err error) {
	holes, err := datagen.Missing(ctx, q.drawer.Store, b, datagen.Span{From: 0, To: b.Blocks()})
	if err != nil || len(holes) == 0 {
		return 0, err
	}
	var jobs []river.InsertManyParams
	for _, h := range holes {
		missing += h.Len()
	}
	for _, s := range spans(b) {
		for len(holes) > 0 && holes[0].To <= s.From {
			holes = holes[1:]
		}
		if len(holes) > 0 && holes[0].From < s.To && len(jobs) < mostOffered {
			jobs = append(jobs, river.InsertManyParams{Args: draw{Order: b.Order, From: s.From, To: s.To}})
		}
	}
	var trouble error
	gone := map[int64]string{} // who ran a job that is to be done again
	for len(jobs) > 0 {
		there, err := q.client.InsertMany(ctx, jobs)
		if err != nil {
			return missing, fmt.Errorf("queue: %w", err)
		}
		jobs = nil
		living, err := q.living(ctx)
		if err != nil {
			return missing, fmt.Errorf("queue: %w", err)
		}
		for _, r := range there {
			var d draw
			if err := json.Unmarshal(r.Job.EncodedArgs, &d); err != nil {
				return missing, fmt.Errorf("queue: job %d: %w", r.Job.ID, err)
			}
			if who, ok := gone[d.After]; ok && !r.UniqueSkippedAsDuplicate {
				q.log.Warn("a worker is gone", "worker", who, "order", d.Order, "from", d.From, "to", d.To)
			}
			if n := len(r.Job.Errors); n > 0 && r.Job.State != rivertype.JobStateRunning {
				trouble = cmp.Or(trouble, fmt.Errorf("order %s: try %d to draw blocks: %s", b.Order, r.Job.Attempt, r.Job.Errors[n-1].Error))
			}
			if r.Job.State != rivertype.JobStateRunning || !q.dead(r.Job, living) {
				continue
			}
			d.After = r.Job.ID
			gone[d.After] = by(r.Job)
			jobs = append(jobs, river.InsertManyParams{Args: d})
		}
	}
	return missing, trouble
}

// by is who runs a job.
func by(r *rivertype.JobRow) string {
	if len(r.AttemptedBy) == 0 {
		return ""
	}
	return r.AttemptedBy[len(r.AttemptedBy)-1]
}

// dead says whether nobody runs a job that is said to be running: its worker is
// gone, or it has run for too long by our own clock.
func (q *Queue) dead(r *rivertype.JobRow, living map[uint32]bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for a, t := range q.seen { // what is no longer asked about is forgotten
		if now.Sub(t) > 10*overdue {
			delete(q.seen, a)
		}
	}
	a, worker := attempt{r.ID, r.Attempt}, by(r)
	if q.seen[a].IsZero() {
		q.seen[a] = now
	}
	if living[leaseOf(worker)] {
		delete(q.stale, worker)
	} else if q.stale[worker].IsZero() {
		q.stale[worker] = now
	}
	gone, missed := q.stale[worker]
	return missed && now.Sub(gone) > grace || now.Sub(q.seen[a]) > overdue
}

// only lets through what is of a level or above.
type only struct {
	least slog.Level
	slog.Handler
}

// Enabled implements slog.Handler.
func (o only) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= o.least && o.Handler.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (o only) WithAttrs(a []slog.Attr) slog.Handler { return only{o.least, o.Handler.WithAttrs(a)} }

// WithGroup implements slog.Handler.
func (o only) WithGroup(name string) slog.Handler { return only{o.least, o.Handler.WithGroup(name)} }
