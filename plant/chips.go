package plant

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ankan/custody"
	"ankan/perso"
	"ankan/site"
	"ankan/store"
)

// ---- chips to destroy

// doomed finds the chips that an act of chip.destroy is about: order/ORDER is all
// that wait for it, order/ORDER/CHIP one of them, or one that was lost and is
// found.
func (s *plant) doomed(ctx context.Context, subject string) (ord string, chips []string, params map[string]string, err error) {
	ord, err = site.SubjectOf(subject, "order")
	if err != nil {
		return "", nil, nil, err
	}
	ord, one, single := strings.Cut(ord, "/")
	err = s.line.hold(ctx, ord, func() error {
		all, doubts, err := s.condemned(ctx, ord, mostDoomed)
		if err != nil {
			return err
		}
		if single {
			was, err := s.was(ctx, ord, one, all)
			if err != nil {
				return err
			}
			chips, params = []string{one}, map[string]string{"was": was}
		} else if len(all) == 0 {
			return fmt.Errorf("order %s has no chip that waits for destruction", ord)
		} else {
			chips, params = all, map[string]string{"in_doubt": strconv.Itoa(doubts)}
			if len(chips) == mostDoomed {
				params["more"] = "more may wait; ask again when these are destroyed"
			}
		}
		// The list is shown as far as an act can; the digest binds all of it.
		params["count"], params["chips"], params["chips_sha256"] = strconv.Itoa(len(chips)), strings.Join(chips[:min(len(chips), 200)], " "), perso.ChipsDigest(chips)
		return nil
	})
	return ord, chips, params, err
}

// was is how one chip came to be destroyed by itself, if not among all that wait.
func (s *plant) was(ctx context.Context, ord, chip string, all []string) (string, error) {
	if slices.Contains(all, chip) {
		return "waits for its destruction", nil
	}
	lost, err := perso.Lost(ctx, s.Store(), ord)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(lost, func(c perso.Rejected) bool { return c.Chip == chip }) {
		return "was lost; its identity stays retired", nil
	}
	return "", fmt.Errorf("order %s has no chip %.40q that waits for destruction or was lost", ord, chip)
}

func (s *plant) proposeChips(ctx context.Context, subject string) (map[string]string, error) {
	_, _, params, err := s.doomed(ctx, subject)
	return params, err
}

func (s *plant) doChips(ctx context.Context, w custody.Warrant) error {
	ord, chips, _, err := s.doomed(ctx, w.Act().Subject)
	if err != nil {
		return err
	}
	return s.atRest(ctx, ord, func(book func(*store.Tx) error) error {
		return perso.DestroyChips(ctx, s.Store(), w, ord, chips, book)
	})
}

// atRest calls do while the line does nothing for an order; book is for do's
// change, in which the chips are booked as they are then.
func (s *plant) atRest(ctx context.Context, ord string, do func(book func(*store.Tx) error) error) error {
	return s.line.hold(ctx, ord, func() error {
		run, err := perso.GetRun(ctx, s.Store(), ord)
		if err != nil {
			return err
		}
		return do(func(tx *store.Tx) error { return s.destroyed(tx, run) })
	})
}

// ---- chips that are lost

// losing is about chip/ORDER/CHIP/WHY.
func (s *plant) losing(ctx context.Context, subject string) (ord, chip string, params map[string]string, err error) {
	parts, why, err := site.ReasonOf(subject, "chip", 2)
	if err != nil {
		return "", "", nil, err
	}
	ord, chip = parts[0], parts[1]
	err = s.line.hold(ctx, ord, func() error {
		card, was, err := perso.CanLose(s.Store().Committed(ctx), ord, chip)
		params = map[string]string{"order": ord, "chip": chip, "card": strconv.Itoa(card), "was": was, "why": why,
			"identity": "is retired for ever: the chip may carry its keys, and no other chip will"}
		return err
	})
	if err != nil {
		return "", "", nil, err
	}
	return ord, chip, params, nil
}

func (s *plant) proposeLost(ctx context.Context, subject string) (map[string]string, error) {
	_, _, params, err := s.losing(ctx, subject)
	return params, err
}

func (s *plant) doLost(ctx context.Context, w custody.Warrant) error {
	ord, chip, _, err := s.losing(ctx, w.Act().Subject)
	if err != nil {
		return err
	}
	return s.atRest(ctx, ord, func(book func(*store.Tx) error) error {
		return perso.LoseChip(ctx, s.Store(), w, ord, chip, book)
	})
}
