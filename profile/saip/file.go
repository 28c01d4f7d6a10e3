package saip

import (
	"slices"
	"strings"

	"ankan/uicc"
)

// descriptor reads an Fcp over what a template says of the file.
func (b *builder) descriptor(n node, f *file) {
	d := &b.d
	p := d.fields(n, "fileDescriptor", 0x82, 0x83, 0x84, 0x8A, 0x8B, 0x80, 0xC6, 0x88, 0xA5, 0xC7)
	if d.err != nil {
		return
	}
	f.offset = n.at
	if x, ok := p[0x83]; ok {
		f.id = id(d.octets(x, "fileID", 2, 2))
	}
	b.structure(p, f)
	if x, ok := p[0x84]; ok {
		f.aid = d.octets(x, "dfName", 5, 16)
		if f.kind == uicc.KindDF {
			f.kind = uicc.KindADF
		}
		if f.kind != uicc.KindADF {
			d.fail(x.at, "a %s file has a dfName", f.kind)
		}
	}
	if x, ok := p[0x8A]; ok {
		if v := d.octets(x, "lcsi", 1, 1); d.err == nil && v[0] != 0x05 {
			b.leave(f.label(), "life cycle status %02X: a profile's files are activated", v[0])
		}
	}
	if x, ok := p[0x8B]; ok {
		f.standard = false
		switch v := d.octets(x, "securityAttributesReferenced", 1, 3); {
		case len(v) == 1:
			f.arr, f.rule = 0, int(v[0])
		case len(v) == 3:
			f.arr, f.rule = id(v), int(v[2])
		default:
			d.fail(x.at, "securityAttributesReferenced has 2 bytes, want 1 or 3")
		}
	}
	if x, ok := p[0xC6]; ok {
		if d.octets(x, "pinStatusTemplateDO", 0, 32); !f.kind.Dedicated() {
			d.fail(x.at, "a %s file has a pinStatusTemplateDO", f.kind)
		}
	}
	if x, ok := p[0x88]; ok {
		f.sfi = 0
		if v := d.octets(x, "shortEFID", 0, 1); len(v) == 1 {
			if f.sfi = v[0] >> 3; v[0]&7 != 0 || f.sfi == 0 || f.sfi > 30 {
				d.fail(x.at, "shortEFID is %02X, want a number from 1 to 30 in the upper five bits", v[0])
			}
		}
	}
	if x, ok := p[0xA5]; ok {
		b.proprietary(x, f)
	}
	if x, ok := p[0xC7]; ok {
		f.link = d.path(x, "linkPath")
		if len(f.link) == 0 {
			f.link = nil // an empty one makes a link of a template a file of its own
		}
	}
}

// structure reads the kind of a file and its size.
func (b *builder) structure(p map[uicc.Tag]node, f *file) {
	d := &b.d
	if x, ok := p[0x82]; ok {
		v := d.octets(x, "fileDescriptor", 2, 4)
		if d.err != nil {
			return
		}
		kind, ok := map[byte]uicc.Kind{0x38: uicc.KindDF, 0x39: uicc.BERTLV, 0x01: uicc.Transparent, 0x02: uicc.LinearFixed, 0x06: uicc.Cyclic}[v[0]&^0x40]
		if !ok || v[1] != 0x21 {
			d.fail(x.at, "fileDescriptor %X is not known", v)
			return
		}
		if v[0]&0x40 == 0 {
			b.leave(f.label(), "it is not shareable; all files of a profile are")
		}
		switch {
		case f.kind == uicc.KindNone, !kind.Dedicated() && !f.kind.Dedicated():
			f.kind = kind
		case kind.Dedicated() != f.kind.Dedicated():
			d.fail(x.at, "%s is %s, its descriptor says %s", f.label(), f.kind, kind)
			return
		}
		if kind.Records() != (len(v) > 2) {
			d.fail(x.at, "fileDescriptor %X: a record length belongs to files of records and to no others", v)
			return
		}
		if kind.Records() {
			n := 0
			for _, c := range v[2:] {
				n = n<<8 | int(c)
			}
			if n == 0 || n > 255 {
				d.fail(x.at, "records have %d bytes, want 1 to 255", n)
				return
			}
			f.record = n
		}
	}
	if x, ok := p[0x80]; ok {
		n := d.size(x, "efFileSize")
		switch {
		case d.err != nil:
		case f.kind.Dedicated():
			d.fail(x.at, "%s is a directory and has an efFileSize", f.label())
		case n == 0 || n > 0xFFFF:
			d.fail(x.at, "efFileSize is %d, want 1 to 65535", n)
		case f.kind.Records() && (f.record == 0 || n%f.record != 0 || n/f.record > 254):
			d.fail(x.at, "efFileSize %d is not 1 to 254 records of %d bytes", n, f.record)
		case f.kind.Records():
			f.count = n / f.record
		default:
			f.size = n
		}
	}
}

