package console

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ankan/ceremony"
	"ankan/keys"
	"ankan/paper"
	"ankan/release"
)

// mark is what every paper carries: the site, and when it was printed.
func (s *Server) mark() paper.Mark {
	return paper.Mark{Site: s.site.Config().Site, At: s.site.Store().Now()}
}

func (v *visit) pdf(name string, p interface{ PDF() ([]byte, error) }) error {
	b, err := p.PDF()
	if err != nil {
		return err
	}
	return v.download("application/pdf", name, b)
}

// names are the people's names, for papers that are signed by hand.
func (s *Server) names(v *visit) (paper.Names, error) {
	all, err := s.site.People().Members(v.ctx())
	n := paper.Names{}
	for _, m := range all {
		n[m.ID] = m.Name
	}
	return n, err
}

func (s *Server) getPolicyPDF(v *visit) error {
	people, err := s.site.People().People(v.ctx())
	if err != nil {
		return err
	}
	if !v.may("people.read") {
		people = nil
	}
	return v.pdf(fmt.Sprintf("policy-%d.pdf", v.policy.Version), paper.Policy{Mark: s.mark(), Policy: v.policy, People: people})
}

// getPlanPDF is the script that everybody in the room has in hand.
func (s *Server) getPlanPDF(v *visit) error {
	c, err := s.site.Ceremonies().Get(v.ctx(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	names, err := s.names(v)
	if err != nil {
		return err
	}
	return v.pdf("plan-"+c.ID+".pdf", paper.Plan{Mark: s.mark(), Ceremony: c, Names: names})
}

func (s *Server) getTranscriptPDF(v *visit) error {
	p, c, err := s.transcriptPaper(v)
	if err != nil {
		return err
	}
	return v.pdf("ceremony-"+c.ID+".pdf", p)
}

func (s *Server) transcriptPaper(v *visit) (paper.Transcript, ceremony.Ceremony, error) {
	c, err := s.site.Ceremonies().Get(v.ctx(), v.r.PathValue("id"))
	if err != nil {
		return paper.Transcript{}, c, err
	}
	if c.State == ceremony.Drafted {
		return paper.Transcript{}, c, errGone
	}
	t, _, err := s.site.Ceremonies().Transcript(v.ctx(), c.ID)
	if err != nil {
		return paper.Transcript{}, c, err
	}
	names, err := s.names(v)
	return paper.Transcript{Mark: s.mark(), Transcript: t, Closing: c.Steps[len(c.Steps)-1].Signatures, Ended: c.Ended, Names: names}, c, err
}

// getDestructionPDF is the record of a key's destruction, which is kept for
// ever (SOP 6.4.e.viii).
func (s *Server) getDestructionPDF(v *visit) error {
	t, c, err := s.transcriptPaper(v)
	if err != nil {
		return err
	}
	if c.Kind != ceremony.Destroy || c.State != ceremony.Closed {
		return errGone
	}
	k, err := s.site.Register().Key(v.ctx(), c.Key)
	if err != nil {
		return err
	}
	copies, err := s.site.Register().Copies(v.ctx(), c.Key)
	if err != nil {
		return err
	}
	return v.pdf("destruction-"+c.ID+".pdf", paper.Destruction{Transcript: t, Key: k, Copies: copies})
}

// getCompromisePDF is the report of a compromise (SOP 6.4.e.vii).
func (s *Server) getCompromisePDF(v *visit) error {
	id := v.r.PathValue("id")
	k, err := s.site.Register().Key(v.ctx(), id)
	if err != nil {
		return err
	}
	all, err := s.site.Register().Reports(v.ctx())
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Key != id {
			continue
		}
		m := s.mark()
		m.Number, m.SHA256 = shortNumber(id), digestOf(r)
		return v.pdf("compromise.pdf", paper.Compromise{Mark: m, Report: r, Key: k})
	}
	return errGone
}

// getTestPDF is the record of the last security test that was closed.
func (s *Server) getTestPDF(v *visit) error {
	_, st, err := s.standing(v)
	if err != nil {
		return err
	}
	if len(st.Tests) == 0 {
		return errGone
	}
	names, err := s.names(v)
	if err != nil {
		return err
	}
	t := st.Tests[len(st.Tests)-1]
	m := s.mark()
	m.Number, m.SHA256 = strconv.Itoa(st.Number), digestOf(t)
	p := paper.SecurityTest{Mark: m, OS: st.Integration.Release, Vendor: st.Release.Vendor, Country: st.Release.Country, Image: st.Release.SHA256, Profile: st.SHA256, Report: t.Report,
		Operator: st.Operator, ProfileOf: st.Profile, Testers: t.Testers, Closed: t.At, Verdict: t.Verdict, Names: names}
	var makers []string
	for _, d := range st.Release.Developers {
		makers = append(makers, d.String())
	}
	p.Developers = strings.Join(makers, ", ")
	found := map[string]release.Finding{}
	for _, f := range t.Findings {
		found[f.Item] = f
	}
	for _, it := range release.Checklist() {
		f := found[it.ID]
		p.Items = append(p.Items, paper.TestItem{ID: it.ID, Title: it.Title, Clause: it.Clause, Result: f.Result, Reason: f.Reason, Evidence: f.Evidence, Tester: f.Tester})
	}
	for _, r := range st.Reports {
		if r.SHA256 == t.Report {
			p.Chip = r.Report.Chip
			for _, c := range r.Report.Cases {
				p.Cases = append(p.Cases, paper.TestCase{ID: c.ID, Title: c.Title, Clause: c.Clause, Result: c.Result, Seen: c.Seen})
			}
		}
	}
	return v.pdf(fmt.Sprintf("security-test-%d.pdf", st.Number), p)
}

func (s *Server) getHistoryPDF(v *visit) error {
	id := v.r.PathValue("id")
	k, err := s.site.Register().Key(v.ctx(), id)
	if err != nil {
		return err
	}
	h := paper.History{Mark: s.mark(), Key: k}
	var errs [3]error
	h.Events, errs[0] = s.site.Register().Events(v.ctx(), id)
	h.Copies, errs[1] = s.site.Register().Copies(v.ctx(), id)
	h.Links, errs[2] = s.site.Register().Links(v.ctx(), id)
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	if n := len(h.Events); n > 0 {
		h.Mark.Entry = h.Events[n-1].Entry
	}
	h.Mark.Number, h.Mark.SHA256 = shortNumber(id), digestOf(struct {
		Key    keys.Key
		Events []keys.Event
		Copies []keys.Copy
		Links  []keys.Link
	}{k, h.Events, h.Copies, h.Links})
	return v.pdf("key-history.pdf", h)
}

// getFormPDF is a key transfer form, for the bag.
func (s *Server) getFormPDF(v *visit) error {
	f, err := s.form(v, v.r.PathValue("site"))
	if err != nil {
		return err
	}
	m := s.mark()
	m.Site, m.Number, m.SHA256 = f.Site, f.Number, digestOf(f.Sheet)
	p := paper.Form{Mark: m, Key: f.Key, Part: f.Component, Of: f.Of, PartKCV: f.KCV, KeyKCV: f.KeyKCV, Ceremony: f.Ceremony, Bag: f.Bag, Seal: f.Seal,
		From: f.FromPerson + " at " + f.Site, To: f.ToPerson, ToSite: f.ToSite, Carrier: f.Carrier, Within: v.policy.Periods.Receipt}
	if k, err := s.site.Register().Key(v.ctx(), f.Key); err == nil {
		p.Algorithm, p.Purpose = string(k.Algorithm), string(k.Purpose)
	}
	if i := f.Inspection; i != nil && f.State != keys.FormAnnounced {
		p.Receipt = paper.Receipt{Received: f.Received, Bag: i.Bag, Seal: i.Seal}
	}
	return v.pdf(f.Number+".pdf", p)
}

// getInventoryPDF is a count: the one of an act, or, without, the sheet to count
// with.
func (s *Server) getInventoryPDF(v *visit) error {
	id := v.r.PathValue("person")
	if _, err := s.site.People().Member(v.ctx(), id); err != nil {
		return err
	}
	names, err := s.names(v)
	if err != nil {
		return err
	}
	p := paper.Inventory{Mark: s.mark(), Custodian: id, Names: names}
	counted := v.form("act")
	if counted == "" {
		things, err := s.site.Register().Things(v.ctx(), id)
		if err != nil {
			return err
		}
		for _, t := range things {
			p.Items = append(p.Items, itemOf(t))
		}
		p.Mark.Number, p.Mark.SHA256 = "custody of "+id, digestOf(things)
		return v.pdf("inventory-"+id+".pdf", p)
	}
	all, err := s.site.Register().Inventories(v.ctx(), id)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(one keys.Inventory) bool { return one.Act == counted })
	if i < 0 {
		return errGone
	}
	p.Before, p.Counted, p.Mark.Number, p.Mark.SHA256 = all[i].Officer, all[i].At, all[i].Act, digestOf(all[i])
	for _, t := range all[i].Things {
		one := itemOf(t.Thing)
		one.Found = map[bool]string{true: "whole", false: "missing"}[t.Seen]
		p.Items = append(p.Items, one)
	}
	return v.pdf("inventory-"+id+".pdf", p)
}

func itemOf(t keys.Thing) paper.Item { return paper.Item{Kind: t.Name, Key: t.Key} }

// getTransferOfThingsPDF is the record of what changed hands.
func (s *Server) getTransferOfThingsPDF(v *visit) error {
	t, err := s.handover(v)
	if err != nil {
		return err
	}
	names, err := s.names(v)
	if err != nil {
		return err
	}
	m := s.mark()
	m.Number, m.SHA256 = t.Number, digestOf(t)
	p := paper.Handover{Mark: m, From: t.Outgoing, To: t.Incoming, Before: t.Officer, Given: t.Done, Names: names}
	for _, ref := range t.Things {
		p.Items = append(p.Items, paper.Item{Kind: ref})
	}
	return v.pdf(t.Number+".pdf", p)
}

// shortNumber is a key's name as a paper's number, of up to 64 bytes.
func shortNumber(id string) string { return firstBytes(id, 64) }

// digestOf is the SHA-256 of a record as JSON: the paper shows it in six words.
func digestOf(v any) [32]byte { return sha256.Sum256([]byte(jsonOf(v))) }
