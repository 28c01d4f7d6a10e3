package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"ankan/sim"
	"ankan/simos"
	"ankan/uicc"
)

type cardCmd struct {
	Read cardReadCmd `cmd:"" help:"Read a card in a drawer of software chips."`
}

type cardReadCmd struct {
	Drawer string `required:"" placeholder:"HOST:PORT" help:"Where the drawer is served."`
	// Without a serial number the drawer would give a fresh chip, and the line
	// would never get it.
	Chip string `required:"" placeholder:"SERIAL" help:"Serial number of the chip, 16 hexadecimal digits."`
	JSON bool   `help:"Print JSON."`
}

func (c cardReadCmd) Run(a *app) error {
	serial, err := simos.ParseSerial(c.Chip)
	if err != nil {
		return err
	}
	slot, err := simos.Dial(a.ctx, "tcp", c.Drawer)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("no drawer is served at %s; run: ankan chips DIR --listen %[1]s", c.Drawer)
	}
	if err != nil {
		return err
	}
	defer slot.Close()
	if err := slot.Insert(a.ctx, serial); err != nil {
		return err
	}
	v, err := readCard(a.ctx, slot)
	if err != nil {
		return err
	}
	v["chip"] = serial.String()
	return a.print(c.JSON, v, func() {
		for _, k := range []string{"chip", "atr", "cplc", "lot", "life_cycle", "os_sha256", "iccid", "imsi"} {
			if x, ok := v[k]; ok {
				a.printf("%-11s %v\n", k, x)
			}
		}
	})
}

// readCard reads what a chip tells without a code. What it does not have, such
// as the files of a blank chip, is left out.
func readCard(ctx context.Context, slot *simos.Reader) (map[string]string, error) {
	atr, err := slot.Reset(ctx)
	if err != nil {
		return nil, err
	}
	v := map[string]string{"atr": fmt.Sprintf("%X", []byte(atr))}
	s := uicc.NewSession(slot)
	for name, tag := range map[string]uicc.Tag{"cplc": 0x9F7F, "life_cycle": 0xDF20, "os_sha256": 0xDF21, "lot": 0xDF22} {
		if b, err := s.GetData(ctx, tag); err == nil {
			value, _ := uicc.FindTLV(b, tag)
			v[name] = fmt.Sprintf("%X", value)
			if name == "lot" {
				v[name] = string(value)
			}
		}
	}
	if id, err := s.ReadFile(ctx, 0x3F00, 0x2FE2); err == nil && len(id) == 10 {
		if iccid, err := sim.ICCIDFromEF([10]byte(id)); err == nil {
			v["iccid"] = iccid.String()
		}
	}
	// EF.IMSI, by its short identifier (TS 31.102, 4.2.2). A card whose PIN is on
	// keeps it for itself.
	if _, err := s.SelectAID(ctx, []byte{0xA0, 0, 0, 0, 0x87, 0x10, 0x02}); err == nil {
		if id, err := s.ReadBinary(ctx, 7, 0, 9); err == nil && len(id) == 9 {
			if imsi, err := sim.IMSIFromEF([9]byte(id)); err == nil {
				v["imsi"] = imsi.Masked()
			}
		}
	}
	return v, nil
}
