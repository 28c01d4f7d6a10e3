package ceremony

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/hsm"
	"ankan/keys"
	"ankan/store"
)

// An Entry is what a custodian's own screen needs to seal a component, or a
// share, to the module. The clock has begun.
type Entry struct {
	Ceremony string    `json:"ceremony"`
	Step     int       `json:"step"`
	Ends     time.Time `json:"ends"`
	Agree    []byte    `json:"agree"` // SubjectPublicKeyInfo
	Content  string    `json:"content"`
	Label    string    `json:"label"`
	Bytes    int       `json:"bytes"`         // of the component
	KCV      string    `json:"kcv,omitempty"` // that it must have

	Algorithm hsm.Algorithm `json:"algorithm,omitempty"` // of the component
}

// A Sealed is a component or share that its holder alone can open.
type Sealed struct {
	Given   []byte `json:"given"`
	Content string `json:"content"`
	Label   string `json:"label"`
	Method  string `json:"method,omitempty"` // of its check value
	KCV     string `json:"kcv,omitempty"`
	Check   string `json:"check,omitempty"` // of a share
}

// turn is the step that is next, if it is this person's and has this effect.
func (r *Runner) turn(ctx context.Context, id string, n int, person string, effects ...Effect) (Ceremony, StepNow, error) {
	c, s, err := r.stepOf(ctx, fmt.Sprintf("ceremony/%s/%d", id, n))
	if err != nil {
		return c, s, err
	}
	if !slices.Contains(effects, s.Step.Effect) {
		return c, s, fmt.Errorf("ceremony %s, step %d: %w: nothing is entered or shown there", id, n, act.ErrNotAllowed)
	}
	if !slices.Contains(s.Step.By, person) {
		return c, s, fmt.Errorf("ceremony %s, step %d: %w: it is that of person %s", id, n, ErrTurn, s.Step.By[0])
	}
	return c, s, r.fit(ctx, c.Plan, person)
}

// entry is what a custodian's screen needs.
func (r *Runner) entry(ctx context.Context, c Ceremony, s StepNow, person string) (Entry, error) {
	pair, err := r.Module.Key(ctx, agreeKey(c.ID))
	if err != nil {
		return Entry{}, err
	}
	spki, err := x509.MarshalPKIXPublicKey(pair.Public)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Ceremony: c.ID, Step: s.N, Agree: spki}
	switch s.Step.Effect {
	case Show, Hold:
		return e, nil
	case Enter:
		part := c.component(s.Part)
		e.Content, e.Label, e.KCV = string(part.Content()), part.Label(), part.KCV.String()
		e.Algorithm, e.Bytes = c.Plan.Key.Algorithm, c.Plan.Key.Algorithm.KeyLen()
		return e, nil
	}
	share, _, err := r.shareOf(ctx, c, person)
	e.Content, e.Label = string(share.Content()), share.Label()
	return e, err
}

// Begin starts the clock of an entry. Begun again, the clock starts again and
// what was entered is wiped; each beginning is in the log.
func (r *Runner) Begin(ctx context.Context, id string, n int, person string) (Entry, error) {
	defer r.hold(id)()
	c, s, err := r.turn(ctx, id, n, person, Enter, Bring, Show, Hold)
	if err != nil {
		return Entry{}, err
	}
	if s.Signed(person) {
		return Entry{}, fmt.Errorf("ceremony %s, step %d: %w: person %s has signed it", id, n, act.ErrNotAllowed, person)
	}
	policy, err := r.People.Policy(ctx)
	if err != nil {
		return Entry{}, err
	}
	e, err := r.entry(ctx, c, s, person)
	if err != nil {
		return Entry{}, err
	}
	entry := audit.Entry{Kind: "ceremony.entry-begun", Actor: "person/" + person, Subject: "ceremony/" + id, Data: map[string]any{"step": n}}
	err = r.Store.Change(ctx, entry, func(tx *store.Tx) error {
		e.Ends = tx.Time().Add(EntryTime(policy))
		_, err := tx.Exec(`INSERT INTO ceremony_input (ceremony, step, person, began) VALUES ($1, $2, $3, $4)
			ON CONFLICT (ceremony, step) DO UPDATE SET person = excluded.person, began = excluded.began, data = ''`,
			id, n, person, tx.Time().UTC().Format(time.RFC3339Nano))
		return err
	})
	return e, err
}

