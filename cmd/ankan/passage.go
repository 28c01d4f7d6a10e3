package main

import (
	"fmt"
	"time"

	"ankan/exchange/edge"
)

// onWay prints the files that are on their way, and how far each is.
func (a *app) onWay(indent string, all []edge.Passage) {
	for _, p := range all {
		a.printf("%s%s\n", indent, passage(p, time.Now()))
	}
}

// passage says how far a file is: how many bytes of how many, since when, how
// fast, and how long the rest will take; or for how long nothing was heard of it.
func passage(p edge.Passage, now time.Time) string {
	const mb = 1e6
	to := "going to " + p.Partner
	if p.Direction == edge.DirectionIn {
		to = "coming from " + p.Partner
	}
	far := fmt.Sprintf("%.1f MB", float64(p.Done)/mb)
	if p.Size > 0 { // of what comes nobody said how much it is
		far = fmt.Sprintf("%.1f of %.1f MB, %d %%", float64(p.Done)/mb, float64(p.Size)/mb, 100*p.Done/p.Size)
	}
	pace := fmt.Sprintf("%.1f MB/s", p.Rate()/mb)
	if d := p.Left(); d > 0 {
		pace += fmt.Sprintf(", %s left", d.Round(time.Second))
	}
	if quiet := now.Sub(p.At); quiet > quietAfter {
		pace = fmt.Sprintf("no more for %s", quiet.Round(time.Second))
	}
	return fmt.Sprintf("%s: %s, %s since %s, %s", to, p.File, far, when(p.Began), pace)
}

// quietAfter is how long a file may stand still before that is what is said of it.
const quietAfter = 10 * time.Second
