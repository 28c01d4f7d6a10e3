package simulate

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ankan/custody"
	"ankan/durable"
	"ankan/factory"
	"ankan/operator"
	"ankan/order"
	"ankan/sim"
	"ankan/simos"
	"ankan/station"
	"ankan/store"
	"ankan/uicc"
)

// calmRounds bounds how long a factory may take to end its orders when nothing
// goes wrong any more.
const calmRounds = 60

// end lets everything go well from now on: sites start, files arrive, people do
// what they should, until each order has ended or waits for a reason.
func (r *run) end() error {
	r.calm = true
	r.note("from here on nothing goes wrong")
	for _, name := range Sites() {
		p := r.places[name]
		p.script = &durable.Script{}
		if p.site == nil {
			if err := r.open(r.ctx, p); err != nil {
				return fmt.Errorf("%s does not open: %w", name, err)
			}
		}
		// A clock that was set back is put right: the site's own log tells how late
		// it is at least.
		if d := p.site.Store().Now().Sub(p.clock.day); d > 0 {
			p.clock.step(d)
		}
		// Of one that leapt ahead somebody says that it is right, by starting the site
		// again.
		if p.site.MayBegin() != nil {
			r.count("restarts of a site whose clock had leapt")
			if err := r.restart(p); err != nil {
				return err
			}
		}
	}
	idle := 0
	for range calmRounds {
		for _, name := range Sites() {
			r.places[name].clock.pass(time.Minute)
		}
		if err := r.settle(r.ctx); err != nil {
			return err
		}
		did, err := r.diligence()
		if err != nil {
			return err
		}
		if _, fresh := r.rack.Chips(); len(fresh) == 0 && len(r.lot) > 0 {
			if err := r.feed(8); err != nil {
				return err
			}
			did = true
		}
		if idle++; did {
			idle = 0
		}
		if idle == 3 {
			return nil
		}
	}
	return fmt.Errorf("the factory still finds something to do after %d rounds", calmRounds)
}

// diligence has everybody do what the state of their site calls for.
func (r *run) diligence() (did bool, err error) {
	for _, p := range r.up() {
		wishes, err := r.wishes(p)
		if err != nil {
			return did, err
		}
		for _, w := range wishes {
			before := len(r.deeds)
			if err := r.errand(p, w, true); err != nil {
				return did, err
			}
			if len(r.deeds) == before {
				r.fault("%s: people may ask for %s of %s, and are refused", p.name, w.kind, r.named(w.ord))
			}
			did = true
		}
		if len(r.wrong) > 0 {
			return false, errors.New("people cannot go on")
		}
	}
	return did, nil
}

// collect is all rows of a query at a site.
func collect[T any](r *run, name string, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	return store.Collect(r.places[name].site.Store().Committed(r.ctx), scan, query, args...)
}

func text(rows *sql.Rows) (s string, err error) { return s, rows.Scan(&s) }

