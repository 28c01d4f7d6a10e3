// Package waiver lets an algorithm that is refused, because it is weak or
// broken, be used for a time on somebody's word.
package waiver

import (
	"errors"
	"fmt"
	"time"
)

// ErrNone: a refused algorithm was asked for and nobody answers for it.
var ErrNone = errors.New("no waiver is in force")

// A Waiver lets one refused algorithm be used for a time, and says whose word
// that is and why. Its zero value allows nothing.
type Waiver struct {
	For    string    `json:"for"`    // the algorithm that it allows
	Signed string    `json:"signed"` // who answers for it
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"` // the end; at this moment it is over
}

// Allows refuses the algorithm if the waiver is not for it, not signed, without
// reason or end, or over; the error wraps ErrNone.
func (w Waiver) Allows(algorithm string, now time.Time) error {
	switch {
	case w == Waiver{}:
		return fmt.Errorf("%s is refused: it is weak or broken, and %w", algorithm, ErrNone)
	case w.Signed == "" || w.Reason == "" || w.Until.IsZero():
		return fmt.Errorf("%s: waiver is signed by %q for the reason %q and ends on %q, want all three: %w", algorithm, w.Signed, w.Reason, w.LastDay(), ErrNone)
	case w.For != algorithm:
		return fmt.Errorf("%s: waiver is for %q: %w", algorithm, w.For, ErrNone)
	case !now.Before(w.Until):
		return fmt.Errorf("%s: waiver ended on %s: %w", algorithm, w.LastDay(), ErrNone)
	}
	return nil
}

// LastDay is the last day on which the waiver is in force for some time, in
// India, such as 2027-03-31; "" if it has no end.
func (w Waiver) LastDay() string {
	if w.Until.IsZero() {
		return ""
	}
	return w.Until.Add(-1).In(time.FixedZone("IST", 5*3600+1800)).Format(time.DateOnly)
}

// Kind names an algorithm with what this waiver says of it at a moment, such as
// "3DES under waiver until 2027-03-31".
func (w Waiver) Kind(algorithm string, now time.Time) string {
	switch {
	case w.Allows(algorithm, now) == nil:
		return algorithm + " under waiver until " + w.LastDay()
	case w.For == algorithm && !w.Until.IsZero() && !now.Before(w.Until):
		return algorithm + ", waiver ended on " + w.LastDay()
	}
	return algorithm + ", no waiver"
}
