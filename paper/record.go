package paper

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ankan/ceremony"
	"ankan/hsm"
	"ankan/keys"
)

// A Destruction is the record of a key that is gone in every copy (SOP
// 6.4.e.viii), from the transcript of its ceremony. It is kept for ever.
type Destruction struct {
	Transcript
	Key    keys.Key
	Copies []keys.Copy // all that the register ever had
}

// PDF prints it. It refuses to record a destruction of which anything is
// missing: the end of the ceremony, a copy, the witness.
func (d Destruction) PDF() ([]byte, error) {
	plan, m, err := d.read("key-destruction")
	if err != nil {
		return nil, err
	}
	if err := d.check(plan); err != nil {
		return nil, fmt.Errorf("destruction of key %s: %w", d.Key.ID, err)
	}
	says := fmt.Sprintf("Key %s was destroyed in every copy, under dual control and before an independent witness. Keep for ever (SOP 6.4.e.viii).", d.Key.ID)
	return paper{mark: m, kind: "key-destruction", name: "Key destruction record", says: says}.print(func(s *sheet) { d.draw(s, plan) })
}

func (d Destruction) check(plan ceremony.Plan) error {
	t := d.Transcript.Transcript
	witness := plan.People["witness"]
	switch {
	case plan.Kind != ceremony.Destroy || t.Kind != ceremony.Destroy:
		return fmt.Errorf("ceremony %s is one to %s", t.Ceremony, t.Kind)
	case d.Ended.IsZero() || len(d.Closing) == 0:
		return fmt.Errorf("ceremony %s is not closed", t.Ceremony)
	case plan.Key.Name != d.Key.ID || t.Key != d.Key.ID:
		return fmt.Errorf("ceremony %s destroyed key %s", t.Ceremony, plan.Key.Name)
	case d.Key.State != keys.Destroyed:
		return fmt.Errorf("it is %s", d.Key.State)
	case len(d.Copies) == 0:
		return fmt.Errorf("no copy of it is named; the module's own is one")
	}
	for _, c := range d.Copies {
		if c.Key != d.Key.ID {
			return fmt.Errorf("copy %s is of key %s", c.Name(), c.Key)
		}
		if c.Gone.IsZero() {
			return fmt.Errorf("copy %s is not gone", c.Name())
		}
	}
	// The plan has the witness sign one step alone: that of the destruction.
	if !slices.ContainsFunc(t.Steps, func(s ceremony.TranscriptStep) bool {
		return len(s.Signatures) == 1 && s.Signatures[0].Person == witness
	}) {
		return fmt.Errorf("witness %s did not sign it", witness)
	}
	return nil
}

func (d Destruction) draw(s *sheet, plan ceremony.Plan) {
	s.section("Key")
	about(s, plan, fact(2, "Check value", d.Key.KCV), fact(2, "Came to be here by", d.Key.Origin),
		fact(2, "Made", both(d.Key.Made)), fact(2, "Destroyed", both(d.Key.Ended)),
		fact(2, "Ceremony", d.Transcript.Transcript.Ceremony), fact(2, "Closed", both(d.Ended)))
	s.section("Copies, each of them gone")
	copies(s, d.Copies)
	d.people(s, plan)
	s.section("What was done")
	for _, step := range d.Transcript.Transcript.Steps {
		d.step(s, step)
	}
	s.section("Closing")
	d.signatures(s, "", d.Closing)
	s.section("Filed")
	s.sign(22, "Key manager", "Security officer", "Witness")
}

// copies is where a key is and was.
func copies(s *sheet, all []keys.Copy) {
	var rows [][][]said
	for _, c := range all {
		kind := c.Kind
		if c.Number > 0 {
			kind += fmt.Sprintf(" %d of %d", c.Number, c.Of)
		}
		where := []said{{body, or(c.Holder)}}
		if c.Place != "" {
			where = append(where, said{faint, c.Place})
		}
		gone := stacked(c.Gone)
		if gone == nil {
			gone = []said{{body, "–"}}
		}
		rows = append(rows, [][]said{{{strong, kind}}, where, {{body, or(c.KCV)}}, stacked(c.Since), gone})
	}
	s.table([]column{{"Copy", 28}, {"Holder and place", 0}, {"Check value", 27}, {"Since", 39.5}, {"Gone", 39.5}}, rows)
}

// A Compromise is the report of a compromised key: what it touched, and who
// knows (SOP 6.4.e.vii).
type Compromise struct {
	Mark
	Report keys.Report
	Key    keys.Key
}

