package keys_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"ankan/act"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/keys"
	. "ankan/keys/keystest"
	"ankan/store"
)

// A guard is a module: whatever the module beneath it passes, it passes, once
// two people have confirmed what came from elsewhere.
func TestGuardConforms(t *testing.T) {
	hsmtest.Run(t, func(t *testing.T) hsm.Module {
		s := New(t, "bureau", Options{Change: func(p *act.Policy, _ []act.Person) {
			lot := p.Keys["lot"]
			for _, a := range []hsm.Algorithm{hsm.LotEMV, hsm.LotVISA2, hsm.LotNone3DES, hsm.LotKDF3, hsm.LotKDF3Short, hsm.LotNone, hsm.LotNoneShort} {
				lot.Algorithms = append(lot.Algorithms, string(a))
			}
			p.Keys["lot"] = lot
		}})
		s.Must(s.Guard.Destroy(t.Context(), SiteKey)) // the suite wants an empty module
		return confirming{s.Guard, s}
	})
}

// confirming is a guard whose keys are confirmed as soon as they are there, and
// waived before.
type confirming struct {
	*keys.Guard
	s *Site
}

func (c confirming) confirm(k hsm.Key, err error) (hsm.Key, error) {
	if err == nil {
		if got := state(c.s, k.ID); got != keys.PreActivation {
			c.s.Errorf("key %s came from elsewhere and is %s", k.ID, got)
		}
		move(c.s, k.ID, keys.Live)
	}
	return k, err
}

// waive puts a waiver for a key whose algorithm needs one.
func (c confirming) waive(id string, a hsm.Algorithm) {
	if !a.NeedsWaiver() {
		return
	}
	c.s.Change(func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO key_waiver (entry, key, algorithm, signed, reason, until, contract, act) VALUES ($1, $2, $3, 'person/1', 'a test', $4, '', '')`,
			tx.Index(), id, string(a), store.Stamp(c.s.Now().AddDate(1, 0, 0)))
		return err
	})
}

func (c confirming) Generate(ctx context.Context, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	c.waive(id, a)
	return c.Guard.Generate(ctx, id, p, a)
}

func (c confirming) GenerateShared(ctx context.Context, id string, p hsm.Purpose, a hsm.Algorithm, set string, threshold int, to []hsm.Holder) (hsm.Key, []hsm.Share, error) {
	c.waive(id, a)
	return c.Guard.GenerateShared(ctx, id, p, a, set, threshold, to)
}

func (c confirming) TakeKey(ctx context.Context, agree string, given hsm.Given, label, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	c.waive(id, a)
	return c.Guard.TakeKey(ctx, agree, given, label, id, p, a)
}

func (c confirming) Combine(ctx context.Context, agree string, parts []hsm.Component, id string, p hsm.Purpose, a hsm.Algorithm, want hsm.KCV) (hsm.Key, error) {
	c.waive(id, a)
	return c.confirm(c.Guard.Combine(ctx, agree, parts, id, p, a, want))
}

func (c confirming) Restore(ctx context.Context, agree string, shares []hsm.Share, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	c.waive(id, a)
	return c.confirm(c.Guard.Restore(ctx, agree, shares, id, p, a))
}

func (c confirming) Import(ctx context.Context, blob []byte, w hsm.Wrapping, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	c.waive(id, a)
	return c.confirm(c.Guard.Import(ctx, blob, w, id, p, a))
}

// setState puts a key into a state, whatever it was.
func setState(s *Site, id string, to keys.State) {
	s.Helper()
	s.Change(func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE key SET state = $1 WHERE id = $2`, to, id)
		return err
	})
	s.Must(s.Guard.Reload(context.Background()))
}

