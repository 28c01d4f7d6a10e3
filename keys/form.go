package keys

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/hsm"
	"ankan/notice"
	"ankan/store"
)

// A component travels by hand in a bag with a number, and its key transfer form
// in two parts: the first goes to the partner as a file, and tells the numbers
// of bag and seal by another way than the bag; the second is what the recipient
// signs after the bag was looked at (SOP 6.4.e.iii).

// The states of a form. The issuer's goes from drafted to issued, received or
// tampered, closed; the receiver's from announced to received or tampered, and
// is closed when the component is in the module.
const (
	FormDrafted   = "drafted"
	FormIssued    = "issued"
	FormAnnounced = "announced"
	FormReceived  = "received"
	FormTampered  = "tampered"
	FormClosed    = "closed"
)

// Errors that callers branch on.
var (
	ErrNoForm = errors.New("no such form")
	ErrForm   = errors.New("the form is not taken") // what a partner wrote is wrong
)

// A Sheet is the first part of a key transfer form: what the issuer says.
type Sheet struct {
	Site       string    `json:"site"`   // that issues it
	Number     string    `json:"number"` // KTF-NNNNNN, the site's own
	Key        string    `json:"key"`    // its name in both modules
	Component  int       `json:"component"`
	Of         int       `json:"of"`
	KCV        string    `json:"kcv"`     // of the component, with its method
	KeyKCV     string    `json:"key_kcv"` // of the key, with its method
	Ceremony   string    `json:"ceremony"`
	Bag        string    `json:"bag"`
	Seal       string    `json:"seal"`
	FromPerson string    `json:"from_person"`
	ToSite     string    `json:"to_site"`
	ToPerson   string    `json:"to_person"`
	Carrier    string    `json:"carrier"`
	Issued     time.Time `json:"issued"` // UTC, whole seconds
}

