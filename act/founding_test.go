package act

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"ankan/passkey"
)

// founders are two people and their founding of a site, signed.
func founders(t testing.TB) (Founding, map[string]cast) {
	t.Helper()
	people := map[string]cast{"km": person(t, "km", "", "km"), "so": person(t, "so", "", "so")}
	keys := map[string]Key{}
	for id, c := range people {
		keys[id] = c.key
	}
	f, err := Found("bureau", policy(), []Person{people["km"].Person, people["so"].Person}, keys, t0)
	if err != nil {
		t.Fatal(err)
	}
	return f, people
}

func TestFounding(t *testing.T) {
	f, _ := founders(t)
	if err := f.Check(t0.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	var b Book
	if err := tryOn(&b, SiteFounded, "site", t0, FoundingEntry{f}); err != nil || b.Signatures != 2 {
		t.Errorf("%v, %d signatures", err, b.Signatures)
	}
	if err := tryOn(&b, SiteFounded, "site", t0, FoundingEntry{f}); err == nil || !strings.Contains(err.Error(), "founded twice") {
		t.Errorf("founded again: %v", err)
	}
}

// A signature is taken once, from a founder, over this founding.
func TestFoundingAdd(t *testing.T) {
	f, people := founders(t)
	f.Signatures = nil
	a, err := Parse([]byte(f.Act))
	if err != nil {
		t.Fatal(err)
	}
	good := people["km"].sign(t, a, Request).Assertion
	for name, c := range map[string]struct {
		who  string
		sign passkey.Assertion
		want error
	}{
		"approval for a request": {"km", people["km"].sign(t, a, Approve).Assertion, passkey.ErrAssertion},
		"other's":                {"so", good, passkey.ErrAssertion},
		"stranger":               {"prep", good, ErrNotAllowed},
	} {
		if _, err := f.Add(c.who, c.sign, t0); !errors.Is(err, c.want) || len(f.Signatures) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.Add("km", good, t0); err != nil || !f.Signed("km") || f.Signed("so") {
		t.Error(err)
	}
	if _, err := f.Add("km", good, t0); !errors.Is(err, ErrNotAllowed) || len(f.Signatures) != 1 {
		t.Error(err)
	}
	if _, err := f.Add("so", people["so"].sign(t, a, Approve).Assertion, t0); err != nil {
		t.Error(err)
	}
	if err := f.Check(t0); err != nil {
		t.Error(err)
	}
}

func TestFoundingRefuses(t *testing.T) {
	// resigned is f with its act changed, and signed by everybody as it is then.
	resigned := func(t *testing.T, f *Founding, p map[string]cast, change func(*Act)) {
		a, err := Parse([]byte(f.Act))
		if err != nil {
			t.Fatal(err)
		}
		change(&a)
		f.Act, f.Signatures = string(a.Canonical()), nil
		for _, who := range f.People {
			if err := f.Sign(who.ID, p[who.ID].key, t0); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		spoil func(*testing.T, *Founding, map[string]cast)
		at    time.Duration
		want  error
		why   string
	}{
		"unsigned":    {spoil: func(_ *testing.T, f *Founding, _ map[string]cast) { f.Signatures = nil }, want: ErrOpen, why: "km has not signed"},
		"one missing": {spoil: func(_ *testing.T, f *Founding, _ map[string]cast) { f.Signatures = f.Signatures[:1] }, want: ErrOpen, why: "so has not signed"},
		"other's key": {spoil: func(_ *testing.T, f *Founding, _ map[string]cast) {
			f.Signatures[1].Assertion = f.Signatures[0].Assertion
		}, want: passkey.ErrAssertion},
		"other's name": {spoil: func(_ *testing.T, f *Founding, _ map[string]cast) { f.Signatures[1].Person = "prep" }, want: ErrOpen, why: "so has not signed"},
		"signed twice": {spoil: func(_ *testing.T, f *Founding, _ map[string]cast) {
			f.Signatures = append(f.Signatures, f.Signatures[0])
		}, want: ErrNotAllowed, why: "3 signatures of 2 people"},
		"verb": {spoil: func(_ *testing.T, f *Founding, _ map[string]cast) { f.Signatures[1].Verb = Request }, why: `says "request"`},
		"rejection": {spoil: func(t *testing.T, f *Founding, p map[string]cast) {
			a, _ := Parse([]byte(f.Act))
			f.Signatures[1] = p["so"].sign(t, a, Reject)
		}, why: `says "reject"`},
		"other name":    {spoil: func(_ *testing.T, f *Founding, _ map[string]cast) { f.People[1].Name = "somebody else" }, want: ErrNotAllowed, why: "person_so is not what was signed"},
		"other roles":   {spoil: func(_ *testing.T, f *Founding, _ map[string]cast) { f.People[1].Roles = []string{"prep"} }, want: ErrNotAllowed, why: "person_so is not what was signed"},
		"other boss":    {spoil: func(_ *testing.T, f *Founding, _ map[string]cast) { f.People[1].ReportsTo = "km" }, want: ErrNotAllowed, why: "person_so is not what was signed"},
		"other policy":  {spoil: func(_ *testing.T, f *Founding, _ map[string]cast) { f.Policy.Nodal = NodalBoth }, want: ErrNotAllowed, why: "policy_sha256 is not what was signed"},
		"other version": {spoil: func(_ *testing.T, f *Founding, _ map[string]cast) { f.Policy.Version = 2 }, why: "another's"},
		"one more": {spoil: func(t *testing.T, f *Founding, _ map[string]cast) {
			f.People = append(f.People, person(t, "prep", "", "prep").Person)
		}, want: ErrNotAllowed, why: "4 things were signed, want 5"},
		"one less": {spoil: func(t *testing.T, f *Founding, p map[string]cast) {
			resigned(t, f, p, func(a *Act) { delete(a.Params, "person_so") })
		}, want: ErrNotAllowed, why: "3 things were signed, want 4"},
		"more signed": {spoil: func(t *testing.T, f *Founding, p map[string]cast) {
			resigned(t, f, p, func(a *Act) { a.Params["x"] = "y" })
		}, want: ErrNotAllowed, why: "x is not what was signed"},
		"alone":        {spoil: func(_ *testing.T, f *Founding, _ map[string]cast) { f.People = f.People[:1] }, why: "1 people, want at least 2"},
		"same person":  {spoil: func(_ *testing.T, f *Founding, _ map[string]cast) { f.People[1] = f.People[0] }, why: "km is there twice"},
		"same passkey": {spoil: func(_ *testing.T, f *Founding, _ map[string]cast) { f.People[1].Credential = f.People[0].Credential }, want: ErrNotAllowed, why: "the passkey is that of km"},
		"role":         {spoil: func(_ *testing.T, f *Founding, _ map[string]cast) { f.People[1].Roles = []string{"boss"} }, why: `role "boss"`},
		"policy":       {spoil: func(_ *testing.T, f *Founding, _ map[string]cast) { f.Policy.Nodal = "neither" }, why: "nodal is"},
		"other kind": {spoil: func(t *testing.T, f *Founding, p map[string]cast) {
			resigned(t, f, p, func(a *Act) { a.Kind = "policy.adopt" })
		}, why: "another's"},
		"requester": {spoil: func(t *testing.T, f *Founding, p map[string]cast) {
			resigned(t, f, p, func(a *Act) { a.Requester = "so" })
		}, why: "another's"},
		"no act":    {spoil: func(_ *testing.T, f *Founding, _ map[string]cast) { f.Act = "{}" }, why: "act: "},
		"too late":  {at: time.Hour + time.Second, want: ErrTooLate},
		"too early": {at: -2 * time.Minute, want: ErrTooLate},
	} {
		f, p := founders(t)
		if c.spoil != nil {
			c.spoil(t, &f, p)
		}
		var b Book
		for _, err := range []error{f.Check(t0.Add(c.at)), tryOn(&b, SiteFounded, "site", t0.Add(c.at), FoundingEntry{f})} {
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%s: got %v, want %v: %s", name, err, c.want, c.why)
			}
		}
		if b.people != nil {
			t.Errorf("%s: refused, and yet the book has people", name)
		}
	}
	_, p := founders(t)
	all := []Person{p["km"].Person, p["so"].Person}
	if _, err := Found("bureau", policy(), all, map[string]Key{"km": p["km"].key}, t0); !errors.Is(err, ErrOpen) {
		t.Errorf("a key is missing: %v", err)
	}
	if _, err := Found("bureau", policy(), all, map[string]Key{"km": p["km"].key, "so": (*passkey.Soft)(nil)}, t0); err == nil {
		t.Error("a passkey that cannot sign has signed")
	}
	if _, _, err := NewFounding("bureau", policy(), all[:1], t0); err == nil {
		t.Error("alone")
	}
	if err := (&Founding{}).Sign("km", p["km"].key, t0); err == nil {
		t.Error("no act was signed")
	}
	if err := (Founding{}).Check(t0); err == nil {
		t.Error("the zero founding is taken")
	}
}

func FuzzFoundingEntry(f *testing.F) {
	good, _ := founders(f)
	seed := encode(FoundingEntry{good})
	f.Add(seed)
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"founding":{"people":[{"id":"a"},{"id":"a"}],"policy":{"version":1}}}`))
	f.Add([]byte(strings.Replace(string(seed), `"km"`, `"KM"`, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		var b Book
		if b.Apply(SiteFounded, "site", t0, data) != nil {
			if b.people != nil {
				t.Error("refused, and yet the book has people")
			}
			return
		}
		var e FoundingEntry
		if err := json.Unmarshal(data, &e); err != nil {
			t.Fatal(err)
		}
		if signers := slices.Sorted(maps.Keys(b.people)); !slices.Equal(signers, []string{"km", "so"}) || e.Founding.Policy.Digest() != good.Policy.Digest() {
			t.Errorf("%q is taken: nobody signed it", data)
		}
	})
}
