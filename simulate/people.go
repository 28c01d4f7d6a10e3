package simulate

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"ankan/act"
	"ankan/client"
	"ankan/custody"
	"ankan/order"
	"ankan/perso"
)

// An errand is a kind of act: who asks for it and who signs it, by role.
type errand struct {
	asks  string
	signs []string
}

// errands is what people do about orders.
func errands() map[string]errand {
	return map[string]errand{
		"order.submit":      {"sourcing", []string{"nodal-officer"}},
		"hlr.load":          {"nodal-officer", nil},
		"order.acknowledge": {"nodal-officer", nil},
		"order.release":     {"data-preparation", []string{"key-manager", "security-officer"}},
		"order.refuse":      {"key-manager", []string{"security-officer"}},
		"order.destroy":     {"key-manager", []string{"hsm-administrator", "security-officer", "witness"}},
		"order.abandon":     {"key-manager", []string{"hsm-administrator", "security-officer", "witness"}},
		"chip.destroy":      {"shift-lead", []string{"warehouse", "security-officer"}},
		"chip.lost":         {"shift-lead", []string{"warehouse", "security-officer"}},
		"batch.destroy":     {"system-administrator", []string{"security-officer", "witness"}},
	}
}

// A wish is an act that the state of a site calls for.
type wish struct{ kind, ord, chip string }

func (w wish) subject() string {
	switch w.kind {
	case "order.refuse", "order.abandon":
		return "order/" + w.ord + "/not wanted any more"
	case "chip.lost":
		return "chip/" + w.ord + "/" + w.chip + "/nobody finds it"
	}
	return "order/" + w.ord
}

// wishes is what people of a site would do now.
func (r *run) wishes(p *place) ([]wish, error) {
	var all []wish
	orders, err := order.List(r.ctx, p.site.Store())
	if err != nil {
		return nil, err
	}
	for _, o := range orders {
		kind := map[order.State]string{order.Drafted: "order.submit", order.Answered: "hlr.load", order.Loaded: "order.acknowledge", order.Received: "order.destroy"}[o.State]
		if o.State == order.Accepted && p.name == Bureau {
			kind = "order.release"
		}
		if kind != "" {
			all = append(all, wish{kind: kind, ord: o.ID})
		}
	}
	if p.name != Plant {
		return all, nil
	}
	runs, err := perso.Active(r.ctx, p.site.Store())
	if err != nil {
		return nil, err
	}
	for _, u := range runs {
		switch u.State {
		case "condemned":
			all = append(all, wish{kind: "batch.destroy", ord: u.Order})
		case "received", "abandoned":
			waits, err := perso.Condemnable(r.ctx, p.site.Store(), u.Order, 1)
			if err != nil {
				return nil, err
			}
			if len(waits) > 0 {
				all = append(all, wish{kind: "chip.destroy", ord: u.Order})
			} else if u.State == "abandoned" {
				all = append(all, wish{kind: "batch.destroy", ord: u.Order})
			}
		}
	}
	return all, nil
}

// A deed is an act that people asked for, as the model knows it.
type deed struct {
	n        int
	at       string // site
	wish     wish
	act      act.Act
	signed   []string // roles that approved it
	rejected bool
	used     bool
	complete time.Time // by the site's books, when the last one signed
	late     bool      // its time was over once
}

func (d *deed) String() string { return fmt.Sprintf("act %d, %s", d.n, d.wish.kind) }

// open is the roles that have not signed.
func (d *deed) open() []string {
	return slices.DeleteFunc(slices.Clone(errands()[d.wish.kind].signs), func(role string) bool { return slices.Contains(d.signed, role) })
}

// lateness remembers that an act's time was over: it must not come back.
func (r *run) lateness(d *deed) {
	p := r.places[d.at]
	if p.site == nil || d.late {
		return
	}
	now := p.site.Store().Now()
	if d.complete.IsZero() {
		d.late = now.After(d.act.ApproveBy)
	} else {
		d.late = now.After(d.complete.Add(time.Duration(d.act.UseWithin) * time.Second))
	}
}

