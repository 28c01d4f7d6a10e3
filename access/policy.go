package access

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"ankan/act"
	"ankan/audit"
	"ankan/document"
)

//go:embed policy.yaml
var defaultPolicy []byte

// DefaultPolicy is the policy that a new site starts with.
func DefaultPolicy() act.Policy {
	p, err := ParsePolicy(defaultPolicy)
	if err != nil {
		panic("access: embedded policy: " + err.Error())
	}
	return p
}

// DefaultPolicyDocument is DefaultPolicy as it is written, for whoever writes
// the next version.
func DefaultPolicyDocument() []byte { return append([]byte(nil), defaultPolicy...) }

// ParsePolicy reads a policy document (YAML). Unknown keys, a second document
// and numbers that are not whole are refused.
func ParsePolicy(doc []byte) (act.Policy, error) {
	var in written
	if _, err := document.Read("policy", doc, &in); err != nil {
		return act.Policy{}, err
	}
	p, err := in.policy()
	if err == nil {
		err = p.Check()
	}
	if err != nil {
		return act.Policy{}, err
	}
	return p, nil
}

// A written policy is a policy as YAML has it. It is not act.Policy itself because
// the YAML library panics over an array that is too long, and cuts fractions off.
type written struct {
	Version        whole                      `yaml:"version"`
	Roles          []string                   `yaml:"roles"`
	Conflicts      [][]string                 `yaml:"conflicts"`
	Administrators []string                   `yaml:"administrators"`
	Sole           []string                   `yaml:"sole"`
	Nodal          string                     `yaml:"nodal"`
	Exclude        []string                   `yaml:"exclude"`
	Requirements   map[string]act.Requirement `yaml:"requirements"`
	Permissions    map[string][]string        `yaml:"permissions"`
	Acts           map[string]rule            `yaml:"acts"`
	Keys           map[string]keyRule         `yaml:"keys"`
	Limits         map[string]whole           `yaml:"limits"`
	Periods        map[string]whole           `yaml:"periods"`
	Escalation     []level                    `yaml:"escalation"`
}

type rule struct {
	Request   []string   `yaml:"request"`
	Seats     [][]string `yaml:"seats"`
	Exclude   []string   `yaml:"exclude"`
	ToApprove whole      `yaml:"to_approve"`
	ToUse     whole      `yaml:"to_use"`
	Entry     string     `yaml:"entry"`
	Clause    string     `yaml:"clause"`
}

type keyRule struct {
	Algorithms   []string `yaml:"algorithms"`
	Cryptoperiod whole    `yaml:"cryptoperiod"`
	Backup       bool     `yaml:"backup"`
}

type level struct {
	After whole    `yaml:"after"`
	Roles []string `yaml:"roles"`
}

func (d written) policy() (act.Policy, error) {
	p := act.Policy{
		Version: int(d.Version), Roles: d.Roles, Administrators: d.Administrators, Sole: d.Sole, Nodal: d.Nodal, Exclude: d.Exclude,
		Requirements: d.Requirements, Permissions: d.Permissions, Acts: map[string]act.Rule{},
	}
	for _, c := range d.Conflicts {
		if len(c) != 2 {
			return act.Policy{}, fmt.Errorf("policy: a conflict names %d roles, want 2", len(c))
		}
		p.Conflicts = append(p.Conflicts, [2]string(c))
	}
	for kind, r := range d.Acts {
		p.Acts[kind] = act.Rule{Request: r.Request, Seats: r.Seats, Exclude: r.Exclude, ToApprove: int(r.ToApprove), ToUse: int(r.ToUse), Entry: r.Entry, Clause: r.Clause}
	}
	for purpose, k := range d.Keys {
		if p.Keys == nil {
			p.Keys = map[string]act.KeyRule{}
		}
		p.Keys[purpose] = act.KeyRule{Algorithms: k.Algorithms, Cryptoperiod: int(k.Cryptoperiod), Backup: k.Backup}
	}
	for _, l := range d.Escalation {
		p.Escalation = append(p.Escalation, act.Level{After: int(l.After), Roles: l.Roles})
	}
	if err := fill("limits", d.Limits, limits(&p.Limits)); err != nil {
		return act.Policy{}, err
	}
	return p, fill("periods", d.Periods, periods(&p.Periods))
}

