package access

import (
	_ "embed"
	"fmt"
	"math"

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
	l, t := &p.Limits, &p.Periods
	if err := fill("limits", d.Limits, map[string]*int{
		"session_idle": &l.SessionIdle, "session_length": &l.SessionLength, "challenge": &l.Challenge, "component_entry": &l.ComponentEntry,
		"enrolment_code": &l.EnrolmentCode, "break_glass": &l.BreakGlass, "tries": &l.Tries, "try_window": &l.TryWindow, "password": &l.Password,
	}); err != nil {
		return act.Policy{}, err
	}
	return p, fill("periods", d.Periods, map[string]*int{
		"inventory": &t.Inventory, "training": &t.Training, "statement": &t.Statement, "receipt": &t.Receipt, "rehearsal": &t.Rehearsal,
	})
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
