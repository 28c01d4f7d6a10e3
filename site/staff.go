package site

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/keys"
	"ankan/notice"
	"ankan/store"
)

// staff is the part of every site that looks after people and policy.
func (s *Site) staff() Part {
	return Part{Open: func(context.Context, *Site) (Duties, error) {
		return Duties{Deeds: map[string]Deed{
			"person.enrol":        {Propose: s.proposeEnrol("person.enrol"), Do: s.doEnrol},
			"administrator.enrol": {Propose: s.proposeEnrol("administrator.enrol"), Do: s.doEnrol},
			"person.leave":        {Propose: onPerson(s.proposeLeave), Do: s.doLeave},
			"person.suspend":      {Propose: onPerson(s.people.ProposeLeave), Do: s.doSuspend},
			"training.record":     {Propose: s.proposeRecord(access.Training), Do: s.doRecord(access.Training)},
			"statement.sign":      {Propose: s.proposeRecord(access.Statement), Do: s.doRecord(access.Statement)},
			"policy.adopt": {
				Propose: func(ctx context.Context, subject string) (map[string]string, error) {
					if subject != "policy" {
						return nil, fmt.Errorf("subject %q is not policy", subject)
					}
					return s.people.ProposePolicy(ctx)
				},
				Do: s.doAdopt,
			},
			"glass.break":  {Propose: s.people.ProposeGlass, Do: s.doGlass},
			"glass.review": {Propose: s.people.ProposeReview, Do: s.doReview},
		}}, nil
	}}
}

// onPerson proposes about person/N.
func onPerson(propose func(context.Context, string) (map[string]string, error)) func(context.Context, string) (map[string]string, error) {
	return func(ctx context.Context, subject string) (map[string]string, error) {
		id, err := SubjectOf(subject, "person")
		if err != nil {
			return nil, err
		}
		return propose(ctx, id)
	}
}

// proposeEnrol also shows what a custodian who gets another passkey loses: the
// parts of keys that only the one before opens.
func (s *Site) proposeEnrol(kind string) func(context.Context, string) (map[string]string, error) {
	return onPerson(func(ctx context.Context, id string) (map[string]string, error) {
		m, err := s.people.ProposeEnrol(ctx, kind, id)
		if err != nil || m["passkey_before"] == "" {
			return m, err
		}
		held, err := s.register.Held(ctx, id)
		if err != nil {
			return nil, err
		}
		held = slices.DeleteFunc(held, func(c keys.Copy) bool { return len(c.Sealed) == 0 })
		if len(held) > 0 {
			m["loses"] = fmt.Sprintf("%d sealed parts of keys, such as %s of %s: only the passkey before opens them; hand them over first: custody.transfer", len(held), held[0].Name(), held[0].Key)
		}
		return m, nil
	})
}

func (s *Site) doEnrol(ctx context.Context, w custody.Warrant) error {
	a, id := w.Act(), personOf(w)
	data, err := s.people.PersonData(ctx, id, false)
	if err != nil {
		return err
	}
	return s.doPerson(ctx, w, data, "the person's record changed", func(tx *store.Tx) (string, error) {
		return fmt.Sprintf("Person %s, %s, %s as %s.", id, a.Params["name"], a.Params["change"], a.Params["roles"]), s.people.Enrol(tx, id, a.Params[act.ParamPerson])
	})
}

func personOf(w custody.Warrant) string { return strings.TrimPrefix(w.Act().Subject, "person/") }

// doPerson has do change a person under an act and say it in a sentence, which
// staff are told. No session outlives the record by which it was opened.
func (s *Site) doPerson(ctx context.Context, w custody.Warrant, data map[string]any, ends string, do func(*store.Tx) (string, error)) error {
	a := w.Act()
	err := w.Use(ctx, a.Kind, a.Subject, data, func(tx *store.Tx) error {
		text, err := do(tx)
		if err != nil {
			return err
		}
		return s.tellStaff(ctx, tx, a, notice.Notice{Kind: a.Kind, Subject: a.Subject, Text: text, Link: "/people/" + personOf(w)})
	})
	if err != nil {
		return err
	}
	return s.gate.EndAll(ctx, personOf(w), "system:access", ends)
}

// tellStaff tells everybody of a new administrator, and those concerned of
// anybody else.
func (s *Site) tellStaff(ctx context.Context, tx *store.Tx, a act.Act, n notice.Notice) error {
	people, err := s.people.People(ctx)
	if err != nil {
		return err
	}
	policy, err := s.people.Policy(ctx)
	if err != nil {
		return err
	}
	var ids []string
	for _, who := range people {
		if a.Kind == "administrator.enrol" || policy.Administers(who) {
			ids = append(ids, who.ID)
		}
	}
	return notice.Tell(tx, ids, n)
}

