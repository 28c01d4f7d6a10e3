package simulate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ankan/client"
	"ankan/durable"
)

// A Failure is a run in which the factory and the model do not agree.
type Failure struct {
	Seed  uint64   `json:"seed"`
	Run   int      `json:"run"`
	What  []string `json:"what"`  // each thing that is wrong
	Trace []string `json:"trace"` // what was decided, in order
	Dir   string   `json:"dir,omitempty"`
}

// Error is the first thing that is wrong, and how to see it again.
func (f *Failure) Error() string {
	what := "nothing is wrong"
	if len(f.What) > 0 {
		what = f.What[0]
	}
	return fmt.Sprintf("seed %d, run %d: %s (again: ankan simulate --seed %d --first %d --runs 1 --trace)", f.Seed, f.Run, what, f.Seed, f.Run)
}

// Counts is how often each kind of thing happened.
type Counts map[string]int

// Add adds other counts.
func (c Counts) Add(more Counts) {
	for k, n := range more {
		c[k] += n
	}
}

// A run is one factory under one seed.
type run struct {
	*world
	ctx    context.Context
	rng    *rand.Rand
	counts Counts
	trace  []string
	wrong  []string
	tell   func(string) // is told each decision; nil: nobody

	orders  []*wanted
	deeds   []*deed
	kept    []kept // copies that a carrier kept
	hostile int    // files that were brought and are nobody's
	calm    bool   // nothing goes wrong any more
}

// Run runs one factory under a seed in a new folder dir. The error is a *Failure
// if the factory did what it must not; any other is the simulator's own.
func (b *Base) Run(ctx context.Context, seed uint64, n int, dir string, tell func(string)) (Counts, error) {
	r := &run{ctx: ctx, rng: rand.New(rand.NewPCG(seed, uint64(n))), counts: Counts{}, tell: tell}
	if err := b.copyTo(dir); err != nil {
		return nil, err
	}
	out, err := os.OpenFile(filepath.Join(dir, "sites.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	if r.world, err = b.world(ctx, dir, slog.New(slog.NewTextHandler(out, nil))); err != nil {
		return nil, err
	}
	err = r.whole()
	if cerr := r.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("closing the factory: %w", cerr)
	}
	if ctx.Err() != nil {
		return r.counts, ctx.Err()
	}
	if err != nil {
		r.fault("%v", err)
	}
	if len(r.wrong) > 0 {
		return r.counts, &Failure{Seed: seed, Run: n, What: r.wrong, Trace: r.trace, Dir: dir}
	}
	return r.counts, nil
}

// whole is a run from its beginning to its end.
func (r *run) whole() error {
	if err := r.feed(4 + r.rng.IntN(40)); err != nil {
		return err
	}
	for range 2 {
		if err := r.newOrder(); err != nil {
			return err
		}
	}
	for range 60 + r.rng.IntN(160) {
		if err := r.event(); err != nil {
			return err
		}
		if len(r.wrong) > 0 || r.ctx.Err() != nil {
			return r.ctx.Err()
		}
	}
	if err := r.end(); err != nil {
		return err
	}
	return r.check()
}

// note tells what was decided.
func (r *run) note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	r.trace = append(r.trace, line)
	if r.tell != nil {
		r.tell(line)
	}
}

// fault is something that must not be.
func (r *run) fault(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
	r.note("WRONG: "+format, args...)
}

func (r *run) count(what string) { r.counts[what]++ }

// one picks one of several.
func one[T any](r *run, all []T) T { return all[r.rng.IntN(len(all))] }

// chance is true so many times in a hundred.
func (r *run) chance(percent int) bool { return r.rng.IntN(100) < percent }

