package bureau

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"ankan/aka"
	"ankan/datagen"
	"ankan/examples"
	"ankan/hsm"
	"ankan/message"
	"ankan/order"
	"ankan/profile"
	"ankan/sim"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/store"
)

// The batch of the response tests: three blocks of cards, and spares.
const (
	testCards  = 2500
	testSpares = 30
)

// A batchRig is a bureau with a drawn batch.
type batchRig struct {
	bureau
	response Response
	reader   *datagen.Reader
	slots    map[string]profile.SlotID
}

func newBatchRig(t *testing.T) *batchRig {
	t.Helper()
	s := bureau{Site: sitetest.New(t, "maker", site.Bureau, Part())}
	var err error
	if s.ledger, err = order.NewLedger(s.Token(), site.KeyLedger); err != nil {
		t.Fatal(err)
	}
	for id, k := range map[string]struct {
		hsm.Purpose
		hsm.Algorithm
	}{"kek": {hsm.Order, hsm.AES256}, message.TransportKey("op", 11): {hsm.Transport, hsm.AES256}, message.OPKey("op", 11): {hsm.Operator, hsm.AES128}} {
		sitetest.Must[hsm.Key](t)(s.Token().Generate(t.Context(), id, k.Purpose, k.Algorithm))
	}
	in := orderOf(t, testCards)
	p := s.Profile("in-5g-usim")
	dk, wrapped, err := s.Token().NewDataKey(t.Context(), "kek")
	if err != nil {
		t.Fatal(err)
	}
	dk.Close()
	b := datagen.Batch{Order: "op-1", KEK: "kek", Wrapped: wrapped, Document: []byte(p.String()), Profile: p, Cards: testCards, Spares: testSpares, BlockSize: datagen.BlockSize}
	sitetest.Change(t, s.Site, func(tx *store.Tx) error { return datagen.Create(tx, b) })
	op := sitetest.Must[*hsm.OP](t)(s.Token().OP(t.Context(), message.OPKey("op", 11)))
	defer op.Close()
	g := datagen.Generator{Store: s.Store(), Token: s.Token(), Ledger: s.ledger, OP: op}
	if err := g.Run(t.Context(), b, in.Read, nil); err != nil {
		t.Fatal(err)
	}
	r := &batchRig{bureau: s, slots: map[string]profile.SlotID{}}
	r.response = Response{
		Order: b.Order, Input: in, Key: message.TransportKey("op", 11), Variant: s.Contracts()[0].ResponseICCID,
		Columns: sitetest.Must[[]order.Column](t)(order.ParseColumns("ICCID/IMSI/PIN1/PUK1/ADM1/EKI/EOPC/Access_Control/EKIC1")),
	}
	r.reader = sitetest.Must[*datagen.Reader](t)(datagen.NewReader(t.Context(), s.Store(), s.Token(), b.Order))
	t.Cleanup(r.reader.Close)
	for _, slot := range p.Slots() {
		r.slots[slot.Name] = slot.ID
	}
	return r
}

// orderOf is the example order for n cards.
func orderOf(t testing.TB, n int) *order.Input {
	t.Helper()
	in := sitetest.Must[*order.Input](t)(order.ParseInput("order.inp", bytes.NewReader(examples.Order())))
	if in.Quantity() == n {
		return in
	}
	return sitetest.Must[*order.Input](t)(order.ParseInput("order.inp", bytes.NewReader(sitetest.Must[[]byte](t)(in.WithQuantity(n)))))
}

func (r *batchRig) write(t *testing.T, good int, remakes map[int]int) ([]byte, error) {
	t.Helper()
	q := r.response
	q.Good, q.Remakes = good, remakes
	var out bytes.Buffer
	err := q.Write(t.Context(), r.Store(), r.Token(), &out)
	return out.Bytes(), err
}

// A madeRow is what a test keeps of a row of a response.
type madeRow struct {
	id     sim.Identity
	texts  map[string]string
	sealed map[string][]byte
}

