package perso

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"ankan/audit"
	"ankan/datagen"
	"ankan/durable"
	"ankan/hsm"
	"ankan/profile"
	"ankan/scp"
	"ankan/station"
	"ankan/store"
)

// maxTries is how often the same chip is tried as itself. Most failures on a
// line are bad contacts.
const maxTries = 3

// A Line makes the cards of batches. Its zero value refuses.
type Line struct {
	store   *store.Store
	token   hsm.Token
	product Product
	// Ends is called in the change that finishes a batch; its error keeps the
	// batch open. It may be nil.
	Ends func(tx *store.Tx, ord string) error

	// Steps is what each burst at a chip goes through; nil: nothing.
	Steps durable.Steps

	// Again, if not nil, is asked when the outcome of a card could not be written:
	// true has it written once more. It may have made room.
	Again func(error) bool

	// May, if not nil, is asked before a station begins another card, also one in
	// doubt: its error ends the run when the cards that are being made are done.
	May func(context.Context) error
}

// New is a line for one product.
func New(s *store.Store, t hsm.Token, p Product) (*Line, error) {
	if p.Lot == "" || p.LotKey == "" || len(p.Image) == 0 {
		return nil, errors.New("line: the product needs a lot, its key and an operating system image")
	}
	if err := p.Marks.check(); err != nil {
		return nil, fmt.Errorf("line: lot %s: %w", p.Lot, err)
	}
	return &Line{store: s, token: t, product: p}, nil
}

// What a run waits for people for.
var (
	// Rejects are to be destroyed before their identities can be made again.
	ErrRejects = errors.New("rejected chips wait for their destruction to be signed")
	// A chip that was being written when its station, the plant or the line
	// between them failed is nobody's guess: it is read, or it is destroyed.
	ErrDoubt = errors.New("chips are in doubt; put them into a reader, have their destruction signed (chip.destroy), or that one is lost (chip.lost)")
)

// task is one card to make.
type task struct{ card, keyset int }

// run is one batch on the line while it runs.
type run struct {
	*Line
	ord    string
	reader *datagen.Reader
	maker  maker

	mu     sync.Mutex
	less   sync.Cond        // open became less
	open   int              // cards at stations
	held   map[[8]byte]bool // chips in doubt that a station has in hand
	back   []task           // given back: they found no chip
	next   int              // first identity that was not looked at
	taken  []bool           // identities that have a chip, or are retired
	remake []int            // identities whose chip is destroyed
	spare  int              // next spare key set
}

// Run makes the cards of a batch until each identity is on a good card, is
// retired, or waits for people. It returns nil when the batch is finished,
// ErrRejects when rejects must be destroyed, ErrDoubt when chips in doubt are
// in no reader, ErrNoChips when chips ran out. Called again it goes on where it
// was, also after a crash.
//
// Stations may come while it runs; none do after the channel is closed. A
// station that fails stops, and its card is in doubt until that chip is in a
// reader again: its own first of all, when it is back. The others go on.
func (l *Line) Run(ctx context.Context, ord string, stations <-chan Station) error {
	if l == nil || l.store == nil {
		return errors.New("line: not set up")
	}
	r, err := l.open(ctx, ord)
	if err != nil {
		return err
	}
	defer r.reader.Close()
	failed := r.staff(ctx, stations)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	_, left := r.claim()
	if left && failed == nil {
		return fmt.Errorf("order %s: a card is left that no station makes", ord)
	}
	if left || failed != nil && !errors.Is(failed, errReader) && !errors.Is(failed, station.ErrNoChips) {
		return failed
	}
	err = r.finish(ctx)
	if err != nil && failed != nil {
		err = fmt.Errorf("%w; %w", err, failed)
	}
	return err
}

// grace is how long a run waits for the first station.
const grace = 2 * time.Second

var errNobody = errors.New("line: no station is connected; name one in the configuration, and start it there")

