package site

import (
	"testing"
	"time"
)

// hand is a clock that is set by hand.
type hand struct {
	now     time.Time
	elapsed time.Duration
}

func (h *hand) Now() time.Time         { return h.now }
func (h *hand) Elapsed() time.Duration { return h.elapsed }

// TestKeeper has the clock go and step, and looks at the site's time after each.
func TestKeeper(t *testing.T) {
	type tick struct {
		passed time.Duration // that really passed
		step   time.Duration // of the clock, besides
		want   time.Duration // of the site's time
		held   bool
		steps  int // that are told
	}
	const h, m, s = time.Hour, time.Minute, time.Second
	for name, ticks := range map[string][]tick{
		"goes":                        {{passed: s, want: s}, {passed: 3 * h, want: 3 * h}},
		"small steps forward":         {{s, 2 * s, 3 * s, false, 0}, {s, 2 * s, 3 * s, false, 0}},
		"a step forward":              {{s, 5 * m, 5*m + s, false, 1}, {s, 0, s, false, 0}},
		"a leap":                      {{s, 3 * h, s, true, 1}, {m, 0, m, true, 0}, {m, m, m, true, 1}},
		"a leap that is put right":    {{s, 3 * h, s, true, 1}, {m, -3 * h, m, false, 1}, {m, 0, m, false, 0}},
		"a leap nearly put right":     {{s, 3 * h, s, true, 1}, {m, -3*h + 5*m, 6 * m, false, 1}},
		"a leap and a step too far":   {{s, 3 * h, s, true, 1}, {16 * m, -4 * h, 15 * m, false, 1}},
		"a step back":                 {{s, -3 * h, s - s/16, false, 1}, {16 * m, 0, 15 * m, false, 0}, {16 * 3 * h, 0, 45*h + m + s/16, false, 0}, {m, 0, m, false, 0}},
		"a small step back":           {{16 * s, -2 * s, 15 * s, false, 0}, {16 * s, 0, 15 * s, false, 0}, {16 * s, 0, 16 * s, false, 0}},
		"a step back and forward":     {{16 * s, -h, 15 * s, false, 1}, {s, h, s + s, false, 1}},
		"forward in steps, each told": {{0, 9 * m, 9 * m, false, 1}, {0, 9 * m, 9 * m, false, 1}},
		"time zones":                  {{s, 5*h + 30*m, s, true, 1}, {s, -5*h - 30*m, s, false, 1}},
		"a leap second, repeated":     {{16 * s, -s, 15 * s, false, 0}, {s, 0, s, false, 0}},
		"a leap second, left out":     {{s, s, 2 * s, false, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			c := &hand{now: time.Date(2026, 12, 31, 23, 59, 0, 0, time.UTC), elapsed: h}
			k := newKeeper(c, 10*m)
			at := k.Now()
			for i, tick := range ticks {
				c.now, c.elapsed = c.now.Add(tick.passed+tick.step), c.elapsed+tick.passed
				got := k.Now()
				if got.Sub(at) != tick.want || got.Before(at) || k.look() != tick.held {
					t.Errorf("tick %d: the time went on by %s, held %t; want %s, %t", i, got.Sub(at), k.look(), tick.want, tick.held)
				}
				at = got
				told := 0
				k.taken(func(steps []clockStep) error { told = len(steps); return nil })
				if told != tick.steps {
					t.Errorf("tick %d: %d steps are told, want %d", i, told, tick.steps)
				}
			}
		})
	}
}

// TestKeeperOfALog goes on from the time of the last entry.
func TestKeeperOfALog(t *testing.T) {
	c := &hand{now: time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)}
	k := newKeeper(c, time.Minute)
	last := c.now.Add(24 * time.Hour)
	k.from(c.now.Add(-24 * time.Hour)) // the site was down for a day
	if !k.Now().Equal(c.now) {
		t.Errorf("after a day of rest it is %s", k.Now())
	}
	k.from(last) // the clock was set back while it was down
	if !k.Now().Equal(last) {
		t.Errorf("it is %s, and the log has %s", k.Now(), last)
	}
	cond, ok := k.condition()
	if !ok || cond.Kind != ClockBehind || cond.Stops {
		t.Errorf("condition %+v", cond)
	}
	c.now, c.elapsed = c.now.Add(16*time.Minute), 16*time.Minute
	if got := k.Now().Sub(last); got != 15*time.Minute {
		t.Errorf("it went on by %s, want a little slower than the clock", got)
	}
	if n := len(k.steps); n != 1 {
		t.Errorf("%d steps are told, want one", n)
	}
}
