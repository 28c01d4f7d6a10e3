package saip_test

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"ankan/profile"
	"ankan/profile/saip"
	"ankan/uicc"
)

// What packages are written with in these tests: values of Go in, DER out.

func cat(parts ...[]byte) []byte { return slices.Concat(parts...) }

func tlv(tag uicc.Tag, parts ...[]byte) []byte { return uicc.AppendTLV(nil, tag, cat(parts...)...) }

func x(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func number(tag uicc.Tag, n int) []byte {
	b := []byte{byte(n)}
	for n > 0x7F {
		if n >>= 8; n > 0 || b[0] > 0x7F {
			b = append([]byte{byte(n)}, b...)
		}
	}
	return tlv(tag, b)
}

// numbered counts the elements of a package.
type numbered struct{ n int }

func (c *numbered) head() []byte {
	c.n++
	return tlv(0xA0, tlv(0x80), number(0x81, c.n))
}

// oid is 2.23.143.1.2 and one more arc, or two.
func oid(arcs ...byte) []byte { return tlv(0x81, x("67810F0102"), arcs) }

// fcp is a file descriptor; keys are the components, in order.
func fcp(parts ...[]byte) []byte { return tlv(0xA1, parts...) }

func structure(s string) []byte { return tlv(0x82, x(s)) }
func fid(s string) []byte       { return tlv(0x83, x(s)) }
func dfName(s string) []byte    { return tlv(0x84, x(s)) }
func rule(s string) []byte      { return tlv(0x8B, x(s)) }
func size(s string) []byte      { return tlv(0x80, x(s)) }
func pins(s string) []byte      { return tlv(0xC6, x(s)) }
func sfi(s string) []byte       { return tlv(0x88, x(s)) }
func fill(s string) []byte      { return tlv(0xA5, tlv(0xC0, x("00")), tlv(0xC1, x(s))) }
func repeat(s string) []byte    { return tlv(0xA5, tlv(0xC2, x(s))) }
func link(s string) []byte      { return tlv(0xC7, x(s)) }
func content(s string) []byte   { return tlv(0x83, x(s)) }
func offset(n int) []byte       { return number(0x82, n) }

// component is the i-th file of a template's element, from 0.
func component(i int, parts ...[]byte) []byte {
	t := uicc.Tag(0xA2 + i)
	if i+2 > 30 {
		t = uicc.Tag(0xBF00 + i + 2)
	}
	return tlv(t, parts...)
}

// The records of the EF.ARRs; the USIM's has as many as templates name. 1 DFs, 2 read always, 3 PIN1, 4 PIN1 and PIN2,
// 5 PIN1 or PIN2 increases, 6 read by ADM1.
const (
	arr1 = "80015E A40683010A950108 8401D4 A40683010A950108"
	arr2 = "800101 9000 80015A A40683010A950108"
	arr3 = "800103 A406830101950108 800158 A40683010A950108"
	arr4 = "800101 A406830101950108 800102 A406830181950108 800158 A40683010A950108"
	arr5 = "800103 A406830101950108 840132 A010A406830101950108A406830181950108"
	arr6 = "800143 A40683010A950108"
)

// arrFile is the content of an EF.ARR of records of 48 bytes.
func arrFile(records ...string) []byte {
	var parts [][]byte
	skip := 0
	for _, r := range records {
		if skip > 0 {
			parts = append(parts, offset(skip))
		}
		parts = append(parts, content(r))
		skip = 48 - len(x(r))
	}
	return cat(parts...)
}

func arrSize(n int) []byte {
	return size(strings.TrimPrefix(fmt.Sprintf("%04X", n*48), "00"))
}

var (
	usimAID = "A0000000871002FF91FF0189"
	isimAID = "A0000000871004FF91FF0189"
)

// elements is a package with one of everything. edit may change an element, by
// its name, or drop it.
func elements(edit func(name string, element []byte) []byte) []byte {
	c := &numbered{}
	var all []byte
	add := func(name string, tag uicc.Tag, parts ...[]byte) {
		e := tlv(tag, parts...)
		if edit != nil {
			e = edit(name, e)
		}
		all = append(all, e...)
	}
	add("header", 0xA0, number(0x80, 3), number(0x81, 1), tlv(0x82, []byte("Test of Setu")), tlv(0x83, x("98199119000000001018")),
		tlv(0xA5, tlv(0x81), tlv(0x84), tlv(0x92)), tlv(0xA6, tlv(0x06, x("67810F010201")), tlv(0x06, x("67810F010204"))))
	add("mf", 0xB0, c.head(), oid(1),
		component(0, fcp(rule("2F0601"), pins("010A"))),
		component(1, fcp(rule("2F0602"), size("06"), fill("656EFF"))),
		component(2, fcp(structure("4121"), fid("2FE2"), rule("2F0602")), content("98199119000000001018")),
		component(3, fcp(structure("42210026"), rule("2F0602"), size("72")), content("61184F0C"+usimAID+"50085553494DFFFFFFFF"), offset(12), content("61184F0C"+isimAID+"50084953494DFFFFFFFF")),
		component(4, fcp(structure("42210030"), rule("2F0602"), arrSize(6)), arrFile(arr1, arr2, arr3, arr4, arr5, arr6)),
		component(5, fcp(rule("02")), content("3C3C000000")))
	add("pukCodes", 0xA3, c.head(), tlv(0xA1, tlv(0x30, number(0x80, 1), tlv(0x81, x("3131313131313131"))), tlv(0x30, number(0x80, 0x81), tlv(0x81, x("3232323232323232")), number(0x82, 0xAA))))
	add("pinCodes", 0xA2, c.head(), tlv(0xA1, tlv(0xA0,
		tlv(0x30, number(0x80, 1), tlv(0x81, x("31323334FFFFFFFF")), number(0x82, 1), number(0x83, 7)),
		tlv(0x30, number(0x80, 10), tlv(0x81, x("3535353535353535")), number(0x83, 3), number(0x84, 0xAA)),
		tlv(0x30, number(0x80, 11), tlv(0x81, x("3636363636363636"))))))
	add("telecom", 0xB2, c.head(), oid(3, 2),
		component(0, fcp(fid("7F10"), rule("2F0601"), pins("810A"))),
		component(7, fcp(rule("2F0601"), pins("810A"))),
		component(8, fcp(structure("4221000A"), rule("2F0603"), size("0A"), fill("00FF"))),
		component(9, fcp(fid("4F41"), rule("2F0602")), content("0102030405"), fcp(fid("4F42"), rule("2F0602"), size("08"), repeat("A1B2")), content("FF")),
		component(13, fcp(rule("2F0601"))),
		component(14, fcp(structure("42210040"), rule("2F0603"), size("40")), content("A80DC0034F3A01C5034F0902C1034F1103")),
		component(18, fcp(rule("2F0603"), repeat("00"))))
	add("usim", 0xB3, c.head(), oid(4, 2),
		component(0, fcp(fid("7FD0"), dfName(usimAID), rule("2F0601"), pins("810A"))),
		component(1, fcp(rule("6F0603")), content("084940990000000010")),
		component(2, fcp(structure("42210030"), rule("6F0602"), arrSize(14)), arrFile(arr1, arr2, arr3, arr4, arr5, arr6, arr5, arr4, arr2, arr2, arr2, arr3, arr3, arr1)),
		component(6, fcp(rule("6F0603"), size("11")), content("0204000000000000000000000000000000")),
		component(7, tlv(0x80)), component(8, tlv(0x80)), component(9, tlv(0x80)), component(10, tlv(0x80)),
		component(11, fcp(rule("6F0602")), content("0153657475FFFFFFFFFFFFFFFFFFFFFFFF")),
		component(12, fcp(rule("6F0604")), content("00")),
		component(15, fcp(rule("6F0603")), content("FFFFFFFFFFFFFFFFFFFFFFFEFF01")),
		component(16, fcp(rule("6F0603")), content("0001")),
		component(18, fcp(rule("6F0603")), content("FFFFFFFFFFFFFFFFFEFF01")),
		component(20, fcp(structure("42210008"), rule("6F0602"), size("10")), content("11F2FF534F53FF00")),
		component(22, fcp(rule("6F0603")), offset(12), content("FFFFFF")),
		component(23, fcp(structure("42210036"), rule("6F0603"), size("36"))))
	add("opt-usim", 0xB4, c.head(), oid(5),
		component(0, fcp(rule("6F0602"))),
		component(2, fcp(rule("6F0605"))),
		component(5, fcp(structure("42210018"), rule("6F0603"), size("30")), content("536574752020202020200791198900000071FFFFFFFFFFFF")))
	add("pin2", 0xA2, c.head(), tlv(0xA1, tlv(0xA0, tlv(0x30, number(0x80, 0x81), tlv(0x81, x("39393939FFFFFFFF")), number(0x82, 0x81), number(0x83, 3)))))
	add("akaParameter", 0xA4, c.head(), tlv(0xA1, tlv(0xA1, number(0x80, 1), tlv(0x81, x("01")), tlv(0x82, x("000102030405060708090A0B0C0D0E0F")), tlv(0x83, x("F0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF")))),
		tlv(0x82, x("02")), tlv(0xA5, tlv(0x04, x("000000000005")), tlv(0x04, x("000000000021"))))
	add("gsm-access", 0xB8, c.head(), oid(7), component(0, fcp(rule("6F0601"))), component(1, fcp(rule("6F0603"))), component(4, fcp(rule("6F0602"))))
	add("df-5gs", 0xBC, c.head(), oid(13, 3), component(0, fcp(rule("6F0601"))), component(1, fcp(rule("6F0603"))), component(3, fcp(rule("6F0603"))), component(10, fcp(rule("6F0602"))),
		component(11, fcp(structure("7921"), rule("6F0602"), size("0200"), sfi("")), content("8003010203"), content("8104AABBCCDD")))
	add("df-saip", 0xBD, c.head(), oid(14), component(0, fcp(rule("6F0601"))), component(1, fcp(rule("6F0606"), size("08"))))
	add("isim", 0xB5, c.head(), oid(8),
		component(0, fcp(fid("7FB0"), dfName(isimAID), rule("2F0601"))),
		component(1, fcp(rule("6F0603"), size("20")), content("801D"+hex.EncodeToString([]byte("404990000000001@ims.example.in")))),
		component(2, fcp(structure("42210030"), rule("6F0603")), content("80"+"0B"+hex.EncodeToString([]byte("sip:setu.in")))),
		component(3, fcp(rule("6F0603")), content("8007"+hex.EncodeToString([]byte("setu.in")))),
		component(4, fcp(rule("6F0603"), size("01")), content("00")),
		component(5, fcp(rule("6F0602"))),
		component(6, fcp(structure("42210030"), rule("6F0602"), arrSize(4)), arrFile(arr1, arr2, arr3, arr4)))
	add("pin2 isim", 0xA2, c.head(), tlv(0xA1, tlv(0x81, x("7FD0"))))
	add("aka isim", 0xA4, c.head(), tlv(0xA1, tlv(0xA0, tlv(0x80, x("06")), tlv(0x81, x(usimAID)))))
	add("cdmaParameter", 0xA5, c.head(), tlv(0x81, x("0000000000000000")))
	add("genericFileManagement", 0xA1, c.head(), tlv(0xA1, tlv(0x30,
		tlv(0x80), tlv(0x62, structure("7821"), fid("7F66"), rule("2F0601"), pins("010A")),
		tlv(0x80, x("7F66")), tlv(0x62, structure("4121"), fid("4F40"), rule("2F0602"), size("02")), tlv(0x81, x("0102")),
		tlv(0x62, structure("46210003"), fid("4F41"), rule("2F0603"), size("09"), sfi("28")), number(0x02, 3), tlv(0x81, x("AABBCC")),
		tlv(0x80, x("7F105F3A")), tlv(0x62, structure("4221001C"), fid("4F3A"), rule("2F0603"), size("0118"), sfi("50")),
		tlv(0x62, structure("42210002"), fid("4F09"), rule("2F0603"), size("14"), sfi("08"), repeat("00")),
		tlv(0x62, structure("42210011"), fid("4F11"), rule("2F0603"), size("AA"), sfi("")),
		tlv(0x80, x("7F10")), tlv(0x62, structure("4221001C"), fid("6F3A"), rule("2F0603"), sfi(""), link("7F105F3A4F3A")),
		tlv(0x80, x("7F664F40")), number(0x02, 1), tlv(0x81, x("FE")))))
	add("securityDomain", 0xA6, c.head(), tlv(0xA1, tlv(0x4F, x("A0000001515350")), tlv(0x4F, x("A000000151535041")), tlv(0x4F, x("A000000151000000")), tlv(0x82, x("82DC00")), tlv(0x83, x("0F")), tlv(0xC9, x("810280008201F0"))),
		tlv(0xA2, keys("30", "88", 32), keys("05", "88", 16), keys("01", "80", 16), keys("40", "85", 16)), tlv(0xA3, tlv(0x04, x("0070"))))
	add("rfm", 0xA7, c.head(), tlv(0x4F, x("A00000055910100001")), tlv(0xA0, tlv(0x04, x("B00010"))), tlv(0x81, x("16")), tlv(0x04, x("00")), tlv(0x04, x("00")), tlv(0x30, tlv(0x80, x(usimAID)), tlv(0x81, x("00")), tlv(0x82, x("00"))))
	add("application", 0xA8, c.head(), tlv(0xA1, tlv(0x4F, x("A000000559AA01")), tlv(0xC4, x("C48101"))), tlv(0xA2, tlv(0x30, tlv(0x4F, x("A000000559AA01")), tlv(0x4F, x("A000000559AA0101")), tlv(0x4F, x("A000000559AA010101")), tlv(0x82, x("00")), tlv(0xC9))))
	add("nonStandard", 0xA9, c.head(), tlv(0x81, x("2B0601040182DF20")), tlv(0x82, x("00112233")))
	add("later", 0xBF30, tlv(0xA0, number(0x81, 90)), tlv(0x81, x("00")))
	add("end", 0xAA, c.head())
	return all
}

func keys(version, kind string, n int) []byte {
	var all []byte
	for id := range 3 {
		all = append(all, tlv(0x30, tlv(0x95, x("18")), tlv(0x82, []byte{byte(id + 1)}), tlv(0x83, x(version)),
			tlv(0x30, tlv(0x30, tlv(0x80, x(kind)), tlv(0x86, make([]byte, n)))))...)
	}
	return all
}

var update = flag.Bool("update", false, "write testdata/setu.der")

// The file beside the tests is the package of elements: what other tests and the
// command line read.
func TestFixture(t *testing.T) {
	if *update {
		if err := os.WriteFile("testdata/setu.der", elements(nil), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile("testdata/setu.der")
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != string(elements(nil)) {
		t.Error("testdata/setu.der is another package; run the test with -update")
	}
}

func content1(t *testing.T, p *profile.Profile, path string) string {
	t.Helper()
	for f := range p.All() {
		if f.Path() == path {
			s := ""
			for _, c := range f.Contents() {
				s += c.Hex + " "
			}
			return strings.TrimSpace(s)
		}
	}
	t.Errorf("no file %s", path)
	return ""
}

// A package with one of everything comes over, becomes a card, and is read back.
func TestPackage(t *testing.T) {
	in, err := saip.Import(elements(nil), saip.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if in.Format != "3.1" || in.Type != "Test of Setu" || in.Elements != 23 {
		t.Errorf("format %s, type %s, %d elements", in.Format, in.Type, in.Elements)
	}
	p := in.Profile
	if p.Name != "test-of-setu" || p.PLMN.String() != "40499" || p.Operator != "Setu" || p.Algorithm != "MILENAGE" || p.SQN.Start != 0x21 ||
		p.SCP03.Version != 0x30 || p.SCP03.Bits != 256 || p.SCP80.Version != 5 || p.SCP80.Bits != 128 {
		t.Errorf("%s", strings.SplitN(p.String(), "files:", 2)[0])
	}
	if len(p.Codes) != 4 || p.Codes[3].Slot != profile.SlotADM2 || p.Codes[3].Reference != 0x0B || p.Codes[3].Tries != 3 || !p.Codes[1].Shared {
		t.Errorf("codes %+v", p.Codes)
	}
	for path, want := range map[string]string{
		"MF/EF.ICCID":                            "${ICCID}",
		"MF/EF.PL":                               "656EFFFFFFFF",
		"MF/EF.UMPC":                             "3C3C000000",
		"MF/DF.TELECOM/DF.GRAPHICS/EF.IIDF":      "0102030405",
		"MF/DF.TELECOM/DF.GRAPHICS/EF.IMG":       "00FFFFFFFFFFFFFFFFFF",
		"MF/DF.TELECOM/DF.PHONEBOOK/EF.PSC":      "00000000",
		"MF/DF.7F66/EF.4F40":                     "01FE", // FE through a path to the file
		"MF/DF.7F66/EF.4F41":                     "FFFFFF AABBCC FFFFFF",
		"MF/ADF.USIM/EF.IMSI":                    "${IMSI}",
		"MF/ADF.USIM/EF.ACC":                     "${ACC}",
		"MF/ADF.USIM/EF.Keys":                    "07" + strings.Repeat("FF", 32), // created by default
		"MF/ADF.USIM/EF.HPPLMN":                  "0A",
		"MF/ADF.USIM/EF.START-HFN":               "F00000F00000",
		"MF/ADF.USIM/EF.AD":                      "00000002",
		"MF/ADF.USIM/EF.EPSLOCI":                 strings.Repeat("FF", 15) + "000001",
		"MF/ADF.USIM/EF.LI":                      "FFFFFFFFFFFF",
		"MF/ADF.USIM/EF.ACM":                     "000000",
		"MF/ADF.USIM/EF.MSISDN":                  "53657475202020202020${MSISDN}FFFF " + strings.Repeat("FF", 24),
		"MF/ADF.USIM/DF.GSM-ACCESS/EF.Kc":        "FFFFFFFFFFFFFFFF07",
		"MF/ADF.USIM/DF.5GS/EF.5GS3GPPLOCI":      strings.Repeat("FF", 16) + "00000001",
		"MF/ADF.USIM/DF.5GS/EF.5GS3GPPNSC":       strings.Repeat("FF", 62) + " " + strings.Repeat("FF", 62), // version 3
		"MF/ADF.USIM/DF.5GS/EF.URSP":             "8003010203 8104AABBCCDD",
		"MF/ADF.ISIM/EF.DOMAIN":                  "8007736574752E696E",
		"MF/DF.TELECOM/DF.PHONEBOOK/EF.4F09":     strings.TrimSpace(strings.Repeat("0000 ", 10)),
		"MF/DF.TELECOM/EF.ADN":                   strings.TrimSpace(strings.Repeat(strings.Repeat("FF", 28)+" ", 10)),
		"MF/DF.TELECOM/DF.GRAPHICS/EF.IIDF-4F42": "FFB2A1B2A1B2A1B2",
	} {
		path = phonebookName(p, path)
		if got := content1(t, p, path); got != want {
			t.Errorf("%s holds %s, want %s", path, got, want)
		}
	}
	for f := range p.All() {
		if f.Name == "EF.FDN" || f.Name == "EF.SMS" {
			t.Errorf("%s is there, the package says doNotCreate", f.Path())
		}
	}
	left := fmt.Sprint(in.NotTaken)
	for _, want := range []string{
		"element 1 (header): eUICC-Mandatory-services usim, milenage, ber-tlv",
		"CAVE authentication key", "security domain A000000151000000", "key version 01 of A000000151000000: DES", "key version 40 of A000000151000000: it is not three AES keys",
		"sdPersoData", "load package A000000559AA01 of 3 bytes",
		"application A000000559AA010101", "content of 4 bytes of the issuer 1.3.6.1.4.1.44960", "(choice 48): the element",
	} {
		if !strings.Contains(left, want) {
			t.Errorf("not taken over is not told: %s\n%s", want, left)
		}
	}
	changed := fmt.Sprint(in.Changed)
	for _, want := range []string{"key and OPc of MF/ADF.USIM", "as keys of SCP03", "as keys of SCP80", "EF.ADN: it is a link to MF/DF.TELECOM/DF.PHONEBOOK", "${ICCID}", "${MSISDN}",
		"MF/ADF.ISIM/EF.IMPI: the order's ${IMSI.digits} stand there on each card", "PIN2: it is one for the whole card", "algorithm of MF/ADF.ISIM: it is shared with the application " + usimAID, "values of codes"} {
		if !strings.Contains(changed, want) {
			t.Errorf("a difference is not told: %s\n%s", want, changed)
		}
	}
	// Nothing of the package's secrets came over.
	for _, secret := range []string{"000102030405060708090A0B0C0D0E0F", "F0F1F2F3F4F5F6F7", "31323334", "3131313131313131", "12341234"} {
		if strings.Contains(p.String(), secret) || strings.Contains(left+changed, secret) {
			t.Errorf("%s came over", secret)
		}
	}
	if p, err = p.Accept("a test"); err != nil {
		t.Fatal(err)
	}
	_, _, unread := makeCard(t, p)
	if len(unread) != 0 {
		t.Errorf("not readable: %v", unread)
	}
}

// phonebookName is the path of a file that the tables may have a name for.
func phonebookName(p *profile.Profile, path string) string {
	dir, name, ok := strings.Cut(path, "/EF.4F")
	if !ok {
		return path
	}
	for f := range p.All() {
		if strings.HasPrefix(f.Path(), dir+"/EF.") && f.ID.String() == "4F"+name {
			return f.Path()
		}
	}
	return path
}

// Options rule over the package.
func TestOptions(t *testing.T) {
	in, err := saip.Import(elements(nil), saip.Options{Name: "mine", Version: "7", Operator: "Other", FormFactors: []string{"MFF2"}, Algorithm: "TUAK"})
	if err != nil {
		t.Fatal(err)
	}
	p := in.Profile
	if p.Name != "mine" || p.Version != "7" || p.Operator != "Other" || fmt.Sprint(p.FormFactors) != "[MFF2]" || p.Algorithm != "TUAK" {
		t.Errorf("%s", strings.SplitN(p.String(), "rules:", 2)[0])
	}
	if _, err := saip.Import(elements(nil), saip.Options{Name: "Not A Name"}); !errors.Is(err, profile.ErrDocument) {
		t.Errorf("%v, want a refusal of the name", err)
	}
}

// without drops elements.
func without(names ...string) []byte {
	return elements(func(name string, e []byte) []byte {
		if slices.Contains(names, name) {
			return nil
		}
		return e
	})
}

// instead puts other bytes in the place of some in one element.
func instead(element, old, new string) []byte {
	return elements(func(name string, e []byte) []byte {
		if name != element {
			return e
		}
		if !strings.Contains(string(e), string(x(old))) {
			panic(element + " has no " + old)
		}
		t, _, err := uicc.ReadTLV(e)
		if err != nil {
			panic(err)
		}
		return uicc.AppendTLV(nil, t.Tag, []byte(strings.Replace(string(t.Value), string(x(old)), string(x(new)), 1))...)
	})
}

func TestWithout(t *testing.T) {
	in, err := saip.Import(without("securityDomain", "akaParameter"), saip.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c := fmt.Sprint(in.Changed); !strings.Contains(c, "the package has none: a card gets version 30") || !strings.Contains(c, "the package has none for the USIM: MILENAGE") || in.Profile.SCP80.Version != 0 {
		t.Errorf("%v", c)
	}
}
