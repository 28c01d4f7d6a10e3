package operator

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"ankan/act"
	"ankan/bureau"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/keys"
	"ankan/passkey"
	"ankan/site"
	"ankan/site/sitetest"
)

// A weak module fails to make keys of a purpose, as often as it is told, and
// has lost a key that wraps others.
type weak struct {
	hsm.Module
	purpose hsm.Purpose
	fails   int
	lost    string
}

func (w *weak) OpenDataKey(ctx context.Context, kek string, wrapped hsm.Wrapped) (*hsm.DataKey, error) {
	if kek == w.lost {
		return nil, hsm.ErrNoKey
	}
	return w.Module.OpenDataKey(ctx, kek, wrapped)
}

var errWeak = errors.New("the module is out of breath")

func (w *weak) Generate(ctx context.Context, id string, p hsm.Purpose, a hsm.Algorithm) (hsm.Key, error) {
	if p == w.purpose && w.fails > 0 {
		w.fails--
		return hsm.Key{}, errWeak
	}
	return w.Module.Generate(ctx, id, p, a)
}

// desk is an operator "op" with the partner "maker", its people's keys, and its
// module.
func desk(t *testing.T) (*operator, sitetest.Crew, *weak) {
	t.Helper()
	a, b := sitetest.Config(t, "op", site.Operator), sitetest.Config(t, "maker", site.Bureau)
	all := []site.Part{Part(), bureau.Part()}
	sitetest.Init(t, b, all...)
	token, crew := &weak{Module: hsmtest.Soft(t, nil)}, sitetest.Founders(t)
	if err := site.Init(t.Context(), a, token, crew.Founding(t, a), func(string) {}, all...); err != nil {
		t.Fatal(err)
	}
	a.Partners = []string{b.CardFile()}
	return &operator{Site: sitetest.Open(t, a, token, all...)}, crew, token
}

// done has an act asked for by the key manager, approved by the security
// officer, and done.
func done(t *testing.T, s *operator, crew sitetest.Crew, kind, subject string) error {
	t.Helper()
	p, err := s.Proposal(t.Context(), kind, subject)
	if err != nil {
		return err
	}
	a := act.New(p.Site, kind, subject, "0001", p.Params, p.Rule, time.Now())
	sign := func(who string, v act.Verb) act.Signature {
		assertion := sitetest.Must[passkey.Assertion](t)(crew.Keys[who].Sign(a.Challenge(v)))
		return act.Signature{Person: who, Verb: v, At: time.Now().UTC().Truncate(time.Second), Assertion: assertion}
	}
	if err := s.Desk().Request(t.Context(), a.Canonical(), sign("0001", act.Request)); err != nil {
		return err
	}
	if err := s.Desk().Sign(t.Context(), a.ID, sign("0002", act.Approve)); err != nil {
		return err
	}
	return s.Do(t.Context(), a.ID)
}

func TestMake(t *testing.T) {
	s, crew, _ := desk(t)
	if err := done(t, s, crew, "key.make", "key/maker/11/AES-128"); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{"transport/op/11": "AES-128", "op/op/11": "AES-128"} {
		k, err := s.Register().Key(t.Context(), id)
		if err != nil || k.Algorithm != want || k.State != keys.Live || strings.Join(k.Parties, " ") != "maker" {
			t.Errorf("%s: %+v, %v", id, k, err)
		}
	}
	if err := done(t, s, crew, "key.make", "key/maker/13/TUAK"); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{"transport/op/13": "AES-256", "op/op/13": "AES-256"} {
		if k, err := s.Register().Key(t.Context(), id); err != nil || k.Algorithm != want {
			t.Errorf("%s: %+v, %v", id, k, err)
		}
	}
	for subject, want := range map[string]string{
		"key/maker/12/TUAK/TUAK":       `subject "key/maker/12/TUAK" is not key/PARTNER/INDEX`,
		"key/maker/12/TUAK/AES-128":    "with /TUAK behind it for a TOP",
		"key/maker/11":                 "key transport/op/11: not allowed: it is active; keys are never overwritten; take another index",
		"key/maker/0":                  "index is 0, want 1 to 99",
		"key/maker/100":                "index is 100, want 1 to 99",
		"key/maker/012":                `subject "key/maker/012" is not key/PARTNER/INDEX`,
		"key/maker/12/DES":             "nor key/PARTNER/INDEX/ALGORITHM",
		"key/maker/12/3DES":            "key transport/op/12: 3DES is refused: it is weak or broken, and no waiver is in force; write a later end",
		"key/maker/12/3DES-3KEY":       "key transport/op/12: 3DES-3KEY is refused",
		"key/maker/12/AES-256/AES-256": `subject "key/maker/12/AES-256" is not key/PARTNER/INDEX`,
		"key/other/12":                 `"other" is no partner`,
		"order/1":                      "is not key/…",
	} {
		if _, err := s.Propose(t.Context(), "key.make", subject); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", subject, err, want)
		}
	}
	if err := s.makeKeys(t.Context()); !errors.Is(err, site.ErrIdle) {
		t.Errorf("nothing is asked for: %v", err)
	}
}

// The site stops, or the module fails, between the two keys: the warrant is
// spent, and what it allowed is done by the next round, once.
func TestMakeInterrupted(t *testing.T) {
	for name, purpose := range map[string]hsm.Purpose{"transport": hsm.Transport, "op": hsm.Operator} {
		s, crew, token := desk(t)
		token.purpose, token.fails = purpose, 2
		if err := done(t, s, crew, "key.make", "key/maker/7"); !errors.Is(err, errWeak) {
			t.Fatal(name, err)
		}
		used, err := s.Desk().List(t.Context(), "used")
		if err != nil || len(used) != 1 {
			t.Fatalf("%s: %d acts are used, %v", name, len(used), err)
		}
		if err := s.Do(t.Context(), used[0].Act.ID); !errors.Is(err, act.ErrUsed) {
			t.Errorf("%s: done twice: %v", name, err)
		}
		// Nobody else takes the index meanwhile.
		if err := done(t, s, crew, "key.make", "key/maker/7/AES-128"); !errors.Is(err, act.ErrNotAllowed) {
			t.Errorf("%s: asked again: %v", name, err)
		}
		if err := s.makeKeys(t.Context()); !errors.Is(err, errWeak) {
			t.Error(name, err)
		}
		if err := s.makeKeys(t.Context()); err != nil {
			t.Fatal(name, err)
		}
		for _, id := range s.keyPair(7) {
			if k, err := s.Register().Key(t.Context(), id); err != nil || k.State != keys.Live || len(k.Parties) != 1 {
				t.Errorf("%s: %s: %+v, %v", name, id, k, err)
			}
		}
		if err := s.makeKeys(t.Context()); !errors.Is(err, site.ErrIdle) {
			t.Error(name, err)
		}
	}
}

func FuzzMakeSubject(f *testing.F) {
	for _, s := range []string{"key/maker/11", "key/maker/11/AES-128", "key/maker/11/AES-256", "key/maker/11/AES-128/TUAK", "key/maker/11/3DES", "key/maker/11/3DES-3KEY/TUAK", "key/maker/11/TUAK", "key//1", "key/a/b/1", "order/1", "key/maker/-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		p, err := makeSubject(subject)
		if err == nil && (p.Partner == "" || p.Index < 1 || p.Index > 99 || hsm.Transport.Fits(p.Algorithm) != nil) {
			t.Errorf("%q is %+v", subject, p)
		}
	})
}
