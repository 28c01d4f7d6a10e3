package site_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/client"
	"ankan/custody"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/message"
	"ankan/notice"
	"ankan/parts"
	"ankan/passkey"
	"ankan/site"
	"ankan/site/sitetest"
)

// set is a clock that stands until it is moved.
type set struct {
	now     time.Time
	elapsed time.Duration
}

func (s *set) Now() time.Time         { return s.now }
func (s *set) Elapsed() time.Duration { return s.elapsed }

// A site's time is that of its clock: what it logs never goes back with it, and
// what rests does not rest longer because of a step.
func TestClock(t *testing.T) {
	began := time.Now()
	clock := &set{now: began}
	c := sitetest.Config(t, "op", site.Operator)
	c.Clock = clock
	token := sitetest.Init(t, c, parts.All()...)
	runs, fail := 0, errors.New("not yet")
	s := sitetest.Open(t, c, token, append(parts.All(), does(site.Duties{Round: func(_ context.Context, begin site.Begin) error {
		begin("test", func(context.Context) error { runs++; return fail })
		return nil
	}}))...)
	clock.now, clock.elapsed = began.Add(2*time.Hour), 2*time.Hour
	if now := s.Store().Now(); !now.Equal(clock.now) {
		t.Errorf("it is %s, want %s", now, clock.now)
	}
	turn := func(want int) {
		t.Helper()
		if _, err := s.Turn(t.Context()); err != nil || runs != want {
			t.Errorf("the work ran %d times, want %d (%v)", runs, want, err)
		}
	}
	turn(1)
	if w := s.Waiting("test"); w != "not yet" {
		t.Errorf("it waits for %q", w)
	}
	turn(1)
	clock.now = began.Add(-24 * time.Hour) // a step, and no time passed
	turn(1)
	clock.elapsed += 900 * time.Millisecond
	turn(1)
	clock.elapsed += 100 * time.Millisecond
	turn(2)
	fail = nil
	clock.elapsed += 2 * time.Second
	turn(3)
	if done, err := s.Turn(t.Context()); !done || err != nil {
		t.Errorf("work that was done is not told: %v, %v", done, err)
	}
	fail = site.ErrIdle
	turn(5)
	if done, err := s.Turn(t.Context()); done || err != nil {
		t.Errorf("nothing was done, and it is told: %v, %v", done, err)
	}
	var st site.Status
	if err := client.Within(s.Control()).Get(t.Context(), "/status", &st); err != nil || st.Site != "op" {
		t.Errorf("status: %+v, %v", st, err)
	}
	var no *client.Refusal
	if err := client.Within(s.Control()).Get(t.Context(), "/orders/none", nil); !errors.As(err, &no) || no.Status != 404 {
		t.Errorf("an order that is not there: %v", err)
	}
}

// timed is an operator "op" and a manufacturer "maker" whose clock is set by
// hand. What opens the maker again stands beside them.
func timed(t *testing.T) (op, maker keeper, clock *set, again func() keeper) {
	t.Helper()
	a, b := sitetest.Config(t, "op", site.Operator), sitetest.Config(t, "maker", site.Bureau)
	clock = &set{now: time.Now(), elapsed: time.Hour}
	b.Clock = clock
	var tokens [2]hsm.Module
	var crews [2]sitetest.Crew
	for i, c := range []*site.Config{a, b} {
		tokens[i], crews[i] = hsmtest.Soft(t, nil), sitetest.Founders(t)
		if err := site.Init(t.Context(), c, tokens[i], crews[i].Founding(t, c), func(string) {}, parts.All()...); err != nil {
			t.Fatal(err)
		}
	}
	a.Partners, b.Partners = []string{b.CardFile()}, []string{a.CardFile()}
	op = keeper{sitetest.Open(t, a, tokens[0], parts.All()...), t, crews[0]}
	maker = keeper{sitetest.Open(t, b, tokens[1], parts.All()...), t, crews[1]}
	for _, id := range []string{"own", "other"} {
		sitetest.Must[hsm.Key](t)(maker.Guard().Generate(t.Context(), id, hsm.Transport, hsm.AES256))
	}
	return op, maker, clock, func() keeper {
		maker.must(maker.Close())
		return keeper{sitetest.Open(t, b, tokens[1], parts.All()...), t, crews[1]}
	}
}

