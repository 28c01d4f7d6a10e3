package console

import (
	"archive/tar"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/parts"
	"ankan/passkey"
	"ankan/passkey/attest"
	"ankan/site"
	"ankan/site/sitetest"
)

// A house is a site whose console is served, with one person for each role of
// the default policy. Each has a machine with a certificate, and a software
// passkey.
type house struct {
	testing.TB
	site   *site.Site
	server *Server
	url    string
	people map[string]*visitor // by role
}

// A visitor is somebody with a browser.
type visitor struct {
	*http.Client
	house *house
	id    string
	key   act.Key
}

// hostile is a name that would be markup, or end an attribute, if a page let
// it.
const hostile = `<script>alert(1)</script>"'><img src=x onerror=alert(1)>`

func must[T any](t testing.TB) func(T, error) T { return sitetest.Must[T](t) }

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{TB: t, people: map[string]*visitor{}}
	var crew sitetest.Crew
	crew.Keys = map[string]act.Key{}
	machines := map[string]tls.Certificate{}
	for i, role := range access.DefaultPolicy().Roles {
		id := fmt.Sprint(1001 + i)
		soft := must[*passkey.Soft](t)(passkey.NewSoft("localhost", "https://localhost"))
		machines[role] = machine(t, id)
		crew.Keys[id] = soft
		crew.People = append(crew.People, act.Person{ID: id, Name: hostile, Roles: []string{role}, Employment: act.Permanent, Credential: soft.Credential, Certificate: access.Fingerprint(machines[role].Certificate[0])})
		h.people[role] = &visitor{house: h, id: id, key: soft}
	}
	c := sitetest.Config(t, "maker", site.Bureau+", "+site.Plant)
	token := hsmtest.Soft(t, nil)
	if err := site.Init(t.Context(), c, token, crew.Founding(t, c), func(string) {}, parts.All()...); err != nil {
		t.Fatal(err)
	}
	h.site = sitetest.Open(t, c, token, parts.All()...)
	srv := httptest.NewUnstartedServer(nil)
	srv.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	h.server = must[*Server](t)(NewServer(ServerConfig{Site: h.site, Listen: "127.0.0.1:0", TLS: srv.TLS, Party: attest.Party{RPID: "localhost", Origin: "https://localhost", AllowSoftware: true},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Version: "test", Embedded: true}))
	srv.Config.Handler = h.server.Routes()
	srv.StartTLS()
	t.Cleanup(srv.Close)
	h.url = srv.URL
	for role, v := range h.people {
		v.Client = browserOf(t, srv, machines[role])
	}
	return h
}

// machine is a computer's own certificate.
func machine(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Machine of " + name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	return tls.Certificate{Certificate: [][]byte{must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))}, PrivateKey: key}
}

