package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"

	"ankan/profile"
	"ankan/scp"
	"ankan/sim"
	"ankan/simos"
	"ankan/uicc"
)

// testIMSI begins every test card's IMSI: the test network of TS 31.102's and
// ITU-T E.212's kind, which no operator has.
const testIMSI = "00101"

// maxTestCards bounds one run.
const maxTestCards = 10_000

type cardMakeCmd struct {
	Profile string `required:"" placeholder:"FILE" help:"Profile of the cards: a file, or builtin:NAME." complete:"files"`
	Out     string `required:"" placeholder:"DIR" type:"path" help:"New folder for the cards and cards.csv with their values."`
	Count   int    `default:"1" help:"How many."`
	IMSI    string `name:"imsi" placeholder:"IMSI" help:"IMSI of the first, 00101 and ten digits; drawn if left out."`
	SCP02   bool   `name:"scp02" help:"Chips that speak SCP02 with triple DES keys, and keep them: for tools that know nothing newer."`
	JSON    bool   `help:"Print JSON."`
}

func (c cardMakeCmd) Run(a *app) error {
	if c.Count < 1 || c.Count > maxTestCards {
		return fmt.Errorf("%d cards, want 1 to %d", c.Count, maxTestCards)
	}
	p, err := profileFlag{c.Profile}.load()
	if err == nil {
		p, err = ofTestNetwork(p)
	}
	if err != nil {
		return err
	}
	script, err := profile.Compile(p)
	if err != nil {
		return err
	}
	first, err := firstTestIMSI(c.IMSI, c.Count)
	if err != nil {
		return err
	}
	if err := os.Mkdir(c.Out, 0o700); err != nil {
		return fmt.Errorf("%w; give a new folder", err)
	}
	path := filepath.Join(c.Out, "cards.csv")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	m := tester{profile: p, script: script, layout: p.Layout(), old: c.SCP02, out: csv.NewWriter(f)}
	if m.old {
		m.script = script.KeepKeys()
	}
	if m.vendor, m.signer, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return err
	}
	m.image, err = (simos.Image{Name: "ankan-reference", Version: "1.0", Algorithms: []string{p.Algorithm}, Body: []byte("test")}).Sign(m.signer)
	if err != nil {
		return err
	}
	m.out.Write(m.head())
	type made struct {
		ICCID string `json:"iccid"`
		IMSI  string `json:"imsi"`
		File  string `json:"file"`
	}
	var cards []made
	for i := range c.Count {
		imsi, err := first.Add(uint64(i))
		if err != nil {
			return err
		}
		iccid, err := sim.ICCIDFromBody("89001010" + imsi.String()[len(testIMSI):])
		if err != nil {
			return err
		}
		chip, err := m.make(a.ctx, sim.Identity{ICCID: iccid, IMSI: imsi})
		if err != nil {
			return fmt.Errorf("card %s: %w", imsi, err)
		}
		file := filepath.Join(c.Out, chip.Serial().String()+".chip")
		if err := simos.SaveChip(file, chip); err != nil {
			return err
		}
		cards = append(cards, made{iccid.String(), imsi.String(), file})
	}
	m.out.Flush()
	if err := errors.Join(m.out.Error(), f.Sync()); err != nil {
		return err
	}
	return a.print(c.JSON, map[string]any{"test": true, "cards": cards, "values": path}, func() {
		a.printf("TEST CARDS of profile %s %s, with test keys. Their values are in clear in %s; use them for nothing else.\n", p.Name, p.Version, short(path))
		rows := [][]string{}
		for _, m := range cards {
			rows = append(rows, []string{m.ICCID, m.IMSI, short(m.File)})
		}
		a.table([]string{"ICCID", "IMSI", "CARD"}, rows)
		a.next("ankan card auth --file %s --values %s", short(cards[0].File), short(path))
	})
}

