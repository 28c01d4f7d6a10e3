package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/datagen"
	"ankan/hsm/soft"
	"ankan/keys"
	"ankan/notice"
	"ankan/order"
	"ankan/passkey"
	"ankan/sim"
	"ankan/store"
	"ankan/worker"
)

// benchWorkersCmd has workers, each a process, draw one order.
type benchWorkersCmd struct {
	Cards    int    `help:"Cards of the order." default:"200000" placeholder:"N"`
	Workers  []int  `help:"How many workers, one run for each number." default:"1,2,4" placeholder:"N,..."`
	Procs    int    `help:"Processors of each worker." default:"1" placeholder:"N"`
	Database string `help:"Address of a PostgreSQL database, in which the schema ankan_bench is made anew for each run. Default: a server of Debian's package, started for the run, as it comes but for its socket." placeholder:"URL" env:"ANKAN_DATABASE"`
	JSON     bool   `help:"Print JSON."`
}

func (c benchWorkersCmd) Run(a *app) error {
	r, err := c.measure(a.ctx)
	if err != nil {
		return err
	}
	runs, _ := r.get("runs").([]result)
	return a.print(c.JSON, r, func() {
		for _, f := range r {
			if f.name != "runs" {
				a.printf("%-32s %v\n", f.name, f.value)
			}
		}
		for _, run := range runs {
			a.printf("\n")
			for _, f := range run {
				if waits, ok := f.value.(result); ok {
					a.printf("%s, on average\n", f.name)
					for _, w := range waits {
						a.printf("  %-30s %v\n", w.name, w.value)
					}
					continue
				}
				a.printf("%-32s %v\n", f.name, f.value)
			}
		}
	})
}

func (c benchWorkersCmd) measure(ctx context.Context) (r result, err error) {
	if c.Cards < 1 || c.Procs < 1 || len(c.Workers) == 0 || slices.Min(c.Workers) < 1 {
		return nil, fmt.Errorf("%d cards, workers %v with %d processors each: want 1 or more of each", c.Cards, c.Workers, c.Procs)
	}
	r.add("cards", c.Cards)
	r.add("procs_each", c.Procs)
	r.add("peer", "none here")
	var runs []result
	for _, n := range c.Workers {
		one, err := c.run(ctx, n)
		if err != nil {
			return nil, fmt.Errorf("%d workers: %w", n, err)
		}
		runs = append(runs, one)
	}
	r.add("runs", runs)
	return r, r.machine()
}

