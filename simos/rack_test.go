package simos_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"ankan/simos"
	"ankan/uicc"
)

// serve runs a rack and returns its address and what stops it.
func serve(t testing.TB, r *simos.Rack) (address string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

func rackOf(t testing.TB, dir string, n int) *simos.Rack {
	t.Helper()
	r, err := simos.NewRack(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := r.Add(newChip(t, i+1, true)); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func dial(t testing.TB, address string) *simos.Reader {
	t.Helper()
	r, err := simos.Dial(context.Background(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func serial(n byte) simos.Serial { return simos.Serial{7: n} }

func TestRack(t *testing.T) {
	ctx := t.Context()
	rack := rackOf(t, "", 2)
	address, _ := serve(t, rack)
	a, b := dial(t, address), dial(t, address)

	if _, err := a.Reset(ctx); !errors.Is(err, simos.ErrMute) {
		t.Errorf("resetting an empty slot: %v", err)
	}
	if _, err := a.Transmit(ctx, []byte{0, 0xA4, 0, 0}); !errors.Is(err, simos.ErrMute) {
		t.Errorf("a command to an empty slot: %v", err)
	}
	s, err := a.Take(ctx)
	must(t, err)
	if s != serial(1) {
		t.Errorf("took %s", s)
	}
	if _, err := a.Transmit(ctx, []byte{0, 0xA4, 0, 0}); !errors.Is(err, simos.ErrMute) {
		t.Errorf("a command without power: %v", err)
	}
	atr, err := a.Reset(ctx)
	must(t, err)
	must(t, atr.Check())
	l := line{card: a, keys: keySet(t, 0x10)}
	must(t, l.run(ctx))
	_, err = a.Reset(ctx)
	must(t, err)
	checkCard(t, a, 1)

	if _, err := a.Take(ctx); !errors.Is(err, simos.ErrSlot) {
		t.Errorf("taking into a full slot: %v", err)
	}
	if err := b.Insert(ctx, s); !errors.Is(err, simos.ErrInUse) {
		t.Errorf("inserting a chip that is in use: %v", err)
	}
	if err := rack.SetFault(s, simos.Fault{}); !errors.Is(err, simos.ErrInUse) {
		t.Errorf("a fault for a chip in use: %v", err)
	}
	if err := b.Insert(ctx, serial(9)); !errors.Is(err, simos.ErrNoChip) {
		t.Errorf("inserting a chip that is not there: %v", err)
	}
	if s, err := b.Take(ctx); err != nil || s != serial(2) {
		t.Errorf("took %s, %v", s, err)
	}
	must(t, b.Eject(ctx))
	must(t, b.Eject(ctx))
	if _, err := b.Take(ctx); !errors.Is(err, simos.ErrNoChip) {
		t.Errorf("taking when all were taken: %v", err)
	}
	must(t, a.Eject(ctx))
	must(t, b.Insert(ctx, s))
	_, err = b.Reset(ctx)
	must(t, err)
	checkCard(t, b, 2)
	all, untouched := rack.Chips()
	if len(all) != 2 || len(untouched) != 0 {
		t.Errorf("%v, %v", all, untouched)
	}
	must(t, b.Close())
	if err := b.Eject(ctx); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	// The chip comes back when the connection has ended.
	for i := 0; ; i++ {
		err := a.Insert(ctx, s)
		if err == nil {
			break
		}
		if i == 1000 {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	for _, cmd := range [][]byte{nil, {1, 2, 3}, make([]byte, 262), {0xFF, 'T', 0, 0}} {
		if _, err := a.Transmit(ctx, cmd); err == nil || errors.Is(err, simos.ErrMute) {
			t.Errorf("command %X was sent", cmd)
		}
	}
	if err := rack.Add(newChip(t, 1, true)); err == nil {
		t.Error("the rack took a serial number twice")
	}
	if err := rack.SetFault(serial(9), simos.Fault{}); !errors.Is(err, simos.ErrNoChip) {
		t.Errorf("a fault for a chip that is not there: %v", err)
	}
}

func TestFaults(t *testing.T) {
	ctx := t.Context()
	lot := uicc.Command{CLA: 0x80, INS: uicc.INSGetData, P1: 0xDF, P2: 0x22, Le: 256}.Append(nil)
	for name, c := range map[string]struct {
		fault simos.Fault
		check func(t *testing.T, r *simos.Reader)
	}{
		"mute": {simos.Fault{Kind: simos.Mute, After: 1}, func(t *testing.T, r *simos.Reader) {
			_, err := r.Transmit(ctx, lot)
			must(t, err)
			if _, err := r.Transmit(ctx, lot); !errors.Is(err, simos.ErrMute) {
				t.Error(err)
			}
			if _, err := r.Reset(ctx); !errors.Is(err, simos.ErrMute) {
				t.Error(err)
			}
		}},
		"flaky": {simos.Fault{Kind: simos.Flaky}, func(t *testing.T, r *simos.Reader) {
			for range 2 {
				if _, err := r.Transmit(ctx, lot); !errors.Is(err, simos.ErrMute) {
					t.Error(err)
				}
			}
			_, err := r.Reset(ctx)
			must(t, err)
			_, err = r.Transmit(ctx, lot)
			must(t, err)
		}},
		"broken": {simos.Fault{Kind: simos.Broken}, func(t *testing.T, r *simos.Reader) {
			if b, err := r.Transmit(ctx, lot); err != nil || uicc.Response(b).SW() != uicc.SWProblem {
				t.Errorf("%X %v", b, err)
			}
		}},
		"late": {simos.Fault{Kind: simos.Late, Delay: 50 * time.Millisecond}, func(t *testing.T, r *simos.Reader) {
			began := time.Now()
			_, err := r.Transmit(ctx, lot)
			must(t, err)
			if d := time.Since(began); d < 50*time.Millisecond {
				t.Errorf("answered after %s", d)
			}
			short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
			defer cancel()
			if _, err := r.Transmit(short, lot); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			if _, err := r.Transmit(ctx, lot); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the reader goes on after a lost answer: %v", err)
			}
		}},
		"wrong lot": {simos.Fault{Kind: simos.WrongLot}, func(t *testing.T, r *simos.Reader) {
			if b, err := r.Transmit(ctx, lot); err != nil || string(b[3:len(b)-2]) != "WRONG-LOT" {
				t.Errorf("%X %v", b, err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			rack := rackOf(t, "", 1)
			must(t, rack.SetFault(serial(1), c.fault))
			address, _ := serve(t, rack)
			r := dial(t, address)
			must(t, r.Insert(ctx, serial(1)))
			_, err := r.Reset(ctx)
			must(t, err)
			c.check(t, r)
		})
	}
}

// A chip that is pulled out takes its reader along; it is well in another one.
// When all readers are given up, every chip is back.
func TestPulled(t *testing.T) {
	ctx := t.Context()
	rack := rackOf(t, "", 1)
	must(t, rack.SetFault(serial(1), simos.Fault{Kind: simos.Pulled, After: 1}))
	address, _ := serve(t, rack)
	r := dial(t, address)
	must(t, r.Insert(ctx, serial(1)))
	_, err := r.Reset(ctx)
	must(t, err)
	lot := uicc.Command{CLA: 0x80, INS: uicc.INSGetData, P1: 0xDF, P2: 0x22, Le: 256}.Append(nil)
	_, err = r.Transmit(ctx, lot)
	must(t, err)
	for range 2 {
		if _, err := r.Transmit(ctx, lot); err == nil || errors.Is(err, simos.ErrMute) {
			t.Errorf("pulled out: %v", err)
		}
	}
	rack.Rest()
	r = dial(t, address)
	must(t, r.Insert(ctx, serial(1)))
	if err := rack.SetFault(serial(1), simos.Fault{}); !errors.Is(err, simos.ErrInUse) {
		t.Errorf("a chip in a reader: %v", err)
	}
	_, err = r.Reset(ctx)
	must(t, err)
	_, err = r.Transmit(ctx, lot)
	must(t, err)
	must(t, r.Close())
	rack.Rest()
	must(t, rack.SetFault(serial(1), simos.Fault{}))
}

// A context that has ended already sends nothing and breaks nothing.
func TestReaderEndedContext(t *testing.T) {
	address, _ := serve(t, rackOf(t, "", 1))
	r := dial(t, address)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Take(ended); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := r.Take(t.Context()); err != nil {
		t.Error(err)
	}
}

// A rack that is stopped and started again has its chips as they were.
func TestRackFolder(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "rack")
	rack := rackOf(t, dir, 3)
	address, stop := serve(t, rack)
	r := dial(t, address)
	s, err := r.Take(ctx)
	must(t, err)
	_, err = r.Reset(ctx)
	must(t, err)
	l := line{card: r, keys: keySet(t, 0x10)}
	must(t, l.run(ctx))
	stop() // the chip is in the slot still
	if _, err := r.Reset(ctx); err == nil {
		t.Error("a stopped rack answers")
	}
	if info, err := os.Stat(filepath.Join(dir, s.String()+".chip")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}

	rack, err = simos.NewRack(dir)
	must(t, err)
	if all, untouched := rack.Chips(); len(all) != 3 || len(untouched) != 2 {
		t.Errorf("%v, %v", all, untouched)
	}
	address, stop = serve(t, rack)
	r = dial(t, address)
	must(t, r.Insert(ctx, s))
	_, err = r.Reset(ctx)
	must(t, err)
	checkCard(t, r, 1)
	must(t, r.Eject(ctx))

	// A folder that cannot be written: nothing is given out.
	must(t, os.RemoveAll(dir))
	if _, err := r.Take(ctx); !errors.Is(err, simos.ErrStore) {
		t.Errorf("taking without a folder: %v", err)
	}
	if err := rack.Add(newChip(t, 9, true)); !errors.Is(err, simos.ErrStore) {
		t.Errorf("adding without a folder: %v", err)
	}
	must(t, r.Insert(ctx, s)) // it was taken before
	if err := r.Eject(ctx); !errors.Is(err, simos.ErrStore) {
		t.Errorf("ejecting without a folder: %v", err)
	}
	stop()
}

func TestRackFolderRefuses(t *testing.T) {
	good := append([]byte{0}, newChip(t, 1, true).Marshal()...)
	name := serial(1).String() + ".chip"
	for what, c := range map[string]struct {
		name string
		b    []byte
	}{
		"empty":      {name, nil},
		"changed":    {name, append([]byte{0, 1}, good[2:]...)},
		"wrong mark": {name, append([]byte{2}, good[1:]...)},
		"wrong name": {serial(2).String() + ".chip", good},
	} {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, c.name), c.b, 0o600))
		if _, err := simos.NewRack(dir); !errors.Is(err, simos.ErrMemory) {
			t.Errorf("%s: %v", what, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := simos.NewRack(file); err == nil {
		t.Error("a file was taken for a folder")
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600))
	if _, err := simos.NewRack(dir); err != nil {
		t.Errorf("another file in the folder: %v", err)
	}
}

// The rack speaks to this machine only, and ends a connection that breaks the
// protocol.
func TestRackProtocol(t *testing.T) {
	rack := rackOf(t, "", 1)
	open, err := net.Listen("tcp", ":0")
	must(t, err)
	if err := rack.Serve(t.Context(), open); err == nil {
		t.Error("the rack listens on all addresses")
	}
	address, _ := serve(t, rack)
	for name, frame := range map[string]string{"empty frame": "\x00\x00", "long frame": "\x02\x01"} {
		c, err := net.Dial("tcp", address)
		must(t, err)
		c.Write([]byte(frame))
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		c.Close()
	}
	c, err := net.Dial("tcp", address)
	must(t, err)
	defer c.Close()
	for _, x := range []struct{ send, want string }{
		{"\x00\x01\x04", "\x00\x00"},       // no ATR
		{"\x00\x03\xFFXX", "\x00\x01\x03"}, // no such control frame
		{"\x00\x03\xFFI0", "\x00\x01\x03"}, // half a serial number
		{"\x00\x02\xFFT", "\x00\x09\x00" + "\x00\x00\x00\x00\x00\x00\x00\x01"},
		{"\x00\x01\x01\x00\x01\x00\x00\x01\x04", "\x00\x00"}, // on, off
		{"\x00\x01\x00\x00\x05\x80\xCA\xDF\x20\x00", "\x00\x00"},
		{"\x00\x01\x01\x00\x05\x80\xCA\xDF\x20\x00", "\x00\x06\xDF\x20\x01\x00\x90\x00"},
	} {
		c.Write([]byte(x.send))
		got := make([]byte, len(x.want))
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != x.want {
			t.Errorf("%X: reply %X, want %X, %v", x.send, got, x.want, err)
		}
	}
}

// Whatever a reader says, the drawer answers in frames, hangs up with it, and has its
// chips back.
func FuzzRack(f *testing.F) {
	f.Add([]byte("\x00\x02\xFFT\x00\x01\x01\x00\x01\x04\x00\x05\x80\xCA\xDF\x20\x00\x00\x02\xFFE"))
	f.Add([]byte("\x00\x0A\xFFI\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01\x02\x00\x01\x00\x00\x02\xFFT"))
	f.Add([]byte("\x00\x05\x00\xA4\x00\x00\x02\x02\x00"))
	f.Add([]byte("\x00\x00\xFF\xFF"))
	rack := rackOf(f, "", 2)
	address, _ := serve(f, rack)
	f.Fuzz(func(t *testing.T, said []byte) {
		if len(said) > 16<<10 {
			return
		}
		c, err := net.Dial("tcp", address)
		must(t, err)
		defer c.Close()
		must(t, c.SetDeadline(time.Now().Add(30*time.Second)))
		go func() {
			c.Write(said)
			c.(*net.TCPConn).CloseWrite()
		}()
		for answers, head := bufio.NewReader(c), make([]byte, 2); ; {
			if _, err := io.ReadFull(answers, head); err == io.EOF {
				break
			} else if err != nil {
				if errors.Is(err, syscall.ECONNRESET) {
					break // it did not read to the end what it refused
				}
				t.Fatal(err)
			}
			n := int64(binary.BigEndian.Uint16(head))
			if got, err := io.CopyN(io.Discard, answers, n); n > 258 || got != n {
				t.Fatalf("an answer of %d bytes, %d of them here: %v", n, got, err)
			}
		}
		rack.Rest()
		r := dial(t, address)
		for i := range 2 {
			must(t, r.Insert(t.Context(), serial(byte(i+1))))
			must(t, r.Eject(t.Context()))
		}
		r.Close()
	})
}

// A server that is not a rack does not fool a reader.
func TestReaderRefuses(t *testing.T) {
	for name, reply := range map[string]string{
		"too long": "\x01\x03", "wrong code": "\x00\x01\x09", "no serial": "\x00\x01\x00", "short serial": "\x00\x03\x00\x00\x00", "cut": "\x00\x09\x00", "nothing": "",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 4))
			c.Write([]byte(reply))
			c.Close()
		}()
		r := dial(t, l.Addr().String())
		_, first := r.Take(t.Context())
		_, second := r.Take(t.Context())
		if first == nil || second == nil {
			t.Errorf("%s: %v, %v", name, first, second)
		}
		l.Close()
	}
	if _, err := simos.Dial(t.Context(), "tcp", "127.0.0.1:1"); err == nil {
		t.Error("nobody was reached")
	}
}

func TestRackUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rack.sock")
	l, err := net.Listen("unix", path)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	rack := rackOf(t, "", 1)
	go func() { done <- rack.Serve(ctx, l) }()
	r, err := simos.Dial(ctx, "unix", path)
	must(t, err)
	_, err = r.Take(ctx)
	must(t, err)
	cancel()
	must(t, <-done)
}

func BenchmarkRackTransmit(b *testing.B) {
	address, _ := serve(b, rackOf(b, "", 1))
	r := dial(b, address)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	_, err := r.Take(ctx)
	must(b, err)
	_, err = r.Reset(ctx)
	must(b, err)
	cmd := []byte{0x80, 0xCA, 0xDF, 0x20, 0}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Transmit(ctx, cmd); err != nil {
			b.Fatal(err)
		}
	}
}

// What a chip was told before a reset is in its file: a drawer that dies loses
// nothing that a line has an answer to.
func TestRackDies(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "rack")
	address, _ := serve(t, rackOf(t, dir, 1))
	r := dial(t, address)
	s, err := r.Take(ctx)
	must(t, err)
	_, err = r.Reset(ctx)
	must(t, err)
	l := line{card: r, keys: keySet(t, 0x10)}
	must(t, l.run(ctx))
	_, err = r.Reset(ctx)
	must(t, err)
	// The rack has the chip in a slot still; another reads what it left.
	after, err := simos.NewRack(dir)
	must(t, err)
	address, _ = serve(t, after)
	r = dial(t, address)
	must(t, r.Insert(ctx, s))
	_, err = r.Reset(ctx)
	must(t, err)
	checkCard(t, r, 1)
}
