// Package site is one installation of Ankan: its configuration and standing
// keys, its database and security module, the files that arrive, the acts of its
// people and the steps of its orders, and the socket through which its people
// work. What it does with them is done by parts (Part) over it: a site holds one
// or more of the roles operator, bureau and plant.
package site

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ankan/document"
	"ankan/durable"
	"ankan/notice"
	"ankan/station"
	"ankan/store"
)

// The roles of a site.
const (
	Operator = "operator"
	Bureau   = "bureau"
	Plant    = "plant"
)

// Who counts chips and cards (Config.Counting).
const (
	CountPeople = "people"
	CountSite   = "site"
)

// Who draws key sets (Config.Drawing).
const (
	DrawSite    = "site"
	DrawWorkers = "workers"
)

// Config is a site's one configuration file. Relative paths are relative to
// the file.
type Config struct {
	Site    string   `yaml:"site"`    // short name: partners know the site by it
	Display string   `yaml:"display"` // for people
	Country string   `yaml:"country"` // ISO 3166: personalisation and keys stay in IN
	Roles   []string `yaml:"roles"`
	Data    string   `yaml:"data"`    // folder of everything that the site keeps
	Control string   `yaml:"control"` // unix socket for the site's own people
	Token   Token    `yaml:"token"`
	// Server is a PostgreSQL database, in the place of the file in the data folder.
	Server Server `yaml:"database,omitempty"`
	Edge   Edge   `yaml:"edge"`
	// Partners are the cards of the sites that this one talks to. What is not
	// here is refused at the door.
	Partners []string `yaml:"partners"`
	// Officers are files with the OpenPGP public keys of this operator's nodal
	// officers: response files are sealed to them too (SOP 5.4.b).
	Officers []string `yaml:"officers,omitempty"`
	// Contracts between operators and this manufacturer (bureau), or between
	// this operator and its manufacturer.
	Contracts []string `yaml:"contracts,omitempty"`
	// Formats are layouts of order and response files that contracts may name
	// beside those of the program.
	Formats  []string `yaml:"formats,omitempty"`
	Profiles []string `yaml:"profiles,omitempty"` // electrical profiles: files, or builtin:NAME
	// Plant is the partner that makes this bureau's cards.
	Plant string `yaml:"plant,omitempty"`
	// Stations are drawers of software chips, which this plant's line connects to.
	Stations []StationConfig `yaml:"stations,omitempty"`
	// Line is where stations with readers connect to this plant's line.
	Line LineConfig `yaml:"line,omitempty"`
	// Counting says who counts this plant's chips and cards: people, which is the
	// default, or site, for chips that are software: then the site moves them by
	// itself as the line takes them.
	Counting string `yaml:"counting,omitempty"`
	// Drawing says who draws this bureau's key sets when its database is on a
	// PostgreSQL server: site, which is the default, and then workers help, or
	// workers, and then nobody but them.
	Drawing string  `yaml:"drawing,omitempty"`
	Console Console `yaml:"console,omitempty"`
	Notify  Notify  `yaml:"notify,omitempty"`
	// HighWater is the file by which the site notices that its database is older
	// than it was; default: highwater in the data folder. It is worth most where
	// what puts a database back does not reach.
	HighWater string `yaml:"high_water,omitempty"`

	// Disk says when a disk is too full for new work.
	Disk Disk `yaml:"disk,omitempty"`
	// Time says how far the site's time follows the machine's clock.
	Time Time `yaml:"time,omitempty"`

	// Clock tells the time; nil is the machine's own. No document sets it.
	Clock Clock `yaml:"-"`
	// Discipline says whether something keeps the clock right; nil asks the kernel
	// of the machine's clock, and nobody of another. No document sets it.
	Discipline func() (Discipline, error) `yaml:"-"`
	// Steps is what every durable step of the site goes through; nil: nothing. No
	// document sets it either.
	Steps durable.Steps `yaml:"-"`

	file string
}

