package profile

import "ankan/gp"

// Privileges have a meaning, and those of security domains belong to security
// domains, which the operating system makes itself. One application is selected by
// default.
var checkPrivileges = check{"privileges", "GlobalPlatform Card Specification 2.3.1, 6.6", func(p *Profile, found func(pos, string, ...any)) {
	byDefault := false
	for _, x := range p.Applications {
		for _, i := range x.Instances {
			const ofDomains = gp.MandatedDAPVerification | gp.DelegatedManagement | gp.AuthorizedManagement | gp.TokenManagement |
				gp.ReceiptGeneration | gp.CipheredLoadFileDataBlock
			switch {
			case i.Privileges&0x0F != 0:
				found(i.pos, "application %X: privileges %06X have reserved bits", i.AID, uint32(i.Privileges))
			case i.Privileges&ofDomains != 0:
				found(i.pos, "application %X: privileges %s are those of security domains; it is none", i.AID, privilegesText(i.Privileges&ofDomains))
			}
			if i.Privileges&gp.CardReset != 0 {
				if byDefault {
					found(i.pos, "application %X: another one has the privilege card-reset, which one may have", i.AID)
				}
				byDefault = true
			}
		}
	}
}}
