package console

// profilesPage is the electrical profiles of the site and of the program.
type profilesPage struct {
	Profiles []ProfileLine
	Form     Form // to compare two: a and b
	A, B     []Option
}

func (profilesPage) page() string { return "profiles" }

// A ProfileLine is a profile in a list.
type ProfileLine struct {
	Name, Version, Href string
	Description         string
	Operator            string // with its network
	Files               int    // elementary ones
	Findings            int
	Source              Text // of the site, or of the program
}

// profilePage is one profile: what its cards hold, and how they are made.
type profilePage struct {
	Profile  ProfileLine
	Digest   string // hexadecimal
	Facts    []Fact
	Codes    []ProfileCode
	Rules    []ProfileRule
	Findings []ProfileFinding
	Norms    []ProfileNorm // that it was judged by
	Script   []Fact        // of the writing; none if there are findings
	Unread   []ProfileUnread
	Root     ProfileFile
}

func (profilePage) page() string { return "profile" }

// A ProfileCode is a PIN or an administrative code.
type ProfileCode struct {
	Name, Reference string
	Enabled         bool
	Digits, Tries   int
	Unblock         int // tries of the code that unblocks it; 0: there is none
}

// A ProfileRule is a rule of access as its document names it.
type ProfileRule struct {
	Name    string
	Allowed []string
}

// A ProfileFinding is what breaks a rule of the standards, and where.
type ProfileFinding struct{ Place, Text, Clause string }

// A ProfileNorm is a rule that profiles are judged by.
type ProfileNorm struct{ Name, Clause string }

// A ProfileUnread is a file that a finished card does not show, and why.
type ProfileUnread struct{ File, Reason string }

// A ProfileFile is a file of the tree.
type ProfileFile struct {
	Name, ID, SFI, AID string
	Kind, Length       string
	Rule               string
	Link               string // path of the file that it is one with
	Allowed            []string
	Service            string // what has it be there: EF.UST 124
	Clause             string
	Content            []string
	Unused             int // records behind the content
	Open               bool
	Files              []ProfileFile
	Directory          bool
}

// profileDiffPage is in what one profile differs from another.
type profileDiffPage struct {
	A, B    ProfileLine
	Changes []ProfileChange
}

func (profileDiffPage) page() string { return "profile-diff" }

// A ProfileChange is one thing in which two profiles differ. State is added,
// removed or changed.
type ProfileChange struct{ State, Path, What, Before, After string }
