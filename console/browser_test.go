package console

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"ankan/hsm"
	"ankan/passkey"
	"ankan/passkey/attest"
	"ankan/test/browser"
)

// chromium is one browser for all tests of this package.
var chromium *browser.Browser

func TestMain(m *testing.M) {
	var err error
	if chromium, err = browser.New(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	chromium.Close()
	os.Exit(code)
}

// sent keeps the forms that a browser sent.
type sent struct {
	mu    sync.Mutex
	forms []url.Values
}

func (s *sent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forms = append(s.forms, r.PostForm)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(w, `<!doctype html><html lang="en"><title>Sent</title><main id="sent"><h1>Sent</h1></main></html>`)
}

func (s *sent) all() []url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.forms)
}

// serve serves the fixtures, more pages, and takes forms. It gives the origin.
func serve(t *testing.T, more map[string]http.HandlerFunc) (string, *sent) {
	t.Helper()
	pages, got := Preview(t), &sent{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case more[r.URL.Path] != nil:
			more[r.URL.Path](w, r)
		case r.URL.Path == "/favicon.ico": // of the page that takes forms
			w.WriteHeader(http.StatusNoContent)
		case r.Method == http.MethodPost:
			got.ServeHTTP(w, r)
		default:
			pages.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return strings.Replace(srv.URL, "127.0.0.1", "localhost", 1), got
}

// look sets what the person's screen is like.
func look(p *browser.Person, theme string, width int64) {
	p.Do(chromedp.EmulateViewport(width, 900), func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}})
		return chromedp.Void{}, err
	})
}

// Every page in a real browser: nothing that its policy forbids, no exception,
// nothing missing, nothing wider than the screen, and no rule of accessibility
// broken. Each is opened once in each language and looked at in both widths.
// All rules are asked once; in the other language, theme and width those that
// depend on them.
func TestPagesInABrowser(t *testing.T) {
	origin, _ := serve(t, nil)
	for _, s := range []struct {
		lang, theme string
		widths      []int64 // rules are asked at the last one
		rules       []string
	}{
		{"en", "light", []int64{900, 1440}, nil},
		{"hi", "dark", []int64{1440, 900}, []string{"cat.color", "cat.language", "cat.sensory-and-visual-cues"}},
	} {
		t.Run(s.lang, func(t *testing.T) {
			t.Parallel()
			p := chromium.Person(t, nil)
			look(p, s.theme, s.widths[0])
			p.Open(origin + "/preview/inbox?lang=" + s.lang)
			for _, page := range shots() {
				p.Open(origin + "/preview/" + page.name)
				var lang string
				if p.Eval(`document.documentElement.lang`, &lang); lang != s.lang {
					t.Fatalf("%s: the language is %s", page.name, lang)
				}
				for _, width := range s.widths {
					look(p, s.theme, width)
					var wide int64
					if p.Eval(`document.documentElement.scrollWidth`, &wide); wide > width {
						t.Errorf("%s is %d px wide on %d", page.name, wide, width)
					}
				}
				for _, v := range p.Axe(s.rules...) {
					if v.Impact == "serious" || v.Impact == "critical" {
						t.Errorf("%s: %s", page.name, v)
					}
				}
				for _, e := range p.Errors() {
					if _, failed := page.view.(errorPage); failed && strings.Contains(e, "Failed to load resource") {
						continue // the status of the page itself
					}
					t.Errorf("%s: %s", page.name, e)
				}
			}
		})
	}
}

// The policy bites: what a page must not do is refused and said.
func TestThePolicyHolds(t *testing.T) {
	origin, _ := serve(t, nil)
	p := chromium.Person(t, nil)
	p.Open(origin + "/preview/inbox")
	p.Eval(`(() => { const s = document.createElement("div"); s.setAttribute("style", "color: red"); document.body.append(s); try { s.innerHTML = "<b>x</b>"; } catch (e) { return String(e); } })()`, new(string))
	if e := strings.Join(p.Errors(), "\n"); !strings.Contains(e, "style") {
		t.Errorf("an inline style was let through: %q", e)
	}
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatal("waited in vain: ", what)
}

// reads waits until an expression of the page is true.
func reads(t *testing.T, p *browser.Person, expression string) {
	t.Helper()
	wait(t, expression, func() bool {
		var ok bool
		p.Eval("Boolean("+expression+")", &ok)
		return ok
	})
}

