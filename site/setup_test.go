package site_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ankan/access"
	"ankan/act"
	"ankan/exchange"
	"ankan/hsm/hsmtest"
	"ankan/hsm/soft"
	"ankan/message"
	"ankan/parts"
	"ankan/site"
	"ankan/site/sitetest"
)

func TestReadSecretFile(t *testing.T) {
	credentials := t.TempDir()
	for _, tt := range []struct {
		what        string
		mode        os.FileMode
		text        string
		credentials string // CREDENTIALS_DIRECTORY; the file lies in credentials
		want, err   string
	}{
		{what: "its owner's", mode: 0o600, text: "secret phrase\r\n\n", want: "secret phrase"},
		{what: "read only", mode: 0o400, text: " kept as it is ", want: " kept as it is "},
		{what: "everybody's", mode: 0o644, text: "x", err: "can be read by others (mode 644); run: chmod 600 "},
		{what: "group's", mode: 0o440, text: "x", err: "can be read by others (mode 440)"},
		{what: "others' to write", mode: 0o602, text: "x", err: "(mode 602)"},
		{what: "empty", mode: 0o600, text: "\n\n", err: " is empty"},
		{what: "systemd's", mode: 0o440, text: "x", credentials: credentials + "/", want: "x"},
		{what: "systemd's, open to all", mode: 0o444, text: "x", credentials: credentials, err: "(mode 444)"},
		{what: "systemd's, for the group to write", mode: 0o660, text: "x", credentials: credentials, err: "(mode 660)"},
		{what: "not in systemd's folder", mode: 0o440, text: "x", credentials: filepath.Dir(credentials), err: "(mode 440)"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Setenv("CREDENTIALS_DIRECTORY", tt.credentials)
			path := filepath.Join(credentials, "pass")
			os.Remove(path)
			if err := errors.Join(os.WriteFile(path, []byte(tt.text), 0o600), os.Chmod(path, tt.mode)); err != nil {
				t.Fatal(err)
			}
			got, err := site.ReadSecretFile(path)
			if string(got) != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q, %v, want %q, %q", got, err, tt.want, tt.err)
			}
		})
	}
	if _, err := site.ReadSecretFile(filepath.Join(credentials, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestOpenToken(t *testing.T) {
	c := sitetest.Config(t, "op", "operator")
	dir := filepath.Dir(c.Token.File)
	if _, err := site.OpenToken(c, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no token and not to be made: %v", err)
	}
	os.RemoveAll(dir) // a lock file may lie there

	c.Token.RequireCertified = true
	if _, err := site.OpenToken(c, true); err == nil || !strings.Contains(err.Error(), "require_certified is set (SOP 6.3.2.i); use a certified module") {
		t.Errorf("a module without a certificate is made: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the refusal left %s behind (%v)", dir, err)
	}

	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	made := sitetest.Must[*soft.Token](t)(soft.Create(c.Token.File, []byte("a passphrase for tests"), soft.WithCost(soft.LowestCost())))
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := site.OpenToken(c, false); err == nil || !strings.Contains(err.Error(), "require_certified is set") {
		t.Errorf("a module without a certificate is opened: %v", err)
	}
	c.Token.RequireCertified = false
	token, err := site.OpenToken(c, true) // there is one: it is opened, and the refusal before let go of it
	if err != nil {
		t.Fatal(err)
	}
	if err := token.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.Token.Passphrase, []byte("another passphrase"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := c.Token.File + ": the passphrase is wrong, or the token file was changed"
	if _, err := site.OpenToken(c, false); err == nil || err.Error() != want {
		t.Errorf("wrong passphrase: %v, want %s", err, want)
	}
	if err := os.Remove(c.Token.Passphrase); err != nil {
		t.Fatal(err)
	}
	if _, err := site.OpenToken(c, false); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "token passphrase: ") {
		t.Errorf("no passphrase: %v", err)
	}
}

// Who cannot found a site leaves nothing behind.
func TestInitRefused(t *testing.T) {
	c := sitetest.Config(t, "op", "operator")
	token := hsmtest.Soft(t, nil)
	two := sitetest.Founders(t).Founding(t, c)
	alter := func(f func(*access.Founding)) access.Founding {
		g := two
		g.People, g.Signatures = slices.Clone(two.People), slices.Clone(two.Signatures)
		f(&g)
		return g
	}
	other := *c
	other.Site = "other"
	for _, tt := range []struct {
		founding access.Founding
		want     string
	}{
		{access.Founding{}, "founding: 0 people, want at least 2"},
		{alter(func(f *access.Founding) { f.People = f.People[:1] }), "founding: 1 people, want at least 2"},
		{alter(func(f *access.Founding) { f.People[1].Roles = []string{"nobody"} }), `founding: person 0002: role "nobody" is not in the policy`},
		{alter(func(f *access.Founding) { f.People[1].Roles = []string{"key-manager", "security-officer"} }), "founding: person 0002: not allowed: "},
		{alter(func(f *access.Founding) { f.People[1] = act.Person{} }), "founding: a person needs an id and a role"},
		{alter(func(f *access.Founding) { f.People[1].Name = "Somebody else" }), "founding: not allowed: person_0002 is not what was signed"},
		{alter(func(f *access.Founding) { f.Policy.Nodal = act.NodalBoth }), "founding: not allowed: policy_sha256 is not what was signed"},
		{alter(func(f *access.Founding) { f.Signatures = f.Signatures[:1] }), "founding: not approved yet: person 0002 has not signed"},
		{sitetest.Founders(t).Founding(t, &other), `founding: it is for site "other", this is "op"`},
	} {
		if err := site.Init(t.Context(), c, token, tt.founding, func(string) {}, parts.All()...); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
	if _, err := os.Stat(c.Data); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("data folder: %v", err)
	}
	if keys, err := token.Keys(t.Context()); len(keys) != 0 || err != nil {
		t.Errorf("keys %v, %v", keys, err)
	}
	if _, err := site.Open(t.Context(), c, token, nil, parts.All()...); err == nil || !strings.Contains(err.Error(), "site op is not set up; run: ankan site found -c ") {
		t.Errorf("a site that is not set up: %v", err)
	}
}

func TestInit(t *testing.T) {
	c := sitetest.Config(t, "op", "operator")
	token, people := hsmtest.Soft(t, nil), sitetest.Founders(t)
	init := func(who sitetest.Crew) (said string, err error) {
		var b strings.Builder
		err = site.Init(t.Context(), c, token, who.Founding(t, c), func(line string) { b.WriteString(line + "\n") }, parts.All()...)
		return b.String(), err
	}
	// Only the token is there, with some of its keys: a crash came early.
	if _, err := token.Generate(t.Context(), site.KeyLog, "log", "Ed25519"); err != nil {
		t.Fatal(err)
	}
	c.Edge.Address = "127.0.0.1:0"
	if said, err := init(people); err == nil || !strings.Contains(said, "people: 2 founded the site, each with a signature of their own\n") || !strings.HasPrefix(err.Error(), "no partner would take this site's card; correct "+filepath.Join(filepath.Dir(c.Data), "site.yaml")) {
		t.Fatalf("a card with an address that nobody can reach: %v", err)
	}
	c.Edge.Address = "127.0.0.1:7001"
	said, err := init(people)
	if err != nil || !strings.Contains(said, "people: a try before this one founded the site") || !strings.Contains(said, "standing keys: log, site, pgp-sign, pgp-open, agree, subscriber\n") {
		t.Fatal(said, err)
	}
	card := sitetest.Must[[]byte](t)(os.ReadFile(c.CardFile()))
	if p, err := exchange.ParsePartner("card", card); err != nil || p.Name() != "op" || !p.Has(site.Operator) {
		t.Fatal(p, err)
	}
	if _, err := init(people); err == nil || err.Error() != c.CardFile()+" is there: the site is set up already" {
		t.Errorf("set up again: %v", err)
	}
	if again := sitetest.Must[[]byte](t)(os.ReadFile(c.CardFile())); !bytes.Equal(card, again) {
		t.Error("the refusal changed the card")
	}

	// Everything is there but the card: a crash came late. The keys and the
	// people that were there stay.
	if err := os.Remove(c.CardFile()); err != nil {
		t.Fatal(err)
	}
	said, err = init(sitetest.Founders(t, "0008", "0009"))
	if err != nil || !strings.Contains(said, "people: a try before this one founded the site") {
		t.Fatal(said, err)
	}
	if again := sitetest.Must[[]byte](t)(os.ReadFile(c.CardFile())); !bytes.Equal(card, again) {
		t.Error("the second try made another card")
	}
	s := sitetest.Open(t, c, token, parts.All()...)
	if _, err := s.People().Person(t.Context(), "0001"); err != nil {
		t.Error(err)
	}
	if _, err := s.People().Person(t.Context(), "0008"); !errors.Is(err, access.ErrNoPerson) {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(c.Data, ".new-*")); len(left) > 0 || err != nil {
		t.Error(left, err)
	}
}

func TestWriteNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := site.WriteNew(path, []byte("one"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := site.WriteNew(path, []byte("two"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	fi := sitetest.Must[os.FileInfo](t)(os.Stat(path))
	if text := sitetest.Must[[]byte](t)(os.ReadFile(path)); string(text) != "one" || fi.Mode() != 0o640 {
		t.Errorf("%q, %v", text, fi.Mode())
	}
	if all := sitetest.Must[[]os.DirEntry](t)(os.ReadDir(filepath.Dir(path))); len(all) != 1 {
		t.Errorf("%v lie beside it", all)
	}
}

func TestLoadPeople(t *testing.T) {
	path := filepath.Join(t.TempDir(), "people.json")
	for doc, want := range map[string]string{
		`{"people":[{"id":"1","name":"A","roles":["witness"]}]}`: "",
		`{"people":[],"peers":[]}`:                               path + `: `,
		`{"people":[]} x`:                                        path + `: `,
		`{"people":[]}{"people":[]}`:                             path + `: `,
		`[{"people":[]}]`:                                        path + `: `,
		`{"people":[]`:                                           path + `: `,
		``:                                                       path + `: `,
	} {
		if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		people, err := site.LoadPeople(path)
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) || err == nil && people[0].ID != "1" {
			t.Errorf("%s: %v, %v", doc, people, err)
		}
	}
	if _, err := site.LoadPeople(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzPeople(f *testing.F) {
	f.Add([]byte(`{"people":[{"id":"1","name":"A","roles":["witness"]}]}`))
	f.Add([]byte(`{"people":{}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var one, two site.People
		if message.Read(bytes.NewReader(doc), &one) != nil {
			return
		}
		again := sitetest.Must[[]byte](t)(json.Marshal(one))
		if err := message.Read(bytes.NewReader(again), &two); err != nil {
			t.Errorf("%s is taken and %s is not: %v", doc, again, err)
		}
	})
}

func TestPartnersRefused(t *testing.T) {
	c := sitetest.Config(t, "op", "operator")
	token := sitetest.Init(t, c, parts.All()...)
	c.Partners = []string{c.CardFile()}
	want := c.CardFile() + `: partner "op" is there twice, or is this site`
	if _, err := site.Open(t.Context(), c, token, nil, parts.All()...); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if _, err := site.LoadPartners(&site.Config{Site: "x", Partners: []string{c.CardFile(), c.CardFile()}}); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
