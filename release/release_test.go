package release_test

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"ankan/act"
	"ankan/audit"
	"ankan/conformance"
	"ankan/keys/keystest"
	"ankan/profile"
	"ankan/release"
	"ankan/simos"
	"ankan/store"
)

// The people of the plant.
const (
	developer = keystest.Custodian3
	tester    = keystest.Witness2
	officer   = keystest.Officer
	lead      = keystest.Custodian2
	admin     = keystest.HSMAdmin
)

const (
	name = "ankan-reference 1.0"
	ref  = "release/" + name + "/op/in-5g-usim"
)

// A plant is a site with a register of releases.
type plant struct {
	*keystest.Site
	*release.Register
	image   simos.Image
	key     ed25519.PrivateKey
	profile *profile.Profile
}

func newPlant(t testing.TB) *plant {
	t.Helper()
	p := &plant{key: ed25519.NewKeyFromSeed(make([]byte, 32)), image: simos.Image{Name: "ankan-reference", Version: "1.0", Algorithms: []string{"MILENAGE"}, Body: []byte("code")}}
	var err error
	if p.profile, err = profile.Builtin("in-5g-usim"); err != nil {
		t.Fatal(err)
	}
	p.Site = keystest.New(t, "plant", keystest.Options{
		Change: func(_ *act.Policy, people []act.Person) {
			for i, who := range people {
				if role := map[string]string{developer: "developer", tester: "security-tester", lead: "shift-lead", admin: "system-administrator"}[who.ID]; role != "" {
					people[i].Roles = []string{role}
				}
			}
		},
		Schemas: []store.Schema{release.Schema()},
		Opened: func(s *keystest.Site) {
			p.Register = p.at(s, "IN")
			for kind, d := range p.Register.Deeds() {
				s.Deeds[kind] = d
			}
		},
	})
	return p
}

func (p *plant) at(s *keystest.Site, country string) *release.Register {
	return release.New(release.Config{Site: s.ID, Country: country, Store: s.Store, People: s.People, Sign: func(ctx context.Context, kind string, payload []byte) ([]byte, error) {
		signer, err := s.Guard.Signer(ctx, keystest.SiteKey)
		if err != nil {
			return nil, err
		}
		return audit.SignDocument(kind, payload, "plant.example", signer)
	}})
}

func (p *plant) signed(image simos.Image) []byte {
	p.Helper()
	b, err := image.Sign(p.key)
	p.Must(err)
	return b
}

func (p *plant) draft() release.Release {
	return release.Release{Vendor: "Reference Cards", Country: "IN", Environment: "room 12, Pune", Process: "SDP-7", Chips: []string{"software chip"},
		Developers: []release.Developer{{Person: developer}, {Name: "A. Writer"}}, Image: p.signed(p.image), OSMaker: p.key.Public().(ed25519.PublicKey)}
}

func (p *plant) plan() release.Plan {
	return release.Plan{Release: name, Operator: "op", Profile: p.profile.String(), Place: "laboratory 3", People: []string{admin}}
}

func (p *plant) register() {
	p.Helper()
	_, err := p.Put(p.Context(), developer, p.draft())
	p.Must(err)
	p.Must(p.Do("release.register", "release/"+name, developer, officer))
}

func (p *plant) integrate() {
	p.Helper()
	_, err := p.PutPlan(p.Context(), admin, p.plan())
	p.Must(err)
	p.Must(p.Do("release.integrate", ref, admin))
}

func (p *plant) person(id string) act.Person {
	p.Helper()
	m, err := p.Site.People.Member(p.Context(), id)
	p.Must(err)
	return m.Person
}

