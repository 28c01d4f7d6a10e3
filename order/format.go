package order

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"ankan/sim"
)

// A Reading says how to read a file of a partner. The zero value is strict:
// ICCIDs carry all digits with a right check digit.
type Reading struct {
	Variant  sim.ICCIDVariant // how the file writes ICCIDs; 0: 19 or 20 digits
	MaxBytes int64            // of the whole file; 0: 64 GiB. Files are read as they come, so it bounds time and not memory
}

const (
	maxLine   = 4096  // bytes of a line without its end
	maxHeader = 256   // lines up to the input variables
	maxFaults = 1000  // then reading stops
	blanks    = " \t" // around keys and values
)

// A Fault is one thing that is wrong in a file, at its place.
type Fault struct {
	File         string
	Line, Column int // from 1; the column counts bytes
	Text         string
}

// Error is the fault as compilers print them: "order.inp:14:7: IMSI has 14
// digits, want 15".
func (f *Fault) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Text)
}

// Faults is what is wrong in a file, at most a thousand, in the file's order.
type Faults []*Fault

// Error is one fault a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find the first Fault.
func (f Faults) Unwrap() []error {
	errs := make([]error, len(f))
	for i, fault := range f {
		errs[i] = fault
	}
	return errs
}

// A scanner gives the lines of a file and gathers its faults. Every line ends
// in the same way, LF or CR LF; the last line ends too, or the file was cut.
type scanner struct {
	name    string
	r       *bufio.Reader
	most    int64 // bytes allowed
	read    int64
	line    int // number of text
	text    []byte
	newline string
	held    bool // next gives text again
	done    bool // nothing more comes
	failed  error
	faults  Faults
}

func (rd Reading) scan(name string, r io.Reader) *scanner {
	most := rd.MaxBytes
	if most == 0 {
		most = 64 << 30
	}
	return &scanner{name: name, r: bufio.NewReaderSize(r, 1<<16), most: most}
}

// next reads a line into text; false at the end or when reading must stop.
func (s *scanner) next() bool {
	if s.held {
		s.held = false
		return true
	}
	if s.done {
		return false
	}
	b, err := s.r.ReadSlice('\n')
	if len(b) == 0 && err == io.EOF {
		s.done = true
		return false
	}
	s.line++
	s.read += int64(len(b))
	body := bytes.TrimSuffix(b, []byte{'\n'})
	newline := "\n"
	if crlf, ok := bytes.CutSuffix(body, []byte{'\r'}); ok {
		body, newline = crlf, "\r\n"
	}
	switch {
	case err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull):
		s.failed = fmt.Errorf("%s:%d: %w", s.name, s.line, err)
		s.done = true
	case len(body) > maxLine:
		s.stop(maxLine+1, "line is longer than %d bytes", maxLine)
	case s.read > s.most:
		s.stop(1, "file is longer than %d bytes", s.most)
	case err == io.EOF:
		s.stop(len(body)+1, "file ends without a line end, it may be cut short")
	case s.line == 1:
		s.newline = newline
	case newline != s.newline:
		s.stop(len(body)+1, "line ends in %q, want %q as before", newline, s.newline)
	}
	s.text = body
	return !s.done
}

// hold makes next give the present line again.
func (s *scanner) hold() { s.held = true }

// fault notes what is wrong at a column of the present line.
func (s *scanner) fault(column int, format string, args ...any) {
	s.faultAt(s.line, column, format, args...)
}

func (s *scanner) faultAt(line, column int, format string, args ...any) {
	if len(s.faults) == maxFaults {
		return
	}
	text := fmt.Sprintf(format, args...)
	if len(s.faults) == maxFaults-1 {
		text += "; there may be more, reading stops here"
		s.done, s.held = true, false
	}
	s.faults = append(s.faults, &Fault{s.name, max(line, 1), max(column, 1), text})
}

// stop notes a fault after which nothing more is read.
func (s *scanner) stop(column int, format string, args ...any) {
	s.fault(column, format, args...)
	s.done, s.held = true, false
}

