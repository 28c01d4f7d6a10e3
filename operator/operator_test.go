package operator

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ankan/act"
	"ankan/aka"
	"ankan/bureau"
	"ankan/examples"
	"ankan/format"
	"ankan/hsm"
	"ankan/message"
	"ankan/order"
	"ankan/sim"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/store"
)

// An order of which no card could be made goes its way to the destruction of
// its keys: a receipt stands in the place of the response.
func TestAllRetired(t *testing.T) {
	op, maker := sitetest.Pair(t, Part(), bureau.Part())
	ctx := t.Context()
	makes := sitetest.Must[site.Duties](t)(bureau.Part().Open(ctx, maker))
	does := sitetest.Must[site.Duties](t)(Part().Open(ctx, op))
	defer does.Close()
	o := order.Order{ID: "op-1", Name: "op-1.inp.pgp", Batch: "1", Digest: strings.Repeat("0", 64), Profile: "in-5g-usim", Quantity: 3, Transport: 11, KEK: "kek"}
	theirs := o
	o.Partner, theirs.Partner = "maker", "op"
	sitetest.Put(t, op, o, order.Drafted, order.Submitted, order.Accepted)
	sitetest.Put(t, maker, theirs, order.Accepted, order.Released, order.Generated, order.Offered, order.Sent, order.Made)
	sitetest.Change(t, maker, func(tx *store.Tx) error { return order.SetCounts(tx, o.ID, 0, 3) })

	made := sitetest.Get(t, maker, o.ID, order.Made)
	if err := makes.Steps[made.State](ctx, made); err != nil {
		t.Fatal(err)
	}
	sitetest.Get(t, maker, o.ID, order.Responded)
	if err := sitetest.Hand(t, maker, op, "op-1.retired.receipt.pgp"); err != nil {
		t.Fatal(err)
	}
	if got := sitetest.Get(t, op, o.ID, order.Answered); got.Good != 0 || got.Retired != 3 {
		t.Errorf("%d good and %d retired, want 0 and 3", got.Good, got.Retired)
	}
	params, err := op.Propose(ctx, "hlr.load", "order/op-1")
	if err != nil || params["cards"] != "0" || params["retired"] != "3" || len(params["response_sha256"]) != 64 {
		t.Errorf("the nodal officer sees %v, %v", params, err)
	}
	sitetest.Change(t, op, func(tx *store.Tx) error { return order.Move(tx, o.ID, order.Answered, order.Loading) })
	loading := sitetest.Get(t, op, o.ID, order.Loading)
	if err := does.Steps[loading.State](ctx, loading); err != nil {
		t.Fatal(err)
	}
	if params, err := op.Propose(ctx, "order.acknowledge", "order/op-1"); err != nil || params["cards"] != "0" {
		t.Error(params, err)
	}
	sitetest.Change(t, op, func(tx *store.Tx) error {
		return errors.Join(order.PutPaper(tx, o.ID, "ack-by", []byte("0002 nodal-officer")), order.Move(tx, o.ID, order.Loaded, order.Acknowledged))
	})
	acknowledged := sitetest.Get(t, op, o.ID, order.Acknowledged)
	if err := does.Steps[acknowledged.State](ctx, acknowledged); !errors.Is(err, site.ErrIdle) {
		t.Fatal(err)
	}
	if err := sitetest.Hand(t, op, maker, "op-1.ack.pgp"); err != nil {
		t.Fatal(err)
	}
	sitetest.Get(t, maker, o.ID, order.Received)
	if params, err := maker.Propose(ctx, "order.destroy", "order/op-1"); err != nil || params["good"] != "0" || params["keys"] != "kek" {
		t.Errorf("the bureau's people see %v, %v", params, err)
	}
}

