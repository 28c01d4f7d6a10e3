package bureau

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"ankan/audit"
	"ankan/custody"
	"ankan/hsm"
	"ankan/message"
	"ankan/notice"
	"ankan/order"
	"ankan/site"
	"ankan/store"
)

// An order that can no longer go on is abandoned: by people, from any state
// before its response has left. All of its identities are retired, its keys are
// destroyed here and at the plant, and it ends in a certificate as every order
// does.

// Papers of what others say of an order: a message.Abandon each.
const (
	paperWithdrawn = "withdrawn" // its operator wants it no more
	paperStopped   = "stopped"   // the plant lost what it knew of it
)

// abandonable finds the order of a subject order/ORDER/WHY, and refuses one that
// has another end.
func (s *bureau) abandonable(ctx context.Context, subject string) (o order.Order, why string, err error) {
	if o, why, err = s.OrderBecause(ctx, subject); err != nil {
		return o, "", err
	}
	return o, why, s.mayAbandon(s.Store().Committed(ctx), o)
}

// mayAbandon refuses an order that has another end, as q sees it.
func (s *bureau) mayAbandon(q store.Querier, o order.Order) error {
	refuse := func(why string) error {
		return fmt.Errorf("order %s: %w: it is %s: %s", o.ID, order.ErrState, o.State, why)
	}
	switch o.State {
	case order.Accepted:
		if err := order.Stopped(q, o.ID); err == nil {
			return refuse("no key was drawn for it; refuse it, and its identities are free again: order.refuse")
		} else if !errors.Is(err, order.ErrStopped) {
			return err
		}
		return nil
	case order.Released, order.Generated, order.Offered, order.Sent:
		return nil
	case order.Made, order.Responded:
		written, err := hasPaper(q, o.ID, paperFiles)
		if err != nil || o.State == order.Made && o.Good > 0 && !written {
			return err
		}
		withdrawn, err := hasPaper(q, o.ID, paperWithdrawn)
		if err == nil && !withdrawn {
			err = refuse("its response may have left, and " + o.Partner + " may load it; only the operator can say that nothing of it is loaded: order.withdraw there")
		}
		return err
	case order.Received:
		return refuse("its cards are delivered; its data is destroyed by order.destroy")
	}
	return refuse("it has come to its end, or is on the way there by itself")
}

func hasPaper(q store.Querier, ord, kind string) (bool, error) {
	_, err := order.ReadPaper(q, ord, kind)
	if errors.Is(err, order.ErrNoOrder) {
		return false, nil
	}
	return err == nil, err
}

func (s *bureau) proposeAbandon(ctx context.Context, subject string) (map[string]string, error) {
	o, why, err := s.abandonable(ctx, subject)
	if err != nil {
		return nil, err
	}
	params := map[string]string{
		"operator": o.Partner, "file": o.Name, "batch": o.Batch, "digest": o.Digest, "quantity": strconv.Itoa(o.Quantity), "state": string(o.State), "why": why, "keys": o.KEK,
		"identities": strconv.Itoa(o.Quantity) + " are retired: they are never issued again",
		"plant":      s.Config().Plant + " was never told of it",
	}
	told, err := s.told(ctx, o.ID)
	if err != nil {
		return nil, err
	}
	if told {
		params["plant"] = s.Config().Plant + " destroys its keys, its blocks and the cards that it made"
	}
	if err := order.Stopped(s.Store().Committed(ctx), o.ID); errors.Is(err, order.ErrStopped) {
		params["stopped"] = err.Error()
	} else if err != nil {
		return nil, err
	}
	for _, kind := range []string{paperWithdrawn, paperStopped} {
		var m message.Abandon
		switch err := s.paper(ctx, o.ID, kind, &m); {
		case err == nil:
			params["says_"+kind] = m.Why
		case !errors.Is(err, order.ErrNoOrder):
			return nil, err
		}
	}
	return params, nil
}

// told says whether the plant may know of an order: its offer is on its way as
// soon as its keys are drawn.
func (s *bureau) told(ctx context.Context, ord string) (bool, error) {
	_, err := s.reached(ctx, ord, order.Generated)
	if errors.Is(err, order.ErrState) {
		return false, nil
	}
	return err == nil, err
}

// doAbandon gives an order up. From here on nothing is drawn, sent or answered
// for it: what a step under way still does is refused by the order's state.
func (s *bureau) doAbandon(ctx context.Context, w custody.Warrant) error {
	o, why, err := s.abandonable(ctx, w.Act().Subject)
	if err != nil {
		return err
	}
	if err := s.enter(ctx, o); err != nil {
		return err
	}
	key, err := s.describe(ctx, o.KEK)
	if err != nil {
		return err
	}
	act := fmt.Sprintf("%x", w.Act().Digest())
	papers := map[string]any{"destroy-act": w.Act().ID, "destroy-keys": []order.DestroyedKey{key}}
	data := map[string]any{"was": string(o.State), "quantity": o.Quantity}
	return w.Use(ctx, "order.abandon", w.Act().Subject, data, func(tx *store.Tx) error {
		if err := s.mayAbandon(tx, o); err != nil {
			return err
		}
		for kind, v := range papers {
			if err := putPaper(tx, o.ID, kind, v); err != nil {
				return err
			}
		}
		for _, do := range []func() error{
			func() error { return order.Move(tx, o.ID, o.State, order.Abandoning) },
			func() error { return order.SetReason(tx, o.ID, why) },
			func() error { return order.SetCounts(tx, o.ID, 0, o.Quantity) },
			func() error { return order.Abandon(tx, o.ID, order.Abandonment{Act: act, Why: why, Was: o.State}) },
			func() error { return s.ledger.Abandon(tx, o.ID) },
			func() error {
				return tx.Append(audit.Entry{Kind: "order.abandoning", Actor: "system:site", Subject: "order/" + o.ID})
			},
		} {
			if err := do(); err != nil {
				return err
			}
		}
		return site.Owe(tx, o.Partner, o.ID+".abandoned.receipt.pgp", message.Receipt{File: o.Name, Order: o.ID, Digest: o.Digest, Reasons: []string{why}, Abandoned: true})
	})
}

