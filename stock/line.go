package stock

import (
	"context"
	"errors"
	"fmt"

	"ankan/audit"
	"ankan/perso"
	"ankan/store"
)

// The line's own books say chip by chip what it did (perso). Here stand their
// totals: what was issued to the line for an order, less what it gave back, is
// good + rejects + destroyed + lost + aside, or the batch does not end.

// system is who moves chips where nobody counts but the site.
const system = "system:stock"

// A tally is what the line's books or the stock have for an order, in the stock's
// words: Bad is all that ever was a reject, whatever became of it.
type tally struct{ Good, Bad, Aside, Destroyed, Lost int }

func (t tally) String() string {
	return fmt.Sprintf("%d good, %d rejects ever, %d of them destroyed and %d lost, and %d set aside", t.Good, t.Bad, t.Destroyed, t.Lost, t.Aside)
}

// booked is what the line's books have.
func booked(q store.Querier, ord string) (tally, error) {
	c, err := perso.Chips(q, ord)
	return tally{c.Good, c.Reject + c.Destroyed + c.Lost, c.Aside, c.Destroyed, c.Lost}, err
}

// posted is what came off the line so far. Good cards of an abandoned batch
// become rejects; a chip that was lost may be found, and is destroyed.
func posted(q store.Querier, ord string) (t tally, err error) {
	err = q.QueryRow(`SELECT coalesce(sum(CASE 'good' WHEN destination THEN n WHEN source THEN -n END) FILTER (WHERE source = 'line' OR destination = 'reject'), 0),
		coalesce(sum(n) FILTER (WHERE destination = 'reject'), 0),
		coalesce(sum(n) FILTER (WHERE source = 'line' AND destination = 'aside'), 0),
		coalesce(sum(n) FILTER (WHERE source IN ('reject', 'lost') AND destination = 'destroyed'), 0),
		coalesce(sum(CASE 'lost' WHEN destination THEN n WHEN source THEN -n END), 0)
		FROM stock_moved WHERE ord = $1`, ord).Scan(&t.Good, &t.Bad, &t.Aside, &t.Destroyed, &t.Lost)
	return t, err
}

// Settle posts what the line's books have for an order more than the stock.
// Where the site counts by itself (itself), chips that the line took beyond
// what it was issued are issued now; else they are refused with ErrBalance.
func Settle(tx *store.Tx, ord string, itself bool) error {
	now, err := booked(tx, ord)
	if err != nil {
		return err
	}
	had, err := posted(tx, ord)
	if err != nil || now == had {
		return err
	}
	// What was found after it was lost is destroyed, and good cards of an abandoned
	// batch are as rejects are. Nothing else goes back.
	found, spoilt := max(0, had.Lost-now.Lost), max(0, had.Good-now.Good)
	good, bad, aside := now.Good-had.Good+spoilt, now.Bad-had.Bad-spoilt, now.Aside-had.Aside
	gone, lost := now.Destroyed-had.Destroyed-found, now.Lost-had.Lost+found
	state, err := runState(tx, ord)
	if err != nil {
		return err
	}
	if bad < 0 || aside < 0 || gone < 0 || spoilt > 0 && state != "abandoned" {
		return fmt.Errorf("order %s: %w: the line's books have less than was posted: %s; posted: %s", ord, ErrBalance, now, had)
	}
	if itself && good+bad+aside > 0 {
		c, err := perso.Chips(tx, ord)
		if err == nil {
			err = issueRest(tx, ord, good+bad+aside+c.Doubt)
		}
		if err != nil {
			return err
		}
	}
	for _, m := range []struct {
		from, to Account
		n        int
	}{{Line, Good, good}, {Line, Rejects, bad}, {Line, Aside, aside}, {Good, Rejects, spoilt}, {Rejects, Destroyed, gone}, {Rejects, Lost, lost}, {Lost, Destroyed, found}} {
		if m.n == 0 {
			continue
		}
		if err := shift(tx, Posting{Actor: "system:line", Why: "as the line's books have it", Order: ord, From: m.from, To: m.to}, m.n); err != nil {
			return err
		}
	}
	return nil
}

// runState is the state of an order's batch at the line; "" if there is none.
func runState(q store.Querier, ord string) (state string, err error) {
	err = q.QueryRow(`SELECT coalesce(max(state), '') FROM run WHERE ord = $1`, ord).Scan(&state)
	return state, err
}

// issueRest issues what the line took and was not issued, of the lot that it
// works on.
func issueRest(tx *store.Tx, ord string, took int) error {
	at, err := shares(tx, Line, ord)
	if err != nil {
		return err
	}
	for _, s := range at {
		took -= s.Count
	}
	if took <= 0 {
		return nil
	}
	lot, err := lotOf(tx, ord)
	if err != nil {
		return err
	}
	if err := issue(tx, lot, ord, took, "taken by the line"); !errors.Is(err, ErrBalance) {
		return err
	}
	l, _, err := lotBy(tx, lot)
	return errors.Join(fmt.Errorf("order %s: %w: the line took more chips of lot %s than are left of the %d that were delivered; count them, and look into it", ord, ErrBalance, lot, l.Quantity), err)
}

