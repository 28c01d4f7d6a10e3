package order

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"ankan/hsm"
	"ankan/sim"
)

// A Delivery is what a response file says before its rows: one delivery of an
// order, the whole of it or a part.
type Delivery struct {
	Header   *Header          // of the order; of the response when it was read
	First    sim.Identity     // the order's first identity, as the order's file has it
	Quantity int              // cards of this delivery: rows of the file
	KCV      hsm.KCV          // of the transport key
	Columns  []Column         // at least ICCID and IMSI
	Variant  sim.ICCIDVariant // how the file writes ICCIDs; 0: all digits
}

// A ResponseWriter writes the rows of a response file. It is used by one
// goroutine.
type ResponseWriter struct {
	w    io.Writer
	d    Delivery
	end  string // what ends a row
	buf  []byte
	rows int
	err  error // first one; nothing is written after it
}

const flushAt = 1 << 18

// NewResponse begins a response: the order's header with the quantity of this
// delivery and the transport key's check value, the first identity, and the
// names of the columns, laid out as the dialect has it.
func NewResponse(w io.Writer, d Delivery) (*ResponseWriter, error) {
	if d.Header == nil {
		return nil, fmt.Errorf("response: no header of an order")
	}
	if err := checkColumns(d.Columns); err != nil {
		return nil, fmt.Errorf("response: %w", err)
	}
	if wrong := Quantity.wrong(strconv.Itoa(d.Quantity)); wrong != "" {
		return nil, fmt.Errorf("response: quantity %s", wrong)
	}
	if d.KCV.IsZero() {
		return nil, fmt.Errorf("response: no check value of the transport key")
	}
	if d.Header.Value(TransportKCV) != "" {
		return nil, fmt.Errorf("response: the header is that of a response, want an order's")
	}
	rw := &ResponseWriter{w: w, d: d, end: d.Header.newline, buf: make([]byte, 0, flushAt+4*maxLine)}
	if err := rw.begin(); err != nil {
		return nil, err
	}
	return rw, nil
}

func (rw *ResponseWriter) begin() (err error) {
	d, dialect := rw.d, rw.d.Header.dialect
	head := d.Header.with(Quantity, strconv.Itoa(d.Quantity)).after(TransportKey, TransportKCV, d.KCV.String())
	if rw.buf, err = head.AppendText(rw.buf); err != nil {
		return err
	}
	for _, spec := range dialect.pair {
		rw.buf = append(rw.buf, spec.text...)
		if spec.field == fieldIMSI {
			rw.buf, err = d.First.IMSI.AppendText(rw.buf)
		} else {
			rw.buf, err = appendICCID(rw.buf, d.Variant, d.First.ICCID)
		}
		if err != nil {
			return fmt.Errorf("response: first identity: %w", err)
		}
		rw.buf = append(rw.buf, rw.end...)
	}
	for _, spec := range dialect.tail {
		rw.buf = append(rw.buf, spec.text...)
		if spec.field == fieldColumns {
			rw.buf = append(rw.buf, joinColumns(d.Columns)...)
		}
		rw.buf = append(rw.buf, rw.end...)
	}
	return nil
}

// Row writes the row of one card: Rows of what AppendRow appends.
func (rw *ResponseWriter) Row(id sim.Identity, cells [][]byte) error {
	if rw.err != nil {
		return rw.err
	}
	b, err := rw.AppendRow(rw.buf, id, cells)
	if err != nil {
		return rw.stop(fmt.Errorf("response: row %d: %w", rw.rows+1, err))
	}
	if err := rw.count(1); err != nil {
		return err
	}
	rw.buf = b
	if len(rw.buf) >= flushAt {
		return rw.flush()
	}
	return nil
}

