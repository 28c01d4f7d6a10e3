package order

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"ankan/audit"
	"ankan/hsm"
	"ankan/sim"
	"ankan/store"
)

// A Ledger remembers every identity that was ever issued, across all operators
// and for ever, also after the orders are destroyed, and which order it went to.
// Numbers lie in blocks of a thousand under a keyed hash: consecutive identities
// cost little, and a stolen ledger tells no number. The zero Ledger refuses.
//
// An order's identities are reserving while they are being entered, reserved
// once the order is accepted, and issued from the moment at which keys are drawn
// for them. Only until then may they be released. One of them that no card will
// carry is retired, and all of them if the order is abandoned: they stay taken.
type Ledger struct {
	token  hsm.Token
	key    string
	window int // blocks in memory at a time
}

// NewLedger is the ledger under a key of purpose hsm.Ledger. With another key
// it is another ledger, which knows nothing of the first.
func NewLedger(token hsm.Token, keyID string) (*Ledger, error) {
	if token == nil || keyID == "" {
		return nil, ErrNoLedger
	}
	return &Ledger{token, keyID, maxBlocks}, nil
}

// A Kind is what a number of the ledger names.
type Kind string

// The kinds of numbers.
const (
	KindICCID Kind = "ICCID"
	KindIMSI  Kind = "IMSI"
)

// A Hold is how an order holds its identities.
type Hold string

// The ways in which an order holds its identities.
const (
	Reserving Hold = "reserving" // some of them are entered, the order is not accepted
	Reserved  Hold = "reserved"  // the order is accepted, nothing is drawn for it
	Issued    Hold = "issued"    // keys were drawn: never to be released
	Retired   Hold = "retired"   // of one identity, or all of an order that was abandoned: no card will carry it
)

// A Holder is an order that holds identities, and the operator whose it is.
type Holder struct{ Order, Operator string }

// An Issue is the ledger's answer about one number.
type Issue struct {
	Holder
	Kind  Kind
	Hold  Hold
	Since time.Time // when the order took it; zero for what was issued before orders were kept
}

// A Clash is an identity that may not be issued again.
type Clash struct {
	Kind     Kind
	Value    string // all digits
	Position int    // in the order, from 0
	Inside   bool   // it was there before in the same order
}

// Error names the identity and its place.
func (c *Clash) Error() string {
	if c.Inside {
		return fmt.Sprintf("%s %s of card %d is twice in this order", c.Kind, c.Value, c.Position+1)
	}
	return fmt.Sprintf("%s %s of card %d was issued before", c.Kind, c.Value, c.Position+1)
}

// Clashes is why Reserve refused: the first thousand clashes, in the order's
// order.
type Clashes []*Clash

const maxClashes = 1000

