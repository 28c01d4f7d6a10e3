package console

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

// rig is a console with a few routes of its own, and what it logged.
func rig(t *testing.T, routes func(*Console, *http.ServeMux)) (http.Handler, *bytes.Buffer) {
	t.Helper()
	var logged bytes.Buffer
	c, err := New(Config{Now: func() time.Time { return noon }, Log: slog.New(slog.NewTextHandler(&logged, nil)), Frame: func(*http.Request) Frame { return bureauFrame() }})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	if routes != nil {
		routes(c, mux)
	}
	return c.Handler(mux), &logged
}

func do(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("a console without clock, log and frame was made")
	}
}

func TestHeaders(t *testing.T) {
	h := Preview(t)
	for _, path := range []string{"/preview/inbox", "/nowhere", "/static/0/console.css"} {
		got := get(h, path, "en").Header()
		for key, want := range map[string]string{
			"Content-Security-Policy":    policy,
			"X-Content-Type-Options":     "nosniff",
			"Referrer-Policy":            "same-origin",
			"Cross-Origin-Opener-Policy": "same-origin",
			"Cache-Control":              "no-store",
			"Strict-Transport-Security":  "",
			"X-Frame-Options":            "DENY",
		} {
			if got.Get(key) != want {
				t.Errorf("%s: %s is %q, want %q", path, key, got.Get(key), want)
			}
		}
		if !strings.Contains(got.Get("Permissions-Policy"), "publickey-credentials-get=(self)") {
			t.Errorf("%s: passkeys are not permitted: %q", path, got.Get("Permissions-Policy"))
		}
	}
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s", want)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/preview/inbox", nil)
	r.TLS = &tls.ConnectionState{}
	if do(h, r).Header().Get("Strict-Transport-Security") == "" {
		t.Error("no HSTS under TLS")
	}
}

// What goes wrong has a page in the console's look, which says what next.
func TestErrorPages(t *testing.T) {
	h, logged := rig(t, func(c *Console, mux *http.ServeMux) {
		mux.HandleFunc("POST /form", func(w http.ResponseWriter, r *http.Request) {
			if c.readForm(w, r) {
				io.WriteString(w, "read")
			}
		})
		mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("secret cause") })
		mux.HandleFunc("GET /broken", func(w http.ResponseWriter, r *http.Request) {
			c.render(w, r, http.StatusOK, logPage{Kinds: []Option{{Label: say("no such key")}}})
		})
		mux.HandleFunc("GET /late", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "half")
			panic("after the first byte")
		})
	})
	post := func(body io.Reader, header ...string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/form", body)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return r
	}
	big := strings.Repeat("a", maxBody+1)
	for _, c := range []struct {
		name   string
		r      *http.Request
		status int
	}{
		{"no page", httptest.NewRequest(http.MethodGet, "/nowhere", nil), 404},
		{"no such language", httptest.NewRequest(http.MethodGet, "/form?lang=xx", nil), 404},
		{"an old address of a file", httptest.NewRequest(http.MethodGet, "/static/0123456789abcdef/console.css", nil), 404},
		{"a method that it has not", httptest.NewRequest(http.MethodGet, "/form", nil), 405},
		{"another site's form", post(strings.NewReader("a=b"), "Sec-Fetch-Site", "cross-site"), 403},
		{"another origin", post(strings.NewReader("a=b"), "Origin", "https://evil.example"), 403},
		{"a form that is no form", post(strings.NewReader("a=%zz")), 400},
		{"a body that is announced too large", post(strings.NewReader(big)), 413},
		{"a body that becomes too large", func() *http.Request { r := post(strings.NewReader("a=" + big)); r.ContentLength = -1; return r }(), 413},
		{"a panic", httptest.NewRequest(http.MethodGet, "/panic", nil), 500},
		{"a page that cannot be rendered", httptest.NewRequest(http.MethodGet, "/broken", nil), 500},
	} {
		w := do(h, c.r)
		page := w.Body.String()
		if w.Code != c.status || !strings.Contains(page, "What next") {
			t.Errorf("%s: %d: %.80q, want %d and what next", c.name, w.Code, page, c.status)
		}
		for _, f := range faults(page) {
			t.Errorf("%s: %s", c.name, f)
		}
		if strings.Contains(page, "secret cause") || strings.Contains(page, "no such key") {
			t.Errorf("%s: the page tells the cause", c.name)
		}
		if w.Code == 405 && w.Header().Get("Allow") != "POST" {
			t.Errorf("Allow is %q", w.Header().Get("Allow"))
		}
		if w.Code == 500 {
			ref := regexp.MustCompile(`<b class="mono big">([A-Z2-7]{8})</b>`).FindStringSubmatch(page)
			if ref == nil || !strings.Contains(logged.String(), "reference="+ref[1]) {
				t.Errorf("%s: the page's reference %q is not in the log", c.name, ref)
			}
		}
	}
	if w := do(h, post(strings.NewReader("a=b"), "Sec-Fetch-Site", "same-origin")); w.Body.String() != "read" {
		t.Errorf("our own form was refused: %d", w.Code)
	}
	// Half an answer is broken off, not ended with an error page.
	func() {
		defer func() {
			if p := recover(); p != any(http.ErrAbortHandler) {
				t.Errorf("after the first byte: %v", p)
			}
		}()
		do(h, httptest.NewRequest(http.MethodGet, "/late", nil))
	}()
}

