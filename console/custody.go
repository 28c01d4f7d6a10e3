package console

import "time"

// registerPage is the things of metal and paper that keys depend on, and the
// openings of racks (SOP 6.4.e.iv).
type registerPage struct {
	Form     Form // of the filter
	Kinds    []Option
	States   []Option
	Items    []ItemLine
	Pager    Pager
	Racks    []RackOpening
	Dues     []Due
	Findings []RegisterFinding
	Mine     string // address of what the reader holds; "" if they are no custodian
	New      string // address to bring something in; "" if the reader may not ask
	Open     string // address to ask for the opening of a rack; likewise
}

func (registerPage) page() string { return "register" }

// An ItemLine is one thing in a list.
type ItemLine struct {
	Kind, Number, Href string
	Holder             Who
	Place              Touch
	What               Touch // that it opens or holds
	State              string
	Since              time.Time // with this holder
}

// A RackOpening is one opening of a module's rack, under two roles
// (SOP 6.4.e.ii).
type RackOpening struct {
	Rack           string
	Opened, Closed time.Time
	By             []Who
	Why            string
	Close          string // address to ask for its closing; "" if the reader may not, or it is closed
}

// A Due is when a custodian counts what they hold (SOP 6.3.2.q).
type Due struct {
	Who    Who
	Href   string
	By     time.Time
	State  string // later or overdue
	Things int
}

// A RegisterFinding is something that is not as it should be.
type RegisterFinding struct {
	About Touch
	Text  string
	Since time.Time
}

// itemPage is one thing with its history. New says that it is to come in.
type itemPage struct {
	New    bool
	Item   ItemLine
	Kinds  []Option
	Form   *Form // to change it, or bring it in; nil if the reader may not ask
	Retire *Form
	Life   []Step
}

func (itemPage) page() string { return "item" }

// holdingsPage is what one custodian holds and how it was counted.
type holdingsPage struct {
	Who       Who
	Things    []ThingLine
	Due       *Due
	Counts    []CountLine
	Transfers []TransferOfThings
	Count     string // address to count; "" if it is somebody else's
	HandOver  string // likewise
	Paper     string // address of the sheet to count with
}

func (holdingsPage) page() string { return "holdings" }

// A ThingLine is a thing in somebody's hands.
type ThingLine struct {
	Ref, Href string
	Name      string
	Sealed    bool // to its holder's passkey
	Since     time.Time
	State     string // in-place or missing
	Said      string // seen, missing or "": as typed
	Chosen    bool
}

// A CountLine is one count.
type CountLine struct {
	At      time.Time
	Officer Who
	Things  int
	Missing int
	Act     string
	Paper   string // address
}

// A TransferOfThings is a transfer of responsibility in a list.
type TransferOfThings struct {
	Number, Href string
	From, To     Who
	Things       int
	Drafted      time.Time
	Done         time.Time
}

// inventoryPage is the quarterly control of one custodian's things in the
// presence of the security department (SOP 6.3.2.q).
type inventoryPage struct {
	Custodian Who
	Due       time.Time
	Form      Form
	Things    []ThingLine
	Last      time.Time
}

func (inventoryPage) page() string { return "inventory" }

// custodyPage is a transfer of responsibility from one custodian to the next
// (SOP 6.3.2.t): what and to whom, then each sealed part sealed anew, then the
// act; and what the next custodian opens before they sign.
type custodyPage struct {
	Paper     string // address; empty until it has a number
	Step      string // choose, seal or ready
	Number    string
	From, To  Who
	Ask       Form
	Things    []ThingLine
	Candid    []Candidate
	Bring     *Bring // the part that is sealed anew now
	Part      string // its name
	N, Of     int    // which of the sealed parts it is
	Shows     []Show // what the reader takes over, to open and compare
	Act       string // address to ask for the transfer; "" if it is not the reader's to ask
	Done      time.Time
	DoneUnder string // address of the act
}

func (custodyPage) page() string { return "custody" }

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
	State        string // planned, sent, announced, received, closed or tampered
	At           time.Time
}

// transferNewPage writes a form down.
type transferNewPage struct{ Form Form }

func (transferNewPage) page() string { return "transfer-new" }

// transferPage is one two-part form: what the sender wrote, and what the
// receiver answers.
type transferPage struct {
	Number    string
	State     string
	Paper     string // address
	Sender    TransferSide
	Receiver  TransferSide
	Key       string
	Holds     Text
	KCV       KCV // of the component
	Whole     KCV // of the key
	Ceremony  string
	Bag, Seal string
	Carrier   string
	Issued    time.Time
	Words     []string
	Received  *Receipt
	Inspect   *Form // what the recipient reads from the bag; nil if it is not the reader's
	Acts      []KeyAct
	Life      []Step
	Why       string // what is wrong with it
}

func (transferPage) page() string { return "transfer" }

// A TransferSide is one end of a transfer.
type TransferSide struct {
	Site   string
	Person string
}

// A Receipt is what the receiver found.
type Receipt struct {
	At        time.Time
	Bag, Seal string
	Sound     bool
	Note      string
}
