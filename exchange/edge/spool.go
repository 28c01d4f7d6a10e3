package edge

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ankan/durable"
)

// The folders of a spool, each with a folder per partner except logDir.
//
//	part/p/name.part            arriving
//	in/p/seq-name.data .json    arrived; the .json is written last
//	got/p/name.json             taken by the site: the name is used up
//	quarantine/p/seq-name...    refused by the site
//	out/p/name.data .json       to be sent or fetched; the .json is written last
//	sent/p/name.json            delivered or withdrawn: the name is used up
//	log/seq.json                what happened, until the site has logged it
//	way/p/direction-name.json   how far a file is that is on its way now
const (
	partDir       = "part"
	inDir         = "in"
	gotDir        = "got"
	quarantineDir = "quarantine"
	outDir        = "out"
	sentDir       = "sent"
	logDir        = "log"
	wayDir        = "way"

	dataExt = ".data"
	metaExt = ".json"
	tempPre = ".tmp-"
)

// poll is how often a spool is looked at when nobody rings.
const poll = 100 * time.Millisecond

// tempLife is how long a temporary file may be somebody's work.
const tempLife = 24 * time.Hour

// ErrUsed is the error for a file name that was used before. Names are used
// once, so that a delivery and its record cannot be mistaken for another.
var ErrUsed = errors.New("the name was used before; give the file a new one")

// A Spool is the folder in which edge and site meet. Both sides may have it
// open, in one process or in two. The zero Spool refuses.
type Spool struct {
	dir  string
	root *os.Root

	// Steps is what its files' steps go through; nil: nothing. It is set before
	// the spool is used.
	Steps durable.Steps

	mu   sync.Mutex
	last int64
	bell chan struct{} // closed and replaced when something changes
}

