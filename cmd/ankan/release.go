package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ankan/act"
	"ankan/client"
	"ankan/conformance"
	"ankan/profile"
	"ankan/release"
	"ankan/scp"
	"ankan/simos"
	"ankan/site"
)

type releaseCmd struct {
	List      releaseListCmd      `cmd:"" help:"List the operating systems of a plant, and in which profiles they may be loaded."`
	Show      releaseShowCmd      `cmd:"" help:"Show an operating system; with OPERATOR and PROFILE, where it stands in that profile."`
	Draft     releaseDraftCmd     `cmd:"" help:"Write an operating system down. The act release.register puts it into the register."`
	Integrate releaseIntegrateCmd `cmd:"" help:"Write down that it was integrated with an operator's profile. The act release.integrate puts that into the register."`
	Checklist releaseChecklistCmd `cmd:"" help:"Show the items of the security test, without a site."`
	Test      releaseTestCmd      `cmd:"" help:"Run the conformance suite on a blank sample chip, which is used up, and attach its report."`
	Find      releaseFindCmd      `cmd:"" help:"Write down what you found of an item of the security test."`
	Report    releaseReportCmd    `cmd:"" help:"Write the last report of the conformance suite to a file, as the site signed it."`
}

type releaseListCmd struct{ siteFlag }

func (l releaseListCmd) Run(a *app) error {
	c, err := l.client(a)
	if err != nil {
		return err
	}
	var all []release.View
	if err := c.Get(a.ctx, "/releases", &all); err != nil {
		return err
	}
	return a.print(l.JSON, all, func() {
		if len(all) == 0 {
			a.printf("no operating systems yet\n")
			a.next("ankan release draft FILE -c %s --person N --passkey FILE", short(l.Config))
			return
		}
		var rows [][]string
		for _, v := range all {
			if v.Draft {
				rows = append(rows, []string{v.Name, v.Vendor, v.Country, "written down", "", "", v.SHA256[:16]})
			} else if len(v.Integrations) == 0 {
				rows = append(rows, []string{v.Name, v.Vendor, v.Country, string(release.Registered), "", "", v.SHA256[:16]})
			}
			for _, i := range v.Integrations {
				rows = append(rows, []string{v.Name, v.Vendor, v.Country, string(i.State), i.Operator, i.Profile, v.SHA256[:16]})
			}
		}
		a.table([]string{"OS", "VENDOR", "FROM", "STATE", "OPERATOR", "PROFILE", "IMAGE"}, rows)
	})
}

// standingArgs name a release in an operator's profile.
type standingArgs struct {
	Name     string `arg:"" help:"Name and version of the operating system, as contracts and lots have it."`
	Operator string `arg:"" help:"The operator, as partners know it."`
	Profile  string `arg:"" help:"Name of the profile."`
}

func (s standingArgs) ref() string { return "release/" + s.Name + "/" + s.Operator + "/" + s.Profile }

func (s standingArgs) get(a *app, c *client.Client) (v release.Standing, err error) {
	return v, c.Get(a.ctx, "/releases/"+url.PathEscape(s.Name)+"/"+url.PathEscape(s.Operator)+"/"+url.PathEscape(s.Profile), &v)
}

type releaseShowCmd struct {
	siteFlag
	Name     string `arg:"" help:"Name and version of the operating system, as contracts and lots have it."`
	Operator string `arg:"" optional:"" help:"The operator, as partners know it."`
	Profile  string `arg:"" optional:"" help:"Name of the profile."`
}

