package profile

import (
	"fmt"
	"strings"
	"testing"
)

func builtinDoc(t testing.TB) string { return builtinDocOf(t, "in-5g-usim") }

func builtinDocOf(t testing.TB, name string) string {
	t.Helper()
	doc, err := builtin.ReadFile("profiles/" + name + ".yaml")
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

// A sample is a change to a profile that is good, and what a rule says of it.
type sample struct{ check, old, new, want string }

// The good samples of every rule are the built-in profiles. These are the bad ones.
func TestChecks(t *testing.T) {
	doc := builtinDoc(t)
	const fdn = "      EF.FDN: {record-size: 28, records: 10}\n"
	bad := []sample{
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
	seen := map[string]bool{}
	judge(t, doc, bad, seen)
	judge(t, builtinDocOf(t, "in-5g-usim-isim"), badFull(), seen)
	judge(t, withApplications(t), badApplications(), seen)
	for _, c := range checks() {
		if !seen[c.name] {
			t.Errorf("check %s has no bad sample", c.name)
		}
		if c.clause == "" {
			t.Errorf("check %s names no clause", c.name)
		}
	}
}

// badFull changes the profile with an ISIM and a phone book.
func badFull() []sample {
	const opl = `{plmn: "40499", first-lac: "0000", last-lac: FFFE, pnn: 1}`
	const gsm = "    DF.GSM:\n      access: dir\n      EF.ARR:\n      "
	const usim = "    ADF.USIM:\n"
	return []sample{
		{"emergency", `{number: "101", name: Fire`, `{number: "112", name: Fire`, "record 3 has the number 112 of record 1"},
		{"emergency", `category: "04"`, `category: "84"`, "record 3 has the category 84"},
		{"extensions", `{name: Customer care, number: "198"}`, `{name: Customer care, number: "198", ext: "06"}`, "record 1 goes on in record 6 of EF.EXT3"},
		{"extensions", `{name: Customer care, number: "198"}`, `{name: Customer care, number: "198", ext: "01"}`, "which is free or not there"},
		{"identity", `value: "${IMPI}"`, `value: "404990000000001@ims.mnc099.mcc404.3gppnetwork.org"`, "holds the same on every card, want ${IMPI}"},
		{"isim", `value: "${IMPI}"`, "value: empty", `has the realm ""`},
		{"isim", `value: "${IMPI}"`, `value: "${IMSI.digits}@example.net"`, `has the realm "example.net", EF.DOMAIN is ims.mnc099`},
		{"isim", `value: "${DOMAIN}"`, `value: ims.mnc098.mcc404.3gppnetwork.org`, "the operator's network 40499 has ims.mnc099"},
		{"isim", `value: ["${IMPU}"]`, `value: ["${IMPI}"]`, "want sip:user@domain or tel:number"},
		{"isim", `value: ["${IMPU}"]`, `value: []`, `record 1 is "empty"`},
		{"isim", `value: ["${IMPU}"]`, `value: ["tel:+919900000100"]`, "record 1 is the same on every card, want ${IMPU}"},
		{"linked", usim, gsm + "EF.SPN: {value: {display: \"01\", name: Other}}\n" + usim, "MF/DF.GSM/EF.SPN is {display: 01, name: Other}, MF/ADF.USIM/EF.SPN is {display: 01, name: Setu Mobile}"},
		{"linked", usim, gsm + "EF.SPN: {value: {display: \"01\", name: Setu Mobile}}\n" + usim, ""},
		{"linked", "      EF.SUME:", "      EF.FDN: {record-size: 28, records: 5}\n      EF.SUME:", "EF.FDN has 5 x 28 bytes, MF/ADF.USIM/EF.FDN has 10 x 28 bytes"},
		{"mailboxes", `value: [["1"]]`, `value: [["2"]]`, "record 1 names record 2 of EF.MBDN, which holds no number"},
		{"mailboxes", `EF.MWIS: {record-size: 5, records: 1}`, `EF.MWIS: {record-size: 5, records: 2}`, "EF.MWIS has 2 records, EF.MBI has 1"},
		{"mandatory", `      EF.DOMAIN: {size: 48, value: "${DOMAIN}"}` + "\n", "", "EF.DOMAIN is mandatory (TS 31.103, 4.2.3)"},
		{"names", opl, `{plmn: "40499", first-lac: "0000", last-lac: FFFE, pnn: 2}`, "takes the name of record 2 of EF.PNN, which holds none"},
		{"names", opl, `{plmn: "40499", first-lac: "0002", last-lac: "0001", pnn: 0}`, "is an area from 0002 to 0001"},
		{"names", "last-tac: FFFFFE, pnn: 1", "last-tac: FFFFFE, pnn: 3", "OPL5G, record 1 takes the name of record 3"},
		{"names", "name: Setu Mobile}}", "name: \"\"}}", "EF.SPN holds no name"},
		{"names", `value: {plmns: ["40499"]}`, `value: {plmns: ["40498"]}`, "EF.SPDI lists [40498] without the operator's network 40499"},
		{"networks", `EF.EHPLMN: {size: 12, value: ["40499"]}`, `EF.EHPLMN: {size: 12, value: ["40498"]}`, "lists 40498 without the operator's network 40499"},
		{"networks", `EF.FPLMN: {size: 12}`, `EF.FPLMN: {size: 12, value: ["40499"]}`, "forbids 40499, which is home"},
		{"networks", "40499 utran gsm", "40498 utran gsm", "EF.HPLMNwAcT lists 40498, home is 40499"},
		{"ota", "27-29, 33-35", "27, 29, 33-35", "the card has SCP80 keys, service 28"},
		{"ota", "  scp80: {version: \"01\", aes: 128}\n", "", "service 28 (data download) is available, the card has no SCP80 keys"},
		{"phonebook", "ANR 4F11 04", "ANR 4F10 04", "names EF.ANR with the identifier 4F10, which is not in DF.PHONEBOOK"},
		{"phonebook", "ANR 4F11 04", "ANR 4F51 05", "names EF.ANR with the identifier 4F51"},
		{"phonebook", "ANR 4F11 04", "ANR 4F11 05", "gives EF.ANR the short file identifier 05, it has 04"},
		{"phonebook", `EF.UID: {id: 4F16, sfi: "03", records: 20}`, `EF.UID: {id: 4F16, sfi: "03", records: 19}`, "EF.UID has 19 records, the phone book has 20 entries"},
		{"search", "EF.HPPLMN: {value: 5}", "EF.HPPLMN: {value: 81}", "is 81, 486 minutes"},
		{"services", "EF.IST: {size: 3, value: [1, 5, 8]}", "EF.IST: {size: 3, value: [8]}", "MF/ADF.ISIM/EF.P-CSCF is there and service 1 or 5 is not available in EF.IST"},
		{"services", "EF.IST: {size: 3, value: [1, 5, 8]}", "EF.IST: {size: 3, value: [1, 2, 5, 8]}", "service 2 is available and ADF.ISIM/EF.GBABP is not there"},
		{"services", "73, 74, 85", "74, 85", "EF.EHPLMNPI is there and service 73 with 71 is not available in EF.UST"},
		{"services", usim, gsm + "EF.SST: {value: [\"17\"]}\n" + usim, "service 17 is available and DF.GSM/EF.SPN is not there"},
		{"sfi", "EF.AD: {value: {mode: normal}}", "EF.AD: {sfi: \"08\", value: {mode: normal}}", "has the short file identifier 08, the standard's is 03"},
		{"sizes", "EF.FPLMN: {size: 12}", "EF.FPLMN: {size: 13}", "has 13 bytes, want a multiple of 3"},
		{"suci", "{id: 30,", "{id: 27,", "two keys have the identifier 27"},
		{"suci", "0272da71976234ce833a6907425867b82e074d44ef907dfb4b3e21c1c2256ebcd1", "02" + strings.Repeat("00", 31) + "07", "key 1 is no point of P-256"},
		{"tables", "33-35, 38", "34, 35, 38", "service 33 is not available, want it always"},
		{"tables", "[2-5, 10-12", "[2, 3, 5, 10-12", "service 5 is available, service 4 that it needs is not"},
		{"tables", "EF.EST: {size: 1, value: []}", "EF.EST: {size: 1, value: [2]}", "turns barred dialling on, service 6 is not available"},
		{"tables", "EF.EST: {size: 1, value: []}", "EF.EST: {size: 1, value: [1]}", ""},
	}
}

// A USIM that computes the SUCI itself keeps what it takes in DF.SAIP
// (TS 31.102, 4.4.11.8: service 125).
func TestSUCIOfUSIM(t *testing.T) {
	doc := builtinDocOf(t, "in-5g-usim-isim")
	from := strings.Index(doc, "        EF.SUCI_Calc_Info:\n")
	to := strings.Index(doc, "        EF.OPL5G:\n")
	info := strings.Replace(doc[from:to], "EF.SUCI_Calc_Info:", "EF.SUCI_Calc_Info_USIM:\n          access: adm1-adm1", 1)
	doc = doc[:from] + doc[to:]
	doc = change(t, doc, "\n    ADF.ISIM:", "\n      DF.SAIP:\n        access: dir\n"+info+"\n    ADF.ISIM:")
	doc = change(t, doc, "122-124,", "122-125,")
	doc = change(t, doc, "  pin1-adm1:", "  adm1-adm1: {read: adm1, update: adm1}\n  pin1-adm1:")
	p, err := Parse("saip.yaml", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range p.Check() {
		t.Error(f)
	}
	if _, err := Compile(p); err != nil {
		t.Error(err)
	}
}

// judge looks at samples one by one: the rule finds nothing wrong with doc and
// what is wanted with the change. A sample that wants nothing is a good one.
func judge(t *testing.T, doc string, samples []sample, seen map[string]bool) {
	t.Helper()
	good, err := Parse("good.yaml", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range samples {
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
