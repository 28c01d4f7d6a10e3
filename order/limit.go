package order

import (
	"slices"
	"time"
)

// The clock of destruction (SOP 6.3.3) runs from when the operator has its keys,
// or from when the order was given up, until the manufacturer's copy is gone.

// clockRuns and clockStopped are the states in which it begins, and in which it
// is over, at either site.
var (
	clockRuns    = []State{Received, Abandoning, Acknowledged, Abandoned}
	clockStopped = []State{Destroyed, Certified, Closed}
)

// Due is since when the clock of destruction runs for an order, and when the
// contract's limit passes; both are zero while it does not run.
func (c *Contract) Due(o Order, steps []Step) (began, due time.Time) {
	if slices.Contains(clockStopped, o.State) {
		return began, due
	}
	for _, st := range steps {
		if slices.Contains(clockRuns, st.State) {
			return st.At, st.At.Add(c.DestructionLimit)
		}
	}
	return began, due
}

// Warning is when people are told that a limit is near: three quarters of the time
// have passed.
func Warning(began, due time.Time) time.Time { return due.Add(-due.Sub(began) / 4) }
