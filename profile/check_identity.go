package profile

// The files that make a card one subscriber's come from the card's record.
// Fixed content would give two cards one identity.
var checkIdentity = check{"identity", "TS 102 221, 13.2; TS 31.102, 4.2.2 and 4.2.15; TS 31.103, 4.2.2", func(p *Profile, found func(pos, string, ...any)) {
	for f := range p.All() {
		want := map[string]SlotID{"EF.ICCID": SlotICCID, "EF.IMSI": SlotIMSI, "EF.ACC": SlotACC}
		slot, ok := want[f.std.Name]
		if ok && (len(f.Patches) != 1 || f.Patches[0] != Patch{Slot: slot}) {
			found(f.pos, "%s holds the same on every card, want ${%s}", f.Path(), slot)
		}
		if v, known := f.value(0); f.std.Name == "EF.IMPI" && known && len(f.Patches) == 0 && v.Text != "empty" {
			found(f.pos, "%s holds the same on every card, want ${IMPI}", f.Path())
		}
	}
}}
