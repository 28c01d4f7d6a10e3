package console

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"ankan/act"
	"ankan/conformance"
	"ankan/keys"
	"ankan/release"
	"ankan/site"
)

// releases is the register of a plant; errGone at any other site.
func (s *Server) releases() (*release.Register, error) {
	if !s.site.Config().Is(site.Plant) {
		return nil, errGone
	}
	return release.At(s.site), nil
}

func releaseHref(part ...string) string {
	for i := range part {
		part[i] = url.PathEscape(part[i])
	}
	return "/releases/" + strings.Join(part, "/")
}

// releaseState is a state of the register, or a result, as badges name it.
func releaseState[S ~string](s S) string { return strings.ReplaceAll(string(s), " ", "-") }

func (s *Server) integrationLine(v *visit, i release.Integration) IntegrationLine {
	l := IntegrationLine{Operator: i.Operator, Profile: i.Profile, Href: releaseHref(i.Release, i.Operator, i.Profile), State: releaseState(i.State), Place: i.Place, At: i.At}
	for _, id := range i.People {
		l.People = append(l.People, s.who(v.ctx(), id))
	}
	return l
}

func (s *Server) getReleases(v *visit) error {
	g, err := s.releases()
	if err != nil {
		return err
	}
	all, err := g.List(v.ctx())
	if err != nil {
		return err
	}
	var p releasesPage
	for _, r := range all {
		l := ReleaseLine{Name: r.Name, Href: releaseHref(r.Name), Vendor: r.Vendor, Country: r.Country, Image: r.SHA256, State: releaseState(r.State())}
		if r.Draft {
			l.State = "drafted"
		}
		for _, i := range r.Integrations {
			l.In = append(l.In, s.integrationLine(v, i))
		}
		p.Releases = append(p.Releases, l)
	}
	if v.may("releases.draft") {
		p.New = "/releases/new"
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

func releaseFacts(r release.Release) []Fact {
	var makers []string
	for _, d := range r.Developers {
		makers = append(makers, d.String())
	}
	return []Fact{
		{say("release.vendor"), plain(r.Vendor)}, {say("release.country"), plain(r.Country)}, {say("release.environment"), plain(r.Environment)}, {say("release.process"), plain(r.Process)},
		{say("release.developers"), plain(strings.Join(makers, ", "))}, {say("release.algorithms"), plain(strings.Join(r.Algorithms, ", "))}, {say("release.chips"), plain(strings.Join(r.Chips, ", "))},
		{say("release.image"), plain(inFours(r.SHA256))}, {say("release.maker"), plain(inFours(hex.EncodeToString(r.OSMaker)))},
	}
}

// inFours is digits as people compare them.
func inFours(digits string) string { return strings.Join(grouping(digits, 4), " ") }

// releaseLife is a history, newest first.
func (s *Server) releaseLife(v *visit, all []release.Entry) []Step {
	var life []Step
	for _, e := range slices.Backward(all) {
		text := e.Text
		if e.Operator != "" {
			text = e.Operator + ", " + e.Profile + ": " + text
		}
		step := s.happened(v, keys.Event{Entry: e.Entry, At: e.At, Actor: e.Actor, What: e.What})
		step.Text, step.Grave = say("did."+e.What), e.What == "release.withdraw"
		step.Note = plain(text)
		life = append(life, step)
	}
	return life
}

func (s *Server) getRelease(v *visit) error {
	g, err := s.releases()
	if err != nil {
		return err
	}
	r, err := g.Get(v.ctx(), v.r.PathValue("name"))
	if err != nil {
		return errOrGone(err, release.ErrNone)
	}
	p := releasePage{Name: r.Name, State: releaseState(r.State()), Facts: releaseFacts(r.Release), Life: s.releaseLife(v, r.History)}
	if r.Draft {
		p.State = "drafted"
		if v.asks("release.register") {
			p.Register = askFor("release.register", "release/"+r.Name)
		}
	} else if v.may("releases.draft") {
		p.Integrate = releaseHref(r.Name, "integrate")
	}
	for _, i := range r.Integrations {
		p.In = append(p.In, s.integrationLine(v, i))
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

// draftFields are what a form writes down, by the names of its fields.
var draftFields = []string{"vendor", "country", "environment", "process", "developers", "chips", "os_maker", "image", "operator", "profile", "place", "people"}

// draftForm is the form with what was typed, and what is wrong with it.
func draftForm(v *visit, action string, problem error) Form {
	f := Form{Action: action, Values: map[string]string{}}
	for _, name := range draftFields {
		f.Values[name] = v.form(name)
	}
	if problem != nil {
		t := plain(refusal(problem))
		f.Problem = &t
	}
	return f
}

// linesOf are the lines of a field that hold something.
func linesOf(s string) []string {
	var all []string
	for l := range strings.Lines(s) {
		if l = strings.TrimSpace(l); l != "" {
			all = append(all, l)
		}
	}
	return all
}

func (s *Server) getReleaseNew(v *visit) error {
	if _, err := s.releases(); err != nil {
		return err
	}
	s.render(v.w, v.r, 200, releaseNewPage{Form: draftForm(v, "/releases/new", nil)})
	return nil
}

func (s *Server) postReleaseNew(v *visit) error {
	g, err := s.releases()
	if err != nil {
		return err
	}
	r := release.Release{Vendor: v.form("vendor"), Country: v.form("country"), Environment: v.form("environment"), Process: v.form("process"), Chips: linesOf(v.form("chips"))}
	for _, d := range linesOf(v.form("developers")) {
		r.Developers = append(r.Developers, release.ParseDeveloper(d))
	}
	image, err1 := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(v.form("image")), ""))
	maker, err2 := hex.DecodeString(v.form("os_maker"))
	switch {
	case err1 != nil:
		err = fmt.Errorf("the image is not base64: %w", err1)
	case err2 != nil:
		err = errors.New("the vendor's key is not hexadecimal digits")
	default:
		r.Image, r.OSMaker = image, maker
		r, err = g.Put(v.ctx(), v.me.ID, r)
	}
	if err != nil {
		s.render(v.w, v.r, 422, releaseNewPage{Form: draftForm(v, "/releases/new", err)})
		return nil
	}
	return v.redirect(askFor("release.register", "release/"+r.Name))
}

func (s *Server) getIntegrate(v *visit) error { return s.integrate(v, 200, nil) }

func (s *Server) integrate(v *visit, code int, problem error) error {
	g, err := s.releases()
	if err != nil {
		return err
	}
	r, err := g.Get(v.ctx(), v.r.PathValue("name"))
	if err != nil {
		return errOrGone(err, release.ErrNone)
	}
	s.render(v.w, v.r, code, releaseNewPage{Of: r.Name, Href: releaseHref(r.Name), Form: draftForm(v, releaseHref(r.Name, "integrate"), problem)})
	return nil
}

func (s *Server) postIntegrate(v *visit) error {
	g, err := s.releases()
	if err != nil {
		return err
	}
	i, err := g.PutPlan(v.ctx(), v.me.ID, release.Plan{Release: v.r.PathValue("name"), Operator: v.form("operator"), Profile: v.r.FormValue("profile"), Place: v.form("place"), People: strings.Fields(strings.ReplaceAll(v.form("people"), ",", " "))})
	if err != nil {
		return s.integrate(v, 422, err)
	}
	return v.redirect(askFor("release.integrate", i.Ref()))
}

// standing is the integration that the address names.
func (s *Server) standing(v *visit) (*release.Register, release.Standing, error) {
	g, err := s.releases()
	if err != nil {
		return nil, release.Standing{}, err
	}
	st, err := g.Standing(v.ctx(), v.r.PathValue("name"), v.r.PathValue("operator"), v.r.PathValue("profile"))
	return g, st, errOrGone(err, release.ErrNone)
}

func (s *Server) getStanding(v *visit) error {
	_, st, err := s.standing(v)
	if err != nil {
		return err
	}
	return s.showStanding(v, 200, st, nil)
}

func (s *Server) showStanding(v *visit, code int, st release.Standing, problem error) error {
	i := s.integrationLine(v, st.Integration)
	p := standingPage{Name: st.Integration.Release, Href: releaseHref(st.Integration.Release), Operator: st.Operator, Profile: st.Profile, State: i.State, Life: s.releaseLife(v, st.History)}
	p.Facts = []Fact{
		{say("release.vendor"), plain(st.Release.Vendor)}, {say("release.image"), plain(inFours(st.Release.SHA256))}, {say("release.profile"), plain(inFours(st.SHA256))},
		{say("release.integrated"), plain(fmt.Sprintf("%s, %s: %s", st.Site, st.Country, st.Place))}, {say("release.people"), plain(strings.Join(st.People, ", "))},
	}
	s.checks(v, st, &p)
	for _, r := range slices.Backward(st.Reports) {
		p.Reports = append(p.Reports, s.suiteReport(v, r))
	}
	for _, t := range st.Tests {
		l := TestLine{At: t.At, State: releaseState(t.Verdict), Act: "/acts/" + t.Act}
		for _, id := range t.Testers {
			l.By = append(l.By, s.who(v.ctx(), id))
		}
		p.Tests = append(p.Tests, l)
		p.Testers, p.Paper = t.Testers, i.Href+"/test.pdf"
	}
	for _, d := range st.Release.Developers {
		p.Makers = append(p.Makers, d.String())
	}
	if rule, err := v.policy.Rule("release.approve"); err == nil {
		p.Seats = rule.Seats
	}
	for _, l := range st.Loads {
		p.Loads = append(p.Loads, LoadLine{l.Order, l.At})
	}
	for _, b := range st.Before {
		p.Before = append(p.Before, s.integrationLine(v, b))
	}
	s.releaseActs(v, st, &p)
	if v.may("releases.test") && st.MayTest(v.me) == nil {
		f := Form{Action: i.Href, Values: map[string]string{"item": v.form("item"), "result": v.form("result"), "reason": v.form("reason"), "evidence": v.form("evidence")}}
		if problem != nil {
			t := plain(refusal(problem))
			f.Problem = &t
		}
		p.Find = &f
	}
	s.render(v.w, v.r, code, p)
	return nil
}

// checks puts the checklist with what was found into the page.
func (s *Server) checks(v *visit, st release.Standing, p *standingPage) {
	found := map[string]release.Finding{}
	for _, f := range st.Findings {
		found[f.Item] = f
	}
	for _, it := range release.Checklist() {
		f, ok := found[it.ID]
		l := CheckLine{ID: it.ID, Title: it.Title, Hindi: it.Hindi, Clause: it.Clause, State: "open", Reason: f.Reason, Evidence: f.Evidence, At: f.At}
		if ok {
			l.State, l.By = releaseState(f.Result), s.who(v.ctx(), f.Tester)
		}
		switch l.State {
		case "open":
			p.Open++
		case release.Pass:
			p.Passed++
		case release.Fail:
			p.Failed++
		default:
			p.NotApplicable++
		}
		if n := len(p.Groups); n == 0 || p.Groups[n-1].Name != it.Group() {
			p.Groups = append(p.Groups, CheckGroup{Name: it.Group()})
		}
		g := &p.Groups[len(p.Groups)-1]
		g.Items = append(g.Items, l)
		p.Items = append(p.Items, Option{Value: it.ID, Label: plain(it.ID + ": " + it.Title), Selected: !ok && p.Open == 1})
	}
	for _, r := range release.Results() {
		p.Results = append(p.Results, Option{Value: r, Label: say("state." + releaseState(r))})
	}
}

func (s *Server) suiteReport(v *visit, a release.Attached) SuiteReport {
	r := SuiteReport{Chip: a.Report.Chip, SHA256: a.SHA256, Href: "/reports/" + a.SHA256, At: a.At, By: s.who(v.ctx(), a.Tester),
		Passed: a.Report.Count(conformance.Pass), Failed: a.Report.Count(conformance.Fail), Skipped: a.Report.Count(conformance.NotRun)}
	for _, c := range a.Report.Cases {
		r.Cases = append(r.Cases, CaseLine{c.ID, c.Title, c.Clause, releaseState(c.Result), c.Seen})
	}
	return r
}

// releaseActs are what the visitor may ask for now.
func (s *Server) releaseActs(v *visit, st release.Standing, p *standingPage) {
	ask := func(kind string) {
		if v.asks(kind) {
			p.Asks = append(p.Asks, ReleaseAct{Kind: kind, Href: askFor(kind, st.Ref()), Main: kind == "release.approve"})
		}
	}
	if p.Open == 0 && len(st.Reports) > 0 && (st.State == release.Integrated || st.State == release.Tested) && st.MayTest(v.me) == nil {
		ask("release.test")
	}
	if n := len(st.Tests); st.State == release.Tested && st.Tests[n-1].Verdict == release.Pass {
		ask("release.approve")
	}
	if st.State != release.Withdrawn && v.asks("release.withdraw") {
		p.Asks = append(p.Asks, ReleaseAct{Kind: "release.withdraw", Form: &Form{Action: releaseHref(st.Integration.Release, st.Operator, st.Profile) + "/withdraw"}})
	}
}

// postFinding takes what a tester found of one item.
func (s *Server) postFinding(v *visit) error {
	g, st, err := s.standing(v)
	if err != nil {
		return err
	}
	f := release.Finding{Item: v.form("item"), Result: v.form("result"), Reason: v.form("reason"), Evidence: v.form("evidence")}
	at := releaseHref(st.Integration.Release, st.Operator, st.Profile)
	_, err = g.Find(v.ctx(), v.me, st.Ref(), []release.Finding{f})
	switch {
	case errors.Is(err, act.ErrNotAllowed):
		return s.refused(v, err, at)
	case err != nil:
		return s.showStanding(v, 422, st, err)
	}
	s.tell(v, "ok", say("release.found", f.Item))
	return v.redirect(at + "#check")
}

// postWithdraw leads to the act, which names the reason.
func (s *Server) postWithdraw(v *visit) error {
	_, st, err := s.standing(v)
	if err != nil {
		return err
	}
	return v.redirect(askFor("release.withdraw", st.Ref()+"/"+v.form("why")))
}

func (s *Server) getReport(v *visit) error {
	g, err := s.releases()
	if err != nil {
		return err
	}
	doc, err := g.Signed(v.ctx(), v.r.PathValue("sha256"))
	if err != nil {
		return errOrGone(err, release.ErrNone)
	}
	return v.download("application/json", "os-test-"+v.r.PathValue("sha256")[:16]+".json", doc)
}
