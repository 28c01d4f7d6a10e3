package format

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"ankan/sim"
)

// A side is how a layout writes order files.
type side struct {
	style      string // keys or exact
	sign       byte   // between a key and its value
	prefix     string // of decoration
	decor      []string
	specs      []spec     // of keys
	head       []textLine // the same as text
	set        map[Field]string
	rule       *rule
	identities string
	rows       rowText
	sections   []section
	tail       []textLine
	receivers  bool // transport keys are those of named receivers
	expects    bool // the head states the quantity
}

// A section is a further table of the same cards in the same sequence.
type section struct {
	head []textLine
	rows rowText
}

// maxSectioned is the most cards of an order that says them in several tables: what
// the first tables say of them is kept until the last is read.
const maxSectioned = 1_000_000

// table is a table of identities, from 0.
func (o *side) table(n int) *rowText {
	if n == 0 {
		return &o.rows
	}
	return &o.sections[n-1].rows
}

// after is the text that follows a table.
func (o *side) after(n int) []textLine {
	if n < len(o.sections) {
		return o.sections[n].head
	}
	return o.tail
}

// columns are the values of all tables.
func (o *side) columns() []Column {
	all := slices.Clone(o.rows.columns)
	for _, sec := range o.sections {
		all = append(all, sec.rows.columns...)
	}
	return all
}

// A spec is a line of a head of keys.
type spec struct {
	text  string // what stands before the value
	key   string
	field Field
	col   *Column
	need  bool
	reply bool // responses only
}

// The ways in which an order says its identities.
const (
	idFirst  = "first"         // one row: the first of as many as the quantity
	idList   = "list"          // a row for each
	idEither = "first or list" // one row, or as many as the quantity
	idRanges = "ranges"        // rows with a first one and a count
)

func (o *side) keys() bool { return o != nil && o.style == "keys" }

// side reads the order's part of a layout.
func (c *compiler) side(f *orderDoc) *side {
	o := &side{style: f.Style, sign: ':', prefix: f.Decoration, identities: f.Identities, set: map[Field]string{}}
	const path = "$.order"
	if o.style != "keys" && o.style != "exact" {
		c.fault(path+".style", "is %.20q, want keys (KEY: VALUE in any sequence) or exact (the text as it is)", f.Style)
	}
	if !slices.Contains([]string{idFirst, idList, idEither, idRanges}, f.Identities) {
		c.fault(path+".identities", "is %.20q, want %s, %s, %s or %s", f.Identities, idFirst, idList, idEither, idRanges)
	}
	for name, value := range f.Set {
		field := Field(name)
		if !field.known() || field == Quantity {
			c.fault(path+".set", "%s is no value to set", shown(name))
		} else if wrong := field.wrong(value); wrong != "" {
			c.fault(path+".set", "%s %s", name, wrong)
		}
		o.set[field] = value
	}
	before := len(c.faults)
	o.rule = c.rule(path+".file", f.File, true)
	marks := []Field{}
	if o.keys() {
		marks = append(marks, fieldInput)
	}
	o.head = c.lines(path+".head", f.Head, headValue(marks...))
	o.tail = c.lines(path+".tail", f.Tail, tailValue)
	if f.Row == "" {
		c.fault(path, "has no row of identities")
		return o
	}
	o.rows = c.rowOf(path, f.Row, f.Between, rowValue(true))
	for i, sec := range f.Sections {
		at := fmt.Sprintf("%s.sections[%d]", path, i)
		o.sections = append(o.sections, section{c.lines(at+".head", sec.Head, tailValue), c.rowOf(at, sec.Row, "", rowValue(true))})
	}
	if len(c.faults) > before {
		return o
	}
	if o.keys() {
		c.specs(path+".head", o)
	}
	o.check(c, path)
	return o
}

