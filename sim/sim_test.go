package sim

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// vectors reads a file of vectors; a file without any is a failure.
func vectors[T any](t *testing.T, file string) []T {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var f struct{ Vectors []T }
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Vectors) == 0 {
		t.Fatalf("%s holds no vectors", file)
	}
	return f.Vectors
}

func unhex(t *testing.T, s string, size int) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != size {
		t.Fatalf("%q is not %d bytes of hex", s, size)
	}
	return b
}

// refused checks an error's text and that it is one of the parsers'.
func refused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want %q", err, want)
	} else if !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrOverflow) {
		t.Errorf("error %q wraps neither ErrSyntax nor ErrOverflow", err)
	}
}

func TestICCIDVectors(t *testing.T) {
	for _, v := range vectors[struct{ ICCID, EF, Wrong string }](t, "testdata/iccid.json") {
		id, err := ParseICCID(v.ICCID)
		if v.Wrong != "" {
			refused(t, err, v.Wrong)
			if v.EF != "" {
				_, err := ICCIDFromEF([10]byte(unhex(t, v.EF, 10)))
				refused(t, err, v.Wrong)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", v.ICCID, err)
			continue
		}
		ef := [10]byte(unhex(t, v.EF, 10))
		if id.String() != v.ICCID || id.Digits() != len(v.ICCID) || id.EF() != ef {
			t.Errorf("%s is %s, %d digits, EF %X", v.ICCID, id, id.Digits(), id.EF())
		}
		if back, err := ICCIDFromEF(ef); err != nil || back != id {
			t.Errorf("EF %s is %s, %v", v.EF, back, err)
		}
		if body, err := ICCIDFromBody(v.ICCID[:len(v.ICCID)-1]); err != nil || body != id {
			t.Errorf("body of %s is %s, %v", v.ICCID, body, err)
		}
	}
}

func TestICCIDRefusals(t *testing.T) {
	_, err := ICCIDFromBody("8991")
	refused(t, err, "ICCID body has 4 digits, want 18 or 19")
	_, err = NewICCID(899990126000000441, 18)
	refused(t, err, "ICCID has 18 digits, want 19 or 20")
	_, err = NewICCID(899990126000000441, 20) // a zero in front
	refused(t, err, "ICCID starts with 08, want 89")
	_, err = ICCIDFromEF([10]byte{0x98, 0xF9})
	refused(t, err, "EF_ICCID has the nibble 0 at digit 5, want digits and then F")
	_, err = ICCIDFromEF([10]byte{0x9A})
	refused(t, err, "EF_ICCID has the nibble A at digit 1")
	_, err = ICCID{}.Add(1)
	refused(t, err, "no ICCID")
	last, _ := ICCIDFromBody("899999999999999999")
	if _, err = last.Add(1); !errors.Is(err, ErrOverflow) {
		t.Errorf("after the last ICCID comes %v", err)
	}
	if _, err = last.Add(1<<64 - 1); !errors.Is(err, ErrOverflow) {
		t.Errorf("far after the last ICCID comes %v", err)
	}
	_, err = ICCID{}.MarshalText()
	refused(t, err, "no ICCID")
	if (ICCID{}).String() != "" || (ICCID{}).Masked() != "" || (ICCID{}).EF() != [10]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255} {
		t.Error("the zero ICCID looks like one")
	}
}

func TestICCIDAddAndMask(t *testing.T) {
	id, _ := ICCIDFromBody("899990126000000441")
	next, err := id.Add(9)
	if err != nil || next.String() != "8999901260000004502" {
		t.Errorf("9 on from %s is %s, %v", id, next, err)
	}
	if got := id.Masked(); got != "89 99901 26••••••4411" {
		t.Errorf("masked: %s", got)
	}
	long, _ := ICCIDFromBody("8988211000000000003")
	if got := long.Masked(); got != "89 88211 00•••••••0036" {
		t.Errorf("masked: %s", got)
	}
}