// err is what the file is refused for, or nil.
func (s *scanner) err() error {
	if s.failed != nil {
		return s.failed
	}
	if len(s.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(s.faults, func(a, b *Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return s.faults
}

// split finds "key: value" in a line: the key, and where the value stands.
func split[T string | []byte](text T) (key string, at, end int, ok bool) {
	colon := -1
	for i := range len(text) {
		if text[i] == ':' {
			colon = i
			break
		}
	}
	if colon < 0 {
		return "", 0, 0, false
	}
	at, end = colon+1, len(text)
	for at < end && (text[at] == ' ' || text[at] == '\t') {
		at++
	}
	for end > at && (text[end-1] == ' ' || text[end-1] == '\t') {
		end--
	}
	return strings.Trim(string(text[:colon]), blanks), at, end, true
}

// badByte is where text stops being UTF-8 without control characters; -1 if it
// does not.
func badByte(text string) int {
	for i, r := range text {
		if r == utf8.RuneError || r == '\uFEFF' || unicode.IsControl(r) && r != '\t' {
			return i
		}
	}
	return -1
}

// A Header is the head of a file up to the line that opens the input
// variables. It keeps every byte: what was read is what is written again.
type Header struct {
	dialect *Dialect
	newline string
	lines   []headerLine
}

type headerLine struct {
	text    string
	field   Field // "" for decoration
	key     string
	at, end int // where the value stands in text
}

// readHeader reads up to the first line after the input marker that is not
// decoration; reply says that the file is a response.
func readHeader(s *scanner, reply bool) *Header {
	var raw []string
	for s.next() {
		text := string(s.text)
		if i := badByte(text); i >= 0 {
			s.fault(i+1, "%s", badByteText(text[i:], s.line == 1 && i == 0))
		}
		raw = append(raw, text)
		if key, at, end, ok := split(text); ok {
			if d := dialectOf(key); d != nil {
				if at != end {
					s.fault(at+1, "%s opens the input variables, want nothing after it", key)
				}
				return newHeader(s, d, raw, reply)
			}
		}
		if len(raw) == maxHeader {
			s.stop(1, "%d lines without a line %s", maxHeader, openers())
		}
	}
	if s.failed == nil && len(s.faults) == 0 {
		s.faultAt(s.line, 1, "file ends without a line %s, so it is of no known dialect", openers())
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

func openers() string {
	var keys []string
	for _, d := range Dialects() {
		keys = append(keys, d.marker()+":")
	}
	return strings.Join(keys, " or ")
}

func dialectOf(marker string) *Dialect {
	for _, d := range Dialects() {
		if strings.EqualFold(d.marker(), marker) {
			return d
		}
	}
	return nil
}

// newHeader sorts the lines of a header by the dialect. Line i of raw is line
// i+1 of the file.
func newHeader(s *scanner, d *Dialect, raw []string, reply bool) *Header {
	h := &Header{dialect: d, newline: s.newline, lines: make([]headerLine, 0, len(raw))}
	seen := make(map[Field]int)
	for i, text := range raw {
		line := headerLine{text: text}
		if !d.decoration(text) {
			line = h.sort(s, i+1, text, reply, seen)
		}
		h.lines = append(h.lines, line)
	}
	for _, spec := range d.head {
		if _, ok := seen[spec.field]; ok || !spec.need {
			continue
		}
		why := ""
		if spec.field == TransportKey {
			why = ": keys would not be encrypted, which is refused"
		}
		s.faultAt(len(raw), 1, "%s is missing in the lines above%s", spec.key, why)
	}
	return h
}

func (h *Header) sort(s *scanner, n int, text string, reply bool, seen map[Field]int) headerLine {
	key, at, end, ok := split(text)
	if !ok {
		s.faultAt(n, 1, "line is neither \"key: value\" nor decoration")
		return headerLine{}
	}
	spec := h.dialect.findKey(key)
	switch {
	case spec == nil:
		s.faultAt(n, 1, "%s is not a key of %s", shown(key), h.dialect.name)
		return headerLine{}
	case spec.reply && !reply:
		s.faultAt(n, 1, "%s belongs in a response, not in an order", spec.key)
	case seen[spec.field] > 0:
		s.faultAt(n, 1, "%s is there twice, first on line %d", spec.key, seen[spec.field])
	}
	seen[spec.field] = n
	line := headerLine{text: text, field: spec.field, key: spec.key, at: at, end: end}
	if spec.field != fieldInput {
		if wrong := spec.field.wrong(line.value()); wrong != "" {
			s.faultAt(n, at+1, "%s %s", spec.key, wrong)
		}
	}
	return line
}

// shown is a name that we do not know, unless it may be something else.
func shown(name string) string {
	if len(name) > 24 {
		return fmt.Sprintf("what has %d characters", len(name))
	}
	return fmt.Sprintf("%q", name)
}

func (l headerLine) value() string { return l.text[l.at:l.end] }

// Dialect is the dialect of the file.
func (h *Header) Dialect() *Dialect { return h.dialect }

// Value is the value of a field, "" if the header has none.
func (h *Header) Value(f Field) string {
	for _, l := range h.lines {
		if l.field == f {
			return l.value()
		}
	}
	return ""
}

// Quantity is the number of cards that the header states.
func (h *Header) Quantity() int { return h.number(Quantity) }

// TransportKey is the index of the transport key.
func (h *Header) TransportKey() int { return h.number(TransportKey) }

// number is the value of a field that was checked to be one.
func (h *Header) number(f Field) int {
	n := 0
	for _, c := range []byte(h.Value(f)) {
		n = n*10 + int(c-'0')
	}
	return n
}

// AppendText appends the header as it stands in the file, with the line that
// opens the input variables.
func (h *Header) AppendText(dst []byte) ([]byte, error) {
	for _, l := range h.lines {
		dst = append(dst, l.text...)
		dst = append(dst, h.newline...)
	}
	return dst, nil
}

// MarshalText is AppendText, so that a header can be stored and read again.
func (h *Header) MarshalText() ([]byte, error) { return h.AppendText(nil) }

// ParseHeader reads what MarshalText of an order's header wrote.
func ParseHeader(name string, text []byte) (*Header, error) {
	s := Reading{}.scan(name, bytes.NewReader(text))
	h := readHeader(s, false)
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

// decorations reads the decoration that follows the input marker.
func (h *Header) decorations(s *scanner) {
	for s.next() {
		text := string(s.text)
		if !h.dialect.decoration(text) {
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

// with is the header with another value; the layout of its line stays.
func (h *Header) with(f Field, value string) *Header {
	c := *h
	c.lines = make([]headerLine, 0, len(h.lines)+1)
	for _, l := range h.lines {
		if l.field == f {
			l.text = l.text[:l.at] + value + l.text[l.end:]
			l.end = l.at + len(value)
		}
		c.lines = append(c.lines, l)
	}
	return &c
}

// after is the header with a line for field f behind the line of field prior.
func (h *Header) after(prior, f Field, value string) *Header {
	spec := h.dialect.find(f)
	line := headerLine{text: spec.text + value, field: f, key: spec.key, at: len(spec.text), end: len(spec.text) + len(value)}
	c := *h
	c.lines = make([]headerLine, 0, len(h.lines)+1)
	for _, l := range h.lines {
		c.lines = append(c.lines, l)
		if l.field == prior {
			c.lines = append(c.lines, line)
		}
	}
	return &c
}
