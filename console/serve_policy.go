package console

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/document"
)

// version is the policy that the address names, and which versions there are.
func (s *Server) version(v *visit, name string) (act.Policy, []act.Policy, error) {
	all, err := s.site.People().Policies(v.ctx())
	if err != nil {
		return act.Policy{}, nil, err
	}
	i := slices.IndexFunc(all, func(p act.Policy) bool { return strconv.Itoa(p.Version) == name })
	if i < 0 {
		return act.Policy{}, nil, errGone
	}
	return all[i], all, nil
}

func (s *Server) getPolicy(v *visit) error { return s.policyVersion(v, strconv.Itoa(v.policy.Version)) }

// getPolicyVersion is a version as a page or, with .yaml or .json behind its
// number, as a document.
func (s *Server) getPolicyVersion(v *visit) error {
	name := v.r.PathValue("version")
	if n, ok := strings.CutSuffix(name, ".yaml"); ok {
		p, _, err := s.version(v, n)
		if err != nil {
			return err
		}
		return v.download("application/yaml", "policy-"+name, access.FormatPolicy(p))
	}
	if n, ok := strings.CutSuffix(name, ".json"); ok {
		p, _, err := s.version(v, n)
		if err != nil {
			return err
		}
		return v.download("application/json", "policy-"+name, p.Canonical())
	}
	return s.policyVersion(v, name)
}

func (s *Server) policyVersion(v *visit, name string) error {
	p, all, err := s.version(v, name)
	if err != nil {
		return err
	}
	versions, err := s.policyVersions(v, all)
	if err != nil {
		return err
	}
	digest := p.Digest()
	page := policyPage{Version: p.Version, State: "former", Digest: fmt.Sprintf("%x", digest), Words: act.Words(digest), Roles: p.Roles, Versions: versions,
		Document: "/policy/" + name + ".yaml", JSON: "/policy/" + name + ".json", Nodal: say("policy.nodal." + p.Nodal)}
	if p.Nodal == "" {
		page.Nodal = say("policy.nodal.either")
	}
	if p.Version == v.policy.Version {
		page.State = "in-force"
		if v.may("policy.draft") {
			page.Change = "/policy/new"
		}
	}
	for _, one := range versions {
		if one.Version == p.Version {
			page.From = one.From
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(p.Acts)) {
		r := p.Acts[kind]
		row := ActRule{Kind: kind, Clause: r.Clause, ToApprove: time.Duration(r.ToApprove) * time.Second, ToUse: time.Duration(r.ToUse) * time.Second, Entry: r.Entry}
		if full, err := p.Rule(kind); err == nil { // nodal: both adds a seat
			row.Quorum = len(full.Seats)
		}
		for _, role := range p.Roles {
			asks := slices.Contains(r.Request, role)
			signs := slices.ContainsFunc(r.Seats, func(roles []string) bool { return slices.Contains(roles, role) })
			row.Parts = append(row.Parts, map[[2]bool]string{{true, false}: "ask", {false, true}: "sign", {true, true}: "both"}[[2]bool{asks, signs}])
		}
		page.Matrix = append(page.Matrix, row)
	}
	for _, c := range p.Conflicts {
		page.Excludes = append(page.Excludes, Pair{c[0], c[1]})
	}
	for i, l := range p.Escalation {
		page.Levels = append(page.Levels, Escalation{Level: i + 1, After: time.Duration(l.After) * time.Minute, Roles: l.Roles})
	}
	policyRest(p, &page)
	s.render(v.w, v.r, 200, page)
	return nil
}

// policyRest is what stands beside the matrix.
func policyRest(p act.Policy, page *policyPage) {
	for _, role := range slices.Sorted(maps.Keys(p.Requirements)) {
		r := p.Requirements[role]
		need := RoleNeed{Role: role, Clause: r.Clause}
		for _, e := range r.Employment {
			need.Needs = append(need.Needs, either("employment."+string(e), string(e)))
		}
		if r.Training != "" {
			need.Needs = append(need.Needs, say("policy.needs.training", r.Training))
		}
		if r.Statement != "" {
			need.Needs = append(need.Needs, say("policy.needs.statement", r.Statement))
		}
		page.Needs = append(page.Needs, need)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Permissions)) {
		page.May = append(page.May, Permission{name, p.Permissions[name]})
	}
	for _, purpose := range slices.Sorted(maps.Keys(p.Keys)) {
		k := p.Keys[purpose]
		period := say("key.rotate.never")
		if k.Cryptoperiod > 0 {
			period = say("days", k.Cryptoperiod)
		}
		page.Keys = append(page.Keys, KeyRule{Purpose: either("purpose."+purpose, purpose), Algorithms: plain(strings.Join(k.Algorithms, ", ")), Period: period, Backup: k.Backup})
	}
	seconds := func(key string, n int) Fact {
		return Fact{say("limit." + key), plainly(time.Duration(n) * time.Second)}
	}
	l, d := p.Limits, p.Periods
	page.Limits = []Fact{
		seconds("session-idle", l.SessionIdle), seconds("session-length", l.SessionLength), seconds("challenge", l.Challenge), seconds("component-entry", l.ComponentEntry),
		seconds("enrolment-code", l.EnrolmentCode), seconds("break-glass", l.BreakGlass), {say("limit.tries"), say("limit.tries.value", l.Tries, time.Duration(l.TryWindow)*time.Second)},
		{say("limit.password"), say("limit.password.value", l.Password)},
	}
	for _, one := range []struct {
		key string
		n   int
	}{{"inventory", d.Inventory}, {"training", d.Training}, {"statement", d.Statement}, {"receipt", d.Receipt}, {"rehearsal", d.Rehearsal}} {
		page.Periods = append(page.Periods, Fact{say("period." + one.key), say("days", one.n)})
	}
}