// people has somebody do something.
func (r *run) people() error {
	up := r.up()
	if len(up) == 0 {
		return nil
	}
	p := one(r, up)
	p.clock.pass(time.Duration(1+r.rng.IntN(120)) * time.Second)
	var open, over, all []*deed
	for _, d := range r.deeds {
		if d.at != p.name {
			continue
		}
		r.lateness(d)
		all = append(all, d)
		if !d.used && !d.rejected && !d.late {
			open = append(open, d)
		} else if !d.used {
			over = append(over, d)
		}
	}
	at := r.rng.IntN(100)
	switch {
	case at < 35 && len(open) > 0:
		return r.goOn(p, one(r, open))
	case at < 85:
		wishes, err := r.wishes(p)
		if err == nil && p.name == Bureau && r.chance(8) {
			wishes, err = r.despair(p, wishes)
		}
		if err != nil || len(wishes) == 0 {
			return err
		}
		w := one(r, wishes)
		switch {
		case w.kind == "order.release" && r.chance(8):
			w.kind = "order.refuse"
		case w.kind == "chip.destroy" && r.chance(15):
			if w, err = r.lose(p, w); err != nil {
				return err
			}
		}
		return r.errand(p, w, r.chance(70))
	case len(over) > 0 && r.chance(50):
		return r.mischief(p, one(r, over))
	case len(all) > 0:
		return r.mischief(p, one(r, all))
	}
	return nil
}

// despair is the orders of the bureau that its people may give up, if there are
// any; else what they would do anyway.
func (r *run) despair(p *place, wishes []wish) ([]wish, error) {
	orders, err := order.Active(r.ctx, p.site.Store())
	if err != nil {
		return nil, err
	}
	var all []wish
	for _, o := range orders {
		if slices.Contains([]order.State{order.Released, order.Generated, order.Offered, order.Sent, order.Made}, o.State) {
			all = append(all, wish{kind: "order.abandon", ord: o.ID})
		}
	}
	if len(all) == 0 {
		return wishes, nil
	}
	return all, nil
}

// lose has people find one of the chips no more that they were to destroy.
func (r *run) lose(p *place, w wish) (wish, error) {
	all, err := perso.Condemnable(r.ctx, p.site.Store(), w.ord, 100)
	all = slices.DeleteFunc(all, func(c perso.Chip) bool { return c.State == "good" })
	if err != nil || len(all) == 0 {
		return w, err
	}
	return wish{kind: "chip.lost", ord: w.ord, chip: one(r, all).Chip}, nil
}

// errand asks for an act and, if people are prompt, has it signed and done.
func (r *run) errand(p *place, w wish, prompt bool) error {
	before := len(r.deeds)
	if err := r.ask(p, w); err != nil || !prompt || len(r.deeds) == before {
		return err
	}
	d := r.deeds[before]
	for range len(errands()[w.kind].signs) + 1 {
		if p.site == nil || d.used || d.rejected {
			break
		}
		if err := r.goOn(p, d); err != nil {
			return err
		}
	}
	return nil
}

// try has somebody do something at a site that may die over it. It reports
// whether it is sure that the error says what happened.
func (r *run) try(p *place, what string, do func() error) (sure bool, err error) {
	r.plan(p)
	err = do()
	r.note("%s: %s: %s", p.name, what, outcome(err))
	p.news = true
	disturbed, rerr := r.after(p)
	if rerr != nil {
		return false, rerr
	}
	return !disturbed || err == nil, err
}

// refusal is the error as a site's refusal, or nil.
func refusal(err error) *client.Refusal {
	var no *client.Refusal
	errors.As(err, &no)
	return no
}

// ask asks for an act.
func (r *run) ask(p *place, w wish) error {
	who := p.people[errands()[w.kind].asks]
	var st custody.Status
	sure, err := r.try(p, "ask for "+w.kind+" of "+r.named(w.ord), func() (err error) {
		st, err = p.client.Request(r.ctx, who, w.kind, w.subject())
		return err
	})
	if err != nil {
		if no := refusal(err); no == nil && sure {
			return err
		}
		r.count("acts not taken")
		return nil
	}
	r.count("acts asked for")
	r.deeds = append(r.deeds, &deed{n: len(r.deeds) + 1, at: p.name, wish: w, act: st.Act, complete: st.Complete})
	return nil
}

// named is an order by its number in the run.
func (r *run) named(id string) string {
	for _, o := range r.orders {
		if o.id == id {
			return fmt.Sprintf("order %d", o.n)
		}
	}
	return id
}

// goOn takes an act one step further: the next approver signs, or it is done.
func (r *run) goOn(p *place, d *deed) error {
	open := d.open()
	if len(open) == 0 {
		return r.do(p, d)
	}
	role, verb := open[0], act.Approve
	if !r.calm && r.chance(8) {
		verb = act.Reject
	}
	return r.sign(p, d, role, verb)
}

