package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"ankan/passkey"
	"ankan/store"
)

const (
	password = "correct horse battery"
	desk     = "192.0.2.1"
	away     = "198.51.100.9"
)

func (h *house) assert(c Challenge, id string) passkey.Assertion {
	h.Helper()
	a, err := h.keys[id].Sign(c.Bytes)
	h.must(err)
	return a
}

// finish gives the second proof.
func (h *house) finish(c Challenge, id, certificate string) (Session, string, error) {
	h.Helper()
	return h.gate.End(h.Context(), c.Attempt, h.assert(c, id), certificate)
}

func (h *house) begin(id, password, from string) (Challenge, error) {
	return h.gate.Begin(h.Context(), First{Person: id, Password: password, From: from})
}

// signIn is a session from a place.
func (h *house) signIn(id, from string) (Session, string) {
	h.Helper()
	c, err := h.begin(id, password, from)
	h.must(err)
	s, cookie, err := h.finish(c, id, "")
	h.must(err)
	return s, cookie
}

// open says whether a cookie opens a session.
func (h *house) open(cookie string) error {
	_, _, err := h.gate.Session(h.Context(), cookie, "")
	return err
}

// newGate is a house in which 2001 and 2002 have passwords.
func newGateHouse(t *testing.T) *house {
	h := newHouse(t)
	h.joins("2001", password, "warehouse")
	h.joins("2002", password, "security-officer")
	return h
}

func TestSignIn(t *testing.T) {
	h := newGateHouse(t)
	before := h.store.Size()
	c, err := h.begin("2001", password, desk)
	h.must(err)
	if c.PersonID != "2001" || c.FirstWith != "password" || !c.Ends.Equal(h.clock.Add(2*time.Minute)) || c.Bytes == [32]byte{} {
		t.Errorf("%+v", c)
	}
	s, cookie, err := h.finish(c, "2001", "")
	h.must(err)
	if s.Person != "2001" || s.From != desk || s.First != "password" || s.Proved != "software: nobody was verified" || !s.Ends.Equal(h.clock.Add(8*time.Hour)) || !s.Idle.Equal(h.clock.Add(15*time.Minute)) {
		t.Errorf("%+v", s)
	}
	got, who, err := h.gate.Session(t.Context(), cookie, "")
	if err != nil || got != s || who.ID != "2001" {
		t.Errorf("%+v, %s, %v", got, who.ID, err)
	}
	if strings.Contains(cookie, s.ID) || h.open(s.ID) == nil || h.open("") == nil {
		t.Error("what names a session opens it")
	}
	if got := h.kinds(before); len(got) != 1 || got[0] != "session.opened session/"+s.ID {
		t.Errorf("it left %v", got)
	}
	h.fsck()
}

