package station

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ankan/uicc"
)

// A tray is a reader whose chips say what number they have, and count.
type tray struct {
	mu     sync.Mutex
	chips  int
	in     byte // number of the chip in the reader, 0 for none
	asked  int
	mute   bool
	noise  bool
	late   bool
	broken bool
	closed int
}

func (r *tray) Take(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.chips == 0 {
		return ErrNoChips
	}
	if r.in != 0 {
		return errors.New("there is a chip in it")
	}
	r.in, r.chips = byte(r.chips), r.chips-1
	return nil
}

func (r *tray) Insert(_ context.Context, serial [8]byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if serial[0] == 0 {
		return ErrAway
	}
	r.in = serial[0]
	return nil
}

func (r *tray) Eject(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.in = 0
	return nil
}

func (r *tray) Reset(context.Context) (uicc.ATR, error) { return uicc.ATR{0x3B, 0x00}, nil }

func (r *tray) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	r.mu.Lock()
	r.asked++
	in, mute, noise, late, broken := r.in, r.mute, r.noise, r.late, r.broken
	r.mu.Unlock()
	switch {
	case in == 0:
		return nil, errors.New("no chip in the reader")
	case late:
		<-ctx.Done()
		return nil, ctx.Err()
	case mute:
		return nil, ErrMute
	case noise:
		return []byte{1}, nil
	case broken:
		return nil, errors.New("the cable is out")
	case cmd[1] == uicc.INSVerify:
		return []byte{0x63, 0xC1}, nil
	}
	return []byte{in, 0x90, 0x00}, nil
}

func (r *tray) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.in = 0
	r.closed++
	return nil
}

// A house is a plant's end and what its stations are known by.
type house struct {
	testing.TB
	folder string // of everybody's keys
	hub    *Hub
	addr   string
	plant  Fingerprint
	events chan Event
}

func newHouse(t testing.TB, known ...string) *house {
	t.Helper()
	h := &house{TB: t, folder: t.TempDir(), events: make(chan Event, 100)}
	names := map[Fingerprint]string{}
	for _, name := range known {
		key, err := NewIdentity(h.dir(name), name)
		h.must(err)
		names[key] = name
	}
	_, err := NewIdentity(h.dir("plant"), "plant")
	h.must(err)
	own, key, err := LoadIdentity(h.dir("plant"))
	h.must(err)
	h.plant = key
	h.hub = NewHub(names)
	h.hub.Tell = func(e Event) { h.events <- e }
	l, err := net.Listen("tcp", "127.0.0.1:0")
	h.must(err)
	h.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.hub.Serve(ctx, tls.NewListener(l, TLSConfig(own, nil))) }()
	t.Cleanup(func() { cancel(); h.must(<-ended) })
	return h
}

func (h *house) dir(name string) string { return filepath.Join(h.folder, name) }

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// dial connects as a station does.
func (h *house) dial(name string) net.Conn {
	h.Helper()
	own, _, err := LoadIdentity(h.dir(name))
	h.must(err)
	conn, err := tls.Dial("tcp", h.addr, TLSConfig(own, &h.plant))
	h.must(err)
	h.Cleanup(func() { conn.Close() })
	return conn
}

