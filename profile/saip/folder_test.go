package saip_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ankan/profile"
	"ankan/profile/saip"
	"ankan/scp"
	"ankan/sim"
	"ankan/simos"
	"ankan/uicc"
)

var ctx = context.Background()

func makerKeys(t testing.TB) scp.KeySet {
	t.Helper()
	k := bytes.Repeat([]byte{0x40}, 32)
	keys, err := scp.NewKeySet(k, k, k)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// loadedChip is a chip with its operating system and without files.
func loadedChip(t testing.TB) *simos.Chip {
	t.Helper()
	vendor := ed25519.NewKeyFromSeed(make([]byte, 32))
	chip, err := simos.NewChip(simos.Config{
		Serial: simos.Serial{1, 2, 3, 4, 5, 6, 7, 8}, Lot: "LOT-1", Keys: makerKeys(t),
		Vendor: vendor.Public().(ed25519.PublicKey), Seed: make([]byte, 16), Direct: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	image, err := simos.Image{Name: "ankan", Version: "1", Algorithms: []string{"MILENAGE"}, Body: []byte{1}}.Sign(vendor)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := uicc.NewSession(openChannel(t, chip)).Do(ctx, uicc.Command{CLA: 0x80, INS: uicc.INSLoad, P1: 0x80, Data: image}); err != nil {
		t.Fatal(err)
	}
	return chip
}

func openChannel(t testing.TB, chip *simos.Chip) *scp.Channel {
	t.Helper()
	chip.Reset()
	ch, err := scp.Open(ctx, chip, makerKeys(t), scp.Options{KeyVersion: 0x30, Level: scp.Full})
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// cardRecord is the record of one card of the profile.
func cardRecord(t testing.TB, p *profile.Profile) []byte {
	t.Helper()
	iccid, err := sim.ICCIDFromBody("899199000000000017")
	if err != nil {
		t.Fatal(err)
	}
	plmn := p.PLMN.String()
	imsi, err := sim.ParseIMSI(plmn + strings.Repeat("1", 15-len(plmn)))
	if err != nil {
		t.Fatal(err)
	}
	var record []byte
	for _, s := range p.Slots() {
		slot := bytes.Repeat([]byte{0x50 + byte(s.ID)}, s.Len)
		switch {
		case s.ID == profile.SlotICCID:
			ef := iccid.EF()
			slot = ef[:]
		case s.ID == profile.SlotIMSI:
			ef := imsi.EF()
			slot = ef[:]
		case s.ID == profile.SlotACC:
			slot = []byte{byte(imsi.ACC() >> 8), byte(imsi.ACC())}
		case s.ID == profile.SlotMSISDN:
			slot = []byte("919800000017\xFF\xFF\xFF")
		case s.Kind == profile.RandomDigits:
			slot = []byte(strings.Repeat("5", s.Digits) + strings.Repeat("\xFF", 8-s.Digits))
		}
		record = append(record, slot...)
	}
	return record
}

// makeCard makes a card of the profile and reads it back. It returns what cannot
// be read.
func makeCard(t testing.TB, p *profile.Profile) (*simos.Chip, *profile.Script, []profile.Unread) {
	t.Helper()
	script, err := profile.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	chip, record := loadedChip(t), cardRecord(t, p)
	if err := script.Write(ctx, openChannel(t, chip), makerKeys(t), record); err != nil {
		t.Fatal(err)
	}
	chip.Reset()
	if err := script.ReadBack(ctx, chip, record); err != nil {
		t.Fatal(err)
	}
	return chip, script, script.Unread()
}

// TestFolder takes packages all the way: import, findings, card, read back. They
// are real ones in the folder that ANKAN_SAIP names, or else our own.
func TestFolder(t *testing.T) {
	dir, set := os.LookupEnv("ANKAN_SAIP")
	if !set {
		dir = "testdata"
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.der"))
	if err != nil || len(files) == 0 {
		t.Fatalf("folder %q has no packages, *.der", dir)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			der, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			x, err := saip.Import(der, saip.Options{Algorithm: "MILENAGE"})
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range append(x.NotTaken, x.Changed...) {
				t.Log(n)
			}
			found := x.Profile.Check()
			for _, n := range found {
				t.Log("finding: ", n)
			}
			p, err := x.Profile.Accept("as in the package")
			if err != nil {
				t.Fatal(err)
			}
			_, script, unread := makeCard(t, p)
			count := 0
			for range p.All() {
				count++
			}
			t.Logf("%d elements, %d files, %d steps, %d bytes of content, %d on the wire, not readable: %v",
				x.Elements, count, len(script.Steps()), script.Content(), script.Wire(scp.Full).Bytes(), fmt.Sprint(unread))
		})
	}
}
