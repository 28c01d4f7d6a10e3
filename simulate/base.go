package simulate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ankan/act"
	"ankan/client"
	"ankan/demo"
	"ankan/exchange"
	"ankan/hsm"
	"ankan/hsm/soft"
	"ankan/parts"
	"ankan/passkey"
	"ankan/profile"
	"ankan/site"
	"ankan/stock"
)

// The sites of a factory. The two operators are customers of one bureau, and
// some of their numbers are agreed with both.
const (
	North  = "north"
	South  = "south"
	Bureau = "bureau"
	Plant  = "plant"
)

// Sites is all of them.
func Sites() []string { return []string{North, South, Bureau, Plant} }

func operators() []string { return []string{North, South} }

// links is which site sends files to which.
func links() [][2]string {
	return [][2]string{{North, Bureau}, {South, Bureau}, {Bureau, North}, {Bureau, South}, {Bureau, Plant}, {Plant, Bureau}}
}

// cast is who works where: number and role.
func cast(name string) map[string]string {
	switch name {
	case Bureau:
		return map[string]string{"1001": "data-preparation", "1002": "key-manager", "1003": "hsm-administrator", "1004": "security-officer", "1005": "witness"}
	case Plant:
		return map[string]string{"2001": "shift-lead", "2002": "warehouse", "2003": "security-officer", "2004": "system-administrator", "2005": "witness", "2006": "security-tester"}
	}
	return map[string]string{"0001": "sourcing", "0002": "nodal-officer", "0003": "alternate-nodal-officer", "0004": "security-officer"}
}

// What the contracts agree on: numbers of identities from the first.
const (
	firstICCID = 899199900000100000
	firstIMSI  = 404990000100000
	profileOf  = "in-5g-usim"
	osRelease  = "ankan-reference 1.0"
	lotName    = "LOT-2026-47"
	transport  = 11
)

// agreed is which numbers an operator may order; those from 40 to 59 are in both
// contracts.
func agreed(operator string) (first, last int) {
	if operator == North {
		return 0, 59
	}
	return 40, 99
}

const (
	maxQuantity = 8
	chips       = 60 // of the lot
	pass        = "a passphrase for a simulation"
)

// A Base is a factory that was founded once and is copied for each run: keys are
// shared, the operating system is approved, a lot of chips is accepted.
type Base struct {
	dir   string
	began time.Time   // when runs begin, by all clocks
	parts []site.Part // that its sites are made of
	// module is what a site takes for its security module; nil: the module.
	module func(name string, m hsm.Module) hsm.Module
}

// NewBase founds a factory in a folder, which must be empty or not be there.
func NewBase(ctx context.Context, dir string) (*Base, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if had, err := os.ReadDir(dir); err != nil || len(had) > 0 {
		return nil, errors.Join(fmt.Errorf("%s is not empty; the simulator founds its factory in a folder of its own", dir), err)
	}
	b := &Base{dir: dir, began: time.Now().Truncate(time.Second), parts: parts.All()}
	if err := b.found(ctx); err != nil {
		return nil, fmt.Errorf("founding the factory: %w", err)
	}
	return b, nil
}

