package uicc_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"ankan/uicc"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReadTLV(t *testing.T) {
	for _, c := range []struct {
		in, rest string
		tag      uicc.Tag
		value    string
	}{
		{"82027821", "", 0x82, "7821"},
		{"8202782188", "88", 0x82, "7821"},
		{"9F7F0101", "", 0x9F7F, "01"},
		{"DF200100", "", 0xDF20, "00"},
		{"9F81010100", "", 0x9F8101, "00"},
		{"8800", "", 0x88, ""},
		{"5381" + "80" + hex.EncodeToString(make([]byte, 128)), "", 0x53, hex.EncodeToString(make([]byte, 128))},
	} {
		got, rest, err := uicc.ReadTLV(unhex(t, c.in))
		if err != nil || got.Tag != c.tag || hex.EncodeToString(got.Value) != c.value {
			t.Errorf("ReadTLV(%s) = %X %X, %v", c.in, got.Tag, got.Value, err)
		}
		if !bytes.Equal(rest, unhex(t, c.rest)) {
			t.Errorf("ReadTLV(%s) leaves %X, want %s", c.in, rest, c.rest)
		}
	}
}

// The tag and the length are read though the value is not all there.
func TestReadTL(t *testing.T) {
	for in, want := range map[string]struct {
		tag uicc.Tag
		n   int
	}{"5F0182010011": {0x5F01, 256}, "7F813481FF11": {0x7F8134, 255}, "800511": {0x80, 5}} {
		tag, n, rest, err := uicc.ReadTL(unhex(t, in))
		if err != nil || tag != want.tag || n != want.n || !bytes.Equal(rest, []byte{0x11}) {
			t.Errorf("ReadTL(%s) = %X %d %X, %v", in, uint32(tag), n, rest, err)
		}
	}
	for _, in := range []string{"", "5F", "5F01", "808101", "8082"} {
		if _, _, _, err := uicc.ReadTL(unhex(t, in)); !errors.Is(err, uicc.ErrTLV) {
			t.Errorf("ReadTL(%s): %v", in, err)
		}
	}
	if tag, rest, err := uicc.ReadTag([]byte{0x5F, 0x01}); tag != 0x5F01 || len(rest) != 0 || err != nil {
		t.Errorf("ReadTag: %X %X, %v", uint32(tag), rest, err)
	}
}

func TestReadTLVRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"empty":                   "",
		"tag 00":                  "0000",
		"padding":                 "FFFF",
		"no length":               "82",
		"half a tag":              "9F",
		"tag with leading zero":   "9F800100",
		"tag of four bytes":       "9F81818101",
		"length too long":         "820378",
		"indefinite length":       "6280",
		"length not the shortest": "82810101",
		"two-byte length of 7F":   "82820 07F",
		"length cut":              "8282 01",
		"length of four bytes":    "828400000001",
	} {
		b := unhex(t, string(bytes.ReplaceAll([]byte(in), []byte(" "), nil)))
		if _, _, err := uicc.ReadTLV(b); !errors.Is(err, uicc.ErrTLV) {
			t.Errorf("%s: error %v, want ErrTLV", name, err)
		}
	}
}

func TestTLVSizes(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 255, 256, 65535, 65536} {
		b := uicc.AppendTLV(nil, 0x53, make([]byte, n)...)
		got, rest, err := uicc.ReadTLV(b)
		if err != nil || len(got.Value) != n || len(rest) != 0 {
			t.Errorf("%d bytes come back as %d, rest %d, %v", n, len(got.Value), len(rest), err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a length of -1 was written")
		}
	}()
	uicc.AppendTL(nil, 0x53, -1)
}

func TestFindTLV(t *testing.T) {
	b := unhex(t, "8301018401AA")
	if v, ok := uicc.FindTLV(b, 0x84); !ok || v[0] != 0xAA {
		t.Errorf("FindTLV 84 = %X %v", v, ok)
	}
	if _, ok := uicc.FindTLV(b, 0x85); ok {
		t.Error("FindTLV found 85")
	}
	if _, ok := uicc.FindTLV(unhex(t, "830201"), 0x84); ok {
		t.Error("FindTLV found something in a malformed object")
	}
}

func TestConstructed(t *testing.T) {
	for tag, want := range map[uicc.Tag]bool{0x62: true, 0x82: false, 0x7F49: true, 0x9F7F: false, 0xBF8101: true} {
		if tag.Constructed() != want {
			t.Errorf("%X constructed is %v", uint32(tag), !want)
		}
	}
}

func FuzzReadTLV(f *testing.F) {
	for _, s := range []string{"82027821", "9F7F0101", "62168202782183023F00", "5381800000"} {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, rest, err := uicc.ReadTLV(b)
		if err != nil {
			return
		}
		again := append(uicc.AppendTLV(nil, got.Tag, got.Value...), rest...)
		if !bytes.Equal(again, b) {
			t.Fatalf("%X re-encodes to %X", b, again)
		}
	})
}