func (b *builder) proprietary(n node, f *file) {
	d := &b.d
	p := d.fields(n, "proprietaryEFInfo", 0xC0, 0xC1, 0xC2, 0x86, 0x84)
	if d.err != nil {
		return
	}
	_, fill := p[0xC1]
	_, repeat := p[0xC2]
	switch {
	case fill && repeat:
		d.fail(n.at, "fillPattern and repeatPattern exclude each other")
	case fill:
		v := d.octets(p[0xC1], "fillPattern", 1, 200)
		if d.err == nil {
			f.filled = pattern{head: v, middle: v[len(v)-1]}
		}
	case repeat:
		f.filled = pattern{whole: d.octets(p[0xC2], "repeatPattern", 1, 200)}
	}
	if x, ok := p[0xC0]; ok {
		d.octets(x, "specialFileInformation", 1, 1)
	}
	if x, ok := p[0x86]; ok {
		if m := d.size(x, "maximumFileSize"); d.err == nil && m != f.size {
			b.leave(f.label(), "maximumFileSize is %d, its size %d: files of a profile do not grow", m, f.size)
		}
	}
	if x, ok := p[0x84]; ok {
		if v := d.octets(x, "fileDetails", 1, 1); d.err == nil && v[0] != 0x01 {
			b.leave(f.label(), "fileDetails %02X: data objects of a profile are coded in DER", v[0])
		}
	}
}

// label is what a file is called while it has no place yet.
func (f *file) label() string {
	if f.name != "" {
		return f.name
	}
	return "file " + f.id.String()
}

func id(b []byte) uicc.FileID {
	if len(b) < 2 {
		return 0
	}
	return uicc.FileID(b[0])<<8 | uicc.FileID(b[1])
}

// path reads identifiers, at most four.
func (d *decoder) path(n node, what string) []uicc.FileID {
	v := d.octets(n, what, 0, 8)
	if len(v)%2 != 0 {
		d.fail(n.at, "%s has %d bytes, want two for each identifier", what, len(v))
		return nil
	}
	all := []uicc.FileID{}
	for ; len(v) > 0; v = v[2:] {
		all = append(all, id(v))
	}
	return all
}

// add puts a file into its directory.
func (b *builder) add(f, parent *file) {
	d := &b.d
	f.element, f.choice, f.parent = d.element, d.name, parent
	switch {
	case d.err != nil:
		return
	case f.kind == uicc.KindNone:
		d.fail(f.offset, "%s: fileDescriptor is missing", f.label())
		return
	case f.id == 0 && f.kind != uicc.KindMF:
		d.fail(f.offset, "%s: fileID is missing", f.label())
		return
	case f.kind == uicc.KindADF && f.aid == nil:
		d.fail(f.offset, "%s: dfName is missing", f.label())
		return
	}
	if parent == nil {
		return
	}
	if other := parent.child(f.id); other != nil {
		d.fail(f.offset, "%s: %s is there already: %s", f.label(), f.id, other.path())
		return
	}
	b.nameFile(f)
	parent.children = append(parent.children, f)
}

// nameFile gives a file its standard name, or one of its identifier, that no
// other file of the directory has.
func (b *builder) nameFile(f *file) {
	if f.name == "" {
		f.name = standardName(f.parent.name, f.id, f.kind)
	}
	if slices.ContainsFunc(f.parent.children, func(c *file) bool { return c.name == f.name }) {
		f.name += "-" + f.id.String()
	}
}