func module(t *testing.T) string {
	t.Helper()
	f, err := newStatic()
	if err != nil {
		t.Fatal(err)
	}
	return f.address("passkey.js")
}

func registered(t *testing.T, p *browser.Person, origin string) passkey.Credential {
	t.Helper()
	party := attest.Party{RPID: "localhost", Origin: origin, Name: "Bureau North", Sealing: true}
	options, challenge, err := party.Begin("0021")
	if err != nil {
		t.Fatal(err)
	}
	var answer json.RawMessage
	if err := p.Call(module(t), `m.register(a)`, json.RawMessage(options), &answer); err != nil {
		t.Fatal(err)
	}
	c, _, err := party.Finish(answer, challenge)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A form that must be signed is sent with an assertion over exactly its
// challenge; if the person declines, it is not sent and says so.
func TestSigning(t *testing.T) {
	origin, got := serve(t, nil)
	p := chromium.Person(t, nil)
	p.Open(origin + "/preview/act-waits")
	c := registered(t, p, origin)
	mine := `for (const f of document.querySelectorAll("[data-sign]")) { f.dataset.credential = "` + base64.RawURLEncoding.EncodeToString(c.ID) + `"; f.dataset.rp = "localhost"; }`
	approve := `document.querySelector("form[action$=approve]")`

	// The fixture's passkey is nobody's here.
	p.Eval(approve+`.dataset.rp = "localhost";`+approve+`.elements.compared.click();`+approve+`.querySelector("button").click()`, nil)
	reads(t, p, approve+`.querySelector("[data-problem]").hidden === false`)
	if len(got.all()) != 0 {
		t.Fatal("a form was sent without its signature")
	}

	p.Eval(mine+approve+`.querySelector("button").click()`, nil)
	wait(t, "the form", func() bool { return len(got.all()) == 1 })
	form := got.all()[0]
	var a passkey.Assertion
	if err := json.Unmarshal([]byte(form.Get("assertion")), &a); err != nil {
		t.Fatal(err)
	}
	challenge, err := base64.RawURLEncoding.DecodeString(sign.Challenge)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Verify(a, [32]byte(challenge)); err != nil {
		t.Error(err)
	}
	if form.Get("compared") != "yes" {
		t.Errorf("the form came as %v", form)
	}
	// At the door the button says which passkey.
	p.Open(origin + "/preview/signin-second")
	reads(t, p, `document.readyState === "complete"`) // its script runs, and not only the answer to the first form was loaded
	p.Eval(mine+`document.querySelectorAll("form button[data-sign]")[1].click()`, nil)
	wait(t, "the second form", func() bool { return len(got.all()) == 2 })
	if !strings.Contains(got.all()[1].Get("assertion"), "signature") {
		t.Errorf("the door's form came as %v", got.all()[1])
	}
	if e := p.Errors(); e != nil {
		t.Errorf("the console said %q", e)
	}
}

// A registration goes into its field.
func TestRegistering(t *testing.T) {
	origin, got := serve(t, nil)
	p := chromium.Person(t, nil)
	p.Open(origin + "/preview/enrol-passkey")
	party := attest.Party{RPID: "localhost", Origin: origin, Name: "Bureau North", Sealing: true}
	options, challenge, err := party.Begin("0031")
	if err != nil {
		t.Fatal(err)
	}
	form := `document.querySelector("form[data-register]")`
	p.Eval(form+`.dataset.register = JSON.stringify(`+string(options)+`);`+form+`.querySelector("button").click()`, nil)
	wait(t, "the form", func() bool { return len(got.all()) == 1 })
	if c, _, err := party.Finish([]byte(got.all()[0].Get("registration")), challenge); err != nil || c.Seal == nil {
		t.Errorf("%v: %v", got.all()[0], err)
	}
}

// edited serves a fixture with parts of its text replaced.
func edited(t *testing.T, name string, pairs ...string) http.HandlerFunc {
	t.Helper()
	pages := Preview(t)
	return func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = "/preview/" + name
		rec := httptest.NewRecorder()
		pages.ServeHTTP(rec, r)
		for key, v := range rec.Header() {
			w.Header()[key] = v
		}
		fmt.Fprint(w, strings.NewReplacer(pairs...).Replace(rec.Body.String()))
	}
}

