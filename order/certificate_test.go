package order

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func certificate() *Certificate {
	at := func(day, hour, minute int) time.Time { return time.Date(2026, 12, day, hour, minute, 7, 0, time.UTC) }
	return &Certificate{
		Number:       "DC-2026-000017",
		Issued:       at(14, 6, 40),
		Order:        OrderRef{"bharat-demo-5f1e9ac03b77", "01074809", "PO/2026/010748", strings.Repeat("5f1e9ac03b77d204", 4)},
		Operator:     CertifiedParty{"bharat-demo", "Bharat Demo Mobile Ltd", "New Delhi"},
		Manufacturer: CertifiedParty{"ankan-cards", "Ankan Cards Pvt Ltd", "Manesar, Haryana, India"},
		Cards:        CardCounts{Ordered: 1_000_000, Delivered: 999_988, Retired: 12},
		Clock:        DestroyClock{at(1, 9, 12), at(31, 9, 12), at(14, 6, 31)},
		Keys: []DestroyedKey{
			{"order/bharat-demo-5f1e9ac03b77", "wraps data key, AES-256", "C35280 GP", "soft token", at(14, 6, 29)},
			{"batch/bharat-demo-5f1e9ac03b77", "wraps data key, AES-256", "0A11F2 GP", "plant token", at(14, 6, 12)},
		},
		Copies: []Copy{
			{"bureau database", "sealed blocks", 1001, "key erased, rows wiped", at(14, 6, 30)},
			{"bureau database", "sealed pieces of the order's text", 58, "key erased, rows wiped", at(14, 6, 30)},
			{"plant batch", "sealed blocks", 1001, "key erased, rows wiped", at(14, 6, 13)},
			{"exchange files", "files", 4, "deleted, disk encrypted", at(14, 6, 31)},
			{"backups", "backup sets", 3, "unreadable: key erased", at(14, 6, 29)},
		},
		Approvers: []Signatory{{"key-manager", "P-0012", at(14, 6, 2)}, {"system-administrator", "P-0031", at(14, 6, 5)}},
		Witness:   Signatory{"witness", "P-0107", at(14, 6, 20)},
		Act:       strings.Repeat("00c17a35ee0942bd", 4),
		Log: LogRef{48_213, "ankan-cards.example/audit\n48220\n" + "6k0Rw0dCv8aB0sbQn5q6h1C9sQmQ2n0eBv1x0v3p5aQ=" +
			"\n\n— ankan-cards.example/audit AAAAAA==\n"},
	}
}

func TestCertificateRoundTrip(t *testing.T) {
	c := certificate()
	c.Issued = c.Issued.In(ist())
	payload, err := c.Payload()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseCertificate(payload)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(certificate(), again); d != "" {
		t.Error(d)
	}
	if c.Issued.Location() == time.UTC {
		t.Error("Payload changed the certificate")
	}
	for _, bad := range [][]byte{nil, append(payload, ' '), append(payload, '{'), bytes.Replace(payload, []byte(`"number"`), []byte(`"Number"`), 1),
		bytes.Replace(payload, []byte(`"number"`), []byte(`"nummer"`), 1), []byte("{}")} {
		if _, err := ParseCertificate(bad); err == nil {
			t.Errorf("accepted %.40s", bad)
		}
	}
}