// staff has all stations work that are there and that come, until none is left
// that has anything to do. Its error is that of the first that failed; one that
// has no chips is no failure while others do.
func (r *run) staff(ctx context.Context, stations <-chan Station) error {
	ended := make(chan error)
	soon := time.After(grace)
	var failed, empty error
	for at, came := 0, false; ; {
		select {
		case st, ok := <-stations:
			if !ok {
				stations = nil
				break
			}
			came = true
			at++
			s := newSeat(ctx, st)
			s.steps = r.Steps
			go func() { ended <- r.work(ctx, s) }()
		case err := <-ended:
			at--
			if errors.Is(err, station.ErrNoChips) {
				empty = err
			} else if err != nil && (failed == nil || errors.Is(failed, errReader)) {
				failed = err
			}
		case <-soon:
			soon = nil
		}
		switch {
		case at > 0 || stations != nil && !came && soon != nil:
		case !came:
			return errNobody
		case failed == nil:
			return empty
		default:
			return failed
		}
	}
}

// open reads where the run stands.
func (l *Line) open(ctx context.Context, ord string) (*run, error) {
	had, err := GetRun(ctx, l.store, ord)
	if err != nil {
		return nil, err
	}
	if had.State != "received" {
		return nil, fmt.Errorf("batch %s is %s, want received", ord, had.State)
	}
	reader, err := datagen.NewReader(ctx, l.store, l.token, ord)
	if err != nil {
		return nil, err
	}
	b := reader.Batch
	r := &run{Line: l, ord: ord, reader: reader, taken: make([]bool, b.Cards), spare: b.Cards}
	r.less.L, r.held = &r.mu, map[[8]byte]bool{}
	if err := l.product.Computes(b.Profile); err != nil {
		reader.Close()
		return nil, fmt.Errorf("order %s: %w", ord, err)
	}
	script, err := profile.Compile(b.Profile)
	if err != nil {
		reader.Close()
		return nil, err
	}
	derive, err := l.chipKeys(ctx)
	if err != nil {
		reader.Close()
		return nil, err
	}
	r.maker = maker{product: l.product, script: script, layout: b.Profile.Layout(), derive: derive}
	if err := r.load(ctx, b.Cards); err != nil {
		reader.Close()
		return nil, err
	}
	return r, nil
}

// chipKeys is how the keys of a chip come from the lot's: from its serial number
// by our own method, by all others from the key diversification data with which
// its answer to INITIALIZE UPDATE begins.
func (l *Line) chipKeys(ctx context.Context) (func(context.Context, chip) (scp.Static, func(), error), error) {
	lot, err := l.token.Key(ctx, l.product.LotKey)
	if err != nil {
		return nil, fmt.Errorf("lot %s: %w", l.product.Lot, err)
	}
	return func(ctx context.Context, c chip) (scp.Static, func(), error) {
		data := c.serial[:]
		if lot.Algorithm.Method() != hsm.MethodAnkan {
			if len(c.answer) < diversification {
				return nil, nil, errShort
			}
			data = c.answer[:diversification]
		}
		k, err := l.token.ChipKeys(ctx, l.product.LotKey, data)
		if err != nil {
			return nil, nil, err
		}
		return k, k.Close, nil
	}, nil
}

// diversification is the length of key diversification data, in bytes.
const diversification = 10

// perBlock is how many identities a row of made counts.
const perBlock = 1000

// load reads where the run stands: what is full is not looked into.
func (r *run) load(ctx context.Context, cards int) error {
	q := r.store.Committed(ctx)
	gone, err := store.Collect(q, store.Column[int], destroyed, r.ord)
	if err != nil {
		return err
	}
	known := gone
	for _, query := range []string{firstLive, lastLive} {
		card, err := store.Collect(q, store.Column[int], query, r.ord)
		if err != nil {
			return err
		}
		known = append(known, card...)
	}
	for _, card := range known {
		if card < 0 || card >= cards {
			return fmt.Errorf("order %s: card %d is on record, there are %d", r.ord, card, cards)
		}
	}
	var last int
	if err := r.store.QueryRow(ctx, lastKeySet, r.ord).Scan(&last); err != nil {
		return err
	}
	r.spare = max(r.spare, last+1)
	if err := r.loadBlocks(ctx, cards); err != nil {
		return err
	}
	for _, card := range gone {
		if !r.taken[card] {
			r.remake = append(r.remake, card)
			r.taken[card] = true
		}
	}
	return nil
}

