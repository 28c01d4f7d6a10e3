// Package station is the readers at the line and the way to them: what a reader
// does, bursts played at it, and the protocol between a plant and the stations
// that connect to it. A station has readers and nothing else: no keys but that
// of its own name, no card data that lasts, and no say in what is counted.
package station

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ankan/uicc"
)

// A Reader holds one chip at a time. A card reader, a drawer of software chips
// and a slot of a remote station are Readers. One goroutine at a time uses it.
//
// An error that wraps ErrMute, ErrNoChips, ErrAway or uicc.ErrAnswer leaves the
// Reader usable.
// After any other, also that of a context that ended, it is closed and another
// opened.
type Reader interface {
	uicc.Card
	// Take puts the next fresh chip into the reader. ErrNoChips if there is none.
	Take(ctx context.Context) error
	// Insert puts the chip with this serial number back into the reader. ErrAway
	// if it is not to be had there.
	Insert(ctx context.Context, serial [8]byte) error
	// Eject takes the chip out.
	Eject(ctx context.Context) error
	// Reset is a warm reset; it returns the answer to reset. ErrMute if there
	// is none; Transmit does the same for a command.
	Reset(ctx context.Context) (uicc.ATR, error)
	// Close gives the reader up; a chip in it is taken out.
	Close() error
}

// A Player is a Reader that plays a burst itself, as Play does: one at the end
// of a network. Its Take and Eject may return before they are done; what they
// come to is then told by the next call.
type Player interface {
	Play(ctx context.Context, b *uicc.Burst, limit time.Duration, a *uicc.Answers) error
}

// Errors that a line branches on.
var (
	ErrNoChips = errors.New("no chips left; load the reader")           // wrapped by Take
	ErrAway    = errors.New("the chip is not here")                     // wrapped by Insert
	ErrMute    = errors.New("the chip does not answer")                 // wrapped by Reset, Transmit and Play
	ErrLate    = errors.New("no answer in time")                        // wrapped by Play
	ErrStep    = errors.New("the burst has more steps than a card has") // wrapped by Play
)

// maxSteps is more than any card takes in one burst.
const maxSteps = 1 << 14

// Play has the chip in the reader answer the burst, one step after the other,
// until an answer is not what the burst wants; the answers so far, that one
// included, replace what a held. It follows 61xx and 6Cxx. A chip that takes
// longer than limit for one answer is given up with ErrLate, after which the
// reader is to be closed; one that answers nonsense, with uicc.ErrAnswer. With an error, a holds the answers before it.
func Play(ctx context.Context, r Reader, b *uicc.Burst, limit time.Duration, a *uicc.Answers) error {
	a.Clear()
	// One watch that is wound up again costs a command far less than a context
	// of its own.
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(limit, func() { cancel(ErrLate) })
	defer watch.Stop()
	steps := 0
	for s := range b.All() {
		if steps++; steps > maxSteps {
			return ErrStep
		}
		watch.Reset(limit)
		more, err := step(watched, r, s, a)
		switch {
		case err == nil && !more:
			return nil
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case context.Cause(watched) == ErrLate:
			return fmt.Errorf("%w: %s passed", ErrLate, limit)
		default:
			return err
		}
	}
	return nil
}

// step plays one step and reports whether the next one may follow.
func step(ctx context.Context, r Reader, s uicc.Step, a *uicc.Answers) (more bool, err error) {
	if s.Command == nil {
		return true, a.Add(func(dst []byte) ([]byte, error) {
			atr, err := r.Reset(ctx)
			return append(dst, atr...), err
		})
	}
	var sw uicc.SW
	err = a.Add(func(dst []byte) ([]byte, error) {
		dst, sw, err = uicc.Exchange(ctx, r, s.Command, dst)
		return append(dst, byte(sw>>8), byte(sw)), err
	})
	return s.Want.Met(sw), err
}
