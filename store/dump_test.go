package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"ankan/audit"
	"ankan/durable"
	"ankan/store/storetest"
)

// dumped is a dump in memory.
type dumped struct {
	versions map[string]int64
	tables   []Table
	rows     map[string][][]any
	signed   []byte
}

func dump(t testing.TB, s *Store, schemas ...Schema) dumped {
	t.Helper()
	d := dumped{rows: map[string][][]any{}, signed: s.Checkpoint()}
	err := s.Dump(t.Context(), schemas, func(_ *ReadTx, all *Dump) error {
		d.versions, d.tables = all.Versions, all.Tables
		for _, table := range all.Tables {
			err := all.Rows(table, func(values []any) error {
				row := make([]any, len(values))
				for i, v := range values {
					if b, ok := v.([]byte); ok {
						v = bytes.Clone(b)
					}
					row[i] = v
				}
				d.rows[table.Name] = append(d.rows[table.Name], row)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func fill(ctx context.Context, c Config, d dumped, vkey string, schemas ...Schema) error {
	f, err := Fill(ctx, c, d.versions, schemas...)
	if err != nil {
		return err
	}
	defer f.Abort()
	for _, t := range d.tables {
		if err := f.Table(t); err != nil {
			return err
		}
		for _, row := range d.rows[t.Name] {
			if err := f.Row(row); err != nil {
				return err
			}
		}
	}
	_, err = f.Finish(vkey, d.signed)
	if err == nil {
		err = f.Place()
	}
	return err
}

// books is a schema with what makes filling hard: tables that refer to others
// and come before them by name, a trigger that keeps sums and one that forbids,
// and rows that a migration puts in.
func books() Schema {
	return Schema{Name: "books", Files: migration(
		`CREATE TABLE zone (name TEXT PRIMARY KEY, n INTEGER NOT NULL);
		INSERT INTO zone (name, n) VALUES ('first', 0);
		CREATE TABLE amount (zone TEXT NOT NULL REFERENCES zone (name), n INTEGER NOT NULL, note BLOB);`,
		`
-- +goose StatementBegin
		CREATE TRIGGER amount_adds AFTER INSERT ON amount BEGIN UPDATE zone SET n = n + NEW.n WHERE name = NEW.zone; END;
-- +goose StatementEnd
-- +goose StatementBegin
		CREATE TRIGGER amount_stays BEFORE DELETE ON amount BEGIN SELECT RAISE(ABORT, 'amounts stay'); END;
-- +goose StatementEnd`)}
}

func fullBooks(t testing.TB, entries int) (*Store, Config) {
	t.Helper()
	return fullBooksAt(t, filepath.Join(t.TempDir(), "from.db"), entries)
}

func fullBooksAt(t testing.TB, path string, entries int) (*Store, Config) {
	t.Helper()
	c := testConfig(t, path)
	s, err := Open(t.Context(), c, books())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for i := range entries {
		err := s.Change(t.Context(), testEntry(fmt.Sprintf("n/%d", i)), func(tx *Tx) error {
			if i == 0 {
				if _, err := tx.Exec("INSERT INTO zone (name, n) VALUES ('second', 0)"); err != nil {
					return err
				}
			}
			var note []byte
			if i%2 == 0 {
				note = []byte{0, byte(i), 0xff}
			}
			_, err := tx.Exec("INSERT INTO amount (zone, n, note) VALUES ($1, $2, $3)", []string{"first", "second"}[i%2], i, note)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s, c
}

func TestDumpAndFill(t *testing.T) {
	from, c := fullBooks(t, 300)
	d := dump(t, from, books())
	for _, table := range d.tables {
		if strings.HasPrefix(table.Name, "schema_") || table.Name == "log_tile" {
			t.Errorf("the dump has %s", table.Name)
		}
	}
	to := c
	to.Path = filepath.Join(t.TempDir(), "to.db")
	if err := fill(t.Context(), to, d, from.VerifierKey(), books()); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), to, books())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !bytes.Equal(s.Checkpoint(), from.Checkpoint()) {
		t.Fatalf("the copy's checkpoint is\n%s, want\n%s", s.Checkpoint(), from.Checkpoint())
	}
	if r, err := s.Fsck(t.Context(), s.VerifierKey()); err != nil || r.Size != from.Size() {
		t.Fatalf("fsck: %v, %d entries, want %d", err, r.Size, from.Size())
	}
	if again := dump(t, s, books()); fmt.Sprint(again.rows) != fmt.Sprint(d.rows) {
		t.Error("the copy's rows are others")
	}
	// The triggers are back.
	err = s.Change(t.Context(), testEntry("x"), func(tx *Tx) error {
		if _, err := tx.Exec("INSERT INTO amount (zone, n) VALUES ('first', 1000000)"); err != nil {
			return err
		}
		var n int64
		if err := tx.QueryRow("SELECT n FROM zone WHERE name = 'first'").Scan(&n); err != nil || n < 1000000 || n > 1100000 {
			t.Errorf("the sum is %d after adding a million to what there was: %v", n, err)
		}
		_, err := tx.Exec("DELETE FROM amount")
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "amounts stay") {
		t.Errorf("deleting gave %v, want the trigger's refusal", err)
	}
}

// TestFillDies: a filling dies or fails at each of its steps, before it and after
// it. What it leaves does not open, or is whole, and the next try takes it from there.
func TestFillDies(t *testing.T) {
	from, c := fullBooks(t, 3)
	d := dump(t, from, books())
	c.Path = filepath.Join(t.TempDir(), "to.db")
	if storetest.OnPostgres() {
		c.Path = storetest.New(t)
	}
	seen := map[string]bool{}
	for n, over := int64(1), false; !over; n++ {
		for _, script := range []*durable.Script{
			{Die: durable.Event{Step: n, Shape: durable.Before}}, {Fail: []durable.Event{{Step: n, Shape: durable.Before}}},
			{Die: durable.Event{Step: n, Shape: durable.After}}, {Fail: []durable.Event{{Step: n, Shape: durable.After}}},
		} {
			c.Steps = script.Steps()
			err := fill(t.Context(), c, d, from.VerifierKey(), books())
			c.Steps = nil
			if over = err == nil; !over {
				step := script.Names()[n-1]
				seen[step] = true
				if !errors.Is(err, durable.ErrDead) && !errors.Is(err, durable.ErrFailed) {
					t.Fatalf("step %d: %v", n, err)
				}
				if step == "fill.place" {
					err = errors.Join(Place(t.Context(), c), Place(t.Context(), c))
				} else {
					half(t, c)
					err = fill(t.Context(), c, d, from.VerifierKey(), books())
				}
			}
			if err != nil {
				t.Fatalf("step %d, again: %v", n, err)
			}
			s, err := Open(t.Context(), c, books())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Fsck(t.Context(), s.VerifierKey()); err != nil || s.Size() != from.Size() {
				t.Errorf("step %d: %v, %d entries", n, err, s.Size())
			}
			s.Close()
			wipe(t, c.Path)
		}
	}
	for _, want := range []string{"fill.begin", "fill.migrate", "fill.commit", "fill.settle", "fill.place"} {
		if !seen[want] {
			t.Errorf("nothing died at %s", want)
		}
	}
}

// half wants that nothing opens of a filling that did not come to its end.
func half(t *testing.T, c Config) {
	t.Helper()
	if !IsPostgres(c.Path) {
		if _, err := os.Stat(c.Path); err == nil {
			t.Fatal("half a database is in its place")
		}
		return
	}
	s, err := Open(t.Context(), c, books())
	if err != nil {
		return
	}
	defer wipe(t, c.Path) // nothing of it is there: it is a new one
	defer s.Close()
	var n int
	if err := s.QueryRow(t.Context(), "SELECT count(*) FROM amount").Scan(&n); err != nil || n > 0 {
		t.Fatalf("half a database opens: %d rows, %v", n, err)
	}
}

// wipe leaves nothing of a database.
func wipe(t *testing.T, path string) {
	t.Helper()
	if !IsPostgres(path) {
		if left, _ := filepath.Glob(path + ".filling*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if err := removeFiles(path); err != nil {
			t.Fatal(err)
		}
		return
	}
	c, err := pgx.Connect(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	var schema string
	if err := c.QueryRow(t.Context(), "SELECT quote_ident(current_schema())").Scan(&schema); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), "DROP SCHEMA "+schema+" CASCADE; CREATE SCHEMA "+schema); err != nil {
		t.Fatal(err)
	}
}

// TestFillWithAnotherKey: the log goes on under another key where the one
// before is gone.
func TestFillWithAnotherKey(t *testing.T) {
	from, c := fullBooks(t, 3)
	d := dump(t, from, books())
	c.Path, c.Signer = filepath.Join(t.TempDir(), "to.db"), testSigner(t, 77)
	if err := fill(t.Context(), c, d, from.VerifierKey(), books()); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), c, books())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.VerifierKey() == from.VerifierKey() || s.Size() != from.Size() {
		t.Errorf("key %s, %d entries, want another key and %d", s.VerifierKey(), s.Size(), from.Size())
	}
}

func TestFillRefuses(t *testing.T) {
	from, c := fullBooks(t, 260)
	good := func() dumped { return dump(t, from, books()) }
	vkey := from.VerifierKey()
	for _, tt := range []struct {
		name   string
		change func(*dumped)
		want   string
		is     error
	}{
		{"a newer schema", func(d *dumped) { d.versions["books"] = 9 }, "use the newer program", ErrNewer},
		{"an unknown schema", func(d *dumped) { d.versions["more"] = 1 }, "no such schema", ErrNewer},
		{"no log", func(d *dumped) { delete(d.versions, "log") }, "has no log", nil},
		{"an unknown table", func(d *dumped) { d.tables[0].Name = "nothing" }, "there is none", nil},
		{"a table twice", func(d *dumped) { d.tables = append(d.tables, d.tables[0]) }, "there before", nil},
		{"a table too few", func(d *dumped) { d.tables = d.tables[:len(d.tables)-1] }, "the dump has none", nil},
		{"an unknown column", func(d *dumped) { d.tables[0].Columns = append([]string{}, "nothing") }, "no column", nil},
		{"a short row", func(d *dumped) { d.rows["zone"][0] = d.rows["zone"][0][:1] }, "want 2", nil},
		{"a row twice", func(d *dumped) { d.rows["zone"] = append(d.rows["zone"], d.rows["zone"][0]) }, "UNIQUE", nil},
		{"a row that refers to none", func(d *dumped) { d.rows["amount"][0][0] = "nowhere" }, "FOREIGN KEY", nil},
		{"an entry less", func(d *dumped) { d.rows["log_entry"] = d.rows["log_entry"][:100] }, "entries", ErrTampered},
		{"an entry more", func(d *dumped) {
			d.rows["log_entry"] = append(d.rows["log_entry"], []any{int64(len(d.rows["log_entry"])), d.rows["log_entry"][0][1]})
		}, "entries", ErrTampered},
		{"an entry changed", func(d *dumped) { d.rows["log_entry"][5][1] = d.rows["log_entry"][6][1] }, "root", ErrTampered},
		{"an entry that is none", func(d *dumped) { d.rows["log_entry"][5][1] = []byte("{}") }, "log", nil},
		{"a gap", func(d *dumped) { d.rows["log_entry"][259][0] = int64(999) }, "log", nil},
		{"another checkpoint", func(d *dumped) { d.rows["log_checkpoint"][0][1] = []byte("other") }, "another", ErrTampered},
		{"no checkpoint", func(d *dumped) { d.rows["log_checkpoint"] = nil }, "checkpoint", nil},
		{"a checkpoint of another key", func(d *dumped) {
			other := testSigner(t, 9)
			d.signed, _ = audit.Checkpoint{Origin: c.Origin, Size: 1}.Sign(other)
		}, "", audit.WrongKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := good()
			tt.change(&d)
			to := c
			to.Path = filepath.Join(t.TempDir(), "to.db")
			err := fill(t.Context(), to, d, vkey, books())
			if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Fatalf("%v, want %q (%v)", err, tt.want, tt.is)
			}
			left, _ := filepath.Glob(to.Path + "*")
			if len(left) > 1 { // the lock's file stays
				t.Errorf("left behind: %v", left)
			}
		})
	}
	t.Run("over data", func(t *testing.T) {
		if err := from.Close(); err != nil {
			t.Fatal(err)
		}
		before, _ := os.ReadFile(c.Path)
		if _, err := Fill(t.Context(), c, map[string]int64{"log": 1}, books()); !errors.Is(err, ErrNotEmpty) {
			t.Fatalf("%v, want %v", err, ErrNotEmpty)
		}
		if after, _ := os.ReadFile(c.Path); !bytes.Equal(before, after) {
			t.Error("the database that was there changed")
		}
	})
}

// TestFillFromOlder: the dump of an older program comes into its versions, and
// the next Open brings it up to date and says so.
func TestFillFromOlder(t *testing.T) {
	older := Schema{Name: "books", Files: migration(`CREATE TABLE zone (name TEXT PRIMARY KEY); INSERT INTO zone VALUES ('first');`)}
	newer := Schema{Name: "books", Files: migration(`CREATE TABLE zone (name TEXT PRIMARY KEY); INSERT INTO zone VALUES ('first');`,
		`ALTER TABLE zone ADD COLUMN n INTEGER NOT NULL DEFAULT 7;`)}
	c := testConfig(t, filepath.Join(t.TempDir(), "from.db"))
	s, err := Open(t.Context(), c, older)
	if err != nil {
		t.Fatal(err)
	}
	d := dump(t, s, older)
	s.Close()
	c.Path = filepath.Join(t.TempDir(), "to.db")
	if err := fill(t.Context(), c, d, s.VerifierKey(), newer); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), c, newer); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var n int64
	if err := s.QueryRow(t.Context(), "SELECT n FROM zone WHERE name = 'first'").Scan(&n); err != nil || n != 7 {
		t.Errorf("%d, %v, want 7", n, err)
	}
	all, err := s.Entries(t.Context(), s.Size()-1, 1)
	if err != nil || all[0].Kind != "store.migrated" {
		t.Errorf("%v, %v, want the migration's entry last", all, err)
	}
}

// TestDumpAcross: what was dumped of one database fills one of the other kind,
// and comes back the same.
func TestDumpAcross(t *testing.T) {
	from, c := fullBooks(t, 300)
	d := dump(t, from, books())
	pg := c
	pg.Path = storetest.Postgres(t)
	// One that was cut short before is begun anew.
	half, err := Fill(t.Context(), pg, d.versions, books())
	if err != nil {
		t.Fatal(err)
	}
	if err := half.Table(d.tables[0]); err != nil {
		t.Fatal(err)
	}
	half.engine.close() // as a process that dies
	if err := fill(t.Context(), pg, d, from.VerifierKey(), books()); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), pg, books())
	if err != nil {
		t.Fatal(err)
	}
	if r, err := s.Fsck(t.Context(), s.VerifierKey()); err != nil || r.Size != from.Size() {
		t.Fatalf("fsck: %v, %d entries", err, r.Size)
	}
	back := dump(t, s, books())
	if fmt.Sprint(back.rows["amount"]) != fmt.Sprint(d.rows["amount"]) {
		t.Errorf("rows are others, or in another order:\n%.300s\n%.300s", fmt.Sprint(back.rows["amount"]), fmt.Sprint(d.rows["amount"]))
	}
	// The triggers are back, and so are the numbers of rows.
	err = s.Change(t.Context(), testEntry("x"), func(tx *Tx) error {
		_, err := tx.Exec("INSERT INTO amount (zone, n) VALUES ('first', 1000000)")
		return err
	})
	var n int64
	if err != nil || s.QueryRow(t.Context(), "SELECT n FROM zone WHERE name = 'first'").Scan(&n) != nil || n < 1000000 || n > 1100000 {
		t.Errorf("%v, the sum is %d", err, n)
	}
	back = dump(t, s, books())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Fill(t.Context(), pg, d.versions, books()); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("over data: %v, want %v", err, ErrNotEmpty)
	}
	c.Path = filepath.Join(t.TempDir(), "back.db")
	if err := fill(t.Context(), c, back, from.VerifierKey(), books()); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), c, books()); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !bytes.Equal(s.Checkpoint(), back.signed) {
		t.Error("another checkpoint")
	}
}
