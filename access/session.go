package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/passkey"
	"ankan/store"
)

// Errors of signing in.
var (
	ErrSignIn  = errors.New("the person number or the first proof is wrong")
	ErrWait    = errors.New("too many wrong tries from this place; wait and try again")
	ErrExpired = errors.New("the challenge is over; begin again")
	ErrSession = errors.New("no such session; sign in")
)

// A Gate lets people in, with two proofs (SOP 6.3.2.iii): the first is a client
// certificate or a password, the second a passkey whose user was verified.
// Sessions live in memory: when the site stops they are over.
type Gate struct {
	people *Directory

	mu       sync.Mutex
	attempts map[string]attempt
	sessions map[[32]byte]*Session // by the hash of the cookie
	places   map[where]*place
}

// NewGate is the gate to a directory's site.
func NewGate(d *Directory) *Gate {
	return &Gate{people: d, attempts: map[string]attempt{}, sessions: map[[32]byte]*Session{}, places: map[where]*place{}}
}

type attempt struct {
	person    act.Person
	first     First
	with      string // what the first proof was
	challenge [32]byte
	ends      time.Time
}

// Where tries come from is an address and a person together, so that a
// stranger's tries never lock the person out who sits elsewhere.
type where struct{ from, person string }

// A place is what is known of tries from somewhere.
type place struct {
	wrong int       // with those under way
	told  int       // of these the person has heard
	until time.Time // the tries count until then
}

// A First is the first proof.
type First struct {
	Person      string
	Password    string
	Certificate string // SHA-256 of the client certificate, hex; "" if none came
	From        string // address
}

// A Challenge is what the passkey must sign next.
type Challenge struct {
	Attempt   string // names it
	Bytes     [32]byte
	Passkey   passkey.Credential
	Ends      time.Time
	PersonID  string
	FirstWith string // "client certificate" or "password"
}

// A Session is somebody who is signed in.
type Session struct {
	ID          string    `json:"id"` // names it to people; opens nothing
	Person      string    `json:"person"`
	Opened      time.Time `json:"opened"`
	Seen        time.Time `json:"seen"`
	Ends        time.Time `json:"ends"` // at the latest
	Idle        time.Time `json:"idle"` // unless something is done before
	From        string    `json:"from"`
	Certificate string    `json:"certificate,omitempty"`
	First       string    `json:"first"`  // the first proof
	Proved      string    `json:"proved"` // what the second one can show, never more
	Wrong       int       `json:"wrong"`  // tries from elsewhere since the last time, that the gate remembers
}

// maxAttempts bounds what strangers can make the gate remember.
const maxAttempts = 10000

// Begin takes the first proof and gives the challenge of the second. Every
// refusal is ErrSignIn or ErrWait, and takes the same time.
func (g *Gate) Begin(ctx context.Context, f First) (Challenge, error) {
	policy, err := g.people.Policy(ctx)
	if err != nil {
		return Challenge{}, err
	}
	now := g.people.store.Now()
	f.Person, f.From = short(f.Person), short(f.From)
	if err := g.try(f, policy.Limits, now); err != nil {
		return Challenge{}, g.refuse(ctx, f, err, "")
	}
	who, with, err := g.first(ctx, f)
	if err != nil {
		return Challenge{}, g.refuse(ctx, f, ErrSignIn, err.Error())
	}
	g.untry(f)
	var a attempt
	rand.Read(a.challenge[:])
	a.person, a.first, a.with, a.ends = who, f, with, now.Add(time.Duration(policy.Limits.Challenge)*time.Second)
	a.first.Password = ""
	name := token()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.attempts) >= maxAttempts {
		for k, old := range g.attempts {
			if now.After(old.ends) {
				delete(g.attempts, k)
			}
		}
	}
	if len(g.attempts) >= maxAttempts {
		return Challenge{}, ErrWait
	}
	g.attempts[name] = a
	return Challenge{Attempt: name, Bytes: a.challenge, Passkey: who.Credential, Ends: a.ends, PersonID: who.ID, FirstWith: with}, nil
}

// first is who gives the first proof, and by what. Its error is for the log.
func (g *Gate) first(ctx context.Context, f First) (act.Person, string, error) {
	var hash string
	who, err := g.people.Person(ctx, f.Person)
	if err == nil {
		err = g.people.store.QueryRow(ctx, `SELECT password FROM person WHERE id = $1`, f.Person).Scan(&hash)
	}
	if err == nil && who.Certificate != "" && who.Certificate == f.Certificate {
		return who, "client certificate", nil
	}
	if right := g.people.hash.check(hash, f.Password); err == nil && right {
		return who, "password", nil
	}
	if err == nil {
		err = errors.New("wrong password, or another certificate")
	}
	return act.Person{}, "", err
}

