package ceremony_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/ceremony"
	"ankan/hsm"
	"ankan/keys"
	. "ankan/keys/keystest"
	"ankan/passkey"
	"ankan/store"
)

// importing is a room in which a component is to be entered next.
func importing(t *testing.T) *room {
	t.Helper()
	r := newRoom(t, "bureau", Options{})
	parts, value := components(3, 32)
	r.begin(plan("I-1", ceremony.ImportComponents, transport256+`, kcv: "`+kcv(t, hsm.CMAC, value).String()+`"`, r.parts(hsm.CMAC, parts...)))
	r.to("I-1", ceremony.Enter)
	return r
}

// entryRefused checks that an entry was refused, that the log says so, and that
// nothing of it was kept: the custodian begins again.
func (r *room) entryRefused(err, target error, person string, says ...string) {
	r.Helper()
	r.Refused(err, target, says...)
	e := r.Last("ceremony.entry-refused", "ceremony/I-1")
	if e.Actor != "person/"+person || err == nil || !strings.Contains(err.Error(), e.Data["why"].(string)) {
		r.Errorf("the log says %v of %s", e.Data, e.Actor)
	}
	if s := r.now("I-1"); s.Entered || !s.Began.IsZero() {
		r.Errorf("step %d keeps something: %+v", s.N, s)
	}
}

