package site

import (
	"context"
	"errors"

	"ankan/exchange"
	"ankan/exchange/edge"
	"ankan/keys"
)

// For the tests that stand outside, because they plug parts in.
const (
	KeyLog     = keyLog
	MaxRequest = maxRequest
)

// Routes are all routes of the control socket.
func (s *Site) Routes() map[string]Route { return s.routes }

var (
	AlarmName      = alarmName
	LoadPartners   = loadPartners
	ReadSecretFile = readSecretFile
)

// SendForms, SendShipments and TellParties are what a round does.
func (s *Site) SendForms(ctx context.Context) error     { return s.sendForms(ctx) }
func (s *Site) SendShipments(ctx context.Context) error { return s.sendShipments(ctx) }
func (s *Site) TellParties(ctx context.Context) error   { return s.tellParties(ctx) }

// Refuse refuses a file as takeIn does, once it was opened.
func (s *Site) Refuse(ctx context.Context, f *edge.File, why string) (err error) {
	a := s.arrival(f)
	if a.message, err = exchange.Open(a.Path, s.mail, []*exchange.Partner{a.partner}, s.limits()); err != nil {
		return err
	}
	return s.refuse(ctx, a, &Refusal{Reasons: []string{why}})
}

// Requested is what the person signed who asked for an act.
func (s *Site) Requested(ctx context.Context, id string) (keys.FormAnswer, error) {
	return s.requested(ctx, id)
}

// PayAll sends all answers that are owed, as rounds do.
func (s *Site) PayAll(ctx context.Context) (n int, err error) {
	all, err := s.owed(ctx)
	for _, o := range all {
		if err := s.pay(ctx, o); err != nil {
			return n, err
		}
		n++
	}
	return n, err
}

// Owed is the names of files that are owed.
func (s *Site) Owed(ctx context.Context) (names []string, err error) {
	all, err := s.owed(ctx)
	for _, o := range all {
		names = append(names, o.name)
	}
	return names, err
}

// FakeDisk has a site take f for its disks, and look at them in its next round.
func FakeDisk(s *Site, f func() (free, total int64, readOnly bool)) {
	s.disks.mu.Lock()
	defer s.disks.mu.Unlock()
	s.disks.next, s.disks.now = 0, nil
	s.disks.ask = func(string) (volume, error) {
		free, total, readOnly := f()
		return volume{id: 1, free: free, total: total, readOnly: readOnly}, nil
	}
}

// KeepHouse looks now after what time brings.
func (s *Site) KeepHouse(ctx context.Context) error {
	s.mu.Lock()
	s.house = 0
	s.mu.Unlock()
	if err := s.keepHouse(ctx); !errors.Is(err, ErrIdle) {
		return err
	}
	return nil
}