// loadBlocks marks the identities that have a chip, or are retired.
func (r *run) loadBlocks(ctx context.Context, cards int) error {
	type block struct{ n, made int }
	q := r.store.Committed(ctx)
	all, err := store.Collect(q, func(rows *sql.Rows) (b block, err error) {
		return b, rows.Scan(&b.n, &b.made)
	}, blocks, r.ord)
	if err != nil {
		return err
	}
	for _, b := range all {
		first := b.n * perBlock
		end := min(first+perBlock, cards)
		if b.n < 0 || first >= end || b.made > end-first {
			return fmt.Errorf("order %s: %w: %d of the cards from %d on, there are %d", r.ord, ErrTotals, b.made, first, cards)
		}
		of := r.taken[first:end]
		if b.made == len(of) {
			for i := range of {
				of[i] = true
			}
			continue
		}
		had, err := store.Collect(q, store.Column[int], inBlock, r.ord, first, end)
		if err != nil {
			return err
		}
		for _, card := range had {
			r.taken[card] = true
		}
	}
	return nil
}

// claim is the next card to make; false if there is none, which is known only
// when no other station can give one back. An identity goes to one station
// only: the database refuses a second one as well.
func (r *run) claim() (task, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if t, ok := r.nextTask(); ok {
			r.open++
			return t, true
		}
		if r.open == 0 {
			return task{}, false
		}
		r.less.Wait()
	}
}

// settled says that a claimed card is no longer at its station.
func (r *run) settled() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
	r.less.Broadcast()
}

func (r *run) nextTask() (task, bool) {
	if n := len(r.back); n > 0 {
		t := r.back[n-1]
		r.back = r.back[:n-1]
		return t, true
	}
	b := r.reader.Batch
	for ; r.next < b.Cards; r.next++ {
		if !r.taken[r.next] {
			r.next++
			return task{r.next - 1, r.next - 1}, true
		}
	}
	if len(r.remake) == 0 {
		return task{}, false
	}
	t := task{r.remake[0], r.spare}
	r.remake = r.remake[1:]
	if r.spare == b.Cards+b.Spares {
		t.keyset = -1 // no fresh keys are left: the identity is retired
		return t, true
	}
	r.spare++
	return t, true
}

// giveBack returns a card that found no chip, with its key set: nothing of
// either is on a chip.
func (r *run) giveBack(t task) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.back = append(r.back, t)
}

func (r *run) may(ctx context.Context) error {
	if r.May == nil {
		return nil
	}
	return r.May(ctx)
}

func (r *run) givenBack() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.back) > 0
}

func (r *run) work(ctx context.Context, s *seat) error {
	defer s.close()
	if err := r.revisit(ctx, s, true); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := r.may(ctx); err != nil {
			return err
		}
		t, ok := r.claim()
		if !ok {
			// A chip in doubt that turns out to be blank gives its card back.
			if err := r.revisit(ctx, s, false); err != nil || !r.givenBack() {
				return err
			}
			continue
		}
		err := r.one(ctx, s, t)
		r.settled()
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// one makes one card, or retires its identity.
func (r *run) one(ctx context.Context, s *seat, t task) error {
	if t.keyset < 0 {
		return r.retire(ctx, t.card)
	}
	c, err := r.fresh(ctx, s)
	if err != nil {
		r.giveBack(t)
		return err
	}
	if !r.hold(c.serial) {
		r.giveBack(t)
		return fmt.Errorf("%w: chip %s is at two stations", errLine, c.name())
	}
	defer r.release(c.serial)
	if err := r.card(ctx, s, t, c); err != nil {
		return err
	}
	return s.eject()
}

// hold takes a chip in hand, and reports false if another station has it.
func (r *run) hold(serial [8]byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held[serial] {
		return false
	}
	r.held[serial] = true
	return true
}

func (r *run) release(serial [8]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.held, serial)
}

// fresh takes chips until one suits. A chip in doubt that comes along is
// resolved, any other is set aside.
func (r *run) fresh(ctx context.Context, s *seat) (chip, error) {
	for {
		if err := s.take(); err != nil {
			return chip{}, err
		}
		c, d, err := r.meet(ctx, s)
		switch {
		case d != nil && d.state == "lost":
			err = r.turnedUp(ctx, s, *d)
		case d != nil && d.state == "doubt":
			err = r.again(ctx, s, *d, &c)
		case d != nil: // it was left in the reader, and is counted
		case err == nil:
			return c, nil
		default:
			err = r.setAside(ctx, s, c, err)
		}
		if err != nil {
			return chip{}, err
		}
		if err := s.eject(); err != nil {
			return chip{}, err
		}
	}
}

