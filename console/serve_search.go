package console

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"ankan/custody"
	"ankan/keys"
	"ankan/order"
)

// mostFound is how many things of one noun a search shows.
const mostFound = 20

// identity looks like the number of a card or a subscriber (ICCID, IMSI,
// MSISDN): it is never shown by a search.
var identity = regexp.MustCompile(`[0-9]{10,}`)

// masked hides identities in what people wrote.
func masked(s string) string {
	return identity.ReplaceAllStringFunc(s, func(n string) string { return n[:4] + strings.Repeat("•", len(n)-6) + n[len(n)-2:] })
}

// getSearch finds what the visitor may read: of each noun no more than its own
// page would show them.
func (s *Server) getSearch(v *visit) error {
	p := searchPage{Query: v.form("q")}
	q := strings.ToLower(p.Query)
	switch {
	case identity.MatchString(q):
		p.Query, p.Identity = masked(p.Query), true
	case len(q) < 2:
		p.Short = true
	default:
		for _, search := range []func(*visit, string) (FoundGroup, error){s.findKeys, s.findCeremonies, s.findActs, s.findPeople, s.findOrders} {
			g, err := search(v, q)
			if err != nil {
				return err
			}
			p.add(g)
		}
	}
	if n, err := strconv.ParseInt(q, 10, 64); err == nil && !p.Identity && v.may("log.read") && n >= 0 && n < s.site.Store().Size() {
		p.Short = false
		p.add(FoundGroup{Noun: "log", All: []Found{{Title: q, Note: say("entry.n", n), Href: "/log/" + strconv.FormatInt(n, 10)}}})
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

// add takes what was found of one noun, as far as a page shows it.
func (p *searchPage) add(g FoundGroup) {
	if len(g.All) == 0 {
		return
	}
	if len(g.All) > mostFound {
		g.All, p.More = g.All[:mostFound], true
	}
	for i := range g.All {
		g.All[i].Title = masked(g.All[i].Title)
	}
	p.Found = append(p.Found, g)
	p.Total += len(g.All)
}

func (s *Server) findKeys(v *visit, q string) (FoundGroup, error) {
	g := FoundGroup{Noun: "keys"}
	if !v.may("keys.read") {
		return g, nil
	}
	all, _, err := s.site.Register().Keys(v.ctx(), keys.Filter{Text: q, Limit: mostFound + 1})
	for _, k := range all {
		note := either("purpose."+k.Purpose, k.Purpose)
		if k.KCV != "" {
			note = say("search.key", note, k.KCV)
		}
		g.All = append(g.All, Found{Title: k.ID, Note: note, State: keyState(k.State), Href: keyHref(k.ID)})
	}
	return g, err
}

func (s *Server) findCeremonies(v *visit, q string) (FoundGroup, error) {
	g := FoundGroup{Noun: "ceremonies"}
	if !v.may("ceremonies.read") {
		return g, nil
	}
	all, err := s.site.Ceremonies().List(v.ctx())
	for _, c := range all {
		if strings.Contains(strings.ToLower(c.ID+" "+c.Title+" "+c.Key), q) {
			g.All = append(g.All, Found{Title: c.ID, Note: plain(masked(c.Title)), Href: "/ceremonies/" + url.PathEscape(c.ID)})
		}
	}
	return g, err
}

func (s *Server) findActs(v *visit, q string) (FoundGroup, error) {
	g := FoundGroup{Noun: "acts"}
	all, err := s.site.Desk().List(v.ctx(), "")
	for i := len(all) - 1; i >= 0 && len(g.All) <= mostFound; i-- {
		if st := all[i]; actIs(st, q) && s.concerns(v, st) {
			g.All = append(g.All, Found{Title: st.Act.Subject, Note: say("search.act", kindName(st.Act.Kind), strings.Join(st.Words, " ")), State: actStates[st.State], Href: "/acts/" + st.Act.ID})
		}
	}
	return g, err
}

func actIs(st custody.Status, q string) bool {
	return strings.HasPrefix(st.Act.ID, q) || strings.Contains(strings.ToLower(st.Act.Subject+" "+st.Act.Kind+" "+strings.Join(st.Words, " ")), q)
}

func (s *Server) findPeople(v *visit, q string) (FoundGroup, error) {
	g := FoundGroup{Noun: "people"}
	if !v.may("people.read") {
		return g, nil
	}
	all, err := s.site.People().Members(v.ctx())
	for _, who := range all {
		if strings.HasPrefix(who.ID, q) || strings.Contains(strings.ToLower(who.Name), q) {
			g.All = append(g.All, Found{Title: who.ID, Note: plain(who.Name), Href: "/people/" + url.PathEscape(who.ID)})
		}
	}
	return g, err
}

func (s *Server) findOrders(v *visit, q string) (FoundGroup, error) {
	g := FoundGroup{Noun: "orders"}
	if !v.may("orders.read") {
		return g, nil
	}
	all, err := order.List(v.ctx(), s.site.Store())
	for i := len(all) - 1; i >= 0 && len(g.All) <= mostFound; i-- {
		if o := all[i]; strings.Contains(strings.ToLower(o.ID+" "+o.Name+" "+o.Batch+" "+o.Partner), q) {
			g.All = append(g.All, Found{Title: o.ID, Note: say("search.order", o.Partner, o.Quantity, string(o.State))})
		}
	}
	return g, err
}
