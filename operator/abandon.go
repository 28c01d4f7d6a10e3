package operator

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"ankan/audit"
	"ankan/custody"
	"ankan/message"
	"ankan/order"
	"ankan/site"
	"ankan/store"
)

// An operator may want an order no more, and a manufacturer may give one up.

// withdrawable finds the order of a subject order/ORDER/WHY, and refuses one of
// which anything may be in the subscriber store.
func (s *operator) withdrawable(ctx context.Context, subject string) (o order.Order, why string, err error) {
	if o, why, err = s.OrderBecause(ctx, subject); err != nil {
		return o, "", err
	}
	if !slices.Contains([]order.State{order.Drafted, order.Submitted, order.Accepted, order.Answered}, o.State) {
		return o, "", fmt.Errorf("order %s: %w: it is %s, want drafted, submitted, accepted or answered: an order of which keys are loaded goes on to its end", o.ID, order.ErrState, o.State)
	}
	return o, why, nil
}

func (s *operator) proposeWithdraw(ctx context.Context, subject string) (map[string]string, error) {
	o, why, err := s.withdrawable(ctx, subject)
	if err != nil {
		return nil, err
	}
	then := o.Partner + " is asked to abandon it; its people decide, and its certificate says so"
	if o.State == order.Drafted {
		then = "nothing of it has left"
	}
	return map[string]string{"manufacturer": o.Partner, "file": o.Name, "batch": o.Batch, "digest": o.Digest, "quantity": strconv.Itoa(o.Quantity), "state": string(o.State), "why": why, "then": then}, nil
}

// doWithdraw gives an order up of which nothing is loaded, and asks the
// manufacturer to do the same.
func (s *operator) doWithdraw(ctx context.Context, w custody.Warrant) error {
	o, why, err := s.withdrawable(ctx, w.Act().Subject)
	if err != nil {
		return err
	}
	act := fmt.Sprintf("%x", w.Act().Digest())
	return w.Use(ctx, "order.withdraw", w.Act().Subject, map[string]any{"was": string(o.State)}, func(tx *store.Tx) error {
		if err := order.Move(tx, o.ID, o.State, order.Withdrawn); err != nil {
			return err
		}
		if err := order.SetReason(tx, o.ID, why); err != nil {
			return err
		}
		if err := order.Abandon(tx, o.ID, order.Abandonment{Act: act, Why: why, Was: o.State}); err != nil {
			return err
		}
		if err := tx.Append(audit.Entry{Kind: "order.withdrawn", Actor: "system:site", Subject: "order/" + o.ID}); err != nil {
			return err
		}
		if o.State == order.Drafted {
			return nil
		}
		return site.Owe(tx, o.Partner, o.ID+".abandon.pgp", message.Abandon{Order: o.ID, Why: why, Act: act})
	})
}

// late takes in a file about an order that this site withdrew while the file was
// on its way, or that its manufacturer gave up: nothing comes of it.
func (s *operator) late(ctx context.Context, a *site.Arrival, id string) (bool, error) {
	gone, err := order.WhyAbandoned(s.Store().Committed(ctx), id)
	if err != nil || gone == nil {
		return false, err
	}
	if o, err := order.Get(ctx, s.Store(), id); err != nil || o.Partner != a.Partner {
		return false, err
	}
	return true, a.Late(ctx, id)
}

// takeAbandoned hears that the manufacturer gave an order up.
func (s *operator) takeAbandoned(ctx context.Context, a *site.Arrival, m message.Receipt) error {
	o, err := s.about(ctx, a, m.Order, "", order.Accepted, order.Submitted, order.Answered, order.Withdrawn)
	if err != nil {
		return err
	}
	if m.Digest != o.Digest || m.Accepted || len(m.Reasons) != 1 {
		return site.Refused("%s: it abandons %s with digest %.12s… for %d reasons, want %.12s… and one", a.Name, o.ID, m.Digest, len(m.Reasons), o.Digest)
	}
	return a.Step(ctx, o, "order.abandoned", order.Abandoned, map[string]any{"reasons": m.Reasons, "was": string(o.State)}, func(tx *store.Tx) error {
		if err := order.SetCounts(tx, o.ID, 0, o.Quantity); err != nil {
			return err
		}
		if o.State == order.Withdrawn {
			return nil // why, this site said itself
		}
		if err := order.SetReason(tx, o.ID, m.Reasons[0]); err != nil {
			return err
		}
		return order.Abandon(tx, o.ID, order.Abandonment{Why: m.Reasons[0], Was: o.State})
	})
}
