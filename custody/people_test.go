package custody_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/notice"
	"ankan/passkey"
	"ankan/store"
)

func (o *office) people() *access.Directory { return access.New(o.store) }

// propose is an act under the policy in force, that its requester signed.
func (o *office) propose(kind, subject, requester string, params map[string]string) act.Act {
	o.Helper()
	p, err := o.people().Policy(o.Context())
	o.must(err)
	rule, err := p.Rule(kind)
	o.must(err)
	a := act.New(site, kind, subject, requester, params, rule, o.clock)
	o.must(o.request(a))
	return a
}

// do does an act as a site does: with the data of its entry, under its warrant.
func (o *office) do(a act.Act, data map[string]any, fn func(*store.Tx) error) error {
	w, err := o.desk.Warrant(o.Context(), a.ID)
	if err != nil {
		return err
	}
	return w.Use(context.WithoutCancel(o.Context()), a.Kind, a.Subject, data, fn)
}

// enrol brings a drafted person in, asked for by the so.
func (o *office) enrol(who act.Person, renew bool, by ...string) {
	o.Helper()
	ctx, d := o.Context(), o.people()
	code, err := d.PutDraft(ctx, so, who, renew)
	o.must(err)
	if code != "" {
		o.must(d.Register(ctx, who.ID, code, who.Credential, "a password of theirs"))
	}
	kind, err := d.EnrolKind(ctx, who.ID)
	o.must(err)
	params, err := d.ProposeEnrol(ctx, kind, who.ID)
	o.must(err)
	a := o.propose(kind, "person/"+who.ID, chief, params)
	for _, p := range by {
		o.must(o.approve(a, p))
	}
	data, err := d.PersonData(ctx, who.ID, false)
	o.must(err)
	o.must(o.do(a, data, func(tx *store.Tx) error { return d.Enrol(tx, who.ID, params[act.ParamPerson]) }))
}

func (o *office) suspend(id, by string) {
	o.Helper()
	a := o.propose("person.suspend", "person/"+id, by, nil)
	o.must(o.do(a, access.SuspendData(id), func(tx *store.Tx) error { return o.people().Suspend(tx, id) }))
}

// leaving is an approved act by which a person leaves, and its doing.
func (o *office) leaving(id, by string) func() error {
	o.Helper()
	d := o.people()
	params, err := d.ProposeLeave(o.Context(), id)
	o.must(err)
	a := o.propose("person.leave", "person/"+id, so, params)
	o.must(o.approve(a, by))
	data, err := d.PersonData(o.Context(), id, true)
	o.must(err)
	w := o.warrant(a)
	return func() error {
		return w.Use(context.WithoutCancel(o.Context()), a.Kind, a.Subject, data, func(tx *store.Tx) error { return d.Leave(tx, id) })
	}
}

// adopt puts the next version of the policy into force: one word is replaced.
func (o *office) adopt(old, new string) {
	o.Helper()
	ctx, d := o.Context(), o.people()
	now, err := d.Policy(ctx)
	o.must(err)
	doc := strings.Replace(string(access.DefaultPolicyDocument()), "version: 1", fmt.Sprint("version: ", now.Version+1), 1)
	if strings.Count(doc, old) != 1 {
		o.Fatalf("%q is there %d times", old, strings.Count(doc, old))
	}
	p, err := d.PutPolicy(ctx, so, []byte(strings.Replace(doc, old, new, 1)))
	o.must(err)
	params, err := d.ProposePolicy(ctx)
	o.must(err)
	a := o.propose("policy.adopt", "policy", so, params)
	o.must(o.approve(a, km))
	o.must(o.approve(a, hsm))
	data, err := audit.DataOf(act.PolicyEntry{Policy: p})
	o.must(err)
	o.must(o.do(a, data, func(tx *store.Tx) error { return d.Adopt(tx, p) }))
}

