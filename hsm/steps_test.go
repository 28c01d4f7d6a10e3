package hsm_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"testing"

	"ankan/durable"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
)

// A module whose calls go through steps is a module, and its calls are the steps
// that they should be.
func TestStepped(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	steps := func(step string, do func() error) error {
		mu.Lock()
		seen[step] = true
		mu.Unlock()
		return do()
	}
	hsmtest.Run(t, func(t *testing.T) hsm.Module { return hsm.Stepped(hsmtest.Soft(t, nil), steps) })
	use := durable.Use
	for _, want := range []string{"hsm.generate", "hsm.destroy", "hsm.take-key", "hsm.combine", "hsm.generate-shared", "hsm.restore", "hsm.import",
		use + "hsm.sign", use + "hsm.decrypt", use + "hsm.mac", use + "hsm.new-data-key", use + "hsm.open-data-key", use + "hsm.give-data-key", use + "hsm.take-data-key",
		use + "hsm.give-key", use + "hsm.seal-column", use + "hsm.translate", use + "hsm.op", use + "hsm.chip-keys", use + "hsm.rewrap"} {
		if !seen[want] {
			t.Errorf("no call is the step %q", want)
		}
		delete(seen, want)
	}
	for step := range seen {
		t.Errorf("step %q is none that is known here", step)
	}
}

// What failed gives nothing, also if it was done.
func TestSteppedFails(t *testing.T) {
	ctx := context.Background()
	for _, shape := range []durable.Shape{durable.Before, durable.After} {
		token := hsmtest.Soft(t, nil)
		script := &durable.Script{Fail: []durable.Event{{Step: 1, Shape: shape}}}
		m := hsm.Stepped(token, script.Steps())
		k, err := m.Generate(ctx, "site", hsm.SiteSign, hsm.Ed25519)
		if !errors.Is(err, durable.ErrFailed) || k.ID != "" {
			t.Errorf("%s: %+v, %v", shape, k, err)
		}
		if _, err := token.Key(ctx, "site"); (err == nil) != (shape == durable.After) {
			t.Errorf("%s: the key: %v", shape, err)
		}
		if shape == durable.Before {
			if _, err := m.Generate(ctx, "site", hsm.SiteSign, hsm.Ed25519); err != nil {
				t.Fatal(err)
			}
		}
		s, err := m.Signer(ctx, "site")
		if err != nil {
			t.Fatal(err)
		}
		if sig, err := s.Sign(rand.Reader, []byte("text"), crypto.Hash(0)); err != nil || len(sig) != 64 {
			t.Errorf("%s: signature of %d bytes, %v", shape, len(sig), err)
		}
		if !slices.Contains(script.Names(), durable.Use+"hsm.sign") {
			t.Errorf("%s: steps %q", shape, script.Names())
		}
	}
}
