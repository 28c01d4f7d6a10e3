package act

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Policy is the document in force (SOP 6.a, 6.b): who may see and ask for
// what, which roles exclude each other, what a role takes, how many must sign,
// and how long everything lasts. What it does not name is refused. Old
// versions stay readable.
type Policy struct {
	Version   int         `json:"version"`
	Roles     []string    `json:"roles"`
	Conflicts [][2]string `json:"conflicts"`
	// Administrators are roles whose holders come in only by the act
	// administrator.enrol, of which everybody is told.
	Administrators []string `json:"administrators"`
	// Sole are roles that one person holds at a time (SOP 6.3.2.iii).
	Sole []string `json:"sole"`
	// Nodal is "either" or "both": whether one of nodal officer and alternate is
	// enough for what is theirs.
	Nodal string `json:"nodal"`
	// Exclude says who may not approve, beside the requester, where a rule says
	// nothing else. Nothing said is both; "none" is neither.
	Exclude      []string               `json:"exclude"`
	Requirements map[string]Requirement `json:"requirements"` // by role
	// Permissions are what may be seen, and what may be done that is no act, by
	// the roles that may. The role "socket" stands for whoever may open the
	// site's control socket.
	Permissions map[string][]string `json:"permissions"`
	Acts        map[string]Rule     `json:"acts"`
	Keys        map[string]KeyRule  `json:"keys"` // by purpose
	Limits      Limits              `json:"limits"`
	Periods     Periods             `json:"periods"`
	Escalation  []Level             `json:"escalation"`
}

// Socket is the role of whoever may open the site's control socket.
const Socket = "socket"

// The two ways in which nodal officer and alternate share their duty.
const (
	NodalEither = "either"
	NodalBoth   = "both"
)

// A Requirement is what somebody must have to act in a role (SOP 6.4.b).
type Requirement struct {
	Employment []Employment `json:"employment,omitempty" yaml:"employment"` // one of these
	Training   string       `json:"training,omitempty" yaml:"training"`     // a course, in date
	Statement  string       `json:"statement,omitempty" yaml:"statement"`   // a statement, signed and in date
	Clause     string       `json:"clause,omitempty" yaml:"clause"`
}

// A KeyRule is what keys of a purpose must be (SOP 6.4.e.i).
type KeyRule struct {
	Algorithms   []string `json:"algorithms"`
	Cryptoperiod int      `json:"cryptoperiod"`     // days from activation; 0: as long as what it is for
	Backup       bool     `json:"backup,omitempty"` // a key without a backup is a finding (SOP 6.4.e.vi)
}

// Limits are times in seconds, and counts, of signing in and ceremonies.
type Limits struct {
	SessionIdle    int `json:"session_idle"`
	SessionLength  int `json:"session_length"`
	Challenge      int `json:"challenge"`       // to use a passkey
	ComponentEntry int `json:"component_entry"` // to enter one component
	EnrolmentCode  int `json:"enrolment_code"`
	BreakGlass     int `json:"break_glass"` // the longest that it stays open
	Tries          int `json:"tries"`       // wrong passwords from one place, then it waits
	TryWindow      int `json:"try_window"`
	Password       int `json:"password"` // characters, at least
}

// Periods are times in days.
type Periods struct {
	Inventory int `json:"inventory"` // of what a custodian holds (SOP 6.3.2.q)
	Training  int `json:"training"`
	Statement int `json:"statement"`
	Receipt   int `json:"receipt"` // for a key transfer form to come back
	Rehearsal int `json:"rehearsal"`
}

// A Level says who is told when nobody acted for so long (SOP 6.b).
type Level struct {
	After int      `json:"after"` // minutes
	Roles []string `json:"roles"`
}

// Digest is the SHA-256 of Canonical: the act that adopts the policy names it.
func (p Policy) Digest() [32]byte { return digestOf(p) }

// Canonical is the policy as JSON, in the one form that is hashed.
func (p Policy) Canonical() []byte { return encode(p) }

func digestOf(v any) [32]byte { return sha256.Sum256(encode(v)) }

