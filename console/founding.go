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
	"ankan/act"
	"ankan/passkey"
	"ankan/site"
)

// A FoundingConfig is who founds a site, and under which policy.
type FoundingConfig struct {
	Site    *site.Config
	Policy  act.Policy
	People  []act.Person // without passkeys
	Log     *slog.Logger
	Version string
	// Embedded says that the security module is the embedded one.
	Embedded bool
	// Make makes the site when everybody has signed.
	Make func(context.Context, access.Founding) error
	// Note is told what happens, for whoever watches.
	Note func(string)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// A Founding is the page on which the first people of a site prove themselves,
// compare, and sign, each on a device of their own (SOP 6.b). Until everybody
// has signed nothing of it is anywhere but in memory.
type Founding struct {
	*Console
	cfg  FoundingConfig
	door doorway

	mu       sync.Mutex
	founders []*founder
	visitors map[string]*founderVisit // by cookie
	wrong    map[string]*wrongCodes   // by address
	founding act.Founding             // there when everybody has registered
	act      act.Act
	making   string        // "", made or failed, once everybody has signed
	signed   chan struct{} // closed when everybody has
	seen     chan struct{} // closed when every founder saw what came of it
}

// A founder and how far they have come.
type founder struct {
	who      act.Person
	code     string // hash; "" when it is used up
	password access.Password
	counter  uint32
	seen     bool
}

func (f *founder) registered() bool { return f.code == "" }

// A founderVisit is a browser in which somebody gave a founder's code.
type founderVisit struct {
	of        *founder
	options   string
	challenge [32]byte
}

type wrongCodes struct {
	n    int
	last time.Time
}

// Bounds of guessing.
const (
	founderTries = 5
	founderWait  = time.Minute
	maxVisitors  = 1000
)

// lastLook is how long the page stays after the site was made, for those who
// wait for it to say so.
const lastLook = 10 * time.Second

const founderCookie = "ankan-founder"

// NewFounding makes the page, and each founder's code, in the order of the
// people: it is shown once, and only its hash stays.
func NewFounding(cfg FoundingConfig) (*Founding, []string, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Site.Console.Listen == "" {
		return nil, nil, errors.New("console: listen is missing; founders sign in a browser: name an address there, such as 127.0.0.1:8443")
	}
	f := &Founding{cfg: cfg, visitors: map[string]*founderVisit{}, wrong: map[string]*wrongCodes{}, signed: make(chan struct{}), seen: make(chan struct{})}
	var err error
	if f.door, err = doorOf(cfg.Site, cfg.Now()); err != nil {
		return nil, nil, err
	}
	if err := checkListen(f.door.listen, f.door.tls); err != nil {
		return nil, nil, err
	}
	frame := Frame{Site: siteOf(cfg.Site, cfg.Embedded, cfg.Version)}
	if f.Console, err = New(Config{Now: cfg.Now, Log: cfg.Log, Frame: func(*http.Request) Frame { return frame }}); err != nil {
		return nil, nil, err
	}
	var codes []string
	for _, who := range cfg.People {
		code, hash := access.NewCode()
		codes = append(codes, code)
		f.founders = append(f.founders, &founder{who: who, code: hash})
	}
	return f, codes, nil
}

// Origin is the page's address.
func (f *Founding) Origin() string { return f.door.party.Origin }

// Run serves the page until the site is made, or ctx ends.
func (f *Founding) Run(ctx context.Context) error {
	serving, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- listenAndServe(serving, f.door.listen, f.door.tls, f.Routes(), f.cfg.Log) }()
	select {
	case err := <-served:
		return errors.Join(err, ctx.Err())
	case <-f.signed:
	}
	// Everybody has signed: from here on it is carried to its end.
	f.mu.Lock()
	signed := access.Founding{Founding: f.founding, Passwords: map[string]access.Password{}}
	for _, one := range f.founders {
		signed.Passwords[one.who.ID] = one.password
	}
	f.mu.Unlock()
	made := f.cfg.Make(context.WithoutCancel(ctx), signed)
	f.mu.Lock()
	f.making = "made"
	if made != nil {
		f.making = "failed"
	}
	f.mu.Unlock()
	select {
	case <-f.seen:
	case <-ctx.Done():
	case <-time.After(lastLook):
	}
	stop()
	return errors.Join(made, <-served)
}

// Routes is the page's handler. Nothing else of a console is there yet.
func (f *Founding) Routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", f.get)
	mux.HandleFunc("POST /{$}", f.post)
	return f.Handler(mux)
}