// Every wrong component, and what the custodian hears.
func TestEntryRefused(t *testing.T) {
	r := importing(t)
	own := r.paper[Custodian1]
	for name, c := range map[string]struct {
		secret []byte
		target error
		says   string
	}{
		"of another":  {r.paper[Custodian2], hsm.ErrKCV, "part 1, of 1005: wrong key check value"},
		"one digit":   {append([]byte{own[0] ^ 1}, own[1:]...), hsm.ErrKCV, "part 1, of 1005"},
		"AES-128":     {own[:16], hsm.ErrAlgorithm, "16 bytes, want 32 of AES-256"},
		"triple DES":  {own[:24], hsm.ErrAlgorithm, "24 bytes, want 32"},
		"too long":    {append(slices.Clone(own), own[:8]...), hsm.ErrAlgorithm, "40 bytes, want 32"},
		"all zero":    {make([]byte, 32), nil, "part 1, of 1005"},
		"one half":    {append(make([]byte, 16), own[16:]...), nil, "part 1, of 1005"},
		"counting up": {[]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"), nil, "part 1, of 1005"},
	} {
		t.Run(name, func(t *testing.T) {
			r.entryRefused(r.enter("I-1", Custodian1, c.secret), c.target, Custodian1, c.says)
		})
	}
	// What is no envelope, or one that was changed on the way.
	e, err := r.runner.Begin(ctx(), "I-1", r.now("I-1").N, Custodian1)
	r.Must(err)
	good := r.seal(e, own)
	for _, bad := range [][]byte{nil, []byte("x"), append(slices.Clone(good), 0), append(slices.Clone(good[:40]), append([]byte{good[40] ^ 1}, good[41:]...)...)} {
		_, err := r.runner.Begin(ctx(), "I-1", e.Step, Custodian1)
		r.Must(err)
		r.entryRefused(r.runner.Give(ctx(), "I-1", e.Step, Custodian1, bad), hsm.ErrSealed, Custodian1)
	}
	// Nobody signs what was not entered.
	r.Refused(r.sign("I-1", Custodian1), act.ErrNotAllowed, "nothing was entered yet")
	r.finish("I-1")
	r.holdsNone(r.paper[Custodian1], r.paper[Custodian2], r.paper[Custodian3])
}

// A component that anybody knows is refused even when its form has the right
// check value of it; so is a key that is.
func TestWeakComponent(t *testing.T) {
	counting := make([]byte, 32)
	for i := range counting {
		counting[i] = byte(i)
	}
	r := newRoom(t, "bureau", Options{})
	r.begin(plan("I-1", ceremony.ImportComponents, transport256, r.parts(hsm.CMAC, counting, secret("b", 32))))
	r.to("I-1", ceremony.Enter)
	r.entryRefused(r.enter("I-1", Custodian1, counting), hsm.ErrWeakKey, Custodian1, "part 1, of 1005")

	r = newRoom(t, "bureau", Options{})
	last := secret("a", 32)
	for i := range last {
		last[i] ^= counting[i]
	}
	r.begin(plan("I-1", ceremony.ImportComponents, transport256, r.parts(hsm.CMAC, secret("a", 32), last)))
	r.to("I-1", ceremony.Join)
	r.joinRefused(hsm.ErrWeakKey)
}

// joinRefused has the components joined, which is refused: the step is open
// again, and the transcript will say why.
func (r *room) joinRefused(target error, says ...string) {
	r.Helper()
	s := r.now("I-1")
	r.Refused(r.next("I-1"), target, says...)
	r.Last("ceremony.failed", "ceremony/I-1")
	c := r.get("I-1")
	if again := c.Steps[s.N-1]; len(again.Signatures) != 0 || again.Effect != "" {
		r.Errorf("%+v", again)
	}
	if n := c.Notes[len(c.Notes)-1]; n.Kind != "failure" || n.Step != s.N || n.Text == "" {
		r.Errorf("%+v", n)
	}
	if r.key("transport/op/11").State != "" || r.inModule("transport/op/11") {
		r.Error("a key was made all the same")
	}
}

// Components that are each right, and together another key than the plan's.
func TestWrongKey(t *testing.T) {
	r := newRoom(t, "bureau", Options{})
	parts, _ := components(3, 32)
	r.begin(plan("I-1", ceremony.ImportComponents, transport256+`, kcv: "`+kcv(t, hsm.CMAC, secret("x", 32)).String()+`"`, r.parts(hsm.CMAC, parts...)))
	r.to("I-1", ceremony.Join)
	r.joinRefused(hsm.ErrKCV)
	if r.now("I-1").Step.Effect != ceremony.Join {
		t.Error("the components were right: they need not be entered again")
	}
	r.Must(r.Do("ceremony.abort", "ceremony/I-1/the form is wrong", KeyManager))
	r.clean("I-1")
	r.Refused(r.Do("ceremony.abort", "ceremony/I-1/again", KeyManager), act.ErrNotAllowed, "it is aborted")
}

// One component entered as two, with check values by two methods that hide it.
func TestSameComponent(t *testing.T) {
	r := newRoom(t, "bureau", Options{})
	a := secret("a", 32)
	parts := fmt.Sprintf(`parts: [{custodian: "1005", kcv: "%s"}, {custodian: "1006", kcv: "%s"}]`, kcv(t, hsm.CMAC, a), kcv(t, hsm.GP, a))
	r.paper[Custodian1], r.paper[Custodian2] = a, a
	r.begin(plan("I-1", ceremony.ImportComponents, transport256, parts))
	r.to("I-1", ceremony.Join)
	r.joinRefused(hsm.ErrTwice, "part 2, of 1006")
	// The module says whose it is: that one is entered again, the other is not.
	if s := r.now("I-1"); s.Step.Effect != ceremony.Enter || s.Step.By[0] != Custodian2 || s.Entered || !r.get("I-1").Steps[s.N-2].Done() {
		t.Errorf("%+v", s)
	}
}

// The same sealed bytes again, and bytes that were sealed for another place.
func TestOtherPlace(t *testing.T) {
	r := importing(t)
	first := r.now("I-1").N
	e, err := r.runner.Begin(ctx(), "I-1", first, Custodian1)
	r.Must(err)
	sealed := r.seal(e, r.paper[Custodian1])
	r.Must(r.runner.Give(ctx(), "I-1", first, Custodian1, sealed))
	r.Must(r.sign("I-1", Custodian1))
	e2, err := r.runner.Begin(ctx(), "I-1", first+1, Custodian2)
	r.Must(err)
	r.entryRefused(r.runner.Give(ctx(), "I-1", first+1, Custodian2, sealed), hsm.ErrTwice, Custodian2, "part 2, of 1006")

	// Sealed for the first part, to the same module.
	_, err = r.runner.Begin(ctx(), "I-1", first+1, Custodian2)
	r.Must(err)
	wrong := e2
	wrong.Label = e.Label
	r.entryRefused(r.runner.Give(ctx(), "I-1", first+1, Custodian2, r.seal(wrong, r.paper[Custodian2])), hsm.ErrSealed, Custodian2)

	// Sealed for another ceremony that is open at the same time.
	parts, _ := components(2, 32)
	mine := r.paper[Custodian2]
	r.begin(plan("I-2", ceremony.ImportComponents, `name: transport/op/12, purpose: transport, algorithm: AES-256`, r.parts(hsm.CMAC, parts...)))
	r.to("I-2", ceremony.Enter)
	other, err := r.runner.Begin(ctx(), "I-2", r.now("I-2").N, Custodian1)
	r.Must(err)
	for _, e := range []ceremony.Entry{other, {Agree: other.Agree, Content: e2.Content, Label: e2.Label}, {Agree: e2.Agree, Content: other.Content, Label: other.Label}} {
		_, err = r.runner.Begin(ctx(), "I-1", first+1, Custodian2)
		r.Must(err)
		r.entryRefused(r.runner.Give(ctx(), "I-1", first+1, Custodian2, r.seal(e, mine)), hsm.ErrSealed, Custodian2)
	}
}

// Who enters, when, and for how long.
func TestEntryTime(t *testing.T) {
	r := importing(t)
	n := r.now("I-1").N
	for _, who := range []string{Custodian2, KeyManager, "9999"} {
		_, err := r.runner.Begin(ctx(), "I-1", n, who)
		r.Refused(err, ceremony.ErrTurn, "it is that of person 1005")
	}
	_, err := r.runner.Begin(ctx(), "I-1", n+1, Custodian2)
	r.Refused(err, ceremony.ErrTurn, fmt.Sprintf("step %d is next, not %d", n, n+1))
	_, err = r.runner.Begin(ctx(), "I-1", n-1, Custodian1)
	r.Refused(err, ceremony.ErrTurn)
	_, err = r.runner.Begin(ctx(), "I-9", n, Custodian1)
	r.Refused(err, ceremony.ErrNone)
	r.entryRefused(r.runner.Give(ctx(), "I-1", n, Custodian1, []byte("x")), ceremony.ErrLate, Custodian1)

	e, err := r.runner.Begin(ctx(), "I-1", n, Custodian1)
	r.Must(err)
	if !e.Ends.Equal(r.Now().Add(2*time.Minute)) || e.Bytes != 32 || e.KCV == "" {
		t.Errorf("%+v", e)
	}
	r.Wait(121 * time.Second)
	r.entryRefused(r.runner.Give(ctx(), "I-1", n, Custodian1, r.seal(e, r.paper[Custodian1])), ceremony.ErrLate, Custodian1, "2m0s", "begin again")
	// Somebody else does not give what this one began.
	_, err = r.runner.Begin(ctx(), "I-1", n, Custodian1)
	r.Must(err)
	r.entryRefused(r.runner.Give(ctx(), "I-1", n, Custodian2, r.seal(e, r.paper[Custodian1])), ceremony.ErrTurn, Custodian2)
	r.Must(r.enter("I-1", Custodian1, r.paper[Custodian1]))
	// Begun again, what was entered is wiped.
	_, err = r.runner.Begin(ctx(), "I-1", n, Custodian1)
	r.Must(err)
	if r.now("I-1").Entered {
		t.Error("what was entered is still there")
	}
	r.Must(r.enter("I-1", Custodian1, r.paper[Custodian1]))
	a, err := r.Ask("ceremony.step", fmt.Sprintf("ceremony/I-1/%d", n), Custodian1)
	r.Must(err)
	// Entered again between the signature and the deed: other bytes were signed.
	r.Must(r.enter("I-1", Custodian1, r.paper[Custodian1]))
	r.Refused(r.Perform(a), act.ErrNotAllowed)
	r.Must(r.sign("I-1", Custodian1))
	if r.Last("ceremony.entered", "ceremony/I-1").Data["sealed_sha256"] == "" {
		t.Error("the log does not say what was entered")
	}
	if own, err := r.runner.Own(ctx(), "I-1", r.now("I-1").N, Custodian2); !errors.Is(err, act.ErrNotAllowed) {
		t.Errorf("a custodian who enters is shown %+v, %v", own, err)
	}
}

// What is sealed to one custodian is not handed to another.
func TestOwn(t *testing.T) {
	r := newRoom(t, "op", Options{})
	r.run(plan("G-1", ceremony.Generate, transport256))
	r.begin(plan("E-1", ceremony.ExportComponents, transport256, exportTo))
	r.to("E-1", ceremony.Show)
	n := r.now("E-1").N
	for _, who := range []string{Custodian2, KeyManager} {
		_, err := r.runner.Own(ctx(), "E-1", n, who)
		r.Refused(err, ceremony.ErrTurn)
	}
	own, err := r.runner.Own(ctx(), "E-1", n, Custodian1)
	r.Must(err)
	if _, err := r.unseal(Custodian2, own); !errors.Is(err, hsm.ErrSealed) {
		t.Errorf("another's screen opened it: %v", err)
	}
	if r.Last("ceremony.shown", "ceremony/E-1").Actor != "person/"+Custodian1 {
		t.Error("the log does not say who saw it")
	}
	r.Refused(r.runner.Give(ctx(), "E-1", n, Custodian1, []byte("x")), act.ErrNotAllowed, "nothing is entered or shown there")
}

// A plan that does not fit the site: each finding, which keeps it from opening.
func TestFindings(t *testing.T) {
	r := newRoom(t, "bureau", Options{Change: func(p *act.Policy, people []act.Person) {
		p.Keys["transport"] = act.KeyRule{Algorithms: []string{"AES-256"}, Cryptoperiod: 100}
		p.Conflicts = slices.DeleteFunc(p.Conflicts, func(c [2]string) bool { return slices.Contains(c[:], "witness") })
		people[8].Roles = []string{"witness", "security-officer"}
		people[6].ReportsTo = Custodian2
		people[1].Credential.Seal = nil
		people[5].Credential.Seal = nil
	}})
	parts, _ := components(2, 32)
	two := r.parts(hsm.CMAC, parts...)
	r.run(plan("G-1", ceremony.Generate, transport256))
	r.run(plan("G-2", ceremony.Generate, `name: gone, purpose: transport, algorithm: AES-256`))
	r.run(destroyPlan("D-2", `name: gone, purpose: transport, algorithm: AES-256`))
	for _, id := range []string{"kek", "kek-old", "kek-stopped"} {
		_, err := r.Guard.Generate(ctx(), id, hsm.Exchange, hsm.AES256)
		r.Must(err)
	}
	_, err := r.Guard.Generate(ctx(), "order/1", hsm.Order, hsm.AES256)
	r.Must(err)
	_, err = r.Guard.Generate(ctx(), "old", hsm.Transport, hsm.AES256)
	r.Must(err)
	_, err = r.Guard.Generate(ctx(), "lost", hsm.Transport, hsm.AES256)
	r.Must(err)
	r.Must(r.Module.Module.Destroy(ctx(), "lost"))
	r.Must(r.Do("key.suspend", "key/kek-stopped", Officer))
	r.Change(func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE key SET expires = '2026-11-23T09:00:00Z' WHERE id IN ('kek-old', 'old')`)
		return err
	})
	r.owes[Custodian3] = "it was due 2026-10-01"
	r.begin(plan("G-9", ceremony.Generate, `name: busy, purpose: transport, algorithm: AES-256`))
	expired := certificate(t, &elliptic256(t).PublicKey, r.Now().Add(-2*time.Hour), r.Now().Add(-time.Hour))
	const k = `name: new, purpose: transport, algorithm: AES-256`
	const old = `name: old, purpose: transport, algorithm: AES-256`
	wrap := func(lines string) string { return "wrap: {" + lines + "}" }
	blob := "blob: " + base64.StdEncoding.EncodeToString([]byte("blob"))
	swap := func(doc, old, new string) string {
		t.Helper()
		if !strings.Contains(doc, old) {
			t.Fatalf("no %q in %s", old, doc)
		}
		return strings.ReplaceAll(doc, old, new)
	}
	for _, c := range []struct{ name, doc, want string }{
		{"two people in one", swap(plan("X", ceremony.Generate, k), `"1003"`, `"1006"`), "security-officer: person 1006: not allowed: is key-custodian, not security-officer"},
		{"nobody", swap(plan("X", ceremony.Generate, k), `"1003"`, `"7777"`), `security-officer: person "7777"`},
		{"officer as witness", swap(destroyPlan("X", transport256), `"1004"`, `"1008"`), "witness: person 1008: not allowed: is security-officer, not witness"},
		{"witness who is an officer", swap(destroyPlan("X", transport256), `"1004"`, `"1009"`), "witness: person 1009 is security officer, key manager or custodian (SOP 6.4.e.viii)"},
		{"custodians of one line", plan("X", ceremony.ImportComponents, k, swap(two, `"1005"`, `"1007"`)), "custodians 1007 and 1006 report to one another (SOP 6.4.b)"},
		{"inventory", plan("X", ceremony.ImportComponents, k, swap(two, `"1006"`, `"1007"`)), "custodian 2: person 1007 owes an inventory: it was due 2026-10-01 (SOP 6.3.2.q)"},
		{"no seal", plan("X", ceremony.ExportComponents, transport256, `parts: [{custodian: "1005"}, {custodian: "1006"}]`), "custodian 2: the passkey of person 1006 cannot open what is sealed"},
		{"name used", plan("X", ceremony.Generate, transport256), "key transport/op/11 is active: names are used once"},
		{"name of a destroyed key", plan("X", ceremony.ImportComponents, `name: gone, purpose: transport, algorithm: AES-256`, two), "key gone is destroyed: names are used once, for ever"},
		{"wrapped, of a destroyed key", plan("X", ceremony.ImportWrapped, `name: gone, purpose: transport, algorithm: AES-256`, wrap("format: AES-KW, under: kek, "+blob)), "key gone is destroyed: names are used once"},
		{"policy", plan("X", ceremony.Generate, swap(k, "AES-256", "AES-128")), "it is AES-128, the policy takes AES-256 (SOP 6.4.e.i)"},
		{"no backup", plan("X", ceremony.Generate, subscriber), "needs a backup; add the holders of its shares (SOP 6.4.e.vi)"},
		{"backup of an order", plan("X", ceremony.Generate, `name: order/2, purpose: order, algorithm: AES-256`, `backup: {threshold: 2, holders: ["1005", "1007", "1006"]}`), `a key for "order" has no backup: it dies with what it is for`},
		{"export of a master", plan("X", ceremony.ExportComponents, `name: order/1, purpose: order, algorithm: AES-256, partner: op`, exportTo), "leaves the module in no form (SOP 6.4.e.iii.a)"},
		{"export of nothing", plan("X", ceremony.ExportComponents, k, exportTo), "key new is not in the register"},
		{"export of a lost key", plan("X", ceremony.ExportComponents, `name: lost, purpose: transport, algorithm: AES-256`, exportTo), "key lost is not in the module"},
		{"export to nobody", plan("X", ceremony.ExportComponents, `name: transport/op/11, purpose: transport, algorithm: AES-256`, exportTo), "does not say for which partner the key leaves"},
		{"export after its period", plan("X", ceremony.ExportComponents, old, exportTo), "key old: its cryptoperiod ended 2026-11-23; rotate it"},
		{"export as another", plan("X", ceremony.ExportComponents, swap(transport256, "AES-256", "AES-128"), exportTo), `key transport/op/11 is AES-256 for "transport", the plan says AES-128 for "transport"`},
		{"export of another", plan("X", ceremony.ExportComponents, transport256+`, kcv: "000000 GP"`, exportTo), "the plan says 000000 GP"},
		{"import of a master", plan("X", ceremony.ImportComponents, swap(subscriber, "subscriber/1", "subscriber/2"), two), "is made here; it does not come from elsewhere"},
		{"expired KEK", plan("X", ceremony.ExportWrapped, transport256, wrap("format: AES-KW, under: kek-old")), "key kek-old, under which it is wrapped: its cryptoperiod ended 2026-11-23"},
		{"suspended KEK", plan("X", ceremony.ImportWrapped, k, wrap("format: AES-KW, under: kek-stopped, "+blob)), "key kek-stopped, under which it is wrapped, is suspended"},
		{"no KEK", plan("X", ceremony.ImportWrapped, k, wrap("format: AES-KW, under: none, "+blob)), "key none, under which it is wrapped, is not in the register"},
		{"KEK for something else", plan("X", ceremony.ImportWrapped, k, wrap("format: RSA-OAEP-SHA-256, under: kek, "+blob)), `key kek, under which it is wrapped, is for "exchange", want "unwrap"`},
		{"KEK of ECDH", plan("X", ceremony.ImportWrapped, k, wrap("format: ECDH, label: x, under: kek, "+blob)), `is for "exchange", want "agree"`},
		{"expired certificate", plan("X", ceremony.ExportWrapped, `name: transport/op/11, purpose: transport, algorithm: AES-256, partner: op`, "wrap:\n  format: ECDH\n  label: x\n  certificate: |\n"+expired), "the partner's certificate is valid from 2026-11-23 to 2026-11-23, not now"},
		{"rotate nothing", plan("X", ceremony.Rotate, k, "old: none"), "old key none is not in the register"},
		{"rotate what is gone", plan("X", ceremony.Rotate, k, "old: gone"), "old key gone is destroyed"},
		{"rotate another", plan("X", ceremony.Rotate, k, "old: kek"), `old key kek is for "exchange", the new one for "transport"`},
		{"restore nothing", plan("X", ceremony.Restore, k, `holders: ["1005", "1007"]`), "key new is not in the register"},
		{"restore without shares", plan("X", ceremony.Restore, transport256, `holders: ["1005", "1007"]`, "rehearsal: true"), "person 1005 holds no share of transport/op/11"},
		{"destroy nothing", destroyPlan("X", k), "key new is not in the register"},
		{"two at once", plan("X", ceremony.Generate, `name: busy, purpose: transport, algorithm: AES-256`), "ceremony G-9 is about key busy too, and is under way"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, findings, err := r.runner.Draft(ctx(), KeyManager, []byte(c.doc))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(findings, func(f string) bool { return strings.Contains(f, c.want) }) {
				t.Errorf("findings %q, want %q", findings, c.want)
			}
			if e := r.Last("ceremony.drafted", "ceremony/X"); e.Data["findings"] != int64(len(findings)) {
				t.Errorf("%v", e.Data)
			}
			if err := r.open("X"); !errors.Is(err, act.ErrNotAllowed) || !strings.Contains(err.Error(), findings[0]) {
				t.Errorf("opened: %v", err)
			}
		})
	}
	r.lands = "SG"
	r.opened(r.Site)
	_, findings, err := r.runner.Draft(ctx(), KeyManager, []byte(plan("X", ceremony.Generate, k)))
	if err != nil || len(findings) != 1 || findings[0] != `the site is in "SG": keys live in IN only (SOP 6.4.e)` {
		t.Errorf("%q, %v", findings, err)
	}
	// A compromised key is restored for nothing; a key that the module cannot be
	// asked about is no finding.
	r.lands = "IN"
	r.opened(r.Site)
	r.Must(r.Do("key.compromise", "key/old", KeyManager))
	_, findings, err = r.runner.Draft(ctx(), KeyManager, []byte(plan("X", ceremony.Restore, old, `holders: ["1005", "1007"]`)))
	if err != nil || !strings.Contains(strings.Join(findings, "\n"), "key old is compromised, and is used for nothing more") {
		t.Errorf("%q, %v", findings, err)
	}
	r.gone(true)
	for _, doc := range []string{plan("X", ceremony.Restore, transport256, `holders: ["1005", "1007"]`), plan("X", ceremony.ExportComponents, transport256, exportTo)} {
		_, _, err = r.runner.Draft(ctx(), KeyManager, []byte(doc))
		r.Refused(err, errGone)
	}
	// Fewer holders than the threshold.
	r.gone(false)
	r2 := newRoom(t, "op", Options{})
	r2.run(plan("G-1", ceremony.Generate, subscriber, backup2of3))
	_, findings, err = r2.runner.Draft(ctx(), KeyManager, []byte(plan("X", ceremony.Restore, subscriber, `holders: ["1005"]`, "rehearsal: true")))
	if err != nil || len(findings) != 1 || findings[0] != "1 holders are there, 2 shares restore the key" {
		t.Errorf("%q, %v", findings, err)
	}
}

func elliptic256(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A plan that was edited after people read it, at each moment.
func TestEdited(t *testing.T) {
	r := newRoom(t, "bureau", Options{})
	doc := plan("G-1", ceremony.Generate, transport256)
	r.draft(doc)
	a, err := r.Act("ceremony.open", "ceremony/G-1", KeyManager)
	r.Must(err)
	if a.Params[act.ParamEditors] != KeyManager || a.Params["person_hsm-administrator"] != HSMAdmin || !strings.Contains(a.Params["step_05"], "Generate the key") {
		t.Errorf("%v", a.Params)
	}
	r.draft(strings.Replace(doc, "Key room 1", "Key room 2", 1))
	// Between proposal and request nobody looks; the deed does.
	r.Must(r.Desk.Request(ctx(), a.Canonical(), r.Sign(a, KeyManager, act.Request)))
	for _, who := range []string{HSMAdmin, Officer} {
		r.Must(r.Desk.Sign(ctx(), a.ID, r.Sign(a, who, act.Approve)))
	}
	r.Refused(r.Perform(a), act.ErrNotAllowed)
	w, err := r.Desk.Warrant(ctx(), a.ID)
	r.Must(err)
	r.Refused(r.Deeds["ceremony.open"].Do(ctx(), w), ceremony.ErrEdited) // the deed itself, whoever calls it
	if r.get("G-1").State != ceremony.Drafted || r.inModule("ceremony/G-1/agree") {
		t.Error("it was opened")
	}
	r.Must(r.open("G-1"))
	_, _, err = r.runner.Draft(ctx(), KeyManager, []byte(doc))
	r.Refused(err, act.ErrNotAllowed, "it has begun; a plan is not changed any more")
	r.Refused(r.open("G-1"), act.ErrNotAllowed, "it is open")
	// What was signed of a step, and is not so any more.
	s := r.now("G-1")
	a, err = r.Act("ceremony.step", fmt.Sprintf("ceremony/G-1/%d", s.N), KeyManager)
	r.Must(err)
	a.Params["statement"] = "I saw nothing."
	r.Must(r.Desk.Request(ctx(), a.Canonical(), r.Sign(a, KeyManager, act.Request)))
	w, err = r.Desk.Warrant(ctx(), a.ID)
	r.Must(err)
	r.Refused(r.Deeds["ceremony.step"].Do(ctx(), w), act.ErrNotAllowed, "statement was")
	delete(a.Params, "statement")
	a.Params["other"] = "x"
	// The editor does not approve the plan.
	r.draft(plan("G-2", ceremony.Generate, subscriber, backup2of3))
	_, err = r.Ask("ceremony.open", "ceremony/G-2", KeyManager, Officer, Officer2)
	r.Refused(err, act.ErrNotAllowed)
}

// stepFailed checks that a step was refused and that the log says so.
func (r *room) stepFailed(err, target error, says ...string) {
	r.Helper()
	r.Refused(err, target, says...)
	all := r.Entries()
	last := all[len(all)-1]
	if last.Kind != "act.failed" && last.Kind != "act.refused" && last.Kind != "person.locked" {
		r.Errorf("the log ends with %s, want a refusal", last.Kind)
	}
}

// Who signs which step, how often, and in which order.
func TestTurns(t *testing.T) {
	r := newRoom(t, "bureau", Options{})
	id := r.begin(plan("G-1", ceremony.Generate, transport256))
	first := r.now(id)
	r.stepFailed(r.sign(id, HSMAdmin), ceremony.ErrTurn, "it is signed by 1001")
	late, err := r.Ask("ceremony.step", "ceremony/G-1/1", KeyManager)
	r.Must(err)
	_, err = r.Propose("ceremony.step", "ceremony/G-1/2")
	r.Refused(err, ceremony.ErrTurn, "step 1 is next, not 2")
	used, err := r.Ask("ceremony.step", "ceremony/G-1/1", KeyManager)
	r.Must(err)
	r.Must(r.Perform(used))
	if !r.get(id).Steps[first.N-1].Done() {
		t.Error("the step is not done")
	}
	r.Refused(r.Perform(used), act.ErrUsed)
	r.stepFailed(r.Perform(late), ceremony.ErrTurn, "step 2 is next, not 1")
	// The warrant of one step is not that of another, nor of another ceremony.
	r.begin(plan("G-2", ceremony.Generate, `name: other, purpose: transport, algorithm: AES-256`))
	a, err := r.Ask("ceremony.step", "ceremony/G-2/1", KeyManager)
	r.Must(err)
	w, err := r.Desk.Warrant(ctx(), a.ID)
	r.Must(err)
	r.Refused(w.Use(ctx(), "ceremony.step", "ceremony/G-1/2", nil, nil), act.ErrNotAllowed, "the warrant is for ceremony.step of ceremony/G-2/1")
	r.Refused(w.Use(ctx(), "ceremony.abort", "ceremony/G-2/1", nil, nil), act.ErrNotAllowed)
	// Everybody is one person.
	r.Must(r.sign(id, KeyManager))
	r.stepFailed(r.sign(id, KeyManager), act.ErrNotAllowed, "person 1001 has signed it")
	r.stepFailed(r.sign(id, Officer2), ceremony.ErrTurn)
	// Too late: the act is ten minutes old.
	a, err = r.Ask("ceremony.step", "ceremony/G-1/2", HSMAdmin)
	r.Must(err)
	r.Wait(11 * time.Minute)
	r.Refused(r.Perform(a), act.ErrTooLate)
	r.finish(id)
	_, err = r.Propose("ceremony.step", "ceremony/G-1/1")
	r.Refused(err, act.ErrNotAllowed, "it is closed")
	for _, subject := range []string{"G-1/1", "ceremony/G-1", "ceremony/none/1"} {
		if _, err := r.Propose("ceremony.step", subject); err == nil {
			t.Errorf("%s is proposed", subject)
		}
	}
}

// Two people sign the two parts of a step at the same moment: it is carried
// out, once.
func TestTwoAtOnce(t *testing.T) {
	r := newRoom(t, "bureau", Options{})
	id := r.begin(plan("G-1", ceremony.Generate, transport256))
	r.to(id, ceremony.Confirm)
	subject := fmt.Sprintf("ceremony/G-1/%d", r.now(id).N)
	acts := map[string]act.Act{}
	for _, who := range []string{KeyManager, Officer} {
		a, err := r.Ask("ceremony.step", subject, who)
		r.Must(err)
		acts[who] = a
	}
	var wg sync.WaitGroup
	for _, a := range acts {
		wg.Go(func() {
			if err := r.Perform(a); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			for range 20 {
				if err := r.runner.Resume(ctx()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if r.key("transport/op/11").State != keys.Live {
		t.Errorf("the key is %s", r.key("transport/op/11").State)
	}
	r.finish(id)
	r.carriedOutOnce(id)
}

// carriedOutOnce checks that the log has each step's outcome once.
func (r *room) carriedOutOnce(id string) {
	r.Helper()
	seen := map[any]bool{}
	for _, e := range r.Entries() {
		if e.Kind == "ceremony.carried-out" && e.Subject == "ceremony/"+id {
			if seen[e.Data["step"]] {
				r.Errorf("step %v was carried out twice", e.Data["step"])
			}
			seen[e.Data["step"]] = true
		}
	}
	if len(seen) == 0 {
		r.Error("nothing was carried out")
	}
}

// Resume comes by every twenty seconds, whatever goes on.
func TestResumeMeanwhile(t *testing.T) {
	r := newRoom(t, "bureau", Options{})
	var wg sync.WaitGroup
	over, stop := context.WithCancel(ctx())
	wg.Go(func() {
		for over.Err() == nil {
			if err := r.runner.Resume(ctx()); err != nil {
				t.Error(err)
			}
		}
	})
	parts, value := components(3, 32)
	r.run(plan("I-1", ceremony.ImportComponents, transport256, r.parts(hsm.CMAC, parts...)))
	r.run(plan("G-1", ceremony.Generate, subscriber, backup2of3))
	r.run(destroyPlan("D-1", subscriber))
	stop()
	wg.Wait()
	r.is("transport/op/11", value)
	for _, id := range []string{"I-1", "G-1", "D-1"} {
		r.carriedOutOnce(id)
		r.clean(id)
	}
	r.Verify()
}

// A person who may not take part any more: people change while a ceremony waits.
func TestPeopleChange(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(r *room)
		target error
		says   string
	}{
		"training ended":   {func(r *room) { r.endRecord(access.Training) }, act.ErrNotAllowed, `takes the training "key-custodian", and none is in date`},
		"statement ended":  {func(r *room) { r.endRecord(access.Statement) }, act.ErrNotAllowed, `takes the signed statement "custodian", and none is in date`},
		"suspended":        {func(r *room) { r.setPerson(Custodian1, access.Suspended) }, access.ErrNoPerson, "is suspended"},
		"left":             {func(r *room) { r.setPerson(Custodian1, access.Left) }, access.ErrNoPerson, "is left"},
		"locked":           {func(r *room) { r.Must(r.People.Lock(ctx(), Custodian1, "lost the passkey")) }, access.ErrNoPerson, "is locked"},
		"became temporary": {func(r *room) { r.setEmployment(Custodian1, act.Temporary) }, act.ErrNotAllowed, "takes employment permanent"},
		"policy asks more": {func(r *room) { r.setTraining("key-custodian-2027") }, act.ErrNotAllowed, `takes the training "key-custodian-2027"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := importing(t)
			n := r.now("I-1").N
			e, err := r.runner.Begin(ctx(), "I-1", n, Custodian1)
			r.Must(err)
			given := r.seal(e, r.paper[Custodian1])
			c.spoil(r)
			r.entryRefused(r.runner.Give(ctx(), "I-1", n, Custodian1, given), c.target, Custodian1, c.says)
			_, err = r.runner.Begin(ctx(), "I-1", n, Custodian1)
			r.Refused(err, c.target, c.says)
		})
		t.Run(name+", entered", func(t *testing.T) {
			r := importing(t)
			r.Must(r.enter("I-1", Custodian1, r.paper[Custodian1]))
			a, err := r.Ask("ceremony.step", fmt.Sprintf("ceremony/I-1/%d", r.now("I-1").N), Custodian1)
			r.Must(err)
			c.spoil(r)
			r.Refused(r.Perform(a), nil)
			if r.now("I-1").Signed(Custodian1) {
				t.Error("the step is signed")
			}
			r.Must(r.Do("ceremony.abort", "ceremony/I-1/somebody is missing", KeyManager))
			r.clean("I-1")
		})
	}
}

