package console

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/passkey"
)

// ---- signing in

func (s *Server) seen(v *visit) *Certificate {
	if v.r.TLS == nil || len(v.r.TLS.PeerCertificates) == 0 {
		return nil
	}
	c := v.r.TLS.PeerCertificates[0]
	print := access.Fingerprint(c.Raw)
	return &Certificate{Subject: c.Subject.String(), Issuer: c.Issuer.String(), Fingerprint: strings.Join(grouping(print[:32], 4), " ") + " …", Until: c.NotAfter}
}

// getSignIn shows the door. A known client certificate is the first proof:
// then the passkey is asked for at once.
func (s *Server) getSignIn(v *visit) error {
	if v.me.ID != "" {
		return v.redirect(local(v.form("next")))
	}
	page := signInPage{First: Form{Action: "/sign-in?next=" + url.QueryEscape(local(v.form("next")))}}
	if print := certificate(v.r); print != "" {
		people, err := s.site.People().People(v.ctx())
		if err != nil {
			return err
		}
		for _, who := range people {
			if who.Certificate != print {
				continue
			}
			page.Certificate = s.seen(v)
			return s.second(v, page, access.First{Person: who.ID, Certificate: print, From: from(v.r)})
		}
	}
	s.render(v.w, v.r, 200, page)
	return nil
}

func (s *Server) postSignIn(v *visit) error {
	page := signInPage{First: Form{Action: "/sign-in?next=" + url.QueryEscape(local(v.form("next"))), Values: map[string]string{"person": v.form("person")}}}
	first := access.First{Person: v.form("person"), Password: v.r.PostFormValue("password"), Certificate: certificate(v.r), From: from(v.r)}
	return s.second(v, page, first)
}

// second gives the first proof to the gate and asks for the second.
func (s *Server) second(v *visit, page signInPage, first access.First) error {
	c, err := s.site.Gate().Begin(v.ctx(), first)
	switch {
	case errors.Is(err, access.ErrWait):
		return err
	case errors.Is(err, access.ErrSignIn):
		problem := say("signin.wrong")
		page.First.Problem, page.Certificate = &problem, nil
		s.render(v.w, v.r, 403, page)
		return nil
	case err != nil:
		return err
	}
	page.Person, page.Expires = c.PersonID, c.Ends
	page.Second = &Form{Action: "/sign-in/" + c.Attempt + "?next=" + url.QueryEscape(local(v.form("next")))}
	page.Keys = []KeyChoice{{Model: c.Passkey.Model, Sign: signingOf(c.Passkey, c.Bytes)}}
	s.render(v.w, v.r, 200, page)
	return nil
}

func (s *Server) postSecond(v *visit) error {
	assertion, err := v.assertion()
	var session access.Session
	var cookie string
	if err == nil {
		session, cookie, err = s.site.Gate().End(v.ctx(), v.r.PathValue("attempt"), assertion, certificate(v.r))
	}
	if err != nil {
		problem := say("signin.again-why", plain(refusal(err)))
		s.render(v.w, v.r, 403, signInPage{First: Form{Action: "/sign-in?next=" + url.QueryEscape(local(v.form("next"))), Problem: &problem}})
		return nil
	}
	policy, err := s.site.People().Policy(v.ctx())
	if err != nil {
		return err
	}
	s.setCookie(v.w, s.cookieName(), cookie, policy.Limits.SessionLength)
	v.session = session
	s.tell(v, "ok", say("signin.done", say("proved."+provedBy(passkey.Method(session.Proved)))))
	if session.Wrong > 0 {
		s.tell(v, "warn", say("signin.wrong-elsewhere", session.Wrong))
	}
	return v.redirect(local(v.form("next")))
}