// sign has somebody approve or reject an act that is open.
func (r *run) sign(p *place, d *deed, role string, verb act.Verb) error {
	var st custody.Status
	sure, err := r.try(p, fmt.Sprintf("%s signs %s: %s", role, d, verb), func() (err error) {
		st, err = p.client.Sign(r.ctx, p.people[role], d.act.ID, verb, "compared")
		return err
	})
	if err != nil && !sure {
		return r.lookUp(p, d)
	}
	r.lateness(d)
	switch {
	case err == nil && verb == act.Reject:
		r.count("acts rejected")
		d.rejected = true
	case err == nil:
		r.count("signatures")
		d.signed, d.complete = append(d.signed, role), st.Complete
	case refusal(err) == nil:
		return err
	case !d.late:
		r.fault("%s: %s may sign %s, and is refused: %v", p.name, role, d, err)
	}
	return nil
}

// lookUp finds out what became of an act when a call was not answered.
func (r *run) lookUp(p *place, d *deed) error {
	var st custody.Status
	if err := p.client.Get(r.ctx, "/acts/"+d.act.ID, &st); err != nil {
		return fmt.Errorf("%s: %s is not there any more: %w", p.name, d, err)
	}
	d.signed, d.complete = nil, st.Complete
	for _, sig := range st.Signatures {
		if role := cast(p.name)[sig.Person]; sig.Verb == act.Approve {
			d.signed = append(d.signed, role)
		}
	}
	switch st.State {
	case "rejected":
		d.rejected = true
	case "used":
		d.used = true
	}
	return nil
}

// do has an act done that all have signed.
func (r *run) do(p *place, d *deed) error {
	over := d.used || d.rejected || d.late || len(d.open()) > 0
	sure, err := r.try(p, "do "+d.String(), func() error {
		return p.client.Post(r.ctx, "/acts/"+d.act.ID+"/do", struct{}{}, nil)
	})
	switch {
	case err == nil && over:
		r.fault("%s: %s is done, and may not be", p.name, d)
	case err == nil:
		r.count("acts done")
		r.count("done: " + d.wish.kind)
		d.used = true
	case !sure:
		return r.lookUp(p, d)
	case refusal(err) == nil:
		return err
	default:
		r.count("acts refused when they were to be done")
	}
	return nil
}

// mischief is what nobody may: it must be refused, whatever else goes wrong.
func (r *run) mischief(p *place, d *deed) error {
	e, open := errands()[d.wish.kind], d.open()
	verb := one(r, []act.Verb{act.Approve, act.Reject})
	type trick struct {
		what string
		do   func() error
	}
	sign := func(role string, v act.Verb) func() error {
		return func() error {
			_, err := p.client.Sign(r.ctx, p.people[role], d.act.ID, v, "")
			return err
		}
	}
	do := func() error { return p.client.Post(r.ctx, "/acts/"+d.act.ID+"/do", struct{}{}, nil) }
	tricks := []trick{{"its requester signs", sign(e.asks, act.Approve)}}
	for _, role := range sortedRoles(p.name) {
		if role != e.asks && !slices.Contains(e.signs, role) && role != "alternate-nodal-officer" {
			tricks = append(tricks, trick{role + ", who has no seat, signs", sign(role, verb)})
		}
	}
	if len(d.signed) > 0 {
		tricks = append(tricks, trick{"the same person signs again", sign(one(r, d.signed), act.Approve)})
	}
	switch {
	case d.used:
		tricks = append(tricks, trick{"it is done a second time", do}, trick{"it is done a second time", do})
	case d.rejected:
		tricks = append(tricks, trick{"it is done after its rejection", do})
	case d.late:
		tricks = append(tricks, trick{"it is done when its time is over", do}, trick{"it is done when its time is over", do})
	case len(open) > 0:
		tricks = append(tricks, trick{"it is done without all signatures", do})
	}
	if (d.rejected || d.late) && len(open) > 0 {
		tricks = append(tricks, trick{"it is approved when it is over", sign(open[0], act.Approve)})
	}
	t := one(r, tricks)
	_, err := r.try(p, fmt.Sprintf("%s: %s", d, t.what), t.do)
	r.count("tricks")
	r.count("trick: " + t.what)
	if err == nil {
		r.fault("%s: %s: %s, and is not refused", p.name, d, t.what)
	}
	return nil
}

func sortedRoles(name string) []string {
	var all []string
	for _, role := range cast(name) {
		all = append(all, role)
	}
	slices.Sort(all)
	return all
}
