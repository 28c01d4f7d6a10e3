// Package pcsctest is a PC/SC daemon for tests, with readers that tests put
// cards into. It answers as pcscd does, without its drivers.
package pcsctest

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"ankan/uicc"
)

// A Card is what is put into a reader. A simos.Chip is one.
type Card interface {
	uicc.Card
	Reset() uicc.ATR // nil if it is mute
	Off()
}

// A Daemon serves readers. Its fields may be changed between calls of Lock and
// Unlock.
type Daemon struct {
	sync.Mutex
	Lowest, Highest uint32            // minor versions of protocol 4 that it takes
	Codes           map[uint32]uint32 // return codes instead of success, by command
	Length          uint32            // that answers claim to have; 0 is the truth
	Silent          bool              // commands to cards are not answered
	Resets          []uint32          // dispositions of the resets that it was asked for
	Sent            [][]byte          // commands that reached cards

	slots   []*slot
	waiting []net.Conn
	ctx     context.Context
}

type slot struct {
	name   string
	card   Card
	atr    uicc.ATR
	events uint32
	owner  net.Conn // connected to the card
	fresh  bool     // the card is not the one that owner connected to
}

// Start serves readers with these names until the test ends, where its process
// looks for the daemon (PCSCLITE_CSOCK_NAME).
func Start(t *testing.T, names ...string) *Daemon {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pcscd.comm")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	t.Setenv("PCSCLITE_CSOCK_NAME", path)
	d := &Daemon{Lowest: 4, Highest: 4, ctx: t.Context()}
	d.Plug(names...)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go d.serve(c)
		}
	}()
	return d
}

// Plug replaces the readers by empty ones with these names.
func (d *Daemon) Plug(names ...string) {
	d.Lock()
	defer d.Unlock()
	d.slots = nil
	for _, n := range names {
		d.slots = append(d.slots, &slot{name: n})
	}
	d.tell()
}

// Insert puts a card into a reader, in the place of any that is in it; nil only
// takes that out. Whoever waits is told.
func (d *Daemon) Insert(reader string, c Card) {
	d.Lock()
	defer d.Unlock()
	s := d.slot(reader)
	if s.card != nil {
		s.card.Off()
		s.events++
	}
	s.card, s.atr, s.fresh = c, nil, true
	if c != nil {
		s.atr = c.Reset()
		s.events++
	}
	d.tell()
}

// Waiting is how many clients wait for a change.
func (d *Daemon) Waiting() int {
	d.Lock()
	defer d.Unlock()
	return len(d.waiting)
}

func (d *Daemon) slot(name string) *slot {
	for _, s := range d.slots {
		if s.name == name {
			return s
		}
	}
	return nil
}

func (d *Daemon) tell() {
	for _, c := range d.waiting {
		c.Write(words(0, 0))
	}
	d.waiting = nil
}

// words are numbers as the daemon's structures hold them.
func words(w ...uint32) []byte {
	var b []byte
	for _, x := range w {
		b = binary.NativeEndian.AppendUint32(b, x)
	}
	return b
}

func word(b []byte, i int) uint32 { return binary.NativeEndian.Uint32(b[4*i:]) }

// Sizes of the daemon's structures.
const (
	nameSize  = 128
	stateSize = 184
	readers   = 16
	attrSize  = 264
)

// table is the readers' states.
func (d *Daemon) table() []byte {
	var b []byte
	for _, s := range d.slots {
		var row [stateSize]byte
		copy(row[:nameSize], s.name)
		state, n := uint32(0x02), uint32(0) // absent
		if s.card != nil {
			state, n = 0x54, uint32(len(s.atr)) // present, powered, specific
			if n == 0 {
				state, n = 0x0C, 0xFFFFFFFF // present, mute
			}
		}
		var used uint32
		if s.owner != nil {
			used = 1
		}
		copy(row[nameSize:], words(s.events, state, used))
		copy(row[nameSize+12:], s.atr)
		copy(row[nameSize+48:], words(n, 1))
		b = append(b, row[:]...)
	}
	return append(b, make([]byte, readers*stateSize-len(b))...)
}

// Codes that the daemon gives by itself.
const (
	unknownReader    = 0x80100009
	sharingViolation = 0x8010000B
	noSmartcard      = 0x8010000C
	notTransacted    = 0x80100016
	serviceStopped   = 0x8010001E
	unresponsiveCard = 0x80100066
	removedCard      = 0x80100069
)

