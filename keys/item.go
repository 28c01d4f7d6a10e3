package keys

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"ankan/access"
	"ankan/act"
	"ankan/custody"
	"ankan/notice"
	"ankan/store"
)

// The kinds of things of metal and paper that keys depend on (SOP 6.4.e.iv).
const (
	ItemKey      = "physical-key"
	ItemLocker   = "locker"
	ItemEnvelope = "envelope"
	ItemBag      = "bag" // tamper-evident, with a number of its own
	ItemSeal     = "seal"
	ItemCard     = "smart-card"
	ItemRack     = "rack" // of the security module, with two locks
)

// ItemKinds are all kinds.
func ItemKinds() []string {
	return []string{ItemKey, ItemLocker, ItemEnvelope, ItemBag, ItemSeal, ItemCard, ItemRack}
}

// The states of an item.
const (
	ItemHeld    = "held"
	ItemMissing = "missing" // a count did not find it
	ItemSent    = "sent"    // it left under a form
	ItemGone    = "gone"
)

// ErrNoItem is wrapped where the register never had an item.
var ErrNoItem = errors.New("no such item")

// The roles that these papers speak of.
const (
	custodian  = "key-custodian"
	officer    = "security-officer"
	keyManager = "key-manager"
	hsmAdmin   = "hsm-administrator"
)

// An Item is one thing of metal or paper.
type Item struct {
	Kind   string `json:"kind"`
	Number string `json:"number"`           // what is written on it
	Holder string `json:"holder,omitempty"` // person; a rack has none
	Place  string `json:"place,omitempty"`  // room, or item/KIND/NUMBER that it is in
	Opens  string `json:"opens,omitempty"`  // item/KIND/NUMBER, of a physical key
	Holds  string `json:"holds,omitempty"`  // Copy.Ref, of an envelope, bag or smart card

	State   string    `json:"state,omitempty"`
	Since   time.Time `json:"since,omitzero"`   // with this holder
	Missing time.Time `json:"missing,omitzero"` // since a count did not find it
	Gone    time.Time `json:"gone,omitzero"`
	Events  []Event   `json:"events,omitempty"` // its history, of Register.Item
}

// Ref names the item in acts, counts and other items: item/KIND/NUMBER.
func (i Item) Ref() string { return "item/" + i.Kind + "/" + i.Number }

