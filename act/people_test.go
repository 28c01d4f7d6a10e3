package act

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ankan/passkey"
)

// staffed is a policy under which people come and go.
func staffed() Policy {
	rule := func(entry, request string, seats ...[]string) Rule {
		return Rule{Request: strings.Fields(request), Seats: seats, ToApprove: 3600, ToUse: 900, Entry: entry}
	}
	p := policy()
	p.Roles = append(p.Roles, Nodal, Alternate, "custodian")
	p.Administrators, p.Sole = []string{"km", "so"}, []string{Nodal}
	p.Requirements = map[string]Requirement{"custodian": {Employment: []Employment{Permanent, Contract}, Training: "custody", Statement: "custodian/1", Clause: "6.4.b"}}
	km, either := []string{"km"}, []string{"km", "so"}
	p.Acts["policy.adopt"] = rule(PolicyAdopted, "so", km)
	p.Acts["person.enrol"] = rule(PersonEnrolled, "so", km)
	p.Acts["administrator.enrol"] = rule(AdministratorEnrolled, "so", km, either)
	p.Acts["person.leave"] = rule(PersonLeft, "so", km)
	p.Acts["person.suspend"] = rule(PersonSuspended, "so km")
	return p
}

// A town is a book and the people in it.
type town struct {
	testing.TB
	book   *Book
	people map[string]cast
	policy Policy
	log    []logged // what was entered
}

type logged struct {
	kind, subject string
	data          []byte
}

func newTown(t testing.TB) *town {
	t.Helper()
	w := &town{TB: t, book: &Book{}, people: map[string]cast{}, policy: staffed()}
	var all []Person
	for _, c := range []cast{person(t, "prep", "", "prep"), person(t, "km", "", "km"), person(t, "km2", "", "km"), person(t, "so", "", "so"), person(t, "so2", "", "so")} {
		w.people[c.ID] = c
		all = append(all, c.Person)
	}
	if err := w.enter(SiteFounded, "site", FoundingEntry{found(t, w.policy, all, w.people)}); err != nil {
		t.Fatal(err)
	}
	return w
}

func tryOn(b *Book, kind, subject string, at time.Time, data any) error {
	return b.Apply(kind, subject, at, encode(data))
}

// enter is what the log says next, now.
func (w *town) enter(kind, subject string, data any) error {
	w.log = append(w.log, logged{kind, subject, encode(data)})
	return tryOn(w.book, kind, subject, t0, data)
}

// ask is an act that its requester signed.
func (w *town) ask(kind, subject, requester string, params map[string]string) (Act, error) {
	w.Helper()
	rule, err := w.policy.Rule(kind)
	if err != nil {
		w.Fatal(err)
	}
	a := New("bureau", kind, subject, requester, params, rule, t0)
	return a, w.enter(ActRequested, subject, entry(a, w.people[requester].sign(w.TB, a, Request)))
}

func (w *town) approve(a Act, person string) error {
	w.Helper()
	return w.enter(ActApproved, a.Subject, entry(a, w.people[person].sign(w.TB, a, Approve)))
}

// leave is an act that the so asked for and these people approved.
func (w *town) leave(kind, subject string, params map[string]string, by ...string) Act {
	w.Helper()
	a, err := w.ask(kind, subject, "so", params)
	for _, person := range by {
		if err == nil {
			err = w.approve(a, person)
		}
	}
	if err != nil {
		w.Fatal(err)
	}
	return a
}

// do is the deed of an act, and its use.
func (w *town) do(a Act, deed string, data any) error {
	w.Helper()
	if err := w.enter(deed, a.Subject, data); err != nil {
		w.book.due = "" // whoever reads on
		return err
	}
	return w.enter(ActUsed, a.Subject, UseEntry{a.ID, fmt.Sprintf("%x", a.Digest())})
}

// enrol is how a person comes in, or is changed.
func (w *town) enrol(c cast) error {
	w.Helper()
	kind, deed, by := "person.enrol", PersonEnrolled, []string{"km"}
	if w.policy.Administers(c.Person) || w.policy.Administers(w.people[c.ID].Person) {
		kind, deed, by = "administrator.enrol", AdministratorEnrolled, []string{"km", "so2"}
	}
	a := w.leave(kind, "person/"+c.ID, c.Person.Params(), by...)
	err := w.do(a, deed, PersonEntry{Deed{a.ID}, c.Person})
	if err == nil {
		w.people[c.ID] = c
	}
	return err
}

