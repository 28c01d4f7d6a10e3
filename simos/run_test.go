package simos_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ankan/scp"
	"ankan/simos"
	"ankan/uicc"
)

// play sends the commands of a script to a card: "command > answer" in hex, a
// line each. [..] is an FCP template with its length. An answer may begin with ".." for any data. Behind # is a comment.
func play(t *testing.T, c uicc.Card, script string) {
	t.Helper()
	for i, l := range strings.Split(script, "\n") {
		l, comment, _ := strings.Cut(l, "#")
		cmd, want, ok := strings.Cut(strings.ReplaceAll(strings.TrimSpace(l), " ", ""), ">")
		if !ok {
			continue
		}
		if header, fcp, ok := strings.Cut(strings.TrimSuffix(cmd, "]"), "["); ok {
			n := len(fcp) / 2
			cmd = fmt.Sprintf("%s%02X62%02X%s", header, n+2, n, fcp)
		}
		r, err := c.Transmit(t.Context(), unhex(t, cmd))
		if err != nil {
			t.Fatalf("line %d, %s: %v", i, l, err)
		}
		got := strings.ToUpper(hex.EncodeToString(r))
		if tail, any := strings.CutPrefix(want, ".."); any && len(got) > 4 && strings.HasSuffix(got, tail) || got == want {
			continue
		}
		t.Errorf("line %d, %s: answer %s, want %s #%s", i, strings.TrimSpace(l), got, want, comment)
	}
}

// open opens the secure channel of a chip.
func open(t *testing.T, c uicc.Card, keys scp.KeySet, level scp.Level) *scp.Channel {
	t.Helper()
	channel, err := scp.Open(t.Context(), c, keys, scp.Options{Level: level, Random: zeros{}})
	if err != nil {
		t.Fatal(err)
	}
	return channel
}

const (
	selectUSIM  = "00A4040C08A0000000871002FF > 9000\n"
	verifyPIN1  = "002000010831323334FFFFFFFF > 9000\n"
	verifyADM1  = "0020000A08AD01020304050607 > 9000\n"
	unknownFile = "6F99"
)

