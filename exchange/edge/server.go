package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// version is how both our sides announce themselves. The sender resumes only
// with a server that writes files from their beginning to their end.
const version = "SSH-2.0-Ankan"

// The algorithms of the SSH inside TLS: current ones, AES-GCM first because it
// is fastest.
func sshConfig() ssh.Config {
	return ssh.Config{
		KeyExchanges: []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519, ssh.KeyExchangeECDHP256},
		Ciphers:      []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305},
		MACs:         []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM},
	}
}

// partnerExtension carries the partner's name from the key that signed to the
// session. Nothing else of the handshake says who is there: a client may offer
// keys that it does not hold (CVE-2024-45337).
const partnerExtension = "partner"

// serve accepts connections until ctx is done.
func (e *Edge) serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { e.listener.Close() })
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	free := make(chan struct{}, e.limits.MaxConns)
	for {
		raw, err := e.listener.Accept()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil { // out of files or the like: it passes
			time.Sleep(poll)
			continue
		}
		select {
		case free <- struct{}{}:
		default:
			raw.Close()
			continue
		}
		if e.failures.waits(time.Now(), network(raw.RemoteAddr())) {
			raw.Close()
			<-free
			continue
		}
		all.Go(func() {
			defer func() { <-free }()
			c := &conn{Conn: raw, idle: e.limits.Idle}
			stop := context.AfterFunc(ctx, func() { c.Close() })
			defer stop()
			defer c.Close()
			e.track(c)
			defer e.untrack(c)
			e.session(ctx, c)
		})
	}
}

// session logs one connection in and serves it.
func (e *Edge) session(ctx context.Context, c *conn) {
	c.deadline(e.limits.Login)
	var peer Peer
	inner := tls.Server(c, e.serverTLS(&peer))
	if err := inner.HandshakeContext(ctx); err != nil {
		if err != io.EOF && ctx.Err() == nil { // a caller who says nothing is no attempt
			e.refusedLogin(c, "", fmt.Errorf("TLS: %w", err))
		}
		return
	}
	if e.failures.waits(time.Now(), peer.Name) {
		return
	}
	shell, channels, requests, err := ssh.NewServerConn(inner, e.serverSSH(peer))
	if err != nil {
		e.refusedLogin(c, peer.Name, err)
		return
	}
	if shell.Permissions == nil || shell.Permissions.Extensions[partnerExtension] != peer.Name {
		e.refusedLogin(c, peer.Name, errors.New("SSH login without the key of the partner"))
		return
	}
	if err := e.admit(c, peer); err != nil {
		e.recordLogin(c, peer.Name, err)
		return
	}
	e.failures.succeeded(network(c.RemoteAddr()), peer.Name)
	c.keepAlive()
	go ssh.DiscardRequests(requests)
	s := &session{edge: e, peer: peer, remote: c.RemoteAddr().String(), ours: strings.HasPrefix(string(shell.ClientVersion()), version),
		cancel: func() { c.Close() }}
	var all sync.WaitGroup
	for offered := range channels {
		if offered.ChannelType() != "session" {
			offered.Reject(ssh.Prohibited, "only sftp is served here")
			continue
		}
		channel, requests, err := offered.Accept()
		if err != nil {
			continue
		}
		all.Go(func() { s.serve(channel, requests) })
	}
	all.Wait()
}

// serve answers one SSH session: the sftp subsystem once, nothing else.
func (s *session) serve(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer func() { ssh.DiscardRequests(requests) }()
	defer channel.Close()
	var done chan struct{}
	for {
		select {
		case r, ok := <-requests:
			if !ok {
				if done != nil {
					channel.Close()
					<-done
				}
				return
			}
			var subsystem struct{ Name string }
			ok = r.Type == "subsystem" && done == nil && ssh.Unmarshal(r.Payload, &subsystem) == nil && subsystem.Name == "sftp"
			if r.WantReply {
				r.Reply(ok, nil)
			}
			if ok {
				done = make(chan struct{})
				go func() {
					defer close(done)
					s.sftp(channel)
				}()
			}
		case <-done:
			channel.SendRequest("exit-status", false, []byte{0, 0, 0, 0})
			return
		}
	}
}

func (s *session) sftp(channel io.ReadWriteCloser) {
	server := sftp.NewRequestServer(channel, s.handlers(), sftp.WithRSAllocator())
	server.Serve()
	server.Close()
}

