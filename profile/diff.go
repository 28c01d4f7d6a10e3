package profile

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ankan/uicc"
)

// A Change is one thing in which two profiles differ.
type Change struct {
	Path   string // of the file; rules/NAME, codes/NAME, keys/NAME, accept/CHECK, remote/NAME or applications/AID; empty for the profile as a whole
	What   string // operator, access, size, content, record 3 ...
	Before string // empty: it was not there
	After  string // empty: it is not there any more
}

// String is the change on one line: where, what, from what to what.
func (c Change) String() string {
	place := strings.TrimSpace(c.Path + " " + c.What)
	switch {
	case c.Before == "":
		return "+ " + place + ": " + c.After
	case c.After == "":
		return "- " + place + ": " + c.Before
	}
	return "~ " + place + ": " + c.Before + " -> " + c.After
}

// Diff is in what b differs from a: first the head, then rules, codes, keys, remote management
// and applications, then the files in the order of a, with those that only b has behind their
// directory's. Files are the same file if they have one identifier in one
// directory, applications if they have one AID, or else one name. The order in
// which rules stand is no difference. Nothing is secret in it: profiles hold no
// secrets.
func Diff(a, b *Profile) []Change {
	d := differences{a: a, b: b}
	d.head()
	d.rules()
	d.codes()
	d.add("keys/scp03", "", a.SCP03.text(), b.SCP03.text())
	d.add("keys/scp80", "", a.SCP80.text(), b.SCP80.text())
	d.accepted()
	d.remote()
	d.applications()
	d.file(a.MF, b.MF)
	return d.all
}

type differences struct {
	a, b *Profile
	all  []Change
}

func (d *differences) add(path, what, before, after string) {
	if before != after {
		d.all = append(d.all, Change{path, what, before, after})
	}
}

func (d *differences) head() {
	a, b := d.a, d.b
	d.add("", "name", a.Name, b.Name)
	d.add("", "version", a.Version, b.Version)
	d.add("", "description", a.Description, b.Description)
	d.add("", "operator", a.Operator, b.Operator)
	d.add("", "plmn", a.PLMN.String(), b.PLMN.String())
	d.add("", "form factors", strings.Join(a.FormFactors, ", "), strings.Join(b.FormFactors, ", "))
	d.add("", "algorithm", a.Algorithm, b.Algorithm)
	d.add("", "sqn start", strconv.FormatUint(a.SQN.Start, 10), strconv.FormatUint(b.SQN.Start, 10))
	d.add("", "sqn index bits", strconv.Itoa(a.SQN.INDBits), strconv.Itoa(b.SQN.INDBits))
}

func (d *differences) rules() {
	for _, r := range d.a.Rules {
		d.rule(&r, d.b.rule(r.Name))
	}
	for _, r := range d.b.Rules {
		if d.a.rule(r.Name) == nil {
			d.rule(nil, &r)
		}
	}
}

func (d *differences) rule(a, b *Rule) {
	path := "rules/" + cmp.Or(a, b).Name
	for _, o := range operations {
		d.add(path, o.name, a.text(o.name), b.text(o.name))
	}
}

// text is who may do the operation, as the document says it; empty if the rule
// does not name it.
func (r *Rule) text(operation string) string {
	if r != nil {
		for _, a := range r.Allowed {
			if a.Operation == operation {
				return a.text
			}
		}
	}
	return ""
}

func (d *differences) codes() {
	find := func(p *Profile, name string) string {
		for _, c := range p.Codes {
			if c.Name == name {
				return c.text()
			}
		}
		return ""
	}
	for _, c := range d.a.Codes {
		d.add("codes/"+c.Name, "", c.text(), find(d.b, c.Name))
	}
	for _, c := range d.b.Codes {
		if find(d.a, c.Name) == "" {
			d.add("codes/"+c.Name, "", "", c.text())
		}
	}
}

func (d *differences) accepted() {
	find := func(p *Profile, x Acceptance) string {
		for _, a := range p.Accepted {
			if a.Check == x.Check && a.File == x.File {
				return a.Reason
			}
		}
		return ""
	}
	for _, x := range d.a.Accepted {
		d.add("accept/"+x.Check, x.File, x.Reason, find(d.b, x))
	}
	for _, x := range d.b.Accepted {
		if find(d.a, x) == "" {
			d.add("accept/"+x.Check, x.File, "", x.Reason)
		}
	}
}

