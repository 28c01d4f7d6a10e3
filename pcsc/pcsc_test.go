package pcsc

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ankan/pcsc/pcsctest"
	"ankan/uicc"
)

const reader = "Test Reader 00 00"

// An echo answers with what it was told, and 9000.
type echo struct{ atr uicc.ATR }

func (e echo) Transmit(_ context.Context, cmd []byte) ([]byte, error) {
	return append(bytes.Clone(cmd), 0x90, 0), nil
}
func (e echo) Reset() uicc.ATR { return e.atr }
func (e echo) Off()            {}

func newEcho() echo { return echo{uicc.ATR{0x3B, 0x02, 0x14, 0x50}} }

func start(t *testing.T) *pcsctest.Daemon {
	t.Helper()
	d := pcsctest.Start(t, reader)
	d.Insert(reader, newEcho())
	return d
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func opened(t *testing.T) *Reader {
	t.Helper()
	r, err := Open(t.Context(), "Test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func connected(t *testing.T) *Reader {
	t.Helper()
	r := opened(t)
	if _, err := r.Connect(t.Context(), Exclusive); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestVersions(t *testing.T) {
	for name, c := range map[string]struct {
		lowest, highest uint32
		want            string
	}{
		"1.9":            {4, 4, ""},
		"2.3, its alone": {5, 5, ""},
		"2.4.1":          {4, 5, ""},
		"2.5":            {4, 6, ""},
		"1.8.23":         {3, 3, "speaks protocol 4:3, want 4:4 or later"},
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			d.Lowest, d.Highest = c.lowest, c.highest
			all, err := Readers(t.Context())
			if c.want == "" {
				if err != nil || len(all) != 1 || !all[0].Present || all[0].Reader != reader || !bytes.Equal(all[0].ATR, newEcho().atr) {
					t.Fatalf("%+v, %v", all, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, ServiceStopped) {
				t.Fatalf("%v, want %s", err, c.want)
			}
		})
	}
	t.Run("another major version", func(t *testing.T) {
		c := against(t, words(5, 0, uint32(ServiceStopped)))
		if err := c.agree(t.Context()); err == nil || !strings.Contains(err.Error(), "protocol 5:0") {
			t.Fatal(err)
		}
	})
	t.Run("does not keep its word", func(t *testing.T) {
		c := against(t, words(4, 5, uint32(ServiceStopped), 4, 6, uint32(ServiceStopped)))
		if err := c.agree(t.Context()); err == nil || !strings.Contains(err.Error(), "does not take its own") {
			t.Fatal(err)
		}
	})
}

// against is a connection to a daemon that says b, whatever it is asked.
func against(t testing.TB, b []byte) *conn {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close() })
	go io.Copy(io.Discard, theirs)
	go func() { theirs.Write(b); theirs.Close() }()
	return &conn{net: ours}
}

func TestNoDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	t.Setenv("PCSCLITE_CSOCK_NAME", path)
	if _, err := Readers(t.Context()); !errors.Is(err, NoService) || !strings.Contains(err.Error(), path) {
		t.Errorf("no socket: %v", err)
	}
	if _, err := Open(t.Context(), ""); !errors.Is(err, NoService) {
		t.Errorf("no socket: %v", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	if _, err := Readers(t.Context()); err == nil || !strings.Contains(err.Error(), "turns this user away") {
		t.Errorf("closed at once: %v", err)
	}
	os.Unsetenv("PCSCLITE_CSOCK_NAME")
	if socket() != DefaultSocket {
		t.Errorf("socket is %s", socket())
	}
}

func TestPick(t *testing.T) {
	all := []State{{Reader: "ACS 00 00"}, {Reader: "ACS 01 00"}, {Reader: "Virtual PCD 00 00"}, {Reader: "Virtual"}}
	for in, want := range map[string]string{"ACS 01": "ACS 01 00", "Virtual PCD": "Virtual PCD 00 00", "Virtual": "Virtual"} {
		if got, err := pick(all, in); got != want || err != nil {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for in, want := range map[string]string{"ACS": "not one but 2", "": "there are 4 readers; name one of", "Gem": "no such reader"} {
		if _, err := pick(all, in); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"ACS 01 00"`) {
			t.Errorf("%q: %v", in, err)
		}
	}
	if _, err := pick(nil, ""); !errors.Is(err, NoReaders) {
		t.Errorf("no readers: %v", err)
	}
	if got, err := pick(all[:1], ""); got != "ACS 00 00" || err != nil {
		t.Errorf("the only one: %q, %v", got, err)
	}
}

func TestCard(t *testing.T) {
	d, atr := start(t), newEcho().atr
	r := connected(t)
	if r.Name() != reader || !bytes.Equal(r.ATR(), atr) {
		t.Fatalf("%s %X", r.Name(), r.ATR())
	}
	// T=0: Le behind data is not sent.
	for _, c := range []struct{ active, send, want string }{
		{"T=0", "00A40004023F0000", "00A40004023F00"},
		{"T=0", "00B0000000", "00B0000000"},
		{"T=0", "00D60000011F", "00D60000011F"},
		{"T=1", "00A40004023F0000", "00A40004023F0000"},
	} {
		r.active = 1
		if c.active == "T=1" {
			r.active = 2
		}
		b, err := r.Transmit(t.Context(), unhex(t, c.send))
		if err != nil || hex.EncodeToString(b) != strings.ToLower(c.want)+"9000" {
			t.Errorf("%s, %s: %X, %v", c.active, c.send, b, err)
		}
	}
	if got, err := r.Reset(t.Context(), Unpower); err != nil || !bytes.Equal(got, atr) {
		t.Errorf("cold: %X, %v", got, err)
	}
	if _, err := r.Reset(t.Context(), Warm); err != nil || !slices.Equal(d.Resets, []uint32{2, 1}) {
		t.Errorf("warm: %v, resets %d", err, d.Resets)
	}
	if err := errors.Join(r.Begin(t.Context()), r.Check(t.Context()), r.End(t.Context(), Leave)); err != nil {
		t.Error(err)
	}
	if b, err := r.Control(t.Context(), 0x42000001, []byte{1, 2}); err != nil || !bytes.Equal(b, []byte{1, 2}) {
		t.Errorf("control: %X, %v", b, err)
	}
	if b, err := r.Attribute(t.Context(), AttributeATR); err != nil || !bytes.Equal(b, atr) {
		t.Errorf("attribute: %X, %v", b, err)
	}
	if _, err := r.Connect(t.Context(), Shared); err == nil || !strings.Contains(err.Error(), "connected already") {
		t.Errorf("connected twice: %v", err)
	}
	if err := r.Disconnect(t.Context(), Unpower); err != nil || r.ATR() != nil {
		t.Error(err)
	}
	if err := r.Disconnect(t.Context(), Unpower); err != nil {
		t.Error(err)
	}
	// Without a card nothing is sent.
	for name, f := range map[string]func() error{
		"transmit":  func() error { _, err := r.Transmit(t.Context(), []byte{0, 0, 0, 0}); return err },
		"reset":     func() error { _, err := r.Reset(t.Context(), Warm); return err },
		"control":   func() error { _, err := r.Control(t.Context(), 0, nil); return err },
		"attribute": func() error { _, err := r.Attribute(t.Context(), 0); return err },
		"begin":     func() error { return r.Begin(t.Context()) },
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), "no card is connected") {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.Close()
	if _, err := r.State(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// Every return code comes back by its name, with the reader's, and leaves the
// connection usable.
func TestCodes(t *testing.T) {
	d := start(t)
	r := connected(t)
	ctx := t.Context()
	for cmd, f := range map[command]func() error{
		cmdTransmit:   func() error { _, err := r.Transmit(ctx, []byte{0, 0, 0, 0}); return err },
		cmdReconnect:  func() error { _, err := r.Reset(ctx, Warm); return err },
		cmdControl:    func() error { _, err := r.Control(ctx, 1, nil); return err },
		cmdAttribute:  func() error { _, err := r.Attribute(ctx, 1); return err },
		cmdStatus:     func() error { return r.Check(ctx) },
		cmdBegin:      func() error { return r.Begin(ctx) },
		cmdEnd:        func() error { return r.End(ctx, Leave) },
		cmdDisconnect: func() error { err := r.Disconnect(ctx, Leave); r.Connect(ctx, Shared); return err },
		cmdConnect:    func() error { r.card = 0; _, err := r.Connect(ctx, Shared); r.card = 1; return err },
	} {
		d.Codes = map[uint32]uint32{uint32(cmd): uint32(RemovedCard)}
		if err := f(); !errors.Is(err, RemovedCard) || !strings.Contains(err.Error(), "reader Test Reader 00 00: SCARD_W_REMOVED_CARD: ") {
			t.Errorf("command %02X: %v", cmd, err)
		}
	}
	d.Codes = map[uint32]uint32{uint32(cmdEstablish): uint32(InternalError)}
	if _, err := Open(ctx, "Test"); !errors.Is(err, InternalError) {
		t.Errorf("no context: %v", err)
	}
	seen := map[string]bool{}
	for c := Code(0x80100001); c < 0x80100070; c++ {
		text := c.Error()
		if seen[text] {
			t.Errorf("%s twice", text)
		}
		seen[text] = true
	}
	if got := Code(0x80100031).Error(); got != "PC/SC code 80100031" {
		t.Errorf("an unknown code: %s", got)
	}
	for err, want := range map[error]bool{UnresponsiveCard: true, NotTransacted: true, UnpoweredCard: true, RemovedCard: false, NoSmartcard: false} {
		if Mute(err) != want {
			t.Errorf("%v: mute is %v", err, Mute(err))
		}
	}
}

func TestLimits(t *testing.T) {
	d := start(t)
	for name, f := range map[string]func(*Reader) error{
		"answer":    func(r *Reader) error { _, err := r.Transmit(t.Context(), []byte{0, 0, 0, 0}); return err },
		"control":   func(r *Reader) error { _, err := r.Control(t.Context(), 1, nil); return err },
		"attribute": func(r *Reader) error { _, err := r.Attribute(t.Context(), 1); return err },
	} {
		r := connected(t)
		d.Lock()
		d.Length = 1 << 30
		d.Unlock()
		if err := f(r); err == nil || !strings.Contains(err.Error(), "1073741824 bytes, want at most") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := r.State(t.Context()); err == nil {
			t.Errorf("%s: the connection is used on", name)
		}
		for free := false; !free; { // the daemon sees that the client is gone
			all, err := Readers(t.Context())
			free = err != nil || !all[0].InUse
		}
		d.Lock()
		d.Length = 0
		d.Unlock()
	}
	r := connected(t)
	for _, n := range []int{0, 3, 262} {
		if _, err := r.Transmit(t.Context(), make([]byte, n)); err == nil || !strings.Contains(err.Error(), "want 4..261") {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := r.Control(t.Context(), 1, make([]byte, maxControl+1)); err == nil {
		t.Error("a long message was sent")
	}
	r.Disconnect(t.Context(), Leave)
	r.name = strings.Repeat("x", nameSize)
	if _, err := r.Connect(t.Context(), Shared); err == nil || !strings.Contains(err.Error(), "want at most 127") {
		t.Errorf("a long name: %v", err)
	}
}

func TestWait(t *testing.T) {
	d := pcsctest.Start(t, reader)
	r := opened(t)
	if _, err := r.Connect(t.Context(), Exclusive); !errors.Is(err, NoSmartcard) || !strings.Contains(err.Error(), "insert it") {
		t.Errorf("no card: %v", err)
	}
	later := func(f func()) {
		go func() {
			for range 500 {
				if d.Waiting() > 0 {
					break
				}
				time.Sleep(time.Millisecond)
			}
			f()
		}()
	}
	later(func() { d.Insert(reader, newEcho()) })
	if s, err := r.WaitInserted(t.Context()); err != nil || !s.Present {
		t.Fatalf("%+v, %v", s, err)
	}
	if s, err := r.WaitInserted(t.Context()); err != nil || !s.Present {
		t.Fatalf("it is there: %+v, %v", s, err)
	}
	later(func() { d.Insert(reader, nil) })
	if s, err := r.WaitRemoved(t.Context()); err != nil || s.Present {
		t.Fatalf("%+v, %v", s, err)
	}
	// Another card at once: the first one is gone all the same.
	d.Insert(reader, newEcho())
	later(func() { d.Insert(reader, newEcho()) })
	if s, err := r.WaitRemoved(t.Context()); err != nil || !s.Present {
		t.Fatalf("%+v, %v", s, err)
	}
	// A wait that is called off leaves the reader as good as before.
	d.Insert(reader, nil)
	why := errors.New("the shift is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	later(func() { cancel(why) })
	if _, err := r.WaitInserted(ctx); !errors.Is(err, why) || !strings.Contains(err.Error(), "Test Reader 00 00: waiting for a card: ") {
		t.Fatalf("called off: %v", err)
	}
	if s, err := r.State(t.Context()); err != nil || s.Present {
		t.Fatalf("after a wait: %+v, %v", s, err)
	}
	d.Plug()
	if _, err := r.WaitInserted(t.Context()); !errors.Is(err, ReaderUnavailable) {
		t.Errorf("unplugged: %v", err)
	}
	if _, err := r.State(t.Context()); !errors.Is(err, ReaderUnavailable) {
		t.Errorf("unplugged: %v", err)
	}
}

// A command that is given up takes the connection with it.
func TestGivenUp(t *testing.T) {
	d := start(t)
	r := connected(t)
	d.Lock()
	d.Silent = true
	d.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.Transmit(ctx, []byte{0, 0, 0, 0}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no answer: %v", err)
	}
	if _, err := r.State(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("used on: %v", err)
	}
}

// table is a daemon's, with one reader and a card in it.
func table() []byte {
	b := make([]byte, readers*stateSize)
	copy(b, reader)
	copy(b[nameSize:], words(1, statePresent|statePowered, 0))
	copy(b[nameSize+12:], newEcho().atr)
	copy(b[nameSize+48:], words(4, 1))
	return b
}

func TestStates(t *testing.T) {
	b := table()
	binary.NativeEndian.PutUint32(b[nameSize+48:], 0xFFFFFFFF) // a card that gave no answer
	all, err := parseStates(b)
	if err != nil || len(all) != 1 || !all[0].Mute || all[0].ATR != nil {
		t.Errorf("a mute card: %+v, %v", all, err)
	}
	if _, err := parseStates(b[1:]); err == nil {
		t.Error("a short table was read")
	}
	copy(b, strings.Repeat("x", nameSize))
	if _, err := parseStates(b); err == nil || !strings.Contains(err.Error(), "no end") {
		t.Errorf("a name without end: %v", err)
	}
	if _, err := against(t, b).states(t.Context()); err == nil {
		t.Error("the table of a wrong daemon was taken")
	}
}

// Whatever a daemon says, its client neither panics nor takes more memory than
// a command's own limits.
func FuzzDaemon(f *testing.F) {
	whole := append(words(4, 4, 0), table()...)
	f.Add(append(whole, words(2, 77, 0)...))
	f.Add(append(bytes.Clone(whole), words(0, 0, 0, 0, 0, 0, 1<<31, 0)...))
	f.Add(table())
	f.Add(words(7, 1, 16, 5, 0, 16, 2, 0, 0x9000))
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx := t.Context()
		against(t, b).agree(ctx)
		calls := []func(r *Reader) error{
			func(r *Reader) error { return r.open(ctx, "") },
			func(r *Reader) error { _, err := r.Transmit(ctx, []byte{0, 0xB0, 0, 0, 0}); return err },
			func(r *Reader) error { _, err := r.Control(ctx, 1, nil); return err },
			func(r *Reader) error { _, err := r.Attribute(ctx, 1); return err },
			func(r *Reader) error { _, err := r.Reset(ctx, Unpower); return err },
			func(r *Reader) error { r.card = 0; _, err := r.Connect(ctx, Shared); return err },
			func(r *Reader) error { _, err := r.WaitInserted(ctx); return err },
			func(r *Reader) error { return r.Check(ctx) },
		}
		for i, call := range calls {
			r := &Reader{conn: against(t, b), name: reader, card: 5, active: 1}
			if err := call(r); err == nil && len(b) == 0 {
				t.Errorf("call %d is content with nothing", i)
			}
		}
		all, err := parseStates(b)
		if err == nil && len(all) > readers {
			t.Errorf("%d readers", len(all))
		}
	})
}
