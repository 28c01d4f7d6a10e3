package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"ankan/client"
	"ankan/demo"
	"ankan/durable"
	"ankan/examples"
	"ankan/exchange/edge"
	"ankan/factory"
	"ankan/hsm"
	"ankan/hsm/soft"
	"ankan/parts"
	"ankan/perso"
	"ankan/simos"
	"ankan/site"
)

// cards is how many a journey makes, of as many chips and a few that fail.
const cards = 6

// chips is the process with the drawer of chips, beside those of the sites.
const chips = "chips"

func processes() []string { return append(demo.Sites(), chips) }

// program is the command with the build tag crash.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binDir(), "ankan")
	return path, build(path, "-tags", "crash")
})

func build(path string, flags ...string) error {
	args := append([]string{"build", "-o", path}, append(flags, "ankan/cmd/ankan")...)
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func binDir() string { return filepath.Join(os.TempDir(), fmt.Sprintf("ankan-crash-%d", os.Getpid())) }

// A plant is a factory that was founded once, and is put back to that before
// each journey: its folders are copied back over themselves.
type plant struct {
	*demo.Factory
	base     string // the founded folders
	program  string
	database string // on a PostgreSQL server; "" is files
}

// found sets a factory up under dir, with its tables in a database or, if that is
// "", in files.
func found(ctx context.Context, dir, database string) (*plant, error) {
	bin, err := program()
	if err != nil {
		return nil, err
	}
	p := &plant{base: filepath.Join(dir, "base"), program: bin, database: database}
	var tokens []*soft.Token
	defer func() {
		for _, t := range tokens {
			t.Close()
		}
	}()
	p.Factory, err = demo.SetUp(ctx, demo.Plan{
		Dir: filepath.Join(dir, "f"), Order: "order.inp", Document: examples.Order(), Cards: cards, Stations: 2, Database: database,
		// The cost of a passphrase is not what is tested here.
		Token: func(c *site.Config) (hsm.Module, error) {
			pass, err := os.ReadFile(c.Token.Passphrase)
			if err != nil {
				return nil, err
			}
			if err := os.MkdirAll(filepath.Dir(c.Token.File), 0o700); err != nil {
				return nil, err
			}
			t, err := soft.Create(c.Token.File, bytes.TrimSpace(pass), soft.WithCost(soft.LowestCost()))
			if err == nil {
				tokens = append(tokens, t)
			}
			return t, err
		},
	})
	if err != nil {
		return nil, err
	}
	if err := p.spoilChips(); err != nil {
		return nil, err
	}
	for _, c := range p.Clients {
		// People whom a site tells of a failure, or that it cannot reach a reader, try again.
		c.Again = func(r *client.Refusal) bool {
			return strings.Contains(r.Text, durable.ErrFailed.Error()) || strings.Contains(r.Text, "rack: ")
		}
	}
	if database != "" {
		if err := p.onServer(ctx, "CREATE DATABASE %[1]s_base TEMPLATE %[1]s"); err != nil {
			return nil, err
		}
	}
	return p, copyTree(p.base, p.Dir)
}

// onServer has the server of the factory's database do something with it; %[1]s
// in the statements is its name.
func (p *plant) onServer(ctx context.Context, statements ...string) error {
	address, err := url.Parse(p.database)
	if err != nil {
		return err
	}
	name := strings.TrimPrefix(address.Path, "/")
	address.Path = "/postgres"
	conn, err := pgx.Connect(ctx, address.String())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, s := range statements {
		if _, err := conn.Exec(ctx, fmt.Sprintf(s, name)); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// spoilChips has one of the first chips die while it is written, and one be of
// another lot, so that a journey has a reject, a remake and a chip aside.
func (p *plant) spoilChips() error {
	all, err := filepath.Glob(filepath.Join(p.ChipsDir, "*.chip"))
	if err != nil || len(all) < cards {
		return errors.Join(fmt.Errorf("the drawer has %d chips", len(all)), err)
	}
	name := func(path string) string { return strings.TrimSuffix(filepath.Base(path), ".chip") }
	doc, err := json.Marshal(map[string]simos.Fault{name(all[1]): {Kind: simos.WrongLot}, name(all[2]): {Kind: simos.Mute, After: 60}})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.ChipsDir, "faults.json"), doc, 0o600)
}

// restore puts the factory back to how it was founded.
func (p *plant) restore() error {
	if p.database != "" {
		err := p.onServer(context.Background(), "DROP DATABASE IF EXISTS %[1]s WITH (FORCE)", "CREATE DATABASE %[1]s TEMPLATE %[1]s_base")
		if err != nil {
			return err
		}
	}
	if err := os.RemoveAll(p.Dir); err != nil {
		return err
	}
	return copyTree(p.Dir, p.base)
}

// copyTree copies a folder with the modes of its files.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		at := filepath.Join(to, strings.TrimPrefix(path, from))
		info, err := d.Info()
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.MkdirAll(at, info.Mode().Perm())
		case !info.Mode().IsRegular(): // a socket that was left
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(at, b, info.Mode().Perm())
	})
}