// issue posts chips of a lot from the warehouse to the line, finished ones first.
func issue(tx *store.Tx, lot, ord string, n int, why string) error {
	for _, from := range []Account{Finished, Store} {
		has, err := balance(tx, from, lot, ord)
		if err != nil {
			return err
		}
		if from == Store || n < has {
			has = n // of the store all that is left is asked, and refused if it is not there
		}
		if has == 0 {
			continue
		}
		if err := post(tx, Posting{Actor: system, Why: why, Lot: lot, Order: ord, From: from, To: Line, Count: has}); err != nil {
			return err
		}
		n -= has
	}
	return nil
}

// lotOf is the lot that an order was last issued.
func lotOf(q store.Querier, ord string) (lot string, err error) {
	all, err := store.Collect(q, store.Column[string], `SELECT lot FROM stock_posting WHERE ord = $1 AND destination = 'line' AND source <> 'found' ORDER BY id DESC LIMIT 1`, ord)
	if err != nil || len(all) == 0 {
		return "", err
	}
	return all[0], nil
}

// AtLine is the lot whose chips are at the line for an order; "" if none are.
// No order has chips of two lots there.
func (b *Book) AtLine(ctx context.Context, ord string) (Share, error) {
	if err := b.ready(); err != nil {
		return Share{}, err
	}
	all, err := shares(b.store.Committed(ctx), Line, ord)
	if err != nil || len(all) == 0 {
		return Share{}, err
	}
	return all[0], nil
}

// LotOf is the lot that an order was last issued; "" if it was issued none.
func (b *Book) LotOf(ctx context.Context, ord string) (string, error) {
	if err := b.ready(); err != nil {
		return "", err
	}
	return lotOf(b.store.Committed(ctx), ord)
}

// Ready is how many chips of a lot could be issued.
func (b *Book) Ready(ctx context.Context, lot string) (n int, err error) {
	if err := b.ready(); err != nil {
		return 0, err
	}
	err = b.store.QueryRow(ctx, `SELECT coalesce(sum(n), 0) FROM stock_balance WHERE account IN ('store', 'finished') AND lot = $1`, lot).Scan(&n)
	return n, err
}

// Issue issues chips of a lot to the line for an order, where the site counts
// by itself.
func (b *Book) Issue(ctx context.Context, lot, ord string, n int) error {
	if err := b.ready(); err != nil {
		return err
	}
	e := audit.Entry{Kind: "stock.issued", Actor: system, Subject: "order/" + ord, Data: map[string]any{"lot": lot, "count": n}}
	return b.store.Change(ctx, e, func(tx *store.Tx) error { return issue(tx, lot, ord, n, "issued by the site") })
}

// Catch posts what the line did for an order since it was last looked at.
func (b *Book) Catch(ctx context.Context, ord string, itself bool) error {
	if err := b.ready(); err != nil {
		return err
	}
	q := b.store.Committed(ctx)
	now, err := booked(q, ord)
	if err != nil {
		return err
	}
	had, err := posted(q, ord)
	if err != nil || now == had {
		return err
	}
	e := audit.Entry{Kind: "stock.settled", Actor: "system:line", Subject: "order/" + ord,
		Data: map[string]any{"good": now.Good, "rejected": now.Bad - now.Destroyed - now.Lost, "destroyed": now.Destroyed, "lost": now.Lost, "aside": now.Aside}}
	return b.store.Change(ctx, e, func(tx *store.Tx) error { return Settle(tx, ord, itself) })
}

// Finish is what ends a batch beside its last card: its totals are posted and,
// where the site counts by itself, the chips that are left go back.
func Finish(tx *store.Tx, ord string, itself bool) error {
	if err := Settle(tx, ord, itself); err != nil || !itself {
		return err
	}
	left, err := shares(tx, Line, ord)
	if err != nil {
		return err
	}
	for _, s := range left {
		if err := post(tx, Posting{Actor: system, Why: "left over", Lot: s.Lot, Order: ord, From: Line, To: Store, Count: s.Count}); err != nil {
			return err
		}
	}
	return nil
}

// Ended refuses an order whose chips are not all accounted for: some are at the
// line, or a count of it is not explained.
func (b *Book) Ended(ctx context.Context, ord string) error {
	if err := b.ready(); err != nil {
		return err
	}
	return b.store.View(ctx, func(tx *store.ReadTx) error {
		left, err := shares(tx, Line, ord)
		if err != nil {
			return err
		}
		if len(left) > 0 {
			// How many is not said: whoever counts them does not know.
			return fmt.Errorf("order %s: chips of lot %s are at the line; count them and take them back: stock.count, then stock.move", ord, left[0].Lot)
		}
		open, err := discrepancies(tx, `ord = $1 AND state <> 'closed'`, ord)
		if err != nil || len(open) == 0 {
			return err
		}
		return fmt.Errorf("order %s: discrepancy %d is %s; it is closed by two people: discrepancy.close", ord, open[0].ID, open[0].State)
	})
}

// checkLine compares the totals of finished orders with the line's own books.
func (b *Book) checkLine(q store.Querier, orders []Sum) error {
	for _, s := range orders {
		had, err := posted(q, s.Order)
		if err != nil {
			return err
		}
		now, err := booked(q, s.Order)
		if err != nil {
			return err
		}
		state, err := runState(q, s.Order)
		if err != nil {
			return err
		}
		if state == "" || state == "offered" || state == "received" || state == "abandoned" {
			continue // the line goes on
		}
		if now != had {
			return fmt.Errorf("order %s: %w: the line's books have %s; the stock has %s", s.Order, ErrBalance, now, had)
		}
	}
	return nil
}
