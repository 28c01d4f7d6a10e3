package saip

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"ankan/gp"
	"ankan/scp"
	"ankan/uicc"
)

// A remote is a remote file management application of the package.
type remote struct {
	aid     string
	tars    []string
	adf     []byte // the application whose files it manages; nil: the shared files
	level   byte
	access  []byte
	element int
}

// A loadFile is a package of applets with the instances that are made of it.
type loadFile struct {
	aid       []byte
	code      []byte
	modules   [][]byte
	instances []instance
}

// An instance is an ApplicationInstance.
type instance struct {
	file, module, aid, domain []byte
	privileges                gp.Privileges
	state                     byte
	parameters                []byte
	data                      []gp.DGI
	reference                 bool // it has a control reference template
	unknown                   int  // commands of its processData that are no data groupings
}

// maxLoadFile is the longest load file that cards of the reference OS take.
const maxLoadFile = 48 << 10

// rfm takes remote file management. The access domain is that of the files that
// it is about; those of administration are told if they differ.
func (b *builder) rfm(n node) {
	d := &b.d
	parts := d.children(n)
	if len(parts) == 0 || parts[0].tag != 0xA0 {
		d.fail(n.at, "has no header")
		return
	}
	b.head(parts[0])
	x := remote{element: d.element}
	var aid, level []byte
	var domains [][]byte
	for _, p := range parts[1:] {
		switch p.tag {
		case 0x4F:
			if v := d.octets(p, "AID", 5, 16); aid == nil {
				aid = v
			}
		case 0xA0:
			for _, t := range d.list(p, "tarList", 0x04) {
				x.tars = append(x.tars, fmt.Sprintf("%X", d.octets(t, "TAR", 3, 3)))
			}
		case 0x81:
			level = d.octets(p, "minimumSecurityLevel", 1, 1)
		case 0x04:
			domains = append(domains, d.octets(p, "access domain", 0, 255))
		case 0x30:
			a := d.fields(p, "adfRFMAccess", 0x80, 0x81, 0x82)
			b.need(p, a, 0x80, "adfAID")
			x.adf = d.octets(a[0x80], "adfAID", 5, 16)
			domains = append(domains, d.octets(a[0x81], "adfAccessDomain", 0, 255), d.octets(a[0x82], "adfAdminAccessDomain", 0, 255))
		default:
			d.fail(p.at, "has a component %X that is not known", uint32(p.tag))
		}
	}
	if d.err == nil && (aid == nil || level == nil) {
		d.fail(n.at, "instanceAID or minimumSecurityLevel is missing")
	}
	if d.err != nil {
		return
	}
	x.aid, x.level = fmt.Sprintf("%X", aid), level[0]
	if len(x.tars) == 0 && len(aid) == 16 {
		x.tars = []string{fmt.Sprintf("%X", aid[12:15])} // TS 101 220, annex D
	}
	if len(domains) >= 2 {
		x.access = domains[len(domains)-2]
		if !bytes.Equal(domains[len(domains)-1], x.access) {
			b.change("administrative access of "+x.aid, "it is %X; a profile has one access domain for both, %X", domains[len(domains)-1], x.access)
		}
		if x.adf != nil && !bytes.Equal(domains[0], x.access) {
			b.change("access of "+x.aid+" to the shared files", "it is %X; a profile has one access domain for all, %X", domains[0], x.access)
		}
	}
	b.remotes = append(b.remotes, x)
}

// cardLevel is the least that a profile takes: checksum, ciphered, a counter that
// must be higher.
const cardLevel = 0x16

// accessText is an access domain in the words of documents.
func accessText(v []byte) (string, bool) {
	switch {
	case len(v) == 1 && v[0] == 0x00:
		return "full", true
	case len(v) == 1 && v[0] == 0xFF:
		return "none", true
	case len(v) != 4 || v[0] != 0x02 || v[1] != 0 || v[3] != 0 || v[2] == 0 || v[2]&0xE0 != 0:
		return "", false
	}
	var all []string
	for i := range 5 {
		if v[2]>>i&1 == 1 {
			all = append(all, fmt.Sprintf("adm%d", i+1))
		}
	}
	return "[" + strings.Join(all, ", ") + "]", true
}

