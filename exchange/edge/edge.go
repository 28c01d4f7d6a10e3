package edge

import (
	"context"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// A Peer is a partner as the edge knows it: a name and pinned keys.
type Peer struct {
	Name        string            // short id; its SSH user with us
	Certificate *x509.Certificate // TLS; its public key is pinned
	SSH         ssh.PublicKey     // of its SSH user and of its SSH host
	Address     string            // host:port of its edge; empty if it fetches
}

func (p Peer) check() error {
	if err := validPeer(p.Name); err != nil {
		return err
	}
	if p.Certificate == nil || p.SSH == nil {
		return fmt.Errorf("partner %s has no TLS certificate or no SSH key", p.Name)
	}
	return nil
}

func (p Peer) tlsPin() string {
	sum := pinOf(p.Certificate)
	return hex.EncodeToString(sum[:])
}

func (p Peer) sshPrint() string { return ssh.FingerprintSHA256(p.SSH) }

func (p Peer) same(q Peer) bool {
	return p.Name == q.Name && p.Address == q.Address && pinOf(p.Certificate) == pinOf(q.Certificate) && sameKey(p.SSH, q.SSH)
}

func sameKey(a, b ssh.PublicKey) bool {
	return subtle.ConstantTimeCompare(a.Marshal(), b.Marshal()) == 1
}

// Limits bound what partners, and strangers, can take. Zero fields get the
// default that stands beside them.
type Limits struct {
	MaxFile  int64         // bytes of a file; 64 GiB
	MaxSpool int64         // bytes of a partner's that wait; 256 GiB
	MaxOpen  int           // open files of a connection; 16
	MaxParts int           // files of a partner that were begun and not ended; 200
	PerPeer  int           // connections of a partner; 4
	MaxConns int           // connections in all; 256
	Login    time.Duration // to log in; 20 s
	Idle     time.Duration // without a byte; 5 min
	Records  int           // transfer records that wait for the site; 20,000
	Failures int           // refused logins before an address or partner has to wait; 5
	Keep     time.Duration // how long a file name stays used up; 400 days
	Retry    time.Duration // longest wait between two attempts to send; 5 min
	Tell     time.Duration // between two looks at how far a file is; 1 s
	Parts    time.Duration // how long a part that nobody goes on with is kept; 14 days

	// Free is what partners leave free on the spool's disk: so many percent of it,
	// or Enough bytes if that is less. 5 percent, 4 GiB.
	Free   int
	Enough int64
}

func (l Limits) withDefaults() Limits {
	or := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	orInt := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	orTime := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	or(&l.MaxFile, 64<<30)
	or(&l.MaxSpool, 256<<30)
	orInt(&l.MaxOpen, 16)
	orInt(&l.MaxParts, 200)
	orInt(&l.Free, 5)
	or(&l.Enough, 4<<30)
	orTime(&l.Parts, 14*24*time.Hour)
	orInt(&l.PerPeer, 4)
	orInt(&l.MaxConns, 256)
	orInt(&l.Records, 20_000)
	orInt(&l.Failures, 5)
	orTime(&l.Login, 20*time.Second)
	orTime(&l.Idle, 5*time.Minute)
	orTime(&l.Tell, time.Second)
	orTime(&l.Keep, 400*24*time.Hour)
	orTime(&l.Retry, 5*time.Minute)
	return l
}

// A Config says all that an Edge is and does.
type Config struct {
	Name   string // our short id with our partners: our SSH user with them
	Listen string // host:port, the only listener; empty if partners never call us
	Keys   *Keys
	Spool  *Spool
	Peers  []Peer
	Limits Limits
}

// An Edge serves partners and sends to them.
type Edge struct {
	name     string
	keys     *Keys
	spool    *Spool
	limits   Limits
	listener net.Listener
	lock     *os.File
	failures *failures
	refusals *throttle

	mu      sync.Mutex
	peers   map[string]Peer
	changed chan struct{} // closed and replaced when peers change
	conns   map[*conn]struct{}
	uploads map[string]*upload // by partner and part
	sums    map[string]partSum // of closed parts
}

// New opens the listener and takes the spool: one edge at a time. Nobody is
// served until Run.
func New(c Config) (*Edge, error) {
	if c.Keys == nil || c.Spool == nil || c.Spool.root == nil {
		return nil, errors.New("edge needs keys and a spool")
	}
	if err := validPeer(c.Name); err != nil {
		return nil, fmt.Errorf("our own name: %w", err)
	}
	e := &Edge{
		name: c.Name, keys: c.Keys, spool: c.Spool, limits: c.Limits.withDefaults(),
		changed: make(chan struct{}), conns: map[*conn]struct{}{}, uploads: map[string]*upload{}, sums: map[string]partSum{},
		refusals: &throttle{},
	}
	e.failures = newFailures(e.limits.Failures)
	if err := e.SetPeers(c.Peers); err != nil {
		return nil, err
	}
	var err error
	if e.lock, err = lockFile(filepath.Join(c.Spool.dir, "edge.lock")); err != nil {
		return nil, err
	}
	if err = e.spool.recover(e.limits.Keep); err == nil && c.Listen != "" {
		e.listener, err = net.Listen("tcp", c.Listen)
	}
	if err != nil {
		e.lock.Close()
		return nil, err
	}
	return e, nil
}

// Addr is where the edge listens, "" if it does not.
func (e *Edge) Addr() string {
	if e.listener == nil {
		return ""
	}
	return e.listener.Addr().String()
}

// SetPeers replaces the partners. Connections of those who are gone or have
// other keys now are ended.
func (e *Edge) SetPeers(peers []Peer) error {
	named := map[string]Peer{}
	pins := map[pin]string{}
	for _, p := range peers {
		if err := p.check(); err != nil {
			return err
		}
		if _, twice := named[p.Name]; twice {
			return fmt.Errorf("partner %s is there twice", p.Name)
		}
		if other, twice := pins[pinOf(p.Certificate)]; twice {
			return fmt.Errorf("partners %s and %s have the same TLS key, want one each", other, p.Name)
		}
		named[p.Name], pins[pinOf(p.Certificate)] = p, p.Name
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.peers = named
	for c := range e.conns {
		if p, ok := named[c.peer.Name]; c.peer.Name != "" && (!ok || !p.same(c.peer)) {
			c.Close()
		}
	}
	close(e.changed)
	e.changed = make(chan struct{})
	return nil
}

// Run serves and sends until ctx is done, then ends all connections and gives
// the listener and the spool back. An Edge runs once.
func (e *Edge) Run(ctx context.Context) error {
	defer e.lock.Close()
	g, ctx := errgroup.WithContext(ctx)
	if e.listener != nil {
		g.Go(func() error { return e.serve(ctx) })
	}
	g.Go(func() error { return e.send(ctx) })
	g.Go(func() error { return e.sweep(ctx) })
	err := g.Wait()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

func (e *Edge) peersNow() (map[string]Peer, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.peers, e.changed
}

// pinned finds the partner of a certificate.
func (e *Edge) pinned(c *x509.Certificate) (Peer, bool) {
	peers, _ := e.peersNow()
	for _, p := range peers {
		if pinOf(p.Certificate) == pinOf(c) {
			return p, true
		}
	}
	return Peer{}, false
}

// roomy refuses more of a partner's files while the spool's disk is short: what
// is left is for the site's own log.
func (e *Edge) roomy() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(e.spool.dir, &fs); err != nil {
		return err
	}
	total, free := int64(fs.Blocks)*fs.Frsize, int64(fs.Bavail)*fs.Frsize
	if fs.Flags&unix.ST_RDONLY != 0 {
		return fmt.Errorf("this site's disk can only be read; try later: %w", sftp.ErrSSHFxFailure)
	}
	if free < min(total/100*int64(e.limits.Free), e.limits.Enough) {
		return fmt.Errorf("this site's disk has %d MiB free; try later: %w", free>>20, sftp.ErrSSHFxFailure)
	}
	return nil
}

// sweepEvery is how often parts are looked for that nobody goes on with.
const sweepEvery = time.Hour

// sweep removes parts that nobody went on with for long, and records it.
func (e *Edge) sweep(ctx context.Context) error {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		if err := e.sweepOnce(time.Now()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

func (e *Edge) sweepOnce(now time.Time) error {
	return e.spool.each(partDir, func(dir, name string) error {
		partner := path.Base(dir)
		info, err := e.spool.root.Stat(path.Join(dir, name))
		if err != nil || now.Sub(info.ModTime()) < e.limits.Parts || e.writing(partner, name) != nil {
			return nil
		}
		if err := e.spool.remove(path.Join(dir, name)); err != nil {
			return err
		}
		return e.spool.record(Record{Direction: DirectionIn, Partner: partner, File: name, Size: info.Size(), Outcome: OutcomeRefused,
			Text: fmt.Sprintf("begun and not gone on with since %s; removed", info.ModTime().UTC().Format(time.RFC3339))})
	})
}

// ---- files being written

func uploadKey(partner, part string) string { return partner + "/" + part }

// claim makes u the only writer of its part. A writer on another connection of
// the same partner is ended: it is most likely a dead one.
func (e *Edge) claim(u *upload) error {
	for range 50 {
		e.mu.Lock()
		other := e.uploads[uploadKey(u.s.peer.Name, u.part)]
		if other == nil {
			e.uploads[uploadKey(u.s.peer.Name, u.part)] = u
		}
		e.mu.Unlock()
		if other == nil {
			return nil
		}
		if other.s == u.s {
			break
		}
		other.cancel()
		select {
		case <-other.gone:
		case <-time.After(100 * time.Millisecond):
		}
	}
	return denied("%s is being written", u.part)
}

// drop ends u's claim.
func (e *Edge) drop(u *upload) {
	e.mu.Lock()
	delete(e.uploads, uploadKey(u.s.peer.Name, u.part))
	e.mu.Unlock()
	close(u.gone)
}

func (e *Edge) writing(partner, part string) *upload {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.uploads[uploadKey(partner, part)]
}

// keepSum remembers the hash of a part that was closed; u is locked.
func (e *Edge) keepSum(u *upload) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sums[uploadKey(u.s.peer.Name, u.part)] = partSum{u.began, u.from, u.next, u.hash}
}

func (e *Edge) dropSum(u *upload) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.sums, uploadKey(u.s.peer.Name, u.part))
}

func (e *Edge) sumOf(partner, part string) (partSum, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	sum, ok := e.sums[uploadKey(partner, part)]
	return sum, ok
}

// lockFile takes a lock that ends with the process, whatever becomes of it.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("spool is in use by another edge (%s); stop that one first", path)
	}
	return f, nil
}
