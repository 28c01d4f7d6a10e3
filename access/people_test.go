package access

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ankan/act"
	"ankan/audit"
	"ankan/passkey"
	"ankan/store"
	"ankan/store/storetest"
)

// A house is a founded site, at a time that the test sets, whose passwords are
// hashed fast and counted.
type house struct {
	*testing.T
	dir    string
	path   string // of the database
	store  *store.Store
	people *Directory
	gate   *Gate
	keys   keyring
	hashes atomic.Int64

	mu    sync.Mutex
	clock time.Time
}

const (
	km    = "1002"
	so    = "1003"
	nodal = "1009"
)

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{T: t, dir: t.TempDir(), path: storetest.New(t), keys: keyring{}, clock: time.Now().UTC().Truncate(time.Second)}
	signer, err := audit.NewSigner(origin, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	h.must(err)
	h.store, err = store.Open(t.Context(), store.Config{Path: h.path, Origin: origin, Signer: signer, Now: h.now}, Schema())
	h.must(err)
	t.Cleanup(func() { h.store.Close() })
	h.people = New(h.store)
	h.people.hash.derive = func(password, salt []byte) []byte {
		h.hashes.Add(1)
		sum := sha256.Sum256(slices.Concat(salt, password))
		return sum[:]
	}
	h.gate = NewGate(h.people)
	h.must(found(t.Context(), h.people, h.keys, DefaultPolicy(), h.keys.person(t, km, "key-manager"), h.keys.person(t, so, "security-officer"), h.keys.person(t, nodal, "nodal-officer")))
	return h
}

func (h *house) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clock
}

func (h *house) wait(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock = h.clock.Add(d)
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *house) refused(err, want error, why string) {
	h.Helper()
	if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), why) {
		h.Errorf("got %v, want %v: %s", err, want, why)
	}
}

// change is a change as a deed makes it.
func (h *house) change(fn func(*store.Tx) error) error {
	return h.store.Change(h.Context(), audit.Entry{Kind: "test.changed", Actor: "test"}, fn)
}

// record is somebody who is to be drafted, with a passkey of their own.
func (h *house) record(id string, roles ...string) act.Person {
	h.Helper()
	return h.keys.person(h.T, id, roles...)
}

func (h *house) draft(who act.Person, renew bool) string {
	h.Helper()
	code, err := h.people.PutDraft(h.Context(), so, who, renew)
	h.must(err)
	return code
}

func (h *house) register(id, code, password string) error {
	return h.people.Register(h.Context(), id, code, h.keys[id].Credential, password)
}

// enrol puts a draft into force as its act would.
func (h *house) enrol(id string) error {
	dr, err := h.people.GetDraft(h.Context(), id)
	h.must(err)
	return h.change(func(tx *store.Tx) error { return h.people.Enrol(tx, id, fmt.Sprintf("%x", dr.Person.Digest())) })
}

// joins is somebody who came in, with a password if it is not empty.
func (h *house) joins(id, password string, roles ...string) {
	h.Helper()
	h.must(h.register(id, h.draft(h.record(id, roles...), false), password))
	h.must(h.enrol(id))
}

// fsck looks at the log from outside.
func (h *house) fsck() {
	h.Helper()
	if _, err := h.store.Fsck(h.Context(), h.store.VerifierKey()); err != nil {
		h.Error(err)
	}
}

func (h *house) kinds(from int64) []string { return kinds(h.T, h.store, from) }

