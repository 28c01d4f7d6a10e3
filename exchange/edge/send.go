package edge

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"ankan/durable"
)

// sameTrouble is how long the same failure is recorded only once.
const sameTrouble = time.Hour

// firstRetry is the wait after a first failure; it doubles.
const firstRetry = 500 * time.Millisecond

// send runs a sender for each partner with an address, until ctx is done.
func (e *Edge) send(ctx context.Context) error {
	for ctx.Err() == nil {
		peers, changed := e.peersNow()
		now, cancel := context.WithCancel(ctx)
		var all sync.WaitGroup
		for _, p := range peers {
			if p.Address != "" {
				all.Go(func() { (&sender{edge: e, peer: p}).run(now) })
			}
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
		cancel()
		all.Wait()
	}
	return ctx.Err()
}

// A sender brings one partner its files, one after the other in the order of
// their names, and never gives up.
type sender struct {
	edge *Edge
	peer Peer

	trouble string // the last failure recorded
	when    time.Time
}

func (s *sender) run(ctx context.Context) {
	retry := firstRetry
	for ctx.Err() == nil {
		bell := s.edge.spool.ring()
		files, err := s.files()
		if err == nil && len(files) == 0 {
			if wait(ctx, bell, poll) != nil {
				return
			}
			continue
		}
		if err == nil {
			err = s.deliver(ctx, files)
		}
		if err == nil {
			retry = firstRetry
			continue
		}
		if ctx.Err() != nil {
			return
		}
		s.troubled(err)
		if wait(ctx, nil, retry) != nil {
			return
		}
		retry = min(2*retry, s.edge.limits.Retry)
	}
}

// files lists what waits for the partner.
func (s *sender) files() (files []Meta, err error) {
	err = s.edge.spool.eachMetaOf(path.Join(outDir, s.peer.Name), func(_, _ string, m Meta) { files = append(files, m) })
	if err == nil && len(files) > 0 {
		err = s.edge.spool.full(s.edge.limits.Records)
	}
	return files, err
}

// A sendError says which file a failure was about.
type sendError struct {
	file Meta
	err  error
}

func (e *sendError) Error() string { return e.err.Error() }

// troubled records a failure, once while it stays the same.
func (s *sender) troubled(err error) {
	if err.Error() == s.trouble && time.Since(s.when) < sameTrouble {
		return
	}
	s.trouble, s.when = err.Error(), time.Now()
	r := Record{
		Direction: DirectionOut, Partner: s.peer.Name, Outcome: OutcomeBroken, Remote: s.peer.Address,
		Text: err.Error() + "; trying again",
	}
	var at *sendError
	if errors.As(err, &at) {
		r.File, r.Size, r.SHA256 = at.file.Name, at.file.Size, at.file.SHA256
	}
	s.edge.spool.record(r)
}

// deliver sends files over one connection.
func (s *sender) deliver(ctx context.Context, files []Meta) error {
	var client *client
	err := s.edge.spool.Steps.Do(durable.Use+"sftp.dial", func() (err error) {
		client, err = s.dial(ctx)
		return err
	})
	if err != nil {
		return err
	}
	defer client.Close()
	for _, m := range files {
		if err := client.put(m); err != nil {
			return &sendError{m, fmt.Errorf("sending %s to %s: %w", m.Name, s.peer.Address, err)}
		}
	}
	return nil
}

// A client is a connection to a partner's edge.
type client struct {
	*sftp.Client
	s      *sender
	ssh    *ssh.Client
	stop   func() bool
	resume bool
	remote string
}

// Close ends the connection.
func (c *client) Close() {
	c.Client.Close()
	c.ssh.Close()
	c.stop()
}

// dial connects and checks both of the partner's keys.
func (s *sender) dial(ctx context.Context) (*client, error) {
	login, cancel := context.WithTimeout(ctx, s.edge.limits.Login)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(login, "tcp", s.peer.Address)
	if err != nil {
		return nil, fmt.Errorf("calling %s: %w", s.peer.Name, err)
	}
	c := &conn{Conn: raw, idle: s.edge.limits.Idle}
	c.deadline(s.edge.limits.Login)
	stop := context.AfterFunc(ctx, func() { c.Close() })
	fail := func(err error) (*client, error) {
		stop()
		c.Close()
		return nil, fmt.Errorf("calling %s at %s: %w", s.peer.Name, s.peer.Address, err)
	}
	inner := tls.Client(c, s.tls())
	if err := inner.HandshakeContext(login); err != nil {
		return fail(err)
	}
	config := &ssh.ClientConfig{
		Config:            sshConfig(),
		User:              s.edge.name,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(s.edge.keys.ssh)},
		HostKeyCallback:   ssh.FixedHostKey(s.peer.SSH),
		HostKeyAlgorithms: []string{s.peer.SSH.Type()},
		ClientVersion:     version,
	}
	shell, channels, requests, err := ssh.NewClientConn(inner, s.peer.Address, config)
	if err != nil {
		return fail(err)
	}
	c.keepAlive()
	over := ssh.NewClient(shell, channels, requests)
	files, err := sftp.NewClient(over, sftp.UseConcurrentWrites(true))
	if err != nil {
		over.Close()
		return fail(err)
	}
	return &client{
		Client: files, s: s, ssh: over, stop: stop, remote: c.RemoteAddr().String(),
		resume: strings.HasPrefix(string(shell.ServerVersion()), version),
	}, nil
}

