package keys

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
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

// A Transfer is things that go from one custodian to another: responsibility
// moves when both and a security officer have signed, and not before (SOP
// 6.3.2.q).
type Transfer struct {
	Number   string    `json:"number"` // CT-NNNNNN
	Outgoing string    `json:"outgoing"`
	Incoming string    `json:"incoming"`
	Things   []string  `json:"things"` // Thing.Ref
	Drafted  time.Time `json:"drafted"`
	Done     time.Time `json:"done,omitzero"`
	Officer  string    `json:"officer,omitempty"`
	Act      string    `json:"act,omitempty"`

	// Sealed is each part of a key among them, sealed by the outgoing custodian
	// to the incoming one: hsm.Component or hsm.Share as JSON, by Thing.Ref. It
	// is empty once they moved.
	Sealed map[string][]byte `json:"-"`
}

func transfers(q store.Querier, where string, args ...any) ([]Transfer, error) {
	return store.Collect(q, func(rows *sql.Rows) (t Transfer, err error) {
		var drafted, done string
		var things, sealed []byte
		if err = rows.Scan(&t.Number, &t.Outgoing, &t.Incoming, &things, &sealed, &drafted, &done, &t.Officer, &t.Act); err == nil {
			err = errors.Join(stamps([]string{drafted, done}, &t.Drafted, &t.Done), json.Unmarshal(things, &t.Things), json.Unmarshal(sealed, &t.Sealed))
		}
		return t, err
	}, `SELECT number, outgoing, incoming, things, sealed, drafted, done, officer, act FROM transfer WHERE `+where+` ORDER BY number DESC`, args...)
}

// Transfers are the transfers from or to a person, or all if person is "",
// newest first.
func (r *Register) Transfers(ctx context.Context, person string) ([]Transfer, error) {
	return look(ctx, r, func(q view) ([]Transfer, error) {
		return transfers(q, `$1 = '' OR outgoing = $1 OR incoming = $1`, person)
	})
}

// A Resealing is what the outgoing custodian's browser needs to seal a part of
// a key to the incoming one: it opens Given with the custodian's own passkey
// and gives the content to To. The result is New with what Give returned as its
// "given".
type Resealing struct {
	Ref      string          `json:"ref"`
	Given    []byte          `json:"given"`
	Content  string          `json:"content"`
	Label    string          `json:"label"`
	To       []byte          `json:"to"` // SubjectPublicKeyInfo
	NewLabel string          `json:"new_label"`
	New      json.RawMessage `json:"new"` // hsm.Component or hsm.Share
}

// Reseal gives a custodian a part of a key that they hold, as it is sealed to
// them, to be sealed to another. That it was handed out is in the log.
func (r *Register) Reseal(ctx context.Context, person, ref, incoming string) (Resealing, error) {
	out := Resealing{Ref: ref}
	_, err := look(ctx, r, func(q view) (Copy, error) {
		c, err := heldCopy(q, ref)
		if err != nil {
			return c, err
		}
		if c.Holder != person || len(c.Sealed) == 0 {
			return c, fmt.Errorf("%s: %w: nothing of it is sealed to person %s", ref, act.ErrNotAllowed, person)
		}
		if out.To, err = sealOf(ctx, q, incoming); err != nil {
			return c, err
		}
		was, err := readPart(c.Kind, c.Sealed)
		if err != nil {
			return c, err
		}
		out.Given, out.Content, out.Label = was.given(), was.content(), was.label()
		now := was.to(incoming, nil)
		out.NewLabel = now.label()
		out.New, err = json.Marshal(now)
		return c, err
	})
	if err != nil {
		return Resealing{}, err
	}
	e := audit.Entry{Kind: "custody.part-shown", Actor: "person/" + person, Subject: ref, Data: map[string]any{"for": incoming}}
	return out, r.store.Enter(ctx, e)
}

// sealOf is the public half to which parts are sealed for a person.
func sealOf(ctx context.Context, q view, person string) ([]byte, error) {
	who, err := q.people.Fit(ctx, person, custodian)
	if err != nil {
		return nil, err
	}
	if who.Credential.Seal == nil {
		return nil, fmt.Errorf("person %s: %w: the passkey cannot open what is sealed; enrol one with the PRF extension", person, act.ErrNotAllowed)
	}
	if _, err := who.Credential.Seal.Key(); err != nil {
		return nil, err
	}
	return who.Credential.Seal.Public, nil
}

