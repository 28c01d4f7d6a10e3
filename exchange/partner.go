package exchange

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/goccy/go-yaml"
	"golang.org/x/crypto/ssh"
	"golang.org/x/mod/sumdb/note"

	"ankan/document"
)

// maxCard is the most bytes that a partner card may have.
const maxCard = 64 << 10

// partnerName is what a partner may be called: it names folders and SSH users.
var partnerName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// A Card is the file that a site gives its partners: who it is and its public
// keys. All of it is text; ParsePartner checks it.
type Card struct {
	Name    string   `yaml:"name"`    // short id, [a-z0-9-], 1 to 32 characters: also the SSH user
	Display string   `yaml:"display"` // for people
	Roles   []string `yaml:"roles"`   // of operator, bureau, plant
	Country string   `yaml:"country"` // ISO 3166-1 alpha-2
	Address string   `yaml:"address"` // host:port of its edge; empty if it fetches its files from us
	OpenPGP string   `yaml:"openpgp"` // armored public key
	TLS     string   `yaml:"tls"`     // PEM certificate, of client and server alike; pinned by its public key
	SSH     string   `yaml:"ssh"`     // authorized_keys line, of user and host alike
	// The three that follow are empty for a partner who works with stock tools.
	Log   string `yaml:"log,omitempty"`   // verifier key of its audit log (C2SP signed-note)
	Agree string `yaml:"agree,omitempty"` // PEM P-521 public key that receives wrapped keys
	Site  string `yaml:"site,omitempty"`  // PEM Ed25519 public key that signs certificates and receipts
	// Officers are the OpenPGP public keys of the partner's nodal officers,
	// armored: response files are sealed to them as well (SOP 5.4.b).
	Officers []string `yaml:"officers,omitempty"`
}

// A Partner is another site, pinned by its keys. Only ParsePartner makes one;
// nothing can be sealed for the zero Partner, and nothing opens that claims to
// be from it.
type Partner struct {
	card  Card
	key   *openpgp.Entity
	tls   *x509.Certificate
	ssh   ssh.PublicKey
	log   note.Verifier
	agree *ecdsa.PublicKey
	site  ed25519.PublicKey

	officers []*openpgp.Entity
}

// Card is what ParsePartner read.
func (p *Partner) Card() Card { return p.card }

// Name is the partner's short id.
func (p *Partner) Name() string { return p.card.Name }

// Fingerprint is that of the OpenPGP primary key, in upper-case hexadecimal.
func (p *Partner) Fingerprint() string {
	if p == nil || p.key == nil {
		return ""
	}
	return fmt.Sprintf("%X", p.key.PrimaryKey.Fingerprint)
}

// Certificate is the TLS certificate; its public key is what is pinned.
func (p *Partner) Certificate() *x509.Certificate { return p.tls }

// SSH is the key of the partner's SSH user and of its SSH host.
func (p *Partner) SSH() ssh.PublicKey { return p.ssh }

// Log verifies the partner's audit log checkpoints; nil if it has none.
func (p *Partner) Log() note.Verifier { return p.log }

// Agree is the P-521 key to which keys for this partner are wrapped; nil if it
// has none.
func (p *Partner) Agree() *ecdsa.PublicKey { return p.agree }

// Site is the Ed25519 key that signs the partner's certificates and receipts;
// nil if it has none.
func (p *Partner) Site() ed25519.PublicKey { return p.site }