// everything is every use of a key there is: whether it protects something new
// or opens what was protected, and how.
func everything(s *Site) []struct {
	name, key string
	protects  bool
	use       func() error
} {
	s.Helper()
	ctx := context.Background()
	g, other := s.Guard, hsmtest.Soft(s, nil)
	make := func(m hsm.Module, id string, p hsm.Purpose, a hsm.Algorithm) hsm.Key {
		s.Helper()
		k, err := m.Generate(ctx, id, p, a)
		s.Must(err)
		return k
	}
	for id, k := range map[string]struct {
		p hsm.Purpose
		a hsm.Algorithm
	}{
		"order": {hsm.Order, hsm.AES256}, "order2": {hsm.Order, hsm.AES256}, "transport": {hsm.Transport, hsm.AES256}, "op": {hsm.Operator, hsm.AES128}, "ledger": {hsm.Ledger, hsm.HMAC256},
		"lot": {hsm.Lot, hsm.AES256}, "exchange": {hsm.Exchange, hsm.AES256}, "mail": {hsm.MailSign, hsm.P256}, "open": {hsm.MailOpen, hsm.RSA3072}, "free": {hsm.Transport, hsm.AES256},
	} {
		make(g, id, k.p, k.a)
	}
	agree := make(g, "agree", hsm.Agree, hsm.P521)
	theirs := make(other, "agree", hsm.Agree, hsm.P521)
	make(other, "transport", hsm.Transport, hsm.AES256)
	dk, wrapped, err := g.NewDataKey(ctx, "order")
	s.Must(err)
	given, err := g.GiveDataKey(ctx, "order", wrapped, agree.Public, "label")
	s.Must(err)
	came, err := other.GiveKey(ctx, "transport", agree.Public, "label")
	s.Must(err)
	blob, err := g.Export(ctx, "free", hsm.Wrapping{Format: hsm.KW, Key: "exchange"})
	s.Must(err)
	column := zeros(32)
	holders := []hsmtest.Holder{hsmtest.NewHolder("1005"), hsmtest.NewHolder("1006"), hsmtest.NewHolder("1007")}
	to := []hsm.Holder{holders[0].Holder, holders[1].Holder, holders[2].Holder}
	parts, err := g.Split(ctx, "free", "set", hsm.CMAC, to[:2])
	s.Must(err)
	_, shares, err := other.GenerateShared(ctx, "shared", hsm.Transport, hsm.AES256, "set", 2, to)
	s.Must(err)
	for i := range parts {
		parts[i], err = holders[i].PassComponent(parts[i], agree.Public)
		s.Must(err)
	}
	for i := range shares {
		shares[i], err = holders[i].PassShare(shares[i], agree.Public)
		s.Must(err)
	}
	signer, err := g.Signer(ctx, "mail")
	s.Must(err)
	decrypter, err := g.Decrypter(ctx, "open")
	s.Must(err)
	n := 0
	fresh := func() string { n++; return fmt.Sprint("new/", n) }
	return []struct {
		name, key string
		protects  bool
		use       func() error
	}{
		{"Sign", "mail", true, func() error { _, err := signer.Sign(nil, zeros(32), hash); return err }},
		{"Decrypt", "open", false, func() error {
			_, err := decrypter.Decrypt(nil, zeros(384), nil)
			if errors.Is(err, keys.ErrState) || errors.Is(err, hsm.ErrNoKey) {
				return err
			}
			return nil // the message is nonsense, and that is said when the key was used
		}},
		{"MAC", "ledger", true, func() error { _, err := g.MAC(ctx, "ledger", column); return err }},
		{"NewDataKey", "order", true, func() error { _, _, err := g.NewDataKey(ctx, "order"); return err }},
		{"OpenDataKey", "order", false, func() error { _, err := g.OpenDataKey(ctx, "order", wrapped); return err }},
		{"GiveDataKey", "order", false, func() error { _, err := g.GiveDataKey(ctx, "order", wrapped, theirs.Public, "label"); return err }},
		{"TakeDataKey agree", "agree", false, func() error { _, err := g.TakeDataKey(ctx, "agree", given, "label", "order2"); return err }},
		{"TakeDataKey kek", "order2", true, func() error { _, err := g.TakeDataKey(ctx, "agree", given, "label", "order2"); return err }},
		{"GiveKey", "transport", true, func() error { _, err := g.GiveKey(ctx, "transport", theirs.Public, "label"); return err }},
		{"TakeKey", "agree", false, func() error {
			_, err := g.TakeKey(ctx, "agree", came, "label", fresh(), hsm.Transport, hsm.AES256)
			return err
		}},
		{"SealColumn", "transport", true, func() error { return g.SealColumn(ctx, "transport", column, column) }},
		{"Translate", "transport", false, func() error {
			_, err := g.Translate(ctx, "transport", column, 16, dk, func(int) []byte { return nil })
			return err
		}},
		{"OP", "op", true, func() error { _, err := g.OP(ctx, "op"); return err }},
		{"ChipKeys", "lot", false, func() error { _, err := g.ChipKeys(ctx, "lot", []byte("serial")); return err }},
		{"CheckComponent", "agree", false, func() error { return g.CheckComponent(ctx, "agree", parts[0]) }},
		{"Combine", "agree", false, func() error {
			_, err := g.Combine(ctx, "agree", parts, fresh(), hsm.Transport, hsm.AES256, hsm.KCV{})
			return err
		}},
		{"Split", "free", true, func() error { _, err := g.Split(ctx, "free", "set", hsm.GP, to[:2]); return err }},
		{"CheckShare", "agree", false, func() error { return g.CheckShare(ctx, "agree", shares[0]) }},
		{"Restore", "agree", false, func() error {
			_, err := g.Restore(ctx, "agree", shares, fresh(), hsm.Transport, hsm.AES256)
			return err
		}},
		{"Export", "free", true, func() error {
			_, err := g.Export(ctx, "free", hsm.Wrapping{Format: hsm.KW, Key: "exchange"})
			return err
		}},
		{"Export under", "exchange", true, func() error {
			_, err := g.Export(ctx, "free", hsm.Wrapping{Format: hsm.KW, Key: "exchange"})
			return err
		}},
		{"Import", "exchange", false, func() error {
			_, err := g.Import(ctx, blob, hsm.Wrapping{Format: hsm.KW, Key: "exchange"}, fresh(), hsm.Transport, hsm.AES256)
			return err
		}},
		{"Rewrap from", "order", false, func() error { _, err := g.Rewrap(ctx, "order", wrapped, "order2"); return err }},
		{"Rewrap to", "order2", true, func() error { _, err := g.Rewrap(ctx, "order", wrapped, "order2"); return err }},
	}
}