var (
	formNumber = regexp.MustCompile(`^KTF-[0-9]{6}$`)
	siteName   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`) // as exchange names partners
)

// Ref names the form: form/SITE/NUMBER.
func (s Sheet) Ref() string { return "form/" + s.Site + "/" + s.Number }

// ParseForm reads form/SITE/NUMBER.
func ParseForm(ref string) (site, number string, err error) {
	part := strings.Split(ref, "/")
	if len(part) != 3 || part[0] != "form" || !siteName.MatchString(part[1]) || !formNumber.MatchString(part[2]) {
		return "", "", fmt.Errorf("%.120q is not form/SITE/KTF-NNNNNN", ref)
	}
	return part[1], part[2], nil
}

// Check refuses a first part that is none by itself.
func (s Sheet) Check() error {
	if _, _, err := ParseForm(s.Ref()); err != nil {
		return err
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%s: "+format, append([]any{s.Ref()}, args...)...)
	}
	if err := hsm.CheckID(s.Key); err != nil {
		return fail("%v", err)
	}
	if s.Of < 2 || s.Of > 3 || s.Component < 1 || s.Component > s.Of {
		return fail("component %d of %d, want one of two or three (SOP 6.4.e.ii)", s.Component, s.Of)
	}
	if !itemNumber.MatchString(s.Ceremony) || !itemNumber.MatchString(s.Bag) || !itemNumber.MatchString(s.Seal) {
		return fail("ceremony %q, bag %q and seal %q have 1 to 40 letters, digits, . and -", s.Ceremony, s.Bag, s.Seal)
	}
	if !siteName.MatchString(s.ToSite) || s.ToSite == s.Site {
		return fail("it goes to site %.70q", s.ToSite)
	}
	for _, text := range []string{s.KCV, s.KeyKCV} {
		if _, err := hsm.ParseKCV(text); err != nil {
			return fail("%v", err)
		}
	}
	return errors.Join(access.CheckNumber(s.FromPerson), access.CheckNumber(s.ToPerson), checkText("carrier", s.Carrier, 120))
}

// params are the first part as people see it who sign.
func (s Sheet) params() map[string]string {
	m := map[string]string{
		"number": s.Number, "issuer": s.Site, "key": s.Key, "component": fmt.Sprintf("%d of %d", s.Component, s.Of), "kcv": s.KCV, "key_kcv": s.KeyKCV,
		"ceremony": s.Ceremony, "bag": s.Bag, "seal": s.Seal, "from": s.FromPerson, "to_site": s.ToSite, "to": s.ToPerson, "carrier": s.Carrier,
	}
	if !s.Issued.IsZero() {
		m["issued"] = store.Stamp(s.Issued)
	}
	return m
}

// An Inspection is what the recipient read from bag and seal, and saw of them.
type Inspection struct {
	Bag   string `json:"bag"`
	Seal  string `json:"seal"`
	Sound bool   `json:"sound"` // no sign of tampering
	Note  string `json:"note,omitempty"`
}

// against says what is wrong with a bag, "" if nothing. Numbers that differ are
// a sign of tampering.
func (i Inspection) against(s Sheet) string {
	var all []string
	if !i.Sound {
		all = append(all, "the bag shows signs of tampering")
	}
	if i.Bag != s.Bag {
		all = append(all, fmt.Sprintf("the bag has the number %s, the form says %s", i.Bag, s.Bag))
	}
	if i.Seal != s.Seal {
		all = append(all, fmt.Sprintf("the seal has the number %s, the form says %s", i.Seal, s.Seal))
	}
	return strings.Join(all, "; ")
}

func (i Inspection) params() map[string]string {
	return map[string]string{"read_bag": i.Bag, "read_seal": i.Seal, "sound": fmt.Sprint(i.Sound), "note": i.Note}
}

// A FormAnswer is the second part: the act that the recipient signed, and with
// what it is verified. That the passkey is the recipient's is the partner's
// word; that the recipient signed these bytes is not.
type FormAnswer struct {
	Act       string        `json:"act"` // canonical
	Signature act.Signature `json:"signature"`
	Person    act.Person    `json:"person"`
}

// A Form is a key transfer form as it stands at this site.
type Form struct {
	Sheet
	State      string      `json:"state"`
	Editor     string      `json:"editor,omitempty"`
	Holder     string      `json:"holder,omitempty"` // who has the bag, at the receiver
	Drafted    time.Time   `json:"drafted,omitzero"`
	Announced  time.Time   `json:"announced,omitzero"`
	Received   time.Time   `json:"received,omitzero"` // or found tampered; at the issuer: the answer came
	Closed     time.Time   `json:"closed,omitzero"`
	Missing    time.Time   `json:"missing,omitzero"` // since a count did not find the bag
	Sent       time.Time   `json:"sent,omitzero"`    // the file, or the answer, left
	ByFile     bool        `json:"by_file"`          // the partner takes files; else both parts are paper
	Act        string      `json:"act,omitempty"`    // by which it was received, at the receiver
	Inspection *Inspection `json:"inspection,omitempty"`
	Why        string      `json:"why,omitempty"` // what is wrong with it
	Answer     *FormAnswer `json:"answer,omitempty"`
}

const formColumns = `site, number, key, component, of, kcv, key_kcv, ceremony, bag, seal, from_person, to_site, to_person, carrier,
	state, editor, holder, drafted, issued, announced, received, closed, missing, sent, by_file, act, read, why, answer`

func scanForm(rows *sql.Rows) (f Form, err error) {
	var drafted, issued, announced, received, closed, missing, sent string
	var read, answer []byte
	err = rows.Scan(&f.Site, &f.Number, &f.Key, &f.Component, &f.Of, &f.KCV, &f.KeyKCV, &f.Ceremony, &f.Bag, &f.Seal, &f.FromPerson, &f.ToSite, &f.ToPerson, &f.Carrier,
		&f.State, &f.Editor, &f.Holder, &drafted, &issued, &announced, &received, &closed, &missing, &sent, &f.ByFile, &f.Act, &read, &f.Why, &answer)
	if err == nil {
		err = stamps([]string{drafted, issued, announced, received, closed, missing, sent}, &f.Drafted, &f.Issued, &f.Announced, &f.Received, &f.Closed, &f.Missing, &f.Sent)
	}
	if err == nil && len(read) > 0 {
		err = json.Unmarshal(read, &f.Inspection)
	}
	if err == nil && len(answer) > 0 {
		err = json.Unmarshal(answer, &f.Answer)
	}
	return f, err
}

func forms(q store.Querier, where string, args ...any) ([]Form, error) {
	return store.Collect(q, scanForm, `SELECT `+formColumns+` FROM form WHERE `+where+` ORDER BY site, number`, args...)
}

// formOf is the form of a reference; ErrNoForm if there is none.
func formOf(q store.Querier, ref string) (Form, error) {
	site, number, err := ParseForm(ref)
	if err != nil {
		return Form{}, err
	}
	all, err := forms(q, `site = $1 AND number = $2`, site, number)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%s: %w", ref, ErrNoForm)
	}
	if err != nil {
		return Form{}, err
	}
	return all[0], nil
}

// Forms are the forms in a state, or all if it is "", in order of site and
// number.
func (r *Register) Forms(ctx context.Context, state string) ([]Form, error) {
	return look(ctx, r, func(q view) ([]Form, error) { return forms(q, `$1 = '' OR state = $1`, state) })
}

// Form is one form by SITE/NUMBER, or one of this site by its number alone;
// ErrNoForm if there is none.
func (r *Register) Form(ctx context.Context, id string) (Form, error) {
	id = strings.TrimPrefix(id, "form/")
	if !strings.Contains(id, "/") {
		id = r.site + "/" + id
	}
	return look(ctx, r, func(q view) (Form, error) { return formOf(q, "form/"+id) })
}

// move takes a form from a state to another.
func (f Form) move(tx *store.Tx, to, set string, args ...any) error {
	q := `UPDATE form SET state = $1` + set + fmt.Sprintf(` WHERE site = $%d AND number = $%d AND state = $%d`, len(args)+2, len(args)+3, len(args)+4)
	res, err := tx.Exec(q, slices.Concat([]any{to}, args, []any{f.Site, f.Number, f.State})...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(fmt.Errorf("%s: %w: it is not %s any more", f.Ref(), act.ErrNotAllowed, f.State), err)
	}
	return nil
}

func (f Form) link() string { return "/forms/" + f.Site + "/" + f.Number }

// PutForm writes a form down for a component of an export ceremony: of the
// sheet it takes key, component, ceremony, bag, seal, to whom and by whom it
// goes, and fills in the rest. With a number it changes the draft of that
// number; without, it gives the next one. The act form.issue issues it.
func (r *Register) PutForm(ctx context.Context, editor string, s Sheet) (Sheet, error) {
	s.Site, s.Issued = r.site, time.Time{}
	if s.Number != "" && !formNumber.MatchString(s.Number) {
		return s, fmt.Errorf("form number is %.20q, want KTF-NNNNNN or none", s.Number)
	}
	e := audit.Entry{Kind: "form.drafted", Actor: "person/" + editor, Subject: "key/" + s.Key,
		Data: map[string]any{"component": s.Component, "ceremony": s.Ceremony, "bag": s.Bag, "seal": s.Seal, "to_site": s.ToSite, "to": s.ToPerson}}
	err := r.store.Change(ctx, e, func(tx *store.Tx) error {
		isNew := s.Number == ""
		if isNew {
			var n int
			if err := tx.QueryRow(`SELECT count(*) FROM form WHERE site = $1`, r.site).Scan(&n); err != nil {
				return err
			}
			s.Number = fmt.Sprintf("KTF-%06d", n+1)
		}
		var err error
		if s, err = r.mayIssue(ctx, view{tx, access.In(tx)}, s); err != nil {
			return err
		}
		tx.Note("form", s.Number)
		if !isNew {
			f, err := formOf(tx, s.Ref())
			if err != nil {
				return err
			}
			if f.State != FormDrafted {
				return fmt.Errorf("%s: %w: it is %s; a form that left is not changed any more", s.Ref(), act.ErrNotAllowed, f.State)
			}
			if _, err := tx.Exec(`DELETE FROM form WHERE site = $1 AND number = $2`, s.Site, s.Number); err != nil {
				return err
			}
		}
		return putForm(tx, s, FormDrafted, editor)
	})
	return s, err
}

func putForm(tx *store.Tx, s Sheet, state, editor string) error {
	issued, at := "", map[string]string{state: store.Stamp(tx.Time())}
	if !s.Issued.IsZero() {
		issued = store.Stamp(s.Issued)
	}
	_, err := tx.Exec(`INSERT INTO form (site, number, key, component, of, kcv, key_kcv, ceremony, bag, seal, from_person, to_site, to_person, carrier, state, editor, issued, drafted, announced)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)`,
		s.Site, s.Number, s.Key, s.Component, s.Of, s.KCV, s.KeyKCV, s.Ceremony, s.Bag, s.Seal, s.FromPerson, s.ToSite, s.ToPerson, s.Carrier,
		state, editor, issued, at[FormDrafted], at[FormAnnounced])
	return err
}

// mayIssue fills a form in from the register, and refuses one that cannot go.
func (r *Register) mayIssue(ctx context.Context, q view, s Sheet) (Sheet, error) {
	c, err := heldCopy(q, Copy{Kind: CopyComponent, Number: s.Component, Place: s.Ceremony, Key: s.Key}.Ref())
	if err != nil {
		return s, err
	}
	fail := func(format string, args ...any) (Sheet, error) {
		return s, fmt.Errorf("%s: %w: "+format, append([]any{s.Ref(), act.ErrNotAllowed}, args...)...)
	}
	keys, err := store.Collect(q, scanKey, `SELECT `+keyColumns+` FROM key WHERE id = $1`, s.Key)
	if err != nil {
		return s, err
	}
	if len(keys) == 0 {
		return s, fmt.Errorf("key %q: %w", s.Key, ErrNoKey)
	}
	k := keys[0]
	s.Of, s.KCV, s.KeyKCV, s.FromPerson = c.Of, c.KCV, k.KCV, c.Holder
	if err := s.Check(); err != nil {
		return s, err
	}
	if _, err := q.people.Person(ctx, c.Holder); err != nil {
		return s, fmt.Errorf("%s: its custodian: %w", s.Ref(), err)
	}
	if k.State != Live {
		return fail("key %s is %s, and leaves only while it is active", k.ID, k.State)
	}
	if !c.Missing.IsZero() {
		return fail("component %d is missing since %s", c.Number, store.Stamp(c.Missing))
	}
	var shares int
	if err := q.QueryRow(`SELECT count(*) FROM key_link WHERE key = $1 AND what = $2`, s.Key, "partner/"+s.ToSite).Scan(&shares); err != nil {
		return s, err
	}
	if shares == 0 {
		return fail("key %s is not shared with %s", s.Key, s.ToSite)
	}
	for kind, number := range map[string]string{ItemBag: s.Bag, ItemSeal: s.Seal} {
		if err := mayUse(q, kind, number, s.FromPerson, c.Ref()); err != nil {
			return s, err
		}
	}
	others, err := forms(q, `site = $1 AND number <> $2 AND key = $3 AND ceremony = $4`, r.site, s.Number, s.Key, s.Ceremony)
	if err != nil {
		return s, err
	}
	for _, o := range others {
		if o.Component == s.Component {
			return fail("%s is for the same component, and is %s", o.Number, o.State)
		}
		if o.ToSite == s.ToSite && o.ToPerson == s.ToPerson {
			return fail("person %s would hold two parts of one key: %s goes to them too", s.ToPerson, o.Number)
		}
	}
	return s, nil
}

// checkIssue is about form/SITE/NUMBER.
func (r *Register) checkIssue(ctx context.Context, q view, subject string) (f Form, m map[string]string, err error) {
	if f, err = formOf(q, subject); err != nil {
		return f, nil, err
	}
	if f.State != FormDrafted {
		return f, nil, fmt.Errorf("%s: %w: it is %s", subject, act.ErrNotAllowed, f.State)
	}
	now, err := r.mayIssue(ctx, q, f.Sheet)
	if err != nil {
		return f, nil, err
	}
	if now != f.Sheet {
		return f, nil, fmt.Errorf("%s: %w: key or custodian changed since it was written; write it again", subject, act.ErrNotAllowed)
	}
	m = f.params()
	m[act.ParamEditors] = f.Editor
	return f, m, nil
}

// mayAsk refuses a custodian who asks about a form of another.
func (f Form) mayAsk(ctx context.Context, tx *store.Tx, requester string) error {
	who, err := access.In(tx).Person(ctx, requester)
	if err == nil && who.ID != f.FromPerson && !who.Has(keyManager) {
		err = fmt.Errorf("%s: %w: it is that of person %s", f.Ref(), act.ErrNotAllowed, f.FromPerson)
	}
	return err
}

func (r *Register) doIssue(ctx context.Context, tx *store.Tx, w custody.Warrant, f Form) error {
	if err := f.mayAsk(ctx, tx, w.Act().Requester); err != nil {
		return err
	}
	part := Copy{Kind: CopyComponent, Number: f.Component, Place: f.Ceremony, Key: f.Key}.Ref()
	return errors.Join(
		useOnce(tx, ItemBag, f.Bag, f.FromPerson, part, f.Ref()),
		useOnce(tx, ItemSeal, f.Seal, f.FromPerson, part, f.Ref()),
		f.move(tx, FormIssued, `, issued = $2`, store.Stamp(tx.Time())),
		Happened(tx, f.Key, "person/"+w.Act().Requester, w.Act().Kind, fmt.Sprintf("component %d of %d leaves for %s under %s in bag %s, seal %s", f.Component, f.Of, f.ToSite, f.Number, f.Bag, f.Seal)),
	)
}

// FormsToSend are issued forms whose file has not left yet. Of a key that is
// not in use any more none leaves.
func (r *Register) FormsToSend(ctx context.Context) ([]Form, error) {
	return look(ctx, r, func(q view) ([]Form, error) {
		return forms(q, `site = $1 AND state = 'issued' AND sent = '' AND key IN (SELECT id FROM key WHERE key.state = 'active')`, r.site)
	})
}

// FormSent records that the file of a form, or its answer, left; without
// byFile the partner takes no files, and both parts are paper.
func FormSent(tx *store.Tx, f Form, byFile bool) error {
	_, err := tx.Exec(`UPDATE form SET sent = $1, by_file = $2 WHERE site = $3 AND number = $4 AND sent = ''`, store.Stamp(tx.Time()), byFile, f.Site, f.Number)
	return err
}

// Announce takes the first part of a form that a partner sent: a bag is under
// way. An error that wraps ErrForm says what is wrong with it.
func (r *Register) Announce(ctx context.Context, tx *store.Tx, partner string, s Sheet) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrForm}, args...)...)
	}
	if err := s.Check(); err != nil {
		return fail("%v", err)
	}
	if s.Site != partner || s.ToSite != r.site || s.Issued.IsZero() {
		return fail("%s is from %s to %s, not from %s to %s, or has no date", s.Ref(), s.Site, s.ToSite, partner, r.site)
	}
	had, err := forms(tx, `site = $1 AND (number = $2 OR bag = $3 OR seal = $4 OR key = $5 AND ceremony = $6 AND (component = $7 OR to_person = $8))`,
		s.Site, s.Number, s.Bag, s.Seal, s.Key, s.Ceremony, s.Component, s.ToPerson)
	if err != nil {
		return err
	}
	for _, o := range had {
		switch {
		case o.Number == s.Number:
			return fail("%s came before; a number is used once", s.Ref())
		case o.Bag == s.Bag || o.Seal == s.Seal:
			return fail("bag %s or seal %s came before, with %s; a number is used once, ever", s.Bag, s.Seal, o.Number)
		case o.Component == s.Component:
			return fail("component %d of %s came before, with %s", s.Component, s.Key, o.Number)
		default:
			return fail("person %s would hold two parts of one key: %s is for them too", s.ToPerson, o.Number)
		}
	}
	if err := putForm(tx, s, FormAnnounced, ""); err != nil {
		return err
	}
	n := notice.Notice{Kind: "form.announced", Subject: s.Ref(), Link: Form{Sheet: s}.link(),
		Text: fmt.Sprintf("%s sends component %d of %d of key %s to person %s in bag %s, seal %s, by %s. Look at bag and seal before you sign for it.", partner, s.Component, s.Of, s.Key, s.ToPerson, s.Bag, s.Seal, s.Carrier)}
	if _, err := access.In(tx).Fit(ctx, s.ToPerson, custodian); err == nil {
		if err := notice.Tell(tx, []string{s.ToPerson}, n); err != nil {
			return err
		}
	} else {
		n.Text += " The person cannot receive it: " + err.Error()
	}
	return notice.TellHolders(ctx, tx, n, keyManager, officer, act.Nodal, act.Alternate)
}

// PutInspection writes down what the recipient of a bag read from it and its
// seal, and saw of them. The act form.receive signs for it.
func (r *Register) PutInspection(ctx context.Context, person, ref string, i Inspection) error {
	if !itemNumber.MatchString(i.Bag) || !itemNumber.MatchString(i.Seal) {
		return fmt.Errorf("%.120s: bag %.50q and seal %.50q have 1 to 40 letters, digits, . and -", ref, i.Bag, i.Seal)
	}
	if i.Note != "" {
		if err := checkText("note", i.Note, 500); err != nil {
			return err
		}
	}
	if !i.Sound && i.Note == "" {
		return fmt.Errorf("%.120s: say what is to be seen on the bag", ref)
	}
	doc, err := json.Marshal(i)
	if err != nil {
		return err
	}
	data, err := audit.DataOf(i)
	if err != nil {
		return err
	}
	return r.store.Change(ctx, audit.Entry{Kind: "form.inspected", Actor: "person/" + person, Subject: ref, Data: data}, func(tx *store.Tx) error {
		f, err := r.coming(tx, ref)
		if err != nil {
			return err
		}
		if f.ToPerson != person {
			return fmt.Errorf("%s: %w: it is for person %s", ref, act.ErrNotAllowed, f.ToPerson)
		}
		return f.move(tx, f.State, `, read = $2`, doc)
	})
}

// coming is a form whose bag has not been signed for.
func (r *Register) coming(q store.Querier, ref string) (Form, error) {
	f, err := formOf(q, ref)
	if err == nil && f.State != FormAnnounced {
		err = fmt.Errorf("%s: %w: it is %s", ref, act.ErrNotAllowed, f.State)
	}
	return f, err
}

// checkReceive is about form/SITE/NUMBER.
func (r *Register) checkReceive(ctx context.Context, q view, subject string) (f Form, m map[string]string, err error) {
	if f, err = r.coming(q, subject); err != nil {
		return f, nil, err
	}
	if f.Inspection == nil {
		return f, nil, fmt.Errorf("%s: %w: nobody wrote down yet what bag and seal say", subject, act.ErrNotAllowed)
	}
	if _, err := q.people.Fit(ctx, f.ToPerson, custodian); err != nil {
		return f, nil, err
	}
	m = f.Sheet.params()
	maps.Copy(m, f.Inspection.params())
	m[act.ParamEditors], m["outcome"] = f.ToPerson, FormReceived
	if f.Why = f.Inspection.against(f.Sheet); f.Why != "" {
		m["outcome"], m["why"] = FormTampered, f.Why
		return f, m, nil // nobody holds it: it is as good as lost
	}
	if err := r.holdsOther(q, f.ToPerson, f.Key, ""); err != nil {
		return f, nil, err
	}
	return f, m, r.checkMost(q, f.ToPerson, 1)
}

// holdsOther refuses a person who holds a part of a key already, other than one.
func (r *Register) holdsOther(q store.Querier, person, key, but string) error {
	held, err := r.things(q, person)
	if err != nil {
		return err
	}
	for _, t := range held {
		if t.Key == key && t.Ref != but {
			return fmt.Errorf("person %s: %w: would hold two parts of one key, %s and %s (SOP 6.4.e.iii)", person, act.ErrNotAllowed, t.Ref, key)
		}
	}
	return nil
}

func (r *Register) doReceive(ctx context.Context, tx *store.Tx, w custody.Warrant, f Form) error {
	a := w.Act()
	if a.Requester != f.ToPerson {
		return fmt.Errorf("%s: %w: it is for person %s, who looks at the bag and signs", f.Ref(), act.ErrNotAllowed, f.ToPerson)
	}
	if f.Why == "" {
		return errors.Join(
			f.move(tx, FormReceived, `, received = $2, holder = $3, act = $4`, store.Stamp(tx.Time()), f.ToPerson, a.ID),
			Happened(tx, f.Key, "person/"+a.Requester, a.Kind, fmt.Sprintf("component %d of %d came under %s in bag %s, sound", f.Component, f.Of, f.Ref(), f.Bag)))
	}
	return errors.Join(
		f.move(tx, FormTampered, `, received = $2, why = $3, act = $4`, store.Stamp(tx.Time()), f.Why, a.ID),
		r.tampered(ctx, tx, f, "person/"+a.Requester))
}

// tampered ends a key because of one of its bags, and tells everybody (SOP
// 6.4.e.iii.d). At the receiver the key may not be there yet: then its form
// keeps it out.
func (r *Register) tampered(ctx context.Context, tx *store.Tx, f Form, by string) error {
	why := fmt.Sprintf("component %d of %d under %s: %s", f.Component, f.Of, f.Number, f.Why)
	var state State
	err := tx.QueryRow(`SELECT state FROM key WHERE id = $1`, f.Key).Scan(&state)
	switch {
	case err == nil && state != Compromised && state != Destroyed:
		return r.Compromise(ctx, tx, f.Key, by, why)
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return err
	}
	return errors.Join(Happened(tx, f.Key, by, "form.tampered", why),
		notice.TellHolders(ctx, tx, notice.Notice{Kind: "form.tampered", Subject: f.Ref(), Link: f.link(),
			Text: fmt.Sprintf("Key %s is compromised before it was used: %s. No ceremony takes its components.", f.Key, why)},
			keyManager, hsmAdmin, officer, act.Nodal, act.Alternate, custodian, "system-administrator"))
}

// FormsToAnswer are forms whose bag was signed for and whose issuer does not
// know yet.
func (r *Register) FormsToAnswer(ctx context.Context) ([]Form, error) {
	return look(ctx, r, func(q view) ([]Form, error) {
		return forms(q, `site <> $1 AND state IN ('received', 'tampered', 'closed') AND act <> '' AND sent = ''`, r.site)
	})
}

// CheckAnswer verifies the second part of a form: that the recipient whom the
// form names signed, with this passkey, that this bag was looked at. It returns
// what is wrong with the bag, "" if it is sound.
func (f Form) CheckAnswer(an FormAnswer) (why string, err error) {
	a, err := act.Parse([]byte(an.Act))
	if err != nil {
		return "", err
	}
	fail := func(format string, args ...any) (string, error) {
		return "", fmt.Errorf("answer to %s: "+format, append([]any{f.Ref()}, args...)...)
	}
	switch {
	case a.Site != f.ToSite || a.Kind != "form.receive" || a.Subject != f.Ref():
		return fail("the act is %s of %s at %s", a.Kind, a.Subject, a.Site)
	case a.Requester != f.ToPerson || an.Person.ID != f.ToPerson:
		return fail("it is signed by person %s, the form names %s", a.Requester, f.ToPerson)
	}
	if _, err := act.Verify(a, an.Person, an.Signature, act.Request); err != nil {
		return "", err
	}
	for k, v := range f.Sheet.params() {
		if a.Params[k] != v {
			return fail("%s is %q, on the form %q", k, a.Params[k], v)
		}
	}
	saw := Inspection{Bag: a.Params["read_bag"], Seal: a.Params["read_seal"], Sound: a.Params["sound"] == "true"}
	why = saw.against(f.Sheet)
	if outcome := map[bool]string{true: FormReceived, false: FormTampered}[why == ""]; a.Params["outcome"] != outcome {
		return fail("it says %q, and what was read says %q", a.Params["outcome"], outcome)
	}
	return why, nil
}

// mostAnswer bounds the second part of a form, in bytes.
const mostAnswer = 1 << 16

// TakeAnswer takes the second part of a form that a partner sent. A bag that
// was tampered with ends its key in the same change; the caller reloads the
// guard. An error that wraps ErrForm says what is wrong with the answer.
func (r *Register) TakeAnswer(ctx context.Context, tx *store.Tx, partner, ref string, an FormAnswer) error {
	f, err := formOf(tx, ref)
	if errors.Is(err, ErrNoForm) || err == nil && (f.Site != r.site || f.ToSite != partner) {
		return fmt.Errorf("%w: %s did not go to %s", ErrForm, ref, partner)
	}
	if err != nil {
		return fmt.Errorf("%w: %v", ErrForm, err)
	}
	if f.State != FormIssued {
		return fmt.Errorf("%w: %s is %s", ErrForm, ref, f.State)
	}
	if f.Why, err = f.CheckAnswer(an); err != nil {
		return fmt.Errorf("%w: %v", ErrForm, err)
	}
	doc, err := json.Marshal(an)
	if err != nil {
		return err
	}
	if len(doc) > mostAnswer {
		return fmt.Errorf("%w: the answer to %s has %d bytes, want at most %d", ErrForm, ref, len(doc), mostAnswer)
	}
	to := FormReceived
	if f.Why != "" {
		to = FormTampered
	}
	if err := f.move(tx, to, `, received = $2, why = $3, answer = $4`, store.Stamp(tx.Time()), f.Why, doc); err != nil {
		return err
	}
	by := "partner/" + partner
	if f.Why != "" {
		return errors.Join(r.tampered(ctx, tx, f, by), toldUs(tx, f.Key, partner, "person "+f.ToPerson+" of "+partner+", who looked at the bag"))
	}
	return errors.Join(
		Happened(tx, f.Key, by, "form.answered", fmt.Sprintf("component %d of %d came whole, signed by person %s", f.Component, f.Of, f.ToPerson)),
		notice.Tell(tx, []string{f.FromPerson}, notice.Notice{Kind: "form.answered", Subject: ref, Link: f.link(),
			Text: fmt.Sprintf("Person %s of %s signed that bag %s came sound. Close the form: form.close.", f.ToPerson, partner, f.Bag)}))
}

// toldUs closes what this site would wait for from a party that told it itself.
func toldUs(tx *store.Tx, key, party, words string) error {
	_, err := tx.Exec(`UPDATE compromise_party SET sent = $1, acknowledged = $1, words = $2 WHERE key = $3 AND party = $4 AND acknowledged = ''`, store.Stamp(tx.Time()), words, key, party)
	return err
}

// checkClose is about form/SITE/NUMBER. The answer is verified again: the
// database's word is not taken.
func (r *Register) checkClose(_ context.Context, q view, subject string) (f Form, m map[string]string, err error) {
	if f, err = formOf(q, subject); err != nil {
		return f, nil, err
	}
	m = f.Sheet.params()
	switch {
	case f.Site != r.site:
		return f, nil, fmt.Errorf("%s: %w: its issuer closes it", subject, act.ErrNotAllowed)
	case f.State == FormIssued && !f.ByFile:
		m["answer"] = "on paper: " + f.ToSite + " takes no files"
		return f, m, nil
	case f.State != FormReceived || f.Answer == nil:
		return f, nil, fmt.Errorf("%s: %w: it is %s; it closes on the recipient's signed answer", subject, act.ErrNotAllowed, f.State)
	}
	why, err := f.CheckAnswer(*f.Answer)
	if err == nil && why != "" {
		err = fmt.Errorf("%s: %w: %s", subject, act.ErrNotAllowed, why)
	}
	if err != nil {
		return f, nil, err
	}
	m["answer"], m["answered"] = "signed by person "+f.ToPerson+" of "+f.ToSite, store.Stamp(f.Received)
	m["answer_sha256"] = fmt.Sprintf("%x", sha256.Sum256([]byte(f.Answer.Act)))
	return f, m, nil
}

// doClose ends what the issuer has of the component: the partner has it.
func (r *Register) doClose(ctx context.Context, tx *store.Tx, w custody.Warrant, f Form) error {
	if err := f.mayAsk(ctx, tx, w.Act().Requester); err != nil {
		return err
	}
	c, err := heldCopy(tx, Copy{Kind: CopyComponent, Number: f.Component, Place: f.Ceremony, Key: f.Key}.Ref())
	if err != nil {
		return err
	}
	actor := "person/" + w.Act().Requester
	errs := []error{CopyGone(tx, c), f.move(tx, FormClosed, `, closed = $2`, store.Stamp(tx.Time()))}
	for kind, number := range map[string]string{ItemBag: f.Bag, ItemSeal: f.Seal} {
		errs = append(errs, itemGone(tx, Item{Kind: kind, Number: number}, actor, w.Act().Kind, "with "+f.Ref()))
	}
	return errors.Join(append(errs, Happened(tx, f.Key, actor, w.Act().Kind, fmt.Sprintf("component %d of %d is at %s: %s", f.Component, f.Of, f.ToSite, f.Number)))...)
}

// A FormPart is one component of an import as its plan has it.
type FormPart struct {
	Key       string
	Partner   string // that sends it; "" if the plan does not say
	Form, Bag string // numbers; "" if the plan has none
	Component int
	KCV       hsm.KCV
	Custodian string
}

// FormBlocks says why a component may not come into the module, "" if nothing
// speaks against it: a bag of its key was tampered with, its form is not
// received, or says something else than the plan. A key for which no form came as
// a file may have one on paper, whose number is not of the shape KTF-NNNNNN.
func (r *Register) FormBlocks(ctx context.Context, p FormPart) (string, error) {
	return look(ctx, r, func(q view) (string, error) {
		all, err := forms(q, `site <> $1 AND key = $2`, r.site, p.Key)
		if err != nil {
			return "", err
		}
		var mine *Form
		for i, f := range all {
			if f.State == FormTampered {
				return fmt.Sprintf("%s is tampered: %s; the key is compromised (SOP 6.4.e.iii.d)", f.Ref(), f.Why), nil
			}
			if (f.Number == p.Form || strings.TrimPrefix(f.Ref(), "form/") == p.Form) && (p.Partner == "" || p.Partner == f.Site) {
				mine = &all[i]
			}
		}
		switch {
		case mine == nil && len(all) > 0:
			return fmt.Sprintf("%s came for key %s; the plan names form %q", all[0].Ref(), p.Key, p.Form), nil
		case mine == nil && formNumber.MatchString(p.Form[strings.LastIndexByte(p.Form, '/')+1:]):
			return fmt.Sprintf("form %s for key %s is not known here; it comes as a file from its issuer", p.Form, p.Key), nil
		case mine == nil:
			return "", nil
		case mine.State != FormReceived:
			return fmt.Sprintf("%s is %s, want %s: its recipient signs for the bag first", mine.Ref(), mine.State, FormReceived), nil
		case !mine.Missing.IsZero():
			return fmt.Sprintf("bag %s of %s is missing since %s", mine.Bag, mine.Ref(), store.Stamp(mine.Missing)), nil
		case mine.Bag != p.Bag:
			return fmt.Sprintf("the plan says bag %q, %s says %s", p.Bag, mine.Ref(), mine.Bag), nil
		case mine.Component != p.Component:
			return fmt.Sprintf("%s is for component %d, the plan has it as %d", mine.Ref(), mine.Component, p.Component), nil
		case mine.Holder != p.Custodian:
			return fmt.Sprintf("bag %s of %s is with person %s, the plan says %s", mine.Bag, mine.Ref(), mine.Holder, p.Custodian), nil
		}
		want, err := hsm.ParseKCV(mine.KCV)
		if err != nil {
			return "", err
		}
		if same, err := want.Matches(p.KCV); err == nil && !same {
			return fmt.Sprintf("the plan says check value %s, %s says %s", p.KCV, mine.Ref(), mine.KCV), nil
		}
		return "", nil
	})
}

// FormsImported closes the forms of a key whose components are in the module.
func FormsImported(tx *store.Tx, key, ceremony string) error {
	all, err := forms(tx, `key = $1 AND state = 'received' AND holder <> ''`, key)
	if err != nil {
		return err
	}
	for _, f := range all {
		if err := f.move(tx, FormClosed, `, closed = $2, why = $3`, store.Stamp(tx.Time()), "in the module by ceremony/"+ceremony); err != nil {
			return err
		}
	}
	return nil
}

// FormsCompromised keeps out the components of a key that a partner calls
// compromised before it came into the module. It returns how many forms it
// found, and refuses no partner who speaks of keys that it sends nothing of.
func (r *Register) FormsCompromised(ctx context.Context, tx *store.Tx, key, partner, why string) (int, error) {
	all, err := forms(tx, `site = $1 AND key = $2 AND state IN ('announced', 'received')`, partner, key)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	for _, f := range all {
		f.Why = "its issuer says: " + why
		if err := f.move(tx, FormTampered, `, why = $2`, f.Why); err != nil {
			return 0, err
		}
	}
	all[0].Why = "its issuer says: " + why
	if _, err := tx.Exec(`INSERT INTO compromise_heard (key, partner, at, why) VALUES ($1, $2, $3, $4) ON CONFLICT (key, partner) DO NOTHING`, key, partner, store.Stamp(tx.Time()), why); err != nil {
		return 0, err
	}
	return len(all), r.tampered(ctx, tx, all[0], "partner/"+partner)
}

// remindForms tells people of forms that do not come back, and of bags that do
// not come.
func (r *Register) remindForms(ctx context.Context, now time.Time) error {
	policy, err := r.people.Policy(ctx)
	if err != nil || policy.Periods.Receipt == 0 {
		return err
	}
	all, err := r.OverdueForms(ctx)
	if err != nil {
		return err
	}
	for _, f := range all {
		n := notice.Notice{Kind: "form.overdue", Subject: f.Ref(), Link: f.link(),
			Text: fmt.Sprintf("%s, bag %s to person %s of %s, left %s by %s and is not back after %d days.", f.Number, f.Bag, f.ToPerson, f.ToSite, store.Stamp(f.Issued), f.Carrier, policy.Periods.Receipt)}
		tell := []string{f.FromPerson}
		if f.Site != r.site {
			tell = []string{f.ToPerson}
			n.Text = fmt.Sprintf("Bag %s of %s was announced %s and nobody signed for it in %d days.", f.Bag, f.Ref(), store.Stamp(f.Announced), policy.Periods.Receipt)
		}
		if err := r.remind(ctx, f.Ref(), remindEvery, n, tell, keyManager, officer); err != nil {
			return err
		}
	}
	return nil
}

// OverdueForms are forms that are not back, or whose bag nobody signed for,
// within the policy's days.
func (r *Register) OverdueForms(ctx context.Context) ([]Form, error) {
	return look(ctx, r, func(q view) ([]Form, error) {
		policy, err := q.people.Policy(ctx)
		if err != nil || policy.Periods.Receipt == 0 {
			return nil, err
		}
		before := store.Stamp(r.store.Now().AddDate(0, 0, -policy.Periods.Receipt))
		return forms(q, `state = 'issued' AND issued <= $1 OR state = 'announced' AND announced <= $1`, before)
	})
}
