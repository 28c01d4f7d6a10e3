package uicc

import (
	"errors"
	"fmt"
)

// FCP is a file control parameters template: what SELECT tells of a file
// (TS 102 221, 11.1.1.3) and what CREATE FILE is given (TS 102 222, 6.3.2.2).
type FCP struct {
	Kind       Kind
	Shareable  bool // the opposite is rare: read by one channel at a time
	ID         FileID
	Name       []byte // of an ADF: its AID, 5..16 bytes
	SFI        byte   // of an EF: 1..30, or 0 for none
	LifeCycle  LifeCycle
	Size       int // bytes of an EF's body; bytes reserved for a DF, 0 if not said
	Maximum    int // bytes that a BER-TLV EF may grow to (A5, 86); 0 if not said
	RecordSize int // bytes of a record
	Records    int // number of records
	Security   Security
	PINs       []PINStatus // of a DF, in SELECT's answer
	Fill       []byte      // CREATE FILE: content from the start, its last byte repeated
	Repeat     []byte      // CREATE FILE: content, repeated as a whole
	Other      []TLV       // objects that this package does not know, as they came
}

// Security says where a file's access rules are. At most one of the three
// forms is set; none means that nothing is allowed.
type Security struct {
	ARR      FileID // 8B: the EF.ARR ...
	Record   byte   // ... and its record, for every security environment
	Sets     []Set  // 8B: instead of Record, a record for each environment
	Compact  []byte // 8C: compact format
	Expanded []byte // AB: the rules themselves
}

// A Set is the record of an EF.ARR that rules in one security environment.
type Set struct{ Environment, Record byte }

// A PINStatus is one key reference of a PIN status template
// (TS 102 221, 9.5.2).
type PINStatus struct {
	Reference byte
	Enabled   bool
}

// ErrFCP is wrapped by every error of ParseFCP.
var ErrFCP = errors.New("wrong FCP")

// The tags of an FCP template.
const (
	tagFCP         Tag = 0x62
	tagSize        Tag = 0x80
	tagTotalSize   Tag = 0x81
	tagDescriptor  Tag = 0x82
	tagFileID      Tag = 0x83
	tagName        Tag = 0x84
	tagSFI         Tag = 0x88
	tagLifeCycle   Tag = 0x8A
	tagReferenced  Tag = 0x8B
	tagCompact     Tag = 0x8C
	tagProprietary Tag = 0xA5
	tagExpanded    Tag = 0xAB
	tagPINs        Tag = 0xC6
	tagUsage       Tag = 0x95
	tagMaximum     Tag = 0x86 // in A5
)

// Append appends the template, tag 62, to dst. Objects stand in the order of
// TS 102 222, 6.3.2.2; an EF without an SFI says so (88 00).
func (f FCP) Append(dst []byte) []byte {
	body := f.appendBody(make([]byte, 0, 96))
	return AppendTLV(dst, tagFCP, body...)
}

func (f FCP) appendBody(b []byte) []byte {
	descriptor := f.Kind.descriptor()
	if !f.Shareable {
		descriptor &^= 0x40
	}
	if f.Kind.Records() {
		b = AppendTLV(b, tagDescriptor, descriptor, 0x21, byte(f.RecordSize>>8), byte(f.RecordSize), byte(f.Records))
	} else {
		b = AppendTLV(b, tagDescriptor, descriptor, 0x21)
	}
	b = AppendTLV(b, tagFileID, byte(f.ID>>8), byte(f.ID))
	if f.Kind == KindADF {
		b = AppendTLV(b, tagName, f.Name...)
	}
	if f.LifeCycle != 0 {
		b = AppendTLV(b, tagLifeCycle, byte(f.LifeCycle))
	}
	b = f.Security.append(b)
	switch {
	case !f.Kind.Dedicated():
		b = appendSize(b, tagSize, f.Size)
		if f.SFI == 0 {
			b = AppendTLV(b, tagSFI)
		} else {
			b = AppendTLV(b, tagSFI, f.SFI<<3)
		}
	case f.Size > 0:
		b = appendSize(b, tagTotalSize, f.Size)
	}
	b = f.appendProprietary(b)
	b = appendPINs(b, f.PINs)
	for _, o := range f.Other {
		b = AppendTLV(b, o.Tag, o.Value...)
	}
	return b
}

func (f FCP) appendProprietary(b []byte) []byte {
	if f.Fill == nil && f.Repeat == nil && f.Maximum == 0 {
		return b
	}
	var p []byte
	if f.Maximum > 0 {
		p = appendSize(p, tagMaximum, f.Maximum)
	}
	if f.Fill != nil {
		p = AppendTLV(p, 0xC1, f.Fill...)
	}
	if f.Repeat != nil {
		p = AppendTLV(p, 0xC2, f.Repeat...)
	}
	return AppendTLV(b, tagProprietary, p...)
}

