package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"ankan/profile"
	"ankan/profile/saip"
	"ankan/scp"
	"ankan/site"
	"ankan/uicc"
)

type profileCmd struct {
	Check  profileCheckCmd  `cmd:"" help:"Check a profile by every rule."`
	Show   profileShowCmd   `cmd:"" help:"Show a profile, or one of its files in full."`
	Diff   profileDiffCmd   `cmd:"" help:"Show in what a profile differs from another."`
	Import profileImportCmd `cmd:"" help:"Make a profile of a TCA (SAIP) profile package."`
	Render profileRenderCmd `cmd:"" help:"Show the script that makes a card: steps, commands, bytes on the wire."`
	Export profileExportCmd `cmd:"" help:"Write the script for machines of others."`
}

type profileFlag struct {
	Profile string `arg:"" help:"File, or builtin:NAME." complete:"files"`
}

func (p profileFlag) load() (*profile.Profile, error) { return loadProfile(p.Profile) }

func loadProfile(name string) (*profile.Profile, error) { return site.ReadProfile(name) }

type profileCheckCmd struct {
	profileFlag
	JSON bool `help:"Print JSON."`
}

func (c profileCheckCmd) Run(a *app) error {
	p, err := c.load()
	if err != nil {
		return err
	}
	findings := p.Check()
	if err := a.print(c.JSON, findings, func() {
		for _, f := range findings {
			a.printf("%s\n", f)
		}
		for _, x := range p.Accepted {
			a.printf("accepted: %s of %s: %s\n", x.Check, x.File, x.Reason)
		}
		a.printf("%s %s: %s, digest %x\n", p.Name, p.Version, count(len(findings), "finding", "findings"), p.Digest())
	}); err != nil {
		return err
	}
	if len(findings) > 0 {
		return fmt.Errorf("%s has %s", c.Profile, count(len(findings), "finding", "findings"))
	}
	return nil
}

type profileShowCmd struct {
	profileFlag
	File string `arg:"" optional:"" help:"Path of a file: MF/ADF.USIM/EF.ECC. All of its content is shown."`
	JSON bool   `help:"Print JSON."`
}

// fileView is a file for people and programs.
type fileView struct {
	Path       string        `json:"path"`
	ID         string        `json:"id"`
	Kind       string        `json:"kind"`
	AID        string        `json:"aid,omitempty"`
	SFI        string        `json:"sfi,omitempty"`
	Access     string        `json:"access"`
	Link       string        `json:"link,omitempty"`
	Size       int           `json:"size,omitempty"`
	RecordSize int           `json:"record_size,omitempty"`
	Records    int           `json:"records,omitempty"`
	Contents   []contentView `json:"contents,omitempty"`
}

type contentView struct {
	Hex   string `json:"hex"`
	Value string `json:"value,omitempty"`
}

type profileView struct {
	Name         string            `json:"name"`
	Version      string            `json:"version"`
	Description  string            `json:"description"`
	Digest       string            `json:"digest"`
	Operator     string            `json:"operator"`
	PLMN         string            `json:"plmn"`
	FormFactors  []string          `json:"form_factors"`
	Algorithm    string            `json:"algorithm"`
	Slots        []string          `json:"slots"`
	Remote       []remoteView      `json:"remote,omitempty"`
	Applications []applicationView `json:"applications,omitempty"`
	Files        []fileView        `json:"files"`
}

// remoteView is a remote management application.
type remoteView struct {
	Name    string   `json:"name"`
	TARs    []string `json:"tars"`
	Manages string   `json:"manages"`
	Level   string   `json:"level"`
	Access  string   `json:"access"`
}

// applicationView is an instance, or with neither module nor instance a load file
// of which nothing is made.
type applicationView struct {
	LoadFile  string `json:"load_file"`
	SHA256    string `json:"sha256"`
	Module    string `json:"module,omitempty"`
	AID       string `json:"aid,omitempty"`
	LifeCycle string `json:"life_cycle,omitempty"`
}

