package order

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ankan/audit"
)

// CertificateType is the payload type of a signed certificate of destruction
// (audit.SignDocument).
const CertificateType = "application/vnd.ankan.destruction+json"

// A Certificate tells an operator that the manufacturer's copy of an order is
// destroyed (SOP 6.3.3, 6.4.e.viii). The signed JSON is the certificate; the
// page is for people. It names keys and people, and holds no secret.
type Certificate struct {
	Number       string         `json:"number"`
	Issued       time.Time      `json:"issued"`
	Order        OrderRef       `json:"order"`
	Operator     CertifiedParty `json:"operator"`
	Manufacturer CertifiedParty `json:"manufacturer"`
	Cards        CardCounts     `json:"cards"`
	Clock        DestroyClock   `json:"clock"`
	Keys         []DestroyedKey `json:"keys"`
	Copies       []Copy         `json:"copies"`
	Approvers    []Signatory    `json:"approvers"`
	Witness      Signatory      `json:"witness"`
	Act          string         `json:"act"` // SHA-256 of the act that they signed, hex
	Log          LogRef         `json:"log"`

	// Abandoned is why the order was given up before its cards were delivered; ""
	// if it was not.
	Abandoned string `json:"abandoned,omitempty"`
}

// An OrderRef names an order.
type OrderRef struct {
	ID     string `json:"id"`
	Batch  string `json:"batch"`        // the operator's
	PO     string `json:"po,omitempty"` // purchase order
	Digest string `json:"digest"`       // Input.Digest, hex
}

// A CertifiedParty is one of the two sites.
type CertifiedParty struct {
	Partner string `json:"partner"` // short name
	Name    string `json:"name"`
	Place   string `json:"place,omitempty"`
}

// CardCounts is what became of the order: Ordered = Delivered + Retired.
type CardCounts struct {
	Ordered   int `json:"ordered"`
	Delivered int `json:"delivered"` // good cards, answered for by responses
	Retired   int `json:"retired"`   // identities that no card carries, never to be issued again

	// Lost is how many of the retired were on chips that were lost, and so could not
	// be destroyed. No keys of them were delivered.
	Lost int `json:"lost,omitempty"`
}

// A DestroyClock is the time limit and what was done in it.
type DestroyClock struct {
	Acknowledged time.Time `json:"acknowledged"` // the operator has its keys, or the order was abandoned; the clock starts
	Limit        time.Time `json:"limit"`        // by contract
	Destroyed    time.Time `json:"destroyed"`    // the last copy was confirmed gone
}

// A DestroyedKey is a key that was erased, which makes everything that was
// encrypted under it unreadable, backups included.
type DestroyedKey struct {
	ID      string    `json:"id"`      // its name in the module
	Purpose string    `json:"purpose"` // and algorithm
	Check   string    `json:"check"`   // KCV with its method, or a fingerprint
	Where   string    `json:"where"`   // the module
	At      time.Time `json:"at"`
}

// A Copy is one place where data of the order lay.
type Copy struct {
	Where string    `json:"where"` // "bureau database", "plant batch", ...
	What  string    `json:"what"`
	Count int       `json:"count"` // how many of What
	How   string    `json:"how"`
	At    time.Time `json:"at"` // when it was confirmed gone
}

// A Signatory is a person who signed the act.
type Signatory struct {
	Role   string    `json:"role"`
	Person string    `json:"person"` // number, not name
	At     time.Time `json:"at"`
}

// A LogRef is where the audit log has the destruction.
type LogRef struct {
	Index      int64  `json:"index"`
	Checkpoint string `json:"checkpoint"` // signed note (C2SP tlog-checkpoint) that covers it
}

// Check refuses a certificate that does not prove what it says: every copy
// confirmed, two people and an independent witness, the log that has it.
func (c *Certificate) Check() error {
	for _, check := range []func(*Certificate) error{
		(*Certificate).checkNames, (*Certificate).checkCounts, (*Certificate).checkCopies, (*Certificate).checkPeople, (*Certificate).checkTimes, (*Certificate).checkLog,
	} {
		if err := check(c); err != nil {
			return fmt.Errorf("certificate %s: %w", c.Number, err)
		}
	}
	return nil
}

func (c *Certificate) checkNames() error {
	for _, f := range [][2]string{
		{"number", c.Number}, {"order", c.Order.ID}, {"batch", c.Order.Batch}, {"operator", c.Operator.Name}, {"operator's partner name", c.Operator.Partner},
		{"manufacturer", c.Manufacturer.Name}, {"manufacturer's partner name", c.Manufacturer.Partner},
	} {
		if f[1] == "" {
			return fmt.Errorf("%s is missing", f[0])
		}
	}
	for _, f := range [][2]string{{"digest of the order", c.Order.Digest}, {"digest of the act", c.Act}} {
		if b, err := hex.DecodeString(f[1]); err != nil || len(b) != 32 || strings.ToLower(f[1]) != f[1] {
			return fmt.Errorf("%s is not a SHA-256, want 64 lower case hexadecimal digits", f[0])
		}
	}
	return nil
}

func (c *Certificate) checkCounts() error {
	n := c.Cards
	if n.Ordered < 1 || n.Delivered < 0 || n.Retired < 0 || n.Ordered != n.Delivered+n.Retired {
		return fmt.Errorf("%d ordered, %d delivered and %d retired do not add up", n.Ordered, n.Delivered, n.Retired)
	}
	if n.Lost < 0 || n.Lost > n.Retired {
		return fmt.Errorf("%d cards are lost of %d that are retired", n.Lost, n.Retired)
	}
	if c.Abandoned != "" && n.Delivered > 0 {
		return fmt.Errorf("%d cards are delivered of an order that was abandoned", n.Delivered)
	}
	return nil
}