// meet looks at a fresh chip, more than once if it does not answer, and says
// whether it suits, or that it is one in doubt, or a good card of this batch, or
// one that was declared lost.
func (r *run) meet(ctx context.Context, s *seat) (c chip, d *doubt, err error) {
	for range maxTries {
		var reject *Reject
		c, err = look(s)
		if !errors.As(err, &reject) || reject.Reason != NoAnswer {
			break
		}
	}
	if err != nil {
		return c, nil, err
	}
	known, err := store.Collect(r.store.Committed(ctx), func(rows *sql.Rows) (d doubt, err error) {
		d.serial = c.serial
		return d, rows.Scan(&d.ord, &d.state, &d.card, &d.keyset, &d.station)
	}, byChip, c.name())
	if err != nil {
		return c, nil, err
	}
	for _, d := range known {
		if d.state == "lost" || d.ord == r.ord && (d.state == "doubt" || d.state == "good" && c.state >= stateSecured) {
			return c, &d, nil
		}
	}
	if err := r.product.suits(c); err != nil {
		return c, nil, err
	}
	if len(known) > 0 {
		return c, nil, &Reject{Taken, fmt.Errorf("chip %s was in a reader here before", c.name())}
	}
	return c, nil, nil
}

// setAside counts a chip that got no identity; why must be a *Reject.
func (r *run) setAside(ctx context.Context, s *seat, c chip, why error) error {
	var reject *Reject
	if !errors.As(why, &reject) {
		return why
	}
	e := r.entry("chip.set-aside", s.Name, map[string]any{"chip": c.name(), "reason": string(reject.Reason), "seen": reject.Err.Error()})
	return r.store.Change(ctx, e, func(tx *store.Tx) error { return r.putAside(tx, c, reject) })
}

func (r *run) putAside(tx *store.Tx, c chip, why *Reject) error {
	_, err := tx.Exec(`INSERT INTO set_aside (chip, ord, reason, at) VALUES ($1, $2, $3, $4)`,
		c.name(), r.ord, string(why.Reason), tx.Time().Format(time.RFC3339Nano))
	return err
}