// A part is a component or a share, sealed.
type part interface {
	given() []byte
	content() string
	label() string
	to(holder string, given hsm.Given) part
}

type component hsm.Component

func (c component) given() []byte   { return c.Given }
func (c component) content() string { return string(hsm.Component(c).Content()) }
func (c component) label() string   { return hsm.Component(c).Label() }
func (c component) to(holder string, given hsm.Given) part {
	c.Holder, c.Given = holder, given
	return c
}

type share hsm.Share

func (s share) given() []byte   { return s.Given }
func (s share) content() string { return string(hsm.Share(s).Content()) }
func (s share) label() string   { return hsm.Share(s).Label() }
func (s share) to(holder string, given hsm.Given) part {
	s.Holder, s.Given = holder, given
	return s
}

func readPart(kind string, doc []byte) (part, error) {
	if kind == CopyShare {
		var s share
		return s, audit.Strict(doc, &s)
	}
	var c component
	err := audit.Strict(doc, &c)
	return c, err
}

// resealed is a part as it was sealed anew, if it is the same part at the same
// place for another holder. Only its new holder can see whether it opens.
func resealed(c Copy, doc []byte, incoming string) ([]byte, error) {
	was, err := readPart(c.Kind, c.Sealed)
	if err != nil {
		return nil, err
	}
	now, err := readPart(c.Kind, doc)
	if err != nil {
		return nil, fmt.Errorf("%s, sealed anew: %w", c.Ref(), err)
	}
	want, err := json.Marshal(was.to(incoming, now.given()))
	if err != nil {
		return nil, err
	}
	found, err := json.Marshal(now)
	if err != nil {
		return nil, err
	}
	switch {
	case !bytes.Equal(found, want):
		return nil, fmt.Errorf("%s: %w: what was sealed anew is another part, or for another holder than %s", c.Ref(), act.ErrNotAllowed, incoming)
	case len(now.given()) != len(was.given()) || bytes.Equal(now.given(), was.given()):
		return nil, fmt.Errorf("%s: %w: it is still sealed to person %s; open it and seal it to person %s", c.Ref(), act.ErrNotAllowed, c.Holder, incoming)
	}
	return found, nil
}

