package profile

import "strconv"

// EF.AD says how many digits of the IMSI are the network code. A phone that is
// told the wrong number takes the home network for a foreign one.
var checkMNC = check{"mnc", "TS 31.102, 4.2.18", func(p *Profile, found func(pos, string, ...any)) {
	for f := range p.All() {
		if f.std.Name != "EF.AD" {
			continue
		}
		v, err := f.std.Codec.Decode(f.piece(0))
		if err != nil {
			continue // checkSizes says so
		}
		n, ok := v.Get("mnc-length")
		if !ok {
			continue // an ISIM's has none
		}
		if want := strconv.Itoa(p.PLMN.MNCDigits()); n.Text != want {
			found(f.pos, "%s: mnc-length is %s, the operator's network code %s has %s digits", f.Path(), n.Text, p.PLMN.MNC(), want)
		}
	}
}}
