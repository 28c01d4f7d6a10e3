package format

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"ankan/hsm"
	"ankan/sim"
)

// A Reading says how to read a file of a partner. The zero value is strict:
// ICCIDs carry all digits with a right check digit. It knows the layouts that
// open their input variables with a line of their own; others must be named.
type Reading struct {
	Layout   *Layout          // nil: as the file's first lines say
	Output   *Output          // of a response; nil: the first of its layout
	Variant  sim.ICCIDVariant // how the file writes ICCIDs; 0: 19 or 20 digits
	MaxBytes int64            // of the whole file; 0: 64 GiB. Files are read as they come, so it bounds time and not memory
}

// A Row is one card of a response that is read. It holds secrets: it prints
// and logs as a marker and refuses to be encoded. What it gives may be used
// until the function that got it returns.
type Row struct {
	Line   int // in the file
	ID     sim.Identity
	Serial int          // the card's number in the order, from 1; 0 if the file does not say it
	cells  *[][]byte    // behind a pointer: fmt reads unexported fields past any method
	blocks []byte       // decoded cells
	count  int          // of identities, in an order
	last   sim.Identity // of them
}

// Cell is the cell of column i: the encrypted blocks of a Sealed column, the bytes
// of a check value, else the value's text without what the layout did to it.
func (r *Row) Cell(i int) []byte { return (*r.cells)[i] }

// Format prints a marker for every verb.
func (*Row) Format(f fmt.State, _ rune) { io.WriteString(f, "[row of a response]") }

// LogValue is a marker.
func (*Row) LogValue() slog.Value { return slog.StringValue("[row of a response]") }

// MarshalJSON refuses.
func (*Row) MarshalJSON() ([]byte, error) { return nil, sim.ErrSecret }

// ParseResponse reads a response file and gives its rows one after the other;
// memory does not grow with them. begin, which may be nil, sees the head
// before the first row. Their errors end reading and are returned. What row
// got counts only when the error is nil: the last row may be missing.
func (rd Reading) ParseResponse(name string, r io.Reader, begin func(Delivery) error, row func(*Row) error) (Delivery, error) {
	if rd.Output != nil {
		rd.Layout = rd.Output.layout
	}
	s := scan(name, r, rd.MaxBytes)
	s.of(rd.Layout)
	d := rd.readHead(s, name)
	if err := s.err(); err != nil {
		return Delivery{}, err
	}
	if begin != nil {
		if err := begin(*d); err != nil {
			return Delivery{}, err
		}
	}
	err := rd.readRows(s, d, row)
	if refused := s.err(); refused != nil {
		err = refused
	}
	if err != nil {
		return Delivery{}, err
	}
	return *d, nil
}

// readHead reads up to the rows.
func (rd Reading) readHead(s *scanner, name string) *Delivery {
	d := &Delivery{Variant: rd.Variant, Output: rd.Output}
	if rd.Output == nil || rd.Output.echo {
		if d.Header = readHeader(s, rd.Layout, name, true); d.Header == nil {
			return d
		}
		if d.Output == nil {
			if len(d.Header.layout.outputs) == 0 {
				s.stop(1, "layout %s has no responses", d.Header.layout.name)
				return d
			}
			d.Output = d.Header.layout.outputs[0]
		}
		rd.readEcho(s, d)
	} else {
		s.want = rd.Layout.newline
		d.Header = &Header{layout: rd.Layout, newline: rd.Layout.newline}
		d.Columns = rd.Output.rows.columns
		d.Header.exact(s, d)
		if len(s.faults) == 0 {
			rd.fromHeader(s, d)
		}
	}
	return d
}

// fromHeader takes what the head says about the delivery.
func (rd Reading) fromHeader(s *scanner, d *Delivery) {
	d.Quantity = d.Header.Quantity()
	for f, value := range d.Header.Fields() {
		if f.base() != TransportKCV || value == "" {
			continue
		}
		kcv, _ := hsm.ParseKCV(value) // what is wrong with it is a fault already
		if _, receiver, named := strings.Cut(string(f), "."); named {
			if d.KCVs == nil {
				d.KCVs = map[string]hsm.KCV{}
			}
			d.KCVs[receiver] = kcv
		} else {
			d.KCV = kcv
		}
	}
}