// report is what the suite says of a sample that fails these cases.
func (p *plant) report(fails ...string) conformance.Report {
	digest, err := p.image.Digest()
	p.Must(err)
	r := conformance.Report{Format: conformance.Format, OS: hex.EncodeToString(digest[:]), Profile: fmt.Sprintf("%x", p.profile.Digest()), Chip: "0102030405060708", ATR: "3B00", Started: p.Now(), Ended: p.Now()}
	for _, c := range conformance.Cases() {
		c.Result = conformance.Pass
		if slices.Contains(fails, c.ID) {
			c.Result, c.Seen = conformance.Fail, "it fails"
		}
		r.Cases = append(r.Cases, c)
	}
	return r
}

// rest is good findings for all that the suite does not show.
func rest() []release.Finding {
	var all []release.Finding
	for _, it := range release.Checklist() {
		if len(it.Cases) == 0 {
			all = append(all, release.Finding{Item: it.ID, Result: release.Pass, Evidence: strings.Repeat("ab", 32)})
		}
	}
	all[0] = release.Finding{Item: all[0].Item, Result: release.NotApplicable, Reason: "it is software"}
	return all
}

func (p *plant) test(fails ...string) {
	p.Helper()
	_, err := p.Attach(p.Context(), p.person(tester), ref, p.report(fails...))
	p.Must(err)
	_, err = p.Find(p.Context(), p.person(tester), ref, rest())
	p.Must(err)
	p.Must(p.Do("release.test", ref, tester))
}

func (p *plant) approve() {
	p.Helper()
	p.Must(p.Do("release.approve", ref, tester, officer, lead))
}

func (p *plant) standing() release.Standing {
	p.Helper()
	v, err := p.Standing(p.Context(), name, "op", "in-5g-usim")
	p.Must(err)
	return v
}

func (p *plant) load() release.Load {
	return release.Load{Order: "op-1", OS: name, Profile: p.profile.Digest(), Image: p.signed(p.image), Chip: "software chip"}
}

func (p *plant) offered() {
	p.Change(func(tx *store.Tx) error { return release.Offered(tx, "op-1", "op") })
}

// A release goes from its draft to the line, and back out of it.
func TestLife(t *testing.T) {
	p := newPlant(t)
	p.register()
	p.integrate()
	p.test()
	if v := p.standing(); v.State != release.Tested || len(v.Findings) != len(release.Checklist()) || len(v.Tests) != 1 || v.Tests[0].Verdict != release.Pass || v.Tests[0].Testers[0] != tester {
		t.Errorf("%+v", v)
	}
	p.offered()
	p.Refused(release.Expect(t.Context(), p.Site.Store, "IN", "op", name), release.ErrNotApproved, "no profile of op has it approved")
	p.Refused(release.Check(t.Context(), p.Site.Store, "IN", p.load()), release.ErrNotApproved, "it is tested")
	p.approve()
	p.Must(release.Expect(t.Context(), p.Site.Store, "IN", "op", name))
	for range 2 { // the line begins again, and there is one entry
		p.Must(release.Check(t.Context(), p.Site.Store, "IN", p.load()))
	}
	v := p.standing()
	if len(v.Loads) != 1 || v.Loads[0].Order != "op-1" || v.Loads[0].Operator != "op" || v.Loads[0].SHA256 != v.Release.SHA256 {
		t.Errorf("loads: %+v", v.Loads)
	}
	if e := p.Last("release.loaded", "order/op-1"); e.Data["approved_by"] != v.Act {
		t.Errorf("the entry says %v, the approval is %s", e.Data["approved_by"], v.Act)
	}

	signed, err := p.Signed(t.Context(), v.Reports[0].SHA256)
	p.Must(err)
	k, err := p.Guard.Key(t.Context(), keystest.SiteKey)
	p.Must(err)
	d, err := audit.OpenDocument(signed, release.ReportType, k.Public)
	p.Must(err)
	var rep conformance.Report
	if err := json.Unmarshal(d.Payload, &rep); err != nil || rep.Check() != nil {
		t.Errorf("the signed report: %v, %v", err, rep.Check())
	}

	p.Must(p.Do("release.withdraw", "release/"+name+"/*/*/its random source is weak", officer))
	p.Refused(release.Check(t.Context(), p.Site.Store, "IN", p.load()), release.ErrNotApproved, "it is withdrawn")
	p.Refused(p.Do("release.withdraw", ref+"/again", officer), act.ErrNotAllowed, "nothing to withdraw")
	p.Refused(p.Do("release.approve", ref, tester, officer, lead), act.ErrNotAllowed, "it is withdrawn")
	p.integrate() // a new start, beside what was
	v = p.standing()
	if v.State != release.Integrated || len(v.Before) != 1 || v.Before[0].State != release.Withdrawn || len(v.Findings) != 0 {
		t.Errorf("after a new integration: %+v", v)
	}
	var what []string
	for _, e := range v.History {
		what = append(what, e.What)
	}
	if got := strings.Join(what, " "); got != "release.register release.integrate release.reported release.findings release.test release.approve release.loaded release.withdraw release.integrate" {
		t.Errorf("history: %s", got)
	}
	if b := p.Verify(); b.Used < 6 {
		t.Errorf("%d warrants were used", b.Used)
	}
	all, err := p.List(t.Context())
	if err != nil || len(all) != 1 || all[0].State() != release.Integrated || len(all[0].Image) != 0 {
		t.Errorf("the list: %v, %v", all, err)
	}
}

