package stock

import (
	"context"

	"ankan/access"
	"ankan/custody"
	"ankan/store"
)

// A checking says what an act about a subject would do, and what its approvers
// see. It is asked when the act is proposed, and again in the change that does it.
type checking[T any] func(ctx context.Context, q store.Querier, subject string) (T, map[string]string, error)

// deed is an act that is checked, and then written in the change that spends
// its warrant. What was signed must be what is so then.
func deed[T any](b *Book, check checking[T], write func(context.Context, *store.Tx, custody.Warrant, T) error) custody.Deed {
	return custody.Deed{
		Propose: func(ctx context.Context, subject string) (m map[string]string, err error) {
			if err := b.ready(); err != nil {
				return nil, err
			}
			err = b.store.View(ctx, func(tx *store.ReadTx) error {
				_, m, err = check(ctx, tx, subject)
				return err
			})
			return m, err
		},
		Do: func(ctx context.Context, w custody.Warrant) error {
			a := w.Act()
			data := map[string]any{}
			for k, v := range a.Params {
				data[k] = v
			}
			return w.Use(ctx, a.Kind, a.Subject, data, func(tx *store.Tx) error {
				v, now, err := check(ctx, tx, a.Subject)
				if err != nil {
					return err
				}
				if err := a.StillSays(now); err != nil {
					return err
				}
				return write(ctx, tx, w, v)
			})
		},
	}
}

// Deeds are the acts about the stock of a plant by their kinds, but lot.accept,
// which takes a key into the module as well (Accept), and what every site does
// (OwnDeeds).
func (b *Book) Deeds() map[string]custody.Deed {
	return map[string]custody.Deed{
		"source.approve":   deed(b, b.checkSource, b.doSource),
		"lot.inspect":      deed(b, b.checkInspect, b.doInspect),
		"lot.refuse":       deed(b, b.checkRefuse, b.doRefuse),
		"stock.move":       deed(b, b.checkMove, b.doMove),
		"stock.count":      deed(b, b.checkCount, b.doCount),
		"box.close":        deed(b, b.checkBoxClose, b.doBoxClose),
		"box.store":        deed(b, b.checkBoxStore, b.doBoxStore),
		"box.take":         deed(b, b.checkBoxTake, b.doBoxTake),
		"vault.open":       deed(b, b.checkVaultOpen, b.doVaultOpen),
		"vault.close":      deed(b, b.checkVaultClose, b.doVaultClose),
		"shipment.send":    deed(b, b.checkSend, b.doSend),
		"shipment.receive": deed(b, b.checkReceive, b.doReceive),
	}
}

// OwnDeeds are the acts of every site: what came is counted, and counts that
// differ are explained and closed.
func (b *Book) OwnDeeds() map[string]custody.Deed {
	return map[string]custody.Deed{
		"delivery.receive":    deed(b, b.checkDelivery, b.doDelivery),
		"discrepancy.explain": deed(b, b.checkExplain, b.doExplain),
		"discrepancy.close":   deed(b, b.checkClose, b.doClose),
	}
}

// under is a posting under a warrant.
func under(w custody.Warrant, p Posting) Posting {
	p.Actor, p.Act = "person/"+w.Act().Requester, w.Act().ID
	return p
}

// signers are the people whose signatures made a warrant, with the requester first.
func signers(ctx context.Context, tx *store.Tx, w custody.Warrant, roles ...string) (all []string, err error) {
	all = []string{w.Act().Requester}
	people, err := access.In(tx).Holders(ctx, roles...)
	for _, p := range people {
		if w.ApprovedBy(p.ID) {
			all = append(all, p.ID)
		}
	}
	return all, err
}