// specs takes the keys of a head.
func (c *compiler) specs(path string, o *side) {
	seen := map[string]bool{}
	for _, l := range o.head {
		if len(l.parts) == 2 && l.parts[0].col == nil {
			if text := strings.TrimRight(l.parts[0].text, blanks); text != "" && strings.IndexByte(signs, text[len(text)-1]) >= 0 {
				o.sign = text[len(text)-1]
				break
			}
		}
	}
	for i, l := range o.head {
		n := len(l.parts)
		if n == 0 || n == 1 && l.parts[0].col == nil {
			if n == 1 {
				o.decor = append(o.decor, strings.Trim(l.parts[0].text, blanks))
			}
			continue
		}
		key, before, colon := "", "", false
		if l.parts[0].col == nil {
			key, before, colon = strings.Cut(l.parts[0].text, string(o.sign))
		}
		if n != 2 || l.parts[1].col == nil || !colon || strings.Trim(before, blanks) != "" || strings.Trim(key, blanks) == "" {
			c.fault(path, "has a line %s, want KEY%c ${value}: one key, one sign that is the same in all lines (one of %s), one value", l.pattern(), o.sign, signs)
			continue
		}
		col := l.parts[1].col
		s := spec{text: l.parts[0].text, key: strings.Trim(key, blanks), field: col.field, col: col, need: !l.optional && !l.only, reply: l.only}
		if seen["key "+strings.ToLower(s.key)] || seen["value "+string(s.field)] {
			c.fault(path, "has %s twice", s.key)
		}
		seen["key "+strings.ToLower(s.key)], seen["value "+string(s.field)] = true, true
		if col.blank() {
			c.fault(path, "has a line %s that fills with blanks, which are free around values here; take another character, or style exact", l.pattern())
		}
		if s.field == fieldInput && i != len(o.head)-1 {
			c.fault(path, "has lines after ${input}, which ends it")
		}
		o.specs = append(o.specs, s)
	}
	for _, l := range o.rows.lines {
		if o.lineKey(l) != "" && l.parts[1].col.blank() {
			c.fault("$.order.row", "has a line %s that fills with blanks, which are free around values here; take another character, or style exact", l.pattern())
		}
	}
	if o.marker() == "" && o.rowKey() == "" {
		c.fault(path, "ends nowhere: want a line KEY: ${input}, or rows that start with KEY:")
	}
}

// check refuses an order side that could not be read, or would not say what an
// order must.
func (o *side) check(c *compiler, path string) {
	o.expects = has(o.head, Quantity)
	for _, f := range []Field{Quantity, ProfileName, Batch} {
		if has(o.head, f) || o.set[f] != "" || o.rule != nil && o.rule.has(f) || f == Quantity && (o.identities == idList || o.identities == idRanges) {
			continue
		}
		if f == Quantity && o.identities == idFirst && (has(o.rows.lines, f) || has(o.tail, f) || o.last()) {
			continue
		}
		if f != Quantity && has(o.rows.lines, f) {
			continue
		}
		c.fault(path+".head", "says no %s; if files do not say it, put it into set, or take it from the file's name", f)
	}
	at := func(f Field) bool {
		return has(o.head, f) || o.set[f] != "" || o.rule != nil && o.rule.has(f) || has(o.rows.lines, f)
	}
	if !at(TransportKey) {
		for _, l := range o.head {
			for _, p := range l.parts {
				o.receivers = o.receivers || p.col != nil && p.col.field.base() == TransportKey
			}
		}
		for f := range o.set {
			o.receivers = o.receivers || f.base() == TransportKey
		}
		if !o.receivers {
			c.fault(path+".head", "says no transport_key: keys would not be encrypted, which is refused; if files do not say it, put it into set")
		}
	}
	full := func(k kind) bool {
		return slices.ContainsFunc(o.columns(), func(c Column) bool { return c.kind == k && c.full() && !c.last })
	}
	for i, sec := range o.sections {
		at := fmt.Sprintf("%s.sections[%d]", path, i)
		switch {
		case o.keys() || o.identities != idList || o.rows.between != "":
			c.fault(at, "is for orders of style exact that list identities, with nothing between the rows")
		case len(sec.rows.lines) == 0 || len(sec.rows.columns) == 0:
			c.fault(at+".row", "says nothing of a card")
		case literal(sec.head) == "" || strings.HasPrefix(literal(o.table(i).lines), literal(sec.head)):
			c.fault(at+".head", "could be taken for a row of what stands above it; start it with other characters")
		}
	}
	if !full(iccidCell) || !full(imsiCell) {
		c.fault(path+".row", "has not both iccid and imsi in full")
	}
	if counts := full(countCell) || o.last(); o.identities == idRanges && !counts {
		c.fault(path+".row", "does not say how many cards a range has: want ${count}, or its last number, such as ${iccid | last}")
	} else if full(countCell) && o.identities != idRanges || o.last() && o.identities != idFirst && o.identities != idRanges {
		c.fault(path+".row", "says how many cards a row has, and identities are %s: want ranges", o.identities)
	}
	for _, col := range o.rows.columns {
		if col.last && (col.lossy || !full(col.kind)) {
			c.fault(path+".row", "has a part of the last %s, or not the first; want both in full", col.name)
		}
		if col.field == Quantity && o.identities != idFirst {
			c.fault(path+".row", "says the quantity, which stands in a row only where identities are first")
		}
	}
	if o.prefix != "" && !o.keys() {
		for _, text := range []string{literal(o.rows.lines), literal(o.tail)} {
			if strings.HasPrefix(text, o.prefix) {
				c.fault(path+".decoration", "is what rows or the tail start with: they would be taken for it")
			}
		}
		if literal(o.rows.lines) == "" && len(o.rows.lines[0].parts) > 0 && o.rows.lines[0].parts[0].col.chars.has(o.prefix[0]) {
			c.fault(path+".decoration", "may stand in front of a row's first value too: it could not be told apart")
		}
		if find(o.tail, func(c *Column) bool { return c.kind == linesCell }) != nil {
			c.fault(path+".tail", "counts lines, of which decoration may bring more; leave out one of them")
		}
	}
	for _, l := range o.rows.lines {
		if l.optional || l.only {
			c.fault(path+".row", "has a line that may be left out; a row is always the same")
		}
	}
	if first := literal(o.tail); len(o.tail) > 0 && o.rows.between == "" && o.identities != idFirst && (first == "" || strings.HasPrefix(literal(o.table(len(o.sections)).lines), first)) {
		c.fault(path+".tail", "could be taken for a row; start it with other characters than a row")
	}
	for _, l := range slices.Concat(o.head, o.tail) {
		if l.only && !o.keys() {
			c.fault(path+".head", "has a value with >, which style keys alone knows")
		}
	}
}

