package console

import (
	"bytes"
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"ankan/act"
)

// funcs are what templates can call.
func (in *tongue) funcs() template.FuncMap {
	return template.FuncMap{
		"t":        in.text,
		"say":      in.say,
		"n":        in.number,
		"when":     in.when,
		"exactly":  in.exactly,
		"second":   func(t time.Time) template.HTML { return in.stamp(t, "when", "15:04:05") },
		"stacked":  func(t time.Time) template.HTML { return in.stamp(t, "when two", "15:04") },
		"day":      in.day,
		"today":    in.today,
		"dur":      in.duration,
		"left":     in.left,
		"share":    in.share,
		"now":      in.now,
		"ist":      func(t time.Time) string { return t.In(ist).Format("15:04:05") },
		"utc":      func(t time.Time) string { return t.UTC().Format("15:04:05") },
		"rfc":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"dotted":   func(s string) string { return strings.Join(grouping(s, 4), " ") },
		"asset":    in.files.address,
		"icon":     in.icon,
		"badge":    in.badge,
		"tone":     func(state string) string { return tones[state] },
		"role":     in.role,
		"roles":    in.roles,
		"who":      in.who,
		"kind":     in.kind,
		"family":   in.family,
		"kcv":      in.kcv,
		"line":     wordsLine,
		"words":    act.Words,
		"lines":    actLines,
		"shown":    shown,
		"grouped":  grouped,
		"field":    field,
		"pick":     pick,
		"initials": initials,
		"signed":   signed,
		"nothing":  nothing,
		"failures": func() []string { return failures },
		"turn":     func(i int) int { return 12 * i },
		"plus":     func(a, b int) int { return a + b },
		"times":    func(a, b int) int { return a * b },
		"scale":    func(percent int) int { return percent * 80 / 100 },
		"inboth":   func(en, hi string) string { return map[string]string{"en": en, "hi": hi}[in.lang] },
		"list":     func(all ...any) []any { return all },
	}
}

// family is the message prefix.key, or the key itself where the catalogue does
// not know it: a policy may name roles and acts of its own.
func (in *tongue) family(prefix, key string) template.HTML {
	if h, err := in.text(prefix + "." + key); err == nil {
		return h
	}
	return template.HTML(template.HTMLEscapeString(key))
}

// kind is an act in words: "Release order OP1-2611-0042".
func (in *tongue) kind(kind, subject string) template.HTML {
	id := template.HTML(`<span class="id">` + template.HTMLEscapeString(subject) + `</span>`)
	if h, err := in.text("kind."+kind, id); err == nil {
		return h
	}
	return template.HTML(template.HTMLEscapeString(kind)+" ") + id
}

func (in *tongue) role(r string) template.HTML { return in.family("role", r) }

func (in *tongue) roles(all []string) template.HTML {
	var s []string
	for _, r := range all {
		s = append(s, string(in.role(r)))
	}
	return template.HTML(strings.Join(s, ", "))
}

// Who is a person as others see one: role and number, not the name.
type Who struct {
	Role   string // key of role.*; "" if it does not matter
	Number string // "0021"
}

// who writes "Key manager, person 0021".
func (in *tongue) who(w Who) (template.HTML, error) {
	switch {
	case w.Number == "" && w.Role == "":
		return in.text("who.nobody")
	case w.Role == "":
		return in.text("who.person", w.Number)
	case w.Number == "":
		return in.role(w.Role), nil
	}
	return in.text("who.both", in.role(w.Role), w.Number)
}

// initials stand in a seal: KM for key-manager, and WIT for witness, which is
// not WAR for warehouse.
func initials(role string) string {
	if !strings.Contains(role, "-") {
		return strings.ToUpper(firstBytes(role, 3))
	}
	var b strings.Builder
	for part := range strings.SplitSeq(role, "-") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]))
		}
	}
	return b.String()
}

// icon is one of icons.svg. size is "s" or "l" or nothing.
func (in *tongue) icon(name string, size ...string) template.HTML {
	class := "i"
	for _, s := range size {
		class += " i-" + s
	}
	return template.HTML(fmt.Sprintf(`<svg class="%s" aria-hidden="true"><use href="%s#i-%s"/></svg>`, class, in.files.address("icons.svg"), name))
}

