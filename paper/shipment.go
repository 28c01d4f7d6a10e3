package paper

import (
	"fmt"
	"strings"
	"time"

	"ankan/act"
)

// A Shipment is the form in two parts with which boxes of cards go to an
// operator (SOP 5.iv): part 1 for the carrier and the operator, part 2 to sign
// and return. The mark's digest is that of the list of boxes as it was signed.
type Shipment struct {
	Mark
	Consignee string
	Carrier   string
	Seal      string // of the vehicle or container
	Cards     int
	Boxes     []ShippedBox
	Sent      time.Time

	Received time.Time // part 2 as far as it is known
	Receiver string
	Got      int // cards that the operator counted
}

// A ShippedBox is one of its boxes.
type ShippedBox struct {
	Box, Order  string
	Cards       int
	First, Last string // ICCID
	Seal        string
}

// PDF prints it: the list over as many pages as it takes, part 2 at the end.
func (f Shipment) PDF() ([]byte, error) {
	if len(f.Boxes) == 0 {
		return nil, fmt.Errorf("shipment %s: it has no boxes", f.Number)
	}
	p := paper{mark: f.Mark, kind: "shipment", name: "Shipment of cards, part 1", says: f.Site + ". Goes with the boxes. Keep with the order's records (SOP 5.iv)."}
	return p.print(f.draw)
}

func (f Shipment) draw(s *sheet) {
	words := ""
	if f.SHA256 != [32]byte{} {
		words = strings.Join(act.Words(f.SHA256), "  ")
	}
	s.grid(
		blank(2, "To", f.Consignee), blank(2, "Carrier and way", f.Carrier),
		blank(1, "Boxes", count(int64(len(f.Boxes)))), blank(1, "Cards", count(int64(f.Cards))), blank(1, "Seal of the vehicle or container", f.Seal), blank(1, "Handed over, IST and UTC", both(f.Sent)),
		field{4, "Digest of this list in six words, compare by telephone", said{heading, words}},
	)
	var rows [][][]said
	for _, b := range f.Boxes {
		rows = append(rows, cells(b.Box, b.Order, count(int64(b.Cards)), b.First, b.Last, b.Seal))
	}
	s.section("Boxes")
	s.table([]column{{"Box", 26}, {"Order", 26}, {"Cards", 14}, {"ICCID from", 38}, {"to", 38}, {"Seal", 0}}, rows)
	s.y += 3
	s.sign(22, "Warehouse", "Security officer", "Carrier")
	s.need(95)
	cutLine(s, "cut here; part 2 returns to the sender")
	s.put(left, s.y, title, "Shipment of cards, part 2: operator")
	s.end(left+width, s.y, faint, "Number")
	s.end(left+width, s.y+faint.lead(), fixed, s.clip(fixed, f.Number, 56))
	s.y = s.lines(left, s.y+title.lead(), s.wrap(body, f.Consignee+": count the cards before you look at part 1, sign, and return this part to "+f.Site+".", width-58)) + 1.5
	s.rule(left, s.y, width, 0.6, 0)
	s.y += 2.5
	got := ""
	if !f.Received.IsZero() {
		got = count(int64(f.Got))
	}
	s.grid(blank(2, "Received, date and time IST and UTC", both(f.Received)), blank(1, "Boxes counted", ""), blank(1, "Cards counted", got))
	s.ticks("Seal of the vehicle or container is whole, and the one in part 1", "Seals of all boxes are whole, and those in part 1",
		"ICCIDs are those in part 1, by sample", "Something differs: say what on the back, and call the sender")
	s.sign(22, "Receiver"+called(f.Receiver), "Operator's security")
}

// called is a name to stand after what somebody is.
func called(name string) string {
	if name == "" {
		return ""
	}
	return ": " + name
}
