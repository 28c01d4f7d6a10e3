package release

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"ankan/act"
	"ankan/audit"
	"ankan/conformance"
	"ankan/site"
	"ankan/store"
)

// Part keeps the register at a plant, where operating systems are loaded.
func Part() site.Part {
	return site.Part{Role: site.Plant, Schemas: []store.Schema{Schema()}, Open: open}
}

// At is the register of a site.
func At(s *site.Site) *Register {
	return New(Config{Site: s.Config().Site, Country: s.Config().Country, Store: s.Store(), People: s.People(), Sign: s.SignDocument})
}

// A part is the register at a site.
type part struct {
	*Register
	plant bool
}

func open(_ context.Context, s *site.Site) (site.Duties, error) {
	p := &part{At(s), s.Config().Is(site.Plant)}
	read := func(do func(r *http.Request) (any, error)) site.Route {
		return site.Route{Permission: "releases.read", Handler: site.Answer(func(r *http.Request) (any, error) {
			if err := p.here(); err != nil {
				return nil, err
			}
			return do(r)
		})}
	}
	signed := func(permission string, do func(context.Context, act.Person, []byte) (any, error)) site.Route {
		return s.BySigner(permission, func(ctx context.Context, who act.Person, _ *http.Request, body []byte) (any, error) {
			if err := p.here(); err != nil {
				return nil, err
			}
			return do(ctx, who, body)
		})
	}
	return site.Duties{
		Deeds: p.Deeds(),
		Routes: map[string]site.Route{
			"GET /v1/releases":        read(func(r *http.Request) (any, error) { return p.List(r.Context()) }),
			"GET /v1/releases/{name}": read(func(r *http.Request) (any, error) { return p.Get(r.Context(), r.PathValue("name")) }),
			"GET /v1/releases/{name}/{operator}/{profile}": read(func(r *http.Request) (any, error) {
				return p.Standing(r.Context(), r.PathValue("name"), r.PathValue("operator"), r.PathValue("profile"))
			}),
			"GET /v1/reports/{sha256}":     read(func(r *http.Request) (any, error) { return p.signedReport(r.Context(), r.PathValue("sha256")) }),
			"POST /v1/drafts/releases":     signed("releases.draft", p.postDraft),
			"POST /v1/drafts/integrations": signed("releases.draft", p.postPlan),
			"POST /v1/drafts/findings":     signed("releases.test", p.postFindings),
			"POST /v1/drafts/reports":      signed("releases.test", p.postReport),
		},
	}, nil
}

// here refuses a site that is no plant.
func (p *part) here() error {
	if !p.plant {
		return fmt.Errorf("site %s is no plant: %w to keep a register of operating systems", p.Site, act.ErrNotAllowed)
	}
	return nil
}

// A SignedReport is a report in the envelope that the site signed.
type SignedReport struct {
	Document []byte `json:"document"`
}

func (p *part) signedReport(ctx context.Context, digest string) (any, error) {
	doc, err := p.Signed(ctx, digest)
	return SignedReport{doc}, err
}

func (p *part) postDraft(ctx context.Context, who act.Person, body []byte) (any, error) {
	var r Release
	if err := audit.Strict(body, &r); err != nil {
		return nil, fmt.Errorf("the release: %w", err)
	}
	r, err := p.Put(ctx, who.ID, r)
	r.Image = nil
	return r, err
}

func (p *part) postPlan(ctx context.Context, who act.Person, body []byte) (any, error) {
	var plan Plan
	if err := audit.Strict(body, &plan); err != nil {
		return nil, fmt.Errorf("the integration: %w", err)
	}
	return p.PutPlan(ctx, who.ID, plan)
}

// A Found is findings of one tester about an integration.
type Found struct {
	Of       string    `json:"of"` // Integration.Ref
	Findings []Finding `json:"findings"`
}

func (p *part) postFindings(ctx context.Context, who act.Person, body []byte) (any, error) {
	var f Found
	if err := audit.Strict(body, &f); err != nil {
		return nil, fmt.Errorf("the findings: %w", err)
	}
	for _, x := range f.Findings {
		if x.Tester != "" || !x.At.IsZero() {
			return nil, errors.New("findings: the site says who found them, and when")
		}
	}
	if _, err := p.Find(ctx, who, f.Of, f.Findings); err != nil {
		return nil, err
	}
	return f, nil
}

// A Ran is a report of the conformance suite about an integration.
type Ran struct {
	Of     string             `json:"of"`
	Report conformance.Report `json:"report"`
}

func (p *part) postReport(ctx context.Context, who act.Person, body []byte) (any, error) {
	var r Ran
	if err := audit.Strict(body, &r); err != nil {
		return nil, fmt.Errorf("the report: %w", err)
	}
	return p.Attach(ctx, who, r.Of, r.Report)
}