func (r *room) endRecord(kind string) {
	r.Helper()
	r.Change(func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE record SET until = '2026-11-23T09:00:00Z' WHERE kind = $1 AND person = $2`, kind, Custodian1)
		return err
	})
}

// setPolicy puts an altered policy in the place of the one in force.
func (r *room) setPolicy(next bool, change func(*act.Policy)) {
	r.Helper()
	p, err := r.People.Policy(ctx())
	r.Must(err)
	if next {
		p.Version++
	}
	change(&p)
	doc, err := json.Marshal(p)
	r.Must(err)
	r.Change(func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO policy (version, document) VALUES ($1, $2) ON CONFLICT (version) DO UPDATE SET document = excluded.document`, p.Version, doc)
		return err
	})
}

func (r *room) setTraining(name string) {
	r.setPolicy(false, func(p *act.Policy) {
		q := p.Requirements["key-custodian"]
		q.Training = name
		p.Requirements["key-custodian"] = q
	})
}

func (r *room) setEmployment(id string, e act.Employment) {
	r.Helper()
	who, err := r.People.Person(ctx(), id)
	r.Must(err)
	who.Employment = e
	doc, err := json.Marshal(who)
	r.Must(err)
	r.Change(func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE person SET document = $1 WHERE id = $2`, doc, id)
		return err
	})
}

// The policy changes in the middle: signatures under the old one count no more
// for what comes, what was done stays done, and the script stays as it was read.
func TestPolicyChanges(t *testing.T) {
	r := newRoom(t, "bureau", Options{})
	id := r.begin(plan("G-1", ceremony.Generate, transport256))
	r.to(id, ceremony.Make)
	before := r.get(id).Steps
	a, err := r.Ask("ceremony.step", fmt.Sprintf("ceremony/G-1/%d", r.now(id).N), HSMAdmin)
	r.Must(err)
	r.setPolicy(true, func(p *act.Policy) {
		p.Keys["transport"] = act.KeyRule{Algorithms: []string{"AES-128"}}
		p.Limits.ComponentEntry = 30
	})
	r.Refused(r.Perform(a), act.ErrNotAllowed, "in force is 2; ask again")
	// The plan is of before; the policy that is in force decides what is made.
	r.Refused(r.sign(id, HSMAdmin), act.ErrNotAllowed, "it is AES-256, the policy takes AES-128")
	r.Last("ceremony.failed", "ceremony/G-1")
	for i, s := range r.get(id).Steps {
		if s.Title != before[i].Title || len(s.Signatures) != len(before[i].Signatures) {
			t.Errorf("step %d was %+v and is %+v", s.N, before[i], s)
		}
	}
	r.setPolicy(true, func(p *act.Policy) {
		p.Keys["transport"] = act.KeyRule{Algorithms: []string{"AES-256"}, Cryptoperiod: 10}
	})
	r.finish(id)
	if k := r.key("transport/op/11"); k.State != keys.Live || !k.Expires.Equal(r.Now().AddDate(0, 0, 10)) {
		t.Errorf("%+v", k)
	}
}

// A bare is an authenticator that a test makes as bad as it likes.
type bare struct {
	passkey.Credential
	key   *ecdsa.PrivateKey
	flags byte
}

// Sign implements act.Key.
func (b bare) Sign(challenge [32]byte) (passkey.Assertion, error) {
	cd := fmt.Appendf(nil, `{"type":"webauthn.get","challenge":%q,"origin":%q,"crossOrigin":false}`, base64.RawURLEncoding.EncodeToString(challenge[:]), b.Origin)
	rp, client := sha256.Sum256([]byte(b.RPID)), sha256.Sum256(cd)
	ad := append(rp[:], b.flags, 0, 0, 0, 0)
	digest := sha256.Sum256(slices.Concat(ad, client[:]))
	sig, err := ecdsa.SignASN1(rand.Reader, b.key, digest[:])
	return passkey.Assertion{CredentialID: b.ID, AuthenticatorData: ad, ClientDataJSON: cd, Signature: sig}, err
}

// A signature by somebody whom nobody verified is none.
func TestNotVerified(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	const present, verified = 1, 4
	mine := bare{passkey.Credential{ID: []byte("bare"), RPID: "site.example", Origin: "https://site.example", Public: der, Method: passkey.UnknownMethod, AAGUID: make([]byte, 16)}, key, present | verified}
	r := newRoom(t, "bureau", Options{})
	who, err := r.People.Person(ctx(), KeyManager)
	r.Must(err)
	who.Credential = mine.Credential
	doc, err := json.Marshal(who)
	r.Must(err)
	r.Change(func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE person SET document = $1 WHERE id = $2`, doc, KeyManager)
		return err
	})
	r.Keys[KeyManager] = mine
	id := r.begin(plan("G-1", ceremony.Generate, transport256))
	for _, flags := range []byte{present, 0, verified} {
		mine.flags = flags
		r.Keys[KeyManager] = mine
		r.stepFailed(r.sign(id, KeyManager), passkey.ErrAssertion, "the user was not verified")
	}
	mine.flags = present | verified
	r.Keys[KeyManager] = mine
	r.Must(r.sign(id, KeyManager))
}