// serverTLS takes TLS 1.3 and the pinned certificate of a partner, which it
// stores in peer.
func (e *Edge) serverTLS(peer *Peer) *tls.Config {
	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		Certificates:                []tls.Certificate{e.keys.tls},
		ClientAuth:                  tls.RequireAnyClientCert,
		SessionTicketsDisabled:      true, // every login proves the key
		DynamicRecordSizingDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			cert := state.PeerCertificates[0]
			p, ok := e.pinned(cert)
			if !ok {
				return fmt.Errorf("certificate %.60q is no partner's", cert.Subject.CommonName)
			}
			if err := inDate(cert); err != nil {
				return fmt.Errorf("partner %s: %w", p.Name, err)
			}
			*peer = p
			return nil
		},
	}
}

func inDate(cert *x509.Certificate) error {
	if now := time.Now(); now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return fmt.Errorf("certificate is good from %s to %s, now is %s; it can be renewed for the same key",
			cert.NotBefore.Format(time.DateOnly), cert.NotAfter.Format(time.DateOnly), now.UTC().Format(time.DateOnly))
	}
	return nil
}

// serverSSH takes the SSH key of the very partner whose TLS key was proved.
func (e *Edge) serverSSH(peer Peer) *ssh.ServerConfig {
	c := &ssh.ServerConfig{
		Config:        sshConfig(),
		ServerVersion: version,
		MaxAuthTries:  6,
		PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if meta.User() != peer.Name {
				return nil, fmt.Errorf("SSH user %.40q with the TLS key of %s", meta.User(), peer.Name)
			}
			if !sameKey(key, peer.SSH) {
				return nil, fmt.Errorf("SSH key %s is not that of %s", ssh.FingerprintSHA256(key), peer.Name)
			}
			return &ssh.Permissions{Extensions: map[string]string{partnerExtension: peer.Name}}, nil
		},
	}
	c.AddHostKey(e.keys.ssh)
	return c
}

// admit counts a partner's connections, and refuses one whose keys were
// replaced meanwhile.
func (e *Edge) admit(c *conn, peer Peer) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now, ok := e.peers[peer.Name]; !ok || !now.same(peer) {
		return errors.New("partner's keys were replaced")
	}
	n := 0
	for other := range e.conns {
		if other.peer.Name == peer.Name {
			n++
		}
	}
	if n >= e.limits.PerPeer {
		return fmt.Errorf("partner has %d connections, the most at a time", n)
	}
	c.peer = peer
	return nil
}

// refusedLogin records a refused login and lets its next one wait.
func (e *Edge) refusedLogin(c *conn, partner string, err error) {
	names := []string{network(c.RemoteAddr())}
	if partner != "" {
		names = append(names, partner)
	}
	e.failures.failed(time.Now(), names...)
	e.recordLogin(c, partner, err)
}

func (e *Edge) recordLogin(c *conn, partner string, err error) {
	ok, skipped := e.refusals.pass(time.Now())
	if !ok {
		return
	}
	text := err.Error()
	if skipped > 0 {
		text += fmt.Sprintf(" (and %d more that were not recorded)", skipped)
	}
	e.spool.record(Record{
		Direction: DirectionLogin, Partner: partner, Outcome: OutcomeRefused, Remote: c.RemoteAddr().String(), Text: text,
	})
}

func (e *Edge) track(c *conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conns[c] = struct{}{}
}

func (e *Edge) untrack(c *conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.conns, c)
}

// A conn is a connection that ends when nothing moves on it.
type conn struct {
	net.Conn
	idle time.Duration
	peer Peer // under Edge.mu; zero before login

	alive atomic.Bool
	moved atomic.Int64 // Unix nanoseconds of the deadline's last setting
}

// deadline ends the connection after d, whatever moves.
func (c *conn) deadline(d time.Duration) { c.SetDeadline(time.Now().Add(d)) }

// keepAlive replaces it by the idle limit.
func (c *conn) keepAlive() {
	c.alive.Store(true)
	c.deadline(c.idle)
}

// touch puts the end off. It does so eight times in an idle limit at most:
// setting a deadline costs more than a small read.
func (c *conn) touch() {
	if !c.alive.Load() {
		return
	}
	now := time.Now()
	last := c.moved.Load()
	if gone := now.UnixNano() - last; gone >= 0 && gone < int64(c.idle/8) {
		return // a clock that went back sets the deadline anew
	}
	if c.moved.CompareAndSwap(last, now.UnixNano()) {
		c.SetDeadline(now.Add(c.idle))
	}
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.touch()
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	c.touch()
	return c.Conn.Write(p)
}