// An event is what happens to one process in one journey.
type event struct {
	process string
	die     bool // or fails
	durable.Event
}

// String is how an event is named on the command line.
func (e event) String() string {
	what := "fails"
	if e.die {
		what = "dies"
	}
	return fmt.Sprintf("%s:%s:%s", e.process, what, e.Event)
}

func parseEvents(text string) (all []event, err error) {
	for one := range strings.SplitSeq(text, ",") {
		f := strings.SplitN(one, ":", 3)
		if len(f) != 3 || !slices.Contains(processes(), f[0]) || f[1] != "dies" && f[1] != "fails" {
			return nil, fmt.Errorf("event %q, want PROCESS:dies:N:before|after or PROCESS:fails:N:before|after", one)
		}
		e, err := durable.ParseEvent(f[2])
		if err != nil {
			return nil, err
		}
		all = append(all, event{f[0], f[1] == "dies", e})
	}
	return all, nil
}

// An outcome is what came of a journey.
type outcome struct {
	events []event
	deaths map[string]string // where each process died as planned, by process
	counts map[string]durable.Count
	steps  map[string][]string // names, in order, of those that last and of those that do not
	books  factory.Report
}

// patience is how long a journey may take.
const patience = 3 * time.Minute

// journey drives one order through a fresh factory while the events happen, and
// checks the books at its end.
func (p *plant) journey(ctx context.Context, events ...event) (o outcome, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o = outcome{events: events, deaths: map[string]string{}, counts: map[string]durable.Count{}, steps: map[string][]string{}}
	if err := p.restore(); err != nil {
		return o, err
	}
	s := p.run(ctx, events)
	most := 1
	for _, e := range events {
		if e.process == chips && !e.die {
			most++ // a chip that could not keep what it was told falls silent, and is rejected
		}
	}
	sum, err := p.drive(ctx, most)
	cancel()
	if err := errors.Join(err, s.wait()); err != nil {
		return o, err
	}
	for _, name := range processes() {
		if o.deaths[name], err = s.died(name); err != nil {
			return o, err
		}
		if o.counts[name], o.steps[name], err = s.counted(name); err != nil {
			return o, err
		}
	}
	o.books, err = p.balanced(sum)
	return o, err
}

// drive drives the order through the processes and waits until nothing is on its
// way any more. No more chips are rejected than most.
func (p *plant) drive(ctx context.Context, most int) (demo.Summary, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var heard notes
	sum, err := p.Run(ctx, &heard)
	if err == nil && (!sum.Destroyed || sum.Responded != cards || sum.Loaded != cards || sum.Rejected > most || sum.Proved != 5) {
		err = fmt.Errorf("the journey does not balance: %+v\n%s", sum, strings.Join(heard, "\n"))
	}
	if err == nil {
		err = p.settled(ctx)
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, p.stands())
	}
	return sum, err
}

