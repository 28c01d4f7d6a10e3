package stock

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/sim"
	"ankan/store"
)

// The states of a box.
const (
	BoxOpen     = "open"
	BoxClosed   = "closed"
	BoxShipped  = "shipped"
	BoxReceived = "received"
)

// A Box is good cards of one order in a box with a seal.
type Box struct {
	ID       string    `json:"id"`
	Order    string    `json:"order"`
	Pallet   string    `json:"pallet,omitempty"`
	Cards    int       `json:"cards"`
	First    string    `json:"first"` // lowest ICCID
	Last     string    `json:"last"`
	State    string    `json:"state"`
	Seal     string    `json:"seal,omitempty"`
	Vault    string    `json:"vault,omitempty"` // that it is in
	Shipment string    `json:"shipment,omitempty"`
	Filled   time.Time `json:"filled"`
	Closed   time.Time `json:"closed,omitzero"`
}

// A BoxCard is a card in a box.
type BoxCard struct {
	Card  int    `json:"card"` // which of the order
	ICCID string `json:"iccid"`
}

// MostInBox is the most cards in one box.
const MostInBox = 10_000

// Fill puts good cards of an order into a new box. A card that is not good, or
// in a box already, is refused.
func (b *Book) Fill(ctx context.Context, actor string, box Box, cards []BoxCard) error {
	if err := b.ready(); err != nil {
		return err
	}
	if err := checkName("box: its number", box.ID); err != nil {
		return err
	}
	if box.Pallet != "" {
		if err := checkName("box "+box.ID+": its pallet", box.Pallet); err != nil {
			return err
		}
	}
	if len(cards) == 0 || len(cards) > MostInBox {
		return fmt.Errorf("box %s: %d cards; want 1 to %d", box.ID, len(cards), MostInBox)
	}
	for _, c := range cards {
		if _, err := sim.ParseICCID(c.ICCID); err != nil {
			return fmt.Errorf("box %s: card %d: %w", box.ID, c.Card, err)
		}
	}
	cards = slices.Clone(cards)
	slices.SortFunc(cards, func(a, b BoxCard) int { return strings.Compare(a.ICCID, b.ICCID) })
	first, last := cards[0].ICCID, cards[len(cards)-1].ICCID
	e := audit.Entry{Kind: "box.filled", Actor: actor, Subject: "box/" + box.ID, Data: map[string]any{"order": box.Order, "pallet": box.Pallet, "cards": len(cards), "first": first, "last": last}}
	return b.store.Change(ctx, e, func(tx *store.Tx) error {
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM stock_box WHERE id = $1`, box.ID).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("box %s is here already; a box's number is used once", box.ID)
		}
		if _, err := tx.Exec(`INSERT INTO stock_box (id, ord, pallet, cards, first, last, state, seal, vault, shipment, filled, closed)
			VALUES ($1, $2, $3, $4, $5, $6, 'open', '', '', '', $7, '')`, box.ID, box.Order, box.Pallet, len(cards), first, last, store.Stamp(tx.Time())); err != nil {
			return err
		}
		for _, c := range cards {
			if err := tx.QueryRow(`SELECT count(*) FROM card WHERE ord = $1 AND card = $2 AND state <> 'destroyed' AND state = 'good'`, box.Order, c.Card).Scan(&n); err != nil {
				return err
			}
			if n != 1 {
				return fmt.Errorf("box %s: card %d of order %s, ICCID %s, is no good card", box.ID, c.Card, box.Order, c.ICCID)
			}
			had, err := store.Collect(tx, store.Column[string], `SELECT box FROM stock_box_card WHERE ord = $1 AND card = $2 OR iccid = $3`, box.Order, c.Card, c.ICCID)
			if err != nil {
				return err
			}
			if len(had) > 0 {
				return fmt.Errorf("box %s: card %d of order %s, ICCID %s, is in box %s", box.ID, c.Card, box.Order, c.ICCID, had[0])
			}
			if _, err := tx.Exec(`INSERT INTO stock_box_card (ord, card, iccid, box) VALUES ($1, $2, $3, $4)`, box.Order, c.Card, c.ICCID, box.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// Empty takes the cards out of a box that is not closed. Its number is free again.
func (b *Book) Empty(ctx context.Context, actor, id string) error {
	if err := b.ready(); err != nil {
		return err
	}
	return b.store.Change(ctx, audit.Entry{Kind: "box.emptied", Actor: actor, Subject: "box/" + id}, func(tx *store.Tx) error {
		box, err := boxBy(tx, id)
		if err != nil {
			return err
		}
		if box.State != BoxOpen {
			return fmt.Errorf("box %s: %w: it is %s", id, act.ErrNotAllowed, box.State)
		}
		if _, err := tx.Exec(`DELETE FROM stock_box_card WHERE box = $1`, id); err != nil {
			return err
		}
		_, err = tx.Exec(`DELETE FROM stock_box WHERE id = $1`, id)
		return err
	})
}

func boxes(q store.Querier, where string, args ...any) ([]Box, error) {
	return store.Collect(q, func(rows *sql.Rows) (v Box, err error) {
		var filled, closed string
		if err = rows.Scan(&v.ID, &v.Order, &v.Pallet, &v.Cards, &v.First, &v.Last, &v.State, &v.Seal, &v.Vault, &v.Shipment, &filled, &closed); err != nil {
			return v, err
		}
		return v, stamps([]string{filled, closed}, &v.Filled, &v.Closed)
	}, `SELECT id, ord, pallet, cards, first, last, state, seal, vault, shipment, filled, closed FROM stock_box WHERE `+where+` ORDER BY id`, args...)
}

// Boxes is the boxes of an order; "" takes all.
func (b *Book) Boxes(ctx context.Context, ord string) ([]Box, error) {
	if err := b.ready(); err != nil {
		return nil, err
	}
	if ord == "" {
		return boxes(b.store.Committed(ctx), `1 = 1`)
	}
	return boxes(b.store.Committed(ctx), `ord = $1`, ord)
}

// BoxesAfter is up to n boxes after one in the order of their numbers.
func (b *Book) BoxesAfter(ctx context.Context, id string, n int) ([]Box, error) {
	if err := b.ready(); err != nil {
		return nil, err
	}
	all, err := store.Collect(b.store.Committed(ctx), store.Column[string], `SELECT id FROM stock_box WHERE id > $1 ORDER BY id LIMIT $2`, id, n)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return boxes(b.store.Committed(ctx), `id >= $1 AND id <= $2`, all[0], all[len(all)-1])
}

func boxBy(q store.Querier, id string) (Box, error) {
	all, err := boxes(q, `id = $1`, id)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("box %.60q is %w", id, ErrNone)
	}
	if err != nil {
		return Box{}, err
	}
	return all[0], nil
}

// Box is a box and what is in it; ErrNone if it is not here.
func (b *Book) Box(ctx context.Context, id string) (box Box, cards []BoxCard, err error) {
	if err := b.ready(); err != nil {
		return box, nil, err
	}
	err = b.store.View(ctx, func(tx *store.ReadTx) error {
		if box, err = boxBy(tx, id); err != nil {
			return err
		}
		cards, err = store.Collect(tx, func(rows *sql.Rows) (c BoxCard, err error) {
			err = rows.Scan(&c.Card, &c.ICCID)
			return c, err
		}, `SELECT card, iccid FROM stock_box_card WHERE box = $1 ORDER BY iccid`, id)
		return err
	})
	return box, cards, err
}

// BoxOf is the box that a card is in; "" for none.
func (b *Book) BoxOf(ctx context.Context, iccid string) (string, error) {
	if err := b.ready(); err != nil {
		return "", err
	}
	all, err := store.Collect(b.store.Committed(ctx), store.Column[string], `SELECT box FROM stock_box_card WHERE iccid = $1`, iccid)
	if err != nil || len(all) == 0 {
		return "", err
	}
	return all[0], nil
}

type closing struct {
	Box
	counted int
}

// checkBoxClose is about box/ID/COUNT/SEAL. How many the list of its cards has
// is not among what is shown.
func (b *Book) checkBoxClose(_ context.Context, q store.Querier, subject string) (c closing, m map[string]string, err error) {
	part, err := cut(subject, "box", "ID", "COUNT", "SEAL")
	if err != nil {
		return c, nil, err
	}
	if c.Box, err = boxBy(q, part[0]); err != nil {
		return c, nil, err
	}
	var bad error
	c.counted, bad = number("count", part[1])
	if err := errors.Join(bad, checkName("seal", part[2])); err != nil {
		return c, nil, err
	}
	if c.State != BoxOpen {
		return c, nil, fmt.Errorf("box %s: %w: it is %s", c.ID, act.ErrNotAllowed, c.State)
	}
	used, err := boxes(q, `seal <> '' AND seal = $1`, part[2])
	if err != nil {
		return c, nil, err
	}
	if len(used) > 0 {
		return c, nil, fmt.Errorf("box %s: %w: seal %s is on box %s; a seal is used once", c.ID, act.ErrNotAllowed, part[2], used[0].ID)
	}
	c.Seal = part[2]
	open, err := discrepancies(q, `subject = $1 AND state <> 'closed'`, "box/"+c.ID)
	if err == nil && len(open) > 0 {
		err = fmt.Errorf("box %s: %w: discrepancy %d of its last count is %s", c.ID, act.ErrNotAllowed, open[0].ID, open[0].State)
	}
	return c, map[string]string{"box": c.ID, "order": c.Order, "counted": part[1], "seal": part[2]}, err
}

// doBoxClose closes the box if the count is that of its cards; else the box
// stays open, and a discrepancy is.
func (b *Book) doBoxClose(ctx context.Context, tx *store.Tx, w custody.Warrant, c closing) error {
	if err := b.compare(ctx, tx, Discrepancy{Subject: "box/" + c.ID, Order: c.Order, Book: c.Cards, Found: c.counted, Person: w.Act().Requester}); err != nil || c.counted != c.Cards {
		return err
	}
	if err := shiftBox(tx, under(w, Posting{Why: "box " + c.ID, Order: c.Order, From: Good, To: Boxed}), c.ID, 0, c.Cards); err != nil {
		return err
	}
	_, err := tx.Exec(`UPDATE stock_box SET state = 'closed', seal = $1, closed = $2 WHERE id = $3`, c.Seal, store.Stamp(tx.Time()), c.ID)
	return err
}

// ---- the vault

// An Opening is one time that a vault was open, under the two who hold its keys.
type Opening struct {
	ID     int64     `json:"id"`
	Vault  string    `json:"vault"`
	Opened time.Time `json:"opened"`
	By     []string  `json:"by"` // persons
	Why    string    `json:"why"`
	Closed time.Time `json:"closed,omitzero"`
	Closer string    `json:"closer,omitempty"`
	Found  int       `json:"found"` // boxes that were counted before it was closed
}

func openings(q store.Querier, where string, args ...any) ([]Opening, error) {
	return store.Collect(q, func(rows *sql.Rows) (o Opening, err error) {
		var opened, people, closed string
		if err = rows.Scan(&o.ID, &o.Vault, &opened, &people, &o.Why, &closed, &o.Closer, &o.Found); err != nil {
			return o, err
		}
		o.By = strings.Split(people, ",")
		return o, stamps([]string{opened, closed}, &o.Opened, &o.Closed)
	}, `SELECT id, vault, opened, people, why, closed, closer, found FROM stock_vault_opening WHERE `+where+` ORDER BY id DESC`, args...)
}

// Openings is the openings of a vault, newest first; "" takes all vaults.
func (b *Book) Openings(ctx context.Context, vault string) ([]Opening, error) {
	if err := b.ready(); err != nil {
		return nil, err
	}
	return openings(b.store.Committed(ctx), `$1 = '' OR vault = $1`, vault)
}

type vaulting struct{ vault, why string }

// checkVaultOpen is about vault/NAME/WHY.
func (b *Book) checkVaultOpen(_ context.Context, q store.Querier, subject string) (v vaulting, m map[string]string, err error) {
	part, err := cut(subject, "vault", "NAME", "WHY")
	if err != nil {
		return v, nil, err
	}
	v = vaulting{part[0], part[1]}
	if err := errors.Join(checkName("vault", v.vault), checkText("why", v.why)); err != nil {
		return v, nil, err
	}
	open, err := openings(q, `vault = $1 AND closed = ''`, v.vault)
	if err == nil && len(open) > 0 {
		err = fmt.Errorf("vault %s: %w: it is open since %s: %s", v.vault, act.ErrNotAllowed, store.Stamp(open[0].Opened), open[0].Why)
	}
	return v, map[string]string{"vault": v.vault, "why": v.why}, err
}

func (b *Book) doVaultOpen(ctx context.Context, tx *store.Tx, w custody.Warrant, v vaulting) error {
	by, err := signers(ctx, tx, w, "security-officer", "shift-lead", "warehouse")
	if err != nil {
		return err
	}
	if len(by) < 2 {
		return fmt.Errorf("vault %s: %w: its door has two keys, and only person %s signed; the policy must ask for a seat (SOP 6.3.2.i.v)", v.vault, act.ErrNotAllowed, by[0])
	}
	_, err = tx.Exec(`INSERT INTO stock_vault_opening (vault, opened, people, why, closed, closer, found, book) VALUES ($1, $2, $3, $4, '', '', 0, 0)`,
		v.vault, store.Stamp(tx.Time()), strings.Join(by, ","), v.why)
	return err
}

// openNow refuses a vault that is shut.
func openNow(q store.Querier, vault string) (Opening, error) {
	open, err := openings(q, `vault = $1 AND closed = ''`, vault)
	if err == nil && len(open) == 0 {
		err = fmt.Errorf("vault %.60s: %w: it is not open; two people open it: vault.open", vault, act.ErrNotAllowed)
	}
	if err != nil {
		return Opening{}, err
	}
	return open[0], nil
}

type shutting struct {
	Opening
	counted int
}

// checkVaultClose is about vault/NAME/BOXES: how many whoever closes it counted.
func (b *Book) checkVaultClose(_ context.Context, q store.Querier, subject string) (s shutting, m map[string]string, err error) {
	part, err := cut(subject, "vault", "NAME", "BOXES")
	if err != nil {
		return s, nil, err
	}
	if s.Opening, err = openNow(q, part[0]); err != nil {
		return s, nil, err
	}
	s.counted, err = number("the count of boxes", part[1])
	return s, map[string]string{"vault": part[0], "boxes": part[1]}, err
}

func (b *Book) doVaultClose(ctx context.Context, tx *store.Tx, w custody.Warrant, s shutting) error {
	in, err := boxes(tx, `vault = $1`, s.Vault)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE stock_vault_opening SET closed = $1, closer = $2, found = $3, book = $4 WHERE id = $5`,
		store.Stamp(tx.Time()), w.Act().Requester, s.counted, len(in), s.ID); err != nil {
		return err
	}
	return b.compare(ctx, tx, Discrepancy{Subject: "vault/" + s.Vault, Book: len(in), Found: s.counted, Person: w.Act().Requester})
}

type placing struct {
	Box
	vault string
}

// place is about box/ID/VAULT, of a closed box, with the vault open.
func place(q store.Querier, subject string) (p placing, m map[string]string, err error) {
	part, err := cut(subject, "box", "ID", "VAULT")
	if err != nil {
		return p, nil, err
	}
	p.vault = part[1]
	if p.Box, err = boxBy(q, part[0]); err != nil {
		return p, nil, err
	}
	if p.State != BoxClosed {
		return p, nil, fmt.Errorf("box %s: %w: it is %s, want closed", p.ID, act.ErrNotAllowed, p.State)
	}
	if _, err := openNow(q, p.vault); err != nil {
		return p, nil, err
	}
	return p, map[string]string{"box": p.ID, "seal": p.Seal, "vault": p.vault, "cards": strconv.Itoa(p.Cards)}, nil
}

func (b *Book) checkBoxStore(_ context.Context, q store.Querier, subject string) (placing, map[string]string, error) {
	p, m, err := place(q, subject)
	if err == nil && p.Vault != "" {
		err = fmt.Errorf("box %s: %w: it is in vault %s", p.ID, act.ErrNotAllowed, p.Vault)
	}
	return p, m, err
}

func (b *Book) doBoxStore(_ context.Context, tx *store.Tx, w custody.Warrant, p placing) error {
	return move(tx, w, p, Boxed, Vault, p.vault)
}

func (b *Book) checkBoxTake(_ context.Context, q store.Querier, subject string) (placing, map[string]string, error) {
	p, m, err := place(q, subject)
	if err == nil && p.Vault != p.vault {
		err = fmt.Errorf("box %s: %w: it is not in vault %s", p.ID, act.ErrNotAllowed, p.vault)
	}
	return p, m, err
}

func (b *Book) doBoxTake(_ context.Context, tx *store.Tx, w custody.Warrant, p placing) error {
	return move(tx, w, p, Vault, Boxed, "")
}

func move(tx *store.Tx, w custody.Warrant, p placing, from, to Account, vault string) error {
	if err := shiftBox(tx, under(w, Posting{Why: "box " + p.ID + ", vault " + p.vault, Order: p.Order, From: from, To: to}), p.ID, 0, p.Cards); err != nil {
		return err
	}
	_, err := tx.Exec(`UPDATE stock_box SET vault = $1 WHERE id = $2`, vault, p.ID)
	return err
}

// ---- boxes of an order that was abandoned

// Whereabouts is the boxes of an order that are here, and its cards that have
// left, or are about to in a shipment that was drafted, by their numbers.
func (b *Book) Whereabouts(ctx context.Context, ord string) (here []Box, out map[int]bool, err error) {
	if err := b.ready(); err != nil {
		return nil, nil, err
	}
	q := b.store.Committed(ctx)
	if here, err = boxes(q, `ord = $1 AND shipment = ''`, ord); err != nil {
		return nil, nil, err
	}
	cards, err := store.Collect(q, store.Column[int], `SELECT c.card FROM stock_box_card c JOIN stock_box b ON b.id = c.box WHERE c.ord = $1 AND b.shipment <> ''`, ord)
	out = map[int]bool{}
	for _, card := range cards {
		out[card] = true
	}
	return here, out, err
}

// Unbox takes the cards of an abandoned order out of all boxes that are here, so
// that they can be destroyed. One in a vault is refused.
func Unbox(tx *store.Tx, ord string) error {
	all, err := boxes(tx, `ord = $1 AND shipment = ''`, ord)
	if err != nil {
		return err
	}
	for _, box := range all {
		if box.Vault != "" {
			return fmt.Errorf("box %s: %w: it is in vault %s; take it out: box.take", box.ID, act.ErrNotAllowed, box.Vault)
		}
		if err := tx.Append(audit.Entry{Kind: "box.emptied", Actor: system, Subject: "box/" + box.ID, Data: map[string]any{"order": ord}}); err != nil {
			return err
		}
		if box.State == BoxClosed {
			if err := shift(tx, Posting{Actor: system, Why: "box " + box.ID + " of an abandoned order", Order: ord, From: Boxed, To: Good}, box.Cards); err != nil {
				return err
			}
		}
		for _, query := range []string{`DELETE FROM stock_box_card WHERE box = $1`, `DELETE FROM stock_box WHERE id = $1`} {
			if _, err := tx.Exec(query, box.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
