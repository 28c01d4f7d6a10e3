package operator

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"ankan/message"
	"ankan/order"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/store"
)

// An order is withdrawn while nothing of it can be in the subscriber store.
func TestWithdrawable(t *testing.T) {
	s := sitetest.New(t, "op", site.Operator, Part())
	life := []order.State{order.Drafted, order.Submitted, order.Accepted, order.Answered, order.Loading, order.Loaded, order.Acknowledged, order.Closed}
	for i, state := range life {
		id := "op-" + string(state)
		sitetest.Put(t, s, order.Order{ID: id, Partner: "maker", Batch: string(state), Quantity: 5}, life[:i+1]...)
		params, err := s.Propose(t.Context(), "order.withdraw", "order/"+id+"/not wanted")
		may := slices.Contains([]order.State{order.Drafted, order.Submitted, order.Accepted, order.Answered}, state)
		if may != (err == nil) || !may && !errors.Is(err, order.ErrState) {
			t.Errorf("%s: %v, %v", state, params, err)
		}
		if may && (params["state"] != string(state) || params["why"] != "not wanted" || strings.Contains(params["then"], "nothing of it has left") != (state == order.Drafted)) {
			t.Errorf("%s: %v", state, params)
		}
	}
}

// A manufacturer abandons what is not loaded, with a reason; what comes late about
// it is taken and comes to nothing.
func TestTakeAbandoned(t *testing.T) {
	op, maker := sitetest.Pair(t, Part(), site.Part{Role: site.Bureau})
	digest := strings.Repeat("0", 64)
	put := func(id string, states ...order.State) {
		sitetest.Put(t, op, order.Order{ID: id, Partner: "maker", Name: "x.inp", Batch: id, Digest: digest, Quantity: 3}, states...)
	}
	put("op-1", order.Drafted, order.Submitted, order.Accepted)
	put("op-2", order.Drafted, order.Submitted, order.Accepted, order.Answered, order.Loading)
	put("op-3", order.Drafted, order.Withdrawn)
	put("op-4", order.Drafted, order.Submitted, order.Withdrawn)
	sitetest.Change(t, op, func(tx *store.Tx) error {
		if err := order.SetReason(tx, "op-4", "ours"); err != nil {
			return err
		}
		return order.Abandon(tx, "op-4", order.Abandonment{Act: "00", Why: "ours", Was: order.Submitted})
	})
	for name, m := range map[string]message.Receipt{
		"unknown":     {Order: "op-9", Digest: digest, Reasons: []string{"why"}, Abandoned: true},
		"loading":     {Order: "op-2", Digest: digest, Reasons: []string{"why"}, Abandoned: true},
		"digest":      {Order: "op-1", Digest: strings.Repeat("1", 64), Reasons: []string{"why"}, Abandoned: true},
		"no-reason":   {Order: "op-1", Digest: digest, Abandoned: true},
		"accepted":    {Order: "op-1", Digest: digest, Reasons: []string{"why"}, Abandoned: true, Accepted: true},
		"two-reasons": {Order: "op-1", Digest: digest, Reasons: []string{"why", "why"}, Abandoned: true},
	} {
		var r *site.Refusal
		if err := sitetest.Message(t, maker, op, name+".receipt.pgp", m); !errors.As(err, &r) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for id, why := range map[string]string{"op-1": "theirs", "op-4": "ours"} {
		if err := sitetest.Message(t, maker, op, id+".abandoned.receipt.pgp", message.Receipt{Order: id, File: "x.inp", Digest: digest, Reasons: []string{"theirs"}, Abandoned: true}); err != nil {
			t.Fatal(err)
		}
		if o := sitetest.Get(t, op, id, order.Abandoned); o.Good != 0 || o.Retired != 3 || o.Reason != why {
			t.Errorf("%+v", o)
		}
	}
	for name, v := range map[string]any{"op-1.late.receipt.pgp": message.Receipt{Order: "op-1", File: "op-1.inp.pgp", Digest: digest, Accepted: true}, "op-1.out.pgp": "nonsense"} {
		if err := sitetest.Message(t, maker, op, name, v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	sitetest.Get(t, op, "op-1", order.Abandoned)
}