// last says that a row says which its last number is.
func (o *side) last() bool {
	return slices.ContainsFunc(o.rows.columns, func(c Column) bool { return c.last })
}

// blank says that the value is filled with blanks.
func (c *Column) blank() bool {
	return slices.ContainsFunc(c.does, func(f function) bool { return f.blank })
}

// marker is the key that opens the input variables; "" if no line does.
func (o *side) marker() string {
	if n := len(o.specs); n > 0 && o.specs[n-1].field == fieldInput {
		return o.specs[n-1].key
	}
	return ""
}

// rowKey is the key that a row starts with; "" if it starts with none.
func (o *side) rowKey() string { return o.lineKey(o.rows.lines[0]) }

// signs are what may stand between a key and its value.
const signs = ":=;|,>~"

// lineKey is the key of a row's line KEY: ${value}; "" for another line.
func (o *side) lineKey(l textLine) string {
	if len(l.parts) != 2 || l.parts[0].col != nil || l.parts[1].col == nil {
		return ""
	}
	key, rest, colon := strings.Cut(l.parts[0].text, string(o.sign))
	if !colon || strings.Trim(rest, blanks) != "" {
		return ""
	}
	return strings.Trim(key, blanks)
}

func (o *side) find(f Field) *spec {
	for i := range o.specs {
		if o.specs[i].field == f {
			return &o.specs[i]
		}
	}
	return nil
}

func (o *side) findKey(key string) *spec {
	for i := range o.specs {
		if strings.EqualFold(o.specs[i].key, key) {
			return &o.specs[i]
		}
	}
	return nil
}

// quantityKey is what people call the quantity in an order.
func (o *side) quantityKey() string {
	if s := o.find(Quantity); s != nil {
		return s.key
	}
	return string(Quantity)
}

// decoration says whether text is a line without meaning.
func (l *Layout) decoration(text string) bool {
	text = strings.Trim(text, blanks)
	if text == "" || l.order.prefix != "" && strings.HasPrefix(text, l.order.prefix) {
		return true
	}
	if slices.Contains(l.order.decor, text) {
		return true
	}
	for _, o := range l.outputs {
		for _, line := range o.head {
			if o.echo && len(line.parts) == 1 && line.parts[0].col == nil && strings.Trim(line.parts[0].text, blanks) == text {
				return true
			}
		}
	}
	return false
}

// ---- reading

// A Run is identities that count on together from a first one.
type Run struct {
	First sim.Identity
	Count int
}

