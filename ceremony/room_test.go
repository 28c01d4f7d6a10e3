package ceremony_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ankan/audit"
	"ankan/ceremony"
	"ankan/hsm"
	"ankan/keys"
	. "ankan/keys/keystest"
	"ankan/passkey"
	"ankan/store"
)

// A room is where ceremonies are held: a site, its runner, and the people with
// their papers and screens.
type room struct {
	*Site
	runner *ceremony.Runner
	paper  map[string][]byte // what a custodian holds, by person
	owes   map[string]string // inventories, by person
	lands  string            // country
}

func newRoom(t testing.TB, name string, o Options) *room {
	t.Helper()
	r := &room{paper: map[string][]byte{}, owes: map[string]string{}, lands: "IN"}
	o.Schemas = []store.Schema{ceremony.Schema()}
	o.Opened = r.opened
	r.Site = New(t, name, o)
	r.opened(r.Site)
	return r
}

// opened puts a runner into a site that has just been opened.
func (r *room) opened(s *Site) {
	r.Site = s
	r.runner = ceremony.New(ceremony.Config{
		Site: s.ID, Country: r.lands, Store: s.Store, People: s.People, Register: s.Register, Module: s.Guard,
		Sign: func(ctx context.Context, kind string, payload []byte) ([]byte, error) {
			signer, err := s.Guard.Signer(ctx, SiteKey)
			if err != nil {
				return nil, err
			}
			return audit.SignDocument(kind, payload, s.ID+".example/log", signer)
		},
		Overdue: func(_ context.Context, person string) (string, error) { return r.owes[person], nil },
	})
	for kind, d := range r.runner.Deeds() {
		s.Deeds[kind] = d
	}
}

// ctx is a context that outlives a test's cleanup.
func ctx() context.Context { return context.Background() }

// people is the end of every plan.
const people = `people: {key-manager: "1001", hsm-administrator: "1002", security-officer: "1003"}
`

// plan is a plan with the lines of its kind.
func plan(id string, kind ceremony.Kind, key string, lines ...string) string {
	return fmt.Sprintf("ceremony: %s\nkind: %s\ntitle: A ceremony for tests\nroom: Key room 1\nkey: {%s}\n%s\n%s", id, kind, key, strings.Join(lines, "\n"), people)
}

// secret is n bytes without a pattern, always the same for a name.
func secret(name string, n int) []byte {
	sum := sha256.Sum256([]byte("ankan test " + name))
	return sum[:n]
}

