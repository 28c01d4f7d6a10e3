package format

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Header is the head of a file up to its identities or rows. It keeps every
// byte: what was read is what is written again.
type Header struct {
	layout  *Layout
	newline string
	free    bool // decoration stands between the lines of text
	lines   []headerLine
	more    map[Field]string // of the file's name, of the layout, of rows
}

// A headerLine is a line as it stands, with its values.
type headerLine struct {
	text  string
	spans []span
}

// A span is where a value stands in its line.
type span struct {
	field   Field
	key     string // as the layout writes it; for faults
	at, end int
	value   string
}

// Layout is the layout of the file.
func (h *Header) Layout() *Layout { return h.layout }

// Fields yields the header's values in the file's order, then those of its name
// and its layout by their names.
func (h *Header) Fields() iter.Seq2[Field, string] {
	return func(yield func(Field, string) bool) {
		for _, l := range h.lines {
			for _, s := range l.spans {
				if s.field != fieldInput && !yield(s.field, s.value) {
					return
				}
			}
		}
		for _, f := range slices.Sorted(maps.Keys(h.more)) {
			if !yield(f, h.more[f]) {
				return
			}
		}
	}
}

// Value is the value of a field, "" if the header has none.
func (h *Header) Value(f Field) string {
	for _, l := range h.lines {
		for _, s := range l.spans {
			if s.field == f {
				return s.value
			}
		}
	}
	return h.more[f]
}

// Quantity is the number of cards that the file is about.
func (h *Header) Quantity() int { return h.number(Quantity) }

// TransportKey is the index of the order's transport key; of several receivers',
// that of the one that it names first.
func (h *Header) TransportKey() int {
	for f := range h.Fields() {
		if f.base() == TransportKey {
			return h.number(f)
		}
	}
	return 0
}

// Receivers are the receivers whose transport keys the header names; "" is the one
// without a name.
func (h *Header) Receivers() []string {
	var all []string
	for f := range h.Fields() {
		if f.base() == TransportKey {
			_, receiver, _ := strings.Cut(string(f), ".")
			all = append(all, receiver)
		}
	}
	return all
}

// TransportKeyOf is the index of a receiver's transport key; 0 if the header
// names none.
func (h *Header) TransportKeyOf(receiver string) int { return h.number(TransportKey.of(receiver)) }

// TransportKeys are the indexes of all transport keys that the header names, by
// receiver.
func (h *Header) TransportKeys() map[string]int {
	all := map[string]int{}
	for _, receiver := range h.Receivers() {
		all[receiver] = h.TransportKeyOf(receiver)
	}
	return all
}

// number is the value of a field that was checked to be one.
func (h *Header) number(f Field) int {
	n := 0
	for _, c := range []byte(h.Value(f)) {
		n = n*10 + int(c-'0')
	}
	return n
}

// Count says the quantity of a header that does not, and whose rows were counted
// before.
func (h *Header) Count(n int) {
	if h.Value(Quantity) == "" {
		h.set(Quantity, strconv.Itoa(n))
	}
}

// set keeps a value that stands in no line of the head; it says what is wrong.
func (h *Header) set(f Field, value string) string {
	if has := h.Value(f); has != "" {
		whole, ok := together(f, has, value)
		if !ok {
			return "is not what the file says elsewhere"
		}
		h.know(f, whole)
		return ""
	}
	if wrong := f.Wrong(value); wrong != "" {
		return wrong
	}
	if h.more == nil {
		h.more = map[Field]string{}
	}
	h.more[f] = value
	return ""
}

// know puts a fuller value of a field in the place of what is known of it.
func (h *Header) know(f Field, value string) {
	for _, l := range h.lines {
		for i := range l.spans {
			if l.spans[i].field == f {
				l.spans[i].value = value
			}
		}
	}
	if _, more := h.more[f]; more {
		h.more[f] = value
	}
}

// together is what two places of a file say of one value. They must say the same,
// but for the time of writing, of which each may leave digits out.
func together(f Field, a, b string) (whole string, ok bool) {
	if f != Written || len(a) != len(b) {
		return a, a == b
	}
	t := []byte(a)
	for i := range t {
		switch {
		case t[i] == '-':
			t[i] = b[i]
		case b[i] != '-' && b[i] != t[i]:
			return a, false
		}
	}
	return string(t), true
}