// describe is DescribeKey, also of a key that the module has no more: it may have
// been destroyed in a time that the database lost.
func (s *bureau) describe(ctx context.Context, id string) (order.DestroyedKey, error) {
	d, err := s.DescribeKey(ctx, id)
	if !errors.Is(err, hsm.ErrNoKey) {
		return d, err
	}
	k, err := s.Register().Key(ctx, id)
	if err != nil {
		return d, err
	}
	return order.DestroyedKey{ID: id, Purpose: k.Purpose + ", " + k.Algorithm, Check: k.KCV, Where: s.Config().Site + ", it was gone before"}, nil
}

// abandon destroys the keys of an order that was given up, at once, and has the
// plant do the same. The order goes on when the plant's proof is here; its rows
// are wiped then, as those of every order. It may be done again after a crash.
func (s *bureau) abandon(ctx context.Context, o order.Order) error {
	var gone []order.DestroyedKey
	if err := s.paper(ctx, o.ID, "destroy-keys", &gone); err != nil {
		return err
	}
	if err := s.DestroyKeys(ctx, gone); err != nil {
		return err
	}
	told, err := s.told(ctx, o.ID)
	if err != nil {
		return err
	}
	if !told {
		return s.Step(ctx, o, "order.emptied", order.Emptied, map[string]any{"plant": "", "keys": 0, "blocks": 0}, nil)
	}
	a, err := order.WhyAbandoned(s.Store().Committed(ctx), o.ID)
	if err != nil {
		return err
	}
	if a == nil {
		return fmt.Errorf("order %s is abandoning, and nothing says why", o.ID)
	}
	m := message.DestroyOrder{Order: o.ID, Act: a.Act, Abandoned: a.Why}
	if err := s.Send(ctx, s.Config().Plant, o.ID+".destroy.pgp", message.JSON(m)); err != nil {
		return err
	}
	return site.ErrIdle
}

// late takes in a file about an order that was abandoned while the file was on
// its way: nothing comes of it.
func (s *bureau) late(ctx context.Context, a *site.Arrival, ord string) (bool, error) {
	gone, err := order.WhyAbandoned(s.Store().Committed(ctx), ord)
	if err != nil || gone == nil || a.Partner != s.Config().Plant {
		return false, err
	}
	return true, a.Late(ctx, ord)
}

// takeAbandon hears from an operator that it wants an order no more, or from the
// plant that it cannot go on with it. What becomes of it people here decide; an
// order that never came is not taken in any more.
func (s *bureau) takeAbandon(ctx context.Context, a *site.Arrival) error {
	var m message.Abandon
	if err := a.JSON(&m); err != nil {
		return err
	}
	if m.Why == "" || len(m.Why) > 1000 || strings.ContainsFunc(m.Why, unicode.IsControl) || len(m.Order) > 100 {
		return site.Refused("%s: order %.100q with a reason of %d bytes, want one line of 1 to 1000", a.Name, m.Order, len(m.Why))
	}
	o, err := order.Get(ctx, s.Store(), m.Order)
	if err != nil && !errors.Is(err, order.ErrNoOrder) {
		return err
	}
	kind, who := paperWithdrawn, "its operator withdrew it"
	switch {
	case err == nil && a.Partner == s.Config().Plant && a.Partner != o.Partner:
		kind, who = paperStopped, "the plant cannot go on with it"
	case err == nil && a.Partner == o.Partner:
	case err != nil && order.Of(m.Order, a.Partner):
	default:
		return site.Refused("%s: order %s is not one of %s", a.Name, m.Order, a.Partner)
	}
	e := audit.Entry{Kind: "order.not-wanted", Actor: "partner/" + a.Partner, Subject: "order/" + m.Order, Data: map[string]any{"act": m.Act, "is": string(o.State)}}
	return s.Store().Change(ctx, e, func(tx *store.Tx) error {
		if err := a.Taken(tx); err != nil {
			return err
		}
		if o.ID == "" {
			return order.Abandon(tx, m.Order, order.Abandonment{Act: m.Act, Why: m.Why})
		}
		doc, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if err := order.SetPaper(tx, o.ID, kind, doc); err != nil {
			return err
		}
		if s.mayAbandon(tx, o) != nil && o.State != order.Accepted {
			return nil // it is over here
		}
		return notice.TellHolders(ctx, tx, notice.Notice{Kind: e.Kind, Subject: e.Subject, Link: "/acts",
			Text: fmt.Sprintf("Order %s of %s is %s, and %s: %s. It is refused (order.refuse) while no key is drawn for it, abandoned (order.abandon) after.", o.ID, o.Partner, o.State, who, m.Why)},
			"key-manager", "data-preparation", "security-officer")
	})
}