func (s releaseShowCmd) Run(a *app) error {
	c, err := s.client(a)
	if err != nil {
		return err
	}
	if (s.Operator == "") != (s.Profile == "") {
		return errors.New("OPERATOR and PROFILE, or neither")
	}
	if s.Operator != "" {
		v, err := standingArgs{s.Name, s.Operator, s.Profile}.get(a, c)
		if err != nil {
			return err
		}
		return a.print(s.JSON, v, func() { showStanding(a, s.siteFlag, v) })
	}
	var v release.View
	if err := c.Get(a.ctx, "/releases/"+url.PathEscape(s.Name), &v); err != nil {
		return err
	}
	return a.print(s.JSON, v, func() {
		showRelease(a, v.Release)
		for _, i := range v.Integrations {
			a.printf("  %s, profile %s: %s, %s at %s\n", i.Operator, i.Profile, i.State, day(i.At), i.Place)
		}
		showHistory(a, v.History)
		if v.Draft {
			a.next("ankan act request release.register %s -c %s --person N --passkey FILE", quote("release/"+v.Name), short(s.Config))
		} else if len(v.Integrations) == 0 {
			a.next("ankan release integrate %s OPERATOR PROFILE -c %s --person N --passkey FILE", quote(v.Name), short(s.Config))
		}
	})
}

// quote is an argument as a shell takes it.
func quote(s string) string { return "'" + s + "'" }

func showRelease(a *app, r release.Release) {
	var makers []string
	for _, d := range r.Developers {
		makers = append(makers, d.String())
	}
	a.printf("operating system %s of %s\n", r.Name, r.Vendor)
	for _, f := range [][2]string{
		{"image", "SHA-256 " + r.SHA256}, {"signed by", hex.EncodeToString(r.OSMaker)}, {"algorithms", strings.Join(r.Algorithms, ", ")}, {"chips", strings.Join(r.Chips, ", ")},
		{"developed", r.Country + ", " + r.Environment}, {"process", r.Process}, {"developers", strings.Join(makers, ", ")}, {"registered", day(r.At)},
	} {
		if f[1] != "" {
			a.printf("  %-11s  %s\n", f[0], f[1])
		}
	}
}

func showHistory(a *app, all []release.Entry) {
	for _, e := range all {
		of := ""
		if e.Operator != "" {
			of = "  " + e.Operator + ", " + e.Profile
		}
		a.printf("  %s  entry %d  %s  %s%s%s\n", when(e.At), e.Entry, e.Actor, e.What, of, colon(e.Text))
	}
}

func showStanding(a *app, f siteFlag, v release.Standing) {
	showRelease(a, v.Release)
	a.printf("in profile %s of %s: %s\n", v.Profile, v.Operator, v.State)
	a.printf("  profile      SHA-256 %s\n", v.SHA256)
	a.printf("  integrated   at %s, %s, %s, by person %s\n", v.Site, v.Country, v.Place, strings.Join(v.People, ", "))
	found := map[string]release.Finding{}
	for _, x := range v.Findings {
		found[x.Item] = x
	}
	var rows [][]string
	open := 0
	for _, it := range release.Checklist() {
		x, ok := found[it.ID]
		if !ok {
			x.Result, open = "open", open+1
		}
		rows = append(rows, []string{it.ID, x.Result, x.Tester, it.Title, x.Reason})
	}
	a.table([]string{"ITEM", "RESULT", "TESTER", "WHAT", "REASON"}, rows)
	for _, r := range v.Reports {
		a.printf("  suite        chip %s: %d pass, %d fail, %d not run; report %s\n", r.Report.Chip, r.Report.Count(conformance.Pass), r.Report.Count(conformance.Fail), r.Report.Count(conformance.NotRun), r.SHA256)
		for _, x := range r.Report.Cases {
			if x.Result != conformance.Pass {
				a.printf("    %s: %s: %s\n", x.ID, x.Result, x.Seen)
			}
		}
	}
	for _, t := range v.Tests {
		a.printf("  tested       %s: %s, by person %s\n", day(t.At), t.Verdict, strings.Join(t.Testers, ", "))
	}
	for _, l := range v.Loads {
		a.printf("  loaded       %s: order %s\n", day(l.At), l.Order)
	}
	showHistory(a, v.History)
	of := quote(v.Ref())
	switch {
	case v.State == release.Integrated && len(v.Reports) == 0:
		a.next("ankan release test %s %s %s -c %s --drawer HOST:PORT --person N --passkey FILE", quote(v.Integration.Release), v.Operator, v.Profile, short(f.Config))
	case v.State == release.Integrated && open > 0:
		a.next("ankan release find %s %s %s ITEM RESULT -c %s --person N --passkey FILE", quote(v.Integration.Release), v.Operator, v.Profile, short(f.Config))
	case v.State == release.Integrated:
		a.next("ankan act request release.test %s -c %s --person N --passkey FILE", of, short(f.Config))
	case v.State == release.Tested && v.Tests[len(v.Tests)-1].Verdict == release.Pass:
		a.next("ankan act request release.approve %s -c %s --person N --passkey FILE", of, short(f.Config))
	case v.State == release.Approved:
		a.next("ankan act request release.withdraw %s -c %s --person N --passkey FILE, if it is to be loaded no more", quote(v.Ref()+"/REASON"), short(f.Config))
	}
}

