package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
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
	*lobby[*founderVisit]
	cfg FoundingConfig

	founders []*founder
	founding act.Founding // there when everybody has registered
	act      act.Act
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

// NewFounding makes the page, and each founder's code, in the order of the
// people: it is shown once, and only its hash stays.
func NewFounding(cfg FoundingConfig) (*Founding, []string, error) {
	f := &Founding{cfg: cfg}
	var err error
	f.lobby, err = newLobby[*founderVisit](lobbyConfig{site: cfg.Site, log: cfg.Log, version: cfg.Version, embedded: cfg.Embedded,
		note: cfg.Note, now: cfg.Now, cookie: "ankan-founder", why: "founders sign"})
	if err != nil {
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

// Run serves the page until the site is made, or ctx ends.
func (f *Founding) Run(ctx context.Context) error {
	return f.run(ctx, f.Routes(), func(ctx context.Context) error {
		f.mu.Lock()
		signed := access.Founding{Founding: f.founding, Passwords: map[string]access.Password{}}
		for _, one := range f.founders {
			signed.Passwords[one.who.ID] = one.password
		}
		f.mu.Unlock()
		return f.cfg.Make(ctx, signed)
	})
}

// Routes is the page's handler.
func (f *Founding) Routes() http.Handler { return f.routes(f.get, f.post) }

func (f *Founding) get(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.show(w, r, http.StatusOK, nil)
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
	if p.Step == "done" || p.Step == "failed" {
		v.of.seen = true
		var all []bool
		for _, one := range f.founders {
			all = append(all, one.seen)
		}
		f.saw(all)
	}
}

// summaryOf is a policy in figures.
func summaryOf(p act.Policy) policySummary {
	return policySummary{Version: p.Version, Roles: len(p.Roles), Conflicts: len(p.Conflicts), Acts: len(p.Acts), Digest: fmt.Sprintf("%x", p.Digest())}
}

// renew makes the act that the founders sign, when all of them have registered,
// and again when its time is over: then nobody has signed.
func (f *Founding) renew() error {
	now := f.now()
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
	f.answer(w, r, err, func(err error) { f.show(w, r, http.StatusForbidden, err) })
}

// takeCode opens the page for the founder whose code was given. A code that
// registered a passkey opens it no more.
func (f *Founding) takeCode(w http.ResponseWriter, r *http.Request) error {
	i := slices.IndexFunc(f.founders, func(one *founder) bool { return one.who.ID == r.PostFormValue("person") })
	if err := f.guess(r, i >= 0 && access.IsCode(f.founders[i].code, r.PostFormValue("code"))); err != nil {
		return err
	}
	v := &founderVisit{of: f.founders[i]}
	if err := f.begin(v); err != nil {
		return err
	}
	f.admit(w, v)
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
	if err := act.CheckTimes(f.act, f.now()); err != nil {
		return errors.New("this founding waited too long, and is made anew; compare its words and sign again")
	}
	a, err := assertionOf(r)
	if err != nil {
		return err
	}
	next := f.founding
	next.Signatures = slices.Clone(next.Signatures)
	proof, err := next.Add(one.who.ID, a, f.now())
	if err == nil {
		err = passkey.CheckCounter(one.counter, proof.SignCount)
	}
	if err != nil {
		return err
	}
	f.founding, one.counter = next, proof.SignCount
	f.cfg.Note(fmt.Sprintf("person %s signed, %d of %d", one.who.ID, len(f.founding.Signatures), len(f.founders)))
	if f.complete() {
		close(f.full)
	}
	return nil
}
