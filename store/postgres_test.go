package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"ankan/audit"
	"ankan/store/storetest"
)

// These tests run on PostgreSQL, whatever the rest of the suite runs on.

func besideConfig(t testing.TB, path string) Config {
	c := testConfig(t, path)
	c.Beside = true
	return c
}

func openBeside(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), besideConfig(t, path), testSchema())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func addApart(s *Store, id string) error {
	return s.Apart(context.Background(), testEntry(id), func(tx *Tx) error {
		_, err := tx.Exec("INSERT INTO item (id, v) VALUES ($1, $2)", id, []byte(id))
		return err
	})
}

func says(t *testing.T, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: error %v, want one that says %q", what, err, want)
	}
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"postgres://ankan@127.0.0.1/site":                                      "",
		"postgres:///site?host=/run/postgresql&user=ankan":                     "",
		"postgresql://ankan@localhost:5433/site":                               "",
		"postgres://ankan@db.example/site":                                     "",
		"postgres://ankan@db.example/site?sslmode=verify-full":                 "",
		"postgres://ankan@db1.example,db2.example/site":                        "",
		"postgres://ankan:pass@127.0.0.1/site":                                 "has a password in it",
		"postgres:///site?host=/run/postgresql&user=ankan&password=pass":       "has a password in it",
		"postgres://ankan@db.example/site?sslmode=disable":                     `sslmode is "disable", want verify-full`,
		"postgres://ankan@db.example/site?sslmode=prefer":                      `sslmode is "prefer", want verify-full`,
		"postgres://ankan@db.example/site?sslmode=require":                     `sslmode is "require", want verify-full`,
		"postgres://ankan@127.0.0.1,db.example/site?sslmode=disable":           "want verify-full",
		"mysql://ankan@127.0.0.1/site":                                         "is none, want postgres://",
		"postgres://ankan@%zz/pass":                                            "is none, want postgres://",
		"postgres://ankan@127.0.0.1/site?sslmode=perhaps":                      "database address: ",
		"postgres://ankan@db.example/site?sslmode=verify-full&sslrootcert=/no": "database address: ",
	} {
		_, err := ParseAddress(address)
		if want == "" && err != nil {
			t.Errorf("%s: %v", address, err)
		}
		if want != "" {
			says(t, address, err, want)
			if err != nil && strings.Contains(err.Error(), "pass@") {
				t.Errorf("%s: the error holds the password: %v", address, err)
			}
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("postgres://ankan@db.example/site?sslmode=verify-full")
	f.Add("postgres:///site?host=/run&user=a")
	f.Add("postgres://u:p@h/d")
	f.Fuzz(func(t *testing.T, address string) {
		c, err := ParseAddress(address)
		if err == nil && !local(c) && !verified(c) {
			t.Errorf("%q goes to %s without TLS that verifies it", address, c.Host)
		}
	})
}

func TestPostgresRefuses(t *testing.T) {
	server := storetest.Start(t)
	run := func(path string, statements ...string) {
		t.Helper()
		db := storetest.Open(t, path)
		for _, q := range statements {
			if _, err := db.Exec(q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
	}
	run(server.URL("postgres"), `CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`,
		`CREATE DATABASE icu ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`,
		`CREATE DATABASE good TEMPLATE template0`, `CREATE ROLE reader LOGIN`)
	for path, want := range map[string]string{
		server.URL("latin"):                         "encoding LATIN1 and collation C, want UTF8 and C",
		server.URL("icu"):                           "want UTF8 and C",
		server.URL("none"):                          `database "none" does not exist`,
		server.URL("good") + "&search_path=nowhere": "no schema of the search path",
		strings.Replace(server.URL("good"), "user=ankan", "user=x", 1):      `role "x" does not exist`,
		strings.Replace(server.URL("good"), "user=ankan", "user=reader", 1): "permission denied",
		"postgres:///x?user=ankan&host=" + t.TempDir():                      "failed to connect",
	} {
		s, err := Open(t.Context(), testConfig(t, path), testSchema())
		if err == nil {
			s.Close()
		}
		says(t, path, err, want)
	}
	c := testConfig(t, server.URL("good"))
	c.Password = func() (string, error) { return "", errors.New("no such file") }
	_, err := Open(t.Context(), c, testSchema())
	says(t, "a password that cannot be read", err, "no such file")
	_, err = Open(t.Context(), besideConfig(t, server.URL("good")), testSchema())
	says(t, "beside nobody", err, "log_checkpoint")
	s := openTest(t, server.URL("good"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), besideConfig(t, server.URL("good")), Schema{Name: "test", Files: migration("SELECT 1", "SELECT 2")})
	says(t, "tables that are old", err, "version 1, want 2; start the site's main process")
	_, err = Open(t.Context(), besideConfig(t, server.URL("good")), Schema{Name: "other", Files: migration("SELECT 1")})
	says(t, "tables that are not there", err, "schema other")
	_, err = Open(t.Context(), besideConfig(t, t.TempDir()+"/x.db"), testSchema())
	says(t, "beside a file", err, "only on a PostgreSQL server")
}

// TestPostgresPassword gives the password by file, and by no other way.
func TestPostgresPassword(t *testing.T) {
	server := storetest.Start(t)
	db := storetest.Open(t, server.URL("postgres"))
	for _, q := range []string{`CREATE ROLE site LOGIN PASSWORD 'a long password'`, `CREATE DATABASE site OWNER site TEMPLATE template0`} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(server.Folder()+"/pg_hba.conf", []byte("local postgres ankan trust\nlocal all all scram-sha-256\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`SELECT pg_reload_conf()`); err != nil {
		t.Fatal(err)
	}
	path := strings.Replace(server.URL("site"), "user=ankan", "user=site", 1)
	asked := 0
	c := testConfig(t, path)
	c.Password = func() (string, error) { asked++; return "a long password", nil }
	var s *Store
	for until := time.Now().Add(time.Minute); ; { // the server reads its files when it gets to it
		var err error
		if s, err = Open(t.Context(), c, testSchema()); err == nil {
			break
		}
		if time.Now().After(until) {
			t.Fatal(err)
		}
	}
	if err := add(s, "x"); err != nil || asked == 0 {
		t.Errorf("%v; asked %d times", err, asked)
	}
	s.Close()
	c.Password = func() (string, error) { return "a wrong password", nil }
	_, err := Open(t.Context(), c, testSchema())
	says(t, "a wrong password", err, "password authentication failed")
	if strings.Contains(err.Error(), "a wrong") {
		t.Errorf("the error holds the password: %v", err)
	}
}

// terminate cuts the sessions of the database that hold advisory locks.
func terminate(t *testing.T, path string) {
	t.Helper()
	_, err := storetest.Open(t, path).Exec(`SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()
		AND objid = (SELECT oid::bigint & 2147483647 FROM pg_namespace WHERE nspname = current_schema())`)
	if err != nil {
		t.Fatal(err)
	}
}

// TestR21TwoPrimaries: two processes think that they are the site's main one.
// The lock is on the connection that commits; who has lost it cannot.
func TestR21TwoPrimaries(t *testing.T) {
	path := storetest.Postgres(t)
	first := openTest(t, path)
	if err := add(first, "a"); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), testConfig(t, path), testSchema())
	host, _ := os.Hostname()
	if want := fmt.Sprintf("in use by ankan %s process %d; stop it first", host, os.Getpid()); !errors.Is(err, ErrPrimary) || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}

	// Its session is cut off: it comes back by itself.
	terminate(t, path)
	if err := add(first, "b"); err != nil {
		t.Fatal(err)
	}

	// It is cut off in the middle of a change, and another takes over before it
	// is back.
	var second *Store
	err = first.Change(t.Context(), testEntry("c"), func(tx *Tx) error {
		if _, err := tx.Exec("INSERT INTO item (id, v) VALUES ('c', 'c')"); err != nil {
			return err
		}
		terminate(t, path)
		second = openTest(t, path)
		return add(second, "d")
	})
	if !errors.Is(err, ErrAway) {
		t.Errorf("error %v, want %v", err, ErrAway)
	}
	for range 2 {
		if err := add(first, "e"); !errors.Is(err, ErrPrimary) {
			t.Errorf("error %v, want %v", err, ErrPrimary)
		}
	}
	if err := add(second, "f"); err != nil {
		t.Fatal(err)
	}
	second.Close()
	if err := add(first, "g"); !errors.Is(err, ErrPrimary) { // not even when the place is free: it knows what is old
		t.Errorf("error %v, want %v", err, ErrPrimary)
	}
	third := openTest(t, path)
	checkBooks(t, third)
	if n := count(t, third); n != 4 {
		t.Errorf("%d items, want a, b, d and f", n)
	}
}

// TestBeside: several write to one log, each seeing what the others wrote.
func TestBeside(t *testing.T) {
	path := storetest.Postgres(t)
	main := openTest(t, path)
	stores := []*Store{main, openBeside(t, path), openBeside(t, path)}
	const each = 40
	var wait sync.WaitGroup
	for i, s := range stores {
		for j := range 4 {
			wait.Go(func() {
				for k := range each / 4 {
					id := fmt.Sprintf("%d-%d-%d", i, j, k)
					write := add
					if j%2 == 0 {
						write = addApart
					}
					if err := write(s, id); err != nil {
						t.Errorf("%s: %v", id, err)
					}
				}
			})
		}
	}
	wait.Wait()
	for _, s := range stores { // each comes up to the others with its next change
		if err := s.Enter(t.Context(), noted("x")); err != nil {
			t.Fatal(err)
		}
	}
	r := checkBooks(t, stores[2])
	if n := count(t, main); n != int64(len(stores)*each) {
		t.Errorf("%d items, want %d", n, len(stores)*each)
	}
	all, err := main.Entries(t.Context(), 0, int(r.Size))
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(all); i++ {
		if all[i].Time.Before(all[i-1].Time) {
			t.Fatalf("entry %d is before the one before it", i)
		}
	}

	// While somebody works beside it no table is changed.
	main.Close()
	newer := Schema{Name: "test", Files: fstest.MapFS{}}
	for name, f := range testSchema().Files.(fstest.MapFS) {
		newer.Files.(fstest.MapFS)[name] = f
	}
	newer.Files.(fstest.MapFS)["00002_more.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nALTER TABLE item ADD COLUMN w TEXT;\n")}
	_, err = Open(t.Context(), testConfig(t, path), newer)
	says(t, "a migration under somebody's feet", err, "the tables are to be changed")
	for _, s := range stores[1:] {
		s.Close()
	}
	s, err := Open(t.Context(), testConfig(t, path), newer)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = Open(t.Context(), besideConfig(t, path), testSchema())
	if !errors.Is(err, ErrNewer) {
		t.Errorf("error %v, want %v", err, ErrNewer)
	}
}

