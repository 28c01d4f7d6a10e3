package profile

import "ankan/uicc"

// The MF and its applications hold every file that the standard calls mandatory.
var checkMandatory = check{"mandatory", "TS 102 221, 13; TS 31.102, 4.2; TS 31.103, 4.2", func(p *Profile, found func(pos, string, ...any)) {
	usim := false
	for d := range p.All() {
		if !d.Kind.Dedicated() {
			continue
		}
		usim = usim || d.Name == uicc.DirUSIM
		has := map[string]bool{}
		for _, f := range d.Files {
			has[f.std.Name] = true
		}
		for _, ef := range uicc.EFs() {
			if ef.Dir == d.Name && ef.Mandatory && !has[ef.Name] {
				found(d.pos, "%s: %s is mandatory (%s)", d.Path(), ef.Name, ef.Clause)
			}
		}
	}
	if !usim {
		found(p.MF.pos, "the card has no %s", uicc.DirUSIM)
	}
}}
