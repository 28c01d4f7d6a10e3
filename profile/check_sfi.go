package profile

// Short file identifiers are 1 to 30, unique in their directory, and those of
// the standard: phones read by them without asking.
var checkSFI = check{"sfi", "TS 102 221, 8.5 and 11.1.1.4.8; TS 31.102, annex H", func(p *Profile, found func(pos, string, ...any)) {
	for d := range p.All() {
		used := map[byte]string{}
		for _, f := range d.Files {
			switch {
			case f.SFI == 0:
			case f.SFI > 30:
				found(f.pos, "%s: short file identifier %02X, want 01 to 1E", f.Path(), f.SFI)
			case used[f.SFI] != "":
				found(f.pos, "%s has the short file identifier %02X of %s", f.Path(), f.SFI, used[f.SFI])
			case f.std.SFI != 0 && f.SFI != f.std.SFI:
				found(f.pos, "%s has the short file identifier %02X, the standard's is %02X", f.Path(), f.SFI, f.std.SFI)
				used[f.SFI] = f.Name
			default:
				used[f.SFI] = f.Name
			}
		}
	}
}}
