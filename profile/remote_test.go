package profile_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"ankan/gp"
	"ankan/profile"
	"ankan/scp"
	"ankan/uicc"
)

// A server changes a file of a card that the script made, with a packet over
// ENVELOPE; what the profile does not let it do it cannot.
func TestRemoteManagement(t *testing.T) {
	p, s := variant(t, "files:\n", profile.RemoteSection+"files:\n")
	if p.Remote[2].Manages != "ADF.USIM" {
		t.Errorf("an application by its AID is %s", p.Remote[2].Manages)
	}
	record := cardRecord(t, p, 3)
	chip := loadedChip(t)
	makeCard(t, chip, s, record)
	l := s.Layout()
	set := scp.KeyRef(p.SCP80.Version<<4 | 2)
	keys, err := scp.NewPacketKeys(l.Of(record, profile.SlotSCP80KIC), l.Of(record, profile.SlotSCP80KID), scp.PacketOptions{KIC: set, KID: set})
	if err != nil {
		t.Fatal(err)
	}
	done := uint64(0) // packets, which the card counts
	run := func(tar scp.TAR, spi scp.SPI, script string) (scp.PacketStatus, string) {
		t.Helper()
		data, err := hex.DecodeString(strings.ReplaceAll(script, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		sent := scp.Packet{SPI: spi | scp.SPIPoR | scp.SPIPoRCC, TAR: tar, Counter: done + 1, Data: data}
		packet, err := keys.Seal(nil, sent)
		if err != nil {
			t.Fatal(err)
		}
		parts, err := scp.Messages(scp.CommandPacket, packet, 1)
		if err != nil || len(parts) != 1 {
			t.Fatalf("%d messages, error %v", len(parts), err)
		}
		cmd, err := scp.Download(parts[0], scp.Address{Type: 0x91, Digits: 4, BCD: []byte{0x21, 0x43}}, [7]byte{})
		if err != nil {
			t.Fatal(err)
		}
		receipt, _, err := new(scp.Assembler).Add(send(t, chip, cmd))
		if err != nil {
			t.Fatal(err)
		}
		a, err := keys.OpenAnswer(receipt, sent)
		if err != nil {
			t.Fatal(err)
		}
		if a.Status == scp.PacketOK {
			done++
		}
		return a.Status, fmt.Sprintf("%X", a.Data)
	}
	const signed, ciphered = scp.SPICC | scp.SPIOneHigher, scp.SPICC | scp.SPICipher | scp.SPIHigher
	const updateSPN = "00A4000402 6F46 00D6000002 0141"
	for _, x := range []struct {
		name   string
		tar    scp.TAR
		spi    scp.SPI
		script string
		status scp.PacketStatus
		answer string
	}{
		{"level is too low", 0xB00011, scp.SPICC | scp.SPIHigher, updateSPN, scp.PacketLevel, ""},
		{"no such TAR", 0xB00012, signed, updateSPN, scp.PacketTARUnknown, ""},
		{"no access", 0xB00000, ciphered, "00A4000002 2F05 00D6000001 41", scp.PacketOK, "026982"},
		{"not ciphered", 0xB00000, signed, "00A4000402 2F05", scp.PacketLevel, ""},
		{"another code's", 0xB00010, signed, "00A4000002 6F39 00D6000001 41", scp.PacketOK, "016A82"},
		{"shared files, too", 0xB00011, signed, "00A4000002 3F00 00A4000002 2FE2 00B0000001", scp.PacketOK, "03900098"},
		{"EF.SPN", 0xB00010, signed, updateSPN, scp.PacketOK, "029000"},
	} {
		if status, answer := run(x.tar, x.spi, x.script); status != x.status || answer != x.answer {
			t.Errorf("%s: status %02X, answer %s, want %02X, %s", x.name, byte(status), answer, byte(x.status), x.answer)
		}
	}
	chip.Reset()
	u := uicc.NewSession(chip)
	if _, err := u.SelectAID(ctx, []byte{0xA0, 0, 0, 0, 0x87, 0x10, 0x02}); err != nil {
		t.Fatal(err)
	}
	spn, err := u.ReadFile(ctx, 0x6F46)
	if err != nil || !bytes.HasPrefix(spn, []byte{0x01, 0x41}) {
		t.Errorf("EF.SPN holds %X, error %v; want what the server wrote", spn, err)
	}
}

// Applications reach the card over T=0 and T=1, answer with what they were given,
// and stand in the registry; a try that broke off is begun again.
func TestApplications(t *testing.T) {
	p, s := variant(t, "files:\n", profile.ApplicationSection(t)+"files:\n")
	record := cardRecord(t, p, 5)
	for _, direct := range []bool{true, false} {
		chip := loadedChipOver(t, direct)
		broken := &breaking{Card: openChannel(t, chip), at: len(s.Steps()) - 4}
		var step *profile.StepError
		if err := s.Write(ctx, broken, makerKeys(t), record); !errors.As(err, &step) || step.Err != errBroken {
			t.Fatal(err)
		}
		makeCard(t, chip, s, record)
		u := uicc.NewSession(chip)
		wallet, _ := hex.DecodeString(profile.WalletAID)
		send(t, chip, uicc.Command{INS: uicc.INSSelect, P1: 0x04, P2: 0x0C, Data: wallet})
		if got := send(t, chip, uicc.Command{CLA: 0x80, INS: uicc.INSGetData, P1: 1, P2: 2, Le: 10}); !bytes.Equal(got, s.Layout().Of(record, profile.SlotICCID)) {
			t.Errorf("DGI 0102 is %X, want the ICCID", got)
		}
		for _, aid := range []string{profile.LockedAID, profile.IdleAID} {
			b, _ := hex.DecodeString(aid)
			if _, err := u.SelectAID(ctx, b); !errors.Is(err, uicc.SWFileNotFound) {
				t.Errorf("SELECT %s: %v", aid, err)
			}
		}
		keys, err := s.NewKeys(record)
		if err != nil {
			t.Fatal(err)
		}
		chip.Reset()
		ch, err := scp.Open(ctx, chip, keys, scp.Options{KeyVersion: 0x30, Level: scp.Full})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range s.Registry() {
			got, err := gp.Registry(ctx, ch, l.Scope, nil)
			if err != nil || len(got) != len(l.Entries) {
				t.Fatalf("%02X: %d entries, error %v, want %d", byte(l.Scope), len(got), err, len(l.Entries))
			}
			for _, want := range l.Entries {
				if !slices.ContainsFunc(got, func(e gp.Entry) bool { return bytes.Equal(e.Append(nil), want.Append(nil)) }) {
					t.Errorf("%02X: nothing is %X\n%v", byte(l.Scope), want.Append(nil), got)
				}
			}
		}
		// A value that is another is found.
		l := s.Layout()
		other := bytes.Clone(record)
		copy(l.Of(other, profile.SlotMSISDN), "919800000018")
		chip.Reset()
		var m *profile.Mismatch
		if err := s.ReadBack(ctx, chip, other); !errors.As(err, &m) || m.File != "application "+profile.WalletAID+"/DGI 0103" {
			t.Errorf("%v, want a mismatch in DGI 0103", err)
		}
	}
	if u := fmt.Sprint(s.Unread()); u != "[{application "+profile.LockedAID+" it is locked}]" {
		t.Errorf("unread: %s", u)
	}
	if _, plain := compile(t); plain.Registry() != nil {
		t.Error("a profile without applications has a registry to read")
	}
}

var errBroken = errors.New("broken off")

// breaking is a card that is gone after some commands.
type breaking struct {
	uicc.Card
	at int
}

func (c *breaking) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	if c.at--; c.at < 0 {
		return nil, errBroken
	}
	return c.Card.Transmit(ctx, cmd)
}

// What crosses the wire is told to the byte, and the export says every command.
func TestApplicationsOnTheWire(t *testing.T) {
	p, s := variant(t, "files:\n", profile.RemoteSection+profile.ApplicationSection(t)+"files:\n")
	for _, level := range []scp.Level{scp.Commands, scp.Full} {
		count := &counter{Card: loadedChip(t)}
		ch, err := scp.Open(ctx, count.reset(t), makerKeys(t), scp.Options{KeyVersion: 0x30, Level: level})
		if err != nil {
			t.Fatal(err)
		}
		count.Wire = uicc.Wire{}
		if err := s.Write(ctx, ch, makerKeys(t), cardRecord(t, p, 1)); err != nil {
			t.Fatal(err)
		}
		if want := s.Wire(level); count.Wire != want {
			t.Errorf("%+v crossed the interface, Wire says %+v", count.Wire, want)
		}
	}
	var b strings.Builder
	if err := s.WritePCOM(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"; STORE DATA remote management of MF\n80E2800010 A002050000001600A00205B0000016FF (9000)", "80E2800016 A00208B000101A02000100A00208B000111A02000100 (9000)", "; INSTALL [for load] " + profile.PackageAID + "\n80E60200",
		"; LOAD " + profile.PackageAID + " 3\n80E88002", "; INSTALL [for install] " + profile.WalletAID + "\n80E60C00", "; STORE DATA " + profile.WalletAID + " 1\n80E20800", "010102A1B201020A %ICCID 01030C %MSISDN (9000)",
		"; STORE DATA " + profile.WalletAID + " 2\n80E28801", "; SET STATUS " + profile.LockedAID + " 87\n80F0408707", "; READ application " + profile.WalletAID + "/DGI 0102\n80CA01020A [%ICCID] (9000)",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the export lacks %q", want)
		}
	}
}