var itemNumber = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,39}$`)

// ParseItem reads item/KIND/NUMBER, or with a reason item/KIND/NUMBER/REASON.
func ParseItem(ref string) (kind, number, reason string, err error) {
	part := strings.SplitN(ref, "/", 4)
	if len(part) < 3 || part[0] != "item" || !slices.Contains(ItemKinds(), part[1]) || !itemNumber.MatchString(part[2]) {
		return "", "", "", fmt.Errorf("%.100q is not item/KIND/NUMBER; kinds are %s, and a number has up to 40 letters, digits, . and -", ref, strings.Join(ItemKinds(), ", "))
	}
	if len(part) == 4 {
		reason = part[3]
		err = checkText("reason", reason, 500)
	}
	return part[1], part[2], reason, err
}

// checkText refuses what is not some printable characters.
func checkText(what, s string, most int) error {
	if s == "" || len(s) > most || !utf8.ValidString(s) || strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("%s is %.40q, want 1 to %d printable bytes, no space at the ends", what, s, most)
	}
	return nil
}

// Check refuses an item that is none by itself.
func (i Item) Check() error {
	if _, number, _, err := ParseItem(i.Ref()); err != nil || number != i.Number {
		return errors.Join(err, fmt.Errorf("item number is %.60q, want up to 40 letters, digits, . and -", i.Number))
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%s: "+format, append([]any{i.Ref()}, args...)...)
	}
	if i.Kind == ItemRack {
		if i.Holder != "" {
			return fail("a rack has no holder: two keys open it, of key manager and HSM administrator (SOP 6.4.e.ii)")
		}
	} else if err := access.CheckNumber(i.Holder); err != nil {
		return fail("holder: %v", err)
	}
	switch {
	case strings.HasPrefix(i.Place, "item/"):
		kind, _, reason, err := ParseItem(i.Place)
		if err != nil || reason != "" {
			return fail("place %q names no item", i.Place)
		}
		if i.Kind == ItemRack || i.Kind == ItemLocker {
			return fail("a %s stands in a room, not in an item", i.Kind)
		}
		if kind != ItemLocker && kind != ItemEnvelope && kind != ItemBag {
			return fail("nothing lies in a %s", kind)
		}
		if i.Place == i.Ref() {
			return fail("it cannot lie in itself")
		}
	default:
		if err := checkText("place", i.Place, 120); err != nil {
			return fail("%v", err)
		}
	}
	if i.Kind == ItemKey {
		kind, _, reason, err := ParseItem(i.Opens)
		if err != nil || reason != "" || kind != ItemLocker && kind != ItemRack {
			return fail("it opens %q, want a locker or a rack of the register", i.Opens)
		}
	} else if i.Opens != "" {
		return fail("a %s opens nothing", i.Kind)
	}
	if i.Holds != "" {
		if i.Kind != ItemEnvelope && i.Kind != ItemBag && i.Kind != ItemCard {
			return fail("a %s holds no part of a key", i.Kind)
		}
		if _, err := parseCopyRef(i.Holds); err != nil {
			return fail("%v", err)
		}
	}
	return nil
}

// params are an item as approvers see it.
func (i Item) params() map[string]string {
	return map[string]string{"kind": i.Kind, "number": i.Number, "holder": i.Holder, "place": i.Place, "opens": i.Opens, "holds": i.Holds}
}

// Ref names a component or share: copy/KIND/NUMBER/PLACE/KEY.
func (c Copy) Ref() string {
	return fmt.Sprintf("copy/%s/%d/%s/%s", c.Kind, c.Number, c.Place, c.Key)
}

// parseCopyRef reads what Copy.Ref wrote; the holder is not in it.
func parseCopyRef(ref string) (Copy, error) {
	part := strings.SplitN(ref, "/", 5)
	if len(part) == 5 && part[0] == "copy" && (part[1] == CopyComponent || part[1] == CopyShare) && part[4] != "" {
		if n, err := strconv.Atoi(part[2]); err == nil && n > 0 && strconv.Itoa(n) == part[2] {
			return Copy{Kind: part[1], Number: n, Place: part[3], Key: part[4]}, nil
		}
	}
	return Copy{}, fmt.Errorf("%.200q is not copy/KIND/NUMBER/CEREMONY/KEY of a component or share", ref)
}

const itemColumns = `kind, number, holder, place, opens, holds, state, since, missing, gone`

func scanItem(rows *sql.Rows) (i Item, err error) {
	var since, missing, gone string
	if err = rows.Scan(&i.Kind, &i.Number, &i.Holder, &i.Place, &i.Opens, &i.Holds, &i.State, &since, &missing, &gone); err != nil {
		return i, err
	}
	return i, stamps([]string{since, missing, gone}, &i.Since, &i.Missing, &i.Gone)
}

func items(q store.Querier, where string, args ...any) ([]Item, error) {
	return store.Collect(q, scanItem, `SELECT `+itemColumns+` FROM item WHERE `+where+` ORDER BY kind, number`, args...)
}

// itemOf is one item; ErrNoItem if there never was one.
func itemOf(q store.Querier, ref string) (Item, error) {
	kind, number, _, err := ParseItem(ref)
	if err != nil {
		return Item{}, err
	}
	all, err := items(q, `kind = $1 AND number = $2`, kind, number)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("item/%s/%s: %w", kind, number, ErrNoItem)
	}
	if err != nil {
		return Item{}, err
	}
	return all[0], nil
}

// An ItemFilter picks items; empty fields pick all.
type ItemFilter struct {
	Kind, Holder, State string
	Text                string // part of the number, place, or what it opens or holds
}

// Items are those that f picks, in order of kind and number.
func (r *Register) Items(ctx context.Context, f ItemFilter) ([]Item, error) {
	return look(ctx, r, func(q view) ([]Item, error) {
		return items(q, `($1 = '' OR kind = $1) AND ($2 = '' OR holder = $2) AND ($3 = '' OR state = $3)
			AND ($4 = '' OR replace(lower(number || ' ' || place || ' ' || opens || ' ' || holds), lower($4), '') <> lower(number || ' ' || place || ' ' || opens || ' ' || holds))`, f.Kind, f.Holder, f.State, f.Text)
	})
}

// Item is one item with its history, by item/KIND/NUMBER; ErrNoItem if the
// register never had it.
func (r *Register) Item(ctx context.Context, ref string) (Item, error) {
	return look(ctx, r, func(q view) (Item, error) {
		i, err := itemOf(q, ref)
		if err != nil {
			return i, err
		}
		i.Events, err = store.Collect(q, scanEvent, `SELECT entry, at, actor, what, text FROM item_event WHERE kind = $1 AND number = $2 ORDER BY entry, rowid`, i.Kind, i.Number)
		return i, err
	})
}

func scanEvent(rows *sql.Rows) (e Event, err error) {
	var at string
	if err = rows.Scan(&e.Entry, &at, &e.Actor, &e.What, &e.Text); err == nil {
		e.At, err = store.ParseStamp(at)
	}
	return e, err
}

// itemHappened writes a line into an item's history.
func itemHappened(tx *store.Tx, i Item, actor, what, text string) error {
	_, err := tx.Exec(`INSERT INTO item_event (kind, number, entry, at, actor, what, text) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		i.Kind, i.Number, tx.Index(), store.Stamp(tx.Time()), actor, what, text)
	return err
}

