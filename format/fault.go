package format

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
)

const (
	maxLine   = 4096  // bytes of a line without its end
	maxHeader = 256   // lines up to the input variables
	maxFaults = 1000  // then reading stops
	blanks    = " \t" // around keys and values
)

// MoreFaults ends the text of the last fault that is told.
const MoreFaults = "; there may be more, reading stops here"

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
	want    string // line ends that the file must have; "": LF or CR LF
	coding  coding // of the file's bytes; text is UTF-8
	raw     []byte // the present line as it stands in the file, without its end
	open    bool   // the last line has no end
	ended   bool   // the present line has one
	held    bool   // next gives text again
	done    bool   // nothing more comes
	failed  error
	faults  Faults
}

func scan(name string, r io.Reader, most int64) *scanner {
	if most == 0 {
		most = 64 << 30
	}
	return &scanner{name: name, r: bufio.NewReaderSize(r, 1<<16), most: most}
}

// of makes the scanner read files as a layout has them, which may be nil.
func (s *scanner) of(l *Layout) {
	if l != nil {
		s.coding, s.open = l.coding, l.open
	}
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
		if s.open && s.ended && len(s.faults) == 0 {
			s.fault(len(s.raw)+1, "last line ends, want it without a line end")
		}
		s.done = true
		return false
	}
	s.line++
	s.read += int64(len(b))
	body, ended := bytes.CutSuffix(b, []byte{'\n'})
	s.ended = ended
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
	case err == io.EOF && s.open:
		newline = cmp.Or(s.newline, s.want, "\n")
		s.newline = newline
	case err == io.EOF:
		s.stop(len(body)+1, "file ends without a line end, it may be cut short")
	case s.line == 1 && s.want != "" && newline != s.want:
		s.stop(len(body)+1, "line ends in %q, want %q", newline, s.want)
	case s.line == 1:
		s.newline = newline
	case newline != s.newline:
		s.stop(len(body)+1, "line ends in %q, want %q as before", newline, s.newline)
	}
	s.text, s.raw = body, body
	if !s.done {
		s.decode()
	}
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
		text += MoreFaults
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

// split finds "key: value" in a line, with the sign that stands between them: the
// key, and where the value stands.
func split[T string | []byte](text T, sign byte) (key string, at, end int, ok bool) {
	colon := -1
	for i := range len(text) {
		if text[i] == sign {
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

// BadByte is where text stops being plain UTF-8 without control characters; -1 if
// it does not.
func BadByte(text string) int { return badByte(text) }

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
