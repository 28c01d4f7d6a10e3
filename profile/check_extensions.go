package profile

import "strconv"

// extensionOf says where a long number goes on.
var extensionOf = map[string]string{
	"EF.ADN": "EF.EXT1", "EF.ANR": "EF.EXT1", "EF.FDN": "EF.EXT2", "EF.SDN": "EF.EXT3", "EF.BDN": "EF.EXT4", "EF.MSISDN": "EF.EXT5",
	"EF.ICI": "EF.EXT5", "EF.OCI": "EF.EXT5", "EF.MBDN": "EF.EXT6", "EF.CFIS": "EF.EXT7", "EF.MMSN": "EF.EXT8",
}

// A number that goes on elsewhere does so in a record that there is.
var checkExtensions = check{"extensions", "TS 31.102, 4.2.30, 4.2.31, 4.2.37, 4.2.61 and 4.4.2.4", func(p *Profile, found func(pos, string, ...any)) {
	for f := range p.All() {
		name := extensionOf[f.std.Name]
		if name == "" {
			continue
		}
		for i := range f.pieces() {
			v, _ := f.value(i)
			n, err := strconv.ParseUint(get(v, "ext"), 16, 8)
			if err != nil || n == 0xFF {
				continue
			}
			more := f.parent.own(name)
			if x, ok := more.value(int(n) - 1); n == 0 || !ok || get(x, "type") == "free" {
				found(f.pos, "%s, record %d goes on in record %d of %s, which is free or not there", f.Path(), i+1, n, name)
			}
		}
	}
}}
