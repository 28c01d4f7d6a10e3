package crash

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ankan/durable"
	"ankan/store/storetest"
)

var (
	every   = flag.Bool("every", false, "every step, instead of a sample")
	seed    = flag.Uint64("seed", 1, "of the sample, and of the moments of TestKill")
	lasts   = flag.Duration("time", 0, "how long TestKill goes on; 0: a few journeys")
	sample  = flag.Int("sample", 3, "journeys of a sample")
	workers = flag.Int("workers", 3, "factories side by side")
	only    = flag.String("events", "", "what happens in the one journey of TestEvents: PROCESS:dies|fails:N:before|after,...")
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	for _, dir := range append(folders, binDir()) {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// idle is the factories that were set up and are not in use.
var idle struct {
	sync.Mutex
	plants []*plant
}

// founded lends a factory for one test.
func founded(t testing.TB) *plant {
	t.Helper()
	idle.Lock()
	defer idle.Unlock()
	var p *plant
	database := ""
	if storetest.OnPostgres() {
		database = storetest.Database(t) // it goes with the test
	}
	if n := len(idle.plants); n > 0 {
		p, idle.plants = idle.plants[n-1], idle.plants[:n-1]
	} else {
		// The name of a unix socket is short, so the folder's must be.
		dir, err := os.MkdirTemp("", "crash")
		if err != nil {
			t.Fatal(err)
		}
		folders = append(folders, dir)
		if p, err = found(t.Context(), dir, database); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if database != "" {
			if err := p.onServer(context.Background(), "DROP DATABASE %[1]s_base"); err != nil {
				t.Error(err)
			}
			return
		}
		idle.Lock()
		defer idle.Unlock()
		idle.plants = append(idle.plants, p)
	})
	return p
}

var folders []string // of all factories; guarded by idle

// counted is a journey in which nothing happens.
func (p *plant) counted(t testing.TB) outcome {
	t.Helper()
	o, err := p.journey(t.Context())
	if err != nil {
		t.Fatalf("a journey in which nothing happens: %v\n%s", err, p.says())
	}
	return o
}

// TestNothing drives a journey in which nothing happens, and counts its steps.
func TestNothing(t *testing.T) {
	o := founded(t).counted(t)
	for _, name := range processes() {
		c, kinds := o.counts[name], map[string]int{}
		for _, s := range o.steps[name] {
			kinds[s]++
		}
		t.Logf("%s: %d steps, %d of them last: %v", name, c.All, c.Lasting, kinds)
		if c.Lasting < 40 || o.deaths[name] != "" {
			t.Errorf("%s: %+v, died at %q", name, c, o.deaths[name])
		}
	}
	t.Logf("%+v", o.books)
	// A drawer that dies forgets how a chip was to fail; without that, one does.
	if o.books.Rejects != 1 || o.books.Aside != 1 {
		t.Errorf("%d rejects and %d chips aside, want one of each", o.books.Rejects, o.books.Aside)
	}
	// Each kind of thing that outlives the program is gone through.
	seen := strings.Join(slices.Concat(o.steps["operator"], o.steps["bureau"], o.steps["plant"], o.steps[chips]), "\n")
	for _, want := range []string{"store.commit", "token.rename", "hsm.generate", "hsm.destroy", "hsm.take-key", "spool.write", "spool.rename", "spool.remove",
		"edge.write", "edge.sync", "sftp.upload", "sftp.rename", "file.link", "file.write", "card.play", "chip.rename", durable.Use + "hsm.sign", durable.Use + "sftp.dial"} {
		if !strings.Contains(seen, want) {
			t.Errorf("no step is %s", want)
		}
	}
}

// drive has journeys, each with its events, in factories side by side. each is
// called with every outcome.
func drive(t *testing.T, all [][]event, each func(outcome)) {
	t.Helper()
	tasks := make(chan []event)
	var pool sync.WaitGroup
	var mu sync.Mutex
	done, began := 0, time.Now()
	for range min(*workers, len(all)) {
		p := founded(t)
		pool.Go(func() {
			for events := range tasks {
				o, err := p.journey(t.Context(), events...)
				mu.Lock()
				if err != nil {
					t.Errorf("%s: %v\nagain: go test ./test/crash -run TestEvents -events %[1]s\n%[3]s", named(events), err, p.says())
				} else {
					each(o)
				}
				if done++; done%20 == 0 {
					fmt.Fprintf(os.Stderr, "%s: %d of %d journeys in %s\n", t.Name(), done, len(all), time.Since(began).Round(time.Second))
				}
				mu.Unlock()
			}
		})
	}
	// In an order drawn by the seed, so that a run that is ended early has been everywhere.
	rand.New(rand.NewPCG(*seed, 2)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, events := range all {
		if t.Failed() && !*every {
			break
		}
		tasks <- events
	}
	close(tasks)
	pool.Wait()
}

func named(events []event) string {
	var names []string
	for _, e := range events {
		names = append(names, e.String())
	}
	return strings.Join(names, ",")
}

// TestDeath has processes die at each step that lasts, before it and after it:
// one process of each kind in each journey, at its n-th step. What died starts
// again, the journey ends, and the books balance.
func TestDeath(t *testing.T) {
	counts := founded(t).counted(t).counts
	var all [][]event
	for _, shape := range []durable.Shape{durable.Before, durable.After} {
		for n := int64(1); ; n++ {
			var events []event
			for _, name := range processes() {
				if n <= counts[name].Lasting {
					events = append(events, event{name, true, durable.Event{Step: n, Shape: shape}})
				}
			}
			if len(events) == 0 {
				break
			}
			all = append(all, events)
		}
	}
	if !*every {
		all = sampled(counts, true)
	}
	planned, met, steps := 0, 0, map[string]int{}
	drive(t, all, func(o outcome) {
		planned += len(o.events)
		for _, at := range o.deaths {
			if at != "" {
				met++
				steps[at]++
			}
		}
	})
	t.Logf("%d journeys, %d deaths of %d planned, at %v", len(all), met, planned, steps)
	// The number of steps differs from journey to journey; the last may not come.
	if met*10 < planned*9 {
		t.Errorf("%d of %d deaths happened, want nearly all", met, planned)
	}
}

// sampled is a few journeys, drawn by the seed: something happens to each
// process, anywhere on its way.
func sampled(counts map[string]durable.Count, die bool) (all [][]event) {
	r := rand.New(rand.NewPCG(*seed, 0))
	for range *sample {
		var events []event
		for _, name := range processes() {
			n := counts[name].All
			if die {
				n = counts[name].Lasting
			}
			shape := []durable.Shape{durable.Before, durable.After}[r.IntN(2)]
			events = append(events, event{name, die, durable.Event{Step: 1 + r.Int64N(n*9/10), Shape: shape}})
		}
		all = append(all, events)
	}
	return all
}

// apart is how far the failures of one process are from each other in a journey
// with many.
const apart = 40

// TestFailure has each step fail, in both shapes: it did not happen, or it
// happened and is said to have failed. What failed is tried again, or waits; the
// journey ends, and the books balance.
func TestFailure(t *testing.T) {
	counts := founded(t).counted(t).counts
	var all [][]event
	for _, shape := range []durable.Shape{durable.Before, durable.After} {
		for first := int64(1); first <= apart; first++ {
			var events []event
			for _, name := range processes() {
				for n := first; n <= counts[name].All; n += apart {
					events = append(events, event{name, false, durable.Event{Step: n, Shape: shape}})
				}
			}
			all = append(all, events)
		}
	}
	if !*every {
		all = sampled(counts, false)
	}
	steps := map[string]int{}
	drive(t, all, func(o outcome) {
		for _, e := range o.events {
			if names := o.steps[e.process]; e.Step <= int64(len(names)) {
				steps[names[e.Step-1]]++
			}
		}
	})
	t.Logf("%d journeys, failures at %v", len(all), steps)
	if len(steps) < 8 && len(all) >= 6 {
		t.Errorf("failures at %d kinds of steps, want more", len(steps))
	}
}

// TestEvents is one journey with the events of -events, to look into what
// another test found.
func TestEvents(t *testing.T) {
	text := *only
	if text == "" {
		text = "bureau:dies:20:after,plant:fails:30:before"
	}
	events, err := parseEvents(text)
	if err != nil {
		t.Fatal(err)
	}
	p := founded(t)
	o, err := p.journey(t.Context(), events...)
	if err != nil {
		t.Errorf("%v\n%s", err, p.says())
	}
	for _, e := range events {
		at := o.deaths[e.process]
		if names := o.steps[e.process]; !e.die && e.Step <= int64(len(names)) {
			at = names[e.Step-1]
		}
		t.Logf("%s: %q", e, at)
		if at == "" && *only == "" {
			t.Errorf("%s did not happen", e)
		}
	}
}

func TestParseEvents(t *testing.T) {
	for _, bad := range []string{"", "bureau", "bureau:dies", "bureau:dies:0", "bureau:sleeps:1", "nobody:dies:1", "bureau:dies:1:later", "bureau:dies:1,"} {
		if e, err := parseEvents(bad); err == nil {
			t.Errorf("%q is %v", bad, e)
		}
	}
	all, err := parseEvents("bureau:dies:7:after,chips:fails:1")
	if err != nil || named(all) != "bureau:dies:7:after,chips:fails:1:before" {
		t.Errorf("%v, %v", all, err)
	}
}

// TestKill kills processes at moments that a seed draws, again and again, for as
// long as it is asked to. Of every journey the seed is told when it fails.
func TestKill(t *testing.T) {
	end, journeys, kills := time.Now().Add(*lasts), 0, 0
	var pool sync.WaitGroup
	var mu sync.Mutex
	next := *seed
	for range *workers {
		p := founded(t)
		pool.Go(func() {
			for first := true; first && *lasts == 0 || time.Now().Before(end); first = false {
				mu.Lock()
				s := next
				next++
				mu.Unlock()
				n, err := p.killed(t.Context(), s)
				mu.Lock()
				journeys++
				kills += n
				if err != nil {
					t.Errorf("seed %d: %v\nagain: go test ./test/crash -run TestKill -workers 1 -seed %[1]d\n%[3]s", s, err, p.says())
				}
				if journeys%20 == 0 {
					fmt.Fprintf(os.Stderr, "TestKill: %d journeys, %d kills; the seed is now %d\n", journeys, kills, next)
				}
				mu.Unlock()
			}
		})
	}
	pool.Wait()
	t.Logf("%d journeys from seed %d on, %d kills", journeys, *seed, kills)
	if kills < journeys {
		t.Errorf("%d kills in %d journeys, want one or more in each", kills, journeys)
	}
}

// killed is a journey in which processes are killed at random moments.
func (p *plant) killed(ctx context.Context, seed uint64) (kills int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := p.restore(); err != nil {
		return 0, err
	}
	s := p.run(ctx, nil)
	over, ended := context.WithCancel(ctx)
	var killer sync.WaitGroup
	killer.Go(func() {
		r := rand.New(rand.NewPCG(seed, 1))
		for {
			// Longer than a start takes, on the whole, so that the journey gets on.
			pause := time.Duration(r.Int64N(int64(2 * time.Second)))
			name := processes()[r.IntN(len(processes()))]
			select {
			case <-over.Done():
				return
			case <-time.After(pause):
			}
			if s.kill(name) {
				kills++
			}
		}
	})
	sum, err := p.drive(ctx, 1)
	ended()
	killer.Wait()
	cancel()
	if err := firstOf(err, s.wait()); err != nil {
		return kills, err
	}
	_, err = p.balanced(sum)
	return kills, err
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestForUse makes sure that the program as it is built for use looks at none of
// the variables.
func TestForUse(t *testing.T) {
	p := founded(t)
	if err := p.restore(); err != nil {
		t.Fatal(err)
	}
	trace := filepath.Join(p.Dir, "steps")
	for name, value := range map[string]string{"ANKAN_DIE": "1", "ANKAN_FAIL": "1", "ANKAN_STEPS": trace} {
		t.Setenv(name, value)
	}
	bin := filepath.Join(binDir(), "ankan-for-use")
	if err := build(bin); err != nil {
		t.Fatal(err)
	}
	usual := p.program
	p.program = bin
	defer func() { p.program = usual }()
	o, err := p.journey(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, p.says())
	}
	if _, err := os.Stat(trace); err == nil || o.counts["bureau"].All != 0 {
		t.Error("it counts its steps")
	}
}