// Meta describes a file in the spool.
type Meta struct {
	Partner string    `json:"partner"`
	Name    string    `json:"name"`
	Size    int64     `json:"size"`   // bytes
	SHA256  string    `json:"sha256"` // of the file, hexadecimal
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`
	Remote  string    `json:"remote,omitempty"` // address of the other side
	TLS     string    `json:"tls,omitempty"`    // SHA-256 of its TLS public key, hexadecimal
	SSH     string    `json:"ssh,omitempty"`    // fingerprint of its SSH key
	Text    string    `json:"text,omitempty"`   // how it was delivered, or why it was quarantined
}

// A File is a whole file that a partner sent.
type File struct {
	Meta
	Path string // of the content; read it, do not move it
	base string // seq-name
}

// The directions of a record.
const (
	DirectionIn    = "in"    // from a partner
	DirectionOut   = "out"   // to a partner
	DirectionLogin = "login" // a connection that was refused
)

// The outcomes of a record.
const (
	OutcomeReceived = "received"
	OutcomeSent     = "sent"    // we brought it
	OutcomeFetched  = "fetched" // the partner took it
	OutcomeRemoved  = "removed" // the partner removed it after fetching
	OutcomeBroken   = "broken"  // not finished; may be resumed
	OutcomeRefused  = "refused"
)

// A Record tells of one transfer, finished or not, or of one refused login.
type Record struct {
	Seq       int64     `json:"seq"`
	Time      time.Time `json:"time"`
	Direction string    `json:"direction"`
	Partner   string    `json:"partner,omitempty"`
	File      string    `json:"file,omitempty"`
	Size      int64     `json:"size,omitempty"`
	SHA256    string    `json:"sha256,omitempty"`
	Outcome   string    `json:"outcome"`
	Remote    string    `json:"remote,omitempty"`
	Text      string    `json:"text,omitempty"`
	From      int64     `json:"from,omitempty"`    // bytes that were there from before
	Took      int64     `json:"took_ms,omitempty"` // milliseconds
}

// since is how long something took, in milliseconds, at least one.
func since(began time.Time) int64 { return max(1, time.Since(began).Milliseconds()) }

// OpenSpool opens the spool in the folder dir, making it if there is none.
func OpenSpool(dir string) (*Spool, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{partDir, inDir, gotDir, quarantineDir, outDir, sentDir, logDir, wayDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Spool{dir: dir, root: root, bell: make(chan struct{})}, nil
}

// Close gives the folder back; the Spool must not be used any more.
func (s *Spool) Close() error { return s.root.Close() }

// ---- the site's side: what came in

// Waiting lists the whole files that partners sent and the site has not dealt
// with, oldest first.
func (s *Spool) Waiting() ([]*File, error) {
	if s == nil || s.root == nil {
		return nil, errors.New("spool is not open")
	}
	var files []*File
	err := s.eachMeta(inDir, func(dir, base string, m Meta) {
		files = append(files, &File{Meta: m, base: base, Path: filepath.Join(s.dir, filepath.FromSlash(dir), base+dataExt)})
	})
	slices.SortFunc(files, func(a, b *File) int { return strings.Compare(a.base, b.base) })
	return files, err
}

// Incoming waits for the oldest whole file that the site has not dealt with.
// It returns the same file until Done or Quarantine.
func (s *Spool) Incoming(ctx context.Context) (*File, error) {
	for {
		bell := s.ring()
		files, err := s.Waiting()
		if err != nil {
			return nil, err
		}
		if len(files) > 0 {
			return files[0], nil
		}
		if err := wait(ctx, bell, poll); err != nil {
			return nil, err
		}
	}
}

// Done removes a file that the site has taken over. It may be repeated.
func (s *Spool) Done(f *File) error {
	return s.take(f, f.Meta, func(from string) error { return s.remove(from) })
}

// Quarantine puts a file aside, with the reason, where only people look. It
// may be repeated.
func (s *Spool) Quarantine(f *File, reason string) error {
	m := f.Meta
	m.Text = reason
	dir := path.Join(quarantineDir, f.Partner)
	if err := s.writeMeta(dir, f.base, m); err != nil {
		return err
	}
	return s.take(f, m, func(from string) error {
		err := s.rename(from, path.Join(dir, f.base+dataExt))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// take notes first that the name is used up, then that the file no longer
// waits; last goes the content. A crash between leaves content that recover
// clears away.
func (s *Spool) take(f *File, m Meta, content func(from string) error) error {
	if err := s.writeMeta(path.Join(gotDir, f.Partner), f.Name, m); err != nil {
		return err
	}
	dir := path.Join(inDir, f.Partner)
	if err := s.remove(path.Join(dir, f.base+metaExt)); err != nil {
		return err
	}
	return content(path.Join(dir, f.base+dataExt))
}

// ---- the site's side: what goes out

// Put makes a file for a partner out of what write writes. The file is to be
// had only when Put returns without error, and then it is durable. ErrUsed if
// the name was used before.
func (s *Spool) Put(partner, name string, write func(io.Writer) error) (sum [sha256.Size]byte, size int64, err error) {
	if s == nil || s.root == nil {
		return sum, 0, errors.New("spool is not open")
	}
	if err := errors.Join(validPeer(partner), validName(name)); err != nil {
		return sum, 0, err
	}
	dir := path.Join(outDir, partner)
	for _, used := range []string{path.Join(dir, name+metaExt), path.Join(sentDir, partner, name+metaExt)} {
		if _, err := s.root.Stat(used); err == nil {
			return sum, 0, fmt.Errorf("file %s for %s: %w", name, partner, ErrUsed)
		}
	}
	m := Meta{Partner: partner, Name: name, Began: time.Now().UTC()}
	hash := sha256.New()
	err = s.writeFile(dir, name+dataExt, func(w io.Writer) error {
		c := &counter{w: io.MultiWriter(w, hash)}
		err := write(c)
		m.Size = c.n
		return err
	})
	if err != nil {
		return sum, 0, fmt.Errorf("file %s for %s: %w", name, partner, err)
	}
	hash.Sum(sum[:0])
	m.SHA256, m.Ended = hex.EncodeToString(sum[:]), time.Now().UTC()
	if err := s.writeMeta(dir, name, m); err != nil {
		return sum, 0, fmt.Errorf("file %s for %s: %w", name, partner, err)
	}
	s.wake()
	return sum, m.Size, nil
}

// Outgoing lists what waits to be sent or fetched, or was fetched and not
// removed, by partner and name.
func (s *Spool) Outgoing() ([]Meta, error) {
	var all []Meta
	err := s.eachMeta(outDir, func(_, _ string, m Meta) { all = append(all, m) })
	return all, err
}

// Withdraw removes a file that was put for a partner. Its name stays used up.
// It may be repeated.
func (s *Spool) Withdraw(partner, name string) error {
	if err := errors.Join(validPeer(partner), validName(name)); err != nil {
		return err
	}
	m, err := s.readMeta(path.Join(outDir, partner), name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := s.readMeta(path.Join(sentDir, partner), name); err == nil {
		return s.removeOut(partner, name)
	}
	m.Text = "withdrawn"
	return s.delivered(m, true)
}

// Sent tells how a file for a partner was delivered; fs.ErrNotExist if it was
// not.
func (s *Spool) Sent(partner, name string) (Meta, error) {
	if err := errors.Join(validPeer(partner), validName(name)); err != nil {
		return Meta{}, err
	}
	return s.readMeta(path.Join(sentDir, partner), name)
}

// ---- the site's side: what happened

// Records lists what happened and was not forgotten yet, oldest first.
func (s *Spool) Records() ([]Record, error) {
	entries, err := s.list(logDir)
	if err != nil {
		return nil, err
	}
	var records []Record
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), metaExt) || strings.HasPrefix(e.Name(), tempPre) {
			continue
		}
		var r Record
		if err := s.readJSON(path.Join(logDir, e.Name()), &r); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return nil, err
		}
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b Record) int { return int(a.Seq - b.Seq) })
	return records, nil
}

// Forget removes a record that the site has put into its audit log. It may be
// repeated.
func (s *Spool) Forget(r Record) error {
	return s.remove(path.Join(logDir, seqName(r.Seq)+metaExt))
}

// ---- the edge's side

// record writes down what happened, durably.
func (s *Spool) record(r Record) error {
	r.Seq, r.Time = s.next(), time.Now().UTC()
	doc, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return s.writeFile(logDir, seqName(r.Seq)+metaExt, func(w io.Writer) error {
		_, err := w.Write(doc)
		return err
	})
}

// full reports that max records wait for the site: the edge stops working,
// because what cannot be logged must not happen.
func (s *Spool) full(max int) error {
	entries, err := s.list(logDir)
	if err != nil {
		return err
	}
	if len(entries) >= max {
		return fmt.Errorf("%d transfer records wait for the site, want less than %d; start the site", len(entries), max)
	}
	return nil
}

// known finds a whole file of a partner by name: waiting, or taken already.
func (s *Spool) known(partner, name string) (Meta, error) {
	m, err := s.readMeta(path.Join(gotDir, partner), name)
	if !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	dir := path.Join(inDir, partner)
	entries, err := s.list(dir)
	if err != nil {
		return Meta{}, err
	}
	for _, e := range entries {
		base := strings.TrimSuffix(e.Name(), metaExt)
		if _, n, _ := strings.Cut(base, "-"); n == name && base != e.Name() {
			return s.readMeta(dir, base)
		}
	}
	// The site may have taken it between the two looks.
	return s.readMeta(path.Join(gotDir, partner), name)
}

// received lists a partner's whole files, waiting or taken.
func (s *Spool) received(partner string) ([]Meta, error) {
	all := map[string]Meta{}
	for _, dir := range []string{inDir, gotDir} {
		if err := s.eachMetaOf(path.Join(dir, partner), func(_, _ string, m Meta) { all[m.Name] = m }); err != nil {
			return nil, err
		}
	}
	var list []Meta
	for _, m := range all {
		list = append(list, m)
	}
	return list, nil
}

// handIn turns a part into a whole file. The content moves first; until its
// meta is written the file is not there, and recover moves it back.
func (s *Spool) handIn(part string, m Meta) error {
	dir := path.Join(inDir, m.Partner)
	base := seqName(s.next()) + "-" + m.Name
	if err := s.mkdir(dir); err != nil {
		return err
	}
	if err := s.rename(path.Join(partDir, m.Partner, part), path.Join(dir, base+dataExt)); err != nil {
		return err
	}
	if err := s.writeMeta(dir, base, m); err != nil {
		// Not handed in: give the client something to resume. The meta may be there
		// all the same, if the disk failed after it; it goes first, or a file would
		// be known that has no content.
		return errors.Join(err, s.remove(path.Join(dir, base+metaExt)), s.rename(path.Join(dir, base+dataExt), path.Join(partDir, m.Partner, part)))
	}
	s.wake()
	return nil
}

// delivered notes that a file has left, and removes it if the partner needs it
// no more.
func (s *Spool) delivered(m Meta, remove bool) error {
	if err := s.writeMeta(path.Join(sentDir, m.Partner), m.Name, m); err != nil {
		return err
	}
	s.wake()
	if !remove {
		return nil
	}
	return s.removeOut(m.Partner, m.Name)
}

func (s *Spool) removeOut(partner, name string) error {
	dir := path.Join(outDir, partner)
	return errors.Join(s.remove(path.Join(dir, name+metaExt)), s.remove(path.Join(dir, name+dataExt)))
}

// used is how many bytes of a partner lie in the spool.
func (s *Spool) used(partner string) (int64, error) {
	var n int64
	for _, dir := range []string{partDir, inDir} {
		entries, err := s.list(path.Join(dir, partner))
		if err != nil {
			return 0, err
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil {
				n += info.Size()
			}
		}
	}
	return n, nil
}

// recover puts right what a crash left behind, and forgets names that were used
// so long before the last that was: by the names' own times, since a clock that
// is wrong must not bring a name back.
func (s *Spool) recover(keep time.Duration) error {
	for _, top := range []string{partDir, inDir, gotDir, quarantineDir, outDir, sentDir} {
		err := s.each(top, func(dir, name string) error {
			// The other side may be writing one now.
			info, err := s.root.Stat(path.Join(dir, name))
			if strings.HasPrefix(name, tempPre) && err == nil && time.Since(info.ModTime()) > tempLife {
				return s.remove(path.Join(dir, name))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := errors.Join(s.number(), s.forgetPassages()); err != nil {
		return err
	}
	err := s.each(inDir, func(dir, file string) error {
		base, ok := strings.CutSuffix(file, dataExt)
		if !ok {
			return nil
		}
		if _, err := s.root.Stat(path.Join(dir, base+metaExt)); err == nil {
			return nil
		}
		partner := path.Base(dir)
		_, name, _ := strings.Cut(base, "-")
		if _, err := s.readMeta(path.Join(gotDir, partner), name); err == nil {
			return s.remove(path.Join(dir, file)) // Done was interrupted
		}
		return s.rename(path.Join(dir, file), path.Join(partDir, partner, name+partial)) // handIn was
	})
	if err != nil {
		return err
	}
	last := time.Time{}
	for _, top := range []string{gotDir, sentDir} {
		err := s.eachMeta(top, func(_, _ string, m Meta) {
			if m.Ended.After(last) {
				last = m.Ended
			}
		})
		if err != nil {
			return err
		}
	}
	if now := time.Now(); last.After(now) {
		last = now
	}
	before := last.Add(-keep)
	for _, top := range []string{gotDir, sentDir} {
		err := s.eachMeta(top, func(dir, base string, m Meta) {
			if m.Ended.Before(before) {
				s.remove(path.Join(dir, base+metaExt))
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// number goes on from the numbers that files and records have, whatever the clock
// says now.
func (s *Spool) number() error {
	var last int64
	look := func(_, name string) error {
		digits, _, _ := strings.Cut(strings.TrimSuffix(name, metaExt), "-")
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil && len(digits) == len(seqName(0)) {
			last = max(last, n)
		}
		return nil
	}
	records, err := s.list(logDir)
	if err != nil {
		return err
	}
	for _, e := range records {
		look(logDir, e.Name())
	}
	if err := errors.Join(s.each(inDir, look), s.each(quarantineDir, look)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last, last)
	return nil
}

// ---- files

func seqName(seq int64) string { return fmt.Sprintf("%019d", seq) }

// next numbers files and records in the order in which they came.
func (s *Spool) next() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last+1, time.Now().UnixNano())
	return s.last
}

func (s *Spool) ring() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bell
}

func (s *Spool) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.bell)
	s.bell = make(chan struct{})
}

// wait waits for the bell, at most d.
func wait(ctx context.Context, bell <-chan struct{}, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-bell:
	case <-t.C:
	}
	return nil
}

func (s *Spool) list(dir string) ([]fs.DirEntry, error) {
	f, err := s.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

// each calls f for every file in the partners' folders under top.
func (s *Spool) each(top string, f func(dir, name string) error) error {
	partners, err := s.list(top)
	if err != nil {
		return err
	}
	for _, p := range partners {
		if !p.IsDir() {
			continue
		}
		dir := path.Join(top, p.Name())
		files, err := s.list(dir)
		if err != nil {
			return err
		}
		for _, e := range files {
			if err := f(dir, e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// eachMeta calls f for every file with meta under top, sorted.
func (s *Spool) eachMeta(top string, f func(dir, base string, m Meta)) error {
	partners, err := s.list(top)
	if err != nil {
		return err
	}
	slices.SortFunc(partners, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, p := range partners {
		if p.IsDir() {
			if err := s.eachMetaOf(path.Join(top, p.Name()), f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Spool) eachMetaOf(dir string, f func(dir, base string, m Meta)) error {
	files, err := s.list(dir)
	if err != nil {
		return err
	}
	slices.SortFunc(files, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, e := range files {
		base, ok := strings.CutSuffix(e.Name(), metaExt)
		if !ok || strings.HasPrefix(base, tempPre) {
			continue
		}
		m, err := s.readMeta(dir, base)
		if errors.Is(err, fs.ErrNotExist) {
			continue // taken since we looked
		}
		if err != nil {
			return err
		}
		f(dir, base, m)
	}
	return nil
}

func (s *Spool) readMeta(dir, base string) (m Meta, err error) {
	err = s.readJSON(path.Join(dir, base+metaExt), &m)
	return m, err
}

func (s *Spool) readJSON(name string, to any) error {
	doc, err := s.root.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(doc, to); err != nil {
		return fmt.Errorf("spool file %s is damaged: %w", name, err)
	}
	return nil
}

func (s *Spool) writeMeta(dir, base string, m Meta) error {
	doc, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return s.writeFile(dir, base+metaExt, func(w io.Writer) error {
		_, err := w.Write(doc)
		return err
	})
}

// writeFile makes a file that is there whole and durable, or not at all.
func (s *Spool) writeFile(dir, name string, write func(io.Writer) error) error {
	if err := s.mkdir(dir); err != nil {
		return err
	}
	temp := path.Join(dir, tempPre+rand.Text())
	f, err := s.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = s.Steps.Do("spool.write", func() error { return write(f) })
	if err == nil {
		err = s.Steps.Do("spool.sync", f.Sync)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.rename(temp, path.Join(dir, name))
	}
	if err != nil {
		return errors.Join(err, s.remove(temp))
	}
	return s.sync(dir)
}

// mkdir makes a partner's folder, durably.
func (s *Spool) mkdir(dir string) error {
	if _, err := s.root.Stat(dir); err == nil {
		return nil
	}
	if err := s.Steps.Do("spool.mkdir", func() error { return s.root.MkdirAll(dir, 0o700) }); err != nil {
		return err
	}
	return s.sync(path.Dir(dir))
}

func (s *Spool) rename(from, to string) error {
	return s.Steps.Do("spool.rename", func() error { return s.root.Rename(from, to) })
}

func (s *Spool) sync(dir string) error {
	f, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(s.Steps.Do("spool.sync-folder", f.Sync), f.Close())
}

// remove removes a file that may be gone already.
func (s *Spool) remove(name string) error {
	err := s.Steps.Do("spool.remove", func() error { return s.root.Remove(name) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