// asked has the maker's key manager ask for an act that then has all its
// signatures, and leaves it undone.
func (k keeper) asked(kind, subject string) string {
	k.t.Helper()
	p := sitetest.Must[site.Proposal](k.t)(k.Proposal(k.t.Context(), kind, subject))
	now := k.Store().Now()
	a := act.New(k.Config().Site, p.Kind, p.Subject, "0001", p.Params, p.Rule, now)
	s := act.Signature{Person: "0001", Verb: act.Request, At: now.UTC().Truncate(time.Second)}
	s.Assertion = sitetest.Must[passkey.Assertion](k.t)(k.crew.Keys["0001"].Sign(a.Challenge(act.Request)))
	k.must(k.Desk().Request(k.t.Context(), a.Canonical(), s))
	return a.ID
}

func (k keeper) wants(id, state string) {
	k.t.Helper()
	if st := sitetest.Must[custody.Status](k.t)(k.Desk().Get(k.t.Context(), id)); st.State != state {
		k.t.Errorf("the act is %s, want %s", st.State, state)
	}
}

func (k keeper) turn() {
	k.t.Helper()
	sitetest.Must[bool](k.t)(k.Turn(k.t.Context()))
}

// stepped is the steps of the clock in the log, in seconds, a held one with an h.
func (k keeper) stepped() (all []string) {
	k.t.Helper()
	for _, e := range sitetest.Must[[]audit.Entry](k.t)(k.Store().Entries(k.t.Context(), 0, int(k.Store().Size()))) {
		if e.Kind == "clock.stepped" {
			how := fmt.Sprint(e.Data["by_seconds"])
			if e.Data["held"] == true {
				how += "h"
			}
			all = append(all, how)
		}
	}
	return all
}

// TestR13_StepBack: the clock is set back by a day. What was over does not come
// back, and what is open ends when it would have ended.
func TestR13_StepBack(t *testing.T) {
	_, maker, clock, again := timed(t)
	over := maker.asked("key.suspend", "key/own")
	code := sitetest.Must[string](t)(maker.People().PutDraft(t.Context(), "0001",
		act.Person{ID: "0009", Name: "New", Roles: []string{"auditor"}, Employment: act.Permanent}, false))
	clock.now, clock.elapsed = clock.now.Add(16*time.Minute), clock.elapsed+16*time.Minute
	maker.wants(over, "late")
	if _, err := maker.People().CheckCode(t.Context(), "0009", code); err != nil {
		t.Fatalf("the code of a day: %v", err)
	}

	clock.now = clock.now.Add(-24 * time.Hour)
	maker.turn()
	maker.wants(over, "late")
	open := maker.asked("key.suspend", "key/own")
	maker.wants(open, "approved")
	// 15 minutes of the site, which waits for its clock a little.
	clock.now, clock.elapsed = clock.now.Add(17*time.Minute), clock.elapsed+17*time.Minute
	maker.wants(over, "late")
	maker.wants(open, "late")
	if err := maker.Do(t.Context(), open); !errors.Is(err, act.ErrTooLate) {
		t.Errorf("an act whose time is over was done: %v", err)
	}
	c := maker.Conditions()
	if len(c) != 1 || c[0].Kind != site.ClockBehind || c[0].Stops {
		t.Errorf("conditions %+v", c)
	}
	if err := maker.MayBegin(); err != nil {
		t.Errorf("work stops, but nothing is wrong with the site's time: %v", err)
	}
	maker.turn()    // what is over is written down
	maker = again() // and the clock still is a day behind
	maker.turn()
	maker.wants(over, "late")
	maker.wants(open, "late")
	clock.now, clock.elapsed = clock.now.Add(26*time.Hour), clock.elapsed+26*time.Hour
	if _, err := maker.People().CheckCode(t.Context(), "0009", code); !errors.Is(err, access.ErrCode) {
		t.Errorf("a code lives longer than a day, because the clock was set back: %v", err)
	}
	if got := maker.stepped(); len(got) != 2 || got[0] != "-86400" {
		t.Errorf("the log has the steps %v, want the one back, and that the clock was behind at the start", got)
	}
}

