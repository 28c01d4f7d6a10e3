package simos

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"ankan/scp"
	"ankan/sim"
	"ankan/uicc"
)

// A Serial is a chip's serial number: bytes 10..17 of its CPLC, which are the
// IC's fabrication date, serial number and batch identifier.
type Serial [8]byte

// String is the serial number in hex.
func (s Serial) String() string { return hex.EncodeToString(s[:]) }

// ParseSerial reads what String writes.
func ParseSerial(s string) (Serial, error) {
	var n Serial
	if b, err := hex.DecodeString(s); err != nil || len(b) != len(n) || hex.EncodeToString(b) != s {
		return n, fmt.Errorf("chip serial number is %q, want 16 lower case hex digits", s)
	}
	hex.Decode(n[:], []byte(s))
	return n, nil
}

// A Life is the life cycle of a chip (GET DATA DF20).
type Life byte

// The life cycle. A chip goes down this list and never back, but for the way
// from Locked to Secured, and from Initialized to Loaded by DELETE FILE 3F00.
const (
	Blank       Life = 0x00 // as it came from the chip maker
	Loaded      Life = 0x01 // OP_READY: has its operating system, no files
	Initialized Life = 0x07 // has files; personalisation goes on
	Secured     Life = 0x0F // is a card: its access rules rule
	Locked      Life = 0x7F // answers the card manager only
	Terminated  Life = 0xFF // for ever
)

// String names the state as GlobalPlatform does.
func (l Life) String() string {
	switch l {
	case Blank:
		return "BLANK"
	case Loaded:
		return "OP_READY"
	case Initialized:
		return "INITIALIZED"
	case Secured:
		return "SECURED"
	case Locked:
		return "CARD_LOCKED"
	case Terminated:
		return "TERMINATED"
	}
	return fmt.Sprintf("life cycle %02X", byte(l))
}

// Errors of a chip that gives no answer.
var (
	ErrOff  = errors.New("the chip has no power: reset it")
	ErrTorn = errors.New("the chip lost power")
)

// A Config is what the chip maker gives a chip.
type Config struct {
	Serial Serial
	Lot    string            // 1..15 characters of printable ASCII
	Keys   scp.KeySet        // SCP03, key version 30
	Old    scp.DESKeySet     // instead of Keys: SCP02, key version 20
	Vendor ed25519.PublicKey // who may sign its operating system
	Seed   []byte            // of its random generator; at least 16 bytes
	Direct bool              // T=1: answers with its data at once, no GET RESPONSE
	Memory int               // non-volatile bytes; 0 means 256 KiB
}

// A Chip is a UICC in software. It holds the keys of a card and therefore
// cannot be printed, compared or encoded, but for Marshal. It starts without
// power. One goroutine at a time uses it. The zero Chip has no power and never
// gets any.
type Chip struct {
	sim.Hidden
	open func() *core
}

// core is the chip itself. What it keeps and what it forgets are apart.
type core struct {
	memory
	session *session // nil without power
}

// session is what a power loss takes away.
type session struct {
	channels [channels + 1]channel // the last is that of packets
	ch       *channel              // of the command at hand
	inside   bool                  // it came through the secure channel
	verified []int                 // codes that were verified
	scp      scp.Responder
	keys     scp.KeySet    // behind scp: its DEK opens what PUT KEY and STORE DATA bring
	domain   int           // whose secure channel it is: atManager, or a security domain's entry
	load     []byte        // LOAD: blocks so far
	block    int           // LOAD: the next block
	pending  *pending      // LOAD: what INSTALL announced
	perso    int           // STORE DATA: the application that INSTALL named
	told     int           // GET STATUS: entries that were told
	parts    scp.Assembler // ENVELOPE: short messages so far
	remote   *remoteApp    // the application of the packet at hand
	toSend   [][]byte      // proactive commands that wait for FETCH
	fetched  bool          // the first of them was fetched
	out      []byte        // response data
	waiting  int           // bytes of out that wait, -1: none
	sw       uicc.SW       // what ends them
	header   [4]byte       // of the command that left them
	answer   [258]byte
}

// channels is how many logical channels there are; the ATR says 8 or more.
const channels = 8

// channel is a logical channel. Files are offsets in memory; 0 is none.
type channel struct {
	open           bool
	dir, adf, file int
	app            int // what SELECT by name found last: an ADF, an instance, or atManager
	record         int // record pointer of file; 0: not set
	transfer       transfer
}

