package perso

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ankan/audit"
	"ankan/custody"
	"ankan/datagen"
	"ankan/hsm"
	"ankan/profile"
	"ankan/scp"
	"ankan/store"
)

// maxTries is how often the same chip is tried as itself. Most failures on a
// line are bad contacts.
const maxTries = 3

// A Station is a reader at the line.
type Station struct {
	Name   string
	Reader Reader
}

// A Line makes the cards of batches. Its zero value refuses.
type Line struct {
	store   *store.Store
	token   hsm.Token
	product Product
}

// New is a line for one product.
func New(s *store.Store, t hsm.Token, p Product) (*Line, error) {
	if p.Lot == "" || p.LotKey == "" || len(p.Image) == 0 {
		return nil, errors.New("line: the product needs a lot, its key and an operating system image")
	}
	return &Line{store: s, token: t, product: p}, nil
}

// ErrRejects says that a run waits for people: rejects are to be destroyed
// before their identities can be made again.
var ErrRejects = errors.New("rejected chips wait for destruction by two people")

// task is one card to make.
type task struct{ card, keyset int }

// run is one batch on the line while it runs.
type run struct {
	*Line
	ord    string
	reader *datagen.Reader
	maker  maker

	mu     sync.Mutex
	next   int    // first identity that was not looked at
	taken  []bool // identities that have a chip, or are retired
	remake []int  // identities whose chip is destroyed
	spare  int    // next spare key set
}