// run is one run: a site that hands out, and n workers that draw.
func (c benchWorkersCmd) run(ctx context.Context, n int) (r result, err error) {
	dir, err := os.MkdirTemp("", "ankan-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	address, server := c.Database, (*benchServer)(nil)
	if address == "" {
		if server, err = startServer(ctx, dir); err != nil {
			return nil, err
		}
		defer server.stop()
		address = server.address
	}
	if address, err = store.InSchema(ctx, address, "ankan_bench"); err != nil {
		return nil, err
	}
	b, err := newWorkerBench(ctx, dir, address)
	if err != nil {
		return nil, err
	}
	defer b.close()
	batch, err := b.batch(ctx, c.Cards)
	if err != nil {
		return nil, err
	}
	workers, err := b.start(ctx, n, c.Procs)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, w := range workers {
			_ = w.Process.Kill()
			_ = w.Wait()
		}
	}()
	db, err := sql.Open("pgx", address)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	// All of them are there before the order is.
	for living := 0; living < n+1; time.Sleep(20 * time.Millisecond) {
		if err := cmp.Or(ctx.Err(), db.QueryRowContext(ctx, `SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'ankan queue bench%' AND query LIKE 'LISTEN%'`).Scan(&living)); err != nil {
			return nil, err
		}
	}
	var from string
	if err := db.QueryRowContext(ctx, `SELECT pg_current_wal_lsn()::text`).Scan(&from); err != nil {
		return nil, err
	}
	watch := watchSessions(ctx, db)
	began := time.Now()
	for {
		missing, err := b.queue.Offer(ctx, batch)
		if err != nil {
			return nil, err
		}
		if missing == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	took := time.Since(began)
	waits := watch()
	r.add("workers", n)
	r.add("seconds", round(took.Seconds()))
	r.add("cards_per_second", round(float64(c.Cards)/took.Seconds()))
	var wal, blocks, logged int64
	if err := db.QueryRowContext(ctx, `SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), $1::pg_lsn)::bigint, pg_total_relation_size('block'), pg_total_relation_size('log_entry')`, from).Scan(&wal, &blocks, &logged); err != nil {
		return nil, err
	}
	r.add("wal_bytes_per_card", round(float64(wal)/float64(c.Cards)))
	r.add("block_bytes_per_card", round(float64(blocks)/float64(c.Cards)))
	r.add("log_bytes_per_card", round(float64(logged)/float64(c.Cards)))
	// Where the time went: processor of the workers, of the database, and what
	// the sessions of the database were doing whenever they were looked at.
	var cpu time.Duration
	for _, w := range workers {
		_ = w.Process.Signal(syscall.SIGTERM)
		if err := w.Wait(); err != nil {
			return nil, fmt.Errorf("a worker: %w", err)
		}
		cpu += w.ProcessState.UserTime() + w.ProcessState.SystemTime()
	}
	workers = nil
	r.add("workers_processor_seconds", round(cpu.Seconds()))
	if server != nil {
		b.close()
		db.Close()
		server.stop()
		state := server.cmd.ProcessState
		r.add("database_processor_seconds", round((state.UserTime() + state.SystemTime()).Seconds()))
	}
	r.add("processors", runtime.NumCPU())
	r.add("sessions", waits)
	return r, nil
}

// watchSessions looks at what the sessions of the database do, a hundred times a
// second, until it is asked: the average number of sessions that were working,
// and of those that waited, by what for.
func watchSessions(ctx context.Context, db *sql.DB) func() result {
	ctx, stop := context.WithCancel(ctx)
	counts, looks, done := map[string]int{}, 0, make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			rows, err := db.QueryContext(ctx, `SELECT coalesce(wait_event_type || ':' || wait_event, 'working') FROM pg_stat_activity
				WHERE state = 'active' AND application_name LIKE 'ankan%' AND pid <> pg_backend_pid()`)
			if err == nil {
				for rows.Next() {
					var what string
					if rows.Scan(&what) == nil {
						counts[what]++
					}
				}
				rows.Close()
				looks++
			}
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return func() result {
		stop()
		<-done
		var names []string
		for name := range counts {
			names = append(names, name)
		}
		slices.SortFunc(names, func(a, b string) int { return counts[b] - counts[a] })
		var r result
		for _, name := range names[:min(len(names), 6)] {
			r.add(name, round(float64(counts[name])/float64(max(looks, 1))))
		}
		return r
	}
}

// A workerBench is what a bureau's main process is to its workers.
type workerBench struct {
	dir, address string
	token        *soft.Token
	store        *store.Store
	guard        *keys.Guard
	queue        *worker.Queue
	closed       bool
}

const benchSite = "bench"

func newWorkerBench(ctx context.Context, dir, address string) (_ *workerBench, err error) {
	b := &workerBench{dir: dir, address: address}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	pass := rand.Text()
	if err := os.WriteFile(filepath.Join(dir, "pass"), []byte(pass), 0o600); err != nil {
		return nil, err
	}
	if b.token, err = soft.Create(filepath.Join(dir, "token"), []byte(pass), soft.WithCost(soft.LowestCost())); err != nil {
		return nil, err
	}
	for _, k := range benchKeys {
		if _, err := b.token.Generate(ctx, k.id, k.p, k.a); err != nil {
			return nil, err
		}
	}
	sign, err := b.token.Signer(ctx, "log")
	if err != nil {
		return nil, err
	}
	signer, err := audit.NewSigner("ankan/"+benchSite, sign)
	if err != nil {
		return nil, err
	}
	b.store, err = store.Open(ctx, store.Config{Path: address, Origin: signer.Name(), Signer: signer},
		access.Schema(), notice.Schema(), custody.Schema(), keys.Schema(), order.Schema(), datagen.Schema())
	if err != nil {
		return nil, err
	}
	people := access.New(b.store)
	f, err := benchFounding()
	if err != nil {
		return nil, err
	}
	if err := people.Found(ctx, f); err != nil {
		return nil, err
	}
	register := keys.NewRegister(benchSite, b.store, people)
	if _, err := register.Reconcile(ctx, b.token); err != nil {
		return nil, err
	}
	if b.guard, err = keys.NewGuard(ctx, register, b.token); err != nil {
		return nil, err
	}
	ledger, err := order.NewLedger(b.guard, "ledger")
	if err != nil {
		return nil, err
	}
	d := &worker.Drawer{Store: b.store, Guard: b.guard, Ledger: ledger}
	b.queue, err = worker.Open(ctx, d, worker.Options{Address: address, Name: "bench-site", Leads: true, Log: slog.New(slog.DiscardHandler)})
	return b, err
}

// benchFounding is of two people, whom a site must have.
func benchFounding() (access.Founding, error) {
	signers, people := map[string]act.Key{}, []act.Person(nil)
	for id, role := range map[string]string{"1": "key-manager", "2": "security-officer"} {
		k, err := passkey.NewSoft("localhost", "http://localhost")
		if err != nil {
			return access.Founding{}, err
		}
		signers[id] = k
		people = append(people, act.Person{ID: id, Name: "Bench " + id, Roles: []string{role}, Employment: act.Permanent, Credential: k.Credential})
	}
	f, err := act.Found(benchSite, access.DefaultPolicy(), people, signers, time.Now())
	return access.Founding{Founding: f}, err
}

// batch records a batch that is to be drawn.
func (b *workerBench) batch(ctx context.Context, cards int) (datagen.Batch, error) {
	w := workshop{token: b.token}
	batch, err := w.batch(ctx, "bench-order", "in-5g-usim", cards)
	if err != nil {
		return batch, err
	}
	batch.OP = "op"
	dk, err := b.token.OpenDataKey(ctx, batch.KEK, batch.Wrapped)
	if err != nil {
		return batch, err
	}
	defer dk.Close()
	iccid, err1 := sim.ICCIDFromBody("899100000000000000")
	imsi, err2 := sim.ParseIMSI("001010000000000")
	ids, err3 := sim.NewIdentityRange(sim.Identity{ICCID: iccid, IMSI: imsi}, uint64(cards))
	if err := errors.Join(err1, err2, err3); err != nil {
		return batch, err
	}
	if batch.Range, err = datagen.SealRange(dk, batch.Order, ids); err != nil {
		return batch, err
	}
	e := audit.Entry{Kind: "batch.created", Actor: "system:datagen", Subject: "order/" + batch.Order, Data: map[string]any{"cards": cards}}
	return batch, b.store.Change(ctx, e, func(tx *store.Tx) error { return datagen.Create(tx, batch) })
}

// start starts n workers of this very program.
func (b *workerBench) start(ctx context.Context, n, procs int) ([]*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var all []*exec.Cmd
	for i := range n {
		config := filepath.Join(b.dir, fmt.Sprintf("worker-%d.yaml", i+1))
		doc := fmt.Sprintf("site: %s\nname: bench-%d\ndatabase: {url: %q}\ntoken: {file: token, passphrase: pass}\n", benchSite, i+1, b.address)
		if err := os.WriteFile(config, []byte(doc), 0o600); err != nil {
			return all, err
		}
		w := exec.CommandContext(ctx, self, "worker", "-c", config)
		w.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(procs))
		if err := w.Start(); err != nil {
			return all, err
		}
		all = append(all, w)
	}
	return all, nil
}

