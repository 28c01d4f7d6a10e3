package simos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"ankan/uicc"
)

// A Socketed card is one that a reader gives power and takes it away: a chip,
// or one in a rack's slot.
type Socketed interface {
	uicc.Card
	// Reset resets the card and gives it power; no ATR if it is mute.
	Reset(ctx context.Context) (uicc.ATR, error)
}

// Attach puts a card into vpcd's virtual reader, to which conn leads, and answers
// the reader until the context ends, which is no error, or the connection does.
// A card that gives no answer is taken out: the daemon knows no other way to say
// so. Attach closes the connection.
//
// vpcd's protocol is a length, uint16 big endian, and so many bytes. To the
// card: 00 power off, 01 power on, 02 reset, without a reply; 04 reply with the
// ATR; else a command APDU, reply with its answer.
func Attach(ctx context.Context, conn net.Conn, card Socketed) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	s := socket{conn: conn, in: bufio.NewReader(conn), card: card}
	err := s.serve(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the reader hung up")
	}
	return fmt.Errorf("vpcd: %w", err)
}

// socket is a card in vpcd's reader.
type socket struct {
	conn net.Conn
	in   *bufio.Reader
	card Socketed
	atr  uicc.ATR
	body [1<<16 - 1]byte
	out  []byte
}

func (s *socket) serve(ctx context.Context) error {
	for {
		s.hurry()
		b, err := readFrame(s.in, s.body[:])
		if err != nil {
			return err
		}
		switch {
		case len(b) > 1:
			if b, err = s.card.Transmit(ctx, b); err != nil {
				return err
			}
		case b[0] == 0:
			s.atr = nil
			continue
		case b[0] == 1, b[0] == 2:
			if s.atr, err = s.card.Reset(ctx); err != nil {
				return err
			}
			continue
		case b[0] == 4:
			if s.atr == nil {
				// The reader asks an unpowered card as well, to see whether one is there.
				if s.atr, err = s.card.Reset(ctx); err != nil {
					return err
				}
			}
			b = s.atr
		default:
			return fmt.Errorf("control byte %02X, want 00, 01, 02 or 04", b[0])
		}
		// In one piece: a second write would wait for the first's acknowledgement.
		s.out = appendFrame(s.out[:0], b)
		if _, err := s.conn.Write(s.out); err != nil {
			return err
		}
	}
}

// hurry has the system acknowledge at once. vpcd sends a length and a body, and
// its system keeps the body back until the length is acknowledged; the option
// does not last (tcp(7)). It is an optimisation, so that it fails in silence.
func (s *socket) hurry() {
	t, ok := s.conn.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := t.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1) })
	}
}

// Socket is the chip as a reader sees it.
func (c *Chip) Socket() Socketed { return chipSocket{c} }

type chipSocket struct{ *Chip }

func (c chipSocket) Reset(context.Context) (uicc.ATR, error) { return c.Chip.Reset(), nil }
