package edge

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"
)

func writeN(n int) func(io.Writer) error {
	return func(w io.Writer) error { _, err := w.Write(make([]byte, n)); return err }
}

// connect opens the TLS of one site and the SSH of any keys.
func connect(t *testing.T, address string, outer *site, user string, signers ...ssh.Signer) (*ssh.Client, error) {
	t.Helper()
	raw, err := tls.Dial("tcp", address, &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{outer.keys.tls}, InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { raw.Close() })
	c, channels, requests, err := ssh.NewClientConn(raw, address, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signers...)}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

// A borrowedSigner has a public key of which it does not hold the private part.
type borrowedSigner struct {
	public ssh.PublicKey
	own    ssh.Signer
}

func (b borrowedSigner) PublicKey() ssh.PublicKey { return b.public }
func (b borrowedSigner) Sign(r io.Reader, data []byte) (*ssh.Signature, error) {
	return b.own.Sign(r, data)
}

// TestKeyThatSigned is the regression test for the class of CVE-2024-45337: a
// client offers a key that it does not hold, then authenticates with its own.
// It must never become the holder of the first.
func TestKeyThatSigned(t *testing.T) {
	bureau, operator, plant := newSite(t, "bureau"), newSite(t, "operator"), newSite(t, "plant")
	address := bureau.start(loopback, operator.peer(""), plant.peer(""))
	bureau.put("operator", "secret.pgp", 10)
	bureau.put("plant", "batch.pgp", 10)
	own, other := plant.keys.ssh, borrowedSigner{operator.keys.SSH(), plant.keys.ssh}

	c, err := connect(t, address, plant, "plant", other, own)
	if err != nil {
		t.Fatalf("own key after another: %v", err)
	}
	files, err := sftp.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	list, err := files.ReadDir("/outbox")
	if err != nil || len(list) != 1 || list[0].Name() != "batch.pgp" {
		t.Errorf("got %v, %v, want only the plant's file", list, err)
	}
	for name, test := range map[string]struct {
		user    string
		signers []ssh.Signer
	}{
		"other's name, own key":             {"operator", []ssh.Signer{own}},
		"other's name, other key, own key":  {"operator", []ssh.Signer{other, own}},
		"other's name, own key, other key":  {"operator", []ssh.Signer{own, other}},
		"own name, other key, not its part": {"plant", []ssh.Signer{other}},
		"no key":                            {"plant", nil},
	} {
		if _, err := connect(t, address, plant, test.user, test.signers...); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
	bureau.wantRecord("login plant", "refused")
}

func TestOnlySFTP(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	address := bureau.start(loopback, operator.peer(""))
	c, err := connect(t, address, operator, "operator", operator.keys.ssh)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"direct-tcpip", "direct-streamlocal@openssh.com", "x11", "auth-agent@openssh.com"} {
		if _, _, err := c.OpenChannel(kind, nil); err == nil {
			t.Errorf("channel %s: not refused", kind)
		}
	}
	if _, err := c.Listen("tcp", loopback); err == nil {
		t.Error("remote forwarding: not refused")
	}
	for name, f := range map[string]func(*ssh.Session) error{
		"shell":           func(s *ssh.Session) error { return s.Shell() },
		"exec":            func(s *ssh.Session) error { return s.Start("id") },
		"terminal":        func(s *ssh.Session) error { return s.RequestPty("xterm", 10, 10, nil) },
		"environment":     func(s *ssh.Session) error { return s.Setenv("A", "b") },
		"other subsystem": func(s *ssh.Session) error { return s.RequestSubsystem("netconf") },
		"sftp twice":      func(s *ssh.Session) error { return errors.Join(s.RequestSubsystem("sftp"), s.RequestSubsystem("sftp")) },
	} {
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if f(s) == nil {
			t.Errorf("%s: not refused", name)
		}
		s.Close()
	}
}

