package act

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ankan/passkey"
)

var t0 = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func policy() Policy {
	return Policy{
		Version: 1, Roles: []string{"prep", "km", "so"}, Conflicts: [][2]string{{"km", "so"}},
		Acts: map[string]Rule{
			"order.release": {Request: []string{"prep"}, Seats: [][]string{{"km"}, {"so", "km"}}, ToApprove: 3600, ToUse: 900, Entry: "order.released"},
			"hlr.load":      {Request: []string{"so"}, ToApprove: 60, ToUse: 60, Entry: "hlr.load-begun"},
		},
	}
}

func ruleOf(kind string) Rule {
	r, err := policy().Rule(kind)
	if err != nil {
		panic(err)
	}
	return r
}

type cast struct {
	Person
	key *passkey.Soft
}

func (c cast) sign(t testing.TB, a Act, v Verb) Signature {
	t.Helper()
	s, err := c.key.Sign(a.Challenge(v))
	if err != nil {
		t.Fatal(err)
	}
	return Signature{Person: c.ID, Verb: v, At: t0, Assertion: s}
}

func person(t testing.TB, id, boss string, roles ...string) cast {
	t.Helper()
	k, err := passkey.NewSoft("bureau.example", "https://bureau.example")
	if err != nil {
		t.Fatal(err)
	}
	return cast{Person{ID: id, Name: id, Roles: roles, ReportsTo: boss, Credential: k.Credential}, k}
}

func TestWords(t *testing.T) {
	if len(words) != 256 {
		t.Fatalf("%d words, want 256", len(words))
	}
	seen := map[string]bool{}
	for _, w := range words {
		if seen[w] {
			t.Errorf("%q twice", w)
		}
		seen[w] = true
	}
	if got := strings.Join(Words([32]byte{0, 1, 2, 253, 254, 255}), " "); got != words[0]+" "+words[1]+" "+words[2]+" "+words[253]+" "+words[254]+" "+words[255] {
		t.Error(got)
	}
}

func TestParse(t *testing.T) {
	a := New("bureau", "order.release", "order/1", "0001", map[string]string{"b": "<&>", "a": "é"}, ruleOf("order.release"), t0)
	got, err := Parse(a.Canonical())
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest() != a.Digest() {
		t.Error("digest changes over a round trip")
	}
	if a.Challenge(Approve) != a.Digest() || a.Challenge(Reject) == a.Digest() || a.Challenge(Request) == a.Challenge(Reject) {
		t.Error("challenges must differ by verb, and the approval's is the digest")
	}
	good := string(a.Canonical())
	for name, bad := range map[string]string{
		"space":         strings.Replace(good, ",", ", ", 1),
		"order":         strings.Replace(good, `"a":"é","b":"<&>"`, `"b":"<&>","a":"é"`, 1),
		"unknown field": strings.Replace(good, `"site"`, `"x":1,"site"`, 1),
		"twice":         good + good,
		"format":        strings.Replace(good, "act/v1", "act/v2", 1),
		"id":            strings.Replace(good, a.ID, "12", 1),
		"no site":       strings.Replace(good, `"site":"bureau"`, `"site":""`, 1),
		"no clock":      strings.Replace(good, `"use_within":900`, `"use_within":0`, 1),
		"null params":   strings.Replace(good, `{"a":"é","b":"<&>"}`, `null`, 1),
		"fraction":      strings.Replace(good, `09:00:00Z`, `09:00:00.0Z`, 1),
	} {
		if _, err := Parse([]byte(bad)); err == nil || bad == good {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	a := New("bureau", "order.release", "order/1", "0001", map[string]string{"a": "b"}, ruleOf("order.release"), t0)
	f.Add(a.Canonical())
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := Parse(b); err == nil && !bytes.Equal(a.Canonical(), b) {
			t.Errorf("%q is taken and renders as %q", b, a.Canonical())
		}
	})
}

