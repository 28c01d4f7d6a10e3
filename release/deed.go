package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/conformance"
	"ankan/custody"
	"ankan/store"
)

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// A view is the register and the people, as a change sees them or as they are
// committed.
type view struct {
	store.Querier
	people access.View
}

// A checking says what an act about a subject would do, and its parameters. It
// is asked when the act is proposed, and again in the change that does it.
type checking[T any] func(ctx context.Context, q view, subject string) (T, map[string]string, error)

// deed is an act that is checked, and then written in the change that spends its
// warrant. What was signed must be what is so then.
func deed[T any](g *Register, check checking[T], write func(context.Context, *store.Tx, act.Person, act.Act, T) error) custody.Deed {
	return custody.Deed{
		Propose: func(ctx context.Context, subject string) (m map[string]string, err error) {
			err = g.Store.View(ctx, func(tx *store.ReadTx) (err error) {
				_, m, err = check(ctx, view{tx, g.People.At(tx)}, subject)
				return err
			})
			return m, err
		},
		Do: func(ctx context.Context, w custody.Warrant) error {
			a := w.Act()
			data := map[string]any{}
			for k, v := range a.Params {
				data[k] = v
			}
			return w.Use(ctx, a.Kind, a.Subject, data, func(tx *store.Tx) error {
				people := access.In(tx)
				v, now, err := check(ctx, view{tx, people}, a.Subject)
				if err != nil {
					return err
				}
				if err := a.StillSays(now); err != nil {
					return err
				}
				who, err := people.Person(ctx, a.Requester)
				if err != nil {
					return err
				}
				return write(ctx, tx, who, a, v)
			})
		},
	}
}

// editors are those who may not approve, beside the requester: without
// repetition, as an act names them.
func editors(lists ...[]string) string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ",")
}

// ---- release.register of release/NAME

func (g *Register) checkRegister(ctx context.Context, q view, s string) (r Release, m map[string]string, err error) {
	x, err := parseSubject(s, 0)
	if err != nil {
		return r, nil, err
	}
	editor, err := draftOf(q, s, &r)
	if err != nil {
		return r, nil, err
	}
	if err := r.open(); err != nil {
		return r, nil, err
	}
	if r.Name != x.release {
		return r, nil, fmt.Errorf("%s: the image is %q", s, r.Name)
	}
	if err := g.mayRegister(ctx, q, q.people, r); err != nil {
		return r, nil, err
	}
	here, err := r.developersHere(ctx, q.people)
	if err != nil {
		return r, nil, err
	}
	return r, map[string]string{
		"vendor": r.Vendor, "country": r.Country, "environment": r.Environment, "process": r.Process, "developers": r.developerText(),
		"chips": strings.Join(r.Chips, ", "), "algorithms": strings.Join(r.Algorithms, ", "), "image_sha256": r.SHA256, "os_maker": hex.EncodeToString(r.OSMaker),
		act.ParamEditors: editors([]string{editor}, here),
	}, nil
}

func (g *Register) register(_ context.Context, tx *store.Tx, who act.Person, a act.Act, r Release) error {
	r.At, r.Act = tx.Time().UTC().Truncate(time.Second), a.ID
	if _, err := tx.Exec(`INSERT INTO os_release (name, document, image, act, at) VALUES ($1, $2, $3, $4, $5)`, r.Name, jsonOf(r), r.SHA256, a.ID, store.Stamp(tx.Time())); err != nil {
		return err
	}
	if err := dropDraft(tx, a.Subject); err != nil {
		return err
	}
	return happened(tx, Integration{Release: r.Name}, "person/"+who.ID, a.Kind, "image "+r.SHA256)
}

func dropDraft(tx *store.Tx, subject string) error {
	_, err := tx.Exec(`DELETE FROM release_draft WHERE subject = $1`, subject)
	return err
}

// ---- release.integrate of release/NAME/OPERATOR/PROFILE

// An integrating is an integration with its profile.
type integrating struct {
	Integration
	text string
}

func (g *Register) checkIntegrate(ctx context.Context, q view, s string) (v integrating, m map[string]string, err error) {
	if _, err := parseSubject(s, 2); err != nil {
		return v, nil, err
	}
	var p Plan
	editor, err := draftOf(q, s, &p)
	if err != nil {
		return v, nil, err
	}
	i, text, err := g.mayIntegrate(ctx, q, q.people, p)
	if err != nil {
		return v, nil, err
	}
	if i.Ref() != s {
		return v, nil, fmt.Errorf("%s: it was written down as %s", s, i.Ref())
	}
	r, err := releaseOf(q, i.Release)
	if err != nil {
		return v, nil, err
	}
	return integrating{i, text}, map[string]string{
		"operator": i.Operator, "profile": i.Profile, "profile_sha256": i.SHA256, "image_sha256": r.SHA256,
		"site": i.Site, "country": i.Country, "place": i.Place, "people": strings.Join(i.People, ", "),
		act.ParamEditors: editor,
	}, nil
}