func zeros(n int) []byte { return make([]byte, n) }

// Every state of a key against every use of it.
func TestStates(t *testing.T) {
	s := New(t, "bureau", Options{})
	for _, u := range everything(s) {
		for state, word := range map[keys.State]string{
			keys.Live: "", keys.Deactivated: "deactivated", keys.PreActivation: "two people have not confirmed", keys.Making: "being made",
			keys.Suspended: "suspended", keys.Compromised: "compromised", keys.Destroyed: "no such key",
		} {
			setState(s, u.key, state)
			err := u.use()
			switch {
			case state == keys.Live || state == keys.Deactivated && !u.protects:
				if err != nil {
					t.Errorf("%s with an %s key: %v", u.name, state, err)
				}
			case err == nil || !errors.Is(err, keys.ErrState) && !errors.Is(err, hsm.ErrNoKey) || !strings.Contains(err.Error(), word):
				t.Errorf("%s with a key that is %s: %v", u.name, state, err)
			}
		}
		setState(s, u.key, keys.Live)
		// Its cryptoperiod is over: it opens what it closed.
		s.Change(func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE key SET expires = '2026-11-23T09:00:00Z' WHERE id = $1`, u.key)
			return err
		})
		s.Must(s.Guard.Reload(t.Context()))
		if err := u.use(); u.protects {
			s.Refused(err, keys.ErrState, "cryptoperiod ended 2026-11-23", "rotate it")
		} else if err != nil {
			t.Errorf("%s with an expired key: %v", u.name, err)
		}
		s.Change(func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE key SET expires = '' WHERE id = $1`, u.key)
			return err
		})
		s.Must(s.Guard.Reload(t.Context()))
	}
}

// The log's key is never held back, or nobody could say why it is.
func TestLogKey(t *testing.T) {
	s := New(t, "bureau", Options{})
	_, err := s.Guard.Generate(t.Context(), "log", hsm.LogSign, hsm.Ed25519)
	s.Must(err)
	signer, err := s.Guard.Signer(t.Context(), "log")
	s.Must(err)
	for _, state := range []keys.State{keys.Suspended, keys.Compromised, keys.Deactivated} {
		setState(s, "log", state)
		if _, err := signer.Sign(nil, []byte("checkpoint"), noHash); err != nil {
			t.Errorf("%s: %v", state, err)
		}
	}
	// It alone is no news: else each flush would be the reason for the next.
	before := s.Store.Size()
	s.Must(s.Guard.Flush(t.Context()))
	if s.Store.Size() != before || s.Guard.Uses()["log"] != 3 {
		t.Errorf("the log has %d entries, had %d; uses %v", s.Store.Size(), before, s.Guard.Uses())
	}
}