// Who developed it neither tests nor approves it, whatever the number.
func TestDevelopersApart(t *testing.T) {
	p := newPlant(t)
	d := p.draft()
	d.Developers = []release.Developer{{Person: tester}, {Name: "person " + lead}}
	_, err := p.Put(t.Context(), admin, d)
	p.Must(err)
	p.Must(p.Do("release.register", "release/"+name, admin, officer))
	p.integrate()
	_, err = p.Find(t.Context(), p.person(tester), ref, rest())
	p.Refused(err, act.ErrNotAllowed, "developed it and cannot test it", "SOP 6.2")
	_, err = p.Attach(t.Context(), p.person(tester), ref, p.report())
	p.Refused(err, act.ErrNotAllowed, "developed it")
	// Another tester's findings are taken, but the developer closes no test.
	other := p.person(admin)
	_, err = p.Attach(t.Context(), other, ref, p.report())
	p.Must(err)
	_, err = p.Find(t.Context(), other, ref, rest())
	p.Must(err)
	p.Refused(p.Do("release.test", ref, tester), act.ErrNotAllowed, "developed it and cannot test it")
}

// A developer whom the release names as one of the vendor's people is known by
// the name, and approves nothing.
func TestDeveloperByName(t *testing.T) {
	p := newPlant(t)
	d := p.draft()
	d.Developers = []release.Developer{{Name: p.person(lead).Name}}
	_, err := p.Put(t.Context(), developer, d)
	p.Must(err)
	p.Must(p.Do("release.register", "release/"+name, developer, officer))
	p.integrate()
	p.test()
	p.Refused(p.Do("release.approve", ref, tester, officer, lead), act.ErrNotAllowed, "person "+lead)
}

func TestFailedTest(t *testing.T) {
	p := newPlant(t)
	p.register()
	p.integrate()
	p.test("pin-count")
	if v := p.standing(); v.State != release.Tested || v.Tests[0].Verdict != release.Fail {
		t.Errorf("%+v", v.Tests)
	}
	p.Refused(p.Do("release.approve", ref, tester, officer, lead), act.ErrNotAllowed, "its security test failed in 1 items")
	p.test() // of a sample that passes
	// A finding after the test is not covered by it.
	_, err := p.Find(t.Context(), p.person(tester), ref, []release.Finding{{Item: "made-2", Result: release.Fail, Reason: "a weakness became known", Evidence: strings.Repeat("cd", 32)}})
	p.Must(err)
	p.Refused(p.Do("release.approve", ref, tester, officer, lead), act.ErrNotAllowed, "findings newer than the test")
}

