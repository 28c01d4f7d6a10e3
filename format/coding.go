package format

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// A coding is how the bytes of a layout's files stand for characters. The zero
// coding is UTF-8 without byte order mark.
type coding struct {
	bom   bool
	table *charmap.Charmap // of a byte for each character; nil: UTF-8
}

const bom = "\uFEFF"

// codings are the codings of files by the names that layouts use.
func codings() map[string]coding {
	return map[string]coding{
		"":               {},
		"utf-8":          {},
		"utf-8 with bom": {bom: true},
		"latin-1":        {table: charmap.ISO8859_1},
		"windows-1252":   {table: charmap.Windows1252},
	}
}

// ascii says that text is the same in all codings.
func ascii(text []byte) bool {
	return !slices.ContainsFunc(text, func(b byte) bool { return b >= utf8.RuneSelf })
}

// decode makes the present line UTF-8.
func (s *scanner) decode() {
	if s.coding.bom && s.line == 1 {
		rest, ok := bytes.CutPrefix(s.raw, []byte(bom))
		if !ok {
			s.stop(1, "file does not begin with a byte order mark, as its layout says")
			return
		}
		s.text, s.raw = rest, rest
	}
	if s.coding.table == nil || ascii(s.raw) {
		return
	}
	text := make([]byte, 0, len(s.raw)+16)
	for i, b := range s.raw {
		r := s.coding.table.DecodeByte(b)
		if !isText(r) {
			s.stop(i+1, "byte %02X is no character of the layout's text", b)
			return
		}
		text = utf8.AppendRune(text, r)
	}
	s.text = text
}

// isText refuses what stands for no character, and the control characters that
// tables have from 80 to 9F. Those below are refused wherever they come from.
func isText(r rune) bool { return r != utf8.RuneError && (r < utf8.RuneSelf || r > 0x9F) }

// encode writes what was appended to dst after from in the coding of files.
func (c coding) encode(dst []byte, from int) ([]byte, error) {
	if c.table == nil || ascii(dst[from:]) {
		return dst, nil
	}
	to := from
	for i := from; i < len(dst); {
		r, n := utf8.DecodeRune(dst[i:])
		i += n
		b, ok := c.table.EncodeRune(r)
		if !ok || !isText(r) {
			return dst[:from], fmt.Errorf("the character %q is none of the layout's text", r)
		}
		dst[to] = b
		to++
	}
	return dst[:to], nil
}

// begin is what a file begins with.
func (c coding) begin(dst []byte) []byte {
	if c.bom {
		return append(dst, bom...)
	}
	return dst
}