func TestZeroGuard(t *testing.T) {
	var g keys.Guard
	ctx := t.Context()
	_, e1 := g.Generate(ctx, "k", hsm.Order, hsm.AES256)
	_, e2 := g.Signer(ctx, "k")
	_, e3 := g.Decrypter(ctx, "k")
	_, e4 := g.Restore(ctx, "k", nil, "k", hsm.Order, hsm.AES256)
	for i, err := range []error{e1, e2, e3, e4, g.Destroy(ctx, "k"), g.SealColumn(ctx, "k", nil, nil)} {
		if !errors.Is(err, hsm.ErrClosed) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// A key that the module has and the register does not know is none until the
// two were compared.
func TestUnknownKey(t *testing.T) {
	s := New(t, "bureau", Options{})
	ctx := t.Context()
	_, err := s.Module.Generate(ctx, "stray", hsm.Transport, hsm.AES256)
	s.Must(err)
	s.Refused(s.Guard.SealColumn(ctx, "stray", zeros(16), zeros(16)), hsm.ErrNoKey)
	_, err = s.Guard.Generate(ctx, "stray", hsm.Transport, hsm.AES256)
	s.Refused(err, hsm.ErrKeyExists)
	s.Last("key.not-made", "key/stray")
	s.Reload()
	s.Last("key.found", "key/stray")
	s.Must(s.Guard.SealColumn(ctx, "stray", zeros(16), zeros(16)))
	if k, err := s.Register.Key(ctx, "stray"); err != nil || k.Origin != keys.Found || k.State != keys.Live || k.KCV == "" {
		t.Errorf("%+v, %v", k, err)
	}
}

// Counts and what keys were used for survive a flush that fails.
func TestFlush(t *testing.T) {
	s := New(t, "bureau", Options{})
	ctx := t.Context()
	for _, id := range []string{"a", "b"} {
		_, err := s.Guard.Generate(keys.For(ctx, "ceremony/1"), id, hsm.Transport, hsm.AES256)
		s.Must(err)
	}
	use := func(id string, what ...string) {
		c := ctx
		for _, w := range what {
			c = keys.For(c, w)
		}
		s.Must(s.Guard.SealColumn(c, id, zeros(16), zeros(16)))
	}
	use("a", "order/7")
	use("a", "order/7", "partner/op")
	use("b")
	want := func(id string, uses int64, links string) {
		t.Helper()
		k, err := s.Register.Key(ctx, id)
		s.Must(err)
		l, err := s.Register.Links(ctx, id)
		s.Must(err)
		var got []string
		for _, one := range l {
			got = append(got, fmt.Sprintf("%s %d", one.What, one.Uses))
		}
		if k.Uses != uses || strings.Join(got, ", ") != links {
			t.Errorf("key %s: %d uses, %v, want %d, %s", id, k.Uses, got, uses, links)
		}
	}
	s.DieAfter(0)
	s.Refused(s.Guard.Flush(ctx), ErrDead)
	s.DieAfter(1000)
	want("a", 0, "ceremony/1 0")
	use("a", "order/8")
	s.Must(s.Guard.Reload(ctx)) // loses no count
	if u := s.Guard.Uses(); u["a"] != 3 || u["b"] != 1 {
		t.Errorf("uses %v", u)
	}
	s.Must(s.Guard.Flush(ctx))
	want("a", 3, "ceremony/1 0, order/7 2, order/8 1, partner/op 1")
	want("b", 1, "ceremony/1 0")
	if e := s.Last("keys.used", "keys"); fmt.Sprint(e.Data["uses"]) != "map[a:3 b:1]" || e.Data["keys"] != int64(2) {
		t.Errorf("%v", e.Data)
	}
	size := s.Store.Size()
	s.Must(s.Guard.Flush(ctx))
	if s.Store.Size() != size {
		t.Error("a flush of nothing is entered")
	}
	touched, err := s.Register.Touched(ctx, "order/7")
	s.Must(err)
	if len(touched) != 1 || touched[0].What != "a" {
		t.Errorf("%v", touched)
	}
	// What was counted of a key that is gone is written all the same.
	use("b", "order/9")
	s.Must(s.Guard.Destroy(ctx, "b"))
	s.Refused(s.Guard.SealColumn(ctx, "b", zeros(16), zeros(16)), hsm.ErrNoKey)
	s.Must(s.Guard.Flush(ctx))
	want("b", 2, "ceremony/1 0, order/9 1")
}

// The entry of a flush stays below what an entry may have, however many keys
// were used and however long their names are.
func TestFlushOfMany(t *testing.T) {
	s := New(t, "bureau", Options{})
	s.Change(func(tx *store.Tx) error {
		for i := range 600 {
			if _, err := tx.Exec(`INSERT INTO key (id, purpose, algorithm, origin, state, made) VALUES ($1, 'ledger', 'HMAC-SHA-256', 'found', 'active', '2026-11-23T09:00:00Z')`, longName(i)); err != nil {
				return err
			}
		}
		return nil
	})
	s.Must(s.Guard.Reload(t.Context()))
	for i := range 600 {
		_, err := s.Guard.MAC(t.Context(), longName(i))
		s.Refused(err, hsm.ErrNoKey) // the module has none; that it was tried counts
	}
	s.Must(s.Guard.Flush(t.Context()))
	k, err := s.Register.Key(t.Context(), longName(599))
	s.Must(err)
	if e := s.Last("keys.used", "keys"); e.Data["keys"] != int64(600) || k.Uses != 1 {
		t.Errorf("%v keys, last used %d times", e.Data["keys"], k.Uses)
	}
}

func longName(i int) string { return strings.Repeat("k", 196) + fmt.Sprintf("%04d", i) }

// Uses, flushes and reloads at the same time lose no count, and a state that was
// committed is never overtaken by an older one.
func TestGuardAtOnce(t *testing.T) {
	s := New(t, "bureau", Options{})
	ctx := context.WithoutCancel(t.Context())
	_, err := s.Guard.Generate(ctx, "k", hsm.Transport, hsm.AES256)
	s.Must(err)
	_, err = s.Guard.Generate(ctx, "c", hsm.Transport, hsm.AES256)
	s.Must(err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				if err := s.Guard.SealColumn(keys.For(ctx, "order/1"), "k", zeros(16), zeros(16)); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 10 {
				if err := errors.Join(s.Guard.Flush(ctx), s.Guard.Reload(ctx)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		if err := s.Do("key.compromise", "key/c", KeyManager); err != nil {
			t.Error(err)
		}
		for range 50 {
			if err := s.Guard.SealColumn(ctx, "c", zeros(16), zeros(16)); !errors.Is(err, keys.ErrState) {
				t.Errorf("a compromised key was used: %v", err)
			}
		}
	})
	wg.Wait()
	s.Must(s.Guard.Flush(ctx))
	k, err := s.Register.Key(ctx, "k")
	s.Must(err)
	l, err := s.Register.Links(ctx, "k")
	s.Must(err)
	if k.Uses != 400 || len(l) != 1 || l[0].Uses != 400 {
		t.Errorf("%d uses, %v", k.Uses, l)
	}
}

// Policy asks for more than the module: an algorithm, a purpose.
func TestAllowed(t *testing.T) {
	s := New(t, "bureau", Options{Change: func(p *act.Policy, _ []act.Person) {
		p.Keys["transport"] = act.KeyRule{Algorithms: []string{"AES-256"}, Cryptoperiod: 730}
		delete(p.Keys, "lot")
	}})
	ctx := t.Context()
	_, err := s.Guard.Generate(ctx, "k", hsm.Transport, hsm.AES128)
	s.Refused(err, act.ErrNotAllowed, "it is AES-128, the policy takes AES-256", "6.4.e.i")
	_, err = s.Guard.Generate(ctx, "k", hsm.Lot, hsm.AES256)
	s.Refused(err, act.ErrNotAllowed, "the policy has no rule for such keys")
	_, err = s.Register.Key(ctx, "k")
	s.Refused(err, keys.ErrNoKey)
	_, err = s.Guard.Generate(ctx, "k", hsm.Transport, hsm.AES256)
	s.Must(err)
	if k, err := s.Register.Key(ctx, "k"); err != nil || !k.Expires.Equal(s.Now().AddDate(0, 0, 730)) || k.Expired(s.Now()) || !k.Expired(k.Expires) {
		t.Errorf("%+v, %v", k, err)
	}
}

func BenchmarkGuardSealColumn(b *testing.B) {
	s := New(b, "bureau", Options{})
	_, err := s.Guard.Generate(b.Context(), "k", hsm.Transport, hsm.AES256)
	s.Must(err)
	ctx := keys.For(b.Context(), "order/1")
	column := zeros(16 * 1000)
	for name, m := range map[string]hsm.Module{"guard": s.Guard, "bare": s.Module.Module} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(column)))
			for b.Loop() {
				if err := m.SealColumn(ctx, "k", column, column); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
