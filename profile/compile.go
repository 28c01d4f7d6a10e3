package profile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"ankan/uicc"
)

// ErrFindings is wrapped by the error of Compile for a profile that breaks the
// rules of the standards.
var ErrFindings = errors.New("profile breaks the rules")

// maxData is the most data that a command carries inside SCP03 at its highest
// level: padded to 240 bytes, with a MAC of 8.
const maxData = 239

// Compile renders the profile once into the script that makes its cards with
// the driver ankan-reference. It refuses a profile with findings.
func Compile(p *Profile) (*Script, error) {
	if found := p.Check(); len(found) > 0 {
		var all []error
		for _, f := range found {
			all = append(all, errors.New(f.String()))
		}
		return nil, fmt.Errorf("%w: %w", ErrFindings, errors.Join(all...))
	}
	c := &compiler{p: p, s: &Script{layout: *p.Layout(), name: p.Name, digest: p.Digest(), aka: p.Parameters(), scp03: p.SCP03, codes: slices.Clone(p.Codes)}}
	c.command("DELETE FILE MF", uicc.Command{INS: uicc.INSDeleteFile, Data: []byte{0x3F, 0x00}})
	if err := c.dir(p.MF); err != nil {
		return nil, err
	}
	if err := c.install(); err != nil {
		return nil, err
	}
	c.putKey("PUT KEY SCP80", p.SCP80, 0, SlotSCP80KIC)
	c.putKey("PUT KEY SCP03", p.SCP03, makerVersion, SlotSCP03ENC)
	c.command("SET STATUS SECURED", uicc.Command{CLA: 0x80, INS: 0xF0, P1: 0x80, P2: 0x0F})
	c.readBack()
	c.s.content = p.content()
	var err error
	if c.s.registry, err = p.registry(); err != nil {
		return nil, err
	}
	return c.s, nil
}

// content counts what Script.Content tells.
func (p *Profile) content() int {
	n := 0
	for f := range p.All() {
		n += len(f.fcp().Append(nil))
		switch {
		case f.Kind == uicc.BERTLV:
			for _, object := range f.Body {
				n += len(object)
			}
		case !f.Kind.Dedicated():
			n += f.pieces() * f.pieceSize()
		}
	}
	for _, x := range p.Applications {
		n += len(x.Code)
		for _, i := range x.Instances {
			for _, g := range i.Data {
				n += len(g.Value)
			}
		}
	}
	return n
}

// makerVersion is the key version number of the chip maker's SCP03 keys.
const makerVersion = 0x30

type compiler struct {
	p *Profile
	s *Script
}

// span is a run of bytes of Script.bytes.
type span struct{ from, to int }

func (c *compiler) bytes(b []byte) span {
	from := len(c.s.bytes)
	c.s.bytes = append(c.s.bytes, b...)
	return span{from, len(c.s.bytes)}
}

// command adds a step. The patches' places are in its data.
func (c *compiler) command(name string, cmd uicc.Command, patches ...patch) {
	c.s.steps = append(c.s.steps, step{name: name, cmd: c.bytes(cmd.Append(nil)), patches: patches})
}

func (c *compiler) putKey(name string, k KeySet, replaces byte, first SlotID) {
	if k.Version == 0 {
		return
	}
	c.s.steps = append(c.s.steps, step{name: name, put: &putKey{
		version: k.Version, replaces: replaces, first: c.s.layout.Offset[first], n: k.Bits / 8,
	}})
}

// dir creates a directory, its files, its keys and codes, and then the
// directories in it.
func (c *compiler) dir(d *File) error {
	name := "CREATE FILE " + d.Path()
	c.command(name, uicc.Command{INS: uicc.INSCreateFile, Data: d.fcp().Append(nil)})
	switch {
	case d.Kind == uicc.KindMF:
		// What belongs to the MF is stored while no application is current.
		if data, patches := c.storeCodes(nil, func(x Code) bool { return x.Shared }); data != nil {
			c.command("STORE DATA shared codes", uicc.Command{CLA: 0x80, INS: 0xE2, P1: 0x80, Data: data}, patches...)
		}
	case d.Name == uicc.DirUSIM, d.Name == uicc.DirISIM:
		c.secrets(d)
	}
	c.remote(d)
	inside := d
	for _, f := range d.Files {
		if f.Kind.Dedicated() {
			// What was created last is the current directory: go back up.
			for ; inside != d; inside = inside.parent {
				c.command("SELECT "+inside.parent.Path(), uicc.Command{INS: uicc.INSSelect, P1: 0x03, P2: 0x0C})
			}
			if err := c.dir(f); err != nil {
				return err
			}
			inside = last(f)
			continue
		}
		if err := c.file(f); err != nil {
			return err
		}
	}
	return nil
}

