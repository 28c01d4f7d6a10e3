package site

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ankan/audit"
	"ankan/notice"
	"ankan/store"
)

// Disk says when a disk is short. Zero fields get the default that stands beside
// them.
type Disk struct {
	Warn    int `yaml:"warn"`        // percent free, below which people are told; 20
	Stop    int `yaml:"stop"`        // percent free, below which no new work begins; 5
	Enough  int `yaml:"enough_mib"`  // MiB free that are enough, however few percent they are; 4096
	Reserve int `yaml:"reserve_mib"` // MiB kept back for the log of a full disk; 64
}

func (d Disk) withDefaults() Disk {
	for _, f := range []struct {
		v *int
		d int
	}{{&d.Warn, 20}, {&d.Stop, 5}, {&d.Enough, 4096}, {&d.Reserve, 64}} {
		if *f.v == 0 {
			*f.v = f.d
		}
	}
	return d
}

func (d Disk) check() error {
	d = d.withDefaults()
	if d.Stop < 1 || d.Warn <= d.Stop || d.Warn > 90 {
		return fmt.Errorf("disk: warn is %d and stop %d percent free, want 1 <= stop < warn <= 90", d.Warn, d.Stop)
	}
	if d.Enough < 1 || d.Reserve < 1 || d.Reserve > 4096 {
		return fmt.Errorf("disk: enough_mib is %d, want 1 or more; reserve_mib is %d, want 1 to 4096", d.Enough, d.Reserve)
	}
	return nil
}

// A volume is how a file system is.
type volume struct {
	id       uint64 // of the device
	total    int64  // bytes
	free     int64  // bytes, for this process
	files    int64  // that it can have; 0 if it does not count them
	left     int64  // that can still be made
	readOnly bool
}

// statVolume asks the system.
func statVolume(path string) (volume, error) {
	var st unix.Stat_t
	var fs unix.Statfs_t
	if err := errors.Join(unix.Stat(path, &st), unix.Statfs(path, &fs)); err != nil {
		return volume{}, fmt.Errorf("%s: %w", path, err)
	}
	return volume{
		id: st.Dev, total: int64(fs.Blocks) * fs.Frsize, free: int64(fs.Bavail) * fs.Frsize, files: int64(fs.Files), left: int64(fs.Ffree),
		readOnly: fs.Flags&unix.ST_RDONLY != 0,
	}, nil
}

// A level is how short a disk is, the worst last.
type level int

const (
	ample level = iota
	low
	full
	readOnly
)

// kinds are the conditions of the levels.
var kinds = map[level]string{low: DiskLow, full: DiskFull, readOnly: DiskReadOnly}

// level is how short a volume is. A level that was reached ends only when there
// is a little more room than began it, so that it does not come and go.
func (v volume) level(d Disk, was level) level {
	short := func(percent int, l level) bool {
		if was >= l {
			percent++
		}
		return v.free < v.total/100*int64(percent) && v.free < int64(d.Enough)<<20 || v.files > 0 && v.left < v.files/100*int64(percent)
	}
	switch {
	case v.readOnly:
		return readOnly
	case short(d.Stop, full):
		return full
	case short(d.Warn, low):
		return low
	}
	return ample
}

// disks watches the file systems that a site writes to.
type disks struct {
	rule    Disk
	reserve string   // file that is given up when the disk is full, so that the log can say so
	paths   []string // folders that may be file systems of their own
	ask     func(path string) (volume, error)

	mu    sync.Mutex
	given time.Time     // when the reserve was given up
	next  time.Duration // by the site's clock: when it looks again
	now   []diskState
}

// diskState is one file system.
type diskState struct {
	path  string // the first of its folders
	id    uint64
	level level
	told  level // what the log knows
	since time.Time
	free  int64 // bytes
	total int64
}

func newDisks(c *Config) *disks {
	d := &disks{rule: c.Disk.withDefaults(), reserve: c.Path("reserve"), ask: statVolume}
	for _, p := range []string{filepath.Dir(c.Database()), c.SpoolDir(), c.Path("held"), filepath.Dir(c.Token.File)} {
		if p != "." {
			d.paths = append(d.paths, p)
		}
	}
	return d
}

// look asks every file system how it is.
func (d *disks) look(now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := map[uint64]bool{}
	for _, path := range d.paths {
		v, err := d.ask(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // held, before the first response
		}
		if err != nil {
			return err
		}
		if seen[v.id] {
			continue
		}
		seen[v.id] = true
		at := d.state(v.id, path)
		if to := v.level(d.rule, at.level); to != at.level {
			at.level, at.since = to, now
		}
		at.free, at.total = v.free, v.total
	}
	return nil
}

func (d *disks) state(id uint64, path string) *diskState {
	for i := range d.now {
		if d.now[i].id == id {
			return &d.now[i]
		}
	}
	d.now = append(d.now, diskState{id: id, path: path})
	return &d.now[len(d.now)-1]
}

// states is how the file systems are.
func (d *disks) states() []diskState {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]diskState(nil), d.now...)
}