// TestApart holds on both databases.
func TestApart(t *testing.T) {
	for name, path := range map[string]string{"file": t.TempDir() + "/x.db", "server": storetest.Postgres(t)} {
		t.Run(name, func(t *testing.T) {
			s := openTest(t, path)
			e := testEntry("a")
			err := s.Apart(t.Context(), e, func(tx *Tx) error {
				tx.Note("n", 1)
				if err := tx.Append(noted("more")); err != nil {
					return err
				}
				_, err := tx.Exec("INSERT INTO item (id, v) VALUES ('a', 'a')")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			all, err := s.Entries(t.Context(), s.Size()-2, 2)
			if err != nil || len(all) != 2 || all[0].Subject != "a" || all[0].Data["n"] == nil || all[1].Subject != "more" || !all[0].Time.Equal(all[1].Time) || all[0].Time.IsZero() {
				t.Errorf("%+v, %v", all, err)
			}
			own := errors.New("own")
			size := s.Size()
			insert := func(tx *Tx) error { _, err := tx.Exec("INSERT INTO item (id, v) VALUES ('b', 'b')"); return err }
			for what, tc := range map[string]struct {
				fn   func(*Tx) error
				want string
			}{
				"index":              {func(tx *Tx) error { tx.Index(); return insert(tx) }, "only at its end"},
				"time":               {func(tx *Tx) error { tx.Time(); return insert(tx) }, "only at its end"},
				"own error":          {func(tx *Tx) error { return errors.Join(insert(tx), own) }, "own"},
				"bad entry":          {func(tx *Tx) error { return tx.Append(audit.Entry{}) }, "kind"},
				"a failed statement": {func(tx *Tx) error { insert(tx); insert(tx); return nil }, "a statement of the change failed"},
			} {
				says(t, what, s.Apart(t.Context(), e, tc.fn), tc.want)
			}
			if s.Size() != size || count(t, s) != 1 {
				t.Error("a change that failed left a trace")
			}
			func() {
				defer func() { _ = recover() }()
				_ = s.Apart(t.Context(), e, func(tx *Tx) error { insert(tx); panic("x") })
			}()
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if err := s.Apart(ended, e, insert); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			if err := addApart(s, "b"); err != nil {
				t.Fatal(err)
			}
			checkBooks(t, s)
			s.Close()
			if err := addApart(s, "c"); !errors.Is(err, ErrClosed) {
				t.Errorf("error %v, want %v", err, ErrClosed)
			}
		})
	}
}

// TestApartGivesWay: a change wants a row that a change apart has written, which
// itself waits for its turn in the log.
func TestApartGivesWay(t *testing.T) {
	path := storetest.Postgres(t)
	main, worker := openTest(t, path), openBeside(t, path)
	for _, s := range []*Store{worker, main} { // in two processes, and in one
		var runs atomic.Int32
		apart := make(chan error, 1)
		written, began := make(chan struct{}), make(chan struct{})
		id := fmt.Sprintf("%p", s)
		go func() {
			apart <- s.Apart(t.Context(), testEntry(id+"-apart"), func(tx *Tx) error {
				if _, err := tx.Exec("INSERT INTO item (id, v) VALUES ($1, 'x')", id+"-apart"); err != nil {
					return err
				}
				if runs.Add(1) == 1 {
					close(written)
					<-began // the change has the log
				}
				return nil
			})
		}()
		<-written
		err := main.Change(t.Context(), testEntry(id), func(tx *Tx) error {
			close(began)
			if _, err := tx.Exec("INSERT INTO item (id, v) VALUES ($1, 'x') ON CONFLICT (id) DO NOTHING", id+"-apart"); err != nil {
				return err
			}
			_, err := tx.Exec("DELETE FROM item WHERE id = $1", id+"-apart") // it is the other's to write
			if err == nil {
				_, err = tx.Exec("INSERT INTO item (id, v) VALUES ($1, 'x')", id)
			}
			return err
		})
		if err != nil {
			t.Errorf("the change: %v", err)
		}
		if err := <-apart; err != nil || runs.Load() < 2 {
			t.Errorf("the change apart: %v after %d runs", err, runs.Load())
		}
	}
	checkBooks(t, main)
}

// TestServerDies kills the server again and again under load: what was said to
// be committed is there, once; what was said not to be is not; and the store
// goes on by itself.
func TestServerDies(t *testing.T) {
	server := storetest.Start(t)
	path := server.New(t)
	main, worker := openTest(t, path), openBeside(t, path)
	const (
		said = iota + 1
		denied
		unknown
	)
	var mu sync.Mutex
	outcomes := map[string]int{}
	stop := make(chan struct{})
	var good atomic.Int64
	var wait sync.WaitGroup
	for w := range 6 {
		wait.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("%d-%d", w, i)
				var err error
				switch w % 3 {
				case 0:
					err = add(main, id)
				case 1:
					err = addApart(main, id)
				default:
					err = addApart(worker, id)
				}
				o := said
				switch {
				case errors.Is(err, ErrInDoubt):
					o = unknown
				case errors.Is(err, ErrAway):
					o = denied
				case err != nil:
					t.Errorf("%s: %v", id, err)
					o = unknown
				default:
					good.Add(1)
				}
				mu.Lock()
				outcomes[id] = o
				mu.Unlock()
			}
		})
	}
	more := func() {
		t.Helper()
		for want, until := good.Load()+30, time.Now().Add(time.Minute); good.Load() < want; time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal("nothing is committed any more")
			}
		}
	}
	for round := range 4 {
		more()
		if round%2 == 0 {
			server.Kill()
		} else {
			server.Stop()
		}
		if err := server.Run(); err != nil {
			t.Fatal(err)
		}
	}
	more()
	close(stop)
	wait.Wait()
	if err := main.Enter(t.Context(), noted("end")); err != nil {
		t.Fatal(err)
	}
	checkBooks(t, main)
	counts := map[int]int{}
	for id, o := range outcomes {
		counts[o]++
		var n int
		if err := main.QueryRow(t.Context(), "SELECT count(*) FROM item WHERE id = $1", id).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if o == said && n != 1 || o == denied && n != 0 {
			t.Errorf("%s is there %d times, and the store said %d", id, n, o)
		}
	}
	t.Logf("%d committed, %d not, %d in doubt", counts[said], counts[denied], counts[unknown])
}