func TestTestRefuses(t *testing.T) {
	p := newPlant(t)
	p.Refused(p.Do("release.test", ref, tester), release.ErrNone)
	p.register()
	p.Refused(p.Do("release.test", ref, tester), release.ErrNone, "integrate it")
	p.integrate()
	p.Refused(p.Do("release.test", ref, tester), act.ErrNotAllowed, "no report of the conformance suite")
	p.Refused(p.Do("release.approve", ref, tester, officer, lead), act.ErrNotAllowed, "it is integrated")
	_, err := p.Attach(t.Context(), p.person(tester), ref, p.report())
	p.Must(err)
	p.Refused(p.Do("release.test", ref, tester), act.ErrNotAllowed, "items of the checklist are open: os-4, ")
	for want, change := range map[string]func(*conformance.Report){
		"the report is about image":   func(r *conformance.Report) { r.OS = strings.Repeat("00", 32) },
		"the report is about profile": func(r *conformance.Report) { r.Profile = strings.Repeat("00", 32) },
		"report: format":              func(r *conformance.Report) { r.Format = "" },
	} {
		r := p.report()
		change(&r)
		_, err := p.Attach(t.Context(), p.person(tester), ref, r)
		p.Refused(err, nil, want)
	}
	good := release.Finding{Item: "made-1", Result: release.Pass, Evidence: strings.Repeat("ab", 32)}
	for want, change := range map[string]func(*release.Finding){
		"not on the checklist": func(f *release.Finding) { f.Item = "x-1" },
		"the result is":        func(f *release.Finding) { f.Result = "good" },
		"the reason is":        func(f *release.Finding) { f.Result = release.Fail },
		"reason is":            func(f *release.Finding) { f.Result, f.Evidence = release.NotApplicable, "" },
		"the evidence is":      func(f *release.Finding) { f.Evidence = "abc" },
	} {
		f := good
		change(&f)
		_, err := p.Find(t.Context(), p.person(tester), ref, []release.Finding{f})
		p.Refused(err, nil, want)
	}
	_, err = p.Find(t.Context(), p.person(tester), ref, nil)
	p.Refused(err, nil, "no findings")
	p.test()
	p.approve()
	_, err = p.Find(t.Context(), p.person(tester), ref, []release.Finding{good})
	p.Refused(err, act.ErrNotAllowed, "a test comes before the approval")
}

func TestRegisterRefuses(t *testing.T) {
	p := newPlant(t)
	p.Refused(p.Do("release.register", "release/"+name, developer, officer), act.ErrNotAllowed, "nothing was written down")
	for want, change := range map[string]func(*release.Release){
		"vendor is":            func(r *release.Release) { r.Vendor = "" },
		"country is":           func(r *release.Release) { r.Country = "India" },
		"os_maker has":         func(r *release.Release) { r.OSMaker = nil },
		"signature":            func(r *release.Release) { r.OSMaker = make([]byte, 32) },
		"wrong OS image":       func(r *release.Release) { r.Image = nil },
		"names 0 chips":        func(r *release.Release) { r.Chips = nil },
		"is there twice":       func(r *release.Release) { r.Chips = append(r.Chips, r.Chips...) },
		"names 0 developers":   func(r *release.Release) { r.Developers = nil },
		"one of the two":       func(r *release.Release) { r.Developers = []release.Developer{{}} },
		"A. Writer is there":   func(r *release.Release) { r.Developers = append(r.Developers, r.Developers...)[1:] },
		"person":               func(r *release.Release) { r.Developers = []release.Developer{{Person: "9999"}} },
		"a name without /":     func(r *release.Release) { r.Image = p.signed(simos.Image{Name: "a/b", Version: "1"}) },
		"no space at the ends": func(r *release.Release) { r.Process = " x" },
	} {
		d := p.draft()
		change(&d)
		_, err := p.Put(t.Context(), developer, d)
		p.Refused(err, nil, want)
	}
	p.register()
	_, err := p.Put(t.Context(), developer, p.draft())
	p.Refused(err, act.ErrNotAllowed, "another image is another version")
}

