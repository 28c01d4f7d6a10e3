package format

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ankan/hsm"
	"ankan/sim"
)

// again reads a response and writes it from nothing but what was read.
func again(o *Output, v sim.ICCIDVariant, text []byte) ([]byte, error) {
	type row struct {
		id     sim.Identity
		serial int
		cells  [][]byte
	}
	var rows []row
	d, err := Reading{Output: o, Variant: v, MaxBytes: 1 << 20}.ParseResponse("r", bytes.NewReader(text), nil, func(r *Row) error {
		w := row{id: r.ID, serial: r.Serial}
		for i := range *r.cells {
			w.cells = append(w.cells, bytes.Clone(r.Cell(i)))
		}
		rows = append(rows, w)
		return nil
	})
	if err != nil {
		return nil, err
	}
	h := &Header{layout: o.layout, newline: d.Header.newline, more: map[Field]string{}}
	for f, value := range d.Header.Fields() {
		if f.base() != TransportKCV {
			h.more[f] = value
		}
	}
	d.Header = h
	var out bytes.Buffer
	w, err := NewResponse(&out, d)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAgain, err)
	}
	for _, r := range rows {
		for i, c := range d.Columns {
			if c.Derived() {
				r.cells[i] = nil
			}
		}
		if err := w.Row(r.serial, r.id, r.cells); err != nil {
			return nil, fmt.Errorf("%w: %w", errAgain, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("%w: %w", errAgain, err)
	}
	return out.Bytes(), nil
}

var errAgain = errors.New("what was read cannot be written")

// unread is values that rows do not tell and that writing needs: identities.
func tells(o *Output) bool {
	full := func(k kind) bool {
		return slices.ContainsFunc(o.rows.columns, func(c Column) bool { return c.kind == k && c.full() })
	}
	for _, c := range o.rows.columns {
		if c.lossy && !full(c.kind) || c.kind == accCell && !full(imsiCell) {
			return false
		}
	}
	return true
}

// spoilt must be refused, or say what it says in no other way.
func checkSpoilt(t interface{ Fatalf(string, ...any) }, o *Output, v sim.ICCIDVariant, text []byte) {
	back, err := again(o, v, text)
	switch {
	case errors.Is(err, errAgain):
		t.Fatalf("%s: %v\n%s", o.name, err, text)
	case err == nil && !bytes.Equal(back, text):
		t.Fatalf("%s: reads as\n%s\nbut is\n%s", o.name, back, text)
	}
}

// Every byte of every shipped response counts: changed, it is refused or says
// something else.
func TestShippedBytesCount(t *testing.T) {
	all := Shipped()
	for _, p := range partners(t) {
		all = append(all, p.layout)
	}
	for _, l := range all {
		s := &Sample{Layout: l, Cards: 3}
		if l.Orders() {
			f, err := s.Order()
			if err != nil {
				t.Fatal(err)
			}
			checkSpoiltOrders(t, l, f.Name, f.Text)
		}
		for _, o := range l.Outputs() {
			f, err := s.Response(o)
			if err != nil {
				t.Fatal(err)
			}
			if o.echo { // its head is free: keys in any sequence, decoration
				continue
			}
			if !tells(o) {
				t.Errorf("%s/%s: rows do not tell what they were written from", l.name, o.name)
			}
			for i := range f.Text {
				for _, c := range []byte{'0', ' ', '\n', ';', f.Text[i] ^ 1, f.Text[i] ^ 0x20} {
					spoilt := bytes.Clone(f.Text)
					spoilt[i] = c
					checkSpoilt(t, o, 0, spoilt)
				}
				checkSpoilt(t, o, 0, slices.Delete(bytes.Clone(f.Text), i, i+1))
				checkSpoilt(t, o, 0, slices.Insert(bytes.Clone(f.Text), i, f.Text[i]))
				checkSpoilt(t, o, 0, f.Text[:i])
			}
		}
	}
}

// checkSpoiltOrders changes each byte of an order: it must be refused, or be written
// again as it then is.
func checkSpoiltOrders(t *testing.T, l *Layout, name string, text []byte) {
	t.Helper()
	take := func(spoilt []byte) {
		var faults Faults
		if err := (&Sample{Layout: l}).Take(name, bytes.NewReader(spoilt)); err != nil && !errors.As(err, &faults) {
			t.Fatalf("%s: %v\n%s", l.name, err, spoilt)
		}
	}
	for i := range text {
		for _, c := range []byte{'0', ' ', '\n', ';', text[i] ^ 1, text[i] ^ 0x20} {
			spoilt := bytes.Clone(text)
			spoilt[i] = c
			take(spoilt)
		}
		take(slices.Delete(bytes.Clone(text), i, i+1))
		take(slices.Insert(bytes.Clone(text), i, text[i]))
		take(text[:i])
	}
}

// randomLayout is a layout document of random values.
func randomLayout(t *rapid.T) string {
	pick := func(name string, from ...string) string { return rapid.SampledFrom(from).Draw(t, name) }
	separator := pick("separator", ";", ",", "|", "\t", " ", "::", "/")
	value := rapid.SampledFrom([]string{
		"iccid", "iccid(18 check padded)", "iccid(18 check padded swapped)", "iccid(18)", "iccid(18) | luhn", "iccid(18 check padded) | swap",
		"iccid | group(4, -)", "iccid(18 check padded) | lower", "imsi", "imsi | ef", "imsi | left(20, x)", "imsi | without(404)", "msisdn", "msisdn | without(91)", "msisdn | right(16)",
		"acc", "acc | lower", "serial", "serial | left(9, 0)", "pin1", "pin1 | ascii_ff", "puk2 | ascii_ff | lower", "adm1 | ascii_ff | base64",
		"k | seal", "k | seal(auc)", "opc | seal | lower", "kic1 | seal(ota, cbc)", "opc | seal | base64", "k | kcv(GP)", "opc | kcv(CMAC) | lower", "batch", "batch | right(40)", "transport_key", "transport_key | left(3, 0)",
		"serial | thousands(\",\")", "serial | thousands | left(12)", "k | seal | fixed(32)", "pin1 | fixed(4)", "msisdn | fixed(12)", "batch | fixed(5)", "customer | xml", "customer | right(20)", "customer | fixed(17)",
		"profile | as(sample-usim, \"S; (U)|}\", other, S)", "transport_key | as(11, A1, 12, A2)", "written | date(YYYYMMDD)", "written | date(hh:mm)", "written | date(DD-MON-YY)", "written | date(Mon YYYY)", "date | date(DD Mon YYYY)",
		"quantity", "word", "date | date(DD.MM.YYYY)", "written | date(YYYYMMDDhhmmss)", "written | date(YYYY-MM-DDThh:mm:ss)", "x_note", "imsi | substring(5, 4)", "iccid | substring(2, 10)",
	})
	width := rapid.IntRange(1, 9).Draw(t, "values")
	var row []string
	for i := range width {
		row = append(row, "${"+value.Draw(t, fmt.Sprintf("value %d", i))+"}")
	}
	field := rapid.SampledFrom([]string{"batch", "profile", "quantity", "transport_key", "customer", "x_note", "date | date(YYYYMMDD)", "written | date(YYYYMMDDhhmmss)", "written | date(DD.MM.YY)", "written | date(hhmm)", "quantity | thousands(.)", "customer | xml", "profile | as(sample-usim, müß, b, ü)", "batch | right(12)", "transport_kcv", "transport_kcv | method(GP)", "transport_key.ota"})
	head := ""
	for i := range rapid.IntRange(0, 3).Draw(t, "lines of the head") {
		head += "      H" + fmt.Sprint(i) + ":${" + field.Draw(t, "field") + "}\n"
	}
	doc := "layout: random\nabout: random\n" + pick("newline", "", "newline: crlf\n") + pick("text", "", "text: utf-8 with bom\n", "text: latin-1\n", "text: windows-1252\n") + pick("last line", "", "last_line: open\n") + "outputs:\n  - name: out\n"
	if head != "" {
		doc += "    head: |\n" + head
	}
	doc += "    row: |\n"
	if rapid.Bool().Draw(t, "two lines") {
		doc += "      card ${serial}\n"
	}
	doc += "      " + strings.Join(row, separator) + "\n"
	doc += pick("between", "", "    between: \",\"\n", "    between: \" +\"\n")
	return doc + pick("tail", "", "    tail: |\n      END${rows}:${crc32}\n", "    tail: |\n      =${sha256}\n", "    tail: |\n      Größe ${lines | left(7, 0)}${quantity | thousands(\" \")}\n      ${batch}\n")
}

// What is written by any layout that is taken is read as it was, and no other
// bytes say the same.
func TestRandomLayouts(t *testing.T) {
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		doc := randomLayout(t)
		l, err := Parse("random.yaml", []byte(doc))
		if err != nil {
			var faults Faults
			if !errors.As(err, &faults) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		taken++
		s := &Sample{Layout: l, Cards: rapid.IntRange(1, 4).Draw(t, "cards"), Variant: rapid.SampledFrom([]sim.ICCIDVariant{0, sim.Digits18 | sim.CheckDigit | sim.Padded, sim.Digits18}).Draw(t, "variant")}
		o := l.Outputs()[0]
		f, err := s.Response(o)
		if f == nil {
			return // values that the layout cannot hold; another test has them
		}
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, doc, f.Text)
		}
		if !tells(o) {
			return
		}
		back, err := again(o, s.Variant, f.Text)
		if err != nil || !bytes.Equal(back, f.Text) {
			t.Fatalf("%v\n%s\nwritten\n%s\nread and written\n%s", err, doc, f.Text, back)
		}
		at := rapid.IntRange(0, len(f.Text)-1).Draw(t, "at")
		spoilt := bytes.Clone(f.Text)
		spoilt[at] = rapid.Byte().Draw(t, "byte")
		checkSpoilt(t, o, s.Variant, spoilt)
	})
	if taken == 0 {
		t.Error("no random layout was taken")
	}
}

