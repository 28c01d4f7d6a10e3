package simos_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"ankan/suci"
	"ankan/uicc"
)

// homeKey is the home network's key of the tests.
func homeKey() []byte { return bytes.Repeat([]byte{0x42}, 32) }

// GET IDENTITY gives a SUCI that only the home network opens, and never the same
// one twice (TS 31.102, 7.5; TS 33.501, annex C).
func TestSUCI(t *testing.T) {
	card := built(t, true)
	for _, scheme := range []suci.Scheme{suci.ProfileA, suci.ProfileB} {
		c := card.Clone()
		c.Reset()
		home, err := scheme.PrivateKey(homeKey())
		if err != nil {
			t.Fatal(err)
		}
		key := home.PublicKey().Bytes()
		if scheme == suci.ProfileB {
			key = slices.Concat([]byte{2 | key[64]&1}, key[1:33])
		}
		// Scheme 9 is nobody's, the second key of the list is the scheme's.
		list := uicc.AppendTLV(nil, 0x80, 5)
		list = uicc.AppendTLV(list, 0x81, 1, 2, 3)
		list = uicc.AppendTLV(list, 0x80, 27)
		list = uicc.AppendTLV(list, 0x81, key...)
		info := uicc.AppendTLV(nil, 0xA0, 9, 1, byte(scheme), 2, 0, 0)
		calculate(t, c, uicc.AppendTLV(info, 0xA1, list...))
		seen := map[string]bool{}
		for range 3 {
			r, err := c.Transmit(t.Context(), unhex(t, "8078000100"))
			if err != nil || len(r) < 20 || uicc.Response(r).SW() != uicc.SWOK {
				t.Fatalf("%s: %X %v", scheme, r, err)
			}
			id, rest, err := uicc.ReadTLV(uicc.Response(r).Data())
			if err != nil || id.Tag != 0xA1 || len(rest) > 0 {
				t.Fatalf("%s: %X", scheme, r)
			}
			// SUPI type IMSI, MCC 440, MNC 19, MSIN 0000000001 in packed digits.
			want := fmt.Sprintf("01%s%s%02x1b", "44f091", "f1ff", byte(scheme))
			if got := hex.EncodeToString(id.Value[:8]); got != want {
				t.Errorf("%s: head %s, want %s", scheme, got, want)
			}
			plain, err := suci.Deconceal(scheme, home, id.Value[8:])
			if err != nil || hex.EncodeToString(plain) != "0000000010" {
				t.Errorf("%s: opens to %X, %v", scheme, plain, err)
			}
			if seen[string(id.Value)] {
				t.Errorf("%s: the same SUCI twice", scheme)
			}
			seen[string(id.Value)] = true
		}
	}
}

// calculate writes EF.SUCI_Calc_Info_USIM and leaves the chip in the USIM with
// PIN1 verified.
func calculate(t *testing.T, c uicc.Card, info []byte) {
	t.Helper()
	info = append(info, bytes.Repeat([]byte{0xFF}, 120-len(info))...)
	play(t, c, selectUSIM+verifyADM1+fmt.Sprintf("00A4080C06 7FFF5FD04F01 > 9000\n00D6000078 %X > 9000\n", info)+verifyPIN1)
}

func TestGetIdentity(t *testing.T) {
	card := built(t, true)
	for name, c := range map[string]struct {
		info   string
		script string
	}{
		"no list":       {"", "8078000100 > A10D 01 44F091 F1FF 00 00 0000000010 9000\n8078008100 > A10D 01 44F091 F1FF 00 00 0000000010 9000"},
		"empty list":    {"A000", "8078000100 > A10D 01 44F091 F1FF 00 00 0000000010 9000"},
		"null first":    {"A0020000A100", "8078000100 > A10D 01 44F091 F1FF 00 00 0000000010 9000"},
		"unknown alone": {"A0020901", "8078000100 > A10D 01 44F091 F1FF 00 00 0000000010 9000"},
		"no key":        {"A0020101", "8078000100 > 6985"},
		"wrong key":     {"A0020101A106800101810101", "8078000100 > 6985"},
		"no such key":   {"A0020102A106800101810101", "8078000100 > 6985"},
		"cut list":      {"A0020101A17F80", "8078000100 > 6985"},
		"other object":  {"A1020101", "8078000100 > 6985"},
		"commands": {"", `
			8078000000 > 6A86
			8078000200 > 6A86
			8078010100 > 6A86
			80780001 01 00 00 > 6700
			80780001 > 6700
			00780001 00 > 6D00
			00A4040C08A000000087100201 > 9000
			8078000100 > 6985                    # this USIM has no EF.UST
			0028000108 00 > 6700`},
	} {
		t.Run(name, func(t *testing.T) {
			chip := card.Clone()
			chip.Reset()
			info := unhex(t, c.info)
			calculate(t, chip, info)
			play(t, chip, c.script)
		})
	}
	c := card.Clone()
	c.Reset()
	play(t, c, "8078000100 > 6985 # no application\n"+selectUSIM+"8078000100 > 6982 # no PIN")
	// Without service 125 the phone computes.
	play(t, c, verifyPIN1+verifyADM1+"00A4000C026F38 > 9000\n00D6000F01 08 > 9000\n8078000100 > 6985")
}
