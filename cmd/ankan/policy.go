package main

import (
	"errors"
	"fmt"

	"ankan/access"
	"ankan/act"
	"ankan/client"
	"ankan/site"
)

type policyCmd struct {
	Show    policyShowCmd    `cmd:"" help:"Show the policy in force, or an older version."`
	Diff    policyDiffCmd    `cmd:"" help:"Show what a draft, a file or another version changes, a line each."`
	Check   policyCheckCmd   `cmd:"" help:"Check a policy file, without a site."`
	Draft   policyDraftCmd   `cmd:"" help:"Write the next version of the policy down. An act puts it into force."`
	Builtin policyBuiltinCmd `cmd:"" help:"Print the policy that new sites begin with, with its notes, as a file."`
}

// policyBuiltinCmd is for sites whose policy is older than the program: what it
// has no rule for is refused.
type policyBuiltinCmd struct{}

func (policyBuiltinCmd) Run(a *app) error {
	_, err := a.out.Write(access.DefaultPolicyDocument())
	return err
}

type policyShowCmd struct {
	siteFlag
	Version int  `arg:"" optional:"" help:"An older version. Default: the one in force."`
	YAML    bool `name:"yaml" help:"Print it as a file that a next version can begin with."`
}

func (s policyShowCmd) Run(a *app) error {
	if s.JSON && s.YAML {
		return errors.New("--json or --yaml, not both")
	}
	c, err := s.client(a)
	if err != nil {
		return err
	}
	p, err := policyOf(a, c, s.Version)
	if err != nil {
		return err
	}
	if s.YAML {
		_, err := a.out.Write(access.FormatPolicy(p))
		return err
	}
	return a.print(s.JSON, p, func() {
		summary(a, p)
		var rows [][]string
		for _, kind := range sorted(p.Acts) {
			r := p.Acts[kind]
			rows = append(rows, []string{kind, orWords(r.Request), seatsOf(r), minutes(r.ToApprove) + ", " + minutes(r.ToUse), r.Clause})
		}
		a.table([]string{"ACT", "ASKS", "SIGN", "CLOCKS", "CLAUSE"}, rows)
	})
}

// policyOf is the policy of a running site; version 0 is the one in force.
func policyOf(a *app, c *client.Client, version int) (p act.Policy, err error) {
	path := "/policy"
	if version != 0 {
		path += fmt.Sprintf("?version=%d", version)
	}
	return p, c.Get(a.ctx, path, &p)
}

func summary(a *app, p act.Policy) {
	a.printf("policy version %d: %s, %s that exclude each other, %s\n", p.Version,
		count(len(p.Roles), "role", "roles"), count(len(p.Conflicts), "pair", "pairs"), count(len(p.Acts), "kind of act", "kinds of act"))
	a.printf("SHA-256  %x\n", p.Digest())
}

func seatsOf(r act.Rule) string {
	if len(r.Seats) == 0 {
		return "nobody else"
	}
	text := ""
	for i, s := range r.Seats {
		if i > 0 {
			text += "; "
		}
		text += orWords(s)
	}
	return text
}

type policyDiffCmd struct {
	siteFlag
	File string `arg:"" optional:"" type:"existingfile" help:"Policy file to compare. Default: the draft of the next version."`
	From int    `placeholder:"N" help:"Version to compare with. Default: the one in force."`
	To   int    `placeholder:"N" help:"Version to compare, instead of a file or the draft."`
}

func (d policyDiffCmd) Run(a *app) error {
	if d.File != "" && d.To != 0 {
		return errors.New("a file or --to, not both")
	}
	c, err := d.client(a)
	if err != nil {
		return err
	}
	from, err := policyOf(a, c, d.From)
	if err != nil {
		return err
	}
	var to act.Policy
	switch {
	case d.File != "":
		_, to, err = readDocument(d.File, access.ParsePolicy)
	case d.To != 0:
		to, err = policyOf(a, c, d.To)
	default:
		var draft site.PolicyDraft
		err = c.Get(a.ctx, "/drafts/policy", &draft)
		to = draft.Policy
	}
	if err != nil {
		return err
	}
	changes := from.Diff(to)
	if changes == nil {
		changes = []string{}
	}
	return a.print(d.JSON, map[string]any{"from": from.Version, "to": to.Version, "changes": changes}, func() {
		a.printf("version %d to version %d: %s\n", from.Version, to.Version, count(len(changes), "change", "changes"))
		for _, line := range changes {
			a.printf("  %s\n", line)
		}
	})
}

type policyCheckCmd struct {
	File string `arg:"" type:"existingfile" help:"Policy file."`
	JSON bool   `help:"Print JSON."`
}

func (c policyCheckCmd) Run(a *app) error {
	_, p, err := readDocument(c.File, access.ParsePolicy)
	if err != nil {
		return err
	}
	return a.print(c.JSON, map[string]any{"version": p.Version, "sha256": fmt.Sprintf("%x", p.Digest())}, func() {
		summary(a, p)
		a.printf("It contradicts itself nowhere. Whether the people of a site fit it, the site says when it is drafted.\n")
	})
}

type policyDraftCmd struct {
	siteFlag
	signerFlag
	File string `arg:"" type:"existingfile" help:"Policy file; its version is the next one."`
}

func (d policyDraftCmd) Run(a *app) error {
	doc, _, err := readDocument(d.File, access.ParsePolicy)
	if err != nil {
		return err
	}
	c, p, err := d.as(a, d.signerFlag)
	if err != nil {
		return err
	}
	var v site.PolicyDraft
	if err := c.Ask(a.ctx, p, "/drafts/policy", doc, &v); err != nil {
		return err
	}
	return a.print(d.JSON, v, func() {
		summary(a, v.Policy)
		for _, line := range v.Changes {
			a.printf("  %s\n", line)
		}
		a.next("ankan act request policy.adopt policy -c %s --person N --passkey FILE", short(d.Config))
	})
}
