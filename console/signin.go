package console

import "time"

// signInPage is the door. The first proof is the machine's certificate or,
// where none came, a number and password, which work without script; the
// second is a passkey.
type signInPage struct {
	Certificate *Certificate // seen in TLS; nil if the machine has none
	// First is the form of number and password. It is shown if there is no
	// certificate.
	First Form
	// Second is the form of the passkey; nil until the first proof is there.
	Second *Form
	// Keys are the passkeys that the person can sign in with.
	Keys []KeyChoice
	// Expires is the end of the second form's challenge.
	Expires time.Time
	Person  string // who the first proof names
	// Last is what was proved at this person's last sign-in; nil at the first.
	Last *SignIn
}

func (signInPage) page() string { return "signin" }

// A KeyChoice is a passkey and what it would sign.
type KeyChoice struct {
	Model string
	Sign  Signing
}

// A Certificate is a machine's, as TLS saw it.
type Certificate struct {
	Subject, Issuer, Fingerprint string
	Until                        time.Time
}

// A SignIn is what one sign-in proved.
type SignIn struct {
	At     time.Time
	Claims []Claim
}

// A Claim is one thing that was proved, and how.
type Claim struct {
	What  Text
	State string // checked or failed
	How   Text
}

// enrolPage is somebody's first time: the one-time code from two colleagues, a
// password, a passkey.
type enrolPage struct {
	Step string // code, password, passkey or done
	Form Form
	Who  Who
	// CodeEnds is when the code stops working.
	CodeEnds time.Time
	// Passkeys are those that were made here so far: one to use, one to keep.
	Passkeys []Passkey
}

func (enrolPage) page() string { return "enrol" }

// foundingPage is the first page of a site: the founders prove themselves and
// sign the same founding. Before the code only the form is there.
type foundingPage struct {
	Words    []string
	Digest   string // hexadecimal
	Form     Form   // the reader's own: code, password and passkey, signature
	Step     string // code, prove, gathers, sign, waits, done or failed
	Founders []Founder
	People   []PersonLine
	Policy   policySummary
}

func (foundingPage) page() string { return "founding" }

// A Founder is one of the people who sign the founding.
type Founder struct {
	Seat       Seat
	You        bool
	Registered bool // the passkey is there
}

// policySummary is a policy in figures.
type policySummary struct {
	Version, Roles, Conflicts, Acts int
	Digest                          string
}