// PutTransfer writes down what a custodian hands over to another, with each
// sealed part of a key sealed anew to the other. Of the transfer it takes
// outgoing, incoming, things and what is sealed; with a number it changes the
// draft of that number, which must be that custodian's. The act
// custody.transfer of transfer/NUMBER does it.
func (r *Register) PutTransfer(ctx context.Context, t Transfer) (Transfer, error) {
	t = Transfer{Number: t.Number, Outgoing: t.Outgoing, Incoming: t.Incoming, Things: slices.Sorted(slices.Values(t.Things)), Sealed: t.Sealed}
	if t.Sealed == nil {
		t.Sealed = map[string][]byte{}
	}
	e := audit.Entry{Kind: "custody.transfer-drafted", Actor: "person/" + t.Outgoing, Subject: "person/" + t.Incoming,
		Data: map[string]any{"things": len(t.Things)}}
	err := r.store.Change(ctx, e, func(tx *store.Tx) error {
		t.Drafted = tx.Time().Truncate(time.Second)
		if t.Number == "" {
			var n int
			if err := tx.QueryRow(`SELECT count(*) FROM transfer`).Scan(&n); err != nil {
				return err
			}
			t.Number = fmt.Sprintf("CT-%06d", n+1)
		} else if had, err := transferOf(tx, "transfer/"+t.Number); err != nil {
			return err
		} else if had.Outgoing != t.Outgoing {
			return fmt.Errorf("transfer %s: %w: it is that of person %s", t.Number, act.ErrNotAllowed, had.Outgoing)
		}
		if _, err := r.mayMove(ctx, view{tx, access.In(tx)}, t); err != nil {
			return err
		}
		tx.Note("transfer", t.Number)
		things, err := json.Marshal(t.Things)
		if err != nil {
			return err
		}
		sealed, err := json.Marshal(t.Sealed)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO transfer (number, outgoing, incoming, things, sealed, drafted) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (number) DO UPDATE SET incoming = excluded.incoming, things = excluded.things, sealed = excluded.sealed, drafted = excluded.drafted`,
			t.Number, t.Outgoing, t.Incoming, things, sealed, store.Stamp(t.Drafted))
		return err
	})
	return t, err
}

// transferOf is the draft that a subject names, transfer/NUMBER.
func transferOf(q store.Querier, subject string) (Transfer, error) {
	number, ok := strings.CutPrefix(subject, "transfer/")
	all, err := transfers(q, `number = $1`, number)
	switch {
	case err != nil:
		return Transfer{}, err
	case !ok || len(all) == 0:
		return Transfer{}, fmt.Errorf("%.100q is no transfer/CT-NNNNNN that was written down", subject)
	case !all[0].Done.IsZero():
		return Transfer{}, fmt.Errorf("%s: %w: it is done", subject, act.ErrNotAllowed)
	}
	return all[0], nil
}

// A moving is what moves, as the register has it.
type moving struct {
	Transfer
	items  []Item
	copies []Copy // sealed anew where they were sealed
	forms  []Form
	sealTo []byte // public half, if anything is sealed
}

// mayMove refuses a transfer of what the outgoing custodian does not hold, to
// somebody who may not hold it, or of half of what belongs together.
func (r *Register) mayMove(ctx context.Context, q view, t Transfer) (v moving, err error) {
	v.Transfer = t
	fail := func(format string, args ...any) (moving, error) {
		return v, fmt.Errorf("transfer %s: %w: "+format, append([]any{t.Number, act.ErrNotAllowed}, args...)...)
	}
	if t.Incoming == t.Outgoing || len(t.Things) == 0 || len(slices.Compact(slices.Clone(t.Things))) != len(t.Things) {
		return fail("it has %d things, some twice, or goes to whom it comes from", len(t.Things))
	}
	in, err := q.people.Fit(ctx, t.Incoming, custodian)
	if err != nil {
		return v, err
	}
	held, err := r.things(q, t.Outgoing)
	if err != nil {
		return v, err
	}
	keys := map[string]string{}
	for _, ref := range t.Things {
		i := slices.IndexFunc(held, func(h Thing) bool { return h.Ref == ref })
		if i < 0 {
			return fail("person %s does not hold %.300s", t.Outgoing, ref)
		}
		if !held[i].Missing.IsZero() {
			return fail("%s is missing since %s", ref, store.Stamp(held[i].Missing))
		}
		if key := held[i].Key; key != "" {
			if other := keys[key]; other != "" {
				return fail("person %s would hold two parts of one key: %s and %s", t.Incoming, other, ref)
			}
			keys[key] = ref
			if err := r.holdsOther(q, t.Incoming, key, ref); err != nil {
				return v, err
			}
		}
		if err := v.add(q, ref, t); err != nil {
			return v, err
		}
	}
	for ref := range t.Sealed {
		if !slices.ContainsFunc(v.copies, func(c Copy) bool { return c.Ref() == ref && len(c.Sealed) > 0 }) {
			return fail("%.300s was sealed anew and is no sealed part among what moves", ref)
		}
	}
	if slices.ContainsFunc(v.copies, func(c Copy) bool { return len(c.Sealed) > 0 }) {
		if v.sealTo, err = sealOf(ctx, q, t.Incoming); err != nil {
			return v, err
		}
	}
	if err := v.whole(q, in); err != nil {
		return v, err
	}
	return v, r.checkMost(q, t.Incoming, len(t.Things))
}

// add looks one thing up.
func (v *moving) add(q view, ref string, t Transfer) error {
	switch kind, _, _ := strings.Cut(ref, "/"); kind {
	case "item":
		i, err := itemOf(q, ref)
		v.items = append(v.items, i)
		return err
	case "form":
		f, err := formOf(q, ref)
		v.forms = append(v.forms, f)
		return err
	}
	c, err := heldCopy(q, ref)
	if err != nil {
		return err
	}
	if len(c.Sealed) > 0 {
		doc, ok := t.Sealed[ref]
		if !ok {
			return fmt.Errorf("%s: %w: it is sealed to person %s; open it and seal it to person %s", ref, act.ErrNotAllowed, c.Holder, t.Incoming)
		}
		if c.Sealed, err = resealed(c, doc, t.Incoming); err != nil {
			return err
		}
	}
	v.copies = append(v.copies, c)
	return nil
}

// whole refuses to part what belongs together: a locker, what lies in it and
// its keys; an envelope and the part of a key in it.
func (v *moving) whole(q view, in act.Person) error {
	all, err := items(q, `holder = $1 AND state IN ('held', 'missing')`, v.Outgoing)
	if err != nil {
		return err
	}
	moves := func(ref string) bool { return slices.Contains(v.Things, ref) }
	fail := func(a, b string) error {
		return fmt.Errorf("transfer %s: %w: %s and %s go together or not at all; nobody shares access (SOP 6.4.e.iv)", v.Number, act.ErrNotAllowed, a, b)
	}
	for _, i := range all {
		goes := moves(i.Ref())
		if moves(i.Place) && !goes {
			return fail(i.Place, i.Ref())
		}
		if strings.HasPrefix(i.Opens, "item/locker/") && goes != moves(i.Opens) {
			return fail(i.Opens, i.Ref())
		}
		if strings.HasPrefix(i.Opens, "item/rack/") && goes {
			i.Holder = v.Incoming
			if err := mayOpen(q, i, in); err != nil {
				return err
			}
		}
		if i.Holds != "" && goes != moves(i.Holds) {
			if _, err := heldCopy(q, i.Holds); err == nil {
				return fail(i.Ref(), i.Holds)
			} else if !errors.Is(err, act.ErrNotAllowed) {
				return err
			}
		}
	}
	return nil
}

// checkTransfer is about transfer/NUMBER.
func (r *Register) checkTransfer(ctx context.Context, q view, subject string) (v moving, m map[string]string, err error) {
	t, err := transferOf(q, subject)
	if err != nil {
		return v, nil, err
	}
	if v, err = r.mayMove(ctx, q, t); err != nil {
		return v, nil, err
	}
	m = map[string]string{"number": t.Number, "outgoing": t.Outgoing, "incoming": t.Incoming, "things": fmt.Sprint(len(t.Things)), act.ParamEditors: t.Outgoing}
	for n, ref := range t.Things {
		line := ref
		if doc, ok := t.Sealed[ref]; ok {
			line += fmt.Sprintf(", sealed anew %x", sha256.Sum256(doc))
		}
		m[fmt.Sprintf("thing_%03d", n+1)] = line
	}
	if v.sealTo != nil {
		m["sealed_to_sha256"] = fmt.Sprintf("%x", sha256.Sum256(v.sealTo))
	}
	return v, m, nil
}

func (r *Register) doTransfer(ctx context.Context, tx *store.Tx, w custody.Warrant, v moving) error {
	a := w.Act()
	if a.Requester != v.Outgoing {
		return fmt.Errorf("transfer %s: %w: person %s hands over, and asks for it", v.Number, act.ErrNotAllowed, v.Outgoing)
	}
	if !w.ApprovedBy(v.Incoming) {
		return fmt.Errorf("transfer %s: %w: person %s, who takes over, has not signed it", v.Number, act.ErrNotAllowed, v.Incoming)
	}
	saw, err := approver(ctx, tx, w, officer)
	if err != nil {
		return err
	}
	actor, now := "person/"+v.Outgoing, store.Stamp(tx.Time())
	text := "from person " + v.Outgoing + " to person " + v.Incoming + ", " + v.Number
	for _, i := range v.items {
		place := i.Place
		if strings.HasPrefix(place, "item/") && !slices.Contains(v.Things, place) {
			place = "handed over, not put away yet"
		}
		if _, err := tx.Exec(`UPDATE item SET holder = $1, place = $2, since = $3 WHERE kind = $4 AND number = $5`, v.Incoming, place, now, i.Kind, i.Number); err != nil {
			return err
		}
		if err := itemHappened(tx, i, actor, a.Kind, text); err != nil {
			return err
		}
	}
	for _, c := range v.copies {
		if _, err := tx.Exec(`UPDATE key_copy SET holder = $1, since = $2, sealed = $3 WHERE key = $4 AND kind = $5 AND number = $6 AND holder = $7 AND place = $8`,
			v.Incoming, now, c.Sealed, c.Key, c.Kind, c.Number, c.Holder, c.Place); err != nil {
			return err
		}
		if err := Happened(tx, c.Key, actor, a.Kind, fmt.Sprintf("%s %d of %d %s", c.Kind, c.Number, c.Of, text)); err != nil {
			return err
		}
	}
	for _, f := range v.forms {
		if err := f.move(tx, f.State, `, holder = $2`, v.Incoming); err != nil {
			return err
		}
		if err := Happened(tx, f.Key, actor, a.Kind, "bag "+f.Bag+" "+text); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(`UPDATE transfer SET done = $1, officer = $2, act = $3, sealed = '{}' WHERE number = $4`, now, saw, a.ID, v.Number); err != nil {
		return err
	}
	return notice.Tell(tx, []string{v.Outgoing, v.Incoming, saw}, notice.Notice{Kind: a.Kind, Subject: a.Subject, Link: "/custody/" + v.Incoming,
		Text: fmt.Sprintf("%d things went from person %s to person %s: %s.", len(v.Things), v.Outgoing, v.Incoming, few(v.Things))})
}

// PersonLeft flags what somebody who left held: a part of a key that only they
// could open is of no use to anybody, and may be in their head. It says what
// they held, "" if nothing.
func (r *Register) PersonLeft(tx *store.Tx, person string) (string, error) {
	held, err := r.things(tx, person)
	if err != nil || len(held) == 0 {
		return "", err
	}
	var parts []string
	for _, t := range held {
		what, text := "custody.left-behind", "person "+person+" left and held "+t.Name+"; rotate the key"
		if t.Key == "" {
			i, err := itemOf(tx, t.Ref)
			if err != nil {
				return "", err
			}
			if err := itemHappened(tx, i, "system:keys", what, "person "+person+" left and held it"); err != nil {
				return "", err
			}
			continue
		}
		parts = append(parts, t.Key)
		if err := Happened(tx, t.Key, "system:keys", what, text); err != nil {
			return "", err
		}
	}
	if len(parts) == 0 {
		return fmt.Sprintf("They held %d things; whoever has them now takes them over: item.register.", len(held)), nil
	}
	return fmt.Sprintf("They held %d things, %d of them parts of keys, of %s: rotate these keys.", len(held), len(parts), few(parts)), nil
}

// A Finding is something about keys that is not as it should be.
type Finding struct {
	Subject string    `json:"subject"`
	Text    string    `json:"text"`
	Since   time.Time `json:"since,omitzero"`
}

// Findings are what is not as it should be with things and papers now: what
// people hold who are gone, what counts did not find, counts and forms that are
// overdue, racks that are open too long.
func (r *Register) Findings(ctx context.Context) ([]Finding, error) {
	owed, err := r.Overdue(ctx)
	if err != nil {
		return nil, err
	}
	late, err := r.OverdueForms(ctx)
	if err != nil {
		return nil, err
	}
	var all []Finding
	for _, d := range owed {
		all = append(all, Finding{inventorySubject(d.Person), fmt.Sprintf("person %s owes an inventory of %d things (SOP 6.3.2.q)", d.Person, d.Things), d.Due})
	}
	for _, f := range late {
		all = append(all, Finding{f.Ref(), "bag " + f.Bag + " is under way too long (SOP 6.4.e.iii.c)", f.Issued})
	}
	return look(ctx, r, func(q view) ([]Finding, error) {
		people, err := q.people.Members(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range people {
			held, err := r.things(q, p.ID)
			if err != nil {
				return nil, err
			}
			for _, t := range held {
				switch {
				case p.State == access.Left && t.Key != "":
					all = append(all, Finding{"key/" + t.Key, fmt.Sprintf("person %s left and holds %s: rotate the key (SOP 6.3.2.t)", p.ID, t.Ref), t.Since})
				case p.State == access.Left:
					all = append(all, Finding{t.Ref, fmt.Sprintf("person %s left and holds it", p.ID), t.Since})
				case !t.Missing.IsZero():
					all = append(all, Finding{t.Ref, fmt.Sprintf("it is missing; person %s held it", p.ID), t.Missing})
				}
			}
		}
		open, err := openings(q, `closed = '' AND opened <= $1`, store.Stamp(r.store.Now().Add(-rackOpenMost)))
		for _, o := range open {
			all = append(all, Finding{"rack/" + o.Rack, "it is open: " + o.Why + " (SOP 6.4.e.ii)", o.Opened})
		}
		return all, err
	})
}
