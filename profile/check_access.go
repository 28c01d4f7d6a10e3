package profile

import (
	"slices"

	"ankan/uicc"
)

// Every file names a rule that there is, that fits its kind, that stands in an
// EF.ARR above it and asks only for codes that the card has.
var checkAccess = check{"access", "TS 102 221, 9.2.7", func(p *Profile, found func(pos, string, ...any)) {
	for f := range p.All() {
		r := p.rule(f.Rule)
		switch {
		case r == nil:
			found(f.pos, "%s: there is no rule %s", f.Path(), f.Rule)
			continue
		case f.arr() == nil:
			found(f.pos, "%s: there is no EF.ARR in its directory or above", f.Path())
			continue
		}
		for _, a := range r.Allowed {
			if !fits(a.Operation, f.Kind) {
				found(f.pos, "%s: rule %s is about %s, which is not for a %s file", f.Path(), f.Rule, a.Operation, f.Kind)
			}
			a.Condition.Met(func(reference byte) bool {
				if !slices.ContainsFunc(p.Codes, func(c Code) bool { return c.Reference == reference }) {
					found(f.pos, "%s: rule %s wants %s, which the card has not", f.Path(), f.Rule, uicc.ReferenceName(reference))
				} else if reference >= 0x80 && !f.inApplication() && !p.shared(reference) {
					found(f.pos, "%s: rule %s wants %s, which belongs to an application unless it is shared", f.Path(), f.Rule, uicc.ReferenceName(reference))
				}
				return false // so that every alternative is asked about
			})
		}
		if f.isARR && (f.RecordSize > 255 || f.Records > 254) {
			found(f.pos, "%s: %d records of %d bytes, want at most 254 of 255", f.Path(), f.Records, f.RecordSize)
		}
	}
}}

// shared reports whether a local code is one for the whole card.
func (p *Profile) shared(reference byte) bool {
	return slices.ContainsFunc(p.Codes, func(c Code) bool { return c.Reference == reference && c.Shared })
}

func fits(name string, k uicc.Kind) bool {
	for _, o := range operations {
		if o.name == name {
			return k.Dedicated() && o.df || !k.Dedicated() && o.ef
		}
	}
	return false
}

func (f *File) inApplication() bool {
	for d := f; d != nil; d = d.parent {
		if d.Kind == uicc.KindADF {
			return true
		}
	}
	return false
}