// PDF prints it. It refuses a report of another key.
func (c Compromise) PDF() ([]byte, error) {
	if c.Report.Key != c.Key.ID {
		return nil, fmt.Errorf("compromise: the report is of key %q, the key is %q", c.Report.Key, c.Key.ID)
	}
	says := "Nothing at " + c.Site + " uses this key any more. Every party that shares it is told, and says that it knows (SOP 6.4.e.vii)."
	return paper{mark: c.Mark, kind: "key-compromise", name: "Key compromise report", says: says}.print(c.draw)
}

func (c Compromise) draw(s *sheet) {
	s.section("Key")
	identity(s, c.Key)
	s.section("What happened")
	s.grid(fact(2, "Compromised since", both(c.Report.At)), fact(2, "Reported by", c.Report.By))
	s.text(body, or(c.Report.Why))
	s.section("Parties that share it")
	var rows [][][]said
	for _, p := range c.Report.Parties {
		told, knows := stacked(p.Sent), stacked(p.Acknowledged)
		if told == nil {
			told = []said{{strong, "not told yet"}}
		}
		if knows == nil {
			knows = []said{{strong, "not yet"}}
		}
		rows = append(rows, [][]said{{{strong, p.Name}}, told, knows, {{body, or(p.Words)}}})
	}
	s.table([]column{{"Party", 42}, {"Told", 39.5}, {"Acknowledged", 39.5}, {"Its words", 0}}, rows)
	s.section("What it touched")
	s.text(body, times(len(c.Report.Touched), "thing")+": orders, partners, and keys that it wrapped or made, with all that those touched.")
	rows = nil
	for _, what := range c.Report.Touched {
		rows = append(rows, cells(what, ""))
	}
	s.sheetOf([]column{{"What", 80}, {"What was done about it", 0}}, rows, 8)
	s.sectionWith("Review", 80)
	s.grid(blank(4, "Cause, as found", ""), blank(4, "", ""), blank(4, "What is done so that it does not come again", ""), blank(4, "", ""))
	s.sign(22, "Key manager", "Security officer", "Management")
}

// identity is what a key is known by.
func identity(s *sheet, k keys.Key) {
	s.grid(
		fact(2, "Key", k.ID), fact(1, "Algorithm", k.Algorithm), fact(1, "Purpose", k.Purpose),
		fact(1, "State", string(k.State)), fact(1, "Check value", k.KCV), fact(1, "Came to be here by", k.Origin), fact(1, "Owner", k.Owner),
		fact(2, "Made", both(k.Made)), fact(2, "Active from", both(k.Activated)),
		fact(2, "Cryptoperiod ends", both(k.Expires)), fact(2, "Ended", both(k.Ended)),
		fact(1, "Uses", or(count(k.Uses))), fact(3, "Shared with", strings.Join(k.Parties, ", ")),
	)
	switch needs := hsm.Algorithm(k.Algorithm).NeedsWaiver(); {
	case needs && k.Waiver.Until.IsZero():
		s.grid(fact(4, "Waiver", "none: the key does nothing"))
	case needs:
		s.grid(fact(1, "Under waiver until", k.Waiver.LastDay()), fact(1, "Signed by", k.Waiver.Signed), fact(2, "Reason", k.Waiver.Reason))
	}
}

// An Item is a thing of metal or paper, or a part of a key, that a custodian
// holds (SOP 6.4.e.iv).
type Item struct {
	Kind     string // "component", "share", "card", "rack key", "form"
	Number   string // on the thing
	Key      string // that it is a part of, or that depends on it
	Part, Of int
	KCV      string
	Bag      string
	Place    string // locker, safe
	Found    string // at an inventory: "whole", "missing"; empty is room to write in
}

func (i Item) name() []said {
	name := []said{{strong, or(i.Kind)}}
	if i.Part > 0 {
		name[0].text += fmt.Sprintf(" %d of %d", i.Part, i.Of)
	}
	if i.Number != "" {
		name = append(name, said{fixed, i.Number})
	}
	return name
}

func items(s *sheet, all []Item, found string) {
	var rows [][][]said
	for _, i := range all {
		key := []said{{body, or(i.Key)}}
		if i.KCV != "" {
			key = append(key, said{faint, "check value " + i.KCV})
		}
		rows = append(rows, [][]said{i.name(), key, {{body, or(i.Bag)}}, {{body, or(i.Place)}}, {{strong, i.Found}}})
	}
	s.sheetOf([]column{{"Thing and number", 42}, {"Key", 0}, {"Bag or seal", 28}, {"Place", 30}, {found, 34}}, rows, 9)
}

// An Inventory is what a custodian holds, counted before a member of the
// security department (SOP 6.3.2.q).
type Inventory struct {
	Mark
	Custodian string // numbers of people
	Before    string // of the security department
	Counted   time.Time
	Due       time.Time
	Next      time.Time
	Items     []Item
	Remarks   string
	Names     Names
}

