package paper

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// letters are what papers print, and what the fonts have. The library sets one
// letter after another: it can neither join those of India's scripts nor put a
// mark on a letter, so Devanagari is written in Latin letters that are whole.
func letters() *unicode.RangeTable {
	return &unicode.RangeTable{LatinOffset: 2, R16: []unicode.Range16{
		{Lo: 0x0020, Hi: 0x007E, Stride: 1}, {Lo: 0x00A0, Hi: 0x00FF, Stride: 1}, {Lo: 0x0100, Hi: 0x017F, Stride: 1},
		{Lo: 0x0192, Hi: 0x0192, Stride: 1}, {Lo: 0x0218, Hi: 0x021B, Stride: 1}, {Lo: 0x02BC, Hi: 0x02BC, Stride: 1},
		{Lo: 0x1E00, Hi: 0x1EFF, Stride: 1}, {Lo: 0x2010, Hi: 0x2015, Stride: 1},
		{Lo: 0x2018, Hi: 0x201E, Stride: 1}, {Lo: 0x2020, Hi: 0x2022, Stride: 1}, {Lo: 0x2026, Hi: 0x2026, Stride: 1},
		{Lo: 0x2030, Hi: 0x2030, Stride: 1}, {Lo: 0x2032, Hi: 0x2033, Stride: 1}, {Lo: 0x2039, Hi: 0x203A, Stride: 1},
		{Lo: 0x20AC, Hi: 0x20AC, Stride: 1}, {Lo: 0x20B9, Hi: 0x20B9, Stride: 1}, {Lo: 0x2116, Hi: 0x2116, Stride: 1},
		{Lo: 0x2122, Hi: 0x2122, Stride: 1}, {Lo: 0xFFFD, Hi: 0xFFFD, Stride: 1},
	}}
}

// clean is text as the fonts can print it: Devanagari in Latin letters, every
// kind of space as a space, and the sign U+FFFD for what cannot be printed, so
// that nobody takes the rest for the whole. Lines stay lines.
func clean(text string) string {
	have := letters()
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t' || unicode.Is(unicode.Zs, r):
			return ' '
		case r == 0x00AD || !unicode.Is(have, r): // a soft hyphen may or may not be seen
			return unicode.ReplacementChar
		}
		return r
	}, romanize(text))
}

// romanize writes Devanagari in Latin letters after ISO 15919, which guesses
// nothing: an a that is not spoken is still written. Where that has no letter that is
// whole, vocalic r and l are ri and li, and candrabindu is ṁ.
func romanize(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Devanagari, r) || r == '।' || r == '॥' }) {
		return text
	}
	const virama, nukta = '\u094d', '\u093c'
	var b strings.Builder
	var last rune
	open := false // a consonant waits for its vowel; without one it takes an a
	in := []rune(text)
	for i := 0; i < len(in); i++ {
		r := in[i]
		if c := consonant(r); c != "" {
			if open {
				b.WriteByte('a')
			}
			if i+1 < len(in) && in[i+1] == nukta {
				i++
				if n := withNukta(r); n != "" {
					c = n
				}
			}
			b.WriteString(c)
			open = true
		} else if v := vowelSign(r); v != "" || r == virama {
			b.WriteString(v)
			open = false
		} else if (r == '\u200c' || r == '\u200d') && unicode.Is(unicode.Devanagari, last) {
			// joins letters that Latin writes side by side
		} else {
			if open {
				b.WriteByte('a')
			}
			open = false
			if o := otherSign(r); o != "" {
				b.WriteString(o)
			} else {
				b.WriteRune(r)
			}
		}
		last = r
	}
	if open {
		b.WriteByte('a')
	}
	return b.String()
}

// consonant is an entry of ISO 15919, tables 1 and 2, without its vowel.
func consonant(r rune) string {
	list := strings.Fields("k kh g gh ṅ c ch j jh ñ ṭ ṭh ḍ ḍh ṇ t th d dh n ṉ p ph b bh m y r ṟ l ḷ ḻ v ś ṣ s h")
	if i := int(r - 'क'); i >= 0 && i < len(list) {
		return list[i]
	}
	list = strings.Fields("q ḵẖ ġ z ṛ ṛh f ẏ")
	if i := int(r - '\u0958'); i >= 0 && i < len(list) {
		return list[i]
	}
	return ""
}

// withNukta is a consonant with a dot below.
func withNukta(r rune) string {
	if i := strings.IndexRune("कखगजडढफय", r); i >= 0 {
		return consonant('\u0958' + rune(i/len("क")))
	}
	return ""
}

func vowelSign(r rune) string {
	list := strings.Fields("ā i ī u ū ri rī ê e ē ai ô o ō au")
	if i := int(r - '\u093e'); i >= 0 && i < len(list) {
		return list[i]
	}
	return ""
}

func otherSign(r rune) string {
	list := strings.Fields("ṁ ṁ ḥ a a ā i ī u ū ri li ê e ē ai ô o ō au")
	if i := int(r - '\u0901'); i >= 0 && i < len(list) {
		return list[i]
	}
	switch {
	case r >= '०' && r <= '९':
		return string('0' + r - '०')
	case r == '।' || r == '॥':
		return "."
	case r == 'ऽ':
		return "’"
	case r == 'ॐ':
		return "oṁ"
	}
	return ""
}

// ist is the time of India; it has no summer time.
func ist() *time.Location { return time.FixedZone("IST", 5*3600+1800) }

// both is a time in India and in UTC, "" for none.
func both(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(ist()).Format("2 Jan 2006, 15:04:05 IST") + t.UTC().Format(" (2 Jan 15:04:05 UTC)")
}

// stacked is both on two lines, for a column.
func stacked(t time.Time) []said {
	if t.IsZero() {
		return nil
	}
	return []said{{body, t.In(ist()).Format("2 Jan 2006 15:04:05 IST")}, {faint, t.UTC().Format("2 Jan 2006 15:04:05 UTC")}}
}

// grouped is a digest in eights, as people compare it.
func grouped(digest [32]byte) string {
	var s []string
	for i := 0; i < len(digest); i += 4 {
		s = append(s, hex.EncodeToString(digest[i:i+4]))
	}
	return strings.Join(s, " ")
}

// count is a number with its digits in threes, "" for 0.
func count(n int64) string {
	if n == 0 {
		return ""
	}
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// long is so many seconds in the largest unit that divides them.
func long(seconds int) string {
	switch {
	case seconds == 0 || seconds%60 != 0:
		return fmt.Sprintf("%d s", seconds)
	case seconds%3600 != 0:
		return fmt.Sprintf("%d min", seconds/60)
	}
	return fmt.Sprintf("%d h", seconds/3600)
}

// or is text, or a dash: on a record that is complete, nothing left blank is
// filled in later.
func or(text string) string {
	if text == "" {
		return "–"
	}
	return text
}

// choice is "a, b or c".
func choice(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// times is "3 things", "1 thing".
func times(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}
