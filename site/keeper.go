package site

import (
	"context"
	"fmt"
	"sync"
	"time"

	"ankan/audit"
	"ankan/notice"
	"ankan/store"
)

// maxStep is how far a clock may step before people are told.
const maxStep = 2 * time.Second

// defaultLeap is the longest step forward that the site's time follows.
const defaultLeap = 10 * time.Minute

// catchUp is how much slower than the clock the site's time runs while it is
// ahead of it: one part in so many.
const catchUp = 16

// A keeper makes the site's time out of a clock that may step. Its time never
// goes back, so that nothing that is over comes back. It stands still for
// nobody, so that nothing lives longer because a clock was set back. And it does
// not follow a leap forward, so that nothing is over because a clock was set
// wrong: a person says that the clock is right, by starting the site again.
type keeper struct {
	clock Clock
	leap  time.Duration

	mu    sync.Mutex
	at    time.Time     // the site's time when it was last asked for
	when  time.Duration // by the clock, then
	off   time.Duration // of the clock against the site's time, then
	held  bool          // since a leap
	since time.Time     // of the site: when off was last more than maxStep, for the first time
	steps []clockStep   // that nobody wrote down yet
}

// A clockStep is what the clock did.
type clockStep struct {
	by   time.Duration // forward, or back
	wall time.Time     // of the clock, after it
	at   time.Time     // of the site
	held bool          // the site's time does not follow
}

func newKeeper(clock Clock, leap time.Duration) *keeper {
	return &keeper{clock: clock, leap: leap, at: clock.Now().UTC().Round(0), when: clock.Elapsed()}
}

// Now is the site's time.
func (k *keeper) Now() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	wall, when := k.clock.Now().UTC().Round(0), k.clock.Elapsed()
	passed := max(0, when-k.when)
	due := k.at.Add(passed)
	off := wall.Sub(due)
	if by := off - k.off; by > maxStep || by < -maxStep {
		k.held = k.held && off > k.leap || by > 0 && off > k.leap
		k.steps = append(k.steps, clockStep{by, wall, due, k.held})
		if len(k.steps) > maxSteps {
			k.steps = k.steps[1:]
		}
	}
	if late := func(off time.Duration) bool { return off < -maxStep || off > maxStep }; late(off) && !late(k.off) {
		k.since = due
	}
	switch {
	case off >= 0 && !k.held:
		due = wall
	case off < 0: // the clock is behind: let it catch up
		if due = due.Add(-passed / catchUp); due.Before(wall) {
			due = wall
		}
		k.held = false
	}
	k.at, k.when, k.off = due, when, wall.Sub(due)
	return k.at
}

// maxSteps bounds the steps that wait to be written down, for a clock gone mad.
const maxSteps = 100

// from takes the time of the log's last entry: the site's goes on from there,
// also if the clock was set back while the site was down.
func (k *keeper) from(last time.Time) {
	k.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	by := k.at.Sub(last)
	if by >= 0 {
		return
	}
	k.at, k.off = last, k.off+by
	if k.off < -maxStep {
		k.since = last
		k.steps = append(k.steps, clockStep{by: by, wall: last.Add(k.off), at: last})
	}
}

// look reads the clock, and reports whether the site's time does not follow it.
func (k *keeper) look() (held bool) {
	k.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.held
}

// taken gives the steps that nobody wrote down yet, and puts them back if they
// could not be.
func (k *keeper) taken(write func([]clockStep) error) error {
	k.mu.Lock()
	steps := k.steps
	k.steps = nil
	k.mu.Unlock()
	if len(steps) == 0 {
		return nil
	}
	err := write(steps)
	if err != nil {
		k.mu.Lock()
		k.steps = append(steps, k.steps...)
		k.mu.Unlock()
	}
	return err
}

// condition is what people should know of the clock now.
func (k *keeper) condition() (Condition, bool) {
	k.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	c := Condition{Since: k.since}
	switch {
	case k.held:
		c.Kind, c.Stops = ClockHeld, true
		c.Text = fmt.Sprintf("The machine's clock leapt %s ahead. The site's time does not follow, so that nothing ends by it; no file is taken in and no new work begins.", about(k.off))
		c.Next = "Set the clock right, and the site goes on by itself. If the clock is right, restart the site."
	case k.off < -maxStep:
		c.Kind = ClockBehind
		c.Text = fmt.Sprintf("The machine's clock is %s behind the site's time, which never goes back and waits for it slowly.", about(-k.off))
		c.Next = "Look at the clock and at its time server."
	default:
		return c, false
	}
	return c, true
}

func about(d time.Duration) string { return d.Round(time.Second).String() }

// watchClock writes down the steps of the clock, and tells people of the last.
func (s *Site) watchClock(ctx context.Context) error {
	held := s.keeper.look()
	if was := s.stood.Swap(held); was && !held {
		s.hurry()
	}
	return s.keeper.taken(func(steps []clockStep) error {
		var all []audit.Entry
		for _, st := range steps {
			s.log.Warn("the clock stepped", "by", st.by, "held", st.held)
			all = append(all, audit.Entry{Kind: "clock.stepped", Actor: "system:clock", Subject: "site/" + s.config.Site, Data: map[string]any{
				"by_seconds": int64(st.by.Round(time.Second) / time.Second), "clock": st.wall.Format(time.RFC3339Nano),
				"site": st.at.Format(time.RFC3339Nano), "held": st.held}})
		}
		return s.store.Change(ctx, all[0], func(tx *store.Tx) error {
			for _, e := range all[1:] {
				if err := tx.Append(e); err != nil {
					return err
				}
			}
			last := steps[len(steps)-1]
			how := "The site's time never goes back: nothing that was over comes back, and what runs out runs out when it should."
			switch {
			case last.held:
				how = "The site's time does not follow it, and new work waits. Set the clock right; if it is right, restart the site."
			case last.by > 0:
				how = "What ran out by it is told to whoever asked for it."
			}
			return tellKeepers(ctx, tx, notice.Notice{Kind: all[0].Kind, Subject: all[0].Subject, Link: "/log",
				Text: fmt.Sprintf("The clock of site %s stepped by %s. %s", s.config.Site, about(last.by), how)})
		})
	})
}
