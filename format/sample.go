package format

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"ankan/hsm"
	"ankan/sim"
)

// A Sample is files of a layout with made-up values, to see what it says. Nothing
// in it is a secret of anybody.
type Sample struct {
	Layout  *Layout
	Cards   int
	Variant sim.ICCIDVariant // how files write ICCIDs; 0: all digits

	order *Order // that the responses answer
	runs  []Run  // of an order that was given
	ends  []int  // cards up to the end of each run
}

// Shown is the file's text for a terminal, whatever the layout's text is.
func (f *SampleFile) Shown(l *Layout) string {
	s := scan(f.Name, bytes.NewReader(f.Text), 0)
	s.of(l)
	var b strings.Builder
	for s.next() {
		b.Write(s.text)
		b.WriteByte('\n')
	}
	return b.String()
}

// A SampleFile is one file of a sample.
type SampleFile struct {
	Output *Output // nil for the order
	Name   string  // "" if the layout does not say it
	Text   []byte
}

// Order is an order file of the sample. It was read, and written again as it is.
func (s *Sample) Order() (*SampleFile, error) {
	l := s.Layout
	fields := map[Field]string{}
	for _, c := range l.fields() {
		if f := c.field; f != Quantity && f.base() != TransportKCV {
			fields[f] = c.sampleValue()
		}
	}
	for f, v := range l.order.set {
		fields[f] = v
	}
	text, name, err := l.AppendOrder(nil, fields, Run{s.card(0), s.Cards}, s.Variant)
	if err != nil {
		return nil, err
	}
	return &SampleFile{Name: name, Text: text}, s.Take(name, bytes.NewReader(text))
}

