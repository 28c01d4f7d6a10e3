// Package demo sets three sites up on one machine and drives one order through
// them: from the operator's file to the certificate of destruction. The sites
// are real, and so are their keys, files and signatures; only the people hold
// software passkeys, and the chips are software.
package demo

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"ankan/act"
	"ankan/client"
	"ankan/exchange"
	"ankan/hsm"
	"ankan/order"
	"ankan/parts"
	"ankan/passkey"
	"ankan/profile"
	"ankan/sim"
	"ankan/site"
	"ankan/stock"
	"ankan/store"
)

// The sites of the demonstration.
const (
	Operator = "operator"
	Bureau   = "bureau"
	Plant    = "plant"
)

// Sites is the three, in the order in which the demonstration starts them.
func Sites() []string { return []string{Operator, Bureau, Plant} }

// markerName marks a folder as a demonstration's, which may be removed.
const markerName = "ankan-demo"

// osRelease is the operating system of the demonstration's chips.
const osRelease = "ankan-reference 1.0"

// cast is who works at the sites: person number, name, roles.
var cast = map[string][]act.Person{
	Operator: {
		{ID: "0001", Name: "Sourcing desk", Roles: []string{"sourcing"}},
		{ID: "0002", Name: "Nodal officer", Roles: []string{"nodal-officer"}},
		{ID: "0003", Name: "Alternate nodal officer", Roles: []string{"alternate-nodal-officer"}},
		{ID: "0004", Name: "Security officer", Roles: []string{"security-officer"}},
	},
	Bureau: {
		{ID: "1001", Name: "Data preparation", Roles: []string{"data-preparation"}},
		{ID: "1002", Name: "Key manager", Roles: []string{"key-manager"}},
		{ID: "1003", Name: "HSM administrator", Roles: []string{"hsm-administrator"}},
		{ID: "1004", Name: "Security officer", Roles: []string{"security-officer"}},
		{ID: "1005", Name: "Independent witness", Roles: []string{"witness"}},
	},
	Plant: {
		{ID: "2001", Name: "Shift lead", Roles: []string{"shift-lead"}},
		{ID: "2002", Name: "Warehouse", Roles: []string{"warehouse"}},
		{ID: "2003", Name: "Security officer", Roles: []string{"security-officer"}},
		{ID: "2004", Name: "System administrator", Roles: []string{"system-administrator"}},
		{ID: "2005", Name: "Independent witness", Roles: []string{"witness"}},
		{ID: "2006", Name: "Security tester", Roles: []string{"security-tester"}},
	},
}

// A Plan is what the demonstration is to do.
type Plan struct {
	Dir      string
	Order    string // order file
	Document []byte // its content
	Cards    int    // instead of the file's quantity, if not 0
	Stations int
	Faults   bool // a few chips fail on purpose
	// Token makes a site's security module; nil: the embedded one, in a file.
	Token func(c *site.Config) (hsm.Module, error)
	// Database is the address of a PostgreSQL database, in which each site has a
	// schema, ankan_demo_SITE: one that is there is replaced. Empty: files.
	Database string
	// Host is the loopback address at which all listen; empty: 127.0.0.1.
	Host string
}

// A Factory is three sites that are set up and not running yet.
type Factory struct {
	Dir       string
	Configs   map[string]*site.Config
	Clients   map[string]*client.Client
	OrderFile string
	Cards     int
	ChipsDir  string
	Samples   string // drawer of chips for the security test
	ChipsAddr string

	people map[string]map[string]client.Signer // by site and role
	plan   Plan
}

// SetUp makes a new folder with three sites in it. A folder of an earlier
// demonstration is replaced; any other is refused.
func SetUp(ctx context.Context, p Plan) (*Factory, error) {
	dir, err := filepath.Abs(p.Dir)
	if err != nil {
		return nil, err
	}
	if err := clearOld(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, markerName), []byte("This folder is removed by the next `ankan demo`.\n"), 0o600); err != nil {
		return nil, err
	}
	f := &Factory{Dir: dir, Configs: map[string]*site.Config{}, Clients: map[string]*client.Client{}, people: map[string]map[string]client.Signer{}, plan: p}
	in, err := f.writeOrder()
	if err != nil {
		return nil, err
	}
	if err := f.writeContract(in); err != nil {
		return nil, err
	}
	ports, err := freePorts(cmp.Or(p.Host, "127.0.0.1"), 4)
	if err != nil {
		return nil, err
	}
	f.ChipsAddr, f.ChipsDir, f.Samples = ports[3], filepath.Join(dir, "chips"), filepath.Join(dir, "samples")
	sockets, err := f.socketDir()
	if err != nil {
		return nil, err
	}
	for i, name := range Sites() {
		if err := f.setUpSite(ctx, name, ports[i], filepath.Join(sockets, name+".sock")); err != nil {
			return nil, fmt.Errorf("site %s: %w", name, err)
		}
	}
	return f, f.makeChips(ctx)
}