// A life at a site, as whoever replays its log sees it.
func TestPersonsLife(t *testing.T) {
	o := newOffice(t)
	who := o.person("2001", "", "key-manager")
	o.enrol(who, false, km)
	a := o.act()
	o.must(o.request(a))
	o.must(o.approve(a, "2001"))
	o.must(o.approve(a, so))
	o.must(o.do(a, nil, nil))
	// Suspended: nothing of theirs is taken, and what they approved before is worth nothing.
	b := o.act()
	o.must(o.request(b))
	o.must(o.approve(b, "2001"))
	o.must(o.approve(b, so))
	w := o.warrant(b)
	o.suspend("2001", km)
	if err := o.use(w, b.Kind, b.Subject, nil); !errors.Is(err, access.ErrNoPerson) {
		t.Errorf("a warrant of a suspended person's approval: %v", err)
	}
	c := o.act()
	o.must(o.request(c))
	o.refused(access.ErrNoPerson, "is suspended", func() error { return o.approve(c, "2001") })
	// Enrolled again, with the passkey that they have.
	o.enrol(who, false, km)
	o.must(o.approve(c, "2001"))
	o.must(o.people().Lock(t.Context(), "2001", "lost it"))
	d := o.act()
	o.must(o.request(d))
	o.refused(access.ErrNoPerson, "is locked", func() error { return o.approve(d, "2001") })
	who = o.person("2001", "", "warehouse")
	o.enrol(who, false, km)
	o.must(o.leaving("2001", km)())
	if m, err := o.people().Member(t.Context(), "2001"); err != nil || m.State != access.Left {
		t.Errorf("%+v, %v", m, err)
	}
	o.verify(6)

	// Somebody who edits the log so that the suspension is not in it is found out.
	all := o.entries(0)
	i := slices.IndexFunc(all, func(e audit.Entry) bool { return e.Kind == act.PersonSuspended })
	if all[i].Subject != "person/2001" || all[i].Data["person"] != "2001" || all[i].Data["warrant"] == nil {
		t.Errorf("%+v", all[i])
	}
	if _, err := o.replay(slices.Delete(slices.Clone(all), i, i+1)); err == nil {
		t.Error("a log without the suspension is taken")
	}
	forged := o.propose("order.release", "order/9", prep, map[string]string{"quantity": "1"})
	log := o.entries(0)
	after := slices.IndexFunc(log, func(e audit.Entry) bool { return e.Kind == act.PersonLocked })
	data, err := audit.DataOf(act.ActEntry{ID: forged.ID, Digest: fmt.Sprintf("%x", forged.Digest()), Signature: o.sig(forged, "2001", act.Approve)})
	o.must(err)
	entry := audit.Entry{Kind: act.ActApproved, Subject: forged.Subject, Time: log[after].Time, Data: data}
	if _, err := o.replay(slices.Insert(slices.Clone(log), after+1, entry)); err == nil || !strings.Contains(err.Error(), "2001 is not enrolled") {
		t.Errorf("a locked person's signature is taken: %v", err)
	}
}

// Others stand before a signature in the same commit: it is judged after them.
func TestLeavesWhileSigning(t *testing.T) {
	for name, c := range map[string]struct {
		first func(*office) func() error
		try   func(*office, act.Act) error // by who is gone
	}{
		"approves": {func(o *office) func() error { return o.leaving(km2, km) }, func(o *office, a act.Act) error { return o.approve(a, km2) }},
		"requests": {func(o *office) func() error { return o.leaving(prep, km) }, func(o *office, _ act.Act) error { return o.request(o.act()) }},
		"locked": {func(o *office) func() error {
			return func() error { return o.people().Lock(context.Background(), km2, "lost") }
		}, func(o *office, a act.Act) error { return o.approve(a, km2) }},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			a := o.act()
			o.must(o.request(a))
			first := c.first(o)
			held, release := make(chan bool), make(chan bool)
			errs := make(chan error, 2)
			go func() {
				errs <- o.store.Change(context.Background(), audit.Entry{Kind: "test.held", Actor: "test"}, func(*store.Tx) error {
					held <- true
					<-release
					return nil
				})
			}()
			<-held
			left, tried := make(chan error, 1), make(chan error, 1)
			go func() { left <- first() }()
			time.Sleep(50 * time.Millisecond) // until it waits for its turn
			go func() { tried <- c.try(o, a) }()
			time.Sleep(50 * time.Millisecond)
			close(release)
			o.must(<-errs)
			o.must(<-left)
			if err := <-tried; !errors.Is(err, access.ErrNoPerson) {
				t.Errorf("got %v, want %v", err, access.ErrNoPerson)
			}
			if _, err := o.replay(o.entries(0)); err != nil {
				t.Error(err)
			}
		})
	}
}

