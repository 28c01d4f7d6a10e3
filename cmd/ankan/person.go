package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/client"
	"ankan/console"
	"ankan/passkey"
	"ankan/site"
)

type personCmd struct {
	New      personNewCmd      `cmd:"" help:"Make a software passkey and the person's record, for site init."`
	List     personListCmd     `cmd:"" help:"List a site's people."`
	Show     personShowCmd     `cmd:"" help:"Show a person: record, draft, training, statements, parts of keys."`
	Draft    personDraftCmd    `cmd:"" help:"Write down who comes, or what changes about somebody. An act puts it into force."`
	Drafts   personDraftsCmd   `cmd:"" help:"List what is written down of people and not in force."`
	Register personRegisterCmd `cmd:"" help:"Register a software passkey with a code, for demonstrations; people use the console."`
}

type personNewCmd struct {
	ID        string   `arg:"" help:"Person number: letters, digits and -."`
	Name      string   `required:"" placeholder:"NAME" help:"Name."`
	Role      []string `required:"" placeholder:"ROLE" help:"Roles, as the policy names them: ${roles}." complete:"roles"`
	ReportsTo string   `placeholder:"N" help:"Number of the direct superior."`
	Employed  string   `default:"permanent" enum:"permanent,contract,temporary" help:"Kind of employment: permanent, contract or temporary. Key roles take permanent."`
	Site      string   `required:"" placeholder:"HOST" help:"Host name of the site that the passkey is for, such as bureau.example."`
	Dir       string   `default:"." type:"existingdir" help:"Folder for N.passkey."`
	People    string   `default:"people.json" type:"path" help:"People file to add the record to."`
	JSON      bool     `help:"Print JSON."`
}

func (n personNewCmd) Run(a *app) error {
	if err := access.CheckNumber(n.ID); err != nil {
		return err
	}
	who := act.Person{ID: n.ID, Name: n.Name, Roles: n.Role, Employment: act.Employment(n.Employed), ReportsTo: n.ReportsTo}
	// A new site starts with the default policy: say now what it would refuse.
	if err := access.DefaultPolicy().CheckPerson(who); err != nil {
		return err
	}
	all, err := site.LoadPeople(n.People)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, p := range all {
		if p.ID == n.ID {
			return fmt.Errorf("%s: person %s is there already", short(n.People), n.ID)
		}
	}
	key, err := passkey.NewSoft(n.Site, "https://"+n.Site)
	if err != nil {
		return err
	}
	path := filepath.Join(n.Dir, n.ID+".passkey")
	if err := key.Save(path); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already; a passkey is never overwritten", short(path))
	} else if err != nil {
		return err
	}
	who.Credential = key.Credential
	all = append(all, who)
	if err := writePeople(n.People, all); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return a.print(n.JSON, map[string]any{"person": n.ID, "passkey": path, "people_file": n.People, "people": len(all)}, func() {
		a.printf("%s holds the passkey; %s has the public record of %s\n", short(path), short(n.People), count(len(all), "person", "people"))
	})
}

