package edge

import (
	"bytes"
	"encoding/binary"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// stream is a client that sends its requests and reads no answer. It stays until
// want of them were answered.
type stream struct {
	io.Reader
	want int

	mu       sync.Mutex
	more     sync.Cond
	answers  bytes.Buffer
	answered int
}

func newStream(requests []byte, want int) *stream {
	s := &stream{Reader: bytes.NewReader(requests), want: want}
	s.more.L = &s.mu
	return s
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err == io.EOF {
		s.mu.Lock()
		defer s.mu.Unlock()
		for s.answered < s.want {
			s.more.Wait()
		}
	}
	return n, err
}

// Write counts the answers as they come, in pieces of any size.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers.Write(p)
	for b := s.answers.Bytes(); len(b) >= 4 && len(b)-4 >= int(binary.BigEndian.Uint32(b)); b = s.answers.Bytes() {
		s.answers.Next(4 + int(binary.BigEndian.Uint32(b)))
		s.answered++
	}
	s.more.Broadcast()
	return len(p), nil
}

func (s *stream) Close() error { return nil }

// packet is one SFTP request: length, type, and the rest.
func packet(kind byte, rest ...[]byte) []byte {
	body := append([]byte{kind}, bytes.Join(rest, nil)...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func text(s string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...)
}

func number(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// The types of requests (draft-ietf-secsh-filexfer-02, section 3).
const (
	fxpInit    = 1
	fxpOpen    = 3
	fxpSetstat = 9
)

// cutAttributes opens a file and sets a size that is not there: what crashed an
// edge once.
func cutAttributes() []byte {
	return bytes.Join([][]byte{
		packet(fxpInit, number(3)),
		packet(fxpOpen, number(1), text("/inbox/a.part"), number(0x02|0x08), number(0)),
		packet(fxpSetstat, number(2), text("/inbox/a.part"), number(0x01), []byte{0, 0}),
		packet(fxpSetstat, number(3), text("/inbox/a.part"), number(0x01|0x80000000), make([]byte, 8), number(0xffffffff)),
	}, nil)
}

// served answers a partner's requests, without network and without login.
type served struct {
	*site
	session *session
}

func newServed(t testing.TB) *served {
	s := newSite(t, "bureau")
	// What the disk does is others' business here; it only takes time.
	s.spool.Steps = func(step string, do func() error) error {
		if strings.Contains(step, "sync") {
			return nil
		}
		return do()
	}
	e, err := New(Config{Name: "bureau", Keys: s.keys, Spool: s.spool, Limits: Limits{MaxFile: 1 << 20, MaxSpool: 8 << 20, Records: 1 << 30}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.lock.Close() })
	return &served{s, &session{edge: e, peer: newSite(t, "operator").peer(""), remote: "test", cancel: func() {}}}
}

// answer gives the requests to the server, until so many are answered.
func (s *served) answer(requests []byte, want int) { s.session.sftp(newStream(requests, want)) }

// check finds nothing but what a partner may leave, and clears it away.
func (s *served) check(t testing.TB) {
	t.Helper()
	if n := s.session.open.Load(); n != 0 {
		t.Fatalf("%d files are open after the session's end", n)
	}
	if len(s.session.edge.uploads) != 0 {
		t.Fatalf("files are being written after the session's end: %v", s.session.edge.uploads)
	}
	root := filepath.Join(s.dir, "spool")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		parts := strings.Split(rel, string(filepath.Separator))
		switch {
		case rel == "edge.lock":
			return nil
		case parts[0] == logDir && len(parts) == 2:
		case (parts[0] == partDir || parts[0] == inDir) && len(parts) == 3 && parts[1] == "operator" && !strings.HasPrefix(parts[2], tempPre):
		default:
			t.Fatalf("a partner's requests left %s", rel)
		}
		return os.Remove(path)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRecordedRequests: what OpenSSH's client sends is answered, packet by packet.
func TestRecordedRequests(t *testing.T) {
	s := newServed(t)
	for name, requests := range recordedRequests(t) {
		n := countPackets(t, requests)
		if n < 5 {
			t.Errorf("%s: %d requests", name, n)
		}
		s.answer(requests, n)
		s.check(t)
	}
	// Two that are cut short are answered as well; the last has attributes that
	// cannot be, and ends the session.
	s.answer(cutAttributes(), 3)
	s.check(t)
}

func countPackets(t testing.TB, b []byte) (n int) {
	t.Helper()
	for ; len(b) > 0; n++ {
		if len(b) < 4 || len(b)-4 < int(binary.BigEndian.Uint32(b)) {
			t.Fatalf("packet %d is cut short", n)
		}
		b = b[4+binary.BigEndian.Uint32(b):]
	}
	return n
}

func recordedRequests(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/requests/*.bin")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d recorded sessions, want at least 5: %v", len(files), err)
	}
	all := map[string][]byte{}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = b
	}
	return all
}

// FuzzRequests gives bytes to the server as a partner after login can. It answers
// or ends the session; it never crashes, leaves nothing open, and nothing lies
// anywhere but in the partner's own folders.
func FuzzRequests(f *testing.F) {
	for _, requests := range recordedRequests(f) {
		f.Add(requests)
	}
	f.Add(cutAttributes())
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add(packet(fxpInit, number(3)))
	s := newServed(f)
	f.Fuzz(func(t *testing.T, requests []byte) {
		if len(requests) > 64<<10 {
			return
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.answer(requests, 0)
		}()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Fatal("the session does not end with its connection")
		}
		s.check(t)
	})
}
