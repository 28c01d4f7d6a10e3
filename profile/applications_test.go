package profile

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The AIDs of the tests' package, its applet and instances of it.
const (
	PackageAID = "F00000000101"
	AppletAID  = "F00000000102"
	WalletAID  = "F0000000010301"
	LockedAID  = "F0000000010302"
	IdleAID    = "F0000000010303"
)

// Components is a sound CAP file of one applet, component by component.
func Components(t testing.TB) [][]byte {
	t.Helper()
	lv := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return append([]byte{byte(len(b))}, b...)
	}
	component := func(tag byte, v ...byte) []byte { return append([]byte{tag, byte(len(v) >> 8), byte(len(v))}, v...) }
	parts := [][]byte{
		component(1, slices.Concat([]byte{0xDE, 0xCA, 0xFF, 0xED, 1, 2, 4, 3, 1}, lv(PackageAID))...),
		component(2, make([]byte, 31)...), component(4, 0),
		component(3, slices.Concat([]byte{1}, lv(AppletAID), []byte{0, 20})...),
		component(6, 0), component(7, make([]byte, 600)...), component(8, make([]byte, 10)...), component(5, 0, 0), component(9, 0, 0, 0, 0),
	}
	for _, p := range parts {
		copy(parts[1][3+2*(p[0]-1):], p[1:3])
	}
	parts[1][3+29] = 1 // applets
	return parts
}

