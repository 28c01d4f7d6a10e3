package stock

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/paper"
	"ankan/store"
)

// The states of a shipment.
const (
	Drafted  = "drafted"
	Sent     = "sent"
	Accepted = "received"
)

// A Shipment is closed boxes on their way to an operator, with a form in two
// parts (SOP 5.iv).
type Shipment struct {
	Number    string    `json:"number"`
	Consignee string    `json:"consignee"`
	Carrier   string    `json:"carrier"`
	Seal      string    `json:"seal"` // of the vehicle or container
	State     string    `json:"state"`
	Boxes     []Box     `json:"boxes"`
	Drafted   time.Time `json:"drafted"`
	Sent      time.Time `json:"sent,omitzero"`
	Received  time.Time `json:"received,omitzero"`
	Receiver  string    `json:"receiver,omitempty"` // who signed for it, as the form says
	Got       int       `json:"got,omitempty"`      // cards that the operator acknowledges
	Entry     int64     `json:"entry,omitempty"`    // of the log, by which it was sent
	Operator  string    `json:"operator,omitempty"` // site to which the form goes as a file; "" if it goes on paper
	Via       string    `json:"via,omitempty"`      // partner who gets that file, and passes it on if it is not the operator
	Act       string    `json:"act,omitempty"`      // by which it was sent
}

// Cards is how many cards its boxes hold.
func (s Shipment) Cards() (n int) {
	for _, b := range s.Boxes {
		n += b.Cards
	}
	return n
}

// Digest is the SHA-256 over its number, whom it goes to, and a line for each
// box: what those who send it sign.
func (s Shipment) Digest() [32]byte {
	var t strings.Builder
	fmt.Fprintf(&t, "ankan/shipment/v1\n%s\n%s\n%s\n%s\n", s.Number, s.Consignee, s.Carrier, s.Seal)
	for _, b := range s.Boxes {
		fmt.Fprintf(&t, "%s %s %s %d %s %s\n", b.ID, b.Seal, b.Order, b.Cards, b.First, b.Last)
	}
	return sha256.Sum256([]byte(t.String()))
}

