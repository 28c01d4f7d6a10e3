// Package format reads and writes the order and response files of the trade. How
// a partner lays its files out is a document, a Layout, over typed values: there
// is no code for any of them. A layout says how a file is written and what may
// stand in one that comes in, so that a file that was read is written again as it
// was, byte by byte, and no two files say the same. It does no IO of its own.
package format

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"ankan/document"
)

// A Layout is how one partner's files are laid out. Parse makes it; it does not
// change, and many may use it.
type Layout struct {
	name, about string
	newline     string
	coding      coding
	open        bool  // the last line of a file has no end
	order       *side // nil: it has no order files
	outputs     []*Output
	columns     []Column // that it defines by name
}

// An Output is one kind of file that answers an order. A layout may have several:
// each has columns of its own.
type Output struct {
	layout  *Layout
	name    string
	rule    *rule // of the file's name
	most    int   // rows of a file; 0: all in one
	echo    bool  // begins as the order did
	head    []textLine
	table   *table // the columns may be chosen
	rows    rowText
	tail    []textLine
	expects bool // the head states the quantity
}

// A table is rows of chosen columns.
type table struct{ join, separator string }

// A rowText is the text of a row: one line or more. between stands at the end of
// all but the last row.
type rowText struct {
	lines   []textLine
	columns []Column
	between string
}

// A textLine is a line of a layout: literal parts and values in turn.
type textLine struct {
	parts    []part
	optional bool // only if its value is there
	only     bool // only in a response
}

// A part is literal text, or a value. In rows, at is its place among the columns.
type part struct {
	text string
	col  *Column
	at   int
}

// layoutDoc is the document.
type layoutDoc struct {
	Layout  string      `yaml:"layout"`
	About   string      `yaml:"about"`
	Newline string      `yaml:"newline"`
	Text    string      `yaml:"text"`
	Last    string      `yaml:"last_line"`
	Columns []string    `yaml:"columns"`
	Order   *orderDoc   `yaml:"order"`
	Outputs []outputDoc `yaml:"outputs"`
}

type orderDoc struct {
	File       string            `yaml:"file"`
	Style      string            `yaml:"style"`
	Decoration string            `yaml:"decoration"`
	Set        map[string]string `yaml:"set"`
	Head       string            `yaml:"head"`
	Identities string            `yaml:"identities"`
	Row        string            `yaml:"row"`
	Between    string            `yaml:"between"`
	Sections   []sectionDoc      `yaml:"sections"`
	Tail       string            `yaml:"tail"`
}

type sectionDoc struct {
	Head string `yaml:"head"`
	Row  string `yaml:"row"`
}

type outputDoc struct {
	Name    string    `yaml:"name"`
	File    string    `yaml:"file"`
	MaxRows int       `yaml:"max_rows"`
	Echo    bool      `yaml:"echo"`
	Head    string    `yaml:"head"`
	Row     string    `yaml:"row"`
	Table   *tableDoc `yaml:"table"`
	Between string    `yaml:"between"`
	Tail    string    `yaml:"tail"`
}

type tableDoc struct {
	Join      string   `yaml:"join"`
	Separator string   `yaml:"separator"`
	Columns   []string `yaml:"columns"`
}

// Parse reads a layout. Its errors are Faults with their places. No layout can
// express a key of a card in clear.
func Parse(name string, doc []byte) (*Layout, error) {
	f := new(layoutDoc)
	tree, err := document.Read(name, doc, f)
	if err != nil {
		fault := Fault{File: name, Line: 1, Column: 1, Text: err.Error()}
		var at *document.Error
		if errors.As(err, &at) {
			fault = Fault(*at)
			fault.Text += indented(string(doc), at.Line)
		}
		return nil, Faults{&fault}
	}
	c := &compiler{name: name, tree: tree, text: strings.Split(string(doc), "\n"), l: &Layout{newline: "\n"}}
	c.layout(f)
	if len(c.faults) > 0 {
		return nil, c.faults
	}
	return c.l, nil
}

