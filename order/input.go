package order

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"

	"ankan/format"
	"ankan/sim"
)

// An Input is an order file that was read: its header and the identities that
// it asks for. Nothing of the file is lost: Render gives the same bytes.
type Input struct {
	*Header
	file   *format.Order
	first  sim.Identity
	span   sim.IdentityRange // zero for a list
	list   *identityList     // nil for a range
	runs   []format.Run      // of a file of several ranges
	digest [sha256.Size]byte
	head   bool // reading stopped after the first identity
}

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
// each, or that of r. How a file says its identities is its layout's: as the first
// of Quantity consecutive ones, one by one, or as several ranges.
func (rd Reading) ReadInput(name string, r io.Reader, each func(sim.Identity) error) (*Input, error) {
	g := &gatherer{each: each, ranges: rd.Layout != nil && rd.Layout.Ranges()}
	var err error
	if g.in.file, err = format.Reading(rd).ReadOrder(rd.named(name), r, g.run); err != nil {
		return nil, err
	}
	in := &g.in
	in.Header, in.first = in.file.Header, g.held.First
	h := in.hashHeader()
	if g.list == nil {
		if in.span, err = sim.NewIdentityRange(in.first, uint64(g.held.Count)); err != nil {
			return nil, err
		}
		h.Write(sum(nil, "range\n", in.first)) // Quantity is a field
	} else {
		in.list = &identityList{n: in.Quantity()}
		fmt.Fprintf(h, "list %x\n", g.list.Sum(nil))
		in.first, in.runs = g.first, g.runs
	}
	h.Sum(in.digest[:0])
	return in, nil
}

// SentName is the name under which an order's file goes to the manufacturer: with
// the operator's own name in it where the layout reads values out of that.
func (c *Contract) SentName(o Order) string {
	if c.Order.NamesOrders() {
		return o.ID + "." + o.Name + ".inp.pgp"
	}
	return o.ID + ".inp.pgp"
}

// named is the operator's own name of a file that came by SentName, or from a
// partner without Ankan: without what carries it.
func (rd Reading) named(name string) string {
	if rd.Layout == nil || !rd.Layout.NamesOrders() {
		return name
	}
	for _, end := range []string{".pgp", ".gpg", ".asc", ".inp"} {
		if n := len(name) - len(end); n > 0 && strings.EqualFold(name[n:], end) {
			name = name[:n]
		}
	}
	for at := range name {
		if _, digits, ok := strings.Cut(name[at:], "."); name[at] == '-' && ok && len(name)-at > 13 && name[at+13] == '.' && digits != "" {
			if _, err := hex.DecodeString(name[at+1 : at+13]); err == nil {
				return name[at+14:]
			}
		}
	}
	return name
}

// errHead ends reading after the first identity.
var errHead = errors.New("the head is enough")

// readFirst reads an order file up to its first identity.
func (rd Reading) readFirst(name string, r io.Reader) (*Input, error) {
	in := &Input{head: true}
	var err error
	in.file, err = format.Reading(rd).ReadOrder(rd.named(name), r, func(run format.Run) error {
		in.first = run.First
		return errHead
	})
	if err != nil && !errors.Is(err, errHead) {
		return nil, err
	}
	in.Header = in.file.Header
	return in, nil
}

// A gatherer takes the runs of a file. The first is held back: if no other
// follows, it is a range.
type gatherer struct {
	in     Input
	each   func(sim.Identity) error // may be nil
	first  sim.Identity
	held   format.Run
	n      int
	runs   []format.Run
	ranges bool      // a row is one, also of one card
	list   hash.Hash // of the identities of a list; nil before the second run
	line   []byte
}

// maxRanges bounds the ranges of one file, which are kept.
const maxRanges = 100_000

func (g *gatherer) run(r format.Run) error {
	if g.n++; g.n == 1 {
		g.held, g.first = r, r.First
		return nil
	}
	if g.list == nil {
		g.list = sha256.New()
		if err := g.give(g.held); err != nil {
			return err
		}
	}
	return g.give(r)
}

// give gives the identities of a run away.
func (g *gatherer) give(r format.Run) error {
	if g.ranges {
		if g.runs = append(g.runs, r); len(g.runs) > maxRanges {
			return fmt.Errorf("order: more than %d ranges in one file; order in several files", maxRanges)
		}
	}
	if r.Count == 1 {
		return g.one(r.First)
	}
	span, err := sim.NewIdentityRange(r.First, uint64(r.Count))
	if err != nil {
		return err
	}
	for _, id := range span.All() {
		if err := g.one(id); err != nil {
			return err
		}
	}
	return nil
}

