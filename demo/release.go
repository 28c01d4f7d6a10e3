package demo

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ankan/act"
	"ankan/client"
	"ankan/conformance"
	"ankan/custody"
	"ankan/profile"
	"ankan/release"
	"ankan/simos"
)

// operatingSystem brings the chips' operating system to the line.
func (j *journey) operatingSystem() error {
	j.report.Stage("operating system: register, integration, security test, approval", 0)
	r, err := ReadRelease(j.Dir)
	if err != nil {
		return err
	}
	p, err := profile.Builtin("in-5g-usim")
	if err != nil {
		return err
	}
	crew := j.crew(Plant)
	if err := crew.Register(j.ctx, r); err != nil {
		return err
	}
	return crew.Qualify(j.ctx, r, Operator, p, j.Samples)
}

// ReadRelease reads the operating system that WriteRelease wrote.
func ReadRelease(dir string) (release.Release, error) {
	doc, err := os.ReadFile(filepath.Join(dir, "release.yaml"))
	if err != nil {
		return release.Release{}, err
	}
	return release.ParseDraft("release.yaml", doc, func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, name)) })
}

// A Crew is the people of one site, and the way to it.
type Crew struct {
	Client *client.Client
	As     func(role string) client.Signer
	Note   func(format string, args ...any) // is told what they do
}

// Approved has an act asked for by who has a role, signed by its approvers, and
// done.
func (c Crew) Approved(ctx context.Context, kind, subject, requester string, approvers ...string) (custody.Status, error) {
	st, err := c.Client.Request(ctx, c.As(requester), kind, subject)
	if err != nil {
		return st, fmt.Errorf("%s of %s: %w", kind, subject, err)
	}
	c.Note("%s: %s asks; %s", kind, c.As(requester).Person, strings.Join(st.Words, " "))
	for _, role := range approvers {
		p := c.As(role)
		if st, err = c.Client.Sign(ctx, p, st.Act.ID, act.Approve, "compared the words and the values"); err != nil {
			return st, fmt.Errorf("%s of %s: %s: %w", kind, subject, role, err)
		}
		c.Note("%s: %s (%s) signs", kind, p.Person, role)
	}
	return st, c.Client.Do(ctx, st.Act.ID)
}

// Register brings an operating system into a plant's register.
func (c Crew) Register(ctx context.Context, r release.Release) error {
	if err := c.ask(ctx, "system-administrator", "/drafts/releases", r); err != nil {
		return err
	}
	_, err := c.Approved(ctx, "release.register", "release/"+r.Name, "system-administrator", "security-officer")
	return err
}

// Qualify takes a registered operating system through integration with an
// operator's profile and its security test on a chip of the samples' drawer to
// its approval.
func (c Crew) Qualify(ctx context.Context, r release.Release, operator string, p *profile.Profile, samples string) error {
	plan := release.Plan{Release: r.Name, Operator: operator, Profile: p.String(), Place: "demonstration", People: []string{c.As("system-administrator").Person}}
	if err := c.ask(ctx, "system-administrator", "/drafts/integrations", plan); err != nil {
		return err
	}
	subject := "release/" + r.Name + "/" + operator + "/" + p.Name
	if _, err := c.Approved(ctx, "release.integrate", subject, "system-administrator"); err != nil {
		return err
	}
	report, err := testSample(ctx, samples, r, p)
	if err != nil {
		return err
	}
	c.Note("%s: conformance suite on chip %s: %d cases pass, %d fail, %d are not run", r.Name, report.Chip,
		report.Count(conformance.Pass), report.Count(conformance.Fail), report.Count(conformance.NotRun))
	if err := c.ask(ctx, "security-tester", "/drafts/reports", release.Ran{Of: subject, Report: report}); err != nil {
		return err
	}
	if err := c.ask(ctx, "security-tester", "/drafts/findings", release.Found{Of: subject, Findings: unseen(report)}); err != nil {
		return err
	}
	if _, err := c.Approved(ctx, "release.test", subject, "security-tester"); err != nil {
		return err
	}
	_, err = c.Approved(ctx, "release.approve", subject, "security-tester", "security-officer", "shift-lead")
	return err
}

// ask sends a request that somebody signs.
func (c Crew) ask(ctx context.Context, role, path string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	// A signed request is sent once. If its answer was lost it is signed anew:
	// what is asked for here may be done twice.
	for end := time.Now().Add(patience); ; {
		err := c.Client.Ask(ctx, c.As(role), path, body, nil)
		var refused *client.Refusal
		if err == nil || errors.As(err, &refused) && !again(c.Client, refused) || ctx.Err() != nil || time.Now().After(end) {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// again says whether a client asks again after a refusal.
func again(c *client.Client, r *client.Refusal) bool { return c.Again != nil && c.Again(r) }

// unseen says of what the suite does not show that nobody looked at it.
func unseen(report conformance.Report) []release.Finding {
	var all []release.Finding
	for _, it := range release.Checklist() {
		if len(it.Cases) == 0 || !report.Shows(it.Cases...) {
			all = append(all, release.Finding{Item: it.ID, Result: release.NotApplicable,
				Reason: "a demonstration: the operating system is software and part of this program, and no laboratory looked at it"})
		}
	}
	return all
}

// testSample runs the conformance suite on a chip of the samples' drawer.
func testSample(ctx context.Context, samples string, r release.Release, p *profile.Profile) (conformance.Report, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return conformance.Report{}, err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- ServeChips(ctx, samples, l) }()
	defer func() {
		stop()
		<-ended
	}()
	slot, err := simos.Dial(ctx, "tcp", l.Addr().String())
	if err != nil {
		return conformance.Report{}, err
	}
	defer slot.Close()
	if _, err := slot.Take(ctx); err != nil {
		return conformance.Report{}, err
	}
	keys, err := conformance.SampleKeys()
	if err != nil {
		return conformance.Report{}, err
	}
	digest, err := hex.DecodeString(r.SHA256)
	if err != nil {
		return conformance.Report{}, err
	}
	return conformance.Run(ctx, conformance.Sample{Reader: slot, Keys: keys, Image: r.Image, Digest: [32]byte(digest), Profile: p, Now: time.Now}, func(int) {})
}
