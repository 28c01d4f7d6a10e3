package site_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"ankan/durable"
	"ankan/hsm/soft"
	"ankan/parts"
	"ankan/site"
	"ankan/site/sitetest"
)

// A founding that dies again and again, a step further each time, founds one site
// in the end: with the keys that it made first, and the people who signed.
func TestFoundingDies(t *testing.T) {
	c := sitetest.Config(t, "op", site.Operator)
	people := sitetest.Founders(t)
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	pass := []byte("a passphrase for tests")
	deaths, steps := 0, map[string]bool{}
	var token *soft.Token
	for n := int64(1); ; n++ {
		shape := []durable.Shape{durable.Before, durable.After}[n%2]
		script := &durable.Script{Die: durable.Event{Step: n, Shape: shape}, Died: func(step string) { steps[step] = true }}
		c.Steps = script.Steps()
		err := func() (err error) {
			if _, missing := os.Stat(c.Token.File); missing != nil {
				token, err = soft.Create(c.Token.File, pass, soft.WithCost(soft.LowestCost()), soft.WithSteps(c.Steps))
			} else {
				token, err = soft.Open(c.Token.File, pass, soft.WithSteps(c.Steps))
			}
			if err != nil {
				return err
			}
			return site.Init(t.Context(), c, token, people.Founding(t, c), func(string) {}, parts.All()...)
		}()
		if err == nil {
			if script.Dead() {
				t.Fatal("it died and founded a site")
			}
			break
		}
		if _, there := os.Stat(c.CardFile()); there == nil && !errors.Is(err, durable.ErrDead) && strings.Contains(err.Error(), "set up already") {
			break // the death before came when its last file was in its place
		}
		if !errors.Is(err, durable.ErrDead) {
			t.Fatalf("death %s: %v", script.Die, err)
		}
		token.Close()
		if deaths++; deaths > 200 {
			t.Fatal("it does not come to an end")
		}
	}
	t.Logf("%d deaths, at %v", deaths, steps)
	if deaths < 8 || !steps["hsm.generate"] && !steps["token.rename"] {
		t.Errorf("%d deaths at %v: the test does not see the founding", deaths, steps)
	}
	defer token.Close()
	c.Steps = nil
	s := sitetest.Open(t, c, token, parts.All()...)
	if all, err := s.People().People(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("people: %+v, %v", all, err)
	}
	if _, err := s.Store().Fsck(t.Context(), s.Store().VerifierKey()); err != nil {
		t.Error(err)
	}
}
