// Package slot makes a PC/SC reader, which a person feeds, a reader of the line.
package slot

import (
	"context"
	"errors"
	"fmt"

	"ankan/pcsc"
	"ankan/station"
	"ankan/uicc"
)

// Open takes the PC/SC reader with this name, or the only one whose name
// begins so. Only one program at a time has the card in it.
//
// Take waits until a card is put in; that it is a fresh one, the line sees.
// Insert waits for the very chip, and says when another is in. Eject waits
// until the card was taken out, so that no card is made twice. Nobody there in
// time is no failure of the reader: it has no chips, or the chip is away. tell,
// which may be nil, is called with what the person at the reader is to do.
func Open(ctx context.Context, name string, tell func(string)) (station.Reader, error) {
	r, err := pcsc.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	if tell == nil {
		tell = func(string) {}
	}
	return &reader{Reader: r, tell: tell}, nil
}

type reader struct {
	*pcsc.Reader
	tell func(string)
	left bool // the last card may still be in it
}

// Take waits for a card and gives it power.
func (r *reader) Take(ctx context.Context) error {
	if r.left {
		if err := r.empty(ctx); err != nil {
			return late(err, station.ErrNoChips)
		}
	}
	return late(r.insert(ctx, "insert a fresh card"), station.ErrNoChips)
}

// late is what it means that nobody came in time.
func late(err, meaning error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return meaning
	}
	return err
}

func (r *reader) insert(ctx context.Context, want string) error {
	s, err := r.State(ctx)
	if err != nil {
		return err
	}
	if !s.Present {
		r.tell(want)
		if _, err = r.WaitInserted(ctx); err != nil {
			return err
		}
	}
	_, err = r.Connect(ctx, pcsc.Exclusive)
	if pcsc.Mute(err) {
		return nil // Reset says so, to whom it matters
	}
	return err
}

// Insert waits for the chip with this serial number. A card that is another one
// is asked to be taken out.
func (r *reader) Insert(ctx context.Context, serial [8]byte) error {
	return late(r.find(ctx, serial), station.ErrAway)
}

func (r *reader) find(ctx context.Context, serial [8]byte) error {
	want := fmt.Sprintf("insert chip %X again", serial)
	for {
		if err := r.insert(ctx, want); err != nil {
			return err
		}
		found, err := serialOf(ctx, r)
		if err == nil && found == serial {
			return nil
		}
		if err := r.Reader.Disconnect(ctx, pcsc.Unpower); err != nil {
			return err
		}
		if err == nil {
			want = fmt.Sprintf("this is chip %X; take it out and insert chip %X", found, serial)
		} else {
			want = fmt.Sprintf("the card does not say which chip it is; take it out and insert chip %X", serial)
		}
		r.tell(want)
		if _, err := r.WaitRemoved(ctx); err != nil {
			return err
		}
	}
}

// Eject takes the power away and waits until the card was taken out.
func (r *reader) Eject(ctx context.Context) error {
	err := r.Disconnect(ctx, pcsc.Eject)
	if errors.Is(err, pcsc.RemovedCard) || errors.Is(err, pcsc.InvalidHandle) {
		err = nil // it was taken out already
	}
	if err != nil {
		return err
	}
	r.left = true
	return late(r.empty(ctx), nil) // the next Take goes on waiting
}

// empty waits until no card is in the reader.
func (r *reader) empty(ctx context.Context) error {
	s, err := r.State(ctx)
	if err != nil {
		return err
	}
	if s.Present {
		r.tell("take the card out")
		if _, err := r.WaitRemoved(ctx); err != nil {
			return err
		}
	}
	r.left = false
	return nil
}

// Reset is a cold reset: a chip that lost its way needs its power gone. One
// that gave no answer before is tried anew.
func (r *reader) Reset(ctx context.Context) (atr uicc.ATR, err error) {
	if r.ATR() == nil {
		if err := r.Disconnect(ctx, pcsc.Unpower); err != nil {
			return nil, err
		}
		atr, err = r.Connect(ctx, pcsc.Exclusive)
	} else {
		atr, err = r.Reader.Reset(ctx, pcsc.Unpower)
	}
	return atr, mute(err)
}

// Transmit implements uicc.Card.
func (r *reader) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	answer, err := r.Reader.Transmit(ctx, cmd)
	return answer, mute(err)
}

// mute is the line's own error of a chip that gives no answer. A card that was
// taken out is none: the line then gives the reader up and asks for that very
// chip.
func mute(err error) error {
	if pcsc.Mute(err) {
		return fmt.Errorf("%w: %w", station.ErrMute, err)
	}
	return err
}

// tagCPLC is the chip's production data (GlobalPlatform Card Specification,
// H.6); bytes 10..17 are its serial number, as the line counts it.
const tagCPLC uicc.Tag = 0x9F7F

// isdAID is the issuer security domain's (GlobalPlatform, H.1.3).
var isdAID = [...]byte{0xA0, 0x00, 0x00, 0x01, 0x51, 0x00, 0x00, 0x00}

// serialOf asks the card in a reader for its chip's serial number.
func serialOf(ctx context.Context, card uicc.Card) (serial [8]byte, err error) {
	s := uicc.NewSession(card)
	if _, err := s.Do(ctx, uicc.Command{INS: uicc.INSSelect, P1: 0x04, Data: isdAID[:], Le: 256}); err != nil {
		return serial, err
	}
	b, err := s.GetData(ctx, tagCPLC)
	if err != nil {
		return serial, err
	}
	cplc, ok := uicc.FindTLV(b, tagCPLC)
	if !ok || len(cplc) != 42 {
		return serial, fmt.Errorf("CPLC data has %d bytes, want 42", len(cplc))
	}
	return [8]byte(cplc[10:18]), nil
}
