package keys

import (
	"context"
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
	"ankan/notice"
	"ankan/store"
)

// A Thing is what a custodian has in hand: an item, a part of a key, a bag that
// came under a form.
type Thing struct {
	Ref     string    `json:"ref"` // item/…, copy/… (Copy.Ref) or form/… (Sheet.Ref)
	Name    string    `json:"name"`
	Key     string    `json:"key,omitempty"` // that it is a part of
	Since   time.Time `json:"since"`
	Missing time.Time `json:"missing,omitzero"` // since a count did not find it
}

// mostHeld bounds what one person holds: a count of it fits into one act.
const mostHeld = 150

// Things are what the register says that a person holds, in order of their
// names: what a count has to find.
func (r *Register) Things(ctx context.Context, person string) ([]Thing, error) {
	return look(ctx, r, func(q view) ([]Thing, error) { return r.things(q, person) })
}

func (r *Register) things(q store.Querier, person string) ([]Thing, error) {
	held, err := items(q, `holder = $1 AND state IN ('held', 'missing')`, person)
	if err != nil {
		return nil, err
	}
	var all []Thing
	for _, i := range held {
		all = append(all, Thing{Ref: i.Ref(), Name: i.Kind + " " + i.Number + ", " + i.Place, Since: i.Since, Missing: i.Missing})
	}
	// A component whose bag left is counted where the bag is.
	parts, err := copies(q, `WHERE holder = $1 AND kind IN ('component', 'share') AND gone = '' AND NOT EXISTS (SELECT 1 FROM form WHERE form.site = $2
		AND form.key = key_copy.key AND form.ceremony = key_copy.place AND form.component = key_copy.number AND key_copy.kind = 'component'
		AND form.state IN ('issued', 'received', 'tampered'))`, person, r.site)
	if err != nil {
		return nil, err
	}
	for _, c := range parts {
		all = append(all, Thing{Ref: c.Ref(), Name: c.Name() + " of " + c.Key, Key: c.Key, Since: c.Since, Missing: c.Missing})
	}
	bags, err := forms(q, `holder = $1 AND site <> $2 AND state = 'received'`, person, r.site)
	if err != nil {
		return nil, err
	}
	for _, f := range bags {
		all = append(all, Thing{Ref: f.Ref(), Name: fmt.Sprintf("bag %s with component %d of %d of %s", f.Bag, f.Component, f.Of, f.Key), Key: f.Key, Since: f.Received, Missing: f.Missing})
	}
	slices.SortFunc(all, func(a, b Thing) int { return strings.Compare(a.Ref, b.Ref) })
	return all, nil
}

// checkMost refuses to put more into one person's hands than a count can list.
func (r *Register) checkMost(q store.Querier, person string, more int) error {
	all, err := r.things(q, person)
	if err == nil && len(all)+more > mostHeld {
		err = fmt.Errorf("person %s: %w: holds %d things, and %d at most fit into one count; retire what is not needed", person, act.ErrNotAllowed, len(all), mostHeld)
	}
	return err
}

// A Due is what a custodian owes by way of inventory: whoever holds things of
// keys counts them every quarter before a member of the security department
// (SOP 6.3.2.q). Who holds something for the first time counts it one period
// later.
type Due struct {
	Person string    `json:"person"`
	Due    time.Time `json:"due"`
	Over   bool      `json:"over"`
	Things int       `json:"things"`
}

// due is what a person owes; its zero value is nothing.
func (r *Register) due(ctx context.Context, q view, person string, now time.Time) (d Due, err error) {
	policy, err := q.people.Policy(ctx)
	if err != nil || policy.Periods.Inventory == 0 {
		return d, err
	}
	all, err := r.things(q, person)
	if err != nil || len(all) == 0 {
		return d, err
	}
	from := all[0].Since
	for _, t := range all {
		if t.Since.Before(from) {
			from = t.Since
		}
	}
	var text string
	if err := q.QueryRow(`SELECT coalesce(max(at), '') FROM inventory WHERE person = $1`, person).Scan(&text); err != nil {
		return d, err
	}
	last, err := store.ParseStamp(text)
	if err != nil {
		return d, err
	}
	if last.After(from) {
		from = last
	}
	d = Due{Person: person, Due: from.AddDate(0, 0, policy.Periods.Inventory), Things: len(all)}
	d.Over = !now.Before(d.Due)
	return d, nil
}

