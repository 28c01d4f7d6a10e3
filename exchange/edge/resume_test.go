package edge

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ankan/durable"
)

// relay passes connections on to an address: what comes back as it is, and what
// goes there as forth does, one call for each connection.
func relay(t *testing.T, to string, forth func(out, in net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", loopback)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			go func() {
				io.Copy(in, out)
				in.Close()
			}()
			go func() {
				defer out.Close()
				forth(out, in)
			}()
		}
	}()
	return l.Addr().String()
}

// A breaker passes connections on, and breaks each after as many bytes as next
// says. It counts those that it broke.
type breaker struct {
	address string
	broke   atomic.Int32
}

func newBreaker(t *testing.T, to string, next func() int64) *breaker {
	t.Helper()
	b := &breaker{}
	var one sync.Mutex
	b.address = relay(t, to, func(out, in net.Conn) {
		defer in.Close()
		one.Lock()
		limit := next()
		one.Unlock()
		if n, _ := io.CopyN(out, in, limit); n == limit {
			b.broke.Add(1)
		}
	})
	return b
}

// TestResumeAfterRandomBreaks breaks the line at random bytes of a big file, many
// times. The file arrives whole, once, and hardly a byte of it is sent twice.
func TestResumeAfterRandomBreaks(t *testing.T) {
	seed := time.Now().UnixNano()
	random := mathrand.New(mathrand.NewPCG(uint64(seed), 0))
	t.Logf("seed %d", seed)
	const size = 96 << 20
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	operator.limit.Retry = 10 * time.Millisecond
	address := bureau.start(loopback, operator.peer(""))
	var passed atomic.Int64
	line := newBreaker(t, address, func() int64 {
		n := 100_000 + random.Int64N(24<<20)
		passed.Add(n)
		return n
	})
	content := operator.put("bureau", "order.pgp", size)
	operator.start("", bureau.peer(line.address))
	bureau.wantIncoming("operator", "order.pgp", content)
	r := operator.wantRecord("out bureau order.pgp sent")
	if line.broke.Load() == 0 || r.From == 0 || r.Took <= 0 || r.From >= size {
		t.Errorf("%d breaks, and the last attempt went on from %d of %d bytes, in %d ms", line.broke.Load(), r.From, size, r.Took)
	}
	if r := bureau.wantRecord("in operator order.pgp received"); r.From == 0 || r.Took <= 0 {
		t.Errorf("received from %d on, in %d ms", r.From, r.Took)
	}
	// What is on the way when the line breaks is lost, a window of it at most.
	if most := size + int64(line.broke.Load()+1)*(24<<20); passed.Load() > most {
		t.Errorf("%d bytes were let through for a file of %d", passed.Load(), size)
	}
	if r := bureau.wantRecord("in operator order.pgp.part broken"); r.Took <= 0 || r.Size <= 0 {
		t.Errorf("broken after %d bytes and %d ms", r.Size, r.Took)
	}
}

// TestResumeOnlyOurs: what lies at the partner under the file's name is not this
// file's beginning, or is longer, or nobody can say: it is sent from its
// beginning.
func TestResumeOnlyOurs(t *testing.T) {
	for name, left := range map[string]func(content []byte) []byte{
		"other bytes":    func(content []byte) []byte { return bytes.Repeat([]byte("x"), len(content)/2) },
		"one bit":        func(content []byte) []byte { b := bytes.Clone(content[:len(content)/2]); b[100] ^= 1; return b },
		"longer":         func(content []byte) []byte { return append(bytes.Clone(content), 'x') },
		"the whole file": func(content []byte) []byte { return content },
		"a half":         func(content []byte) []byte { return content[:len(content)/2] },
		"nothing":        func(content []byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
			content := operator.put("bureau", "order.pgp", 3<<20)
			dir := filepath.Join(bureau.dir, "spool", partDir, "operator")
			rest := left(content)
			if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "order.pgp"+partial), rest, 0o600)); err != nil {
				t.Fatal(err)
			}
			address := bureau.start(loopback, operator.peer(""))
			operator.start("", bureau.peer(address))
			bureau.wantIncoming("operator", "order.pgp", content)
			want := int64(0)
			if bytes.HasPrefix(content, rest) {
				want = int64(len(rest))
			}
			if r := operator.wantRecord("out bureau order.pgp sent"); r.From != want {
				t.Errorf("sent from byte %d on, want %d", r.From, want)
			}
		})
	}
}

