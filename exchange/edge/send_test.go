package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// edgeProcess is set for a copy of this program that only runs an edge, so
// that a test can kill it.
const edgeProcess = "ANKAN_TEST_EDGE"

func TestMain(m *testing.M) {
	if doc := os.Getenv(edgeProcess); doc != "" {
		runProcess(doc)
	}
	os.Exit(m.Run())
}

// processConfig is what the copy needs to know.
type processConfig struct{ Dir, Name, Listen, PeerKeys, PeerName string }

func runProcess(doc string) {
	var p processConfig
	err := json.Unmarshal([]byte(doc), &p)
	var keys, peer *Keys
	var spool *Spool
	if err == nil {
		keys, err = Load(filepath.Join(p.Dir, "keys"))
	}
	if err == nil {
		peer, err = Load(p.PeerKeys)
	}
	if err == nil {
		spool, err = OpenSpool(filepath.Join(p.Dir, "spool"))
	}
	var e *Edge
	if err == nil {
		e, err = New(Config{Name: p.Name, Listen: p.Listen, Keys: keys, Spool: spool,
			Peers: []Peer{{Name: p.PeerName, Certificate: peer.Certificate(), SSH: peer.SSH()}}})
	}
	if err == nil {
		fmt.Println(e.Addr())
		err = e.Run(context.Background())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// process runs the site's edge as its own process.
func (s *site) process(listen string, peer *site) (address string, kill func()) {
	s.t.Helper()
	doc, err := json.Marshal(processConfig{Dir: s.dir, Name: s.name, Listen: listen, PeerKeys: filepath.Join(peer.dir, "keys"), PeerName: peer.name})
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), edgeProcess+"="+string(doc))
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	kill = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	s.t.Cleanup(kill)
	line := make([]byte, 100)
	n, err := out.Read(line)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(line[:n])), kill
}

