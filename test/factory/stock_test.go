package factory

import (
	"fmt"
	"strings"
	"testing"

	"ankan/act"
	"ankan/client"
	"ankan/demo"
	"ankan/plant"
	"ankan/site"
	"ankan/stock"
)

// did asks for an act at a site, has others sign it, and does it.
func (w *works) did(name, kind, subject string, by client.Signer, approve ...client.Signer) error {
	w.t.Helper()
	c := w.Clients[name]
	st, err := c.Request(w.ctx, by, kind, subject)
	if err != nil {
		return err
	}
	for _, who := range approve {
		if _, err := c.Sign(w.ctx, who, st.Act.ID, act.Approve, ""); err != nil {
			return err
		}
	}
	return c.Do(w.ctx, st.Act.ID)
}

// TestStock takes an order's cards from the lot to the operator's door, and then
// proves the books: with chips that fail, and a plant that is stopped in the
// middle of its line.
func TestStock(t *testing.T) {
	t.Parallel()
	const cards = 60
	w := start(t, options{cards: cards, faults: true})
	c := w.Clients[demo.Plant]
	warehouse, officer, lead := w.person(demo.Plant, "warehouse"), w.person(demo.Plant, "security-officer"), w.person(demo.Plant, "shift-lead")
	view := func() (v plant.StockView) {
		t.Helper()
		if err := c.Get(w.ctx, "/stock", &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	box := func() {
		ord := w.orders(demo.Bureau)[0].ID
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		// Two boxes: one by a list of numbers, as a scanner gives it, one by range.
		var doc site.Document
		must(c.Get(w.ctx, "/runs/"+ord+"/print?artwork=AW-7", &doc))
		lines := strings.Split(strings.TrimSpace(string(doc.Content)), "\n")
		if len(lines) != cards+1 || lines[0] != "card,iccid,barcode,artwork" || !strings.HasSuffix(lines[1], ",AW-7") {
			t.Fatalf("print file:\n%s", doc.Content)
		}
		var iccids, scan []string
		for _, l := range lines[1:] {
			iccids = append(iccids, strings.Split(l, ",")[2])
			scan = append(scan, strings.Split(l, ",")[2]+","+strings.Split(l, ",")[1])
		}
		var one, two stock.Box
		must(c.Post(w.ctx, "/boxes", plant.NewBox{Box: "B-1", Order: ord, ICCIDs: iccids[:40]}, &one))
		must(c.Post(w.ctx, "/boxes", plant.NewBox{Box: "B-2", Order: ord, From: 40, To: cards}, &two))
		if one.Cards != 40 || two.Cards != 20 || one.First != iccids[0] || two.Last != iccids[cards-1] {
			t.Errorf("%+v, %+v", one, two)
		}
		refusedWith(t, "cards of two boxes", c.Post(w.ctx, "/boxes", plant.NewBox{Box: "B-3", Order: ord, From: 0, To: 1}, nil), "is in box B-1")
		refusedWith(t, "a card of nobody", c.Post(w.ctx, "/boxes", plant.NewBox{Box: "B-3", Order: ord, ICCIDs: []string{"8991000000000000019"}}, nil), "box B-3")
		refusedWith(t, "by list and range", c.Post(w.ctx, "/boxes", plant.NewBox{Box: "B-3", Order: ord, ICCIDs: iccids[:1], To: 1}, nil), "name its cards by iccids, or from and to")

		// Prints are compared with chips; two are exchanged.
		a, b := strings.Split(scan[3], ","), strings.Split(scan[50], ",")
		scan[3], scan[50] = a[0]+","+b[1], b[0]+","+a[1]
		var scanned plant.Scan
		must(c.Send(w.ctx, "/runs/"+ord+"/scan", strings.NewReader("iccid,printed\n"+strings.Join(scan, "\n")+"\n"), &scanned))
		if scanned.Cards != cards || len(scanned.Mismatches) != 2 || scanned.Mismatches[0].Card != 3 || scanned.Mismatches[0].Box != "B-1" || scanned.Mismatches[1].Card != 50 || scanned.Mismatches[1].Box != "B-2" {
			t.Errorf("%+v", scanned)
		}
		refusedWith(t, "no file of scans", c.Send(w.ctx, "/runs/"+ord+"/scan", strings.NewReader("a,b\n"), nil), "want iccid,printed")

		must(w.did(demo.Plant, "box.close", "box/B-1/40/S-1", warehouse, lead))
		must(w.did(demo.Plant, "box.close", "box/B-2/20/S-2", warehouse, lead))
		must(w.did(demo.Plant, "vault.open", "vault/V1/to store boxes", warehouse, officer))
		must(w.did(demo.Plant, "box.store", "box/B-1/V1", warehouse))
		must(w.did(demo.Plant, "box.take", "box/B-1/V1", warehouse))
		must(w.did(demo.Plant, "vault.close", "vault/V1/0", officer))
		must(c.Post(w.ctx, "/shipments", plant.NewShipment{Number: "SH-1", Consignee: "Demo Mobile", Carrier: "van 4", Seal: "T-1", Boxes: []string{"B-1", "B-2"}}, nil))
		refusedWith(t, "sent by one", w.did(demo.Plant, "shipment.send", "shipment/SH-1", warehouse), "")
		must(w.did(demo.Plant, "shipment.send", "shipment/SH-1", warehouse, officer))

		// The form goes by the bureau to the operator, who counts blind; the answer comes back.
		op := w.Clients[demo.Operator]
		var d stock.Delivery
		path := "/deliveries/" + demo.Plant + "/SH-1"
		until(t, "the advice of the shipment", func() bool { return op.Get(w.ctx, path, &d) == nil })
		if d.Cards != 0 || len(d.Boxes) != 2 || d.Boxes[0].Cards != 0 || d.Boxes[0].First != "" || d.Boxes[1].Seal != "S-2" {
			t.Errorf("whoever counts is shown %+v", d)
		}
		nodal, theirs := w.person(demo.Operator, "nodal-officer"), w.person(demo.Operator, "security-officer")
		found := "delivery/" + demo.Plant + "/SH-1/whole/B-1:40:whole,B-2:20:whole"
		refusedWith(t, "received by one", w.did(demo.Operator, "delivery.receive", found, nodal), "")
		refusedWith(t, "its form before the count", op.Get(w.ctx, path+"/form", &doc), "it is not counted yet")
		must(w.did(demo.Operator, "delivery.receive", found, nodal, theirs))
		until(t, "the answer at the plant", func() bool {
			var sh stock.Shipment
			return c.Get(w.ctx, "/shipments/SH-1", &sh) == nil && sh.State == stock.Accepted && sh.Got == cards && sh.Operator == demo.Operator && sh.Via == demo.Bureau
		})
		refusedWith(t, "received on paper as well", w.did(demo.Plant, "shipment.receive", "shipment/SH-1/60/Nodal officer", warehouse, officer), "it is received")
		must(op.Get(w.ctx, path+"/form", &doc))
		if !strings.HasPrefix(string(doc.Content), "%PDF-") {
			t.Error("the operator's form is no PDF")
		}
		for _, path = range []string{"/boxes/B-1/label", "/shipments/SH-1/form"} {
			must(c.Get(w.ctx, path, &doc))
			if !strings.HasPrefix(string(doc.Content), "%PDF-") {
				t.Errorf("%s is no PDF", path)
			}
		}
	}
	sum := w.journey(map[string]func(){stageLine: func() { w.stop(demo.Plant); w.start(demo.Plant) }, stageDestruction: box})
	at := map[stock.Account]int{}
	for _, b := range view().Balances {
		at[b.Account] += b.Count
	}
	quantity := -at[stock.Maker]
	want := map[stock.Account]int{stock.Maker: -quantity, stock.Store: quantity - cards - sum.Rejected - sum.Aside,
		stock.Destroyed: sum.Rejected, stock.Aside: sum.Aside, stock.Operator: cards}
	if fmt.Sprint(at) != fmt.Sprint(want) {
		t.Errorf("accounts are %v, want %v", at, want)
	}
	refusedWith(t, "a box after the destruction", c.Post(w.ctx, "/boxes", plant.NewBox{Box: "B-9", Order: sum.Order, To: 1}, nil), "was destroyed")
}

// TestPeopleCount has people count: the line gets no chip that they did not
// issue, and the batch does not end before they took back what was left.
func TestPeopleCount(t *testing.T) {
	t.Parallel()
	const cards = 8
	w := start(t, options{cards: cards})
	c := w.Clients[demo.Plant]
	warehouse, officer, lead := w.person(demo.Plant, "warehouse"), w.person(demo.Plant, "security-officer"), w.person(demo.Plant, "shift-lead")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var lot string
	waits := func(ord, why string) {
		t.Helper()
		until(t, "a batch that waits: "+why, func() bool {
			var v plant.RunView
			return c.Get(w.ctx, "/runs/"+ord, &v) == nil && strings.Contains(v.Waiting, why)
		})
	}
	w.journey(map[string]func(){
		stageOrder: func() { // the lot is there
			var lots []stock.Lot
			must(c.Get(w.ctx, "/lots", &lots))
			lot = lots[0].Lot
			w.stop(demo.Plant)
			w.Configs[demo.Plant].Counting = site.CountPeople
			w.start(demo.Plant)
		},
		stageLine: func() {
			ord := w.orders(demo.Bureau)[0].ID
			waits(ord, "no chips of it are at the line")
			must(w.did(demo.Plant, "stock.move", fmt.Sprintf("move/store/line/%s/%s/%d/issue", lot, ord, cards+2), warehouse, lead))
			waits(ord, "are at the line; count them")
			must(w.did(demo.Plant, "stock.count", fmt.Sprintf("count/line/%s/%s/2", lot, ord), lead))
			must(w.did(demo.Plant, "stock.move", fmt.Sprintf("move/line/store/%s/%s/2/left over", lot, ord), warehouse, officer))
		},
	})
	var v plant.StockView
	must(c.Get(w.ctx, "/stock", &v))
	var counts []stock.Count
	must(c.Get(w.ctx, "/stock/counts", &counts))
	if len(counts) != 1 || !counts[0].Agrees {
		t.Errorf("%+v", counts)
	}
}
