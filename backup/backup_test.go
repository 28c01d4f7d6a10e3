package backup

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"ankan/audit"
	"ankan/hsm"
	"ankan/passkey"
	"ankan/store"
)

const origin = "ankan/test"

func schema() store.Schema {
	return store.Schema{Name: "things", Files: fstest.MapFS{"00001_things.sql": {Data: []byte("-- +goose Up\nCREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT, body BLOB);\n")}}}
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A rig is a store with things in it, its people, and the key that signs.
type rig struct {
	store *store.Store
	log   *audit.Signer
	key   ed25519.PrivateKey
	soft  map[string]*passkey.Soft
	who   []Custodian
	files []File
}

func newRig(t testing.TB, things int) *rig {
	t.Helper()
	r := &rig{soft: map[string]*passkey.Soft{}}
	r.log = must[*audit.Signer](t)(audit.NewSigner(origin, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))))
	r.key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	r.store = must[*store.Store](t)(store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "a.db"), Origin: origin, Signer: r.log}, schema()))
	t.Cleanup(func() { r.store.Close() })
	for i := range things {
		err := r.store.Change(t.Context(), audit.Entry{Kind: "thing.made", Actor: "test", Subject: "thing"}, func(tx *store.Tx) error {
			_, err := tx.Exec("INSERT INTO thing (id, name, body) VALUES ($1, $2, $3)", i, []any{"name", nil}[i%2], bytes.Repeat([]byte{byte(i)}, i))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		id := fmt.Sprintf("000%d", i+1)
		r.soft[id] = must[*passkey.Soft](t)(passkey.NewSoft("site.example", "https://site.example"))
		r.who = append(r.who, Custodian{Person: id, Name: "Person " + id, Credential: r.soft[id].Credential})
	}
	r.file("data/empty", nil)
	r.file("data/spool/in/op/1-a.data", bytes.Repeat([]byte("content "), 20000))
	return r
}

func (r *rig) file(path string, content []byte) {
	r.files = append(r.files, File{Path: path, Mode: 0o640, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }})
}

func (r *rig) write(w io.Writer) (m Manifest, err error) {
	err = r.store.Dump(context.Background(), []store.Schema{schema()}, func(_ *store.ReadTx, d *store.Dump) error {
		_, m, err = Write(w, Source{
			Header: Header{Site: "test", Country: "IN", Roles: []string{"bureau"}, Made: time.Date(2026, 11, 25, 1, 2, 3, 0, time.UTC), Program: "ankan test", Log: r.log.VerifierKey()},
			Dump:   d, Files: r.files, Signed: r.store.Checkpoint(), Quorum: 2, Holders: slices.Clone(r.who), Set: "test/1",
			Random: func(b []byte) error { _, err := rand.Read(b); return err },
			Sign:   func(payload []byte) ([]byte, error) { return audit.SignDocument(ManifestType, payload, origin, r.key) },
		})
		return err
	})
	return m, err
}

func (r *rig) made(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	must[Manifest](t)(r.write(&b))
	return b.Bytes()
}

// open opens with the passkeys of these persons.
func (r *rig) open(ids ...string) hsm.Opener {
	return func(given hsm.Given, what hsm.Content, label string) ([]byte, error) {
		for _, id := range ids {
			k, err := r.soft[id].OpenSealing()
			if err != nil {
				return nil, err
			}
			if b, err := hsm.Take(given, what, label, k.Public(), k.ECDH); err == nil {
				return b, nil
			}
		}
		return nil, hsm.ErrSealed
	}
}

func (r *rig) read(b []byte, to Target, ids ...string) error {
	h, m, err := Verify(bytes.NewReader(b), r.key.Public())
	if err != nil {
		return err
	}
	shares, err := h.Shares(ids...)
	if err != nil {
		return err
	}
	return Read(bytes.NewReader(b), m, shares, r.open(ids...), to)
}

