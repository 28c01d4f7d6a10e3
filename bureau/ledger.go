package bureau

import (
	"context"
	"errors"
	"iter"

	"ankan/order"
	"ankan/sim"
)

// reserve enters an order's identities in the ledger; clashes is why it must be
// refused.
func (s *bureau) reserve(ctx context.Context, o order.Order, in *order.Input) (clashes []error, err error) {
	err = s.ledger.Reserve(ctx, s.Store(), order.Holder{Order: o.ID, Operator: o.Partner}, in.Identities())
	var all order.Clashes
	if errors.As(err, &all) {
		return all.Unwrap(), nil
	}
	return nil, err
}

// retired yields the identities of an order that no card carries.
func retired(in *order.Input, remakes []order.Remake) iter.Seq2[int, sim.Identity] {
	return func(yield func(int, sim.Identity) bool) {
		for _, r := range remakes {
			if r.KeySet < 0 && !yield(r.Card, in.At(r.Card)) {
				return
			}
		}
	}
}