// browserOf follows no redirect by itself: tests look at them.
func browserOf(t testing.TB, srv *httptest.Server, certificates ...tls.Certificate) *http.Client {
	t.Helper()
	transport := srv.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.Certificates = certificates
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Jar: must[*cookiejar.Jar](t)(cookiejar.New(nil)), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// A reply is an answer, read to its end.
type reply struct {
	code   int
	header http.Header
	body   string
}

func (v *visitor) do(r *http.Request) reply {
	v.house.Helper()
	res, err := v.Do(r)
	if err != nil {
		v.house.Fatal(err)
	}
	defer res.Body.Close()
	return reply{res.StatusCode, res.Header, string(must[[]byte](v.house)(io.ReadAll(res.Body)))}
}

func (v *visitor) get(path string) reply {
	v.house.Helper()
	return v.do(must[*http.Request](v.house)(http.NewRequest(http.MethodGet, v.house.url+path, nil)))
}

func (v *visitor) post(path string, pairs ...string) reply {
	v.house.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r := must[*http.Request](v.house)(http.NewRequest(http.MethodPost, v.house.url+path, strings.NewReader(form.Encode())))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return v.do(r)
}

// page is a page that must be there, whole and sound.
func (v *visitor) page(path string) string {
	v.house.Helper()
	got := v.get(path)
	if got.code != 200 {
		v.house.Fatalf("%s: %d %.300s", path, got.code, got.body)
	}
	for _, f := range faults(got.body) {
		v.house.Errorf("%s: %s", path, f)
	}
	return got.body
}

// form is where a form of a page that a passkey signs goes, and what it signs.
func (v *visitor) form(page, action string) (string, string) {
	v.house.Helper()
	m := regexp.MustCompile(`<form[^>]* action="(` + action + `[^"]*)"[^>]*>`).FindStringSubmatch(page)
	if m == nil {
		v.house.Fatalf("no form to %s in %q", action, regexp.MustCompile("<form[^>]*>").FindAllString(page, -1))
	}
	to := html.UnescapeString(m[1])
	sign := regexp.MustCompile(`data-sign="([^"]+)"`)
	in := sign.FindStringSubmatch(m[0])
	if in == nil { // at the door the button holds it
		in = sign.FindStringSubmatch(page[strings.Index(page, m[0]):])
	}
	challenge := must[[]byte](v.house)(base64.RawURLEncoding.DecodeString(in[1]))
	assertion := must[passkey.Assertion](v.house)(v.key.Sign([32]byte(challenge)))
	return to, string(must[[]byte](v.house)(json.Marshal(assertion)))
}

func (v *visitor) signIn() *visitor {
	v.house.Helper()
	to, assertion := v.form(v.page("/sign-in"), "/sign-in/")
	if got := v.post(to, "assertion", assertion); got.code != 303 || got.header.Get("Location") != "/inbox" {
		v.house.Fatalf("person %s does not get in: %d %.500s", v.id, got.code, got.body)
	}
	return v
}

// as is the person of a role, signed in.
func (h *house) as(role string) *visitor {
	h.Helper()
	return h.people[role].signIn()
}

// ask asks for an act over HTTP, and gives its address.
func (v *visitor) ask(kind, subject string) string {
	v.house.Helper()
	to, assertion := v.form(v.page(askFor(kind, subject)), "/asked/")
	got := v.post(to, "assertion", assertion, "reason", hostile)
	if got.code != 303 || strings.HasPrefix(got.header.Get("Location"), "/acts/new") {
		v.house.Fatalf("%s of %s: %d to %s: %s", kind, subject, got.code, got.header.Get("Location"), told(v.get("/inbox").body))
	}
	return got.header.Get("Location")
}

func (v *visitor) approve(act string) {
	v.house.Helper()
	to, assertion := v.form(v.page(act), act+"/approve")
	if got := v.post(to, "assertion", assertion, "compared", "yes"); got.code != 303 {
		v.house.Fatalf("%s: %d", to, got.code)
	}
	if said := told(v.page(act)); strings.Contains(said, "note bad") {
		v.house.Fatal(said)
	}
}

// told is what a page says about the request before it.
func told(page string) string {
	return strings.Join(regexp.MustCompile(`(?s)<div class="note [a-z]+" role="status">.*?</div>`).FindAllString(page, -1), "\n")
}

// since are the entries of the log from an index on.
func (h *house) since(n int64) []audit.Entry {
	h.Helper()
	return must[[]audit.Entry](h)(h.site.Store().Entries(h.Context(), n, int(h.site.Store().Size()-n)))
}

// sample puts something in the places of a pattern.
var sample = strings.NewReplacer("{$}", "", "{id...}", "log", "{id}", "1001", "{attempt}", "x", "{version}", "1", "{a}", "1", "{b}", "1", "{n}", "0", "{step}", "1", "{number}", "x", "{person}", "1001", "{kind}", "locker", "{site}", "maker", "{name}", "os 1", "{operator}", "op", "{profile}", "p", "{sha256}", "00")

// Who may open what is what the policy says: each route with each role, and
// each refusal is in the log.
func TestEveryRouteWithEveryRole(t *testing.T) {
	h := newHouse(t)
	policy := access.DefaultPolicy()
	all := routes()
	slices.SortStableFunc(all, func(a, b route) int { return last(a) - last(b) })
	for _, role := range policy.Roles {
		v := h.as(role)
		who := act.Person{ID: v.id, Roles: []string{role}}
		refused := 0
		for _, r := range all {
			method, path, _ := strings.Cut(sample.Replace(r.pattern), " ")
			before := h.site.Store().Size()
			got := v.get
			if method == http.MethodPost {
				got = func(path string) reply { return v.post(path) }
			}
			answer := got(path)
			var entry *audit.Entry
			for _, e := range h.since(before) {
				if e.Kind == "page.refused" {
					entry = &e
				}
			}
			may := r.permission == door || r.permission == own || policy.May(who, r.permission)
			permission := r.permission
			if r.pattern == "POST /sessions/{id}/end" { // somebody else's
				permission = "sessions.end"
				may = policy.May(who, permission)
			}
			if kind, ok := strings.CutPrefix(permission, toAsk); ok {
				may = who.Has(must[act.Rule](t)(policy.Rule(kind)).Request...)
			}
			switch {
			case may && (entry != nil || answer.code >= 500):
				t.Errorf("%s: %s: %d, %v: the policy gives them %s", role, r.pattern, answer.code, entry, r.permission)
			case !may && (entry == nil || answer.code != 403):
				t.Errorf("%s: %s: %d, %v: the policy does not give them %s", role, r.pattern, answer.code, entry, r.permission)
			case !may && (entry.Actor != "person/"+v.id || entry.Data["permission"] != permission || entry.Data["path"] != path):
				t.Errorf("%s: %s: the refusal is recorded as %v", role, r.pattern, entry)
			case !may:
				refused++
			}
			if r.pattern == "POST /sign-out" {
				v.signIn()
			}
		}
		if refused == 0 || refused == len(all) {
			t.Errorf("%s: %d of %d routes refused: this shows nothing", role, refused, len(all))
		}
	}
}

// last puts what ends somebody's access last.
func last(r route) int {
	return slices.Index([]string{"POST /sign-out", "POST /lock"}, r.pattern) + 1
}

// Who has not signed in opens nothing but the door.
func TestStrangersStayOutside(t *testing.T) {
	h := newHouse(t)
	stranger := &visitor{house: h, Client: h.people["auditor"].Client}
	stranger.Jar = nil
	for _, r := range routes() {
		method, path, _ := strings.Cut(sample.Replace(r.pattern), " ")
		if r.permission == door {
			continue
		}
		if method == http.MethodPost {
			if got := stranger.post(path); got.code != 403 {
				t.Errorf("%s: %d", r.pattern, got.code)
			}
			continue
		}
		if got := stranger.get(path); got.code != 303 || !strings.HasPrefix(got.header.Get("Location"), "/sign-in?next=") {
			t.Errorf("%s: %d to %s", r.pattern, got.code, got.header.Get("Location"))
		}
	}
	forged := must[*http.Request](t)(http.NewRequest(http.MethodGet, h.url+"/keys", nil))
	forged.AddCookie(&http.Cookie{Name: "__Host-ankan", Value: "x"})
	if got := stranger.do(forged); got.code != 303 {
		t.Errorf("a made-up cookie: %d", got.code)
	}
}

// A session opens nothing from another machine.
func TestASessionBelongsToItsMachine(t *testing.T) {
	h := newHouse(t)
	v, other := h.as("auditor"), h.people["witness"]
	cookies := v.Jar.Cookies(must[*url.URL](t)(url.Parse(h.url)))
	if len(cookies) != 1 {
		t.Fatal(cookies)
	}
	r := must[*http.Request](t)(http.NewRequest(http.MethodGet, h.url+"/keys", nil))
	r.AddCookie(cookies[0])
	if got := other.do(r); got.code != 303 {
		t.Errorf("from another machine: %d", got.code)
	}
}

// A route without a permission opens for nobody.
func TestNoPermissionIsNone(t *testing.T) {
	h := newHouse(t)
	v := h.as("auditor")
	reached := false
	mux := http.NewServeMux()
	for _, permission := range []string{"", "no.such", "x.read"} {
		to := route{"GET /x" + permission, permission, func(*Server, *visit) error { reached = true; return nil }}
		mux.HandleFunc(to.pattern, func(w http.ResponseWriter, r *http.Request) { h.server.answer(w, r, to) })
		r := httptest.NewRequest(http.MethodGet, h.url+"/x"+permission, nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{must[*x509.Certificate](t)(x509.ParseCertificate(v.Transport.(*http.Transport).TLSClientConfig.Certificates[0].Certificate[0]))}}
		for _, c := range v.Jar.Cookies(must[*url.URL](t)(url.Parse(h.url))) {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code != 403 || reached {
			t.Errorf("permission %q: %d, reached %v", permission, w.Code, reached)
		}
	}
}

// socket are the permissions that are spent at the control socket alone, with
// where.
var socket = map[string]string{
	"site.read": "GET /v1/status", "orders.draft": "POST /v1/orders", "lots.add": "POST /v1/lots", "cards.prove": "POST /v1/prove", "stock.draft": "POST /v1/boxes",
	"backup.make": "POST /v1/backups",
}

// ofPeople are permissions that sites ask of persons, and no page does.
var ofPeople = []string{"site.reconcile", "backup.hold"}

// Every permission that a route names is in the policy, and every one of the
// policy opens something.
func TestPermissionsAndRoutesAgree(t *testing.T) {
	policy := access.DefaultPolicy()
	read := func(glob string) string {
		var b strings.Builder
		names := must[[]string](t)(filepath.Glob(glob))
		for _, name := range names {
			if !strings.HasSuffix(name, "_test.go") {
				b.Write(must[[]byte](t)(os.ReadFile(name)))
			}
		}
		if b.Len() == 0 {
			t.Fatalf("no source fits %s", glob)
		}
		return b.String()
	}
	here, sites := read("serve*.go")+read("routes.go"), read("../site/*.go")+read("../operator/*.go")+read("../plant/*.go")+read("../bureau/*.go")
	patterns := map[string]bool{}
	for _, r := range routes() {
		_, known := policy.Permissions[r.permission]
		if kind, ok := strings.CutPrefix(r.permission, toAsk); ok {
			_, known = policy.Acts[kind]
		}
		if !known && r.permission != door && r.permission != own {
			t.Errorf("%s: the policy has no permission %q", r.pattern, r.permission)
		}
		if patterns[r.pattern] {
			t.Errorf("%s is there twice", r.pattern)
		}
		patterns[r.pattern] = true
	}
	for name := range policy.Permissions {
		pattern, ok := socket[name]
		switch {
		case strings.Contains(here, `"`+name+`"`):
			if ok {
				t.Errorf("%s opens something here too", name)
			}
		case slices.Contains(ofPeople, name):
			if !strings.Contains(sites, `"`+name+`"`) {
				t.Errorf("no site asks for the permission %s", name)
			}
		case !ok:
			t.Errorf("the policy's permission %s opens nothing", name)
		case !strings.Contains(sites, `"`+pattern+`"`) || !policy.SocketMay(name):
			t.Errorf("%s is said to open %s at the control socket", name, pattern)
		}
	}
}

// Every page that has no place in its address, for somebody who may open it,
// with real data and with names that are hostile.
func TestPagesOfASite(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	odd := `odd"><script>alert(1)</script>/x%2F?y#z`
	for _, id := range []string{odd, "=cmd|x", "op/7"} {
		if _, err := h.site.Token().Generate(ctx, id, hsm.Exchange, hsm.AES256); err != nil {
			t.Fatal(err)
		}
	}
	km, so, audit := h.as("key-manager"), h.as("security-officer"), h.as("auditor")
	h.as("hsm-administrator").ask("key.compromise", "key/op/7")
	so.ask("key.suspend", "key/=cmd|x")
	so.ask("glass.break", "glass/"+hostile)
	policy := access.DefaultPolicy()
	for _, r := range routes() {
		method, path, _ := strings.Cut(r.pattern, " ")
		if method != http.MethodGet || strings.Contains(path, "{") || r.permission == door {
			continue
		}
		for _, v := range []*visitor{km, so, audit} {
			m := must[access.Member](t)(h.site.People().Member(ctx, v.id))
			if kind, ok := strings.CutPrefix(r.permission, toAsk); ok && !m.Has(policy.Acts[kind].Request...) || !ok && r.permission != own && !policy.May(m.Person, r.permission) {
				continue
			}
			for _, query := range []string{"", "?" + url.Values{"q": {hostile}, "kind": {hostile}, "state": {hostile}, "actor": {hostile}, "subject": {hostile}, "from": {hostile}, "purpose": {hostile}, "partner": {hostile}}.Encode()} {
				if path == "/acts/new" && query != "" {
					continue // it refuses: below
				}
				if got := v.get(path); got.code == 303 {
					continue
				} else if got.header.Get("Content-Disposition") != "" {
					if got.code != 200 || got.body == "" {
						t.Errorf("%s: %d, %d bytes", path, got.code, len(got.body))
					}
					continue // a file
				}
				if body := v.page(path + query); strings.Contains(body, "<script>alert") || strings.Contains(body, "<img src=x") {
					t.Errorf("%s: what somebody typed became markup", path+query)
				}
			}
			break
		}
	}
	for path, want := range map[string][]string{
		keyHref(odd):              {"odd&#34;&gt;", "Wraps keys on their way", "generated in the module", "key.suspend", "kind=rotate"},
		"/keys/op/7":              {"Compromised", "No party shared this key"},
		"/keys/%3Dcmd%7Cx":        {"Suspended", "key.resume", "Report compromise"},
		"/keys/log":               {"Public key", "never leaves the module"},
		"/keys?state=compromised": {"op/7", "1 to 1 of 1"},
		"/compromises":            {"op/7", "person 1007"},
		"/policy/1":               {"Policy, version 1", "key.compromise", "person 1001"},
		"/policy/1/1":             {"The versions are the same"},
	} {
		body := km.page(path)
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s does not say %q", path, w)
			}
		}
	}
	waits := so.ask("key.compromise", "key/log")
	worker := h.as("warehouse")
	before := h.site.Store().Size()
	for _, path := range []string{waits, waits + "/bytes"} {
		if got := worker.get(path); got.code != 403 {
			t.Errorf("%s: %d for whom it does not concern", path, got.code)
		}
	}
	if left := h.since(before); len(left) != 2 || left[1].Kind != "page.refused" || left[1].Data["permission"] != "acts.read" || left[1].Data["path"] != waits+"/bytes" {
		t.Errorf("refusals are recorded as %v", left)
	}
	for _, path := range []string{"/keys/nothing", "/policy/7", "/policy/7.yaml", "/policy/1/7", "/policy/7/1", "/acts/nothing"} {
		if got := km.get(path); got.code != 404 {
			t.Errorf("%s: %d", path, got.code)
		}
	}
	if got := km.get("/acts/new?kind=key.suspend&subject=" + url.QueryEscape(hostile)); got.code != 403 || strings.Contains(got.body, "<script>alert") {
		t.Errorf("a proposal about nothing: %d", got.code)
	}
	// A value by another method is not compared.
	kcv := must[hsm.Key](t)(h.site.Token().Key(ctx, odd)).KCV.String()
	value, method, _ := strings.Cut(kcv, " ")
	for q, want := range map[string]string{"kcv=" + value + "&method=" + method: "The same, by the same method", "kcv=" + value + "&method=CMAC": "Not compared", "kcv=FFFFFF&method=" + method: "not this key"} {
		if body := km.page(keyHref(odd) + "?" + q); !strings.Contains(body, want) {
			t.Errorf("%s: want %q", q, want)
		}
	}
	// Nothing that looks like a formula is given to a spreadsheet.
	rows := must[[][]string](t)(csv.NewReader(strings.NewReader(km.get("/keys.csv?state=suspended").body)).ReadAll())
	if len(rows) != 2 || rows[1][0] != "'=cmd|x" {
		t.Errorf("the register as CSV: %q", rows)
	}
	if body := h.as("system-administrator").page("/hsm"); !strings.Contains(body, "Healthy") || !strings.Contains(body, "Not certified") {
		t.Error("the module is not shown as it is")
	}
}