func TestOldTLSAndNoCertificate(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	address := bureau.start(loopback, operator.peer(""))
	for name, config := range map[string]*tls.Config{
		"TLS 1.2":        {MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{operator.keys.tls}},
		"no certificate": {},
	} {
		config.InsecureSkipVerify = true
		c, err := tls.Dial("tcp", address, config)
		if err == nil {
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		if err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
	bureau.wantRecord("login", "refused", "TLS: ")
	expired := *operator.keys.Certificate()
	expired.NotAfter = time.Now().Add(-time.Hour)
	if err := inDate(&expired); err == nil || !strings.Contains(err.Error(), "certificate is good from") {
		t.Errorf("expired certificate: %v", err)
	}
}

func TestFailuresWait(t *testing.T) {
	bureau, operator, stranger := newSite(t, "bureau"), newSite(t, "operator"), newSite(t, "stranger")
	bureau.limit.Failures = 2
	address := bureau.start(loopback, operator.peer(""))
	for i := range 6 {
		if _, err := connect(t, address, stranger, "operator", stranger.keys.ssh); err == nil {
			t.Fatal("stranger was let in")
		}
		if i < 2 {
			waitFor(t, "the record", func() bool { return len(bureau.records()) == i+1 })
		}
	}
	// The address has to wait, whoever it is now.
	if _, err := connect(t, address, operator, "operator", operator.keys.ssh); err == nil {
		t.Error("not made to wait")
	}
	if n := len(bureau.records()); n != 2 {
		t.Errorf("%d records of 6 attempts: %q", n, bureau.outcomes())
	}
	waitFor(t, "the wait to end", func() bool { _, err := connect(t, address, operator, "operator", operator.keys.ssh); return err == nil })
}

func TestFailuresTable(t *testing.T) {
	f := newFailures(2)
	now := time.Unix(0, 0)
	for i, want := range []time.Duration{0, 1, 2, 4, 8} {
		f.failed(now, "a")
		until := now.Add(want * time.Second)
		if want > 0 && !f.waits(until.Add(-1), "a", "b") || f.waits(until, "a", "b") {
			t.Errorf("failure %d: does not wait %d s", i+1, want)
		}
	}
	for range 40 {
		f.failed(now, "a")
	}
	if !f.waits(now.Add(longestWait-1), "a") || f.waits(now.Add(longestWait), "a") {
		t.Error("does not wait the longest time")
	}
	f.succeeded("a")
	if f.waits(now, "a") {
		t.Error("waits after success")
	}
	for i := range 2 * maxFailing {
		f.failed(now, fmt.Sprint(i))
	}
	if len(f.by) > maxFailing {
		t.Errorf("table has %d entries", len(f.by))
	}
	f.failed(now.Add(2*failureMemory), "a")
	for addr, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1", "[::ffff:192.0.2.1]:5": "192.0.2.1", "[2001:db8:1:2:3::4]:5": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64",
	} {
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := network(a); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
	var th throttle
	n := 0
	for range 3 * maxRefusals {
		if ok, _ := th.pass(now); ok {
			n++
		}
	}
	if ok, skipped := th.pass(now.Add(2 * time.Minute)); n != maxRefusals || !ok || skipped != 2*maxRefusals {
		t.Errorf("passed %d, then %v with %d skipped", n, ok, skipped)
	}
}

func TestServerLimits(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	bureau.limit.MaxFile, bureau.limit.MaxOpen, bureau.limit.PerPeer, bureau.limit.MaxSpool = 100_000, 2, 2, 150_000
	address := bureau.start(loopback, operator.peer(""))
	c := login(t, operator, bureau.peer(address))
	login(t, operator, bureau.peer(address))
	if third, err := connect(t, address, operator, "operator", operator.keys.ssh); err == nil {
		if _, err := third.NewSession(); err == nil {
			t.Error("a third connection was served")
		}
	}
	bureau.wantRecord("login operator", "2 connections")

	big, err := c.Create("/inbox/big.part")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := big.ReadFrom(bytes.NewReader(make([]byte, 100_001))); err == nil {
		t.Error("a file over the limit was written")
	}
	if big.Close() == nil {
		t.Error("a file over the limit was closed")
	}
	bureau.wantRecord("in operator big.part refused", "more than 100000 bytes")
	if _, err := c.Stat("/inbox/big.part"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}

	a, err := c.Create("/inbox/a.part")
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Create("/inbox/b.part")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create("/inbox/c.part"); err == nil {
		t.Error("a third file was opened")
	}
	if _, err := c.Create("/inbox/a.part"); err == nil {
		t.Error("a file was opened twice")
	}
	for _, f := range []*sftp.File{a, b} {
		if _, err := f.Write(make([]byte, 90_000)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Create("/inbox/d.part"); err == nil {
		t.Error("more was taken than may wait")
	}
	bureau.wantRecord("refused", "try later")
}

func TestIdleAndLoginEnd(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	bureau.limit.Idle, bureau.limit.Login = 1200*time.Millisecond, 300*time.Millisecond
	address := bureau.start(loopback, operator.peer(""))
	silent, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	silent.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := silent.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("silent login: got %v, want the end", err)
	}
	c := login(t, operator, bureau.peer(address))
	for range 6 { // longer than the limit, but not idle
		time.Sleep(300 * time.Millisecond)
		if _, err := c.ReadDir("/"); err != nil {
			t.Fatalf("ended while in use: %v", err)
		}
	}
	ended := make(chan struct{})
	go func() { c.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("an idle connection is not ended")
	}
}

// TestTakeOver is a client that comes back while the server still holds its
// dead connection.
func TestTakeOver(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	address := bureau.start(loopback, operator.peer(""))
	dead := login(t, operator, bureau.peer(address))
	f, err := dead.Create("/inbox/a.pgp.part")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("begin")); err != nil {
		t.Fatal(err)
	}
	c := login(t, operator, bureau.peer(address))
	if err := c.Rename("/inbox/a.pgp.part", "/inbox/a.pgp"); err == nil {
		t.Error("renamed what is being written")
	}
	if err := c.Remove("/inbox/a.pgp.part"); err == nil {
		t.Error("removed what is being written")
	}
	g, err := c.OpenFile("/inbox/a.pgp.part", os.O_WRONLY)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("!")); err == nil {
		t.Error("the dead connection still writes")
	}
	if _, err := g.WriteAt([]byte(" and end"), 5); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Rename("/inbox/a.pgp.part", "/inbox/a.pgp"); err != nil {
		t.Fatal(err)
	}
	bureau.wantIncoming("operator", "a.pgp", []byte("begin and end"))
	if err := c.Rename("/inbox/a.pgp.part", "/inbox/a.pgp"); err == nil {
		t.Error("renamed twice")
	}
	if err := c.Rename("/inbox/b.pgp.part", "/inbox/b.pgp"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("renaming nothing: %v", err)
	}
	if err := c.Remove("/inbox/a.pgp"); err == nil {
		t.Error("removed what was handed in")
	}
}

func TestOpenFlags(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	address := bureau.start(loopback, operator.peer(""))
	c := login(t, operator, bureau.peer(address))
	const name = "/inbox/a.part"
	write := func(flags int, off int64, text string) error {
		f, err := c.OpenFile(name, flags)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte(text), off)
		return errors.Join(err, f.Close())
	}
	size := func(want int64) {
		t.Helper()
		if info, err := c.Stat(name); err != nil || info.Size() != want {
			t.Errorf("got %v, %v, want %d bytes", info, err, want)
		}
	}
	if err := write(os.O_WRONLY, 0, "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without create: %v", err)
	}
	if f, err := c.OpenFile("/inbox/rw.part", os.O_RDWR|os.O_CREATE); err != nil {
		t.Error(err)
	} else {
		if _, err := f.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if _, err := f.ReadAt(make([]byte, 1), 0); err == nil {
			t.Error("read back through the handle that writes")
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := write(os.O_WRONLY|os.O_CREATE, 0, "hello"); err != nil {
		t.Error(err)
	}
	if err := write(os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0, "x"); err == nil {
		t.Error("created exclusively twice")
	}
	if err := write(os.O_WRONLY, 5, " world"); err != nil {
		t.Error(err)
	}
	size(11)
	if err := write(os.O_WRONLY, 3, "x"); err == nil {
		t.Error("wrote over what was written")
	}
	if err := write(os.O_WRONLY, 12, "x"); err == nil {
		t.Error("left a hole")
	}
	size(11)
	if err := write(os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0, "new"); err != nil {
		t.Error(err)
	}
	size(3)
	if _, err := c.Open(name); err == nil {
		t.Error("read back")
	}
	if err := c.Truncate(name, 1); err == nil {
		t.Error("truncated without writing")
	}
	if err := errors.Join(c.Chmod(name, 0o777), c.Chtimes(name, time.Now(), time.Now())); err != nil {
		t.Errorf("attributes: %v", err)
	}
	f, err := c.OpenFile(name, os.O_WRONLY)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("est!"), 3); err != nil {
		t.Fatal(err)
	}
	if f.Truncate(100) == nil {
		t.Error("grew by truncation")
	}
	if err := errors.Join(f.Truncate(7), f.Truncate(6), f.Close()); err != nil {
		t.Error(err)
	}
	if err := c.Rename(name, "/inbox/a"); err != nil {
		t.Fatal(err)
	}
	bureau.wantIncoming("operator", "a", []byte("newest"))
	for _, p := range []string{"/inbox/../x", "//inbox/a", "/inbox//b", "/inbox/a\x00b", "inbox/../../b", `/inbox/a\b`, "/inbox/" + strings.Repeat("b", 200)} {
		if f, err := c.Create(p); err == nil && p != "//inbox/a" && p != "/inbox//b" {
			t.Errorf("created %q as %s", p, f.Name())
		}
	}
	if _, err := c.ReadLink("/inbox/a"); err == nil {
		t.Error("read a link")
	}
	if _, err := c.ReadDir("/inbox/a"); err == nil {
		t.Error("listed a file")
	}
	if info, err := c.Stat("/inbox"); err != nil || !info.IsDir() {
		t.Errorf("got %v, %v", info, err)
	}
}

