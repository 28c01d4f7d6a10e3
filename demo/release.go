package demo

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"

	"ankan/client"
	"ankan/conformance"
	"ankan/profile"
	"ankan/release"
	"ankan/simos"
)

// operatingSystem brings the chips' operating system to the line: into the
// register, into the operator's profile, through its security test, to its
// approval.
func (j *journey) operatingSystem() error {
	j.report.Stage("operating system: register, integration, security test, approval", 0)
	doc, err := os.ReadFile(filepath.Join(j.Dir, "release.yaml"))
	if err != nil {
		return err
	}
	r, err := release.ParseDraft("release.yaml", doc, func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(j.Dir, name)) })
	if err != nil {
		return err
	}
	p, err := profile.Builtin("in-5g-usim")
	if err != nil {
		return err
	}
	subject := "release/" + r.Name
	admin, tester := j.as(Plant, "system-administrator"), j.as(Plant, "security-tester")
	if err := j.ask(admin, "/drafts/releases", r); err != nil {
		return err
	}
	if _, err := j.approved(Plant, "release.register", subject, "system-administrator", "security-officer"); err != nil {
		return err
	}
	plan := release.Plan{Release: r.Name, Operator: Operator, Profile: p.String(), Place: "demonstration", People: []string{admin.Person}}
	if err := j.ask(admin, "/drafts/integrations", plan); err != nil {
		return err
	}
	subject += "/" + Operator + "/" + p.Name
	if _, err := j.approved(Plant, "release.integrate", subject, "system-administrator"); err != nil {
		return err
	}
	report, err := j.testSample(r, p)
	if err != nil {
		return err
	}
	j.report.Note("plant %s: conformance suite on chip %s: %d cases pass, %d fail, %d are not run", r.Name, report.Chip,
		report.Count(conformance.Pass), report.Count(conformance.Fail), report.Count(conformance.NotRun))
	if err := j.ask(tester, "/drafts/reports", release.Ran{Of: subject, Report: report}); err != nil {
		return err
	}
	if err := j.ask(tester, "/drafts/findings", release.Found{Of: subject, Findings: unseen(report)}); err != nil {
		return err
	}
	if _, err := j.approved(Plant, "release.test", subject, "security-tester"); err != nil {
		return err
	}
	_, err = j.approved(Plant, "release.approve", subject, "security-tester", "security-officer", "shift-lead")
	return err
}

// ask sends a request that somebody of the plant signs.
func (j *journey) ask(who client.Signer, path string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	// A signed request is sent once. If its answer was lost it is signed anew:
	// what is asked for here may be done twice.
	for end := time.Now().Add(patience); ; {
		err := j.Clients[Plant].Ask(j.ctx, who, path, body, nil)
		var refused *client.Refusal
		if err == nil || errors.As(err, &refused) && !again(j.Clients[Plant], refused) || j.ctx.Err() != nil || time.Now().After(end) {
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
func (j *journey) testSample(r release.Release, p *profile.Profile) (conformance.Report, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return conformance.Report{}, err
	}
	ctx, stop := context.WithCancel(j.ctx)
	ended := make(chan error, 1)
	go func() { ended <- ServeChips(ctx, j.Samples, l) }()
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
