package keys_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/keys"
	. "ankan/keys/keystest"
)

const (
	hash   = crypto.SHA256
	noHash = crypto.Hash(0)
)

var errGone = errors.New("the cable is out")

// fails makes one operation of the module fail: before it is done, or after.
func fails(s *Site, op string, after bool) {
	s.Module.Fault = func(o, _ string, a bool) error {
		if o == op && a == after {
			return errGone
		}
		return nil
	}
}

func state(s *Site, id string) keys.State {
	s.Helper()
	k, err := s.Register.Key(context.Background(), id)
	if errors.Is(err, keys.ErrNoKey) {
		return ""
	}
	s.Must(err)
	return k.State
}

// life is the kinds of what happened to a key.
func life(s *Site, id string) string {
	s.Helper()
	events, err := s.Register.Events(context.Background(), id)
	s.Must(err)
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, strings.TrimPrefix(e.What, "key."))
	}
	return strings.Join(kinds, " ")
}

func TestMaking(t *testing.T) {
	for name, c := range map[string]struct {
		spoil   func(s *Site)
		ctx     func(context.Context) context.Context
		err     error
		state   keys.State // afterwards
		after   keys.State // after the site was opened again
		life    string
		another error // when it is made again
	}{
		"well":                     {state: keys.Live, after: keys.Live, life: "making there", another: hsm.ErrKeyExists},
		"unconfirmed":              {ctx: keys.Unconfirmed, state: keys.PreActivation, after: keys.PreActivation, life: "making there", another: hsm.ErrKeyExists},
		"failed, did not happen":   {spoil: func(s *Site) { fails(s, "Generate", false) }, err: errGone, life: "making not-made"},
		"failed, but happened":     {spoil: func(s *Site) { fails(s, "Generate", true) }, state: keys.Live, after: keys.Live, life: "making there", another: hsm.ErrKeyExists},
		"power cut before":         {spoil: func(s *Site) { s.DieAfter(1) }, err: ErrDead, state: keys.Making, life: "making not-made"},
		"power cut after":          {spoil: func(s *Site) { s.DieAfter(2) }, err: ErrDead, state: keys.Making, after: keys.Live, life: "making there", another: hsm.ErrKeyExists},
		"unconfirmed, power cut":   {spoil: func(s *Site) { s.DieAfter(2) }, ctx: keys.Unconfirmed, err: ErrDead, state: keys.Making, after: keys.PreActivation, life: "making there", another: hsm.ErrKeyExists},
		"power cut before all":     {spoil: func(s *Site) { s.DieAfter(0) }, err: ErrDead},
		"power cut at the outcome": {spoil: func(s *Site) { s.DieAfter(3) }, state: keys.Live, after: keys.Live, life: "making there", another: hsm.ErrKeyExists},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(t, "bureau", Options{})
			ctx := t.Context()
			if c.ctx != nil {
				ctx = c.ctx(ctx)
			}
			if c.spoil != nil {
				c.spoil(s)
			}
			_, err := s.Guard.Generate(ctx, "k", hsm.Transport, hsm.AES256)
			if !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v", err, c.err)
			}
			if got := state(s, "k"); got != c.state {
				t.Errorf("the key is %q, want %q", got, c.state)
			}
			s.Reopen()
			if got := state(s, "k"); got != c.after || life(s, "k") != c.life {
				t.Errorf("the key is %q after %q, want %q after %q", got, life(s, "k"), c.after, c.life)
			}
			_, err = s.Guard.Generate(t.Context(), "k", hsm.Transport, hsm.AES256)
			if !errors.Is(err, c.another) || c.another == nil && err != nil {
				t.Errorf("again: got %v, want %v", err, c.another)
			}
			if got := state(s, "k"); got != keys.Live && got != keys.PreActivation {
				t.Errorf("in the end the key is %q", got)
			}
		})
	}
}

// A module that is gone says nothing: the register asks again when the key is
// to be made again, and takes it as what it was to be then.
func TestMakingInDoubt(t *testing.T) {
	for _, happened := range []bool{true, false} {
		s := New(t, "bureau", Options{})
		ctx := t.Context()
		gone := false
		s.Module.Fault = func(op, _ string, after bool) error {
			if op == "Generate" && after == happened {
				gone = true
			}
			if gone {
				return errGone
			}
			return nil
		}
		_, err := s.Guard.Generate(keys.Unconfirmed(ctx), "k", hsm.Transport, hsm.AES256)
		s.Refused(err, errGone, "whether it was made is not known")
		s.Refused(s.Guard.SealColumn(ctx, "k", zeros(16), zeros(16)), hsm.ErrNoKey)
		if state(s, "k") != keys.Making {
			t.Errorf("the key is %s", state(s, "k"))
		}
		_, err = s.Guard.Generate(ctx, "k", hsm.Transport, hsm.AES256)
		s.Refused(err, errGone)
		s.Module.Fault = nil
		// As something else, by another road, it does not skip the two people.
		_, err = s.Guard.Generate(ctx, "k", hsm.Transport, hsm.AES256)
		if happened {
			s.Refused(err, hsm.ErrKeyExists)
			if state(s, "k") != keys.PreActivation || life(s, "k") != "making there" {
				t.Errorf("the key is %s after %s", state(s, "k"), life(s, "k"))
			}
			s.Refused(s.Guard.SealColumn(ctx, "k", zeros(16), zeros(16)), keys.ErrState, "two people")
		} else if err != nil || state(s, "k") != keys.Live || life(s, "k") != "making not-made making there" {
			t.Errorf("%v, the key is %s after %s", err, state(s, "k"), life(s, "k"))
		}
	}
}

