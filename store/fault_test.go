package store

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ankan/audit"
	"ankan/store/storetest"
)

var errDisk = errors.New("input/output error")

// TestCommitFails lets the commit fail in both ways that a disk can: it did
// not happen, and it happened but was said to have failed.
func TestCommitFails(t *testing.T) {
	for name, tc := range map[string]struct {
		commit  func(w *writer, commit func() error) error
		happens bool
	}{
		"did not happen": {func(w *writer, commit func() error) error { return errDisk }, false},
		"rolled back":    {func(w *writer, commit func() error) error { w.do("ROLLBACK"); return errDisk }, false},
		"happened":       {func(w *writer, commit func() error) error { return errors.Join(commit(), errDisk) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := storetest.New(t)
			s := openTest(t, path)
			if err := add(s, "before"); err != nil {
				t.Fatal(err)
			}
			w := s.writer
			real := w.commit
			w.commit = func() error {
				w.commit = real
				return tc.commit(w, real)
			}
			size := s.Size()
			err := add(s, "x")
			if tc.happens && (err != nil || s.Size() != size+1) {
				t.Errorf("error %v, size %d: the commit happened", err, s.Size())
			}
			if !tc.happens && (!errors.Is(err, errDisk) || s.Size() != size) {
				t.Errorf("error %v, size %d: the commit did not happen", err, s.Size())
			}
			if err := add(s, "after"); err != nil {
				t.Fatal(err)
			}
			want := int64(2)
			if tc.happens {
				want = 3
			}
			if n := count(t, s); n != want {
				t.Errorf("%d items, want %d", n, want)
			}
			checkBooks(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			checkBooks(t, openTest(t, path))
		})
	}
}

// TestCommitInDoubt: the commit fails and the database cannot be asked either,
// or answers with what nobody wrote.
func TestCommitInDoubt(t *testing.T) {
	for name, tc := range map[string]struct {
		commit func(w *writer, commit func() error) error
		items  int64
	}{
		"did not happen": {func(w *writer, commit func() error) error { return w.conn.Close() }, 0},
		"happened":       {func(w *writer, commit func() error) error { return errors.Join(commit(), w.conn.Close()) }, 1},
		"other checkpoint": {func(w *writer, commit func() error) error {
			return w.do("ROLLBACK", "UPDATE log_checkpoint SET signed = 'x'")
		}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			s := openTest(t, path)
			real := s.writer.commit
			s.writer.commit = func() error {
				if err := tc.commit(s.writer, real); err != nil {
					t.Error(err)
				}
				return errDisk
			}
			for _, id := range []string{"x", "y"} {
				if err := add(s, id); !errors.Is(err, ErrInDoubt) || !errors.Is(err, errDisk) || strings.Contains(err.Error(), "%!") {
					t.Errorf("%s: error %v, want %v", id, err, ErrInDoubt)
				}
			}
			s.Close()
			if tc.items < 0 {
				return
			}
			s = openTest(t, path) // a restart finds out
			if n := count(t, s); n != tc.items {
				t.Errorf("%d items, want %d", n, tc.items)
			}
			checkBooks(t, s)
		})
	}
}

func TestBeginFails(t *testing.T) {
	s := newFile(t)
	if err := s.writer.do("BEGIN"); err != nil { // a transaction that nobody ended
		t.Fatal(err)
	}
	if err := add(s, "x"); err == nil || !strings.Contains(err.Error(), "beginning") {
		t.Errorf("error %v", err)
	}
	if err := s.writer.do("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := add(s, "y"); err != nil {
		t.Error(err)
	}
	checkBooks(t, s)
}

// TestTransactionLost: SQLite rolls back everything below a change that does
// not notice, or does not care.
func TestTransactionLost(t *testing.T) {
	s := newTest(t)
	lose := func(fn func(*Tx) error) *change {
		return &change{ctx: t.Context(), entry: noted("lost"), turn: make(chan *Tx, 1), ran: make(chan error, 1),
			answer: make(chan error, 1), fn: fn}
	}
	for name, last := range map[string]error{"and says nothing": nil, "and fails": errDisk} {
		good := lose(func(tx *Tx) error { _, err := tx.Exec("INSERT INTO item (id, v) VALUES ('a', 'a')"); return err })
		bad := lose(func(tx *Tx) error { tx.w.do("ROLLBACK"); return last })
		for _, c := range []*change{good, bad} {
			go func() { c.run(<-c.turn) }()
		}
		if err := s.commit([]*change{good, bad}); err == nil || !strings.Contains(err.Error(), "transaction was lost") {
			t.Errorf("%s: error %v", name, err)
		}
		if n := count(t, s); n != 0 {
			t.Errorf("%s: %d items", name, n)
		}
	}
	checkBooks(t, s)
}

