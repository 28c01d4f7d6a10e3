package console

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"ankan/act"
	"ankan/ceremony"
	"ankan/hsm"
	"ankan/keys"
)

// itemStates are the states of things as pages name them.
var itemStates = map[string]string{keys.ItemHeld: "in-place", keys.ItemMissing: "missing", keys.ItemSent: "sent", keys.ItemGone: "gone"}

func (s *Server) itemLine(v *visit, i keys.Item) ItemLine {
	l := ItemLine{Kind: i.Kind, Number: i.Number, Href: touch(i.Ref()).Href, State: itemStates[i.State], Since: i.Since, Place: touch(i.Place), What: touch(i.Opens)}
	if i.Holder != "" {
		l.Holder = s.who(v.ctx(), i.Holder)
	}
	if i.Holds != "" {
		l.What = touch(i.Holds)
	}
	return l
}

func (s *Server) getRegister(v *visit) error {
	f := keys.ItemFilter{Kind: v.form("kind"), State: v.form("state"), Text: v.form("q")}
	p := registerPage{Form: Form{Action: "/register", Values: map[string]string{"kind": f.Kind, "state": f.State, "q": f.Text}}}
	p.Kinds = choices(keys.ItemKinds(), f.Kind, func(one string) Text { return say("item." + one) })
	p.States = choices([]string{keys.ItemHeld, keys.ItemMissing, keys.ItemSent, keys.ItemGone}, f.State, func(one string) Text { return say("state." + itemStates[one]) })
	all, err := s.site.Register().Items(v.ctx(), f)
	if err != nil {
		return err
	}
	all, p.Pager = paged(v, all)
	for _, i := range all {
		p.Items = append(p.Items, s.itemLine(v, i))
	}
	racks, err := s.site.Register().Racks(v.ctx())
	if err != nil {
		return err
	}
	for _, r := range racks {
		for _, o := range r.Openings {
			one := RackOpening{Rack: o.Rack, Opened: o.Opened, Closed: o.Closed, Why: o.Why}
			for _, id := range o.By {
				one.By = append(one.By, s.who(v.ctx(), id))
			}
			if o.Closed.IsZero() && v.asks("rack.close") {
				one.Close = askFor("rack.close", "rack/"+o.Rack)
			}
			p.Racks = append(p.Racks, one)
		}
	}
	slices.SortStableFunc(p.Racks, func(a, b RackOpening) int { return b.Opened.Compare(a.Opened) })
	dues, err := s.site.Register().Dues(v.ctx())
	if err != nil {
		return err
	}
	for _, d := range dues {
		p.Dues = append(p.Dues, s.due(v, d))
	}
	findings, err := s.site.Register().Findings(v.ctx())
	if err != nil {
		return err
	}
	for _, f := range findings {
		p.Findings = append(p.Findings, RegisterFinding{About: touch(f.Subject), Text: f.Text, Since: f.Since})
	}
	if v.me.Has("key-custodian") {
		p.Mine = "/custody/" + v.me.ID
	}
	if v.asks("item.register") {
		p.New = "/register/new"
	}
	if v.asks("rack.open") {
		p.Open = askFor("rack.open", "")
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

func (s *Server) due(v *visit, d keys.Due) Due {
	one := Due{Who: s.who(v.ctx(), d.Person), Href: "/custody/" + d.Person, By: d.Due, State: "later", Things: d.Things}
	if d.Over {
		one.State = "overdue"
	}
	return one
}

// ---- one thing

// item is the thing that the address names.
func (s *Server) item(v *visit) (keys.Item, error) {
	ref := "item/" + v.r.PathValue("kind") + "/" + v.r.PathValue("number")
	if _, _, _, err := keys.ParseItem(ref); err != nil {
		return keys.Item{}, errGone
	}
	i, err := s.site.Register().Item(v.ctx(), ref)
	return i, errOrGone(err, keys.ErrNoItem)
}

func (s *Server) getItem(v *visit) error {
	i, err := s.item(v)
	if err != nil {
		return err
	}
	p := itemPage{Item: s.itemLine(v, i)}
	for _, e := range i.Events {
		p.Life = append(p.Life, s.happened(v, e))
	}
	if i.State == keys.ItemHeld || i.State == keys.ItemMissing {
		at := p.Item.Href
		if v.asks("item.register") {
			p.Form = &Form{Action: at, Values: map[string]string{"holder": i.Holder, "place": i.Place, "opens": i.Opens, "holds": i.Holds}}
		}
		if v.asks("item.retire") {
			p.Retire = &Form{Action: at}
		}
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

// errOrGone takes one error for a page that is not there.
func errOrGone(err, gone error) error {
	if errors.Is(err, gone) {
		return errGone
	}
	return err
}

func (s *Server) getItemNew(v *visit) error {
	p := itemPage{New: true, Form: &Form{Action: "/register/new", Values: map[string]string{"kind": v.form("kind"), "number": v.form("number")}}}
	s.itemForm(v, &p)
	s.render(v.w, v.r, 200, p)
	return nil
}

func (s *Server) itemForm(v *visit, p *itemPage) {
	for _, kind := range keys.ItemKinds() {
		p.Kinds = append(p.Kinds, Option{Value: kind, Label: say("item." + kind), Selected: kind == v.form("kind")})
	}
}

func (s *Server) postItemNew(v *visit) error {
	i := keys.Item{Kind: v.form("kind"), Number: v.form("number"), Holder: v.form("holder"), Place: v.form("place"), Opens: v.form("opens"), Holds: v.form("holds")}
	if err := s.site.Register().PutItem(v.ctx(), v.me.ID, i); err != nil {
		p := itemPage{New: true, Form: &Form{Action: "/register/new", Values: map[string]string{"kind": i.Kind, "number": i.Number, "holder": i.Holder, "place": i.Place, "opens": i.Opens, "holds": i.Holds}}}
		t := plain(refusal(err))
		p.Form.Problem = &t
		s.itemForm(v, &p)
		s.render(v.w, v.r, 422, p)
		return nil
	}
	return v.redirect(askFor("item.register", i.Ref()))
}

func (s *Server) postItem(v *visit) error {
	i, err := s.item(v)
	if err != nil {
		return err
	}
	if v.form("retire") != "" {
		return v.redirect(askFor("item.retire", i.Ref()+"/"+v.form("reason")))
	}
	i = keys.Item{Kind: i.Kind, Number: i.Number, Holder: v.form("holder"), Place: v.form("place"), Opens: v.form("opens"), Holds: v.form("holds")}
	if err := s.site.Register().PutItem(v.ctx(), v.me.ID, i); err != nil {
		return s.refused(v, err, touch(i.Ref()).Href)
	}
	return v.redirect(askFor("item.register", i.Ref()))
}

// ---- what somebody holds, and its count

// things are what a person holds, and which of them is sealed to their passkey.
func (s *Server) things(v *visit, person string) ([]ThingLine, error) {
	held, err := s.site.Register().Things(v.ctx(), person)
	if err != nil {
		return nil, err
	}
	copies, err := s.site.Register().Held(v.ctx(), person)
	if err != nil {
		return nil, err
	}
	var all []ThingLine
	for _, t := range held {
		one := ThingLine{Ref: t.Ref, Name: t.Name, Href: touch(t.Ref).Href, Since: t.Since, State: "in-place",
			Sealed: slices.ContainsFunc(copies, func(c keys.Copy) bool { return c.Ref() == t.Ref && len(c.Sealed) > 0 })}
		if t.Key != "" {
			one.Href = keyHref(t.Key)
		}
		if !t.Missing.IsZero() {
			one.State = "missing"
		}
		all = append(all, one)
	}
	return all, nil
}

func (s *Server) getHoldings(v *visit) error {
	id := v.r.PathValue("person")
	if _, err := s.site.People().Member(v.ctx(), id); err != nil {
		return err
	}
	p := holdingsPage{Who: s.who(v.ctx(), id), Paper: localURL(&url.URL{Path: "/custody/" + id + "/inventory.pdf"})}
	var err error
	if p.Things, err = s.things(v, id); err != nil {
		return err
	}
	dues, err := s.site.Register().Dues(v.ctx())
	if err != nil {
		return err
	}
	for _, d := range dues {
		if d.Person == id {
			due := s.due(v, d)
			p.Due = &due
		}
	}
	counts, err := s.site.Register().Inventories(v.ctx(), id)
	if err != nil {
		return err
	}
	for _, c := range counts {
		p.Counts = append(p.Counts, CountLine{At: c.At, Officer: s.who(v.ctx(), c.Officer), Things: len(c.Things), Missing: c.Missing, Act: "/acts/" + c.Act, Paper: p.Paper + "?act=" + c.Act})
	}
	transfers, err := s.site.Register().Transfers(v.ctx(), id)
	if err != nil {
		return err
	}
	for _, t := range transfers {
		p.Transfers = append(p.Transfers, TransferOfThings{Number: t.Number, Href: "/handover/" + t.Number, From: s.who(v.ctx(), t.Outgoing), To: s.who(v.ctx(), t.Incoming), Things: len(t.Things), Drafted: t.Drafted, Done: t.Done})
	}
	if id == v.me.ID {
		p.Count = "/register/inventory"
		if len(p.Things) > 0 {
			p.HandOver = "/handover"
		}
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

func (s *Server) getInventory(v *visit) error { return s.inventory(v, 200, nil, nil) }

func (s *Server) inventory(v *visit, code int, said map[string]string, problem error) error {
	p := inventoryPage{Custodian: s.who(v.ctx(), v.me.ID), Form: Form{Action: "/register/inventory"}}
	if problem != nil {
		t := plain(refusal(problem))
		p.Form.Problem = &t
	}
	var err error
	if p.Things, err = s.things(v, v.me.ID); err != nil {
		return err
	}
	for i := range p.Things {
		p.Things[i].Said = said[p.Things[i].Ref]
	}
	dues, err := s.site.Register().Dues(v.ctx())
	if err != nil {
		return err
	}
	for _, d := range dues {
		if d.Person == v.me.ID {
			p.Due = d.Due
		}
	}
	counts, err := s.site.Register().Inventories(v.ctx(), v.me.ID)
	if err != nil {
		return err
	}
	if len(counts) > 0 {
		p.Last = counts[0].At
	}
	s.render(v.w, v.r, code, p)
	return nil
}

func (s *Server) postInventory(v *visit) error {
	things, err := s.site.Register().Things(v.ctx(), v.me.ID)
	if err != nil {
		return err
	}
	seen, said := map[string]bool{}, map[string]string{}
	for _, t := range things {
		said[t.Ref] = v.form("said-" + t.Ref)
		if said[t.Ref] != "" {
			seen[t.Ref] = said[t.Ref] == "seen"
		}
	}
	if err := s.site.Register().PutCount(v.ctx(), v.me.ID, seen); err != nil {
		return s.inventory(v, 422, said, err)
	}
	return v.redirect(askFor("custody.inventory", "inventory/"+v.me.ID))
}

// ---- from one custodian to the next

// A handover is a transfer whose sealed parts are being sealed anew by the
// outgoing custodian's browser.
type handover struct {
	keys.Transfer
	parts []string // sealed ones, in order
	now   *keys.Resealing
}

func (s *Server) getHandover(v *visit) error {
	s.mu.Lock()
	h := s.handing[v.session.ID]
	s.mu.Unlock()
	if h != nil && len(h.Sealed) < len(h.parts) {
		return s.reseal(v, h)
	}
	return s.chooseHandover(v, 200, nil)
}

func (s *Server) chooseHandover(v *visit, code int, problem error) error {
	p := custodyPage{Step: "choose", From: s.who(v.ctx(), v.me.ID), Ask: Form{Action: "/handover", Values: map[string]string{"to": v.form("to")}}}
	if problem != nil {
		t := plain(refusal(problem))
		p.Ask.Problem = &t
	}
	var err error
	if p.Things, err = s.things(v, v.me.ID); err != nil {
		return err
	}
	for i := range p.Things {
		p.Things[i].Chosen = slices.Contains(v.r.PostForm["thing"], p.Things[i].Ref)
	}
	others, err := s.site.People().Holders(v.ctx(), "key-custodian")
	if err != nil {
		return err
	}
	for _, who := range others {
		if who.ID == v.me.ID {
			continue
		}
		c := Candidate{Who: Who{Role: "key-custodian", Number: who.ID}, May: true, Chosen: who.ID == v.form("to")}
		if _, err := s.site.People().Fit(v.ctx(), who.ID, "key-custodian"); err != nil {
			c.May, c.Why = false, plain(refusal(err))
		}
		p.Candid = append(p.Candid, c)
	}
	s.render(v.w, v.r, code, p)
	return nil
}

// postHandover begins a transfer. What is sealed to the outgoing custodian is
// sealed to the incoming one first, in the outgoing one's browser.
func (s *Server) postHandover(v *visit) error {
	h := &handover{Transfer: keys.Transfer{Outgoing: v.me.ID, Incoming: v.form("to"), Things: v.r.PostForm["thing"], Sealed: map[string][]byte{}}}
	all, err := s.things(v, v.me.ID)
	if err != nil {
		return err
	}
	for _, t := range all {
		if t.Sealed && slices.Contains(h.Things, t.Ref) {
			h.parts = append(h.parts, t.Ref)
		}
	}
	if len(h.parts) == 0 {
		return s.putHandover(v, h)
	}
	if err := s.nextPart(v, h); err != nil {
		return s.chooseHandover(v, 422, err)
	}
	s.hand(v, h)
	return v.redirect("/handover")
}

// hand keeps a handover until its next part comes.
func (s *Server) hand(v *visit, h *handover) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.handing) > 1000 {
		clear(s.handing)
	}
	s.handing[v.session.ID] = h
}

// nextPart gives the outgoing custodian's browser the next sealed part.
func (s *Server) nextPart(v *visit, h *handover) error {
	r, err := s.site.Register().Reseal(v.ctx(), v.me.ID, h.parts[len(h.Sealed)], h.Incoming)
	h.now = &r
	return err
}

func (s *Server) reseal(v *visit, h *handover) error {
	own := ceremony.Sealed{Given: h.now.Given, Content: h.now.Content, Label: h.now.Label}
	to := map[string]any{"spki": base64.RawURLEncoding.EncodeToString(h.now.To), "content": h.now.Content, "label": h.now.NewLabel}
	p := custodyPage{Step: "seal", From: s.who(v.ctx(), v.me.ID), To: s.who(v.ctx(), h.Incoming), Part: h.now.Ref, N: len(h.Sealed) + 1, Of: len(h.parts),
		Bring: &Bring{Action: "/handover/part", Given: jsonOf(opening(v.me.Credential, own, to))}}
	s.render(v.w, v.r, 200, p)
	return nil
}

// postHandoverPart takes a part that was sealed anew. The site cannot look into
// it: whether it opens, the incoming custodian sees.
func (s *Server) postHandoverPart(v *visit) error {
	s.mu.Lock()
	h := s.handing[v.session.ID]
	delete(s.handing, v.session.ID) // one answer for each part, however often it is sent
	s.mu.Unlock()
	if h == nil {
		return s.refused(v, errors.New("this handover is over; begin again"), "/handover")
	}
	given, err := base64.RawURLEncoding.DecodeString(v.r.PostFormValue("given"))
	if err == nil {
		h.Sealed[h.now.Ref], err = sealedAnew(h.now, given)
	}
	if err == nil && len(h.Sealed) < len(h.parts) {
		err = s.nextPart(v, h)
	}
	if err != nil {
		return s.refused(v, err, "/handover")
	}
	if len(h.Sealed) == len(h.parts) {
		return s.putHandover(v, h)
	}
	s.hand(v, h)
	return v.redirect("/handover")
}

// sealedAnew is a part for its next holder, with what their passkey opens.
func sealedAnew(r *keys.Resealing, given hsm.Given) ([]byte, error) {
	if len(given) == 0 {
		return nil, errors.New("no passkey opened it; use the button, with script on")
	}
	if strings.HasPrefix(r.Ref, "copy/"+keys.CopyShare+"/") {
		var part hsm.Share
		if err := json.Unmarshal(r.New, &part); err != nil {
			return nil, err
		}
		part.Given = given
		return json.Marshal(part)
	}
	var part hsm.Component
	if err := json.Unmarshal(r.New, &part); err != nil {
		return nil, err
	}
	part.Given = given
	return json.Marshal(part)
}

func (s *Server) putHandover(v *visit, h *handover) error {
	t, err := s.site.Register().PutTransfer(v.ctx(), h.Transfer)
	if err != nil {
		return s.chooseHandover(v, 422, err)
	}
	return v.redirect(askFor("custody.transfer", "transfer/"+t.Number))
}

// getTransferOfThings is one handover: what goes, and for the next custodian
// what they open and compare before they sign.
// handover is the transfer of custody that an address names.
func (s *Server) handover(v *visit) (keys.Transfer, error) {
	all, err := s.site.Register().Transfers(v.ctx(), "")
	if err != nil {
		return keys.Transfer{}, err
	}
	i := slices.IndexFunc(all, func(t keys.Transfer) bool { return t.Number == v.r.PathValue("number") })
	if i < 0 {
		return keys.Transfer{}, errGone
	}
	return all[i], nil
}

func (s *Server) getTransferOfThings(v *visit) error {
	t, err := s.handover(v)
	if err != nil {
		return err
	}
	p := custodyPage{Step: "ready", Number: t.Number, Paper: "/handover/" + t.Number + "/transfer.pdf", From: s.who(v.ctx(), t.Outgoing), To: s.who(v.ctx(), t.Incoming), Done: t.Done}
	for _, ref := range t.Things {
		p.Things = append(p.Things, ThingLine{Ref: ref, Name: ref, Href: touch(ref).Href, State: "in-place", Since: t.Drafted, Sealed: t.Sealed[ref] != nil})
	}
	switch {
	case !t.Done.IsZero():
		p.DoneUnder = "/acts/" + t.Act
	case t.Outgoing == v.me.ID:
		p.Act = askFor("custody.transfer", "transfer/"+t.Number)
	case t.Incoming == v.me.ID:
		if p.Shows, err = shows(v, t); err != nil {
			return err
		}
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

// shows are the sealed parts of a transfer for whoever takes them over.
func shows(v *visit, t keys.Transfer) ([]Show, error) {
	var all []Show
	for _, ref := range t.Things {
		doc := t.Sealed[ref]
		if doc == nil {
			continue
		}
		one := Show{Seconds: v.policy.Limits.ComponentEntry, Share: strings.HasPrefix(ref, "copy/"+keys.CopyShare+"/")}
		var own ceremony.Sealed
		if one.Share {
			var part hsm.Share
			if err := json.Unmarshal(doc, &part); err != nil {
				return nil, err
			}
			own, one.Check = ceremony.Sealed{Given: part.Given, Content: string(part.Content()), Label: part.Label()}, part.Check
		} else {
			var part hsm.Component
			if err := json.Unmarshal(doc, &part); err != nil {
				return nil, err
			}
			own = ceremony.Sealed{Given: part.Given, Content: string(part.Content()), Label: part.Label()}
			one.Method, one.KCV = string(part.KCV.Method()), checkValue(part.KCV.String())
		}
		one.Open = jsonOf(opening(v.me.Credential, own, nil))
		all = append(all, one)
	}
	return all, nil
}

// ---- key transfer forms

// formStates are the states of forms as pages name them.
var formStates = map[string]string{keys.FormDrafted: "planned", keys.FormIssued: "sent", keys.FormAnnounced: "announced", keys.FormReceived: "received", keys.FormTampered: "tampered", keys.FormClosed: "closed"}

func (s *Server) getTransfers(v *visit) error {
	state, q := v.form("state"), strings.ToLower(v.form("q"))
	p := transfersPage{Form: Form{Action: "/transfers", Values: map[string]string{"state": state, "q": v.form("q")}}}
	p.States = choices([]string{keys.FormDrafted, keys.FormIssued, keys.FormAnnounced, keys.FormReceived, keys.FormTampered, keys.FormClosed}, state, func(one string) Text { return say("state." + formStates[one]) })
	all, err := s.site.Register().Forms(v.ctx(), state)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(f keys.Form) bool {
		return q != "" && !strings.Contains(strings.ToLower(strings.Join([]string{f.Number, f.Key, f.Bag, f.Seal, f.ToPerson, f.FromPerson}, " ")), q)
	})
	slices.Reverse(all)
	all, p.Pager = paged(v, all)
	for _, f := range all {
		one := TransferLine{Number: f.Number, Href: touch(f.Ref()).Href, Key: f.Key, Part: say("form.component", f.Component, f.Of), From: say("form.who", f.FromPerson, f.Site), To: say("form.who", f.ToPerson, f.ToSite), Bag: f.Bag, State: formStates[f.State], At: f.Issued}
		if one.At.IsZero() {
			one.At = f.Drafted
		}
		p.Transfers = append(p.Transfers, one)
	}
	if v.asks("form.issue") {
		p.New = "/transfers/new"
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

func (s *Server) getTransferNew(v *visit) error {
	values := map[string]string{}
	for _, name := range []string{"key", "component", "ceremony"} {
		values[name] = v.form(name)
	}
	s.render(v.w, v.r, 200, transferNewPage{Form{Action: "/transfers/new", Values: values}})
	return nil
}

func (s *Server) postTransferNew(v *visit) error {
	f := Form{Action: "/transfers/new", Values: map[string]string{}}
	for _, name := range []string{"key", "component", "ceremony", "bag", "seal", "to_site", "to_person", "carrier"} {
		f.Values[name] = v.form(name)
	}
	sheet := keys.Sheet{Key: v.form("key"), Ceremony: v.form("ceremony"), Bag: v.form("bag"), Seal: v.form("seal"), ToSite: v.form("to_site"), ToPerson: v.form("to_person"), Carrier: v.form("carrier")}
	_, err := fmt.Sscanf(v.form("component"), "%d", &sheet.Component)
	if err == nil {
		sheet, err = s.site.Register().PutForm(v.ctx(), v.me.ID, sheet)
	}
	if err != nil {
		t := plain(refusal(err))
		f.Problem = &t
		s.render(v.w, v.r, 422, transferNewPage{f})
		return nil
	}
	return v.redirect(askFor("form.issue", sheet.Ref()))
}

// form is the form of a site that the address names.
func (s *Server) form(v *visit, of string) (keys.Form, error) {
	id := of + "/" + v.r.PathValue("number")
	if _, _, err := keys.ParseForm("form/" + id); err != nil {
		return keys.Form{}, errGone
	}
	f, err := s.site.Register().Form(v.ctx(), id)
	return f, errOrGone(err, keys.ErrNoForm)
}

func (s *Server) getForm(v *visit) error {
	f, err := s.form(v, v.r.PathValue("site"))
	if err != nil {
		return err
	}
	p := transferPage{Number: f.Number, Paper: touch(f.Ref()).Href + "/form.pdf", State: formStates[f.State], Sender: TransferSide{f.Site, f.FromPerson}, Receiver: TransferSide{f.ToSite, f.ToPerson}, Key: f.Key, Holds: say("form.component", f.Component, f.Of),
		KCV: splitKCV(f.KCV), Whole: splitKCV(f.KeyKCV), Ceremony: f.Ceremony, Bag: f.Bag, Seal: f.Seal, Carrier: f.Carrier, Issued: f.Issued, Words: act.Words(digestOf(f.Sheet)), Why: f.Why}
	if i := f.Inspection; i != nil {
		p.Received = &Receipt{At: f.Received, Bag: i.Bag, Seal: i.Seal, Sound: i.Sound, Note: i.Note}
	}
	if f.State == keys.FormAnnounced && f.ToPerson == v.me.ID && f.ToSite == s.site.Config().Site {
		p.Inspect = &Form{Action: touch(f.Ref()).Href}
	}
	for _, kind := range []string{"form.issue", "form.receive", "form.close"} {
		if !v.asks(kind) {
			continue
		}
		if _, err := s.site.Proposal(v.ctx(), kind, f.Ref()); err == nil {
			p.Acts = append(p.Acts, KeyAct{Kind: kind, Href: askFor(kind, f.Ref())})
		}
	}
	for _, one := range []Step{{Text: say("state.planned"), At: f.Drafted}, {Text: say("state.sent"), At: f.Issued}, {Text: say("state.announced"), At: f.Announced}, {Text: say("state.received"), At: f.Received}, {Text: say("state.closed"), At: f.Closed}} {
		if one.At.IsZero() {
			continue
		}
		if one.At.Equal(f.Received) && f.State == keys.FormTampered {
			one.Text, one.Grave = say("state.tampered"), true
		}
		one.State = "done"
		p.Life = append(p.Life, one)
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

// postForm writes down what the recipient read from the bag. The act
// form.receive signs for it.
func (s *Server) postForm(v *visit) error {
	ref := "form/" + v.r.PathValue("site") + "/" + v.r.PathValue("number")
	i := keys.Inspection{Bag: v.form("bag"), Seal: v.form("seal"), Sound: v.form("sound") == "yes", Note: v.form("note")}
	if v.form("sound") == "" {
		return s.refused(v, errors.New("say whether there is any sign of tampering"), touch(ref).Href)
	}
	if _, err := s.form(v, v.r.PathValue("site")); err != nil {
		return err
	}
	if err := s.site.Register().PutInspection(v.ctx(), v.me.ID, ref, i); err != nil {
		return s.refused(v, err, touch(ref).Href)
	}
	return v.redirect(askFor("form.receive", ref))
}

// toForm leads from a form's number to its page.
func (s *Server) toForm(v *visit) error {
	f, err := s.form(v, s.site.Config().Site)
	if err != nil {
		return err
	}
	return v.redirect(touch(f.Ref()).Href)
}
