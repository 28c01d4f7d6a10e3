package profile

import "ankan/uicc"

// Files of the second generation and of DF.TELECOM that a USIM has too are one
// file under two names: they hold the same.
var checkLinked = check{"linked", "TS 31.102, 4.7; TS 51.011, 10.3 and 10.5", func(p *Profile, found func(pos, string, ...any)) {
	usim := p.MF.own(uicc.DirUSIM)
	if usim == nil {
		return // checkMandatory says so
	}
	for _, name := range [...]string{uicc.DirGSM, uicc.DirTelecom} {
		d := p.MF.own(name)
		if d == nil {
			continue
		}
		for _, f := range d.Files {
			other := usim.own(f.Name)
			if other == nil || f.ID != other.ID || f.isARR || f.std.Name == "" || f.Kind != other.Kind {
				continue
			}
			if f.sizeText() != other.sizeText() {
				found(f.pos, "%s has %s, %s has %s: want one file's", f.Path(), f.sizeText(), other.Path(), other.sizeText())
				continue
			}
			for i := range f.pieces() {
				if f.raw(i) != other.raw(i) {
					found(f.pos, "%s is %s, %s is %s: want the same", f.Path(), f.text(i), other.Path(), other.text(i))
					break
				}
			}
		}
	}
}}
