package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"ankan/exchange/edge"
)

// benchSftpCmd brings one file from one edge to another over loopback: SFTP in
// mutual TLS, hashed on the way, durable at its end.
type benchSftpCmd struct {
	MiB  int  `name:"mib" help:"Size of the file." default:"512" placeholder:"N"`
	JSON bool `help:"Print JSON."`
}

func (c benchSftpCmd) Run(a *app) error {
	r, err := c.measure(a.ctx)
	if err != nil {
		return err
	}
	return a.printResult(c.JSON, r)
}

func (c benchSftpCmd) measure(ctx context.Context) (result, error) {
	if c.MiB < 1 {
		return nil, fmt.Errorf("a file of %d MiB, want at least one", c.MiB)
	}
	dir, err := os.MkdirTemp("", "ankan-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ours, sent, err := c.ours(ctx, dir)
	if err != nil {
		return nil, err
	}
	var r result
	r.add("mib", c.MiB)
	r.add("seconds", round(ours.Seconds()))
	r.add("mb_per_second", round(float64(c.MiB<<20)/1e6/ours.Seconds()))
	took, err := opensshPut(ctx, dir, sent)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		r.add("peer", "none here")
	case err != nil:
		return nil, err
	default:
		r.peer("OpenSSH sftp to sshd, without TLS, hash and fsync", firstLine(ctx, "ssh", "-V"), took, ours)
		r.add("peer_mb_per_second", round(float64(c.MiB<<20)/1e6/took.Seconds()))
	}
	return r, r.machine()
}

// ours has our sender bring a file to our server. It returns the time from the
// call to when the file is the receiver's, and the file received.
func (c benchSftpCmd) ours(ctx context.Context, dir string) (time.Duration, string, error) {
	ctx, stop := context.WithCancel(ctx)
	var ended []chan error
	defer func() {
		stop()
		for _, e := range ended {
			<-e
		}
	}()
	var keys [2]*edge.Keys
	var spools [2]*edge.Spool
	for i, name := range []string{"bureau", "operator"} {
		var err error
		if keys[i], err = edge.Init(filepath.Join(dir, name, "keys"), name); err != nil {
			return 0, "", err
		}
		if spools[i], err = edge.OpenSpool(filepath.Join(dir, name, "spool")); err != nil {
			return 0, "", err
		}
		defer spools[i].Close()
	}
	run := func(e *edge.Edge) {
		done := make(chan error, 1)
		ended = append(ended, done)
		go func() { done <- e.Run(ctx) }()
	}
	operator, err := edge.New(edge.Config{Name: "operator", Listen: "127.0.0.1:0", Keys: keys[1], Spool: spools[1],
		Peers: []edge.Peer{{Name: "bureau", Certificate: keys[0].Certificate(), SSH: keys[0].SSH()}}})
	if err != nil {
		return 0, "", err
	}
	run(operator)
	_, _, err = spools[0].Put("operator", "bench.out.pgp", func(w io.Writer) error {
		_, err := io.CopyN(w, rand.Reader, int64(c.MiB)<<20)
		return err
	})
	if err != nil {
		return 0, "", err
	}
	bureau, err := edge.New(edge.Config{Name: "bureau", Keys: keys[0], Spool: spools[0],
		Peers: []edge.Peer{{Name: "operator", Certificate: keys[1].Certificate(), SSH: keys[1].SSH(), Address: operator.Addr()}}})
	if err != nil {
		return 0, "", err
	}
	began := time.Now()
	run(bureau)
	f, err := spools[1].Incoming(ctx)
	if err != nil {
		return 0, "", err
	}
	return time.Since(began), f.Path, nil
}

// opensshPut has OpenSSH's client bring the same file to OpenSSH's server.
func opensshPut(ctx context.Context, dir, file string) (time.Duration, error) {
	sshd, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		return 0, exec.ErrNotFound
	}
	if _, err := exec.LookPath("sftp"); err != nil {
		return 0, exec.ErrNotFound
	}
	dir = filepath.Join(dir, "openssh")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, err
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	host, err := newSSHKey(at("host"))
	if err != nil {
		return 0, err
	}
	user, err := newSSHKey(at("user"))
	if err != nil {
		return 0, err
	}
	port, err := freePort()
	if err != nil {
		return 0, err
	}
	known := fmt.Appendf(nil, "[127.0.0.1]:%d %s", port, host)
	config := fmt.Appendf(nil, "Port %d\nListenAddress 127.0.0.1\nHostKey %s\nPidFile none\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n",
		port, at("host"), at("authorized"))
	batch := fmt.Appendf(nil, "put %s %s\n", file, at("received"))
	for name, doc := range map[string][]byte{"known": known, "authorized": user, "sshd_config": config, "batch": batch} {
		if err := os.WriteFile(at(name), doc, 0o600); err != nil {
			return 0, err
		}
	}
	if os.Geteuid() == 0 {
		// Where sshd puts the part that faces the network; the service makes it.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return 0, err
		}
	}
	var said bytes.Buffer
	server := exec.CommandContext(ctx, sshd, "-D", "-e", "-f", at("sshd_config"))
	server.Stderr = &said
	if err := server.Start(); err != nil {
		return 0, err
	}
	defer func() {
		server.Process.Kill()
		server.Wait()
	}()
	if err := answers(ctx, fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
		return 0, err
	}
	began := time.Now()
	out, err := exec.CommandContext(ctx, "sftp", "-q", "-b", at("batch"), "-F", "none", "-P", fmt.Sprint(port), "-i", at("user"),
		"-o", "UserKnownHostsFile="+at("known"), "-o", "IdentitiesOnly=yes", "127.0.0.1").CombinedOutput()
	took := time.Since(began)
	if err != nil {
		return 0, fmt.Errorf("sftp: %w: %s", err, bytes.TrimSpace(out))
	}
	a, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	b, err := os.Stat(at("received"))
	if err != nil {
		return 0, err
	}
	if a.Size() != b.Size() {
		return 0, fmt.Errorf("sshd received %d bytes, want %d", b.Size(), a.Size())
	}
	return took, nil
}

// newSSHKey writes a new private key and returns the line of its public one.
func newSSHKey(path string) ([]byte, error) {
	public, secret, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(secret, "bench")
	if err != nil {
		return nil, err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	return ssh.MarshalAuthorizedKey(key), os.WriteFile(path, pem.EncodeToMemory(block), 0o600)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// answers waits until somebody listens.
func answers(ctx context.Context, address string) error {
	var err error
	for range 100 {
		var c net.Conn
		if c, err = (&net.Dialer{}).DialContext(ctx, "tcp", address); err == nil {
			return c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("sshd does not answer: %w", err)
}
