package site_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"ankan/keys"
	"ankan/message"
	"ankan/order"
	"ankan/parts"
	"ankan/perso"
	"ankan/sim"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/stock"
	"ankan/store"
)

const (
	shipmentFile       = "plant-SH-1.shipment.pgp"
	shipmentAnswerFile = "plant-SH-1.shipment-answer.pgp"
)

// A way is a plant, its bureau, and an operator who knows the bureau alone.
type way struct{ plant, bureau, op *keyRoom }

func newWay(t *testing.T) way {
	t.Helper()
	p, b, o := sitetest.Config(t, "plant", site.Plant), sitetest.Config(t, "maker", site.Bureau), sitetest.Config(t, "op", site.Operator)
	tp, tb, to := sitetest.Init(t, p, parts.All()...), sitetest.Init(t, b, parts.All()...), sitetest.Init(t, o, parts.All()...)
	p.Partners, b.Partners, o.Partners = []string{b.CardFile()}, []string{p.CardFile(), o.CardFile()}, []string{b.CardFile()}
	w := way{newKeyRoom(t, sitetest.Open(t, p, tp, parts.All()...)), newKeyRoom(t, sitetest.Open(t, b, tb, parts.All()...)), newKeyRoom(t, sitetest.Open(t, o, to, parts.All()...))}
	sitetest.Put(t, w.bureau.Site, order.Order{ID: "op-1", Partner: "op", Batch: "1", Quantity: 10}, order.Accepted, order.Released, order.Generated, order.Offered, order.Sent)
	return w
}

// straight is a plant whom the operator knows as well, and another operator who
// knows them both.
func straight(t *testing.T) (plant, op, other *keyRoom) {
	t.Helper()
	p, o, x := sitetest.Config(t, "plant", site.Plant), sitetest.Config(t, "op", site.Operator), sitetest.Config(t, "other", site.Operator)
	tp, to, tx := sitetest.Init(t, p, parts.All()...), sitetest.Init(t, o, parts.All()...), sitetest.Init(t, x, parts.All()...)
	p.Partners, o.Partners, x.Partners = []string{o.CardFile(), x.CardFile()}, []string{p.CardFile(), x.CardFile()}, []string{p.CardFile(), o.CardFile()}
	plant, op, other = newKeyRoom(t, sitetest.Open(t, p, tp, parts.All()...)), newKeyRoom(t, sitetest.Open(t, o, to, parts.All()...)), newKeyRoom(t, sitetest.Open(t, x, tx, parts.All()...))
	sitetest.Put(t, op.Site, order.Order{ID: "op-1", Partner: "maker", Batch: "1", Quantity: 10}, order.Drafted, order.Submitted, order.Accepted)
	return plant, op, other
}

// A bureau passes nothing on to who is no partner of it.
func TestShipmentToNobody(t *testing.T) {
	w := newWay(t)
	w.ships("nobody", "maker")
	book := stock.New(w.plant.Store())
	w.plant.must(book.Draft(t.Context(), "test", stock.Shipment{Number: "SH-2", Consignee: "Op", Carrier: "van 4", Seal: "T-2", Operator: "op", Via: "gone"}, []string{"B-2"}))
	w.plant.must(w.plant.do("shipment.send", "shipment/SH-2", "6", "3"))
	w.plant.passes() // on paper: the partner's card is gone
	if all := sitetest.Must[[]stock.Shipment](t)(book.ToAdvise(t.Context())); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	w.bureau.refused("to nobody", sitetest.Hand(t, w.plant.Site, w.bureau.Site, shipmentFile), "the shipment goes to nobody, who is no operator here")
}

