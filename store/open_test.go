package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"ankan/audit"
	"ankan/store/storetest"
)

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	open := func(change func(c *Config), schemas ...Schema) error {
		c := testConfig(t, filepath.Join(dir, "test.db"))
		change(&c)
		s, err := Open(context.Background(), c, schemas...)
		if err == nil {
			s.Close()
		}
		return err
	}
	same := func(*Config) {}
	for name, tc := range map[string]struct {
		err error
		say string
	}{
		"no signer":   {open(func(c *Config) { c.Signer = nil }), "needs a signer"},
		"other log":   {open(func(c *Config) { c.Origin = "other" }), "needs a signer of the same name"},
		"no folder":   {open(func(c *Config) { c.Path = filepath.Join(dir, "none", "x.db") }), "no such file"},
		"is a folder": {open(func(c *Config) { c.Path = dir }), "is a directory"},
		"not a database": {open(func(c *Config) {
			c.Path = filepath.Join(dir, "text")
			os.WriteFile(c.Path, bytes.Repeat([]byte("x"), 4096), 0o600)
		}), "not a database"},
		"schema twice":  {open(same, testSchema(), testSchema()), "twice"},
		"schema log":    {open(same, Schema{Name: "log", Files: testSchema().Files}), "twice"},
		"schema's name": {open(same, Schema{Name: "a-b", Files: testSchema().Files}), "lower-case"},
		"no migrations": {open(same, Schema{Name: "none", Files: fstest.MapFS{}}), "schema none"},
		"broken SQL":    {open(same, Schema{Name: "broken", Files: migration("CREATE TABEL x (y)")}), "schema broken"},
	} {
		if tc.err == nil || !strings.Contains(tc.err.Error(), tc.say) {
			t.Errorf("%s: error %v, want one that says %q", name, tc.err, tc.say)
		}
	}
	if err := open(same, testSchema()); err != nil {
		t.Errorf("after all these: %v", err)
	}
}

func TestOneProcess(t *testing.T) {
	s := newFile(t)
	_, err := Open(t.Context(), testConfig(t, s.path))
	if want := fmt.Sprintf("in use by process %d; stop it first", os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one that says %q", err, want)
	}
	if err := add(s, "x"); err != nil {
		t.Error(err)
	}
	if st, err := os.Stat(s.path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", st.Mode(), err)
	}
}

