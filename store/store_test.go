package store

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"ankan/audit"
	"ankan/store/storetest"
)

const testOrigin = "example.in/bureau"

func testSigner(t testing.TB, seed byte) *audit.Signer {
	t.Helper()
	s, err := audit.NewSigner(testOrigin, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func migration(sql ...string) fs.FS {
	files := fstest.MapFS{}
	for i, q := range sql {
		files[fmt.Sprintf("%05d_test.sql", i+1)] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + q)}
	}
	return files
}

func testSchema() Schema {
	return Schema{Name: "test", Files: migration(
		`CREATE TABLE item (id TEXT PRIMARY KEY, v BLOB NOT NULL);
		CREATE TABLE part (item TEXT NOT NULL REFERENCES item (id));`)}
}

func testConfig(t testing.TB, path string) Config {
	return Config{Path: path, Origin: testOrigin, Signer: testSigner(t, 1)}
}

func openTest(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), testConfig(t, path), testSchema())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newTest(t testing.TB) *Store { return openTest(t, storetest.New(t)) }

// newFile is for what is particular to SQLite.
func newFile(t testing.TB) *Store { return openTest(t, filepath.Join(t.TempDir(), "test.db")) }

func testEntry(subject string) audit.Entry {
	return audit.Entry{Kind: "item.added", Actor: "test", Subject: subject}
}

// noted is an entry that stands for no item.
func noted(subject string) audit.Entry {
	return audit.Entry{Kind: "test.noted", Actor: "test", Subject: subject}
}

func add(s *Store, id string) error {
	return s.Change(context.Background(), testEntry(id), func(tx *Tx) error {
		_, err := tx.Exec("INSERT INTO item (id, v) VALUES ($1, $2)", id, []byte(id))
		return err
	})
}

func count(t testing.TB, s *Store) (items int64) {
	t.Helper()
	if err := s.QueryRow(context.Background(), "SELECT count(*) FROM item").Scan(&items); err != nil {
		t.Fatal(err)
	}
	return items
}

// checkBooks looks from outside: the log verifies whole, and there is an entry
// item.added for every item.
func checkBooks(t testing.TB, s *Store) audit.Report {
	t.Helper()
	ctx := context.Background()
	r, err := s.Fsck(ctx, s.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	if r.Size != s.Size() || r.Entries != r.Size {
		t.Errorf("fsck sees %d entries, the store says %d", r.Entries, s.Size())
	}
	all, err := s.Entries(ctx, 0, int(r.Size))
	if err != nil {
		t.Fatal(err)
	}
	items := map[string]bool{}
	for _, e := range all {
		if e.Kind == "item.added" {
			items[e.Subject] = true
		}
	}
	rows, err := s.Query(ctx, "SELECT id FROM item")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		if !items[id] {
			t.Errorf("item %s has no entry", id)
		}
		delete(items, id)
	}
	if len(items) > 0 {
		t.Errorf("%d entries have no item: %v", len(items), items)
	}
	return r
}

func TestChange(t *testing.T) {
	s := newTest(t)
	before := s.Size() // the entries of the schemas
	at := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	s.now = func() time.Time { return at }
	own := map[string]any{"a": 1}
	e := testEntry("x")
	e.Data = own
	err := s.Change(t.Context(), e, func(tx *Tx) error {
		if tx.Index() != before || tx.Time().Before(at) {
			t.Errorf("index %d at %s", tx.Index(), tx.Time())
		}
		if _, err := tx.Exec("INSERT INTO item (id, v) VALUES ($1, $2)", "x", []byte("1")); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRow("SELECT count(*) FROM item").Scan(&n); err != nil || n != 1 {
			t.Errorf("%d items, %v: the change does not see what it wrote", n, err)
		}
		rows, err := tx.Query("SELECT id FROM item")
		if err != nil {
			return err
		}
		defer rows.Close()
		if !rows.Next() {
			t.Error("no row")
		}
		tx.Note("b", "two")
		return tx.Append(audit.Entry{Kind: "more", Actor: "test"})
	})
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.Entries(t.Context(), before, 10)
	if err != nil || len(all) != 2 {
		t.Fatalf("%v, %v, want two entries", all, err)
	}
	if all[0].Data["a"] != int64(1) || all[0].Data["b"] != "two" || all[1].Kind != "more" || !all[0].Time.Equal(all[1].Time) {
		t.Errorf("entries %v", all)
	}
	if len(own) != 1 {
		t.Error("Note wrote into the caller's map")
	}
	if s.Size() != before+2 {
		t.Errorf("size %d, want %d", s.Size(), before+2)
	}
	checkBooks(t, s)
}

