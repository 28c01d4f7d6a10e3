package profile

import (
	"cmp"
	"fmt"
	"slices"
)

// A Finding is one thing in a profile that breaks a rule of the standards.
type Finding struct {
	File         string // the document
	Line, Column int
	Check        string // its name, for acceptances
	Text         string
	Clause       string // what it breaks: "TS 31.102, 4.2.18"
}

// String is the finding on one line.
func (f Finding) String() string {
	return fmt.Sprintf("%s:%d:%d: %s (%s)", f.File, f.Line, f.Column, f.Text, f.Clause)
}

// A check is one rule. It reports through found, which knows the clause.
type check struct {
	name   string
	clause string
	run    func(p *Profile, found func(at pos, format string, args ...any))
}

// checks is all rules, one a file.
func checks() []check {
	return []check{
		checkAccess, checkAlgorithm, checkCode, checkCodes, checkDIR, checkEmergency, checkExtensions, checkIdentifiers, checkIdentity, checkInstances, checkISIM,
		checkLevel, checkLinked, checkMailboxes, checkMandatory, checkMNC, checkNames, checkNetworks, checkOTA, checkPhonebook, checkPrivileges, checkRemote, checkSearch,
		checkServices, checkSFI, checkSizes, checkSUCI, checkTables,
	}
}

// A Norm is a rule that profiles are judged by.
type Norm struct{ Name, Clause string }

// Norms is all rules that Check judges by.
func Norms() []Norm {
	var all []Norm
	for _, c := range checks() {
		all = append(all, Norm{c.name, c.clause})
	}
	return all
}

// Check judges the profile by every rule and returns what breaks one, in the
// order of the document, but for what the document accepts. Compile refuses a profile with findings.
func (p *Profile) Check() []Finding {
	var all []Finding
	for _, c := range checks() {
		c.run(p, func(at pos, format string, args ...any) {
			all = append(all, Finding{p.file, at.line, at.column, c.name, fmt.Sprintf(format, args...), c.clause})
		})
	}
	all = p.notAccepted(all)
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return all
}