// TestCommitLost lets the connection go at the commit, in both ways.
func TestCommitLost(t *testing.T) {
	for name, tc := range map[string]struct {
		commit  func(path string, commit func() error) error
		happens bool
	}{
		"did not happen": {func(path string, commit func() error) error { terminate(t, path); return commit() }, false},
		"happened": {func(path string, commit func() error) error {
			err := commit()
			terminate(t, path)
			return errors.Join(err, errDisk)
		}, true},
	} {
		for _, others := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, others %v", name, others), func(t *testing.T) {
				path := storetest.Postgres(t)
				s := openTest(t, path)
				var worker *Store
				if others {
					worker = openBeside(t, path)
				}
				w := s.writer
				real := w.commit
				w.commit = func() error {
					err := tc.commit(path, real)
					if others { // somebody writes before it can look
						if err := addApart(worker, "other"); err != nil {
							t.Error(err)
						}
					}
					return err
				}
				err := add(s, "x")
				if (err == nil) != tc.happens {
					t.Errorf("error %v, and the commit happened: %v", err, tc.happens)
				}
				if err := add(s, "after"); err != nil {
					t.Fatal(err)
				}
				want := int64(1)
				if tc.happens {
					want++
				}
				if others {
					want++
				}
				if n := count(t, s); n != want {
					t.Errorf("%d items, want %d", n, want)
				}
				checkBooks(t, s)
			})
		}
	}
}

