package uicc_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ankan/uicc"
)

var fcps = map[string]struct {
	hex string
	fcp uicc.FCP
}{
	"transparent with SFI": {"621A8202412183022FE28A01058B032F060180020 00A880110A503C101FF",
		uicc.FCP{Kind: uicc.Transparent, Shareable: true, ID: uicc.EFICCID, LifeCycle: uicc.Activated, Size: 10, SFI: 2,
			Security: uicc.Security{ARR: uicc.EFARR, Record: 1}, Fill: []byte{0xFF}}},
	"linear fixed without SFI": {"62178205422100 1A0583026F40 8B036F0603 80020082 8800",
		uicc.FCP{Kind: uicc.LinearFixed, Shareable: true, ID: 0x6F40, RecordSize: 26, Records: 5, Size: 130,
			Security: uicc.Security{ARR: 0x6F06, Record: 3}}},
	"ADF": {"6227820278218302 7FF0 8407A0000000871002 8A0105 8B082F0601020 0030405 C60990 0180 950108830101",
		uicc.FCP{Kind: uicc.KindADF, Shareable: true, ID: 0x7FF0, Name: []byte{0xA0, 0, 0, 0, 0x87, 0x10, 2}, LifeCycle: uicc.Activated,
			Security: uicc.Security{ARR: uicc.EFARR, Sets: []uicc.Set{{Environment: 1, Record: 2}, {Environment: 0, Record: 3}, {Environment: 4, Record: 5}}},
			PINs:     []uicc.PINStatus{{Reference: 1, Enabled: true}}}},
	"cyclic, expanded rules": {"62178205462100030283026F39AB05800101900080 0200068800",
		uicc.FCP{Kind: uicc.Cyclic, Shareable: true, ID: 0x6F39, RecordSize: 3, Records: 2, Size: 6,
			Security: uicc.Security{Expanded: []byte{0x80, 1, 1, 0x90, 0}}}},
	"DF, not shareable, with more": {"6200 82023821 83025F01 8104 01000000 A504C2020102 C501AA",
		uicc.FCP{Kind: uicc.KindDF, ID: 0x5F01, Size: 1 << 24, Repeat: []byte{1, 2}, Other: []uicc.TLV{{Tag: 0xC5, Value: []byte{0xAA}}}}},
	"BER-TLV": {"6200 82027921 83024F01 80030FFFFF 8800",
		uicc.FCP{Kind: uicc.BERTLV, Shareable: true, ID: 0x4F01, Size: 0xFFFFF}},
	"BER-TLV, growing": {"6200 82023921 83024F01 80020010 880108 A50486020100",
		uicc.FCP{Kind: uicc.BERTLV, ID: 0x4F01, SFI: 1, Size: 16, Maximum: 256}},
	"large, compact rules": {"62138202412183026F018C0203008003010000880 108",
		uicc.FCP{Kind: uicc.Transparent, Shareable: true, ID: 0x6F01, SFI: 1, Size: 65536, Security: uicc.Security{Compact: []byte{3, 0}}}},
}

// fixed corrects the outer length, so that the vectors above can be typed.
func fixed(t testing.TB, s string) []byte {
	b := unhex(t, strings.ReplaceAll(s, " ", ""))
	b[1] = byte(len(b) - 2)
	return b
}

func TestFCP(t *testing.T) {
	for name, c := range fcps {
		got, err := uicc.ParseFCP(fixed(t, c.hex))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(c.fcp, got); d != "" {
			t.Errorf("%s: -want +got\n%s", name, d)
		}
		again, err := uicc.ParseFCP(got.Append(nil))
		if err != nil {
			t.Errorf("%s: re-read: %v", name, err)
		}
		if d := cmp.Diff(got, again); d != "" {
			t.Errorf("%s: re-read: -want +got\n%s", name, d)
		}
	}
}

// What a public card answers to SELECT MF parses; unknown objects are kept.
func TestFCPOfCard(t *testing.T) {
	b := fixed(t, "6200 82027821 83023F00 A503800171 8A0105 8B032F0601 C609900140830101830181")
	f, err := uicc.ParseFCP(b)
	if err != nil {
		t.Fatal(err)
	}
	want := []uicc.PINStatus{{Reference: 1}, {Reference: 0x81, Enabled: true}}
	if f.Kind != uicc.KindMF || cmp.Diff(want, f.PINs) != "" {
		t.Errorf("kind %s, PINs %v", f.Kind, f.PINs)
	}
}