// card commits the intent, makes the card on the fresh chip in the reader, and
// commits the outcome.
func (r *run) card(ctx context.Context, s *seat, t task, c chip) error {
	e := r.entry("card.intent", s.Name, map[string]any{"card": t.card, "keyset": t.keyset, "chip": c.name()})
	err := r.store.Change(ctx, e, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO card (ord, card, keyset, chip, lot, state, tries, reason, station, at) VALUES ($1, $2, $3, $4, $5, 'doubt', 0, '', $6, $7)`,
			r.ord, t.card, t.keyset, c.name(), r.product.Lot, s.Name, tx.Time().Format(time.RFC3339Nano))
		return err
	})
	if err != nil {
		return err
	}
	return r.again(ctx, s, doubt{task: t, serial: c.serial}, &c)
}

// attempt makes the card on the chip in the reader, as itself, up to maxTries
// times. fresh is what the chip said of itself just now; nil to look first. The
// reject is why the chip is not a good card; with an error it is in doubt.
func (r *run) attempt(ctx context.Context, s *seat, t task, serial [8]byte, fresh *chip) (tries int, reject *Reject, err error) {
	record, err := r.record(ctx, t)
	if err != nil {
		return 0, nil, err
	}
	defer clear(record)
	for tries = 1; ; tries++ {
		err := r.try(ctx, s, serial, fresh, record)
		fresh = nil
		switch {
		case ctx.Err() != nil:
			return tries, nil, ctx.Err() // to be resolved by looking
		case err == nil:
			return tries, nil, nil
		case errors.As(err, &reject):
			// A chip that is late holds up the line, and lateness is not a bad contact.
			if tries == maxTries || reject.Reason == TooLate {
				return tries, reject, nil
			}
		case errors.Is(err, errReader) && tries < maxTries: // the chip is none the worse
		default:
			return tries, nil, err
		}
	}
}

// try is one try. After a reader failed, the same chip is put into a new one.
func (r *run) try(ctx context.Context, s *seat, serial [8]byte, fresh *chip, record []byte) error {
	if fresh != nil {
		return r.maker.make(ctx, s, *fresh, record)
	}
	if s.reader == nil {
		if err := s.insert(serial); err != nil {
			return err
		}
	}
	now, err := look(s)
	if err != nil {
		return err
	}
	if now.serial != serial {
		return fmt.Errorf("%w: station %s: chip %s is in the reader, want %x", errLine, s.Name, now.name(), serial)
	}
	return r.maker.make(ctx, s, now, record)
}

// outcome commits what became of a card.
func (r *run) outcome(ctx context.Context, s *seat, t task, serial [8]byte, tries int, reject *Reject, took time.Duration) error {
	if reject != nil && reject.Reason == WrongKeys {
		return r.withdraw(ctx, s, t, chip{serial: serial}, reject)
	}
	kind, state, reason := "card.good", "good", ""
	data := map[string]any{"card": t.card, "keyset": t.keyset, "chip": hex.EncodeToString(serial[:]), "tries": tries, "os": hex.EncodeToString(r.product.Digest[:8])}
	if reject != nil {
		kind, state, reason = "card.reject", "reject", string(reject.Reason)
		data["reason"], data["seen"] = reason, reject.Err.Error()
	}
	write := func() error { return r.put(ctx, s, t, r.entry(kind, s.Name, data), state, reason, tries, took) }
	err := write()
	if err != nil && r.Again != nil && r.Again(err) {
		err = write()
	}
	return err
}

// put writes what became of a card.
func (r *run) put(ctx context.Context, s *seat, t task, e audit.Entry, state, reason string, tries int, took time.Duration) error {
	return r.store.Change(ctx, e, func(tx *store.Tx) error {
		if err := r.keepPace(tx, s.Name, state == "good", took); err != nil {
			return err
		}
		return one(tx, fmt.Sprintf("order %s: card %d is not in doubt", r.ord, t.card),
			`UPDATE card SET state = $1, tries = tries + $2, reason = $3, at = $4 WHERE ord = $5 AND keyset = $6 AND state = 'doubt'`,
			state, tries, reason, tx.Time().Format(time.RFC3339Nano), r.ord, t.keyset)
	})
}

// withdraw takes the intent back from a blank chip whose channel does not open:
// nothing was written to it, so it is set aside and the card goes on another.
func (r *run) withdraw(ctx context.Context, s *seat, t task, c chip, why *Reject) error {
	e := r.entry("chip.set-aside", s.Name, map[string]any{"chip": c.name(), "reason": string(why.Reason), "seen": why.Err.Error(), "card": t.card, "keyset": t.keyset})
	err := r.store.Change(ctx, e, func(tx *store.Tx) error {
		if err := one(tx, fmt.Sprintf("order %s: card %d is not in doubt", r.ord, t.card),
			`DELETE FROM card WHERE ord = $1 AND keyset = $2 AND state = 'doubt'`, r.ord, t.keyset); err != nil {
			return err
		}
		return r.putAside(tx, c, why)
	})
	if err == nil {
		r.giveBack(t)
	}
	return err
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

// doubt is a card with an intent and no outcome.
type doubt struct {
	task
	serial     [8]byte
	station    string
	ord, state string
}

func (r *run) doubts(ctx context.Context) ([]doubt, error) {
	return store.Collect(r.store.Committed(ctx), func(rows *sql.Rows) (d doubt, err error) {
		var name, at string
		if err = rows.Scan(&d.card, &d.keyset, &name, &d.station, &at); err != nil {
			return d, err
		}
		if d.serial, err = ParseSerial(name); err != nil {
			err = fmt.Errorf("order %s: card %d: %w", r.ord, d.card, err)
		}
		return d, err
	}, doubtful, r.ord)
}

// revisit has the chips in doubt put into the reader that no other station has
// in hand: at first those that were in this very reader, at the end all. One
// that is not to be had there stays in doubt.
func (r *run) revisit(ctx context.Context, s *seat, own bool) error {
	all, err := r.doubts(ctx)
	if err != nil {
		return err
	}
	for _, d := range all {
		if err := r.may(ctx); err != nil {
			return err
		}
		if own && d.station != s.Name || !r.hold(d.serial) {
			continue
		}
		err := r.fetch(ctx, s, d)
		r.release(d.serial)
		if err != nil && !errors.Is(err, station.ErrAway) {
			return err
		}
	}
	return nil
}

func (r *run) fetch(ctx context.Context, s *seat, d doubt) error {
	var state string
	if err := r.store.QueryRow(ctx, `SELECT state FROM card WHERE ord = $1 AND keyset = $2`, r.ord, d.keyset).Scan(&state); err != nil {
		return err
	}
	if state != "doubt" {
		return nil // resolved since it was listed
	}
	if err := s.insert(d.serial); err != nil {
		return err
	}
	if err := r.again(ctx, s, d, nil); err != nil {
		return err
	}
	return s.eject()
}

// again tries a chip in doubt again as itself, and what it then is, is its
// outcome. seen is what it said of itself just now; nil to look first.
func (r *run) again(ctx context.Context, s *seat, d doubt, seen *chip) error {
	began := time.Now()
	tries, reject, err := r.attempt(ctx, s, d.task, d.serial, seen)
	if err != nil {
		return err
	}
	return r.outcome(ctx, s, d.task, d.serial, tries, reject, time.Since(began))
}

// A Doubtful is a chip in doubt: an intent without an outcome, also while the
// card is being made.
type Doubtful struct {
	Card    int    `json:"card"`
	Chip    string `json:"chip"`
	Station string `json:"station"`
	Since   string `json:"since"`
}

// Doubts is the chips of an order that are in doubt.
func Doubts(ctx context.Context, s *store.Store, ord string) ([]Doubtful, error) {
	return store.Collect(s.Committed(ctx), func(rows *sql.Rows) (d Doubtful, err error) {
		var keyset int
		err = rows.Scan(&d.Card, &keyset, &d.Chip, &d.Station, &d.Since)
		return d, err
	}, doubtful, ord)
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
		return fmt.Errorf("order %s: %w; there are %d", r.ord, ErrRejects, c.Reject)
	case c.Doubt > 0:
		return r.away(ctx)
	case c.Waiting > 0:
		return fmt.Errorf("order %s: %d cards wait for a chip", r.ord, c.Waiting)
	}
	e := audit.Entry{Kind: "batch.finished", Actor: "system:line", Subject: "order/" + r.ord,
		Data: map[string]any{"good": c.Good, "remade": c.Remade, "destroyed": c.Destroyed, "retired": c.Retired, "aside": c.Aside}}
	return r.store.Change(ctx, e, func(tx *store.Tx) error {
		if r.Ends != nil {
			if err := r.Ends(tx, r.ord); err != nil {
				return err
			}
		}
		return MoveRun(tx, r.ord, "received", "finished")
	})
}

// away names chips in doubt that were in no reader.
func (r *run) away(ctx context.Context) error {
	all, err := r.doubts(ctx)
	if err != nil {
		return err
	}
	var first []string
	for _, d := range all[:min(len(all), 5)] {
		first = append(first, fmt.Sprintf("chip %x of card %d, last at station %s", d.serial, d.card, d.station))
	}
	return fmt.Errorf("order %s: %d %w: %s", r.ord, len(all), ErrDoubt, strings.Join(first, "; "))
}

func (r *run) entry(kind, station string, data map[string]any) audit.Entry {
	return audit.Entry{Kind: kind, Actor: "station/" + station, Subject: "order/" + r.ord, Data: data}
}

// A Rejected is a rejected chip.
type Rejected struct {
	Card   int    `json:"card"`
	Chip   string `json:"chip"`
	Reason string `json:"reason"`
}

// Rejects is the rejected chips of an order whose destruction is not recorded.
func Rejects(ctx context.Context, s *store.Store, ord string) ([]Rejected, error) {
	return store.Collect(s.Committed(ctx), func(rows *sql.Rows) (r Rejected, err error) {
		err = rows.Scan(&r.Card, &r.Chip, &r.Reason)
		return r, err
	}, rejects, ord)
}

// ChipsDigest is the SHA-256 over these chips, a line each: what an act of
// kind chip.destroy names as chips_sha256.
func ChipsDigest(chips []string) string {
	h := sha256.New()
	for _, c := range chips {
		fmt.Fprintln(h, c)
	}
	return hex.EncodeToString(h.Sum(nil))
}