// A CAP file beside the document and its code in the document are one profile.
func TestApplicationFromFile(t *testing.T) {
	inline, _ := variant(t, "files:\n", profile.ApplicationSection(t)+"files:\n")
	doc := strings.Replace(inline.String(), "  code: \""+base64.StdEncoding.EncodeToString(slices.Concat(profile.Components(t)...))+"\"", "  cap: apps/wallet.cap", 1)
	folder := fstest.MapFS{"apps/wallet.cap": {Data: profile.JAR(t)}, "apps/broken.cap": {Data: profile.JAR(t)[:200]}, "apps/long.cap": {Data: make([]byte, 1<<20+1)}}
	p, err := profile.ParseIn(folder, "file.yaml", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	if p.String() != inline.String() || p.Digest() != inline.Digest() {
		t.Error("the canonical forms differ")
	}
	for _, x := range []struct{ old, new, want string }{
		{"apps/wallet.cap", "apps/none.cap", "file does not exist"},
		{"apps/wallet.cap", "../wallet.cap", "want a path from the document's folder downwards"},
		{"apps/wallet.cap", "apps/broken.cap", "apps/broken.cap: gp: CAP file"},
		{"apps/wallet.cap", "apps/long.cap", "more than 1048576 bytes"},
	} {
		_, err := profile.ParseIn(folder, "file.yaml", []byte(strings.Replace(doc, x.old, x.new, 1)))
		if !errors.Is(err, profile.ErrDocument) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %s", x.new, err, x.want)
		}
	}
	if _, err := profile.Parse("file.yaml", []byte(doc)); err == nil || !strings.Contains(err.Error(), "is not at hand where this document is read; give its code in base64") {
		t.Errorf("Parse: %v", err)
	}
}