func TestIMSIVectors(t *testing.T) {
	for _, v := range vectors[struct {
		IMSI, EF, Wrong, PLMN2, PLMN3 string
		ACC                           uint16
	}](t, "testdata/imsi.json") {
		id, err := ParseIMSI(v.IMSI)
		if v.Wrong != "" {
			refused(t, err, v.Wrong)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", v.IMSI, err)
			continue
		}
		ef := [9]byte(unhex(t, v.EF, 9))
		if id.String() != v.IMSI || id.ACC() != v.ACC || id.EF() != ef {
			t.Errorf("%s is %s, access class bits %04X, EF %X", v.IMSI, id, id.ACC(), id.EF())
		}
		if back, err := IMSIFromEF(ef); err != nil || back != id {
			t.Errorf("EF %s is %s, %v", v.EF, back, err)
		}
		for n, want := range map[int]string{2: v.PLMN2, 3: v.PLMN3} {
			p, err := id.PLMN(n)
			if err != nil || p.Bytes() != [3]byte(unhex(t, want, 3)) || p.String() != v.IMSI[:3+n] {
				t.Errorf("%s in %s is %X, %v", p, v.IMSI, p.Bytes(), err)
			}
		}
	}
}

func TestIMSIRefusals(t *testing.T) {
	id, _ := ParseIMSI("404450123456789")
	_, err := id.PLMN(1)
	refused(t, err, "MNC has 1 digits, want 2 or 3")
	_, err = IMSI{}.PLMN(2)
	refused(t, err, "no IMSI")
	_, err = NewIMSI(1e15)
	refused(t, err, "IMSI has 16 digits, want 15")
	_, err = IMSI{}.Add(1)
	refused(t, err, "no IMSI")
	_, err = IMSI{}.MarshalText()
	refused(t, err, "no IMSI")
	last, _ := NewIMSI(lastIMSI)
	if _, err = last.Add(1); !errors.Is(err, ErrOverflow) {
		t.Errorf("after the last IMSI comes %v", err)
	}
	ef := id.EF()
	short := ef
	short[0] = 7
	_, err = IMSIFromEF(short)
	refused(t, err, "length byte 07, want 08")
	even := ef
	even[1] = 0x41
	_, err = IMSIFromEF(even)
	refused(t, err, "parity nibble 1, want 9")
	filled := ef
	filled[8] |= 0xF0
	_, err = IMSIFromEF(filled)
	refused(t, err, "IMSI has 14 digits, want 15")
	hexed := ef
	hexed[8] = 0xA8
	_, err = IMSIFromEF(hexed)
	refused(t, err, "EF_IMSI has the nibble A at digit 16")
	if (IMSI{}).String() != "" || (IMSI{}).Masked() != "" || (IMSI{}).ACC() != 0 || (IMSI{}).EF() != [9]byte{} {
		t.Error("the zero IMSI looks like one")
	}
	if got := id.Masked(); got != "40445••••••6789" {
		t.Errorf("masked: %s", got)
	}
}

func TestPLMN(t *testing.T) {
	for text, coded := range map[string]string{"24681": "42F618", "40445": "04F454", "405799": "049597", "40401": "04F410", "404001": "041400"} {
		p, err := ParsePLMN(text)
		if err != nil {
			t.Fatal(err)
		}
		if b := p.Bytes(); b != [3]byte(unhex(t, coded, 3)) || p.String() != text {
			t.Errorf("%s is %X, want %s", p, b, coded)
		}
		if back, err := PLMNFromBytes(p.Bytes()); err != nil || back != p {
			t.Errorf("%s is %s, %v", coded, back, err)
		}
		if p.MCC()+p.MNC() != text || p.MNCDigits() != len(text)-3 {
			t.Errorf("%s has MCC %s, MNC %s of %d digits", text, p.MCC(), p.MNC(), p.MNCDigits())
		}
	}
	for text, want := range map[string]string{"4044": "4 digits, want 5 or 6", "00001": "country code 000", "404-4": `"-" at character 4`} {
		_, err := ParsePLMN(text)
		refused(t, err, want)
	}
	_, err := PLMNFromBytes([3]byte{0xFF, 0xFF, 0xFF})
	refused(t, err, "PLMN is FF FF FF, want digits")
	_, err = PLMN{}.MarshalText()
	refused(t, err, "no PLMN")
	if (PLMN{}).String() != "" || (PLMN{}).MCC() != "" || (PLMN{}).MNC() != "" || (PLMN{}).Bytes() != [3]byte{255, 255, 255} {
		t.Error("the zero PLMN looks like one")
	}
}

