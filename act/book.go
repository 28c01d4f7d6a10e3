package act

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ankan/audit"
	"ankan/passkey"
)

// The kinds of log entries that a Book reads. Their data is FoundingEntry,
// PolicyEntry, PersonEntry, SuspendEntry, LockEntry, ActEntry and UseEntry.
const (
	SiteFounded           = "site.founded"
	PolicyAdopted         = "policy.adopted"
	PersonEnrolled        = "person.enrolled"
	AdministratorEnrolled = "administrator.enrolled"
	PersonLeft            = "person.left"
	PersonSuspended       = "person.suspended"
	PersonLocked          = "person.locked"
	ActRequested          = "act.requested"
	ActApproved           = "act.approved"
	ActRejected           = "act.rejected"
	ActUsed               = "act.used"
)

// A PolicyEntry records the policy in force from there on.
type PolicyEntry struct {
	Deed
	Policy Policy `json:"policy"`
}

// A PersonEntry records a person who may sign from there on, or may no longer.
type PersonEntry struct {
	Deed
	Person Person `json:"person"`
}

// A SuspendEntry records a person who may not sign until they are enrolled
// again.
type SuspendEntry struct {
	Deed
	Person string `json:"person"` // number
}

// A LockEntry says the same without an act: the site saw a copy of the
// person's passkey, or the person asked for it. It only takes away.
type LockEntry struct {
	Person string `json:"person"` // number
	Why    string `json:"why"`
}

// The parameters by which acts name what they put into force.
const (
	ParamPolicy = "policy_sha256"
	ParamPerson = "person_sha256"
)

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

	site   string
	policy Policy
	people map[string]Person // who may sign
	away   map[string]Person // suspended or locked, until they are enrolled again
	left   map[string]bool   // for good
	acts   map[string]*record
	due    string // act that the entry before this one was done under: its use comes next
}

// A Deed is what an entry says that is done under a warrant, beside its data.
type Deed struct {
	Warrant string `json:"warrant,omitempty"` // number of the act
}

type record struct {
	act       Act
	policy    Policy // in force when it was requested
	approvers []Person
	complete  time.Time
	rejected  bool
	used      bool
}

// Apply reads one entry: its kind, what it is about, when, and its data as JSON.
// Kinds that neither it nor the policy knows are none of its business. An entry
// by which an act is done names its warrant, and is followed by its use.
func (b *Book) Apply(kind, subject string, at time.Time, data []byte) error {
	due := b.due
	if due != "" && kind != ActUsed {
		return b.End()
	}
	b.due = ""
	switch kind {
	case SiteFounded:
		return b.found(at, data)
	case PolicyAdopted, PersonEnrolled, AdministratorEnrolled, PersonLeft, PersonSuspended:
		return b.deed(bookEntries[kind], kind, subject, data)
	case PersonLocked:
		var e LockEntry
		if err := audit.Strict(data, &e); err != nil {
			return err
		}
		return b.sendAway(e.Person, subject)
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
		if e.ID != due {
			return fmt.Errorf("act %s was used and the entry before does nothing under it", e.ID)
		}
		return b.use(at, e)
	default:
		if needs := b.policy.entryOf(kind); needs != "" {
			return b.deed(needs, kind, subject, data)
		}
	}
	return nil
}

// End refuses a log that ends between an act's deed and its use.
func (b *Book) End() error {
	if b.due != "" {
		return fmt.Errorf("act %s was done and its use is not entered", b.due)
	}
	return nil
}