// Take reads an order file, writes it again and compares, and makes it the one
// that the sample's responses answer.
func (s *Sample) Take(name string, r io.Reader) error {
	rd := Reading{Layout: s.Layout, Variant: s.Variant}
	var text bytes.Buffer
	var runs []Run
	o, err := rd.ReadOrder(name, io.TeeReader(r, &text), func(r Run) error {
		runs = append(runs, r)
		return nil
	})
	if err != nil {
		return err
	}
	var again []byte
	for table := range o.Tables() {
		if err == nil {
			again, err = o.AppendHead(again, table)
		}
		for i, run := range runs {
			if err == nil {
				again, err = o.AppendRun(again, table, i+1, run, i == len(runs)-1)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("%s: it was read and cannot be written again: %w", path.Base(name), err)
	}
	if again = o.AppendTail(again); !bytes.Equal(again, text.Bytes()) {
		return fmt.Errorf("%s: it is written again with other bytes, from byte %d on", path.Base(name), common(again, text.String())+1)
	}
	s.order, s.runs, s.ends, s.Cards = o, runs, nil, 0
	for _, run := range runs {
		s.Cards += run.Count
		s.ends = append(s.ends, s.Cards)
	}
	return nil
}

// Header is the head of the order; what is needed of one if the layout has none.
func (s *Sample) Header() *Header {
	if s.order != nil {
		return s.order.Header
	}
	h := &Header{layout: s.Layout, newline: s.Layout.newline, more: map[Field]string{}}
	for _, c := range s.Layout.fields() {
		if f := c.field; f.base() != TransportKCV && f != Quantity {
			h.more[f] = c.sampleValue()
		}
	}
	return h
}

// fields are the values of a head that the layout names, each once.
func (l *Layout) fields() []*Column {
	var all []*Column
	add := func(lines []textLine) {
		find(lines, func(c *Column) bool {
			seen := c.kind != fieldCell
			for _, other := range all {
				seen = seen || other.field == c.field
			}
			if !seen {
				all = append(all, c)
			}
			return false
		})
	}
	if o := l.order; o != nil {
		add(o.head)
		add(o.rows.lines)
		add(o.tail)
		if o.rule != nil {
			add([]textLine{o.rule.text})
		}
		return all
	}
	for _, o := range l.outputs {
		add(o.head)
		add(o.rows.lines)
		add(o.tail)
		if o.rule != nil {
			add([]textLine{o.rule.text})
		}
	}
	return all
}

// sampleValue is a value of the column's field that the column can write.
func (c *Column) sampleValue() string {
	if c.words != nil {
		return c.words[0]
	}
	return sampleValue(c.field)
}

func sampleValue(f Field) string {
	switch f.base() {
	case Customer:
		return "Sample Mobile Ltd"
	case ProfileName:
		return "sample-usim"
	case ProfileVersion:
		return "1.0"
	case Batch:
		return "B0001"
	case OrderDate:
		return "20260102030405"
	case Written:
		return "20260103040506"
	case TransportKey:
		return "11"
	case PONumber:
		return "PO-1"
	case OrderID:
		return "operator-0123456789ab"
	case Part, Parts:
		return "1"
	}
	return "sample"
}

// card is the identity of card i, from 0.
func (s *Sample) card(i int) sim.Identity {
	var id sim.Identity
	card := uint64(i)
	if s.runs != nil {
		k, _ := slices.BinarySearch(s.ends, i+1)
		id, i = s.runs[k].First, i-(s.ends[k]-s.runs[k].Count)
	} else {
		id = sim.Identity{ICCID: sampleICCID(s.Variant), IMSI: must(sim.ParseIMSI("404990000000001")), MSISDN: must(sim.ParseMSISDN("919000000001"))}
	}
	if id.MSISDN.IsZero() { // told by the response alone, in a sample
		id.MSISDN = must(must(sim.ParseMSISDN("919000000001")).Add(card - uint64(i)))
	}
	return must(sim.NewIdentityRange(id, uint64(i)+1)).At(uint64(i))
}

// cells are the values of card i that are not its identity's.
func sampleCells(columns []Column, i int) [][]byte {
	cells := make([][]byte, len(columns))
	for k, c := range columns {
		if c.Derived() {
			continue
		}
		sum := sha256.Sum256(binary.BigEndian.AppendUint32([]byte("ankan sample "+c.slot+c.receiver+string(c.method)), uint32(i)))
		switch c.kind {
		case sealedCell:
			cells[k] = sum[:16]
		case kcvCell:
			cells[k] = sum[:c.kcvDigits()/2]
		case codeCell:
			n := 8
			if c.slot == "PIN1" || c.slot == "PIN2" {
				n = 4
			}
			for _, b := range sum[:n] {
				cells[k] = append(cells[k], '0'+b%10)
			}
		default:
			cells[k] = []byte("word")
		}
	}
	return cells
}

// Response is a response of the sample with the output's own columns. It was
// read, and every value compared.
func (s *Sample) Response(o *Output) (*SampleFile, error) {
	d := Delivery{Output: o, Header: s.Header(), First: s.card(0), Quantity: s.Cards, Columns: o.Columns(), Variant: s.Variant,
		Values: map[Field]string{OrderID: sampleValue(OrderID), Part: "1", Parts: "1", Written: sampleValue(Written)}}
	if o.most > 0 {
		d.Quantity = min(d.Quantity, o.most)
	}
	kcv := must(hsm.ParseKCV("C35280 GP"))
	d.KCV = kcv
	for _, receiver := range Receivers(d.Columns) {
		if receiver != "" {
			if d.KCVs == nil {
				d.KCVs = map[string]hsm.KCV{}
			}
			d.KCVs[receiver] = kcv
		}
	}
	name, err := d.FileName()
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	w, err := NewResponse(&text, d)
	if err != nil {
		return nil, err
	}
	for i := range d.Quantity {
		if err := w.Row(i+1, s.card(i), sampleCells(d.Columns, i)); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	f := &SampleFile{Output: o, Name: name, Text: text.Bytes()}
	return f, s.compare(f, d)
}

// compare reads a response that was written from d.
func (s *Sample) compare(f *SampleFile, d Delivery) error {
	i := 0
	errOther := errors.New("a value is read as another than was written")
	_, err := Reading{Output: f.Output, Variant: d.Variant}.ParseResponse(f.Output.name, bytes.NewReader(f.Text), nil, func(r *Row) error {
		id, cells := s.card(i), sampleCells(d.Columns, i)
		i++
		if !r.ID.ICCID.IsZero() && r.ID.ICCID != id.ICCID || !r.ID.IMSI.IsZero() && r.ID.IMSI != id.IMSI || !r.ID.MSISDN.IsZero() && r.ID.MSISDN != id.MSISDN {
			return fmt.Errorf("line %d: %w: the identity", r.Line, errOther)
		}
		if r.Serial != 0 && r.Serial != i {
			return fmt.Errorf("line %d: %w: serial", r.Line, errOther)
		}
		for k, c := range d.Columns {
			if cells[k] != nil && c.full() && !bytes.Equal(r.Cell(k), cells[k]) {
				return fmt.Errorf("line %d: %w: %s", r.Line, errOther, c.name)
			}
		}
		return nil
	})
	if err == nil && i != d.Quantity {
		err = fmt.Errorf("%s: %d rows were read, %d written", f.Output.name, i, d.Quantity)
	}
	return err
}
