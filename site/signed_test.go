package site_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/ceremony"
	"ankan/hsm/hsmtest"
	"ankan/keys"
	"ankan/notice"
	"ankan/parts"
	"ankan/passkey"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/store"
)

// works is a site with all roles that runs, its founders' keys, and its socket.
func works(t *testing.T) (*site.Site, sitetest.Crew, control) {
	t.Helper()
	c := sitetest.Config(t, "works", "operator, bureau, plant")
	token, crew := hsmtest.Soft(t, nil), sitetest.Founders(t)
	key := sitetest.Must[*passkey.Soft](t)(passkey.NewSoft("site.example", "https://site.example"))
	crew.Keys["0003"] = key
	crew.People = append(crew.People, act.Person{ID: "0003", Name: "Person", Roles: []string{"witness"}, Employment: act.Permanent, Credential: key.Credential})
	if err := site.Init(t.Context(), c, token, crew.Founding(t, c), func(string) {}, parts.All()...); err != nil {
		t.Fatal(err)
	}
	s := sitetest.Open(t, c, token, parts.All()...)
	return s, crew, serve(t, s)
}

// send signs a request as a person and sends it; edit changes it before it is
// signed, spoil after.
func (c control) send(crew sitetest.Crew, person, path string, body []byte, edit, spoil func(*site.Signed)) (int, string) {
	c.t.Helper()
	q := site.NewSigned(person, body, time.Now())
	if edit != nil {
		edit(&q)
	}
	q.Assertion = sitetest.Must[passkey.Assertion](c.t)(crew.Keys[person].Sign(q.Challenge("works", "POST "+path)))
	if spoil != nil {
		spoil(&q)
	}
	return c.ask("POST", path, bytes.NewReader(sitetest.Must[[]byte](c.t)(json.Marshal(q))))
}

