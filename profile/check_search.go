package profile

import "strconv"

// How often a phone abroad looks for home is between never and eight hours, in
// steps of six minutes.
var checkSearch = check{"search", "TS 31.102, 4.2.6; TS 22.011, 3.2.2.5", func(p *Profile, found func(pos, string, ...any)) {
	for f := range p.All() {
		if f.std.Name != "EF.HPPLMN" {
			continue
		}
		v, ok := f.value(0)
		if n, _ := strconv.Atoi(v.Text); ok && n > 80 {
			found(f.pos, "%s is %d, %d minutes; want at most 80, eight hours", f.Path(), n, 6*n)
		}
	}
}}
