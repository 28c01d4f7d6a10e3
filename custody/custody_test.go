package custody_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/notice"
	"ankan/passkey"
	"ankan/store"
	"ankan/store/storetest"
)

const (
	site   = "bureau"
	origin = "bureau.example/log"
	day    = 24 * time.Hour
)

// The people of the office. Chief is prep's superior, junior reports to prep.
const (
	prep   = "1001"
	km     = "1002"
	so     = "1003"
	hsm    = "1004"
	wit    = "1005"
	km2    = "1006"
	chief  = "1007"
	junior = "1008"
	nodal  = "1009"
)

// An office is a site with its people, at a time that the test sets.
type office struct {
	testing.TB
	store *store.Store
	desk  *custody.Desk
	keys  map[string]*passkey.Soft

	mu     sync.Mutex
	clock  time.Time
	onTime func() // when the store asks for the time
}

func newOffice(t testing.TB) *office {
	t.Helper()
	o := &office{TB: t, keys: map[string]*passkey.Soft{}, clock: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	signer, err := audit.NewSigner(origin, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	o.must(err)
	o.store, err = store.Open(t.Context(), store.Config{Path: storetest.New(t), Origin: origin, Signer: signer, Now: o.now},
		access.Schema(), notice.Schema(), custody.Schema())
	o.must(err)
	t.Cleanup(func() { o.store.Close() })
	people := access.New(o.store)
	all := []act.Person{
		o.person(prep, chief, "data-preparation"), o.person(km, "", "key-manager"), o.person(so, "", "security-officer"),
		o.person(hsm, "", "hsm-administrator"), o.person(wit, "", "witness"), o.person(km2, "", "key-manager"),
		o.person(chief, "", "security-officer"), o.person(junior, prep, "key-manager"), o.person(nodal, "", "nodal-officer"),
	}
	keys := map[string]act.Key{}
	for id, k := range o.keys {
		keys[id] = k
	}
	f, err := act.Found(site, access.DefaultPolicy(), all, keys, o.clock)
	o.must(err)
	o.must(people.Found(t.Context(), access.Founding{Founding: f}))
	o.desk = custody.New(site, o.store, people)
	return o
}

func (o *office) must(err error) {
	o.Helper()
	if err != nil {
		o.Fatal(err)
	}
}

func (o *office) person(id, boss string, roles ...string) act.Person {
	k, err := passkey.NewSoft("bureau.example", "https://bureau.example")
	o.must(err)
	o.keys[id] = k
	return act.Person{ID: id, Name: "Person " + id, Roles: roles, Employment: act.Permanent, ReportsTo: boss, Credential: k.Credential}
}

func (o *office) now() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.onTime != nil {
		o.onTime()
	}
	return o.clock
}

func (o *office) wait(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.clock = o.clock.Add(d)
}

// act is what prep asks: to release an order.
func (o *office) act() act.Act { return o.actOf("order.release", "order/7", prep) }

func (o *office) actOf(kind, subject, requester string) act.Act {
	rule, err := access.DefaultPolicy().Rule(kind)
	o.must(err)
	return act.New(site, kind, subject, requester, map[string]string{"quantity": "1000"}, rule, o.clock)
}

func (o *office) sig(a act.Act, person string, v act.Verb) act.Signature {
	o.Helper()
	assertion, err := o.keys[person].Sign(a.Challenge(v))
	o.must(err)
	return act.Signature{Person: person, Verb: v, At: o.clock, Assertion: assertion}
}

func (o *office) request(a act.Act) error {
	o.Helper()
	return o.desk.Request(o.Context(), a.Canonical(), o.sig(a, a.Requester, act.Request))
}

func (o *office) approve(a act.Act, person string) error {
	o.Helper()
	return o.desk.Sign(o.Context(), a.ID, o.sig(a, person, act.Approve))
}

func (o *office) reject(a act.Act, person string) error {
	o.Helper()
	return o.desk.Sign(o.Context(), a.ID, o.sig(a, person, act.Reject))
}

// approved is an act that everybody has signed.
func (o *office) approved() act.Act {
	o.Helper()
	a := o.act()
	o.must(o.request(a))
	o.must(o.approve(a, km))
	o.must(o.approve(a, so))
	return a
}

func (o *office) warrant(a act.Act) custody.Warrant {
	o.Helper()
	w, err := o.desk.Warrant(o.Context(), a.ID)
	o.must(err)
	return w
}

// use acts on a warrant as a site does: what also does is the acting.
func (o *office) use(w custody.Warrant, kind, subject string, also func() error) error {
	return w.Use(context.WithoutCancel(o.Context()), kind, subject, nil, func(*store.Tx) error {
		if also == nil {
			return nil
		}
		return also()
	})
}

func (o *office) tamper(query string, args ...any) {
	o.Helper()
	o.must(o.store.Change(o.Context(), audit.Entry{Kind: "test.tampered", Actor: "test"}, func(tx *store.Tx) error {
		res, err := tx.Exec(query, args...)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return fmt.Errorf("%d rows changed, want 1 (%v)", n, err)
		}
		return nil
	}))
}

