package console

import "time"

// PersonLine is a person in a list.
type PersonLine struct {
	Number, Name, Href string
	Roles              []string
	State              string // employed, leaving, left or locked
	ReportsTo          string // number
	Training           string // valid, due or expired
	Passkeys           int
	Seen               time.Time // last sign-in
}

// A Passkey is one that a person can sign with.
type Passkey struct {
	ID      string // first bytes, hexadecimal
	Model   string
	Proves  []string // keys of proved.*
	Made    time.Time
	Used    time.Time
	Counter int
	Remove  string // address that asks for its removal; "" if the reader may not
}