// Digest is the SHA-256 of the card's canonical form: what two people compare
// by telephone before a partner is pinned.
func (p *Partner) Digest() [sha256.Size]byte {
	doc, err := p.card.Marshal()
	if err != nil {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(doc)
}

// Has reports whether the partner has a role.
func (p *Partner) Has(role string) bool { return slices.Contains(p.card.Roles, role) }

// Marshal is the card as ParsePartner reads it.
func (c Card) Marshal() ([]byte, error) {
	doc, err := yaml.MarshalWithOptions(c, yaml.UseLiteralStyleIfMultiline(true), yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("writing partner card %s: %w", c.Name, err)
	}
	return doc, nil
}

// MarshalPublicKey is a public key as a card has it: PEM, PKIX.
func MarshalPublicKey(key crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("public key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// ParsePartner reads a partner card. It is strict: unknown, missing, repeated
// and malformed fields are refused as `file:line:column: field ...`.
func ParsePartner(file string, doc []byte) (*Partner, error) {
	if len(doc) > maxCard {
		return nil, fmt.Errorf("%s: partner card has %d bytes, want at most %d", file, len(doc), maxCard)
	}
	var card Card
	tree, err := document.Read(file, doc, &card)
	if err != nil {
		return nil, err
	}
	p := &Partner{card: card}
	for _, f := range cardFields {
		if err := f.check(p); err != nil {
			line, column := tree.Place("$." + f.name)
			return nil, fmt.Errorf("%s:%d:%d: %s: %w", file, line, column, f.name, err)
		}
	}
	return p, nil
}

// cardFields are the rules, in the order of the card.
var cardFields = []struct {
	name  string
	check func(*Partner) error
}{
	{"name", (*Partner).checkName},
	{"display", (*Partner).checkDisplay},
	{"roles", (*Partner).checkRoles},
	{"country", (*Partner).checkCountry},
	{"address", (*Partner).checkAddress},
	{"openpgp", (*Partner).readOpenPGP},
	{"tls", (*Partner).readTLS},
	{"ssh", (*Partner).readSSH},
	{"log", (*Partner).readLog},
	{"agree", (*Partner).readAgree},
	{"site", (*Partner).readSite},
	{"officers", (*Partner).readOfficers},
}

func (p *Partner) checkName() error {
	if !partnerName.MatchString(p.card.Name) {
		return fmt.Errorf("found %q, want 1 to 32 of a-z, 0-9 and inner hyphens", p.card.Name)
	}
	return nil
}

func (p *Partner) checkDisplay() error {
	d := p.card.Display
	if d == "" || len(d) > 100 || d != strings.TrimSpace(d) || strings.ContainsFunc(d, unicode.IsControl) {
		return fmt.Errorf("found %q, want 1 to 100 bytes of printable text", d)
	}
	return nil
}

func (p *Partner) checkRoles() error {
	if len(p.card.Roles) == 0 {
		return errors.New("found none, want one or more of operator, bureau, plant")
	}
	for i, role := range p.card.Roles {
		if role != "operator" && role != "bureau" && role != "plant" {
			return fmt.Errorf("found %q, want operator, bureau or plant", role)
		}
		if slices.Contains(p.card.Roles[:i], role) {
			return fmt.Errorf("found %s twice", role)
		}
	}
	return nil
}

func (p *Partner) checkCountry() error {
	c := p.card.Country
	if len(c) != 2 || c[0] < 'A' || c[0] > 'Z' || c[1] < 'A' || c[1] > 'Z' {
		return fmt.Errorf("found %q, want two capital letters (ISO 3166-1)", c)
	}
	return nil
}

func (p *Partner) checkAddress() error {
	if p.card.Address == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(p.card.Address)
	if err != nil || host == "" || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' }) {
		return fmt.Errorf("found %q, want host:port, or nothing if the partner fetches", p.card.Address)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("found port %q, want 1 to 65535", port)
	}
	return nil
}

func (p *Partner) readOpenPGP() error {
	key, err := readPublicKey(p.card.OpenPGP)
	if err != nil {
		return err
	}
	config := sealConfig()
	if _, err := key.EncryptionKeyWithError(time.Time{}, config); err != nil {
		return fmt.Errorf("OpenPGP key %X cannot receive: %w", key.PrimaryKey.Fingerprint, err)
	}
	if _, ok := key.SigningKey(time.Time{}, config); !ok {
		return fmt.Errorf("OpenPGP key %X cannot sign", key.PrimaryKey.Fingerprint)
	}
	p.key = key
	return nil
}

func (p *Partner) readOfficers() error {
	for i, armored := range p.card.Officers {
		key, err := readPublicKey(armored)
		if err != nil {
			return fmt.Errorf("officer %d: %w", i+1, err)
		}
		if _, err := key.EncryptionKeyWithError(time.Time{}, sealConfig()); err != nil {
			return fmt.Errorf("officer %d: OpenPGP key %X cannot receive: %w", i+1, key.PrimaryKey.Fingerprint, err)
		}
		p.officers = append(p.officers, key)
	}
	return nil
}

func (p *Partner) readTLS() error {
	der, err := onePEM(p.card.TLS, "CERTIFICATE")
	if err != nil {
		return err
	}
	if p.tls, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	return nil
}

func (p *Partner) readSSH() error {
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(p.card.SSH))
	if err != nil {
		return errors.New("found no SSH public key, want a line such as `ssh-ed25519 AAAA...`")
	}
	if len(options) != 0 || len(bytes.TrimSpace(rest)) != 0 {
		return errors.New("found options or a second line, want one key alone")
	}
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
	default:
		return fmt.Errorf("found %s, want Ed25519 or ECDSA", key.Type())
	}
	p.ssh = key
	return nil
}

func (p *Partner) readLog() error {
	if p.card.Log == "" {
		return nil
	}
	v, err := note.NewVerifier(p.card.Log)
	if err != nil {
		return fmt.Errorf("found %q, want name+hash+key: %w", p.card.Log, err)
	}
	p.log = v
	return nil
}

func (p *Partner) readAgree() error {
	if p.card.Agree == "" {
		return nil
	}
	key, err := readPKIX(p.card.Agree)
	if err != nil {
		return err
	}
	pub, ok := key.(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P521() {
		return fmt.Errorf("found %T, want a key on P-521", key)
	}
	p.agree = pub
	return nil
}

func (p *Partner) readSite() error {
	if p.card.Site == "" {
		return nil
	}
	key, err := readPKIX(p.card.Site)
	if err != nil {
		return err
	}
	pub, ok := key.(ed25519.PublicKey)
	if !ok {
		return fmt.Errorf("found %T, want Ed25519", key)
	}
	p.site = pub
	return nil
}

func readPKIX(text string) (crypto.PublicKey, error) {
	der, err := onePEM(text, "PUBLIC KEY")
	if err != nil {
		return nil, err
	}
	return x509.ParsePKIXPublicKey(der)
}

// onePEM is the content of the only PEM block in text. It does not say what
// it found: that might be a private key.
func onePEM(text, kind string) ([]byte, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != kind || len(block.Headers) != 0 {
		return nil, fmt.Errorf("found no PEM block %q", kind)
	}
	if !strings.HasPrefix(text, "-----BEGIN") || len(bytes.TrimSpace(rest)) != 0 {
		return nil, fmt.Errorf("found text around the PEM block %q, want it alone", kind)
	}
	return block.Bytes, nil
}