// indented explains what is wrong near a line of a document if it is that a text
// ends early: YAML takes the indentation of a text from its first line.
func indented(doc string, near int) string {
	depth := func(l string) int { return len(l) - len(strings.TrimLeft(l, " ")) }
	lines := strings.Split(doc, "\n")
	for at := min(near, len(lines)) - 1; at > 0; at-- {
		key := strings.TrimRight(lines[at-1], " ")
		if !strings.HasSuffix(key, "|") {
			continue
		}
		first := lines[at]
		for _, l := range lines[at:min(near+1, len(lines))] {
			if d := depth(l); d < depth(first) && d > depth(key) {
				return fmt.Sprintf("; the text under line %d starts with blanks: write |2 in the place of |, and indent its lines by two", at)
			}
		}
		return ""
	}
	return ""
}

// Name is the layout's name as contracts write it.
func (l *Layout) Name() string { return l.name }

// About is what the layout is, in a line.
func (l *Layout) About() string { return l.about }

// Orders says whether the layout has order files.
func (l *Layout) Orders() bool { return l.order != nil }

// Outputs are the kinds of files that answer an order; none for a layout of
// orders alone.
func (l *Layout) Outputs() []*Output { return slices.Clone(l.outputs) }

// Output finds an output by its name.
func (l *Layout) Output(name string) (*Output, error) {
	var names []string
	for _, o := range l.outputs {
		if o.name == name {
			return o, nil
		}
		names = append(names, o.name)
	}
	return nil, fmt.Errorf("layout %s has no output %q, want one of %s", l.name, name, strings.Join(names, ", "))
}

// Name is the output's name: one word.
func (o *Output) Name() string { return o.name }

// Layout is the layout that the output is of.
func (o *Output) Layout() *Layout { return o.layout }

// MaxRows is the most rows of one file; 0 if one file takes them all.
func (o *Output) MaxRows() int { return o.most }

// Echoes says that the file begins with the order's own lines.
func (o *Output) Echoes() bool { return o.echo }

// Columns are the values of a row, in turn. Where Chosen is true, a contract may
// name others.
func (o *Output) Columns() []Column { return slices.Clone(o.rows.columns) }

// Chosen says that the file names its columns, so that a contract may choose them.
func (o *Output) Chosen() bool { return o.table != nil }

// Receivers are whose transport keys columns are encrypted under, each once; ""
// is the order's only one.
func Receivers(columns []Column) []string {
	var all []string
	for _, c := range columns {
		if c.Sealed() && !slices.Contains(all, c.receiver) {
			all = append(all, c.receiver)
		}
	}
	return all
}

// Carries is the place of the column that carries a slot's value, encrypted or in
// full; -1 if there is none.
func Carries(columns []Column, slot string) int {
	return slices.IndexFunc(columns, func(c Column) bool {
		return c.slot == slot && c.kind != kcvCell && c.full()
	})
}

// ---- the columns of the trade

// knownColumns are the columns that tables may name without defining them. A key
// has only an encrypted column.
func knownColumns() [][2]string {
	all := [][2]string{
		{"ICCID", "iccid"}, {"IMSI", "imsi"}, {"MSISDN", "msisdn"}, {"ACC", "acc"}, {"Access_Control", "acc"},
		{"EKI", "k | seal"}, {"EOPC", "opc | seal"},
		{"EKIC1", "kic1 | seal"}, {"EKID1", "kid1 | seal"}, {"EKIK1", "kik1 | seal"},
		{"ESCP03_ENC", "scp03_enc | seal"}, {"ESCP03_MAC", "scp03_mac | seal"}, {"ESCP03_DEK", "scp03_dek | seal"},
		{"Code Retailer", "word"}, {"Code ADM", "word"},
	}
	for _, code := range []string{"PIN1", "PUK1", "PIN2", "PUK2", "ADM1", "ADM2", "ADM3", "ADM4", "ADM5", "ADM6"} {
		all = append(all, [2]string{code, strings.ToLower(code)})
	}
	return all
}

