package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"ankan/client"
	"ankan/parts"
	"ankan/site"
)

// configFlag names a site by its configuration.
type configFlag struct {
	Config string `short:"c" required:"" placeholder:"site.yaml" help:"Configuration of the site." type:"path" env:"ANKAN_CONFIG"`
}

func (f configFlag) load() (*site.Config, error) {
	c, err := site.LoadConfig(f.Config)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: there is no such file; name the site's configuration with -c or in ANKAN_CONFIG", f.Config)
	case errors.Is(err, syscall.EISDIR):
		return nil, fmt.Errorf("%s is a folder; name the site's configuration, a YAML file", f.Config)
	}
	return c, err
}

// siteFlag names the running site that a command speaks to.
type siteFlag struct {
	configFlag
	JSON bool `help:"Print JSON."`
}

func (f siteFlag) client(a *app) (*client.Client, error) {
	c, err := f.load()
	if err != nil {
		return nil, err
	}
	a.config = f.Config
	return client.New(c.Control), nil
}

type siteCmd struct {
	Found  siteFoundCmd  `cmd:"" help:"Have two or more people found a site, each in a browser of their own: passkeys, signatures, then module, keys and database."`
	Init   siteInitCmd   `cmd:"" help:"Set a site up with software passkeys of this machine, for demonstrations and tests. At least two people."`
	Status siteStatusCmd `cmd:"" help:"Show how a running site is."`
}

type siteInitCmd struct {
	configFlag
	People string `required:"" placeholder:"people.json" type:"existingfile" help:"The first people, made with: ankan person new."`
	Keys   string `placeholder:"DIR" type:"existingdir" help:"Folder with everybody's software passkey, N.passkey: each of the first people signs. Default: that of the people file."`
	JSON   bool   `help:"Print JSON."`
}

func (s siteInitCmd) Run(a *app) error {
	c, err := s.load()
	if err != nil {
		return err
	}
	if _, err := os.Stat(c.CardFile()); err == nil {
		return fmt.Errorf("site %s is set up already: %s is there; run: ankan serve -c %s", c.Site, short(c.CardFile()), short(s.Config))
	}
	people, err := site.LoadPeople(s.People)
	if err != nil {
		return err
	}
	token, err := site.OpenToken(c, true)
	if err != nil {
		return err
	}
	defer token.Close()
	if s.Keys == "" {
		s.Keys = filepath.Dir(s.People)
	}
	founding, err := site.FoundHere(c, people, s.Keys)
	if err != nil {
		return err
	}
	log := func(line string) {
		if !s.JSON {
			a.printf("%s\n", line)
		}
	}
	if err := site.Init(a.ctx, c, token, founding, log, parts.All()...); err != nil {
		return err
	}
	return a.print(s.JSON, map[string]any{"site": c.Site, "partner_card": c.CardFile(), "people": len(people)}, func() {
		a.printf("site %s is set up; its card for partners is %s\n", c.Site, short(c.CardFile()))
		a.next("give the card to your partners, list theirs under partners, then: ankan serve -c %s", short(s.Config))
	})
}

type siteStatusCmd struct{ siteFlag }

func (s siteStatusCmd) Run(a *app) error {
	c, err := s.client(a)
	if err != nil {
		return err
	}
	var st site.Status
	if err := c.Get(a.ctx, "/status", &st); err != nil {
		return err
	}
	slices.Sort(st.Partners)
	return a.print(s.JSON, st, func() {
		a.printf("%s (%s), roles %s, process %d\n", st.Site, st.Display, strings.Join(st.Roles, ", "), st.PID)
		a.printf("security module   %s, %s\n", st.Token.Model, st.Token.Certificate)
		a.printf("listens on        %s\npartners          %s\n", orNone(st.Listen), orNone(strings.Join(st.Partners, ", ")))
		a.printf("audit log         %s\nfiles waiting     %d\n", count(st.LogSize, "entry", "entries"), st.SpoolWait)
		for _, c := range st.Conditions {
			a.printf("\n%s\n%s\n", c.Text, c.Next)
		}
	})
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