// AppendText appends the head as it stands in the file.
func (h *Header) AppendText(dst []byte) ([]byte, error) {
	for _, l := range h.lines {
		dst = append(dst, l.text...)
		dst = append(dst, h.newline...)
	}
	return dst, nil
}

// MarshalText is AppendText, so that a header can be stored and read again.
func (h *Header) MarshalText() ([]byte, error) { return h.AppendText(nil) }

// ParseHeader reads what MarshalText of an order's header wrote. Without a layout
// it must be of one that opens its input variables with a line of its own.
func ParseHeader(l *Layout, name string, text []byte) (*Header, error) {
	s := scan(name, bytes.NewReader(text), 0)
	h := readHeader(s, l, name, false)
	if h != nil {
		h.decorations(s)
		if s.next() {
			s.fault(1, "more follows the header")
		}
	}
	if err := s.err(); err != nil {
		return nil, err
	}
	return h, nil
}

// With is the header with another value; the layout of its line stays. The field
// must be in it.
func (h *Header) With(f Field, value string) (*Header, error) {
	if wrong := f.Wrong(value); wrong != "" {
		return nil, fmt.Errorf("%s %s", f, wrong)
	}
	c := *h
	c.lines = make([]headerLine, 0, len(h.lines)+1)
	found := false
	for _, l := range h.lines {
		for i, s := range l.spans {
			if s.field != f {
				continue
			}
			text := []byte(value)
			if col := h.layout.headColumn(f); col != nil {
				var err error
				if text, err = col.apply(text, 0); err != nil {
					return nil, fmt.Errorf("%s %w", f, err)
				}
			}
			by := len(text) - (s.end - s.at)
			l.text = l.text[:s.at] + string(text) + l.text[s.end:]
			l.spans = slices.Clone(l.spans)
			l.spans[i].end, l.spans[i].value = s.end+by, value
			for k := i + 1; k < len(l.spans); k++ {
				l.spans[k].at += by
				l.spans[k].end += by
			}
			found = true
		}
		c.lines = append(c.lines, l)
	}
	if _, more := h.more[f]; more {
		c.more = maps.Clone(h.more)
		c.more[f] = value
		found = true
	}
	if !found {
		return nil, fmt.Errorf("the header has no %s to change", f)
	}
	return &c, nil
}

// headColumn is how an order's head writes a field.
func (l *Layout) headColumn(f Field) *Column {
	if l.order == nil {
		return nil
	}
	return find(l.order.head, func(c *Column) bool { return c.field == f })
}

// after is the header with a line for field f behind the line of field prior.
func (h *Header) after(prior, f Field, value string) *Header {
	spec := h.layout.order.find(f)
	line := headerLine{text: spec.text + value, spans: []span{{f, spec.key, len(spec.text), len(spec.text) + len(value), value}}}
	c := *h
	c.lines = make([]headerLine, 0, len(h.lines)+1)
	for _, l := range h.lines {
		c.lines = append(c.lines, l)
		if len(l.spans) > 0 && l.spans[0].field == prior {
			c.lines = append(c.lines, line)
		}
	}
	return &c
}

// ---- reading

// readHeader reads up to the first line after the head that is not decoration;
// reply says that the file is a response. A nil layout is found by the line that
// opens the input variables.
func readHeader(s *scanner, l *Layout, name string, reply bool) *Header {
	if l != nil && !l.order.keys() {
		h := &Header{layout: l, newline: l.newline, free: l.order.prefix != ""}
		h.named(s, name, reply)
		h.text(s, l.order.head, nil)
		h.newline = cmp.Or(s.newline, l.newline)
		return h
	}
	var raw []string
	for s.next() {
		text := string(s.text)
		if i := badByte(text); i >= 0 {
			s.fault(i+1, "%s", badByteText(text[i:], s.line == 1 && i == 0))
		}
		sign := byte(':')
		if l != nil {
			sign = l.order.sign
		}
		if key, at, end, ok := split(text, sign); ok {
			d, opens := openedBy(l, key)
			if d != nil && opens {
				if at != end {
					s.fault(at+1, "%s opens the input variables, want nothing after it", key)
				}
				return newHeader(s, d, name, append(raw, text), reply)
			}
			if d != nil {
				s.hold()
				return newHeader(s, d, name, raw, reply)
			}
		}
		raw = append(raw, text)
		if len(raw) == maxHeader {
			s.stop(1, "%d lines without a line %s", maxHeader, openers(l))
		}
	}
	if s.failed == nil && len(s.faults) == 0 {
		of := "no known dialect"
		if l != nil {
			of = "another layout than " + l.name
		}
		s.faultAt(s.line, 1, "file ends without a line %s, so it is of %s", openers(l), of)
	}
	return nil
}

