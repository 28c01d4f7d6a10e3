package release

import (
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"ankan/conformance"
	"ankan/document"
)

// An Item is one requirement of the security test, in the manner of the Indian
// Telecom Security Assurance Requirements (SOP 6.2). The items are our own, each
// with the clause that it comes from.
type Item struct {
	ID     string   `json:"id" yaml:"id"`
	Title  string   `json:"title" yaml:"title"`
	Hindi  string   `json:"hindi" yaml:"hindi"`
	Clause string   `json:"clause" yaml:"clause"`
	Cases  []string `json:"cases,omitempty" yaml:"cases"` // of the conformance suite, which show it
}

// Group is what the item is about: the word before its number.
func (i Item) Group() string {
	group, _, _ := strings.Cut(i.ID, "-")
	return group
}

//go:embed checklist.yaml
var checklistText []byte

var itemID = regexp.MustCompile(`^[a-z]+-[1-9][0-9]?$`)

// Checklist is all items, in their order.
func Checklist() []Item {
	all, err := parseChecklist("checklist.yaml", checklistText)
	if err != nil {
		panic("release: " + err.Error()) // it is part of the program, and a test reads it
	}
	return all
}

func parseChecklist(name string, doc []byte) ([]Item, error) {
	var v struct {
		Items []Item `yaml:"items"`
	}
	if _, err := document.Read(name, doc, &v); err != nil {
		return nil, err
	}
	for i, it := range v.Items {
		for _, f := range []string{it.Title, it.Hindi, it.Clause} {
			if err := checkText(name+": item "+it.ID, f, 500); err != nil {
				return nil, err
			}
		}
		if !itemID.MatchString(it.ID) || slices.ContainsFunc(v.Items[:i], func(o Item) bool { return o.ID == it.ID }) {
			return nil, fmt.Errorf("%s: item %q is there twice, or not letters, - and a number", name, it.ID)
		}
		for _, c := range it.Cases {
			if !slices.Contains(conformance.IDs(), c) {
				return nil, fmt.Errorf("%s: item %s: the suite has no case %q", name, it.ID, c)
			}
		}
	}
	if len(v.Items) == 0 {
		return nil, fmt.Errorf("%s: no items", name)
	}
	return v.Items, nil
}

// The results of an item.
const (
	Pass          = "pass"
	Fail          = "fail"
	NotApplicable = "not applicable" // with the reason
)

// Results are all results.
func Results() []string { return []string{Pass, Fail, NotApplicable} }

// A Finding is what a tester found of one item.
type Finding struct {
	Item     string    `json:"item"`
	Result   string    `json:"result"`
	Reason   string    `json:"reason,omitempty"`   // of a fail or not applicable; else a remark
	Evidence string    `json:"evidence,omitempty"` // SHA-256 of what shows it, hex
	Tester   string    `json:"tester,omitempty"`   // number; the site fills it in
	At       time.Time `json:"at,omitzero"`        // likewise
}

// Check refuses a finding that says nothing.
func (f Finding) Check() error {
	if !slices.ContainsFunc(Checklist(), func(i Item) bool { return i.ID == f.Item }) {
		return fmt.Errorf("item %.40q is not on the checklist; see: ankan release checklist", f.Item)
	}
	if !slices.Contains(Results(), f.Result) {
		return fmt.Errorf("item %s: the result is %.40q, want pass, fail or not applicable", f.Item, f.Result)
	}
	if f.Reason != "" || f.Result != Pass {
		if err := checkText("item "+f.Item+": the reason", f.Reason, 500); err != nil {
			return err
		}
	}
	if b, err := hex.DecodeString(f.Evidence); f.Result != NotApplicable && (err != nil || len(b) != 32) {
		return fmt.Errorf("item %s: the evidence is %.80q, want the SHA-256 of what shows it, 64 hexadecimal digits", f.Item, f.Evidence)
	} else if f.Evidence != "" && (err != nil || len(b) != 32) {
		return fmt.Errorf("item %s: the evidence is %.80q, want nothing or 64 hexadecimal digits", f.Item, f.Evidence)
	}
	return nil
}

// An Attached is a report of the conformance suite as the register holds it.
type Attached struct {
	Report conformance.Report `json:"report"`
	SHA256 string             `json:"sha256"` // of the signed document
	Tester string             `json:"tester"`
	At     time.Time          `json:"at"`
}

// found is the findings that a report makes: an item passes if all of its cases
// do, and fails if one does. What the suite could not try it leaves to people.
func (a Attached) found() []Finding {
	result := map[string]string{}
	for _, c := range a.Report.Cases {
		result[c.ID] = c.Result
	}
	var all []Finding
	for _, it := range Checklist() {
		if len(it.Cases) == 0 {
			continue
		}
		f := Finding{Item: it.ID, Result: Pass, Evidence: a.SHA256, Tester: a.Tester, At: a.At}
		for _, id := range it.Cases {
			switch result[id] {
			case conformance.Pass:
			case conformance.Fail:
				f.Result, f.Reason = Fail, "case "+id+" of the conformance suite fails"
			default:
				if f.Result == Pass {
					f.Result = ""
				}
			}
		}
		if f.Result != "" {
			all = append(all, f)
		}
	}
	return all
}

// A Test is a security test that was closed: each item with its finding, and
// the report of the suite.
type Test struct {
	Verdict  string    `json:"verdict"` // pass, or fail if one item fails
	Findings []Finding `json:"findings"`
	Report   string    `json:"report_sha256"`
	Testers  []string  `json:"testers"` // by number
	At       time.Time `json:"at,omitzero"`
	Act      string    `json:"act,omitempty"`
}

// count is how many findings have a result.
func (t Test) count(result string) int {
	n := 0
	for _, f := range t.Findings {
		if f.Result == result {
			n++
		}
	}
	return n
}

func jsonOf(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("release: " + err.Error()) // strings, numbers, times and lists of these
	}
	return b
}
