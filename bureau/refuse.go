package bureau

import (
	"context"
	"strconv"

	"ankan/audit"
	"ankan/custody"
	"ankan/message"
	"ankan/order"
	"ankan/site"
	"ankan/store"
)

// accepted finds the order of a subject order/ORDER/WHY.
func (s *bureau) accepted(ctx context.Context, subject string) (o order.Order, why string, err error) {
	parts, why, err := site.ReasonOf(subject, "order", 1)
	if err == nil {
		o, err = s.OrderOf(ctx, "order/"+parts[0], order.Accepted)
	}
	return o, why, err
}

func (s *bureau) proposeRefuse(ctx context.Context, subject string) (map[string]string, error) {
	o, why, err := s.accepted(ctx, subject)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"operator": o.Partner, "file": o.Name, "batch": o.Batch, "digest": o.Digest, "quantity": strconv.Itoa(o.Quantity), "why": why,
	}, nil
}

// doRefuse takes an accepted order back, as long as no key was drawn for it: its
// identities are free again, and its operator is told why.
func (s *bureau) doRefuse(ctx context.Context, w custody.Warrant) error {
	o, why, err := s.accepted(ctx, w.Act().Subject)
	if err != nil {
		return err
	}
	if err := s.enter(ctx, o); err != nil {
		return err
	}
	return w.Use(ctx, "order.refuse", w.Act().Subject, nil, func(tx *store.Tx) error {
		if err := order.Move(tx, o.ID, order.Accepted, order.Refusing); err != nil {
			return err
		}
		if err := order.SetReason(tx, o.ID, why); err != nil {
			return err
		}
		if err := s.ledger.Release(tx, o.ID); err != nil {
			return err
		}
		if err := tx.Append(audit.Entry{Kind: "order.refusing", Actor: "system:site", Subject: "order/" + o.ID}); err != nil {
			return err
		}
		return site.Owe(tx, o.Partner, o.ID+".refused.receipt.pgp", message.Receipt{File: o.Name, Order: o.ID, Digest: o.Digest, Reasons: []string{why}})
	})
}

// forget destroys what is left of an order that was refused after it had been
// accepted. It may be done again after a crash.
func (s *bureau) forget(ctx context.Context, o order.Order) error {
	if err := s.DestroyKey(ctx, o.KEK); err != nil {
		return err
	}
	return s.Step(ctx, o, "order.refused", order.Refused, map[string]any{"reasons": []string{o.Reason}}, func(tx *store.Tx) error {
		return order.WipeText(tx, o.ID)
	})
}