func token() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func (f First) where() where { return where{f.From, f.Person} }

// try counts a try as wrong before it is looked at, so that many at once are
// not more than many in a row, and refuses a place that was wrong too often.
func (g *Gate) try(f First, l act.Limits, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.places[f.where()]
	if p == nil || now.After(p.until) {
		delete(g.places, f.where())
		g.makeRoom(now)
		p = &place{}
		g.places[f.where()] = p
	}
	if p.wrong >= l.Tries {
		return ErrWait
	}
	p.wrong++
	p.until = now.Add(time.Duration(l.TryWindow) * time.Second)
	return nil
}

// untry takes back a try that was right.
func (g *Gate) untry(f First) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.places[f.where()]; p != nil {
		p.wrong = max(p.wrong-1, 0)
	}
}

// makeRoom forgets a place if there are too many: one that is over, or else
// the one that was wrong least and longest ago. Who tries many names makes the
// gate forget these, not the tries at one.
func (g *Gate) makeRoom(now time.Time) {
	if len(g.places) < maxAttempts {
		return
	}
	var least where
	for k, p := range g.places {
		if now.After(p.until) {
			delete(g.places, k)
			continue
		}
		if l := g.places[least]; l == nil || p.wrong < l.wrong || p.wrong == l.wrong && p.until.Before(l.until) {
			least = k
		}
	}
	if len(g.places) >= maxAttempts {
		delete(g.places, least)
	}
}

// refuse logs a refusal; why is for the log alone.
func (g *Gate) refuse(ctx context.Context, f First, err error, why string) error {
	if why == "" {
		why = err.Error()
	}
	e := audit.Entry{Kind: "signin.refused", Actor: "person/" + f.Person, Subject: "gate",
		Data: map[string]any{"why": why, "from": f.From, "certificate": short(f.Certificate)}}
	return errors.Join(err, g.people.store.Enter(context.WithoutCancel(ctx), e))
}

// End takes the second proof and opens a session. The cookie opens it; the
// site keeps only its hash. A challenge is used once.
func (g *Gate) End(ctx context.Context, name string, assertion passkey.Assertion, certificate string) (Session, string, error) {
	now := g.people.store.Now()
	g.mu.Lock()
	a, ok := g.attempts[name]
	delete(g.attempts, name)
	g.mu.Unlock()
	if !ok || now.After(a.ends) {
		return Session{}, "", ErrExpired
	}
	if a.first.Certificate != certificate {
		return Session{}, "", g.refuse(ctx, a.first, ErrSession, "the certificate changed between the two proofs")
	}
	policy, err := g.people.Policy(ctx)
	if err != nil {
		return Session{}, "", err
	}
	who, err := g.people.Person(ctx, a.person.ID)
	if err != nil {
		return Session{}, "", g.refuse(ctx, a.first, ErrSignIn, err.Error())
	}
	proof, err := who.Credential.Verify(assertion, a.challenge)
	if err != nil {
		return Session{}, "", errors.Join(g.refuse(ctx, a.first, err, ""), g.try(a.first, policy.Limits, now))
	}
	s := Session{
		ID: token()[:12], Person: who.ID, Opened: now, Seen: now, From: a.first.From, Certificate: certificate, First: a.with,
		Ends: now.Add(time.Duration(policy.Limits.SessionLength) * time.Second), Idle: now.Add(time.Duration(policy.Limits.SessionIdle) * time.Second),
		Proved: string(who.Credential.Method), Wrong: g.forget(who.ID, a.first),
	}
	e := audit.Entry{Kind: "session.opened", Actor: "person/" + who.ID, Subject: "session/" + s.ID,
		Data: map[string]any{"from": s.From, "certificate": certificate, "first": a.with, "proved": s.Proved, "wrong_elsewhere": s.Wrong}}
	err = g.people.store.Change(ctx, e, func(tx *store.Tx) error { return g.people.Counted(tx, who.ID, proof.SignCount) })
	if errors.Is(err, ErrCloned) {
		return Session{}, "", errors.Join(g.refuse(ctx, a.first, err, ""), g.people.Lock(ctx, who.ID, err.Error()))
	}
	if err != nil {
		return Session{}, "", err
	}
	cookie := token()
	g.mu.Lock()
	g.sessions[sha256.Sum256([]byte(cookie))] = &s
	g.mu.Unlock()
	return s, cookie, g.Sweep(ctx)
}