// TestNoHashForStrangers: who is no edge of ours is told nothing of what lies
// there.
func TestNoHashForStrangers(t *testing.T) {
	bureau, _, c := bureauAndStock(t)
	c.file("a.part", 1000)
	c.run("put a.part /inbox/a.part")
	if out := c.run("ls -l /inbox"); !strings.Contains(out, "a.part") || strings.Contains(out, sumAttribute) {
		t.Errorf("the folder shows %s", out)
	}
	bureau.wantNothing()
}

// sshd runs OpenSSH's server behind TLS, as a partner has it who puts a tunnel
// before it, for this test's own user: nobody else can be logged in without
// being root. Its sftp-server sees a root of its own, in the folder that is
// returned with the address.
func sshd(t *testing.T, host *site, key ssh.PublicKey) (address, root string) {
	t.Helper()
	needs(t, "/usr/sbin/sshd", "openssh-server")
	needs(t, "/usr/lib/openssh/sftp-server", "openssh-sftp-server")
	needs(t, "unshare", "util-linux")
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	root = at("root")
	if err := os.MkdirAll(filepath.Join(root, inbox), 0o700); err != nil {
		t.Fatal(err)
	}
	asRoot := "--map-root-user"
	if os.Geteuid() == 0 {
		asRoot = ""
		// Where sshd puts the part that faces the network; the service makes it.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	inside := fmt.Sprintf("cd %s; for d in usr lib lib64 etc dev; do test -d /$d || continue; mkdir -p $d; mount --rbind /$d $d; done; exec chroot . /usr/lib/openssh/sftp-server\n", root)
	outside := fmt.Sprintf("#!/bin/sh\nexec unshare --mount %s sh %s\n", asRoot, at("inside"))
	config := fmt.Sprintf("HostKey %s\nPidFile none\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp %s\n",
		filepath.Join(host.dir, "keys", sshKeyFile), at("authorized"), at("outside"))
	for name, doc := range map[string]string{"sshd_config": config, "authorized": string(ssh.MarshalAuthorizedKey(key)), "inside": inside, "outside": outside} {
		if err := os.WriteFile(at(name), []byte(doc), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	l, err := tls.Listen("tcp", loopback, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{host.keys.tls}, ClientAuth: tls.RequireAnyClientCert})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				cmd := exec.Command("/usr/sbin/sshd", "-i", "-e", "-f", at("sshd_config"))
				cmd.Stdin, cmd.Stdout = in, in
				cmd.WaitDelay = time.Second
				cmd.Run()
			}()
		}
	}()
	return l.Addr().String(), root
}

// TestSendToOpenSSH sends a file to OpenSSH's server over a line that breaks.
// Nobody says there what a part holds, so each attempt begins anew, and the file
// arrives whole.
func TestSendToOpenSSH(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	bureau, operator := newSite(t, "bureau"), newSite(t, me.Username)
	operator.limit.Retry = 10 * time.Millisecond
	address, root := sshd(t, bureau, operator.keys.SSH())
	var n atomic.Int64
	line := newBreaker(t, address, func() int64 { return n.Add(1) * 7 << 20 })
	content := operator.put("bureau", "order.pgp", 24<<20)
	operator.start("", bureau.peer(line.address))
	if r := operator.wantRecord("out bureau order.pgp sent"); r.From != 0 {
		t.Errorf("went on from byte %d, of which nobody knows anything", r.From)
	}
	got, err := os.ReadFile(filepath.Join(root, inbox, "order.pgp"))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("OpenSSH's server has %d bytes, want %d: %v", len(got), len(content), err)
	}
	if line.broke.Load() < 2 {
		t.Errorf("the line broke %d times, want some", line.broke.Load())
	}
}

