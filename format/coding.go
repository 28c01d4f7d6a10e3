package format

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A coding is how the bytes of a layout's files stand for characters. The zero
// coding is UTF-8 without byte order mark.
type coding struct {
	bom  bool
	high string // the characters of the bytes from 80 on, for a coding of a byte each; "": UTF-8
}

const bom = "\uFEFF"

// latin1 is the upper half of ISO/IEC 8859-1 without its control characters.
const latin1 = "\u00a0¡¢£¤¥¦§¨©ª«¬\u00ad®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ"

// none stands in a coding's table where a byte is no character.
const none = "\uFFFD"

// codings are the codings of files by the names that layouts use.
func codings() map[string]coding {
	return map[string]coding{
		"":               {},
		"utf-8":          {},
		"utf-8 with bom": {bom: true},
		"latin-1":        {high: strings.Repeat(none, 32) + latin1},
		"windows-1252":   {high: "€" + none + "‚ƒ„…†‡ˆ‰Š‹Œ" + none + "Ž" + none + none + "‘’“”•–—˜™š›œ" + none + "žŸ" + latin1},
	}
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
	if s.coding.high == "" || !slices.ContainsFunc(s.raw, func(b byte) bool { return b >= utf8.RuneSelf }) {
		return
	}
	high := []rune(s.coding.high)
	text := make([]byte, 0, len(s.raw)+16)
	for i, b := range s.raw {
		if b < utf8.RuneSelf {
			text = append(text, b)
			continue
		}
		r := high[b-utf8.RuneSelf]
		if r == utf8.RuneError {
			s.stop(i+1, "byte %02X is no character of the layout's text", b)
			return
		}
		text = utf8.AppendRune(text, r)
	}
	s.text = text
}

// encode writes what was appended to dst after from in the coding of files.
func (c coding) encode(dst []byte, from int) ([]byte, error) {
	if c.high == "" || !slices.ContainsFunc(dst[from:], func(b byte) bool { return b >= utf8.RuneSelf }) {
		return dst, nil
	}
	high := []rune(c.high)
	to := from
	for i := from; i < len(dst); {
		r, n := utf8.DecodeRune(dst[i:])
		i += n
		b := byte(r)
		if r >= utf8.RuneSelf {
			at := slices.Index(high, r)
			if at < 0 || r == utf8.RuneError {
				return dst[:from], fmt.Errorf("the character %q is none of the layout's text", r)
			}
			b = byte(utf8.RuneSelf + at)
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
