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
// Counts, what is about identities alone is not filled in, but for those that are
// retired. It reads totals that the database keeps with every row (Recount).
func Chips(q store.Querier, ord string) (c Counts, err error) {
	type total struct {
		what string
		n    int
	}
	all, err := store.Collect(q, func(rows *sql.Rows) (t total, err error) {
		return t, rows.Scan(&t.what, &t.n)
	}, `SELECT what, n FROM tally WHERE ord = $1`, ord)
	for _, t := range all { // one for each reason
		to, ok := map[string]*int{"good": &c.Good, "doubt": &c.Doubt, "reject": &c.Reject, "destroyed": &c.Destroyed, "lost": &c.Lost,
			"aside": &c.Aside, "remade": &c.Remade, "retired": &c.Retired}[t.what]
		if !ok {
			return c, fmt.Errorf("order %s: %d chips are %q, which no chip is", ord, t.n, t.what)
		}
		*to += t.n
	}
	return c, err
}

// Count counts a run's cards. It fails if they do not balance.
func Count(ctx context.Context, s *store.Store, ord string, cards int) (Counts, error) {
	c, err := Chips(s.Committed(ctx), ord)
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

// ErrTotals is wrapped where the line's totals cannot be what its rows come to.
var ErrTotals = errors.New("the line's totals are not its cards")

// Recount adds all runs up anew, row by row, and says of each total by how much it
// is not what its rows come to: somebody wrote to the database beside the site.
// It takes as long as the line's books are, and a sum for each thousand cards: a
// database that groups ten million rows sorts them in memory.
func Recount(q store.Querier) (wrong []string, err error) {
	type total struct{ ord, what, reason string }
	type block struct {
		ord string
		n   int64
	}
	totals, blocks := map[total]int64{}, map[block]int64{}
	each := func(query string, add func(ord, what, reason string, a, b int64)) {
		if err != nil {
			return
		}
		_, err = store.Collect(q, func(rows *sql.Rows) (struct{}, error) {
			var ord, what, reason string
			var a, b int64
			err := rows.Scan(&ord, &what, &reason, &a, &b)
			add(ord, what, reason, a, b)
			return struct{}{}, err
		}, query)
	}
	each(`SELECT ord, what, reason, n, 0 FROM tally`, func(ord, what, reason string, n, _ int64) { totals[total{ord, what, reason}] += n })
	each(`SELECT ord, '', '', block, n FROM made`, func(ord, _, _ string, b, n int64) { blocks[block{ord, b}] += n })
	each(`SELECT ord, state, reason, card, keyset FROM card`, func(ord, state, reason string, card, keyset int64) {
		totals[total{ord, state, reason}]--
		if state == "good" && keyset != card {
			totals[total{ord, "remade", ""}]--
		}
		if state != "destroyed" {
			blocks[block{ord, card / 1000}]--
		}
	})
	each(`SELECT ord, '', reason, 0, 0 FROM set_aside`, func(ord, _, reason string, _, _ int64) { totals[total{ord, "aside", reason}]-- })
	each(`SELECT ord, '', '', card, 0 FROM retired`, func(ord, _, _ string, card, _ int64) {
		totals[total{ord, "retired", ""}]--
		blocks[block{ord, card / 1000}]--
	})
	for t, n := range totals {
		if n != 0 {
			wrong = append(wrong, fmt.Sprintf("order %s: the total of %s %s is %d more than its rows", t.ord, t.what, t.reason, n))
		}
	}
	for b, n := range blocks {
		if n != 0 {
			wrong = append(wrong, fmt.Sprintf("order %s: the total of block %d is %d more than its rows", b.ord, b.n, n))
		}
	}
	slices.Sort(wrong)
	return wrong, err
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
	}, samples, ord, n)
}

// The line's questions. Each finds what it asks for by an index, so that its cost
// is that of what it gives, whatever the batch's size: of ten million good cards
// only those that are named are read. SQLite takes an index of some rows only
// where the question has the same condition in the same words.
const (
	samples  = `SELECT card, keyset, chip FROM card WHERE ord = $1 AND state = 'good' ORDER BY keyset DESC LIMIT $2`
	byChip   = `SELECT ord, state, card, keyset, station FROM card WHERE chip = $1`
	doubtful = `SELECT card, keyset, chip, station, at FROM card WHERE ord = $1 AND state <> 'good' AND state = 'doubt' ORDER BY card`
	rejects  = `SELECT card, chip, reason FROM card WHERE ord = $1 AND state <> 'good' AND state = 'reject' ORDER BY card`
	remade   = `SELECT card, keyset FROM card WHERE ord = $1 AND keyset >= $2 AND state = 'good' AND keyset <> card
		UNION ALL SELECT card, -1 FROM card WHERE ord = $1 AND state <> 'good' AND state = 'lost'
		UNION ALL SELECT card, -1 FROM retired WHERE ord = $1 ORDER BY card`

	// Where a run stands.
	firstLive  = `SELECT card FROM card WHERE ord = $1 AND state <> 'destroyed' ORDER BY card LIMIT 1`
	lastLive   = `SELECT card FROM card WHERE ord = $1 AND state <> 'destroyed' ORDER BY card DESC LIMIT 1`
	lastKeySet = `SELECT coalesce(max(keyset), -1) FROM card WHERE ord = $1`
	destroyed  = `SELECT card FROM card WHERE ord = $1 AND state <> 'good' AND state = 'destroyed' ORDER BY card`
	blocks     = `SELECT block, n FROM made WHERE ord = $1`
	inBlock    = `SELECT card FROM card WHERE ord = $1 AND state <> 'destroyed' AND card >= $2 AND card < $3
		UNION ALL SELECT card FROM retired WHERE ord = $1 AND card >= $2 AND card < $3`

	// What pages list.
	tries = `SELECT ` + tryColumns + ` FROM card WHERE ord = $1 AND card = $2 AND state <> 'destroyed'
		UNION ALL SELECT ` + tryColumns + ` FROM card WHERE ord = $1 AND card = $2 AND state <> 'good' AND state = 'destroyed' ORDER BY at`
	listedGood = `SELECT ` + tryColumns + ` FROM card WHERE ord = $1 AND state <> 'destroyed' AND state = 'good' AND card >= $2 ORDER BY card LIMIT $3`
	listedRest = `SELECT ` + tryColumns + ` FROM card WHERE ord = $1 AND state <> 'good' AND state = $2 AND card >= $3 ORDER BY card, at LIMIT $4`
	listedAll  = `SELECT * FROM (SELECT ` + tryColumns + ` FROM card WHERE ord = $1 AND state <> 'destroyed' AND card >= $2 ORDER BY card LIMIT $3) AS live
		UNION ALL SELECT * FROM (SELECT ` + tryColumns + ` FROM card WHERE ord = $1 AND state <> 'good' AND state = 'destroyed' AND card >= $2 ORDER BY card LIMIT $3) AS gone
		ORDER BY card, at LIMIT $3`
	causes = `SELECT reason, sum(n) AS n, CASE what WHEN 'aside' THEN 1 ELSE 0 END AS aside FROM tally WHERE ord = $1 AND what IN ('reject', 'destroyed', 'lost', 'aside') AND n > 0
		GROUP BY reason, aside ORDER BY n DESC, reason`
)