// standardName is what the standards call a file in a directory.
func standardName(dir string, id uicc.FileID, kind uicc.Kind) string {
	if !kind.Dedicated() {
		for _, ef := range uicc.EFs() {
			if ef.ID == id && ef.Dir == dir {
				return ef.Name
			}
		}
		return "EF." + id.String()
	}
	if name := map[string]string{"MF/7F10": "DF.TELECOM", "DF.TELECOM/5F3A": "DF.PHONEBOOK", "DF.TELECOM/5F50": "DF.GRAPHICS",
		"DF.TELECOM/5F3B": "DF.MULTIMEDIA", "DF.TELECOM/5F3C": "DF.MMSS", "DF.TELECOM/5F3D": "DF.MCS", "DF.TELECOM/5F3E": "DF.V2X",
		"ADF.USIM/5F3A": "DF.PHONEBOOK", "ADF.USIM/5F3B": "DF.GSM-ACCESS", "ADF.USIM/5FC0": "DF.5GS", "ADF.USIM/5FD0": "DF.SAIP",
		"ADF.USIM/5FE0": "DF.SNPN", "ADF.USIM/5FF0": "DF.5G_ProSe",
	}[dir+"/"+id.String()]; name != "" {
		return name
	}
	if kind == uicc.KindADF {
		return "ADF." + id.String()
	}
	return "DF." + id.String()
}

// offset takes fillFileOffset: it counts from where the content before ended.
func (b *builder) offset(n node, f *file) {
	f.at += b.d.integer(n, "fillFileOffset", 0xFFFF)
	if f.at > 0xFFFF {
		b.d.fail(n.at, "fillFileOffset goes beyond 65535 bytes")
	}
}

// content takes fillFileContent.
func (b *builder) content(n node, f *file) {
	if f.kind.Dedicated() && b.d.err == nil {
		b.d.fail(n.at, "%s is a directory and has content", f.label())
		return
	}
	f.writes = append(f.writes, write{f.at, n.value})
	f.at += len(n.value)
	if f.at > 0xFFFF {
		b.d.fail(n.at, "content of %s goes beyond 65535 bytes", f.label())
	}
}

// template reads an element whose files a template describes.
func (b *builder) template(n node) {
	d := &b.d
	parts := d.children(n)
	if d.err != nil {
		return
	}
	if len(parts) < 2 || parts[0].tag != 0xA0 || parts[1].tag != 0x81 {
		d.fail(n.at, "has no header and templateID")
		return
	}
	b.head(parts[0])
	t, err := findTemplate(d.name, d.oid(parts[1]))
	if d.err != nil {
		return
	}
	if err != nil {
		d.fail(parts[1].at, "%v", err)
		return
	}
	given := map[int]node{}
	next := 0
	for _, p := range parts[2:] {
		c, ok := choiceOf(p.tag)
		if i := c - 2; !ok || i < next || i >= len(t.entries) {
			d.fail(p.at, "component %X is not known or not in its place", uint32(p.tag))
			return
		} else {
			given[i], next = p, i+1
		}
	}
	dir := b.home(t, n)
	top := dir
	for i, e := range t.entries {
		if d.err != nil {
			return
		}
		p, ok := given[i]
		parent := dir
		switch {
		case ok && dir == nil && !e.kind.Dedicated():
			d.fail(p.at, "%s: the directory that it lies in is not there", e.field)
			return
		case ok && e.kind.Dedicated():
			parent = top
		case ok:
		case e.kind.Dedicated():
			if dir = nil; i == 0 {
				d.fail(n.at, "%s is missing", e.field)
			}
			continue
		case !t.create || dir == nil:
			continue
		default:
			p.at = n.at
		}
		made := b.files(p, e, parent)
		if e.kind.Dedicated() {
			if dir = made; i == 0 {
				top = made
			}
		}
	}
}

// home is the directory that the element's files lie in, nil for the MF itself.
func (b *builder) home(t *template, n node) *file {
	d := &b.d
	switch {
	case d.name == "mf":
		if b.mf != nil {
			d.fail(n.at, "there is an MF already")
		}
		return nil
	case b.mf == nil:
		d.fail(n.at, "comes before the MF")
		return nil
	case t.under == "", t.under == "mf":
		return b.mf
	}
	dir := b.naa[t.under]
	if t.under == "usim" && !strings.HasPrefix(d.name, "opt-") {
		dir = b.last // DFs of an application belong to the one that came last
	}
	if dir == nil {
		d.fail(n.at, "comes before the application that it belongs to")
	}
	return dir
}

