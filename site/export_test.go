package site

import "context"

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

// SendForms and TellParties are what a round does.
func (s *Site) SendForms(ctx context.Context) error   { return s.sendForms(ctx) }
func (s *Site) TellParties(ctx context.Context) error { return s.tellParties(ctx) }
