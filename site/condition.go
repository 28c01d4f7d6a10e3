package site

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ankan/notice"
	"ankan/store"
)

// The kinds of conditions.
const (
	ClockHeld           = "clock.held"           // it leapt, and the site's time does not follow
	ClockBehind         = "clock.behind"         // it was set back
	ClockUnsynchronised = "clock.unsynchronised" // no time service keeps it right
	DiskLow             = "disk.low"             // people should make room
	DiskFull            = "disk.full"            // no new work begins
	DiskReadOnly        = "disk.read-only"       // likewise
)

// A Condition is something about a site that people must see to.
type Condition struct {
	Kind  string    `json:"kind"`
	Since time.Time `json:"since"`
	Stops bool      `json:"stops"` // no new work begins; what runs goes to its end
	Text  string    `json:"text"`  // what is so
	Next  string    `json:"next"`  // what to do
}

// Conditions is what people must see to now; what stops work stands first.
func (s *Site) Conditions() []Condition {
	all := s.disks.conditions()
	if c, ok := s.keeper.condition(); ok {
		all = append(all, c)
	}
	if c, ok := s.discipline.condition(); ok {
		all = append(all, c)
	}
	slices.SortStableFunc(all, func(a, b Condition) int {
		switch {
		case a.Stops == b.Stops:
			return cmp.Compare(a.Kind, b.Kind)
		case a.Stops:
			return -1
		default:
			return 1
		}
	})
	return all
}

// ErrStopped is the error for new work while a condition stops it. The work is
// tried again by itself.
var ErrStopped = errors.New("new work waits")

// MayBegin refuses new work while a condition stops it: to take an order in, to
// draw its keys, to begin a card. What has begun goes to its end.
func (s *Site) MayBegin() error {
	for _, c := range s.Conditions() {
		if c.Stops {
			return fmt.Errorf("%w: %s %s", ErrStopped, c.Text, c.Next)
		}
	}
	return nil
}

// WhileMay is a context for work that can be left at any point and gone on with:
// it ends, with MayBegin's error as its cause, when a condition stops new work.
func (s *Site) WhileMay(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		t := time.NewTicker(diskEvery)
		defer t.Stop()
		for {
			if err := s.MayBegin(); err != nil {
				cancel(err)
			}
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// tellKeepers tells those who look after the machine, and those who look after
// them (SOP 6.4.c, 6.4.d).
func tellKeepers(ctx context.Context, tx *store.Tx, n notice.Notice) error {
	return notice.TellHolders(ctx, tx, n, "system-administrator", "security-officer")
}