// The beginning of the memory: what every chip has.
const (
	atMagic    = 0
	atEnd      = 4
	atLife     = 8
	atFlags    = 9
	atSerial   = 10
	atLot      = 18 // length, then at most 15 characters
	atSequence = 34 // SCP03 sequence counter, 3 bytes
	atVersion  = 37 // SCP03 key version number
	atKeyLen   = 38
	atKeys     = 39 // ENC, MAC, DEK
	atVendor   = 135
	atRandom   = 167 // state of the generator
	atDigest   = 199 // of the operating system
	atOS       = 231 // authentication algorithms that it has: see algorithmBit
	atLimit    = 232 // size of the memory
	atRecords  = 236
)

// Flags of a chip.
const (
	flagDirect = 1
	flagOld    = 2 // its keys are SCP02's
)

const magic = "AKC1"

// NewChip makes a blank chip.
func NewChip(c Config) (*Chip, error) {
	if len(c.Lot) < 1 || len(c.Lot) > 15 || !printable(c.Lot) {
		return nil, fmt.Errorf("chip %s: lot is %q, want 1..15 printable characters", c.Serial, c.Lot)
	}
	if len(c.Vendor) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("chip %s: vendor's key has %d bytes, want %d", c.Serial, len(c.Vendor), ed25519.PublicKeySize)
	}
	if len(c.Seed) < 16 {
		return nil, fmt.Errorf("chip %s: seed has %d bytes, want at least 16", c.Serial, len(c.Seed))
	}
	if c.Memory == 0 {
		c.Memory = 256 << 10
	}
	if c.Memory < 1<<10 || c.Memory > 16<<20 {
		return nil, fmt.Errorf("chip %s: memory of %d bytes, want 1 KiB..16 MiB", c.Serial, c.Memory)
	}
	old := true
	keys, err := c.Old.Reveal(nil)
	if errors.Is(err, scp.ErrClosed) { // there are none
		old = false
		keys, err = c.Keys.Reveal(nil)
	}
	if err != nil {
		return nil, fmt.Errorf("chip %s: %w", c.Serial, err)
	}
	defer clear(keys)
	b := make([]byte, atRecords)
	copy(b[atMagic:], magic)
	binary.BigEndian.PutUint32(b[atEnd:], atRecords)
	copy(b[atSerial:], c.Serial[:])
	b[atLot] = byte(len(c.Lot))
	copy(b[atLot+1:], c.Lot)
	b[atVersion] = firstVersion
	if old {
		b[atVersion] = firstOldVersion
	}
	b[atKeyLen] = byte(len(keys) / 3)
	copy(b[atKeys:], keys)
	copy(b[atVendor:], c.Vendor)
	seed := sha256.Sum256(append([]byte("ankan chip\n"), c.Seed...))
	copy(b[atRandom:], seed[:])
	binary.BigEndian.PutUint32(b[atLimit:], uint32(c.Memory))
	if c.Direct {
		b[atFlags] |= flagDirect
	}
	if old {
		b[atFlags] |= flagOld
	}
	chip := newChip(b)
	chip.core().whole = true
	return chip, nil
}

func newChip(b []byte) *Chip {
	c := &core{memory: memory{b: b, base: len(b)}}
	return &Chip{open: func() *core { return c }}
}

func (c *Chip) core() *core {
	if c.open == nil {
		return &core{memory: memory{b: make([]byte, atRecords)}}
	}
	return c.open()
}

// Serial is the chip's serial number.
func (c *Chip) Serial() Serial { return Serial(c.core().b[atSerial:]) }

// Lot is the chip's lot.
func (c *Chip) Lot() string { return c.core().lot() }

// Life is the chip's life cycle.
func (c *Chip) Life() Life { return c.core().life() }

// Size is how many bytes of its memory are in use.
func (c *Chip) Size() int { return len(c.core().b) }

func (c *core) lot() string  { return string(c.b[atLot+1 : atLot+1+int(c.b[atLot])]) }
func (c *core) life() Life   { return Life(c.b[atLife]) }
func (c *core) direct() bool { return c.b[atFlags]&flagDirect != 0 }
func (c *core) scp02() bool  { return c.b[atFlags]&flagOld != 0 }

// Reset takes the power away and gives it back: what was not committed is
// undone, what was verified is forgotten. The zero Chip gives no ATR.
func (c *Chip) Reset() uicc.ATR {
	if c.open == nil {
		return nil
	}
	k := c.open()
	k.memory.rollBack()
	k.newSession()
	k.channel(0)
	if k.direct() {
		return uicc.ATR(atrDirect)
	}
	return uicc.ATR(atrT0)
}