// An act of an older policy is nobody's any more, and does not stand in the
// way of others.
func TestOlderPolicy(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	open, approved := o.act(), o.approved()
	o.must(o.request(open))
	o.must(o.approve(open, km))
	w := o.warrant(approved)
	o.adopt("tries: 5 ", "tries: 4 ")
	o.refused(act.ErrNotAllowed, "under version 1 of the policy, in force is 2", func() error { return o.approve(open, so) })
	o.refused(act.ErrNotAllowed, "under version 1 of the policy, in force is 2", func() error { return o.reject(open, so) })
	o.refused(act.ErrNotAllowed, "under version 1 of the policy, in force is 2", func() error { return o.request(o.act()) })
	if _, err := o.desk.Warrant(ctx, approved.ID); !errors.Is(err, act.ErrNotAllowed) {
		t.Errorf("a warrant under the old policy: %v", err)
	}
	before := o.store.Size()
	if err := o.use(w, approved.Kind, approved.Subject, nil); !errors.Is(err, act.ErrNotAllowed) || o.store.Size() != before || o.state(approved) != "approved" {
		t.Errorf("a warrant from before: %v, %s", err, o.state(approved))
	}
	all, err := o.desk.Candidates(ctx, open.ID)
	o.must(err)
	for _, c := range all {
		if c.May || !strings.Contains(c.Why, "under version 1") {
			t.Errorf("%+v", c)
		}
	}
	if len(all) == 0 {
		t.Error("nobody is told why")
	}
	fresh := o.propose("order.release", "order/8", prep, nil)
	in, err := o.desk.Inbox(ctx, so)
	o.must(err)
	if len(in.Waits) != 1 || in.Waits[0].Act.ID != fresh.ID {
		t.Errorf("%+v", in)
	}
	o.verify(1)
}

