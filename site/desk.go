package site

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/ceremony"
	"ankan/keys"
	"ankan/passkey"
)

// What the control socket shows of people, policy, keys and ceremonies, and the
// drafts that people send by it.

// A PersonView is somebody as the site shows them: their record, what is written
// down for it, and what is on record about them.
type PersonView struct {
	Record     *access.Member `json:"record,omitempty"`
	Draft      *access.Draft  `json:"draft,omitempty"`
	EnrolBy    string         `json:"enrol_by,omitempty"` // the kind of act that puts the draft into force
	Training   []act.Record   `json:"training,omitempty"`
	Statements []act.Record   `json:"statements,omitempty"`
	Holds      []keys.Copy    `json:"holds,omitempty"` // components and shares
}

func (s *Site) getPerson(r *http.Request) (any, error) {
	ctx, id := r.Context(), r.PathValue("id")
	var v PersonView
	m, noRecord := s.people.Member(ctx, id)
	if noRecord == nil {
		v.Record = &m
	} else if !errors.Is(noRecord, access.ErrNoPerson) {
		return nil, noRecord
	}
	switch d, err := s.people.GetDraft(ctx, id); {
	case err == nil:
		v.Draft = &d
		if v.EnrolBy, err = s.people.EnrolKind(ctx, id); err != nil {
			return nil, err
		}
	case !errors.Is(err, access.ErrNoDraft):
		return nil, err
	case noRecord != nil:
		return nil, noRecord
	}
	var errs [3]error
	v.Training, errs[0] = s.people.Records(ctx, access.Training, id)
	v.Statements, errs[1] = s.people.Records(ctx, access.Statement, id)
	v.Holds, errs[2] = s.register.Held(ctx, id)
	return v, errors.Join(errs[:]...)
}

// mostNotices bounds what is shown of what a person was told.
const mostNotices = 200

func (s *Site) getNotices(r *http.Request) (any, error) {
	if _, err := s.people.Member(r.Context(), r.PathValue("id")); err != nil {
		return nil, err
	}
	return s.board.For(r.Context(), r.PathValue("id"), r.FormValue("unread") == "true", mostNotices)
}

// A PersonDraft asks to write a person's record down.
type PersonDraft struct {
	Person act.Person `json:"person"` // its credential is not looked at
	Renew  bool       `json:"renew"`  // with a new passkey
}

// A PersonDrafted is what came of it.
type PersonDrafted struct {
	Draft access.Draft `json:"draft"`
	Code  string       `json:"code,omitempty"` // to register with; shown once
	Act   string       `json:"act"`            // the kind of act that puts it into force
}

func (s *Site) postPersonDraft(ctx context.Context, who act.Person, _ *http.Request, body []byte) (any, error) {
	var q PersonDraft
	if err := audit.Strict(body, &q); err != nil {
		return nil, fmt.Errorf("the draft: %w", err)
	}
	code, err := s.people.PutDraft(ctx, who.ID, q.Person, q.Renew)
	if err != nil {
		return nil, err
	}
	d, err := s.people.GetDraft(ctx, q.Person.ID)
	if err != nil {
		return nil, err
	}
	kind, err := s.people.EnrolKind(ctx, q.Person.ID)
	return PersonDrafted{Draft: d, Code: code, Act: kind}, err
}

// A SoftPasskey is a software passkey that somebody registers with a code.
type SoftPasskey struct {
	Code       string             `json:"code"`
	Credential passkey.Credential `json:"credential"`
	Assertion  passkey.Assertion  `json:"assertion"` // over RegisterChallenge
}

// RegisterChallenge is what a software passkey signs to show that whoever
// registers it has it.
func RegisterChallenge(site, person, code string, credential []byte) [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "ankan/register/v1\n%s\n%s\n%s\n%x\n", site, person, code, credential))
}

// postPasskey registers a software passkey. A browser's is registered at the
// console, where its making is seen.
func (s *Site) postPasskey(r *http.Request) (any, error) {
	var q SoftPasskey
	if err := ReadRequest(r, &q); err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	c := q.Credential
	switch {
	case !s.config.Console.AllowSoftware && s.guard.Info().Certified:
		return nil, fmt.Errorf("person %s: %w: this site takes no software passkeys (console.allow_software); register at the console's page /enrol", id, act.ErrNotAllowed)
	case c.Method != passkey.Software || string(c.AAGUID) != passkey.SoftAAGUID || c.Model != passkey.SoftModel:
		return nil, fmt.Errorf("person %s: %w: only a software passkey is registered here; others at the console's page /enrol", id, act.ErrNotAllowed)
	}
	if c.Seal != nil {
		if _, err := c.Seal.Key(); err != nil {
			return nil, err
		}
	}
	if _, err := s.people.CheckCode(r.Context(), id, q.Code); err != nil {
		return nil, err
	}
	if _, err := c.Verify(q.Assertion, RegisterChallenge(s.config.Site, id, q.Code, c.ID)); err != nil {
		return nil, err
	}
	if err := s.people.Register(r.Context(), id, q.Code, c, ""); err != nil {
		return nil, err
	}
	d, err := s.people.GetDraft(r.Context(), id)
	if err != nil {
		return nil, err
	}
	kind, err := s.people.EnrolKind(r.Context(), id)
	return PersonDrafted{Draft: d, Act: kind}, err
}

