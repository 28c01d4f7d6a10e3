package console

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/ceremony"
	"ankan/custody"
	"ankan/keys"
	"ankan/passkey"
	"ankan/passkey/attest"
	"ankan/site"
)

// A ServerConfig is where a site's console is, and whom it lets register.
type ServerConfig struct {
	Site     *site.Site
	Listen   string // host:port; without TLS only on loopback
	TLS      *tls.Config
	Party    attest.Party // who registers passkeys; its origin is the console's address
	Log      *slog.Logger
	Version  string
	Embedded bool // the security module is the embedded one: the pages say so
}

// A Server is the console of one running site.
type Server struct {
	*Console
	cfg  ServerConfig
	site *site.Site

	mu      sync.Mutex
	asked   map[string]asked                // acts that were proposed to somebody and not signed yet
	said    map[string][]Said               // by session: what to say on the next page
	handing map[string]*handover            // by session: what is being handed over
	comers  map[string]*comer               // people who are registering, by their cookie
	present map[string]map[string]time.Time // by ceremony and person: when last seen
}

type asked struct {
	act    act.Act
	person string
	back   string // where to go when it is signed
}

// asking is how long a proposed act waits to be signed.
const asking = 15 * time.Minute

// NewServer is the console of a site that was opened.
func NewServer(cfg ServerConfig) (*Server, error) {
	s := &Server{cfg: cfg, site: cfg.Site, asked: map[string]asked{}, said: map[string][]Said{}, comers: map[string]*comer{}, handing: map[string]*handover{}, present: map[string]map[string]time.Time{}}
	if err := checkListen(cfg.Listen, cfg.TLS); err != nil {
		return nil, err
	}
	var err error
	s.Console, err = New(Config{Now: cfg.Site.Store().Now, Log: cfg.Log, Frame: s.frame})
	return s, err
}

// checkListen refuses to serve others than this machine without TLS.
func checkListen(listen string, with *tls.Config) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("console: listen is %q: %w", listen, err)
	}
	if ip := net.ParseIP(host); with == nil && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("console: %s is no loopback address: give it a certificate and key", listen)
	}
	return nil
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	return listenAndServe(ctx, s.cfg.Listen, s.cfg.TLS, s.Routes(), s.cfg.Log)
}

// listenAndServe serves h at an address until ctx ends.
func listenAndServe(ctx context.Context, listen string, with *tls.Config, h http.Handler, log *slog.Logger) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	if with != nil {
		l = tls.NewListener(l, with)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 1 << 16,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	return site.Serve(ctx, srv, l)
}

// A route is one page or form. Permission names what of the policy opens it:
// door is for whoever has not signed in, own for everybody who has, and toAsk
// with a kind of act for whoever may ask for such acts.
type route struct {
	pattern    string
	permission string
	serve      func(*Server, *visit) error
}

const (
	door  = "door"
	own   = "own"
	toAsk = "ask:"
)

// Routes is the console's handler. What has no route here has none.
func (s *Server) Routes() http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes() {
		mux.HandleFunc(r.pattern, func(w http.ResponseWriter, req *http.Request) { s.answer(w, req, r) })
	}
	return s.Handler(mux)
}

// A visit is one request by somebody who may make it.
type visit struct {
	w       http.ResponseWriter
	r       *http.Request
	session access.Session // zero at the door
	me      act.Person
	policy  act.Policy
	glass   *access.Glass // broken now
}

