// Package perso is the line: chips go in, each gets one identity and one key
// set over a secure channel, is read back and authenticated, and counts as
// good or as a reject. A chip stands outside the database: the intent is
// committed before the first write to it, the outcome after the last look at
// it, and what has an intent and no outcome is resolved by reading the chip.
package perso

import (
	"context"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"ankan/aka"
	"ankan/profile"
	"ankan/store"
)

//go:embed migrations
var migrations embed.FS

// Schema is the tables that this package owns.
func Schema() store.Schema { return store.Embedded("perso", migrations) }

// A Product is what a line accepts: chips of one lot, with one operating system.
type Product struct {
	Lot    string // as the chip maker names it
	LotKey string // name of the lot's transport key in the security module
	Image  []byte // operating system, as it is loaded; its digest is checked on each chip
	Digest [32]byte
	// Algorithms are those that the operating system computes, by their names in
	// profiles. A batch whose profile asks for another one is refused.
	Algorithms []aka.Algorithm
	Marks      Marks // of a fresh chip
}

// ErrAlgorithm is wrapped where a lot's operating system does not compute what a
// batch's profile asks for. No chip was taken.
var ErrAlgorithm = errors.New("wrong authentication algorithm")

// Computes refuses a profile that asks for an algorithm that the operating
// system does not have; the error wraps ErrAlgorithm.
func (p Product) Computes(of *profile.Profile) error {
	if wanted := of.Parameters().Algorithm; !slices.Contains(p.Algorithms, wanted) {
		return fmt.Errorf("%w: profile %s asks for %s, the operating system of lot %s has %v; want chips whose operating system has it", ErrAlgorithm, of.Name, wanted, p.Lot, p.Algorithms)
	}
	return nil
}

// A Reason says why a chip was rejected or set aside.
type Reason string

// The reasons.
const (
	NoAnswer    Reason = "no answer"             // the chip stopped answering
	TooLate     Reason = "late answer"           // the chip took longer than its station waits
	BadStatus   Reason = "status"                // the chip refused a command
	BadAnswer   Reason = "malformed answer"      // what the chip answered is no answer to the command
	WrongLot    Reason = "wrong lot"             // set aside: not of the lot that was ordered
	WrongATR    Reason = "wrong ATR"             // set aside: another chip than the lot's, by its answer to reset
	WrongSerial Reason = "serial not of the lot" // set aside: its serial number is in no range of the lot
	WrongOS     Reason = "wrong OS"              // another operating system than the product's
	Taken       Reason = "already personalised"  // set aside: it is somebody's card
	WrongKeys   Reason = "wrong transport keys"  // set aside: blank, and not the lot's keys
	OtherKeys   Reason = "unknown keys"          // neither the lot's keys nor the card's own
	ReadBack    Reason = "read back differs"     // what was written is not what is there
	AuthFailed  Reason = "authentication fails"  // the card does not answer as its keys say
	ChannelLost Reason = "secure channel lost"   // an answer was not the chip's
)

// A Reject is a chip that is not a good card, and why.
type Reject struct {
	Reason Reason
	Err    error // what was seen; never a key
}

func (r *Reject) Error() string { return fmt.Sprintf("%s: %v", r.Reason, r.Err) }

// Unwrap returns what was seen.
func (r *Reject) Unwrap() error { return r.Err }

// Counts is where the chips and identities of a run are. For chips,
// Taken = Good + Doubt + Reject + Destroyed + Lost + Aside; for identities,
// Cards = Good + Doubt + Reject + Waiting + Retired.
type Counts struct {
	Cards     int `json:"cards"`     // identities of the order
	Good      int `json:"good"`      // good cards
	Doubt     int `json:"doubt"`     // intent without outcome: being made, or to be resolved
	Reject    int `json:"reject"`    // rejects whose destruction is not recorded yet
	Destroyed int `json:"destroyed"` // rejects destroyed
	Aside     int `json:"aside"`     // chips set aside before they got an identity
	Remade    int `json:"remade"`    // good cards that carry a spare key set
	Retired   int `json:"retired"`   // identities that no card will carry, those of lost chips among them
	Waiting   int `json:"waiting"`   // identities without a chip

	Lost int `json:"lost,omitempty"` // chips that were declared lost, which may carry keys
}

// Chips counts the chips that a run took, in whatever view of the database: of
// Counts, what is about identities alone is not filled in.
func Chips(q store.Querier, ord string) (c Counts, err error) {
	err = q.QueryRow(`SELECT
		count(*) FILTER (WHERE state = 'good'), count(*) FILTER (WHERE state = 'doubt'), count(*) FILTER (WHERE state = 'reject'),
		count(*) FILTER (WHERE state = 'destroyed'), count(*) FILTER (WHERE state = 'lost'), count(*) FILTER (WHERE state = 'good' AND keyset <> card)
		FROM card WHERE ord = $1`, ord).Scan(&c.Good, &c.Doubt, &c.Reject, &c.Destroyed, &c.Lost, &c.Remade)
	if err == nil {
		err = q.QueryRow(`SELECT count(*) FROM set_aside WHERE ord = $1`, ord).Scan(&c.Aside)
	}
	return c, err
}

