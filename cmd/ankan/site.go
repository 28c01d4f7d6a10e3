package main

import (
	"encoding/json"
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

	Witness siteWitnessCmd `cmd:"" help:"Compare the log with a checkpoint of it that a partner keeps. If the log does not continue it, the site is locked."`
	Lost    siteLostCmd    `cmd:"" help:"Hand in the file of an order that a locked bureau took in during the lost time."`
}

type siteWitnessCmd struct {
	siteFlag
	File string `arg:"" type:"existingfile" help:"Checkpoint, as ankan partner checkpoint printed it." complete:"files"`
}

func (s siteWitnessCmd) Run(a *app) error {
	c, err := s.client(a)
	if err != nil {
		return err
	}
	signed, err := os.ReadFile(s.File)
	if err != nil {
		return err
	}
	ok, err := c.Witness(a.ctx, signed)
	if err != nil {
		return err
	}
	return a.print(s.JSON, map[string]bool{"continues": ok}, func() {
		if ok {
			a.printf("the log continues the checkpoint: nothing of it is lost\n")
			return
		}
		a.printf("the log does not continue the checkpoint: the site is locked\n")
		a.next("ankan site status -c %s", short(s.Config))
	})
}

type siteLostCmd struct {
	siteFlag
	signerFlag
	Order    string `arg:"" help:"Number of the order, as the lock names it."`
	File     string `arg:"" type:"existingfile" help:"The order file, as its operator has it." complete:"files"`
	Operator string `required:"" help:"Partner whose order it is."`
}

func (s siteLostCmd) Run(a *app) error {
	doc, err := os.ReadFile(s.File)
	if err != nil {
		return err
	}
	c, p, err := s.as(a, s.signerFlag)
	if err != nil {
		return err
	}
	body, err := json.Marshal(site.LostFile{Order: s.Order, Operator: s.Operator, Document: string(doc)})
	if err != nil {
		return err
	}
	var v struct {
		Order      string `json:"order"`
		Operator   string `json:"operator"`
		Identities int    `json:"identities"`
		SHA256     string `json:"sha256"`
	}
	if err := c.Ask(a.ctx, p, "/drafts/lost", body, &v); err != nil {
		return err
	}
	return a.print(s.JSON, v, func() {
		a.printf("order %s of %s: its %s are never issued again, once the site is unlocked\n", v.Order, v.Operator, count(v.Identities, "identity", "identities"))
		a.next("ankan act request site.unlock site -c %s --person N --passkey FILE", short(s.Config))
	})
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
		if l := st.Locked; l != nil {
			a.printf("LOCKED            since %s, it issues nothing: %s\n", l.Since.Format("2006-01-02 15:04:05 MST"), l.Sentence())
			for _, sign := range l.Signs[min(1, len(l.Signs)):] {
				a.printf("                  %s\n", sign.Text)
			}
			a.printf("                  set right what the lost time did, then: ankan act request site.unlock site -c %s\n", short(s.Config))
		}
		a.printf("security module   %s, %s\n", st.Token.Model, st.Token.Certificate)
		a.printf("listens on        %s\npartners          %s\n", orNone(st.Listen), orNone(strings.Join(st.Partners, ", ")))
		a.printf("audit log         %s\nfiles waiting     %d\n", count(st.LogSize, "entry", "entries"), st.SpoolWait)
		if c := st.Clock; c != nil {
			a.printf("clock             %s\n", map[bool]string{true: "kept right, within " + c.Within.String(), false: "nothing keeps it right"}[c.Synchronised])
		}
		a.onWay("", st.OnWay)
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