// getPolicy is the policy in force, or an older version.
func (s *Site) getPolicy(r *http.Request) (any, error) {
	if r.FormValue("version") == "" {
		return s.people.Policy(r.Context())
	}
	all, err := s.people.Policies(r.Context())
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(p act.Policy) bool { return strconv.Itoa(p.Version) == r.FormValue("version") })
	if i < 0 {
		return nil, fmt.Errorf("policy version %q: %w", r.FormValue("version"), access.ErrNoDraft)
	}
	return all[i], nil
}

// A PolicyDraft is the next version of the policy as it was written down.
type PolicyDraft struct {
	Policy  act.Policy `json:"policy"`
	Written string     `json:"written"` // YAML
	Editor  string     `json:"editor"`
	Changes []string   `json:"changes"` // from the one in force, a line each
}

func (s *Site) getPolicyDraft(r *http.Request) (any, error) { return s.policyDraft(r.Context()) }

func (s *Site) policyDraft(ctx context.Context) (PolicyDraft, error) {
	p, written, editor, err := s.people.PolicyDraft(ctx)
	if err != nil {
		return PolicyDraft{}, err
	}
	now, err := s.people.Policy(ctx)
	return PolicyDraft{Policy: p, Written: string(written), Editor: editor, Changes: now.Diff(p)}, err
}

func (s *Site) postPolicyDraft(ctx context.Context, who act.Person, _ *http.Request, body []byte) (any, error) {
	if _, err := s.people.PutPolicy(ctx, who.ID, body); err != nil {
		return nil, err
	}
	return s.policyDraft(ctx)
}

func (s *Site) getKeys(r *http.Request) (any, error) {
	all, _, err := s.register.Keys(r.Context(), keys.Filter{State: r.FormValue("state"), Purpose: r.FormValue("purpose"), Partner: r.FormValue("partner"), Text: r.FormValue("text")})
	return all, err
}

// A KeyLife is all that the register knows of one key.
type KeyLife struct {
	keys.Key
	Copies []keys.Copy  `json:"copies"`
	Links  []keys.Link  `json:"links"`
	Events []keys.Event `json:"events"`
}

func (s *Site) getKey(r *http.Request) (any, error) {
	ctx, id := r.Context(), r.PathValue("id")
	k, err := s.register.Key(ctx, id)
	if err != nil {
		return nil, err
	}
	v := KeyLife{Key: k}
	var errs [3]error
	v.Copies, errs[0] = s.register.Copies(ctx, id)
	v.Links, errs[1] = s.register.Links(ctx, id)
	v.Events, errs[2] = s.register.Events(ctx, id)
	return v, errors.Join(errs[:]...)
}

// A CeremonyView is a ceremony, and what is wrong with its plan before it
// begins.
type CeremonyView struct {
	ceremony.Ceremony
	Findings []string `json:"findings,omitempty"`
}

func (s *Site) getCeremony(r *http.Request) (any, error) {
	c, err := s.runner.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	v := CeremonyView{Ceremony: c}
	if c.State == ceremony.Drafted {
		v.Findings, err = s.runner.Check(r.Context(), c.Plan)
	}
	return v, err
}

// A Transcript is what happened in a ceremony, and the document that the site
// signed when it was closed.
type Transcript struct {
	Transcript ceremony.Transcript `json:"transcript"`
	Signed     []byte              `json:"signed,omitempty"`
}

func (s *Site) getTranscript(r *http.Request) (any, error) {
	t, signed, err := s.runner.Transcript(r.Context(), r.PathValue("id"))
	return Transcript{t, signed}, err
}

func (s *Site) postCeremonyDraft(ctx context.Context, who act.Person, _ *http.Request, body []byte) (any, error) {
	c, findings, err := s.runner.Draft(ctx, who.ID, body)
	return CeremonyView{c, findings}, err
}

// step is the ceremony and step of a request.
func step(r *http.Request) (string, int, error) {
	n, err := strconv.Atoi(r.PathValue("step"))
	if err != nil || strconv.Itoa(n) != r.PathValue("step") {
		return "", 0, fmt.Errorf("step %q: %w", r.PathValue("step"), ceremony.ErrNone)
	}
	return r.PathValue("id"), n, nil
}

// A Beginning is what somebody needs to enter a component, or to bring a share.
type Beginning struct {
	ceremony.Entry
	Own *ceremony.Sealed `json:"own,omitempty"` // opens for who began alone
}

func (s *Site) postBegin(ctx context.Context, who act.Person, r *http.Request, _ []byte) (any, error) {
	id, n, err := step(r)
	if err != nil {
		return nil, err
	}
	e, err := s.runner.Begin(ctx, id, n, who.ID)
	if err != nil || e.Bytes > 0 { // a component is typed
		return Beginning{Entry: e}, err
	}
	own, err := s.runner.Own(ctx, id, n, who.ID)
	return Beginning{e, &own}, err
}

// postGive takes a component, sealed to the module where it was entered.
func (s *Site) postGive(ctx context.Context, who act.Person, r *http.Request, body []byte) (any, error) {
	id, n, err := step(r)
	if err != nil {
		return nil, err
	}
	var given passkey.Bytes
	if err := given.UnmarshalText(body); err != nil || len(given) == 0 {
		return nil, errors.New("the component is not sealed as the module opens it")
	}
	if err := s.runner.Give(ctx, id, n, who.ID, given); err != nil {
		return nil, err
	}
	return s.runner.Get(ctx, id)
}