// encode is v as JSON without white space, and < as itself.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil { // strings, numbers, times, lists and maps of these
		panic("act: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Entries that only acts of one kind make: a Book draws its conclusions from
// them.
var bookEntries = map[string]string{
	PolicyAdopted:         "policy.adopt",
	PersonEnrolled:        "person.enrol",
	AdministratorEnrolled: "administrator.enrol",
	PersonLeft:            "person.leave",
	PersonSuspended:       "person.suspend",
}

// Entries that no act makes.
var ownEntries = []string{SiteFounded, PersonLocked, ActRequested, ActApproved, ActRejected, ActUsed}

// Check refuses a policy that contradicts itself.
func (p Policy) Check() error {
	if p.Version < 1 {
		return errors.New("policy: version must be 1 or more")
	}
	if p.Nodal != "" && p.Nodal != NodalEither && p.Nodal != NodalBoth {
		return fmt.Errorf("policy: nodal is %q, want %q or %q", p.Nodal, NodalEither, NodalBoth)
	}
	for _, check := range []func() error{p.checkRoles, p.checkActs, p.checkLimits} {
		if err := check(); err != nil {
			return err
		}
	}
	return checkExclude("exclude", p.Exclude)
}

func (p Policy) checkRoles() error {
	for i, r := range p.Roles {
		if r == "" || r == Socket || slices.Contains(p.Roles[:i], r) {
			return fmt.Errorf("policy: role %q is there twice, empty, or reserved", r)
		}
	}
	lists := map[string][]string{"administrators": p.Administrators, "sole": p.Sole}
	for role := range p.Requirements {
		lists["requirements of "+role] = []string{role}
	}
	for i, l := range p.Escalation {
		lists[fmt.Sprintf("escalation level %d", i+1)] = l.Roles
		if l.After < 0 || i > 0 && l.After <= p.Escalation[i-1].After {
			return fmt.Errorf("policy: escalation level %d is after %d minutes, want more than the level before it", i+1, l.After)
		}
	}
	for _, c := range p.Conflicts {
		if err := p.known("conflicts", c[:]); err != nil {
			return err
		}
		if c[0] == c[1] {
			return fmt.Errorf("policy: role %q conflicts with itself", c[0])
		}
	}
	for name, roles := range p.Permissions {
		lists["permission "+name] = slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return r == Socket })
	}
	for _, where := range slices.Sorted(maps.Keys(lists)) {
		if err := p.known(where, lists[where]); err != nil {
			return err
		}
	}
	for role, r := range p.Requirements {
		for _, e := range r.Employment {
			if e != Permanent && e != Contract && e != Temporary {
				return fmt.Errorf("policy: requirements of %s name employment %q, want %s, %s or %s", role, e, Permanent, Contract, Temporary)
			}
		}
	}
	return nil
}

func (p Policy) known(where string, roles []string) error {
	for _, r := range roles {
		if !slices.Contains(p.Roles, r) {
			return fmt.Errorf("policy: %s names role %q, which is not in roles", where, r)
		}
	}
	return nil
}

func checkExclude(where string, list []string) error {
	for _, x := range list {
		if x != ExcludeEditor && x != ExcludeLine && (x != excludeNone || len(list) > 1) {
			return fmt.Errorf("policy: %s names %q, want %s, %s, or %s alone", where, x, ExcludeEditor, ExcludeLine, excludeNone)
		}
	}
	return nil
}

const excludeNone = "none"

func (p Policy) checkActs() error {
	const most = 366 * 24 * 3600 // seconds: no clock runs longer
	entries := map[string]string{}
	for _, kind := range slices.Sorted(maps.Keys(p.Acts)) {
		r := p.Acts[kind]
		if len(r.Request) == 0 || r.ToApprove <= 0 || r.ToUse <= 0 || r.Entry == "" {
			return fmt.Errorf("policy: act %q needs request, to_approve, to_use and entry", kind)
		}
		if r.ToApprove > most || r.ToUse > most {
			return fmt.Errorf("policy: act %q has a clock of more than a year", kind)
		}
		if other := entries[r.Entry]; other != "" {
			return fmt.Errorf("policy: acts %q and %q have the same entry %q", other, kind, r.Entry)
		}
		if own := bookEntries[r.Entry]; own != "" && own != kind {
			return fmt.Errorf("policy: act %q has the entry %q, which is that of %q", kind, r.Entry, own)
		}
		if slices.Contains(ownEntries, r.Entry) {
			return fmt.Errorf("policy: act %q has the entry %q, which no act makes", kind, r.Entry)
		}
		entries[r.Entry] = kind
		if r.Version != 0 {
			return fmt.Errorf("policy: act %q has a version of its own", kind)
		}
		if err := checkExclude("act "+kind, r.Exclude); err != nil {
			return err
		}
		for i, s := range append([][]string{r.Request}, r.Seats...) {
			if len(s) == 0 {
				return fmt.Errorf("policy: act %q has seat %d that nobody can take", kind, i)
			}
			if err := p.known("act "+kind, s); err != nil {
				return err
			}
		}
	}
	for _, entry := range slices.Sorted(maps.Keys(bookEntries)) {
		if r, ok := p.Acts[bookEntries[entry]]; ok && r.Entry != entry {
			return fmt.Errorf("policy: act %q has the entry %q, want %q", bookEntries[entry], r.Entry, entry)
		}
	}
	return nil
}