// send has a person send what they sign, and reads the answer into v.
func send(a *app, c *client.Client, p client.Signer, path string, what, v any) error {
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return c.Ask(a.ctx, p, path, body, v)
}

type releaseDraftCmd struct {
	siteFlag
	signerFlag
	File string `arg:"" type:"existingfile" help:"The operating system as its vendor describes it (YAML). The image is a file beside it." complete:"files"`
}

func (d releaseDraftCmd) Run(a *app) error {
	c, p, err := d.as(a, d.signerFlag)
	if err != nil {
		return err
	}
	_, r, err := readDocument(d.File, func(doc []byte) (release.Release, error) {
		return release.ParseDraft(d.File, doc, func(name string) ([]byte, error) {
			return os.ReadFile(filepath.Join(filepath.Dir(d.File), filepath.Base(name)))
		})
	})
	if err != nil {
		return err
	}
	var v release.Release
	if err := send(a, c, p, "/drafts/releases", r, &v); err != nil {
		return err
	}
	return a.print(d.JSON, v, func() {
		showRelease(a, v)
		a.next("ankan act request release.register %s -c %s --person N --passkey FILE", quote("release/"+v.Name), short(d.Config))
	})
}

type releaseIntegrateCmd struct {
	siteFlag
	signerFlag
	Name     string   `arg:"" help:"Name and version of the operating system, as contracts and lots have it."`
	Operator string   `arg:"" help:"The operator, as partners know it."`
	Profile  string   `arg:"" help:"The operator's profile: file, or builtin:NAME." complete:"files"`
	Place    string   `required:"" placeholder:"TEXT" help:"Room or laboratory."`
	By       []string `required:"" placeholder:"N" help:"Who integrated it: person numbers."`
}

func (i releaseIntegrateCmd) Run(a *app) error {
	c, p, err := i.as(a, i.signerFlag)
	if err != nil {
		return err
	}
	pr, err := profileFlag{i.Profile}.load()
	if err != nil {
		return err
	}
	var v release.Integration
	plan := release.Plan{Release: i.Name, Operator: i.Operator, Profile: pr.String(), Place: i.Place, People: i.By}
	if err := send(a, c, p, "/drafts/integrations", plan, &v); err != nil {
		return err
	}
	return a.print(i.JSON, v, func() {
		a.printf("operating system %s in profile %s of %s, SHA-256 %s\n", v.Release, v.Profile, v.Operator, v.SHA256)
		a.next("ankan act request release.integrate %s -c %s --person N --passkey FILE", quote(v.Ref()), short(i.Config))
	})
}

type releaseChecklistCmd struct {
	JSON bool `help:"Print JSON."`
}

