package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/passkey"
	"ankan/store"
)

// Joiner, mover, leaver: somebody writes a person's record down as a draft; if
// a passkey is wanted, the person registers it with a code that is used once;
// then an act puts the draft into force.

// A Draft is a person's record that is not in force yet.
type Draft struct {
	Person     act.Person `json:"person"`
	Editor     string     `json:"editor"`
	Expires    time.Time  `json:"expires"`    // of the code
	Registered bool       `json:"registered"` // the passkey is there
}

// personNumber is part of names of files and of subjects.
var personNumber = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,31}$`)

// CheckNumber refuses what is no person's number.
func CheckNumber(id string) error {
	if !personNumber.MatchString(id) {
		return fmt.Errorf("person number is %q, want up to 32 letters, digits and -", id)
	}
	return nil
}

// PutDraft writes a person's record down, in the place of an earlier draft. Its
// credential is not looked at: a person who is enrolled keeps the passkey
// unless renew asks for another, or the person is locked; a new one registers
// one. It returns the code
// to register with, "" if none is needed; the site keeps only its hash.
func (d *Directory) PutDraft(ctx context.Context, editor string, who act.Person, renew bool) (code string, err error) {
	if err := CheckNumber(who.ID); err != nil {
		return "", err
	}
	policy, err := d.Policy(ctx)
	if err != nil {
		return "", err
	}
	if err := policy.CheckPerson(who); err != nil {
		return "", err
	}
	switch who.Employment {
	case act.Permanent, act.Contract, act.Temporary:
	default:
		return "", fmt.Errorf("person %s: employment is %q, want %s, %s or %s", who.ID, who.Employment, act.Permanent, act.Contract, act.Temporary)
	}
	if who.ReportsTo == who.ID {
		return "", fmt.Errorf("person %s reports to themselves", who.ID)
	}
	switch m, err := d.Member(ctx, who.ID); {
	case errors.Is(err, ErrNoPerson):
		renew = true
	case err != nil:
		return "", err
	case m.State == Left:
		return "", errLeft(who.ID)
	default:
		renew = renew || m.State == Locked // the passkey may be a copy
		who.Credential = m.Credential
	}
	hash := ""
	if renew {
		who.Credential = passkey.Credential{}
		code, hash = NewCode()
	}
	doc, err := json.Marshal(who)
	if err != nil {
		return "", err
	}
	e := audit.Entry{Kind: "person.drafted", Actor: "person/" + editor, Subject: "person/" + who.ID,
		Data: map[string]any{"roles": who.Roles, "employment": string(who.Employment), "reports_to": who.ReportsTo, "new_passkey": renew}}
	return code, d.store.Change(ctx, e, func(tx *store.Tx) error {
		expires := tx.Time().Add(time.Duration(policy.Limits.EnrolmentCode) * time.Second)
		registered := 0
		if !renew {
			registered = 1
		}
		_, err := tx.Exec(`INSERT INTO person_draft (id, document, editor, code, expires, registered) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (id) DO UPDATE SET document = excluded.document, editor = excluded.editor, code = excluded.code, expires = excluded.expires,
			password = '', registered = excluded.registered`, who.ID, doc, editor, hash, expires.Format(time.RFC3339), registered)
		return err
	})
}

func errLeft(id string) error {
	return fmt.Errorf("person %s: %w: left; a number is never given again", id, act.ErrNotAllowed)
}

// NewCode is a code to register with, 80 random bits in groups that can be read
// aloud, and the hash that is kept of it.
func NewCode() (code, hash string) {
	var b [10]byte
	rand.Read(b[:])
	s := base32.StdEncoding.EncodeToString(b[:])
	code = s[:4] + "-" + s[4:8] + "-" + s[8:12] + "-" + s[12:]
	return code, codeHash(code)
}

func codeHash(code string) string {
	h := sha256.Sum256([]byte("ankan enrolment code\x00" + strings.ToUpper(strings.ReplaceAll(code, "-", ""))))
	return hex.EncodeToString(h[:])
}

// IsCode says whether hash was kept of this code. Case and hyphens do not
// matter; the time that it takes tells nothing.
func IsCode(hash, code string) bool {
	return hash != "" && subtle.ConstantTimeCompare([]byte(hash), []byte(codeHash(code))) == 1
}

// GetDraft is one draft; ErrNoDraft if there is none.
func (d *Directory) GetDraft(ctx context.Context, id string) (Draft, error) {
	dr, _, err := d.draft(ctx, id)
	return dr, err
}

type draftSecrets struct{ code, password string }

func (d *Directory) draft(ctx context.Context, id string) (Draft, draftSecrets, error) {
	var dr Draft
	var s draftSecrets
	var doc []byte
	var expires string
	err := d.store.QueryRow(ctx, `SELECT document, editor, expires, registered, code, password FROM person_draft WHERE id = $1`, id).
		Scan(&doc, &dr.Editor, &expires, &dr.Registered, &s.code, &s.password)
	if errors.Is(err, sql.ErrNoRows) {
		return dr, s, fmt.Errorf("draft of person %q: %w", id, ErrNoDraft)
	}
	if err != nil {
		return dr, s, err
	}
	if dr.Expires, err = time.Parse(time.RFC3339, expires); err != nil {
		return dr, s, err
	}
	return dr, s, json.Unmarshal(doc, &dr.Person)
}

// Drafts are all drafts, in order of their numbers.
func (d *Directory) Drafts(ctx context.Context) ([]Draft, error) {
	ids, err := store.Collect(d.store.Committed(ctx), store.Column[string], `SELECT id FROM person_draft ORDER BY id`)
	if err != nil {
		return nil, err
	}
	var all []Draft
	for _, id := range ids {
		dr, err := d.GetDraft(ctx, id)
		if err != nil {
			return nil, err
		}
		all = append(all, dr)
	}
	return all, nil
}

// ErrCode is wrapped where an enrolment code is wrong, used, or over.
var ErrCode = errors.New("the number or the code is wrong, used, or no longer valid; ask whoever gave it to you for a new one")

// CheckCode says whose draft a code opens. A wrong one leaves an entry.
func (d *Directory) CheckCode(ctx context.Context, id, code string) (Draft, error) {
	dr, s, err := d.draft(ctx, id)
	if err != nil && !errors.Is(err, ErrNoDraft) {
		return dr, err
	}
	if err != nil || dr.Registered || !IsCode(s.code, code) || d.store.Now().After(dr.Expires) {
		e := audit.Entry{Kind: "person.register-refused", Actor: "system:access", Subject: "person/" + short(id), Data: map[string]any{"why": "enrolment code"}}
		return Draft{}, errors.Join(ErrCode, d.store.Enter(ctx, e))
	}
	return dr, nil
}

func short(s string) string { return strings.ToValidUTF8(s[:min(len(s), 64)], "") }

// Register adds what the person made with the code: the passkey, and a
// password if it is not empty. The code is used up.
func (d *Directory) Register(ctx context.Context, id, code string, c passkey.Credential, password string) error {
	dr, err := d.CheckCode(ctx, id, code)
	if err != nil {
		return err
	}
	policy, err := d.Policy(ctx)
	if err != nil {
		return err
	}
	people, err := d.People(ctx)
	if err != nil {
		return err
	}
	if len(c.ID) == 0 || len(c.Public) == 0 || c.RPID == "" || c.Origin == "" {
		return fmt.Errorf("person %s: the passkey is incomplete: its number, key, relying party and origin must be there", id)
	}
	dr.Person.Credential = c
	people = append(slices.DeleteFunc(people, func(p act.Person) bool { return p.ID == id }), dr.Person)
	if err := policy.CheckPeople(people); err != nil && !soleOnly(policy, people) {
		return err
	}
	hash := ""
	if password != "" {
		if hash, err = d.hash.password(password, policy.Limits.Password); err != nil {
			return err
		}
	}
	doc, err := json.Marshal(dr.Person)
	if err != nil {
		return err
	}
	e := audit.Entry{Kind: "person.registered", Actor: "person/" + id, Subject: "person/" + id,
		Data: map[string]any{"credential": hex.EncodeToString(c.ID), "model": c.Model, "password": password != ""}}
	return d.store.Change(ctx, e, func(tx *store.Tx) error {
		res, err := tx.Exec(`UPDATE person_draft SET document = $1, password = $2, registered = 1, code = '' WHERE id = $3 AND code = $4 AND registered = 0`,
			doc, hash, id, codeHash(code))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return errors.Join(ErrCode, err)
		}
		return nil
	})
}

// soleOnly says whether what CheckPeople refuses is a sole role: that may be
// so while a successor is being prepared, and is refused when it comes in.
func soleOnly(p act.Policy, people []act.Person) bool {
	p.Sole = nil
	return p.CheckPeople(people) == nil
}

// EnrolKind is the kind of act that puts this draft into force.
func (d *Directory) EnrolKind(ctx context.Context, id string) (string, error) {
	dr, err := d.GetDraft(ctx, id)
	if err != nil {
		return "", err
	}
	policy, err := d.Policy(ctx)
	if err != nil {
		return "", err
	}
	m, err := d.Member(ctx, id)
	if err != nil && !errors.Is(err, ErrNoPerson) {
		return "", err
	}
	if policy.Administers(dr.Person) || policy.Administers(m.Person) {
		return "administrator.enrol", nil
	}
	return "person.enrol", nil
}

// ProposeEnrol is what the act of a kind that enrols this person says.
func (d *Directory) ProposeEnrol(ctx context.Context, kind, id string) (map[string]string, error) {
	dr, err := d.GetDraft(ctx, id)
	if err != nil {
		return nil, err
	}
	if want, err := d.EnrolKind(ctx, id); err != nil || want != kind {
		return nil, errors.Join(err, fmt.Errorf("person %s: %w: ask for %s", id, act.ErrNotAllowed, want))
	}
	if !dr.Registered {
		return nil, fmt.Errorf("person %s: %w: has not registered a passkey yet; give them their number and code for the page /enrol", id, act.ErrNotAllowed)
	}
	if err := d.mayEnrol(ctx, dr.Person); err != nil {
		return nil, err
	}
	m := dr.Person.Params()
	m[act.ParamEditors] = dr.Editor
	switch had, err := d.Member(ctx, id); {
	case errors.Is(err, ErrNoPerson):
		m["change"] = "joins"
	case err != nil:
		return nil, err
	default:
		m["change"] = "changes"
		m["roles_before"] = strings.Join(had.Roles, ", ")
		m["state_before"] = had.State
		if string(had.Credential.ID) != string(dr.Person.Credential.ID) {
			m["passkey_before"] = hex.EncodeToString(had.Credential.ID)
		}
	}
	return m, nil
}

// mayEnrol refuses a person whom the policy does not take, beside the others
// who are here, and one who has left.
func (v View) mayEnrol(ctx context.Context, who act.Person) error {
	policy, err := v.Policy(ctx)
	if err != nil {
		return err
	}
	if err := policy.CheckPerson(who); err != nil {
		return err
	}
	people, err := v.People(ctx)
	if err != nil {
		return err
	}
	if err := policy.CheckPeople(append(slices.DeleteFunc(people, func(p act.Person) bool { return p.ID == who.ID }), who)); err != nil {
		return err
	}
	switch m, err := v.Member(ctx, who.ID); {
	case errors.Is(err, ErrNoPerson):
		return nil
	case err == nil && m.State == Left:
		return errLeft(who.ID)
	default:
		return err
	}
}

// Enrol puts the draft that an act approved into force. What it writes is in
// the entry of the change as PersonData gives it.
func (d *Directory) Enrol(tx *store.Tx, id, digest string) error {
	var doc []byte
	var password string
	err := tx.QueryRow(`SELECT document, password FROM person_draft WHERE id = $1 AND registered = 1`, id).Scan(&doc, &password)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("draft of person %q, registered: %w", id, ErrNoDraft)
	}
	if err != nil {
		return err
	}
	var who act.Person
	if err := json.Unmarshal(doc, &who); err != nil {
		return err
	}
	if fmt.Sprintf("%x", who.Digest()) != digest {
		return fmt.Errorf("person %s: %w: the draft was changed since it was approved", id, act.ErrNotAllowed)
	}
	if err := In(tx).mayEnrol(context.Background(), who); err != nil {
		return err
	}
	var before act.Person
	if err := scan(tx.QueryRow(`SELECT document FROM person WHERE id = $1`, id), &before); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	_, err = tx.Exec(`INSERT INTO person (id, document, password) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET state = 'active', document = excluded.document`, id, doc, password)
	if err == nil && string(before.Credential.ID) != string(who.Credential.ID) {
		// A new passkey starts a new count, and comes with its own password or none.
		_, err = tx.Exec(`UPDATE person SET counter = 0, password = $1 WHERE id = $2`, password, id)
	}
	if err == nil {
		_, err = tx.Exec(`DELETE FROM person_draft WHERE id = $1`, id)
	}
	return err
}

// PersonData is the data of the entry by which a draft comes into force, or a
// person leaves.
func (d *Directory) PersonData(ctx context.Context, id string, leaves bool) (map[string]any, error) {
	var who act.Person
	if leaves {
		m, err := d.Member(ctx, id)
		if err != nil {
			return nil, err
		}
		who = m.Person
	} else {
		dr, err := d.GetDraft(ctx, id)
		if err != nil {
			return nil, err
		}
		who = dr.Person
	}
	return audit.DataOf(act.PersonEntry{Person: who})
}

// ProposeLeave is what the act by which a person leaves says.
func (d *Directory) ProposeLeave(ctx context.Context, id string) (map[string]string, error) {
	m, err := d.Member(ctx, id)
	if err != nil {
		return nil, err
	}
	if m.State == Left {
		return nil, fmt.Errorf("person %s: %w: left already", id, act.ErrNotAllowed)
	}
	p := m.Person.Params()
	p["change"], p["state_before"] = "leaves", m.State
	return p, nil
}

// Leave ends a person's access for good, under an act. Password and draft are
// forgotten; the record stays.
func (d *Directory) Leave(tx *store.Tx, id string) error {
	if err := setState(tx, id, Left); err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE person SET password = '' WHERE id = $1`, id); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM person_draft WHERE id = $1`, id)
	return err
}

// Suspend ends a person's access until they are enrolled again, under an act.
// The entry of the change holds SuspendData.
func (d *Directory) Suspend(tx *store.Tx, id string) error { return setState(tx, id, Suspended) }

// SuspendData is the data of the entry by which a person is suspended.
func SuspendData(id string) map[string]any { return map[string]any{"person": id} }

// PutPolicy writes down what is to be the next version of the policy.
func (d *Directory) PutPolicy(ctx context.Context, editor string, doc []byte) (act.Policy, error) {
	next, err := ParsePolicy(doc)
	if err != nil {
		return next, err
	}
	if err := d.mayAdopt(ctx, next); err != nil {
		return next, err
	}
	e := audit.Entry{Kind: "policy.drafted", Actor: "person/" + editor, Subject: "policy",
		Data: map[string]any{"version": next.Version, act.ParamPolicy: fmt.Sprintf("%x", next.Digest())}}
	return next, d.store.Change(ctx, e, func(tx *store.Tx) error {
		j, err := json.Marshal(next)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO policy_draft (version, document, written, editor) VALUES ($1, $2, $3, $4)
			ON CONFLICT (version) DO UPDATE SET document = excluded.document, written = excluded.written, editor = excluded.editor`, next.Version, j, doc, editor)
		return err
	})
}