// module521 is the module's side of a hand-over: an address to give to, and how
// it opens what was given.
func module521(t *testing.T) (to string, take func(given string) []byte) {
	t.Helper()
	key, err := ecdh.P521().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(map[string]string{"spki": base64.RawURLEncoding.EncodeToString(spki), "content": "key component", "label": "OP2-AUC-07/2"})
	if err != nil {
		t.Fatal(err)
	}
	return string(doc), func(given string) []byte {
		t.Helper()
		b, err := base64.RawURLEncoding.DecodeString(given)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := hsm.Take(b, "key component", "OP2-AUC-07/2", key.PublicKey(), key.ECDH)
		if err != nil {
			t.Fatal(err)
		}
		return secret
	}
}

// A component is typed unseen, compared by its check value, and leaves the page
// only enciphered to the module.
func TestComponentEntry(t *testing.T) {
	origin, got := serve(t, map[string]http.HandlerFunc{"/short": edited(t, "ceremony-mine", `data-seconds="60"`, `data-seconds="2"`)})
	to, take := module521(t)
	address, err := json.Marshal(to)
	if err != nil {
		t.Fatal(err)
	}
	const digits = "9A3f00c1d27788410b5e6f102938475665748392a1b0cfde0123456789abcdef"
	component, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	form := `document.querySelector("form[data-component]")`
	said := form + `.querySelector("[data-problem]").textContent`
	p := chromium.Person(t, nil)
	p.Open(origin + "/preview/ceremony-mine")
	p.Eval(form+`.dataset.to = `+string(address), nil)
	keys := func(s string) { t.Helper(); p.Do(chromedp.SendKeys("#c2", s)) }

	// Pasted, dropped or other than hexadecimal: refused, and said why.
	p.Eval(`document.querySelector("#c2").dispatchEvent(new ClipboardEvent("paste", {cancelable: true}))`, nil)
	reads(t, p, said+` === `+form+`.dataset.pasted`)
	keys("x")
	reads(t, p, said+` === `+form+`.dataset.bad`)
	// Typed, one digit taken back and typed again.
	keys("9A3" + "4" + "\b" + "f")
	reads(t, p, form+`.querySelector("[data-counted]").textContent.startsWith("4 of 64")`)
	keys(digits[4:])
	reads(t, p, form+`.querySelector("[data-compare]").hidden === false`)
	var page, value, kcv string
	p.Eval(`document.documentElement.outerHTML`, &page)
	p.Eval(`document.querySelector("#c2").value`, &value)
	p.Eval(form+`.querySelector("[data-kcv]").textContent`, &kcv)
	if value != "" || strings.Contains(strings.ToLower(page), strings.ToLower(digits[:8])) {
		t.Error("the digits are in the page")
	}
	want, err := hsm.AESKCV(hsm.GP, component)
	if err != nil || want.String() != kcv+" GP" {
		t.Errorf("the check value is %s, want %v (%v)", kcv, want, err)
	}
	p.Eval(form+`.querySelector("[data-compare] button").click()`, nil)
	wait(t, "the component", func() bool { return len(got.all()) == 1 })
	sent := got.all()[0]
	if !bytes.Equal(take(sent.Get("given")), component) || sent.Get("kcv") != kcv {
		t.Errorf("what came is not the component: %v", sent)
	}
	for _, v := range sent {
		if strings.Contains(strings.ToLower(v[0]), strings.ToLower(digits[:8])) {
			t.Error("the digits were sent")
		}
	}

	// What differs, or takes too long, is wiped and not sent.
	p.Open(origin + "/preview/ceremony-mine")
	keys(digits)
	reads(t, p, form+`.querySelector("[data-compare]").hidden === false`)
	p.Eval(form+`.querySelector("[data-wipe]").click()`, nil)
	reads(t, p, form+`.querySelector("[data-counted]").textContent.startsWith("0 of 64") && `+form+`.querySelector("[data-compare]").hidden`)
	p.Open(origin + "/short")
	keys(digits[:9])
	reads(t, p, said+` === `+form+`.dataset.expired && `+form+`.querySelector("[data-counted]").textContent.startsWith("0 of 64")`)
	if len(got.all()) != 1 {
		t.Error("something else was sent")
	}
	if e := p.Errors(); e != nil {
		t.Errorf("the console said %q", e)
	}
}

