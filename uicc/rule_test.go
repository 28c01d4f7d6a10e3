package uicc_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"ankan/uicc"
)

func TestRules(t *testing.T) {
	pin1, adm1 := uicc.Verified(0x01), uicc.Verified(0x0A)
	for _, c := range []struct {
		name, hex, text string
		rule            uicc.Rule
	}{
		{"read always", "8001019000", "always", uicc.Rule{Mode: uicc.ModeRead, Condition: uicc.Always()}},
		{"update never", "8001029700", "never", uicc.Rule{Mode: uicc.ModeUpdate, Condition: uicc.Never()}},
		{"update PIN1", "800102A406830101950108", "PIN1", uicc.Rule{Mode: uicc.ModeUpdate, Condition: pin1}},
		{"resize ADM1", "8401D4A40683010A950108", "ADM1", uicc.Rule{INS: 0xD4, Condition: adm1}},
		{"any", "800101A010A406830101950108A40683010A950108", "PIN1 or ADM1", uicc.Rule{Mode: uicc.ModeRead, Condition: uicc.Any(pin1, adm1)}},
		{"all", "800101AF10A406830101950108A40683010A950108", "PIN1 and ADM1", uicc.Rule{Mode: uicc.ModeRead, Condition: uicc.All(pin1, adm1)}},
		{"nested", "800101A00CAF08A4068301019501089000", "(PIN1) or always",
			uicc.Rule{Mode: uicc.ModeRead, Condition: uicc.Any(uicc.All(pin1), uicc.Always())}},
	} {
		b := uicc.AppendRules(nil, c.rule)
		if got := hex.EncodeToString(b); got != hex.EncodeToString(unhex(t, c.hex)) {
			t.Errorf("%s: coded %s, want %s", c.name, got, c.hex)
		}
		if got := c.rule.Condition.String(); got != c.text {
			t.Errorf("%s: text %q, want %q", c.name, got, c.text)
		}
		rules, err := uicc.ParseRules(append(b, 0xFF, 0xFF))
		if err != nil || len(rules) != 1 || rules[0] != c.rule {
			t.Errorf("%s: parsed %v, %v", c.name, rules, err)
		}
	}
}

func TestAllowed(t *testing.T) {
	pin1, pin2, adm1 := uicc.Verified(0x01), uicc.Verified(0x81), uicc.Verified(0x0A)
	record := uicc.AppendRules(nil,
		uicc.Rule{Mode: uicc.ModeRead, Condition: uicc.Any(pin1, adm1)},
		uicc.Rule{Mode: uicc.ModeUpdate | uicc.ModeDeactivate, Condition: uicc.All(pin1, pin2)},
		uicc.Rule{INS: 0xD4, Condition: adm1},
		uicc.Rule{Mode: uicc.ModeDelete, Condition: uicc.Never()},
		uicc.Rule{Mode: uicc.ModeActivate, Condition: uicc.Any()},
		uicc.Rule{Mode: uicc.ModeTerminate, Condition: uicc.All()},
		uicc.Rule{Mode: uicc.ModeWrite, Condition: "\xA7\x02\x90\x00"},
	)
	record = append(record, bytes.Repeat([]byte{0xFF}, 8)...)
	for _, c := range []struct {
		mode     uicc.Mode
		ins      byte
		verified string
		want     bool
	}{
		{uicc.ModeRead, 0xB0, "", false},
		{uicc.ModeRead, 0xB0, "\x01", true},
		{uicc.ModeRead, 0xB0, "\x0A", true},
		{uicc.ModeUpdate, 0xD6, "\x01", false},
		{uicc.ModeUpdate, 0xD6, "\x01\x81", true},
		{uicc.ModeDeactivate, 0x04, "\x01\x81", true},
		{0, 0xD4, "\x0A", true},
		{0, 0xD4, "\x01", false},
		{0, 0xD6, "\x01\x81\x0A", false},
		{uicc.ModeDelete, 0xE4, "\x01\x81\x0A", false},
		{uicc.ModeActivate, 0x44, "\x01\x81\x0A", false},
		{uicc.ModeTerminate, 0xE8, "\x01\x81\x0A", false},
		{uicc.ModeWrite, 0xD0, "\x01\x81\x0A", false},
	} {
		verified := func(ref byte) bool { return bytes.IndexByte([]byte(c.verified), ref) >= 0 }
		if got := uicc.Allowed(record, c.mode, c.ins, verified); got != c.want {
			t.Errorf("mode %02X INS %02X with %X verified: %v", byte(c.mode), c.ins, c.verified, got)
		}
	}
	yes := func(byte) bool { return true }
	for name, r := range map[string]string{"empty": "", "padding only": "FFFF", "malformed": "800101", "rule behind padding": "FF8001019000",
		"usage not 08": "800101A406830101950188", "short template": "800101A403830101", "condition of 1 byte": "8001019001FF",
		"half a condition in A0": "800101A0019000", "A0 with a cut one": "800101A0029001"} {
		if uicc.Allowed(unhex(t, r), uicc.ModeRead, 0xB0, yes) {
			t.Errorf("%s: allowed", name)
		}
	}
	if (uicc.Condition("")).Met(yes) || uicc.Condition("\xA0\x02\x90").Met(yes) {
		t.Error("an empty or cut condition is met")
	}
	if !uicc.Verified(1).Met(yes) || !uicc.Condition("\xA4\x06\x95\x01\x08\x83\x01\x01").Met(yes) {
		t.Error("a key reference in either order is not met")
	}
}

func TestParseRulesRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"no condition":         "800101",
		"access mode 00":       "8001009000",
		"access mode 2 bytes":  "800201019000",
		"unknown access mode":  "8101019000",
		"unknown condition":    "8001019E0101",
		"always with value":    "800101900100",
		"bad key reference":    "800101A403830101",
		"bad inner condition":  "800101A002A400",
		"half inner condition": "800101A0019000",
		"too deep":             "800101A00CA00AA008A006A004A0029000",
		"padding with holes":   "8001019000FF00",
		"half a condition":     "80010190",
	} {
		if _, err := uicc.ParseRules(unhex(t, in)); !errors.Is(err, uicc.ErrRule) {
			t.Errorf("%s: error %v, want ErrRule", name, err)
		}
	}
	if got := uicc.Condition("\x01").String(); got != "never (malformed)" {
		t.Errorf("malformed condition prints %q", got)
	}
	if got := uicc.Any().String(); got != "never" {
		t.Errorf("any of nothing prints %q", got)
	}
}

func BenchmarkAllowed(b *testing.B) {
	record := uicc.AppendRules(nil, uicc.Rule{Mode: uicc.ModeUpdate, Condition: uicc.Verified(0x0A)},
		uicc.Rule{Mode: uicc.ModeRead, Condition: uicc.Any(uicc.Verified(0x01), uicc.Verified(0x0A))})
	verified := func(ref byte) bool { return ref == 0x0A }
	b.ReportAllocs()
	for b.Loop() {
		if !uicc.Allowed(record, uicc.ModeRead, 0xB0, verified) {
			b.Fatal("refused")
		}
	}
}

func TestReferenceName(t *testing.T) {
	for ref, want := range map[byte]string{1: "PIN1", 8: "PIN8", 0x11: "universal PIN", 0x81: "PIN2", 0x0A: "ADM1", 0x0E: "ADM5", 0x8A: "ADM6", 0x20: "key 20"} {
		if got := uicc.ReferenceName(ref); got != want {
			t.Errorf("%02X is %q, want %q", ref, got, want)
		}
	}
}

func FuzzParseRules(f *testing.F) {
	for _, s := range []string{"8001019000", "800102A406830101950108FFFF", "8401D4A010A406830101950108A40683010A950108"} {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rules, err := uicc.ParseRules(b)
		uicc.Allowed(b, 0x7F, 0xD4, func(ref byte) bool { return ref&1 == 1 })
		if err != nil {
			return
		}
		again := uicc.AppendRules(nil, rules...)
		if !bytes.Equal(again, b[:len(again)]) || len(bytes.Trim(b[len(again):], "\xFF")) > 0 {
			t.Fatalf("%X re-encodes to %X", b, again)
		}
	})
}
