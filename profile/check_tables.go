package profile

import (
	"slices"

	"ankan/uicc"
)

// Services that are nothing without another one.
var (
	serviceNeeds = [...][2]int{
		{3, 2}, {5, 4}, {7, 6}, {11, 10}, {46, 45}, {53, 52}, {55, 52}, {73, 71}, {125, 124}, {129, 45},
	}
	// enabling is the services of EF.EST and those of EF.UST that they turn on.
	enabling = [...]struct {
		bit, service int
		name         string
	}{{1, 2, "fixed dialling"}, {2, 6, "barred dialling"}, {3, 35, "the list of access points"}}
)

// Service tables agree with themselves and with each other: a service is not
// without the one that it extends, and none is turned on that is not available.
var checkTables = check{"tables", "TS 31.102, 4.2.8 and 4.2.47", func(p *Profile, found func(pos, string, ...any)) {
	for d := range p.All() {
		ust := d.own("EF.UST")
		if d.Name != uicc.DirUSIM || ust == nil {
			continue
		}
		on := ust.services()
		if !slices.Contains(on, 33) {
			found(ust.pos, "%s: service 33 is not available, want it always", ust.Path())
		}
		for _, x := range serviceNeeds {
			if slices.Contains(on, x[0]) && !slices.Contains(on, x[1]) {
				found(ust.pos, "%s: service %d is available, service %d that it needs is not", ust.Path(), x[0], x[1])
			}
		}
		est := d.own("EF.EST")
		if est == nil {
			continue
		}
		enabled := uicc.Services(est.piece(0))
		for _, x := range enabling {
			if slices.Contains(enabled, x.bit) && !slices.Contains(on, x.service) {
				found(est.pos, "%s turns %s on, service %d is not available in EF.UST", est.Path(), x.name, x.service)
			}
		}
	}
}}
