package act

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"ankan/passkey"
)

// A Person is somebody who may sign, as the rules see one: a person, not an
// account. It holds no secret.
type Person struct {
	ID         string             `json:"id"`
	Name       string             `json:"name"`
	Roles      []string           `json:"roles"`
	ReportsTo  string             `json:"reports_to,omitempty"`
	Credential passkey.Credential `json:"credential"`
}

// Has says whether the person holds one of the roles.
func (p Person) Has(roles ...string) bool {
	return slices.ContainsFunc(roles, func(r string) bool { return slices.Contains(p.Roles, r) })
}

// A Rule says who may ask for a kind of act, whose signatures it needs, and
// how long it may wait. The zero Rule lets nobody do anything.
type Rule struct {
	Request []string `json:"request" yaml:"request"` // roles that may ask
	// Seats are the approvals that are needed, each by another person who
	// holds one of the seat's roles. Without seats the requester's own
	// signature is enough.
	Seats     [][]string `json:"seats" yaml:"seats"`
	ToApprove int        `json:"to_approve" yaml:"to_approve"` // seconds
	ToUse     int        `json:"to_use" yaml:"to_use"`         // seconds
	// Entry is the kind of log entry by which the act is done. The log holds
	// no such entry without the warrant of such an act.
	Entry  string `json:"entry" yaml:"entry"`
	Clause string `json:"clause" yaml:"clause"` // of the SOP
}

// A Policy is the document in force: roles, roles that exclude each other, and
// a rule for each kind of act. What it does not name is refused.
type Policy struct {
	Version   int             `json:"version" yaml:"version"`
	Roles     []string        `json:"roles" yaml:"roles"`
	Conflicts [][2]string     `json:"conflicts" yaml:"conflicts"`
	Acts      map[string]Rule `json:"acts" yaml:"acts"`
}

// Errors that callers branch on.
var (
	ErrNotAllowed = errors.New("not allowed")
	ErrOpen       = errors.New("not approved yet")
	ErrRejected   = errors.New("rejected")
	ErrTooLate    = errors.New("too late")
	ErrUsed       = errors.New("used already")
)

