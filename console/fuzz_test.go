package console

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ankan/hsm"
)

// formFields are the names of everything that a handler asks a form for.
func formFields(t testing.TB) []string {
	t.Helper()
	var all []string
	for _, file := range must[[]string](t)(filepath.Glob("serve*.go")) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, m := range regexp.MustCompile(`(?:form|FormValue)\("([a-z_]+)"\)|PostForm\["([a-z_]+)"\]`).FindAllSubmatch(must[[]byte](t)(os.ReadFile(file)), -1) {
			all = append(all, string(m[1])+string(m[2]))
		}
	}
	slices.Sort(all)
	if all = slices.Compact(all); len(all) < 20 {
		t.Fatalf("found only the fields %q", all)
	}
	return all
}

// Whatever stands in a form and in an address, a page answers, and with markup that
// is sound.
func FuzzForms(f *testing.F) {
	h := newHouse(f)
	if _, err := h.site.Token().Generate(f.Context(), "op/7", hsm.Exchange, hsm.AES256); err != nil {
		f.Fatal(err)
	}
	var people []*visitor
	for _, role := range []string{"key-manager", "security-officer", "auditor", "key-custodian", "warehouse"} {
		people = append(people, h.as(role))
	}
	names, served, at := formFields(f), h.server.Routes(), must[*url.URL](f)(url.Parse(h.url))
	all := slices.DeleteFunc(routes(), func(r route) bool { // these end what the next input begins with
		return r.permission == door || slices.Contains([]string{"POST /sign-out", "POST /lock", "POST /sessions/{id}/end"}, r.pattern)
	})
	place := regexp.MustCompile(`\{[a-z0-9.]+\}`)
	for i := range all {
		f.Add(uint8(i), uint8(i), uint8(0), "1001", "1", "op/7", "")
		f.Add(uint8(i+1), uint8(i), uint8(1), hostile, "-1", "2026-01-01", "\xff\x00")
	}
	f.Fuzz(func(t *testing.T, who, to, turn uint8, part, a, b, c string) {
		v, r := people[int(who)%len(people)], all[int(to)%len(all)]
		method, path, _ := strings.Cut(r.pattern, " ")
		path = strings.ReplaceAll(path, "{$}", "")
		path = place.ReplaceAllStringFunc(path, func(string) string { return url.PathEscape(part) })
		form := url.Values{}
		for i, name := range names {
			if one := []string{a, b, c}[(i+int(turn))%3]; one != "" {
				form.Set(name, one)
			}
		}
		body := ""
		if method == http.MethodPost {
			body = form.Encode()
		} else {
			path += "?" + form.Encode()
		}
		q := httptest.NewRequest(method, path, strings.NewReader(body))
		q.Host = at.Host
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		q.Header.Set("Sec-Fetch-Site", "same-origin")
		q.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{must[*x509.Certificate](t)(x509.ParseCertificate(v.Transport.(*http.Transport).TLSClientConfig.Certificates[0].Certificate[0]))}}
		for _, cookie := range v.Jar.Cookies(at) {
			q.AddCookie(cookie)
		}
		w := httptest.NewRecorder()
		served.ServeHTTP(w, q)
		if w.Code >= 500 {
			t.Errorf("%s: %d\n%s", r.pattern, w.Code, told(w.Body.String()))
		}
		if w.Code == http.StatusOK && strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			for _, wrong := range faults(w.Body.String()) {
				t.Errorf("%s: %s", r.pattern, wrong)
			}
		}
	})
}