// A component that was given to a custodian goes on to the module: the
// custodian's passkey opens it, and the page gives it again.
func TestBringingAComponent(t *testing.T) {
	origin, got := serve(t, nil)
	p := chromium.Person(t, nil)
	p.Open(origin + "/preview/ceremony-bring")
	c := registered(t, p, origin)
	owner, err := c.Seal.Key()
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte("thirty-two bytes of a component.")
	given, err := hsm.Give(owner, "component of a custodian", "OP2-AUC-07/1", secret)
	if err != nil {
		t.Fatal(err)
	}
	to, take := module521(t)
	bring := func(given []byte) string {
		doc, err := json.Marshal(map[string]any{"credential": c.ID, "rp": "localhost", "seal": c.Seal, "given": passkey.Bytes(given), "content": "component of a custodian", "label": "OP2-AUC-07/1", "to": json.RawMessage(to)})
		if err != nil {
			t.Fatal(err)
		}
		quoted, err := json.Marshal(string(doc))
		if err != nil {
			t.Fatal(err)
		}
		return `document.querySelector("form[data-bring]").dataset.bring = ` + string(quoted) + `;`
	}
	const press = `document.querySelector("form[data-bring] button").click()`
	p.Eval(bring(append(slices.Clone([]byte(given[:len(given)-1])), given[len(given)-1]^1))+press, nil)
	reads(t, p, `document.querySelector("form[data-bring] [data-problem]").textContent === document.querySelector('[data-code="sealed"]').textContent`)
	if len(got.all()) != 0 {
		t.Fatal("a component that does not open was sent")
	}
	p.Eval(bring(given)+press, nil)
	wait(t, "the component", func() bool { return len(got.all()) == 1 })
	sent := got.all()[0]
	kcv, err := hsm.AESKCV(hsm.GP, secret)
	if err != nil || !bytes.Equal(take(sent.Get("given")), secret) || sent.Get("kcv")+" GP" != kcv.String() {
		t.Errorf("%v: what came is not the component: %v", err, sent)
	}
}

// A live region changes in place and keeps the focus; a site that does not
// answer is said; the end of the session leads to the door.
func TestLiveRegions(t *testing.T) {
	var mode atomic.Value
	mode.Store("first")
	first, second := edited(t, "inbox", `data-live="15"`, `data-live="1"`), edited(t, "inbox", `data-live="15"`, `data-live="1"`, "Activate key", "Changed key")
	origin, _ := serve(t, map[string]http.HandlerFunc{"/inbox": func(w http.ResponseWriter, r *http.Request) {
		switch mode.Load() {
		case "first":
			first(w, r)
		case "second":
			second(w, r)
		case "down":
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			http.Redirect(w, r, "/preview/signin", http.StatusSeeOther)
		}
	}})
	p := chromium.Person(t, nil)
	p.Open(origin + "/inbox")
	has := func(s string) string { return `document.querySelector("#waits").textContent.includes("` + s + `")` }
	reads(t, p, has("Activate key"))
	p.Eval(`document.querySelectorAll("#waits a.btn")[1].focus()`, nil)
	mode.Store("second")
	reads(t, p, has("Changed key"))
	var focused bool
	p.Eval(`document.activeElement.matches("#waits a.btn")`, &focused)
	if !focused {
		t.Error("the focus is lost")
	}
	mode.Store("down")
	reads(t, p, `document.documentElement.dataset.offline === ""`)
	mode.Store("second")
	reads(t, p, `document.documentElement.dataset.offline === undefined`)
	mode.Store("ended")
	reads(t, p, `location.pathname === "/preview/signin"`)
}

// Clocks run by the server's time, deadlines run down and end.
func TestClocks(t *testing.T) {
	origin, _ := serve(t, map[string]http.HandlerFunc{"/soon": edited(t, "inbox", noon.Add(38*time.Minute).Format(time.RFC3339), "2026-11-19T09:02:11Z")})
	p := chromium.Person(t, nil)
	p.Open(origin + "/soon")
	reads(t, p, `document.querySelector('[data-clock="ist"]').textContent === "14:32:10"`)
	reads(t, p, `document.querySelector("#waits [data-until]").textContent === document.documentElement.dataset.over`)
}