func TestCommands(t *testing.T) {
	card := newChip(t, 1, true)
	personalise(t, card)
	for name, script := range map[string]string{
		"APDU": `
			00A4 > 6700
			 > 6700
			00A40000055500 > 6700
			00A4000C > 9000       # the MF
			A0A40000023F00 > 9F16 # a SIM, see TestGSM
			10A40000023F00 > 6884
			20A40000023F00 > 6E00
			FFA40000023F00 > 6E00
			01A40000023F00 > 6881 # channel not open
			08A40000023F00 > 6882
			0CA40000023F00 > 6882
			00320000 > 6D00       # INCREASE
			80310000 > 6D00
			84E20000023F00 > 6982 # no secure channel
			8082000000 > 6882     # EXTERNAL AUTHENTICATE without its MAC`,
		"SELECT": `
			00A40004023F0000 > ..9000
			00A40000023F0000 > ..9000
			00A4000C023F00 > 9000
			00A4000802 3F00 > 6A86
			00A4020C023F00 > 6A86
			00A4000C013F > 6700
			00A4000C03 3F0000 > 6700
			00A4000C02 ` + unknownFile + ` > 6A82
			00A4000C027F10 > 9000  # child
			00A4000C026F44 > 9000
			00A4000C027F10 > 9000  # current
			00A4000C022FE2 > 6A82  # not from here: neither child nor sibling DF
			00A4030C > 9000        # parent
			00A4030C > 6A82        # of the MF
			00A4030C023F00 > 6700
			00A4000C022FE2 > 9000
			00A4000C027FFF > 6A82  # no application yet
			00A4040C04A0000000 > 6700
			00A4040C05A000000088 > 6A82
			00A4040C05A000000087 > 9000
			00A4000C027FFF > 9000
			00A4000C026F07 > 9000
			00A4000C027F10 > 9000  # sibling of the application
			00A4080C047FFF6F07 > 9000
			00A4080C047F106F44 > 9000
			00A4080C046F44 > 6700
			00A4080C > 6700
			00A4080C027F10 > 9000
			00A4090C026F44 > 9000
			00A4090C026F07 > 6A82
			00A4000C027FF0 > 6A82  # an ADF goes by its name
			00A4044C05A000000087 > 9000
			00A4040408A00000015100000000 > 6F108408A000000151000000A5049F6501FF9000
			00A4040C08A000000151000000 > 9000`,
		"STATUS": `
			80F2000000 > ..9000
			80F2000C00 > 9000
			80F2000100 > 6985      # no application
			80F2030000 > 6A86
			80F2000200 > 6A86
			80F2000001AA > 6700
			` + selectUSIM + `80F2000100 > 8408A0000000871002FF9000`,
		"BINARY": `
			00B0000005 > 6986
			00A4000C022FE2 > 9000
			00B0000005 > 98199910629000
			00B0000000 > 981999106200000000F19000
			00B0000800 > 00F19000
			00B0000A01 > 6B00
			00B0000001AA > 6700
			00B00000 > 6700
			00B0820002 > 98199000
			00B0880001 > 6A82      # no such SFI
			00B0800001 > 6A86
			00B09F0001 > 6A86
			00B0A20001 > 6A86
			00D6000001AA > 6982
			00B2010400 > 6981      # not a file of records
			00DC01040100 > 6981
			00A201040100 > 6981
			` + selectUSIM + verifyADM1 + `
			00A4000C023F00 > 9000
			00D6820901FF > 9000
			00B0820901 > FF9000
			00D6820A01FF > 6B00
			00D6820902FFFF > 6700
			00D60000 > 6700
			00D6E00000 > 6A86
			00B0860001 > 6981`,
		"RECORD": selectUSIM + verifyPIN1 + verifyADM1 + `
			00A4080C022F06 > 9000
			00B20104 > 6700
			00B2010401AA > 6700
			00B2010428 > ..9000
			00B2010405 > 6C28
			00B2010428 > ..9000    # what waited
			00B2060400 > 6A83
			00B2000400 > 6A83      # no current record
			00B2000200 > ..9000    # next: the first
			00B2000300 > 6A83      # previous: none
			00B2000400 > ..9000
			00B2010200 > 6A86
			00B2000500 > 6A86
			00B201FC00 > 6A86      # SFI 31
			00B2013400 > ..9000    # SFI 6
			00DC01FC0100 > 6A86
			00DC010402AAAA > 6700
			00B0000001 > 6981
			00D6000001AA > 6981
			00A4080C047F106F44 > 9000
			00DC0104040000000 1 > 6A86 # a cyclic file takes the previous mode
			00DC0103 0400000001 > 6A86
			00DC0003 0400000001 > 9000
			00DC0003 0400000002 > 9000
			00DC0003 0400000003 > 9000
			00DC0003 0400000004 > 9000
			00B2010404 > 000000049000
			00B2030404 > 000000029000
			00B2040404 > 6A83
			00B2000204 > 000000039000 # next, from the first that the update made current
			00B2000204 > 000000029000
			00B2000204 > 000000049000 # around
			00B2000304 > 000000029000
			00A20104010300 > 029000
			00A20104010000 > 0102039000
			00A2030501 0000 > 0302019000
			00A20004010000 > 039000
			00A2010401AA00 > 6282
			00A201070103 > 6A86
			00A201030103 > 6A86
			00A201060103 > 6700    # an enhanced search says how
			00A20104 > 6700
			00A4000C023F00 > 9000
			00A2010401 01 > 6986`,
		"PIN": `
			0020000100 > 63C3
			0020010100 > 6A86
			0020000200 > 6A88
			0020000107 31323334FFFFFF > 6700
			0020000108 31323335FFFFFFFF > 63C2
			0020000100 > 63C2
			` + verifyPIN1 + `0020000100 > 63C3
			0024000108 31323334FFFFFFFF > 6700
			0024000110 31323334FFFFFFFF 313233FFFFFFFFFF > 6A80
			0024000110 31323334FFFFFFFF 31323334FF35FFFF > 6A80
			0024000110 39323334FFFFFFFF 30303030FFFFFFFF > 63C2
			0024000110 31323334FFFFFFFF 30303030FFFFFFFF > 9000
			0020000108 30303030FFFFFFFF > 9000
			0026000107 30303030FFFFFF > 6700
			0028000108 30303030FFFFFFFF > 6985  # is enabled
			0026000A08 AD01020304050607 > 6A86  # an ADM cannot be disabled
			0026000108 31303030FFFFFFFF > 63C2
			0026000108 30303030FFFFFFFF > 9000
			0026000108 30303030FFFFFFFF > 6984
			0020000108 30303030FFFFFFFF > 6984
			0024000110 30303030FFFFFFFF 31323334FFFFFFFF > 6984
			` + selectUSIM + `00B0870001 > 089000 # a disabled PIN is no hindrance
			0028000108 30303130FFFFFFFF > 63C2
			0028000108 30303030FFFFFFFF > 9000
			0020000108 31303030FFFFFFFF > 63C2
			00B0870001 > 6982
			0020000108 31303030FFFFFFFF > 63C1
			0020000108 31303030FFFFFFFF > 63C0
			0020000108 30303030FFFFFFFF > 6983
			0020000100 > 63C0
			002C000100 > 63CA
			002C000110 3837363534333230 31323334FFFFFFFF > 63C9
			002C000108 3837363534333231 > 6700
			002C000110 3837363534333231 3132FFFFFFFFFFFF > 6A80
			002C000110 3837363534333231 31323334FFFFFFFF > 9000
			00B0870001 > 089000
			002C000100 > 63CA
			002C000A10 FFFFFFFFFFFFFFFF AD01020304050607 > 6983 # an ADM has no unblock code
			0020000100 > 63C3`,
		"local PIN": `
			0020008100 > 6A88     # not outside its application
			` + selectUSIM + verifyPIN1 + `
			00D68B000101 > 6982
			0020008108 31323334FFFFFFFF > 9000
			00D68B000101 > 9000
			01A4000C023F00 > 6881
			0070000001 > 019000
			01A4040C05A000000087 > 9000
			01D68B000101 > 9000
			0070800100 > 9000`,
		"access": selectUSIM + `
			00B0870001 > 6982
			00B08B0001 > 6982
			` + verifyADM1 + `00B08B0001 > 019000 # PIN1 or ADM1
			00B0870001 > 6982
			00D687000108 > 6982
			` + verifyPIN1 + `00B0870001 > 089000
			00B0880001 > 6982     # never`,
		"life": selectUSIM + verifyPIN1 + `
			0004000002 6F07 > 6982
			` + verifyADM1 + `
			00040000026F07 > 9000
			00B0870001 > 6985
			00A4000C026F07 > 6283
			00A40004026F0700 > ..6283
			0044000000 > 9000
			00B0870001 > 089000
			0004010002 6F07 > 6A86
			00040000016F > 6700
			0004000002 ` + unknownFile + ` > 6A82
			00E60000026F07 > 6981
			00E80000027FFF > 6981
			00E80000026F07 > 9000
			00A4000C026F07 > 6285
			00B0870001 > 6985
			00440000026F07 > 6985
			00E60000027FFF > 9000
			00A4000C027FFF > 6285
			0088008022 00 > 6700
			00FE010000 > 6A86
			00FE000000 > 9000
			00A4000C023F00 > 6985
			80CADF2000 > DF2001FF9000
			8050000008 0000000000000000 00 > 6985`,
		"terminate card": `
			00FE000000 > 6982`,
		"files": selectUSIM + `
			00E0000000 > 6A80
			00E00100 > 6A86
			00E00000[82024121 83026F55 80020003 8B036F0601 8800 8A0105] > 6982
			00E40000026F07 > 6982
			` + verifyADM1 + `
			00E00000[82024121 83026F55 80020003 8B036F0601 8800 8A0105 8800] > 6A80 # 88 twice
			00E00000[82024121 83026F55 80020003 8B036F0601 8800 8A0105] > 9000
			00B0000000 > FFFFFF9000
			00E00000[82024121 83026F55 80020003 8B036F0601 8800 8A0105] > 6A89
			00E00000[82024121 83026F56 80020003 8B036F0601 880138 8A0105] > 6A89 # SFI of EF.IMSI
			00E00000[82024121 83023F00 80020003 8B036F0601 8800 8A0105] > 6A80
			00E00000[82027921 83026F57 80020000 8B036F0601 8800 8A0105] > 6A80 # BER-TLV, empty
			00E00000[82027921 83026F57 80020003 A503C101AA 8B036F0601 8800 8A0105] > 6A80 # filled
			00E00000[82027921 83026F57 80020003 A50486020004 8B036F0601 8800 8A0105] > 6A80 # growing
			00E00000[82024121 83026F57 80020003 8B036F0601 8800 8A0101] > 6A80
			00E00000[82024121 83026F57 80020000 8B036F0601 8800 8A0105] > 6A80 # empty
			00E00000[82024121 83026F57 80020003 C700] > 6A80 # unknown object
			00E00000[82024121 83026F57 80020003 8C020300 8800 8A0105] > 6A80
			00E00000[82027821 83027FF1 8406A00000008710] > 6985 # an ADF elsewhere than under the MF
			00A4080C047F106F44 > 9000
			00E00000[82027821 83023F00 8B032F0604 8A0105] > 6A89 # a second MF
			00A4000C023F00 > 9000
			00E00000[82027821 83027FF2 8408A0000000871002FF 8B032F0604] > 6A8A
			00E00000[82027821 83027FF2 8404A0000000 8B032F0604] > 6A80 # a short name
			00E00000[82024121 83024F01 8003010000 8B032F0601 8800 8A0105] > 6A84 # more than 64 KiB
			00E40000026F07 > 6A82 # not a child of the MF
			00E40100022FE2 > 6A86
			00E40000012F > 6700
			00E40000023F00 > 6985 # not any more
			00E40000022FE2 > 9000
			00A4000C022FE2 > 6A82
			` + selectUSIM + `00E40000027FFF > 9000
			00A4040C05A000000087 > 6A82
			00A4000C027FFF > 6A82
			0020008100 > 6A88
			0088008111 1000000000000000000000000000000000 > 6A88`,
		"AUTHENTICATE": `
			0088008111 1000000000000000000000000000000000 > 6A88 # no application
			` + selectUSIM + `
			0088008122 1000000000000000000000000000000000 1000000000000000000000000000000000 > 6982
			` + verifyPIN1 + `
			0088008222 00 > 6700
			00880082 01 00 > 6A86
			00880181 01 00 > 6A86
			0088008121 1000000000000000000000000000000000 10000000000000000000000000000000 > 6700
			0088008122 0F00000000000000000000000000000000 1000000000000000000000000000000000 > 6700
			0088008122 1000000000000000000000000000000000 1000000000000000000000000000000000 00 > 9862
			0088008010 10000000000000000000000000000000 > 6700
			0088008011 1000000000000000000000000000000000 00 > ..9000`,
		"channels": `
			0070000001 > 019000
			0070000001 > 029000
			0070000001 > 039000
			0070000001 > 049000
			0070000001 > 059000
			0070000001 > 069000
			0070000001 > 079000
			0070000001 > 6881
			0070800200 > 9000
			0070800200 > 6881
			0070000200 > 9000
			0070000200 > 6881
			0070000800 > 6A86
			40A4000C027F10 > 9000  # channel 4
			40A4000C026F44 > 9000
			43A4000C026F44 > 6A82
			43A4000C023F00 > 9000
			C3F2000C00 > 9000
			44A4000C023F00 > 6881
			4FA4000C023F00 > 6881
			50A4000C023F00 > 6884
			60A4000C023F00 > 6882
			4070800500 > 9000      # a channel closes another
			41A4000C023F00 > 6881
			4070000001 > 059000    # and opens one where it stands itself
			41A4000C026F44 > 9000
			0070800000 > 6A86
			0070400000 > 6A86
			0070000001AA > 6700
			01A4000C027F10 > 9000
			01A4000C026F44 > 9000
			00A4000C026F44 > 6A82  # the basic channel stands elsewhere
			00700000 > 6700`,
		"data": `
			80CA9F7F00 > ..9000
			80CA006600 > ..9000
			80CA00E000 > ..9000
			00CADF2000 > DF20010F9000
			80CADF2100 > ..9000
			80CADF2200 > DF220B4C4F542D323032362D31319000
			80CADF2300 > 6A88
			80CADF2001AA > 6700
			80CADF20 > 6700`,
		"challenge": `
			0084000008 > ..9000
			0084000000 > ..9000
			0084000021 > ..9000
			00840000 > 6700
			0084010008 > 6A86
			0084000001AA08 > 6700`,
		"toolkit": `
			8010000003FFFFFF > 9000
			80100000 > 6700
			80100100 01FF > 6A86
			8012000000 > 6985
			80C2000003D10100 > 6985
			80140000 0481030100 > 6985`,
		"manager in clear": `
			80E2800003A00100 > 6982
			80E8800001E1 > 6982
			80D8008101 00 > 6982
			80F0807F00 > 6982
			8050000007 00000000000000 > 6700
			8050310008 0000000000000000 00 > 6A88
			8050000108 0000000000000000 00 > 6A86
			8482010010 00000000000000000000000000000000 > 6985
			8050000008 0000000000000000 00 > ..9000
			8482010010 00000000000000000000000000000000 > 6300
			8482010010 00000000000000000000000000000000 > 6985`,
	} {
		t.Run(name, func(t *testing.T) {
			c := card.Clone()
			c.Reset()
			play(t, c, script)
		})
	}
}