// files makes what one component says: a file, several one after the other, or
// none. It returns the first that was made.
func (b *builder) files(n node, e entry, parent *file) *file {
	d := &b.d
	var first, f *file
	fresh := func() *file {
		x := &file{name: e.name, id: e.id, kind: e.kind, record: 0, sfi: e.sfi, rule: e.rule, standard: true, filled: e.filled, offset: n.at}
		if e.kind.Records() {
			x.record, x.count = e.size, e.count
		} else {
			x.size = e.size
		}
		return x
	}
	done := func() {
		if f == nil || d.err != nil {
			return
		}
		b.add(f, parent)
		if d.err == nil && first == nil {
			first = f
		}
	}
	described := false
	for _, c := range d.children(n) {
		switch c.tag {
		case 0x80: // doNotCreate
			if len(c.value) > 0 || f != nil {
				d.fail(c.at, "%s: doNotCreate stands beside other things", e.field)
			}
			return nil
		case 0xA1:
			if described {
				done()
				f = nil
			}
			if f == nil {
				f = fresh()
			}
			described = true
			b.descriptor(c, f)
		case 0x82:
			if f == nil {
				f = fresh()
			}
			b.offset(c, f)
		case 0x83:
			if f == nil {
				f = fresh()
			}
			b.content(c, f)
		default:
			d.fail(c.at, "%s has a part %X that is not known", e.field, uint32(c.tag))
		}
		if d.err != nil {
			return nil
		}
	}
	if f == nil {
		f = fresh()
	}
	done()
	if first == nil || d.err != nil || !e.kind.Dedicated() {
		return first
	}
	switch {
	case first.kind == uicc.KindMF:
		b.mf = first
	case parent != b.mf:
		return first
	case first.kind == uicc.KindADF:
		b.last = first
		b.naa[d.name] = first
	default:
		b.naa[d.name] = first
	}
	b.here = first // codes and algorithms that follow are about it
	return first
}

// management reads genericFileManagement (8.3).
func (b *builder) management(n node) {
	d := &b.d
	p := d.fields(n, d.name, 0xA0, 0xA1)
	b.need(n, p, 0xA1, "fileManagementCMD")
	b.head(p[0xA0])
	if d.err == nil && b.mf == nil {
		d.fail(n.at, "comes before the MF")
	}
	for _, list := range d.list(p[0xA1], "fileManagementCMD", 0x30) {
		var dir, f *file
		for _, c := range d.children(list) {
			if d.err != nil {
				return
			}
			switch c.tag {
			case 0x80:
				path := d.path(c, "filePath")
				if dir, f = b.find(path), nil; dir == nil {
					d.fail(c.at, "filePath %v leads to no file", path)
				} else if !dir.kind.Dedicated() {
					f, dir = dir, dir.parent
					f.at = 0
				}
			case 0x62:
				if dir == nil {
					d.fail(c.at, "createFCP without a filePath before it: it does not say where the file lies")
					return
				}
				f = &file{sfi: 0xFF, rule: 0, filled: pattern{middle: 0xFF}}
				b.descriptor(c, f)
				if f.sfi == 0xFF { // not said: from the identifier (TS 102 221, 11.1.1.4.8)
					if f.sfi = byte(f.id & 0x1F); f.sfi > 30 || f.kind.Dedicated() {
						f.sfi = 0
					}
				}
				b.add(f, dir)
				if f.kind.Dedicated() {
					dir, f = nil, nil
				}
			case 0x02:
				if f == nil {
					d.fail(c.at, "fillFileOffset without a file before it")
					return
				}
				b.offset(c, f)
			case 0x81:
				if f == nil {
					d.fail(c.at, "fillFileContent without a file before it")
					return
				}
				b.content(c, f)
			default:
				d.fail(c.at, "command %X is not known", uint32(c.tag))
			}
		}
	}
}

// finish settles what each file holds.
func (b *builder) finish() error {
	d := &b.d
	if b.mf == nil {
		d.fail(0, "the package has no MF")
		return d.err
	}
	var linked []*file
	b.mf.walk(func(f *file) {
		if f.kind.Dedicated() && f.link != nil {
			linked = append(linked, f)
		}
	})
	for _, f := range linked {
		b.copyDirectory(f)
	}
	b.mf.walk(func(f *file) {
		if !f.kind.Dedicated() {
			b.settle(f)
		}
	})
	return d.err
}

// copyDirectory gives a linked directory files that are links to those of its
// target.
func (b *builder) copyDirectory(f *file) {
	d := &b.d
	if d.err != nil || f.link == nil {
		return
	}
	d.element, d.name = f.element, f.choice
	target := b.find(f.link)
	above := false
	for p := f; p != nil; p = p.parent {
		above = above || p == target
	}
	switch {
	case target == nil:
		d.fail(f.offset, "%s: linkPath %v leads to no file", f.path(), f.link)
	case !target.kind.Dedicated():
		d.fail(f.offset, "%s is a directory and links to %s, which is none", f.path(), target.path())
	case above:
		d.fail(f.offset, "%s: links lead in a circle", f.path())
	case len(f.children) > 0:
		d.fail(f.offset, "%s is a link and has files", f.path())
	}
	if d.err != nil {
		return
	}
	f.link = nil
	b.copyDirectory(target) // which may be a link too
	b.copyFiles(f, target)
	d.element, d.name = f.element, f.choice
	b.change(f.path(), "it is a link to %s; on the card its files are files of their own with the same content", target.path())
}

