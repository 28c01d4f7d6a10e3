package keyroom

import (
	"crypto/aes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"ankan/ceremony"
	"ankan/hsm"
	"ankan/keys"
)

// Three components of an AES-256 key, and what they join to.
var (
	partHex = []string{
		"5f0a3c7e9b1d4f6082a4c6e8f1b3d5978c9eb0a2d4f6183a5c7e90b2d4f61834",
		"a19c83f54e27b0d86c1f3a5b7d9e02461357ace0f2b4d6981f3e5d7c9ba0b1c2",
		"0123c4d5e6f70819a2b3c4d5e6f7081900ff11ee22dd33cc44bb55aa66997788",
	}
	keyName = "transport/op/7"
)

func kcvOf(t testing.TB, key []byte) string {
	t.Helper()
	k, err := hsm.AESKCV(hsm.CMAC, key)
	if err != nil {
		t.Fatal(err)
	}
	return k.String()
}

func joined(t testing.TB) []byte {
	t.Helper()
	key := make([]byte, 32)
	for _, text := range partHex {
		part := must[[]byte](t)(hex.DecodeString(text))
		for i := range key {
			key[i] ^= part[i]
		}
	}
	return key
}

// planOf is the plan of a three-component import.
func planOf(t testing.TB, id string) string {
	t.Helper()
	var parts strings.Builder
	for i, custodian := range []string{custA, custB, custC} {
		fmt.Fprintf(&parts, "  - {custodian: %q, kcv: %q, bag: TE-5122%d}\n", custodian, kcvOf(t, must[[]byte](t)(hex.DecodeString(partHex[i]))), i)
	}
	gp, err := hsm.AESKCV(hsm.GP, joined(t))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`ceremony: %s
kind: import-components
title: Load transport key 7 of op in three components
room: Key room 1, Pune
key: {name: %s, purpose: transport, algorithm: AES-256, partner: op, kcv: %q}
parts:
%speople:
  key-manager: %q
  hsm-administrator: %q
  security-officer: %q
`, id, keyName, gp.String(), parts.String(), km, ha, so)
}

// open has a plan checked, asked for, approved and opened, in four browsers.
func (r *room) open(plan, id string) {
	r.Helper()
	s := r.people[km]
	s.open("/ceremonies/new")
	s.Do(chromedp.WaitVisible("#f-plan"), chromedp.SetValue("#f-plan", plan))
	s.leave("form.plan button")
	s.see(`form[action^="/asked/"] button`)
	s.taken()
	asked := strings.TrimPrefix(s.path(), "/acts/")
	r.people[ha].approve(asked)
	r.people[so].approve(asked)
	s.open("/acts/" + asked)
	s.leave(`form[action$="/use"] button`)
	for end := time.Now().Add(time.Minute); r.ceremony(id).State != ceremony.Open; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("the ceremony is %s; the page says %.1500s", r.ceremony(id).State, s.words())
		}
	}
}

func (r *room) ceremony(id string) ceremony.Ceremony {
	r.Helper()
	return must[ceremony.Ceremony](r)(r.site.Ceremonies().Get(r.ctx, id))
}

// sign has a person sign the step that is next.
func (s *screen) sign(id string) {
	s.room.Helper()
	now := s.room.ceremony(id).Now
	s.open("/ceremonies/" + id)
	s.see("#step")
	s.click(`#step input[name="said"]`)
	s.leave(`button[form="step"]`)
	if c := s.room.ceremony(id); c.State == ceremony.Open && c.Now == now && !c.Steps[now-1].Signed(s.id) {
		s.room.Fatalf("person %s did not sign step %d: %.2000s; the console said %q", s.id, now, s.words(), s.Errors())
	}
}

