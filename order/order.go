package order

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ankan/store"
)

// A State is where an order stands at one site.
type State string

// The states of an order at the operator that placed it.
const (
	Drafted      State = "drafted"      // checked here, waits for its signatures
	Submitted    State = "submitted"    // signed, sealed, on its way
	Answered     State = "answered"     // the response is here, checked, and not opened further
	Loading      State = "loading"      // its keys are going into the subscriber store
	Loaded       State = "loaded"       // all of them are there
	Acknowledged State = "acknowledged" // the manufacturer knows; the destruction clock runs
	Closed       State = "closed"       // the certificate of destruction is here
	Withdrawn    State = "withdrawn"    // people here gave it up; the manufacturer is told, if it has it
	Abandoned    State = "abandoned"    // the manufacturer gave it up; its copy is being destroyed
)

// The states of an order at the bureau that makes it. Accepted is the
// operator's too, once the receipt came; A bureau keeps
// nothing of an order that it refused at once but the log entry; of one that it
// took back later, that it is Refused and why.
const (
	Accepted   State = "accepted"   // checked, every identity reserved
	Refused    State = "refused"    // with reasons
	Refusing   State = "refusing"   // two people took it back; its key is not gone yet
	Released   State = "released"   // two people approved exactly this order
	Generated  State = "generated"  // all blocks are sealed
	Offered    State = "offered"    // the plant was asked for the key to seal to
	Sent       State = "sent"       // the sealed batch is on its way to the plant
	Made       State = "made"       // the plant's report is here and in balance
	Responded  State = "responded"  // the response is on its way to the operator
	Received   State = "received"   // the operator acknowledged; the destruction clock runs
	Destroying State = "destroying" // two people approved; the plant was told
	Abandoning State = "abandoning" // it was given up before it was answered; its keys are destroyed, the plant was told
	Emptied    State = "emptied"    // the plant proved its destruction
	Destroyed  State = "destroyed"  // key erased, data wiped, certificate signed
	Certified  State = "certified"  // nothing is left in the database's files; the certificate is on its way
)

// next is the life of an order: whatever is not here is refused.
var next = map[State][]State{
	"":           {Drafted, Accepted},
	Drafted:      {Submitted, Withdrawn},
	Submitted:    {Accepted, Refused, Withdrawn, Abandoned},
	Accepted:     {Released, Answered, Refusing, Refused, Abandoning, Withdrawn, Abandoned},
	Refusing:     {Refused},
	Answered:     {Loading, Withdrawn, Abandoned},
	Withdrawn:    {Refused, Abandoned},
	Abandoned:    {Closed},
	Loading:      {Loaded},
	Loaded:       {Acknowledged},
	Acknowledged: {Closed},
	Released:     {Generated, Abandoning},
	Generated:    {Offered, Abandoning},
	Offered:      {Sent, Abandoning},
	Sent:         {Made, Abandoning},
	Made:         {Responded, Abandoning},
	Responded:    {Received, Abandoning},
	Abandoning:   {Emptied},
	Received:     {Destroying},
	Destroying:   {Emptied},
	Emptied:      {Destroyed},
	Destroyed:    {Certified},
}

// An Order is an operator's request for cards of a product, as one site knows
// it. Both sites know it by the same ID.
type Order struct {
	ID        string    `json:"id"`
	Partner   string    `json:"partner"` // the operator at a bureau, the manufacturer at an operator
	Name      string    `json:"name"`    // of the file
	Batch     string    `json:"batch"`   // the operator's batch number
	Digest    string    `json:"digest"`  // SHA-256 of the order's content, hex
	Profile   string    `json:"profile"`
	Quantity  int       `json:"quantity"`
	Transport int       `json:"transport"` // index of the transport key
	State     State     `json:"state"`
	Reason    string    `json:"reason,omitempty"` // why it was refused, withdrawn or abandoned
	Good      int       `json:"good"`             // cards in the response
	Retired   int       `json:"retired"`          // identities that no card carries
	KEK       string    `json:"kek,omitempty"`    // name of the order's key in the module
	Changed   time.Time `json:"changed"`
}

// Errors that callers branch on.
var (
	ErrNoOrder = errors.New("no such order")
	ErrState   = errors.New("the order is not in the state for this")
)