// deed checks that what is done is what its act asked for.
func (b *Book) deed(kind, entry, subject string, data []byte) error {
	var d Deed
	if err := json.Unmarshal(data, &d); err != nil {
		return err
	}
	r, ok := b.acts[d.Warrant]
	if !ok {
		return fmt.Errorf("it is done without the warrant of %s", kind)
	}
	if r.act.Kind != kind || r.act.Subject != subject {
		return fmt.Errorf("%s of %s is done under act %s, which is %s of %s", kind, subject, d.Warrant, r.act.Kind, r.act.Subject)
	}
	if r.act.Policy != b.policy.Version {
		return fmt.Errorf("act %s: %w: the policy has changed since it was asked for", r.act.ID, ErrTooLate)
	}
	b.due = d.Warrant
	switch entry {
	case PolicyAdopted:
		return b.adopt(r.act, data)
	case PersonEnrolled, AdministratorEnrolled, PersonLeft:
		return b.change(r.act, entry, data)
	case PersonSuspended:
		var e SuspendEntry
		if err := audit.Strict(data, &e); err != nil {
			return err
		}
		return b.sendAway(e.Person, subject)
	}
	return nil
}

// found begins the book: nothing was there before.
func (b *Book) found(at time.Time, data []byte) error {
	if b.people != nil {
		return errors.New("the site is founded twice")
	}
	var e FoundingEntry
	if err := audit.Strict(data, &e); err != nil {
		return err
	}
	if err := e.Founding.Check(at); err != nil {
		return err
	}
	a, err := Parse([]byte(e.Founding.Act))
	if err != nil {
		return err
	}
	b.Signatures += len(e.Founding.Signatures)
	b.site, b.policy = a.Site, e.Founding.Policy
	b.people, b.away, b.left = map[string]Person{}, map[string]Person{}, map[string]bool{}
	for _, who := range e.Founding.People {
		b.people[who.ID] = who
	}
	return nil
}

// adopt puts a policy into force that an act named.
func (b *Book) adopt(a Act, data []byte) error {
	var e PolicyEntry
	if err := audit.Strict(data, &e); err != nil {
		return err
	}
	if !shown(a, b.policy.NextParams(e.Policy), changeParam) {
		return fmt.Errorf("act %s adopts another policy than was approved", a.ID)
	}
	if err := b.policy.CheckNext(e.Policy, slices.Collect(maps.Values(b.people))); err != nil {
		return err
	}
	b.policy = e.Policy
	return nil
}

// shown says whether an act's parameters are what its approvers had to see,
// and none more whose name begins with more.
func shown(a Act, want map[string]string, more string) bool {
	for k, v := range want {
		if a.Params[k] != v {
			return false
		}
	}
	for k := range a.Params {
		if _, ok := want[k]; !ok && more != "" && strings.HasPrefix(k, more) {
			return false
		}
	}
	return true
}

// sendAway takes the right to sign from a person until they are enrolled again.
func (b *Book) sendAway(id, subject string) error {
	if err := checkSubject(id, subject); err != nil {
		return err
	}
	who, ok := b.people[id]
	if !ok {
		if _, ok := b.away[id]; ok {
			return nil
		}
		return fmt.Errorf("person %s is suspended or locked and is not here", id)
	}
	delete(b.people, id)
	b.away[id] = who
	return nil
}

func checkSubject(id, subject string) error {
	if subject != "person/"+id {
		return fmt.Errorf("it is about %s and changes person %s", subject, id)
	}
	return nil
}

// change takes a person in, changes or removes one, as an act said.
func (b *Book) change(a Act, entry string, data []byte) error {
	var e PersonEntry
	if err := audit.Strict(data, &e); err != nil {
		return err
	}
	id := e.Person.ID
	if err := checkSubject(id, a.Subject); err != nil {
		return err
	}
	if !shown(a, e.Person.Params(), "") {
		return fmt.Errorf("act %s is about another person's record than was approved", a.ID)
	}
	had, there := b.people[id]
	if !there {
		had, there = b.away[id]
	}
	switch {
	case b.left[id]:
		return fmt.Errorf("person %s: %w: left; a number is never given again", id, ErrNotAllowed)
	case entry == PersonLeft && !there:
		return fmt.Errorf("person %s leaves and is not here", id)
	case entry == PersonLeft:
		delete(b.people, id)
		delete(b.away, id)
		b.left[id] = true
		return nil
	}
	if entry == PersonEnrolled && (b.policy.Administers(e.Person) || there && b.policy.Administers(had)) {
		return fmt.Errorf("person %s is an administrator, and came in by %s", id, a.Kind)
	}
	next := maps.Clone(b.people)
	next[id] = e.Person
	if err := b.policy.CheckPerson(e.Person); err != nil {
		return err
	}
	if err := b.policy.CheckPeople(slices.Collect(maps.Values(next))); err != nil {
		return err
	}
	b.people = next
	delete(b.away, id)
	return nil
}