func (d *Daemon) serve(c net.Conn) {
	defer c.Close()
	defer d.gone(c)
	for {
		var h [8]byte
		if _, err := io.ReadFull(c, h[:]); err != nil {
			return
		}
		if word(h[:], 0) > 1024 {
			return
		}
		body := make([]byte, word(h[:], 0))
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		var more []byte
		if at, ok := map[uint32]int{0x09: 3, 0x0A: 2}[word(h[:], 1)]; ok && len(body) >= 24 {
			if more = make([]byte, word(body, at)&0xFFFF); len(more) > 0 {
				if _, err := io.ReadFull(c, more); err != nil {
					return
				}
			}
		}
		if answer := d.answer(c, word(h[:], 1), body, more); answer != nil {
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}
}

// gone lets go of what a client had.
func (d *Daemon) gone(c net.Conn) {
	d.Lock()
	defer d.Unlock()
	d.waiting = slices.DeleteFunc(d.waiting, func(w net.Conn) bool { return w == c })
	for _, s := range d.slots {
		if s.owner == c {
			s.owner = nil
		}
	}
}

func (d *Daemon) answer(c net.Conn, cmd uint32, b, more []byte) []byte {
	d.Lock()
	defer d.Unlock()
	put := func(i int, v uint32) { binary.NativeEndian.PutUint32(b[4*i:], v) }
	length := func(n int) uint32 {
		if d.Length != 0 {
			return d.Length
		}
		return uint32(n)
	}
	rv := d.Codes[cmd]
	switch cmd {
	case 0x11: // version
		if m := word(b, 1); word(b, 0) != 4 || m < d.Lowest || m > d.Highest {
			rv = serviceStopped
		}
		put(0, 4)
		put(1, d.Highest)
		put(2, rv)
		return b
	case 0x12: // states
		return d.table()
	case 0x13: // wait
		// The table goes out before any change can be told.
		d.waiting = append(d.waiting, c)
		c.Write(d.table())
		return nil
	case 0x14: // stop waiting: no answer to whoever was told already
		if i := slices.Index(d.waiting, c); i >= 0 {
			d.waiting = slices.Delete(d.waiting, i, i+1)
			return words(0, 0)
		}
		return nil
	case 0x01: // establish context
		put(1, 77)
		put(2, rv)
		return b
	case 0x04: // connect
		name, _, _ := bytes.Cut(b[4:4+nameSize], []byte{0})
		rest := b[4+nameSize:]
		handle, protocol := uint32(0), uint32(0)
		if rv == 0 {
			handle, protocol, rv = d.connect(c, string(name))
		}
		copy(rest[8:], words(handle, protocol, rv))
		return b
	}
	at := int(word(b, 0)) - 1
	if at < 0 || at >= len(d.slots) || d.slots[at].owner != c {
		c.Close() // as pcscd does with a handle that is not the client's
		return nil
	}
	s := d.slots[at]
	if rv == 0 && cmd != 0x06 && cmd != 0x0A && cmd != 0x0F && (s.fresh || s.card == nil) {
		rv = removedCard
	}
	switch cmd {
	case 0x05: // reconnect
		d.Resets = append(d.Resets, word(b, 3))
		if rv == 0 {
			if s.atr = s.card.Reset(); s.atr == nil {
				rv = unresponsiveCard
			}
		}
		put(4, protocol(s.atr))
		put(5, rv)
	case 0x09: // transmit
		d.Sent = append(d.Sent, more)
		if d.Silent {
			return nil
		}
		var answer []byte
		if rv == 0 {
			var err error
			if answer, err = s.card.Transmit(d.ctx, more); err != nil {
				rv = notTransacted
			}
		}
		put(6, length(len(answer)))
		if put(7, rv); rv == 0 {
			return append(b, answer...)
		}
	case 0x0A: // control: the driver answers what it was sent
		put(4, length(len(more)))
		if put(5, rv); rv == 0 {
			return append(b, more...)
		}
	case 0x0F: // attribute: the ATR, whichever was asked for
		copy(b[8:8+attrSize], s.atr)
		copy(b[8+attrSize:], words(length(len(s.atr)), rv))
	case 0x06: // disconnect
		if word(b, 1) == 2 && s.card != nil {
			s.card.Off()
			s.atr = s.card.Reset()
		}
		s.owner = nil
		put(2, rv)
	default: // the return code is at the end
		put(len(b)/4-1, rv)
	}
	return b
}

func (d *Daemon) connect(c net.Conn, name string) (handle, active, rv uint32) {
	at := slices.IndexFunc(d.slots, func(s *slot) bool { return s.name == name })
	if at < 0 {
		return 0, 0, unknownReader
	}
	s := d.slots[at]
	switch {
	case s.card == nil:
		return 0, 0, noSmartcard
	case s.owner != nil:
		return 0, 0, sharingViolation
	}
	if s.atr = s.card.Reset(); s.atr == nil {
		return 0, 0, unresponsiveCard
	}
	s.owner, s.fresh = c, false
	return uint32(at + 1), protocol(s.atr), 0
}

// protocol is the daemon's number of the protocol that an ATR offers first.
func protocol(a uicc.ATR) uint32 {
	if t, err := a.Protocol(); err == nil && t == 1 {
		return 2
	}
	return 1
}