func badByteText(rest string, first bool) string {
	switch {
	case first && strings.HasPrefix(rest, "\uFEFF"):
		return "file begins with a byte order mark, want plain UTF-8"
	case rest[0] < utf8.RuneSelf:
		return fmt.Sprintf("control character %02X", rest[0])
	}
	return "not plain UTF-8 text"
}

// candidates are the layouts that a file can be told to be of by itself.
func candidates(l *Layout) []*Layout {
	if l != nil {
		return []*Layout{l}
	}
	var all []*Layout
	for _, l := range Shipped() {
		if l.order != nil && l.order.keys() && l.order.marker() != "" {
			all = append(all, l)
		}
	}
	return all
}

func openers(l *Layout) string {
	var keys []string
	for _, l := range candidates(l) {
		keys = append(keys, cmp.Or(l.order.marker(), l.order.rowKey())+string(l.order.sign))
	}
	return strings.Join(keys, " or ")
}

// openedBy is the layout whose head ends at a key; opens says that the key is of
// the line that opens the input variables and not of the first of them.
func openedBy(l *Layout, key string) (_ *Layout, opens bool) {
	for _, l := range candidates(l) {
		if marker := l.order.marker(); marker != "" {
			if strings.EqualFold(marker, key) {
				return l, true
			}
		} else if strings.EqualFold(l.order.rowKey(), key) {
			return l, false
		}
	}
	return nil, false
}

// newHeader sorts the lines of a header by the layout. Line i of raw is line
// i+1 of the file.
func newHeader(s *scanner, l *Layout, name string, raw []string, reply bool) *Header {
	h := &Header{layout: l, newline: s.newline, free: len(l.order.tail) > 0, lines: make([]headerLine, 0, len(raw))}
	h.named(s, name, reply)
	seen := make(map[Field]int)
	for i, text := range raw {
		line := headerLine{text: text}
		if !l.decoration(text) {
			line = h.sort(s, i+1, text, reply, seen)
		}
		h.lines = append(h.lines, line)
	}
	for _, spec := range l.order.specs {
		if _, ok := seen[spec.field]; ok || !spec.need {
			continue
		}
		why := ""
		if spec.field.base() == TransportKey {
			why = ": keys would not be encrypted, which is refused"
		}
		s.faultAt(len(raw), 1, "%s is missing in the lines above%s", spec.key, why)
	}
	return h
}

// named takes the values that the layout sets and that the file's name tells.
func (h *Header) named(s *scanner, name string, reply bool) {
	for f, value := range h.layout.order.set {
		h.set(f, value)
	}
	if r := h.layout.order.rule; r != nil && !reply {
		var line headerLine
		if at, wrong := readText(r.text, []byte(name), &line, nil, nil); wrong != "" {
			s.faultAt(1, 1, "the file's name %s at character %d: %s; the layout wants %s", shown(name), at+1, wrong, r.text.pattern())
			return
		}
		for _, v := range line.spans {
			if wrong := h.set(v.field, v.value); wrong != "" {
				s.faultAt(1, 1, "%s in the file's name %s", v.field, wrong)
			}
		}
	}
}

func (h *Header) sort(s *scanner, n int, text string, reply bool, seen map[Field]int) headerLine {
	key, at, end, ok := split(text, h.layout.order.sign)
	if !ok {
		s.faultAt(n, 1, "line is neither \"key%c value\" nor decoration", h.layout.order.sign)
		return headerLine{}
	}
	spec := h.layout.order.findKey(key)
	switch {
	case spec == nil:
		s.faultAt(n, 1, "%s is not a key of %s", shown(key), h.layout.name)
		return headerLine{}
	case spec.reply && !reply:
		s.faultAt(n, 1, "%s belongs in a response, not in an order", spec.key)
	case seen[spec.field] > 0:
		s.faultAt(n, 1, "%s is there twice, first on line %d", spec.key, seen[spec.field])
	}
	seen[spec.field] = n
	v := span{spec.field, spec.key, at, end, text[at:end]}
	if spec.field != fieldInput {
		value, wrong := spec.col.header(v.value)
		if wrong != "" {
			s.faultAt(n, at+1, "%s %s", spec.key, wrong)
		}
		v.value = value
	}
	return headerLine{text, []span{v}}
}