// last is the directory that is current after d was made: the last one created.
func last(d *File) *File {
	for i := len(d.Files) - 1; i >= 0; i-- {
		if d.Files[i].Kind.Dedicated() {
			return last(d.Files[i])
		}
	}
	return d
}

// secrets stores the key of the application d, which is current, and the codes:
// those of the card with the USIM, local ones with each application. An ISIM
// authenticates with the USIM's key; its sequence numbers are its own.
func (c *compiler) secrets(d *File) {
	l := &c.s.layout
	// A001: the algorithm and its parameters, then K and OPc or TOPc under the
	// data encryption key.
	data := c.p.Parameters().Append([]byte{0xA0, 0x01, 0})
	k, variant := l.Len[SlotK], l.Len[SlotOPC]
	patches := []patch{{op: opSeal, at: len(data), slot: l.Offset[SlotK], n: k, with: l.Offset[SlotOPC], more: variant}}
	data = append(data, make([]byte, k+variant)...)
	data[2] = byte(len(data) - 3)
	data, more := c.storeCodes(data, func(x Code) bool { return !x.Shared && (d.Name == uicc.DirUSIM || x.Reference >= 0x80) })
	c.command("STORE DATA keys and codes", uicc.Command{CLA: 0x80, INS: 0xE2, P1: 0x80, Data: data}, append(patches, more...)...)
}

// storeCodes adds to the data of STORE DATA the codes that are wanted.
func (c *compiler) storeCodes(data []byte, wanted func(Code) bool) ([]byte, []patch) {
	l := &c.s.layout
	var patches []patch
	for _, code := range c.p.Codes {
		if !wanted(code) {
			continue
		}
		flags := byte(0)
		if code.Enabled {
			flags = 1
		}
		data = append(data, 0xB0, code.Reference, 19, flags, byte(code.Tries), byte(code.Unblock))
		s := patch{op: opSeal, at: len(data), slot: l.Offset[code.Slot], with: -1, n: 8, more: 8}
		if code.HasPUK {
			s.with = l.Offset[code.PUK]
		}
		patches = append(patches, s)
		data = append(data, make([]byte, 16)...)
	}
	return data, patches
}

// fcp is what SELECT tells of a file, and CREATE FILE is told.
func (f *File) fcp() uicc.FCP {
	return uicc.FCP{
		Kind: f.Kind, Shareable: true, ID: f.ID, Name: f.AID, SFI: f.SFI, LifeCycle: uicc.Activated, Security: f.security(),
		Size: f.Size, RecordSize: f.RecordSize, Records: f.Records,
	}
}

// file creates an elementary file and writes what its creation did not.
func (c *compiler) file(f *File) error {
	if f.Kind == uicc.BERTLV {
		c.command("CREATE FILE "+f.Path(), uicc.Command{INS: uicc.INSCreateFile, Data: f.fcp().Append(nil)})
		c.setData(f)
		return nil
	}
	best := c.ways(f, f.fcp())
	data := best.fcp.Append(nil)
	if len(data) > maxData {
		return fmt.Errorf("%s: CREATE FILE has %d bytes of data, want at most %d", f.Path(), len(data), maxData)
	}
	var patches []patch
	for _, x := range best.patches {
		x.at += len(data) - len(best.fcp.Fill) // the pattern is the last object
		patches = append(patches, x)
	}
	c.command("CREATE FILE "+f.Path(), uicc.Command{INS: uicc.INSCreateFile, Data: data}, patches...)
	for _, u := range best.updates {
		c.command(u.name, u.cmd, u.patches...)
	}
	return nil
}

