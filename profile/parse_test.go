package profile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ankan/document"
)

func TestBuiltins(t *testing.T) {
	if len(Builtins()) == 0 {
		t.Fatal("no built-in profiles")
	}
	for _, name := range Builtins() {
		p, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		if p.Name != name {
			t.Errorf("file %s.yaml is the profile %s", name, p.Name)
		}
		for _, f := range p.Check() {
			t.Error(f)
		}
		files := 0
		for f := range p.All() {
			if !f.Kind.Dedicated() {
				files++
			}
		}
		t.Logf("%s: %d elementary files", name, files)
		var b bytes.Buffer
		if err := p.Describe(&b); err != nil || !strings.Contains(b.String(), "Setu Mobile") {
			t.Errorf("Describe: %v\n%s", err, b.String())
		}
	}
	if _, err := Builtin("none"); err == nil || !strings.Contains(err.Error(), "in-5g-usim") {
		t.Errorf("Builtin of an unknown name: %v", err)
	}
}

// The canonical form is a document of the same profile.
func TestCanonicalForm(t *testing.T) {
	p, err := Builtin("in-5g-usim")
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("again.yaml", []byte(p.String()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p.String(), again.String()); diff != "" {
		t.Error(diff)
	}
	if again.Digest() != p.Digest() {
		t.Error("digests differ")
	}
	a, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Compile(again)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a.Steps(), b.Steps()); diff != "" {
		t.Error("scripts differ", diff)
	}
	// Comments and spelling do not change the digest, content does.
	doc := builtinDoc(t)
	same, err := Parse("a.yaml", []byte(change(t, "# a comment\n"+doc, "size: 17, hex: A305800304F499", "hex: a3 05 80 03 04 f4 99 FFFFFFFFFFFFFFFFFFFF")))
	if err != nil || same.Digest() != p.Digest() {
		t.Errorf("error %v, or digest differs for another spelling", err)
	}
	other, err := Parse("a.yaml", []byte(change(t, doc, "EF.HPPLMN: {value: 5}", "EF.HPPLMN: {value: 6}")))
	if err != nil || other.Digest() == p.Digest() {
		t.Errorf("error %v, or digest is the same for other content", err)
	}
}