// Sweep ends the sessions that are over and whose cookie nobody showed again.
func (g *Gate) Sweep(ctx context.Context) error {
	now, over := g.people.store.Now(), []Session{}
	g.mu.Lock()
	for _, s := range g.sessions {
		if s.over(now) != "" {
			over = append(over, *s)
		}
	}
	g.mu.Unlock()
	var errs []error
	for _, s := range over {
		errs = append(errs, g.end(ctx, s, "system:access", s.over(now)))
	}
	return errors.Join(errs...)
}

// over says why a session is over; "" if it is not.
func (s *Session) over(now time.Time) string {
	switch {
	case now.After(s.Ends):
		return "it was open for long enough"
	case now.After(s.Idle):
		return "nothing was done for too long"
	}
	return ""
}

// forget clears the tries at a person's own place, and counts those that were
// wrong elsewhere.
func (g *Gate) forget(person string, f First) (elsewhere int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.places, f.where())
	for k, p := range g.places {
		if k.person == person && p.wrong > p.told {
			elsewhere += p.wrong - p.told
			p.told = p.wrong
		}
	}
	return elsewhere
}

// Session is who a cookie signs in. A session that is idle or old for too
// long, whose person may not act any more, or that shows another certificate
// than it was opened with, is over.
func (g *Gate) Session(ctx context.Context, cookie, certificate string) (Session, act.Person, error) {
	key, now := sha256.Sum256([]byte(cookie)), g.people.store.Now()
	g.mu.Lock()
	s := g.sessions[key]
	if s == nil {
		g.mu.Unlock()
		return Session{}, act.Person{}, ErrSession
	}
	had := *s
	g.mu.Unlock()
	why := had.over(now)
	if had.Certificate != certificate {
		why = "another certificate than the session was opened with"
	}
	who, err := g.people.Person(ctx, had.Person)
	switch {
	case errors.Is(err, ErrNoPerson):
		why = err.Error()
	case err != nil:
		return Session{}, act.Person{}, err // nobody knows yet
	}
	if why != "" {
		return Session{}, act.Person{}, errors.Join(fmt.Errorf("%w (%s)", ErrSession, why), g.end(ctx, had, "system:access", why))
	}
	policy, err := g.people.Policy(ctx)
	if err != nil {
		return Session{}, act.Person{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sessions[key] != s {
		return Session{}, act.Person{}, ErrSession // somebody ended it meanwhile
	}
	s.Seen, s.Idle = now, now.Add(time.Duration(policy.Limits.SessionIdle)*time.Second)
	return *s, who, nil
}

// Sessions are all that are open, of one person or, for "", of everybody.
func (g *Gate) Sessions(person string) []Session {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []Session
	now := g.people.store.Now()
	for _, s := range g.sessions {
		if (person == "" || s.Person == person) && s.over(now) == "" {
			all = append(all, *s)
		}
	}
	slices.SortFunc(all, func(a, b Session) int { return a.Opened.Compare(b.Opened) })
	return all
}

// Close ends a session by its ID, for who asks; ErrSession if there is none.
func (g *Gate) Close(ctx context.Context, id, by, why string) error {
	g.mu.Lock()
	var found *Session
	for _, s := range g.sessions {
		if s.ID == id {
			c := *s
			found = &c
		}
	}
	g.mu.Unlock()
	if found == nil {
		return ErrSession
	}
	return g.end(ctx, *found, "person/"+by, why)
}

func (g *Gate) end(ctx context.Context, s Session, by, why string) error {
	g.mu.Lock()
	before := len(g.sessions)
	maps.DeleteFunc(g.sessions, func(_ [32]byte, had *Session) bool { return had.ID == s.ID })
	ended := len(g.sessions) < before
	g.mu.Unlock()
	if !ended {
		return nil // somebody else did, and said so
	}
	return g.people.store.Enter(context.WithoutCancel(ctx), audit.Entry{Kind: "session.closed", Actor: by, Subject: "session/" + s.ID,
		Data: map[string]any{"person": s.Person, "why": why}})
}

// EndAll ends the sessions of a person: who leaves is out at once.
func (g *Gate) EndAll(ctx context.Context, person, by, why string) error {
	var errs []error
	for _, s := range g.Sessions(person) {
		errs = append(errs, g.end(ctx, s, by, why))
	}
	return errors.Join(errs...)
}

// Fingerprint is a client certificate as records name it: SHA-256 of its DER,
// in hex.
func Fingerprint(der []byte) string {
	h := sha256.Sum256(der)
	return hex.EncodeToString(h[:])
}
