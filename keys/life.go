package keys

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ankan/act"
	"ankan/custody"
	"ankan/notice"
	"ankan/store"
)

// Deeds are the acts by which people change a key's state, and those about the
// things and papers that keys depend on. reload has the guard
// see what the register says from then on.
func (r *Register) Deeds(reload func(context.Context) error) map[string]custody.Deed {
	moves := func(kind string, to State, from ...State) custody.Deed {
		return custody.Deed{
			Propose: func(ctx context.Context, subject string) (map[string]string, error) {
				return r.propose(ctx, kind, subject, from...)
			},
			Do: func(ctx context.Context, w custody.Warrant) error {
				id := strings.TrimPrefix(w.Act().Subject, "key/")
				return r.do(ctx, w, reload, func(tx *store.Tx) error {
					return r.Move(tx, id, to, "person/"+w.Act().Requester, kind, string(to))
				})
			},
		}
	}
	all := map[string]custody.Deed{
		"key.suspend":    moves("key.suspend", Suspended, Live, PreActivation),
		"key.resume":     moves("key.resume", Live, Suspended),
		"key.deactivate": moves("key.deactivate", Deactivated, Live, Suspended),
		"key.compromise": {
			Propose: func(ctx context.Context, subject string) (map[string]string, error) {
				return r.proposeCompromise(ctx, subject)
			},
			Do: func(ctx context.Context, w custody.Warrant) error {
				id := strings.TrimPrefix(w.Act().Subject, "key/")
				return r.do(ctx, w, reload, func(tx *store.Tx) error {
					return r.Compromise(ctx, tx, id, "person/"+w.Act().Requester, "reported by person "+w.Act().Requester)
				})
			},
		},
		"compromise.acknowledge": {Propose: r.proposeAcknowledge, Do: r.doAcknowledge},
	}
	maps.Copy(all, r.physicalDeeds(reload))
	return all
}

func (r *Register) do(ctx context.Context, w custody.Warrant, reload func(context.Context) error, fn func(*store.Tx) error) error {
	a := w.Act()
	if err := w.Use(ctx, a.Kind, a.Subject, nil, fn); err != nil {
		return err
	}
	return reload(context.WithoutCancel(ctx))
}

// keyOf is the key that a subject names: key/ID.
func (r *Register) keyOf(ctx context.Context, subject string) (Key, error) {
	id, ok := strings.CutPrefix(subject, "key/")
	if !ok {
		return Key{}, fmt.Errorf("subject %q is not key/…", subject)
	}
	return r.Key(ctx, id)
}

func (r *Register) propose(ctx context.Context, kind, subject string, from ...State) (map[string]string, error) {
	k, err := r.keyOf(ctx, subject)
	if err != nil {
		return nil, err
	}
	ok := false
	for _, s := range from {
		ok = ok || k.State == s
	}
	if !ok {
		return nil, fmt.Errorf("%s of %s: %w: it is %s", kind, k.ID, ErrState, k.State)
	}
	return describe(k), nil
}

// describe is a key as approvers see it.
func describe(k Key) map[string]string {
	return map[string]string{"state": string(k.State), "purpose": k.Purpose, "algorithm": k.Algorithm, "kcv": k.KCV, "parties": strings.Join(k.Parties, ", ")}
}

func (r *Register) proposeCompromise(ctx context.Context, subject string) (map[string]string, error) {
	k, err := r.keyOf(ctx, subject)
	if err != nil {
		return nil, err
	}
	if k.State == Compromised || k.State == Destroyed {
		return nil, fmt.Errorf("key.compromise of %s: %w: it is %s already", k.ID, ErrState, k.State)
	}
	m := describe(k)
	touched, err := r.Touches(ctx, k.ID)
	if err != nil {
		return nil, err
	}
	list := strings.Join(touched, "\n")
	m["touched"], m["touched_sha256"] = fmt.Sprint(len(touched)), fmt.Sprintf("%x", sha256.Sum256([]byte(list)))
	return m, nil
}

