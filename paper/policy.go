package paper

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ankan/act"
)

// A Policy is a version of the policy on paper: who may do what, who must sign,
// and how long everything lasts (SOP 6.a, 6.b). The mark's number and digest are
// the policy's own.
type Policy struct {
	Mark
	Policy act.Policy
	People []act.Person // who holds which role; nil leaves that part out
	// SignOff names the boxes to sign in. Nothing is key manager, security
	// officer and management.
	SignOff []string
}

// PDF prints it. It refuses a policy that contradicts itself.
func (p Policy) PDF() ([]byte, error) {
	if err := p.Policy.Check(); err != nil {
		return nil, err
	}
	m, err := p.Mark.of("policy", "version "+strconv.Itoa(p.Policy.Version), p.Policy.Digest())
	if err != nil {
		return nil, err
	}
	says := "Who may do what at " + p.Site + ", and who must sign. What it does not name is refused (SOP 6.a, 6.b)."
	return paper{mark: m, kind: "policy", name: "Policy", says: says}.print(p.draw)
}

func (p Policy) draw(s *sheet) {
	p.roles(s)
	if p.People != nil {
		p.people(s)
	}
	p.matrices(s)
	p.acts(s)
	p.keys(s)
	p.numbers(s)
	p.escalation(s)
	names := p.SignOff
	if len(names) == 0 {
		names = []string{"Key manager", "Security officer", "Management"}
	}
	s.sectionWith("Sign-off", 24+signing(24, len(names)))
	s.text(body, fmt.Sprintf("I read this policy, version %d, and compared its SHA-256 or six words with those on my screen.", p.Policy.Version))
	s.sign(24, names...)
}

func (p Policy) roles(s *sheet) {
	pol := p.Policy
	s.section("Roles")
	s.text(body, "One person does not hold two roles that exclude each other. The holder of an administrator's role comes in by administrator.enrol, and everybody is told.")
	var rows [][][]said
	for i, role := range pol.Roles {
		var kind, against []string
		if slices.Contains(pol.Administrators, role) {
			kind = append(kind, "administrator")
		}
		if slices.Contains(pol.Sole, role) {
			kind = append(kind, "one person at a time")
		}
		for _, c := range pol.Conflicts {
			switch role {
			case c[0]:
				against = append(against, c[1])
			case c[1]:
				against = append(against, c[0])
			}
		}
		rows = append(rows, [][]said{{{body, strconv.Itoa(i + 1)}}, {{strong, role}}, {{body, or(strings.Join(kind, ", "))}},
			{{body, or(strings.Join(against, ", "))}}, {{body, or(needs(pol.Requirements[role]))}}})
	}
	s.table([]column{{"No.", 9}, {"Role", 36}, {"Kind", 26}, {"Excludes", 0}, {"Who holds it must have", 42}}, rows)
	nodal := "One of nodal officer and alternate is enough for what is theirs."
	if pol.Nodal == act.NodalBoth {
		nodal = "What is the nodal officer's and the alternate's takes both."
	}
	s.text(body, nodal)
}

// needs is a requirement in words.
func needs(r act.Requirement) string {
	var all []string
	if len(r.Employment) > 0 {
		var kinds []string
		for _, e := range r.Employment {
			kinds = append(kinds, string(e))
		}
		all = append(all, "employment "+choice(kinds))
	}
	if r.Training != "" {
		all = append(all, "training "+r.Training)
	}
	if r.Statement != "" {
		all = append(all, "statement "+r.Statement)
	}
	text := strings.Join(all, ", ")
	if r.Clause != "" {
		text += " (SOP " + r.Clause + ")"
	}
	return text
}

func (p Policy) people(s *sheet) {
	s.section("Who holds which role")
	names := Names{}
	for _, who := range p.People {
		names[who.ID] = who.Name
	}
	var rows [][][]said
	for _, role := range p.Policy.Roles {
		holders := slices.DeleteFunc(slices.Clone(p.People), func(who act.Person) bool { return !who.Has(role) })
		if len(holders) == 0 {
			rows = append(rows, cells(role, "nobody", "–", "–"))
		}
		for _, who := range holders {
			rows = append(rows, cells(role, names.of(who.ID), or(string(who.Employment)), names.of(who.ReportsTo)))
		}
	}
	s.table([]column{{"Role", 42}, {"Person", 0}, {"Employment", 26}, {"Reports to", 46}}, rows)
}

func (p Policy) matrices(s *sheet) {
	pol := p.Policy
	s.sectionWith("Responsibility matrix", 100)
	s.text(body, "A: may ask. A number: may sign in that seat. Each seat is signed by another person, none of them the one who asked.")
	var rows [][]string
	for _, kind := range slices.Sorted(maps.Keys(pol.Acts)) {
		rule := pol.Acts[kind]
		row := []string{kind}
		for _, role := range pol.Roles {
			var marks []string
			if slices.Contains(rule.Request, role) {
				marks = append(marks, "A")
			}
			for i, seat := range rule.Seats {
				if slices.Contains(seat, role) {
					marks = append(marks, strconv.Itoa(i+1))
				}
			}
			row = append(row, strings.Join(marks, " "))
		}
		rows = append(rows, row)
	}
	s.matrix("Act", pol.Roles, rows)

	s.sectionWith("Permissions", 100)
	s.text(body, "What may be seen, and what may be done that is no act. The role socket is whoever may open the site's control socket: the site's own user on its machine.")
	rows = nil
	heads := append([]string{act.Socket}, pol.Roles...)
	for _, name := range slices.Sorted(maps.Keys(pol.Permissions)) {
		row := []string{name}
		for _, role := range heads {
			mark := ""
			if slices.Contains(pol.Permissions[name], role) {
				mark = "•"
			}
			row = append(row, mark)
		}
		rows = append(rows, row)
	}
	s.matrix("Permission", heads, rows)
}