// The keys of a response are as long as the contract's algorithm has them.
func TestResponseLengths(t *testing.T) {
	in := sitetest.Must[*order.Input](t)(order.ParseInput("order.inp", bytes.NewReader(examples.Order())))
	kcv := sitetest.Must[hsm.KCV](t)(hsm.ParseKCV("C35280 GP"))
	response := func(columns string, cells ...[]byte) []byte {
		var out bytes.Buffer
		w := sitetest.Must[*order.ResponseWriter](t)(format.NewResponse(&out, order.Delivery{
			Header: in.Header, First: in.First(), Quantity: 1, KCV: kcv, Columns: sitetest.Must[[]order.Column](t)(order.ParseColumns("ICCID/IMSI/" + columns)), Variant: sim.Digits18 | sim.CheckDigit,
		}))
		if err := errors.Join(w.Row(1, in.At(0), append([][]byte{nil, nil}, cells...)), w.Close()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	tuak := func(k int) aka.Parameters {
		return aka.Parameters{Algorithm: aka.TUAK, Tuak: aka.TuakParameters{K: k, MAC: 64, RES: 64, CK: 128, IK: 128, Iterations: 1}}
	}
	milenage, xor := aka.Parameters{Algorithm: aka.MILENAGE}, aka.Parameters{Algorithm: aka.XOR}
	b16, b32 := make([]byte, 16), make([]byte, 32)
	for _, c := range []struct {
		cards   aka.Parameters
		columns string
		cells   [][]byte
		want    string
	}{
		{milenage, "EKI/EOPC", [][]byte{b16, b16}, ""},
		{tuak(128), "EOPC/EKI", [][]byte{b32, b16}, ""},
		{tuak(256), "EKI/EOPC", [][]byte{b32, b32}, ""},
		{xor, "EKI", [][]byte{b16}, ""},
		{milenage, "EKI/EOPC", [][]byte{b32, b16}, "EKI has 32 bytes, want 16 of MILENAGE"},
		{milenage, "EKI/EOPC", [][]byte{b16, b32}, "EOPC has 32 bytes, want 16 of MILENAGE"},
		{tuak(256), "EKI/EOPC", [][]byte{b16, b32}, "EKI has 16 bytes, want 32 of TUAK"},
		{tuak(128), "EKI", [][]byte{b16}, "columns EKI and, but for XOR, EOPC must be there; the cards have TUAK"},
		{xor, "EKI/EOPC", [][]byte{b16, b16}, "the cards have XOR"},
	} {
		e := &expected{order: order.Order{Quantity: in.Quantity(), Batch: in.Value(order.Batch)}, input: in, reading: order.Reading{Variant: sim.Digits18 | sim.CheckDigit}, kcv: kcv, cards: c.cards}
		n, err := e.read("a.out", bytes.NewReader(response(c.columns, c.cells...)), nil)
		if c.want == "" && (err != nil || n != 1) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s with %s: %d rows, %v, want %q", c.cards, c.columns, n, err, c.want)
		}
	}
}

func TestRES(t *testing.T) {
	for _, n := range []int{4, 8, 16, 32} {
		res := bytes.Repeat([]byte{7}, n)
		if got, err := resOf(append(append([]byte{0xDB, byte(n)}, res...), 16, 1, 2)); err != nil || !bytes.Equal(got, res) {
			t.Errorf("%x, %v", got, err)
		}
	}
	for _, answer := range [][]byte{nil, {0xDB}, {0xDB, 4, 1, 2, 3}, {0xDC, 2, 1, 1}} {
		if _, err := resOf(answer); err == nil || !strings.Contains(err.Error(), "the card gives no RES") {
			t.Errorf("%x: %v", answer, err)
		}
	}
}

// A receipt that retires an order must be about exactly that order.
func TestRetiredRefused(t *testing.T) {
	op, maker := sitetest.Pair(t, Part(), bureau.Part())
	o := order.Order{ID: "op-1", Partner: "maker", Name: "a.inp", Batch: "1", Digest: strings.Repeat("0", 64), Quantity: 3}
	sitetest.Put(t, op, o, order.Drafted, order.Submitted, order.Accepted)
	young, foreign := o, o
	young.ID, young.Batch = "op-0", "0"
	sitetest.Put(t, op, young, order.Drafted)
	young.ID, young.Batch = "op-2", "2"
	sitetest.Put(t, op, young, order.Drafted, order.Submitted)
	foreign.ID, foreign.Batch, foreign.Partner = "op-3", "3", "other"
	sitetest.Put(t, op, foreign, order.Drafted, order.Submitted, order.Accepted)
	good := message.Receipt{Order: o.ID, File: o.Name, Digest: o.Digest, Accepted: true, Retired: 3}
	for i, tt := range []struct {
		change func(*message.Receipt)
		want   string
	}{
		{func(r *message.Receipt) { r.Digest = "1" }, "it retires 3 cards of op-1 with digest 1…, want 3 with 000000000000…"},
		{func(r *message.Receipt) { r.Retired = 2 }, "it retires 2 cards of op-1"},
		{func(r *message.Receipt) { r.Retired = -3 }, "it retires -3 cards of op-1"},
		{func(r *message.Receipt) { r.Order = "op-0" }, "order op-0 is drafted, want accepted"},
		{func(r *message.Receipt) { r.Order = "op-3" }, "order op-3 is not with maker"},
		{func(r *message.Receipt) { r.Order = "op-4" }, `order "op-4": no such order`},
	} {
		r := good
		tt.change(&r)
		name := fmt.Sprintf("%d.receipt.pgp", i)
		err := sitetest.Message(t, maker, op, name, r)
		var no *site.Refusal
		if !errors.As(err, &no) || !strings.HasPrefix(err.Error(), name+": "+tt.want) {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
	// The receipt that accepted op-2 is still on its way: this one waits for it.
	early, no := good, (*site.Refusal)(nil)
	early.Order = "op-2"
	if err := sitetest.Message(t, maker, op, "early.receipt.pgp", early); err == nil || errors.As(err, &no) || !strings.Contains(err.Error(), "is submitted still") {
		t.Errorf("a receipt that is early: %v", err)
	}
	sitetest.Get(t, op, o.ID, order.Accepted)
	if err := sitetest.Message(t, maker, op, "right.receipt.pgp", good); err != nil {
		t.Error(err)
	}
	sitetest.Get(t, op, o.ID, order.Answered)
}

// Names of files are a partner's text: whatever they are, they end in the log.
func TestReceiptAboutStrangeNames(t *testing.T) {
	op, maker := sitetest.Pair(t, Part(), bureau.Part())
	for i, tt := range []struct {
		file    string
		refused bool
	}{
		{"a.ȺȺȺȺȺȺ.pgp", false}, {"ȺȺȺ.inp.pgp", false}, {"", true}, {".pgp", true}, {"inp.pgp", true}, {"../../x.inp.pgp", false},
	} {
		err := sitetest.Message(t, maker, op, fmt.Sprintf("%d.receipt.pgp", i), message.Receipt{File: tt.file, Reasons: []string{"why"}})
		var no *site.Refusal
		if tt.refused != errors.As(err, &no) || !tt.refused && err != nil {
			t.Errorf("%q: %v", tt.file, err)
		}
	}
}

// An operator makes keys and drafts orders for its manufacturer alone; a site
// without the role does neither.
func TestNoManufacturer(t *testing.T) {
	s := operator{Site: sitetest.New(t, "op", site.Operator, Part())}
	if _, err := s.Propose(t.Context(), "key.make", "key/maker/11"); err == nil || err.Error() != `"maker" is no partner` {
		t.Errorf("keys for a stranger: %v", err)
	}
	if _, err := s.draft(t.Context(), "a.inp", strings.NewReader("")); err == nil || !strings.HasPrefix(err.Error(), "no contract of this operator with a partner that is a bureau") {
		t.Errorf("a draft without a manufacturer: %v", err)
	}
	s.Site = sitetest.New(t, "line", site.Plant, site.Part{Role: site.Plant}, Part())
	if _, err := s.Propose(t.Context(), "key.make", "key/maker/11"); !errors.Is(err, act.ErrNotAllowed) {
		t.Errorf("keys at a plant: %v", err)
	}
}

// A site without the key of its subscriber store runs, asks nobody to sign for
// what it cannot load, and goes on by itself when the key is back.
func TestWithoutSubscriberKey(t *testing.T) {
	s, _, token := desk(t)
	o := order.Order{ID: "op-1", Name: "op-1.inp.pgp", Batch: "1", Digest: strings.Repeat("0", 64), Profile: "in-5g-usim", Quantity: 3, Transport: 11, KEK: "kek", Partner: "maker"}
	sitetest.Put(t, s.Site, o, order.Drafted, order.Submitted, order.Accepted, order.Answered)
	sitetest.Change(t, s.Site, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE orders SET good = 3`)
		return err
	})
	token.lost = keySubscriber
	again := &operator{Site: s.Site}
	if _, err := again.subscribers(t.Context()); !errors.Is(err, hsm.ErrNoKey) || !strings.Contains(err.Error(), "comes back from its shares") {
		t.Errorf("the subscriber store: %v", err)
	}
	if _, err := again.proposeLoad(t.Context(), "order/op-1"); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("hlr.load: %v", err)
	}
	if _, err := again.prove(t.Context(), nil, nil); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("a proof: %v", err)
	}
	token.lost = ""
	defer again.close()
	if _, err := again.subscribers(t.Context()); err != nil {
		t.Error(err)
	}
}
