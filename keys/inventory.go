package keys

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Owes says what a custodian owes by way of inventory, "" if nothing: whoever
// holds parts of keys counts them every quarter before a member of the security
// department (SOP 6.3.2.q).
func (r *Register) Owes(ctx context.Context, person string) (string, error) {
	policy, err := r.people.Policy(ctx)
	if err != nil || policy.Periods.Inventory == 0 {
		return "", err
	}
	var since string
	err = r.store.QueryRow(ctx, `SELECT min(since) FROM key_copy WHERE holder = $1 AND kind IN ('component', 'share') AND gone = '' HAVING count(*) > 0`, person).Scan(&since)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	from, err := time.Parse(time.RFC3339, since)
	if err != nil {
		return "", err
	}
	var last string
	if err := r.store.QueryRow(ctx, `SELECT coalesce(max(at), '') FROM inventory WHERE person = $1`, person).Scan(&last); err != nil {
		return "", err
	}
	if last != "" {
		if from, err = time.Parse(time.RFC3339, last); err != nil {
			return "", err
		}
	}
	due := from.AddDate(0, 0, policy.Periods.Inventory)
	if r.store.Now().Before(due) {
		return "", nil
	}
	return fmt.Sprintf("it was due %s", due.Format(time.DateOnly)), nil
}
