package site

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ankan/audit"
	"ankan/exchange"
	"ankan/exchange/edge"
	"ankan/order"
	"ankan/store"
)

// pair is an operator and a bureau that know each other.
func pair(t *testing.T) (op, maker *Site) {
	t.Helper()
	a, b := configOf(t, "op", "operator", ""), configOf(t, "maker", "bureau", "")
	ta, tb := initSite(t, a), initSite(t, b)
	a.Partners, b.Partners = []string{b.CardFile()}, []string{a.CardFile()}
	return openSite(t, a, ta), openSite(t, b, tb)
}

// hand gives the file that from put into its spool to the other site.
func hand(t testing.TB, from, to *Site, name string) error {
	t.Helper()
	path := filepath.Join(from.config.SpoolDir(), "out", to.config.Site, name+".data")
	sum := sha256.Sum256(must[[]byte](t)(os.ReadFile(path)))
	f := &edge.File{Meta: edge.Meta{Partner: from.config.Site, Name: name, SHA256: fmt.Sprintf("%x", sum)}, Path: path}
	return to.dispatch(t.Context(), &arrival{File: f, partner: to.partners[from.config.Site], site: to})
}

// message has from send a message and to take it.
func message(t testing.TB, from, to *Site, name string, v any) error {
	t.Helper()
	if err := from.send(t.Context(), to.config.Site, name, jsonWriter(v)); err != nil {
		t.Fatal(err)
	}
	return hand(t, from, to, name)
}

// put records an order that went through states.
func put(t testing.TB, s *Site, o order.Order, states ...order.State) {
	t.Helper()
	s.change(t, func(tx *store.Tx) error {
		o.State = states[0]
		if err := order.Insert(tx, o); err != nil {
			return err
		}
		for i, to := range states[1:] {
			if err := order.Move(tx, o.ID, states[i], to); err != nil {
				return err
			}
		}
		return nil
	})
}

// get is an order, which must be in a state.
func get(t testing.TB, s *Site, id string, state order.State) order.Order {
	t.Helper()
	o := must[order.Order](t)(order.Get(t.Context(), s.store, id))
	if o.State != state {
		t.Fatalf("order %s at %s is %s, want %s", id, s.config.Site, o.State, state)
	}
	return o
}

// An order of which no card could be made goes its way to the destruction of
// its keys: a receipt stands in the place of the response.
func TestAllRetired(t *testing.T) {
	op, maker := pair(t)
	ctx := t.Context()
	o := order.Order{ID: "op-1", Name: "op-1.inp.pgp", Batch: "1", Digest: strings.Repeat("0", 64), Profile: "in-5g-usim", Quantity: 3, Transport: 11, KEK: "kek"}
	theirs := o
	o.Partner, theirs.Partner = "maker", "op"
	put(t, op, o, order.Drafted, order.Submitted, order.Accepted)
	put(t, maker, theirs, order.Accepted, order.Released, order.Generated, order.Offered, order.Sent, order.Made)
	maker.change(t, func(tx *store.Tx) error { return order.SetCounts(tx, o.ID, 0, 3) })

	made := get(t, maker, o.ID, order.Made)
	if err := maker.orderStep(made)(ctx, made); err != nil {
		t.Fatal(err)
	}
	get(t, maker, o.ID, order.Responded)
	if err := hand(t, maker, op, "op-1.retired.receipt.pgp"); err != nil {
		t.Fatal(err)
	}
	if got := get(t, op, o.ID, order.Answered); got.Good != 0 || got.Retired != 3 {
		t.Errorf("%d good and %d retired, want 0 and 3", got.Good, got.Retired)
	}
	params, err := op.propose(ctx, "hlr.load", "order/op-1")
	if err != nil || params["cards"] != "0" || params["retired"] != "3" || len(params["response_sha256"]) != 64 {
		t.Errorf("the nodal officer sees %v, %v", params, err)
	}
	op.change(t, func(tx *store.Tx) error { return order.Move(tx, o.ID, order.Answered, order.Loading) })
	loading := get(t, op, o.ID, order.Loading)
	if err := op.orderStep(loading)(ctx, loading); err != nil {
		t.Fatal(err)
	}
	if params, err := op.propose(ctx, "order.acknowledge", "order/op-1"); err != nil || params["cards"] != "0" {
		t.Error(params, err)
	}
	op.change(t, func(tx *store.Tx) error {
		return errors.Join(order.PutPaper(tx, o.ID, "ack-by", []byte("0002 nodal-officer")), order.Move(tx, o.ID, order.Loaded, order.Acknowledged))
	})
	acknowledged := get(t, op, o.ID, order.Acknowledged)
	if err := op.orderStep(acknowledged)(ctx, acknowledged); !errors.Is(err, errIdle) {
		t.Fatal(err)
	}
	if err := hand(t, op, maker, "op-1.ack.pgp"); err != nil {
		t.Fatal(err)
	}
	get(t, maker, o.ID, order.Received)
	if params, err := maker.propose(ctx, "order.destroy", "order/op-1"); err != nil || params["good"] != "0" || params["keys"] != "kek" {
		t.Errorf("the bureau's people see %v, %v", params, err)
	}
}

