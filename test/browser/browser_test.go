package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// chromium is one browser for all tests of this package.
var chromium *Browser

func TestMain(m *testing.M) {
	var err error
	if chromium, err = New(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	chromium.Close()
	os.Exit(code)
}

// page is what every test page may do: nothing but scripts of its origin.
const policy = "default-src 'none'; script-src 'self'; img-src 'self'; require-trusted-types-for 'script'"

// serve serves pages by path and the browser script, and gives the origin.
func serve(t *testing.T, pages map[string]string) string {
	t.Helper()
	mux := http.NewServeMux()
	for path, body := range pages {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Security-Policy", policy)
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, body)
		})
	}
	mux.HandleFunc("GET /passkey.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join("..", "..", "console", "static", "passkey.js"))
	})
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
}

const good = `<!doctype html><html lang="en"><title>Good</title><main><h1>Good</h1><p>Text</p></main></html>`

func TestHarness(t *testing.T) {
	site := serve(t, map[string]string{
		"/good": good,
		"/bad":  `<!doctype html><html><title>Bad</title><img src="none.png"><script>window.ran = true</script></html>`,
	})
	a, b := chromium.Person(t, nil), chromium.Person(t, nil)
	a.Open(site + "/good")
	b.Open(site + "/bad")
	if v := a.Axe(); len(v) != 0 {
		t.Error(v)
	}
	if e := a.Errors(); len(e) != 0 {
		t.Error(e)
	}
	v := b.Axe()
	for _, id := range []string{"image-alt", "html-has-lang"} {
		if !slices.ContainsFunc(v, func(v Violation) bool { return v.ID == id && len(v.Nodes) > 0 && v.Help != "" }) {
			t.Errorf("%s is not seen in %v", id, v)
		}
	}
	e := strings.Join(b.Errors(), "\n")
	if !strings.Contains(e, "none.png") || !strings.Contains(e, "Content Security Policy") {
		t.Errorf("console said %q, want what was not found and what was forbidden", e)
	}
	if e := b.Errors(); len(e) != 0 {
		t.Errorf("told twice: %q", e)
	}
	b.Eval(`console.error("first", 2), Promise.reject(new Error("third")).catch((e) => { setTimeout(() => { throw e }) }), new Promise((r) => setTimeout(r, 50))`, nil)
	if e := strings.Join(b.Errors(), "\n"); !strings.Contains(e, "first") || !strings.Contains(e, "third") {
		t.Errorf("console said %q", e)
	}
	// The two have nothing in common.
	var mine string
	a.Eval(`document.cookie = "who=a", document.cookie`, &mine)
	b.Eval(`document.cookie`, &mine)
	if mine != "" {
		t.Errorf("one person has the other's cookie %q", mine)
	}
	path := filepath.Join(t.TempDir(), "page.png")
	a.Screenshot(path)
	if png, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(png), "\x89PNG") {
		t.Error("no picture", err)
	}
	// Nothing leaves this machine.
	var reached bool
	a.Eval(`fetch("https://example.com", {mode: "no-cors"}).then(() => true, () => false)`, &reached)
	if reached {
		t.Error("the browser reached another machine")
	}
}

func TestAxeIsChecked(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", home)
	if _, err := axe(); err == nil || !strings.Contains(err.Error(), "scripts/packages") {
		t.Error(err)
	}
	if err := os.Mkdir(filepath.Join(home, "ankan"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "ankan", "axe-core-"+axeVersion+".min.js"), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := axe(); err == nil || !strings.Contains(err.Error(), "is not axe-core") {
		t.Error(err)
	}
}
