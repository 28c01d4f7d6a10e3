package format

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ankan/hsm"
	"ankan/sim"
)

// A Delivery is what a response file says before its rows: one delivery of an
// order, the whole of it or a part.
type Delivery struct {
	Output   *Output            // nil: the first of the header's layout
	Header   *Header            // of the order; of the response when it was read
	First    sim.Identity       // the order's first identity, as the order's file has it
	Quantity int                // cards of this file: its rows; 0 of a file that is read and does not say it at its head
	KCV      hsm.KCV            // of the transport key; zero of a file that is read and does not say it
	KCVs     map[string]hsm.KCV // of the transport keys of named receivers
	Columns  []Column           // at least ICCID and IMSI, where they may be chosen; nil: the output's own
	Variant  sim.ICCIDVariant   // how the file writes ICCIDs; 0: all digits
	Values   map[Field]string   // OrderID, Part, Parts, Written, and what the header does not have
}

// KCVOf is the check value of a receiver's transport key; zero if the file does not
// say it.
func (d *Delivery) KCVOf(receiver string) hsm.KCV {
	if receiver == "" {
		return d.KCV
	}
	return d.KCVs[receiver]
}

// A ResponseWriter writes the rows of a response file. It is used by one
// goroutine, AppendRow by many.
type ResponseWriter struct {
	w       io.Writer
	d       Delivery
	o       *Output
	program []part // of a row, to its last line's end, without between
	columns []Column
	end     string // of a row: between and the line's end
	newline string
	buf     []byte
	rows    int
	lines   int // above the rows
	sums    sums
	err     error // first one; nothing is written after it
}

// sums are checksums of rows as they stand in the file.
type sums struct {
	crc hash.Hash32 // nil if the file has none
	sha hash.Hash
}

func newSums(tail []textLine) (s sums) {
	if find(tail, func(c *Column) bool { return c.kind == crcCell }) != nil {
		s.crc = crc32.NewIEEE()
	}
	if find(tail, func(c *Column) bool { return c.kind == shaCell }) != nil {
		s.sha = sha256.New()
	}
	return s
}

func (s sums) add(rows []byte) {
	if s.crc != nil {
		s.crc.Write(rows)
	}
	if s.sha != nil {
		s.sha.Write(rows)
	}
}

// line adds the present line of a file.
func (s sums) line(f *scanner) {
	if s.crc != nil || s.sha != nil {
		s.add(f.raw)
		s.add([]byte(f.newline))
	}
}

// value is what a tail says about the rows, and the lines of the file.
func (s sums) value(c *Column, rows, lines int) string {
	switch c.kind {
	case rowsCell:
		return strconv.Itoa(rows)
	case linesCell:
		return strconv.Itoa(lines)
	case crcCell:
		return string(appendHex(nil, binary.BigEndian.AppendUint32(nil, s.crc.Sum32())))
	default:
		return string(appendHex(nil, s.sha.Sum(nil)))
	}
}

const flushAt = 1 << 18

// NewResponse begins a response as its output has it. An output that echoes
// begins with the order's header with the quantity of this delivery and the
// transport key's check value, and the first identity.
func NewResponse(w io.Writer, d Delivery) (*ResponseWriter, error) {
	if d.Header == nil {
		return nil, fmt.Errorf("response: no header of an order")
	}
	if d.Output == nil {
		if len(d.Header.layout.outputs) == 0 {
			return nil, fmt.Errorf("response: layout %s has no outputs", d.Header.layout.name)
		}
		d.Output = d.Header.layout.outputs[0]
	}
	o := d.Output
	if o.echo && o.layout != d.Header.layout {
		return nil, fmt.Errorf("response: %s/%s begins with the lines of an order of %s, and the order is of %s", o.layout.name, o.name, o.layout.name, d.Header.layout.name)
	}
	rows := o.rows
	if d.Columns == nil {
		d.Columns = o.rows.columns
	} else if o.table != nil {
		if err := checkColumns(d.Columns); err != nil {
			return nil, fmt.Errorf("response: %w", err)
		}
		if why := o.table.refuses(d.Columns); why != "" {
			return nil, fmt.Errorf("response: separator %s", why)
		}
		rows = rowText{lines: o.table.line(d.Columns), columns: d.Columns, between: rows.between}
	}
	if wrong := Quantity.wrong(strconv.Itoa(d.Quantity)); wrong != "" {
		return nil, fmt.Errorf("response: quantity %s", wrong)
	}
	if d.KCV.IsZero() && o.echo && !o.layout.named() {
		return nil, fmt.Errorf("response: no check value of the transport key")
	}
	if d.Header.Value(TransportKCV) != "" {
		return nil, fmt.Errorf("response: the header is that of a response, want an order's")
	}
	rw := &ResponseWriter{w: w, d: d, o: o, columns: d.Columns, sums: newSums(o.tail), buf: make([]byte, 0, flushAt+4*maxLine)}
	rw.newline = o.layout.newline
	if o.echo {
		rw.newline = d.Header.newline
	}
	end, err := o.layout.coding.encode([]byte(rows.between), 0)
	if err != nil {
		return nil, fmt.Errorf("response: between: %w", err)
	}
	rw.end = string(end) + rw.newline
	if err := rw.begin(); err != nil {
		return nil, err
	}
	return rw, rw.fold(rows.lines)
}

