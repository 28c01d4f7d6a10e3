package main

import (
	"cmp"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"ankan/perso"
	"ankan/plant"
	"ankan/stock"
)

type lotCmd struct {
	Receive lotReceiveCmd `cmd:"" help:"Record a chip maker's delivery note."`
	List    lotListCmd    `cmd:"" help:"List accepted lots."`
	Show    lotShowCmd    `cmd:"" help:"Show what a lot's note says of its chips, and what happened to it."`
}

type lotReceiveCmd struct {
	siteFlag
	File string `arg:"" type:"existingfile" help:"Delivery note (JSON)."`
}

func (l lotReceiveCmd) Run(a *app) error {
	c, err := l.client(a)
	if err != nil {
		return err
	}
	f, err := os.Open(l.File)
	if err != nil {
		return err
	}
	defer f.Close()
	var v stock.Lot
	if err := c.Send(a.ctx, "/lots", f, &v); err != nil {
		return err
	}
	return a.print(l.JSON, v, func() {
		a.printf("lot %s: %s of %s for %s, transport key %s %s\n", v.Lot, count(v.Quantity, "chip", "chips"), v.Vendor, v.OS, v.KeyAlgorithm(), v.KCV)
		a.next("ankan act request lot.accept lot/%s -c %s --person N --passkey FILE", v.Lot, short(l.Config))
	})
}

type lotListCmd struct{ siteFlag }

func (l lotListCmd) Run(a *app) error {
	c, err := l.client(a)
	if err != nil {
		return err
	}
	var all []stock.Lot
	if err := c.Get(a.ctx, "/lots", &all); err != nil {
		return err
	}
	return a.print(l.JSON, all, func() {
		if len(all) == 0 {
			a.printf("no accepted lots yet\n")
			return
		}
		var rows [][]string
		for _, v := range all {
			rows = append(rows, []string{v.Lot, strconv.Itoa(v.Quantity), v.Vendor, v.OS, string(v.KeyAlgorithm()), v.KCV})
		}
		a.table([]string{"LOT", "CHIPS", "VENDOR", "OS", "KEY", "CHECK VALUE"}, rows)
	})
}

type lotShowCmd struct {
	siteFlag
	Lot string `arg:"" help:"Name of the lot."`
}

func (l lotShowCmd) Run(a *app) error {
	c, err := l.client(a)
	if err != nil {
		return err
	}
	var v stock.LotView
	if err := c.Get(a.ctx, "/stock/lots/"+url.PathEscape(l.Lot), &v); err != nil {
		return err
	}
	return a.print(l.JSON, v, func() {
		a.printf("lot %s is %s: %s of %s, %s, for %s\n", v.Lot.Lot, v.State, count(v.Quantity, "chip", "chips"), v.Vendor, v.Chip, v.OS)
		a.printf("transport key: %s, check value %s\n", v.KeyAlgorithm(), v.KCV)
		a.printf("ATR: %s\n", cmp.Or(v.ATRText(), "not said; the line does not look at it"))
		a.printf("serial numbers: %s\n", cmp.Or(v.SerialsText(), "not said; the line does not look at them"))
		for _, i := range v.Inspections {
			a.printf("inspected %s by person %s: %d counted, %d of %d failed: %s\n", when(i.At), i.Person, i.Counted, i.Failed, i.Sample, i.Result)
		}
	})
}

type lineCmd struct {
	List lineListCmd `cmd:"" help:"List batches."`
	Show lineShowCmd `cmd:"" help:"Show a batch: counts, rejects, what it waits for."`

	Stations lineStationsCmd `cmd:"" help:"Show the stations at the line, and the fingerprint that they know the plant by."`
}

type lineStationsCmd struct{ siteFlag }

