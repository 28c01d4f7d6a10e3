package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"ankan/pcsc"
	"ankan/sim"
	"ankan/simos"
	"ankan/uicc"
)

type cardCmd struct {
	Read    cardReadCmd    `cmd:"" help:"Read what a card tells without a code."`
	Files   cardFilesCmd   `cmd:"" help:"Read a card's files and what they say."`
	APDU    cardAPDUCmd    `cmd:"" name:"apdu" help:"Send commands to a card."`
	Auth    cardAuthCmd    `cmd:"" help:"Have a card answer a challenge."`
	Readers cardReadersCmd `cmd:"" help:"List the PC/SC readers and what is in them."`
	Make    cardMakeCmd    `cmd:"" help:"Make software cards for tests, with keys that are drawn here."`
	Attach  cardAttachCmd  `cmd:"" help:"Put a software card into vpcd, the virtual PC/SC reader."`
}

// testLot is the lot of every card that was made for tests. No site has it.
const testLot = "TEST-CARD"

// cardFlag says which card.
type cardFlag struct {
	Reader string `placeholder:"NAME" help:"PC/SC reader with the card: its name or how that begins. Without this and the others: the only reader."`
	File   string `placeholder:"FILE" type:"path" help:"File of a software card." complete:"files"`
	drawerFlag
}

// drawerFlag is a card in a drawer of software chips. Without a serial number
// the drawer would give a fresh chip, and the line would never get it.
type drawerFlag struct {
	Drawer string `placeholder:"HOST:PORT" help:"Drawer with the card, with --chip."`
	Chip   string `placeholder:"SERIAL" help:"Serial number of the chip in the drawer, 16 hexadecimal digits."`
}

// An openCard is a card at hand.
type openCard interface {
	simos.Socketed
	Close() error
}

// open takes the card and resets it.
func (c cardFlag) open(ctx context.Context) (openCard, uicc.ATR, error) {
	ways := 0
	for _, s := range []string{c.Reader, c.File, c.Drawer} {
		if s != "" {
			ways++
		}
	}
	if ways > 1 {
		return nil, nil, errors.New("--reader, --file and --drawer name a card each; give one of them")
	}
	var card openCard
	var err error
	switch {
	case c.File != "":
		card, err = openCardFile(c.File)
	case c.Drawer != "" || c.Chip != "":
		card, err = c.drawerFlag.open(ctx)
	default:
		card, err = openReader(ctx, c.Reader)
	}
	if err != nil {
		return nil, nil, err
	}
	atr, err := card.Reset(ctx)
	if err != nil {
		card.Close()
		return nil, nil, err
	}
	return card, atr, nil
}

// with opens the card, lets f use it, and gives it back.
func (c cardFlag) with(ctx context.Context, f func(card openCard, atr uicc.ATR) error) error {
	card, atr, err := c.open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(card, atr), card.Close())
}

func (d drawerFlag) open(ctx context.Context) (*simos.Reader, error) {
	if d.Drawer == "" || d.Chip == "" {
		return nil, errors.New("--drawer and --chip are given together")
	}
	serial, err := simos.ParseSerial(d.Chip)
	if err != nil {
		return nil, err
	}
	slot, err := simos.Dial(ctx, "tcp", d.Drawer)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("no drawer is served at %s; run: ankan chips DIR --listen %[1]s", d.Drawer)
	}
	if err != nil {
		return nil, err
	}
	if err := slot.Insert(ctx, serial); err != nil {
		slot.Close()
		return nil, err
	}
	return slot, nil
}

// A pcscCard is the card in a PC/SC reader.
type pcscCard struct{ *pcsc.Reader }

func openReader(ctx context.Context, name string) (openCard, error) {
	r, err := pcsc.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	if _, err := r.Connect(ctx, pcsc.Exclusive); err != nil {
		r.Close()
		return nil, err
	}
	return pcscCard{r}, nil
}

func (c pcscCard) Reset(ctx context.Context) (uicc.ATR, error) {
	return c.Reader.Reset(ctx, pcsc.Unpower)
}

// A fileCard is a software card in a file. What a command changes on it is in
// the file before its answer is given.
type fileCard struct {
	*simos.Chip
	path string
	held string // what the file holds
}

func openCardFile(path string) (*fileCard, error) {
	c, err := simos.LoadChip(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w; make a card with: ankan card make", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &fileCard{Chip: c, path: path, held: string(c.Marshal())}, nil
}

func (c *fileCard) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	answer, err := c.Chip.Transmit(ctx, cmd)
	if err != nil {
		return nil, err
	}
	if now := string(c.Marshal()); now != c.held {
		if err := simos.SaveChip(c.path, c.Chip); err != nil {
			return nil, err
		}
		c.held = now
	}
	return answer, nil
}

func (c *fileCard) Reset(context.Context) (uicc.ATR, error) { return c.Chip.Reset(), nil }
func (c *fileCard) Close() error                            { return nil }

type cardReadersCmd struct {
	JSON bool `help:"Print JSON."`
}

func (c cardReadersCmd) Run(a *app) error {
	all, err := pcsc.Readers(a.ctx)
	if err != nil {
		return err
	}
	type row struct {
		Reader string `json:"reader"`
		Card   string `json:"card"` // none, present, mute
		InUse  bool   `json:"in_use"`
		ATR    string `json:"atr,omitempty"`
	}
	list := []row{}
	var text [][]string
	for _, s := range all {
		r := row{s.Reader, "none", s.InUse, fmt.Sprintf("%X", []byte(s.ATR))}
		switch {
		case s.Mute:
			r.Card = "mute"
		case s.Present:
			r.Card = "present"
		}
		list = append(list, r)
		text = append(text, []string{r.Reader, r.Card, map[bool]string{true: "in use", false: "free"}[r.InUse], r.ATR})
	}
	return a.print(c.JSON, list, func() {
		if len(text) == 0 {
			a.printf("%s\n", pcsc.NoReaders)
			return
		}
		a.table([]string{"READER", "CARD", "USE", "ATR"}, text)
	})
}