// A copy of a passkey betrays itself by its counter, and locks both out.
func TestClonedPasskey(t *testing.T) {
	r := newRoom(t, "bureau", Options{})
	id := r.begin(plan("G-1", ceremony.Generate, transport256))
	r.Keys[KeyManager].(*passkey.Soft).Count(100)
	r.Must(r.sign(id, KeyManager))
	r.Keys[KeyManager].(*passkey.Soft).Count(40)
	r.stepFailed(r.sign(id, KeyManager), access.ErrCloned)
	r.Last("person.locked", "person/"+KeyManager)
	r.Refused(r.sign(id, KeyManager), access.ErrNoPerson)
	r.Must(r.Do("ceremony.abort", "ceremony/G-1/a passkey was copied", Officer))
}

// Deviations, breaks and their end.
func TestNotes(t *testing.T) {
	r := newRoom(t, "bureau", Options{})
	id := r.begin(plan("G-1", ceremony.Generate, transport256))
	note := func(person, what string) error { return r.Do("ceremony.note", "ceremony/G-1/"+what, person) }
	r.Must(note(HSMAdmin, "deviation/the clock was a minute late; set / checked"))
	r.Refused(note(HSMAdmin, "resume/x"), act.ErrNotAllowed, "it is open")
	r.Must(note(KeyManager, "break/दोपहर का भोजन क्\u200dष"))
	for _, what := range []string{"deviation/x", "break/x"} {
		r.Refused(note(KeyManager, what), act.ErrNotAllowed, "in a break; end it first")
	}
	_, err := r.Propose("ceremony.step", "ceremony/G-1/1")
	r.Refused(err, act.ErrNotAllowed, "in a break")
	r.Must(note(Officer, "resume/everybody is back"))
	// Who takes no part writes nothing on the script, and those without a role not
	// even an act.
	r.stepFailed(note(Officer2, "deviation/x"), ceremony.ErrTurn, "person 1008 takes no part in it")
	r.stepFailed(r.Do("ceremony.abort", "ceremony/G-1/x", Officer2), ceremony.ErrTurn)
	for what, says := range map[string]string{
		"":                      "is not ceremony/ID/KIND/TEXT",
		"deviation":             "is not ceremony/ID/KIND/TEXT",
		"remark/x":              `a note is a deviation, a break or a resume, not "remark"`,
		"deviation/":            "say what happened",
		"deviation/  ":          "say what happened",
		"deviation/a\nb":        "one line",
		"deviation/a\u202eb":    "one line",
		"deviation/a\u200bb":    "one line",
		"deviation/a\x00b":      "one line",
		"deviation/a\xffb":      "one line",
		"deviation/" + long2001: "up to 2000 bytes",
	} {
		_, err := r.Propose("ceremony.note", "ceremony/G-1/"+what)
		r.Refused(err, nil, says)
	}
	for _, subject := range []string{"ceremony/G-1", "ceremony/G-1/", "ceremony/G-1/a\nb", "ceremony/G-1/" + long2001} {
		_, err := r.Propose("ceremony.abort", subject)
		r.Refused(err, nil, "is not ceremony/ID/REASON")
	}
	_, err = r.Propose("ceremony.abort", "ceremony/none/x")
	r.Refused(err, ceremony.ErrNone)
	// Whoever signed the transcript signed one without a later note: it is signed
	// again.
	r.to(id, ceremony.CloseDown)
	r.Must(r.sign(id, KeyManager))
	a, err := r.Ask("ceremony.step", fmt.Sprintf("ceremony/G-1/%d", r.now(id).N), HSMAdmin)
	r.Must(err)
	r.Must(note(Officer, "deviation/the door was open"))
	if len(r.now(id).Signatures) != 0 {
		t.Error("a transcript without the note stays signed")
	}
	r.Refused(r.Perform(a), act.ErrNotAllowed)
	r.finish(id)
	var kinds []string
	for _, n := range r.transcript(id).Notes {
		kinds = append(kinds, n.Kind+" "+n.Person)
	}
	if want := "deviation 1002, break 1001, resume 1003, deviation 1003"; strings.Join(kinds, ", ") != want {
		t.Errorf("%q, want %q", kinds, want)
	}
	r.Verify()
}