func TestParseRefuses(t *testing.T) {
	doc := builtinDoc(t)
	gid := `EF.GID1: {hex: "01"}`
	for _, x := range []struct{ old, new, want string }{
		{"version: \"1.0\"", "version: \"1.0\"\nverison: 2", "p.yaml:6:1: profile: unknown key verison, want profile, version"},
		{"version: \"1.0\"", "version: \"1.0\"\nversion: \"1.0\"", "p.yaml:6:1: "},
		{"profile: in-5g-usim", "profile: My Profile", "want a name of small letters"},
		{"version: \"1.0\"", "", "version is missing"},
		{"plmn: \"40499\"", "plmn: \"4049\"", "plmn: PLMN has 4 digits"},
		{"  plmn: \"40499\"", "", "operator with its plmn is missing"},
		{"  plmn: \"40499\"", "  plmn: \"40499\"\n  owner: me", "operator: unknown key owner"},
		{"form-factors: [2FF, 3FF, 4FF]", "form-factors: [eUICC]", "form factor eUICC: a card with remote profile management is outside of the SOP"},
		{"form-factors: [2FF, 3FF, 4FF]", "form-factors: [5FF]", "form factor \"5FF\""},
		{"form-factors: [2FF, 3FF, 4FF]", "form-factors: 2FF", "form-factors: a text, want a list"},
		{"form-factors: [2FF, 3FF, 4FF]", "form-factors: [[2FF]]", "a list, want a text"},
		{"form-factors: [2FF, 3FF, 4FF]", "", "form-factors are missing"},
		{"algorithm: MILENAGE", "", "algorithm is missing"},
		{"algorithm: MILENAGE", "algorithm: \"MIL\\u0000\"", "control characters"},
		{"ind-bits: 5", "ind-bits: 5\n  age: 3", "sqn: unknown key age"},
		{"algorithm: MILENAGE", "test: yes", "test is \"yes\", want true or false"},
		{"algorithm: MILENAGE", "milenage: {r: [64, 0, 32, 64, 96]}", "milenage: r and c are wanted, or no milenage"},
		{"algorithm: MILENAGE", "milenage: {r: [64, 0], c: []}", "milenage: r has 2 values, want 5"},
		{"algorithm: MILENAGE", "milenage: {r: [64, 0, 32, 64, 128], c: [a, b, c, d, e]}", "milenage: r5 is \"128\", want 0 to 127 bits"},
		{"algorithm: MILENAGE", "milenage: {r: [64, 0, 32, 64, 096], c: [a, b, c, d, e]}", "milenage: c1 is \"a\", want 16 bytes"},
		{"algorithm: MILENAGE", "milenage: {r: [64, 0, 32, 64, 96], op: 1}", "milenage: unknown key op"},
		{"algorithm: MILENAGE", "tuak: {k-bits: 128}", "tuak: k-bits, mac-bits, res-bits, ck-bits, ik-bits and iterations are wanted"},
		{"algorithm: MILENAGE", "tuak: {k-bits: 64}", "k-bits is \"64\", want a number from 128 to 256"},
		{"algorithm: MILENAGE", "tuak: {iterations: 0}", "iterations is \"0\", want a number from 1 to 255"},
		{"algorithm: MILENAGE", "tuak: {rounds: 0}", "tuak: unknown key rounds"},
		{"ind-bits: 5", "ind-bits: 05", "ind-bits is \"05\", want a number from 0 to 8"},
		{"  dir:         {create-ef: adm1", "  dir:         {destroy: adm1", "rule dir: unknown operation destroy"},
		{"  dir:         {create-ef: adm1", "  dir:         {create-ef: adm9", "\"adm9\" is not always"},
		{"  always-adm1:", "  nothing: {}\n  always-adm1:", "rule nothing allows nothing"},
		{"  always-adm1:", "  \"a b\": {read: always}\n  always-adm1:", "\"a b\" is not a name"},
		{`reference: "01"`, `reference: "1"`, "reference is \"1\", want 2 hexadecimal digits"},
		{"slot: PIN1", "slot: PUK1", "slot is \"PUK1\", want PIN1"},
		{"unblock: PUK1", "unblock: PIN2", "unblock is \"PIN2\", want PUK1 or PUK2"},
		{"enabled: true", "enabled: yes", "enabled is \"yes\", want true or false"},
		{"tries: 3", "tries: 0", "tries is \"0\", want a number from 1 to 15"},
		{"digits: 4", "digits: 3", "digits is \"3\""},
		{"digits: 4", "fixed: \"12a4\"", "fixed: want 4 to 8 digits"},
		{"digits: 4", "fixed: \"1234\", digits: 5", "fixed has 4 digits, digits says 5"},
		{"digits: 4", "owner: me", "pin1: unknown key owner"},
		{"unblock-tries: 10, digits: 4", "digits: 4", "with a PUK, unblock-tries are wanted"},
		{"scp03: {version: \"30\"", "scp03: {version: \"20\"", "version 20, want 30 to 3F"},
		{"aes: 256", "aes: 192", "AES with 192 bits, want 128 or 256"},
		{"aes: 256", "bits: 256", "scp03: unknown key bits"},
		{"  scp03: {version: \"30\", aes: 256}\n", "", "keeps the chip maker's"},
		{"  scp80:", "  scp02:", "keys: unknown key scp02"},
		{"    EF.ARR:\n    EF.DIR", "    EF.ARR: {record-size: 20}\n    EF.DIR", "is made from the rules"},
		{"  MF:", "  DF.X:", "want one tree, that of MF"},
		{"    EF.ARR:\n    EF.DIR", "    stray: 1\n    EF.ARR:\n    EF.DIR", "MF: unknown key stray"},
		{"      aid: A0000000871002FF91FF0189\n", "", "aid is missing"},
		{"      aid: A0000000871002FF91FF0189\n", "      aid: A00000\n", "want 5 to 16 bytes"},
		{"    DF.TELECOM:\n      access: dir", "    DF.TELECOM:", "DF.TELECOM: access is missing"},
		{"    DF.TELECOM:", "    DF.OWN: {access: dir}\n    DF.TELECOM:", "DF.OWN: id is missing"},
		{"    DF.TELECOM:\n", "    DF.TELECOM:\n      ADF.X: {id: 7F77, aid: A000000001, access: dir}\n", "an application lies under the MF"},
		{"      DF.5GS:\n        access: dir", "      DF.5GS:\n        access: dir\n        DF.A: {id: 5F01, access: dir, DF.B: {id: 5F02, access: dir}}", "DF.B lies too deep"},
		{gid, "EF.GID1:", "size is missing"},
		{gid, `EF.GID1: {hex: "0"}`, "two for each byte"},
		{gid, `EF.GID1: {hex: "01", value: "01"}`, "has value and hex"},
		{gid, `EF.GID1: {value: "01"}`, "no codec for this file"},
		{gid, `EF.GID1: {hex: "${IMSI"}`, "${ without }"},
		{gid, `EF.GID1: {hex: "${K}"}`, "slot ${K} is a secret"},
		{gid, `EF.GID1: {hex: "${KI}"}`, "unknown slot ${KI}"},
		{gid, `EF.GID1: {hex: "0102", size: 1}`, "content has 2 bytes, file or record has 1"},
		{gid, `EF.GID1: {hex: ["01"]}`, "a list, want hexadecimal digits"},
		{gid, `EF.GID1: {hex: "01", records: 1}`, "is transparent and has no records"},
		{gid, `EF.GID1: {hex: "01", sfi: "1"}`, "sfi is \"1\""},
		{gid, `EF.GID1: {hex: "01", kind: linear}`, "kind is \"linear\""},
		{gid, `EF.GID1: {hex: "01", fill: ""}`, "fill is \"\""},
		{gid, `EF.GID1: {hex: "01", colour: red}`, "EF.GID1: unknown key colour"},
		{gid, `EF.GID1: &a {hex: "01"}`, "an anchor, alias or tag"},
		{gid, `EF.GID1: {hex: !!str "01"}`, "an anchor, alias or tag"},
		{gid, `EF.GID1: 7`, "a text, want keys and values"},
		{gid, `EF.MINE: {hex: "01"}`, "not in our table of ADF.USIM"},
		{gid, `"EF.GID 1": {hex: "01"}`, "is not a name"},
		{`EF.IMSI: {value: "${IMSI}"}`, `EF.IMSI: {value: "${ICCID}"}`, "slot ICCID has 10 bytes, file or record has 9"},
		{`EF.IMSI: {value: "${IMSI}"}`, `EF.IMSI: {value: "${PIN1}"}`, "slot ${PIN1} is a secret"},
		{`EF.IMSI: {value: "${IMSI}"}`, `EF.IMSI: {value: "40499"}`, "EF.IMSI: file content: IMSI has 5 digits"},
		{`number: "${MSISDN}"`, `number: "${IMSI}"`, "slot ${IMSI} cannot stand inside a value"},
		{`display: "01", name: Setu Mobile`, `display: "01", name: "${MSISDN}"`, "takes 21 bytes"},
		{`{mode: normal, mnc-length: 2}`, `{mode: normal, mnc-length: {}}`, "mnc-length: fields, want a text"},
		{`{mode: normal, mnc-length: 2}`, `{mode: normal, mnc-length: }`, "nothing, want a text"},
		{`EF.EHPLMN: {size: 12, value: ["40499"]}`, `EF.EHPLMN: {size: 12, value: [[[[[[[[[[1]]]]]]]]]]}`, "nested more than 8 deep"},
		{"EF.MBI: {record-size: 4, hex: [\"01000000\"]}", "EF.MBI: {record-size: 4, hex: \"01000000\"}", "want a list with an element for each record"},
		{"EF.MBI: {record-size: 4, hex: [\"01000000\"]}", "EF.MBI: {record-size: 4}", "0 records of 4 bytes"},
		{"EF.MBI: {record-size: 4, hex: [\"01000000\"]}", "EF.MBI: {hex: [\"01000000\"]}", "want record-size"},
		{"EF.SMS: {records: 10}", "EF.SMS: {record-size: 255, records: 255}", "records is \"255\""},
		{gid, `EF.X: {id: 6E01, kind: BER-TLV, access: dir}`, "EF.X: size is missing"},
		{gid, `EF.X: {id: 6E01, kind: BER-TLV, access: dir, size: 9, records: 2}`, "is BER-TLV, want size and, in hex, a list"},
		{gid, `EF.X: {id: 6E01, kind: BER-TLV, access: dir, size: 9, hex: "800101"}`, "want a list with an element for each data object"},
		{gid, `EF.X: {id: 6E01, kind: BER-TLV, access: dir, size: 9, hex: ["8001"]}`, "data object 1: malformed TLV"},
		{gid, `EF.X: {id: 6E01, kind: BER-TLV, access: dir, size: 9, hex: ["80010100"]}`, "data object 1: 1 bytes follow it"},
		{gid, `EF.X: {id: 6E01, kind: BER-TLV, access: dir, size: 9, hex: ["800101", "800102"]}`, "tag 80 stands here twice"},
		{gid, `EF.X: {id: 6E01, kind: BER-TLV, access: dir, size: 9, hex: ["5C0101"]}`, "tag 5C stands here twice or is reserved"},
		{gid, `EF.X: {id: 6E01, kind: BER-TLV, access: dir, size: 2, hex: ["800101"]}`, "data objects have 3 bytes, file has 2"},
		{gid, `EF.X: {id: 6E01, kind: BER-TLV, access: dir, size: 9, hex: ["8G"]}`, "want hexadecimal digits"},
		{gid, `EF.GID1: {link: MF/EF.NONE}`, "EF.GID1: link leads to no elementary file"},
		{gid, `EF.GID1: {link: MF/ADF.USIM}`, "EF.GID1: link leads to no elementary file"},
		{gid, `EF.GID1: {link: MF/EF.ARR}`, "EF.GID1: link leads to no elementary file"},
		{gid, `EF.GID1: {link: MF/ADF.USIM/EF.GID1}`, "EF.GID1: link leads in a circle"},
		{gid, `EF.GID1: {link: MF/ADF.USIM/EF.GID2, size: 1}`, "EF.GID1: is a link, want id, sfi and access only"},
		{gid, `EF.GID1: {link: }`, "nothing, want a text"},
		{gid, `EF.X: {link: MF/ADF.USIM/EF.GID2}`, "id, kind and access are wanted"},
		{"slot: PIN1", "slot: PIN1, shared: true", "shared is about local codes, reference 01"},
		{"profile: in-5g-usim", "\tprofile: x", "p.yaml:"},
		{"profile: in-5g-usim", "profile: in-5g-usim\n---\nprofile: b", "2 YAML documents, want 1"},
	} {
		p, err := Parse("p.yaml", []byte(change(t, doc, x.old, x.new)))
		if err == nil || p != nil || !errors.Is(err, ErrDocument) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%q: error %v\nwant %q", x.new, err, x.want)
		}
		if err != nil && !strings.Contains(err.Error(), "p.yaml:") {
			t.Errorf("%q: %v names no place", x.new, err)
		}
	}
	for _, doc := range []string{"", "[]", "7", "null", "a: &x 1\nb: *x", strings.Repeat("#", document.MaxSize+1)} {
		if p, err := Parse("p.yaml", []byte(doc)); err == nil || p != nil {
			t.Errorf("Parse takes %.20q", doc)
		}
	}
	if _, err := Parse("p.yaml", []byte(strings.Repeat("k: 1\n", 1000))); err == nil || strings.Count(err.Error(), "\n") > maxErrors {
		t.Error("more errors than anybody reads")
	}
}

