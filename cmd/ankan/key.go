package main

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"ankan/keys"
	"ankan/site"
)

type keyCmd struct {
	List keyListCmd `cmd:"" help:"List the keys of the register. No key is shown, only check values."`
	Show keyShowCmd `cmd:"" help:"Show a key's copies, what it touched, and its life."`
}

type keyListCmd struct {
	siteFlag
	State   string `enum:",making,pre-activation,active,suspended,deactivated,compromised,destroyed" default:"" placeholder:"STATE" help:"Only keys in this state: making, pre-activation, active, suspended, deactivated, compromised, destroyed."`
	Purpose string `placeholder:"PURPOSE" help:"Only keys for this purpose."`
	Partner string `placeholder:"NAME" help:"Only keys that this partner shares."`
}

func (k keyListCmd) Run(a *app) error {
	c, err := k.client(a)
	if err != nil {
		return err
	}
	var all []keys.Key
	if err := c.Get(a.ctx, "/keys?"+url.Values{"state": {k.State}, "purpose": {k.Purpose}, "partner": {k.Partner}}.Encode(), &all); err != nil {
		return err
	}
	return a.print(k.JSON, all, func() {
		if len(all) == 0 {
			a.printf("no such keys\n")
			return
		}
		var rows [][]string
		for _, v := range all {
			rows = append(rows, []string{v.ID, v.Purpose, v.Kind(time.Now()), string(v.State), v.KCV, strings.Join(v.Parties, ", "), strconv.FormatInt(v.Uses, 10), day(v.Expires)})
		}
		a.table([]string{"KEY", "PURPOSE", "ALGORITHM", "STATE", "CHECK VALUE", "PARTIES", "USES", "EXPIRES"}, rows)
	})
}

// day is a date; "" for none.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}

type keyShowCmd struct {
	siteFlag
	ID string `arg:"" help:"Name of the key."`
}

func (k keyShowCmd) Run(a *app) error {
	c, err := k.client(a)
	if err != nil {
		return err
	}
	var v site.KeyLife
	if err := c.Get(a.ctx, "/keys/"+(&url.URL{Path: k.ID}).EscapedPath(), &v); err != nil {
		return err
	}
	return a.print(k.JSON, v, func() {
		a.printf("key %s, %s for %s, %s\n", v.ID, v.Kind(time.Now()), v.Purpose, v.State)
		for _, f := range [][2]string{
			{"check value", v.KCV}, {"origin", v.Origin}, {"parties", strings.Join(v.Parties, ", ")}, {"uses", strconv.FormatInt(v.Uses, 10)},
			{"made", day(v.Made)}, {"activated", day(v.Activated)}, {"expires", day(v.Expires)}, {"ended", day(v.Ended)},
			{"waiver", v.Waiver.Reason}, {"signed by", v.Waiver.Signed},
		} {
			if f[1] != "" {
				a.printf("  %-11s  %s\n", f[0], f[1])
			}
		}
		for _, p := range v.Copies {
			gone := ""
			if !p.Gone.IsZero() {
				gone = ", gone " + day(p.Gone)
			}
			a.printf("  copy         %s, since %s%s\n", p.Name(), day(p.Since), gone)
		}
		for _, l := range v.Links {
			a.printf("  touched      %s, %s\n", l.What, count(l.Uses, "use", "uses"))
		}
		for _, e := range v.Events {
			a.printf("  %s  entry %d  %s  %s%s\n", when(e.At), e.Entry, e.Actor, e.What, colon(e.Text))
		}
		if v.State == keys.Live {
			a.next("ankan act request key.suspend key/%s -c %s --person N --passkey FILE, if it is not to be used", v.ID, short(k.Config))
		}
	})
}
