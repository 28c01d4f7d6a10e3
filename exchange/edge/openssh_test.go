package edge

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// needs fails, naming the package, if a program is missing.
func needs(t testing.TB, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("%s is missing: install the package %s", program, pkg)
	}
}

// A stock client is OpenSSH's sftp inside openssl's TLS: what a partner without
// Ankan uses.
type stock struct {
	t       testing.TB
	server  *site
	address string
	user    string
	tls     string // folder of the TLS key
	ssh     string // folder of the SSH key
	dir     string // where it runs
}

func newStock(t testing.TB, server *site, address string, client *site) *stock {
	needs(t, "sftp", "openssh-client")
	needs(t, "openssl", "openssl")
	// ssh ends its proxy by SIGHUP, which whatever nohup starts ignores, and its
	// children too. A signal that is caught is not ignored by children.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangup) })
	keys := filepath.Join(client.dir, "keys")
	return &stock{t: t, server: server, address: address, user: client.name, tls: keys, ssh: keys, dir: t.TempDir()}
}

func (c *stock) command(batch string) *exec.Cmd {
	c.t.Helper()
	known := "[bureau]:22 " + string(ssh.MarshalAuthorizedKey(c.server.keys.SSH()))
	known += "bureau " + string(ssh.MarshalAuthorizedKey(c.server.keys.SSH()))
	for name, text := range map[string]string{"known": known, "batch": batch + "\n", "ca.pem": c.server.keys.CertificatePEM()} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	proxy := fmt.Sprintf("openssl s_client -quiet -verify_quiet -connect %s -servername bureau -CAfile %s -cert %s -key %s -verify_return_error",
		c.address, filepath.Join(c.dir, "ca.pem"), filepath.Join(c.tls, tlsCertFile), filepath.Join(c.tls, tlsKeyFile))
	cmd := exec.Command("sftp", "-q", "-F", "none", "-b", filepath.Join(c.dir, "batch"), "-o", "ProxyCommand="+proxy,
		"-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-i", filepath.Join(c.ssh, sshKeyFile), "-o", "StrictHostKeyChecking=yes",
		"-o", "UserKnownHostsFile="+filepath.Join(c.dir, "known"), "-o", "User="+c.user, "bureau")
	cmd.Dir = c.dir
	return cmd
}

// run runs a batch that must succeed and returns what it prints.
func (c *stock) run(lines ...string) string {
	c.t.Helper()
	out, err := c.command(strings.Join(lines, "\n")).CombinedOutput()
	if err != nil {
		c.t.Fatalf("sftp %q: %v\n%s\n%s", lines, err, out, strings.Join(c.server.outcomes(), "\n"))
	}
	return string(out)
}

// fails runs a batch that must fail.
func (c *stock) fails(lines ...string) string {
	c.t.Helper()
	out, err := c.command(strings.Join(lines, "\n")).CombinedOutput()
	if err == nil {
		c.t.Fatalf("sftp %q: not refused\n%s", lines, out)
	}
	return string(out)
}

