package site

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Time is how a site treats the machine's clock.
type Time struct {
	// Leap is the longest step forward, in seconds, that the site's time follows
	// while it runs; 0 is ten minutes.
	Leap int `yaml:"leap_seconds"`
}

func (t Time) check() error {
	if t.Leap != 0 && (t.Leap < 3 || t.Leap > 86400) {
		return fmt.Errorf("time: leap_seconds is %d, want 3 to 86400", t.Leap)
	}
	return nil
}

func (t Time) leap() time.Duration {
	if t.Leap == 0 {
		return defaultLeap
	}
	return time.Duration(t.Leap) * time.Second
}

// A Clock tells a site the time. A test or a simulation puts its own into
// Config.Clock; a site has the machine's.
type Clock interface {
	// Now is the time of day. It may step, forward and back.
	Now() time.Time
	// Elapsed is the time that passed since some moment before the site was
	// opened. It never steps: what is to last some time is measured by it.
	Elapsed() time.Duration
}

// machine is the machine's own clock.
type machine struct{}

func (machine) Now() time.Time { return time.Now() }

// Elapsed counts while the machine sleeps too: a lid that was closed is no step
// of the clock.
func (machine) Elapsed() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // no Linux since 2.6.39
	}
	return time.Duration(t.Nano())
}

// clock is the configured clock, or the machine's.
func (c *Config) clock() Clock {
	if c.Clock != nil {
		return c.Clock
	}
	return machine{}
}

// Clock is the site's clock. What is logged has the store's time instead, which
// never goes back (store.Store.Now).
func (s *Site) Clock() Clock { return s.clock }
