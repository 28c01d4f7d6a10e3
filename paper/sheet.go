package paper

import (
	"embed"
	"fmt"
	"strings"

	"codeberg.org/go-pdf/fpdf"
	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"

	"ankan/act"
)

//go:embed fonts/*.ttf
var fontFiles embed.FS

type font struct{ family, style, file string }

func fonts() []font {
	return []font{{"sans", "", "NotoSans-Regular.ttf"}, {"sans", "B", "NotoSans-Bold.ttf"}, {"serif", "B", "NotoSerif-Bold.ttf"}, {"mono", "", "NotoSansMono-Regular.ttf"}}
}

// Measures in millimetres.
const (
	left, top, bottom = 18.0, 15.0, 277.0
	width             = 210 - 2*left
	pad               = 1.4  // inside boxes and cells
	square            = 26.0 // side of the QR code
	point             = 25.4 / 72
)

// A voice is how something is said.
type voice int

const (
	body voice = iota
	strong
	faint
	fixed
	tiny    // digests at the foot
	heading // of a section
	title
)

// face is a voice's font, size in points, height of a line, and grey.
func (v voice) face() (family, style string, size, lead float64, grey int) {
	switch v {
	case strong:
		return "sans", "B", 8.4, 4.1, 0
	case faint:
		return "sans", "", 7, 3.5, 80
	case fixed:
		return "mono", "", 7.6, 4.1, 0
	case tiny:
		return "mono", "", 6.2, 3.1, 60
	case heading:
		return "serif", "B", 10.5, 5.2, 0
	case title:
		return "serif", "B", 15, 7.4, 0
	}
	return "sans", "", 8.4, 4.1, 0
}

func (v voice) lead() float64 { _, _, _, lead, _ := v.face(); return lead }

// said is text in a voice.
type said struct {
	voice voice
	text  string
}

// A sheet is the paper being written, from top to bottom.
type sheet struct {
	paper
	pdf   *fpdf.Fpdf
	pages int // how many there will be; 0: not known yet
	y     float64
}

func (s *sheet) set(v voice) {
	family, style, size, _, grey := v.face()
	s.pdf.SetFont(family, style, size)
	s.pdf.SetTextColor(grey, grey, grey)
}

// put writes a line at x, on the line that begins at y.
func (s *sheet) put(x, y float64, v voice, text string) {
	s.set(v)
	_, _, size, lead, _ := v.face()
	s.pdf.Text(x, y+(lead+0.71*size*point)/2, text)
}

// end writes a line that ends at x.
func (s *sheet) end(x, y float64, v voice, text string) {
	s.set(v)
	s.put(x-s.pdf.GetStringWidth(text), y, v, text)
}

func (s *sheet) rule(x, y, wide, thick float64, grey int) {
	s.pdf.SetDrawColor(grey, grey, grey)
	s.pdf.SetLineWidth(thick)
	s.pdf.Line(x, y, x+wide, y)
}

func (s *sheet) box(x, y, wide, high float64) {
	s.pdf.SetDrawColor(110, 110, 110)
	s.pdf.SetLineWidth(0.2)
	s.pdf.Rect(x, y, wide, high, "D")
}

// wrap breaks text into lines: at spaces, and what is too long for a line after
// a stop or dash, or anywhere.
func (s *sheet) wrap(v voice, text string, wide float64) []said {
	s.set(v)
	var all []said
	for line := range strings.SplitSeq(clean(text), "\n") {
		var now strings.Builder
		used := 0.0
		end := func() {
			all = append(all, said{v, strings.TrimRight(now.String(), " ")})
			now.Reset()
			used = 0
		}
		for word := range strings.SplitAfterSeq(line, " ") {
			for {
				if s.within(strings.TrimRight(word, " "), wide-used) {
					break
				}
				if used > 0 {
					end()
					continue
				}
				cut := s.fits(word, wide)
				now.WriteString(word[:cut])
				word = word[cut:]
				end()
			}
			now.WriteString(word)
			used += s.pdf.GetStringWidth(word)
		}
		end()
	}
	return all
}

// within says whether a word is no wider; it measures no more than that.
func (s *sheet) within(word string, wide float64) bool {
	for _, r := range word {
		if wide -= s.pdf.GetStringWidth(string(r)); wide < 0 {
			return false
		}
	}
	return wide >= 0
}