func (w *town) suspend(id string) error {
	a := w.leave("person.suspend", "person/"+id, nil)
	return w.do(a, PersonSuspended, SuspendEntry{Deed{a.ID}, id})
}

func (w *town) lock(id string) error {
	return w.enter(PersonLocked, "person/"+id, LockEntry{id, "a copy"})
}

func (w *town) goes(id string) error {
	a := w.leave("person.leave", "person/"+id, w.people[id].Params(), "km")
	return w.do(a, PersonLeft, PersonEntry{Deed{a.ID}, w.people[id].Person})
}

func (w *town) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *town) refused(err, want error, why string) {
	w.Helper()
	if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), why) {
		w.Errorf("got %v, want %v: %s", err, want, why)
	}
}

// maySign says whether the book takes an approval of this key manager.
func (w *town) maySign(id string) error {
	w.Helper()
	a, err := w.ask("order.release", "order/1", "prep", nil)
	w.must(err)
	return w.approve(a, id)
}

func TestBookJoins(t *testing.T) {
	w := newTown(t)
	km3 := person(t, "km3", "", "km")
	w.people["km3"] = km3
	w.refused(w.maySign("km3"), nil, "km3 is not enrolled")
	w.must(w.enrol(km3))
	w.must(w.maySign("km3"))
	// A mover: another role, and another passkey.
	moved := person(t, "km3", "", "prep")
	w.must(w.enrol(moved))
	a, err := w.ask("order.release", "order/1", "km3", nil)
	w.must(err)
	w.must(w.approve(a, "km"))
	old := km3.sign(t, a, Approve)
	w.refused(tryOn(w.book, ActApproved, "order/1", t0, entry(a, old)), passkey.ErrAssertion, "another passkey")
}

func TestBookEnrolRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		try  func(w *town) error
		want error
		why  string
	}{
		"without warrant": {func(w *town) error {
			return tryOn(w.book, PersonEnrolled, "person/new", t0, PersonEntry{Deed{}, person(w.TB, "new", "", "prep").Person})
		}, nil, "without the warrant of person.enrol"},
		"not approved": {func(w *town) error {
			c := person(w.TB, "new", "", "prep")
			a := w.leave("person.enrol", "person/new", c.Params())
			return w.do(a, PersonEnrolled, PersonEntry{Deed{a.ID}, c.Person})
		}, ErrOpen, ""},
		"another record": {func(w *town) error {
			a := w.leave("person.enrol", "person/new", person(w.TB, "new", "", "prep").Params(), "km")
			return w.do(a, PersonEnrolled, PersonEntry{Deed{a.ID}, person(w.TB, "new", "", "prep").Person})
		}, nil, "another person's record than was approved"},
		"shown with other roles": {func(w *town) error {
			c := person(w.TB, "new", "", "prep")
			shown := c.Params()
			shown["roles"] = "custodian"
			a := w.leave("person.enrol", "person/new", shown, "km")
			return w.do(a, PersonEnrolled, PersonEntry{Deed{a.ID}, c.Person})
		}, nil, "another person's record than was approved"},
		"another's act": {func(w *town) error {
			c := person(w.TB, "new", "", "prep")
			a := w.leave("person.enrol", "person/prep", c.Params(), "km")
			return w.do(a, PersonEnrolled, PersonEntry{Deed{a.ID}, c.Person})
		}, nil, "is about person/prep and changes person new"},
		"administrator as person": {func(w *town) error {
			c := person(w.TB, "new", "", "km")
			a := w.leave("person.enrol", "person/new", c.Params(), "km")
			return w.do(a, PersonEnrolled, PersonEntry{Deed{a.ID}, c.Person})
		}, nil, "new is an administrator"},
		"administrator moves as person": {func(w *town) error {
			c := person(w.TB, "km2", "", "prep")
			a := w.leave("person.enrol", "person/km2", c.Params(), "km")
			return w.do(a, PersonEnrolled, PersonEntry{Deed{a.ID}, c.Person})
		}, nil, "km2 is an administrator"},
		"suspended administrator as person": {func(w *town) error {
			w.must(w.suspend("km2"))
			c := person(w.TB, "km2", "", "prep")
			a := w.leave("person.enrol", "person/km2", c.Params(), "km")
			return w.do(a, PersonEnrolled, PersonEntry{Deed{a.ID}, c.Person})
		}, nil, "km2 is an administrator"},
		"person under the other act": {func(w *town) error {
			c := person(w.TB, "new", "", "km")
			a := w.leave("administrator.enrol", "person/new", c.Params(), "km", "km2")
			return w.do(a, PersonEnrolled, PersonEntry{Deed{a.ID}, c.Person})
		}, nil, "is done under act"},
		"two of a sole role": {func(w *town) error {
			w.must(w.enrol(person(w.TB, "n1", "", Nodal)))
			return w.enrol(person(w.TB, "n2", "", Nodal))
		}, ErrNotAllowed, "one person at a time"},
		"conflict": {func(w *town) error { return w.enrol(person(w.TB, "new", "", "km", "so")) }, ErrNotAllowed, "exclude each other"},
		"employment": {func(w *town) error {
			c := person(w.TB, "new", "", "custodian")
			c.Employment = Temporary
			return w.enrol(c)
		}, ErrNotAllowed, "custodian takes employment"},
		"another's passkey": {func(w *town) error {
			c := person(w.TB, "new", "", "prep")
			c.Credential = w.people["km"].Credential
			return w.enrol(c)
		}, ErrNotAllowed, "the passkey is that of"},
		"who has left": {func(w *town) error {
			w.must(w.goes("prep"))
			return w.enrol(person(w.TB, "prep", "", "prep"))
		}, ErrNotAllowed, "never given again"},
		"not JSON": {func(w *town) error {
			c := person(w.TB, "new", "", "prep")
			a := w.leave("person.enrol", "person/new", c.Params(), "km")
			return w.do(a, PersonEnrolled, map[string]any{"warrant": a.ID, "person": c.Person, "more": 1})
		}, nil, "more"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t)
			before := len(w.book.people)
			w.refused(c.try(w), c.want, c.why)
			if c.want != ErrOpen && len(w.book.people) > before+1 {
				t.Errorf("refused, and yet %d people are here", len(w.book.people))
			}
		})
	}
}

