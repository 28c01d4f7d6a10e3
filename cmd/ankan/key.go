package main

import (
	"ankan/site"
)

type keyCmd struct {
	List keyListCmd `cmd:"" help:"List the keys of the site's security module. No key is shown, only check values."`
	New  keyNewCmd  `cmd:"" help:"Make a transport key and an OP for a manufacturer (operator)."`
}

type keyListCmd struct{ siteFlag }

func (k keyListCmd) Run(a *app) error {
	c, err := k.client(a)
	if err != nil {
		return err
	}
	var all []site.KeyView
	if err := c.Get(a.ctx, "/keys", &all); err != nil {
		return err
	}
	return a.print(k.JSON, all, func() {
		var rows [][]string
		for _, v := range all {
			rows = append(rows, []string{v.ID, v.Purpose, v.Algorithm, v.KCV, when(v.Created)})
		}
		a.table([]string{"KEY", "PURPOSE", "ALGORITHM", "CHECK VALUE", "MADE"}, rows)
	})
}

type keyNewCmd struct {
	siteFlag
	Partner   string `required:"" placeholder:"NAME" help:"Manufacturer that will share the keys."`
	Index     int    `required:"" placeholder:"1..99" help:"Number by which order files name them, 1 to 99."`
	Algorithm string `default:"AES-256" enum:"AES-128,AES-256" help:"Of the transport key, as your AuC takes it: AES-128 or AES-256."`
}

func (k keyNewCmd) Run(a *app) error {
	c, err := k.client(a)
	if err != nil {
		return err
	}
	var all []site.KeyView
	if err := c.Post(a.ctx, "/keys", map[string]any{"partner": k.Partner, "index": k.Index, "algorithm": k.Algorithm}, &all); err != nil {
		return err
	}
	return a.print(k.JSON, all, func() {
		var rows [][]string
		for _, v := range all {
			rows = append(rows, []string{v.ID, v.Algorithm, v.KCV})
		}
		a.table([]string{"KEY", "ALGORITHM", "CHECK VALUE"}, rows)
		a.next("ankan act request key.share key/%s/%d -c %s --person N --passkey FILE", k.Partner, k.Index, short(k.Config))
	})
}