// tls proves our key and takes the partner's pinned one.
func (s *sender) tls() *tls.Config {
	host, _, err := net.SplitHostPort(s.peer.Address)
	if err != nil {
		host = s.peer.Name
	}
	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		ServerName:                  host,
		Certificates:                []tls.Certificate{s.edge.keys.tls},
		DynamicRecordSizingDisabled: true,
		InsecureSkipVerify:          true, // instead of an authority's word, the pinned key:
		VerifyConnection: func(state tls.ConnectionState) error {
			cert := state.PeerCertificates[0]
			if pinOf(cert) != pinOf(s.peer.Certificate) {
				return fmt.Errorf("certificate %.60q is not that of %s", cert.Subject.CommonName, s.peer.Name)
			}
			return inDate(cert)
		},
	}
}

// put sends one file: as a part, which is renamed when it is whole. Each step
// may have been done by an attempt before.
func (c *client) put(m Meta) error {
	whole := path.Join("/", inbox, m.Name)
	if info, err := c.Stat(whole); err == nil && info.Mode().Perm() == wholeMode {
		if info.Size() != m.Size {
			return fmt.Errorf("partner has another %s of %d bytes, ours has %d; withdraw it and send it under a new name", m.Name, info.Size(), m.Size)
		}
		return c.sent(m, Record{Text: "was there from an attempt before"})
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	steps := c.s.edge.spool.Steps
	began, from := time.Now(), int64(0)
	err := steps.Do("sftp.upload", func() (err error) {
		from, err = c.upload(m, whole+partial)
		return err
	})
	if err != nil {
		return err
	}
	info, err := c.Stat(whole + partial)
	if err != nil {
		return err
	}
	if info.Size() != m.Size {
		return fmt.Errorf("partner has %d of %d bytes", info.Size(), m.Size)
	}
	if err := steps.Do("sftp.rename", func() error { return c.Rename(whole+partial, whole) }); err != nil {
		return err
	}
	return c.sent(m, Record{From: from, Took: since(began)})
}

// upload writes the part, from where it was left if what is there is ours. It
// returns from where.
func (c *client) upload(m Meta, part string) (from int64, err error) {
	local, err := c.s.edge.spool.root.Open(path.Join(outDir, m.Partner, m.Name+dataExt))
	if err != nil {
		return 0, err
	}
	defer local.Close()
	if c.resume {
		if from, err = c.left(local, m, part); err != nil {
			return 0, err
		}
	}
	flags := os.O_WRONLY | os.O_CREATE
	if from == 0 {
		flags |= os.O_TRUNC
	}
	remote, err := c.OpenFile(part, flags)
	if err != nil {
		return from, err
	}
	if from == m.Size && from > 0 {
		return from, remote.Close()
	}
	_, err = local.Seek(from, io.SeekStart)
	if err == nil {
		_, err = remote.Seek(from, io.SeekStart)
	}
	if err == nil {
		tell := c.s.edge.pass(Passage{Direction: DirectionOut, Partner: m.Partner, File: m.Name, Size: m.Size, From: from, Remote: c.remote})
		defer tell.end()
		_, err = remote.ReadFrom(&passed{Reader: local, size: m.Size - from, done: from, tell: tell})
	}
	return from, errors.Join(err, remote.Close())
}

// left is how many bytes of a file are with the partner. They are counted only
// if they are this file's, by the hash that the partner gives of them: in doubt
// the file is sent from its beginning.
func (c *client) left(local io.Reader, m Meta, part string) (int64, error) {
	info, err := c.Stat(part)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n := info.Size()
	st, ok := info.Sys().(*sftp.FileStat)
	if !ok || n <= 0 || n > m.Size {
		return 0, nil
	}
	for _, x := range st.Extended {
		if x.ExtType != sumAttribute {
			continue
		}
		hash := sha256.New()
		if _, err := io.CopyN(hash, local, n); err != nil {
			return 0, err
		}
		if x.ExtData == hex.EncodeToString(hash.Sum(nil)) {
			return n, nil
		}
	}
	return 0, nil
}

// sent notes the delivery and removes the file.
func (c *client) sent(m Meta, r Record) error {
	r.Direction, r.Partner, r.File, r.Size, r.SHA256 = DirectionOut, m.Partner, m.Name, m.Size, m.SHA256
	r.Outcome, r.Remote = OutcomeSent, c.remote
	m.Ended, m.Remote, m.Text = time.Now().UTC(), c.remote, OutcomeSent
	m.TLS, m.SSH = c.s.peer.tlsPin(), c.s.peer.sshPrint()
	if err := c.s.edge.spool.delivered(m, false); err != nil {
		return err
	}
	// The record first: what is removed is not sent again, and not recorded.
	if err := c.s.edge.spool.record(r); err != nil {
		return err
	}
	return c.s.edge.spool.removeOut(m.Partner, m.Name)
}