func TestCPLC(t *testing.T) {
	c := newChip(t, 0x1234, true)
	play(t, c, `80CA9F7F00 > 9F7F2A 414B0001000000000000 0000000000001234 4C4F542D32303236 00000000000000000000000000000000 9000
		80CA00E000 > E012 C00401308820 C00402308820 C00403308820 9000
		80CADF2100 > 6A88
		80CADF2000 > DF2001009000`)
}

// Over T=0 data waits for GET RESPONSE, and lengths are told.
func TestT0(t *testing.T) {
	c := newChip(t, 1, false)
	personalise(t, c)
	play(t, c, `
		00C0000010 > 6985
		00A40004022FE2 > 6119
		00C0000018 > ..6101
		00C0000005 > 6C01
		00C0000001 > 109000
		00C0000001 > 6985
		00A40004022FE200 > 6119 # with Le, as an upper layer may send it
		00B0000000 > 6C0A
		00B000000A > 981999106200000000F19000
		00B0000014 > 6C0A
		00B0000003 > 9819999000         # another length is a new command
		0070000000 > 6C01
		0070000001 > 019000             # and not channel 2
		0070000001 > 029000
		00A40004022FE2 > 6119
		00B0000003 > 9819999000         # what waited is gone
		00C0000018 > 6985
		80CADF2003 > 6C04
		80CADF2004 > DF20010F9000
		`+selectUSIM+verifyPIN1+`
		0088008011 1000000000000000000000000000000000 > 610E
		01C000000E > ..9000             # GET RESPONSE on any channel`)
}

