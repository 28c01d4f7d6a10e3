package keys

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"ankan/act"
	"ankan/custody"
	"ankan/hsm"
	"ankan/notice"
	"ankan/store"
	"ankan/waiver"
)

// A key of an algorithm that hsm.Algorithm.NeedsWaiver exists, and is used, under
// a waiver alone: an act by which people take what a contract says of it upon
// themselves, for a time and a reason. It names the key before there is one. The
// last one counts, and one that is over allows nothing.

// mostWaived is how far ahead a waiver ends at most: it is looked at again.
const mostWaived = 2 * 366 * 24 * time.Hour

// Agreed is what a contract says of a key's waiver: its number, and the waiver,
// which nobody here has signed.
type Agreed struct {
	Contract string
	Waiver   waiver.Waiver
}

// WaiverDeed is the act key.waive of key/ID. agreed is asked what the contract
// says of the key of this name; reload has the guard see the waiver.
func (r *Register) WaiverDeed(agreed func(id string) (Agreed, error), reload func(context.Context) error) custody.Deed {
	d := deed(r, func(ctx context.Context, q view, subject string) (waiving, map[string]string, error) {
		return r.checkWaive(q, subject, agreed)
	}, doWaive)
	return custody.Deed{Propose: d.Propose, Do: func(ctx context.Context, w custody.Warrant) error {
		if err := d.Do(ctx, w); err != nil {
			return err
		}
		return reload(context.WithoutCancel(ctx))
	}}
}

type waiving struct {
	id string
	Agreed
}

func (r *Register) checkWaive(q view, subject string, agreed func(id string) (Agreed, error)) (v waiving, m map[string]string, err error) {
	id, ok := strings.CutPrefix(subject, "key/")
	if err := hsm.CheckID(id); !ok || err != nil {
		return v, nil, fmt.Errorf("subject %.100q is not key/NAME, the name of a key: %w", subject, act.ErrNotAllowed)
	}
	v.id = id
	if v.Agreed, err = agreed(id); err != nil {
		return v, nil, err
	}
	w, now := v.Waiver, r.store.Now()
	fail := func(format string, args ...any) (waiving, map[string]string, error) {
		return v, nil, fmt.Errorf("waiver of key %s: %w: "+format, append([]any{id, act.ErrNotAllowed}, args...)...)
	}
	a := hsm.Algorithm(w.For)
	switch {
	case !a.NeedsWaiver():
		return fail("contract %s says that it is %q, which needs none", v.Contract, w.For)
	case w.Reason == "" || !now.Before(w.Until):
		return fail("contract %s gives the reason %q and ends it on %s; agree on a reason, and on a day to come", v.Contract, w.Reason, w.LastDay())
	case w.Until.Sub(now) > mostWaived:
		return fail("contract %s ends it on %s, more than two years from now; agree on an earlier day, and again then", v.Contract, w.LastDay())
	}
	had, err := waiverOf(q, id)
	if err != nil {
		return v, nil, err
	}
	if had.For == w.For && had.Reason == w.Reason && had.Until.Equal(w.Until) {
		return fail("people signed just this already: %s", had.Kind(w.For, now))
	}
	state, is := "not made yet", w.For
	err = q.QueryRow(`SELECT state, algorithm FROM key WHERE id = $1`, id).Scan(&state, &is)
	switch {
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return v, nil, err
	case state == string(Compromised) || state == string(Destroyed):
		return fail("it is %s", state)
	case is != w.For:
		return fail("it is %s, contract %s says %s", is, v.Contract, w.For)
	}
	return v, map[string]string{
		"contract": v.Contract, "algorithm": w.For, "strength": fmt.Sprintf("%d bits, the policy's least is 128", a.Strength()),
		"until": w.LastDay(), "reason": w.Reason, "state": state,
	}, nil
}

func doWaive(_ context.Context, tx *store.Tx, warrant custody.Warrant, v waiving) error {
	var signed []string
	for _, who := range warrant.Signers() {
		signed = append(signed, "person/"+who)
	}
	w := v.Waiver
	_, err := tx.Exec(`INSERT INTO key_waiver (entry, key, algorithm, signed, reason, until, contract, act) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		tx.Index(), v.id, w.For, strings.Join(signed, ", "), w.Reason, store.Stamp(w.Until), v.Contract, warrant.Act().ID)
	if err != nil {
		return err
	}
	return Happened(tx, v.id, "person/"+warrant.Act().Requester, "key.waive", fmt.Sprintf("%s until %s: %s", w.For, w.LastDay(), w.Reason))
}

// waivers reads the last waiver of each key.
func waivers(q store.Querier, where string, args ...any) (map[string]waiver.Waiver, error) {
	all := map[string]waiver.Waiver{}
	_, err := store.Collect(q, func(rows *sql.Rows) (n struct{}, err error) {
		var key, until string
		var w waiver.Waiver
		if err = rows.Scan(&key, &w.For, &w.Signed, &w.Reason, &until); err == nil {
			w.Until, err = store.ParseStamp(until)
			all[key] = w
		}
		return n, err
	}, `SELECT key, algorithm, signed, reason, until FROM key_waiver `+where+` ORDER BY entry`, args...)
	return all, err
}

func waiverOf(q store.Querier, id string) (waiver.Waiver, error) {
	all, err := waivers(q, `WHERE key = $1`, id)
	return all[id], err
}

// Waiver is what people signed last for a key of this name; the zero waiver if
// nobody did.
func (r *Register) Waiver(ctx context.Context, id string) (waiver.Waiver, error) {
	return look(ctx, r, func(q view) (waiver.Waiver, error) { return waiverOf(q, id) })
}

// Waived refuses a key of this name whose algorithm needs a waiver that is not
// in force; the error wraps waiver.ErrNone.
func (r *Register) Waived(ctx context.Context, id string, a hsm.Algorithm) error {
	if !a.NeedsWaiver() {
		return nil
	}
	w, err := r.Waiver(ctx, id)
	if err != nil {
		return err
	}
	return waived(id, a, w, r.store.Now())
}

func waived(id string, a hsm.Algorithm, w waiver.Waiver, now time.Time) error {
	if err := w.Allows(string(a), now); err != nil {
		return fmt.Errorf("key %s: %w; write a later end and the reason into the contract, and have it signed: ankan act request key.waive key/%s", id, err, id)
	}
	return nil
}

// remindWaivers tells of waivers that end soon, and of what ends with them.
func (r *Register) remindWaivers(ctx context.Context, now time.Time) error {
	all, _, err := r.Keys(ctx, Filter{})
	if err != nil {
		return err
	}
	for _, k := range all {
		w := k.Waiver
		if !hsm.Algorithm(k.Algorithm).NeedsWaiver() || k.State == Destroyed || k.State == Compromised || w.Until.IsZero() || now.Before(w.Until.AddDate(0, 0, -remindBefore)) {
			continue
		}
		n := notice.Notice{Kind: "key.waiver-ends", Subject: "key/" + k.ID, Link: "/keys/" + k.ID,
			Text: fmt.Sprintf("Key %s is %s. From then on it does nothing. Have the receiver take AES, or agree on a later end and sign key.waive.", k.ID, w.Kind(k.Algorithm, now))}
		if err := r.remind(ctx, n.Subject+" "+w.LastDay(), 0, n, nil, keyManager, officer, act.Nodal, act.Alternate); err != nil {
			return err
		}
	}
	return nil
}