func viewFile(f *profile.File) fileView {
	v := fileView{Path: f.Path(), ID: f.ID.String(), Kind: f.Kind.String(), Access: f.Rule, Link: f.Link, Size: f.Size, RecordSize: f.RecordSize, Records: f.Records}
	if f.AID != nil {
		v.AID = fmt.Sprintf("%X", f.AID)
	}
	if f.SFI != 0 {
		v.SFI = fmt.Sprintf("%02X", f.SFI)
	}
	for _, c := range f.Contents() {
		v.Contents = append(v.Contents, contentView{c.Hex, c.Text})
	}
	return v
}

func viewProfile(p *profile.Profile) profileView {
	v := profileView{Name: p.Name, Version: p.Version, Description: p.Description, Digest: fmt.Sprintf("%x", p.Digest()),
		Operator: p.Operator, PLMN: p.PLMN.String(), FormFactors: p.FormFactors, Algorithm: p.Algorithm}
	for _, s := range p.Slots() {
		v.Slots = append(v.Slots, s.Name)
	}
	for _, x := range p.Remote {
		r := remoteView{Name: x.Name, Manages: x.Manages, Level: fmt.Sprintf("%02X", byte(x.Level)), Access: x.Access.String()}
		for _, t := range x.TARs {
			r.TARs = append(r.TARs, fmt.Sprintf("%06X", uint32(t)))
		}
		v.Remote = append(v.Remote, r)
	}
	for _, x := range p.Applications {
		file := applicationView{LoadFile: fmt.Sprintf("%X", x.AID), SHA256: fmt.Sprintf("%x", sha256.Sum256(x.Code))}
		for _, i := range x.Instances {
			a := file
			a.Module, a.AID, a.LifeCycle = fmt.Sprintf("%X", i.Module), fmt.Sprintf("%X", i.AID), fmt.Sprintf("%02X", i.State)
			v.Applications = append(v.Applications, a)
		}
		if len(x.Instances) == 0 {
			v.Applications = append(v.Applications, file)
		}
	}
	for f := range p.All() {
		v.Files = append(v.Files, viewFile(f))
	}
	return v
}

func (c profileShowCmd) Run(a *app) error {
	p, err := c.load()
	if err != nil {
		return err
	}
	if c.File == "" {
		if c.JSON {
			return a.print(true, viewProfile(p), nil)
		}
		return p.Describe(a.out)
	}
	var found *profile.File
	for f := range p.All() {
		if strings.EqualFold(f.Path(), c.File) {
			found = f
		}
	}
	if found == nil {
		return fmt.Errorf("%s has no file %s; ankan profile show %s lists its files", c.Profile, c.File, short(c.Profile))
	}
	v := viewFile(found)
	return a.print(c.JSON, v, func() {
		link := ""
		if v.Link != "" {
			link = ", one with " + v.Link
		}
		a.printf("%s  %s, %s, access %s%s\n", v.Path, v.Kind, v.ID, v.Access, link)
		for i, x := range v.Contents {
			number := ""
			if len(v.Contents) > 1 || found.Kind == uicc.LinearFixed || found.Kind == uicc.Cyclic {
				number = fmt.Sprintf("%d  ", i+1)
			}
			a.printf("%s%s\n", number, x.Hex)
			if x.Value != "" {
				a.printf("%s%s\n", strings.Repeat(" ", len(number)), x.Value)
			}
		}
	})
}

type profileDiffCmd struct {
	A    string `arg:"" name:"a" help:"File, or builtin:NAME." complete:"files"`
	B    string `arg:"" name:"b" help:"File, or builtin:NAME." complete:"files"`
	JSON bool   `help:"Print JSON."`
}