type visitKey struct{}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, to route) {
	v := &visit{w: w, r: r}
	ctx := r.Context()
	var err error
	if v.policy, err = s.site.People().Policy(ctx); err != nil {
		s.incident(w, r, err)
		return
	}
	signedIn := false
	if cookie, err := r.Cookie(s.cookieName()); err == nil {
		switch v.session, v.me, err = s.site.Gate().Session(ctx, cookie.Value, certificate(r)); {
		case err == nil:
			signedIn = true
		case !errors.Is(err, access.ErrSession):
			s.incident(w, r, err)
			return
		default:
			s.setCookie(w, s.cookieName(), "", -1)
		}
	}
	if to.permission != door && !signedIn {
		if r.Method != http.MethodGet || r.Header.Get("Ankan-Live") != "" {
			s.fail(w, r, http.StatusForbidden)
			return
		}
		http.Redirect(w, r, "/sign-in?next="+url.QueryEscape(localURL(r.URL)), http.StatusSeeOther)
		return
	}
	if v.glass, err = s.site.People().OpenGlass(ctx); err != nil {
		s.incident(w, r, err)
		return
	}
	v.r = r.WithContext(context.WithValue(ctx, visitKey{}, v))
	if to.permission != door && to.permission != own && !v.may(to.permission) {
		s.outcome(v, barred(to.permission))
		return
	}
	if v.byGlass(to.permission) {
		e := audit.Entry{Kind: "glass.looked", Actor: "person/" + v.me.ID, Subject: "page", Data: map[string]any{"path": firstBytes(r.URL.Path, 200)}}
		if err := s.site.Store().Enter(ctx, e); err != nil {
			s.incident(w, v.r, err)
			return
		}
	}
	if !s.readForm(w, v.r) {
		return
	}
	s.outcome(v, to.serve(s, v))
}

func firstBytes(s string, n int) string { return strings.ToValidUTF8(s[:min(len(s), n)], "") }

// outcome answers for what a handler returned.
func (s *Server) outcome(v *visit, err error) {
	if err != nil {
		v.w.Header().Del("Content-Disposition") // of a file that did not come
	}
	var lacks barred
	switch {
	case err == nil:
	case errors.As(err, &lacks):
		e := audit.Entry{Kind: "page.refused", Actor: "person/" + v.me.ID, Subject: "page", Data: map[string]any{"path": firstBytes(v.r.URL.Path, 200), "permission": string(lacks)}}
		if err := s.site.Store().Enter(v.ctx(), e); err != nil {
			s.incident(v.w, v.r, err)
			return
		}
		s.fail(v.w, v.r, http.StatusForbidden)
	case errors.Is(err, errGone), errors.Is(err, custody.ErrNoAct), errors.Is(err, keys.ErrNoKey), errors.Is(err, ceremony.ErrNone), errors.Is(err, access.ErrNoPerson):
		s.fail(v.w, v.r, http.StatusNotFound)
	case errors.Is(err, access.ErrWait):
		s.fail(v.w, v.r, http.StatusTooManyRequests)
	default:
		s.incident(v.w, v.r, err)
	}
}

var errGone = errors.New("nothing is here")

// barred is the permission that a visitor lacks.
type barred string

func (b barred) Error() string { return "not permitted: " + string(b) }

// may says whether the person has a permission, by role or because the glass
// is broken for them: then they see all that can be read.
func (v *visit) may(permission string) bool {
	if kind, ok := strings.CutPrefix(permission, toAsk); ok {
		return v.asks(kind)
	}
	return v.policy.May(v.me, permission) || v.byGlass(permission)
}

func (v *visit) byGlass(permission string) bool {
	return v.glass != nil && v.glass.Person == v.me.ID && strings.HasSuffix(permission, ".read") && !v.policy.May(v.me, permission)
}

// asks says whether the person may ask for a kind of act.
func (v *visit) asks(kind string) bool {
	rule, err := v.policy.Rule(kind)
	return err == nil && v.me.Has(rule.Request...)
}

func (v *visit) ctx() context.Context { return v.r.Context() }

func (v *visit) form(name string) string { return strings.TrimSpace(v.r.FormValue(name)) }

// certificate is the client certificate of a connection as records name it.
func certificate(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	return access.Fingerprint(r.TLS.PeerCertificates[0].Raw)
}

// from is the address that a request comes from.
func from(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (s *Server) cookieName() string {
	if s.cfg.TLS != nil {
		return "__Host-ankan"
	}
	return "ankan"
}

func (s *Server) setCookie(w http.ResponseWriter, name, value string, maxAge int) {
	http.SetCookie(w, cookie(name, value, maxAge, s.cfg.TLS != nil))
}

// cookie is one that only this origin's own pages send, and no script reads.
func cookie(name, value string, maxAge int, secure bool) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode}
}

