package profile

import (
	"slices"
	"strconv"

	"ankan/uicc"
)

// What a phone shows of networks fits together: areas name records of EF.PNN
// that hold a name, and the provider's own networks are among those that show
// its name.
var checkNames = check{"names", "TS 31.102, 4.2.12, 4.2.58, 4.2.59, 4.2.66 and 4.4.11.9", func(p *Profile, found func(pos, string, ...any)) {
	for usim := range p.All() {
		if usim.Name != uicc.DirUSIM {
			continue
		}
		names := usim.own("EF.PNN")
		for _, x := range [...]struct{ file, first, last string }{
			{"EF.OPL", "first-lac", "last-lac"}, {"EF.OPL5G", "first-tac", "last-tac"},
		} {
			if areas := usim.find(x.file); areas != nil {
				checkAreas(areas, names, x.first, x.last, found)
			}
		}
		if spn := usim.own("EF.SPN"); spn != nil {
			if v, ok := spn.value(0); ok && get(v, "name") == "" {
				found(spn.pos, "%s holds no name", spn.Path())
			}
		}
		if shown := usim.own("EF.SPDI"); shown != nil {
			v, _ := shown.value(0)
			list, ok := v.Get("plmns")
			if ok && !slices.ContainsFunc(list.List, func(e uicc.Value) bool { return e.Text == p.PLMN.String() }) {
				found(shown.pos, "%s lists %s without the operator's network %s", shown.Path(), list, p.PLMN)
			}
		}
	}
}}

func checkAreas(areas, names *File, first, last string, found func(pos, string, ...any)) {
	for i := range areas.pieces() {
		v, ok := areas.value(i)
		if !ok || v.Fields == nil {
			continue
		}
		if get(v, first) > get(v, last) {
			found(areas.pos, "%s, record %d is an area from %s to %s", areas.Path(), i+1, get(v, first), get(v, last))
		}
		n, _ := strconv.Atoi(get(v, "pnn"))
		if n == 0 {
			continue // the name comes from elsewhere
		}
		if name, ok := names.value(n - 1); !ok || name.Fields == nil {
			found(areas.pos, "%s, record %d takes the name of record %d of EF.PNN, which holds none", areas.Path(), i+1, n)
		}
	}
}

// get is the text of a field; empty if there is none.
func get(v uicc.Value, name string) string {
	f, _ := v.Get(name)
	return f.Text
}
