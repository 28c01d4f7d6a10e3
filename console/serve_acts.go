package console

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ankan/act"
	"ankan/custody"
	"ankan/exchange/edge"
)

// onPage is how many lines a list shows.
const onPage = 50

// actStates are an act's actStates as pages name them.
var actStates = map[string]string{"open": "waits", "approved": "approved", "rejected": "rejected", "late": "lapsed", "used": "used"}

// grave says whether an act ends something for good.
func grave(kind string) bool {
	return strings.HasSuffix(kind, ".destroy") || strings.HasSuffix(kind, ".abort") || slices.Contains([]string{"key.compromise", "person.leave", "item.retire"}, kind)
}

// lineOf is an act in a list.
func (s *Server) lineOf(ctx context.Context, st custody.Status, policy act.Policy, me string) ActLine {
	l := ActLine{Href: "/acts/" + st.Act.ID, Kind: st.Act.Kind, Subject: st.Act.Subject, By: s.who(ctx, st.Act.Requester), Grave: grave(st.Act.Kind), Words: st.Words,
		State: actStates[st.State], Clocks: clocksFor(st), Seats: s.seatsOf(ctx, st, policy, me)}
	for _, sig := range st.Signatures {
		if sig.Verb == act.Reject {
			l.Reason, l.Ended = sig.Reason, sig.At
		}
	}
	if kcv := st.Act.Params["kcv"]; kcv != "" {
		l.Note = plain(kcv)
	}
	return l
}

func clocksFor(st custody.Status) Clocks {
	c := Clocks{Asked: st.Act.At, ApproveBy: st.Act.ApproveBy, UseWithin: time.Duration(st.Act.UseWithin) * time.Second, Approved: st.Complete}
	if !st.Complete.IsZero() {
		c.UseBy = st.Complete.Add(c.UseWithin)
	}
	return c
}

// seatsOf are the places for signatures: those that are taken first, each by
// who took it, then what is open, as the rule numbers them.
func (s *Server) seatsOf(ctx context.Context, st custody.Status, policy act.Policy, me string) []Seat {
	rule, err := policy.Rule(st.Act.Kind)
	if err != nil {
		return nil
	}
	var seats []Seat
	open := slices.Clone(rule.Seats)
	for _, sig := range st.Signatures {
		if sig.Verb == act.Request {
			continue
		}
		m, err := s.site.People().Member(ctx, sig.Person)
		if err != nil {
			continue
		}
		i := slices.IndexFunc(open, func(roles []string) bool { return m.Has(roles...) })
		seat := Seat{By: Who{Number: sig.Person}, At: sig.At, Reason: sig.Reason, State: "signed", Proof: []string{provedBy(m.Credential.Method)}}
		if len(m.Roles) > 0 {
			seat.By.Role = m.Roles[0]
		}
		if i >= 0 {
			seat.Roles = open[i]
			for _, role := range open[i] {
				if m.Has(role) {
					seat.By.Role = role
				}
			}
			open = slices.Delete(open, i, i+1)
		}
		if sig.Verb == act.Reject {
			seat.State = "rejected"
		}
		seats = append(seats, seat)
	}
	for _, roles := range open {
		seats = append(seats, Seat{Roles: roles, State: "open"})
	}
	return seats
}

// ways is the files that are on their way.
func (s *Server) ways() ([]WayLine, error) {
	st, err := s.site.Status()
	if err != nil {
		return nil, err
	}
	const mb = 1e6
	megabytes := func(n int64) string { return fmt.Sprintf("%.1f", float64(n)/mb) }
	var all []WayLine
	for _, p := range st.OnWay {
		line := WayLine{File: p.File, Partner: p.Partner, In: p.Direction == edge.DirectionIn, Done: say("way.some", megabytes(p.Done)), Rate: megabytes(int64(p.Rate())) + " MB/s", Began: p.Began, At: p.At}
		if p.Size > 0 {
			line.Done, line.Percent = say("way.of", megabytes(p.Done), megabytes(p.Size)), int(100*p.Done/p.Size)
		}
		if d := p.Left(); d > 0 {
			line.Left = d.Round(time.Second).String()
		}
		all = append(all, line)
	}
	return all, nil
}