func kcv(t testing.TB, m hsm.KCVMethod, key []byte) hsm.KCV {
	t.Helper()
	k, err := hsm.AESKCV(m, key)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// parts gives each of n custodians a component, and is the lines of a plan that
// say so.
func (r *room) parts(method hsm.KCVMethod, components ...[]byte) string {
	r.Helper()
	s := "parts:\n"
	for i, c := range components {
		who := Custodians()[i]
		r.paper[who] = c
		s += fmt.Sprintf("  - {custodian: \"%s\", kcv: \"%s\", form: KTF-%d, bag: B-%d}\n", who, kcv(r, method, c), i+1, 70+i)
	}
	return s
}

// components are three that nobody knows.
func components(n, size int) (parts [][]byte, key []byte) {
	key = make([]byte, size)
	for i := range n {
		parts = append(parts, secret(fmt.Sprint("component ", i), size))
		subtle.XORBytes(key, key, parts[i])
	}
	return parts, key
}

// draft writes a plan down, which must be without findings.
func (r *room) draft(doc string) string {
	r.Helper()
	c, findings, err := r.runner.Draft(ctx(), KeyManager, []byte(doc))
	r.Must(err)
	if len(findings) > 0 {
		r.Fatalf("%s: findings %q", c.ID, findings)
	}
	return c.ID
}

// open asks for a ceremony, and begins it when it is approved.
func (r *room) open(id string) error {
	r.Helper()
	return r.Do("ceremony.open", "ceremony/"+id, KeyManager, HSMAdmin, Officer)
}

// begin drafts and opens a ceremony.
func (r *room) begin(doc string) string {
	r.Helper()
	id := r.draft(doc)
	r.Must(r.open(id))
	return id
}

func (r *room) get(id string) ceremony.Ceremony {
	r.Helper()
	c, err := r.runner.Get(ctx(), id)
	r.Must(err)
	return c
}

// now is the step that is next.
func (r *room) now(id string) ceremony.StepNow {
	r.Helper()
	c := r.get(id)
	if c.Now == 0 {
		r.Fatalf("ceremony %s is %s: no step is next", id, c.State)
	}
	return c.Steps[c.Now-1]
}

// sign signs the step that is next, as a person.
func (r *room) sign(id, person string) error {
	r.Helper()
	return r.Do("ceremony.step", fmt.Sprintf("ceremony/%s/%d", id, r.now(id).N), person)
}

// unseal opens what is sealed to a person, on the person's own screen.
func (r *room) unseal(person string, s ceremony.Sealed) ([]byte, error) {
	k, err := r.Keys[person].(*passkey.Soft).OpenSealing()
	if err != nil {
		return nil, err
	}
	return hsm.Take(s.Given, hsm.Content(s.Content), s.Label, k.Public(), k.ECDH)
}

// seal seals what a person enters to the module, on the person's own screen.
func (r *room) seal(e ceremony.Entry, secret []byte) []byte {
	r.Helper()
	pub, err := x509.ParsePKIXPublicKey(e.Agree)
	r.Must(err)
	given, err := hsm.Give(pub, hsm.Content(e.Content), e.Label, secret)
	r.Must(err)
	return given
}

// enter has a person enter something at the step that is next.
func (r *room) enter(id, person string, secret []byte) error {
	r.Helper()
	n := r.now(id).N
	e, err := r.runner.Begin(ctx(), id, n, person)
	if err != nil {
		return err
	}
	return r.runner.Give(ctx(), id, n, person, r.seal(e, secret))
}

// prepare does what a person does before signing a step.
func (r *room) prepare(id, person string, s ceremony.StepNow) error {
	r.Helper()
	switch s.Step.Effect {
	case ceremony.Enter:
		if s.Entered {
			return nil
		}
		return r.enter(id, person, r.paper[person])
	case ceremony.Bring:
		if s.Entered {
			return nil
		}
		own, err := r.runner.Own(ctx(), id, s.N, person)
		if err != nil {
			return err
		}
		share, err := r.unseal(person, own)
		if err != nil {
			return err
		}
		return r.enter(id, person, share)
	case ceremony.Show, ceremony.Hold:
		own, err := r.runner.Own(ctx(), id, s.N, person)
		if err != nil {
			return err
		}
		secret, err := r.unseal(person, own)
		if err != nil {
			return err
		}
		if s.Step.Effect == ceremony.Hold {
			if sum := sha256.Sum256(secret); fmt.Sprintf("%x", sum[:8]) != own.Check {
				r.Errorf("the share of %s has the check value %x, its sheet says %s", person, sum[:8], own.Check)
			}
			return nil
		}
		got, err := hsm.KeyKCV(hsm.KCVMethod(own.Method), hsm.Algorithm(strings.TrimPrefix(own.Content, "component ")), secret)
		r.Must(err)
		if got.String() != own.KCV {
			r.Errorf("the component of %s has the check value %s, its form says %s", person, got, own.KCV)
		}
		r.paper[person] = secret
	}
	return nil
}

// next does the next thing in a ceremony.
func (r *room) next(id string) error {
	r.Helper()
	s := r.now(id)
	for _, who := range s.Step.By {
		if s.Signed(who) {
			continue
		}
		if err := r.prepare(id, who, s); err != nil {
			return err
		}
		return r.sign(id, who)
	}
	return fmt.Errorf("ceremony %s, step %d: everybody has signed, and it is %q", id, s.N, s.Effect)
}

var errEnd = errors.New("the end")

// until goes on until a step with this effect is next, or to the end.
func (r *room) until(id string, effect ceremony.Effect) error {
	r.Helper()
	for {
		c, err := r.runner.Get(ctx(), id)
		switch {
		case err != nil:
			return err
		case c.State == ceremony.Closed:
			return errEnd
		case c.Now > 0 && c.Steps[c.Now-1].Step.Effect == effect && effect != ceremony.None:
			return nil
		}
		if err := r.next(id); err != nil {
			return err
		}
	}
}

// to goes on to a step, and must get there.
func (r *room) to(id string, effect ceremony.Effect) {
	r.Helper()
	r.Must(r.until(id, effect))
}

// finish goes on to the end.
func (r *room) finish(id string) ceremony.Ceremony {
	r.Helper()
	if err := r.until(id, ceremony.None); !errors.Is(err, errEnd) {
		r.Fatal(err)
	}
	return r.get(id)
}

// run holds a whole ceremony.
func (r *room) run(doc string) ceremony.Ceremony {
	r.Helper()
	return r.finish(r.begin(doc))
}

func (r *room) key(id string) keys.Key {
	r.Helper()
	k, err := r.Register.Key(ctx(), id)
	if errors.Is(err, keys.ErrNoKey) {
		return keys.Key{}
	}
	r.Must(err)
	return k
}

// inModule says whether the module has a key, whatever the register says.
func (r *room) inModule(id string) bool {
	r.Helper()
	_, err := r.Module.Module.Key(ctx(), id)
	if err != nil && !errors.Is(err, hsm.ErrNoKey) {
		r.Fatal(err)
	}
	return err == nil
}

// seals is what a transport key makes of a block: equal keys, equal blocks.
func (r *room) seals(id string) string {
	r.Helper()
	dst := make([]byte, 16)
	r.Must(r.Guard.SealColumn(ctx(), id, dst, []byte("sixteen bytes...")))
	return fmt.Sprintf("%x", dst)
}

// is proves that a transport key has this value.
func (r *room) is(id string, value []byte) {
	r.Helper()
	b, err := aes.NewCipher(value)
	r.Must(err)
	dst := make([]byte, 16)
	b.Encrypt(dst, []byte("sixteen bytes..."))
	if got := r.seals(id); got != fmt.Sprintf("%x", dst) {
		r.Errorf("key %s is another than that of the components", id)
	}
}

// left are the copies of a key that are not gone, by name.
func (r *room) left(id string) string {
	r.Helper()
	copies, err := r.Register.Copies(ctx(), id)
	r.Must(err)
	var names []string
	for _, c := range copies {
		if c.Gone.IsZero() {
			names = append(names, c.Name())
		}
	}
	return strings.Join(names, "; ")
}

// clean checks what every ended ceremony leaves: no key pair, no entry.
func (r *room) clean(id string) {
	r.Helper()
	if r.inModule("ceremony/" + id + "/agree") {
		r.Errorf("ceremony %s left its key pair in the module", id)
	}
	var n int
	r.Must(r.Store.QueryRow(ctx(), `SELECT count(*) FROM ceremony_input WHERE ceremony = $1`, id).Scan(&n))
	if n != 0 {
		r.Errorf("ceremony %s left %d entries", id, n)
	}
}

// transcript is the signed transcript, checked as anybody can.
func (r *room) transcript(id string) ceremony.Transcript {
	r.Helper()
	t, signed, err := r.runner.Transcript(ctx(), id)
	r.Must(err)
	k, err := r.Guard.Key(ctx(), SiteKey)
	r.Must(err)
	doc, err := audit.OpenDocument(signed, ceremony.TranscriptType, k.Public)
	r.Must(err)
	if !bytes.Equal(doc.Payload, t.Canonical()) {
		r.Errorf("ceremony %s: the signed transcript is another than that which is shown", id)
	}
	return t
}

// putCopy records a copy of a key, as another part of the site would.
func (r *room) putCopy(c keys.Copy) {
	r.Helper()
	r.Change(func(tx *store.Tx) error { return keys.PutCopy(tx, c) })
}

// setPerson changes a person's state.
func (r *room) setPerson(id, state string) {
	r.Helper()
	r.Change(func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE person SET state = $1 WHERE id = $2`, state, id)
		return err
	})
}