// An Order is an order file that is read, without its identities.
type Order struct {
	*Header
	List    bool // the file lists each identity, or several ranges
	variant sim.ICCIDVariant
	around  []around   // how the lines of a row are written
	between [][]string // lines above the tables after the first
	trailer []string   // lines at the end
}

// around is what stands before and after the value of an input variable.
type around struct{ before, after string }

// ReadOrder reads an order file and gives its identities in the file's sequence
// as runs; memory does not grow with them. They count only when the error is nil.
// Its own errors are Faults, or that of r; an error of each ends reading and is
// returned, with the order so far. The order's quantity is the sum of the runs.
func (rd Reading) ReadOrder(name string, r io.Reader, each func(Run) error) (*Order, error) {
	s := scan(name, r, rd.MaxBytes)
	s.of(rd.Layout)
	if rd.Layout != nil && rd.Layout.order == nil {
		return nil, fmt.Errorf("%s: layout %s has no order files; want another one", name, rd.Layout.name)
	}
	o := &Order{variant: rd.Variant, Header: readHeader(s, rd.Layout, path.Base(name), false)}
	var err error
	if o.Header != nil {
		o.decorations(s)
		err = o.readIdentities(s, each)
	}
	if refused := s.err(); refused != nil {
		return nil, refused
	}
	return o, err
}

func (o *Order) readIdentities(s *scanner, each func(Run) error) error {
	side := o.layout.order
	quantity := MaxQuantity
	if side.expects && len(s.faults) == 0 {
		quantity = o.Quantity()
	}
	rr := newRowReader(o.variant, o.Header, side.rows.columns)
	o.around = make([]around, len(side.rows.lines))
	what := "rows of identities"
	if side.keys() && side.rowKey() != "" {
		what = "pairs of input variables"
	}
	var first Run
	give := func(r Run) error {
		if len(s.faults) > 0 {
			return nil
		}
		if r.Count > 1 {
			if _, err := sim.NewIdentityRange(r.First, uint64(r.Count)); err != nil {
				s.faultAt(rr.row.Line, 1, "%v", err)
				return nil
			}
		}
		return each(r)
	}
	rows, cards, start := 0, 0, 0
	ended := false
	sums := newSums(side.tail)
	var held []Run // the first table's identities, with their lines, while others follow
	for !ended && s.next() {
		s.hold()
		if rows > 0 && o.endsRows(string(s.text), 0) {
			break
		}
		if rows == max(quantity, 1) || rows == 1 && side.identities == idFirst {
			if side.identities == idFirst {
				break // the tail says what is wrong
			}
			s.stop(1, "more than %d %s, want %s", rows, what, o.wants(quantity))
			return nil
		}
		before := len(s.faults)
		if !side.readRow(s, rr, &side.rows, o.around, sums) {
			break
		}
		ended = rr.ended
		run := Run{First: rr.row.ID, Count: 1}
		if serial := rr.row.Serial; serial != 0 && serial != rows+1 {
			s.faultAt(rr.row.Line, 1, "serial is %d, want %d", serial, rows+1)
		}
		told := 0 // cards of the row, if it says so
		if len(s.faults) == before {
			var wrong string
			if told, wrong = rr.row.cards(); wrong != "" {
				s.faultAt(rr.row.Line, 1, "%s", wrong)
			}
		}
		if side.identities == idRanges {
			run.Count = max(told, 1)
		}
		if cards += run.Count; cards > MaxQuantity {
			s.stop(1, "more than %d cards", MaxQuantity)
			return nil
		}
		rows++
		if id := run.First; rows == 1 {
			start, first, cards = rr.row.Line, run, max(told, 1)
			if side.identities == idFirst && told > 0 && len(s.faults) == 0 {
				if wrong := o.set(Quantity, strconv.Itoa(told)); wrong != "" {
					s.faultAt(start, 1, "the row is of %d cards, which %s: %s", told, wrong, o.Value(Quantity))
				}
			}
		} else if a, b := first.First.ICCID.Digits(), id.ICCID.Digits(); a != b && a != 0 && b != 0 {
			s.faultAt(rr.row.Line+rr.at, rr.column, "ICCID has %d digits, want %d as the first", b, a)
		}
		// The first row is a range by itself if no other follows.
		if rows == 1 && side.identities != idList && side.identities != idRanges {
			continue
		}
		if len(side.sections) > 0 {
			if held = append(held, Run{run.First, rr.row.Line}); len(held) > maxSectioned {
				s.stop(1, "more than %d cards in an order of several tables", maxSectioned)
				return nil
			}
			continue
		}
		if rows == 2 && side.identities == idEither {
			if err := give(first); err != nil {
				return err
			}
		}
		if err := give(run); err != nil {
			return err
		}
	}
	for n := range side.sections {
		o.readSection(s, n, held, sums)
	}
	if side.identities != idFirst && !side.expects && rows > 0 && len(s.faults) == 0 {
		o.set(Quantity, strconv.Itoa(cards)) // a tail that says another is wrong
	}
	o.readTrailer(s, sums, rows)
	if len(s.faults) > 0 || s.failed != nil {
		return nil
	}
	if side.identities == idFirst && rows > 0 {
		if quantity = o.Quantity(); quantity == 0 {
			s.fault(1, "file ends and has no %s", Quantity)
			return nil
		}
	}
	for _, h := range held {
		if a, b := held[0].First.ICCID.Digits(), h.First.ICCID.Digits(); a != b {
			s.faultAt(h.Count, 1, "ICCID has %d digits, want %d as the first", b, a)
		}
		if err := give(Run{h.First, 1}); err != nil {
			return err
		}
	}
	switch {
	case rows == 0:
		var names []string
		for _, c := range side.rows.lines {
			names = append(names, cmp.Or(side.lineKey(c), "a line "+c.pattern()))
		}
		s.fault(1, "file ends and has no %s", strings.Join(names, " and "))
	case rows == 1 && (side.identities == idFirst || side.identities == idEither):
		first.Count, cards = quantity, quantity
		rr.row.Line = start
		if err := give(first); err != nil {
			return err
		}
	case side.expects && cards != quantity:
		s.fault(1, "%d %s, want %s", cards, what, o.wants(quantity))
	default:
		o.List = true
	}
	o.complete(s)
	return nil
}