// ParseColumn finds a column by its name, without case: one that the layout
// defines, or one of the trade. A column that would carry keys in clear is
// refused.
func (l *Layout) ParseColumn(name string) (Column, error) {
	if l != nil {
		for _, c := range l.columns {
			if strings.EqualFold(c.name, name) {
				return c, nil
			}
		}
	}
	for _, known := range knownColumns() {
		if strings.EqualFold(known[0], name) {
			c := must(parseExpression(known[1]))
			c.name = known[0]
			return c, nil
		}
	}
	up := strings.ToUpper(name)
	for _, known := range knownColumns() {
		c := must(parseExpression(known[1]))
		if c.kind == sealedCell && (up == known[0][1:] || up == c.slot) {
			return Column{}, fmt.Errorf("column %s would carry keys in clear, want %s", up, known[0])
		}
	}
	if up == "OP" || up == "K4" || up == "PSK" || strings.HasPrefix(up, "KI") || strings.HasPrefix(up, "SCP0") {
		return Column{}, fmt.Errorf("column %s would carry keys in clear, want an encrypted column such as EKI", up)
	}
	return Column{}, fmt.Errorf("column %s is unknown", shown(name))
}

// ParseColumns reads names joined by '/'. A column may be there once; ICCID and
// IMSI must be.
func (l *Layout) ParseColumns(list string) ([]Column, error) { return l.parseColumns(list, "/") }

func (l *Layout) parseColumns(list, join string) ([]Column, error) {
	var cols []Column
	for name := range strings.SplitSeq(list, join) {
		c, err := l.ParseColumn(name)
		if err != nil {
			return nil, err
		}
		cols = append(cols, c)
	}
	if err := checkColumns(cols); err != nil {
		return nil, err
	}
	return cols, nil
}

func checkColumns(cols []Column) error {
	var ids [imsiCell + 1]bool
	for i, c := range cols {
		if c.kind == 0 {
			return fmt.Errorf("column %d is none", i+1)
		}
		if slices.ContainsFunc(cols[:i], func(o Column) bool { return strings.EqualFold(o.name, c.name) }) {
			return fmt.Errorf("column %s is there twice", c.name)
		}
		if c.kind <= imsiCell && c.full() {
			ids[c.kind] = true
		}
	}
	if !ids[iccidCell] || !ids[imsiCell] {
		return fmt.Errorf("columns %s, want ICCID and IMSI among them", joinColumns(cols, "/"))
	}
	return nil
}

func joinColumns(cols []Column, by string) string {
	names := make([]string, len(cols))
	for i, c := range cols {
		names[i] = c.name
	}
	return strings.Join(names, by)
}

// ---- from the document

// A compiler turns a document into a Layout.
type compiler struct {
	name   string
	tree   *document.Tree
	text   []string // the document's lines
	l      *Layout
	faults Faults
}

// fault notes what is wrong at a path, or with the nearest thing around it.
func (c *compiler) fault(path, format string, args ...any) {
	row, column := c.tree.Place(path)
	c.faultAt(row, column, strings.TrimPrefix(path, "$."), format, args...)
}

func (c *compiler) faultAt(row, column int, what, format string, args ...any) {
	if len(c.faults) < maxFaults {
		c.faults = append(c.faults, &Fault{c.name, row, column, what + " " + fmt.Sprintf(format, args...)})
	}
}

// place is where a piece of line n of the text at path stands in the document.
func (c *compiler) place(path string, n int, whole, piece string) (row, column int) {
	row, column = c.tree.Place(path)
	for at := row - 1; at < len(c.text); at++ {
		i := strings.Index(c.text[at], whole)
		if i < 0 || whole == "" {
			continue
		}
		if n > 0 && at < row-1+n {
			continue // an equal line above
		}
		return at + 1, i + max(strings.Index(whole, piece), 0) + 1
	}
	return row, column
}