// attend has a station work and waits until it is there.
func (h *house) attend(name string, readers ...Reader) (leave func()) {
	h.Helper()
	var slots []Slot
	for i, r := range readers {
		slots = append(slots, Slot{fmt.Sprint(i + 1), func(context.Context) (Reader, error) { return r, nil }})
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	conn := h.dial(name)
	go func() { ended <- Attend(ctx, conn, "test", slots) }()
	if e := h.event(); e.Station != name || e.Err != nil || e.Gone || len(e.Readers) != len(readers) {
		h.Fatalf("%+v", e)
	}
	var once sync.Once
	leave = func() { once.Do(func() { cancel(); <-ended }) }
	h.Cleanup(leave)
	return leave
}

func (h *house) event() Event {
	h.Helper()
	select {
	case e := <-h.events:
		return e
	case <-time.After(20 * time.Second):
		h.Fatal("nothing happens")
		return Event{}
	}
}

func (h *house) place() Place {
	h.Helper()
	select {
	case p := <-h.hub.Places(h.Context()):
		return p
	case <-time.After(20 * time.Second):
		h.Fatal("nobody comes")
		return Place{}
	}
}

func (h *house) open(p Place) Reader {
	h.Helper()
	r, err := p.Open(h.Context())
	h.must(err)
	return r
}

// ask is a burst of a reset and two reads.
func ask() *uicc.Burst {
	b := new(uicc.Burst)
	b.Reset()
	for range 2 {
		if err := b.Command(uicc.WantOK, uicc.Command{INS: uicc.INSReadBinary, Le: 1}); err != nil {
			panic(err)
		}
	}
	return b
}

func said(a *uicc.Answers) string {
	var all []string
	for x, ok := a.Next(); ok; x, ok = a.Next() {
		all = append(all, fmt.Sprintf("%X", x))
	}
	return strings.Join(all, " ")
}

func TestRemote(t *testing.T) {
	h := newHouse(t, "st-a")
	r1, r2 := &tray{chips: 2}, &tray{}
	h.attend("st-a", r1, r2)
	if all := h.hub.Here(); len(all) != 1 || all[0].Station != "st-a" || len(all[0].Readers) != 2 {
		t.Errorf("%+v", all)
	}
	place := h.place()
	if place.Name != "st-a/1" {
		t.Errorf("%s", place.Name)
	}
	r := h.open(place)
	play := r.(Player).Play
	var a uicc.Answers
	for _, want := range []string{"3B00 029000 029000", "3B00 019000 019000"} {
		h.must(r.Take(t.Context()))
		h.must(play(t.Context(), ask(), time.Second, &a))
		if got := said(&a); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		h.must(r.Eject(t.Context()))
	}
	h.must(r.Take(t.Context())) // it is told by the next call
	if err := play(t.Context(), ask(), time.Second, &a); !errors.Is(err, ErrNoChips) {
		t.Errorf("%v, want no chips", err)
	}
	if err := r.Insert(t.Context(), [8]byte{}); !errors.Is(err, ErrAway) {
		t.Errorf("%v, want the chip to be away", err)
	}
	h.must(r.Insert(t.Context(), [8]byte{7}))
	if b, err := r.Transmit(t.Context(), []byte{0, 0xB0, 0, 0, 1}); err != nil || !bytes.Equal(b, []byte{7, 0x90, 0}) {
		t.Errorf("%X, %v", b, err)
	}
	if atr, err := r.Reset(t.Context()); err != nil || len(atr) != 2 {
		t.Errorf("%X, %v", atr, err)
	}
	h.must(r.Close())
	if err := r.Take(t.Context()); err == nil {
		t.Error("a reader that was given up takes chips")
	}
}

// What a chip does wrong comes back as what it is.
func TestRemoteFaults(t *testing.T) {
	h := newHouse(t, "st-a")
	tr := &tray{chips: 9}
	h.attend("st-a", tr)
	set := func(f func()) { tr.mu.Lock(); defer tr.mu.Unlock(); f() }
	place := h.place()
	for _, c := range []struct {
		name   string
		set    *bool
		want   error
		closed bool
	}{
		{"mute", &tr.mute, ErrMute, false}, {"noise", &tr.noise, uicc.ErrAnswer, false}, {"late", &tr.late, ErrLate, true}, {"broken", &tr.broken, nil, true},
	} {
		r := h.open(place)
		if err := r.Insert(t.Context(), [8]byte{}); !errors.Is(err, ErrAway) { // what was asked before is over
			t.Error(err)
		}
		var before int
		set(func() { *c.set = true; before = tr.closed })
		h.must(r.Take(t.Context()))
		var a uicc.Answers
		err := r.(Player).Play(t.Context(), ask(), 50*time.Millisecond, &a)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || c.name == "broken" && !strings.Contains(err.Error(), "the cable is out") {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := said(&a); c.name != "broken" && got != "3B00" {
			t.Errorf("%s: answers %s before it", c.name, got)
		}
		set(func() {
			*c.set = false
			if (tr.closed > before) != c.closed {
				t.Errorf("%s: the reader was closed %d times", c.name, tr.closed-before)
			}
		})
		h.must(r.Close())
	}
}

// A code of which one try is left is never presented.
func TestTriesAreKept(t *testing.T) {
	tr := &tray{in: 1}
	var b uicc.Burst
	for want, c := range []uicc.Command{{INS: uicc.INSVerify, P2: 1}, {INS: uicc.INSReadBinary, Le: 1}} {
		if err := b.Command([]uicc.Want{uicc.WantTries, uicc.WantOK}[want], c); err != nil {
			t.Fatal(err)
		}
	}
	var a uicc.Answers
	if err := Play(t.Context(), tr, &b, time.Second, &a); err != nil {
		t.Fatal(err)
	}
	if got := said(&a); got != "63C1" || tr.asked != 1 {
		t.Errorf("%s after %d commands, want the burst to end", got, tr.asked)
	}
}

// A station that is not known is refused and told of, and so is one that says
// nonsense. A plant with another key is not spoken to.
func TestRefused(t *testing.T) {
	h := newHouse(t, "st-a", "plant-2")
	if _, err := NewIdentity(h.dir("stranger"), "stranger"); err != nil {
		t.Fatal(err)
	}
	conn := h.dial("stranger")
	if err := Attend(t.Context(), conn, "test", []Slot{{Name: "1"}}); err == nil {
		t.Error("a stranger works")
	}
	if e := h.event(); e.Station != "" || e.Err == nil || !strings.Contains(e.Err.Error(), "no station has the key "+e.Key.String()) {
		t.Errorf("%+v", e)
	}
	for name, doc := range map[string]string{
		"nonsense": "GET / HTTP/1.1\r\n\r\n",
		"alive":    "", // nothing at all: it hangs up
		"version":  frameText(kindHello, `{"protocol":99,"readers":["1"]}`),
		"readers":  frameText(kindHello, `{"protocol":1,"readers":[]}`),
		"json":     frameText(kindHello, `{`),
		"take":     frameText(kindTake, ``),
	} {
		conn := h.dial("st-a")
		_, err := io.WriteString(conn, doc)
		h.must(err)
		if name == "alive" {
			conn.Close()
		}
		if e := h.event(); e.Station != "st-a" || e.Err == nil || e.Gone {
			t.Errorf("%s: %+v", name, e)
		}
		conn.Close()
	}
	own, _, err := LoadIdentity(h.dir("st-a"))
	h.must(err)
	_, other, err := LoadIdentity(h.dir("plant-2"))
	h.must(err)
	if conn, err := tls.Dial("tcp", h.addr, TLSConfig(own, &other)); err == nil || !strings.Contains(err.Error(), "ask the plant before you change it") {
		t.Errorf("another plant: %v, %v", conn, err)
	}
	h.event() // the handshake that the station ended
	// Plain TCP, and a client without a certificate.
	plain, err := net.Dial("tcp", h.addr)
	h.must(err)
	plain.Close()
	if e := h.event(); e.Err == nil {
		t.Errorf("%+v", e)
	}
	anon, err := tls.Dial("tcp", h.addr, &tls.Config{InsecureSkipVerify: true})
	if err == nil {
		_, err = anon.Read(make([]byte, 1))
	}
	if e := h.event(); err == nil || e.Err == nil {
		t.Errorf("%+v, %v", e, err)
	}
	if all := h.hub.Here(); len(all) != 0 {
		t.Errorf("%+v are here", all)
	}
	if _, err := new(Hub).welcome(t.Context(), plain, &Event{}); err == nil {
		t.Error("a plain connection is welcome")
	}
}

func frameText(kind byte, body string) string {
	n := len(body) + headLen - 4
	return string([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), kind, 0, 0, 0, 0, 0, 0}) + body
}

// A station that dies takes its chip out, and what the plant asked comes to an
// error. When it is back, it is offered again.
func TestStationDies(t *testing.T) {
	h := newHouse(t, "st-a")
	tr := &tray{chips: 5, late: true}
	leave := h.attend("st-a", tr)
	places := h.hub.Places(t.Context())
	r := h.open(<-places)
	h.must(r.Take(t.Context()))
	failed := make(chan error, 1)
	go func() {
		var a uicc.Answers
		failed <- r.(Player).Play(context.Background(), ask(), time.Minute, &a)
	}()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		tr.mu.Lock()
		asked := tr.asked
		tr.mu.Unlock()
		if asked > 0 || time.Now().After(deadline) {
			break
		}
	}
	leave()
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "station st-a is gone") {
		t.Errorf("%v", err)
	}
	if e := h.event(); !e.Gone || e.Station != "st-a" {
		t.Errorf("%+v", e)
	}
	if tr.in != 0 || tr.closed != 1 {
		t.Errorf("chip %d is in the reader, closed %d times", tr.in, tr.closed)
	}
	if err := r.Take(t.Context()); err == nil {
		t.Error("a reader that is gone takes chips")
	}
	tr.late = false
	h.attend("st-a", tr)
	r = h.open(<-places)
	h.must(r.Take(t.Context()))
	var a uicc.Answers
	h.must(r.(Player).Play(t.Context(), ask(), time.Second, &a))
	// A second connection of the same station is the first one come back.
	h.attend("st-a", &tray{})
	if e := h.event(); !e.Gone || !e.Back {
		t.Errorf("%+v", e)
	}
	if all := h.hub.Here(); len(all) != 1 {
		t.Errorf("%+v", all)
	}
}

