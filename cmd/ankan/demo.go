package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"ankan/demo"
	"ankan/examples"
)

type demoCmd struct {
	Order    string `help:"Order file, dialect 1 or 2." placeholder:"FILE" type:"existingfile"`
	Cards    int    `help:"Number of cards, instead of the file's." placeholder:"N"`
	Dir      string `help:"Folder to make the sites in; one of an earlier demo is replaced." default:"ankan-demo" type:"path"`
	Stations int    `help:"Readers at the line." default:"8"`
	Keep     bool   `help:"Leave the sites running."`
	NoFaults bool   `help:"Let no chip fail."`
	JSON     bool   `help:"Print the summary as JSON, and nothing else."`
}

func (d demoCmd) Run(a *app) error {
	start := time.Now()
	plan := demo.Plan{Dir: d.Dir, Order: "order-1000.inp", Document: examples.Order(), Cards: d.Cards, Stations: d.Stations, Faults: !d.NoFaults}
	if d.Order != "" {
		doc, err := os.ReadFile(d.Order)
		if err != nil {
			return err
		}
		plan.Order, plan.Document = d.Order, doc
	}
	out := a.out
	if d.JSON {
		out = io.Discard
	}
	fmt.Fprintf(out, "setting up three sites in %s\n", d.Dir)
	f, err := demo.SetUp(a.ctx, plan)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d blank chips, %d cards to make\n", f.Cards+f.Cards/50+20, f.Cards)
	w, ctx, err := watchSites(a.ctx, f, d.Keep, out)
	if err != nil {
		return err
	}
	defer w.stop()
	r := newReporter(out)
	sum, err := f.Run(ctx, r)
	r.close()
	if failed := w.failure(); failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	if d.JSON {
		return a.print(true, sum, nil)
	}
	printSummary(a, f, sum, time.Since(start))
	if d.Keep {
		a.printf("\nThe sites are running. Stop them with: kill %s\n", w.pids())
	}
	return nil
}

// watcher keeps the sites' processes running: one that dies is started again,
// as a service manager would.
type watcher struct {
	keep   bool
	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	run    map[string]*exec.Cmd
	err    error
	out    io.Writer
}

func watchSites(ctx context.Context, f *demo.Factory, keep bool, out io.Writer) (*watcher, context.Context, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{keep: keep, cancel: cancel, run: map[string]*exec.Cmd{}, out: out}
	jobs := map[string][]string{"chips": {"chips", f.ChipsDir, "--listen", f.ChipsAddr}}
	for _, name := range demo.Sites() {
		jobs[name] = []string{"serve", "-c", filepath.Join(f.Dir, name, "site.yaml")}
	}
	for name, args := range jobs {
		logFile, err := os.OpenFile(filepath.Join(f.Dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			cancel()
			return nil, nil, err
		}
		w.done.Add(1)
		go w.watch(ctx, name, self, args, logFile)
	}
	return w, ctx, nil
}

func (w *watcher) watch(ctx context.Context, name, self string, args []string, log *os.File) {
	defer w.done.Done()
	defer log.Close()
	for quick := 0; ctx.Err() == nil; {
		began := time.Now()
		cmd := exec.Command(self, args...)
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for us to pass on
		if err := cmd.Start(); err != nil {
			fmt.Fprintf(w.out, "%s: %v\n", name, err)
			return
		}
		w.mu.Lock()
		w.run[name] = cmd
		w.mu.Unlock()
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			if ctx.Err() != nil {
				return
			}
			if quick++; time.Since(began) > 2*time.Second {
				quick = 0
			}
			if quick == 3 {
				w.fail(fmt.Errorf("%s does not start (%v): %s", name, err, lastLine(log.Name())))
				return
			}
			fmt.Fprintf(w.out, "%s stopped (%v); starting it again\n", name, err)
			sleep(ctx, 500*time.Millisecond)
		case <-ctx.Done():
			if w.keep {
				return
			}
			cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-ended:
			case <-time.After(5 * time.Second):
				cmd.Process.Kill()
				<-ended
			}
		}
	}
}

// fail ends the demonstration: a site cannot be started.
func (w *watcher) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
		w.cancel()
	}
}

func (w *watcher) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// lastLine is the last line of a log file.
func lastLine(path string) string {
	doc, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	doc = bytes.TrimSpace(doc)
	return string(doc[bytes.LastIndexByte(doc, '\n')+1:])
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (w *watcher) stop() {
	w.cancel()
	w.done.Wait()
}

func (w *watcher) pids() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b bytes.Buffer
	for _, c := range w.run {
		fmt.Fprintf(&b, "%d ", c.Process.Pid)
	}
	return string(bytes.TrimSpace(b.Bytes()))
}

