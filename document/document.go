// Package document reads the YAML documents that people write: exactly one
// document, known keys only, every error with its place. It does no IO.
package document

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// MaxSize bounds a document, in bytes.
const MaxSize = 1 << 20

// An Error is what is wrong with a document, and where.
type Error struct {
	File         string
	Line, Column int // from 1
	Text         string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Text)
}

// A Tree remembers where the parts of a document stand.
type Tree struct{ file *ast.File }

// Read reads doc into v, a pointer to a struct with yaml tags. Its errors are
// *Error. v is undefined after one.
func Read(file string, doc []byte, v any) (t *Tree, err error) {
	at := func(line, column int, format string, args ...any) error {
		return &Error{file, line, column, fmt.Sprintf(format, args...)}
	}
	if len(doc) > MaxSize {
		return nil, at(1, 1, "%d bytes, want at most %d", len(doc), MaxSize)
	}
	defer func() {
		// The library does not survive every document.
		if recover() != nil {
			t, err = nil, at(1, 1, "not YAML that can be read")
		}
	}()
	tree, err := parser.ParseBytes(doc, 0)
	if err == nil {
		if n := len(tree.Docs); n > 1 {
			return nil, at(1, 1, "%d YAML documents, want 1", n)
		} else if n == 0 || tree.Docs[0].Body == nil {
			return nil, at(1, 1, "the document is empty")
		}
		err = yaml.NodeToValue(tree.Docs[0].Body, v, yaml.Strict())
	}
	if err == nil {
		return &Tree{tree}, nil
	}
	var placed yaml.Error
	if errors.As(err, &placed) && placed.GetToken() != nil && placed.GetToken().Position != nil {
		p := placed.GetToken().Position
		return nil, at(p.Line, p.Column, "%s", placed.GetMessage())
	}
	return nil, at(1, 1, "%v", err)
}

// Place is where the value at a path such as "$.ranges[1].imsi" stands, or the
// nearest part around it that is there.
func (t *Tree) Place(path string) (line, column int) {
	for at := path; at != ""; at = at[:max(strings.LastIndexAny(at, ".["), 0)] {
		p, err := yaml.PathString(at)
		if err != nil {
			continue
		}
		n, err := p.FilterFile(t.file)
		if err != nil || n == nil {
			continue
		}
		if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
			n = m.Values[0].Key // a mapping's own token is its first colon
		}
		return n.GetToken().Position.Line, n.GetToken().Position.Column
	}
	return 1, 1
}