func clearOld(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, markerName)); err != nil {
		return fmt.Errorf("%s holds files that are not a demonstration's; give another folder with --dir", dir)
	}
	return os.RemoveAll(dir)
}

// socketDir is where the control sockets lie: in the folder, or under the
// system's temporary folder if its path is too long for a socket.
func (f *Factory) socketDir() (string, error) {
	if len(f.Dir) < 80 {
		return f.Dir, nil
	}
	return os.MkdirTemp("", "ankan-")
}

// freePorts finds n free ports of a host.
func freePorts(host string, n int) ([]string, error) {
	var all []string
	for range n {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, err
		}
		defer l.Close()
		all = append(all, l.Addr().String())
	}
	return all, nil
}

// writeOrder writes the order file, with another quantity if the plan says so.
func (f *Factory) writeOrder() (*order.Input, error) {
	name := filepath.Base(f.plan.Order)
	in, err := order.ParseInput(name, bytes.NewReader(f.plan.Document))
	if err != nil {
		return nil, err
	}
	doc := f.plan.Document
	if n := f.plan.Cards; n > 0 && n != in.Quantity() {
		if _, ok := in.Range(); !ok {
			return nil, fmt.Errorf("%s lists its %d identities one by one; --cards cannot change that", name, in.Quantity())
		}
		text, err := in.WithQuantity(n)
		if err != nil {
			return nil, err
		}
		doc = text
		if in, err = order.ParseInput(name, bytes.NewReader(doc)); err != nil {
			return nil, err
		}
	}
	f.Cards, f.OrderFile = in.Quantity(), filepath.Join(f.Dir, name)
	return in, os.WriteFile(f.OrderFile, doc, 0o600)
}

// writeContract writes the contract under which the order may be placed.
func (f *Factory) writeContract(in *order.Input) error {
	p, err := profile.Builtin("in-5g-usim")
	if err != nil {
		return err
	}
	first, last := in.First(), in.At(in.Quantity()-1)
	for _, id := range in.Identities() {
		if id.ICCID.Body() < first.ICCID.Body() || id.ICCID.Body() > last.ICCID.Body() || id.IMSI.Value() < first.IMSI.Value() || id.IMSI.Value() > last.IMSI.Value() {
			return fmt.Errorf("%s: the demonstration takes lists in rising order", f.plan.Order)
		}
	}
	body := func(id sim.ICCID) string { s := id.String(); return s[:len(s)-1] }
	plmn, err := first.IMSI.PLMN(p.PLMN.MNCDigits())
	if err != nil {
		return err
	}
	if plmn != p.PLMN {
		return fmt.Errorf("%s: IMSI %s is of network %s, the demonstration's profile is for %s", f.plan.Order, first.IMSI.Masked(), plmn, p.PLMN)
	}
	variant := fmt.Sprintf("%d check", len(body(first.ICCID)))
	version := ""
	if v := in.Value(order.ProfileVersion); v != "" {
		version = fmt.Sprintf("version: %q, ", v)
	}
	// The profile's name in order files is the operator's; here it is the
	// built-in profile's own.
	doc := fmt.Sprintf(`# What operator and manufacturer agreed. Both sites read this file.
contract: DEMO-2026-01
operator: %s
customer: %q
manufacturer:
  partner: bureau
  name: Ankan Demo Cards
  registration: U30007MH2026PTC000000
  development: Pune, IN
  personalisation: Nashik, IN
licence:
  kind: UL
  number: 20-999/2026-AS
  service_areas: [Maharashtra, Karnataka]
  valid_until: "2046-03-31"
products:
  - {name: USIM-5G, form_factor: 4FF, chip: software chip, os: %q, algorithms: [MILENAGE, TUAK, XOR]}
profiles:
  - {name: %q, %sdigest: %x, product: USIM-5G}
files:
  dialect: %s
  order_iccid: %s
  response_iccid: %s
  columns: ICCID/IMSI/PIN1/PUK1/PIN2/PUK2/ADM1/EKI/EOPC/Access_Control/EKIC1/EKID1/EKIK1/ESCP03_ENC/ESCP03_MAC/ESCP03_DEK
transport_keys:
  - {index: %d}
iccid_issuer: %q
network: {mcc: %q, mnc: %q}
ranges:
  - {iccid: %s-%s, imsi: %s-%s}
max_quantity: 10000000
spares: {percent: 1, min: 10}
reject: remake
destruction_limit: 30d
alarms: [noc@operator.example]
`, Operator, in.Value(order.Customer), osRelease, p.Name, version, p.Digest(), in.Layout().Name(), variant, variant,
		in.TransportKey(), body(first.ICCID)[:7], plmn.MCC(), plmn.MNC(),
		body(first.ICCID), body(last.ICCID), first.IMSI, last.IMSI)
	if in.Value(order.ProfileName) != p.Name {
		return fmt.Errorf("%s: profile is %q; the demonstration has %q", f.plan.Order, in.Value(order.ProfileName), p.Name)
	}
	return os.WriteFile(filepath.Join(f.Dir, "contract.yaml"), []byte(doc), 0o600)
}