// named says that the layout's keys are for receivers by name alone.
func (l *Layout) named() bool { return l.order != nil && l.order.receivers }

// value is what the file's head, names and rows say.
func (d *Delivery) value(f Field) string {
	switch f {
	case Quantity:
		return strconv.Itoa(d.Quantity)
	case TransportKCV:
		return d.KCV.String()
	}
	if f.base() == TransportKCV {
		for receiver, kcv := range d.KCVs {
			if TransportKCV.of(receiver) == f {
				return kcv.String()
			}
		}
	}
	if v := d.Values[f]; v != "" {
		return v
	}
	return d.Header.Value(f)
}

// text is the value of a head's or tail's column.
func (d *Delivery) text(c *Column) (string, error) {
	if c.kind == markCell {
		return joinColumns(d.Columns, d.Output.table.join), nil
	}
	v := d.value(c.field)
	if v == "" {
		return "", nil // it is left out, or said to be too short
	}
	if wrong := c.field.Wrong(v); wrong != "" {
		return "", fmt.Errorf("%s %s", c.field, wrong)
	}
	return v, nil
}

// FileName is the file's name by the output's rule; "" if it has none.
func (d Delivery) FileName() (string, error) {
	if d.Output == nil || d.Output.rule == nil {
		return "", nil
	}
	var b []byte
	for _, p := range d.Output.rule.text.parts {
		if b = append(b, p.text...); p.col == nil {
			continue
		}
		v, err := d.text(p.col)
		if err == nil && v == "" {
			err = fmt.Errorf("is not known")
		}
		if err == nil {
			at := len(b)
			b, err = p.col.apply(append(b, v...), at)
		}
		if err != nil {
			return "", fmt.Errorf("name of the response: %s %w", p.col.name, err)
		}
	}
	name := string(b)
	if strings.ContainsAny(name, `/\`) || strings.HasPrefix(name, ".") || len(name) > 200 {
		return "", fmt.Errorf("name of the response: %s is no name of a file: it has no folder, does not start with a dot, and at most 200 bytes", shown(name))
	}
	return name, nil
}

func (rw *ResponseWriter) begin() (err error) {
	rw.buf = rw.o.layout.coding.begin(rw.buf)
	if rw.o.echo {
		if err := rw.echo(); err != nil {
			return err
		}
	}
	if rw.buf, err = appendText(rw.buf, rw.o.head, rw.newline, rw.d.text); err == nil {
		rw.buf, err = rw.o.layout.coding.encode(rw.buf, 0)
	}
	if err != nil {
		return fmt.Errorf("response: %w", err)
	}
	rw.lines = bytes.Count(rw.buf, []byte{'\n'})
	return nil
}

// echo is the order's head and first identity.
func (rw *ResponseWriter) echo() error {
	d := rw.d
	head, err := d.Header.With(Quantity, strconv.Itoa(d.Quantity))
	if err != nil {
		return fmt.Errorf("response: %w", err)
	}
	if !d.KCV.IsZero() && d.Header.layout.order.find(TransportKCV) != nil {
		head = head.after(TransportKey, TransportKCV, d.KCV.String())
	}
	for _, receiver := range slices.Sorted(maps.Keys(d.KCVs)) {
		if f := TransportKCV.of(receiver); d.Header.layout.order.find(f) != nil {
			head = head.after(TransportKey.of(receiver), f, d.KCVs[receiver].String())
		}
	}
	if rw.buf, err = head.AppendText(rw.buf); err != nil {
		return err
	}
	rw.buf, err = d.Header.layout.order.appendRow(rw.buf, 0, d.Header, Run{First: d.First, Count: d.Quantity}, 0, d.Variant, nil)
	if err != nil {
		return fmt.Errorf("response: first identity: %w", err)
	}
	return nil
}

// fold makes the program of a row: what is the same in each is literal text.
func (rw *ResponseWriter) fold(lines []textLine) error {
	literal := func(s string) {
		if k := len(rw.program) - 1; k >= 0 && rw.program[k].col == nil {
			rw.program[k].text += s
			return
		}
		rw.program = append(rw.program, part{text: s, at: -1})
	}
	for n, l := range lines {
		if n > 0 {
			literal(rw.newline)
		}
		for i, p := range l.parts {
			if p.col == nil {
				literal(p.text)
				continue
			}
			if p.col.kind != fieldCell {
				c := &rw.columns[p.at]
				// What may be any character is looked at as it comes.
				rw.program = append(rw.program, part{text: restText(l.parts[i+1:]), col: c, at: p.at})
				continue
			}
			v, err := rw.d.text(p.col)
			var b []byte
			if err == nil {
				b, err = p.col.apply([]byte(v), 0)
			}
			if err == nil {
				err = p.col.fits(b, l.parts[i+1:])
			}
			if err != nil {
				return fmt.Errorf("response: %s %w", p.col.field, err)
			}
			literal(string(b))
		}
	}
	for i, p := range rw.program {
		if p.col == nil {
			b, err := rw.o.layout.coding.encode([]byte(p.text), 0)
			if err != nil {
				return fmt.Errorf("response: row: %w", err)
			}
			rw.program[i].text = string(b)
		}
	}
	return nil
}

// Row writes the row of one card: Rows of what AppendRow appends.
func (rw *ResponseWriter) Row(serial int, id sim.Identity, cells [][]byte) error {
	if rw.err != nil {
		return rw.err
	}
	from := len(rw.buf)
	b, err := rw.AppendRow(rw.buf, serial, id, cells)
	if err != nil {
		return rw.stop(fmt.Errorf("response: row %d: %w", rw.rows+1, err))
	}
	if err := rw.count(1); err != nil {
		return err
	}
	rw.buf = rw.last(b)
	rw.sums.add(rw.buf[from:])
	if len(rw.buf) >= flushAt {
		return rw.flush()
	}
	return nil
}

// AppendRow appends the row of one card to dst and writes nothing. serial is the
// card's number in the order, from 1. cells has one cell for each column: nil for
// a Derived one; the encrypted blocks themselves for a Sealed one, 16 or 32
// bytes; the bytes of a check value; digits, FF-padded as on the card or not, for
// a PIN, PUK or ADM. It keeps no cell. An error names the column and never the
// value. It may be called by many goroutines, for Rows.
func (rw *ResponseWriter) AppendRow(dst []byte, serial int, id sim.Identity, cells [][]byte) ([]byte, error) {
	if len(cells) != len(rw.columns) {
		return dst, fmt.Errorf("has %d cells, want %d", len(cells), len(rw.columns))
	}
	b := dst
	for i := range rw.program {
		p := &rw.program[i]
		if p.col == nil {
			b = append(b, p.text...)
			continue
		}
		c, cell := p.col, cells[p.at]
		from := len(b)
		var err error
		switch c.kind {
		case sealedCell:
			if n := len(cell); n != 16 && n != 32 {
				err = fmt.Errorf("has %d bytes, want 16 or 32", n)
			}
			b = appendHex(b, cell)
		case codeCell:
			b, err = appendCode(b, cell)
		case textCell:
			if err = checkWord(cell); err == nil && p.text != "" && bytes.IndexByte(cell, p.text[0]) >= 0 {
				err = fmt.Errorf("has %q, where the layout ends it", p.text[0])
			}
			if err == nil {
				b = append(b, cell...)
			}
		case kcvCell:
			if n := len(cell); n*2 != c.kcvDigits() {
				err = fmt.Errorf("has %d bytes, want %d", n, c.kcvDigits()/2)
			}
			b = appendHex(b, cell)
		default:
			if cell != nil {
				err = fmt.Errorf("comes from the identity, want no cell")
				break
			}
			b, err = appendDerived(b, c, rw.d.Variant, serial, id)
		}
		if err == nil && len(c.does) > 0 {
			b, err = c.apply(b, from)
		}
		if err != nil {
			return dst, fmt.Errorf("%s %w", c.name, err)
		}
	}
	return append(b, rw.end...), nil
}

// kcvDigits is the hexadecimal digits of a check value.
func (c *Column) kcvDigits() int {
	if c.method == hsm.CMAC {
		return 10
	}
	return 6
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
	rows = rw.last(rows)
	rw.sums.add(rows)
	if _, err := rw.w.Write(rows); err != nil {
		return rw.stop(fmt.Errorf("response: %w", err))
	}
	return nil
}

// last takes away what stands between two rows after the last one.
func (rw *ResponseWriter) last(rows []byte) []byte {
	end := rw.newline
	if rw.o.layout.open && len(rw.o.tail) == 0 {
		end = ""
	}
	if rw.rows != rw.d.Quantity || rw.end == end || len(rows) < len(rw.end) {
		return rows
	}
	return append(rows[:len(rows)-len(rw.end)], end...)
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

// appendDerived appends a value that is the identity's or the row's.
func appendDerived(b []byte, c *Column, v sim.ICCIDVariant, serial int, id sim.Identity) ([]byte, error) {
	switch c.kind {
	case iccidCell:
		if c.variant != 0 {
			v = c.variant
		}
		return appendICCID(b, v, id.ICCID)
	case imsiCell:
		return id.IMSI.AppendText(b)
	case msisdnCell:
		return id.MSISDN.AppendText(b)
	case serialCell:
		if serial < 1 {
			return b, fmt.Errorf("is %d, want the card's number in the order, from 1", serial)
		}
		return strconv.AppendInt(b, int64(serial), 10), nil
	default:
		if id.IMSI.IsZero() {
			return b, fmt.Errorf("has no IMSI to be of")
		}
		return appendACC(b, id.IMSI), nil
	}
}

func appendICCID(dst []byte, v sim.ICCIDVariant, id sim.ICCID) ([]byte, error) {
	if v == 0 {
		return id.AppendText(dst)
	}
	return v.Append(dst, id)
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
	if err := CheckDigits(code[:n], 4, 8); err != nil {
		return dst, err
	}
	return append(dst, code[:n]...), nil
}

// CheckDigits refuses what is not low to high decimal digits. It never shows
// them.
func CheckDigits(b []byte, low, high int) error {
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
func (rw *ResponseWriter) Close() (err error) {
	if rw.err != nil {
		clear(rw.buf)
		return rw.err
	}
	if rw.rows != rw.d.Quantity {
		if err := rw.flush(); err != nil {
			return err
		}
		return rw.stop(fmt.Errorf("response: %d rows, want %d (the quantity)", rw.rows, rw.d.Quantity))
	}
	from, lines := len(rw.buf), rw.lines+rw.rows*max(len(rw.o.rows.lines), 1)+len(rw.o.tail)
	rw.buf, err = appendText(rw.buf, rw.o.tail, rw.newline, func(c *Column) (string, error) {
		if c.kind == fieldCell {
			return rw.d.text(c)
		}
		return rw.sums.value(c, rw.rows, lines), nil
	})
	if err == nil {
		rw.buf, err = rw.o.layout.coding.encode(rw.buf, from)
	}
	if err != nil {
		return rw.stop(fmt.Errorf("response: %w", err))
	}
	if rw.o.layout.open && len(rw.buf) > from {
		rw.buf = rw.buf[:len(rw.buf)-len(rw.newline)]
	}
	if err := rw.flush(); err != nil {
		return err
	}
	rw.err = fmt.Errorf("response: closed")
	return nil
}
