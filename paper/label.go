package paper

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"codeberg.org/go-pdf/fpdf"
	"github.com/boombuler/barcode/code128"
	"github.com/boombuler/barcode/datamatrix"
)

// A Label is what stands on a box of cards: its number in Code 128 (ISO/IEC
// 15417), everything in a DataMatrix symbol (ISO/IEC 16022), and both in words.
type Label struct {
	Site        string
	Box         string
	Order       string
	Pallet      string
	Cards       int
	First, Last string // ICCID
	Seal        string
	Symbol      string    // content of the DataMatrix symbol
	At          time.Time // when the box was filled
}

// Measures of a label in millimetres: what fits a common roll of a printer.
const (
	labelWide, labelHigh = 100.0, 70.0
	labelPad             = 5.0
	labelBars            = 14.0  // height of the bars
	labelSymbol          = 24.0  // side of the DataMatrix symbol
	dot                  = 0.125 // of a printer with 8 dots a millimetre: bars are whole dots
)

// PDF prints it on a page of its own size.
func (l Label) PDF() ([]byte, error) {
	m := Mark{Site: l.Site, Number: l.Box, At: l.At}
	if err := m.check("label"); err != nil {
		return nil, err
	}
	if l.Cards <= 0 || l.Symbol == "" {
		return nil, fmt.Errorf("label %s: %d cards and a symbol of %d bytes, want some of both", l.Box, l.Cards, len(l.Symbol))
	}
	bars, err := code128.Encode(l.Box)
	if err != nil {
		return nil, fmt.Errorf("label %s: %w", l.Box, err)
	}
	matrix, err := datamatrix.Encode(l.Symbol)
	if err != nil {
		return nil, fmt.Errorf("label %s: %w", l.Box, err)
	}
	pdf, err := blankPDF(fpdf.NewCustom(&fpdf.InitType{OrientationStr: "L", UnitStr: "mm", Size: fpdf.SizeType{Wd: labelHigh, Ht: labelWide}}), "Box", m)
	if err != nil {
		return nil, err
	}
	s := &sheet{pdf: pdf}
	pdf.AddPage()
	// Bars need a quiet zone of ten modules on both sides (ISO/IEC 15417, 4.4).
	room := labelWide - labelSymbol - 3*labelPad
	module := math.Floor(min(0.5, room/float64(bars.Bounds().Dx()+20))/dot) * dot
	if module < 2*dot {
		return nil, fmt.Errorf("label %s: the number of the box is too long for bars that a scanner reads", l.Box)
	}
	pdf.SetFillColor(0, 0, 0)
	for i := range bars.Bounds().Dx() {
		if r, _, _, _ := bars.At(i, 0).RGBA(); r == 0 {
			pdf.Rect(labelPad+10*module+float64(i)*module, labelPad, module, labelBars, "F")
		}
	}
	squares(pdf, matrix, labelWide-labelPad-labelSymbol, labelPad, labelSymbol/float64(matrix.Bounds().Dx()))
	s.put(labelPad, labelPad+labelBars+2, title, s.clip(title, l.Box, room))
	s.y = labelPad + labelSymbol + 4
	for _, f := range [][2]string{{"Order", l.Order}, {"Cards", count(int64(l.Cards))}, {"ICCID", l.First + " to " + l.Last}, {"Seal", l.Seal}, {"Pallet", l.Pallet}, {"From", l.Site}} {
		if f[1] == "" {
			f[1] = "–"
		}
		s.put(labelPad, s.y, faint, f[0])
		s.put(labelPad+16, s.y, strong, s.clip(strong, f[1], labelWide-2*labelPad-16))
		s.y += 5.4
	}
	var b bytes.Buffer
	if err := pdf.Output(&b); err != nil {
		return nil, fmt.Errorf("label %s: %w", l.Box, err)
	}
	return b.Bytes(), nil
}
