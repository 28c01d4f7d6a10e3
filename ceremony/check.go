package ceremony

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"ankan/act"
	"ankan/hsm"
	"ankan/keys"
)

// Check says what is wrong with a plan at this site and now, a line each; none
// if it can be opened. A plan is checked when it is written, when it is asked
// for, and again before it begins.
func (r *Runner) Check(ctx context.Context, p Plan) ([]string, error) {
	f := &findings{}
	if r.Country != "IN" {
		f.add("the site is in %q: keys live in IN only (SOP 6.4.e)", r.Country)
	}
	if err := r.checkPeople(ctx, p, f); err != nil {
		return nil, err
	}
	if err := r.checkKey(ctx, p, f); err != nil {
		return nil, err
	}
	return f.list, r.checkKind(ctx, p, f)
}

type findings struct{ list []string }

func (f *findings) add(format string, args ...any) {
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

func (r *Runner) checkPeople(ctx context.Context, p Plan, f *findings) error {
	var custodians []act.Person
	for _, role := range slices.Sorted(maps.Keys(p.everyone())) {
		id := p.everyone()[role]
		if err := r.fit(ctx, p, id); err != nil {
			f.add("%s: %v", role, err)
			continue
		}
		who, err := r.People.Person(ctx, id)
		if err != nil {
			return err
		}
		if slices.Equal(p.roleOf(id), []string{custodian}) {
			custodians = append(custodians, who)
			due, err := r.Overdue(ctx, id)
			if err != nil {
				return err
			}
			if due != "" {
				f.add("%s: person %s owes an inventory: %s (SOP 6.3.2.q)", role, id, due)
			}
			if r.needsSeal(p) && who.Credential.Seal == nil {
				f.add("%s: the passkey of person %s cannot open what is sealed; enrol one with the PRF extension", role, id)
			}
		}
		if id == p.People[witness] && who.Has(officer, keyManager, custodian) {
			f.add("witness: person %s is security officer, key manager or custodian (SOP 6.4.e.viii)", id)
		}
		if id != p.People[keyManager] && who.Has(custodian) && who.ReportsTo == p.People[keyManager] && p.Kind == ImportComponents {
			continue // custodians may report to the key manager; not to one another
		}
	}
	for i, a := range custodians {
		for _, b := range custodians[:i] {
			if a.Related(b) {
				f.add("custodians %s and %s report to one another (SOP 6.4.b)", b.ID, a.ID)
			}
		}
	}
	return nil
}

// needsSeal says whether something is sealed to custodians in this ceremony.
func (r *Runner) needsSeal(p Plan) bool {
	return p.Kind == ExportComponents || p.Kind == Restore || p.Backup != nil
}

func (r *Runner) checkKey(ctx context.Context, p Plan, f *findings) error {
	k, err := r.Register.Key(ctx, p.Key.Name)
	there := err == nil
	if err != nil && !errors.Is(err, keys.ErrNoKey) {
		return err
	}
	switch p.Kind {
	case Generate, Rotate, ImportComponents, ImportWrapped:
		if there {
			f.add("key %s is %s: names are used once, for ever; a destroyed key does not come back", k.ID, k.State)
		}
		if err := r.Register.Allowed(ctx, p.Key.Purpose, p.Key.Algorithm); err != nil {
			f.add("%v", err)
		}
	case Restore:
		if !there {
			f.add("key %s is not in the register: nothing says what its shares are of", p.Key.Name)
		} else if !p.Rehearsal && k.State != keys.Destroyed {
			f.add("key %s is %s: it is restored for a rehearsal, or into a module that lost it", k.ID, k.State)
		}
	default:
		if !there {
			f.add("key %s is not in the register", p.Key.Name)
			return nil
		}
		if p.Kind != Destroy && k.State != keys.Live {
			f.add("key %s is %s, and leaves only while it is active", k.ID, k.State)
		}
		if p.Kind == Destroy && k.State == keys.Destroyed {
			f.add("key %s is destroyed already", k.ID)
		}
	}
	if there && (k.Purpose != string(p.Key.Purpose) || k.Algorithm != string(p.Key.Algorithm)) {
		f.add("key %s is %s of %s, the plan says %s of %s", k.ID, k.Purpose, k.Algorithm, p.Key.Purpose, p.Key.Algorithm)
	}
	return nil
}

func (r *Runner) checkKind(ctx context.Context, p Plan, f *findings) error {
	switch p.Kind {
	case ExportComponents, ExportWrapped:
		if !p.Key.Purpose.Exports() {
			f.add("a key for %q leaves the module in no form (SOP 6.4.e.iii.a)", p.Key.Purpose)
		} else if k, err := r.Module.Key(ctx, p.Key.Name); err == nil && !k.Exportable {
			f.add("key %s came from elsewhere, and does not leave again", p.Key.Name)
		}
		if p.Key.Partner == "" {
			f.add("the plan does not say for which partner the key leaves")
		}
	case ImportComponents, ImportWrapped:
		if p.Key.Purpose != hsm.Transport && p.Key.Purpose != hsm.Operator && p.Key.Purpose != hsm.Exchange && p.Key.Purpose != hsm.Lot {
			f.add("a key for %q is made here; it does not come from elsewhere", p.Key.Purpose)
		}
		for i, q := range p.Parts {
			why, err := r.Register.FormBlocks(ctx, keys.FormPart{Key: p.Key.Name, Partner: p.Key.Partner, Form: q.Form, Bag: q.Bag, Component: i + 1, KCV: q.KCV, Custodian: q.Custodian})
			if err != nil {
				return err
			}
			if why != "" {
				f.add("part %d: %s", i+1, why)
			}
		}
	case Rotate:
		old, err := r.Register.Key(ctx, p.Old)
		switch {
		case errors.Is(err, keys.ErrNoKey):
			f.add("old key %s is not in the register", p.Old)
		case err != nil:
			return err
		case old.State != keys.Live && old.State != keys.Suspended:
			f.add("old key %s is %s", old.ID, old.State)
		case old.Purpose != string(p.Key.Purpose):
			f.add("old key %s is for %q, the new one for %q", old.ID, old.Purpose, p.Key.Purpose)
		}
	case Restore:
		need := 0
		c := Ceremony{Plan: p}
		for _, who := range p.Holders {
			share, _, err := r.shareOf(ctx, c, who)
			if err != nil {
				f.add("%v", err)
				continue
			}
			need = share.Threshold
		}
		if need > len(p.Holders) {
			f.add("%d holders are there, %d shares restore the key", len(p.Holders), need)
		}
	}
	if p.Backup != nil && !p.Key.Purpose.BacksUp() {
		f.add("a key for %q has no backup: it dies with what it is for", p.Key.Purpose)
	}
	if w := p.Wrap; w != nil {
		return r.checkWrap(ctx, p, w, f)
	}
	return nil
}

func (r *Runner) checkWrap(ctx context.Context, p Plan, w *Wrap, f *findings) error {
	if p.Kind == ExportWrapped && (w.Format == hsm.OAEP || w.Format == hsm.ECDH) {
		if w.To == nil {
			f.add("%s takes the partner's certificate", w.Format)
			return nil
		}
		now := r.Store.Now()
		if now.Before(w.To.NotBefore) || now.After(w.To.NotAfter) {
			f.add("the partner's certificate is valid from %s to %s, not now", w.To.NotBefore.Format("2006-01-02"), w.To.NotAfter.Format("2006-01-02"))
		}
		return nil
	}
	under, err := r.Register.Key(ctx, w.Under)
	if errors.Is(err, keys.ErrNoKey) {
		f.add("key %s, under which it is wrapped, is not in the register", w.Under)
		return nil
	}
	if err != nil {
		return err
	}
	if under.State != keys.Live {
		f.add("key %s, under which it is wrapped, is %s", under.ID, under.State)
	}
	return nil
}
