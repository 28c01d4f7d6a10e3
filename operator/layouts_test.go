package operator

import (
	"bytes"
	"strings"
	"testing"

	"ankan/aka"
	"ankan/examples"
	"ankan/format"
	"ankan/hsm"
	"ankan/message"
	"ankan/order"
	"ankan/sim"
	"ankan/site/sitetest"
)

// Files of several kinds are each read as the contract says their number is, are
// about the same cards, and one kind is loaded from.
func TestKindsOfFiles(t *testing.T) {
	in := sitetest.Must[*order.Input](t)(order.ParseInput("order.inp", bytes.NewReader(examples.Order())))
	kcv := sitetest.Must[hsm.KCV](t)(hsm.ParseKCV("C35280 GP"))
	c := &order.Contract{ResponseICCID: sim.Digits18 | sim.CheckDigit}
	for _, name := range []string{"agsui", "three-files", "ts29505", "json"} {
		for _, o := range sitetest.Must[*format.Layout](t)(format.Set(nil).Find(name)).Outputs() {
			c.Responses = append(c.Responses, order.ResponseFile{Output: o, Columns: o.Columns(), MaxRows: o.MaxRows()})
		}
	}
	c.Responses[1].MaxRows, c.Responses[2].MaxRows = 7, 4
	const good, files = 10, 1 + 2 + 3 + 1 + 1 + 1
	e := &expected{order: order.Order{Quantity: in.Quantity(), Batch: in.Value(order.Batch), Transport: 11}, input: in, kcv: kcv, cards: aka.Parameters{Algorithm: aka.MILENAGE}}
	var all []arrived
	for n := 1; n <= files; n++ {
		f, part, parts, err := c.ResponseOf(n, files, good)
		if err != nil {
			t.Fatal(err)
		}
		first := 0
		if f.MaxRows > 0 {
			first = (part - 1) * f.MaxRows
		}
		rows := good - first
		if f.MaxRows > 0 {
			rows = min(rows, f.MaxRows)
		}
		text := responseText(t, c, f, in, kcv, first, rows)
		if err := e.file(c, n, files); err != nil {
			t.Fatal(err)
		}
		got, err := e.read("a.out", bytes.NewReader(text), nil)
		if err != nil || got != rows {
			t.Fatalf("file %d, part %d of %d of %s: %d rows of %d: %v\n%.600s", n, part, parts, f.Output.Name(), got, rows, err, text)
		}
		e.ResponseFile = message.ResponseFile{File: message.ResponseName("o", n, files), Cards: got}
		e.Number, e.Of = n, files
		all = append(all, e.arrived)
	}
	if cards, err := agree(all); err != nil || cards != good {
		t.Errorf("%d cards, want %d: %v", cards, good, err)
	}
	if from := loadable(all); len(from) != 2 || !strings.HasPrefix(from[0].Columns, "three-files/server: ") {
		t.Errorf("loads from %v", from)
	}
	if err := e.file(c, 1, 2); err == nil || !strings.Contains(err.Error(), "file 1 of 2 is none of a response to 1000 cards") {
		t.Error(err)
	}
}

// responseText is a file of rows cards of the order, from card first on.
func responseText(t *testing.T, c *order.Contract, f order.ResponseFile, in *order.Input, kcv hsm.KCV, first, rows int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := sitetest.Must[*order.ResponseWriter](t)(format.NewResponse(&out, order.Delivery{Output: f.Output, Header: in.Header, First: in.First(), Quantity: rows, KCV: kcv,
		Columns: f.Columns, Variant: c.ResponseICCID, Values: map[order.Field]string{format.OrderID: "o", format.Part: "1", format.Parts: "1", format.Written: "20260102030405"}}))
	for card := first; card < first+rows; card++ {
		cells := make([][]byte, len(f.Columns))
		for i, col := range f.Columns {
			switch {
			case col.Sealed():
				cells[i] = bytes.Repeat([]byte{byte(card)}, 16)
			case col.KCV() != "":
				cells[i] = make([]byte, col.KCVBytes())
			case !col.Derived():
				cells[i] = []byte("12345678")
			}
		}
		if err := w.Row(card+1, in.At(card), cells); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
