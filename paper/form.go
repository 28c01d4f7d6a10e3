package paper

import (
	"fmt"
	"strings"
	"time"

	"ankan/act"
)

// A Form is the two-part form with which a part of a key travels (SOP
// 6.4.e.iii.c): part 1 for the sender, part 2 for the receiver, who returns it.
// What is empty is room to write in. The mark is the sender's: its number is
// the form's, its digest that of the form as both sites have it.
type Form struct {
	Mark
	Key       string
	Algorithm string
	Purpose   string
	Part, Of  int    // which component this is; 0 is left blank
	PartKCV   string // check values with their methods
	KeyKCV    string
	Ceremony  string // and step
	Bag       string
	Seal      string // inner seal
	ToldBy    string // how the receiver is told the bag's number
	From      string // the custodian who sends
	To        string // the custodian who receives
	ToSite    string
	Carrier   string // and way
	// HandedOver is when the carrier took it.
	HandedOver time.Time
	Within     int // days in which part 2 comes back; 0: it is not said

	Receipt Receipt
}

// A Receipt is part 2 as far as it is known: nothing, before the form goes out.
type Receipt struct {
	Received time.Time
	Bag      string // as read from the bag
	Seal     string
	PartKCV  string // after loading
	Locker   string
	Entry    int64 // of the receiver's log
}

// PDF prints it on one sheet; what does not fit is refused.
func (f Form) PDF() ([]byte, error) {
	if f.Part < 0 || f.Of < 0 || f.Part > f.Of {
		return nil, fmt.Errorf("form %s: component %d of %d; want 1 of 1 or more, or nothing", f.Number, f.Part, f.Of)
	}
	p := paper{mark: f.Mark, kind: "key-transfer-form", name: "Key transfer form, part 1: sender", sole: true,
		says: f.Site + ". Keep for ever (SOP 6.4.e.iii.c)."}
	return p.print(f.draw)
}

func (f Form) draw(s *sheet) {
	words, holds := "", ""
	if f.SHA256 != [32]byte{} {
		words = strings.Join(act.Words(f.SHA256), "  ")
	}
	if f.Part > 0 {
		holds = fmt.Sprintf("Component %d of %d", f.Part, f.Of)
	}
	s.grid(
		blank(2, "Key", f.Key), blank(1, "Algorithm and length", f.Algorithm), blank(1, "Purpose", f.Purpose),
		blank(2, "This package holds", holds), blank(2, "Check value of the component, with its method", f.PartKCV),
		blank(2, "Ceremony and step", f.Ceremony), blank(2, "Check value of the whole key, with its method", f.KeyKCV),
		blank(1, "Bag number", f.Bag), blank(1, "Inner seal", f.Seal), blank(2, "Bag number told by", f.ToldBy),
		blank(2, "From", f.From), blank(2, "To", f.To),
		blank(2, "Carrier and way", f.Carrier), blank(2, "Handed over", both(f.HandedOver)),
		field{4, "Digest of this form in six words, compare by telephone", said{heading, words}},
	)
	s.ticks("Component written once, waste destroyed", "Bag closed before two people",
		"Other component leaves another day, by another way", "Bag number sent by signed message")
	s.sign(25, "Custodian who sends", "Key manager", "Security officer")

	cutLine(s, "cut here; part 2 returns to the sender")
	back := "sign and return"
	if f.Within > 0 {
		back += " within " + times(f.Within, "day")
	}
	site := f.ToSite
	if site == "" {
		site = "Receiver"
	}
	s.put(left, s.y, title, "Key transfer form, part 2: receiver")
	s.end(left+width, s.y, faint, "Number")
	number := s.clip(fixed, s.mark.Number, 56)
	s.end(left+width, s.y+faint.lead(), fixed, number)
	s.y = s.lines(left, s.y+title.lead(), s.wrap(body, site+": "+back+". The sender's ledger stays open until then (SOP 6.4.e.iii.d).", width-58)) + 1.5
	s.rule(left, s.y, width, 0.6, 0)
	s.y += 2.5
	r := f.Receipt
	s.grid(
		blank(2, "Received, date and time IST and UTC", both(r.Received)), blank(1, "Bag number read from the bag", r.Bag), blank(1, "Inner seal read", r.Seal),
		blank(2, "Check value of the component after loading, with its method", r.PartKCV), blank(1, "Locker", r.Locker), blank(1, "Log entry at receiver", count(r.Entry)),
	)
	same := "Check value of the component is the one in part 1"
	if f.PartKCV != "" {
		same = "Check value of the component is " + f.PartKCV
	}
	s.ticks("Bag number is the one told by message", "No sign of tampering on bag, seal or paper",
		same, "Tampered, or a number differs: the key is compromised. Stop, call the sender")
	s.sign(25, "Custodian who receives", "Security officer of the receiver", "Sender: ledger closed")
}

// cutLine is the line between the parts of a form.
func cutLine(s *sheet, what string) {
	s.y += 3.5
	s.set(faint)
	half := s.pdf.GetStringWidth(what)/2 + 3
	s.put(105-half+3, s.y, faint, what)
	s.pdf.SetDashPattern([]float64{1.2, 1.2}, 0)
	s.rule(6, s.y+faint.lead()/2, 105-half-6, 0.25, 0)
	s.rule(105+half, s.y+faint.lead()/2, 105-half-6, 0.25, 0)
	s.pdf.SetDashPattern([]float64{}, 0)
	s.y += 9
}
