package main

import (
	"fmt"
	"os"
	"strings"

	"ankan/profile"
)

type profileCmd struct {
	Check profileCheckCmd `cmd:"" help:"Check a profile by every rule."`
	Show  profileShowCmd  `cmd:"" help:"Show a profile."`
}

type profileFlag struct {
	Profile string `arg:"" help:"File, or builtin:NAME." complete:"files"`
}

func (p profileFlag) load() (*profile.Profile, error) {
	if name, ok := strings.CutPrefix(p.Profile, "builtin:"); ok {
		return profile.Builtin(name)
	}
	doc, err := os.ReadFile(p.Profile)
	if err != nil {
		return nil, err
	}
	return profile.Parse(p.Profile, doc)
}

type profileCheckCmd struct {
	profileFlag
	JSON bool `help:"Print JSON."`
}

func (c profileCheckCmd) Run(a *app) error {
	p, err := c.load()
	if err != nil {
		return err
	}
	findings := p.Check()
	if err := a.print(c.JSON, findings, func() {
		for _, f := range findings {
			a.printf("%s\n", f)
		}
		a.printf("%s %s: %s, digest %x\n", p.Name, p.Version, count(len(findings), "finding", "findings"), p.Digest())
	}); err != nil {
		return err
	}
	if len(findings) > 0 {
		return fmt.Errorf("%s has %s", c.Profile, count(len(findings), "finding", "findings"))
	}
	return nil
}

type profileShowCmd struct{ profileFlag }

func (c profileShowCmd) Run(a *app) error {
	p, err := c.load()
	if err != nil {
		return err
	}
	return p.Describe(a.out)
}