// A certificate of the person's own is a first proof; it stays with the session.
func TestSignInWithCertificate(t *testing.T) {
	h := newGateHouse(t)
	ctx := t.Context()
	mine, other := Fingerprint([]byte("mine")), Fingerprint([]byte("other"))
	who := h.keysOf("2001", "warehouse")
	who.Certificate = mine
	h.draft(who, false)
	h.must(h.enrol("2001"))
	h.hashes.Store(0)
	c, err := h.gate.Begin(ctx, First{Person: "2001", Certificate: mine, From: desk})
	h.must(err)
	if c.FirstWith != "client certificate" || h.hashes.Load() != 0 {
		t.Errorf("%s, %d hashes", c.FirstWith, h.hashes.Load())
	}
	s, cookie, err := h.finish(c, "2001", mine)
	h.must(err)
	if s.Certificate != mine || s.First != "client certificate" {
		t.Errorf("%+v", s)
	}
	if _, _, err := h.gate.Session(ctx, cookie, mine); err != nil {
		t.Error(err)
	}
	before := h.store.Size()
	_, _, err = h.gate.Session(ctx, cookie, other)
	h.refused(err, ErrSession, "another certificate")
	_, _, err = h.gate.Session(ctx, cookie, mine)
	h.refused(err, ErrSession, "sign in") // it is over
	if got := h.kinds(before); len(got) != 1 || got[0] != "session.closed session/"+s.ID {
		t.Errorf("it left %v", got)
	}
	for name, f := range map[string]First{"another's": {Person: "2002", Certificate: mine}, "wrong": {Person: "2001", Certificate: other}, "none": {Person: "2001"}, "none of who has none": {Person: "2002"}} {
		if _, err := h.gate.Begin(ctx, f); !errors.Is(err, ErrSignIn) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The certificate changes between the two proofs.
	c, err = h.gate.Begin(ctx, First{Person: "2001", Certificate: mine, From: desk})
	h.must(err)
	_, _, err = h.finish(c, "2001", other)
	h.refused(err, ErrSession, "")
	h.fsck()
}

// What is refused says nothing about who exists, and costs a hash each.
func TestFirstProofRefused(t *testing.T) {
	h := newGateHouse(t)
	h.joins("2003", "", "warehouse")
	h.joins("2004", password, "warehouse")
	h.must(h.change(func(tx *store.Tx) error { return h.people.Suspend(tx, "2004") }))
	for name, f := range map[string]First{
		"wrong password":  {Person: "2001", Password: "correct horse batterz"},
		"no password":     {Person: "2001"},
		"another's":       {Person: km, Password: password},
		"has none":        {Person: "2003", Password: password},
		"empty, has none": {Person: "2003"},
		"nobody":          {Person: "9999", Password: password},
		"suspended":       {Person: "2004", Password: password},
		"endless":         {Person: strings.Repeat("9", 1<<17), Password: strings.Repeat("x", 1<<17), From: strings.Repeat("x", 1<<17), Certificate: strings.Repeat("x", 1<<17)},
	} {
		h.hashes.Store(0)
		before := h.store.Size()
		c, err := h.gate.Begin(t.Context(), f)
		if err == nil || !errors.Is(err, ErrSignIn) || err.Error() != ErrSignIn.Error() || c.Attempt != "" || c.PersonID != "" {
			t.Errorf("%s: %v", name, err)
		}
		if n := h.hashes.Load(); n != 1 {
			t.Errorf("%s: %d hashes, want 1", name, n)
		}
		if got := h.kinds(before); len(got) != 1 || got[0] != "signin.refused gate" {
			t.Errorf("%s: it left %v", name, got)
		}
	}
	h.fsck()
}

func TestSecondProofRefused(t *testing.T) {
	h := newGateHouse(t)
	ctx := t.Context()
	for name, c := range map[string]struct {
		try  func(Challenge) error
		want error
		why  string
		left int64
	}{
		"another's passkey": {func(c Challenge) error { _, _, err := h.finish(c, "2002", ""); return err }, passkey.ErrAssertion, "another passkey", 1},
		"other challenge": {func(c Challenge) error {
			_, _, err := h.gate.End(ctx, c.Attempt, h.assert(Challenge{Bytes: [32]byte{1}}, "2001"), "")
			return err
		}, passkey.ErrAssertion, "over other bytes", 1},
		"user not verified": {func(c Challenge) error {
			a := h.assert(c, "2001")
			a.AuthenticatorData[32] &^= 0x04
			_, _, err := h.gate.End(ctx, c.Attempt, a, "")
			return err
		}, passkey.ErrAssertion, "not verified", 1},
		"no assertion":    {func(c Challenge) error { _, _, err := h.gate.End(ctx, c.Attempt, passkey.Assertion{}, ""); return err }, passkey.ErrAssertion, "", 1},
		"another attempt": {func(c Challenge) error { _, _, err := h.gate.End(ctx, "x", h.assert(c, "2001"), ""); return err }, ErrExpired, "begin again", 0},
		"no attempt":      {func(c Challenge) error { _, _, err := h.gate.End(ctx, "", h.assert(c, "2001"), ""); return err }, ErrExpired, "begin again", 0},
		"too late":        {func(c Challenge) error { h.wait(2*time.Minute + 1); _, _, err := h.finish(c, "2001", ""); return err }, ErrExpired, "begin again", 0},
		"certificate":     {func(c Challenge) error { _, _, err := h.finish(c, "2001", "f00d"); return err }, ErrSession, "", 1},
		"suspended": {func(c Challenge) error {
			h.must(h.change(func(tx *store.Tx) error { return h.people.Suspend(tx, "2001") }))
			_, _, err := h.finish(c, "2001", "")
			h.draft(h.keysOf("2001", "warehouse"), false)
			h.must(h.enrol("2001"))
			return err
		}, ErrSignIn, "", 4},
	} {
		h.gate = NewGate(h.people)
		ch, err := h.begin("2001", password, desk)
		h.must(err)
		before := h.store.Size()
		h.refused(c.try(ch), c.want, c.why)
		if got := h.kinds(before); int64(len(got)) != c.left {
			t.Errorf("%s: it left %v", name, got)
		}
		if all := h.gate.Sessions(""); len(all) != 0 {
			t.Errorf("%s: %+v", name, all)
		}
		// A challenge is used once, also in vain.
		if name != "another attempt" && name != "no attempt" {
			_, _, err = h.finish(ch, "2001", "")
			h.refused(err, ErrExpired, "")
		}
	}
	h.gate = NewGate(h.people)
	c, err := h.begin("2001", password, desk)
	h.must(err)
	a := h.assert(c, "2001")
	_, _, err = h.gate.End(ctx, c.Attempt, a, "")
	h.must(err)
	_, _, err = h.gate.End(ctx, c.Attempt, a, "")
	h.refused(err, ErrExpired, "")
	// An assertion of an approval is none of a challenge.
	c, err = h.begin("2001", password, desk)
	h.must(err)
	_, _, err = h.gate.End(ctx, c.Attempt, a, "")
	h.refused(err, passkey.ErrAssertion, "over other bytes")
	h.fsck()
}

// After too many wrong tries a place waits, whoever tries there; the person
// comes in from elsewhere, and hears of it.
func TestTries(t *testing.T) {
	h := newGateHouse(t)
	for range 5 {
		_, err := h.begin("2001", "wrong", away)
		h.refused(err, ErrSignIn, "")
	}
	h.hashes.Store(0)
	before := h.store.Size()
	_, err := h.begin("2001", password, away) // right, and too late
	h.refused(err, ErrWait, "")
	if h.hashes.Load() != 0 || len(h.kinds(before)) != 1 {
		t.Errorf("%d hashes, %v", h.hashes.Load(), h.kinds(before))
	}
	if _, err := h.begin("2002", password, away); err != nil {
		t.Errorf("another person there: %v", err)
	}
	if s, _ := h.signIn("2001", desk); s.Wrong != 5 {
		t.Errorf("heard of %d", s.Wrong)
	}
	if s, _ := h.signIn("2001", desk); s.Wrong != 0 {
		t.Errorf("heard of %d again", s.Wrong)
	}
	h.wait(15*time.Minute + 1)
	s, _ := h.signIn("2001", away)
	if s.Wrong != 0 {
		t.Errorf("its own tries are from elsewhere: %d", s.Wrong)
	}
	// Right proofs do not count; wrong second ones do.
	for range 20 {
		h.signIn("2001", desk)
	}
	for i := range 5 {
		c, err := h.begin("2001", password, desk)
		if err != nil {
			t.Fatalf("try %d: %v", i, err)
		}
		_, _, err = h.finish(c, "2002", "")
		h.refused(err, passkey.ErrAssertion, "")
	}
	_, err = h.begin("2001", password, desk)
	h.refused(err, ErrWait, "")
	// Who only looks like the person's place is not theirs.
	_, err = h.begin("x 2001", "wrong", away)
	h.refused(err, ErrSignIn, "")
	if s, _ := h.signIn("2001", "203.0.113.1"); s.Wrong != 5 {
		t.Errorf("heard of %d, want the 5 from the desk", s.Wrong)
	}
	h.fsck()
}

// Many tries at once are not more than many in a row.
func TestTriesAtOnce(t *testing.T) {
	h := newGateHouse(t)
	h.hashes.Store(0)
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[string]int{}
	for range 40 {
		wg.Go(func() {
			_, err := h.begin("2001", "wrong", away)
			mu.Lock()
			defer mu.Unlock()
			got[fmt.Sprint(errors.Is(err, ErrSignIn), errors.Is(err, ErrWait))]++
		})
	}
	wg.Wait()
	if h.hashes.Load() != 5 || got["true false"] != 5 || got["false true"] != 35 {
		t.Errorf("%d hashes, %v", h.hashes.Load(), got)
	}
}

// A passkey whose counter went back locks the person and ends in two entries.
func TestClonedPasskey(t *testing.T) {
	h := newGateHouse(t)
	_, cookie := h.signIn("2001", desk)
	h.must(h.change(func(tx *store.Tx) error { return h.people.Counted(tx, "2001", 9) }))
	c, err := h.begin("2001", password, desk)
	h.must(err)
	before := h.store.Size()
	_, _, err = h.finish(c, "2001", "") // its counter is 0
	h.refused(err, ErrCloned, "it was 9 and is 0")
	if got := h.kinds(before); len(got) != 2 || got[0] != "signin.refused gate" || got[1] != "person.locked person/2001" {
		t.Errorf("it left %v", got)
	}
	if m, err := h.people.Member(t.Context(), "2001"); err != nil || m.State != Locked {
		t.Errorf("%s, %v", m.State, err)
	}
	_, err = h.begin("2001", password, desk)
	h.refused(err, ErrSignIn, "")
	h.refused(h.open(cookie), ErrSession, "locked")
	h.fsck()
}

func TestSessionEnds(t *testing.T) {
	h := newGateHouse(t)
	ctx := t.Context()
	over := func(cookie, why string) {
		t.Helper()
		before := h.store.Size()
		h.refused(h.open(cookie), ErrSession, why)
		if got := h.kinds(before); len(got) != 1 || !strings.HasPrefix(got[0], "session.closed session/") {
			t.Errorf("it left %v", got)
		}
		before = h.store.Size()
		h.refused(h.open(cookie), ErrSession, "no such session")
		if h.store.Size() != before {
			t.Errorf("it is closed twice: %v", h.kinds(before))
		}
	}
	_, cookie := h.signIn("2001", desk)
	h.wait(15 * time.Minute)
	h.must(h.open(cookie)) // to the second, and it counts as use
	h.wait(15*time.Minute + 1)
	over(cookie, "nothing was done for too long")
	_, cookie = h.signIn("2001", desk)
	for range 32 {
		h.wait(15 * time.Minute)
		h.must(h.open(cookie))
	}
	h.wait(1)
	over(cookie, "open for long enough")
	_, cookie = h.signIn("2001", desk)
	h.must(h.people.Lock(ctx, "2001", "lost"))
	over(cookie, "is locked")
	h.fsck()

	// Who hangs up is not signed out.
	_, cookie = h.signIn("2002", desk)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := h.gate.Session(gone, cookie, ""); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	h.must(h.open(cookie))
	// What nobody comes back to is closed when somebody else comes in.
	h.wait(16 * time.Minute)
	before := h.store.Size()
	h.joins("2005", password, "warehouse")
	left := h.store.Size()
	h.signIn("2005", desk)
	if got := h.kinds(left); len(got) != 2 || !strings.HasPrefix(got[1], "session.closed") || len(h.gate.sessions) != 1 {
		t.Errorf("it left %v and before %v", got, h.kinds(before))
	}
}

func TestSessionsOfOthers(t *testing.T) {
	h := newGateHouse(t)
	ctx := t.Context()
	a, cookieA := h.signIn("2001", desk)
	h.wait(time.Second)
	b, cookieB := h.signIn("2001", away)
	h.wait(time.Second)
	c, cookieC := h.signIn("2002", desk)
	ids := func(person string) (all []string) {
		for _, s := range h.gate.Sessions(person) {
			all = append(all, s.ID)
		}
		return all
	}
	if got := ids(""); fmt.Sprint(got) != fmt.Sprint([]string{a.ID, b.ID, c.ID}) {
		t.Errorf("%v", got)
	}
	if got := ids("2001"); fmt.Sprint(got) != fmt.Sprint([]string{a.ID, b.ID}) {
		t.Errorf("%v", got)
	}
	before := h.store.Size()
	h.must(h.gate.Close(ctx, b.ID, "2002", "not at the desk"))
	all, err := h.store.Entries(ctx, before, 10)
	h.must(err)
	if len(all) != 1 || all[0].Kind != "session.closed" || all[0].Actor != "person/2002" || all[0].Data["person"] != "2001" || all[0].Data["why"] != "not at the desk" {
		t.Errorf("%+v", all)
	}
	h.refused(h.gate.Close(ctx, b.ID, "2002", ""), ErrSession, "")
	h.refused(h.gate.Close(ctx, "", "2002", ""), ErrSession, "")
	h.refused(h.open(cookieB), ErrSession, "")
	h.must(h.open(cookieA))
	// Who leaves is out at once.
	h.must(h.change(func(tx *store.Tx) error { return h.people.Leave(tx, "2001") }))
	before = h.store.Size()
	h.must(h.gate.EndAll(ctx, "2001", "system:access", "left"))
	if got := h.kinds(before); len(got) != 1 || got[0] != "session.closed session/"+a.ID {
		t.Errorf("it left %v", got)
	}
	h.must(h.gate.EndAll(ctx, "2001", "system:access", "left"))
	h.refused(h.open(cookieA), ErrSession, "")
	h.must(h.open(cookieC))
	h.wait(16 * time.Minute)
	if got := ids(""); len(got) != 0 {
		t.Errorf("idle, and listed: %v", got)
	}
	h.fsck()
}

// Strangers make the gate remember only so much, and do not make it forget the
// tries at one place by tries at many.
func TestGateMemory(t *testing.T) {
	h := newGateHouse(t)
	l, now := DefaultPolicy().Limits, h.now()
	for range 5 {
		h.must(h.gate.try(First{Person: "2001", From: away}, l, now))
	}
	for i := range maxAttempts + 10 {
		h.must(h.gate.try(First{Person: fmt.Sprint("x", i), From: away}, l, now.Add(time.Duration(i))))
		if len(h.gate.places) > maxAttempts {
			t.Fatalf("%d places", len(h.gate.places))
		}
	}
	h.refused(h.gate.try(First{Person: "2001", From: away}, l, now), ErrWait, "")
	if p := h.gate.places[where{away, "x5"}]; p != nil {
		t.Error("the oldest is there")
	}
	h.must(h.gate.try(First{Person: "y", From: away}, l, now.Add(time.Hour)))
	if len(h.gate.places) != 1 {
		t.Errorf("%d places after all are over", len(h.gate.places))
	}
	// Challenges: only who gave a first proof gets one, and not without end.
	for i := range maxAttempts {
		h.gate.attempts[fmt.Sprint(i)] = attempt{ends: now.Add(time.Minute)}
	}
	_, err := h.begin("2001", password, desk)
	h.refused(err, ErrWait, "")
	h.wait(2 * time.Minute)
	if _, err := h.begin("2001", password, desk); err != nil || len(h.gate.attempts) != 1 {
		t.Errorf("%d challenges, %v", len(h.gate.attempts), err)
	}
}

// Everybody at once, for the race detector.
func TestGateAtOnce(t *testing.T) {
	h := newGateHouse(t)
	ctx := context.WithoutCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			id := []string{"2001", "2002"}[i%2]
			for range 5 {
				c, err := h.gate.Begin(ctx, First{Person: id, Password: password, From: fmt.Sprint("192.0.2.", i)})
				if err != nil {
					t.Error(err)
					return
				}
				a, err := h.keys[id].Sign(c.Bytes)
				if err != nil {
					t.Error(err)
					return
				}
				s, cookie, err := h.gate.End(ctx, c.Attempt, a, "")
				if err != nil {
					t.Error(err)
					return
				}
				h.gate.Begin(ctx, First{Person: id, Password: "wrong", From: fmt.Sprint("198.51.100.", i)})
				if _, _, err := h.gate.Session(ctx, cookie, ""); err != nil && !errors.Is(err, ErrSession) {
					t.Error(err)
				}
				h.gate.Sessions("")
				if i == 0 {
					err = h.gate.EndAll(ctx, id, "system:access", "test")
				} else {
					err = h.gate.Close(ctx, s.ID, id, "test")
				}
				if err != nil && !errors.Is(err, ErrSession) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	h.must(h.gate.EndAll(ctx, "", "system:access", "test"))
	opened, closed := 0, 0
	for _, k := range h.kinds(0) {
		if strings.HasPrefix(k, "session.opened") {
			opened++
		}
		if strings.HasPrefix(k, "session.closed") {
			closed++
		}
	}
	if opened != 40 || closed != 40 {
		t.Errorf("%d were opened and %d closed", opened, closed)
	}
	h.fsck()
}

func TestGateNeedsAPolicy(t *testing.T) {
	_, d := open(t)
	if _, err := NewGate(d).Begin(t.Context(), First{Person: "1"}); err == nil || !strings.Contains(err.Error(), "no policy yet") {
		t.Error(err)
	}
	if got := Fingerprint([]byte("x")); got != fmt.Sprintf("%x", sha256.Sum256([]byte("x"))) {
		t.Error(got)
	}
}
