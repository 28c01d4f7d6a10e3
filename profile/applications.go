package profile

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"ankan/document"
	"ankan/gp"
)

// A LoadFile is a package of applets with what is made of it.
type LoadFile struct {
	AID       []byte
	Code      []byte // load file data block (gp.CAP.Code)
	Instances []Instance
	pos       pos
}

// An Instance is an application of a card, made of a module of a load file.
type Instance struct {
	AID, Module []byte
	Privileges  gp.Privileges
	Parameters  []byte // of INSTALL [for install], as TLV; empty for C9 00
	State       byte   // life cycle of the finished card
	Data        []Grouping
	pos         pos
}

// A Grouping is a data grouping that STORE DATA gives to an instance. On each
// card it holds the same value or, whole, a slot.
type Grouping struct {
	ID    uint16
	Value []byte // with Slot: zeros of its length
	// Slotted says that Slot stands there.
	Slotted bool
	Slot    SlotID
}

// text is the value as documents write it.
func (g Grouping) text() string {
	if g.Slotted {
		return "${" + g.Slot.String() + "}"
	}
	return fmt.Sprintf("%X", g.Value)
}

// maxGrouping is how long a value may be, in bytes: the card takes whole
// groupings in each command, behind number and length.
const maxGrouping = maxData - 3

// maxLoadFile is the longest load file that the reference OS takes, in bytes.
const maxLoadFile = 48 << 10

// privileges are the words of documents for privileges (GlobalPlatform Card
// Specification, table 6-1), bit by bit from the highest.
var privileges = [...]string{
	"security-domain", "dap-verification", "delegated-management", "card-lock", "card-terminate", "card-reset", "cvm-management",
	"mandated-dap-verification", "trusted-path", "authorized-management", "token-management", "global-delete", "global-lock",
	"global-registry", "final-application", "global-service", "receipt-generation", "ciphered-load-file-data-block",
	"contactless-activation", "contactless-self-activation",
}

func privilegeBit(i int) gp.Privileges { return 1 << (23 - i) }