// header is the value of a header's field from its text, or what is wrong with it.
func (c *Column) header(text string) (value, wrong string) {
	if len(c.does) > 0 {
		if n := c.width([]byte(text)); n < c.least || n > c.most {
			return "", fmt.Sprintf("has %d characters, want %s", n, c.size())
		}
		b, _, err := c.plain(nil, []byte(text))
		if err != nil {
			return "", err.Error()
		}
		text = string(b)
	}
	return text, c.field.wrong(text)
}

// shown is a name that we do not know, unless it may be something else.
func shown(name string) string {
	if len(name) > 24 {
		return fmt.Sprintf("what has %d characters", len(name))
	}
	return strconv.Quote(name)
}

// decorations reads the decoration that follows the line that opens the input
// variables.
func (h *Header) decorations(s *scanner) {
	for (h.layout.order.keys() || h.free) && s.next() {
		text := string(s.text)
		if !h.layout.decoration(text) {
			s.hold()
			return
		}
		if i := badByte(text); i >= 0 {
			s.fault(i+1, "%s", badByteText(text[i:], false))
		}
		h.lines = append(h.lines, headerLine{text: text})
		if len(h.lines) > maxHeader {
			s.stop(1, "more than %d lines before the input variables", maxHeader)
		}
	}
}

// ---- heads that are text

// A teller tells what a tail says of the rows; rest is the lines after its own.
type teller func(c *Column, rest int) string

// text reads lines exactly as the layout has them, and decoration where it may
// stand.
func (h *Header) text(s *scanner, lines []textLine, tell teller) {
	for i, l := range lines {
		more := s.next()
		for more && h.free && !l.starts(s.text) && h.layout.decoration(string(s.text)) {
			if at := badByte(string(s.text)); at >= 0 {
				s.fault(at+1, "%s", badByteText(string(s.text[at:]), false))
			}
			if h.lines = append(h.lines, headerLine{text: string(s.text)}); len(h.lines) > maxHeader {
				s.stop(1, "more than %d lines around the rows", maxHeader)
				return
			}
			more = s.next()
		}
		if !more {
			if !l.optional && s.failed == nil && len(s.faults) == 0 {
				s.fault(1, "file ends, want a line %s", l.pattern())
			}
			if !l.optional {
				return
			}
			continue
		}
		if l.optional && !l.starts(s.text) {
			s.hold()
			continue
		}
		if i := badByte(string(s.text)); i >= 0 {
			s.fault(i+1, "%s", badByteText(string(s.text[i:]), s.line == 1 && i == 0))
			return
		}
		line := headerLine{text: string(s.text)}
		told := func(c *Column) string { return tell(c, len(lines)-1-i) }
		if at, wrong := readText(l, s.text, &line, h, told); wrong != "" {
			s.stop(at+1, "%s", wrong)
			return
		}
		h.lines = append(h.lines, line)
	}
}

// starts says whether a line may be l: by the literal text in front.
func (l textLine) starts(text []byte) bool {
	return len(l.parts) > 0 && l.parts[0].col == nil && bytes.HasPrefix(text, []byte(l.parts[0].text))
}

// pattern is the line for people.
func (l textLine) pattern() string {
	var b strings.Builder
	for _, p := range l.parts {
		if p.col == nil {
			b.WriteString(p.text)
			continue
		}
		b.WriteString("${" + cmp.Or(string(p.col.field), p.col.name) + "}")
	}
	return strconv.Quote(b.String())
}

