package console

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ankan/access"
	"ankan/act"
)

// personStates are states of people as pages name them.
var personStates = map[string]string{access.Active: "employed", access.Suspended: "suspended", access.Locked: "locked", access.Left: "left"}

func (s *Server) getPeople(v *visit) error {
	p := peoplePage{Form: Form{Action: "/people", Values: map[string]string{"role": v.form("role"), "state": v.form("state"), "q": v.form("q")}}}
	p.Roles = []Option{{Label: say("filter.all")}}
	for _, r := range v.policy.Roles {
		p.Roles = append(p.Roles, Option{Value: r, Label: plain(r), Selected: r == v.form("role")})
	}
	p.States = []Option{{Label: say("filter.all")}}
	for _, st := range []string{access.Active, access.Suspended, access.Locked, access.Left} {
		p.States = append(p.States, Option{Value: st, Label: say("state." + personStates[st]), Selected: st == v.form("state")})
	}
	all, err := s.site.People().Members(v.ctx())
	if err != nil {
		return err
	}
	drafts, err := s.site.People().Drafts(v.ctx())
	if err != nil {
		return err
	}
	var lines []PersonLine
	for _, d := range drafts {
		if !slices.ContainsFunc(all, func(m access.Member) bool { return m.ID == d.Person.ID }) {
			lines = append(lines, PersonLine{Number: d.Person.ID, Name: d.Person.Name, Href: "/people/" + d.Person.ID, Roles: d.Person.Roles, State: "coming", ReportsTo: d.Person.ReportsTo, Training: "due"})
		}
	}
	for _, m := range all {
		line, err := s.personLine(v, m)
		if err != nil {
			return err
		}
		lines = append(lines, line)
	}
	q := strings.ToLower(v.form("q"))
	lines = slices.DeleteFunc(lines, func(l PersonLine) bool {
		return v.form("role") != "" && !slices.Contains(l.Roles, v.form("role")) || v.form("state") != "" && l.State != personStates[v.form("state")] ||
			q != "" && !strings.Contains(strings.ToLower(l.Number+" "+l.Name), q)
	})
	p.People, p.Pager = paged(v, lines)
	if v.may("people.draft") {
		p.New = "/people/new"
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

func (s *Server) personLine(v *visit, m access.Member) (PersonLine, error) {
	l := PersonLine{Number: m.ID, Name: m.Name, Href: "/people/" + m.ID, Roles: m.Roles, State: personStates[m.State], ReportsTo: m.ReportsTo, Passkeys: 1, Training: "valid"}
	if m.State == access.Left {
		l.Passkeys = 0
	}
	for _, role := range m.Roles {
		if v.policy.Requirements[role].Training == "" {
			continue
		}
		if _, err := s.site.People().Fit(v.ctx(), m.ID, role); err != nil {
			l.Training = "due"
		}
	}
	for _, one := range s.site.Gate().Sessions(m.ID) {
		l.Seen = one.Seen
	}
	return l, nil
}

func (s *Server) getPerson(v *visit) error {
	id := v.r.PathValue("id")
	m, err := s.site.People().Member(v.ctx(), id)
	if errors.Is(err, access.ErrNoPerson) {
		return s.draftOf(v, id)
	}
	if err != nil {
		return err
	}
	line, err := s.personLine(v, m)
	if err != nil {
		return err
	}
	p := personPage{Person: line, Employment: Employment{Kind: say("employment." + string(m.Employment))}, You: m.ID == v.me.ID}
	if m.Employment == "" {
		p.Employment.Kind = say("employment.unknown")
	}
	if m.ReportsTo != "" {
		w := s.who(v.ctx(), m.ReportsTo)
		p.Above = &w
	}
	all, err := s.site.People().Members(v.ctx())
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.ReportsTo == m.ID && other.State != access.Left {
			p.Below = append(p.Below, s.who(v.ctx(), other.ID))
		}
	}
	if err := s.records(v, &p, m); err != nil {
		return err
	}
	if m.State != access.Left {
		p.Passkeys = []Passkey{passkeyLine(m.Person)}
		p.Passkeys[0].Counter = int(m.Counter)
	}
	if v.may("sessions.read") || p.You {
		for _, one := range s.site.Gate().Sessions(m.ID) {
			l := sessionLine(one)
			l.Current = one.ID == v.session.ID
			if v.may("sessions.end") || p.You {
				l.Revoke = "/sessions/" + one.ID + "/end"
			}
			p.Sessions = append(p.Sessions, l)
		}
	}
	acts, err := s.site.Desk().List(v.ctx(), "")
	if err != nil {
		return err
	}
	for _, st := range acts {
		if st.Act.Subject != "person/"+id && !strings.HasPrefix(st.Act.Subject, "person/"+id+"/") {
			continue
		}
		switch st.State {
		case "open", "approved":
			p.Acts = append(p.Acts, s.lineOf(v.ctx(), st, v.policy, v.me.ID))
		case "used":
			p.History = append(p.History, Step{State: "done", Text: plain(st.Act.Kind), By: s.who(v.ctx(), st.Act.Requester), At: st.Act.At, Href: "/acts/" + st.Act.ID, Grave: grave(st.Act.Kind)})
		}
	}
	if v.may("people.draft") && m.State != access.Left {
		p.Change = "/people/" + id + "/change"
	}
	if v.asks("person.leave") && m.State != access.Left {
		p.Leave = "/people/" + id + "/leave"
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

// records are a person's trainings and statements; what is missing has a link
// to whoever may mend it.
func (s *Server) records(v *visit, p *personPage, m access.Member) error {
	now := s.site.Store().Now()
	training, err := s.site.People().Records(v.ctx(), access.Training, m.ID)
	if err != nil {
		return err
	}
	have := map[string]bool{}
	for _, r := range training {
		t := Training{Course: r.What, Done: r.At, Ends: r.Until, State: "valid"}
		if now.After(r.Until) {
			t.State = "expired"
		} else {
			have[r.What] = true
		}
		p.Training = append(p.Training, t)
	}
	statements, err := s.site.People().Records(v.ctx(), access.Statement, m.ID)
	if err != nil {
		return err
	}
	signed := map[string]bool{}
	for _, r := range statements {
		if now.Before(r.Until) {
			signed[r.What] = true
			p.Statements = append(p.Statements, Statement{Title: r.What, Version: 1, Signed: r.At, State: "signed"})
		}
	}
	for _, role := range m.Roles {
		need := v.policy.Requirements[role]
		if need.Training != "" && !have[need.Training] {
			p.Training = append(p.Training, Training{Course: need.Training, State: "due"})
			if v.asks("training.record") && !p.You {
				p.History = append(p.History, Step{State: "todo", Text: say("person.record-training", need.Training), Href: askFor("training.record", "person/"+m.ID+"/"+need.Training)})
			}
		}
		if need.Statement != "" && !signed[need.Statement] {
			st := Statement{Title: need.Statement, Version: 1, State: "due"}
			if p.You {
				st.Href = askFor("statement.sign", "person/"+m.ID+"/"+need.Statement)
			}
			p.Statements = append(p.Statements, st)
		}
	}
	return nil
}

// draftOf shows somebody who is written down and not in force yet: what the
// visitor may do next.
func (s *Server) draftOf(v *visit, id string) error {
	d, err := s.site.People().GetDraft(v.ctx(), id)
	if errors.Is(err, access.ErrNoDraft) {
		return errGone
	}
	if err != nil {
		return err
	}
	p := personPage{Person: PersonLine{Number: id, Name: d.Person.Name, Roles: d.Person.Roles, State: "coming", ReportsTo: d.Person.ReportsTo, Training: "due"},
		Employment: Employment{Kind: say("employment." + string(d.Person.Employment))}}
	p.History = []Step{{State: "done", Text: say("person.drafted"), By: s.who(v.ctx(), d.Editor)}}
	if !d.Registered {
		p.History = append(p.History, Step{State: "now", Text: say("person.registers"), At: d.Expires})
	} else {
		p.Passkeys = []Passkey{passkeyLine(d.Person)}
		p.History = append(p.History, Step{State: "done", Text: say("person.registered")})
		kind, err := s.site.People().EnrolKind(v.ctx(), id)
		if err != nil {
			return err
		}
		next := Step{State: "now", Text: say("person.to-enrol")}
		if v.asks(kind) {
			next.Href = askFor(kind, "person/"+id)
		}
		p.History = append(p.History, next)
	}
	if v.may("people.draft") {
		p.Change = "/people/" + id + "/change"
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

func (s *Server) getPersonNew(v *visit) error {
	return s.personForm(v, personFormPage{New: true, Form: Form{Action: "/people/new"}}, act.Person{}, 200)
}

func (s *Server) getPersonChange(v *visit) error {
	id := v.r.PathValue("id")
	who, err := s.written(v, id)
	if err != nil {
		return err
	}
	return s.personForm(v, personFormPage{Who: s.who(v.ctx(), id), Form: Form{Action: "/people/" + id + "/change"}}, who, 200)
}

// written is a person as the last draft, or the record, has them.
func (s *Server) written(v *visit, id string) (act.Person, error) {
	d, err := s.site.People().GetDraft(v.ctx(), id)
	if err == nil {
		return d.Person, nil
	}
	if !errors.Is(err, access.ErrNoDraft) {
		return act.Person{}, err
	}
	m, err := s.site.People().Member(v.ctx(), id)
	return m.Person, err
}

func (s *Server) personForm(v *visit, p personFormPage, who act.Person, status int) error {
	if p.Form.Values == nil {
		p.Form.Values = map[string]string{"person": who.ID, "name": who.Name, "superior": who.ReportsTo, "kind": string(who.Employment), "certificate": who.Certificate}
	}
	for _, role := range v.policy.Roles {
		c := RoleChoice{Role: role, Chosen: slices.Contains(who.Roles, role)}
		for _, pair := range v.policy.Conflicts {
			if pair[0] == role {
				c.Excludes = append(c.Excludes, pair[1])
			}
			if pair[1] == role {
				c.Excludes = append(c.Excludes, pair[0])
			}
		}
		p.Roles = append(p.Roles, c)
	}
	for _, k := range []act.Employment{act.Permanent, act.Contract, act.Temporary} {
		p.Kinds = append(p.Kinds, Option{Value: string(k), Label: say("employment." + string(k)), Selected: k == who.Employment})
	}
	people, err := s.site.People().People(v.ctx())
	if err != nil {
		return err
	}
	p.Superiors = []Option{{Label: say("person.nobody-above")}}
	for _, other := range people {
		if other.ID != who.ID {
			p.Superiors = append(p.Superiors, Option{Value: other.ID, Label: say("person.option", other.ID, plain(other.Name)), Selected: other.ID == who.ReportsTo})
		}
	}
	s.render(v.w, v.r, status, p)
	return nil
}

func (s *Server) postPersonNew(v *visit) error {
	return s.putDraft(v, v.form("person"), true)
}

func (s *Server) postPersonChange(v *visit) error {
	return s.putDraft(v, v.r.PathValue("id"), false)
}

// putDraft writes a person down. A code, if one is needed, is shown once.
func (s *Server) putDraft(v *visit, id string, fresh bool) error {
	who := act.Person{ID: id, Name: v.form("name"), Roles: v.r.PostForm["role"], Employment: act.Employment(v.form("kind")), ReportsTo: v.form("superior"), Certificate: strings.ToLower(v.form("certificate"))}
	again := func(err error) error {
		p := personFormPage{New: fresh, Form: Form{Action: v.r.URL.Path, Values: map[string]string{"person": id, "name": who.Name, "superior": who.ReportsTo, "kind": string(who.Employment), "certificate": who.Certificate}}}
		if !fresh {
			p.Who = s.who(v.ctx(), id)
		}
		t := plain(refusal(err))
		p.Form.Problem = &t
		return s.personForm(v, p, who, 403)
	}
	if _, err := s.site.People().Member(v.ctx(), id); fresh && err == nil {
		return again(fmt.Errorf("person %s is there already; change their record instead", id))
	}
	if b, err := hex.DecodeString(who.Certificate); who.Certificate != "" && (err != nil || len(b) != 32) {
		return again(errors.New("the certificate is named by its SHA-256: 64 hexadecimal digits"))
	}
	code, err := s.site.People().PutDraft(v.ctx(), v.me.ID, who, fresh || v.form("renew") == "yes")
	if err != nil {
		return again(err)
	}
	if code != "" {
		s.tell(v, "ok", say("person.code", id, code))
		return v.redirect("/people/" + id)
	}
	kind, err := s.site.People().EnrolKind(v.ctx(), id)
	if err != nil {
		return err
	}
	if !v.asks(kind) {
		return v.redirect("/people/" + id)
	}
	return v.redirect(askFor(kind, "person/"+id))
}

func (s *Server) getLeaver(v *visit) error {
	m, err := s.site.People().Member(v.ctx(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	line, err := s.personLine(v, m)
	if err != nil {
		return err
	}
	p := leaverPage{Person: line, Form: Form{Action: "/people/" + m.ID + "/leave"}, Ends: []Text{say("leaver.sessions"), say("leaver.signatures"), say("leaver.number")}}
	held, err := s.site.Register().Held(v.ctx(), m.ID)
	if err != nil {
		return err
	}
	for _, c := range held {
		p.Holds = append(p.Holds, Holding{Thing: say("leaver.part", c.Key, plain(c.Name())), State: "out", Href: "/keys/" + c.Key})
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

func (s *Server) postLeaver(v *visit) error {
	kind := "person.leave"
	if v.form("now") == "suspend" {
		kind = "person.suspend"
	}
	return v.redirect(askFor(kind, "person/"+v.r.PathValue("id")))
}

// ---- the glass

func (s *Server) getGlass(v *visit) error {
	p := glassPage{Form: Form{Action: "/glass"}}
	all, err := s.site.People().Glasses(v.ctx())
	if err != nil {
		return err
	}
	for _, g := range all {
		use := GlassUse{Opened: g.Opened, Closed: g.Until, By: s.who(v.ctx(), g.Person), Why: g.Reason, Reviewed: g.Reviewed, Href: "/acts/" + g.ID}
		if g.Reviewed.IsZero() {
			t := say("glass.review-first", g.Opened)
			p.Review = &t
			use.Href = askFor("glass.review", "glass/"+g.ID)
		}
		p.Past = append(p.Past, use)
	}
	if g := v.glass; g != nil {
		p.Open = &OpenGlass{By: s.who(v.ctx(), g.Person), Why: g.Reason, Until: g.Until, Href: "/glass"}
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

func (s *Server) postGlass(v *visit) error {
	if v.form("why") == "" {
		return s.refused(v, errors.New("say why: everybody will read it"), "/glass")
	}
	return v.redirect(askFor("glass.break", "glass/"+v.form("why")))
}
