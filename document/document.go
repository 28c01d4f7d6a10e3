// Package document reads the YAML documents that people write: exactly one
// document, known keys only, every error with its place. It does no IO.
package document

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
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

// maxDepth is how deep lists and mappings of a document lie in one another, and
// maxTokens of how many words and signs it may consist: the library's work grows
// with their squares.
const (
	maxDepth  = 64
	maxTokens = 100_000
)

// Parse reads the one document that doc is. Anchors, aliases and tags are refused:
// a document says each thing where it stands, so that it is as long as it looks.
// The errors are *Error.
func Parse(file string, doc []byte) (t *Tree, err error) {
	at := func(line, column int, format string, args ...any) error {
		return &Error{file, line, column, fmt.Sprintf(format, args...)}
	}
	if len(doc) > MaxSize {
		return nil, at(1, 1, "%d bytes, want at most %d", len(doc), MaxSize)
	}
	defer survive(file, &err)
	tokens := lexer.Tokenize(string(doc))
	if p, why := refused(tokens); why != "" {
		return nil, at(p.Line, p.Column, "%s", why)
	}
	tree, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, placed(file, err)
	}
	if n := len(tree.Docs); n > 1 {
		return nil, at(1, 1, "%d YAML documents, want 1", n)
	} else if n == 0 || tree.Docs[0].Body == nil {
		return nil, at(1, 1, "the document is empty")
	}
	return &Tree{tree}, nil
}

// refused is the first thing that no document may have, and why.
func refused(tokens token.Tokens) (*token.Position, string) {
	if len(tokens) > maxTokens {
		return tokens[maxTokens].Position, fmt.Sprintf("more than %d words and signs; want a shorter document", maxTokens)
	}
	flow, dashes := 0, 0 // brackets that are open; dashes one behind the other
	for i, tk := range tokens {
		switch tk.Type {
		case token.AnchorType, token.AliasType, token.TagType, token.MergeKeyType:
			return tk.Position, fmt.Sprintf("%s is an anchor, alias or tag; want what it stands for written out", tk.Value)
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(flow-1, 0)
		}
		if dashes++; tk.Type != token.SequenceEntryType || i > 0 && tokens[i-1].Position.Line != tk.Position.Line {
			dashes = 0
		}
		if max(flow, dashes) > maxDepth {
			return tk.Position, fmt.Sprintf("lists and mappings lie more than %d deep", maxDepth)
		}
	}
	return nil, ""
}

// survive turns a panic into an error: the library has them for odd documents.
func survive(file string, err *error) {
	if recover() != nil {
		*err = &Error{file, 1, 1, "not YAML that can be read"}
	}
}

// placed is an error of the library with its place.
func placed(file string, err error) error {
	var e yaml.Error
	if errors.As(err, &e) && e.GetToken() != nil && e.GetToken().Position != nil {
		p := e.GetToken().Position
		return &Error{file, p.Line, p.Column, e.GetMessage()}
	}
	return &Error{file, 1, 1, err.Error()}
}

// Read reads doc into v, a pointer to a struct with yaml tags. Its errors are
// *Error; v is undefined after one.
func Read(file string, doc []byte, v any) (t *Tree, err error) {
	t, err = Parse(file, doc)
	if err != nil {
		return nil, err
	}
	defer survive(file, &err)
	if err := yaml.NodeToValue(t.Body(), v, yaml.Strict()); err != nil {
		return nil, placed(file, err)
	}
	return t, nil
}

// Body is what the document says.
func (t *Tree) Body() ast.Node { return t.file.Docs[0].Body }

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
