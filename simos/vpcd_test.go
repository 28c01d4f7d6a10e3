package simos_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ankan/simos"
	"ankan/uicc"
)

// A pcd is vpcd's end of the connection.
type pcd struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	done chan error
}

func attach(t *testing.T, ctx context.Context, card simos.Socketed) *pcd {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := &pcd{t: t, done: make(chan error, 1)}
	go func() { p.done <- simos.Attach(ctx, conn, card) }()
	if p.conn, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.conn.Close() })
	p.in = bufio.NewReader(p.conn)
	return p
}

func (p *pcd) send(b ...byte) {
	p.t.Helper()
	if _, err := p.conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pcd) ask(b ...byte) []byte {
	p.t.Helper()
	p.send(b...)
	var n [2]byte
	if _, err := io.ReadFull(p.in, n[:]); err != nil {
		p.t.Fatal(err)
	}
	out := make([]byte, binary.BigEndian.Uint16(n[:]))
	if _, err := io.ReadFull(p.in, out); err != nil {
		p.t.Fatal(err)
	}
	return out
}

func (p *pcd) end() error {
	p.t.Helper()
	select {
	case err := <-p.done:
		return err
	case <-time.After(20 * time.Second):
		p.t.Fatal("the card does not let go")
		return nil
	}
}

func TestAttach(t *testing.T) {
	card := newChip(t, 1, false)
	personalise(t, card)
	ctx, cancel := context.WithCancel(t.Context())
	p := attach(t, ctx, card.Socket())
	atr := p.ask(4)
	if err := uicc.ATR(atr).Check(); err != nil {
		t.Fatalf("%X: %v", atr, err)
	}
	p.send(1)
	if got := p.ask(0, 0xA4, 0, 0x04, 2, 0x3F, 0); len(got) != 2 || got[0] != 0x61 {
		t.Errorf("SELECT: %X", got)
	}
	p.send(2)
	if got := p.ask(0, 0xC0, 0, 0, 0); !bytes.Equal(got, []byte{0x69, 0x85}) {
		t.Errorf("after a reset something waits: %X", got)
	}
	if got := p.ask(bytes.Repeat([]byte{0}, 60000)...); !bytes.Equal(got, []byte{0x67, 0}) {
		t.Errorf("a long command: %X", got)
	}
	p.send(0)
	if got := p.ask(4); !bytes.Equal(got, atr) {
		t.Errorf("ATR after power off: %X", got)
	}
	cancel()
	if err := p.end(); err != nil {
		t.Errorf("taken out: %v", err)
	}
}

// mute is a card that fails where it is told.
type mute struct{ reset, transmit error }

func (m mute) Reset(context.Context) (uicc.ATR, error)          { return uicc.ATR{0x3B, 0}, m.reset }
func (m mute) Transmit(context.Context, []byte) ([]byte, error) { return nil, m.transmit }

func TestAttachEnds(t *testing.T) {
	gone := errors.New("contact lost")
	for name, c := range map[string]struct {
		card mute
		send []byte
		want string
	}{
		"hung up":        {mute{}, nil, "the reader hung up"},
		"no such byte":   {mute{}, []byte{9}, "control byte 09"},
		"mute":           {mute{transmit: gone}, []byte{0, 0, 0, 0}, "contact lost"},
		"no reset":       {mute{reset: gone}, []byte{1}, "contact lost"},
		"no answer to 4": {mute{reset: gone}, []byte{4}, "contact lost"},
		"empty frame":    {mute{}, []byte{}, "frame of 0 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			p := attach(t, t.Context(), c.card)
			if c.send == nil {
				p.conn.Close()
			} else {
				p.send(c.send...)
			}
			if err := p.end(); err == nil || !strings.Contains(err.Error(), "vpcd: "+c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

func TestChipFile(t *testing.T) {
	card := newChip(t, 1, true)
	dir := t.TempDir()
	path := filepath.Join(dir, card.Serial().String()+".chip")
	if err := simos.SaveChip(path, card); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	again, err := simos.LoadChip(path)
	if err != nil || !bytes.Equal(again.Marshal(), card.Marshal()) {
		t.Errorf("another chip: %v", err)
	}
	rack, err := simos.NewRack(dir)
	if err != nil {
		t.Fatal(err)
	}
	if all, fresh := rack.Chips(); len(all) != 1 || len(fresh) != 0 {
		t.Errorf("in a rack: %v, fresh %v", all, fresh)
	}
	if err := os.WriteFile(path, []byte("no chip"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := simos.LoadChip(path); !errors.Is(err, simos.ErrMemory) {
		t.Errorf("no chip: %v", err)
	}
	if _, err := simos.LoadChip(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := simos.SaveChip(filepath.Join(dir, "none", "x"), card); err == nil {
		t.Error("saved to nowhere")
	}
}

// Whatever a reader sends, the card answers or hangs up.
func FuzzAttach(f *testing.F) {
	f.Add([]byte{0, 1, 1, 0, 1, 4, 0, 5, 0, 0xA4, 0, 4, 0})
	f.Add([]byte{0, 1, 0, 0, 1, 2, 0, 0})
	f.Add([]byte{0xFF, 0xFF, 1})
	card := newChip(f, 1, false)
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, theirs := net.Pipe()
		go func() {
			theirs.Write(b)
			theirs.Close()
		}()
		go io.Copy(io.Discard, theirs)
		if err := simos.Attach(t.Context(), ours, card.Clone().Socket()); err == nil {
			t.Error("a reader that hung up is there")
		}
	})
}