func (b *Base) found(ctx context.Context) error {
	if err := b.writeContracts(); err != nil {
		return err
	}
	for _, name := range Sites() {
		if err := b.foundSite(ctx, name); err != nil {
			return fmt.Errorf("site %s: %w", name, err)
		}
	}
	note, err := b.makeChips()
	if err != nil {
		return err
	}
	b.began = b.began.Add(time.Minute) // after all that the founding logged
	w, err := b.world(ctx, b.dir, discard())
	if err != nil {
		return err
	}
	err = b.prepare(ctx, w, note)
	for _, p := range w.places {
		if p.clock.day.After(b.began) {
			b.began = p.clock.day
		}
	}
	return errors.Join(err, w.Close())
}

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func (b *Base) writeContracts() error {
	p, err := profile.Builtin(profileOf)
	if err != nil {
		return err
	}
	for _, name := range operators() {
		first, last := agreed(name)
		reject, spares, rows := "remake", 1, 2
		if name == South {
			reject, spares, rows = "retire", 0, 100
		}
		doc := fmt.Sprintf(`contract: SIM-%s
operator: %[1]s
customer: "%[1]s"
manufacturer: {partner: bureau, name: Simulated Cards, registration: R-1, development: "Pune, IN", personalisation: "Nashik, IN"}
licence: {kind: UL, number: L-1, service_areas: [Karnataka], valid_until: "2086-03-31"}
products:
  - {name: USIM-5G, form_factor: 4FF, chip: software chip, os: %q, algorithms: [MILENAGE, TUAK, XOR]}
profiles:
  - {name: %q, version: "1.0", digest: %x, product: USIM-5G}
files:
  dialect: dialect1
  order_iccid: 18 check
  response_iccid: 18 check
  columns: ICCID/IMSI/PIN1/PUK1/PIN2/PUK2/ADM1/EKI/EOPC
  max_rows: %d
transport_keys:
  - {index: %d}
iccid_issuer: "8991999"
network: {mcc: "404", mnc: "99"}
ranges:
  - {iccid: %d-%d, imsi: %d-%d}
max_quantity: %d
spares: {percent: 1, min: %d}
reject: %s
destruction_limit: 30d
alarms: [noc@operator.example]
`, name, osRelease, p.Name, p.Digest(), rows, transport, firstICCID+first, firstICCID+last, firstIMSI+first, firstIMSI+last, maxQuantity, spares, reject)
		if err := os.WriteFile(filepath.Join(b.dir, "contract-"+name+".yaml"), []byte(doc), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeConfig writes a site's configuration for a factory in dir.
func writeConfig(dir, name string) error {
	role, partners, more := name, []string{Bureau}, "contracts: [../contract-"+name+".yaml]\n"
	switch name {
	case North, South:
		role = site.Operator
	case Bureau:
		partners = []string{North, South, Plant}
		more = fmt.Sprintf("contracts: [../contract-north.yaml, ../contract-south.yaml]\nprofiles: [\"builtin:%s\"]\nplant: plant\n", profileOf)
	case Plant:
		more = fmt.Sprintf("counting: site\nstations:\n  - {name: station-1, network: unix, address: %q}\n", filepath.Join(dir, "chips.sock"))
	}
	doc := fmt.Sprintf("site: %s\ndisplay: Simulated %s\ncountry: IN\nroles: [%s]\ndata: data\ncontrol: s\ntoken: {file: data/token, passphrase: pass}\nedge: {listen: \"127.0.0.1:9\", separate: true}\npartners:\n",
		name, name, role)
	for _, p := range partners {
		doc += "  - ../" + p + "/data/partner.yaml\n"
	}
	for file, text := range map[string]string{"site.yaml": doc + more, "pass": pass + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name, file), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (b *Base) foundSite(ctx context.Context, name string) error {
	dir := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Join(dir, "people"), 0o700); err != nil {
		return err
	}
	if err := writeConfig(b.dir, name); err != nil {
		return err
	}
	c, err := site.LoadConfig(filepath.Join(dir, "site.yaml"))
	if err != nil {
		return err
	}
	var people []act.Person
	for id, role := range cast(name) {
		key, err := passkey.NewSoft(name+".example", "https://"+name+".example")
		if err != nil {
			return err
		}
		if err := key.Save(filepath.Join(dir, "people", id+".passkey")); err != nil {
			return err
		}
		people = append(people, act.Person{ID: id, Name: role, Roles: []string{role}, Employment: act.Permanent, Credential: key.Credential})
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return err
	}
	token, err := soft.Create(c.Token.File, []byte(pass), soft.WithCost(soft.LowestCost()))
	if err != nil {
		return err
	}
	defer token.Close()
	founding, err := site.FoundHere(c, people, filepath.Join(dir, "people"))
	if err != nil {
		return err
	}
	return site.Init(ctx, c, token, founding, func(string) {}, parts.All()...)
}

// makeChips is the chip maker; it returns the note of the lot.
func (b *Base) makeChips() ([]byte, error) {
	card := filepath.Join(b.dir, Plant, "data", "partner.yaml")
	doc, err := os.ReadFile(card)
	if err != nil {
		return nil, err
	}
	partner, err := exchange.ParsePartner(card, doc)
	if err != nil {
		return nil, err
	}
	note, err := demo.MakeLot(demo.Lot{Name: lotName, Chips: chips, Dir: filepath.Join(b.dir, "chips"), Plant: partner, Samples: filepath.Join(b.dir, "samples")})
	if err != nil {
		return nil, err
	}
	return note, demo.WriteRelease(b.dir, note)
}

// prepare does what comes before a first order.
func (b *Base) prepare(ctx context.Context, w *world, note []byte) error {
	plant := w.crew(Plant)
	var lot stock.Lot
	if err := plant.Client.Post(ctx, "/lots", json.RawMessage(note), &lot); err != nil {
		return err
	}
	if _, err := plant.Approved(ctx, "lot.accept", "lot/"+lot.Lot, "warehouse", "security-officer"); err != nil {
		return err
	}
	r, err := demo.ReadRelease(b.dir)
	if err != nil {
		return err
	}
	p, err := profile.Builtin(profileOf)
	if err != nil {
		return err
	}
	if err := plant.Register(ctx, r); err != nil {
		return err
	}
	for _, name := range operators() {
		if err := plant.Qualify(ctx, r, name, p, filepath.Join(b.dir, "samples")); err != nil {
			return err
		}
		op, here := w.crew(name), fmt.Sprintf("key/%s/%d", Bureau, transport)
		for _, kind := range []string{"key.make", "key.share"} {
			if _, err := op.Approved(ctx, kind, here, "nodal-officer", "security-officer"); err != nil {
				return err
			}
			if err := w.settle(ctx); err != nil {
				return err
			}
		}
		there := fmt.Sprintf("key/%s/%d", name, transport)
		if _, err := w.crew(Bureau).Approved(ctx, "key.accept", there, "key-manager", "hsm-administrator", "security-officer"); err != nil {
			return err
		}
	}
	return w.settle(ctx)
}

// copyTo copies the factory into a new folder.
func (b *Base) copyTo(dir string) error {
	return filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(b.dir, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, name)
		switch {
		case name == "samples" || name == "chips" || name == "chips.sock":
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(to, 0o700)
		case strings.HasSuffix(name, ".lock"):
			return nil
		}
		doc, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, doc, 0o600)
	})
}

// signer is who has a role at a site.
func signer(dir, name, role string) (client.Signer, error) {
	for id, r := range cast(name) {
		if r == role {
			key, err := passkey.LoadSoft(filepath.Join(dir, name, "people", id+".passkey"))
			return client.Signer{Person: id, Key: key}, err
		}
	}
	return client.Signer{}, fmt.Errorf("nobody at %s is %s", name, role)
}