// newSession forgets the session, in its place if the chip had power.
func (c *core) newSession() {
	s := c.session
	if s == nil {
		c.session = &session{waiting: -1, out: make([]byte, 0, 258)}
		return
	}
	out := s.out[:cap(s.out)]
	clear(out)
	s.keys.Close()
	s.scp.Close()
	*s = session{waiting: -1, out: out[:0]}
}

// The two answers to reset: TA1 96 (Fi 512, Di 32), T=15 with TA C7 (clock stop,
// all voltage classes), historical bytes of TS 102 221, 6.3.2, and "ANKAN".
const (
	atrT0     = "\x3B\x9D\x96\x80\x1F\xC7\x80\x31\xA0\x73\xBE\x21\x17\x65ANKAN\x97"
	atrDirect = "\x3B\x9D\x96\x81\x91\xFE\x1F\xC7\x80\x31\xA0\x73\xBE\x21\x17\x65ANKAN\xF9"
)

// Off takes the power away.
func (c *Chip) Off() { c.core().session = nil }

// Tear takes the power away in the n-th write step from now, 0 for never. A
// step is one byte that is written, or the closing of a command's journal; the
// byte of the last step is not written.
func (c *Chip) Tear(n int) { c.core().tear = n }

// Clone is another chip with the same memory, without power. It holds the same
// keys: good for tests and for nothing else.
func (c *Chip) Clone() *Chip {
	k := c.core()
	d := newChip(bytes.Clone(k.b))
	o := d.open()
	o.base, o.journal, o.old, o.whole = k.base, slices.Clone(k.journal), bytes.Clone(k.old), k.whole
	o.rollBack() // a torn chip's clone is what the chip will be
	return d
}

// Marshal is the chip's memory, keys included, as it will be at the next reset,
// followed by its SHA-256.
func (c *Chip) Marshal() []byte {
	b := c.Clone().core().b
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// ErrMemory is wrapped by every error of Unmarshal.
var ErrMemory = errors.New("this is not a chip's memory")

// Unmarshal makes a chip of what Marshal gave. It refuses changed or cut bytes.
func Unmarshal(b []byte) (*Chip, error) {
	if len(b) < atRecords+sha256.Size {
		return nil, fmt.Errorf("%w: %d bytes, want at least %d", ErrMemory, len(b), atRecords+sha256.Size)
	}
	b, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if s := sha256.Sum256(b); !bytes.Equal(s[:], sum) {
		return nil, fmt.Errorf("%w: checksum is wrong", ErrMemory)
	}
	return restore(bytes.Clone(b))
}

// restore takes a memory whose checksum was right; b must still be sound, or
// the operating system would run off its records.
func restore(b []byte) (*Chip, error) {
	if string(b[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: it begins with %X", ErrMemory, b[:len(magic)])
	}
	n := b[atKeyLen]
	if b[atLot] < 1 || b[atLot] > 15 || n != 16 && n != 24 && n != 32 || b[atFlags] > flagDirect|flagOld || b[atFlags]&flagOld != 0 && n != 16 || b[atOS] > allAlgorithms {
		return nil, fmt.Errorf("%w: lot or key length", ErrMemory)
	}
	c := newChip(b)
	if err := c.core().check(); err != nil {
		return nil, err
	}
	return c, nil
}

// Transmit implements uicc.Card: it runs one command. A malformed APDU is
// answered, not refused. It returns ErrOff without power and ErrTorn when Tear
// has struck. The context is not asked: the chip answers at once.
func (c *Chip) Transmit(_ context.Context, cmd []byte) ([]byte, error) {
	k := c.core()
	if k.session == nil {
		return nil, ErrOff
	}
	answer := k.transmit(cmd)
	if k.lost {
		k.session = nil
		return nil, ErrTorn
	}
	return answer, nil
}

// random fills p from the chip's generator: SHA-256 in counter mode over a
// state that is replaced each time, in memory, so that it never repeats.
func (c *core) random(p []byte) {
	state := [33]byte(append(bytes.Clone(c.b[atRandom:atRandom+32]), 0))
	next := sha256.Sum256(state[:])
	c.write(atRandom, next[:]...)
	for i := byte(1); len(p) > 0; i++ {
		state[32] = i
		block := sha256.Sum256(state[:])
		p = p[copy(p, block[:]):]
	}
}