// tones give each state its mark: ok well, warn look, bad act, ink under way,
// hold waiting, off none yet, seal irreversible.
var tones = map[string]string{
	"waits": "hold", "waits-for-you": "hold", "approved": "ok", "rejected": "bad", "lapsed": "off", "used": "ok", "refused": "bad", "open": "hold",
	"signed": "ok", "done": "ok", "todo": "off", "now": "ink", "failed": "bad",
	"pre-active": "off", "making": "ink", "active": "ok", "suspended": "warn", "deactivated": "off", "compromised": "bad", "destroyed": "seal",
	"reserving": "ink", "reserved": "ok", "issued": "ok",
	"joined": "ink", "in-place": "ok", "out": "warn", "missing": "bad", "gone": "off", "announced": "ink", "broken": "bad", "due": "warn", "overdue": "bad", "later": "off",
	"sent": "ink", "received": "ok", "tampered": "seal", "closed": "ok", "returned": "ok",
	"offered": "hold", "accepted": "ok", "answered": "ok", "explained": "warn", "shipped": "ink",
	"planned": "hold", "running": "ink", "paused": "hold", "aborted": "seal", "ready": "ok",
	"employed": "ok", "temporary": "warn", "leaving": "warn", "left": "off", "locked": "bad", "valid": "ok", "expired": "bad",
	"healthy": "ok", "degraded": "warn", "down": "bad", "certified": "ok", "uncertified": "warn",
	"error": "bad", "warning": "warn", "advice": "ink", "in-force": "ok", "former": "off", "coming": "hold",
	"present": "ok", "away": "off", "checked": "ok", "entering": "ink", "unread": "ink", "read": "off", "ended": "off", "irreversible": "seal",
	"good": "ok", "doubt": "warn", "lost": "bad", "abandoned": "seal", "retired": "off",
	"drafted": "off", "registered": "off", "integrated": "ink", "tested": "hold", "withdrawn": "bad", "pass": "ok", "fail": "bad", "not-applicable": "off", "not-run": "off",
	"added": "ok", "removed": "bad", "changed": "warn", "consistent": "ok", "stale": "warn",
}

// badge is a state with its mark and its word.
func (in *tongue) badge(state string, args ...any) (template.HTML, error) {
	tone, ok := tones[state]
	if !ok {
		return "", fmt.Errorf("no state %q", state)
	}
	h, err := in.text("state."+state, args...)
	return template.HTML(`<span class="badge `+tone+`">`) + h + `</span>`, err
}

// A KCV is a check value. It is never shown without the method: two methods
// are never compared.
type KCV struct {
	Value  string // hexadecimal
	Method string // as package hsm names it: CMAC, GP or ECB-ZEROS
}

// noKCV is the method of keys that never have a check value.
const noKCV = "none"

// kcv writes value and method as one thing. size is "big" or nothing.
func (in *tongue) kcv(k KCV, size ...string) (template.HTML, error) {
	if k.Method == noKCV {
		return in.text("kcv.never")
	}
	if k.Value == "" {
		return in.text("kcv.none")
	}
	class := strings.Join(append([]string{"kcv"}, size...), " ")
	return template.HTML(fmt.Sprintf(`<span class="%s"><b>%s</b> <span>%s</span></span>`, class, template.HTMLEscapeString(k.Value), in.family("method", strings.ToLower(k.Method)))), nil
}

// wordsLine is a digest's words in two lines of three, for a table.
func wordsLine(w []string) template.HTML {
	if len(w) == 0 {
		return ""
	}
	half := (len(w) + 1) / 2
	return template.HTML(`<span class="words-line" lang="en">` + template.HTMLEscapeString(strings.Join(w[:half], " ")) + `<br>` +
		template.HTMLEscapeString(strings.Join(w[half:], " ")) + `</span>`)
}

func grouping(s string, n int) []string {
	var all []string
	for len(s) > n {
		all, s = append(all, s[:n]), s[n:]
	}
	return append(all, s)
}

// left is a deadline as time that is left, which the script counts down.
func (in *tongue) left(until time.Time) template.HTML {
	d := until.Sub(in.now())
	s := in.duration(d)
	if d <= 0 {
		h, _ := in.text("time.over")
		s = string(h)
	}
	return template.HTML(fmt.Sprintf(`<b data-until="%s">%s</b>`, until.UTC().Format(time.RFC3339), s))
}

// share is how much of the time from a to b is left, in percent.
func (in *tongue) share(a, b time.Time) int {
	all, rest := b.Sub(a), b.Sub(in.now())
	if all <= 0 || rest <= 0 {
		return 0
	}
	return min(100, int(100*rest/all))
}

// Seat is a place for one signature.
type Seat struct {
	Roles  []string  // who may sit there; keys of role.*
	State  string    // open, signed or rejected
	By     Who       // who signed
	At     time.Time // when
	Reason string    // in the signer's words
	Proof  []string  // keys of proved.*
	You    bool      // the place waits for the reader
}

// Initials is what the seal shows.
func (s Seat) Initials() string {
	switch {
	case s.By.Role != "":
		return initials(s.By.Role)
	case len(s.Roles) > 0:
		return initials(s.Roles[0])
	}
	return "?"
}

// Class is the seal's form.
func (s Seat) Class() string {
	return map[string]string{"signed": "done", "rejected": "no"}[s.State] + map[bool]string{true: "open"}[s.State == "open"]
}

// signed counts the places that are taken.
func signed(seats []Seat) int {
	n := 0
	for _, s := range seats {
		if s.State == "signed" {
			n++
		}
	}
	return n
}

// Clocks are the two clocks of an act. Approved is when the last signature came
// in; zero while the first clock runs.
type Clocks struct {
	Asked, ApproveBy time.Time
	UseWithin        time.Duration
	Approved, UseBy  time.Time
}

// A Fact is a name and a value.
type Fact struct{ Name, Value Text }

// Empty says what will be here. Title, Text and Next are keys.
type Empty struct {
	Icon, Title, Text, Next, Href string
}