// setUpSite writes a site's configuration, makes its people's passkeys, and
// sets it up.
func (f *Factory) setUpSite(ctx context.Context, name, listen, socket string) error {
	dir := filepath.Join(f.Dir, name)
	if err := os.MkdirAll(filepath.Join(dir, "people"), 0o700); err != nil {
		return err
	}
	var pass [24]byte
	rand.Read(pass[:])
	if err := os.WriteFile(filepath.Join(dir, "token.passphrase"), []byte(hex.EncodeToString(pass[:])+"\n"), 0o600); err != nil {
		return err
	}
	path, doc := filepath.Join(dir, "site.yaml"), f.siteYAML(name, listen, socket)
	if f.plan.Database != "" {
		address, err := store.InSchema(ctx, f.plan.Database, "ankan_demo_"+name)
		if err != nil {
			return fmt.Errorf("database: %w", err)
		}
		doc += fmt.Sprintf("database: {url: %q}\n", address)
	}
	if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
		return err
	}
	c, err := site.LoadConfig(path)
	if err != nil {
		return err
	}
	f.Configs[name], f.Clients[name] = c, client.New(c.Control)
	people, err := f.makePeople(name, dir)
	if err != nil {
		return err
	}
	if name == Operator {
		if err := makeOfficer(filepath.Join(dir, "people")); err != nil {
			return err
		}
	}
	token, done, err := f.token(c)
	if err != nil {
		return err
	}
	defer done()
	founding, err := site.FoundHere(c, people, filepath.Join(dir, "people"))
	if err != nil {
		return err
	}
	return site.Init(ctx, c, token, founding, func(string) {}, parts.All()...)
}

func (f *Factory) token(c *site.Config) (hsm.Module, func(), error) {
	if f.plan.Token != nil {
		t, err := f.plan.Token(c)
		return t, func() {}, err
	}
	t, err := site.OpenToken(c, true)
	if err != nil {
		return nil, nil, err
	}
	return t, func() { t.Close() }, nil
}

