package waiver

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// The evening of 31 March in India, and the moment when that day ends.
var (
	evening = time.Date(2027, 3, 31, 18, 0, 0, 0, time.UTC)
	end     = time.Date(2027, 3, 31, 18, 30, 0, 0, time.UTC)
)

func TestWaiver(t *testing.T) {
	good := Waiver{"3DES", "person/1001", "the HLR of 2009 takes nothing else", end}
	if err := good.Allows("3DES", evening); err != nil {
		t.Error(err)
	}
	if got := good.Kind("3DES", evening); got != "3DES under waiver until 2027-03-31" {
		t.Error(got)
	}
	for _, c := range []struct {
		w          Waiver
		now        time.Time
		want, kind string
	}{
		{Waiver{}, evening, "3DES is refused: it is weak or broken, and no waiver is in force", "3DES, no waiver"},
		{Waiver{For: "3DES", Reason: "r", Until: end}, evening, `signed by "" for the reason "r" and ends on "2027-03-31"`, "3DES, no waiver"},
		{Waiver{For: "3DES", Signed: "a", Until: end}, evening, `signed by "a" for the reason ""`, "3DES, no waiver"},
		{Waiver{For: "3DES", Signed: "a", Reason: "r"}, time.Time{}, `ends on ""`, "3DES, no waiver"},
		{Waiver{"3DES-3KEY", "a", "r", end}, evening, `waiver is for "3DES-3KEY"`, "3DES, no waiver"},
		{good, end, "waiver ended on 2027-03-31", "3DES, waiver ended on 2027-03-31"},
		{good, end.Add(time.Hour), "waiver ended on 2027-03-31", "3DES, waiver ended on 2027-03-31"},
	} {
		if err := c.w.Allows("3DES", c.now); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v at %s: %v, want %q", c.w, c.now, err, c.want)
		}
		if got := c.w.Kind("3DES", c.now); got != c.kind {
			t.Errorf("%v at %s is %q, want %q", c.w, c.now, got, c.kind)
		}
	}
}