// Things come into the register, are counted before an officer, and go from
// one custodian to the next.
func TestThingsOfTheRegister(t *testing.T) {
	h := newHouse(t)
	km, so, kc, sys := h.as("key-manager"), h.as("security-officer"), h.as("key-custodian"), h.as("auditor")
	kc.ask("statement.sign", "person/"+kc.id+"/custodian")
	km.ask("training.record", "person/"+kc.id+"/key-custodian")
	bring := func(v *visitor, pairs ...string) reply { return v.post("/register/new", pairs...) }
	locker := []string{"kind", "locker", "number", "L7", "holder", kc.id, "place", hostile}
	if got := bring(sys, locker...); got.code != 403 {
		t.Errorf("an auditor writes a thing down: %d", got.code)
	}
	if got := bring(km, "kind", "locker", "number", "L 7", "holder", kc.id, "place", "room"); got.code != 422 || !strings.Contains(got.body, "number") {
		t.Errorf("a number that is none: %d", got.code)
	}
	got := bring(km, locker...)
	if got.code != 303 {
		t.Fatalf("%d %.500s", got.code, got.body)
	}
	km.ask("item.register", "item/locker/L7")
	for path, want := range map[string][]string{
		"/register": {`href="/items/locker/L7"`, "&lt;script&gt;", "Key custodian, person " + kc.id}, "/register?kind=seal": {"No thing fits"}, "/items/locker/L7": {"Locker L7", "&lt;script&gt;"},
		"/custody/" + kc.id: {"L7", "due"},
	} {
		body := km.page(path)
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s does not say %q", path, w)
			}
		}
		if strings.Contains(body, "<script>alert") {
			t.Errorf("%s: a place became markup", path)
		}
	}
	if got := km.post("/items/locker/L7", "retire", "yes", "reason", "broken"); got.header.Get("Location") != askFor("item.retire", "item/locker/L7/broken") {
		t.Errorf("to retire leads to %s", got.header.Get("Location"))
	}
	for _, path := range []string{"/items/locker/none", "/items/nothing/L7", "/custody/9999", "/handover/CT-000009", "/transfers/KTF-000001", "/forms/maker/KTF-000001", "/forms/x/y"} {
		if got := km.get(path); got.code != 404 {
			t.Errorf("%s: %d", path, got.code)
		}
	}
	// The count.
	if body := kc.page("/register/inventory"); !strings.Contains(body, "L7") {
		t.Error("the locker is not to be counted")
	}
	if got := kc.post("/register/inventory"); got.code != 422 {
		t.Errorf("a count that says nothing: %d", got.code)
	}
	if got := kc.post("/register/inventory", "said-item/locker/L7", "missing"); got.code != 303 {
		t.Fatalf("%d %.300s", got.code, got.body)
	}
	count := kc.ask("custody.inventory", "inventory/"+kc.id)
	so.approve(count)
	if got := kc.post(count + "/use"); got.code != 303 {
		t.Fatal(got.code)
	}
	if body := so.page("/register"); !strings.Contains(body, "Missing") || !strings.Contains(body, "What is not as it should be") {
		t.Errorf("what is missing is not shown: %s", told(kc.page(count)))
	}
	// Nobody else may take it over here, and a form for nothing is refused.
	if body := kc.page("/handover"); !strings.Contains(body, "There is no other custodian") {
		t.Error("somebody may take it over")
	}
	if got := kc.post("/handover", "thing", "item/locker/L7", "to", km.id); got.code != 422 || !strings.Contains(got.body, "note bad") {
		t.Errorf("to somebody who is no custodian: %d", got.code)
	}
	if got := kc.post("/handover/part", "given", "AA"); got.code != 303 || !strings.Contains(told(kc.page("/handover")), "begin again") {
		t.Errorf("a part of no handover: %d", got.code)
	}
	if got := kc.post("/transfers/new", "key", "none", "component", "x"); got.code != 422 {
		t.Errorf("a form for nothing: %d", got.code)
	}
	if got := kc.post("/forms/maker/KTF-000001", "bag", "1", "seal", "2", "sound", "yes"); got.code != 404 {
		t.Errorf("an inspection of no form: %d", got.code)
	}
	if got := kc.post("/forms/maker/KTF-000001", "bag", "1", "seal", "2"); got.code != 303 || !strings.Contains(told(kc.page("/transfers")), "tampering") {
		t.Errorf("an inspection that does not say: %d", got.code)
	}
}

