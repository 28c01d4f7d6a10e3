package console

import (
	"time"

	"ankan/passkey"
)

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
	Counter int      // at its last use; 0 for one that keeps none
}

// peoplePage is everybody whom the site knows.
type peoplePage struct {
	Form   Form // of the filter
	Roles  []Option
	States []Option
	People []PersonLine
	Pager  Pager
	New    string // address to admit somebody; "" if the reader may not ask
}

func (peoplePage) page() string { return "people" }

// personPage is one person.
type personPage struct {
	Person     PersonLine
	Employment Employment
	Above      *Who // whom the person reports to
	Below      []Who
	Training   []Training
	Statements []Statement
	Passkeys   []Passkey
	Sessions   []Session
	History    []Step
	Acts       []ActLine // open ones about this person
	You        bool
	// Change and Leave are addresses; "" if the reader may not ask.
	Change, Leave string
}

func (personPage) page() string { return "person" }

// Employment is how a person is bound to the site (SOP 6.4.b: custodians are
// not temporary staff).
type Employment struct{ Kind Text }

// Training is one course and its validity.
type Training struct {
	Course     string
	Done, Ends time.Time
	State      string // valid, due or expired
	By         Who    // who taught
}

// A Statement is what a person signed about their duties.
type Statement struct {
	Title   string
	Version int
	Signed  time.Time // zero: not yet
	State   string    // signed or due
	Href    string    // to read and sign
}

// personFormPage asks to admit a person, or to change one. The answer is an
// act that others sign.
type personFormPage struct {
	New       bool
	Who       Who
	Form      Form
	Roles     []RoleChoice
	Kinds     []Option // of employment
	Superiors []Option
	Conflicts []Text // what the chosen roles exclude
}

func (personFormPage) page() string { return "person-form" }

// A RoleChoice is a role to tick, and those that exclude it.
type RoleChoice struct {
	Role     string
	Chosen   bool
	Excludes []string
}

// leaverPage ends somebody's access: what they hold and what must be handed
// over first.
type leaverPage struct {
	Person PersonLine
	Form   Form
	Holds  []Holding
	Ends   []Text // what ends at once
}

func (leaverPage) page() string { return "leaver" }

// A Holding is a thing in somebody's hands, with where it goes.
type Holding struct {
	Thing Text
	State string // in-place, out, due or done
	To    Who    // the next holder; zero while nobody is named
	Href  string // of the transfer
}

// sessionsPage is the reader's own sessions.
type sessionsPage struct {
	Sessions []Session
	Passkeys []Passkey
	Lock     string // address that locks the reader's access
}

func (sessionsPage) page() string { return "sessions" }

// A Session is one sign-in that has not ended, or has.
type Session struct {
	Began, Seen, Ends time.Time
	State             string // active or ended
	Machine           string // certificate's subject, or the address
	Proved            []string
	Current           bool
	Revoke            string // address; "" if it is over
}

// provedBy is the key of proved.* for what a passkey can prove about its user.
func provedBy(m passkey.Method) string {
	switch m {
	case passkey.Biometric:
		return "biometric"
	case passkey.BiometricOrPIN:
		return "biometric-or-pin"
	case passkey.PIN:
		return "pin"
	case passkey.Software:
		return "software"
	default:
		return "passkey"
	}
}