// A plant whom the operator knows sends the form there itself.
func TestShipmentStraight(t *testing.T) {
	plant, op, other := straight(t)
	way{plant: plant}.ships("op", "op")
	hands(plant, op, shipmentFile)
	sh := sitetest.Must[stock.Shipment](t)(stock.New(plant.Store()).Shipment(t.Context(), "SH-1"))
	m := message.Shipment{Advice: sh.Advice("plant", sitetest.Must[keys.FormAnswer](t)(plant.Requested(t.Context(), sh.Act)))}
	op.refused("by another operator", sitetest.Message(t, other.Site, op.Site, "x1.shipment.pgp", m), "other sends a shipment of plant, and is no bureau")
	other.refused("at another operator", sitetest.Message(t, plant.Site, other.Site, "x2.shipment.pgp", m), "the shipment goes to op, not here")
	plant.refused("at a plant", sitetest.Message(t, op.Site, plant.Site, "x3.shipment.pgp", m), "the shipment goes to op, not here")
	op.must(op.do("delivery.receive", "delivery/plant/SH-1/whole/B-1:10:whole", "8", "3"))
	op.passes()
	d := sitetest.Must[stock.Delivery](t)(stock.New(op.Store()).Delivery(t.Context(), "plant", "SH-1"))
	plant.refused("an answer by another", sitetest.Message(t, other.Site, plant.Site, "x4.shipment-answer.pgp", message.ShipmentAnswer{Site: "plant", Number: "SH-1", Answer: d.Answer}), "is awaited from other")
	hands(op, plant, shipmentAnswerFile)
	if sh = sitetest.Must[stock.Shipment](t)(stock.New(plant.Store()).Shipment(t.Context(), "SH-1")); sh.State != stock.Accepted || sh.Got != 10 {
		t.Errorf("%+v", sh)
	}
	if open := sitetest.Must[[]stock.Discrepancy](t)(stock.New(plant.Store()).Discrepancies(t.Context(), "")); len(open) != 0 {
		t.Errorf("%+v", open)
	}
}

// ships has the plant send a box with 10 cards, as shipment SH-1, to an
// operator by a partner.
func (w way) ships(operator, via string) {
	w.plant.Helper()
	book := stock.New(w.plant.Store())
	var cards []stock.BoxCard
	sitetest.Change(w.plant, w.plant.Site, func(tx *store.Tx) error {
		if err := perso.Offer(tx, perso.Run{Order: "op-1", Bureau: "maker", Agree: "a", KEK: "k"}); err != nil {
			return err
		}
		for i := range 12 {
			id, err := sim.ICCIDFromBody(fmt.Sprintf("8991000000%08d", i))
			if err != nil {
				return err
			}
			cards = append(cards, stock.BoxCard{Card: i, ICCID: id.String()})
			if _, err := tx.Exec(`INSERT INTO card (ord, card, keyset, chip, lot, state, tries, reason, station, at) VALUES ('op-1', $1, $1, $2, 'L1', 'good', 1, '', 's', '')`, i, fmt.Sprint(i)); err != nil {
				return err
			}
		}
		_, err := tx.Exec(`INSERT INTO stock_posting (entry, at, actor, why, act, lot, ord, source, destination, n) VALUES (1, '', 'test', 'test', '', 'L1', 'op-1', 'maker', 'good', 12)`)
		return err
	})
	w.plant.must(book.Fill(w.plant.Context(), "test", stock.Box{ID: "B-1", Order: "op-1"}, cards[:10]))
	w.plant.must(book.Fill(w.plant.Context(), "test", stock.Box{ID: "B-2", Order: "op-1"}, cards[10:]))
	w.plant.must(w.plant.do("box.close", "box/B-1/10/S-1", "6", "7"))
	w.plant.must(w.plant.do("box.close", "box/B-2/2/S-2", "6", "7"))
	w.plant.must(book.Draft(w.plant.Context(), "test", stock.Shipment{Number: "SH-1", Consignee: "Op", Carrier: "van 4", Seal: "T-1", Operator: operator, Via: via}, []string{"B-1"}))
	w.plant.must(w.plant.do("shipment.send", "shipment/SH-1", "6", "3"))
	w.plant.passes()
}