// Nobody need ask for a key again to have the site find out whether it was made.
func TestSettle(t *testing.T) {
	for _, happened := range []bool{true, false} {
		s := New(t, "bureau", Options{})
		ctx := t.Context()
		gone := false
		s.Module.Fault = func(op, _ string, after bool) error {
			gone = gone || op == "Generate" && after == happened
			if gone {
				return errGone
			}
			return nil
		}
		_, err := s.Guard.Generate(ctx, "k", hsm.Transport, hsm.AES256)
		s.Refused(err, errGone, "whether it was made is not known")
		s.Refused(s.Guard.Settle(ctx), errGone)
		s.Module.Fault = nil
		for range 2 {
			s.Must(s.Guard.Settle(ctx))
		}
		switch _, err := s.Register.Key(ctx, "k"); {
		case happened && (err != nil || state(s, "k") != keys.Live || life(s, "k") != "making there"):
			t.Errorf("%v, after %s", err, life(s, "k"))
		case !happened && !errors.Is(err, keys.ErrNoKey):
			t.Errorf("a key that was not made: %v", err)
		}
		if happened {
			s.Must(s.Guard.SealColumn(ctx, "k", zeros(16), zeros(16)))
		}
	}
}

// What lies under the name of a key that was being made is not taken for it.
func TestMakingAnother(t *testing.T) {
	s := New(t, "bureau", Options{})
	ctx := t.Context()
	s.DieAfter(1)
	_, err := s.Guard.Generate(ctx, "k", hsm.Transport, hsm.AES256)
	s.Refused(err, ErrDead)
	s.DieAfter(1000)
	_, err = s.Module.Module.Generate(ctx, "k", hsm.Exchange, hsm.AES256)
	s.Must(err)
	_, err = s.Register.Reconcile(ctx, s.Module)
	s.Refused(err, hsm.ErrKeyExists, "it was to be AES-256 for \"transport\", the module has AES-256 for \"exchange\"")
}

// One name at once: one makes it, the others hear that it exists.
func TestMakingAtOnce(t *testing.T) {
	s := New(t, "bureau", Options{})
	ctx := context.WithoutCancel(t.Context())
	var mu sync.Mutex
	var won []hsm.Key
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			k, err := s.Guard.Generate(ctx, "k", hsm.Transport, hsm.AES256)
			if err != nil && !errors.Is(err, hsm.ErrKeyExists) {
				t.Error(err)
			}
			if err == nil {
				mu.Lock()
				won = append(won, k)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(won) != 1 || state(s, "k") != keys.Live || life(s, "k") != "making there" {
		t.Errorf("%d made it; it is %s after %s", len(won), state(s, "k"), life(s, "k"))
	}
}

// holders are three custodians and the places to which is sealed for them.
func holders() (all []hsmtest.Holder, to []hsm.Holder) {
	for _, who := range Custodians() {
		h := hsmtest.NewHolder(who)
		all, to = append(all, h), append(to, h.Holder)
	}
	return all, to
}

// A key whose shares were lost on their way out of the module is erased.
func TestLostShares(t *testing.T) {
	s := New(t, "bureau", Options{})
	_, to := holders()
	fails(s, "GenerateShared", true)
	k, shares, err := s.Guard.GenerateShared(t.Context(), "k", hsm.Subscriber, hsm.AES256, "set", 2, to)
	s.Refused(err, errGone, "its shares were lost", "erased")
	if k.ID != "" || shares != nil || state(s, "k") != keys.Destroyed {
		t.Errorf("%+v, %d shares; it is %s", k, len(shares), state(s, "k"))
	}
	if _, err := s.Module.Module.Key(t.Context(), "k"); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("the module: %v", err)
	}
	fails(s, "GenerateShared", false)
	_, _, err = s.Guard.GenerateShared(t.Context(), "k2", hsm.Subscriber, hsm.AES256, "set", 2, to)
	s.Refused(err, errGone)
	if state(s, "k2") != "" {
		t.Errorf("it is %s", state(s, "k2"))
	}
}