func TestBookLeaves(t *testing.T) {
	w := newTown(t)
	w.must(w.maySign("km2"))
	w.must(w.goes("km2"))
	w.refused(w.maySign("km2"), nil, "km2 is not enrolled")
	w.refused(w.goes("km2"), nil, "left; a number is never given again")
	stranger := person(t, "9", "", "prep")
	w.people["9"] = stranger
	w.refused(w.goes("9"), nil, "leaves and is not here")
	w.refused(w.suspend("km2"), nil, "is not here")
	w.refused(w.lock("km2"), nil, "is not here")
	// Who asked has left: the number is enough to keep others from both sides.
	a, err := w.ask("order.release", "order/1", "prep", nil)
	w.must(err)
	w.must(w.goes("prep"))
	w.must(w.approve(a, "km"))
}

// Whoever is suspended or locked signs nothing until they are enrolled again.
func TestBookSuspends(t *testing.T) {
	for name, away := range map[string]func(*town, string) error{"suspended": (*town).suspend, "locked": (*town).lock} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t)
			a, err := w.ask("order.release", "order/1", "prep", nil)
			w.must(err)
			w.must(w.approve(a, "km2")) // before: it holds
			w.must(away(w, "km2"))
			w.must(w.approve(a, "so"))
			w.must(w.do(a, "order.released", Deed{a.ID}))
			w.refused(w.maySign("km2"), nil, "km2 is not enrolled")
			asked := New("bureau", "person.suspend", "person/so", "km2", nil, w.policy.mustRule(t, "person.suspend"), t0)
			w.refused(tryOn(w.book, ActRequested, asked.Subject, t0, entry(asked, w.people["km2"].sign(t, asked, Request))), nil, "km2 is not enrolled")
			w.must(away(w, "km2")) // again
			// The way back is an act.
			w.must(w.enrol(w.people["km2"]))
			w.must(w.maySign("km2"))
			w.must(away(w, "km2"))
			w.must(w.goes("km2"))
		})
	}
	w := newTown(t)
	w.must(w.enrol(person(t, "n1", "", Nodal)))
	w.must(w.lock("n1"))
	w.must(w.enrol(person(t, "n2", "", Nodal)))
	w.refused(w.enrol(w.people["n1"]), ErrNotAllowed, "one person at a time")

	w.refused(tryOn(w.book, PersonSuspended, "person/km", t0, SuspendEntry{Deed{}, "km"}), nil, "without the warrant of person.suspend")
	a := w.leave("person.suspend", "person/km", nil)
	w.refused(w.do(a, PersonSuspended, SuspendEntry{Deed{a.ID}, "km2"}), nil, "is about person/km and changes person km2")
	w.refused(w.do(a, PersonSuspended, map[string]string{"warrant": a.ID}), nil, "")
	w.refused(tryOn(w.book, PersonLocked, "person/km", t0, LockEntry{"km2", ""}), nil, "is about person/km and changes person km2")
	w.refused(tryOn(w.book, PersonLocked, "person/km", t0, []string{}), nil, "")
	w.refused(w.lock("9"), nil, "9 is suspended or locked and is not here")
	if err := (&Book{}).Apply(PersonLocked, "person/km", t0, encode(LockEntry{"km", ""})); err == nil {
		t.Error("the zero book locks somebody")
	}
	w.must(w.maySign("km"))
}

