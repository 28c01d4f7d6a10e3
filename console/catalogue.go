package console

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ankan/document"
)

//go:embed catalogue.yaml
var catalogueFile []byte

// languages are those of the catalogue; every message has all of them.
var languages = []string{"en", "hi"}

// A message is one sentence or label in both languages. {0} is the first
// argument; {0|card|cards} is the first word if the first argument, a number,
// takes the singular, else the second.
type message struct {
	En string `yaml:"en"`
	Hi string `yaml:"hi"`
}

func (m message) in(lang string) string {
	if lang == "hi" {
		return m.Hi
	}
	return m.En
}

// catalogue is all messages by key.
type catalogue map[string]message

func readCatalogue(doc []byte) (catalogue, error) {
	var c catalogue
	if _, err := document.Read("catalogue.yaml", doc, &c); err != nil {
		return nil, err
	}
	for key, m := range c {
		for _, lang := range languages {
			if m.in(lang) == "" {
				return nil, fmt.Errorf("catalogue: %s has no text in %q", key, lang)
			}
			if rest := hole.ReplaceAllString(m.in(lang), ""); strings.ContainsAny(rest, "{}") {
				return nil, fmt.Errorf("catalogue: %s in %q has a brace that is no argument; want {0} or {0|one|many}", key, lang)
			}
		}
		if en, hi := holes(m.En), holes(m.Hi); !slices.Equal(en, hi) {
			return nil, fmt.Errorf("catalogue: %s takes arguments %v in English and %v in Hindi", key, en, hi)
		}
	}
	return c, nil
}

var hole = regexp.MustCompile(`\{([0-9])(?:\|([^|{}]*)\|([^|{}]*))?\}`)

