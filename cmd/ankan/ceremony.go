package main

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"ankan/ceremony"
	"ankan/client"
	"ankan/hsm"
	"ankan/passkey"
	"ankan/site"
)

type ceremonyCmd struct {
	Check      ceremonyCheckCmd      `cmd:"" help:"Check a plan and show its script, without a site."`
	Draft      ceremonyDraftCmd      `cmd:"" help:"Write a plan down, and show what the site finds in it. An act opens the ceremony."`
	List       ceremonyListCmd       `cmd:"" help:"List ceremonies."`
	Show       ceremonyShowCmd       `cmd:"" help:"Show a ceremony: its script, who signed, what is next."`
	Enter      ceremonyEnterCmd      `cmd:"" help:"Enter a component from the terminal, or bring a share; sealed to the module before it leaves this command."`
	Transcript ceremonyTranscriptCmd `cmd:"" help:"Show the transcript, or write the one that the site signed to a file."`
}

type ceremonyCheckCmd struct {
	File string `arg:"" type:"existingfile" help:"Plan."`
	JSON bool   `help:"Print JSON."`
}

func (c ceremonyCheckCmd) Run(a *app) error {
	_, p, err := readDocument(c.File, ceremony.ParsePlan)
	if err != nil {
		return err
	}
	script := p.Script()
	return a.print(c.JSON, map[string]any{"ceremony": p.ID, "kind": p.Kind, "plan_sha256": fmt.Sprintf("%x", p.Digest()), "steps": script}, func() {
		a.printf("ceremony %s: %s of %s, %s\n", p.ID, p.Kind, p.Key.Name, count(len(script), "step", "steps"))
		for _, s := range script {
			a.printf("  %2d  %s (%s)\n", s.N, s.Title, strings.Join(s.By, ", "))
		}
		a.printf("SHA-256  %x\nWhether the people and the key fit, the site says when it is drafted.\n", p.Digest())
	})
}

type ceremonyDraftCmd struct {
	siteFlag
	signerFlag
	File string `arg:"" type:"existingfile" help:"Plan."`
}

func (d ceremonyDraftCmd) Run(a *app) error {
	doc, _, err := readDocument(d.File, ceremony.ParsePlan)
	if err != nil {
		return err
	}
	c, p, err := d.as(a, d.signerFlag)
	if err != nil {
		return err
	}
	var v site.CeremonyView
	if err := c.Ask(a.ctx, p, "/drafts/ceremonies", doc, &v); err != nil {
		return err
	}
	return showCeremony(a, d.siteFlag, v)
}

type ceremonyListCmd struct{ siteFlag }

func (l ceremonyListCmd) Run(a *app) error {
	c, err := l.client(a)
	if err != nil {
		return err
	}
	var all []ceremony.Ceremony
	if err := c.Get(a.ctx, "/ceremonies", &all); err != nil {
		return err
	}
	return a.print(l.JSON, all, func() {
		if len(all) == 0 {
			a.printf("no ceremonies yet\n")
			return
		}
		var rows [][]string
		for _, c := range all {
			step := ""
			if c.Now > 0 {
				step = fmt.Sprintf("%d of %d", c.Now, len(c.Steps))
			}
			rows = append(rows, []string{c.ID, c.State, string(c.Kind), c.Key, step, c.Title})
		}
		a.table([]string{"CEREMONY", "STATE", "KIND", "KEY", "STEP", "TITLE"}, rows)
	})
}

type ceremonyShowCmd struct {
	siteFlag
	ID string `arg:"" help:"Number of the ceremony."`
}

func (s ceremonyShowCmd) Run(a *app) error {
	c, err := s.client(a)
	if err != nil {
		return err
	}
	var v site.CeremonyView
	if err := c.Get(a.ctx, "/ceremonies/"+url.PathEscape(s.ID), &v); err != nil {
		return err
	}
	return showCeremony(a, s.siteFlag, v)
}