// exact reads a head of text, in which the columns may be named.
func (h *Header) exact(s *scanner, d *Delivery) {
	for _, l := range d.Output.head {
		if i := slices.IndexFunc(l.parts, func(p part) bool { return p.col != nil && p.col.kind == markCell }); i >= 0 {
			if !s.next() {
				s.fault(1, "file ends and has no names of columns")
				return
			}
			before, after := "", ""
			if i > 0 {
				before = l.parts[0].text
			}
			if i+1 < len(l.parts) {
				after = l.parts[i+1].text
			}
			text, ok := strings.CutPrefix(string(s.text), before)
			if ok {
				text, ok = strings.CutSuffix(text, after)
			}
			if !ok || len(l.parts) > 3 {
				s.stop(1, "line is not %s with the names of columns", l.pattern())
				return
			}
			d.named(s, len(before)+1, text)
			h.lines = append(h.lines, headerLine{text: string(s.text)})
			continue
		}
		h.text(s, []textLine{l}, nil)
		if s.done {
			return
		}
	}
}

// named takes the names of columns that stand in the file.
func (d *Delivery) named(s *scanner, column int, text string) {
	cols, err := d.Output.layout.parseColumns(text, d.Output.table.join)
	if err == nil && joinColumns(cols, d.Output.table.join) != text && !d.Output.echo {
		err = fmt.Errorf("columns are written with other letters than the layout's: want %s", joinColumns(cols, d.Output.table.join))
	}
	if err != nil {
		s.stop(column, "%v", err)
	}
	d.Columns = cols
}

// readEcho reads from the input variables to the names of the columns.
func (rd Reading) readEcho(s *scanner, d *Delivery) {
	h := d.Header
	side := h.layout.order
	h.decorations(s)
	rr := newRowReader(rd.Variant, h, side.rows.columns)
	defer rr.row.wipe()
	lay := make([]around, len(side.rows.lines))
	ok := side.readRow(s, rr, &side.rows, lay, sums{})
	if !ok {
		if len(s.faults) == 0 {
			s.fault(1, "file ends and has no %s", side.rowKey())
		}
		return
	}
	d.First = rr.row.ID
	rd.fromHeader(s, d)
	if !hasMark(d.Output.head, fieldColumns) {
		d.Columns = d.Output.rows.columns
		h.exact(s, d)
		return
	}
	output := d.Output.key()
	for n := 0; s.next(); n++ {
		key, at, end, ok := split(s.text, h.layout.order.sign)
		switch {
		case ok && strings.EqualFold(key, output):
			d.named(s, at+1, string(s.text[at:end]))
			if d.KCV.IsZero() && len(d.KCVs) == 0 {
				s.sealedWithoutKCV(d.Columns, h.layout)
			}
			return
		case !h.layout.decoration(string(s.text)):
			s.stop(1, "line is not %s%c or decoration", output, h.layout.order.sign)
		case n == maxHeader:
			s.stop(1, "more than %d lines before %s", maxHeader, output)
		}
	}
	if len(s.faults) == 0 {
		s.fault(1, "file ends and has no %s", output)
	}
}

// key is the key whose value names the columns.
func (o *Output) key() string {
	for _, l := range o.head {
		if hasMark([]textLine{l}, fieldColumns) && l.parts[0].col == nil {
			sign := byte(':')
			if o.layout.order != nil {
				sign = o.layout.order.sign
			}
			key, _, _ := strings.Cut(l.parts[0].text, string(sign))
			return strings.Trim(key, blanks)
		}
	}
	return ""
}

func (s *scanner) sealedWithoutKCV(cols []Column, l *Layout) {
	for _, c := range cols {
		if c.Sealed() {
			s.fault(1, "%s is encrypted, but the header has no %s to tell under which key", c.name, l.order.find(TransportKCV).key)
			return
		}
	}
}