// enter types a component, digit by digit, and says that its check value is the
// one on the form.
func (s *screen) enter(id, digits string) {
	s.room.Helper()
	s.open("/ceremonies/" + id)
	s.leave(`form[action$="/begin"] button`)
	s.see("form[data-component] input[data-digits]")
	s.Do(chromedp.WaitVisible("input[data-digits]"), chromedp.SendKeys("input[data-digits]", digits))
	s.leave("[data-compare] button.btn-ink")
}

// unseal opens what is sealed to the person: a component is shown, a share
// compared or brought.
func (s *screen) unseal(id string, st ceremony.StepNow) {
	s.room.Helper()
	s.open("/ceremonies/" + id)
	s.leave(`form[action$="/begin"] button`)
	switch st.Step.Effect {
	case ceremony.Bring:
		s.see("form[data-bring]")
		s.leave("form[data-bring] button")
		s.see("#step")
	case ceremony.Hold:
		s.see("form[data-show]")
		s.click("form[data-show] button")
		s.see("[data-result].ok:not([hidden])")
	case ceremony.Show:
		s.see("form[data-show]")
		s.click("form[data-show] button")
		s.see("[data-shown] li:nth-child(16)")
		s.Eval(`[...document.querySelectorAll("[data-shown] li")].map((li) => li.textContent).join("")`, &s.saw)
	}
}

// run carries a ceremony to a step, everybody at their own screen.
func (r *room) run(id string, until func(ceremony.StepNow) bool) {
	r.Helper()
	for {
		c := r.ceremony(id)
		if c.State != ceremony.Open || until != nil && until(c.Steps[c.Now-1]) {
			return
		}
		st := c.Steps[c.Now-1]
		for _, who := range st.Step.By {
			if st.Signed(who) {
				continue
			}
			s := r.people[who]
			switch st.Step.Effect {
			case ceremony.Enter:
				s.enter(id, partHex[st.Part-1])
				s.see("#step")
			case ceremony.Show, ceremony.Hold, ceremony.Bring:
				s.unseal(id, st)
			}
			s.sign(id)
		}
	}
}

// Six people import a key in three components: from the request to the active
// key, each in a browser of their own.
func TestImport(t *testing.T) {
	r := newRoom(t)
	for _, id := range []string{km, ha, so, custA, custB, custC} {
		r.hire(id)
	}
	r.open(planOf(t, "CER-1"), "CER-1")
	r.run("CER-1", nil)
	if c := r.ceremony("CER-1"); c.State != ceremony.Closed {
		t.Fatalf("the ceremony is %s", c.State)
	}
	k := must[keys.Key](t)(r.site.Register().Key(t.Context(), keyName))
	if k.State != keys.Live || k.Origin != keys.Components {
		t.Errorf("the key is %s, from %s", k.State, k.Origin)
	}
	// The key in the module is the sum of what was typed.
	b, err := aes.NewCipher(joined(t))
	if err != nil {
		t.Fatal(err)
	}
	want, got := make([]byte, 16), make([]byte, 16)
	b.Encrypt(want, want)
	if err := r.site.Token().SealColumn(t.Context(), keyName, got, make([]byte, 16)); err != nil || string(got) != string(want) {
		t.Errorf("the module has another key: %x, want %x, %v", got, want, err)
	}
	s := r.people[km]
	s.open("/ceremonies/CER-1/transcript")
	s.see(".sheet")
	if text := s.words(); !strings.Contains(text, "Person 1011") && !strings.Contains(text, "person 1011") {
		t.Errorf("the transcript does not name custodian 1011: %.1000s", text)
	}
	r.verified(s, "/ceremonies/CER-1/transcript.json")
	s.shoot("/inbox", "/acts", "/acts/new", "/notices", "/people", "/people/"+custA, "/people/new", "/ceremonies", "/ceremonies/CER-1/transcript", "/sessions", "/glass", "/acts/"+r.current())
	for id, one := range r.people {
		if errs := one.Errors(); len(errs) > 0 {
			t.Errorf("the console of person %s said %q", id, errs)
		}
	}
}