// Over T=1 a command that says no Le still gets its data, by GET RESPONSE.
func TestT1(t *testing.T) {
	c := newChip(t, 1, true)
	personalise(t, c)
	play(t, c, `
		00A40004022FE2 > 6119
		00C0000000 > ..9000
		00C0000000 > 6985
		00B0000014 > 981999106200000000F19000
		80CADF2003 > 6C04
		80CADF2004 > DF20010F9000`)
}

// What is refused on a blank chip, in clear and inside the channel.
func TestBlank(t *testing.T) {
	c := newChip(t, 1, true)
	play(t, c, `
		00A4000C023F00 > 6A82
		00A4040C08A000000151000000 > 9000
		80F2000000 > 6985
		00B0820000 > 6A82
		0020000100 > 6985
		00E00000[82027821 83023F00 8B032F0604 8A0105] > 6982
		00E40000023F00 > 6982
		00FE000000 > 6985`)
	channel := open(t, c, keySet(t, 0x10), scp.Commands)
	play(t, c, `00A4000C023F00 > 6982 # in clear while the channel is open
		80CADF2000 > DF2001009000`)
	play(t, channel, `
		8050000008 0000000000000000 00 > 6985
		00E00000[82027821 83023F00 8B032F0604 8A0105] > 6985
		00E40000023F00 > 6985
		80E2800003A00100 > 6985
		80D8008101 00 > 6985
		80F0800F00 > 6985
		80E8010001E1 > 6A86
		80E88000 > 6700
		80E8800101E1 > 6A86
		80E8000001E1 > 9000
		80E8000201E1 > 6A86
		80E8800101E1 > 6A86
		80E8800001E1 > 6A80`)
	mac := open(t, c, keySet(t, 0x10), scp.CMAC)
	play(t, mac, `80E8800001E1 > 6982 # needs encryption`)
}

