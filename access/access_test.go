package access

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ankan/act"
	"ankan/audit"
	"ankan/passkey"
	"ankan/store"
	"ankan/store/storetest"
)

const origin = "bureau.example/log"

func open(t *testing.T) (*store.Store, *Directory) {
	t.Helper()
	signer, err := audit.NewSigner(origin, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{Path: storetest.New(t), Origin: origin, Signer: signer}, Schema())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, New(s)
}

// keyring has the passkeys of the people that a test made, by their public keys.
type keyring map[string]*passkey.Soft

func (r keyring) person(t *testing.T, id string, roles ...string) act.Person {
	t.Helper()
	k, err := passkey.NewSoft("bureau.example", "https://bureau.example")
	if err != nil {
		t.Fatal(err)
	}
	r[id] = k
	return act.Person{ID: id, Name: "Person " + id, Roles: roles, Employment: act.Permanent, Credential: k.Credential}
}

func (r keyring) found(p act.Policy, people ...act.Person) (act.Founding, error) {
	keys := map[string]act.Key{}
	for id, k := range r {
		keys[id] = k
	}
	return act.Found("bureau", p, people, keys, time.Now())
}

// found founds d's site with these people.
func found(ctx context.Context, d *Directory, r keyring, p act.Policy, people ...act.Person) error {
	f, err := r.found(p, people...)
	if err != nil {
		return err
	}
	return d.Found(ctx, Founding{Founding: f})
}