// fits is how many bytes of a word that is too long fit: at least one letter.
func (s *sheet) fits(word string, wide float64) int {
	used, cut := 0.0, 0
	for i, r := range word {
		used += s.pdf.GetStringWidth(string(r))
		if i > 0 && used > wide {
			if cut == 0 {
				cut = i
			}
			return cut
		}
		if strings.ContainsRune("-./_,;:@", r) {
			cut = i + 1
		}
	}
	return len(word)
}

// clip shortens text to a line; what it names stands elsewhere in full.
func (s *sheet) clip(v voice, text string, wide float64) string {
	text = strings.ReplaceAll(clean(text), "\n", " ")
	s.set(v)
	used, cut, mark := 0.0, -1, s.pdf.GetStringWidth("…")
	for i, r := range text {
		used += s.pdf.GetStringWidth(string(r))
		if cut < 0 && used+mark > wide {
			cut = i
		}
		if used > wide {
			return text[:cut] + "…"
		}
	}
	return text
}

// page begins a page: the first with title, number and QR code, the others with
// a line that says what they belong to.
func (s *sheet) page() {
	s.pdf.AddPage()
	s.foot()
	if s.pdf.PageNo() == 1 {
		s.first()
		return
	}
	s.put(left, top-4, faint, s.clip(faint, s.name+", "+s.mark.Number, width*0.62))
	s.end(left+width, top-4, faint, s.clip(faint, s.mark.Site, width*0.34))
	s.rule(left, top+0.4, width, 0.2, 110)
	s.y = top + 4
}

func (s *sheet) first() {
	const number = 46.0
	textWide := width - square - number - 6
	low := s.lines(left, top, s.wrap(title, s.name, textWide))
	low = s.lines(left, low+1, s.wrap(body, s.says, textWide))
	at := top + 1.0
	for _, named := range [][2]string{{"Number", s.mark.Number}, {"Site", s.mark.Site}} {
		for _, l := range append([]said{{faint, named[0]}}, s.wrap(fixed, named[1], number)...) {
			s.end(left+width-square-4, at, l.voice, l.text)
			at += l.voice.lead()
		}
		at += 1.5
	}
	s.qr(left+width-square, top)
	under := "no log entry"
	if s.mark.Entry > 0 {
		under = "log entry " + count(s.mark.Entry)
	}
	s.set(faint)
	s.put(left+width-square/2-s.pdf.GetStringWidth(under)/2, top+square+1.5, faint, under)
	s.y = max(low, at, top+square+6.5)
	s.rule(left, s.y, width, 0.6, 0)
	s.y += 3.5
}

// lines writes lines one below the other and returns where the last one ends.
func (s *sheet) lines(x, y float64, lines []said) float64 {
	for _, l := range lines {
		s.put(x, y, l.voice, l.text)
		y += l.voice.lead()
	}
	return y
}

// foot is on every page what the record is known by.
func (s *sheet) foot() {
	y := bottom + 4
	s.rule(left, y, width, 0.2, 110)
	y++
	s.end(left+width, y, faint, fmt.Sprintf("Page %d of %d", s.pdf.PageNo(), max(s.pages, s.pdf.PageNo())))
	written := "Written " + both(s.mark.At)
	if s.mark.SHA256 == [32]byte{} {
		s.put(left, y, faint, written)
		return
	}
	s.put(left, y, tiny, "SHA-256 "+grouped(s.mark.SHA256))
	s.put(left, y+3.5, faint, "In six words: "+strings.Join(act.Words(s.mark.SHA256), " "))
	s.end(left+width, y+3.5, faint, written)
}

// qr draws the code in squares, which print sharper than an image.
func (s *sheet) qr(x, y float64) {
	code, err := qr.Encode(s.mark.code(s.kind), qr.M, qr.Auto)
	if err != nil {
		s.pdf.SetError(err)
		return
	}
	squares(s.pdf, code, x, y, square/float64(code.Bounds().Dx()))
}

// squares draws a symbol in two dimensions, each of its modules so wide.
func squares(pdf *fpdf.Fpdf, code barcode.Barcode, x, y, side float64) {
	n := code.Bounds().Dx()
	pdf.SetFillColor(0, 0, 0)
	dark := func(i, j int) bool { r, _, _, _ := code.At(i, j).RGBA(); return r == 0 }
	for j := range code.Bounds().Dy() {
		for i := 0; i < n; i++ {
			from := i
			for i < n && dark(i, j) {
				i++
			}
			if i > from { // a hair higher, so that no light shows between the rows
				pdf.Rect(x+float64(from)*side, y+float64(j)*side, float64(i-from)*side, side*1.02, "F")
			}
		}
	}
}

// need begins a new page unless so much room is left.
func (s *sheet) need(high float64) {
	if s.y+high > bottom {
		s.page()
	}
}

