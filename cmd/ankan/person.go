package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ankan/access"
	"ankan/act"
	"ankan/passkey"
	"ankan/site"
)

type personCmd struct {
	New  personNewCmd  `cmd:"" help:"Make a software passkey and the person's record."`
	List personListCmd `cmd:"" help:"List a site's people."`
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
	var all []act.Person
	if err := c.Get(a.ctx, "/people", &all); err != nil {
		return err
	}
	return a.print(l.JSON, all, func() {
		var rows [][]string
		for _, p := range all {
			rows = append(rows, []string{p.ID, p.Name, strings.Join(p.Roles, ", "), p.Credential.Model})
		}
		a.table([]string{"PERSON", "NAME", "ROLES", "PASSKEY"}, rows)
	})
}
