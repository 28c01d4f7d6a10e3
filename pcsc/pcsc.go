// Package pcsc is a client of the PC/SC daemon (pcscd of pcsc-lite) in Go
// alone: it speaks the protocol of the daemon's unix socket, so that a static
// program needs no libpcsclite. It knows protocol 4:4 (pcsc-lite 1.8.24 to
// 2.2), 4:5 (2.3 and 2.4), and every later daemon that still takes 4:4.
//
// A Reader is one reader of the daemon on a connection of its own, and a
// uicc.Card: the card in the reader.
package pcsc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"ankan/uicc"
)

// DefaultSocket is where the daemon listens unless PCSCLITE_CSOCK_NAME in its
// environment, and in its clients', says another place.
const DefaultSocket = "/run/pcscd/pcscd.comm"

// socket is where the daemon of this environment listens.
func socket() string {
	if s := os.Getenv("PCSCLITE_CSOCK_NAME"); s != "" {
		return s
	}
	return DefaultSocket
}

// A command of the daemon's protocol.
type command uint32

const (
	cmdEstablish  command = 0x01
	cmdConnect    command = 0x04
	cmdReconnect  command = 0x05
	cmdDisconnect command = 0x06
	cmdBegin      command = 0x07
	cmdEnd        command = 0x08
	cmdTransmit   command = 0x09
	cmdControl    command = 0x0A
	cmdStatus     command = 0x0B
	cmdAttribute  command = 0x0F
	cmdVersion    command = 0x11
	cmdStates     command = 0x12
	cmdWait       command = 0x13
	cmdStop       command = 0x14
)

// The protocol version that is asked for first: every daemon that is not bound
// to one of its own takes it. major and the lowest minor that has this shape.
const (
	major = 4
	minor = 4
)

// Sizes of the daemon's tables, in bytes.
const (
	nameSize  = 128
	stateSize = nameSize + 4 + 4 + 4 + 36 + 4 + 4
	readers   = 16 // rows of the table of readers
	waitSize  = 8
	attrSize  = 264
)

// maxControl is the longest message to or from a reader's driver, in bytes.
const maxControl = 4096

// A State is what the daemon says of a reader.
type State struct {
	Reader  string   // its name
	Events  uint32   // insertions and removals since the reader came, counted
	Present bool     // a card is in it
	Mute    bool     // a card is in it that gave no answer to reset
	Powered bool     // the card has power
	InUse   bool     // by a program
	ATR     uicc.ATR // answer to reset; nil without a card
}

// Bits of a reader's state on the wire.
const (
	statePresent   = 0x04
	stateSwallowed = 0x08
	statePowered   = 0x10
)

// parseStates reads the daemon's table of readers. Rows without a name are
// free places.
func parseStates(b []byte) ([]State, error) {
	if len(b) != readers*stateSize {
		return nil, fmt.Errorf("table of readers has %d bytes, want %d", len(b), readers*stateSize)
	}
	var all []State
	for ; len(b) > 0; b = b[stateSize:] {
		name, _, ok := bytes.Cut(b[:nameSize], []byte{0})
		if !ok {
			return nil, errors.New("table of readers: a name has no end")
		}
		if len(name) == 0 {
			continue
		}
		word := func(at int) uint32 { return binary.NativeEndian.Uint32(b[nameSize+at:]) }
		flags, n := word(4), word(48)
		if n > 33 {
			// The daemon marks a card that is there and gave no answer so.
			n = 0
		}
		s := State{Reader: string(name), Events: word(0), InUse: word(8) != 0,
			Present: flags&statePresent != 0, Powered: flags&statePowered != 0, Mute: flags&stateSwallowed != 0}
		if s.Present && n > 0 {
			s.ATR = uicc.ATR(bytes.Clone(b[nameSize+12 : nameSize+12+n]))
		}
		s.Mute = s.Mute || s.Present && n == 0
		all = append(all, s)
	}
	return all, nil
}

// conn is a connection to the daemon. After an error that is not a Code it is
// of no more use.
type conn struct {
	net    net.Conn
	broken error
	minor  uint32
}

// dial connects and agrees on a protocol version.
func dial(ctx context.Context) (*conn, error) {
	path := socket()
	var d net.Dialer
	n, err := d.DialContext(ctx, "unix", path)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%s: %w", path, NoService)
	}
	if err != nil {
		return nil, fmt.Errorf("PC/SC daemon: %w", err)
	}
	c := &conn{net: n}
	if err := c.agree(ctx); err != nil {
		n.Close()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			return nil, fmt.Errorf("%s: the PC/SC daemon turns this user away; see polkit's action org.debian.pcsc-lite.access_pcsc", path)
		}
		return nil, err
	}
	return c, nil
}

