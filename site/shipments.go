package site

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"ankan/audit"
	"ankan/keys"
	"ankan/message"
	"ankan/order"
	"ankan/stock"
	"ankan/store"
)

// shipments is the part of every site that takes shipments of cards, or passes
// their forms on: a plant knows the bureau, the bureau the operator.
func (s *Site) shipments() Part {
	return Part{Open: func(context.Context, *Site) (Duties, error) {
		return Duties{
			Files: map[message.Kind]Handler{
				message.KindShipment:       {Take: s.takeShipment},
				message.KindShipmentAnswer: {Take: s.takeShipmentAnswer},
			},
			Deeds: s.stock.OwnDeeds(),
			Round: func(_ context.Context, begin Begin) error {
				begin("shipments", s.sendShipments)
				return nil
			},
			Routes: map[string]Route{
				"GET /v1/deliveries":                      {Permission: "deliveries.read", Handler: Answer(s.getDeliveries)},
				"GET /v1/deliveries/{site}/{number}":      {Permission: "deliveries.read", Handler: Answer(s.getDelivery)},
				"GET /v1/deliveries/{site}/{number}/form": {Permission: "stock.read", Handler: Answer(s.getDeliveryForm)},
				"GET /v1/stock/discrepancies":             {Permission: "stock.read", Handler: Answer(func(r *http.Request) (any, error) { return s.stock.Discrepancies(r.Context(), r.FormValue("state")) })},
			},
		}, nil
	}}
}

// shipmentName is the name of the file of a shipment's first or second part.
// The site is the plant.
func shipmentName(site, number string, k message.Kind) string {
	return fmt.Sprintf("%s-%s.%s.pgp", site, number, k)
}

// sendShipments sends the first part of the form of each shipment that left, the
// second of each that was received, and passes both on. A partner without a card
// has them on paper.
func (s *Site) sendShipments(ctx context.Context) error {
	left, err := s.stock.ToAdvise(ctx)
	if err != nil {
		return err
	}
	for _, sh := range left {
		handed, err := s.requested(ctx, sh.Act)
		if err != nil {
			return err
		}
		err = s.pass(ctx, sh.Via, s.config.Site, sh.Number, message.KindShipment, "shipment.advised", "shipment/"+sh.Number,
			message.Shipment{Advice: sh.Advice(s.config.Site, handed)}, sh.Left)
		if err != nil {
			return err
		}
	}
	all, err := s.stock.DeliveriesIn(ctx, stock.Passing, stock.Arrived, stock.Returning)
	if err != nil {
		return err
	}
	for _, d := range all {
		switch d.State {
		case stock.Passing:
			err = s.pass(ctx, d.Operator, d.Site, d.Number, message.KindShipment, "delivery.passed", d.Ref(), message.Shipment{Advice: d.Advice},
				func(tx *store.Tx) error { return d.Move(tx, stock.Passed, nil) })
		case stock.Arrived:
			var an keys.FormAnswer
			if an, err = s.requested(ctx, d.Act); err == nil {
				err = s.pass(ctx, d.Partner, d.Site, d.Number, message.KindShipmentAnswer, "delivery.answered", d.Ref(), message.ShipmentAnswer{Site: d.Site, Number: d.Number, Answer: an},
					func(tx *store.Tx) error { return d.Move(tx, stock.Answered, &an) })
			}
		default:
			err = s.pass(ctx, d.Partner, d.Site, d.Number, message.KindShipmentAnswer, "delivery.returned", d.Ref(), message.ShipmentAnswer{Site: d.Site, Number: d.Number, Answer: d.Answer},
				func(tx *store.Tx) error { return d.Move(tx, stock.Back, nil) })
		}
		if err != nil {
			return err
		}
	}
	return ErrIdle
}

// pass sends one part of a form, and records that it left: on paper, if the
// partner's card is gone. Where the site stops in between, the file is not sent
// again.
func (s *Site) pass(ctx context.Context, to, site, number string, k message.Kind, entry, subject string, m any, left func(*store.Tx) error) error {
	byFile := s.partners[to] != nil
	if byFile {
		if err := s.Send(ctx, to, shipmentName(site, number, k), message.JSON(m)); err != nil {
			return err
		}
	}
	return s.store.Change(ctx, audit.Entry{Kind: entry, Actor: "system:site", Subject: subject, Data: map[string]any{"partner": to, "by_file": byFile}}, left)
}