// mayAdopt refuses a policy that cannot follow the one in force.
func (v View) mayAdopt(ctx context.Context, next act.Policy) error {
	now, err := v.Policy(ctx)
	if err != nil {
		return err
	}
	people, err := v.People(ctx)
	if err != nil {
		return err
	}
	return now.CheckNext(next, people)
}

// PolicyDraft is the next version as it was written down; ErrNoDraft if there
// is none.
func (d *Directory) PolicyDraft(ctx context.Context) (p act.Policy, written []byte, editor string, err error) {
	now, err := d.Policy(ctx)
	if err != nil {
		return p, nil, "", err
	}
	var doc []byte
	err = d.store.QueryRow(ctx, `SELECT document, written, editor FROM policy_draft WHERE version = $1`, now.Version+1).Scan(&doc, &written, &editor)
	if errors.Is(err, sql.ErrNoRows) {
		return p, nil, "", fmt.Errorf("policy version %d: %w", now.Version+1, ErrNoDraft)
	}
	if err != nil {
		return p, nil, "", err
	}
	return p, written, editor, json.Unmarshal(doc, &p)
}

// ProposePolicy is what the act that adopts the next version says.
func (d *Directory) ProposePolicy(ctx context.Context) (map[string]string, error) {
	p, written, editor, err := d.PolicyDraft(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.mayAdopt(ctx, p); err != nil {
		return nil, err
	}
	now, err := d.Policy(ctx)
	if err != nil {
		return nil, err
	}
	m := now.NextParams(p)
	m["document_sha256"], m[act.ParamEditors] = fmt.Sprintf("%x", sha256.Sum256(written)), editor
	return m, nil
}

// Adopt puts the draft of the next version into force, as an act said.
func (d *Directory) Adopt(tx *store.Tx, p act.Policy) error {
	if err := In(tx).mayAdopt(context.Background(), p); err != nil {
		return err
	}
	if err := insert(tx, `INSERT INTO policy (version, document) VALUES ($1, $2)`, p, p.Version); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM policy_draft WHERE version = $1`, p.Version)
	return err
}

// DiffPolicies says in lines what is other in b than in a: paths with the old
// and the new value.
func DiffPolicies(a, b act.Policy) []string { return a.Diff(b) }