func (p Policy) checkLimits() error {
	for purpose, k := range p.Keys {
		if len(k.Algorithms) == 0 || k.Cryptoperiod < 0 {
			return fmt.Errorf("policy: keys for %q need algorithms and a cryptoperiod of 0 or more days", purpose)
		}
	}
	l, d := p.Limits, p.Periods
	for _, n := range []int{l.SessionIdle, l.SessionLength, l.Challenge, l.ComponentEntry, l.EnrolmentCode, l.BreakGlass, l.Tries, l.TryWindow, l.Password,
		d.Inventory, d.Training, d.Statement, d.Receipt, d.Rehearsal} {
		if n < 0 {
			return fmt.Errorf("policy: a limit or period is %d, want 0 or more", n)
		}
	}
	return nil
}

// CheckPerson refuses a person whose roles are unknown or exclude each other.
func (p Policy) CheckPerson(who Person) error {
	if who.ID == "" || len(who.Roles) == 0 {
		return errors.New("a person needs an id and a role")
	}
	for i, r := range who.Roles {
		if !slices.Contains(p.Roles, r) {
			return fmt.Errorf("person %s: role %q is not in the policy; it has %s", who.ID, r, strings.Join(p.Roles, ", "))
		}
		if slices.Contains(who.Roles[:i], r) {
			return fmt.Errorf("person %s: role %q is there twice", who.ID, r)
		}
	}
	for _, c := range p.Conflicts {
		if who.Has(c[0]) && who.Has(c[1]) {
			return fmt.Errorf("person %s: %w: %s and %s exclude each other", who.ID, ErrNotAllowed, c[0], c[1])
		}
	}
	for _, role := range who.Roles {
		if r := p.Requirements[role]; len(r.Employment) > 0 && !slices.Contains(r.Employment, who.Employment) {
			return fmt.Errorf("person %s: %w: %s takes employment %s, theirs is %q (SOP %s)", who.ID, ErrNotAllowed, role, r.Employment[0], who.Employment, r.Clause)
		}
	}
	return nil
}

// CheckPeople refuses a directory in which a sole role has two holders, or two
// people share a passkey.
func (p Policy) CheckPeople(people []Person) error {
	holder, key := map[string]string{}, map[string]string{}
	for _, who := range people {
		for _, role := range p.Sole {
			if !who.Has(role) {
				continue
			}
			if other := holder[role]; other != "" {
				return fmt.Errorf("person %s: %w: %s is %s, and one person at a time holds that role (SOP 6.3.2.iii); have them leave it first", who.ID, ErrNotAllowed, other, role)
			}
			holder[role] = who.ID
		}
		for _, one := range []string{"id " + string(who.Credential.ID), "key " + string(who.Credential.Public)} {
			if other := key[one]; other != "" {
				return fmt.Errorf("person %s: %w: the passkey is that of %s", who.ID, ErrNotAllowed, other)
			}
			key[one] = who.ID
		}
	}
	return nil
}

// Administers says whether a person holds a role of administrators.
func (p Policy) Administers(who Person) bool { return who.Has(p.Administrators...) }

// May says whether a person has a permission.
func (p Policy) May(who Person, permission string) bool { return who.Has(p.Permissions[permission]...) }

// SocketMay says whether whoever may open the control socket has a permission.
func (p Policy) SocketMay(permission string) bool {
	return slices.Contains(p.Permissions[permission], Socket)
}

// Rule is the rule for a kind of act; ErrNotAllowed if the policy has none.
func (p Policy) Rule(kind string) (Rule, error) {
	r, ok := p.Acts[kind]
	if !ok {
		return Rule{}, fmt.Errorf("%s: %w: the policy has no such act; ankan policy builtin prints those of the program", kind, ErrNotAllowed)
	}
	r.Version = p.Version
	if len(r.Exclude) == 0 {
		r.Exclude = p.Exclude
	}
	if len(r.Exclude) == 0 {
		r.Exclude = []string{ExcludeEditor, ExcludeLine}
	}
	if p.Nodal == NodalBoth && isNodal(r.Request) {
		r.Seats = append([][]string{{Nodal, Alternate}}, r.Seats...)
	}
	return r, nil
}

// The roles of those who receive and store an operator's keys (SOP 6.3.2.iii).
const (
	Nodal     = "nodal-officer"
	Alternate = "alternate-nodal-officer"
)

func isNodal(roles []string) bool {
	return !slices.ContainsFunc(roles, func(r string) bool { return r != Nodal && r != Alternate })
}

// entryOf is the kind of act that an entry of this kind takes; "" for an entry
// that takes none.
func (p Policy) entryOf(entry string) string {
	for kind, r := range p.Acts {
		if r.Entry == entry {
			return kind
		}
	}
	return ""
}

