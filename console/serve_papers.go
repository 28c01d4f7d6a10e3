package console

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"ankan/ceremony"
	"ankan/keys"
	"ankan/paper"
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

// shortNumber is a key's name as a paper's number, of up to 64 bytes.
func shortNumber(id string) string { return firstBytes(id, 64) }

// digestOf is the SHA-256 of a record as JSON: the paper shows it in six words.
func digestOf(v any) [32]byte { return sha256.Sum256([]byte(jsonOf(v))) }