func (c *compiler) layout(f *layoutDoc) {
	c.l.name, c.l.about = f.Layout, f.About
	if wrong := wrongToken(f.Layout, 40); wrong != "" {
		c.fault("$.layout", "%s", wrong)
	}
	if f.About == "" || len(f.About) > 200 || badByte(f.About) >= 0 {
		c.fault("$.about", "is not one line that says what the layout is")
	}
	switch f.Newline {
	case "", "lf":
	case "crlf":
		c.l.newline = "\r\n"
	default:
		c.fault("$.newline", "is %.20q, want lf or crlf", f.Newline)
	}
	var known bool
	if c.l.coding, known = codings()[f.Text]; !known {
		c.fault("$.text", "is %.20q, want one of utf-8, utf-8 with bom, latin-1, windows-1252", f.Text)
	}
	switch f.Last {
	case "", "ended":
	case "open":
		c.l.open = true
	default:
		c.fault("$.last_line", "is %.20q, want ended or open (no line end after it)", f.Last)
	}
	for i, text := range f.Columns {
		if col, ok := c.column(fmt.Sprintf("$.columns[%d]", i), text); ok {
			c.l.columns = append(c.l.columns, col)
		}
	}
	if f.Order == nil && len(f.Outputs) == 0 {
		c.fault("$", "has neither order nor outputs")
	}
	if f.Order != nil {
		c.l.order = c.side(f.Order)
	}
	for i, o := range f.Outputs {
		c.output(fmt.Sprintf("$.outputs[%d]", i), o)
	}
}

// column reads "NAME = expression", or a name alone.
func (c *compiler) column(path, text string) (Column, bool) {
	name, expression, found := strings.Cut(text, "=")
	name = strings.Trim(name, blanks)
	if !found {
		col, err := c.l.ParseColumn(name)
		if err != nil {
			c.fault(path, "%v", err)
		}
		return col, err == nil
	}
	col, err := parseExpression(expression)
	switch {
	case err != nil:
		c.fault(path, "%v", err)
	case name == "" || len(name) > 64 || badByte(name) >= 0:
		c.fault(path, "has no name in front of =, want NAME = expression")
	case col.kind > serialCell || col.kind == fieldCell && !col.field.inRows():
		c.fault(path, "%s is no value of a row", col.name)
	default:
		col.name = name
		return col, true
	}
	return Column{}, false
}

// inRows says whether a header's value may stand in rows: one that is the same
// for all of them.
func (f Field) inRows() bool { return f != fieldInput && f != fieldColumns }

// lines reads the text of a layout. What ok refuses is no value of that text.
func (c *compiler) lines(path, text string, ok func(*Column) string) []textLine {
	if text == "" {
		return nil
	}
	var all []textLine
	for n, whole := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		l := c.line(path, n, whole, ok)
		c.ends(path, n, whole, l)
		all = append(all, l)
	}
	return all
}

func (c *compiler) line(path string, n int, whole string, ok func(*Column) string) (t textLine) {
	bad := func(piece, format string, args ...any) {
		row, column := c.place(path, n, whole, piece)
		c.faultAt(row, column, strings.TrimPrefix(path, "$."), format, args...)
	}
	if i := badByte(whole); i >= 0 {
		bad(whole[i:], "%s", badByteText(whole[i:], false))
	}
	if len(whole) > maxLine {
		bad(whole, "has a line of %d bytes, want at most %d", len(whole), maxLine)
	}
	literal := func(s string) {
		if s == "" {
			return
		}
		if k := len(t.parts) - 1; k >= 0 && t.parts[k].col == nil {
			t.parts[k].text += s
			return
		}
		t.parts = append(t.parts, part{text: s, at: -1})
	}
	for rest := whole; rest != ""; {
		before, after, found := strings.Cut(rest, "${")
		if escaped, is := strings.CutSuffix(before, "$"); is && found {
			literal(escaped + "${")
			rest = after
			continue
		}
		literal(before)
		if !found {
			break
		}
		expression := outside(after, '}')[0]
		if expression == after {
			bad("${"+after, "has no } to ${, want ${value}")
			break
		}
		rest = after[len(expression)+1:]
		bare := expression
		for bare != "" {
			if b, is := strings.CutSuffix(bare, "?"); is {
				bare, t.optional = b, true
			} else if b, is := strings.CutSuffix(bare, ">"); is {
				bare, t.only = b, true
			} else {
				break
			}
		}
		col, err := parseExpression(bare)
		if err == nil {
			if why := ok(&col); why != "" {
				err = errors.New(why)
			}
		}
		if err != nil {
			bad("${"+expression, "%v", err)
			continue
		}
		t.parts = append(t.parts, part{col: &col, at: -1})
	}
	return t
}

