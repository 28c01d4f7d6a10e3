package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// reporter shows the stages of a journey: on a terminal with a bar under the
// stage's notes, elsewhere in plain lines. What stays is the same in both: the
// stage, its notes, and how long it took.
type reporter struct {
	mu    sync.Mutex
	out   io.Writer     // where lines go; above the bar, if there is one
	bars  *mpb.Progress // nil: plain lines
	bar   *mpb.Bar
	stage bool // one is under way
	began time.Time
	total int
	last  int
}

func newReporter(out io.Writer) *reporter {
	r := &reporter{out: out}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		r.bars = mpb.New(mpb.WithOutput(f), mpb.WithWidth(60), mpb.WithAutoRefresh())
		r.out = r.bars
	}
	return r
}

// Stage begins a stage of total steps, 0 if they are not counted.
func (r *reporter) Stage(name string, total int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end("done in")
	r.stage, r.began, r.total, r.last = true, time.Now(), total, 0
	fmt.Fprintln(r.out, name)
	if r.bars == nil {
		return
	}
	elapsed := mpb.AppendDecorators(decor.Elapsed(decor.ET_STYLE_GO))
	if total == 0 {
		r.bar = r.bars.New(1, mpb.SpinnerStyle().PositionLeft(), mpb.BarWidth(4), mpb.BarRemoveOnComplete(), elapsed)
		return
	}
	r.bar = r.bars.New(int64(total), mpb.BarStyle(), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name("  ")),
		mpb.AppendDecorators(decor.CountersNoUnit("%d / %d  "), decor.Elapsed(decor.ET_STYLE_GO)))
}

// Progress says how many steps of the stage are done.
func (r *reporter) Progress(done int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bar != nil {
		r.bar.SetCurrent(int64(min(done, r.total-1))) // the last step ends with the stage
		return
	}
	// A plain line for each tenth.
	if step := max(r.total/10, 1); done/step > r.last/step || done == r.total && r.last < done {
		fmt.Fprintf(r.out, "  %d of %d\n", done, r.total)
		r.last = done
	}
}

// Note says something that happened.
func (r *reporter) Note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.out, "  "+format+"\n", args...)
}

// Say says something that is of no stage, and ends the one that is under way.
func (r *reporter) Say(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end("done in")
	fmt.Fprintln(r.out, line)
}

// end closes the stage that is under way.
func (r *reporter) end(how string) {
	if !r.stage {
		return
	}
	r.stage = false
	if r.bar != nil {
		r.bar.Abort(true)
		r.bar.Wait()
		r.bar = nil
	}
	fmt.Fprintf(r.out, "  %s %.1f s\n", how, time.Since(r.began).Seconds())
}

// close ends the last stage; failed says that it was not done.
func (r *reporter) close(failed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	how := "done in"
	if failed {
		how = "stopped after"
	}
	r.end(how)
	if r.bars != nil {
		r.bars.Wait()
	}
}
