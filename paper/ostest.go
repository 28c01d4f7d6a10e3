package paper

import (
	"fmt"
	"strings"
	"time"
)

// A SecurityTest is the record of an operating system's security test in one
// customer's profile (SOP 6.2): each item with its finding, and the conformance
// suite's cases.
type SecurityTest struct {
	Mark              // its digest is the checklist's
	OS         string // name and version
	Vendor     string
	Country    string
	Image      string // SHA-256, hex; and the next two
	Profile    string
	Report     string
	Operator   string
	ProfileOf  string // name of the profile
	Chip       string // sample
	Developers string
	Testers    []string // numbers of people
	Closed     time.Time
	Verdict    string
	Items      []TestItem
	Cases      []TestCase
	Names      Names
}

// A TestItem is one item of the checklist with what was found.
type TestItem struct{ ID, Title, Clause, Result, Reason, Evidence, Tester string }

// A TestCase is one case of the conformance suite.
type TestCase struct{ ID, Title, Clause, Result, Seen string }

// PDF prints it. It refuses a test that is not closed, or that a developer made.
func (t SecurityTest) PDF() ([]byte, error) {
	if t.Closed.IsZero() || t.Verdict == "" || len(t.Items) == 0 || len(t.Testers) == 0 {
		return nil, fmt.Errorf("security test of %s: it is not closed", t.OS)
	}
	says := "An operating system was tested by people who did not develop it, before any line loads it (SOP 5.i, 6.2)."
	return paper{mark: t.Mark, kind: "os-security-test", name: "Security test of an operating system", says: says}.print(t.draw)
}

func (t SecurityTest) draw(s *sheet) {
	s.section("Operating system")
	s.grid(fact(2, "Name and version", t.OS), fact(2, "Vendor, country", t.Vendor+", "+t.Country), fact(2, "Operator", t.Operator), fact(2, "Profile", t.ProfileOf),
		fact(4, "Image, SHA-256", t.Image), fact(4, "Profile, SHA-256", t.Profile))
	s.section("Test")
	var testers []string
	for _, n := range t.Testers {
		testers = append(testers, t.Names.of(n))
	}
	s.grid(fact(2, "Verdict", t.Verdict), fact(2, "Closed", both(t.Closed)), fact(2, "Tested by", strings.Join(testers, "; ")), fact(2, "Developed by, and not tested by", t.Developers),
		fact(4, "Report of the conformance suite, SHA-256", t.Report), fact(2, "Sample chip", t.Chip))
	s.section("Findings")
	var rows [][][]said
	for _, i := range t.Items {
		why := []said{{body, or(i.Reason)}}
		if i.Evidence != "" {
			why = append(why, said{faint, "evidence, SHA-256 " + i.Evidence})
		}
		rows = append(rows, [][]said{{{fixed, i.ID}}, {{body, i.Title}, {faint, i.Clause}}, {{strong, i.Result}, {faint, i.Tester}}, why})
	}
	s.table([]column{{"Item", 22}, {"What, and its clause", 0}, {"Result, tester", 34}, {"Reason and evidence", 52}}, rows)
	s.section("Conformance suite")
	rows = nil
	for _, c := range t.Cases {
		rows = append(rows, [][]said{{{fixed, c.ID}}, {{body, c.Title}, {faint, c.Clause}}, {{strong, c.Result}}, {{body, c.Seen}}})
	}
	s.table([]column{{"Case", 34}, {"What, and its clause", 0}, {"Result", 22}, {"Seen", 48}}, rows)
	s.section("Signed")
	s.sign(22, "Security tester", "Security officer", "Shift lead")
}