func (d *disks) conditions() (all []Condition) {
	for _, s := range d.states() {
		if s.level == ample {
			continue
		}
		c := Condition{Kind: kinds[s.level], Since: s.since, Stops: s.level >= full}
		room := fmt.Sprintf("The disk of %s has %s of %s free", s.path, mib(s.free), mib(s.total))
		switch s.level {
		case low:
			c.Text, c.Next = room+".", fmt.Sprintf("Make room before it comes to %d percent: then no new work begins.", d.rule.Stop)
		case full:
			c.Text, c.Next = room+": no new work begins, what runs goes to its end.", "Free space or grow the volume; the site goes on by itself."
		case readOnly:
			c.Text, c.Next = fmt.Sprintf("The disk of %s can only be read: no new work begins.", s.path), "Look at the disk and mount it for writing; the site goes on by itself, or is restarted."
		}
		all = append(all, c)
	}
	return all
}

func mib(n int64) string {
	if n >= 10<<30 {
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// keepReserve has the reserve there while there is room for it. It is real
// blocks, not a hole, and at most a twentieth of the disk.
func (d *disks) keepReserve() error {
	v, err := d.ask(filepath.Dir(d.reserve))
	if err != nil {
		return err
	}
	size := min(int64(d.rule.Reserve)<<20, v.total/20)
	if info, err := os.Stat(d.reserve); err == nil && info.Size() >= size {
		return nil
	}
	if v.level(d.rule, full) >= full || v.free < 2*size {
		return nil
	}
	f, err := os.OpenFile(d.reserve, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = fill(f, size)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(d.reserve))
	}
	return nil
}

// fill writes zeros, where a file system cannot be asked for blocks.
func fill(f *os.File, size int64) error {
	zero := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zero)) {
		if _, err := f.WriteAt(zero[:min(size-at, int64(len(zero)))], at); err != nil {
			return err
		}
	}
	return nil
}

// giveReserve gives the reserve up. It reports whether there was any. It is for
// what runs: from here on the disk counts as full, so that nothing new takes it.
func (d *disks) giveReserve(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if os.Remove(d.reserve) != nil {
		return false
	}
	d.given = time.Now()
	if v, err := d.ask(filepath.Dir(d.reserve)); err == nil {
		if at := d.state(v.id, filepath.Dir(d.reserve)); at.level < full {
			at.level, at.since, at.free, at.total = full, now, v.free, v.total
		}
	}
	return true
}

// MakeRoom gives the reserve up for something that has begun and must be written
// down, though the disk is full. It reports whether there is room because of it.
func (s *Site) MakeRoom() bool {
	if s.disks.giveReserve(s.store.Now()) {
		s.log.Error("the disk is full; its reserve was given up")
		return true
	}
	s.disks.mu.Lock()
	defer s.disks.mu.Unlock()
	return time.Since(s.disks.given) < reserveLasts
}

// reserveLasts is how long others may count on a reserve that was given up.
const reserveLasts = 10 * time.Second

// diskEvery is how often the disks are looked at.
const diskEvery = time.Second

// watchDisks looks at the disks, writes down what changed, and tells people.
func (s *Site) watchDisks(ctx context.Context) error {
	d := s.disks
	d.mu.Lock()
	due := s.clock.Elapsed() >= d.next
	if due {
		d.next = s.clock.Elapsed() + diskEvery
	}
	d.mu.Unlock()
	if !due {
		return nil
	}
	if err := d.look(s.store.Now()); err != nil {
		return err
	}
	stopped := false
	for _, st := range d.states() {
		stopped = stopped || st.level >= full
		if st.level == st.told {
			continue
		}
		err := s.tellDisk(ctx, st)
		if err != nil && d.giveReserve(s.store.Now()) { // so that the log can say why
			s.log.Error("the disk is full; its reserve was given up", "path", st.path, "err", err)
			err = s.tellDisk(ctx, st)
		}
		if err != nil {
			return err
		}
		d.mu.Lock()
		d.state(st.id, st.path).told = st.level
		d.mu.Unlock()
		if st.level < full && st.told >= full {
			s.hurry()
		}
	}
	if stopped {
		// What runs must be able to end.
		if v, err := d.ask(filepath.Dir(d.reserve)); err == nil && v.free < int64(d.rule.Reserve)<<20 && d.giveReserve(s.store.Now()) {
			s.log.Warn("the disk is nearly full; its reserve was given up", "free", v.free)
		}
		return nil
	}
	return d.keepReserve()
}

// tellDisk writes down that a disk is at another level.
func (s *Site) tellDisk(ctx context.Context, st diskState) error {
	kind := "disk.recovered"
	if st.level != ample {
		kind = kinds[st.level]
	}
	s.log.Warn(kind, "path", st.path, "free", st.free, "total", st.total)
	e := audit.Entry{Kind: kind, Actor: "system:disk", Subject: "site/" + s.config.Site,
		Data: map[string]any{"path": st.path, "free": st.free, "total": st.total, "stops": st.level >= full}}
	return s.store.Change(ctx, e, func(tx *store.Tx) error {
		text := fmt.Sprintf("Site %s: the disk of %s has room again: %s of %s are free.", s.config.Site, st.path, mib(st.free), mib(st.total))
		for _, c := range s.disks.conditions() {
			if c.Kind == kind {
				text = fmt.Sprintf("Site %s: %s %s", s.config.Site, c.Text, c.Next)
			}
		}
		return tellKeepers(ctx, tx, notice.Notice{Kind: kind, Subject: e.Subject, Link: "/log", Text: text})
	})
}
