package profile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"ankan/scp"
	"ankan/uicc"
)

// A Remote is a remote management application: what does the commands of secured
// packets (TS 102 226). A profile that names none leaves a card those of its
// operating system; one that names some has these and no other.
type Remote struct {
	Name    string
	TARs    []scp.TAR
	Manages string // MF: the shared files; ADF.USIM: those of this application; RAM: applications
	Level   Level
	Access  AccessDomain
	pos     pos
}

// managesApplications is what Manages says of remote application management.
const managesApplications = "RAM"

// A Level is a minimum security level, coded as the first byte of an SPI
// (TS 102 226, 8.2.1.3.2.4; TS 102 225, 5.1.1).
type Level byte

// The parts of a level.
const (
	levelCheck   Level = 0x03
	levelCC      Level = 0x02
	levelCipher  Level = 0x04
	levelCounter Level = 0x18
	levelHigher  Level = 0x10 // the counter is checked
	levelKnown   Level = 0x1F
)

// Words of documents for parts of a level, by their value.
var (
	levelChecks   = [...]string{"none", "rc", "cc"}
	levelCounters = [...]string{"none", "unchecked", "higher", "one-higher"}
)

// String is the level as documents write it.
func (l Level) String() string {
	if l&^levelKnown != 0 || int(l&levelCheck) >= len(levelChecks) {
		return fmt.Sprintf("%02X", byte(l))
	}
	return fmt.Sprintf("{check: %s, cipher: %t, counter: %s}", levelChecks[l&levelCheck], l&levelCipher != 0, levelCounters[l&levelCounter>>3])
}

// An AccessDomain is what a remote application may do with files (TS 102 226,
// 8.2.1.3.2.5). The zero value is nothing.
type AccessDomain struct {
	Full bool // all that is not never
	ADMs byte // or else what these codes open: bit 1 is ADM1, bit 5 ADM5
}

// String is the access domain as documents write it.
func (a AccessDomain) String() string {
	switch {
	case a.Full:
		return "full"
	case a.ADMs == 0:
		return "none"
	}
	return "[" + strings.Join(a.codes(), ", ") + "]"
}

func (a AccessDomain) codes() []string {
	var all []string
	for i := range adms {
		if a.ADMs>>i&1 == 1 {
			all = append(all, fmt.Sprintf("adm%d", i+1))
		}
	}
	return all
}

// adms is how many ADMs an access domain can name.
const adms = 5

// append appends the access domain as a card takes it.
func (a AccessDomain) append(dst []byte) []byte {
	switch {
	case a.Full:
		return append(dst, 0x00)
	case a.ADMs == 0:
		return append(dst, 0xFF)
	}
	return append(dst, 0x02, 0, a.ADMs, 0)
}

// tars is the TARs as documents write them.
func (x Remote) tars() string {
	var all []string
	for _, t := range x.TARs {
		all = append(all, fmt.Sprintf("%q", fmt.Sprintf("%06X", uint32(t))))
	}
	return strings.Join(all, ", ")
}

// text is the application as the document says it, but for its name.
func (x Remote) text() string {
	return fmt.Sprintf("tar: [%s], manages: %q, level: %s, access: %s", x.tars(), x.Manages, x.Level, x.Access)
}

// remotes reads the section remote.
func (r *reader) remotes(p *Profile, of entry) {
	for _, n := range r.items(of) {
		x := Remote{pos: at(n)}
		said := map[string]bool{}
		for _, e := range r.mapping(n, x.pos) {
			said[e.key] = true
			switch e.key {
			case "name":
				x.Name = r.text(e)
				r.plain(e.pos, x.Name)
			case "tar":
				for _, v := range r.items(e) {
					x.TARs = append(x.TARs, scp.TAR(r.hexNumber(entry{e.key, at(v), v}, 6)))
				}
			case "manages":
				x.Manages = r.line(e)
			case "level":
				x.Level = r.level(e)
			case "access":
				x.Access = r.accessDomain(e)
			default:
				r.unknown(e, "remote", "name", "tar", "manages", "level", "access")
			}
		}
		if len(x.TARs) == 0 || x.Name == "" || x.Manages == "" || !said["level"] || !said["access"] {
			r.errorf(x.pos, "remote: name, tar, manages, level and access are wanted")
		}
		if slices.ContainsFunc(p.Remote, func(o Remote) bool { return o.Name == x.Name }) {
			r.errorf(x.pos, "remote: the name %s stands here twice", x.Name)
		}
		p.Remote = append(p.Remote, x)
	}
}