// wants says how many rows there must be.
func (o *Order) wants(quantity int) string {
	side := o.layout.order
	switch {
	case !side.expects:
		return fmt.Sprintf("at most %d", MaxQuantity)
	case side.identities == idEither:
		return fmt.Sprintf("one, or %d (%s)", quantity, side.quantityKey())
	}
	return fmt.Sprintf("%d (%s)", quantity, side.quantityKey())
}

// readSection reads a table after the first: what it says of the cards goes to them.
func (o *Order) readSection(s *scanner, n int, held []Run, sums sums) {
	if len(s.faults) > 0 || s.failed != nil {
		return
	}
	sec := &o.layout.order.sections[n]
	var head []string
	for _, l := range o.tail(s, sec.head, sums, len(held)) {
		head = append(head, l.text)
	}
	o.between = append(o.between, head)
	rr := newRowReader(o.variant, o.Header, sec.rows.columns)
	for i := range held {
		more := s.next()
		if more {
			s.hold()
		}
		if !more || o.endsRows(string(s.text), n+1) {
			if s.failed == nil && len(s.faults) == 0 {
				s.fault(1, "%d rows in this table, want %d as in the first", i, len(held))
			}
			return
		}
		before := len(s.faults)
		if !o.layout.order.readRow(s, rr, &sec.rows, make([]around, len(sec.rows.lines)), sums) {
			return
		}
		id, has := &held[i].First, rr.row.ID
		switch {
		case len(s.faults) > before:
		case rr.row.Serial != 0 && rr.row.Serial != i+1:
			s.faultAt(rr.row.Line, 1, "serial is %d, want %d", rr.row.Serial, i+1)
		case !has.ICCID.IsZero() && !id.ICCID.IsZero() && has.ICCID != id.ICCID:
			s.faultAt(rr.row.Line, 1, "ICCID is not that of line %d", held[i].Count)
		case !has.IMSI.IsZero() && !id.IMSI.IsZero() && has.IMSI != id.IMSI:
			s.faultAt(rr.row.Line, 1, "IMSI is not that of line %d", held[i].Count)
		case !has.MSISDN.IsZero() && !id.MSISDN.IsZero() && has.MSISDN != id.MSISDN:
			s.faultAt(rr.row.Line, 1, "MSISDN is not that of line %d", held[i].Count)
		default:
			id.ICCID, id.IMSI, id.MSISDN = cmp.Or(id.ICCID, has.ICCID), cmp.Or(id.IMSI, has.IMSI), cmp.Or(id.MSISDN, has.MSISDN)
		}
	}
}

