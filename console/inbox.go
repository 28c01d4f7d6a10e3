package console

import "time"

// inboxPage is what waits for the reader, what they asked for, what they owe,
// and what they were told.
type inboxPage struct {
	Waits  []ActLine
	Asked  []ActLine
	Duties []Duty
	Told   []Notice
	Ask    string // address to ask for an act; "" if the reader may ask for none
}

func (inboxPage) page() string { return "inbox" }

// An ActLine is an act in a list.
type ActLine struct {
	Href, Kind, Subject string
	By                  Who
	Note                Text // what tells it from others: quantity, copies, KCV
	Grave               bool
	Words               []string
	Seats               []Seat
	Clocks              Clocks
	State               string // waits, approved, rejected, lapsed, used or refused
	Ended               time.Time
	Reason              string // of a rejection, in the signer's words
}

// Signed is how many have signed.
func (l ActLine) Signed() int { return signed(l.Seats) }

// A Duty is what somebody owes by a date.
type Duty struct {
	What   Text
	Href   string
	Clause string
	State  string // later, due or overdue
	By     time.Time
	Else   Text // what happens if it is missed
}

// A Notice tells somebody what happened.
type Notice struct {
	At    time.Time
	State string // unread or read
	Text  Text
	Href  string
}

// noticesPage is all that the reader was told.
type noticesPage struct {
	Notices []Notice
	Unread  int
	Pager   Pager
}

func (noticesPage) page() string { return "notices" }