// Touches is all that a key's compromise is about: what it touched, and what
// was touched by the keys that it wrapped or made, each once, sorted.
func (r *Register) Touches(ctx context.Context, id string) ([]string, error) {
	seen := map[string]bool{"key/" + id: true} // keys wrap one another in circles
	var all []string
	var walk func(id string) error
	walk = func(id string) error {
		links, err := r.Links(ctx, id)
		if err != nil {
			return err
		}
		for _, l := range links {
			if seen[l.What] {
				continue
			}
			seen[l.What] = true
			all = append(all, l.What)
			if below, ok := strings.CutPrefix(l.What, "key/"); ok {
				if err := walk(below); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err := walk(id)
	slices.Sort(all)
	return all, err
}

// Compromise ends all use of a key at once, in the change that makes it so:
// everybody who looks after keys is told, and every party that shares the key
// is to be told (SOP 6.4.e.vii). The caller reloads the guard.
func (r *Register) Compromise(ctx context.Context, tx *store.Tx, id, by, why string) error {
	if err := r.Move(tx, id, Compromised, by, "key.compromise", why); err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO compromise (key, at, by, why) VALUES ($1, $2, $3, $4)`, id, store.Stamp(tx.Time()), by, why); err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO compromise_party (key, party) SELECT key, substr(what, 9) FROM key_link WHERE key = $1 AND what LIKE 'partner/%'`, id); err != nil {
		return err
	}
	return notice.TellHolders(ctx, tx, notice.Notice{Kind: "key.compromised", Subject: "key/" + id, Link: "/keys/" + id,
		Text: fmt.Sprintf("Key %s is compromised: %s. Nothing uses it any more. Its parties are being told.", id, why)},
		"key-manager", "hsm-administrator", "security-officer", act.Nodal, act.Alternate, "key-custodian", "system-administrator")
}

// A Report is a compromise and who knows of it.
type Report struct {
	Key     string    `json:"key"`
	At      time.Time `json:"at"`
	By      string    `json:"by"`
	Why     string    `json:"why"`
	Touched []string  `json:"touched"`
	Parties []Party   `json:"parties"`
}

// A Party is somebody who shares a compromised key.
type Party struct {
	Name         string    `json:"name"`
	Sent         time.Time `json:"sent,omitzero"`
	Acknowledged time.Time `json:"acknowledged,omitzero"`
	Words        string    `json:"words,omitempty"` // of whoever acknowledged
}

// Reports are all compromises, newest first.
func (r *Register) Reports(ctx context.Context) ([]Report, error) {
	all, err := store.Collect(r.store.Committed(ctx), func(rows *sql.Rows) (p Report, err error) {
		var at string
		if err = rows.Scan(&p.Key, &at, &p.By, &p.Why); err == nil {
			p.At, err = store.ParseStamp(at)
		}
		return p, err
	}, `SELECT key, at, by, why FROM compromise ORDER BY at DESC, key`)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Touched, err = r.Touches(ctx, all[i].Key); err != nil {
			return nil, err
		}
		if all[i].Parties, err = r.parties(ctx, all[i].Key); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (r *Register) parties(ctx context.Context, key string) ([]Party, error) {
	return store.Collect(r.store.Committed(ctx), func(rows *sql.Rows) (p Party, err error) {
		var sent, ack string
		if err = rows.Scan(&p.Name, &sent, &ack, &p.Words); err == nil {
			err = stamps([]string{sent, ack}, &p.Sent, &p.Acknowledged)
		}
		return p, err
	}, `SELECT party, sent, acknowledged, words FROM compromise_party WHERE key = $1 ORDER BY party`, key)
}

// ToTell are the parties that were not told of a compromise yet: key and party.
func (r *Register) ToTell(ctx context.Context) ([][2]string, error) {
	return store.Collect(r.store.Committed(ctx), pair, `SELECT key, party FROM compromise_party WHERE sent = '' ORDER BY key, party`)
}

// Told records that a party was told.
func Told(tx *store.Tx, key, party string) error {
	if err := one(tx.Exec(`UPDATE compromise_party SET sent = $1 WHERE key = $2 AND party = $3 AND sent = ''`, store.Stamp(tx.Time()), key, party)); err != nil {
		return fmt.Errorf("key %s: %s is not to be told of a compromise, or was told already: %w", key, party, err)
	}
	return Happened(tx, key, "system:keys", "compromise.told", party+" was told")
}

// ErrNotTold is wrapped where a party answers that was not told: its word may
// have overtaken the record that it was, so that it counts when it is read again.
var ErrNotTold = errors.New("the party was not told of the compromise yet")

// Acknowledged records that a party said that it knows of a compromise.
func Acknowledged(tx *store.Tx, key, party, words string) error {
	var sent, ack string
	err := tx.QueryRow(`SELECT sent, acknowledged FROM compromise_party WHERE key = $1 AND party = $2`, key, party).Scan(&sent, &ack)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("key %s: it is not compromised, or %s does not share it: nothing is to be acknowledged", key, party)
	case err != nil:
		return err
	case sent == "":
		return fmt.Errorf("key %s, %s: %w", key, party, ErrNotTold)
	case ack != "":
		return fmt.Errorf("key %s: %s acknowledged its compromise already", key, party)
	}
	if err := one(tx.Exec(`UPDATE compromise_party SET acknowledged = $1, words = $2 WHERE key = $3 AND party = $4`, store.Stamp(tx.Time()), words, key, party)); err != nil {
		return err
	}
	return Happened(tx, key, "partner/"+party, "compromise.acknowledged", words)
}

// Heard records that a partner says that a key is compromised. It returns
// false if the register has no such key, or has it as destroyed or compromised.
func (r *Register) Heard(ctx context.Context, tx *store.Tx, key, partner, why string) (bool, error) {
	var state State
	err := tx.QueryRow(`SELECT state FROM key WHERE id = $1`, key).Scan(&state)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if _, err := tx.Exec(`INSERT INTO compromise_heard (key, partner, at, why) VALUES ($1, $2, $3, $4) ON CONFLICT (key, partner) DO NOTHING`, key, partner, store.Stamp(tx.Time()), why); err != nil {
		return false, err
	}
	news := state != Compromised && state != Destroyed
	if news {
		err = r.Compromise(ctx, tx, key, "partner/"+partner, why)
	}
	if err == nil { // who says so need not be told
		_, err = tx.Exec(`UPDATE compromise_party SET sent = $1, acknowledged = $1, words = 'told this site itself' WHERE key = $2 AND party = $3 AND acknowledged = ''`,
			store.Stamp(tx.Time()), key, partner)
	}
	return news, err
}

// proposeAcknowledge is about key/ID, which a partner called compromised.
func (r *Register) proposeAcknowledge(ctx context.Context, subject string) (map[string]string, error) {
	m := map[string]string{"state": "never came: its components are kept out"}
	k, unknown := r.keyOf(ctx, subject)
	if unknown == nil {
		m = describe(k)
	} else if !errors.Is(unknown, ErrNoKey) {
		return nil, unknown
	}
	id := strings.TrimPrefix(subject, "key/")
	heard, err := store.Collect(r.store.Committed(ctx), triple, `SELECT partner, at, why FROM compromise_heard WHERE key = $1 AND acknowledged = '' ORDER BY at, partner`, id)
	if err != nil {
		return nil, err
	}
	var partners, at, why []string
	for _, h := range heard {
		partners, at, why = append(partners, h[0]), append(at, h[1]), append(why, h[2])
	}
	if len(partners) == 0 {
		return nil, errors.Join(unknown, fmt.Errorf("key %s: no partner called it compromised who is not answered yet", id))
	}
	m["partner"], m["told_at"], m["why"] = strings.Join(partners, ", "), strings.Join(at, ", "), strings.Join(why, "; ")
	return m, nil
}

func (r *Register) doAcknowledge(ctx context.Context, w custody.Warrant) error {
	id := strings.TrimPrefix(w.Act().Subject, "key/")
	return w.Use(ctx, "compromise.acknowledge", w.Act().Subject, nil, func(tx *store.Tx) error {
		// Whoever called it compromised since people signed is not answered by this.
		for _, partner := range strings.Split(w.Act().Params["partner"], ", ") {
			if err := one(tx.Exec(`UPDATE compromise_heard SET acknowledged = $1, by = $2 WHERE key = $3 AND partner = $4 AND acknowledged = ''`,
				store.Stamp(tx.Time()), w.Act().Requester, id, partner)); err != nil {
				return fmt.Errorf("key %s: nothing is to be acknowledged to %q: %w", id, partner, err)
			}
		}
		return Happened(tx, id, "person/"+w.Act().Requester, "compromise.acknowledge", "")
	})
}

// ToAcknowledge are partners that wait for the word of this site: key, partner,
// and the person who gave it.
func (r *Register) ToAcknowledge(ctx context.Context) ([][3]string, error) {
	return store.Collect(r.store.Committed(ctx), triple, `SELECT key, partner, by FROM compromise_heard WHERE acknowledged <> '' AND sent = '' ORDER BY key`)
}

// Answered records that the word went out.
func Answered(tx *store.Tx, key, partner string) error {
	return one(tx.Exec(`UPDATE compromise_heard SET sent = $1 WHERE key = $2 AND partner = $3 AND acknowledged <> '' AND sent = ''`, store.Stamp(tx.Time()), key, partner))
}
