package profile

import (
	"ankan/gp"
	"ankan/uicc"
)

// Names of the operating system's own: its card manager, and what security domains
// are made of.
var ownAIDs = [...]string{"\xA0\x00\x00\x01\x51\x00\x00\x00", "\xA0\x00\x00\x01\x51\x53\x50", "\xA0\x00\x00\x01\x51\x53\x50\x41"}

// An AID names one thing on a card. An application is installed by one command. What is given data takes it when it can be
// selected.
var checkInstances = check{"instances", "GlobalPlatform Card Specification 2.3.1, 11.5.2.3 and 11.11; ISO/IEC 7816-5, 8", func(p *Profile, found func(pos, string, ...any)) {
	seen := map[string]string{}
	for _, aid := range ownAIDs {
		seen[aid] = "the operating system"
	}
	for f := range p.All() {
		if f.Kind == uicc.KindADF {
			seen[string(f.AID)] = f.Path()
		}
	}
	name := func(at pos, what string, aid []byte) {
		if other, twice := seen[string(aid)]; twice {
			found(at, "%s %X: its AID is that of %s", what, aid, other)
		}
		seen[string(aid)] = what
	}
	for _, x := range p.Applications {
		name(x.pos, "load file", x.AID)
		for _, i := range x.Instances {
			name(i.pos, "application", i.AID)
			for _, err := range uicc.TLVs(i.Parameters) {
				if err != nil {
					found(i.pos, "application %X: parameters are not data objects: %v", i.AID, err)
				}
			}
			if cmd, err := gp.InstallForInstall(x.AID, i.Module, i.AID, i.Privileges, i.Parameters, true); err != nil || len(cmd.Commands()) > 1 {
				found(i.pos, "application %X: its AIDs and parameters of %d bytes do not fit one INSTALL command", i.AID, len(i.Parameters))
			}
			if i.State == gp.StateInstalled && len(i.Data) > 0 {
				found(i.pos, "application %X: it is only installed and cannot be given data, want life-cycle selectable", i.AID)
			}
		}
	}
}}