// A visitor finds only what their role may read.
func TestSearch(t *testing.T) {
	h := newHouse(t)
	if _, err := h.site.Token().Generate(t.Context(), "op/needle", hsm.Exchange, hsm.AES256); err != nil {
		t.Fatal(err)
	}
	km := h.as("key-manager")
	acts := km.ask("key.deactivate", "key/op/needle")
	if body := km.page("/search?q=NEEDLE"); !strings.Contains(body, `href="/keys/op/needle"`) || !strings.Contains(body, `href="`+acts+`"`) {
		t.Error("the key manager does not find the key and the act")
	}
	if body := h.as("warehouse").page("/search?q=needle"); strings.Contains(body, "op/needle") {
		t.Error("the warehouse finds a key")
	}
	for q, want := range map[string]string{"x": "two characters", "8991999000001000004": "8991•••••••••••••04", "1001": `href="/people/1001"`, "0": "two characters"} {
		body := km.page("/search?q=" + q)
		if !strings.Contains(body, want) {
			t.Errorf("%s: want %q", q, want)
		}
		if main := body[strings.Index(body, "<main"):]; strings.Contains(main, "8991999000001000004") { // the address holds what they typed
			t.Error("an identity is shown")
		}
	}
	if body := h.as("auditor").page("/search?q=0"); !strings.Contains(body, `href="/log/0"`) {
		t.Error("a number does not find its entry")
	}
	if body := km.page("/search?q=10"); strings.Contains(body, `href="/log/10"`) {
		t.Error("the key manager is led to the log")
	}
}

