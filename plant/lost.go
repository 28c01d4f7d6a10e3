package plant

import (
	"context"
	"strings"

	"ankan/message"
	"ankan/order"
	"ankan/perso"
	"ankan/site"
	"ankan/store"
)

// What a plant does when it is unlocked after its database was put back: no more
// cards are made of batches whose cards may have been made in the lost time. Two
// chips never carry one identity.

// makeable is the batches of which cards would be made next.
func (s *plant) makeable(ctx context.Context) (ids []string, err error) {
	runs, err := perso.Runs(ctx, s.Store())
	for _, r := range runs {
		if r.State == "offered" || r.State == "received" {
			ids = append(ids, r.Order)
		}
	}
	return ids, err
}

func (s *plant) lost(ctx context.Context, u site.Unlocking) (map[string]string, error) {
	ids, err := s.makeable(ctx)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	what := "stopped for ever, because cards of them may have been made in the time that was lost"
	if u.StoodStill {
		what = "go on"
	}
	return map[string]string{"batches_on_line": strings.Join(ids, " ") + ": " + what}, nil
}

func (s *plant) unlock(ctx context.Context, tx *store.Tx, u site.Unlocking) error {
	if u.StoodStill {
		return nil
	}
	ids, err := s.makeable(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		const why = "cards of it may have been made in the time that the database lost"
		if err := order.Stop(tx, id, u.Act, why); err != nil {
			return err
		}
		run, err := perso.GetRun(ctx, s.Store(), id)
		if err == nil {
			err = site.Owe(tx, run.Bureau, id+".abandon.pgp", message.Abandon{Order: id, Why: "the plant's database was put back: " + why, Act: u.Act})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
