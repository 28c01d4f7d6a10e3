package perso

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/notice"
	"ankan/store"
)

// A Chip is a chip under an identity of an order.
type Chip struct {
	Card        int
	Chip, State string
}

// Condemnable is the chips of an order that wait for their destruction: rejects
// and those in doubt; of an abandoned batch good cards too. What is in doubt no
// reader can say more about: it is not to be asked for while the line runs. It
// gives the first n of them.
func Condemnable(ctx context.Context, s *store.Store, ord string, n int) ([]Chip, error) {
	return store.Collect(s.Committed(ctx), func(rows *sql.Rows) (c Chip, err error) {
		return c, rows.Scan(&c.Card, &c.Chip, &c.State)
	}, `SELECT card, chip, state FROM (
		SELECT chip, state, card, CASE state WHEN 'reject' THEN 0 ELSE 1 END AS kind FROM card WHERE ord = $1 AND state <> 'good' AND state IN ('reject', 'doubt')
		UNION ALL SELECT chip, state, card, 2 FROM card WHERE ord = $1 AND state <> 'destroyed' AND state = 'good' AND EXISTS (SELECT 1 FROM run WHERE ord = $1 AND state = 'abandoned')
		) AS condemned ORDER BY kind, card LIMIT $2`, ord, n)
}

// DestroyChips records that exactly these chips were destroyed, rejects, in
// doubt or found after they were lost, and of an abandoned batch good cards,
// under a warrant for chip.destroy that names their ChipsDigest. Identities may
// then be made again, on new chips and with fresh keys; that of a chip that was
// lost stays retired. also, if not nil, is called in the same change. It is not to
// be called while the line runs for this order: a card that is being made is in
// doubt as well.
func DestroyChips(ctx context.Context, s *store.Store, w custody.Warrant, ord string, chips []string, also func(*store.Tx) error) error {
	if len(chips) == 0 {
		return fmt.Errorf("order %s: no chips are named", ord)
	}
	a := w.Act()
	data := map[string]any{"count": len(chips), "chips": chips[:min(len(chips), mostNamed)], "chips_sha256": ChipsDigest(chips)}
	return w.Use(ctx, "chip.destroy", subject(a, "order/"+ord, "/"), data, func(tx *store.Tx) error {
		if found := ChipsDigest(chips); found != a.Params["chips_sha256"] {
			return fmt.Errorf("order %s: %w: these chips have the digest %s, the act says %q", ord, act.ErrNotAllowed, found, a.Params["chips_sha256"])
		}
		for _, c := range chips {
			if err := destroyChip(tx, ord, c); err != nil {
				return err
			}
		}
		if also == nil {
			return nil
		}
		return also(tx)
	})
}

// subject is an act's own if it is what it should be about, or goes on after it
// with sep.
func subject(a act.Act, what, sep string) string {
	if strings.HasPrefix(a.Subject, what+sep) {
		return a.Subject
	}
	return what
}

// mostNamed is how many chips an entry of the log names; its digest binds all.
const mostNamed = 2000

func destroyChip(tx *store.Tx, ord, chip string) error {
	card, state, err := cardOf(tx, ord, chip)
	if err != nil {
		return err
	}
	if state == "lost" {
		if err := retireLost(tx, ord, card); err != nil {
			return err
		}
	}
	return one(tx, fmt.Sprintf("order %s: chip %s is neither a reject of this order nor in doubt; nothing was recorded", ord, chip),
		`UPDATE card SET state = 'destroyed' WHERE ord = $1 AND chip = $2 AND (state IN ('reject', 'doubt', 'lost')
			OR state = 'good' AND EXISTS (SELECT 1 FROM run WHERE ord = $1 AND state = 'abandoned'))`, ord, chip)
}

// cardOf is the card that a chip of an order was begun as, and its state; "" if
// the chip is none of the order's.
func cardOf(q store.Querier, ord, chip string) (card int, state string, err error) {
	err = q.QueryRow(`SELECT card, state FROM card WHERE ord = $1 AND chip = $2`, ord, chip).Scan(&card, &state)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return card, state, err
}

