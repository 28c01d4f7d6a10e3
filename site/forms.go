package site

import (
	"context"
	"errors"
	"fmt"

	"ankan/act"
	"ankan/audit"
	"ankan/keys"
	"ankan/message"
	"ankan/store"
)

// formName is the name of the file of a form's first or second part. The site
// is its issuer.
func formName(site, number string, k message.Kind) string {
	return fmt.Sprintf("%s-%s.%s.pgp", site, number, k)
}

// sendForms sends the first part of each form that was issued here, by another
// way than the bag travels, and the second part of each whose bag was signed
// for (SOP 6.4.e.iii.c). A partner without a card has both on paper.
func (s *Site) sendForms(ctx context.Context) error {
	issued, err := s.register.FormsToSend(ctx)
	if err != nil {
		return err
	}
	for _, f := range issued {
		err := s.sendForm(ctx, f, f.ToSite, message.KindForm, "form.sent", func() (any, error) { return message.Form{Form: f.Sheet}, nil })
		if err != nil {
			return err
		}
	}
	answer, err := s.register.FormsToAnswer(ctx)
	if err != nil {
		return err
	}
	for _, f := range answer {
		err := s.sendForm(ctx, f, f.Site, message.KindFormAnswer, "form.answered", func() (any, error) {
			a, err := s.requested(ctx, f.Act)
			return message.FormAnswer{Site: f.Site, Number: f.Number, Answer: a}, err
		})
		if err != nil {
			return err
		}
	}
	return ErrIdle
}

func (s *Site) sendForm(ctx context.Context, f keys.Form, to string, k message.Kind, entry string, part func() (any, error)) error {
	byFile := s.partners[to] != nil
	if byFile {
		m, err := part()
		if err != nil {
			return err
		}
		if err := s.Send(ctx, to, formName(f.Site, f.Number, k), message.JSON(m)); err != nil {
			return err
		}
	}
	e := audit.Entry{Kind: entry, Actor: "system:site", Subject: f.Ref(), Data: map[string]any{"partner": to, "by_file": byFile}}
	return s.store.Change(ctx, e, func(tx *store.Tx) error { return keys.FormSent(tx, f, byFile) })
}

// requested is what the person signed who asked for an act, and with what a
// partner verifies it: without the pair to which components are sealed for them.
func (s *Site) requested(ctx context.Context, id string) (keys.FormAnswer, error) {
	st, err := s.desk.Get(ctx, id)
	if err != nil {
		return keys.FormAnswer{}, err
	}
	who, err := s.people.Member(ctx, st.Act.Requester)
	if err != nil {
		return keys.FormAnswer{}, err
	}
	for _, sig := range st.Signatures {
		if sig.Verb == act.Request {
			p := act.Person{ID: who.ID, Name: who.Name, Credential: who.Credential}
			p.Credential.Seal = nil
			return keys.FormAnswer{Act: string(st.Act.Canonical()), Signature: sig, Person: p}, nil
		}
	}
	return keys.FormAnswer{}, fmt.Errorf("act %s: its requester's signature is not there", id)
}

// takeForm announces a bag that is under way to this site.
func (s *Site) takeForm(ctx context.Context, a *Arrival) error {
	var m message.Form
	if err := a.JSON(&m); err != nil {
		return err
	}
	return s.takePart(ctx, a, "form.announced", m.Form.Ref(), func(tx *store.Tx) error {
		return s.register.Announce(ctx, tx, a.Partner, m.Form)
	})
}

// takeFormAnswer takes the recipient's word that a bag came, whole or not.
func (s *Site) takeFormAnswer(ctx context.Context, a *Arrival) error {
	var m message.FormAnswer
	if err := a.JSON(&m); err != nil {
		return err
	}
	ref := keys.Sheet{Site: m.Site, Number: m.Number}.Ref()
	err := s.takePart(ctx, a, "form.answer-taken", ref, func(tx *store.Tx) error {
		return s.register.TakeAnswer(ctx, tx, a.Partner, ref, m.Answer)
	})
	if err != nil {
		return err
	}
	return s.guard.Reload(context.WithoutCancel(ctx)) // a tampered bag ends its key
}

func (s *Site) takePart(ctx context.Context, a *Arrival, entry, ref string, take func(*store.Tx) error) error {
	e := audit.Entry{Kind: entry, Actor: "partner/" + a.Partner, Subject: ref}
	err := s.store.Change(ctx, e, func(tx *store.Tx) error { return errors.Join(a.Taken(tx), take(tx)) })
	if errors.Is(err, keys.ErrForm) {
		return Refused("%s: %v", a.Name, err)
	}
	return err
}
