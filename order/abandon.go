package order

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"ankan/store"
)

// An Abandonment is why an order was given up before its cards were delivered.
type Abandonment struct {
	Act string    `json:"act"` // SHA-256 of the act that was signed, hex
	Why string    `json:"why"`
	Was State     `json:"was"` // the state that it was in; "" if it was not here
	At  time.Time `json:"at"`
}

// Abandon records that an order was given up, in the change that does so. If it was
// stopped, it goes on to its end by this.
func Abandon(tx *store.Tx, ord string, a Abandonment) error {
	if _, err := tx.Exec(`DELETE FROM order_stopped WHERE ord = $1`, ord); err != nil {
		return err
	}
	_, err := tx.Exec(`INSERT INTO order_abandoned (ord, act, why, was, at) VALUES ($1, $2, $3, $4, $5)`, ord, a.Act, a.Why, string(a.Was), tx.Time().Format(time.RFC3339Nano))
	return err
}

// WhyAbandoned is why an order was given up; nil if it was not.
func WhyAbandoned(q store.Querier, ord string) (*Abandonment, error) {
	var a Abandonment
	var was, at string
	err := q.QueryRow(`SELECT act, why, was, at FROM order_abandoned WHERE ord = $1`, ord).Scan(&a.Act, &a.Why, &was, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		a.At, err = time.Parse(time.RFC3339Nano, at)
	}
	a.Was = State(was)
	return &a, err
}

// In refuses with ErrState an order that is not in a state, in a change that
// must not be committed else.
func In(q store.Querier, id string, state State) error {
	var is string
	err := q.QueryRow(`SELECT state FROM orders WHERE id = $1`, id).Scan(&is)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("order %s: %w", id, ErrNoOrder)
	case err == nil && State(is) != state:
		return fmt.Errorf("order %s: %w: it is %s, want %s", id, ErrState, is, state)
	}
	return err
}