// reporter shows progress: bars on a terminal, plain lines elsewhere.
type reporter struct {
	out   io.Writer
	bars  *mpb.Progress
	bar   *mpb.Bar
	total int
	name  string
	last  int
	lines []string
}

func newReporter(out io.Writer) *reporter {
	r := &reporter{out: out}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		r.bars = mpb.New(mpb.WithOutput(f), mpb.WithWidth(60), mpb.WithAutoRefresh())
	}
	return r
}

func (r *reporter) Stage(name string, total int) {
	r.end()
	r.name, r.total, r.last = name, total, 0
	if r.bars == nil {
		fmt.Fprintf(r.out, "\n%s\n", name)
		return
	}
	r.bar = r.bars.AddBar(int64(max(total, 1)), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(name, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.CountersNoUnit("%d / %d"), decor.Name(" "), decor.Elapsed(decor.ET_STYLE_GO)))
}

func (r *reporter) Progress(done int) {
	if r.bar != nil {
		r.bar.SetCurrent(int64(done))
		return
	}
	// A plain line for each tenth.
	if step := max(r.total/10, 1); done/step > r.last/step || done == r.total && r.last < done {
		fmt.Fprintf(r.out, "  %d of %d\n", done, r.total)
		r.last = done
	}
}

func (r *reporter) Note(format string, args ...any) {
	text := fmt.Sprintf("  "+format+"\n", args...)
	if r.bars != nil {
		r.bars.Write([]byte(text))
		return
	}
	fmt.Fprint(r.out, text)
}

func (r *reporter) end() {
	if r.bar != nil {
		r.bar.SetTotal(-1, true)
		r.bar.Wait()
		r.bars.Write([]byte("done: " + r.name + "\n"))
		r.bar = nil
	}
}

func (r *reporter) close() {
	r.end()
	if r.bars != nil {
		r.bars.Wait()
	}
}

func printSummary(a *app, f *demo.Factory, s demo.Summary, took time.Duration) {
	a.printf("\nOrder %s\n\n", s.Order)
	rows := []struct {
		name string
		n    int
	}{
		{"ordered", s.Ordered}, {"accepted, identities reserved", s.Accepted}, {"key sets generated", s.Generated},
		{"chips personalised", s.Personalised}, {"read back", s.ReadBack}, {"authenticated at the line", s.Authenticated},
		{"rejected and destroyed", s.Rejected}, {"remade with fresh keys", s.Remade}, {"set aside (not of the lot)", s.Aside},
		{"identities retired", s.Retired}, {"in the response", s.Responded}, {"loaded into the subscriber store", s.Loaded},
		{"cards that answered the store", s.Proved}, {"signatures verified from the logs", s.Signatures},
	}
	for _, r := range rows {
		a.printf("  %-36s %8d\n", r.name, r.n)
	}
	state := "no"
	if s.Destroyed {
		state = "yes"
	}
	a.printf("  %-36s %8s\n\n", "manufacturer's copy destroyed", state)
	a.printf("  %-36s %8s\n", "stage", "seconds")
	for _, t := range s.Stages {
		a.printf("  %-36s %8.2f\n", t.Name, t.Seconds)
	}
	a.printf("  %-36s %8.2f\n", "all, with set-up", took.Seconds())
	rel := func(path string) string {
		wd, err := os.Getwd()
		if err != nil {
			return path
		}
		if r, err := filepath.Rel(wd, path); err == nil && len(r) < len(path) {
			return r
		}
		return path
	}
	a.printf("\nWhat is where, and what opens it:\n\n")
	for _, l := range []struct{ what, path, cmd string }{
		{"operator's order", f.OrderFile, "less %s"},
		{"response, as the operator holds it; with the nodal officer's own key", filepath.Join(f.Dir, "operator/people/nodal-officer.key.asc"),
			"export GNUPGHOME=$(mktemp -d); gpg --import %s " + rel(filepath.Join(f.Dir, "bureau/data/openpgp.asc"))},
		{"", s.Artefacts["response"], "gpg --decrypt %s | less"},
		{"certificate of destruction", s.Artefacts["certificate-pdf"], "pdftotext -layout %s -"},
		{"", s.Artefacts["certificate"], "bin/ankan-verify document %s --key " + rel(filepath.Join(f.Dir, "bureau.pub"))},
		{"audit log of the bureau", s.Artefacts["log-bureau"], "bin/ankan-verify log %s --key " + rel(s.Artefacts["log-bureau"]+".vkey")},
		{"a card", f.ChipsDir, "bin/ankan chips %s --listen " + f.ChipsAddr + " &  bin/ankan card read --drawer " + f.ChipsAddr},
	} {
		if l.what != "" {
			a.printf("  %s\n", l.what)
		}
		a.printf("    "+l.cmd+"\n", rel(l.path))
	}
}