// AppendRow appends the row of one card to dst and writes nothing. cells has
// one cell for each column: nil for a Derived one; the encrypted blocks
// themselves for a Sealed one, 16 or 32 bytes; digits, FF-padded as on the card
// or not, for a PIN, PUK or ADM. It keeps no cell. An error names the column
// and never the value. It may be called by many goroutines, for Rows.
func (rw *ResponseWriter) AppendRow(dst []byte, id sim.Identity, cells [][]byte) ([]byte, error) {
	if len(cells) != len(rw.d.Columns) {
		return dst, fmt.Errorf("has %d cells, want %d", len(cells), len(rw.d.Columns))
	}
	b := dst
	for i := range rw.d.Columns {
		if i > 0 {
			b = append(b, ' ')
		}
		c := &rw.d.Columns[i]
		var err error
		switch c.kind {
		case sealedCell:
			if n := len(cells[i]); n != 16 && n != 32 {
				err = fmt.Errorf("has %d bytes, want 16 or 32", n)
			}
			b = appendHex(b, cells[i])
		case codeCell:
			b, err = appendCode(b, cells[i])
		case textCell:
			if err = checkWord(cells[i]); err == nil {
				b = append(b, cells[i]...)
			}
		default:
			if cells[i] != nil {
				err = fmt.Errorf("comes from the identity, want no cell")
				break
			}
			b, err = rw.derived(b, c.kind, id)
		}
		if err != nil {
			return dst, fmt.Errorf("%s %w", c.name, err)
		}
	}
	return append(b, rw.end...), nil
}

// Rows writes n rows that AppendRow made, in the order of the calls to Rows.
func (rw *ResponseWriter) Rows(rows []byte, n int) error {
	if rw.err != nil {
		return rw.err
	}
	if err := rw.count(n); err != nil {
		return err
	}
	if len(rw.buf) > 0 {
		if err := rw.flush(); err != nil {
			return err
		}
	}
	if _, err := rw.w.Write(rows); err != nil {
		return rw.stop(fmt.Errorf("response: %w", err))
	}
	return nil
}

// count counts n more rows, unless that is more than the header says.
func (rw *ResponseWriter) count(n int) error {
	if rw.rows+n > rw.d.Quantity {
		return rw.stop(fmt.Errorf("response: row %d, want %d (the quantity)", rw.rows+n, rw.d.Quantity))
	}
	rw.rows += n
	return nil
}

// appendHex is hex.AppendEncode in upper case, as the trade writes keys. It
// works on eight digits at a time: most of a response is such digits.
func appendHex(dst, src []byte) []byte {
	for ; len(src) >= 4; src = src[4:] {
		x := uint64(binary.BigEndian.Uint32(src))
		x = (x | x<<16) & 0x0000FFFF0000FFFF
		x = (x | x<<8) & 0x00FF00FF00FF00FF
		x = (x | x<<4) & 0x0F0F0F0F0F0F0F0F // a nibble in each byte
		letters := (x + 0x0606060606060606) >> 4 & 0x0101010101010101
		dst = binary.BigEndian.AppendUint64(dst, x+0x3030303030303030+letters*('A'-'9'-1))
	}
	const digits = "0123456789ABCDEF"
	for _, v := range src {
		dst = append(dst, digits[v>>4], digits[v&0xF])
	}
	return dst
}

func (rw *ResponseWriter) derived(b []byte, k kind, id sim.Identity) ([]byte, error) {
	switch k {
	case iccidCell:
		return appendICCID(b, rw.d.Variant, id.ICCID)
	case imsiCell:
		return id.IMSI.AppendText(b)
	case msisdnCell:
		return id.MSISDN.AppendText(b)
	default:
		return appendACC(b, id.IMSI), nil
	}
}

// appendACC appends the access class as EF_ACC holds it, in hexadecimal digits.
func appendACC(dst []byte, id sim.IMSI) []byte {
	acc := id.ACC()
	return appendHex(dst, []byte{byte(acc >> 8), byte(acc)})
}

func appendCode(dst, code []byte) ([]byte, error) {
	n := len(code)
	for n > 0 && code[n-1] == 0xFF {
		n--
	}
	if err := checkDigits(code[:n], 4, 8); err != nil {
		return dst, err
	}
	return append(dst, code[:n]...), nil
}

func checkDigits(b []byte, low, high int) error {
	for i, c := range b {
		if c < '0' || c > '9' {
			return fmt.Errorf("has no digit at character %d", i+1)
		}
	}
	switch {
	case len(b) >= low && len(b) <= high:
		return nil
	case low == high:
		return fmt.Errorf("has %d digits, want %d", len(b), low)
	}
	return fmt.Errorf("has %d digits, want %d to %d", len(b), low, high)
}

func checkWord(b []byte) error {
	if len(b) == 0 || len(b) > 64 {
		return fmt.Errorf("has %d characters, want 1 to 64", len(b))
	}
	for i, c := range b {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("has a character at %d that is not printable", i+1)
		}
	}
	return nil
}

func (rw *ResponseWriter) stop(err error) error {
	rw.err = err
	return err
}

