package console

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ankan/hsm"
	"ankan/keys"
)

// keyState is a key's state as pages name it.
func keyState(s keys.State) string {
	if s == keys.PreActivation {
		return "pre-active"
	}
	return string(s)
}

// keyHref is where a key's page is. Names of keys hold slashes.
func keyHref(id string) string {
	return "/keys/" + strings.ReplaceAll(url.PathEscape(id), "%2F", "/")
}

func (s *Server) keyLine(k keys.Key) KeyLine {
	return KeyLine{Name: k.ID, Href: keyHref(k.ID), Purpose: either("purpose."+k.Purpose, k.Purpose), Algorithm: k.Algorithm, Partner: strings.Join(k.Parties, ", "),
		State: keyState(k.State), Expired: k.Expired(s.site.Store().Now()), KCV: kcvIn(k), Rotate: k.Expires, Waiver: waiverOf(k, s.site.Store().Now())}
}

// waiverOf is what a waiver says of a key now, if its algorithm needs one.
func waiverOf(k keys.Key, now time.Time) Text {
	switch needs := hsm.Algorithm(k.Algorithm).NeedsWaiver(); {
	case !needs:
		return Text{}
	case k.Waiver.Allows(k.Algorithm, now) == nil:
		return say("key.waiver.until", k.Waiver.LastDay())
	case k.Waiver.Until.IsZero():
		return say("key.waiver.none")
	}
	return say("key.waiver.over", k.Waiver.LastDay())
}

// kcvIn is a key's check value, if it has one.
func kcvIn(k keys.Key) KCV {
	if hsm.Algorithm(k.Algorithm).CheckMethod() == "" {
		return KCV{Method: noKCV}
	}
	return splitKCV(k.KCV)
}

func splitKCV(s string) KCV {
	value, method, _ := strings.Cut(s, " ")
	return KCV{Value: value, Method: method}
}

// keyFilter is what the address picks of the register, with the form that says
// it again.
func (s *Server) keyFilter(v *visit) (keys.Filter, Form) {
	f := keys.Filter{State: v.form("state"), Purpose: v.form("purpose"), Partner: v.form("partner"), Text: v.form("q")}
	return f, Form{Action: "/keys", Values: map[string]string{"state": f.State, "purpose": f.Purpose, "partner": f.Partner, "q": f.Text}}
}