// A Record says that somebody was trained, or signed a statement.
type Record struct {
	Person string    `json:"person"`
	What   string    `json:"what"` // the course, or the statement with its version
	At     time.Time `json:"at"`
	Until  time.Time `json:"until"` // when it ends
}

// Fit refuses a person who lacks what a role takes: a fitting employment, a
// training in date, a statement in date.
func (p Policy) Fit(who Person, role string, training, statements []Record, now time.Time) error {
	if !who.Has(role) {
		return fmt.Errorf("person %s: %w: is %s, not %s", who.ID, ErrNotAllowed, list(who.Roles), role)
	}
	if err := p.CheckPerson(who); err != nil {
		return err
	}
	r := p.Requirements[role]
	if r.Training != "" && !inDate(training, who.ID, r.Training, now) {
		return fmt.Errorf("person %s: %w: %s takes the training %q, and none is in date (SOP %s); record it: training.record", who.ID, ErrNotAllowed, role, r.Training, r.Clause)
	}
	if r.Statement != "" && !inDate(statements, who.ID, r.Statement, now) {
		return fmt.Errorf("person %s: %w: %s takes the signed statement %q, and none is in date (SOP %s); sign it: statement.sign", who.ID, ErrNotAllowed, role, r.Statement, r.Clause)
	}
	return nil
}

func inDate(all []Record, person, what string, now time.Time) bool {
	return slices.ContainsFunc(all, func(r Record) bool {
		return r.Person == person && r.What == what && !now.Before(r.At) && now.Before(r.Until)
	})
}

// CheckNext refuses a policy that cannot follow p: of another version than the
// next, or one under which the people who are there could not be.
func (p Policy) CheckNext(next Policy, people []Person) error {
	if err := next.Check(); err != nil {
		return err
	}
	if next.Version != p.Version+1 {
		return fmt.Errorf("policy: version is %d, want %d, the next", next.Version, p.Version+1)
	}
	for _, who := range people {
		if err := next.CheckPerson(who); err != nil {
			return fmt.Errorf("policy: %w", err)
		}
	}
	for _, entry := range slices.Sorted(maps.Keys(bookEntries)) {
		if _, ok := next.Acts[bookEntries[entry]]; !ok {
			return fmt.Errorf("policy: it has no act %q (entry %q): nobody could change people or policy any more", bookEntries[entry], entry)
		}
	}
	return next.CheckPeople(people)
}

// NextParams are what the approvers of next see when it is to follow p: its
// digest, and each change.
func (p Policy) NextParams(next Policy) map[string]string {
	m := map[string]string{ParamPolicy: fmt.Sprintf("%x", next.Digest()), "version": fmt.Sprint(next.Version)}
	for i, line := range p.Diff(next) {
		m[fmt.Sprintf(changeParam+"%03d", i+1)] = line
	}
	return m
}

const changeParam = "change_"

// A Change is one value that is other in a later policy. Before or After is ""
// where there was none, or is none any more.
type Change struct{ Path, Before, After string }

// String is the change in a line.
func (c Change) String() string {
	switch {
	case c.After == "":
		return c.Path + ": was " + c.Before + ", is gone"
	case c.Before == "":
		return c.Path + ": is new, " + c.After
	}
	return c.Path + ": was " + c.Before + ", is " + c.After
}

// Changes says what is other in next than in p, in the order of its lines.
func (p Policy) Changes(next Policy) []Change {
	before, after := p.flat(), next.flat()
	var all []Change
	for path, v := range before {
		if w := after[path]; v != w {
			all = append(all, Change{path, v, w})
		}
	}
	for path, w := range after {
		if _, ok := before[path]; !ok {
			all = append(all, Change{path, "", w})
		}
	}
	slices.SortFunc(all, func(a, b Change) int { return strings.Compare(a.String(), b.String()) })
	return all
}

// Diff is Changes in lines: paths with the old and the new value.
func (p Policy) Diff(next Policy) []string {
	var lines []string
	for _, c := range p.Changes(next) {
		lines = append(lines, c.String())
	}
	return lines
}

// flat is a policy as paths and values. Lists of names are one value.
func (p Policy) flat() map[string]string {
	var tree any
	if err := json.Unmarshal(encode(p), &tree); err != nil {
		panic("act: " + err.Error()) // it was encoded a moment ago
	}
	m := map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		if o, ok := v.(map[string]any); ok {
			for k, w := range o {
				walk(strings.TrimPrefix(path+" / "+k, " / "), w)
			}
			return
		}
		m[path] = string(encode(v))
	}
	walk("", tree)
	return m
}
