package paper

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// Every letter that papers print is in every font.
func TestFontsHaveTheLetters(t *testing.T) {
	for _, f := range fonts() {
		file, err := fontFiles.ReadFile("fonts/" + f.file)
		if err != nil {
			t.Fatal(err)
		}
		has := runesOf(t, file)
		n := 0
		for _, r16 := range letters().R16 {
			for r := r16.Lo; r <= r16.Hi; r++ {
				if n++; !has[r] {
					t.Errorf("%s has no %U", f.file, r)
				}
			}
		}
		if n < 550 {
			t.Errorf("%d letters", n)
		}
	}
}

// runesOf reads the character map of a font, format 4 (OpenType, cmap).
func runesOf(t *testing.T, file []byte) map[uint16]bool {
	t.Helper()
	u16 := func(at int) int { return int(binary.BigEndian.Uint16(file[at:])) }
	u32 := func(at int) int { return int(binary.BigEndian.Uint32(file[at:])) }
	table := 0
	for i := range u16(4) {
		if string(file[12+16*i:16+16*i]) == "cmap" {
			table = u32(12 + 16*i + 8)
		}
	}
	for i := range u16(table + 2) {
		sub := table + u32(table+4+8*i+4)
		if u16(sub) != 4 {
			continue
		}
		has := map[uint16]bool{}
		double := u16(sub + 6)
		for s := 0; s < double; s += 2 {
			end, start := u16(sub+14+s), u16(sub+16+double+s)
			delta, offset := u16(sub+16+2*double+s), u16(sub+16+3*double+s)
			for r := start; r <= end && r < 0xFFFF; r++ {
				glyph := r + delta
				if offset != 0 {
					if glyph = u16(sub + 16 + 3*double + s + offset + 2*(r-start)); glyph != 0 {
						glyph += delta
					}
				}
				has[uint16(r)] = glyph%0x10000 != 0
			}
		}
		return has
	}
	t.Fatal("the font has no character map of format 4")
	return nil
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain – text":         "plain – text",
		"a\tb\u00a0c\u2003d":   "a b c d",
		"a\r\nb\nc":            "a\nb\nc",
		"\x00\x1b\u202e\u00ad": "\uFFFD\uFFFD\uFFFD\uFFFD",
		"\xff":                 "\uFFFD",
		"🔑中":                   "\uFFFD\uFFFD",
		"₹ 100":                "₹ 100",
		"e\u0301":              "e\uFFFD",
		"Straße Ārya ṭhīka":    "Straße Ārya ṭhīka",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

// Samples after the tables of ISO 15919.
func TestRomanize(t *testing.T) {
	for in, want := range map[string]string{
		"राम कुमार":    "rāma kumāra",
		"अनीता देशमुख": "anītā dēśamukha",
		"नमस्ते":       "namastē",
		"क्षत्रिय":     "kṣatriya",
		"हिंदी":        "hiṁdī",
		"दुःख":         "duḥkha",
		"चाँद":         "cāṁda",
		"कृष्ण":        "kriṣṇa",
		"ऋषि":          "riṣi",
		"ज़फ़र":        "zafara",
		"\u095bफर":     "zaphara",
		"ख़ान":         "ḵẖāna",
		"पढ़ाई":        "paṛhāī",
		"क\u093cलम":    "qalama",
		"म\u093c":      "ma",
		"ऑफिस डॉक्टर":  "ôphisa ḍôkṭara",
		"कौन औरत ऐनक":  "kauna aurata ainaka",
		"१२३४५६७८९०":   "1234567890",
		"ठीक है। बस॥":  "ṭhīka hai. basa.",
		"ॐ":            "oṁ",
		"शिवोऽहम्":     "śivō’ham",
		"क्\u200dष":    "kṣa",
		"Key नं. 7":    "Key naṁ. 7",
		"a\u200db":     "a\u200db",
		"":             "",
	} {
		if got := romanize(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		long(0): "0 s", long(90): "90 s", long(120): "2 min", long(86400): "24 h", count(0): "", count(999): "999", count(1000): "1,000", count(1234567): "1,234,567",
		choice(nil): "", choice([]string{"a"}): "a", choice([]string{"a", "b", "c"}): "a, b or c", times(1, "day"): "1 day", times(2, "day"): "2 days",
		both(time.Time{}): "", both(time.Date(2026, 12, 31, 20, 0, 0, 0, time.UTC)): "1 Jan 2027, 01:30:00 IST (31 Dec 20:00:00 UTC)",
		grouped([32]byte{1}): "01000000" + strings.Repeat(" 00000000", 7), day(time.Date(2026, 12, 31, 20, 0, 0, 0, time.UTC)): "1 Jan 2027",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Whatever somebody writes, what is printed is letters of the fonts, no line is
// wider than its column, and nothing is lost between lines.
func FuzzText(f *testing.F) {
	for _, s := range append(hostile(), "plain", "अनीता देशमुख", "key-custodian, alternate-nodal-officer") {
		f.Add(s, uint8(30))
	}
	s, err := paper{mark: mark("1"), kind: "fuzz", name: "Fuzz"}.open(0)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, wide uint8) {
		if len(text) > 20_000 {
			return
		}
		have := clean(text)
		for _, r := range have {
			if r != '\n' && !unicode.Is(letters(), r) {
				t.Fatalf("%U is in no font", r)
			}
		}
		if clean(have) != have || !utf8.ValidString(have) {
			t.Fatal("cleaned again it changes")
		}
		column := max(float64(wide), 6)
		var all strings.Builder
		for _, l := range s.wrap(body, text, column) {
			if w := s.pdf.GetStringWidth(l.text); w > column+0.01 {
				t.Fatalf("%q is %f mm wide, the column %f", l.text, w, column)
			}
			all.WriteString(l.text)
		}
		if bare(all.String()) != bare(have) {
			t.Fatal("lines lose something")
		}
		if c := s.clip(faint, text, column); s.pdf.GetStringWidth(c) > column+0.01 || strings.Contains(c, "\n") {
			t.Fatalf("%q does not fit %f mm", c, column)
		}
	})
}
