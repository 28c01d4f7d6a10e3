// Package custody is dual control: it keeps acts and the signatures over them,
// and makes a warrant when everybody whom the policy asks for has signed.
package custody

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/store"
)

//go:embed migrations
var migrations embed.FS

// Schema is the tables that this package owns.
func Schema() store.Schema { return store.Embedded("custody", migrations) }

// ErrNoAct is wrapped where an act does not exist.
var ErrNoAct = errors.New("no such act")

// A Desk takes requests, approvals and rejections of one site.
type Desk struct {
	site   string
	store  *store.Store
	people *access.Directory
}

// New is the desk of a site.
func New(site string, s *store.Store, people *access.Directory) *Desk {
	return &Desk{site: site, store: s, people: people}
}

// Status is an act and how far it has come.
type Status struct {
	Act        act.Act         `json:"act"`
	Digest     string          `json:"digest"`
	Words      []string        `json:"words"`
	State      string          `json:"state"` // open, approved, rejected, used, late
	Complete   time.Time       `json:"complete,omitzero"`
	Signatures []act.Signature `json:"signatures"`
}

// Request records an act that its requester signed. Asked again with the same
// bytes it changes nothing: a client that lost the answer may repeat it.
func (d *Desk) Request(ctx context.Context, canonical []byte, sig act.Signature) error {
	a, err := act.Parse(canonical)
	if err == nil {
		err = d.request(ctx, a, canonical, sig)
	}
	return d.answer(ctx, a, sig, err)
}

