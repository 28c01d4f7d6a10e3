package console

import "time"

// releasesPage is the plant's operating systems (SOP 4.iii, 5.i).
type releasesPage struct {
	Releases []ReleaseLine
	New      string // address to write one down; "" if the reader may not
}

func (releasesPage) page() string { return "releases" }

// A ReleaseLine is one operating system in a list.
type ReleaseLine struct {
	Name, Href, Vendor, Country, Image string
	State                              string
	In                                 []IntegrationLine
}

// An IntegrationLine is an operating system in one customer's profile.
type IntegrationLine struct {
	Operator, Profile, Href, State, Place string
	At                                    time.Time
	People                                []Who
}

// releasePage is one operating system: where it comes from, who made it, and
// where it stands.
type releasePage struct {
	Name, State string
	Facts       []Fact
	In          []IntegrationLine
	Life        []Step
	Register    string // address to ask for its registration; "" if it is registered, or the reader may not
	Integrate   string // address to write an integration down; likewise
}

func (releasePage) page() string { return "release" }

// releaseNewPage writes an operating system down, or with Of its integration.
type releaseNewPage struct {
	Of   string // name of the operating system that is integrated
	Href string // its page
	Form Form
}

func (releaseNewPage) page() string { return "release-new" }

// standingPage is an operating system in one customer's profile: the security
// test, who may approve, and what it was loaded with.
type standingPage struct {
	Name, Href, Operator, Profile, State string
	Facts                                []Fact
	Groups                               []CheckGroup
	Open                                 int // items without a finding
	Passed, Failed, NotApplicable        int
	Find                                 *Form // nil if the reader may not test it
	Items, Results                       []Option
	Reports                              []SuiteReport
	Tests                                []TestLine
	Seats                                [][]string // roles whose signatures an approval takes
	Testers, Makers                      []string   // who may not approve
	Asks                                 []ReleaseAct
	Loads                                []LoadLine
	Before                               []IntegrationLine
	Life                                 []Step
	Paper                                string // address of the test's record; "" before it is closed
}

func (standingPage) page() string { return "standing" }

// A CheckGroup is the items of a checklist under one heading.
type CheckGroup struct {
	Name  string // of check.*
	Items []CheckLine
}

// A CheckLine is one item with what was found.
type CheckLine struct {
	ID, Title, Hindi, Clause string
	State                    string // open, pass, fail or not-applicable
	Reason, Evidence         string
	By                       Who
	At                       time.Time
}

// A SuiteReport is what came of the conformance suite on one sample.
type SuiteReport struct {
	Chip, SHA256, Href      string
	At                      time.Time
	By                      Who
	Passed, Failed, Skipped int
	Cases                   []CaseLine
}

// A CaseLine is one case of the suite.
type CaseLine struct{ ID, Title, Clause, State, Seen string }

// A TestLine is a security test that was closed.
type TestLine struct {
	At    time.Time
	State string // pass or fail
	By    []Who
	Act   string // address
}

// A ReleaseAct is an act that the reader may ask for: at an address, or by a
// form for its reason. Main marks the one that the page is for.
type ReleaseAct struct {
	Kind, Href string
	Form       *Form
	Main       bool
}

// A LoadLine is a batch that was loaded with it.
type LoadLine struct {
	Order string
	At    time.Time
}