// Run makes the cards of a batch until each identity is on a good card, is
// retired, or waits for people. It returns nil when the batch is finished,
// ErrRejects when rejects must be destroyed, ErrNoChips when chips ran out.
// Called again it goes on where it was, also after a crash.
func (l *Line) Run(ctx context.Context, ord string, stations []Station) error {
	if l == nil || l.store == nil {
		return errors.New("line: not set up")
	}
	if len(stations) == 0 {
		return errors.New("line: no station; name one in the configuration")
	}
	r, err := l.open(ctx, ord)
	if err != nil {
		return err
	}
	defer r.reader.Close()
	if err := r.resolve(ctx, stations[0]); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, st := range stations {
		g.Go(func() error { return r.work(gctx, st) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return r.finish(ctx)
}

// open reads where the run stands.
func (l *Line) open(ctx context.Context, ord string) (*run, error) {
	reader, err := datagen.NewReader(ctx, l.store, l.token, ord)
	if err != nil {
		return nil, err
	}
	b := reader.Batch
	r := &run{Line: l, ord: ord, reader: reader, taken: make([]bool, b.Cards), spare: b.Cards}
	script, err := profile.Compile(b.Profile)
	if err != nil {
		reader.Close()
		return nil, err
	}
	r.maker = maker{product: l.product, script: script, layout: b.Profile.Layout(), derive: l.derive}
	if err := r.load(ctx, b.Cards); err != nil {
		reader.Close()
		return nil, err
	}
	return r, nil
}

func (l *Line) derive(ctx context.Context, serial []byte) (scp.Static, func(), error) {
	k, err := l.token.ChipKeys(ctx, l.product.LotKey, serial)
	if err != nil {
		return nil, nil, err
	}
	return k, k.Close, nil
}

func (r *run) load(ctx context.Context, cards int) error {
	rows, err := r.store.Query(ctx, `SELECT card, keyset, state FROM card WHERE ord = $1`, r.ord)
	if err != nil {
		return err
	}
	defer rows.Close()
	destroyed := map[int]bool{}
	for rows.Next() {
		var card, keyset int
		var state string
		if err := rows.Scan(&card, &keyset, &state); err != nil {
			return err
		}
		if card < 0 || card >= cards {
			return fmt.Errorf("order %s: card %d is on record, there are %d", r.ord, card, cards)
		}
		if keyset >= cards {
			r.spare = max(r.spare, keyset+1)
		}
		if state == "destroyed" {
			destroyed[card] = true
		} else {
			r.taken[card] = true
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	gone, err := r.store.Query(ctx, `SELECT card FROM retired WHERE ord = $1`, r.ord)
	if err != nil {
		return err
	}
	defer gone.Close()
	for gone.Next() {
		var card int
		if err := gone.Scan(&card); err != nil {
			return err
		}
		r.taken[card] = true
	}
	for card := range destroyed {
		if !r.taken[card] {
			r.remake = append(r.remake, card)
			r.taken[card] = true
		}
	}
	return gone.Err()
}

// claim is the next card to make. An identity goes to one station only: the
// database refuses a second one as well.
func (r *run) claim() (task, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.reader.Batch
	for ; r.next < b.Cards; r.next++ {
		if !r.taken[r.next] {
			t := task{r.next, r.next}
			r.next++
			return t, true, nil
		}
	}
	if len(r.remake) == 0 {
		return task{}, false, nil
	}
	t := task{r.remake[0], r.spare}
	r.remake = r.remake[1:]
	if r.spare == b.Cards+b.Spares {
		t.keyset = -1 // no fresh keys are left: the identity is retired
		return t, true, nil
	}
	r.spare++
	return t, true, nil
}

// giveBack returns a card that found no chip.
func (r *run) giveBack(t task) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.card == t.keyset {
		r.next = min(r.next, t.card)
		return
	}
	r.remake = append(r.remake, t.card)
	if t.keyset == r.spare-1 {
		r.spare--
	}
}

func (r *run) work(ctx context.Context, st Station) error {
	for ctx.Err() == nil {
		t, ok, err := r.claim()
		if err != nil || !ok {
			return err
		}
		if t.keyset < 0 {
			if err := r.retire(ctx, t.card); err != nil {
				return err
			}
			continue
		}
		c, err := r.fresh(ctx, st)
		if err != nil {
			r.giveBack(t)
			return err
		}
		if err := r.card(ctx, st, t, c); err != nil {
			return err
		}
		if err := st.Reader.Eject(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// fresh takes chips until one suits; the others are set aside.
func (r *run) fresh(ctx context.Context, st Station) (chip, error) {
	for {
		if err := st.Reader.Take(ctx); err != nil {
			return chip{}, fmt.Errorf("station %s: %w", st.Name, err)
		}
		c, err := look(ctx, st.Reader)
		if err == nil {
			err = r.product.suits(c)
		}
		if err == nil {
			var n int
			err = r.store.QueryRow(ctx, `SELECT count(*) FROM card WHERE chip = $1`, c.name()).Scan(&n)
			if err != nil {
				return chip{}, err
			}
			if n == 0 {
				return c, nil
			}
			err = &Reject{Taken, fmt.Errorf("chip %s was in a reader here before", c.name())}
		}
		if ctx.Err() != nil {
			return chip{}, ctx.Err()
		}
		if err := r.setAside(ctx, st, c, err); err != nil {
			return chip{}, err
		}
		if err := st.Reader.Eject(ctx); err != nil {
			return chip{}, err
		}
	}
}

func (r *run) setAside(ctx context.Context, st Station, c chip, why error) error {
	var reject *Reject
	if !errors.As(why, &reject) {
		return why
	}
	e := r.entry("chip.set-aside", st, map[string]any{"chip": c.name(), "reason": string(reject.Reason), "seen": reject.Err.Error()})
	return r.store.Change(ctx, e, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO set_aside (chip, ord, reason, at) VALUES ($1, $2, $3, $4)`,
			c.name(), r.ord, string(reject.Reason), tx.Time().Format(time.RFC3339Nano))
		return err
	})
}

// card commits the intent, makes the card, and commits the outcome.
func (r *run) card(ctx context.Context, st Station, t task, c chip) error {
	e := r.entry("card.intent", st, map[string]any{"card": t.card, "keyset": t.keyset, "chip": c.name()})
	err := r.store.Change(ctx, e, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO card (ord, card, keyset, chip, state, tries, reason, station, at) VALUES ($1, $2, $3, $4, 'doubt', 0, '', $5, $6)`,
			r.ord, t.card, t.keyset, c.name(), st.Name, tx.Time().Format(time.RFC3339Nano))
		return err
	})
	if err != nil {
		return err
	}
	return r.attempt(ctx, st, t, c.serial)
}

// attempt makes the card on the chip in the reader, as itself, up to maxTries
// times, and commits the outcome.
func (r *run) attempt(ctx context.Context, st Station, t task, serial [8]byte) error {
	record, err := r.record(ctx, t)
	if err != nil {
		return err
	}
	defer clear(record)
	var reject *Reject
	tries := 1
	for ; ; tries++ {
		err := r.maker.make(ctx, st.Reader, serial, record)
		if ctx.Err() != nil {
			return ctx.Err() // the card stays in doubt, to be resolved by looking
		}
		if err == nil {
			reject = nil
			break
		}
		if !errors.As(err, &reject) {
			return err
		}
		if tries == maxTries {
			break
		}
	}
	kind, state, reason := "card.good", "good", ""
	data := map[string]any{"card": t.card, "keyset": t.keyset, "chip": hex.EncodeToString(serial[:]), "tries": tries, "os": hex.EncodeToString(r.product.Digest[:8])}
	if reject != nil {
		kind, state, reason = "card.reject", "reject", string(reject.Reason)
		data["reason"], data["seen"] = reason, reject.Err.Error()
	}
	return r.store.Change(ctx, r.entry(kind, st, data), func(tx *store.Tx) error {
		return one(tx, fmt.Sprintf("order %s: card %d is not in doubt", r.ord, t.card),
			`UPDATE card SET state = $1, tries = tries + $2, reason = $3, at = $4 WHERE ord = $5 AND keyset = $6 AND state = 'doubt'`,
			state, tries, reason, tx.Time().Format(time.RFC3339Nano), r.ord, t.keyset)
	})
}

// record is the record that goes on a card: the identity of one key set, the
// keys of the same one or, in a remake, of a spare.
func (r *run) record(ctx context.Context, t task) ([]byte, error) {
	record, err := r.reader.Record(ctx, nil, t.keyset)
	if err != nil || t.card == t.keyset {
		return record, err
	}
	identity, err := r.reader.Record(ctx, nil, t.card)
	if err != nil {
		return nil, err
	}
	defer clear(identity)
	datagen.CopyIdentity(r.maker.layout, record, identity)
	return record, nil
}

// resolve looks at each chip that has an intent and no outcome: it is tried
// again as itself, and what it then is, is its outcome.
func (r *run) resolve(ctx context.Context, st Station) error {
	rows, err := r.store.Query(ctx, `SELECT card, keyset, chip FROM card WHERE ord = $1 AND state = 'doubt' ORDER BY card`, r.ord)
	if err != nil {
		return err
	}
	type doubt struct {
		task
		serial [8]byte
	}
	var all []doubt
	for rows.Next() {
		var d doubt
		var name string
		if err := rows.Scan(&d.card, &d.keyset, &name); err != nil {
			rows.Close()
			return err
		}
		if d.serial, err = ParseSerial(name); err != nil {
			rows.Close()
			return fmt.Errorf("order %s: card %d: %w", r.ord, d.card, err)
		}
		all = append(all, d)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, d := range all {
		if err := st.Reader.Insert(ctx, d.serial); err != nil {
			return fmt.Errorf("station %s: chip %x of card %d is in doubt; put it into the reader: %w", st.Name, d.serial, d.card, err)
		}
		if err := r.attempt(ctx, st, d.task, d.serial); err != nil {
			return err
		}
		if err := st.Reader.Eject(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) retire(ctx context.Context, card int) error {
	e := audit.Entry{Kind: "card.retired", Actor: "system:line", Subject: "order/" + r.ord, Data: map[string]any{"card": card, "reason": "no spare key set is left"}}
	return r.store.Change(ctx, e, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO retired (ord, card) VALUES ($1, $2)`, r.ord, card)
		return err
	})
}

// finish closes the run if everything balances, or says what it waits for.
func (r *run) finish(ctx context.Context) error {
	c, err := Count(ctx, r.store, r.ord, r.reader.Batch.Cards)
	if err != nil {
		return err
	}
	switch {
	case c.Reject > 0:
		return fmt.Errorf("order %s: %d %w", r.ord, c.Reject, ErrRejects)
	case c.Doubt > 0 || c.Waiting > 0:
		return fmt.Errorf("order %s: %d cards are in doubt and %d wait for a chip", r.ord, c.Doubt, c.Waiting)
	}
	e := audit.Entry{Kind: "batch.finished", Actor: "system:line", Subject: "order/" + r.ord,
		Data: map[string]any{"good": c.Good, "remade": c.Remade, "destroyed": c.Destroyed, "retired": c.Retired, "aside": c.Aside}}
	return r.store.Change(ctx, e, func(tx *store.Tx) error { return MoveRun(tx, r.ord, "received", "finished") })
}

func (r *run) entry(kind string, st Station, data map[string]any) audit.Entry {
	return audit.Entry{Kind: kind, Actor: "station/" + st.Name, Subject: "order/" + r.ord, Data: data}
}

// A Rejected is a rejected chip.
type Rejected struct {
	Card   int    `json:"card"`
	Chip   string `json:"chip"`
	Reason string `json:"reason"`
}

// Rejects is the rejected chips of an order whose destruction is not recorded.
func Rejects(ctx context.Context, s *store.Store, ord string) ([]Rejected, error) {
	rows, err := s.Query(ctx, `SELECT card, chip, reason FROM card WHERE ord = $1 AND state = 'reject' ORDER BY card`, ord)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := []Rejected{}
	for rows.Next() {
		var r Rejected
		if err := rows.Scan(&r.Card, &r.Chip, &r.Reason); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// DestroyChips records that exactly these rejected chips were destroyed, under
// a warrant for chip.destroy. Their identities may then be made again, on new
// chips and with fresh keys.
func DestroyChips(ctx context.Context, s *store.Store, w custody.Warrant, ord string, chips []string) error {
	e := audit.Entry{Kind: "chips.destroyed", Actor: "person/" + w.Act().Requester, Subject: "order/" + ord,
		Data: map[string]any{"warrant": w.Act().ID, "chips": chips}}
	return s.Change(ctx, e, func(tx *store.Tx) error {
		if err := w.Redeem(tx, "chip.destroy", "order/"+ord); err != nil {
			return err
		}
		for _, c := range chips {
			if err := one(tx, fmt.Sprintf("order %s: chip %s is not a reject of this order; nothing was recorded", ord, c),
				`UPDATE card SET state = 'destroyed' WHERE ord = $1 AND chip = $2 AND state = 'reject'`, ord, c); err != nil {
				return err
			}
		}
		return nil
	})
}
