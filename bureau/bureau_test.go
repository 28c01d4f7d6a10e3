package bureau

import (
	"errors"
	"fmt"
	"testing"

	"ankan/exchange/edge"
	"ankan/order"
	"ankan/site"
)

// Only the plant that an order was given to writes of its making, and only its
// operator acknowledges it, each in its time.
func TestOurs(t *testing.T) {
	o := order.Order{ID: "op-1", Partner: "op", State: order.Sent}
	from := func(name string) *site.Arrival {
		return &site.Arrival{File: &edge.File{Meta: edge.Meta{Partner: name, Name: "f"}}}
	}
	for _, tt := range []struct {
		from, sender  string
		err           error
		state, before order.State
		want          string
		waits         bool
	}{
		{"plant", "plant", nil, order.Sent, order.Offered, "", false},
		{"op", "plant", nil, order.Sent, order.Offered, "f: order op-1 is not one of op", false},
		{"plant", "op", nil, order.Sent, order.Offered, "f: order op-1 is not one of plant", false},
		{"plant", "plant", nil, order.Offered, order.Generated, "f: order op-1 is sent, want offered", false},
		{"plant", "plant", nil, order.Made, "", "f: order op-1 is sent, want made", false},
		{"plant", "plant", order.ErrNoOrder, order.Sent, order.Offered, "f: no such order", false},
		// The site died between sending and noting it, and the answer was quicker.
		{"plant", "plant", nil, order.Made, order.Sent, "f: order op-1 is sent still; the file is taken when it is made", true},
	} {
		_, err := ours(from(tt.from), o, tt.err, o.ID, tt.sender, tt.state, tt.before)
		var refused *site.Refusal
		if tt.want != "" && errors.As(err, &refused) == tt.waits {
			t.Errorf("%v: waits %v, want %v", err, !tt.waits, tt.waits)
		}
		if got := fmt.Sprint(err); tt.want == "" && err != nil || tt.want != "" && got != tt.want {
			t.Errorf("from %s, want it from %s: %v, want %q", tt.from, tt.sender, err, tt.want)
		}
	}
}
