package stock

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ankan/act"
	"ankan/custody"
	"ankan/keys"
	"ankan/notice"
	"ankan/sim"
	"ankan/store"
)

// The first part of a shipment's form goes ahead of the boxes as a file, by
// another way than they do. Where they arrive, each seal is looked at and each
// box is counted by people who were not shown how many cards it should hold, and
// what they sign goes back as the second part (SOP 5.iv).

// The states of a delivery. Where it ends it goes from announced to received and
// answered; on the way there from passing to passed, returning and returned.
const (
	Announced = "announced"
	Arrived   = "received"
	Answered  = "answered"
	Passing   = "passing"
	Passed    = "passed"
	Returning = "returning"
	Back      = "returned"
)

// ErrAdvice is wrapped where what a partner wrote of a shipment is wrong.
var ErrAdvice = errors.New("it is not taken")

const (
	mostBoxes = 200     // in one shipment: whoever receives it signs a line for each
	mostProof = 1 << 16 // bytes of an act that a partner's people signed
)

// An Advice is the first part of a shipment's form: what the plant says.
type Advice struct {
	Site      string          `json:"site"`     // plant
	Number    string          `json:"number"`   // the plant's own
	Operator  string          `json:"operator"` // site that it goes to
	Consignee string          `json:"consignee"`
	Carrier   string          `json:"carrier"`
	Seal      string          `json:"seal"` // of the vehicle or container
	Sent      time.Time       `json:"sent"`
	Cards     int             `json:"cards"` // in all boxes
	Boxes     []AdvisedBox    `json:"boxes"`
	Handed    keys.FormAnswer `json:"handed"` // shipment.send, signed by whoever handed the boxes over
}

// An AdvisedBox is one of its boxes.
type AdvisedBox struct {
	Box   string `json:"box"`
	Seal  string `json:"seal"`
	Order string `json:"order"`
	Cards int    `json:"cards"`
	First string `json:"first"` // lowest ICCID
	Last  string `json:"last"`
}

// Ref names the delivery: delivery/SITE/NUMBER.
func (a Advice) Ref() string { return "delivery/" + a.Site + "/" + a.Number }

// Shipment is the shipment that the advice is of.
func (a Advice) Shipment() Shipment {
	s := Shipment{Number: a.Number, Consignee: a.Consignee, Carrier: a.Carrier, Seal: a.Seal, State: Sent, Sent: a.Sent, Operator: a.Operator}
	for _, b := range a.Boxes {
		s.Boxes = append(s.Boxes, Box{ID: b.Box, Order: b.Order, Cards: b.Cards, First: b.First, Last: b.Last, State: BoxShipped, Seal: b.Seal, Shipment: a.Number})
	}
	return s
}

// Advice is the first part of the form of a shipment that a site sent.
func (s Shipment) Advice(site string, handed keys.FormAnswer) Advice {
	a := Advice{Site: site, Number: s.Number, Operator: s.Operator, Consignee: s.Consignee, Carrier: s.Carrier, Seal: s.Seal, Sent: s.Sent, Cards: s.Cards(), Handed: handed}
	for _, b := range s.Boxes {
		a.Boxes = append(a.Boxes, AdvisedBox{Box: b.ID, Seal: b.Seal, Order: b.Order, Cards: b.Cards, First: b.First, Last: b.Last})
	}
	return a
}

// Orders is the orders that its boxes are of, with how many cards of each.
func (a Advice) Orders() map[string]int {
	all := map[string]int{}
	for _, b := range a.Boxes {
		all[b.Order] += b.Cards
	}
	return all
}