func appendSize(b []byte, tag Tag, n int) []byte {
	switch {
	case n > 0xFFFFFF:
		return AppendTLV(b, tag, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	case n > 0xFFFF:
		return AppendTLV(b, tag, byte(n>>16), byte(n>>8), byte(n))
	}
	return AppendTLV(b, tag, byte(n>>8), byte(n))
}

// appendPINs writes the PS_DO, one bit for each key reference from the highest
// down, then the references with their usage qualifier (TS 102 221, 9.5.2).
func appendPINs(b []byte, pins []PINStatus) []byte {
	if len(pins) == 0 {
		return b
	}
	status := make([]byte, (len(pins)+7)/8)
	for i, p := range pins {
		if p.Enabled {
			status[i/8] |= 0x80 >> (i % 8)
		}
	}
	v := AppendTLV(make([]byte, 0, 32), 0x90, status...)
	for _, p := range pins {
		v = AppendTLV(v, tagUsage, 0x08)
		v = AppendTLV(v, tagFileID, p.Reference)
	}
	return AppendTLV(b, tagPINs, v...)
}

func (s Security) append(b []byte) []byte {
	switch {
	case len(s.Sets) > 0:
		v := []byte{byte(s.ARR >> 8), byte(s.ARR)}
		for _, e := range s.Sets {
			v = append(v, e.Environment, e.Record)
		}
		return AppendTLV(b, tagReferenced, v...)
	case s.ARR != 0:
		return AppendTLV(b, tagReferenced, byte(s.ARR>>8), byte(s.ARR), s.Record)
	case s.Compact != nil:
		return AppendTLV(b, tagCompact, s.Compact...)
	case s.Expanded != nil:
		return AppendTLV(b, tagExpanded, s.Expanded...)
	}
	return b
}

// ParseFCP reads a template with its tag 62. Objects may stand in any order,
// as they do on the cards in the field; one that occurs twice or has a value
// of the wrong form is refused. Without object 88 the SFI is the low five bits
// of the file identifier (TS 102 221, 11.1.1.4.8).
func ParseFCP(b []byte) (FCP, error) {
	t, rest, err := ReadTLV(b)
	switch {
	case err != nil:
		return FCP{}, fmt.Errorf("%w: %w", ErrFCP, err)
	case t.Tag != tagFCP:
		return FCP{}, fmt.Errorf("%w: tag is %X, want 62", ErrFCP, uint32(t.Tag))
	case len(rest) > 0:
		return FCP{}, fmt.Errorf("%w: %d bytes follow the template", ErrFCP, len(rest))
	}
	var p fcpParser
	for o, err := range TLVs(t.Value) {
		if err != nil {
			return FCP{}, fmt.Errorf("%w: %w", ErrFCP, err)
		}
		if p.twice(o.Tag) {
			return FCP{}, fmt.Errorf("%w: tag %X occurs twice", ErrFCP, uint32(o.Tag))
		}
		if !p.object(o) {
			return FCP{}, fmt.Errorf("%w: tag %X has a wrong value of %d bytes", ErrFCP, uint32(o.Tag), len(o.Value))
		}
	}
	if err := p.whole(); err != nil {
		return FCP{}, fmt.Errorf("%w: %w", ErrFCP, err)
	}
	return p.f, nil
}

type fcpParser struct {
	f      FCP
	seen   [8]uint32 // one bit for each one-byte tag
	noSFI  bool
	hasSFI bool
	sizeEF int
	sizeDF int
	idSeen bool
}

func (p *fcpParser) twice(t Tag) bool {
	if t > 0xFF {
		return false
	}
	bit := uint32(1) << (t & 31)
	was := p.seen[t>>5]&bit != 0
	p.seen[t>>5] |= bit
	return was
}

// object takes one data object and reports whether its value has the right form.
func (p *fcpParser) object(o TLV) bool {
	f, v := &p.f, o.Value
	switch o.Tag {
	case tagDescriptor:
		return p.descriptor(v)
	case tagFileID:
		p.idSeen = len(v) == 2
		if p.idSeen {
			f.ID = FileID(v[0])<<8 | FileID(v[1])
		}
		return p.idSeen
	case tagName:
		f.Name = v
		return len(v) >= 1 && len(v) <= 16
	case tagLifeCycle:
		if len(v) != 1 {
			return false
		}
		f.LifeCycle = LifeCycle(v[0])
	case tagSize:
		return fcpNumber(v, &p.sizeEF)
	case tagTotalSize:
		return fcpNumber(v, &p.sizeDF)
	case tagSFI:
		return p.sfi(v)
	case tagReferenced, tagCompact, tagExpanded:
		return f.Security.parse(o)
	case tagProprietary:
		return p.proprietary(v)
	case tagPINs:
		return p.pins(v)
	default:
		f.Other = append(f.Other, o)
	}
	return true
}

func (p *fcpParser) descriptor(v []byte) bool {
	if len(v) != 2 && len(v) != 5 {
		return false
	}
	p.f.Kind, p.f.Shareable = kindOf(v[0]), v[0]&0x40 != 0
	if p.f.Kind.Records() != (len(v) == 5) {
		return false
	}
	if len(v) == 5 {
		p.f.RecordSize, p.f.Records = int(v[2])<<8|int(v[3]), int(v[4])
	}
	return p.f.Kind != KindNone
}

func (p *fcpParser) sfi(v []byte) bool {
	if len(v) == 0 {
		p.noSFI = true
		return true
	}
	p.hasSFI, p.f.SFI = true, v[0]>>3
	return len(v) == 1 && v[0]&7 == 0 && p.f.SFI >= 1 && p.f.SFI <= 30
}

func (p *fcpParser) proprietary(v []byte) bool {
	for o, err := range TLVs(v) {
		if err != nil {
			return false
		}
		switch o.Tag {
		case tagMaximum:
			if len(o.Value) < 1 || len(o.Value) > 4 {
				return false
			}
			for _, x := range o.Value {
				p.f.Maximum = p.f.Maximum<<8 | int(x)
			}
		case 0xC1:
			p.f.Fill = o.Value
		case 0xC2:
			p.f.Repeat = o.Value
		}
	}
	return true
}

func (p *fcpParser) pins(v []byte) bool {
	status, ok := FindTLV(v, 0x90)
	if !ok {
		return false
	}
	for o, err := range TLVs(v) {
		if err != nil {
			return false
		}
		if o.Tag != tagFileID {
			continue
		}
		i := len(p.f.PINs)
		if len(o.Value) != 1 || i/8 >= len(status) {
			return false
		}
		p.f.PINs = append(p.f.PINs, PINStatus{o.Value[0], status[i/8]&(0x80>>(i%8)) != 0})
	}
	return true
}

// whole checks what no object can say alone, and settles the kind, SFI and size.
func (p *fcpParser) whole() error {
	f := &p.f
	if f.Kind == KindNone || !p.idSeen && f.Name == nil {
		return errors.New("no file descriptor, or neither identifier nor name")
	}
	if f.Kind != KindDF {
		if f.Name != nil {
			return fmt.Errorf("a %s file has a DF name", f.Kind)
		}
		f.Size = p.sizeEF
		if !p.hasSFI && !p.noSFI {
			f.SFI = byte(f.ID & 0x1F)
			if f.SFI == 31 {
				f.SFI = 0
			}
		}
		if f.Kind.Records() && (f.RecordSize == 0 || f.RecordSize > 255 || f.Size != f.RecordSize*f.Records) {
			return fmt.Errorf("size %d, want %d records of %d bytes (1..255)", f.Size, f.Records, f.RecordSize)
		}
		return nil
	}
	f.Size = p.sizeDF
	f.SFI = 0
	if f.ID == MF {
		f.Kind = KindMF // some cards give the MF a name too
	} else if f.Name != nil {
		f.Kind = KindADF
	}
	return nil
}

func (s *Security) parse(o TLV) bool {
	if s.ARR != 0 || s.Compact != nil || s.Expanded != nil {
		return false
	}
	v := o.Value
	switch {
	case o.Tag == tagCompact:
		s.Compact = v
	case o.Tag == tagExpanded:
		s.Expanded = v
	case len(v) == 3:
		s.Record = v[2]
		s.ARR = FileID(v[0])<<8 | FileID(v[1])
		return s.ARR != 0
	case len(v) >= 4 && len(v)%2 == 0:
		for i := 2; i < len(v); i += 2 {
			s.Sets = append(s.Sets, Set{v[i], v[i+1]})
		}
		s.ARR = FileID(v[0])<<8 | FileID(v[1])
		return s.ARR != 0
	default:
		return false
	}
	return len(v) > 0
}

func fcpNumber(v []byte, n *int) bool {
	if len(v) < 2 || len(v) > 4 {
		return false
	}
	for _, x := range v {
		*n = *n<<8 | int(x)
	}
	return true
}
