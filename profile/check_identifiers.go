package profile

import "ankan/uicc"

// No file has the identifier of its parent, of a file beside it or one that is
// reserved; no two applications have one AID.
var checkIdentifiers = check{"identifiers", "TS 102 221, 8.6; ISO/IEC 7816-4, 7.4.1", func(p *Profile, found func(pos, string, ...any)) {
	aids := map[string]string{}
	for f := range p.All() {
		if f.parent != nil {
			switch f.ID {
			case uicc.MF, uicc.CurrentADF, 0x3FFF, 0xFFFF, 0x0000:
				found(f.pos, "%s: identifier %s is reserved", f.Path(), f.ID)
			}
		}
		if f.Kind == uicc.KindADF {
			if other := aids[string(f.AID)]; other != "" {
				found(f.pos, "%s has the AID of %s", f.Path(), other)
			}
			aids[string(f.AID)] = f.Path()
		}
		beside := map[uicc.FileID]string{f.ID: f.Name}
		for _, c := range f.Files {
			if other := beside[c.ID]; other != "" {
				found(c.pos, "%s has the identifier %s of %s", c.Path(), c.ID, other)
			}
			beside[c.ID] = c.Name
		}
	}
}}