// ofTestNetwork is the profile with the test network in the place of its own,
// wherever its canonical form has that one: as the operator's, coded in files,
// and in names (TS 23.003, 13). A network with an MNC of 3 digits stays: its
// cards' IMSIs would be another network's.
func ofTestNetwork(p *profile.Profile) (*profile.Profile, error) {
	to, err := sim.ParsePLMN(testIMSI)
	if err != nil || p.PLMN == to || p.PLMN.MNCDigits() != to.MNCDigits() {
		return p, err
	}
	name := func(n sim.PLMN) string {
		return fmt.Sprintf("%X", fmt.Sprintf("mnc0%s.mcc%s", n.MNC(), n.MCC()))
	}
	from, own := p.PLMN.Bytes(), to.Bytes()
	doc := strings.NewReplacer(fmt.Sprintf("plmn: %q", p.PLMN), fmt.Sprintf("plmn: %q", to), name(p.PLMN), name(to),
		fmt.Sprintf("%X", from), fmt.Sprintf("%X", own)).Replace(p.String())
	return profile.Parse(p.Name+" of the test network", []byte(doc))
}

// firstTestIMSI is the IMSI of the first of n test cards. One of a network that
// may be real is refused: a site's cards are made by the site.
func firstTestIMSI(s string, n int) (sim.IMSI, error) {
	if s == "" {
		i, err := rand.Int(rand.Reader, big.NewInt(1_000_000_000))
		if err != nil {
			return sim.IMSI{}, err
		}
		s = fmt.Sprintf("%s%010d", testIMSI, i)
	}
	if !strings.HasPrefix(s, testIMSI) || len(s) != 15 {
		return sim.IMSI{}, fmt.Errorf("IMSI %q is not a test card's: want %s and ten digits; a site makes its own cards", s, testIMSI)
	}
	first, err := sim.ParseIMSI(s)
	if err != nil {
		return first, err
	}
	last, err := first.Add(uint64(n - 1))
	if err == nil && !strings.HasPrefix(last.String(), testIMSI) {
		err = fmt.Errorf("IMSI %s and %d more leave %s", s, n-1, testIMSI)
	}
	return first, err
}

// A tester makes test cards: it is chip maker, bureau and line at once, which
// is why it may not make anything else.
type tester struct {
	profile *profile.Profile
	script  *profile.Script
	layout  *profile.Layout
	vendor  ed25519.PublicKey
	signer  ed25519.PrivateKey
	image   []byte
	old     bool // chips with SCP02
	out     *csv.Writer
}

// columns of cards.csv, named as pySim does, and the slots that they show.
var testColumns = []struct {
	name string
	slot profile.SlotID
}{
	{"imsi", profile.SlotIMSI}, {"iccid", profile.SlotICCID}, {"acc", profile.SlotACC},
	{"pin1", profile.SlotPIN1}, {"puk1", profile.SlotPUK1}, {"pin2", profile.SlotPIN2}, {"puk2", profile.SlotPUK2},
	{"ki", profile.SlotK}, {"opc", profile.SlotOPC}, {"adm1", profile.SlotADM1},
	{"kic1", profile.SlotSCP80KIC}, {"kid1", profile.SlotSCP80KID}, {"kik1", profile.SlotSCP80KIK},
	{"scp03_enc", profile.SlotSCP03ENC}, {"scp03_mac", profile.SlotSCP03MAC}, {"scp03_dek", profile.SlotSCP03DEK},
}

func (m *tester) head() []string {
	head := []string{"id"}
	for _, c := range testColumns {
		if m.has(c.slot) {
			head = append(head, c.name)
		}
	}
	if m.old {
		head = append(head, "scp02_enc", "scp02_mac", "scp02_dek")
	}
	return head
}

// has says whether a card has what a slot of its record holds.
func (m *tester) has(slot profile.SlotID) bool {
	return m.layout.Has(slot) && !(m.old && slot >= profile.SlotSCP03ENC && slot <= profile.SlotSCP80KIK)
}

// row is a card's values. id is the chip.
func (m *tester) row(chip simos.Serial, id sim.Identity, record []byte) []string {
	row := []string{chip.String()}
	for _, c := range testColumns {
		b := m.layout.Of(record, c.slot)
		switch {
		case !m.has(c.slot):
		case c.slot == profile.SlotIMSI:
			row = append(row, id.IMSI.String())
		case c.slot == profile.SlotICCID:
			row = append(row, id.ICCID.String())
		case c.slot >= profile.SlotPIN1 && c.slot <= profile.SlotADM1:
			code, _, _ := bytes.Cut(b, []byte{0xFF}) // padding
			row = append(row, string(code))
		default:
			row = append(row, strings.ToUpper(hex.EncodeToString(b)))
		}
	}
	return row
}

