package access

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"ankan/act"
	"ankan/store"
)

// Breaking the glass lets one person see, for a short time, what their roles do
// not show. It gives nobody another signature: what takes two takes two.
// Everybody is told, everybody sees that it is open, and it cannot be broken
// again before two people have reviewed the last time.

// A Glass is one time that the glass was broken.
type Glass struct {
	ID       string    `json:"id"` // the act
	Person   string    `json:"person"`
	Reason   string    `json:"reason"`
	Opened   time.Time `json:"opened"`
	Until    time.Time `json:"until"`
	Reviewed time.Time `json:"reviewed,omitzero"`
}

// Glasses are all times that the glass was broken, newest first.
func (d *Directory) Glasses(ctx context.Context) ([]Glass, error) {
	return store.Collect(d.store.Committed(ctx), func(rows *sql.Rows) (g Glass, err error) {
		var opened, until, reviewed string
		if err = rows.Scan(&g.ID, &g.Person, &g.Reason, &opened, &until, &reviewed); err == nil {
			g.Opened, err = time.Parse(time.RFC3339, opened)
		}
		if err == nil {
			g.Until, err = time.Parse(time.RFC3339, until)
		}
		if err == nil {
			g.Reviewed, err = store.ParseStamp(reviewed)
		}
		return g, err
	}, `SELECT id, person, reason, opened, until, reviewed FROM glass ORDER BY opened DESC`)
}

// OpenGlass is the glass that is broken now; nil if none is.
func (d *Directory) OpenGlass(ctx context.Context) (*Glass, error) {
	all, err := d.Glasses(ctx)
	if err != nil {
		return nil, err
	}
	now := d.store.Now()
	for _, g := range all {
		if now.Before(g.Until) && g.Reviewed.IsZero() {
			return &g, nil
		}
	}
	return nil, nil
}

// ProposeGlass is what the act about glass/REASON says.
func (d *Directory) ProposeGlass(ctx context.Context, subject string) (map[string]string, error) {
	reason, ok := strings.CutPrefix(subject, "glass/")
	if reason = strings.TrimSpace(reason); !ok || reason == "" || len(reason) > 500 {
		return nil, fmt.Errorf("subject %q is not glass/REASON, of up to 500 characters", short(subject))
	}
	all, err := d.Glasses(ctx)
	if err != nil {
		return nil, err
	}
	for _, g := range all {
		if g.Reviewed.IsZero() {
			return nil, fmt.Errorf("glass.break: %w: it was broken by person %s at %s and is not reviewed yet; review it first: glass.review of glass/%s",
				act.ErrNotAllowed, g.Person, g.Opened.Format(time.RFC3339), g.ID)
		}
	}
	policy, err := d.Policy(ctx)
	if err != nil {
		return nil, err
	}
	return map[string]string{"reason": reason, "seconds": fmt.Sprint(policy.Limits.BreakGlass), "effect": "the requester sees everything that can be read; no signature of anybody is replaced"}, nil
}

// Break records that the glass is broken, under its act.
func (d *Directory) Break(tx *store.Tx, a act.Act, until time.Time) error {
	_, err := tx.Exec(`INSERT INTO glass (id, person, reason, opened, until) VALUES ($1, $2, $3, $4, $5)`,
		a.ID, a.Requester, a.Params["reason"], tx.Time().UTC().Format(time.RFC3339), until.UTC().Format(time.RFC3339))
	return err
}

// ProposeReview is what the act about glass/ID says. Who broke it does not
// review it.
func (d *Directory) ProposeReview(ctx context.Context, subject string) (map[string]string, error) {
	all, err := d.Glasses(ctx)
	if err != nil {
		return nil, err
	}
	for _, g := range all {
		if "glass/"+g.ID == subject && g.Reviewed.IsZero() {
			return map[string]string{act.ParamEditors: g.Person, "person": g.Person, "reason": g.Reason, "opened": g.Opened.Format(time.RFC3339), "until": g.Until.Format(time.RFC3339)}, nil
		}
	}
	return nil, fmt.Errorf("%s: no such broken glass waits for a review", short(subject))
}

// Reviewed records that two people looked at what was done; the glass is
// closed if it was open.
func (d *Directory) Reviewed(tx *store.Tx, id string) error {
	res, err := tx.Exec(`UPDATE glass SET reviewed = $1 WHERE id = $2 AND reviewed = ''`, tx.Time().UTC().Format(time.RFC3339), id)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(fmt.Errorf("glass %s: no such one waits for a review", id), err)
	}
	return nil
}