// A memory is a target that remembers in text.
type memory struct{ text strings.Builder }

func (m *memory) Versions(v map[string]int64) error { fmt.Fprintf(&m.text, "%v\n", v); return nil }
func (m *memory) Table(t store.Table) error         { fmt.Fprintf(&m.text, "%v\n", t); return nil }
func (m *memory) Row(values []any) error            { fmt.Fprintf(&m.text, "%#v\n", values); return nil }
func (m *memory) File(path string, mode fs.FileMode) (io.WriteCloser, error) {
	fmt.Fprintf(&m.text, "%s %o ", path, mode)
	return content{m}, nil
}

type content struct{ *memory }

func (c content) Write(b []byte) (int, error) { return c.text.Write(b) }
func (c content) Close() error                { c.text.WriteString("\n"); return nil }

func TestWriteAndRead(t *testing.T) {
	r := newRig(t, 300)
	b := r.made(t)
	for _, secret := range []string{"thing.made", "content content", "spool"} {
		if bytes.Contains(b, []byte(secret)) {
			t.Errorf("the backup shows %q", secret)
		}
	}
	var to memory
	if err := r.read(b, &to, "0001", "0003"); err != nil {
		t.Fatal(err)
	}
	got := to.text.String()
	for _, want := range []string{"map[log:1 things:1]", "{thing [id name body]}", `[]interface {}{1, interface {}(nil), []uint8{0x1}}`, `[]interface {}{0, "name", []uint8{}}`,
		"data/empty 640 \n", "data/spool/in/op/1-a.data 640 " + strings.Repeat("content ", 20000)} {
		if !strings.Contains(got, want) {
			t.Errorf("the content has no %.80q", want)
		}
	}
	if n := strings.Count(got, "\n"); n < 600 {
		t.Errorf("the content has %d lines, want things and entries", n)
	}
	if again := r.made(t); bytes.Equal(b[2000:], again[2000:]) {
		t.Error("two backups are the same: the key was used twice")
	}
}

// TestFill: what was written fills a new database.
func TestFill(t *testing.T) {
	r := newRig(t, 30)
	b := r.made(t)
	c := store.Config{Path: filepath.Join(t.TempDir(), "b.db"), Origin: origin, Signer: r.log}
	to := &filling{t: t, c: c}
	if err := r.read(b, to, "0002", "0003"); err != nil {
		t.Fatal(err)
	}
	must[audit.Checkpoint](t)(to.Finish(r.log.VerifierKey(), r.store.Checkpoint()))
	if err := to.Place(); err != nil {
		t.Fatal(err)
	}
	s := must[*store.Store](t)(store.Open(t.Context(), c, schema()))
	defer s.Close()
	var n int
	if err := s.QueryRow(t.Context(), "SELECT count(*) FROM thing WHERE length(body) = id").Scan(&n); err != nil || n != 30 {
		t.Errorf("%d things, %v, want 30", n, err)
	}
}

type filling struct {
	t testing.TB
	c store.Config
	*store.Filling
}

func (f *filling) Versions(v map[string]int64) (err error) {
	f.Filling, err = store.Fill(f.t.Context(), f.c, v, schema())
	return err
}

func (f *filling) File(string, fs.FileMode) (io.WriteCloser, error) {
	return content{new(memory)}, nil
}