// orderText is an order of a layout that lists its identities in any way it can.
func FuzzReadOrder(f *testing.F) {
	var with []*Layout
	for _, l := range Shipped() {
		if !l.Orders() {
			continue
		}
		s := &Sample{Layout: l, Cards: 3}
		file, err := s.Order()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(len(with)), file.Name, file.Text)
		with = append(with, l)
	}
	ranges := must(Parse("ranges.yaml", []byte(rangesLayout)))
	f.Add(uint8(len(with)), "B1.txt", []byte(rangesOrder))
	with = append(with, ranges)
	for _, p := range partners(f) {
		f.Add(uint8(len(with)), p.name, p.order)
		with = append(with, p.layout)
	}
	f.Fuzz(func(t *testing.T, n uint8, name string, text []byte) {
		s := &Sample{Layout: with[int(n)%len(with)]}
		err := s.Take(name, bytes.NewReader(text))
		var faults Faults
		if err != nil && !errors.As(err, &faults) {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}

func FuzzReadResponse(f *testing.F) {
	var with []*Output
	all := Shipped()
	for _, p := range partners(f) {
		all = append(all, p.layout)
	}
	for _, l := range all {
		for _, o := range l.Outputs() {
			if o.echo {
				continue
			}
			file, err := (&Sample{Layout: l, Cards: 2}).Response(o)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(len(with)), file.Text)
			with = append(with, o)
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, text []byte) { checkSpoilt(t, with[int(n)%len(with)], 0, text) })
}

// A layout that is taken writes and reads its own samples, or refuses to write.
func FuzzParse(f *testing.F) {
	for _, l := range Shipped() {
		f.Add(must(Document(l.Name())))
	}
	f.Add([]byte(rangesLayout))
	for _, p := range partners(f) {
		f.Add(p.document)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		l, err := Parse("f", doc)
		if err != nil {
			var faults Faults
			if !errors.As(err, &faults) {
				t.Fatalf("%T has no place", err)
			}
			return
		}
		s := &Sample{Layout: l, Cards: 2}
		if l.Orders() {
			if file, err := s.Order(); err != nil && file != nil {
				var faults Faults
				if !errors.As(err, &faults) {
					t.Fatalf("%v\n%s\n%s", err, doc, file.Text)
				}
			}
		}
		// A layout may still be one whose response is refused when it is read back, which
		// format try tells, and a bureau before it accepts an order: never taken amiss.
		for _, o := range l.Outputs() {
			if file, err := s.Response(o); err != nil && file != nil {
				var faults Faults
				if !errors.As(err, &faults) {
					t.Fatalf("%v\n%s\n%s", err, doc, file.Text)
				}
			}
		}
	})
}

