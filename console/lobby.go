package console

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"ankan/access"
	"ankan/site"
)

// A lobby is a page before there is a site: where people come in by codes that
// the terminal printed, each on a device of their own, until what they came for is
// done. Nothing of it is anywhere but in memory. V is what is known of a browser
// in which somebody gave their code.
type lobby[V any] struct {
	*Console
	lobbyConfig
	door doorway

	mu       sync.Mutex
	visitors map[string]V           // by cookie
	wrong    map[string]*wrongCodes // by address
	full     chan struct{}          // closed when everybody that it takes has done their part
	seen     chan struct{}          // closed when everybody saw what came of it
	making   string                 // "", made or failed, once it is full
}

type lobbyConfig struct {
	site     *site.Config
	log      *slog.Logger
	version  string
	embedded bool
	note     func(string) // is told what happens, for whoever watches
	now      func() time.Time
	cookie   string
	why      string // a browser is needed
}

type wrongCodes struct {
	n    int
	last time.Time
}

// Bounds of guessing.
const (
	codeTries   = 5
	codeWait    = time.Minute
	maxVisitors = 1000
)

// lastLook is how long the page stays after the end, for those who wait for it to
// say so.
const lastLook = 10 * time.Second

func newLobby[V any](c lobbyConfig) (*lobby[V], error) {
	if c.now == nil {
		c.now = time.Now
	}
	if c.site.Console.Listen == "" {
		return nil, errors.New("console: listen is missing; " + c.why + " in a browser: name an address there, such as 127.0.0.1:8443")
	}
	l := &lobby[V]{lobbyConfig: c, visitors: map[string]V{}, wrong: map[string]*wrongCodes{}, full: make(chan struct{}), seen: make(chan struct{})}
	var err error
	if l.door, err = doorOf(c.site, c.now()); err != nil {
		return nil, err
	}
	if err := checkListen(l.door.listen, l.door.tls); err != nil {
		return nil, err
	}
	frame := Frame{Site: siteOf(c.site, c.embedded, c.version)}
	l.Console, err = New(Config{Now: c.now, Log: c.log, Frame: func(*http.Request) Frame { return frame }})
	return l, err
}

// Origin is the page's address.
func (l *lobby[V]) Origin() string { return l.door.party.Origin }

// routes is the page's handler. Nothing else of a console is there yet.
func (l *lobby[V]) routes(get, post http.HandlerFunc) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", get)
	mux.HandleFunc("POST /{$}", post)
	return l.Handler(mux)
}

// run serves the page until it is full, has do done, which is carried to its end
// from there on, and stays until everybody saw what came of it.
func (l *lobby[V]) run(ctx context.Context, h http.Handler, do func(context.Context) error) error {
	serving, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- listenAndServe(serving, l.door.listen, l.door.tls, h, l.log) }()
	select {
	case err := <-served:
		return errors.Join(err, ctx.Err())
	case <-l.full:
	}
	made := do(context.WithoutCancel(ctx))
	l.mu.Lock()
	l.making = "made"
	if made != nil {
		l.making = "failed"
	}
	l.mu.Unlock()
	select {
	case <-l.seen:
	case <-ctx.Done():
	case <-time.After(lastLook):
	}
	stop()
	return errors.Join(made, <-served)
}

func (l *lobby[V]) cookieName() string {
	if l.door.tls != nil {
		return "__Host-" + l.cookie
	}
	return l.cookie
}

// visit is whose code was given in this browser; the zero V if none was.
func (l *lobby[V]) visit(r *http.Request) (none V) {
	k, err := r.Cookie(l.cookieName())
	if err != nil {
		return none
	}
	return l.visitors[k.Value]
}

// guess refuses, with access.ErrWait, whoever has guessed too often. right says
// whether the code is; a wrong one counts, by the address that it came from.
func (l *lobby[V]) guess(r *http.Request, right bool) error {
	now, place := l.now(), from(r)
	for at, n := range l.wrong {
		if now.Sub(n.last) > codeWait {
			delete(l.wrong, at)
		}
	}
	n := l.wrong[place]
	if n != nil && n.n >= codeTries || n == nil && len(l.wrong) >= maxVisitors || len(l.visitors) >= maxVisitors {
		return access.ErrWait
	}
	if right {
		return nil
	}
	if n == nil {
		n = &wrongCodes{}
		l.wrong[place] = n
	}
	n.n, n.last = n.n+1, now
	l.note(fmt.Sprintf("a wrong number or code from %s, %d of %d", place, n.n, codeTries))
	return access.ErrCode
}

// admit has the browser be v's from now on.
func (l *lobby[V]) admit(w http.ResponseWriter, v V) {
	id := rand.Text()
	l.visitors[id] = v
	http.SetCookie(w, cookie(l.cookieName(), id, 0, l.door.tls != nil))
}

// answer ends a form: on to the page as it is now, or to what is wrong.
func (l *lobby[V]) answer(w http.ResponseWriter, r *http.Request, err error, show func(error)) {
	switch {
	case errors.Is(err, access.ErrWait):
		l.fail(w, r, http.StatusTooManyRequests)
	case err != nil:
		show(err)
	default:
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

// saw closes seen when all of them have seen what came of it.
func (l *lobby[V]) saw(all []bool) {
	select {
	case <-l.seen:
	default:
		if !slices.Contains(all, false) {
			close(l.seen)
		}
	}
}