// TestEveryByte: no byte of a backup can be changed, left out or added without
// Verify saying so.
func TestEveryByte(t *testing.T) {
	r := newRig(t, 3)
	r.files = r.files[:1]
	b := r.made(t)
	if _, _, err := Verify(bytes.NewReader(b), r.key.Public()); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		changed := bytes.Clone(b)
		changed[i] ^= 1 << (i % 8)
		if _, _, err := Verify(bytes.NewReader(changed), r.key.Public()); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d of %d changed from %q: %v, want %v", i, len(b), b[i], err, ErrDamaged)
		}
	}
	for i := 0; i < len(b); i += 5 {
		if _, _, err := Verify(bytes.NewReader(b[:i]), r.key.Public()); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d of %d: %v, want %v", i, len(b), err, ErrDamaged)
		}
	}
	if _, _, err := Verify(bytes.NewReader(append(bytes.Clone(b), '\n')), r.key.Public()); !errors.Is(err, ErrDamaged) {
		t.Errorf("a byte more: %v", err)
	}
	if _, _, err := Verify(bytes.NewReader(b), ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32)).Public()); !errors.Is(err, ErrDamaged) || !errors.Is(err, audit.WrongKey) && !errors.Is(err, audit.Forged) {
		t.Errorf("another site's key: %v", err)
	}
}

