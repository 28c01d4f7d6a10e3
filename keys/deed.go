package keys

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/store"
)

// A view is the register and the people, as a change sees them or as they are
// committed.
type view struct {
	store.Querier
	people access.View
}

// look gives f one view of what is committed.
func look[T any](ctx context.Context, r *Register, f func(q view) (T, error)) (v T, err error) {
	err = r.store.View(ctx, func(tx *store.ReadTx) error {
		v, err = f(view{tx, r.people.At(tx)})
		return err
	})
	return v, err
}

// stamps reads several of what store.Stamp wrote, in their order.
func stamps(texts []string, to ...*time.Time) (err error) {
	for i, text := range texts {
		if *to[i], err = store.ParseStamp(text); err != nil {
			return err
		}
	}
	return nil
}

// putDraft keeps what an act is to say, until the act is done.
func (r *Register) putDraft(ctx context.Context, kind, subject, editor string, v any) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	data, err := audit.DataOf(v)
	if err != nil {
		return err
	}
	return r.store.Change(ctx, audit.Entry{Kind: kind, Actor: "person/" + editor, Subject: subject, Data: data}, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO key_draft (subject, document, editor) VALUES ($1, $2, $3)
			ON CONFLICT (subject) DO UPDATE SET document = excluded.document, editor = excluded.editor`, subject, doc, editor)
		return err
	})
}

// getDraft reads it back, and who wrote it.
func getDraft(q store.Querier, subject string, v any) (editor string, err error) {
	var doc []byte
	err = q.QueryRow(`SELECT document, editor FROM key_draft WHERE subject = $1`, subject).Scan(&doc, &editor)
	if errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("%s: %w: nothing was written down for it yet", subject, act.ErrNotAllowed)
	}
	if err != nil {
		return "", err
	}
	return editor, audit.Strict(doc, v)
}

func dropDraft(tx *store.Tx, subject string) error {
	_, err := tx.Exec(`DELETE FROM key_draft WHERE subject = $1`, subject)
	return err
}

// A checking says what an act about a subject would do, and its parameters. It
// is asked when the act is proposed, and again in the change that does it.
type checking[T any] func(ctx context.Context, q view, subject string) (T, map[string]string, error)

// deed is an act that is checked, and then written in the change that spends
// its warrant. What was signed must be what is so then.
func deed[T any](r *Register, check checking[T], write func(context.Context, *store.Tx, custody.Warrant, T) error) custody.Deed {
	return custody.Deed{
		Propose: func(ctx context.Context, subject string) (map[string]string, error) {
			return look(ctx, r, func(q view) (map[string]string, error) {
				_, m, err := check(ctx, q, subject)
				return m, err
			})
		},
		Do: func(ctx context.Context, w custody.Warrant) error {
			a := w.Act()
			data := map[string]any{}
			for k, v := range a.Params {
				data[k] = v
			}
			return w.Use(ctx, a.Kind, a.Subject, data, func(tx *store.Tx) error {
				v, now, err := check(ctx, view{tx, access.In(tx)}, a.Subject)
				if err != nil {
					return err
				}
				if err := a.StillSays(now); err != nil {
					return err
				}
				return write(ctx, tx, w, v)
			})
		},
	}
}

// physicalDeeds are the acts about things and papers.
func (r *Register) physicalDeeds(reload func(context.Context) error) map[string]custody.Deed {
	receive := deed(r, r.checkReceive, r.doReceive)
	return map[string]custody.Deed{
		"item.register":     deed(r, r.checkItem, r.doItem),
		"item.retire":       deed(r, r.checkRetire, r.doRetire),
		"rack.open":         deed(r, r.checkRackOpen, r.doRackOpen),
		"rack.close":        deed(r, r.checkRackClose, r.doRackClose),
		"custody.inventory": deed(r, r.checkCount, r.doCount),
		"custody.transfer":  deed(r, r.checkTransfer, r.doTransfer),
		"form.issue":        deed(r, r.checkIssue, r.doIssue),
		"form.receive": {Propose: receive.Propose, Do: func(ctx context.Context, w custody.Warrant) error {
			if err := receive.Do(ctx, w); err != nil {
				return err
			}
			return reload(context.WithoutCancel(ctx)) // a tampered bag ends its key
		}},
		"form.close": deed(r, r.checkClose, r.doClose),
	}
}

// approver is who of those that hold a role approved an act.
func approver(ctx context.Context, tx *store.Tx, w custody.Warrant, role string) (string, error) {
	people, err := access.In(tx).Holders(ctx, role)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(people, func(p act.Person) bool { return w.ApprovedBy(p.ID) })
	if i < 0 {
		return "", fmt.Errorf("act %s: %w: no %s is among those who approved it", w.Act().ID, act.ErrNotAllowed, role)
	}
	return people[i].ID, nil
}
