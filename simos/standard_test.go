package simos_test

import (
	"bytes"
	"fmt"
	"testing"

	"ankan/simos"
	"ankan/uicc"
)

// built is a card with more files than the line's: two USIMs, an ISIM, DF.GSM's
// contents, files that grow and count, the universal PIN.
func built(t testing.TB, direct bool) *simos.Chip {
	t.Helper()
	c := newChip(t, 77, direct)
	l := line{card: c, keys: keySet(t, 0x10), extra: (*line).more}
	if err := l.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Reset()
	return c
}

var isimAID = []byte{0xA0, 0, 0, 0, 0x87, 0x10, 4, 0xFF}

// more goes on where the line stands: in the USIM.
func (l *line) more() {
	open := uicc.AppendRules(nil, uicc.Rule{Mode: 0x7B, Condition: uicc.Always()}, uicc.Rule{INS: uicc.INSIncrease, Condition: uicc.Verified(1)},
		uicc.Rule{INS: uicc.INSResize, Condition: uicc.Verified(0x0A)})
	l.records(uicc.LinearFixed, 0x6F0A, 0, 0x6F06, 1, 40, 1, open)
	l.records(uicc.Cyclic, 0x6F39, 20, 0x6F0A, 1, 3, 3)
	l.send(0, uicc.INSUpdateRecord, 1, 4, 0, 0, 1)
	l.records(uicc.LinearFixed, 0x6F3A, 21, 0x6F0A, 1, 8, 3, []byte("ANNA\xFF11"), []byte("BOB\xFF\xFF12"), []byte("CARL\xFF12"))
	l.send(0x80, uicc.INSResize, 0, 0, 0x62, 8, 0x83, 2, 0x6F, 0x38, 0x80, 2, 0, 16)
	l.send(0, uicc.INSSelect, 0, 0x0C, 0x6F, 0x38)
	l.send(0, uicc.INSUpdateBinary, 0, 15, 0x18) // services 124 and 125
	l.ef(0x6FAD, 3, 0x6F06, 1, 0, 0, 0, 2)
	l.ef(0x6F73, 12, 0x6F06, 2, make([]byte, 14)...)
	l.create(uicc.FCP{Kind: uicc.BERTLV, ID: 0x4F20, SFI: 22, Size: 30, Security: uicc.Security{ARR: 0x6F0A, Record: 1}})
	l.send(0x80, uicc.INSSetData, 0, 0x80, 0x80, 2, 1, 2)
	l.create(uicc.FCP{Kind: uicc.KindDF, ID: 0x5F3B, Security: uicc.Security{ARR: 0x6F06, Record: 4}})
	l.ef(0x4F20, 0, 0x6F06, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	l.send(0, uicc.INSSelect, 8, 0x0C, 0x7F, 0xFF)
	l.create(uicc.FCP{Kind: uicc.KindDF, ID: 0x5FC0, Security: uicc.Security{ARR: 0x6F06, Record: 4}})
	l.ef(0x4F0A, 10, 0x6F06, 1, 0xF1, 0xFF, 0xFF, 0xFF)
	l.send(0, uicc.INSSelect, 8, 0x0C, 0x7F, 0xFF)
	l.create(uicc.FCP{Kind: uicc.KindDF, ID: 0x5FD0, Security: uicc.Security{ARR: 0x6F06, Record: 4}})
	l.ef(0x4F01, 1, 0x6F06, 4, bytes.Repeat([]byte{0xFF}, 120)...)
	l.store(0xB011, append([]byte("9999\xFF\xFF\xFF\xFF"), puk1[:]...), 1, 3, 10)
	l.send(0, uicc.INSSelect, 0, 0x0C, 0x3F, 0)
	l.create(uicc.FCP{Kind: uicc.KindADF, ID: 0x7FF1, Name: append(usimAID[:7:7], 1), Security: uicc.Security{ARR: 0x2F06, Record: 4}})
	l.store(0xB081, append([]byte("5555\xFF\xFF\xFF\xFF"), puk1[:]...), 1, 3, 10)
	l.send(0, uicc.INSSelect, 0, 0x0C, 0x3F, 0)
	l.create(uicc.FCP{Kind: uicc.KindADF, ID: 0x7FF2, Name: isimAID, Security: uicc.Security{ARR: 0x2F06, Record: 4}})
	l.store(0xA001, append(append([]byte{}, testOPc...), testK...), 1)
}

// FCP templates hold what TS 102 221, table 11.5 and on, calls mandatory.
func TestFCP(t *testing.T) {
	s := uicc.NewSession(built(t, true))
	for _, c := range []struct {
		name string
		path []uicc.FileID
		tags []uicc.Tag
	}{
		{"MF", []uicc.FileID{uicc.MF}, []uicc.Tag{0x82, 0x83, 0x8A, 0x8B, 0xC6, 0xA5}},
		{"DF", []uicc.FileID{0x7F10}, []uicc.Tag{0x82, 0x83, 0x8A, 0x8B, 0xC6, 0xA5}},
		{"EF", []uicc.FileID{uicc.EFICCID}, []uicc.Tag{0x82, 0x83, 0x8A, 0x8B, 0x80, 0x88}},
		{"cyclic", []uicc.FileID{0x7F10, 0x6F44}, []uicc.Tag{0x82, 0x83, 0x8A, 0x8B, 0x80, 0x88}},
	} {
		cmd := uicc.Command{INS: uicc.INSSelect, P1: 0x08, P2: 0x04, Le: 256}
		for _, id := range c.path {
			if id != uicc.MF {
				cmd.Data = append(cmd.Data, byte(id>>8), byte(id))
			}
		}
		if len(cmd.Data) == 0 {
			cmd.P1 = 0
		}
		b, err := s.Do(t.Context(), cmd)
		if err != nil {
			t.Fatal(err)
		}
		outer, _, err := uicc.ReadTLV(b)
		if err != nil || outer.Tag != 0x62 {
			t.Fatalf("%s: %X", c.name, b)
		}
		for _, tag := range c.tags {
			if _, ok := uicc.FindTLV(outer.Value, tag); !ok {
				t.Errorf("%s: no object %X in %X", c.name, uint32(tag), b)
			}
		}
		if _, err := uicc.ParseFCP(b); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestStandard(t *testing.T) {
	card := built(t, true)
	for name, script := range map[string]string{
		"SELECT occurrences": `
			00A4040C06A00000008710 > 9000
			80F2000100 > 8408A0000000871002FF9000
			00A4040E06A00000008710 > 9000         # next
			80F2000100 > 8408A00000008710020 19000
			00A4040E06A00000008710 > 9000
			80F2000100 > 8408A0000000871004FF9000
			00A4040E06A00000008710 > 6A82         # no more
			00A4040F06A00000008710 > 9000         # previous
			80F2000100 > 8408A000000087100201 9000
			00A4040D06A00000008710 > 9000         # last
			80F2000100 > 8408A0000000871004FF9000
			00A4040C07A0000000871002 > 9000       # first again
			80F2000100 > 8408A0000000871002FF9000
			00A4040F07A0000000871002 > 6A82
			00A4000D023F00 > 6A86                 # by name only
			00A4044C08A0000000871002FF > 9000     # ends the session
			80F2000100 > 6985
			00A4040F06A00000008710 > 9000         # previous of nothing: the last
			80F2000100 > 8408A0000000871004FF9000
			00A4048C06A00000008710 > 6A86`,
		"SELECT child": `
			00A4010C027F10 > 9000
			00A4010C026F44 > 6A82                 # not a DF
			00A4010C01 6F > 6700
			00A4000C023F00 > 9000
			00A4010C022FE2 > 6A82`,
		"SELECT without a name": `
			00A4040000 > 6F108408A000000151000000A5049F6501FF9000
			00A4040C > 6700`,
		"SEARCH RECORD": selectUSIM + `
			00A201AC02 3132 00 > 0203 9000        # SFI 21
			00A2030504 3132 00 > 6700
			00A203AD02 3132 00 > 030 29000        # backwards
			00A4000C026F3A > 9000
			00A2000502 3132 00 > 030 29000        # from the last, as no record is current
			00A2000402 3132 00 > 039000           # from the current one
			00A2010401 FF 00 > 010203 9000
			00A2010409 000000000000000000 > 6700  # longer than a record
			00A2010604 0405 3132 00 > 02039000    # from offset 5
			00A2010603 0407 31 00 > 6282
			00A2010603 04FF 31 00 > 6282
			00A2010604 0CFF 3132 00 > 02039000    # behind the first FF
			00A2010603 0C5A 31 00 > 6282          # no such character
			00A2030603 0500 42 00 > 029000        # backwards
			00A2010603 0600 41 00 > 039000        # from the next record on: CARL
			00A2030603 0700 43 00 > 6282          # from the one before
			00A2010603 0000 41 00 > 6A80
			00A2010603 1400 41 00 > 6A80
			00A2010602 0400 > 6700`,
		"INCREASE": selectUSIM + `
			80329400 03 000001 00 > 6982
			` + verifyPIN1 + `
			80329400 03 000001 00 > 000002 000001 9000
			80320000 01 FF 00 > 000101 FF 9000    # the current file
			00B2010403 > 0001019000
			00B2020403 > 0000029000
			00B2030403 > 0000019000
			80320000 03 FFFFFF 00 > 9850
			00B2010403 > 0001019000
			80320000 04 00000001 00 > 6700
			80320000 > 6700
			80321400 01 01 > 6A86
			80328000 01 01 > 6A86
			80329F00 01 01 > 6A86
			80320001 01 01 > 6A86
			80329500 01 01 > 6981                 # a linear file`,
		"RESIZE FILE": selectUSIM + `
			80D4000008 6206 83026F3A 8000 > 6A80
			80D400000A 6208 83026F3A 80020010 > 6982
			` + verifyADM1 + `
			00A4000C026F3A > 9000
			80D400000A 6208 83026F3A 80020011 > 6A80 # no multiple of the record
			80D400000A 6208 83026F3A 80020020 > 9000
			00B2040408 > FFFFFFFFFFFFFFFF9000
			00B2030408 > 4341524CFF3132FF9000
			80D400000A 6208 83026F3A 80020010 > 9000
			00B2030408 > 6A83
			00B2020408 > 424F42FFFF3132FF9000
			80D400000A 6208 83026F39 80020010 > 6981 # cyclic
			80D400000A 6208 83025F3B 80020010 > 6981
			80D400000A 6208 83026F99 80020010 > 6A82
			80D402000A 6208 83026F3A 80020010 > 6A86
			80D400000A 6208 83026F3A 80020000 > 6A80
			80D4000006 6204 80020010 > 6A80
			80D400000A 6208 83024F20 80020003 > 6A84 # its object does not fit
			80D400000A 6208 83024F20 80020004 > 9000
			80CB009601 80 00 > 800201029000
			80D401000A 6208 83024F20 80020003 > 9000
			80CB009601 80 00 > 6A88
			80D400000A 6208 83024F20 8002FFF0 > 9000`,
		"ACTIVATE by path": `
			0004080004 7F106F44 > 6982
			` + selectUSIM + `
			0004090002 6F39 > 9000
			00A4000C026F39 > 6283
			0044080004 7FFF6F39 > 9000
			0044080003 7FFF6F > 6700
			0044080002 6F39 > 6A82`,
		"universal PIN": selectUSIM + `
			0026910208 31323334FFFFFFFF > 6A88
			0026110108 31323334FFFFFFFF > 6A86
			0026911108 39393939FFFFFFFF > 6A88    # not by itself
			0026910108 31323334FFFFFFFF > 9000    # in the place of PIN1
			00B0870001 > 6982
			0020000108 31323334FFFFFFFF > 6984
			0020001108 39393938FFFFFFFF > 63C2
			0020001108 39393939FFFFFFFF > 9000
			00B0870001 > 089000
			0028000108 31323334FFFFFFFF > 9000
			00B0870001 > 089000`,
		"PINs of two applications": `
			00A4040C08A000000087100201 > 9000
			0020008108 35353535FFFFFFFF > 9000
			0020008100 > 63C3
			0020008108 31323334FFFFFFFF > 63C2
			` + selectUSIM + `
			0020008100 > 63C3
			0020008108 35353535FFFFFFFF > 63C2
			00A4040C08A000000087100201 > 9000
			0020008100 > 63C2`,
		"local PINs go with the channel": `
			0070000001 > 019000
			01A4040C08A0000000871002FF > 9000
			0120008108 31323334FFFFFFFF > 9000
			01A4000C026F7E > 9000
			01D6000001 05 > 9000
			0070800100 > 9000
			0070000001 > 019000
			01A4040C08A0000000871002FF > 9000
			01D68B0001 05 > 6982`,
		"ISIM": `
			00A4040C07A0000000871004 > 9000
			0088008122 1000000000000000000000000000000000 1000000000000000000000000000000000 > 6982
			` + verifyPIN1 + `
			0088008122 1000000000000000000000000000000000 1000000000000000000000000000000000 00 > 9862
			0088008011 1000000000000000000000000000000000 > 9864`,
	} {
		t.Run(name, func(t *testing.T) {
			c := card.Clone()
			c.Reset()
			play(t, c, script)
			if _, err := simos.Unmarshal(c.Marshal()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A file may grow and shrink for ever: what it leaves is used again.
func TestResizeForEver(t *testing.T) {
	c := built(t, true)
	play(t, c, selectUSIM+verifyADM1)
	for i := range 3000 {
		play(t, c, fmt.Sprintf("80D400000A 6208 83026F3A 8002%04X > 9000", 8*(1+i%254)))
	}
	if c.Size() > 12<<10 {
		t.Errorf("%d bytes are in use", c.Size())
	}
	play(t, c, "00B201AC08 > 414E4E41FF3131FF9000")
	if _, err := simos.Unmarshal(c.Marshal()); err != nil {
		t.Error(err)
	}
}