type cardReadCmd struct {
	cardFlag
	JSON bool `help:"Print JSON."`
}

func (c cardReadCmd) Run(a *app) error {
	return c.with(a.ctx, func(card openCard, atr uicc.ATR) error {
		v := readCard(a.ctx, card)
		v["atr"] = fmt.Sprintf("%X", []byte(atr))
		return a.print(c.JSON, v, func() {
			if v["lot"] == testLot {
				a.printf("TEST CARD: its keys are in a file; no site made it\n")
			}
			for _, k := range []string{"chip", "atr", "cplc", "lot", "life_cycle", "os_sha256", "iccid", "imsi"} {
				if x, ok := v[k]; ok {
					a.printf("%-11s %v\n", k, x)
				}
			}
		})
	})
}

// readCard reads what a card tells without a code. What it does not have, such
// as the files of a blank chip, is left out.
func readCard(ctx context.Context, card uicc.Card) map[string]string {
	v := map[string]string{}
	s := uicc.NewSession(card)
	for name, tag := range map[string]uicc.Tag{"cplc": 0x9F7F, "life_cycle": 0xDF20, "os_sha256": 0xDF21, "lot": 0xDF22} {
		b, err := s.GetData(ctx, tag)
		if err != nil {
			continue
		}
		value, _ := uicc.FindTLV(b, tag)
		v[name] = fmt.Sprintf("%X", value)
		switch {
		case name == "lot":
			v[name] = string(value)
		case name == "cplc" && len(value) == 42:
			v["chip"] = hex.EncodeToString(value[10:18])
		}
	}
	if iccid, err := readICCID(ctx, s); err == nil {
		v["iccid"] = iccid.String()
	}
	// EF.IMSI, by its short identifier (TS 31.102, 4.2.2). A card whose PIN is on
	// keeps it for itself.
	if _, err := s.SelectAID(ctx, usimAID); err == nil {
		if id, err := s.ReadBinary(ctx, 7, 0, 9); err == nil && len(id) == 9 {
			if imsi, err := sim.IMSIFromEF([9]byte(id)); err == nil {
				v["imsi"] = imsi.Masked()
			}
		}
	}
	return v
}

func readICCID(ctx context.Context, s *uicc.Session) (sim.ICCID, error) {
	id, err := s.ReadFile(ctx, 0x3F00, 0x2FE2)
	if err != nil {
		return sim.ICCID{}, fmt.Errorf("EF.ICCID: %w", err)
	}
	if len(id) != 10 {
		return sim.ICCID{}, fmt.Errorf("EF.ICCID has %d bytes, want 10", len(id))
	}
	return sim.ICCIDFromEF([10]byte(id))
}

// The beginnings of the AIDs of USIMs and ISIMs (TS 101 220, annex E).
var (
	usimAID = []byte{0xA0, 0, 0, 0, 0x87, 0x10, 0x02}
	isimAID = []byte{0xA0, 0, 0, 0, 0x87, 0x10, 0x04}
)

type cardAPDUCmd struct {
	cardFlag
	APDU []string `arg:"" name:"apdu" help:"Commands in hexadecimal digits, one after the other; - reads them from standard input, a line each."`
	Raw  bool     `help:"Do not fetch what waits (61xx), nor repeat a command with the right Le (6Cxx)."`
	JSON bool     `help:"Print JSON."`
}

func (c cardAPDUCmd) Run(a *app) error {
	list, err := c.commands()
	if err != nil {
		return err
	}
	type row struct {
		Command string `json:"command"`
		Data    string `json:"data"`
		SW      string `json:"sw"`
		Meaning string `json:"meaning"`
	}
	rows := []row{}
	return c.with(a.ctx, func(card openCard, _ uicc.ATR) error {
		for _, cmd := range list {
			sent := fmt.Sprintf("%X", cmd)
			var data []byte
			var sw uicc.SW
			var err error
			if c.Raw {
				var answer []byte
				answer, err = card.Transmit(a.ctx, cmd)
				data, sw = uicc.Response(answer).Data(), uicc.Response(answer).SW()
			} else {
				data, sw, err = uicc.Exchange(a.ctx, card, cmd, nil)
			}
			if err != nil {
				return fmt.Errorf("command %s: %w", sent, err)
			}
			code, meaning, _ := strings.Cut(sw.String(), " ")
			rows = append(rows, row{sent, fmt.Sprintf("%X", data), code, meaning})
			if !c.JSON {
				a.printf("> %s\n", sent)
				if len(data) > 0 {
					a.printf("< %X\n", data)
				}
				a.printf("< %s\n", sw)
			}
		}
		return a.print(c.JSON, rows, func() {})
	})
}

func (c cardAPDUCmd) commands() (list [][]byte, err error) {
	lines := c.APDU
	if len(lines) == 1 && lines[0] == "-" {
		if lines, err = inputLines(os.Stdin); err != nil {
			return nil, err
		}
	}
	for _, l := range lines {
		l, _, _ = strings.Cut(l, "#")
		if l = strings.Join(strings.Fields(l), ""); l == "" {
			continue
		}
		cmd, err := hex.DecodeString(l)
		if err == nil {
			_, err = uicc.ParseCommand(cmd)
		}
		if err != nil {
			return nil, fmt.Errorf("command %q is not an APDU in hexadecimal digits: %w", l, err)
		}
		list = append(list, cmd)
	}
	if len(list) == 0 {
		return nil, errors.New("no commands were given")
	}
	return list, nil
}
