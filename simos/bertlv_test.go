package simos_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"ankan/scp"
	"ankan/simos"
	"ankan/uicc"
)

// withBERTLV is a card of the USIM with two BER-TLV structured EFs: 4F01 (SFI
// 9) of 16 bytes, read by anyone and updated with ADM1, and 4F02 (SFI 10) of
// 1000 bytes, for PIN1. The USIM is selected, ADM1 and PIN1 verified.
func withBERTLV(t *testing.T, direct bool) *simos.Chip {
	t.Helper()
	c := newChip(t, 1, direct)
	personalise(t, c)
	play(t, c, selectUSIM+verifyADM1+verifyPIN1+`
		00E00000[82027921 83024F01 80020010 8B036F0601 880148 8A0105] > 9000
		00E00000[82023921 83024F02 800203E8 A504860203E8 8B036F0602 880150 8A0105] > 9000`)
	return c
}

func TestBERTLV(t *testing.T) {
	card := withBERTLV(t, true)
	for name, script := range map[string]string{
		"one block": `
			80CB00890180 00 > 6A88
			80CB0089015C 00 > 5C009000
			80DB008903 8001AA > 9000
			80CB00890180 00 > 8001AA9000
			80DB008005 5F010201 02 > 9000 # the current EF
			80DB008004 7F813400 > 9000    # three bytes of tag, no value
			80CB0080025F01 00 > 5F010201029000
			80CB0080037F8134 00 > 7F8134009000
			80CB0080015C 00 > 5C06805F017F81349000
			80DB008004 8002BBCC > 9000    # longer, in its place
			80CB0080015C 00 > 5C06805F017F81349000
			80CB00800180 00 > 8002BBCC9000
			80CB0080025F01 00 > 5F010201029000
			80DB008001 80 > 9000          # deleted
			80DB008001 80 > 6A88
			80CB00800180 00 > 6A88
			80CB0080025F01 00 > 5F010201029000
			80CB0080015C 00 > 5C055F017F81349000`,
		"full": `
			80DB008910 800E 0102030405060708090A0B0C0D0E > 9000
			80DB008002 8100 > 6A84
			80DB008003 800F01 > 6A84      # told with the first block
			80DB008010 800E 0E0D0C0B0A090807060504030201 > 9000
			80DB008004 80 8200 FF > 6A80  # not the shortest length
			80DB008003 80 01 > 6700
			80DB008002 8002 > 63F1
			80DB000002 0102 > 9000
			80DB00800E 810A 0102030405060708090A0B0C > 6A80
			80DB00800C 810A 0102030405060708090A > 9000
			80DB008002 8200 > 6A84
			80CB0080015C 00 > 5C0280819000`,
		"blocks": `
			80DB008905 800A 010203 > 63F1
			80CB00890180 00 > 6A88        # and that ended it
			80DB000007 0405060708090A > 6985
			80DB008905 800A 010203 > 63F1
			80F2000C00 > 9000             # STATUS does not
			80DB000004 04050607 > 63F1
			80DB000003 08090A > 9000
			80DB000001 0B > 6985
			80CB00890180 04 > 800A010262F1
			80CB000004 > 0304050662F1
			80CB000001 > 0762F1
			80CB000000 > 08090A9000
			80CB000000 > 6985
			80CB00890180 04 > 800A010262F1
			80CB008900 > 6700             # a first block has a tag
			80CB000000 > 6985
			80CB00890180 04 > 800A010262F1
			80CB000001 80 00 > 6700
			80CB00890180 04 > 800A010262F1
			80CB0000 > 6700
			80CB0089015C 02 > 5C0162F1
			80CB000900 > 809000`,
		"wrong order": `
			80DB000001 01 > 6986
			80CB000000 > 6986
			80DB000901 01 > 6985
			80CB000900 > 6985
			80DB008905 800A 010203 > 63F1
			80CB000000 > 6985             # of a transfer the other way
			80DB008905 800A 010203 > 63F1
			80DB000008 0405060708090A0B > 6A80 # more than the length
			80DB000001 04 > 6985
			80DB008905 800A 010203 > 63F1
			80DB000A07 0405060708090A > 6985   # another file
			80DB000907 0405060708090A > 6985
			80DB008905 800A 010203 > 63F1
			00B0870001 > ..9000
			80DB000907 0405060708090A > 6985
			80DB008905 800A 010203 > 63F1
			00A4000C024F01 > 9000
			80DB000007 0405060708090A > 6985
			80DB008905 800A 010203 > 63F1
			80DB008003 8101AA > 9000      # a new first block
			80DB000007 0405060708090A > 6985
			80CB0089015C 00 > 5C01819000`,
		"parameters": `
			80CB01890180 00 > 6A86
			80CB00C90180 00 > 6A86
			80CB00A90180 00 > 6A86
			80CB009F0180 00 > 6A86
			80CB008C0180 00 > 6A82
			80CB00870180 00 > 6981        # transparent
			80DB008703 8001AA > 6981
			80CB0089028081 00 > 6A80
			80CB0089015F 00 > 6A80
			80CB00890100 00 > 6A80
			80DB0089 > 6700
			80DB008901 5C > 6A80
			80DB008902 5C00 > 6A80
			80DB008903 800200 > 63F1
			80DB0000 > 6700
			80DB008903 FF01AA > 6A80
			00DB008903 8001AA > 6D00
			00CB00890180 00 > 6D00
			00B0890001 > 6981
			00D6890001AA > 6981
			00B2014C00 > 6981
			00DC014C0100 > 6981
			00A4000C024F01 > 9000
			00A2010401AA00 > 6981
			00A40004024F0100 > 622482027921 83024F01 8A0105 8B036F0601 80020010 880148 A50B 840101 85020010 86020010 9000`,
		"life": `
			80DB008903 8001AA > 9000
			80CB00890180 01 > 8062F1
			00040000024F01 > 9000
			80CB000000 > 6985
			80CB00890180 00 > 6985
			80DB008903 8001AA > 6985
			00440000024F01 > 9000
			80CB00890180 01 > 8062F1
			00E40000024F01 > 9000
			80CB000000 > 6986
			80CB00890180 00 > 6A82`,
		"channels": `
			80DB008903 8001AA > 9000
			0070000001 > 019000
			01A4040C05A000000087 > 9000
			81CB00890180 01 > 8062F1
			80CB00890180 01 > 8062F1      # each has its own transfer
			81CB000001 > 0162F1
			80DB008904 8002BBCC > 9000
			81CB000000 > 6985             # what it had begun is gone
			80DB00890E 810E 0102030405060708090A0B0C > 6A84
			80DB00890B 810A 010203040506070809 > 63F1
			81DB008907 800506070809 0A > 9000
			80DB000001 0A > 6A84          # the other was faster
			80CB0089015C 00 > 5C01809000`,
	} {
		t.Run(name, func(t *testing.T) {
			c := card.Clone()
			c.Reset()
			play(t, c, selectUSIM+verifyADM1+verifyPIN1+script)
			if _, err := simos.Unmarshal(c.Marshal()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBERTLVAccess(t *testing.T) {
	c := withBERTLV(t, true)
	play(t, c, "80DB008903 8001AA > 9000\n80DB008A03 8001BB > 9000\n80DB008A03 8103BB > 63F1")
	c.Reset()
	play(t, c, selectUSIM+`
		80DB008903 8001BB > 6982
		80DB008901 80 > 6982
		80CB00890180 00 > 8001AA9000
		80DB008A03 8001CC > 6982
		80CB008A0180 00 > 6982
		80CB008A015C 00 > 6982
		`+verifyPIN1+`
		80DB000A02 0102 > 6985        # the reset ended it
		80CB008A015C 00 > 5C01809000
		80CB008A0180 01 > 8062F1
		80DB008904 80020102 > 6982    # ADM1
		80DB008A03 8103BB > 63F1
		80CB008A0180 00 > 8001BB9000`)
}

// An object of many blocks, by a chip of either protocol.
func TestBERTLVLong(t *testing.T) {
	object := uicc.AppendTLV(nil, 0x5F01, bytes.Repeat([]byte("0123456789"), 90)...)
	for _, direct := range []bool{true, false} {
		c := withBERTLV(t, direct)
		set(t, c, object)
		if got := get(t, c, 0x5F, 0x01); !bytes.Equal(got, object) {
			t.Errorf("direct %t: %X", direct, got)
		}
	}
}

// send sends one command over either protocol and returns all of its answer.
func send(t *testing.T, c uicc.Card, cmd uicc.Command) ([]byte, uicc.SW) {
	t.Helper()
	b := cmd.Append(nil)
	var data []byte
	for {
		r, err := c.Transmit(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		answer := uicc.Response(r)
		data = append(data, answer.Data()...)
		if n, ok := answer.SW().More(); ok {
			b = uicc.Command{INS: uicc.INSGetResponse, Le: n}.Append(nil)
		} else if n, ok := answer.SW().WrongLe(); ok {
			cmd.Le = n
			b = cmd.Append(nil)
		} else {
			return data, answer.SW()
		}
	}
}

func set(t *testing.T, c uicc.Card, object []byte) {
	t.Helper()
	p2 := byte(0x80)
	for len(object) > 0 {
		n := min(len(object), 200)
		want := uicc.SWMoreExpected
		if n == len(object) {
			want = uicc.SWOK
		}
		if _, sw := send(t, c, uicc.Command{CLA: 0x80, INS: uicc.INSSetData, P2: p2 | 10, Data: object[:n]}); sw != want {
			t.Fatal(sw)
		}
		object, p2 = object[n:], 0
	}
}

func get(t *testing.T, c uicc.Card, tag ...byte) []byte {
	t.Helper()
	data, sw := send(t, c, uicc.Command{CLA: 0x80, INS: uicc.INSRetrieveData, P2: 0x80 | 10, Data: tag})
	for sw == uicc.SWMoreData {
		var more []byte
		more, sw = send(t, c, uicc.Command{CLA: 0x80, INS: uicc.INSRetrieveData, P2: 10, Le: 256})
		data = append(data, more...)
	}
	if sw != uicc.SWOK {
		t.Fatal(sw)
	}
	return data
}

// Inside the secure channel, before the chip is secured, SET and RETRIEVE DATA
// work without access rules, and no byte is lost to the MAC of an answer.
func TestBERTLVInChannel(t *testing.T) {
	object := uicc.AppendTLV(nil, 0x5F01, bytes.Repeat([]byte("0123456789"), 90)...)
	for _, direct := range []bool{true, false} {
		for _, level := range []scp.Level{scp.Commands, scp.Full} {
			chip := newChip(t, 1, direct)
			channel := open(t, chip, keySet(t, 0x10), level)
			l := line{card: channel, keys: keySet(t, 0x10), s: uicc.NewSession(channel)}
			l.loadOS()
			l.create(uicc.FCP{Kind: uicc.KindMF, ID: uicc.MF})
			l.create(uicc.FCP{Kind: uicc.BERTLV, ID: 0x4F02, SFI: 10, Size: 1000})
			if l.err != nil {
				t.Fatal(l.err)
			}
			set(t, channel, object)
			if got := get(t, channel, 0x5F, 0x01); !bytes.Equal(got, object) {
				t.Errorf("direct %t, level %v: %X", direct, level, got)
			}
			channel.Close()
			play(t, chip, "80DB008A03 8001AA > 6982\n80CB008A0180 00 > 6982")
		}
	}
}

// Whenever the power goes, a file has its old content or its new one.
func TestBERTLVTear(t *testing.T) {
	card := withBERTLV(t, true)
	play(t, card, "80DB008904 80020102 > 9000\n80DB008904 81020304 > 9000\n80DB008904 8302AABB > 9000")
	for name, cmds := range map[string][]string{
		"add":     {"80DB008903 8501EE"},
		"replace": {"80DB008906 810411121314"},
		"shrink":  {"80DB008903 810111"},
		"delete":  {"80DB008901 80"},
		"blocks":  {"80DB008904 81041112", "80DB000001 13", "80DB000001 14"},
	} {
		state := func(c *simos.Chip) string {
			return string(c.Marshal())
		}
		done := card.Clone()
		done.Reset()
		play(t, done, selectUSIM+verifyADM1)
		old := state(done)
		for _, cmd := range cmds {
			if _, err := done.Transmit(t.Context(), unhex(t, strings.ReplaceAll(cmd, " ", ""))); err != nil {
				t.Fatal(err)
			}
		}
		now := state(done)
		if old == now {
			t.Fatalf("%s changes nothing", name)
		}
		seen, torn := map[string]bool{}, 0
		for n := 1; ; n++ {
			c := card.Clone()
			c.Reset()
			play(t, c, selectUSIM+verifyADM1)
			c.Tear(n)
			var err error
			for _, cmd := range cmds {
				if _, err = c.Transmit(t.Context(), unhex(t, strings.ReplaceAll(cmd, " ", ""))); err != nil {
					break
				}
			}
			if err == nil {
				break
			}
			if !errors.Is(err, simos.ErrTorn) {
				t.Fatal(err)
			}
			torn++
			c.Reset()
			s := state(c)
			if s != old && s != now {
				t.Errorf("%s, step %d: neither the old nor the new", name, n)
			}
			seen[s] = true
			if _, err := simos.Unmarshal([]byte(s)); err != nil {
				t.Errorf("%s, step %d: %v", name, n, err)
			}
		}
		if torn < 2 || !seen[old] || !seen[now] {
			t.Errorf("%s: torn %d times, both outcomes: %t", name, torn, len(seen) == 2)
		}
	}
}
