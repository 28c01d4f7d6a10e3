package console

import (
	"errors"
	"strings"
	"time"

	"ankan/hsm"
)

// keysPage is the key register.
type keysPage struct {
	Form     Form // of the filter
	States   []Option
	Purposes []Option
	Partners []Option
	Keys     []KeyLine
	Pager    Pager
	Plan     string // address to plan a ceremony; "" if the reader may not
	Export   string // address of this list as CSV
	Reports  int    // compromises
}

func (keysPage) page() string { return "keys" }

// A KeyLine is a key in a list.
type KeyLine struct {
	Name, Href string
	Purpose    Text
	Algorithm  string // "AES-256"
	Partner    string
	State      string
	Expired    bool // its cryptoperiod is over
	KCV        KCV
	Rotate     time.Time
	Waiver     Text // of an algorithm that needs one
}

// keyPage is one key: what it is, where each copy lies, its life.
type keyPage struct {
	Key       KeyLine
	Sub       Text // what it is for, in a sentence
	Extract   Text // how it may leave the module
	Facts     []Fact
	Public    string // SHA-256 of the public key, hexadecimal; "" if it is no pair
	Confirmed *Step  // of its check value; nil if nobody did
	Unsure    bool   // it waits for two people to confirm its check value
	Compare   Form   // a partner's value and its method
	Compared  *Text  // the answer to a comparison
	Methods   []Option
	Genealogy []Kin
	Copies    []Copy
	Parties   []Party
	Life      []Step
	Uses      []Use      // what it was used for
	Count     int64      // of all uses
	Blast     []Touch    // what a compromise would touch
	Report    *KeyReport // of its compromise; nil if there is none
	Acts      []KeyAct   // what the reader may ask for now
	History   string     // address of the key's life on paper
	Rotate    string     // address; "" if the reader may not plan a ceremony
	Destroy   string     // likewise
}

func (keyPage) page() string { return "key" }

// A KeyAct is an act about a key that somebody may ask for.
type KeyAct struct {
	Kind, Href string
	Grave      bool
}

// Kin is a relation of a key to another.
type Kin struct {
	Relation string // key of kin.*: made, made-by
	Name     string
	Href     string
	State    string
	Note     Text
}

// A Copy is one place where the key, a component or a share of it is.
type Copy struct {
	Name   Text
	Place  string
	Holder Text
	KCV    KCV
	State  string // in-place or destroyed
	Since  time.Time
	Gone   time.Time
}

// A Party is a site that has the key.
type Party struct {
	Name               string
	Since              time.Time
	State              string    // active or destroyed
	Told, Acknowledged time.Time // of the key's compromise
	Words              string    // of whoever acknowledged
}

// A Use is what the key was used for, and how often.
type Use struct {
	Touch
	Since time.Time
	Count int64
}

// A Touch is something that a key touched.
type Touch struct{ What, Href string }

// A KeyReport is a compromise: who reported it, what it is about, and which
// parties know (SOP 6.4.e.vii).
type KeyReport struct {
	Key, Href string
	Paper     string // address
	At        time.Time
	By        Text
	Why       string
	Touched   []Touch
	Parties   []Party
}

// Known counts the parties that acknowledged.
func (r KeyReport) Known() int {
	n := 0
	for _, p := range r.Parties {
		if !p.Acknowledged.IsZero() {
			n++
		}
	}
	return n
}

// compromisesPage is all reports.
type compromisesPage struct{ Reports []KeyReport }

func (compromisesPage) page() string { return "compromises" }

// compare says whether a partner's check value is that of a key whose own is
// ours. Two methods are never compared.
func compare(ours hsm.KCV, value, method string) Text {
	value = strings.ToUpper(strings.ReplaceAll(strings.TrimSpace(value), " ", ""))
	if method == "" {
		return say("key.compare.method-unknown")
	}
	theirs, err := hsm.ParseKCV(value + " " + method)
	if err != nil {
		return say("key.compare.malformed", plain(err.Error()))
	}
	same, err := ours.Matches(theirs)
	switch {
	case errors.Is(err, hsm.ErrKCVMethod):
		return say("key.compare.methods", methodName(string(ours.Method())), methodName(method))
	case err != nil:
		return say("key.compare.malformed", plain(err.Error()))
	case same:
		return say("key.compare.same")
	}
	return say("key.compare.other")
}

func methodName(m string) Text { return either("method."+strings.ToLower(m), m) }