func (o *office) state(a act.Act) string {
	o.Helper()
	st, err := o.desk.Get(o.Context(), a.ID)
	o.must(err)
	return st.State
}

func (o *office) entries(from int64) []audit.Entry {
	o.Helper()
	all, err := o.store.Entries(o.Context(), from, 10000)
	o.must(err)
	return all
}

// replay gives a log to somebody who trusts nobody.
func (o *office) replay(all []audit.Entry) (act.Book, error) {
	o.Helper()
	var b act.Book
	for i, e := range all {
		data, err := e.DataJSON()
		o.must(err)
		if err := b.Apply(e.Kind, e.Subject, e.Time, data); err != nil {
			return b, fmt.Errorf("entry %d, %s: %w", i, e.Kind, err)
		}
	}
	return b, b.End()
}

// verify looks from outside: the log is whole, and nothing in it was done
// without its signatures.
func (o *office) verify(used int) {
	o.Helper()
	_, err := o.store.Fsck(o.Context(), o.store.VerifierKey())
	o.must(err)
	b, err := o.replay(o.entries(0))
	if err != nil || b.Used != used {
		o.Errorf("replay: %d used, want %d; %v", b.Used, used, err)
	}
}

// refused expects that try is refused for want, says why, changes nothing,
// and leaves one entry that says the same.
func (o *office) refused(want error, why string, try func() error) {
	o.Helper()
	before, rows := o.store.Size(), o.rows()
	err := try()
	if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), why) {
		o.Fatalf("got %v, want %v: %s", err, want, why)
	}
	if rows != o.rows() {
		o.Errorf("refused, and yet it changed from %s to %s", rows, o.rows())
	}
	left := o.entries(before)
	if len(left) != 1 || left[0].Kind != "act.refused" || left[0].Data["why"] != err.Error() {
		o.Errorf("%v left %v", err, left)
	}
}

// quiet expects that try succeeds and changes nothing.
func (o *office) quiet(try func() error) {
	o.Helper()
	before, rows := o.store.Size(), o.rows()
	o.must(try())
	if o.store.Size() != before || o.rows() != rows {
		o.Errorf("repeated, and it left %v", o.entries(before))
	}
}

// rows is all that custody keeps, as text.
func (o *office) rows() string {
	o.Helper()
	all, err := o.desk.List(o.Context(), "")
	o.must(err)
	doc, err := json.Marshal(all)
	o.must(err)
	return string(doc)
}

func TestJourney(t *testing.T) {
	o := newOffice(t)
	before := o.store.Size()
	a := o.act()
	o.must(o.request(a))
	if got := o.state(a); got != "open" {
		t.Errorf("requested: %s", got)
	}
	if _, err := o.desk.Warrant(t.Context(), a.ID); !errors.Is(err, act.ErrOpen) {
		t.Errorf("a warrant without approvals: %v", err)
	}
	o.wait(time.Hour)
	o.must(o.approve(a, km))
	if _, err := o.desk.Warrant(t.Context(), a.ID); !errors.Is(err, act.ErrOpen) {
		t.Errorf("a warrant with one approval: %v", err)
	}
	o.wait(time.Hour)
	o.must(o.approve(a, so))
	st, err := o.desk.Get(t.Context(), a.ID)
	o.must(err)
	if st.State != "approved" || !st.Complete.Equal(o.clock) || len(st.Signatures) != 3 || st.Digest != fmt.Sprintf("%x", a.Digest()) || !slices.Equal(st.Words, act.Words(a.Digest())) {
		t.Errorf("approved: %+v", st)
	}
	w := o.warrant(a)
	if got := w.Act(); got.Digest() != a.Digest() {
		t.Errorf("the warrant is for %+v", got)
	}
	o.wait(time.Minute)
	o.must(o.use(w, a.Kind, a.Subject, nil))
	if got := o.state(a); got != "used" {
		t.Errorf("used: %s", got)
	}
	var kinds []string
	for _, e := range o.entries(before) {
		if e.Subject != a.Subject {
			t.Errorf("%s is about %q", e.Kind, e.Subject)
		}
		kinds = append(kinds, e.Kind+" "+e.Actor)
	}
	want := []string{"act.requested person/" + prep, "act.approved person/" + km, "act.approved person/" + so, "order.released person/" + prep, "act.used person/" + prep}
	if !slices.Equal(kinds, want) {
		t.Errorf("the log has %v, want %v", kinds, want)
	}
	o.verify(1)
}