func (rd Reading) readRows(s *scanner, d *Delivery, row func(*Row) error) error {
	o := d.Output
	rr := newRowReader(rd.Variant, d.Header, d.Columns)
	defer rr.row.wipe()
	lines := o.rows.lines
	if o.table != nil {
		lines = o.table.line(d.Columns)
	}
	sums := newSums(o.tail)
	rows, last := 0, false
	tail, key := literal(o.tail), o.key()
	for !(o.expects && rows == d.Quantity && !o.echo) && s.next() {
		if o.echo && (len(s.text) == 0 || s.text[0] == ' ') {
			s.blankEnd()
			break
		}
		if !o.expects && o.rows.between == "" && tail != "" && bytes.HasPrefix(s.text, []byte(tail)) {
			s.hold()
			break
		}
		if !o.expects && last {
			s.hold()
			break
		}
		if key != "" && o.echo {
			if found, _, _, ok := split(s.text, o.layout.order.sign); ok && strings.EqualFold(found, key) {
				s.stop(1, "second %s, want one", found)
				return nil
			}
		}
		if rows++; rows > d.Quantity && o.expects || rows > MaxQuantity {
			s.stop(1, "row %d, want %d (%s)", rows, d.Quantity, o.quantityKey())
			return nil
		}
		last = rr.read(s, o, lines, !o.expects || rows == d.Quantity, sums)
		if len(s.faults) > 0 {
			continue // the file is refused; read on for more faults
		}
		if err := row(rr.row); err != nil {
			return err
		}
	}
	if s.failed != nil || len(s.faults) > 0 {
		return nil
	}
	if o.expects && rows != d.Quantity {
		s.fault(1, "%d rows, want %d (%s)", rows, d.Quantity, o.quantityKey())
		return nil
	}
	if !o.expects && rows == 0 {
		s.fault(1, "file has no rows")
		return nil
	}
	if d.Quantity == 0 {
		d.Quantity = rows
		d.Header.set(Quantity, strconv.Itoa(rows))
	}
	d.Header.keep(d.Header.tail(s, o.tail, sums, rows))
	if !o.echo && len(s.faults) == 0 && s.failed == nil && s.next() {
		s.stop(1, "more follows the file's end")
	}
	return nil
}

// quantityKey is what people call the quantity in this file.
func (o *Output) quantityKey() string {
	if o.echo {
		if spec := o.layout.order.find(Quantity); spec != nil {
			return spec.key
		}
	}
	return string(Quantity)
}

// tail reads the text after the rows, and what may stand around it.
func (h *Header) tail(s *scanner, lines []textLine, sums sums, rows int) []headerLine {
	from := len(h.lines)
	h.text(s, lines, func(c *Column, rest int) string { return sums.value(c, rows, s.line+rest) })
	tail := slices.Clone(h.lines[from:])
	h.lines = slices.Delete(h.lines, from, len(h.lines))
	return tail
}

// keep keeps the values of lines that are not of the head.
func (h *Header) keep(lines []headerLine) {
	for _, l := range lines {
		for _, v := range l.spans {
			h.set(v.field, v.value) // what was known was compared as it was read
		}
	}
}

// blankEnd reads the blank lines that may end a response.
func (s *scanner) blankEnd() {
	for n := 1; ; n++ {
		switch {
		case len(bytes.Trim(s.text, blanks)) > 0:
			s.stop(1, "line after the rows is not blank")
		case n > maxHeader:
			s.stop(1, "more than %d blank lines after the rows", maxHeader)
		}
		if !s.next() {
			return
		}
	}
}

// ---- rows

// A rowReader reads rows of columns.
type rowReader struct {
	variant sim.ICCIDVariant
	head    *Header
	cols    []Column
	checks  []check
	joins   []kind // identities that stand there in pieces alone
	row     *Row
	buf     []byte
	ended   bool // the row ended as the last one does
	at      int  // line of the row, from 0, and column of its ICCID
	column  int
}

// A check compares a column with what is known when the row was read.
type check struct {
	at   int
	with int // another column; -1: the identity
}

