package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"ankan/client"
	"ankan/demo"
	"ankan/examples"
	"ankan/site"
)

type demoCmd struct {
	Order    string `help:"Order file, dialect 1 or 2." placeholder:"FILE" type:"existingfile"`
	Cards    int    `help:"Number of cards, instead of the file's." placeholder:"N"`
	Dir      string `help:"Folder to make the sites in; one of an earlier demo is replaced." default:"ankan-demo" type:"path"`
	Stations int    `help:"Readers at the line." default:"8" placeholder:"N"`
	Database string `help:"Address of a PostgreSQL database, in which each site gets a schema of its own, ankan_demo_SITE; one that is there is replaced." placeholder:"URL" env:"ANKAN_DATABASE"`
	Keep     bool   `help:"Leave the sites running."`
	NoFaults bool   `help:"Let no chip fail."`
	JSON     bool   `help:"Print the summary as JSON, and nothing else."`
}

func (d demoCmd) Run(a *app) error {
	if d.Cards < 0 || d.Stations < 1 {
		return fmt.Errorf("%d cards at %d stations cannot be made; want 1 or more", d.Cards, d.Stations)
	}
	start := time.Now()
	plan := demo.Plan{Dir: d.Dir, Order: "order-1000.inp", Document: examples.Order(), Cards: d.Cards, Stations: d.Stations, Faults: !d.NoFaults, Database: d.Database}
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
	if err := stillRunning(a.ctx, d.Dir); err != nil {
		return err
	}
	r := newReporter(out)
	r.Stage("three sites, set up in "+short(d.Dir), 0)
	f, err := demo.SetUp(a.ctx, plan)
	if err != nil {
		r.close(true)
		return err
	}
	w, ctx, err := watchSites(a.ctx, f, r)
	if err != nil {
		r.close(true)
		return err
	}
	sum, err := f.Run(ctx, r)
	r.close(err != nil)
	kept := d.Keep && err == nil
	if kept {
		w.leave()
	} else {
		w.stop()
	}
	if failed := w.failure(); failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	if d.JSON {
		return a.print(true, sum, nil)
	}
	printSummary(a, f, sum, time.Since(start), kept)
	if kept {
		a.printf("\nThe sites are running. Stop them with: kill %s\n", w.pids())
	}
	return nil
}

// stillRunning refuses to replace the folder of sites that an earlier
// demonstration left running.
func stillRunning(ctx context.Context, dir string) error {
	sockets, err := filepath.Glob(filepath.Join(dir, "*.sock"))
	if err != nil {
		return err
	}
	var pids []string
	for _, s := range sockets {
		var st site.Status
		if client.New(s).Get(ctx, "/status", &st) == nil {
			pids = append(pids, strconv.Itoa(st.PID))
		}
	}
	if len(pids) > 0 {
		return fmt.Errorf("%s holds sites that are running; stop them first: kill %s", short(dir), strings.Join(pids, " "))
	}
	return nil
}

// watcher keeps the sites' processes running: one that dies is started again,
// as a service manager would.
type watcher struct {
	report *reporter
	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	keep   bool
	run    map[string]*exec.Cmd
	err    error

	sockets map[string]string // of the sites
}

func watchSites(ctx context.Context, f *demo.Factory, r *reporter) (*watcher, context.Context, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{report: r, cancel: cancel, run: map[string]*exec.Cmd{}, sockets: map[string]string{}}
	jobs := map[string][]string{"chips": {"chips", f.ChipsDir, "--listen", f.ChipsAddr}}
	for _, name := range demo.Sites() {
		jobs[name] = []string{"serve", "-c", filepath.Join(f.Dir, name, "site.yaml")}
		w.sockets[name] = f.Configs[name].Control
	}
	for name, args := range jobs {
		logFile, err := os.OpenFile(filepath.Join(f.Dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			w.stop()
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
			w.fail(fmt.Errorf("%s: %w", name, err))
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
			// A site that somebody killed had started; one that exits
			// by itself at once will do so again.
			if quick++; time.Since(began) > 2*time.Second || !cmd.ProcessState.Exited() {
				quick = 0
			}
			if quick == 3 && !w.answers(ctx, name) {
				w.fail(fmt.Errorf("%s does not start (%v): %s", name, err, lastLine(log.Name())))
				return
			}
			if w.elsewhere(ctx, name) {
				quick = 0
				continue
			}
			w.report.Note("%s stopped (%v); starting it again", name, err)
			sleep(ctx, 500*time.Millisecond)
		case <-ctx.Done():
			if w.kept() {
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

// answers says whether a site answers at its socket.
func (w *watcher) answers(ctx context.Context, name string) bool {
	var st site.Status
	return w.sockets[name] != "" && client.New(w.sockets[name]).Get(ctx, "/status", &st) == nil
}

// elsewhere waits while somebody else runs the site: whoever killed it may have
// started it again by hand.
func (w *watcher) elsewhere(ctx context.Context, name string) bool {
	if !w.answers(ctx, name) {
		return false
	}
	w.report.Note("%s was started by somebody else", name)
	for w.answers(ctx, name) {
		sleep(ctx, 500*time.Millisecond)
	}
	return true
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

// stop ends the sites.
func (w *watcher) stop() {
	w.cancel()
	w.done.Wait()
}

// leave lets the sites run on.
func (w *watcher) leave() {
	w.mu.Lock()
	w.keep = true
	w.mu.Unlock()
	w.stop()
}

func (w *watcher) kept() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.keep
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

func printSummary(a *app, f *demo.Factory, s demo.Summary, took time.Duration, running bool) {
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
	card := "bin/ankan card read --drawer " + f.ChipsAddr + " --chip " + firstChip(f.ChipsDir)
	if !running {
		card = "bin/ankan chips %s --listen " + f.ChipsAddr + " &  " + card
	}
	a.printf("\nWhat is where, and what opens it:\n\n")
	for _, l := range []struct{ what, path, cmd string }{
		{"operator's order", f.OrderFile, "less %s"},
		{"response, as the operator holds it; with the nodal officer's own key", filepath.Join(f.Dir, "operator/people/nodal-officer.key.asc"),
			"export GNUPGHOME=$(mktemp -d); gpg --import %s " + short(filepath.Join(f.Dir, "bureau/data/openpgp.asc"))},
		{"", s.Artefacts["response"], "gpg --decrypt %s | less"},
		{"certificate of destruction", s.Artefacts["certificate-pdf"], "pdftotext -layout %s -"},
		{"", s.Artefacts["certificate"], "bin/ankan-verify document %s --key " + short(filepath.Join(f.Dir, "bureau.pub"))},
		{"audit log of the bureau", s.Artefacts["log-bureau"], "bin/ankan-verify log %s --key " + short(s.Artefacts["log-bureau"]+".vkey")},
		{"a card", f.ChipsDir, card},
	} {
		if l.what != "" {
			a.printf("  %s\n", l.what)
		}
		a.printf("    %s\n", strings.ReplaceAll(l.cmd, "%s", short(l.path)))
	}
}

// firstChip is the serial number of the first chip in a drawer's folder.
func firstChip(dir string) string {
	chips, err := filepath.Glob(filepath.Join(dir, "*.chip"))
	if err != nil || len(chips) == 0 {
		return "SERIAL"
	}
	return strings.TrimSuffix(filepath.Base(chips[0]), ".chip")
}