func TestLoadOS(t *testing.T) {
	other, all := testImage(), testImage()
	other.Algorithms = nil
	all.Algorithms = []string{"MILENAGE", "TUAK", "XOR", "ROT13"}
	for name, c := range map[string]struct {
		image []byte
		sw    uicc.SW
	}{
		"not the vendor's": {func() []byte { b, _ := testImage().Sign(otherKey()); return b }(), uicc.SWSecurity},
		"changed":          {func() []byte { b, _ := testImage().Sign(vendorKey()); b[20] ^= 1; return b }(), uicc.SWSecurity},
		"cut":              {func() []byte { b, _ := testImage().Sign(vendorKey()); return b[:len(b)-1] }(), uicc.SWData},
		"good":             {func() []byte { b, _ := testImage().Sign(vendorKey()); return b }(), uicc.SWOK},
		"no MILENAGE":      {func() []byte { b, _ := other.Sign(vendorKey()); return b }(), uicc.SWOK},
		"all":              {func() []byte { b, _ := all.Sign(vendorKey()); return b }(), uicc.SWOK},
	} {
		chip := newChip(t, 1, true)
		l := line{card: chip, keys: keySet(t, 0x10), s: uicc.NewSession(open(t, chip, keySet(t, 0x10), scp.Commands))}
		for i := 0; len(c.image) > 0 && l.err == nil; i++ {
			n, p1 := min(200, len(c.image)), byte(0)
			if n == len(c.image) {
				p1 = 0x80
			}
			l.send(0x80, uicc.INSLoad, p1, byte(i), c.image[:n]...)
			c.image = c.image[n:]
		}
		if c.sw != uicc.SWOK {
			if !errors.Is(l.err, c.sw) || chip.Life() != simos.Blank {
				t.Errorf("%s: %v, life cycle %s", name, l.err, chip.Life())
			}
			continue
		}
		if l.err != nil || chip.Life() != simos.Loaded {
			t.Errorf("%s: %v, life cycle %s", name, l.err, chip.Life())
		}
		l.send(0x80, uicc.INSLoad, 0x80, 0, 0xE1)
		if !errors.Is(l.err, uicc.SWConditions) {
			t.Errorf("%s: a second LOAD: %v", name, l.err)
		}
		l.err = nil
		l.create(uicc.FCP{Kind: uicc.KindMF, ID: uicc.MF})
		l.create(uicc.FCP{Kind: uicc.KindADF, ID: 0x7FF0, Name: usimAID})
		l.store(0xA001, make([]byte, 32), 1)
		if (name == "no MILENAGE") != errors.Is(l.err, uicc.SWData) || name != "no MILENAGE" && l.err != nil {
			t.Errorf("%s: STORE DATA of MILENAGE: %v", name, l.err)
		}
		for what, c := range map[string]struct {
			head []byte
			keys int
			fill byte
		}{
			"TUAK": {[]byte{2, 16, 8, 8, 16, 16, 1}, 48, 9}, "long TUAK": {[]byte{2, 32, 8, 8, 16, 16, 1}, 64, 9}, "XOR": {[]byte{3}, 16, 9},
			"XOR with K zero": {[]byte{3}, 16, 0}, "TUAK, MAC of 128 bits": {[]byte{2, 16, 16, 8, 16, 16, 1}, 48, 9}, "TUAK, cut": {[]byte{2, 32, 8, 8, 16, 16, 1}, 48, 9},
		} {
			want := name == "all" && c.fill != 0 && !strings.Contains(what, ",")
			l.err = nil
			if l.store(0xA001, bytes.Repeat([]byte{c.fill}, c.keys), c.head...); want != (l.err == nil) || !want && !errors.Is(l.err, uicc.SWData) {
				t.Errorf("%s: STORE DATA of %s: %v", name, what, l.err)
			}
		}
		if _, err := simos.Unmarshal(chip.Marshal()); err != nil {
			t.Errorf("%s: kept and taken up again: %v", name, err)
		}
	}
	// More than the chip takes.
	chip := newChip(t, 1, true)
	l := line{card: chip, s: uicc.NewSession(open(t, chip, keySet(t, 0x10), scp.Commands))}
	for i := 0; i < 256 && l.err == nil; i++ {
		l.send(0x80, uicc.INSLoad, 0, byte(i), make([]byte, 220)...)
	}
	if !errors.Is(l.err, uicc.SWNoSpace) {
		t.Errorf("too long: %v", l.err)
	}
}

