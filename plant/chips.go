package plant

import (
	"context"
	"fmt"
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
			return s.single(ctx, ord, one, all, &chips, &params)
		}
		if len(all) == 0 {
			return fmt.Errorf("order %s has no chip that waits for destruction", ord)
		}
		// The list is shown as far as an act can; the digest binds all of it.
		chips = all
		params = map[string]string{"count": strconv.Itoa(len(chips)), "in_doubt": strconv.Itoa(doubts),
			"chips": strings.Join(chips[:min(len(chips), 200)], " "), "chips_sha256": perso.ChipsDigest(chips)}
		if len(chips) == mostDoomed {
			params["more"] = "more may wait; ask again when these are destroyed"
		}
		return nil
	})
	return ord, chips, params, err
}

// single is doomed of one chip.
func (s *plant) single(ctx context.Context, ord, chip string, all []string, chips *[]string, params *map[string]string) error {
	lost, err := perso.Lost(ctx, s.Store(), ord)
	if err != nil {
		return err
	}
	was := ""
	for _, c := range all {
		if c == chip {
			was = "waits for its destruction"
		}
	}
	for _, c := range lost {
		if c.Chip == chip {
			was = "was lost; its identity stays retired"
		}
	}
	if was == "" {
		return fmt.Errorf("order %s has no chip %.40q that waits for destruction or was lost", ord, chip)
	}
	*chips = []string{chip}
	*params = map[string]string{"count": "1", "chips": chip, "was": was, "chips_sha256": perso.ChipsDigest(*chips)}
	return nil
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
	return s.line.hold(ctx, ord, func() error {
		run, err := perso.GetRun(ctx, s.Store(), ord)
		if err != nil {
			return err
		}
		return perso.DestroyChips(ctx, s.Store(), w, ord, chips, func(tx *store.Tx) error { return s.destroyed(tx, run) })
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
	return s.line.hold(ctx, ord, func() error {
		run, err := perso.GetRun(ctx, s.Store(), ord)
		if err != nil {
			return err
		}
		return perso.LoseChip(ctx, s.Store(), w, ord, chip, func(tx *store.Tx) error { return s.destroyed(tx, run) })
	})
}
