package profile_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"ankan/aka"
	"ankan/profile"
	"ankan/sim"
	"ankan/uicc"
)

const full = "in-5g-usim-isim"

func fullProfile(t testing.TB, replace ...string) *profile.Profile {
	t.Helper()
	doc, err := os.ReadFile("profiles/" + full + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := string(doc)
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(s, replace[i]) {
			t.Fatalf("the built-in profile has no %q", replace[i])
		}
		s = strings.Replace(s, replace[i], replace[i+1], 1)
	}
	p, err := profile.Parse("full.yaml", []byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Names that follow from the IMSI stand on the card as TS 23.003 says, and the
// ISIM authenticates.
func TestDerivedNames(t *testing.T) {
	p := fullProfile(t)
	s, err := profile.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	record := cardRecord(t, p, 17)
	chip := loadedChip(t)
	makeCard(t, chip, s, record)
	t.Logf("%d steps, %d bytes on the wire at most", len(s.Steps()), s.Wire(0x03).Bytes())

	isim := uicc.Command{INS: uicc.INSSelect, P1: 0x04, P2: 0x0C, Data: []byte{0xA0, 0, 0, 0, 0x87, 0x10, 0x04, 0xFF, 0x91, 0xFF, 0x01, 0x89}}
	for _, x := range []struct {
		name string
		read uicc.Command
		want string
	}{
		{"EF.IMPI", uicc.Command{INS: uicc.INSReadBinary, P1: 0x82, Le: 64}, "404990000000017@ims.mnc099.mcc404.3gppnetwork.org"},
		{"EF.DOMAIN", uicc.Command{INS: uicc.INSReadBinary, P1: 0x85, Le: 48}, "ims.mnc099.mcc404.3gppnetwork.org"},
		{"EF.IMPU", uicc.Command{INS: uicc.INSReadRecord, P1: 1, P2: 0x24, Le: 80}, "sip:404990000000017@ims.mnc099.mcc404.3gppnetwork.org"},
	} {
		send(t, chip, isim)
		ef, _ := uicc.FindEF(uicc.DirISIM, x.name)
		v, err := ef.Codec.Decode(send(t, chip, x.read))
		if err != nil || v.Text != x.want {
			t.Errorf("%s is %s, error %v, want %s", x.name, v, err, x.want)
		}
	}

	l := s.Layout()
	m, err := aka.New(l.Of(record, profile.SlotK), l.Of(record, profile.SlotOPC))
	if err != nil {
		t.Fatal(err)
	}
	rand := aka.RAND{4, 5, 6}
	v := m.Vector(rand, 32, aka.EPS())
	send(t, chip, isim)
	data := append(append([]byte{16}, rand[:]...), append([]byte{16}, v.AUTN[:]...)...)
	answer := send(t, chip, uicc.Command{INS: uicc.INSAuthenticate, P2: 0x81, Data: data, Le: 256})
	if want := append([]byte{0xDB, 8}, v.RES()...); !bytes.HasPrefix(answer, want) {
		t.Errorf("the ISIM answers %X, want DB and RES", answer)
	}
}

// A card of another network than its names say is not made.
func TestDerivedNamesOfAnotherNetwork(t *testing.T) {
	p := fullProfile(t)
	s, err := profile.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	record := cardRecord(t, p, 17)
	imsi, err := sim.ParseIMSI("404980000000017")
	if err != nil {
		t.Fatal(err)
	}
	ef := imsi.EF()
	copy(s.Layout().Of(record, profile.SlotIMSI), ef[:])
	if err := s.Write(ctx, openChannel(t, loadedChip(t)), makerKeys(t), record); !errors.Is(err, profile.ErrRecord) || !strings.Contains(err.Error(), "40499") {
		t.Errorf("Write: %v, want ErrRecord and the network", err)
	}
}

// A machine of others puts the digits in under a name of their own.
func TestDerivedNamesInLines(t *testing.T) {
	s, err := profile.Compile(fullProfile(t))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := s.WritePCOM(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{";   %IMSI_DIGITS  15 bytes  the 15 digits of the IMSI in ASCII", "8031 %IMSI_DIGITS 40696D732E"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the lines do not hold %q", want)
		}
	}
}

// Digits of an IMSI stand anywhere in a text or in hex, and a document says
// again what it said.
func TestDigitsInTexts(t *testing.T) {
	p := fullProfile(t, `value: "${IMPI}"`, `value: "0${IMSI.digits}@wlan.mnc099.mcc404.3gppnetwork.org"`,
		`value: ["${IMPU}"]`, `hex: ["8013${IMSI.digits}2E636F6D", ""]`,
		`EF.Routing_Indicator: {value: "0"}`, "EF.Routing_Indicator: {value: \"0\"}\n        EF.SUPI_NAI: {size: 60, value: {nsi: \"${SUPI_NAI}\"}}")
	text := p.String()
	again, err := profile.Parse("again.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if again.String() != text {
		t.Error("the canonical form is another one the second time")
	}
	var b bytes.Buffer
	if err := p.Describe(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"0${IMSI.digits}@wlan.mnc099", "{nsi: ${IMSI.digits}@5gc.mnc099.mcc404.3gppnetwork.org}", "EF.ACC                  6F78  06   transparent   2         pin1-adm1     ${ACC}"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the listing has no %q:\n%s", want, b.String())
		}
	}
}

func TestDigitsWhereNoneCanStand(t *testing.T) {
	doc, err := os.ReadFile("profiles/" + full + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ old, new, want string }{
		{"full: Setu Mobile", `full: "${IMSI.digits}"`, "stands where no text can"},
		{"number: \"198\"", `number: "${IMSI.digits}"`, "is not a digit"},
		{`value: "${IMPI}"`, `hex: "8031${IMPI}"`, "unknown slot"},
	} {
		if !strings.Contains(string(doc), x.old) {
			t.Fatalf("the built-in profile has no %q", x.old)
		}
		_, err := profile.Parse("bad.yaml", []byte(strings.Replace(string(doc), x.old, x.new, 1)))
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", x.new, err, x.want)
		}
	}
}
