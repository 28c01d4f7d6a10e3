package perso

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ankan/durable"
	"ankan/station"
	"ankan/uicc"
)

// A Station is a place at the line with one reader.
type Station struct {
	Name string
	// Open connects to the station's reader. It is called when the reader is
	// needed, and again after the reader failed or was given up.
	Open func(ctx context.Context) (station.Reader, error)
	// Answer is how long the station waits for an answer of the chip; 0 is
	// 10 seconds. A chip that takes longer is a reject (TooLate).
	Answer time.Duration
}

// These is stations that are there from the start, for Run.
func These(all ...Station) <-chan Station {
	c := make(chan Station, len(all))
	for _, s := range all {
		c <- s
	}
	close(c)
	return c
}

// Coming is stations that are there from the start, and then the places that
// come, until ctx ends or come is closed.
func Coming(ctx context.Context, come <-chan station.Place, first ...Station) <-chan Station {
	all := make(chan Station)
	go func() {
		defer close(all)
		send := func(s Station) bool {
			select {
			case all <- s:
				return true
			case <-ctx.Done():
				return false
			}
		}
		for _, s := range first {
			if !send(s) {
				return
			}
		}
		for p := range come {
			if !send(Station{Name: p.Name, Open: p.Open}) {
				return
			}
		}
	}()
	return all
}

// Time limits of a station.
const (
	answerTime = 10 * time.Second // for a command
	feedTime   = time.Minute      // for a chip to be put in or taken out
)

var errReader = errors.New("the reader failed")

// A seat is a station at work: its reader while there is one, what the chip in
// it is asked next, and what it answered.
type seat struct {
	Station
	run     context.Context // of the whole run
	steps   durable.Steps
	reader  station.Reader // nil until needed, and after it failed
	burst   uicc.Burst
	answers uicc.Answers
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
	return nil
}

// close gives the reader up.
func (s *seat) close() {
	s.burst.Clear()
	s.answers.Clear()
	if s.reader != nil {
		s.reader.Close()
		s.reader = nil
	}
}

// do has the reader do something. After an error that is the reader's own, the
// reader is gone.
func (s *seat) do(f func(station.Reader) error) error {
	if s.reader == nil {
		return fmt.Errorf("station %s: %w: it is closed", s.Name, errReader)
	}
	err := f(s.reader)
	switch {
	case err == nil:
		return nil
	case s.run.Err() != nil:
		s.close()
		return s.run.Err()
	case errors.Is(err, station.ErrMute) || errors.Is(err, station.ErrNoChips) || errors.Is(err, station.ErrAway) || errors.Is(err, uicc.ErrAnswer):
		return fmt.Errorf("station %s: %w", s.Name, err)
	}
	s.close()
	return fmt.Errorf("station %s: %w: %w", s.Name, errReader, err)
}

// feed is do for what moves a chip, within feedTime.
func (s *seat) feed(f func(context.Context, station.Reader) error) error {
	ctx, cancel := context.WithTimeout(s.run, feedTime)
	defer cancel()
	return s.do(func(r station.Reader) error { return f(ctx, r) })
}

// play has the chip answer the burst. An answer that does not come is the
// chip's fault. The burst is empty after it.
func (s *seat) play() error {
	err := s.do(func(r station.Reader) error {
		return s.steps.Do("card.play", func() error {
			if p, ok := r.(station.Player); ok {
				return p.Play(s.run, &s.burst, s.Answer, &s.answers)
			}
			return station.Play(s.run, r, &s.burst, s.Answer, &s.answers)
		})
	})
	s.burst.Clear()
	switch {
	case errors.Is(err, station.ErrMute):
		return &Reject{NoAnswer, station.ErrMute}
	case errors.Is(err, uicc.ErrAnswer):
		return &Reject{BadAnswer, err}
	case errors.Is(err, station.ErrLate):
		return &Reject{TooLate, fmt.Errorf("%w: %s passed", station.ErrLate, s.Answer)}
	}
	return err
}

// next is the answer to the next command of the burst.
func (s *seat) next() (uicc.Response, error) {
	b, ok := s.answers.Next()
	if !ok || len(b) < 2 {
		return nil, fmt.Errorf("answer of %d bytes, want a status word", len(b))
	}
	return b, nil
}

// reset is the answer to a reset; it is valid until the next burst.
func (s *seat) reset() (uicc.ATR, error) {
	atr, ok := s.answers.Next()
	if !ok {
		return nil, errors.New("the burst ended before a reset")
	}
	return atr, nil
}

// take puts the next fresh chip into the reader.
func (s *seat) take() error {
	if err := s.open(); err != nil {
		return err
	}
	return s.feed(func(ctx context.Context, r station.Reader) error { return r.Take(ctx) })
}

// insert puts a chip back into the reader, which may be a new one.
func (s *seat) insert(serial [8]byte) error {
	if err := s.open(); err != nil {
		return err
	}
	return s.feed(func(ctx context.Context, r station.Reader) error { return r.Insert(ctx, serial) })
}

// eject takes the chip out; a reader that was given up has none.
func (s *seat) eject() error {
	if s.reader == nil {
		return nil
	}
	return s.feed(func(ctx context.Context, r station.Reader) error { return r.Eject(ctx) })
}
