package perso

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ankan/uicc"
)

// A Station is a place at the line with one reader.
type Station struct {
	Name string
	// Open connects to the station's reader. It is called when the reader is
	// needed, and again after the reader failed or was given up.
	Open func(ctx context.Context) (Reader, error)
	// Answer is how long the station waits for an answer of the chip; 0 is
	// 10 seconds. A chip that takes longer is a reject (TooLate).
	Answer time.Duration
}

// A Reader holds one chip at a time. A card reader, a remote station and a
// drawer of software chips are Readers.
//
// An error that wraps ErrMute or ErrNoChips leaves the Reader usable. After
// any other, also that of a context that ended, it is closed and another opened.
type Reader interface {
	uicc.Card
	// Take puts the next fresh chip into the reader. ErrNoChips if there is none.
	Take(ctx context.Context) error
	// Insert puts the chip with this serial number back into the reader.
	Insert(ctx context.Context, serial [8]byte) error
	// Eject takes the chip out.
	Eject(ctx context.Context) error
	// Reset is a warm reset; it returns the answer to reset. ErrMute if there
	// is none; Transmit does the same for a command.
	Reset(ctx context.Context) (uicc.ATR, error)
	// Close gives the reader up; a chip in it is taken out.
	Close() error
}

// Errors of a Reader that a line branches on.
var (
	ErrNoChips = errors.New("no chips left; load the reader") // wrapped by Take
	ErrMute    = errors.New("the chip does not answer")       // wrapped by Reset and Transmit
)

// Time limits of a station.
const (
	answerTime = 10 * time.Second // for a command
	feedTime   = time.Minute      // for a chip to be put in or taken out
)

// Why a station gives its reader up.
var (
	errTooLate = errors.New("no answer in time")
	errReader  = errors.New("the reader failed")
)

// A seat is a station at work: its reader while there is one, and the watch
// over each answer. It is a uicc.Card: the chip in the reader.
type seat struct {
	Station
	run    context.Context // of the whole run
	reader Reader          // nil until needed, and after it failed

	// ctx is given to the reader instead of the caller's: it ends with the run
	// or when the watch strikes. One watch that is wound up again costs a
	// command far less than a context of its own.
	ctx    context.Context
	cancel context.CancelCauseFunc
	watch  *time.Timer
}

func newSeat(ctx context.Context, st Station) *seat {
	if st.Answer <= 0 {
		st.Answer = answerTime
	}
	return &seat{Station: st, run: ctx}
}

// open connects to the reader unless that is done.
func (s *seat) open() error {
	if s.reader != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.run, feedTime)
	defer cancel()
	reader, err := s.Open(ctx)
	if err != nil {
		return fmt.Errorf("station %s: %w", s.Name, err)
	}
	s.reader = reader
	s.ctx, s.cancel = context.WithCancelCause(s.run)
	s.watch = time.AfterFunc(feedTime, func() { s.cancel(errTooLate) })
	s.watch.Stop()
	return nil
}

// close gives the reader up.
func (s *seat) close() {
	if s.reader == nil {
		return
	}
	s.watch.Stop()
	s.cancel(nil)
	s.reader.Close()
	s.reader = nil
}

// do has the reader do something within a time limit. After an error that is
// the reader's own, the reader is gone.
func (s *seat) do(limit time.Duration, f func(Reader) error) error {
	if s.reader == nil {
		return fmt.Errorf("station %s: %w: it is closed", s.Name, errReader)
	}
	s.watch.Reset(limit)
	err := f(s.reader)
	s.watch.Stop()
	if err == nil {
		return nil
	}
	late := context.Cause(s.ctx) == errTooLate
	if !late && s.run.Err() == nil && (errors.Is(err, ErrMute) || errors.Is(err, ErrNoChips)) {
		return fmt.Errorf("station %s: %w", s.Name, err)
	}
	s.close()
	if late {
		return fmt.Errorf("station %s: %w: %w", s.Name, errReader, errTooLate)
	}
	if s.run.Err() != nil {
		return s.run.Err()
	}
	return fmt.Errorf("station %s: %w: %w", s.Name, errReader, err)
}

// ask has the chip answer: an answer that does not come is the chip's fault.
func (s *seat) ask(f func(Reader) error) error {
	err := s.do(s.Answer, f)
	switch {
	case errors.Is(err, ErrMute):
		return &Reject{NoAnswer, ErrMute}
	case errors.Is(err, errTooLate):
		return &Reject{TooLate, fmt.Errorf("%w: %s passed", errTooLate, s.Answer)}
	}
	return err
}

// Transmit implements uicc.Card.
func (s *seat) Transmit(_ context.Context, cmd []byte) (answer []byte, err error) {
	err = s.ask(func(r Reader) error {
		answer, err = r.Transmit(s.ctx, cmd)
		return err
	})
	return answer, err
}

func (s *seat) reset() error {
	return s.ask(func(r Reader) error {
		_, err := r.Reset(s.ctx)
		return err
	})
}

// take puts the next fresh chip into the reader.
func (s *seat) take() error {
	if err := s.open(); err != nil {
		return err
	}
	return s.do(feedTime, func(r Reader) error { return r.Take(s.ctx) })
}

// insert puts a chip back into the reader, which may be a new one.
func (s *seat) insert(serial [8]byte) error {
	if err := s.open(); err != nil {
		return err
	}
	return s.do(feedTime, func(r Reader) error { return r.Insert(s.ctx, serial) })
}

// eject takes the chip out; a reader that was given up has none.
func (s *seat) eject() error {
	if s.reader == nil {
		return nil
	}
	return s.do(feedTime, func(r Reader) error { return r.Eject(s.ctx) })
}