var siteName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`) // as exchange names partners

// Check refuses an advice that is none by itself: names and texts that cannot
// be, figures that do not add up, and a list that nobody at the plant signed.
func (a Advice) Check() error {
	if err := checkName("shipment: its number", a.Number); err != nil {
		return err
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("shipment %s: "+format, append([]any{a.Number}, args...)...)
	}
	if !siteName.MatchString(a.Site) || !siteName.MatchString(a.Operator) || a.Site == a.Operator || a.Sent.IsZero() {
		return fail("it goes from site %.60q to %.60q at %s", a.Site, a.Operator, store.Stamp(a.Sent))
	}
	if err := errors.Join(checkText("consignee", a.Consignee), checkText("carrier", a.Carrier), checkName("seal", a.Seal)); err != nil {
		return fail("%w", err)
	}
	if len(a.Boxes) == 0 || len(a.Boxes) > mostBoxes {
		return fail("%d boxes, want 1 to %d", len(a.Boxes), mostBoxes)
	}
	sum, boxes, seals := 0, map[string]bool{}, map[string]bool{}
	for _, b := range a.Boxes {
		if err := errors.Join(checkName("box", b.Box), checkName("seal", b.Seal), checkName("order", b.Order)); err != nil {
			return fail("%w", err)
		}
		if boxes[b.Box] || seals[b.Seal] {
			return fail("box %s or its seal %s is there twice", b.Box, b.Seal)
		}
		boxes[b.Box], seals[b.Seal] = true, true
		first, one := sim.ParseICCID(b.First)
		last, two := sim.ParseICCID(b.Last)
		if err := errors.Join(one, two); err != nil {
			return fail("box %s: %w", b.Box, err)
		}
		if b.Cards < 1 || b.Cards > MostInBox || first.Body() > last.Body() || uint64(b.Cards-1) > last.Body()-first.Body() {
			return fail("box %s: %d cards from %s to %s", b.Box, b.Cards, b.First, b.Last)
		}
		sum += b.Cards
	}
	if sum != a.Cards {
		return fail("its boxes hold %d cards together, it says %d", sum, a.Cards)
	}
	handed, err := proved(a.Handed, a.Site, "shipment.send", "shipment/"+a.Number)
	if err != nil {
		return fail("%w", err)
	}
	if want := fmt.Sprintf("%x", a.Shipment().Digest()); handed.Params["sha256"] != want || handed.Params["operator"] != a.Operator {
		return fail("this is not the list that person %s signed: digest %s to %q, want %s to %q", handed.Requester, handed.Params["sha256"], handed.Params["operator"], want, a.Operator)
	}
	return nil
}

// proved is the act that somebody at another site signed as its requester.
func proved(p keys.FormAnswer, site, kind, subject string) (act.Act, error) {
	if len(p.Act) > mostProof {
		return act.Act{}, fmt.Errorf("the act has %d bytes, want at most %d", len(p.Act), mostProof)
	}
	a, err := act.Parse([]byte(p.Act))
	if err != nil {
		return act.Act{}, err
	}
	if a.Site != site || a.Kind != kind || a.Subject != subject && !strings.HasPrefix(a.Subject, subject+"/") {
		return act.Act{}, fmt.Errorf("the act is %s of %.100s at %s, want %s of %s at %s", a.Kind, a.Subject, a.Site, kind, subject, site)
	}
	if a.Requester != p.Person.ID || p.Person.Name == "" {
		return act.Act{}, fmt.Errorf("the act is asked for by person %s, and signed by %s, %q", a.Requester, p.Person.ID, p.Person.Name)
	}
	_, err = act.Verify(a, p.Person, p.Signature, act.Request)
	return a, err
}

// ---- what was found

// A Finding is what people saw and counted where a shipment arrived.
type Finding struct {
	Whole bool       `json:"whole"` // the seal of the vehicle or container, and the one of the form
	Boxes []FoundBox `json:"boxes"` // in the order of the advice
}

// A FoundBox is one of its boxes.
type FoundBox struct {
	Box   string `json:"box"`
	Cards int    `json:"cards"`
	Whole bool   `json:"whole"` // its seal, and the one of the form
}

// Cards is how many cards were found.
func (f Finding) Cards() (n int) {
	for _, b := range f.Boxes {
		n += b.Cards
	}
	return n
}

// String is its one form, SEAL/BOX:CARDS:SEAL,…, SEAL being whole or broken.
func (f Finding) String() string {
	word := map[bool]string{true: "whole", false: "broken"}
	var all []string
	for _, b := range f.Boxes {
		all = append(all, b.Box+":"+strconv.Itoa(b.Cards)+":"+word[b.Whole])
	}
	return word[f.Whole] + "/" + strings.Join(all, ",")
}

// ParseFinding reads what String wrote.
func ParseFinding(text string) (f Finding, err error) {
	whole := func(s string) (bool, error) {
		if s != "whole" && s != "broken" {
			return false, fmt.Errorf("a seal is %.40q, want whole or broken", s)
		}
		return s == "whole", nil
	}
	seal, list, _ := strings.Cut(text, "/")
	if f.Whole, err = whole(seal); err != nil {
		return Finding{}, err
	}
	if strings.Count(list, ",") >= mostBoxes {
		return Finding{}, fmt.Errorf("more than %d boxes were found", mostBoxes)
	}
	for one := range strings.SplitSeq(list, ",") {
		part := strings.Split(one, ":")
		if len(part) != 3 {
			return Finding{}, fmt.Errorf("a box was found as %.100q, want BOX:CARDS:whole or BOX:CARDS:broken", one)
		}
		b := FoundBox{Box: part[0]}
		var bad error
		b.Cards, bad = number("box "+part[0]+": the count of cards", part[1])
		b.Whole, err = whole(part[2])
		if err := errors.Join(checkName("box", b.Box), bad, err); err != nil {
			return Finding{}, err
		}
		f.Boxes = append(f.Boxes, b)
	}
	return f, nil
}

// against refuses what was found if it is not of these boxes, each once and in
// their order: one finding has one text.
func (f Finding) against(boxes []AdvisedBox) error {
	if len(f.Boxes) != len(boxes) {
		return fmt.Errorf("%d boxes were looked at, the form has %d; one that did not come is 0 cards and a broken seal", len(f.Boxes), len(boxes))
	}
	for i, b := range f.Boxes {
		if b.Box != boxes[i].Box {
			return fmt.Errorf("box %d of the finding is %s, of the form %s; name each once, in the form's order", i+1, b.Box, boxes[i].Box)
		}
	}
	return nil
}

// CheckAnswer is what the operator's people found, as they signed it.
func (a Advice) CheckAnswer(an keys.FormAnswer) (Finding, error) {
	signed, err := proved(an, a.Operator, "delivery.receive", a.Ref())
	if err != nil {
		return Finding{}, err
	}
	f, err := ParseFinding(strings.TrimPrefix(signed.Subject, a.Ref()+"/"))
	if err == nil {
		err = f.against(a.Boxes)
	}
	if err != nil {
		return Finding{}, err
	}
	if want := fmt.Sprintf("%x", a.Shipment().Digest()); signed.Params["sha256"] != want {
		return Finding{}, fmt.Errorf("person %s signed for the list with digest %s, want %s", signed.Requester, signed.Params["sha256"], want)
	}
	return f, nil
}

// finds records what was found of each box and seal beside what the form says.
// Boxes are named after subject, seals after seal.
func (b *Book) finds(ctx context.Context, tx *store.Tx, boxes []AdvisedBox, f Finding, subject, seal, person string) error {
	var open []string
	one := func(d Discrepancy) error {
		d.Person = person
		id, err := b.record(ctx, tx, d)
		if id != 0 {
			open = append(open, strconv.FormatInt(id, 10))
		}
		return err
	}
	whole := map[bool]int{true: 1}
	err := one(Discrepancy{Subject: seal, Book: 1, Found: whole[f.Whole]})
	for i, box := range boxes {
		err = errors.Join(err,
			one(Discrepancy{Subject: subject + "/" + box.Box, Book: box.Cards, Found: f.Boxes[i].Cards}),
			one(Discrepancy{Subject: seal + "/" + box.Box, Book: 1, Found: whole[f.Boxes[i].Whole]}))
	}
	tx.Note("agrees", len(open) == 0)
	if len(open) > 0 {
		tx.Note("discrepancies", strings.Join(open, " "))
	}
	return err
}

// ---- deliveries, where they end and on the way

// A Delivery is a shipment of a plant, as it was advised.
type Delivery struct {
	Advice
	Partner  string          `json:"partner"` // who sent the first part here, and gets the second
	State    string          `json:"state"`
	Found    *Finding        `json:"found,omitempty"` // nil until it is received
	Answer   keys.FormAnswer `json:"-"`
	Act      string          `json:"act,omitempty"` // by which it was received here
	Received time.Time       `json:"received,omitzero"`
}

// Blind is the delivery as it is shown to whoever is to count it: before it is
// received there is no count in it, and no range from which one could be told.
func (d Delivery) Blind() Delivery {
	if d.Found != nil {
		return d
	}
	d.Cards, d.Handed = 0, keys.FormAnswer{}
	boxes := make([]AdvisedBox, len(d.Boxes))
	for i, b := range d.Boxes {
		boxes[i] = AdvisedBox{Box: b.Box, Seal: b.Seal, Order: b.Order}
	}
	d.Boxes = boxes
	return d
}

// Shipment is the shipment, with what is known of its second part.
func (d Delivery) Shipment() Shipment {
	s := d.Advice.Shipment()
	if d.Found != nil {
		s.State, s.Received, s.Receiver, s.Got = Accepted, d.Received, d.Answer.Person.Name, d.Found.Cards()
	}
	return s
}

func deliveries(q store.Querier, where string, args ...any) ([]Delivery, error) {
	return store.Collect(q, func(rows *sql.Rows) (d Delivery, err error) {
		var doc, answer []byte
		var found, received string
		if err = rows.Scan(&doc, &d.Partner, &d.State, &found, &answer, &d.Act, &received); err != nil {
			return d, err
		}
		if err = json.Unmarshal(doc, &d.Advice); err != nil {
			return d, err
		}
		if answer != nil {
			if err = json.Unmarshal(answer, &d.Answer); err != nil {
				return d, err
			}
		}
		if found != "" {
			f, err := ParseFinding(found)
			if err != nil {
				return d, err
			}
			d.Found = &f
		}
		return d, stamps([]string{received}, &d.Received)
	}, `SELECT document, partner, state, found, answer, act, received FROM stock_delivery WHERE `+where+` ORDER BY site, number`, args...)
}

func deliveryBy(q store.Querier, site, number string) (Delivery, error) {
	all, err := deliveries(q, `site = $1 AND number = $2`, site, number)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("shipment %.60q of %.60q is %w", number, site, ErrNone)
	}
	if err != nil {
		return Delivery{}, err
	}
	return all[0], nil
}

// Deliveries is the shipments that come or came here, with all figures: see
// Delivery.Blind. Those that this site only passes on are not among them.
func (b *Book) Deliveries(ctx context.Context) ([]Delivery, error) {
	return b.DeliveriesIn(ctx, Announced, Arrived, Answered)
}

// DeliveriesIn is those in any of some states, passed on or not.
func (b *Book) DeliveriesIn(ctx context.Context, states ...string) (all []Delivery, err error) {
	if err := b.ready(); err != nil {
		return nil, err
	}
	for _, state := range states {
		more, err := deliveries(b.store.Committed(ctx), `state = $1`, state)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// Delivery is one of them; ErrNone if it is not here.
func (b *Book) Delivery(ctx context.Context, site, number string) (Delivery, error) {
	if err := b.ready(); err != nil {
		return Delivery{}, err
	}
	return deliveryBy(b.store.Committed(ctx), site, number)
}

// Advised records that a partner advised a shipment, in the state Announced or
// Passing. Its number and its boxes come once, and not more cards of an order
// than were ordered. What is wrong with it wraps ErrAdvice.
func (b *Book) Advised(ctx context.Context, tx *store.Tx, partner, state string, a Advice, ordered map[string]int) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("shipment %s of %s: %w: "+format, append([]any{a.Number, a.Site, ErrAdvice}, args...)...)
	}
	if _, err := deliveryBy(tx, a.Site, a.Number); err == nil {
		return fail("it was advised before; its number is used once")
	} else if !errors.Is(err, ErrNone) {
		return err
	}
	doc, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO stock_delivery (site, number, partner, document, state, found, act, received) VALUES ($1, $2, $3, $4, $5, '', '', '')`,
		a.Site, a.Number, partner, doc, state); err != nil {
		return err
	}
	for _, box := range a.Boxes {
		had, err := store.Collect(tx, store.Column[string], `SELECT number FROM stock_delivery_box WHERE site = $1 AND box = $2`, a.Site, box.Box)
		if err != nil {
			return err
		}
		if len(had) > 0 {
			return fail("box %s came with shipment %s", box.Box, had[0])
		}
		if _, err := tx.Exec(`INSERT INTO stock_delivery_box (site, box, number, ord, cards) VALUES ($1, $2, $3, $4, $5)`, a.Site, box.Box, a.Number, box.Order, box.Cards); err != nil {
			return err
		}
	}
	for ord := range a.Orders() {
		var n int
		if err := tx.QueryRow(`SELECT sum(cards) FROM stock_delivery_box WHERE ord = $1`, ord).Scan(&n); err != nil {
			return err
		}
		if n > ordered[ord] {
			return fail("with it %d cards of order %s are sent, %d were ordered", n, ord, ordered[ord])
		}
	}
	if state != Announced {
		return nil
	}
	return notice.TellHolders(ctx, tx, notice.Notice{Kind: "delivery.announced", Subject: a.Ref(), Link: "/deliveries/" + a.Site + "/" + a.Number,
		Text: fmt.Sprintf("Shipment %s of %s is under way by %s, vehicle's seal %s, boxes: %d. Look at the seals and count every box before you look at the paper that comes with them (delivery.receive).", a.Number, a.Site, a.Carrier, a.Seal, len(a.Boxes))},
		act.Nodal, act.Alternate, "warehouse")
}

