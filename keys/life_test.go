package keys_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ankan/act"
	"ankan/audit"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/keys"
	. "ankan/keys/keystest"
	"ankan/store"
)

var entry = audit.Entry{Kind: "test", Actor: "test"}

// move takes a key to a state, by whatever roads lead there.
func move(s *Site, id string, to keys.State) {
	s.Helper()
	if state(s, id) == to {
		return
	}
	if to == keys.Destroyed {
		s.Must(s.Guard.Destroy(context.Background(), id))
		return
	}
	s.Change(func(tx *store.Tx) error { return s.Register.Move(tx, id, to, "test", "test", "") })
	s.Must(s.Guard.Reload(context.Background()))
}

// Every pair of states: the roads that there are, and no other.
func TestTransitions(t *testing.T) {
	all := []keys.State{keys.Making, keys.PreActivation, keys.Live, keys.Suspended, keys.Deactivated, keys.Compromised, keys.Destroyed}
	roads := map[string]bool{}
	for _, r := range strings.Fields(`
		pre-activation>active pre-activation>suspended pre-activation>compromised pre-activation>destroyed
		active>suspended active>deactivated active>compromised active>destroyed
		suspended>active suspended>deactivated suspended>compromised suspended>destroyed
		deactivated>compromised deactivated>destroyed compromised>destroyed`) {
		roads[r] = true
	}
	s := New(t, "bureau", Options{})
	for _, from := range all {
		for _, to := range all {
			name := fmt.Sprintf("%s>%s", from, to)
			_, err := s.Guard.Generate(t.Context(), name, hsm.Transport, hsm.AES256)
			s.Must(err)
			setState(s, name, from)
			err = s.Store.Change(t.Context(), entry, func(tx *store.Tx) error { return s.Register.Move(tx, name, to, "person/1", "test", "why") })
			if !roads[name] {
				s.Refused(err, keys.ErrState, "it is "+string(from)+", and cannot become "+string(to))
				continue
			}
			if err != nil || state(s, name) != to {
				t.Errorf("%s: %v, it is %s", name, err, state(s, name))
			}
			k, err := s.Register.Key(t.Context(), name)
			s.Must(err)
			if ends := to == keys.Deactivated || to == keys.Compromised || to == keys.Destroyed; ends == k.Ended.IsZero() {
				t.Errorf("%s: ended %v", name, k.Ended)
			}
			events, err := s.Register.Events(t.Context(), name)
			s.Must(err)
			if e := events[len(events)-1]; e.What != "test" || e.Actor != "person/1" || e.Text != "why" || e.Entry != s.Store.Size()-1 {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
	err := s.Store.Change(t.Context(), entry, func(tx *store.Tx) error { return s.Register.Move(tx, "none", keys.Live, "", "", "") })
	s.Refused(err, keys.ErrNoKey)
}

// Suspending a key that nobody confirmed, and lifting it, confirms nothing.
func TestSuspendedUnconfirmed(t *testing.T) {
	s := New(t, "bureau", Options{})
	_, err := s.Guard.Generate(keys.Unconfirmed(t.Context()), "k", hsm.Transport, hsm.AES256)
	s.Must(err)
	s.Must(s.Do("key.suspend", "key/k", Officer))
	s.Must(s.Do("key.resume", "key/k", KeyManager, Officer))
	if state(s, "k") != keys.PreActivation {
		t.Errorf("it is %s", state(s, "k"))
	}
	s.Refused(s.Guard.SealColumn(t.Context(), "k", zeros(16), zeros(16)), keys.ErrState, "two people")
}

func TestDeeds(t *testing.T) {
	s := New(t, "bureau", Options{})
	ctx := t.Context()
	_, err := s.Guard.Generate(ctx, "k", hsm.Transport, hsm.AES256)
	s.Must(err)
	seal := func() error { return s.Guard.SealColumn(ctx, "k", zeros(16), zeros(16)) }
	s.Must(seal())
	s.Refused(s.Do("key.resume", "key/k", KeyManager, Officer), keys.ErrState, "it is active")
	s.Must(s.Do("key.suspend", "key/k", Officer))
	s.Refused(seal(), keys.ErrState, "suspended")
	s.Refused(s.Do("key.suspend", "key/k", Officer), keys.ErrState)
	s.Refused(s.Do("key.resume", "key/k", KeyManager), act.ErrOpen)
	s.Must(s.Do("key.resume", "key/k", KeyManager, Officer))
	s.Must(seal())
	// What was approved of one state is not done in another.
	a, err := s.Ask("key.deactivate", "key/k", KeyManager, Officer)
	s.Must(err)
	s.Must(s.Do("key.suspend", "key/k", Officer))
	s.Refused(s.Perform(a), act.ErrNotAllowed)
	s.Must(s.Do("key.deactivate", "key/k", KeyManager, Officer))
	s.Refused(seal(), keys.ErrState, "deactivated")
	s.Must(s.Do("key.compromise", "key/k", Custodian1))
	s.Refused(s.Do("key.compromise", "key/k", Custodian1), keys.ErrState, "already")
	for _, subject := range []string{"k", "key/none", "keys/k"} {
		if err := s.Do("key.suspend", subject, Officer); err == nil {
			t.Errorf("%s is suspended", subject)
		}
	}
	if got := life(s, "k"); got != "making there suspend resume suspend deactivate compromise" {
		t.Error(got)
	}
	if b := s.Verify(); b.Used != 5 {
		t.Errorf("%d warrants used, want 5", b.Used)
	}
}

func TestCompromise(t *testing.T) {
	s := New(t, "bureau", Options{})
	ctx := t.Context()
	for id, k := range map[string]hsm.Purpose{"kek": hsm.Exchange, "back": hsm.Exchange, "deep": hsm.Transport} {
		_, err := s.Guard.Generate(ctx, id, k, hsm.AES256)
		s.Must(err)
	}
	// kek wraps deep and back; back wraps kek: a circle.
	for _, w := range [][2]string{{"deep", "kek"}, {"back", "kek"}, {"kek", "back"}} {
		_, err := s.Guard.Export(keys.For(ctx, "partner/op"), w[0], hsm.Wrapping{Format: hsm.KWP, Key: w[1]})
		s.Must(err)
	}
	s.Must(s.Guard.SealColumn(keys.For(ctx, "order/9"), "deep", zeros(16), zeros(16)))
	s.Must(s.Guard.Flush(ctx))
	touched, err := s.Register.Touches(ctx, "kek")
	s.Must(err)
	if want := []string{"key/back", "key/deep", "order/9", "partner/op"}; !slices.Equal(touched, want) {
		t.Errorf("touched %q, want %q", touched, want)
	}
	a, err := s.Act("key.compromise", "key/kek", HSMAdmin)
	s.Must(err)
	if a.Params["touched"] != "4" || len(a.Params["touched_sha256"]) != 64 || a.Params["parties"] != "op" {
		t.Errorf("%v", a.Params)
	}
	s.Must(s.Do("key.compromise", "key/kek", HSMAdmin))
	reports, err := s.Register.Reports(ctx)
	s.Must(err)
	if len(reports) != 1 || reports[0].Key != "kek" || reports[0].By != "person/"+HSMAdmin || !slices.Equal(reports[0].Touched, touched) ||
		len(reports[0].Parties) != 1 || reports[0].Parties[0].Name != "op" || !reports[0].Parties[0].Sent.IsZero() {
		t.Errorf("%+v", reports)
	}
	for _, who := range append(Custodians(), KeyManager, HSMAdmin, Officer) {
		var n int
		s.Must(s.Store.QueryRow(ctx, `SELECT count(*) FROM notice WHERE person = $1 AND kind = 'key.compromised' AND subject = 'key/kek'`, who).Scan(&n))
		if n != 1 {
			t.Errorf("person %s was told %d times", who, n)
		}
	}
	// A partner of whom is heard only now is told too.
	s.Change(func(tx *store.Tx) error { return keys.PutLink(tx, "kek", "partner/late", 1) })
	tell, err := s.Register.ToTell(ctx)
	if want := [][2]string{{"kek", "late"}, {"kek", "op"}}; err != nil || !slices.Equal(tell, want) {
		t.Errorf("%v, %v, want %v", tell, err, want)
	}
}

// A key that came by another knows it: TakeKey, Combine, Restore, Import.
func TestGenealogy(t *testing.T) {
	s := New(t, "bureau", Options{})
	other := hsmtest.Soft(t, nil)
	ctx := t.Context()
	agree, err := s.Guard.Generate(ctx, "agree", hsm.Agree, hsm.P521)
	s.Must(err)
	_, err = other.Generate(ctx, "k", hsm.Transport, hsm.AES256)
	s.Must(err)
	given, err := other.GiveKey(ctx, "k", agree.Public, "label")
	s.Must(err)
	_, err = s.Guard.TakeKey(keys.For(ctx, "partner/op"), "agree", given, "label", "taken", hsm.Transport, hsm.AES256)
	s.Must(err)
	_, err = s.Guard.TakeKey(ctx, "agree", given, "other label", "not", hsm.Transport, hsm.AES256)
	s.Refused(err, hsm.ErrSealed)
	touched, err := s.Register.Touches(ctx, "agree")
	if want := []string{"key/taken", "partner/op"}; err != nil || !slices.Equal(touched, want) {
		t.Errorf("%v, %v", touched, err)
	}
	if k, err := s.Register.Key(ctx, "taken"); err != nil || !slices.Equal(k.Parties, []string{"op"}) || k.Origin != keys.Given {
		t.Errorf("%+v, %v", k, err)
	}
}

func TestRegister(t *testing.T) {
	s := New(t, "bureau", Options{})
	ctx := t.Context()
	for i := range 5 {
		_, err := s.Guard.Generate(keys.For(ctx, "partner/op"), fmt.Sprintf("transport/op/%d", i), hsm.Transport, hsm.AES256)
		s.Must(err)
	}
	_, err := s.Guard.Generate(ctx, "Order/9", hsm.Order, hsm.AES256)
	s.Must(err)
	k, err := s.Register.Key(ctx, "transport/op/3")
	s.Must(err)
	if !k.Made.Equal(s.Now()) || !k.Activated.Equal(s.Now()) || k.Expires.IsZero() || !k.Ended.IsZero() { // made and activated in the same second
		t.Errorf("%+v", k)
	}
	for _, c := range []struct {
		f    keys.Filter
		want string
		n    int
	}{
		{keys.Filter{}, "Order/9 documents transport/op/0 transport/op/1 transport/op/2 transport/op/3 transport/op/4", 7},
		{keys.Filter{Purpose: "order"}, "Order/9", 1},
		{keys.Filter{State: "suspended"}, "", 0},
		{keys.Filter{Partner: "op", Limit: 2, Offset: 1}, "transport/op/1 transport/op/2", 5},
		{keys.Filter{Text: "oRDER"}, "Order/9", 1},
		{keys.Filter{Text: strings.ToLower(k.KCV)}, k.ID, 1},
		{keys.Filter{Text: "'; DROP TABLE key; --"}, "", 0},
	} {
		all, n, err := s.Register.Keys(ctx, c.f)
		s.Must(err)
		var ids []string
		for _, k := range all {
			ids = append(ids, k.ID)
		}
		if strings.Join(ids, " ") != c.want || n != c.n {
			t.Errorf("%+v: %d, %q, want %d, %q", c.f, n, ids, c.n, c.want)
		}
		if c.f.Text == "" && c.f.State == "" && c.f.Purpose == "" && c.f.Partner == "" {
			if got := keys.Purposes(all); !slices.Equal(got, []string{"order", "site", "transport"}) {
				t.Errorf("%v", got)
			}
		}
	}
	c := keys.Copy{Key: k.ID, Kind: keys.CopyShare, Number: 1, Of: 3, Holder: Custodian1, Place: "set", Sealed: []byte("sealed")}
	s.Change(func(tx *store.Tx) error { return keys.PutCopy(tx, c) })
	held, err := s.Register.Held(ctx, Custodian1)
	if err != nil || len(held) != 1 || held[0].Name() != "share 1 of 3, 1005, set" || string(held[0].Sealed) != "sealed" {
		t.Errorf("%+v, %v", held, err)
	}
	s.Change(func(tx *store.Tx) error { return keys.CopyGone(tx, c) })
	err = s.Store.Change(ctx, entry, func(tx *store.Tx) error { return keys.CopyGone(tx, c) })
	s.Refused(err, nil, "is not there, or is gone already")
	copies, err := s.Register.Copies(ctx, k.ID)
	if err != nil || len(copies) != 2 || copies[1].Gone.IsZero() || copies[1].Sealed != nil {
		t.Errorf("%+v, %v", copies, err)
	}
}