// setData writes the data objects of a BER-TLV file, each in blocks
// (TS 102 221, 11.3.2).
func (c *compiler) setData(f *File) {
	for i, object := range f.Body {
		patches := c.filePatches(f, i)
		for at := 0; at < len(object); at += maxData {
			part := object[at:min(at+maxData, len(object))]
			cmd := uicc.Command{CLA: 0x80, INS: uicc.INSSetData, Data: part}
			if at == 0 {
				cmd.P2 = 0x80
			}
			c.command(fmt.Sprintf("SET DATA %s %d", f.Path(), i+1), cmd, within(patches, at, len(part))...)
		}
	}
}

// retrieveData reads the current file's data objects, and the list of their tags,
// so that none is there that should not be (TS 102 221, 11.3.1).
func (c *compiler) retrieveData(f *File, name string) {
	var tags []byte
	for i, object := range f.Body {
		tag, _, err := uicc.ReadTag(object)
		if err != nil {
			panic(err) // Parse refuses it
		}
		c.retrieve(name, i+1, tag, object, c.filePatches(f, i))
		list := uicc.AppendTL(nil, tag, 0)
		tags = append(tags, list[:len(list)-1]...)
	}
	c.retrieve(name, 0, 0x5C, uicc.AppendTLV(nil, 0x5C, tags...), nil)
}

func (c *compiler) retrieve(name string, record int, tag uicc.Tag, want []byte, patches []patch) {
	data := uicc.AppendTL(nil, tag, 0)
	cmd := uicc.Command{CLA: 0x80, INS: uicc.INSRetrieveData, P2: 0x80, Data: data[:len(data)-1], Le: 256}
	for at := 0; at < len(want); at += 256 {
		part := want[at:min(at+256, len(want))]
		c.expect(name, record, at, cmd, part, within(patches, at, len(part)))
		cmd.P2, cmd.Data, cmd.Le = 0, nil, min(256, len(want)-at-len(part)) // over T=0 it must fit
	}
}

// A way is one way to bring a file's content onto the card: what CREATE FILE
// fills it with, and the UPDATEs after it.
type way struct {
	fcp     uicc.FCP
	patches []patch // in fcp.Fill
	updates []update
}

type update struct {
	name    string
	cmd     uicc.Command
	patches []patch
}

// cost is the way's bytes on the wire. An UPDATE costs its header, padding,
// MAC and answer besides its data.
func (w way) cost() int {
	n := len(w.fcp.Append(nil))
	for _, u := range w.updates {
		n += len(u.cmd.Data) + 32
	}
	return n
}

// ways tries fillings and returns the cheapest.
func (c *compiler) ways(f *File, fcp uicc.FCP) way {
	room := maxData - len(fcp.Append(nil)) - 7 // A5, C1 or C2, their lengths, and a longer one of the template
	var best way
	found := false
	try := func(fill, repeat []byte, patches []patch) {
		if len(fill) > room || len(repeat) > room {
			return
		}
		w := way{fcp: fcp, patches: patches}
		if w.fcp.Fill, w.fcp.Repeat = fill, repeat; repeat == nil && string(fill) == "\xFF" {
			w.fcp.Fill = nil // what the card does anyway
		}
		w.updates = c.updates(f, &w.fcp, len(patches) > 0)
		if !found || w.cost() < best.cost() {
			best, found = w, true
		}
	}
	try(shortest(f.Fill), nil, nil)
	whole := f.piece(0)
	if f.pieces() == 1 {
		keep := 1
		for _, x := range f.Patches {
			keep = max(keep, min(x.At+x.size()+1, len(whole)))
		}
		n := max(keep, len(shortest(whole)))
		if n > room && keep <= room {
			n = room
		}
		try(whole[:min(n, len(whole))], nil, c.filePatches(f, 0))
	}
	for i := range f.Body {
		if !slices.ContainsFunc(f.Patches, func(x Patch) bool { return x.Piece == i }) {
			try(shortest(f.Body[i]), nil, nil)
		}
	}
	if !f.Kind.Records() {
		for n := 2; n <= 8 && n <= len(whole); n++ {
			try(nil, tail(whole, n), nil)
		}
	}
	return best
}

