package console

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"ankan/access"
	"ankan/act"
	"ankan/parts"
	"ankan/passkey"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/test/browser"
)

const foundersText = `founders:
  - {number: "1002", name: Vikram Iyer, roles: [key-manager]}
  - {number: "1004", name: Asha Rao, roles: [security-officer], reports_to: "1002"}
  - {number: "1006", name: Meera Nair, roles: [key-custodian]}
`

// A foundingRig is a founding page and what came of it.
type foundingRig struct {
	*Founding
	site  *site.Config
	codes map[string]string
	made  access.Founding
	notes []string
	now   time.Time
	at    string // its address
}

// foundingPageOf is the page of a bureau whose founders use software passkeys.
func foundingPageOf(t *testing.T, founders string, listen string) *foundingRig {
	t.Helper()
	c := sitetest.Config(t, "bureau", "operator")
	c.Console.Listen, c.Console.AllowSoftware = listen, true
	g := &foundingRig{site: c, codes: map[string]string{}, now: time.Now()}
	people := sitetest.Must[[]act.Person](t)(site.ParseFounders("founders.yaml", []byte(founders)))
	f, codes, err := NewFounding(FoundingConfig{
		Site: c, Policy: access.DefaultPolicy(), People: people, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Embedded: true,
		Now: func() time.Time { return g.now }, Note: func(s string) { g.notes = append(g.notes, s) },
		Make: func(_ context.Context, signed access.Founding) error { g.made = signed; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	g.Founding = f
	for i, who := range people {
		g.codes[who.ID] = codes[i]
	}
	srv := httptest.NewServer(f.Routes())
	t.Cleanup(srv.Close)
	g.at = srv.URL
	return g
}

// A device is one browser, as far as cookies and forms go.
type device struct {
	t    *testing.T
	at   string
	http *http.Client
	key  *passkey.Soft
}

func (g *foundingRig) device(t *testing.T) *device {
	return &device{t: t, at: g.at, http: &http.Client{Jar: sitetest.Must[*cookiejar.Jar](t)(cookiejar.New(nil))},
		key: sitetest.Must[*passkey.Soft](t)(passkey.NewSoft("localhost", g.Origin()))}
}

// send posts a form, or gets the page if the form is nil.
func (d *device) send(form url.Values) (int, string) {
	d.t.Helper()
	var r *http.Response
	if form == nil {
		r = sitetest.Must[*http.Response](d.t)(d.http.Get(d.at + "/"))
	} else {
		r = sitetest.Must[*http.Response](d.t)(d.http.PostForm(d.at+"/", form))
	}
	defer r.Body.Close()
	return r.StatusCode, string(sitetest.Must[[]byte](d.t)(io.ReadAll(r.Body)))
}

// want sends a form and checks the answer.
func (d *device) want(form url.Values, status int, text string) string {
	d.t.Helper()
	got, body := d.send(form)
	if got != status || !strings.Contains(html.UnescapeString(body), text) {
		d.t.Fatalf("%v: %d, want %d with %q:\n%s", form, got, status, text, body)
	}
	return body
}

func codeForm(id, code string) url.Values {
	return url.Values{"step": {"code"}, "person": {id}, "code": {code}}
}

const goodPassword = "a long enough password"

// proof is the form that registers the device's passkey.
func (d *device) proof(edit func(*passkey.Registration)) url.Values {
	d.t.Helper()
	_, body := d.send(nil)
	m := regexp.MustCompile(`data-register="([^"]*)"`).FindStringSubmatch(body)
	if m == nil {
		d.t.Fatal("the page asks for no passkey:\n", body)
	}
	var options struct {
		Challenge  string         `json:"challenge"`
		Extensions map[string]any `json:"extensions"`
	}
	if err := json.Unmarshal([]byte(html.UnescapeString(m[1])), &options); err != nil {
		d.t.Fatal(err)
	}
	var challenge [32]byte
	copy(challenge[:], sitetest.Must[[]byte](d.t)(base64.RawURLEncoding.DecodeString(options.Challenge)))
	r := sitetest.Must[passkey.Registration](d.t)(d.key.Register(challenge))
	if options.Extensions["prf"] == nil {
		r.Seal = nil
	}
	if edit != nil {
		edit(&r)
	}
	return url.Values{"step": {"prove"}, "password": {goodPassword}, "again": {goodPassword}, "registration": {string(sitetest.Must[[]byte](d.t)(json.Marshal(r)))}}
}

// enter takes a founder through code, password and passkey.
func (d *device) enter(g *foundingRig, id, then string) string {
	d.t.Helper()
	d.want(codeForm(id, g.codes[id]), 200, `value="prove"`)
	return d.want(d.proof(nil), 200, then)
}

// signature is the form that signs what the page shows.
func (d *device) signature() url.Values {
	d.t.Helper()
	_, body := d.send(nil)
	m := regexp.MustCompile(`data-sign="([^"]*)"`).FindStringSubmatch(body)
	if m == nil {
		d.t.Fatal("the page asks for no signature:\n", body)
	}
	var challenge [32]byte
	copy(challenge[:], sitetest.Must[[]byte](d.t)(base64.RawURLEncoding.DecodeString(m[1])))
	a := sitetest.Must[passkey.Assertion](d.t)(d.key.Sign(challenge))
	return url.Values{"step": {"sign"}, "compared": {"yes"}, "assertion": {string(sitetest.Must[[]byte](d.t)(json.Marshal(a)))}}
}

func wordsIn(t *testing.T, body string) string {
	t.Helper()
	m := regexp.MustCompile(`<ol class="words"[^>]*>(.*?)</ol>`).FindStringSubmatch(body)
	if m == nil {
		t.Fatal("no words:\n", body)
	}
	return m[1]
}

// Three people, each on a device of their own, from their codes to the last
// signature; and what each may not do on the way.
func TestFoundingPage(t *testing.T) {
	g := foundingPageOf(t, foundersText, "localhost:8443")
	a, b, c := g.device(t), g.device(t), g.device(t)
	if body := a.want(nil, 200, `value="code"`); strings.Contains(body, "Vikram") || strings.Contains(body, "SHA-256") {
		t.Error("a stranger sees the founders:\n", body)
	}
	a.want(codeForm("1002", g.codes["1004"]), 403, access.ErrCode.Error())
	a.want(codeForm("1002", strings.ToLower(strings.ReplaceAll(g.codes["1002"], "-", ""))), 200, "Vikram Iyer")

	// What is wrong is said, and nothing is used up by it.
	bad := a.proof(nil)
	bad.Set("again", "another password")
	a.want(bad, 403, "the two passwords differ")
	bad = a.proof(nil)
	bad.Set("password", "short")
	bad.Set("again", "short")
	a.want(bad, 403, "password has 5 characters, want at least 12")
	a.want(a.proof(func(r *passkey.Registration) { r.ClientDataJSON = []byte("{}") }), 403, "passkey registration refused")
	late := g.device(t)
	late.want(codeForm("1002", g.codes["1002"]), 200, `value="prove"`)
	a.want(a.proof(nil), 200, "The six words appear here when every founder has registered")

	// A second device comes too late, with the code and without.
	if body := late.want(url.Values{"step": {"prove"}, "password": {goodPassword}, "again": {goodPassword}, "registration": {"{}"}}, 200, `value="code"`); strings.Contains(body, "Vikram") {
		t.Error("a second device still sees the founders")
	}
	late.want(codeForm("1002", g.codes["1002"]), 403, access.ErrCode.Error())

	// A custodian's passkey opens what is sealed, and nobody has another's.
	c.want(codeForm("1006", g.codes["1006"]), 200, `value="prove"`)
	c.want(c.proof(func(r *passkey.Registration) { r.Seal = nil }), 403, "no pair to seal key components to")
	b.want(codeForm("1004", g.codes["1004"]), 200, `value="prove"`)
	own := b.key
	b.key = a.key
	b.want(b.proof(nil), 403, "the passkey is that of 1002")
	b.key = own
	b.want(b.proof(nil), 200, "The six words appear here")
	a.want(url.Values{"step": {"sign"}, "compared": {"yes"}}, 200, "The six words appear here")
	c.want(c.proof(nil), 200, `value="sign"`)

	words := wordsIn(t, a.want(nil, 200, `value="sign"`))
	if other := wordsIn(t, b.want(nil, 200, "Meera Nair")); other != words {
		t.Errorf("%s and %s", words, other)
	}
	sign := a.signature()
	sign.Del("compared")
	a.want(sign, 403, "compare the six words")
	sign = a.signature()
	sign.Set("assertion", b.signature().Get("assertion"))
	a.want(sign, 403, "passkey signature refused: it is of another passkey")
	sign.Del("assertion")
	a.want(sign, 403, "no passkey signed it")
	a.want(a.signature(), 200, "The site opens when every founder has")
	b.want(nil, 200, `value="sign"`)

	// Nobody comes in time: the act is made anew, and who signed signs again.
	old := b.signature()
	g.now = g.now.Add(61 * time.Minute)
	if again := wordsIn(t, b.want(old, 403, "this founding waited too long")); again == words {
		t.Error("an act whose time is over is shown again")
	}
	b.want(old, 403, "passkey signature refused: it is over other bytes than these")
	b.want(b.signature(), 200, "The site opens when every founder has")
	a.want(nil, 200, `value="sign"`)
	a.want(a.signature(), 200, "The site opens")
	select {
	case <-g.full:
		t.Fatal("two of three have signed, and the site is made")
	default:
	}
	c.want(c.signature(), 200, "The site opens")
	<-g.full
	if err := g.founding.Check(g.now); err != nil {
		t.Error(err)
	}
	if want := "person 1006 signed, 3 of 3"; g.notes[len(g.notes)-1] != want {
		t.Errorf("%q, want %s in the end", g.notes, want)
	}
	for _, n := range g.notes {
		for _, code := range g.codes {
			if strings.Contains(n, code) || strings.Contains(n, goodPassword) {
				t.Errorf("%q tells a secret", n)
			}
		}
	}
	if _, err := os.Stat(g.site.Data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("before the site is made something of it is there: %v", err)
	}
}

// Whoever guesses waits; the others do not come in meanwhile from that address.
func TestFoundingWaits(t *testing.T) {
	g := foundingPageOf(t, foundersText, "localhost:8443")
	d := g.device(t)
	for range codeTries - 1 {
		d.want(codeForm("1002", "AAAA-AAAA-AAAA-AAAA"), 403, access.ErrCode.Error())
	}
	d.want(codeForm("9999", g.codes["1002"]), 403, access.ErrCode.Error())
	d.want(codeForm("1002", g.codes["1002"]), 429, "")
	g.now = g.now.Add(codeWait + time.Second)
	d.want(codeForm("1002", g.codes["1002"]), 200, `value="prove"`)
	if len(g.notes) != codeTries || !strings.Contains(g.notes[4], "a wrong number or code from 127.0.0.1, 5 of 5") {
		t.Errorf("%q", g.notes)
	}
}

// guarded checks that a page before there is a site serves nothing else of a
// console, and takes no form, not even a right one, from another site.
func guarded(t *testing.T, h http.Handler, right url.Values) {
	t.Helper()
	for _, path := range []string{"/sign-in", "/enrol", "/inbox", "/people"} {
		if r := do(h, httptest.NewRequest("GET", path, nil)); r.Code != 404 {
			t.Errorf("%s: %d", path, r.Code)
		}
	}
	r := httptest.NewRequest("POST", "/", strings.NewReader(right.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if w := do(h, r); w.Code != 403 || w.Header().Get("Content-Security-Policy") != policy {
		t.Errorf("from another site: %d, %v", w.Code, w.Header())
	}
}

// The page has the guards of the console, and nothing of a console but itself.
func TestFoundingServesNothingElse(t *testing.T) {
	g := foundingPageOf(t, foundersText, "localhost:8443")
	guarded(t, g.Routes(), codeForm("1002", g.codes["1002"]))
	for listen, want := range map[string]string{"": "console: listen is missing", "x": "console: listen is", "192.0.2.1:1": "is no loopback address: give it a certificate"} {
		c := *g.site
		c.Console.Listen = listen
		if _, _, err := NewFounding(FoundingConfig{Site: &c, Policy: access.DefaultPolicy(), Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", listen, err)
		}
	}
}

// What everybody signed is made into a site; those who wait see what came of
// it, and then Run ends.
func TestFoundingRun(t *testing.T) {
	for step, outcome := range map[string]error{"This page does not open again": nil, "the site could not be made": errors.New("the disk is full")} {
		g := foundingPageOf(t, foundersText, "localhost:0")
		making := make(chan struct{})
		g.cfg.Make = func(_ context.Context, signed access.Founding) error {
			g.made = signed
			<-making
			return outcome
		}
		ended := make(chan error, 1)
		go func() { ended <- g.Run(t.Context()) }()
		all := []*device{g.device(t), g.device(t), g.device(t)}
		for i, then := range []string{"The six words appear here", "The six words appear here", `value="sign"`} {
			all[i].enter(g, []string{"1002", "1004", "1006"}[i], then)
		}
		for _, d := range all {
			d.want(d.signature(), 200, "The site opens when every founder has")
		}
		close(making)
		for _, d := range all {
			for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
				if _, body := d.send(nil); strings.Contains(body, step) {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("nothing says %q", step)
				}
			}
		}
		select {
		case err := <-ended:
			if !errors.Is(err, outcome) || (err == nil) != (outcome == nil) {
				t.Errorf("%v, want %v", err, outcome)
			}
		case <-time.After(lastLook / 2):
			t.Error("everybody saw what came of it, and the page stays")
		}
		if len(g.made.Passwords) != 3 || len(g.made.Signatures) != 3 {
			t.Errorf("%d passwords and %d signatures", len(g.made.Passwords), len(g.made.Signatures))
		}
	}
}

// Whoever ends it before the last signature leaves nothing.
func TestFoundingEnded(t *testing.T) {
	g := foundingPageOf(t, foundersText, "localhost:0")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	g.device(t).enter(g, "1002", "The six words appear here")
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := os.Stat(g.site.Data); !errors.Is(err, os.ErrNotExist) || g.made.Act != "" {
		t.Errorf("it left something: %v", err)
	}
	// An address that is taken is said at once.
	taken := sitetest.Must[net.Listener](t)(net.Listen("tcp", "localhost:0"))
	defer taken.Close()
	other := foundingPageOf(t, foundersText, taken.Addr().String())
	if err := other.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Error(err)
	}
}

// Two people found a site in Chromium, each with an authenticator of their own;
// then the site is served, and one of them signs in with what they made.
func TestFoundingInABrowser(t *testing.T) {
	free := sitetest.Must[net.Listener](t)(net.Listen("tcp", "localhost:0"))
	_, port, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	g := foundingPageOf(t, strings.Replace(foundersText, "  - {number: \"1006\", name: Meera Nair, roles: [key-custodian]}\n", "", 1), "localhost:"+port)
	c := g.site
	c.Console.AllowSoftware = false
	c.Control = filepath.Join(filepath.Dir(c.Data), "s")
	g.cfg.Make = func(ctx context.Context, signed access.Founding) error {
		token, err := site.OpenToken(c, true)
		if err != nil {
			return err
		}
		return errors.Join(site.Init(ctx, c, token, signed, func(string) {}, parts.All()...), token.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- g.Run(t.Context()) }()

	a, b := chromium.Person(t, nil), chromium.Person(t, nil)
	for id, p := range map[string]*browser.Person{"1002": a, "1004": b} {
		waitFor(t, g.Origin())
		p.Open(g.Origin())
		p.Do(chromedp.SendKeys("input[name=person]", id), chromedp.SendKeys("input[name=code]", g.codes[id]), chromedp.Click("main form button"))
		p.Do(chromedp.WaitVisible("input[name=password]"), chromedp.SendKeys("input[name=password]", goodPassword), chromedp.SendKeys("input[name=again]", goodPassword), chromedp.Click("main form button"))
		p.Do(chromedp.WaitVisible("#live-founding"))
	}
	// The words come to who waits, without a click.
	words := func(p *browser.Person) (text string) {
		p.Do(chromedp.WaitVisible("#live-founding ol.words"), chromedp.WaitVisible("input[name=compared]"))
		p.Eval(`document.querySelector("ol.words").innerText`, &text)
		return text
	}
	if wa, wb := words(a), words(b); wa != wb || len(strings.Fields(wa)) < 6 {
		t.Fatalf("%q and %q", wa, wb)
	}
	for _, p := range []*browser.Person{a, b} {
		p.Do(chromedp.Click("input[name=compared]"), chromedp.Click("#live-founding form button"), chromedp.WaitVisible("#live-founding .note"))
	}
	for _, p := range []*browser.Person{a, b} {
		p.Do(chromedp.WaitVisible("#live-founding .note.ok"))
		if e := p.Errors(); len(e) > 0 {
			t.Errorf("%q", e)
		}
		if v := p.Axe(); len(v) > 0 {
			t.Error(v)
		}
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	token := sitetest.Must[site.Module](t)(site.OpenToken(c, false))
	defer token.Close()
	st := sitetest.Open(t, c, token, parts.All()...)
	web := sitetest.Must[*Server](t)(Open(st, slog.New(slog.DiscardHandler), "test"))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { ended <- web.Run(ctx) }()
	waitFor(t, web.Origin())
	a.Open(web.Origin() + "/sign-in")
	a.Do(chromedp.SendKeys("input[name=person]", "1002"), chromedp.SendKeys("input[name=password]", goodPassword), chromedp.Click("main form button"))
	a.Do(chromedp.WaitVisible("form[data-sign] button, button[data-sign]"), chromedp.Click("form[data-sign] button, button[data-sign]"))
	var path string
	a.Do(chromedp.WaitVisible("nav"))
	for end := time.Now().Add(time.Minute); path != "/inbox" && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		a.Eval(`location.pathname`, &path)
	}
	if path != "/inbox" {
		t.Errorf("signed in, and at %s", path)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// waitFor waits until somebody listens at an origin.
func waitFor(t *testing.T, origin string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", strings.TrimPrefix(origin, "http://"))
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}
