package main

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ankan/plant"
	"ankan/site"
	"ankan/stock"
)

type shipmentCmd struct {
	List    shipmentListCmd    `cmd:"" help:"List shipments: those of a plant, and at another site those that come there."`
	Show    shipmentShowCmd    `cmd:"" help:"Show a shipment with its boxes. Of one that comes here without counts, until it is received."`
	Draft   shipmentDraftCmd   `cmd:"" help:"Write down which closed boxes go together."`
	Send    shipmentSendCmd    `cmd:"" help:"Ask for a shipment to be sent. Another person approves it."`
	Form    shipmentFormCmd    `cmd:"" help:"Write the form in two parts with which it travels, as PDF."`
	Receive shipmentReceiveCmd `cmd:"" help:"At an operator: record what you found and counted of each box. At a plant: record the second part of the form, as it came back on paper."`
}

// shipmentFlag names a site and which of its shipments are meant.
type shipmentFlag struct {
	siteFlag
	Coming bool `help:"Those that come here. At a site that is no plant they are all there are."`
}

// coming says whether those are meant that come to the site.
func (s shipmentFlag) coming() (bool, error) {
	c, err := s.load()
	return err == nil && (s.Coming || !c.Is(site.Plant)), err
}

// delivery is the shipment of a number that comes or came here.
func (s shipmentFlag) delivery(a *app, number string) (stock.Delivery, error) {
	c, err := s.client(a)
	if err != nil {
		return stock.Delivery{}, err
	}
	var all []stock.Delivery
	if err := c.Get(a.ctx, "/deliveries", &all); err != nil {
		return stock.Delivery{}, err
	}
	all = slices.DeleteFunc(all, func(d stock.Delivery) bool { return d.Number != number && d.Site+"/"+d.Number != number })
	switch len(all) {
	case 0:
		return stock.Delivery{}, fmt.Errorf("shipment %s: none of this number was announced; see: ankan shipment list -c %s", number, short(s.Config))
	case 1:
		return all[0], nil
	}
	return stock.Delivery{}, fmt.Errorf("shipment %s: %d plants have one; name it %s/%s", number, len(all), all[0].Site, number)
}

// figure is a count, where it may be shown.
func figure(n int, shown bool) string {
	if !shown {
		return "to be counted"
	}
	return strconv.Itoa(n)
}

type shipmentListCmd struct{ shipmentFlag }

func (s shipmentListCmd) Run(a *app) error {
	c, err := s.client(a)
	if err != nil {
		return err
	}
	none := func() { a.printf("no shipments yet\n") }
	coming, err := s.coming()
	if err != nil {
		return err
	}
	if coming {
		var all []stock.Delivery
		if err := c.Get(a.ctx, "/deliveries", &all); err != nil {
			return err
		}
		return a.print(s.JSON, all, func() {
			if len(all) == 0 {
				none()
				return
			}
			var rows [][]string
			for _, d := range all {
				rows = append(rows, []string{d.Number, d.Site, strconv.Itoa(len(d.Boxes)), figure(d.Cards, d.Found != nil), d.Seal, d.Carrier, d.State})
			}
			a.table([]string{"SHIPMENT", "FROM", "BOXES", "CARDS", "SEAL", "CARRIER", "STATE"}, rows)
		})
	}
	var all []stock.Shipment
	if err := c.Get(a.ctx, "/shipments", &all); err != nil {
		return err
	}
	return a.print(s.JSON, all, func() {
		if len(all) == 0 {
			none()
			return
		}
		var rows [][]string
		for _, v := range all {
			rows = append(rows, []string{v.Number, v.Consignee, strconv.Itoa(len(v.Boxes)), strconv.Itoa(v.Cards()), v.Seal, v.Carrier, v.State, v.Receiver})
		}
		a.table([]string{"SHIPMENT", "TO", "BOXES", "CARDS", "SEAL", "CARRIER", "STATE", "RECEIVER"}, rows)
	})
}

type shipmentShowCmd struct {
	shipmentFlag
	Number string `arg:"" help:"Number of the shipment."`
}

func (s shipmentShowCmd) Run(a *app) error {
	coming, err := s.coming()
	if err != nil {
		return err
	}
	if coming {
		d, err := s.delivery(a, s.Number)
		if err != nil {
			return err
		}
		return a.print(s.JSON, d, func() {
			a.printf("shipment %s of %s to %s, %s, by %s, seal %s\n", d.Number, d.Site, d.Consignee, d.State, d.Carrier, d.Seal)
			var rows [][]string
			for i, b := range d.Boxes {
				row := []string{b.Box, b.Seal, b.Order, figure(b.Cards, d.Found != nil), "", "", b.First, b.Last}
				if d.Found != nil {
					row[4], row[5] = strconv.Itoa(d.Found.Boxes[i].Cards), map[bool]string{true: "whole", false: "broken"}[d.Found.Boxes[i].Whole]
				}
				rows = append(rows, row)
			}
			a.table([]string{"BOX", "SEAL", "ORDER", "CARDS", "FOUND", "SEAL FOUND", "FIRST", "LAST"}, rows)
			if d.Found == nil {
				a.next("look at the seals, count, then: ankan shipment receive %s BOX=CARDS... -c %s --person N --passkey FILE", d.Number, short(s.Config))
			}
		})
	}
	c, err := s.client(a)
	if err != nil {
		return err
	}
	var v stock.Shipment
	if err := c.Get(a.ctx, "/shipments/"+url.PathEscape(s.Number), &v); err != nil {
		return err
	}
	return a.print(s.JSON, v, func() {
		a.printf("shipment %s to %s, %s, by %s, seal %s\n", v.Number, v.Consignee, v.State, v.Carrier, v.Seal)
		var rows [][]string
		for _, b := range v.Boxes {
			rows = append(rows, []string{b.ID, b.Seal, b.Order, strconv.Itoa(b.Cards), b.State, b.First, b.Last})
		}
		a.table([]string{"BOX", "SEAL", "ORDER", "CARDS", "STATE", "FIRST", "LAST"}, rows)
	})
}

