package site

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/passkey"
	"ankan/store"
)

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func quiet(string) {}

// contractText is what the operator "op" and the manufacturer "maker" agreed.
const contractText = `contract: T-1
operator: op
customer: Demo Mobile Ltd
manufacturer: {partner: maker, name: Maker, registration: R-1, development: "Pune, IN", personalisation: "Nashik, IN"}
licence: {kind: UL, number: L-1, service_areas: [Karnataka], valid_until: "2046-03-31"}
products:
  - {name: USIM-5G, form_factor: 4FF, chip: software chip, os: ankan-reference 1.0}
profiles:
  - {name: in-5g-usim, version: "1.0", product: USIM-5G}
files:
  dialect: dialect1
  order_iccid: 18 check
  response_iccid: 18 check
  columns: ICCID/IMSI/PIN1/EKI/EOPC
transport_keys:
  - {index: 11}
iccid_issuer: "8991999"
network: {mcc: "404", mnc: "99"}
ranges:
  - {iccid: 899199900000100000-899199900000999999, imsi: 404990000100000-404990000999999}
max_quantity: 100000
spares: {percent: 1, min: 10}
reject: retire
destruction_limit: 30d
alarms: [noc@operator.example]
`

// configOf is the configuration of a site in a folder of its own, whose name is
// short enough for a socket. The site is not set up.
func configOf(t testing.TB, name, roles, partners string) *Config {
	t.Helper()
	dir := must[string](t)(os.MkdirTemp("", "ankan"))
	t.Cleanup(func() { os.RemoveAll(dir) })
	doc := fmt.Sprintf(`site: %s
display: Site %s
country: IN
roles: [%s]
data: data
control: s
token: {file: data/token, passphrase: pass}
edge: {listen: "127.0.0.1:7001", separate: true}
partners: [%s]
contracts: [contract.yaml]
profiles: ["builtin:in-5g-usim"]
plant: plant
`, name, name, roles, partners)
	for file, text := range map[string]string{"pass": "a passphrase for tests\n", "contract.yaml": contractText, "site.yaml": doc} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return must[*Config](t)(LoadConfig(filepath.Join(dir, "site.yaml")))
}

// A crew is people with their passkeys.
type crew struct {
	people []act.Person
	keys   map[string]act.Key
}

// founders is two people with the passkeys of a site.
func founders(t testing.TB, ids ...string) crew {
	t.Helper()
	if ids == nil {
		ids = []string{"0001", "0002"}
	}
	all := crew{keys: map[string]act.Key{}}
	for i, role := range []string{"key-manager", "security-officer"} {
		key := must[*passkey.Soft](t)(passkey.NewSoft("site.example", "https://site.example"))
		all.keys[ids[i]] = key
		all.people = append(all.people, act.Person{ID: ids[i], Name: "Person", Roles: []string{role}, Employment: act.Permanent, Credential: key.Credential})
	}
	return all
}

// founding is what they sign.
func (f crew) founding(t testing.TB, c *Config) act.Founding {
	t.Helper()
	return must[act.Founding](t)(act.Found(c.Site, access.DefaultPolicy(), f.people, f.keys, time.Now()))
}

// initSite sets a site up with a token of its own.
func initSite(t testing.TB, c *Config) hsm.Token {
	t.Helper()
	token := hsmtest.Soft(t, nil)
	if err := Init(t.Context(), c, token, founders(t).founding(t, c), quiet); err != nil {
		t.Fatal(err)
	}
	return token
}

// openSite opens a site that was set up; the test's end closes it.
func openSite(t testing.TB, c *Config, token hsm.Token) *Site {
	t.Helper()
	s := must[*Site](t)(Open(t.Context(), c, token, slog.New(slog.NewTextHandler(io.Discard, nil))))
	t.Cleanup(func() { s.Close() })
	return s
}

// change writes to a site's store.
func (s *Site) change(t testing.TB, fn func(*store.Tx) error) {
	t.Helper()
	if err := s.store.Change(t.Context(), audit.Entry{Kind: "test", Actor: "test"}, fn); err != nil {
		t.Fatal(err)
	}
}