// check compares the factory with the model.
func (r *run) check() error {
	for _, do := range []func() error{r.checkOrders, r.checkLeave, r.checkCards, r.checkSubscribers, r.checkStock, r.checkHostile, r.checkBooks} {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// checkOrders: an order that was drafted has ended at every site, or waits for
// a reason that is no fault; no identity is in two orders that were accepted, and
// an order was refused for a clash only when there is one.
func (r *run) checkOrders() error {
	var had, made []*wanted // at the bureau; that it did not take back
	states := map[string]order.Order{}
	all, err := order.List(r.ctx, r.places[Bureau].site.Store())
	if err != nil {
		return err
	}
	for _, o := range all {
		states[o.ID] = o
	}
	for _, o := range r.orders {
		if o.drafted {
			there, ok := states[o.id]
			if ok {
				had = append(had, o)
			}
			if ok && there.State != order.Refused {
				made = append(made, o)
			}
		}
	}
	if len(had) != len(all) {
		r.fault("the bureau has %d orders, and %d were placed", len(all), len(had))
	}
	for i, o := range made {
		for _, other := range made[:i] {
			if o.overlaps(other) {
				r.fault("%s and %s are both accepted, and have an identity in common", other, o)
			}
		}
	}
	for _, o := range r.orders {
		if o.drafted {
			if err := r.checkOrder(o, states, had); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) checkOrder(o *wanted, bureau map[string]order.Order, had []*wanted) error {
	here, err := r.places[o.by].site.Order(r.ctx, o.id)
	if err != nil {
		return fmt.Errorf("%s is not there any more: %w", o, err)
	}
	there, taken := bureau[o.id]
	switch {
	case here.State == order.Refused && there.State == order.Refused:
		r.count("orders taken back")
		if !slices.ContainsFunc(r.deeds, func(d *deed) bool { return d.used && d.wish == wish{kind: "order.refuse", ord: o.id} }) {
			r.fault("%s was taken back, and nobody signed that", o)
		}
	case here.State == order.Refused && taken:
		r.fault("%s is refused at its operator and %s at the bureau", o, there.State)
	case here.State == order.Refused:
		r.count("orders refused by the bureau")
		clash := slices.ContainsFunc(had, func(m *wanted) bool { return m.overlaps(o) })
		if !clash {
			r.fault("%s is refused, and nothing speaks against it: %s", o, here.Reason)
		}
		if !strings.Contains(here.Reason, "was issued before") {
			r.fault("%s is refused for another reason than its clash: %s", o, here.Reason)
		}
	case here.State == order.Closed && there.State == order.Certified:
		r.count("orders that went to their end")
		given := slices.ContainsFunc(r.deeds, func(d *deed) bool { return d.used && d.wish == wish{kind: "order.abandon", ord: o.id} })
		if given {
			r.count("orders abandoned")
		}
		if gone, err := order.WhyAbandoned(r.places[o.by].site.Store().Committed(r.ctx), o.id); err != nil || (gone != nil) != given || given && here.Good != 0 {
			r.fault("%s: its operator has it abandoned: %+v, %d good, and people signed that: %v (%v)", o, gone, here.Good, given, err)
		}
		if here.Good != there.Good || here.Retired != there.Retired || here.Good+here.Retired != len(o.ids) {
			r.fault("%s: %d good and %d retired at the operator, %d and %d at the bureau, %d ordered", o, here.Good, here.Retired, there.Good, there.Retired, len(o.ids))
		}
	default:
		why := r.waits(o)
		if strings.Contains(why, station.ErrNoChips.Error()) || strings.Contains(why, "wait for a chip") {
			r.count("orders that wait for chips")
			return nil
		}
		r.fault("%s stands at %s (operator) and %q (bureau), and nothing says why: %q", o, here.State, there.State, why)
	}
	return nil
}

// waits is why an order does not go on, as the sites say.
func (r *run) waits(o *wanted) string {
	var all []string
	for _, p := range r.up() {
		for _, work := range []string{"order " + o.id, "run " + o.id} {
			if why := p.site.Waiting(work); why != "" {
				all = append(all, p.name+": "+why)
			}
		}
	}
	files, _ := r.places[Bureau].spool.Waiting()
	for _, f := range files {
		all = append(all, "bureau: file "+f.Name+": "+r.places[Bureau].site.Waiting("file "+f.Path))
	}
	return strings.Join(all, "; ")
}

// checkLeave: every act that was used was asked for and signed by the people
// whom it takes, and done by them once.
func (r *run) checkLeave() error {
	for _, name := range Sites() {
		var used []custody.Status
		if err := r.places[name].client.Get(r.ctx, "/acts?state=used", &used); err != nil {
			return err
		}
		for _, st := range used {
			e, ok := errands()[st.Act.Kind]
			i := slices.IndexFunc(r.deeds, func(d *deed) bool { return d.act.ID == st.Act.ID })
			switch {
			case !ok: // from the founding
			case i < 0:
				r.fault("%s did %s %s, for which the people did not ask", name, st.Act.Kind, st.Act.ID)
			case !r.deeds[i].used:
				r.fault("%s did %s, which the people did not do", name, r.deeds[i])
			case len(r.deeds[i].signed) != len(e.signs):
				r.fault("%s did %s with %d signatures, want %d", name, r.deeds[i], len(r.deeds[i].signed), len(e.signs))
			}
		}
	}
	// No chip counts as destroyed without its act.
	gone, err := collect(r, Plant, text, `SELECT DISTINCT ord FROM card WHERE state = 'destroyed'`)
	if err != nil {
		return err
	}
	for _, ord := range gone {
		if !slices.ContainsFunc(r.deeds, func(d *deed) bool { return d.used && d.wish == wish{kind: "chip.destroy", ord: ord} }) {
			r.fault("chips of %s count as destroyed, and nobody signed that", r.named(ord))
		}
	}
	lost, err := collect(r, Plant, text, `SELECT chip FROM card WHERE state = 'lost'`)
	if err != nil {
		return err
	}
	for _, chip := range lost {
		r.count("chips lost")
		if !slices.ContainsFunc(r.deeds, func(d *deed) bool { return d.used && d.wish.kind == "chip.lost" && d.wish.chip == chip }) {
			r.fault("chip %s counts as lost, and nobody signed that", chip)
		}
	}
	// What an act allows happens once to an order.
	for _, name := range Sites() {
		once := map[string]int{}
		for _, d := range r.deeds {
			if d.at == name && d.used && d.wish.kind != "chip.destroy" {
				of := d.wish.kind + d.wish.ord + d.wish.chip
				if once[of]++; once[of] == 2 {
					r.fault("%s did %s of %s twice", name, d.wish.kind, r.named(d.wish.ord))
				}
			}
		}
	}
	return nil
}

// seen is a chip of the plant's books.
type seen struct {
	ord, chip, state string
	card, keyset     int
}

// checkCards: no identity is on two chips that live; what the plant calls a good
// card is one, with the identity that it says; and each chip is in one place.
func (r *run) checkCards() error {
	books, err := collect(r, Plant, func(rows *sql.Rows) (s seen, err error) {
		return s, rows.Scan(&s.ord, &s.chip, &s.state, &s.card, &s.keyset)
	}, `SELECT ord, chip, state, card, keyset FROM card ORDER BY ord, keyset`)
	if err != nil {
		return err
	}
	booked, good := map[string]seen{}, map[string]int{}
	keysets := map[string]bool{}
	for _, s := range books {
		booked[s.chip] = s
		if s.state == "good" {
			good[s.ord]++
		}
		if at := fmt.Sprint(s.ord, s.keyset); keysets[at] {
			r.fault("key set %d of %s is on two chips", s.keyset, r.named(s.ord))
		} else {
			keysets[at] = true
		}
	}
	all, _ := r.rack.Chips()
	carries := map[sim.ICCID]string{}
	slot, err := simos.Dial(r.ctx, "unix", filepath.Join(r.dir, "chips.sock"))
	if err != nil {
		return err
	}
	defer slot.Close()
	for _, serial := range all {
		s, ok := booked[serial.String()]
		if ok && s.state == "destroyed" {
			r.count("chips destroyed")
			continue
		}
		if err := r.rack.SetFault(serial, simos.Fault{}); err != nil {
			return err
		}
		id, is, err := r.readICCID(slot, serial)
		if err != nil {
			return err
		}
		if !is {
			if ok && s.state == "good" {
				r.fault("chip %s is a good card in the books, and is no card", serial)
			}
			continue
		}
		if other, twice := carries[id]; twice {
			r.fault("%s is on chips %s and %s", id, other, serial)
		}
		carries[id] = serial.String()
		if !ok {
			r.fault("chip %s carries %s, and the plant's books do not have it", serial, id)
			continue
		}
		i := slices.IndexFunc(r.orders, func(o *wanted) bool { return o.id == s.ord })
		if i < 0 || s.card >= len(r.orders[i].ids) || r.orders[i].ids[s.card] != numberOf(id) {
			r.fault("chip %s carries %s, which is not card %d of %s", serial, id, s.card, r.named(s.ord))
		}
		r.count("cards")
	}
	for _, o := range r.orders {
		here, err := r.places[o.by].site.Order(r.ctx, o.id)
		if errors.Is(err, order.ErrNoOrder) {
			continue
		}
		if err != nil {
			return err
		}
		if here.State == order.Closed && here.Good != good[o.id] {
			r.fault("%s has %d good cards at the plant, the operator has %d", o, good[o.id], here.Good)
		}
	}
	return nil
}

// readICCID reads who a chip says it is; is is false for one that is no card.
func (r *run) readICCID(slot *simos.Reader, serial simos.Serial) (id sim.ICCID, is bool, err error) {
	if err := slot.Insert(r.ctx, serial); err != nil {
		return id, false, err
	}
	defer slot.Eject(r.ctx)
	if _, err := slot.Reset(r.ctx); err != nil {
		return id, false, fmt.Errorf("chip %s: %w", serial, err)
	}
	raw, err := uicc.NewSession(slot).ReadFile(r.ctx, 0x3F00, 0x2FE2)
	if err != nil || len(raw) != 10 || raw[0] == 0xFF {
		return id, false, nil // it has no files, or nothing in them
	}
	id, err = sim.ICCIDFromEF([10]byte(raw))
	return id, err == nil, nil
}

// checkSubscribers: the operators know exactly the good cards, each under its
// own identity, and cards answer the challenges made with their keys.
func (r *run) checkSubscribers() error {
	owner := map[string]string{}
	for _, name := range operators() {
		type row struct{ imsi, iccid, ord string }
		rows, err := collect(r, name, func(rows *sql.Rows) (x row, err error) { return x, rows.Scan(&x.imsi, &x.iccid, &x.ord) },
			`SELECT imsi, iccid, ord FROM subscriber ORDER BY imsi`)
		if err != nil {
			return err
		}
		loaded := map[string]int{}
		for _, x := range rows {
			loaded[x.ord]++
			if other, twice := owner[x.imsi]; twice {
				r.fault("IMSI %s is a subscriber of %s and of %s", x.imsi, other, name)
			}
			owner[x.imsi] = name
		}
		for _, o := range r.orders {
			if o.by != name {
				continue
			}
			here, err := r.places[name].site.Order(r.ctx, o.id)
			if err == nil && slices.Contains([]order.State{order.Loaded, order.Acknowledged, order.Closed}, here.State) && loaded[o.id] != here.Good {
				r.fault("%s has %d subscribers, want %d", o, loaded[o.id], here.Good)
			}
		}
		if err := r.prove(name); err != nil {
			return err
		}
	}
	return nil
}

// prove has good cards of an operator's closed orders answer its subscriber
// store. A card whose keys are another's does not.
func (r *run) prove(name string) error {
	for _, o := range r.orders {
		here, err := r.places[name].site.Order(r.ctx, o.id)
		if o.by != name || err != nil || here.State != order.Closed {
			continue
		}
		cards, err := collect(r, Plant, text, `SELECT chip FROM card WHERE ord = $1 AND state = 'good' ORDER BY card`, o.id)
		if err != nil {
			return err
		}
		for _, chip := range cards {
			var p operator.Proof
			err := r.places[name].client.Post(r.ctx, "/prove", map[string]string{"network": "unix", "address": filepath.Join(r.dir, "chips.sock"), "chip": chip}, &p)
			r.rack.Rest()
			if err != nil {
				r.fault("%s: the card on chip %s does not answer: %v", o, chip, err)
				continue
			}
			r.count("cards proved")
		}
	}
	return nil
}

// checkStock: every chip is in one account; what the books say is untouched is.
func (r *run) checkStock() error {
	type account struct {
		name string
		n    int
	}
	all, err := collect(r, Plant, func(rows *sql.Rows) (a account, err error) { return a, rows.Scan(&a.name, &a.n) },
		`SELECT account, sum(n) FROM stock_balance GROUP BY account ORDER BY account`)
	if err != nil {
		return err
	}
	sum := 0
	for _, a := range all {
		if a.name != "maker" {
			sum += a.n
		}
		if a.name == "missing" && a.n != 0 || a.name == "found" && a.n != 0 {
			r.fault("%d chips are booked as %s", a.n, a.name)
		}
	}
	if sum != chips {
		r.fault("the plant's books have %d chips, %d came", sum, chips)
	}
	cards, err := collect(r, Plant, text, `SELECT chip FROM card UNION ALL SELECT chip FROM set_aside`)
	if err != nil {
		return err
	}
	slices.Sort(cards)
	for i := range cards {
		if i > 0 && cards[i] == cards[i-1] && cards[i] != "unknown" {
			r.fault("chip %s is in the books twice", cards[i])
		}
	}
	return nil
}

// checkHostile: every file that nobody sent was refused.
func (r *run) checkHostile() error {
	refused := 0
	for _, name := range Sites() {
		files, err := filepath.Glob(filepath.Join(r.places[name].config.SpoolDir(), "quarantine", "*", "*-h*.json"))
		if err != nil {
			return err
		}
		refused += len(files)
	}
	if refused != r.hostile {
		r.fault("%d hostile files were brought and %d are in quarantine", r.hostile, refused)
	}
	return nil
}

// checkBooks has the books of all sites looked at from outside, when the sites
// are closed.
func (r *run) checkBooks() error {
	works := factory.Works{Settled: true}
	for _, name := range Sites() {
		p := r.places[name]
		err := p.site.Close()
		if p.site = nil; err != nil {
			return fmt.Errorf("closing %s: %w", name, err)
		}
		works.Sites = append(works.Sites, factory.Site{Config: p.config, Module: p.token, Parts: r.base.parts})
	}
	report, err := factory.CheckBooks(r.ctx, works)
	if errors.Is(err, factory.ErrBooks) {
		for _, line := range strings.Split(err.Error(), "\n") {
			r.fault("%s", line)
		}
		err = nil
	}
	for what, n := range map[string]int{"log entries": report.Entries, "signatures verified": report.Signatures, "warrants spent": report.Warrants,
		"orders with a certificate": report.Certified, "subscribers": report.Subscribers, "keys destroyed": report.Destroyed} {
		r.counts[what] += n
	}
	return err
}