// tail is the pattern of n bytes that, repeated from the start of b, agrees
// with the last n bytes of b.
func tail(b []byte, n int) []byte {
	p := make([]byte, n)
	for i := len(b) - n; i < len(b); i++ {
		p[i%n] = b[i]
	}
	return p
}

// filePatches is the patches of a piece, places counted from its start.
func (c *compiler) filePatches(f *File, piece int) []patch {
	var all []patch
	for _, x := range f.Patches {
		if x.Piece != piece {
			continue
		}
		op := fileOp(x.Slot)
		if x.Digits {
			op, c.s.home = opDigits, c.p.PLMN
		}
		all = append(all, patch{op: op, at: x.At, slot: c.s.layout.Offset[x.Slot], n: x.size()})
	}
	return all
}

// fileOp is how a slot stands in a file.
func fileOp(s SlotID) op {
	if s == SlotMSISDN {
		return opMSISDN
	}
	return opCopy
}

// updates writes what the filling does not. With patched, the filling holds
// the patches of the one piece.
func (c *compiler) updates(f *File, fcp *uicc.FCP, patched bool) []update {
	var all []update
	for i := range f.pieces() {
		piece, filled := f.piece(i), filling(fcp, f.pieceSize())
		var patches []patch
		if !patched {
			patches = c.filePatches(f, i)
		}
		if f.Kind.Records() {
			if len(patches) > 0 || string(piece) != string(filled) {
				all = append(all, update{fmt.Sprintf("UPDATE RECORD %s %d", f.Path(), i+1),
					uicc.Command{INS: uicc.INSUpdateRecord, P1: byte(i + 1), P2: 0x04, Data: piece}, patches})
			}
			continue
		}
		from, to := differ(piece, filled, patches)
		for at := from; at < to; at += maxData {
			part := piece[at:min(at+maxData, to)]
			u := update{fmt.Sprintf("UPDATE BINARY %s", f.Path()),
				uicc.Command{INS: uicc.INSUpdateBinary, P1: byte(at >> 8), P2: byte(at), Data: part}, nil}
			u.patches = within(patches, at, len(part))
			all = append(all, u)
		}
	}
	return all
}

// within is the patches of n bytes from at on, their places counted from there.
// A slot across the border is in both parts.
func within(patches []patch, at, n int) []patch {
	var inside []patch
	for _, x := range patches {
		if x.at < at+n && x.at+x.n > at {
			x.at -= at
			inside = append(inside, x)
		}
	}
	return inside
}

// filling is what CREATE FILE leaves in a body or record of n bytes.
func filling(fcp *uicc.FCP, n int) []byte {
	switch {
	case len(fcp.Fill) > 0:
		return fillTo(fcp.Fill, n)
	case len(fcp.Repeat) > 0:
		b := make([]byte, n)
		for i := range b {
			b[i] = fcp.Repeat[i%len(fcp.Repeat)]
		}
		return b
	}
	return fillTo([]byte{0xFF}, n)
}

// differ is the run of bytes in which the two differ or something is patched.
func differ(a, b []byte, patches []patch) (from, to int) {
	from = len(a)
	for i := range a {
		if a[i] != b[i] {
			from, to = min(from, i), i+1
		}
	}
	for _, x := range patches {
		from, to = min(from, x.at), max(to, x.at+x.n)
	}
	return from, to
}

// readBack plans how a finished card is read: elementary files of a directory
// first, then the directories in it, with as few SELECTs as that takes.
func (c *compiler) readBack() {
	c.readInstances()
	needed := map[byte]bool{}
	for f := range c.p.All() {
		for _, r := range c.readable(f) {
			needed[r] = true
		}
	}
	for _, code := range c.p.Codes {
		if needed[code.Reference] && (code.Reference < 0x80 || code.Shared) {
			c.verify(code)
		}
	}
	c.readDir(c.p.MF, needed)
	for n := len(c.s.looks); n > 0 && c.s.looks[n-1].kind == lookSelect; n-- {
		c.s.looks = c.s.looks[:n-1] // nothing follows
	}
}

func (c *compiler) verify(code Code) {
	c.s.looks = append(c.s.looks, look{kind: lookVerify, name: "VERIFY " + code.Name, reference: code.Reference, slot: c.s.layout.Offset[code.Slot]})
}