func (f *Founding) get(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.show(w, r, http.StatusOK, nil)
}

// visit is the founder whose code was given in this browser; nil if none was.
func (f *Founding) visit(r *http.Request) *founderVisit {
	k, err := r.Cookie(f.cookieName())
	if err != nil {
		return nil
	}
	return f.visitors[k.Value]
}

func (f *Founding) cookieName() string {
	if f.door.tls != nil {
		return "__Host-" + founderCookie
	}
	return founderCookie
}

// step is where a visitor is.
func (f *Founding) step(v *founderVisit) string {
	switch {
	case v == nil:
		return "code"
	case !v.of.registered():
		return "prove"
	case f.making == "made":
		return "done"
	case f.making == "failed":
		return "failed"
	case f.founding.Act == "":
		return "gathers"
	case f.founding.Signed(v.of.who.ID):
		return "waits"
	}
	return "sign"
}

// show answers with the page as this visitor sees it. What the founders see of
// one another is seen by nobody else.
func (f *Founding) show(w http.ResponseWriter, r *http.Request, status int, problem error) {
	if err := f.renew(); err != nil {
		f.incident(w, r, err)
		return
	}
	v := f.visit(r)
	p := foundingPage{Step: f.step(v), Form: Form{Action: "/", Values: map[string]string{"person": r.PostFormValue("person")}}}
	if problem != nil {
		t := plain(refusal(problem))
		p.Form.Problem = &t
	}
	if v == nil {
		f.render(w, r, status, p)
		return
	}
	p.Policy = summaryOf(f.cfg.Policy)
	for _, one := range f.founders {
		line := Founder{Seat: Seat{Roles: one.who.Roles, By: Who{Role: one.who.Roles[0], Number: one.who.ID}, State: "open"}, You: one == v.of, Registered: one.registered()}
		if one.registered() {
			line.Seat.Proof = []string{provedBy(one.who.Credential.Method)}
		}
		for _, s := range f.founding.Signatures {
			if s.Person == one.who.ID {
				line.Seat.State, line.Seat.At = "signed", s.At
			}
		}
		p.Founders = append(p.Founders, line)
		p.People = append(p.People, PersonLine{Number: one.who.ID, Name: one.who.Name, Roles: one.who.Roles, ReportsTo: one.who.ReportsTo})
	}
	if p.Step == "prove" {
		p.Form.Register = v.options
	}
	if f.founding.Act != "" {
		digest := f.act.Digest()
		p.Words, p.Digest = act.Words(digest), fmt.Sprintf("%x", digest)
		p.Form.Sign = signingOf(v.of.who.Credential, f.act.Challenge(f.founding.Verb(v.of.who.ID)))
	}
	f.render(w, r, status, p)
	if (p.Step == "done" || p.Step == "failed") && !v.of.seen {
		v.of.seen = true
		if !slices.ContainsFunc(f.founders, func(one *founder) bool { return !one.seen }) {
			close(f.seen)
		}
	}
}

// summaryOf is a policy in figures.
func summaryOf(p act.Policy) policySummary {
	return policySummary{Version: p.Version, Roles: len(p.Roles), Conflicts: len(p.Conflicts), Acts: len(p.Acts), Digest: fmt.Sprintf("%x", p.Digest())}
}

// renew makes the act that the founders sign, when all of them have registered,
// and again when its time is over: then nobody has signed.
func (f *Founding) renew() error {
	now := f.cfg.Now()
	if f.making != "" || f.complete() || f.founding.Act != "" && act.CheckTimes(f.act, now) == nil {
		return nil
	}
	var people []act.Person
	for _, one := range f.founders {
		if !one.registered() {
			return nil
		}
		people = append(people, one.who)
	}
	var err error
	f.founding, f.act, err = act.NewFounding(f.cfg.Site.Site, f.cfg.Policy, people, now)
	return err
}

func (f *Founding) complete() bool {
	return f.founding.Act != "" && len(f.founding.Signatures) == len(f.founders)
}