func (b *Book) sign(kind string, at time.Time, e ActEntry) error {
	who, ok := b.people[e.Signature.Person]
	if !ok {
		return fmt.Errorf("person %s is not enrolled", e.Signature.Person)
	}
	if kind == ActRequested {
		return b.request(who, at, e)
	}
	r, ok := b.acts[e.ID]
	if !ok {
		return fmt.Errorf("act %s was never requested", e.ID)
	}
	if fmt.Sprintf("%x", r.act.Digest()) != e.Digest {
		return fmt.Errorf("act %s is signed under another digest", e.ID)
	}
	verb := Approve
	if kind == ActRejected {
		verb = Reject
	}
	if _, err := Verify(r.act, who, e.Signature, verb); err != nil {
		return err
	}
	rule, err := r.policy.Rule(r.act.Kind)
	if err != nil {
		return err
	}
	if err := CheckState(r.act, r.state(), at); err != nil {
		return err
	}
	if r.act.Policy != b.policy.Version {
		return fmt.Errorf("act %s: %w: the policy has changed since it was asked for", r.act.ID, ErrTooLate)
	}
	if err := rule.CheckApprover(r.act, b.askers(r.act), who, r.approvers); err != nil {
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

// askers are the requester of an act and who edited what it is about. Somebody
// who has left is known by the number alone.
func (b *Book) askers(a Act) []Person {
	all := []Person{}
	for _, id := range append([]string{a.Requester}, a.Editors()...) {
		who, ok := b.people[id]
		if !ok {
			who = b.away[id]
		}
		who.ID = id
		all = append(all, who)
	}
	return all
}

func (b *Book) request(who Person, at time.Time, e ActEntry) error {
	a, err := Parse([]byte(e.Act))
	if err != nil {
		return err
	}
	if _, ok := b.acts[a.ID]; ok {
		return fmt.Errorf("act %s is requested twice", a.ID)
	}
	if a.ID != e.ID || fmt.Sprintf("%x", a.Digest()) != e.Digest {
		return fmt.Errorf("act %s is entered under another number or digest", a.ID)
	}
	if a.Site != b.site {
		return fmt.Errorf("act %s: %w: it is for site %q, the log is that of %q", a.ID, ErrNotAllowed, a.Site, b.site)
	}
	if err := CheckTimes(a, at); err != nil {
		return err
	}
	if _, err := Verify(a, who, e.Signature, Request); err != nil {
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

// CheckTimes refuses a request whose time is not now, or is over.
func CheckTimes(a Act, now time.Time) error {
	if now.After(a.ApproveBy) || a.At.After(now.Add(time.Minute)) {
		return fmt.Errorf("act %s: %w: its times are %s to %s, now is %s", a.ID, ErrTooLate,
			a.At.Format(time.RFC3339), a.ApproveBy.Format(time.RFC3339), now.Format(time.RFC3339))
	}
	return nil
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
func Verify(a Act, who Person, s Signature, verb Verb) (passkey.Proof, error) {
	switch {
	case s.Person != who.ID:
		return passkey.Proof{}, fmt.Errorf("act %s: signature of %s shown as that of %s", a.ID, s.Person, who.ID)
	case s.Verb != verb:
		return passkey.Proof{}, fmt.Errorf("act %s: the signature says %q, want %q", a.ID, s.Verb, verb)
	}
	proof, err := who.Credential.Verify(s.Assertion, a.Challenge(verb))
	if err != nil {
		err = fmt.Errorf("act %s: person %s: %w", a.ID, who.ID, err)
	}
	return proof, err
}