func (c profileDiffCmd) Run(a *app) error {
	p, err := loadProfile(c.A)
	if err != nil {
		return err
	}
	q, err := loadProfile(c.B)
	if err != nil {
		return err
	}
	type changeView struct {
		Path   string `json:"path"`
		What   string `json:"what"`
		Before string `json:"before"`
		After  string `json:"after"`
	}
	all := profile.Diff(p, q)
	views := []changeView{}
	for _, x := range all {
		views = append(views, changeView(x))
	}
	return a.print(c.JSON, views, func() {
		path := ""
		for _, x := range all {
			if x.Path != path && x.What != "" {
				a.printf("%s\n", x.Path)
			}
			if path = x.Path; x.What != "" && x.Path != "" {
				x.Path = ""
				a.printf("  %s\n", x)
				continue
			}
			a.printf("%s\n", x)
		}
		a.printf("%s %s and %s %s: %s\n", p.Name, p.Version, q.Name, q.Version, count(len(all), "difference", "differences"))
	})
}

type profileImportCmd struct {
	Package        string   `arg:"" help:"Package in DER." complete:"files"`
	Out            string   `short:"o" placeholder:"FILE" help:"Write the profile here; the file must not exist. Without it nothing is written."`
	Name           string   `placeholder:"NAME" help:"Name of the profile; else from the package's type."`
	ProfileVersion string   `placeholder:"TEXT" help:"Version of the profile; else 1.0."`
	Operator       string   `placeholder:"NAME" help:"Name of the operator; else from EF.SPN."`
	Algorithm      string   `placeholder:"NAME" help:"Algorithm of the cards, if not the package's: a test package has XOR."`
	FormFactor     []string `placeholder:"2FF" help:"Form factors; else 2FF,3FF,4FF."`
	Accept         string   `placeholder:"REASON" help:"Accept, for this reason, what checks find about services, sizes, mandatory files and SUCI."`
	JSON           bool     `help:"Print JSON."`
}

type noteView struct {
	Element int    `json:"element"`
	Name    string `json:"name"`
	What    string `json:"what"`
	Why     string `json:"why"`
}

func viewNotes(all []saip.Note) []noteView {
	views := []noteView{}
	for _, n := range all {
		views = append(views, noteView(n))
	}
	return views
}

func (c profileImportCmd) Run(a *app) error {
	der, err := os.ReadFile(c.Package)
	if err != nil {
		return err
	}
	x, err := saip.Import(der, saip.Options{Name: c.Name, Version: c.ProfileVersion, Operator: c.Operator, Algorithm: c.Algorithm, FormFactors: c.FormFactor})
	if err != nil {
		return fmt.Errorf("%s: %w", c.Package, err)
	}
	p := x.Profile
	if c.Accept != "" {
		if p, err = p.Accept(c.Accept); err != nil {
			return err
		}
	}
	// Places are those of the document that is written.
	name := c.Out
	if name == "" {
		name = p.Name + ".yaml"
	}
	if p, err = profile.Parse(name, []byte(p.String())); err != nil {
		return err
	}
	if c.Out != "" {
		if err := createFile(c.Out, []byte(p.String())); err != nil {
			return err
		}
	}
	files := 0
	for range p.All() {
		files++
	}
	findings := p.Check()
	return a.print(c.JSON, map[string]any{
		"format": x.Format, "type": x.Type, "elements": x.Elements, "name": p.Name, "version": p.Version, "digest": fmt.Sprintf("%x", p.Digest()),
		"files": files, "not_taken": viewNotes(x.NotTaken), "changed": viewNotes(x.Changed), "findings": findings, "out": c.Out,
	}, func() {
		a.printf("package %s, %q: %s\n", x.Format, x.Type, count(x.Elements, "element", "elements"))
		a.printf("\nnot taken over:\n")
		for _, n := range x.NotTaken {
			a.printf("  %s\n", n)
		}
		a.printf("\ndifferent on the card:\n")
		for _, n := range x.Changed {
			a.printf("  %s\n", n)
		}
		if len(findings) > 0 {
			a.printf("\nfindings:\n")
		}
		for _, f := range findings {
			a.printf("  %s\n", f)
		}
		a.printf("\n%s %s: %s, %s, digest %x\n", p.Name, p.Version, count(files, "file", "files"), count(len(findings), "finding", "findings"), p.Digest())
		switch {
		case c.Out == "":
			a.next("ankan profile import %s -o %s", short(c.Package), short(name))
		case len(findings) > 0:
			a.next("edit %s, then: ankan profile check %[1]s", short(c.Out))
		default:
			a.next("ankan profile show %s", short(c.Out))
		}
	})
}