// Words without a place for them end in the plain error: there is always an
// answer.
func TestTheErrorPageIsBroken(t *testing.T) {
	var logged bytes.Buffer
	broken := bureauFrame()
	broken.Site.Mode = say("no such key")
	c, err := New(Config{Now: func() time.Time { return noon }, Log: slog.New(slog.NewTextHandler(&logged, nil)), Frame: func(*http.Request) Frame { return broken }})
	if err != nil {
		t.Fatal(err)
	}
	w := do(c.Handler(http.NewServeMux()), httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != 404 || !strings.HasPrefix(w.Body.String(), "404 Not Found") || !strings.Contains(logged.String(), "no such key") {
		t.Errorf("%d %q, log %q", w.Code, w.Body, &logged)
	}
}

func TestStatic(t *testing.T) {
	h := Preview(t)
	page := get(h, "/preview/inbox", "en").Body.String()
	addresses := regexp.MustCompile(`/static/[0-9a-f]{16}/[a-z.]+`).FindAllString(page, -1)
	if len(addresses) < 4 {
		t.Fatalf("the page names %q", addresses)
	}
	for _, a := range addresses {
		w := get(h, a, "en")
		if w.Code != 200 || w.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" || w.Body.Len() == 0 || w.Header().Get("Content-Type") == "" {
			t.Errorf("%s: %d %v", a, w.Code, w.Header())
		}
	}
}

func TestLanguage(t *testing.T) {
	h := Preview(t)
	w := do(h, httptest.NewRequest(http.MethodGet, "/preview/acts?state=waits&lang=hi", nil))
	if w.Code != 303 || w.Header().Get("Location") != "/preview/acts?state=waits" {
		t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
	}
	k := w.Result().Cookies()
	if len(k) != 1 || k[0].Value != "hi" || !k[0].HttpOnly || k[0].SameSite != http.SameSiteLaxMode || k[0].Secure {
		t.Fatalf("cookies %v", k)
	}
	for _, c := range []struct{ cookie, accept, want string }{
		{"", "", "en"}, {"", "hi-IN,en;q=0.8", "hi"}, {"", "en,hi", "en"}, {"en", "hi", "en"}, {"hi", "en", "hi"}, {"xx", "hi", "hi"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/preview/acts", nil)
		if c.cookie != "" {
			r.AddCookie(&http.Cookie{Name: langCookie, Value: c.cookie})
		}
		r.Header.Set("Accept-Language", c.accept)
		if got := do(h, r).Header().Get("Content-Language"); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	// The way back is never another host's.
	for _, path := range []string{"//evil.example/x", `/\evil.example`} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path, r.URL.RawQuery = path, "lang=hi"
		if to := do(h, r).Header().Get("Location"); !strings.HasPrefix(to, "/evil") {
			t.Errorf("%s goes to %q", path, to)
		}
	}
}

func TestHeadHasNoBody(t *testing.T) {
	h := Preview(t)
	for _, path := range []string{"/preview/inbox", "/nowhere"} {
		if w := do(h, httptest.NewRequest(http.MethodHead, path, nil)); w.Body.Len() != 0 {
			t.Errorf("%s: %d bytes", path, w.Body.Len())
		}
	}
}