// Check refuses a policy that contradicts itself.
func (p Policy) Check() error {
	if p.Version < 1 {
		return errors.New("policy: version must be 1 or more")
	}
	known := func(where string, roles []string) error {
		for _, r := range roles {
			if !slices.Contains(p.Roles, r) {
				return fmt.Errorf("policy: %s names role %q, which is not in roles", where, r)
			}
		}
		return nil
	}
	for _, c := range p.Conflicts {
		if err := known("conflicts", c[:]); err != nil {
			return err
		}
		if c[0] == c[1] {
			return fmt.Errorf("policy: role %q conflicts with itself", c[0])
		}
	}
	const most = 366 * 24 * 3600 // seconds: no clock runs longer
	entries := map[string]string{}
	for kind, r := range p.Acts {
		if len(r.Request) == 0 || r.ToApprove <= 0 || r.ToUse <= 0 || r.Entry == "" {
			return fmt.Errorf("policy: act %q needs request, to_approve, to_use and entry", kind)
		}
		if r.ToApprove > most || r.ToUse > most {
			return fmt.Errorf("policy: act %q has a clock of more than a year", kind)
		}
		if other := entries[r.Entry]; other != "" {
			return fmt.Errorf("policy: acts %q and %q have the same entry %q", other, kind, r.Entry)
		}
		entries[r.Entry] = kind
		if err := known("act "+kind, r.Request); err != nil {
			return err
		}
		for _, s := range r.Seats {
			if len(s) == 0 {
				return fmt.Errorf("policy: act %q has a seat that nobody can take", kind)
			}
			if err := known("act "+kind, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// CheckPerson refuses a person whose roles are unknown or exclude each other.
func (p Policy) CheckPerson(who Person) error {
	if who.ID == "" || len(who.Roles) == 0 {
		return errors.New("a person needs an id and a role")
	}
	for _, r := range who.Roles {
		if !slices.Contains(p.Roles, r) {
			return fmt.Errorf("person %s: role %q is not in the policy; it has %s", who.ID, r, strings.Join(p.Roles, ", "))
		}
	}
	for _, c := range p.Conflicts {
		if who.Has(c[0]) && who.Has(c[1]) {
			return fmt.Errorf("person %s: %w: %s and %s exclude each other", who.ID, ErrNotAllowed, c[0], c[1])
		}
	}
	return nil
}

// Rule is the rule for a kind of act; ErrNotAllowed if the policy has none.
func (p Policy) Rule(kind string) (Rule, error) {
	r, ok := p.Acts[kind]
	if !ok {
		return Rule{}, fmt.Errorf("%s: %w: the policy has no such act", kind, ErrNotAllowed)
	}
	return r, nil
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

// CheckRequest refuses a request by somebody who may not ask, or with other
// clocks than the rule's.
func (r Rule) CheckRequest(a Act, by Person) error {
	switch {
	case a.Requester != by.ID:
		return fmt.Errorf("%s: %w: requested in the name of %s, signed by %s", a.Kind, ErrNotAllowed, a.Requester, by.ID)
	case !by.Has(r.Request...):
		return fmt.Errorf("%s: %w: person %s is %s; it takes %s", a.Kind, ErrNotAllowed, by.ID, list(by.Roles), list(r.Request))
	case a.ApproveBy.Sub(a.At) > time.Duration(r.ToApprove)*time.Second || a.UseWithin > r.ToUse:
		return fmt.Errorf("%s: %w: the clocks are longer than the policy's %d s and %d s", a.Kind, ErrNotAllowed, r.ToApprove, r.ToUse)
	}
	return nil
}

// CheckApprover refuses an approval by the requester, by the requester's
// direct superior or report, by somebody without a fitting role, or by
// somebody who signed before.
func (r Rule) CheckApprover(a Act, requester, by Person, before []Person) error {
	switch {
	case by.ID == requester.ID:
		return fmt.Errorf("%s: %w: person %s asked for it; somebody else must approve", a.Kind, ErrNotAllowed, by.ID)
	case by.ReportsTo == requester.ID || requester.ReportsTo == by.ID:
		return fmt.Errorf("%s: %w: person %s and the requester %s report to one another", a.Kind, ErrNotAllowed, by.ID, requester.ID)
	case slices.ContainsFunc(before, func(p Person) bool { return p.ID == by.ID }):
		return fmt.Errorf("%s: %w: person %s has signed already; one person, one vote", a.Kind, ErrNotAllowed, by.ID)
	case len(r.Seats) == 0:
		return fmt.Errorf("%s: %w: it needs no approval", a.Kind, ErrNotAllowed)
	case r.seated(append(slices.Clone(before), by)) <= len(before):
		return fmt.Errorf("%s: %w: person %s is %s; what is still open takes %s", a.Kind, ErrNotAllowed, by.ID, list(by.Roles), r.seats())
	}
	return nil
}

// Complete says whether these approvers fill all seats.
func (r Rule) Complete(approvers []Person) bool { return r.seated(approvers) == len(r.Seats) }

// seated is the largest number of seats that the people can take, one each.
// Seats are few: it tries all ways.
func (r Rule) seated(people []Person) int {
	var try func(seat int, taken []string) int
	try = func(seat int, taken []string) int {
		if seat == len(r.Seats) {
			return 0
		}
		best := try(seat+1, taken)
		for _, p := range people {
			if p.Has(r.Seats[seat]...) && !slices.Contains(taken, p.ID) {
				best = max(best, 1+try(seat+1, append(slices.Clone(taken), p.ID)))
			}
		}
		return best
	}
	return try(0, nil)
}

func (r Rule) seats() string {
	var s []string
	for _, seat := range r.Seats {
		s = append(s, strings.Join(seat, " or "))
	}
	return strings.Join(s, "; ")
}

func list(roles []string) string {
	roles = slices.Clone(roles)
	sort.Strings(roles)
	return strings.Join(roles, ", ")
}