func TestDiskFull(t *testing.T) {
	s := newFile(t)
	limit := func(pages int) {
		t.Helper()
		s.writing.Lock()
		defer s.writing.Unlock()
		if _, err := s.writer.conn.ExecContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(60)
	var err error
	added := int64(0)
	for ; err == nil; added++ {
		id := fmt.Sprint(added)
		err = s.Change(t.Context(), testEntry(id), func(tx *Tx) error {
			_, err := tx.Exec("INSERT INTO item (id, v) VALUES ($1, $2)", id, make([]byte, 3000))
			return err
		})
		if added > 100 {
			t.Fatal("the disk is never full")
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Errorf("error %v", err)
	}
	if n := count(t, s); n != added-1 {
		t.Errorf("%d items, want %d", n, added-1)
	}
	limit(100000)
	if err := add(s, "after"); err != nil {
		t.Fatal(err)
	}
	checkBooks(t, s)
}

func TestSigningFails(t *testing.T) {
	s := newTest(t)
	good := s.signer
	size := s.Size()
	s.signer = failingSigner(t)
	if err := add(s, "x"); err == nil || !strings.Contains(err.Error(), "signing checkpoint") {
		t.Errorf("error %v", err)
	}
	s.signer = good
	if s.Size() != size || count(t, s) != 0 {
		t.Error("an unsigned change was kept")
	}
	if err := add(s, "y"); err != nil {
		t.Error(err)
	}
	checkBooks(t, s)
}

// failingKey is a security module that is away.
type failingKey struct{ crypto.Signer }

func (failingKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errDisk }

func failingSigner(t *testing.T) *audit.Signer {
	t.Helper()
	s, err := audit.NewSigner(testOrigin, failingKey{ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The child of TestKilled: it adds items until it is killed, and says each
// when it is committed.
func TestMain(m *testing.M) {
	if path := os.Getenv("ANKAN_STORE_TEST_CHILD"); path != "" {
		child(path)
	}
	os.Exit(m.Run())
}

func child(path string) {
	t := new(testing.T)
	s, err := Open(context.Background(), testConfig(t, path), testSchema())
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var out sync.Mutex
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i)
				if err := add(s, id); err != nil {
					fmt.Println(err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println("added", id)
				out.Unlock()
			}
		}()
	}
	select {}
}

// TestKilled kills a process in the middle of its commits, several times on
// one database, and looks at the books each time: what was said to be
// committed is there, and nothing has an entry without an item or the other
// way round.
func TestKilled(t *testing.T) {
	path := storetest.New(t)
	var said []string
	for round := range 4 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "ANKAN_STORE_TEST_CHILD="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		before := len(said)
		for lines.Scan() {
			id, ok := strings.CutPrefix(lines.Text(), "added ")
			if !ok {
				t.Fatalf("the child says %q", lines.Text())
			}
			said = append(said, id)
			if len(said)-before == 100+37*round {
				cmd.Process.Kill()
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself: this test cannot fail")
		}
		s, err := Open(t.Context(), testConfig(t, path), testSchema())
		if err != nil {
			t.Fatal(err)
		}
		checkBooks(t, s)
		for _, id := range said {
			if err := s.QueryRow(t.Context(), "SELECT id FROM item WHERE id = $1", id).Scan(new(string)); err != nil {
				t.Fatalf("item %s was committed and is gone: %v", id, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d items were committed before the kills", len(said))
}

// TestFsyncFails has the system refuse an fsync of a real process (strace gives
// the answer in the kernel's place). The change is in doubt, the store takes none
// after it, though the next fsync would say that all is well, and a restart finds
// books that balance.
func TestFsyncFails(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("strace is missing; install the package strace")
	}
	path := filepath.Join(t.TempDir(), "test.db")
	s := openTest(t, path)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for _, n := range []int{5, 12, 40} {
		cmd := exec.Command(strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync",
			"-e", fmt.Sprintf("inject=fsync,fdatasync:error=EIO:when=%d", n), os.Args[0])
		cmd.Env = append(os.Environ(), "ANKAN_STORE_TEST_CHILD="+path)
		out, err := cmd.Output()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Fatalf("fsync %d failed, and the process ended with %v: %s", n, err, out)
		}
		doubt := false
		for line := range strings.Lines(string(out)) {
			line = strings.TrimSpace(line)
			if id, ok := strings.CutPrefix(line, "added "); ok {
				said[id] = true
			} else if doubt = strings.HasPrefix(line, ErrInDoubt.Error()); !doubt {
				t.Fatalf("fsync %d: the child says %q", n, line)
			} else {
				break
			}
		}
		if !doubt {
			t.Errorf("fsync %d failed, and nobody was told: %s", n, out)
		}
		s := openTest(t, path)
		for id := range said {
			if err := s.QueryRow(t.Context(), "SELECT id FROM item WHERE id = $1", id).Scan(new(string)); err != nil {
				t.Fatalf("item %s was committed and is gone: %v", id, err)
			}
		}
		checkBooks(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(said) == 0 {
		t.Error("nothing was committed before the failures: this test cannot fail")
	}
}

// TestFailed: who waits on Failed hears of a commit in doubt.
func TestFailed(t *testing.T) {
	s := newFile(t) // a server is asked what became of a commit
	select {
	case <-s.Failed():
		t.Fatal("a new store has failed")
	default:
	}
	s.writer.commit = func() error { return errors.Join(s.writer.conn.Close(), errDisk) }
	if err := add(s, "x"); !errors.Is(err, ErrInDoubt) {
		t.Fatal(err)
	}
	<-s.Failed()
}

// TestMover: what waits in the write-ahead log is moved into the database beside
// the writer, long before the writer would do so itself.
func TestMover(t *testing.T) {
	s := newFile(t)
	m := s.engine.(*sqliteFile).moves
	most, great := 0, strings.Repeat("x", 1<<20)
	for i := range 24 { // 6,000 pages
		err := s.Change(t.Context(), noted("test"), func(tx *Tx) error {
			_, err := tx.Exec("INSERT INTO item (id, v) VALUES ($1, $2)", fmt.Sprint(i), great)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, m.waiting())
	}
	if most < muchWaits/2 {
		t.Fatalf("%d pages waited at most: this test does not see them", most)
	}
	for end := time.Now().Add(time.Minute); m.waiting() >= muchWaits; time.Sleep(time.Millisecond) {
		if m.look(); time.Now().After(end) {
			t.Fatalf("%d pages wait", m.waiting())
		}
	}
	var n int
	if err := s.QueryRow(t.Context(), "SELECT count(*) FROM item WHERE v = $1", great).Scan(&n); err != nil || n != 24 {
		t.Errorf("%d rows, %v", n, err)
	}
}
