package bureau

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ankan/act"
	"ankan/message"
	"ankan/order"
	"ankan/perso"
)

// certificate says what was destroyed, by whom, and who saw it. Its log
// reference is covered by a checkpoint of now.
func (s *bureau) certificate(ctx context.Context, o order.Order) (*order.Certificate, error) {
	var here message.Destroyed
	var plant message.DestroyProof
	var id string
	for kind, v := range map[string]any{"destroyed": &here, "destroy-act": &id} {
		if err := s.paper(ctx, o.ID, kind, v); err != nil {
			return nil, err
		}
	}
	abandoned, err := order.WhyAbandoned(s.Store().Committed(ctx), o.ID)
	if err != nil {
		return nil, err
	}
	// A plant that was never told of an abandoned order has nothing to prove.
	if err := s.paper(ctx, o.ID, "plant-proof", &plant); err != nil && (abandoned == nil || !errors.Is(err, order.ErrNoOrder)) {
		return nil, err
	}
	var report perso.Report
	if err := s.paper(ctx, o.ID, "report", &report); err != nil && !errors.Is(err, order.ErrNoOrder) {
		return nil, err
	}
	contract, err := s.Contract(o.Partner)
	if err != nil {
		return nil, err
	}
	st, err := s.Desk().Get(ctx, id)
	if err != nil {
		return nil, err
	}
	begins := order.Received
	if abandoned != nil {
		begins = order.Abandoning
	}
	began, err := s.reached(ctx, o.ID, begins)
	if err != nil {
		return nil, err
	}
	// The plant has a clock of its own. Its copy was gone before its proof was
	// here, so that by its clock it may have been later, and all of it is.
	gone := here.At
	for _, k := range append(plant.Keys, order.DestroyedKey{At: plant.At}) {
		if k.At.After(gone) {
			gone = k.At
		}
	}
	response, err := s.sentFiles(ctx, o.ID)
	if err != nil {
		return nil, err
	}
	c := &order.Certificate{
		Number: "CoD-" + o.ID, Issued: gone,
		Order:        order.OrderRef{ID: o.ID, Batch: o.Batch, Digest: o.Digest},
		Operator:     order.CertifiedParty{Partner: o.Partner, Name: contract.Customer},
		Manufacturer: order.CertifiedParty{Partner: s.Config().Site, Name: contract.Maker.Name, Place: contract.Maker.Personalisation},
		Cards:        order.CardCounts{Ordered: o.Quantity, Delivered: o.Good, Retired: o.Retired, Lost: report.Counts.Lost},
		Clock:        order.DestroyClock{Acknowledged: began, Limit: began.Add(contract.DestructionLimit), Destroyed: gone},
		Keys:         append(here.Keys, plant.Keys...),
		Copies: []order.Copy{
			{Where: s.Config().Site + ", database", What: "sealed blocks of key sets", Count: here.Blocks, How: "key erased, rows overwritten", At: here.At},
			{Where: s.Config().Site + ", database", What: "order text", Count: 1, How: "key erased, rows overwritten", At: here.At},
			{Where: s.Config().Site + ", spool", What: "files to partners", Count: 1 + len(response), How: "withdrawn and deleted", At: here.At},
		},
		Act: st.Digest,
		Log: order.LogRef{Index: here.LogIndex, Checkpoint: string(s.Store().Checkpoint())},
	}
	if plant.Site != "" {
		c.Copies = append(c.Copies, order.Copy{Where: plant.Site + ", database", What: "sealed blocks of key sets", Count: plant.Blocks, How: "key erased, rows overwritten", At: plant.At})
	}
	if plant.Out > 0 {
		c.Copies = append(c.Copies, order.Copy{Where: "outside of " + plant.Site, What: "cards that had left", Count: plant.Out, How: "their keys are at no operator", At: plant.At})
	}
	if abandoned != nil {
		c.Abandoned = abandoned.Why
	}
	for _, sig := range st.Signatures {
		who, err := s.People().Person(ctx, sig.Person)
		if err != nil {
			return nil, err
		}
		p := order.Signatory{Role: who.Roles[0], Person: who.ID, At: sig.At}
		switch {
		case sig.Verb != act.Approve:
		case who.Has("witness"):
			c.Witness = p
		default:
			c.Approvers = append(c.Approvers, p)
		}
	}
	return c, c.Check()
}

// reached is when an order came into a state.
func (s *bureau) reached(ctx context.Context, ord string, state order.State) (time.Time, error) {
	steps, err := order.Steps(ctx, s.Store(), ord)
	if err != nil {
		return time.Time{}, err
	}
	for _, st := range steps {
		if st.State == state {
			return st.At, nil
		}
	}
	return time.Time{}, fmt.Errorf("order %s: %w: it never was %s", ord, order.ErrState, state)
}
