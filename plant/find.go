package plant

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"ankan/datagen"
	"ankan/keys"
	"ankan/profile"
	"ankan/sim"
)

// Which card of an order carries an ICCID is in its sealed blocks alone. All of
// them are read once, to learn from which number to which each goes; after that a
// box of five hundred cards costs as much in an order of ten million as in one of
// a thousand.

// perReach is how many cards are looked up together: those of a block.
const perReach = datagen.BlockSize

// A reach is the lowest and the highest ICCID of some cards, without the digit
// that checks them.
type reach struct{ low, high uint64 }

// reaches is what is known of orders. It holds no secret: ICCIDs are printed on
// the cards.
type reaches struct {
	mu sync.Mutex
	of map[string][]reach
}

// forget is for a batch that is no more.
func (r *reaches) forget(ord string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.of, ord)
}

// get is the reaches of a batch, a block after the other.
func (r *reaches) get(ctx context.Context, reader *datagen.Reader) ([]reach, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ord, cards := reader.Batch.Order, reader.Batch.Cards
	if known, ok := r.of[ord]; ok {
		return known, nil
	}
	all := make([]reach, (cards+perReach-1)/perReach)
	for i := range all {
		all[i] = reach{math.MaxUint64, 0}
	}
	err := iccids(ctx, reader, 0, cards, func(card int, id sim.ICCID) error {
		at := &all[card/perReach]
		at.low, at.high = min(at.low, id.Body()), max(at.high, id.Body())
		return nil
	})
	if err != nil {
		return nil, err
	}
	if r.of == nil {
		r.of = map[string][]reach{}
	}
	r.of[ord] = all
	return all, nil
}

// cards opens a batch to read what its cards carry.
func (s *plant) cards(ctx context.Context, ord string) (*datagen.Reader, error) {
	reader, err := datagen.NewReader(keys.For(ctx, "order/"+ord), s.Store(), s.Token(), ord)
	if errors.Is(err, datagen.ErrNoBatch) {
		return nil, fmt.Errorf("order %s: its batch has not come, or was destroyed; boxes are filled before that: %w", ord, err)
	}
	return reader, err
}

// iccids reads the ICCIDs of a batch's cards from one to another, which is not
// among them, in order.
func iccids(ctx context.Context, reader *datagen.Reader, from, to int, yield func(card int, id sim.ICCID) error) error {
	layout := reader.Batch.Profile.Layout()
	var record []byte
	defer func() { clear(record) }()
	for card := from; card < to; card++ {
		var err error
		if record, err = reader.Record(ctx, record[:0], card); err != nil {
			return err
		}
		id, err := sim.ICCIDFromEF([10]byte(layout.Of(record, profile.SlotICCID)))
		if err != nil {
			return err
		}
		if err := yield(card, id); err != nil {
			return err
		}
	}
	return nil
}

// find is the cards of an order that carry these ICCIDs. What none carries is not
// in it.
func (s *plant) find(ctx context.Context, ord string, wanted map[string]bool) (map[string]int, error) {
	reader, err := s.cards(ctx, ord)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	all, err := s.reaches.get(ctx, reader)
	if err != nil {
		return nil, err
	}
	var bodies []uint64
	for text := range wanted {
		id, err := sim.ParseICCID(text)
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, id.Body())
	}
	slices.Sort(bodies)
	found := map[string]int{}
	for n, reach := range all {
		if i, _ := slices.BinarySearch(bodies, reach.low); i == len(bodies) || bodies[i] > reach.high {
			continue
		}
		err := iccids(ctx, reader, n*perReach, min((n+1)*perReach, reader.Batch.Cards), func(card int, id sim.ICCID) error {
			if text := id.String(); wanted[text] {
				found[text] = card
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// span is the cards of an order from one to another, which is not among them, as
// far as there are any.
func (s *plant) span(ctx context.Context, ord string, from, to int) (map[string]int, error) {
	reader, err := s.cards(ctx, ord)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	found := map[string]int{}
	return found, iccids(ctx, reader, from, min(to, reader.Batch.Cards), func(card int, id sim.ICCID) error {
		found[id.String()] = card
		return nil
	})
}