var long2001 = strings.Repeat("x", 2001)

var errGone = errors.New("the cable is out")

// gone takes the module away, or brings it back.
func (r *room) gone(is bool) {
	r.Module.Fault = nil
	if is {
		r.Module.Fault = func(op, id string, after bool) error { return errGone }
	}
}

// The module is gone when a step is carried out: the step stays signed and
// waits, and goes on when the module is back, by itself.
func TestModuleGone(t *testing.T) {
	key := `name: transport/op/11, purpose: transport, algorithm: AES-256, partner: op`
	for name, c := range map[string]struct {
		before  []string
		doc     func(r *room) string
		effects []ceremony.Effect
	}{
		"import": {nil, func(r *room) string {
			parts, _ := components(3, 32)
			return plan("C", ceremony.ImportComponents, key, r.parts(hsm.CMAC, parts...))
		}, []ceremony.Effect{ceremony.Join}},
		"generate": {nil, func(*room) string { return plan("C", ceremony.Generate, key) }, []ceremony.Effect{ceremony.Make}},
		"shared":   {nil, func(*room) string { return plan("C", ceremony.Generate, key, backup2of3) }, []ceremony.Effect{ceremony.Make}},
		"export":   {[]string{plan("G", ceremony.Generate, key)}, func(*room) string { return plan("C", ceremony.ExportComponents, key, exportTo) }, []ceremony.Effect{ceremony.Split}},
		"destroy":  {[]string{plan("G", ceremony.Generate, key)}, func(*room) string { return destroyPlan("C", key) }, []ceremony.Effect{ceremony.Erase}},
		"rehearsal": {[]string{plan("G", ceremony.Generate, key, backup2of3)}, func(*room) string {
			return plan("C", ceremony.Restore, key, `holders: ["1005", "1006"]`, "rehearsal: true")
		}, []ceremony.Effect{ceremony.Rebuild, ceremony.Unmake}},
		"transcript": {nil, func(*room) string { return plan("C", ceremony.Generate, key) }, []ceremony.Effect{ceremony.CloseDown}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t, "bureau", Options{})
			for _, doc := range c.before {
				r.run(doc)
			}
			id := r.begin(c.doc(r))
			for _, effect := range c.effects {
				r.to(id, effect)
				s := r.now(id)
				for _, who := range s.Step.By[:len(s.Step.By)-1] {
					r.Must(r.sign(id, who))
				}
				last := s.Step.By[len(s.Step.By)-1]
				r.gone(true)
				err := r.sign(id, last)
				if effect == ceremony.CloseDown {
					r.Must(err) // the site signs by itself; what is left in the module goes later
					r.Last("ceremony.unswept", "ceremony/C")
					r.Refused(r.runner.Resume(ctx()), errGone)
					r.gone(false)
					r.Must(r.runner.Resume(ctx()))
					r.clean(id)
					continue
				}
				r.Refused(err, ceremony.ErrWaits)
				if now := r.now(id); now.N != s.N || now.Effect != "doing" || !now.Signed(last) {
					t.Errorf("%+v", now)
				}
				for range 2 {
					r.Refused(r.runner.Resume(ctx()), ceremony.ErrWaits)
				}
				var waits int
				for _, e := range r.Entries() {
					if e.Kind == "ceremony.waits" && e.Data["step"] == int64(s.N) {
						waits++
					}
				}
				if waits != 1 {
					t.Errorf("the log says %d times that it waits", waits)
				}
				r.stepFailed(r.sign(id, last), act.ErrNotAllowed, "has signed it")
				r.gone(false)
				r.Must(r.runner.Resume(ctx()))
				if r.get(id).Now == s.N {
					t.Errorf("step %d still waits", s.N)
				}
			}
			if r.get(id).State != ceremony.Closed {
				r.finish(id)
			}
			r.carriedOutOnce(id)
			r.clean(id)
			r.Verify()
		})
	}
}

