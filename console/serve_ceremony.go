package console

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/ceremony"
	"ankan/document"
	"ankan/hsm"
	"ankan/passkey"
)

// ceremonyStates are states of ceremonies as pages name them.
var ceremonyStates = map[string]string{ceremony.Drafted: "planned", ceremony.Open: "running", ceremony.Break: "paused", ceremony.Closed: "done", ceremony.Aborted: "aborted"}

func (s *Server) getCeremonies(v *visit) error {
	p := ceremoniesPage{Form: Form{Action: "/ceremonies", Values: map[string]string{"state": v.form("state"), "q": v.form("q")}}}
	p.States = []Option{{Label: say("filter.all")}}
	for _, st := range []string{ceremony.Drafted, ceremony.Open, ceremony.Break, ceremony.Closed, ceremony.Aborted} {
		p.States = append(p.States, Option{Value: st, Label: say("state." + ceremonyStates[st]), Selected: st == v.form("state")})
	}
	all, err := s.site.Ceremonies().List(v.ctx())
	if err != nil {
		return err
	}
	q := strings.ToLower(v.form("q"))
	all = slices.DeleteFunc(all, func(c ceremony.Ceremony) bool {
		return v.form("state") != "" && c.State != v.form("state") || q != "" && !strings.Contains(strings.ToLower(c.ID+" "+c.Title+" "+c.Key), q)
	})
	all, p.Pager = paged(v, all)
	for _, c := range all {
		l := CeremonyLine{Number: c.ID, Title: c.Title, Href: "/ceremonies/" + c.ID, State: ceremonyStates[c.State], At: c.Drafted, Steps: len(c.Steps), Step: c.Now, Key: c.Key, People: s.castOf(v, c)}
		if !c.Opened.IsZero() {
			l.At = c.Opened
		}
		for _, n := range c.Notes {
			if n.Kind == "deviation" {
				l.Deviations++
			}
		}
		if c.State == ceremony.Closed {
			l.Transcript, l.Step = "/ceremonies/"+c.ID+"/transcript", len(c.Steps)
		}
		p.Ceremonies = append(p.Ceremonies, l)
	}
	if v.may("ceremonies.draft") {
		p.New = "/ceremonies/new"
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

// castOf is who takes part, each as a seal that is done when they said that
// they are here.
func (s *Server) castOf(v *visit, c ceremony.Ceremony) []Seat {
	var seats []Seat
	for _, here := range s.presence(v, c) {
		seat := Seat{Roles: []string{here.Who.Role}, By: here.Who, State: "open"}
		if here.State == "present" {
			seat.State = "signed"
		}
		seats = append(seats, seat)
	}
	return seats
}

func (s *Server) presence(v *visit, c ceremony.Ceremony) []Presence {
	var all []Presence
	for _, st := range c.Steps {
		if st.Key != "present" {
			continue
		}
		for _, id := range st.Step.By {
			p := Presence{Who: s.who(v.ctx(), id), State: "away", You: id == v.me.ID}
			if st.Signed(id) {
				p.State = "present"
			}
			all = append(all, p)
		}
	}
	return all
}

func (s *Server) getCeremonyNew(v *visit) error {
	p := ceremonyNewPage{Form: Form{Action: "/ceremonies/new", Values: map[string]string{"plan": planFor(v.form("kind"), v.form("key"))}}}
	s.render(v.w, v.r, 200, p)
	return nil
}

// planFor is the beginning of a plan, for whoever comes from a key's page.
func planFor(kind, key string) string {
	if kind == "" {
		return ""
	}
	return fmt.Sprintf("ceremony: CER-\nkind: %s\ntitle: \nroom: \nkey: {name: %s, purpose: , algorithm: }\npeople:\n  key-manager: \"\"\n  hsm-administrator: \"\"\n  security-officer: \"\"\n", kind, key)
}

// postCeremonyNew checks a plan and keeps it as a draft.
func (s *Server) postCeremonyNew(v *visit) error {
	// The file makes the form a multipart one, which readForm leaves alone.
	if err := v.r.ParseMultipartForm(maxBody); err != nil {
		s.fail(v.w, v.r, 400)
		return nil
	}
	doc := v.r.PostFormValue("plan")
	if file, _, err := v.r.FormFile("file"); err == nil {
		defer file.Close()
		b, err := io.ReadAll(io.LimitReader(file, document.MaxSize))
		if err != nil {
			return err
		}
		if len(b) > 0 {
			doc = string(b)
		}
	}
	// A browser sends its own ends of lines; a plan has one form.
	doc = strings.ReplaceAll(doc, "\r\n", "\n")
	p := ceremonyNewPage{Form: Form{Action: "/ceremonies/new", Values: map[string]string{"plan": doc}}, Checked: true}
	c, findings, err := s.site.Ceremonies().Draft(v.ctx(), v.me.ID, []byte(doc))
	if err != nil {
		f := Finding{State: "error", Text: plain(refusal(err))}
		var at *document.Error
		if errors.As(err, &at) {
			f.Line, f.Column, f.Text = at.Line, at.Column, plain(at.Text)
		}
		p.Findings = []Finding{f}
		s.render(v.w, v.r, 403, p)
		return nil
	}
	for _, text := range findings {
		p.Findings = append(p.Findings, Finding{State: "error", Text: plain(text)})
	}
	return s.planPage(v, p, c)
}

// planPage shows a plan that was drafted: its script, its words, and the
// signature that asks for it.
func (s *Server) planPage(v *visit, p ceremonyNewPage, c ceremony.Ceremony) error {
	p.Title, p.Words, p.Digest = c.Title, c.Words, c.Digest
	for _, st := range c.Steps {
		p.Steps = append(p.Steps, s.scriptStep(v, c, st))
	}
	p.People = s.castOf(v, c)
	if p.Errors() == 0 && v.asks("ceremony.open") {
		a, _, err := s.propose(v, "ceremony.open", "ceremony/"+c.ID, "")
		if err != nil {
			p.Findings = append(p.Findings, Finding{State: "error", Text: plain(refusal(err))})
		} else {
			p.Ask = &Form{Action: "/asked/" + a.ID, Sign: v.signing(a.Challenge(act.Request))}
		}
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

func (s *Server) scriptStep(v *visit, c ceremony.Ceremony, st ceremony.StepNow) ScriptStep {
	line := ScriptStep{N: st.N, Title: plain(st.Title), State: "todo", Grave: st.Step.Effect == ceremony.Erase}
	switch {
	case st.Done() && c.State != ceremony.Drafted:
		line.State = "done"
	case st.N == c.Now:
		line.State = "now"
	}
	if n := len(st.Signatures); n > 0 {
		line.At = st.Signatures[n-1].At
	}
	if len(st.Step.By) > 0 {
		line.By = s.who(v.ctx(), st.Step.By[0])
	}
	return line
}

// getCeremony is the runner on one person's own device; before the beginning
// it is the plan, after the end the transcript.
func (s *Server) getCeremony(v *visit) error {
	c, err := s.site.Ceremonies().Get(v.ctx(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	switch c.State {
	case ceremony.Drafted:
		p := ceremonyNewPage{Form: Form{Action: "/ceremonies/new", Values: map[string]string{"plan": c.Document}}, Checked: true}
		findings, err := s.site.Ceremonies().Check(v.ctx(), c.Plan)
		if err != nil {
			return err
		}
		for _, text := range findings {
			p.Findings = append(p.Findings, Finding{State: "error", Text: plain(text)})
		}
		return s.planPage(v, p, c)
	case ceremony.Closed, ceremony.Aborted:
		return v.redirect("/ceremonies/" + c.ID + "/transcript")
	}
	p, err := s.runnerPage(v, c)
	if err != nil {
		return err
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

func (s *Server) runnerPage(v *visit, c ceremony.Ceremony) (ceremonyPage, error) {
	st := c.Steps[c.Now-1]
	p := ceremonyPage{Number: c.ID, Title: c.Title, Site: s.site.Config().Display, State: ceremonyStates[c.State], Words: c.Words, Began: c.Opened,
		Present: s.presence(v, c), Current: s.scriptStep(v, c, st), Lead: s.lead(v, st), Break: "/ceremonies/" + c.ID + "/break",
		Deviate: Form{Action: "/ceremonies/" + c.ID + "/deviation"}, Abort: &Form{Action: "/ceremonies/" + c.ID + "/abort"}, NextLabel: say("ceremony.sign")}
	p.PresentNote = say("ceremony.room", c.Plan.Room)
	p.Note = say("ceremony.note-new")
	if c.Plan.Old != "" {
		p.Note = say("ceremony.note-old", c.Plan.Old)
	}
	for _, one := range c.Steps {
		p.Steps = append(p.Steps, s.scriptStep(v, c, one))
	}
	for _, n := range c.Notes {
		p.Deviations = append(p.Deviations, Deviation{At: n.At, Step: n.Step, By: s.noteBy(v, n), Text: n.Kind + ": " + n.Text})
	}
	p.Mine = slices.Contains(st.Step.By, v.me.ID) && !st.Signed(v.me.ID) && c.State == ceremony.Open
	if err := s.components(v, c, st, &p); err != nil {
		return p, err
	}
	if st.Step.Effect == ceremony.Confirm {
		if k, err := s.site.Register().Key(v.ctx(), c.KeyName()); err == nil {
			p.KCV = checkValue(k.KCV)
		}
	}
	if st.Effect == "doing" {
		t := say("ceremony.working")
		p.Blocked = &t
	}
	if !p.Mine {
		return p, nil
	}
	if done, err := s.prepare(v, c, st, &p); err != nil || !done {
		return p, err
	}
	a, _, err := s.propose(v, "ceremony.step", fmt.Sprintf("ceremony/%s/%d", c.ID, st.N), "/ceremonies/"+c.ID)
	if err != nil {
		t := plain(refusal(err))
		p.Blocked = &t
		return p, nil
	}
	p.Next = &Form{Action: "/asked/" + a.ID, Sign: v.signing(a.Challenge(act.Request))}
	p.Checks = []ScriptCheck{{Name: "said", Text: plain(st.Statement)}}
	return p, nil
}

func (s *Server) noteBy(v *visit, n ceremony.Note) Who {
	if strings.HasPrefix(n.Person, "system:") {
		return Who{Number: "0"}
	}
	return s.who(v.ctx(), n.Person)
}

// lead says whose turn it is.
func (s *Server) lead(v *visit, st ceremony.StepNow) Text {
	var waits []any
	for _, id := range st.Step.By {
		if !st.Signed(id) {
			waits = append(waits, id)
		}
	}
	switch len(waits) {
	case 0:
		return say("ceremony.working")
	case 1:
		return say("ceremony.waits-one", waits[0])
	}
	return say("ceremony.waits-many", len(waits), fmt.Sprint(waits...))
}

// checkValue is a check value as pages show one.
func checkValue(text string) *KCV {
	value, method, ok := strings.Cut(text, " ")
	if !ok {
		return nil
	}
	return &KCV{Value: value, Method: method}
}

// components shows the parts of an import as they come in.
func (s *Server) components(v *visit, c ceremony.Ceremony, now ceremony.StepNow, p *ceremonyPage) error {
	for _, st := range c.Steps {
		if st.Step.Effect != ceremony.Enter {
			continue
		}
		if now.Step.Effect != ceremony.Enter && now.Step.Effect != ceremony.Join {
			return nil
		}
		part := c.Plan.Parts[st.Part-1]
		one := Component{N: st.Part, Who: s.who(v.ctx(), part.Custodian), State: "todo", Digits: 2 * c.Plan.Key.Algorithm.KeyLen(), KCV: *orNone(checkValue(part.KCV.String())), Bag: part.Bag}
		switch {
		case st.Entered || st.Done():
			one.State, one.Entered = "checked", st.Began
		case st.N == now.N:
			one.State = "entering"
		}
		p.Components = append(p.Components, one)
	}
	return nil
}

func orNone(k *KCV) *KCV {
	if k == nil {
		return &KCV{}
	}
	return k
}

// cipherOf is a component's cipher as passkey.js names it.
func cipherOf(a hsm.Algorithm) string {
	if a.NeedsWaiver() {
		return "3DES"
	}
	return "AES"
}

// prepare shows what the visitor has to do before the step can be signed. It
// reports whether that is done.
func (s *Server) prepare(v *visit, c ceremony.Ceremony, st ceremony.StepNow, p *ceremonyPage) (bool, error) {
	at := func(what string) string { return fmt.Sprintf("/ceremonies/%s/%d/%s", c.ID, st.N, what) }
	switch st.Step.Effect {
	case ceremony.Enter, ceremony.Bring, ceremony.Show, ceremony.Hold:
	default:
		return true, nil
	}
	if st.Entered {
		return true, nil
	}
	e, own, err := s.site.Ceremonies().Entering(v.ctx(), c.ID, st.N, v.me.ID)
	if errors.Is(err, ceremony.ErrLate) {
		p.Begin, p.BeginSeconds = &Form{Action: at("begin")}, v.policy.Limits.ComponentEntry
		return false, nil
	}
	if err != nil {
		return false, err
	}
	switch st.Step.Effect {
	case ceremony.Enter:
		p.Entry = &Entry{Action: at("give"), N: st.Part, Digits: 2 * e.Bytes, Seconds: v.policy.Limits.ComponentEntry, Cipher: cipherOf(e.Algorithm), Method: methodOf(e.KCV), To: jsonOf(to(e))}
		return false, nil
	case ceremony.Bring:
		p.Bring = &Bring{Action: at("give"), Given: jsonOf(opening(v.me.Credential, own, to(e)))}
		return false, nil
	}
	p.Show = &Show{Open: jsonOf(opening(v.me.Credential, own, nil)), Seconds: v.policy.Limits.ComponentEntry, Method: own.Method, Check: own.Check, Share: st.Step.Effect == ceremony.Hold, KCV: checkValue(own.KCV)}
	return true, nil
}

// methodOf is the method that stands at a check value's end.
func methodOf(kcv string) string {
	_, method, _ := strings.Cut(kcv, " ")
	return method
}

// to is the module as passkey.js gives to it.
func to(e ceremony.Entry) map[string]any {
	return map[string]any{"spki": passkey.Bytes(e.Agree), "content": e.Content, "label": e.Label}
}

// opening is what passkey.js needs to open something that is sealed to a
// person's passkey, and to give it on.
func opening(c passkey.Credential, own ceremony.Sealed, to map[string]any) map[string]any {
	m := map[string]any{"credential": c.ID, "rp": c.RPID, "seal": c.Seal, "given": passkey.Bytes(own.Given), "content": own.Content, "label": own.Label}
	if to != nil {
		m["to"] = to
	}
	return m
}

func (s *Server) step(v *visit) (string, int, error) {
	var n int
	if _, err := fmt.Sscanf(v.r.PathValue("step"), "%d", &n); err != nil || fmt.Sprint(n) != v.r.PathValue("step") {
		return "", 0, errGone
	}
	return v.r.PathValue("id"), n, nil
}

func (s *Server) postBegin(v *visit) error {
	id, n, err := s.step(v)
	if err != nil {
		return err
	}
	if _, err := s.site.Ceremonies().Begin(v.ctx(), id, n, v.me.ID); err != nil {
		return s.refused(v, err, "/ceremonies/"+id)
	}
	return v.redirect("/ceremonies/" + id)
}

// postGive takes a component or a share, sealed to the module by the browser.
func (s *Server) postGive(v *visit) error {
	id, n, err := s.step(v)
	if err != nil {
		return err
	}
	var given passkey.Bytes
	if err := given.UnmarshalText([]byte(v.r.PostFormValue("given"))); err != nil || len(given) == 0 {
		return s.refused(v, errors.New("what was entered did not arrive; begin again"), "/ceremonies/"+id)
	}
	if err := s.site.Ceremonies().Give(v.ctx(), id, n, v.me.ID, given); err != nil {
		return s.refused(v, err, "/ceremonies/"+id)
	}
	s.tell(v, "ok", say("ceremony.entered"))
	return v.redirect("/ceremonies/" + id)
}

// note asks for the act by which something is noted in the ceremony.
func (s *Server) note(v *visit, kind, text string) error {
	id := v.r.PathValue("id")
	if text == "" {
		return s.refused(v, errors.New("say what happened"), "/ceremonies/"+id)
	}
	return v.redirect(askFor("ceremony.note", "ceremony/"+id+"/"+kind+"/"+text) + "&back=/ceremonies/" + id)
}

func (s *Server) postDeviation(v *visit) error { return s.note(v, "deviation", v.form("deviation")) }

func (s *Server) postBreak(v *visit) error {
	c, err := s.site.Ceremonies().Get(v.ctx(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	if c.State == ceremony.Break {
		return s.note(v, "resume", "the break is over")
	}
	return s.note(v, "break", "a break begins")
}

func (s *Server) postAbort(v *visit) error {
	id := v.r.PathValue("id")
	if v.form("why") == "" {
		return s.refused(v, errors.New("say why the ceremony ends"), "/ceremonies/"+id)
	}
	return v.redirect(askFor("ceremony.abort", "ceremony/"+id+"/"+v.form("why")) + "&back=/ceremonies/" + id)
}

func (s *Server) getTranscript(v *visit) error {
	c, err := s.site.Ceremonies().Get(v.ctx(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	t, _, err := s.site.Ceremonies().Transcript(v.ctx(), c.ID)
	if err != nil {
		return err
	}
	p := transcriptPage{Number: c.ID, Title: c.Title, Site: s.site.Config().Display, State: ceremonyStates[c.State], Began: c.Opened, Ended: c.Ended, Words: c.Words, Digest: c.Digest, People: s.signers(v, c)}
	if c.Kind == ceremony.Destroy && c.State == ceremony.Closed {
		p.Destruction = "/ceremonies/" + c.ID + "/destruction.pdf"
	}
	last, said := c.Opened, map[string]bool{}
	if root, err := audit.OpenCheckpoint(s.site.Store().Checkpoint(), s.site.Store().VerifierKey()); err == nil {
		p.Root = root.Root.String()
	}
	for _, st := range t.Steps {
		line := TranscriptStep{N: st.N, Title: plain(st.Title), Said: []Text{plain(st.Statement)}}
		for _, g := range st.Signatures {
			line.By = append(line.By, s.who(v.ctx(), g.Person))
			line.At, line.Entry = g.At, g.Entry
			if p.First == 0 {
				p.First = g.Entry
			}
			p.Last = max(p.Last, g.Entry)
		}
		line.Took = line.At.Sub(last).Truncate(time.Second)
		last = line.At
		for _, k := range slices.Sorted(maps.Keys(st.Result)) {
			value := st.Result[k]
			if !said[k+value] {
				p.Results = append(p.Results, Fact{either("result."+k, k), plain(firstBytes(value, 200))})
			}
			said[k+value] = true
		}
		p.Steps = append(p.Steps, line)
	}
	for _, n := range c.Notes {
		p.Deviations = append(p.Deviations, Deviation{At: n.At, Step: n.Step, By: s.noteBy(v, n), Text: n.Kind + ": " + n.Text})
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

// signers is who signed the transcript.
func (s *Server) signers(v *visit, c ceremony.Ceremony) []Seat {
	var seats []Seat
	last := c.Steps[len(c.Steps)-1]
	for _, id := range last.Step.By {
		seat := Seat{By: s.who(v.ctx(), id), State: "open"}
		for _, g := range last.Signatures {
			if g.Person == id {
				seat.State, seat.At = "signed", g.At
			}
		}
		seats = append(seats, seat)
	}
	return seats
}

// getTranscriptSigned is the transcript as the site signed it, for ankan-verify.
func (s *Server) getTranscriptSigned(v *visit) error {
	id := v.r.PathValue("id")
	_, signed, err := s.site.Ceremonies().Transcript(v.ctx(), id)
	if err != nil {
		return err
	}
	if len(signed) == 0 {
		return errGone
	}
	return v.download("application/json", "ceremony-"+id+".json", signed)
}

// getWrapped is a key that a ceremony wrapped for a partner: nobody can open it
// without the partner's key.
func (s *Server) getWrapped(v *visit) error {
	id := v.r.PathValue("id")
	wrapped, err := s.site.Ceremonies().Wrapped(v.ctx(), id)
	if err != nil {
		return err
	}
	return v.download("application/octet-stream", "ceremony-"+id+".wrapped", wrapped)
}