func TestSlots(t *testing.T) {
	p, err := Builtin("in-5g-usim")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	size := 0
	for _, s := range p.Slots() {
		names = append(names, fmt.Sprintf("%s:%d:%s", s.Name, s.Len, s.Kind))
		if at := p.Layout().Offset[s.ID]; at != size {
			t.Errorf("%s lies at %d, want %d", s.Name, at, size)
		}
		size += s.Len
	}
	want := "ICCID:10:identity IMSI:9:identity MSISDN:15:identity ACC:2:derived PIN1:8:random digits PUK1:8:random digits " +
		"PIN2:8:random digits PUK2:8:random digits ADM1:8:random digits K:16:random key OPC:16:derived SCP03_ENC:32:random key " +
		"SCP03_MAC:32:random key SCP03_DEK:32:random key SCP80_KIC1:16:random key SCP80_KID1:16:random key SCP80_KIK1:16:random key"
	if diff := cmp.Diff(strings.Fields(want), strings.Fields(strings.Join(names, " "))); diff != "" {
		t.Error(diff)
	}
	if l := p.Layout(); l.Size != size || l.Size != 252 {
		t.Errorf("record has %d bytes, slots have %d, want 252", l.Size, size)
	}

	// Without a telephone number, PIN2 and OTA keys the record is shorter.
	doc := builtinDoc(t)
	doc = change(t, doc, "number: \"${MSISDN}\"", "number: none")
	doc = change(t, doc, "  scp80: {version: \"01\", aes: 128}\n", "")
	doc = change(t, doc, "unblock-tries: 10, digits: 4}", "unblock-tries: 10, fixed: \"0000\"}")
	short, err := Parse("short.yaml", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	l := short.Layout()
	if l.Size != 252-15-48 || l.Has(SlotMSISDN) || l.Has(SlotSCP80KIC) || l.Of(make([]byte, l.Size), SlotMSISDN) != nil {
		t.Errorf("record has %d bytes, want %d", l.Size, 252-15-48)
	}
	for _, s := range short.Slots() {
		if s.ID == SlotPIN1 && (s.Fixed != "0000" || s.Digits != 4) {
			t.Errorf("PIN1 is fixed to %q with %d digits", s.Fixed, s.Digits)
		}
	}
	if s := SlotID(200).String(); s != "slot 200" || SlotKind(9).String() != "no kind" {
		t.Errorf("unknown slot is %q", s)
	}
}

// FuzzParse: no document breaks the parser, and what it takes has a canonical
// form that it takes again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(builtinDoc(f)))
	small := `profile: a
version: "1"
operator: {name: x, plmn: "00101"}
form-factors: [2FF]
algorithm: MILENAGE
keys: {scp03: {version: "30", aes: 128}}
rules: {r: {read: always}}
files: {MF: {access: r, EF.ARR: {access: r}, EF.ICCID: {access: r, value: "${ICCID}"}, EF.X: {id: 6F01, kind: linear fixed, record-size: 3, access: r, fill: 0102, hex: ["", "0304"]}, EF.Y: {id: 6F02, kind: BER-TLV, size: 9, access: r, hex: ["800101", "8100"]}, EF.Z: {id: 6F03, access: r, link: MF/EF.X}}}
`
	if _, err := Parse("small.yaml", []byte(small)); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(small))
	f.Add([]byte(strings.Replace(small, "MILENAGE", "MILENAGE\n"+ownConstants, 1)))
	f.Add([]byte(strings.Replace(small, "MILENAGE", "TUAK\ntest: true\ntuak: {k-bits: 256, mac-bits: 64, res-bits: 64, ck-bits: 128, ik-bits: 128, iterations: 1}", 1)))
	f.Add([]byte(strings.Replace(small, "files:", RemoteSection+ApplicationSection(f)+"files:", 1)))
	f.Add([]byte("a: [1, {b: c}]"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := Parse("fuzz.yaml", doc)
		if err != nil {
			return
		}
		p.Check()
		again, err := Parse("again.yaml", []byte(p.String()))
		if err != nil {
			t.Fatalf("canonical form is refused: %v\n%s", err, p)
		}
		if again.String() != p.String() {
			t.Fatalf("canonical form changes:\n%s\n%s", p, again)
		}
		if s, err := Compile(p); err == nil {
			s.Wire(0)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	doc := []byte(builtinDoc(b))
	for b.Loop() {
		if _, err := Parse("b.yaml", doc); err != nil {
			b.Fatal(err)
		}
	}
}