// An act without seats needs only its requester.
func TestOneSignature(t *testing.T) {
	o := newOffice(t)
	a := o.actOf("hlr.load", "order/7", nodal)
	o.must(o.request(a))
	o.refused(act.ErrNotAllowed, "all its signatures", func() error { return o.approve(a, so) })
	o.must(o.use(o.warrant(a), a.Kind, a.Subject, nil))
	o.verify(1)
	late := o.actOf("hlr.load", "order/8", nodal)
	o.must(o.request(late))
	o.wait(15*time.Minute + time.Second)
	if _, err := o.desk.Warrant(t.Context(), late.ID); !errors.Is(err, act.ErrTooLate) || o.state(late) != "late" {
		t.Errorf("%v, %s", err, o.state(late))
	}
}

func TestRequestRefused(t *testing.T) {
	alter := func(a act.Act, f func(*act.Act)) act.Act { f(&a); return a }
	by := func(person string, v act.Verb) func(*office, act.Act) act.Signature {
		return func(o *office, a act.Act) act.Signature { return o.sig(a, person, v) }
	}
	for name, c := range map[string]struct {
		act  func(*office) act.Act
		sig  func(*office, act.Act) act.Signature // prep's when nil
		want error
		why  string
	}{
		"another site": {act: func(o *office) act.Act { return alter(o.act(), func(a *act.Act) { a.Site = "plant" }) }, want: act.ErrNotAllowed, why: `for site "plant"`},
		"unknown kind": {act: func(o *office) act.Act { return alter(o.act(), func(a *act.Act) { a.Kind = "order.burn" }) }, want: act.ErrNotAllowed, why: "no such act"},
		"wrong role":   {act: func(o *office) act.Act { return o.actOf("order.destroy", "order/7", prep) }, want: act.ErrNotAllowed, why: "data-preparation"},
		"other's name": {sig: by(km, act.Request), want: act.ErrNotAllowed, why: "in the name of"},
		"other's key":  {sig: func(o *office, a act.Act) act.Signature { s := o.sig(a, km, act.Request); s.Person = prep; return s }, want: passkey.ErrAssertion},
		"unknown person": {sig: func(o *office, a act.Act) act.Signature {
			s := o.sig(a, prep, act.Request)
			s.Person = "9999"
			return s
		}, want: access.ErrNoPerson},
		"nobody":   {sig: func(o *office, a act.Act) act.Signature { return act.Signature{} }, want: access.ErrNoPerson},
		"approval": {sig: by(prep, act.Approve), why: `says "approve"`},
		"approval shown": {sig: func(o *office, a act.Act) act.Signature {
			s := o.sig(a, prep, act.Approve)
			s.Verb = act.Request
			return s
		}, want: passkey.ErrAssertion},
		"other bytes": {sig: func(o *office, a act.Act) act.Signature { return o.sig(o.act(), prep, act.Request) },
			want: passkey.ErrAssertion, why: "over other bytes"},
		"no signature": {sig: func(o *office, a act.Act) act.Signature { return act.Signature{Person: prep, Verb: act.Request} }, want: passkey.ErrAssertion},
		"long clock": {act: func(o *office) act.Act {
			return alter(o.act(), func(a *act.Act) { a.ApproveBy = a.ApproveBy.Add(time.Second) })
		}, want: act.ErrNotAllowed, why: "clocks"},
		"long use": {act: func(o *office) act.Act { return alter(o.act(), func(a *act.Act) { a.UseWithin++ }) }, want: act.ErrNotAllowed, why: "clocks"},
		"too late": {act: func(o *office) act.Act { a := o.act(); o.wait(day + time.Second); return a }, want: act.ErrTooLate},
		"from tomorrow": {act: func(o *office) act.Act {
			return alter(o.act(), func(a *act.Act) { a.At, a.ApproveBy = a.At.Add(2*time.Minute), a.ApproveBy.Add(2*time.Minute) })
		}, want: act.ErrTooLate},
		"not canonical": {act: func(o *office) act.Act { return alter(o.act(), func(a *act.Act) { a.Format = "ankan/act/v0" }) }, why: "format is"},
		"endless act": {act: func(o *office) act.Act {
			return alter(o.act(), func(a *act.Act) { a.Params["x"] = strings.Repeat("x", audit.MaxEntry) })
		}, why: "bytes, want at most"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			if c.act == nil {
				c.act = (*office).act
			}
			if c.sig == nil {
				c.sig = by(prep, act.Request)
			}
			a := c.act(o)
			sig := c.sig(o, a)
			o.refused(c.want, c.why, func() error { return o.desk.Request(t.Context(), a.Canonical(), sig) })
			if _, err := o.desk.Get(t.Context(), a.ID); !errors.Is(err, custody.ErrNoAct) {
				t.Errorf("it is there: %v", err)
			}
			o.verify(0)
		})
	}
}