func (l releaseChecklistCmd) Run(a *app) error {
	all := release.Checklist()
	return a.print(l.JSON, all, func() {
		var rows [][]string
		for _, it := range all {
			rows = append(rows, []string{it.ID, it.Title, it.Clause, strings.Join(it.Cases, ", ")})
		}
		a.table([]string{"ITEM", "WHAT", "CLAUSE", "CASES OF THE SUITE"}, rows)
	})
}

type releaseFindCmd struct {
	siteFlag
	signerFlag
	standingArgs
	Item     string `arg:"" help:"Item of the checklist."`
	Result   string `arg:"" enum:"pass,fail,not-applicable" help:"pass, fail or not-applicable."`
	Reason   string `placeholder:"TEXT" help:"Why; a fail and what is not applicable need it."`
	Evidence string `placeholder:"FILE" type:"existingfile" help:"What shows it. Its SHA-256 is written down, and the file stays with you." complete:"files"`
}

func (f releaseFindCmd) Run(a *app) error {
	c, p, err := f.as(a, f.signerFlag)
	if err != nil {
		return err
	}
	x := release.Finding{Item: f.Item, Result: strings.ReplaceAll(f.Result, "-", " "), Reason: f.Reason}
	if f.Evidence != "" {
		doc, err := os.ReadFile(f.Evidence)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(doc)
		x.Evidence = hex.EncodeToString(sum[:])
	}
	if err := x.Check(); err != nil {
		return err
	}
	if err := send(a, c, p, "/drafts/findings", release.Found{Of: f.ref(), Findings: []release.Finding{x}}, nil); err != nil {
		return err
	}
	return a.print(f.JSON, x, func() { a.printf("item %s: %s%s\n", x.Item, x.Result, colon(x.Reason)) })
}

type releaseTestCmd struct {
	siteFlag
	signerFlag
	standingArgs
	Drawer string `required:"" placeholder:"HOST:PORT" help:"Where the drawer with the sample is served."`
	Chip   string `placeholder:"SERIAL" help:"Serial number of the sample, 16 hexadecimal digits. Default: the next fresh chip."`
	Keys   string `placeholder:"FILE" type:"existingfile" help:"The sample's SCP03 keys: ENC, MAC and DEK, a line of hexadecimal digits each. Default: 40 to 5F, the keys of samples." complete:"files"`
}

func (t releaseTestCmd) Run(a *app) error {
	c, p, err := t.as(a, t.signerFlag)
	if err != nil {
		return err
	}
	v, err := t.get(a, c)
	if err != nil {
		return err
	}
	if err := t.mayTest(a, c, v); err != nil {
		return err
	}
	keys, err := sampleKeys(t.Keys)
	if err != nil {
		return err
	}
	defer keys.Close()
	pr, err := profile.Parse(v.Profile, []byte(v.Document))
	if err != nil {
		return err
	}
	digest, err := hex.DecodeString(v.Release.SHA256)
	if err != nil || len(digest) != 32 {
		return fmt.Errorf("release %s: its image's digest is %q", t.Name, v.Release.SHA256)
	}
	slot, err := t.insert(a)
	if err != nil {
		return err
	}
	defer slot.Close()
	sample := conformance.Sample{Reader: slot, Keys: keys, Image: v.Release.Image, Digest: [32]byte(digest), Profile: pr, Now: time.Now}
	report, err := conformance.Run(a.ctx, sample, func(int) {})
	if err != nil {
		return err
	}
	var attached release.Attached
	if err := send(a, c, p, "/drafts/reports", release.Ran{Of: t.ref(), Report: report}, &attached); err != nil {
		return err
	}
	return a.print(t.JSON, attached, func() {
		var rows [][]string
		for _, x := range report.Cases {
			rows = append(rows, []string{x.ID, x.Result, x.Title, x.Seen})
		}
		a.table([]string{"CASE", "RESULT", "WHAT", "SEEN"}, rows)
		a.printf("%s pass, %d fail, %d were not run on chip %s; the report is attached: SHA-256 %s\n", count(report.Count(conformance.Pass), "case", "cases"),
			report.Count(conformance.Fail), report.Count(conformance.NotRun), report.Chip, attached.SHA256)
		a.next("ankan release show %s %s %s -c %s says which items of the checklist are open", quote(t.Name), t.Operator, t.Profile, short(t.Config))
	})
}

