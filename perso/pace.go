package perso

import (
	"context"
	"database/sql"
	"time"

	"ankan/store"
)

// keepPace counts an outcome in the minute in which it is committed.
func (r *run) keepPace(tx *store.Tx, station string, good bool, took time.Duration) error {
	g, b := 1, 0
	if !good {
		g, b = 0, 1
	}
	_, err := tx.Exec(`INSERT INTO pace (ord, station, minute, good, reject, ms) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (ord, minute, station) DO UPDATE SET good = pace.good + excluded.good, reject = pace.reject + excluded.reject, ms = pace.ms + excluded.ms`,
		r.ord, station, tx.Time().Unix()/60, g, b, took.Milliseconds())
	return err
}

// A Pace is what was made in a time: by one station, or in an hour.
type Pace struct {
	Station string        `json:"station,omitempty"`
	From    time.Time     `json:"from"` // the first minute
	Last    time.Time     `json:"last"` // the last minute in which anything was made
	Good    int           `json:"good"`
	Reject  int           `json:"reject"`
	Each    time.Duration `json:"each"` // from a card's intent to its outcome, on average
}

const paceColumns = `min(minute), max(minute), sum(good), sum(reject), sum(ms)`

func scanPace(rows *sql.Rows, p *Pace, first ...any) error {
	var from, last, ms int64
	if err := rows.Scan(append(first, &from, &last, &p.Good, &p.Reject, &ms)...); err != nil {
		return err
	}
	p.From, p.Last = time.Unix(from*60, 0).UTC(), time.Unix(last*60, 0).UTC()
	if n := int64(p.Good + p.Reject); n > 0 {
		p.Each = time.Duration(ms/n) * time.Millisecond
	}
	return nil
}

// ByStation is what each station made for an order.
func ByStation(ctx context.Context, s *store.Store, ord string) ([]Pace, error) {
	return store.Collect(s.Committed(ctx), func(rows *sql.Rows) (p Pace, err error) {
		return p, scanPace(rows, &p, &p.Station)
	}, `SELECT station, since, until, good, reject, ms FROM pace_station WHERE ord = $1 ORDER BY station`, ord)
}

// ByHour is what was made for an order in each hour of the last day in which
// anything was made.
func ByHour(ctx context.Context, s *store.Store, ord string) ([]Pace, error) {
	return store.Collect(s.Committed(ctx), func(rows *sql.Rows) (p Pace, err error) {
		var hour int64
		err = scanPace(rows, &p, &hour)
		p.From = time.Unix(hour*3600, 0).UTC()
		return p, err
	}, `SELECT minute / 60, `+paceColumns+` FROM pace WHERE ord = $1
		AND minute >= (SELECT max(minute) FROM pace WHERE ord = $1) - 1439 GROUP BY minute / 60 ORDER BY minute / 60`, ord)
}

// Since is what was made for an order since a time, to the minute.
func Since(ctx context.Context, s *store.Store, ord string, from time.Time) (Pace, error) {
	all, err := store.Collect(s.Committed(ctx), func(rows *sql.Rows) (p Pace, err error) {
		return p, scanPace(rows, &p)
	}, `SELECT `+paceColumns+` FROM pace WHERE ord = $1 AND minute >= $2 GROUP BY ord`, ord, from.Unix()/60)
	if err != nil || len(all) == 0 {
		return Pace{}, err
	}
	return all[0], nil
}

// A Cause is a reason for rejects, and how many chips of an order it was.
type Cause struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
	Aside  bool   `json:"aside"` // set aside: it never had an identity
}

// Causes is why chips of an order are no good cards, the most frequent first.
func Causes(ctx context.Context, s *store.Store, ord string) ([]Cause, error) {
	return store.Collect(s.Committed(ctx), func(rows *sql.Rows) (c Cause, err error) {
		return c, rows.Scan(&c.Reason, &c.Count, &c.Aside)
	}, causes, ord)
}

// A Try is one chip under an identity of an order.
type Try struct {
	Card    int       `json:"card"`
	KeySet  int       `json:"keyset"`
	Chip    string    `json:"chip"`
	State   string    `json:"state"` // doubt, good, reject, destroyed
	Tries   int       `json:"tries"`
	Reason  string    `json:"reason,omitempty"`
	Station string    `json:"station"`
	At      time.Time `json:"at"`
}

const tryColumns = `card, keyset, chip, state, tries, reason, station, at`

func scanTry(rows *sql.Rows) (t Try, err error) {
	var at string
	if err = rows.Scan(&t.Card, &t.KeySet, &t.Chip, &t.State, &t.Tries, &t.Reason, &t.Station, &at); err != nil {
		return t, err
	}
	t.At, err = time.Parse(time.RFC3339Nano, at)
	return t, err
}

// Tries is the chips that one identity of an order had, in their order.
func Tries(ctx context.Context, s *store.Store, ord string, card int) ([]Try, error) {
	return store.Collect(s.Committed(ctx), scanTry, tries, ord, card)
}

// Listed is up to n chips of an order from an identity on, in one state or, with
// "", in all.
func Listed(ctx context.Context, s *store.Store, ord, state string, from, n int) ([]Try, error) {
	switch state {
	case "":
		return store.Collect(s.Committed(ctx), scanTry, listedAll, ord, from, n)
	case "good":
		return store.Collect(s.Committed(ctx), scanTry, listedGood, ord, from, n)
	}
	return store.Collect(s.Committed(ctx), scanTry, listedRest, ord, state, from, n)
}

// OfChip is where a chip is in the line's books; an empty order if it is not.
func OfChip(ctx context.Context, s *store.Store, chip string) (ord string, card int, err error) {
	err = s.QueryRow(ctx, `SELECT ord, card FROM card WHERE chip = $1`, chip).Scan(&ord, &card)
	if err == sql.ErrNoRows {
		return "", 0, nil
	}
	return ord, card, err
}

// A Presence is a station as the plant last knew it.
type Presence struct {
	Name    string    `json:"name"`
	Readers int       `json:"readers"`
	Version string    `json:"version"`
	Here    bool      `json:"here"`
	At      time.Time `json:"at"`
}

// PutPresence records that a station came or went.
func PutPresence(tx *store.Tx, p Presence) error {
	_, err := tx.Exec(`INSERT INTO station (name, readers, version, here, at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (name) DO UPDATE SET readers = excluded.readers, version = excluded.version, here = excluded.here, at = excluded.at`,
		p.Name, p.Readers, p.Version, p.Here, tx.Time().Format(time.RFC3339Nano))
	return err
}

// NobodyHere records that no station is here: the plant starts.
func NobodyHere(tx *store.Tx) error {
	_, err := tx.Exec(`UPDATE station SET here = 0, at = $1 WHERE here = 1`, tx.Time().Format(time.RFC3339Nano))
	return err
}

// Presences is all stations that ever came, by name.
func Presences(ctx context.Context, s *store.Store) ([]Presence, error) {
	return store.Collect(s.Committed(ctx), func(rows *sql.Rows) (p Presence, err error) {
		var at string
		if err = rows.Scan(&p.Name, &p.Readers, &p.Version, &p.Here, &at); err != nil {
			return p, err
		}
		p.At, err = time.Parse(time.RFC3339Nano, at)
		return p, err
	}, `SELECT name, readers, version, here, at FROM station ORDER BY name`)
}