// mayBe refuses an item that cannot be beside what the register has: shared
// access to a locker (SOP 6.4.e.iv), both keys of a rack in one hand, a number
// that was used, a part of a key that somebody else holds.
func (r *Register) mayBe(ctx context.Context, q view, i Item) (before Item, err error) {
	if err := i.Check(); err != nil {
		return before, err
	}
	fail := func(format string, args ...any) (Item, error) {
		return before, fmt.Errorf("%s: %w: "+format, append([]any{i.Ref(), act.ErrNotAllowed}, args...)...)
	}
	before, err = itemOf(q, i.Ref())
	isNew := errors.Is(err, ErrNoItem)
	if err != nil && !isNew {
		return before, err
	}
	var who act.Person
	if i.Kind != ItemRack {
		if who, err = q.people.Person(ctx, i.Holder); err != nil {
			return before, fmt.Errorf("%s: holder: %w", i.Ref(), err)
		}
	}
	if !isNew {
		left := false
		if before.Holder != "" {
			m, err := q.people.Member(ctx, before.Holder)
			if err != nil {
				return before, err
			}
			left = m.State == access.Left
		}
		switch {
		case before.State == ItemGone || before.State == ItemSent:
			return fail("it is %s; its number is never used again", before.State)
		case before.State == ItemMissing:
			return fail("it is missing; the next count finds it, or it is retired")
		case before.Holder != i.Holder && !left:
			return fail("person %s holds it; what changes hands is handed over: custody.transfer", before.Holder)
		case before.Opens != i.Opens:
			return fail("it opens %s", before.Opens)
		case before.Holds != "" && before.Holds != i.Holds && (i.Kind == ItemBag || i.Kind == ItemEnvelope):
			return fail("it was closed over %s, and is used once", before.Holds)
		}
	}
	if i.Kind == ItemLocker {
		if _, err := q.people.Fit(ctx, i.Holder, custodian); err != nil {
			return before, fmt.Errorf("%s: its one holder is a custodian (SOP 6.4.e.iv): %w", i.Ref(), err)
		}
	}
	if err := mayLie(q, i); err != nil {
		return before, err
	}
	if i.Opens != "" {
		if err := mayOpen(q, i, who); err != nil {
			return before, err
		}
	}
	if i.Holds != "" {
		c, err := heldCopy(q, i.Holds)
		if err != nil {
			return before, err
		}
		if c.Holder != i.Holder {
			return fail("%s is held by person %s; nobody keeps another's part of a key", i.Holds, c.Holder)
		}
	}
	if isNew && i.Holder != "" {
		return before, r.checkMost(q, i.Holder, 1)
	}
	return before, nil
}

// mayLie refuses an item in a place of somebody else.
func mayLie(q store.Querier, i Item) error {
	if !strings.HasPrefix(i.Place, "item/") {
		return nil
	}
	in, err := itemOf(q, i.Place)
	if err != nil {
		return err
	}
	switch {
	case in.State != ItemHeld:
		return fmt.Errorf("%s: %w: %s is %s", i.Ref(), act.ErrNotAllowed, in.Ref(), in.State)
	case in.Holder != i.Holder:
		return fmt.Errorf("%s: %w: %s is that of person %s alone; access to it is not shared (SOP 6.4.e.iv)", i.Ref(), act.ErrNotAllowed, in.Ref(), in.Holder)
	}
	for strings.HasPrefix(in.Place, "item/") {
		if in.Place == i.Ref() {
			return fmt.Errorf("%s: %w: %s lies in it", i.Ref(), act.ErrNotAllowed, i.Place)
		}
		if in, err = itemOf(q, in.Place); err != nil {
			return err
		}
	}
	return nil
}

