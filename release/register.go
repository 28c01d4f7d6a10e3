package release

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/conformance"
	"ankan/custody"
	"ankan/document"
	"ankan/profile"
	"ankan/store"
)

// A Config is what a Register needs of its site.
type Config struct {
	Site, Country string
	Store         *store.Store
	People        *access.Directory
	// Sign signs a document of a media type with the site's own key.
	Sign func(ctx context.Context, mediaType string, payload []byte) ([]byte, error)
}

// A Register is the releases of one site.
type Register struct{ Config }

// New is the register in a site's store.
func New(c Config) *Register { return &Register{c} }

// ReportType is the media type of a signed report of the conformance suite.
const ReportType = "application/vnd.ankan.os-test+json"

// A written is a draft as people write it.
type written struct {
	Vendor      string   `yaml:"vendor"`
	Country     string   `yaml:"country"`
	Environment string   `yaml:"environment"`
	Process     string   `yaml:"process"`
	Developers  []string `yaml:"developers"` // names at the vendor, or "person N"
	Chips       []string `yaml:"chips"`
	OSMaker     string   `yaml:"os_maker"` // Ed25519 public key, hex
	Image       string   `yaml:"image"`    // name of the file
}

// ParseDraft reads a release as people write it down. image fetches the signed
// image by the name in the document.
func ParseDraft(name string, doc []byte, image func(string) ([]byte, error)) (Release, error) {
	var w written
	if _, err := document.Read(name, doc, &w); err != nil {
		return Release{}, err
	}
	r := Release{Vendor: w.Vendor, Country: w.Country, Environment: w.Environment, Process: w.Process, Chips: w.Chips}
	for _, d := range w.Developers {
		r.Developers = append(r.Developers, ParseDeveloper(d))
	}
	var err error
	if r.OSMaker, err = hex.DecodeString(w.OSMaker); err != nil {
		return r, fmt.Errorf("%s: os_maker is %.80q, want 64 hexadecimal digits", name, w.OSMaker)
	}
	if r.Image, err = image(w.Image); err != nil {
		return r, fmt.Errorf("%s: image: %w", name, err)
	}
	return r, r.open()
}

// ParseDeveloper reads "person N", or a name.
func ParseDeveloper(s string) Developer {
	if n, ok := strings.CutPrefix(s, "person "); ok {
		return Developer{Person: n}
	}
	return Developer{Name: s}
}

// Put writes a release down that is to come into the register, in the place of
// an earlier draft. The act release.register of release/NAME puts it there.
func (g *Register) Put(ctx context.Context, editor string, r Release) (Release, error) {
	r.At, r.Act = time.Time{}, ""
	if err := r.open(); err != nil {
		return r, err
	}
	err := g.Store.View(ctx, func(tx *store.ReadTx) error { return g.mayRegister(ctx, tx, g.People.At(tx), r) })
	if err != nil {
		return r, err
	}
	data := map[string]any{"vendor": r.Vendor, "country": r.Country, "image_sha256": r.SHA256}
	return r, g.putDraft(ctx, "release.drafted", "release/"+r.Name, editor, data, r)
}