func (p Policy) mustRule(t testing.TB, kind string) Rule {
	t.Helper()
	r, err := p.Rule(kind)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// next is the next version of a policy with something changed.
func (w *town) next(change func(*Policy)) Policy {
	p := staffed()
	p.Version = w.policy.Version + 1
	if change != nil {
		change(&p)
	}
	return p
}

func (w *town) adopt(p Policy) error {
	w.Helper()
	a := w.leave("policy.adopt", "policy", w.policy.NextParams(p), "km")
	err := w.do(a, PolicyAdopted, PolicyEntry{Deed{a.ID}, p})
	if err == nil {
		w.policy = p
	}
	return err
}

func TestBookAdopts(t *testing.T) {
	w := newTown(t)
	open, err := w.ask("order.release", "order/1", "prep", nil)
	w.must(err)
	approved := w.leave("person.leave", "person/prep", w.people["prep"].Params(), "km")
	w.must(w.adopt(w.next(func(p *Policy) { r := p.Acts["order.release"]; r.ToUse = 60; p.Acts["order.release"] = r })))
	// What was asked under the old policy is over.
	w.refused(w.approve(open, "km"), ErrTooLate, "the policy has changed")
	w.refused(w.do(approved, PersonLeft, PersonEntry{Deed{approved.ID}, w.people["prep"].Person}), ErrTooLate, "the policy has changed")
	old := New("bureau", "order.release", "order/2", "prep", nil, ruleOf("order.release"), t0)
	w.refused(tryOn(w.book, ActRequested, "order/2", t0, entry(old, w.people["prep"].sign(t, old, Request))), ErrNotAllowed, "under version 1")
	w.must(w.maySign("km"))
	w.must(w.adopt(w.next(nil)))
}

func TestBookAdoptRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Policy)
		want   error
		why    string
	}{
		"same version":  {func(p *Policy) { p.Version = 1 }, nil, "version is 1, want 2"},
		"skips one":     {func(p *Policy) { p.Version = 3 }, nil, "version is 3, want 2"},
		"contradiction": {func(p *Policy) { p.Conflicts = append(p.Conflicts, [2]string{"km", "km"}) }, nil, "conflicts with itself"},
		"role gone": {func(p *Policy) {
			p.Roles = p.Roles[1:]
			r := p.Acts["order.release"]
			r.Request = []string{"km"}
			p.Acts["order.release"] = r
		}, nil, `person prep: role "prep" is not in the policy`},
		"two are sole":       {func(p *Policy) { p.Sole = []string{"km"} }, ErrNotAllowed, "one person at a time"},
		"nobody can enrol":   {func(p *Policy) { delete(p.Acts, "person.enrol") }, nil, `no act "person.enrol"`},
		"nobody can suspend": {func(p *Policy) { delete(p.Acts, "person.suspend") }, nil, `no act "person.suspend"`},
	} {
		w := newTown(t)
		w.refused(w.adopt(w.next(c.change)), c.want, c.why)
		if w.book.policy.Version != 1 {
			t.Errorf("%s: refused, and yet it is in force", name)
		}
	}
	w := newTown(t)
	w.refused(tryOn(w.book, PolicyAdopted, "policy", t0, PolicyEntry{Deed{}, w.next(nil)}), nil, "without the warrant of policy.adopt")
	params := w.policy.NextParams(w.next(nil))
	other := w.next(func(p *Policy) { p.Nodal = NodalBoth })
	a := w.leave("policy.adopt", "policy", params, "km")
	w.refused(w.do(a, PolicyAdopted, PolicyEntry{Deed{a.ID}, other}), nil, "another policy than was approved")
	w.refused(w.do(a, PolicyAdopted, map[string]any{"warrant": a.ID, "policy": w.next(nil), "more": 1}), nil, "more")
	// The right digest, and other changes on the approvers' screens.
	hidden := w.policy.NextParams(other)
	delete(hidden, "change_001")
	a = w.leave("policy.adopt", "policy", hidden, "km")
	w.refused(w.do(a, PolicyAdopted, PolicyEntry{Deed{a.ID}, other}), nil, "another policy than was approved")
	made := w.policy.NextParams(other)
	made["change_009"] = "and nothing else"
	a = w.leave("policy.adopt", "policy", made, "km")
	w.refused(w.do(a, PolicyAdopted, PolicyEntry{Deed{a.ID}, other}), nil, "another policy than was approved")
	w.must(w.adopt(other))
}

