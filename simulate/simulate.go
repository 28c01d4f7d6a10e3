package simulate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// A Plan says which runs there are to be.
type Plan struct {
	Seed    uint64
	First   int           // number of the first run
	Runs    int           // how many; 0: as many as For gives time for
	For     time.Duration // no run begins when it has passed; 0: none is kept from it
	Workers int           // runs at a time; 0 is one
	Dir     string        // folder for the factories, new or empty: best one in memory
	// Tell is told each decision, as it is made; nil: nobody. It takes one worker.
	Tell func(line string)
	// Done is told how many runs ended; nil: nobody.
	Done func(runs int)
}

// A Result is what came of a plan.
type Result struct {
	Seed     uint64     `json:"seed"`
	First    int        `json:"first"`
	Runs     int        `json:"runs"`
	Seconds  float64    `json:"seconds"`
	Founded  float64    `json:"founded_seconds"` // of them, until the factory that is copied was founded
	Counts   Counts     `json:"counts"`
	Failures []*Failure `json:"failures"`
}

// enough is how many failures end a plan early.
const enough = 10

// maxDir leaves room for the names of sockets in a run's folder.
const maxDir = 70

// Simulate runs the factories of a plan. Its error is that it could not: that a
// factory failed is in the result. Folders of failed runs are left in place.
func Simulate(ctx context.Context, p Plan) (Result, error) {
	res := Result{Seed: p.Seed, First: p.First, Counts: Counts{}, Failures: []*Failure{}}
	switch {
	case p.Runs < 0 || p.First < 0 || p.For < 0 || p.Runs == 0 && p.For == 0:
		return res, errors.New("simulate: say how many runs, or for how long")
	case len(p.Dir) > maxDir:
		return res, fmt.Errorf("simulate: folder %q has %d bytes, a unix socket below it leaves %d; give a shorter one", p.Dir, len(p.Dir), maxDir)
	case p.Tell != nil:
		p.Workers = 1
	}
	began := time.Now()
	b, err := NewBase(ctx, filepath.Join(p.Dir, "base"))
	if err != nil {
		return res, err
	}
	res.Founded = time.Since(began).Seconds()
	s := simulation{Plan: p, base: b, res: &res, began: began}
	var all sync.WaitGroup
	for range max(p.Workers, 1) {
		all.Go(func() { s.work(ctx) })
	}
	all.Wait()
	res.Seconds = time.Since(began).Seconds()
	slices.SortFunc(res.Failures, func(a, b *Failure) int { return a.Run - b.Run })
	return res, errors.Join(s.err, os.RemoveAll(filepath.Join(p.Dir, "base")))
}

// simulation is a plan under way.
type simulation struct {
	Plan
	base  *Base
	began time.Time

	mu   sync.Mutex
	next int
	res  *Result
	err  error
}

func (s *simulation) work(ctx context.Context) {
	for {
		n, ok := s.claim(ctx)
		if !ok {
			return
		}
		dir := filepath.Join(s.Dir, fmt.Sprintf("run-%d", n))
		counts, err := s.base.Run(ctx, s.Seed, n, dir, s.Tell)
		if !s.ended(ctx, dir, counts, err) {
			return
		}
	}
}

// claim is the number of the next run.
func (s *simulation) claim(ctx context.Context) (n int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || ctx.Err() != nil || len(s.res.Failures) >= enough || s.Runs > 0 && s.next == s.Runs || s.For > 0 && time.Since(s.began) > s.For {
		return 0, false
	}
	s.next++
	return s.First + s.next - 1, true
}

// ended takes a run's outcome, and reports whether to go on.
func (s *simulation) ended(ctx context.Context, dir string, counts Counts, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var f *Failure
	switch {
	case ctx.Err() != nil:
		s.err = errors.Join(ctx.Err(), os.RemoveAll(dir))
		return false
	case errors.As(err, &f):
		s.res.Failures = append(s.res.Failures, f)
	case err != nil:
		s.err = err
		return false
	default:
		if s.err = os.RemoveAll(dir); s.err != nil {
			return false
		}
	}
	s.res.Counts.Add(counts)
	s.res.Runs++
	if s.Done != nil {
		s.Done(s.res.Runs)
	}
	return true
}