// Server is a database on a PostgreSQL server.
type Server struct {
	// URL is its address, without a password: postgres://ROLE@HOST/DATABASE, or
	// postgres:///DATABASE?host=/FOLDER&user=ROLE for a socket. A parameter
	// search_path names the schema, when the database is not the site's alone.
	URL      string `yaml:"url"`
	Password string `yaml:"password"` // file that holds it; systemd: ${CREDENTIALS_DIRECTORY}/database
}

// Token says where the site's security module is.
type Token struct {
	File       string `yaml:"file"`       // embedded token
	Passphrase string `yaml:"passphrase"` // file that holds its passphrase; systemd: ${CREDENTIALS_DIRECTORY}/token
	// RequireCertified refuses a module without a FIPS 140 certificate.
	RequireCertified bool `yaml:"require_certified"`
	// PKCS11 is an HSM, in the place of the embedded token.
	PKCS11 *PKCS11 `yaml:"pkcs11,omitempty"`
}

// PKCS11 is an HSM behind its vendor's library; see pkcs11.Config.
type PKCS11 struct {
	Module      string            `yaml:"module"` // path of the library
	Token       string            `yaml:"token"`  // one of label, serial number and slot
	Serial      string            `yaml:"serial"`
	Slot        *uint32           `yaml:"slot"`
	PIN         string            `yaml:"pin"` // file that holds it
	Certificate string            `yaml:"certificate"`
	Model       string            `yaml:"model"`    // that the certificate is for
	Firmware    string            `yaml:"firmware"` // likewise
	Mechanisms  map[string]string `yaml:"mechanisms"`
	Sessions    int               `yaml:"sessions"`
}

// Edge is the face to the network.
type Edge struct {
	Listen  string `yaml:"listen"`  // host:port; empty: nobody can send files to the site
	Address string `yaml:"address"` // as partners reach it; default: listen
	// Separate says that `ankan edge` runs it as a process of its own, which
	// shares nothing with the site but the spool folder.
	Separate bool `yaml:"separate"`
}

// Console is the web console, for the site's own people.
type Console struct {
	Listen string `yaml:"listen"` // host:port; empty: there is none
	// Origin is the console's address as browsers show it: passkeys are bound to
	// it. Default: http://localhost:PORT, which takes a loopback address.
	Origin      string `yaml:"origin"`
	Certificate string `yaml:"certificate"` // PEM; without one only a loopback address is served
	Key         string `yaml:"key"`         // PEM
	// Clients is a file with the CAs of client certificates. Without it any
	// client certificate is looked at, and known by its fingerprint alone.
	Clients string `yaml:"clients"`
	// Metadata of authenticators: the blob of FIDO's metadata service with the
	// certificate that it is verified up to, and a folder of single statements.
	// Without it no passkey counts as a biometric.
	Metadata     string   `yaml:"metadata"`
	MetadataRoot string   `yaml:"metadata_root"`
	Statements   string   `yaml:"statements"`
	Models       []string `yaml:"models,omitempty"` // AAGUIDs that may register; none: all
	// AllowSoftware lets software passkeys register, for demonstrations.
	AllowSoftware bool `yaml:"allow_software"`
}

// Notify is how people are told outside the console.
type Notify struct {
	notice.Config `yaml:",inline"`
	Addresses     map[string]string `yaml:"addresses"` // mail, by person number
}

// StationConfig is a reader at the line.
type StationConfig struct {
	Name    string `yaml:"name"`
	Network string `yaml:"network"` // of the chip drawer: tcp or unix
	Address string `yaml:"address"`
}

// LineConfig is the plant's door for stations.
type LineConfig struct {
	Listen string `yaml:"listen"` // host:port; empty: no station can connect
	// Stations are the stations that may, by name, each with the fingerprint of
	// its key as ankan-station prints it.
	Stations map[string]string `yaml:"stations,omitempty"`
}