func (f *Founding) post(w http.ResponseWriter, r *http.Request) {
	if !f.readForm(w, r) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.visit(r)
	if step := f.step(v); r.PostFormValue("step") != step {
		// The form is of a page that is over: the latest one says what is now.
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	var err error
	switch f.step(v) {
	case "code":
		err = f.takeCode(w, r)
	case "prove":
		err = f.register(v, r)
	case "sign":
		err = f.sign(v.of, r)
	}
	switch {
	case errors.Is(err, access.ErrWait):
		f.fail(w, r, http.StatusTooManyRequests)
	case err != nil:
		f.show(w, r, http.StatusForbidden, err)
	default:
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

// takeCode opens the page for the founder whose code was given. A code that
// registered a passkey opens it no more.
func (f *Founding) takeCode(w http.ResponseWriter, r *http.Request) error {
	now, place := f.cfg.Now(), from(r)
	for at, n := range f.wrong {
		if now.Sub(n.last) > founderWait {
			delete(f.wrong, at)
		}
	}
	n := f.wrong[place]
	if n != nil && n.n >= founderTries || n == nil && len(f.wrong) >= maxVisitors {
		return access.ErrWait
	}
	i := slices.IndexFunc(f.founders, func(one *founder) bool { return one.who.ID == r.PostFormValue("person") })
	if i < 0 || !access.IsCode(f.founders[i].code, r.PostFormValue("code")) {
		if n == nil {
			n = &wrongCodes{}
			f.wrong[place] = n
		}
		n.n, n.last = n.n+1, now
		f.cfg.Note(fmt.Sprintf("a wrong number or code from %s, %d of %d", place, n.n, founderTries))
		return access.ErrCode
	}
	if len(f.visitors) >= maxVisitors {
		return access.ErrWait
	}
	v := &founderVisit{of: f.founders[i]}
	if err := f.begin(v); err != nil {
		return err
	}
	id := rand.Text()
	f.visitors[id] = v
	http.SetCookie(w, cookie(f.cookieName(), id, 0, f.door.tls != nil))
	return nil
}

// begin makes the options of a registration. An authenticator that holds
// another founder's passkey makes no second one.
func (f *Founding) begin(v *founderVisit) error {
	options, challenge, err := partyFor(f.door.party, v.of.who).Begin(v.of.who.ID, f.credentials()...)
	v.options, v.challenge = string(options), challenge
	return err
}

func (f *Founding) credentials() []passkey.Credential {
	var all []passkey.Credential
	for _, one := range f.founders {
		if one.registered() {
			all = append(all, one.who.Credential)
		}
	}
	return all
}

// register takes a founder's password and passkey, and uses the code up: a
// second device comes too late.
func (f *Founding) register(v *founderVisit, r *http.Request) error {
	one := v.of
	err := f.take(v, r)
	if err != nil {
		return errors.Join(err, f.begin(v))
	}
	for id, other := range f.visitors {
		if other.of == one && other != v {
			delete(f.visitors, id)
		}
	}
	f.cfg.Note(fmt.Sprintf("person %s registered a passkey: %s", one.who.ID, one.who.Credential.Model))
	return nil
}

func (f *Founding) take(v *founderVisit, r *http.Request) error {
	one := v.of
	if r.PostFormValue("password") != r.PostFormValue("again") {
		return errTwoPasswords
	}
	if err := access.CheckPassword(r.PostFormValue("password"), f.cfg.Policy.Limits.Password); err != nil {
		return err
	}
	c, proof, err := partyFor(f.door.party, one.who).Finish([]byte(r.PostFormValue("registration")), v.challenge)
	if err != nil {
		return err
	}
	who := one.who
	who.Credential = c
	var people []act.Person
	for _, other := range f.founders {
		if other.registered() {
			people = append(people, other.who)
		}
	}
	if err := f.cfg.Policy.CheckPeople(append(people, who)); err != nil {
		return err
	}
	password, err := access.NewPassword(r.PostFormValue("password"), f.cfg.Policy.Limits.Password)
	if err != nil {
		return err
	}
	one.who, one.password, one.counter, one.code = who, password, proof.SignCount, ""
	return nil
}

// sign takes a founder's signature. With the last one the site is made.
func (f *Founding) sign(one *founder, r *http.Request) error {
	if r.PostFormValue("compared") != "yes" {
		return errors.New("compare the six words with every other founder first")
	}
	if err := act.CheckTimes(f.act, f.cfg.Now()); err != nil {
		return errors.New("this founding waited too long, and is made anew; compare its words and sign again")
	}
	a, err := assertionOf(r)
	if err != nil {
		return err
	}
	next := f.founding
	next.Signatures = slices.Clone(next.Signatures)
	proof, err := next.Add(one.who.ID, a, f.cfg.Now())
	if err == nil {
		err = passkey.CheckCounter(one.counter, proof.SignCount)
	}
	if err != nil {
		return err
	}
	f.founding, one.counter = next, proof.SignCount
	f.cfg.Note(fmt.Sprintf("person %s signed, %d of %d", one.who.ID, len(f.founding.Signatures), len(f.founders)))
	if f.complete() {
		close(f.signed)
	}
	return nil
}
