package demo

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ankan/conformance"
	"ankan/exchange"
	"ankan/hsm"
	"ankan/plant"
	"ankan/scp"
	"ankan/simos"
	"ankan/stock"
	"ankan/uicc"
)

// A Lot is what a chip maker delivers to a plant.
type Lot struct {
	Name   string
	Chips  int
	Dir    string // folder of the drawer
	Faults bool   // a few chips fail on purpose
	Plant  *exchange.Partner
	// Samples is the folder of a drawer with a few chips for the security test:
	// of the same make, under keys that anybody may know. "" makes none.
	Samples string
}

// samples is how many chips the drawer for the security test holds.
const samples = 3

// faults is what goes wrong with which chip of a lot, counted from 0.
func faults() map[int]simos.Fault {
	return map[int]simos.Fault{
		4:   {Kind: simos.WrongLot},
		11:  {Kind: simos.Flaky, After: 30},
		23:  {Kind: simos.Mute, After: 60},
		57:  {Kind: simos.Broken, After: 20},
		131: {Kind: simos.Late, After: 40, Delay: 20 * time.Millisecond},
		404: {Kind: simos.Mute, After: 120},
	}
}

// MakeLot is the chip maker: it puts blank software chips into a drawer, each
// with keys derived from a new lot key, and returns the delivery note with the
// lot key wrapped for the plant. The lot key is not kept.
func MakeLot(l Lot) ([]byte, error) {
	var master [32]byte
	rand.Read(master[:])
	defer clear(master[:])
	maker, signer, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	rack, err := simos.NewRack(filepath.Clean(l.Dir))
	if err != nil {
		return nil, err
	}
	wrong := map[string]simos.Fault{}
	var atr uicc.ATR
	if err := l.makeSamples(maker); err != nil {
		return nil, err
	}
	for i := range l.Chips {
		c, err := newChip(l.Name, i, master[:], maker)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			atr = slices.Clone(c.Reset())
			c.Off()
		}
		if err := rack.Add(c); err != nil {
			return nil, err
		}
		if f, ok := faults()[i]; ok && l.Faults {
			wrong[c.Serial().String()] = f
		}
	}
	doc, err := json.MarshalIndent(wrong, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(l.Dir, faultsName), doc, 0o600); err != nil {
		return nil, err
	}
	image := simos.Image{Name: "ankan-reference", Version: "1.0", Algorithms: []string{"MILENAGE", "TUAK", "XOR"}, Body: []byte("reference operating system")}
	signed, err := image.Sign(signer)
	if err != nil {
		return nil, err
	}
	given, err := hsm.Give(l.Plant.Agree(), hsm.KeyContent(hsm.Lot, hsm.AES256), plant.LotLabel(l.Name), master[:])
	if err != nil {
		return nil, err
	}
	kcv, err := hsm.AESKCV(hsm.GP, master[:])
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(stock.Lot{
		Lot: l.Name, Vendor: "Software Chips", Chip: "software chip", Quantity: l.Chips, OS: osRelease,
		Image: signed, OSMaker: maker, KCV: kcv.String(), Given: given,
		KeyMethod: hsm.AES256, ATR: fmt.Sprintf("%X", []byte(atr)), Serials: []stock.Range{{First: serialOf(lotBatch, 0).String(), Last: serialOf(lotBatch, l.Chips-1).String()}},
		FormFactor: "4FF", Certificate: "none: software",
	}, "", "  ")
}

// faultsName is the file in a drawer's folder that says which chips fail.
const faultsName = "faults.json"

// ServeChips serves the drawer in a folder that MakeLot filled.
func ServeChips(ctx context.Context, dir string, l net.Listener) error {
	rack, err := simos.NewRack(dir)
	if err != nil {
		return err
	}
	if all, _ := rack.Chips(); len(all) == 0 {
		return fmt.Errorf("%s is no drawer: it has no chips; `ankan demo` and `ankan card make` make one", dir)
	}
	// Only the demonstration has chips that go wrong.
	doc, err := os.ReadFile(filepath.Join(dir, faultsName))
	if errors.Is(err, os.ErrNotExist) {
		doc, err = []byte("{}"), nil
	}
	if err != nil {
		return err
	}
	var wrong map[string]simos.Fault
	if err := json.Unmarshal(doc, &wrong); err != nil {
		return fmt.Errorf("%s: %w", faultsName, err)
	}
	for name, f := range wrong {
		serial, err := simos.ParseSerial(name)
		if err != nil {
			return err
		}
		if err := rack.SetFault(serial, f); err != nil {
			return err
		}
	}
	return rack.Serve(ctx, l)
}

// makeSamples puts chips for the security test into a drawer of their own.
func (l Lot) makeSamples(maker ed25519.PublicKey) error {
	if l.Samples == "" {
		return nil
	}
	rack, err := simos.NewRack(l.Samples)
	if err != nil {
		return err
	}
	keys, err := conformance.SampleKeys()
	if err != nil {
		return err
	}
	for i := range samples {
		c, err := chipOf("SAMPLE", serialOf(0x53, i), keys, maker)
		if err != nil {
			return err
		}
		if err := rack.Add(c); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(l.Samples, faultsName), []byte("{}"), 0o600)
}

func serialOf(batch byte, i int) simos.Serial {
	serial := simos.Serial{0x63, 0x27} // year 6, day 327
	binary.BigEndian.PutUint32(serial[2:6], uint32(i+1))
	serial[7] = batch
	return serial
}

// lotBatch ends the serial numbers of a lot's chips.
const lotBatch = 0x47

func newChip(lot string, i int, master []byte, maker ed25519.PublicKey) (*simos.Chip, error) {
	serial := serialOf(lotBatch, i)
	keys, err := hsm.DiversifyChip(master, serial[:])
	if err != nil {
		return nil, err
	}
	return chipOf(lot, serial, keys, maker)
}

func chipOf(lot string, serial simos.Serial, keys scp.KeySet, maker ed25519.PublicKey) (*simos.Chip, error) {
	seed := make([]byte, 32)
	rand.Read(seed)
	c, err := simos.NewChip(simos.Config{Serial: serial, Lot: lot, Keys: keys, Vendor: maker, Seed: seed, Direct: true})
	if err != nil {
		return nil, fmt.Errorf("chip %s: %w", serial, err)
	}
	return c, nil
}