// getInbox shows what waits for the visitor.
func (s *Server) getInbox(v *visit) error {
	in, err := s.site.Desk().Inbox(v.ctx(), v.me.ID)
	if err != nil {
		return err
	}
	p := inboxPage{}
	for _, st := range in.Waits {
		p.Waits = append(p.Waits, s.lineOf(v.ctx(), st, v.policy, v.me.ID))
	}
	for _, st := range in.Asked {
		p.Asked = append(p.Asked, s.lineOf(v.ctx(), st, v.policy, v.me.ID))
	}
	if p.Duties, err = s.duties(v); err != nil {
		return err
	}
	if v.may("orders.read") {
		if p.Ways, err = s.ways(); err != nil {
			return err
		}
	}
	told, err := s.site.Board().For(v.ctx(), v.me.ID, true, 5)
	if err != nil {
		return err
	}
	for _, n := range told {
		p.Told = append(p.Told, Notice{At: n.At, State: "unread", Text: plain(n.Text), Href: n.Link})
	}
	if len(s.kinds(v)) > 0 {
		p.Ask = "/acts/new"
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

// duties are what the visitor owes: inventory, training, statements, ceremony
// steps that are theirs.
func (s *Server) duties(v *visit) ([]Duty, error) {
	var all []Duty
	now := s.site.Store().Now()
	due, err := s.site.Register().Owes(v.ctx(), v.me.ID)
	if err != nil {
		return nil, err
	}
	if due != "" {
		all = append(all, Duty{What: say("duty.inventory"), Href: "/register/inventory", Clause: "6.3.2.q", State: "overdue", By: now, Else: say("duty.inventory.else")})
	}
	for _, role := range v.me.Roles {
		if _, err := s.site.People().Fit(v.ctx(), v.me.ID, role); err != nil {
			d := Duty{What: say("duty.unfit", plain(refusal(err))), Clause: v.policy.Requirements[role].Clause, State: "due", By: now, Else: say("duty.unfit.else")}
			if st := v.policy.Requirements[role].Statement; st != "" {
				d.Href = askFor("statement.sign", "person/"+v.me.ID+"/"+st)
			}
			all = append(all, d)
		}
	}
	running, err := s.site.Ceremonies().List(v.ctx())
	if err != nil {
		return nil, err
	}
	for _, c := range running {
		if c.Now > 0 && slices.Contains(c.Steps[c.Now-1].Step.By, v.me.ID) && !c.Steps[c.Now-1].Signed(v.me.ID) {
			all = append(all, Duty{What: say("duty.step", c.ID, plain(c.Steps[c.Now-1].Title)), Href: "/ceremonies/" + c.ID, Clause: "6.4.0", State: "due", By: now, Else: say("duty.step.else")})
		}
	}
	return all, nil
}

func askFor(kind, subject string) string {
	return "/acts/new?" + url.Values{"kind": {kind}, "subject": {subject}}.Encode()
}

// kinds are the kinds of act that this site does and the visitor may ask for.
func (s *Server) kinds(v *visit) []string {
	return slices.DeleteFunc(s.site.Acts(), func(kind string) bool { return !v.asks(kind) })
}

func (s *Server) getNotices(v *visit) error {
	all, err := s.site.Board().For(v.ctx(), v.me.ID, false, 200)
	if err != nil {
		return err
	}
	p := noticesPage{Pager: Pager{From: min(1, len(all)), To: len(all), Total: len(all)}}
	for _, n := range all {
		state := "read"
		if n.Read.IsZero() {
			state = "unread"
			p.Unread++
		}
		p.Notices = append(p.Notices, Notice{At: n.At, State: state, Text: plain(n.Text), Href: n.Link})
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

func (s *Server) postNoticesRead(v *visit) error {
	all, err := s.site.Board().For(v.ctx(), v.me.ID, true, 1)
	if err != nil {
		return err
	}
	if len(all) > 0 {
		if err := s.site.Board().Read(v.ctx(), v.me.ID, all[0].ID); err != nil {
			return err
		}
	}
	return v.redirect("/notices")
}

func (s *Server) getActs(v *visit) error {
	p := actsPage{Form: Form{Action: "/acts", Values: map[string]string{"state": v.form("state"), "kind": v.form("kind"), "q": v.form("q"), "person": v.form("person")}}}
	for name, shown := range actStates {
		p.States = append(p.States, Option{Value: name, Label: say("state." + shown), Selected: name == v.form("state")})
	}
	slices.SortFunc(p.States, func(a, b Option) int { return strings.Compare(a.Value, b.Value) })
	p.States = append([]Option{{Label: say("filter.all")}}, p.States...)
	p.Kinds = []Option{{Label: say("filter.all")}}
	for _, kind := range slices.Sorted(maps.Keys(v.policy.Acts)) {
		p.Kinds = append(p.Kinds, Option{Value: kind, Label: kindName(kind), Selected: kind == v.form("kind")})
	}
	all, err := s.site.Desk().List(v.ctx(), v.form("state"))
	if err != nil {
		return err
	}
	q := strings.ToLower(v.form("q"))
	all = slices.DeleteFunc(all, func(st custody.Status) bool {
		return v.form("kind") != "" && st.Act.Kind != v.form("kind") || v.form("person") != "" && !hasSigned(st, v.form("person")) ||
			q != "" && !strings.Contains(strings.ToLower(st.Act.Subject+" "+st.Act.Requester+" "+strings.Join(st.Words, " ")), q)
	})
	slices.Reverse(all)
	all, p.Pager = paged(v, all)
	for _, st := range all {
		p.Acts = append(p.Acts, s.lineOf(v.ctx(), st, v.policy, v.me.ID))
	}
	if len(s.kinds(v)) > 0 {
		p.Ask = "/acts/new"
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

// hasSigned says whether a person asked for an act or signed it.
func hasSigned(st custody.Status, person string) bool {
	return slices.ContainsFunc(st.Signatures, func(sig act.Signature) bool { return sig.Person == person })
}

// paged is the part of a list that the address asks for.
func paged[T any](v *visit, all []T) ([]T, Pager) {
	from, _ := strconv.Atoi(v.form("from"))
	from = max(0, min(from, len(all)))
	to := min(len(all), from+onPage)
	return all[from:to], v.pager(from, to, len(all))
}

// pager leads from the lines from to to of a list to the others.
func (v *visit) pager(from, to, total int) Pager {
	p := Pager{From: min(from+1, total), To: to, Total: total}
	if from > 0 {
		p.Newer = v.with("from", strconv.Itoa(max(0, from-onPage)))
	}
	if to < total {
		p.Older = v.with("from", strconv.Itoa(to))
	}
	return p
}

// with is the address of this page with another value in its query.
func (v *visit) with(name, value string) string {
	q := v.r.URL.Query()
	q.Set(name, value)
	return localURL(&url.URL{Path: v.r.URL.Path, RawQuery: q.Encode()})
}

// getAsk proposes an act for the visitor to sign.
func (s *Server) getAsk(v *visit) error {
	p := askPage{Form: Form{Action: "/acts/new", Values: map[string]string{"kind": v.form("kind"), "subject": v.form("subject")}}}
	p.Kinds = []Option{{Label: say("ask.choose")}}
	for _, kind := range s.kinds(v) {
		p.Kinds = append(p.Kinds, Option{Value: kind, Label: kindName(kind), Selected: kind == v.form("kind")})
	}
	if v.form("kind") == "" || v.form("subject") == "" {
		s.render(v.w, v.r, 200, p)
		return nil
	}
	a, rule, err := s.propose(v, v.form("kind"), v.form("subject"), local(v.form("back")))
	if v.form("back") == "" {
		s.forgetBack(a.ID)
	}
	if err != nil {
		t := plain(refusal(err))
		p.Form.Problem = &t
		s.render(v.w, v.r, 403, p)
		return nil
	}
	p.Proposed, p.Grave, p.Changes = &a, grave(a.Kind), changesOf(a)
	for _, roles := range rule.Seats {
		p.Needs = append(p.Needs, Seat{Roles: roles, State: "open"})
	}
	p.Sign = &Form{Action: "/asked/" + a.ID, Sign: v.signing(a.Challenge(act.Request))}
	s.render(v.w, v.r, 200, p)
	return nil
}

// kindName is a kind of act, of no subject yet, in a list to choose from.
func kindName(kind string) Text { return Text{Key: "kind." + kind, Args: []any{"…"}, Else: kind} }

// forgetBack has the act's own page follow its signature.
func (s *Server) forgetBack(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w, ok := s.asked[id]; ok {
		w.back = ""
		s.asked[id] = w
	}
}

// changesOf are an act's parameters as a table. Names that say what was before
// stand beside what will be.
func changesOf(a act.Act) []Row {
	var rows []Row
	for _, k := range slices.Sorted(maps.Keys(a.Params)) {
		if before, ok := strings.CutSuffix(k, "_before"); ok && a.Params[before] != "" {
			continue
		}
		rows = append(rows, Row{Thing: plain(k), Now: plain(a.Params[k+"_before"]), After: plain(a.Params[k])})
	}
	return rows
}

func (s *Server) postAsk(v *visit) error {
	to, err := s.take(v, v.r.PathValue("id"))
	if err != nil {
		return s.refused(v, err, to)
	}
	return v.redirect(to)
}

// act is the act that an address names, for those whom it concerns.
func (s *Server) act(v *visit) (custody.Status, error) {
	st, err := s.site.Desk().Get(v.ctx(), v.r.PathValue("id"))
	if err == nil && !s.concerns(v, st) {
		err = barred("acts.read")
	}
	return st, err
}

func (s *Server) getAct(v *visit) error {
	st, err := s.act(v)
	if err != nil {
		return err
	}
	p := actPage{Act: st.Act, State: actStates[st.State], Sub: say("act.sub", s.whoText(v.ctx(), st.Act.Requester)), Grave: grave(st.Act.Kind), Changes: changesOf(st.Act),
		Seats: s.seatsOf(v.ctx(), st, v.policy, v.me.ID), Requester: s.who(v.ctx(), st.Act.Requester), Clocks: clocksFor(st), Bytes: "/acts/" + st.Act.ID + "/bytes",
		Log: localURL(&url.URL{Path: "/log", RawQuery: url.Values{"subject": {st.Act.Subject}, "from": {st.Act.At.In(ist).Format(logMinute)}}.Encode()})}
	candidates, err := s.site.Desk().Candidates(v.ctx(), st.Act.ID)
	if err != nil {
		return err
	}
	for _, c := range candidates {
		switch {
		case c.May:
			for _, role := range c.Person.Roles {
				if !slices.Contains(p.May, role) {
					p.May = append(p.May, role)
				}
			}
		case c.Signed == "" && st.State == "open":
			p.MayNot = append(p.MayNot, Excluded{Who: s.who(v.ctx(), c.Person.ID), Why: plain(c.Why)})
		}
		if c.Person.ID != v.me.ID {
			continue
		}
		if c.May {
			p.Approve = &Form{Action: "/acts/" + st.Act.ID + "/approve", Sign: v.signing(st.Act.Challenge(act.Approve))}
			p.Reject = &Form{Action: "/acts/" + st.Act.ID + "/reject", Sign: v.signing(st.Act.Challenge(act.Reject))}
		} else if st.State == "open" {
			why := plain(c.Why)
			p.Why = &why
		}
	}
	if st.State == "approved" && st.Act.Requester == v.me.ID {
		p.Use = &Form{Action: "/acts/" + st.Act.ID + "/use"}
	}
	if st.State != "open" && st.State != "approved" {
		p.Outcome = s.ended(v.ctx(), st)
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

// concerns says whether a visitor may look at an act: by permission, or because
// they asked for it, signed it, or may sign it.
func (s *Server) concerns(v *visit, st custody.Status) bool {
	if v.may("acts.read") || st.Act.Requester == v.me.ID {
		return true
	}
	for _, sig := range st.Signatures {
		if sig.Person == v.me.ID {
			return true
		}
	}
	rule, err := v.policy.Rule(st.Act.Kind)
	return err == nil && slices.ContainsFunc(rule.Seats, func(roles []string) bool { return v.me.Has(roles...) })
}

// ended is how an act ended, with the words of those who ended it.
func (s *Server) ended(ctx context.Context, st custody.Status) *Outcome {
	o := &Outcome{State: actStates[st.State], At: st.Act.ApproveBy, Text: say("outcome." + st.State)}
	if !st.Complete.IsZero() {
		o.At = st.Complete.Add(time.Duration(st.Act.UseWithin) * time.Second)
	}
	for _, sig := range st.Signatures {
		if st.State != "late" {
			o.At = sig.At
		}
		if sig.Reason != "" {
			o.Reasons = append(o.Reasons, Reason{By: s.who(ctx, sig.Person), At: sig.At, Text: sig.Reason})
		}
	}
	return o
}

func (s *Server) whoText(ctx context.Context, id string) Text {
	w := s.who(ctx, id)
	return say("who.person", w.Number)
}

func (s *Server) getActBytes(v *visit) error {
	st, err := s.act(v)
	if err != nil {
		return err
	}
	return v.download("application/json", "act-"+st.Act.ID+".json", st.Act.Canonical())
}

// download answers with a file.
func (v *visit) download(mime, name string, b []byte) error {
	v.head(mime, name)
	_, err := v.w.Write(b)
	return err
}

// head begins an answer that is a file.
func (v *visit) head(mime, name string) {
	h := v.w.Header()
	h.Set("Content-Type", mime)
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
	h.Set("Cache-Control", "no-store")
}

func (s *Server) postApprove(v *visit) error { return s.sign(v, act.Approve, v.form("reason")) }

func (s *Server) postReject(v *visit) error {
	if v.form("why") == "" {
		return s.refused(v, fmt.Errorf("say why: who asked will read it"), "/acts/"+v.r.PathValue("id"))
	}
	return s.sign(v, act.Reject, v.form("why"))
}

func (s *Server) sign(v *visit, verb act.Verb, reason string) error {
	id := v.r.PathValue("id")
	back := "/acts/" + id
	if verb == act.Approve && v.form("compared") != "yes" {
		return s.refused(v, fmt.Errorf("compare the six words before you sign"), back)
	}
	assertion, err := v.assertion()
	if err != nil {
		return s.refused(v, err, back)
	}
	sig := act.Signature{Person: v.me.ID, Verb: verb, At: s.site.Store().Now().UTC().Truncate(time.Second), Reason: firstBytes(reason, 2000), Assertion: assertion}
	if err := s.site.Desk().Sign(v.ctx(), id, sig); err != nil {
		return s.refused(v, err, back)
	}
	s.tell(v, "ok", say(map[act.Verb]string{act.Approve: "said.signed", act.Reject: "said.rejected"}[verb]))
	return v.redirect(back)
}

func (s *Server) postUse(v *visit) error {
	id := v.r.PathValue("id")
	st, err := s.site.Desk().Get(v.ctx(), id)
	if err != nil {
		return err
	}
	if st.Act.Requester != v.me.ID {
		return s.refused(v, fmt.Errorf("act %s: %w: person %s asked for it, and does it", id, act.ErrNotAllowed, st.Act.Requester), "/acts/"+id)
	}
	if err := s.site.Do(v.ctx(), id); err != nil {
		return s.refused(v, err, "/acts/"+id)
	}
	s.tell(v, "ok", say("said.done"))
	return v.redirect("/acts/" + id)
}
