package site_test

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ankan/access"
	"ankan/act"
	"ankan/ceremony"
	"ankan/hsm"
	"ankan/keys"
	"ankan/message"
	"ankan/parts"
	"ankan/passkey"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/store"
)

// A keyRoom is a site whose people's passkeys the test has: custodians 1 and 2,
// the officer 3, the key manager 4, the HSM administrator 5, warehouse 6, shift
// lead 7, nodal officer 8.
type keyRoom struct {
	testing.TB
	*site.Site
	soft map[string]*passkey.Soft
}

func newKeyRoom(t testing.TB, s *site.Site) *keyRoom {
	t.Helper()
	r := &keyRoom{t, s, map[string]*passkey.Soft{}}
	sitetest.Change(t, s, func(tx *store.Tx) error {
		for id, role := range map[string]string{"1": "key-custodian", "2": "key-custodian", "3": "security-officer", "4": "key-manager", "5": "hsm-administrator", "6": "warehouse", "7": "shift-lead", "8": "nodal-officer"} {
			k := sitetest.Must[*passkey.Soft](t)(passkey.NewSoft("site.example", "https://site.example"))
			r.soft[id] = k
			who := act.Person{ID: id, Name: "Person " + id, Roles: []string{role}, Employment: act.Permanent, Credential: k.Credential}
			doc := sitetest.Must[[]byte](t)(json.Marshal(who))
			if _, err := tx.Exec(`INSERT INTO person (id, document) VALUES ($1, $2)`, id, doc); err != nil {
				return err
			}
			for kind, what := range map[string]string{access.Training: "key-custodian", access.Statement: "custodian"} {
				if err := s.People().PutRecord(tx, kind, act.Record{Person: id, What: what, At: tx.Time(), Until: tx.Time().AddDate(1, 0, 0)}, ""); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return r
}

func (r *keyRoom) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// do asks for an act at the site's desk, has it signed, and has the site do it.
func (r *keyRoom) do(kind, subject, requester string, approvers ...string) error {
	r.Helper()
	p, err := r.Proposal(r.Context(), kind, subject)
	if err != nil {
		return err
	}
	a := act.New(p.Site, kind, subject, requester, p.Params, p.Rule, r.Store().Now())
	sign := func(who string, v act.Verb) act.Signature {
		return act.Signature{Person: who, Verb: v, At: r.Store().Now(), Assertion: sitetest.Must[passkey.Assertion](r)(r.soft[who].Sign(a.Challenge(v)))}
	}
	r.must(r.Desk().Request(r.Context(), a.Canonical(), sign(requester, act.Request)))
	for _, who := range approvers {
		r.must(r.Desk().Sign(r.Context(), a.ID, sign(who, act.Approve)))
	}
	return r.Do(r.Context(), a.ID)
}

func (r *keyRoom) form(state string) keys.Form {
	r.Helper()
	f, err := r.Register().Form(r.Context(), "maker/KTF-000001")
	r.must(err)
	if f.State != state {
		r.Errorf("the form at %s is %s, want %s", r.Config().Site, f.State, state)
	}
	return f
}

// send has a site send what waits, twice: what left does not leave again.
func (r *keyRoom) send() {
	r.Helper()
	for range 2 {
		if err := r.SendForms(r.Context()); !errors.Is(err, site.ErrIdle) {
			r.Fatal(err)
		}
	}
}

const (
	formFile   = "maker-KTF-000001.form.pgp"
	answerFile = "maker-KTF-000001.form-answer.pgp"
)

// issued is two sites, and at "maker" a form that was issued for "op", whose
// file has arrived there.
func issued(t *testing.T) (maker, op *keyRoom) {
	t.Helper()
	a, b := sitetest.Pair(t, parts.All()...)
	maker, op = newKeyRoom(t, b), newKeyRoom(t, a)
	const id = "transport/op/1"
	_, err := maker.Guard().Generate(t.Context(), id, hsm.Transport, hsm.AES256)
	maker.must(err)
	var holders []hsm.Holder
	for _, who := range []string{"1", "2"} {
		key, err := maker.soft[who].Credential.Seal.Key()
		maker.must(err)
		holders = append(holders, hsm.Holder{Name: who, Key: key})
	}
	parts, err := maker.Guard().Split(t.Context(), id, "C-1", hsm.CMAC, holders)
	maker.must(err)
	sitetest.Change(t, maker.Site, func(tx *store.Tx) error {
		if err := keys.PutLink(tx, id, "partner/op", 0); err != nil {
			return err
		}
		for _, p := range parts {
			doc := sitetest.Must[[]byte](t)(json.Marshal(p))
			if err := keys.PutCopy(tx, keys.Copy{Key: id, Kind: keys.CopyComponent, Number: p.Index, Of: p.Of, Holder: p.Holder, Place: "C-1", KCV: p.KCV.String(), Sealed: doc}); err != nil {
				return err
			}
		}
		return nil
	})
	_, err = maker.Register().PutForm(t.Context(), "4", keys.Sheet{Key: id, Component: 1, Ceremony: "C-1", Bag: "B1", Seal: "S1", ToSite: "op", ToPerson: "2", Carrier: "courier"})
	maker.must(err)
	maker.must(maker.do("form.issue", "form/maker/KTF-000001", "1", "3"))
	maker.send()
	op.must(sitetest.Hand(t, maker.Site, op.Site, formFile))
	op.must(sitetest.Hand(t, maker.Site, op.Site, formFile)) // the site stopped before it cleared the file away
	op.form(keys.FormAnnounced)
	return maker, op
}

func (r *keyRoom) receive(i keys.Inspection) error {
	r.Helper()
	r.must(r.Register().PutInspection(r.Context(), "2", "form/maker/KTF-000001", i))
	return r.do("form.receive", "form/maker/KTF-000001", "2")
}

// The first part goes to the receiver, the second comes back signed, and the
// issuer's ledger closes on it.
func TestForms(t *testing.T) {
	maker, op := issued(t)
	op.must(op.receive(keys.Inspection{Bag: "B1", Seal: "S1", Sound: true}))
	op.form(keys.FormReceived)
	op.send()
	maker.must(sitetest.Hand(t, op.Site, maker.Site, answerFile))
	f := maker.form(keys.FormReceived)
	if f.Answer == nil || f.Answer.Person.Credential.Seal != nil || len(f.Answer.Person.Roles) != 0 {
		t.Errorf("the answer tells more than it has to: %+v", f.Answer)
	}
	maker.must(maker.do("form.close", "form/maker/KTF-000001", "1"))
	maker.form(keys.FormClosed)
	var no *site.Refusal
	if err := sitetest.Message(t, op.Site, maker.Site, "again.form-answer.pgp", message.FormAnswer{Site: "maker", Number: "KTF-000001", Answer: *f.Answer}); !errors.As(err, &no) || !strings.Contains(err.Error(), "is closed") {
		t.Error(err)
	}
	if err := sitetest.Message(t, maker.Site, op.Site, "again.form.pgp", message.Form{Form: f.Sheet}); !errors.As(err, &no) || !strings.Contains(err.Error(), "came before") {
		t.Error(err)
	}
	for _, name := range []string{"x.form.pgp", "x.form-answer.pgp"} {
		if err := sitetest.Message(t, op.Site, maker.Site, name, map[string]string{"surprise": "x"}); !errors.As(err, &no) || !strings.Contains(err.Error(), "surprise") {
			t.Error(name, err)
		}
	}
	// Who gets another passkey is seen to lose what is sealed to the one before.
	m, err := maker.People().Member(t.Context(), "2")
	maker.must(err)
	code, err := maker.People().PutDraft(t.Context(), "3", act.Person{ID: "2", Name: m.Name, Roles: m.Roles, Employment: m.Employment}, true)
	maker.must(err)
	maker.must(maker.People().Register(t.Context(), "2", code, sitetest.Must[*passkey.Soft](t)(passkey.NewSoft("site.example", "https://site.example")).Credential, ""))
	p, err := maker.Propose(t.Context(), "person.enrol", "person/2")
	maker.must(err)
	if !strings.Contains(p["loses"], "1 sealed parts of keys") || !strings.Contains(p["loses"], "transport/op/1") {
		t.Errorf("%v", p)
	}
	// Who leaves is seen to hold something; what they hold is said.
	p, err = op.Propose(t.Context(), "person.leave", "person/2")
	op.must(err)
	if !strings.Contains(p["holds"], "bag B1") {
		t.Errorf("%v", p)
	}
	op.must(op.do("person.leave", "person/2", "3", "4"))
	told, err := op.Board().For(t.Context(), "4", true, 1)
	op.must(err)
	if len(told) != 1 || !strings.Contains(told[0].Text, "rotate these keys") {
		t.Errorf("%+v", told)
	}
}

// A tampered bag ends the key at the issuer, and keeps it out at the receiver.
func TestFormsTampered(t *testing.T) {
	maker, op := issued(t)
	op.must(op.receive(keys.Inspection{Bag: "B1", Seal: "S2", Sound: true}))
	op.form(keys.FormTampered)
	op.send()
	maker.must(sitetest.Hand(t, op.Site, maker.Site, answerFile))
	maker.form(keys.FormTampered)
	if err := maker.Guard().SealColumn(t.Context(), "transport/op/1", make([]byte, 16), make([]byte, 16)); !errors.Is(err, keys.ErrState) {
		t.Errorf("the key is used: %v", err)
	}
	if err := maker.TellParties(t.Context()); !errors.Is(err, site.ErrIdle) {
		t.Error(err)
	}
	if all, err := maker.Register().ToTell(t.Context()); err != nil || len(all) != 0 {
		t.Error("who told it is told", all, err)
	}
}

// A key that is compromised while its bags are under way stays out.
func TestFormsAlarm(t *testing.T) {
	maker, op := issued(t)
	var no *site.Refusal
	if err := sitetest.Message(t, maker.Site, op.Site, "x.alarm.pgp", message.Alarm{Key: "transport/op/9", Why: "stolen"}); !errors.As(err, &no) || !strings.Contains(err.Error(), "is not known here") {
		t.Error(err)
	}
	if err := sitetest.Message(t, maker.Site, op.Site, "y.alarm.pgp", message.Alarm{Key: "transport/op/1", Why: "stolen"}); err != nil {
		t.Error(err)
	}
	op.form(keys.FormTampered)
	op.must(op.do("compromise.acknowledge", "key/transport/op/1", "3"))
	if err := op.TellParties(t.Context()); !errors.Is(err, site.ErrIdle) {
		t.Error(err)
	}
	if all, err := op.Register().ToAcknowledge(t.Context()); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
}

// A partner without a card has the form on paper.
func TestFormsOnPaper(t *testing.T) {
	lone := sitetest.New(t, "maker", site.Bureau, parts.All()...)
	r := newKeyRoom(t, lone)
	_, err := r.Guard().Generate(t.Context(), "k", hsm.Transport, hsm.AES256)
	r.must(err)
	sitetest.Change(t, lone, func(tx *store.Tx) error {
		return errors.Join(keys.PutLink(tx, "k", "partner/op", 0),
			keys.PutCopy(tx, keys.Copy{Key: "k", Kind: keys.CopyComponent, Number: 1, Of: 2, Holder: "1", Place: "C-1", KCV: "000000 CMAC"}))
	})
	_, err = r.Register().PutForm(t.Context(), "4", keys.Sheet{Key: "k", Component: 1, Ceremony: "C-1", Bag: "B1", Seal: "S1", ToSite: "op", ToPerson: "2", Carrier: "courier"})
	r.must(err)
	r.must(r.do("form.issue", "form/maker/KTF-000001", "1", "3"))
	r.send()
	if f := r.form(keys.FormIssued); f.ByFile || f.Sent.IsZero() {
		t.Errorf("%+v", f)
	}
	r.must(r.do("form.close", "form/maker/KTF-000001", "4"))
}

// opened is a component as its custodian's browser opens it.
func (r *keyRoom) opened(c keys.Copy) []byte {
	r.Helper()
	var part hsm.Component
	r.must(json.Unmarshal(c.Sealed, &part))
	k, err := r.soft[c.Holder].OpenSealing()
	r.must(err)
	return sitetest.Must[[]byte](r)(part.Open(func(given hsm.Given, what hsm.Content, label string) ([]byte, error) {
		return hsm.Take(given, what, label, k.Public(), k.ECDH)
	}))
}

// A key travels in two bags and comes into the module of the other site: its
// forms block the ceremony until both are received, and close with it.
func TestComponentsTravel(t *testing.T) {
	maker, op := issued(t)
	const id = "transport/op/1"
	_, err := maker.Register().PutForm(t.Context(), "4", keys.Sheet{Key: id, Component: 2, Ceremony: "C-1", Bag: "B2", Seal: "S2", ToSite: "op", ToPerson: "1", Carrier: "another courier"})
	maker.must(err)
	maker.must(maker.do("form.issue", "form/maker/KTF-000002", "2", "3"))
	maker.send()
	op.must(sitetest.Hand(t, maker.Site, op.Site, "maker-KTF-000002.form.pgp"))

	made, err := maker.Register().Key(t.Context(), id)
	maker.must(err)
	copies, err := maker.Register().Copies(t.Context(), id)
	maker.must(err)
	parts := slices.DeleteFunc(copies, func(c keys.Copy) bool { return c.Kind != keys.CopyComponent })
	plan := fmt.Sprintf(`ceremony: C-7
kind: import-components
title: Key of maker
room: HSM room
key: {name: %s, purpose: transport, algorithm: AES-256, partner: maker, kcv: %q}
parts:
  - {custodian: "2", kcv: %q, form: KTF-000001, bag: B1}
  - {custodian: "1", kcv: %q, form: KTF-000002, bag: B2}
people: {key-manager: "4", hsm-administrator: "5", security-officer: "3"}
`, id, made.KCV, parts[0].KCV, parts[1].KCV)
	_, findings, err := op.Ceremonies().Draft(t.Context(), "4", []byte(plan))
	op.must(err)
	if s := strings.Join(findings, "\n"); len(findings) != 2 || !strings.Contains(s, "part 1: form/maker/KTF-000001 is announced, want received") || !strings.Contains(s, "part 2: form/maker/KTF-000002") {
		t.Fatal(s)
	}
	op.must(op.receive(keys.Inspection{Bag: "B1", Seal: "S1", Sound: true}))
	op.must(op.Register().PutInspection(t.Context(), "1", "form/maker/KTF-000002", keys.Inspection{Bag: "B2", Seal: "S2", Sound: true}))
	op.must(op.do("form.receive", "form/maker/KTF-000002", "1"))
	if _, findings, err = op.Ceremonies().Draft(t.Context(), "4", []byte(plan)); err != nil || len(findings) != 0 {
		t.Fatal(findings, err)
	}
	op.must(op.do("ceremony.open", "ceremony/C-7", "4", "5", "3"))
	for step := 1; step <= 7; step++ {
		c, err := op.Ceremonies().Get(t.Context(), "C-7")
		op.must(err)
		now := c.Steps[c.Now-1]
		if now.Step.Effect == ceremony.Enter {
			who := now.Step.By[0]
			e, err := op.Ceremonies().Begin(t.Context(), "C-7", step, who)
			op.must(err)
			agree := sitetest.Must[any](t)(x509.ParsePKIXPublicKey(e.Agree))
			given := sitetest.Must[hsm.Given](t)(hsm.Give(agree, hsm.Content(e.Content), e.Label, maker.opened(parts[now.Part-1])))
			op.must(op.Ceremonies().Give(t.Context(), "C-7", step, who, given))
		}
		for _, who := range now.Step.By {
			op.must(op.do("ceremony.step", fmt.Sprintf("ceremony/C-7/%d", step), who))
		}
	}
	op.form(keys.FormClosed)
	if k, err := op.Register().Key(t.Context(), id); err != nil || k.KCV != made.KCV {
		t.Error(k, err)
	}
	// The register heard that the rack is open; nothing closes it but the people.
	racks, err := op.Register().Racks(t.Context())
	op.must(err)
	if len(racks) != 1 || !racks[0].Open || racks[0].Openings[0].Why != "ceremony/C-7" || strings.Join(racks[0].Openings[0].By, " ") != "4 5" {
		t.Errorf("%+v", racks)
	}
	for step := 8; step <= 10; step++ { // confirm, waste, rack-close
		c, err := op.Ceremonies().Get(t.Context(), "C-7")
		op.must(err)
		for _, who := range c.Steps[step-1].Step.By {
			op.must(op.do("ceremony.step", fmt.Sprintf("ceremony/C-7/%d", step), who))
		}
	}
	if racks, err = op.Register().Racks(t.Context()); err != nil || racks[0].Open || racks[0].Openings[0].Closer != "4,5" {
		t.Errorf("%+v %v", racks, err)
	}
}
