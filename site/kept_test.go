package site

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What the kernel says is read as its manual has it (adjtimex(2)).
func TestDisciplineOf(t *testing.T) {
	for name, tt := range map[string]struct {
		state            int
		status, maxError int64
		want             bool
	}{
		"kept right":               {unix.TIME_OK, unix.STA_PLL, 12_000, true},
		"a leap second is to come": {unix.TIME_INS, unix.STA_PLL | unix.STA_INS, 12_000, true},
		"nobody set it":            {unix.TIME_ERROR, unix.STA_UNSYNC, 16_000_000, false},
		"no state, but the bit":    {unix.TIME_OK, unix.STA_UNSYNC, 10, false},
		"no bit, but the state":    {unix.TIME_ERROR, 0, 10, false},
		"long ago":                 {unix.TIME_OK, unix.STA_PLL, 2_000_000, false},
	} {
		got := disciplineOf(tt.state, tt.status, tt.maxError)
		if got.Synchronised != tt.want || got.Within != time.Duration(tt.maxError)*time.Microsecond {
			t.Errorf("%s: %+v, want %t", name, got, tt.want)
		}
	}
	// This machine's own: whatever it says, it says.
	if _, err := kernelDiscipline(); err != nil {
		t.Error(err)
	}
}

// A clock that nothing keeps right is told from when it was first seen, asked no
// more often than it need be, and stops no work.
func TestDiscipline(t *testing.T) {
	now, passed, asked := time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC), time.Duration(0), 0
	said, wrong := Discipline{Within: 16 * time.Second}, error(nil)
	d := &discipline{now: func() time.Time { return now }, passed: func() time.Duration { return passed }, ask: func() (Discipline, error) { asked++; return said, wrong }}
	c, ok := d.condition()
	if !ok || c.Kind != ClockUnsynchronised || c.Stops || !c.Since.Equal(now) || !strings.Contains(c.Text, "16s") || c.Next == "" {
		t.Errorf("%+v, %t", c, ok)
	}
	began := now
	now, passed = now.Add(9*time.Second), 9*time.Second
	said.Synchronised = true
	if _, ok := d.condition(); !ok || asked != 1 {
		t.Errorf("after nine seconds: %t, asked %d times", ok, asked)
	}
	now, passed = now.Add(time.Second), 10*time.Second
	if _, ok := d.condition(); ok || asked != 2 {
		t.Errorf("it is kept right: %t, asked %d times", ok, asked)
	}
	said.Synchronised = false
	now, passed = now.Add(10*time.Second), 20*time.Second
	if c, ok := d.condition(); !ok || !c.Since.Equal(now) || c.Since.Equal(began) {
		t.Errorf("again: %+v, %t", c, ok)
	}
	wrong, passed = errors.New("not allowed"), 30*time.Second
	if _, ok := d.condition(); ok {
		t.Error("a clock that does not say is called wrong")
	}
	if said, _ := d.look(); said != nil {
		t.Errorf("it says %+v", said)
	}
	if _, ok := (&discipline{}).condition(); ok {
		t.Error("nobody was asked")
	}
	if asked != 4 {
		t.Errorf("asked %d times, want 4", asked)
	}
}

// A clock that is not the machine's is nothing that the kernel knows of.
func TestDisciplineOfWhat(t *testing.T) {
	if d := newDiscipline(&Config{Clock: machine{}}, time.Now); d.ask != nil {
		t.Error("the kernel is asked about another clock")
	}
	if d := newDiscipline(&Config{}, time.Now); d.ask == nil {
		t.Error("nobody is asked about the machine's")
	}
}
