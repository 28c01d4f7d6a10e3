package stock

import (
	"encoding/json"
	"strings"
	"testing"

	"ankan/hsm"
)

// What a note says of its chips is read, and what cannot be is refused.
func TestLotMarks(t *testing.T) {
	const atr = "3B9D96801FC78031A073BE211765414E4B414E97"
	good := lotNamed("L1", 10)
	good.KeyMethod, good.ATR, good.ATRMask = hsm.LotKDF3Short, atr, strings.Repeat("FF", 15)+strings.Repeat("00", 5)
	good.Serials = []Range{{"0000000000000011", "0000000000000015"}, {"0000000000000001", "0000000000000005"}}
	read := func(change func(*Lot)) (Lot, error) {
		l := good
		change(&l)
		doc, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		return ReadLot(doc)
	}
	l, err := read(func(*Lot) {})
	if err != nil || l.KeyAlgorithm() != hsm.LotKDF3Short {
		t.Fatal(l, err)
	}
	m, err := l.Marks()
	if err != nil || len(m.ATR) != 20 || len(m.Mask) != 20 || len(m.Serials) != 2 || m.Serials[0].Last != [8]byte{7: 0x15} {
		t.Errorf("%+v, %v", m, err)
	}
	if l.ATRText() != atr+" under "+good.ATRMask || l.SerialsText() != "0000000000000011 – 0000000000000015, 0000000000000001 – 0000000000000005" {
		t.Errorf("%s; %s", l.ATRText(), l.SerialsText())
	}
	bare, err := read(func(l *Lot) { l.KeyMethod, l.ATR, l.ATRMask, l.Serials = "", "", "", nil })
	if m, two := bare.Marks(); err != nil || two != nil || bare.KeyAlgorithm() != hsm.AES256 || len(m.ATR)+len(m.Mask)+len(m.Serials) != 0 || bare.ATRText()+bare.SerialsText() != "" {
		t.Errorf("%+v, %v", bare, err)
	}
	if _, err := read(func(l *Lot) { l.Serials = []Range{{"0000000000000000", "ffffffffffffffff"}} }); err != nil {
		t.Errorf("all serial numbers: %v", err)
	}
	for want, change := range map[string]func(*Lot){
		"key_method: ": func(l *Lot) { l.KeyMethod = "AES-192/kdf3" },
		"want AES-256, or a name from card-channels.md":          func(l *Lot) { l.KeyMethod = hsm.TDES },
		"key_method is 3DES/emv: chips with keys of triple DES":  func(l *Lot) { l.KeyMethod = hsm.LotEMV },
		"key_method is 3DES/visa2: chips with keys of triple":    func(l *Lot) { l.KeyMethod = hsm.LotVISA2 },
		"key_method is 3DES/none: chips with keys of triple DES": func(l *Lot) { l.KeyMethod = hsm.LotNone3DES },
		"kcv: ": func(l *Lot) { l.KCV = "C35280" },
		"kcv is of method CMAC, a key of AES-128":    func(l *Lot) { l.KCV = "C352800000 CMAC" },
		"atr_mask: there is no atr":                  func(l *Lot) { l.ATR = "" },
		`atr is "3B9"`:                               func(l *Lot) { l.ATR = "3B9" },
		"atr: wrong ATR":                             func(l *Lot) { l.ATR = atr[:38] + "98" },
		"want 40 hexadecimal digits, as many as atr": func(l *Lot) { l.ATRMask = "FF" },
		"atr_mask: byte 2 is 0F, want FF: only historical bytes and the check byte behind them may differ, from byte 7 on": func(l *Lot) { l.ATRMask = "FF0F" + l.ATRMask[4:] },
		`serials: chip "1"`:                                       func(l *Lot) { l.Serials = []Range{{"1", "0000000000000015"}} },
		`serials: chip "0000000000000A15"`:                        func(l *Lot) { l.Serials = []Range{{"0000000000000001", "0000000000000A15"}} },
		"serials: a range goes from 0000000000000016":             func(l *Lot) { l.Serials = []Range{{"0000000000000016", "0000000000000015"}} },
		"serials: 0000000000000015 is in two ranges":              func(l *Lot) { l.Serials = []Range{good.Serials[0], {"0000000000000015", "0000000000000025"}} },
		"serials: the ranges have 10 numbers, the quantity is 11": func(l *Lot) { l.Quantity = 11 },
		"it has 51 ranges of serial numbers, want up to 50":       func(l *Lot) { l.Serials = make([]Range, 51) },
	} {
		if l, err := read(change); err == nil || !strings.HasPrefix(err.Error(), "lot L1: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", l, err, want)
		}
	}
}