// make draws a card's values, makes the card, reads it back, and writes the
// values down.
func (m *tester) make(ctx context.Context, id sim.Identity) (*simos.Chip, error) {
	record, err := m.draw(id)
	if err != nil {
		return nil, err
	}
	defer clear(record)
	config, keys, err := m.chip()
	if err != nil {
		return nil, err
	}
	chip, err := simos.NewChip(config)
	if err != nil {
		return nil, err
	}
	chip.Reset()
	channel, err := scp.Open(ctx, chip, keys, scp.Options{Level: scp.Commands, DES: m.old})
	if err != nil {
		return nil, err
	}
	defer channel.Close()
	if err := loadImage(ctx, channel, m.image); err != nil {
		return nil, err
	}
	if err := m.script.Write(ctx, channel, channel, record); err != nil {
		return nil, err
	}
	chip.Reset()
	if err := m.script.ReadBack(ctx, chip, record); err != nil {
		return nil, err
	}
	row := m.row(chip.Serial(), id, record)
	if m.old {
		maker, err := config.Old.Reveal(nil)
		if err != nil {
			return nil, err
		}
		defer clear(maker)
		for k := range 3 {
			row = append(row, strings.ToUpper(hex.EncodeToString(maker[16*k:16*k+16])))
		}
	}
	return chip, m.out.Write(row)
}

// chip is what a fresh chip is made of, and the keys of its maker.
func (m *tester) chip() (c simos.Config, keys scp.Static, err error) {
	var b [3*32 + 8 + 32]byte
	rand.Read(b[:])
	defer clear(b[:])
	c = simos.Config{Serial: simos.Serial(b[96:104]), Lot: testLot, Vendor: m.vendor, Seed: bytes.Clone(b[104:])}
	if m.old {
		c.Old, err = scp.NewDESKeySet(b[:16], b[32:48], b[64:80])
		return c, c.Old, err
	}
	c.Keys, err = scp.NewKeySet(b[:32], b[32:64], b[64:96])
	return c, c.Keys, err
}

// draw is a record with this identity and random keys and codes. A random OPc
// is one of some OP.
func (m *tester) draw(id sim.Identity) ([]byte, error) {
	record := make([]byte, m.layout.Size)
	for _, s := range m.profile.Slots() {
		field := m.layout.Of(record, s.ID)
		switch s.ID {
		case profile.SlotICCID:
			ef := id.ICCID.EF()
			copy(field, ef[:])
		case profile.SlotIMSI:
			ef := id.IMSI.EF()
			copy(field, ef[:])
		case profile.SlotACC:
			acc := id.IMSI.ACC()
			field[0], field[1] = byte(acc>>8), byte(acc)
		case profile.SlotMSISDN:
			copy(field, strings.Repeat("\xFF", len(field)))
		default:
			if s.Kind != profile.RandomDigits {
				rand.Read(field)
				continue
			}
			copy(field, s.Fixed+strings.Repeat("\xFF", len(field)-len(s.Fixed)))
			if s.Fixed == "" {
				if err := drawDigits(field[:s.Digits]); err != nil {
					return nil, err
				}
			}
		}
	}
	return record, nil
}

// drawDigits fills p with random decimal digits.
func drawDigits(p []byte) error {
	ten := big.NewInt(10)
	for i := range p {
		d, err := rand.Int(rand.Reader, ten)
		if err != nil {
			return err
		}
		p[i] = '0' + byte(d.Int64())
	}
	return nil
}

// loadImage sends an operating system's signed image to a blank chip (LOAD, see
// package simos).
func loadImage(ctx context.Context, card uicc.Card, image []byte) error {
	size := scp.MaxData(scp.Commands, false)
	s := uicc.NewSession(card)
	for n := 0; len(image) > 0; n++ {
		piece := image[:min(size, len(image))]
		image = image[len(piece):]
		c := uicc.Command{CLA: 0x80, INS: 0xE8, P2: byte(n), Data: piece}
		if len(image) == 0 {
			c.P1 = 0x80
		}
		if _, err := s.Do(ctx, c); err != nil {
			return fmt.Errorf("loading the operating system: %w", err)
		}
	}
	return nil
}