// TestUploadAnyOrder writes files in any order that a client could, and finds
// them whole.
func TestUploadAnyOrder(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	bureau.start(loopback, operator.peer(""))
	s := &session{edge: bureau.edge, peer: operator.peer(""), remote: "127.0.0.1:1", cancel: func() {}}
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		content := make([]byte, rapid.IntRange(1, 5000).Draw(t, "size"))
		mathrand.NewChaCha8([32]byte{byte(n)}).Read(content)
		name := fmt.Sprintf("f%d", n)
		u, err := s.upload(name, sftp.FileOpenFlags{Write: true, Creat: true})
		if err != nil {
			t.Fatal(err)
		}
		type write struct{ from, to int }
		var writes []write
		for at := 0; at < len(content); {
			to := min(len(content), at+rapid.IntRange(1, 1000).Draw(t, "length"))
			writes = append(writes, write{at, to})
			at = to
		}
		lost := rapid.IntRange(0, 3).Draw(t, "lost") == 0 && len(writes) > 1
		for i, w := range rapid.Permutation(writes).Draw(t, "order") {
			if lost && i == 0 && w.to != len(content) {
				continue
			} else if i == 0 {
				lost = false
			}
			if _, err := u.WriteAt(content[w.from:w.to], int64(w.from)); err != nil {
				t.Fatal(err)
			}
		}
		err = u.Close()
		if lost {
			if err == nil {
				t.Fatal("a hole was handed in")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		f := bureau.wantIncoming("operator", name, content)
		if err := bureau.spool.Done(f); err != nil {
			t.Fatal(err)
		}
	})
	if s.open.Load() != 0 || len(bureau.edge.uploads) != 0 {
		t.Errorf("%d files are open, %d claimed", s.open.Load(), len(bureau.edge.uploads))
	}
	u, err := s.upload("ahead", sftp.FileOpenFlags{Write: true, Creat: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.WriteAt(make([]byte, 10), 5); err != nil {
		t.Fatal(err)
	}
	if _, err := u.WriteAt(make([]byte, 10), 5); err == nil {
		t.Error("written twice")
	}
	if u.Close() == nil {
		t.Error("closed with a hole")
	}
	u, err = s.upload("far", sftp.FileOpenFlags{Write: true, Creat: true})
	if err != nil {
		t.Fatal(err)
	}
	var far error
	for off := int64(1); far == nil && off < 2*window; off += 1 << 20 {
		_, far = u.WriteAt(make([]byte, 1<<20), off)
	}
	if far == nil || u.Close() == nil {
		t.Error("kept more than the window")
	}
}

func TestCover(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var spans []span
		var want [64]bool
		for range rapid.IntRange(0, 20).Draw(t, "n") {
			from := rapid.Int64Range(0, 62).Draw(t, "from")
			to := rapid.Int64Range(from+1, 63).Draw(t, "to")
			spans = cover(spans, span{from, to})
			for i := from; i < to; i++ {
				want[i] = true
			}
		}
		var got [64]bool
		last := int64(-1)
		for _, s := range spans {
			if s.from <= last || s.to <= s.from {
				t.Fatalf("spans %v", spans)
			}
			for i := s.from; i < s.to; i++ {
				got[i] = true
			}
			last = s.to
		}
		if got != want {
			t.Fatalf("spans %v", spans)
		}
	})
}