func TestSend(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	address := bureau.start(loopback, operator.peer(""))
	operator.start("", bureau.peer(address))
	for i, n := range []int{0, 1, 32 << 10, 5<<20 + 3} {
		name := fmt.Sprintf("order-%d.pgp", i)
		content := operator.put("bureau", name, n)
		f := bureau.wantIncoming("operator", name, content)
		if err := bureau.spool.Done(f); err != nil {
			t.Fatal(err)
		}
		operator.wantRecord("out bureau", name, "sent")
		waitFor(t, "the file to leave the spool", func() bool { left, err := operator.spool.Outgoing(); return err == nil && len(left) == 0 })
		if m, err := operator.spool.Sent("bureau", name); err != nil || m.Text != OutcomeSent || m.SHA256 != f.SHA256 {
			t.Errorf("%s: got %+v, %v", name, m, err)
		}
		if _, _, err := operator.spool.Put("bureau", name, nil); !errors.Is(err, ErrUsed) {
			t.Errorf("%s again: got %v", name, err)
		}
	}
	for _, r := range bureau.records() {
		if err := bureau.spool.Forget(r); err != nil {
			t.Fatal(err)
		}
		if err := bureau.spool.Forget(r); err != nil {
			t.Fatalf("forgotten twice: %v", err)
		}
	}
	if left := bureau.outcomes(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

// TestSendThroughCrashes kills the receiving edge in the middle of a file,
// again and again; the file arrives once and whole.
func TestSendThroughCrashes(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	address, kill := bureau.process(loopback, operator)
	operator.start("", bureau.peer(address))
	content := operator.put("bureau", "order.pgp", 96<<20)
	part := filepath.Join(bureau.dir, "spool/part/operator/order.pgp"+partial)
	var before int64
	for range 3 {
		size := int64(0)
		waitFor(t, "more of the file", func() bool {
			info, err := os.Stat(part)
			if err == nil {
				size = info.Size()
			}
			return size > before+4<<20
		})
		kill()
		info, err := os.Stat(part)
		if err != nil {
			t.Fatalf("file was over before it was killed: %v", err)
		}
		got, err := os.ReadFile(part)
		if err != nil || !bytes.HasPrefix(content, got) {
			t.Fatalf("part of %d bytes is not the beginning of the file: %v", len(got), err)
		}
		before = info.Size()
		bureau.wantNothing()
		_, kill = bureau.process(address, operator)
	}
	bureau.wantIncoming("operator", "order.pgp", content)
	waitFor(t, "the record", func() bool {
		n := 0
		for _, r := range bureau.records() {
			if r.Outcome == OutcomeReceived {
				n++
			}
		}
		return n == 1
	})
	operator.wantRecord("out bureau order.pgp broken", "trying again")
	operator.wantRecord("out bureau order.pgp sent")
}

// cutter passes connections on and cuts them after so many bytes, each time four
// times as many.
func cutter(t *testing.T, to string, after int64) string {
	return newBreaker(t, to, func() int64 {
		defer func() { after *= 4 }()
		return after
	}).address
}

func TestSendThroughBrokenLine(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	address := bureau.start(loopback, operator.peer(""))
	operator.start("", bureau.peer(cutter(t, address, 1<<20)))
	content := operator.put("bureau", "order.pgp", 24<<20)
	bureau.wantIncoming("operator", "order.pgp", content)
	bureau.wantRecord("in operator order.pgp.part broken", "connection was lost")
	operator.wantRecord("out bureau order.pgp sent")
}

// TestSendAgain is the case of the lost answer: the file is there, and only
// the sender does not know.
func TestSendAgain(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	address := bureau.start(loopback, operator.peer(""))
	content := operator.put("bureau", "order.pgp", 1000)
	operator.start("", bureau.peer(address))
	f := bureau.wantIncoming("operator", "order.pgp", content)
	operator.wantRecord("sent")
	operator.stop()
	if err := bureau.spool.Done(f); err != nil {
		t.Fatal(err)
	}
	// As before the answer came.
	if err := os.RemoveAll(filepath.Join(operator.dir, "spool/sent/bureau")); err != nil {
		t.Fatal(err)
	}
	put := func(n int) {
		if _, _, err := operator.spool.Put("bureau", "order.pgp", writeN(n)); err != nil {
			t.Fatal(err)
		}
	}
	put(1000)
	operator.start("")
	operator.wantRecord("sent", "was there from an attempt before")
	bureau.wantNothing()
	operator.stop()
	if err := os.RemoveAll(filepath.Join(operator.dir, "spool/sent/bureau")); err != nil {
		t.Fatal(err)
	}
	put(999)
	operator.start("")
	operator.wantRecord("broken", "another order.pgp of 1000 bytes, ours has 999")
	if err := operator.spool.Withdraw("bureau", "order.pgp"); err != nil {
		t.Fatal(err)
	}
	if err := operator.spool.Withdraw("bureau", "order.pgp"); err != nil {
		t.Fatalf("withdrawn twice: %v", err)
	}
	if m, err := operator.spool.Sent("bureau", "order.pgp"); err != nil || m.Text != "withdrawn" {
		t.Errorf("got %+v, %v", m, err)
	}
	if _, err := operator.spool.Sent("bureau", "other"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestSendRefusesStrangers(t *testing.T) {
	bureau, operator, stranger := newSite(t, "bureau"), newSite(t, "operator"), newSite(t, "stranger")
	address := bureau.start(loopback, operator.peer(""))
	for name, test := range map[string]struct {
		change func(*Peer)
		want   string
	}{
		"TLS":     {func(p *Peer) { p.Certificate = stranger.keys.Certificate() }, "is not that of bureau"},
		"SSH":     {func(p *Peer) { p.SSH = stranger.keys.SSH() }, "ssh: host key mismatch"},
		"nobody":  {func(p *Peer) { p.Address = "127.0.0.1:1" }, "calling bureau"},
		"no port": {func(p *Peer) { p.Address = "127.0.0.1" }, "missing port"},
	} {
		t.Run(name, func(t *testing.T) {
			p := bureau.peer(address)
			test.change(&p)
			operator.t = t
			operator.start("", p)
			file := strings.ReplaceAll(name, " ", "-") + ".pgp"
			operator.put("bureau", file, 10)
			operator.wantRecord("out bureau", "broken", test.want, "trying again")
			operator.stop()
			if err := operator.spool.Withdraw("bureau", file); err != nil {
				t.Fatal(err)
			}
		})
	}
	bureau.wantNothing()
}

// TestPartnersChange brings in a partner while the edge runs, and throws one
// out.
func TestPartnersChange(t *testing.T) {
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	address := bureau.start(loopback)
	operator.start("", bureau.peer(address))
	content := operator.put("bureau", "a.pgp", 10)
	operator.wantRecord("broken", "calling bureau")
	if err := bureau.edge.SetPeers([]Peer{operator.peer("")}); err != nil {
		t.Fatal(err)
	}
	bureau.wantIncoming("operator", "a.pgp", content)

	c := login(t, operator, bureau.peer(address))
	if _, err := c.ReadDir("/"); err != nil {
		t.Fatal(err)
	}
	if err := bureau.edge.SetPeers(nil); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the connection to end", func() bool { _, err := c.ReadDir("/"); return err != nil })

	key := operator.peer("")
	for name, peers := range map[string][]Peer{
		"twice": {key, key}, "no keys": {{Name: "x"}}, "bad name": {{Name: "X", Certificate: key.Certificate, SSH: key.SSH}},
		"same key": {key, {Name: "other", Certificate: key.Certificate, SSH: key.SSH}},
	} {
		if err := bureau.edge.SetPeers(peers); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}

// login is a connection as our sender makes it.
func login(t testing.TB, from *site, to Peer) *client {
	t.Helper()
	e := from.edge
	if e == nil {
		e = &Edge{name: from.name, keys: from.keys, spool: from.spool, limits: from.limit.withDefaults()}
	}
	ctx, cancel := context.WithCancel(context.Background())
	c, err := (&sender{edge: e, peer: to}).dial(ctx)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); c.Close() })
	return c
}

func TestSenderStopsAtOnce(t *testing.T) {
	// A partner who accepts connections and says nothing.
	l, err := net.Listen("tcp", loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	bureau, operator := newSite(t, "bureau"), newSite(t, "operator")
	operator.start("", bureau.peer(l.Addr().String()))
	operator.put("bureau", "a.pgp", 10)
	time.Sleep(2 * poll)
	began := time.Now()
	operator.stop()
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("stopping took %v", d)
	}
}