// Owes says what a custodian owes by way of inventory, "" if nothing.
func (r *Register) Owes(ctx context.Context, person string) (string, error) {
	return look(ctx, r, func(q view) (string, error) {
		d, err := r.due(ctx, q, person, r.store.Now())
		if err != nil || !d.Over {
			return "", err
		}
		return "it was due " + d.Due.Format(time.DateOnly), nil
	})
}

// Dues are when each custodian who holds something is to count it.
func (r *Register) Dues(ctx context.Context) ([]Due, error) {
	return look(ctx, r, func(q view) ([]Due, error) {
		people, err := q.people.Holders(ctx, custodian)
		if err != nil {
			return nil, err
		}
		var all []Due
		for _, p := range people {
			d, err := r.due(ctx, q, p.ID, r.store.Now())
			if err != nil {
				return nil, err
			}
			if d.Things > 0 && !d.Due.IsZero() {
				all = append(all, d)
			}
		}
		return all, nil
	})
}

// Overdue are the custodians who owe a count.
func (r *Register) Overdue(ctx context.Context) ([]Due, error) {
	all, err := r.Dues(ctx)
	return slices.DeleteFunc(all, func(d Due) bool { return !d.Over }), err
}

// A Counted is a thing that a count looked for.
type Counted struct {
	Thing
	Seen bool `json:"seen"`
}

// An Inventory is one count of what a custodian holds.
type Inventory struct {
	Person  string    `json:"person"`
	At      time.Time `json:"at"`
	Officer string    `json:"officer"` // who saw it
	Act     string    `json:"act"`
	Things  []Counted `json:"things"`
	Missing int       `json:"missing"`
}

// Inventories are the counts of a person, or of everybody if person is "",
// newest first.
func (r *Register) Inventories(ctx context.Context, person string) ([]Inventory, error) {
	return look(ctx, r, func(q view) ([]Inventory, error) {
		return store.Collect(q, func(rows *sql.Rows) (v Inventory, err error) {
			var at string
			var doc []byte
			if err = rows.Scan(&v.Person, &at, &v.Officer, &v.Act, &doc); err != nil {
				return v, err
			}
			if v.At, err = store.ParseStamp(at); err == nil {
				err = json.Unmarshal(doc, &v.Things)
			}
			for _, t := range v.Things {
				if !t.Seen {
					v.Missing++
				}
			}
			return v, err
		}, `SELECT person, at, officer, act, items FROM inventory WHERE $1 = '' OR person = $1 ORDER BY at DESC, person`, person)
	})
}

// counting is what a custodian saw, by Thing.Ref.
type counting struct {
	Seen map[string]bool `json:"seen"`
}

func inventorySubject(person string) string { return "inventory/" + person }

// PutCount writes down what a custodian saw of all that the register says they
// hold, by Thing.Ref; false is what was not there. It refuses a count that says
// nothing of a thing, or speaks of another. The act custody.inventory of
// inventory/PERSON puts it on record.
func (r *Register) PutCount(ctx context.Context, person string, seen map[string]bool) error {
	_, err := look(ctx, r, func(q view) ([]Counted, error) { return r.count(q, person, seen) })
	if err != nil {
		return err
	}
	return r.putDraft(ctx, "custody.counting", inventorySubject(person), person, counting{seen})
}

// count compares what was seen with what is held.
func (r *Register) count(q store.Querier, person string, seen map[string]bool) ([]Counted, error) {
	held, err := r.things(q, person)
	if err != nil {
		return nil, err
	}
	if len(held) == 0 {
		return nil, fmt.Errorf("inventory of person %s: %w: they hold nothing", person, act.ErrNotAllowed)
	}
	var all []Counted
	for _, t := range held {
		there, ok := seen[t.Ref]
		if !ok {
			return nil, fmt.Errorf("inventory of person %s: %w: it says nothing of %s; count again", person, act.ErrNotAllowed, t.Ref)
		}
		all = append(all, Counted{t, there})
	}
	for ref := range seen {
		if !slices.ContainsFunc(held, func(t Thing) bool { return t.Ref == ref }) {
			return nil, fmt.Errorf("inventory of person %s: %w: %.300s is not what they hold; count again", person, act.ErrNotAllowed, ref)
		}
	}
	return all, nil
}

