package profile

import (
	"slices"

	"ankan/uicc"
)

// arr is the EF.ARR that rules over f: the one in the directory that f lies
// in, or else in the nearest directory above (TS 102 221, 9.2.7). The MF lies
// in itself. nil if there is none.
func (f *File) arr() *File {
	d := f.parent
	if d == nil {
		d = f
	}
	for ; d != nil; d = d.parent {
		for _, c := range d.Files {
			if c.isARR {
				return c
			}
		}
	}
	return nil
}

// buildARR makes the content of each EF.ARR: a record for each rule that a
// file under it names, in the order in which the document gives the rules.
func (p *Profile) buildARR() {
	used := map[*File][]string{}
	for f := range p.All() {
		if a := f.arr(); a != nil && p.rule(f.Rule) != nil && !slices.Contains(used[a], f.Rule) {
			used[a] = append(used[a], f.Rule)
		}
	}
	for a := range used {
		var names []string
		var bodies [][]byte
		for _, r := range p.Rules {
			if slices.Contains(used[a], r.Name) {
				names = append(names, r.Name)
				bodies = append(bodies, r.record())
				a.RecordSize = max(a.RecordSize, len(bodies[len(bodies)-1]))
			}
		}
		a.Records, a.Size = len(bodies), a.RecordSize*len(bodies)
		a.Fill = []byte{0xFF}
		a.rules = names
		for _, b := range bodies {
			for len(b) < a.RecordSize {
				b = append(b, 0xFF)
			}
			a.Body = append(a.Body, b)
		}
	}
}

// record is the rule as a record of EF.ARR. Operations under one condition
// share an access mode byte.
func (r *Rule) record() []byte {
	var rules []uicc.Rule
	for _, a := range r.Allowed {
		mode, ins := operation(a.Operation)
		i := slices.IndexFunc(rules, func(x uicc.Rule) bool { return x.Mode != 0 && mode != 0 && x.Condition == a.Condition })
		if i >= 0 {
			rules[i].Mode |= mode
		} else {
			rules = append(rules, uicc.Rule{Mode: mode, INS: ins, Condition: a.Condition})
		}
	}
	return uicc.AppendRules(nil, rules...)
}

func operation(name string) (uicc.Mode, byte) {
	for _, o := range operations {
		if o.name == name {
			return o.mode, o.ins
		}
	}
	panic("profile: unknown operation " + name) // Parse refuses it
}

// condition is who may do the operation under the rule; never if the rule
// does not name it.
func (r *Rule) condition(operation string) uicc.Condition {
	for _, a := range r.Allowed {
		if a.Operation == operation {
			return a.Condition
		}
	}
	return uicc.Never()
}

// security is where the file's rule stands: its EF.ARR and record.
func (f *File) security() uicc.Security {
	a := f.arr()
	if a == nil {
		return uicc.Security{}
	}
	return uicc.Security{ARR: a.ID, Record: byte(slices.Index(a.rules, f.Rule) + 1)}
}
