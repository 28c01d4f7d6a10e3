package simos

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"ankan/uicc"
)

// A Reader is one reader slot of a Rack, from outside. It is a uicc.Card: the
// chip in the slot. One goroutine at a time uses it.
//
// When a context ends while an answer is out, or the connection fails, the
// Reader is of no more use: every later call returns that error, and the rack
// puts the chip back. Dial another and Insert the same chip.
type Reader struct {
	conn   net.Conn
	in     *bufio.Reader
	broken error
	out    [2 + 261]byte
	body   [258]byte
}

var _ uicc.Card = (*Reader)(nil)

// Dial connects to a rack: network "tcp" or "unix".
func Dial(ctx context.Context, network, address string) (*Reader, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("rack: %w", err)
	}
	return &Reader{conn: conn, in: bufio.NewReaderSize(conn, 512)}, nil
}

// Close ends the slot; a chip in it goes back.
func (r *Reader) Close() error {
	if r.broken == nil {
		r.broken = net.ErrClosed
	}
	return r.conn.Close()
}

// Take puts the next chip that nobody has had into the slot, which must be
// empty. ErrNoChip if none is left. The chip has no power until Reset.
func (r *Reader) Take(ctx context.Context) (Serial, error) {
	b, err := r.control(ctx, 0xFF, 'T')
	if err != nil {
		return Serial{}, fmt.Errorf("taking a chip: %w", err)
	}
	return Serial(b), nil
}

// Insert puts the chip with this serial number into the slot, which must be
// empty. ErrNoChip, ErrInUse.
func (r *Reader) Insert(ctx context.Context, s Serial) error {
	if _, err := r.control(ctx, append([]byte{0xFF, 'I'}, s[:]...)...); err != nil {
		return fmt.Errorf("inserting chip %s: %w", s, err)
	}
	return nil
}

// Eject takes the power away and puts the chip back; an empty slot is no error.
func (r *Reader) Eject(ctx context.Context) error {
	if _, err := r.control(ctx, 0xFF, 'E'); err != nil {
		return fmt.Errorf("ejecting the chip: %w", err)
	}
	return nil
}

func (r *Reader) control(ctx context.Context, body ...byte) ([]byte, error) {
	b, err := r.exchange(ctx, appendFrame(r.out[:0], body))
	if err != nil {
		return nil, err
	}
	if len(b) == 1 || len(b) == 9 && b[0] == replyOK {
		switch b[0] {
		case replyOK:
			if len(b) == 9 || body[1] == 'E' {
				return b[1:], nil
			}
		case replyNoChip:
			return nil, ErrNoChip
		case replyInUse:
			return nil, ErrInUse
		case replySlot:
			return nil, ErrSlot
		case replyStore:
			return nil, ErrStore
		}
	}
	r.broken = fmt.Errorf("rack: reply of %d bytes is not one", len(b))
	return nil, r.broken
}

// Reset resets the chip in the slot. ErrMute if there is none, or it gives no
// answer to reset.
func (r *Reader) Reset(ctx context.Context) (uicc.ATR, error) {
	b, err := r.exchange(ctx, append(r.out[:0], 0, 1, 2, 0, 1, 4))
	if err != nil {
		return nil, fmt.Errorf("resetting the chip: %w", err)
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("resetting the chip: %w", ErrMute)
	}
	return append(uicc.ATR(nil), b...), nil
}

// Transmit implements uicc.Card. ErrMute if the chip gives no answer or has no
// power.
func (r *Reader) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	if len(cmd) < 4 || len(cmd) > 261 || cmd[0] == 0xFF {
		return nil, fmt.Errorf("command of %d bytes: want 4..261 and a class other than FF", len(cmd))
	}
	b, err := r.exchange(ctx, appendFrame(r.out[:0], cmd))
	if err != nil {
		return nil, err
	}
	if len(b) == 0 {
		return nil, ErrMute
	}
	return b, nil
}

func appendFrame(dst, body []byte) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(body))), body...)
}

// exchange writes frames and reads the reply, unless the context ends before.
func (r *Reader) exchange(ctx context.Context, frames []byte) ([]byte, error) {
	if r.broken != nil {
		return nil, r.broken
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err // nothing was sent
	}
	stop := func() bool { return true }
	if ctx.Done() != nil {
		stop = context.AfterFunc(ctx, func() { r.conn.SetDeadline(time.Unix(1, 0)) })
	}
	b, err := r.roundTrip(frames)
	if !stop() {
		err = fmt.Errorf("no answer in time: %w", context.Cause(ctx))
	}
	if err != nil {
		r.broken = fmt.Errorf("rack: %w", err)
		r.conn.Close()
		return nil, r.broken
	}
	return b, nil
}

// roundTrip writes frames in one piece and reads one. The reply lies in r.body.
func (r *Reader) roundTrip(frames []byte) ([]byte, error) {
	if _, err := r.conn.Write(frames); err != nil {
		return nil, err
	}
	var n [2]byte
	if _, err := io.ReadFull(r.in, n[:]); err != nil {
		return nil, fmt.Errorf("reading the reply: %w", err)
	}
	size := int(binary.BigEndian.Uint16(n[:]))
	if size > len(r.body) {
		return nil, fmt.Errorf("reply of %d bytes, want at most %d", size, len(r.body))
	}
	if _, err := io.ReadFull(r.in, r.body[:size]); err != nil {
		return nil, fmt.Errorf("reading the reply: %w", err)
	}
	return r.body[:size], nil
}
