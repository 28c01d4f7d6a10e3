package profile

import (
	"fmt"
	"slices"
	"strings"

	"ankan/sim"
)

// A SlotID names one piece of what a single card's record holds.
type SlotID uint8

// The slots, in the order in which a record holds them.
const (
	SlotICCID    SlotID = iota // content of EF.ICCID
	SlotIMSI                   // content of EF.IMSI
	SlotMSISDN                 // up to 15 digits in ASCII, padded with FF; all FF: none
	SlotACC                    // content of EF.ACC
	SlotPIN1                   // secret codes are 8 bytes ASCII, padded with FF, as the card has them
	SlotPUK1                   //
	SlotPIN2                   //
	SlotPUK2                   //
	SlotADM1                   //
	SlotK                      // the subscriber key
	SlotOPC                    // OPc of MILENAGE, TOPc of TUAK
	SlotSCP03ENC               //
	SlotSCP03MAC               //
	SlotSCP03DEK               //
	SlotSCP80KIC               //
	SlotSCP80KID               //
	SlotSCP80KIK               //
	SlotADM2                   // further administrative codes
	SlotADM3                   //
	SlotADM4                   //
	SlotADM5                   //
	slots
)

var slotNames = [slots]string{
	"ICCID", "IMSI", "MSISDN", "ACC", "PIN1", "PUK1", "PIN2", "PUK2", "ADM1", "K", "OPC",
	"SCP03_ENC", "SCP03_MAC", "SCP03_DEK", "SCP80_KIC1", "SCP80_KID1", "SCP80_KIK1",
	"ADM2", "ADM3", "ADM4", "ADM5",
}

// String is the slot's name as profiles and formats write it.
func (s SlotID) String() string {
	if s < slots {
		return slotNames[s]
	}
	return fmt.Sprintf("slot %d", uint8(s))
}

// slotByName reads a slot's name.
func slotByName(name string) (SlotID, bool) {
	for i, n := range slotNames {
		if n == name {
			return SlotID(i), true
		}
	}
	return 0, false
}

// A SlotKind says where the content of a slot comes from.
type SlotKind uint8

// The kinds of slots.
const (
	Identity     SlotKind = iota + 1 // of the order
	Derived                          // computed from other slots: ACC, OPC
	RandomKey                        // random bytes
	RandomDigits                     // random digits, or the same ones on every card
)

// String names the kind.
func (k SlotKind) String() string {
	switch k {
	case Identity:
		return "identity"
	case Derived:
		return "derived"
	case RandomKey:
		return "random key"
	case RandomDigits:
		return "random digits"
	}
	return "no kind"
}

// A Slot is one piece of a card's record.
type Slot struct {
	ID     SlotID
	Name   string
	Len    int // bytes in the record
	Kind   SlotKind
	Digits int    // of RandomDigits: how many digits, 4 to 8
	Fixed  string // of RandomDigits: these digits on every card, "" for random ones
}

// A Layout says where each slot lies in a card's record.
type Layout struct {
	Offset [slots]int // bytes from the start of the record, by SlotID; -1: the record has no such slot
	Len    [slots]int // bytes; 0: the record has no such slot
	Size   int        // bytes of the record
}

// Has reports whether records hold the slot.
func (l *Layout) Has(s SlotID) bool { return s < slots && l.Len[s] > 0 }

// Of is the slot's part of a record of Size bytes; nil if records hold none.
func (l *Layout) Of(record []byte, s SlotID) []byte {
	if !l.Has(s) {
		return nil
	}
	at := l.Offset[s]
	return record[at : at+l.Len[s] : at+l.Len[s]]
}