// showCeremony prints a ceremony as it stands and what is next.
func showCeremony(a *app, f siteFlag, v site.CeremonyView) error {
	return a.print(f.JSON, v, func() {
		a.printf("ceremony %s: %s of %s, %s\n", v.ID, v.Kind, v.Key, v.State)
		a.printf("words    %s\nSHA-256  %s, of the plan; written by person %s\n", strings.Join(v.Words, " "), v.Digest, v.Editor)
		for _, s := range v.Steps {
			mark := " "
			switch {
			case v.State != ceremony.Drafted && s.Done():
				mark = "x"
			case s.N == v.Now:
				mark = ">"
			}
			a.printf("%s %2d  %s (%s)\n", mark, s.N, s.Title, strings.Join(waits(s), ", "))
		}
		for _, n := range v.Notes {
			a.printf("  %s  person %s, step %d, %s: %s\n", when(n.At), n.Person, n.Step, n.Kind, n.Text)
		}
		for _, text := range v.Findings {
			a.printf("finding: %s\n", text)
		}
		config := short(f.Config)
		switch {
		case v.State == ceremony.Drafted && len(v.Findings) > 0:
			a.next("correct the plan and draft it again")
		case v.State == ceremony.Drafted:
			a.next("ankan act request ceremony.open ceremony/%s -c %s --person N --passkey FILE", v.ID, config)
		case v.Now > 0:
			s := v.Steps[v.Now-1]
			if (s.Step.Effect == ceremony.Enter || s.Step.Effect == ceremony.Bring) && !s.Entered {
				a.next("ankan ceremony enter %s %d -c %s --person %s --passkey FILE", v.ID, s.N, config, s.Step.By[0])
				return
			}
			a.next("person %s: ankan act request ceremony.step ceremony/%s/%d -c %s --person N --passkey FILE", strings.Join(waits(s), ", "), v.ID, s.N, config)
		}
	})
}

// waits are those who have not signed a step, or all of a step that is signed.
func waits(s ceremony.StepNow) []string {
	var all []string
	for _, who := range s.Step.By {
		if !s.Signed(who) {
			all = append(all, who)
		}
	}
	if all == nil {
		return s.Step.By
	}
	return all
}

type ceremonyEnterCmd struct {
	siteFlag
	signerFlag
	ID   string `arg:"" help:"Number of the ceremony."`
	Step int    `arg:"" help:"Number of the step."`
}

// Run takes a component from the terminal, without showing it, or opens the
// person's share with their passkey. What leaves it opens in the module alone.
func (e ceremonyEnterCmd) Run(a *app) error {
	c, p, err := e.as(a, e.signerFlag)
	if err != nil {
		return err
	}
	path := fmt.Sprintf("/ceremonies/%s/%d", url.PathEscape(e.ID), e.Step)
	var to site.Beginning
	if err := c.Ask(a.ctx, p, path+"/begin", nil, &to); err != nil {
		return err
	}
	given, err := e.seal(a, p, to)
	if err != nil {
		return err
	}
	text, err := passkey.Bytes(given).MarshalText()
	if err != nil {
		return err
	}
	var v ceremony.Ceremony
	if err := c.Ask(a.ctx, p, path+"/give", text, &v); err != nil {
		return err
	}
	return a.print(e.JSON, map[string]any{"ceremony": e.ID, "step": e.Step, "entered": true}, func() {
		a.printf("the module has it, and its check value is right\n")
		a.next("ankan act request ceremony.step ceremony/%s/%d -c %s --person %s --passkey %s", e.ID, e.Step, short(e.Config), e.Person, short(e.Passkey))
	})
}

func (e ceremonyEnterCmd) seal(a *app, p client.Signer, to site.Beginning) (hsm.Given, error) {
	module, err := x509.ParsePKIXPublicKey(to.Agree)
	if err != nil {
		return nil, fmt.Errorf("the module's key: %w", err)
	}
	var secret []byte
	switch {
	case to.Own == nil:
		if secret, err = enterComponent(a, to); err != nil {
			return nil, err
		}
	case to.Content == "":
		return nil, fmt.Errorf("ceremony %s, step %d: nothing is entered there; what it shows is shown in the console", e.ID, e.Step)
	default:
		key, err := p.Key.OpenSealing()
		if err != nil {
			return nil, err
		}
		if secret, err = hsm.Take(to.Own.Given, hsm.Content(to.Own.Content), to.Own.Label, key.Public(), key.ECDH); err != nil {
			return nil, fmt.Errorf("your share: %w", err)
		}
	}
	defer clear(secret)
	return hsm.Give(module, hsm.Content(to.Content), to.Label, secret)
}

