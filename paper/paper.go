// Package paper prints what a site keeps on paper: the policy in force, plans
// and transcripts of ceremonies, key transfer forms, records of destruction,
// compromise, inventory and custody, and the history of a key. Data in, A4
// pages out: it reads nothing, asks no clock, and gives the same bytes for the
// same record. It takes no type that holds a secret.
package paper

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"codeberg.org/go-pdf/fpdf"
)

// A Mark says which record a paper shows. It stands on every page, and in the
// QR code of the first.
type Mark struct {
	Site   string    // whose record it is
	Number string    // of the record
	SHA256 [32]byte  // of the record; zero: it has none
	Entry  int64     // of the site's log, by which the record was made; 0: none
	At     time.Time // when the paper was written
}

// mostMark is the longest name of a site or record that a QR code still shows
// in squares that a pocket camera reads.
const mostMark = 64

// check refuses a mark that names no record.
func (m Mark) check(kind string) error {
	switch {
	case m.Site == "" || len(m.Site) > mostMark:
		return fmt.Errorf("%s: the name of the site has %d bytes, want 1 to %d", kind, len(m.Site), mostMark)
	case m.Number == "" || len(m.Number) > mostMark:
		return fmt.Errorf("%s: the number has %d bytes, want 1 to %d", kind, len(m.Number), mostMark)
	case m.Entry < 0:
		return fmt.Errorf("%s: log entry is %d, want 0 or more", kind, m.Entry)
	case m.At.IsZero():
		return fmt.Errorf("%s: the time at which it was written is missing", kind)
	}
	return nil
}

// of is the mark of a record that knows its own number and digest.
func (m Mark) of(kind, number string, digest [32]byte) (Mark, error) {
	if m.Number != "" && m.Number != number {
		return m, fmt.Errorf("%s: the mark says number %q, the record is %q", kind, m.Number, number)
	}
	if m.SHA256 != [32]byte{} && m.SHA256 != digest {
		return m, fmt.Errorf("%s: the mark says SHA-256 %x, the record has %x", kind, m.SHA256, digest)
	}
	m.Number, m.SHA256 = number, digest
	return m, nil
}

// code is the text of the QR code.
func (m Mark) code(kind string) string {
	v := url.Values{"site": {m.Site}, "number": {m.Number}}
	if m.SHA256 != [32]byte{} {
		v.Set("sha256", hex.EncodeToString(m.SHA256[:]))
	}
	if m.Entry > 0 {
		v.Set("entry", strconv.FormatInt(m.Entry, 10))
	}
	return "ankan:" + kind + "?" + v.Encode()
}

// A paper is what the first page says of itself.
type paper struct {
	mark Mark
	kind string // in the QR code
	name string // the title
	says string // below it
	sole bool   // it must fit on one sheet
}

// print draws twice: the first time to count the pages.
func (p paper) print(draw func(*sheet)) ([]byte, error) {
	if err := p.mark.check(p.kind); err != nil {
		return nil, err
	}
	pages := 0
	for {
		s, err := p.open(pages)
		if err != nil {
			return nil, err
		}
		draw(s)
		if n := s.pdf.PageCount(); n == pages {
			var b bytes.Buffer
			if err := s.pdf.Output(&b); err != nil {
				return nil, fmt.Errorf("%s %s: %w", p.kind, p.mark.Number, err)
			}
			return b.Bytes(), nil
		} else if pages = n; p.sole && n > 1 {
			return nil, fmt.Errorf("%s %s: does not fit on a sheet; say it in fewer words", p.kind, p.mark.Number)
		}
		if err := s.pdf.Error(); err != nil {
			return nil, fmt.Errorf("%s %s: %w", p.kind, p.mark.Number, err)
		}
	}
}

func (p paper) open(pages int) (*sheet, error) {
	pdf, err := blankPDF(fpdf.New("P", "mm", "A4", ""), p.name, p.mark)
	if err != nil {
		return nil, err
	}
	pdf.SetMargins(left, top, left)
	s := &sheet{pdf: pdf, paper: p, pages: pages}
	s.page()
	return s, nil
}

// blankPDF gives a document its fonts, and what it says of itself.
func blankPDF(pdf *fpdf.Fpdf, name string, m Mark) (*fpdf.Fpdf, error) {
	for _, f := range fonts() {
		file, err := fontFiles.ReadFile("fonts/" + f.file)
		if err != nil {
			return nil, err
		}
		pdf.AddUTF8FontFromBytes(f.family, f.style, file)
	}
	pdf.SetCreationDate(m.At.UTC())
	pdf.SetModificationDate(m.At.UTC())
	pdf.SetCatalogSort(true)
	pdf.SetProducer("Ankan", true)
	pdf.SetLang("en-IN")
	pdf.SetTitle(clean(name+" "+m.Number), true)
	pdf.SetAuthor(clean(m.Site), true)
	pdf.SetAutoPageBreak(false, 0)
	return pdf, nil
}

// digestOf reads a digest in hex.
func digestOf(what, digits string) (d [32]byte, err error) {
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) != len(d) {
		return d, fmt.Errorf("%s is %q, want 64 hex digits", what, digits)
	}
	return [32]byte(b), nil
}

// Names are people's names by their numbers. Who is not in it stands on the
// paper by number alone.
type Names map[string]string

// of is a person as papers name one.
func (n Names) of(id string) string {
	if name := n[id]; name != "" {
		return name + " (" + id + ")"
	}
	return or(id)
}