// EntryTime is how long an entry may take on the site's clock: the time to
// enter, and the same again to compare the check value.
func EntryTime(p act.Policy) time.Duration {
	return 2 * time.Duration(p.Limits.ComponentEntry) * time.Second
}

// Entering is an entry whose clock runs, for a page that is shown again, and
// what is opened for it; ErrLate if the clock does not run.
func (r *Runner) Entering(ctx context.Context, id string, n int, person string) (Entry, Sealed, error) {
	c, s, err := r.turn(ctx, id, n, person, Enter, Bring, Show, Hold)
	if err != nil {
		return Entry{}, Sealed{}, err
	}
	policy, err := r.People.Policy(ctx)
	if err != nil {
		return Entry{}, Sealed{}, err
	}
	if err := r.inTime(s, person, policy); err != nil {
		return Entry{}, Sealed{}, fmt.Errorf("ceremony %s, step %d: %w", id, n, err)
	}
	e, err := r.entry(ctx, c, s, person)
	if err != nil {
		return e, Sealed{}, err
	}
	e.Ends = s.Began.Add(EntryTime(policy))
	if s.Step.Effect == Enter {
		return e, Sealed{}, nil
	}
	own, err := r.own(ctx, c, s, person)
	return e, own, err
}

// inTime refuses when the clock of an entry does not run for this person.
func (r *Runner) inTime(s StepNow, person string, policy act.Policy) error {
	if s.Began.IsZero() || s.By != person || r.Store.Now().After(s.Began.Add(EntryTime(policy))) {
		return fmt.Errorf("%w: %v from its beginning; begin again", ErrLate, EntryTime(policy))
	}
	return nil
}

// component is a part of an import as it is sealed to the module.
func (c Ceremony) component(n int) hsm.Component {
	p := c.Plan.Parts[n-1]
	return hsm.Component{Set: c.ID, Index: n, Of: len(c.Plan.Parts), Holder: p.Custodian, Algorithm: c.Plan.Key.Algorithm, KCV: p.KCV}
}

// Give takes what a custodian entered, sealed to the module, and has the module
// compare its check value. What is wrong is refused, said whose it is, and
// nothing of it is kept.
func (r *Runner) Give(ctx context.Context, id string, n int, person string, given []byte) error {
	defer r.hold(id)()
	err := r.give(ctx, id, n, person, given)
	if err == nil || ctx.Err() != nil {
		return err
	}
	e := audit.Entry{Kind: "ceremony.entry-refused", Actor: "person/" + person, Subject: "ceremony/" + id, Data: map[string]any{"step": n, "why": err.Error()}}
	return errors.Join(err, r.Store.Change(context.WithoutCancel(ctx), e, func(tx *store.Tx) error {
		_, err := tx.Exec(`DELETE FROM ceremony_input WHERE ceremony = $1 AND step = $2 AND data = ''`, id, n)
		return err
	}))
}

