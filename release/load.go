package release

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"ankan/audit"
	"ankan/simos"
	"ankan/store"
)

// A Load is an operating system that is to be loaded into the chips of a batch.
type Load struct {
	Order    string    `json:"order"`
	Operator string    `json:"operator"`
	OS       string    `json:"os"` // name of the release
	Profile  [32]byte  `json:"-"`  // digest
	Image    []byte    `json:"-"`  // as it is loaded
	Chip     string    `json:"-"`  // as the lot names it
	SHA256   string    `json:"image_sha256"`
	At       time.Time `json:"at,omitzero"` // of the first card
}

// Offered writes down whose batch was offered, in the change that takes the
// offer.
func Offered(tx *store.Tx, order, operator string) error {
	_, err := tx.Exec(`INSERT INTO release_load (ord, operator) VALUES ($1, $2)`, order, operator)
	return err
}

// OperatorOf is whose batch it is; an error if it was never offered.
func OperatorOf(ctx context.Context, s *store.Store, order string) (operator string, err error) {
	if err := s.QueryRow(ctx, `SELECT operator FROM release_load WHERE ord = $1`, order).Scan(&operator); err != nil {
		return "", fmt.Errorf("order %s: whose it is, is not known here: %w", order, err)
	}
	return operator, nil
}

// Expect refuses an operator's batch for an operating system that is approved
// for none of the operator's profiles.
func Expect(ctx context.Context, s *store.Store, country, operator, os string) error {
	if err := indian(country, "loaded (SOP 5.ii)"); err != nil {
		return err
	}
	all, err := integrations(s.Committed(ctx), `release = $1 AND operator = $2`, os, operator)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(i Integration) bool { return i.State == Approved }) {
		return fmt.Errorf("operating system %q: %w: no profile of %s has it approved; see: ankan release list", os, ErrNotApproved, operator)
	}
	return nil
}

// Check refuses an image or chip that is not approved for the operator of the
// batch and its profile, and writes down what the batch is loaded with. It is
// asked before the first card, and whenever the line begins again.
func Check(ctx context.Context, s *store.Store, country string, l Load) error {
	if err := indian(country, "loaded (SOP 5.ii)"); err != nil {
		return err
	}
	var i Integration
	var sum string
	err := s.View(ctx, func(tx *store.ReadTx) (err error) {
		if l.Operator, err = operatorOf(tx, l.Order); err != nil {
			return err
		}
		i, sum, err = l.check(tx)
		return err
	})
	if err != nil {
		return err
	}
	var had string
	if err := s.Committed(ctx).QueryRow(`SELECT image FROM release_load WHERE ord = $1 AND integration = $2`, l.Order, i.Number).Scan(&had); err == nil && had == sum {
		return nil
	} else if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	e := audit.Entry{Kind: "release.loaded", Actor: "system:site", Subject: "order/" + l.Order,
		Data: map[string]any{"release": l.OS, "integration": i.Number, "image_sha256": sum, "operator": l.Operator, "profile_sha256": i.SHA256, "chip": l.Chip, "approved_by": i.Act}}
	return s.Change(ctx, e, func(tx *store.Tx) error {
		// It may have been withdrawn a moment ago.
		if _, _, err := l.check(tx); err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE release_load SET integration = $1, image = $2, at = $3 WHERE ord = $4`, i.Number, sum, store.Stamp(tx.Time()), l.Order); err != nil {
			return err
		}
		return happened(tx, i, e.Actor, e.Kind, "order "+l.Order)
	})
}

func operatorOf(q store.Querier, order string) (operator string, err error) {
	err = q.QueryRow(`SELECT operator FROM release_load WHERE ord = $1`, order).Scan(&operator)
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("order %s: %w: it is not known whose it is; it was offered before there was a register of releases", order, ErrNotApproved)
	}
	return operator, err
}

// check finds the approval that covers the load.
func (l Load) check(q store.Querier) (i Integration, sum string, err error) {
	fail := func(format string, args ...any) (Integration, string, error) {
		return i, "", fmt.Errorf("order %s: operating system %q: %w: "+format, append([]any{l.Order, l.OS, ErrNotApproved}, args...)...)
	}
	r, err := releaseOf(q, l.OS)
	if errors.Is(err, ErrNone) {
		return fail("it is not in the register; see: ankan release draft")
	}
	if err != nil {
		return i, "", err
	}
	image, err := simos.OpenImage(l.Image, r.OSMaker)
	if err != nil {
		return fail("%v", err)
	}
	digest, err := image.Digest()
	if err != nil {
		return fail("%v", err)
	}
	if sum = fmt.Sprintf("%x", digest); sum != r.SHA256 {
		return fail("the chips would get image %.16s…, registered is %.16s…", sum, r.SHA256)
	}
	if !slices.Contains(r.Chips, l.Chip) {
		return fail("it is for %q, the chip is %q", r.Chips, l.Chip)
	}
	wanted := fmt.Sprintf("%x", l.Profile)
	all, err := integrations(q, `release = $1 AND operator = $2 AND profile_sha256 = $3`, l.OS, l.Operator, wanted)
	if err != nil {
		return i, "", err
	}
	for _, i = range slices.Backward(all) {
		if i.State == Approved {
			return i, sum, nil
		}
	}
	if len(all) > 0 {
		return fail("with profile %s of %s it is %s; see: ankan release show", i.Profile, l.Operator, all[len(all)-1].State)
	}
	return fail("it was not integrated with profile %.16s… of %s; see: ankan release integrate", wanted, l.Operator)
}

func loads(q store.Querier, number int) ([]Load, error) {
	return store.Collect(q, func(rows *sql.Rows) (l Load, err error) {
		var at string
		if err = rows.Scan(&l.Order, &l.Operator, &l.SHA256, &at); err == nil {
			l.At, err = store.ParseStamp(at)
		}
		return l, err
	}, `SELECT ord, operator, image, at FROM release_load WHERE integration = $1 ORDER BY at, ord`, number)
}