const rangesLayout = `layout: ranges
about: several ranges in one order
order:
  style: exact
  identities: ranges
  file: ${batch}.txt
  set: {transport_key: "7", profile: usim}
  head: |
    ORDER ${quantity}
  row: |
    ${iccid} ${imsi} ${count}
  tail: |
    END
`

const rangesOrder = "ORDER 7\n8991999000000000013 404990000000001 5\n8991999000000001003 404990000000100 2\nEND\n"

func TestRanges(t *testing.T) {
	l := must(Parse("ranges.yaml", []byte(rangesLayout)))
	var runs []Run
	o, err := Reading{Layout: l}.ReadOrder("in/B1.txt", strings.NewReader(rangesOrder), func(r Run) error { runs = append(runs, r); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != 2 || runs[0].Count != 5 || runs[1].Count != 2 || o.Quantity() != 7 || o.Value(Batch) != "B1" || o.TransportKey() != 7 || !o.List {
		t.Errorf("%v %d", runs, o.Quantity())
	}
	for change, want := range map[string][2]string{
		"too few":      {"ORDER 7", "r:4:1: 7 rows of identities, want 8 (quantity)"},
		"none":         {" 5\n", "r:2:37: count: is 0, want 1 to 100000000"},
		"wrong name":   {"", `r:1:1: the file's name "B1.csv" at character`},
		"past the end": {"404990000000100 2", "r:3:1: range of 2: no such number: IMSI 999999999999999 plus 1"},
	} {
		text, name := rangesOrder, "B1.txt"
		switch change {
		case "too few":
			text = strings.Replace(text, "ORDER 7", "ORDER 8", 1)
		case "none":
			text = strings.Replace(text, " 5\n", " 0\n", 1)
		case "wrong name":
			name = "B1.csv"
		case "past the end":
			text = strings.Replace(text, "404990000000100 2", "999999999999999 2", 1)
		}
		_, err := Reading{Layout: l}.ReadOrder(name, strings.NewReader(text), func(Run) error { return nil })
		if found := strings.Replace(fmt.Sprint(err), name+":", "r:", 1); err == nil || !strings.HasPrefix(found, want[1]) {
			t.Errorf("%s: got %v, want %s", change, err, want[1])
		}
	}
}

func mustKCV(text string) hsm.KCV { return must(hsm.ParseKCV(text)) }

// randomOrder is a layout of orders alone.
func randomOrder(t *rapid.T) string {
	pick := func(name string, from ...string) string { return rapid.SampledFrom(from).Draw(t, name) }
	keys := rapid.Bool().Draw(t, "keys")
	fields := []string{"${batch}", "${profile}", pick("key", "${transport_key}", "${transport_key | as(11, \"AuC East\", 12, Süd)}")}
	for _, more := range []string{"${customer}", "${date | date(DD/MM/YYYY)}", "${x_a | right(30)}", "${po?}", "${version}", "${graph_ref?}", "${transport_key.ota | left(3, 0)}"} {
		if rapid.Bool().Draw(t, more) {
			fields = append(fields, more)
		}
	}
	identities := pick("identities", "first", "list", "first or list", "ranges")
	tail := pick("tail", "", "END ${rows}", "END ${crc32} ${lines}", "END ${quantity | thousands}")
	if identities == "first or list" || identities == "first" && !strings.Contains(tail, "quantity") || rapid.Bool().Draw(t, "says quantity") {
		fields = append(fields, pick("quantity", "${quantity}", "${quantity | thousands(.)}"))
	}
	fields = rapid.Permutation(fields).Draw(t, "fields")
	doc := "layout: random\nabout: random\n" + pick("newline", "", "newline: crlf\n") + pick("text", "", "text: utf-8 with bom\n", "text: windows-1252\n") + pick("last line", "", "last_line: open\n") + "order:\n"
	sign := ":"
	doc += "  style: " + map[bool]string{true: "keys", false: "exact"}[keys] + "\n  identities: " + identities + "\n"
	if keys {
		sign = pick("sign", ":", "=", " ;")
	}
	if rapid.Bool().Draw(t, "decoration") {
		doc += "  decoration: \"#\"\n"
	}
	doc += "  head: |\n"
	for i, f := range fields {
		doc += fmt.Sprintf("    F%d%s %s\n", i, sign, f)
	}
	marker := keys && rapid.Bool().Draw(t, "marker")
	if marker {
		doc += "    Numbers" + sign + " ${input}\n"
	}
	ids := rapid.Permutation([]string{"${iccid}", pick("imsi", "${imsi}", "${imsi | ef}", "${imsi | without(404)}")}).Draw(t, "ids")
	if rapid.Bool().Draw(t, "msisdn") {
		ids = append(ids, "${msisdn}")
	}
	switch {
	case identities == "ranges":
		ids = append(ids, rapid.SampledFrom([]string{"${count}", "${count | thousands(.)}", "${iccid | last}", "${imsi | last | without(40)}"}).Draw(t, "count"))
	case identities == "first" && rapid.Bool().Draw(t, "to"):
		ids = append(ids, "${imsi | last | group(5)}")
	}
	doc += "  row: |\n"
	if keys && (!marker || rapid.Bool().Draw(t, "row of keys")) {
		for i, id := range ids {
			doc += fmt.Sprintf("    N%d%s %s\n", i, sign, id)
		}
	} else {
		doc += "    " + strings.Join(ids, pick("separator", ";", ",", " ", "|")) + "\n"
	}
	if !keys {
		doc += pick("between", "", "  between: \",\"\n")
	}
	if tail != "" {
		doc += "  tail: |\n    " + tail + "\n"
	}
	return doc
}

// An order that is written by any layout that is taken is read, and written again
// as it was; with any byte changed it is refused, or is written again as it then is.
func TestRandomOrders(t *testing.T) {
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		doc := randomOrder(t)
		l, err := Parse("random.yaml", []byte(doc))
		if err != nil {
			return
		}
		taken++
		s := &Sample{Layout: l, Cards: rapid.IntRange(1, 5).Draw(t, "cards")}
		f, err := s.Order()
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, doc, f.text())
		}
		if s.order.Quantity() != s.Cards || s.order.Value(Batch) != "B0001" || s.order.TransportKey() != 11 {
			t.Fatalf("%d cards, batch %q, key %d\n%s\n%s", s.order.Quantity(), s.order.Value(Batch), s.order.TransportKey(), doc, f.Text)
		}
		at := rapid.IntRange(0, len(f.Text)-1).Draw(t, "at")
		spoilt := bytes.Clone(f.Text)
		spoilt[at] = rapid.Byte().Draw(t, "byte")
		var faults Faults
		if err := (&Sample{Layout: l}).Take(f.Name, bytes.NewReader(spoilt)); err != nil && !errors.As(err, &faults) {
			t.Fatalf("%v\n%s\n%s", err, doc, spoilt)
		}
	})
	if taken == 0 {
		t.Error("no random layout was taken")
	}
}