// FormatPolicy writes a policy as the document that ParsePolicy reads, always
// in the same way: what people compare line by line, and where whoever writes
// the next version begins. A list of it that is not there is not written.
func FormatPolicy(p act.Policy) []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	flow := func(all []string) string {
		var words []string
		for _, one := range all {
			words = append(words, word(one))
		}
		return "[" + strings.Join(words, ", ") + "]"
	}
	list := func(name string, all []string) {
		if all != nil {
			line("%s: %s", name, flow(all))
		}
	}
	section := func(name string, n int, there bool) bool {
		switch {
		case n > 0:
			line("%s:", name)
		case there:
			line("%s: {}", name)
		}
		return n > 0
	}
	line("version: %d", p.Version)
	list("roles", p.Roles)
	if p.Conflicts != nil {
		line("conflicts:")
		for _, c := range p.Conflicts {
			line("  - %s", flow(c[:]))
		}
	}
	list("administrators", p.Administrators)
	list("sole", p.Sole)
	if p.Nodal != "" {
		line("nodal: %s", word(p.Nodal))
	}
	list("exclude", p.Exclude)
	if section("requirements", len(p.Requirements), p.Requirements != nil) {
		for _, role := range slices.Sorted(maps.Keys(p.Requirements)) {
			r := p.Requirements[role]
			var parts []string
			if r.Employment != nil {
				var kinds []string
				for _, e := range r.Employment {
					kinds = append(kinds, string(e))
				}
				parts = append(parts, "employment: "+flow(kinds))
			}
			for _, f := range [][2]string{{"training", r.Training}, {"statement", r.Statement}, {"clause", r.Clause}} {
				if f[1] != "" {
					parts = append(parts, f[0]+": "+word(f[1]))
				}
			}
			line("  %s: {%s}", word(role), strings.Join(parts, ", "))
		}
	}
	if section("permissions", len(p.Permissions), p.Permissions != nil) {
		for _, name := range slices.Sorted(maps.Keys(p.Permissions)) {
			line("  %s: %s", word(name), flow(p.Permissions[name]))
		}
	}
	if section("keys", len(p.Keys), false) {
		for _, purpose := range slices.Sorted(maps.Keys(p.Keys)) {
			k := p.Keys[purpose]
			backup := map[bool]string{true: ", backup: true"}[k.Backup]
			line("  %s: {algorithms: %s, cryptoperiod: %d%s}", word(purpose), flow(k.Algorithms), k.Cryptoperiod, backup)
		}
	}
	for _, group := range []struct {
		name   string
		values map[string]*int
	}{{"limits", limits(&p.Limits)}, {"periods", periods(&p.Periods)}} {
		line("%s:", group.name)
		for _, name := range slices.Sorted(maps.Keys(group.values)) {
			line("  %s: %d", name, *group.values[name])
		}
	}
	if p.Escalation != nil {
		line("escalation:")
		for _, l := range p.Escalation {
			line("  - {after: %d, roles: %s}", l.After, flow(l.Roles))
		}
	}
	if section("acts", len(p.Acts), true) {
		for _, kind := range slices.Sorted(maps.Keys(p.Acts)) {
			r := p.Acts[kind]
			var seats []string
			for _, roles := range r.Seats {
				seats = append(seats, flow(roles))
			}
			s := fmt.Sprintf("entry: %s, request: %s", word(r.Entry), flow(r.Request))
			if r.Seats != nil {
				s += ", seats: [" + strings.Join(seats, ", ") + "]"
			}
			if r.Exclude != nil {
				s += ", exclude: " + flow(r.Exclude)
			}
			s += fmt.Sprintf(", to_approve: %d, to_use: %d", r.ToApprove, r.ToUse)
			if r.Clause != "" {
				s += ", clause: " + word(r.Clause)
			}
			line("  %s: {%s}", word(kind), s)
		}
	}
	return b.Bytes()
}

// bare is what YAML takes for a word without quotes, whatever its version.
var bare = regexp.MustCompile(`^[A-Z]?[a-z][a-z-]+([.-][A-Za-z0-9-]+)*$|^[A-Z]+-[0-9]+$`)

// word is a string in YAML. JSON's form of it is YAML's too.
func word(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off":
	default:
		if bare.MatchString(s) {
			return s
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil { // a string
		panic("access: " + err.Error())
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func limits(l *act.Limits) map[string]*int {
	return map[string]*int{
		"session_idle": &l.SessionIdle, "session_length": &l.SessionLength, "challenge": &l.Challenge, "component_entry": &l.ComponentEntry,
		"enrolment_code": &l.EnrolmentCode, "break_glass": &l.BreakGlass, "tries": &l.Tries, "try_window": &l.TryWindow, "password": &l.Password,
	}
}

func periods(t *act.Periods) map[string]*int {
	return map[string]*int{"inventory": &t.Inventory, "training": &t.Training, "statement": &t.Statement, "receipt": &t.Receipt, "rehearsal": &t.Rehearsal}
}

// fill puts named numbers in their places.
func fill(where string, from map[string]whole, to map[string]*int) error {
	for name, n := range from {
		if to[name] == nil {
			return fmt.Errorf("policy: %s has no %q", where, name)
		}
		*to[name] = int(n)
	}
	return nil
}

// whole is a number without a fraction and without quotes.
type whole int32

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (w *whole) UnmarshalYAML(decode func(any) error) error {
	var v any
	if err := decode(&v); err != nil {
		return err
	}
	n, ok := v.(uint64)
	if !ok || n > math.MaxInt32 {
		return fmt.Errorf("found %v, want a whole number up to %d", v, math.MaxInt32)
	}
	*w = whole(n)
	return nil
}

// DecodePolicy reads a policy as the database keeps it.
func DecodePolicy(doc []byte) (act.Policy, error) {
	var p act.Policy
	if err := audit.Strict(doc, &p); err != nil {
		return p, fmt.Errorf("policy: %w", err)
	}
	return p, nil
}
