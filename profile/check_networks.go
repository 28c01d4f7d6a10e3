package profile

import (
	"slices"
	"strings"

	"ankan/uicc"
)

// The lists of networks agree about which network is home: it is among its
// equivalents, it is not forbidden, and the home list holds no other.
var checkNetworks = check{"networks", "TS 31.102, 4.2.16, 4.2.54 and 4.2.84; TS 23.122, 1.2", func(p *Profile, found func(pos, string, ...any)) {
	for d := range p.All() {
		if d.Name != uicc.DirUSIM {
			continue
		}
		home := []string{p.PLMN.String()}
		equivalent := d.own("EF.EHPLMN")
		if list := plmns(equivalent); len(list) > 0 {
			if !slices.Contains(list, p.PLMN.String()) {
				found(equivalent.pos, "%s lists %s without the operator's network %s: a phone takes that for a foreign one",
					equivalent.Path(), strings.Join(list, ", "), p.PLMN)
			}
			home = append(home, list...)
		}
		forbidden := d.own("EF.FPLMN")
		for _, n := range plmns(forbidden) {
			if slices.Contains(home, n) {
				found(forbidden.pos, "%s forbids %s, which is home", forbidden.Path(), n)
			}
		}
		list := d.own("EF.HPLMNwAcT")
		for _, n := range plmns(list) {
			if !slices.Contains(home, n) {
				found(list.pos, "%s lists %s, home is %s", list.Path(), n, strings.Join(slices.Compact(home), ", "))
			}
		}
	}
}}

// plmns is the networks that a list of them holds.
func plmns(f *File) []string {
	v, _ := f.value(0)
	var all []string
	for _, e := range v.List {
		if n, _, _ := strings.Cut(e.Text, " "); n != "none" && n != "zeros" {
			all = append(all, n)
		}
	}
	return all
}