// TestOthersTamper: what others wrote must be what they signed.
func TestOthersTamper(t *testing.T) {
	for name, tc := range map[string]struct {
		sql  string
		want error
	}{
		"entry altered":     {"UPDATE log_entry SET leaf = (SELECT leaf FROM log_entry WHERE idx = (SELECT max(idx) - 1 FROM log_entry)) WHERE idx = (SELECT max(idx) FROM log_entry)", audit.Rewritten},
		"entry dropped":     {"DELETE FROM log_entry WHERE idx = (SELECT max(idx) FROM log_entry)", audit.Rewritten},
		"checkpoint forged": {"UPDATE log_checkpoint SET signed = 'x'", ErrTampered},
	} {
		t.Run(name, func(t *testing.T) {
			path := storetest.Postgres(t)
			s, worker := openTest(t, path), openBeside(t, path)
			for _, id := range []string{"a", "b"} {
				if err := addApart(worker, id); err != nil {
					t.Fatal(err)
				}
			}
			below(t, path, tc.sql)
			for range 2 {
				if err := add(s, "x"); !errors.Is(err, ErrTampered) || !errors.Is(err, tc.want) {
					t.Errorf("error %v, want %v", err, tc.want)
				}
			}
			if err := addApart(worker, "y"); name != "entry altered" && name != "entry dropped" && !errors.Is(err, ErrTampered) {
				t.Errorf("error %v, want %v", err, ErrTampered)
			}
		})
	}
}