// writePeople puts a people file in the place of the old one, whole or not at
// all.
func writePeople(path string, all []act.Person) error {
	doc, err := json.MarshalIndent(site.People{People: all}, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".people-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already if all went well
	if _, err := f.Write(append(doc, '\n')); err != nil {
		f.Close()
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

type personListCmd struct{ siteFlag }

func (l personListCmd) Run(a *app) error {
	c, err := l.client(a)
	if err != nil {
		return err
	}
	var all []access.Member
	if err := c.Get(a.ctx, "/people", &all); err != nil {
		return err
	}
	return a.print(l.JSON, all, func() {
		var rows [][]string
		for _, p := range all {
			rows = append(rows, []string{p.ID, p.Name, strings.Join(p.Roles, ", "), p.State, p.Credential.Model})
		}
		a.table([]string{"PERSON", "NAME", "ROLES", "STATE", "PASSKEY"}, rows)
	})
}

type personShowCmd struct {
	siteFlag
	ID string `arg:"" help:"Person number."`
}

func (s personShowCmd) Run(a *app) error {
	c, err := s.client(a)
	if err != nil {
		return err
	}
	var v site.PersonView
	if err := c.Get(a.ctx, "/people/"+url.PathEscape(s.ID), &v); err != nil {
		return err
	}
	return a.print(s.JSON, v, func() {
		if m := v.Record; m != nil {
			a.printf("person %s, %s, %s\n", m.ID, m.Name, m.State)
			a.record(m.Person)
		}
		if d := v.Draft; d != nil {
			a.printf("draft of %s, %s, written down by person %s\n", d.Person.ID, d.Person.Name, d.Editor)
			a.record(d.Person)
		}
		for what, records := range map[string][]act.Record{"training": v.Training, "statement": v.Statements} {
			for _, r := range records {
				a.printf("  %-10s  %s, until %s\n", what, r.What, r.Until.Format(time.DateOnly))
			}
		}
		for _, part := range v.Holds {
			a.printf("  %-10s  %s of %s\n", "holds", part.Name(), part.Key)
		}
		a.nextOf(s.siteFlag, v.Draft, v.EnrolBy)
	})
}

// record prints what a person's record says.
func (a *app) record(p act.Person) {
	passkey := p.Credential.Model
	if passkey == "" {
		passkey = "none yet"
	}
	for _, f := range [][2]string{{"roles", strings.Join(p.Roles, ", ")}, {"employment", string(p.Employment)}, {"reports to", p.ReportsTo}, {"certificate", p.Certificate}, {"passkey", passkey}} {
		if f[1] != "" {
			a.printf("  %-10s  %s\n", f[0], f[1])
		}
	}
}

// nextOf says what a draft waits for.
func (a *app) nextOf(f siteFlag, d *access.Draft, kind string) {
	switch {
	case d == nil:
	case !d.Registered:
		a.next("the person registers a passkey with the code until %s, at the console's page /enrol", when(d.Expires))
	default:
		a.next("ankan act request %s person/%s -c %s --person N --passkey FILE", kind, d.Person.ID, short(f.Config))
	}
}

type personDraftCmd struct {
	siteFlag
	signerFlag
	ID          string   `arg:"" help:"Number of the person to write down."`
	Name        string   `placeholder:"NAME" help:"Name. What is not given stays as it is in the record."`
	Role        []string `placeholder:"ROLE" help:"Roles, as the policy names them: ${roles}." complete:"roles"`
	Employed    string   `enum:",permanent,contract,temporary" default:"" placeholder:"KIND" help:"Kind of employment: permanent, contract or temporary."`
	ReportsTo   *string  `placeholder:"N" help:"Number of the direct superior; empty for nobody."`
	Certificate *string  `placeholder:"SHA256" help:"SHA-256 of the client certificate that the person signs in with, 64 hexadecimal digits; empty for none."`
	Renew       bool     `help:"Have the person register another passkey."`
}

// Run writes down somebody who comes, or what is to be other about somebody who
// is here.
func (d personDraftCmd) Run(a *app) error {
	c, p, err := d.as(a, d.signerFlag)
	if err != nil {
		return err
	}
	var had site.PersonView
	var none *client.Refusal
	if err := c.Get(a.ctx, "/people/"+url.PathEscape(d.ID), &had); err != nil && (!errors.As(err, &none) || none.Status != 404) {
		return err
	}
	who := act.Person{ID: d.ID, Employment: act.Permanent}
	if had.Record != nil {
		who = had.Record.Person
	}
	if had.Draft != nil {
		who = had.Draft.Person
	}
	if d.Name != "" {
		who.Name = d.Name
	}
	if d.Role != nil {
		who.Roles = d.Role
	}
	if d.Employed != "" {
		who.Employment = act.Employment(d.Employed)
	}
	if d.ReportsTo != nil {
		who.ReportsTo = *d.ReportsTo
	}
	if d.Certificate != nil {
		who.Certificate = strings.ToLower(*d.Certificate)
		if b, err := hex.DecodeString(who.Certificate); who.Certificate != "" && (err != nil || len(b) != sha256.Size) {
			return fmt.Errorf("the certificate is %q, want its SHA-256 in 64 hexadecimal digits", *d.Certificate)
		}
	}
	if who.Name == "" || len(who.Roles) == 0 {
		return fmt.Errorf("person %s is not here yet: give --name and --role", d.ID)
	}
	who.Credential = passkey.Credential{}
	body, err := json.Marshal(site.PersonDraft{Person: who, Renew: d.Renew})
	if err != nil {
		return err
	}
	var v site.PersonDrafted
	if err := c.Ask(a.ctx, p, "/drafts/people", body, &v); err != nil {
		return err
	}
	return a.print(d.JSON, v, func() {
		a.printf("person %s, %s, is written down as %s\n", v.Draft.Person.ID, v.Draft.Person.Name, strings.Join(v.Draft.Person.Roles, ", "))
		if v.Code != "" {
			a.printf("code      %s\nGive it to the person alone; it is shown this once.\n", v.Code)
		}
		a.nextOf(d.siteFlag, &v.Draft, v.Act)
	})
}

type personDraftsCmd struct{ siteFlag }

func (l personDraftsCmd) Run(a *app) error {
	c, err := l.client(a)
	if err != nil {
		return err
	}
	var all []access.Draft
	if err := c.Get(a.ctx, "/drafts/people", &all); err != nil {
		return err
	}
	return a.print(l.JSON, all, func() {
		if len(all) == 0 {
			a.printf("no drafts of people\n")
			return
		}
		var rows [][]string
		for _, d := range all {
			state := "code until " + when(d.Expires)
			if d.Registered {
				state = "registered"
			}
			rows = append(rows, []string{d.Person.ID, d.Person.Name, strings.Join(d.Person.Roles, ", "), d.Editor, state})
		}
		a.table([]string{"PERSON", "NAME", "ROLES", "EDITOR", "PASSKEY"}, rows)
	})
}

type personRegisterCmd struct {
	siteFlag
	ID      string `arg:"" help:"Your person number."`
	Code    string `required:"" help:"The code that you were given." placeholder:"XXXX-XXXX-XXXX-XXXX"`
	Host    string `placeholder:"HOST" help:"Host name that the passkey is for. Default: that of the console."`
	Passkey string `required:"" placeholder:"FILE" type:"path" help:"New file for the software passkey."`
}

// Run makes a software passkey and registers it, where the site takes such.
func (r personRegisterCmd) Run(a *app) error {
	c, err := r.client(a)
	if err != nil {
		return err
	}
	cfg, err := r.load()
	if err != nil {
		return err
	}
	host, origin := r.Host, "https://"+r.Host
	if host == "" {
		if host, origin, err = console.Address(cfg); err != nil {
			return fmt.Errorf("the host that the passkey is for: %w; or give --host", err)
		}
	}
	key, err := passkey.NewSoft(host, origin)
	if err != nil {
		return err
	}
	q := site.SoftPasskey{Code: r.Code, Credential: key.Credential}
	if q.Assertion, err = key.Sign(site.RegisterChallenge(cfg.Site, r.ID, r.Code, key.Credential.ID)); err != nil {
		return err
	}
	// The file comes first: a passkey that is registered and not there could
	// not be registered again.
	if err := key.Save(r.Passkey); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already; a passkey is never overwritten", short(r.Passkey))
	} else if err != nil {
		return err
	}
	var v site.PersonDrafted
	if err := c.Post(a.ctx, "/people/"+url.PathEscape(r.ID)+"/passkey", q, &v); err != nil {
		var no *client.Refusal
		if errors.As(err, &no) {
			err = errors.Join(err, os.Remove(r.Passkey))
		}
		return err
	}
	return a.print(r.JSON, v, func() {
		a.printf("%s holds the passkey of person %s\n", short(r.Passkey), r.ID)
		a.nextOf(r.siteFlag, &v.Draft, v.Act)
	})
}