func TestDestroying(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(s *Site)
		err   error
		state keys.State
		after keys.State
		life  string
	}{
		"well":                   {state: keys.Destroyed, after: keys.Destroyed, life: "erasing erased"},
		"failed, did not happen": {spoil: func(s *Site) { fails(s, "Destroy", false) }, err: errGone, state: keys.Live, after: keys.Live, life: "erasing"},
		"failed, but happened":   {spoil: func(s *Site) { fails(s, "Destroy", true) }, state: keys.Destroyed, after: keys.Destroyed, life: "erasing erased"},
		"module lost it":         {spoil: func(s *Site) { s.Must(s.Module.Module.Destroy(context.Background(), "k")) }, state: keys.Destroyed, after: keys.Destroyed, life: "erasing erased"},
		"power cut before":       {spoil: func(s *Site) { s.DieAfter(1) }, err: ErrDead, state: keys.Live, after: keys.Live, life: "erasing"},
		"power cut after":        {spoil: func(s *Site) { s.DieAfter(2) }, err: ErrDead, state: keys.Live, after: keys.Destroyed, life: "erasing erased"},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(t, "bureau", Options{})
			ctx := t.Context()
			_, err := s.Guard.Generate(ctx, "k", hsm.Transport, hsm.AES256)
			s.Must(err)
			if c.spoil != nil {
				c.spoil(s)
			}
			for range 2 { // a second try enters no second intent
				if err := s.Guard.Destroy(ctx, "k"); !errors.Is(err, c.err) && !errors.Is(err, hsm.ErrNoKey) {
					t.Errorf("got %v, want %v", err, c.err)
				}
			}
			if got := state(s, "k"); got != c.state {
				t.Errorf("the key is %s, want %s", got, c.state)
			}
			s.Reopen()
			if got := state(s, "k"); got != c.after || life(s, "k") != "making there "+c.life {
				t.Errorf("the key is %s after %q, want %s after %q", got, life(s, "k"), c.after, c.life)
			}
			if err := s.Guard.Destroy(ctx, "k"); err != nil && !errors.Is(err, hsm.ErrNoKey) {
				t.Errorf("again: %v", err)
			}
			// Its name is used up, whatever would come under it.
			_, to := holders()
			_, e1 := s.Guard.Generate(ctx, "k", hsm.Transport, hsm.AES256)
			_, _, e2 := s.Guard.GenerateShared(ctx, "k", hsm.Transport, hsm.AES256, "set", 2, to)
			for _, err := range []error{e1, e2} {
				s.Refused(err, hsm.ErrKeyExists)
			}
			copies, err := s.Register.Copies(ctx, "k")
			if err != nil || len(copies) != 1 || copies[0].Gone.IsZero() {
				t.Errorf("%+v, %v", copies, err)
			}
		})
	}
	s := New(t, "bureau", Options{})
	s.Refused(s.Guard.Destroy(t.Context(), "none"), hsm.ErrNoKey)
}

func TestReconcile(t *testing.T) {
	s := New(t, "bureau", Options{})
	ctx := t.Context()
	for _, id := range []string{"kept", "lost", "swapped", "gone"} {
		_, err := s.Guard.Generate(ctx, id, hsm.Transport, hsm.AES256)
		s.Must(err)
	}
	s.Must(s.Guard.Destroy(ctx, "gone"))
	if missing := s.Reload(); missing != nil {
		t.Errorf("%v", missing)
	}
	// Another module, in which one key is back, one is another, and one is new.
	lost := s.Replace()
	if !slices.Equal(lost, []string{SiteKey, "kept", "lost", "swapped"}) {
		t.Errorf("%v", lost)
	}
	for _, id := range []string{"gone", "swapped", "new"} {
		_, err := s.Module.Generate(ctx, id, hsm.Transport, hsm.AES256)
		s.Must(err)
	}
	for range 2 { // what was said is not said again
		if missing := s.Reload(); !slices.Equal(missing, []string{SiteKey, "kept", "lost"}) {
			t.Errorf("%v", missing)
		}
	}
	for id, want := range map[string]string{
		"kept": "active: making there missing", "swapped": "suspended: making there missing differs", "gone": "destroyed: making there erasing erased came-back", "new": "active: found",
	} {
		if got := fmt.Sprint(state(s, id), ": ", life(s, id)); got != want {
			t.Errorf("key %s is %s, want %s", id, got, want)
		}
	}
	for id, want := range map[string]error{"lost": hsm.ErrNoKey, "swapped": keys.ErrState, "gone": hsm.ErrNoKey} {
		s.Refused(s.Guard.SealColumn(ctx, id, zeros(16), zeros(16)), want)
	}
	var told int
	s.Must(s.Store.QueryRow(ctx, `SELECT count(*) FROM notice WHERE person = $1 AND kind IN ('key.missing', 'key.differs', 'key.came-back')`, KeyManager).Scan(&told))
	if told != 6 {
		t.Errorf("%d notices, want 6", told)
	}
}

