package profile

import (
	"fmt"
	"strings"
	"testing"
)

func builtinDoc(t testing.TB) string {
	t.Helper()
	doc, err := builtin.ReadFile("profiles/in-5g-usim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

// change replaces old, which must be there, once.
func change(t testing.TB, doc, old, new string) string {
	t.Helper()
	if !strings.Contains(doc, old) {
		t.Fatalf("the built-in profile has no %q", old)
	}
	return strings.Replace(doc, old, new, 1)
}

const ownConstants = "milenage: {r: [8, 0, 32, 64, 96], c: [" +
	`"00000000000000000000000000000000", "00000000000000000000000000000001", "00000000000000000000000000000002", ` +
	`"00000000000000000000000000000004", "A5000000000000000000000000000008"]}`

// What the rules take besides the built-in profile.
func TestAlgorithms(t *testing.T) {
	standard := "milenage: {r: [64, 0, 32, 64, 96], c: [" +
		`"00000000000000000000000000000000", "00000000000000000000000000000001", "00000000000000000000000000000002", ` +
		`"00000000000000000000000000000004", "00000000000000000000000000000008"]}`
	plain, err := Builtin("in-5g-usim")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		doc, want string
		k, opc    int
	}{
		{"algorithm: MILENAGE\n" + standard, "MILENAGE", 16, 16},
		{"algorithm: MILENAGE\n" + ownConstants, "MILENAGE r=8,0,32,64,96 c=00000000000000000000000000000000,00000000000000000000000000000001," +
			"00000000000000000000000000000002,00000000000000000000000000000004,a5000000000000000000000000000008", 16, 16},
		{"algorithm: TUAK\ntuak: {k-bits: 128, mac-bits: 64, res-bits: 32, ck-bits: 256, ik-bits: 256, iterations: 2}",
			"TUAK k=128 mac=64 res=32 ck=256 ik=256 iterations=2", 16, 32},
		{"algorithm: TUAK\ntuak: {k-bits: 256, mac-bits: 64, res-bits: 128, ck-bits: 128, ik-bits: 128, iterations: 1}",
			"TUAK k=256 mac=64 res=128 ck=128 ik=128 iterations=1", 32, 32},
		{"algorithm: XOR\ntest: true", "XOR", 16, 0},
	} {
		p, err := Parse("a.yaml", []byte(change(t, builtinDoc(t), "algorithm: MILENAGE", x.doc)))
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("again.yaml", []byte(p.String()))
		if err != nil {
			t.Fatal(err)
		}
		l := p.Layout()
		if p.Parameters().String() != x.want || again.Parameters() != p.Parameters() || again.Test != p.Test || again.Digest() != p.Digest() ||
			l.Len[SlotK] != x.k || l.Len[SlotOPC] != x.opc || l.Has(SlotOPC) != (x.opc > 0) {
			t.Errorf("%s: %s, K of %d bytes, OPc of %d", x.doc, p.Parameters(), l.Len[SlotK], l.Len[SlotOPC])
		}
		if same := p.Digest() == plain.Digest(); same != (x.want == "MILENAGE") {
			t.Errorf("%s: the same digest as the standard one: %v", x.doc, same)
		}
		if s, err := Compile(p); err != nil || s.Authentication() != p.Parameters() {
			t.Errorf("%s: %v", x.doc, err)
		}
	}
}

// The good sample of every rule is the built-in profile. These are the bad ones.
func TestChecks(t *testing.T) {
	doc := builtinDoc(t)
	const fdn = "      EF.FDN: {record-size: 28, records: 10}\n"
	bad := []struct{ check, old, new, want string }{
		{"access", "EF.GID1: {hex: \"01\"}", "EF.GID1: {hex: \"01\", access: nobody}", "44:7: MF/ADF.USIM/EF.GID1: there is no rule nobody"},
		{"access", "      EF.ARR:\n      EF.UST", "      EF.UST", ""},
		{"access", "    EF.ARR:\n    EF.DIR", "    EF.DIR", "MF: there is no EF.ARR"},
		{"access", "aid: A0000000871002FF91FF0189\n      access: dir", "aid: A0000000871002FF91FF0189\n      access: pin1-pin1", "is about read, which is not for a ADF file"},
		{"access", "      EF.ADN: {record-size: 28, records: 20}", "      EF.ADN: {record-size: 28, records: 20, access: pin1-pin2}", "wants PIN2, which belongs to an application"},
		{"access", "  pin1-pin2:   {read: pin1, update: pin2", "  pin1-pin2:   {read: adm3, update: pin2", "wants ADM3, which the card has not"},
		{"algorithm", "algorithm: MILENAGE", "algorithm: COMP128v1", "COMP128v1 is refused: it is broken"},
		{"algorithm", "algorithm: MILENAGE", "algorithm: TUAK", "TUAK: K has 0 bits, want 128 to 256"},
		{"algorithm", "algorithm: MILENAGE", "algorithm: TUAK\ntuak: {k-bits: 256, mac-bits: 128, res-bits: 64, ck-bits: 128, ik-bits: 128, iterations: 1}", "AUTN and AUTS take 64"},
		{"algorithm", "algorithm: MILENAGE", "algorithm: MILENAGE\ntuak: {k-bits: 256, mac-bits: 64, res-bits: 64, ck-bits: 128, ik-bits: 128, iterations: 1}", "there are parameters of TUAK"},
		{"algorithm", "algorithm: MILENAGE", "algorithm: XOR\ntest: true\n" + ownConstants, "there are constants of MILENAGE"},
		{"algorithm", "algorithm: MILENAGE", "algorithm: XOR", "algorithm XOR is for test cards"},
		{"algorithm", "algorithm: MILENAGE", "algorithm: XOR\ntest: false", "say test: true"},
		{"algorithm", "algorithm: MILENAGE", "algorithm: ROT13", "want MILENAGE, TUAK, or XOR"},
		{"algorithm", "ind-bits: 5", "ind-bits: 4", "4 bits of index"},
		{"codes", `pin1: {reference: "01"`, `pin1: {reference: "02"`, "key reference 02 (PIN2)"},
		{"codes", `slot: PIN2, unblock: PUK2`, `slot: PIN2, unblock: PUK1`, "cannot be unblocked by its own PUK"},
		{"codes", `pin2: {reference: "81", slot: PIN2, unblock: PUK2`, `pin2: {reference: "01", slot: PIN1, unblock: PUK1`, "stand here twice"},
		{"codes", `adm1: {reference: "0A", slot: ADM1, tries: 10, digits: 8}`, `adm1: {reference: "0A", slot: ADM1, tries: 10, fixed: "12345678"}`, "different on each card"},
		{"codes", `slot: ADM1, tries: 10, digits: 8`, `slot: ADM1, tries: 1, digits: 8`, "has 1 try"},
		{"codes", "  adm1: {", "  adm2: {reference: \"0C\", slot: ADM2, tries: 10, digits: 8}\n  adm1: {", "slot ADM2 wants 0B"},
		{"codes", "  adm1: {", "  adm2: {reference: \"0B\", slot: ADM2, tries: 10, digits: 6}\n  adm1: {", "adm2 opens every file"},
		{"codes", `slot: ADM1, tries: 10`, `slot: ADM1, unblock: PUK1, unblock-tries: 10, tries: 10`, "has no PUK"},
		{"codes", "  adm1: {reference: \"0A\", slot: ADM1, tries: 10, digits: 8}\n", "", "no code with the slot ADM1"},
		{"dir", "- {aid: A0000000871002FF91FF0189, label: USIM}", "- {aid: A0000000871002FF91FF01, label: USIM}", "does not list ADF.USIM"},
		{"dir", "- {aid: A0000000871002FF91FF0189, label: USIM}", "- {aid: A0000000871002FF91FF0189, label: USIM}\n      - {aid: A0000000871004, label: ISIM}", "lists the AID A0000000871004 once more"},
		{"identifiers", "EF.GID2: {hex: \"FF\"}", "EF.GID2: {hex: \"FF\", id: 6F3E}", "has the identifier 6F3E of EF.GID1"},
		{"identifiers", "EF.GID2: {hex: \"FF\"}", "EF.GID2: {hex: \"FF\", id: 3FFF}", "3FFF is reserved"},
		{"identifiers", "    ADF.USIM:\n", "    ADF.COPY: {id: 7FF1, access: dir, aid: A0000000871002FF91FF0189}\n    ADF.USIM:\n", "has the AID of"},
		{"identity", `EF.IMSI: {value: "${IMSI}"}`, `EF.IMSI: {value: "404990000000001"}`, "the same on every card, want ${IMSI}"},
		{"identity", `EF.ACC: {value: "${ACC}"}`, `EF.ACC: {hex: "0001"}`, "want ${ACC}"},
		{"mandatory", "      EF.HPPLMN: {value: 5}\n", "", "EF.HPPLMN is mandatory (TS 31.102, 4.2.6)"},
		{"mandatory", "    EF.PL: {size: 8, value: [en, hi]}\n", "", "EF.PL is mandatory"},
		{"mandatory", doc[strings.Index(doc, "    ADF.USIM:"):], "", "the card has no ADF.USIM"},
		{"mnc", "mnc-length: 2", "mnc-length: 3", "mnc-length is 3, the operator's network code 99 has 2 digits"},
		{"services", fdn, "", "service 2 is available and ADF.USIM/EF.FDN is not there"},
		{"services", "value: [2, 4,", "value: [4,", "EF.FDN is there and service 2 or 89 is not available"},
		{"services", "122-124,", "122-125,", "EF.SUCI_Calc_Info is there"},
		{"sfi", "EF.GID2: {hex: \"FF\"}", "EF.GID2: {hex: \"FF\", sfi: \"04\"}", "has the short file identifier 04 of EF.UST"},
		{"sfi", "EF.GID2: {hex: \"FF\"}", "EF.GID2: {hex: \"FF\", sfi: \"1F\"}", "1F, want 01 to 1E"},
		{"sizes", "EF.LOCI:\n", "EF.LOCI: {size: 12}\n", "EF.LOCI has 12 bytes, want 11"},
		{"sizes", "EF.LOCI:\n", "EF.LOCI: {kind: cyclic, record-size: 11, records: 1}\n", "is cyclic, want transparent"},
		{"sizes", "EF.LI: {size: 8, value: [en, hi]}", "EF.LI: {size: 8, hex: 656E00}", "not a language code"},
		{"sizes", "EF.LI: {size: 8, value: [en, hi]}", "EF.LI: {size: 8, hex: 454E}", "small letters"},
		{"suci", "scheme: profile-a, key-index: 2", "scheme: profile-a, key-index: 3", "key index 3, the list has 2 keys"},
		{"suci", "scheme: profile-a, key-index: 2", "scheme: profile-a, key-index: 1", "profile-a wants an X25519 key of 32"},
		{"suci", "scheme: profile-b, key-index: 1", "scheme: profile-b, key-index: 2", "profile-b wants a compressed P-256 point"},
		{"suci", "scheme: profile-b, key-index: 1", "scheme: \"0A\", key-index: 2", "scheme 0A is not known"},
		{"suci", "key-index: 0}", "key-index: 4}", "null scheme has the key index 4"},
	}
	good, err := Parse("good.yaml", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, x := range bad {
		p, err := Parse("bad.yaml", []byte(change(t, doc, x.old, x.new)))
		if err != nil {
			t.Errorf("%s: %v", x.new, err)
			continue
		}
		for _, c := range checks() {
			if c.name != x.check {
				continue
			}
			seen[c.name] = true
			if f := findings(good, c); len(f) > 0 {
				t.Errorf("%s: good sample: %v", c.name, f)
			}
			f := findings(p, c)
			if x.want == "" && len(f) == 0 {
				continue // a good sample: another EF.ARR rules
			}
			if !strings.Contains(strings.Join(f, "\n"), trimPlace(x.want)) || x.want == "" {
				t.Errorf("%s: %q gives %q, want %q", x.check, x.new, f, x.want)
			}
		}
		if x.want != "" && len(p.Check()) == 0 {
			t.Errorf("Check finds nothing wrong with %q", x.new)
		}
		if _, err := Compile(p); x.want != "" && err == nil {
			t.Errorf("Compile takes %q", x.new)
		}
	}
	for _, c := range checks() {
		if !seen[c.name] {
			t.Errorf("check %s has no bad sample", c.name)
		}
		if c.clause == "" {
			t.Errorf("check %s names no clause", c.name)
		}
	}
}

// trimPlace takes the place away, which TestFindingPlace is about.
func trimPlace(s string) string {
	if i := strings.Index(s, ": MF/"); i > 0 && i < 8 {
		return s[i+2:]
	}
	return s
}

func findings(p *Profile, c check) []string {
	var all []string
	c.run(p, func(_ pos, format string, args ...any) {
		all = append(all, fmt.Sprintf(format, args...))
	})
	return all
}

func TestFindingPlace(t *testing.T) {
	doc := change(t, builtinDoc(t), "mnc-length: 2", "mnc-length: 3")
	p, err := Parse("my.yaml", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	line := 1 + strings.Count(doc[:strings.Index(doc, "EF.AD:")], "\n")
	f := p.Check()
	if len(f) != 1 || f[0].Line != line || f[0].Column != 7 || !strings.HasPrefix(f[0].String(), "my.yaml:") ||
		!strings.HasSuffix(f[0].String(), "(TS 31.102, 4.2.18)") {
		t.Errorf("%v, want one finding at line %d, column 7", f, line)
	}
}