func newRowReader(v sim.ICCIDVariant, h *Header, cols []Column) *rowReader {
	cells := make([][]byte, len(cols))
	rr := &rowReader{variant: v, head: h, cols: cols, row: &Row{cells: &cells, blocks: make([]byte, 0, 4*maxLine)}, buf: make([]byte, 0, maxCell)}
	full := func(k kind) bool {
		return slices.ContainsFunc(cols, func(c Column) bool { return c.kind == k && c.full() })
	}
	for i := range cols {
		c := &cols[i]
		switch {
		case c.kind == accCell:
			if full(imsiCell) {
				rr.checks = append(rr.checks, check{i, -1})
			}
		case c.kind <= msisdnCell && c.lossy:
			if full(c.kind) {
				rr.checks = append(rr.checks, check{i, -1})
			} else if !slices.Contains(rr.joins, c.kind) && c.kind != msisdnCell {
				rr.joins = append(rr.joins, c.kind)
			}
		case c.kind == codeCell || c.kind == sealedCell || c.kind == kcvCell:
			with := slices.IndexFunc(cols, func(o Column) bool { return o.value(c) && o.full() })
			if with >= 0 && with != i {
				rr.checks = append(rr.checks, check{i, with})
			}
		}
	}
	return rr
}

// cards is how many cards a row of an order says that it is about, by its count
// and by what stands there of the last of them; 0 if it does not say it.
func (r *Row) cards() (n int, wrong string) {
	n = r.count
	for _, id := range []struct {
		what        string
		first, last uint64
		is, differs bool
	}{
		{"ICCID", r.ID.ICCID.Body(), r.last.ICCID.Body(), !r.last.ICCID.IsZero(), r.ID.ICCID.Digits() != r.last.ICCID.Digits()},
		{"IMSI", r.ID.IMSI.Value(), r.last.IMSI.Value(), !r.last.IMSI.IsZero(), false},
		{"MSISDN", r.ID.MSISDN.Value(), r.last.MSISDN.Value(), !r.last.MSISDN.IsZero(), false},
	} {
		switch {
		case !id.is:
			continue
		case id.differs || id.last < id.first:
			return 0, fmt.Sprintf("the last %s does not come after the first", id.what)
		case id.last-id.first >= MaxQuantity:
			return 0, fmt.Sprintf("from the first %s to the last are more than %d cards", id.what, MaxQuantity)
		}
		of := int(id.last-id.first) + 1
		if n != 0 && n != of {
			return 0, fmt.Sprintf("from the first %s to the last are %d cards, and the row says %d elsewhere", id.what, of, n)
		}
		n = of
	}
	return n, ""
}

func (r *Row) wipe() {
	clear(*r.cells)
	clear(r.blocks[:cap(r.blocks)])
}

// read reads one row, whose first line is the present one. It says whether the
// row ended as the last one does; may says that it may be the last.
func (rr *rowReader) read(s *scanner, o *Output, lines []textLine, may bool, sums sums) (last bool) {
	r := rr.row
	r.Line, r.ID, r.Serial, r.blocks = s.line, sim.Identity{}, 0, r.blocks[:0]
	before := len(s.faults)
	for n, l := range lines {
		if n > 0 && !s.next() {
			s.fault(1, "file ends within a row, want a line %s", l.pattern())
			return true
		}
		text := s.text
		sums.line(s)
		if n == len(lines)-1 && o.rows.between != "" {
			var more bool
			if text, more = bytes.CutSuffix(text, []byte(o.rows.between)); !more {
				last = true
				if !may {
					s.fault(len(text)+1, "row does not end in %q, as all but the last do", o.rows.between)
				}
			} else if o.expects && may {
				s.fault(len(text)+1, "row ends in %q, which the last one does not", o.rows.between)
			}
		}
		if o.table != nil {
			rr.table(s, text, o.table.separator)
		} else {
			rr.line(s, l, text)
		}
		if len(s.faults) > before && s.done {
			return last
		}
	}
	if len(s.faults) == before {
		rr.agree(s)
	}
	return last
}

// table reads the cells of a line: one separator between two.
func (rr *rowReader) table(s *scanner, text []byte, separator string) {
	at := 0
	for i := range rr.cols {
		if at > len(text) {
			s.fault(at, "row has %d cells, want %d", i, len(rr.cols))
			return
		}
		end := bytes.Index(text[at:], []byte(separator))
		if end < 0 {
			end = len(text) - at
		}
		if err := rr.cell(i, text[at:at+end]); err != nil {
			s.fault(at+1, "%s: %v", rr.cols[i].name, err)
		}
		at += end + len(separator)
	}
	if at <= len(text) {
		s.fault(at-len(separator)+1, "row has more than %d cells", len(rr.cols))
	}
}