// event is one decision and what comes of it.
func (r *run) event() error {
	kinds := []struct {
		weight int
		do     func() error
	}{
		{34, r.turn}, {26, r.transfer}, {30, r.people}, {3, r.newOrder}, {3, r.time}, {5, r.chip}, {1, r.stopOrStart},
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	at := r.rng.IntN(total)
	for _, k := range kinds {
		if at -= k.weight; at < 0 {
			return k.do()
		}
	}
	return nil
}

// ---- a site's turn, and its death

// plan makes a site die or have a step fail in what it does next.
func (r *run) plan(p *place) {
	p.script = &durable.Script{}
	shape := one(r, []durable.Shape{durable.Before, durable.After})
	switch at := r.rng.IntN(100); {
	case r.calm || at >= 30:
	case at < 15:
		p.script.Die = durable.Event{Step: r.soon(), Shape: shape}
	default:
		p.script.Fail = []durable.Event{{Step: r.soon(), Shape: shape}}
	}
	p.script.Match = func(string) bool { return true }
}

// soon is the number of a step, from 1 to 64: half of them are below 8, since what
// a site does at a time is mostly short.
func (r *run) soon() int64 { return 1 + int64(r.rng.IntN(1<<r.rng.IntN(7))) }

// after looks at what became of the plan: a site that died is opened again. It
// reports whether anything planned happened.
func (r *run) after(p *place) (disturbed bool, err error) {
	script := p.script
	p.script = &durable.Script{}
	names, doubt := script.Names(), false
	for _, e := range script.Fail {
		if int(e.Step) <= len(names) {
			disturbed = true
			doubt = doubt || strings.HasPrefix(names[e.Step-1], "token.")
			r.count("failed calls, " + string(e.Shape))
			r.count("failed: " + names[e.Step-1])
			r.note("%s: step %d, %s, failed (%s)", p.name, e.Step, names[e.Step-1], e.Shape)
		}
	}
	if !script.Dead() {
		// A module that does not know what its file holds makes no more keys, and says
		// so: somebody starts the site again.
		if doubt {
			r.count("restarts of a module in doubt")
			r.note("%s is started again", p.name)
			return true, r.restart(p)
		}
		return disturbed, nil
	}
	step := names[len(names)-1]
	var lasting int64
	for _, name := range names {
		if durable.Lasts(name) {
			if lasting++; lasting == script.Die.Step {
				step = name
			}
		}
	}
	r.count("deaths, " + string(script.Die.Shape))
	r.count("died at: " + step)
	r.note("%s died at step %d, %s (%s)", p.name, script.Die.Step, step, script.Die.Shape)
	return true, r.restart(p)
}

// restart closes a site as it is and opens it again from its files, which may
// take it more than one try.
func (r *run) restart(p *place) error {
	p.script = &durable.Script{Die: durable.Event{Step: 1, Shape: durable.Before}}
	_ = p.shut() // a dead process closes nothing well
	p.script = &durable.Script{}
	if !r.calm && r.chance(25) {
		p.script.Die = durable.Event{Step: 1 + int64(r.rng.IntN(6)), Shape: one(r, []durable.Shape{durable.Before, durable.After})}
		err := r.open(r.ctx, p)
		if err == nil && !p.script.Dead() {
			r.note("%s is back", p.name)
			p.script = &durable.Script{}
			return nil
		}
		r.count("deaths while opening")
		r.note("%s died while it opened, at step %d", p.name, p.script.Die.Step)
		p.script = &durable.Script{Die: durable.Event{Step: 1, Shape: durable.Before}}
		_ = p.shut()
		p.script = &durable.Script{}
	}
	if err := r.open(r.ctx, p); err != nil {
		return fmt.Errorf("%s does not open after it died: %w", p.name, err)
	}
	return nil
}

// up is the sites that run.
func (r *run) up() []*place {
	var all []*place
	for _, name := range Sites() {
		if p := r.places[name]; p.site != nil {
			all = append(all, p)
		}
	}
	return all
}

func (r *run) turn() error {
	up := r.up()
	if len(up) == 0 {
		return nil
	}
	p := one(r, up)
	if news := slices.DeleteFunc(slices.Clone(up), func(p *place) bool { return !p.news }); len(news) > 0 && r.chance(80) {
		p = one(r, news)
	}
	p.clock.pass(time.Duration(1+r.rng.IntN(40)) * time.Second)
	r.plan(p)
	did, err := p.site.Turn(r.ctx)
	r.rack.Rest()
	r.count("turns")
	p.news = did
	r.note("%s has its turn: %v", p.name, did)
	disturbed, rerr := r.after(p)
	if err != nil && !disturbed {
		return fmt.Errorf("the turn of %s: %w", p.name, err)
	}
	return rerr
}

// stopOrStart stops a site in good order for a while, or starts one that is not
// there.
func (r *run) stopOrStart() error {
	p := r.places[one(r, Sites())]
	if p.site == nil {
		r.note("%s starts", p.name)
		return r.open(r.ctx, p)
	}
	r.note("%s stops", p.name)
	r.count("stops")
	if err := p.shut(); err != nil {
		return fmt.Errorf("stopping %s: %w", p.name, err)
	}
	return nil
}

// ---- clocks

func (r *run) time() error {
	r.count("clock events")
	p := r.places[one(r, Sites())]
	zone := time.FixedZone("", (r.rng.IntN(25)-12)*3600+1800)
	hours := time.Duration(r.rng.IntN(72)) * time.Hour
	switch r.rng.IntN(6) {
	case 0, 1:
		d := time.Duration(1+r.rng.IntN(90)) * time.Minute
		if r.chance(20) {
			d *= 24
		}
		r.note("%s passes", d)
		for _, name := range Sites() {
			r.places[name].clock.pass(d)
		}
	case 2:
		r.count("clock steps forward")
		r.note("the clock of %s steps forward by %s", p.name, hours)
		p.clock.step(hours)
	case 3:
		r.count("clock steps back")
		r.note("the clock of %s steps back by %s", p.name, hours)
		p.clock.step(-hours)
	case 4:
		r.count("leap seconds")
		r.note("the clock of %s has a second twice", p.name)
		p.clock.step(-time.Second)
	case 5:
		r.count("time zones")
		r.note("the clock of %s shows another zone", p.name)
		p.clock.day = p.clock.day.In(zone)
	}
	for _, d := range r.deeds {
		r.lateness(d)
	}
	return nil
}

// ---- orders

// newOrder has an operator's people draft an order, right or wrong.
func (r *run) newOrder() error {
	o := &wanted{n: len(r.orders) + 1, by: one(r, operators())}
	p := r.places[o.by]
	if p.site == nil || len(r.orders) >= maxOrders {
		return nil
	}
	o.batch = fmt.Sprintf("B%04d", o.n)
	first, last := agreed(o.by)
	n := 1 + r.rng.IntN(5)
	from := first + r.rng.IntN(last-first+2-n)
	want, kind, again := true, "good", false
	mine := slices.DeleteFunc(slices.Clone(r.orders), func(x *wanted) bool { return x.by != o.by || !x.drafted })
	switch at := r.rng.IntN(10); {
	case at == 0:
		from, want, kind = last-n+2+r.rng.IntN(5), false, "outside of the contract"
	case at == 1 && len(mine) > 0:
		o, want, kind, again = one(r, mine), false, "placed before", true
	case at == 2 && len(mine) > 0:
		o.batch, want, kind = one(r, mine).batch, false, "with a batch number again"
	case at == 3:
		from, n, want, kind = first, maxQuantity+1, false, "of too many"
	case at <= 6:
		o.listed = true
	}
	if !again {
		for i := range n {
			o.ids = append(o.ids, from+i)
		}
		if o.listed {
			r.rng.Shuffle(n, func(i, j int) { o.ids[i], o.ids[j] = o.ids[j], o.ids[i] })
		}
		if err := o.write(); err != nil {
			return err
		}
		if slices.ContainsFunc(r.orders, func(x *wanted) bool { return x.id == o.id }) {
			return nil // by chance, an order that is there already
		}
		r.orders = append(r.orders, o)
	}
	r.count("orders")
	r.count("orders " + kind)
	may := p.site.MayBegin() == nil // not while a clock that leapt stops new work
	r.plan(p)
	err := p.client.Send(r.ctx, "/orders?name=order.inp", strings.NewReader(o.text), nil)
	r.note("%s drafts %s, %s: %s", p.name, o, kind, outcome(err))
	disturbed, rerr := r.after(p)
	if rerr != nil {
		return rerr
	}
	var no *client.Refusal
	switch {
	case err == nil && !want:
		r.fault("%s takes %s, which is %s", p.name, o, kind)
	case err != nil && want && !disturbed && may:
		r.fault("%s refuses %s: %v", p.name, o, err)
	}
	switch had := p.client.Get(r.ctx, "/orders/"+o.id, nil); {
	case had == nil && !want && !again:
		r.fault("%s has %s, which is %s", p.name, o, kind)
	case had == nil:
		o.drafted = true
	case !errors.As(had, &no) || no.Status != 404:
		return had
	case err == nil || again:
		r.fault("%s does not know %s any more", p.name, o)
	}
	return nil
}

// maxOrders bounds the orders of a run.
const maxOrders = 9

// outcome is what came of something that people did, in a word.
func outcome(err error) string {
	var no *client.Refusal
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &no):
		return "refused"
	}
	return "failed"
}
