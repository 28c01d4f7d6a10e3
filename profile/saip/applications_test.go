package saip_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ankan/profile/saip"
	"ankan/scp"
	"ankan/uicc"
)

// The AIDs of the tests' package, its class and instances of it.
const (
	packageAID = "F00000000101"
	classAID   = "F00000000102"
	firstAID   = "F0000000010301"
	secondAID  = "F0000000010302"
)

// loadBlock is the code of a package of one applet.
func loadBlock() []byte {
	component := func(tag byte, v ...byte) []byte { return append([]byte{tag, byte(len(v) >> 8), byte(len(v))}, v...) }
	parts := [][]byte{
		component(1, 0xDE, 0xCA, 0xFF, 0xED, 1, 2, 4, 3, 1, 6, 0xF0, 0, 0, 0, 1, 1), component(2, make([]byte, 31)...), component(4, 0),
		component(3, 1, 6, 0xF0, 0, 0, 0, 1, 2, 0, 20), component(6, 0), component(7, make([]byte, 300)...), component(8, make([]byte, 10)...),
		component(5, 0, 0), component(9, 0, 0, 0, 0),
	}
	for _, p := range parts {
		copy(parts[1][3+2*(p[0]-1):], p[1:3])
	}
	parts[1][3+29] = 1
	return slices.Concat(parts...)
}

func aid(s string) []byte { return tlv(0x4F, x(s)) }

// rfm is an element of remote file management.
func rfm(name, tar, level, access, admin string, more ...byte) []byte {
	return tlv(0xA7, tlv(0xA0, number(0x81, 70)), aid(name), tlv(0xA0, tlv(0x04, x(tar))), tlv(0x81, x(level)), tlv(0x04, x(access)), tlv(0x04, x(admin)), more)
}

func adf(name, access, admin string) []byte {
	return tlv(0x30, tlv(0x80, x(name)), tlv(0x81, x(access)), tlv(0x82, x(admin)))
}

// inst is an ApplicationInstance of the package.
func inst(file, class, name string, more ...[]byte) []byte {
	return tlv(0x30, aid(file), aid(class), aid(name), cat(more...))
}

func store(data string) []byte {
	b := x(data)
	return tlv(0x04, append([]byte{0x80, 0xE2, 0x88, 0, byte(len(b))}, b...))
}