// line reads the cells of a line of text.
func (rr *rowReader) line(s *scanner, l textLine, text []byte) {
	at := 0
	for i, p := range l.parts {
		if p.col == nil {
			if n := common(text[at:], p.text); n < len(p.text) {
				// Not the character that is there: it may be a digit of a key.
				s.fault(at+n+1, "found something else, want %q", p.text[n:])
				return
			}
			at += len(p.text)
			continue
		}
		end := rr.ends(p.col, text, at, l.parts[i+1:])
		if err := rr.cell(p.at, text[at:end]); err != nil {
			s.fault(at+1, "%s: %v", p.col.name, err)
		}
		at = end
	}
	if at < len(text) {
		s.fault(at+1, "row goes on, want the line's end")
	}
}

// ends is Column.ends; the contract may say how long an ICCID is.
func (rr *rowReader) ends(c *Column, text []byte, at int, rest []part) int {
	return c.ends(text, at, rest)
}

// cell reads one cell. Its errors do not show what was found.
func (rr *rowReader) cell(i int, cell []byte) (err error) {
	c, r := &rr.cols[i], rr.row
	text := cell
	if len(c.does) > 0 {
		if n := c.width(cell); n < c.least || n > c.most {
			return fmt.Errorf("has %d characters, want %s", n, c.size())
		}
		if c.lossy {
			(*r.cells)[i] = cell
			return c.wrongCharacter(cell)
		}
		if text, r.blocks, err = c.plain(r.blocks, cell); err != nil {
			return cmp.Or(c.wrongCharacter(cell), err)
		}
	}
	to := &r.ID
	if c.last {
		to = &r.last
	}
	switch c.kind {
	case iccidCell:
		var id sim.ICCID
		v := rr.variant
		if c.variant != 0 {
			v = c.variant
		}
		if id, err = parseICCID(v, text); err == nil && !to.ICCID.IsZero() && to.ICCID != id {
			err = fmt.Errorf("is not the ICCID of this row")
		}
		to.ICCID = id
	case imsiCell:
		var id sim.IMSI
		if id, err = sim.ParseIMSI(string(text)); err == nil && !to.IMSI.IsZero() && to.IMSI != id {
			err = fmt.Errorf("is not the IMSI of this row")
		}
		to.IMSI = id
	case msisdnCell:
		var id sim.MSISDN
		if id, err = sim.ParseMSISDN(string(text)); err == nil && !to.MSISDN.IsZero() && to.MSISDN != id {
			err = fmt.Errorf("is not the MSISDN of this row")
		}
		to.MSISDN = id
	case codeCell:
		err = CheckDigits(text, 4, 8)
	case sealedCell:
		if n := len(text); n != 32 && n != 64 {
			return fmt.Errorf("has %d characters, want 32 or 64", n)
		}
		text, err = rr.unhex(text)
	case kcvCell:
		if n := len(text); n != c.kcvDigits() {
			return fmt.Errorf("has %d characters, want %d", n, c.kcvDigits())
		}
		text, err = rr.unhex(text)
	case fieldCell:
		if known := rr.head.Value(c.field); known != "" && known == string(text) {
			break
		}
		if wrong := c.field.wrong(string(text)); wrong != "" {
			return fmt.Errorf("%s", wrong)
		}
		if wrong := rr.head.set(c.field, string(text)); wrong != "" {
			return fmt.Errorf("%s", wrong)
		}
	case serialCell, countCell:
		if wrong := wrongNumber(string(text), 1, MaxQuantity); wrong != "" {
			return fmt.Errorf("%s", wrong)
		}
		n, _ := strconv.Atoi(string(text))
		at := &r.Serial
		if c.kind == countCell {
			at = &r.count
		}
		if *at != 0 && *at != n {
			return fmt.Errorf("is not the %s of this row", c.name)
		}
		*at = n
	case accCell:
		if len(text) != 4 {
			return fmt.Errorf("has %d characters, want 4", len(text))
		}
		_, err = rr.unhex(text)
	default:
		err = checkWord(text)
	}
	(*r.cells)[i] = text
	return err
}

