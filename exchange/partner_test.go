package exchange

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/google/go-cmp/cmp"
)

func mustTime(day string) time.Time {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(err)
	}
	return t
}

func TestCardRoundTrip(t *testing.T) {
	card := newCard(t, "bureau", newIdentity(t, "bureau").PublicKey())
	doc, err := card.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParsePartner("bureau.yaml", doc)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(card, p.Card()); diff != "" {
		t.Error(diff)
	}
	again, err := p.Card().Marshal()
	if err != nil || !bytes.Equal(again, doc) {
		t.Errorf("marshalled again: %v\n%s", err, again)
	}
	if p.Certificate() == nil || p.SSH() == nil || p.Log() == nil || p.Agree() == nil || p.Site() == nil ||
		p.Name() != "bureau" || !p.Has("plant") || p.Has("operator") || p.Fingerprint() != newIdentity(t, "bureau").Fingerprint() {
		t.Errorf("got %+v", p)
	}
	other := card
	other.Display += "."
	doc2, _ := other.Marshal()
	q, err := ParsePartner("b.yaml", doc2)
	if err != nil || q.Digest() == p.Digest() {
		t.Errorf("digest does not tell cards apart: %v", err)
	}
}

func TestParsePartnerRefuses(t *testing.T) {
	base := newCard(t, "bureau", newIdentity(t, "bureau").PublicKey())
	_, secret, _ := ed25519.GenerateKey(rand.Reader)
	der, _ := x509.MarshalPKCS8PrivateKey(secret)
	secretPEM := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	otherCurve, err := MarshalPublicKey(&p256.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	private := func() string {
		e, err := openpgp.NewEntity("x", "", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := e.SerializePrivate(&b, nil); err != nil {
			t.Fatal(err)
		}
		return armoredBytes(t, openpgp.PrivateKeyType, b.Bytes())
	}()
	signOnly := func() string {
		e := *newIdentity(t, "bureau").entity
		e.Subkeys = nil
		var b bytes.Buffer
		if err := e.Serialize(&b); err != nil {
			t.Fatal(err)
		}
		return armoredBytes(t, openpgp.PublicKeyType, b.Bytes())
	}()
	place := regexp.MustCompile(`^bureau\.yaml:[0-9]+:[0-9]+: `)
	for _, test := range []struct {
		name   string
		change func(*Card)
		want   string // in the error
	}{
		{"no name", func(c *Card) { c.Name = "" }, `name: found ""`},
		{"name with slash", func(c *Card) { c.Name = "../x" }, "name: "},
		{"name in capitals", func(c *Card) { c.Name = "Bureau" }, "name: "},
		{"long name", func(c *Card) { c.Name = strings.Repeat("a", 33) }, "name: "},
		{"name ends in hyphen", func(c *Card) { c.Name = "a-" }, "name: "},
		{"no display", func(c *Card) { c.Display = "" }, "display: "},
		{"display with escape", func(c *Card) { c.Display = "a\x1b[2Jb" }, "display: "},
		{"no role", func(c *Card) { c.Roles = nil }, "roles: found none"},
		{"strange role", func(c *Card) { c.Roles = []string{"king"} }, `roles: found "king"`},
		{"role twice", func(c *Card) { c.Roles = []string{"plant", "plant"} }, "roles: found plant twice"},
		{"country", func(c *Card) { c.Country = "in" }, "country: "},
		{"address without port", func(c *Card) { c.Address = "host" }, "address: "},
		{"address with path", func(c *Card) { c.Address = "host/x:1" }, "address: "},
		{"port", func(c *Card) { c.Address = "host:99999" }, "address: found port"},
		{"no openpgp", func(c *Card) { c.OpenPGP = "" }, "openpgp: "},
		{"private openpgp", func(c *Card) { c.OpenPGP = private }, "openpgp: "},
		{"openpgp cannot receive", func(c *Card) { c.OpenPGP = signOnly }, "cannot receive"},
		{"no tls", func(c *Card) { c.TLS = "" }, "tls: "},
		{"tls key", func(c *Card) { c.TLS = secretPEM }, `tls: found no PEM block "CERTIFICATE"`},
		{"tls twice", func(c *Card) { c.TLS += c.TLS }, "tls: found text around"},
		{"tls damaged", func(c *Card) { c.TLS = strings.Replace(c.TLS, "MII", "MIA", 1) }, "tls: "},
		{"no ssh", func(c *Card) { c.SSH = "" }, "ssh: "},
		{"ssh options", func(c *Card) { c.SSH = `command="sh" ` + c.SSH }, "ssh: found options"},
		{"ssh twice", func(c *Card) { c.SSH += "\n" + c.SSH }, "ssh: "},
		{"ssh rsa", func(c *Card) { c.SSH = rsaSSH }, "ssh: found ssh-rsa"},
		{"log", func(c *Card) { c.Log = "x" }, "log: "},
		{"agree on P-256", func(c *Card) { c.Agree = otherCurve }, "agree: found *ecdsa.PublicKey, want a key on P-521"},
		{"agree is the site key", func(c *Card) { c.Agree = c.Site }, "agree: found ed25519"},
		{"site is the agree key", func(c *Card) { c.Site = c.Agree }, "site: found *ecdsa"},
		{"site private", func(c *Card) { c.Site = secretPEM }, "site: found no PEM"},
		{"site not DER", func(c *Card) { c.Site = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n" }, "site: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			card := base
			test.change(&card)
			doc, err := card.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			p, err := ParsePartner("bureau.yaml", doc)
			if err == nil || p != nil {
				t.Fatal("not refused")
			}
			if !place.MatchString(err.Error()) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want file:line:column: and %q", err, test.want)
			}
			if strings.Contains(err.Error(), "PRIVATE KEY-----\nMC") {
				t.Error("error shows a private key")
			}
		})
	}
}

func TestParsePartnerRefusesForm(t *testing.T) {
	doc, err := newCard(t, "bureau", newIdentity(t, "bureau").PublicKey()).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ doc, want string }{
		"unknown field": {string(doc) + "password: x\n", "b.yaml:"},
		"field twice":   {string(doc) + "name: other\n", "b.yaml:"},
		"two documents": {string(doc) + "---\n" + string(doc), "2 YAML documents"},
		"empty":         {"", "empty"},
		"a list":        {"- a\n", "b.yaml"},
		"not YAML":      {"a: [", "b.yaml:1:"},
		"too large":     {string(doc) + "#" + strings.Repeat("x", maxCard), "65536"},
	} {
		if p, err := ParsePartner("b.yaml", []byte(test.doc)); err == nil || p != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
	if _, err := MarshalPublicKey("x"); err == nil {
		t.Error("a string is no public key")
	}
}

func armoredBytes(t testing.TB, kind string, b []byte) string {
	return armored(t, kind, func(w io.Writer) { w.Write(b) })
}

const rsaSSH = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDAo1HxfjNNzhnNVEBLvRxbPUyQtv5bZnmJpQa3DJdGqQ0WvE9rJY8YbPJLZPoZjbiZPwzKSHRXvcXKGxhSW4v0NW/rjTMqKpY4j4nHSJkTTq0q7W9nN4D8gWcRQG2Z3GxZjgIbsnlWyRzGSuVYrrd8CEj7DeZzWl1TMKcCcJ3s5w== x"

func FuzzParsePartner(f *testing.F) {
	if doc, err := os.ReadFile("testdata/partner.yaml"); err != nil {
		f.Fatal(err)
	} else {
		f.Add(doc)
	}
	f.Add([]byte("name: a\nroles: [plant]\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := ParsePartner("a.yaml", doc)
		if err != nil {
			return
		}
		again, err := p.Card().Marshal()
		if err != nil {
			t.Fatal(err)
		}
		q, err := ParsePartner("a.yaml", again)
		if err != nil || !cmp.Equal(p.Card(), q.Card()) {
			t.Fatalf("marshalled card differs: %v\n%s", err, again)
		}
	})
}

// TestPartnerFile keeps a card that an earlier version wrote readable.
func TestPartnerFile(t *testing.T) {
	doc, err := os.ReadFile("testdata/partner.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParsePartner("testdata/partner.yaml", doc)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := p.Card().Marshal(); err != nil || !bytes.Equal(again, doc) {
		t.Errorf("marshalled again: %v\n%s", err, again)
	}
}