// readText reads a line of header values into line; h, which may be nil, has what
// was read before; told is what the rows told. It says what is wrong at which
// byte, from 0.
func readText(l textLine, text []byte, line *headerLine, h *Header, told func(*Column) string) (at int, wrong string) {
	seen := map[Field]string{}
	for i, p := range l.parts {
		if p.col == nil {
			if n := common(text[at:], p.text); n < len(p.text) {
				return at + n, fmt.Sprintf("found %s, want %q", foundAt(text, at+n), p.text[n:])
			}
			at += len(p.text)
			continue
		}
		end := p.col.ends(text, at, l.parts[i+1:])
		cell := string(text[at:end])
		if p.col.kind != fieldCell {
			want, err := p.col.apply([]byte(told(p.col)), 0)
			if err != nil {
				return at, fmt.Sprintf("%s %v", p.col.name, err)
			}
			if cell != string(want) {
				return at, fmt.Sprintf("%s does not fit what stands above, want %s", p.col.name, want)
			}
			at = end
			continue
		}
		value, wrong := p.col.header(cell)
		field := p.col.field
		if wrong != "" {
			return at, fmt.Sprintf("%s %s", field, wrong)
		}
		before, twice := seen[field]
		if h != nil && !twice && h.Value(field) != "" {
			before, twice = h.Value(field), true
		}
		if whole, ok := together(field, before, value); twice && ok {
			for k := range line.spans {
				if line.spans[k].field == field {
					line.spans[k].value = whole
				}
			}
			if h != nil {
				h.know(field, whole)
			}
			value = whole
		} else if twice {
			return at, fmt.Sprintf("%s is not what the file says elsewhere: %s", field, before)
		}
		if l.optional && value == "" {
			return at, fmt.Sprintf("%s is empty; a line that may be left out is left out", field)
		}
		seen[field] = value
		line.spans = append(line.spans, span{field, string(field), at, end, value})
		at = end
	}
	if at < len(text) {
		return at, fmt.Sprintf("found %s, want the line's end", foundAt(text, at))
	}
	return at, ""
}

// foundAt is the character at a place, for people: never more than one.
func foundAt(text []byte, at int) string {
	if at >= len(text) {
		return "the line's end"
	}
	r, _ := utf8.DecodeRune(text[at:])
	return strconv.QuoteRune(r)
}

func common(text []byte, want string) int {
	n := 0
	for n < len(want) && n < len(text) && text[n] == want[n] {
		n++
	}
	return n
}

// ends is where the value that starts at a place ends: by its length, or where
// the text after it starts.
func (c *Column) ends(text []byte, at int, rest []part) int {
	if c.least == c.most {
		if c.chars != line {
			return min(at+c.most, len(text))
		}
		for range c.most {
			_, n := utf8.DecodeRune(text[at:])
			at += n // 0 at the end
		}
		return at
	}
	if len(rest) == 0 {
		return len(text)
	}
	stop := rest[0].text[0]
	escapes := c.escapes()
	for i := at; i < len(text); i++ {
		if escapes && text[i] == '\\' {
			i++
			continue
		}
		if text[i] == stop {
			return i
		}
	}
	return len(text)
}

// escapes says that a backslash keeps the next character in the value.
func (c *Column) escapes() bool { return len(c.does) > 0 && c.does[len(c.does)-1].name == "json" }

// complete refuses a head of text that does not say what an order must.
func (h *Header) complete(s *scanner) {
	if len(s.faults) > 0 || s.failed != nil {
		return
	}
	if h.Value(TransportKey) == "" && !h.layout.order.receivers {
		s.fault(1, "transport_key is missing: keys would not be encrypted, which is refused")
	}
}

// appendText appends lines with values, as readText reads them.
func appendText(dst []byte, lines []textLine, newline string, value func(*Column) (string, error)) ([]byte, error) {
	for _, l := range lines {
		from, empty := len(dst), false
		for i, p := range l.parts {
			if p.col == nil {
				dst = append(dst, p.text...)
				continue
			}
			v, err := value(p.col)
			if err != nil {
				return dst, err
			}
			empty = empty || v == ""
			if l.optional && v == "" {
				break
			}
			at := len(dst)
			if dst, err = p.col.apply(append(dst, v...), at); err == nil {
				err = p.col.fits(dst[at:], l.parts[i+1:])
			}
			if err != nil {
				return dst, fmt.Errorf("%s %w", cmp.Or(string(p.col.field), p.col.name), err)
			}
		}
		if l.optional && empty {
			dst = dst[:from]
			continue
		}
		dst = append(dst, newline...)
	}
	return dst, nil
}

// fits refuses a value that would not be read again as it is.
func (c *Column) fits(text []byte, rest []part) error {
	if c.kind == markCell {
		return nil
	}
	if n := c.width(text); n < c.least || n > c.most {
		return fmt.Errorf("has %d characters, want %s", n, c.size())
	}
	if end := c.ends(append(text[:len(text):len(text)], restText(rest)...), 0, rest); end != len(text) {
		return fmt.Errorf("has %q as character %d, where the layout ends it", text[end], end+1)
	}
	return nil
}

func restText(rest []part) string {
	if len(rest) == 0 {
		return ""
	}
	return rest[0].text
}