// A key that the module has lost comes back from its shares, under its name.
func TestRegain(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(s *Site)
		err    error
		before keys.State // it was so when it was lost
		after  keys.State // when two people have confirmed it
	}{
		"well":                 {before: keys.Live, after: keys.Live},
		"deactivated":          {before: keys.Deactivated, after: keys.Deactivated},
		"suspended":            {before: keys.Suspended, after: keys.Live},
		"failed, but happened": {before: keys.Live, after: keys.Live, spoil: func(s *Site) { fails(s, "Restore", true) }},
		"did not happen":       {before: keys.Live, spoil: func(s *Site) { fails(s, "Restore", false) }, err: errGone},
		"power cut before":     {before: keys.Live, spoil: func(s *Site) { s.DieAfter(1) }, err: ErrDead},
		"power cut after":      {before: keys.Live, after: keys.Live, spoil: func(s *Site) { s.DieAfter(2) }, err: ErrDead},
		"compromised":          {before: keys.Compromised, err: hsm.ErrKeyExists},
		"destroyed":            {before: keys.Destroyed, err: hsm.ErrKeyExists},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(t, "bureau", Options{})
			ctx := t.Context()
			custodians, to := holders()
			made, shares, err := s.Guard.GenerateShared(ctx, "k", hsm.Subscriber, hsm.AES256, "set", 2, to)
			s.Must(err)
			move(s, "k", c.before)
			s.Replace()
			agree, err := s.Guard.Generate(ctx, "agree", hsm.Agree, hsm.P521)
			s.Must(err)
			for i, h := range custodians {
				shares[i], err = h.PassShare(shares[i], agree.Public)
				s.Must(err)
			}
			restore := func() (hsm.Key, error) {
				return s.Guard.Restore(ctx, "agree", shares[1:], "k", hsm.Subscriber, hsm.AES256)
			}
			if c.spoil != nil {
				c.spoil(s)
			}
			_, err = restore()
			if !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v", err, c.err)
			}
			s.Reopen()
			if c.err == hsm.ErrKeyExists {
				if got := state(s, "k"); got != c.before {
					t.Errorf("it is %s", got)
				}
				return
			}
			if got := state(s, "k"); got != keys.PreActivation {
				t.Errorf("it is %s, want that two people confirm it", got)
			}
			if _, err := restore(); c.err == errGone || name == "power cut before" {
				s.Must(err)
			} else {
				s.Refused(err, hsm.ErrKeyExists)
			}
			back, err := s.Guard.Key(ctx, "k")
			s.Must(err)
			if same, err := back.KCV.Matches(made.KCV); !same || err != nil {
				t.Errorf("%v, %v, want %v", back.KCV, err, made.KCV)
			}
			move(s, "k", keys.Live)
			if got := state(s, "k"); c.after != "" && got != c.after {
				t.Errorf("it is %s, want %s", got, c.after)
			}
		})
	}
}

// What is not of the key does not come back as it.
func TestRegainRefuses(t *testing.T) {
	s := New(t, "bureau", Options{})
	ctx := t.Context()
	_, to := holders()
	for _, id := range []string{"k", "other"} {
		_, _, err := s.Guard.GenerateShared(ctx, id, hsm.Subscriber, hsm.AES256, "set", 2, to)
		s.Must(err)
	}
	_, shares, err := s.Guard.GenerateShared(ctx, "third", hsm.Subscriber, hsm.AES256, "set", 2, to)
	s.Must(err)
	_, err = s.Guard.Generate(ctx, "agree", hsm.Agree, hsm.P521)
	s.Must(err)
	_, err = s.Guard.Restore(ctx, "agree", shares, "k", hsm.Subscriber, hsm.AES256)
	s.Refused(err, hsm.ErrKeyExists) // the module has it
	s.Replace()
	_, err = s.Guard.Generate(ctx, "agree2", hsm.Agree, hsm.P521)
	s.Must(err)
	_, err = s.Guard.Restore(ctx, "agree2", nil, "k", hsm.Subscriber, hsm.AES256)
	s.Refused(err, hsm.ErrFew)
	_, err = s.Guard.Restore(ctx, "agree2", shares, "k", hsm.Subscriber, hsm.AES256)
	s.Refused(err, hsm.ErrKCV, "part 1, of "+Custodian1)
	_, err = s.Guard.Restore(ctx, "agree2", shares, "k", hsm.Transport, hsm.AES256)
	s.Refused(err, hsm.ErrPurpose)
	if state(s, "k") != keys.PreActivation { // it was tried, and the module has lost it
		t.Errorf("it is %s", state(s, "k"))
	}
}