// policyVersions are all versions, newest first, each with who put it into
// force and when: by an act or, the first, by the founding.
func (s *Server) policyVersions(v *visit, all []act.Policy) ([]PolicyVersion, error) {
	used, err := s.site.Desk().List(v.ctx(), "used")
	if err != nil {
		return nil, err
	}
	var out []PolicyVersion
	for i, p := range all {
		n := strconv.Itoa(p.Version)
		one := PolicyVersion{Version: p.Version, State: "former", Href: "/policy/" + n}
		if p.Version == v.policy.Version {
			one.State = "in-force"
		}
		if i > 0 {
			one.Diff = "/policy/" + strconv.Itoa(all[i-1].Version) + "/" + n
		}
		for _, st := range used {
			if st.Act.Kind != "policy.adopt" || st.Act.Params["version"] != n {
				continue
			}
			one.From = st.Complete
			for _, sig := range st.Signatures {
				one.By = append(one.By, s.who(v.ctx(), sig.Person))
			}
		}
		if i == 0 && one.By == nil {
			if err := s.founded(v, &one); err != nil {
				return nil, err
			}
		}
		out = append(out, one)
	}
	slices.Reverse(out)
	return out, nil
}

// founded looks for the founding: it is among the first entries of the log.
func (s *Server) founded(v *visit, one *PolicyVersion) error {
	first, err := s.site.Store().Entries(v.ctx(), 0, 100)
	if err != nil {
		return err
	}
	for _, e := range first {
		if e.Kind != act.SiteFounded {
			continue
		}
		one.From = e.Time
		founding, _ := e.Data["founding"].(map[string]any)
		signatures, _ := founding["signatures"].([]any)
		for _, sig := range signatures {
			if m, ok := sig.(map[string]any); ok {
				one.By = append(one.By, s.who(v.ctx(), fmt.Sprint(m["person"])))
			}
		}
		return nil
	}
	return nil
}