// file makes a local file of n random bytes.
func (c *stock) file(name string, n int) []byte {
	c.t.Helper()
	content := make([]byte, n)
	rand.Read(content)
	if err := os.WriteFile(filepath.Join(c.dir, name), content, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return content
}

// bureauAndStock is a running bureau whose partner operator uses stock tools.
func bureauAndStock(t testing.TB) (bureau, operator *site, c *stock) {
	bureau, operator = newSite(t, "bureau"), newSite(t, "operator")
	address := bureau.start(loopback, operator.peer(""))
	return bureau, operator, newStock(t, bureau, address, operator)
}

func TestOpenSSHPut(t *testing.T) {
	bureau, _, c := bureauAndStock(t)
	content := c.file("order.inp.gpg", 3<<20)
	c.run("put order.inp.gpg /inbox/order.inp.gpg")
	f := bureau.wantIncoming("operator", "order.inp.gpg", content)
	bureau.wantRecord("in operator order.inp.gpg received")

	again := c.fails("put order.inp.gpg /inbox/order.inp.gpg")
	if !strings.Contains(again, "ermission denied") {
		t.Errorf("overwriting: sftp says %s", again)
	}
	bureau.wantRecord("refused", "was received on")
	if err := bureau.spool.Done(f); err != nil {
		t.Fatal(err)
	}
	if err := bureau.spool.Done(f); err != nil {
		t.Fatalf("done twice: %v", err)
	}
	bureau.wantNothing()
	if _, err := os.Stat(f.Path); !os.IsNotExist(err) {
		t.Errorf("content is still there: %v", err)
	}
	c.fails("put order.inp.gpg /inbox/order.inp.gpg") // its name is used up

	// As a part, then renamed: the way of our own sender.
	second := c.file("second.gpg", 100)
	c.run("cd inbox", "put second.gpg second.gpg.part")
	bureau.wantNothing()
	c.fails("rename /inbox/second.gpg.part /inbox/other.gpg")
	c.fails("rename /inbox/second.gpg.part /outbox/second.gpg")
	if ls := c.run("ls -l /inbox"); !strings.Contains(ls, "-rw-------") || !strings.Contains(ls, "-r--------") {
		t.Errorf("ls shows\n%s", ls)
	}
	c.run("rename /inbox/second.gpg.part /inbox/second.gpg")
	f = bureau.wantIncoming("operator", "second.gpg", second)
	if err := bureau.spool.Quarantine(f, "is no OpenPGP message"); err != nil {
		t.Fatal(err)
	}
	if err := bureau.spool.Quarantine(f, "is no OpenPGP message"); err != nil {
		t.Fatalf("quarantined twice: %v", err)
	}
	bureau.wantNothing()
	kept, err := filepath.Glob(filepath.Join(bureau.dir, "spool/quarantine/operator/*"))
	if err != nil || len(kept) != 2 {
		t.Errorf("quarantine holds %v, %v", kept, err)
	}
	if got := c.run("ls -1 /inbox"); got != "sftp> ls -1 /inbox\n/inbox/order.inp.gpg\n/inbox/second.gpg\n" {
		t.Errorf("ls shows %q", got)
	}
	c.run("put second.gpg /inbox/empty.part", "rm /inbox/empty.part")
}

func TestOpenSSHGet(t *testing.T) {
	bureau, _, c := bureauAndStock(t)
	content := bureau.put("operator", "response.out.pgp", 2<<20)
	bureau.put("plant", "batch.pgp", 100) // somebody else's
	if ls := c.run("ls -1 /outbox"); !strings.Contains(ls, "response.out.pgp") || strings.Contains(ls, "batch") {
		t.Errorf("ls shows\n%s", ls)
	}
	c.fails("rm /outbox/response.out.pgp")
	bureau.wantRecord("refused", "was not fetched whole")
	c.run("get /outbox/response.out.pgp got")
	got, err := os.ReadFile(filepath.Join(c.dir, "got"))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	r := bureau.wantRecord("out operator response.out.pgp fetched")
	if r.Size != int64(len(content)) || len(r.SHA256) != 64 {
		t.Errorf("got %+v", r)
	}
	if m, err := bureau.spool.Sent("operator", "response.out.pgp"); err != nil || m.Text != OutcomeFetched {
		t.Errorf("got %+v, %v", m, err)
	}
	c.run("rm /outbox/response.out.pgp")
	bureau.wantRecord("removed")
	if left, err := bureau.spool.Outgoing(); err != nil || len(left) != 1 || left[0].Partner != "plant" {
		t.Errorf("left %v, %v", left, err)
	}
	c.fails("get /outbox/response.out.pgp")
	c.fails("rm /outbox/response.out.pgp")
}

func TestOpenSSHResume(t *testing.T) {
	bureau, _, c := bureauAndStock(t)
	content := c.file("big.gpg", 48<<20)
	cmd := c.command("put big.gpg /inbox/big.gpg")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(bureau.dir, "spool/part/operator/big.gpg")
	size := func() int64 {
		info, err := os.Stat(part)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	waitFor(t, "some of the file", func() bool { return size() > 1<<20 })
	cmd.Process.Kill()
	cmd.Wait()
	r := bureau.wantRecord("in operator big.gpg broken", "connection was lost")
	if r.Size != size() || size() >= int64(len(content)) {
		t.Fatalf("part has %d bytes, record says %d", size(), r.Size)
	}
	bureau.wantNothing()
	c.run("reput big.gpg /inbox/big.gpg")
	bureau.wantIncoming("operator", "big.gpg", content)
	if size() != 0 {
		t.Error("part is still there")
	}
}

func TestOpenSSHRefused(t *testing.T) {
	bureau, operator, c := bureauAndStock(t)
	plant, stranger := newSite(t, "plant"), newSite(t, "stranger")
	if err := bureau.edge.SetPeers([]Peer{operator.peer(""), plant.peer("")}); err != nil {
		t.Fatal(err)
	}
	keys := func(s *site) string { return filepath.Join(s.dir, "keys") }
	for _, test := range []struct {
		name           string
		user, tls, ssh string
		record         string
	}{
		{"strange certificate", "operator", keys(stranger), keys(operator), "is no partner's"},
		{"strange SSH key", "operator", keys(operator), keys(stranger), "is not that of operator"},
		{"other partner's SSH key with own certificate", "operator", keys(operator), keys(plant), "is not that of operator"},
		{"own SSH key with other partner's certificate", "operator", keys(plant), keys(operator), "with the TLS key of plant"},
		{"other partner's name", "plant", keys(operator), keys(plant), `SSH user "plant" with the TLS key of operator`},
		{"no such name", "root", keys(operator), keys(operator), `SSH user "root"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := *c
			d.user, d.tls, d.ssh = test.user, test.tls, test.ssh
			d.fails("ls")
			bureau.wantRecord("login", "refused", test.record)
		})
	}
	t.Run("paths", func(t *testing.T) {
		c.file("x.gpg", 10)
		for _, line := range []string{
			"put x.gpg /x.gpg", "put x.gpg /outbox/x.gpg", "put x.gpg /inbox/../../etc/x.gpg", "put x.gpg /inbox/../x.gpg",
			"put x.gpg /inbox/.hidden", "put x.gpg /inbox/a/b", `put x.gpg "/inbox/a b"`, "put x.gpg /inbox/-rf", "get /inbox/x.gpg",
			"get /etc/passwd", "get /outbox/../../../../etc/passwd", "get /outbox/../../in/operator/x", "ls /in", "ls /..hidden", "mkdir /inbox/d",
			"mkdir /d", "rmdir /inbox", "rm /inbox/nothing", "symlink /etc/passwd /outbox/p", "ln /etc/passwd /inbox/p", "ls /etc",
			"rename /outbox/a /inbox/a", "chmod 777 /", "rm /outbox", "get /outbox/nothing",
		} {
			c.fails(line)
		}
		c.fails("put x.gpg /inbox/" + strings.Repeat("a", 129))
		bureau.wantNothing()
	})
	t.Run("ls", func(t *testing.T) {
		if got := c.run("ls -1", "pwd"); got != "sftp> ls -1\ninbox\noutbox\nsftp> pwd\nRemote working directory: /\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("no shell", func(t *testing.T) {
		needs(t, "ssh", "openssh-client")
		sftp := c.command("ls")
		args := append([]string{}, sftp.Args[1:]...)
		for i := range args {
			if args[i] == "-b" {
				args = append(args[:i], args[i+2:]...)
				break
			}
		}
		for name, extra := range map[string][]string{
			"shell": nil, "exec": {"id"}, "forward": {"-W", "127.0.0.1:22"}, "terminal": {"-tt"},
		} {
			full := append([]string{}, args[:len(args)-1]...)
			if name == "exec" {
				full = append(append(full, args[len(args)-1]), extra...)
			} else {
				full = append(append(full, extra...), args[len(args)-1])
			}
			cmd := exec.Command("ssh", full...)
			cmd.Dir = c.dir
			timer := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
			out, err := cmd.CombinedOutput()
			timer.Stop()
			if err == nil || strings.Contains(string(out), "uid=") {
				t.Errorf("%s: got %v, %s", name, err, out)
			}
		}
	})
}

// TestOpenSSHMakesOurKeys reads our key files with OpenSSH's and openssl's own
// programs.
func TestOpenSSHReadsOurKeys(t *testing.T) {
	needs(t, "ssh-keygen", "openssh-client")
	needs(t, "openssl", "openssl")
	s := newSite(t, "bureau")
	out, err := exec.Command("ssh-keygen", "-l", "-f", filepath.Join(s.dir, "keys", sshKeyFile)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), ssh.FingerprintSHA256(s.keys.SSH())) {
		t.Errorf("ssh-keygen: %v\n%s", err, out)
	}
	out, err = exec.Command("openssl", "x509", "-noout", "-subject", "-in", filepath.Join(s.dir, "keys", tlsCertFile)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "CN = bureau") {
		t.Errorf("openssl: %v\n%s", err, out)
	}
}