func (rw *ResponseWriter) flush() error {
	_, err := rw.w.Write(rw.buf)
	clear(rw.buf)
	rw.buf = rw.buf[:0]
	if err != nil {
		return rw.stop(fmt.Errorf("response: %w", err))
	}
	return nil
}

// Close writes what is left and checks that there were as many rows as the
// header says. A file whose Close gives an error must not be sent.
func (rw *ResponseWriter) Close() error {
	if rw.err != nil {
		clear(rw.buf)
		return rw.err
	}
	if err := rw.flush(); err != nil {
		return err
	}
	if rw.rows != rw.d.Quantity {
		return rw.stop(fmt.Errorf("response: %d rows, want %d (the quantity)", rw.rows, rw.d.Quantity))
	}
	rw.err = fmt.Errorf("response: closed")
	return nil
}

// A Row is one card of a response that is read. It holds secrets: it prints
// and logs as a marker and refuses to be encoded. What it gives may be used
// until the function that got it returns.
type Row struct {
	Line   int // in the file
	ID     sim.Identity
	cells  *[][]byte // behind a pointer: fmt reads unexported fields past any method
	blocks []byte    // decoded cells of Sealed columns
}

// Cell is the cell of column i: the encrypted blocks of a Sealed column, else
// the text.
func (r *Row) Cell(i int) []byte { return (*r.cells)[i] }

// Format prints a marker for every verb.
func (*Row) Format(f fmt.State, _ rune) { io.WriteString(f, "[row of a response]") }

// LogValue is a marker.
func (*Row) LogValue() slog.Value { return slog.StringValue("[row of a response]") }

// MarshalJSON refuses.
func (*Row) MarshalJSON() ([]byte, error) { return nil, sim.ErrSecret }

// ParseResponse reads a response with the strict default Reading.
func ParseResponse(name string, r io.Reader, begin func(Delivery) error, row func(*Row) error) (Delivery, error) {
	return Reading{}.ParseResponse(name, r, begin, row)
}

// ParseResponse reads a response file and gives its rows one after the other;
// memory does not grow with them. begin, which may be nil, sees the head
// before the first row. Their errors end reading and are returned. What row
// got counts only when the error is nil: the last row may be missing.
func (rd Reading) ParseResponse(name string, r io.Reader, begin func(Delivery) error, row func(*Row) error) (Delivery, error) {
	s := rd.scan(name, r)
	d := Delivery{Variant: rd.Variant, Header: readHeader(s, true)}
	if d.Header != nil {
		rd.readHead(s, &d)
	}
	if err := s.err(); err != nil {
		return Delivery{}, err
	}
	if begin != nil {
		if err := begin(d); err != nil {
			return Delivery{}, err
		}
	}
	err := rd.readRows(s, &d, row)
	if refused := s.err(); refused != nil {
		err = refused
	}
	if err != nil {
		return Delivery{}, err
	}
	return d, nil
}

// readHead reads from the input variables to the names of the columns.
func (rd Reading) readHead(s *scanner, d *Delivery) {
	in := &Input{Header: d.Header, variant: rd.Variant}
	d.Header.decorations(s)
	var ok bool
	if d.First, ok = in.readPair(s); !ok {
		if len(s.faults) == 0 {
			s.fault(1, "file ends and has no %s", in.dialect.pair[0].key)
		}
		return
	}
	d.Quantity = d.Header.Quantity()
	if kcv := d.Header.Value(TransportKCV); kcv != "" {
		d.KCV, _ = hsm.ParseKCV(kcv) // what is wrong with it is a fault already
	}
	for n := 0; s.next(); n++ {
		key, at, end, ok := split(s.text)
		switch {
		case ok && strings.EqualFold(key, in.dialect.output()):
			cols, err := ParseColumns(string(s.text[at:end]))
			if err != nil {
				s.stop(at+1, "%v", err)
			}
			d.Columns = cols
			if d.KCV.IsZero() {
				s.sealedWithoutKCV(cols, in.dialect)
			}
			return
		case !in.dialect.decoration(string(s.text)):
			s.stop(1, "line is not %s: or decoration", in.dialect.output())
		case n == maxHeader:
			s.stop(1, "more than %d lines before %s", maxHeader, in.dialect.output())
		}
	}
	if len(s.faults) == 0 {
		s.fault(1, "file ends and has no %s", in.dialect.output())
	}
}

func (s *scanner) sealedWithoutKCV(cols []Column, d *Dialect) {
	for _, c := range cols {
		if c.Sealed() {
			s.fault(1, "%s is encrypted, but the header has no %s to tell under which key", c.name, d.find(TransportKCV).key)
			return
		}
	}
}