func TestJoiner(t *testing.T) {
	h := newHouse(t)
	ctx, before := t.Context(), h.store.Size()
	who := h.record("2001", "warehouse")
	code := h.draft(who, false)
	if len(code) != 19 || strings.Count(code, "-") != 3 {
		t.Errorf("the code is %q", code)
	}
	dr, err := h.people.GetDraft(ctx, "2001")
	h.must(err)
	if dr.Registered || len(dr.Person.Credential.ID) != 0 || dr.Editor != so || !dr.Expires.Equal(h.clock.Add(24*time.Hour)) {
		t.Errorf("%+v", dr)
	}
	if _, err := h.people.ProposeEnrol(ctx, "person.enrol", "2001"); err == nil || !strings.Contains(err.Error(), "has not registered a passkey") {
		t.Errorf("proposed before it was registered: %v", err)
	}
	h.refused(h.enrol("2001"), ErrNoDraft, "registered")
	if got, err := h.people.CheckCode(ctx, "2001", strings.ToLower(strings.ReplaceAll(code, "-", ""))); err != nil || !cmp.Equal(got, dr) {
		t.Errorf("%+v, %v", got, err)
	}
	h.must(h.register("2001", code, "correct horse battery"))
	p, err := h.people.ProposeEnrol(ctx, "person.enrol", "2001")
	h.must(err)
	want := who.Params()
	want["change"], want["edited_by"] = "joins", so
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
	data, err := h.people.PersonData(ctx, "2001", false)
	h.must(err)
	if wantData, err := audit.DataOf(act.PersonEntry{Person: who}); err != nil || !cmp.Equal(wantData, data) {
		t.Error(cmp.Diff(wantData, data))
	}
	if drafts, err := h.people.Drafts(ctx); err != nil || len(drafts) != 1 || drafts[0].Person.ID != "2001" || !drafts[0].Registered {
		t.Errorf("%+v, %v", drafts, err)
	}
	h.must(h.enrol("2001"))
	m, err := h.people.Member(ctx, "2001")
	if err != nil || !cmp.Equal(m, Member{who, Active, true, 0}) {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := h.people.GetDraft(ctx, "2001"); !errors.Is(err, ErrNoDraft) {
		t.Errorf("the draft is still there: %v", err)
	}
	if diff := cmp.Diff([]string{"person.drafted person/2001", "person.registered person/2001", "test.changed "}, h.kinds(before)); diff != "" {
		t.Error(diff)
	}
	h.fsck()
}

func TestMover(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.joins("2001", "correct horse battery", "warehouse")
	had, err := h.people.Member(ctx, "2001")
	h.must(err)
	// Another role: passkey and password stay, nobody registers.
	moved := had.Person
	moved.Roles, moved.Credential = []string{"shift-lead"}, passkey.Credential{}
	if code := h.draft(moved, false); code != "" {
		t.Errorf("a code for who keeps their passkey: %q", code)
	}
	if _, err := h.people.CheckCode(ctx, "2001", ""); !errors.Is(err, ErrCode) {
		t.Errorf("the empty code opens it: %v", err)
	}
	p, err := h.people.ProposeEnrol(ctx, "person.enrol", "2001")
	h.must(err)
	if p["change"] != "changes" || p["roles"] != "shift-lead" || p["roles_before"] != "warehouse" || p["state_before"] != Active || p["passkey_before"] != "" {
		t.Errorf("%v", p)
	}
	h.must(h.enrol("2001"))
	if m, err := h.people.Member(ctx, "2001"); err != nil || !m.Has("shift-lead") || !m.HasPassword || !cmp.Equal(m.Credential, had.Credential) {
		t.Errorf("%+v, %v", m, err)
	}
	// Another passkey: the old password goes with the old one.
	h.must(h.change(func(tx *store.Tx) error { return h.people.Counted(tx, "2001", 7) }))
	code := h.draft(h.record("2001", "shift-lead"), true)
	h.must(h.register("2001", code, ""))
	if p, err = h.people.ProposeEnrol(ctx, "person.enrol", "2001"); err != nil || p["passkey_before"] != fmt.Sprintf("%x", []byte(had.Credential.ID)) {
		t.Errorf("%v, %v", p, err)
	}
	h.must(h.enrol("2001"))
	if m, err := h.people.Member(ctx, "2001"); err != nil || m.HasPassword {
		t.Errorf("%+v, %v", m, err)
	}
	h.must(h.change(func(tx *store.Tx) error { return h.people.Counted(tx, "2001", 1) }))
	// An administrator comes in, and stays in, by the other act.
	h.draft(h.record("2001", "system-administrator"), false)
	if kind, err := h.people.EnrolKind(ctx, "2001"); err != nil || kind != "administrator.enrol" {
		t.Errorf("%s, %v", kind, err)
	}
	_, err = h.people.ProposeEnrol(ctx, "person.enrol", "2001")
	h.refused(err, act.ErrNotAllowed, "ask for administrator.enrol")
	h.draft(h.keysOf(km, "warehouse"), false)
	if kind, err := h.people.EnrolKind(ctx, km); err != nil || kind != "administrator.enrol" {
		t.Errorf("who was an administrator: %s, %v", kind, err)
	}
	h.fsck()
}

// keysOf is a person with the passkey that they have.
func (h *house) keysOf(id string, roles ...string) act.Person {
	return act.Person{ID: id, Name: "Person " + id, Roles: roles, Employment: act.Permanent, Credential: h.keys[id].Credential}
}

func TestDraftRefuses(t *testing.T) {
	h := newHouse(t)
	h.joins("2001", "", "warehouse")
	h.must(h.change(func(tx *store.Tx) error { return h.people.Leave(tx, "2001") }))
	for name, c := range map[string]struct {
		change func(*act.Person)
		want   error
		why    string
	}{
		"no number":      {func(p *act.Person) { p.ID = "" }, nil, "person number"},
		"path as number": {func(p *act.Person) { p.ID = "../1" }, nil, "person number"},
		"long number":    {func(p *act.Person) { p.ID = strings.Repeat("1", 33) }, nil, "person number"},
		"hyphen first":   {func(p *act.Person) { p.ID = "-1" }, nil, "person number"},
		"role":           {func(p *act.Person) { p.Roles = []string{"boss"} }, nil, `role "boss"`},
		"no role":        {func(p *act.Person) { p.Roles = nil }, nil, "a role"},
		"conflict":       {func(p *act.Person) { p.Roles = []string{"key-manager", "security-officer"} }, act.ErrNotAllowed, "exclude each other"},
		"role temporary": {func(p *act.Person) { p.Roles, p.Employment = []string{"key-custodian"}, act.Temporary }, act.ErrNotAllowed, "takes employment"},
		"no employment":  {func(p *act.Person) { p.Employment = "" }, nil, `employment is ""`},
		"employment":     {func(p *act.Person) { p.Employment = "friend" }, nil, `employment is "friend"`},
		"own boss":       {func(p *act.Person) { p.ReportsTo = p.ID }, nil, "reports to themselves"},
		"who has left":   {func(p *act.Person) { p.ID = "2001" }, act.ErrNotAllowed, "never given again"},
	} {
		who := act.Person{ID: "3001", Name: "New", Roles: []string{"warehouse"}, Employment: act.Contract}
		c.change(&who)
		before := h.store.Size()
		_, err := h.people.PutDraft(t.Context(), so, who, false)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.why) || h.store.Size() != before {
			t.Errorf("%s: got %v, want %q; %d entries", name, err, c.why, h.store.Size()-before)
		}
	}
	if all, err := h.people.Drafts(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	for _, err := range []error{
		func() error { _, err := h.people.GetDraft(t.Context(), "3001"); return err }(),
		func() error { _, err := h.people.EnrolKind(t.Context(), "3001"); return err }(),
		func() error { _, err := h.people.ProposeEnrol(t.Context(), "person.enrol", "3001"); return err }(),
		func() error { _, err := h.people.PersonData(t.Context(), "3001", false); return err }(),
		h.change(func(tx *store.Tx) error { return h.people.Enrol(tx, "3001", "") }),
	} {
		h.refused(err, ErrNoDraft, "3001")
	}
}

func TestCodes(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	code, other := h.draft(h.record("2001", "warehouse"), false), h.draft(h.record("2002", "warehouse"), false)
	wrong := func(name, id, code string) {
		t.Helper()
		before := h.store.Size()
		if dr, err := h.people.CheckCode(ctx, id, code); !errors.Is(err, ErrCode) || dr.Person.ID != "" {
			t.Errorf("%s: %+v, %v", name, dr, err)
		}
		if err := h.people.Register(ctx, id, code, h.keys["2001"].Credential, ""); !errors.Is(err, ErrCode) {
			t.Errorf("%s: registered: %v", name, err)
		}
		if got := h.kinds(before); len(got) != 2 || !strings.HasPrefix(got[0], "person.register-refused person/") {
			t.Errorf("%s: it left %v", name, got)
		}
	}
	wrong("wrong", "2001", "AAAA-AAAA-AAAA-AAAA")
	wrong("empty", "2001", "")
	wrong("another's", "2001", other)
	wrong("nobody's", "9999", code)
	wrong("no draft", km, code)
	wrong("endless", strings.Repeat("9", 1<<17), code)
	// A new draft makes the old code worth nothing.
	newer := h.draft(h.record("2001", "warehouse"), false)
	wrong("of an older draft", "2001", code)
	h.must(h.register("2001", newer, ""))
	wrong("used", "2001", newer)
	h.refused(h.register("2001", newer, ""), ErrCode, "")
	h.wait(24 * time.Hour)
	if _, err := h.people.CheckCode(ctx, "2002", other); err != nil {
		t.Errorf("to the second: %v", err)
	}
	h.wait(time.Second)
	wrong("too late", "2002", other)
	h.refused(h.register("2002", other, ""), ErrCode, "")
	h.fsck()
}

func TestRegisterRefuses(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	code := h.draft(h.record("2001", "warehouse"), false)
	good := h.keys["2001"].Credential
	for name, c := range map[string]struct {
		change   func(*passkey.Credential)
		password string
		want     error
		why      string
	}{
		"no number":         {change: func(c *passkey.Credential) { c.ID = nil }, why: "incomplete"},
		"no key":            {change: func(c *passkey.Credential) { c.Public = nil }, why: "incomplete"},
		"no party":          {change: func(c *passkey.Credential) { c.RPID = "" }, why: "incomplete"},
		"no origin":         {change: func(c *passkey.Credential) { c.Origin = "" }, why: "incomplete"},
		"another's passkey": {change: func(c *passkey.Credential) { *c = h.keys[km].Credential }, want: act.ErrNotAllowed, why: "the passkey is that of"},
		"another's key":     {change: func(c *passkey.Credential) { c.Public = h.keys[km].Credential.Public }, want: act.ErrNotAllowed, why: "the passkey is that of"},
		"short password":    {password: "eleven char", want: ErrPassword, why: "want at least 12"},
		"short in letters":  {password: "ééééééééééé", want: ErrPassword, why: "has 11 characters"},
		"long password":     {password: strings.Repeat("x", maxPassword+1), want: ErrPassword, why: "at most 1024 bytes"},
	} {
		cred := good
		if c.change != nil {
			c.change(&cred)
		}
		before := h.store.Size()
		err := h.people.Register(ctx, "2001", code, cred, c.password)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.why) || h.store.Size() != before {
			t.Errorf("%s: got %v, want %q", name, err, c.why)
		}
	}
	h.must(h.register("2001", code, strings.Repeat("x", maxPassword)))
	// Two with one code: one registers.
	code = h.draft(h.record("2002", "warehouse"), false)
	cred, errs := h.keys["2002"].Credential, make(chan error)
	for range 2 {
		go func() { errs <- h.people.Register(ctx, "2002", code, cred, "") }()
	}
	if a, b := <-errs, <-errs; (a == nil) == (b == nil) || !errors.Is(errors.Join(a, b), ErrCode) {
		t.Errorf("%v and %v", a, b)
	}
	// A successor prepares while the sole role is held, and comes in after.
	h.must(h.register("2003", h.draft(h.record("2003", "nodal-officer"), false), ""))
	_, err := h.people.ProposeEnrol(ctx, "administrator.enrol", "2003")
	h.refused(err, act.ErrNotAllowed, "one person at a time")
	h.refused(h.enrol("2003"), act.ErrNotAllowed, "one person at a time")
	h.must(h.change(func(tx *store.Tx) error { return h.people.Leave(tx, nodal) }))
	_, err = h.people.ProposeEnrol(ctx, "administrator.enrol", "2003")
	h.must(err)
	h.must(h.enrol("2003"))
	h.fsck()
}

