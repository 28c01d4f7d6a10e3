package order

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"iter"
	"strings"

	"ankan/sim"
)

// An Input is an order file that was read: its header and the identities that
// it asks for. Nothing of the file is lost: Render gives the same bytes.
type Input struct {
	*Header
	variant sim.ICCIDVariant
	layout  [2]layout // how the two lines of a pair are written
	first   sim.Identity
	span    sim.IdentityRange // zero for a list
	list    pairs             // empty for a range
	trailer []string          // decoration at the end
}

// A layout is what stands around the value of an input variable.
type layout struct{ before, after string }

// pairs holds a list of identities in 16 bytes each. Chunks, so that it grows
// by what is really in the file and is never copied.
type pairs struct {
	chunks [][]pair
	n      int
}

type pair struct{ body, imsi uint64 }

const chunk = 1 << 14

func (p *pairs) add(id sim.Identity) {
	if p.n%chunk == 0 {
		p.chunks = append(p.chunks, make([]pair, 0, chunk))
	}
	last := &p.chunks[len(p.chunks)-1]
	*last = append(*last, pair{id.ICCID.Body(), id.IMSI.Value()})
	p.n++
}

// ParseInput reads an order file with the strict default Reading.
func ParseInput(name string, r io.Reader) (*Input, error) { return Reading{}.ParseInput(name, r) }

// ParseInput reads an order file. It reads lines, not the file: memory is
// bounded by the identities of an explicit list. The error is Faults, or that
// of r. One pair of input variables is the first of Quantity consecutive
// identities; otherwise there are exactly Quantity pairs, written alike.
func (rd Reading) ParseInput(name string, r io.Reader) (*Input, error) {
	s := rd.scan(name, r)
	in := &Input{variant: rd.Variant, Header: readHeader(s, false)}
	if in.Header != nil {
		in.decorations(s)
		in.readPairs(s)
	}
	if err := s.err(); err != nil {
		return nil, err
	}
	return in, nil
}

func (in *Input) readPairs(s *scanner) {
	quantity, key := in.Quantity(), in.dialect.find(Quantity).key
	if len(s.faults) > 0 {
		quantity = MaxQuantity // unknown; read on for the faults of the identities
	}
	start, n := 0, 0
	for s.next() {
		s.hold()
		if n == 0 {
			start = s.line
		}
		if n > 0 && in.dialect.decoration(string(s.text)) {
			break
		}
		if n == max(quantity, 1) {
			s.stop(1, "more than %d pairs of input variables, want one, or %d (%s)", n, quantity, key)
			return
		}
		id, ok := in.readPair(s)
		if !ok {
			break
		}
		if n++; n == 1 {
			in.first = id
		}
		if len(s.faults) == 0 && quantity > 1 {
			in.list.add(id)
		}
	}
	in.readTrailer(s)
	switch {
	case len(s.faults) > 0 || s.failed != nil:
	case n == 0:
		s.fault(1, "file ends and has no %s and %s", in.dialect.pair[0].key, in.dialect.pair[1].key)
	case n == 1:
		in.list = pairs{}
		span, err := sim.NewIdentityRange(in.first, uint64(quantity))
		if err != nil {
			s.faultAt(start, 1, "%v", err)
		}
		in.span = span
	case n != quantity:
		s.fault(1, "%d pairs of input variables, want one, or %d (%s)", n, quantity, key)
	}
}

// readPair reads the two lines of a pair; false if the file ends before.
func (in *Input) readPair(s *scanner) (id sim.Identity, ok bool) {
	for i, spec := range in.dialect.pair {
		if !s.next() {
			if i > 0 && len(s.faults) == 0 {
				s.fault(1, "file ends and has no %s to this %s", spec.key, in.dialect.pair[0].key)
			}
			return id, false
		}
		at, value := in.variable(s, i, spec)
		if value == nil {
			continue
		}
		if err := in.parse(spec.field, value, &id); err != nil {
			s.fault(at+1, "%v", err)
		}
	}
	return id, true
}

// variable finds the value of an input variable on the present line.
func (in *Input) variable(s *scanner, i int, spec spec) (at int, value []byte) {
	lay := &in.layout[i]
	if lay.before != "" {
		rest, ok := bytes.CutPrefix(s.text, []byte(lay.before))
		if ok {
			rest, ok = bytes.CutSuffix(rest, []byte(lay.after))
		}
		if ok && len(bytes.Trim(rest, blanks)) == len(rest) {
			return len(lay.before), rest
		}
	}
	key, at, end, ok := split(s.text)
	switch {
	case !ok || !strings.EqualFold(key, spec.key):
		s.stop(1, "line is not %s: and a number", spec.key)
	case lay.before != "":
		s.fault(1, "%s is written with other blanks or letters than the first", spec.key)
	case at == end:
		s.fault(at+1, "%s is empty", spec.key)
		lay.before = string(s.text)
	default:
		lay.before, lay.after = string(s.text[:at]), string(s.text[end:])
		return at, s.text[at:end]
	}
	return 0, nil
}

func (in *Input) parse(f Field, value []byte, id *sim.Identity) (err error) {
	if f == fieldIMSI {
		id.IMSI, err = sim.ParseIMSI(string(value))
		return err
	}
	if id.ICCID, err = parseICCID(in.variant, value); err != nil {
		return err
	}
	if first := in.first.ICCID; !first.IsZero() && first.Digits() != id.ICCID.Digits() {
		return fmt.Errorf("ICCID has %d digits, want %d as the first", id.ICCID.Digits(), first.Digits())
	}
	return nil
}

// parseICCID reads an ICCID in a variant; the zero variant is all digits.
func parseICCID(v sim.ICCIDVariant, value []byte) (sim.ICCID, error) {
	if v == 0 {
		return sim.ParseICCID(string(value))
	}
	return v.Parse(string(value))
}

