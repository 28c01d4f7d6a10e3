package site

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A configuration that is taken; tests change one line of it.
const goodConfig = `site: works
display: Works
country: IN
roles: [operator, bureau, plant]
data: data
control: works.sock
token:
  file: data/token
  passphrase: ${ANKAN_TEST_CREDENTIALS}/token
edge:
  listen: 127.0.0.1:7000
partners: [cards/a.yaml, /b.yaml]
officers: [o.asc]
contracts: [c.yaml]
profiles: [builtin:in-5g-usim, p.yaml]
plant: makers
stations:
  - {name: one, network: unix, address: chips.sock}
`

func TestParseConfig(t *testing.T) {
	t.Setenv("ANKAN_TEST_CREDENTIALS", "/run/credentials")
	c, err := ParseConfig("/etc/ankan/site.yaml", []byte(goodConfig))
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []struct{ what, found, want string }{
		{"data", c.Data, "/etc/ankan/data"},
		{"control", c.Control, "/etc/ankan/works.sock"},
		{"token file", c.Token.File, "/etc/ankan/data/token"},
		{"passphrase", c.Token.Passphrase, "/run/credentials/token"},
		{"partners", strings.Join(c.Partners, " "), "/etc/ankan/cards/a.yaml /b.yaml"},
		{"officers", strings.Join(c.Officers, " "), "/etc/ankan/o.asc"},
		{"contracts", strings.Join(c.Contracts, " "), "/etc/ankan/c.yaml"},
		{"profiles", strings.Join(c.Profiles, " "), "builtin:in-5g-usim /etc/ankan/p.yaml"},
		{"address", c.Edge.Address, "127.0.0.1:7000"},
		{"database", c.Database(), "/etc/ankan/data/ankan.db"},
		{"spool", c.SpoolDir(), "/etc/ankan/data/spool"},
		{"edge", c.EdgeDir(), "/etc/ankan/data/edge"},
		{"card", c.CardFile(), "/etc/ankan/data/partner.yaml"},
	} {
		if got.found != got.want {
			t.Errorf("%s is %q, want %q", got.what, got.found, got.want)
		}
	}
}

func TestConfigRefused(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{"site: works\n", "", "site.yaml: site is missing"},
		{"display: Works\n", "", "site.yaml: display is missing"},
		{"data: data\n", "", "site.yaml: data is missing"},
		{"control: works.sock\n", "", "site.yaml: control is missing"},
		{"  file: data/token\n", "", "site.yaml: token.file is missing"},
		{"  passphrase: ${ANKAN_TEST_CREDENTIALS}/token\n", "", "site.yaml: token.passphrase is missing"},
		{"data: data\n", "data: ${ANKAN_TEST_NOT_SET}\n", "site.yaml: data is missing"},
		{"roles: [operator, bureau, plant]\n", "", "site.yaml: roles: name at least one of operator, bureau, plant"},
		{"roles: [operator, bureau, plant]", "roles: [operator, auditor]", `site.yaml: roles: found "auditor", want operator, bureau or plant`},
		{"country: IN", "country: NP", `site.yaml: country is "NP": keys are made and cards are personalised in IN only (SOP 1.a, 6.4.e)`},
		{"country: IN\n", "", `site.yaml: country is "": keys`},
		{"plant: makers\n", "", "site.yaml: plant: name the partner that makes the cards"},
		{"control: works.sock", "control: /" + strings.Repeat("s", 107), `ssss" has 108 bytes, a unix socket takes 107; give a shorter path`},
		{"{name: one, ", "{", `site.yaml: stations: "" needs a name, network tcp or unix, and an address`},
		{"network: unix", "network: udp", `site.yaml: stations: "one" needs a name, network tcp or unix, and an address`},
		{", address: chips.sock", "", `site.yaml: stations: "one" needs a name, network tcp or unix, and an address`},
		{"plant: makers\n", "plant: makers\ndrawing: elves\n", `site.yaml: drawing is "elves", want site or workers`},
		{"plant: makers\n", "plant: makers\ndrawing: workers\n", "site.yaml: drawing: workers share a database on a PostgreSQL server"},
		{"roles: [operator, bureau, plant]", "drawing: site\nroles: [operator, plant]", "site.yaml: drawing: only a bureau draws"},
		{"plant: makers\n", "plants: makers\n", `site.yaml:16:1: unknown field "plants"`},
		{"  file: data/token\n", "  path: data/token\n", `site.yaml:8:3: unknown field "path"`},
		{"site: works\n", "site: works\nsite: again\n", "site.yaml:2:1: "},
		{"roles: [operator, bureau, plant]", "roles: [operator", "site.yaml:"},
	} {
		doc := strings.Replace(goodConfig, tt.old, tt.new, 1)
		if doc == goodConfig {
			t.Fatalf("%q is not in the configuration", tt.old)
		}
		c, err := ParseConfig("/c/site.yaml", []byte(doc))
		if c != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q instead of %q: %v, want %q", tt.new, tt.old, err, tt.want)
		}
	}
}

// Where no keys are made and no cards, a site may be anywhere.
func TestConfigOfForeignOperator(t *testing.T) {
	doc := strings.NewReplacer("country: IN", "country: NP", "roles: [operator, bureau, plant]", "roles: [operator]", "plant: makers\n", "").Replace(goodConfig)
	if _, err := ParseConfig("/c/site.yaml", []byte(doc)); err != nil {
		t.Error(err)
	}
}

// The longest path that a unix socket takes is taken.
func TestLongestSocket(t *testing.T) {
	doc := strings.Replace(goodConfig, "control: works.sock", "control: /"+strings.Repeat("s", maxSocketPath-1), 1)
	if _, err := ParseConfig("/c/site.yaml", []byte(doc)); err != nil {
		t.Error(err)
	}
}

func TestLoadConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site.yaml")
	if _, err := LoadConfig(path); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte(goodConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := LoadConfig(path); err != nil || c.Data != filepath.Join(filepath.Dir(path), "data") {
		t.Error(c, err)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(goodConfig))
	f.Add([]byte("site: [\n"))
	f.Add([]byte("stations: [{}]\nprofiles: ['builtin:']\n"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := ParseConfig("/c/site.yaml", doc)
		if err != nil {
			if c != nil || !strings.HasPrefix(err.Error(), "/c/site.yaml:") {
				t.Errorf("refused with %v and %v", c, err)
			}
			return
		}
		for _, p := range append([]string{c.Data, c.Control, c.Token.File, c.Token.Passphrase}, c.Partners...) {
			if p != "" && !filepath.IsAbs(p) {
				t.Errorf("path %q is relative", p)
			}
		}
		if len(c.Control) > maxSocketPath || len(c.Roles) == 0 || c.Country != "IN" && (c.Is(Bureau) || c.Is(Plant)) {
			t.Errorf("%+v was taken", c)
		}
	})
}
