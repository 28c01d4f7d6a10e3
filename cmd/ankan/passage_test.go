package main

import (
	"strings"
	"testing"
	"time"

	"ankan/exchange/edge"
)

func TestPassage(t *testing.T) {
	began := time.Date(2026, 11, 26, 8, 30, 0, 0, time.UTC)
	out := edge.Passage{Direction: edge.DirectionOut, Partner: "operator", File: "op-1.out.pgp", Size: 4_000_000_000, From: 100_000_000, Done: 1_100_000_000, Began: began, At: began.Add(20 * time.Second)}
	for name, tt := range map[string]struct {
		p    edge.Passage
		now  time.Time
		want string
	}{
		"goes":   {out, out.At, "going to operator: op-1.out.pgp, 1100.0 of 4000.0 MB, 27 % since " + when(began) + ", 50.0 MB/s, 58s left"},
		"stands": {out, out.At.Add(40 * time.Second), ", no more for 40s"},
		"comes":  {edge.Passage{Direction: edge.DirectionIn, Partner: "bureau", File: "a.pgp", Done: 30_000_000, Began: began, At: began.Add(10 * time.Second)}, began.Add(10 * time.Second), "coming from bureau: a.pgp, 30.0 MB since " + when(began) + ", 3.0 MB/s"},
	} {
		if got := passage(tt.p, tt.now); got != tt.want && !strings.HasSuffix(got, tt.want) || name != "stands" && got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