// stands is how the orders stand, and what lies in the spools, for whoever looks
// into a failure. The sites still run.
func (p *plant) stands() string {
	var b strings.Builder
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, name := range demo.Sites() {
		c := client.New(p.Configs[name].Control)
		for _, path := range []string{"/orders", "/runs"} {
			var answer any
			err := c.Get(ctx, path, &answer)
			fmt.Fprintf(&b, "%s %s: %.800v %v\n", name, path, answer, err)
		}
		filepath.WalkDir(p.Configs[name].SpoolDir(), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				fmt.Fprintf(&b, "%s\n", path)
			}
			return nil
		})
	}
	return b.String()
}

// settled waits until no file is on its way and the line is done with its orders:
// what failed last is tried again.
func (p *plant) settled(ctx context.Context) error {
	for quiet := 0; quiet < 3; {
		n := 0
		for _, name := range demo.Sites() {
			s, err := edge.OpenSpool(p.Configs[name].SpoolDir())
			if err != nil {
				return err
			}
			in, err := s.Waiting()
			out, outErr := s.Outgoing()
			if err := errors.Join(err, outErr, s.Close()); err != nil {
				return err
			}
			n += len(in) + len(out)
		}
		var runs []perso.Run
		if err := p.Clients[demo.Plant].Get(ctx, "/runs", &runs); err != nil || slices.ContainsFunc(runs, func(r perso.Run) bool { return r.State != "closed" }) {
			n++
		}
		if quiet++; n > 0 {
			quiet = 0
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d files and orders are on their way: %w", n, ctx.Err())
		case <-time.After(30 * time.Millisecond):
		}
	}
	return nil
}

// notes is what a journey tells on its way: why a chip was rejected, for one.
type notes []string

func (*notes) Stage(string, int)                 {}
func (*notes) Progress(int)                      {}
func (n *notes) Note(format string, args ...any) { *n = append(*n, fmt.Sprintf(format, args...)) }

// balanced checks the books of the sites, which do not run.
func (p *plant) balanced(sum demo.Summary) (r factory.Report, err error) {
	var own factory.Secrets
	if _, err := own.OwnKeys(p.Dir); err != nil {
		return r, err
	}
	w := factory.Works{Secrets: &own, Dirs: []string{p.Dir}, Except: factory.OwnKey, Settled: true}
	for _, name := range demo.Sites() {
		m, err := site.OpenToken(p.Configs[name], false)
		if err != nil {
			return r, err
		}
		defer m.Close()
		w.Sites = append(w.Sites, factory.Site{Config: p.Configs[name], Module: m, Parts: parts.All()})
	}
	r, err = factory.CheckBooks(context.Background(), w)
	if err == nil && (r.Cards != cards || r.Subscribers != cards || r.Rejects != sum.Rejected || r.Certified != 1 || r.Warrants < 9) {
		err = fmt.Errorf("the books are not those of the journey: %+v", r)
	}
	return r, err
}

// A supervisor keeps the processes running, as a service manager would.
type supervisor struct {
	*plant
	events []event
	all    sync.WaitGroup
	mu     sync.Mutex
	errs   []error
	lives  map[string]int
	pids   map[string]int
}

// run starts all processes; the first life of each has the events.
func (p *plant) run(ctx context.Context, events []event) *supervisor {
	s := &supervisor{plant: p, events: events, lives: map[string]int{}, pids: map[string]int{}}
	args := map[string][]string{chips: {"chips", p.ChipsDir, "--listen", p.ChipsAddr}}
	for _, name := range demo.Sites() {
		args[name] = []string{"serve", "-c", filepath.Join(p.Dir, name, "site.yaml")}
	}
	for _, name := range processes() {
		s.all.Go(func() { s.keep(ctx, name, args[name]) })
	}
	return s
}

// mostLives bounds how often a process is started again in one journey.
const mostLives = 60