func (s *Server) getPolicyDiff(v *visit) error {
	a, _, err := s.version(v, v.r.PathValue("a"))
	if err != nil {
		return err
	}
	b, _, err := s.version(v, v.r.PathValue("b"))
	if err != nil {
		return err
	}
	page := policyDiffPage{Old: a.Version, New: b.Version, Changes: policyChanges(a, b)}
	if page.Changes != nil {
		page.Lines = diffLines(lines(access.FormatPolicy(a)), lines(access.FormatPolicy(b)))
	}
	s.render(v.w, v.r, 200, page)
	return nil
}

func lines(doc []byte) []string { return strings.Split(strings.TrimSuffix(string(doc), "\n"), "\n") }

func policyChanges(a, b act.Policy) []PolicyChange {
	var all []PolicyChange
	for _, c := range a.Changes(b) {
		one := PolicyChange{State: "changed", What: plain(c.Path), Before: plain(c.Before), After: plain(c.After)}
		switch {
		case c.Before == "":
			one.State = "added"
		case c.After == "":
			one.State = "removed"
		}
		all = append(all, one)
	}
	return all
}

// diffLines are the lines of two documents, by their longest common
// subsequence.
func diffLines(a, b []string) []DiffLine {
	common := make([][]int, len(a)+1) // of a[i:] and b[j:]
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var all []DiffLine
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			all = append(all, DiffLine{" ", a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			all = append(all, DiffLine{"-", a[i]})
			i++
		default:
			all = append(all, DiffLine{"+", b[j]})
			j++
		}
	}
	return all
}

// getPolicyDraft shows the next version as it was written down last, or what
// to begin with.
func (s *Server) getPolicyDraft(v *visit) error {
	page := policyDraftPage{Version: v.policy.Version + 1, Form: Form{Action: "/policy/new"}}
	draft, written, editor, err := s.site.People().PolicyDraft(v.ctx())
	switch {
	case errors.Is(err, access.ErrNoDraft):
		page.Form.Values = map[string]string{"policy": nextPolicy(v.policy)}
	case err != nil:
		return err
	default:
		s.drafted(v, &page, draft)
		page.Editor, page.Form.Values = s.who(v.ctx(), editor), map[string]string{"policy": string(written)}
	}
	s.render(v.w, v.r, 200, page)
	return nil
}

// nextPolicy is where the next version begins: the policy in force under the
// next number, with its comments as long as it is the one that every site
// starts with.
func nextPolicy(now act.Policy) string {
	next := strconv.Itoa(now.Version + 1)
	if now.Digest() == access.DefaultPolicy().Digest() {
		return strings.Replace(string(access.DefaultPolicyDocument()), "\nversion: "+strconv.Itoa(now.Version)+"\n", "\nversion: "+next+"\n", 1)
	}
	now.Version++
	return string(access.FormatPolicy(now))
}

// drafted is a draft as the page shows it.
func (s *Server) drafted(v *visit, page *policyDraftPage, draft act.Policy) {
	digest := draft.Digest()
	page.Checked, page.Digest, page.Words, page.Changes = true, fmt.Sprintf("%x", digest), act.Words(digest), policyChanges(v.policy, draft)
	if v.asks("policy.adopt") {
		page.Ask = askFor("policy.adopt", "policy")
	}
}

func (s *Server) postPolicyDraft(v *visit) error {
	text := strings.ReplaceAll(v.r.PostFormValue("policy"), "\r\n", "\n")
	page := policyDraftPage{Version: v.policy.Version + 1, Form: Form{Action: "/policy/new", Values: map[string]string{"policy": text}}, Checked: true}
	draft, err := s.site.People().PutPolicy(v.ctx(), v.me.ID, []byte(text))
	if err != nil {
		if v.ctx().Err() != nil {
			return err
		}
		page.Findings = []Finding{{State: "error", Text: plain(err.Error())}}
		if at := (*document.Error)(nil); errors.As(err, &at) {
			page.Findings = []Finding{{State: "error", Line: at.Line, Column: at.Column, Text: plain(at.Text)}}
		}
		s.render(v.w, v.r, 422, page)
		return nil
	}
	s.drafted(v, &page, draft)
	page.Editor = s.who(v.ctx(), v.me.ID)
	s.render(v.w, v.r, 200, page)
	return nil
}
