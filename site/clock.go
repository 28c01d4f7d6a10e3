package site

import "time"

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
type machine struct{ began time.Time }

func (machine) Now() time.Time           { return time.Now() }
func (m machine) Elapsed() time.Duration { return time.Since(m.began) }

// clock is the configured clock, or the machine's.
func (c *Config) clock() Clock {
	if c.Clock != nil {
		return c.Clock
	}
	return machine{time.Now()}
}

// Clock is the site's clock. What is logged has the store's time instead, which
// never goes back (store.Store.Now).
func (s *Site) Clock() Clock { return s.clock }