// Remote management and applications of a package come over, work on the card, and
// what cannot come is named.
func TestApplications(t *testing.T) {
	hd := tlv(0xA0, number(0x81, 71))
	block := tlv(0xA1, aid(packageAID), aid("A000000559101001"), tlv(0xC6, x("00")), tlv(0xC4, loadBlock()))
	priv := func(s string) []byte { return tlv(0x82, x(s)) }
	state := func(s string) []byte { return tlv(0x83, x(s)) }
	data := func(all ...[]byte) []byte { return tlv(0x30, all...) }
	in, err := saip.Import(elements(func(name string, e []byte) []byte {
		switch name {
		case "rfm":
			return cat(e, rfm("A00000055910100002", "B00000", "02", "00", "00"), rfm("A00000055910100002", "B00008", "16", "00", "00"), rfm("A00000055910100003", "B00001", "16", "02000100", "02000100"),
				rfm("A00000055910100004", "B00002", "16", "FF", "00"), rfm("A00000055910100005", "B00003", "16", "0301", "0301"),
				rfm("A00000055910100006", "B00010", "16", "00", "00"), rfm("A00000055910100007", "B00004", "16", "FF", "FF", adf("A0000000871003", "00", "00")...),
				rfm("A00000055910100008", "B00005", "12", "FF", "00", adf(usimAID, "02000300", "00")...),
				tlv(0xA7, tlv(0xA0, number(0x81, 72)), aid("A0000005591010FFFFFFFF89B0000700"), tlv(0x81, x("1A")), tlv(0x04, x("00")), tlv(0x04, x("00"))))
		case "application":
			return cat(e, tlv(0xA8, hd, block, tlv(0xA2,
				inst(packageAID, classAID, firstAID, priv("02"), state("0F"), tlv(0xC9, x("0102")), tlv(0xEA, x("8001AA")), data(store("010102A1B2010201C3"), store("010101FF"), tlv(0x04, x("80CA0101"))), tlv(0xB0, x("8301AA"))),
				inst(packageAID, classAID, secondAID, aid("A000000559101001"), priv("000000"), state("87"), tlv(0xC9)),
				inst(packageAID, classAID, usimAID, priv("00")), inst(packageAID, "F00000000109", "F0000000010303", priv("00")),
				inst(packageAID, classAID, "F0000000010304", priv("80")), inst(packageAID, classAID, "F0000000010305", priv("00"), state("08")),
				inst(packageAID, classAID, "F0000000010306", priv("00"), state("03"), data(store("01010100"))),
				inst(packageAID, classAID, "F0000000010307", priv("00"), tlv(0xC9, make([]byte, 201))),
				inst(packageAID, classAID, "F0000000010308", priv("00"), state("03")))),
				tlv(0xA8, hd, block), tlv(0xA8, hd, tlv(0xA1, aid("F00000000109"), tlv(0xC4, loadBlock()))))
		}
		return e
	}), saip.Options{})
	if err != nil {
		t.Fatal(err)
	}
	left, changed := fmt.Sprint(in.NotTaken), fmt.Sprint(in.Changed)
	for _, want := range []string{
		"A00000055910100005, TAR B00003, minimum security level 16: a profile cannot say its access domain 0301",
		"A00000055910100006, TAR B00010, minimum security level 16: it has no TAR of its own", "the package has no application A0000000871003",
		"application " + usimAID + ": its AID is that of something else on the card", "application F0000000010303: its load package F00000000101 has no class F00000000109",
		"application F0000000010304: it has the privileges 800000", "application F0000000010305: its life cycle 08",
		"application F0000000010306: it is given data and cannot be selected", "application F0000000010307: its AIDs and parameters of 204 bytes",
		"controlReferenceTemplate of application " + firstAID, "2 commands of processData of application " + firstAID,
		"load package F00000000101 of ", "load package F00000000109 of", "its code is that of package F00000000101",
	} {
		if !strings.Contains(left, want) {
			t.Errorf("not taken over is not told: %s\n%s", want, left)
		}
	}
	for _, want := range []string{
		"A00000055910100002, TAR B00000, minimum security level 02: cards take no packet that is not signed", "remote management of applications: the card's manager has TAR 000000",
		"administrative access of A00000055910100004: it is 00; a profile has one access domain for both, FF", "access of A00000055910100008 to the shared files: it is FF",
		"application " + secondAID + ": it belongs to the card's manager, not to A000000559101001", "load package F00000000101 of",
	} {
		if !strings.Contains(changed, want) {
			t.Errorf("a difference is not told: %s\n%s", want, changed)
		}
	}
	p, err := in.Profile.Accept("a test")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`- {name: "rfm-a00000055910100001", tar: ["B00010"], manages: "ADF.USIM", level: {check: cc, cipher: true, counter: higher}, access: full}`,
		`tar: ["B00005"], manages: "ADF.USIM", level: {check: cc, cipher: false, counter: higher}, access: [adm1, adm2]`,
		`tar: ["B00007"], manages: "MF", level: {check: cc, cipher: false, counter: one-higher}, access: full`,
		`tar: ["000000"], manages: "RAM"`, `{name: "rfm-a00000055910100002-2", tar: ["B00008"]`, "privileges: [cvm-management]\n    parameters: \"C9020102EA038001AA\"\n    life-cycle: \"0F\"",
		`{dgi: "0102", value: "C3"}`, "life-cycle: locked", "life-cycle: installed",
	} {
		if !strings.Contains(p.String(), want) {
			t.Errorf("the profile lacks %s\n%s", want, p)
		}
	}
	chip, script, _ := makeCard(t, p)
	u := uicc.NewSession(chip)
	if _, err := u.Do(ctx, uicc.Command{INS: uicc.INSSelect, P1: 4, P2: 0x0C, Data: x(firstAID)}); err != nil {
		t.Fatal(err)
	}
	if b, err := u.Do(ctx, uicc.Command{CLA: 0x80, INS: uicc.INSGetData, P1: 1, P2: 1, Le: 2}); err != nil || hex.EncodeToString(b) != "a1b2" {
		t.Errorf("DGI 0101 is %X, error %v", b, err)
	}
	keys, err := script.NewKeys(cardRecord(t, p))
	if err != nil {
		t.Fatal(err)
	}
	chip.Reset()
	if _, err := scp.Open(ctx, chip, keys, scp.Options{KeyVersion: 0x30, Level: scp.Full}); err != nil {
		t.Fatal(err)
	}
	// Without keys of SCP80 nobody can send packets.
	in, err = saip.Import(elements(func(name string, e []byte) []byte {
		if name == "securityDomain" {
			return nil
		}
		return e
	}), saip.Options{})
	if err != nil || !strings.Contains(fmt.Sprint(in.NotTaken), "TAR B00010, minimum security level 16: the card has no keys of SCP80") || len(in.Profile.Remote) > 0 {
		t.Errorf("without keys: %v, %v", err, in)
	}
	if bytes.Contains([]byte(in.Profile.String()), []byte("remote:")) {
		t.Error("without keys there is remote management")
	}
}
