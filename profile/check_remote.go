package profile

import (
	"slices"

	"ankan/scp"
	"ankan/uicc"
)

// Each remote application has TARs of its own, keys that open its packets, and
// something to manage. TAR 000000 is the card manager's (TS 101 220, annex D).
var checkRemote = check{"remote", "TS 102 226, 7, 8 and 8.2.1.3.2; TS 101 220, annex D", func(p *Profile, found func(pos, string, ...any)) {
	seen := map[scp.TAR]string{}
	for _, x := range p.Remote {
		if p.SCP80.Version == 0 {
			found(x.pos, "remote %s: the card has no SCP80 keys to open its packets", x.Name)
		}
		for _, t := range x.TARs {
			if other, twice := seen[t]; twice {
				found(x.pos, "remote %s: TAR %06X is that of %s", x.Name, uint32(t), other)
			}
			seen[t] = x.Name
			if (t == scp.TARISD) != (x.Manages == managesApplications) {
				found(x.pos, "remote %s: TAR %06X manages %s; RAM is TAR 000000, and that is RAM", x.Name, uint32(t), x.Manages)
			}
		}
		f := p.MF.own(x.Manages)
		if x.Manages != managesApplications && x.Manages != uicc.DirMF && (f == nil || f.Kind != uicc.KindADF) {
			found(x.pos, "remote %s: it manages %s, want MF, RAM, or an application of the card by name or AID", x.Name, x.Manages)
		}
		for _, name := range x.Access.codes() {
			i := slices.IndexFunc(p.Codes, func(c Code) bool { return c.Reference == 0x09+name[3]-'0' })
			if i < 0 {
				found(x.pos, "remote %s: its access domain names %s, which the card has not", x.Name, name)
			}
		}
	}
}}