// Every route of the socket stands in the policy, or brings its own proof; what
// the policy does not give the socket is refused, and the refusal is logged.
func TestRoutesArePermitted(t *testing.T) {
	s, _, at := works(t)
	routes := s.Routes()
	policy := access.DefaultPolicy()
	own := []string{"POST /v1/acts", "POST /v1/acts/{id}/sign", "POST /v1/acts/{id}/do", "POST /v1/people/{id}/passkey"}
	doc := string(sitetest.Must[[]byte](t)(os.ReadFile("../docs/reference/control-socket.md")))
	for _, pattern := range slices.Sorted(maps.Keys(routes)) {
		r := routes[pattern]
		switch {
		case r.Permission == site.OwnProof:
			if !slices.Contains(own, pattern) {
				t.Errorf("%s asks nobody", pattern)
			}
		case policy.Permissions[r.Permission] == nil:
			t.Errorf("%s wants %q, which the policy does not name", pattern, r.Permission)
		case !r.Signed && !policy.SocketMay(r.Permission):
			t.Errorf("%s wants %q, which the default policy does not give the socket", pattern, r.Permission)
		case r.Signed != regexp.MustCompile(`^POST /v1/(drafts/|ceremonies/|ledger$)`).MatchString(pattern):
			t.Errorf("%s is signed: %v", pattern, r.Signed)
		}
		noun := strings.Split(pattern, "/")[2]
		of := map[string]string{"orders": "ORDER", "runs": "ORDER", "acts": "ACT", "people": "N", "keys": "KEY", "ceremonies": "CEREMONY", "boxes": "BOX"}[noun]
		shown := strings.NewReplacer("{id}", of, "{id...}", of, "{step}", "STEP", "{name}", "NAME", "{operator}", "OPERATOR", "{profile}", "PROFILE", "{sha256}", "SHA256", "{number}", "NUMBER", "{site}", "SITE").Replace(pattern)
		if !strings.Contains(doc, "`"+shown+"`") && !strings.Contains(doc, "`"+shown+"?") {
			t.Errorf("docs/reference/control-socket.md does not have %s", shown)
		}
	}
	// A policy that gives the socket nothing.
	policy.Version = 2
	policy.Permissions = maps.Clone(policy.Permissions)
	for name, roles := range policy.Permissions {
		policy.Permissions[name] = slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return r == act.Socket })
	}
	sitetest.Change(t, s, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO policy (version, document) VALUES (2, $1)`, sitetest.Must[[]byte](t)(json.Marshal(policy)))
		return err
	})
	before := s.Store().Size()
	refused := 0
	for pattern, r := range routes {
		method, path, _ := strings.Cut(regexp.MustCompile(`\{\w+[.]*\}`).ReplaceAllString(pattern, "1"), " ")
		status, text := at.ask(method, path, strings.NewReader("{}"))
		want := "the policy does not give the control socket the permission " + r.Permission
		switch {
		case r.Signed:
			if status != http.StatusForbidden || !strings.Contains(text, "the request: not allowed") {
				t.Errorf("%s, unsigned: %d %s", pattern, status, text)
			}
		case r.Permission == site.OwnProof:
			if status == http.StatusOK || strings.Contains(text, want) {
				t.Errorf("%s, without a proof: %d %s", pattern, status, text)
			}
		default:
			refused++
			if status != http.StatusForbidden || !strings.Contains(text, want) {
				t.Errorf("%s: %d %s", pattern, status, text)
			}
		}
	}
	if refused < 20 {
		t.Fatalf("%d routes were refused", refused)
	}
	if s.Store().Size() < before+int64(refused) {
		t.Error("refusals leave no entry")
	}
	// A part whose route names no permission does not open.
	c := sitetest.Config(t, "op", "operator")
	open := site.Part{Role: site.Operator, Open: func(context.Context, *site.Site) (site.Duties, error) {
		return site.Duties{Routes: map[string]site.Route{"GET /v1/x": {Handler: http.NotFoundHandler()}}}, nil
	}}
	token := sitetest.Init(t, c, open)
	if _, err := site.Open(t.Context(), c, token, nil, open); err == nil || !strings.Contains(err.Error(), `the route "GET /v1/x" names no permission`) {
		t.Error(err)
	}
}

// A draft is somebody's who proved that they sent it, now, once.
func TestSignedRequests(t *testing.T) {
	s, crew, at := works(t)
	draft := func(id string) []byte {
		return sitetest.Must[[]byte](t)(json.Marshal(site.PersonDraft{Person: act.Person{ID: id, Name: "Asha Rao", Roles: []string{"warehouse"}, Employment: act.Permanent}}))
	}
	const path = "/v1/drafts/people"
	var taken site.Signed
	for name, c := range map[string]struct {
		person      string
		path        string
		edit, spoil func(*site.Signed)
		status      int
		want        string
	}{
		"other body":      {spoil: func(q *site.Signed) { q.Body += " " }, status: 403, want: "it is over other bytes than these"},
		"other person":    {spoil: func(q *site.Signed) { q.Person = "0002" }, status: 403, want: "it is of another passkey"},
		"nobody":          {spoil: func(q *site.Signed) { q.Person = "0009" }, status: 404, want: "no such person"},
		"other time":      {spoil: func(q *site.Signed) { q.At = q.At.Add(time.Nanosecond) }, status: 403, want: "it is over other bytes"},
		"other nonce":     {spoil: func(q *site.Signed) { q.Nonce = strings.Repeat("0", 32) }, status: 403, want: "it is over other bytes"},
		"no nonce":        {edit: func(q *site.Signed) { q.Nonce = "" }, status: 403, want: `its nonce is \"\", want 32 hexadecimal digits`},
		"lines":           {spoil: func(q *site.Signed) { q.Person += "\nx" }, status: 403, want: "its nonce is"},
		"old":             {edit: func(q *site.Signed) { q.At = q.At.Add(-61 * time.Second) }, status: 403, want: "it was signed 20"},
		"ahead":           {edit: func(q *site.Signed) { q.At = q.At.Add(time.Minute) }, status: 403, want: "it was signed 20"},
		"before start":    {edit: func(q *site.Signed) { q.At = q.At.Add(-50 * time.Second) }, status: 403, want: "it was signed before the site started"},
		"elsewhere":       {path: "/v1/drafts/policy", status: 403, want: "the permission policy.draft is not one of"},
		"no permission":   {person: "0003", status: 403, want: "the permission people.draft is not one of person 0003, who is witness"},
		"other time zone": {edit: func(q *site.Signed) { q.At = q.At.In(time.FixedZone("IST", 19800)) }, status: 403, want: "its time is not in UTC"},
	} {
		person, to := "0001", path
		if c.person != "" {
			person = c.person
		}
		if c.path != "" {
			person, to = "0003", c.path
		}
		if status, text := at.send(crew, person, to, draft("2001"), c.edit, c.spoil); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s, want %d with %s", name, status, text, c.status, c.want)
		}
	}
	// Signed for another address: what a person signs for one is not taken at another.
	q := site.NewSigned("0001", draft("2001"), time.Now())
	q.Assertion = sitetest.Must[passkey.Assertion](t)(crew.Keys["0001"].Sign(q.Challenge("works", "POST /v1/drafts/ceremonies")))
	if status, text := at.ask("POST", path, bytes.NewReader(sitetest.Must[[]byte](t)(json.Marshal(q)))); status != 403 || !strings.Contains(text, "it is over other bytes") {
		t.Errorf("for another address: %d %s", status, text)
	}
	if all, err := s.People().Drafts(t.Context()); err != nil || len(all) != 0 {
		t.Fatalf("%v, %v", all, err)
	}
	status, text := at.send(crew, "0001", path, draft("2001"), nil, func(q *site.Signed) { taken = *q })
	var made site.PersonDrafted
	if err := json.Unmarshal([]byte(text), &made); err != nil || status != 200 || made.Draft.Editor != "0001" || made.Act != "person.enrol" || len(made.Code) != 19 {
		t.Fatalf("%d %s %v", status, text, err)
	}
	if status, text := at.ask("POST", path, bytes.NewReader(sitetest.Must[[]byte](t)(json.Marshal(taken)))); status != 403 || !strings.Contains(text, "it came before; sign it anew") {
		t.Errorf("the same again: %d %s", status, text)
	}
	// The code registers a software passkey, of whoever has it.
	key := sitetest.Must[*passkey.Soft](t)(passkey.NewSoft("site.example", "https://site.example"))
	register := func(edit func(*site.SoftPasskey)) (int, string) {
		q := site.SoftPasskey{Code: made.Code, Credential: key.Credential}
		q.Assertion = sitetest.Must[passkey.Assertion](t)(key.Sign(site.RegisterChallenge("works", "2001", made.Code, key.Credential.ID)))
		edit(&q)
		return at.ask("POST", "/v1/people/2001/passkey", bytes.NewReader(sitetest.Must[[]byte](t)(json.Marshal(q))))
	}
	for want, edit := range map[string]func(*site.SoftPasskey){
		"the number or the code is wrong":       func(q *site.SoftPasskey) { q.Code = "AAAA-AAAA-AAAA-AAAA" },
		"it is over other bytes":                func(q *site.SoftPasskey) { q.Assertion = sitetest.Must[passkey.Assertion](t)(key.Sign([32]byte{})) },
		"only a software passkey is registered": func(q *site.SoftPasskey) { q.Credential.Method = passkey.Biometric },
		"only a software passkey":               func(q *site.SoftPasskey) { q.Credential.Model = "a finger" },
		"sealing pair: ":                        func(q *site.SoftPasskey) { q.Credential.Seal = &passkey.Sealing{} },
	} {
		if status, text := register(edit); status == 200 || !strings.Contains(text, want) {
			t.Errorf("%d %s, want %s", status, text, want)
		}
	}
	if status, text := register(func(*site.SoftPasskey) {}); status != 200 {
		t.Fatal(status, text)
	}
	if d, err := s.People().GetDraft(t.Context(), "2001"); err != nil || !d.Registered || !reflect.DeepEqual(d.Person.Credential, key.Credential) {
		t.Errorf("%+v, %v", d, err)
	}
	seen := map[string]int{}
	entries := sitetest.Must[[]audit.Entry](t)(s.Store().Entries(t.Context(), 0, 1000))
	for _, e := range entries {
		seen[e.Kind]++
		if strings.Contains(fmt.Sprint(e.Data), made.Code) {
			t.Errorf("the log holds the code: %v", e)
		}
	}
	if seen["request.signed"] != 1 || seen["request.refused"] < 12 {
		t.Errorf("%v", seen)
	}
}

