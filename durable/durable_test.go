package durable

import (
	"errors"
	"slices"
	"sync"
	"testing"
)

// The program as it is built for use does what it is told, whatever its
// environment says.
func TestDo(t *testing.T) {
	for _, name := range []string{"ANKAN_DIE", "ANKAN_FAIL"} {
		t.Setenv(name, "1")
	}
	t.Setenv("ANKAN_STEPS", "/nonexistent/steps")
	own, n := errors.New("own"), 0
	for _, s := range []Steps{nil, (&Script{}).Steps()} {
		if err := s.Do("step", func() error { n++; return own }); err != own {
			t.Errorf("got %v, want the step's own error", err)
		}
		if err := s.Do("step", func() error { n++; return nil }); err != nil {
			t.Error(err)
		}
	}
	if n != 4 {
		t.Errorf("%d steps were done, want 4", n)
	}
}

// run takes steps named by names and returns those that were done and the errors.
func run(s Steps, names ...string) (done []string, errs []error) {
	for _, name := range names {
		errs = append(errs, s.Do(name, func() error { done = append(done, name); return nil }))
	}
	return done, errs
}

func TestScript(t *testing.T) {
	names := []string{"a", Use + "b", "c", "d", Use + "e"}
	for _, test := range []struct {
		name string
		s    *Script
		done []string
		errs []error
		died string
	}{
		{"nothing", &Script{}, names, make([]error, 5), ""},
		{"dies before", &Script{Die: Event{2, Before}}, []string{"a", Use + "b"}, []error{nil, nil, ErrDead, ErrDead, ErrDead}, "c"},
		{"dies after", &Script{Die: Event{2, After}}, []string{"a", Use + "b", "c"}, []error{nil, nil, ErrDead, ErrDead, ErrDead}, "c"},
		{"fails before", &Script{Fail: []Event{{2, Before}}}, []string{"a", "c", "d", Use + "e"}, []error{nil, ErrFailed, nil, nil, nil}, ""},
		{"fails after", &Script{Fail: []Event{{2, After}, {5, Before}}}, []string{"a", Use + "b", "c", "d"}, []error{nil, ErrFailed, nil, nil, ErrFailed}, ""},
		{"fails where it matches", &Script{Fail: []Event{{2, Before}}, Match: Lasts}, []string{"a", Use + "b", "d", Use + "e"}, []error{nil, nil, ErrFailed, nil, nil}, ""},
		{"fails, then dies", &Script{Fail: []Event{{1, Before}}, Die: Event{1, After}}, nil, []error{ErrDead, ErrDead, ErrDead, ErrDead, ErrDead}, "a"},
	} {
		var died string
		test.s.Died = func(step string) { died += step }
		done, errs := run(test.s.Steps(), names...)
		if !slices.Equal(done, test.done) || !slices.EqualFunc(errs, test.errs, errors.Is) || died != test.died {
			t.Errorf("%s: done %q, errors %v, died at %q", test.name, done, errs, died)
		}
	}
	s := &Script{Match: Lasts}
	run(s.Steps(), names...)
	if c := s.Count(); c != (Count{3, 3}) || s.Dead() || !slices.Equal(s.Names(), names) {
		t.Errorf("%+v, %q", c, s.Names())
	}
}

// A step's own error is not hidden by what was planned after it.
func TestOwnError(t *testing.T) {
	own := errors.New("own")
	if err := (&Script{Fail: []Event{{1, After}}}).Steps().Do("a", func() error { return own }); err != own {
		t.Errorf("got %v, want %v", err, own)
	}
}

// Steps are counted right when many are taken at once, and one of them dies.
func TestAtOnce(t *testing.T) {
	s := &Script{Die: Event{500, Before}}
	var all sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for range 1000 {
		all.Go(func() {
			if s.Steps().Do("a", func() error { return nil }) == nil {
				mu.Lock()
				done++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if done != 499 || !s.Dead() {
		t.Errorf("%d were done, want 499", done)
	}
}

func TestParseEvent(t *testing.T) {
	for text, want := range map[string]Event{"1": {1, Before}, "17:before": {17, Before}, "17:after": {17, After}} {
		if e, err := ParseEvent(text); err != nil || e != want {
			t.Errorf("%s: %v, %v", text, e, err)
		}
	}
	if all, err := ParseEvents("1,7:after"); err != nil || len(all) != 2 || all[1] != (Event{7, After}) {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := ParseEvents("1,,2"); err == nil {
		t.Error("an empty event is taken")
	}
	for _, text := range []string{"", "0", "-1", "x", "1:", "1:later", "1:after:2", "1 "} {
		if e, err := ParseEvent(text); err == nil {
			t.Errorf("%q is %v", text, e)
		}
	}
}

func FuzzParseEvent(f *testing.F) {
	for _, s := range []string{"1", "17:before", "17:after", "0:", ":"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := ParseEvent(text)
		if err != nil {
			return
		}
		if again, err := ParseEvent(e.String()); err != nil || again != e {
			t.Errorf("%q is %v, again %v, %v", text, e, again, err)
		}
	})
}
