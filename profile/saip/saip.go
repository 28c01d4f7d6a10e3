// Package saip reads profile packages in the interoperable format of the TCA
// (formerly SIMalliance), "eUICC Profile Package: Interoperable Format Technical
// Specification", 2.x and 3.x, and makes electrical profiles for removable cards
// of them.
//
// A package is a sequence of profile elements in DER. Import takes over the file
// system with its content and access rules, codes, the algorithm and the key sets;
// never a value of a key, a PIN or a PUK: those are drawn for each card. What a
// profile cannot say is named in NotTaken, and what it says in another way in
// Changed. A package that breaks the format is refused at its first fault, with
// the byte and the element.
package saip

import (
	"fmt"
	"slices"
	"strings"

	"ankan/profile"
	"ankan/uicc"
)

// Options are what a package does not say, or what shall differ from it. Empty
// ones are the package's or a default.
type Options struct {
	Name        string   // of the profile; from the package's type
	Version     string   // "1.0"
	Operator    string   // from EF.SPN, or the package's type
	FormFactors []string // 2FF, 3FF, 4FF
	Algorithm   string   // from akaParameter
}

// A Note is something that did not come over as it stands in the package.
type Note struct {
	Element int    // number of the profile element, from 1
	Name    string // its choice: usim, rfm ...
	What    string
	Why     string
}

// String is the note on one line.
func (n Note) String() string {
	return fmt.Sprintf("element %d (%s): %s: %s", n.Element, n.Name, n.What, n.Why)
}

// An Imported is a profile made of a package.
type Imported struct {
	Profile  *profile.Profile
	Format   string // version of the format: "2.3"
	Type     string // profileType, "" if not said
	Elements int
	NotTaken []Note
	Changed  []Note
}

// Import reads a package and makes a profile of it. Errors wrap ErrPackage, or
// profile.ErrDocument if the profile would be no profile; whether it keeps the
// rules of the standards is asked by profile.Check.
func Import(der []byte, o Options) (*Imported, error) {
	b := newBuilder()
	if err := b.read(der); err != nil {
		return nil, err
	}
	if err := b.finish(); err != nil {
		return nil, err
	}
	doc, err := b.document(o)
	if err != nil {
		return nil, err
	}
	p, err := profile.Parse("import.yaml", doc)
	if err != nil {
		return nil, err
	}
	return &Imported{Profile: p, Format: b.format, Type: b.kind, Elements: b.elements, NotTaken: b.notTaken, Changed: b.changed}, nil
}

// choices are the alternatives of ProfileElement by their tag number.
var choices = [...]string{
	"header", "genericFileManagement", "pinCodes", "pukCodes", "akaParameter", "cdmaParameter", "securityDomain", "rfm",
	"application", "nonStandard", "end", "rfu1", "rfu2", "rfu3", "rfu4", "rfu5",
	"mf", "cd", "telecom", "usim", "opt-usim", "isim", "opt-isim", "phonebook", "gsm-access", "csim", "opt-csim", "eap",
	"df-5gs", "df-saip", "df-snpn", "df-5gprose", "iot", "opt-iot",
}

// choiceOf is the number of a context-specific constructed tag.
func choiceOf(t uicc.Tag) (int, bool) {
	switch {
	case t >= 0xA0 && t < 0xBF:
		return int(t & 0x1F), true
	case t >= 0xBF1F && t <= 0xBF7F:
		return int(t & 0x7F), true
	}
	return 0, false
}

// A builder makes the card that a package describes.
type builder struct {
	d decoder

	elements     int
	format, kind string
	iccid        []byte
	mf           *file
	total        int              // bytes of all files
	copies       int              // files of linked directories
	naa          map[string]*file // the last directory of each choice
	last         *file            // the last of usim, isim, csim: where DFs without a place of their own lie
	here         *file            // the directory that codes and algorithms are about
	codes        []code
	puks         []puk
	algorithm    string
	start        uint64 // highest sequence number
	scp03, scp80 keySet
	remotes      []remote
	loadFiles    []loadFile

	notTaken, changed []Note
}

func newBuilder() *builder { return &builder{naa: map[string]*file{}} }

func (b *builder) leave(what, why string, args ...any) {
	b.notTaken = append(b.notTaken, Note{b.d.element, b.d.name, what, fmt.Sprintf(why, args...)})
}

func (b *builder) change(what, why string, args ...any) {
	b.changed = append(b.changed, Note{b.d.element, b.d.name, what, fmt.Sprintf(why, args...)})
}

