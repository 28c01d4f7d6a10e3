package console

import "time"

// registerPage is what is kept in lockers, bags and envelopes, and the openings
// of racks (SOP 6.4.e.iv).
type registerPage struct {
	Lockers   []Locker
	PhysKeys  []PhysicalKey
	Envelopes []Envelope
	Racks     []RackOpening
	Inventory string // address of the inventory that is due; "" if none
	Due       time.Time
	Transfer  string // address to hand something over
}

func (registerPage) page() string { return "register" }

// A Locker is a place with one holder. Shared access is refused.
type Locker struct {
	Name   string
	Place  string
	Holder Who
	Since  time.Time
	State  string
	Holds  int
}

// A PhysicalKey opens a locker, a rack or a door.
type PhysicalKey struct {
	Mark   string // engraved on it
	Opens  string
	Holder Who
	Spare  Text // where the second one is
	State  string
	Seen   time.Time
}

// An Envelope is a tamper-evident bag or envelope with its seal.
type Envelope struct {
	Number, Seal string
	Content      Text
	Place        string
	Holder       Who
	State        string // in-place, out, broken or missing
	Seen         time.Time
}

// A RackOpening is one opening of a module's rack, under two roles
// (SOP 6.4.e.ii).
type RackOpening struct {
	Rack           string
	Opened, Closed time.Time
	By             []Who
	Why            string
	Entry          int64
}

// inventoryPage is the quarterly control of one custodian's items in the
// presence of the security department (SOP 6.3.2.q).
type inventoryPage struct {
	Number    string
	Custodian Who
	Security  Who
	Due       time.Time
	Form      Form
	Items     []InventoryItem
	Last      time.Time
}

func (inventoryPage) page() string { return "inventory" }

// An InventoryItem is a thing that must be seen.
type InventoryItem struct {
	ID    string // names the form's fields
	Thing Text
	Place string
	Seal  string    // as the register has it
	Seen  time.Time // last time
	Said  string    // seen, differs, missing or "": as typed
	Error *Text
}

// custodyPage is a transfer of responsibility from one custodian to the next
// (SOP 6.3.2.t).
type custodyPage struct {
	Number   string
	State    string
	From, To Who
	Reason   string
	Items    []CustodyItem
	Seats    []Seat
	Words    []string
	Form     *Form // the reader's signature; nil if it is not theirs to give
	Candid   []Candidate
	Ask      Form // before there is a transfer: what, and to whom
	New      bool
}

func (custodyPage) page() string { return "custody" }

// A CustodyItem is a thing that changes hands.
type CustodyItem struct {
	ID     string
	Thing  Text
	Place  string
	Seal   string
	Chosen bool
}

// A Candidate is somebody who could take over, or may not, and why.
type Candidate struct {
	Who    Who
	May    bool
	Why    Text
	Chosen bool
}

// transfersPage is the key transfer forms (SOP 6.4.e.iii.c).
type transfersPage struct {
	Form      Form
	States    []Option
	Transfers []TransferLine
	Pager     Pager
	New       string
}

func (transfersPage) page() string { return "transfers" }

// A TransferLine is a form in a list.
type TransferLine struct {
	Number, Href string
	Key          string
	Part         Text // component 2 of 3
	From, To     Text
	Bag          string
	State        string // planned, sent, received, closed or tampered
	At, By       time.Time
}

// transferPage is one two-part form: what the sender wrote, and what the
// receiver answers.
type transferPage struct {
	Number    string
	Here      string // this site's display name
	State     string
	Sender    TransferSide
	Receiver  TransferSide
	Key       string
	Algorithm string
	Purpose   Text
	Holds     Text
	KCV       KCV // of the component
	Whole     KCV // of the key
	Ceremony  string
	Bag, Seal string
	Told      Text // how the bag's number travelled
	Carrier   string
	Handed    time.Time
	Words     []string
	Received  *Receipt
	Receive   *Form // the receiver's answer; nil if it is not the reader's
	Tampered  *Form // what the receiver signs if the bag was opened
	Entry     int64
	Life      []Step
}

func (transferPage) page() string { return "transfer" }

// A TransferSide is one end of a transfer.
type TransferSide struct {
	Site  string
	Who   Who
	Seats []Seat
}

// A Receipt is what the receiver found.
type Receipt struct {
	At        time.Time
	Bag, Seal string
	KCV       KCV
	Locker    string
	Entry     int64
}