func TestSignRefused(t *testing.T) {
	shown := func(o *office, a act.Act, key, as string, v, asVerb act.Verb) error {
		s := o.sig(a, key, v)
		s.Person, s.Verb = as, asVerb
		return o.desk.Sign(o.Context(), a.ID, s)
	}
	for name, c := range map[string]struct {
		try  func(*office, act.Act) error // on an act that km has approved
		want error
		why  string
	}{
		"requester":         {func(o *office, a act.Act) error { return o.approve(a, prep) }, act.ErrNotAllowed, "asked for it"},
		"requester rejects": {func(o *office, a act.Act) error { return o.reject(a, prep) }, act.ErrNotAllowed, "asked for it"},
		"twice":             {func(o *office, a act.Act) error { return o.approve(a, km) }, act.ErrNotAllowed, "one person, one vote"},
		"other mind":        {func(o *office, a act.Act) error { return o.reject(a, km) }, act.ErrNotAllowed, "one person, one vote"},
		"superior":          {func(o *office, a act.Act) error { return o.approve(a, chief) }, act.ErrNotAllowed, "report to one another"},
		"report":            {func(o *office, a act.Act) error { return o.approve(a, junior) }, act.ErrNotAllowed, "report to one another"},
		"wrong role":        {func(o *office, a act.Act) error { return o.approve(a, wit) }, act.ErrNotAllowed, "1005 is witness"},
		"seat taken":        {func(o *office, a act.Act) error { return o.approve(a, km2) }, act.ErrNotAllowed, "still open"},
		"wrong role vetoes": {func(o *office, a act.Act) error { return o.reject(a, wit) }, act.ErrNotAllowed, "still open"},
		"unknown person":    {func(o *office, a act.Act) error { return shown(o, a, so, "9999", act.Approve, act.Approve) }, access.ErrNoPerson, "9999"},
		"other's key":       {func(o *office, a act.Act) error { return shown(o, a, km, so, act.Approve, act.Approve) }, passkey.ErrAssertion, "another passkey"},
		"other's assertion": {func(o *office, a act.Act) error {
			s := o.sig(a, km, act.Approve)
			s.Person, s.Assertion.CredentialID = so, o.keys[so].Credential.ID
			return o.desk.Sign(o.Context(), a.ID, s)
		}, passkey.ErrAssertion, "signature is wrong"},
		"rejection as approval": {func(o *office, a act.Act) error { return shown(o, a, so, so, act.Reject, act.Approve) }, passkey.ErrAssertion, "over other bytes"},
		"approval as rejection": {func(o *office, a act.Act) error { return shown(o, a, so, so, act.Approve, act.Reject) }, passkey.ErrAssertion, "over other bytes"},
		"request again":         {func(o *office, a act.Act) error { return shown(o, a, so, so, act.Request, act.Request) }, act.ErrNotAllowed, "want approve or reject"},
		"no verb":               {func(o *office, a act.Act) error { return shown(o, a, so, so, act.Approve, "") }, act.ErrNotAllowed, "want approve or reject"},
		"other act": {func(o *office, a act.Act) error {
			return o.desk.Sign(o.Context(), a.ID, o.sig(o.act(), so, act.Approve))
		}, passkey.ErrAssertion, "over other bytes"},
		"no act": {func(o *office, a act.Act) error { return o.approve(o.act(), so) }, custody.ErrNoAct, "no such act"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			a := o.act()
			o.must(o.request(a))
			o.must(o.approve(a, km))
			o.refused(c.want, c.why, func() error { return c.try(o, a) })
			o.must(o.approve(a, so)) // the refusal is no obstacle
			o.must(o.use(o.warrant(a), a.Kind, a.Subject, nil))
			o.verify(1)
		})
	}
}

func TestTooLateToSign(t *testing.T) {
	o := newOffice(t)
	a := o.act()
	o.must(o.request(a))
	o.must(o.approve(a, km))
	o.wait(day + time.Nanosecond)
	o.refused(act.ErrTooLate, "could be approved until", func() error { return o.approve(a, so) })
	o.refused(act.ErrTooLate, "could be approved until", func() error { return o.reject(a, so) })
	if o.state(a) != "late" {
		t.Error(o.state(a))
	}
	o.verify(0)
}

// What a stranger sends is logged, if only its beginning.
func TestEndlessRefusal(t *testing.T) {
	o := newOffice(t)
	a := o.act()
	for _, c := range []struct{ person, verb, format string }{
		{person: strings.Repeat("é", audit.MaxEntry)}, {verb: strings.Repeat("v", audit.MaxEntry)}, {format: strings.Repeat("f", audit.MaxEntry)},
	} {
		b := a
		if c.format != "" {
			b.Format = c.format
		}
		before := o.store.Size()
		err := o.desk.Request(t.Context(), b.Canonical(), act.Signature{Person: c.person, Verb: act.Verb(c.verb)})
		left := o.entries(before)
		if err == nil || len(left) != 1 || left[0].Kind != "act.refused" {
			t.Errorf("%.100v left %d entries", err, len(left))
		}
	}
	o.verify(0)
}