func TestIntegrateRefuses(t *testing.T) {
	p := newPlant(t)
	_, err := p.PutPlan(t.Context(), admin, p.plan())
	p.Refused(err, release.ErrNone, "register it")
	p.image.Algorithms = []string{"TUAK"}
	p.register()
	_, err = p.PutPlan(t.Context(), admin, p.plan())
	p.Refused(err, act.ErrNotAllowed, "the profile asks for MILENAGE, the release has TUAK")

	p = newPlant(t)
	p.register()
	_, err = p.at(p.Site, "DE").PutPlan(t.Context(), admin, p.plan())
	p.Refused(err, release.ErrNotApproved, `the site is in "DE"`, "SOP 5.i")
	for want, change := range map[string]func(*release.Plan){
		"operator is":            func(r *release.Plan) { r.Operator = "" },
		"a name without /":       func(r *release.Plan) { r.Operator = "a/b" },
		"place is":               func(r *release.Plan) { r.Place = "" },
		"0 people integrated it": func(r *release.Plan) { r.People = nil },
		"who integrated it":      func(r *release.Plan) { r.People = []string{"9999"} },
		"profile.yaml":           func(r *release.Plan) { r.Profile = "x" },
	} {
		d := p.plan()
		change(&d)
		_, err := p.PutPlan(t.Context(), admin, d)
		p.Refused(err, nil, want)
	}
	p.integrate()
	_, err = p.PutPlan(t.Context(), admin, p.plan())
	p.Refused(err, act.ErrNotAllowed, "it is integrated with this very profile")
}

func TestLoadRefuses(t *testing.T) {
	p := newPlant(t)
	p.Refused(release.Check(t.Context(), p.Site.Store, "IN", p.load()), release.ErrNotApproved, "it is not known whose it is")
	p.offered()
	p.Refused(release.Check(t.Context(), p.Site.Store, "IN", p.load()), release.ErrNotApproved, "it is not in the register")
	p.register()
	p.Refused(release.Check(t.Context(), p.Site.Store, "IN", p.load()), release.ErrNotApproved, "it was not integrated with profile")
	p.integrate()
	p.test()
	p.approve()
	for want, change := range map[string]func(*release.Load){
		"the chip is": func(l *release.Load) { l.Chip = "other" },
		"signature":   func(l *release.Load) { l.Image, _ = p.image.Sign(ed25519.NewKeyFromSeed(append(make([]byte, 31), 1))) },
		"the chips would get": func(l *release.Load) {
			l.Image = p.signed(simos.Image{Name: "ankan-reference", Version: "1.0", Body: []byte("other")})
		},
		"it was not integrated":  func(l *release.Load) { l.Profile[0] ^= 1 },
		"it is not in the regis": func(l *release.Load) { l.OS = "other 1" },
	} {
		l := p.load()
		change(&l)
		p.Refused(release.Check(t.Context(), p.Site.Store, "IN", l), release.ErrNotApproved, want)
	}
	p.Refused(release.Check(t.Context(), p.Site.Store, "DE", p.load()), release.ErrNotApproved, `the site is in "DE"`, "SOP 5.ii")
	p.Refused(release.Expect(t.Context(), p.Site.Store, "", "op", name), release.ErrNotApproved, "IN alone")
	p.Must(release.Check(t.Context(), p.Site.Store, "IN", p.load()))
}

func TestSubjects(t *testing.T) {
	p := newPlant(t)
	p.register()
	for kind, subjects := range map[string][]string{
		"release.register":  {"", "release", "release/", "release/a/b", "order/x"},
		"release.integrate": {"release/" + name, "release/" + name + "/op", ref + "/x", "release//op/p"},
		"release.approve":   {"release/" + name, ref + "/x"},
		"release.withdraw":  {"release/" + name, ref, ref + "/", ref + "/ x"},
	} {
		for _, s := range subjects {
			if m, err := p.Propose(kind, s); err == nil {
				t.Errorf("%s of %q: %v", kind, s, m)
			}
		}
	}
}

