package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"ankan/simulate"
)

type simulateCmd struct {
	Seed    uint64        `help:"Seed of the runs: the same one decides the same." default:"1"`
	First   int           `help:"Number of the first run." default:"0" placeholder:"N"`
	Runs    int           `help:"How many runs; 100 if --for is not given." placeholder:"N"`
	For     time.Duration `help:"How long to begin new runs." placeholder:"10m"`
	Workers int           `help:"Runs at a time." default:"2" placeholder:"N"`
	Dir     string        `help:"Empty folder for the factories; default: a new one, in memory where there is /dev/shm." placeholder:"DIR" type:"path"`
	Trace   bool          `help:"Print each decision."`
	JSON    bool          `help:"Print the result as JSON, and nothing else."`
}

func (s simulateCmd) Run(a *app) (err error) {
	if s.Runs < 0 || s.First < 0 || s.For < 0 || s.Workers < 1 {
		return errors.New("--runs, --first, --for and --workers are 0 or more; --workers 1 or more")
	}
	if s.Runs == 0 && s.For == 0 {
		s.Runs = 100
	}
	dir := s.Dir
	if dir == "" {
		memory := "/dev/shm"
		if st, err := os.Stat(memory); err != nil || !st.IsDir() {
			memory = ""
		}
		if dir, err = os.MkdirTemp(memory, "ankan-simulate-"); err != nil {
			return err
		}
		defer os.Remove(dir) // what failed is left in it
	}
	out := a.out
	if s.JSON {
		out = io.Discard
	}
	r := newReporter(out)
	r.Stage(fmt.Sprintf("factories under seed %d", s.Seed), s.Runs)
	p := simulate.Plan{Seed: s.Seed, First: s.First, Runs: s.Runs, For: s.For, Workers: s.Workers, Dir: dir}
	p.Done = func(n int) {
		if s.Runs > 0 {
			r.Progress(n)
		}
	}
	if s.Trace {
		p.Tell = func(line string) { r.Note("%s", line) }
	}
	res, err := simulate.Simulate(a.ctx, p)
	r.close(err != nil || len(res.Failures) > 0)
	if err != nil {
		return err
	}
	if s.JSON {
		err = a.print(true, res, nil)
	} else {
		printSimulation(out, res)
	}
	if n := len(res.Failures); n > 0 {
		return errors.Join(err, fmt.Errorf("%d of %d runs failed; the first: %w", n, res.Runs, res.Failures[0]))
	}
	return err
}

func printSimulation(w io.Writer, res simulate.Result) {
	for _, kind := range slices.Sorted(maps.Keys(res.Counts)) {
		fmt.Fprintf(w, "  %8d  %s\n", res.Counts[kind], kind)
	}
	fmt.Fprintf(w, "%d runs in %.0f s, %d failed\n", res.Runs, res.Seconds, len(res.Failures))
	for _, f := range res.Failures {
		fmt.Fprintf(w, "run %d, left in %s:\n", f.Run, f.Dir)
		for _, what := range f.What {
			fmt.Fprintf(w, "  %s\n", what)
		}
	}
}