// The next policy is written down, adopted by others, and compared.
func TestPolicyDraft(t *testing.T) {
	h := newHouse(t)
	km, so := h.as("key-manager"), h.as("security-officer")
	begin := html.UnescapeString(regexp.MustCompile(`(?s)<textarea id="f-policy".*?>(.*?)</textarea>`).FindStringSubmatch(km.page("/policy/new"))[1])
	if _, err := access.ParsePolicy([]byte(begin)); err != nil || !strings.Contains(begin, "\nversion: 2\n") || !strings.Contains(begin, "# SOP 6.4.a") {
		t.Fatalf("a draft begins with %.300q: %v", begin, err)
	}
	for doc, want := range map[string]string{
		strings.Replace(begin, "version: 2", "version: x", 1): "found x, want a whole number",
		"version: 2\nnonsense: 1\n":                           "2:1</td>",
		strings.Replace(begin, "version: 2", "version: 7", 1): "version is 7, want 2",
		"version: 2\nroles: [\"" + hostile + "\n":             "Error",
	} {
		got := km.post("/policy/new", "policy", doc)
		if got.code != 422 || !regexp.MustCompile(want).MatchString(got.body) || strings.Contains(got.body, "<script>alert") {
			t.Errorf("%.60q: %d %q, want %s", doc, got.code, regexp.MustCompile(`<td class="mono nowrap">.*`).FindString(got.body), want)
		}
	}
	changed := strings.Replace(begin, "password: 12", "password: 14", 1)
	if got := km.post("/policy/new", "policy", strings.ReplaceAll(changed, "\n", "\r\n")); got.code != 200 || !strings.Contains(got.body, "limits / password") || !strings.Contains(got.body, "kind=policy.adopt") {
		t.Fatalf("%d %.300s", got.code, got.body)
	}
	if body := so.page("/policy/new"); !strings.Contains(body, "Written by Key manager, person") || !strings.Contains(body, "password: 14") {
		t.Error("the draft is not kept")
	}
	adopt := so.ask("policy.adopt", "policy")
	h.as("nodal-officer").approve(adopt)
	h.as("hsm-administrator").approve(adopt)
	if got := so.post(adopt + "/use"); got.code != 303 {
		t.Fatal(got.code)
	}
	if body := km.page("/policy"); !strings.Contains(body, "Policy, version 2") || !strings.Contains(body, `href="/policy/1/2"`) {
		t.Errorf("it is not in force: %s", told(so.page(adopt)))
	}
	diff := km.page("/policy/1/2")
	if !strings.Contains(diff, `<span class="mark">-</span>  password: 12`) || !strings.Contains(diff, `<span class="mark">&#43;</span>  password: 14`) || strings.Count(diff, `class="mark">-`) != 2 {
		t.Error("the diff does not show the two lines")
	}
	now := must[act.Policy](t)(h.site.People().Policy(t.Context()))
	written := km.get("/policy/2.yaml")
	if p, err := access.ParsePolicy([]byte(written.body)); err != nil || p.Digest() != now.Digest() || !strings.Contains(written.header.Get("Content-Disposition"), "policy-2.yaml") {
		t.Errorf("the YAML is another policy: %v", err)
	}
	if got := km.get("/policy/2.json"); got.body != string(now.Canonical()) {
		t.Error("the JSON is not what is hashed")
	}
}

