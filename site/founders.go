package site

import (
	"fmt"
	"os"
	"slices"

	"ankan/access"
	"ankan/act"
	"ankan/document"
)

// maxFounders bounds a founding: everybody sits together and compares words.
const maxFounders = 20

// A founder as the founders' file has one.
type founder struct {
	Number    string   `yaml:"number"`
	Name      string   `yaml:"name"`
	Roles     []string `yaml:"roles"`
	ReportsTo string   `yaml:"reports_to"`
}

// LoadFounders reads the file that names who founds a site.
func LoadFounders(path string) ([]act.Person, error) {
	doc, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ParseFounders(path, doc)
}

// ParseFounders reads who founds a site: two or more people in permanent
// employment, whose records have no passkey yet. It refuses what the default
// policy would refuse of them, with its place.
func ParseFounders(name string, doc []byte) ([]act.Person, error) {
	var in struct {
		Founders []founder `yaml:"founders"`
	}
	tree, err := document.Read(name, doc, &in)
	if err != nil {
		return nil, err
	}
	fail := func(path, format string, args ...any) ([]act.Person, error) {
		line, column := tree.Place(path)
		return nil, &document.Error{File: name, Line: line, Column: column, Text: fmt.Sprintf(format, args...)}
	}
	if n := len(in.Founders); n < 2 || n > maxFounders {
		return fail("$.founders", "%d founders, want 2 to %d: nobody founds a site alone", n, maxFounders)
	}
	policy := access.DefaultPolicy()
	var people, seen []act.Person
	for i, f := range in.Founders {
		at := fmt.Sprintf("$.founders[%d]", i)
		who := act.Person{ID: f.Number, Name: f.Name, Roles: f.Roles, Employment: act.Permanent, ReportsTo: f.ReportsTo}
		if err := access.CheckNumber(who.ID); err != nil {
			return fail(at+".number", "%v", err)
		}
		if who.Name == "" || len(who.Name) > 100 {
			return fail(at, "person %s: a name of 1 to 100 bytes must be there", who.ID)
		}
		if slices.ContainsFunc(people, func(p act.Person) bool { return p.ID == who.ID }) {
			return fail(at+".number", "person %s is there twice", who.ID)
		}
		if err := policy.CheckPerson(who); err != nil {
			return fail(at, "%v", err)
		}
		people = append(people, who)
		// The check of passkeys is of those that they will make; here each is
		// known by the number.
		who.Credential.ID, who.Credential.Public = []byte(who.ID), []byte(who.ID)
		if seen = append(seen, who); policy.CheckPeople(seen) != nil {
			return fail(at, "%v", policy.CheckPeople(seen))
		}
	}
	for i, who := range people {
		if who.ReportsTo == who.ID || who.ReportsTo != "" && !slices.ContainsFunc(people, func(p act.Person) bool { return p.ID == who.ReportsTo }) {
			return fail(fmt.Sprintf("$.founders[%d].reports_to", i), "person %s reports to %q, which is no other founder", who.ID, who.ReportsTo)
		}
	}
	return people, nil
}
