package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"ankan/order"
	"ankan/site"
)

type orderCmd struct {
	Draft orderDraftCmd `cmd:"" help:"Check an order file and keep it until it is signed (operator)."`
	List  orderListCmd  `cmd:"" help:"List orders."`
	Show  orderShowCmd  `cmd:"" help:"Show where an order stands."`
	Check orderCheckCmd `cmd:"" help:"Check an order file without a site."`
}

type orderDraftCmd struct {
	siteFlag
	File string `arg:"" type:"existingfile" help:"Order file, in the contract's layout."`
}

func (o orderDraftCmd) Run(a *app) error {
	c, err := o.client(a)
	if err != nil {
		return err
	}
	f, err := os.Open(o.File)
	if err != nil {
		return err
	}
	defer f.Close()
	var v order.Order
	if err := c.Send(a.ctx, "/orders?name="+url.QueryEscape(filepath.Base(o.File)), f, &v); err != nil {
		return err
	}
	return a.print(o.JSON, v, func() {
		a.printf("order %s: %s of %s, batch %s\n", v.ID, count(v.Quantity, "card", "cards"), v.Profile, v.Batch)
		a.next("ankan act request order.submit order/%s -c %s --person N --passkey FILE", v.ID, short(o.Config))
	})
}

type orderListCmd struct{ siteFlag }

func (o orderListCmd) Run(a *app) error {
	c, err := o.client(a)
	if err != nil {
		return err
	}
	var all []order.Order
	if err := c.Get(a.ctx, "/orders", &all); err != nil {
		return err
	}
	return a.print(o.JSON, all, func() {
		if len(all) == 0 {
			a.printf("no orders yet\n")
			return
		}
		var rows [][]string
		for _, v := range all {
			rows = append(rows, []string{v.ID, string(v.State), strconv.Itoa(v.Quantity), v.Batch, v.Partner, v.Reason})
		}
		a.table([]string{"ORDER", "STATE", "CARDS", "BATCH", "WITH", ""}, rows)
	})
}

type orderShowCmd struct {
	siteFlag
	ID string `arg:"" help:"Number of the order."`
}

func (o orderShowCmd) Run(a *app) error {
	c, err := o.client(a)
	if err != nil {
		return err
	}
	var v site.OrderView
	if err := c.Get(a.ctx, "/orders/"+url.PathEscape(o.ID), &v); err != nil {
		return err
	}
	return a.print(o.JSON, v, func() {
		a.printf("order %s with %s: %s\n", v.ID, v.Partner, v.State)
		a.printf("  %s of %s, batch %s, transport key %d\n  digest %s\n", count(v.Quantity, "card", "cards"), v.Profile, v.Batch, v.Transport, v.Digest)
		for _, s := range v.Steps {
			a.printf("  %s  %s\n", when(s.At), s.State)
		}
		if v.Reason != "" {
			a.printf("  %s: %s\n", whyOf(v.State), v.Reason)
		}
		if v.Waiting != "" {
			a.printf("  waits: %s\n", v.Waiting)
		}
		a.onWay("  ", v.OnWay)
		if !v.Due.IsZero() {
			a.printf("  to be destroyed by %s\n", when(v.Due))
		}
		if v.Stopped != "" {
			a.printf("  stopped: %s\n", v.Stopped)
			a.next("give it up: ankan act request order.abandon order/%s/WHY -c %s --person N --passkey FILE", v.ID, short(o.Config))
			return
		}
		if kind := o.nextAct(v.State); kind != "" {
			a.next("ankan act request %s order/%s -c %s --person N --passkey FILE", kind, v.ID, short(o.Config))
		}
	})
}

// whyOf says what an order's reason is of.
func whyOf(s order.State) string {
	switch s {
	case order.Refused, order.Refusing:
		return "refused"
	case order.Withdrawn:
		return "withdrawn"
	}
	return "abandoned"
}

// nextAct is the act that an order in a state waits for at this site; "" if it
// goes on by itself, or is waited for elsewhere.
func (o orderShowCmd) nextAct(s order.State) string {
	c, err := o.load()
	if err != nil {
		return ""
	}
	if s == order.Accepted && c.Is(site.Bureau) && !c.Is(site.Operator) {
		return "order.release"
	}
	return map[order.State]string{
		order.Drafted:  "order.submit",
		order.Answered: "hlr.load",
		order.Loaded:   "order.acknowledge",
		order.Received: "order.destroy",
	}[s]
}

type orderCheckCmd struct {
	File   string `arg:"" type:"existingfile" help:"Order file."`
	Format string `help:"Its layout: a file, or the name of one that comes with the program. Default: dialect1 or dialect2, as the file says." placeholder:"LAYOUT"`
	JSON   bool   `help:"Print JSON."`
}

func (o orderCheckCmd) Run(a *app) error {
	f, err := os.Open(o.File)
	if err != nil {
		return err
	}
	defer f.Close()
	var rd order.Reading
	if o.Format != "" {
		if rd.Layout, err = findLayout(o.Format); err != nil {
			return err
		}
	}
	in, err := rd.ReadInput(short(o.File), f, nil)
	if err != nil {
		return a.refused(o.JSON, err)
	}
	v := map[string]any{"dialect": in.Layout().Name(), "quantity": in.Quantity(), "profile": in.Value(order.ProfileName),
		"batch": in.Value(order.Batch), "transport_key": in.TransportKey(), "first_iccid": in.First().ICCID.Masked(), "first_imsi": in.First().IMSI.Masked(),
		"digest": fmt.Sprintf("%x", in.Digest())}
	return a.print(o.JSON, v, func() {
		a.printf("%s: %s, %s of %s, batch %s, transport key %d\nfirst ICCID %s, IMSI %s\ndigest %x\n", short(o.File), in.Layout().Name(), count(in.Quantity(), "card", "cards"),
			in.Value(order.ProfileName), in.Value(order.Batch), in.TransportKey(), in.First().ICCID.Masked(), in.First().IMSI.Masked(), in.Digest())
	})
}