type arrival struct {
	Delivery
	found Finding
}

// checkDelivery is about delivery/SITE/NUMBER/SEAL/BOX:CARDS:SEAL,…: what was
// found (Finding). What the form says is not among what is shown.
func (b *Book) checkDelivery(_ context.Context, q store.Querier, subject string) (r arrival, m map[string]string, err error) {
	part, err := cut(subject, "delivery", "SITE", "NUMBER", "SEAL/BOX:CARDS:SEAL,…")
	if err != nil {
		return r, nil, err
	}
	if r.Delivery, err = deliveryBy(q, part[0], part[1]); err != nil {
		return r, nil, err
	}
	if r.State != Announced {
		return r, nil, fmt.Errorf("shipment %s: %w: it is %s, want announced", r.Number, act.ErrNotAllowed, r.State)
	}
	if r.found, err = ParseFinding(part[2]); err == nil {
		err = r.found.against(r.Boxes)
	}
	if err != nil {
		return r, nil, fmt.Errorf("shipment %s: %w", r.Number, err)
	}
	broken := 0
	for _, box := range r.found.Boxes {
		if !box.Whole {
			broken++
		}
	}
	return r, map[string]string{"from": r.Site, "shipment": r.Number, "carrier": r.Carrier, "seal": r.Seal, "boxes": strconv.Itoa(len(r.Boxes)),
		"cards": strconv.Itoa(r.found.Cards()), "broken": strconv.Itoa(broken), "sha256": fmt.Sprintf("%x", r.Advice.Shipment().Digest())}, nil
}

