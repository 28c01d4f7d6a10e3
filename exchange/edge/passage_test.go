package edge

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
)

// valve passes connections on, and after so many bytes only when it is opened.
func valve(t *testing.T, to string, after int64) (address string, open func()) {
	t.Helper()
	opened := make(chan struct{})
	address = relay(t, to, func(out, in net.Conn) {
		if _, err := io.CopyN(out, in, after); err == nil {
			<-opened
			io.Copy(out, in)
		}
	})
	return address, func() { close(opened) }
}

// way is the one file that is on its way at a site; nothing if there is none.
func (s *site) way() (Passage, bool) {
	s.t.Helper()
	all, err := s.spool.OnWay()
	if err != nil {
		s.t.Fatal(err)
	}
	if len(all) > 1 {
		s.t.Fatalf("on the way: %+v, want one", all)
	}
	if len(all) == 0 {
		return Passage{}, false
	}
	return all[0], true
}

// Both sides say how far a file is while it goes, and nothing when it has gone.
func TestOnWay(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	bureau.limit.Tell, operator.limit.Tell = 1, 1
	address := bureau.start(loopback, operator.peer(""))
	through, open := valve(t, address, 6<<20)
	began := time.Now()
	operator.start("", bureau.peer(through))
	const size = 24 << 20
	content := operator.put("bureau", "op-1.inp.pgp", size)
	var out, in Passage
	waitFor(t, "half of the file", func() bool {
		out, _ = operator.way()
		in, _ = bureau.way()
		return in.Done > 5<<20
	})
	if out.Direction != DirectionOut || out.Partner != "bureau" || out.File != "op-1.inp.pgp" || out.Size != size || out.Done < in.Done || out.Done >= size || out.Remote != through ||
		out.Began.Before(began) || out.At.Before(out.Began) {
		t.Errorf("the sender says %+v", out)
	}
	if in.Direction != DirectionIn || in.Partner != "operator" || in.File != "op-1.inp.pgp" || in.Size != 0 || in.Done >= 7<<20 || in.At.Before(in.Began) {
		t.Errorf("the receiver says %+v", in)
	}
	open()
	bureau.wantIncoming("operator", "op-1.inp.pgp", content)
	operator.wantRecord("out bureau op-1.inp.pgp sent")
	waitFor(t, "nothing to be on its way", func() bool {
		_, here := operator.way()
		_, there := bureau.way()
		return !here && !there
	})
}

// A partner who fetches a file is told of as well; what a dead edge was at is
// forgotten by the next; and a disk that takes no note of it stops no file.
func TestOnWayFetched(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	bureau.limit.Tell = 1
	address := bureau.start(loopback, operator.peer(""))
	bureau.put("operator", "r.pgp", 1<<20)
	over, err := connect(t, address, operator, "operator", operator.keys.ssh)
	if err != nil {
		t.Fatal(err)
	}
	defer over.Close()
	c, err := sftp.NewClient(over)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, err := c.Open("/" + outbox + "/r.pgp")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(f, make([]byte, 100<<10)); err != nil {
		t.Fatal(err)
	}
	if p, ok := bureau.way(); !ok || p.Direction != DirectionOut || p.Partner != "operator" || p.Size != 1<<20 || p.Done < 100<<10 || p.Done >= 1<<20 {
		t.Errorf("got %+v", p)
	}
	if err := f.Close(); err != nil {
		t.Logf("a file that was not read to its end: %v", err)
	}
	if p, ok := bureau.way(); ok {
		t.Errorf("it is over, and on its way: %+v", p)
	}
	bureau.spool.putPassage(Passage{Direction: DirectionIn, Partner: "operator", File: "dead.pgp"})
	if _, ok := bureau.way(); !ok {
		t.Error("what was written is not there")
	}
	if err := bureau.spool.Recover(); err != nil {
		t.Fatal(err)
	}
	if p, ok := bureau.way(); ok {
		t.Errorf("after a start: %+v", p)
	}
	// A file stands where the folder should.
	if err := os.WriteFile(filepath.Join(bureau.dir, "spool", wayDir, "nobody"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bureau.spool.putPassage(Passage{Direction: DirectionIn, Partner: "nobody", File: "x.pgp"})
	if p, ok := bureau.way(); ok {
		t.Errorf("it could not be written: %+v", p)
	}
	// One that is damaged is told, not passed over.
	if err := os.WriteFile(filepath.Join(bureau.dir, "spool", wayDir, "operator", "in-x.pgp.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bureau.spool.OnWay(); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("a damaged note: %v", err)
	}
}

// What a site is not told before a second has passed, it never is: small files
// cost nothing.
func TestOnWaySeldom(t *testing.T) {
	s := newSite(t, "a")
	s.start(loopback)
	if s.edge.limits.Tell != time.Second {
		t.Errorf("told every %s", s.edge.limits.Tell)
	}
	g := s.edge.pass(Passage{Direction: DirectionOut, Partner: "b", File: "f.pgp", Size: 10, From: 3})
	g.at(5)
	if p, ok := s.way(); ok {
		t.Errorf("at once: %+v", p)
	}
	g.p.At = g.p.At.Add(-2 * time.Second)
	g.p.Began = g.p.Began.Add(-2 * time.Second)
	g.at(5)
	g.at(9)
	p, ok := s.way()
	if !ok || p.Done != 5 || p.From != 3 {
		t.Errorf("after two seconds: %+v", p)
	}
	p.Began, p.At = time.Unix(100, 0), time.Unix(102, 0)
	if p.Rate() != 1 || p.Left() != 5*time.Second {
		t.Errorf("%v bytes a second, %v left", p.Rate(), p.Left())
	}
	for _, p := range []Passage{{}, {Size: 10, Done: 10, Began: time.Unix(1, 0), At: time.Unix(2, 0)}, {Done: 5, Began: time.Unix(1, 0), At: time.Unix(2, 0)}} {
		if p.Left() != 0 {
			t.Errorf("%+v: %v left", p, p.Left())
		}
	}
	g.end()
	if p, ok := s.way(); ok {
		t.Errorf("at its end: %+v", p)
	}
}
