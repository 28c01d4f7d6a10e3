package console

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"ankan/datagen"
	"ankan/order"
	"ankan/perso"
	"ankan/profile"
	"ankan/scp"
	"ankan/uicc"
)

// runStates are the states of a batch as states of the console.
var runStates = map[string]string{
	"offered": "announced", "received": "running", "finished": "done", "reported": "done", "condemned": "due",
	"abandoned": "abandoned", "destroying": "now", "emptied": "destroyed", "closed": "closed",
}

// cardStates are the states of a chip under an identity.
var cardStates = map[string]string{"doubt": "doubt", "good": "good", "reject": "rejected", "destroyed": "destroyed", "lost": "lost"}

// getLine shows the batches and the stations of a plant.
func (s *Server) getLine(v *visit) error {
	runs, err := perso.Runs(v.ctx(), s.site.Store())
	if err != nil {
		return err
	}
	var p linePage
	for _, r := range slices.Backward(runs) {
		b := BatchLine{Order: r.Order, Href: batchHref(r.Order), Bureau: r.Bureau, State: runStates[r.State], Since: r.Started}
		batch, err := datagen.Load(v.ctx(), s.site.Store(), r.Order)
		if err == nil {
			made, err := perso.Chips(s.site.Store().Committed(v.ctx()), r.Order)
			if err != nil {
				return err
			}
			b.Cards, b.Good = batch.Cards, made.Good
			b.Percent = 100 * b.Good / b.Cards
		} else if !errors.Is(err, datagen.ErrNoBatch) {
			return err
		}
		p.Batches = append(p.Batches, b)
	}
	here, err := perso.Presences(v.ctx(), s.site.Store())
	if err != nil {
		return err
	}
	for _, st := range here {
		p.Stations = append(p.Stations, StationLine{Name: st.Name, State: presence(st.Here), Readers: st.Readers, Version: st.Version, Since: st.At})
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

func presence(here bool) string {
	if here {
		return "present"
	}
	return "away"
}

func batchHref(ord string) string { return "/line/" + url.PathEscape(ord) }

func cardHref(ord string, card int) string { return fmt.Sprintf("%s/cards/%d", batchHref(ord), card) }

// runOf is the batch that an address names, with its blocks if they are here.
func (s *Server) runOf(v *visit) (perso.Run, *datagen.Batch, error) {
	run, err := perso.GetRun(v.ctx(), s.site.Store(), v.r.PathValue("order"))
	if errors.Is(err, perso.ErrNoRun) {
		return run, nil, errGone
	}
	if err != nil {
		return run, nil, err
	}
	b, err := datagen.Load(v.ctx(), s.site.Store(), run.Order)
	if errors.Is(err, datagen.ErrNoBatch) {
		return run, nil, nil
	}
	return run, &b, err
}

// getBatch shows one batch, and how the line runs.
func (s *Server) getBatch(v *visit) error {
	run, b, err := s.runOf(v)
	if err != nil {
		return err
	}
	p := batchPage{Order: run.Order, Bureau: run.Bureau, OS: run.OS, State: runStates[run.State], Started: run.Started, Finished: run.Finished,
		Waiting: s.site.Waiting("run " + run.Order), Href: batchHref(run.Order)}
	gone, err := order.WhyAbandoned(s.site.Store().Committed(v.ctx()), run.Order)
	if err != nil {
		return err
	}
	if gone != nil && run.State == "abandoned" {
		p.Abandoned = gone.Why
	}
	if b != nil {
		p.Profile = b.Profile.Name
		counts, err := perso.Count(v.ctx(), s.site.Store(), run.Order, b.Cards)
		if err != nil {
			return err
		}
		p.count(counts)
	}
	for _, fill := range []func(context.Context, *batchPage) error{s.fillFigures(v, run, b), s.fillCauses, s.fillHours, s.fillDoubts(v)} {
		if err := fill(v.ctx(), &p); err != nil {
			return err
		}
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

// count shows the books of a batch, which balance or were refused.
func (p *batchPage) count(c perso.Counts) {
	p.Cards, p.Good, p.Rejects, p.Percent = c.Cards, c.Good, c.Reject, 100*c.Good/max(c.Cards, 1)
	p.Identities = []Sum{{say("line.identities"), c.Cards, true}, {say("line.good"), c.Good, false}, {say("line.doubt"), c.Doubt, false},
		{say("line.reject"), c.Reject, false}, {say("line.waiting"), c.Waiting, false}, {say("line.retired"), c.Retired, false}}
	p.Chips = []Sum{{say("line.chips"), c.Good + c.Doubt + c.Reject + c.Destroyed + c.Lost + c.Aside, true}, {say("line.good"), c.Good, false}, {say("line.doubt"), c.Doubt, false},
		{say("line.reject"), c.Reject, false}, {say("line.destroyed"), c.Destroyed, false}, {say("line.lost"), c.Lost, false}, {say("line.aside"), c.Aside, false}}
}

// recently is the time over which the pace of the line is taken.
const recently = 10 * time.Minute

func (s *Server) fillFigures(v *visit, run perso.Run, b *datagen.Batch) func(context.Context, *batchPage) error {
	return func(ctx context.Context, p *batchPage) error {
		db, now := s.site.Store(), s.site.Store().Now()
		stations, err := perso.ByStation(ctx, db, run.Order)
		if err != nil {
			return err
		}
		here, err := perso.Presences(ctx, db)
		if err != nil {
			return err
		}
		var all perso.Pace
		var spent time.Duration
		for _, st := range stations {
			all.Good, all.Reject = all.Good+st.Good, all.Reject+st.Reject
			spent += st.Each * time.Duration(st.Good+st.Reject)
			p.Stations = append(p.Stations, paceOf(st, here, now, run.State == "received"))
		}
		late, err := perso.Since(ctx, db, run.Order, now.Add(-recently))
		if err != nil {
			return err
		}
		hour := 0
		if over := now.Sub(late.From).Round(time.Minute) + time.Minute; late.Good > 0 {
			hour = int(float64(late.Good) * float64(time.Hour) / float64(min(over, recently+time.Minute)))
		}
		end := say("line.eta.none")
		if left := p.Cards - p.Good; hour > 0 && left > 0 && run.State == "received" {
			end = plainly(time.Duration(left) * time.Hour / time.Duration(hour))
		}
		p.Figures = append(p.Figures, Figure{say("line.hour"), plainly(hour), say("line.hour.note", len(stations))}, Figure{say("line.eta"), end, Text{}})
		if n := all.Good + all.Reject; n > 0 {
			p.Figures = append(p.Figures, Figure{say("line.yield"), plain(fmt.Sprintf("%.2f %%", 100*float64(all.Good)/float64(n))), say("line.yield.note", all.Reject, n)},
				Figure{say("line.each"), plain(seconds(spent / time.Duration(n))), say("line.each.note")})
		}
		if b == nil {
			return nil
		}
		return p.wire(b.Profile)
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// paceOf is a station's tile.
func paceOf(st perso.Pace, here []perso.Presence, now time.Time, running bool) StationPace {
	p := StationPace{Name: st.Station, State: "running", Each: seconds(st.Each), Good: st.Good, Rejects: st.Reject}
	name := st.Station
	if i := slices.Index([]byte(name), '/'); i > 0 {
		name = name[:i]
	}
	i := slices.IndexFunc(here, func(x perso.Presence) bool { return x.Name == name })
	switch {
	case i >= 0 && !here[i].Here:
		p.State, p.Class = "away", "is-off"
	case !running:
		p.State, p.Class = "done", ""
	case now.Sub(st.Last) > 2*time.Minute:
		p.State, p.Class = "paused", "is-hold"
	case st.Reject > 2 && 10*st.Reject > st.Good:
		p.Class = "is-warn"
	}
	return p
}

// wire tells what crosses the contacts of one card.
func (p *batchPage) wire(of *profile.Profile) error {
	script, err := profile.Compile(of)
	if err != nil {
		return err
	}
	speed, err := uicc.SpeedOf(0x96, 5e6)
	if err != nil {
		return err
	}
	w := script.Wire(scp.Commands)
	p.Figures = append(p.Figures, Figure{say("line.wire"), plain(fmt.Sprintf("%.2f", float64(w.Bytes())/float64(script.Content()))), say("line.wire.note", w.Bytes(), script.Content())},
		Figure{say("line.floor"), plain(seconds(w.Time(speed))), say("line.floor.note")})
	return nil
}

func (s *Server) fillCauses(ctx context.Context, p *batchPage) error {
	causes, err := perso.Causes(ctx, s.site.Store(), p.Order)
	if err != nil {
		return err
	}
	total, so := 0, 0
	for _, c := range causes {
		total += c.Count
	}
	var values []int
	var names []string
	for i, c := range causes {
		so += c.Count
		p.CauseRows = append(p.CauseRows, CauseRow{either("reason."+c.Reason, c.Reason), c.Count, 100 * so / total, c.Aside})
		values, names = append(values, c.Count), append(names, strconv.Itoa(i+1))
	}
	p.Causes = newChart(say("line.causes"), values, names, true)
	return nil
}

func (s *Server) fillHours(ctx context.Context, p *batchPage) error {
	hours, err := perso.ByHour(ctx, s.site.Store(), p.Order)
	if err != nil {
		return err
	}
	var values []int
	var names []string
	for _, h := range hours {
		p.HourRows = append(p.HourRows, HourRow{h.From, h.Good, h.Reject})
		values, names = append(values, h.Good), append(names, h.From.In(ist).Format("15:04"))
	}
	p.Hours = newChart(say("line.hours"), values, names, false)
	return nil
}

// maxDoubts is how many chips in doubt the page names.
const maxDoubts = 20

func (s *Server) fillDoubts(v *visit) func(context.Context, *batchPage) error {
	return func(ctx context.Context, p *batchPage) error {
		if v.asks("chip.destroy") {
			p.Ask = "/acts/new?" + url.Values{"kind": {"chip.destroy"}, "subject": {"order/" + p.Order}}.Encode()
		}
		doubts, err := perso.Doubts(ctx, s.site.Store(), p.Order)
		if err != nil {
			return err
		}
		for _, d := range doubts[:min(len(doubts), maxDoubts)] {
			since, _ := time.Parse(time.RFC3339Nano, d.Since)
			p.Doubts = append(p.Doubts, DoubtLine{Chip: d.Chip, Station: d.Station, Card: d.Card, Href: cardHref(p.Order, d.Card), Since: since})
		}
		return nil
	}
}

// cardsShown is how many chips stand on one page.
const cardsShown = 100

// getCards lists the chips of a batch.
func (s *Server) getCards(v *visit) error {
	run, _, err := s.runOf(v)
	if err != nil {
		return err
	}
	state := v.r.FormValue("state")
	if _, ok := cardStates[state]; !ok {
		state = ""
	}
	first, err := strconv.Atoi(v.r.FormValue("from"))
	if err != nil || first < 0 {
		first = 0
	}
	rows, err := perso.Listed(v.ctx(), s.site.Store(), run.Order, state, first, cardsShown+1)
	if err != nil {
		return err
	}
	p := cardsPage{Order: run.Order, Form: Form{Action: batchHref(run.Order) + "/cards"}, States: []Option{{"", say("any"), state == ""}}}
	for _, k := range []string{"good", "doubt", "reject", "destroyed", "lost"} {
		p.States = append(p.States, Option{k, say("state." + cardStates[k]), state == k})
	}
	if len(rows) > cardsShown {
		p.Next = p.Form.Action + "?" + url.Values{"state": {state}, "from": {strconv.Itoa(rows[cardsShown].Card)}}.Encode()
		rows = rows[:cardsShown]
	}
	p.Rows = cardLines(run.Order, rows)
	s.render(v.w, v.r, 200, p)
	return nil
}

func cardLines(ord string, rows []perso.Try) []CardLine {
	var all []CardLine
	for _, r := range rows {
		c := CardLine{Card: r.Card, Href: cardHref(ord, r.Card), Chip: r.Chip, State: cardStates[r.State], Station: r.Station, Tries: r.Tries, At: r.At}
		if r.Reason != "" {
			c.Reason = either("reason."+r.Reason, r.Reason)
		}
		all = append(all, c)
	}
	return all
}

// getCard shows one identity of a batch.
func (s *Server) getCard(v *visit) error {
	run, b, err := s.runOf(v)
	if err != nil {
		return err
	}
	card, err := strconv.Atoi(v.r.PathValue("card"))
	if err != nil || card < 0 || b != nil && card >= b.Cards {
		return errGone
	}
	tries, err := perso.Tries(v.ctx(), s.site.Store(), run.Order, card)
	if err != nil {
		return err
	}
	if len(tries) == 0 && b == nil {
		return errGone
	}
	p := cardPage{Order: run.Order, Back: batchHref(run.Order), Card: card, Chips: cardLines(run.Order, tries)}
	p.Facts = append(p.Facts, Fact{say("line.os"), plain(run.OS)})
	if b != nil {
		p.Facts = append(p.Facts, Fact{say("line.profile"), plain(b.Profile.Name + " " + b.Profile.Version)})
		if err := p.holds(b.Profile); err != nil {
			return err
		}
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

// holds lists what the profile puts on a card, without any value.
func (p *cardPage) holds(of *profile.Profile) error {
	script, err := profile.Compile(of)
	if err != nil {
		return err
	}
	unread := map[string]string{}
	for _, u := range script.Unread() {
		unread[u.File] = u.Reason
	}
	for f := range of.All() {
		line := FileLine{Path: f.Path(), ID: f.ID.String(), Unread: unread[f.Path()], Size: plain("")}
		line.Read = !f.Kind.Dedicated() && line.Unread == ""
		switch {
		case f.Kind.Dedicated():
		case f.Kind.Records():
			line.Size = say("line.records", f.Records, f.RecordSize)
		default:
			line.Size = say("line.bytes", f.Size)
		}
		for _, x := range f.Patches {
			if name := x.Slot.String(); !slices.Contains(line.Own, name) {
				line.Own = append(line.Own, name)
			}
		}
		p.Files = append(p.Files, line)
	}
	for _, x := range of.Slots() {
		if x.Kind == profile.RandomKey || x.Kind == profile.RandomDigits {
			p.Keys = append(p.Keys, x.Name)
		}
	}
	return nil
}
