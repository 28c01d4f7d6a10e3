package factory

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ankan/exchange"
	"ankan/order"
	"ankan/perso"
	"ankan/sim"
	"ankan/site"
)

// across compares the sites with each other.
func (c *check) across() error {
	if err := c.subscribers(); err != nil {
		return err
	}
	for _, b := range c.books {
		if !b.is(site.Bureau) {
			continue
		}
		for _, o := range b.orders {
			if err := b.held(o); err != nil {
				return err
			}
			if o.State == order.Refused || o.State == order.Drafted {
				continue
			}
			if err := c.order(b, o); err != nil {
				return err
			}
		}
	}
	for _, b := range c.books {
		if !b.is(site.Operator) {
			continue
		}
		for _, o := range b.orders {
			if err := c.ordered(b, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// held makes sure that the ledger holds an order's identities as its state says:
// reserved until keys are drawn, issued from then on for ever, and free again when
// it was refused.
func (b *books) held(o order.Order) error {
	rows, err := b.rows(1, `SELECT state FROM ledger_order WHERE ord = $1`, o.ID)
	if err != nil {
		return err
	}
	hold := "free"
	if len(rows) > 0 {
		hold = rows[0][0]
	}
	want := []string{string(order.Issued)}
	gone, err := order.WhyAbandoned(b.store.Committed(b.ctx), o.ID)
	if err != nil {
		return err
	}
	if gone != nil {
		want = []string{string(order.Retired)}
	}
	switch o.State {
	case order.Refused:
		want = []string{"free"}
	case order.Accepted:
		want = []string{string(order.Reserved)}
	case order.Released: // keys are drawn in this state
		want = append(want, string(order.Reserved))
	}
	if !slices.Contains(want, hold) {
		b.finding("order %s is %s, and its identities are %s in the ledger, want %s", o.ID, o.State, hold, strings.Join(want, " or "))
	}
	return nil
}

// of is the site of a name; nil if its books are not looked at.
func (c *check) of(name string) *books {
	for _, b := range c.books {
		if b.name == name {
			return b
		}
	}
	return nil
}

func (b *books) order(id string) (order.Order, bool) {
	i := slices.IndexFunc(b.orders, func(o order.Order) bool { return o.ID == id })
	if i < 0 {
		return order.Order{}, false
	}
	return b.orders[i], true
}

// line is the plant that makes an order's cards, and its run.
func (c *check) line(id string) (*books, perso.Run) {
	for _, b := range c.books {
		for _, r := range b.runs {
			if r.Order == id {
				return b, r
			}
		}
	}
	return nil, perso.Run{}
}

// subscribers makes sure that no identity is loaded twice, at whatever operator,
// and that each was issued by a bureau.
func (c *check) subscribers() error {
	imsis, iccids := map[string]string{}, map[string]string{}
	for _, b := range c.books {
		if !b.is(site.Operator) {
			continue
		}
		rows, err := b.rows(3, `SELECT imsi, iccid, ord FROM subscriber`)
		if err != nil {
			return err
		}
		for _, r := range rows {
			where := b.name + ", order " + r[2]
			for _, id := range []struct {
				seen map[string]string
				what string
			}{{imsis, r[0]}, {iccids, r[1]}} {
				if other, twice := id.seen[id.what]; twice {
					b.finding("identity %s is loaded twice: in %s, and in %s", id.what, other, where)
				}
				id.seen[id.what] = where
			}
			if err := c.issued(b, r[0], r[1], r[2]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *check) issued(b *books, imsi, iccid, ord string) error {
	o, ok := b.order(ord)
	if !ok {
		b.finding("identity %s is of order %s, which is not here", imsi, ord)
		return nil
	}
	bureau := c.of(o.Partner)
	if bureau == nil {
		return nil
	}
	ledger, err := order.NewLedger(bureau.module, "ledger")
	if err != nil {
		return err
	}
	i, err := sim.ParseIMSI(imsi)
	if err != nil {
		return err
	}
	n, err := sim.ParseICCID(iccid)
	if err != nil {
		return err
	}
	for _, find := range []func() (*order.Issue, error){
		func() (*order.Issue, error) { return ledger.FindIMSI(c.ctx, bureau.store, i) },
		func() (*order.Issue, error) { return ledger.FindICCID(c.ctx, bureau.store, n) },
	} {
		was, err := find()
		if err != nil {
			return err
		}
		switch {
		case was == nil:
			b.finding("identity %s, %s is loaded, and the ledger of %s does not know it", imsi, iccid, bureau.name)
		case was.Order != ord || was.Hold != order.Issued:
			b.finding("identity %s, %s is loaded, and in the ledger of %s it is %s for order %s", imsi, iccid, bureau.name, was.Hold, was.Order)
		}
	}
	return nil
}

// order compares what a bureau knows of an order with what its plant and its
// operator do.
func (c *check) order(b *books, o order.Order) error {
	if plant, run := c.line(o.ID); plant != nil {
		if err := c.made(b, o, plant, run); err != nil {
			return err
		}
	}
	operator := c.of(o.Partner)
	if operator == nil {
		return nil
	}
	theirs, ok := operator.order(o.ID)
	if !ok {
		b.finding("order %s was accepted, and %s has not placed it", o.ID, operator.name)
		return nil
	}
	answered := slices.Contains([]order.State{order.Answered, order.Loading, order.Loaded, order.Acknowledged, order.Closed}, theirs.State)
	if theirs.Quantity != o.Quantity || answered && (theirs.Good != o.Good || theirs.Retired != o.Retired) {
		b.finding("order %s: %d cards, %d good, %d retired here; at %s %d, %d, %d", o.ID, o.Quantity, o.Good, o.Retired, operator.name, theirs.Quantity, theirs.Good, theirs.Retired)
	}
	return nil
}

// made looks at each identity of an order at the line: in one state, with the key
// set that the bureau answered for.
func (c *check) made(b *books, o order.Order, plant *books, run perso.Run) error {
	if gone, err := order.WhyAbandoned(b.store.Committed(b.ctx), o.ID); err != nil || gone != nil {
		return errors.Join(err, c.unmade(b, o, plant, run))
	}
	rows, err := plant.rows(3, `SELECT card, keyset, state FROM card WHERE ord = $1 AND state <> 'destroyed'
		UNION ALL SELECT card, -1, 'retired' FROM retired WHERE ord = $1`, o.ID)
	if err != nil {
		return err
	}
	live := map[int]int{} // key set by card; -1 is retired
	good, retired := 0, 0
	for _, r := range rows {
		card, err := strconv.Atoi(r[0])
		if err != nil {
			return err
		}
		set, err := strconv.Atoi(r[1])
		if err != nil {
			return err
		}
		if _, twice := live[card]; twice || card < 0 || card >= o.Quantity {
			plant.finding("order %s: identity %d is on two cards, on one and retired, or not of the order", o.ID, card)
		}
		live[card] = set
		switch r[2] {
		case "good":
			good++
		case "retired":
			retired++
		case "lost":
			retired++
			live[card] = -1
		}
	}
	for _, table := range []string{"chip", "ord || ' ' || keyset"} {
		n, err := plant.number(`SELECT count(*) - count(DISTINCT ` + table + `) FROM card`)
		if err != nil {
			return err
		}
		if n != 0 {
			plant.finding("%d cards share their %s with another", n, table)
		}
	}
	if run.State == "offered" || run.State == "received" {
		return nil
	}
	if good+retired != o.Quantity {
		plant.finding("order %s: %d good and %d retired of %d, and the line has finished", o.ID, good, retired, o.Quantity)
	}
	if slices.Contains([]order.State{order.Accepted, order.Released, order.Generated, order.Offered, order.Sent}, o.State) {
		return nil // the report is on its way
	}
	if o.Good != good || o.Retired != retired {
		b.finding("order %s: %d good and %d retired by the report, %d and %d at %s", o.ID, o.Good, o.Retired, good, retired, plant.name)
	}
	remakes, err := order.Remakes(c.ctx, b.store, o.ID)
	if err != nil {
		return err
	}
	for card, set := range live {
		was, remade := remakes[card]
		switch {
		case set == card && remade, set != card && !remade:
			b.finding("order %s: card %d has key set %d at %s, remade by the report: %v", o.ID, card, set, plant.name, remade)
		case set >= 0 && remade && was != set:
			b.finding("order %s: card %d has key set %d at %s, %d by the report", o.ID, card, set, plant.name, was)
		}
	}
	return nil
}

// unmade looks at an order that was given up: when the plant's copy is gone, so
// are its cards that had not left, and there is no good one by anybody's books.
func (c *check) unmade(b *books, o order.Order, plant *books, run perso.Run) error {
	b.report.Abandoned++
	if o.Good != 0 || o.Retired != o.Quantity {
		b.finding("order %s was abandoned with %d good and %d retired of %d", o.ID, o.Good, o.Retired, o.Quantity)
	}
	if run.State == "abandoned" {
		return nil
	}
	n, err := plant.number(`SELECT count(*) FROM card c WHERE c.ord = $1 AND c.state NOT IN ('destroyed', 'lost') AND NOT EXISTS
		(SELECT 1 FROM stock_box_card x JOIN stock_box y ON y.id = x.box WHERE x.ord = c.ord AND x.card = c.card AND y.shipment <> '')`, o.ID)
	if err == nil && n != 0 {
		plant.finding("order %s was abandoned, its batch is %s, and %d cards of it are here", o.ID, run.State, n)
	}
	return err
}

// ordered compares what an operator knows of an order with what it loaded and
// with the certificate of its destruction.
func (c *check) ordered(b *books, o order.Order) error {
	n, err := b.number(`SELECT count(*) FROM subscriber WHERE ord = $1`, o.ID)
	if err != nil {
		return err
	}
	switch o.State {
	case order.Loaded, order.Acknowledged, order.Closed:
		if n != o.Good {
			b.finding("order %s is %s with %d good cards, and %d subscribers are loaded", o.ID, o.State, o.Good, n)
		}
	case order.Loading:
	default:
		if n != 0 {
			b.finding("order %s is %s, and %d subscribers are loaded", o.ID, o.State, n)
		}
	}
	bureau := c.of(o.Partner)
	if bureau == nil || o.State == order.Drafted || o.State == order.Refused {
		return nil
	}
	theirs, there := bureau.order(o.ID)
	if !there && (o.State != order.Submitted || c.works.Settled) {
		b.finding("order %s is %s, and %s does not know it", o.ID, o.State, bureau.name)
	}
	if o.State != order.Closed {
		return nil
	}
	if theirs.State != order.Certified {
		b.finding("order %s is closed, and %s at %s", o.ID, theirs.State, bureau.name)
	}
	if plant, run := c.line(o.ID); plant != nil && run.State != "closed" {
		b.finding("order %s is closed, and its batch %s at %s", o.ID, run.State, plant.name)
	}
	return b.certificate(o, bureau.card)
}

func (b *books) certificate(o order.Order, bureau *exchange.Partner) error {
	kept, err := order.Paper(b.ctx, b.store, o.ID, "certificate")
	if err != nil {
		return err
	}
	cert, err := open(kept, bureau.Site())
	if err == nil && (cert.Order.ID != o.ID || cert.Cards.Ordered != o.Quantity || cert.Cards.Delivered != o.Good || cert.Cards.Retired != o.Retired) {
		err = fmt.Errorf("it is of order %s, %+v", cert.Order.ID, cert.Cards)
	}
	if err == nil {
		var file []byte
		file, err = os.ReadFile(filepath.Join(b.config.Path("certificates"), cert.Number+".json"))
		if err == nil && !slices.Equal(file, kept) {
			err = fmt.Errorf("file %s is another", cert.Number)
		}
	}
	if err != nil {
		b.finding("order %s: its certificate: %v", o.ID, err)
		return nil
	}
	b.report.Certified++
	return nil
}

func open(doc []byte, key ed25519.PublicKey) (*order.Certificate, error) {
	c, err := order.OpenCertificate(doc, key)
	if err != nil {
		return nil, err
	}
	return c, c.Check()
}