// TestPartsAreBounded: a partner begins so many files and no more, what nobody
// goes on with is removed, and the last of the disk is left to the site.
func TestPartsAreBounded(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	bureau.limit.MaxParts, bureau.limit.Parts = 2, time.Hour
	address := bureau.start(loopback, operator.peer(""))
	c := login(t, operator, bureau.peer(address))
	put := func(name string) error {
		f, err := c.Create("/inbox/" + name)
		if err != nil {
			return err
		}
		_, err = f.Write([]byte("x"))
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(put("a.part"), put("b.part"), put("a.part")); err != nil {
		t.Fatal(err)
	}
	if put("c.part") == nil {
		t.Error("a third file was begun")
	}
	bureau.wantRecord("in operator c.part refused", "2 files were begun and not ended")
	if err := bureau.edge.sweepOnce(time.Now().Add(59 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Stat("/inbox/a.part"); err != nil {
		t.Errorf("removed too early: %v", err)
	}
	if err := bureau.edge.sweepOnce(time.Now().Add(61 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Stat("/inbox/a.part"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an old part: %v", err)
	}
	bureau.wantRecord("in operator a.part refused", "not gone on with since")
	if err := put("c.part"); err != nil {
		t.Error(err)
	}
}

// TestShortDisk: uploads stop before the disk is full, the one that is under way
// too, and go on when there is room.
func TestShortDisk(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	bureau.limit.Free, bureau.limit.Enough = 100, 1<<62
	address := bureau.start(loopback, operator.peer(""))
	content := operator.put("bureau", "order.pgp", 1000)
	operator.start("", bureau.peer(address))
	operator.wantRecord("out bureau order.pgp broken", "MiB free; try later")
	bureau.wantRecord("in operator order.pgp.part refused", "MiB free; try later")
	bureau.wantNothing()
	bureau.stop()
	bureau.limit.Free, bureau.limit.Enough = 0, 1
	bureau.start(address)
	bureau.wantIncoming("operator", "order.pgp", content)
}

// TestLostSync: the disk does not take what came. Nobody knows then what is
// there, so that the file begins anew.
func TestLostSync(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	fail := &durable.Script{Fail: []durable.Event{{Step: 1, Shape: durable.Before}}, Match: func(step string) bool { return step == "edge.sync" }}
	bureau.spool.Steps = fail.Steps()
	address := bureau.start(loopback, operator.peer(""))
	content := operator.put("bureau", "order.pgp", 1<<20)
	operator.start("", bureau.peer(address))
	bureau.wantIncoming("operator", "order.pgp", content)
	bureau.wantRecord("in operator order.pgp.part broken", "as planned")
	if r := operator.wantRecord("out bureau order.pgp sent"); r.From != 0 {
		t.Errorf("went on from byte %d of what was lost", r.From)
	}
}

// TestR13_Names: a clock that was wrong brings no name back, and gives no number
// twice.
func TestR13_Names(t *testing.T) {
	s := newSite(t, "bureau")
	now := time.Now()
	day := 24 * time.Hour
	for name, at := range map[string]time.Time{"new.pgp": now, "old.pgp": now.Add(-399 * day), "ancient.pgp": now.Add(-402 * day)} {
		if err := s.spool.writeMeta("got/operator", name, Meta{Partner: "operator", Name: name, Ended: at}); err != nil {
			t.Fatal(err)
		}
	}
	// A record from when the clock was a year ahead.
	ahead := now.Add(365 * day).UnixNano()
	s.spool.last = ahead
	if err := s.spool.record(Record{Direction: DirectionLogin, Outcome: OutcomeRefused}); err != nil {
		t.Fatal(err)
	}
	s.open()
	s.start("")
	for name, want := range map[string]error{"new.pgp": nil, "old.pgp": nil, "ancient.pgp": fs.ErrNotExist} {
		if _, err := s.spool.known("operator", name); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := s.spool.next(); n != ahead+2 {
		t.Errorf("the next number is %d, want %d", n, ahead+2)
	}
	// Nothing new came for two years, by the clock: the names of two years ago are
	// the newest that there are.
	old := newSite(t, "bureau")
	if err := old.spool.writeMeta("got/operator", "last.pgp", Meta{Partner: "operator", Name: "last.pgp", Ended: now.Add(-800 * day)}); err != nil {
		t.Fatal(err)
	}
	old.start("")
	if _, err := old.spool.known("operator", "last.pgp"); err != nil {
		t.Errorf("a clock that may be wrong gave a name back: %v", err)
	}
}