// JAR is the CAP file as tools write it.
func JAR(t testing.TB) []byte {
	t.Helper()
	names := [...]string{1: "Header", 2: "Directory", 3: "Applet", 4: "Import", 5: "ConstantPool", 6: "Class", 7: "Method", 8: "StaticField", 9: "RefLocation"}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, c := range Components(t) {
		w, err := z.Create("com/example/javacard/" + names[c[0]] + ".cap")
		if err == nil {
			_, err = w.Write(c)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// RemoteSection has one of each.
const RemoteSection = `remote:
- {name: ram, tar: ["000000"], manages: RAM, level: "16", access: full}
- {name: shared, tar: [B00000], manages: MF, level: {check: cc, cipher: true, counter: higher}, access: none}
- {name: usim, tar: [B00010, B00011], manages: a0000000871002ff91ff0189, level: {check: cc, cipher: false, counter: one-higher}, access: [adm1]}
`

// instanceSection is what follows the code of a load file.
const instanceSection = `  instances:
  - aid: ` + WalletAID + `
    module: ` + AppletAID + `
    privileges: [cvm-management, final-application]
    parameters: C9020102
    life-cycle: "0F"
    data:
    - {dgi: "0101", value: A1B2}
    - {dgi: "0102", value: "${ICCID}"}
    - {dgi: "0103", value: "${MSISDN}"}
    - {dgi: "0104", value: "` + "%s" + `"}
  - {aid: ` + LockedAID + `, module: ` + AppletAID + `, life-cycle: locked, data: [{dgi: "0101", value: "00"}]}
  - {aid: ` + IdleAID + `, module: ` + AppletAID + `, life-cycle: installed}
`

// ApplicationSection is a load file with three instances.
func ApplicationSection(t testing.TB) string {
	t.Helper()
	code := base64.StdEncoding.EncodeToString(slices.Concat(Components(t)...))
	return "applications:\n- load-file: " + PackageAID + "\n  code: " + code + "\n" + fmt.Sprintf(instanceSection, strings.Repeat("5A", 230))
}

// withApplications is the built-in profile with remote management and applications.
func withApplications(t testing.TB) string {
	return change(t, builtinDoc(t), "files:\n", RemoteSection+ApplicationSection(t)+"files:\n")
}

// What the rules say of remote management and applications.
func badApplications() []sample {
	const wallet, module = "aid: " + WalletAID, "module: " + AppletAID
	return []sample{
		{"remote", "  scp80: {version: \"01\", aes: 128}\n", "", "remote ram: the card has no SCP80 keys"},
		{"remote", "[B00010, B00011]", "[B00000, B00011]", "remote usim: TAR B00000 is that of shared"},
		{"remote", "[B00000]", "[\"000000\"]", "TAR 000000 manages MF; RAM is TAR 000000"},
		{"remote", "[\"000000\"]", "[B00001]", "TAR B00001 manages RAM; RAM is TAR 000000"},
		{"remote", "manages: MF", "manages: ADF.ISIM", "it manages ADF.ISIM, want MF, RAM, or an application"},
		{"remote", "manages: MF", "manages: DF.TELECOM", "it manages DF.TELECOM, want MF, RAM, or an application"},
		{"remote", "access: [adm1]", "access: [adm1, adm3]", "remote usim: its access domain names adm3, which the card has not"},
		{"level", "level: \"16\"", "level: \"14\"", "remote ram: level {check: none, cipher: true, counter: higher}, want a cryptographic checksum"},
		{"level", "counter: higher", "counter: unchecked", "remote shared: level {check: cc, cipher: true, counter: unchecked}"},
		{"level", "level: \"16\"", "level: \"11\"", "{check: rc, cipher: false, counter: higher}"},
		{"instances", wallet, "aid: A0000000871002FF91FF0189", "its AID is that of MF/ADF.USIM"},
		{"instances", wallet, "aid: A000000151000000", "its AID is that of the operating system"},
		{"instances", wallet, "aid: " + LockedAID, "application " + LockedAID + ": its AID is that of application"},
		{"instances", wallet, "aid: " + PackageAID, "its AID is that of load file"},
		{"instances", "life-cycle: \"0F\"", "life-cycle: installed", "it is only installed and cannot be given data"},
		{"instances", "C9020102", "C9030102", "parameters are not data objects"},
		{"instances", "C9020102", "C981C3" + strings.Repeat("00", 195), "its AIDs and parameters of 198 bytes do not fit one INSTALL command"},
		{"privileges", "[cvm-management, final-application]", "\"000001\"", "privileges 000001 have reserved bits"},
		{"privileges", "final-application]", "security-domain]", "privileges [security-domain] are those of security domains"},
		{"privileges", "final-application]", "token-management]", "privileges [token-management] are those of security domains"},
		{"privileges", "life-cycle: locked", "life-cycle: locked, privileges: [card-reset]", ""},
		{"code", "load-file: " + PackageAID, "load-file: F00000000109", "its code is that of package " + PackageAID},
		{"code", module, "module: F00000000109", "load file " + PackageAID + " has no module F00000000109"},
		{"code", "code: AQ", "code: BQ", "load file " + PackageAID + ": gp: "},
	}
}

func TestChecksOfApplications(t *testing.T) {
	doc := change(t, withApplications(t), "[cvm-management,", "[card-reset, cvm-management,")
	judge(t, doc, []sample{{"privileges", "life-cycle: locked", "life-cycle: locked, privileges: [card-reset]", "another one has the privilege card-reset"}}, map[string]bool{})
	// Test cards may take packets that nobody signed.
	p, err := Parse("test.yaml", []byte(change(t, change(t, withApplications(t), "algorithm:", "test: true\nalgorithm:"), "level: \"16\"", "level: \"00\"")))
	if err != nil || len(p.Check()) > 0 {
		t.Errorf("test cards: %v, %v", err, p.Check())
	}
	// The code of a card has its limit.
	long := slices.Concat(Components(t)...)
	p, err = Parse("long.yaml", []byte(withApplications(t)))
	if err != nil {
		t.Fatal(err)
	}
	p.Applications[0].Code = longer(long, maxLoadFile)
	if f := fmt.Sprint(findings(p, checkCode)); !strings.Contains(f, "want at most 49152") {
		t.Errorf("long code: %s", f)
	}
}

// longer is code with a method component of n bytes.
func longer(code []byte, n int) []byte {
	var all []byte
	for len(code) > 0 {
		size := int(code[1])<<8 | int(code[2])
		c := slices.Clone(code[:3+size])
		if code = code[3+size:]; c[0] == 7 {
			c = append(c[:3], make([]byte, n)...)
			c[1], c[2] = byte(n>>8), byte(n)
		}
		all = append(all, c...)
	}
	directory := bytes.IndexByte(all, 2)
	for i := 0; i+2 < len(all); i += 3 + (int(all[i+1])<<8 | int(all[i+2])) {
		if all[i] == 2 {
			directory = i
		}
	}
	all[directory+3+12], all[directory+3+13] = byte(n>>8), byte(n)
	return all
}

func TestApplicationsRefused(t *testing.T) {
	doc := withApplications(t)
	for _, x := range []struct{ old, new, want string }{
		{"remote:\n", "remote:\n- {}\n", "remote: name, tar, manages, level and access are wanted"},
		{"name: shared", "name: ram", "remote: the name ram stands here twice"},
		{"name: shared", "name: a b", "is not a name"},
		{"name: shared", "nane: shared", "remote: unknown key nane, want name, tar"},
		{"[B00000]", "[B0000]", "tar is \"B0000\", want 6 hexadecimal digits"},
		{"[B00000]", "B00000", "tar: a text, want a list"},
		{"level: \"16\"", "level: \"36\"", "level 36 has reserved bits"},
		{"level: \"16\"", "level: \"17\"", "asks for a digital signature"},
		{"level: \"16\"", "level: {check: cc}", "level: check, cipher and counter are wanted"},
		{"check: cc", "check: ds", "level: check is \"ds\", want none, rc, cc"},
		{"counter: higher", "counter: lower", "level: counter is \"lower\""},
		{"cipher: true", "cipher: aes", "cipher is \"aes\", want true or false"},
		{"check: cc", "chk: cc", "level: unknown key chk"},
		{"access: none", "access: all", "access is \"all\", want full, none"},
		{"access: none", "access: []", "access: the list is empty"},
		{"access: none", "access: [adm6]", "access: \"adm6\", want adm1 to adm5"},
		{"access: none", "access: [adm1, adm1]", "each once"},
		{"load-file: " + PackageAID, "load-file: F0000000", "load-file is \"F0000000\", want an AID of 5 to 16 bytes"},
		{"- load-file:", "- cap: a.cap\n  load-file:", "load-file and one of cap and code are wanted"},
		{"- load-file:", "- dap: 00\n  load-file:", "applications: unknown key dap"},
		{"code: ", "code: \"?\" # ", "code: illegal base64"},
		{"  instances:\n", "  instances:\n  - {}\n", "instances: aid and module are wanted"},
		{"  instances:\n", "  instances:\n  - {load: 1}\n", "instances: unknown key load"},
		{"[cvm-management,", "[root,", "privileges: \"root\", want each once of security-domain"},
		{"[cvm-management,", "[final-application,", "privileges: \"final-application\", want each once"},
		{"life-cycle: \"0F\"", "life-cycle: \"0E\"", "life-cycle is \"0E\", want installed, selectable, locked"},
		{"C9020102", "C9", "parameters is \"C9\", want 2 to 200 bytes"},
		{"dgi: \"0102\"", "dgi: \"0101\"", "data: DGI 0101 stands here twice"},
		{"dgi: \"0102\", ", "", "data: dgi and value are wanted"},
		{"dgi: \"0102\"", "tag: \"0102\"", "data: unknown key tag"},
		{"\"${ICCID}\"", "\"00${ICCID}\"", "data: a slot is the whole value of a DGI"},
		{"\"${ICCID}\"", "\"${K}\"", "slot ${K} is a secret"},
		{"\"${ICCID}\"", "\"${NAME}\"", "unknown slot ${NAME}"},
		{"value: A1B2", "value: " + strings.Repeat("00", maxGrouping+1), "want 1 to 236 bytes"},
	} {
		_, err := Parse("p.yaml", []byte(change(t, doc, x.old, x.new)))
		if !errors.Is(err, ErrDocument) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %s", x.new, err, x.want)
		}
	}
}