func TestComplete(t *testing.T) {
	o := newOffice(t)
	a := o.approved()
	o.refused(act.ErrNotAllowed, "all its signatures", func() error { return o.approve(a, km2) })
	o.refused(act.ErrNotAllowed, "all its signatures", func() error { return o.reject(a, km2) })
	o.must(o.use(o.warrant(a), a.Kind, a.Subject, nil))
	o.refused(act.ErrUsed, "used already", func() error { return o.approve(a, km2) })
	o.verify(1)
}

func TestRejected(t *testing.T) {
	o := newOffice(t)
	a := o.act()
	o.must(o.request(a))
	o.must(o.approve(a, km))
	no := o.sig(a, so, act.Reject)
	no.Reason = "wrong quantity"
	o.must(o.desk.Sign(t.Context(), a.ID, no))
	o.quiet(func() error { return o.desk.Sign(t.Context(), a.ID, no) })
	o.refused(act.ErrRejected, "", func() error { return o.approve(a, so) })
	o.refused(act.ErrRejected, "", func() error { return o.approve(a, km2) })
	if _, err := o.desk.Warrant(t.Context(), a.ID); !errors.Is(err, act.ErrRejected) || o.state(a) != "rejected" {
		t.Errorf("%v, %s", err, o.state(a))
	}
	if st, err := o.desk.Get(t.Context(), a.ID); err != nil || !slices.ContainsFunc(st.Signatures, func(s act.Signature) bool { return s.Reason == "wrong quantity" }) {
		t.Errorf("the reason is not there: %v", err)
	}
	o.verify(0)
}

// A client that lost the answer asks again.
func TestRepeated(t *testing.T) {
	o := newOffice(t)
	a := o.act()
	asked, yes, last := o.sig(a, prep, act.Request), o.sig(a, km, act.Approve), o.sig(a, so, act.Approve)
	request := func() error { return o.desk.Request(t.Context(), a.Canonical(), asked) }
	approve := func() error { return o.desk.Sign(t.Context(), a.ID, yes) }
	o.must(request())
	o.quiet(request)
	o.quiet(func() error { return o.request(a) }) // signed anew
	o.must(approve())
	o.quiet(approve)
	o.must(o.desk.Sign(t.Context(), a.ID, last))
	o.quiet(approve)
	o.quiet(func() error { return o.desk.Sign(t.Context(), a.ID, last) })
	o.must(o.use(o.warrant(a), a.Kind, a.Subject, nil))
	o.quiet(request)
	o.quiet(approve)
	o.verify(1)
}

// The number of an act belongs to its bytes and its requester.
func TestNumberTaken(t *testing.T) {
	o := newOffice(t)
	a := o.act()
	o.must(o.request(a))
	other := o.act()
	other.ID = a.ID
	other.Params["quantity"] = "1000000"
	o.refused(act.ErrNotAllowed, "its number is taken", func() error { return o.request(other) })
	o.refused(act.ErrNotAllowed, "its number is taken", func() error {
		return o.desk.Request(t.Context(), a.Canonical(), o.sig(a, km, act.Request))
	})
	o.verify(0)
}

func TestClocks(t *testing.T) {
	o := newOffice(t)
	a := o.act()
	o.must(o.request(a))
	o.must(o.approve(a, km))
	o.wait(day) // to the second
	o.must(o.approve(a, so))
	o.wait(15 * time.Minute)
	w := o.warrant(a)
	o.must(o.use(w, a.Kind, a.Subject, nil))
	o.verify(1)

	b := o.approved()
	w = o.warrant(b)
	o.wait(15*time.Minute + time.Nanosecond)
	if err := o.use(w, b.Kind, b.Subject, nil); !errors.Is(err, act.ErrTooLate) {
		t.Errorf("used too late: %v", err)
	}
	if _, err := o.desk.Warrant(t.Context(), b.ID); !errors.Is(err, act.ErrTooLate) || o.state(b) != "late" {
		t.Errorf("a warrant too late: %v, %s", err, o.state(b))
	}

	// What the log has seen late stays late when the clock is set back.
	o.must(o.store.Enter(t.Context(), audit.Entry{Kind: "test.noted", Actor: "test"}))
	o.wait(-time.Hour)
	if _, err := o.desk.Warrant(t.Context(), b.ID); !errors.Is(err, act.ErrTooLate) || o.state(b) != "late" {
		t.Errorf("a warrant after the clock was set back: %v, %s", err, o.state(b))
	}
	if err := o.use(w, b.Kind, b.Subject, nil); !errors.Is(err, act.ErrTooLate) {
		t.Errorf("used after the clock was set back: %v", err)
	}
	o.verify(1)
}