// ends refuses values whose end nobody could tell.
func (c *compiler) ends(path string, n int, whole string, t textLine) {
	bad := func(piece, format string, args ...any) {
		row, column := c.place(path, n, whole, piece)
		c.faultAt(row, column, strings.TrimPrefix(path, "$."), format, args...)
	}
	for i, p := range t.parts[:max(len(t.parts)-1, 0)] {
		next := t.parts[i+1]
		switch {
		case p.col == nil || p.col.least == p.col.most:
		case next.col != nil:
			bad("${"+p.col.name, "%s and %s touch: nobody could tell where one ends; put a character between them, or give the first one width: %s", p.col.name, next.col.name, p.col.oneWidth())
		case p.col.chars.has(next.text[0]) && (p.col.kind != fieldCell || p.col.words != nil) && p.col.kind != textCell:
			bad("${"+p.col.name, "%s is followed by %q, which may stand in it too: nobody could tell where it ends; put another character there, or give it one width: %s", p.col.name, next.text[:1], p.col.oneWidth())
		}
	}
}

// oneWidth says how the value gets one width.
func (c *Column) oneWidth() string {
	say := c.name
	switch {
	case c.kind == iccidCell:
		return say + "(18 check), or as long as the partner has it"
	case c.kind == sealedCell && len(c.does) == 0:
		return say + " | seal | fixed(32), or fixed(64) for keys of 256 bits"
	case c.kind == msisdnCell:
		return say + " | fixed(12), or as long as the partner has it"
	case c.kind == codeCell && strings.HasPrefix(c.slot, "PIN") && len(c.does) == 0:
		return say + " | fixed(4)"
	case c.kind == codeCell && len(c.does) == 0:
		return say + " | fixed(8)"
	case c.number():
		return say + " | left(9, 0)"
	}
	return say + " | right(20), or fixed(20) if it always has 20"
}

// headValue refuses what a head cannot hold.
func headValue(marks ...Field) func(*Column) string {
	return func(c *Column) string {
		switch {
		case c.kind == fieldCell && !c.lossy:
			return ""
		case c.kind == fieldCell:
			return c.name + " would stand there in part, and could not be read back: write all of it"
		case c.kind == markCell && slices.Contains(marks, c.field):
			return ""
		case c.kind >= rowsCell && c.kind <= shaCell:
			return c.name + " is known after the rows: it may stand in the tail"
		}
		return c.name + " is no value of a head: it belongs in a row"
	}
}

// nameValue refuses what the name of a file that we write cannot hold. Nobody reads
// it back, so that it may have a value in part.
func nameValue(c *Column) string {
	if c.kind == fieldCell {
		return ""
	}
	return c.name + " is no value of a file's name"
}

func tailValue(c *Column) string {
	if c.kind == fieldCell && !c.lossy || c.kind >= rowsCell && c.kind <= shaCell {
		return ""
	}
	return c.name + " is no value of a tail"
}