// privilegesText is privileges as documents write them: a list of words, or six
// hexadecimal digits where one has no word.
func privilegesText(p gp.Privileges) string {
	var all []string
	var known gp.Privileges
	for i, name := range privileges {
		if p&privilegeBit(i) != 0 {
			all, known = append(all, name), known|privilegeBit(i)
		}
	}
	if known != p {
		return fmt.Sprintf("\"%06X\"", uint32(p))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// states are the words for life cycles (GlobalPlatform Card Specification,
// table 11-4).
var states = [...]struct {
	name string
	code byte
}{{"installed", gp.StateInstalled}, {"selectable", gp.StateSelectable}, {"locked", gp.StateSelectable | gp.StateLocked}}

// stateText is a life cycle as documents write it.
func stateText(s byte) string {
	for _, x := range states {
		if x.code == s {
			return x.name
		}
	}
	return fmt.Sprintf("\"%02X\"", s)
}

// applications reads the section applications.
func (r *reader) applications(p *Profile, of entry) {
	for _, n := range r.items(of) {
		x := LoadFile{pos: at(n)}
		sources := 0
		for _, e := range r.mapping(n, x.pos) {
			switch e.key {
			case "load-file":
				x.AID = r.aid(e)
			case "cap":
				x.Code = r.capFile(e)
				sources++
			case "code":
				var err error
				if x.Code, err = base64.StdEncoding.Strict().DecodeString(strings.Join(strings.Fields(r.text(e)), "")); err != nil {
					r.errorf(e.pos, "code: %v, want a load file data block in base64", err)
				}
				sources++
			case "instances":
				x.Instances = r.instances(e)
			default:
				r.unknown(e, "applications", "load-file", "cap", "code", "instances")
			}
		}
		if x.AID == nil || sources != 1 {
			r.errorf(x.pos, "applications: load-file and one of cap and code are wanted")
		}
		p.Applications = append(p.Applications, x)
	}
}

func (r *reader) aid(e entry) []byte {
	b, err := hex.DecodeString(r.text(e))
	if err == nil {
		err = gp.CheckAID(b)
	}
	if err != nil {
		r.errorf(e.pos, "%s is %q, want an AID of 5 to 16 bytes in hexadecimal", e.key, r.text(e))
		return nil
	}
	return b
}

// capFile reads a CAP file that lies with the document.
func (r *reader) capFile(e entry) []byte {
	name := r.line(e)
	if r.folder == nil {
		r.errorf(e.pos, "cap: the file %q is not at hand where this document is read; give its code in base64", name)
		return nil
	}
	f, err := r.folder.Open(name)
	if err != nil {
		r.errorf(e.pos, "cap: %v; want a path from the document's folder downwards", err)
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, document.MaxSize+1))
	if err == nil && len(b) > document.MaxSize {
		err = fmt.Errorf("more than %d bytes", document.MaxSize)
	}
	var c *gp.CAP
	if err == nil {
		c, err = gp.ReadCAP(bytes.NewReader(b), int64(len(b)))
	}
	if err != nil {
		r.errorf(e.pos, "cap: %s: %v", name, err)
		return nil
	}
	return c.Code()
}

func (r *reader) instances(of entry) []Instance {
	var all []Instance
	for _, n := range r.items(of) {
		x := Instance{State: gp.StateSelectable, pos: at(n)}
		for _, e := range r.mapping(n, x.pos) {
			switch e.key {
			case "aid":
				x.AID = r.aid(e)
			case "module":
				x.Module = r.aid(e)
			case "privileges":
				x.Privileges = r.privileges(e)
			case "parameters":
				x.Parameters = r.hex(e, 2, 200)
			case "life-cycle":
				x.State = r.state(e)
			case "data":
				x.Data = r.groupings(e)
			default:
				r.unknown(e, of.key, "aid", "module", "privileges", "parameters", "life-cycle", "data")
			}
		}
		if x.AID == nil || x.Module == nil {
			r.errorf(x.pos, "instances: aid and module are wanted")
		}
		all = append(all, x)
	}
	return all
}

func (r *reader) privileges(e entry) (p gp.Privileges) {
	if _, ok := scalar(e.value); ok {
		return gp.Privileges(r.hexNumber(e, 6))
	}
	for _, s := range r.list(e) {
		i := slices.Index(privileges[:], s)
		if i < 0 || p&privilegeBit(i) != 0 {
			r.errorf(e.pos, "privileges: %q, want each once of %s", s, strings.Join(privileges[:], ", "))
			continue
		}
		p |= privilegeBit(i)
	}
	return p
}

func (r *reader) state(e entry) byte {
	text := r.text(e)
	for _, x := range states {
		if x.name == text {
			return x.code
		}
	}
	s := byte(r.hexNumber(e, 2))
	if !ownState(s) {
		r.errorf(e.pos, "life-cycle is %q, want installed, selectable, locked, or a state of the application's own: 0F to 7F, ending with the bits 111", text)
	}
	return s
}

// ownState reports whether a life cycle is one of an application's own, beyond
// selectable.
func ownState(s byte) bool { return s > gp.StateSelectable && s < gp.StateLocked && s&7 == 7 }

func (r *reader) groupings(of entry) []Grouping {
	var all []Grouping
	for _, n := range r.items(of) {
		g, p := Grouping{}, at(n)
		said := false
		for _, e := range r.mapping(n, p) {
			switch e.key {
			case "dgi":
				g.ID, said = uint16(r.hexNumber(e, 4)), true
			case "value":
				r.groupingValue(&g, e)
			default:
				r.unknown(e, of.key, "dgi", "value")
			}
		}
		switch {
		case !said || len(g.Value) == 0:
			r.errorf(p, "data: dgi and value are wanted")
		case slices.ContainsFunc(all, func(o Grouping) bool { return o.ID == g.ID }):
			r.errorf(p, "data: DGI %04X stands here twice", g.ID)
		}
		all = append(all, g)
	}
	return all
}

// groupingValue reads a value: hexadecimal digits, or a slot that is all of it. A
// slot among other bytes has no length that people could check.
func (r *reader) groupingValue(g *Grouping, e entry) {
	text := r.text(e)
	name, ok := slotRef(text)
	switch {
	case ok:
		slot, err := fileSlot(name)
		if err != nil {
			r.errorf(e.pos, "data: %v", err)
			return
		}
		g.Slotted, g.Slot, g.Value = true, slot, make([]byte, slot.inFile())
	case strings.Contains(text, "${"):
		r.errorf(e.pos, "data: a slot is the whole value of a DGI, give it one of its own")
	default:
		g.Value = r.hex(e, 1, maxGrouping)
	}
}

func (x *LoadFile) render(line func(string, ...any)) {
	line("- load-file: \"%X\"", x.AID)
	line("  code: %q", base64.StdEncoding.EncodeToString(x.Code))
	if len(x.Instances) > 0 {
		line("  instances:")
	}
	for _, i := range x.Instances {
		line("  - aid: \"%X\"", i.AID)
		line("    module: \"%X\"", i.Module)
		line("    privileges: %s", privilegesText(i.Privileges))
		if len(i.Parameters) > 0 {
			line("    parameters: \"%X\"", i.Parameters)
		}
		line("    life-cycle: %s", stateText(i.State))
		if len(i.Data) > 0 {
			line("    data:")
		}
		for _, g := range i.Data {
			line("    - {dgi: \"%04X\", value: %q}", g.ID, g.text())
		}
	}
}

// text is what a load file is, on one line.
func (x *LoadFile) text() string {
	return fmt.Sprintf("%d bytes, SHA-256 %x", len(x.Code), sha256.Sum256(x.Code))
}

func (i *Instance) text() string {
	return fmt.Sprintf("module %X, privileges %s, %s", i.Module, privilegesText(i.Privileges), stateText(i.State))
}

// applications compares load files and instances by their AIDs.
func (d *differences) applications() {
	type part struct {
		what, text string
	}
	said := func(p *Profile) (order []string, all map[string][]part) {
		all = map[string][]part{}
		add := func(aid []byte, parts ...part) {
			path := fmt.Sprintf("applications/%X", aid)
			order, all[path] = append(order, path), parts
		}
		for _, x := range p.Applications {
			add(x.AID, part{"load file", x.text()})
			for _, i := range x.Instances {
				parts := []part{{"load file", fmt.Sprintf("%X", x.AID)}, {"instance", i.text()}, {"parameters", fmt.Sprintf("%X", i.Parameters)}}
				for _, g := range i.Data {
					parts = append(parts, part{fmt.Sprintf("DGI %04X", g.ID), g.text()})
				}
				add(i.AID, parts...)
			}
		}
		return order, all
	}
	order, a := said(d.a)
	more, b := said(d.b)
	for _, path := range more {
		if a[path] == nil {
			order = append(order, path)
		}
	}
	find := func(parts []part, what string) string {
		for _, x := range parts {
			if x.what == what {
				return x.text
			}
		}
		return ""
	}
	for _, path := range order {
		for _, x := range a[path] {
			d.add(path, x.what, x.text, find(b[path], x.what))
		}
		for _, x := range b[path] {
			if find(a[path], x.what) == "" {
				d.add(path, x.what, "", x.text)
			}
		}
	}
}
