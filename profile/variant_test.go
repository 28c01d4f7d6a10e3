package profile_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"ankan/profile"
	"ankan/uicc"
)

// variant is the built-in profile with one more file and other replacements.
func variant(t testing.TB, replace ...string) (*profile.Profile, *profile.Script) {
	t.Helper()
	b, err := os.ReadFile("profiles/in-5g-usim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	doc := strings.Replace(string(b), "unblock: PUK1, enabled: false", "unblock: PUK1, enabled: true", 1)
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(doc, replace[i]) {
			t.Fatalf("the built-in profile has no %q", replace[i])
		}
		doc = strings.Replace(doc, replace[i], replace[i+1], 1)
	}
	p, err := profile.Parse("variant.yaml", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	s, err := profile.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return p, s
}

// Contents of every shape reach the card as they are, whatever way Compile
// chose, and over T=0 as well as T=1.
func TestContents(t *testing.T) {
	const gid, rules = "      EF.GID1: {hex: \"01\"}\n", "  pin1-adm1:"
	counting := make([]byte, 600)
	for i := range counting {
		counting[i] = byte(i) * 7
	}
	for _, x := range []struct{ name, file, rule string }{
		{"long", "EF.X: {id: 6E01, kind: transparent, access: always-adm1, hex: \"" + bytesHex(counting) + "\"}", ""},
		{"long, repeated", "EF.X: {id: 6E01, kind: transparent, size: 2000, access: always-adm1, fill: \"00\"}", ""},
		{"period", "EF.X: {id: 6E01, kind: transparent, access: always-adm1, hex: \"" + strings.Repeat("A1B2C3", 90) + "\"}", ""},
		{"slots across borders", "EF.X: {id: 6E01, kind: transparent, access: always-adm1, hex: \"" + bytesHex(counting[:235]) + "${ICCID}" + bytesHex(counting[:6]) + "${MSISDN}" + bytesHex(counting[:215]) + "${IMSI}\"}", ""},
		{"slot then fill", "EF.X: {id: 6E01, kind: transparent, size: 20, access: always-adm1, hex: \"${IMSI}\"}", ""},
		{"slots in records", "EF.X: {id: 6E01, kind: linear fixed, record-size: 20, records: 4, access: always-adm1, fill: \"0102\", hex: [\"${ACC}\", \"\", \"05${IMSI}\"]}", ""},
		{"equal records", "EF.X: {id: 6E01, kind: linear fixed, record-size: 4, access: always-adm1, hex: [\"01020304\", \"01020304\", \"01020305\"]}", ""},
		{"one long record", "EF.X: {id: 6E01, kind: linear fixed, record-size: 230, access: always-adm1, hex: [\"" + bytesHex(counting[:230]) + "\"]}", ""},
		{"cyclic", "EF.X: {id: 6E01, kind: cyclic, record-size: 3, records: 3, access: always-adm1, hex: [\"010203\", \"040506\"]}", ""},
		{"data objects", "EF.X: {id: 6E01, kind: BER-TLV, size: 1024, access: always-adm1, hex: [\"8003010203\", \"7F490A${IMSI}00\", \"81820202${MSISDN}" + bytesHex(counting[:502]) + "\", \"8200\"]}", ""},
		{"no data objects", "EF.X: {id: 6E01, kind: BER-TLV, sfi: \"1C\", size: 64, access: always-adm1}", ""},
		{"behind ADM1", "EF.X: {id: 6E01, kind: transparent, access: adm, hex: \"0102\"}", "  adm: {read: adm1}\n"},
		{"link", "EF.Z: {id: 6E02, access: always-adm1, link: MF/ADF.USIM/EF.X}\n      EF.X: {id: 6E01, access: always-adm1, link: MF/ADF.USIM/EF.MSISDN}", ""},
		{"behind ADM3", "EF.X: {id: 6E01, kind: transparent, access: adm, hex: \"0102\"}", "  adm: {read: adm3}\n"},
		{"behind PIN2", "EF.X: {id: 6E01, kind: transparent, access: two, hex: \"0102\"}", "  two: {read: pin2}\n"},
		{"behind two codes", "EF.X: {id: 6E01, kind: transparent, access: both, hex: \"0102\"}", "  both: {read: pin2 and adm1}\n"},
		{"nested", "DF.X: {id: 5F77, access: dir, DF.Y: {id: 5F78, access: dir, EF.X: {id: 6E01, kind: transparent, access: always-adm1, hex: \"0102\"}}}", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			p, s := variant(t, gid, gid+"      "+x.file+"\n", rules, x.rule+rules, "keys:\n", "  adm3: {reference: \"0C\", slot: ADM3, tries: 5, digits: 8}\nkeys:\n")
			record := cardRecord(t, p, 21)
			for _, direct := range []bool{true, false} {
				makeCard(t, loadedChipOver(t, direct), s, record)
			}
			if len(s.Unread()) > 0 {
				t.Errorf("unread: %v", s.Unread())
			}
		})
	}
}

func bytesHex(b []byte) string {
	const digits = "0123456789ABCDEF"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

func TestUnread(t *testing.T) {
	_, s := variant(t, "      EF.GID1: {hex: \"01\"}", "      EF.GID1: {hex: \"01\", access: hidden}", "  pin1-adm1:", "  hidden: {update: adm1}\n  pin1-adm1:")
	u := s.Unread()
	if len(u) != 1 || u[0].File != "MF/ADF.USIM/EF.GID1" || u[0].Reason == "" {
		t.Errorf("unread: %v, want EF.GID1", u)
	}
}

// recorder keeps the instruction bytes of what is sent.
type recorder struct {
	uicc.Card
	sent []byte
}

func (r *recorder) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	r.sent = append(r.sent, cmd[1])
	return r.Card.Transmit(ctx, cmd)
}