func (b *Book) doDelivery(ctx context.Context, tx *store.Tx, w custody.Warrant, r arrival) error {
	if err := b.finds(ctx, tx, r.Boxes, r.found, r.Ref(), "seal/"+r.Site+"/"+r.Number, w.Act().Requester); err != nil {
		return err
	}
	_, err := tx.Exec(`UPDATE stock_delivery SET state = $1, found = $2, act = $3, received = $4 WHERE site = $5 AND number = $6`,
		Arrived, r.found.String(), w.Act().ID, store.Stamp(tx.Time()), r.Site, r.Number)
	return err
}

// Move takes a delivery from a state to the next; an is kept with it if it is
// not nil.
func (d Delivery) Move(tx *store.Tx, to string, an *keys.FormAnswer) error {
	if an == nil {
		an = &d.Answer
	}
	doc, err := json.Marshal(an)
	if err != nil {
		return err
	}
	res, err := tx.Exec(`UPDATE stock_delivery SET state = $1, answer = $2 WHERE site = $3 AND number = $4 AND state = $5`, to, doc, d.Site, d.Number, d.State)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(fmt.Errorf("%s: it is not %s any more", d.Ref(), d.State), err)
	}
	return nil
}

// Returned takes the second part of a form that this site passed on, to be
// passed back. What is wrong with it wraps ErrAdvice.
func (b *Book) Returned(tx *store.Tx, partner, site, number string, an keys.FormAnswer) error {
	d, err := deliveryBy(tx, site, number)
	if errors.Is(err, ErrNone) || err == nil && (d.Operator != partner || d.State != Passing && d.State != Passed) {
		return fmt.Errorf("shipment %.60s of %.60s: %w: none of this number is awaited from %s", number, site, ErrAdvice, partner)
	}
	if err != nil {
		return err
	}
	if _, err := d.CheckAnswer(an); err != nil {
		return fmt.Errorf("shipment %s of %s: %w: %v", number, site, ErrAdvice, err)
	}
	return d.Move(tx, Returning, &an)
}