// mayOpen refuses a key of a locker in other hands than the locker, and of a
// rack in hands that the SOP does not name, or that hold its other key.
func mayOpen(q store.Querier, i Item, who act.Person) error {
	lock, err := itemOf(q, i.Opens)
	if err != nil {
		return err
	}
	if lock.State == ItemGone {
		return fmt.Errorf("%s: %w: %s is gone", i.Ref(), act.ErrNotAllowed, lock.Ref())
	}
	if lock.Kind == ItemLocker {
		if lock.Holder != i.Holder {
			return fmt.Errorf("%s: %w: it opens %s, that of person %s alone; access to it is not shared (SOP 6.4.e.iv)", i.Ref(), act.ErrNotAllowed, lock.Ref(), lock.Holder)
		}
		return nil
	}
	if !who.Has(keyManager, hsmAdmin, act.Nodal, act.Alternate) {
		return fmt.Errorf("%s: %w: person %s is %s; the keys of a rack are with key manager and HSM administrator (SOP 6.4.e.ii)", i.Ref(), act.ErrNotAllowed, who.ID, strings.Join(who.Roles, ", "))
	}
	others, err := items(q, `opens = $1 AND holder = $2 AND NOT (kind = $3 AND number = $4) AND state <> 'gone'`, i.Opens, i.Holder, i.Kind, i.Number)
	if err == nil && len(others) > 0 {
		err = fmt.Errorf("%s: %w: person %s holds %s, which opens %s too; its two keys are in two hands (SOP 6.4.e.ii)", i.Ref(), act.ErrNotAllowed, i.Holder, others[0].Ref(), i.Opens)
	}
	return err
}

// heldCopy is the component or share of a reference, if it is there.
func heldCopy(q store.Querier, ref string) (Copy, error) {
	c, err := parseCopyRef(ref)
	if err != nil {
		return c, err
	}
	all, err := copies(q, `WHERE key = $1 AND kind = $2 AND number = $3 AND place = $4 AND gone = ''`, c.Key, c.Kind, c.Number, c.Place)
	if err == nil && len(all) != 1 {
		err = fmt.Errorf("%s: %w: the register has no such part of a key", ref, act.ErrNotAllowed)
	}
	if err != nil {
		return c, err
	}
	return all[0], nil
}

// PutItem writes an item down that is to come into the register, or to change
// its place or what it holds there, in the place of an earlier draft. The act
// item.register of Item.Ref puts it there.
func (r *Register) PutItem(ctx context.Context, editor string, i Item) error {
	i = Item{Kind: i.Kind, Number: i.Number, Holder: i.Holder, Place: i.Place, Opens: i.Opens, Holds: i.Holds}
	if _, err := look(ctx, r, func(q view) (Item, error) { return r.mayBe(ctx, q, i) }); err != nil {
		return err
	}
	return r.putDraft(ctx, "item.drafted", i.Ref(), editor, i)
}

// checkItem is what item.register of a subject would do, and says.
func (r *Register) checkItem(ctx context.Context, q view, subject string) (i Item, m map[string]string, err error) {
	editor, err := getDraft(q, subject, &i)
	if err != nil {
		return i, nil, err
	}
	before, err := r.mayBe(ctx, q, i)
	if err != nil {
		return i, nil, err
	}
	m = i.params()
	m[act.ParamEditors], m["change"] = editor, "new"
	if before.Kind != "" {
		m["change"], i.Since = "changes", before.Since
		m["holder_before"], m["place_before"], m["holds_before"] = before.Holder, before.Place, before.Holds
	}
	return i, m, nil
}

func (r *Register) doItem(ctx context.Context, tx *store.Tx, w custody.Warrant, i Item) error {
	a := w.Act()
	who, err := access.In(tx).Person(ctx, a.Requester)
	if err != nil {
		return err
	}
	if editor := a.Params[act.ParamEditors]; editor != who.ID {
		return fmt.Errorf("%s: %w: person %s wrote it down, and asks for it", a.Subject, act.ErrNotAllowed, editor)
	}
	if i.Holder != who.ID && !who.Has(keyManager, officer) {
		return fmt.Errorf("%s: %w: a custodian registers what they hold themselves; its holder is to be person %s", a.Subject, act.ErrNotAllowed, i.Holder)
	}
	if had := a.Params["holder_before"]; had != "" && had != i.Holder && !who.Has(keyManager, officer) {
		return fmt.Errorf("%s: %w: key manager or security officer register who takes over what person %s left", a.Subject, act.ErrNotAllowed, had)
	}
	since := store.Stamp(tx.Time())
	if !i.Since.IsZero() && a.Params["holder_before"] == i.Holder {
		since = store.Stamp(i.Since)
	}
	if _, err := tx.Exec(`INSERT INTO item (kind, number, holder, place, opens, holds, state, since) VALUES ($1, $2, $3, $4, $5, $6, 'held', $7)
		ON CONFLICT (kind, number) DO UPDATE SET holder = excluded.holder, place = excluded.place, holds = excluded.holds, since = excluded.since`,
		i.Kind, i.Number, i.Holder, i.Place, i.Opens, i.Holds, since); err != nil {
		return err
	}
	text := "in " + i.Place
	if i.Holds != "" {
		text += ", holds " + i.Holds
	}
	if err := errors.Join(itemHappened(tx, i, "person/"+who.ID, a.Kind, text), dropDraft(tx, a.Subject)); err != nil {
		return err
	}
	if i.Holder == "" || i.Holder == who.ID {
		return nil
	}
	return notice.Tell(tx, []string{i.Holder}, notice.Notice{Kind: a.Kind, Subject: a.Subject, Link: i.link(),
		Text: fmt.Sprintf("Person %s registered that you hold %s, %s. If you do not, say so at once.", who.ID, i.Ref(), text)})
}

