package bureau

import (
	"bytes"
	"crypto/subtle"
	"strings"
	"testing"

	"ankan/format"
	"ankan/hsm"
	"ankan/message"
	"ankan/order"
	"ankan/site/sitetest"
)

// What is written by each layout that an order of dialect 1 can be answered by is
// what the cards have: codes in clear, keys under the transport key in the mode
// that the column names, check values of the keys themselves.
func TestLayouts(t *testing.T) {
	r := newBatchRig(t)
	remakes := map[int]int{0: -1, 3: testCards + 2}
	layouts := format.Shipped()
	cbc := "layout: mode\nabout: CBC of two receivers\noutputs:\n  - name: out\n    row: |\n      ${iccid} ${imsi} ${k | seal(ota, cbc, 000102030405060708090A0B0C0D0E0F)} ${opc | seal(cbc)} ${k | kcv(CMAC)} ${opc | kcv(ECB-ZEROS)}\n"
	layouts = append(layouts, sitetest.Must[*format.Layout](t)(format.Parse("mode.yaml", []byte(cbc))))
	seen := 0
	for _, l := range layouts {
		if n := l.Name(); n == "positional" || n == "csv" || n == "dialect2" {
			continue // their orders name two keys, or MSISDNs; the last repeats its order
		}
		for _, o := range l.Outputs() {
			seen++
			t.Run(l.Name()+"/"+o.Name(), func(t *testing.T) { r.checkLayout(t, o, remakes) })
		}
	}
	if seen < 10 {
		t.Errorf("%d outputs were written, want at least 10", seen)
	}
	// A file that names a key that the order does not name is not written.
	q := r.response
	q.Output = sitetest.Must[*format.Output](t)(sitetest.Must[*format.Layout](t)(format.Set(nil).Find("positional")).Output("response"))
	q.Columns, q.Good, q.Values = q.Output.Columns(), testCards, map[order.Field]string{format.Written: "20260102030405"}
	if err := q.Write(t.Context(), r.Store(), r.Token(), new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "transport_key.auc has 0 characters") {
		t.Error(err)
	}
}

func (r *batchRig) checkLayout(t *testing.T, o *format.Output, remakes map[int]int) {
	q := r.response
	q.Output, q.Columns, q.Good, q.Remakes = o, o.Columns(), testCards-1, remakes
	q.Keys = map[string]string{"ota": message.TransportKey("op", 11)}
	q.Values = map[order.Field]string{format.OrderID: "op-1", format.Part: "1", format.Parts: "1", format.Written: "20260102030405"}
	var text bytes.Buffer
	if err := q.Write(t.Context(), r.Store(), r.Token(), &text); err != nil {
		t.Fatal(err)
	}
	var rows []madeRow
	_, err := order.Reading{Output: o, Variant: q.Variant}.ParseResponse("out", bytes.NewReader(text.Bytes()), nil, func(row *order.Row) error {
		m := madeRow{id: row.ID, texts: map[string]string{}, sealed: map[string][]byte{}}
		for i, c := range q.Columns {
			m.texts[c.String()+string(c.KCV())] = string(row.Cell(i))
			if c.Sealed() {
				m.sealed[c.Slot()] = bytes.Clone(row.Cell(i))
			}
		}
		rows = append(rows, m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != testCards-1 {
		t.Fatalf("%d rows, want %d", len(rows), testCards-1)
	}
	open := map[string][][]byte{}
	for _, c := range q.Columns {
		if c.Sealed() {
			open[c.Slot()] = r.opened(t, rows, c.Slot())
		}
	}
	layout := r.reader.Batch.Profile.Layout()
	var record []byte
	for i, row := range rows {
		card, set := i+1, i+1
		if k, ok := remakes[card]; ok {
			set = k
		}
		if record, err = r.reader.Record(t.Context(), record[:0], set); err != nil {
			t.Fatal(err)
		}
		if id := r.response.Input.At(card); row.id.IMSI != id.IMSI && !row.id.IMSI.IsZero() || row.id.ICCID != id.ICCID && !row.id.ICCID.IsZero() {
			t.Fatalf("row %d is not of card %d", i+1, card)
		}
		for _, c := range q.Columns {
			of := func() []byte { return layout.Of(record, r.slots[c.Slot()]) }
			switch {
			case c.Sealed():
				clear := bytes.Clone(open[c.Slot()][i])
				if iv := c.IV(); iv != nil {
					subtle.XORBytes(clear, clear, iv)
				}
				if !bytes.Equal(clear, of()) {
					t.Fatalf("card %d: %s is not that of key set %d", card, c, set)
				}
			case c.KCV() != "":
				kcv := sitetest.Must[hsm.KCV](t)(hsm.AESKCV(c.KCV(), of()))
				if row.texts[c.String()+string(c.KCV())] != string(kcv.AppendBytes(nil)) {
					t.Fatalf("card %d: check value of %s is not %s", card, c, kcv)
				}
			case !c.Derived():
				if want, _, _ := bytes.Cut(of(), []byte{0xFF}); row.texts[c.String()] != string(want) {
					t.Fatalf("card %d: %s is not that of key set %d", card, c, set)
				}
			}
		}
	}
}