// A reader that is opened again is taken from who had it, in the middle of
// what it does.
func TestReopened(t *testing.T) {
	h := newHouse(t, "st-a")
	tr := &tray{chips: 5, late: true}
	h.attend("st-a", tr)
	place := h.place()
	first := h.open(place)
	h.must(first.Take(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var a uicc.Answers
	if err := first.(Player).Play(ctx, ask(), time.Minute, &a); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	tr.mu.Lock()
	tr.late = false
	tr.mu.Unlock()
	second := h.open(place)
	h.must(second.Take(t.Context()))
	h.must(second.(Player).Play(t.Context(), ask(), time.Second, &a))
	if err := first.Eject(t.Context()); err == nil {
		t.Error("who had it still ejects")
	}
}

// A plant that does not keep to the protocol is hung up on.
func TestPlantSpeaksNonsense(t *testing.T) {
	for name, doc := range map[string]string{
		"no such reader": "\x00\x00\x00\x07\x03\x00\x09\x00\x00\x00\x01", "done": frameText(kindDone, "x"), "short": "\x00\x00\x00\x01\x03\x00\x00\x00\x00\x00\x00",
		"large": "\xFF\x00\x00\x07\x03\x00\x00\x00\x00\x00\x01", "too many": strings.Repeat(frameText(kindPlay, "\x00\x00\xFF\xFF\x00\x00\x04\x00\xB0\x00\x00"), queue+3),
	} {
		plant, st := net.Pipe()
		ended := make(chan error, 1)
		tr := &tray{in: 1, late: true}
		go func() {
			ended <- Attend(context.Background(), st, "test", []Slot{{"1", func(context.Context) (Reader, error) { return tr, nil }}})
		}()
		if f, err := readFrame(plant); err != nil || f.kind != kindHello {
			t.Fatalf("%+v, %v", f, err)
		}
		go io.Copy(io.Discard, plant)
		go io.WriteString(plant, doc)
		if err := <-ended; !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
		plant.Close()
	}
}

// Requests that make no sense are the plant's fault, and the chip is let go.
func TestAskedNonsense(t *testing.T) {
	d := &desk{Slot: Slot{Open: func(context.Context) (Reader, error) { return &tray{in: 1}, nil }}}
	for _, f := range []frame{{kind: kindPlay, body: []byte{1}}, {kind: kindPlay, body: []byte{0, 0, 1, 0, 9, 9}}, {kind: kindInsert, body: []byte{1}}} {
		if code, body := d.do(t.Context(), f); code != codeFailed || d.reader != nil {
			t.Errorf("%+v: code %d, %q", f, code, body)
		}
	}
	d.Open = func(context.Context) (Reader, error) { return nil, errors.New("no such reader") }
	if code, body := d.do(t.Context(), frame{kind: kindTake}); code != codeFailed || string(body) != "no such reader" {
		t.Errorf("code %d, %q", code, body)
	}
	if err := outcome(99, nil, nil); !errors.Is(err, ErrProtocol) {
		t.Errorf("an unknown code: %v", err)
	}
	var a uicc.Answers
	if err := outcome(codeOK, []byte{1}, &a); !errors.Is(err, ErrProtocol) {
		t.Errorf("malformed answers: %v", err)
	}
}

func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	key, err := NewIdentity(dir, "st-a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewIdentity(dir, "st-a"); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second one: %v", err)
	}
	if _, again, err := LoadIdentity(dir); err != nil || again != key {
		t.Errorf("%v, %v", again, err)
	}
	if got, err := ParseFingerprint(key.String()); err != nil || got != key {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", "SHA256:", key.String()[7:], key.String() + "A", "SHA256:" + strings.Repeat("!", 43)} {
		if _, err := ParseFingerprint(s); err == nil {
			t.Errorf("%q is a fingerprint", s)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, keyFile)); err != nil || st.Mode() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte(frameText(kindDone, "\x00\x00\x02\x90\x00")))
	f.Add([]byte(frameText(kindHello, `{"protocol":1,"readers":["1"]}`)))
	f.Add([]byte("\xFF\xFF\xFF\xFF\x08\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		r := bytes.NewReader(doc)
		for {
			x, err := readFrame(r)
			if err != nil {
				return
			}
			if x.kind == kindHello {
				_, _ = parseGreeting(x) // it must not panic
			}
			if x.kind == kindDone && len(x.body) > 0 {
				var a uicc.Answers
				_ = outcome(x.body[0], x.body[1:], &a)
			}
			var out bytes.Buffer
			l := newLink(deaf{})
			l.out.Reset(&out)
			if err := l.write(x, false); err != nil {
				t.Fatal(err)
			}
			if y, err := readFrame(&out); err != nil || y.kind != x.kind || y.reader != x.reader || y.number != x.number || !bytes.Equal(y.body, x.body) {
				t.Errorf("%+v comes back as %+v, %v", x, y, err)
			}
		}
	})
}

// deaf is a connection for its deadlines only.
type deaf struct{ net.Conn }

func (deaf) SetWriteDeadline(time.Time) error { return nil }
func (deaf) Close() error                     { return nil }