func TestPartFetchIsNoDelivery(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	address := bureau.start(loopback, operator.peer(""))
	bureau.put("operator", "a.pgp", 100_000)
	c := login(t, operator, bureau.peer(address))
	f, err := c.Open("/outbox/a.pgp")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(f, make([]byte, 50_000)); err != nil {
		t.Fatal(err)
	}
	f.Close()
	bureau.wantRecord("out operator a.pgp broken", "of 100000 bytes")
	line := login(t, operator, bureau.peer(address))
	if f, err = line.Open("/outbox/a.pgp"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(f, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	line.ssh.Close() // all of it read, but who knows what arrived
	bureau.wantRecord("out operator a.pgp broken", "read 100000 of 100000 bytes")
	if _, err := bureau.spool.Sent("operator", "a.pgp"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Create("/outbox/x"); err == nil {
		t.Error("wrote to the outbox")
	}
	if err := bureau.spool.Withdraw("operator", "a.pgp"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Open("/outbox/a.pgp"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("withdrawn file: %v", err)
	}
}

// TestFullLogStops is the rule that what cannot be logged must not happen.
func TestFullLogStops(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	bureau.limit.Records = 3
	address := bureau.start(loopback, operator.peer(""))
	c := login(t, operator, bureau.peer(address))
	for range bureau.limit.Records {
		if err := bureau.spool.record(Record{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Create("/inbox/a.part"); err == nil || !strings.Contains(err.Error(), "start the site") {
		t.Errorf("got %v", err)
	}
	bureau.put("operator", "a.pgp", 10)
	if _, err := c.Open("/outbox/a.pgp"); err == nil {
		t.Error("a file was given out")
	}
}

func FuzzCanonical(f *testing.F) {
	for _, p := range []string{"/", "/inbox", "/inbox/a", "/inbox/a.part", "/outbox/a", "/inbox/../a", "//inbox", "/inbox/", "inbox/a", "/inbox/a/b",
		"/inbox/.part", "/inbox/a.part.part", "/outbox/a.part", "/inbox/a\x00", `/inbox\a`, "/INBOX/a", "/inbox/\u202ea"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		folder, name, err := canonical(p)
		if err != nil {
			if folder != "" || name != "" {
				t.Fatalf("%q: refused, but %q %q", p, folder, name)
			}
			return
		}
		back := "/" + folder
		if name != "" {
			back += "/" + name
		}
		if back != p {
			t.Fatalf("%q and %q are the same place", p, back)
		}
		if name != "" && (!filepath.IsLocal(name) || strings.ContainsAny(name, "/\\\x00") || name[0] == '.' || filepath.Base(name) != name) {
			t.Fatalf("%q: name %q", p, name)
		}
		if folder != "" && folder != inbox && folder != outbox {
			t.Fatalf("%q: folder %q", p, folder)
		}
	})
}

func TestKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "keys")
	k, err := Init(dir, "bureau")
	if err != nil {
		t.Fatal(err)
	}
	again, err := Load(dir)
	if err != nil || pinOf(again.Certificate()) != pinOf(k.Certificate()) || !sameKey(again.SSH(), k.SSH()) {
		t.Errorf("loaded other keys: %v", err)
	}
	if _, err := Init(dir, "bureau"); err == nil || !strings.Contains(err.Error(), "never overwritten") {
		t.Errorf("overwritten: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "..", ".keys-*")); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	if _, err := Init(filepath.Join(t.TempDir(), "x"), "Not A Name"); err == nil {
		t.Error("bad name was taken")
	}
	for _, form := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if s := fmt.Sprintf(form, k); s != "[edge keys]" {
			t.Errorf("%s prints %s", form, s)
		}
	}
	if k.LogValue().String() != "[edge keys]" || !strings.HasPrefix(k.CertificatePEM(), "-----BEGIN CERT") {
		t.Error("log value or PEM")
	}
	for _, name := range []string{tlsCertFile, tlsKeyFile, sshKeyFile} {
		path := filepath.Join(dir, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		refused := func(why string) {
			if _, err := Load(dir); err == nil || strings.Contains(err.Error(), "BEGIN") {
				t.Errorf("%s %s: got %v", name, why, err)
			}
		}
		os.Chmod(path, 0o640)
		refused("readable by others")
		os.Chmod(path, 0o600)
		os.WriteFile(path, good[:len(good)/2], 0o600)
		refused("damaged")
		os.Remove(path)
		refused("missing")
		os.WriteFile(path, good, 0o600)
	}
	if _, err := Load(dir); err != nil {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	s := newSite(t, "bureau")
	good := Config{Name: "bureau", Keys: s.keys, Spool: s.spool}
	for name, change := range map[string]func(*Config){
		"no keys": func(c *Config) { c.Keys = nil }, "no spool": func(c *Config) { c.Spool = nil }, "zero spool": func(c *Config) { c.Spool = &Spool{} },
		"no name": func(c *Config) { c.Name = "" }, "bad peer": func(c *Config) { c.Peers = []Peer{{}} }, "bad listener": func(c *Config) { c.Listen = "256.0.0.1:x" },
	} {
		c := good
		change(&c)
		if e, err := New(c); err == nil || e != nil {
			t.Errorf("%s: not refused", name)
		}
	}
	if s.start(""); s.edge.Addr() != "" {
		t.Error("listens without being told to")
	}
	if _, err := New(good); err == nil || !strings.Contains(err.Error(), "another edge") {
		t.Errorf("two edges: %v", err)
	}
	var zero Spool
	if _, err := zero.Waiting(); err == nil {
		t.Error("zero spool lists")
	}
	if _, _, err := zero.Put("a", "b", nil); err == nil {
		t.Error("zero spool puts")
	}
}

func TestSpoolPut(t *testing.T) {
	s := newSite(t, "bureau")
	for name, test := range map[string]struct{ partner, file string }{
		"partner": {"../x", "a"}, "file": {"x", "../a"}, "part": {"x", "a.part"}, "hidden": {"x", ".a"}, "empty": {"x", ""},
	} {
		if _, _, err := s.spool.Put(test.partner, test.file, writeN(1)); err == nil {
			t.Errorf("%s: not refused", name)
		}
		if s.spool.Withdraw(test.partner, test.file) == nil {
			t.Errorf("%s: withdrawn", name)
		}
		if _, err := s.spool.Sent(test.partner, test.file); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: asked for", name)
		}
	}
	mine := errors.New("mine")
	if _, _, err := s.spool.Put("x", "a", func(w io.Writer) error { w.Write([]byte("half")); return mine }); !errors.Is(err, mine) {
		t.Errorf("got %v", err)
	}
	if left, err := s.spool.Outgoing(); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if found, _ := filepath.Glob(filepath.Join(s.dir, "spool/out/x/*")); len(found) != 0 {
		t.Errorf("left %v", found)
	}
	s.put("x", "a", 10) // the name was not used up
	if _, _, err := s.spool.Put("x", "a", writeN(1)); !errors.Is(err, ErrUsed) {
		t.Errorf("got %v", err)
	}
}

// TestRecover leaves the spool as a crash may, at each step.
func TestRecover(t *testing.T) {
	s := newSite(t, "bureau")
	put := func(name string) Meta {
		dir := filepath.Join(s.dir, "spool/part/operator")
		os.MkdirAll(dir, 0o700)
		if err := os.WriteFile(filepath.Join(dir, name+partial), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		m := Meta{Partner: "operator", Name: name, Size: int64(len(name)), Ended: time.Now()}
		if err := s.spool.handIn(name+partial, m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	at := func(pattern string) []string {
		found, err := filepath.Glob(filepath.Join(s.dir, "spool", pattern))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	put("whole.pgp")
	put("not-handed-in.json") // handIn: moved, no meta
	os.Remove(at("in/operator/*-not-handed-in.json.json")[0])
	taken := put("taken.pgp") // Done: noted, meta gone, content left
	if err := s.spool.writeMeta("got/operator", "taken.pgp", taken); err != nil {
		t.Fatal(err)
	}
	os.Remove(at("in/operator/*-taken.pgp.json")[0])
	old := Meta{Partner: "operator", Name: "old.pgp", Ended: time.Now().Add(-500 * 24 * time.Hour)}
	if err := errors.Join(s.spool.writeMeta("got/operator", "old.pgp", old), s.spool.writeMeta("sent/operator", "old.pgp", old)); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"new": 0, "stale": 48 * time.Hour} {
		path := filepath.Join(s.dir, "spool/in/operator", tempPre+name)
		os.WriteFile(path, nil, 0o600)
		os.Chtimes(path, time.Now().Add(-age), time.Now().Add(-age))
	}
	s.start("")
	if files, err := s.spool.Waiting(); err != nil || len(files) != 1 || files[0].Name != "whole.pgp" {
		t.Errorf("waiting %v, %v", files, err)
	}
	if got := at("part/operator/*"); len(got) != 1 || filepath.Base(got[0]) != "not-handed-in.json.part" {
		t.Errorf("parts %v", got)
	}
	if got := at("in/operator/*taken*"); len(got) != 0 {
		t.Errorf("left %v", got)
	}
	if got := at("in/operator/" + tempPre + "*"); len(got) != 1 {
		t.Errorf("temporary files %v", got)
	}
	if got := append(at("got/operator/old*"), at("sent/operator/old*")...); len(got) != 0 {
		t.Errorf("old names are kept: %v", got)
	}
	s.stop()
	bad := filepath.Join(s.dir, "spool/in/operator/0000000000000000001-x.json")
	if err := os.WriteFile(bad, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.spool.Waiting(); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("damaged meta: %v", err)
	}
}

func BenchmarkUpload(b *testing.B) {
	bureau, operator := newSite(b, "bureau"), newSite(b, "operator")
	address := bureau.start(loopback, operator.peer(""))
	c := login(b, operator, bureau.peer(address))
	const size = 64 << 20
	content := make([]byte, size)
	rand.Read(content)
	b.SetBytes(size)
	n := 0
	for b.Loop() {
		n++
		name := fmt.Sprintf("/inbox/f%d.part", n)
		f, err := c.Create(name)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.ReadFrom(bytes.NewReader(content)); err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(f.Close(), c.Remove(name)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUploadOpenSSH is the same with OpenSSH's client, with our server
// and with OpenSSH's own, for comparison: no TLS there, and no hash.
func BenchmarkUploadOpenSSH(b *testing.B) {
	bureau, _, c := bureauAndStock(b)
	_ = bureau
	const size = 256 << 20
	c.file("f", size)
	b.Run("ankan", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			c.run("put f /inbox/f.part", "rm /inbox/f.part")
		}
	})
	b.Run("openssh", func(b *testing.B) {
		needs(b, "/usr/lib/openssh/sftp-server", "openssh-sftp-server")
		b.SetBytes(size)
		for b.Loop() {
			cmd := c.command("put f g\nrm g")
			cmd.Args = []string{"sftp", "-q", "-b", filepath.Join(c.dir, "batch"), "-D", "/usr/lib/openssh/sftp-server"}
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
		}
	})
}