// maxCopies bounds the files of linked directories: links in linked directories
// multiply.
const maxCopies = 4096

func (b *builder) copyFiles(f, target *file) {
	for _, c := range target.children {
		if b.copies++; b.copies > maxCopies {
			b.d.fail(f.offset, "linked directories have more than %d files together", maxCopies)
		}
		if b.d.err != nil {
			return
		}
		n := &file{name: c.name, id: c.id, kind: c.kind, sfi: c.sfi, arr: c.arr, rule: c.rule, standard: c.standard,
			element: f.element, choice: f.choice, offset: f.offset, parent: f, like: c.rules()}
		if f.children = append(f.children, n); c.kind.Dedicated() {
			b.copyDirectory(c)
			b.copyFiles(n, c)
		} else {
			n.link, n.target = []uicc.FileID{c.id}, c
		}
	}
}

// rules is the file in whose place the access rules are looked for.
func (f *file) rules() *file {
	if f.like != nil {
		return f.like
	}
	return f
}

// settle makes the content of a file, of the one that it links to first.
func (b *builder) settle(f *file) {
	d := &b.d
	if f.settled || d.err != nil {
		return
	}
	d.element, d.name = f.element, f.choice
	if f.busy {
		d.fail(f.offset, "%s: links lead in a circle", f.path())
		return
	}
	f.busy = true
	defer func() { f.busy, f.settled = false, true }()
	if f.link != nil {
		b.follow(f)
		return
	}
	end := 0
	for _, w := range f.writes {
		end = max(end, w.at+len(w.data))
	}
	if f.kind.Records() {
		if f.count == 0 && f.record > 0 {
			f.count = (end + f.record - 1) / f.record
		}
		if f.record == 0 || f.count == 0 || f.count > 254 {
			d.fail(f.offset, "%s: neither the element nor its template says how many records of how many bytes", f.path())
			return
		}
		f.size = f.record * f.count
	} else if f.size == 0 {
		f.size = end
	}
	switch {
	case f.size == 0 || f.size > 0xFFFF:
		d.fail(f.offset, "%s has %d bytes, want efFileSize or content of 1 to 65535", f.path(), f.size)
	case end > f.size:
		d.fail(f.offset, "%s: content reaches to byte %d, the file has %d", f.path(), end, f.size)
	}
	if b.total += f.size; b.total > maxContent {
		d.fail(f.offset, "%s: the files together have more than %d bytes", f.path(), maxContent)
	}
	if d.err != nil {
		return
	}
	if f.kind == uicc.BERTLV {
		b.objects(f, end)
		return
	}
	step := f.size
	if f.kind.Records() {
		step = f.record
	}
	for range f.size / step {
		f.body = append(f.body, f.filled.body(step)...)
	}
	for _, w := range f.writes {
		copy(f.body[w.at:], w.data)
	}
}

// objects joins the content of a BER-TLV file: data objects one behind the other.
func (b *builder) objects(f *file, end int) {
	f.body = make([]byte, end)
	for _, w := range f.writes {
		copy(f.body[w.at:], w.data)
	}
	for _, err := range uicc.TLVs(f.body) {
		if err != nil {
			b.d.fail(f.offset, "%s: content is not data objects: %v", f.path(), err)
			return
		}
	}
}

// follow gives a link the content of its target.
func (b *builder) follow(f *file) {
	d := &b.d
	target := f.target
	if target == nil {
		target = b.find(f.link)
	}
	switch {
	case target == nil:
		d.fail(f.offset, "%s: linkPath %v leads to no file", f.path(), f.link)
	case target.kind.Dedicated():
		d.fail(f.offset, "%s is a file and links to %s, which is a directory", f.path(), target.path())
	case len(f.writes) > 0:
		d.fail(f.offset, "%s is a link and has content", f.path())
	}
	if d.err != nil {
		return
	}
	b.settle(target)
	f.target = target
	d.element, d.name = f.element, f.choice
	f.kind, f.size, f.record, f.count, f.filled, f.body = target.kind, target.size, target.record, target.count, target.filled, target.body
	if f.like == nil {
		b.change(f.path(), "it is a link to %s; on the card it is a file of its own with the same content", target.path())
	}
}