func (f *Factory) siteYAML(name, listen, socket string) string {
	var b strings.Builder
	display := map[string]string{Operator: "Demo Mobile, nodal office", Bureau: "Ankan Demo Cards, data centre", Plant: "Ankan Demo Cards, production house"}[name]
	fmt.Fprintf(&b, `# One site. `+"`ankan serve -c`"+` runs it.
site: %s
display: %s
country: IN
roles: [%s]
data: data
control: %s

token:
  file: data/token
  passphrase: token.passphrase
  require_certified: false # the embedded module has no FIPS 140 certificate

edge:
  listen: %s

`, name, display, name, socket, listen)
	cards := map[string][]string{Operator: {Bureau}, Bureau: {Operator, Plant}, Plant: {Bureau}}[name]
	if name == Operator {
		fmt.Fprintf(&b, "officers: [people/%s]\n", officerPublic)
	}
	b.WriteString("partners:\n")
	for _, p := range cards {
		fmt.Fprintf(&b, "  - ../%s/data/partner.yaml\n", p)
	}
	if name != Plant {
		b.WriteString("contracts: [../contract.yaml]\n")
	}
	switch name {
	case Bureau:
		fmt.Fprintf(&b, "profiles: [\"builtin:in-5g-usim\"]\nplant: %s\n", Plant)
	case Plant:
		b.WriteString("counting: site # its chips are software\nstations:\n")
		for i := range f.plan.Stations {
			fmt.Fprintf(&b, "  - {name: station-%d, network: tcp, address: %q}\n", i+1, f.ChipsAddr)
		}
	}
	return b.String()
}

// makePeople gives everybody of a site a software passkey.
func (f *Factory) makePeople(name, dir string) ([]act.Person, error) {
	f.people[name] = map[string]client.Signer{}
	var people []act.Person
	for _, who := range cast[name] {
		key, err := passkey.NewSoft(name+".example", "https://"+name+".example")
		if err != nil {
			return nil, err
		}
		if err := key.Save(filepath.Join(dir, "people", who.ID+".passkey")); err != nil {
			return nil, err
		}
		who.Credential, who.Employment = key.Credential, act.Permanent
		people = append(people, who)
		for _, role := range who.Roles {
			f.people[name][role] = client.Signer{Person: who.ID, Key: key}
		}
	}
	doc, err := json.MarshalIndent(site.People{People: people}, "", "  ")
	if err != nil {
		return nil, err
	}
	return people, os.WriteFile(filepath.Join(dir, "people.json"), append(doc, '\n'), 0o600)
}

// The nodal officer's own OpenPGP key, for stock gpg.
const (
	officerPublic  = "nodal-officer.pub.asc"
	officerPrivate = "nodal-officer.key.asc"
)

// makeOfficer gives the nodal officer an OpenPGP key, as gpg would make one.
func makeOfficer(dir string) error {
	e, err := openpgp.NewEntity("Nodal officer", "", "nodal.officer@operator.example", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, DefaultCipher: packet.CipherAES256})
	if err != nil {
		return err
	}
	write := func(name, kind string, to func(io.Writer) error) error {
		var b bytes.Buffer
		w, err := armor.Encode(&b, kind, nil)
		if err != nil {
			return err
		}
		if err := to(w); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name), append(b.Bytes(), '\n'), 0o600)
	}
	if err := write(officerPrivate, openpgp.PrivateKeyType, func(w io.Writer) error { return e.SerializePrivate(w, nil) }); err != nil {
		return err
	}
	return write(officerPublic, openpgp.PublicKeyType, e.Serialize)
}

// makeChips is the chip maker: blank chips under a lot key, and the delivery
// note with that key wrapped for the plant.
func (f *Factory) makeChips(ctx context.Context) error {
	doc, err := os.ReadFile(f.Configs[Plant].CardFile())
	if err != nil {
		return err
	}
	partner, err := exchange.ParsePartner(f.Configs[Plant].CardFile(), doc)
	if err != nil {
		return err
	}
	note, err := MakeLot(Lot{Name: "LOT-2026-47", Chips: f.Cards + f.Cards/50 + 20, Dir: f.ChipsDir, Faults: f.plan.Faults, Plant: partner, Samples: f.Samples})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(f.Dir, "lot.json"), note, 0o600); err != nil {
		return err
	}
	return WriteRelease(f.Dir, note)
}

// releaseText is the operating system of the lot as its vendor describes it.
const releaseText = `# The operating system of the demonstration's chips: it is part of this program.
vendor: Software Chips
country: IN
environment: the public repository of this program, changes reviewed
process: CONTRIBUTING.md
developers: [The authors of Ankan]
chips: [software chip]
os_maker: %x
image: os.image
`

// WriteRelease writes what ankan release draft takes: the operating system of the
// lot that a note of MakeLot tells of.
func WriteRelease(dir string, note []byte) error {
	var l stock.Lot
	if err := json.Unmarshal(note, &l); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "os.image"), l.Image, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "release.yaml"), fmt.Appendf(nil, releaseText, l.OSMaker), 0o600)
}