func TestTimesNeverRunBackwards(t *testing.T) {
	s := newTest(t)
	start := s.Size()
	at := time.Now().Add(time.Hour)
	for i, now := range []time.Duration{0, -time.Minute, time.Second} {
		s.now = func() time.Time { return at.Add(now) }
		if err := add(s, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	given := noted("3")
	given.Time = at.Add(time.Minute)
	if err := s.Enter(t.Context(), given); err != nil {
		t.Fatal(err)
	}
	all, err := s.Entries(t.Context(), start, 4)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []time.Duration{0, 0, time.Second, time.Minute} {
		if !all[i].Time.Equal(at.Add(want)) {
			t.Errorf("entry %d at %s, want %s", i, all[i].Time, at.Add(want))
		}
	}
}

func TestAFailedChangeLeavesNoTrace(t *testing.T) {
	s := newTest(t)
	own := errors.New("own error")
	unique, foreign := "UNIQUE", "FOREIGN KEY"
	if storetest.OnPostgres() {
		unique, foreign = "23505", "23503"
	}
	insert := func(tx *Tx) error {
		_, err := tx.Exec("INSERT INTO item (id, v) VALUES ('x', 'x')")
		return err
	}
	for name, tc := range map[string]struct {
		e   audit.Entry
		fn  func(tx *Tx) error
		say string
	}{
		"own error":     {noted(""), func(tx *Tx) error { return errors.Join(insert(tx), own) }, "own error"},
		"bad entry":     {audit.Entry{Kind: "BAD", Actor: "a"}, insert, "kind"},
		"bad entry too": {audit.Entry{}, nil, "kind"},
		"entry too long": {noted(""), func(tx *Tx) error {
			tx.Note("x", strings.Repeat("x", audit.MaxEntry))
			return insert(tx)
		}, "65535"},
		"note twice":   {noted(""), func(tx *Tx) error { tx.Note("x", 1); tx.Note("x", 2); return insert(tx) }, "twice"},
		"bad append":   {noted(""), func(tx *Tx) error { return errors.Join(insert(tx), tx.Append(audit.Entry{})) }, "kind"},
		"SQL error":    {noted(""), func(tx *Tx) error { insert(tx); return insert(tx) }, unique},
		"no such item": {noted(""), func(tx *Tx) error { _, err := tx.Exec("INSERT INTO part VALUES ('none')"); return err }, foreign},
	} {
		t.Run(name, func(t *testing.T) {
			size, signed := s.Size(), s.Checkpoint()
			err := s.Change(t.Context(), tc.e, tc.fn)
			if err == nil || !strings.Contains(err.Error(), tc.say) {
				t.Errorf("error %v, want one that says %q", err, tc.say)
			}
			if s.Size() != size || !bytes.Equal(s.Checkpoint(), signed) || count(t, s) != 0 {
				t.Error("the change left a trace")
			}
		})
	}
	checkBooks(t, s)
}

func TestStatementsRefused(t *testing.T) {
	s := newTest(t)
	for _, q := range []string{
		"COMMIT", "rollback", "BEGIN", "SAVEPOINT x", "RELEASE one", "PRAGMA foreign_keys=OFF", "ATTACH 'x' AS x", "VACUUM",
		"CREATE TABLE x (y)", "DROP TABLE item", "", " \n", "/* */ COMMIT",
		"INSERT INTO item (id, v) VALUES ('x', 'x'); COMMIT", "SELECT 1; DELETE FROM item",
		"DELETE FROM log_entry", `UPDATE "log_checkpoint" SET signed = ''`, "INSERT INTO main.LOG_TILE VALUES (0,0,'')",
		"DELETE FROM schema_test",
	} {
		err := s.Change(t.Context(), noted(q), func(tx *Tx) error {
			_, err := tx.Exec(q)
			if _, err2 := tx.Query(q); err2 == nil {
				t.Errorf("Query(%q) was run", q)
			}
			if err2 := tx.QueryRow(q).Scan(new(int)); err2 == nil || errors.Is(err2, sql.ErrNoRows) {
				t.Errorf("QueryRow(%q) was run", q)
			}
			return err
		})
		if err == nil || !strings.HasPrefix(err.Error(), "statement ") {
			t.Errorf("%q: error %v", q, err)
		}
	}
	for _, q := range []string{"DELETE FROM item", "PRAGMA query_only=OFF", "SELECT 1; SELECT 2", ""} {
		rows, err := s.Query(t.Context(), q)
		if err == nil {
			rows.Close()
			t.Errorf("reading, %q was run", q)
		}
		if err := s.QueryRow(t.Context(), q).Scan(new(int)); err == nil || errors.Is(err, sql.ErrNoRows) {
			t.Errorf("reading, %q was run", q)
		}
		err = s.View(t.Context(), func(tx *ReadTx) error {
			if _, err := tx.Query(q); err == nil {
				t.Errorf("viewing, %q was run", q)
			}
			return tx.QueryRow(q).Scan(new(int))
		})
		if err == nil || errors.Is(err, sql.ErrNoRows) {
			t.Errorf("viewing, %q was run", q)
		}
	}
	// A WITH that writes passes the first word and stops at the reader's handle.
	err := s.QueryRow(t.Context(), "WITH x AS (SELECT 1) INSERT INTO item (id, v) SELECT 'x', 'x' FROM x RETURNING id").Scan(new(string))
	if err == nil || count(t, s) != 0 {
		t.Errorf("a reader wrote: %v", err)
	}
	if table, ok := ownTable("SELECT * FROM catalog_x, dialog_y"); ok {
		t.Errorf("%s passes for a table of the log", table)
	}
	// Below the door, triggers stand.
	for _, q := range []string{"DELETE FROM log_entry", "UPDATE log_entry SET leaf = ''"} {
		if _, err := s.writer.exec(q); err == nil || !strings.Contains(err.Error(), "never") {
			t.Errorf("%q: error %v", q, err)
		}
	}
	checkBooks(t, s)
}

func TestATxEnds(t *testing.T) {
	s := newTest(t)
	var kept *Tx
	if err := s.Change(t.Context(), noted("x"), func(tx *Tx) error { kept = tx; return nil }); err != nil {
		t.Fatal(err)
	}
	var view *ReadTx
	if err := s.View(t.Context(), func(tx *ReadTx) error { view = tx; return nil }); err != nil {
		t.Fatal(err)
	}
	for name, tx := range map[string]*Tx{"over": kept, "zero": {}} {
		if _, err := tx.Exec("DELETE FROM item"); err == nil {
			t.Errorf("%s: Exec ran", name)
		}
		if _, err := tx.Query("SELECT 1"); err == nil {
			t.Errorf("%s: Query ran", name)
		}
		if err := tx.QueryRow("SELECT 1").Scan(new(int)); err == nil {
			t.Errorf("%s: QueryRow ran", name)
		}
		if err := tx.Append(noted("y")); err == nil {
			t.Errorf("%s: Append took an entry", name)
		}
		tx.Note("x", 1)
	}
	for name, tx := range map[string]*ReadTx{"over": view, "zero": {}} {
		if _, err := tx.Query("SELECT 1"); err == nil {
			t.Errorf("%s: a view's Query ran", name)
		}
		if err := tx.QueryRow("SELECT 1").Scan(new(int)); err == nil {
			t.Errorf("%s: a view's QueryRow ran", name)
		}
	}
}

func TestZeroAndClosedStoresRefuse(t *testing.T) {
	closed := newTest(t)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*Store{"zero": {}, "closed": closed} {
		t.Run(name, func(t *testing.T) {
			if err := s.Enter(t.Context(), noted("x")); !errors.Is(err, ErrClosed) {
				t.Errorf("Change: %v", err)
			}
			if err := s.Close(); !errors.Is(err, ErrClosed) {
				t.Errorf("Close: %v", err)
			}
			if err := s.Scrub(t.Context()); !errors.Is(err, ErrClosed) {
				t.Errorf("Scrub: %v", err)
			}
			if _, err := s.Query(t.Context(), "SELECT 1"); err == nil {
				t.Error("Query ran")
			}
			if err := s.QueryRow(t.Context(), "SELECT 1").Scan(new(int)); err == nil {
				t.Error("QueryRow ran")
			}
			if err := s.View(t.Context(), func(*ReadTx) error { return nil }); err == nil {
				t.Error("View ran")
			}
			if err := s.Continues(t.Context(), nil); err == nil {
				t.Error("Continues ran")
			}
			if _, err := s.Prove(t.Context(), 0); err == nil {
				t.Error("Prove ran")
			}
		})
	}
	if s := new(Store); s.Size() != 0 || s.Checkpoint() != nil || s.VerifierKey() != "" {
		t.Error("a zero store has a log")
	}
}

func TestPanicIsTheCallers(t *testing.T) {
	s := newTest(t)
	insert := func(tx *Tx) {
		if _, err := tx.Exec("INSERT INTO item (id, v) VALUES ('x', 'x')"); err != nil {
			t.Error(err)
		}
	}
	func() {
		defer func() {
			if got := recover(); got != "boom" {
				t.Errorf("recovered %v", got)
			}
			if count(t, s) != 0 {
				t.Error("what the panicking change wrote is there")
			}
		}()
		s.Change(t.Context(), noted("x"), func(tx *Tx) error { insert(tx); panic("boom") })
	}()
	var wait sync.WaitGroup
	wait.Go(func() { // as t.Fatal does
		s.Change(context.Background(), noted("x"), func(tx *Tx) error { insert(tx); runtime.Goexit(); return nil })
	})
	wait.Wait()
	if err := add(s, "y"); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s); n != 1 {
		t.Errorf("%d items, want 1", n)
	}
	checkBooks(t, s)
}

func TestGroups(t *testing.T) {
	s := newTest(t)
	before := s.Size()
	const workers, each = 16, 40
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%d-%d", w, i)
				err := add(s, id)
				if err == nil && i%4 == 0 {
					err = add(s, id) // fails alone, whoever is in its group
					if err == nil {
						t.Errorf("%s was added twice", id)
					}
					continue
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if n := count(t, s); n != workers*each || s.Size() != before+workers*each {
		t.Errorf("%d items and %d entries, want %d", n, s.Size()-before, workers*each)
	}
	checkBooks(t, s)
}

func TestContextEndsWaiting(t *testing.T) {
	s := newTest(t)
	inside, leave := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- s.Change(context.Background(), noted("a"), func(*Tx) error {
			close(inside)
			<-leave
			return nil
		})
	}()
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() {
		second <- s.Change(ctx, noted("b"), func(*Tx) error { t.Error("a change ran that nobody wants"); return nil })
	}()
	for queued := 0; queued == 0; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		queued = len(s.waiting)
		s.mu.Unlock()
	}
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	close(leave)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if err := s.Enter(ctx, noted("c")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	checkBooks(t, s)
}

// TestContextEndsInGroup cancels a change whose group has begun, before its turn.
func TestContextEndsInGroup(t *testing.T) {
	s := newTest(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := &change{ctx: ctx, entry: noted("x"), fn: func(*Tx) error { t.Error("ran"); return nil }}
	if err := s.commit([]*change{c}); err != nil || !errors.Is(c.err, context.Canceled) {
		t.Errorf("%v, %v", err, c.err)
	}
}

func TestViewIsOneState(t *testing.T) {
	s := newTest(t)
	if err := add(s, "a"); err != nil {
		t.Fatal(err)
	}
	err := s.View(t.Context(), func(tx *ReadTx) error {
		for range 2 {
			var n int
			if err := tx.QueryRow("SELECT count(*) FROM item").Scan(&n); err != nil || n != 1 {
				t.Errorf("%d items, %v, want 1", n, err)
			}
			if err := add(s, fmt.Sprint("b", count(t, s))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || count(t, s) != 3 {
		t.Errorf("%d items, %v", count(t, s), err)
	}
}

func TestManyStatements(t *testing.T) {
	s := newFile(t)
	err := s.Change(t.Context(), noted("x"), func(tx *Tx) error {
		for i := range maxKept + 50 {
			var n int
			if err := tx.QueryRow(fmt.Sprintf("SELECT %d", i)).Scan(&n); err != nil || n != i {
				return fmt.Errorf("%d, %w", n, err)
			}
		}
		if _, err := tx.Exec("SELECT 'one more'"); err != nil {
			return err
		}
		return tx.QueryRow("SELECT nothing").Scan(new(int))
	})
	if err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("error %v", err)
	}
	if n := len(s.writer.kept); n != maxKept {
		t.Errorf("%d statements are kept, want %d", n, maxKept)
	}
}

func TestScrub(t *testing.T) {
	s := newFile(t)
	mark := bytes.Repeat([]byte("RECOGNISE-ME-"), 400)
	write := func(query string, args ...any) {
		t.Helper()
		err := s.Change(t.Context(), noted("x"), func(tx *Tx) error {
			_, err := tx.Exec(query, args...)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	onDisk := func() (n int) {
		t.Helper()
		files, err := filepath.Glob(s.path + "*")
		if err != nil || len(files) < 2 {
			t.Fatalf("files %v, %v", files, err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			n += bytes.Count(data, []byte("RECOGNISE-ME-"))
		}
		return n
	}
	for i := range 20 {
		write("INSERT INTO item (id, v) VALUES ($1, $2)", fmt.Sprint(i), mark)
	}
	if err := s.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	write("INSERT INTO item (id, v) VALUES ('again', $1)", mark)
	if onDisk() == 0 {
		t.Fatal("the mark is nowhere: this test cannot fail")
	}
	write("DELETE FROM item")
	// A reader of the state before holds the log.
	err := s.View(t.Context(), func(tx *ReadTx) error {
		if err := tx.QueryRow("SELECT count(*) FROM item").Scan(new(int)); err != nil {
			return err
		}
		if err := s.Enter(t.Context(), noted("y")); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		return s.Scrub(ctx)
	})
	if err == nil {
		t.Error("a scrub says that it is done while a reader holds what was deleted")
	}
	if err := s.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := onDisk(); n != 0 {
		t.Errorf("%d marks are left on disk", n)
	}
	checkBooks(t, s)
}

func BenchmarkChange(b *testing.B) {
	for _, writers := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := newTest(b)
			e := noted("8991000000000000001")
			e.Data = map[string]any{"batch": "B-7", "n": 1}
			next := make(chan int, writers)
			var wait sync.WaitGroup
			b.ResetTimer()
			for range writers {
				wait.Go(func() {
					for n := range next {
						err := s.Change(context.Background(), e, func(tx *Tx) error {
							_, err := tx.Exec("INSERT INTO item (id, v) VALUES ($1, $2)", fmt.Sprint(n), []byte("value"))
							return err
						})
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			for n := range b.N {
				next <- n
			}
			close(next)
			wait.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
		})
	}
}

// BenchmarkOpenFsckExport measures what reads the whole log of 100,000 entries.
func BenchmarkOpenFsckExport(b *testing.B) {
	const entries = 100_000
	path := storetest.New(b)
	s := openTest(b, path)
	for range entries / 1000 {
		err := s.Change(b.Context(), noted("many"), func(tx *Tx) error {
			for i := range 999 {
				if err := tx.Append(noted(fmt.Sprint(i))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	run := 0
	for name, fn := range map[string]func() error{
		"open": func() error {
			if err := s.Close(); err != nil {
				return err
			}
			var err error
			s, err = Open(b.Context(), testConfig(b, path), testSchema())
			return err
		},
		"fsck":  func() error { _, err := s.Fsck(b.Context(), s.VerifierKey()); return err },
		"prove": func() error { _, err := s.Prove(b.Context(), entries/2); return err },
		"export": func() error {
			run++
			_, err := s.Export(b.Context(), filepath.Join(b.TempDir(), fmt.Sprint(run)))
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := fn(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	s.Close()
}

// Now is the time of a change that would happen now.
func TestNow(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	c := testConfig(t, storetest.New(t))
	c.Now = func() time.Time { return at }
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	last := at.Add(time.Hour)
	for _, want := range []time.Time{at, last} {
		if got := s.Now(); !got.Equal(want) {
			t.Errorf("now is %s, want %s", got, want)
		}
		at = last
		if err := s.Enter(t.Context(), noted("x")); err != nil {
			t.Fatal(err)
		}
	}
	at = at.Add(-time.Minute) // the clock is set back
	if got := s.Now(); !got.Equal(last) {
		t.Errorf("now is %s, want that of the last entry, %s", got, last)
	}
	if got := new(Store).Now(); !got.IsZero() {
		t.Errorf("the zero store says %s", got)
	}
}