// refusal is the first line of an error: what is joined to it is the log's.
func refusal(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func (s *Server) postSignOut(v *visit) error {
	if err := s.site.Gate().Close(v.ctx(), v.session.ID, v.me.ID, "signed out"); err != nil && !errors.Is(err, access.ErrSession) {
		return err
	}
	s.setCookie(v.w, s.cookieName(), "", -1)
	return v.redirect("/sign-in")
}

// ---- registering a passkey with a code

// A comer is somebody who is registering.
type comer struct {
	id, code, password string
	who                act.Person
	ends               time.Time
	options            string
	challenge          [32]byte
}

var errTwoPasswords = errors.New("the two passwords differ; type the same twice")

const comerCookie = "ankan-enrol"

func (s *Server) comer(v *visit) (*comer, string) {
	k, err := v.r.Cookie(comerCookie)
	if err != nil {
		return nil, ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.comers[k.Value]
	if c == nil || s.site.Store().Now().After(c.ends) {
		delete(s.comers, k.Value)
		return nil, ""
	}
	return c, k.Value
}

func (s *Server) getEnrol(v *visit) error {
	c, _ := s.comer(v)
	s.render(v.w, v.r, 200, s.enrolPage(c, nil))
	return nil
}

func (s *Server) enrolPage(c *comer, problem *Text) enrolPage {
	p := enrolPage{Step: "code", Form: Form{Action: "/enrol", Problem: problem}}
	switch {
	case c == nil:
		p.CodeEnds = s.site.Store().Now()
		return p
	case c.password == "" && c.who.Certificate == "":
		p.Step = "password"
	default:
		p.Step, p.Form.Register = "passkey", c.options
	}
	p.Who, p.CodeEnds = Who{Role: c.who.Roles[0], Number: c.id}, c.ends
	return p
}

func (s *Server) postEnrol(v *visit) error {
	again := func(c *comer, err error) error {
		t := plain(refusal(err))
		s.render(v.w, v.r, 403, s.enrolPage(c, &t))
		return nil
	}
	c, cookie := s.comer(v)
	switch {
	case c == nil:
		d, err := s.site.People().CheckCode(v.ctx(), v.form("person"), v.form("code"))
		if errors.Is(err, access.ErrCode) {
			return again(nil, access.ErrCode)
		}
		if err != nil {
			return err
		}
		c = &comer{id: d.Person.ID, code: v.form("code"), who: d.Person, ends: d.Expires}
		options, challenge, err := s.party(c.who).Begin(c.who.ID)
		if err != nil {
			return err
		}
		c.options, c.challenge = string(options), challenge
		cookie = rand.Text()
		s.mu.Lock()
		if len(s.comers) > 1000 {
			clear(s.comers)
		}
		s.comers[cookie] = c
		s.mu.Unlock()
		s.setCookie(v.w, comerCookie, cookie, 3600)
		return v.redirect("/enrol")
	case c.password == "" && c.who.Certificate == "":
		password := v.r.PostFormValue("password")
		if password != v.r.PostFormValue("again") {
			return again(c, errTwoPasswords)
		}
		policy, err := s.site.People().Policy(v.ctx())
		if err != nil {
			return err
		}
		if err := access.CheckPassword(password, policy.Limits.Password); err != nil {
			return again(c, err)
		}
		c.password = password
		return v.redirect("/enrol")
	}
	credential, _, err := s.party(c.who).Finish([]byte(v.r.PostFormValue("registration")), c.challenge)
	if err == nil {
		err = s.site.People().Register(v.ctx(), c.id, c.code, credential, c.password)
	}
	if err != nil {
		options, challenge, begin := s.party(c.who).Begin(c.who.ID)
		if begin != nil {
			return begin
		}
		c.options, c.challenge = string(options), challenge
		return again(c, err)
	}
	s.mu.Lock()
	delete(s.comers, cookie)
	s.mu.Unlock()
	s.setCookie(v.w, comerCookie, "", -1)
	s.render(v.w, v.r, 200, enrolPage{Step: "done", Who: Who{Role: c.who.Roles[0], Number: c.id},
		Passkeys: []Passkey{{ID: hex.EncodeToString(credential.ID[:min(8, len(credential.ID))]), Model: credential.Model}}})
	return nil
}

// party registers passkeys; a custodian's must open what is sealed to it.
func (s *Server) party(who act.Person) attestParty { return partyFor(s.cfg.Party, who) }

func partyFor(p attestParty, who act.Person) attestParty {
	p.Sealing = who.Has("key-custodian")
	return p
}

// ---- one's own access

func (s *Server) getSessions(v *visit) error {
	p := sessionsPage{Lock: "/lock"}
	all := s.site.Gate().Sessions(v.me.ID)
	if v.may("sessions.read") {
		all = s.site.Gate().Sessions("")
	}
	for _, one := range all {
		line := sessionLine(one)
		line.Current = one.ID == v.session.ID
		if one.Person == v.me.ID || v.may("sessions.end") {
			line.Revoke = "/sessions/" + one.ID + "/end"
		}
		if one.Person != v.me.ID {
			line.Machine = "person " + one.Person + ", " + line.Machine
		}
		p.Sessions = append(p.Sessions, line)
	}
	p.Passkeys = []Passkey{passkeyLine(v.me)}
	s.render(v.w, v.r, 200, p)
	return nil
}

func sessionLine(a access.Session) Session {
	machine := a.From
	if a.Certificate != "" {
		machine = fmt.Sprintf("%s, certificate %.16s…", a.From, a.Certificate)
	}
	return Session{Began: a.Opened, Seen: a.Seen, Ends: a.Ends, State: "active", Machine: machine, Proved: proofs(a)}
}

func passkeyLine(who act.Person) Passkey {
	c := who.Credential
	return Passkey{ID: hex.EncodeToString(c.ID[:min(8, len(c.ID))]), Model: c.Model, Proves: []string{provedBy(c.Method)}}
}

func (s *Server) postEndSession(v *visit) error {
	id := v.r.PathValue("id")
	mine := false
	for _, one := range s.site.Gate().Sessions(v.me.ID) {
		mine = mine || one.ID == id
	}
	if !mine && !v.may("sessions.end") {
		return barred("sessions.end")
	}
	if err := s.site.Gate().Close(v.ctx(), id, v.me.ID, "ended by person "+v.me.ID); err != nil && !errors.Is(err, access.ErrSession) {
		return err
	}
	return v.redirect("/sessions")
}

// postLock takes the visitor's own access away: only enrolling again gives it
// back.
func (s *Server) postLock(v *visit) error {
	if err := s.site.People().Lock(v.ctx(), v.me.ID, "by themselves"); err != nil {
		return err
	}
	if err := s.site.Gate().EndAll(v.ctx(), v.me.ID, "person/"+v.me.ID, "locked by themselves"); err != nil {
		return err
	}
	return v.redirect("/sign-in")
}
