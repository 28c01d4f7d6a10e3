package console

import (
	"time"

	"ankan/act"
)

// actPage is one act: to sign or reject while it is open, to look at for ever
// after.
type actPage struct {
	Act       act.Act
	State     string // waits, approved, rejected, lapsed, used or refused
	Sub       Text   // what it means, in a sentence
	Grave     bool   // it cannot be undone
	Changes   []Row
	Checks    []Claim
	Seats     []Seat
	Requester Who
	Clocks    Clocks
	May       []string   // roles that may still sign
	MayNot    []Excluded // and who may not, with why
	// Approve and Reject are forms for the reader; nil if they may not sign.
	Approve, Reject *Form
	// Why says why the reader may not sign; nil if they may, or if it is over.
	Why *Text
	// Outcome is what became of it; nil while it is open.
	Outcome *Outcome
	// Use is the form that does it; nil unless it waits to be used by the reader.
	Use   *Form
	Bytes string // address of the canonical bytes
	Log   string // address of its entries in the log
}

func (actPage) page() string { return "act" }

// Signed is how many have signed.
func (p actPage) Signed() int { return signed(p.Seats) }

// Size is the length of the canonical form in bytes.
func (p actPage) Size() int { return len(p.Act.Canonical()) }

// Excluded is somebody who may not sign, and why.
type Excluded struct {
	Who Who
	Why Text
}

// An Outcome is how an act ended.
type Outcome struct {
	State string // used, rejected, lapsed or refused
	At    time.Time
	Text  Text
	// Reasons are what those who ended it said, in their words.
	Reasons []Reason
}

// A Reason is what one person said.
type Reason struct {
	By   Who
	At   time.Time
	Text string
}

// askPage is a new request: the kind and subject, then the parameters that the
// site proposes, then the signature.
type askPage struct {
	Form  Form
	Kinds []Option
	// Proposed is the act as the site would write it; nil until kind and subject
	// are chosen.
	Proposed *act.Act
	Grave    bool
	Changes  []Row
	Needs    []Seat // whose signatures it will need
	Sign     *Form
}

func (askPage) page() string { return "ask" }

// actsPage is the history of acts.
type actsPage struct {
	Form   Form // of the filter
	States []Option
	Kinds  []Option
	Acts   []ActLine
	Pager  Pager
	Ask    string
}

func (actsPage) page() string { return "acts" }
