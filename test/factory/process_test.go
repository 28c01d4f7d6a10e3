package factory

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ankan/client"
	"ankan/demo"
	"ankan/factory"
	"ankan/parts"
	"ankan/site"
	"ankan/store/storetest"
)

var (
	kills = flag.Int("kills", 1, "runs of TestKill with random moments")
	seed  = flag.Uint64("seed", 1, "of the first of them; the next has the next number")
)

// program builds the command once, into binDir.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binDir(), "ankan")
	if out, err := exec.Command("go", "build", "-o", path, "ankan/cmd/ankan").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func binDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("ankan-factory-%d", os.Getpid()))
}

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(binDir())
	os.Exit(code)
}

// A moment is when a site is killed: as soon as its log has so many entries.
type moment struct {
	site string
	size int64
}

// A child is a process of the demonstration, as its site tells of it.
type child struct {
	pid    int
	seen   time.Time
	killed bool
}

// A killer ends sites at their moments, with SIGKILL.
type killer struct {
	dir     string
	pending []moment
	seen    map[string]child
	quick   map[string]int // deaths in a row of a process that had not lived long
	log     []string
}

// settled is how long a process lives before its death does not count as one
// that could not start: the demonstration gives up after three such.
const settled = 2500 * time.Millisecond

// look kills what is due. A moment that is passed while its site is away, or
// cannot be killed yet, is kept for later.
func (k *killer) look(ctx context.Context) {
	met := map[string]bool{} // one moment of a site at a time
	k.pending = slices.DeleteFunc(k.pending, func(m moment) bool {
		if met[m.site] {
			return false
		}
		met[m.site] = true
		pid := k.due(ctx, m)
		if pid == 0 || syscall.Kill(pid, syscall.SIGKILL) != nil {
			return false
		}
		k.seen[m.site] = child{pid: pid, killed: true}
		k.log = append(k.log, fmt.Sprintf("%s at %d or later", m.site, m.size))
		return true
	})
}

// due is the process to kill now, if any.
func (k *killer) due(ctx context.Context, m moment) int {
	var st site.Status
	if client.New(filepath.Join(k.dir, m.site+".sock")).Get(ctx, "/status", &st) != nil {
		return 0
	}
	if k.seen[m.site].pid != st.PID {
		k.seen[m.site] = child{pid: st.PID, seen: time.Now()}
	}
	c := k.seen[m.site]
	young := time.Since(c.seen) < settled
	if c.killed || st.LogSize < m.size || young && k.quick[m.site] == 2 {
		return 0
	}
	if k.quick[m.site]++; !young {
		k.quick[m.site] = 0
	}
	return st.PID
}

// demonstration runs `ankan demo` and kills its sites at the moments.
func demonstration(t *testing.T, moments []moment) {
	path := must[string](t)(program())
	dir := must[string](t)(os.MkdirTemp("", "ankan"))
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	defer cancel()
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, path, "demo", "--cards", "120", "--dir", filepath.Join(dir, "demo"), "--json")
	cmd.Stdout, cmd.Stderr = &out, &problems
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // so that it ends its sites
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	k := &killer{dir: filepath.Join(dir, "demo"), pending: moments, seen: map[string]child{}, quick: map[string]int{}}
	for tick := time.NewTicker(15 * time.Millisecond); ; {
		select {
		case err := <-ended:
			tick.Stop()
			k.check(t, err, out.Bytes(), problems.String())
			return
		case <-tick.C:
			k.look(ctx)
		}
	}
}

// check checks how a demonstration ended.
func (k *killer) check(t *testing.T, err error, summary []byte, problems string) {
	t.Helper()
	t.Logf("killed: %s", strings.Join(k.log, ", "))
	if err != nil {
		t.Fatalf("%v: %s", err, problems)
	}
	if len(k.pending) > 0 {
		t.Errorf("moments that never came: %v", k.pending)
	}
	var s demo.Summary
	if err := json.Unmarshal(summary, &s); err != nil {
		t.Fatalf("%v: %s", err, summary)
	}
	if !s.Destroyed || s.Ordered != 120 || s.Accepted != 120 || s.Generated != 120 || s.Responded+s.Retired != 120 || s.Loaded != s.Responded ||
		s.ReadBack != s.Responded || s.Authenticated != s.Responded || s.Personalised != s.ReadBack+s.Rejected || s.Proved != 5 {
		t.Errorf("does not balance: %+v", s)
	}
	own := &factory.Secrets{}
	ownKeys(t, own, k.dir)
	k.balanced(t, own)
	for _, name := range demo.Sites() {
		vkey := must[[]byte](t)(os.ReadFile(s.Artefacts["log-"+name] + ".vkey"))
		starts := 0
		for _, e := range readLog(t, s.Artefacts["log-"+name], strings.TrimSpace(string(vkey))) {
			if e.Kind == "site.started" {
				starts++
			}
		}
		if deaths := strings.Count(strings.Join(k.log, "\n"), name+" at"); starts != deaths+1 {
			t.Errorf("%s: the log has %d starts, want %d", name, starts, deaths+1)
		}
	}
}

