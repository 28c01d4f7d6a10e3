package main

import (
	"fmt"
	"net/url"
	"os"
	"strings"

	"ankan/act"
	"ankan/exchange"
	"ankan/site"
)

type partnerCmd struct {
	Show       partnerShowCmd       `cmd:"" help:"Show a partner card, with the digest that two people compare before it is used."`
	Checkpoint partnerCheckpointCmd `cmd:"" help:"Print the largest checkpoint of a partner's log that came with its files: for a partner who restores a backup."`
	Card       partnerCardCmd       `cmd:"" help:"Make the card of a partner who works with stock gpg and sftp."`
}

type partnerCheckpointCmd struct {
	siteFlag
	Name string `arg:"" help:"Partner."`
}

func (p partnerCheckpointCmd) Run(a *app) error {
	c, err := p.client(a)
	if err != nil {
		return err
	}
	var v site.PartnerCheckpoint
	if err := c.Get(a.ctx, "/partners/"+url.PathEscape(p.Name)+"/checkpoint", &v); err != nil {
		return err
	}
	return a.print(p.JSON, v, func() {
		if v.Lost != "" { // the larger one, from before the partner's database was put back
			a.printf("%s", v.Lost)
			return
		}
		a.printf("%s", v.Checkpoint)
	})
}

type partnerShowCmd struct {
	File string `arg:"" type:"existingfile" help:"Partner card." complete:"files"`
	JSON bool   `help:"Print JSON."`
}

func (s partnerShowCmd) Run(a *app) error {
	doc, err := os.ReadFile(s.File)
	if err != nil {
		return err
	}
	p, err := exchange.ParsePartner(s.File, doc)
	if err != nil {
		return err
	}
	c, digest := p.Card(), p.Digest()
	v := map[string]any{
		"name": c.Name, "display": c.Display, "roles": c.Roles, "country": c.Country, "address": c.Address, "openpgp": p.Fingerprint(),
		"officers": len(c.Officers), "log": c.Log, "digest": fmt.Sprintf("%x", digest), "words": act.Words(digest),
	}
	return a.print(s.JSON, v, func() {
		a.printf("%s (%s), %s, %s\n", c.Name, c.Display, strings.Join(c.Roles, " and "), c.Country)
		a.printf("  address   %s\n  OpenPGP   %s\n  log       %s\n", orNone(c.Address), p.Fingerprint(), orNone(c.Log))
		a.printf("  officers  %d with a key of their own\n", len(c.Officers))
		a.printf("  SHA-256   %x\n  words     %s\n", digest, strings.Join(act.Words(digest), " "))
		a.printf("Compare the words with %s by telephone before you name this file under partners.\n", c.Name)
	})
}

type partnerCardCmd struct {
	Name    string   `arg:"" help:"Short name: a-z, 0-9, hyphen. It is the partner's SFTP user."`
	Display string   `required:"" help:"Name for people."`
	Role    []string `required:"" help:"operator, bureau or plant."`
	Country string   `default:"IN" help:"ISO 3166 code."`
	Address string   `help:"host:port of the partner's SFTP server; without it the partner fetches its files here."`
	OpenPGP string   `name:"openpgp" required:"" type:"existingfile" help:"OpenPGP public key, armored: gpg --armor --export." complete:"files"`
	TLS     string   `name:"tls" required:"" type:"existingfile" help:"TLS client certificate, PEM." complete:"files"`
	SSH     string   `name:"ssh" required:"" type:"existingfile" help:"SSH public key, one line." complete:"files"`
}

func (n partnerCardCmd) Run(a *app) error {
	read := func(path string) (string, error) {
		doc, err := os.ReadFile(path)
		return string(doc), err
	}
	c := exchange.Card{Name: n.Name, Display: n.Display, Roles: n.Role, Country: n.Country, Address: n.Address}
	for path, to := range map[string]*string{n.OpenPGP: &c.OpenPGP, n.TLS: &c.TLS, n.SSH: &c.SSH} {
		var err error
		if *to, err = read(path); err != nil {
			return err
		}
	}
	c.SSH = strings.TrimSpace(c.SSH)
	doc, err := c.Marshal()
	if err != nil {
		return err
	}
	if _, err := exchange.ParsePartner(n.Name+".yaml", doc); err != nil {
		return err
	}
	_, err = a.out.Write(doc)
	return err
}