// A passkey whose counter goes back is a copy: its person is locked.
func TestSignedByACopy(t *testing.T) {
	s, crew, at := works(t)
	body := sitetest.Must[[]byte](t)(json.Marshal(site.PersonDraft{Person: act.Person{ID: "2001", Name: "A", Roles: []string{"warehouse"}, Employment: act.Permanent}}))
	key := crew.Keys["0001"].(*passkey.Soft)
	key.Count(9)
	if status, text := at.send(crew, "0001", "/v1/drafts/people", body, nil, nil); status != 200 {
		t.Fatal(status, text)
	}
	key.Count(3)
	if status, text := at.send(crew, "0001", "/v1/drafts/people", body, nil, nil); status == 200 || !strings.Contains(text, "counter went back") {
		t.Error(status, text)
	}
	if m, err := s.People().Member(t.Context(), "0001"); err != nil || m.State != access.Locked {
		t.Errorf("%+v, %v", m, err)
	}
}

// What the socket shows and takes of people, policy, keys, ceremonies and
// notices.
func TestDesk(t *testing.T) {
	s, crew, at := works(t)
	get := func(path string, v any) {
		t.Helper()
		status, text := at.ask("GET", path, nil)
		if err := json.Unmarshal([]byte(text), v); status != 200 || err != nil {
			t.Fatalf("%s: %d %s %v", path, status, text, err)
		}
	}
	for path, want := range map[string]string{
		"/v1/people/9999": "no such person", "/v1/people/9999/notices": "no such person", "/v1/keys/none/at/all": "no such key",
		"/v1/ceremonies/none": "no such ceremony", "/v1/ceremonies/none/transcript": "no such ceremony", "/v1/drafts/policy": "no such draft", "/v1/policy?version=7": "no such draft",
	} {
		if status, text := at.ask("GET", path, nil); status != 404 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	var people []access.Member
	if get("/v1/people", &people); len(people) != 3 || people[0].State != access.Active {
		t.Errorf("%+v", people)
	}
	var who site.PersonView
	if get("/v1/people/0001", &who); who.Record == nil || who.Record.ID != "0001" || who.Draft != nil {
		t.Errorf("%+v", who)
	}
	sitetest.Change(t, s, func(tx *store.Tx) error {
		return notice.Tell(tx, []string{"0001"}, notice.Notice{Kind: "test", Subject: "test", Text: "hello"})
	})
	var told []notice.Notice
	if get("/v1/people/0001/notices?unread=true", &told); len(told) != 1 || told[0].Text != "hello" {
		t.Errorf("%+v", told)
	}

	// The next policy.
	var p act.Policy
	get("/v1/policy", &p)
	p.Version, p.Limits.Password = 2, 16
	status, text := at.send(crew, "0002", "/v1/drafts/policy", access.FormatPolicy(p), nil, nil)
	if status != 200 || !strings.Contains(text, `"editor":"0002"`) || !strings.Contains(text, "limits / password: was 12, is 16") {
		t.Errorf("%d %.300s", status, text)
	}
	var draft site.PolicyDraft
	if get("/v1/drafts/policy", &draft); draft.Policy.Digest() != p.Digest() || len(draft.Changes) == 0 {
		t.Errorf("%+v", draft)
	}
	if status, text := at.send(crew, "0002", "/v1/drafts/policy", []byte("version: 2\n"), nil, nil); status == 200 {
		t.Error(text)
	}
	if get("/v1/policy?version=1", &p); p.Version != 1 {
		t.Error(p.Version)
	}

	// Keys.
	var all []keys.Key
	if get("/v1/keys?purpose=log", &all); len(all) != 1 || all[0].ID != "log" {
		t.Errorf("%+v", all)
	}
	if get("/v1/keys?state=destroyed", &all); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	var life site.KeyLife
	if get("/v1/keys/agree", &life); life.ID != "agree" || life.State != keys.Live || len(life.Copies) != 1 {
		t.Errorf("%+v", life)
	}

	// A plan is written down with what is wrong with it.
	plan := `ceremony: C-1
kind: generate
title: A backup that is missing
room: Vault
key: {name: subscriber/2, purpose: subscriber, algorithm: AES-256}
people: {key-manager: "0001", hsm-administrator: "0008", security-officer: "0002"}
`
	status, text = at.send(crew, "0001", "/v1/drafts/ceremonies", []byte(plan), nil, nil)
	if status != 200 || !strings.Contains(text, `"findings":["hsm-administrator: `) {
		t.Errorf("%d %s", status, text)
	}
	var view site.CeremonyView
	if get("/v1/ceremonies/C-1", &view); view.Editor != "0001" || view.State != ceremony.Drafted || len(view.Findings) == 0 {
		t.Errorf("%+v", view)
	}
	var list []ceremony.Ceremony
	if get("/v1/ceremonies", &list); len(list) != 1 || list[0].ID != "C-1" {
		t.Errorf("%+v", list)
	}
	if status, text := at.ask("GET", "/v1/ceremonies/C-1/transcript", nil); status != 409 || !strings.Contains(text, "has not begun") {
		t.Errorf("%d %s", status, text)
	}
	for path, want := range map[string]string{"/v1/ceremonies/C-1/x/begin": "no such ceremony", "/v1/ceremonies/C-1/1/begin": "it is drafted", "/v1/ceremonies/C-1/1/give": "not sealed as the module opens it"} {
		if status, text := at.send(crew, "0001", path, nil, nil, nil); status == 200 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
}
