package bureau

import (
	"errors"
	"strings"
	"testing"

	"ankan/message"
	"ankan/order"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/store"
)

// An order is abandoned from the states in which nothing of it can be loaded, and
// from no other.
func TestMayAbandon(t *testing.T) {
	s := sitetest.New(t, "maker", site.Bureau, Part())
	life := []order.State{order.Accepted, order.Released, order.Generated, order.Offered, order.Sent, order.Made, order.Responded, order.Received, order.Destroying, order.Emptied, order.Destroyed, order.Certified}
	up := func(to order.State) []order.State {
		for i, st := range life {
			if st == to {
				return life[:i+1]
			}
		}
		t.Fatal(to)
		return nil
	}
	paper := func(kind string) func(*store.Tx, string) error {
		return func(tx *store.Tx, id string) error { return order.PutPaper(tx, id, kind, []byte(`{"why":"no more"}`)) }
	}
	good := func(n int) func(*store.Tx, string) error {
		return func(tx *store.Tx, id string) error { return order.SetCounts(tx, id, n, 5-n) }
	}
	stop := func(tx *store.Tx, id string) error { return order.Stop(tx, id, "7", "time was lost") }
	for i, tt := range []struct {
		state order.State
		also  []func(*store.Tx, string) error
		want  string // why not; "" if it may
		plant string
	}{
		{order.Accepted, nil, "refuse it, and its identities are free again: order.refuse", ""},
		{order.Accepted, []func(*store.Tx, string) error{stop}, "", "was never told"},
		{order.Released, nil, "", "was never told"},
		{order.Released, []func(*store.Tx, string) error{stop}, "", "was never told"},
		{order.Generated, nil, "", "destroys its keys"},
		{order.Offered, nil, "", "destroys its keys"},
		{order.Sent, nil, "", "destroys its keys"},
		{order.Made, []func(*store.Tx, string) error{good(5)}, "", "destroys its keys"},
		{order.Made, []func(*store.Tx, string) error{good(5), paper(paperFiles)}, "only the operator can say that nothing of it is loaded: order.withdraw", ""},
		{order.Made, []func(*store.Tx, string) error{good(0)}, "only the operator can say", ""},
		{order.Responded, nil, "only the operator can say", ""},
		{order.Responded, []func(*store.Tx, string) error{paper(paperWithdrawn)}, "", "destroys its keys"},
		{order.Received, nil, "its data is destroyed by order.destroy", ""},
		{order.Destroying, nil, "it has come to its end, or is on the way there", ""},
		{order.Certified, nil, "it has come to its end", ""},
	} {
		o := order.Order{ID: "op-" + strings.Repeat("0", 10) + string([]byte{'a' + byte(i/10), '0' + byte(i%10)}), Partner: "op", Name: "x.inp", Batch: string(rune('A' + i)), Quantity: 5, KEK: "kek"}
		sitetest.Put(t, s, o, up(tt.state)...)
		sitetest.Change(t, s, func(tx *store.Tx) error {
			for _, do := range tt.also {
				if err := do(tx, o.ID); err != nil {
					return err
				}
			}
			return nil
		})
		params, err := s.Propose(t.Context(), "order.abandon", "order/"+o.ID+"/the artwork/is wrong")
		switch {
		case tt.want == "" && (err != nil || params["why"] != "the artwork/is wrong" || params["state"] != string(tt.state) || !strings.Contains(params["plant"], tt.plant) ||
			params["identities"] != "5 are retired: they are never issued again"):
			t.Errorf("%s: %v, %v", tt.state, params, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, order.ErrState)):
			t.Errorf("%s: %v, want %q", tt.state, err, tt.want)
		}
		if stopped := strings.Contains(params["stopped"], "time was lost"); tt.want == "" && stopped != (len(tt.also) == 1 && tt.state != order.Made && tt.state != order.Responded) {
			t.Errorf("%s: approvers see %q of its stop", tt.state, params["stopped"])
		}
	}
	for _, reason := range []string{"", "/", "/ ", "/a\nb", "/" + strings.Repeat("x", 501)} {
		if _, err := s.Propose(t.Context(), "order.abandon", "order/op-1"+reason); err == nil || !strings.Contains(err.Error(), "the reason has") {
			t.Errorf("reason %.10q: %v", reason, err)
		}
	}
}

// A response is not written for an order that was abandoned meanwhile.
func TestNoResponseOfAbandoned(t *testing.T) {
	at := sitetest.New(t, "maker", site.Bureau, Part())
	s := &bureau{Site: at}
	sitetest.Put(t, at, order.Order{ID: "op-1", Partner: "op", Quantity: 5}, order.Accepted, order.Released, order.Abandoning)
	if err := s.keepFiles(t.Context(), "op-1", []outgoing{{}}, 0); !errors.Is(err, order.ErrState) {
		t.Errorf("%v", err)
	}
	if files, err := s.sentFiles(t.Context(), "op-1"); err != nil || files != nil {
		t.Errorf("%v, %v", files, err)
	}
}

// An operator says that it wants an order no more, of its own orders alone; one
// that never came is not taken in later.
func TestTakeAbandon(t *testing.T) {
	op, maker := sitetest.Pair(t, Part(), site.Part{Role: site.Operator})
	id, other := "op-0123456789ab", "op-ba9876543210"
	sitetest.Put(t, maker, order.Order{ID: id, Partner: "op", Batch: "1", Quantity: 5}, order.Accepted, order.Released)
	sitetest.Put(t, maker, order.Order{ID: "mno-0123456789ab", Partner: "mno", Batch: "1", Quantity: 5}, order.Accepted)
	for name, m := range map[string]message.Abandon{
		"of-another": {Order: "mno-0123456789ab", Why: "x"}, "of-nobody": {Order: "mno-ffffffffffff", Why: "x"}, "none": {Order: "op-", Why: "x"},
		"no reason": {Order: id}, "a long one": {Order: id, Why: strings.Repeat("x", 1001)}, "two lines": {Order: id, Why: "a\nb"},
	} {
		var r *site.Refusal
		if err := sitetest.Message(t, op, maker, strings.ReplaceAll(name, " ", "-")+".abandon.pgp", m); !errors.As(err, &r) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, ord := range []string{id, other} {
		if err := sitetest.Message(t, op, maker, ord+".abandon.pgp", message.Abandon{Order: ord, Why: "not wanted", Act: "00"}); err != nil {
			t.Fatal(err)
		}
	}
	var told int
	if err := maker.Store().QueryRow(t.Context(), `SELECT count(*) FROM notice WHERE kind = 'order.not-wanted' AND subject = $1`, "order/"+id).Scan(&told); err != nil || told == 0 {
		t.Errorf("%d people were told, %v", told, err)
	}
	params, err := maker.Propose(t.Context(), "order.abandon", "order/"+id+"/as it asks")
	if err != nil || params["says_withdrawn"] != "not wanted" {
		t.Errorf("%v, %v", params, err)
	}
	if gone, err := order.WhyAbandoned(maker.Store().Committed(t.Context()), other); err != nil || gone == nil || gone.Was != "" || gone.Why != "not wanted" {
		t.Errorf("%+v, %v", gone, err)
	}
	if gone, _ := order.WhyAbandoned(maker.Store().Committed(t.Context()), id); gone != nil {
		t.Error("an order is abandoned because its operator says so")
	}
}
