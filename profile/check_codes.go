package profile

import "ankan/uicc"

// Codes have the key references of the standard, once each, and as many
// digits as the standard gives them.
var checkCodes = check{"codes", "TS 102 221, 9.5.1; TS 31.102, 6.3", func(p *Profile, found func(pos, string, ...any)) {
	reference, slot := map[byte]bool{}, map[SlotID]bool{}
	for _, c := range p.Codes {
		want, adm := c.Slot.reference(), c.Slot != SlotPIN1 && c.Slot != SlotPIN2
		if c.Reference != want {
			found(c.pos, "%s has the key reference %02X (%s), slot %s wants %02X", c.Name, c.Reference, uicc.ReferenceName(c.Reference), c.Slot, want)
		}
		if reference[c.Reference] || slot[c.Slot] || c.HasPUK && slot[c.PUK] {
			found(c.pos, "%s: key reference %02X or its slots stand here twice", c.Name, c.Reference)
		}
		reference[c.Reference], slot[c.Slot] = true, true
		if c.HasPUK {
			slot[c.PUK] = true
		}
		switch {
		case adm && c.HasPUK:
			found(c.pos, "%s is administrative and has no PUK", c.Name)
		case adm && (!c.Enabled || c.Fixed != "" || c.Digits != 8):
			found(c.pos, "%s opens every file: want it enabled, 8 digits, different on each card", c.Name)
		case c.Slot == SlotPIN1 && (!c.HasPUK || c.PUK != SlotPUK1), c.Slot == SlotPIN2 && (!c.HasPUK || c.PUK != SlotPUK2):
			found(c.pos, "%s cannot be unblocked by its own PUK", c.Name)
		case c.Tries < 2:
			found(c.pos, "%s has %d try, want at least 2: reading a card back never spends the last one", c.Name, c.Tries)
		}
	}
	for _, s := range [...]SlotID{SlotPIN1, SlotADM1} {
		if !slot[s] {
			found(pos{1, 1}, "there is no code with the slot %s", s)
		}
	}
}}