// TestOldCheckpoint: somebody puts an older state of the log back under a
// running store.
func TestOldCheckpoint(t *testing.T) {
	path := storetest.Postgres(t)
	s := openTest(t, path)
	old := s.Checkpoint()
	if err := add(s, "x"); err != nil {
		t.Fatal(err)
	}
	below(t, path, fmt.Sprintf("UPDATE log_checkpoint SET signed = '\\x%x'", old), "DELETE FROM log_entry WHERE idx = (SELECT max(idx) FROM log_entry)")
	if err := add(s, "y"); !errors.Is(err, ErrTampered) {
		t.Errorf("error %v, want %v", err, ErrTampered)
	}
}

// TestLikeSQLite: what the code of the packages relies on.
func TestLikeSQLite(t *testing.T) {
	s := openTest(t, storetest.Postgres(t))
	err := s.Change(t.Context(), testEntry("a"), func(tx *Tx) error {
		for i := range 3 {
			if _, err := tx.Exec("INSERT INTO item (id, v) VALUES ($1, $2)", fmt.Sprint(i), []byte{byte(i)}); err != nil {
				return err
			}
		}
		// A question inside another's rows.
		rows, err := tx.Query("SELECT id FROM item ORDER BY id")
		if err != nil {
			return err
		}
		defer rows.Close()
		var got []string
		for rows.Next() {
			var id string
			var v []byte
			if err := errors.Join(rows.Scan(&id), tx.QueryRow("SELECT v FROM item WHERE id = $1", id).Scan(&v)); err != nil {
				return err
			}
			if _, err := tx.Exec("UPDATE item SET v = $1 WHERE id = $2", append(v, 'x'), id); err != nil {
				return err
			}
			got = append(got, fmt.Sprintf("%s %d", id, v[0]))
		}
		if want := "[0 0 1 1 2 2]"; fmt.Sprint(got) != want {
			t.Errorf("%v, want %s", got, want)
		}
		var n int64
		if err := tx.QueryRow("SELECT count(*) FROM part WHERE $1 = 1", true).Scan(&n); err != nil {
			return err
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	says(t, "text for bytes", s.Change(t.Context(), noted("x"), func(tx *Tx) error {
		_, err := tx.Exec("INSERT INTO item (id, v) VALUES ($1, $2)", "z", `\x00`)
		return err
	}), "is text, want bytes")
	// Rows that nobody reads to their end.
	err = s.View(t.Context(), func(tx *ReadTx) error {
		rows, err := tx.Query("SELECT id FROM item ORDER BY id")
		if err != nil {
			return err
		}
		rows.Next()
		other, err := tx.Query("SELECT v FROM item")
		if err != nil {
			return err
		}
		if err := other.Close(); err != nil {
			return err
		}
		n := 1
		for rows.Next() {
			n++
		}
		if n != 3 {
			t.Errorf("%d rows, want 3", n)
		}
		return rows.Close()
	})
	if err != nil {
		t.Error(err)
	}
}

// TestServerFull: a full disk fails what it meets, and no more.
func TestServerFull(t *testing.T) {
	path := storetest.Postgres(t)
	s := openTest(t, path)
	db := storetest.Open(t, path)
	for _, q := range []string{`CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING MESSAGE = 'could not extend file', ERRCODE = 'disk_full'; END $$`,
		`CREATE TRIGGER full_disk BEFORE INSERT ON item FOR EACH ROW WHEN (NEW.id = 'big') EXECUTE FUNCTION full_disk()`} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	says(t, "a full disk", add(s, "big"), "could not extend file")
	says(t, "a full disk", addApart(s, "big"), "could not extend file")
	if err := add(s, "small"); err != nil {
		t.Fatal(err)
	}
	checkBooks(t, s)
}

// TestServerScrub: deleted rows leave their pages.
func TestServerScrub(t *testing.T) {
	path := storetest.Postgres(t)
	s := openTest(t, path)
	for i := range 50 {
		if err := add(s, fmt.Sprint(i, strings.Repeat("x", 2000))); err != nil {
			t.Fatal(err)
		}
	}
	err := s.Change(t.Context(), noted("gone"), func(tx *Tx) error { _, err := tx.Exec("DELETE FROM item"); return err })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	var size int64
	if err := storetest.Open(t, path).QueryRow("SELECT pg_relation_size('item')").Scan(&size); err != nil || size != 0 {
		t.Errorf("the table has %d bytes, %v", size, err)
	}
}

// TestServerFsck: what keeps the log and the references is switched off.
func TestServerFsck(t *testing.T) {
	for sql, want := range map[string]string{
		"ALTER TABLE log_entry DISABLE TRIGGER log_entry_kept":                            "trigger log_entry_kept is disabled",
		"DROP TRIGGER log_entry_stays ON log_entry":                                       "trigger log_entry_stays is gone",
		"ALTER TABLE item ADD CONSTRAINT somewhat CHECK (id <> 'x') NOT VALID":            "constraint somewhat was not validated",
		"UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'item_pkey'::regclass": "is not valid",
		"SET session_replication_role = replica; INSERT INTO part (item) VALUES ('none')": "a row of table part refers to none of item",
	} {
		t.Run(want, func(t *testing.T) {
			path := storetest.Postgres(t)
			s := openTest(t, path)
			if _, err := storetest.Open(t, path).Exec(sql); err != nil {
				t.Fatal(err)
			}
			_, err := s.Fsck(t.Context(), s.VerifierKey())
			says(t, sql, err, want)
		})
	}
}

// TestNumbersGoOn: rows that came with their numbers are before those that come.
func TestNumbersGoOn(t *testing.T) {
	path := storetest.Postgres(t)
	schema := Schema{Name: "test", Files: migration("CREATE TABLE numbered (id INTEGER PRIMARY KEY, v TEXT NOT NULL);")}
	open := func() *Store {
		t.Helper()
		s, err := Open(t.Context(), testConfig(t, path), schema)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	open().Close()
	if _, err := storetest.Open(t, path).Exec("INSERT INTO numbered (id, v) VALUES (1, 'a'), (7, 'b')"); err != nil {
		t.Fatal(err)
	}
	s := open()
	err := s.Change(t.Context(), noted("x"), func(tx *Tx) error {
		var id int64
		if err := tx.QueryRow("INSERT INTO numbered (v) VALUES ('c') RETURNING id").Scan(&id); err != nil || id != 8 {
			t.Errorf("number %d, %v, want 8", id, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTriggersOfTheLog(t *testing.T) {
	path := storetest.Postgres(t)
	s := openTest(t, path)
	if err := s.Enter(t.Context(), noted("x")); err != nil {
		t.Fatal(err)
	}
	db := storetest.Open(t, path)
	_, err := db.Exec("UPDATE log_entry SET leaf = 'x'")
	says(t, "update", err, "log entries are never changed")
	_, err = db.Exec("DELETE FROM log_entry")
	says(t, "delete", err, "log entries are never deleted")
}

func TestTranslate(t *testing.T) {
	for in, want := range map[string]string{
		"CREATE TABLE a (id INTEGER PRIMARY KEY CHECK (id = 1), b BLOB NOT NULL); -- a BLOB": "CREATE TABLE a (id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY CHECK (id = 1), b BYTEA NOT NULL);",
		"CREATE TABLE a (\n  x BLOB PRIMARY KEY -- (here\n) WITHOUT ROWID;\n":                "CREATE TABLE a (\n  x BYTEA PRIMARY KEY\n);\n",
		"CREATE TABLE a (x TEXT DEFAULT ')');":                                               "CREATE TABLE a (x TEXT DEFAULT ')',\n  rowid BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY\n);",
		"ALTER TABLE a ADD COLUMN n INTEGER NOT NULL DEFAULT 0;":                             "ALTER TABLE a ADD COLUMN n BIGINT NOT NULL DEFAULT 0;",
		"INSERT INTO a VALUES ('-- no comment', 'it''s'); -- one":                            "INSERT INTO a VALUES ('-- no comment', 'it''s');",
	} {
		got, err := translate(in)
		if err != nil || strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s\nis %s, %v\nwant %s", in, got, err, want)
		}
	}
	_, err := translate("CREATE TABLE a (x TEXT")
	says(t, "no end", err, "has no end")

	// A trigger with a body and a condition, and one that only refuses.
	path := storetest.Postgres(t)
	s, err := Open(t.Context(), testConfig(t, path), Schema{Name: "test", Files: fstest.MapFS{"00001_x.sql": {Data: []byte(`-- +goose Up
CREATE TABLE item (id TEXT PRIMARY KEY, n INTEGER NOT NULL); CREATE TABLE total (n INTEGER PRIMARY KEY);
-- +goose StatementBegin
CREATE TRIGGER item_added AFTER INSERT ON item WHEN (NEW.n > 0) BEGIN
  UPDATE total SET n = n + NEW.n;
  SELECT RAISE(ABORT, 'it''s too many') WHERE (SELECT n FROM total) > 10;
END;
-- +goose StatementEnd
`)}, "postgres/00002_y.sql": {Data: []byte("-- +goose Up\nINSERT INTO total VALUES (1);")}, "00002_y.sql": {Data: []byte("nonsense")}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put := func(id string, n int) error {
		return s.Change(t.Context(), noted(id), func(tx *Tx) error {
			_, err := tx.Exec("INSERT INTO item (id, n) VALUES ($1, $2)", id, n)
			return err
		})
	}
	if err := errors.Join(put("a", 4), put("b", 0), put("c", -7)); err != nil {
		t.Fatal(err)
	}
	says(t, "too many", put("d", 6), "it's too many")
	var n int
	if err := s.QueryRow(t.Context(), "SELECT n FROM total").Scan(&n); err != nil || n != 5 {
		t.Errorf("%d, %v, want 5", n, err)
	}
}

// TestReadersComeBack: questions and views wait for a server that restarts.
func TestReadersComeBack(t *testing.T) {
	server := storetest.Start(t)
	s := openTest(t, server.New(t))
	if err := add(s, "x"); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s); n != 1 {
		t.Fatal(n)
	}
	server.Kill()
	ended, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var n int
	if err := s.QueryRow(ended, "SELECT count(*) FROM item").Scan(&n); err == nil {
		t.Error("an answer from a server that is dead")
	}
	answers := make(chan error, 3)
	go func() { answers <- s.QueryRow(t.Context(), "SELECT count(*) FROM item").Scan(new(int)) }()
	go func() {
		rows, err := s.Query(t.Context(), "SELECT id FROM item")
		if err == nil {
			err = rows.Close()
		}
		answers <- err
	}()
	go func() {
		answers <- s.View(t.Context(), func(tx *ReadTx) error { return tx.QueryRow("SELECT count(*) FROM item").Scan(new(int)) })
	}()
	if err := server.Run(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
}

func TestInSchema(t *testing.T) {
	path := storetest.Database(t)
	for range 2 { // the second replaces the first
		one, err := InSchema(t.Context(), path, "one")
		if err != nil {
			t.Fatal(err)
		}
		two, err := InSchema(t.Context(), path, "two")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{one, two} { // side by side, each with its own main process
			if begun, err := Begun(t.Context(), Config{Path: p}); err != nil || begun {
				t.Errorf("begun %v, %v", begun, err)
			}
			s := openTest(t, p)
			defer s.Close()
			if err := add(s, "x"); err != nil {
				t.Fatal(err)
			}
			if begun, err := Begun(t.Context(), Config{Path: p}); err != nil || !begun {
				t.Errorf("begun %v, %v", begun, err)
			}
			s.Close()
		}
	}
	_, err := InSchema(t.Context(), path, "one; DROP")
	says(t, "a bad name", err, "lower-case")
	_, err = InSchema(t.Context(), "x", "one")
	says(t, "a bad address", err, "is none")
}
