package simos

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"ankan/durable"
	"ankan/uicc"
)

// A Rack is a drawer of chips behind a socket, so that chips live outside the
// process that personalises them and survive it. Each connection is one reader
// slot, which holds at most one chip; a chip is in one slot at most. When a
// connection ends its chip goes back into the drawer.
//
// The rack asks nobody who they are: it listens on loopback addresses and Unix
// sockets only.
//
// # Protocol
//
// Close to vpcd's, with the rack as the server. A frame is a length, uint16 big
// endian, and so many bytes. From the reader:
//
//	00          power off; no reply
//	01, 02      power on, reset; no reply
//	04          reply: ATR of the last reset; empty without one
//	FF 54       take the next chip that nobody has had ("T")
//	FF 49 + 8   insert the chip with this serial number ("I")
//	FF 45       eject ("E")
//	other       command APDU, 4 bytes or more; reply: response APDU, or empty: the
//	            chip gives no answer
//
// Replies to FF: 00 and the serial number of the chip in the slot (nothing after
// eject); 01 no such chip, or none left; 02 in use in another slot; 03 wrong
// frame, or the slot is not empty; 04 the chip could not be stored.
type Rack struct {
	dir string

	mu    sync.Mutex
	order []*bay
	bySer map[Serial]*bay
	from  int // bays before it are not untouched
	slots int // connections that are served
	empty sync.Cond
}

// bay is a place in the drawer. Its chip belongs to the slot while it is in use.
type bay struct {
	chip   *Chip
	serial Serial
	taken  bool // somebody has had it
	inUse  bool
	fault  Fault
	seen   int               // commands since the fault was set
	kept   [sha256.Size]byte // of what its file holds
}

// A Fault makes a chip of a rack go wrong, for demonstrations and tests.
type Fault struct {
	Kind  FaultKind
	After int           // commands that are answered before it strikes
	Delay time.Duration // of Late
}

// A FaultKind is how a chip goes wrong.
type FaultKind int

// The kinds of faults.
const (
	NoFault  FaultKind = iota
	Mute               // answers no more
	Flaky              // misses one answer, loses its power, and is well again: a bad contact
	Broken             // answers 6F00 to everything
	Late               // answers, but Delay later
	WrongLot           // is of another lot than its label says, from the start
	Pulled             // is pulled out, with the reader's cable; and is well again
)

// wrongLot is what a chip with that fault says.
const wrongLot = "WRONG-LOT"

// Errors of a rack.
var (
	ErrNoChip = errors.New("no such chip in the rack, or none left")
	ErrInUse  = errors.New("the chip is in another reader slot")
	ErrSlot   = errors.New("the reader slot holds a chip, or the frame is wrong")
	ErrStore  = errors.New("the rack could not store the chip")
	ErrMute   = errors.New("the chip does not answer")
)

// Codes of replies to FF.
const (
	replyOK byte = iota
	replyNoChip
	replyInUse
	replySlot
	replyStore
)

// NewRack makes a rack. With a folder it takes the chips that lie there, each in
// a file <serial number>.chip, and stores every chip when it is added, when it
// is first taken and when it leaves a slot. What was done to a chip in a slot
// when the rack is killed is lost. The files hold the keys of the chips.
func NewRack(dir string) (*Rack, error) {
	r := &Rack{dir: dir, bySer: make(map[Serial]*bay)}
	r.empty.L = &r.mu
	if dir == "" {
		return r, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("rack: %w", err)
	}
	files, err := os.ReadDir(dir) // sorted, hence by serial number
	if err != nil {
		return nil, fmt.Errorf("rack: %w", err)
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".chip")
		if !ok {
			continue
		}
		if err := r.load(name); err != nil {
			return nil, fmt.Errorf("rack: %s: %w", f.Name(), err)
		}
	}
	return r, nil
}

func (r *Rack) load(name string) error {
	c, taken, err := loadChip(r.path(name))
	if err != nil {
		return err
	}
	if c.Serial().String() != name {
		return fmt.Errorf("%w: it is chip %s", ErrMemory, c.Serial())
	}
	y := &bay{chip: c, serial: c.Serial(), taken: taken}
	r.order, r.bySer[y.serial] = append(r.order, y), y
	return nil
}

// LoadChip reads a chip from a file as a rack has it. It has no power. A file
// of another kind is ErrMemory.
func LoadChip(path string) (*Chip, error) {
	c, _, err := loadChip(path)
	return c, err
}

