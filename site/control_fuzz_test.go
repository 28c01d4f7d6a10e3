package site_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/hsm/hsmtest"
	"ankan/parts"
	"ankan/passkey"
	"ankan/release"
	"ankan/site"
	"ankan/site/sitetest"
)

// Whatever is asked at the control socket, signed by somebody who may or as it comes:
// it is done or refused, in JSON, and the site lives.
func FuzzControl(f *testing.F) {
	c := sitetest.Config(f, "works", "operator, bureau, plant")
	token, crew := hsmtest.Soft(f, nil), sitetest.Founders(f)
	for id, role := range map[string]string{"0003": "developer", "0004": "security-tester", "0005": "warehouse", "0006": "sourcing"} {
		key := sitetest.Must[*passkey.Soft](f)(passkey.NewSoft("site.example", "https://site.example"))
		crew.Keys[id] = key
		crew.People = append(crew.People, act.Person{ID: id, Name: "Person", Roles: []string{role}, Employment: act.Permanent, Credential: key.Credential})
	}
	if err := site.Init(f.Context(), c, token, crew.Founding(f, c), func(string) {}, parts.All()...); err != nil {
		f.Fatal(err)
	}
	s := sitetest.Open(f, c, token, parts.All()...)
	people, at := slices.Sorted(maps.Keys(crew.Keys)), s.Control()
	// The log and a backup are whole files.
	all := slices.DeleteFunc(slices.Sorted(maps.Keys(s.Routes())), func(p string) bool { return p == "GET /v1/log" || p == "POST /v1/backups" })
	place := regexp.MustCompile(`\{[a-z0-9.]+\}`)
	encoded := func(v any) []byte { return sitetest.Must[[]byte](f)(json.Marshal(v)) }
	bodies := [][]byte{[]byte("{}"), []byte("null"), encoded(crew.People[0]), encoded(access.DefaultPolicy()), access.DefaultPolicyDocument(),
		sitetest.Must[[]byte](f)(os.ReadFile("../examples/ceremonies/generate.yaml")), encoded(release.Release{Vendor: "v", Country: "IN"}),
		encoded(release.Plan{Release: "r 1", People: []string{"0003"}}), encoded(site.SignedRequest{Act: "{}"})}
	for i := range all {
		for j := range 2 {
			f.Add(uint8(i), uint8(i+j), "1", "subject=order/1&kind=order.release", bodies[(2*i+j)%len(bodies)])
		}
	}
	f.Fuzz(func(t *testing.T, to, who uint8, part, query string, body []byte) {
		pattern := all[int(to)%len(all)]
		method, path, _ := strings.Cut(place.ReplaceAllStringFunc(pattern, func(string) string { return url.PathEscape(part) }), " ")
		u, err := url.Parse(path)
		if err != nil {
			return
		}
		u.RawQuery = query
		if s.Routes()[pattern].Signed {
			id := people[int(who)%len(people)]
			q := site.NewSigned(id, body, time.Now())
			q.Assertion = sitetest.Must[passkey.Assertion](t)(crew.Keys[id].Sign(q.Challenge("works", method+" "+u.Path)))
			body = sitetest.Must[[]byte](t)(json.Marshal(q))
		}
		w := httptest.NewRecorder()
		at.ServeHTTP(w, (&http.Request{Method: method, URL: u, Host: "site", Body: io.NopCloser(bytes.NewReader(body)), Header: http.Header{}}).WithContext(t.Context()))
		if w.Code >= 500 || w.Header().Get("Content-Type") == "application/json" && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s with %q: %d %.500s", pattern, body, w.Code, w.Body)
		}
		if w.Code == http.StatusForbidden && strings.Contains(w.Body.String(), passkey.ErrAssertion.Error()) && s.Routes()[pattern].Signed {
			t.Errorf("%s: what was signed is refused: %s", pattern, w.Body)
		}
	})
}
