package profile

import (
	"fmt"
	"slices"
	"strings"
)

// An Acceptance takes responsibility for findings of one check about one file:
// a card whose service table and files disagree can still be what its operator
// wants. What would make cards unsafe, or two cards one, cannot be accepted.
type Acceptance struct {
	Check  string // one of acceptable
	File   string // its path: MF/ADF.USIM/EF.UST
	Reason string
	pos    pos
}

// acceptable are the checks whose findings can be accepted.
var acceptable = [...]string{
	"services", "sizes", "mandatory", "suci", "emergency", "extensions", "isim", "linked", "mailboxes", "names", "networks", "ota",
	"phonebook", "search", "sfi", "tables",
}

// notAccepted takes away what the document accepts. An acceptance of nothing is a
// finding itself: it would hide the next one.
func (p *Profile) notAccepted(all []Finding) []Finding {
	for _, a := range p.Accepted {
		n := len(all)
		if f := p.at(a.File); f != nil {
			all = slices.DeleteFunc(all, func(x Finding) bool {
				return x.Check == a.Check && pos{x.Line, x.Column} == f.pos
			})
		}
		if len(all) == n {
			all = append(all, Finding{p.file, a.pos.line, a.pos.column, "accept",
				fmt.Sprintf("accept: the check %s finds nothing about %s; remove it", a.Check, a.File), "an acceptance is about a finding"})
		}
	}
	return all
}

// at is the file with this path; nil if there is none. As in names of the
// standards, case does not matter unless two paths differ in it alone.
func (p *Profile) at(path string) *File {
	var found *File
	for f := range p.All() {
		switch {
		case f.Path() == path:
			return f
		case found == nil && strings.EqualFold(f.Path(), path):
			found = f
		}
	}
	return found
}

// Accept returns the document of p, in its canonical form, with an acceptance for
// each finding that can be accepted, all for one reason.
func (p *Profile) Accept(reason string) (*Profile, error) {
	q := *p
	for _, x := range p.Check() {
		if !slices.Contains(acceptable[:], x.Check) {
			continue
		}
		for f := range p.All() {
			a := Acceptance{Check: x.Check, File: f.Path(), Reason: reason}
			if f.pos == (pos{x.Line, x.Column}) && !slices.ContainsFunc(q.Accepted, func(o Acceptance) bool { return o.Check == a.Check && o.File == a.File }) {
				q.Accepted = append(slices.Clip(q.Accepted), a)
			}
		}
	}
	return Parse(p.file, []byte(q.String()))
}

func (r *reader) accept(p *Profile, of entry) {
	for _, n := range r.items(of) {
		a := Acceptance{pos: at(n)}
		for _, e := range r.mapping(n, a.pos) {
			switch e.key {
			case "check":
				if a.Check = r.text(e); !slices.Contains(acceptable[:], a.Check) {
					r.errorf(e.pos, "accept: check is %q, want %s", a.Check, strings.Join(acceptable[:], ", "))
				}
			case "file":
				a.File = r.line(e)
			case "reason":
				a.Reason = r.line(e)
			default:
				r.unknown(e, "accept", "check", "file", "reason")
			}
		}
		if a.Check == "" || a.File == "" || strings.TrimSpace(a.Reason) == "" {
			r.errorf(a.pos, "accept: check, file and reason are wanted")
		}
		p.Accepted = append(p.Accepted, a)
	}
}
