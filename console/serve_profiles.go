package console

import (
	"fmt"
	"net/url"
	"strings"

	"ankan/profile"
	"ankan/scp"
	"ankan/uicc"
)

// builtinProfile stands before the name of a profile that comes with the
// program, as in a site's configuration.
const builtinProfile = "builtin:"

// profiles is what the site can make cards of, then what the program brings.
func (s *Server) profiles() ([]*profile.Profile, []ProfileLine, error) {
	all := s.site.Profiles()
	var lines []ProfileLine
	for _, p := range all {
		lines = append(lines, profileLine(p, p.Name, say("profiles.of-site")))
	}
	for _, name := range profile.Builtins() {
		p, err := profile.Builtin(name)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, p)
		lines = append(lines, profileLine(p, builtinProfile+name, say("profiles.of-program")))
	}
	return all, lines, nil
}

func profileLine(p *profile.Profile, reference string, source Text) ProfileLine {
	l := ProfileLine{Name: p.Name, Version: p.Version, Description: p.Description, Operator: p.Operator + ", " + p.PLMN.MCC() + " " + p.PLMN.MNC(),
		Href: "/profiles/" + url.PathEscape(reference), Findings: len(p.Check()), Source: source}
	for f := range p.All() {
		if !f.Kind.Dedicated() {
			l.Files++
		}
	}
	return l
}

// profileOf is the profile that a reference in an address names.
func (s *Server) profileOf(reference string) (*profile.Profile, ProfileLine, error) {
	all, lines, err := s.profiles()
	if err != nil {
		return nil, ProfileLine{}, err
	}
	for i, l := range lines {
		if l.Href == "/profiles/"+url.PathEscape(reference) {
			return all[i], l, nil
		}
	}
	return nil, ProfileLine{}, errGone
}

func (s *Server) getProfiles(v *visit) error {
	a, b := v.form("a"), v.form("b")
	if a != "" && b != "" {
		return v.redirect("/profiles/" + url.PathEscape(a) + "/" + url.PathEscape(b))
	}
	_, lines, err := s.profiles()
	if err != nil {
		return err
	}
	page := profilesPage{Profiles: lines, Form: Form{Action: "/profiles"}}
	for i, l := range lines {
		reference, err := url.PathUnescape(strings.TrimPrefix(l.Href, "/profiles/"))
		if err != nil {
			return err
		}
		o := Option{Value: reference, Label: plain(reference + " " + l.Version)}
		o.Selected = i == 0
		page.A = append(page.A, o)
		o.Selected = i == min(1, len(lines)-1)
		page.B = append(page.B, o)
	}
	s.render(v.w, v.r, 200, page)
	return nil
}

func (s *Server) getProfile(v *visit) error {
	p, line, err := s.profileOf(v.r.PathValue("a"))
	if err != nil {
		return err
	}
	page := profilePage{Profile: line, Digest: fmt.Sprintf("%x", p.Digest()), Facts: profileFacts(p), Root: profileTree(p, p.MF, 0)}
	for _, c := range p.Codes {
		page.Codes = append(page.Codes, ProfileCode{c.Name, fmt.Sprintf("%02X", c.Reference), c.Enabled, c.Digits, c.Tries, c.Unblock})
	}
	for _, r := range p.Rules {
		page.Rules = append(page.Rules, ProfileRule{r.Name, ruleLines(r.Allowed)})
	}
	for _, f := range p.Check() {
		page.Findings = append(page.Findings, ProfileFinding{fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column), f.Text, f.Clause})
	}
	for _, n := range profile.Norms() {
		page.Norms = append(page.Norms, ProfileNorm(n))
	}
	if script, err := profile.Compile(p); err == nil {
		page.Script = []Fact{
			{say("profile.steps"), plain(fmt.Sprint(len(script.Steps())))},
			{say("profile.wire"), say("profile.bytes", script.Wire(scp.Commands).Bytes())},
			{say("profile.record"), say("profile.bytes", p.Layout().Size)},
		}
		for _, u := range script.Unread() {
			page.Unread = append(page.Unread, ProfileUnread(u))
		}
	}
	s.render(v.w, v.r, 200, page)
	return nil
}