func (b *workerBench) close() {
	if b.closed {
		return
	}
	b.closed = true
	if b.queue != nil {
		b.queue.Close()
	}
	if b.store != nil {
		b.store.Close()
	}
	if b.token != nil {
		b.token.Close()
	}
}

// A benchServer is a PostgreSQL server on a socket, for one run.
type benchServer struct {
	address string
	cmd     *exec.Cmd
	stopped bool
}

// startServer starts Debian's PostgreSQL with its usual settings: what commits
// is on the disk.
func startServer(ctx context.Context, dir string) (*benchServer, error) {
	all, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(all) == 0 {
		return nil, errors.New("there is no PostgreSQL server here; install the package postgresql, or name a database with --database")
	}
	bin, data := all[len(all)-1], filepath.Join(dir, "pg")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	attr := &syscall.SysProcAttr{}
	if os.Getuid() == 0 { // PostgreSQL does not run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, fmt.Errorf("PostgreSQL does not run as root: %w; install the package postgresql", err)
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2, os.Chown(data, uid, gid), os.Chmod(dir, 0o711)); err != nil {
			return nil, err
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
		cmd.Dir, cmd.SysProcAttr = "/", attr
		return cmd
	}
	if out, err := command("initdb", "-D", filepath.Join(data, "db"), "-U", "ankan", "-A", "trust", "-E", "UTF8", "--no-locale").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	s := &benchServer{cmd: command("postgres", "-D", filepath.Join(data, "db"), "-k", data, "-c", "listen_addresses=")}
	s.address = (&url.URL{Scheme: "postgres", Path: "/postgres", RawQuery: url.Values{"host": {data}, "user": {"ankan"}}.Encode()}).String()
	var said strings.Builder
	s.cmd.Stderr = &said
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGINT) }
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for until := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		conn, err := pgx.Connect(ctx, s.address)
		if err == nil {
			return s, conn.Close(ctx)
		}
		if time.Now().After(until) || ctx.Err() != nil {
			s.stop()
			return nil, fmt.Errorf("PostgreSQL does not answer: %w: %s", err, said.String())
		}
	}
}

func (s *benchServer) stop() {
	if !s.stopped {
		s.stopped = true
		_ = s.cmd.Process.Signal(syscall.SIGINT)
		_ = s.cmd.Wait() // it ends with the signal
	}
}
