package simulate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"ankan/audit"
	"ankan/hsm"
	"ankan/message"
	"ankan/parts"
	"ankan/site"
	"ankan/store"
)

// folder is a short folder, in memory where the machine has one.
func folder(t testing.TB) string {
	t.Helper()
	memory := "/dev/shm"
	if _, err := os.Stat(memory); err != nil {
		memory = ""
	}
	dir, err := os.MkdirTemp(memory, "ankan-sim")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// founded is one factory for all tests.
var founded = sync.OnceValues(func() (*Base, error) {
	dir, err := os.MkdirTemp("", "ankan-sim")
	if err != nil {
		return nil, err
	}
	return NewBase(context.Background(), filepath.Join(dir, "base"))
})

func TestMain(m *testing.M) {
	code := m.Run()
	if b, err := founded(); err == nil {
		os.RemoveAll(filepath.Dir(b.dir))
	}
	os.Exit(code)
}

// base is a factory whose sites are made of these parts; none are the usual ones.
func base(t testing.TB, parts ...site.Part) *Base {
	t.Helper()
	b, err := founded()
	if err != nil {
		t.Fatal(err)
	}
	c := *b
	if parts != nil {
		c.parts = parts
	}
	return &c
}

// one of the test's seeds; another one with ANKAN_SEED.
const seed = 20261125

// Some dozens of factories run, and nothing is wrong with any.
func TestFactories(t *testing.T) {
	res, err := Simulate(t.Context(), Plan{Seed: seed, Runs: 14, Workers: 2, Dir: folder(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range res.Failures {
		t.Errorf("%v\n%s", f, strings.Join(f.What, "\n"))
	}
	// A simulation in which nothing happens finds nothing either.
	for what, least := range map[string]int{"orders": 40, "orders that went to their end": 15, "cards proved": 30, "deaths, before": 5, "deaths, after": 5,
		"failed calls, before": 5, "failed calls, after": 5, "tricks": 10, "hostile files": 5, "clock events": 15, "chips": 30, "warrants spent": 100,
		"done: order.abandon": 1, "done: chip.lost": 1} {
		if res.Counts[what] < least {
			t.Errorf("%s: %d in %d runs, want %d or more", what, res.Counts[what], res.Runs, least)
		}
	}
}

// A run is decided by its seed: all that is done is the same when it runs again.
func TestSameSeed(t *testing.T) {
	b, dir := base(t), folder(t)
	for n := range 2 {
		var traces [2][]string
		for i := range traces {
			run := filepath.Join(dir, fmt.Sprint(n, "-", i))
			if _, err := b.Run(t.Context(), seed, n, run, func(line string) { traces[i] = append(traces[i], line) }); err != nil {
				t.Fatal(err)
			}
		}
		a, b := traces[0], traces[1]
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				t.Fatalf("run %d: decision %d is %q, and %q when it runs again", n, i, a[i], b[i])
			}
		}
		if len(a) != len(b) || len(a) < 60 {
			t.Errorf("run %d: %d decisions, and %d when it runs again", n, len(a), len(b))
		}
	}
}

// changed is the usual parts, one of them with other duties.
func changed(role string, change func(*site.Site, *site.Duties)) []site.Part {
	all := slices.Clone(parts.All())
	for i := range all {
		if all[i].Role != role {
			continue
		}
		open := all[i].Open
		all[i].Open = func(ctx context.Context, s *site.Site) (site.Duties, error) {
			d, err := open(ctx, s)
			if err == nil && s.Config().Is(role) {
				change(s, &d)
			}
			return d, err
		}
	}
	return all
}

// behind writes to a site's database what it should not.
func behind(ctx context.Context, s *site.Site, query string, args ...any) error {
	return s.Store().Change(ctx, audit.Entry{Kind: "test", Actor: "system:test", Subject: "test"}, func(tx *store.Tx) error {
		_, err := tx.Exec(query, args...)
		return err
	})
}

// after has a handler do more when it took a file.
func after(d *site.Duties, k message.Kind, more func(context.Context, *site.Arrival) error) {
	h := d.Files[k]
	take := h.Take
	h.Take = func(ctx context.Context, a *site.Arrival) error {
		if err := take(ctx, a); err != nil {
			return err
		}
		return more(ctx, a)
	}
	d.Files[k] = h
}

// rounds has a part do more in each round.
func rounds(d *site.Duties, do func(context.Context) error) {
	round := d.Round
	d.Round = func(ctx context.Context, begin site.Begin) error {
		begin("test", func(ctx context.Context) error {
			if err := do(ctx); err != nil {
				return err
			}
			return site.ErrIdle
		})
		if round == nil {
			return nil
		}
		return round(ctx, begin)
	}
}

// Factories that are broken on purpose are found out, each within a few runs;
// one in which something harmless is changed in the same way is not.
func TestBroken(t *testing.T) {
	sql := func(query string, args ...any) func(*site.Site) func(context.Context) error {
		return func(s *site.Site) func(context.Context) error {
			return func(ctx context.Context) error { return behind(ctx, s, query, args...) }
		}
	}
	everyRound := func(role, query string, args ...any) []site.Part {
		return changed(role, func(s *site.Site, d *site.Duties) { rounds(d, sql(query, args...)(s)) })
	}
	for _, tt := range []struct {
		name  string
		parts []site.Part
		want  string // in what is found; "": nothing is
	}{
		{"harmless", everyRound(site.Bureau, `DELETE FROM ledger_share WHERE block = $1`, []byte("none")), ""},
		{"a ledger that forgets", everyRound(site.Bureau, `DELETE FROM ledger_share`), "the ledger of bureau does not know it"},
		{"a warrant that can be used again", everyRound(site.Bureau, `UPDATE act SET state = 'approved' WHERE state = 'used'`), "act"},
		{"a report that counts twice", changed(site.Bureau, func(s *site.Site, d *site.Duties) {
			after(d, message.KindReport, func(ctx context.Context, _ *site.Arrival) error {
				return behind(ctx, s, `UPDATE orders SET retired = retired + 1 WHERE state = 'made'`)
			})
		}), "retired"},
		{"a line that remakes what was not destroyed", everyRound(site.Plant, `UPDATE card SET state = 'destroyed' WHERE state = 'reject'`), "nobody signed that"},
		{"a line that calls rejects good", everyRound(site.Plant, `UPDATE card SET state = 'good' WHERE state = 'reject'`), "chip"},
		{"a site that loses files", changed(site.Bureau, func(s *site.Site, d *site.Duties) {
			h := d.Files[message.KindAck]
			h.Take = func(ctx context.Context, a *site.Arrival) error {
				return s.Store().Change(ctx, audit.Entry{Kind: "test", Actor: "system:test", Subject: "test"}, a.Taken)
			}
			d.Files[message.KindAck] = h
		}), "nothing says why"},
		{"a subscriber store that loads twice", changed(site.Operator, func(s *site.Site, d *site.Duties) {
			rounds(d, func(ctx context.Context) error {
				return behind(ctx, s, `UPDATE subscriber SET ord = 'another' WHERE imsi = (SELECT min(imsi) FROM subscriber)`)
			})
		}), "subscribers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, dir := base(t, tt.parts...), folder(t)
			runs := 12
			if tt.want == "" {
				runs = 1
			}
			for n := range runs {
				_, err := b.Run(t.Context(), seed, n, filepath.Join(dir, fmt.Sprint(n)), nil)
				var f *Failure
				switch {
				case err == nil:
					continue
				case !errors.As(err, &f):
					t.Fatal(err)
				case tt.want == "":
					t.Fatalf("it is found out: %v", err)
				}
				if slices.ContainsFunc(f.What, func(what string) bool { return strings.Contains(what, tt.want) }) {
					t.Logf("found in run %d", n)
					return
				}
				t.Logf("run %d finds %q", n, f.What)
			}
			if tt.want != "" {
				t.Errorf("nothing is found in %d runs", runs)
			}
		})
	}
}

// keeper is a module that keeps the keys that it is to destroy.
type keeper struct{ hsm.Module }

func (keeper) Destroy(context.Context, string) error { return nil }

// A module that destroys nothing is found out.
func TestNothingDestroyed(t *testing.T) {
	b, dir := base(t), folder(t)
	b.module = func(name string, m hsm.Module) hsm.Module {
		if name == Bureau {
			return keeper{m}
		}
		return m
	}
	for n := range 6 {
		_, err := b.Run(t.Context(), seed, n, filepath.Join(dir, fmt.Sprint(n)), nil)
		var f *Failure
		if err != nil && !errors.As(err, &f) {
			t.Fatal(err)
		}
		if f != nil && strings.Contains(strings.Join(f.What, "\n"), "key") {
			t.Logf("run %d: %s", n, f.What[0])
			return
		}
	}
	t.Error("nothing is found in 6 runs")
}