// endsRows says that a line is not of a row of a table any more.
func (o *Order) endsRows(text string, table int) bool {
	side := o.layout.order
	if (side.keys() || o.free) && o.layout.decoration(text) {
		return true
	}
	first := literal(side.after(table))
	return first != "" && side.rows.between == "" && strings.HasPrefix(text, first)
}

// readRow reads the lines of one row; false if the file ends before, or reading
// stops.
func (o *side) readRow(s *scanner, rr *rowReader, rows *rowText, lay []around, sums sums) bool {
	r := rr.row
	r.ID, r.last, r.Serial, r.count, r.blocks = sim.Identity{}, sim.Identity{}, 0, 0, r.blocks[:0]
	before := len(s.faults)
	rr.ended = false
	for n, l := range rows.lines {
		if !s.next() {
			if n > 0 && len(s.faults) == 0 {
				s.fault(1, "file ends and has no %s to this %s", cmp.Or(o.lineKey(l), l.pattern()), cmp.Or(o.rowKey(), "row"))
			}
			return false
		}
		if n == 0 {
			r.Line = s.line
		}
		sums.line(s)
		text := s.text
		if n == len(rows.lines)-1 && rows.between != "" {
			var more bool
			text, more = bytes.CutSuffix(text, []byte(rows.between))
			rr.ended = !more
		}
		if key := o.lineKey(l); o.keys() && key != "" {
			at, value := lay[n].variable(s, text, key, o.sign)
			if value == nil {
				continue
			}
			if err := rr.cell(l.parts[1].at, value); err != nil {
				s.fault(at+1, "%v", err)
			}
			if l.parts[1].col.kind == iccidCell {
				rr.at, rr.column = n, at+1
			}
			continue
		}
		for k, p := range l.parts {
			if p.col != nil && p.col.kind == iccidCell {
				rr.at, rr.column = n, 1
				_ = k
			}
		}
		if len(l.parts) > 0 && l.parts[0].col == nil && !l.starts(text) {
			s.stop(1, "line does not start with %q, as a row does", l.parts[0].text)
			return false
		}
		rr.line(s, l, text)
	}
	if len(s.faults) == before {
		rr.agree(s)
	}
	return true
}

// variable finds the value of an input variable on a line KEY: VALUE.
func (lay *around) variable(s *scanner, text []byte, want string, sign byte) (at int, value []byte) {
	if lay.before != "" {
		rest, ok := bytes.CutPrefix(text, []byte(lay.before))
		if ok {
			rest, ok = bytes.CutSuffix(rest, []byte(lay.after))
		}
		if ok && len(bytes.Trim(rest, blanks)) == len(rest) {
			return len(lay.before), rest
		}
	}
	key, at, end, ok := split(text, sign)
	switch {
	case !ok || !strings.EqualFold(key, want):
		s.stop(1, "line is not %s%c and a number", want, sign)
	case lay.before != "":
		s.fault(1, "%s is written with other blanks or letters than the first", want)
	case at == end:
		s.fault(at+1, "%s is empty", want)
		lay.before = string(text)
	default:
		lay.before, lay.after = string(text[:at]), string(text[end:])
		return at, text[at:end]
	}
	return 0, nil
}

// readTrailer reads what follows the input variables: decoration, or the tail.
func (o *Order) readTrailer(s *scanner, sums sums, rows int) {
	side := o.layout.order
	if !side.keys() || len(side.tail) > 0 {
		if len(s.faults) > 0 || s.failed != nil {
			return
		}
		tail := o.tail(s, side.tail, sums, rows)
		if side.identities == idFirst {
			o.keep(tail) // of a list, whose head alone is read again, the head says all
		}
		if o.free && len(s.faults) == 0 {
			from := len(o.lines)
			o.decorations(s)
			tail = append(tail, o.lines[from:]...)
			o.lines = slices.Delete(o.lines, from, len(o.lines))
		}
		for _, l := range tail {
			o.trailer = append(o.trailer, l.text)
		}
		if len(s.faults) == 0 && s.failed == nil && s.next() {
			s.stop(1, "more follows the file's end")
		}
		return
	}
	output := ""
	if len(o.layout.outputs) > 0 {
		output = o.layout.outputs[0].key()
	}
	for s.next() {
		text := string(s.text)
		switch key, _, _, ok := split(text, side.sign); {
		case ok && output != "" && strings.EqualFold(key, output):
			s.stop(1, "%s belongs in a response, not in an order: the contract names the columns", output)
		case !o.layout.decoration(text):
			s.stop(1, "line after the input variables is not decoration")
		case len(o.trailer) == maxHeader:
			s.stop(1, "more than %d lines after the input variables", maxHeader)
		}
		if i := badByte(text); i >= 0 {
			s.fault(i+1, "%s", badByteText(text[i:], false))
		}
		o.trailer = append(o.trailer, text)
	}
}