// read takes one element after the other, header first and end last.
func (b *builder) read(der []byte) error {
	d := &b.d
	switch {
	case len(der) == 0:
		d.fail(0, "nothing there")
	case len(der) > maxPackage:
		d.fail(maxPackage, "package has %d bytes, want at most %d", len(der), maxPackage)
	}
	ended := false
	for rest := der; len(rest) > 0 && d.err == nil; {
		at := len(der) - len(rest)
		d.element, d.name = d.element+1, ""
		var n node
		n, rest = d.next(rest, at)
		c, ok := choiceOf(n.tag)
		switch {
		case d.err != nil:
		case !ok:
			d.fail(at, "tag %X is no profile element", uint32(n.tag))
		case ended:
			d.fail(at, "element %X follows the end", uint32(n.tag))
		case (d.element == 1) != (c == 0):
			d.fail(at, "element %X: the header must be the first element and stand there once", uint32(n.tag))
		case c >= len(choices):
			d.name = fmt.Sprintf("choice %d", c)
			b.unknown(n)
		default:
			d.name = choices[c]
			ended = d.name == "end"
			b.element(n)
		}
	}
	b.elements = d.element
	if d.err == nil && !ended {
		d.fail(len(der), "the package has no end element")
	}
	return d.err
}

func (b *builder) element(n node) {
	d := &b.d
	switch d.name {
	case "header":
		b.header(n)
	case "genericFileManagement":
		b.management(n)
	case "pinCodes":
		b.pinCodes(n)
	case "pukCodes":
		b.pukCodes(n)
	case "akaParameter":
		b.akaParameter(n)
	case "cdmaParameter":
		f := d.fields(n, d.name, 0xA0, 0x81, 0x82, 0x83, 0x84, 0x85)
		b.head(f[0xA0])
		b.leave("CAVE authentication key and shared secrets", "Ankan's cards have no CDMA algorithm, and keys are not taken from packages")
	case "securityDomain":
		b.securityDomain(n)
	case "rfm":
		b.rfm(n)
	case "application":
		b.application(n)
	case "nonStandard":
		f := d.fields(n, d.name, 0xA0, 0x81, 0x82)
		b.head(f[0xA0])
		b.need(n, f, 0x81, "issuerID")
		b.leave(fmt.Sprintf("content of %d bytes of the issuer %s", len(f[0x82].value), d.oid(f[0x81])), "only its issuer knows what it says")
	case "end":
		b.head(d.fields(n, d.name, 0xA0)[0xA0])
	case "rfu1", "rfu2", "rfu3", "rfu4", "rfu5":
		d.fail(n.at, "is reserved and has no meaning")
	case "iot", "opt-iot":
		d.fail(n.at, "an IoT minimal profile leaves its file system to the eUICC; want a package that says its files")
	default:
		b.template(n)
	}
}

// unknown is an element of a later version of the format: left out if the package
// lets it be.
func (b *builder) unknown(n node) {
	c := b.d.children(n)
	if b.d.err != nil {
		return
	}
	if len(c) == 0 || c[0].tag != 0xA0 {
		b.d.fail(n.at, "is not known and has no header")
		return
	}
	if b.head(c[0]) {
		b.d.fail(n.at, "is not known, and the package says that it is mandatory")
		return
	}
	b.leave("the element", "it is of a later version of the format; the package does not call it mandatory")
}

// head reads a PEHeader and reports whether the element is mandated.
func (b *builder) head(n node) bool {
	if b.d.err == nil && n.tag == 0 {
		b.d.fail(n.at, "has no header")
	}
	f := b.d.fields(n, "header", 0x80, 0x81)
	b.need(n, f, 0x81, "identification")
	b.d.integer(f[0x81], "identification", 32767)
	b.d.octets(f[0x80], "mandated", 0, 0)
	_, mandated := f[0x80]
	return mandated
}

// need refuses an element without a component.
func (b *builder) need(n node, f map[uicc.Tag]node, tag uicc.Tag, what string) {
	if _, ok := f[tag]; !ok {
		b.d.fail(n.at, "%s is missing", what)
	}
}