// checkCount is about inventory/PERSON.
func (r *Register) checkCount(_ context.Context, q view, subject string) (all []Counted, m map[string]string, err error) {
	person, ok := strings.CutPrefix(subject, "inventory/")
	if !ok || access.CheckNumber(person) != nil {
		return nil, nil, fmt.Errorf("subject %.100q is not inventory/PERSON", subject)
	}
	var draft counting
	editor, err := getDraft(q, subject, &draft)
	if err != nil {
		return nil, nil, err
	}
	if all, err = r.count(q, person, draft.Seen); err != nil {
		return nil, nil, err
	}
	missing := 0
	m = map[string]string{"person": person, act.ParamEditors: editor, "things": fmt.Sprint(len(all))}
	for n, t := range all {
		word := "seen"
		if !t.Seen {
			missing++
			word = "missing"
		}
		m[fmt.Sprintf("thing_%03d", n+1)] = t.Ref + ": " + word
	}
	m["missing"] = fmt.Sprint(missing)
	return all, m, nil
}

func (r *Register) doCount(ctx context.Context, tx *store.Tx, w custody.Warrant, all []Counted) error {
	a := w.Act()
	person := a.Params["person"]
	if a.Requester != person {
		return fmt.Errorf("inventory of person %s: %w: nobody counts for another; person %s asks", person, act.ErrNotAllowed, a.Requester)
	}
	saw, err := approver(ctx, tx, w, officer)
	if err != nil {
		return err
	}
	var missing []string
	for _, t := range all {
		if !t.Seen {
			missing = append(missing, t.Ref)
		}
		if err := r.counted(tx, t, "person/"+person); err != nil {
			return err
		}
	}
	doc, err := json.Marshal(all)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO inventory (person, at, officer, act, items, missing) VALUES ($1, $2, $3, $4, $5, $6)`,
		person, store.Stamp(tx.Time()), saw, a.ID, doc, strings.Join(missing, "\n")); err != nil {
		return err
	}
	if err := dropDraft(tx, a.Subject); err != nil || len(missing) == 0 {
		return err
	}
	return notice.TellHolders(ctx, tx, notice.Notice{Kind: "custody.missing", Subject: a.Subject, Link: "/custody/" + person,
		Text: fmt.Sprintf("Person %s counted %d things, and %d were not there: %s. Officer %s saw it. Look for them; if one may be in other hands, its key is compromised.",
			person, len(all), len(missing), few(missing), saw)}, keyManager, officer, hsmAdmin, act.Nodal, act.Alternate)
}

// few is the first of a list, for people.
func few(list []string) string {
	if len(list) > 5 {
		return strings.Join(list[:5], ", ") + fmt.Sprintf(" and %d more", len(list)-5)
	}
	return strings.Join(list, ", ")
}

// counted flags what is missing, and takes the flag off what was found again.
// The state of a key stays: people decide what a missing part means.
func (r *Register) counted(tx *store.Tx, t Counted, actor string) error {
	what, state, since := "custody.missing", ItemMissing, store.Stamp(tx.Time())
	switch {
	case t.Seen && t.Missing.IsZero(), !t.Seen && !t.Missing.IsZero():
		return nil
	case t.Seen:
		what, state, since = "custody.found", ItemHeld, ""
	}
	switch kind, _, _ := strings.Cut(t.Ref, "/"); kind {
	case "item":
		i, err := itemOf(tx, t.Ref)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE item SET state = $1, missing = $2 WHERE kind = $3 AND number = $4`, state, since, i.Kind, i.Number); err != nil {
			return err
		}
		return itemHappened(tx, i, actor, what, "")
	case "copy":
		c, err := heldCopy(tx, t.Ref)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE key_copy SET missing = $1 WHERE key = $2 AND kind = $3 AND number = $4 AND holder = $5 AND place = $6`,
			since, c.Key, c.Kind, c.Number, c.Holder, c.Place); err != nil {
			return err
		}
		return Happened(tx, c.Key, actor, what, c.Name())
	}
	f, err := formOf(tx, t.Ref)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE form SET missing = $1 WHERE site = $2 AND number = $3`, since, f.Site, f.Number)
	return errors.Join(err, Happened(tx, f.Key, actor, what, t.Name))
}

