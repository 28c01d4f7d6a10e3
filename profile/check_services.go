package profile

import (
	"fmt"
	"slices"
	"strings"

	"ankan/uicc"
)

// EF.UST calls a service available when, and only when, the files of the
// service exist. Phones that are told otherwise fail in odd ways.
var checkServices = check{"services", "TS 31.102, 4.2.8", func(p *Profile, found func(pos, string, ...any)) {
	for usim := range p.All() {
		if usim.Name != uicc.DirUSIM {
			continue
		}
		ust := usim.find("EF.UST")
		if ust == nil {
			return // checkMandatory says so
		}
		on := uicc.Services(ust.piece(0))
		has := map[string]*File{}
		usim.walk(func(f *File) bool {
			if f.std.Name != "" {
				has[f.std.Dir+"/"+f.std.Name] = f
			}
			return true
		})
		for _, ef := range uicc.EFs() {
			if len(ef.Services) == 0 {
				continue
			}
			f := has[ef.Dir+"/"+ef.Name]
			available := slices.ContainsFunc(ef.Services, func(n int) bool { return slices.Contains(on, n) })
			// With service 125 the USIM computes the SUCI and keeps the file elsewhere.
			if ef.Name == "EF.SUCI_Calc_Info" && slices.Contains(on, 125) {
				available = false
			}
			switch {
			case available && f == nil:
				found(ust.pos, "%s: service %s is available and %s/%s is not there", ust.Path(), list(both(ef.Services, on)), ef.Dir, ef.Name)
			case !available && f != nil:
				found(f.pos, "%s is there and service %s is not available in EF.UST", f.Path(), list(ef.Services))
			}
		}
	}
}}

func both(a, b []int) []int {
	return slices.DeleteFunc(slices.Clone(a), func(n int) bool { return !slices.Contains(b, n) })
}

func list(n []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(n), "[]"), " ", " or ")
}
