package plant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ankan/audit"
	"ankan/message"
	"ankan/order"
	"ankan/perso"
	"ankan/site"
	"ankan/stock"
	"ankan/store"
)

// An order that its bureau gave up: the line makes no more cards of it, and what
// is here of it is destroyed, cards that were good among it.

// abandonable are the states of a batch in which its bureau may give it up.
var abandonable = []string{"offered", "received", "finished", "reported"}

// takeAbandon stops a batch that its bureau gave up. One that this plant does not
// know, as after a loss, is taken in as abandoned: its people say what is here.
func (s *plant) takeAbandon(ctx context.Context, a *site.Arrival, m message.DestroyOrder) error {
	if strings.ContainsAny(m.Order, "/. ") || m.Order == "" {
		return site.Refused("%s: order %.100q is none", a.Name, m.Order)
	}
	run, err := perso.GetRun(ctx, s.Store(), m.Order)
	unknown := errors.Is(err, perso.ErrNoRun)
	switch {
	case err != nil && !unknown:
		return err
	case unknown:
		run = perso.Run{Order: m.Order, Bureau: a.Partner, State: "offered", Agree: slotKey(m.Order), KEK: batchKey(m.Order)}
	case run.Bureau != a.Partner || !slices.Contains(abandonable, run.State):
		return site.Refused("%s: order %s is not one that %s may abandon now", a.Name, m.Order, a.Partner)
	}
	e := audit.Entry{Kind: "batch.abandoned", Actor: "partner/" + a.Partner, Subject: "order/" + m.Order, Data: map[string]any{"act": m.Act, "why": m.Abandoned, "was": run.State}}
	if unknown {
		e.Data["was"] = ""
	}
	return s.Store().Change(ctx, e, func(tx *store.Tx) error {
		if err := a.Taken(tx); err != nil {
			return err
		}
		if unknown {
			if err := perso.Offer(tx, run); err != nil {
				return err
			}
		}
		if err := order.Abandon(tx, m.Order, order.Abandonment{Act: m.Act, Why: m.Abandoned, Was: order.State(run.State)}); err != nil {
			return err
		}
		return perso.MoveRun(tx, m.Order, run.State, "abandoned")
	})
}

// late takes in a file about an order that was abandoned while the file was on
// its way: nothing comes of it.
func (s *plant) late(ctx context.Context, a *site.Arrival, ord string) (bool, error) {
	gone, err := order.WhyAbandoned(s.Store().Committed(ctx), ord)
	if err != nil || gone == nil {
		return false, err
	}
	if run, err := perso.GetRun(ctx, s.Store(), ord); err != nil || run.Bureau != a.Partner {
		return false, err
	}
	return true, a.Late(ctx, ord)
}

// goesOn refuses a batch of which the line makes no more cards.
func (s *plant) goesOn(ctx context.Context, ord string) error {
	gone, err := order.WhyAbandoned(s.Store().Committed(ctx), ord)
	if err == nil && gone != nil {
		err = fmt.Errorf("order %s: %w: its bureau abandoned it: %s", ord, order.ErrStopped, gone.Why)
	}
	return err
}

// left is what is to be done at an abandoned batch before its keys and blocks are
// destroyed; nil if nothing is.
func (s *plant) left(ctx context.Context, run perso.Run) error {
	chips, _, err := s.condemned(ctx, run.Order, 1)
	if err != nil {
		return err
	}
	if len(chips) > 0 {
		return fmt.Errorf("batch %s is abandoned: chips of it are here, good cards among them, and are to be destroyed first: ankan act request chip.destroy order/%[1]s", run.Order)
	}
	if s.counts() {
		return nil // what is left at the line goes back in the act itself
	}
	return s.stock.Ended(ctx, run.Order)
}

// boxed is the cards of an abandoned batch that have left, by their numbers. A box
// of it in the vault is in the way.
func (s *plant) boxed(ctx context.Context, ord string) (out map[int]bool, err error) {
	here, out, err := s.stock.Whereabouts(ctx, ord)
	if err != nil {
		return nil, err
	}
	for _, b := range here {
		if b.Vault != "" {
			return nil, fmt.Errorf("order %s is abandoned, and box %s of it is in vault %s; take it out, so that its cards are destroyed: ankan act request box.take box/%[2]s/%[3]s", ord, b.ID, b.Vault)
		}
	}
	return out, nil
}

// mostDoomed is the most chips that one act destroys. Of an abandoned batch there
// may be more: then there are more acts.
const mostDoomed = 100_000

// condemned is the chips of an order that wait for their destruction, the first
// most of them; of an abandoned one the good cards too that have not left.
func (s *plant) condemned(ctx context.Context, ord string, most int) (chips []string, doubts int, err error) {
	var out map[int]bool
	if gone, err := order.WhyAbandoned(s.Store().Committed(ctx), ord); err != nil {
		return nil, 0, err
	} else if gone != nil {
		if out, err = s.boxed(ctx, ord); err != nil {
			return nil, 0, err
		}
	}
	all, err := perso.Condemnable(ctx, s.Store(), ord, most+len(out))
	for _, c := range all {
		if c.State == "good" && out[c.Card] || len(chips) == most {
			continue
		}
		chips = append(chips, c.Chip)
		if c.State == "doubt" {
			doubts++
		}
	}
	return chips, doubts, err
}

// destroyed books chips that were destroyed where the line does not do so any
// more: of an abandoned batch, or found after it had ended.
func (s *plant) destroyed(tx *store.Tx, run perso.Run) error {
	if run.State == "received" {
		return nil // the line's totals are posted as it goes on
	}
	if run.State == "abandoned" {
		if err := stock.Unbox(tx, run.Order); err != nil {
			return err
		}
	}
	return stock.Settle(tx, run.Order, s.counts())
}
