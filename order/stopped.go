package order

import (
	"database/sql"
	"errors"
	"fmt"

	"ankan/store"
)

// ErrStopped is wrapped where an order does not go on.
var ErrStopped = errors.New("it was stopped")

// Stop has an order go no further here, for ever: what was done for it is not
// known any more, and must not be done twice. It may be called again.
func Stop(tx *store.Tx, ord, act, why string) error {
	_, err := tx.Exec(`INSERT INTO order_stopped (ord, act, why) VALUES ($1, $2, $3) ON CONFLICT (ord) DO NOTHING`, ord, act, why)
	return err
}

// Stopped is why an order does not go on, an error that wraps ErrStopped; nil if
// it does.
func Stopped(q store.Querier, ord string) error {
	var act, why string
	err := q.QueryRow(`SELECT act, why FROM order_stopped WHERE ord = $1`, ord).Scan(&act, &why)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("order %s: %w by act %s: %s", ord, ErrStopped, act, why)
}