func TestList(t *testing.T) {
	o := newOffice(t)
	late := o.act()
	o.must(o.request(late))
	o.wait(day + time.Second)
	used := o.approved()
	o.must(o.use(o.warrant(used), used.Kind, used.Subject, nil))
	rejected := o.act()
	o.must(o.request(rejected))
	o.must(o.reject(rejected, so))
	approved := o.approved()
	open1 := o.act()
	o.must(o.request(open1))
	o.wait(500 * time.Millisecond)
	open2 := o.act()
	o.must(o.request(open2))
	o.wait(50 * time.Millisecond)
	open3 := o.act()
	o.must(o.request(open3))
	for state, want := range map[string][]act.Act{
		"open": {open1, open2, open3}, "approved": {approved}, "used": {used}, "rejected": {rejected}, "late": {late}, "burnt": nil,
	} {
		got, err := o.desk.List(t.Context(), state)
		o.must(err)
		if !slices.EqualFunc(got, want, func(st custody.Status, a act.Act) bool { return st.Act.ID == a.ID && st.State == state }) {
			t.Errorf("%s: %+v", state, got)
		}
	}
	all, err := o.desk.List(t.Context(), "")
	o.must(err)
	if len(all) != 7 || all[0].Act.ID != late.ID || all[6].Act.ID != open3.ID {
		t.Errorf("all: %d, or in another order", len(all))
	}
}

func TestWarrantRefuses(t *testing.T) {
	o := newOffice(t)
	a := o.approved()
	if _, err := o.desk.Warrant(t.Context(), strings.Repeat("0", 32)); !errors.Is(err, custody.ErrNoAct) {
		t.Errorf("a warrant for no act: %v", err)
	}
	w := o.warrant(a)
	edited := o.warrant(a)
	edited.Act().Params["quantity"] = "1000000"
	for name, c := range map[string]struct {
		w             custody.Warrant
		kind, subject string
		want          error
	}{
		"zero":           {custody.Warrant{}, a.Kind, a.Subject, act.ErrNotAllowed},
		"zero for zero":  {custody.Warrant{}, "", "", act.ErrNotAllowed},
		"another kind":   {w, "order.destroy", a.Subject, act.ErrNotAllowed},
		"another order":  {w, a.Kind, "order/8", act.ErrNotAllowed},
		"edited in hand": {edited, a.Kind, a.Subject, act.ErrNotAllowed},
	} {
		before := o.store.Size()
		if err := o.use(c.w, c.kind, c.subject, nil); !errors.Is(err, c.want) || o.store.Size() != before {
			t.Errorf("%s: %v, %d entries", name, err, o.store.Size()-before)
		}
	}
	o.must(o.use(w, a.Kind, a.Subject, nil))
	if err := o.use(w, a.Kind, a.Subject, nil); !errors.Is(err, act.ErrUsed) {
		t.Errorf("twice: %v", err)
	}
	if _, err := o.desk.Warrant(t.Context(), a.ID); !errors.Is(err, act.ErrUsed) {
		t.Errorf("a second warrant: %v", err)
	}
	o.verify(1)
}

// A transaction that fails after the warrant does not spend it.
func TestFailedActKeepsWarrant(t *testing.T) {
	o := newOffice(t)
	a := o.approved()
	w := o.warrant(a)
	before, boom := o.store.Size(), errors.New("boom")
	if err := o.use(w, a.Kind, a.Subject, func() error { return boom }); err != boom {
		t.Errorf("%v", err)
	}
	if o.state(a) != "approved" || o.store.Size() != before {
		t.Errorf("it is %s, %d entries", o.state(a), o.store.Size()-before)
	}
	o.must(o.use(w, a.Kind, a.Subject, nil))
	o.verify(1)
}

