package act

import (
	"fmt"
	"time"

	"ankan/audit"
)

// The kinds of log entries that a Book reads. Their data is PolicyEntry,
// PersonEntry, ActEntry and UseEntry.
const (
	PolicyAdopted  = "policy.adopted"
	PersonEnrolled = "person.enrolled"
	ActRequested   = "act.requested"
	ActApproved    = "act.approved"
	ActRejected    = "act.rejected"
	ActUsed        = "act.used"
)

// A PolicyEntry records the policy in force from there on.
type PolicyEntry struct {
	Policy Policy `json:"policy"`
}

// A PersonEntry records a person who may sign from there on.
type PersonEntry struct {
	Person Person `json:"person"`
}

// An ActEntry records one signature. Act is the canonical form in a request;
// in approvals and rejections ID names it.
type ActEntry struct {
	Act       string    `json:"act,omitempty"`
	ID        string    `json:"id"`
	Digest    string    `json:"digest"`
	Signature Signature `json:"signature"`
}

// A UseEntry records that an act's warrant was spent.
type UseEntry struct {
	ID     string `json:"id"`
	Digest string `json:"digest"`
}

// A Book replays the entries of a log in order and refuses what the rules do
// not allow: it is how somebody who trusts nobody checks that nothing was done
// without its signatures. The zero Book knows nobody and refuses all.
type Book struct {
	Signatures int // verified
	Used       int // warrants spent, each by its quorum

	policy Policy
	people map[string]Person
	acts   map[string]*record
}

type record struct {
	act       Act
	policy    Policy // in force when it was requested
	approvers []Person
	complete  time.Time
	rejected  bool
	used      bool
}

// Apply reads one entry. Kinds that it does not know are none of its business.
func (b *Book) Apply(kind string, at time.Time, data []byte) error {
	switch kind {
	case PolicyAdopted:
		var e PolicyEntry
		if err := audit.Strict(data, &e); err != nil {
			return err
		}
		if err := e.Policy.Check(); err != nil {
			return err
		}
		b.policy = e.Policy
	case PersonEnrolled:
		var e PersonEntry
		if err := audit.Strict(data, &e); err != nil {
			return err
		}
		if err := b.policy.CheckPerson(e.Person); err != nil {
			return err
		}
		if b.people == nil {
			b.people = map[string]Person{}
		}
		b.people[e.Person.ID] = e.Person
	case ActRequested, ActApproved, ActRejected:
		var e ActEntry
		if err := audit.Strict(data, &e); err != nil {
			return err
		}
		return b.sign(kind, at, e)
	case ActUsed:
		var e UseEntry
		if err := audit.Strict(data, &e); err != nil {
			return err
		}
		return b.use(at, e)
	}
	return nil
}

func (b *Book) sign(kind string, at time.Time, e ActEntry) error {
	who, ok := b.people[e.Signature.Person]
	if !ok {
		return fmt.Errorf("person %s is not enrolled", e.Signature.Person)
	}
	if kind == ActRequested {
		return b.request(who, e)
	}
	r, ok := b.acts[e.ID]
	if !ok {
		return fmt.Errorf("act %s was never requested", e.ID)
	}
	verb := Approve
	if kind == ActRejected {
		verb = Reject
	}
	if err := Verify(r.act, who, e.Signature, verb); err != nil {
		return err
	}
	rule, err := r.policy.Rule(r.act.Kind)
	if err != nil {
		return err
	}
	if err := CheckState(r.act, r.state(), at); err != nil {
		return err
	}
	if err := rule.CheckApprover(r.act, b.people[r.act.Requester], who, r.approvers); err != nil {
		return err
	}
	b.Signatures++
	if verb == Reject {
		r.rejected = true
		return nil
	}
	r.approvers = append(r.approvers, who)
	if rule.Complete(r.approvers) {
		r.complete = at
	}
	return nil
}

func (b *Book) request(who Person, e ActEntry) error {
	a, err := Parse([]byte(e.Act))
	if err != nil {
		return err
	}
	if _, ok := b.acts[a.ID]; ok {
		return fmt.Errorf("act %s is requested twice", a.ID)
	}
	if a.ID != e.ID {
		return fmt.Errorf("act %s is entered as %s", a.ID, e.ID)
	}
	if err := Verify(a, who, e.Signature, Request); err != nil {
		return err
	}
	rule, err := b.policy.Rule(a.Kind)
	if err != nil {
		return err
	}
	if err := rule.CheckRequest(a, who); err != nil {
		return err
	}
	r := &record{act: a, policy: b.policy}
	if len(rule.Seats) == 0 {
		r.complete = a.At
	}
	if b.acts == nil {
		b.acts = map[string]*record{}
	}
	b.acts[a.ID] = r
	b.Signatures++
	return nil
}

func (b *Book) use(at time.Time, e UseEntry) error {
	r, ok := b.acts[e.ID]
	if !ok {
		return fmt.Errorf("act %s was used and never requested", e.ID)
	}
	if d := r.act.Digest(); fmt.Sprintf("%x", d) != e.Digest {
		return fmt.Errorf("act %s was used for other bytes than were approved", e.ID)
	}
	if err := CheckUse(r.act, r.state(), at); err != nil {
		return err
	}
	r.used = true
	b.Used++
	return nil
}

func (r *record) state() State {
	return State{Complete: r.complete, Rejected: r.rejected, Used: r.used}
}

// A State is how far an act has come.
type State struct {
	Complete time.Time // when the last seat was filled; zero while seats are open
	Rejected bool
	Used     bool
}

// CheckState refuses a signature on an act that is over.
func CheckState(a Act, s State, now time.Time) error {
	switch {
	case s.Rejected:
		return fmt.Errorf("act %s: %w; ask again if it is still wanted", a.ID, ErrRejected)
	case s.Used:
		return fmt.Errorf("act %s: %w", a.ID, ErrUsed)
	case !s.Complete.IsZero():
		return fmt.Errorf("act %s: %w: it has all its signatures", a.ID, ErrNotAllowed)
	case now.After(a.ApproveBy):
		return fmt.Errorf("act %s: %w: it could be approved until %s; ask again", a.ID, ErrTooLate, a.ApproveBy.Format(time.RFC3339))
	}
	return nil
}

// CheckUse refuses the use of an act that is not fully approved, rejected,
// used, or too old.
func CheckUse(a Act, s State, now time.Time) error {
	switch {
	case s.Rejected:
		return fmt.Errorf("act %s: %w", a.ID, ErrRejected)
	case s.Used:
		return fmt.Errorf("act %s: %w", a.ID, ErrUsed)
	case s.Complete.IsZero():
		return fmt.Errorf("act %s: %w", a.ID, ErrOpen)
	case now.After(s.Complete.Add(time.Duration(a.UseWithin) * time.Second)):
		return fmt.Errorf("act %s: %w: it was to be used within %d s of its last signature; ask again", a.ID, ErrTooLate, a.UseWithin)
	}
	return nil
}

// Verify checks one signature on an act: person, verb and assertion.
func Verify(a Act, who Person, s Signature, verb Verb) error {
	switch {
	case s.Person != who.ID:
		return fmt.Errorf("act %s: signature of %s shown as that of %s", a.ID, s.Person, who.ID)
	case s.Verb != verb:
		return fmt.Errorf("act %s: the signature says %q, want %q", a.ID, s.Verb, verb)
	}
	if _, err := who.Credential.Verify(s.Assertion, a.Challenge(verb)); err != nil {
		return fmt.Errorf("act %s: person %s: %w", a.ID, who.ID, err)
	}
	return nil
}