// enterComponent reads a component and compares its check value with the
// form's.
func enterComponent(a *app, to site.Beginning) ([]byte, error) {
	want, err := hsm.ParseKCV(to.KCV)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "Component, %d hexadecimal digits; check value %s; until %s. What you type is not shown: ", 2*to.Bytes, to.KCV, to.Ends.In(ist).Format(time.TimeOnly+" IST"))
	line, err := hidden(a.ctx)
	fmt.Fprintln(os.Stderr)
	if err != nil {
		return nil, err
	}
	defer clear(line)
	part, err := digits(line, to.Bytes)
	if err != nil {
		return nil, err
	}
	got, err := hsm.KeyKCV(want.Method(), to.Algorithm, part)
	if err == nil {
		var same bool
		if same, err = got.Matches(want); err == nil && !same {
			err = fmt.Errorf("the component has the check value %s, its form says %s; nothing was sent; enter it again", got, want)
		}
	}
	if err != nil {
		clear(part)
		return nil, err
	}
	return part, nil
}

// hidden reads a line from the terminal without showing it.
func hidden(ctx context.Context) ([]byte, error) {
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return nil, errors.New("standard input is no terminal: a component is typed by its custodian, and comes from no file or pipe")
	}
	state, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	type answer struct {
		line []byte
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		done <- answer{line, err}
	}()
	select {
	case got := <-done:
		return got.line, got.err
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), term.Restore(fd, state))
	}
}

// digits reads n bytes in hexadecimal; blanks do not matter. What is wrong is
// said without the digits.
func digits(line []byte, n int) ([]byte, error) {
	packed := make([]byte, 0, len(line))
	defer func() { clear(packed[:cap(packed)]) }()
	for _, c := range line {
		if c != ' ' {
			packed = append(packed, c)
		}
	}
	if len(packed) != 2*n {
		return nil, fmt.Errorf("the component has %d digits, want %d; nothing was sent", len(packed), 2*n)
	}
	part := make([]byte, n)
	if _, err := hex.Decode(part, packed); err != nil {
		clear(part)
		return nil, errors.New("the component has a character that is no hexadecimal digit; nothing was sent")
	}
	return part, nil
}

type ceremonyTranscriptCmd struct {
	siteFlag
	ID  string `arg:"" help:"Number of the ceremony."`
	Out string `placeholder:"FILE" type:"path" help:"New file for the transcript as the site signed it; ankan-verify document checks it." complete:"files"`
}

func (t ceremonyTranscriptCmd) Run(a *app) error {
	c, err := t.client(a)
	if err != nil {
		return err
	}
	var v site.Transcript
	if err := c.Get(a.ctx, "/ceremonies/"+url.PathEscape(t.ID)+"/transcript", &v); err != nil {
		return err
	}
	if t.Out != "" {
		if len(v.Signed) == 0 {
			return fmt.Errorf("ceremony %s is not closed: there is no signed transcript yet", t.ID)
		}
		if err := site.WriteNew(t.Out, v.Signed, 0o644); errors.Is(err, os.ErrExist) {
			return fmt.Errorf("%s is there already; a transcript is never overwritten", short(t.Out))
		} else if err != nil {
			return err
		}
		return a.print(t.JSON, map[string]string{"written": t.Out}, func() {
			a.printf("%s holds the transcript as the site signed it\n", short(t.Out))
			a.next("ankan-verify document %s --key FILE, with the key that stands as site in the site's card for partners", short(t.Out))
		})
	}
	return a.print(t.JSON, v, func() {
		x := v.Transcript
		a.printf("ceremony %s: %s, in %s, opened %s\n", x.Ceremony, x.Title, x.Room, when(x.Opened))
		for _, s := range x.Steps {
			a.printf("  %2d  %s\n", s.N, s.Title)
			for _, g := range s.Signatures {
				a.printf("        %s  person %s, entry %d\n", when(g.At), g.Person, g.Entry)
			}
			for _, k := range sorted(s.Result) {
				a.printf("        %s: %s\n", k, s.Result[k])
			}
		}
		for _, n := range x.Notes {
			a.printf("  %s  person %s, step %d, %s: %s\n", when(n.At), n.Person, n.Step, n.Kind, n.Text)
		}
	})
}
