package act

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"ankan/passkey"
)

// Employment is how a person is employed (SOP 6.4.b: a custodian must not be
// temporary staff).
type Employment string

// The kinds of employment.
const (
	Permanent Employment = "permanent"
	Contract  Employment = "contract"
	Temporary Employment = "temporary"
)

// A Person is somebody who may sign, as the rules see one: a person, not an
// account. It holds no secret.
type Person struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Roles      []string   `json:"roles"`
	Employment Employment `json:"employment,omitempty"`
	ReportsTo  string     `json:"reports_to,omitempty"`
	// Certificate is the SHA-256 of the client certificate that this person may
	// sign in with instead of a password, in hex.
	Certificate string             `json:"certificate,omitempty"`
	Credential  passkey.Credential `json:"credential"`
}

// Has says whether the person holds one of the roles.
func (p Person) Has(roles ...string) bool {
	return slices.ContainsFunc(roles, func(r string) bool { return slices.Contains(p.Roles, r) })
}

// Digest is the SHA-256 of the person's record: acts about people name it.
func (p Person) Digest() [32]byte { return digestOf(p) }

// Params are the person's record as the approvers of an act about it see it.
func (p Person) Params() map[string]string {
	return map[string]string{
		ParamPerson:     fmt.Sprintf("%x", p.Digest()),
		"name":          p.Name,
		"roles":         strings.Join(p.Roles, ", "),
		"employment":    string(p.Employment),
		"reports_to":    p.ReportsTo,
		"passkey":       hex.EncodeToString(p.Credential.ID),
		"passkey_model": p.Credential.Model,
		"certificate":   p.Certificate,
	}
}

// Related says whether one of the two reports directly to the other.
func (p Person) Related(other Person) bool {
	return p.ReportsTo != "" && p.ReportsTo == other.ID || other.ReportsTo != "" && other.ReportsTo == p.ID
}

// Whom a rule may exclude from approving, beside the requester.
const (
	ExcludeEditor = "editor" // who last edited what the act is about
	ExcludeLine   = "line"   // the direct superior and reports of requester and editor
)

// A Rule says who may ask for a kind of act, whose signatures it needs, and
// how long it may wait. The zero Rule lets nobody do anything.
type Rule struct {
	Request []string `json:"request"` // roles that may ask
	// Seats are the approvals that are needed, each by another person who
	// holds one of the seat's roles. Without seats the requester's own
	// signature is enough.
	Seats [][]string `json:"seats"`
	// Exclude says who may not approve, beside the requester; an empty list
	// takes the policy's own.
	Exclude   []string `json:"exclude,omitempty"`
	ToApprove int      `json:"to_approve"` // seconds
	ToUse     int      `json:"to_use"`     // seconds
	// Entry is the kind of log entry by which the act is done. The log holds
	// no such entry without the warrant of such an act.
	Entry  string `json:"entry"`
	Clause string `json:"clause"` // of the SOP

	// Version is the policy's, filled in by Policy.Rule.
	Version int `json:"version,omitempty"`
}

// Errors that callers branch on.
var (
	ErrNotAllowed = errors.New("not allowed")
	ErrOpen       = errors.New("not approved yet")
	ErrRejected   = errors.New("rejected")
	ErrTooLate    = errors.New("too late")
	ErrUsed       = errors.New("used already")
)

// CheckRequest refuses a request by somebody who may not ask, or with other
// clocks than the rule's.
func (r Rule) CheckRequest(a Act, by Person) error {
	switch {
	case a.Policy != r.Version:
		return fmt.Errorf("%s: %w: it was asked for under version %d of the policy, in force is %d; ask again", a.Kind, ErrNotAllowed, a.Policy, r.Version)
	case a.Requester != by.ID:
		return fmt.Errorf("%s: %w: requested in the name of %s, signed by %s", a.Kind, ErrNotAllowed, a.Requester, by.ID)
	case !by.Has(r.Request...):
		return fmt.Errorf("%s: %w: person %s is %s; it takes %s", a.Kind, ErrNotAllowed, by.ID, list(by.Roles), list(r.Request))
	case a.ApproveBy.Sub(a.At) > time.Duration(r.ToApprove)*time.Second || a.UseWithin > r.ToUse:
		return fmt.Errorf("%s: %w: the clocks are longer than the policy's %d s and %d s", a.Kind, ErrNotAllowed, r.ToApprove, r.ToUse)
	}
	return nil
}

// CheckApprover refuses an approval by the requester, by those whom the rule
// excludes, by somebody without a fitting role, or by somebody who signed
// before. Askers are the requester, then the editors.
func (r Rule) CheckApprover(a Act, askers []Person, by Person, before []Person) error {
	for i, asker := range askers {
		if err := r.checkAsker(a, asker, by, i == 0); err != nil {
			return err
		}
	}
	switch {
	case slices.ContainsFunc(before, func(p Person) bool { return p.ID == by.ID }):
		return fmt.Errorf("%s: %w: person %s has signed already; one person, one vote", a.Kind, ErrNotAllowed, by.ID)
	case len(r.Seats) == 0:
		return fmt.Errorf("%s: %w: it needs no approval", a.Kind, ErrNotAllowed)
	case r.seated(append(slices.Clone(before), by)) <= len(before):
		return fmt.Errorf("%s: %w: person %s is %s; what is still open takes %s", a.Kind, ErrNotAllowed, by.ID, list(by.Roles), r.seats())
	}
	return nil
}

func (r Rule) checkAsker(a Act, asker, by Person, requester bool) error {
	editors, what := slices.Contains(r.Exclude, ExcludeEditor), "the requester"
	if !requester {
		what = "who edited it last"
		if !editors {
			return nil
		}
	}
	switch {
	case by.ID == asker.ID && requester:
		return fmt.Errorf("%s: %w: person %s asked for it; somebody else must approve", a.Kind, ErrNotAllowed, by.ID)
	case by.ID == asker.ID:
		return fmt.Errorf("%s: %w: person %s edited it last; somebody else must approve", a.Kind, ErrNotAllowed, by.ID)
	case slices.Contains(r.Exclude, ExcludeLine) && by.Related(asker):
		return fmt.Errorf("%s: %w: person %s and %s, %s, report to one another", a.Kind, ErrNotAllowed, by.ID, asker.ID, what)
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