func TestReadRefuses(t *testing.T) {
	r := newRig(t, 3)
	b, other := r.made(t), r.made(t)
	h, m, err := Verify(bytes.NewReader(b), r.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	oh, _, err := Verify(bytes.NewReader(other), r.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	all := must[[]hsm.Share](t)(h.Shares("0001", "0002", "0003"))
	stranger := must[*passkey.Soft](t)(passkey.NewSoft("site.example", "https://site.example"))
	r.soft["stranger"] = stranger
	elsewhere := all[0]
	elsewhere.Set = "test/2"
	for _, tt := range []struct {
		name   string
		shares []hsm.Share
		open   hsm.Opener
		want   error
	}{
		{"none", nil, r.open("0001", "0002"), hsm.ErrFew},
		{"too few", all[:1], r.open("0001", "0002"), hsm.ErrFew},
		{"one person twice", []hsm.Share{all[0], all[0]}, r.open("0001"), hsm.ErrTwice},
		{"another passkey", all[:2], r.open("0001", "stranger"), hsm.ErrSealed},
		{"a share of another set", []hsm.Share{all[1], elsewhere}, r.open("0001", "0002"), hsm.ErrSet},
		{"a share of another backup", []hsm.Share{all[0], oh.Custodians[1].Share}, r.open("0001", "0002"), hsm.ErrSet},
		{"shares of another backup", []hsm.Share{oh.Custodians[0].Share, oh.Custodians[1].Share}, r.open("0001", "0002"), ErrDamaged},
	} {
		if err := Read(bytes.NewReader(b), m, tt.shares, tt.open, new(memory)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if _, err := h.Shares("0009"); err == nil || !strings.Contains(err.Error(), "0001, 0002, 0003") {
		t.Errorf("a person without a share: %v", err)
	}
	if err := Read(bytes.NewReader(other), m, all, r.open("0001", "0002", "0003"), new(memory)); !errors.Is(err, ErrDamaged) {
		t.Errorf("another file than was verified: %v", err)
	}
	for _, change := range []func(*Manifest){func(m *Manifest) { m.Files++ }, func(m *Manifest) { m.Rows = maps.Clone(m.Rows); m.Rows["thing"]++ }} {
		lies := m
		change(&lies)
		if err := Read(bytes.NewReader(b), lies, all, r.open("0001", "0002", "0003"), new(memory)); !errors.Is(err, ErrDamaged) {
			t.Errorf("a manifest that counts otherwise: %v", err)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	r := newRig(t, 1)
	who := r.who
	for name, change := range map[string]func(){
		"two custodians":          func() { r.who = who[:2] },
		"one custodian twice":     func() { r.who = []Custodian{who[0], who[1], who[0]} },
		"a passkey without a PRF": func() { r.who = slices.Clone(who); r.who[1].Credential.Seal = nil },
		"a file outside":          func() { r.files[0].Path = "../x" },
		"files out of order":      func() { r.files[0].Path = "data/z" },
	} {
		files := slices.Clone(r.files)
		change()
		if _, err := r.write(io.Discard); err == nil {
			t.Errorf("%s was taken", name)
		}
		r.who, r.files = who, files
	}
	broken := errors.New("broken")
	r.files[1].Open = func() (io.ReadCloser, error) { return nil, broken }
	if _, err := r.write(io.Discard); !errors.Is(err, broken) {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

// stream renders what a memory would take, for tests of the grammar.
func stream(records ...[]any) []byte {
	var b []byte
	for _, r := range records {
		b = appendRecord(b, r[0].(string)[0], r[1:]...)
	}
	return b
}

func TestGrammar(t *testing.T) {
	none := sha256.Sum256(nil)
	empty := none[:]
	v, tab, row, end, fin := []any{"V", "log", int64(1)}, []any{"T", "t", "c"}, []any{"R", "x"}, []any{"E", int64(1)}, []any{"M"}
	file, done := []any{"F", "a", int64(0o600)}, []any{"Z", empty}
	if _, err := read(newRecordReader(bytes.NewReader(stream(v, tab, row, end, file, done, fin))), new(memory)); err != nil {
		t.Fatal(err)
	}
	for name, records := range map[string][][]any{
		"nothing":                    {},
		"no end":                     {v, tab, row, end},
		"a row less":                 {v, tab, end, fin},
		"a table without end":        {v, tab, row, fin},
		"a table twice":              {v, tab, row, end, tab, row, end, fin},
		"a row too wide":             {v, tab, {"R", "x", "y"}, end, fin},
		"versions out of order":      {{"V", "things", int64(1)}, v, fin},
		"a version that is text":     {{"V", "log", "1"}, fin},
		"a table without columns":    {v, {"T", "t"}, {"E", int64(0)}, fin},
		"a table after a file":       {v, file, done, tab, row, end, fin},
		"a file twice":               {v, file, done, file, done, fin},
		"a file of another digest":   {v, file, {"D", []byte("x")}, done, fin},
		"an empty piece":             {v, file, {"D", []byte{}}, done, fin},
		"a file that leaves":         {v, {"F", "../a", int64(0o600)}, done, fin},
		"a file at the root":         {v, {"F", "/a", int64(0o600)}, done, fin},
		"a file with a strange mode": {v, {"F", "a", int64(0o4755)}, done, fin},
		"something after the end":    {v, fin, fin},
		"an unknown record":          {v, {"X"}, fin},
		"an end that says something": {v, {"M", "x"}},
	} {
		if _, err := read(newRecordReader(bytes.NewReader(stream(records...))), new(memory)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want %v", name, err, ErrDamaged)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(stream([]any{"V", "log", int64(1)}, []any{"T", "t", "c", "d"}, []any{"R", nil, int64(-5)}, []any{"E", int64(1)}, []any{"M"}))
	f.Add(stream([]any{"V", "log", int64(1)}, []any{"F", "a/b", int64(0o600)}, []any{"D", []byte("content")}, []any{"Z", []byte("sum")}, []any{"M"}))
	f.Add([]byte("V\x02s\x80\x00i\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newRecordReader(bytes.NewReader(b))
		var again []byte
		for {
			kind, values, err := d.next()
			if err == io.EOF {
				if !bytes.Equal(again, b) {
					t.Fatalf("%x was read as %x", b, again)
				}
				break
			}
			if err != nil {
				break
			}
			again = appendRecord(again, kind, values...)
		}
		read(newRecordReader(bytes.NewReader(b)), new(memory))
	})
}

func FuzzVerify(f *testing.F) {
	r := newRig(f, 2)
	// Each process that fuzzes makes a file of its own, under a key of its own: what
	// another one's seed is must not verify.
	_, r.key, _ = ed25519.GenerateKey(nil)
	b := r.made(f)
	key := r.key.Public()
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Add([]byte(firstLine + "{}\n"))
	f.Fuzz(func(t *testing.T, b2 []byte) {
		if _, _, err := Verify(bytes.NewReader(b2), key); err == nil && !bytes.Equal(b, b2) {
			t.Fatal("another file verifies")
		}
	})
}
