package bureau

import (
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
		from, sender string
		err          error
		state        order.State
		want         string
	}{
		{"plant", "plant", nil, order.Sent, ""},
		{"op", "plant", nil, order.Sent, "f: order op-1 is not one of op"},
		{"plant", "op", nil, order.Sent, "f: order op-1 is not one of plant"},
		{"plant", "plant", nil, order.Offered, "f: order op-1 is sent, want offered"},
		{"plant", "plant", order.ErrNoOrder, order.Sent, "f: no such order"},
	} {
		_, err := ours(from(tt.from), o, tt.err, o.ID, tt.sender, tt.state)
		if got := fmt.Sprint(err); tt.want == "" && err != nil || tt.want != "" && got != tt.want {
			t.Errorf("from %s, want it from %s: %v, want %q", tt.from, tt.sender, err, tt.want)
		}
	}
}