func TestMSISDN(t *testing.T) {
	n, err := ParseMSISDN("919810012399")
	if err != nil {
		t.Fatal(err)
	}
	if same, err := NewMSISDN(n.Value()); err != nil || same != n {
		t.Errorf("%d is %s, %v", n.Value(), same, err)
	}
	for _, v := range []uint64{0, 12, 1e15} {
		_, err := NewMSISDN(v)
		refused(t, err, "digits, want 3 to 15")
	}
	if next, err := n.Add(1); err != nil || next.String() != "919810012400" {
		t.Errorf("after %s comes %s, %v", n, next, err)
	}
	for text, want := range map[string]string{
		"91": "2 digits, want 3 to 15", "9198100123991234": "16 digits, want 3 to 15",
		"+919810012399": `"+" at character 1`, "0981001239": "starts with 0",
	} {
		_, err := ParseMSISDN(text)
		refused(t, err, want)
	}
	last, _ := ParseMSISDN("999")
	if _, err := last.Add(1); !errors.Is(err, ErrOverflow) {
		t.Errorf("after 999 comes %v", err)
	}
	_, err = MSISDN{}.Add(1)
	refused(t, err, "no MSISDN")
	_, err = MSISDN{}.MarshalText()
	refused(t, err, "no MSISDN")
}

func TestJSON(t *testing.T) {
	type names struct {
		ICCID   ICCID
		IMSI    IMSI
		PLMN    PLMN
		MSISDN  MSISDN `json:",omitzero"`
		Variant ICCIDVariant
	}
	const text = `{"ICCID":"8999901260000004411","IMSI":"404450123456789","PLMN":"40445","Variant":"18 check padded"}`
	var n names
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	if back, err := json.Marshal(n); err != nil || string(back) != text {
		t.Errorf("%s, %v", back, err)
	}
	for _, wrong := range []string{`{"ICCID":"1"}`, `{"IMSI":"1"}`, `{"PLMN":"1"}`, `{"MSISDN":"1"}`, `{"Variant":"1"}`} {
		if json.Unmarshal([]byte(wrong), &n) == nil {
			t.Errorf("%s was taken", wrong)
		}
	}
}

func TestICCIDVariants(t *testing.T) {
	short, _ := ICCIDFromBody("899990126000000441")
	long, _ := ICCIDFromBody("8988211000000000003")
	for _, c := range []struct {
		words string
		id    ICCID
		want  string
	}{
		{"18 check", short, "8999901260000004411"},
		{"18 check padded", short, "8999901260000004411F"},
		{"18 check padded swapped", short, "989909210600004014F1"},
		{"18", short, "899990126000000441"},
		{"18 swapped", short, "989909210600004014"},
		{"18 padded", short, "899990126000000441FF"},
		{"18 padded swapped", short, "989909210600004014FF"},
		{"19 check", long, "89882110000000000036"},
		{"19 check swapped", long, "98881201000000000063"},
		{"19 check padded", long, "89882110000000000036"},
		{"19", long, "8988211000000000003"},
		{"19 padded", long, "8988211000000000003F"},
		{"19 padded swapped", long, "988812010000000000F3"},
	} {
		v, err := ParseICCIDVariant(c.words)
		if err != nil {
			t.Errorf("%s: %v", c.words, err)
			continue
		}
		if b, err := v.Append([]byte("x"), c.id); err != nil || string(b) != "x"+c.want {
			t.Errorf("%s: wrote %s, %v, want %s", c.words, b, err, c.want)
		}
		if id, err := v.Parse(c.want); err != nil || id != c.id {
			t.Errorf("%s: %s read as %s, %v", c.words, c.want, id, err)
		}
	}
}

func TestICCIDVariantRefusals(t *testing.T) {
	for words, want := range map[string]string{
		"":                 "does not say a body",
		"check padded":     "does not say a body",
		"18 19":            "does not say a body",
		"18 check swapped": "swaps 19 digits",
		"19 swapped":       "swaps 19 digits",
		"18 padded check":  "in this order",
		"18 check checked": "in this order",
	} {
		_, err := ParseICCIDVariant(words)
		refused(t, err, want)
	}
	var none ICCIDVariant
	id, _ := ICCIDFromBody("899990126000000441")
	_, err := none.Append(nil, id)
	refused(t, err, "does not say a body")
	_, err = none.Parse("8999901260000004411")
	refused(t, err, "does not say a body")
	_, err = none.MarshalText()
	refused(t, err, "does not say a body")
	_, err = ICCIDVariant(1 << 5).Parse("8999901260000004411")
	refused(t, err, "does not say a body")
	_, err = Digits19.Append(nil, id)
	refused(t, err, "ICCID has 19 digits, want 20 for the variant")
	for text, want := range map[string]string{
		"8999901260000004411":  "19 characters, want 20",
		"8999901260000004411f": `ends in "f"`,
		"89999012600000044110": `ends in "0"`,
		"899990126000000441FF": `has "F" at character 19`,
		"8999901260000004418F": "check digit 8, want 1",
	} {
		_, err := (Digits18 | CheckDigit | Padded).Parse(text)
		refused(t, err, want)
	}
}