// writeRemotes renders remote management. The card's manager keeps its TAR, which
// no element says.
func (b *builder) writeRemotes() string {
	d := &b.d
	var s strings.Builder
	taken, names := map[string]bool{}, map[string]int{}
	line := func(name string, tars []string, manages string, level byte, access string) {
		for _, t := range tars {
			taken[t] = true
		}
		fmt.Fprintf(&s, "- {name: %q, tar: [\"%s\"], manages: %q, level: \"%02X\", access: %s}\n", name, strings.Join(tars, `", "`), manages, level, access)
	}
	manager := fmt.Sprintf("%06X", uint32(scp.TARISD))
	for _, x := range b.remotes {
		d.element, d.name = x.element, "rfm"
		what := fmt.Sprintf("remote file management %s, TAR %s, minimum security level %02X", x.aid, strings.Join(x.tars, " "), x.level)
		manages := uicc.DirMF
		if x.adf != nil {
			i := slices.IndexFunc(b.mf.children, func(f *file) bool { return bytes.Equal(f.aid, x.adf) })
			if i < 0 {
				b.leave(what, "the package has no application %X", x.adf)
				continue
			}
			manages = b.mf.children[i].name
		}
		access, ok := accessText(x.access)
		var free []string
		for _, t := range x.tars {
			if !taken[t] && t != manager && !slices.Contains(free, t) {
				free = append(free, t)
			}
		}
		switch {
		case b.scp80.version == 0:
			b.leave(what, "the card has no keys of SCP80: the package has no three AES keys for it")
			continue
		case !ok:
			b.leave(what, "a profile cannot say its access domain %X", x.access)
			continue
		case len(free) == 0:
			b.leave(what, "it has no TAR of its own")
			continue
		case len(free) < len(x.tars):
			b.change(what, "of its TARs only %s are free", strings.Join(free, " "))
		}
		if x.level&0x03 != 0x02 || x.level&0x10 == 0 || x.level&0xE0 != 0 {
			b.change(what, "cards take no packet that is not signed or was sent before: the level is %02X", cardLevel)
			x.level = cardLevel
		}
		name := "rfm-" + strings.ToLower(x.aid)
		if names[name]++; names[name] > 1 {
			name = fmt.Sprintf("%s-%d", name, names[name])
		}
		line(name, free, manages, x.level, access)
	}
	if s.Len() == 0 {
		return ""
	}
	d.element, d.name = 1, "header"
	b.change("remote management of applications", "the card's manager has TAR %s, level %02X", manager, cardLevel)
	line("ram", []string{manager}, "RAM", cardLevel, "full")
	return "remote:\n" + s.String()
}

// application takes a load package and instances, if the card can have them.
func (b *builder) application(n node) {
	d := &b.d
	f := d.fields(n, d.name, 0xA0, 0xA1, 0xA2)
	b.head(f[0xA0])
	if block, ok := f[0xA1]; ok {
		b.loadBlock(block)
	}
	for _, x := range d.list(f[0xA2], "instanceList", 0x30) {
		if i := b.instance(x); d.err == nil {
			b.takeInstance(i)
		}
	}
}