func (c *Certificate) checkCopies() error {
	if len(c.Keys) == 0 || len(c.Copies) == 0 {
		return fmt.Errorf("%d keys and %d copies, want at least one of each", len(c.Keys), len(c.Copies))
	}
	for _, k := range c.Keys {
		if k.ID == "" || k.Purpose == "" || k.Check == "" || k.Where == "" || k.At.IsZero() {
			return fmt.Errorf("key %q lacks its purpose, check value, place or time of destruction", k.ID)
		}
	}
	for _, p := range c.Copies {
		if p.Where == "" || p.What == "" || p.How == "" || p.Count < 0 || p.At.IsZero() {
			return fmt.Errorf("copy %q is not confirmed as gone", p.Where)
		}
	}
	return nil
}

// checkPeople wants dual control and a witness other than security manager,
// key manager or custodian (SOP 6.4.e.viii).
func (c *Certificate) checkPeople() error {
	var seen []string
	for _, p := range c.Approvers {
		if p.Person == "" || p.Role == "" || p.At.IsZero() || slices.Contains(seen, p.Person) {
			return fmt.Errorf("approver %q has no role, did not sign, or is there twice", p.Person)
		}
		seen = append(seen, p.Person)
	}
	if len(seen) < 2 {
		return fmt.Errorf("%d approvers, want at least 2", len(seen))
	}
	w := c.Witness
	if w.Person == "" || w.Role == "" || w.At.IsZero() || slices.Contains(seen, w.Person) {
		return fmt.Errorf("witness %q did not sign, or is an approver too", w.Person)
	}
	if slices.Contains([]string{"security-officer", "key-manager", "key-custodian"}, w.Role) {
		return fmt.Errorf("witness is a %s, want somebody independent", w.Role)
	}
	return nil
}

func (c *Certificate) checkTimes() error {
	t := c.Clock
	if t.Acknowledged.IsZero() || !t.Limit.After(t.Acknowledged) || t.Destroyed.Before(t.Acknowledged) || c.Issued.Before(t.Destroyed) {
		return fmt.Errorf("times are out of order, want acknowledged, destroyed, issued, and a limit")
	}
	for _, p := range c.Approvers {
		if p.At.After(t.Destroyed) {
			return fmt.Errorf("%s %s approved after the destruction", p.Role, p.Person)
		}
	}
	if c.Witness.At.After(c.Issued) {
		return fmt.Errorf("witness %s signed after the certificate", c.Witness.Person)
	}
	for _, k := range c.Keys {
		if k.At.After(t.Destroyed) {
			return fmt.Errorf("key %s was destroyed after everything was", k.ID)
		}
	}
	for _, p := range c.Copies {
		if p.At.After(t.Destroyed) {
			return fmt.Errorf("copy %s was confirmed gone after everything was", p.Where)
		}
	}
	return nil
}

func (c *Certificate) checkLog() error {
	_, size, _, err := c.Log.parts()
	if err != nil {
		return err
	}
	if c.Log.Index < 0 || c.Log.Index >= size {
		return fmt.Errorf("log entry %d is not in the checkpoint, which has %d", c.Log.Index, size)
	}
	return nil
}

// parts takes the checkpoint apart: its log, size and root in base64. It does
// not verify it.
func (l LogRef) parts() (origin string, size int64, root string, err error) {
	lines := strings.SplitN(l.Checkpoint, "\n", 4)
	if len(lines) < 4 || lines[0] == "" {
		return "", 0, "", fmt.Errorf("checkpoint is not a signed note")
	}
	size, err = strconv.ParseInt(lines[1], 10, 64)
	sum, err2 := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || err2 != nil || len(sum) != 32 {
		return "", 0, "", fmt.Errorf("checkpoint has no size and root hash in its second and third line")
	}
	return lines[0], size, lines[2], nil
}

// Payload is the certificate as JSON, for audit.SignDocument. One certificate
// has one form. Times are in UTC.
func (c *Certificate) Payload() ([]byte, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	u := *c
	u.Keys, u.Copies, u.Approvers = slices.Clone(c.Keys), slices.Clone(c.Copies), slices.Clone(c.Approvers)
	for _, t := range u.times() {
		*t = t.UTC()
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(u); err != nil {
		return nil, fmt.Errorf("certificate %s: %w", c.Number, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}

func (c *Certificate) times() []*time.Time {
	all := []*time.Time{&c.Issued, &c.Clock.Acknowledged, &c.Clock.Limit, &c.Clock.Destroyed, &c.Witness.At}
	for i := range c.Keys {
		all = append(all, &c.Keys[i].At)
	}
	for i := range c.Copies {
		all = append(all, &c.Copies[i].At)
	}
	for i := range c.Approvers {
		all = append(all, &c.Approvers[i].At)
	}
	return all
}

// OpenCertificate verifies a signed certificate with its site's key and reads it.
func OpenCertificate(doc []byte, pub ed25519.PublicKey) (*Certificate, error) {
	d, err := audit.OpenDocument(doc, CertificateType, pub)
	if err != nil {
		return nil, err
	}
	return ParseCertificate(d.Payload)
}

// ParseCertificate reads what Payload wrote, and nothing else. The caller has
// verified the signature (audit.OpenDocument).
func ParseCertificate(payload []byte) (*Certificate, error) {
	c := new(Certificate)
	if err := audit.Strict(payload, c); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	again, err := c.Payload()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, payload) {
		return nil, fmt.Errorf("certificate %s: is not in the form in which certificates are written", c.Number)
	}
	return c, nil
}