// Error is one clash a line.
func (c Clashes) Error() string {
	lines := make([]string, len(c), len(c)+1)
	for i, clash := range c {
		lines[i] = clash.Error()
	}
	if len(c) == maxClashes {
		lines = append(lines, "there may be more")
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find the first Clash.
func (c Clashes) Unwrap() []error {
	errs := make([]error, len(c))
	for i, clash := range c {
		errs[i] = clash
	}
	return errs
}

// Errors that callers branch on.
var (
	ErrNoLedger       = errors.New("the ledger has no security module and no key")
	ErrHeld           = errors.New("identity ledger: the order does not hold its identities so that this may be done")
	ErrRepeatedRandom = errors.New("random numbers repeat: this block was drawn before")
)

// Reserve enters the ICCIDs and IMSIs of ids as h's. If one of them was issued
// before or is there twice, the error is Clashes, and nothing is left of the
// reservation. A great order is entered in several changes, so that others need
// not wait for it; what a crash left of an earlier attempt is forgotten first.
// The order holds them only when Accept was called in the change that accepts
// it. ids may be ranged over several times. Memory is bounded; consecutive
// numbers are fastest. An order is reserved by one goroutine.
func (l *Ledger) Reserve(ctx context.Context, s *store.Store, h Holder, ids iter.Seq2[int, sim.Identity]) error {
	if l.token == nil {
		return ErrNoLedger
	}
	if h.Order == "" || h.Operator == "" {
		return fmt.Errorf("identity ledger: order %q of operator %q, want both", h.Order, h.Operator)
	}
	if err := l.forget(ctx, s, h); err != nil {
		return err
	}
	entered := 0
	err := l.windows(ctx, ids, func(w *window) error {
		err := s.Change(ctx, h.entry("ledger.reserving", map[string]any{"identities": w.cards}), func(tx *store.Tx) error {
			return w.reserve(tx, h, entered == 0)
		})
		if err == nil {
			entered++
		}
		return err
	})
	if errors.Is(err, errClash) {
		clashes, look := l.clashes(ctx, s, h, ids, entered)
		if look != nil {
			err = look
		} else if len(clashes) > 0 {
			err = clashes
		}
	}
	if err != nil {
		return errors.Join(err, l.forget(context.WithoutCancel(ctx), s, h))
	}
	return nil
}

func (h Holder) entry(kind string, data map[string]any) audit.Entry {
	if data == nil {
		data = map[string]any{}
	}
	data["operator"] = h.Operator
	return audit.Entry{Kind: kind, Actor: "system:ledger", Subject: "order/" + h.Order, Data: data}
}

// forget takes back what an attempt that came to nothing has entered.
func (l *Ledger) forget(ctx context.Context, s *store.Store, h Holder) error {
	var hold string
	switch err := s.QueryRow(ctx, `SELECT state FROM ledger_order WHERE ord = $1`, h.Order).Scan(&hold); {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	case Hold(hold) != Reserving:
		return fmt.Errorf("order %s: %w: it is %s already", h.Order, ErrHeld, hold)
	}
	return s.Change(ctx, h.entry("ledger.released", nil), func(tx *store.Tx) error { return release(tx, h.Order, Reserving) })
}

// Enter takes over the identities of an accepted order from what was issued before
// the ledger kept orders: from then on they are this order's, reserved. Nothing
// happens if the ledger has the order. ErrHeld if not all of them were issued
// then.
func (l *Ledger) Enter(ctx context.Context, tx *store.Tx, h Holder, ids iter.Seq2[int, sim.Identity]) error {
	if l.token == nil {
		return ErrNoLedger
	}
	if has, err := l.Has(tx, h.Order); has || err != nil {
		return err
	}
	n, err := holder(tx, h, Reserved, true)
	if err != nil {
		return err
	}
	return l.windows(ctx, ids, func(w *window) error { return w.takeOver(tx, n, h) })
}

// Has says whether the ledger has an order.
func (l *Ledger) Has(q store.Querier, order string) (bool, error) {
	var n int
	err := q.QueryRow(`SELECT count(*) FROM ledger_order WHERE ord = $1`, order).Scan(&n)
	return n > 0, err
}

// Accept makes the identities that Reserve entered the order's own, in the
// change that accepts it. ErrHeld if Reserve was not called before.
func (l *Ledger) Accept(tx *store.Tx, order string) error {
	return move(tx, order, Reserving, Reserved)
}

// Confirm says that keys are drawn from here on: what the order holds is
// issued for ever. It may be called again. ErrHeld if it was not accepted.
func (l *Ledger) Confirm(tx *store.Tx, order string) error {
	var hold string
	if err := tx.QueryRow(`SELECT state FROM ledger_order WHERE ord = $1`, order).Scan(&hold); err == nil && Hold(hold) == Issued {
		return nil
	}
	return move(tx, order, Reserved, Issued)
}

func move(tx *store.Tx, order string, from, to Hold) error {
	res, err := tx.Exec(`UPDATE ledger_order SET state = $1 WHERE ord = $2 AND state = $3`, string(to), order, string(from))
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, fmt.Errorf("order %s: %w: want %s", order, ErrHeld, from))
	}
	return nil
}

// Abandon retires everything that the order holds, in the change that gives it
// up: it stays taken for ever. ErrHeld if it holds nothing that was accepted. What
// was issued before orders were kept has no order, and stays as it is.
func (l *Ledger) Abandon(tx *store.Tx, order string) error {
	res, err := tx.Exec(`UPDATE ledger_order SET state = $1 WHERE ord = $2 AND state IN ($3, $4)`, string(Retired), order, string(Reserved), string(Issued))
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, fmt.Errorf("order %s: %w: want %s or %s", order, ErrHeld, Reserved, Issued))
	}
	return nil
}