// Slots is what the record of one card holds, in order. The record is the
// slots one after the other.
func (p *Profile) Slots() []Slot {
	var s []Slot
	add := func(id SlotID, n int, kind SlotKind) {
		s = append(s, Slot{ID: id, Name: id.String(), Len: n, Kind: kind})
	}
	add(SlotICCID, 10, Identity)
	add(SlotIMSI, 9, Identity)
	if p.uses(SlotMSISDN) {
		add(SlotMSISDN, 15, Identity)
	}
	add(SlotACC, 2, Derived)
	for _, want := range [...]SlotID{SlotPIN1, SlotPUK1, SlotPIN2, SlotPUK2, SlotADM1, SlotADM2, SlotADM3, SlotADM4, SlotADM5} {
		for _, c := range p.Codes {
			if c.Slot == want {
				s = append(s, Slot{want, want.String(), 8, RandomDigits, c.Digits, c.Fixed})
			}
			if c.HasPUK && c.PUK == want {
				s = append(s, Slot{ID: want, Name: want.String(), Len: 8, Kind: RandomDigits, Digits: 8})
			}
		}
	}
	a := p.Parameters()
	add(SlotK, max(16, a.KeySize()), RandomKey) // 0: Check refuses the parameters
	if n := a.VariantSize(); n > 0 {
		add(SlotOPC, n, Derived)
	}
	for id := SlotSCP03ENC; id <= SlotSCP03DEK; id++ {
		add(id, p.SCP03.Bits/8, RandomKey)
	}
	if p.SCP80.Version != 0 {
		for id := SlotSCP80KIC; id <= SlotSCP80KIK; id++ {
			add(id, p.SCP80.Bits/8, RandomKey)
		}
	}
	return s
}

// Layout is where the slots lie.
func (p *Profile) Layout() *Layout {
	l := new(Layout)
	for i := range l.Offset {
		l.Offset[i] = -1
	}
	for _, s := range p.Slots() {
		l.Offset[s.ID], l.Len[s.ID] = l.Size, s.Len
		l.Size += s.Len
	}
	return l
}

// reference is the key reference of the code in a slot (TS 102 221, 9.5.1); 0
// for a slot that holds no code to present.
func (s SlotID) reference() byte {
	switch s {
	case SlotPIN1:
		return 0x01
	case SlotPIN2:
		return 0x81
	case SlotADM1:
		return 0x0A
	case SlotADM2, SlotADM3, SlotADM4, SlotADM5:
		return 0x0B + byte(s-SlotADM2)
	}
	return 0
}

// uses reports whether some file or application refers to the slot.
func (p *Profile) uses(s SlotID) bool {
	for f := range p.All() {
		for _, x := range f.Patches {
			if x.Slot == s {
				return true
			}
		}
	}
	for _, x := range p.Applications {
		for _, i := range x.Instances {
			if slices.ContainsFunc(i.Data, func(g Grouping) bool { return g.Slotted && g.Slot == s }) {
				return true
			}
		}
	}
	return false
}

// inFile is how many bytes the slot takes in a file; 0 for a slot that must
// not be in one: files can be read, secrets cannot.
func (s SlotID) inFile() int {
	switch s {
	case SlotICCID:
		return 10
	case SlotIMSI:
		return 9
	case SlotMSISDN:
		return 12 // length, type of number, ten bytes of digits (TS 31.102, 4.2.26)
	case SlotACC:
		return 2
	}
	return 0
}

// slotRef reads a slot reference as documents write it, ${IMSI}.
func slotRef(s string) (name string, ok bool) {
	name, ok = strings.CutPrefix(s, "${")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(name, "}")
}

// derived replaces references to names that follow from a card's IMSI and its
// network: ${DOMAIN}, ${IMPI} and ${IMPU} (TS 23.003, 13.2, 13.3 and 13.4B) and
// ${SUPI_NAI} (TS 23.003, 28.2 and 28.7.2).
func derived(home sim.PLMN) *strings.Replacer {
	mnc := home.MNC()
	if len(mnc) == 2 {
		mnc = "0" + mnc
	}
	network := "mnc" + mnc + ".mcc" + home.MCC() + ".3gppnetwork.org"
	return strings.NewReplacer("${DOMAIN}", "ims."+network, "${IMPI}", imsiDigits+"@ims."+network,
		"${IMPU}", "sip:"+imsiDigits+"@ims."+network, "${SUPI_NAI}", imsiDigits+"@5gc."+network)
}

// fileSlot is the slot of a reference in a file's content.
func fileSlot(name string) (SlotID, error) {
	s, ok := slotByName(name)
	switch {
	case !ok:
		return 0, fmt.Errorf("unknown slot ${%s}, want ICCID, IMSI, MSISDN or ACC", name)
	case s.inFile() == 0:
		return 0, fmt.Errorf("slot ${%s} is a secret and cannot be in a file", name)
	}
	return s, nil
}