// failures are the codes of passkey.js's Failure; nothing writes to it.
var failures = []string{"unsupported", "cancelled", "registered", "no-prf", "wrong-passkey", "sealed", "input", "failed"}

// nothing is an Empty for a template. next and href may be left out.
func nothing(icon, title, text string, next ...string) Empty {
	e := Empty{Icon: icon, Title: title, Text: text}
	if len(next) == 2 {
		e.Next, e.Href = next[0], next[1]
	}
	return e
}

// A Row is one line of what changes.
type Row struct {
	Thing Text
	Now   Text
	After Text
}

// A Step is one point of a known road, or of a life.
type Step struct {
	State string // done, now or todo
	Grave bool   // it cannot be undone
	Text  Text
	By    Who
	At    time.Time
	Note  Text
	Href  string
}

// A Signing is what a passkey is asked to sign.
type Signing struct {
	Challenge  string // 32 bytes, base64url without padding
	Credential string // the passkey, base64url without padding
	RP         string // relying party: the site's host name
}

// A Form is what a person typed, as it came, and what is wrong with it.
type Form struct {
	Action  string
	Values  map[string]string
	Errors  map[string]Text
	Problem *Text // about the whole form
	Sign    Signing
	// Register is the options of a registration as JSON, for a form that makes a
	// passkey.
	Register string
}

// An Option is one choice of a list.
type Option struct {
	Value    string
	Label    Text
	Selected bool
}

// input is one field as the template shows it.
type input struct {
	ID, Name, Label, Hint, Value string
	Error                        *Text
	Type, Autocomplete, Mode     string
	Required, Mono               bool
	Max                          int
	Options                      []Option
}

// field is a text field of a form. Options are words: "required", "mono",
// "type=password", "autocomplete=username", "inputmode=numeric", "max=64",
// "hint=KEY".
func field(f Form, name, label string, options ...string) (input, error) {
	in := input{ID: "f-" + name, Name: name, Label: label, Value: f.Values[name], Type: "text", Autocomplete: "off"}
	if e, wrong := f.Errors[name]; wrong {
		in.Error = &e
	}
	for _, o := range options {
		k, v, _ := strings.Cut(o, "=")
		switch k {
		case "required":
			in.Required = true
		case "mono":
			in.Mono = true
		case "type":
			in.Type = v
		case "autocomplete":
			in.Autocomplete = v
		case "inputmode":
			in.Mode = v
		case "hint":
			in.Hint = v
		case "max":
			n, err := strconv.Atoi(v)
			if err != nil {
				return in, err
			}
			in.Max = n
		default:
			return in, fmt.Errorf("field %s: no option %q", name, o)
		}
	}
	if in.Type == "password" { // what was typed there never comes back
		in.Value = ""
	}
	return in, nil
}

// pick is a list to choose from. What was typed before wins over Selected.
func pick(f Form, name, label string, all []Option, options ...string) (input, error) {
	in, err := field(f, name, label, options...)
	in.Options = slices.Clone(all)
	if in.Value != "" {
		for i := range in.Options {
			in.Options[i].Selected = in.Options[i].Value == in.Value
		}
	}
	return in, err
}

// A Pager says which part of a list is shown, and where the rest is.
type Pager struct {
	From, To, Total int
	Newer, Older    string // addresses; "" at the ends
}

// An actLine is one line of an act's canonical form. Name and Value together,
// line after line, are the very bytes.
type actLine struct {
	Name, Value string
	What        bool // says what is done, and to what
	In          bool // one of the parameters
	Hidden      bool // held characters that do not show; they are written out
}

// actLines breaks the canonical form after each field.
func actLines(a act.Act) []actLine {
	var all []actLine
	var quoted, escaped bool
	depth, from, in := 0, 0, 1 // in is the depth where the line begins
	b := a.Canonical()
	for i, c := range b {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{':
			if depth++; depth == 2 && b[i+1] != '}' {
				all, from, in = append(all, cutLine(b[from:i+1], in)), i+1, depth
			}
		case c == '}':
			depth--
		case c == ',':
			all, from, in = append(all, cutLine(b[from:i+1], in)), i+1, depth
		}
	}
	return append(all, cutLine(b[from:], in))
}

func cutLine(b []byte, depth int) actLine {
	l := actLine{In: depth == 2}
	if name, value, ok := bytes.Cut(b, []byte(`":`)); ok {
		l.Name, l.Value = string(name)+`":`, string(value)
	} else {
		l.Value = string(b)
	}
	l.What = l.Name == `"kind":` || l.Name == `"subject":`
	name, value := written(l.Name), written(l.Value)
	l.Hidden = name != l.Name || value != l.Value
	l.Name, l.Value = name, value
	return l
}

// shown is written for text of several lines.
func shown(s string) string {
	var all []string
	for line := range strings.SplitSeq(s, "\n") {
		all = append(all, written(line))
	}
	return strings.Join(all, "\n")
}

// written spells characters out that do not show or that turn the direction of
// text around, so that no two acts look the same.
func written(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "⟨U+%04X⟩", r)
		}
	}
	return b.String()
}