// mayTest asks whether the site would take the report, before a sample is used
// up for it.
func (t releaseTestCmd) mayTest(a *app, c *client.Client, v release.Standing) error {
	var policy act.Policy
	var people []act.Person
	if err := errors.Join(c.Get(a.ctx, "/policy", &policy), c.Get(a.ctx, "/people", &people)); err != nil {
		return err
	}
	i := slices.IndexFunc(people, func(p act.Person) bool { return p.ID == t.Person })
	if i < 0 {
		return fmt.Errorf("person %s is not in the site's register", t.Person)
	}
	if !policy.May(people[i], "releases.test") {
		return fmt.Errorf("the permission releases.test is not one of person %s, who is %s", t.Person, strings.Join(people[i].Roles, ", "))
	}
	return v.MayTest(people[i])
}

// insert puts the sample into a slot of the drawer.
func (t releaseTestCmd) insert(a *app) (*simos.Reader, error) {
	slot, err := simos.Dial(a.ctx, "tcp", t.Drawer)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("no drawer is served at %s; run: ankan chips DIR --listen %[1]s", t.Drawer)
	}
	if err != nil {
		return nil, err
	}
	if t.Chip == "" {
		_, err = slot.Take(a.ctx)
	} else {
		var serial simos.Serial
		if serial, err = simos.ParseSerial(t.Chip); err == nil {
			err = slot.Insert(a.ctx, serial)
		}
	}
	if err != nil {
		slot.Close()
		return nil, err
	}
	return slot, nil
}

// sampleKeys reads a sample's keys; without a file they are those that samples
// are delivered with.
func sampleKeys(file string) (scp.KeySet, error) {
	if file == "" {
		return conformance.SampleKeys()
	}
	doc, err := os.ReadFile(file)
	if err != nil {
		return scp.KeySet{}, err
	}
	defer clear(doc)
	lines := strings.Fields(string(doc))
	if len(lines) != 3 {
		return scp.KeySet{}, fmt.Errorf("%s: %s, want three keys: ENC, MAC and DEK", short(file), count(len(lines), "key", "keys"))
	}
	var keys [3][]byte
	for i, l := range lines {
		if keys[i], err = hex.DecodeString(l); err != nil {
			return scp.KeySet{}, errors.New(short(file) + ": key " + strconv.Itoa(i+1) + " is not hexadecimal digits")
		}
		defer clear(keys[i])
	}
	return scp.NewKeySet(keys[0], keys[1], keys[2])
}

type releaseReportCmd struct {
	siteFlag
	standingArgs
	Out string `required:"" placeholder:"FILE" type:"path" help:"New file; ankan-verify document checks it." complete:"files"`
}

func (r releaseReportCmd) Run(a *app) error {
	c, err := r.client(a)
	if err != nil {
		return err
	}
	v, err := r.get(a, c)
	if err != nil {
		return err
	}
	if len(v.Reports) == 0 {
		return fmt.Errorf("%s has no report of the conformance suite yet; run: ankan release test", r.ref())
	}
	var doc release.SignedReport
	if err := c.Get(a.ctx, "/reports/"+v.Reports[len(v.Reports)-1].SHA256, &doc); err != nil {
		return err
	}
	if err := site.WriteNew(r.Out, doc.Document, 0o644); errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already; a report is never overwritten", short(r.Out))
	} else if err != nil {
		return err
	}
	return a.print(r.JSON, map[string]string{"written": r.Out}, func() {
		a.printf("%s holds the report as the site signed it\n", short(r.Out))
		a.next("ankan-verify document %s --key FILE, with the key that stands as site in the site's card for partners", short(r.Out))
	})
}
