// Package worker draws the blocks of orders on any number of machines. A Drawer
// draws blocks; a Queue hands them out among all that draw for a site.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"ankan/datagen"
	"ankan/keys"
	"ankan/order"
	"ankan/store"
)

// A Drawer draws blocks of the orders of a site, in the site's own process or
// in another one. All that it needs to know of an order is in its batch. The
// zero Drawer refuses.
type Drawer struct {
	Store  *store.Store
	Guard  *keys.Guard
	Ledger *order.Ledger
	Log    *slog.Logger // told how fast it goes; may be nil

	mu    sync.Mutex
	since time.Time // when the counts below began
	last  time.Time // when something was drawn last
	cards int       // key sets stored since
}

// told is how often the log is told of the rate.
const told = 10 * time.Second

// Draw draws the blocks of an order's batch in a span that are not stored yet
// (datagen.Generator.Draw). A key that was suspended since the last time does
// nothing. datagen.ErrNoBatch if the order's batch is no more.
func (d *Drawer) Draw(ctx context.Context, ord string, in datagen.Span) error {
	if d.Store == nil || d.Guard == nil || d.Ledger == nil {
		return errors.New("worker: store, security module and ledger must be there")
	}
	ctx = keys.For(ctx, "order/"+ord)
	// Other processes change the states of keys too.
	if err := d.Guard.Reload(ctx); err != nil {
		return err
	}
	b, err := datagen.Load(ctx, d.Store, ord)
	if err != nil {
		return err
	}
	dk, err := d.Guard.OpenDataKey(ctx, b.KEK, b.Wrapped)
	if err != nil {
		return fmt.Errorf("order %s: data key: %w", ord, err)
	}
	defer dk.Close()
	ids := datagen.Identities(order.ReadList(ctx, d.Store, dk, ord, b.Cards))
	if len(b.Range) > 0 {
		if ids, err = b.OpenRange(dk); err != nil {
			return err
		}
	}
	g := datagen.Generator{Store: d.Store, Token: d.Guard, Ledger: d.Ledger}
	if b.OP != "" {
		op, err := d.Guard.OP(ctx, b.OP)
		if err != nil {
			return err
		}
		defer op.Close()
		g.OP = op
	}
	return g.Draw(ctx, b, in, ids, d.count)
}

// count tells the log of the rate, now and then.
func (d *Drawer) count(sets int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if d.since.IsZero() || now.Sub(d.last) > told { // what was before is another time
		d.since, d.cards = now, 0
	}
	d.last = now
	d.cards += sets
	if took := now.Sub(d.since); took >= told && d.Log != nil {
		d.Log.Info("drawing", "key_sets", d.cards, "seconds", int(took.Seconds()), "per_second", int(float64(d.cards)/took.Seconds()))
		d.since, d.cards = now, 0
	}
}
