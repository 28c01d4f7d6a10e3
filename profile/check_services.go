package profile

import (
	"fmt"
	"slices"
	"strings"

	"ankan/uicc"
)

// A service table calls a service available when, and only when, the files of
// the service exist: EF.UST of a USIM, EF.IST of an ISIM. Phones that are told
// otherwise fail in odd ways.
var checkServices = check{"services", "TS 31.102, 4.2.8; TS 31.103, 4.2.7; TS 51.011, 10.3.7", func(p *Profile, found func(pos, string, ...any)) {
	for d := range p.All() {
		for _, name := range [...]string{"EF.UST", "EF.IST", "EF.SST"} {
			// checkMandatory says so if the table is missing.
			if table := d.own(name); table != nil && table.std.ServiceTable() == name {
				serviceFiles(d, table, found)
			}
		}
	}
}}

func serviceFiles(d, table *File, found func(pos, string, ...any)) {
	on := table.services()
	has := map[string]*File{}
	d.walk(func(f *File) bool {
		if f.std.Name != "" {
			has[f.std.Dir+"/"+f.std.Name] = f
		}
		return true
	})
	for _, ef := range uicc.EFs() {
		if len(ef.Services) == 0 || ef.ServiceTable() != table.Name {
			continue
		}
		f, wanted := has[ef.Dir+"/"+ef.Name], ef.Wanted(on)
		// With service 125 the USIM computes the SUCI and keeps the file elsewhere.
		usim := ef.Dir == uicc.Dir5GS && ef.Name == "EF.SUCI_Calc_Info" && slices.Contains(on, 125)
		switch {
		case usim && f != nil:
			found(f.pos, "%s is there, but with service 125 the USIM computes the SUCI from %s", f.Path(), uicc.DirSAIP)
		case usim:
		case wanted && f == nil:
			found(table.pos, "%s: service %s is available and %s/%s is not there", table.Path(), list(both(ef.Services, on)), ef.Dir, ef.Name)
		case !wanted && f != nil:
			found(f.pos, "%s is there and service %s is not available in %s", f.Path(), needs(ef), table.Name)
		}
	}
}

// needs says in words which services make a file be there.
func needs(ef uicc.EF) string {
	s := list(ef.Services)
	for _, n := range ef.With {
		s += fmt.Sprintf(" with %d", n)
	}
	return s
}

// services is what a service table calls available.
func (f *File) services() []int {
	if f.std.Name != "EF.SST" {
		return uicc.Services(f.piece(0))
	}
	var on []int
	for i, b := range f.piece(0) {
		for k := range 4 {
			if b>>(2*k)&3 == 3 {
				on = append(on, 4*i+k+1)
			}
		}
	}
	return on
}

func both(a, b []int) []int {
	return slices.DeleteFunc(slices.Clone(a), func(n int) bool { return !slices.Contains(b, n) })
}

func list(n []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(n), "[]"), " ", " or ")
}