// loadChip also says whether somebody has had the chip.
func loadChip(path string) (c *Chip, taken bool, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, false, err
	}
	if len(b) == 0 || b[0] > 1 {
		return nil, false, ErrMemory
	}
	c, err = Unmarshal(b[1:])
	return c, b[0] == 1, err
}

// SaveChip writes a chip to a file as a rack has it, as one that somebody has
// had, all or nothing. The file holds the chip's keys; only its owner reads it.
func SaveChip(path string, c *Chip) error { return saveChip(path, fileOf(c, true)) }

// fileOf is what a chip's file holds.
func fileOf(c *Chip, taken bool) []byte {
	b := []byte{0}
	if taken {
		b[0] = 1
	}
	return append(b, c.Marshal()...)
}

func saveChip(path string, b []byte) error {
	err := durable.Do("chip.write", func() error { return os.WriteFile(path+".new", b, 0o600) })
	if err != nil {
		return err
	}
	return durable.Do("chip.rename", func() error { return os.Rename(path+".new", path) })
}

func (r *Rack) path(name string) string { return filepath.Join(r.dir, name+".chip") }

// store writes a chip to its file, all or nothing, unless the file holds it.
func (r *Rack) store(y *bay) error {
	if r.dir == "" {
		return nil
	}
	b := fileOf(y.chip, y.taken)
	sum := sha256.Sum256(b)
	if sum == y.kept {
		return nil
	}
	if err := saveChip(r.path(y.serial.String()), b); err != nil {
		return err
	}
	y.kept = sum
	return nil
}

// Add puts a chip into the drawer, which owns it from then on, and takes its
// power away. A serial number that the rack has is refused.
func (r *Rack) Add(c *Chip) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := c.Serial()
	if r.bySer[s] != nil {
		return fmt.Errorf("rack: chip %s is there already", s)
	}
	c.Off()
	y := &bay{chip: c, serial: s}
	if err := r.store(y); err != nil {
		return fmt.Errorf("rack: chip %s: %w: %w", s, ErrStore, err)
	}
	r.order, r.bySer[s] = append(r.order, y), y
	return nil
}

// Chips lists the serial numbers in the drawer, and those that nobody has had.
func (r *Rack) Chips() (all, untouched []Serial) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, y := range r.order {
		all = append(all, y.serial)
		if !y.taken {
			untouched = append(untouched, y.serial)
		}
	}
	return all, untouched
}

// SetFault makes a chip that is in no slot go wrong, or with NoFault well.
func (r *Rack) SetFault(s Serial, f Fault) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch y := r.bySer[s]; {
	case y == nil:
		return fmt.Errorf("rack: chip %s: %w", s, ErrNoChip)
	case y.inUse:
		return fmt.Errorf("rack: chip %s: %w", s, ErrInUse)
	default:
		y.fault, y.seen = f, 0
		if f.Kind == WrongLot {
			y.chip.relabel(wrongLot)
		}
	}
	return nil
}

// relabel makes the chip say another lot.
func (c *Chip) relabel(lot string) {
	k := c.core()
	clear(k.b[atLot : atLot+16])
	k.b[atLot] = byte(copy(k.b[atLot+1:atLot+16], lot))
}

// take gives the next chip that nobody has had.
func (r *Rack) take() (*bay, byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; r.from < len(r.order); r.from++ {
		if y := r.order[r.from]; !y.taken && !y.inUse {
			return r.give(y)
		}
	}
	return nil, replyNoChip
}

func (r *Rack) insert(s Serial) (*bay, byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch y := r.bySer[s]; {
	case y == nil:
		return nil, replyNoChip
	case y.inUse:
		return nil, replyInUse
	default:
		return r.give(y)
	}
}

// give hands a chip to a slot. That it was taken is stored first.
func (r *Rack) give(y *bay) (*bay, byte) {
	first := !y.taken
	y.taken = true
	if first {
		if err := r.store(y); err != nil {
			y.taken = false
			return nil, replyStore
		}
	}
	y.inUse = true
	return y, replyOK
}

// back takes a chip out of a slot and stores it.
func (r *Rack) back(y *bay) error {
	y.chip.Off()
	y.kept = [sha256.Size]byte{} // whatever became of the file meanwhile
	err := r.store(y)
	r.mu.Lock()
	defer r.mu.Unlock()
	y.inUse = false
	return err
}