// How fast rows of the shipped layouts are written and read.
func BenchmarkShipped(b *testing.B) {
	const cards = 2000
	for _, l := range Shipped() {
		for _, o := range l.Outputs() {
			s := &Sample{Layout: l, Cards: cards}
			if l.Orders() {
				if _, err := s.Order(); err != nil {
					b.Fatal(err)
				}
			}
			f, err := s.Response(o)
			if err != nil {
				b.Fatal(err)
			}
			b.Run("read/"+l.name+"/"+o.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := (Reading{Output: o}).ParseResponse("r", bytes.NewReader(f.Text), nil, func(*Row) error { return nil }); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(cards*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			})
			b.Run("write/"+l.name+"/"+o.name, func(b *testing.B) {
				d := Delivery{Output: o, Header: s.Header(), First: s.card(0), Quantity: MaxQuantity, KCV: mustKCV("C35280 GP"), KCVs: map[string]hsm.KCV{"auc": mustKCV("C35280 GP"), "ota": mustKCV("C35280 GP")},
					Values: map[Field]string{Part: "1", Parts: "1", Written: "20260102030405"}}
				w, err := NewResponse(io.Discard, d)
				if err != nil {
					b.Fatal(err)
				}
				id, cells := s.card(0), sampleCells(o.Columns(), 0)
				b.ReportAllocs()
				for b.Loop() {
					if err := w.Row(1, id, cells); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}
