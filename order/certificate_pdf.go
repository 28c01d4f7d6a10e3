package order

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"codeberg.org/go-pdf/fpdf"

	"ankan/act"
)

// RenderPDF writes the certificate as one A4 page for people. The same
// certificate gives the same bytes. Letters that Western European fonts lack
// print as a dot; the signed document has them.
func RenderPDF(w io.Writer, c *Certificate) error {
	payload, err := c.Payload()
	if err != nil {
		return err
	}
	p := newPage(c.Issued)
	p.head(c)
	p.statement(c)
	p.order(c)
	p.keys(c)
	p.copies(c)
	p.times(c)
	p.people(c)
	p.proof(c)
	p.foot(sha256.Sum256(payload))
	if p.pdf.GetY() > bottom {
		return fmt.Errorf("certificate %s: does not fit on a page", c.Number)
	}
	if err := p.pdf.Output(w); err != nil {
		return fmt.Errorf("certificate %s: %w", c.Number, err)
	}
	return nil
}

// Measures in millimetres.
const (
	left, right, top, bottom = 22.0, 22.0, 18.0, 272.0
	width                    = 210 - left - right
	label                    = 36.0 // width of the labels' column
	row                      = 5.0  // height of a line
)

// Rows that a table shows; the signed document has all.
const mostKeys, mostCopies, mostApprovers = 3, 6, 3

// A page is the sheet being written, from top to bottom.
type page struct {
	pdf   *fpdf.Fpdf
	latin func(string) string
}

func newPage(issued time.Time) *page {
	pdf := fpdf.New("P", "mm", "A4", "")
	pdf.SetCreationDate(issued.UTC())
	pdf.SetModificationDate(issued.UTC())
	pdf.SetCatalogSort(true)
	pdf.SetProducer("Ankan", true)
	pdf.SetMargins(left, top, right)
	pdf.SetAutoPageBreak(false, 0)
	pdf.SetCellMargin(0)
	pdf.AddPage()
	return &page{pdf, pdf.UnicodeTranslatorFromDescriptor("")}
}

// The three voices of the page.
func (p *page) body()  { p.pdf.SetFont("Helvetica", "", 8.6); p.ink() }
func (p *page) small() { p.pdf.SetFont("Helvetica", "", 7.4); p.pdf.SetTextColor(96, 96, 96) }
func (p *page) fixed() { p.pdf.SetFont("Courier", "", 8); p.ink() }
func (p *page) ink()   { p.pdf.SetTextColor(24, 24, 24) }

func (p *page) rule(grey int, thick float64) {
	p.pdf.SetDrawColor(grey, grey, grey)
	p.pdf.SetLineWidth(thick)
	p.pdf.Line(left, p.pdf.GetY(), 210-right, p.pdf.GetY())
}

func (p *page) head(c *Certificate) {
	p.pdf.SetTitle("Certificate of destruction "+c.Number, true)
	p.pdf.SetAuthor(c.Manufacturer.Name, true)
	p.pdf.SetFont("Times", "", 11)
	p.ink()
	p.pdf.CellFormat(width/2, 5, p.latin(c.Manufacturer.Name), "", 0, "L", false, 0, "")
	p.small()
	p.pdf.CellFormat(width/2, 5, p.latin("No. "+c.Number), "", 1, "R", false, 0, "")
	p.pdf.CellFormat(width/2, 4, p.latin(c.Manufacturer.Place), "", 0, "L", false, 0, "")
	p.pdf.CellFormat(width/2, 4, c.Issued.In(ist()).Format("2 January 2006"), "", 1, "R", false, 0, "")
	p.pdf.Ln(2.5)
	p.rule(24, 0.5)
	p.pdf.Ln(5.5)
	p.pdf.SetFont("Times", "", 21)
	p.ink()
	p.pdf.CellFormat(width, 9, "Certificate of Destruction", "", 1, "L", false, 0, "")
	p.pdf.Ln(1.5)
}

func (p *page) statement(c *Certificate) {
	late := "within the time limit agreed"
	if c.Clock.Destroyed.After(c.Clock.Limit) {
		late = "after the time limit agreed had passed"
	}
	p.pdf.SetFont("Times", "", 10.5)
	p.ink()
	p.pdf.MultiCell(width, 4.8, p.latin(fmt.Sprintf("%s certifies to %s that all keys and operator data of the order below were destroyed, "+
		"in every copy, under dual control and before an independent witness, %s (DoT SOP for SIM Personalization v1.0, 6.3.3 and 6.4.e.viii).",
		c.Manufacturer.Name, c.Operator.Name, late)), "", "L", false)
}

func (p *page) section(name string) {
	p.pdf.Ln(3.2)
	p.pdf.SetFont("Helvetica", "B", 8.6)
	p.ink()
	p.pdf.CellFormat(width, row, name, "", 1, "L", false, 0, "")
	p.rule(170, 0.2)
	p.pdf.Ln(1)
}

// line is a label and its value. A value that is too long goes on below.
func (p *page) line(name, value string, voice func()) {
	p.small()
	y := p.pdf.GetY()
	p.pdf.CellFormat(label, row, name, "", 0, "L", false, 0, "")
	voice()
	p.pdf.SetXY(left+label, y)
	p.pdf.MultiCell(width-label, row, p.latin(value), "", "L", false)
}

// table is a row of cells, cut to their widths.
func (p *page) table(widths []float64, cells ...string) {
	for i, cell := range cells {
		p.pdf.CellFormat(widths[i], row, p.cut(p.latin(cell), widths[i]-2), "", 0, "L", false, 0, "")
	}
	p.pdf.Ln(row)
}

