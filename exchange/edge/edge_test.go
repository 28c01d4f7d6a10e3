package edge

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestImports keeps the face of the site free of the rest of it. Package durable
// is nothing but the call of a function, in the program as it is built for use.
func TestImports(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 5 {
		t.Fatalf("found %d files: %v", len(files), err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			p := strings.Trim(i.Path.Value, `"`)
			if strings.HasPrefix(p, "ankan") && p != "ankan/durable" || strings.Contains(p, "sql") || strings.Contains(p, "os/exec") && !strings.HasSuffix(name, "_test.go") {
				t.Errorf("%s imports %s", name, p)
			}
		}
	}
}

// A site is an edge with its folder.
type site struct {
	t     testing.TB
	name  string
	dir   string
	keys  *Keys
	spool *Spool
	edge  *Edge
	peers []Peer
	stop  func()
	limit Limits
}

func newSite(t testing.TB, name string) *site {
	t.Helper()
	dir := t.TempDir()
	keys, err := Init(filepath.Join(dir, "keys"), name)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, name: name, dir: dir, keys: keys, stop: func() {}}
	s.limit = Limits{Login: 5 * time.Second, Failures: 1000, Retry: 200 * time.Millisecond}
	s.open()
	return s
}

func (s *site) open() {
	s.t.Helper()
	var err error
	if s.spool, err = OpenSpool(filepath.Join(s.dir, "spool")); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.spool.Close() })
}

// peer is the site as others know it.
func (s *site) peer(address string) Peer {
	return Peer{Name: s.name, Certificate: s.keys.Certificate(), SSH: s.keys.SSH(), Address: address}
}

// start runs the site's edge and returns its address.
func (s *site) start(listen string, peers ...Peer) string {
	s.t.Helper()
	if peers != nil {
		s.peers = peers
	}
	e, err := New(Config{Name: s.name, Listen: listen, Keys: s.keys, Spool: s.spool, Peers: s.peers, Limits: s.limit})
	if err != nil {
		s.t.Fatal(err)
	}
	s.edge = e
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	s.stop = func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("edge of %s: %v", s.name, err)
		}
		s.stop = func() {}
	}
	s.t.Cleanup(func() { s.stop() })
	return e.Addr()
}

const loopback = "127.0.0.1:0"

// put puts a file of n random bytes for a partner and returns its content.
func (s *site) put(partner, name string, n int) []byte {
	s.t.Helper()
	content := make([]byte, n)
	rand.Read(content)
	sum, size, err := s.spool.Put(partner, name, func(w io.Writer) error { _, err := w.Write(content); return err })
	if err != nil || size != int64(n) || sum != sha256.Sum256(content) {
		s.t.Fatalf("put %s: %v, %d bytes", name, err, size)
	}
	return content
}

// wantIncoming waits for a file and checks it.
func (s *site) wantIncoming(partner, name string, content []byte) *File {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	f, err := s.spool.Incoming(ctx)
	if err != nil {
		s.t.Fatalf("waiting for %s: %v; records %v", name, err, s.outcomes())
	}
	got, err := os.ReadFile(f.Path)
	sum := sha256.Sum256(content)
	if err != nil || !bytes.Equal(got, content) || f.Partner != partner || f.Name != name || f.Size != int64(len(content)) ||
		f.SHA256 != hex.EncodeToString(sum[:]) || f.Remote == "" || f.TLS == "" || f.SSH == "" || f.Ended.Before(f.Began) {
		s.t.Fatalf("got %+v, %d bytes, %v; want %s of %s with %d bytes", f.Meta, len(got), err, name, partner, len(content))
	}
	return f
}

func (s *site) wantNothing() {
	s.t.Helper()
	if files, err := s.spool.Waiting(); err != nil || len(files) != 0 {
		s.t.Fatalf("got %d files, %v, want none", len(files), err)
	}
}

func (s *site) records() []Record {
	s.t.Helper()
	r, err := s.spool.Records()
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *site) outcomes() (all []string) {
	for _, r := range s.records() {
		all = append(all, fmt.Sprintf("%s %s %s %s: %s", r.Direction, r.Partner, r.File, r.Outcome, r.Text))
	}
	return all
}

// A machine that does much else is given time.
const patience = time.Minute

// wantRecord waits for a record whose line contains all of the words.
func (s *site) wantRecord(words ...string) Record {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		for i, line := range s.outcomes() {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return s.records()[i]
			}
		}
		time.Sleep(25 * time.Millisecond)
	}
	s.t.Fatalf("no record of %q in\n%s", words, strings.Join(s.outcomes(), "\n"))
	return Record{}
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if ok() {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}
