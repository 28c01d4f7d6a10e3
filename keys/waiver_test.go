package keys_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ankan/act"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/keys"
	. "ankan/keys/keystest"
	"ankan/waiver"
)

// agreed is what a contract says of transport/op/12, and of nothing else.
func agreed(w *waiver.Waiver) func(id string) (keys.Agreed, error) {
	return func(id string) (keys.Agreed, error) {
		if id != "transport/op/12" {
			return keys.Agreed{}, fmt.Errorf("key %s: no contract says anything of it", id)
		}
		return keys.Agreed{Contract: "C-1", Waiver: *w}, nil
	}
}

func waived(t *testing.T, w *waiver.Waiver) *Site {
	return New(t, "bureau", Options{Opened: func(s *Site) { s.Deeds["key.waive"] = s.Register.WaiverDeed(agreed(w), s.Guard.Reload) }})
}

// A key of triple DES exists from the waiver on, and does its work until that is
// over; a later one lets it go on.
func TestWaiver(t *testing.T) {
	const id = "transport/op/12"
	w := &waiver.Waiver{For: "3DES", Reason: "the HLR of 2009 takes nothing else", Until: time.Date(2027, 1, 31, 18, 30, 0, 0, time.UTC)}
	s := waived(t, w)
	ctx := t.Context()
	_, three := holders()
	for name, a := range map[string]hsm.Algorithm{id: hsm.TDES, "transport/op/13": hsm.TDES3} {
		_, err := s.Guard.Generate(ctx, name, hsm.Transport, a)
		s.Refused(err, waiver.ErrNone, "ankan act request key.waive key/"+name)
		_, _, err = s.Guard.GenerateShared(ctx, name, hsm.Transport, a, "set", 2, three)
		s.Refused(err, waiver.ErrNone)
		if _, err := s.Register.Key(ctx, name); err == nil {
			t.Errorf("%s is in the register", name)
		}
	}
	s.Refused(s.Do("key.waive", "key/"+id, KeyManager), act.ErrOpen)
	s.Must(s.Do("key.waive", "key/"+id, KeyManager, Officer))
	_, err := s.Guard.Generate(ctx, id, hsm.Transport, hsm.TDES3)
	s.Refused(err, waiver.ErrNone, `waiver is for "3DES"`)
	_, err = s.Guard.Generate(ctx, "transport/op/13", hsm.Transport, hsm.TDES)
	s.Refused(err, waiver.ErrNone)
	_, err = s.Guard.Generate(ctx, id, hsm.Transport, hsm.TDES)
	s.Must(err)
	s.Must(s.Guard.SealColumn(ctx, id, zeros(16), zeros(16)))

	k, err := s.Register.Key(ctx, id)
	s.Must(err)
	if got := k.Kind(s.Now()); got != "3DES under waiver until 2027-01-31" || k.Waiver.Signed != "person/"+KeyManager+", person/"+Officer || k.Waiver.Reason != w.Reason {
		t.Errorf("%s: %+v", got, k.Waiver)
	}
	if got := life(s, id); got != "waive making there" {
		t.Error(got)
	}

	// Fourteen days before, people are told, once; the day after, nothing goes.
	s.Wait(w.Until.AddDate(0, 0, -14).Sub(s.Now()))
	for range 2 {
		s.Must(s.Register.Remind(ctx))
	}
	n := 0
	for _, e := range s.Entries() {
		if e.Kind == "custody.reminded" && strings.HasPrefix(e.Subject, "key/"+id) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("people were told %d times", n)
	}
	s.Must(s.Guard.SealColumn(ctx, id, zeros(16), zeros(16)))
	s.Wait(14 * 24 * time.Hour)
	to := hsmtest.NewHolder("1").Key
	for name, use := range map[string]func() error{
		"SealColumn": func() error { return s.Guard.SealColumn(ctx, id, zeros(16), zeros(16)) },
		"Translate": func() error {
			_, err := s.Guard.Translate(ctx, id, zeros(16), 16, nil, nil)
			return err
		},
		"GiveKey": func() error { _, err := s.Guard.GiveKey(ctx, id, to, "l"); return err },
		"Split":   func() error { _, err := s.Guard.Split(ctx, id, "set", hsm.ECBZeros, three[:2]); return err },
		"Export": func() error {
			_, err := s.Guard.Export(ctx, id, hsm.Wrapping{Format: hsm.ECDH, To: to, Label: "l"})
			return err
		},
	} {
		err := use()
		s.Refused(err, waiver.ErrNone, "waiver ended on 2027-01-31")
		if !strings.Contains(err.Error(), "key.waive key/"+id) {
			t.Errorf("%s: %v does not say how it goes on", name, err)
		}
	}
	if k, err = s.Register.Key(ctx, id); err != nil || k.Kind(s.Now()) != "3DES, waiver ended on 2027-01-31" {
		t.Errorf("%s, %v", k.Kind(s.Now()), err)
	}
	s.Reopen()
	s.Refused(s.Guard.SealColumn(ctx, id, zeros(16), zeros(16)), waiver.ErrNone)
	w.Until = w.Until.AddDate(0, 2, 0)
	s.Must(s.Do("key.waive", "key/"+id, KeyManager, Officer))
	s.Must(s.Guard.SealColumn(ctx, id, zeros(16), zeros(16)))
	s.Must(s.Guard.Destroy(ctx, id)) // which needs no waiver
	s.Verify()
}