func TestIdentityRange(t *testing.T) {
	iccid, _ := ICCIDFromBody("899990126000000441")
	imsi, _ := ParseIMSI("404450123456789")
	msisdn, _ := ParseMSISDN("919810012399")
	r, err := NewIdentityRange(Identity{iccid, imsi, msisdn}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	count := uint64(0)
	for i, id := range r.All() {
		wantICCID, _ := iccid.Add(i)
		wantIMSI, _ := imsi.Add(i)
		wantMSISDN, _ := msisdn.Add(i)
		if want := (Identity{wantICCID, wantIMSI, wantMSISDN}); id != want || i != count {
			t.Fatalf("identity %d is %v, want %v", i, id, want)
		}
		count++
	}
	if count != r.Len() || r.First() != r.At(0) {
		t.Errorf("%d identities of %d, first %v", count, r.Len(), r.First())
	}
	for range r.All() {
		break // stops early without a panic
	}
	without, err := NewIdentityRange(Identity{ICCID: iccid, IMSI: imsi}, 2)
	if err != nil || !without.At(1).MSISDN.IsZero() {
		t.Errorf("a range without numbers: %v, %v", without, err)
	}
}

func TestIdentityRangeRefusals(t *testing.T) {
	iccid, _ := ICCIDFromBody("899990126000000441")
	imsi, _ := NewIMSI(lastIMSI - 1)
	small, _ := ParseMSISDN("998")
	low, _ := ParseIMSI("404450123456789")
	for _, c := range []struct {
		first    Identity
		quantity uint64
		want     string
	}{
		{Identity{iccid, imsi, MSISDN{}}, 0, "quantity 0"},
		{Identity{iccid, imsi, MSISDN{}}, 3, "range of 3: no such number: IMSI 999999999999998 plus 2"},
		{Identity{iccid, low, small}, 3, "MSISDN 998 plus 2"},
		{Identity{ICCID{}, imsi, MSISDN{}}, 1, "no ICCID"},
		{Identity{iccid, IMSI{}, MSISDN{}}, 1, "no IMSI"},
		{Identity{iccid, low, MSISDN{}}, 1 << 63, "ICCID 8999901260000004411 plus"},
	} {
		_, err := NewIdentityRange(c.first, c.quantity)
		refused(t, err, c.want)
	}
	defer func() {
		if recover() == nil {
			t.Error("the zero range has an identity")
		}
	}()
	IdentityRange{}.At(0)
}

func TestOverlaps(t *testing.T) {
	at := func(iccid, imsi, n uint64) IdentityRange {
		a, _ := ICCIDFromBody("899990126000000000")
		b, _ := ParseIMSI("404450000000000")
		a, _ = a.Add(iccid)
		b, _ = b.Add(imsi)
		r, err := NewIdentityRange(Identity{ICCID: a, IMSI: b}, n)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	a := at(100, 100, 10)
	for _, c := range []struct {
		b    IdentityRange
		want bool
	}{
		{at(109, 500, 5), true}, {at(110, 500, 5), false}, {at(500, 91, 10), true},
		{at(500, 90, 10), false}, {at(0, 0, 1000), true}, {a, true}, {IdentityRange{}, false},
	} {
		if a.Overlaps(c.b) != c.want || c.b.Overlaps(a) != c.want {
			t.Errorf("%v and %v overlap: want %v", a, c.b, c.want)
		}
	}
}

// Every ICCID survives each of its written forms.
func TestICCIDRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.IntRange(19, 20).Draw(t, "digits")
		start := 89 * pow10(digits-3)
		id, err := NewICCID(start+rapid.Uint64Range(0, pow10(digits-3)-1).Draw(t, "body"), digits)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseICCID(id.String()); err != nil || back != id {
			t.Fatalf("%s read as %s, %v", id, back, err)
		}
		if back, err := ICCIDFromEF(id.EF()); err != nil || back != id {
			t.Fatalf("EF of %s read as %s, %v", id, back, err)
		}
	})
}

func TestIMSIRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, err := NewIMSI(rapid.Uint64Range(firstIMSI, lastIMSI).Draw(t, "imsi"))
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseIMSI(id.String()); err != nil || back != id || len(id.String()) != 15 {
			t.Fatalf("%s read as %s, %v", id, back, err)
		}
		if back, err := IMSIFromEF(id.EF()); err != nil || back != id {
			t.Fatalf("EF of %s read as %s, %v", id, back, err)
		}
	})
}