// wrongCharacter is the first character that the column's values do not have.
func (c *Column) wrongCharacter(cell []byte) error {
	for k, b := range cell {
		if !c.chars.has(b) {
			return fmt.Errorf("has a wrong character at %d", k+1)
		}
	}
	return nil
}

// unhex decodes hexadecimal digits into the row's blocks.
func (rr *rowReader) unhex(text []byte) ([]byte, error) {
	r := rr.row
	from := len(r.blocks)
	for i := 0; i+1 < len(text); i += 2 {
		high, low := nibble(text[i]), nibble(text[i+1])
		if high|low > 0xF {
			return nil, fmt.Errorf("has no hexadecimal digit 0-9 or A-F at character %d or the next", i+1)
		}
		r.blocks = append(r.blocks, high<<4|low)
	}
	return r.blocks[from:], nil
}

// agree compares what stands in the row more than once, and puts together what
// stands there in pieces.
func (rr *rowReader) agree(s *scanner) {
	for _, k := range rr.joins {
		if err := rr.join(k); err != nil {
			s.fault(1, "%v", err)
			return
		}
	}
	for _, c := range rr.checks {
		col := &rr.cols[c.at]
		var want []byte
		var err error
		switch {
		case c.with < 0:
			if want, err = appendDerived(rr.buf[:0], col, rr.variant, rr.row.Serial, rr.row.ID); err == nil {
				want, err = col.apply(want, 0)
			}
		case col.lossy:
			want, err = col.apply(append(rr.buf[:0], rr.row.Cell(c.with)...), 0)
		default:
			want = rr.row.Cell(c.with)
		}
		found := rr.row.Cell(c.at)
		if col.kind == accCell && !col.lossy && err == nil && len(col.does) > 0 {
			want, err = appendDerived(rr.buf[:0], col, rr.variant, rr.row.Serial, rr.row.ID)
		}
		if err == nil && bytes.Equal(found, want) {
			continue
		}
		if col.kind == accCell {
			s.fault(1, "%s is not the access class of the IMSI", col.name)
		} else {
			s.fault(1, "%s is not what the row says elsewhere", col.name)
		}
	}
}

// join puts an identity together from pieces. Pieces that leave some of it out
// tell no identity.
func (rr *rowReader) join(k kind) error {
	size := 15
	if k == iccidCell {
		size = len(must(appendICCID(rr.buf[:0], rr.variantOr(), sampleICCID(rr.variantOr()))))
	}
	text := rr.buf[:size]
	clear(text)
	for i := range rr.cols {
		c := &rr.cols[i]
		if c.kind != k || len(c.does) != 1 || c.does[0].size == 0 {
			continue
		}
		f := c.does[0]
		for n, b := range rr.row.Cell(i) {
			at := f.from + n
			if at >= size || text[at] != 0 && text[at] != b {
				return fmt.Errorf("%s is not what the row says elsewhere", c.name)
			}
			text[at] = b
		}
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return nil
	}
	var err error
	if k == iccidCell {
		rr.row.ID.ICCID, err = parseICCID(rr.variantOr(), text)
	} else {
		rr.row.ID.IMSI, err = sim.ParseIMSI(string(text))
	}
	return err
}

// variantOr is the contract's variant; without one ICCIDs have 19 digits here.
func (rr *rowReader) variantOr() sim.ICCIDVariant {
	for i := range rr.cols {
		if c := &rr.cols[i]; c.kind == iccidCell && c.variant != 0 {
			return c.variant
		}
	}
	if rr.variant != 0 {
		return rr.variant
	}
	return sim.Digits18 | sim.CheckDigit
}

// parseICCID reads an ICCID in a variant; the zero variant is all digits.
func parseICCID(v sim.ICCIDVariant, value []byte) (sim.ICCID, error) {
	if v == 0 {
		return sim.ParseICCID(string(value))
	}
	return v.Parse(string(value))
}

// nibble is the value of an upper case hexadecimal digit; more than 15 for
// anything else. Lower case is refused: one value, one form.
func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 0xFF
}