func TestWaiverRefuses(t *testing.T) {
	const id = "transport/op/12"
	w := &waiver.Waiver{}
	s := waived(t, w)
	good := waiver.Waiver{For: "3DES", Reason: "old", Until: s.Now().AddDate(1, 0, 0)}
	for want, change := range map[string]func(*waiver.Waiver){
		`contract C-1 says that it is "", which needs none`:        func(w *waiver.Waiver) { w.For = "" },
		`contract C-1 says that it is "AES-256", which needs none`: func(w *waiver.Waiver) { w.For = "AES-256" },
		`contract C-1 says that it is "DES", which needs none`:     func(w *waiver.Waiver) { w.For = "DES" },
		`gives the reason "" and ends it on 2027-11-23`:            func(w *waiver.Waiver) { w.Reason = "" },
		"ends it on 2026-11-23; agree on a reason, and on a day":   func(w *waiver.Waiver) { w.Until = s.Now() },
		"ends it on ; agree":           func(w *waiver.Waiver) { w.Until = time.Time{} },
		"more than two years from now": func(w *waiver.Waiver) { w.Until = s.Now().AddDate(2, 0, 3) },
	} {
		*w = good
		change(w)
		s.Refused(s.Do("key.waive", "key/"+id, KeyManager, Officer), act.ErrNotAllowed, want)
	}
	*w = good
	for subject, want := range map[string]string{"transport/op/12": "is not key/NAME", "key/": "is not key/NAME", "key/a b": "is not key/NAME", "key/transport/op/13": "no contract says anything of it"} {
		if err := s.Do("key.waive", subject, KeyManager, Officer); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", subject, err, want)
		}
	}
	// What was signed is what is so when it is done.
	a, err := s.Ask("key.waive", "key/"+id, KeyManager, Officer)
	s.Must(err)
	w.Reason = "older"
	s.Refused(s.Perform(a), act.ErrNotAllowed, "it says something else now")
	s.Must(s.Do("key.waive", "key/"+id, KeyManager, Officer))
	s.Refused(s.Do("key.waive", "key/"+id, KeyManager, Officer), act.ErrNotAllowed, "people signed just this already: 3DES under waiver until 2027-11-23")
	_, err = s.Guard.Generate(t.Context(), id, hsm.Transport, hsm.TDES)
	s.Must(err)
	w.For = "3DES-3KEY"
	s.Refused(s.Do("key.waive", "key/"+id, KeyManager, Officer), act.ErrNotAllowed, "it is 3DES, contract C-1 says 3DES-3KEY")
	s.Must(s.Do("key.compromise", "key/"+id, Officer))
	*w = good
	s.Refused(s.Do("key.waive", "key/"+id, KeyManager, Officer), act.ErrNotAllowed, "it is compromised")
	s.Verify()
}

// A key of triple DES that the module has and nobody waived does nothing.
func TestUnwaivedKeyFound(t *testing.T) {
	s := New(t, "bureau", Options{})
	ctx := t.Context()
	_, err := s.Module.Generate(ctx, "transport/op/12", hsm.Transport, hsm.TDES)
	s.Must(err)
	s.Reload()
	s.Refused(s.Guard.SealColumn(ctx, "transport/op/12", zeros(16), zeros(16)), waiver.ErrNone)
	k, err := s.Register.Key(ctx, "transport/op/12")
	if err != nil || k.Kind(s.Now()) != "3DES, no waiver" {
		t.Errorf("%s, %v", k.Kind(s.Now()), err)
	}
}
