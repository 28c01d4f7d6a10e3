package console

import "time"

// ceremoniesPage is the ceremonies that were, are and will be.
type ceremoniesPage struct {
	Form       Form
	States     []Option
	Ceremonies []CeremonyLine
	Pager      Pager
	New        string
}

func (ceremoniesPage) page() string { return "ceremonies" }

// A CeremonyLine is a ceremony in a list.
type CeremonyLine struct {
	Number, Title, Href string
	State               string // planned, ready, running, paused, done or aborted
	At                  time.Time
	Step, Steps         int
	People              []Seat // who takes part
	Key                 string
	Deviations          int
	Transcript          string // address, once it is over
}

// ceremonyNewPage checks a plan and asks for it.
type ceremonyNewPage struct {
	Form     Form // field plan: YAML
	Checked  bool // the plan was looked at
	Findings []Finding
	Title    string
	Words    []string
	Digest   string
	Steps    []ScriptStep
	People   []Seat
	Ask      *Form // to ask for it; nil while there are errors
}

func (ceremonyNewPage) page() string { return "ceremony-new" }

// Errors counts the findings that stop a plan.
func (p ceremonyNewPage) Errors() int {
	n := 0
	for _, f := range p.Findings {
		if f.State == "error" {
			n++
		}
	}
	return n
}

// A Finding is what the check of a plan found, and where.
type Finding struct {
	State        string // error, warning or advice
	Line, Column int    // from 1; 0 if it is about the whole
	Text         Text
	Clause       string
}

// A ScriptStep is one step of a ceremony's script.
type ScriptStep struct {
	N     int
	Title Text
	State string // done, now or todo
	At    time.Time
	By    Who // who does it
	Grave bool
}

// ceremonyPage is the runner: one person's own device in the room.
type ceremonyPage struct {
	Number, Title, Site string
	State               string // running or paused
	Present             []Presence
	PresentNote         Text
	Steps               []ScriptStep
	Words               []string
	Current             ScriptStep
	Lead                Text // what is done now, by whom
	// Mine says that the current step is the reader's.
	Mine         bool
	Components   []Component
	Checks       []ScriptCheck // what to confirm at this step
	KCV          *KCV          // what to compare at this step
	Entry        *Entry        // the reader's entry; nil if it is not theirs
	Bring        *Bring        // the reader's component that was given to them; nil if there is none
	Begin        *Form         // starts the clock of an entry
	BeginSeconds int
	Show         *Show // opens what is sealed to the reader
	Next         *Form // ends the step; nil if it is not the reader's to end
	NextLabel    Text
	Blocked      *Text // why the step cannot end yet
	Deviations   []Deviation
	Deviate      Form
	Break        string // address
	Abort        *Form
	Note         Text // what stays valid meanwhile
	Began        time.Time
}

func (ceremonyPage) page() string { return "ceremony" }

// Here counts who is present.
func (p ceremonyPage) Here() int {
	n := 0
	for _, one := range p.Present {
		if one.State == "present" {
			n++
		}
	}
	return n
}

// Presence is somebody who takes part, and whether they are in the room.
type Presence struct {
	Who   Who
	State string // present or away
	You   bool
}

// Initials stand in the seal.
func (p Presence) Initials() string { return initials(p.Who.Role) }

// A Component is one part of a key during its entry. It knows how many digits
// came in, never which.
type Component struct {
	N       int
	Who     Who
	State   string // checked, entering or todo
	Digits  int    // of the whole component
	KCV     KCV
	Bag     string
	Entered time.Time
}

// Groups are the groups of four digits to fill.
func (c Component) Groups() []int { return make([]int, c.Digits/4) }

// Entry is the hidden entry of a component. The digits leave the page only
// enciphered to the module.
type Entry struct {
	Action  string
	N       int
	Digits  int    // 32, 48 or 64
	Seconds int    // for the entry, and again for the comparison
	Cipher  string // AES or 3DES
	Method  string // of the check value, as passkey.js names it: GP or CMAC, of 3DES ECB-ZEROS
	To      string // the module's JSON {spki, content, label}
}

// Bring hands a component that was given to the reader on to the module. Nobody
// sees it, the reader included.
type Bring struct {
	Action string
	Given  string // JSON of data-bring, as console.js describes it
	Method string // of the check value: GP or CMAC
}

// A ScriptCheck is a sentence to confirm.
type ScriptCheck struct {
	Name string
	Text Text
	Done bool
	By   Who
	At   time.Time
}

// A Deviation is what went otherwise than planned.
type Deviation struct {
	At   time.Time
	Step int
	By   Who
	Text string
}

// transcriptPage is the record of a ceremony, for paper.
type transcriptPage struct {
	Number, Title, Site string
	State               string
	Began, Ended        time.Time
	Words               []string
	Digest              string
	People              []Seat
	Steps               []TranscriptStep
	Deviations          []Deviation
	Results             []Fact
	First, Last         int64  // log entries
	Destruction         string // address of its record; empty unless it destroyed a key
	Root                string
}

func (transcriptPage) page() string { return "transcript" }

// A TranscriptStep is one step as it was done.
type TranscriptStep struct {
	N     int
	Title Text
	By    []Who
	At    time.Time
	Took  time.Duration
	Said  []Text
	Entry int64
}

// A Show opens what is sealed to the reader's own passkey, on this screen and
// for a time.
type Show struct {
	Open    string // JSON for passkey.js
	Seconds int
	Method  string // of the check value, as passkey.js names it
	KCV     *KCV   // what it must be
	Share   bool   // a share is compared, not shown
	Check   string // of a share
}