// An act is for one site.
func TestBookOtherSite(t *testing.T) {
	w := newTown(t)
	a := New("plant", "order.release", "order/1", "prep", nil, w.policy.mustRule(t, "order.release"), t0)
	w.refused(tryOn(w.book, ActRequested, "order/1", t0, entry(a, w.people["prep"].sign(t, a, Request))), ErrNotAllowed, `for site "plant"`)
}

// Who edited what an act is about does not approve it, nor do their superior
// and reports, unless the policy says otherwise.
func TestBookEditors(t *testing.T) {
	for name, c := range map[string]struct {
		policy, rule                      []string // what is excluded
		editor, editorsBoss, boss, nobody bool     // who may approve
	}{
		"nothing said":       {editor: false, editorsBoss: false, boss: false, nobody: true},
		"editor":             {policy: []string{ExcludeEditor}, editor: false, editorsBoss: true, boss: true, nobody: true},
		"line":               {policy: []string{ExcludeLine}, editor: true, editorsBoss: true, boss: false, nobody: true},
		"none":               {policy: []string{excludeNone}, editor: true, editorsBoss: true, boss: true, nobody: true},
		"rule over policy":   {policy: []string{ExcludeEditor, ExcludeLine}, rule: []string{excludeNone}, editor: true, editorsBoss: true, boss: true, nobody: true},
		"rule of one":        {policy: []string{excludeNone}, rule: []string{ExcludeEditor}, editor: false, editorsBoss: true, boss: true, nobody: true},
		"an empty list asks": {policy: []string{}, rule: []string{}, editor: false, editorsBoss: false, boss: false, nobody: true},
	} {
		p := policy()
		p.Exclude = c.policy
		r := p.Acts["order.release"]
		r.Exclude = c.rule
		p.Acts["order.release"] = r
		b, people := &Book{}, map[string]cast{}
		var all []Person
		for _, who := range []cast{person(t, "prep", "boss", "prep"), person(t, "boss", "", "km"), person(t, "ed", "edboss", "km"), person(t, "edboss", "", "km"), person(t, "no", "", "km")} {
			people[who.ID] = who
			all = append(all, who.Person)
		}
		if err := tryOn(b, SiteFounded, "site", t0, FoundingEntry{found(t, p, all, people)}); err != nil {
			t.Fatal(err)
		}
		rule := p.mustRule(t, "order.release")
		for who, may := range map[string]bool{"ed": c.editor, "edboss": c.editorsBoss, "boss": c.boss, "no": c.nobody, "prep": false} {
			a := New("bureau", "order.release", "order/1", "prep", map[string]string{ParamEditors: "ed"}, rule, t0)
			if err := tryOn(b, ActRequested, "order/1", t0, entry(a, people["prep"].sign(t, a, Request))); err != nil {
				t.Fatal(err)
			}
			if err := tryOn(b, ActApproved, "order/1", t0, entry(a, people[who].sign(t, a, Approve))); (err == nil) != may || err != nil && !errors.Is(err, ErrNotAllowed) {
				t.Errorf("%s: %s: %v", name, who, err)
			}
		}
	}
}