func TestEnrolRefuses(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.joins("2001", "", "warehouse")
	// Changed after it was approved.
	who := h.keysOf("2001", "shift-lead")
	h.draft(who, false)
	digest := fmt.Sprintf("%x", who.Digest())
	who.Roles = []string{"sourcing"}
	h.draft(who, false)
	h.refused(h.change(func(tx *store.Tx) error { return h.people.Enrol(tx, "2001", digest) }), act.ErrNotAllowed, "changed since it was approved")
	// Left after it was drafted: the draft is gone, and one that came back refuses.
	h.must(h.change(func(tx *store.Tx) error { return h.people.Leave(tx, "2001") }))
	if _, err := h.people.GetDraft(ctx, "2001"); !errors.Is(err, ErrNoDraft) {
		t.Errorf("the draft of who has left: %v", err)
	}
	h.must(h.change(func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO person_draft (id, document, editor, code, expires, registered) SELECT id, document, '1003', '', '2030-01-01T00:00:00Z', 1 FROM person WHERE id = '2001'`)
		return err
	}))
	_, err := h.people.ProposeEnrol(ctx, "person.enrol", "2001")
	h.refused(err, act.ErrNotAllowed, "never given again")
	h.refused(h.enrol("2001"), act.ErrNotAllowed, "never given again")
	// Two for one sole role in one commit: the second sees the first.
	h.must(h.change(func(tx *store.Tx) error { return h.people.Leave(tx, nodal) }))
	for _, id := range []string{"3001", "3002"} {
		h.must(h.register(id, h.draft(h.record(id, "nodal-officer"), false), ""))
	}
	err = h.change(func(tx *store.Tx) error {
		for _, id := range []string{"3001", "3002"} {
			if err := h.people.Enrol(tx, id, fmt.Sprintf("%x", h.keysOf(id, "nodal-officer").Digest())); err != nil {
				return err
			}
		}
		return nil
	})
	h.refused(err, act.ErrNotAllowed, "3001 is nodal-officer, and one person at a time")
	if all, err := h.people.Holders(ctx, "nodal-officer"); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	// A policy that came between takes the role away.
	h.must(h.register("3003", h.draft(h.record("3003", "sourcing"), false), ""))
	p := DefaultPolicy()
	p.Version = 2
	p.Requirements["sourcing"] = act.Requirement{Employment: []act.Employment{act.Contract}}
	h.must(h.change(func(tx *store.Tx) error { return h.people.Adopt(tx, p) }))
	_, err = h.people.ProposeEnrol(ctx, "person.enrol", "3003")
	h.refused(err, act.ErrNotAllowed, "takes employment contract")
	h.refused(h.enrol("3003"), act.ErrNotAllowed, "takes employment contract")
	h.fsck()
}

func TestStates(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.joins("2001", "correct horse battery", "warehouse")
	state := func(want string) {
		t.Helper()
		m, err := h.people.Member(ctx, "2001")
		if err != nil || m.State != want {
			t.Errorf("%s, want %s: %v", m.State, want, err)
		}
		_, err = h.people.Person(ctx, "2001")
		if want == Active {
			h.must(err)
		} else {
			h.refused(err, ErrNoPerson, want)
		}
		all, err := h.people.People(ctx)
		h.must(err)
		if here := slices.ContainsFunc(all, func(p act.Person) bool { return p.ID == "2001" }); here != (want == Active) {
			t.Errorf("%s, and here is %v", want, here)
		}
	}
	suspend := func() error { return h.change(func(tx *store.Tx) error { return h.people.Suspend(tx, "2001") }) }
	leave := func(id string) error {
		return h.change(func(tx *store.Tx) error { return h.people.Leave(tx, id) })
	}
	state(Active)
	h.must(suspend())
	state(Suspended)
	// The way back from a suspension keeps the passkey.
	if code := h.draft(h.keysOf("2001", "warehouse"), false); code != "" {
		t.Error("a code for who keeps their passkey")
	}
	p, err := h.people.ProposeEnrol(ctx, "person.enrol", "2001")
	if err != nil || p["state_before"] != Suspended {
		t.Errorf("%v, %v", p, err)
	}
	h.must(h.enrol("2001"))
	state(Active)
	// The way back from a lock does not: the passkey may be a copy.
	before := h.store.Size()
	h.must(h.people.Lock(ctx, "2001", "a copy"))
	state(Locked)
	all, err := h.store.Entries(ctx, before, 10)
	h.must(err)
	if len(all) != 1 || all[0].Kind != act.PersonLocked || all[0].Subject != "person/2001" || all[0].Data["person"] != "2001" || all[0].Data["why"] != "a copy" {
		t.Errorf("%+v", all)
	}
	code := h.draft(h.record("2001", "warehouse"), false)
	if code == "" {
		t.Fatal("a locked person keeps the passkey")
	}
	h.must(h.register("2001", code, "correct horse battery"))
	h.must(h.enrol("2001"))
	state(Active)
	// For good.
	propose, err := h.people.ProposeLeave(ctx, "2001")
	if err != nil || propose["change"] != "leaves" || propose["state_before"] != Active || propose[act.ParamPerson] != fmt.Sprintf("%x", h.keysOf("2001", "warehouse").Digest()) {
		t.Errorf("%v, %v", propose, err)
	}
	data, err := h.people.PersonData(ctx, "2001", true)
	if want, errData := audit.DataOf(act.PersonEntry{Person: h.keysOf("2001", "warehouse")}); err != nil || errData != nil || !cmp.Equal(want, data) {
		t.Errorf("%v, %v", data, err)
	}
	h.must(leave("2001"))
	state(Left)
	if m, err := h.people.Member(ctx, "2001"); err != nil || m.HasPassword {
		t.Errorf("the password of who has left is kept: %v", err)
	}
	_, err = h.people.ProposeLeave(ctx, "2001")
	h.refused(err, act.ErrNotAllowed, "left already")
	for _, err := range []error{suspend(), leave("2001"), h.people.Lock(ctx, "2001", ""), leave("9999"), h.people.Lock(ctx, "9999", ""),
		func() error { _, err := h.people.ProposeLeave(ctx, "9999"); return err }(),
		func() error { _, err := h.people.PersonData(ctx, "9999", true); return err }()} {
		h.refused(err, ErrNoPerson, "")
	}
	state(Left)
	members, err := h.people.Members(ctx)
	if err != nil || len(members) != 4 || members[3].ID != "2001" || members[3].State != Left {
		t.Errorf("%+v, %v", members, err)
	}
	if got := SuspendData("2001"); !cmp.Equal(got, map[string]any{"person": "2001"}) {
		t.Errorf("%v", got)
	}
	h.fsck()
}

func TestCounted(t *testing.T) {
	h := newHouse(t)
	count := func(n uint32) error {
		return h.change(func(tx *store.Tx) error { return h.people.Counted(tx, km, n) })
	}
	h.must(count(0))
	h.must(count(0)) // a passkey that keeps none
	h.must(count(5))
	h.refused(count(5), ErrCloned, "it was 5 and is 5")
	h.refused(count(4), ErrCloned, "it was 5 and is 4")
	h.refused(count(0), ErrCloned, "it was 5 and is 0")
	h.must(count(1<<32 - 1))
	if h.change(func(tx *store.Tx) error { return h.people.Counted(tx, "9999", 1) }) == nil {
		t.Error("nobody's passkey is counted")
	}
}

func TestRecords(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.joins("2001", "", "key-custodian")
	fit := func(why string) {
		t.Helper()
		who, err := h.people.Fit(ctx, "2001", "key-custodian")
		if why == "" {
			if err != nil || who.ID != "2001" {
				t.Error(who, err)
			}
			return
		}
		h.refused(err, act.ErrNotAllowed, why)
	}
	put := func(kind, what string, days int) {
		t.Helper()
		h.must(h.change(func(tx *store.Tx) error {
			return h.people.PutRecord(tx, kind, act.Record{Person: "2001", What: what, At: tx.Time(), Until: tx.Time().AddDate(0, 0, days)}, "act")
		}))
	}
	fit("training.record")
	put(Training, "key-custodian", 365)
	fit("statement.sign")
	put(Statement, "custodian", 30)
	fit("")
	h.wait(30 * 24 * time.Hour)
	fit("statement.sign")
	h.wait(time.Second)
	put(Statement, "custodian", 365)
	fit("")
	for person, n := range map[string]int{"": 2, "2001": 2, km: 0} {
		if all, err := h.people.Records(ctx, Statement, person); err != nil || len(all) != n {
			t.Errorf("%q: %v, %v", person, all, err)
		}
	}
	h.must(h.change(func(tx *store.Tx) error { return h.people.Suspend(tx, "2001") }))
	_, err := h.people.Fit(ctx, "2001", "key-custodian")
	h.refused(err, ErrNoPerson, "suspended")
}

// nextPolicy is the built-in policy as its next version, with edits.
func nextPolicy(t *testing.T, edits ...string) []byte {
	t.Helper()
	doc := string(DefaultPolicyDocument())
	for i, e := range append([]string{"version: 1"}, edits...) {
		new := "version: 2"
		if i > 0 {
			e, new, _ = strings.Cut(e, " => ")
		}
		if strings.Count(doc, e) != 1 {
			t.Fatalf("%q is there %d times", e, strings.Count(doc, e))
		}
		doc = strings.Replace(doc, e, new, 1)
	}
	return []byte(doc)
}

func TestPolicyDraft(t *testing.T) {
	h := newHouse(t)
	ctx, before := t.Context(), h.store.Size()
	_, _, _, err := h.people.PolicyDraft(ctx)
	h.refused(err, ErrNoDraft, "version 2")
	_, err = h.people.ProposePolicy(ctx)
	h.refused(err, ErrNoDraft, "version 2")
	for name, c := range map[string]struct {
		doc []byte
		why string
	}{
		"same version":    {DefaultPolicyDocument(), "version is 1, want 2"},
		"not YAML":        {[]byte("["), "policy:1:"},
		"contradiction":   {nextPolicy(t, "nodal: either => nodal: none"), "nodal is"},
		"nobody enrols":   {nextPolicy(t, "  person.leave:  => #"), "person.leave"},
		"somebody cannot": {nextPolicy(t, `key-manager: {employment: [permanent], => key-manager: {employment: [contract],`), "person 1002"},
	} {
		if _, err := h.people.PutPolicy(ctx, so, c.doc); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: got %v, want %q", name, err, c.why)
		}
	}
	if h.store.Size() != before {
		t.Errorf("refused, and yet it left %v", h.kinds(before))
	}
	doc := nextPolicy(t, "nodal: either => nodal: both", "tries: 5  => tries: 4 ")
	p, err := h.people.PutPolicy(ctx, so, doc)
	h.must(err)
	if got := h.kinds(before); !slices.Equal(got, []string{"policy.drafted policy"}) {
		t.Errorf("it left %v", got)
	}
	back, written, editor, err := h.people.PolicyDraft(ctx)
	if err != nil || back.Digest() != p.Digest() || !bytes.Equal(written, doc) || editor != so {
		t.Errorf("%s, %v", editor, err)
	}
	now, err := h.people.Policy(ctx)
	if err != nil || now.Version != 1 {
		t.Errorf("a draft is in force: %d, %v", now.Version, err)
	}
	params, err := h.people.ProposePolicy(ctx)
	want := map[string]string{"policy_sha256": fmt.Sprintf("%x", p.Digest()), "version": "2", "document_sha256": fmt.Sprintf("%x", sha256.Sum256(doc)), "edited_by": so,
		"change_001": "limits / tries: was 5, is 4", "change_002": `nodal: was "either", is "both"`, "change_003": "version: was 1, is 2"}
	if diff := cmp.Diff(want, params); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if lines := DiffPolicies(now, p); len(lines) != 3 {
		t.Errorf("%v", lines)
	}
	// Somebody came in meanwhile who could not be under it.
	stricter, err := ParsePolicy(nextPolicy(t, `key-manager: {employment: [permanent], => key-manager: {employment: [contract],`))
	h.must(err)
	h.refused(h.change(func(tx *store.Tx) error { return h.people.Adopt(tx, stricter) }), act.ErrNotAllowed, "person 1002")
	h.must(h.change(func(tx *store.Tx) error { return h.people.Adopt(tx, p) }))
	if now, err = h.people.Policy(ctx); err != nil || now.Digest() != p.Digest() {
		t.Errorf("version %d is in force: %v", now.Version, err)
	}
	if all, err := h.people.Policies(ctx); err != nil || len(all) != 2 || all[0].Digest() != DefaultPolicy().Digest() {
		t.Errorf("%d versions: %v", len(all), err)
	}
	_, _, _, err = h.people.PolicyDraft(ctx)
	h.refused(err, ErrNoDraft, "version 3")
	h.refused(h.change(func(tx *store.Tx) error { return h.people.Adopt(tx, p) }), nil, "version is 2, want 3")
	h.fsck()
}

// No password and no enrolment code is in any file of the site, in its log, or
// in what it answers.
func TestSecretsStayOut(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	const password, wrong = "Planted-Password-7194", "Planted-Attempt-20583"
	codes := []string{h.draft(h.record("2001", "warehouse"), false), h.draft(h.record("2002", "warehouse"), false)}
	var said []string
	say := func(err error) {
		if err != nil {
			said = append(said, err.Error())
		}
	}
	say(h.register("2002", codes[0], password))
	say(h.register("2001", codes[0], "Planted"))
	h.must(h.register("2001", codes[0], password))
	h.must(h.enrol("2001"))
	_, err := h.gate.Begin(ctx, First{Person: "2001", Password: wrong, From: "192.0.2.1"})
	say(err)
	c, err := h.gate.Begin(ctx, First{Person: "2001", Password: password, From: "192.0.2.1"})
	h.must(err)
	said = append(said, fmt.Sprintf("%+v", c))
	_, cookie, err := h.finish(c, "2001", "")
	h.must(err)
	m, err := h.people.Member(ctx, "2001")
	h.must(err)
	d, err := h.people.Drafts(ctx)
	h.must(err)
	said = append(said, fmt.Sprintf("%+v %+v %+v %+v", m, d, h.people, h.gate.Sessions("")))
	if len(said) != 5 {
		t.Errorf("it said %q", said)
	}
	if _, err := h.store.Export(ctx, filepath.Join(h.dir, "log")); err != nil {
		t.Fatal(err)
	}
	h.must(h.store.Close())
	secrets := []string{password, wrong, cookie}
	for _, code := range codes {
		secrets = append(secrets, code, strings.ReplaceAll(code, "-", ""), strings.ToLower(strings.ReplaceAll(code, "-", "")))
	}
	seen, hashed := 0, false
	look := func(name, text string) {
		for i, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("%s holds secret %d", name, i)
			}
		}
		hashed = hashed || strings.Contains(text, "$argon2id$")
	}
	h.must(filepath.WalkDir(h.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		seen++
		data, err := os.ReadFile(path)
		look(path, string(data))
		return err
	}))
	look("the database", string(storetest.Disk(t, h.path)))
	for _, s := range said {
		if strings.Contains(s, "$argon2id$") {
			t.Errorf("an answer holds a hash: %s", s)
		}
		look("an answer", s)
	}
	if seen < 2 || !hashed {
		t.Errorf("%d files were looked at, hashes found: %v", seen, hashed)
	}
}