func (g *gatherer) one(id sim.Identity) error {
	g.line = sum(g.line[:0], "", id)
	g.list.Write(g.line)
	if g.each == nil {
		return nil
	}
	return g.each(id)
}

// sum is what the digest is made of for an identity: all its digits.
func sum(line []byte, before string, id sim.Identity) []byte {
	line = id.ICCID.Append(append(line, before...))
	line = id.IMSI.Append(append(line, ' '))
	if !id.MSISDN.IsZero() {
		line = id.MSISDN.Append(append(line, ' '))
	}
	return append(line, '\n')
}

// hashHeader begins Digest.
func (in *Input) hashHeader() hash.Hash {
	h := sha256.New()
	fmt.Fprintf(h, "ankan order 1\n%s\n", in.Layout().Name())
	for f, value := range in.Fields() {
		fmt.Fprintf(h, "%s %s\n", f, value)
	}
	return h
}

// Digest is SHA-256 of what the order says, however it is laid out, named or
// enveloped: layout, fields in the file's order, and identities with all
// their digits. Two files with one digest ask for the same cards. It is zero
// where only the head was read: the order is known by its digest then.
func (in *Input) Digest() [sha256.Size]byte { return in.digest }

// Render writes the file as it was read.
func (in *Input) Render(w io.Writer) error {
	if in.head {
		return errors.New("order: only its head was read; CopyText gives the whole text")
	}
	bw := bufio.NewWriterSize(w, 1<<16)
	var line []byte
	for table := range in.file.Tables() {
		var err error
		if line, err = in.file.AppendHead(line[:0], table); err != nil {
			return err
		}
		bw.Write(line)
		row := func(i, of int, r format.Run) error {
			if line, err = in.file.AppendRun(line[:0], table, i+1, r, i+1 == of); err != nil {
				return err
			}
			_, err = bw.Write(line)
			return err
		}
		switch {
		case in.list == nil:
			err = row(0, 1, format.Run{First: in.first, Count: int(in.span.Len())})
		case in.runs != nil:
			for i, r := range in.runs {
				if err = row(i, len(in.runs), r); err != nil {
					break
				}
			}
		default:
			for i, id := range in.Identities() {
				if err = row(i, in.list.n, format.Run{First: id, Count: 1}); err != nil {
					break
				}
			}
		}
		if err != nil {
			return err
		}
	}
	bw.Write(in.file.AppendTail(line[:0]))
	return errors.Join(bw.Flush(), in.Err())
}

// WithQuantity is the order file for another number of cards from the same
// first identity. A file that lists each identity has no such form.
func (in *Input) WithQuantity(n int) ([]byte, error) {
	if in.list != nil {
		return nil, errors.New("order: the file lists each identity; its quantity cannot be changed")
	}
	head, err := in.Header.With(Quantity, strconv.Itoa(n))
	if err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	changed, file := *in, *in.file
	file.Header = head
	changed.Header, changed.file = head, &file
	if changed.span, err = sim.NewIdentityRange(in.first, uint64(n)); err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	var text bytes.Buffer
	err = changed.Render(&text)
	return text.Bytes(), err
}

// A Draft is what an operator says to order a range of cards.
type Draft struct {
	Layout   *format.Layout
	Fields   map[Field]string // without Quantity
	First    sim.Identity
	Quantity int
	Variant  sim.ICCIDVariant // how the file writes the ICCID; 0: all digits
}

// NewInput lays out an order file as its layout does. The error names the
// line of the file that would be refused.
func NewInput(d Draft) (*Input, error) {
	text, name, err := d.Layout.AppendOrder(nil, d.Fields, format.Run{First: d.First, Count: d.Quantity}, d.Variant)
	if err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	if name == "" {
		name = "order"
	}
	in, err := Reading{Layout: d.Layout, Variant: d.Variant}.ParseInput(name, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	for f, value := range d.Fields {
		if in.Value(f) != value {
			return nil, fmt.Errorf("order: %s cannot hold blanks around a value, or more than a line", d.Layout.KeyOf(f))
		}
	}
	return in, nil
}