var services = [...]string{
	"contactless", "usim", "isim", "csim", "milenage", "tuak128", "cave", "gba-usim", "gba-isim", "mbms", "eap", "javacard", "multos",
	"multiple-usim", "multiple-isim", "multiple-csim", "tuak256", "usim-test-algorithm", "ber-tlv", "dfLink", "cat-tp", "get-identity",
	"profile-a-x25519", "profile-b-p256", "suciCalculatorApi", "dns-resolution", "scp11ac", "scp11c-authorization-mechanism", "s16mode", "eaka",
}

func (b *builder) header(n node) {
	d := &b.d
	f := d.fields(n, "header", 0x80, 0x81, 0x82, 0x83, 0x84, 0xA5, 0xA6, 0x87, 0xA8, 0xA9)
	for tag, what := range map[uicc.Tag]string{0x80: "major-version", 0x81: "minor-version", 0x83: "iccid", 0xA5: "eUICC-Mandatory-services", 0xA6: "eUICC-Mandatory-GFSTEList"} {
		if _, ok := f[tag]; !ok && d.err == nil {
			d.fail(n.at, "%s is missing", what)
			return
		}
	}
	major, minor := d.integer(f[0x80], "major-version", 255), d.integer(f[0x81], "minor-version", 255)
	if d.err == nil && (major < 2 || major > 3) {
		d.fail(f[0x80].at, "format %d.%d, want 2.x or 3.x", major, minor)
	}
	b.format = fmt.Sprintf("%d.%d", major, minor)
	b.kind = printable(d.octets(f[0x82], "profileType", 0, 100))
	b.iccid = d.octets(f[0x83], "iccid", 10, 10)
	var asked []string
	for _, s := range d.children(f[0xA5]) {
		i := int(s.tag) - 0x80
		if i < 0 || i >= len(services) || len(s.value) > 0 {
			d.fail(s.at, "service %X is not known", uint32(s.tag))
			return
		}
		asked = append(asked, services[i])
	}
	for _, o := range d.list(f[0xA6], "eUICC-Mandatory-GFSTEList", 0x06) {
		d.oid(o)
	}
	if d.err != nil {
		return
	}
	if len(asked) > 0 {
		b.leave("eUICC-Mandatory-services "+strings.Join(asked, ", "), "is about eUICCs; what the card lacks shows in the other notes")
	}
	for _, x := range []struct {
		tag  uicc.Tag
		what string
		why  string
	}{
		{0x84, "pol", "policy rules are of remote profile management"},
		{0x87, "connectivityParameters", "are of remote profile management"},
		{0xA8, "eUICC-Mandatory-AIDs", "are applications that an eUICC brings; name them in the order for the card"},
		{0xA9, "iotOptions", "are of IoT minimal profiles"},
	} {
		if _, ok := f[x.tag]; ok {
			b.leave(x.what, "%s", x.why)
		}
	}
}

// printable is text without what could end a line.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || r == '\uFFFD' || r == '\u2028' || r == '\u2029' || r == '\u0085' {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(string(b), "_"))
}

// A file is one of the card's.
type file struct {
	name     string
	id       uicc.FileID
	kind     uicc.Kind
	aid      []byte
	sfi      byte
	arr      uicc.FileID // 0: by its place
	rule     int         // record of it
	size     int         // bytes of a file; 0: not said
	record   int         // bytes of a record
	count    int         // records; 0: not said
	filled   pattern
	link     []uicc.FileID // to the file that it is one with, nil: none
	target   *file         // that file
	like     *file         // of a file in a linked directory: the one whose access rules are its
	writes   []write
	at       int // where the next content goes
	body     []byte
	busy     bool // being settled
	settled  bool
	standard bool // its rule is the template's
	element  int
	choice   string
	offset   int // of its descriptor in the package
	parent   *file
	children []*file
}

// A write is content at a place.
type write struct {
	at   int
	data []byte
}

// path is the file's place in the tree.
func (f *file) path() string {
	if f.parent == nil {
		return f.name
	}
	return f.parent.path() + "/" + f.name
}

func (f *file) child(id uicc.FileID) *file {
	if i := slices.IndexFunc(f.children, func(c *file) bool { return c.id == id }); i >= 0 {
		return f.children[i]
	}
	return nil
}

// walk is f and all below it, parents first.
func (f *file) walk(yield func(*file)) {
	yield(f)
	for _, c := range f.children {
		c.walk(yield)
	}
}

// find follows identifiers down from the MF.
func (b *builder) find(path []uicc.FileID) *file {
	f := b.mf
	for _, id := range path {
		if f == nil {
			return nil
		}
		f = f.child(id)
	}
	return f
}