func rowValue(order bool) func(*Column) string {
	return func(c *Column) string {
		switch {
		case c.last && !order:
			return c.name + " | last is the last number of a range in an order; a response has a row for each card"
		case c.kind == iccidCell || c.kind == imsiCell || c.kind == msisdnCell || c.kind == accCell || c.kind == serialCell:
			return ""
		case c.kind == fieldCell && (c.field != Quantity || order):
			return ""
		case order && c.kind == countCell:
			return ""
		case order || c.kind > kcvCell:
			return c.name + " is no value of these rows"
		}
		return ""
	}
}

// rowOf reads the text of rows.
func (c *compiler) rowOf(path, text, between string, ok func(*Column) string) rowText {
	r := rowText{lines: c.lines(path+".row", text, ok), between: between}
	if badByte(between) >= 0 || len(between) > 16 {
		c.fault(path+".between", "is not some characters of one line, such as a comma")
	}
	r.number()
	return r
}

// number gives each value of the row its place among the columns.
func (r *rowText) number() {
	for i := range r.lines {
		for k := range r.lines[i].parts {
			if p := &r.lines[i].parts[k]; p.col != nil {
				p.at = len(r.columns)
				r.columns = append(r.columns, *p.col)
			}
		}
	}
}

func (c *compiler) output(path string, f outputDoc) {
	o := &Output{layout: c.l, name: f.Name, most: f.MaxRows, echo: f.Echo}
	if wrong := wrongToken(f.Name, 40); wrong != "" {
		c.fault(path+".name", "%s", wrong)
	}
	for _, other := range c.l.outputs {
		if other.name == o.name {
			c.fault(path+".name", "%s is there twice", o.name)
		}
	}
	if f.MaxRows < 0 || f.MaxRows > MaxQuantity {
		c.fault(path+".max_rows", "is %d, want 0 (no limit) to %d", f.MaxRows, MaxQuantity)
	}
	if o.rule = c.rule(path+".file", f.File, false); o.rule != nil && f.MaxRows > 0 && !o.rule.has(Part) {
		c.fault(path+".file", "has no ${part}, but max_rows makes several files: they would have one name")
	}
	switch {
	case !o.echo:
	case c.l.order == nil || !c.l.order.keys():
		c.fault(path+".echo", "needs an order of style keys")
	case c.l.order.find(TransportKey) != nil && c.l.order.find(TransportKCV) == nil:
		c.fault(path+".echo", "needs a line with ${transport_kcv>} in the order's head: a response says under which key its columns are")
	}
	marks := []Field{}
	if f.Table != nil {
		marks = append(marks, fieldColumns)
	}
	o.head = c.lines(path+".head", f.Head, headValue(marks...))
	o.tail = c.lines(path+".tail", f.Tail, tailValue)
	switch {
	case f.Table != nil && f.Row != "":
		c.fault(path+".row", "and table are both there, want one")
	case f.Table != nil:
		c.table(path+".table", o, f.Table)
		o.rows.between = f.Between
	case f.Row == "":
		c.fault(path, "has neither row nor table")
	default:
		o.rows = c.rowOf(path, f.Row, f.Between, rowValue(false))
	}
	o.check(c, path)
	c.l.outputs = append(c.l.outputs, o)
}

func (c *compiler) table(path string, o *Output, f *tableDoc) {
	o.table = &table{join: f.Join, separator: f.Separator}
	if o.table.join == "" {
		o.table.join = "/"
	}
	if n := len(f.Separator); n == 0 || n > 8 || badByte(f.Separator) >= 0 {
		c.fault(path+".separator", "is not 1 to 8 characters, such as a comma")
		return
	}
	for i, text := range f.Columns {
		if col, ok := c.column(fmt.Sprintf("%s.columns[%d]", path, i), text); ok {
			o.rows.columns = append(o.rows.columns, col)
			if !slices.ContainsFunc(c.l.columns, func(d Column) bool { return d.name == col.name }) {
				c.l.columns = append(c.l.columns, col)
			}
			if strings.Contains(col.name, o.table.join) {
				c.fault(fmt.Sprintf("%s.columns[%d]", path, i), "has %q in its name, which joins the names", o.table.join)
			}
		}
	}
	if len(f.Columns) == 0 {
		c.fault(path+".columns", "is empty")
	} else if err := checkColumns(o.rows.columns); err != nil && len(c.faults) == 0 {
		c.fault(path+".columns", "%v", err)
	}
	if why := o.table.refuses(o.rows.columns); why != "" {
		c.fault(path+".separator", "%s", why)
	}
	o.rows.lines = o.table.line(o.rows.columns)
}