func (k KeySet) text() string {
	if k.Version == 0 {
		return ""
	}
	return fmt.Sprintf("version %02X, AES-%d", k.Version, k.Bits)
}

// file compares two files, of which one may be nil.
func (d *differences) file(a, b *File) {
	if a == nil && b == nil {
		return
	}
	if a == nil || b == nil {
		f := cmp.Or(a, b)
		f.walk(func(x *File) bool {
			text := x.outline()
			if b == nil {
				d.add(x.Path(), "", text, "")
			} else {
				d.add(x.Path(), "", "", text)
			}
			return true
		})
		return
	}
	path := a.Path()
	d.add(path, "name", a.Name, b.Name)
	d.add(path, "id", a.ID.String(), b.ID.String())
	d.add(path, "aid", fmt.Sprintf("%X", a.AID), fmt.Sprintf("%X", b.AID))
	d.add(path, "access", a.Rule, b.Rule)
	if !a.Kind.Dedicated() || !b.Kind.Dedicated() {
		d.add(path, "sfi", a.sfiText(), b.sfiText())
		d.add(path, "kind", a.Kind.String(), b.Kind.String())
		d.add(path, "link", a.Link, b.Link)
		if a.Link == "" || a.Link != b.Link { // or else the difference is the target's
			d.content(a, b)
		}
		return
	}
	for _, x := range a.Files {
		d.file(x, b.same(x))
	}
	for _, x := range b.Files {
		if a.same(x) == nil {
			d.file(nil, x)
		}
	}
}

// same is the file of directory d that is the same file as x of another one.
func (d *File) same(x *File) *File {
	is := func(f *File) bool { return f.ID == x.ID && f.Kind != uicc.KindADF && x.Kind != uicc.KindADF }
	if x.Kind == uicc.KindADF {
		is = func(f *File) bool { return string(f.AID) == string(x.AID) && f.Kind == uicc.KindADF }
	}
	if i := slices.IndexFunc(d.Files, is); i >= 0 {
		return d.Files[i]
	}
	if i := slices.IndexFunc(d.Files, func(f *File) bool { return f.Name == x.Name }); i >= 0 {
		return d.Files[i]
	}
	return nil
}

func (f *File) sfiText() string {
	if f.SFI == 0 {
		return "none"
	}
	return fmt.Sprintf("%02X", f.SFI)
}

// outline is what a file is, on one line.
func (f *File) outline() string {
	if f.Kind.Dedicated() {
		return fmt.Sprintf("%s %s, access %s", f.Kind, f.ID, f.Rule)
	}
	return fmt.Sprintf("%s %s, %s, access %s", f.Kind, f.ID, f.sizeText(), f.Rule)
}

func (f *File) sizeText() string {
	if f.Kind.Records() {
		return fmt.Sprintf("%d x %d bytes", f.Records, f.RecordSize)
	}
	return fmt.Sprintf("%d bytes", f.Size)
}

// content compares what is in two files; that of an EF.ARR follows from the
// rules.
func (d *differences) content(a, b *File) {
	if a.isARR && b.isARR {
		return
	}
	d.add(a.Path(), "size", a.sizeText(), b.sizeText())
	for i := range max(a.pieces(), b.pieces()) {
		what := "content"
		switch {
		case a.Kind == uicc.BERTLV:
			what = fmt.Sprintf("object %d", i+1)
		case a.Kind.Records():
			what = fmt.Sprintf("record %d", i+1)
		}
		before, after := a.raw(i), b.raw(i)
		if before == after {
			continue
		}
		// What the codec says of both may be the same: then the bytes tell.
		if x, y := a.text(i), b.text(i); x != y {
			before, after = x, y
		}
		d.add(a.Path(), what, before, after)
	}
}

// raw is a piece in hexadecimal digits with its slots; empty if there is none.
func (f *File) raw(i int) string {
	if i >= f.pieces() {
		return ""
	}
	if i < len(f.Body) {
		return f.slotted(i, len(f.Body[i]))
	}
	return fmt.Sprintf("%X", f.piece(i))
}