func (r *batchRig) parse(t *testing.T, text []byte) (order.Delivery, []madeRow) {
	t.Helper()
	var rows []madeRow
	reading := order.Reading{Variant: r.response.Variant}
	d, err := reading.ParseResponse("op-1.out", bytes.NewReader(text), nil, func(row *order.Row) error {
		m := madeRow{id: row.ID, texts: map[string]string{}, sealed: map[string][]byte{}}
		for i, c := range r.response.Columns {
			if c.Sealed() {
				m.sealed[c.Slot()] = bytes.Clone(row.Cell(i))
			} else {
				m.texts[c.String()] = string(row.Cell(i))
			}
		}
		rows = append(rows, m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return d, rows
}

// opened decrypts columns of all rows through the module, side by side.
func (r *batchRig) opened(t *testing.T, rows []madeRow, slots ...string) [][]byte {
	t.Helper()
	dk, _, err := r.Token().NewDataKey(t.Context(), "kek")
	if err != nil {
		t.Fatal(err)
	}
	defer dk.Close()
	aad := func(i int) []byte { return fmt.Append(nil, i) }
	var column []byte
	size := 0
	for i, row := range rows {
		for _, slot := range slots {
			column = append(column, row.sealed[slot]...)
		}
		if i == 0 {
			size = len(column)
		}
	}
	sealed := sitetest.Must[[][]byte](t)(r.Token().Translate(t.Context(), r.response.Key, column, size, dk, aad))
	if len(sealed) != len(rows) {
		t.Fatalf("%d records, want %d", len(sealed), len(rows))
	}
	for i := range sealed {
		sealed[i] = sitetest.Must[[]byte](t)(dk.Open(nil, sealed[i], aad(i)))
	}
	return sealed
}

func TestResponse(t *testing.T) {
	r := newBatchRig(t)
	middle := map[int]int{}
	for card := 1000; card < 2000; card++ {
		middle[card] = -1
	}
	for _, tt := range []struct {
		what    string
		remakes map[int]int // card to key set; -1: retired
	}{
		{"as drawn", nil},
		{"remakes and retired at the edges of blocks", map[int]int{
			0: 2507, 1: -1, 500: 2500, 998: -1, 999: 2501, 1000: -1, 1001: 2529, 1500: 2506, 1999: 2503, 2000: 2504, 2001: -1, 2498: -1, 2499: 2505,
		}},
		{"first and last retired", map[int]int{0: -1, 2499: -1, 1234: 2510}},
		{"a whole block retired", middle},
	} {
		t.Run(tt.what, func(t *testing.T) { r.check(t, tt.remakes) })
	}
}

// check writes a response and compares each of its rows with the batch.
func (r *batchRig) check(t *testing.T, remakes map[int]int) {
	var cards []int
	for card := range testCards {
		if k, ok := remakes[card]; !ok || k >= 0 {
			cards = append(cards, card)
		}
	}
	text, err := r.write(t, len(cards), remakes)
	if err != nil {
		t.Fatal(err)
	}
	d, rows := r.parse(t, text)
	key := sitetest.Must[hsm.Key](t)(r.Token().Key(t.Context(), r.response.Key))
	if same, err := d.KCV.Matches(key.KCV); !same || err != nil || d.Quantity != len(cards) || len(rows) != len(cards) || d.Header.Value(order.Batch) != r.response.Input.Value(order.Batch) {
		t.Fatalf("delivery of %d with %d rows under %s, want %d under %s (%v)", d.Quantity, len(rows), d.KCV, len(cards), key.KCV, err)
	}
	keys, ota := r.opened(t, rows, "K", "OPC"), r.opened(t, rows, r.response.Columns[8].Slot())
	op := sitetest.Must[*hsm.OP](t)(r.Token().OP(t.Context(), message.OPKey("op", 11)))
	defer op.Close()
	layout := r.reader.Batch.Profile.Layout()
	var record []byte
	for i, card := range cards {
		set := card
		if k, ok := remakes[card]; ok {
			set = k
		}
		if record, err = r.reader.Record(t.Context(), record[:0], set); err != nil {
			t.Fatal(err)
		}
		of := func(slot string) []byte { return layout.Of(record, r.slots[slot]) }
		if rows[i].id != r.response.Input.At(card) {
			t.Fatalf("row %d is not of card %d", i+1, card)
		}
		for _, code := range []string{"PIN1", "PUK1", "ADM1"} {
			if want, _, _ := bytes.Cut(of(code), []byte{0xFF}); rows[i].texts[code] != string(want) {
				t.Fatalf("card %d: %s is not that of key set %d", card, code, set)
			}
		}
		opc := sitetest.Must[[]byte](t)(op.OPc(nil, of("K"), aka.Parameters{Algorithm: aka.MILENAGE}))
		if !bytes.Equal(keys[i], append(bytes.Clone(of("K")), of("OPC")...)) || !bytes.Equal(opc, of("OPC")) {
			t.Fatalf("card %d: K and OPc are not those of key set %d", card, set)
		}
		if !bytes.Equal(ota[i], of(r.response.Columns[8].Slot())) {
			t.Fatalf("card %d: the OTA key is not that of key set %d", card, set)
		}
	}
}

// Before it takes an order, the bureau sees that contract, profile, OP and the
// response's columns are of one algorithm.
func TestAuthenticationAgreed(t *testing.T) {
	builtin := sitetest.Must[*profile.Profile](t)(profile.Builtin("in-5g-usim"))
	of := func(algorithm string) *profile.Profile {
		return sitetest.Must[*profile.Profile](t)(profile.Parse("p.yaml", []byte(strings.Replace(builtin.String(), `algorithm: "MILENAGE"`, algorithm, 1))))
	}
	tuak := of("algorithm: TUAK\ntuak: {k-bits: 256, mac-bits: 64, res-bits: 64, ck-bits: 128, ik-bits: 128, iterations: 1}")
	xor := of("test: true\nalgorithm: XOR")
	const tuakText = "TUAK k=256 mac=64 res=64 ck=128 ik=128 iterations=1"
	for _, c := range []struct {
		profile         *profile.Profile
		agreed, columns string
		want            string
	}{
		{builtin, "", "EKI/EOPC", ""}, {builtin, "MILENAGE", "EKI/EOPC/MSISDN", ""}, {tuak, tuakText, "EKI/EOPC", ""}, {xor, "XOR", "EKI", ""},
		{tuak, "", "EKI/EOPC", "profile p has the algorithm " + tuakText + " here, the contract says MILENAGE; write"},
		{tuak, strings.Replace(tuakText, "256", "128", 1), "EKI/EOPC", "the contract says TUAK k=128"},
		{builtin, tuakText, "EKI/EOPC", "profile p has the algorithm MILENAGE here"},
		{xor, "XOR", "EKI/EOPC", "column EOPC: cards of profile p have no OPC; agree on other columns"},
		{builtin, "", "EKI/EOPC/ADM2", "column ADM2: cards of profile p have no ADM2"},
	} {
		columns := sitetest.Must[[]order.Column](t)(order.ParseColumns("ICCID/IMSI/" + c.columns))
		err := errors.Join(checkAuthentication(order.AgreedProfile{Name: "p", Algorithm: c.agreed}, c.profile, columns)...)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want) && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s with %q and %s: %v, want %q", c.profile.Algorithm, c.agreed, c.columns, err, c.want)
		}
	}
	for _, c := range []struct {
		profile *profile.Profile
		op      hsm.Algorithm
		want    string
	}{
		{builtin, hsm.AES128, ""}, {tuak, hsm.AES256, ""}, {xor, hsm.AES128, ""}, {xor, hsm.AES256, ""},
		{builtin, hsm.AES256, "key op/op/11 is AES-256, an OP of MILENAGE is AES-128; the operator makes another index: key.make key/PARTNER/INDEX"},
		{tuak, hsm.AES128, "key op/op/11 is AES-128, an OP of TUAK is AES-256; the operator makes another index: key.make key/PARTNER/INDEX/TUAK"},
	} {
		err := errors.Join(checkOP(c.profile, hsm.Key{ID: "op/op/11", Algorithm: c.op})...)
		if (c.want == "") != (err == nil) || err != nil && err.Error() != c.want {
			t.Errorf("%s with an OP of %s: %v, want %q", c.profile.Algorithm, c.op, err, c.want)
		}
	}
}

func TestResponseRefused(t *testing.T) {
	r := newBatchRig(t)
	all := map[int]int{}
	for card := range testCards {
		all[card] = -1
	}
	for _, tt := range []struct {
		what    string
		good    int
		remakes map[int]int
		want    string
	}{
		{"more rows than good cards", testCards - 1, nil, "response: row 2500, want 2499 (the quantity)"},
		{"fewer", testCards, map[int]int{7: -1}, "response: 2499 rows, want 2500 (the quantity)"},
		{"a key set that was never drawn", testCards, map[int]int{1700: testCards + testSpares}, "order op-1: key set 2530, there are 2530"},
		{"no good card", 0, all, "response: quantity is 0, want 1 to 100000000"},
	} {
		if _, err := r.write(t, tt.good, tt.remakes); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.what, err, tt.want)
		}
	}
	good := r.response
	good.Good = testCards
	if err := good.Write(t.Context(), r.Store(), r.Token(), broken{}); !errors.Is(err, errBroken) {
		t.Errorf("a writer that fails: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := good.Write(ended, r.Store(), r.Token(), io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	r.response.Key = "none"
	if _, err := r.write(t, testCards, nil); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("no transport key: %v", err)
	}
	r.response.Order = "none"
	if _, err := r.write(t, testCards, nil); !errors.Is(err, datagen.ErrNoBatch) {
		t.Errorf("no batch: %v", err)
	}
}

var errBroken = errors.New("broken")

// broken is a writer that fails.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }
