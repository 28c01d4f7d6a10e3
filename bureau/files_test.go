package bureau

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ankan/datagen"
	"ankan/examples"
	"ankan/exchange"
	"ankan/format"
	"ankan/hsm"
	"ankan/message"
	"ankan/order"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/store"
)

func TestPlan(t *testing.T) {
	retired := func(cards ...int) map[int]int {
		all := map[int]int{3: 105} // a remade card has its row
		for _, c := range cards {
			all[c] = -1
		}
		return all
	}
	for _, tt := range []struct {
		what     string
		quantity int
		remakes  map[int]int
		rows     int
		want     string
	}{
		{"one file", 10, nil, 0, "o.out.pgp 10 of 0-10"},
		{"as many as fit", 10, nil, 10, "o.out.pgp 10 of 0-10"},
		{"two", 10, nil, 9, "o.1-of-2.out.pgp 9 of 0-9, o.2-of-2.out.pgp 1 of 9-10"},
		{"even", 6, nil, 3, "o.1-of-2.out.pgp 3 of 0-3, o.2-of-2.out.pgp 3 of 3-6"},
		{"a row each", 3, nil, 1, "o.1-of-3.out.pgp 1 of 0-1, o.2-of-3.out.pgp 1 of 1-2, o.3-of-3.out.pgp 1 of 2-3"},
		{"retired inside", 10, retired(1, 2, 7), 4, "o.1-of-2.out.pgp 4 of 0-6, o.2-of-2.out.pgp 3 of 6-10"},
		{"retired at the cut", 10, retired(4, 5), 4, "o.1-of-2.out.pgp 4 of 0-4, o.2-of-2.out.pgp 4 of 4-10"},
		{"retired at both ends", 10, retired(0, 9), 4, "o.1-of-2.out.pgp 4 of 0-5, o.2-of-2.out.pgp 4 of 5-10"},
		{"a tail of retired", 10, retired(5, 6, 7, 8, 9), 5, "o.out.pgp 5 of 0-10"},
		{"all retired", 3, retired(0, 1, 2), 2, ""},
	} {
		o := order.Order{ID: "o", Quantity: tt.quantity, Good: tt.quantity}
		for _, k := range tt.remakes {
			if k < 0 {
				o.Good--
			}
		}
		var got []string
		for _, f := range plan(o, tt.remakes, rowsOf(tt.rows)) {
			got = append(got, fmt.Sprintf("%s %d of %d-%d", f.File, f.Cards, f.First, f.End))
		}
		if strings.Join(got, ", ") != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, strings.Join(got, ", "), tt.want)
		}
	}
}

// A made order lies at a bureau: its text, its batch and its keys.
type madeOrder struct {
	bureau
	t  *testing.T
	op *site.Site
	o  order.Order
}

func newMadeOrder(t *testing.T, remakes ...order.Remake) *madeOrder {
	t.Helper()
	op, maker := sitetest.Pair(t, Part(), site.Part{Role: site.Operator})
	m := &madeOrder{bureau: bureau{Site: maker}, t: t, op: op}
	m.ledger = sitetest.Must[*order.Ledger](t)(order.NewLedger(m.Token(), site.KeyLedger))
	ctx := t.Context()
	for id, k := range map[string]struct {
		hsm.Purpose
		hsm.Algorithm
	}{message.TransportKey("op", 11): {hsm.Transport, hsm.AES256}, message.OPKey("op", 11): {hsm.Operator, hsm.AES128}} {
		sitetest.Must[hsm.Key](t)(m.Token().Generate(ctx, id, k.Purpose, k.Algorithm))
	}
	contract := m.Contracts()[0]
	example := sitetest.Must[*order.Input](t)(contract.Reading().ParseInput("order.inp", bytes.NewReader(examples.Order())))
	text := sitetest.Must[[]byte](t)(example.WithQuantity(testCards))
	staged := sitetest.Must[*order.Staged](t)(contract.Reading().Stage(t.TempDir(), "order.inp", bytes.NewReader(text)))
	defer staged.Close()
	m.o = order.Order{ID: "op-1", Partner: "op", Name: "order.inp", Batch: "1", Profile: staged.Value(order.ProfileName), Quantity: testCards, Transport: 11, KEK: "order/op-1"}
	sitetest.Put(t, maker, m.o, order.Accepted, order.Released, order.Generated, order.Offered, order.Sent, order.Made)
	sealed := sitetest.Must[*order.SealedText](t)(order.SealText(ctx, m.Token(), m.o.ID, m.o.KEK, staged))
	defer sealed.Close()
	retired := 0
	for _, r := range remakes {
		if r.KeySet < 0 {
			retired++
		}
	}
	sitetest.Change(t, maker, func(tx *store.Tx) error {
		if err := sealed.Put(tx, m.o.ID); err != nil {
			return err
		}
		if err := order.PutRemakes(tx, m.o.ID, remakes); err != nil {
			return err
		}
		return order.SetCounts(tx, m.o.ID, testCards-retired, retired)
	})
	p := m.Profile("in-5g-usim")
	b := datagen.Batch{Order: m.o.ID, KEK: m.o.KEK, Wrapped: sitetest.Must[hsm.Wrapped](t)(order.Wrapped(ctx, m.Store(), m.o.ID)),
		Document: []byte(p.String()), Profile: p, Cards: testCards, Spares: testSpares, BlockSize: datagen.BlockSize}
	sitetest.Change(t, maker, func(tx *store.Tx) error { return datagen.Create(tx, b) })
	key := sitetest.Must[*hsm.OP](t)(m.Token().OP(ctx, message.OPKey("op", 11)))
	defer key.Close()
	g := datagen.Generator{Store: m.Store(), Token: m.Token(), Ledger: m.ledger, OP: key}
	if err := g.Run(ctx, b, staged.Read, nil); err != nil {
		t.Fatal(err)
	}
	m.o = sitetest.Get(t, maker, m.o.ID, order.Made)
	return m
}

// limit is the contract's max_rows.
func (m *madeOrder) limit(rows int) { m.Contracts()[0].Responses[0].MaxRows = rows }

// spooled is the files for the operator, and their sealed bytes.
func (m *madeOrder) spooled() map[string][]byte {
	m.t.Helper()
	all := map[string][]byte{}
	dir := filepath.Join(m.Config().SpoolDir(), "out", "op")
	for _, path := range sitetest.Must[[]string](m.t)(filepath.Glob(filepath.Join(dir, "*.data"))) {
		all[strings.TrimSuffix(filepath.Base(path), ".data")] = sitetest.Must[[]byte](m.t)(os.ReadFile(path))
	}
	return all
}

// Who opens a file of a response finds it called as its layout says.
func TestResponseNames(t *testing.T) {
	m := newMadeOrder(t)
	l := sitetest.Must[*format.Layout](t)(format.Set(nil).Find("three-files"))
	kinds := m.Contracts()[0].Responses
	for _, o := range l.Outputs() {
		kinds = append(kinds, order.ResponseFile{Output: o, Columns: o.Columns(), MaxRows: 1500})
	}
	m.Contracts()[0].Responses = kinds
	files := sitetest.Must[[]outgoing](t)(m.sendResponse(t.Context(), m.o))
	if len(files) != 7 {
		t.Fatalf("%d files were sent, want 7", len(files))
	}
	j := sitetest.Must[job](t)(m.job(t.Context(), m.o))
	defer j.close()
	batch := j.input.Value(order.Batch)
	for i, want := range []string{"op-1.1-of-7.out.pgp", "_server_001.txt", "_server_002.txt", "_electrical_001.txt", "_electrical_002.txt", "_graphical_001.txt", "_graphical_002.txt"} {
		if i > 0 {
			want = batch + want
		}
		opened := sitetest.Must[*exchange.Message](t)(m.op.Unseal(filepath.Join(m.Config().SpoolDir(), "out", "op", files[i].File+".data"), "maker"))
		if opened.Name != want {
			t.Errorf("%s is called %s inside, want %s", files[i].File, opened.Name, want)
		}
	}
}

