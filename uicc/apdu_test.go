package uicc_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ankan/uicc"
)

func TestCommand(t *testing.T) {
	for name, c := range map[string]struct {
		hex string
		cmd uicc.Command
	}{
		"case 2":      {"00B0000005", uicc.Command{INS: 0xB0, Le: 5}},
		"case 2, 256": {"00B0000000", uicc.Command{INS: 0xB0, Le: 256}},
		"case 3":      {"00D60001020A0B", uicc.Command{INS: 0xD6, P2: 1, Data: []byte{10, 11}}},
		"case 4":      {"80E2800001AA00", uicc.Command{CLA: 0x80, INS: 0xE2, P1: 0x80, Data: []byte{0xAA}, Le: 256}},
	} {
		if got := hex.EncodeToString(c.cmd.Append(nil)); got != hex.EncodeToString(unhex(t, c.hex)) {
			t.Errorf("%s: coded %s", name, got)
		}
		got, err := uicc.ParseCommand(unhex(t, c.hex))
		if err != nil || cmp.Diff(c.cmd, got) != "" {
			t.Errorf("%s: parsed %+v, %v", name, got, err)
		}
	}
	if got := (uicc.Command{INS: 0x44}).Append(nil); len(got) != 5 {
		t.Errorf("case 1 is %X, want P3 = 00", got)
	}
	for _, in := range []string{"", "00A400", "00A4000005AA", "00A400000101020304", "00A400000001"} {
		if _, err := uicc.ParseCommand(unhex(t, in)); !errors.Is(err, uicc.ErrAPDU) {
			t.Errorf("%s: error %v, want ErrAPDU", in, err)
		}
	}
	for name, c := range map[string]uicc.Command{"data": {Data: make([]byte, 256)}, "Le": {Le: 257}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("too much %s was coded", name)
				}
			}()
			c.Append(nil)
		}()
	}
}

func TestResponse(t *testing.T) {
	r := uicc.Response{1, 2, 0x90, 0}
	if !bytes.Equal(r.Data(), []byte{1, 2}) || r.SW() != uicc.SWOK {
		t.Errorf("%X %s", r.Data(), r.SW())
	}
	if r := (uicc.Response{0x90}); r.Data() != nil || r.SW() != 0 {
		t.Error("a response of one byte has data or a status")
	}
}

func FuzzParseCommand(f *testing.F) {
	f.Add([]byte{0, 0xA4, 0, 4, 2, 0x3F, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := uicc.ParseCommand(b)
		if err != nil || len(b) == 4 {
			return
		}
		if got := c.Append(nil); !bytes.Equal(got, b) {
			t.Fatalf("%X re-encodes to %X", b, got)
		}
	})
}