func (b *builder) loadBlock(n node) {
	d := &b.d
	var aids [][]byte
	var code []byte
	for _, x := range d.children(n) {
		switch x.tag {
		case 0x4F:
			aids = append(aids, d.octets(x, "AID", 5, 16))
		case 0xC4:
			code = x.value
		case 0xC1, 0xC6, 0xC7, 0xC8:
		default:
			d.fail(x.at, "loadBlock has a component %X that is not known", uint32(x.tag))
		}
	}
	if d.err == nil && len(aids) == 0 {
		d.fail(n.at, "loadPackageAID is missing")
	}
	if d.err != nil {
		return
	}
	what := fmt.Sprintf("load package %X of %d bytes", aids[0], len(code))
	c, err := gp.ParseLoadFile(code)
	switch {
	case err != nil:
		b.leave(what, "the card takes CAP files: %v", err)
	case b.given(aids[0]):
		b.leave(what, "its AID is that of something else on the card")
	case !bytes.Equal(c.Package.AID, aids[0]):
		b.leave(what, "its code is that of package %X", c.Package.AID)
	case len(gp.LoadFile(code)) > maxLoadFile:
		b.leave(what, "the card takes %d bytes at most", maxLoadFile)
	default:
		if len(aids) > 1 {
			b.change(what, "it belongs to the card's manager, not to %X", aids[1])
		}
		b.loadFiles = append(b.loadFiles, loadFile{aid: aids[0], code: code, modules: c.Applets})
	}
}

// ofDomains are privileges that only security domains have.
const ofDomains = gp.MandatedDAPVerification | gp.DelegatedManagement | gp.AuthorizedManagement | gp.TokenManagement |
	gp.ReceiptGeneration | gp.CipheredLoadFileDataBlock

func (b *builder) takeInstance(x instance) {
	what := fmt.Sprintf("application %X", x.aid)
	i := slices.IndexFunc(b.loadFiles, func(f loadFile) bool { return bytes.Equal(f.aid, x.file) })
	known := x.state == gp.StateInstalled || x.state&^gp.StateLocked == gp.StateSelectable || x.state > gp.StateSelectable && x.state < gp.StateLocked && x.state&7 == 7
	switch {
	case i < 0:
		b.leave(what, "its load package %X is not there, or not taken", x.file)
	case !slices.ContainsFunc(b.loadFiles[i].modules, func(m []byte) bool { return bytes.Equal(m, x.module) }):
		b.leave(what, "its load package %X has no class %X", x.file, x.module)
	case b.given(x.aid):
		b.leave(what, "its AID is that of something else on the card")
	case x.privileges&(ofDomains|0x0F) != 0:
		b.leave(what, "it has the privileges %06X, of which some are reserved or of security domains", uint32(x.privileges))
	case !known:
		b.leave(what, "its life cycle %02X is not one that an application has", x.state)
	case !installable(x):
		b.leave(what, "its AIDs and parameters of %d bytes do not fit one INSTALL command", len(x.parameters))
	case x.state == gp.StateInstalled && len(x.data) > 0:
		b.leave(what, "it is given data and cannot be selected")
	default:
		if len(x.domain) > 0 {
			b.change(what, "it belongs to the card's manager, not to %X", x.domain)
		}
		if x.reference {
			b.leave("controlReferenceTemplate of "+what, "a profile has none")
		}
		if x.unknown > 0 {
			b.leave(fmt.Sprintf("%d commands of processData of %s", x.unknown, what), "they are not STORE DATA of whole data groupings, each once")
		}
		b.loadFiles[i].instances = append(b.loadFiles[i].instances, x)
	}
}

// installable reports whether INSTALL of an instance is one command.
func installable(x instance) bool {
	i, err := gp.InstallForInstall(x.file, x.module, x.aid, x.privileges, x.parameters, true)
	return err == nil && len(i.Commands()) == 1
}

// given reports whether an AID is that of an application's files, a load file, an
// instance or the card's manager.
func (b *builder) given(aid []byte) bool {
	found := bytes.HasPrefix(aid, []byte{0xA0, 0, 0, 1, 0x51})
	if b.mf != nil {
		b.mf.walk(func(f *file) { found = found || bytes.Equal(f.aid, aid) })
	}
	for _, l := range b.loadFiles {
		found = found || bytes.Equal(l.aid, aid) || slices.ContainsFunc(l.instances, func(i instance) bool { return bytes.Equal(i.aid, aid) })
	}
	return found
}

