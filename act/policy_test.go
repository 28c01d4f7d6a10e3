package act

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"ankan/audit"
)

func TestPolicyRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*Policy)
		why   string
	}{
		"nodal":                {func(p *Policy) { p.Nodal = "none" }, `nodal is "none"`},
		"role twice":           {func(p *Policy) { p.Roles = append(p.Roles, "km") }, `role "km" is there twice`},
		"empty role":           {func(p *Policy) { p.Roles = append(p.Roles, "") }, "empty"},
		"socket as role":       {func(p *Policy) { p.Roles = append(p.Roles, Socket) }, "reserved"},
		"administrators":       {func(p *Policy) { p.Administrators = []string{"boss"} }, `administrators names role "boss"`},
		"sole":                 {func(p *Policy) { p.Sole = []string{"boss"} }, `sole names role "boss"`},
		"requirements":         {func(p *Policy) { p.Requirements["boss"] = Requirement{} }, `requirements of boss names role "boss"`},
		"employment":           {func(p *Policy) { p.Requirements["km"] = Requirement{Employment: []Employment{"slave"}} }, `employment "slave"`},
		"permissions":          {func(p *Policy) { p.Permissions = map[string][]string{"log.read": {Socket, "boss"}} }, `permission log.read names role "boss"`},
		"escalation role":      {func(p *Policy) { p.Escalation = []Level{{0, []string{"boss"}}} }, `escalation level 1 names role "boss"`},
		"escalation backwards": {func(p *Policy) { p.Escalation = []Level{{5, nil}, {5, nil}} }, "level 2 is after 5 minutes"},
		"escalation negative":  {func(p *Policy) { p.Escalation = []Level{{-1, nil}} }, "level 1 is after -1 minutes"},
		"exclude":              {func(p *Policy) { p.Exclude = []string{"everybody"} }, `exclude names "everybody"`},
		"none and more":        {func(p *Policy) { p.Exclude = []string{excludeNone, ExcludeLine} }, "none alone"},
		"exclude of an act":    {func(p *Policy) { p.edit("hlr.load", func(r *Rule) { r.Exclude = []string{"x"} }) }, `act hlr.load names "x"`},
		"version of an act":    {func(p *Policy) { p.edit("hlr.load", func(r *Rule) { r.Version = 1 }) }, "a version of its own"},
		"another's entry":      {func(p *Policy) { p.edit("hlr.load", func(r *Rule) { r.Entry = PersonEnrolled }) }, `which is that of "person.enrol"`},
		"own entry elsewhere":  {func(p *Policy) { p.edit("person.suspend", func(r *Rule) { r.Entry = "person.away" }) }, `want "person.suspended"`},
		"entry of a signature": {func(p *Policy) { p.edit("hlr.load", func(r *Rule) { r.Entry = ActApproved }) }, "which no act makes"},
		"entry of a use":       {func(p *Policy) { p.edit("hlr.load", func(r *Rule) { r.Entry = ActUsed }) }, "which no act makes"},
		"entry of a lock":      {func(p *Policy) { p.edit("hlr.load", func(r *Rule) { r.Entry = PersonLocked }) }, "which no act makes"},
		"entry of a founding":  {func(p *Policy) { p.edit("hlr.load", func(r *Rule) { r.Entry = SiteFounded }) }, "which no act makes"},
		"key algorithms":       {func(p *Policy) { p.Keys = map[string]KeyRule{"op": {}} }, `keys for "op"`},
		"cryptoperiod": {func(p *Policy) {
			p.Keys = map[string]KeyRule{"op": {Algorithms: []string{"AES-128"}, Cryptoperiod: -1}}
		}, `keys for "op"`},
		"limit":  {func(p *Policy) { p.Limits.Tries = -1 }, "a limit or period is -1"},
		"period": {func(p *Policy) { p.Periods.Rehearsal = -1 }, "a limit or period is -1"},
	} {
		p := staffed()
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		c.spoil(&p)
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: got %v, want %q", name, err, c.why)
		}
	}
}

func (p *Policy) edit(kind string, change func(*Rule)) {
	r := p.Acts[kind]
	change(&r)
	p.Acts[kind] = r
}

