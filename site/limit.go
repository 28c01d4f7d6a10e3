package site

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/notice"
	"ankan/order"
	"ankan/store"
)

// An operator's data must be gone by a date (SOP 6.3.3). People are warned once
// when the date is near, and once when it has passed: those of the site, and whom
// the contract names.

// A warning is told once of an order; it is a paper of it too.
type warning struct{ kind, paper string }

var (
	limitNear   = warning{"order.limit-near", "limit-near"}
	limitPassed = warning{"order.limit-passed", "limit-passed"}
)

// awaits says of a state in which the clock of destruction runs what is waited
// for.
var awaits = map[order.State]string{
	order.Received:     "Ask for its destruction: order.destroy.",
	order.Destroying:   "The plant's proof is awaited: its people destroy the batch there (batch.destroy).",
	order.Abandoning:   "The plant's proof is awaited: its people destroy the chips and the batch there (chip.destroy, batch.destroy).",
	order.Emptied:      "The plant's copy is gone, the site's own is being destroyed.",
	order.Acknowledged: "The manufacturer's certificate of destruction has not come; ask for it.",
	order.Abandoned:    "The manufacturer's certificate of destruction has not come; ask for it.",
}

// warnOfLimits goes by the site's time, which no step of a clock leads astray.
func (s *Site) warnOfLimits(ctx context.Context) error {
	orders, err := order.Active(ctx, s.store)
	if err != nil {
		return err
	}
	var errs []error
	for _, o := range orders {
		if c := s.contractOf(o); c != nil && awaits[o.State] != "" {
			errs = append(errs, s.warnOfLimit(ctx, o, c))
		}
	}
	return errors.Join(errs...)
}

func (s *Site) warnOfLimit(ctx context.Context, o order.Order, c *order.Contract) error {
	steps, err := order.Steps(ctx, s.store, o.ID)
	if err != nil {
		return err
	}
	began, due := c.Due(o, steps)
	now, w := s.store.Now(), limitNear
	switch {
	case due.IsZero() || now.Before(order.Warning(began, due)):
		return nil
	case !now.Before(due):
		w = limitPassed
	}
	if _, err := order.Paper(ctx, s.store, o.ID, w.paper); !errors.Is(err, order.ErrNoOrder) {
		return err
	}
	doc, err := json.Marshal(due.UTC())
	if err != nil {
		return err
	}
	when := due.UTC().Format("2 January 2006, 15:04 UTC")
	text := fmt.Sprintf("The data of order %s, batch %s, with %s is to be destroyed by %s, and is not yet. %s", o.ID, o.Batch, o.Partner, when, awaits[o.State])
	if w == limitPassed {
		text = fmt.Sprintf("The data of order %s, batch %s, with %s was to be destroyed by %s, and is not. %s", o.ID, o.Batch, o.Partner, when, awaits[o.State])
	}
	e := audit.Entry{Kind: w.kind, Actor: "system:site", Subject: "order/" + o.ID, Data: map[string]any{"due": due.UTC().Format(time.RFC3339), "state": string(o.State), "contacts": len(c.Alarms)}}
	return s.store.Change(ctx, e, func(tx *store.Tx) error {
		if err := order.In(tx, o.ID, o.State); err != nil {
			return err // it went on meanwhile; it is looked at again
		}
		if err := order.PutPaper(tx, o.ID, w.paper, doc); err != nil {
			return err
		}
		n := notice.Notice{Kind: w.kind, Subject: e.Subject, Text: text, Link: "/acts"}
		if err := notice.TellHolders(ctx, tx, n, "key-manager", "hsm-administrator", "security-officer", act.Nodal, act.Alternate); err != nil {
			return err
		}
		return notice.TellContacts(tx, c.Alarms, n)
	})
}
