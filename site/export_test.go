package site

import "context"

// For the tests that stand outside, because they plug parts in.
const (
	KeyLog     = keyLog
	MaxRequest = maxRequest
)

// TellParties tells partners of compromised keys, and answers theirs.
func (s *Site) TellParties(ctx context.Context) error { return s.tellParties(ctx) }

// Routes are all routes of the control socket.
func (s *Site) Routes() map[string]Route { return s.routes }

var (
	AlarmName      = alarmName
	LoadPartners   = loadPartners
	ReadSecretFile = readSecretFile
)