func TestChecklist(t *testing.T) {
	all := release.Checklist()
	shown := map[string]bool{}
	for _, it := range all {
		for _, c := range it.Cases {
			shown[c] = true
		}
	}
	for _, id := range conformance.IDs() {
		if !shown[id] {
			t.Errorf("no item needs case %s", id)
		}
	}
	if len(all) < 20 {
		t.Errorf("%d items", len(all))
	}
}

const draftText = `vendor: Reference Cards
country: IN
environment: room 12, Pune
process: SDP-7
developers: [person 1007, A. Writer]
chips: [software chip]
os_maker: %x
image: os.image
`

func TestParseDraft(t *testing.T) {
	p := newPlant(t)
	text := fmt.Sprintf(draftText, p.key.Public())
	open := func(n string) ([]byte, error) {
		if n != "os.image" {
			return nil, errors.New("no such file")
		}
		return p.signed(p.image), nil
	}
	r, err := release.ParseDraft("d", []byte(text), open)
	if err != nil || r.Name != name || r.Developers[0].Person != "1007" || r.Developers[1].Name != "A. Writer" || r.Algorithms[0] != "MILENAGE" {
		t.Fatalf("%+v, %v", r, err)
	}
	for old, new := range map[string]string{"vendor:": "seller:", "image: os.image": "image: other", "os_maker: ": "os_maker: zz"} {
		if _, err := release.ParseDraft("d", []byte(strings.Replace(text, old, new, 1)), open); err == nil {
			t.Errorf("%s: it is taken", new)
		}
	}
}

func FuzzParseDraft(f *testing.F) {
	p := &plant{key: ed25519.NewKeyFromSeed(make([]byte, 32)), image: simos.Image{Name: "ankan-reference", Version: "1.0", Algorithms: []string{"MILENAGE"}, Body: []byte("code")}}
	image, err := p.image.Sign(p.key)
	if err != nil {
		f.Fatal(err)
	}
	good := fmt.Sprintf(draftText, p.key.Public())
	f.Add([]byte(good))
	f.Add([]byte(fmt.Sprintf(draftText, make([]byte, 32))))
	f.Add([]byte(strings.Replace(good, "chips: [software chip]", "chips: [a, a, \"\\u202e\"]", 1)))
	f.Fuzz(func(t *testing.T, doc []byte) {
		r, err := release.ParseDraft("d", doc, func(string) ([]byte, error) { return image, nil })
		if err != nil {
			return
		}
		var again release.Release
		sent, err := json.Marshal(r)
		if err == nil {
			err = audit.Strict(sent, &again)
		}
		if err != nil || !reflect.DeepEqual(r, again) || r.Name != name || len(r.Developers) == 0 || len(r.Chips) == 0 {
			t.Errorf("%q is taken as %+v and arrives as %+v, %v", doc, r, again, err)
		}
	})
}

// What a person found is taken only with all that it needs.
func FuzzFinding(f *testing.F) {
	f.Add([]byte(`{"item":"process-1","result":"pass","evidence":"` + strings.Repeat("0", 64) + `"}`))
	for _, i := range release.Checklist() {
		f.Add([]byte(`{"item":"` + i.ID + `","result":"not applicable","reason":"none"}`))
	}
	f.Add([]byte(`{"item":"x","result":"fail","reason":"\ud800","evidence":"0"}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var x release.Finding
		if audit.Strict(doc, &x) != nil || x.Check() != nil {
			return
		}
		if x.Result != release.Pass && x.Reason == "" || x.Result != release.NotApplicable && len(x.Evidence) != 64 || !utf8.ValidString(x.Reason) {
			t.Errorf("%q is taken", doc)
		}
	})
}