// The module does what it is asked and cannot say so, at each of its doings.
func TestModuleSilent(t *testing.T) {
	key := `name: transport/op/11, purpose: transport, algorithm: AES-256, partner: op`
	for _, op := range []string{"Generate", "Combine", "Destroy", "Split", "Restore", "GenerateShared"} {
		t.Run(op, func(t *testing.T) {
			r := newRoom(t, "bureau", Options{})
			silent := 0
			r.Module.Fault = func(o, id string, after bool) error {
				if o == op && after && silent == 0 {
					silent++
					return errGone
				}
				return nil
			}
			parts, value := components(3, 32)
			go1 := func(doc string) {
				id := r.draft(doc)
				for range 3 {
					if r.get(id).State == ceremony.Drafted {
						if r.open(id) != nil {
							continue
						}
					}
					if err := r.until(id, ceremony.None); errors.Is(err, errEnd) {
						return
					}
				}
				c := r.get(id)
				if op != "GenerateShared" || c.State != ceremony.Open {
					t.Fatalf("ceremony %s is %s", id, c.State)
				}
				// Shares that were lost are not made up for: the key is gone, too.
				r.Must(r.Do("ceremony.abort", "ceremony/"+id+"/its shares were lost", KeyManager))
				if r.key("subscriber/1").State != keys.Destroyed || r.inModule("subscriber/1") {
					t.Error("a key without its shares is there")
				}
			}
			switch op {
			case "Combine":
				go1(plan("I-1", ceremony.ImportComponents, key, r.parts(hsm.CMAC, parts...)))
				r.is("transport/op/11", value)
			case "GenerateShared", "Restore":
				go1(plan("G-2", ceremony.Generate, subscriber, backup2of3))
				if op == "Restore" {
					go1(plan("R-1", ceremony.Restore, subscriber, `holders: ["1005", "1006"]`, "rehearsal: true"))
				}
			default: // Generate comes with the opening, too
				silent = 1
				go1(plan("G-1", ceremony.Generate, key))
				silent = 0
				go1(plan("E-1", ceremony.ExportComponents, key, exportTo))
				go1(destroyPlan("D-1", `name: transport/op/11, purpose: transport, algorithm: AES-256`))
				if r.key("transport/op/11").State != keys.Destroyed {
					t.Error("it is still there")
				}
			}
			if silent != 1 {
				t.Errorf("the module was never silent in %s", op)
			}
			r.Verify()
		})
	}
}