// Release takes back what an accepted order holds, in the change that refuses
// it. ErrHeld once keys were drawn, or if it holds nothing.
func (l *Ledger) Release(tx *store.Tx, order string) error { return release(tx, order, Reserved) }

// release reads the whole table, which is rare enough to need no index.
func release(tx *store.Tx, order string, from Hold) error {
	var n int64
	err := tx.QueryRow(`SELECT n FROM ledger_order WHERE ord = $1 AND state = $2`, order, string(from)).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("order %s: %w: want %s", order, ErrHeld, from)
	}
	if err == nil {
		_, err = tx.Exec(`DELETE FROM ledger_share WHERE ord = $1`, n)
	}
	if err == nil {
		_, err = tx.Exec(`DELETE FROM ledger_order WHERE n = $1`, n)
	}
	return err
}

// Retire says of identities that no card will carry them. Those that no order
// holds are h's from then on, so that they are never issued: what a restored
// database does not know of.
func (l *Ledger) Retire(ctx context.Context, tx *store.Tx, h Holder, ids iter.Seq2[int, sim.Identity]) error {
	if l.token == nil {
		return ErrNoLedger
	}
	return l.windows(ctx, ids, func(w *window) error { return w.retire(tx, h) })
}

// FindICCID says which order an ICCID went to; nil if it was never issued.
func (l *Ledger) FindICCID(ctx context.Context, s *store.Store, id sim.ICCID) (*Issue, error) {
	return l.find(ctx, s, iccidNumber(id))
}

// FindIMSI says which order an IMSI went to; nil if it was never issued.
func (l *Ledger) FindIMSI(ctx context.Context, s *store.Store, id sim.IMSI) (*Issue, error) {
	return l.find(ctx, s, imsiNumber(id))
}

func (l *Ledger) find(ctx context.Context, s *store.Store, n number) (*Issue, error) {
	if l.token == nil {
		return nil, ErrNoLedger
	}
	name, err := l.name(ctx, n.block())
	if err != nil {
		return nil, err
	}
	rows, err := s.Query(ctx, `SELECT o.ord, o.operator, o.state, o.at, h.issued, h.retired
		FROM ledger_share h JOIN ledger_order o ON o.n = h.ord WHERE h.block = $1 ORDER BY h.ord`, name[:])
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		found := Issue{Kind: n.space.kind()}
		var at string
		var stored, out []byte
		if err := rows.Scan(&found.Order, &found.Operator, &found.Hold, &at, &stored, &out); err != nil {
			return nil, err
		}
		var issued, retired bitmap
		if !issued.read(stored) || !retired.read(out) {
			return nil, errBlock
		}
		if !issued.has(n) {
			continue
		}
		if retired.has(n) {
			found.Hold = Retired
		}
		if at != "" {
			if found.Since, err = time.Parse(time.RFC3339Nano, at); err != nil {
				return nil, errBlock
			}
		}
		return &found, nil
	}
	return nil, rows.Err()
}

// Fingerprint is the keyed fingerprint of the first key that was drawn for a
// block of key sets. It asks the security module, so call it before the change.
func (l *Ledger) Fingerprint(ctx context.Context, firstKey []byte) (mac [32]byte, err error) {
	if l.token == nil {
		return mac, ErrNoLedger
	}
	if len(firstKey) < 16 {
		return mac, fmt.Errorf("fingerprint of a key of %d bytes, want at least 16", len(firstKey))
	}
	if mac, err = l.token.MAC(ctx, l.key, []byte("ankan ledger fingerprint\x00"), firstKey); err != nil {
		return mac, fmt.Errorf("fingerprint of a block: %w", err)
	}
	return mac, nil
}

// InsertFingerprint remembers a Fingerprint. ErrRepeatedRandom, and the change
// must fail, if it is there already: the random stream repeats, as that of a
// restored snapshot does.
func (l *Ledger) InsertFingerprint(tx *store.Tx, fingerprint [32]byte) error {
	if l.token == nil {
		return ErrNoLedger
	}
	res, err := tx.Exec(`INSERT INTO ledger_fingerprint (fingerprint) VALUES ($1) ON CONFLICT (fingerprint) DO NOTHING`, fingerprint[:16])
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n != 1 {
		err = ErrRepeatedRandom
	}
	return err
}
