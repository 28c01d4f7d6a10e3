package custody

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/notice"
	"ankan/store"
)

// A Candidate is somebody whose role could sign an act, and whether the
// person may.
type Candidate struct {
	Person act.Person `json:"person"`
	May    bool       `json:"may"`
	Signed act.Verb   `json:"signed,omitempty"`
	Why    string     `json:"why,omitempty"` // why not
}

// Candidates are all who hold a role that the act asks for, and its requester
// and editors: who may sign it and who may not, and why. Of an act of an older
// policy, or whose requester is not here any more, nobody may sign.
func (d *Desk) Candidates(ctx context.Context, id string) ([]Candidate, error) {
	s, err := load(d.store.Committed(ctx), id)
	if err != nil {
		return nil, err
	}
	policy, err := d.people.Policy(ctx)
	if err != nil {
		return nil, err
	}
	asked := append([]string{s.act.Requester}, s.act.Editors()...)
	rule, why := ruleOf(policy, s.act)
	var askers []act.Person
	if why == nil {
		askers, why = askersOf(ctx, d.people.View, s.act)
	}
	if why != nil && !errors.Is(why, act.ErrNotAllowed) && !errors.Is(why, access.ErrNoPerson) {
		return nil, why
	}
	people, err := d.people.People(ctx)
	if err != nil {
		return nil, err
	}
	var before []act.Person
	signed := map[string]act.Verb{}
	for _, sig := range s.signatures {
		signed[sig.Person] = sig.Verb
		if who, err := d.people.Person(ctx, sig.Person); err == nil && sig.Verb == act.Approve {
			before = append(before, who)
		}
	}
	var all []Candidate
	for _, who := range people {
		if !slices.Contains(asked, who.ID) && !seated(rule, who) {
			continue
		}
		c := Candidate{Person: who, Signed: signed[who.ID]}
		err := act.CheckState(s.act, s.state, d.store.Now())
		if err == nil {
			err = why
		}
		if err == nil {
			err = rule.CheckApprover(s.act, askers, who, before)
		}
		if c.May = err == nil; err != nil {
			c.Why = err.Error()
		}
		all = append(all, c)
	}
	return all, nil
}

func seated(r act.Rule, who act.Person) bool {
	for _, seat := range r.Seats {
		if who.Has(seat...) {
			return true
		}
	}
	return false
}

// An Inbox is what is a person's turn.
type Inbox struct {
	Waits []Status `json:"waits"` // for this person's signature
	Asked []Status `json:"asked"` // by this person, not done yet
}

// Inbox is what waits for a person, and what the person asked for.
func (d *Desk) Inbox(ctx context.Context, person string) (Inbox, error) {
	var in Inbox
	for _, state := range []string{"open", "approved"} {
		all, err := d.List(ctx, state)
		if err != nil {
			return in, err
		}
		for _, st := range all {
			if st.Act.Requester == person {
				in.Asked = append(in.Asked, st)
				continue
			}
			if state != "open" {
				continue
			}
			candidates, err := d.Candidates(ctx, st.Act.ID)
			if err != nil {
				return in, err
			}
			for _, c := range candidates {
				if c.Person.ID == person && c.May {
					in.Waits = append(in.Waits, st)
				}
			}
		}
	}
	return in, nil
}

// tellApprovers tells everybody who may fill a seat that an act waits.
func tellApprovers(ctx context.Context, tx *store.Tx, a act.Act, rule act.Rule) error {
	people := access.In(tx)
	all, err := people.People(ctx)
	if err != nil {
		return err
	}
	askers, err := askersOf(ctx, people, a)
	if err != nil {
		return err
	}
	var may []string
	for _, p := range all {
		if rule.CheckApprover(a, askers, p, nil) == nil {
			may = append(may, p.ID)
		}
	}
	return notice.Tell(tx, may, notice.Notice{Kind: "act.waits", Subject: a.Subject, Link: "/acts/" + a.ID,
		Text: fmt.Sprintf("%s of %s waits for your signature until %s. Person %s asks. The words: %s.", a.Kind, a.Subject,
			a.ApproveBy.Format(time.RFC3339), a.Requester, strings.Join(act.Words(a.Digest()), " "))})
}

// tellRequester tells who asked for an act how it was decided.
func tellRequester(tx *store.Tx, a act.Act, last act.Signature) error {
	n := notice.Notice{Kind: "act.approved", Subject: a.Subject, Link: "/acts/" + a.ID,
		Text: fmt.Sprintf("%s of %s has all its signatures. Do it within %d minutes.", a.Kind, a.Subject, a.UseWithin/60)}
	if last.Verb == act.Reject {
		n.Kind = "act.rejected"
		n.Text = fmt.Sprintf("%s of %s was rejected by person %s: %q.", a.Kind, a.Subject, last.Person, last.Reason)
	}
	return notice.Tell(tx, []string{a.Requester}, n)
}

// Sweep ends the acts whose time is over: each gets an entry, and its
// requester is told. It says how many it ended.
func (d *Desk) Sweep(ctx context.Context) (n int, err error) {
	ids, err := d.ids(ctx, `SELECT id FROM act WHERE state IN ('open', 'approved') ORDER BY requested, id`)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		st, err := d.Get(ctx, id)
		if err != nil {
			return n, err
		}
		if st.State != "late" {
			continue
		}
		a := st.Act
		e := audit.Entry{Kind: "act.expired", Actor: "system:custody", Subject: a.Subject,
			Data: map[string]any{"id": a.ID, "kind": a.Kind, "signatures": len(st.Signatures), "complete": !st.Complete.IsZero()}}
		err = d.store.Change(ctx, e, func(tx *store.Tx) error {
			res, err := tx.Exec(`UPDATE act SET state = 'late' WHERE id = $1 AND state IN ('open', 'approved')`, a.ID)
			if err != nil {
				return err
			}
			if k, err := res.RowsAffected(); err != nil || k == 0 {
				return errRepeated
			}
			return notice.Tell(tx, []string{a.Requester}, notice.Notice{Kind: "act.late", Subject: a.Subject, Link: "/acts/" + a.ID,
				Text: fmt.Sprintf("%s of %s ran out of time and was not done. Ask again if it is still wanted.", a.Kind, a.Subject)})
		})
		if err == errRepeated {
			continue
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