// holes are the arguments that a text names, each once.
func holes(text string) []string {
	var all []string
	for _, m := range hole.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// A Text is a message of the catalogue with its arguments, for a view to hold:
// the page puts it in the reader's language.
type Text struct {
	Key  string
	Args []any
	Else string // what to show if the catalogue has no such key
}

// say is the message with this key.
func say(key string, args ...any) Text { return Text{Key: key, Args: args} }

// either is the message with this key or, where the catalogue has none, the
// word itself: a policy, a module or a later version may name what we do not.
func either(key, word string) Text { return Text{Key: key, Else: word} }

// plain is text that is not ours to translate: what a person wrote, or what
// another package found.
func plain(s string) Text { return Text{Args: []any{s}} }

// A tongue puts views into words of one language.
type tongue struct {
	lang  string
	words catalogue
	now   func() time.Time
	files *static
}

// text is a message with its arguments in place. Arguments are escaped, unless
// they are HTML made here.
func (in *tongue) text(key string, args ...any) (template.HTML, error) {
	m, ok := in.words[key]
	if !ok {
		return "", fmt.Errorf("the catalogue has no %q", key)
	}
	var wrong error
	s := m.in(in.lang)
	var b strings.Builder
	at := 0
	for _, h := range hole.FindAllStringSubmatchIndex(s, -1) {
		b.WriteString(template.HTMLEscapeString(s[at:h[0]]))
		at = h[1]
		i, _ := strconv.Atoi(s[h[2]:h[3]])
		switch {
		case i >= len(args):
			wrong = errors.Join(wrong, fmt.Errorf("%s: no argument %d", key, i))
		case h[4] < 0:
			v, err := in.value(args[i])
			b.WriteString(string(v))
			wrong = errors.Join(wrong, err)
		case in.one(args[i]):
			b.WriteString(template.HTMLEscapeString(s[h[4]:h[5]]))
		default:
			b.WriteString(template.HTMLEscapeString(s[h[6]:h[7]]))
		}
	}
	b.WriteString(template.HTMLEscapeString(s[at:]))
	return template.HTML(b.String()), wrong
}

// say is a Text in this language.
func (in *tongue) say(t Text) (template.HTML, error) {
	if t.Key == "" {
		var b strings.Builder
		for _, a := range t.Args {
			v, err := in.value(a)
			if err != nil {
				return "", err
			}
			b.WriteString(string(v))
		}
		return template.HTML(b.String()), nil
	}
	if _, known := in.words[t.Key]; !known && t.Else != "" {
		return template.HTML(template.HTMLEscapeString(t.Else)), nil
	}
	return in.text(t.Key, t.Args...)
}

// value is an argument as HTML.
func (in *tongue) value(v any) (template.HTML, error) {
	switch v := v.(type) {
	case template.HTML:
		return v, nil
	case time.Time:
		return in.when(v), nil
	case time.Duration:
		return template.HTML(in.duration(v)), nil
	case int, int64, uint64:
		return template.HTML(in.number(v)), nil
	case Text:
		return in.say(v)
	default:
		return template.HTML(template.HTMLEscapeString(fmt.Sprint(v))), nil
	}
}

// one says whether a number takes the singular (CLDR: in English 1, in Hindi 0
// and 1).
func (in *tongue) one(v any) bool {
	s := fmt.Sprint(v)
	return s == "1" || in.lang == "hi" && s == "0"
}

// number groups digits: 2,500,000 in English, 25,00,000 in Hindi.
func (in *tongue) number(v any) string {
	s := fmt.Sprint(v)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	step := 3
	var parts []string
	for len(s) > step {
		parts = append(parts, s[len(s)-step:])
		s = s[:len(s)-step]
		if in.lang == "hi" {
			step = 2
		}
	}
	parts = append(parts, s)
	slices.Reverse(parts)
	return sign + strings.Join(parts, ",")
}

// ist is the only time of the country, without summer time.
var ist = time.FixedZone("IST", 5*3600+1800)

// moment writes one time of day, with its date where now has another, and the
// year where that is another too.
func (in *tongue) moment(t, now time.Time, clock string) string {
	s := t.Format(clock)
	if y, m, d := t.Date(); y != now.Year() || m != now.Month() || d != now.Day() {
		date := fmt.Sprintf("%d %s", d, in.nth("time.months", int(m)-1))
		if y != now.Year() {
			date += " " + strconv.Itoa(y)
		}
		s = date + " " + s
	}
	return s
}

// nth is one of a message's words that are parted by bars.
func (in *tongue) nth(key string, n int) string {
	return strings.Split(in.words[key].in(in.lang), "|")[n]
}

// stamp writes a time in both zones. UTC has its date where it is another day.
func (in *tongue) stamp(t time.Time, class, clock string) template.HTML {
	if t.IsZero() {
		h, _ := in.text("time.none")
		return `<span class="faint">` + h + `</span>`
	}
	here, utc := t.In(ist), t.UTC()
	there := utc.Format(clock)
	if here.Day() != utc.Day() {
		there = fmt.Sprintf("%d %s ", utc.Day(), in.nth("time.months", int(utc.Month())-1)) + there
	}
	return template.HTML(fmt.Sprintf(`<time class="%s" datetime="%s">%s IST <span>%s UTC</span></time>`,
		class, utc.Format(time.RFC3339), in.moment(here, in.now().In(ist), clock), there))
}

func (in *tongue) when(t time.Time) template.HTML    { return in.stamp(t, "when", "15:04") }
func (in *tongue) exactly(t time.Time) template.HTML { return in.stamp(t, "when two", "15:04:05") }

// today is a date with its weekday, without the time: Thu 19 Nov.
func (in *tongue) today(t time.Time) string {
	t = t.In(ist)
	return fmt.Sprintf("%s %d %s", in.nth("time.days", int(t.Weekday())), t.Day(), in.nth("time.months", int(t.Month())-1))
}

// day is a date: 19 Nov, 19 Nov 2027.
func (in *tongue) day(t time.Time) template.HTML {
	if t.IsZero() {
		return in.when(t)
	}
	here := t.In(ist)
	s := fmt.Sprintf("%d %s", here.Day(), in.nth("time.months", int(here.Month())-1))
	if here.Year() != in.now().In(ist).Year() {
		s += " " + strconv.Itoa(here.Year())
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`, here.Format(time.DateOnly), s))
}

// duration writes the two largest units: 5 d 2 h, 21 h 14 min, 8 min 20 s. From
// ten minutes on, seconds are left out.
func (in *tongue) duration(d time.Duration) string {
	d = max(d.Truncate(time.Second), 0)
	day, h, m, s := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60, int(d.Seconds())%60
	unit := func(n, which int) string { return strconv.Itoa(n) + " " + in.nth("time.units", which) }
	two := func(a, b string, n int) string {
		if n == 0 {
			return a
		}
		return a + " " + b
	}
	switch {
	case day > 0:
		return two(unit(day, 0), unit(h, 1), h)
	case h > 0:
		return two(unit(h, 1), unit(m, 2), m)
	case m >= 10:
		return unit(m, 2)
	case m > 0:
		return two(unit(m, 2), unit(s, 3), s)
	default:
		return unit(s, 3)
	}
}
