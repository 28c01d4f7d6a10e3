package order

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
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
	list    *identityList     // nil for a range
	digest  [sha256.Size]byte
	trailer []string // decoration at the end
	head    bool     // reading stopped after the first identity
}

// A layout is what stands around the value of an input variable.
type layout struct{ before, after string }

// ParseInput reads an order file with the strict default Reading.
func ParseInput(name string, r io.Reader) (*Input, error) { return Reading{}.ParseInput(name, r) }

// ParseInput is ReadInput for orders that fit in memory: it keeps the
// identities of a list, 16 bytes each, or 24 with an MSISDN.
func (rd Reading) ParseInput(name string, r io.Reader) (*Input, error) {
	var blocks [][]byte
	w := listWriter{put: func(block []byte) error {
		blocks = append(blocks, bytes.Clone(block))
		return nil
	}}
	in, err := rd.ReadInput(name, r, w.add)
	if err == nil {
		err = w.flush()
	}
	if err != nil {
		return nil, err
	}
	if in.list != nil {
		in.list.open = func(n int) ([]byte, error) { return blocks[n], nil }
	}
	return in, nil
}

// ReadInput reads an order file and gives each identity of a list to each, in
// the file's order; a range is in the result. It keeps no list, so that memory
// does not grow with it: each may be nil. What each got counts only when the
// error is nil, for the last line may be wrong. The error is Faults, that of
// each, or that of r. One pair of input variables is the first of Quantity
// consecutive identities; otherwise there are exactly Quantity pairs, written
// alike.
func (rd Reading) ReadInput(name string, r io.Reader, each func(sim.Identity) error) (*Input, error) {
	return rd.input(name, r, &pairReader{each: each})
}

// readFirst reads an order file up to its first identity.
func (rd Reading) readFirst(name string, r io.Reader) (*Input, error) {
	return rd.input(name, r, &pairReader{head: true})
}

func (rd Reading) input(name string, r io.Reader, p *pairReader) (*Input, error) {
	s := rd.scan(name, r)
	in := &Input{variant: rd.Variant, head: p.head, Header: readHeader(s, false)}
	if in.Header != nil {
		in.decorations(s)
		p.read(s, in)
	}
	if err := s.err(); err != nil {
		return nil, err
	}
	return in, nil
}

// A pairReader reads the pairs of input variables.
type pairReader struct {
	each func(sim.Identity) error // may be nil
	head bool                     // stop after the first
	hash hash.Hash                // of Digest
	line []byte
}

func (p *pairReader) read(s *scanner, in *Input) {
	quantity, key := in.Quantity(), in.dialect.find(Quantity).key
	if len(s.faults) > 0 {
		quantity = MaxQuantity // unknown; read on for the faults of the identities
	}
	p.hash = in.hashHeader()
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
		n++
		if n == 1 {
			in.first = id
			if p.head {
				return
			}
			continue // whether it begins a list is not known yet
		}
		if n == 2 {
			p.give(s, "list\n", in.first)
		}
		p.give(s, "", id)
	}
	in.readTrailer(s)
	switch {
	case len(s.faults) > 0 || s.failed != nil:
	case n == 0:
		s.fault(1, "file ends and has no %s and %s", in.dialect.pair[0].key, in.dialect.pair[1].key)
	case n == 1:
		span, err := sim.NewIdentityRange(in.first, uint64(quantity))
		if err != nil {
			s.faultAt(start, 1, "%v", err)
		}
		in.span = span
		p.sum("range\n", in.first) // Quantity is a field
	case n != quantity:
		s.fault(1, "%d pairs of input variables, want one, or %d (%s)", n, quantity, key)
	default:
		in.list = &identityList{n: n}
	}
	p.hash.Sum(in.digest[:0])
}

// give gives an identity of a list away, while the file is good so far.
func (p *pairReader) give(s *scanner, before string, id sim.Identity) {
	if len(s.faults) > 0 || s.failed != nil {
		return
	}
	p.sum(before, id)
	if p.each == nil {
		return
	}
	if err := p.each(id); err != nil {
		s.failed, s.done, s.held = err, true, false
	}
}

// sum adds an identity to the digest, with all its digits.
func (p *pairReader) sum(before string, id sim.Identity) {
	p.line = id.ICCID.Append(append(p.line[:0], before...))
	p.line = id.IMSI.Append(append(p.line, ' '))
	if !id.MSISDN.IsZero() {
		p.line = id.MSISDN.Append(append(p.line, ' '))
	}
	p.line = append(p.line, '\n')
	p.hash.Write(p.line)
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

// Render writes the file as it was read.
func (in *Input) Render(w io.Writer) error {
	if in.head {
		return errors.New("order: only its head was read; CopyText gives the whole text")
	}
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
		if in.list == nil {
			break
		}
	}
	for _, text := range in.trailer {
		bw.WriteString(text)
		bw.WriteString(in.newline)
	}
	return errors.Join(bw.Flush(), in.Err())
}

// Digest is SHA-256 of what the order says, however it is laid out, named or
// enveloped: dialect, fields in the file's order, and identities with all
// their digits. Two files with one digest ask for the same cards. It is zero
// where only the head was read: the order is known by its digest then.
func (in *Input) Digest() [sha256.Size]byte { return in.digest }

// hashHeader begins Digest.
func (in *Input) hashHeader() hash.Hash {
	h := sha256.New()
	fmt.Fprintf(h, "ankan order 1\n%s\n", in.dialect.name)
	for _, l := range in.lines {
		if l.field != "" && l.field != fieldInput {
			fmt.Fprintf(h, "%s %s\n", l.field, l.value())
		}
	}
	return h
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