// IDOf is an order's ID: its operator's name and the start of its digest. The
// same content is the same order, whatever its file is called.
func IDOf(operator string, digest [32]byte) string {
	return operator + "-" + hex.EncodeToString(digest[:6])
}

// Of says whether an ID is of an order of an operator, as IDOf makes them.
func Of(id, operator string) bool {
	rest, ok := strings.CutPrefix(id, operator+"-")
	digest, err := hex.DecodeString(rest)
	return ok && err == nil && len(digest) == 6 && hex.EncodeToString(digest) == rest
}

// Insert records a new order in its first state.
func Insert(tx *store.Tx, o Order) error {
	if err := allowed(o.ID, "", o.State); err != nil {
		return err
	}
	now := tx.Time().Format(time.RFC3339Nano)
	_, err := tx.Exec(`INSERT INTO orders (id, partner, name, batch, digest, profile, quantity, transport, state, reason, good, retired, kek, changed)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, $11, $12)`,
		o.ID, o.Partner, o.Name, o.Batch, o.Digest, o.Profile, o.Quantity, o.Transport, string(o.State), o.Reason, o.KEK, now)
	if err != nil {
		return err
	}
	return step(tx, o.ID, o.State, now)
}

// Move takes an order from one state to another, in the transaction that does
// what the new state says. ErrState if it is elsewhere.
func Move(tx *store.Tx, id string, from, to State) error {
	if err := allowed(id, from, to); err != nil {
		return err
	}
	now := tx.Time().Format(time.RFC3339Nano)
	res, err := tx.Exec(`UPDATE orders SET state = $1, changed = $2 WHERE id = $3 AND state = $4`, string(to), now, id, string(from))
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		var is string
		if tx.QueryRow(`SELECT state FROM orders WHERE id = $1`, id).Scan(&is) != nil {
			return fmt.Errorf("order %s: %w", id, ErrNoOrder)
		}
		return fmt.Errorf("order %s: %w: it is %s, want %s", id, ErrState, is, from)
	}
	return step(tx, id, to, now)
}

func allowed(id string, from, to State) error {
	if slices.Contains(next[from], to) {
		return nil
	}
	return fmt.Errorf("order %s: %w: nothing goes from %q to %q", id, ErrState, from, to)
}

func step(tx *store.Tx, id string, s State, at string) error {
	_, err := tx.Exec(`INSERT INTO order_step (ord, state, at) VALUES ($1, $2, $3)`, id, string(s), at)
	return err
}

// SetReason records why an order was refused.
func SetReason(tx *store.Tx, id, reason string) error {
	_, err := tx.Exec(`UPDATE orders SET reason = $1 WHERE id = $2`, reason, id)
	return err
}

// SetCounts records what became of an order's cards. They must add up.
func SetCounts(tx *store.Tx, id string, good, retired int) error {
	res, err := tx.Exec(`UPDATE orders SET good = $1, retired = $2 WHERE id = $3 AND quantity = $4`, good, retired, id, good+retired)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("order %s: %d good and %d retired are not its quantity", id, good, retired)
	}
	return nil
}

const columns = `id, partner, name, batch, digest, profile, quantity, transport, state, reason, good, retired, kek, changed`