func (l lineStationsCmd) Run(a *app) error {
	c, err := l.client(a)
	if err != nil {
		return err
	}
	var v plant.Stations
	if err := c.Get(a.ctx, "/stations", &v); err != nil {
		return err
	}
	return a.print(l.JSON, v, func() {
		var rows [][]string
		for _, d := range v.Drawers {
			rows = append(rows, []string{d, "drawer of the configuration", ""})
		}
		for _, p := range v.Here {
			rows = append(rows, []string{p.Station, "connected " + p.Since.Local().Format(time.DateTime), strings.Join(p.Readers, " ")})
		}
		for _, name := range v.Away {
			rows = append(rows, []string{name, "not connected", ""})
		}
		if len(rows) > 0 {
			a.table([]string{"STATION", "STATE", "READERS"}, rows)
		}
		if v.Order != "" {
			a.printf("the line makes order %s\n", v.Order)
		}
		if v.Listen == "" {
			a.next("no station can connect: give line.listen and line.stations in %s", short(l.Config))
			return
		}
		a.next("ankan-station serve -k FOLDER --plant %s --plant-key %s --drawer 1=unix:PATH", v.Listen, v.Key)
	})
}

type lineListCmd struct{ siteFlag }

func (l lineListCmd) Run(a *app) error {
	c, err := l.client(a)
	if err != nil {
		return err
	}
	var all []perso.Run
	if err := c.Get(a.ctx, "/runs", &all); err != nil {
		return err
	}
	return a.print(l.JSON, all, func() {
		if len(all) == 0 {
			a.printf("no batches yet\n")
			return
		}
		var rows [][]string
		for _, v := range all {
			rows = append(rows, []string{v.Order, string(v.State), v.Bureau})
		}
		a.table([]string{"ORDER", "STATE", "FROM"}, rows)
	})
}

type lineShowCmd struct {
	siteFlag
	Order string `arg:"" help:"Number of the order."`
}

func (l lineShowCmd) Run(a *app) error {
	c, err := l.client(a)
	if err != nil {
		return err
	}
	var v plant.RunView
	if err := c.Get(a.ctx, "/runs/"+url.PathEscape(l.Order), &v); err != nil {
		return err
	}
	return a.print(l.JSON, v, func() {
		n := v.Counts
		a.printf("order %s: %s\n", v.Order, v.State)
		if n.Cards > 0 {
			a.printf("  %s = %d good + %d in doubt + %d rejected + %d waiting + %d retired\n",
				count(n.Cards, "identity", "identities"), n.Good, n.Doubt, n.Reject, n.Waiting, n.Retired)
			a.printf("  %s destroyed, %d set aside, %s remade with fresh keys\n", count(n.Destroyed, "chip", "chips"), n.Aside, count(n.Remade, "card", "cards"))
			if n.Lost > 0 {
				a.printf("  %s lost, whose identities are among the retired\n", count(n.Lost, "chip", "chips"))
			}
		} else {
			a.printf("  nothing of it is here: the batch has not come, or was destroyed\n")
		}
		for _, r := range v.Rejects {
			a.printf("  card %d: chip %s: %s\n", r.Card, r.Chip, r.Reason)
		}
		for _, d := range v.Doubts {
			a.printf("  card %d: chip %s: in doubt, last at station %s\n", d.Card, d.Chip, d.Station)
		}
		for _, r := range v.Lost {
			a.printf("  card %d: chip %s: lost; if it turns up: ankan act request chip.destroy order/%s/%s -c %s\n", r.Card, r.Chip, v.Order, r.Chip, short(l.Config))
		}
		if v.Abandoned != nil {
			a.printf("  abandoned by its bureau: %s\n", v.Abandoned.Why)
		}
		if v.Waiting != "" {
			a.printf("  waits: %s\n", v.Waiting)
		}
		switch {
		case len(v.Rejects) > 0:
			a.next("destroy the rejected chips: ankan act request chip.destroy order/%s -c %s --person N --passkey FILE", v.Order, short(l.Config))
		case v.State == "received" && len(v.Doubts) > 0 && v.Waiting != "":
			a.next("put the chips in doubt into a reader, have them destroyed, or have one declared lost: ankan act request chip.lost chip/%s/%s/WHY -c %s --person N --passkey FILE", v.Order, v.Doubts[0].Chip, short(l.Config))
		case v.State == "condemned":
			a.next("ankan act request batch.destroy order/%s -c %s --person N --passkey FILE", v.Order, short(l.Config))
		}
	})
}