// level reads a minimum security level: check, cipher and counter, or two
// hexadecimal digits.
func (r *reader) level(of entry) Level {
	if _, ok := scalar(of.value); ok {
		l := Level(r.hexNumber(of, 2))
		if l&^levelKnown != 0 || l&levelCheck == levelCheck {
			r.errorf(of.pos, "level %02X has reserved bits or asks for a digital signature, want check, cipher and counter", byte(l))
		}
		return l
	}
	var l Level
	word := func(e entry, shift int, words []string) {
		i := slices.Index(words, r.text(e))
		if i < 0 {
			r.errorf(e.pos, "level: %s is %q, want %s", e.key, r.text(e), strings.Join(words, ", "))
			return
		}
		l |= Level(i << shift)
	}
	fields := r.mapping(of.value, of.pos)
	for _, e := range fields {
		switch e.key {
		case "check":
			word(e, 0, levelChecks[:])
		case "counter":
			word(e, 3, levelCounters[:])
		case "cipher":
			if r.flag(e) {
				l |= levelCipher
			}
		default:
			r.unknown(e, of.key, "check", "cipher", "counter")
		}
	}
	if len(fields) != 3 {
		r.errorf(of.pos, "level: check, cipher and counter are wanted")
	}
	return l
}

// accessDomain reads full, none or a list of ADMs.
func (r *reader) accessDomain(e entry) (a AccessDomain) {
	if _, list := e.value.(*ast.SequenceNode); !list {
		switch text := r.text(e); text {
		case "full":
			a.Full = true
		case "none":
		default:
			r.errorf(e.pos, "access is %q, want full, none, or a list of adm1 to adm5", text)
		}
		return a
	}
	for _, s := range r.list(e) {
		var n int
		if _, err := fmt.Sscanf(s, "adm%d", &n); err != nil || n < 1 || n > adms || s != fmt.Sprintf("adm%d", n) || a.ADMs>>(n-1)&1 == 1 {
			r.errorf(e.pos, "access: %q, want adm1 to adm5, each once", s)
			continue
		}
		a.ADMs |= 1 << (n - 1)
	}
	if a.ADMs == 0 {
		r.errorf(e.pos, "access: the list is empty, want none for no access")
	}
	return a
}

// managed gives remote applications that name an ADF by its AID its name.
func (p *Profile) managed() {
	for i := range p.Remote {
		for _, f := range p.MF.Files {
			if f.Kind == uicc.KindADF && strings.EqualFold(p.Remote[i].Manages, fmt.Sprintf("%X", f.AID)) {
				p.Remote[i].Manages = f.Name
			}
		}
	}
}

// remote stores the remote applications of the directory d, which is current.
func (c *compiler) remote(d *File) {
	var data []byte
	for _, x := range c.p.Remote {
		if x.Manages != d.Name && !(d.Kind == uicc.KindMF && x.Manages == managesApplications) {
			continue
		}
		for _, t := range x.TARs {
			v := x.Access.append([]byte{byte(t >> 16), byte(t >> 8), byte(t), byte(x.Level)})
			if len(data)+3+len(v) > maxData {
				c.storeRemote(d, data)
				data = nil
			}
			data = append(append(data, 0xA0, 0x02, byte(len(v))), v...)
		}
	}
	if len(data) > 0 {
		c.storeRemote(d, data)
	}
}

func (c *compiler) storeRemote(d *File, data []byte) {
	c.command("STORE DATA remote management of "+d.Path(), uicc.Command{CLA: 0x80, INS: uicc.INSStoreData, P1: 0x80, Data: data})
}

func (d *differences) remote() {
	find := func(p *Profile, name string) string {
		for _, x := range p.Remote {
			if x.Name == name {
				return x.text()
			}
		}
		return ""
	}
	for _, x := range d.a.Remote {
		d.add("remote/"+x.Name, "", x.text(), find(d.b, x.Name))
	}
	for _, x := range d.b.Remote {
		if find(d.a, x.Name) == "" {
			d.add("remote/"+x.Name, "", "", x.text())
		}
	}
}