// passes has a site send what waits, twice: what left does not leave again.
func (r *keyRoom) passes() {
	r.Helper()
	for range 2 {
		if err := r.SendShipments(r.Context()); !errors.Is(err, site.ErrIdle) {
			r.Fatal(err)
		}
	}
}

// hands gives a file on, twice: the site stopped before it cleared it away.
func hands(from, to *keyRoom, name string) {
	to.Helper()
	for range 2 {
		to.must(sitetest.Hand(to, from.Site, to.Site, name))
	}
}

func (r *keyRoom) refused(what string, err error, want string) {
	r.Helper()
	var refusal *site.Refusal
	if !errors.As(err, &refusal) || !strings.Contains(err.Error(), want) {
		r.Errorf("%s: %v, want a refusal: %s", what, err, want)
	}
}

// A shipment's form goes from the plant by the bureau to the operator, and what
// was found goes back, signed. Nobody takes either of them twice, or from others.
func TestShipment(t *testing.T) {
	w := newWay(t)
	w.ships("op", "maker")
	sh := sitetest.Must[stock.Shipment](t)(stock.New(w.plant.Store()).Shipment(t.Context(), "SH-1"))
	again := func(from, to *keyRoom, name string, spoil func(*stock.Advice)) error {
		handed := sitetest.Must[keys.FormAnswer](t)(w.plant.Requested(t.Context(), sh.Act))
		a := sh.Advice("plant", handed)
		if spoil != nil {
			spoil(&a)
		}
		return sitetest.Message(t, from.Site, to.Site, name+".shipment.pgp", message.Shipment{Advice: a})
	}

	// At the bureau.
	w.bureau.refused("figures that do not add up", again(w.plant, w.bureau, "x1", func(a *stock.Advice) { a.Cards++ }), "hold 10 cards together, it says 11")
	w.bureau.refused("another list", again(w.plant, w.bureau, "x2", func(a *stock.Advice) { a.Boxes[0].Seal = "S-2" }), "not the list that person 6 signed")
	w.bureau.refused("from the operator", again(w.op, w.bureau, "x3", nil), "op sends a shipment of plant, want this bureau's plant plant its own")
	sitetest.Change(t, w.bureau.Site, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE orders SET partner = 'other'`)
		return err
	})
	w.bureau.refused("another operator's order", again(w.plant, w.bureau, "x4", nil), "order op-1 is not of op")
	sitetest.Change(t, w.bureau.Site, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE orders SET partner = 'op', state = 'offered'`)
		return err
	})
	w.bureau.refused("before there is a card", again(w.plant, w.bureau, "x5", nil), "order op-1 is offered: no card of it can be under way")
	sitetest.Change(t, w.bureau.Site, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE orders SET state = 'sent'`)
		return err
	})
	hands(w.plant, w.bureau, shipmentFile)
	w.bureau.refused("a replay", again(w.plant, w.bureau, "x6", nil), "it was advised before")
	w.bureau.passes()

	// At the operator.
	w.op.refused("a shipment of the bureau's own", again(w.bureau, w.op, "x7", func(a *stock.Advice) { a.Operator = "maker" }), "not the list")
	w.op.refused("an order of nobody", again(w.bureau, w.op, "x10", nil), "no such order")
	sitetest.Put(t, w.op.Site, order.Order{ID: "op-1", Partner: "maker", Batch: "1", Quantity: 10}, order.Drafted, order.Submitted, order.Accepted)
	sitetest.Change(t, w.op.Site, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE orders SET partner = 'other'`)
		return err
	})
	w.op.refused("an order with another", again(w.bureau, w.op, "x8", nil), "order op-1 is not with maker")
	sitetest.Change(t, w.op.Site, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE orders SET partner = 'maker', quantity = 9`)
		return err
	})
	w.op.refused("more than were ordered", again(w.bureau, w.op, "x9", nil), "with it 10 cards of order op-1 are sent, 9 were ordered")
	sitetest.Change(t, w.op.Site, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE orders SET quantity = 10`)
		return err
	})
	w.op.refused("no message", sitetest.Message(t, w.bureau.Site, w.op.Site, "x11.shipment.pgp", map[string]int{"x": 1}), "x")
	hands(w.bureau, w.op, shipmentFile)
	w.op.refused("a replay", again(w.bureau, w.op, "x12", nil), "it was advised before")
	if err := w.op.do("delivery.receive", "delivery/plant/SH-1/whole/B-1:10:whole", "6"); err == nil {
		t.Error("received without the officer")
	}
	w.op.must(w.op.do("delivery.receive", "delivery/plant/SH-1/whole/B-1:10:broken", "8", "3"))
	w.op.passes()
	d := sitetest.Must[stock.Delivery](t)(stock.New(w.op.Store()).Delivery(t.Context(), "plant", "SH-1"))
	if d.State != stock.Answered || d.Answer.Person.Name != "Person 8" || d.Answer.Person.Credential.Seal != nil {
		t.Errorf("%+v", d)
	}

	// Back at the bureau, and at the plant.
	answer := func(from, to *keyRoom, name string, spoil func(*message.ShipmentAnswer)) error {
		m := message.ShipmentAnswer{Site: "plant", Number: "SH-1", Answer: d.Answer}
		spoil(&m)
		return sitetest.Message(t, from.Site, to.Site, name+".shipment-answer.pgp", m)
	}
	w.bureau.refused("from the plant", answer(w.plant, w.bureau, "y1", func(*message.ShipmentAnswer) {}), "is awaited from plant")
	w.bureau.refused("of another number", answer(w.op, w.bureau, "y2", func(m *message.ShipmentAnswer) { m.Number = "SH-2" }), "is awaited from op")
	w.bureau.refused("by nobody", answer(w.op, w.bureau, "y3", func(m *message.ShipmentAnswer) { m.Answer.Person.ID = "7" }), "signed by 7")
	w.plant.refused("of nothing sent", answer(w.bureau, w.plant, "y4", func(m *message.ShipmentAnswer) { m.Number = "SH-2" }), "is awaited from maker")
	w.plant.refused("no message", sitetest.Message(t, w.bureau.Site, w.plant.Site, "y5.shipment-answer.pgp", map[string]int{"x": 1}), "x")
	hands(w.op, w.bureau, shipmentAnswerFile)
	w.bureau.refused("a replay", answer(w.op, w.bureau, "y6", func(*message.ShipmentAnswer) {}), "is awaited from op")
	w.bureau.passes()
	w.plant.refused("of another act", answer(w.bureau, w.plant, "y7", func(m *message.ShipmentAnswer) {
		m.Answer = sitetest.Must[keys.FormAnswer](t)(w.plant.Requested(t.Context(), sh.Act))
	}), "want delivery.receive of delivery/plant/SH-1 at op")
	hands(w.bureau, w.plant, shipmentAnswerFile)
	w.plant.refused("a replay", answer(w.bureau, w.plant, "y8", func(*message.ShipmentAnswer) {}), "it is received already")
	sums := sitetest.Must[[]stock.Balance](t)(stock.New(w.plant.Store()).Balances(t.Context(), "L1", "op-1"))
	if len(sums) != 2 || sums[1].Account != stock.Operator || sums[1].Count != 10 {
		t.Errorf("%+v", sums)
	}
	for r, subject := range map[*keyRoom]string{w.plant: "seal/SH-1/B-1", w.op: "seal/plant/SH-1/B-1"} {
		open := sitetest.Must[[]stock.Discrepancy](t)(stock.New(r.Store()).Discrepancies(t.Context(), stock.Open))
		if len(open) != 1 || open[0].Subject != subject {
			t.Errorf("%s: %+v", r.Config().Site, open)
		}
	}
	w.op.must(w.op.do("discrepancy.explain", "discrepancy/1/torn by the carrier", "8"))
	w.op.must(w.op.do("discrepancy.close", "discrepancy/1", "6", "3"))
}