func (g *Register) integrate(_ context.Context, tx *store.Tx, who act.Person, a act.Act, v integrating) error {
	i := v.Integration
	_, err := tx.Exec(`INSERT INTO integration (release, operator, profile, profile_sha256, document, text, state, act, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		i.Release, i.Operator, i.Profile, i.SHA256, jsonOf(i), []byte(v.text), Integrated, a.ID, store.Stamp(tx.Time()))
	if err != nil {
		return err
	}
	if err := dropDraft(tx, a.Subject); err != nil {
		return err
	}
	return happened(tx, i, "person/"+who.ID, a.Kind, "profile "+i.SHA256)
}

// ---- release.test of release/NAME/OPERATOR/PROFILE

// A testing is a test that could be closed now.
type testing struct {
	Integration
	release Release
	test    Test
}

func (g *Register) checkTest(ctx context.Context, q view, s string) (v testing, m map[string]string, err error) {
	x, err := parseSubject(s, 2)
	if err != nil {
		return v, nil, err
	}
	if v.Integration, err = last(q, x.release, x.operator, x.profile); err != nil {
		return v, nil, err
	}
	if err := errors.Join(testable(v.Integration), indian(g.Country, "security tested (SOP 5.i)")); err != nil {
		return v, nil, err
	}
	if v.release, err = releaseOf(q, x.release); err != nil {
		return v, nil, err
	}
	if v.test, err = g.testOf(ctx, q, v.Integration, v.release); err != nil {
		return v, nil, err
	}
	here, err := v.release.developersHere(ctx, q.people)
	if err != nil {
		return v, nil, err
	}
	t := v.test
	return v, map[string]string{
		"operator": x.operator, "profile": x.profile, "profile_sha256": v.SHA256, "image_sha256": v.release.SHA256,
		"verdict": t.Verdict, "passed": strconv.Itoa(t.count(Pass)), "failed": strconv.Itoa(t.count(Fail)), "not_applicable": strconv.Itoa(t.count(NotApplicable)),
		"checklist_sha256": sha(jsonOf(t.Findings)), "report_sha256": t.Report, "testers": strings.Join(t.Testers, ", "),
		act.ParamEditors: editors(t.Testers, here),
	}, nil
}

// testOf is what the findings so far come to. Each item needs one, and the
// conformance suite a report.
func (g *Register) testOf(ctx context.Context, q view, i Integration, r Release) (t Test, err error) {
	if t.Findings, err = findings(q, i.Number); err != nil {
		return t, err
	}
	var open []string
	for _, it := range Checklist() {
		if !slices.ContainsFunc(t.Findings, func(f Finding) bool { return f.Item == it.ID }) {
			open = append(open, it.ID)
		}
	}
	ran, err := reports(q, i.Number)
	if err != nil {
		return t, err
	}
	if len(ran) == 0 {
		return t, fmt.Errorf("%s: %w: no report of the conformance suite is attached; run: ankan release test", i.Ref(), act.ErrNotAllowed)
	}
	if len(open) > 0 {
		return t, fmt.Errorf("%s: %w: %d items of the checklist are open: %s", i.Ref(), act.ErrNotAllowed, len(open), strings.Join(open, ", "))
	}
	report := ran[len(ran)-1]
	t.Report, t.Verdict, t.Testers = report.SHA256, Pass, []string{report.Tester}
	if t.count(Fail) > 0 || report.Report.Count(conformance.Fail) > 0 {
		t.Verdict = Fail
	}
	for _, f := range t.Findings {
		t.Testers = append(t.Testers, f.Tester)
	}
	slices.Sort(t.Testers)
	t.Testers = slices.Compact(t.Testers)
	for _, n := range t.Testers {
		m, err := q.people.Member(ctx, n)
		if err != nil {
			return t, err
		}
		if err := r.notADeveloper(m.Person, "test"); err != nil {
			return t, err
		}
	}
	return t, nil
}

func (g *Register) test(_ context.Context, tx *store.Tx, who act.Person, a act.Act, v testing) error {
	if err := v.release.notADeveloper(who, "test"); err != nil {
		return err
	}
	t := v.test
	t.At, t.Act = tx.Time().UTC().Truncate(time.Second), a.ID
	if _, err := tx.Exec(`INSERT INTO security_test (integration, document, act, at) VALUES ($1, $2, $3, $4)`, v.Number, jsonOf(t), a.ID, store.Stamp(tx.Time())); err != nil {
		return err
	}
	if err := move(tx, v.Number, Tested, a.ID); err != nil {
		return err
	}
	return happened(tx, v.Integration, "person/"+who.ID, a.Kind, t.Verdict)
}

// move notes the state, and the act that brought it.
func move(tx *store.Tx, number int, to State, actID string) error {
	_, err := tx.Exec(`UPDATE integration SET state = $1, act = $2 WHERE number = $3`, to, actID, number)
	return err
}

// ---- release.approve of release/NAME/OPERATOR/PROFILE

func (g *Register) checkApprove(ctx context.Context, q view, s string) (v testing, m map[string]string, err error) {
	x, err := parseSubject(s, 2)
	if err != nil {
		return v, nil, err
	}
	if v.Integration, err = last(q, x.release, x.operator, x.profile); err != nil {
		return v, nil, err
	}
	if v.State != Tested {
		return v, nil, fmt.Errorf("%s: %w: it is %s; it is approved after its security test (SOP 6.2)", s, act.ErrNotAllowed, v.State)
	}
	if err := indian(g.Country, "approved for loading (SOP 5.ii)"); err != nil {
		return v, nil, err
	}
	if v.release, err = releaseOf(q, x.release); err != nil {
		return v, nil, err
	}
	all, err := tests(q, v.Number)
	if err != nil {
		return v, nil, err
	}
	v.test = all[len(all)-1]
	if v.test.Verdict != Pass {
		return v, nil, fmt.Errorf("%s: %w: its security test failed in %d items; it is tested anew when the vendor mended it, as another version", s, act.ErrNotAllowed, v.test.count(Fail))
	}
	// What was found after the test was closed is not part of it.
	now, err := findings(q, v.Number)
	if err != nil {
		return v, nil, err
	}
	if sha(jsonOf(now)) != sha(jsonOf(v.test.Findings)) {
		return v, nil, fmt.Errorf("%s: %w: there are findings newer than the test; close it anew: release.test", s, act.ErrNotAllowed)
	}
	here, err := v.release.developersHere(ctx, q.people)
	if err != nil {
		return v, nil, err
	}
	return v, map[string]string{
		"operator": x.operator, "profile": x.profile, "profile_sha256": v.SHA256, "image_sha256": v.release.SHA256, "vendor": v.release.Vendor,
		"country": v.release.Country, "tested": v.test.Act, "checklist_sha256": sha(jsonOf(v.test.Findings)), "report_sha256": v.test.Report,
		"testers": strings.Join(v.test.Testers, ", "), "developers": v.release.developerText(),
		act.ParamEditors: editors(v.test.Testers, here),
	}, nil
}

func (g *Register) approve(ctx context.Context, tx *store.Tx, who act.Person, a act.Act, v testing) error {
	if err := v.release.notADeveloper(who, "approve"); err != nil {
		return err
	}
	if err := move(tx, v.Number, Approved, a.ID); err != nil {
		return err
	}
	return happened(tx, v.Integration, "person/"+who.ID, a.Kind, "image "+v.release.SHA256+" in profile "+v.SHA256)
}

// ---- release.withdraw of release/NAME/OPERATOR/PROFILE/REASON

func (g *Register) checkWithdraw(_ context.Context, q view, s string) (all []Integration, m map[string]string, err error) {
	x, err := parseSubject(s, 3)
	if err != nil {
		return nil, nil, err
	}
	r, err := releaseOf(q, x.release)
	if err != nil {
		return nil, nil, err
	}
	all, err = integrations(q, `release = $1 AND ($2 = '*' OR operator = $2) AND ($3 = '*' OR profile = $3) AND state <> 'withdrawn'`, x.release, x.operator, x.profile)
	if err != nil {
		return nil, nil, err
	}
	if len(all) == 0 {
		return nil, nil, fmt.Errorf("%s: %w: there is nothing to withdraw", s, act.ErrNotAllowed)
	}
	var text []string
	for _, i := range all {
		text = append(text, fmt.Sprintf("%d %s of %s, %s", i.Number, i.Profile, i.Operator, i.State))
	}
	return all, map[string]string{"withdraws": strings.Join(text, "; "), "count": strconv.Itoa(len(all)), "image_sha256": r.SHA256, "reason": x.reason}, nil
}

func (g *Register) withdraw(_ context.Context, tx *store.Tx, who act.Person, a act.Act, all []Integration) error {
	for _, i := range all {
		if err := move(tx, i.Number, Withdrawn, a.ID); err != nil {
			return err
		}
		if err := happened(tx, i, "person/"+who.ID, a.Kind, a.Params["reason"]); err != nil {
			return err
		}
	}
	return nil
}
