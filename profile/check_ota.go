package profile

import (
	"slices"

	"ankan/uicc"
)

// A card takes short messages for itself when, and only when, it has keys to
// open them.
var checkOTA = check{"ota", "TS 31.102, 4.2.8; TS 102 225, 5.1", func(p *Profile, found func(pos, string, ...any)) {
	for d := range p.All() {
		ust := d.own("EF.UST")
		if d.Name != uicc.DirUSIM || ust == nil {
			continue
		}
		switch on := slices.Contains(ust.services(), 28); {
		case on && p.SCP80.Version == 0:
			found(ust.pos, "%s: service 28 (data download) is available, the card has no SCP80 keys", ust.Path())
		case !on && p.SCP80.Version != 0:
			found(ust.pos, "%s: the card has SCP80 keys, service 28 (data download) is not available", ust.Path())
		}
	}
}}