// localURL is a path and query of ours.
func localURL(u *url.URL) string {
	local := url.URL{Path: "/" + strings.TrimLeft(u.Path, `/\`), RawQuery: u.RawQuery}
	return local.String()
}

// local is an address of ours that somebody wrote into a form, or /inbox.
func local(to string) string {
	u, err := url.Parse(to)
	if err != nil || to == "" || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(u.Path, "/") {
		return "/inbox"
	}
	return localURL(u)
}

func (v *visit) redirect(to string) error {
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
	return nil
}

// tell has the next page of this person say something.
func (s *Server) tell(v *visit, tone string, t Text) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said[v.session.ID] = append(s.said[v.session.ID], Said{tone, t})
}

// refused tells why something was not done, and goes back.
func (s *Server) refused(v *visit, err error, back string) error {
	s.tell(v, "bad", plain(err.Error()))
	return v.redirect(back)
}

// frame is what stands around a page.
func (s *Server) frame(r *http.Request) Frame {
	c := s.site.Config()
	f := Frame{Site: siteOf(c, s.cfg.Embedded, s.cfg.Version), Log: s.site.Store().Size()}
	v, _ := r.Context().Value(visitKey{}).(*visit)
	if v == nil || v.me.ID == "" {
		return f
	}
	f.Me = &Me{Person: v.me.ID, Roles: v.me.Roles, Proved: proofs(v.session)}
	if g := v.glass; g != nil {
		f.Glass = &OpenGlass{By: s.who(v.ctx(), g.Person), Why: g.Reason, Until: g.Until, Href: "/glass"}
	}
	for _, c := range s.site.Conditions() {
		f.Conditions = append(f.Conditions, Condition{Kind: c.Kind, Stops: c.Stops, Text: c.Text + " " + c.Next})
	}
	if l := s.site.Locked(); l != nil {
		f.Lock = &Locked{Why: l.Sentence(), LogSize: l.LogSize}
		if v.asks("site.unlock") {
			f.Lock.Href = askFor("site.unlock", "site")
		}
	}
	s.mu.Lock()
	f.Said = s.said[v.session.ID]
	delete(s.said, v.session.ID)
	s.mu.Unlock()
	waits := 0
	if in, err := s.site.Desk().Inbox(v.ctx(), v.me.ID); err == nil {
		waits = len(in.Waits)
	}
	unread, _ := s.site.Board().Unread(v.ctx(), v.me.ID)
	for _, n := range []struct {
		key, permission string
		count           int
	}{
		{"inbox", own, waits}, {"acts", "acts.read", 0}, {"notices", own, unread}, {"line", "line.read", 0}, {"profiles", "profiles.read", 0}, {"ledger", "ledger.ask", 0}, {"releases", "releases.read", 0}, {"keys", "keys.read", 0}, {"ceremonies", "ceremonies.read", 0},
		{"transfers", "custody.read", 0}, {"register", "custody.read", 0}, {"hsm", "hsm.read", 0}, {"log", "log.read", 0}, {"policy", "policy.read", 0},
		{"people", "people.read", 0}, {"sessions", own, 0}, {"glass", own, 0},
		{"stock", "stock.read", 0}, {"lots", "lots.read", 0}, {"boxes", "lots.read", 0}, {"shipments", "lots.read", 0}, {"deliveries", "deliveries.read", 0}, {"discrepancies", "discrepancies.read", 0},
	} {
		if slices.Contains([]string{"line.read", "releases.read", "stock.read", "lots.read"}, n.permission) && !c.Is(site.Plant) ||
			n.permission == "ledger.ask" && !c.Is(site.Bureau) || n.permission == "deliveries.read" && !c.Is(site.Operator) || n.permission == "discrepancies.read" && !c.Is(site.Operator) && !c.Is(site.Plant) {
			continue
		}
		if n.permission == own || v.may(n.permission) {
			f.Nav = append(f.Nav, NavItem{Key: n.key, Href: "/" + n.key, Count: n.count, Current: strings.HasPrefix(r.URL.Path, "/"+n.key)})
		}
	}
	return f
}

func siteOf(c *site.Config, embedded bool, version string) Site {
	mode := say("mode.production")
	if embedded {
		mode = say("mode.embedded")
	}
	return Site{Name: c.Display, Roles: c.Roles, Country: c.Country, Mode: mode, Version: version}
}

// proofs are what a session rests on, as keys of proved.*.
func proofs(s access.Session) []string {
	p := []string{"password"}
	if s.First == "client certificate" {
		p = []string{"certificate"}
	}
	return append(p, provedBy(passkey.Method(s.Proved)))
}

// who is a person as others see one.
func (s *Server) who(ctx context.Context, id string) Who {
	m, err := s.site.People().Member(ctx, id)
	if err != nil || len(m.Roles) == 0 {
		return Who{Number: id}
	}
	return Who{Role: m.Roles[0], Number: id}
}

// signing is what a passkey of the visitor is asked to sign.
func (v *visit) signing(challenge [32]byte) Signing {
	return signingOf(v.me.Credential, challenge)
}

func signingOf(c passkey.Credential, challenge [32]byte) Signing {
	return Signing{Challenge: base64.RawURLEncoding.EncodeToString(challenge[:]), Credential: base64.RawURLEncoding.EncodeToString(c.ID), RP: c.RPID}
}

// assertion reads what a passkey signed.
func (v *visit) assertion() (passkey.Assertion, error) { return assertionOf(v.r) }

func assertionOf(r *http.Request) (passkey.Assertion, error) {
	var a passkey.Assertion
	text := r.PostFormValue("assertion")
	if text == "" {
		return a, errors.New("no passkey signed it; use the button, with script on")
	}
	if err := audit.Strict([]byte(text), &a); err != nil {
		return a, errors.New("the passkey's answer cannot be read; try again")
	}
	return a, nil
}

// propose makes an act in the visitor's name, which waits here until it is
// signed. back is where to go then.
func (s *Server) propose(v *visit, kind, subject, back string) (act.Act, act.Rule, error) {
	p, err := s.site.Proposal(v.ctx(), kind, subject)
	if err != nil {
		return act.Act{}, act.Rule{}, err
	}
	a := act.New(p.Site, kind, subject, v.me.ID, p.Params, p.Rule, s.cfg.Site.Store().Now())
	if err := p.Rule.CheckRequest(a, v.me); err != nil {
		return a, p.Rule, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, old := range s.asked {
		age := s.site.Store().Now().Sub(old.act.At)
		if age > asking {
			delete(s.asked, id)
		}
		// A page that is shown again proposes the same act: what is being signed
		// does not change under the person's hand.
		if o := old.act; old.person == v.me.ID && old.back == back && o.Kind == kind && o.Subject == subject && age < asking/3 && o.Policy == a.Policy && maps.Equal(o.Params, a.Params) {
			return o, p.Rule, nil
		}
	}
	s.asked[a.ID] = asked{act: a, person: v.me.ID, back: back}
	return a, p.Rule, nil
}

// take records a proposed act that its requester has signed, and does it at
// once if nobody else has to sign. It returns where to go.
func (s *Server) take(v *visit, id string) (string, error) {
	s.mu.Lock()
	w, ok := s.asked[id]
	if ok && w.person == v.me.ID {
		delete(s.asked, id)
	}
	s.mu.Unlock()
	if !ok || w.person != v.me.ID {
		return "/acts/new", errors.New("this request waited too long, or was signed already; ask again")
	}
	back := w.back
	if back == "" {
		back = "/acts/" + id
	}
	assertion, err := v.assertion()
	if err != nil {
		return "/acts/new?" + url.Values{"kind": {w.act.Kind}, "subject": {w.act.Subject}}.Encode(), err
	}
	sig := act.Signature{Person: v.me.ID, Verb: act.Request, At: s.site.Store().Now().UTC().Truncate(time.Second), Reason: firstBytes(v.form("reason"), 2000), Assertion: assertion}
	if err := s.site.Desk().Request(v.ctx(), w.act.Canonical(), sig); err != nil {
		return back, err
	}
	rule, err := v.policy.Rule(w.act.Kind)
	if err != nil {
		return back, err
	}
	if len(rule.Seats) > 0 {
		s.tell(v, "ok", say("said.asked"))
		return "/acts/" + id, nil
	}
	if err := s.site.Do(v.ctx(), id); err != nil {
		return back, err
	}
	s.tell(v, "ok", say("said.done"))
	return back, nil
}

// jsonOf is v as JSON for an attribute.
func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // plain values
		panic("console: " + err.Error())
	}
	return string(b)
}