func TestFCPImplicitSFI(t *testing.T) {
	for in, want := range map[string]byte{
		"6200 82024121 83026F07 80020009":        7,
		"6200 82024121 83026F1F 80020009":        0,
		"6200 82024121 83026F07 80020009 8800":   0,
		"6200 82024121 83026F07 80020009 880158": 11,
	} {
		f, err := uicc.ParseFCP(fixed(t, in))
		if err != nil || f.SFI != want {
			t.Errorf("%s: SFI %d, want %d, %v", in, f.SFI, want, err)
		}
	}
}

func TestFCPRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"other template":          "6F00 82027821 83023F00",
		"malformed object":        "6200 82027821 8302",
		"object twice":            "6200 82027821 83023F00 83023F00",
		"no descriptor":           "6200 83023F00",
		"no identifier":           "6200 82024121 80020001",
		"unknown descriptor":      "6200 82024521 83026F07 80020001",
		"long descriptor":         "6200 8203412100 83026F07 80020001",
		"record file, short":      "6200 82024221 83026F07 80020001",
		"transparent, long":       "6200 82054121000101 83026F07 80020001",
		"identifier of 1 byte":    "6200 82024121 83016F 80020001",
		"name too long":           "6200 82027821 8411A000000087100200000000000000000000",
		"name of an EF":           "6200 82024121 83026F07 8405A000000087 80020001",
		"size of 1 byte":          "6200 82024121 83026F07 800101",
		"SFI 0":                   "6200 82024121 83026F07 80020001 880100",
		"SFI 31":                  "6200 82024121 83026F07 80020001 8801F8",
		"SFI with low bits":       "6200 82024121 83026F07 80020001 880109",
		"two life cycles":         "6200 82024121 83026F07 80020001 8A020505",
		"ARR without record":      "6200 82024121 83026F07 80020001 8B022F06",
		"ARR with half a set":     "6200 82024121 83026F07 80020001 8B052F06010203",
		"ARR 0000":                "6200 82024121 83026F07 80020001 8B03000001",
		"two forms of security":   "6200 82024121 83026F07 80020001 8B032F0601 8C020300",
		"no security":             "6200 82024121 83026F07 80020001 8C00",
		"records do not fit":      "6200 820542210005 02 83026F07 8002000B",
		"records of 0 bytes":      "6200 820542210000 02 83026F07 80020000",
		"PINs without status":     "6200 82027821 83023F00 C603830101",
		"more PINs than status":   "6200 82027821 83023F00 C61E900180" + strings.Repeat("830101", 9),
		"PIN of 2 bytes":          "6200 82027821 83023F00 C60790018083020101",
		"malformed PINs":          "6200 82027821 83023F00 C60490018083",
		"long tag in security":    "6200 82024121 83026F07 80020001 8B0100",
		"malformed proprietary":   "6200 82027821 83023F00 A50183",
		"something behind":        "",
		"malformed to begin with": "62",
	} {
		var b []byte
		switch name {
		case "something behind":
			b = append(fixed(t, "6200 82027821 83023F00"), 0)
		case "malformed to begin with":
			b = []byte{0x62}
		default:
			b = fixed(t, in)
		}
		if _, err := uicc.ParseFCP(b); !errors.Is(err, uicc.ErrFCP) {
			t.Errorf("%s: error %v, want ErrFCP", name, err)
		}
	}
}

func FuzzParseFCP(f *testing.F) {
	for _, c := range fcps {
		f.Add(fixed(f, c.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := uicc.ParseFCP(b)
		if err != nil {
			return
		}
		again, err := uicc.ParseFCP(got.Append(nil))
		if err != nil {
			t.Fatalf("%X: re-read: %v", b, err)
		}
		if hex.EncodeToString(again.Append(nil)) != hex.EncodeToString(got.Append(nil)) {
			t.Fatalf("%X: reads to %+v, then to %+v", b, got, again)
		}
	})
}