// ---- writing

// Tables is how many tables say the order's identities: one, or more where each says
// something else of the same cards.
func (o *Order) Tables() int { return 1 + len(o.between) }

// AppendHead appends what stands above a table of identities, from 0, as it was
// read.
func (o *Order) AppendHead(dst []byte, table int) ([]byte, error) {
	from := len(dst)
	if table > 0 {
		for _, text := range o.between[table-1] {
			dst = append(append(dst, text...), o.newline...)
		}
		return o.layout.coding.encode(dst, from)
	}
	dst, err := o.Header.AppendText(o.layout.coding.begin(dst))
	if err != nil {
		return dst, err
	}
	return o.layout.coding.encode(dst, from)
}

// AppendRun appends one row of a table as it was read; last says that no other
// follows. serial is the row's number, from 1.
func (o *Order) AppendRun(dst []byte, table, serial int, r Run, last bool) ([]byte, error) {
	from := len(dst)
	dst, err := o.layout.order.appendRow(dst, table, o.Header, r, serial, o.variant, o.around)
	if err != nil {
		return dst, err
	}
	if between := o.layout.order.rows.between; between != "" && !last {
		end := len(dst) - len(o.newline)
		dst = append(append(dst[:end], between...), o.newline...)
	}
	if last && table+1 == o.Tables() && len(o.trailer) == 0 && o.layout.open {
		dst = dst[:len(dst)-len(o.newline)]
	}
	return o.layout.coding.encode(dst, from)
}

// AppendTail appends what follows the identities, as it was read.
func (o *Order) AppendTail(dst []byte) []byte {
	from := len(dst)
	for _, text := range o.trailer {
		dst = append(append(dst, text...), o.newline...)
	}
	if o.layout.open && len(o.trailer) > 0 {
		dst = dst[:len(dst)-len(o.newline)]
	}
	return must(o.layout.coding.encode(dst, from)) // it was decoded
}

// appendRow appends a row of identities. lay, which may be nil, says how the file
// writes the lines KEY: VALUE.
func (o *side) appendRow(dst []byte, table int, h *Header, run Run, serial int, v sim.ICCIDVariant, lay []around) ([]byte, error) {
	for n, l := range o.table(table).lines {
		free := o.keys() && o.lineKey(l) != "" && lay != nil && lay[n].before != ""
		if free {
			dst = append(dst, lay[n].before...)
		}
		for _, p := range l.parts {
			if p.col == nil {
				if !free {
					dst = append(dst, p.text...)
				}
				continue
			}
			from := len(dst)
			var err error
			switch {
			case p.col.kind == fieldCell:
				dst = append(dst, h.Value(p.col.field)...)
			case p.col.kind == countCell:
				dst = strconv.AppendInt(dst, int64(run.Count), 10)
			case p.col.last:
				var span sim.IdentityRange
				if span, err = sim.NewIdentityRange(run.First, uint64(run.Count)); err == nil {
					dst, err = appendDerived(dst, p.col, v, serial, span.At(span.Len()-1))
				}
			default:
				dst, err = appendDerived(dst, p.col, v, serial, run.First)
			}
			if err == nil {
				dst, err = p.col.apply(dst, from)
			}
			if err != nil {
				return dst, err
			}
		}
		if free {
			dst = append(dst, lay[n].after...)
		}
		dst = append(dst, h.newline...)
	}
	return dst, nil
}