// ---- the plant's side

// ToAdvise is the shipments whose first part is to leave as a file.
func (b *Book) ToAdvise(ctx context.Context) ([]Shipment, error) {
	if err := b.ready(); err != nil {
		return nil, err
	}
	return shipments(b.store.Committed(ctx), `state = 'sent' AND via <> '' AND advised = ''`)
}

// Left records that a shipment's first part left.
func (s Shipment) Left(tx *store.Tx) error {
	_, err := tx.Exec(`UPDATE stock_shipment SET advised = $1 WHERE number = $2`, store.Stamp(tx.Time()), s.Number)
	return err
}

// TakeAnswer takes the second part of a shipment's form: what came whole is the
// operator's, over everything else a discrepancy is open. What is wrong with it
// wraps ErrAdvice.
func (b *Book) TakeAnswer(ctx context.Context, tx *store.Tx, partner, site, number string, an keys.FormAnswer) error {
	s, err := shipmentBy(tx, number)
	fail := func(format string, args ...any) error {
		return fmt.Errorf("shipment %.60s: %w: "+format, append([]any{number, ErrAdvice}, args...)...)
	}
	switch {
	case errors.Is(err, ErrNone) || err == nil && (s.Via != partner || s.State == Drafted):
		return fail("none of this number is awaited from %s", partner)
	case err != nil:
		return err
	case s.State != Sent:
		return fail("it is %s already", s.State)
	}
	advice := s.Advice(site, keys.FormAnswer{})
	found, err := advice.CheckAnswer(an)
	if err != nil {
		return fail("%v", err)
	}
	by := "partner/" + partner
	if err := b.finds(ctx, tx, advice.Boxes, found, "shipment/"+number, "seal/"+number, by); err != nil {
		return err
	}
	for i, box := range s.Boxes {
		if found.Boxes[i].Cards != box.Cards {
			continue // stays on its way until the discrepancy is closed
		}
		p := Posting{Actor: by, Why: "shipment " + number + ", box " + box.ID, Order: box.Order, From: Shipped, To: Operator}
		if err := shiftBox(tx, p, box.ID, 0, box.Cards); err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE stock_box SET state = $1 WHERE id = $2`, BoxReceived, box.ID); err != nil {
			return err
		}
	}
	tx.Note("cards", found.Cards())
	if _, err := tx.Exec(`UPDATE stock_shipment SET state = 'received', received = $1, receiver = $2, cards = $3 WHERE number = $4`,
		store.Stamp(tx.Time()), an.Person.Name, found.Cards(), number); err != nil {
		return err
	}
	return notice.TellHolders(ctx, tx, notice.Notice{Kind: "shipment.answered", Subject: "shipment/" + number, Link: "/shipments",
		Text: fmt.Sprintf("%s of %s signed for shipment %s.", an.Person.Name, s.Operator, number)}, "warehouse", "security-officer")
}