// mayRegister refuses a release that is there, or whose developers are unknown.
func (g *Register) mayRegister(ctx context.Context, q store.Querier, people access.View, r Release) error {
	var had string
	err := q.QueryRow(`SELECT image FROM os_release WHERE name = $1`, r.Name).Scan(&had)
	if err == nil {
		return fmt.Errorf("release %s: %w: it is in the register with image %.16s…; another image is another version", r.Name, act.ErrNotAllowed, had)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	for _, n := range r.developers() {
		if _, err := people.Member(ctx, n); err != nil {
			return fmt.Errorf("release %s: developer: %w", r.Name, err)
		}
	}
	return nil
}

// A Plan asks to integrate a release with a customer's profile.
type Plan struct {
	Release  string   `json:"release"`
	Operator string   `json:"operator"`
	Profile  string   `json:"profile"` // the document itself
	Place    string   `json:"place"`
	People   []string `json:"people"` // who integrated, by number
}

// PutPlan writes an integration down. The act release.integrate of
// release/NAME/OPERATOR/PROFILE puts it into the register.
func (g *Register) PutPlan(ctx context.Context, editor string, p Plan) (Integration, error) {
	var i Integration
	err := g.Store.View(ctx, func(tx *store.ReadTx) (err error) {
		i, _, err = g.mayIntegrate(ctx, tx, g.People.At(tx), p)
		return err
	})
	if err != nil {
		return i, err
	}
	return i, g.putDraft(ctx, "integration.drafted", i.Ref(), editor, map[string]any{"profile_sha256": i.SHA256, "people": p.People}, p)
}

// maxPeople bounds those who integrate.
const maxPeople = 20

// mayIntegrate refuses an integration that cannot be, and says what it is and
// the profile in its one form.
func (g *Register) mayIntegrate(ctx context.Context, q store.Querier, people access.View, p Plan) (Integration, string, error) {
	r, err := releaseOf(q, p.Release)
	if err != nil {
		return Integration{}, "", err
	}
	pr, err := profile.Parse("profile.yaml", []byte(p.Profile))
	if err != nil {
		return Integration{}, "", err
	}
	i := Integration{Release: p.Release, Operator: p.Operator, Profile: pr.Name, SHA256: fmt.Sprintf("%x", pr.Digest()),
		Site: g.Site, Country: g.Country, Place: p.Place, People: p.People, State: Integrated}
	if err := errors.Join(checkName("operator", i.Operator), checkName("profile", i.Profile), checkText("place", i.Place, 120)); err != nil {
		return i, "", err
	}
	if found := pr.Check(); len(found) > 0 {
		return i, "", fmt.Errorf("%s: the profile has %d findings, the first: %s", i.Ref(), len(found), found[0])
	}
	if err := indian(g.Country, "integrated with an operator's profile (SOP 5.i)"); err != nil {
		return i, "", fmt.Errorf("%s: %w", i.Ref(), err)
	}
	if !slices.Contains(r.Algorithms, pr.Algorithm) {
		return i, "", fmt.Errorf("%s: %w: the profile asks for %s, the release has %s (SOP 4.iii)", i.Ref(), act.ErrNotAllowed, pr.Algorithm, strings.Join(r.Algorithms, ", "))
	}
	if n := len(p.People); n == 0 || n > maxPeople {
		return i, "", fmt.Errorf("%s: %d people integrated it, want 1 to %d", i.Ref(), n, maxPeople)
	}
	for _, n := range p.People {
		if _, err := people.Person(ctx, n); err != nil {
			return i, "", fmt.Errorf("%s: who integrated it: %w", i.Ref(), err)
		}
	}
	had, err := last(q, i.Release, i.Operator, i.Profile)
	if err == nil && had.SHA256 == i.SHA256 && had.State != Withdrawn {
		return i, "", fmt.Errorf("%s: %w: it is integrated with this very profile, and %s", i.Ref(), act.ErrNotAllowed, had.State)
	}
	if err != nil && !errors.Is(err, ErrNone) {
		return i, "", err
	}
	return i, pr.String(), nil
}

// indian refuses what happens outside India.
func indian(country, what string) error {
	if country != "IN" {
		return fmt.Errorf("the site is in %q: an operating system is %s in IN alone: %w", country, what, ErrNotApproved)
	}
	return nil
}

func (g *Register) putDraft(ctx context.Context, kind, subject, editor string, data map[string]any, v any) error {
	e := audit.Entry{Kind: kind, Actor: "person/" + editor, Subject: subject, Data: data}
	return g.Store.Change(ctx, e, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO release_draft (subject, document, editor) VALUES ($1, $2, $3)
			ON CONFLICT (subject) DO UPDATE SET document = excluded.document, editor = excluded.editor`, subject, jsonOf(v), editor)
		return err
	})
}

// draftOf reads a draft back, and who wrote it.
func draftOf(q store.Querier, subject string, v any) (editor string, err error) {
	var doc []byte
	err = q.QueryRow(`SELECT document, editor FROM release_draft WHERE subject = $1`, subject).Scan(&doc, &editor)
	if errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("%s: %w: nothing was written down for it; see: ankan release draft, ankan release integrate", subject, act.ErrNotAllowed)
	}
	if err != nil {
		return "", err
	}
	return editor, json.Unmarshal(doc, v)
}

// Find takes findings of one tester, in one go.
func (g *Register) Find(ctx context.Context, tester act.Person, ref string, all []Finding) (int, error) {
	if len(all) == 0 {
		return 0, errors.New("no findings")
	}
	for _, f := range all {
		if err := f.Check(); err != nil {
			return 0, err
		}
	}
	i, err := g.mayTest(ctx, tester, ref)
	if err != nil {
		return 0, err
	}
	e := audit.Entry{Kind: "release.findings", Actor: "person/" + tester.ID, Subject: ref, Data: map[string]any{"integration": i.Number, "findings": summary(all)}}
	return i.Number, g.Store.Change(ctx, e, func(tx *store.Tx) error {
		if err := stillIntegrated(tx, i); err != nil {
			return err
		}
		for _, f := range all {
			if err := putFinding(tx, i.Number, tester.ID, f); err != nil {
				return err
			}
		}
		return happened(tx, i, "person/"+tester.ID, e.Kind, fmt.Sprintf("%d findings", len(all)))
	})
}

// summary is findings as the log has them.
func summary(all []Finding) map[string]string {
	m := map[string]string{}
	for _, f := range all {
		m[f.Item] = strings.TrimSpace(f.Result + " " + f.Evidence)
		if f.Reason != "" {
			m[f.Item] += ": " + f.Reason
		}
	}
	return m
}

func putFinding(tx *store.Tx, number int, tester string, f Finding) error {
	_, err := tx.Exec(`INSERT INTO finding (integration, item, result, reason, evidence, tester, at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		number, f.Item, f.Result, f.Reason, f.Evidence, tester, store.Stamp(tx.Time()))
	return err
}

// mayTest refuses a tester who developed the release, and a test of what is not
// integrated or is over.
func (g *Register) mayTest(ctx context.Context, tester act.Person, ref string) (i Integration, err error) {
	x, err := parseSubject(ref, 2)
	if err != nil {
		return i, err
	}
	q := g.Store.Committed(ctx)
	if i, err = last(q, x.release, x.operator, x.profile); err != nil {
		return i, err
	}
	r, err := releaseOf(q, x.release)
	if err != nil {
		return i, err
	}
	return i, errors.Join(r.notADeveloper(tester, "test"), testable(i), indian(g.Country, "security tested (SOP 5.i)"))
}

// testable refuses the test of what is approved or withdrawn.
func testable(i Integration) error {
	if i.State != Integrated && i.State != Tested {
		return fmt.Errorf("%s: %w: it is %s; a test comes before the approval", i.Ref(), act.ErrNotAllowed, i.State)
	}
	return nil
}

// stillIntegrated refuses a write about an integration that has gone on.
func stillIntegrated(q store.Querier, i Integration) error {
	now, err := last(q, i.Release, i.Operator, i.Profile)
	if err == nil && now.Number != i.Number {
		err = fmt.Errorf("%s: %w: it was integrated anew meanwhile", i.Ref(), act.ErrNotAllowed)
	}
	return errors.Join(err, testable(now))
}

// Attach takes a report of the conformance suite that a tester ran, signs it
// with the site's key, and writes down what it shows of the checklist.
func (g *Register) Attach(ctx context.Context, tester act.Person, ref string, rep conformance.Report) (Attached, error) {
	a := Attached{Report: rep, Tester: tester.ID}
	i, err := g.mayTest(ctx, tester, ref)
	if err != nil {
		return a, err
	}
	if err := rep.Check(); err != nil {
		return a, err
	}
	r, err := releaseOf(g.Store.Committed(ctx), i.Release)
	if err != nil {
		return a, err
	}
	switch {
	case rep.OS != r.SHA256:
		return a, fmt.Errorf("%s: the report is about image %.16s…, the release is %.16s…", ref, rep.OS, r.SHA256)
	case rep.Profile != i.SHA256:
		return a, fmt.Errorf("%s: the report is about profile %.16s…, integrated is %.16s…", ref, rep.Profile, i.SHA256)
	}
	signed, err := g.Sign(ctx, ReportType, jsonOf(rep))
	if err != nil {
		return a, err
	}
	a.SHA256 = sha(signed)
	e := audit.Entry{Kind: "release.reported", Actor: "person/" + tester.ID, Subject: ref,
		Data: map[string]any{"integration": i.Number, "report_sha256": a.SHA256, "chip": rep.Chip, "passed": rep.Count(conformance.Pass), "failed": rep.Count(conformance.Fail)}}
	err = g.Store.Change(ctx, e, func(tx *store.Tx) error {
		if err := stillIntegrated(tx, i); err != nil {
			return err
		}
		a.At = tx.Time().UTC().Truncate(time.Second)
		if _, err := tx.Exec(`INSERT INTO suite_report (integration, sha256, signed, document, tester, at) VALUES ($1, $2, $3, $4, $5, $6)`,
			i.Number, a.SHA256, signed, jsonOf(a), tester.ID, store.Stamp(tx.Time())); err != nil {
			return err
		}
		for _, f := range a.found() {
			if err := putFinding(tx, i.Number, tester.ID, f); err != nil {
				return err
			}
		}
		return happened(tx, i, e.Actor, e.Kind, fmt.Sprintf("%d cases pass, %d fail", rep.Count(conformance.Pass), rep.Count(conformance.Fail)))
	})
	return a, err
}

// happened writes a line into the history.
func happened(tx *store.Tx, i Integration, actor, what, text string) error {
	_, err := tx.Exec(`INSERT INTO release_event (release, operator, profile, entry, at, actor, what, text) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		i.Release, i.Operator, i.Profile, tx.Index(), store.Stamp(tx.Time()), actor, what, text)
	return err
}

func releaseOf(q store.Querier, name string) (r Release, err error) {
	var doc []byte
	err = q.QueryRow(`SELECT document FROM os_release WHERE name = $1`, name).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return r, fmt.Errorf("release %.100q: %w; register it: ankan release draft", name, ErrNone)
	}
	if err == nil {
		err = json.Unmarshal(doc, &r)
	}
	return r, err
}

const integrationColumns = `number, document, state, act, at`

func scanIntegration(rows *sql.Rows) (i Integration, err error) {
	var doc []byte
	var number int
	var state State
	var actID, at string
	if err = rows.Scan(&number, &doc, &state, &actID, &at); err != nil {
		return i, err
	}
	if err = json.Unmarshal(doc, &i); err != nil {
		return i, err
	}
	i.Number, i.State, i.Act = number, state, actID
	i.At, err = store.ParseStamp(at)
	return i, err
}

func integrations(q store.Querier, where string, args ...any) ([]Integration, error) {
	return store.Collect(q, scanIntegration, `SELECT `+integrationColumns+` FROM integration WHERE `+where+` ORDER BY number`, args...)
}

// last is the newest integration with a profile of this name.
func last(q store.Querier, release, operator, profile string) (Integration, error) {
	all, err := integrations(q, `release = $1 AND operator = $2 AND profile = $3`, release, operator, profile)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("release %.100q with profile %.60q of %.60q: %w; integrate it: ankan release integrate", release, profile, operator, ErrNone)
	}
	if err != nil {
		return Integration{}, err
	}
	return all[len(all)-1], nil
}

// findings is the last finding of each item, in the checklist's order.
func findings(q store.Querier, number int) ([]Finding, error) {
	all, err := store.Collect(q, func(rows *sql.Rows) (f Finding, err error) {
		var at string
		if err = rows.Scan(&f.Item, &f.Result, &f.Reason, &f.Evidence, &f.Tester, &at); err == nil {
			f.At, err = store.ParseStamp(at)
		}
		return f, err
	}, `SELECT item, result, reason, evidence, tester, at FROM finding WHERE integration = $1 ORDER BY rowid`, number)
	if err != nil {
		return nil, err
	}
	latest := map[string]Finding{}
	for _, f := range all {
		latest[f.Item] = f
	}
	var out []Finding
	for _, it := range Checklist() {
		if f, ok := latest[it.ID]; ok {
			out = append(out, f)
		}
	}
	return out, nil
}

func reports(q store.Querier, number int) ([]Attached, error) {
	return store.Collect(q, store.Document[Attached], `SELECT document FROM suite_report WHERE integration = $1 ORDER BY rowid`, number)
}

func tests(q store.Querier, number int) ([]Test, error) {
	return store.Collect(q, store.Document[Test], `SELECT document FROM security_test WHERE integration = $1 ORDER BY rowid`, number)
}

// An Entry is a line of a release's history.
type Entry struct {
	Entry    int64     `json:"entry"` // in the log
	At       time.Time `json:"at"`
	Actor    string    `json:"actor"`
	What     string    `json:"what"`
	Operator string    `json:"operator,omitempty"`
	Profile  string    `json:"profile,omitempty"`
	Text     string    `json:"text,omitempty"`
}

func history(q store.Querier, where string, args ...any) ([]Entry, error) {
	return store.Collect(q, func(rows *sql.Rows) (e Entry, err error) {
		var at string
		if err = rows.Scan(&e.Entry, &at, &e.Actor, &e.What, &e.Operator, &e.Profile, &e.Text); err == nil {
			e.At, err = store.ParseStamp(at)
		}
		return e, err
	}, `SELECT entry, at, actor, what, operator, profile, text FROM release_event WHERE `+where+` ORDER BY entry, rowid`, args...)
}

// A View is a release with where it stands in each customer's profile.
type View struct {
	Release
	Integrations []Integration `json:"integrations"`
	Draft        bool          `json:"draft,omitempty"` // written down and not registered
	History      []Entry       `json:"history,omitempty"`
}

// State is how far the release has come anywhere.
func (v View) State() State {
	best := Registered
	order := []State{Registered, Withdrawn, Integrated, Tested, Approved}
	for _, i := range v.Integrations {
		if slices.Index(order, i.State) > slices.Index(order, best) {
			best = i.State
		}
	}
	return best
}

// List is all releases and drafts, by name, without their images.
func (g *Register) List(ctx context.Context) ([]View, error) {
	var all []View
	err := g.Store.View(ctx, func(tx *store.ReadTx) error {
		registered, err := store.Collect(tx, store.Document[Release], `SELECT document FROM os_release ORDER BY name`)
		if err != nil {
			return err
		}
		for _, r := range registered {
			r.Image = nil
			v := View{Release: r}
			if v.Integrations, err = integrations(tx, `release = $1`, r.Name); err != nil {
				return err
			}
			all = append(all, v)
		}
		drafts, err := store.Collect(tx, store.Document[Release], `SELECT document FROM release_draft WHERE subject LIKE 'release/%' AND subject NOT LIKE 'release/%/%' ORDER BY subject`)
		for _, r := range drafts {
			r.Image = nil
			all = append(all, View{Release: r, Draft: true})
		}
		return err
	})
	return all, err
}

// Get is one release with its history; a draft if it is not registered.
// ErrNone.
func (g *Register) Get(ctx context.Context, name string) (v View, err error) {
	err = g.Store.View(ctx, func(tx *store.ReadTx) (err error) {
		if v.Release, err = releaseOf(tx, name); errors.Is(err, ErrNone) {
			if _, noDraft := draftOf(tx, "release/"+name, &v.Release); noDraft != nil {
				return err
			}
			v.Draft = true
			return nil
		}
		if err != nil {
			return err
		}
		if v.Integrations, err = integrations(tx, `release = $1`, name); err != nil {
			return err
		}
		v.History, err = history(tx, `release = $1`, name)
		return err
	})
	return v, err
}

// A Standing is an integration with all that was found.
type Standing struct {
	Integration
	Release  Release       `json:"of"`
	Document string        `json:"document"` // the profile, in its one form
	Before   []Integration `json:"before,omitempty"`
	Findings []Finding     `json:"findings"`
	Reports  []Attached    `json:"reports"`
	Tests    []Test        `json:"tests"`
	Loads    []Load        `json:"loads,omitempty"`
	History  []Entry       `json:"history"`
}

// MayTest refuses a tester who developed the release, and a test that is over.
func (v Standing) MayTest(tester act.Person) error {
	return errors.Join(v.Release.notADeveloper(tester, "test"), testable(v.Integration))
}

// Standing is where a release stands in a customer's profile. ErrNone.
func (g *Register) Standing(ctx context.Context, name, operator, profile string) (v Standing, err error) {
	err = g.Store.View(ctx, func(tx *store.ReadTx) (err error) {
		if v.Integration, err = last(tx, name, operator, profile); err != nil {
			return err
		}
		n := v.Number
		errs := make([]error, 7)
		v.Release, errs[0] = releaseOf(tx, name)
		errs[1] = tx.QueryRow(`SELECT text FROM integration WHERE number = $1`, n).Scan(&v.Document)
		v.Before, errs[2] = integrations(tx, `release = $1 AND operator = $2 AND profile = $3 AND number < $4`, name, operator, profile, n)
		v.Findings, errs[3] = findings(tx, n)
		v.Reports, errs[4] = reports(tx, n)
		v.Tests, errs[5] = tests(tx, n)
		v.History, errs[6] = history(tx, `release = $1 AND (operator = '' OR operator = $2 AND profile = $3)`, name, operator, profile)
		if err := errors.Join(errs...); err != nil {
			return err
		}
		v.Loads, err = loads(tx, n)
		return err
	})
	return v, err
}

// Signed is a report as the site signed it, by the SHA-256 of that. ErrNone.
func (g *Register) Signed(ctx context.Context, digest string) (signed []byte, err error) {
	err = g.Store.Committed(ctx).QueryRow(`SELECT signed FROM suite_report WHERE sha256 = $1`, digest).Scan(&signed)
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("report %.64q: %w", digest, ErrNone)
	}
	return signed, err
}

// Deeds are the acts about releases.
func (g *Register) Deeds() map[string]custody.Deed {
	return map[string]custody.Deed{
		"release.register":  deed(g, g.checkRegister, g.register),
		"release.integrate": deed(g, g.checkIntegrate, g.integrate),
		"release.test":      deed(g, g.checkTest, g.test),
		"release.approve":   deed(g, g.checkApprove, g.approve),
		"release.withdraw":  deed(g, g.checkWithdraw, g.withdraw),
	}
}