func (s *Server) getKeys(v *visit) error {
	everything, _, err := s.site.Register().Keys(v.ctx(), keys.Filter{})
	if err != nil {
		return err
	}
	p := keysPage{Export: localURL(&url.URL{Path: "/keys.csv", RawQuery: v.r.URL.RawQuery})}
	var f keys.Filter
	f, p.Form = s.keyFilter(v)
	var states, partners []string
	for _, k := range everything {
		states, partners = append(states, string(k.State)), append(partners, k.Parties...)
	}
	p.States = choices(states, f.State, func(one string) Text { return say("state." + keyState(keys.State(one))) })
	p.Purposes = choices(keys.Purposes(everything), f.Purpose, func(one string) Text { return either("purpose."+one, one) })
	p.Partners = choices(partners, f.Partner, func(one string) Text { return plain(one) })

	f.Offset, _ = strconv.Atoi(v.form("from"))
	f.Offset, f.Limit = max(0, f.Offset), onPage
	some, total, err := s.site.Register().Keys(v.ctx(), f)
	if err != nil {
		return err
	}
	for _, k := range some {
		p.Keys = append(p.Keys, s.keyLine(k))
	}
	p.Pager = v.pager(min(f.Offset, total), min(f.Offset, total)+len(some), total)
	reports, err := s.site.Register().Reports(v.ctx())
	if err != nil {
		return err
	}
	p.Reports = len(reports)
	if v.may("ceremonies.draft") {
		p.Plan = "/ceremonies/new"
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

// choices are the values of a filter, each once and sorted, behind one that
// takes all.
func choices(values []string, chosen string, label func(string) Text) []Option {
	all := []Option{{Label: say("filter.all")}}
	slices.Sort(values)
	for _, one := range slices.Compact(values) {
		if one != "" {
			all = append(all, Option{Value: one, Label: label(one), Selected: one == chosen})
		}
	}
	return all
}

func (s *Server) getKeysCSV(v *visit) error {
	f, _ := s.keyFilter(v)
	all, _, err := s.site.Register().Keys(v.ctx(), f)
	if err != nil {
		return err
	}
	rows := [][]string{{"key", "purpose", "algorithm", "waiver_until", "kcv", "kcv_method", "state", "origin", "owner", "parties", "made", "activated", "expires", "ended", "uses"}}
	for _, k := range all {
		kcv := splitKCV(k.KCV)
		rows = append(rows, []string{k.ID, k.Purpose, k.Algorithm, k.Waiver.LastDay(), kcv.Value, kcv.Method, string(k.State), k.Origin, k.Owner, strings.Join(k.Parties, " "),
			rfc(k.Made), rfc(k.Activated), rfc(k.Expires), rfc(k.Ended), strconv.FormatInt(k.Uses, 10)})
	}
	return v.table("keys.csv", rows)
}

func rfc(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// table answers with rows as CSV (RFC 4180).
func (v *visit) table(name string, rows [][]string) error {
	v.head("text/csv; charset=utf-8; header=present", name)
	w := csv.NewWriter(v.w)
	w.UseCRLF = true
	for _, row := range rows {
		if err := w.Write(cells(row)); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// cells are a row for a spreadsheet: what it would take for a formula gets an
// apostrophe before it.
func cells(row []string) []string {
	out := slices.Clone(row)
	for i, c := range out {
		if c != "" && strings.ContainsRune("=+-@\t\r", rune(c[0])) {
			out[i] = "'" + c
		}
	}
	return out
}

// getKey is one key. What its address ends in is the key's name, slashes and
// all.
func (s *Server) getKey(v *visit) error {
	id := v.r.PathValue("id")
	k, err := s.site.Register().Key(v.ctx(), id)
	if err != nil {
		return err
	}
	p := keyPage{Key: s.keyLine(k), History: "/papers/history/" + strings.TrimPrefix(keyHref(id), "/keys/"), Sub: either("purpose."+k.Purpose+".sub", k.Purpose), Count: k.Uses + s.site.Guard().Uses()[id], Unsure: k.State == keys.PreActivation,
		Compare: Form{Action: keyHref(id), Values: map[string]string{"kcv": v.form("kcv"), "method": v.form("method")}}}
	if err := s.keyInModule(v, k, &p); err != nil {
		return err
	}
	for _, f := range []Fact{
		{say("key.origin"), either("origin."+k.Origin, k.Origin)}, {say("key.owner"), plain(k.Owner)}, {say("key.made"), stampOf(k.Made)},
		{say("key.activated"), stampOf(k.Activated)}, {say("key.rotate"), s.rotateBy(v, k)}, {say("key.ended"), stampOf(k.Ended)},
		{say("key.waiver"), plain(k.Waiver.Reason)}, {say("key.waiver.signed"), plain(k.Waiver.Signed)},
	} {
		if f.Value.Key != "" || len(f.Value.Args) > 0 && f.Value.Args[0] != "" {
			p.Facts = append(p.Facts, f)
		}
	}
	p.Methods = []Option{{Label: say("ask.choose")}}
	for _, m := range []hsm.KCVMethod{hsm.GP, hsm.CMAC, hsm.ECBZeros} {
		p.Methods = append(p.Methods, Option{Value: string(m), Label: methodName(string(m)), Selected: v.form("method") == string(m)})
	}
	if v.form("kcv") != "" {
		ours := hsm.KCV{}
		if err := ours.UnmarshalText([]byte(k.KCV)); err != nil {
			return err
		}
		answer := compare(ours, v.form("kcv"), v.form("method"))
		p.Compared = &answer
	}
	for _, fill := range []func(*visit, keys.Key, *keyPage) error{s.keyKin, s.keyCopies, s.keyLife, s.keyActs} {
		if err := fill(v, k, &p); err != nil {
			return err
		}
	}
	s.render(v.w, v.r, 200, p)
	return nil
}

func stampOf(t time.Time) Text {
	if t.IsZero() {
		return Text{}
	}
	return plainly(t)
}

// plainly is a value as the catalogue writes it.
func plainly(value any) Text { return Text{Args: []any{value}} }

func (s *Server) rotateBy(v *visit, k keys.Key) Text {
	rule, ruled := v.policy.Keys[k.Purpose]
	switch {
	case !k.Expires.IsZero():
		return plainly(k.Expires)
	case ruled && rule.Cryptoperiod == 0:
		return say("key.rotate.never")
	case ruled && k.Activated.IsZero():
		return say("key.rotate.days", rule.Cryptoperiod)
	}
	return Text{}
}

// keyInModule asks the module itself.
func (s *Server) keyInModule(v *visit, k keys.Key, p *keyPage) error {
	in, err := s.site.Token().Key(v.ctx(), k.ID)
	switch {
	case errors.Is(err, hsm.ErrNoKey):
		p.Extract = say("extract.gone")
		return nil
	case err != nil:
		return err
	case in.Exportable:
		p.Extract = say("extract.wrapped")
	default:
		p.Extract = say("extract.never")
	}
	if in.Public != nil {
		der, err := x509.MarshalPKIXPublicKey(in.Public)
		if err != nil {
			return err
		}
		p.Public = fmt.Sprintf("%x", sha256.Sum256(der))
	}
	return nil
}

// touch is something that a key touched, with where its page is.
func touch(what string) Touch {
	noun, id, _ := strings.Cut(what, "/")
	t := Touch{What: what}
	switch noun {
	case "key":
		t.Href = keyHref(id)
	case "ceremony":
		t.Href = "/ceremonies/" + url.PathEscape(id)
	case "act":
		t.Href = "/acts/" + url.PathEscape(id)
	case "person":
		t.Href = "/people/" + url.PathEscape(strings.SplitN(id, "/", 2)[0])
	case "form":
		t.Href = "/forms/" + strings.ReplaceAll(url.PathEscape(id), "%2F", "/")
	case "item":
		t.Href = "/items/" + strings.ReplaceAll(url.PathEscape(id), "%2F", "/")
	case "inventory":
		t.Href = "/custody/" + url.PathEscape(id)
	case "transfer":
		t.Href = "/handover/" + url.PathEscape(id)
	case "release": // release/NAME, or with operator and profile
		if part := strings.SplitN(id, "/", 4); len(part) == 1 || len(part) == 3 {
			t.Href = releaseHref(part...)
		}
	case "rack":
		t.Href = "/racks"
	case "lot":
		t.Href = "/lots/" + url.PathEscape(strings.SplitN(id, "/", 2)[0])
	case "box", "vault":
		t.Href = "/boxes"
	case "shipment":
		t.Href = "/shipments"
	case "delivery": // delivery/SITE/NUMBER, or with what was found
		if part := strings.SplitN(id, "/", 3); len(part) > 1 {
			t.Href = "/deliveries/" + url.PathEscape(part[0]) + "/" + url.PathEscape(part[1])
		}
	case "discrepancy":
		t.Href = "/discrepancies"
	case "copy": // copy/KIND/NUMBER/PLACE/KEY
		if part := strings.SplitN(id, "/", 4); len(part) == 4 {
			t.Href = keyHref(part[3])
		}
	}
	return t
}

func (s *Server) keyKin(v *visit, k keys.Key, p *keyPage) error {
	links, err := s.site.Register().Links(v.ctx(), k.ID)
	if err != nil {
		return err
	}
	below := func(relation, id string, since time.Time) error {
		other, err := s.site.Register().Key(v.ctx(), id)
		if errors.Is(err, keys.ErrNoKey) {
			p.Genealogy = append(p.Genealogy, Kin{Relation: relation, Name: id, State: "destroyed"})
			return nil
		}
		if err == nil {
			p.Genealogy = append(p.Genealogy, Kin{Relation: relation, Name: id, Href: keyHref(id), State: keyState(other.State), Note: say("kin.since", either("purpose."+other.Purpose, other.Purpose), since)})
		}
		return err
	}
	state := "active"
	if k.State == keys.Destroyed {
		state = "destroyed"
	}
	for _, l := range links {
		if name, ok := strings.CutPrefix(l.What, "partner/"); ok {
			p.Parties = append(p.Parties, Party{Name: name, Since: l.Since, State: state})
			continue
		}
		if id, ok := strings.CutPrefix(l.What, "key/"); ok {
			if err := below("made", id, l.Since); err != nil {
				return err
			}
		}
		p.Uses = append(p.Uses, Use{touch(l.What), l.Since, l.Uses})
	}
	above, err := s.site.Register().Touched(v.ctx(), "key/"+k.ID)
	if err != nil {
		return err
	}
	for _, l := range above {
		if err := below("made-by", l.What, l.Since); err != nil {
			return err
		}
	}
	touched, err := s.site.Register().Touches(v.ctx(), k.ID)
	if err != nil {
		return err
	}
	for _, what := range touched {
		p.Blast = append(p.Blast, touch(what))
	}
	reports, err := s.site.Register().Reports(v.ctx())
	if err != nil {
		return err
	}
	for _, r := range reports {
		if r.Key == k.ID {
			report := s.report(v, r)
			p.Report, p.Parties = &report, report.Parties
		}
	}
	return nil
}

func (s *Server) keyCopies(v *visit, k keys.Key, p *keyPage) error {
	copies, err := s.site.Register().Copies(v.ctx(), k.ID)
	if err != nil {
		return err
	}
	for _, c := range copies {
		one := Copy{Name: say("copy."+c.Kind, c.Number, c.Of), Place: c.Place, Holder: plain(c.Holder), KCV: splitKCV(c.KCV), State: "in-place", Since: c.Since, Gone: c.Gone}
		if c.Kind == keys.CopyComponent || c.Kind == keys.CopyShare {
			one.Holder = s.whoText(v.ctx(), c.Holder)
		}
		if c.Kind == keys.CopyModule {
			one.Place = s.site.Token().Info().Model
		}
		if !c.Gone.IsZero() {
			one.State = "destroyed"
		}
		p.Copies = append(p.Copies, one)
	}
	return nil
}

// keyLife is what the register says happened to the key, each line with its
// entry in the log, and what is still to come.
func (s *Server) keyLife(v *visit, k keys.Key, p *keyPage) error {
	events, err := s.site.Register().Events(v.ctx(), k.ID)
	if err != nil {
		return err
	}
	for _, e := range events {
		step := s.happened(v, e)
		p.Life = append(p.Life, step)
		if e.What == "key.confirmed" || e.What == "key.confirm" {
			p.Confirmed = &step
		}
	}
	if !k.Expires.IsZero() && k.Ended.IsZero() {
		p.Life = append(p.Life, Step{State: "todo", Text: say("key.rotate"), At: k.Expires})
	}
	return nil
}

// happened is one line of a key's or a thing's life.
func (s *Server) happened(v *visit, e keys.Event) Step {
	step := Step{State: "done", Grave: e.What == "key.erased" || e.What == "key.compromise", Text: either("happened."+e.What, e.What), At: e.At}
	if v.may("log.read") {
		step.Href = "/log/" + strconv.FormatInt(e.Entry, 10)
	}
	var notes []string
	if id, ok := strings.CutPrefix(e.Actor, "person/"); ok {
		step.By = s.who(v.ctx(), id)
	} else if !strings.HasPrefix(e.Actor, "system:") {
		notes = append(notes, e.Actor)
	}
	if strings.Contains(e.Text, " ") { // one word is a state or an origin, which stand elsewhere
		notes = append(notes, e.Text)
	}
	if notes != nil {
		step.Note = plain(strings.Join(notes, ": "))
	}
	return step
}

// keyActs are what the visitor may ask for: of the right kind and, as the site
// would answer, of a key in the right state.
func (s *Server) keyActs(v *visit, k keys.Key, p *keyPage) error {
	subject := "key/" + k.ID
	for _, kind := range []string{"key.waive", "key.suspend", "key.resume", "key.deactivate", "compromise.acknowledge", "key.compromise"} {
		if !v.asks(kind) {
			continue
		}
		if _, err := s.site.Proposal(v.ctx(), kind, subject); err == nil {
			p.Acts = append(p.Acts, KeyAct{kind, askFor(kind, subject), grave(kind)})
		}
	}
	// Ceremonies are for keys that travel or are backed up. The others are made
	// and destroyed with what they are for.
	if v.may("ceremonies.draft") && k.State != keys.Destroyed && k.State != keys.Making && hsm.Purpose(k.Purpose).BacksUp() {
		plan := func(kind string) string {
			return "/ceremonies/new?" + url.Values{"kind": {kind}, "key": {k.ID}}.Encode()
		}
		if k.State != keys.Compromised {
			p.Rotate = plan("rotate")
		}
		p.Destroy = plan("destroy")
	}
	return nil
}

func (s *Server) report(v *visit, r keys.Report) KeyReport {
	one := KeyReport{Key: r.Key, Href: keyHref(r.Key), Paper: "/papers/compromise/" + strings.TrimPrefix(keyHref(r.Key), "/keys/"), At: r.At, By: plain(r.By), Why: r.Why}
	if id, ok := strings.CutPrefix(r.By, "person/"); ok {
		one.By = s.whoText(v.ctx(), id)
	}
	for _, what := range r.Touched {
		one.Touched = append(one.Touched, touch(what))
	}
	for _, p := range r.Parties {
		one.Parties = append(one.Parties, Party{Name: p.Name, State: "compromised", Told: p.Sent, Acknowledged: p.Acknowledged, Words: p.Words})
	}
	return one
}

func (s *Server) getCompromises(v *visit) error {
	reports, err := s.site.Register().Reports(v.ctx())
	if err != nil {
		return err
	}
	var p compromisesPage
	for _, r := range reports {
		p.Reports = append(p.Reports, s.report(v, r))
	}
	s.render(v.w, v.r, http.StatusOK, p)
	return nil
}
