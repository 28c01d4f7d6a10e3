package console

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"ankan/site"
)

// Bounds of a request.
const (
	maxBody    = 1 << 20          // bytes; the largest thing that people send is a ceremony's plan
	maxTime    = 30 * time.Second // from the request's header to the end of its answer
	langMaxAge = 365 * 24 * 3600  // seconds
)

// policy is the Content-Security-Policy: nothing but our own files, no inline
// script or style, no frame around or inside, forms to ourselves, no text
// that becomes markup or script.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// headers are set on every answer.
var headers = [][2]string{
	{"Content-Security-Policy", policy},
	{"X-Content-Type-Options", "nosniff"},
	{"Referrer-Policy", "same-origin"},
	{"Permissions-Policy", "publickey-credentials-get=(self), publickey-credentials-create=(self), camera=(), microphone=(), geolocation=(), usb=(), serial=(), hid=(), payment=(), display-capture=(), clipboard-read=()"},
	{"Cross-Origin-Opener-Policy", "same-origin"},
	{"Cross-Origin-Embedder-Policy", "require-corp"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{"X-Frame-Options", "DENY"},
	{"X-Robots-Tag", "noindex, nofollow"},
}

// Handler serves routes and the static files behind the guards: security
// headers, limits of size and time, no writes from other origins, the choice
// of language, and the console's own pages for what goes wrong.
func (c *Console) Handler(routes *http.ServeMux) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /static/{digest}/{name}", c.serveStatic)
	mux.Handle("/", c.ownErrors(routes))

	same := http.NewCrossOriginProtection()
	same.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.fail(w, r, http.StatusForbidden) }))
	inner := same.Handler(c.chooseLanguage(c.ownErrors(mux)))

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for _, one := range headers {
			h.Set(one[0], one[1])
		}
		if r.TLS != nil { // RFC 6797, 7.2: never over plain HTTP
			h.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
		}
		h.Set("Cache-Control", "no-store")
		out := &answer{ResponseWriter: w}
		defer func() {
			switch p := recover(); {
			case p == nil:
			case p == any(http.ErrAbortHandler):
				panic(p)
			default:
				c.incident(out, r, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			}
		}()
		if r.ContentLength > maxBody {
			c.fail(out, r, http.StatusRequestEntityTooLarge)
			return
		}
		end := time.Now().Add(maxTime) // of the machine's own clock: it bounds work, it records nothing
		rc := http.NewResponseController(w)
		for _, set := range []func(time.Time) error{rc.SetReadDeadline, rc.SetWriteDeadline} {
			if err := set(end); err != nil && !errors.Is(err, http.ErrNotSupported) {
				c.cfg.Log.Warn("a connection takes no deadline", "error", err)
			}
		}
		ctx, cancel := context.WithDeadline(r.Context(), end)
		defer cancel()
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(out, r.Body, maxBody)
		inner.ServeHTTP(out, r)
	})
}

// An answer knows whether it has begun: after that, no error page can be sent.
type answer struct {
	http.ResponseWriter
	begun bool
}

func (a *answer) WriteHeader(status int) {
	a.begun = true
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// ownErrors shows our page where mux has no handler for an address (404) or a
// method (405).
func (c *Console) ownErrors(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		said := &status{header: http.Header{}}
		mux.ServeHTTP(said, r)
		if to := said.header.Get("Location"); to != "" { // the same address in its clean form
			w.Header().Set("Location", to)
			w.WriteHeader(said.code)
			return
		}
		if allow := said.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
		}
		c.fail(w, r, said.code)
	})
}

// status takes an answer's code and header and drops its text.
type status struct {
	header http.Header
	code   int
}

func (s *status) Header() http.Header         { return s.header }
func (s *status) WriteHeader(code int)        { s.code = code }
func (s *status) Write(b []byte) (int, error) { return len(b), nil }

// readForm parses r's form. If it cannot, it has answered already.
func (c *Console) readForm(w http.ResponseWriter, r *http.Request) bool {
	err := r.ParseForm()
	var big *http.MaxBytesError
	switch {
	case err == nil && site.Legible(r.URL.Path, r.Form):
		return true
	case errors.As(err, &big):
		c.fail(w, r, http.StatusRequestEntityTooLarge)
	default:
		c.fail(w, r, http.StatusBadRequest)
	}
	return false
}

const langCookie = "ankan-lang"

// chooseLanguage keeps ?lang=hi in a cookie and goes to the same address
// without it: the address of a page does not depend on who reads it.
func (c *Console) chooseLanguage(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		lang := q.Get("lang")
		if lang == "" || r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		if _, known := c.sets[lang]; !known {
			c.fail(w, r, http.StatusNotFound)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: langCookie, Value: lang, Path: "/", MaxAge: langMaxAge, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode})
		q.Del("lang")
		to := url.URL{Path: localPath(r), RawQuery: q.Encode()}
		http.Redirect(w, r, to.String(), http.StatusSeeOther)
	})
}

// localPath is r's path, which cannot be taken for another host's address.
func localPath(r *http.Request) string { return "/" + strings.TrimLeft(r.URL.Path, `/\`) }

// lang is the language of an answer: what the person chose, else what the
// browser asks for first, else English.
func (c *Console) lang(r *http.Request) string {
	if k, err := r.Cookie(langCookie); err == nil {
		if _, known := c.sets[k.Value]; known {
			return k.Value
		}
	}
	if first, _, _ := strings.Cut(r.Header.Get("Accept-Language"), ","); strings.HasPrefix(strings.ToLower(strings.TrimSpace(first)), "hi") {
		return "hi"
	}
	return "en"
}

func otherLanguage(r *http.Request, lang string) string {
	q := r.URL.Query()
	q.Set("lang", map[string]string{"en": "hi", "hi": "en"}[lang])
	u := url.URL{Path: localPath(r), RawQuery: q.Encode()}
	return u.String()
}

// incident answers with a calm page and a reference, and logs what happened
// under the same reference.
func (c *Console) incident(w http.ResponseWriter, r *http.Request, err error) {
	ref := rand.Text()[:8]
	c.cfg.Log.Error("the console could not answer", "reference", ref, "method", r.Method, "path", r.URL.Path, "error", err)
	if a, ok := w.(*answer); ok && a.begun {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
	c.failed(w, r, errorPage{Status: http.StatusInternalServerError, Reference: ref})
}

// fail answers with the page for a status: what happened, and what next.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, code int) {
	c.failed(w, r, errorPage{Status: code})
}

func (c *Console) failed(w http.ResponseWriter, r *http.Request, v errorPage) {
	b, err := c.page(r, v)
	if err != nil { // the frame or the error page itself is broken
		c.cfg.Log.Error("the error page cannot be rendered", "reference", v.Reference, "error", err)
		http.Error(w, fmt.Sprintf("%d %s %s", v.Status, http.StatusText(v.Status), v.Reference), v.Status)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", c.lang(r))
	w.WriteHeader(v.Status)
	if r.Method != http.MethodHead {
		w.Write(b)
	}
}
