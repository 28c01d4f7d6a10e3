package ceremony

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

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
	for _, check := range []func(context.Context, Plan, *findings) error{r.checkPeople, r.checkOthers, r.checkKey, r.checkKind, r.checkWrap} {
		if err := check(ctx, p, f); err != nil {
			return nil, err
		}
	}
	return f.list, nil
}

type findings struct{ list []string }

func (f *findings) add(format string, args ...any) {
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

func (r *Runner) checkPeople(ctx context.Context, p Plan, f *findings) error {
	var custodians []act.Person
	all := p.everyone()
	for _, role := range slices.Sorted(maps.Keys(all)) {
		id := all[role]
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
			if p.needsSeal() && who.Credential.Seal == nil {
				f.add("%s: the passkey of person %s cannot open what is sealed; enrol one with the PRF extension", role, id)
			}
		}
		if id == p.People[witness] && who.Has(officer, keyManager, custodian) {
			f.add("witness: person %s is security officer, key manager or custodian (SOP 6.4.e.viii)", id)
		}
	}
	// They may report to the key manager, not to one another.
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
func (p Plan) needsSeal() bool {
	return p.Kind == ExportComponents || p.Kind == Restore || p.Backup != nil
}

// checkOthers finds ceremonies that are under way about the same key: two would
// take each other's work for their own.
func (r *Runner) checkOthers(ctx context.Context, p Plan, f *findings) error {
	all, err := r.List(ctx)
	for _, c := range all {
		if c.ID == p.ID || c.State != Open && c.State != Break {
			continue
		}
		for _, name := range []string{p.Key.Name, p.Old} {
			if name != "" && (name == c.Plan.Key.Name || name == c.Plan.Old) {
				f.add("ceremony %s is about key %s too, and is under way", c.ID, name)
			}
		}
	}
	return err
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
		if err := r.Register.Allowed(ctx, p.Key.Name, p.Key.Purpose, p.Key.Algorithm); err != nil {
			f.add("%v", err)
		}
	default:
		switch {
		case !there:
			f.add("key %s is not in the register", p.Key.Name)
			return nil
		case k.State == keys.Destroyed:
			f.add("key %s is destroyed already, and does not come back", k.ID)
		case p.Kind == Restore && k.State == keys.Compromised:
			f.add("key %s is compromised, and is used for nothing more", k.ID)
		case p.Kind == Restore && !p.Rehearsal && k.State != keys.PreActivation:
			_, err := r.Module.Key(ctx, k.ID)
			if err == nil {
				f.add("key %s is in the module, and %s: it is restored for a rehearsal, or when the module has lost it", k.ID, k.State)
			} else if !errors.Is(err, hsm.ErrNoKey) {
				return err
			}
		case p.Kind.exports() && k.State != keys.Live:
			f.add("key %s is %s, and leaves only while it is active", k.ID, k.State)
		case p.Kind.exports() && k.Expired(r.Store.Now()):
			f.add("key %s: its cryptoperiod ended %s; rotate it", k.ID, k.Expires.Format(time.DateOnly))
		}
	}
	if there && (k.Purpose != string(p.Key.Purpose) || k.Algorithm != string(p.Key.Algorithm)) {
		f.add("key %s is %s for %q, the plan says %s for %q", k.ID, k.Algorithm, k.Purpose, p.Key.Algorithm, p.Key.Purpose)
	}
	if there && k.KCV != "" {
		had, err := hsm.ParseKCV(k.KCV)
		if err != nil {
			return err
		}
		if same, err := had.Matches(p.Key.KCV); err == nil && !same {
			f.add("key %s has the check value %s, the plan says %s", k.ID, k.KCV, p.Key.KCV)
		}
	}
	return nil
}

func (r *Runner) checkKind(ctx context.Context, p Plan, f *findings) error {
	switch p.Kind {
	case ExportComponents, ExportWrapped:
		k, err := r.Module.Key(ctx, p.Key.Name)
		switch {
		case !p.Key.Purpose.Exports():
			f.add("a key for %q leaves the module in no form (SOP 6.4.e.iii.a)", p.Key.Purpose)
		case errors.Is(err, hsm.ErrNoKey):
			f.add("key %s is not in the module", p.Key.Name)
		case err != nil:
			return err
		case !k.Exportable:
			f.add("key %s came from elsewhere, and does not leave again", p.Key.Name)
		}
		if p.Key.Partner == "" {
			f.add("the plan does not say for which partner the key leaves")
		}
	case ImportComponents, ImportWrapped:
		if !p.Key.Purpose.Arrives() {
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
	policy, err := r.People.Policy(ctx)
	if err != nil {
		return err
	}
	if p.Backup != nil && !p.Key.Purpose.BacksUp() {
		f.add("a key for %q has no backup: it dies with what it is for", p.Key.Purpose)
	}
	if (p.Kind == Generate || p.Kind == Rotate) && p.Backup == nil && policy.Keys[string(p.Key.Purpose)].Backup {
		f.add("a key for %q needs a backup; add the holders of its shares (SOP 6.4.e.vi)", p.Key.Purpose)
	}
	return nil
}

// checkWrap looks at what a key is wrapped under.
func (r *Runner) checkWrap(ctx context.Context, p Plan, f *findings) error {
	w, now := p.Wrap, r.Store.Now()
	if w == nil {
		return nil
	}
	if w.To != nil {
		if now.Before(w.To.NotBefore) || now.After(w.To.NotAfter) {
			f.add("the partner's certificate is valid from %s to %s, not now", w.To.NotBefore.Format(time.DateOnly), w.To.NotAfter.Format(time.DateOnly))
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
	purpose := w.Format.Opens()
	if under.Purpose != string(purpose) {
		f.add("key %s, under which it is wrapped, is for %q, want %q for %s", under.ID, under.Purpose, purpose, w.Format)
	}
	if under.State != keys.Live {
		f.add("key %s, under which it is wrapped, is %s", under.ID, under.State)
	}
	if p.Kind.exports() && under.Expired(now) {
		f.add("key %s, under which it is wrapped: its cryptoperiod ended %s; rotate it", under.ID, under.Expires.Format(time.DateOnly))
	}
	return nil
}
