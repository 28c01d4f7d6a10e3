package uicc_test

import (
	"encoding/hex"
	"errors"
	"testing"

	"ankan/uicc"
)

func TestATR(t *testing.T) {
	for _, c := range []struct {
		name, hex  string
		protocol   int
		historical string
	}{
		{"T=0 without TCK", "3B021450", 0, "1450"},
		{"T=0 and T=15", "3B9F96801FC78031A073BE21136743200718000001A5", 0, "8031A073BE21136743200718000001"},
		{"T=1", "3B8001" + "81", 1, ""},
	} {
		a := uicc.ATR(unhex(t, c.hex))
		p, err := a.Protocol()
		h, _ := a.Historical()
		if err != nil || p != c.protocol || hex.EncodeToString(h) != hex.EncodeToString(unhex(t, c.historical)) {
			t.Errorf("%s: T=%d, historical %X, %v", c.name, p, h, err)
		}
	}
	for name, in := range map[string]string{
		"empty": "", "not TS": "3A00", "interface bytes missing": "3BF0", "historical missing": "3B0214",
		"one too many": "3B00FF", "TCK missing": "3B8001", "TCK wrong": "3B800180",
		"too long": "3B" + hex.EncodeToString(make([]byte, 40)),
	} {
		if err := uicc.ATR(unhex(t, in)).Check(); !errors.Is(err, uicc.ErrATR) {
			t.Errorf("%s: error %v, want ErrATR", name, err)
		}
	}
}

func FuzzATR(f *testing.F) {
	f.Add([]byte{0x3B, 0x80, 0x01, 0x81})
	f.Fuzz(func(t *testing.T, b []byte) { uicc.ATR(b).Check() })
}
