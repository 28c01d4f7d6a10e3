package console

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"ankan/plant"
	"ankan/stock"
)

// book is the stock of the site.
func (s *Server) book() *stock.Book { return stock.New(s.site.Store()) }

func (s *Server) getStock(v *visit) error {
	p := stockPage{}
	all, err := s.book().Balances(v.ctx(), "", "")
	if err != nil {
		return err
	}
	counts := map[stock.Account]int{}
	largest := 1
	for _, b := range all {
		counts[b.Account] += b.Count
		largest = max(largest, counts[b.Account])
	}
	for _, a := range stock.Accounts() {
		if n := counts[a]; n > 0 { // what sources gave is in the sums
			p.Accounts = append(p.Accounts, AccountBar{Name: string(a), Count: n, Share: max(1, n*100/largest)})
		}
	}
	sums, err := s.book().Check(v.ctx())
	switch {
	case errors.Is(err, stock.ErrBalance):
		p.Unbalance = err.Error()
	case err != nil:
		return err
	}
	for _, m := range sums {
		p.Sums = append(p.Sums, SumLine(m))
	}
	postings, err := s.book().Postings(v.ctx(), "", "", 50)
	if err != nil {
		return err
	}
	for _, m := range postings {
		line := PostingLine{At: m.At, Lot: m.Lot, Order: m.Order, From: string(m.From), To: string(m.To), Count: m.Count, Why: m.Why}
		if m.Act != "" {
			line.Href = "/acts/" + m.Act
		}
		p.Postings = append(p.Postings, line)
	}
	if v.asks("stock.move") {
		p.Move = askFor("stock.move", "")
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

// lotLine hides how many chips there are from whoever is to count them.
func (s *Server) lotLine(v *visit, l stock.LotView) LotLine {
	line := LotLine{Count: say("blind"), Name: l.Lot.Lot, Href: "/lots/" + url.PathEscape(l.Lot.Lot), Vendor: l.Vendor, Chip: l.Chip, FormFactor: l.FormFactor, State: l.State}
	if seesCount(v, l) {
		line.Count = plainly(l.Quantity)
	}
	return line
}

// seesCount says whether somebody may see how many chips a lot has.
func seesCount(v *visit, l stock.LotView) bool {
	return l.State != "offered" || len(l.Inspections) > 0 || v.may("stock.read")
}

func (s *Server) getLots(v *visit) error {
	all, err := s.book().LotViews(v.ctx())
	if err != nil {
		return err
	}
	p := lotsPage{}
	for _, l := range all {
		p.Lots = append(p.Lots, s.lotLine(v, l))
	}
	if v.asks("lot.inspect") {
		p.Ask = askFor("lot.inspect", "lot/")
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

func (s *Server) getLot(v *visit) error {
	l, err := s.book().LotView(v.ctx(), v.r.PathValue("name"))
	if err != nil {
		return errOrGone(err, stock.ErrNone)
	}
	p := lotPage{Lot: s.lotLine(v, l), OS: l.OS, KeyMethod: string(l.KeyAlgorithm()), KCV: l.KCV, ATR: l.ATR, ATRMask: l.ATRMask, Certificate: l.Certificate, Provenance: l.Provenance}
	if seesCount(v, l) { // the ranges tell how many there are
		p.Serials = l.Serials
	}
	if l.Source != "" {
		p.Source = "/acts/" + l.Source
	}
	for _, i := range l.Inspections {
		p.Inspections = append(p.Inspections, InspectionLine{At: i.At, By: s.who(v.ctx(), i.Person), Counted: i.Counted, Sample: i.Sample, Failed: i.Failed, Result: i.Result, Href: "/acts/" + i.Act})
	}
	if l.State == "offered" {
		for kind, subject := range map[string]string{"lot.inspect": "lot/" + l.Lot.Lot + "/", "lot.accept": "lot/" + l.Lot.Lot, "lot.refuse": "lot/" + l.Lot.Lot + "/", "source.approve": "source/" + l.Vendor + "/"} {
			if v.asks(kind) && (kind != "source.approve" || l.Source == "") {
				p.Asks = append(p.Asks, AskLine{kind, askFor(kind, subject)})
			}
		}
		slices.SortFunc(p.Asks, func(a, b AskLine) int { return strings.Compare(a.Kind, b.Kind) })
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

// boxesShown is how many boxes stand on one page.
const boxesShown = 200

func (s *Server) getBoxes(v *visit) error {
	all, err := s.book().BoxesAfter(v.ctx(), v.form("after"), boxesShown+1)
	if err != nil {
		return err
	}
	p := boxesPage{}
	if len(all) > boxesShown {
		all = all[:boxesShown]
		p.Next = "/boxes?" + url.Values{"after": {all[boxesShown-1].ID}}.Encode()
	}
	for _, b := range all {
		at := "/boxes/" + url.PathEscape(b.ID)
		line := BoxLine{Count: say("blind"), ID: b.ID, Order: b.Order, Pallet: b.Pallet, First: b.First, Last: b.Last, State: b.State, Seal: b.Seal, Place: cmp.Or(b.Shipment, b.Vault), Label: at + "/label.pdf", ZPL: at + "/label.zpl"}
		if b.State != stock.BoxOpen || v.may("stock.read") {
			line.Count = plainly(b.Cards)
		}
		p.Boxes = append(p.Boxes, line)
	}
	openings, err := s.book().Openings(v.ctx(), "")
	if err != nil {
		return err
	}
	for _, o := range openings {
		one := VaultOpening{Vault: o.Vault, Opened: o.Opened, Closed: o.Closed, Why: o.Why}
		for _, id := range o.By {
			one.By = append(one.By, s.who(v.ctx(), id))
		}
		p.Openings = append(p.Openings, one)
	}
	if v.asks("vault.open") {
		p.Open = askFor("vault.open", "vault/")
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

func (s *Server) getBoxLabel(v *visit) error {
	box, _, err := s.book().Box(v.ctx(), v.r.PathValue("id"))
	if err != nil {
		return errOrGone(err, stock.ErrNone)
	}
	return v.pdf("box-"+box.ID+".pdf", plant.BoxLabel(s.site.Config().Display, box))
}

func (s *Server) getBoxZPL(v *visit) error {
	box, _, err := s.book().Box(v.ctx(), v.r.PathValue("id"))
	if err != nil {
		return errOrGone(err, stock.ErrNone)
	}
	return v.download("text/plain; charset=utf-8", "box-"+box.ID+".zpl", []byte(box.ZPL()))
}

func (s *Server) getShipments(v *visit) error {
	all, err := s.book().Shipments(v.ctx())
	if err != nil {
		return err
	}
	p := shipmentsPage{}
	for _, one := range all {
		line := ShipmentLine{Number: one.Number, To: one.Consignee, Carrier: one.Carrier, Seal: one.Seal, Boxes: len(one.Boxes), Cards: one.Cards(), State: one.State, Sent: one.Sent, Receiver: one.Receiver,
			Paper: "/shipments/" + url.PathEscape(one.Number) + "/form.pdf"}
		switch {
		case one.State == stock.Drafted && v.asks("shipment.send"):
			line.Next, line.NextKind = askFor("shipment.send", "shipment/"+one.Number), "shipment.send"
		case one.State == stock.Sent && v.asks("shipment.receive"):
			line.Next, line.NextKind = askFor("shipment.receive", "shipment/"+one.Number+"/"), "shipment.receive"
		}
		p.Shipments = append(p.Shipments, line)
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

func (s *Server) getShipmentPDF(v *visit) error {
	one, err := s.book().Shipment(v.ctx(), v.r.PathValue("number"))
	if err != nil {
		return errOrGone(err, stock.ErrNone)
	}
	return v.pdf("shipment-"+one.Number+".pdf", one.Form(s.site.Config().Display, s.site.Store().Now()))
}

func deliveryLine(d stock.Delivery) DeliveryLine {
	line := DeliveryLine{Number: d.Number, Href: "/deliveries/" + url.PathEscape(d.Site) + "/" + url.PathEscape(d.Number), From: d.Site, Carrier: d.Carrier, Seal: d.Seal,
		Boxes: len(d.Boxes), Count: say("blind"), State: d.State, Sent: d.Sent}
	if d.Found != nil {
		line.Count = plainly(d.Cards)
	}
	return line
}

func (s *Server) getDeliveries(v *visit) error {
	all, err := s.book().Deliveries(v.ctx())
	if err != nil {
		return err
	}
	p := deliveriesPage{}
	for _, d := range all {
		p.Deliveries = append(p.Deliveries, deliveryLine(d))
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

func (s *Server) getDelivery(v *visit) error { return s.delivery(v, 200, nil) }

// delivery shows a shipment that comes here, with what its reader typed.
func (s *Server) delivery(v *visit, code int, problem error) error {
	full, err := s.book().Delivery(v.ctx(), v.r.PathValue("site"), v.r.PathValue("number"))
	if err != nil {
		return errOrGone(err, stock.ErrNone)
	}
	d := full.Blind()
	word := map[bool]string{true: "whole", false: "broken"}
	p := deliveryPage{Delivery: deliveryLine(d), Counted: d.Found != nil, Whole: v.form("seal")}
	for i, b := range d.Boxes {
		line := DeliveredBox{Box: b.Box, Seal: b.Seal, Order: b.Order, First: b.First, Last: b.Last, Cards: b.Cards, Typed: v.form("cards-" + b.Box), Whole: v.form("seal-" + b.Box)}
		if p.Counted {
			line.Found, line.Whole = d.Found.Boxes[i].Cards, word[d.Found.Boxes[i].Whole]
		}
		p.Boxes = append(p.Boxes, line)
	}
	switch {
	case p.Counted:
		p.Whole, p.Href, p.Paper = word[d.Found.Whole], "/acts/"+d.Act, p.Delivery.Href+"/form.pdf"
	case d.State == stock.Announced && v.asks("delivery.receive"):
		p.Form = &Form{Action: p.Delivery.Href}
		if problem != nil {
			t := plain(refusal(problem))
			p.Form.Problem = &t
		}
	}
	s.render(v.w, v.r, code, p)
	return nil
}

// postDelivery takes what somebody found and counted, and asks them to sign it.
func (s *Server) postDelivery(v *visit) error {
	d, err := s.book().Delivery(v.ctx(), v.r.PathValue("site"), v.r.PathValue("number"))
	if err != nil {
		return errOrGone(err, stock.ErrNone)
	}
	var found []string
	for _, b := range d.Boxes {
		found = append(found, b.Box+":"+v.form("cards-"+b.Box)+":"+v.form("seal-"+b.Box))
	}
	subject := d.Ref() + "/" + v.form("seal") + "/" + strings.Join(found, ",")
	if _, err := s.site.Proposal(v.ctx(), "delivery.receive", subject); err != nil {
		return s.delivery(v, 422, err)
	}
	return v.redirect(askFor("delivery.receive", subject))
}

// getDeliveryPDF is the form in two parts, once its figures may be seen.
func (s *Server) getDeliveryPDF(v *visit) error {
	d, err := s.book().Delivery(v.ctx(), v.r.PathValue("site"), v.r.PathValue("number"))
	if err == nil && d.Found == nil {
		err = stock.ErrNone
	}
	if err != nil {
		return errOrGone(err, stock.ErrNone)
	}
	return v.pdf("shipment-"+d.Number+".pdf", d.Shipment().Form(d.Site, s.site.Store().Now()))
}

func (s *Server) getDiscrepancies(v *visit) error { return s.discrepancies(v, 200, nil) }

func (s *Server) discrepancies(v *visit, code int, problem error) error {
	all, err := s.book().Discrepancies(v.ctx(), "")
	if err != nil {
		return err
	}
	p := discrepanciesPage{Figures: v.may("stock.read")}
	for _, d := range all {
		line := DiscrepancyLine{ID: d.ID, Counted: d.Subject, State: d.State, Opened: d.Opened, By: s.who(v.ctx(), d.Person), Why: d.Why}
		if p.Figures {
			line.Book, line.Found = d.Book, d.Found
		}
		switch {
		case d.State == stock.Open && v.asks("discrepancy.explain"):
			line.Next, line.NextKind = askFor("discrepancy.explain", fmt.Sprintf("discrepancy/%d/", d.ID)), "discrepancy.explain"
		case d.State == stock.Explained && v.asks("discrepancy.close"):
			line.Next, line.NextKind = askFor("discrepancy.close", fmt.Sprintf("discrepancy/%d", d.ID)), "discrepancy.close"
		}
		p.Lines = append(p.Lines, line)
	}
	if v.asks("stock.count") {
		p.Count = &Form{Action: "/discrepancies/count", Values: map[string]string{"account": v.form("account"), "lot": v.form("lot"), "order": v.form("order"), "found": v.form("found")}}
		if problem != nil {
			t := plain(refusal(problem))
			p.Count.Problem = &t
		}
		for _, a := range []stock.Account{stock.Store, stock.Finishing, stock.Finished, stock.Scrap, stock.Line, stock.Good, stock.Rejects, stock.Aside, stock.Boxed, stock.Vault} {
			p.Accounts = append(p.Accounts, Option{Value: string(a), Label: say("account." + string(a)), Selected: string(a) == v.form("account")})
		}
	}
	s.render(v.w, v.r, code, p)
	return nil
}

// postCount takes what somebody counted, and asks them to sign it.
func (s *Server) postCount(v *visit) error {
	subject := strings.Join([]string{"count", v.form("account"), v.form("lot"), cmp.Or(v.form("order"), "-"), v.form("found")}, "/")
	if _, err := s.site.Proposal(v.ctx(), "stock.count", subject); err != nil {
		return s.discrepancies(v, 422, err)
	}
	return v.redirect(askFor("stock.count", subject))
}