// With the PIN off nothing is presented to the card.
func TestDisabledPINIsNotPresented(t *testing.T) {
	p, s := variant(t, "unblock: PUK1, enabled: true", "unblock: PUK1, enabled: false")
	chip, record := loadedChip(t), cardRecord(t, p, 22)
	makeCard(t, chip, s, record)
	chip.Reset()
	r := &recorder{Card: chip}
	if err := s.ReadBack(ctx, r, record); err != nil {
		t.Fatal(err)
	}
	if bytes.IndexByte(r.sent, uicc.INSVerify) >= 0 {
		t.Error("a code was presented")
	}
}

// Before anything was written there is nothing to read: the first command fails.
func TestReadBackOfAnEmptyChip(t *testing.T) {
	p, s := compile(t)
	chip := loadedChip(t)
	chip.Reset()
	var step *profile.StepError
	if err := s.ReadBack(ctx, chip, cardRecord(t, p, 1)); !errors.As(err, &step) || step.SW == 0 || step.Error() == "" {
		t.Errorf("%v, want a status word", err)
	}
}

// Nothing that the script says or fails with shows a secret.
func TestErrorsHoldNoSecret(t *testing.T) {
	p, s := compile(t)
	record := cardRecord(t, p, 23)
	l := s.Layout()
	for stop := range len(s.Steps()) {
		err := s.Write(ctx, &cutCard{Card: openChannel(t, loadedChip(t)), left: stop}, makerKeys(t), record)
		if err == nil {
			t.Fatal("a cut session ends well")
		}
		for id := profile.SlotPIN1; id <= profile.SlotSCP80KIK; id++ {
			secret := l.Of(record, id)
			if strings.Contains(err.Error(), string(secret)) || strings.Contains(strings.ToUpper(err.Error()), bytesHex(secret)) {
				t.Errorf("step %d shows %v", stop+1, id)
			}
		}
	}
}

// A shared PIN2 is one for the whole card: files outside of the USIM ask for it
// and get it.
func TestSharedCode(t *testing.T) {
	p, s := variant(t, "slot: PIN2,", "slot: PIN2, shared: true,", "  pin1-adm1:", "  two: {read: pin2, update: pin2}\n  pin1-adm1:",
		"    DF.TELECOM:\n      access: dir\n", "    DF.TELECOM:\n      access: dir\n      EF.X: {id: 6E01, kind: transparent, access: two, hex: \"0102\"}\n",
		"      EF.GID1: {hex: \"01\"}", "      EF.GID1: {hex: \"01\", access: two}")
	record := cardRecord(t, p, 24)
	makeCard(t, loadedChip(t), s, record)
	if len(s.Unread()) > 0 {
		t.Errorf("unread: %v", s.Unread())
	}
	chip := loadedChip(t)
	if err := s.Write(ctx, openChannel(t, chip), makerKeys(t), record); err != nil {
		t.Fatal(err)
	}
	chip.Reset()
	card := uicc.NewSession(chip)
	var status *uicc.StatusError
	if _, err := card.ReadFile(ctx, 0x3F00, 0x7F10, 0x6E01); !errors.As(err, &status) || status.SW != uicc.SWSecurity {
		t.Errorf("a file behind PIN2 reads without it: %v", err)
	}
}

// play has a chip answer a burst as stations do: each answer must be what the
// step wants.
func play(t *testing.T, chip uicc.Card, b *uicc.Burst, unwrap func(uicc.Response) (uicc.Response, error)) *uicc.Answers {
	t.Helper()
	a := new(uicc.Answers)
	n := 0
	for s := range b.All() {
		n++
		answer, sw, err := uicc.Exchange(ctx, chip, s.Command, nil)
		if err != nil || !s.Want.Met(sw) {
			t.Fatalf("step %d: %v, %v", n, sw, err)
		}
		answer = append(answer, byte(sw>>8), byte(sw))
		if unwrap != nil {
			plain, err := unwrap(answer)
			if err != nil {
				t.Fatal(err)
			}
			answer = plain
		}
		if err := a.Add(func(dst []byte) ([]byte, error) { return append(dst, answer...), nil }); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// Data objects of several blocks go over in bursts too.
func TestDataObjectsInBursts(t *testing.T) {
	p, s := variant(t, "      EF.GID1: {hex: \"01\"}\n", "      EF.GID1: {hex: \"01\"}\n"+
		"      EF.X: {id: 6E01, kind: BER-TLV, size: 1024, access: always-adm1, hex: [\"81820200"+strings.Repeat("A5", 512)+"\", \"8003010203\"]}\n")
	record := cardRecord(t, p, 32)
	for _, direct := range []bool{true, false} {
		chip := loadedChipOver(t, direct)
		channel := openChannel(t, chip)
		var b uicc.Burst
		if err := s.AddWrite(&b, channel.Wrap, makerKeys(t), record); err != nil {
			t.Fatal(err)
		}
		if err := s.Wrote(play(t, chip, &b, channel.Unwrap), record); err != nil {
			t.Fatal(err)
		}
		chip.Reset()
		b.Clear()
		if err := s.AddReadBack(&b, record); err != nil {
			t.Fatal(err)
		}
		if err := s.ReadOf(play(t, chip, &b, nil), record); err != nil {
			t.Fatal(err)
		}
	}
}
