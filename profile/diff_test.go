package profile

import (
	"fmt"
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	doc := builtinDoc(t)
	a, err := Parse("a.yaml", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	if d := Diff(a, a); len(d) != 0 {
		t.Errorf("a profile differs from itself: %v", d)
	}
	for _, x := range []struct {
		old, new string
		want     []string
	}{
		{`version: "1.0"`, `version: "1.1"`, []string{"~ version: 1.0 -> 1.1"}},
		{"plmn: \"40499\"", "plmn: \"40498\"", []string{"~ plmn: 40499 -> 40498"}},
		{"name: Setu Mobile (invented)", "name: Other", []string{"~ operator: Setu Mobile (invented) -> Other"}},
		{"scp80: {version: \"01\", aes: 128}", "scp80: {version: \"02\", aes: 256}", []string{"~ keys/scp80: version 01, AES-128 -> version 02, AES-256"}},
		{"\n  scp80: {version: \"01\", aes: 128}", "", []string{"- keys/scp80: version 01, AES-128"}},
		{"pin1-pin2:   {read: pin1, update: pin2", "pin1-pin2:   {read: pin1, increase: pin1, update: adm1", []string{
			"~ rules/pin1-pin2 update: pin2 -> adm1", "+ rules/pin1-pin2 increase: pin1"}},
		{"  adm1: {reference", "  adm2: {reference", []string{
			`- codes/adm1: reference: "0A", slot: ADM1, enabled: true, tries: 10, digits: 8`, `+ codes/adm2: reference: "0A"`}},
		{"EF.EST: {size: 1, value: []}", "EF.EST: {size: 2, value: []}", []string{
			"~ MF/ADF.USIM/EF.EST size: 1 bytes -> 2 bytes", "~ MF/ADF.USIM/EF.EST content: 00 -> 0000"}},
		{`EF.SPN: {value: {display: "01", name: Setu Mobile}}`, `EF.SPN: {value: {display: "01", name: Setu}}`, []string{
			"~ MF/ADF.USIM/EF.SPN content: {display: 01, name: Setu Mobile} -> {display: 01, name: Setu}"}},
		{`EF.GID1: {hex: "01"}`, `EF.GID1: {hex: "01", access: always-adm1, sfi: "1C"}`, []string{
			"~ MF/ADF.USIM/EF.GID1 access: pin1-adm1 -> always-adm1", "~ MF/ADF.USIM/EF.GID1 sfi: none -> 1C"}},
		{`EF.GID1: {hex: "01"}`, `EF.MINE: {id: 6F3E, kind: linear fixed, record-size: 2, access: pin1-adm1, hex: ["0102"]}`, []string{
			"~ MF/ADF.USIM/EF.GID1 name: EF.GID1 -> EF.MINE", "kind: transparent -> linear fixed", "content: 01 -> 0102"}},
		{`EF.GID1: {hex: "01"}`, `EF.GID1: {link: mf/adf.usim/ef.gid2}`, []string{"+ MF/ADF.USIM/EF.GID1 link: MF/ADF.USIM/EF.GID2", "content: 01 -> FF"}},
		{`EF.GID1: {hex: "01"}`, `EF.GID1: {hex: "01", id: 6F7F}`, []string{"~ MF/ADF.USIM/EF.GID1 id: 6F3E -> 6F7F"}},
		{"      EF.ADN: {record-size: 28, records: 20}", "      EF.ADN: {record-size: 28, records: 21}", []string{
			"~ MF/DF.TELECOM/EF.ADN size: 20 x 28 bytes -> 21 x 28 bytes", "+ MF/DF.TELECOM/EF.ADN record 21: {number: none, ccp: FF, ext: FF}"}},
		{doc[strings.Index(doc, "    DF.TELECOM:"):strings.Index(doc, "    ADF.USIM:")], "", []string{
			"- MF/DF.TELECOM: DF 7F10, access dir", "- MF/DF.TELECOM/EF.ADN: linear fixed 6F3A, 20 x 28 bytes, access pin1-pin1"}},
		{"    DF.TELECOM:\n", "    EF.X: {id: 2F77, kind: BER-TLV, size: 30, access: pin1-pin1, hex: [\"8001AA\"]}\n    DF.TELECOM:\n", []string{
			"+ MF/EF.X: BER-TLV 2F77, 30 bytes, access pin1-pin1"}},
		{"aid: A0000000871002FF91FF0189\n      access", "aid: A0000000871002FF91FF0188\n      access", []string{
			"~ MF/ADF.USIM aid: A0000000871002FF91FF0189 -> A0000000871002FF91FF0188"}},
	} {
		b, err := Parse("b.yaml", []byte(change(t, doc, x.old, x.new)))
		if err != nil {
			t.Errorf("%s: %v", x.new, err)
			continue
		}
		got := strings.Trim(fmt.Sprint(Diff(a, b)), "[]")
		for _, w := range x.want {
			if !strings.Contains(got, w) {
				t.Errorf("%q: %s\nwant %s", x.new, got, w)
			}
		}
		// Back again it is the same, the other way round.
		if there, back := Diff(a, b), Diff(b, a); len(there) != len(back) {
			t.Errorf("%q: %d changes there, %d back", x.new, len(there), len(back))
		}
	}
}

func TestDiffObjects(t *testing.T) {
	doc := func(objects string) *Profile {
		p, err := Parse("x.yaml", []byte(change(t, builtinDoc(t), "    DF.TELECOM:\n",
			"    EF.X: {id: 2F77, kind: BER-TLV, size: 30, access: pin1-pin1, hex: ["+objects+"]}\n    DF.TELECOM:\n")))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	got := fmt.Sprint(Diff(doc(`"8001AA", "8101BB"`), doc(`"8001AB"`)))
	if want := "[~ MF/EF.X object 1: 8001AA -> 8001AB - MF/EF.X object 2: 8101BB]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