// AppendOrder appends a whole order file of one range as the layout has it, which
// a Reading reads again, and the name that the layout wants it to have; "" if it
// does not say. fields are without Quantity.
func (l *Layout) AppendOrder(dst []byte, fields map[Field]string, run Run, v sim.ICCIDVariant) (_ []byte, name string, err error) {
	side := l.order
	if side == nil {
		return dst, "", fmt.Errorf("layout %s has no order files", l.name)
	}
	all := maps.Clone(fields)
	if all == nil {
		all = map[Field]string{}
	}
	all[Quantity] = strconv.Itoa(run.Count)
	for f := range fields {
		if f == Quantity || !l.Says(f) {
			return dst, "", fmt.Errorf("%s has no field %s to set", l.name, f)
		}
	}
	h := &Header{layout: l, newline: l.newline, more: all}
	value := func(c *Column) (string, error) { return all[c.field], nil }
	if side.rule != nil {
		b, err := appendText(nil, []textLine{side.rule.text}, "", value)
		if err != nil {
			return dst, "", fmt.Errorf("name of the order: %w", err)
		}
		name = string(b)
	}
	start := len(dst)
	dst = l.coding.begin(dst)
	if side.keys() {
		dst = side.appendKeys(dst, all, l.newline)
	} else if dst, err = appendText(dst, side.head, l.newline, value); err != nil {
		return dst, name, err
	}
	sums := newSums(side.tail)
	rows := 0
	row := func(table int, r Run, serial int, last bool) (err error) {
		if table == 0 {
			rows++
		}
		from := len(dst)
		dst, err = side.appendRow(dst, table, h, r, serial, v, nil)
		if err == nil && side.rows.between != "" && !last {
			dst = append(append(dst[:len(dst)-len(l.newline)], side.rows.between...), l.newline...)
		}
		if err == nil && (sums.crc != nil || sums.sha != nil) {
			var text []byte
			if text, err = l.coding.encode(bytes.Clone(dst[from:]), 0); err == nil {
				sums.add(text)
			}
		}
		return err
	}
	if side.identities == idList {
		span, err := sim.NewIdentityRange(run.First, uint64(run.Count))
		if err != nil {
			return dst, name, err
		}
		for table := range len(side.sections) + 1 {
			if table > 0 {
				told := func(c *Column) (string, error) {
					if c.kind == fieldCell {
						return all[c.field], nil
					}
					return sums.value(c, rows, 0), nil
				}
				if dst, err = appendText(dst, side.sections[table-1].head, l.newline, told); err != nil {
					return dst, name, err
				}
			}
			for i, id := range span.All() {
				if err := row(table, Run{id, 1}, int(i)+1, i+1 == span.Len()); err != nil {
					return dst, name, err
				}
			}
		}
	} else if err := row(0, run, 1, true); err != nil {
		return dst, name, err
	}
	lines := bytes.Count(dst[start:], []byte{'\n'}) + len(side.tail)
	dst, err = appendText(dst, side.tail, l.newline, func(c *Column) (string, error) {
		if c.kind == fieldCell {
			return all[c.field], nil
		}
		return sums.value(c, rows, lines), nil
	})
	if err != nil {
		return dst, name, err
	}
	if l.open {
		dst = dst[:len(dst)-len(l.newline)]
	}
	dst, err = l.coding.encode(dst, start)
	return dst, name, err
}

// appendKeys appends a head of keys, with the lines whose values are there. What is
// wrong with values is for the reader to say, with its place.
func (o *side) appendKeys(dst []byte, fields map[Field]string, newline string) []byte {
	for _, l := range o.head {
		text, there := []byte(nil), true
		for _, p := range l.parts {
			if p.col == nil {
				text = append(text, p.text...)
			} else if p.col.field != fieldInput {
				var v string
				v, there = fields[p.col.field]
				from := len(text)
				if changed, err := p.col.apply(append(text, v...), from); err == nil {
					text = changed
				} else {
					text = append(text[:from], v...)
				}
			}
		}
		if there {
			dst = append(append(dst, text...), newline...)
		}
	}
	return dst
}

// KeyOf is what people call a field in order files of this layout.
func (l *Layout) KeyOf(f Field) string {
	if l.order != nil {
		if s := l.order.find(f); s != nil {
			return s.key
		}
	}
	return string(f)
}

// Says says whether orders of this layout have a field: in their lines, in their name,
// or because the layout sets it.
func (l *Layout) Says(f Field) bool {
	o := l.order
	return o != nil && (o.set[f] != "" || has(o.head, f) || has(o.rows.lines, f) || has(o.tail, f) || o.rule != nil && o.rule.has(f))
}

// Ranges says that a row of an order is a range, though it may be of one card.
func (l *Layout) Ranges() bool { return l.order != nil && l.order.identities == idRanges }

// NamesOrders says that values of an order stand in its file's name.
func (l *Layout) NamesOrders() bool { return l.order != nil && l.order.rule != nil }
