package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"ankan/document"
	"ankan/sim"
)

// ErrDocument is wrapped by every error of Parse.
var ErrDocument = errors.New("profile document")

// A reader collects what is wrong with a document, each with its place.
type reader struct {
	file   string
	folder fs.FS    // where the document lies; nil: nowhere
	plmn   sim.PLMN // of the operator, known before the files
	errs   []error
}

const maxErrors = 100

// An entry is one key of a mapping. A key whose value is left out has a nil
// value.
type entry struct {
	key   string
	pos   pos
	value ast.Node
}

func (r *reader) errorf(p pos, format string, args ...any) {
	if len(r.errs) < maxErrors {
		r.errs = append(r.errs, fmt.Errorf("%s:%d:%d: %s", r.file, p.line, p.column, fmt.Sprintf(format, args...)))
	}
}

func (r *reader) err() error {
	if len(r.errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrDocument, errors.Join(r.errs...))
}

// at is where a node stands.
func at(n ast.Node) pos {
	if n == nil || n.GetToken() == nil {
		return pos{1, 1}
	}
	t := n.GetToken()
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return at(m.Values[0].Key)
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		return at(m.Key)
	}
	return pos{t.Position.Line, t.Position.Column}
}

// document parses doc and returns its one mapping.
func (r *reader) document(doc []byte) ast.Node {
	tree, err := document.Parse(r.file, doc)
	var e *document.Error
	if errors.As(err, &e) {
		r.errorf(pos{e.Line, e.Column}, "%s", e.Text)
	}
	if err != nil {
		return nil
	}
	return tree.Body()
}

// mapping is the entries of a mapping in their order; each key once.
func (r *reader) mapping(n ast.Node, p pos) []entry {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		r.errorf(p, "%s, want keys and values", kindOf(n))
		return nil
	}
	var all []entry
	for _, v := range values {
		key, ok := scalar(v.Key)
		if !ok {
			r.errorf(at(v.Key), "a key must be a plain text")
			continue
		}
		if slices.ContainsFunc(all, func(e entry) bool { return e.key == key }) {
			r.errorf(at(v.Key), "key %s stands here twice", key)
			continue
		}
		e := entry{key, at(v.Key), v.Value}
		if _, null := v.Value.(*ast.NullNode); null {
			e.value = nil
		}
		all = append(all, e)
	}
	return all
}

// kindOf says in words what a node is.
func kindOf(n ast.Node) string {
	switch n.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys and values"
	case *ast.SequenceNode:
		return "a list"
	}
	return "a text"
}

// scalar is the text of a scalar exactly as it is written: 01 stays 01.
func scalar(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// text is the text of an entry.
func (r *reader) text(e entry) string {
	s, ok := scalar(e.value)
	if !ok {
		r.errorf(e.pos, "%s: %s, want a text", e.key, kindOf(e.value))
	}
	return s
}

// line is text that fits in one line of a listing.
func (r *reader) line(e entry) string {
	s := r.text(e)
	if strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7F || c == '\uFFFD' }) {
		r.errorf(e.pos, "%s: has control characters", e.key)
		return ""
	}
	return s
}

// list is the texts of an entry that is a list of texts.
func (r *reader) list(e entry) []string {
	var all []string
	for _, v := range r.items(e) {
		s, ok := scalar(v)
		if !ok {
			r.errorf(at(v), "%s: %s, want a text", e.key, kindOf(v))
		}
		all = append(all, s)
	}
	return all
}

// items is the elements of an entry that is a list.
func (r *reader) items(e entry) []ast.Node {
	seq, ok := e.value.(*ast.SequenceNode)
	if !ok {
		r.errorf(e.pos, "%s: %s, want a list", e.key, kindOf(e.value))
		return nil
	}
	return seq.Values
}

// number is a decimal number in a range.
func (r *reader) number(e entry, low, high int) int {
	s := r.text(e)
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high || strconv.Itoa(n) != s {
		r.errorf(e.pos, "%s is %q, want a number from %d to %d", e.key, s, low, high)
		return low
	}
	return n
}

// hexNumber is a number of that many hexadecimal digits.
func (r *reader) hexNumber(e entry, digits int) int {
	s := r.text(e)
	n, err := strconv.ParseUint(s, 16, 4*digits)
	if err != nil || len(s) != digits {
		r.errorf(e.pos, "%s is %q, want %d hexadecimal digits", e.key, s, digits)
		return 0
	}
	return int(n)
}

// flag is true or false.
func (r *reader) flag(e entry) bool {
	s := r.text(e)
	if s != "true" && s != "false" {
		r.errorf(e.pos, "%s is %q, want true or false", e.key, s)
	}
	return s == "true"
}

// plain reports whether s is a name of letters, digits, dots, dashes and
// underscores, and says so if it is not.
func (r *reader) plain(p pos, s string) bool {
	ok := s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-", c)
	})
	if !ok {
		r.errorf(p, "%q is not a name of letters, digits, dots, dashes and underscores", s)
	}
	return ok
}

func (r *reader) unknown(e entry, where string, want ...string) {
	r.errorf(e.pos, "%s: unknown key %s, want %s", where, e.key, strings.Join(want, ", "))
}
