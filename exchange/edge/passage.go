package edge

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Passage is a file that is on its way right now, as the edge last wrote it
// down: at most once a second, and not at all of a file that took less.
type Passage struct {
	Direction string    `json:"direction"`
	Partner   string    `json:"partner"`
	File      string    `json:"file"`
	Size      int64     `json:"size,omitempty"` // bytes; 0: it comes, and nobody said how many
	From      int64     `json:"from,omitempty"` // bytes that were there from an attempt before
	Done      int64     `json:"done"`           // bytes so far, From among them
	Began     time.Time `json:"began"`
	At        time.Time `json:"at"` // when Done was so
	Remote    string    `json:"remote,omitempty"`
}

// Rate is how many bytes a second went so far.
func (p Passage) Rate() float64 {
	took := p.At.Sub(p.Began).Seconds()
	if took <= 0 {
		return 0
	}
	return float64(p.Done-p.From) / took
}

// Left is how long the rest takes at that rate; 0 if nobody can say.
func (p Passage) Left() time.Duration {
	rate := p.Rate()
	if rate <= 0 || p.Size <= p.Done {
		return 0
	}
	return time.Duration(float64(p.Size-p.Done) / rate * float64(time.Second))
}

// OnWay is the files that are on their way, those that began first at the front.
// What an edge that died wrote stays until it starts again: At says how old it is.
func (s *Spool) OnWay() ([]Passage, error) {
	all := []Passage{}
	err := s.each(wayDir, func(dir, name string) error {
		if strings.HasPrefix(name, tempPre) {
			return nil
		}
		var p Passage
		switch err := s.readJSON(path.Join(dir, name), &p); {
		case err == nil:
			all = append(all, p)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		return nil
	})
	slices.SortFunc(all, func(a, b Passage) int {
		if c := a.Began.Compare(b.Began); c != 0 {
			return c
		}
		return strings.Compare(a.Partner+" "+a.File, b.Partner+" "+b.File)
	})
	return all, err
}

// A passing writes down how far a file is. What it writes is for people who look
// just now: it need not outlive a crash, and that it fails stops no file.
type passing struct {
	spool *Spool
	every time.Duration

	mu      sync.Mutex
	p       Passage
	written bool
}

// pass begins to tell of a file of which bytes were there before.
func (e *Edge) pass(p Passage) *passing {
	p.Done, p.Began = p.From, time.Now().UTC()
	p.At = p.Began
	return &passing{spool: e.spool, every: e.limits.Tell, p: p}
}

// at says how many bytes there are.
func (g *passing) at(done int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now().UTC()
	if now.Sub(g.p.At) < g.every {
		return
	}
	g.p.Done, g.p.At, g.written = done, now, true
	g.spool.putPassage(g.p)
}

// end says that the file is on its way no more.
func (g *passing) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.written {
		g.spool.root.Remove(g.p.place())
	}
}

func (p Passage) place() string {
	return path.Join(wayDir, p.Partner, p.Direction+"-"+p.File+metaExt)
}

// putPassage writes beside the durable steps: nothing is found out from it after
// a crash.
func (s *Spool) putPassage(p Passage) {
	doc, err := json.Marshal(p)
	if err != nil {
		return
	}
	dir, name := path.Split(p.place())
	temp := path.Join(dir, tempPre+name)
	if s.root.MkdirAll(path.Clean(dir), 0o700) != nil || s.root.WriteFile(temp, doc, 0o600) != nil || s.root.Rename(temp, p.place()) != nil {
		s.root.Remove(temp)
	}
}

// forgetPassages takes away what an edge that died was at.
func (s *Spool) forgetPassages() error {
	return s.each(wayDir, func(dir, name string) error {
		if err := s.root.Remove(path.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// A passed reads a file that is being sent, and tells how far it is. Its size has
// the SFTP client send many pieces at once.
type passed struct {
	io.Reader
	size, done int64
	tell       *passing
}

// Size is how many bytes it has.
func (r *passed) Size() int64 { return r.size }

func (r *passed) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.done += int64(n)
	r.tell.at(r.done)
	return n, err
}
