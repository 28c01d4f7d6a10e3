package console

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// under is the noun of the navigation under which a page stands.
var under = map[string]string{
	"inbox": "inbox", "act": "acts", "ask": "acts", "acts": "acts", "notices": "notices", "keys": "keys", "key": "keys", "compromises": "keys", "policy-draft": "policy", "ceremonies": "ceremonies", "ceremony-new": "ceremonies",
	"transfers": "transfers", "register": "register", "inventory": "register", "custody": "register", "item": "register", "holdings": "register", "transfer": "transfers", "transfer-new": "transfers", "hsm": "hsm", "line": "line", "line-batch": "line", "line-cards": "line", "line-card": "line", "log": "log", "entry": "log", "policy": "policy", "policy-diff": "policy", "profiles": "profiles", "profile": "profiles", "profile-diff": "profiles",
	"stock": "stock", "lots": "lots", "lot": "lots", "boxes": "boxes", "shipments": "shipments", "discrepancies": "discrepancies", "deliveries": "deliveries", "delivery": "deliveries",
	"people": "people", "person": "people", "person-form": "people", "leaver": "people", "sessions": "sessions", "glass": "glass",
	"releases": "releases", "release": "releases", "release-new": "releases", "standing": "releases",
}

// Preview serves every fixture at /preview/NAME through the same guards and
// the same render as the product.
func Preview(t testing.TB) http.Handler {
	t.Helper()
	byPath := map[string]shot{}
	for _, s := range shots() {
		byPath["/preview/"+s.name] = s
	}
	c, err := New(Config{
		Now: func() time.Time { return noon },
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Frame: func(r *http.Request) Frame {
			if s, ok := byPath[r.URL.Path]; ok {
				f := s.frame()
				for i := range f.Nav {
					f.Nav[i].Current = f.Nav[i].Key == under[s.view.page()]
				}
				return f
			}
			return gateFrame()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for path, s := range byPath {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			if e, ok := s.view.(errorPage); ok {
				c.failed(w, r, e)
				return
			}
			c.render(w, r, http.StatusOK, s.view)
		})
	}
	return c.Handler(mux)
}

// get asks for a page in a language.
func get(h http.Handler, path, lang string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.AddCookie(&http.Cookie{Name: langCookie, Value: lang})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestEveryPageRenders(t *testing.T) {
	h := Preview(t)
	for _, s := range shots() {
		for _, lang := range languages {
			w := get(h, "/preview/"+s.name, lang)
			want := http.StatusOK
			if e, ok := s.view.(errorPage); ok {
				want = e.Status
			}
			if w.Code != want || !strings.Contains(w.Body.String(), `<html lang="`+lang+`"`) {
				t.Errorf("%s in %s: %d", s.name, lang, w.Code)
			}
		}
	}
}