// What the sections of remote management and applications say has one form, and
// differences are told one by one.
func TestApplicationsDiffer(t *testing.T) {
	sections := profile.RemoteSection + profile.ApplicationSection(t)
	a, _ := variant(t, "files:\n", sections+"files:\n")
	plain, _ := compile(t)
	again, err := profile.Parse("again.yaml", []byte(a.String()))
	if err != nil || again.String() != a.String() || len(profile.Diff(a, again)) > 0 {
		t.Fatalf("the canonical form is another profile: %v\n%v", err, profile.Diff(a, again))
	}
	var b strings.Builder
	if err := a.Describe(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"TAR B00010, B00011, manages ADF.USIM, level {check: cc, cipher: false, counter: one-higher}, access [adm1]",
		"application " + profile.WalletAID, "[cvm-management, final-application], \"0F\", 0101: A1B2, 0102: ${ICCID}"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the listing lacks %s\n%s", want, b.String())
		}
	}
	for _, x := range []struct{ old, new, want string }{
		{"access: [adm1]}", "access: none}", "~ remote/usim: tar: [\"B00010\", \"B00011\"], manages: \"ADF.USIM\", level: {check: cc, cipher: false, counter: one-higher}, access: [adm1] -> "},
		{"name: shared", "name: mf", "- remote/shared: tar: [\"B00000\"]"},
		{"life-cycle: \"0F\"", "life-cycle: selectable", "~ applications/" + profile.WalletAID + " instance: module " + profile.AppletAID + ", privileges [cvm-management, final-application], \"0F\" -> "},
		{"[cvm-management, final-application]", "\"020201\"", "\"020201\", \"0F\""},
		{"C9020102", "C9020103", "parameters: C9020102 -> C9020103"},
		{`"${ICCID}"`, `"${IMSI}"`, "DGI 0102: ${ICCID} -> ${IMSI}"},
		{`    - {dgi: "0101", value: A1B2}` + "\n", "", "- applications/" + profile.WalletAID + " DGI 0101: A1B2"},
		{profile.WalletAID, "F00000000104", "+ applications/F00000000104 instance"},
	} {
		p, err := profile.Parse("b.yaml", []byte(strings.Replace(plain.String(), "files:\n", strings.Replace(sections, x.old, x.new, 1)+"files:\n", 1)))
		if err != nil {
			t.Errorf("%s: %v", x.new, err)
			continue
		}
		if got := fmt.Sprint(profile.Diff(a, p)); !strings.Contains(got, x.want) {
			t.Errorf("%s: %s, want %s", x.new, got, x.want)
		}
		if there, back := profile.Diff(a, p), profile.Diff(p, a); len(there) != len(back) {
			t.Errorf("%s: %d changes there, %d back", x.new, len(there), len(back))
		}
	}
}