// balanced checks the books that the sites' processes left.
func (k *killer) balanced(t *testing.T, own *factory.Secrets) {
	w := factory.Works{Secrets: own, Dirs: []string{k.dir}, Except: factory.OwnKey, Settled: true}
	for _, name := range demo.Sites() {
		c := must[*site.Config](t)(site.LoadConfig(filepath.Join(k.dir, name, "site.yaml")))
		m := must[site.Module](t)(site.OpenToken(c, false))
		defer m.Close()
		w.Sites = append(w.Sites, factory.Site{Config: c, Module: m, Parts: parts.All()})
	}
	r, err := factory.CheckBooks(t.Context(), w)
	if err != nil || r.Certified != 1 {
		t.Errorf("%+v: %v", r, err)
	}
}

// TestKill kills every site three times while it works. The demonstration ends
// as if nothing had happened.
func TestKill(t *testing.T) {
	t.Parallel()
	t.Run("moments", func(t *testing.T) {
		demonstration(t, []moment{
			{demo.Operator, 16}, {demo.Operator, 30}, {demo.Operator, 44},
			{demo.Bureau, 22}, {demo.Bureau, 44}, {demo.Bureau, 58},
			{demo.Plant, 40}, {demo.Plant, 120}, {demo.Plant, 230},
		})
	})
	for i := range *kills {
		s := *seed + uint64(i)
		t.Run(fmt.Sprintf("seed %d", s), func(t *testing.T) { demonstration(t, randomMoments(s)) })
	}
}

// randomMoments draws three moments for each site, between its founding and the
// last stages of a journey of 120 cards.
func randomMoments(seed uint64) (all []moment) {
	r := rand.New(rand.NewPCG(seed, 0))
	for _, name := range demo.Sites() {
		last := map[string]int64{demo.Operator: 44, demo.Bureau: 60, demo.Plant: 260}[name]
		var sizes []int64
		for range 3 {
			sizes = append(sizes, 10+r.Int64N(last-10))
		}
		slices.Sort(sizes)
		for _, n := range sizes {
			all = append(all, moment{name, n})
		}
	}
	return all
}

// TestSeparateEdge has the bureau's edge run as a process of its own, and kills
// it once on the way.
func TestSeparateEdge(t *testing.T) {
	t.Parallel()
	w := start(t, options{cards: 10, change: func(path, doc string) string {
		if strings.HasSuffix(path, "bureau/site.yaml") {
			return strings.Replace(doc, "edge:\n", "edge:\n  separate: true\n", 1)
		}
		return doc
	}})
	if !w.Configs[demo.Bureau].Edge.Separate {
		t.Fatal("the bureau's edge is not separate")
	}
	pid, kill := w.edge(demo.Bureau)
	looked := false
	w.journey(map[string]func(){
		stageLine: func() {
			files := must[[]string](t)(openFiles(pid))
			for _, f := range files {
				if strings.Contains(f, "ankan.db") || strings.Contains(f, "/token") {
					t.Errorf("the edge has %s open", f)
				}
				looked = looked || strings.HasSuffix(f, "spool/edge.lock")
			}
			if !looked {
				t.Errorf("the edge has %q open, want its spool's lock among them", files)
			}
			kill()
			pid, kill = w.edge(demo.Bureau)
		},
	})
	kill()
	// What is looked at can show what is looked for: this process has both open.
	own := strings.Join(must[[]string](t)(openFiles(os.Getpid())), "\n")
	if !storetest.OnPostgres() && !strings.Contains(own, "bureau/data/ankan.db") || !strings.Contains(own, "/token") {
		t.Errorf("this process has neither database nor token open:\n%s", own)
	}
}

// edge starts a site's edge as a process.
func (w *works) edge(name string) (pid int, kill func()) {
	w.t.Helper()
	out := must[*os.File](w.t)(os.OpenFile(filepath.Join(w.Dir, name, "edge.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600))
	cmd := exec.Command(must[string](w.t)(program()), "edge", "-c", filepath.Join(w.Dir, name, "site.yaml"))
	cmd.Stdout, cmd.Stderr = io.Discard, out
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	out.Close()
	kill = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	w.t.Cleanup(kill)
	return cmd.Process.Pid, kill
}

// openFiles is what a process has open.
func openFiles(pid int) (all []string, err error) {
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil {
			all = append(all, to)
		}
	}
	return all, err
}
