package ceremony_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ankan/ceremony"
	"ankan/document"
	"ankan/hsm"
	. "ankan/keys/keystest"
)

const examples = "../examples/ceremonies"

func example(t testing.TB, name string) string {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join(examples, name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

// The examples are held, one after another, as they are written.
func TestExamples(t *testing.T) {
	r := newRoom(t, "op", Options{})
	parts, _ := components(3, 32)
	held := map[ceremony.Kind]bool{}
	names := []string{"generate", "generate-backup", "import-components", "export-components", "import-wrapped", "export-wrapped", "rehearse", "rotate", "destroy"}
	for _, name := range names {
		if name == "import-components" {
			r.parts(hsm.CMAC, parts...)
		}
		held[r.run(example(t, name)).Kind] = true
		if name == "import-wrapped" {
			r.is("transport/maker/12", secret("wrapped", 32))
		}
	}
	for _, k := range ceremony.Kinds() {
		if !held[k] {
			t.Errorf("no example is to %s", k)
		}
	}
	_, findings, err := r.runner.Draft(ctx(), KeyManager, []byte(example(t, "restore")))
	if err != nil || len(findings) != 1 || !strings.Contains(findings[0], "is in the module, and active") {
		t.Errorf("%q, %v", findings, err)
	}
	all, err := filepath.Glob(filepath.Join(examples, "*.yaml"))
	if err != nil || len(all) != len(names)+1 {
		t.Errorf("%d examples, %d are tested; %v", len(all), len(names)+1, err)
	}
	r.Verify()
}

func TestParsePlan(t *testing.T) {
	p, err := ceremony.ParsePlan([]byte(example(t, "import-components")))
	if err != nil {
		t.Fatal(err)
	}
	if p.ID != "KC-2026-003" || p.Key.Name != "exchange/maker/1" || p.Key.KCV.String() != "540D4B59CC CMAC" || len(p.Parts) != 3 || p.Parts[2].Bag != "B-40873" || p.Parts[0].KCV.String() != "630FABD461 CMAC" {
		t.Errorf("%+v", p)
	}
	if other, err := ceremony.ParsePlan([]byte(example(t, "import-components") + " ")); err != nil || other.Digest() == p.Digest() {
		t.Errorf("a plan that was written otherwise has the same digest; %v", err)
	}
}

// What is wrong with a plan whoever looks, and where.
func TestParsePlanRefuses(t *testing.T) {
	wrap := "wrap:\n  format: AES-KW\n  under: exchange/maker/1\n"
	cert := "  certificate: |\n" + certificate(t, &elliptic256(t).PublicKey, time.Now(), time.Now().Add(time.Hour)) + "\n"
	for _, c := range []struct{ from, old, new, want string }{
		{"generate", "KC-2026-001", "KC 1", `3:11: ceremony is "KC 1", want up to 40 letters`},
		{"generate", "KC-2026-001", strings.Repeat("x", 41), `want up to 40 letters`},
		{"generate", "KC-2026-001", "a/b", `ceremony is "a/b"`},
		{"generate", "ceremony: KC-2026-001\n", "", `ceremony is ""`},
		{"generate", "kind: generate", "kind: make", `4:7: kind is "make", want one of generate, import-components`},
		{"generate", "title: Transport key 11 for maker", `title: ""`, `5:8: title is "", want one line of up to 120 bytes`},
		{"generate", "title: Transport key 11 for maker", "title: |\n  two\n  lines", `want one line`},
		{"generate", "room: Key room, first floor", "room: " + strings.Repeat("x", 121), `6:7: room is`},
		{"generate", "room: Key room, first floor", "", `room is ""`},
		{"generate", "partner: maker", `partner: "a\u202Eb"`, `key.partner is`},
		{"generate", "transport/op/11, p", `"a b", p`, `7:13: key name "a b" has a character other than printable ASCII`},
		{"generate", "algorithm: AES-256", "algorithm: DES", `7:61: the key's purpose does not allow this: "DES" is no algorithm of a key for "transport"`},
		{"generate", "purpose: transport", "purpose: anything", `is no algorithm of a key for "anything"`},
		{"generate", "partner: maker", "partner: maker, kcv: C35280", `wrong key check value: "C35280"`},
		{"generate", "algorithm: AES-256, partner: maker", "algorithm: 3DES, partner: maker, kcv: C35280 GP", `C35280 GP is of the method GP, of 3DES it is ECB-ZEROS`},
		{"import-components", "purpose: exchange, algorithm: AES-256, partner: maker, kcv: 540D4B59CC CMAC", "purpose: transport, algorithm: 3DES, partner: maker", `630FABD461 CMAC is of the method CMAC, of 3DES it is ECB-ZEROS`},
		{"generate", "people:", "more: x\npeople:", `more`},
		{"generate", "people:", wrap + "people:", `a ceremony to generate and wrap do not go together`},
		{"generate", "people:", "old: x\npeople:", `and old do not go together`},
		{"generate", "people:", "rehearsal: true\npeople:", `is no rehearsal`},
		{"generate", "people:", `holders: ["1005"]` + "\npeople:", `and holders do not go together`},
		{"generate", "people:", `parts: [{custodian: "1005"}]` + "\npeople:", `has no parts`},
		{"generate", `"1003"}`, `"1003", boss: "1004"}`, `people names the role "boss"`},
		{"generate", `, security-officer: "1003"`, ``, `people names no security-officer`},
		{"generate", `"1003"`, `"1002"`, `8:76: person 1002 has two parts in it, hsm-administrator and security-officer; nobody acts twice in one ceremony (SOP 6.4.0)`},
		{"generate", `"1003"`, `"10 03"`, `security-officer: person number is "10 03"`},
		{"generate", "\npeople", "\n---\npeople", `document`},
		{"generate-backup", "threshold: 2", "threshold: 1", `threshold is 1 of 3 holders, want at least 2, less than the holders`},
		{"generate-backup", "threshold: 2", "threshold: 3", `threshold is 3 of 3 holders`},
		{"generate-backup", "threshold: 2", "threshold: 2.5", `9:14: threshold is 2.5, want a whole number`},
		{"generate-backup", "threshold: 2", `threshold: "2"`, `want a whole number`},
		{"generate-backup", "threshold: 2", `threshold: -2`, `want a whole number`},
		{"generate-backup", `["1005", "1006", "1007"]`, `["1005", "1005", "1007"]`, `10:21: person 1005 has two parts in it, holder 1 and holder 2`},
		{"generate-backup", `["1005", "1006", "1007"]`, `["1005", "1001", "1007"]`, `person 1001 has two parts in it`},
		{"generate-backup", `["1005", "1006", "1007"]`, `[` + strings.Repeat(`"1",`, 17) + `]`, `at most 16 of them`},
		{"import-components", "630FABD461", "630fabd461", `9:30: wrong key check value: "630fabd461 CMAC", want upper case`},
		{"import-components", "630FABD461 CMAC", `""`, `needs the check value of each part`},
		{"import-components", "6A1AB4FFBE", "630FABD461", `has two parts with the same check value`},
		{"import-components", `  - {custodian: "1007", kcv: F46B7FEA1C CMAC, form: KTF-0073, bag: B-40873}` + "\n", `  - {custodian: "1007", kcv: F46B7FEA1C CMAC}` + "\n" + `  - {custodian: "1008", kcv: F46B7FEA1D CMAC}` + "\n", `9:3: a ceremony to import-components takes two or three parts, this has 4 (SOP 6.4.e.ii)`},
		{"import-components", `"1006"`, `"1005"`, `10:17: person 1005 has two parts in it, custodian 1 and custodian 2`},
		{"import-components", `"1006"`, `""`, `custodian 2: person number is ""`},
		{"import-components", `KTF-0071`, `"a\tb"`, `form and bag are`},
		{"export-components", `"1005", form`, `"1005", kcv: F46B7FEA1C CMAC, form`, `draws its parts: nobody knows their check values yet`},
		{"import-wrapped", "cpSC", "cp*C", `the wrapped key is not base64`},
		{"import-wrapped", "\n  blob: cpSCkwQ7jXYHckcQq1u3ZrTjCoAYoWqmzI1ESzpp0foklYn7DxHjlw==", "", `needs the blob`},
		{"import-wrapped", "AES-KW", "ROT13", `wrapping: format "ROT13"`},
		{"import-wrapped", "  under: exchange/maker/1\n", "", `wants the name of a key`},
		{"import-wrapped", "AES-KW\n", "AES-KW\n  label: x\n", `AES-KW binds no label`},
		{"import-wrapped", "AES-KW\n", "ECDH\n" + cert, `an import takes no public key`},
		{"import-wrapped", "wrap:\n  format: AES-KW\n  under: exchange/maker/1\n  blob: cpSCkwQ7jXYHckcQq1u3ZrTjCoAYoWqmzI1ESzpp0foklYn7DxHjlw==\n", "", `and wrap do not go together, or wrap is missing`},
		{"export-wrapped", "  under: exchange/maker/1\n", "  under: exchange/maker/1\n  blob: AAAA\n", `makes the blob`},
		{"export-wrapped", "  under: exchange/maker/1\n", "  under: exchange/maker/1\n  certificate: x\n", `10:16: want one certificate in PEM`},
		{"export-wrapped", "  under: exchange/maker/1\n", "  certificate: |\n    -----BEGIN CERTIFICATE-----\n    AAAA\n    -----END CERTIFICATE-----\n", `x509`},
		{"export-wrapped", "TR-31-D\n", "TR-31-D\n" + cert, `TR-31-D takes no public key`},
		{"export-wrapped", "TR-31-D\n", "ECDH\n", `is to a public key, not under key`},
		{"restore", `holders: ["1005", "1007"]` + "\n", "", `and holders do not go together, or holders are missing`},
		{"rotate", "old: transport/op/11\n", "", `and old do not go together, or old is missing`},
		{"rotate", "old: transport/op/11", "old: transport/op/13", `takes a new key with a name of its own`},
		{"destroy", `, witness: "1004"`, "", `needs a witness (SOP 6.4.e.viii)`},
		{"destroy", `"1004"`, `"1003"`, `person 1003 has two parts in it, security-officer and witness`},
		{"destroy", "people:", "backup: {threshold: 2, holders: [a, b, c]}\npeople:", `makes no shares`},
	} {
		doc := example(t, c.from)
		if strings.Count(doc, c.old) != 1 {
			t.Fatalf("%s has %q %d times", c.from, c.old, strings.Count(doc, c.old))
		}
		_, err := ceremony.ParsePlan([]byte(strings.Replace(doc, c.old, c.new, 1)))
		var place *document.Error
		if !errors.As(err, &place) || place.Line < 1 || place.Column < 1 || place.File != "plan" {
			t.Errorf("%s, %q: %v has no place", c.from, c.new, err)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %q: %v, want %q", c.from, c.new, err, c.want)
		}
	}
	for _, doc := range []string{"", "a", "[]", "ceremony: {}", "\x00", "people: {a: {b: c}}", "key: [1]", strings.Repeat("a", document.MaxSize+1)} {
		if _, err := ceremony.ParsePlan([]byte(doc)); err == nil {
			t.Errorf("%.20q is a plan", doc)
		}
	}
}

// Each kind without what it needs, and with what another one needs.
func TestParsePlanKinds(t *testing.T) {
	sections := map[string]string{
		"parts": exportTo, "backup": backup2of3, "wrap": "wrap: {format: AES-KW, under: kek}", "old": "old: other", "holders": `holders: ["1005", "1006"]`,
	}
	takes := map[ceremony.Kind]string{ceremony.ImportComponents: "parts", ceremony.ExportComponents: "parts", ceremony.ImportWrapped: "wrap", ceremony.ExportWrapped: "wrap", ceremony.Restore: "holders", ceremony.Rotate: "old"}
	for _, kind := range ceremony.Kinds() {
		for name, lines := range sections {
			doc := plan("X", kind, transport256, lines)
			_, err := ceremony.ParsePlan([]byte(doc))
			may := takes[kind] == name || name == "backup" && kind == ceremony.Generate
			if kind == ceremony.ImportComponents || kind == ceremony.ImportWrapped {
				may = false // their check values, and their blob, are missing
			}
			if may != (err == nil) {
				t.Errorf("to %s with %s: %v", kind, name, err)
			}
		}
	}
}

func FuzzParsePlan(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(examples, "*.yaml"))
	if err != nil || len(files) == 0 {
		f.Fatal("no examples: ", err)
	}
	for _, name := range files {
		doc, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc)
	}
	f.Add([]byte("kind: import-wrapped\n"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := ceremony.ParsePlan(doc)
		if err != nil {
			var place *document.Error
			if !errors.As(err, &place) || strings.Contains(fmt.Sprint(err), "%!") && !bytes.Contains(doc, []byte("%")) {
				t.Errorf("%v has no place", err)
			}
			return
		}
		if !slices.Contains(ceremony.Kinds(), p.Kind) || hsm.CheckID(p.Key.Name) != nil || p.Key.Purpose.Fits(p.Key.Algorithm) != nil || len(p.People) < 3 || len(p.Parts) > 3 {
			t.Errorf("%+v is a plan", p)
		}
	})
}
