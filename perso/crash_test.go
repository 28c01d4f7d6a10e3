package perso

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"ankan/store/storetest"
)

var errCrash = errors.New("crash")

// crashes has the process die at the n-th command: before the chip gets it,
// or after it did it and before the answer. Some die a second time soon after.
func (f *plant) crashes(n int, after bool) (ctx func() context.Context) {
	cancel := func() {}
	again := n + 1 + n*7%60
	f.tray.cut = func(i int, isAfter bool) error {
		if i == n && isAfter == after || n%3 == 0 && i == again && isAfter {
			cancel()
			return errCrash
		}
		return nil
	}
	return func() (ctx context.Context) {
		ctx, cancel = context.WithCancel(f.Context())
		f.Cleanup(cancel)
		return ctx
	}
}

// ends runs an order until nothing is left to do, a new line each time, with
// people that destroy the rejects. It says how often it crashed.
func (f *plant) ends(ord string, ctx func() context.Context, stations int) (crashed int) {
	f.Helper()
	for range 10 {
		err := f.run(ctx(), ord, stations)
		switch {
		case err == nil:
			return crashed
		case errors.Is(err, ErrRejects):
			f.destroy(ord)
		case errors.Is(err, context.Canceled):
			crashed++
		default:
			f.Fatalf("order %s: %v", ord, err)
		}
	}
	f.Fatalf("order %s does not come to an end: %+v", ord, f.rows(ord))
	return 0
}

// Wherever the process dies, the next one finishes the order: two cards, one
// of them remade because its first chip failed. With -short only one command
// in seven is a place to die.
func TestCrashAtEachCommand(t *testing.T) {
	f, step := newPlant(t), 1
	if testing.Short() {
		step = 7
	}
	for n := 1; ; n += step {
		ord := fmt.Sprintf("C%05d", n)
		f.batch(ord, 2, 1)
		f.tray = newTray()
		f.load(7)
		f.tray.order[0].fault = from(120, mute)
		crashed := f.ends(ord, f.crashes(n, n%2 == 0), 1+n/2%2)
		// A crash before the intent leaves the failing chip without an identity.
		if c := f.counts(ord, 2); c != (Counts{Cards: 2, Good: 2, Destroyed: 1, Remade: 1}) && c != (Counts{Cards: 2, Good: 2}) {
			t.Fatalf("crash at command %d: %+v", n, c)
		}
		f.check(ord, 2)
		if t.Failed() {
			t.Fatalf("crash at command %d, after it: %t", n, n%2 == 0)
		}
		if crashed == 0 {
			t.Logf("%d commands", n)
			break
		}
	}
}

// Whichever commit fails, nothing was done that the next run does not know.
func TestCommitFails(t *testing.T) {
	for name, on := range map[string]string{
		"intent":   "BEFORE INSERT ON card",
		"good":     "BEFORE UPDATE ON card WHEN NEW.state = 'good'",
		"reject":   "BEFORE UPDATE ON card WHEN NEW.state = 'reject'",
		"aside":    "BEFORE INSERT ON set_aside WHEN NEW.reason = 'wrong lot'",
		"withdraw": "BEFORE INSERT ON set_aside WHEN NEW.reason = 'wrong transport keys'",
		"retired":  "BEFORE INSERT ON retired",
		"finished": "BEFORE UPDATE ON run",
	} {
		t.Run(name, func(t *testing.T) {
			f := newPlant(t)
			f.batch("A1", 5, 1)
			f.chip("LOT-2", f.master)
			f.chip(lotName, make([]byte, 32))
			f.load(8)
			f.tray.order[2].fault, f.tray.order[4].fault = from(120, mute), from(120, mute)
			mend := storetest.Break(t, f.path, on, "the disk is full")
			failed := false
			for range 20 {
				err := f.run(t.Context(), "A1", 2)
				if errors.Is(err, ErrRejects) {
					f.destroy("A1")
				} else if err == nil {
					break
				} else if !failed {
					failed = true
					f.check("A1", 5)
					mend()
				}
			}
			if !failed {
				t.Fatal("no commit failed")
			}
			// A chip that was taken and for which no commit was possible has no
			// identity and is not counted: fewer may fail than are there.
			c := f.counts("A1", 5)
			if c.Good+c.Retired != 5 || c.Destroyed != c.Remade+c.Retired || c.Destroyed == 0 {
				t.Errorf("%+v", c)
			}
			f.check("A1", 5)
		})
	}
}