func kinds(t *testing.T, s *store.Store, from int64) []string {
	t.Helper()
	all, err := s.Entries(t.Context(), from, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range all {
		kinds = append(kinds, e.Kind+" "+e.Subject)
	}
	return kinds
}

func TestFound(t *testing.T) {
	s, d := open(t)
	ctx, before := t.Context(), s.Size()
	r := keyring{}
	a, b := r.person(t, "0002", "key-manager"), r.person(t, "0001", "security-officer")
	if err := found(ctx, d, r, DefaultPolicy(), a, b); err != nil {
		t.Fatal(err)
	}
	want := []string{"site.founded site"}
	if diff := cmp.Diff(want, kinds(t, s, before)); diff != "" {
		t.Error(diff)
	}
	p, err := d.Policy(ctx)
	if err != nil || !reflect.DeepEqual(p, DefaultPolicy()) {
		t.Errorf("%v: the policy came back as %+v", err, p)
	}
	people, err := d.People(ctx)
	if diff := cmp.Diff([]act.Person{b, a}, people); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if who, err := d.Person(ctx, "0002"); err != nil || !cmp.Equal(who, a) {
		t.Errorf("%+v, %v", who, err)
	}
	if _, err := d.Person(ctx, "0003"); !errors.Is(err, ErrNoPerson) {
		t.Errorf("unknown person: %v", err)
	}

	size := s.Size()
	if err := found(ctx, d, r, DefaultPolicy(), r.person(t, "0003", "witness"), r.person(t, "0004", "auditor")); !errors.Is(err, ErrFounded) {
		t.Errorf("founded again: %v", err)
	}
	if people, err := d.People(ctx); err != nil || len(people) != 2 || s.Size() != size {
		t.Errorf("founding again left %d people and %d entries: %v", len(people), s.Size()-size, err)
	}
	if r, err := s.Fsck(ctx, s.VerifierKey()); err != nil || r.Size != size {
		t.Errorf("the log: %v", err)
	}
}

func TestFoundRefuses(t *testing.T) {
	r := keyring{}
	km, so := r.person(t, "0001", "key-manager"), r.person(t, "0002", "security-officer")
	alter := func(p act.Person, f func(*act.Person)) act.Person { f(&p); return p }
	broken := DefaultPolicy()
	broken.Version = 0
	for name, c := range map[string]struct {
		policy act.Policy
		people []act.Person
		want   string
	}{
		"nobody":         {DefaultPolicy(), nil, "0 people"},
		"alone":          {DefaultPolicy(), []act.Person{km}, "1 people, want at least 2"},
		"twice":          {DefaultPolicy(), []act.Person{km, km}, "twice"},
		"number":         {DefaultPolicy(), []act.Person{km, alter(so, func(p *act.Person) { p.ID = km.ID })}, "twice"},
		"passkey":        {DefaultPolicy(), []act.Person{km, alter(so, func(p *act.Person) { p.Credential.ID = km.Credential.ID })}, "is that of 0001"},
		"key":            {DefaultPolicy(), []act.Person{km, alter(so, func(p *act.Person) { p.Credential.Public = km.Credential.Public })}, "is that of 0001"},
		"two nodal":      {DefaultPolicy(), []act.Person{alter(km, func(p *act.Person) { p.Roles = []string{"nodal-officer"} }), alter(so, func(p *act.Person) { p.Roles = []string{"nodal-officer"} })}, "one person at a time"},
		"temporary":      {DefaultPolicy(), []act.Person{so, alter(km, func(p *act.Person) { p.Employment = act.Temporary })}, "takes employment permanent"},
		"conflict":       {DefaultPolicy(), []act.Person{km, alter(so, func(p *act.Person) { p.Roles = []string{"security-officer", "key-manager"} })}, "exclude each other"},
		"unknown role":   {DefaultPolicy(), []act.Person{km, alter(so, func(p *act.Person) { p.Roles = []string{"boss"} })}, `role "boss"`},
		"no role":        {DefaultPolicy(), []act.Person{km, alter(so, func(p *act.Person) { p.Roles = nil })}, "id and a role"},
		"no number":      {DefaultPolicy(), []act.Person{km, alter(so, func(p *act.Person) { p.ID = "" })}, "id and a role"},
		"policy":         {broken, []act.Person{km, so}, "version"},
		"zero policy":    {act.Policy{}, []act.Person{km, so}, "version"},
		"entry too long": {DefaultPolicy(), []act.Person{km, alter(so, func(p *act.Person) { p.Name = strings.Repeat("x", audit.MaxEntry) })}, "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			s, d := open(t)
			size := s.Size()
			if err := found(t.Context(), d, r, c.policy, c.people...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			people, err := d.People(t.Context())
			if err != nil || len(people) != 0 || s.Size() != size {
				t.Errorf("left half done: %d people, %d entries, %v", len(people), s.Size()-size, err)
			}
			if _, err := d.Policy(t.Context()); err == nil || !strings.Contains(err.Error(), "no policy yet") {
				t.Errorf("left a policy: %v", err)
			}
			if err := found(t.Context(), d, r, DefaultPolicy(), km, so); err != nil {
				t.Errorf("after the refusal: %v", err)
			}
		})
	}
}

func TestFoundCancelled(t *testing.T) {
	s, d := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	size := s.Size()
	r := keyring{}
	if err := found(ctx, d, r, DefaultPolicy(), r.person(t, "1", "auditor"), r.person(t, "2", "witness")); !errors.Is(err, context.Canceled) || s.Size() != size {
		t.Error(err)
	}
}

// A founder's password is there from the first day, and shows nowhere.
func TestFoundPasswords(t *testing.T) {
	s, d := open(t)
	r := keyring{}
	f, err := r.found(DefaultPolicy(), r.person(t, "a", "key-manager"), r.person(t, "b", "security-officer"))
	if err != nil {
		t.Fatal(err)
	}
	good, err := NewPassword("a long enough password", 12)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewPassword("short", 12); !errors.Is(err, ErrPassword) {
		t.Error(err)
	}
	for _, bad := range []map[string]Password{{"a": {}}, {"c": good}} {
		if err := d.Found(t.Context(), Founding{f, bad}); err == nil || !strings.Contains(err.Error(), "is empty, or of nobody who signed") {
			t.Error(err)
		}
	}
	if err := d.Found(t.Context(), Founding{f, map[string]Password{"a": good}}); err != nil {
		t.Fatal(err)
	}
	for id, has := range map[string]bool{"a": true, "b": false} {
		if m, err := d.Member(t.Context(), id); err != nil || m.HasPassword != has {
			t.Errorf("person %s: %+v, %v", id, m, err)
		}
	}
	g := NewGate(d)
	if _, err := g.Begin(t.Context(), First{Person: "a", Password: "a long enough password", From: "here"}); err != nil {
		t.Error(err)
	}
	if _, err := g.Begin(t.Context(), First{Person: "b", Password: "", From: "here"}); !errors.Is(err, ErrSignIn) {
		t.Error(err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s %x", good, good, &good, good, good); strings.Contains(text, "argon2") {
		t.Error(text)
	}
	if doc, err := json.Marshal(good); err == nil {
		t.Errorf("%s", doc)
	}
	all, err := s.Entries(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if strings.Contains(fmt.Sprint(e), "argon2") {
			t.Errorf("the log holds a password: %v", e)
		}
	}
}

// Two that found the site at the same time: one does.
func TestFoundAtOnce(t *testing.T) {
	_, d := open(t)
	errs := make(chan error)
	for i := range 2 {
		r := keyring{}
		f, err := r.found(DefaultPolicy(), r.person(t, fmt.Sprint(i, "a"), "key-manager"), r.person(t, fmt.Sprint(i, "b"), "witness"))
		if err != nil {
			t.Fatal(err)
		}
		go func() { errs <- d.Found(context.WithoutCancel(t.Context()), Founding{Founding: f}) }()
	}
	a, b := <-errs, <-errs
	if (a == nil) == (b == nil) || !errors.Is(errors.Join(a, b), ErrFounded) {
		t.Errorf("%v and %v", a, b)
	}
	if people, err := d.People(t.Context()); err != nil || len(people) != 2 {
		t.Errorf("%d people, %v", len(people), err)
	}
}

const small = "version: 1\nroles: [a, b]\nconflicts: [[a, b]]\nacts:\n  x: {request: [a], seats: [[b]], to_approve: 60, to_use: 30, entry: x.done, clause: \"1.2\"}\n"

func TestParsePolicy(t *testing.T) {
	p, err := ParsePolicy([]byte(small))
	want := act.Policy{Version: 1, Roles: []string{"a", "b"}, Conflicts: [][2]string{{"a", "b"}}, Acts: map[string]act.Rule{
		"x": {Request: []string{"a"}, Seats: [][]string{{"b"}}, ToApprove: 60, ToUse: 30, Entry: "x.done", Clause: "1.2"}}}
	if diff := cmp.Diff(want, p); err != nil || diff != "" {
		t.Error(err, diff)
	}
	edit := func(old, new string) string {
		if !strings.Contains(small, old) {
			t.Fatalf("%q is not there", old)
		}
		return strings.Replace(small, old, new, 1)
	}
	for name, c := range map[string]struct{ doc, want string }{
		"empty":                {"", "policy:1:1: the document is empty"},
		"list":                 {"[]", "policy:1:1: "},
		"not YAML":             {"version: [", "policy:1:10: "},
		"unknown key":          {small + "quorum: 1\n", "quorum"},
		"key in other case":    {small + "Version: 2\n", "Version"},
		"unknown key in rule":  {edit("to_use", "touse: 1, to_use"), "touse"},
		"key twice":            {small + "version: 2\n", "already defined"},
		"act twice":            {small + "  x: {request: [b], to_approve: 1, to_use: 1}\n", "already defined"},
		"second document":      {small + "---\nversion: 2\n", "2 YAML documents"},
		"broken second":        {small + "---\n[", "policy:7:1: "},
		"no version":           {edit("version: 1", "version: 0"), "version"},
		"tag":                  {edit("roles: [a, b]", "roles: !00\n00"), "is an anchor, alias or tag"},
		"quoted version":       {edit("version: 1", `version: "1"`), "whole number"},
		"negative version":     {edit("version: 1", "version: -1"), "whole number"},
		"fraction":             {edit("60", "1.5"), "whole number"},
		"clock too long":       {edit("60", "2147483648"), "whole number"},
		"clock with unit":      {edit("60", "1h"), "whole number"},
		"no clock to approve":  {edit("to_approve: 60, ", ""), "to_approve"},
		"no clock to use":      {edit("to_use: 30", "to_use: 0"), "to_use"},
		"act without a rule":   {small + "  y:\n", `"y" needs request`},
		"nobody may ask":       {edit("request: [a]", "request: []"), "needs request"},
		"unknown requester":    {edit("request: [a]", "request: [c]"), `"c", which is not in roles`},
		"unknown approver":     {edit("seats: [[b]]", "seats: [[b], [c]]"), `"c", which is not in roles`},
		"empty seat":           {edit("seats: [[b]]", "seats: [[]]"), "nobody can take"},
		"seat not a list":      {edit("seats: [[b]]", "seats: [b]"), "policy:5:29: "},
		"unknown in conflict":  {edit("[[a, b]]", "[[a, c]]"), `"c", which is not in roles`},
		"conflict with itself": {edit("[[a, b]]", "[[a, a]]"), "conflicts with itself"},
		"conflict of one":      {edit("[[a, b]]", "[[a]]"), "1 roles, want 2"},
		"conflict of three":    {edit("[[a, b]]", "[[a, b, a]]"), "3 roles, want 2"},
	} {
		if p, err := ParsePolicy([]byte(c.doc)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		} else if !reflect.DeepEqual(p, act.Policy{}) {
			t.Errorf("%s: refused, and yet there is %+v", name, p)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add(defaultPolicy)
	f.Add([]byte(small))
	f.Add([]byte("version: 1\nroles: &r [a]\nacts: {x: {request: *r, to_approve: 1, to_use: 1}}"))
	f.Add([]byte("version: 1\nroles: [a]\nconflicts: [[a, b, c]]"))
	f.Add([]byte("version: 1\n---\nversion: 2\n"))
	f.Add([]byte("version: 0\nroles: [\"no\", \"a: b\", \"\\u202e\"]\nsole: []\nacts: {}\nrequirements: {}\npermissions: {}"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := ParsePolicy(doc)
		if err != nil {
			return
		}
		if err := p.Check(); err != nil {
			t.Errorf("%q is taken: %v", doc, err)
		}
		for kind, r := range p.Acts {
			if len(r.Request) == 0 || r.ToApprove < 1 || r.ToUse < 1 {
				t.Errorf("%q is taken with act %s: %+v", doc, kind, r)
			}
		}
		again, err := ParsePolicy(FormatPolicy(p))
		if err != nil || !bytes.Equal(again.Canonical(), p.Canonical()) {
			t.Errorf("%q is written as\n%s\nwhich is another policy: %v\n%s\n%s", doc, FormatPolicy(p), err, p.Canonical(), again.Canonical())
		}
	})
}

func TestDefaultPolicy(t *testing.T) {
	p := DefaultPolicy()
	used := map[string]bool{}
	for _, c := range p.Conflicts {
		used[c[0]], used[c[1]] = true, true
	}
	for kind, r := range p.Acts {
		for _, role := range slices.Concat(append(slices.Clone(r.Seats), r.Request)...) {
			used[role] = true
		}
		if r.Clause == "" {
			t.Errorf("%s cites no clause", kind)
		}
		if r.ToApprove > 86400 || r.ToUse > 900 {
			t.Errorf("%s: clocks are %d s and %d s, want at most a day and 15 min", kind, r.ToApprove, r.ToUse)
		}
	}
	seen := map[string]bool{}
	for _, role := range p.Roles {
		if seen[role] {
			t.Errorf("role %s is there twice", role)
		}
		if seen[role] = true; !used[role] {
			t.Errorf("role %s has no act and no conflict", role)
		}
	}
	for _, c := range []struct {
		kind  string
		seats int
	}{{"order.release", 2}, {"order.destroy", 3}, {"batch.destroy", 2}, {"chip.destroy", 2}, {"key.accept", 2}, {"key.share", 1}, {"order.submit", 1}, {"lot.accept", 1}} {
		if got := len(p.Acts[c.kind].Seats); got < c.seats {
			t.Errorf("%s has %d seats, want at least %d", c.kind, got, c.seats)
		}
	}
}

// The reference names every act of the built-in policy as it is.
func TestDefaultPolicyDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/reference/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(doc)) {
		if kind, rest, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "` | "); ok && rows[kind] == "" {
			rows[kind] = rest
		}
	}
	for kind, r := range DefaultPolicy().Acts {
		seats := 0
		if cells := strings.Split(rows[kind], " | "); len(cells) > 2 && cells[1] != "nobody else" {
			seats = strings.Count(cells[1], ";") + 1
		}
		if !strings.Contains(rows[kind], "`"+r.Entry+"`") || !strings.Contains(rows[kind], " | "+r.Clause+" |") || seats != len(r.Seats) {
			t.Errorf("%s is documented as %q, with %d seats", kind, rows[kind], seats)
		}
	}
}

// A witness is independent (SOP 6.4.e.viii): a seat of the witness takes nobody
// else, and a witness holds no other role in the act.
func TestDefaultPolicyWitness(t *testing.T) {
	p := DefaultPolicy()
	isWitness := func(seat []string) bool { return slices.Contains(seat, "witness") }
	for _, kind := range []string{"order.destroy", "batch.destroy"} {
		if !slices.ContainsFunc(p.Acts[kind].Seats, isWitness) {
			t.Errorf("%s has no witness", kind)
		}
	}
	others := []string{"key-manager", "key-custodian", "security-officer", "auditor"}
	for kind, r := range p.Acts {
		if !slices.ContainsFunc(r.Seats, isWitness) {
			continue
		}
		others = append(others, r.Request...)
		for _, seat := range r.Seats {
			if isWitness(seat) && len(seat) != 1 {
				t.Errorf("%s: the seat %v takes others than a witness", kind, seat)
			} else if !isWitness(seat) {
				others = append(others, seat...)
			}
		}
	}
	for _, role := range others {
		if err := p.CheckPerson(act.Person{ID: "1", Roles: []string{"witness", role}}); !errors.Is(err, act.ErrNotAllowed) {
			t.Errorf("a witness may be %s: %v", role, err)
		}
	}
	for _, role := range p.Roles {
		if err := p.CheckPerson(act.Person{ID: "1", Roles: []string{"auditor", role}}); role != "auditor" && err == nil {
			t.Errorf("an auditor may be %s", role)
		}
	}
}

// Every pair of conflicts that the SOP names is kept apart.
func TestDefaultPolicyConflicts(t *testing.T) {
	p := DefaultPolicy()
	for _, pair := range [][]string{{"key-manager", "key-custodian"}, {"key-manager", "hsm-administrator"}, {"system-administrator", "security-officer"}, {"shift-lead", "warehouse"}} {
		if err := p.CheckPerson(act.Person{ID: "1", Roles: pair}); !errors.Is(err, act.ErrNotAllowed) {
			t.Errorf("%v: %v", pair, err)
		}
	}
}

func TestDirectoryReadsWhatItWrote(t *testing.T) {
	s, d := open(t)
	r := keyring{}
	if err := found(t.Context(), d, r, DefaultPolicy(), r.person(t, "1", "key-manager"), r.person(t, "2", "witness")); err != nil {
		t.Fatal(err)
	}
	e := audit.Entry{Kind: "test.tampered", Actor: "test"}
	if err := s.Change(t.Context(), e, func(tx *store.Tx) error {
		_, err := tx.Exec("UPDATE person SET document = $1 WHERE id = '1'", []byte("{"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Person(t.Context(), "1"); err == nil {
		t.Error("a broken person is taken")
	}
	if _, err := d.People(t.Context()); err == nil {
		t.Error("broken people are taken")
	}
}