// takeShipment takes the first part of a shipment's form: of one that comes
// here, or that this bureau passes on to the operator.
func (s *Site) takeShipment(ctx context.Context, a *Arrival) error {
	var m message.Shipment
	if err := a.JSON(&m); err != nil {
		return err
	}
	if err := m.Advice.Check(); err != nil {
		return Refused("%s: %v", a.Name, err)
	}
	state, err := s.awaits(a, m.Advice)
	if err != nil {
		return err
	}
	ordered := map[string]int{}
	for id := range m.Advice.Orders() {
		o, err := order.Get(ctx, s.store, id)
		if errors.Is(err, order.ErrNoOrder) {
			return Refused("%s: %v", a.Name, err)
		}
		if err != nil {
			return err
		}
		switch {
		case state == stock.Passing && o.Partner != m.Advice.Operator:
			return Refused("%s: order %s is not of %s", a.Name, id, m.Advice.Operator)
		case state == stock.Announced && a.partner.Has(Bureau) && o.Partner != a.Partner:
			return Refused("%s: order %s is not with %s", a.Name, id, a.Partner)
		case slices.Contains(unmade(state), o.State):
			return Refused("%s: order %s is %s: no card of it can be under way", a.Name, id, o.State)
		}
		ordered[id] = o.Quantity
	}
	e := audit.Entry{Kind: "delivery.announced", Actor: "partner/" + a.Partner, Subject: m.Advice.Ref(),
		Data: map[string]any{"boxes": len(m.Advice.Boxes), "cards": m.Advice.Cards, "operator": m.Advice.Operator}}
	return refusedAdvice(a, s.store.Change(ctx, e, func(tx *store.Tx) error {
		return errors.Join(a.Taken(tx), s.stock.Advised(ctx, tx, a.Partner, state, m.Advice, ordered))
	}))
}

// awaits says what is done with a shipment's form that a partner sent.
func (s *Site) awaits(a *Arrival, m stock.Advice) (state string, err error) {
	own := m.Site == a.Partner && a.partner.Has(Plant)
	switch {
	case m.Operator == s.config.Site && s.config.Is(Operator):
		if !own && !a.partner.Has(Bureau) {
			return "", Refused("%s: %s sends a shipment of %s, and is no bureau", a.Name, a.Partner, m.Site)
		}
		return stock.Announced, nil
	case !s.config.Is(Bureau) || m.Operator == s.config.Site:
		return "", Refused("%s: the shipment goes to %s, not here", a.Name, m.Operator)
	case !own || a.Partner != s.config.Plant:
		return "", Refused("%s: %s sends a shipment of %s, want this bureau's plant %s its own", a.Name, a.Partner, m.Site, s.config.Plant)
	case s.partners[m.Operator] == nil || !s.partners[m.Operator].Has(Operator):
		return "", Refused("%s: the shipment goes to %s, who is no operator here", a.Name, m.Operator)
	}
	return stock.Passing, nil
}

// unmade is the states of an order of which no plant can have made a card.
func unmade(state string) []order.State {
	if state == stock.Passing {
		return []order.State{order.Accepted, order.Released, order.Generated, order.Offered, order.Refused}
	}
	return []order.State{order.Drafted, order.Submitted, order.Refused}
}

// takeShipmentAnswer takes the second part of a shipment's form: of one of this
// plant, or to be passed back.
func (s *Site) takeShipmentAnswer(ctx context.Context, a *Arrival) error {
	var m message.ShipmentAnswer
	if err := a.JSON(&m); err != nil {
		return err
	}
	e := audit.Entry{Kind: "delivery.answer-taken", Actor: "partner/" + a.Partner, Subject: stock.Advice{Site: m.Site, Number: m.Number}.Ref()}
	take := func(tx *store.Tx) error { return s.stock.Returned(tx, a.Partner, m.Site, m.Number, m.Answer) }
	if m.Site == s.config.Site {
		e.Kind, e.Subject = "shipment.answered", "shipment/"+m.Number
		take = func(tx *store.Tx) error { return s.stock.TakeAnswer(ctx, tx, a.Partner, m.Site, m.Number, m.Answer) }
	}
	return refusedAdvice(a, s.store.Change(ctx, e, func(tx *store.Tx) error { return errors.Join(a.Taken(tx), take(tx)) }))
}

func refusedAdvice(a *Arrival, err error) error {
	if errors.Is(err, stock.ErrAdvice) {
		return Refused("%s: %v", a.Name, err)
	}
	return err
}

// getDeliveries answers without figures of what is still to be counted: whoever
// counts may read it.
func (s *Site) getDeliveries(r *http.Request) (any, error) {
	all, err := s.stock.Deliveries(r.Context())
	for i := range all {
		all[i] = all[i].Blind()
	}
	return all, err
}

func (s *Site) getDelivery(r *http.Request) (any, error) {
	d, err := s.stock.Delivery(r.Context(), r.PathValue("site"), r.PathValue("number"))
	return d.Blind(), err
}

// A Document is a file in an answer of the control socket.
type Document struct {
	Name    string `json:"name"`
	Content []byte `json:"content"`
}

func (s *Site) getDeliveryForm(r *http.Request) (any, error) {
	d, err := s.stock.Delivery(r.Context(), r.PathValue("site"), r.PathValue("number"))
	if err != nil {
		return nil, err
	}
	if d.Found == nil {
		return nil, fmt.Errorf("shipment %s: it is not counted yet, and its form has the figures; receive it first: ankan shipment receive", d.Number)
	}
	pdf, err := d.Shipment().Form(d.Site, s.store.Now()).PDF()
	return Document{Name: d.Number + ".pdf", Content: pdf}, err
}
