package profile

import (
	"cmp"
	"encoding/hex"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"ankan/aka"
	"ankan/sim"
	"ankan/uicc"
)

// Parse reads a profile document. It is strict: an unknown key, a key twice,
// an anchor or a value of the wrong form is an error with file, line and
// column; all of them wrap ErrDocument. What a profile says may still break
// the rules of the standards: see Check. A document that names CAP files is read
// by ParseIn.
func Parse(name string, doc []byte) (*Profile, error) { return ParseIn(nil, name, doc) }

// ParseIn is Parse for a document in a folder, from where it may name CAP files.
// Its canonical form holds their code.
func ParseIn(folder fs.FS, name string, doc []byte) (*Profile, error) {
	r := &reader{file: name, folder: folder}
	p := &Profile{file: name}
	if root := r.document(doc); root != nil {
		r.profile(p, r.mapping(root, at(root)))
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return p, nil
}

var topKeys = []string{"profile", "version", "description", "operator", "form-factors", "test", "algorithm", "milenage", "tuak", "sqn", "rules", "codes", "keys", "accept", "remote", "applications", "files"}

func (r *reader) profile(p *Profile, doc []entry) {
	p.SQN = SQN{INDBits: 5}
	var files []entry
	filesPos := pos{1, 1}
	for _, e := range doc {
		switch e.key {
		case "profile":
			p.Name = r.line(e)
		case "version":
			p.Version = r.line(e)
		case "description":
			p.Description = r.line(e)
		case "operator":
			r.operator(p, e)
		case "form-factors":
			r.formFactors(p, e)
		case "algorithm":
			p.Algorithm = r.line(e)
		case "test":
			p.Test = r.flag(e)
		case "milenage":
			p.Milenage = r.milenage(e)
		case "tuak":
			p.Tuak = r.tuak(e)
		case "sqn":
			r.sqn(p, e)
		case "rules":
			r.rules(p, e)
		case "codes":
			r.codes(p, e)
		case "keys":
			r.keys(p, e)
		case "accept":
			r.accept(p, e)
		case "remote":
			r.remotes(p, e)
		case "applications":
			r.applications(p, e)
		case "files":
			files, filesPos = r.mapping(e.value, e.pos), e.pos
		default:
			r.unknown(e, "profile", topKeys...)
		}
	}
	switch {
	case p.Name == "" || strings.Trim(p.Name, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "":
		r.errorf(pos{1, 1}, "profile is %q, want a name of small letters, digits, - and .", p.Name)
	case p.Version == "":
		r.errorf(pos{1, 1}, "version is missing")
	case p.PLMN.IsZero():
		r.errorf(pos{1, 1}, "operator with its plmn is missing")
	case len(p.FormFactors) == 0:
		r.errorf(pos{1, 1}, "form-factors are missing")
	case p.Algorithm == "":
		r.errorf(pos{1, 1}, "algorithm is missing")
	case p.SCP03.Version == 0:
		r.errorf(pos{1, 1}, "keys: scp03 is missing: a card without keys of its own keeps the chip maker's")
	case len(files) != 1 || files[0].key != "MF":
		r.errorf(filesPos, "files: want one tree, that of MF")
	}
	if len(r.errs) > 0 || len(files) != 1 {
		return
	}
	r.plmn = p.PLMN
	p.MF = r.dir(p, files[0], nil)
	if len(r.errs) == 0 {
		r.links(p)
	}
	if len(r.errs) == 0 {
		p.buildARR()
		p.managed()
	}
}

// links gives each link the kind, size and content of the file that it leads to.
func (r *reader) links(p *Profile) {
	for f := range p.All() {
		target := f
		for range maxLinks {
			if target == nil || target.Link == "" {
				break
			}
			target = p.at(target.Link)
		}
		switch {
		case target == f && f.Link == "":
		case target == nil || target.Kind.Dedicated() || target.isARR:
			r.errorf(f.pos, "%s: link leads to no elementary file with content of its own", f.Path())
		case target.Link != "":
			r.errorf(f.pos, "%s: link leads in a circle, or over more than %d files", f.Path(), maxLinks)
		default:
			f.Link = p.at(f.Link).Path()
			f.Kind, f.Size, f.RecordSize, f.Records = target.Kind, target.Size, target.RecordSize, target.Records
			f.Fill, f.Body, f.Patches = target.Fill, target.Body, target.Patches
		}
	}
}

// maxLinks is how many links may lead to one another.
const maxLinks = 8

func (r *reader) operator(p *Profile, of entry) {
	for _, e := range r.mapping(of.value, of.pos) {
		switch e.key {
		case "name":
			p.Operator = r.line(e)
		case "plmn":
			var err error
			if p.PLMN, err = sim.ParsePLMN(r.text(e)); err != nil {
				r.errorf(e.pos, "plmn: %v", err)
			}
		default:
			r.unknown(e, "operator", "name", "plmn")
		}
	}
}

func (r *reader) formFactors(p *Profile, e entry) {
	p.FormFactors = r.list(e)
	for _, f := range p.FormFactors {
		switch strings.ToUpper(f) {
		case "2FF", "3FF", "4FF", "MFF2":
		case "EUICC", "ESIM", "MFF2-EUICC", "ISIM", "IUICC":
			r.errorf(e.pos, "form factor %s: a card with remote profile management is outside of the SOP for SIM personalisation, "+
				"which covers all SIM except eSIM; its profiles are made under GSMA SGP.02 or SGP.22", f)
		default:
			r.errorf(e.pos, "form factor %q, want 2FF, 3FF, 4FF or MFF2", f)
		}
	}
}

// milenage is an operator's own constants. The standard ones are none.
func (r *reader) milenage(of entry) (c aka.Constants) {
	fields := r.mapping(of.value, of.pos)
	if len(fields) != 2 {
		r.errorf(of.pos, "milenage: r and c are wanted, or no milenage for the standard ones")
	}
	for _, e := range fields {
		if e.key != "r" && e.key != "c" {
			r.unknown(e, of.key, "r", "c")
			continue
		}
		list := r.list(e)
		if len(list) != len(c.R) {
			r.errorf(e.pos, "milenage: %s has %d values, want %d", e.key, len(list), len(c.R))
			continue
		}
		for i, s := range list {
			if e.key == "r" {
				n, err := strconv.Atoi(s)
				if err != nil || n < 0 || n > 127 || strconv.Itoa(n) != s {
					r.errorf(e.pos, "milenage: r%d is %q, want 0 to 127 bits", i+1, s)
				}
				c.R[i] = uint8(n)
				continue
			}
			b, err := hex.DecodeString(s)
			if err != nil || len(b) != 16 {
				r.errorf(e.pos, "milenage: c%d is %q, want 16 bytes in hexadecimal", i+1, s)
			}
			copy(c.C[i][:], b)
		}
	}
	if c == aka.StandardConstants() {
		return aka.Constants{}
	}
	return c
}

func (r *reader) tuak(of entry) (p aka.TuakParameters) {
	for _, e := range r.mapping(of.value, of.pos) {
		switch e.key {
		case "k-bits":
			p.K = r.number(e, 128, 256)
		case "mac-bits":
			p.MAC = r.number(e, 64, 256)
		case "res-bits":
			p.RES = r.number(e, 32, 256)
		case "ck-bits":
			p.CK = r.number(e, 128, 256)
		case "ik-bits":
			p.IK = r.number(e, 128, 256)
		case "iterations":
			p.Iterations = r.number(e, 1, 255)
		default:
			r.unknown(e, of.key, "k-bits", "mac-bits", "res-bits", "ck-bits", "ik-bits", "iterations")
		}
	}
	if p.K == 0 || p.MAC == 0 || p.RES == 0 || p.CK == 0 || p.IK == 0 || p.Iterations == 0 {
		r.errorf(of.pos, "tuak: k-bits, mac-bits, res-bits, ck-bits, ik-bits and iterations are wanted")
	}
	return p
}

func (r *reader) sqn(p *Profile, of entry) {
	for _, e := range r.mapping(of.value, of.pos) {
		switch e.key {
		case "start":
			p.SQN.Start = uint64(r.number(e, 0, 1<<43-1))
		case "ind-bits":
			p.SQN.INDBits = r.number(e, 0, 8)
		default:
			r.unknown(e, "sqn", "start", "ind-bits")
		}
	}
}

// operations are what a rule can be about. The bits of the access mode byte
// mean other things for an EF than for a DF (TS 102 221, 9.2.3).
var operations = [...]struct {
	name   string
	mode   uicc.Mode
	ins    byte
	ef, df bool
}{
	{"read", uicc.ModeRead, 0, true, false},
	{"update", uicc.ModeUpdate, 0, true, false},
	{"delete-child", uicc.ModeDeleteChild, 0, false, true},
	{"create-ef", uicc.ModeCreateEF, 0, false, true},
	{"create-df", uicc.ModeCreateDF, 0, false, true},
	{"deactivate", uicc.ModeDeactivate, 0, true, true},
	{"activate", uicc.ModeActivate, 0, true, true},
	{"terminate", uicc.ModeTerminate, 0, true, true},
	{"delete", uicc.ModeDelete, 0, true, true},
	{"resize", 0, 0xD4, true, true},
	{"increase", 0, 0x32, true, false},
}

func (r *reader) rules(p *Profile, of entry) {
	for _, e := range r.mapping(of.value, of.pos) {
		r.plain(e.pos, e.key)
		rule := Rule{Name: e.key, pos: e.pos}
		for _, a := range r.mapping(e.value, e.pos) {
			known := false
			for _, o := range operations {
				known = known || o.name == a.key
			}
			if !known {
				r.errorf(a.pos, "rule %s: unknown operation %s", e.key, a.key)
				continue
			}
			text := r.text(a)
			c, err := uicc.ParseCondition(text)
			if err != nil {
				r.errorf(a.pos, "rule %s: %s: %v", e.key, a.key, err)
			}
			rule.Allowed = append(rule.Allowed, Allowed{a.key, c, text})
		}
		if len(rule.Allowed) == 0 {
			r.errorf(e.pos, "rule %s allows nothing, want at least one operation", e.key)
		}
		p.Rules = append(p.Rules, rule)
	}
}

func (r *reader) codes(p *Profile, of entry) {
	for _, c := range r.mapping(of.value, of.pos) {
		r.plain(c.pos, c.key)
		code := Code{Name: c.key, Enabled: true, pos: c.pos}
		slot := ""
		for _, e := range r.mapping(c.value, c.pos) {
			switch e.key {
			case "reference":
				code.Reference = byte(r.hexNumber(e, 2))
			case "slot":
				slot = r.text(e)
			case "unblock":
				var ok bool
				if code.PUK, ok = slotByName(r.text(e)); !ok || code.PUK != SlotPUK1 && code.PUK != SlotPUK2 {
					r.errorf(e.pos, "unblock is %q, want PUK1 or PUK2", r.text(e))
				}
				code.HasPUK = true
			case "enabled":
				code.Enabled = r.flag(e)
			case "tries":
				code.Tries = r.number(e, 1, 15)
			case "unblock-tries":
				code.Unblock = r.number(e, 1, 15)
			case "digits":
				code.Digits = r.number(e, 4, 8)
			case "fixed":
				code.Fixed = r.fixed(e)
			case "shared":
				code.Shared = r.flag(e)
			default:
				r.unknown(e, c.key, "reference", "slot", "unblock", "enabled", "tries", "unblock-tries", "digits", "fixed", "shared")
			}
		}
		id, ok := slotByName(slot)
		if !ok || id.reference() == 0 {
			r.errorf(c.pos, "%s: slot is %q, want PIN1, PIN2 or ADM1 to ADM5", c.key, slot)
		}
		code.Slot = id
		if code.Fixed != "" {
			if code.Digits != 0 && code.Digits != len(code.Fixed) {
				r.errorf(c.pos, "%s: fixed has %d digits, digits says %d", c.key, len(code.Fixed), code.Digits)
			}
			code.Digits = len(code.Fixed)
		}
		if code.Shared && code.Reference < 0x80 {
			r.errorf(c.pos, "%s: shared is about local codes, reference %02X is one for the whole card anyway", c.key, code.Reference)
		}
		if code.Digits == 0 || code.Tries == 0 || code.HasPUK != (code.Unblock > 0) {
			r.errorf(c.pos, "%s: digits, tries and, with a PUK, unblock-tries are wanted", c.key)
		}
		p.Codes = append(p.Codes, code)
	}
}

// fixed is digits that are the same on every card. They are no secret.
func (r *reader) fixed(e entry) string {
	s := r.text(e)
	if len(s) < 4 || len(s) > 8 || strings.Trim(s, "0123456789") != "" {
		r.errorf(e.pos, "fixed: want 4 to 8 digits")
	}
	return s
}

func (r *reader) keys(p *Profile, of entry) {
	for _, e := range r.mapping(of.value, of.pos) {
		switch e.key {
		case "scp03":
			p.SCP03 = r.keySet(e, 0x30, 0x3F)
		case "scp80":
			p.SCP80 = r.keySet(e, 0x01, 0x0F)
		default:
			r.unknown(e, "keys", "scp03", "scp80")
		}
	}
}

func (r *reader) keySet(of entry, low, high int) KeySet {
	k := KeySet{pos: of.pos}
	for _, e := range r.mapping(of.value, of.pos) {
		switch e.key {
		case "version":
			if v := r.hexNumber(e, 2); v < low || v > high {
				r.errorf(e.pos, "%s: version %02X, want %02X to %02X", of.key, v, low, high)
			} else {
				k.Version = byte(v)
			}
		case "aes":
			if k.Bits = r.number(e, 128, 256); k.Bits != 128 && k.Bits != 256 {
				r.errorf(e.pos, "%s: AES with %d bits, want 128 or 256", of.key, k.Bits)
			}
		default:
			r.unknown(e, of.key, "version", "aes")
		}
	}
	if k.Version == 0 || k.Bits == 0 {
		r.errorf(of.pos, "%s: version and aes are wanted", of.key)
	}
	return k
}

// standardDirs are the directories that the standards give an identifier.
var standardDirs = []struct {
	name string
	id   uicc.FileID
}{
	{uicc.DirMF, uicc.MF}, {uicc.DirTelecom, 0x7F10}, {uicc.DirGSM, 0x7F20}, {uicc.DirUSIM, 0x7FF0}, {uicc.DirISIM, 0x7FF2},
	{uicc.DirGraphics, 0x5F50}, {uicc.DirPhonebook, 0x5F3A}, {uicc.DirMultimedia, 0x5F3B}, {uicc.DirMMSS, 0x5F3C}, {uicc.DirV2X, 0x5F3E},
	{uicc.DirGSMAccess, 0x5F3B}, {uicc.Dir5GS, 0x5FC0}, {uicc.DirSAIP, 0x5FD0}, {uicc.DirHNB, 0x5F50},
}

func isFileName(s string) bool {
	return strings.HasPrefix(s, "EF.") || strings.HasPrefix(s, "DF.") || strings.HasPrefix(s, "ADF.")
}

// maxDepth bounds the tree: MF, application, DF, DF.
const maxDepth = 4

func (r *reader) dir(p *Profile, of entry, parent *File) *File {
	d := &File{Name: of.key, Kind: uicc.KindDF, parent: parent, pos: of.pos}
	if parent == nil {
		d.Kind = uicc.KindMF
	} else if strings.HasPrefix(of.key, "ADF.") {
		d.Kind = uicc.KindADF
	}
	for _, s := range standardDirs {
		if s.name == of.key {
			d.ID = s.id
		}
	}
	r.plain(of.pos, of.key)
	var efs, dfs []*File
	for _, e := range r.mapping(of.value, of.pos) {
		switch {
		case e.key == "id" && d.Kind != uicc.KindMF:
			d.ID = uicc.FileID(r.hexNumber(e, 4))
		case e.key == "aid" && d.Kind == uicc.KindADF:
			d.AID = r.hex(e, 5, 16)
		case e.key == "access":
			d.Rule = r.text(e)
		case strings.HasPrefix(e.key, "EF."):
			efs = append(efs, r.ef(e, d))
		case isFileName(e.key) && strings.Count(d.Path(), "/")+1 >= maxDepth:
			r.errorf(e.pos, "%s lies too deep, want at most %d directories", e.key, maxDepth)
		case isFileName(e.key):
			dfs = append(dfs, r.dir(p, e, d))
		default:
			r.unknown(e, of.key, "id", "aid", "access", "EF., DF. and ADF. files")
		}
	}
	d.Files = append(efs, dfs...)
	switch {
	case d.ID == 0:
		r.errorf(of.pos, "%s: id is missing", of.key)
	case d.Kind == uicc.KindADF && d.AID == nil:
		r.errorf(of.pos, "%s: aid is missing", of.key)
	case d.Kind == uicc.KindADF && parent.Kind != uicc.KindMF:
		r.errorf(of.pos, "%s: an application lies under the MF", of.key)
	case d.Rule == "":
		r.errorf(of.pos, "%s: access is missing", of.key)
	}
	return d
}

func (r *reader) hex(e entry, low, high int) []byte {
	s := r.text(e)
	b, err := hex.DecodeString(s)
	if err != nil || len(b) < low || len(b) > high {
		r.errorf(e.pos, "%s is %q, want %d to %d bytes in hexadecimal", e.key, s, low, high)
		return nil
	}
	return b
}

var efKeys = []string{"id", "sfi", "kind", "size", "record-size", "records", "access", "fill", "value", "hex", "link"}

func (r *reader) ef(of entry, parent *File) *File {
	f := &File{Name: of.key, parent: parent, pos: of.pos}
	r.plain(of.pos, of.key)
	var known bool
	f.std, known = uicc.FindEF(parent.Name, of.key)
	if !known && of.key == "EF.ARR" {
		f.std, known = uicc.FindEF(uicc.DirUSIM, of.key) // any directory may have one (TS 102 221, 13.4)
	}
	if known {
		f.Name, f.ID, f.SFI, f.Kind = f.std.Name, f.std.ID, f.std.SFI, f.std.Kind
		f.Rule = f.std.Read + "-" + f.std.Update
		f.Fill = f.std.Initial
		f.isARR = f.Name == "EF.ARR"
	}
	var value, raw *entry
	size, recordSize, records := 0, 0, 0
	own := "" // a key that a link has not
	for _, e := range r.mapping(of.value, of.pos) {
		switch e.key {
		case "kind", "size", "record-size", "records", "fill", "value", "hex":
			own = e.key
		}
		switch e.key {
		case "link":
			if f.Link = r.line(e); f.Link == "" {
				r.errorf(e.pos, "%s: link is empty, want the path of a file", of.key)
			}
		case "id":
			f.ID = uicc.FileID(r.hexNumber(e, 4))
		case "sfi":
			if r.text(e) == "none" {
				f.SFI = 0
			} else {
				f.SFI = byte(r.hexNumber(e, 2))
			}
		case "kind":
			f.Kind = r.kind(e)
		case "size":
			size = r.number(e, 1, maxBody)
		case "record-size":
			recordSize = r.number(e, 1, 255)
		case "records":
			records = r.number(e, 1, 254)
		case "access":
			f.Rule = r.text(e)
		case "fill":
			f.Fill = r.hex(e, 1, 255)
		case "value":
			value = &e
		case "hex":
			raw = &e
		default:
			r.unknown(e, of.key, efKeys...)
		}
	}
	switch {
	case f.Link != "" && (own != "" || f.isARR):
		r.errorf(of.pos, "%s: is a link, want id, sfi and access only", of.key)
		return f
	case f.Link != "" && f.ID != 0 && f.Rule != "":
		return f
	case f.ID == 0 || f.Kind == uicc.KindNone || f.Rule == "":
		r.errorf(of.pos, "%s: not in our table of %s: id, kind and access are wanted", of.key, parent.Name)
		return f
	case value != nil && raw != nil:
		r.errorf(of.pos, "%s: has value and hex, want one", of.key)
		return f
	case value != nil && !f.std.Codec.Known():
		r.errorf(value.pos, "%s: no codec for this file, want hex", of.key)
		return f
	case f.isARR && (value != nil || raw != nil || size+recordSize+records > 0):
		r.errorf(of.pos, "%s: is made from the rules, want no size and no content", of.key)
		return f
	}
	if f.Fill == nil {
		f.Fill = []byte{0xFF}
	}
	if f.isARR {
		return f
	}
	if f.Kind == uicc.BERTLV {
		if value != nil || recordSize+records > 0 {
			r.errorf(of.pos, "%s: is BER-TLV, want size and, in hex, a list of its data objects", of.key)
			return f
		}
		r.objects(f, of, raw, cmp.Or(size, f.std.Size))
		return f
	}
	r.content(f, of, value, raw, size, recordSize, records)
	return f
}

// maxBody bounds a transparent file: what READ BINARY reaches.
const maxBody = 0x7FFF

func (r *reader) kind(e entry) uicc.Kind {
	for _, k := range []uicc.Kind{uicc.Transparent, uicc.LinearFixed, uicc.Cyclic, uicc.BERTLV} {
		if r.text(e) == k.String() {
			return k
		}
	}
	r.errorf(e.pos, "kind is %q, want transparent, linear fixed, cyclic or BER-TLV", r.text(e))
	return uicc.KindNone
}

// content settles the file's size and content from the document's keys.
func (r *reader) content(f *File, of entry, value, raw *entry, size, recordSize, records int) {
	src, encode := raw, (*reader).rawPiece
	if value != nil {
		src, encode = value, (*reader).valuePiece
	}
	var nodes []ast.Node
	if f.Kind.Records() {
		if recordSize == 0 {
			recordSize = f.std.Size
		}
		if src != nil {
			seq, ok := src.value.(*ast.SequenceNode)
			if !ok {
				r.errorf(src.pos, "%s: %s is %s, want a list with an element for each record", of.key, src.key, kindOf(src.value))
				return
			}
			nodes = seq.Values
		}
		if records == 0 {
			records = len(nodes)
		}
		if size != 0 || recordSize == 0 || records == 0 || len(nodes) > records || records > 254 {
			r.errorf(of.pos, "%s: %d records of %d bytes for %d records of content, want record-size and 1 to 254 records, no size",
				of.key, records, recordSize, len(nodes))
			return
		}
		f.RecordSize, f.Records, f.Size = recordSize, records, recordSize*records
		if f.Size > 0xFFFF {
			r.errorf(of.pos, "%s: has %d bytes, want at most 65535", of.key, f.Size)
			return
		}
	} else {
		if recordSize != 0 || records != 0 {
			r.errorf(of.pos, "%s: is transparent and has no records", of.key)
			return
		}
		if size == 0 {
			size = f.std.Size
		}
		if src != nil {
			nodes = []ast.Node{src.value}
		} else if size == 0 {
			r.errorf(of.pos, "%s: size is missing", of.key)
			return
		}
		f.Size = size // 0: as long as the content
	}
	for i, n := range nodes {
		b, ok := encode(r, f, i, n, src.pos)
		if !ok {
			return
		}
		if f.Size == 0 {
			f.Size = len(b)
		}
		f.Body = append(f.Body, b)
	}
	if f.Size == 0 || f.Size > maxBody && !f.Kind.Records() {
		r.errorf(of.pos, "%s: has %d bytes, want 1 to %d", of.key, f.Size, maxBody)
	}
	if n := f.pieceSize(); len(f.Fill) > n {
		f.Fill = f.Fill[:n]
	}
	f.trim()
}

// objects reads the data objects of a BER-TLV file: each whole, no tag twice
// (TS 102 221, 8.2.2.4).
func (r *reader) objects(f *File, of entry, raw *entry, size int) {
	if f.Size = size; size == 0 {
		r.errorf(of.pos, "%s: size is missing", of.key)
		return
	}
	if raw == nil {
		return
	}
	seq, ok := raw.value.(*ast.SequenceNode)
	if !ok {
		r.errorf(raw.pos, "%s: hex is %s, want a list with an element for each data object", of.key, kindOf(raw.value))
		return
	}
	seen := map[uicc.Tag]bool{0x5C: true} // the tag that asks for the list of all tags
	total := 0
	for i, n := range seq.Values {
		b, ok := r.slottedHex(f, i, n, raw.pos)
		if !ok {
			return
		}
		t, rest, err := uicc.ReadTLV(b)
		switch {
		case err != nil:
			r.errorf(at(n), "%s: data object %d: %v", of.key, i+1, err)
		case len(rest) > 0:
			r.errorf(at(n), "%s: data object %d: %d bytes follow it, want one object in each element", of.key, i+1, len(rest))
		case seen[t.Tag]:
			r.errorf(at(n), "%s: data object %d: tag %X stands here twice or is reserved", of.key, i+1, uint32(t.Tag))
		}
		seen[t.Tag] = true
		f.Body = append(f.Body, b)
		total += len(b)
	}
	if total > size {
		r.errorf(of.pos, "%s: data objects have %d bytes, file has %d", of.key, total, size)
	}
}

// trim drops records at the end that hold what Fill puts there anyway, so that
// each content has one form.
func (f *File) trim() {
	f.Fill = shortest(f.Fill)
	filled := fillTo(f.Fill, f.pieceSize())
	for n := len(f.Body); n > 0; n-- {
		last := slices.ContainsFunc(f.Patches, func(p Patch) bool { return p.Piece == n-1 })
		if last || string(f.Body[n-1]) != string(filled) {
			return
		}
		f.Body = f.Body[:n-1]
	}
}

// shortest is the pattern without the last byte's repetitions.
func shortest(pattern []byte) []byte {
	n := len(pattern)
	for n > 1 && pattern[n-1] == pattern[n-2] {
		n--
	}
	return pattern[:n]
}

// rawPiece reads hexadecimal digits and slot references, and fills up.
func (r *reader) rawPiece(f *File, piece int, n ast.Node, p pos) ([]byte, bool) {
	b, ok := r.slottedHex(f, piece, n, p)
	if !ok {
		return nil, false
	}
	return r.fit(f, b, p)
}

// slottedHex reads hexadecimal digits and slot references.
func (r *reader) slottedHex(f *File, piece int, n ast.Node, p pos) ([]byte, bool) {
	s, ok := scalar(n)
	if !ok {
		r.errorf(p, "%s: %s, want hexadecimal digits", f.Name, kindOf(n))
		return nil, false
	}
	s = strings.ReplaceAll(s, " ", "")
	var b []byte
	for s != "" {
		digits, rest, found := strings.Cut(s, "${")
		part, err := hex.DecodeString(digits)
		if err != nil {
			r.errorf(p, "%s: hex: want hexadecimal digits, two for each byte", f.Name)
			return nil, false
		}
		b = append(b, part...)
		if !found {
			break
		}
		var name string
		if name, s, found = strings.Cut(rest, "}"); !found {
			r.errorf(p, "%s: hex: ${ without }", f.Name)
			return nil, false
		}
		x := Patch{Piece: piece, At: len(b), Slot: SlotIMSI, Digits: "${"+name+"}" == imsiDigits}
		if !x.Digits {
			if x.Slot, err = fileSlot(name); err != nil {
				r.errorf(p, "%s: %v", f.Name, err)
				return nil, false
			}
		}
		f.Patches = append(f.Patches, x)
		b = append(b, make([]byte, x.size())...)
	}
	return b, true
}

// fit pads a piece with the rest of the fill pattern.
func (r *reader) fit(f *File, b []byte, p pos) ([]byte, bool) {
	size := f.pieceSize()
	if len(b) > size && size > 0 {
		r.errorf(p, "%s: content has %d bytes, file or record has %d", f.Name, len(b), size)
		return nil, false
	}
	return append(b, fillTo(f.Fill, max(size, len(b)))[len(b):]...), true
}

// What stands for a card's own while a value is encoded, so that its place can
// be found: a telephone number that nobody has, and digits that are none.
const (
	number     = "+00000000000000000001"
	numberMark = "\x0B\x91\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10"
	imsiDigits = "${IMSI.digits}"
	digitsMark = "zimsi--digits-z"
)

// marks replace the references of a text that is not a reference alone.
func (r *reader) marks(s string) string {
	return strings.ReplaceAll(derived(r.plmn).Replace(s), imsiDigits, digitsMark)
}

// valuePiece reads a value through the file's codec.
func (r *reader) valuePiece(f *File, piece int, n ast.Node, p pos) ([]byte, bool) {
	if s, ok := scalar(n); ok {
		if name, ok := slotRef(r.marks(s)); ok {
			return r.slotPiece(f, piece, name, p)
		}
	}
	v, ok := r.value(n, p, 0)
	if !ok {
		return nil, false
	}
	b, err := f.std.Codec.Encode(v, f.pieceSize())
	if err != nil {
		r.errorf(p, "%s: %v", f.Name, err)
		return nil, false
	}
	said := v.String()
	for _, m := range [...]struct {
		value, mark string
		patch       Patch
		where       string
	}{
		{number, numberMark, Patch{Slot: SlotMSISDN}, "no telephone number can"},
		{digitsMark, digitsMark, Patch{Slot: SlotIMSI, Digits: true}, "no text can"},
	} {
		for range strings.Count(said, m.value) {
			i := strings.Index(string(b), m.mark)
			if i < 0 {
				r.errorf(p, "%s: %s stands where %s", f.Name, m.patch, m.where)
				return nil, false
			}
			clear(b[i : i+len(m.mark)])
			m.patch.Piece, m.patch.At = piece, i
			f.Patches = append(f.Patches, m.patch)
		}
	}
	return b, true
}

// slotPiece is a slot that fills a whole file or record.
func (r *reader) slotPiece(f *File, piece int, name string, p pos) ([]byte, bool) {
	slot, err := fileSlot(name)
	if err != nil {
		r.errorf(p, "%s: %v", f.Name, err)
		return nil, false
	}
	if size := f.pieceSize(); size != slot.inFile() && size != 0 {
		r.errorf(p, "%s: slot %s has %d bytes, file or record has %d", f.Name, slot, slot.inFile(), size)
		return nil, false
	}
	f.Patches = append(f.Patches, Patch{Piece: piece, Slot: slot})
	return make([]byte, slot.inFile()), true
}

// value turns a document's node into a Value, with marks for what is a card's
// own.
func (r *reader) value(n ast.Node, p pos, depth int) (v uicc.Value, ok bool) {
	if depth > 8 {
		r.errorf(p, "value is nested more than 8 deep")
		return v, false
	}
	switch x := n.(type) {
	case *ast.SequenceNode:
		v.List = []uicc.Value{}
		for _, e := range x.Values {
			c, ok := r.value(e, at(e), depth+1)
			if !ok {
				return v, false
			}
			v.List = append(v.List, c)
		}
	case *ast.MappingNode, *ast.MappingValueNode:
		v.Fields = []uicc.Field{}
		for _, e := range r.mapping(n, p) {
			c, ok := r.value(e.value, e.pos, depth+1)
			if !ok {
				return v, false
			}
			v.Fields = append(v.Fields, uicc.Field{Name: e.key, Value: c})
		}
	default:
		s, ok := scalar(n)
		if !ok {
			r.errorf(p, "%s, want a text, a list or fields", kindOf(n))
			return v, false
		}
		s = r.marks(s)
		if name, ok := slotRef(s); ok {
			if name != SlotMSISDN.String() {
				r.errorf(p, "slot ${%s} cannot stand inside a value, want ${MSISDN}, ${IMSI.digits} or a slot for the whole file", name)
				return v, false
			}
			s = number
		}
		v.Text = s
	}
	return v, true
}