func TestCandidates(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	a := o.propose("order.release", "order/7", prep, map[string]string{act.ParamEditors: km2})
	o.must(o.approve(a, km))
	want := map[string]string{ // why not; "" may
		prep: "asked for it", km: "has signed already", km2: "edited it last", so: "", chief: "report to one another", junior: "report to one another",
	}
	check := func(want map[string]string) {
		t.Helper()
		all, err := o.desk.Candidates(ctx, a.ID)
		o.must(err)
		got := map[string]custody.Candidate{}
		for _, c := range all {
			got[c.Person.ID] = c
		}
		if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
			t.Errorf("%v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
		for id, why := range want {
			if c := got[id]; c.May != (why == "") || !strings.Contains(c.Why, why) || c.May && c.Why != "" {
				t.Errorf("%s: %+v, want %q", id, c, why)
			}
			if c := got[id]; (c.Signed == act.Approve) != (id == km) || (c.Signed == act.Request) != (id == prep) {
				t.Errorf("%s signed %q", id, c.Signed)
			}
		}
		// What Candidates says is what Sign does.
		for id, why := range want {
			if why != "" {
				o.refused(nil, "", func() error { return o.approve(a, id) })
			}
		}
	}
	check(want)
	// Who is away is not there; whoever asks away, nobody may.
	o.suspend(so, nodal)
	delete(want, so)
	check(want)
	o.suspend(prep, nodal)
	delete(want, prep)
	for id := range want {
		want[id] = `person "1001" is suspended`
	}
	check(want)
	if _, err := o.desk.Candidates(ctx, "x"); !errors.Is(err, custody.ErrNoAct) {
		t.Error(err)
	}
	if in, err := o.desk.Inbox(ctx, km); err != nil || len(in.Waits)+len(in.Asked) != 0 {
		t.Errorf("%+v, %v", in, err)
	}
}

// A key manager fills one seat of two; the other is not for a second one.
func TestCandidatesSeatTaken(t *testing.T) {
	o := newOffice(t)
	a := o.act()
	o.must(o.request(a))
	o.must(o.approve(a, km))
	all, err := o.desk.Candidates(t.Context(), a.ID)
	o.must(err)
	for _, c := range all {
		if c.Person.ID == km2 && (c.May || !strings.Contains(c.Why, "still open")) {
			t.Errorf("%+v", c)
		}
	}
	o.must(o.approve(a, so))
	all, err = o.desk.Candidates(t.Context(), a.ID)
	o.must(err)
	for _, c := range all {
		if c.May || !strings.Contains(c.Why, "all its signatures") {
			t.Errorf("%+v", c)
		}
	}
}

func TestInbox(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	inbox := func(person string, waits, asked []act.Act) {
		t.Helper()
		in, err := o.desk.Inbox(ctx, person)
		o.must(err)
		same := func(st custody.Status, a act.Act) bool { return st.Act.ID == a.ID }
		if !slices.EqualFunc(in.Waits, waits, same) || !slices.EqualFunc(in.Asked, asked, same) {
			t.Errorf("%s: %+v", person, in)
		}
	}
	a := o.act()
	o.must(o.request(a))
	inbox(km, []act.Act{a}, nil)
	inbox(so, []act.Act{a}, nil)
	inbox(prep, nil, []act.Act{a})
	for _, other := range []string{wit, chief, junior, "9999", ""} {
		inbox(other, nil, nil)
	}
	o.wait(time.Second)
	b := o.propose("order.release", "order/8", prep, nil)
	inbox(km, []act.Act{a, b}, nil)
	o.must(o.approve(a, km))
	inbox(km, []act.Act{b}, nil)
	inbox(so, []act.Act{a, b}, nil)
	o.must(o.approve(a, so))
	inbox(so, []act.Act{b}, nil)
	inbox(prep, nil, []act.Act{b, a}) // open ones, then approved ones to be done
	o.must(o.reject(b, so))
	inbox(prep, nil, []act.Act{a})
	o.must(o.do(a, nil, nil))
	inbox(prep, nil, nil)
	c := o.act()
	o.must(o.request(c))
	o.wait(day + time.Second)
	inbox(km, nil, nil)
	inbox(prep, nil, nil)
}

// told is what somebody was told, oldest first: kind and subject.
func (o *office) told(person string) (all []string) {
	o.Helper()
	notices, err := notice.New(o.store).For(o.Context(), person, false, 100)
	o.must(err)
	for _, n := range slices.Backward(notices) {
		all = append(all, n.Kind+" "+n.Subject)
	}
	return all
}

func TestNotices(t *testing.T) {
	o := newOffice(t)
	is := func(person string, want ...string) {
		t.Helper()
		if got := o.told(person); !slices.Equal(got, want) {
			t.Errorf("%s was told %v, want %v", person, got, want)
		}
	}
	// A refused request tells nobody.
	bad := o.act()
	bad.Site = "plant"
	o.refused(act.ErrNotAllowed, "", func() error { return o.request(bad) })
	is(km)
	a := o.act()
	o.must(o.request(a))
	o.quiet(func() error { return o.request(a) })
	for _, who := range []string{km, km2, so} {
		is(who, "act.waits order/7")
	}
	for _, who := range []string{prep, chief, junior, wit, hsm, nodal} {
		is(who)
	}
	notices, err := notice.New(o.store).For(t.Context(), km, true, 10)
	o.must(err)
	if n := notices[0]; n.Link != "/acts/"+a.ID || !n.At.Equal(o.clock) || !strings.Contains(n.Text, strings.Join(act.Words(a.Digest()), " ")) || !strings.Contains(n.Text, "2026-11-24T09:00:00Z") {
		t.Errorf("%+v", n)
	}
	o.refused(act.ErrNotAllowed, "", func() error { return o.approve(a, chief) })
	o.must(o.approve(a, km))
	is(prep)
	o.must(o.approve(a, so))
	is(prep, "act.approved order/7")
	b := o.act()
	o.must(o.request(b))
	no := o.sig(b, so, act.Reject)
	no.Reason = "not \"today\""
	o.must(o.desk.Sign(t.Context(), b.ID, no))
	o.quiet(func() error { return o.desk.Sign(t.Context(), b.ID, no) })
	is(prep, "act.approved order/7", "act.rejected order/7")
	notices, err = notice.New(o.store).For(t.Context(), prep, true, 1)
	o.must(err)
	if !strings.Contains(notices[0].Text, `rejected by person 1003: "not \"today\""`) {
		t.Errorf("%+v", notices)
	}
	// An act that its requester signs alone tells nobody.
	o.propose("hlr.load", "order/7", nodal, nil)
	is(nodal)
	o.verify(0)
}

func TestSweep(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	sweep := func(want int) []audit.Entry {
		t.Helper()
		before := o.store.Size()
		n, err := o.desk.Sweep(ctx)
		o.must(err)
		left := o.entries(before)
		if n != want || len(left) != want {
			t.Errorf("it ended %d and left %v, want %d", n, left, want)
		}
		return left
	}
	sweep(0)
	open, approved, used := o.act(), o.approved(), o.approved()
	o.must(o.request(open))
	o.must(o.do(used, nil, nil))
	sweep(0)
	o.wait(15*time.Minute + time.Second)
	left := sweep(1)
	if e := left[0]; e.Kind != "act.expired" || e.Subject != approved.Subject || e.Data["id"] != approved.ID || e.Data["complete"] != true || fmt.Sprint(e.Data["signatures"]) != "3" {
		t.Errorf("%+v", e)
	}
	sweep(0)
	if o.state(approved) != "late" || o.state(open) != "open" || o.state(used) != "used" {
		t.Errorf("%s, %s, %s", o.state(approved), o.state(open), o.state(used))
	}
	o.wait(day)
	if left = sweep(1); left[0].Data["id"] != open.ID || left[0].Data["complete"] != false {
		t.Errorf("%+v", left)
	}
	sweep(0)
	late := 0
	for _, n := range o.told(prep) {
		if n == "act.late order/7" {
			late++
		}
	}
	if late != 2 {
		t.Errorf("prep was told %v", o.told(prep))
	}
	o.refused(nil, "", func() error { return o.approve(open, km) })
	if _, err := o.desk.Warrant(ctx, approved.ID); !errors.Is(err, act.ErrTooLate) {
		t.Error(err)
	}
	for state, n := range map[string]int{"late": 2, "open": 0, "approved": 0} {
		if all, err := o.desk.List(ctx, state); err != nil || len(all) != n {
			t.Errorf("%s: %d, %v", state, len(all), err)
		}
	}
	// Two sweeps at once end an act once.
	again := o.act()
	o.must(o.request(again))
	o.wait(day + time.Second)
	before := o.store.Size()
	ends := make(chan int)
	for range 2 {
		go func() { n, _ := o.desk.Sweep(context.WithoutCancel(ctx)); ends <- n }()
	}
	if n := <-ends + <-ends; n != 1 || len(o.entries(before)) != 1 {
		t.Errorf("%d were ended: %v", n, o.entries(before))
	}
	o.verify(1)
}

// An approval by a passkey whose counter went back locks the person.
func TestClonedApproval(t *testing.T) {
	for name, try := range map[string]func(*office, act.Act) (string, error){
		"approval":  func(o *office, a act.Act) (string, error) { return km, o.approve(a, km) },
		"rejection": func(o *office, a act.Act) (string, error) { return so, o.reject(a, so) },
		"request":   func(o *office, _ act.Act) (string, error) { return prep, o.request(o.act()) },
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			a := o.act()
			o.must(o.request(a))
			for _, id := range []string{prep, km, so} {
				o.tamper("UPDATE person SET counter = 3 WHERE id = $1", id) // the software passkeys say 0
			}
			before, rows := o.store.Size(), o.rows()
			who, err := try(o, a)
			if !errors.Is(err, passkey.ErrCloned) || rows != o.rows() {
				t.Errorf("%v", err)
			}
			left := o.entries(before)
			if len(left) != 2 || left[0].Kind != act.PersonLocked || left[0].Subject != "person/"+who || left[1].Kind != "act.refused" {
				t.Errorf("it left %v", left)
			}
			o.refused(access.ErrNoPerson, "is locked", func() error { _, err := try(o, a); return err })
			if got := o.told(so); len(got) != 1 {
				t.Errorf("%v", got)
			}
			o.verify(0)
		})
	}
}