// The log in pages, each entry once and newest first; each with a proof that
// opens; whole as tiles; in lines as it is hashed.
func TestLogPages(t *testing.T) {
	h := newHouse(t)
	v := h.as("auditor")
	for i := range 3 * onPage {
		e := audit.Entry{Kind: "test.noted", Actor: "test", Subject: "thing/" + strconv.Itoa(i), Data: map[string]any{"why": hostile, "list": []string{"a", "b"}}}
		if err := h.site.Store().Enter(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	size := h.site.Store().Size()
	next, want, pages := "/log", size-1, 0
	row, older := regexp.MustCompile(`<th scope="row" class="mono"><a href="/log/([0-9]+)">`), regexp.MustCompile(`<a href="([^"]+)" rel="next">`)
	for ; next != ""; pages++ {
		body := v.page(next)
		if strings.Contains(body, "<script>alert") {
			t.Fatal("a reason became markup")
		}
		for _, m := range row.FindAllStringSubmatch(body, -1) {
			if m[1] != strconv.FormatInt(want, 10) {
				t.Fatalf("page %d: entry %s, want %d", pages, m[1], want)
			}
			want--
		}
		next = ""
		if m := older.FindStringSubmatch(body); m != nil {
			next = html.UnescapeString(m[1])
		}
	}
	if want != -1 || pages < 4 {
		t.Errorf("%d pages end before entry %d", pages, want)
	}
	if body := v.page("/log?subject=thing/7&kind=test"); strings.Count(body, `<th scope="row" class="mono">`) != 11 { // 7, 70 to 79
		t.Error("the filter does not fit")
	}
	at := time.Now().In(ist)
	for q, n := range map[string]int{
		"from=" + at.Add(time.Hour).Format("2006-01-02T15:04"): 0, "to=" + at.Add(-time.Hour).Format("2006-01-02T15:04"): 0,
		"from=" + at.Add(-time.Hour).Format("2006-01-02T15:04") + "&to=" + at.Add(time.Minute).Format("2006-01-02T15:04"): onPage,
	} {
		if body := v.page("/log?" + q); strings.Count(body, `<th scope="row" class="mono">`) != n {
			t.Errorf("%s: want %d entries", q, n)
		}
	}
	if body := v.page("/log?from=yesterday"); !strings.Contains(body, "not a time") {
		t.Error("a time that is none is taken")
	}
	end := size - 1
	body := v.page(fmt.Sprintf("/log/%d", end))
	for _, want := range []string{"list[1]", "thing/149", "test.noted", "&lt;script&gt;alert"} {
		if !strings.Contains(body, want) {
			t.Errorf("the entry does not show %s", want)
		}
	}
	p := must[audit.Proof](t)(audit.ParseProof([]byte(v.get(fmt.Sprintf("/log/%d/proof", end)).body)))
	if e, c, err := p.Open(h.site.Store().VerifierKey()); err != nil || e.Subject != "thing/149" || c.Size < size {
		t.Errorf("the proof: %v %v %v", e, c, err)
	}
	if c, err := audit.OpenCheckpoint([]byte(v.get("/log/checkpoint").body), h.site.Store().VerifierKey()); err != nil || c.Size < size {
		t.Errorf("the checkpoint: %v %v", c, err)
	}
	for _, path := range []string{"/log/x", "/log/-1", "/log/999999999", "/log/999999999/proof", "/log/99999999999999999999", "/log.jsonl?from=x"} {
		if got := v.get(path); got.code != 404 || got.header.Get("Content-Disposition") != "" {
			t.Errorf("%s: %d %v", path, got.code, got.header)
		}
	}
	tiles := fstest.MapFS{}
	for r := tar.NewReader(strings.NewReader(v.get("/log/export").body)); ; {
		f, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		tiles[f.Name] = &fstest.MapFile{Data: must[[]byte](t)(io.ReadAll(r))}
	}
	if r, err := audit.Verify(tiles, h.site.Store().VerifierKey(), audit.Options{}); err != nil || r.Entries < size {
		t.Errorf("the export: %+v %v", r, err)
	}
	n := 0
	for line := range strings.Lines(v.get("/log.jsonl?kind=test&subject=thing/7").body) {
		var one struct {
			Index int64           `json:"index"`
			Entry json.RawMessage `json:"entry"`
		}
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		e := must[audit.Entry](t)(audit.ParseEntry(one.Entry))
		in := must[[]audit.Entry](t)(h.site.Store().Entries(t.Context(), one.Index, 1))[0]
		if leaf := must[[]byte](t)(in.Leaf()); e.Kind != "test.noted" || !bytes.Equal(leaf, one.Entry) {
			t.Errorf("line %d is %s", one.Index, one.Entry)
		}
		n++
	}
	if n != 11 {
		t.Errorf("%d lines, want 11", n)
	}
	rows := must[[][]string](t)(csv.NewReader(strings.NewReader(v.get("/log.csv?subject=thing/149").body)).ReadAll())
	if hash := audit.LeafHash(p.Leaf); len(rows) != 2 || rows[1][0] != strconv.FormatInt(end, 10) || rows[1][6] != fmt.Sprintf("%x", hash[:]) {
		t.Errorf("as CSV: %q", rows)
	}
}

// A search for what is rare gives up, and says where.
func TestLogSearchIsBounded(t *testing.T) {
	h := newHouse(t)
	for i := range 5 {
		if err := h.site.Store().Enter(t.Context(), audit.Entry{Kind: "test.noted", Actor: "test", Subject: strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
	}
	size := h.site.Store().Size()
	found, at, err := h.server.newest(t.Context(), logFilter{kind: "nothing"}, 0, size, 0)
	if err != nil || found != nil || at != size {
		t.Errorf("%v down to %d: %v", found, at, err)
	}
	found, at, err = h.server.newest(t.Context(), logFilter{kind: "nothing"}, 0, size, 1)
	if err != nil || found != nil || at != max(0, size-logChunk) {
		t.Errorf("%v down to %d: %v", found, at, err)
	}
	found, at, err = h.server.newest(t.Context(), logFilter{kind: "test"}, size-5, size, 1000)
	if err != nil || len(found) != 5 || found[0].n != size-1 || at != size-5 {
		t.Errorf("%v down to %d: %v", found, at, err)
	}
	if _, _, err := h.server.newest(t.Context(), logFilter{}, 0, size+1, 1000); err == nil {
		t.Error("a log that is shorter than it says is taken")
	}
}