func (r *Runner) give(ctx context.Context, id string, n int, person string, given []byte) error {
	c, s, err := r.turn(ctx, id, n, person, Enter, Bring)
	if err != nil {
		return err
	}
	policy, err := r.People.Policy(ctx)
	if err != nil {
		return err
	}
	if s.Signed(person) {
		return fmt.Errorf("ceremony %s, step %d: %w: person %s has signed it", id, n, act.ErrNotAllowed, person)
	}
	if err := r.inTime(s, person, policy); err != nil {
		return fmt.Errorf("ceremony %s, step %d: %w", id, n, err)
	}
	for _, other := range c.Steps {
		if other.N == n || !other.Entered {
			continue
		}
		if had, err := r.input(ctx, id, other.N); err == nil && string(had) == string(given) {
			return fmt.Errorf("ceremony %s, step %d: %w", id, n, &hsm.ComponentError{Holder: person, Index: s.Part, Err: hsm.ErrTwice})
		}
	}
	switch s.Step.Effect {
	case Enter:
		part := c.component(s.Part)
		part.Given = given
		err = r.Module.CheckComponent(ctx, agreeKey(id), part)
	case Bring:
		var share hsm.Share
		if share, _, err = r.shareOf(ctx, c, person); err == nil {
			share.Given = given
			err = r.Module.CheckShare(ctx, agreeKey(id), share)
		}
	}
	if err != nil {
		return err
	}
	sum := sha256.Sum256(given)
	e := audit.Entry{Kind: "ceremony.entered", Actor: "person/" + person, Subject: "ceremony/" + id, Data: map[string]any{"step": n, "sealed_sha256": fmt.Sprintf("%x", sum)}}
	return r.Store.Change(ctx, e, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE ceremony_input SET data = $1 WHERE ceremony = $2 AND step = $3 AND person = $4`, given, id, n, person)
		return err
	})
}

func (r *Runner) input(ctx context.Context, id string, n int) (data []byte, err error) {
	err = r.Store.QueryRow(ctx, `SELECT data FROM ceremony_input WHERE ceremony = $1 AND step = $2`, id, n).Scan(&data)
	return data, err
}

// Own is the component or share that a step shows to its holder, sealed: only
// the holder's passkey opens it. That it was handed out is in the log.
func (r *Runner) Own(ctx context.Context, id string, n int, person string) (Sealed, error) {
	c, s, err := r.turn(ctx, id, n, person, Show, Hold, Bring)
	if err != nil {
		return Sealed{}, err
	}
	out, err := r.own(ctx, c, s, person)
	if err != nil {
		return Sealed{}, err
	}
	e := audit.Entry{Kind: "ceremony.shown", Actor: "person/" + person, Subject: "ceremony/" + id, Data: map[string]any{"step": n}}
	return out, r.Store.Enter(ctx, e)
}

func (r *Runner) own(ctx context.Context, c Ceremony, s StepNow, person string) (Sealed, error) {
	switch s.Step.Effect {
	case Show:
		part, err := r.partOf(ctx, c, s.Part)
		if err != nil {
			return Sealed{}, err
		}
		return Sealed{Given: part.Given, Content: string(part.Content()), Label: part.Label(), Method: string(part.KCV.Method()), KCV: part.KCV.String()}, nil
	default:
		share, _, err := r.shareOf(ctx, c, person)
		if err != nil {
			return Sealed{}, err
		}
		return Sealed{Given: share.Given, Content: string(share.Content()), Label: share.Label(), Check: share.Check}, nil
	}
}

// partOf is a component of an export, as it lies in the register.
func (r *Runner) partOf(ctx context.Context, c Ceremony, n int) (part hsm.Component, err error) {
	copies, err := r.Register.Copies(ctx, c.Plan.Key.Name)
	if err != nil {
		return part, err
	}
	for _, k := range copies {
		if k.Kind == keys.CopyComponent && k.Place == c.ID && k.Number == n && k.Gone.IsZero() && len(k.Sealed) > 0 {
			return part, json.Unmarshal(k.Sealed, &part)
		}
	}
	return part, fmt.Errorf("component %d of %s is not here", n, c.Plan.Key.Name)
}

// shareOf is a person's share of the key: of this ceremony when it makes the
// key, of whichever made it when it restores it.
func (r *Runner) shareOf(ctx context.Context, c Ceremony, person string) (share hsm.Share, from keys.Copy, err error) {
	copies, err := r.Register.Copies(ctx, c.Plan.Key.Name)
	if err != nil {
		return share, from, err
	}
	for _, k := range copies {
		if k.Kind == keys.CopyShare && k.Holder == person && k.Gone.IsZero() && len(k.Sealed) > 0 {
			return share, k, json.Unmarshal(k.Sealed, &share)
		}
	}
	return share, from, fmt.Errorf("person %s holds no share of %s", person, c.Plan.Key.Name)
}

// proposeEffect adds what whoever signs the step must see of its effect.
func (r *Runner) proposeEffect(ctx context.Context, c Ceremony, s StepNow, m map[string]string) error {
	switch s.Step.Effect {
	case Enter, Bring:
		data, err := r.input(ctx, c.ID, s.N)
		if err != nil || len(data) == 0 {
			return fmt.Errorf("ceremony %s, step %d: %w: nothing was entered yet", c.ID, s.N, act.ErrNotAllowed)
		}
		m["sealed_sha256"] = fmt.Sprintf("%x", sha256.Sum256(data))
		if s.Step.Effect == Enter {
			m["kcv"] = c.Plan.Parts[s.Part-1].KCV.String()
		}
	case Show:
		part, err := r.partOf(ctx, c, s.Part)
		if err != nil {
			return err
		}
		m["kcv"], m["form"], m["bag"] = part.KCV.String(), c.Plan.Parts[s.Part-1].Form, c.Plan.Parts[s.Part-1].Bag
	case Hold:
		share, _, err := r.shareOf(ctx, c, s.Step.By[0])
		if err != nil {
			return err
		}
		m["share"], m["check"] = fmt.Sprintf("%d of %d, %d restore", share.Index, share.Of, share.Threshold), share.Check
	case Confirm:
		k, err := r.Register.Key(ctx, c.KeyName())
		if err != nil {
			return err
		}
		m["key"], m["kcv"] = k.ID, k.KCV
	case Join, Make, Import_, Rebuild:
		m["key"], m["algorithm"], m["kcv_expected"] = c.KeyName(), string(c.Plan.Key.Algorithm), c.Plan.Key.KCV.String()
	case Export_:
		m["key"], m["format"], m["under"] = c.Plan.Key.Name, string(c.Plan.Wrap.Format), c.Plan.Wrap.Under
		if c.Plan.Wrap.To != nil {
			m["to_certificate_sha256"] = fmt.Sprintf("%x", sha256.Sum256(c.Plan.Wrap.To.Raw))
		}
	case Switch:
		m["old"], m["new"] = c.Plan.Old, c.Plan.Key.Name
	case Erase:
		left, err := r.left(ctx, c.Plan.Key.Name)
		if err != nil {
			return err
		}
		if len(left) > 0 {
			return fmt.Errorf("ceremony %s: %w: %d copies are not gone yet, the first: %s", c.ID, act.ErrNotAllowed, len(left), left[0].Name())
		}
		m["key"] = c.Plan.Key.Name
	case Unmake:
		m["key"] = c.KeyName()
	case CloseDown:
		t, err := r.transcript(ctx, c)
		if err != nil {
			return err
		}
		m["transcript_sha256"] = fmt.Sprintf("%x", t.digest())
	}
	if s.Key == "compare" {
		restored, err := r.Register.Key(ctx, c.KeyName())
		if err != nil {
			return err
		}
		inUse, err := r.Register.Key(ctx, c.Plan.Key.Name)
		if err != nil {
			return err
		}
		if restored.KCV != inUse.KCV {
			return fmt.Errorf("ceremony %s: the restored key has the check value %q, the key in use %q: the backup is not good", c.ID, restored.KCV, inUse.KCV)
		}
		m["kcv_restored"], m["kcv_in_use"] = restored.KCV, inUse.KCV
	}
	return nil
}

// left are the copies of a key outside the module that are not gone.
func (r *Runner) left(ctx context.Context, name string) ([]keys.Copy, error) {
	copies, err := r.Register.Copies(ctx, name)
	return slices.DeleteFunc(copies, func(k keys.Copy) bool { return k.Kind == keys.CopyModule || !k.Gone.IsZero() }), err
}

// carryOut does what a fully signed step has to do, and records what came of
// it. It may be run again: what was done before the site stopped is found. What
// the module refuses opens the step again; while the module is gone the step
// waits, with its signatures. The caller holds the ceremony.
func (r *Runner) carryOut(ctx context.Context, id string, n int) error {
	ctx = context.WithoutCancel(ctx) // the people have signed: it is carried to its end
	c, err := r.Get(ctx, id)
	if err != nil {
		return err
	}
	s := c.Steps[n-1]
	if s.Effect != "doing" {
		return nil
	}
	o := outcome{result: map[string]string{}}
	if err := r.perform(keys.For(ctx, "ceremony/"+id), c, s, &o); err != nil {
		if gone := r.Module.Check(ctx); gone != nil {
			return errors.Join(fmt.Errorf("ceremony %s, step %d: %w", id, n, ErrWaits), err, r.waits(ctx, c, s, gone))
		}
		return errors.Join(err, r.failed(ctx, c, s, err))
	}
	doc, err := json.Marshal(o.result)
	if err != nil {
		return err
	}
	data := map[string]any{"step": n, "effect": string(s.Step.Effect)}
	for k, v := range o.result {
		data[k] = v
	}
	e := audit.Entry{Kind: "ceremony.carried-out", Actor: "system:ceremony", Subject: "ceremony/" + id, Data: data}
	err = r.Store.Change(ctx, e, func(tx *store.Tx) error {
		if _, err := tx.Exec(`UPDATE ceremony_effect SET state = 'done', result = $1 WHERE ceremony = $2 AND step = $3 AND state = 'doing'`, doc, id, n); err != nil {
			return err
		}
		for _, f := range o.write {
			if err := f(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && o.after != nil {
		err = o.after(ctx)
	}
	return err
}

// An outcome is what came of a step: shown, written with it, done after it.
type outcome struct {
	result map[string]string
	write  []func(*store.Tx) error
	after  func(context.Context) error
}

// waits records that a step waits for the module; while it does, once.
func (r *Runner) waits(ctx context.Context, c Ceremony, s StepNow, why error) error {
	n := Note{Kind: "waiting", Person: "system:ceremony", Step: s.N, Text: why.Error()}
	name := fmt.Sprintf("%s/%d", c.ID, s.N)
	r.mu.Lock()
	said := r.waited[name]
	r.waited[name] = true
	r.mu.Unlock()
	if said {
		return nil
	}
	e := audit.Entry{Kind: "ceremony.waits", Actor: n.Person, Subject: "ceremony/" + c.ID, Data: map[string]any{"step": s.N, "effect": string(s.Step.Effect), "why": n.Text}}
	return r.Store.Change(ctx, e, func(tx *store.Tx) error {
		if s.Step.Effect == CloseDown {
			return nil // the transcript is signed, and says nothing more
		}
		return putNote(tx, c.ID, "", n)
	})
}

// failed records that the module refused. The step is open again; a component
// that was found wrong is to be entered again by its custodian.
func (r *Runner) failed(ctx context.Context, c Ceremony, s StepNow, why error) error {
	e := audit.Entry{Kind: "ceremony.failed", Actor: "system:ceremony", Subject: "ceremony/" + c.ID, Data: map[string]any{"step": s.N, "effect": string(s.Step.Effect), "why": why.Error()}}
	return r.Store.Change(ctx, e, func(tx *store.Tx) error {
		again := []int{s.N}
		var wrong *hsm.ComponentError
		if errors.As(why, &wrong) {
			for _, t := range c.Steps {
				if (t.Step.Effect == Enter || t.Step.Effect == Bring) && slices.Contains(t.Step.By, wrong.Holder) {
					again = append(again, t.N)
				}
			}
		}
		for _, n := range again {
			for _, q := range []string{`DELETE FROM ceremony_signature WHERE ceremony = $1 AND step = $2`, `DELETE FROM ceremony_effect WHERE ceremony = $1 AND step = $2`,
				`DELETE FROM ceremony_input WHERE ceremony = $1 AND step = $2`} {
				if _, err := tx.Exec(q, c.ID, n); err != nil {
					return err
				}
			}
		}
		return putNote(tx, c.ID, "", Note{Kind: "failure", Person: "system:ceremony", Step: s.N, Text: why.Error()})
	})
}

// perform does the effect of a step in the module and says what to write.
func (r *Runner) perform(ctx context.Context, c Ceremony, s StepNow, o *outcome) error {
	switch s.Step.Effect {
	case Make:
		return r.performMake(ctx, c, o)
	case Join:
		parts, err := r.entered(ctx, c)
		if err != nil {
			return err
		}
		o.write = append(o.write, func(tx *store.Tx) error { return keys.FormsImported(tx, c.Plan.Key.Name, c.ID) })
		return r.made(ctx, c, o, func(name string) (hsm.Key, error) {
			return r.Module.Combine(ctx, agreeKey(c.ID), parts, name, c.Plan.Key.Purpose, c.Plan.Key.Algorithm, c.Plan.Key.KCV)
		})
	case Import_:
		return r.made(ctx, c, o, func(name string) (hsm.Key, error) {
			return r.Module.Import(ctx, c.Plan.Wrap.Blob, c.Plan.wrapping(), name, c.Plan.Key.Purpose, c.Plan.Key.Algorithm)
		})
	case Rebuild:
		shares, err := r.brought(ctx, c)
		if err != nil {
			return err
		}
		return r.made(ctx, c, o, func(name string) (hsm.Key, error) {
			return r.Module.Restore(ctx, agreeKey(c.ID), shares, name, c.Plan.Key.Purpose, c.Plan.Key.Algorithm)
		})
	case Split:
		return r.performSplit(ctx, c, o)
	case Export_:
		return r.performExport(ctx, c, o)
	case Confirm:
		return r.performConfirm(ctx, c, s, o)
	case Switch:
		o.write = append(o.write, func(tx *store.Tx) error {
			return r.Register.Move(tx, c.Plan.Old, keys.Deactivated, "ceremony/"+c.ID, "key.deactivated", c.Plan.Key.Name+" took its place")
		})
		o.after = r.reload
	case CopyGone:
		copies, err := r.left(ctx, c.Plan.Key.Name)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(copies, func(k keys.Copy) bool { return k.Name() == s.Copy })
		if i >= 0 {
			o.write = append(o.write, func(tx *store.Tx) error {
				return errors.Join(keys.CopyGone(tx, copies[i]), keys.Happened(tx, c.Plan.Key.Name, "ceremony/"+c.ID, "key.copy-gone", s.Copy))
			})
		}
	case Erase:
		if left, err := r.left(ctx, c.Plan.Key.Name); err != nil || len(left) > 0 {
			return errors.Join(err, fmt.Errorf("%d copies are not gone", len(left)))
		}
		return r.erase(ctx, c.Plan.Key.Name)
	case Unmake:
		return r.erase(ctx, c.KeyName())
	case CloseDown:
		return r.performClose(ctx, c, o)
	case RackOpen:
		o.write = append(o.write, func(tx *store.Tx) error { return keys.RackOpened(tx, c.Plan.Room, c.ID, s.Step.By) })
	case RackClose:
		o.write = append(o.write, func(tx *store.Tx) error { return keys.RackClosed(tx, c.Plan.Room, c.ID, s.Step.By) })
	}
	return nil
}

func (r *Runner) erase(ctx context.Context, name string) error {
	if err := r.Module.Destroy(ctx, name); err != nil && !errors.Is(err, hsm.ErrNoKey) {
		return err
	}
	return nil
}

// made makes a key and compares it with the plan. A key that is there already,
// made by this ceremony and not confirmed, is that of a try before.
func (r *Runner) made(ctx context.Context, c Ceremony, o *outcome, do func(name string) (hsm.Key, error)) error {
	name := c.KeyName()
	k, err := do(name)
	if errors.Is(err, hsm.ErrKeyExists) {
		had, look := r.Module.Key(ctx, name)
		fresh, look2 := r.fresh(ctx, c)
		if look == nil && look2 == nil && fresh == name {
			k, err = had, nil
		}
	}
	if err != nil {
		return err
	}
	if want := c.Plan.Key.KCV; !want.IsZero() {
		same, err := k.KCV.Matches(want)
		if errors.Is(err, hsm.ErrKCVMethod) {
			o.result["kcv_note"] = fmt.Sprintf("the plan's %s is of another method and says nothing about it", want)
		} else if err != nil || !same {
			return errors.Join(fmt.Errorf("key %s has the check value %s, the plan says %s", name, k.KCV, want), err, r.erase(ctx, name))
		}
	}
	o.result["key"], o.result["kcv"] = name, k.KCV.String()
	o.write = append(o.write, func(tx *store.Tx) error {
		partner, err := c.Plan.Key.Partner, error(nil)
		switch {
		case partner != "" && c.Kind.imports(): // who sent it has it
			err = keys.Shared(tx, name, partner, c.ID)
		case partner != "":
			err = keys.PutLink(tx, name, "partner/"+partner, 0)
		}
		for i, part := range c.Plan.Parts { // custodians have what they entered
			err = errors.Join(err, keys.PutCopy(tx, keys.Copy{Key: name, Kind: keys.CopyComponent, Number: i + 1, Of: len(c.Plan.Parts), Holder: part.Custodian, Place: c.ID, KCV: part.KCV.String()}))
		}
		return errors.Join(err, keys.Happened(tx, name, "ceremony/"+c.ID, "ceremony."+string(c.Kind), "check value "+k.KCV.String()))
	})
	return nil
}

func (r *Runner) performMake(ctx context.Context, c Ceremony, o *outcome) error {
	ctx = keys.Unconfirmed(ctx)
	if c.Plan.Backup == nil {
		return r.made(ctx, c, o, func(name string) (hsm.Key, error) {
			return r.Module.Generate(ctx, name, c.Plan.Key.Purpose, c.Plan.Key.Algorithm)
		})
	}
	holders, err := r.sealTo(ctx, c.Plan.Backup.Holders)
	if err != nil {
		return err
	}
	var shares []hsm.Share
	err = r.made(ctx, c, o, func(name string) (k hsm.Key, err error) {
		k, shares, err = r.Module.GenerateShared(ctx, name, c.Plan.Key.Purpose, c.Plan.Key.Algorithm, c.ID, c.Plan.Backup.Threshold, holders)
		return k, err
	})
	if err == nil && shares == nil {
		// It was made by a try before this one, and its shares were lost with the
		// site. Nobody could ever restore it: it goes, and its name with it.
		return errors.Join(fmt.Errorf("key %s was made when the site stopped, and its shares were lost; it was erased; plan a new ceremony with another name", c.KeyName()), r.erase(ctx, c.KeyName()))
	}
	for _, share := range shares {
		o.write = append(o.write, func(tx *store.Tx) error {
			return putSealed(tx, keys.Copy{Key: c.KeyName(), Kind: keys.CopyShare, Number: share.Index, Of: share.Of, Holder: share.Holder, Place: c.ID}, share)
		})
	}
	return err
}

func putSealed(tx *store.Tx, k keys.Copy, v any) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	k.Sealed = doc
	return keys.PutCopy(tx, k)
}

// sealTo are people with the public halves to which components and shares are
// sealed for them.
func (r *Runner) sealTo(ctx context.Context, people []string) ([]hsm.Holder, error) {
	var all []hsm.Holder
	for _, id := range people {
		who, err := r.People.Person(ctx, id)
		if err != nil {
			return nil, err
		}
		if who.Credential.Seal == nil {
			return nil, fmt.Errorf("person %s: %w: the passkey cannot open what is sealed; enrol one with the PRF extension", id, act.ErrNotAllowed)
		}
		key, err := who.Credential.Seal.Key()
		if err != nil {
			return nil, err
		}
		all = append(all, hsm.Holder{Name: id, Key: key})
	}
	return all, nil
}

func (r *Runner) performSplit(ctx context.Context, c Ceremony, o *outcome) error {
	var people []string
	for _, p := range c.Plan.Parts {
		people = append(people, p.Custodian)
	}
	holders, err := r.sealTo(ctx, people)
	if err != nil {
		return err
	}
	method := hsm.CMAC
	if c.Plan.Key.Algorithm.NeedsWaiver() {
		method = c.Plan.Key.Algorithm.CheckMethod() // it has no other
	}
	if m := c.Plan.Key.KCV.Method(); m != "" {
		method = m // the partner's own
	}
	parts, err := r.Module.Split(ctx, c.Plan.Key.Name, c.ID, method, holders)
	if err != nil {
		return err
	}
	for _, part := range parts {
		o.result[fmt.Sprintf("kcv_%d", part.Index)] = part.KCV.String()
		o.write = append(o.write, func(tx *store.Tx) error {
			return putSealed(tx, keys.Copy{Key: c.Plan.Key.Name, Kind: keys.CopyComponent, Number: part.Index, Of: part.Of, Holder: part.Holder, Place: c.ID, KCV: part.KCV.String()}, part)
		})
	}
	o.write = append(o.write, r.shared(c, "in components"))
	return nil
}

// shared writes that a partner has the key from here on.
func (r *Runner) shared(c Ceremony, how string) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		return errors.Join(keys.Shared(tx, c.Plan.Key.Name, c.Plan.Key.Partner, c.ID),
			keys.Happened(tx, c.Plan.Key.Name, "ceremony/"+c.ID, "ceremony."+string(c.Kind), "left "+how+", for "+c.Plan.Key.Partner))
	}
}

func (r *Runner) performExport(ctx context.Context, c Ceremony, o *outcome) error {
	w := c.Plan.wrapping()
	blob, err := r.Module.Export(ctx, c.Plan.Key.Name, w)
	if err != nil {
		return err
	}
	// It lies in the register until it is destroyed with the key. The log and the
	// transcript are kept for ever: they have its digest.
	o.result["wrapped_sha256"] = fmt.Sprintf("%x", sha256.Sum256(blob))
	o.write = append(o.write, r.shared(c, "wrapped as "+string(w.Format)), func(tx *store.Tx) error {
		return keys.PutCopy(tx, keys.Copy{Key: c.Plan.Key.Name, Kind: keys.CopyWrapped, Holder: r.Site, Place: c.ID, Sealed: blob})
	})
	return nil
}

// Wrapped is the wrapped key that a ceremony exported, for whoever takes it to
// the partner.
func (r *Runner) Wrapped(ctx context.Context, id string) ([]byte, error) {
	c, err := r.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	copies, err := r.Register.Copies(ctx, c.Plan.Key.Name)
	if err != nil {
		return nil, err
	}
	for _, k := range copies {
		if k.Kind == keys.CopyWrapped && k.Place == c.ID && k.Gone.IsZero() {
			return k.Sealed, nil
		}
	}
	return nil, fmt.Errorf("ceremony %s: it has exported no wrapped key, or that was destroyed", id)
}

func (r *Runner) performConfirm(ctx context.Context, c Ceremony, s StepNow, o *outcome) error {
	k, err := r.Register.Key(ctx, c.KeyName())
	if err != nil {
		return err
	}
	o.after = r.reload
	switch k.State {
	case keys.Live, keys.Deactivated:
		return nil // a try before this one did
	case keys.PreActivation:
	default:
		return fmt.Errorf("key %s: %w: it is %s", k.ID, keys.ErrState, k.State)
	}
	o.result["key"], o.result["kcv"] = k.ID, k.KCV
	o.write = append(o.write, func(tx *store.Tx) error {
		return r.Register.Move(tx, k.ID, keys.Live, "ceremony/"+c.ID, "key.confirmed", fmt.Sprintf("check value %s confirmed by %s and %s", k.KCV, s.Step.By[0], s.Step.By[1]))
	})
	return nil
}

// reload has the guard see what the register says now.
func (r *Runner) reload(ctx context.Context) error {
	if g, ok := r.Module.(interface{ Reload(context.Context) error }); ok {
		return g.Reload(ctx)
	}
	return nil
}

// entered are the components that came, in their order.
func (r *Runner) entered(ctx context.Context, c Ceremony) ([]hsm.Component, error) {
	var all []hsm.Component
	for _, s := range c.Steps {
		if s.Step.Effect != Enter {
			continue
		}
		part := c.component(s.Part)
		data, err := r.input(ctx, c.ID, s.N)
		if err != nil {
			return nil, err
		}
		part.Given = data
		all = append(all, part)
	}
	return all, nil
}

// brought are the shares that came.
func (r *Runner) brought(ctx context.Context, c Ceremony) ([]hsm.Share, error) {
	var all []hsm.Share
	for _, s := range c.Steps {
		if s.Step.Effect != Bring {
			continue
		}
		share, _, err := r.shareOf(ctx, c, s.Step.By[0])
		if err != nil {
			return nil, err
		}
		if share.Given, err = r.input(ctx, c.ID, s.N); err != nil {
			return nil, err
		}
		all = append(all, share)
	}
	return all, nil
}