// Count counts a run's cards. It fails if they do not balance.
func Count(ctx context.Context, s *store.Store, ord string, cards int) (Counts, error) {
	var c Counts
	err := s.View(ctx, func(tx *store.ReadTx) (err error) {
		if c, err = Chips(tx, ord); err != nil {
			return err
		}
		return tx.QueryRow(`SELECT count(*) FROM retired WHERE ord = $1`, ord).Scan(&c.Retired)
	})
	c.Cards, c.Retired = cards, c.Retired+c.Lost
	if err != nil {
		return c, err
	}
	c.Waiting = cards - c.Good - c.Doubt - c.Reject - c.Retired
	if c.Waiting < 0 {
		return c, fmt.Errorf("order %s does not balance: %d identities, but %d good, %d in doubt, %d rejected and %d retired",
			ord, cards, c.Good, c.Doubt, c.Reject, c.Retired)
	}
	return c, nil
}

// A Run is a batch on the line.
type Run struct {
	Order    string    `json:"order"`
	Bureau   string    `json:"bureau"`
	State    string    `json:"state"` // offered, received, finished, reported, condemned or abandoned, destroying, emptied, closed
	OS       string    `json:"os"`
	Agree    string    `json:"agree"`
	KEK      string    `json:"kek"`
	Proof    []byte    `json:"-"`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
}

// ErrNoRun is wrapped where an order is not on this line.
var ErrNoRun = errors.New("no such batch here")

// Offer records that a bureau wants to send a batch, and the key to seal it to.
func Offer(tx *store.Tx, r Run) error {
	_, err := tx.Exec(`INSERT INTO run (ord, bureau, state, os, agree, kek, started, finished) VALUES ($1, $2, 'offered', '', $3, $4, '', '')`,
		r.Order, r.Bureau, r.Agree, r.KEK)
	return err
}

// MoveRun takes a run from one state to the next.
func MoveRun(tx *store.Tx, ord, from, to string) error {
	now := tx.Time().Format(time.RFC3339Nano)
	return one(tx, fmt.Sprintf("batch %s is not %s, or not here", ord, from),
		`UPDATE run SET state = $1,
			started = CASE $1 WHEN 'received' THEN $2 ELSE started END,
			finished = CASE $1 WHEN 'finished' THEN $2 ELSE finished END
		WHERE ord = $3 AND state = $4`, to, now, ord, from)
}

// SetOS records the operating system release that a run's cards take.
func SetOS(tx *store.Tx, ord, os string) error {
	return one(tx, "batch "+ord+" is not here", `UPDATE run SET os = $1 WHERE ord = $2`, os, ord)
}

// SetProof keeps the proof of a batch's destruction.
func SetProof(tx *store.Tx, ord string, proof []byte) error {
	return one(tx, "batch "+ord+" is not here", `UPDATE run SET proof = $1 WHERE ord = $2`, proof, ord)
}

// one runs an update that must change exactly one row.
func one(tx *store.Tx, otherwise, query string, args ...any) error {
	res, err := tx.Exec(query, args...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(errors.New(otherwise), err)
	}
	return nil
}

const runColumns = `ord, bureau, state, os, agree, kek, proof, started, finished`

// GetRun is one run; ErrNoRun if it is not here.
func GetRun(ctx context.Context, s *store.Store, ord string) (Run, error) {
	r, err := scanRun(s.QueryRow(ctx, `SELECT `+runColumns+` FROM run WHERE ord = $1`, ord))
	if errors.Is(err, sql.ErrNoRows) {
		return r, fmt.Errorf("order %s: %w", ord, ErrNoRun)
	}
	return r, err
}

// Runs is all runs, in the order of their names.
func Runs(ctx context.Context, s *store.Store) ([]Run, error) {
	return runs(ctx, s, `SELECT `+runColumns+` FROM run ORDER BY ord`)
}

// Active is the runs that are not closed.
func Active(ctx context.Context, s *store.Store) ([]Run, error) {
	return runs(ctx, s, `SELECT `+runColumns+` FROM run WHERE state <> 'closed' ORDER BY ord`)
}

func runs(ctx context.Context, s *store.Store, query string) ([]Run, error) {
	return store.Collect(s.Committed(ctx), func(rows *sql.Rows) (Run, error) { return scanRun(rows) }, query)
}

func scanRun(row interface{ Scan(...any) error }) (Run, error) {
	var r Run
	var started, finished string
	if err := row.Scan(&r.Order, &r.Bureau, &r.State, &r.OS, &r.Agree, &r.KEK, &r.Proof, &started, &finished); err != nil {
		return r, err
	}
	for _, at := range []struct {
		text string
		to   *time.Time
	}{{started, &r.Started}, {finished, &r.Finished}} {
		if at.text == "" {
			continue
		}
		var err error
		if *at.to, err = time.Parse(time.RFC3339Nano, at.text); err != nil {
			return r, err
		}
	}
	return r, nil
}

// ParseSerial reads a chip's serial number: 16 lower case hexadecimal digits.
func ParseSerial(s string) ([8]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 8 || hex.EncodeToString(b) != s {
		return [8]byte{}, fmt.Errorf("chip %q: want a serial number of 16 lower case hexadecimal digits", s)
	}
	return [8]byte(b), nil
}

// A Card is a good card of a run.
type Card struct {
	Card   int    `json:"card"`
	KeySet int    `json:"keyset"`
	Chip   string `json:"chip"`
}

// Samples is up to n good cards of a run: remade ones first, then the last.
func Samples(ctx context.Context, s *store.Store, ord string, n int) ([]Card, error) {
	return store.Collect(s.Committed(ctx), func(rows *sql.Rows) (c Card, err error) {
		err = rows.Scan(&c.Card, &c.KeySet, &c.Chip)
		return c, err
	}, `SELECT card, keyset, chip FROM card WHERE ord = $1 AND state = 'good' ORDER BY keyset DESC LIMIT $2`, ord, n)
}
