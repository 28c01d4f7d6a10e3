package site

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Discipline is what a clock says of how right it is: whether something keeps
// it so, such as a time service.
type Discipline struct {
	Synchronised bool          `json:"synchronised"`
	Within       time.Duration `json:"within_ns"` // how far off it is at most, by its own word; 0 if it does not know
}

// kernelDiscipline asks Linux of the machine's clock (adjtimex(2)). Whoever sets
// the clock by a time server tells the kernel; without that the kernel says after
// some hours, and from the start, that nobody does.
func kernelDiscipline() (Discipline, error) {
	var t unix.Timex // modes 0: nothing is changed
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return Discipline{}, fmt.Errorf("asking the kernel about its clock: %w", err)
	}
	return disciplineOf(state, int64(t.Status), int64(t.Maxerror)), nil
}

// disciplineOf reads what adjtimex said; maxError is in microseconds.
func disciplineOf(state int, status, maxError int64) Discipline {
	return Discipline{
		Synchronised: state != unix.TIME_ERROR && status&unix.STA_UNSYNC == 0 && maxError < maxStep.Microseconds(),
		Within:       time.Duration(maxError) * time.Microsecond,
	}
}

// disciplineEvery is how old an answer of the clock may be.
const disciplineEvery = 10 * time.Second

// A discipline asks a clock, seldom, whether something keeps it right.
type discipline struct {
	ask func() (Discipline, error) // nil: nobody knows
	now func() time.Time           // of the site
	// passed is a time that does not step.
	passed func() time.Duration

	mu    sync.Mutex
	asked time.Duration // when; by passed
	last  *Discipline   // nil: the clock did not say
	err   error
	since time.Time // nothing keeps it right; zero: something does
}

func newDiscipline(c *Config, now func() time.Time) *discipline {
	d := &discipline{ask: c.Discipline, now: now, passed: c.clock().Elapsed}
	if d.ask == nil && c.Clock == nil {
		d.ask = kernelDiscipline
	}
	return d
}

// look is what the clock said last; nil if it cannot say.
func (d *discipline) look() (*Discipline, time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ask == nil {
		return nil, time.Time{}
	}
	if at := d.passed(); d.last == nil && d.err == nil || at-d.asked >= disciplineEvery {
		d.asked = at
		said, err := d.ask()
		if d.last, d.err = &said, err; err != nil {
			d.last = nil
		}
		switch {
		case err != nil || said.Synchronised:
			d.since = time.Time{}
		case d.since.IsZero():
			d.since = d.now()
		}
	}
	return d.last, d.since
}

// condition is what people should know of it.
func (d *discipline) condition() (Condition, bool) {
	said, since := d.look()
	if said == nil || said.Synchronised {
		return Condition{}, false
	}
	return Condition{Kind: ClockUnsynchronised, Since: since,
		Text: fmt.Sprintf("Nothing keeps the machine's clock right: by its kernel it may be wrong by %s, or more.", said.Within.Round(time.Millisecond)),
		Next: "Have a time service set it: systemd-timesyncd, or chrony with rtcsync, and see that it reaches its server.",
	}, true
}