// refuses says which column's values the separator cannot part.
func (t *table) refuses(cols []Column) string {
	for _, c := range cols {
		if c.least != c.most && c.chars.has(t.separator[0]) && c.kind != fieldCell && c.kind != textCell {
			return fmt.Sprintf("starts with %q, which may stand in %s too", t.separator[:1], c.name)
		}
	}
	return ""
}

// line is a row of the columns.
func (t *table) line(cols []Column) []textLine {
	var l textLine
	for i := range cols {
		if i > 0 {
			l.parts = append(l.parts, part{text: t.separator, at: -1})
		}
		l.parts = append(l.parts, part{col: &cols[i], at: i})
	}
	return []textLine{l}
}

// check refuses an output that could not be read again.
func (o *Output) check(c *compiler, path string) {
	if len(c.faults) > 0 {
		return
	}
	o.expects = o.echo || has(o.head, Quantity)
	if first := literal(o.tail); len(o.tail) > 0 && !o.expects && o.rows.between == "" && (first == "" || strings.HasPrefix(literal(o.rows.lines), first)) {
		c.fault(path+".tail", "could be taken for a row; state ${quantity} in the head, or start the tail with other characters than a row")
	}
	if o.table != nil && !hasMark(o.head, fieldColumns) && o.echo {
		c.fault(path+".head", "has no ${columns}, which ends it")
	}
	for _, l := range o.rows.lines {
		if l.optional || l.only {
			c.fault(path+".row", "has a line that may be left out; a row is always the same")
		}
	}
	if len(o.rows.columns) == 0 {
		c.fault(path+".row", "has no value")
	}
	for _, l := range slices.Concat(o.head, o.tail) {
		if l.only {
			c.fault(path, "has a value with >, which only the head of an order marks")
		}
	}
}

// literal is what a text starts with whatever its values are.
func literal(lines []textLine) string {
	if len(lines) == 0 || lines[0].optional || len(lines[0].parts) == 0 || lines[0].parts[0].col != nil {
		return ""
	}
	return lines[0].parts[0].text
}

func find(lines []textLine, is func(*Column) bool) *Column {
	for _, l := range lines {
		for _, p := range l.parts {
			if p.col != nil && is(p.col) {
				return p.col
			}
		}
	}
	return nil
}

func has(lines []textLine, f Field) bool {
	return find(lines, func(c *Column) bool { return c.kind == fieldCell && c.field == f }) != nil
}

func hasMark(lines []textLine, f Field) bool {
	return find(lines, func(c *Column) bool { return c.kind == markCell && c.field == f }) != nil
}

// ---- names of files

// A rule is how files are named: one line of text with values of the header.
type rule struct{ text textLine }

// rule reads how files are named; read says that their names are read again, and
// tell the values in full.
func (c *compiler) rule(path, text string, read bool) *rule {
	if text == "" {
		return nil
	}
	before := len(c.faults)
	ok := nameValue
	if read {
		ok = headValue()
	}
	if strings.ContainsAny(text, "/\\\n") || strings.HasPrefix(text, ".") {
		c.fault(path, "is no name of a file: it has no folder and does not start with a dot")
	}
	r := &rule{text: c.line(path, 0, text, ok)}
	if read {
		c.ends(path, 0, text, r.text)
	}
	if len(c.faults) > before {
		return nil
	}
	return r
}

func (r *rule) has(f Field) bool { return has([]textLine{r.text}, f) }
