// Package sitetest makes sites for tests of packages that do something at one.
package sitetest

import (
	"crypto/sha256"
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
	"ankan/exchange/edge"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/message"
	"ankan/order"
	"ankan/passkey"
	"ankan/site"
	"ankan/store"
	"ankan/store/storetest"
)

// Must gives what f returned, or ends the test.
func Must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

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

// Config is the configuration of a site in a folder of its own, whose name is
// short enough for a socket. The site is not set up.
func Config(t testing.TB, name, roles string) *site.Config {
	t.Helper()
	dir := Must[string](t)(os.MkdirTemp("", "ankan"))
	t.Cleanup(func() { os.RemoveAll(dir) })
	doc := fmt.Sprintf(`site: %s
display: Site %s
country: IN
roles: [%s]
data: data
control: s
token: {file: data/token, passphrase: pass}
edge: {listen: "127.0.0.1:7001", separate: true}
contracts: [contract.yaml]
profiles: ["builtin:in-5g-usim"]
plant: plant
%s`, name, name, roles, storetest.Section(t))
	for file, text := range map[string]string{"pass": "a passphrase for tests\n", "contract.yaml": contractText, "site.yaml": doc} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := Must[*site.Config](t)(site.LoadConfig(filepath.Join(dir, "site.yaml")))
	// Whether the machine that tests has a time service is not what they test.
	c.Discipline = func() (site.Discipline, error) {
		return site.Discipline{Synchronised: true, Within: time.Millisecond}, nil
	}
	return c
}

// A Crew is people with their passkeys.
type Crew struct {
	People []act.Person
	Keys   map[string]act.Key
}

// Founders is two people with the passkeys of a site, a key manager and a
// security officer; 0001 and 0002 if no numbers are given.
func Founders(t testing.TB, ids ...string) Crew {
	t.Helper()
	if ids == nil {
		ids = []string{"0001", "0002"}
	}
	all := Crew{Keys: map[string]act.Key{}}
	for i, role := range []string{"key-manager", "security-officer"} {
		key := Must[*passkey.Soft](t)(passkey.NewSoft("site.example", "https://site.example"))
		all.Keys[ids[i]] = key
		all.People = append(all.People, act.Person{ID: ids[i], Name: "Person", Roles: []string{role}, Employment: act.Permanent, Credential: key.Credential})
	}
	return all
}

// Founding is what they sign to found a site under the default policy.
func (f Crew) Founding(t testing.TB, c *site.Config) access.Founding {
	t.Helper()
	return access.Founding{Founding: Must[act.Founding](t)(act.Found(c.Site, access.DefaultPolicy(), f.People, f.Keys, time.Now()))}
}

// Init sets a site up with a token of its own.
func Init(t testing.TB, c *site.Config, parts ...site.Part) hsm.Module {
	t.Helper()
	token := hsmtest.Soft(t, nil)
	if err := site.Init(t.Context(), c, token, Founders(t).Founding(t, c), func(string) {}, parts...); err != nil {
		t.Fatal(err)
	}
	return token
}

// Open opens a site that was set up; the test's end closes it.
func Open(t testing.TB, c *site.Config, token hsm.Module, parts ...site.Part) *site.Site {
	t.Helper()
	s := Must[*site.Site](t)(site.Open(t.Context(), c, token, slog.New(slog.NewTextHandler(io.Discard, nil)), parts...))
	t.Cleanup(func() { s.Close() })
	return s
}

// New is a site that was set up and opened. The test's end
// closes it.
func New(t testing.TB, name, roles string, parts ...site.Part) *site.Site {
	t.Helper()
	c := Config(t, name, roles)
	return Open(t, c, Init(t, c, parts...), parts...)
}

// Pair is an operator "op" and a bureau "maker" that know each other.
func Pair(t testing.TB, parts ...site.Part) (op, maker *site.Site) {
	t.Helper()
	a, b := Config(t, "op", site.Operator), Config(t, "maker", site.Bureau)
	ta, tb := Init(t, a, parts...), Init(t, b, parts...)
	a.Partners, b.Partners = []string{b.CardFile()}, []string{a.CardFile()}
	return Open(t, a, ta, parts...), Open(t, b, tb, parts...)
}

// Hand gives the file that from put into its spool to the other site.
func Hand(t testing.TB, from, to *site.Site, name string) error {
	t.Helper()
	path := filepath.Join(from.Config().SpoolDir(), "out", to.Config().Site, name+".data")
	f := Must[*os.File](t)(os.Open(path))
	defer f.Close()
	sum := sha256.New()
	Must[int64](t)(io.Copy(sum, f))
	return to.Dispatch(t.Context(), &edge.File{Meta: edge.Meta{Partner: from.Config().Site, Name: name, SHA256: fmt.Sprintf("%x", sum.Sum(nil))}, Path: path})
}

// Message has from send a message and to take it.
func Message(t testing.TB, from, to *site.Site, name string, v any) error {
	t.Helper()
	if err := from.Send(t.Context(), to.Config().Site, name, message.JSON(v)); err != nil {
		t.Fatal(err)
	}
	return Hand(t, from, to, name)
}

// Change writes to a site's store.
func Change(t testing.TB, s *site.Site, fn func(*store.Tx) error) {
	t.Helper()
	if err := s.Store().Change(t.Context(), audit.Entry{Kind: "test", Actor: "test"}, fn); err != nil {
		t.Fatal(err)
	}
}

// Put records an order that went through states.
func Put(t testing.TB, s *site.Site, o order.Order, states ...order.State) {
	t.Helper()
	Change(t, s, func(tx *store.Tx) error {
		o.State = states[0]
		if err := order.Insert(tx, o); err != nil {
			return err
		}
		for i, to := range states[1:] {
			if err := order.Move(tx, o.ID, states[i], to); err != nil {
				return err
			}
		}
		return nil
	})
}

// Get is an order, which must be in a state.
func Get(t testing.TB, s *site.Site, id string, state order.State) order.Order {
	t.Helper()
	o := Must[order.Order](t)(order.Get(t.Context(), s.Store(), id))
	if o.State != state {
		t.Fatalf("order %s at %s is %s, want %s", id, s.Config().Site, o.State, state)
	}
	return o
}