func (s *supervisor) keep(ctx context.Context, name string, args []string) {
	runtime.LockOSThread() // with which its processes die, if the test is killed
	defer runtime.UnlockOSThread()
	for life := 1; ctx.Err() == nil; life++ {
		if life > mostLives {
			s.failed(fmt.Errorf("%s was started %d times; its last words: %s", name, mostLives, tail(s.logOf(name))))
			return
		}
		if err := s.live(ctx, name, args, life); err != nil {
			s.failed(fmt.Errorf("%s: %w", name, err))
			return
		}
	}
}

func (s *supervisor) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, err)
}

func (s *supervisor) logOf(name string) string   { return filepath.Join(s.Dir, name+".log") }
func (s *supervisor) traceOf(name string) string { return filepath.Join(s.Dir, name+".steps") }

// live is one life of a process.
func (s *supervisor) live(ctx context.Context, name string, args []string, life int) error {
	log, err := os.OpenFile(s.logOf(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if life == 1 {
		cmd.Env = append(os.Environ(), "ANKAN_STEPS="+s.traceOf(name))
		var fails []string
		for _, e := range s.events {
			switch {
			case e.process != name:
			case e.die:
				cmd.Env = append(cmd.Env, "ANKAN_DIE="+e.Event.String())
			default:
				fails = append(fails, e.Event.String())
			}
		}
		if len(fails) > 0 {
			cmd.Env = append(cmd.Env, "ANKAN_FAIL="+strings.Join(fails, ","))
		}
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.mu.Lock()
	s.lives[name], s.pids[name] = life, cmd.Process.Pid
	s.mu.Unlock()
	began := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
		s.mu.Lock()
		s.pids[name] = 0
		s.mu.Unlock()
		// What exits by itself at once is not started again at once.
		if cmd.ProcessState.Exited() && time.Since(began) < time.Second {
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
		return nil
	case <-ctx.Done():
	}
	cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
		return nil
	case <-time.After(10 * time.Second):
		cmd.Process.Kill()
		<-ended
		return errors.New("it did not end in 10 s when it was asked to")
	}
}

// kill kills a process, if it runs.
func (s *supervisor) kill(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	pid := s.pids[name]
	return pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil
}

// wait waits until all processes have ended.
func (s *supervisor) wait() error {
	s.all.Wait()
	return errors.Join(s.errs...)
}

// died is the step at which a process died as planned; "" if it did not.
func (s *supervisor) died(name string) (string, error) {
	doc, err := os.ReadFile(s.logOf(name))
	if err != nil {
		return "", err
	}
	_, rest, ok := strings.Cut(string(doc), "durable: dies at ")
	if !ok {
		return "", nil
	}
	step, _, _ := strings.Cut(rest, "\n")
	return step, nil
}

// counted is how many steps the first life of a process began.
func (s *supervisor) counted(name string) (c durable.Count, names []string, err error) {
	doc, err := os.ReadFile(s.traceOf(name))
	if errors.Is(err, os.ErrNotExist) {
		return c, nil, nil
	}
	if err != nil {
		return c, nil, err
	}
	for line := range strings.Lines(string(doc)) {
		var n, all string
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		if len(f) != 3 {
			return c, nil, fmt.Errorf("%s: line %q", s.traceOf(name), line)
		}
		n, all = f[0], f[1]
		if n != "-" {
			c.Lasting++
		}
		c.All++
		if all != fmt.Sprint(c.All) {
			return c, nil, fmt.Errorf("%s: step %d is numbered %s", s.traceOf(name), c.All, all)
		}
		names = append(names, f[2])
	}
	return c, names, nil
}

// tail is the end of a file.
func tail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	const size = 4000
	if info, err := f.Stat(); err == nil && info.Size() > size {
		f.Seek(-size, io.SeekEnd)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// says is the last words of all processes, for whoever looks into a failure.
func (p *plant) says() string {
	var b strings.Builder
	for _, name := range processes() {
		fmt.Fprintf(&b, "---- %s\n%s", name, tail(filepath.Join(p.Dir, name+".log")))
	}
	return b.String()
}