// createFile writes a file that must not be there yet.
func createFile(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists and is not written over; name another file", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

type profileRenderCmd struct {
	profileFlag
	Read bool `help:"Show the commands that read a card back, not those that write it."`
	Full bool `help:"Show commands in full length."`
	JSON bool `help:"Print JSON."`
}

type lineView struct {
	Name    string `json:"name"`
	Command string `json:"command"`
	Expect  string `json:"expect,omitempty"`
	SW      string `json:"sw"`
}

func viewLines(lines []profile.Line) []lineView {
	views := []lineView{}
	for _, l := range lines {
		views = append(views, lineView{l.Name, strings.Join(slices.DeleteFunc([]string{l.Header, l.Data, l.Le}, func(s string) bool { return s == "" }), " "), l.Expect, l.SW})
	}
	return views
}

func (c profileRenderCmd) Run(a *app) error {
	p, s, err := c.compile()
	if err != nil {
		return err
	}
	write, read, names := s.Lines()
	digest := s.Digest()
	inClear, secure := s.Wire(0).Bytes(), s.Wire(scp.Full).Bytes()
	type unreadView struct {
		File   string `json:"file"`
		Reason string `json:"reason"`
	}
	unread := []unreadView{}
	for _, u := range s.Unread() {
		unread = append(unread, unreadView(u))
	}
	variables := []map[string]any{}
	for _, n := range names {
		variables = append(variables, map[string]any{"name": n.Name, "bytes": n.Len, "text": n.Text})
	}
	return a.print(c.JSON, map[string]any{
		"profile": p.Name, "version": p.Version, "digest": fmt.Sprintf("%x", digest), "record_bytes": s.Layout().Size, "content_bytes": s.Content(),
		"wire_bytes": inClear, "wire_bytes_scp03": secure, "variables": variables, "write": viewLines(write), "read": viewLines(read), "unread": unread,
	}, func() {
		lines := write
		if c.Read {
			lines = read
		}
		var rows [][]string
		for i, l := range lines {
			text := l.String()
			if r := []rune(text); len(r) > 100 && !c.Full {
				text = string(r[:97]) + "..."
			}
			rows = append(rows, []string{fmt.Sprint(i + 1), l.Name, text})
		}
		a.table([]string{"STEP", "NAME", "COMMAND"}, rows)
		a.printf("\n%s %s: %s to write, %s to read back, %d bytes of content, %d on the wire, %d in SCP03, digest %x\n", p.Name, p.Version,
			count(len(write), "command", "commands"), count(len(read), "command", "commands"), s.Content(), inClear, secure, digest)
		for _, u := range unread {
			a.printf("not read back: %s: %s\n", u.File, u.Reason)
		}
	})
}

func (p profileFlag) compile() (*profile.Profile, *profile.Script, error) {
	q, err := p.load()
	if err != nil {
		return nil, nil, err
	}
	s, err := profile.Compile(q)
	return q, s, err
}

type profileExportCmd struct {
	profileFlag
	PCOM bool   `name:"pcom" required:"" help:"As PC/OM lines: command, (status word), %NAME for what differs from card to card."`
	Out  string `short:"o" placeholder:"FILE" help:"Write here; the file must not exist. Without it the script is printed."`
}

func (c profileExportCmd) Run(a *app) error {
	_, s, err := c.compile()
	if err != nil {
		return err
	}
	if c.Out == "" {
		return s.WritePCOM(a.out)
	}
	var b strings.Builder
	if err := s.WritePCOM(&b); err != nil {
		return err
	}
	return createFile(c.Out, []byte(b.String()))
}