func TestR22_Migrations(t *testing.T) {
	path := storetest.New(t)
	const one, two = "CREATE TABLE a (x TEXT);", "ALTER TABLE a ADD COLUMN y TEXT;"
	open := func(sql ...string) (*Store, error) {
		return Open(t.Context(), testConfig(t, path), Schema{Name: "growing", Files: migration(sql...)})
	}
	for _, sql := range [][]string{{one}, {one, two}, {one, two}} {
		s, err := open(sql...)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := open(one); !errors.Is(err, ErrNewer) {
		t.Errorf("error %v, want %v", err, ErrNewer)
	}
	s, err := open(one, two)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all, err := s.Entries(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range all {
		got = append(got, fmt.Sprintf("%s %s %d to %d", e.Kind, e.Subject, e.Data["from"], e.Data["to"]))
	}
	want := []string{"store.migrated schema/log 0 to 1", "store.migrated schema/growing 0 to 1", "store.migrated schema/growing 1 to 2"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("log:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// below changes the database as somebody does who has the file.
func below(t *testing.T, path string, statements ...string) {
	t.Helper()
	conn, err := storetest.Open(t, path).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	before := []string{"DROP TRIGGER IF EXISTS log_entry_stays", "DROP TRIGGER IF EXISTS log_entry_kept"}
	if IsPostgres(path) {
		before = []string{"SET session_replication_role = replica"} // nothing is triggered
	}
	for _, q := range append(before, statements...) {
		if IsPostgres(path) {
			for _, w := range []struct{ sqlite, postgres string }{
				{`zeroblob\((\d+)\)`, `decode(repeat('00', $1), 'hex')`},
				{`x'(\w+)'`, `'\x$1'`},
				{`replace\(signed, `, `convert_to(replace(convert_from(signed, 'UTF8'), `},
				{`'elpmaxe'\)`, `'elpmaxe'), 'UTF8')`},
			} {
				q = regexp.MustCompile(w.sqlite).ReplaceAllString(q, w.postgres)
			}
		}
		if _, err := conn.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

// grown makes a store of a few hundred entries and closes it.
func grown(t *testing.T) (path string, size int64) {
	t.Helper()
	return grownAt(t, storetest.New(t))
}

func grownAt(t *testing.T, at string) (path string, size int64) {
	t.Helper()
	path = at
	s := openTest(t, path)
	err := s.Change(t.Context(), noted("many"), func(tx *Tx) error {
		for i := range 600 {
			if err := tx.Append(noted(fmt.Sprint(i))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	checkBooks(t, s)
	size = s.Size()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path, size
}

// TestTampering changes a database from outside: what touches the right edge
// keeps the store from opening, and what lies deeper Fsck finds.
func TestTampering(t *testing.T) {
	other := foreignCheckpoint(t, 2)
	for name, tc := range map[string]struct {
		sql  string
		want error
		deep bool // found by Fsck
	}{
		"last entry dropped":  {"DELETE FROM log_entry WHERE idx = (SELECT max(idx) FROM log_entry)", audit.Truncated, false},
		"entry near the end":  {"DELETE FROM log_entry WHERE idx = 550", audit.Dropped, false},
		"entry added":         {"INSERT INTO log_entry SELECT idx + 1, leaf FROM log_entry ORDER BY idx DESC LIMIT 1", audit.Added, false},
		"late entry altered":  {"UPDATE log_entry SET leaf = (SELECT leaf FROM log_entry WHERE idx = 551) WHERE idx = 550", audit.Rewritten, false},
		"all entries dropped": {"DELETE FROM log_entry", audit.Truncated, false},
		"tile altered":        {"UPDATE log_tile SET hashes = zeroblob(8192) WHERE n = 1", audit.Rewritten, false},
		"tile short":          {"UPDATE log_tile SET hashes = zeroblob(8191) WHERE n = 1", ErrTampered, false},
		"tile dropped":        {"DELETE FROM log_tile WHERE n = 0", audit.Missing, false},
		"checkpoint dropped":  {"DELETE FROM log_checkpoint", audit.Missing, false},
		"checkpoint altered":  {"UPDATE log_checkpoint SET signed = replace(signed, 'example', 'elpmaxe')", ErrTampered, false},
		"checkpoint replaced": {"UPDATE log_checkpoint SET signed = x'" + other + "'", audit.WrongKey, false},
		"old entry altered":   {"UPDATE log_entry SET leaf = (SELECT leaf FROM log_entry WHERE idx = 11) WHERE idx = 10", audit.Altered, true},
		"old entries swapped": {"UPDATE log_entry SET leaf = (SELECT leaf FROM log_entry AS o WHERE o.idx = 21 - log_entry.idx) WHERE idx IN (10, 11)", audit.Altered, true},
		"old entry dropped":   {"DELETE FROM log_entry WHERE idx = 10", audit.Dropped, true},
		"first dropped":       {"DELETE FROM log_entry WHERE idx = 0", audit.Dropped, true},
		"not canonical":       {"UPDATE log_entry SET leaf = '{}' WHERE idx = 10", audit.NotCanonical, true},
		"tile added":          {"INSERT INTO log_tile VALUES (0, 7, zeroblob(8192))", audit.Added, true},
		"loose reference":     {"INSERT INTO part VALUES ('none')", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := grown(t)
			below(t, path, tc.sql)
			s, err := Open(t.Context(), testConfig(t, path), testSchema())
			if tc.deep {
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				_, err = s.Fsck(t.Context(), s.VerifierKey())
			} else if !errors.Is(err, ErrTampered) || !strings.Contains(err.Error(), "restore a whole backup") {
				t.Errorf("error %v, want %v and what to do", err, ErrTampered)
			}
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
}

// foreignCheckpoint is the checkpoint of an empty log signed by another key, in hex.
func foreignCheckpoint(t *testing.T, seed byte) string {
	t.Helper()
	signed, err := audit.Checkpoint{Origin: testOrigin, Root: new(audit.Tree).Root()}.Sign(testSigner(t, seed))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", signed)
}

func TestDamagedFile(t *testing.T) {
	path, _ := grownAt(t, filepath.Join(t.TempDir(), "test.db"))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Zero the page that holds entry 100: the deep of the log.
	at := bytes.Index(data, []byte(`"subject":"97"`))
	if at < 0 {
		t.Fatal("entry not found in the file")
	}
	clear(data[at&^4095 : at&^4095+4096])
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), testConfig(t, path), testSchema())
	if err == nil {
		defer s.Close()
		_, err = s.Fsck(t.Context(), s.VerifierKey())
	}
	if err == nil {
		t.Error("a zeroed page was not found")
	}
}

// TestOldCopy restores yesterday's database: it is whole in itself, and only a
// checkpoint from outside tells.
func TestOldCopy(t *testing.T) {
	path, size := grown(t)
	old := storetest.Copy(t, path)
	s := openTest(t, path)
	before := s.Checkpoint()
	if err := add(s, "x"); err != nil {
		t.Fatal(err)
	}
	after := s.Checkpoint()
	for _, c := range [][]byte{before, after} {
		if err := s.Continues(t.Context(), c); err != nil {
			t.Error(err)
		}
	}
	if err := s.Continues(t.Context(), []byte("x")); err == nil {
		t.Error("continues nonsense")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, old)
	if s.Size() != size {
		t.Errorf("size %d, want %d", s.Size(), size)
	}
	if err := s.Continues(t.Context(), after); !errors.Is(err, audit.Truncated) {
		t.Errorf("error %v, want %v", err, audit.Truncated)
	}
	// The old copy goes on and forks.
	if err := add(s, "y"); err != nil {
		t.Fatal(err)
	}
	if err := s.Continues(t.Context(), after); !errors.Is(err, audit.Rewritten) {
		t.Errorf("error %v, want %v", err, audit.Rewritten)
	}
}

func TestExportAndProve(t *testing.T) {
	path, size := grown(t)
	s := openTest(t, path)
	older := s.Checkpoint()
	if err := add(s, "x"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "log")
	c, err := s.Export(t.Context(), dir)
	if err != nil || c.Size != size+1 {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := s.Export(t.Context(), dir); !errors.Is(err, os.ErrExist) {
		t.Errorf("error %v, want %v", err, os.ErrExist)
	}
	r, err := audit.Verify(os.DirFS(dir), s.VerifierKey(), audit.Options{Since: older})
	if err != nil || r.Entries != size+1 {
		t.Errorf("%+v, %v", r, err)
	}
	for _, i := range []int64{0, 255, 256, 511, 512, size} {
		p, err := s.Prove(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		e, c, err := p.Open(s.VerifierKey())
		if err != nil || c.Size != size+1 {
			t.Errorf("entry %d: %v, %v", i, e, err)
		}
	}
	for _, i := range []int64{-1, size + 1} {
		if _, err := s.Prove(t.Context(), i); err == nil {
			t.Errorf("entry %d was proven", i)
		}
	}
	if _, err := s.Fsck(t.Context(), testSigner(t, 2).VerifierKey()); !errors.Is(err, audit.WrongKey) {
		t.Errorf("error %v, want %v", err, audit.WrongKey)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// An export that cannot be finished leaves nothing behind.
	below(t, path, "UPDATE log_entry SET leaf = '{}' WHERE idx = 10")
	s = openTest(t, path)
	bad := filepath.Join(t.TempDir(), "bad")
	if _, err := s.Export(t.Context(), bad); !errors.Is(err, audit.Rewritten) {
		t.Errorf("error %v, want %v", err, audit.Rewritten)
	}
	if _, err := os.Stat(bad); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half an export is left: %v", err)
	}
}

// TestExportIsPlain: nothing but sha256sum and od reads the layout.
func TestExportIsPlain(t *testing.T) {
	if _, err := exec.LookPath("sha256sum"); err != nil {
		t.Fatal("sha256sum is needed for this test: ", err)
	}
	s := newTest(t)
	dir := filepath.Join(t.TempDir(), "log")
	if _, err := s.Export(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	// The first leaf of the first bundle, prefixed with 00 (RFC 6962, 2.1).
	script := `cd "$1/tile"
f=$(ls entries/000.p/*); n=$(od -An -N2 -tu1 "$f" | awk '{print $1*256+$2}')
{ printf '\000'; tail -c +3 "$f" | head -c "$n"; } | sha256sum | cut -c1-64
head -c 32 0/000.p/* | od -An -v -tx1 | tr -d ' \n'`
	out, err := exec.Command("sh", "-c", script, "sh", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	sums := strings.Fields(string(out))
	if len(sums) != 2 || sums[0] != sums[1] {
		t.Errorf("hash of the first leaf and of its tile: %q", sums)
	}
}