// agree offers a version, and then the daemon's own if that is what it wants.
func (c *conn) agree(ctx context.Context) error {
	c.minor = minor
	for range 2 {
		b, err := c.call(ctx, cmdVersion, words(major, c.minor, 0), 12)
		if err != nil {
			return err
		}
		theirs, theirMinor, rv := word(b, 0), word(b, 1), Code(word(b, 2))
		switch {
		case rv == 0 && theirs == major:
			return nil
		case theirs != major || theirMinor < minor || theirMinor == c.minor:
			return fmt.Errorf("the PC/SC daemon speaks protocol %d:%d, want %d:%d or later; install pcscd 1.8.24 or later: %w",
				theirs, theirMinor, major, minor, ServiceStopped)
		}
		c.minor = theirMinor
	}
	return fmt.Errorf("the PC/SC daemon does not take its own protocol %d:%d: %w", major, c.minor, ServiceStopped)
}

// words are 32-bit numbers in the machine's order, as the daemon's structures
// hold them.
func words(w ...uint32) []byte {
	b := make([]byte, 0, 4*len(w))
	for _, x := range w {
		b = binary.NativeEndian.AppendUint32(b, x)
	}
	return b
}

// word is the i-th 32-bit number in b.
func word(b []byte, i int) uint32 { return binary.NativeEndian.Uint32(b[4*i:]) }

// call sends a command with its body and what follows the body, and reads an
// answer of size bytes. When the context ends before, the connection is broken.
func (c *conn) call(ctx context.Context, cmd command, body []byte, size int, more ...byte) ([]byte, error) {
	if err := c.send(ctx, cmd, body, more); err != nil {
		return nil, err
	}
	return c.read(ctx, size)
}

func (c *conn) send(ctx context.Context, cmd command, body, more []byte) error {
	b := append(words(uint32(len(body)), uint32(cmd)), body...)
	return c.bound(ctx, func() error {
		_, err := c.net.Write(append(b, more...))
		return err
	})
}

func (c *conn) read(ctx context.Context, size int) ([]byte, error) {
	b := make([]byte, size)
	err := c.bound(ctx, func() error {
		_, err := io.ReadFull(c.net, b)
		return err
	})
	return b, err
}

// bound does what waits for the daemon, no longer than the context lasts.
func (c *conn) bound(ctx context.Context, f func() error) error {
	if c.broken != nil {
		return c.broken
	}
	err := context.Cause(ctx)
	if err == nil {
		stop := context.AfterFunc(ctx, func() { c.net.SetDeadline(time.Unix(1, 0)) })
		err = f()
		if !stop() {
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		c.close(fmt.Errorf("PC/SC daemon: %w", err))
		return c.broken
	}
	return nil
}

// close makes the connection of no more use.
func (c *conn) close(why error) {
	if c.broken == nil {
		c.broken = why
	}
	c.net.Close()
}

// states asks for all readers.
func (c *conn) states(ctx context.Context) ([]State, error) {
	b, err := c.call(ctx, cmdStates, nil, readers*stateSize)
	if err != nil {
		return nil, err
	}
	return c.parsed(b)
}

func (c *conn) parsed(b []byte) ([]State, error) {
	all, err := parseStates(b)
	if err != nil {
		c.close(fmt.Errorf("PC/SC daemon: %w", err))
		return nil, c.broken
	}
	return all, nil
}

// stopTime is how long the daemon may take to answer what it answers at once:
// how the readers are, once it has started them all, and that a wait is off.
const stopTime = 10 * time.Second

// wait calls done with the readers as they are, and again whenever something
// changed, until it says true or the context ends. Then the connection is as
// good as before.
func (c *conn) wait(ctx context.Context, done func([]State) (bool, error)) error {
	for {
		b, err := c.watch(ctx)
		if err != nil {
			return err
		}
		all, err := c.parsed(b)
		if err != nil {
			return err
		}
		over, err := done(all)
		if over || err != nil {
			return errors.Join(err, c.stop())
		}
		// The daemon sends one message: that something changed, or, if it was
		// told to stop before, that it did.
		told := make(chan struct{})
		off := context.AfterFunc(ctx, func() {
			defer close(told)
			c.net.SetDeadline(time.Now().Add(stopTime))
			c.net.Write(words(0, uint32(cmdStop)))
		})
		_, err = c.read(context.WithoutCancel(ctx), waitSize)
		if !off() {
			<-told
			c.net.SetDeadline(time.Time{})
			return errors.Join(context.Cause(ctx), err)
		}
		if err != nil {
			return err
		}
	}
}

// watch has the daemon tell of the next change, and returns its table. A context
// that ends meanwhile does not break the connection off.
func (c *conn) watch(ctx context.Context) ([]byte, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	return c.call(ctx, cmdWait, nil, readers*stateSize)
}

// stop ends a wait. The answer may as well be the event that came before.
func (c *conn) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	_, err := c.call(ctx, cmdStop, nil, waitSize)
	return err
}

// Readers lists the daemon's readers and what is in them.
func Readers(ctx context.Context) ([]State, error) {
	c, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.net.Close()
	return c.states(ctx)
}