// PDF prints it.
func (i Inventory) PDF() ([]byte, error) {
	says := "What a custodian holds, counted thing by thing before a member of the security department (SOP 6.3.2.q)."
	return paper{mark: i.Mark, kind: "custody-inventory", name: "Inventory of key custody", says: says}.print(i.draw)
}

func (i Inventory) draw(s *sheet) {
	s.section("Count")
	s.grid(blank(2, "Custodian", i.name(i.Custodian)), blank(2, "Before, of the security department", i.name(i.Before)),
		blank(2, "Counted, date and time IST and UTC", both(i.Counted)), fact(1, "Things", or(count(int64(len(i.Items))))), fact(1, "Was due", day(i.Due)),
		fact(4, "Next due", day(i.Next)))
	s.section("Things")
	items(s, i.Items, "Found")
	s.section("Remarks")
	if i.Remarks == "" {
		s.grid(blank(4, "", ""), blank(4, "", ""))
	} else {
		s.text(body, i.Remarks)
	}
	s.need(48)
	s.ticks("Every thing above was seen, not told of", "Every bag and seal is whole, its number is the one above",
		"Nothing else was in the place", "What was missing or opened was reported at once")
	s.sign(24, "Custodian", "Security department")
}

func (i Inventory) name(id string) string {
	if id == "" {
		return ""
	}
	return i.Names.of(id)
}

// day is a date in India, where the sites are.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(ist()).Format("2 Jan 2006")
}

// A Handover is the record of things that one custodian gave to another (SOP
// 6.3.2.t).
type Handover struct {
	Mark
	From, To string // numbers of people
	Before   string // of the security department
	Given    time.Time
	Reason   string
	Items    []Item
	Names    Names
}

// PDF prints it.
func (h Handover) PDF() ([]byte, error) {
	if h.From != "" && h.From == h.To {
		return nil, fmt.Errorf("custody transfer %s: person %s gives to themselves", h.Number, h.From)
	}
	says := "What one custodian gave to another, before a member of the security department (SOP 6.3.2.t)."
	return paper{mark: h.Mark, kind: "custody-transfer", name: "Custody transfer record", says: says}.print(h.draw)
}

func (h Handover) draw(s *sheet) {
	name := Inventory{Names: h.Names}.name
	s.section("Transfer")
	s.grid(blank(2, "Gives", name(h.From)), blank(2, "Takes", name(h.To)),
		blank(2, "Before, of the security department", name(h.Before)), blank(2, "Given, date and time IST and UTC", both(h.Given)),
		blank(4, "Reason", h.Reason))
	s.section("Things")
	items(s, h.Items, "Seen by who takes")
	s.need(48)
	s.ticks("Every thing was seen by both, bag and seal whole", "Locker keys and codes were changed where who gives knew them",
		"Who gives keeps nothing: no copy, no note", "Who takes signed the custodian's statement (SOP 6.4.b)")
	s.sign(24, "Gives", "Takes", "Security department")
}

// A History is the life of one key: what happened to it, where it is, and what
// it touched.
type History struct {
	Mark
	Key    keys.Key
	Events []keys.Event
	Copies []keys.Copy
	Links  []keys.Link
}

// PDF prints it. It refuses copies of another key.
func (h History) PDF() ([]byte, error) {
	if h.Key.ID == "" {
		return nil, fmt.Errorf("history %s: it is of no key", h.Number)
	}
	for _, c := range h.Copies {
		if c.Key != h.Key.ID {
			return nil, fmt.Errorf("history of key %s: copy %s is of key %s", h.Key.ID, c.Name(), c.Key)
		}
	}
	says := fmt.Sprintf("Key %s from request to destruction, as the register of %s has it (SOP 6.4.e, 6.5.i).", h.Key.ID, h.Site)
	return paper{mark: h.Mark, kind: "key-history", name: "Key history", says: says}.print(h.draw)
}

func (h History) draw(s *sheet) {
	s.section("Key")
	identity(s, h.Key)
	s.section("What happened")
	var rows [][][]said
	for _, e := range h.Events {
		what := []said{{strong, e.What}}
		if e.Text != "" {
			what = append(what, said{body, e.Text})
		}
		rows = append(rows, [][]said{stacked(e.At), {{body, or(count(e.Entry))}}, {{body, or(e.Actor)}}, what})
	}
	s.table([]column{{"When", 42}, {"Log entry", 22}, {"Who", 36}, {"What", 0}}, rows)
	s.section("Where it is and was")
	copies(s, h.Copies)
	s.section("What it touched")
	rows = nil
	for _, l := range h.Links {
		rows = append(rows, [][]said{{{body, l.What}}, stacked(l.Since), {{body, or(count(l.Uses))}}})
	}
	s.table([]column{{"What", 0}, {"Since", 44}, {"Uses", 30}}, rows)
}