func TestCertificateRefused(t *testing.T) {
	for want, spoil := range map[string]func(*Certificate){
		"number is missing":                                            func(c *Certificate) { c.Number = "" },
		"operator is missing":                                          func(c *Certificate) { c.Operator.Name = "" },
		"digest of the order is not a SHA-256":                         func(c *Certificate) { c.Order.Digest = "5F" },
		"digest of the act is not a SHA-256":                           func(c *Certificate) { c.Act = strings.ToUpper(c.Act) },
		"1000000 ordered, 999988 delivered and 11 retired do not add":  func(c *Certificate) { c.Cards.Retired-- },
		"0 keys and 5 copies, want at least one of each":               func(c *Certificate) { c.Keys = nil },
		"2 keys and 0 copies, want at least one of each":               func(c *Certificate) { c.Copies = nil },
		"lacks its purpose, check value, place or time":                func(c *Certificate) { c.Keys[1].At = time.Time{} },
		`copy "backups" is not confirmed as gone`:                      func(c *Certificate) { c.Copies[4].At = time.Time{} },
		"1 approvers, want at least 2":                                 func(c *Certificate) { c.Approvers = c.Approvers[:1] },
		`approver "P-0012" has no role, did not sign, or is there twi`: func(c *Certificate) { c.Approvers[1].Person = "P-0012" },
		`witness "P-0031" did not sign, or is an approver too`:         func(c *Certificate) { c.Witness.Person = "P-0031" },
		`witness "" did not sign, or is an approver too`:               func(c *Certificate) { c.Witness = Signatory{} },
		"witness is a key-custodian, want somebody independent":        func(c *Certificate) { c.Witness.Role = "key-custodian" },
		"times are out of order":                                       func(c *Certificate) { c.Issued = c.Clock.Acknowledged },
		"witness P-0107 signed after the certificate":                  func(c *Certificate) { c.Witness.At = c.Issued.Add(1) },
		"key-manager P-0012 approved after the destruction":            func(c *Certificate) { c.Approvers[0].At = c.Issued },
		"key order/bharat-demo-5f1e9ac03b77 was destroyed after every": func(c *Certificate) { c.Keys[0].At = c.Issued },
		"copy backups was confirmed gone after everything was":         func(c *Certificate) { c.Copies[4].At = c.Issued },
		"log entry 48220 is not in the checkpoint, which has 48220":    func(c *Certificate) { c.Log.Index = 48220 },
		"checkpoint is not a signed note":                              func(c *Certificate) { c.Log.Checkpoint = "" },
		"checkpoint has no size and root hash":                         func(c *Certificate) { c.Log.Checkpoint = "a\nb\nc\nd" },
	} {
		c := certificate()
		spoil(c)
		if _, err := c.Payload(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if err := RenderPDF(new(bytes.Buffer), c); err == nil {
			t.Errorf("a page for: %s", want)
		}
	}
}

// What the page says is read back by another program, and one certificate has
// one page.
func TestCertificatePage(t *testing.T) {
	tool, err := exec.LookPath("pdftotext")
	if err != nil {
		t.Fatal("pdftotext is missing: install the package poppler-utils")
	}
	var one, two bytes.Buffer
	if err := errors.Join(RenderPDF(&one, certificate()), RenderPDF(&two, certificate())); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("one certificate, two pages")
	}
	name := filepath.Join(t.TempDir(), "certificate.pdf")
	if err := os.WriteFile(name, one.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, "-layout", name, "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(out, []byte{'\f'}); n != 1 {
		t.Errorf("%d pages, want 1", n)
	}
	text := strings.Join(strings.Fields(string(out)), " ")
	for _, want := range []string{"Certificate of Destruction", "DC-2026-000017", "Ankan Cards Pvt Ltd certifies to Bharat Demo Mobile Ltd", "within the time limit agreed",
		"1,000,000 ordered = 999,988 delivered + 12 retired", "C35280 GP", "1,001 sealed blocks", "14 December 2026, 12:01:07 IST (14 Dec 06:31:07 UTC)",
		"key manager, P-0012", "witness, P-0107", "00c17a35 ee0942bd", "acid", "entry 48,213 of 48,220", "6k0Rw0dCv8aB0sbQn5q6h1C9sQmQ2n0eBv1x0v3p5aQ=", "ankan-verify document"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// A long certificate still is one page; a late one says so.
func TestCertificatePageLong(t *testing.T) {
	c := certificate()
	for range 20 {
		c.Keys = append(c.Keys, c.Keys[0])
		c.Copies = append(c.Copies, c.Copies[1])
		c.Approvers = append(c.Approvers, Signatory{"security-officer", "P-1" + strings.Repeat("0", len(c.Approvers)), c.Approvers[0].At})
	}
	c.Clock.Limit = c.Clock.Acknowledged.Add(time.Hour)
	c.Keys[0].ID = strings.Repeat("order/", 20)
	c.Operator.Name = strings.Repeat("Bharat ", 17)
	var b bytes.Buffer
	if err := RenderPDF(&b, c); err != nil {
		t.Fatal(err)
	}
	c.Order.ID = strings.Repeat("x", 3000)
	if err := RenderPDF(&b, c); err == nil || !strings.Contains(err.Error(), "does not fit on a page") {
		t.Error(err)
	}
	if err := RenderPDF(failing{}, certificate()); !errors.Is(err, errFull) {
		t.Error(err)
	}
}

func FuzzParseCertificate(f *testing.F) {
	payload, err := certificate().Payload()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payload)
	f.Fuzz(func(t *testing.T, payload []byte) {
		c, err := ParseCertificate(payload)
		if err != nil {
			return
		}
		if again, err := c.Payload(); err != nil || !bytes.Equal(again, payload) {
			t.Fatalf("%v: %s", err, again)
		}
	})
}

var errFull = errors.New("disk full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }
