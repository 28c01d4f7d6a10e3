package bureau

import (
	"context"
	"fmt"
	"strings"

	"ankan/order"
	"ankan/site"
	"ankan/store"
)

// What a bureau does when it is unlocked after its database was put back: the
// identities of orders that the lost time took in are never issued again, and no
// keys are drawn for orders whose keys may have been drawn in it.

// drawable is the orders for which keys would be drawn next.
func (s *bureau) drawable(ctx context.Context) (ids []string, err error) {
	all, err := order.Active(ctx, s.Store())
	for _, o := range all {
		if o.State == order.Accepted || o.State == order.Released {
			ids = append(ids, o.ID)
		}
	}
	return ids, err
}

func (s *bureau) lost(ctx context.Context, u site.Unlocking) (map[string]string, error) {
	ids, err := s.drawable(ctx)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	what := "stopped for ever, because their keys may have been drawn in the time that was lost"
	if u.StoodStill {
		what = "go on"
	}
	return map[string]string{"orders_to_draw": strings.Join(ids, " ") + ": " + what}, nil
}

func (s *bureau) unlock(ctx context.Context, tx *store.Tx, u site.Unlocking) error {
	for _, o := range u.Orders {
		if err := s.ledger.Retire(ctx, tx, order.Holder{Order: o.Order, Operator: o.Operator}, o.Input.Identities()); err != nil {
			return fmt.Errorf("order %s: %w", o.Order, err)
		}
	}
	if u.StoodStill {
		return nil
	}
	ids, err := s.drawable(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := order.Stop(tx, id, u.Act, "its keys may have been drawn in the time that the database lost; order other identities"); err != nil {
			return err
		}
	}
	return nil
}