// instance reads an ApplicationInstance.
func (b *builder) instance(n node) (x instance) {
	d := &b.d
	x.state = gp.StateSelectable
	var aids [][]byte
	objects := map[uicc.Tag][]byte{}
	for _, c := range d.children(n) {
		switch c.tag {
		case 0x4F:
			aids = append(aids, d.octets(c, "AID", 5, 16))
		case 0x82:
			for _, p := range append(d.octets(c, "applicationPrivileges", 1, 3), 0, 0, 0)[:3] {
				x.privileges = x.privileges<<8 | gp.Privileges(p)
			}
		case 0x83:
			if v := d.octets(c, "lifeCycleState", 1, 1); d.err == nil {
				x.state = v[0]
			}
		case 0xC9, 0xEF, 0xEA:
			objects[c.tag] = c.value
		case 0x30:
			b.processData(&x, c)
		case 0xB0:
			x.reference = true
		default:
			d.fail(c.at, "instance has a component %X that is not known", uint32(c.tag))
		}
	}
	if d.err == nil && (len(aids) < 3 || len(aids) > 4) {
		d.fail(n.at, "instance has %d AIDs, want those of its package, class and instance", len(aids))
	}
	if d.err != nil {
		return x
	}
	x.file, x.module, x.aid = aids[0], aids[1], aids[2]
	if len(aids) == 4 {
		x.domain = aids[3]
	}
	for _, tag := range []uicc.Tag{0xC9, 0xEF, 0xEA} {
		if v, ok := objects[tag]; ok {
			x.parameters = uicc.AppendTLV(x.parameters, tag, v...)
		}
	}
	return x
}

// maxGrouping is the longest value of a data grouping that a profile has.
const maxGrouping = 236

// processData reads the commands that an application gets: STORE DATA of whole
// data groupings become the instance's data.
func (b *builder) processData(x *instance, n node) {
	for _, c := range b.d.list(n, "processData", 0x04) {
		cmd, err := uicc.ParseCommand(c.value)
		if err != nil || cmd.INS != uicc.INSStoreData || cmd.CLA != 0x80 || cmd.P1&0x78 != byte(gp.StoreDGI) || len(cmd.Data) == 0 {
			x.unknown++
			continue
		}
		var all []gp.DGI
		for rest := cmd.Data; len(rest) > 0 && err == nil; {
			var g gp.DGI
			if g, rest, err = gp.ReadDGI(rest); err == nil {
				twice := slices.ContainsFunc(append(all, x.data...), func(o gp.DGI) bool { return o.ID == g.ID })
				if len(g.Value) == 0 || len(g.Value) > maxGrouping || twice {
					err = gp.ErrData
				}
				all = append(all, g)
			}
		}
		if err != nil {
			x.unknown++
			continue
		}
		x.data = append(x.data, all...)
	}
}

// writeApplications renders load files and their instances.
func (b *builder) writeApplications() string {
	if len(b.loadFiles) == 0 {
		return ""
	}
	var s strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&s, format+"\n", args...) }
	line("applications:")
	for _, f := range b.loadFiles {
		line("- load-file: \"%X\"\n  code: %q", f.aid, base64.StdEncoding.EncodeToString(f.code))
		if len(f.instances) > 0 {
			line("  instances:")
		}
		for _, x := range f.instances {
			line("  - aid: \"%X\"\n    module: \"%X\"\n    privileges: \"%06X\"\n    life-cycle: %s", x.aid, x.module, uint32(x.privileges), stateText(x.state))
			if len(x.parameters) > 0 {
				line("    parameters: \"%X\"", x.parameters)
			}
			if len(x.data) > 0 {
				line("    data:")
			}
			for _, g := range x.data {
				line("    - {dgi: \"%04X\", value: \"%X\"}", g.ID, g.Value)
			}
		}
	}
	return s.String()
}

// stateText is a life cycle in the words of documents.
func stateText(s byte) string {
	switch s {
	case gp.StateInstalled:
		return "installed"
	case gp.StateSelectable:
		return "selectable"
	case gp.StateSelectable | gp.StateLocked:
		return "locked"
	}
	return fmt.Sprintf("\"%02X\"", s)
}
