package console

import "time"

// inboxPage is what waits for the reader, what they asked for, what they owe,
// and what they were told.
type inboxPage struct {
	Waits  []ActLine
	Asked  []ActLine
	Duties []Duty
	Told   []Notice
	Ways   []WayLine // for whoever may see orders
	Ask    string    // address to ask for an act; "" if the reader may ask for none
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

// A WayLine is a file that is on its way now.
type WayLine struct {
	File, Partner string
	In            bool   // it comes
	Done          Text   // how many bytes there are, of how many if that is known
	Percent       int    // of the whole; 0 if nobody knows how much it is
	Rate, Left    string // "41.2 MB/s", "2m10s"; Left "" if nobody can say
	Began, At     time.Time
}

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
