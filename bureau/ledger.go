package bureau

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/order"
	"ankan/sim"
	"ankan/site"
	"ankan/store"
)

// reserve enters an order's identities in the ledger; clashes is why it must be
// refused.
func (s *bureau) reserve(ctx context.Context, o order.Order, in *order.Input) (clashes []error, err error) {
	err = s.ledger.Reserve(ctx, s.Store(), order.Holder{Order: o.ID, Operator: o.Partner}, in.Identities())
	var all order.Clashes
	if in.Err() == nil && errors.As(err, &all) {
		return all.Unwrap(), nil
	}
	return nil, errors.Join(err, in.Err())
}

// enter has the ledger keep an order that was accepted by a program whose ledger
// kept none.
func (s *bureau) enter(ctx context.Context, o order.Order) error {
	if has, err := s.ledger.Has(s.Store().Committed(ctx), o.ID); has || err != nil {
		return err
	}
	c, err := s.Contract(o.Partner)
	if err != nil {
		return err
	}
	in, err := order.OpenText(ctx, s.Store(), s.Token(), o, c.Reading())
	if err != nil {
		return err
	}
	defer in.Close()
	e := audit.Entry{Kind: "ledger.entered", Actor: "system:ledger", Subject: "order/" + o.ID, Data: map[string]any{"operator": o.Partner, "identities": o.Quantity}}
	return s.Store().Change(ctx, e, func(tx *store.Tx) error {
		if err := s.ledger.Enter(ctx, tx, order.Holder{Order: o.ID, Operator: o.Partner}, in.Identities()); err != nil {
			return err
		}
		return in.Err()
	})
}

// retired is the identities of an order that no card carries.
func (s *bureau) retired(ctx context.Context, o order.Order, remakes []order.Remake) ([]sim.Identity, error) {
	j, err := s.job(ctx, o)
	if err != nil {
		return nil, err
	}
	defer j.close()
	var gone []sim.Identity
	for _, r := range remakes {
		if r.KeySet < 0 {
			gone = append(gone, j.input.At(r.Card))
		}
	}
	return gone, j.input.Err()
}

// An Answer is what the identity ledger knows of a number. It names no number.
type Answer struct {
	Kind     order.Kind `json:"kind"` // ICCID or IMSI
	Issued   bool       `json:"issued"`
	Order    string     `json:"order,omitempty"`
	Operator string     `json:"operator,omitempty"`
	Hold     order.Hold `json:"hold,omitempty"` // how the order holds it
	Since    *time.Time `json:"since,omitempty"`
}

// ErrNumber is a question about what is no number of a card or a subscriber.
var ErrNumber = errors.New("want an ICCID of 19 or 20 digits or an IMSI of 15")

// AskLedger says which order an ICCID or an IMSI went to, also long after the
// order is destroyed. That a person asked, and what was found, is in the log;
// the number is not.
func AskLedger(ctx context.Context, at *site.Site, person, number string) (Answer, error) {
	ledger, err := order.NewLedger(at.Token(), site.KeyLedger)
	if err != nil {
		return Answer{}, err
	}
	a, found := Answer{Kind: order.KindICCID}, (*order.Issue)(nil)
	if iccid, perr := sim.ParseICCID(number); perr == nil {
		found, err = ledger.FindICCID(ctx, at.Store(), iccid)
	} else if imsi, ierr := sim.ParseIMSI(number); ierr == nil {
		a.Kind = order.KindIMSI
		found, err = ledger.FindIMSI(ctx, at.Store(), imsi)
	} else if len(number) > 15 {
		return Answer{}, fmt.Errorf("the number: %w: %w", ErrNumber, perr)
	} else {
		return Answer{}, fmt.Errorf("the number: %w: %w", ErrNumber, ierr)
	}
	if err != nil {
		return Answer{}, err
	}
	if found != nil {
		a.Issued, a.Order, a.Operator, a.Hold = true, found.Order, found.Operator, found.Hold
		if !found.Since.IsZero() {
			a.Since = &found.Since
		}
	}
	e := audit.Entry{Kind: "ledger.asked", Actor: "person/" + person, Subject: "ledger", Data: map[string]any{"kind": string(a.Kind), "issued": a.Issued}}
	if a.Issued {
		e.Subject = "order/" + a.Order
	}
	return a, at.Store().Enter(ctx, e)
}

// askLedger answers the control socket.
func (s *bureau) askLedger(ctx context.Context, who act.Person, _ *http.Request, body []byte) (any, error) {
	var q struct {
		Number string `json:"number"`
	}
	if err := audit.Strict(body, &q); err != nil {
		return nil, fmt.Errorf("the question: %w", err)
	}
	return AskLedger(ctx, s.Site, who.ID, q.Number)
}