// Serve gives a reader slot to each connection until the context ends; then it
// closes all, puts the chips back and returns nil. It refuses a listener that
// others than this machine can reach, and closes it.
func (r *Rack) Serve(ctx context.Context, l net.Listener) error {
	defer l.Close()
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		return fmt.Errorf("rack: address %s is not a loopback address", a)
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var slots sync.WaitGroup
	defer slots.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("rack: %w", err)
		}
		r.served(1)
		slots.Go(func() {
			defer r.served(-1)
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			s := slot{rack: r, in: bufio.NewReaderSize(conn, 512), conn: conn, ctx: ctx}
			s.serve()
			if s.bay != nil {
				r.back(s.bay)
			}
		})
	}
}

func (r *Rack) served(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slots += n
	r.empty.Broadcast()
}

// Rest waits until no connection is served: every chip is back in the drawer. It
// is for who knows that all readers were closed.
func (r *Rack) Rest() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.slots > 0 {
		r.empty.Wait()
	}
}

// slot is the rack's end of a connection.
type slot struct {
	rack *Rack
	conn net.Conn
	ctx  context.Context
	in   *bufio.Reader
	bay  *bay
	atr  uicc.ATR
	body [512]byte
	out  [2 + 258]byte
}

func (s *slot) serve() {
	for {
		body, err := readFrame(s.in, s.body[:])
		if err != nil {
			return
		}
		if len(body) == 1 {
			if body[0] == 4 {
				err = s.reply(s.atr)
			} else {
				s.power(body[0])
			}
		} else if body[0] == 0xFF {
			err = s.reply(s.control(body[1:]))
		} else {
			err = s.reply(s.transmit(body))
		}
		if err != nil {
			return
		}
	}
}

// readFrame reads a frame of at least one byte into buf.
func readFrame(r *bufio.Reader, buf []byte) ([]byte, error) {
	var n [2]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint16(n[:]))
	if size == 0 || size > len(buf) {
		return nil, fmt.Errorf("frame of %d bytes, want 1..%d", size, len(buf))
	}
	_, err := io.ReadFull(r, buf[:size])
	return buf[:size], err
}

// reply writes a frame, in one piece: two writes would wait for an
// acknowledgement in between.
func (s *slot) reply(body []byte) error {
	binary.BigEndian.PutUint16(s.out[:], uint16(len(body)))
	_, err := s.conn.Write(s.out[:2+copy(s.out[2:], body)])
	return err
}

func (s *slot) power(what byte) {
	s.atr = nil
	switch {
	case s.bay == nil:
	case what == 0:
		s.bay.chip.Off()
	case what <= 2 && !s.bay.mute():
		// A chip keeps what it was told even if the drawer dies: whoever has its
		// answers from before a reset may rely on them.
		if s.rack.store(s.bay) == nil {
			s.atr = s.bay.chip.Reset()
		}
	}
}

func (y *bay) mute() bool { return y.fault.Kind == Mute && y.seen >= y.fault.After }

func (s *slot) control(b []byte) []byte {
	var y *bay
	code := replySlot
	switch {
	case b[0] == 'E' && len(b) == 1:
		code = replyOK
		if s.bay != nil && s.rack.back(s.bay) != nil {
			code = replyStore
		}
		s.bay, s.atr = nil, nil
		return []byte{code}
	case s.bay != nil:
	case b[0] == 'T' && len(b) == 1:
		y, code = s.rack.take()
	case b[0] == 'I' && len(b) == 9:
		y, code = s.rack.insert(Serial(b[1:]))
	}
	if code != replyOK {
		return []byte{code}
	}
	s.bay = y
	return append([]byte{replyOK}, y.serial[:]...)
}

// transmit runs a command on the chip, with its fault. nil is no answer.
func (s *slot) transmit(cmd []byte) []byte {
	y := s.bay
	if y == nil {
		return nil
	}
	strikes := y.fault.Kind != NoFault && y.seen >= y.fault.After
	y.seen++
	if strikes {
		switch y.fault.Kind {
		case Mute:
			return nil
		case Flaky:
			y.fault = Fault{}
			y.chip.Off()
			return nil
		case Pulled:
			y.fault = Fault{}
			s.conn.Close()
			return nil
		case Broken:
			return []byte{0x6F, 0x00}
		case Late:
			select {
			case <-time.After(y.fault.Delay):
			case <-s.ctx.Done():
			}
		}
	}
	r, err := y.chip.Transmit(s.ctx, cmd)
	if err != nil {
		return nil
	}
	return r
}