// section begins a part; its heading stays with what follows.
func (s *sheet) section(name string) { s.sectionWith(name, 48) }

// sectionWith begins a part of which so much stays on one page.
func (s *sheet) sectionWith(name string, high float64) {
	s.need(high)
	s.y += 4
	s.put(left, s.y, heading, name)
	s.y += heading.lead() + 1.6
}

// text is a paragraph, over pages if it must.
func (s *sheet) text(v voice, text string) {
	for _, l := range s.wrap(v, text, width) {
		s.need(v.lead())
		s.put(left, s.y, v, l.text)
		s.y += v.lead()
	}
	s.y += 1
}

// A cell is one column's part of a row.
type cell struct {
	wide   float64
	pad    float64 // above and below
	middle bool
	lines  []said
}

// cell wraps what is said into a column.
func (s *sheet) cell(wide float64, all ...said) cell {
	c := cell{wide: wide, pad: pad}
	for _, one := range all {
		c.lines = append(c.lines, s.wrap(one.voice, one.text, wide-2*pad)...)
	}
	return c
}

func (c cell) high() float64 {
	h := 2 * c.pad
	for _, l := range c.lines {
		h += l.voice.lead()
	}
	return h
}

// row draws cells side by side, at least so high: boxed, or with a line below.
// A row that is higher than a page goes on on the next, after again. It returns
// where its last part begins.
func (s *sheet) row(cells []cell, least float64, boxed bool, again func()) float64 {
	high := least
	for _, c := range cells {
		high = max(high, c.high())
	}
	const most = bottom - top - 30 // a page has at least so much below its head and that of a table
	if s.y+high > bottom && (high <= most || s.y+20 > bottom) {
		s.page()
		again()
	}
	for {
		room, more := bottom-s.y, false
		part := min(high, room)
		x := left
		for i, c := range cells {
			y := s.y + c.pad
			n := 0
			for n < len(c.lines) && y+c.lines[n].voice.lead()+c.pad <= bottom {
				at := x + pad
				if c.middle {
					s.set(c.lines[n].voice)
					at = x + (c.wide-s.pdf.GetStringWidth(c.lines[n].text))/2
				}
				s.put(at, y, c.lines[n].voice, c.lines[n].text)
				y += c.lines[n].voice.lead()
				n++
			}
			cells[i].lines = c.lines[n:]
			more = more || n < len(c.lines)
			if boxed {
				s.box(x, s.y, c.wide, part)
			}
			x += c.wide
		}
		s.y += part
		if !boxed {
			s.rule(left, s.y, x-left, 0.15, 170)
		}
		if !more {
			return s.y - part
		}
		s.page()
		again()
		high = least
		for _, c := range cells {
			high = max(high, c.high())
		}
	}
}

// A field is a labelled value that takes so many quarters of the width.
type field struct {
	span  int
	label string
	said
}

// grid is fields in boxes, in rows of four quarters. A field without a value is
// room to write in.
func (s *sheet) grid(fields ...field) {
	for len(fields) > 0 {
		var cells []cell
		n, span := 0, 0
		for n < len(fields) && span+fields[n].span <= 4 {
			f := fields[n]
			span += f.span
			cells = append(cells, s.cell(float64(f.span)*width/4, said{faint, f.label}, f.said))
			n++
		}
		fields = fields[n:]
		s.row(cells, 0, true, func() {})
	}
	s.y += 2
}

// fact is a field of a record that is complete: nothing is filled in later.
func fact(span int, label, value string) field { return field{span, label, said{strong, or(value)}} }

// blank is a field whose value may be filled in by hand.
func blank(span int, label, value string) field { return field{span, label, said{strong, value}} }

// A column of a table. Width 0 takes what the others leave.
type column struct {
	head string
	wide float64
}

// table writes rows under heads that stand on every page again.
func (s *sheet) table(columns []column, rows [][][]said) { s.rows(columns, rows, 0, false) }

// sheetOf is a table to fill in by hand: boxes, each at least so high.
func (s *sheet) sheetOf(columns []column, rows [][][]said, least float64) {
	s.rows(columns, rows, least, true)
}

func (s *sheet) rows(columns []column, rows [][][]said, least float64, boxed bool) {
	rest := width
	for _, c := range columns {
		rest -= c.wide
	}
	for i, c := range columns {
		if c.wide == 0 {
			columns[i].wide = rest
		}
	}
	head := func() {
		var cells []cell
		for _, c := range columns {
			cells = append(cells, s.cell(c.wide, said{faint, c.head}))
		}
		s.row(cells, 0, false, func() {})
		s.rule(left, s.y, width, 0.4, 60)
	}
	s.need(22)
	head()
	for _, r := range rows {
		var cells []cell
		for i, c := range columns {
			cells = append(cells, s.cell(c.wide, r[i]...))
		}
		s.row(cells, least, boxed, head)
	}
	if len(rows) == 0 {
		s.row([]cell{s.cell(width, said{body, "none"})}, 0, false, head)
	}
	s.y += 1.5
}

// cells is a row of a table, all in one voice.
func cells(texts ...string) [][]said {
	var r [][]said
	for _, t := range texts {
		r = append(r, []said{{body, t}})
	}
	return r
}

// matrix is marks under heads that are written upwards. What has too many
// heads for the width goes on below.
func (s *sheet) matrix(first string, heads []string, rows [][]string) {
	const most, name, tallest = 16, 46.0, 40.0
	for from := 0; from < len(heads); from += most {
		part := heads[from:min(from+most, len(heads))]
		wide := min((width-name)/float64(len(part)), 12)
		head := func() { s.upward(first, name, wide, part, tallest) }
		s.need(tallest + 20)
		head()
		for _, r := range rows {
			row := []cell{s.cell(name, said{body, r[0]})}
			for _, mark := range r[1+from : 1+from+len(part)] {
				row = append(row, s.cell(wide, said{strong, mark}))
			}
			for i := range row {
				row[i].pad, row[i].middle = 0.5, i > 0
			}
			at := s.row(row, 0, false, head)
			s.pdf.SetDrawColor(200, 200, 200)
			for i := range part {
				x := left + name + float64(i)*wide
				s.pdf.Line(x, at, x, s.y)
			}
		}
		s.y += 2.5
	}
}

// upward writes the heads of a matrix.
func (s *sheet) upward(first string, name, wide float64, heads []string, tallest float64) {
	high := 0.0
	short := make([]string, len(heads))
	for i, h := range heads {
		short[i] = s.clip(faint, h, tallest-2)
		high = max(high, s.pdf.GetStringWidth(short[i])+2*pad)
	}
	for i, h := range short {
		x := left + name + (float64(i)+0.5)*wide + 0.9
		s.pdf.TransformBegin()
		s.pdf.TransformRotate(90, x, s.y+high-pad)
		s.set(faint)
		s.pdf.Text(x, s.y+high-pad, h)
		s.pdf.TransformEnd()
	}
	s.put(left+pad, s.y+high-faint.lead()-pad, faint, s.clip(faint, first, name-2*pad))
	s.y += high
	s.rule(left, s.y, name+wide*float64(len(heads)), 0.4, 60)
}

// ticks are boxes to tick by hand, two in a row.
func (s *sheet) ticks(texts ...string) {
	s.y += 1.5
	for len(texts) > 0 {
		n := min(2, len(texts))
		high := 0.0
		var pair [2][]said
		for i, t := range texts[:n] {
			pair[i] = s.wrap(body, t, width/2-8)
			high = max(high, float64(len(pair[i]))*body.lead()+0.7)
		}
		s.need(high)
		for i, l := range pair {
			if l != nil {
				x := left + float64(i)*width/2
				s.pdf.SetDrawColor(0, 0, 0)
				s.pdf.SetLineWidth(0.25)
				s.pdf.Rect(x, s.y+0.7, 2.7, 2.7, "D")
				s.lines(x+4.5, s.y, l)
			}
		}
		s.y += high
		texts = texts[n:]
	}
	s.y += 1.5
}

// signing is how high the boxes of so many people are.
func signing(high float64, people int) float64 { return float64((people+2)/3) * (high + 2.5) }

// sign are boxes to sign in, on one page if they fit.
func (s *sheet) sign(high float64, names ...string) {
	const gap = 3.0
	across := 3
	if len(names) == 2 || len(names) == 4 {
		across = 2
	}
	wide := (width - gap*float64(across-1)) / float64(across)
	s.need(min(signing(high, len(names)), bottom-top-10))
	for len(names) > 0 {
		n := min(across, len(names))
		s.need(high)
		for i, name := range names[:n] {
			x := left + float64(i)*(wide+gap)
			s.box(x, s.y, wide, high)
			s.put(x+pad, s.y+pad/2, strong, s.clip(strong, name, wide-2*pad))
			s.put(x+pad, s.y+high-faint.lead()-0.6, faint, "Signature, date, time IST and UTC")
		}
		s.y += high + 2.5
		names = names[n:]
	}
}