// proposeLeave shows what somebody who leaves still holds: it is handed over
// before, or keys are rotated after.
func (s *Site) proposeLeave(ctx context.Context, id string) (map[string]string, error) {
	m, err := s.people.ProposeLeave(ctx, id)
	if err != nil {
		return nil, err
	}
	held, err := s.register.Things(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(held) > 0 {
		m["holds"] = fmt.Sprintf("%d things, such as %s; hand them over first: custody.transfer", len(held), held[0].Name)
	}
	return m, nil
}

func (s *Site) doLeave(ctx context.Context, w custody.Warrant) error {
	id := personOf(w)
	data, err := s.people.PersonData(ctx, id, true)
	if err != nil {
		return err
	}
	return s.doPerson(ctx, w, data, "the person left", func(tx *store.Tx) (string, error) {
		if err := s.people.Leave(tx, id); err != nil {
			return "", err
		}
		left, err := s.register.PersonLeft(tx, id)
		return strings.TrimSpace(fmt.Sprintf("Person %s, %s, has left. %s", id, w.Act().Params["name"], left)), err
	})
}

func (s *Site) doSuspend(ctx context.Context, w custody.Warrant) error {
	id := personOf(w)
	return s.doPerson(ctx, w, access.SuspendData(id), "the person is suspended", func(tx *store.Tx) (string, error) {
		return fmt.Sprintf("Person %s is suspended.", id), s.people.Suspend(tx, id)
	})
}

// proposeRecord is about person/N/WHAT: a course, or a statement.
func (s *Site) proposeRecord(kind string) func(context.Context, string) (map[string]string, error) {
	return func(ctx context.Context, subject string) (map[string]string, error) {
		rest, err := SubjectOf(subject, "person")
		if err != nil {
			return nil, err
		}
		id, what, ok := strings.Cut(rest, "/")
		if !ok || what == "" || len(what) > 100 {
			return nil, fmt.Errorf("subject %q is not person/N/WHAT", subject)
		}
		who, err := s.people.Person(ctx, id)
		if err != nil {
			return nil, err
		}
		policy, err := s.people.Policy(ctx)
		if err != nil {
			return nil, err
		}
		days := policy.Periods.Training
		m := map[string]string{"name": who.Name, "roles": strings.Join(who.Roles, ", "), kind: what}
		if kind == access.Statement {
			days = policy.Periods.Statement
			m["text"] = access.StatementText(what)
			if m["text"] == "" {
				return nil, fmt.Errorf("there is no statement %q; there are %s", what, strings.Join(access.Statements(), ", "))
			}
		}
		m["days"] = fmt.Sprint(days)
		return m, nil
	}
}

func (s *Site) doRecord(kind string) func(context.Context, custody.Warrant) error {
	return func(ctx context.Context, w custody.Warrant) error {
		a := w.Act()
		id, what, _ := strings.Cut(strings.TrimPrefix(a.Subject, "person/"), "/")
		if kind == access.Statement && a.Requester != id {
			return fmt.Errorf("statement of person %s: %w: nobody signs it for another", id, act.ErrNotAllowed)
		}
		if kind == access.Training && a.Requester == id {
			return fmt.Errorf("training of person %s: %w: nobody records their own", id, act.ErrNotAllowed)
		}
		policy, err := s.people.Policy(ctx)
		if err != nil {
			return err
		}
		days := map[string]int{access.Training: policy.Periods.Training, access.Statement: policy.Periods.Statement}[kind]
		return w.Use(ctx, a.Kind, a.Subject, map[string]any{"person": id, kind: what, "days": days}, func(tx *store.Tx) error {
			return s.people.PutRecord(tx, kind, act.Record{Person: id, What: what, At: tx.Time(), Until: tx.Time().AddDate(0, 0, days)}, a.ID)
		})
	}
}

func (s *Site) doAdopt(ctx context.Context, w custody.Warrant) error {
	p, _, _, err := s.people.PolicyDraft(ctx)
	if err != nil {
		return err
	}
	if d := p.Digest(); fmt.Sprintf("%x", d) != w.Act().Params[act.ParamPolicy] {
		return fmt.Errorf("policy version %d: %w: the draft was changed since it was approved", p.Version, act.ErrNotAllowed)
	}
	data, err := audit.DataOf(act.PolicyEntry{Policy: p})
	if err != nil {
		return err
	}
	err = w.Use(ctx, w.Act().Kind, w.Act().Subject, data, func(tx *store.Tx) error {
		if err := s.people.Adopt(tx, p); err != nil {
			return err
		}
		people, err := s.people.People(ctx)
		if err != nil {
			return err
		}
		var ids []string
		for _, who := range people {
			ids = append(ids, who.ID)
		}
		return notice.Tell(tx, ids, notice.Notice{Kind: "policy.adopt", Subject: "policy", Link: "/policy",
			Text: fmt.Sprintf("Version %d of the policy is in force.", p.Version)})
	})
	if err != nil {
		return err
	}
	return s.guard.Reload(context.WithoutCancel(ctx))
}

func (s *Site) doGlass(ctx context.Context, w custody.Warrant) error {
	a := w.Act()
	policy, err := s.people.Policy(ctx)
	if err != nil {
		return err
	}
	return w.Use(ctx, a.Kind, a.Subject, map[string]any{"reason": a.Params["reason"], "seconds": policy.Limits.BreakGlass}, func(tx *store.Tx) error {
		until := tx.Time().Add(time.Duration(policy.Limits.BreakGlass) * time.Second)
		if err := s.people.Break(tx, a, until); err != nil {
			return err
		}
		people, err := s.people.People(ctx)
		if err != nil {
			return err
		}
		var ids []string
		for _, who := range people {
			ids = append(ids, who.ID)
		}
		return notice.Tell(tx, ids, notice.Notice{Kind: a.Kind, Subject: a.Subject, Link: "/glass",
			Text: fmt.Sprintf("Person %s broke the glass until %s: %q. They see what their roles do not show. Everybody was told.", a.Requester, until.UTC().Format(time.RFC3339), a.Params["reason"])})
	})
}

func (s *Site) doReview(ctx context.Context, w custody.Warrant) error {
	a := w.Act()
	return w.Use(ctx, a.Kind, a.Subject, nil, func(tx *store.Tx) error {
		return s.people.Reviewed(tx, strings.TrimPrefix(a.Subject, "glass/"))
	})
}