// TestR13_Leap: the clock leaps three days ahead. Nothing ends by it, no work
// begins, and no file of a partner is judged by it; people hear of it.
func TestR13_Leap(t *testing.T) {
	op, maker, clock, again := timed(t)
	open := maker.asked("key.suspend", "key/own")
	size := maker.Store().Size()
	clock.now = clock.now.Add(72 * time.Hour)
	maker.turn()
	maker.wants(open, "approved")
	err := maker.MayBegin()
	if !errors.Is(err, site.ErrStopped) || !strings.Contains(err.Error(), "72h0m0s ahead") || !strings.Contains(err.Error(), "restart the site") {
		t.Errorf("work may begin: %v", err)
	}
	told := sitetest.Must[[]notice.Notice](t)(maker.Board().For(t.Context(), "0002", true, 10))
	if len(told) != 1 || told[0].Kind != "clock.stepped" || !strings.Contains(told[0].Text, "does not follow") {
		t.Errorf("the security officer is told %+v", told)
	}
	// A file waits; it is not refused.
	err = sitetest.Message(t, op.Site, maker.Site, "op-1.alarm.pgp", message.Alarm{Key: "none", At: time.Now().UTC().Truncate(time.Second), Why: "x"})
	if !errors.Is(err, site.ErrStopped) {
		t.Errorf("a file that comes while the clock is wrong: %v", err)
	}
	// Put right, all goes on.
	clock.now, clock.elapsed = clock.now.Add(-72*time.Hour+time.Minute), clock.elapsed+time.Minute
	maker.turn()
	if len(maker.Conditions()) != 0 || maker.MayBegin() != nil {
		t.Errorf("conditions %+v", maker.Conditions())
	}
	var r *site.Refusal
	if err := sitetest.Hand(t, op.Site, maker.Site, "op-1.alarm.pgp"); !errors.As(err, &r) || !strings.Contains(err.Error(), "not known here") {
		t.Errorf("the file was not read: %v", err)
	}
	maker.must(maker.Do(t.Context(), open))
	if got := maker.stepped(); !slices.Equal(got, []string{"259200h", "-259200"}) {
		t.Errorf("the log has the steps %v, from %d on", got, size)
	}

	// If the clock was right, a restart says so; then what is over is told.
	open = maker.asked("key.suspend", "key/other")
	clock.now = clock.now.Add(72 * time.Hour)
	maker.turn()
	maker.wants(open, "approved")
	maker = again()
	clock.elapsed += time.Minute
	maker.wants(open, "late")
	maker.turn()
	told = sitetest.Must[[]notice.Notice](t)(maker.Board().For(t.Context(), "0001", true, 10))
	if !slices.ContainsFunc(told, func(n notice.Notice) bool {
		return n.Kind == "act.late" && strings.Contains(n.Text, "ran out of time")
	}) {
		t.Errorf("who asked for the act is told %+v", told)
	}
}

// TestR13_FilesOfPartners: a file that was signed after this site's clock was set
// back is from no future, and is taken.
func TestR13_FilesOfPartners(t *testing.T) {
	op, maker, clock, _ := timed(t)
	clock.now = clock.now.Add(-24 * time.Hour)
	maker.turn()
	var r *site.Refusal
	err := sitetest.Message(t, op.Site, maker.Site, "op-1.alarm.pgp", message.Alarm{Key: "none", At: time.Now().UTC().Truncate(time.Second), Why: "x"})
	if !errors.As(err, &r) || !strings.Contains(err.Error(), "not known here") {
		t.Errorf("the file was not read: %v", err)
	}
}

// TestR13_Steps: each step is in the log, forward ones are followed.
func TestR13_Steps(t *testing.T) {
	_, maker, clock, _ := timed(t)
	open := maker.asked("key.suspend", "key/own")
	for _, by := range []time.Duration{time.Second, 9 * time.Minute, 7 * time.Minute} {
		clock.now = clock.now.Add(by)
		maker.turn()
	}
	maker.wants(open, "late")
	if got := maker.stepped(); !slices.Equal(got, []string{"540", "420"}) {
		t.Errorf("the log has the steps %v", got)
	}
}