// Get is one order; ErrNoOrder if there is none.
func Get(ctx context.Context, s *store.Store, id string) (Order, error) {
	o, err := scan(s.QueryRow(ctx, `SELECT `+columns+` FROM orders WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return o, fmt.Errorf("order %q: %w", id, ErrNoOrder)
	}
	return o, err
}

// ByBatch is an order by its operator's batch number; ErrNoOrder if there is none.
func ByBatch(ctx context.Context, s *store.Store, partner, batch string) (Order, error) {
	o, err := scan(s.QueryRow(ctx, `SELECT `+columns+` FROM orders WHERE partner = $1 AND batch = $2 AND state <> 'refused'`, partner, batch))
	if errors.Is(err, sql.ErrNoRows) {
		return o, fmt.Errorf("batch %q of %s: %w", batch, partner, ErrNoOrder)
	}
	return o, err
}

// List is all orders; the one that changed last stands last.
func List(ctx context.Context, s *store.Store) ([]Order, error) {
	return list(ctx, s, `SELECT `+columns+` FROM orders ORDER BY changed, id`)
}

// Active is the orders that are not at their end, as List has them.
func Active(ctx context.Context, s *store.Store) ([]Order, error) {
	return list(ctx, s, `SELECT `+columns+` FROM orders WHERE state NOT IN ('refused', 'withdrawn', 'closed', 'certified') ORDER BY changed, id`)
}

func list(ctx context.Context, s *store.Store, query string) ([]Order, error) {
	return store.Collect(s.Committed(ctx), func(rows *sql.Rows) (Order, error) { return scan(rows) }, query)
}

func scan(row interface{ Scan(...any) error }) (Order, error) {
	var o Order
	var state, changed string
	err := row.Scan(&o.ID, &o.Partner, &o.Name, &o.Batch, &o.Digest, &o.Profile, &o.Quantity, &o.Transport, &state, &o.Reason, &o.Good, &o.Retired, &o.KEK, &changed)
	if err != nil {
		return o, err
	}
	o.State = State(state)
	o.Changed, err = time.Parse(time.RFC3339Nano, changed)
	return o, err
}

// A Step is when an order came into a state.
type Step struct {
	State State     `json:"state"`
	At    time.Time `json:"at"`
}

// Steps is the life of an order so far, oldest first.
func Steps(ctx context.Context, s *store.Store, id string) ([]Step, error) {
	return store.Collect(s.Committed(ctx), func(rows *sql.Rows) (step Step, err error) {
		var at string
		if err = rows.Scan(&step.State, &at); err == nil {
			step.At, err = time.Parse(time.RFC3339Nano, at)
		}
		return step, err
	}, `SELECT state, at FROM order_step WHERE ord = $1 ORDER BY at`, id)
}

// PutPaper keeps a document about an order: a receipt, a report, a proof. It
// holds no key.
func PutPaper(tx *store.Tx, ord, kind string, document []byte) error {
	_, err := tx.Exec(`INSERT INTO order_paper (ord, kind, document) VALUES ($1, $2, $3)`, ord, kind, document)
	return err
}

// SetPaper keeps a document about an order in the place of the one that is
// there, if there is one.
func SetPaper(tx *store.Tx, ord, kind string, document []byte) error {
	_, err := tx.Exec(`INSERT INTO order_paper (ord, kind, document) VALUES ($1, $2, $3)
		ON CONFLICT (ord, kind) DO UPDATE SET document = excluded.document`, ord, kind, document)
	return err
}

// Paper is a document about an order; ErrNoOrder if it is not there.
func Paper(ctx context.Context, s *store.Store, ord, kind string) ([]byte, error) {
	return ReadPaper(s.Committed(ctx), ord, kind)
}

// ReadPaper is Paper as q sees it.
func ReadPaper(q store.Querier, ord, kind string) ([]byte, error) {
	var doc []byte
	err := q.QueryRow(`SELECT document FROM order_paper WHERE ord = $1 AND kind = $2`, ord, kind).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("order %s: %s: %w", ord, kind, ErrNoOrder)
	}
	return doc, err
}

// A Remake is an identity whose card carries other keys than were drawn for it
// first: key set KeySet, or none at all if it is negative.
type Remake struct{ Card, KeySet int }

// PutRemakes records the remakes of an order.
func PutRemakes(tx *store.Tx, ord string, all []Remake) error {
	for _, r := range all {
		if _, err := tx.Exec(`INSERT INTO order_remake (ord, card, keyset) VALUES ($1, $2, $3)`, ord, r.Card, r.KeySet); err != nil {
			return err
		}
	}
	return nil
}

// Remakes is the remakes of an order by card.
func Remakes(ctx context.Context, s *store.Store, ord string) (map[int]int, error) {
	rows, err := s.Query(ctx, `SELECT card, keyset FROM order_remake WHERE ord = $1`, ord)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[int]int{}
	for rows.Next() {
		var r Remake
		if err := rows.Scan(&r.Card, &r.KeySet); err != nil {
			return nil, err
		}
		all[r.Card] = r.KeySet
	}
	return all, rows.Err()
}