// A receipt that retires an order must be about exactly that order.
func TestRetiredRefused(t *testing.T) {
	op, maker := pair(t)
	o := order.Order{ID: "op-1", Partner: "maker", Name: "a.inp", Batch: "1", Digest: strings.Repeat("0", 64), Quantity: 3}
	put(t, op, o, order.Drafted, order.Submitted, order.Accepted)
	young, foreign := o, o
	young.ID, young.Batch = "op-2", "2"
	put(t, op, young, order.Drafted, order.Submitted)
	foreign.ID, foreign.Batch, foreign.Partner = "op-3", "3", "other"
	put(t, op, foreign, order.Drafted, order.Submitted, order.Accepted)
	good := receipt{Order: o.ID, File: o.Name, Digest: o.Digest, Accepted: true, Retired: 3}
	for i, tt := range []struct {
		change func(*receipt)
		want   string
	}{
		{func(r *receipt) { r.Digest = "1" }, "it retires 3 cards of op-1 with digest 1…, want 3 with 000000000000…"},
		{func(r *receipt) { r.Retired = 2 }, "it retires 2 cards of op-1"},
		{func(r *receipt) { r.Retired = -3 }, "it retires -3 cards of op-1"},
		{func(r *receipt) { r.Order = "op-2" }, "order op-2 is submitted, want accepted"},
		{func(r *receipt) { r.Order = "op-3" }, "order op-3 is not with maker"},
		{func(r *receipt) { r.Order = "op-4" }, `order "op-4": no such order`},
	} {
		r := good
		tt.change(&r)
		name := fmt.Sprintf("%d.receipt.pgp", i)
		err := message(t, maker, op, name, r)
		var no *refusal
		if !errors.As(err, &no) || !strings.HasPrefix(err.Error(), name+": "+tt.want) {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
	get(t, op, o.ID, order.Accepted)
	if err := message(t, maker, op, "right.receipt.pgp", good); err != nil {
		t.Error(err)
	}
	get(t, op, o.ID, order.Answered)
}

// Names of files are a partner's text: whatever they are, they end in the log.
func TestReceiptAboutStrangeNames(t *testing.T) {
	op, maker := pair(t)
	for i, tt := range []struct {
		file    string
		refused bool
	}{
		{"a.ȺȺȺȺȺȺ.pgp", false}, {"ȺȺȺ.inp.pgp", false}, {"", true}, {".pgp", true}, {"inp.pgp", true}, {"../../x.inp.pgp", false},
	} {
		err := message(t, maker, op, fmt.Sprintf("%d.receipt.pgp", i), receipt{File: tt.file, Reasons: []string{"why"}})
		var no *refusal
		if tt.refused != errors.As(err, &no) || !tt.refused && err != nil {
			t.Errorf("%q: %v", tt.file, err)
		}
	}
}

// What a site takes, and from whom.
func TestDispatchRefused(t *testing.T) {
	op, maker := pair(t)
	for name, want := range map[string]string{
		"x.pgp":             "x.pgp: the name must end in .KIND.pgp, for an order .inp.pgp",
		"x.inp.pgp":         `x.inp.pgp: this site takes no "inp" files from maker`,
		"x.ack.pgp":         `x.ack.pgp: this site takes no "ack" files from maker`,
		"x.none.pgp":        `x.none.pgp: this site takes no "none" files from maker`,
		"x.receipt.pgp":     "x.receipt.pgp: ",
		"x.certificate.pgp": "x.certificate.pgp: ",
	} {
		err := message(t, maker, op, name, map[string]string{"surprise": "x"})
		var no *refusal
		if !errors.As(err, &no) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	f := &edge.File{Meta: edge.Meta{Partner: "stranger", Name: "x.receipt.pgp"}}
	if err := op.dispatch(t.Context(), &arrival{File: f, site: op}); err == nil || err.Error() != `x.receipt.pgp: from "stranger", who is no partner` {
		t.Error(err)
	}
	if err := op.send(t.Context(), "stranger", "x.ack.pgp", jsonWriter(1)); err == nil || !strings.Contains(err.Error(), `"stranger" is no partner; add its card to partners`) {
		t.Error(err)
	}
	var broken *exchange.Refusal
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 100), 0o600); err != nil {
		t.Fatal(err)
	}
	f = &edge.File{Meta: edge.Meta{Partner: "maker", Name: "x.receipt.pgp", SHA256: "1"}, Path: path}
	if err := op.dispatch(t.Context(), &arrival{File: f, partner: op.partners["maker"], site: op}); !errors.As(err, &broken) {
		t.Errorf("what is no message: %v", err)
	}
}

// A file that was dealt with is taken for a replay elsewhere, and passed over
// in its old place: the site stopped before it cleared it away.
func TestReplay(t *testing.T) {
	op, maker := pair(t)
	if err := message(t, maker, op, "1.receipt.pgp", receipt{File: "x.inp.pgp", Reasons: []string{"why"}}); err != nil {
		t.Fatal(err)
	}
	size := op.store.Size()
	if err := hand(t, maker, op, "1.receipt.pgp"); err != nil || op.store.Size() != size {
		t.Errorf("the same place: %v, %d entries, want %d", err, op.store.Size(), size)
	}
	dir := filepath.Join(maker.config.SpoolDir(), "out", "op")
	if err := os.Rename(filepath.Join(dir, "1.receipt.pgp.data"), filepath.Join(dir, "2.receipt.pgp.data")); err != nil {
		t.Fatal(err)
	}
	if err := hand(t, maker, op, "2.receipt.pgp"); err == nil || !strings.Contains(err.Error(), "was dealt with; a file is taken once") {
		t.Errorf("another place: %v", err)
	}
	entries := must[[]audit.Entry](t)(op.store.Entries(t.Context(), size-1, 1))
	if entries[0].Kind != "receipt.stray" {
		t.Errorf("the last entry is %s, want receipt.stray", entries[0].Kind)
	}
}

// A site may hold more than one role, and so may a partner: a kind of file is
// taken if both have the role for it, whatever else they are.
func TestHandlerByRole(t *testing.T) {
	c := configOf(t, "factory", "bureau, plant", "")
	initSite(t, c)
	factory := must[*exchange.Partner](t)(exchange.ParsePartner("card", must[[]byte](t)(os.ReadFile(c.CardFile()))))
	for _, tt := range []struct {
		role  string
		kind  kind
		taken bool
	}{
		{Bureau, kindSlot, true}, {Bureau, kindReport, true}, {Plant, kindBatch, true}, {Operator, kindResponse, true},
		{Bureau, kindOrder, false}, {Bureau, kindBatch, false}, {Plant, kindReport, false}, {Operator, kindOrder, false}, {Bureau, "zip", false},
	} {
		s := &Site{config: &Config{Roles: []string{tt.role}}}
		if got := s.handler(tt.kind, factory) != nil; got != tt.taken {
			t.Errorf("a %s takes %q from a bureau and plant: %v, want %v", tt.role, tt.kind, got, tt.taken)
		}
	}
}

// Only the plant that an order was given to writes of its making, and only its
// operator acknowledges it, each in its time.
func TestOurs(t *testing.T) {
	s := &Site{config: &Config{Plant: "plant"}}
	o := order.Order{ID: "op-1", Partner: "op", State: order.Sent}
	from := func(name string) *arrival {
		return &arrival{File: &edge.File{Meta: edge.Meta{Partner: name, Name: "f"}}, site: s}
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
		_, err := s.ours(from(tt.from), o, tt.err, o.ID, tt.sender, tt.state)
		if got := fmt.Sprint(err); tt.want == "" && err != nil || tt.want != "" && got != tt.want {
			t.Errorf("from %s, want it from %s: %v, want %q", tt.from, tt.sender, err, tt.want)
		}
	}
}
