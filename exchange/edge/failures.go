package edge

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// How refused logins are answered with waiting.
const (
	failureMemory = time.Hour
	longestWait   = 15 * time.Minute
	maxFailing    = 4096
)

// failures counts refused logins by address and by partner, and says who has
// to wait.
type failures struct {
	free int // before waiting begins

	mu sync.Mutex
	by map[string]failing
}

type failing struct {
	n     int
	last  time.Time
	until time.Time
}

func newFailures(free int) *failures { return &failures{free: free, by: map[string]failing{}} }

// waits reports whether one of the names has to wait.
func (f *failures) waits(now time.Time, names ...string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range names {
		if now.Before(f.by[name].until) {
			return true
		}
	}
	return false
}

// failed notes a refused login.
func (f *failures) failed(now time.Time, names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range names {
		e := f.by[name]
		if now.Sub(e.last) > failureMemory {
			e = failing{}
		}
		e.n, e.last = e.n+1, now
		if over := e.n - f.free; over >= 0 {
			e.until = now.Add(min(longestWait, time.Second<<min(over, 20)))
		}
		f.by[name] = e
	}
	f.forget(now)
}

// succeeded forgets a name's failures.
func (f *failures) succeeded(names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range names {
		delete(f.by, name)
	}
}

// forget keeps the table small: first what is old, then whatever comes, which
// lets a stranger with many addresses free one of them, no more.
func (f *failures) forget(now time.Time) {
	if len(f.by) <= maxFailing {
		return
	}
	for name, e := range f.by {
		if now.Sub(e.last) > failureMemory {
			delete(f.by, name)
		}
	}
	for name := range f.by {
		if len(f.by) <= maxFailing*3/4 {
			return
		}
		delete(f.by, name)
	}
}

// network is the part of an address that one party can be assumed to hold: the
// IPv4 address, the IPv6 /64.
func network(a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return a.String()
	}
	ip := ap.Addr().Unmap()
	if ip.Is4() {
		return ip.String()
	}
	p, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return ip.String()
	}
	return p.String()
}

// maxRefusals is how many refused logins a minute are recorded one by one.
const maxRefusals = 60

// A throttle keeps strangers from filling the log.
type throttle struct {
	mu      sync.Mutex
	minute  time.Time
	n       int
	skipped int
}

// pass reports whether to record now, and how many were not since the last.
func (t *throttle) pass(now time.Time) (ok bool, skipped int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.minute) > time.Minute {
		t.minute, t.n = now, 0
	}
	if t.n >= maxRefusals {
		t.skipped++
		return false, 0
	}
	t.n++
	skipped, t.skipped = t.skipped, 0
	return true, skipped
}