// cut shortens text that is wider than wide; the signed document has all.
func (p *page) cut(text string, wide float64) string {
	if p.pdf.GetStringWidth(text) <= wide {
		return text
	}
	for len(text) > 0 && p.pdf.GetStringWidth(text+"...") > wide {
		text = text[:len(text)-1]
	}
	return text + "..."
}

func (p *page) more(n int) {
	if n > 0 {
		p.small()
		p.pdf.CellFormat(width, row, fmt.Sprintf("and %d more, listed in the signed document", n), "", 1, "L", false, 0, "")
	}
}

func (p *page) order(c *Certificate) {
	p.section("Order")
	p.line("Order", c.Order.ID, p.body)
	batch := "batch " + c.Order.Batch
	if c.Order.PO != "" {
		batch += ", purchase order " + c.Order.PO
	}
	p.line("Operator's reference", batch, p.body)
	p.line("SHA-256 of the order", grouped(c.Order.Digest), p.fixed)
	cards := fmt.Sprintf("%s ordered = %s delivered + %s retired", thousands(c.Cards.Ordered), thousands(c.Cards.Delivered), thousands(c.Cards.Retired))
	if c.Cards.Lost > 0 {
		cards += fmt.Sprintf(", %s of them on chips that were lost", thousands(c.Cards.Lost))
	}
	p.line("Cards", cards, p.body)
	if c.Abandoned != "" {
		p.line("Abandoned", c.Abandoned, p.body)
	}
}

func (p *page) keys(c *Certificate) {
	p.section("Keys erased")
	widths := []float64{68, 30, 27, 41}
	p.small()
	p.table(widths, "Key", "Purpose", "Check value", "Module")
	p.body()
	for _, k := range c.Keys[:min(len(c.Keys), mostKeys)] {
		p.table(widths, k.ID, k.Purpose, k.Check, k.Where)
	}
	p.more(len(c.Keys) - mostKeys)
}

func (p *page) copies(c *Certificate) {
	p.section("Copies destroyed")
	widths := []float64{36, 52, 42, 36}
	p.small()
	p.table(widths, "Place", "What", "How", "Confirmed (IST)")
	p.body()
	for _, k := range c.Copies[:min(len(c.Copies), mostCopies)] {
		p.table(widths, k.Where, thousands(k.Count)+" "+k.What, k.How, k.At.In(ist()).Format("02 Jan 2006 15:04:05"))
	}
	p.more(len(c.Copies) - mostCopies)
}

func (p *page) times(c *Certificate) {
	p.section("Time limit")
	begins := "Keys acknowledged"
	if c.Abandoned != "" {
		begins = "Abandoned"
	}
	p.line(begins, both(c.Clock.Acknowledged), p.body)
	p.line("To be destroyed by", both(c.Clock.Limit), p.body)
	p.line("Destroyed", both(c.Clock.Destroyed), p.body)
}

func (p *page) people(c *Certificate) {
	p.section("Signed by, with a passkey each, over the act below")
	widths := []float64{label, 46, 84}
	for _, s := range c.Approvers[:min(len(c.Approvers), mostApprovers)] {
		p.signatory(widths, s, "Approved as")
	}
	p.more(len(c.Approvers) - mostApprovers)
	p.signatory(widths, c.Witness, "Witnessed as")
}

func (p *page) signatory(widths []float64, s Signatory, did string) {
	p.small()
	p.pdf.CellFormat(widths[0], row, did, "", 0, "L", false, 0, "")
	p.body()
	p.table(widths[1:], strings.ReplaceAll(s.Role, "-", " ")+", "+s.Person, both(s.At))
}

func (p *page) proof(c *Certificate) {
	p.section("Proof")
	digest, _ := hex.DecodeString(c.Act) // checked
	p.line("Act", strings.Join(act.Words([32]byte(digest)), "  "), p.body)
	p.line("SHA-256 of the act", grouped(c.Act), p.fixed)
	origin, size, root, _ := c.Log.parts() // checked
	p.line("Audit log", fmt.Sprintf("%s, entry %s of %s", origin, thousands(int(c.Log.Index)), thousands(int(size))), p.body)
	p.line("Checkpoint", root, p.fixed)
}

func (p *page) foot(payload [32]byte) {
	at := p.pdf.GetY()
	p.pdf.SetY(bottom + 3)
	p.rule(24, 0.2)
	p.pdf.Ln(1.5)
	p.small()
	p.pdf.MultiCell(width, 3.6, "The certificate is the signed document of this number; this page shows it. Check it with ankan-verify document. SHA-256:", "", "L", false)
	p.pdf.SetFont("Courier", "", 7.4)
	p.pdf.CellFormat(width, 3.8, grouped(hex.EncodeToString(payload[:])), "", 1, "L", false, 0, "")
	p.pdf.SetY(at)
}

// both is a time in India and in UTC.
func both(t time.Time) string {
	return t.In(ist()).Format("2 January 2006, 15:04:05 IST") + t.UTC().Format(" (2 Jan 15:04:05 UTC)")
}

// grouped is hexadecimal digits in eights, as people compare them.
func grouped(digits string) string {
	var b strings.Builder
	for i := 0; i < len(digits); i += 8 {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(digits[i:min(i+8, len(digits))])
	}
	return b.String()
}

// thousands is a number with its digits in threes.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