func (rd Reading) readRows(s *scanner, d *Delivery, row func(*Row) error) error {
	r := newRow(len(d.Columns))
	defer r.wipe()
	rows := 0
	for s.next() {
		if len(s.text) == 0 || s.text[0] == ' ' {
			s.blankEnd()
			break
		}
		if key, _, _, ok := split(s.text); ok && strings.EqualFold(key, d.Header.dialect.output()) {
			s.stop(1, "second %s, want one", key)
			return nil
		}
		if rows++; rows > d.Quantity {
			s.stop(1, "row %d, want %d (%s)", rows, d.Quantity, d.Header.dialect.find(Quantity).key)
			return nil
		}
		rd.readRow(s, d.Columns, r)
		if len(s.faults) > 0 {
			continue // the file is refused; read on for more faults
		}
		if err := row(r); err != nil {
			return err
		}
	}
	if s.failed == nil && len(s.faults) == 0 && rows != d.Quantity {
		s.fault(1, "%d rows, want %d (%s)", rows, d.Quantity, d.Header.dialect.find(Quantity).key)
	}
	return nil
}

// blankEnd reads the blank lines that may end a response.
func (s *scanner) blankEnd() {
	for n := 1; ; n++ {
		switch {
		case len(bytes.Trim(s.text, blanks)) > 0:
			s.stop(1, "line after the rows is not blank")
		case n > maxHeader:
			s.stop(1, "more than %d blank lines after the rows", maxHeader)
		}
		if !s.next() {
			return
		}
	}
}

func newRow(columns int) *Row {
	cells := make([][]byte, columns)
	return &Row{cells: &cells, blocks: make([]byte, 0, maxLine)}
}

func (r *Row) wipe() {
	clear(*r.cells)
	clear(r.blocks[:cap(r.blocks)])
}

// readRow reads the cells of the present line: one blank between two.
func (rd Reading) readRow(s *scanner, cols []Column, r *Row) {
	r.Line, r.ID, r.blocks = s.line, sim.Identity{}, r.blocks[:0]
	before, at := len(s.faults), 0
	for i := range cols {
		if at > len(s.text) {
			s.fault(at, "row has %d cells, want %d", i, len(cols))
			return
		}
		end := bytes.IndexByte(s.text[at:], ' ')
		if end < 0 {
			end = len(s.text) - at
		}
		cell, err := rd.readCell(cols[i].kind, s.text[at:at+end], r)
		if err != nil {
			s.fault(at+1, "%s: %v", cols[i].name, err)
		}
		(*r.cells)[i] = cell
		at += end + 1
	}
	if at <= len(s.text) {
		s.fault(at, "row has more than %d cells", len(cols))
		return
	}
	var acc [4]byte
	for i := range cols {
		if cols[i].kind == accCell && len(s.faults) == before && !bytes.Equal(r.Cell(i), appendACC(acc[:0], r.ID.IMSI)) {
			s.fault(1, "%s is not the access class of the IMSI", cols[i].name)
		}
	}
}

// readCell reads one cell. Its errors do not show what was found.
func (rd Reading) readCell(k kind, cell []byte, r *Row) (_ []byte, err error) {
	switch k {
	case iccidCell:
		r.ID.ICCID, err = parseICCID(rd.Variant, cell)
	case imsiCell:
		r.ID.IMSI, err = sim.ParseIMSI(string(cell))
	case msisdnCell:
		r.ID.MSISDN, err = sim.ParseMSISDN(string(cell))
	case codeCell:
		err = checkDigits(cell, 4, 8)
	case sealedCell:
		if n := len(cell); n != 32 && n != 64 {
			return nil, fmt.Errorf("has %d characters, want 32 or 64", n)
		}
		from := len(r.blocks)
		for i := 0; i < len(cell); i += 2 {
			high, low := nibble(cell[i]), nibble(cell[i+1])
			if high|low > 0xF {
				return nil, fmt.Errorf("has no hexadecimal digit 0-9 or A-F at character %d or the next", i+1)
			}
			r.blocks = append(r.blocks, high<<4|low)
		}
		return r.blocks[from:], nil
	default:
		err = checkWord(cell)
	}
	return cell, err
}

// nibble is the value of an upper case hexadecimal digit; more than 15 for
// anything else. Lower case is refused: one value, one form.
func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 0xFF
}