// Editors do not approve what they edited, nor does their line, unless the
// policy says so.
func TestEditors(t *testing.T) {
	ask := func(o *office) act.Act {
		return o.propose("person.leave", "person/"+wit, so, map[string]string{act.ParamEditors: prep + ",9999"})
	}
	for _, c := range []struct {
		exclude string
		may     []string
		not     map[string]string
	}{
		{"[editor, line]", []string{km}, map[string]string{chief: "report to one another", junior: "report to one another", so: "asked for it"}},
		{"[editor]", []string{km, chief, junior}, map[string]string{so: "asked for it"}},
		{"[none]", []string{km, chief, junior}, map[string]string{so: "asked for it"}},
	} {
		o := newOffice(t)
		if c.exclude != "[editor, line]" {
			o.adopt("exclude: [editor, line]", "exclude: "+c.exclude)
		}
		for id, why := range c.not {
			a := ask(o)
			o.refused(act.ErrNotAllowed, why, func() error { return o.approve(a, id) })
		}
		for _, id := range c.may {
			o.must(o.approve(ask(o), id))
		}
		// The editor themselves, with a fitting role.
		a := o.propose("person.leave", "person/"+wit, so, map[string]string{act.ParamEditors: km})
		if c.exclude == "[none]" {
			o.must(o.approve(a, km))
		} else {
			o.refused(act.ErrNotAllowed, "edited it last", func() error { return o.approve(a, km) })
		}
		if _, err := o.replay(o.entries(0)); err != nil {
			t.Errorf("%s: %v", c.exclude, err)
		}
	}
}
