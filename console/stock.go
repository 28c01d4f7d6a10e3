package console

import (
	"time"

	"ankan/stock"
)

// stockPage is what is in each account, for whoever may see figures.
type stockPage struct {
	Accounts  []AccountBar
	Sums      []SumLine
	Postings  []PostingLine
	Unbalance string // what is wrong with the books; "" if nothing is
	Move      string // address to ask for a movement
}

func (stockPage) page() string { return "stock" }

// An AccountBar is an account with its share of the largest one.
type AccountBar struct {
	Name  string // key of account.*
	Count int
	Share int // 0 to 100
}

// A SumLine is what came in, went out and is on hand.
type SumLine struct {
	Lot, Order      string
	In, Out, OnHand int
}

// A PostingLine is one movement.
type PostingLine struct {
	At         time.Time
	Lot, Order string
	From, To   string // keys of account.*
	Count      int
	Why        string
	Href       string // of the act; "" if the site did it
}

// lotsPage is the lots of chips.
type lotsPage struct {
	Lots []LotLine
	Ask  string // address to ask for an inspection; "" if the reader may not
}

func (lotsPage) page() string { return "lots" }

// A LotLine is a lot in a list.
type LotLine struct {
	Name, Href, Vendor string
	Chip, FormFactor   string
	Count              Text // not the figure while the reader is to count
	State              string
}

// lotPage is one lot.
type lotPage struct {
	Lot         LotLine
	OS, KCV     string
	KeyMethod   string // of the transport key
	ATR         string // hex; "" if the lot does not say it
	ATRMask     string // hex; "" if all chips have the same
	Certificate string
	Serials     []stock.Range // none while the reader is to count
	Provenance  []string
	Source      string // address of the act that approved the vendor; "" if none did
	Inspections []InspectionLine
	Asks        []AskLine
}

func (lotPage) page() string { return "lot" }

// An InspectionLine is one look at a lot.
type InspectionLine struct {
	At                      time.Time
	By                      Who
	Counted, Sample, Failed int
	Result                  string
	Href                    string // of the act
}

// An AskLine is an act that the reader may ask for.
type AskLine struct {
	Kind, Href string
}

// boxesPage is boxes, and the openings of vaults.
type boxesPage struct {
	Boxes    []BoxLine
	Next     string // address of the next ones; "" if there are none
	Openings []VaultOpening
	Open     string // address to ask for the opening of a vault
}

func (boxesPage) page() string { return "boxes" }

// A BoxLine is a box in a list.
type BoxLine struct {
	ID, Order, Pallet string
	Count             Text // not the figure while the reader is to count
	First, Last       string
	State             string
	Seal, Place       string
	Label, ZPL        string // addresses
}

// A VaultOpening is one time that a vault was open.
type VaultOpening struct {
	Vault          string
	Opened, Closed time.Time
	By             []Who
	Why            string
}

// shipmentsPage is boxes on their way to operators.
type shipmentsPage struct {
	Shipments []ShipmentLine
}

func (shipmentsPage) page() string { return "shipments" }

// A ShipmentLine is a shipment in a list.
type ShipmentLine struct {
	Number, To, Carrier, Seal string
	Boxes, Cards              int
	State                     string
	Sent                      time.Time
	Receiver                  string
	Paper                     string // address
	Next                      string // address of what is to be done; "" if the reader may not
	NextKind                  string // send or receive
}

// deliveriesPage is plants' shipments that come here.
type deliveriesPage struct {
	Deliveries []DeliveryLine
}

func (deliveriesPage) page() string { return "deliveries" }

// A DeliveryLine is one of them in a list.
type DeliveryLine struct {
	Number, Href, From, Carrier, Seal string
	Boxes                             int
	Count                             Text // not the figure before it is counted
	State                             string
	Sent                              time.Time
}

// deliveryPage is one of them, with a form to say what was found. Until it is
// counted nothing on it says how many cards there should be.
type deliveryPage struct {
	Delivery DeliveryLine
	Boxes    []DeliveredBox
	Counted  bool
	Whole    string // the vehicle's seal: whole, broken, "" if nobody said
	Form     *Form  // nil once it is counted, and for whoever may not
	Href     string // of the act; "" until it is counted
	Paper    string // address; "" until it is counted
}

func (deliveryPage) page() string { return "delivery" }

// A DeliveredBox is one of its boxes.
type DeliveredBox struct {
	Box, Seal, Order string
	First, Last      string
	Cards, Found     int    // only once it is counted
	Typed            string // into the form
	Whole            string // its seal: whole, broken, "" if nobody said
}

// discrepanciesPage is counts that are not what the books say, and a form to
// count: it shows nothing of the books.
type discrepanciesPage struct {
	Lines    []DiscrepancyLine
	Figures  bool // the reader may see both figures
	Count    *Form
	Accounts []Option
}

func (discrepanciesPage) page() string { return "discrepancies" }

// A DiscrepancyLine is one of them.
type DiscrepancyLine struct {
	ID          int64
	Counted     string
	Book, Found int
	State       string
	Opened      time.Time
	By          Who // nobody: the line's own books
	Why         string
	Next        string // address of what is to be done; "" if the reader may not
	NextKind    string // explain or close
}
