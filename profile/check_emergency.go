package profile

import (
	"strconv"

	"ankan/uicc"
)

// Emergency numbers are short, stand once, and have categories that there are.
var checkEmergency = check{"emergency", "TS 31.102, 4.2.21; TS 24.008, 10.5.4.33", func(p *Profile, found func(pos, string, ...any)) {
	for d := range p.All() {
		f := d.own("EF.ECC")
		if d.Name != uicc.DirUSIM || f == nil {
			continue
		}
		seen := map[string]int{}
		for i := range f.pieces() {
			v, ok := f.value(i)
			if !ok {
				continue // checkSizes says so
			}
			number := get(v, "number")
			if seen[number] > 0 {
				found(f.pos, "%s, record %d has the number %s of record %d", f.Path(), i+1, number, seen[number])
			}
			seen[number] = i + 1
			if c, err := strconv.ParseUint(get(v, "category"), 16, 8); err == nil && c&0x80 != 0 {
				found(f.pos, "%s, record %d has the category %02X, of which the highest bit has no meaning", f.Path(), i+1, c)
			}
		}
	}
}}
