package uicc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
)

// A Want is the answer with which a burst goes on.
type Want uint8

// The wants.
const (
	WantOK    Want = iota // 9000, 91xx or 92xx
	WantAny               // any answer
	WantTries             // of VERIFY without data: verified already, or two tries are left at least
	WantMore              // as WantOK, or 62F1 or 63F1: a data object goes on in the next command
	reset     Want = 0xFF
)

// Met reports whether a status word is what was wanted.
func (w Want) Met(sw SW) bool {
	switch w {
	case WantOK:
		return sw.OK()
	case WantAny:
		return true
	case WantTries:
		n, ok := sw.Tries()
		return sw.OK() || ok && n >= 2
	case WantMore:
		return sw.OK() || sw == SWMoreData || sw == SWMoreExpected
	}
	return false
}

// A Burst is what one chip is asked in one go: resets and commands, each with
// the answer after which the next one may follow. So a card at the end of a
// network costs a few round trips, and not one for each command. The bytes of a
// burst are its form on the wire. The zero Burst is empty. One goroutine at a
// time uses it.
type Burst struct{ b []byte }

// Clear wipes the burst and keeps its memory for the next one.
func (b *Burst) Clear() {
	clear(b.b[:cap(b.b)])
	b.b = b.b[:0]
}

// Bytes is the burst on the wire, for ParseBurst. It is the burst's own memory.
func (b *Burst) Bytes() []byte { return b.b }

// Reset adds a warm reset, whose answer is the ATR.
func (b *Burst) Reset() { b.b = append(room(b.b, 3), byte(reset), 0, 0) }

// Add adds a command in short form. What add appends to the slice that it is
// given is the command; its error leaves the burst as it was.
func (b *Burst) Add(w Want, add func(dst []byte) ([]byte, error)) error {
	b.b = room(b.b, 3+maxCommand)
	start := len(b.b)
	grown, err := add(append(b.b, byte(w), 0, 0))
	if err != nil {
		return err
	}
	n := len(grown) - start - 3
	if _, err := ParseCommand(grown[start+3:]); err != nil {
		return err
	}
	binary.BigEndian.PutUint16(grown[start+1:], uint16(n))
	b.b = grown
	return nil
}

// maxCommand is the length of the longest command in short form.
const maxCommand = 4 + 1 + 255 + 1

// room makes room for n bytes more, and wipes the memory that it moves out of:
// there may be codes and keys in it.
func room(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	larger := append(make([]byte, 0, 2*cap(b)+n), b...)
	clear(b)
	return larger
}

// Command adds a command.
func (b *Burst) Command(w Want, c Command) error {
	return b.Add(w, func(dst []byte) ([]byte, error) { return c.Append(dst), nil })
}

// A Step is a part of a burst. Without a Command it is a reset.
type Step struct {
	Want    Want
	Command []byte // of the burst's own memory
}

// All is the burst's steps in their order.
func (b *Burst) All() iter.Seq[Step] {
	return func(yield func(Step) bool) {
		for at := 0; at < len(b.b); {
			n := int(binary.BigEndian.Uint16(b.b[at+1:]))
			s := Step{Want: Want(b.b[at])}
			if s.Want != reset {
				s.Command = b.b[at+3 : at+3+n : at+3+n]
			}
			if !yield(s) {
				return
			}
			at += 3 + n
		}
	}
}

// ErrBurst is wrapped by every error of ParseBurst and ParseAnswers.
var ErrBurst = errors.New("malformed burst")

// ParseBurst reads a burst from the wire. It keeps the bytes.
func ParseBurst(b []byte) (Burst, error) {
	for at := 0; at < len(b); {
		if len(b)-at < 3 {
			return Burst{}, fmt.Errorf("%w: %d bytes at its end", ErrBurst, len(b)-at)
		}
		w, n := Want(b[at]), int(binary.BigEndian.Uint16(b[at+1:]))
		if w > WantMore && w != reset || w == reset && n != 0 {
			return Burst{}, fmt.Errorf("%w: a step of kind %02X with %d bytes", ErrBurst, byte(w), n)
		}
		if at += 3; n > len(b)-at {
			return Burst{}, fmt.Errorf("%w: a step of %d bytes, %d are left", ErrBurst, n, len(b)-at)
		}
		if w != reset {
			if _, err := ParseCommand(b[at : at+n]); err != nil {
				return Burst{}, fmt.Errorf("%w: %w", ErrBurst, err)
			}
		}
		at += n
	}
	return Burst{b}, nil
}

// Answers is what a chip answered to the first steps of a burst, in their
// order: a Response for a command, an ATR for a reset. The zero Answers is
// empty. One goroutine at a time uses it.
type Answers struct {
	b  []byte
	at int // of the next one
}

// Clear wipes the answers and keeps their memory for the next ones.
func (a *Answers) Clear() {
	clear(a.b[:cap(a.b)])
	a.b, a.at = a.b[:0], 0
}

// Bytes is the answers on the wire. It is their own memory.
func (a *Answers) Bytes() []byte { return a.b }

// maxAnswer is the most bytes of one answer: what a T=0 card collects for one
// command fits.
const maxAnswer = 1 << 15

// Add adds an answer: what add appends to the slice that it is given, of at
// most 32 KiB. Its error leaves the answers as they were.
func (a *Answers) Add(add func(dst []byte) ([]byte, error)) error {
	a.b = room(a.b, 2+2*256)
	start := len(a.b)
	grown, err := add(append(a.b, 0, 0))
	if err != nil {
		return err
	}
	n := len(grown) - start - 2
	if n > maxAnswer {
		return fmt.Errorf("%w: an answer of %d bytes, at most %d fit", ErrBurst, n, maxAnswer)
	}
	binary.BigEndian.PutUint16(grown[start:], uint16(n))
	a.b = grown
	return nil
}

// Next is the next answer, in the answers' own memory; false if there is none.
func (a *Answers) Next() ([]byte, bool) {
	if a.at == len(a.b) {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(a.b[a.at:]))
	a.at += 2 + n
	return a.b[a.at-n : a.at : a.at], true
}

// Parse reads answers from the wire, over those that were there.
func (a *Answers) Parse(b []byte) error {
	for at := 0; at < len(b); {
		if len(b)-at < 2 {
			return fmt.Errorf("%w: %d bytes at the answers' end", ErrBurst, len(b)-at)
		}
		n := int(binary.BigEndian.Uint16(b[at:]))
		if at += 2; n > min(len(b)-at, maxAnswer) {
			return fmt.Errorf("%w: an answer of %d bytes, %d are left", ErrBurst, n, len(b)-at)
		}
		at += n
	}
	a.Clear()
	a.b = append(a.b, b...)
	return nil
}
