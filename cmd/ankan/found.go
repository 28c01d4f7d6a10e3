package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"

	"ankan/access"
	"ankan/console"
	"ankan/parts"
	"ankan/site"
)

type siteFoundCmd struct {
	configFlag
	People string `required:"" placeholder:"founders.yaml" type:"existingfile" help:"Who founds the site: founders, each with number, name and roles, and reports_to if it is another founder. All are in permanent employment." complete:"files"`
}

// Run serves the founding page and nothing else. What it prints once, the
// codes, is nowhere else but in the founders' hands.
func (s siteFoundCmd) Run(a *app) error {
	c, err := s.load()
	if err != nil {
		return err
	}
	module, err := site.CheckReady(c)
	if err != nil {
		return err
	}
	begun, err := site.Begun(a.ctx, c)
	if err != nil {
		return err
	}
	if begun {
		return s.finish(a, c)
	}
	people, err := site.LoadFounders(s.People)
	if err != nil {
		return err
	}
	note := func(line string) { a.printf("%s\n", line) }
	f, codes, err := console.NewFounding(console.FoundingConfig{
		Site: c, Policy: access.DefaultPolicy(), People: people, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)).With("site", c.Site),
		Version: versionText(), Embedded: !module.Certified, Note: note,
		Make: func(ctx context.Context, signed access.Founding) error {
			token, err := site.OpenToken(c, true)
			if err != nil {
				return err
			}
			return errors.Join(site.Init(ctx, c, token, signed, note, parts.All()...), token.Close())
		},
	})
	if err != nil {
		return err
	}
	a.printf("%s found site %s at %s. Give each their code in person; it is shown this once.\n", count(len(people), "person", "people"), c.Site, f.Origin())
	var rows [][]string
	for i, who := range people {
		rows = append(rows, []string{who.ID, who.Name, strings.Join(who.Roles, ", "), codes[i]})
	}
	a.table([]string{"PERSON", "NAME", "ROLES", "CODE"}, rows)
	a.printf("Each opens the page on a device of their own, and all compare the six words aloud before they sign.\nCtrl-C ends it; until the last signature nothing is kept.\n")
	if err := f.Run(a.ctx); err != nil {
		return err
	}
	return s.done(a, c)
}

func (s siteFoundCmd) done(a *app, c *site.Config) error {
	a.printf("site %s is set up; its card for partners is %s\n", c.Site, short(c.CardFile()))
	a.next("give the card to your partners, list theirs under partners, then: ankan serve -c %s", short(s.Config))
	return nil
}

// finish goes on where a try was cut short after the founders had signed.
func (s siteFoundCmd) finish(a *app, c *site.Config) error {
	token, err := site.OpenToken(c, false)
	if err != nil {
		return err
	}
	if err := errors.Join(site.Finish(a.ctx, c, token, parts.All()...), token.Close()); err != nil {
		return err
	}
	a.printf("people: a try before this one founded the site, with the people that it had\n")
	return s.done(a, c)
}