// Under "both" the other one of nodal officer and alternate signs too what is
// theirs alone.
func TestNodal(t *testing.T) {
	for _, c := range []struct {
		nodal   string
		request []string
		seats   int
	}{
		{"", []string{Nodal, Alternate}, 0}, {NodalEither, []string{Nodal, Alternate}, 0}, {NodalBoth, []string{Nodal, Alternate}, 1},
		{NodalBoth, []string{Nodal}, 1}, {NodalBoth, []string{Nodal, "so"}, 0}, {NodalBoth, []string{"so"}, 0},
	} {
		p := staffed()
		p.Nodal = c.nodal
		p.Acts["hlr.load"] = Rule{Request: c.request, ToApprove: 60, ToUse: 60, Entry: "hlr.load-begun"}
		r := p.mustRule(t, "hlr.load")
		if len(r.Seats) != c.seats {
			t.Errorf("%s, %v: %d seats, want %d", c.nodal, c.request, len(r.Seats), c.seats)
		}
		if c.seats == 0 {
			continue
		}
		no, al, so := Person{ID: "1", Roles: []string{Nodal}}, Person{ID: "2", Roles: []string{Alternate}}, Person{ID: "3", Roles: []string{"so"}}
		a := New("operator", "hlr.load", "order/1", "1", nil, r, t0)
		if r.Complete(nil) || r.CheckApprover(a, []Person{no}, so, nil) == nil || r.CheckApprover(a, []Person{no}, no, nil) == nil {
			t.Error("it goes without the other one")
		}
		if err := r.CheckApprover(a, []Person{no}, al, nil); err != nil || !r.Complete([]Person{al}) {
			t.Errorf("the alternate: %v", err)
		}
	}
	if r := policy().Acts["order.release"]; len(policy().mustRule(t, "order.release").Seats) != len(r.Seats) {
		t.Error("a rule changes by being read")
	}
}

func TestRelated(t *testing.T) {
	a, b, c := Person{ID: "a", ReportsTo: "b"}, Person{ID: "b"}, Person{ID: "c"}
	for _, x := range []struct {
		p, q Person
		want bool
	}{{a, b, true}, {b, a, true}, {a, c, false}, {b, c, false}, {Person{}, Person{}, false}, {Person{ID: "x"}, Person{ReportsTo: "x"}, true}} {
		if got := x.p.Related(x.q); got != x.want {
			t.Errorf("%s and %s: %v", x.p.ID, x.q.ID, got)
		}
	}
}

func TestFit(t *testing.T) {
	p := staffed()
	who := Person{ID: "7", Roles: []string{"custodian"}, Employment: Permanent}
	record := func(what string, from, to time.Duration) []Record {
		return []Record{{Person: "7", What: what, At: t0.Add(from), Until: t0.Add(to)}}
	}
	good, signed := record("custody", -time.Hour, time.Hour), record("custodian/1", -time.Hour, time.Hour)
	for name, c := range map[string]struct {
		who                  Person
		role                 string
		training, statements []Record
		why                  string
	}{
		"fit":                {who, "custodian", good, signed, ""},
		"from now":           {who, "custodian", record("custody", 0, 1), signed, ""},
		"one of several":     {who, "custodian", append(record("custody", -2*time.Hour, -time.Hour), good...), signed, ""},
		"untrained":          {who, "custodian", nil, signed, "training.record"},
		"training is over":   {who, "custodian", record("custody", -time.Hour, 0), signed, `takes the training "custody"`},
		"training to come":   {who, "custodian", record("custody", 1, time.Hour), signed, `takes the training "custody"`},
		"another course":     {who, "custodian", record("lifting", -time.Hour, time.Hour), signed, `takes the training "custody"`},
		"another's training": {who, "custodian", []Record{{Person: "8", What: "custody", At: t0.Add(-1), Until: t0.Add(1)}}, signed, `takes the training "custody"`},
		"no statement":       {who, "custodian", good, nil, "statement.sign"},
		"older statement":    {who, "custodian", good, record("custodian/0", -time.Hour, time.Hour), "statement.sign"},
		"temporary":          {Person{ID: "7", Roles: who.Roles, Employment: Temporary}, "custodian", good, signed, "takes employment"},
		"employment unknown": {Person{ID: "7", Roles: who.Roles}, "custodian", good, signed, "takes employment"},
		"contract":           {Person{ID: "7", Roles: who.Roles, Employment: Contract}, "custodian", good, signed, ""},
		"another role":       {who, "km", good, signed, "is custodian, not km"},
		"asks nothing":       {Person{ID: "7", Roles: []string{"prep"}}, "prep", nil, nil, ""},
	} {
		err := p.Fit(c.who, c.role, c.training, c.statements, t0)
		if (err == nil) != (c.why == "") || err != nil && (!errors.Is(err, ErrNotAllowed) || !strings.Contains(err.Error(), c.why)) {
			t.Errorf("%s: got %v, want %q", name, err, c.why)
		}
	}
}