// A response in several files is sent whole and once, wherever it was cut
// short: the plan stays, whatever the contract says meanwhile, and what is in
// the spool is not written again.
func TestResponseInFiles(t *testing.T) {
	m := newMadeOrder(t, order.Remake{Card: 0, KeySet: -1}, order.Remake{Card: 1000, KeySet: testCards + 3}, order.Remake{Card: 1400, KeySet: -1})
	ctx := t.Context()
	m.limit(1000)
	// The site stopped when the first file lay in the spool.
	files := plan(m.o, map[int]int{0: -1, 1400: -1}, rowsOf(1000))
	if len(files) != 3 {
		t.Fatalf("%d files are planned, want 3", len(files))
	}
	j := sitetest.Must[job](t)(m.job(ctx, m.o))
	r := Response{Order: m.o.ID, Input: j.input, Key: message.TransportKey("op", 11), First: files[0].First, End: files[0].End, Good: files[0].Cards,
		Remakes: map[int]int{0: -1, 1000: testCards + 3, 1400: -1}, Columns: j.contract.Responses[0].Columns, Variant: j.contract.ResponseICCID}
	var text bytes.Buffer
	if err := r.Write(ctx, m.Store(), m.Token(), &text); err != nil {
		t.Fatal(err)
	}
	j.close()
	files[0].SHA256 = fmt.Sprintf("%x", sha256.Sum256(text.Bytes()))
	if err := m.keepFiles(ctx, m.o.ID, files, 0); err != nil {
		t.Fatal(err)
	}
	err := m.SendForOfficers(ctx, "op", files[0].File, "", func(w io.Writer) error { _, err := w.Write(text.Bytes()); return err })
	if err != nil {
		t.Fatal(err)
	}
	before := m.spooled()
	m.limit(300)
	if err := m.respond(ctx, m.o); err != nil {
		t.Fatal(err)
	}
	sitetest.Get(t, m.Site, m.o.ID, order.Responded)
	after := m.spooled()
	if len(after) != 3 || !bytes.Equal(before[files[0].File], after[files[0].File]) {
		t.Errorf("%d files are in the spool, want 3 and the first as it was", len(after))
	}
	sent := sitetest.Must[[]outgoing](t)(m.sentFiles(ctx, m.o.ID))
	if len(sent) != 3 || sent[0] != files[0] || sent[0].Cards+sent[1].Cards+sent[2].Cards != m.o.Good {
		t.Errorf("sent %+v, want 3 files for %d cards that begin with %+v", sent, m.o.Good, files[0])
	}
	for _, f := range sent {
		if len(f.SHA256) != 64 {
			t.Errorf("%s has the digest %q", f.File, f.SHA256)
		}
	}
	if again := sitetest.Must[[]outgoing](t)(m.sendResponse(ctx, m.o)); !slices.Equal(again, sent) || len(m.spooled()) != 3 {
		t.Errorf("again: %+v", again)
	}

	// The operator acknowledges exactly these.
	good := func() []message.ResponseFile {
		var all []message.ResponseFile
		for _, f := range sent {
			all = append(all, f.ResponseFile)
		}
		return all
	}
	for i, tt := range []struct {
		change func(*message.Ack)
		want   string
	}{
		{func(a *message.Ack) { a.Cards-- }, "cards are acknowledged"},
		{func(a *message.Ack) { a.Response = a.Response[:2] }, "2 files of the response are acknowledged, want 3"},
		{func(a *message.Ack) { a.Response = nil }, "0 files of the response are acknowledged, want 3"},
		{func(a *message.Ack) { a.Response[1].SHA256 = strings.Repeat("0", 64) }, "with 1000 cards and digest 000000000000…, want op-1.2-of-3.out.pgp"},
		{func(a *message.Ack) { a.Response[2].Cards++ }, "it acknowledges op-1.3-of-3.out.pgp with 499 cards"},
		{func(a *message.Ack) { a.Response[0], a.Response[1] = a.Response[1], a.Response[0] }, "it acknowledges op-1.2-of-3.out.pgp"},
		{func(*message.Ack) {}, ""},
	} {
		ack := message.Ack{Order: m.o.ID, Response: good(), Cards: m.o.Good, By: "0002 nodal-officer"}
		tt.change(&ack)
		err := sitetest.Message(t, m.op, m.Site, fmt.Sprintf("%d.ack.pgp", i), ack)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("acknowledgement %d: %v, want %q", i, err, tt.want)
		}
	}
	sitetest.Get(t, m.Site, m.o.ID, order.Received)
}

// The files together say what one file says, row by row.
func TestFilesAreTheResponse(t *testing.T) {
	r := newBatchRig(t)
	remakes := map[int]int{0: -1, 999: 2501, 1000: -1, 1001: 2502, 1700: -1, 2499: -1}
	o := order.Order{ID: "op-1", Quantity: testCards, Good: testCards - 4}
	whole, err := r.write(t, o.Good, remakes)
	if err != nil {
		t.Fatal(err)
	}
	_, want := r.parse(t, whole)
	for _, rows := range []int{100, 999, 1000, 1001, 2495} {
		var got []madeRow
		for _, f := range plan(o, remakes, rowsOf(rows)) {
			q := r.response
			q.First, q.End, q.Good, q.Remakes = f.First, f.End, f.Cards, remakes
			var out bytes.Buffer
			if err := q.Write(t.Context(), r.Store(), r.Token(), &out); err != nil {
				t.Fatal(err)
			}
			d, part := r.parse(t, out.Bytes())
			if d.Quantity != f.Cards || len(part) != f.Cards {
				t.Fatalf("%s says %d and has %d rows, want %d", f.File, d.Quantity, len(part), f.Cards)
			}
			got = append(got, part...)
		}
		same := func(a, b madeRow) bool {
			x, _ := json.Marshal([]any{a.id, a.texts, a.sealed})
			y, _ := json.Marshal([]any{b.id, b.texts, b.sealed})
			return bytes.Equal(x, y)
		}
		if !slices.EqualFunc(got, want, same) {
			t.Errorf("files of %d rows: %d rows together, and not those of one file with %d", rows, len(got), len(want))
		}
	}
}

func TestTooManyFiles(t *testing.T) {
	m := newMadeOrder(t)
	m.o.Good, m.o.Quantity = message.MaxResponseFiles+1, message.MaxResponseFiles+1
	m.limit(1)
	if _, err := m.sendResponse(t.Context(), m.o); err == nil || !strings.Contains(err.Error(), "its response would be 10001 files, want at most 10000; raise max_rows") {
		t.Errorf("got %v", err)
	}
}

// rowsOf is a response of one kind with at most so many rows a file.
func rowsOf(rows int) []order.ResponseFile { return []order.ResponseFile{{MaxRows: rows}} }