func (i Item) link() string { return "/items/" + i.Kind + "/" + i.Number }

// checkRetire is about item/KIND/NUMBER/REASON. It refuses to let an item go
// that something depends on.
func (r *Register) checkRetire(_ context.Context, q view, subject string) (i Item, m map[string]string, err error) {
	_, _, reason, err := ParseItem(subject)
	if err != nil {
		return i, nil, err
	}
	if reason == "" {
		return i, nil, fmt.Errorf("subject %q is not item/KIND/NUMBER/REASON", subject)
	}
	if i, err = itemOf(q, subject); err != nil {
		return i, nil, err
	}
	fail := func(format string, args ...any) (Item, map[string]string, error) {
		return i, nil, fmt.Errorf("%s: %w: "+format, append([]any{i.Ref(), act.ErrNotAllowed}, args...)...)
	}
	if i.State == ItemGone || i.State == ItemSent {
		return fail("it is %s already", i.State)
	}
	if i.Holds != "" {
		if _, err := heldCopy(q, i.Holds); err == nil {
			return fail("it holds %s, which is not gone", i.Holds)
		} else if !errors.Is(err, act.ErrNotAllowed) {
			return i, nil, err
		}
	}
	on, err := items(q, `(place = $1 OR opens = $1) AND state IN ('held', 'missing')`, i.Ref())
	if err != nil {
		return i, nil, err
	}
	if len(on) > 0 {
		return fail("%s lies in it or opens it", on[0].Ref())
	}
	if i.Kind == ItemRack {
		open, err := openings(q, `rack = $1 AND closed = ''`, i.Number)
		if err != nil {
			return i, nil, err
		}
		if len(open) > 0 {
			return fail("it is open")
		}
	}
	m = i.params()
	m["state"], m["reason"] = i.State, reason
	return i, m, nil
}

func (r *Register) doRetire(_ context.Context, tx *store.Tx, w custody.Warrant, i Item) error {
	return itemGone(tx, i, "person/"+w.Act().Requester, w.Act().Kind, w.Act().Params["reason"])
}

func itemGone(tx *store.Tx, i Item, actor, what, text string) error {
	_, err := tx.Exec(`UPDATE item SET state = 'gone', gone = $1 WHERE kind = $2 AND number = $3`, store.Stamp(tx.Time()), i.Kind, i.Number)
	return errors.Join(err, itemHappened(tx, i, actor, what, text))
}

// useOnce records that a bag or seal leaves with a component. Its number is
// used once, ever: one that is new here comes into the register with it.
func useOnce(tx *store.Tx, kind, number, holder, holds, form string) error {
	if err := mayUse(tx, kind, number, holder, holds); err != nil {
		return err
	}
	i := Item{Kind: kind, Number: number}
	_, err := tx.Exec(`INSERT INTO item (kind, number, holder, place, holds, state, since) VALUES ($1, $2, $3, $4, $5, 'sent', $6)
		ON CONFLICT (kind, number) DO UPDATE SET holds = excluded.holds, place = excluded.place, state = 'sent'`, kind, number, holder, form, holds, store.Stamp(tx.Time()))
	return errors.Join(err, itemHappened(tx, i, "person/"+holder, "form.issued", "left under "+form))
}

// mayUse refuses a bag or seal that was used, or that somebody else holds.
func mayUse(q store.Querier, kind, number, holder, holds string) error {
	had, err := itemOf(q, "item/"+kind+"/"+number)
	switch {
	case errors.Is(err, ErrNoItem):
		return nil
	case err != nil:
		return err
	case had.State != ItemHeld || had.Holds != "" && had.Holds != holds:
		return fmt.Errorf("%s: %w: it was used; its number is used once, ever", had.Ref(), act.ErrNotAllowed)
	case had.Holder != holder:
		return fmt.Errorf("%s: %w: person %s holds it, not %s", had.Ref(), act.ErrNotAllowed, had.Holder, holder)
	}
	return nil
}