type shipmentDraftCmd struct {
	siteFlag
	Number  string   `arg:"" help:"Number of the shipment."`
	Boxes   []string `arg:"" help:"Numbers of its boxes."`
	To      string   `required:"" placeholder:"NAME" help:"Operator whom it goes to."`
	Carrier string   `required:"" placeholder:"NAME" help:"Carrier, and the way."`
	Seal    string   `required:"" placeholder:"SEAL" help:"Seal of the vehicle or container."`
}

func (s shipmentDraftCmd) Run(a *app) error {
	c, err := s.client(a)
	if err != nil {
		return err
	}
	var v stock.Shipment
	if err := c.Post(a.ctx, "/shipments", plant.NewShipment{Number: s.Number, Consignee: s.To, Carrier: s.Carrier, Seal: s.Seal, Boxes: s.Boxes}, &v); err != nil {
		return err
	}
	return a.print(s.JSON, v, func() {
		a.printf("shipment %s to %s: %s, %s\n", v.Number, v.Consignee, count(len(v.Boxes), "box", "boxes"), count(v.Cards(), "card", "cards"))
		a.next("ankan shipment send %s -c %s --person N --passkey FILE", v.Number, short(s.Config))
	})
}

type shipmentSendCmd struct {
	siteFlag
	signerFlag
	Number string `arg:"" help:"Number of the shipment."`
}

func (s shipmentSendCmd) Run(a *app) error {
	return actRequestCmd{siteFlag: s.siteFlag, signerFlag: s.signerFlag, Kind: "shipment.send", Subject: "shipment/" + s.Number}.Run(a)
}

type shipmentFormCmd struct {
	shipmentFlag
	fileFlag
	Number string `arg:"" help:"Number of the shipment."`
}

func (s shipmentFormCmd) Run(a *app) error {
	coming, err := s.coming()
	if err != nil {
		return err
	}
	path := "/shipments/" + url.PathEscape(s.Number)
	if coming {
		d, err := s.delivery(a, s.Number)
		if err != nil {
			return err
		}
		path = "/deliveries/" + url.PathEscape(d.Site) + "/" + url.PathEscape(d.Number)
	}
	return s.write(a, s.siteFlag, path+"/form")
}

type shipmentReceiveCmd struct {
	shipmentFlag
	signerFlag
	Number   string   `arg:"" help:"Number of the shipment."`
	Found    []string `arg:"" sep:"none" placeholder:"BOX=CARDS" help:"What you counted: at an operator BOX=CARDS for every box, BOX=CARDS,broken where its seal is; at a plant the cards that the operator counted."`
	Broken   bool     `help:"The seal of the vehicle or container is broken, or another than the one shown."`
	Receiver string   `placeholder:"NAME" help:"At a plant: who signed for it."`
}

func (s shipmentReceiveCmd) Run(a *app) error {
	coming, err := s.coming()
	if err != nil {
		return err
	}
	ask := func(kind, subject string) error {
		return actRequestCmd{siteFlag: s.siteFlag, signerFlag: s.signerFlag, Kind: kind, Subject: subject}.Run(a)
	}
	if !coming {
		if len(s.Found) != 1 || s.Receiver == "" {
			return fmt.Errorf("shipment %s: want the cards that the operator counted, one number, and who signed for them: --receiver NAME", s.Number)
		}
		return ask("shipment.receive", "shipment/"+s.Number+"/"+s.Found[0]+"/"+s.Receiver)
	}
	d, err := s.delivery(a, s.Number)
	if err != nil {
		return err
	}
	f, err := finding(d, s.Found)
	if err != nil {
		return fmt.Errorf("shipment %s: %w", s.Number, err)
	}
	f.Whole = !s.Broken
	return ask("delivery.receive", d.Ref()+"/"+f.String())
}

// finding puts what was typed of each box into the order of the form.
func finding(d stock.Delivery, typed []string) (f stock.Finding, err error) {
	found := map[string]stock.FoundBox{}
	for _, text := range typed {
		box, rest, _ := strings.Cut(text, "=")
		cards, broken := strings.CutSuffix(rest, ",broken")
		n, err := strconv.Atoi(cards)
		if err != nil || n < 0 {
			return f, fmt.Errorf("%q is not BOX=CARDS or BOX=CARDS,broken", text)
		}
		if _, twice := found[box]; twice {
			return f, fmt.Errorf("box %s is there twice", box)
		}
		found[box] = stock.FoundBox{Box: box, Cards: n, Whole: !broken}
	}
	for _, b := range d.Boxes {
		one, ok := found[b.Box]
		if !ok {
			return f, fmt.Errorf("box %s is not among what you counted; one that did not come is %s=0,broken", b.Box, b.Box)
		}
		f.Boxes = append(f.Boxes, one)
		delete(found, b.Box)
	}
	for box := range found {
		return f, fmt.Errorf("box %s is none of its boxes", box)
	}
	return f, nil
}