// remindEvery is how often people are told again of what is due.
const remindEvery = 7 * 24 * time.Hour

// remindBefore is how long before it is due an inventory is spoken of, in days.
const remindBefore = 14

// Remind tells people of what is due and of what stays open too long: counts
// that are due within 14 days or over, racks that are open for an hour, forms
// that do not come back. Each is told again after a week, a rack is not.
func (r *Register) Remind(ctx context.Context) error {
	now := r.store.Now()
	dues, err := r.Dues(ctx)
	if err != nil {
		return err
	}
	for _, d := range dues {
		if now.Before(d.Due.AddDate(0, 0, -remindBefore)) {
			continue
		}
		text := fmt.Sprintf("Person %s is to count %d things before the security officer by %s (SOP 6.3.2.q).", d.Person, d.Things, d.Due.Format(time.DateOnly))
		if d.Over {
			text = fmt.Sprintf("Person %s owes an inventory of %d things since %s. Until it is done they take part in no ceremony (SOP 6.3.2.q).", d.Person, d.Things, d.Due.Format(time.DateOnly))
		}
		n := notice.Notice{Kind: "custody.due", Subject: inventorySubject(d.Person), Link: "/custody/" + d.Person, Text: text}
		if err := r.remind(ctx, n.Subject, remindEvery, n, []string{d.Person}, officer); err != nil {
			return err
		}
	}
	open, err := look(ctx, r, func(q view) ([]Opening, error) { return openings(q, `closed = ''`) })
	if err != nil {
		return err
	}
	for _, o := range open {
		if now.Before(o.Opened.Add(rackOpenMost)) {
			continue
		}
		n := notice.Notice{Kind: "rack.left-open", Subject: "rack/" + o.Rack, Link: "/racks",
			Text: fmt.Sprintf("Rack %s is open since %s, longer than %d minutes: %s. Close it: rack.close.", o.Rack, store.Stamp(o.Opened), rackOpenMost/time.Minute, o.Why)}
		if err := r.remind(ctx, fmt.Sprintf("rack-opening/%d", o.ID), 0, n, nil, keyManager, hsmAdmin, officer); err != nil {
			return err
		}
	}
	return errors.Join(r.remindWaivers(ctx, now), r.remindForms(ctx, now))
}

// remind tells people of something, unless they were told within a time; 0 is
// for ever.
func (r *Register) remind(ctx context.Context, what string, every time.Duration, n notice.Notice, people []string, roles ...string) error {
	told, err := look(ctx, r, func(q view) (time.Time, error) {
		last, err := store.Collect(q, store.Column[string], `SELECT at FROM reminder WHERE what = $1`, what)
		if err != nil || len(last) == 0 {
			return time.Time{}, err
		}
		return store.ParseStamp(last[0])
	})
	if err != nil {
		return err
	}
	if !told.IsZero() && (every == 0 || r.store.Now().Before(told.Add(every))) {
		return nil
	}
	e := audit.Entry{Kind: "custody.reminded", Actor: "system:keys", Subject: n.Subject, Data: map[string]any{"of": n.Kind, "text": n.Text}}
	return r.store.Change(ctx, e, func(tx *store.Tx) error {
		if _, err := tx.Exec(`INSERT INTO reminder (what, at) VALUES ($1, $2) ON CONFLICT (what) DO UPDATE SET at = excluded.at`, what, store.Stamp(tx.Time())); err != nil {
			return err
		}
		all, err := access.In(tx).Holders(ctx, roles...)
		if err != nil {
			return err
		}
		for _, who := range all {
			people = append(people, who.ID)
		}
		return notice.Tell(tx, people, n)
	})
}