func appendICCID(dst []byte, v sim.ICCIDVariant, id sim.ICCID) ([]byte, error) {
	if v == 0 {
		return id.AppendText(dst)
	}
	return v.Append(dst, id)
}

// readTrailer reads the decoration after the input variables.
func (in *Input) readTrailer(s *scanner) {
	for s.next() {
		text := string(s.text)
		switch key, _, _, ok := split(text); {
		case ok && strings.EqualFold(key, in.dialect.output()):
			s.stop(1, "%s belongs in a response, not in an order: the contract names the columns", in.dialect.output())
		case !in.dialect.decoration(text):
			s.stop(1, "line after the input variables is not decoration")
		case len(in.trailer) == maxHeader:
			s.stop(1, "more than %d lines after the input variables", maxHeader)
		}
		if i := badByte(text); i >= 0 {
			s.fault(i+1, "%s", badByteText(text[i:], false))
		}
		in.trailer = append(in.trailer, text)
	}
}

// First is the first identity.
func (in *Input) First() sim.Identity { return in.first }

// Range is the identities as a range; false if the file lists each.
func (in *Input) Range() (sim.IdentityRange, bool) { return in.span, in.list.n == 0 }

// Identities yields every identity that the order asks for with its position,
// from 0, in the file's order. It can be repeated.
func (in *Input) Identities() iter.Seq2[int, sim.Identity] {
	return func(yield func(int, sim.Identity) bool) {
		for i := range int(in.span.Len()) {
			if !yield(i, in.span.At(uint64(i))) {
				return
			}
		}
		i, digits := 0, in.first.ICCID.Digits()
		for _, chunk := range in.list.chunks {
			for _, p := range chunk {
				// Both were read once, so they are read again.
				iccid, _ := sim.NewICCID(p.body, digits)
				imsi, _ := sim.NewIMSI(p.imsi)
				if !yield(i, sim.Identity{ICCID: iccid, IMSI: imsi}) {
					return
				}
				i++
			}
		}
	}
}

// Render writes the file as it was read.
func (in *Input) Render(w io.Writer) error {
	bw := bufio.NewWriterSize(w, 1<<16)
	head, err := in.MarshalText()
	if err != nil {
		return err
	}
	bw.Write(head)
	line := make([]byte, 0, maxLine)
	for _, id := range in.Identities() {
		for i, spec := range in.dialect.pair {
			line = append(line[:0], in.layout[i].before...)
			if spec.field == fieldIMSI {
				line = id.IMSI.Append(line)
			} else if line, err = appendICCID(line, in.variant, id.ICCID); err != nil {
				return err
			}
			line = append(line, in.layout[i].after...)
			bw.Write(append(line, in.newline...))
		}
		if in.list.n == 0 {
			break
		}
	}
	for _, text := range in.trailer {
		bw.WriteString(text)
		bw.WriteString(in.newline)
	}
	return bw.Flush()
}

// Digest is SHA-256 of what the order says, however it is laid out, named or
// enveloped: dialect, fields in the file's order, and identities with all
// their digits. Two files with one digest ask for the same cards.
func (in *Input) Digest() [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "ankan order 1\n%s\n", in.dialect.name)
	for _, l := range in.lines {
		if l.field != "" && l.field != fieldInput {
			fmt.Fprintf(h, "%s %s\n", l.field, l.value())
		}
	}
	in.hashIdentities(h)
	return [sha256.Size]byte(h.Sum(nil))
}

func (in *Input) hashIdentities(h hash.Hash) {
	form := "range"
	if in.list.n > 0 {
		form = "list"
	}
	fmt.Fprintf(h, "%s\n", form)
	line := make([]byte, 0, 64)
	for _, id := range in.Identities() {
		line = append(id.ICCID.Append(line[:0]), ' ')
		h.Write(append(id.IMSI.Append(line), '\n'))
		if in.list.n == 0 {
			break // Quantity is a field
		}
	}
}

// A Draft is what an operator says to order a range of cards.
type Draft struct {
	Dialect  *Dialect
	Fields   map[Field]string // without Quantity
	First    sim.Identity
	Quantity int
	Variant  sim.ICCIDVariant // how the file writes the ICCID; 0: all digits
}

// NewInput lays out an order file as its dialect does. The error names the
// line of the file that would be refused.
func NewInput(d Draft) (*Input, error) {
	var text strings.Builder
	number, err := appendICCID(nil, d.Variant, d.First.ICCID)
	if err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	for _, spec := range append(d.Dialect.head[:len(d.Dialect.head):len(d.Dialect.head)], d.Dialect.pair[:]...) {
		value, there := d.Fields[spec.field]
		switch spec.field {
		case Quantity:
			value, there = fmt.Sprint(d.Quantity), true
		case fieldICCID:
			value, there = string(number), true
		case fieldIMSI:
			value, there = d.First.IMSI.String(), true
		case "", fieldInput:
			there = true
		}
		if there {
			text.WriteString(spec.text + value + "\n")
		}
	}
	for f := range d.Fields {
		if s := d.Dialect.find(f); s == nil || f == Quantity || f == fieldInput {
			return nil, fmt.Errorf("order: %s has no field %s to set", d.Dialect.name, f)
		}
	}
	in, err := Reading{Variant: d.Variant}.ParseInput("order", strings.NewReader(text.String()))
	if err != nil {
		return nil, err
	}
	for f, value := range d.Fields {
		if in.Value(f) != value {
			return nil, fmt.Errorf("order: %s cannot hold blanks around a value, or more than a line", d.Dialect.find(f).key)
		}
	}
	return in, nil
}