func TestPolicyCheck(t *testing.T) {
	for name, spoil := range map[string]func(*Policy){
		"version":  func(p *Policy) { p.Version = 0 },
		"conflict": func(p *Policy) { p.Conflicts = append(p.Conflicts, [2]string{"km", "nobody"}) },
		"self":     func(p *Policy) { p.Conflicts = append(p.Conflicts, [2]string{"km", "km"}) },
		"request":  func(p *Policy) { p.Acts["x"] = Rule{ToApprove: 1, ToUse: 1, Entry: "x"} },
		"clock":    func(p *Policy) { p.Acts["x"] = Rule{Request: []string{"km"}, ToUse: 1, Entry: "x"} },
		"year":     func(p *Policy) { p.Acts["x"] = Rule{Request: []string{"km"}, ToApprove: 1 << 40, ToUse: 1, Entry: "x"} },
		"entry":    func(p *Policy) { p.Acts["x"] = Rule{Request: []string{"km"}, ToApprove: 1, ToUse: 1} },
		"entries": func(p *Policy) {
			p.Acts["x"] = Rule{Request: []string{"km"}, ToApprove: 1, ToUse: 1, Entry: "order.released"}
		},
		"role": func(p *Policy) { p.Acts["x"] = Rule{Request: []string{"boss"}, ToApprove: 1, ToUse: 1, Entry: "x"} },
		"seat": func(p *Policy) {
			p.Acts["x"] = Rule{Request: []string{"km"}, Seats: [][]string{{}}, ToApprove: 1, ToUse: 1}
		},
		"seatrole": func(p *Policy) {
			p.Acts["x"] = Rule{Request: []string{"km"}, Seats: [][]string{{"boss"}}, ToApprove: 1, ToUse: 1}
		},
	} {
		p := policy()
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		if spoil(&p); p.Check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
	p := policy()
	for _, who := range []Person{{}, {ID: "1"}, {ID: "1", Roles: []string{"boss"}}, {ID: "1", Roles: []string{"km", "so"}}} {
		if p.CheckPerson(who) == nil {
			t.Errorf("%v: taken", who)
		}
	}
}

// replay is a book with the policy and four people in it.
func replay(t *testing.T) (*Book, map[string]cast) {
	t.Helper()
	b := &Book{}
	people := map[string]cast{}
	var all []Person
	for _, c := range []cast{person(t, "prep", "", "prep"), person(t, "km", "", "km"), person(t, "km2", "", "km"), person(t, "so", "", "so"), person(t, "boss", "prep", "km")} {
		people[c.ID] = c
		all = append(all, c.Person)
	}
	apply(t, b, SiteFounded, t0, FoundingEntry{found(t, policy(), all, people)})
	b.Signatures = 0
	return b, people
}

// found is a founding that all of its people signed.
func found(t testing.TB, p Policy, all []Person, people map[string]cast) Founding {
	t.Helper()
	f, _, err := NewFounding("bureau", p, all, t0)
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range all {
		if err := f.Sign(who.ID, people[who.ID].key, t0); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func apply(t *testing.T, b *Book, kind string, at time.Time, data any) {
	t.Helper()
	if err := try(b, kind, at, data); err != nil {
		t.Fatal(err)
	}
}

func try(b *Book, kind string, at time.Time, data any) error {
	doc, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return b.Apply(kind, "order/1", at, doc)
}

func entry(a Act, s Signature) ActEntry {
	e := ActEntry{ID: a.ID, Digest: fmt.Sprintf("%x", a.Digest()), Signature: s}
	if s.Verb == Request {
		e.Act = string(a.Canonical())
	}
	return e
}

func TestBook(t *testing.T) {
	b, p := replay(t)
	rule := ruleOf("order.release")
	a := New("bureau", "order.release", "order/1", "prep", nil, rule, t0)
	use := UseEntry{a.ID, fmt.Sprintf("%x", a.Digest())}
	refused := func(want error, kind string, at time.Time, data any) {
		t.Helper()
		if kind == ActUsed && want != nil {
			b.due = a.ID // the entry before did something under it
		}
		if err := try(b, kind, at, data); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	refused(nil, ActApproved, t0, entry(a, p["km"].sign(t, a, Approve))) // never requested
	refused(passkey.ErrAssertion, ActRequested, t0, entry(a, Signature{Person: "prep", Verb: Request, Assertion: p["km"].sign(t, a, Request).Assertion}))
	apply(t, b, ActRequested, t0, entry(a, p["prep"].sign(t, a, Request)))
	refused(nil, ActRequested, t0, entry(a, p["prep"].sign(t, a, Request)))
	refused(ErrNotAllowed, ActApproved, t0, entry(a, p["prep"].sign(t, a, Approve)))
	refused(ErrNotAllowed, ActApproved, t0, entry(a, p["boss"].sign(t, a, Approve)))
	refused(passkey.ErrAssertion, ActApproved, t0, entry(a, Signature{Person: "km", Verb: Approve, Assertion: p["km"].sign(t, a, Reject).Assertion}))
	refused(nil, ActApproved, t0, entry(a, p["km"].sign(t, a, Reject)))
	refused(ErrOpen, ActUsed, t0, use)
	apply(t, b, ActApproved, t0, entry(a, p["km"].sign(t, a, Approve)))
	refused(ErrNotAllowed, ActApproved, t0, entry(a, p["km"].sign(t, a, Approve)))
	refused(ErrOpen, ActUsed, t0, use)
	refused(ErrTooLate, ActApproved, t0.Add(2*time.Hour), entry(a, p["so"].sign(t, a, Approve)))
	apply(t, b, ActApproved, t0, entry(a, p["so"].sign(t, a, Approve)))
	refused(ErrNotAllowed, ActApproved, t0, entry(a, p["km2"].sign(t, a, Approve)))
	b.due = a.ID
	refused(nil, ActUsed, t0, UseEntry{a.ID, strings.Repeat("0", 64)})
	refused(ErrTooLate, ActUsed, t0.Add(16*time.Minute), use)
	done := Deed{a.ID}
	refused(nil, "order.released", t0, Deed{})
	refused(nil, "hlr.load-begun", t0, done)
	refused(nil, ActUsed, t0.Add(time.Minute), use) // nothing was done under it
	apply(t, b, "order.released", t0.Add(time.Minute), done)
	refused(nil, ActApproved, t0, entry(a, p["km2"].sign(t, a, Approve))) // its use is missing
	apply(t, b, ActUsed, t0.Add(time.Minute), use)
	apply(t, b, "order.released", t0.Add(time.Minute), done)
	refused(ErrUsed, ActUsed, t0.Add(time.Minute), use)
	if b.Used != 1 || b.Signatures != 3 {
		t.Errorf("used %d, signatures %d, want 1 and 3", b.Used, b.Signatures)
	}
}

func TestBookRejected(t *testing.T) {
	b, p := replay(t)
	a := New("bureau", "order.release", "order/1", "prep", nil, ruleOf("order.release"), t0)
	apply(t, b, ActRequested, t0, entry(a, p["prep"].sign(t, a, Request)))
	apply(t, b, ActApproved, t0, entry(a, p["km"].sign(t, a, Approve)))
	apply(t, b, ActRejected, t0, entry(a, p["so"].sign(t, a, Reject)))
	if err := try(b, ActApproved, t0, entry(a, p["km2"].sign(t, a, Approve))); !errors.Is(err, ErrRejected) {
		t.Error(err)
	}
	b.due = a.ID
	if err := try(b, ActUsed, t0, UseEntry{a.ID, fmt.Sprintf("%x", a.Digest())}); !errors.Is(err, ErrRejected) {
		t.Error(err)
	}
}

func TestBookRequests(t *testing.T) {
	b, p := replay(t)
	rule := ruleOf("order.release")
	for name, a := range map[string]Act{
		"role":    New("bureau", "order.release", "o", "km", nil, rule, t0),
		"unknown": New("bureau", "order.burn", "o", "prep", nil, rule, t0),
		"clocks":  New("bureau", "order.release", "o", "prep", nil, Rule{ToApprove: 1e6, ToUse: 1e6, Version: 1}, t0),
	} {
		if err := try(b, ActRequested, t0, entry(a, p[a.Requester].sign(t, a, Request))); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a := New("bureau", "hlr.load", "order/1", "so", nil, ruleOf("hlr.load"), t0)
	apply(t, b, ActRequested, t0, entry(a, p["so"].sign(t, a, Request)))
	apply(t, b, "hlr.load-begun", t0, Deed{a.ID})
	if b.End() == nil {
		t.Error("the log may end before the use of what was done")
	}
	apply(t, b, ActUsed, t0, UseEntry{a.ID, fmt.Sprintf("%x", a.Digest())})
	if err := (&Book{}).Apply(ActRequested, "order/1", t0, []byte(`{}`)); err == nil {
		t.Error("the zero book takes a request")
	}
}

// Two approvers fill two seats only if each fits one of its own.
func TestSeats(t *testing.T) {
	km, so := Person{ID: "1", Roles: []string{"km"}}, Person{ID: "2", Roles: []string{"so"}}
	both := Person{ID: "3", Roles: []string{"km", "so"}}
	r := Rule{Seats: [][]string{{"km"}, {"so"}}}
	for _, c := range []struct {
		people []Person
		want   bool
	}{
		{nil, false}, {[]Person{km}, false}, {[]Person{km, so}, true}, {[]Person{so, km}, true},
		{[]Person{both}, false}, {[]Person{both, km}, true}, {[]Person{both, so}, true}, {[]Person{km, {ID: "4", Roles: []string{"km"}}}, false},
	} {
		if got := r.Complete(c.people); got != c.want {
			t.Errorf("%v: %v", c.people, got)
		}
	}
}

func TestStillSays(t *testing.T) {
	a := Act{ID: "a1", Params: map[string]string{"quantity": "8", "note": ""}}
	for _, c := range []struct {
		now  map[string]string
		want string
	}{
		{map[string]string{"quantity": "8", "note": ""}, ""},
		{map[string]string{"quantity": "9", "note": ""}, `act a1: not allowed: quantity was "8" when it was signed and is "9" now; ask again`},
		{map[string]string{"quantity": "8", "note": "", "price": "1"}, `it does not say price, which is "1" now; ask again`},
		{map[string]string{"quantity": "8"}, "it has 2 parameters, want 1"},
		{map[string]string{"quantity": "8", "other": ""}, `it does not say other, which is "" now`},
		{nil, "it has 2 parameters, want 0"},
	} {
		err := a.StillSays(c.now)
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrNotAllowed) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: got %v, want %q", c.now, err, c.want)
		}
	}
}
