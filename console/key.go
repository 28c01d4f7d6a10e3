package console

import (
	"strings"
	"time"
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
}

func (keysPage) page() string { return "keys" }

// A KeyLine is a key in a list.
type KeyLine struct {
	Name, Href string
	Purpose    Text
	Algorithm  string // "AES-256"
	Partner    string
	State      string
	KCV        KCV
	Rotate     time.Time
}

// keyPage is one key: what it is, where each copy lies, its life.
type keyPage struct {
	Key        KeyLine
	Sub        Text // what it is for, in a sentence
	Extract    Text // how it may leave the module
	Confirmed  []Who
	OtherKCVs  []KCV // of the same key by other methods
	Compare    Form
	Compared   *Text // the answer to a comparison
	Methods    []Option
	Genealogy  []Kin
	Copies     []Copy
	Parties    []Party
	Life       []Step
	Uses       []Use
	Blast      Text // what a compromise would touch
	Rotate     string
	Compromise string // address; "" if the reader may not report
	Destroy    string
}

func (keyPage) page() string { return "key" }

// Kin is a relation of a key to another, or to what it protects.
type Kin struct {
	Relation string // key of kin.*: wraps, joined-from, replaces, replaced-by, protects
	Name     string
	Href     string
	State    string
	Note     Text
}

// A Copy is one place where the key, a component or a share of it is.
type Copy struct {
	Name, Form Text
	Place      Text
	Holder     Who
	Seal       string // number on the bag or envelope
	State      string // in-place, out, missing or destroyed
	Seen       time.Time
}

// A Party is a site that has the key.
type Party struct {
	Name  string
	Since time.Time
	State string // active or destroyed
}

// A Use is how often the key was used in a month.
type Use struct {
	Month string // "2026-07"
	Count int
}

// Bar is a use's length in a chart that is 100 high, against the most.
func (p keyPage) Bar(count int) int {
	most := 1
	for _, u := range p.Uses {
		most = max(most, u.Count)
	}
	return 100 * count / most
}

// Short is the month as two digits.
func (u Use) Short() string { return u.Month[max(0, len(u.Month)-2):] }

// compare says whether a partner's check value is that of a key with the
// values ours. Two methods are never compared.
func compare(ours []KCV, theirs KCV) Text {
	for _, k := range ours {
		if k.Method != theirs.Method {
			continue
		}
		if strings.EqualFold(k.Value, strings.TrimSpace(theirs.Value)) {
			return say("key.compare.same")
		}
		return say("key.compare.other")
	}
	return say("key.compare.method-unknown")
}
