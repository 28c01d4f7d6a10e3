package durable

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

// Errors of steps that did not go as they should. Code that they reach takes
// them for what they stand for; none of it looks for them.
var (
	ErrFailed = errors.New("the step failed as planned")
	ErrDead   = errors.New("the process has died as planned")
)

// A Shape is when something happens at a step.
type Shape string

// The shapes.
const (
	Before Shape = "before" // the step is not done
	After  Shape = "after"  // the step is done first
)

// An Event is what is to happen at one step.
type Event struct {
	Step  int64 // counted from 1; for deaths those that last, for failures all
	Shape Shape
}

// ParseEvent reads N, N:before or N:after. N alone is before.
func ParseEvent(text string) (Event, error) {
	n, shape, ok := strings.Cut(text, ":")
	e := Event{Shape: Before}
	if ok {
		e.Shape = Shape(shape)
	}
	step, err := strconv.ParseInt(n, 10, 64)
	if err != nil || step < 1 || e.Shape != Before && e.Shape != After {
		return Event{}, fmt.Errorf("event %q, want N, N:before or N:after, with N from 1 on", text)
	}
	e.Step = step
	return e, nil
}

// ParseEvents reads several, separated by commas.
func ParseEvents(text string) (all []Event, err error) {
	for one := range strings.SplitSeq(text, ",") {
		e, err := ParseEvent(one)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// String is what ParseEvent reads.
func (e Event) String() string { return fmt.Sprintf("%d:%s", e.Step, e.Shape) }

// A Script is a plan for the steps of one life of one site. Its zero value does
// each step and counts.
type Script struct {
	// Die is the step at which the site dies; the zero Event is never. From there
	// on no step is done, and each is ErrDead: what is on the disk is what a killed
	// process would have left. Whoever runs the site closes it then, and opens it
	// again from its files.
	Die Event
	// Fail is the steps that fail, once each.
	Fail []Event
	// Match limits Fail and its counting to steps of which it is true; nil is all.
	Match func(step string) bool
	// Died is called at the death, before the step's ErrDead is given; nil is not.
	Died func(step string)

	mu    sync.Mutex
	all   int64
	last  int64
	dead  bool
	steps []string
	trace io.Writer // instead of steps
}

// A Count is how many steps there were.
type Count struct {
	Lasting int64 // those that leave something behind: where Die counts
	All     int64 // those of Match: where Fail counts
}

// Steps is the script as what a site takes.
func (s *Script) Steps() Steps { return s.do }

// Count is how many steps were begun so far.
func (s *Script) Count() Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Count{s.last, s.all}
}

// Names is the steps that were begun so far, in their order.
func (s *Script) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.steps...)
}

// Dead says whether the site has died.
func (s *Script) Dead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead
}

func (s *Script) do(step string, do func() error) error {
	die, fail, err := s.next(step)
	if err != nil {
		return err
	}
	if die == Before {
		s.died(step)
		return fmt.Errorf("%s: %w", step, ErrDead)
	}
	if fail != Before {
		err = do()
	}
	switch {
	case die == After:
		s.mu.Lock()
		s.dead = true
		s.mu.Unlock()
		s.died(step)
		return fmt.Errorf("%s: %w", step, ErrDead)
	case err == nil && fail != "":
		return fmt.Errorf("%s: %w", step, ErrFailed)
	}
	return err
}

// next counts a step and says what is to happen at it.
func (s *Script) next(step string) (die, fail Shape, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return "", "", fmt.Errorf("%s: %w", step, ErrDead)
	}
	lasting := "-"
	if Lasts(step) {
		s.last++
		lasting = strconv.FormatInt(s.last, 10)
		if s.last == s.Die.Step {
			die = s.Die.Shape
			s.dead = die == Before
		}
	}
	if s.Match == nil || s.Match(step) {
		s.all++
		for _, e := range s.Fail {
			if e.Step == s.all {
				fail = e.Shape
			}
		}
	}
	if s.trace == nil {
		s.steps = append(s.steps, step)
	} else if _, err := fmt.Fprintf(s.trace, "%s %d %s\n", lasting, s.all, step); err != nil {
		return "", "", err
	}
	return die, fail, nil
}

func (s *Script) died(step string) {
	if s.Died != nil {
		s.Died(step)
	}
}
