package site_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"ankan/client"
	"ankan/parts"
	"ankan/site"
	"ankan/site/sitetest"
)

// set is a clock that stands until it is moved.
type set struct {
	now     time.Time
	elapsed time.Duration
}

func (s *set) Now() time.Time         { return s.now }
func (s *set) Elapsed() time.Duration { return s.elapsed }

// A site's time is that of its clock: what it logs never goes back with it, and
// what rests does not rest longer because of a step.
func TestClock(t *testing.T) {
	began := time.Now()
	clock := &set{now: began}
	c := sitetest.Config(t, "op", site.Operator)
	c.Clock = clock
	token := sitetest.Init(t, c, parts.All()...)
	runs, fail := 0, errors.New("not yet")
	s := sitetest.Open(t, c, token, append(parts.All(), does(site.Duties{Round: func(_ context.Context, begin site.Begin) error {
		begin("test", func(context.Context) error { runs++; return fail })
		return nil
	}}))...)
	clock.now = began.Add(2 * time.Hour)
	if now := s.Store().Now(); !now.Equal(clock.now) {
		t.Errorf("it is %s, want %s", now, clock.now)
	}
	turn := func(want int) {
		t.Helper()
		if _, err := s.Turn(t.Context()); err != nil || runs != want {
			t.Errorf("the work ran %d times, want %d (%v)", runs, want, err)
		}
	}
	turn(1)
	if w := s.Waiting("test"); w != "not yet" {
		t.Errorf("it waits for %q", w)
	}
	turn(1)
	clock.now = began.Add(-24 * time.Hour) // a step, and no time passed
	turn(1)
	clock.elapsed = 900 * time.Millisecond
	turn(1)
	clock.elapsed = time.Second
	turn(2)
	fail = nil
	clock.elapsed = 3 * time.Second
	turn(3)
	if done, err := s.Turn(t.Context()); !done || err != nil {
		t.Errorf("work that was done is not told: %v, %v", done, err)
	}
	fail = site.ErrIdle
	turn(5)
	if done, err := s.Turn(t.Context()); done || err != nil {
		t.Errorf("nothing was done, and it is told: %v, %v", done, err)
	}
	var st site.Status
	if err := client.Within(s.Control()).Get(t.Context(), "/status", &st); err != nil || st.Site != "op" {
		t.Errorf("status: %+v, %v", st, err)
	}
	var no *client.Refusal
	if err := client.Within(s.Control()).Get(t.Context(), "/orders/none", nil); !errors.As(err, &no) || no.Status != 404 {
		t.Errorf("an order that is not there: %v", err)
	}
}