// Two plans for one key that were both approved: the second does not open.
func TestOneKeyTwice(t *testing.T) {
	r := newRoom(t, "bureau", Options{})
	var acts []act.Act
	for _, id := range []string{"G-1", "G-2"} {
		r.draft(plan(id, ceremony.Generate, transport256))
		a, err := r.Ask("ceremony.open", "ceremony/"+id, KeyManager, HSMAdmin, Officer)
		r.Must(err)
		acts = append(acts, a)
	}
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	for _, a := range acts {
		wg.Go(func() {
			err := r.Perform(a)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	if len(errs) != 1 {
		t.Fatalf("%v", errs)
	}
	r.Refused(errs[0], act.ErrNotAllowed, "is about key transport/op/11 too, and is under way")
}

// A key that was suspended between its making and its confirmation is not
// brought into use by the ceremony.
func TestSuspendedMeanwhile(t *testing.T) {
	r := newRoom(t, "bureau", Options{})
	id := r.begin(plan("G-1", ceremony.Generate, transport256))
	r.to(id, ceremony.Confirm)
	r.Must(r.Do("key.suspend", "key/transport/op/11", Officer))
	r.Must(r.sign(id, KeyManager))
	r.Refused(r.sign(id, Officer), keys.ErrState, "it is suspended")
	if r.key("transport/op/11").State != keys.Suspended {
		t.Errorf("it is %s", r.key("transport/op/11").State)
	}
	r.Must(r.Do("key.resume", "key/transport/op/11", KeyManager, Officer))
	r.finish(id)
	if r.key("transport/op/11").State != keys.Live {
		t.Errorf("it is %s", r.key("transport/op/11").State)
	}
}

// An aborted ceremony leaves nothing of the key that nobody confirmed, its
// shares included.
func TestAbort(t *testing.T) {
	r := newRoom(t, "bureau", Options{})
	id := r.begin(plan("G-1", ceremony.Generate, subscriber, backup2of3))
	r.to(id, ceremony.Confirm)
	a, err := r.Act("ceremony.abort", "ceremony/G-1/no more time", Custodian2)
	r.Must(err)
	if !strings.Contains(a.Params["effect"], "the key subscriber/1, which nobody confirmed, is erased with its shares") {
		t.Errorf("%v", a.Params)
	}
	r.gone(true)
	r.Must(r.Do("ceremony.abort", "ceremony/G-1/no more time", Custodian2))
	r.Last("ceremony.unswept", "ceremony/G-1")
	r.gone(false)
	r.Must(r.runner.Resume(ctx()))
	r.clean(id)
	if r.key("subscriber/1").State != keys.Destroyed || r.inModule("subscriber/1") || r.left("subscriber/1") != "" {
		t.Errorf("%s, %s", r.key("subscriber/1").State, r.left("subscriber/1"))
	}
	held, err := r.Register.Held(ctx(), Custodian1)
	r.Must(err)
	if len(held) != 0 {
		t.Errorf("%v: a custodian counts shares of a key that never was", held)
	}
	if _, signed, err := r.runner.Transcript(ctx(), id); err != nil || len(signed) != 0 {
		t.Errorf("%v, %q", err, signed)
	}
	_, _, err = r.runner.Transcript(ctx(), "none")
	r.Refused(err, ceremony.ErrNone)
	r.draft(plan("G-2", ceremony.Generate, transport256))
	_, _, err = r.runner.Transcript(ctx(), "G-2")
	r.Refused(err, nil, "has not begun")
	all, err := r.runner.List(ctx())
	if err != nil || len(all) != 2 {
		t.Errorf("%d, %v", len(all), err)
	}
	_, err = r.Propose("ceremony.open", "G-2")
	r.Refused(err, nil, "is not ceremony/…")
	if !bytes.Contains([]byte(all[0].Document+all[1].Document), []byte("ceremony: G-2")) {
		t.Error("the list has not both")
	}
}