// What is refused during personalisation and inside the channel of a card.
func TestManager(t *testing.T) {
	chip := newChip(t, 1, true)
	channel := open(t, chip, keySet(t, 0x10), scp.Full)
	l := line{card: chip, keys: keySet(t, 0x10), s: uicc.NewSession(channel)}
	l.loadOS()
	if l.err != nil {
		t.Fatal(l.err)
	}
	sealed := strings.Repeat("00", 16)
	script := `
		80F0800F00 > 6985            # no files yet
		00E00000[82024121 83022FE2 80020001 8A0105 8B00] > 6A80
		00E00000[82024121 83022FE2 80020001] > 6A82 # no MF yet
		80E2800016 B08113 010303 ` + sealed + ` > 6985      # nobody to own a local PIN
		00E00000[82027821 83023F00 8A0105] > 9000
		00B0000001 > 6986
		80E2800003A00100 > 6985      # no application
		80E2010003A00100 > 6A86
		80E28000 > 6700
		80E2800003A00300 > 6A88
		80E2800003A00201 > 6A80
		80E2800002B001 > 6A80
		80E2800003B00100 > 6A80
		80E2800016 B00113 020303 ` + sealed + ` > 6A80      # flags
		80E2800016 B00113 010003 ` + sealed + ` > 6A80      # no tries
		80E2800016 B00113 011003 ` + sealed + ` > 6A80      # 16 tries
		80E2800016 B00113 010310 ` + sealed + ` > 6A80
		80E2800016 B00913 010303 ` + sealed + ` > 6A80      # reference 09
		80E2800016 B00A13 000303 ` + sealed + ` > 6A80      # an ADM that is disabled
		80E2800016 B00113 010303 ` + sealed + ` > 6A80      # not digits, once opened
		00E00000[82027821 83027FF0 8408A0000000871002FF] > 9000
		80E2800024 A00121 04 ` + sealed + sealed + ` > 6A80 # no algorithm
		80E2800024 A00121 02 ` + sealed + sealed + ` > 6A80 # TUAK without its parameters
		80E2800023 A00120 01 ` + sealed + sealed[:30] + ` > 6A80
		80D8008001 01 > 6A86
		80D8008101 01 > 6A80
		80F080FF00 > 6985            # not before it is a card
		80F0807F00 > 6985
		80F0400F00 > 6A88
		80F0800E00 > 6A86
		80F0800F01AA > 6700`
	play(t, channel, script)

	// PUT KEY: what it answers, replaces and refuses.
	l.err = nil
	for _, c := range []struct {
		version, p1 byte
		want        error
	}{{1, 0, nil}, {1, 1, nil}, {1, 0, nil}, {2, 2, uicc.SWNotFound}, {1, 2, uicc.SWData}, {0x10, 0, uicc.SWData},
		{0x30, 0, uicc.SWNotFound}, {0x30, 0x31, uicc.SWNotFound}, {0x30, 0x30, nil}, {0x31, 0x30, nil}} {
		l.err = nil
		l.putKey(c.version, c.p1, 0x40, 16)
		if !errors.Is(l.err, c.want) {
			t.Errorf("PUT KEY %02X with P1 %02X: %v, want %v", c.version, c.p1, l.err, c.want)
		}
	}
	l.err = nil
	l.send(0x80, uicc.INSSetStatus, 0x80, 0x0F)
	if l.err != nil {
		t.Fatal(l.err)
	}
	play(t, channel, `
		80E2800003A00100 > 6985
		80F0800F00 > 6985
		00E40000023F00 > 6985
		00E00000[82024121 83024F22 80020001] > 6982 # access rules rule now
		80CA00E000 > E024 C00401318810 C00402318810 C00403318810 C00401018810 C00402018810 C00403018810 9000`)

	// The card's own keys: locked, unlocked, new keys, ended.
	chip.Reset()
	own := func(fill byte) scp.KeySet {
		k := func(i byte) []byte { return []byte(strings.Repeat(string([]byte{fill + i}), 16)) }
		s, err := scp.NewKeySet(k(1), k(2), k(3))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	channel = open(t, chip, own(0x40), scp.Full)
	l = line{card: chip, keys: own(0x40), s: uicc.NewSession(channel)}
	l.putKey(0x32, 0x31, 0x60, 16)
	if l.err != nil {
		t.Fatal(l.err)
	}
	play(t, channel, `80F0807F00 > 9000
		00A4000C023F00 > 6985
		80D8318101 00 > 6985
		80CADF2000 > DF20017F9000`)
	chip.Reset()
	play(t, chip, `00A4000C023F00 > 6985
		80F0800F00 > 6982`)
	channel = open(t, chip, own(0x60), scp.Full)
	play(t, channel, `80F0800F00 > 9000
		00A4000C023F00 > 9000
		80F080FF00 > 9000
		80F0800F00 > 6985`)
	if chip.Life() != simos.Terminated {
		t.Error(chip.Life())
	}
}

// DELETE FILE 3F00 before the chip is secured makes it as it was after LOAD.
func TestWipe(t *testing.T) {
	chip := newChip(t, 1, true)
	l := line{card: chip, keys: keySet(t, 0x10), s: uicc.NewSession(open(t, chip, keySet(t, 0x10), scp.Commands))}
	l.loadOS()
	size := chip.Size()
	l.send(0, uicc.INSDeleteFile, 0, 0, 0x3F, 0)
	l.create(uicc.FCP{Kind: uicc.KindMF, ID: uicc.MF})
	l.ef(0x2FE2, 2, 0x2F06, 1, 1, 2, 3)
	l.store(0xB001, append(pin1[:], puk1[:]...), 1, 3, 10)
	l.putKey(0x01, 0, 0x40, 16)
	l.putKey(0x30, 0x30, 0x50, 32)
	l.send(0, uicc.INSDeleteFile, 0, 0, 0x3F, 0)
	if l.err != nil || chip.Size() != size || chip.Life() != simos.Loaded {
		t.Errorf("%v, %d bytes, want %d, %s", l.err, chip.Size(), size, chip.Life())
	}
	chip.Reset()
	personalise(t, chip)
	checkCard(t, chip, 1)
}

// A chip whose memory is full says so and stays sound.
func TestFull(t *testing.T) {
	cfg := config(t, 1, true)
	cfg.Memory = 2 << 10
	chip, err := simos.NewChip(cfg)
	if err != nil {
		t.Fatal(err)
	}
	chip.Reset()
	l := line{card: chip, keys: keySet(t, 0x10), s: uicc.NewSession(open(t, chip, keySet(t, 0x10), scp.Commands))}
	l.loadOS()
	l.create(uicc.FCP{Kind: uicc.KindMF, ID: uicc.MF})
	for i := byte(1); l.err == nil; i++ {
		l.create(uicc.FCP{Kind: uicc.Transparent, ID: 0x6F00 | uicc.FileID(i), Size: 200})
	}
	if !errors.Is(l.err, uicc.SWNoSpace) {
		t.Error(l.err)
	}
	for l.err = nil; l.err == nil; {
		l.create(uicc.FCP{Kind: uicc.KindDF, ID: uicc.FileID(0x5F00 + l.n)})
		l.send(0, uicc.INSSelect, 0, 0x0C, 0x3F, 0)
	}
	l.err = nil
	l.store(0xB001, append(pin1[:], puk1[:]...), 1, 3, 10)
	if !errors.Is(l.err, uicc.SWNoSpace) {
		t.Errorf("STORE DATA: %v", l.err)
	}
	if _, err := simos.Unmarshal(chip.Marshal()); err != nil {
		t.Error(err)
	}
}

// The sequence numbers of AUTHENTICATE (TS 33.102, annex C).
func TestSQN(t *testing.T) {
	chip := newChip(t, 1, true)
	personalise(t, chip)
	s := usim(t, chip)
	for _, c := range []struct {
		name     string
		seq, ind uint64
		fresh    bool
	}{
		{"0 is never fresh", 0, 0, false},
		{"first", 1, 1, true},
		{"again", 1, 1, false},
		{"same number, other slot", 1, 2, true},
		{"ahead", 1000, 3, true},
		{"late in a free slot", 5, 4, true},
		{"late in its slot", 999, 3, false},
		{"too far", 1000 + 1<<28 + 1, 5, false},
		{"just not too far", 1000 + 1<<28, 5, true},
	} {
		sent, highest, res := challenge(t, s, c.seq<<5|c.ind)
		if res != c.fresh {
			t.Errorf("%s: SQN %X accepted is %v", c.name, sent, res)
		}
		if !res && highest>>5 > 1000+1<<28 {
			t.Errorf("%s: AUTS says SQN %X", c.name, highest)
		}
	}
	// The numbers survive a power loss.
	chip.Reset()
	if _, highest, ok := challenge(t, usim(t, chip), 1000<<5|3); ok || highest != (1000+1<<28)<<5|5 {
		t.Errorf("after a reset SEQ 1000 is accepted (%v), AUTS says %X", ok, highest)
	}
}

// EF.UST decides about Kc and the GSM context.
func TestServices(t *testing.T) {
	chip := newChip(t, 1, true)
	personalise(t, chip)
	play(t, chip, selectUSIM+verifyPIN1+`
		00D6840301 00 > 9000
		00D6840401 00 > 9000
		0088008011 1000000000000000000000000000000000 00 > 9864`)
	s := uicc.NewSession(chip)
	v := vector(t, 1<<5)
	if r, err := s.Authenticate(t.Context(), v.RAND, v.AUTN); err != nil || len(r) != 44 {
		t.Errorf("without service 27 the answer has %d bytes, %v", len(r), err)
	}
}

// What only shows on cards of another make than the test card.
func TestOddCard(t *testing.T) {
	chip := newChip(t, 1, true)
	channel := open(t, chip, keySet(t, 0x10), scp.Full)
	l := line{card: chip, keys: keySet(t, 0x10), s: uicc.NewSession(channel)}
	l.loadOS()
	l.create(uicc.FCP{Kind: uicc.KindMF, ID: uicc.MF})
	l.create(uicc.FCP{Kind: uicc.Transparent, ID: 0x4F01, SFI: 1, Size: 250, Repeat: []byte{1, 2}, Security: uicc.Security{ARR: 0x2F06, Record: 1}})
	play(t, channel, `00B00000F0 > 6CEF  # no room for padding and MAC
		00B0000006 > 0102010201029000
		00B00000EF > ..9000`)
	l.create(uicc.FCP{Kind: uicc.Transparent, ID: 0x2F06, Size: 3})
	l.store(0xB081, append(pin1[:], puk1[:]...), 1, 3, 10) // the MF's
	l.store(0xB001, append(pin1[:], puk1[:]...), 0, 3, 10)
	l.store(0xB001, append(pin1[:], puk1[:]...), 1, 3, 10) // replaced
	l.create(uicc.FCP{Kind: uicc.KindDF, ID: 0x5F01})
	l.create(uicc.FCP{Kind: uicc.KindDF, ID: 0x5F02})
	l.send(0, uicc.INSSelect, 0, 0x0C, 0x5F, 0x01) // parent
	l.send(0, uicc.INSSelect, 0, 0x0C, 0x3F, 0)
	l.create(uicc.FCP{Kind: uicc.KindADF, ID: 0x7FF0, Name: usimAID})
	l.store(0xA001, make([]byte, 32), 1)
	l.store(0xA001, make([]byte, 32), 1) // replaced
	l.send(0x80, uicc.INSSetStatus, 0x80, 0x0F)
	if l.err != nil {
		t.Fatal(l.err)
	}
	chip.Reset()
	play(t, chip, `
		00B0810001 > 6982  # its EF.ARR is not a file of records
		00D6810001AA > 6982
		0020008100 > 63C3
		`+selectUSIM+`
		0020008100 > 63C3  # of the MF, from an application
		0088008022 00 > 6700
		0088008011 1000000000000000000000000000000000 00 > 6982
		`+verifyPIN1+`
		0088008011 1000000000000000000000000000000000 00 > 9864  # no EF.UST
		0026010008 31323334FFFFFFFF > 6A86
		0028010008 31323334FFFFFFFF > 6A86
		0024010008 31323334FFFFFFFF > 6A86
		002C010008 31323334FFFFFFFF > 6A86`)
	// A MAC that is wrong ends the session, in the handshake and after it.
	for _, cmd := range []string{"84CADF2008 0000000000000000 00", "04A4000C0A 3F00 0000000000000000"} {
		open(t, chip, keySet(t, 0x10), scp.CMAC)
		play(t, chip, cmd+" > 6982\n"+cmd+" > 6982\n00A4000C023F00 > 9000")
	}
}
