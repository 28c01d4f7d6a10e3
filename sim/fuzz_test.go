package sim

import "testing"

// What parses is written back as the same bytes.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"8999901260000004411", "404450123456789", "40445", "404001", "919810012399", "18 check padded", "", "8999901260000004411F"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := ParseICCID(s); err == nil && v.String() != s {
			t.Errorf("ICCID %q became %q", s, v)
		}
		if v, err := ParseIMSI(s); err == nil && v.String() != s {
			t.Errorf("IMSI %q became %q", s, v)
		}
		if v, err := ParsePLMN(s); err == nil && v.String() != s {
			t.Errorf("PLMN %q became %q", s, v)
		}
		if v, err := ParseMSISDN(s); err == nil && v.String() != s {
			t.Errorf("MSISDN %q became %q", s, v)
		}
		if v, err := ParseICCIDVariant(s); err == nil && v.String() != s {
			t.Errorf("variant %q became %q", s, v)
		}
		if id, err := ICCIDFromBody(s); err == nil && id.String()[:len(s)] != s {
			t.Errorf("body %q became %q", s, id)
		}
	})
}

func FuzzICCIDVariant(f *testing.F) {
	f.Add(uint8(Digits18|CheckDigit|Padded|Swapped), "989909210600004014F1")
	f.Add(uint8(Digits18|Padded), "899990126000000441FF")
	f.Add(uint8(Digits19|CheckDigit), "89882110000000000036")
	f.Fuzz(func(t *testing.T, variant uint8, s string) {
		v := ICCIDVariant(variant)
		id, err := v.Parse(s)
		if err != nil {
			return
		}
		if b, err := v.Append(nil, id); err != nil || string(b) != s {
			t.Errorf("%s: %q became %q, %v", v, s, b, err)
		}
	})
}

func FuzzEF(f *testing.F) {
	f.Add([]byte{0x98, 0x99, 0x09, 0x21, 0x06, 0x00, 0x00, 0x40, 0x14, 0xF1})
	f.Add([]byte{0x08, 0x49, 0x04, 0x54, 0x10, 0x32, 0x54, 0x76, 0x98})
	f.Add([]byte{0x04, 0xF4, 0x54})
	f.Fuzz(func(t *testing.T, b []byte) {
		switch len(b) {
		case 10:
			if id, err := ICCIDFromEF([10]byte(b)); err == nil && id.EF() != [10]byte(b) {
				t.Errorf("EF_ICCID % X became % X", b, id.EF())
			}
		case 9:
			if id, err := IMSIFromEF([9]byte(b)); err == nil && id.EF() != [9]byte(b) {
				t.Errorf("EF_IMSI % X became % X", b, id.EF())
			}
		case 3:
			if p, err := PLMNFromBytes([3]byte(b)); err == nil && p.Bytes() != [3]byte(b) {
				t.Errorf("PLMN % X became % X", b, p.Bytes())
			}
		}
	})
}

// Codes are secrets: no error may hold what was read.
func FuzzCodes(f *testing.F) {
	f.Add([]byte("1234"))
	f.Add([]byte("31323334FFFFFFFF"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := ParsePIN(b); err == nil && string(p.AppendDigits(nil)) != string(b) {
			t.Error("a PIN changed")
		}
		if p, err := ParsePUK(b); err == nil && string(p.AppendDigits(nil)) != string(b) {
			t.Error("a PUK changed")
		}
		if a, err := ADMFromHex(b); err == nil && a.IsZero() {
			t.Error("an ADM is none")
		}
	})
}