func profileFacts(p *profile.Profile) []Fact {
	facts := []Fact{
		{say("profile.operator"), plain(p.Operator)},
		{say("profile.network"), plain(p.PLMN.MCC() + " " + p.PLMN.MNC())},
		{say("profile.forms"), plain(strings.Join(p.FormFactors, ", "))},
		{say("profile.algorithm"), plain(p.Algorithm)},
		{plain("SCP03"), say("profile.keys", fmt.Sprintf("%02X", p.SCP03.Version), plain(fmt.Sprintf("AES-%d", p.SCP03.Bits)))},
	}
	if p.SCP80.Version != 0 {
		facts = append(facts, Fact{plain("SCP80"), say("profile.keys", fmt.Sprintf("%02X", p.SCP80.Version), plain(fmt.Sprintf("AES-%d", p.SCP80.Bits)))})
	}
	var remote, applications []string
	for _, x := range p.Remote {
		for _, t := range x.TARs {
			remote = append(remote, fmt.Sprintf("%06X %s", uint32(t), x.Manages))
		}
	}
	for _, x := range p.Applications {
		for _, i := range x.Instances {
			applications = append(applications, fmt.Sprintf("%X", i.AID))
		}
	}
	if len(remote) > 0 {
		facts = append(facts, Fact{say("profile.remote"), plain(strings.Join(remote, ", "))})
	}
	if len(applications) > 0 {
		facts = append(facts, Fact{say("profile.applications"), plain(strings.Join(applications, ", "))})
	}
	return facts
}

// ruleLines is a rule's lines as "read: PIN1".
func ruleLines(all []profile.Allowed) []string {
	var lines []string
	for _, a := range all {
		lines = append(lines, a.Operation+": "+a.Condition.String())
	}
	return lines
}

// profileTree is a file and what is in it. The MF and its applications are open.
func profileTree(p *profile.Profile, f *profile.File, depth int) ProfileFile {
	t := ProfileFile{Name: f.Name, ID: f.ID.String(), Kind: f.Kind.String(), Rule: f.Rule, Link: f.Link, Allowed: ruleLines(p.Access(f)), Directory: f.Kind.Dedicated(), Open: depth == 0}
	if f.AID != nil {
		t.AID = fmt.Sprintf("%X", f.AID)
	}
	if f.SFI != 0 {
		t.SFI = fmt.Sprintf("%02X", f.SFI)
	}
	if ef, ok := f.Standard(); ok {
		t.Clause, t.Service = ef.Clause, serviceOf(ef)
	}
	if t.Directory {
		for _, c := range f.Files {
			t.Files = append(t.Files, profileTree(p, c, depth+1))
		}
		return t
	}
	t.Length = fmt.Sprint(f.Size)
	t.Content = f.Content()
	if f.Kind.Records() {
		t.Length = fmt.Sprintf("%d × %d", f.Records, f.RecordSize)
		t.Unused = f.Records - len(t.Content)
	}
	return t
}

// serviceOf is which services have a file be there: "EF.UST 2, 89", or
// "EF.UST 73 + 71" if both are needed.
func serviceOf(ef uicc.EF) string {
	if len(ef.Services) == 0 {
		return ""
	}
	s := ef.ServiceTable() + " " + strings.ReplaceAll(strings.Trim(fmt.Sprint(ef.Services), "[]"), " ", ", ")
	for _, n := range ef.With {
		s += fmt.Sprintf(" + %d", n)
	}
	return s
}

func (s *Server) getProfileDiff(v *visit) error {
	a, first, err := s.profileOf(v.r.PathValue("a"))
	if err != nil {
		return err
	}
	b, second, err := s.profileOf(v.r.PathValue("b"))
	if err != nil {
		return err
	}
	page := profileDiffPage{A: first, B: second}
	for _, c := range profile.Diff(a, b) {
		state := "changed"
		switch {
		case c.Before == "":
			state = "added"
		case c.After == "":
			state = "removed"
		}
		page.Changes = append(page.Changes, ProfileChange{state, c.Path, c.What, c.Before, c.After})
	}
	s.render(v.w, v.r, 200, page)
	return nil
}
