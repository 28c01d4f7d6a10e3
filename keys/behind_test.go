package keys_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ankan/hsm"
	"ankan/keys"
	. "ankan/keys/keystest"
)

// TestBehind: the module remembers what a register that is older than it has
// forgotten.
func TestBehind(t *testing.T) {
	s := New(t, "bureau", Options{})
	ctx := t.Context()
	behind := func(want ...string) {
		t.Helper()
		signs, err := s.Register.Behind(ctx, s.Module)
		s.Must(err)
		if len(signs) != len(want) {
			t.Fatalf("%q, want %d signs", signs, len(want))
		}
		for i := range want {
			if !strings.Contains(signs[i], want[i]) {
				t.Errorf("%q, want %q in it", signs[i], want[i])
			}
		}
	}
	_, err := s.Module.Generate(ctx, "early", hsm.Transport, hsm.AES256)
	s.Must(err)
	behind() // the register has not taken its module over yet
	_, err = s.Module.Generate(ctx, "log", hsm.LogSign, hsm.Ed25519)
	s.Must(err)
	s.Reload()
	if state(s, "early") != keys.Live || state(s, "log") != keys.Live {
		t.Errorf("early is %s, log is %s, want both active", state(s, "early"), state(s, "log"))
	}
	for _, id := range []string{"erasing", "revived"} {
		_, err := s.Guard.Generate(ctx, id, hsm.Order, hsm.AES256)
		s.Must(err)
	}
	behind()

	// What the lost time did: a key made, one made and destroyed, one destroyed.
	for _, id := range []string{"made", "unheard"} {
		_, err := s.Module.Generate(ctx, id, hsm.Order, hsm.AES256)
		s.Must(err)
	}
	s.Must(s.Module.Module.Destroy(ctx, "unheard"))
	s.Must(s.Module.Module.Destroy(ctx, "revived"))
	// The site said of this one that it would, and its end was lost.
	fails(s, "Destroy", false)
	s.Refused(s.Guard.Destroy(ctx, "erasing"), errGone)
	s.Module.Fault = nil
	s.Must(s.Module.Module.Destroy(ctx, "erasing"))
	behind("key made is in the security module", "key revived was destroyed in the security module, and is active", "key unheard was destroyed")
	if missing := s.Reload(); missing != nil {
		t.Errorf("%v are called lost, which are destroyed", missing)
	}
	for id, want := range map[string]keys.State{"made": keys.Suspended, "revived": keys.Destroyed, "unheard": keys.Destroyed, "erasing": keys.Destroyed} {
		if got := state(s, id); got != want {
			t.Errorf("key %s is %s, want %s", id, got, want)
		}
	}
	behind()
	for _, id := range []string{"made", "unheard", "revived"} {
		_, err := s.Guard.Generate(ctx, id, hsm.Order, hsm.AES256)
		s.Refused(err, hsm.ErrKeyExists)
	}
	_, _, err = s.Guard.NewDataKey(ctx, "made")
	s.Refused(err, keys.ErrState)
}

// TestHold: a guard that is held lets nothing be issued, and says why.
func TestHold(t *testing.T) {
	s := New(t, "bureau", Options{})
	ctx := t.Context()
	add := func(id string, p hsm.Purpose, a hsm.Algorithm) {
		t.Helper()
		_, err := s.Guard.Generate(ctx, id, p, a)
		s.Must(err)
	}
	add("order", hsm.Order, hsm.AES256)
	add("log", hsm.LogSign, hsm.Ed25519)
	add("mail", hsm.MailSign, hsm.P256)
	add("ledger", hsm.Ledger, hsm.HMAC256)
	_, wrapped, err := s.Guard.NewDataKey(ctx, "order")
	s.Must(err)
	s.Guard.Hold("the database is older")
	sign := func(id string, opts crypto.SignerOpts) error {
		k, err := s.Guard.Signer(ctx, id)
		s.Must(err)
		_, err = k.Sign(rand.Reader, make([]byte, 32), opts)
		return err
	}
	mac := func(ctx context.Context) error {
		_, err := s.Guard.MAC(ctx, "ledger", []byte("x"))
		return err
	}
	for name, do := range map[string]func() error{
		"a new data key":  func() error { _, _, err := s.Guard.NewDataKey(ctx, "order"); return err },
		"an old data key": func() error { _, err := s.Guard.OpenDataKey(ctx, "order", wrapped); return err },
		"the ledger":      func() error { return mac(ctx) },
		"mail":            func() error { return sign("mail", hash) },
		"a new key":       func() error { _, err := s.Guard.Generate(ctx, "new", hsm.Order, hsm.AES256); return err },
	} {
		if err := do(); !errors.Is(err, keys.ErrHeld) || !strings.Contains(fmt.Sprint(err), "the database is older") {
			t.Errorf("%s: %v, want %v and why", name, err, keys.ErrHeld)
		}
	}
	s.Must(mac(keys.Reconciling(ctx)))
	s.Must(s.Guard.Destroy(ctx, "order"))
	s.Must(sign("log", noHash))
	s.Guard.Free()
	s.Must(mac(ctx))
	add("new", hsm.Order, hsm.AES256)
}
