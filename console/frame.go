package console

import "time"

// A Frame is what stands around a page: the site, who looks, and what they may
// open.
type Frame struct {
	Site Site
	// Me is who is signed in; nil at the door.
	Me *Me
	// Nav holds only what the person's permissions allow, in the order of nouns.
	Nav []NavItem
	// Log is the number of entries in the site's log; Witnessed is when a
	// witness last agreed with it.
	Log       int64
	Witnessed time.Time
	// Glass is the break-glass access that is open now; everybody sees it.
	Glass *OpenGlass
	// Conditions are what people must see to: a full disk, a clock that is wrong.
	// Everybody sees them.
	Conditions []Condition
	// Lock is why the site issues nothing; everybody sees it.
	Lock *Locked
	// Said tells what the last request did, or why it was refused.
	Said []Said
}

// A Site is the installation as its people know it.
type Site struct {
	Name    string   // "Bureau North"
	Roles   []string // operator, bureau, plant
	Country string   // ISO 3166
	Mode    Text     // production, or the demonstration
	Version string
}

// Me is who is signed in.
type Me struct {
	Person string
	Roles  []string // keys of role.*
	// Proved is what the session rests on: keys of proved.*, in the order of
	// proof (certificate, password, passkey).
	Proved []string
}

// A NavItem is one noun of the navigation. A count means "you must act".
type NavItem struct {
	Key     string // of nav.*, nouns and icons
	Href    string
	Count   int
	Current bool
}

// nouns are the entries that a navigation can have, in order, with their group
// and icon.
var nouns = []struct{ key, group, icon string }{
	{"inbox", "work", "inbox"},
	{"acts", "work", "seal"},
	{"notices", "work", "info"},
	{"profiles", "work", "card"},
	{"ledger", "work", "search"},
	{"line", "plant", "line"},
	{"releases", "plant", "cert"},
	{"stock", "plant", "stock"},
	{"lots", "plant", "chip"},
	{"boxes", "plant", "lock"},
	{"shipments", "plant", "out"},
	{"deliveries", "plant", "bag"},
	{"discrepancies", "plant", "incident"},
	{"keys", "keys", "key"},
	{"ceremonies", "keys", "ceremony"},
	{"transfers", "keys", "bag"},
	{"register", "keys", "lock"},
	{"hsm", "keys", "chip"},
	{"log", "proof", "log"},
	{"policy", "proof", "clause"},
	{"people", "site", "people"},
	{"sessions", "site", "finger"},
	{"glass", "site", "incident"},
}

// A navGroup is a heading of the navigation and what stands under it.
type navGroup struct {
	Key   string
	Items []navLink
}

type navLink struct {
	NavItem
	Icon string
}

// grouped puts what a person may open under its headings.
func grouped(nav []NavItem) []navGroup {
	var all []navGroup
	for _, noun := range nouns {
		for _, item := range nav {
			if item.Key != noun.key {
				continue
			}
			if len(all) == 0 || all[len(all)-1].Key != noun.group {
				all = append(all, navGroup{Key: noun.group})
			}
			g := &all[len(all)-1]
			g.Items = append(g.Items, navLink{item, noun.icon})
		}
	}
	return all
}

// Said is a sentence about what was just done. Tone is ok, warn or bad.
type Said struct {
	Tone string
	Text Text
}

// A Condition of the site, as site.Condition.
type Condition struct {
	Kind  string // key of condition.*
	Stops bool   // no new work begins
	Text  string // what is so, and what to do
}

// Locked is a site that issues nothing, because its database lost time.
type Locked struct {
	Why     string // the first sign
	LogSize int64  // entries of the log up to which all is known
	Href    string // to ask that it be unlocked; empty if the person cannot
}

// OpenGlass is emergency access that is open.
type OpenGlass struct {
	By    Who // who uses it
	Why   string
	Until time.Time
	Href  string
}
