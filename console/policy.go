package console

import "time"

// policyPage is the policy in force, or an older version.
type policyPage struct {
	Version  int
	State    string // in-force, former or coming
	From     time.Time
	Digest   string // hexadecimal
	Words    []string
	Roles    []string
	Matrix   []ActRule
	Excludes []Pair
	Levels   []Escalation
	Versions []PolicyVersion
	Needs    []RoleNeed
	May      []Permission
	Keys     []KeyRule
	Limits   []Fact
	Periods  []Fact
	Nodal    Text
	Document string // address of the YAML
	JSON     string // address of the canonical form
	Change   string // address to ask for another; "" if the reader may not
}

func (policyPage) page() string { return "policy" }

// An ActRule is one row of the responsibility matrix: the policy's rule for a
// kind of act.
type ActRule struct {
	Kind             string
	Clause           string
	ToApprove, ToUse time.Duration
	Quorum           int // signatures that are needed, the request's not counted
	Entry            string
	Parts            []string // for each role of the page: ask, sign, both or ""
}

// A RoleNeed is what somebody must have to act in a role.
type RoleNeed struct {
	Role, Clause string
	Needs        []Text
}

// A Permission is what roles may see, or do without an act.
type Permission struct {
	Name  string
	Roles []string
}

// A KeyRule is what keys of a purpose must be.
type KeyRule struct {
	Purpose, Algorithms, Period Text
	Backup                      bool
}

// A Pair is two roles that nobody holds together.
type Pair struct{ One, Other string }

// An Escalation is who is told when an act waits too long.
type Escalation struct {
	Level int
	After time.Duration // from the request
	Roles []string
}

// A PolicyVersion is one of the policies that the site has had.
type PolicyVersion struct {
	Version int
	State   string
	From    time.Time
	By      []Who
	Href    string
	Diff    string // address of what changed to it; "" for the first
}

// policyDraftPage writes the next version down.
type policyDraftPage struct {
	Version  int
	Form     Form // field policy: YAML
	Checked  bool // what was written was looked at
	Findings []Finding
	Editor   Who // who wrote it last; nobody if there is no draft
	Words    []string
	Digest   string
	Changes  []PolicyChange // from the version in force
	Ask      string         // address to ask for its adoption; "" if there is no draft or the reader may not
}

func (policyDraftPage) page() string { return "policy-draft" }

// policyDiffPage is what changed between two versions.
type policyDiffPage struct {
	Old, New int
	Changes  []PolicyChange
	Lines    []DiffLine // of the documents
}

func (policyDiffPage) page() string { return "policy-diff" }

// A PolicyChange is one change in words.
type PolicyChange struct {
	State  string // added, removed or changed
	What   Text
	Before Text
	After  Text
}

// A DiffLine is one line of two documents.
type DiffLine struct {
	Mark string // "+", "-" or " "
	Text string
}

// Class is how the line looks.
func (l DiffLine) Class() string { return map[string]string{"+": "add", "-": "del"}[l.Mark] }
