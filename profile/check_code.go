package profile

import (
	"bytes"
	"slices"

	"ankan/gp"
)

// A load file is a sound CAP file of the package that it is named after, and has
// the modules that instances are made of.
var checkCode = check{"code", "Java Card Virtual Machine Specification 3.1, 6; GlobalPlatform Card Specification 2.3.1, 11.6.2.3", func(p *Profile, found func(pos, string, ...any)) {
	for _, x := range p.Applications {
		c, err := gp.ParseLoadFile(x.Code)
		if err != nil {
			found(x.pos, "load file %X: %v", x.AID, err)
			continue
		}
		if !bytes.Equal(c.Package.AID, x.AID) {
			found(x.pos, "load file %X: its code is that of package %X", x.AID, c.Package.AID)
		}
		if n := len(gp.LoadFile(x.Code)); n > maxLoadFile {
			found(x.pos, "load file %X: it has %d bytes, want at most %d", x.AID, n, maxLoadFile)
		}
		for _, i := range x.Instances {
			if !slices.ContainsFunc(c.Applets, func(a []byte) bool { return bytes.Equal(a, i.Module) }) {
				found(i.pos, "application %X: load file %X has no module %X", i.AID, x.AID, i.Module)
			}
		}
	}
}}