// Each number among limits and periods is looked at.
func TestPolicyLimits(t *testing.T) {
	var p Policy
	for _, part := range []any{&p.Limits, &p.Periods} {
		v := reflect.ValueOf(part).Elem()
		for i := range v.NumField() {
			v.Field(i).SetInt(-1)
			if p.checkLimits() == nil {
				t.Errorf("%s: taken", v.Type().Field(i).Name)
			}
			v.Field(i).SetInt(0)
		}
	}
}

func TestPermissions(t *testing.T) {
	p := staffed()
	p.Permissions = map[string][]string{"log.read": {Socket, "km"}, "orders.draft": {"prep"}}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	km, prep, odd := Person{Roles: []string{"km"}}, Person{Roles: []string{"prep"}}, Person{Roles: []string{Socket}}
	for _, c := range []struct {
		got, want bool
	}{
		{p.May(km, "log.read"), true}, {p.May(prep, "log.read"), false}, {p.May(prep, "orders.draft"), true}, {p.May(km, "nothing"), false},
		{p.SocketMay("log.read"), true}, {p.SocketMay("orders.draft"), false}, {p.SocketMay("nothing"), false},
		{p.Administers(km), true}, {p.Administers(prep), false}, {Policy{}.Administers(km), false}, {Policy{}.May(km, "log.read"), false},
		{p.CheckPerson(Person{ID: "1", Roles: odd.Roles}) == nil, false},
	} {
		if c.got != c.want {
			t.Errorf("%+v", c)
		}
	}
}

func TestDiff(t *testing.T) {
	p, next := staffed(), staffed()
	if d := p.Diff(next); len(d) != 0 {
		t.Errorf("the same: %v", d)
	}
	next.Version = 2
	next.Nodal = NodalBoth
	next.edit("hlr.load", func(r *Rule) { r.Seats = [][]string{{"<km>"}} })
	delete(next.Acts, "person.leave")
	next.Keys = map[string]KeyRule{"op": {Algorithms: []string{"AES-128"}}}
	d := p.Diff(next)
	for _, want := range []string{
		`version: was 1, is 2`, `nodal: was "", is "both"`, `acts / hlr.load / seats: was null, is [["<km>"]]`, `acts / person.leave / to_use: was 900, is gone`,
		`keys / op / algorithms: is new, ["AES-128"]`,
	} {
		if !slices.Contains(d, want) {
			t.Errorf("%q is not in %q", want, d)
		}
	}
	if !slices.IsSorted(d) {
		t.Error("not in order")
	}
	back := next.NextParams(p)
	if back["version"] != "1" || back["change_001"] == "" || len(back) != 2+len(d) {
		t.Errorf("%v", back)
	}
}

// What is written as JSON and read again is the same policy: it asks for the
// same, and has the same digest.
func FuzzPolicyJSON(f *testing.F) {
	f.Add(encode(staffed()))
	f.Add(encode(policy()))
	f.Add([]byte(`{"version":1,"roles":["a"],"exclude":[],"acts":{"x":{"request":["a"],"seats":[["a"]],"exclude":[],"to_approve":1,"to_use":1,"entry":"x"}},"requirements":{"a":{"employment":[]}}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var p, back Policy
		if audit.Strict(doc, &p) != nil || p.Check() != nil {
			return
		}
		if err := audit.Strict(encode(p), &back); err != nil {
			t.Fatalf("%q comes back as %v", doc, err)
		}
		if back.Check() != nil || p.Digest() != back.Digest() || len(p.Diff(back)) != 0 {
			t.Fatalf("%q comes back as another policy: %v", doc, p.Diff(back))
		}
		for _, other := range []Policy{policy(), staffed()} { // what approvers are shown of a change is never nothing
			if (len(other.Diff(p)) == 0) != (other.Digest() == p.Digest()) {
				t.Errorf("%q is another policy: %v, and its changes are %q", doc, other.Digest() != p.Digest(), other.Diff(p))
			}
		}
		for kind := range p.Acts {
			a, errA := p.Rule(kind)
			b, errB := back.Rule(kind)
			if errA != nil || errB != nil || string(encode(a)) != string(encode(b)) {
				t.Errorf("%q: act %s asks for %+v, and read again for %+v", doc, kind, a, b)
			}
		}
	})
}