func (c *compiler) selectDir(name string, cmd uicc.Command) {
	cmd.INS, cmd.P2 = uicc.INSSelect, 0x0C
	c.s.looks = append(c.s.looks, look{kind: lookSelect, name: "SELECT " + name, cmd: c.bytes(cmd.Append(nil))})
}

func (c *compiler) readDir(d *File, needed map[byte]bool) {
	if d.Kind == uicc.KindADF {
		for _, code := range c.p.Codes {
			if needed[code.Reference] && code.Reference >= 0x80 {
				c.verify(code)
			}
		}
	}
	for _, f := range d.Files {
		if f.Kind.Dedicated() {
			c.enter(f)
			c.readDir(f, needed)
			c.selectDir(d.Path(), uicc.Command{P1: 0x03})
			continue
		}
		c.read(f)
	}
}

func (c *compiler) enter(d *File) {
	if d.Kind == uicc.KindADF {
		c.selectDir(d.Path(), uicc.Command{P1: 0x04, Data: d.AID})
		return
	}
	c.selectDir(d.Path(), uicc.Command{Data: []byte{byte(d.ID >> 8), byte(d.ID)}})
}

// readable is the codes that reading f takes; nil if it takes none.
func (c *compiler) readable(f *File) []byte {
	if f.Kind.Dedicated() {
		return nil
	}
	codes, ok := c.readers(f)
	if !ok {
		return nil
	}
	return codes
}

// readers finds out with which codes f can be read: none, one, or all of them.
func (c *compiler) readers(f *File) (codes []byte, ok bool) {
	condition := c.p.rule(f.Rule).condition("read")
	off := func(r byte) bool {
		return slices.ContainsFunc(c.p.Codes, func(x Code) bool { return x.Reference == r && !x.Enabled })
	}
	if condition.Met(off) {
		return nil, true
	}
	var all []byte
	for _, x := range c.p.Codes {
		if condition.Met(func(r byte) bool { return r == x.Reference || off(r) }) {
			return []byte{x.Reference}, true
		}
		if x.Enabled {
			all = append(all, x.Reference)
		}
	}
	return all, condition.Met(func(byte) bool { return true })
}

// maxRead is the most that one READ BINARY asks for.
const maxRead = 255

func (c *compiler) read(f *File) {
	if _, ok := c.readers(f); !ok {
		c.s.unread = append(c.s.unread, Unread{f.Path(), "nobody may read it"})
		return
	}
	sfi := f.SFI
	if sfi == 0 {
		c.selectDir(f.Path(), uicc.Command{Data: []byte{byte(f.ID >> 8), byte(f.ID)}})
	}
	name := strings.TrimPrefix(f.Path(), "MF/")
	if f.Kind == uicc.BERTLV {
		if sfi != 0 { // RETRIEVE DATA would take it too, in each command
			c.selectDir(f.Path(), uicc.Command{Data: []byte{byte(f.ID >> 8), byte(f.ID)}})
		}
		c.retrieveData(f, name)
		return
	}
	for i := range f.pieces() {
		piece, patches := f.piece(i), c.filePatches(f, i)
		if f.Kind.Records() {
			cmd := uicc.Command{INS: uicc.INSReadRecord, P1: byte(i + 1), P2: sfi<<3 | 0x04, Le: f.RecordSize}
			c.expect(name, i+1, 0, cmd, piece, patches)
			sfi = 0 // it is the current file now
			continue
		}
		for at := 0; at < len(piece); at += maxRead {
			part := piece[at:min(at+maxRead, len(piece))]
			cmd := uicc.Command{INS: uicc.INSReadBinary, P1: byte(at >> 8), P2: byte(at), Le: len(part)}
			if sfi != 0 {
				cmd.P1, cmd.P2 = 0x80|sfi, 0
				sfi = 0
			}
			c.expect(name, 0, at, cmd, part, within(patches, at, len(part)))
		}
	}
}

func (c *compiler) expect(name string, record, offset int, cmd uicc.Command, want []byte, patches []patch) {
	c.s.looks = append(c.s.looks, look{
		kind: lookRead, name: name, record: record, offset: offset,
		cmd: c.bytes(cmd.Append(nil)), want: c.bytes(want), patches: patches,
	})
}