// Draft writes down which boxes are to go together. Boxes are closed and out of
// the vault when it is sent.
func (b *Book) Draft(ctx context.Context, actor string, s Shipment, ids []string) error {
	if err := b.ready(); err != nil {
		return err
	}
	if err := errors.Join(checkName("shipment: its number", s.Number), checkText("consignee", s.Consignee), checkText("carrier", s.Carrier), checkName("seal", s.Seal)); err != nil {
		return err
	}
	if len(ids) == 0 {
		return fmt.Errorf("shipment %s: it has no boxes", s.Number)
	}
	if len(ids) > mostBoxes {
		return fmt.Errorf("shipment %s: it has %d boxes, want at most %d; draft two", s.Number, len(ids), mostBoxes)
	}
	e := audit.Entry{Kind: "shipment.drafted", Actor: actor, Subject: "shipment/" + s.Number, Data: map[string]any{"consignee": s.Consignee, "carrier": s.Carrier, "seal": s.Seal, "boxes": strings.Join(ids, " "), "operator": s.Operator, "via": s.Via}}
	return b.store.Change(ctx, e, func(tx *store.Tx) error {
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM stock_shipment WHERE number = $1`, s.Number).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("shipment %s is here already; its number is used once", s.Number)
		}
		if _, err := tx.Exec(`INSERT INTO stock_shipment (number, consignee, carrier, seal, state, drafted, sent, received, receiver, cards, entry, operator, via)
			VALUES ($1, $2, $3, $4, 'drafted', $5, '', '', '', 0, 0, $6, $7)`, s.Number, s.Consignee, s.Carrier, s.Seal, store.Stamp(tx.Time()), s.Operator, s.Via); err != nil {
			return err
		}
		for _, id := range ids {
			box, err := boxBy(tx, id)
			if err != nil {
				return err
			}
			if box.Shipment != "" || box.State != BoxClosed {
				return fmt.Errorf("shipment %s: box %s is %s, in shipment %q; want a closed one in none", s.Number, id, box.State, box.Shipment)
			}
			if _, err := tx.Exec(`UPDATE stock_box SET shipment = $1 WHERE id = $2`, s.Number, id); err != nil {
				return err
			}
		}
		return nil
	})
}

func shipments(q store.Querier, where string, args ...any) ([]Shipment, error) {
	all, err := store.Collect(q, func(rows *sql.Rows) (s Shipment, err error) {
		var drafted, sent, received string
		if err = rows.Scan(&s.Number, &s.Consignee, &s.Carrier, &s.Seal, &s.State, &drafted, &sent, &received, &s.Receiver, &s.Got, &s.Entry, &s.Operator, &s.Via, &s.Act); err != nil {
			return s, err
		}
		return s, stamps([]string{drafted, sent, received}, &s.Drafted, &s.Sent, &s.Received)
	}, `SELECT number, consignee, carrier, seal, state, drafted, sent, received, receiver, cards, entry, operator, via, act FROM stock_shipment WHERE `+where+` ORDER BY number`, args...)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Boxes, err = boxes(q, `shipment = $1`, all[i].Number); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Shipments is all shipments, with their boxes.
func (b *Book) Shipments(ctx context.Context) ([]Shipment, error) {
	if err := b.ready(); err != nil {
		return nil, err
	}
	return shipments(b.store.Committed(ctx), `1 = 1`)
}

// Shipment is one of them; ErrNone if it is not here.
func (b *Book) Shipment(ctx context.Context, number string) (Shipment, error) {
	if err := b.ready(); err != nil {
		return Shipment{}, err
	}
	return shipmentBy(b.store.Committed(ctx), number)
}

func shipmentBy(q store.Querier, number string) (Shipment, error) {
	all, err := shipments(q, `number = $1`, number)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("shipment %.60q is %w", number, ErrNone)
	}
	if err != nil {
		return Shipment{}, err
	}
	return all[0], nil
}

// checkSend is about shipment/NUMBER.
func (b *Book) checkSend(_ context.Context, q store.Querier, subject string) (s Shipment, m map[string]string, err error) {
	part, err := cut(subject, "shipment", "NUMBER")
	if err != nil {
		return s, nil, err
	}
	if s, err = shipmentBy(q, part[0]); err != nil {
		return s, nil, err
	}
	if s.State != Drafted {
		return s, nil, fmt.Errorf("shipment %s: %w: it is %s", s.Number, act.ErrNotAllowed, s.State)
	}
	for _, box := range s.Boxes {
		if box.State != BoxClosed || box.Vault != "" {
			return s, nil, fmt.Errorf("shipment %s: %w: box %s is %s, in vault %q; want it closed and out of the vault", s.Number, act.ErrNotAllowed, box.ID, box.State, box.Vault)
		}
		// What is not explained does not leave.
		open, err := discrepancies(q, `(subject = $1 OR ord = $2) AND state <> 'closed'`, "box/"+box.ID, box.Order)
		if err != nil {
			return s, nil, err
		}
		if len(open) > 0 {
			return s, nil, fmt.Errorf("shipment %s: %w: discrepancy %d is %s", s.Number, act.ErrNotAllowed, open[0].ID, open[0].State)
		}
	}
	return s, map[string]string{"consignee": s.Consignee, "carrier": s.Carrier, "seal": s.Seal, "boxes": strconv.Itoa(len(s.Boxes)),
		"cards": strconv.Itoa(s.Cards()), "operator": s.Operator, "sha256": fmt.Sprintf("%x", s.Digest())}, nil
}

func (b *Book) doSend(_ context.Context, tx *store.Tx, w custody.Warrant, s Shipment) error {
	if err := s.carry(tx, w, Boxed, Shipped, BoxShipped); err != nil {
		return err
	}
	_, err := tx.Exec(`UPDATE stock_shipment SET state = 'sent', sent = $1, entry = $2, act = $3 WHERE number = $4`, store.Stamp(tx.Time()), tx.Index(), w.Act().ID, s.Number)
	return err
}

// carry posts the cards of all boxes on.
func (s Shipment) carry(tx *store.Tx, w custody.Warrant, from, to Account, state string) error {
	for _, box := range s.Boxes {
		if err := shiftBox(tx, under(w, Posting{Why: "shipment " + s.Number + ", box " + box.ID, Order: box.Order, From: from, To: to}), box.ID, 0, box.Cards); err != nil {
			return err
		}
	}
	_, err := tx.Exec(`UPDATE stock_box SET state = $1 WHERE shipment = $2`, state, s.Number)
	return err
}

type receipt struct {
	Shipment
	got  int
	from string
}

// checkReceive is about shipment/NUMBER/CARDS/RECEIVER: part 2 of the form came
// back, with what the operator counted and who signed it.
func (b *Book) checkReceive(_ context.Context, q store.Querier, subject string) (r receipt, m map[string]string, err error) {
	part, err := cut(subject, "shipment", "NUMBER", "CARDS", "RECEIVER")
	if err != nil {
		return r, nil, err
	}
	if r.Shipment, err = shipmentBy(q, part[0]); err != nil {
		return r, nil, err
	}
	if r.State != Sent {
		return r, nil, fmt.Errorf("shipment %s: %w: it is %s, want sent", r.Number, act.ErrNotAllowed, r.State)
	}
	var bad error
	r.got, bad = number("the count of cards", part[1])
	r.from = part[2]
	return r, map[string]string{"shipment": r.Number, "cards": part[1], "receiver": r.from}, errors.Join(bad, checkText("receiver", r.from))
}

// doReceive records it. Cards that the operator did not get stay on their way
// until the discrepancy is closed.
func (b *Book) doReceive(ctx context.Context, tx *store.Tx, w custody.Warrant, r receipt) error {
	if err := b.compare(ctx, tx, Discrepancy{Subject: "shipment/" + r.Number, Book: r.Cards(), Found: r.got, Person: w.Act().Requester}); err != nil {
		return err
	}
	if r.got == r.Cards() {
		if err := r.carry(tx, w, Shipped, Operator, BoxReceived); err != nil {
			return err
		}
	}
	_, err := tx.Exec(`UPDATE stock_shipment SET state = 'received', received = $1, receiver = $2, cards = $3 WHERE number = $4`,
		store.Stamp(tx.Time()), r.from, r.got, r.Number)
	return err
}

// arrived posts a shipment of which the operator got fewer cards than were
// sent: what did not come is missing, of the last boxes.
func (s Shipment) arrived(tx *store.Tx, w custody.Warrant, why string) error {
	left := s.Got
	for _, box := range s.Boxes {
		n := min(left, box.Cards)
		left -= n
		if err := s.came(tx, w, box.ID, n, why); err != nil {
			return err
		}
	}
	return nil
}

// came posts a box of which the operator found n cards: no more than it held,
// and what did not come is missing.
func (s Shipment) came(tx *store.Tx, w custody.Warrant, id string, n int, why string) error {
	i := slices.IndexFunc(s.Boxes, func(b Box) bool { return b.ID == id })
	if i < 0 {
		return fmt.Errorf("shipment %s: box %.60q is %w", s.Number, id, ErrNone)
	}
	box := s.Boxes[i]
	n = min(n, box.Cards)
	skip := 0
	for _, m := range []struct {
		to Account
		n  int
	}{{Operator, n}, {Missing, box.Cards - n}} {
		if m.n == 0 {
			continue
		}
		if err := shiftBox(tx, under(w, Posting{Why: why, Order: box.Order, From: Shipped, To: m.to}), id, skip, m.n); err != nil {
			return err
		}
		skip += m.n
	}
	_, err := tx.Exec(`UPDATE stock_box SET state = $1 WHERE id = $2`, BoxReceived, id)
	return err
}

// Form is the form in two parts with which the shipment travels; display is the
// sender's name, now the time that stands on what is not sent yet.
func (s Shipment) Form(display string, now time.Time) paper.Shipment {
	f := paper.Shipment{Mark: paper.Mark{Site: display, Number: s.Number, SHA256: s.Digest(), Entry: s.Entry, At: cmp.Or(s.Sent, s.Drafted, now)},
		Consignee: s.Consignee, Carrier: s.Carrier, Seal: s.Seal, Cards: s.Cards(), Sent: s.Sent, Received: s.Received, Receiver: s.Receiver, Got: s.Got}
	for _, b := range s.Boxes {
		f.Boxes = append(f.Boxes, paper.ShippedBox{Box: b.ID, Order: b.Order, Cards: b.Cards, First: b.First, Last: b.Last, Seal: b.Seal})
	}
	return f
}