func (p Policy) acts(s *sheet) {
	pol := p.Policy
	s.section("Acts: quorum and clocks")
	s.text(body, "Who asks does not approve. "+excluded(pol.Exclude, "Neither")+" An act is done by the log entry that stands below its name, and by no other leave.")
	var rows [][][]said
	for _, kind := range slices.Sorted(maps.Keys(pol.Acts)) {
		rule := pol.Acts[kind]
		signs := []said{{body, "nobody else"}}
		if n := len(rule.Seats); n > 0 {
			signs = []said{{strong, times(n, "signature")}}
		}
		for i, seat := range rule.Seats {
			signs = append(signs, said{body, fmt.Sprintf("%d  %s", i+1, choice(seat))})
		}
		if len(rule.Exclude) > 0 {
			signs = append(signs, said{faint, excluded(rule.Exclude, "Here neither")})
		}
		rows = append(rows, [][]said{{{strong, kind}, {faint, rule.Entry}}, {{body, choice(rule.Request)}}, signs,
			{{body, long(rule.ToApprove) + " to sign"}, {body, long(rule.ToUse) + " to use"}}, {{body, or(rule.Clause)}}})
	}
	s.table([]column{{"Act and log entry", 42}, {"Asks", 42}, {"Signs", 0}, {"Clocks", 24}, {"SOP", 16}}, rows)
}

// excluded says who does not approve, beside the requester.
func excluded(list []string, neither string) string {
	editor := len(list) == 0 || slices.Contains(list, act.ExcludeEditor)
	line := len(list) == 0 || slices.Contains(list, act.ExcludeLine)
	switch {
	case editor && line:
		return neither + " does who edited it last, nor the direct superior and reports of either."
	case editor:
		return neither + " does who edited it last."
	case line:
		return neither + " do the direct superior and reports of whoever asked."
	}
	return "Nobody else is excluded."
}

func (p Policy) keys(s *sheet) {
	s.section("Keys")
	var rows [][][]said
	for _, purpose := range slices.Sorted(maps.Keys(p.Policy.Keys)) {
		k := p.Policy.Keys[purpose]
		period, backup := "as long as what it is for", "no"
		if k.Cryptoperiod > 0 {
			period = times(k.Cryptoperiod, "day")
		}
		if k.Backup {
			backup = "must exist (SOP 6.4.e.vi)"
		}
		rows = append(rows, cells(purpose, strings.Join(k.Algorithms, ", "), period, backup))
	}
	s.table([]column{{"Purpose", 36}, {"Algorithms (SOP 6.4.e.i)", 50}, {"Cryptoperiod from activation", 44}, {"Backup", 0}}, rows)
}

func (p Policy) numbers(s *sheet) {
	l, t := p.Policy.Limits, p.Policy.Periods
	s.section("Limits and periods")
	s.table([]column{{"Limit", 0}, {"Value", 40}}, [][][]said{
		cells("A session that nobody uses ends after", long(l.SessionIdle)),
		cells("Any session ends after", long(l.SessionLength)),
		cells("To use a passkey, once asked", long(l.Challenge)),
		cells("To enter one component of a key", long(l.ComponentEntry)),
		cells("An enrolment code is good for", long(l.EnrolmentCode)),
		cells("Broken glass stays open at most (SOP 6.3.1.iii)", long(l.BreakGlass)),
		cells("Wrong passwords from one place, before it waits", strconv.Itoa(l.Tries)),
		cells("Time in which these are counted", long(l.TryWindow)),
		cells("Characters of a password, at least", strconv.Itoa(l.Password)),
		cells("Inventory of what a custodian holds, every (SOP 6.3.2.q)", times(t.Inventory, "day")),
		cells("Training is in date for", times(t.Training, "day")),
		cells("A signed statement is in date for", times(t.Statement, "day")),
		cells("A key transfer form comes back within", times(t.Receipt, "day")),
		cells("A restore from backup is rehearsed every", times(t.Rehearsal, "day")),
	})
}

func (p Policy) escalation(s *sheet) {
	s.section("Escalation")
	s.text(body, "Who is told when nobody acted (SOP 6.b).")
	var rows [][][]said
	for i, l := range p.Policy.Escalation {
		after := "at once"
		if l.After > 0 {
			after = "after " + long(60*l.After)
		}
		rows = append(rows, cells(strconv.Itoa(i+1), after, strings.Join(l.Roles, ", ")))
	}
	s.table([]column{{"Level", 16}, {"When", 34}, {"Who is told", 0}}, rows)
}