func (d *Desk) request(ctx context.Context, a act.Act, canonical []byte, sig act.Signature) error {
	return d.change(ctx, act.ActRequested, a, sig, func(tx *store.Tx, now time.Time) error {
		switch had, err := load(tx, a.ID); {
		case err == nil && string(had.canonical) == string(canonical) && sig.Person == a.Requester && sig.Verb == act.Request:
			return errRepeated
		case err == nil:
			return fmt.Errorf("act %s: %w: its number is taken", a.ID, act.ErrNotAllowed)
		case !errors.Is(err, ErrNoAct):
			return err
		}
		if a.Site != d.site {
			return fmt.Errorf("act %s: %w: it is for site %q, this is %q", a.ID, act.ErrNotAllowed, a.Site, d.site)
		}
		who, rule, err := look(ctx, access.In(tx), a, sig)
		if err != nil {
			return err
		}
		if err := rule.CheckRequest(a, who); err != nil {
			return err
		}
		if err := act.CheckTimes(a, now); err != nil {
			return err
		}
		if err := d.verify(tx, a, who, sig, act.Request); err != nil {
			return err
		}
		state, complete := "open", ""
		if len(rule.Seats) == 0 {
			state, complete = "approved", a.At.Format(time.RFC3339Nano)
		}
		if _, err := tx.Exec(`INSERT INTO act (id, kind, subject, requester, requested, canonical, state, complete) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			a.ID, a.Kind, a.Subject, a.Requester, now.Format(sortable), canonical, state, complete); err != nil {
			return err
		}
		if err := keep(tx, a.ID, sig); err != nil {
			return err
		}
		return tellApprovers(ctx, tx, a, rule)
	})
}

// verify checks a new signature, and that the passkey's counter rose.
func (d *Desk) verify(tx *store.Tx, a act.Act, who act.Person, sig act.Signature, verb act.Verb) error {
	proof, err := act.Verify(a, who, sig, verb)
	if err != nil {
		return err
	}
	return d.people.Counted(tx, who.ID, proof.SignCount)
}

// sortable is RFC 3339 in UTC with all digits, so that times sort as text.
const sortable = "2006-01-02T15:04:05.000000000Z"

var errRepeated = errors.New("repeated")

// Sign records an approval or a rejection. One rejection ends the act. The
// same signature again changes nothing.
func (d *Desk) Sign(ctx context.Context, id string, sig act.Signature) error {
	s, err := load(d.store.Committed(ctx), id)
	if err == nil {
		err = d.sign(ctx, s.act, sig)
	} else {
		s.act = act.Act{ID: id}
	}
	return d.answer(ctx, s.act, sig, err)
}

func (d *Desk) sign(ctx context.Context, a act.Act, sig act.Signature) error {
	id, kind := a.ID, act.ActApproved
	if sig.Verb == act.Reject {
		kind = act.ActRejected
	} else if sig.Verb != act.Approve {
		return fmt.Errorf("act %s: %w: verb is %q, want approve or reject", id, act.ErrNotAllowed, sig.Verb)
	}
	return d.change(ctx, kind, a, sig, func(tx *store.Tx, now time.Time) error {
		r, err := load(tx, id)
		if err != nil {
			return err
		}
		people := access.In(tx)
		who, rule, err := look(ctx, people, r.act, sig)
		if err != nil {
			return err
		}
		if r.has(sig) {
			return errRepeated
		}
		if err := act.CheckState(r.act, r.state, now); err != nil {
			return err
		}
		had, err := prove(ctx, people, r)
		if err != nil {
			return err
		}
		if err := rule.CheckApprover(r.act, had.askers, who, had.approvers); err != nil {
			return err
		}
		if err := d.verify(tx, r.act, who, sig, sig.Verb); err != nil {
			return err
		}
		if err := keep(tx, id, sig); err != nil {
			return err
		}
		switch {
		case sig.Verb == act.Reject:
			_, err = tx.Exec(`UPDATE act SET state = 'rejected' WHERE id = $1`, id)
		case rule.Complete(append(had.approvers, who)):
			_, err = tx.Exec(`UPDATE act SET state = 'approved', complete = $1 WHERE id = $2`, now.Format(time.RFC3339Nano), id)
		default:
			return nil
		}
		if err != nil {
			return err
		}
		return tellRequester(tx, r.act, sig)
	})
}

// change runs fn in a change whose entry is the signature.
func (d *Desk) change(ctx context.Context, kind string, a act.Act, sig act.Signature, fn func(*store.Tx, time.Time) error) error {
	entry := act.ActEntry{ID: a.ID, Digest: fmt.Sprintf("%x", a.Digest()), Signature: sig}
	if sig.Verb == act.Request {
		entry.Act = string(a.Canonical())
	}
	data, err := audit.DataOf(entry)
	if err != nil {
		return err
	}
	return d.store.Change(ctx, audit.Entry{Kind: kind, Actor: "person/" + sig.Person, Subject: a.Subject, Data: data},
		func(tx *store.Tx) error { return fn(tx, tx.Time()) })
}

// answer is what the caller of Request or Sign gets to hear. A refusal leaves
// an entry of its own, also when the caller does not wait for the answer.
func (d *Desk) answer(ctx context.Context, a act.Act, sig act.Signature, err error) error {
	if err == nil || errors.Is(err, errRepeated) {
		return nil
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return err // it was not judged
	}
	if errors.Is(err, access.ErrCloned) {
		err = errors.Join(err, d.people.Lock(context.WithoutCancel(ctx), sig.Person, err.Error()))
	}
	refusal := audit.Entry{Kind: "act.refused", Actor: "person/" + short(sig.Person), Subject: short(a.Subject),
		Data: map[string]any{"id": short(a.ID), "kind": short(a.Kind), "verb": short(string(sig.Verb)), "why": short(err.Error())}}
	return errors.Join(err, d.store.Enter(context.WithoutCancel(ctx), refusal))
}

// short bounds what a stranger wrote, so that no refusal is too long to log.
func short(s string) string { return strings.ToValidUTF8(s[:min(len(s), 1000)], "") }

// look finds the signer and the rule. The policy in force decides.
func look(ctx context.Context, people access.View, a act.Act, sig act.Signature) (act.Person, act.Rule, error) {
	p, err := people.Policy(ctx)
	if err != nil {
		return act.Person{}, act.Rule{}, err
	}
	return lookUnder(ctx, p, people, a, sig)
}

// lookUnder is look under the policy in force, for who looks at many.
func lookUnder(ctx context.Context, p act.Policy, people access.View, a act.Act, sig act.Signature) (act.Person, act.Rule, error) {
	who, err := people.Person(ctx, sig.Person)
	if err != nil {
		return act.Person{}, act.Rule{}, err
	}
	if err := p.CheckPerson(who); err != nil {
		return act.Person{}, act.Rule{}, err
	}
	rule, err := ruleOf(p, a)
	return who, rule, err
}

// ruleOf is the rule for an act; an act of an older policy has none any more.
func ruleOf(p act.Policy, a act.Act) (act.Rule, error) {
	if a.Policy != p.Version {
		return act.Rule{}, fmt.Errorf("act %s: %w: it was asked for under version %d of the policy, in force is %d; ask again", a.ID, act.ErrNotAllowed, a.Policy, p.Version)
	}
	return p.Rule(a.Kind)
}

// proof is what the stored signatures of an act show.
type proof struct {
	rule      act.Rule
	askers    []act.Person // requester, then editors
	approvers []act.Person
}

// prove checks all signatures again, over the bytes as they are stored now:
// somebody may have edited the rows.
func prove(ctx context.Context, people access.View, s stored) (p proof, err error) {
	if p.askers, err = askersOf(ctx, people, s.act); err != nil {
		return proof{}, err
	}
	policy, err := people.Policy(ctx)
	if err != nil {
		return proof{}, err
	}
	requested := false
	for _, sig := range s.signatures {
		var who act.Person
		if who, p.rule, err = lookUnder(ctx, policy, people, s.act, sig); err != nil {
			return proof{}, err
		}
		if _, err := act.Verify(s.act, who, sig, sig.Verb); err != nil {
			return proof{}, err
		}
		switch sig.Verb {
		case act.Request:
			err, requested = p.rule.CheckRequest(s.act, who), true
		case act.Approve:
			err = p.rule.CheckApprover(s.act, p.askers, who, p.approvers)
			p.approvers = append(p.approvers, who)
		default:
			err = fmt.Errorf("act %s: %w", s.act.ID, act.ErrRejected)
		}
		if err != nil {
			return proof{}, err
		}
	}
	if !requested {
		return proof{}, fmt.Errorf("act %s: %w: the requester's signature is not there", s.act.ID, act.ErrOpen)
	}
	return p, nil
}

// proveAll refuses an act whose row says that it is approved, and whose
// signatures do not.
func proveAll(ctx context.Context, people access.View, s stored) (proof, error) {
	p, err := prove(ctx, people, s)
	if err == nil && !p.rule.Complete(p.approvers) {
		err = fmt.Errorf("act %s: %w: it has %d of %d approvals", s.act.ID, act.ErrOpen, len(p.approvers), len(p.rule.Seats))
	}
	return p, err
}

// askersOf are the requester of an act, who must still be here, and who edited
// what it is about, of whom the number is enough.
func askersOf(ctx context.Context, people access.View, a act.Act) ([]act.Person, error) {
	who, err := people.Person(ctx, a.Requester)
	if err != nil {
		return nil, err
	}
	all := []act.Person{who}
	for _, id := range a.Editors() {
		m, err := people.Member(ctx, id)
		if err != nil && !errors.Is(err, access.ErrNoPerson) {
			return nil, err
		}
		m.Person.ID = id
		all = append(all, m.Person)
	}
	return all, nil
}

func keep(tx *store.Tx, id string, sig act.Signature) error {
	doc, err := json.Marshal(sig)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO act_signature (act, person, verb, signature) VALUES ($1, $2, $3, $4)`, id, sig.Person, string(sig.Verb), doc)
	return err
}

type stored struct {
	act        act.Act
	canonical  []byte
	name       string
	state      act.State
	signatures []act.Signature
}

func (s stored) has(sig act.Signature) bool {
	for _, h := range s.signatures {
		if h.Person == sig.Person && h.Verb == sig.Verb && string(h.Assertion.Signature) == string(sig.Assertion.Signature) {
			return true
		}
	}
	return false
}

func load(q store.Querier, id string) (stored, error) {
	var s stored
	var complete string
	err := q.QueryRow(`SELECT canonical, state, coalesce(complete, '') FROM act WHERE id = $1`, id).Scan(&s.canonical, &s.name, &complete)
	if errors.Is(err, sql.ErrNoRows) {
		return s, fmt.Errorf("act %q: %w", id, ErrNoAct)
	}
	if err != nil {
		return s, err
	}
	if s.act, err = act.Parse(s.canonical); err != nil {
		return s, err
	}
	if s.act.ID != id {
		return s, fmt.Errorf("act %s: %w: another act is stored under its number", id, act.ErrNotAllowed)
	}
	if complete != "" {
		if s.state.Complete, err = time.Parse(time.RFC3339Nano, complete); err != nil {
			return s, err
		}
	}
	s.state.Rejected, s.state.Used = s.name == "rejected", s.name == "used"
	s.signatures, err = store.Collect(q, store.Document[act.Signature], `SELECT signature FROM act_signature WHERE act = $1 ORDER BY person`, id)
	return s, err
}

// Get is one act; ErrNoAct if there is none.
func (d *Desk) Get(ctx context.Context, id string) (Status, error) {
	s, err := load(d.store.Committed(ctx), id)
	if err != nil {
		return Status{}, err
	}
	digest := s.act.Digest()
	st := Status{Act: s.act, Digest: fmt.Sprintf("%x", digest), Words: act.Words(digest), State: s.name, Complete: s.state.Complete, Signatures: s.signatures}
	now := d.store.Now()
	if s.name == "open" && act.CheckState(s.act, s.state, now) != nil || s.name == "approved" && act.CheckUse(s.act, s.state, now) != nil {
		st.State = "late"
	}
	return st, nil
}

// List is all acts in one of the states, or all; newest last.
func (d *Desk) List(ctx context.Context, state string) ([]Status, error) {
	// The clock makes an act late; until Sweep comes by, its row says something else.
	ids, err := d.ids(ctx, `SELECT id FROM act WHERE $1 IN ('', 'late') OR state = $1 ORDER BY requested, id`, state)
	if err != nil {
		return nil, err
	}
	all := make([]Status, 0, len(ids))
	for _, id := range ids {
		st, err := d.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		if state == "" || state == st.State {
			all = append(all, st)
		}
	}
	return all, nil
}

func (d *Desk) ids(ctx context.Context, query string, args ...any) ([]string, error) {
	return store.Collect(d.store.Committed(ctx), store.Column[string], query, args...)
}

// A Warrant is leave to do one act once. Only a Desk makes one; the zero
// Warrant refuses.
type Warrant struct {
	act       act.Act
	entry     string // kind of log entry by which the act is done
	approvers []string
	store     *store.Store
}

// Warrant is the leave that act id gives, if everybody has signed in time.
// Until it is redeemed it is only a promise: Redeem decides.
func (d *Desk) Warrant(ctx context.Context, id string) (Warrant, error) {
	s, err := load(d.store.Committed(ctx), id)
	if err != nil {
		return Warrant{}, err
	}
	if err := act.CheckUse(s.act, s.state, d.store.Now()); err != nil {
		return Warrant{}, err
	}
	p, err := proveAll(ctx, d.people.View, s)
	if err != nil {
		return Warrant{}, err
	}
	w := Warrant{act: s.act, entry: p.rule.Entry, store: d.store}
	for _, who := range p.approvers {
		w.approvers = append(w.approvers, who.ID)
	}
	return w, nil
}

// Act is what the warrant allows.
func (w Warrant) Act() act.Act { return w.act }

// ApprovedBy says whether a person is among those who approved.
func (w Warrant) ApprovedBy(person string) bool { return slices.Contains(w.approvers, person) }

// Signers are all who answer for it: who asked, then who approved.
func (w Warrant) Signers() []string {
	all := []string{w.act.Requester}
	for _, who := range w.approvers {
		if !slices.Contains(all, who) {
			all = append(all, who)
		}
	}
	return all
}

// Use does the act: fn writes, in one change with the entry that the policy
// names for such an act, and the warrant is spent in that very transaction. It
// refuses if the act is of another kind or about another subject, if its time
// is over, or if the warrant was spent before. If fn fails nothing is spent.
func (w Warrant) Use(ctx context.Context, kind, subject string, data map[string]any, fn func(*store.Tx) error) error {
	if w.store == nil || w.act.ID == "" {
		return fmt.Errorf("%s: %w: no warrant", kind, act.ErrNotAllowed)
	}
	e := audit.Entry{Kind: w.entry, Actor: "person/" + w.act.Requester, Subject: subject, Data: maps.Clone(data)}
	return w.store.Change(ctx, e, func(tx *store.Tx) error {
		tx.Note("warrant", w.act.ID)
		if err := w.redeem(ctx, tx, kind, subject); err != nil || fn == nil {
			return err
		}
		return fn(tx)
	})
}

func (w Warrant) redeem(ctx context.Context, tx *store.Tx, kind, subject string) error {
	if w.act.Kind != kind || w.act.Subject != subject {
		return fmt.Errorf("%s of %s: %w: the warrant is for %s of %s", kind, subject, act.ErrNotAllowed, w.act.Kind, w.act.Subject)
	}
	s, err := load(tx, w.act.ID)
	if err != nil {
		return err
	}
	if s.act.Digest() != w.act.Digest() {
		return fmt.Errorf("act %s: %w: other bytes were approved", w.act.ID, act.ErrNotAllowed)
	}
	if err := act.CheckUse(s.act, s.state, tx.Time()); err != nil {
		return err
	}
	// People and policy may have changed since the warrant was made.
	if _, err := proveAll(ctx, access.In(tx), s); err != nil {
		return err
	}
	res, err := tx.Exec(`UPDATE act SET state = 'used' WHERE id = $1 AND state = 'approved'`, w.act.ID)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(fmt.Errorf("act %s: %w", w.act.ID, act.ErrUsed), err)
	}
	data, err := audit.DataOf(act.UseEntry{ID: w.act.ID, Digest: fmt.Sprintf("%x", w.act.Digest())})
	if err != nil {
		return err
	}
	return tx.Append(audit.Entry{Kind: act.ActUsed, Actor: "person/" + w.act.Requester, Subject: subject, Data: data})
}

// A Deed is how a kind of act is proposed and done.
type Deed struct {
	// Propose gives the parameters of an act about a subject, from what is so
	// now. It is called again before the act is done.
	Propose func(ctx context.Context, subject string) (map[string]string, error)
	// Do does the act. It spends the warrant (Warrant.Use) or fails.
	Do func(ctx context.Context, w Warrant) error
}