// retireLost keeps the identity of a lost chip retired when the chip is destroyed
// after all: while it was lost, that it was lost said so.
func retireLost(tx *store.Tx, ord string, card int) error {
	if _, err := tx.Exec(`INSERT INTO retired (ord, card) VALUES ($1, $2)`, ord, card); err != nil {
		return err
	}
	return tx.Append(audit.Entry{Kind: "card.retired", Actor: "system:line", Subject: "order/" + ord, Data: map[string]any{"card": card, "reason": "its chip was lost, and is destroyed"}})
}

// ---- chips that are lost

// CanLose refuses a chip that may not be declared lost: one that is no reject and
// not in doubt. It says which card it was begun as, and its state.
func CanLose(q store.Querier, ord, chip string) (card int, state string, err error) {
	card, state, err = cardOf(q, ord, chip)
	switch {
	case err != nil:
	case state == "":
		err = fmt.Errorf("order %s: chip %.40q is none of its chips", ord, chip)
	case state == "good":
		err = fmt.Errorf("order %s: chip %s is a good card; a count says that it is missing: stock.count", ord, chip)
	case state != "doubt" && state != "reject":
		err = fmt.Errorf("order %s: chip %s is %s already", ord, chip, state)
	}
	return card, state, err
}

// LoseChip records that a reject, or a chip in doubt, cannot be found and so not
// be destroyed, under a warrant for chip.lost. It may carry keys, and nobody
// knows where it is: its identity is retired and never made again, on no chip.
// also, if not nil, is called in the same change. It is not to be called while the
// line runs for this order.
func LoseChip(ctx context.Context, s *store.Store, w custody.Warrant, ord, chip string, also func(*store.Tx) error) error {
	return w.Use(ctx, "chip.lost", subject(w.Act(), "chip/"+ord+"/"+chip, "/"), map[string]any{"order": ord, "chip": chip}, func(tx *store.Tx) error {
		card, state, err := CanLose(tx, ord, chip)
		if err != nil {
			return err
		}
		tx.Note("card", card)
		tx.Note("was", state)
		err = one(tx, fmt.Sprintf("order %s: chip %s is neither a reject of this order nor in doubt", ord, chip),
			`UPDATE card SET state = 'lost' WHERE ord = $1 AND chip = $2 AND state IN ('reject', 'doubt')`, ord, chip)
		if err != nil || also == nil {
			return err
		}
		return also(tx)
	})
}

// Lost is the chips of an order that were declared lost, and not found since.
func Lost(ctx context.Context, s *store.Store, ord string) ([]Rejected, error) {
	return store.Collect(s.Committed(ctx), func(rows *sql.Rows) (r Rejected, err error) {
		return r, rows.Scan(&r.Card, &r.Chip, &r.Reason)
	}, `SELECT card, chip, reason FROM card WHERE ord = $1 AND state <> 'good' AND state = 'lost' ORDER BY card`, ord)
}

// turnedUp tells people that a chip which was declared lost is in a reader. The
// line does nothing with it: its identity is retired.
func (r *run) turnedUp(ctx context.Context, s *seat, d doubt) error {
	chip := hex.EncodeToString(d.serial[:])
	e := audit.Entry{Kind: "chip.turned-up", Actor: "station/" + s.Name, Subject: "order/" + d.ord, Data: map[string]any{"card": d.card, "chip": chip}}
	return r.store.Change(ctx, e, func(tx *store.Tx) error {
		return notice.TellHolders(ctx, tx, notice.Notice{Kind: e.Kind, Subject: e.Subject, Link: "/line/" + d.ord,
			Text: fmt.Sprintf("Chip %s of card %d of order %s, which was declared lost, was in a reader at station %s. Take it out of the line and have it destroyed: chip.destroy of order/%[3]s/%[1]s.", chip, d.card, d.ord, s.Name)},
			"shift-lead", "warehouse", "security-officer")
	})
}
