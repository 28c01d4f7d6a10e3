package site_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"ankan/access"
	"ankan/act"
	"ankan/hsm/hsmtest"
	"ankan/parts"
	"ankan/site"
	"ankan/site/sitetest"
)

func TestParseFounders(t *testing.T) {
	good := `founders:
  - {number: "1002", name: Vikram Iyer, roles: [key-manager]}
  - {number: "1004", name: Asha Rao, roles: [security-officer], reports_to: "1002"}
`
	got, err := site.ParseFounders("f.yaml", []byte(good))
	want := []act.Person{
		{ID: "1002", Name: "Vikram Iyer", Roles: []string{"key-manager"}, Employment: act.Permanent},
		{ID: "1004", Name: "Asha Rao", Roles: []string{"security-officer"}, Employment: act.Permanent, ReportsTo: "1002"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for change, want := range map[[2]string]string{
		{"\n  - {number: \"1004\", name: Asha Rao, roles: [security-officer], reports_to: \"1002\"}", ""}: "f.yaml:2:3: 1 founders, want 2 to 20",
		{"\"1004\"", "\"1002\""}:                          "f.yaml:3:14: person 1002 is there twice",
		{"\"1004\"", "\"../1\""}:                          `f.yaml:3:14: person number is "../1"`,
		{"Asha Rao", "\"\""}:                              "f.yaml:3:6: person 1004: a name",
		{"[security-officer]", "[]"}:                      "f.yaml:3:6: a person needs an id and a role",
		{"[security-officer]", "[boss]"}:                  `f.yaml:3:6: person 1004: role "boss" is not in the policy`,
		{"[key-manager]", "[key-manager, key-custodian]"}: "f.yaml:2:6: person 1002: not allowed: key-manager and key-custodian exclude each other",
		{"reports_to: \"1002\"", "reports_to: \"1003\""}:  `person 1004 reports to "1003", which is no other founder`,
		{"reports_to: \"1002\"", "reports_to: \"1004\""}:  `person 1004 reports to "1004", which is no other founder`,
		{"reports_to", "boss"}:                            "f.yaml:3",
		{"[key-manager]}", "[nodal-officer]}\n  - {number: \"9\", name: X, roles: [nodal-officer]}"}: "f.yaml:3:6: person 9: not allowed: 1002 is nodal-officer, and one person at a time holds that role",
	} {
		doc := strings.Replace(good, change[0], change[1], 1)
		if _, err := site.ParseFounders("f.yaml", []byte(doc)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", change, err, want)
		}
	}
	if _, err := site.LoadFounders(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzParseFounders(f *testing.F) {
	f.Add([]byte("founders:\n  - {number: \"1\", name: A, roles: [witness]}\n  - {number: \"2\", name: B, roles: [auditor], reports_to: \"1\"}\n"))
	f.Add([]byte("founders: []"))
	f.Add([]byte("founders:\n  - {number: 1, name: , roles: }"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		people, err := site.ParseFounders("f.yaml", doc)
		if err != nil {
			return
		}
		// What is taken can be founded with: only the passkeys are missing.
		for i := range people {
			people[i].Credential.ID, people[i].Credential.Public = []byte{byte(i)}, []byte{byte(i)}
		}
		if p := access.DefaultPolicy(); len(people) < 2 || p.CheckPeople(people) != nil {
			t.Errorf("%+v", people)
		}
	})
}

// What is known to fail is said before anybody is asked for anything.
func TestCheckReady(t *testing.T) {
	c := sitetest.Config(t, "op", "operator")
	if info, err := site.CheckReady(c); err != nil || info.Certified || info.Model == "" {
		t.Error(info, err)
	}
	if _, err := os.Stat(c.Data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("looking left something: %v", err)
	}
	certified := *c
	certified.Token.RequireCertified = true
	if _, err := site.CheckReady(&certified); err == nil || !strings.Contains(err.Error(), "require_certified is set") {
		t.Error(err)
	}
	none := *c
	none.Token.Passphrase += ".none"
	if _, err := site.CheckReady(&none); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "token passphrase: ") {
		t.Error(err)
	}
	// A module that is there is opened.
	if err := os.MkdirAll(filepath.Dir(c.Token.File), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.Token.File, []byte("no token"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := site.CheckReady(c); err == nil || !strings.Contains(err.Error(), c.Token.File) {
		t.Error(err)
	}
	done := sitetest.Config(t, "op", "operator")
	sitetest.Init(t, done, parts.All()...)
	if _, err := site.CheckReady(done); err == nil || !strings.Contains(err.Error(), "site op is set up already: ") {
		t.Error(err)
	}
}

// A crash after the founding and before the card: the people stay who signed.
func TestFinish(t *testing.T) {
	c := sitetest.Config(t, "op", "operator")
	if sitetest.Must[bool](t)(site.Begun(t.Context(), c)) {
		t.Error("nothing is there, and the site has begun")
	}
	token, crew := hsmtest.Soft(t, nil), sitetest.Founders(t)
	f := crew.Founding(t, c)
	f.Passwords = map[string]access.Password{"0001": sitetest.Must[access.Password](t)(access.NewPassword("a long enough password", 12))}
	if err := site.Init(t.Context(), c, token, f, func(string) {}, parts.All()...); err != nil {
		t.Fatal(err)
	}
	card := sitetest.Must[[]byte](t)(os.ReadFile(c.CardFile()))
	if err := os.Remove(c.CardFile()); err != nil {
		t.Fatal(err)
	}
	if !sitetest.Must[bool](t)(site.Begun(t.Context(), c)) {
		t.Error("the database is there, and the site has not begun")
	}
	if err := site.Finish(t.Context(), c, token, parts.All()...); err != nil {
		t.Fatal(err)
	}
	if again := sitetest.Must[[]byte](t)(os.ReadFile(c.CardFile())); string(again) != string(card) {
		t.Error("another card than before")
	}
	s := sitetest.Open(t, c, token, parts.All()...)
	for id, has := range map[string]bool{"0001": true, "0002": false} {
		if m, err := s.People().Member(t.Context(), id); err != nil || m.HasPassword != has || m.State != access.Active {
			t.Errorf("person %s: %+v, %v", id, m, err)
		}
	}
	// A database without a founding is none that can be finished.
	empty := sitetest.Config(t, "op", "operator")
	if err := os.MkdirAll(empty.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := site.Finish(t.Context(), empty, token, parts.All()...); err == nil || !strings.Contains(err.Error(), "holds no founding") {
		t.Error(err)
	}
}