// Known is the stations by their keys.
func (l LineConfig) Known() (map[station.Fingerprint]string, error) {
	all := map[station.Fingerprint]string{}
	for name, text := range l.Stations {
		key, err := station.ParseFingerprint(text)
		if err != nil {
			return nil, fmt.Errorf("line: station %s: %w", name, err)
		}
		if name == "" || strings.ContainsAny(name, "/ ") {
			return nil, fmt.Errorf("line: station %q: a name has neither a slash nor a space", name)
		}
		if other, ok := all[key]; ok {
			return nil, fmt.Errorf("line: stations %s and %s have one key; each makes its own", other, name)
		}
		all[key] = name
	}
	return all, nil
}

// maxSocketPath is what unix(7) leaves for a socket's name.
const maxSocketPath = 107

// LoadConfig reads a configuration file. Unknown keys are refused.
func LoadConfig(path string) (*Config, error) {
	doc, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ParseConfig(path, doc)
}

// ParseConfig reads a configuration that lies at path.
func ParseConfig(path string, doc []byte) (*Config, error) {
	c := &Config{file: path}
	if _, err := document.Read(path, doc, c); err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	abs := func(p *string) {
		*p = os.ExpandEnv(*p)
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	for _, p := range []*string{&c.Data, &c.Control, &c.Token.File, &c.Token.Passphrase, &c.Server.Password, &c.Console.Certificate, &c.Console.Key, &c.Console.Clients,
		&c.Console.Metadata, &c.Console.MetadataRoot, &c.Console.Statements, &c.HighWater} {
		abs(p)
	}
	if h := c.Token.PKCS11; h != nil {
		abs(&h.Module)
		abs(&h.PIN)
	}
	if h := c.Notify.SMTP; h != nil {
		abs(&h.PasswordFile)
		abs(&h.CA)
	}
	if h := c.Notify.Webhook; h != nil {
		abs(&h.SecretFile)
	}
	for _, list := range [][]string{c.Partners, c.Officers, c.Contracts, c.Formats} {
		for i := range list {
			abs(&list[i])
		}
	}
	for i := range c.Profiles {
		if _, ok := builtin(c.Profiles[i]); !ok {
			abs(&c.Profiles[i])
		}
	}
	if c.Edge.Address == "" {
		c.Edge.Address = c.Edge.Listen
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c.Notify.Site, c.Notify.Secret = c.Site, readSecretFile
	if err := c.Notify.Check(); err != nil {
		return nil, fmt.Errorf("%s: notify: %w", path, err)
	}
	return c, nil
}

func (c *Config) check() error {
	for _, key := range []struct{ name, value string }{
		{"site", c.Site}, {"display", c.Display}, {"data", c.Data}, {"control", c.Control},
	} {
		if key.value == "" {
			return fmt.Errorf("%s is missing", key.name)
		}
	}
	if err := errors.Join(c.Token.check(), c.Disk.check(), c.Time.check()); err != nil {
		return err
	}
	if err := c.Server.check(); err != nil {
		return err
	}
	if len(c.Control) > maxSocketPath {
		return fmt.Errorf("control: %q has %d bytes, a unix socket takes %d; give a shorter path", c.Control, len(c.Control), maxSocketPath)
	}
	if len(c.Roles) == 0 {
		return errors.New("roles: name at least one of operator, bureau, plant")
	}
	for _, r := range c.Roles {
		if !slices.Contains([]string{Operator, Bureau, Plant}, r) {
			return fmt.Errorf("roles: found %q, want operator, bureau or plant", r)
		}
	}
	if c.Country != "IN" && (c.Is(Bureau) || c.Is(Plant)) {
		return fmt.Errorf("country is %q: keys are made and cards are personalised in IN only (SOP 1.a, 6.4.e)", c.Country)
	}
	if c.Is(Bureau) && c.Plant == "" {
		return errors.New("plant: name the partner that makes the cards")
	}
	if c.Counting != "" && c.Counting != CountPeople && c.Counting != CountSite {
		return fmt.Errorf("counting is %q, want %s or %s", c.Counting, CountPeople, CountSite)
	}
	if err := c.checkDrawing(); err != nil {
		return err
	}
	for _, s := range c.Stations {
		if s.Name == "" || s.Address == "" || s.Network != "tcp" && s.Network != "unix" {
			return fmt.Errorf("stations: %q needs a name, network tcp or unix, and an address", s.Name)
		}
	}
	if (c.Line.Listen != "" || len(c.Line.Stations) > 0) && !c.Is(Plant) {
		return errors.New("line: only a plant has one")
	}
	_, err := c.Line.Known()
	return err
}

// check refuses a module that is none, or two.
func (t Token) check() error {
	p := t.PKCS11
	switch {
	case p == nil && t.File == "":
		return errors.New("token.file is missing; or name an HSM under token.pkcs11")
	case p == nil && t.Passphrase == "":
		return errors.New("token.passphrase is missing")
	case p != nil && (t.File != "" || t.Passphrase != ""):
		return errors.New("token: file and passphrase are of the embedded token, pkcs11 of an HSM; name one of the two")
	case p != nil && (p.Module == "" || p.PIN == ""):
		return errors.New("token.pkcs11 needs module, the path of the library, and pin, a file that holds the PIN")
	}
	return nil
}

// check refuses an address that is none or that gives away its password.
func (s Server) check() error {
	if s.URL == "" {
		if s.Password != "" {
			return errors.New("database.url is missing")
		}
		return nil
	}
	if _, err := store.ParseAddress(s.URL); err != nil {
		return fmt.Errorf("database.url: %w", err)
	}
	return nil
}

func (c *Config) checkDrawing() error {
	switch {
	case c.Drawing == "":
		return nil
	case c.Drawing != DrawSite && c.Drawing != DrawWorkers:
		return fmt.Errorf("drawing is %q, want %s or %s", c.Drawing, DrawSite, DrawWorkers)
	case !c.Is(Bureau):
		return errors.New("drawing: only a bureau draws")
	case c.Drawing == DrawWorkers && !store.IsPostgres(c.Database()):
		return errors.New("drawing: workers share a database on a PostgreSQL server with the site; name one under database, or let the site draw")
	}
	return nil
}

// Is says whether the site has a role.
func (c *Config) Is(role string) bool { return slices.Contains(c.Roles, role) }

// Path is a file or folder in the site's data folder.
func (c *Config) Path(name string) string { return filepath.Join(c.Data, name) }

// LineDir is the folder of the key by which stations know the plant.
func (c *Config) LineDir() string { return c.Path("line") }

// SpoolDir is the folder through which the site and its edge talk.
func (c *Config) SpoolDir() string { return c.Path("spool") }

// EdgeDir is the folder of the edge's own keys.
func (c *Config) EdgeDir() string { return c.Path("edge") }

// Database is the path of the site's database: a file, or the address of a
// server, as store.Config has it.
func (c *Config) Database() string {
	if c.Server.URL != "" {
		return c.Server.URL
	}
	return c.Path("ankan.db")
}

// DatabasePassword reads what the database's server asks for; nil when that is nothing.
func (c *Config) DatabasePassword() func() (string, error) {
	if c.Server.Password == "" {
		return nil
	}
	return func() (string, error) {
		b, err := readSecretFile(c.Server.Password)
		return string(b), err
	}
}

// HighWaterFile is the path of the high-water file.
func (c *Config) HighWaterFile() string { return cmp.Or(c.HighWater, c.Path("highwater")) }

// CardFile is the partner card that the site gives to its partners.
func (c *Config) CardFile() string { return c.Path("partner.yaml") }

func builtin(name string) (string, bool) {
	const prefix = "builtin:"
	if len(name) > len(prefix) && name[:len(prefix)] == prefix {
		return name[len(prefix):], true
	}
	return "", false
}