func TestConcurrentUse(t *testing.T) {
	o := newOffice(t)
	for range 5 {
		a := o.approved()
		same := o.warrant(a)
		errs := make(chan error)
		for _, w := range []custody.Warrant{same, same, o.warrant(a), o.warrant(a)} {
			go func() { errs <- o.use(w, a.Kind, a.Subject, nil) }()
		}
		won := 0
		for range 4 {
			switch err := <-errs; {
			case err == nil:
				won++
			case !errors.Is(err, act.ErrUsed):
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d won", won)
		}
	}
	o.verify(5)
}

// Two for one seat at the same time: one gets it. Then everybody at once.
func TestConcurrentApproval(t *testing.T) {
	o := newOffice(t)
	a := o.act()
	o.must(o.request(a))
	errs := make(chan error)
	for _, person := range []string{km, km2} {
		sig := o.sig(a, person, act.Approve)
		go func() { errs <- o.desk.Sign(context.WithoutCancel(t.Context()), a.ID, sig) }()
	}
	if x, y := <-errs, <-errs; (x == nil) == (y == nil) || !errors.Is(errors.Join(x, y), act.ErrNotAllowed) {
		t.Errorf("%v and %v", x, y)
	}
	o.must(o.approve(a, so))
	o.must(o.use(o.warrant(a), a.Kind, a.Subject, nil))
	o.verify(1)
}

// Whoever edits the rows gets no warrant out of it.
func TestTampered(t *testing.T) {
	edit := func(o *office, a act.Act) act.Act {
		b := a
		b.Params = map[string]string{"quantity": "1000000"}
		o.tamper("UPDATE act SET canonical = $1 WHERE id = $2", b.Canonical(), a.ID)
		return b
	}
	doc := func(o *office, s act.Signature) []byte {
		b, err := json.Marshal(s)
		o.must(err)
		return b
	}
	for name, c := range map[string]struct {
		do   func(o *office, a act.Act) // to an approved act
		want error
	}{
		"act": {func(o *office, a act.Act) { edit(o, a) }, passkey.ErrAssertion},
		"garbage": {func(o *office, a act.Act) {
			o.tamper("UPDATE act SET canonical = $1 WHERE id = $2", []byte("{}"), a.ID)
		}, nil},
		"another act": {func(o *office, a act.Act) {
			o.tamper("UPDATE act SET canonical = $1 WHERE id = $2", o.act().Canonical(), a.ID)
		}, act.ErrNotAllowed},
		"approval gone": {func(o *office, a act.Act) {
			o.tamper("DELETE FROM act_signature WHERE act = $1 AND person = $2", a.ID, so)
		}, act.ErrOpen},
		"request gone": {func(o *office, a act.Act) {
			o.tamper("DELETE FROM act_signature WHERE act = $1 AND person = $2", a.ID, prep)
		}, act.ErrOpen},
		"forged": {func(o *office, a act.Act) {
			s := o.sig(a, km, act.Approve)
			s.Person = so
			o.tamper("UPDATE act_signature SET signature = $1 WHERE act = $2 AND person = $3", doc(o, s), a.ID, so)
		}, passkey.ErrAssertion},
		"one person twice": {func(o *office, a act.Act) {
			o.tamper("UPDATE act_signature SET signature = $1 WHERE act = $2 AND person = $3", doc(o, o.sig(a, km, act.Approve)), a.ID, so)
		}, act.ErrNotAllowed},
		"superior": {func(o *office, a act.Act) {
			o.tamper("UPDATE act_signature SET signature = $1 WHERE act = $2 AND person = $3", doc(o, o.sig(a, chief, act.Approve)), a.ID, so)
		}, act.ErrNotAllowed},
		"requester": {func(o *office, a act.Act) {
			o.tamper("UPDATE act_signature SET signature = $1 WHERE act = $2 AND person = $3", doc(o, o.sig(a, prep, act.Approve)), a.ID, so)
		}, act.ErrNotAllowed},
		"unknown person": {func(o *office, a act.Act) {
			s := o.sig(a, so, act.Approve)
			s.Person = "9999"
			o.tamper("UPDATE act_signature SET signature = $1 WHERE act = $2 AND person = $3", doc(o, s), a.ID, so)
		}, access.ErrNoPerson},
		"rejection": {func(o *office, a act.Act) {
			o.tamper("UPDATE act_signature SET signature = $1 WHERE act = $2 AND person = $3", doc(o, o.sig(a, so, act.Reject)), a.ID, so)
		}, act.ErrRejected},
		"signature garbage": {func(o *office, a act.Act) {
			o.tamper("UPDATE act_signature SET signature = $1 WHERE act = $2 AND person = $3", []byte("["), a.ID, so)
		}, nil},
		"roles in conflict": {func(o *office, a act.Act) {
			p := act.Person{ID: so, Roles: []string{"security-officer", "key-manager"}, Credential: o.keys[so].Credential}
			b, err := json.Marshal(p)
			o.must(err)
			o.tamper("UPDATE person SET document = $1 WHERE id = $2", b, so)
		}, act.ErrNotAllowed},
		"requester moved": {func(o *office, a act.Act) {
			b, err := json.Marshal(act.Person{ID: prep, Roles: []string{"warehouse"}, Credential: o.keys[prep].Credential})
			o.must(err)
			o.tamper("UPDATE person SET document = $1 WHERE id = $2", b, prep)
		}, act.ErrNotAllowed},
		"time garbage": {func(o *office, a act.Act) { o.tamper("UPDATE act SET complete = 'now' WHERE id = $1", a.ID) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			a := o.approved()
			o.warrant(a)
			c.do(o, a)
			if _, err := o.desk.Warrant(t.Context(), a.ID); err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}

	t.Run("between warrant and use", func(t *testing.T) {
		o := newOffice(t)
		a := o.approved()
		w := o.warrant(a)
		edit(o, a)
		if err := o.use(w, a.Kind, a.Subject, nil); !errors.Is(err, act.ErrNotAllowed) || !strings.Contains(err.Error(), "other bytes were approved") {
			t.Errorf("%v", err)
		}
		o.verify(0)
	})
	t.Run("before approval", func(t *testing.T) {
		o := newOffice(t)
		a := o.act()
		o.must(o.request(a))
		b := edit(o, a)
		o.refused(passkey.ErrAssertion, prep, func() error { return o.approve(a, km) })
		o.refused(passkey.ErrAssertion, prep, func() error { return o.approve(b, km) }) // who believed the screen
		o.verify(0)
	})
	t.Run("state", func(t *testing.T) {
		o := newOffice(t)
		a := o.act()
		o.must(o.request(a))
		o.must(o.approve(a, km))
		o.tamper("UPDATE act SET state = 'approved', complete = $1 WHERE id = $2", o.clock.Format(time.RFC3339Nano), a.ID)
		if _, err := o.desk.Warrant(t.Context(), a.ID); !errors.Is(err, act.ErrOpen) || !strings.Contains(err.Error(), "1 of 2") {
			t.Errorf("%v", err)
		}
	})
	t.Run("state without seats", func(t *testing.T) {
		o := newOffice(t)
		a := o.actOf("hlr.load", "order/7", nodal)
		o.must(o.request(a))
		o.tamper("DELETE FROM act_signature WHERE act = $1 AND person = $2", a.ID, nodal)
		if _, err := o.desk.Warrant(t.Context(), a.ID); !errors.Is(err, act.ErrOpen) {
			t.Errorf("%v", err)
		}
	})
	// The rows alone cannot tell that an act was used; the log can.
	t.Run("used again", func(t *testing.T) {
		o := newOffice(t)
		a := o.approved()
		o.must(o.use(o.warrant(a), a.Kind, a.Subject, nil))
		o.tamper("UPDATE act SET state = 'approved' WHERE id = $1", a.ID)
		o.must(o.use(o.warrant(a), a.Kind, a.Subject, nil))
		if _, err := o.replay(o.entries(0)); !errors.Is(err, act.ErrUsed) {
			t.Errorf("%v", err)
		}
	})
}

// Who hangs up does not get away without an entry, and who hangs up before it
// was judged has neither asked nor been refused. What has begun is done.
func TestHungUp(t *testing.T) {
	o := newOffice(t)
	for _, c := range []struct {
		act    act.Act
		before bool
		want   error
		left   int64
	}{
		{func() act.Act { a := o.act(); a.Site = "plant"; return a }(), false, act.ErrNotAllowed, 1},
		{o.act(), true, context.Canceled, 0},
		{o.act(), false, nil, 1},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		before, sig := o.store.Size(), o.sig(c.act, prep, act.Request)
		if c.before {
			cancel()
		}
		o.mu.Lock()
		o.onTime = cancel // the change has begun
		o.mu.Unlock()
		err := o.desk.Request(ctx, c.act.Canonical(), sig)
		o.mu.Lock()
		o.onTime = nil
		o.mu.Unlock()
		if !errors.Is(err, c.want) || o.store.Size() != before+c.left {
			t.Errorf("%v left %d entries, want %d", err, o.store.Size()-before, c.left)
		}
	}
	o.verify(0)
}

// Whoever replays the log takes it whole, and finds out when a part of it that
// an act rests on is not there.
func TestReplay(t *testing.T) {
	o := newOffice(t)
	a := o.approved()
	o.refused(act.ErrNotAllowed, "", func() error { return o.approve(a, km2) })
	o.must(o.use(o.warrant(a), a.Kind, a.Subject, nil))
	b := o.act()
	o.must(o.request(b))
	o.must(o.reject(b, so))
	c := o.actOf("order.destroy", "order/7", km)
	o.must(o.request(c))
	for _, person := range []string{wit, so, hsm} {
		o.must(o.approve(c, person))
	}
	o.must(o.use(o.warrant(c), c.Kind, c.Subject, nil))
	o.verify(2)

	all := o.entries(0)
	bears := map[string]bool{act.SiteFounded: true, act.ActRequested: true, act.ActApproved: true, act.ActUsed: true,
		"order.released": true, "order.destruction-begun": true}
	left := 0
	for i, e := range all {
		if !bears[e.Kind] {
			continue
		}
		left++
		if _, err := o.replay(slices.Delete(slices.Clone(all), i, i+1)); err == nil {
			t.Errorf("taken without entry %d, %s", i, e.Kind)
		}
	}
	if left != 1+3+5+2*2 {
		t.Errorf("left out %d entries, want 13", left)
	}
	var use int
	for i, e := range all {
		if e.Kind == act.ActUsed {
			use = i
		}
	}
	if _, err := o.replay(slices.Insert(slices.Clone(all), use+1, all[use-1], all[use])); !errors.Is(err, act.ErrUsed) {
		t.Errorf("an act used twice: %v", err)
	}
	late := slices.Clone(all)
	late[use].Time = late[use].Time.Add(time.Hour)
	if _, err := o.replay(late); !errors.Is(err, act.ErrTooLate) {
		t.Errorf("an act used too late: %v", err)
	}
}

// BenchmarkWarrant measures proving that an act has all its signatures.
func BenchmarkWarrant(b *testing.B) {
	o := newOffice(b)
	a := o.approved()
	for b.Loop() {
		o.warrant(a)
	}
}
