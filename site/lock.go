package site

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/keys"
	"ankan/notice"
	"ankan/order"
	"ankan/store"
)

// The rollback lock: a site whose database is older than what was known outside
// of it might issue what it issued already. It shows, logs and verifies, and
// issues nothing until two people have answered for the time that was lost.

// A Lock is why a site issues nothing.
type Lock struct {
	Since   time.Time `json:"since"`
	LogSize int64     `json:"log_size"` // of the log up to which all is known
	Signs   []Sign    `json:"signs"`
}

// A Sign is one piece of evidence that the database lost time.
type Sign struct {
	From       string `json:"from"` // restore, high-water, module, partner/NAME, file
	Text       string `json:"text"`
	Checkpoint string `json:"checkpoint,omitempty"` // signed, of the time that was lost
}

// ErrLocked is wrapped where a site that is locked refuses.
var ErrLocked = keys.ErrHeld

// Locked is why the site issues nothing; nil if it is not locked.
func (s *Site) Locked() *Lock {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lock
}

// Sentence is the first sign, and how many more there are.
func (l *Lock) Sentence() string {
	if len(l.Signs) == 0 {
		return "its database is older than what is known outside of it"
	}
	if n := len(l.Signs) - 1; n > 0 {
		return fmt.Sprintf("%s (signs beside it: %d)", l.Signs[0].Text, n)
	}
	return l.Signs[0].Text
}

// Why is the sentence with the next step.
func (l *Lock) Why() string {
	return l.Sentence() + "; set right what the lost time did, then unlock: ankan act request site.unlock site"
}

// Lost is the size of the log up to which something is known to be lost; 0 if
// nobody has shown a checkpoint.
func (l *Lock) Lost() (size int64) {
	for _, s := range l.Signs {
		if _, rest, ok := strings.Cut(s.Checkpoint, "\n"); ok {
			text, _, _ := strings.Cut(rest, "\n")
			if n, err := strconv.ParseInt(text, 10, 64); err == nil {
				size = max(size, n)
			}
		}
	}
	return size
}

// findLock looks for signs that the database is older than what is outside of
// it, and locks the site if there are new ones. It comes before the register and
// the module are brought to agree, which takes the module's signs away.
func (s *Site) findLock(ctx context.Context, behind []string) error {
	lock, err := readLock(s.store.Committed(ctx))
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.lock = lock
	s.mu.Unlock()
	var signs []Sign
	for _, text := range behind {
		signs = append(signs, Sign{From: "module", Text: text})
	}
	below, err := s.belowHighWater(ctx)
	if err != nil {
		return err
	}
	if below != nil {
		signs = append(signs, *below)
	}
	if err := s.shut(ctx, signs); err != nil {
		return err
	}
	s.high.mu.Lock()
	defer s.high.mu.Unlock()
	s.high.on = true
	return nil
}

func readLock(q store.Querier) (*Lock, error) {
	var doc []byte
	err := q.QueryRow(`SELECT document FROM site_lock WHERE id = 1`).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	l := new(Lock)
	return l, json.Unmarshal(doc, l)
}

// PutLock locks a site in the change that says so, or adds signs to its lock.
func PutLock(tx *store.Tx, signs []Sign) (*Lock, error) {
	l, err := readLock(tx)
	if err != nil {
		return nil, err
	}
	if l == nil {
		l = &Lock{Since: tx.Time(), LogSize: tx.Index()}
	}
	l.Signs = append(slices.Clone(l.Signs), signs...)
	doc, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	_, err = tx.Exec(`INSERT INTO site_lock (id, document) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET document = excluded.document`, doc)
	return l, err
}

// mostSigns bounds what a lock keeps: a module may show a thousand keys.
const mostSigns = 200

// shut locks the site for signs that it does not know yet.
func (s *Site) shut(ctx context.Context, signs []Sign) error {
	lock := s.Locked()
	var fresh []Sign
	for _, sign := range signs {
		same := func(o Sign) bool {
			return o.From == sign.From && (o.Text == sign.Text || o.Checkpoint != "" && o.Checkpoint == sign.Checkpoint)
		}
		if (lock == nil || !slices.ContainsFunc(lock.Signs, same)) && !slices.ContainsFunc(fresh, same) {
			fresh = append(fresh, sign)
		}
	}
	if lock != nil {
		fresh = fresh[:min(len(fresh), max(0, mostSigns-len(lock.Signs)))]
	}
	fresh = fresh[:min(len(fresh), mostSigns)]
	if len(fresh) > 0 {
		var texts []string
		for _, sign := range fresh[:min(len(fresh), 20)] {
			texts = append(texts, sign.From+": "+sign.Text)
		}
		e := audit.Entry{Kind: "site.locked", Actor: "system:site", Subject: "site/" + s.config.Site, Data: map[string]any{"signs": texts, "count": len(fresh)}}
		err := s.store.Change(ctx, e, func(tx *store.Tx) (err error) {
			if lock, err = PutLock(tx, fresh); err != nil {
				return err
			}
			return notice.TellHolders(ctx, tx, notice.Notice{Kind: "site.locked", Subject: "site/" + s.config.Site, Link: "/log", Text: "The site is locked: " + fresh[0].Text + "."},
				"security-officer", "key-manager", "system-administrator", "hsm-administrator", "shift-lead", act.Nodal, act.Alternate)
		})
		if err != nil {
			return err
		}
		s.log.Error("the site is locked", "why", fresh[0].Text, "signs", len(fresh))
		s.mu.Lock()
		s.lock = lock
		s.mu.Unlock()
	}
	if lock != nil && s.guard != nil {
		s.guard.Hold(lock.Why())
	}
	return nil
}

// lost is the sign that a checkpoint of this log gives which the log does not
// continue; nil if it does, or if people have answered for that checkpoint.
func (s *Site) lost(ctx context.Context, from, says string, c audit.Checkpoint, signed []byte) (*Sign, error) {
	err := s.store.Continues(ctx, signed)
	if err == nil {
		return nil, nil
	}
	if !errors.Is(err, audit.Truncated) && !errors.Is(err, audit.Rewritten) {
		return nil, err
	}
	var n int
	if err := s.store.QueryRow(ctx, `SELECT count(*) FROM lost_checkpoint WHERE sha256 = $1`, digestOf(signed)).Scan(&n); err != nil || n > 0 {
		return nil, err
	}
	text := fmt.Sprintf("%s that the log had %d entries, it has %d", says, c.Size, s.store.Size())
	if errors.Is(err, audit.Rewritten) {
		text = fmt.Sprintf("%s that the log's first %d entries were others than they are", says, c.Size)
	}
	return &Sign{From: from, Text: text, Checkpoint: string(signed)}, nil
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return fmt.Sprintf("%x", sum)
}

// Witness looks at a checkpoint of this site's log that somebody outside keeps,
// and locks the site if its log does not continue it. It says whether it does.
func (s *Site) Witness(ctx context.Context, signed []byte) (continues bool, err error) {
	c, err := audit.OpenCheckpoint(signed, s.store.VerifierKey())
	if err != nil {
		return false, fmt.Errorf("the checkpoint is not one of this site's log: %w", err)
	}
	sign, err := s.lost(ctx, "file", "a checkpoint that was shown here says", c, signed)
	if err != nil || sign == nil {
		return err == nil, err
	}
	return false, s.shut(ctx, []Sign{*sign})
}

// ---- what a locked site does

// whileLocked is the kinds of acts that a locked site does: those that say who
// may do what, take keys out of use, bring them back from their backups, and end
// the lock. No other may issue anything.
var whileLocked = []string{
	"site.unlock", "policy.adopt", "person.enrol", "administrator.enrol", "person.leave", "person.suspend", "training.record", "statement.sign",
	"glass.break", "glass.review", "ceremony.open", "ceremony.step", "ceremony.note", "ceremony.abort", "key.suspend", "key.deactivate", "key.compromise", "compromise.acknowledge",
}

// open refuses an act that a locked site does not do.
func (s *Site) open(kind string) error {
	if l := s.Locked(); l != nil && !slices.Contains(whileLocked, kind) {
		return fmt.Errorf("%s: %w: %s", kind, ErrLocked, l.Why())
	}
	return nil
}

// ---- unlocking

// An Unlocking is what parts are told when two people unlock a site.
type Unlocking struct {
	Act string // its number; empty while it is proposed
	// StoodStill says that the signers answer for it that nothing was made in the
	// time that was lost.
	StoodStill bool
	Orders     []LostOrder // that the lost time took in
}

// A LostOrder is an order that a site took in during the lost time, as its
// sender still has it.
type LostOrder struct {
	Order, Operator string
	SHA256          string
	Input           *order.Input
}

const stoodStill = "site/stood-still"

func (s *Site) unlocking(ctx context.Context, q store.Querier, subject string) (u Unlocking, err error) {
	switch subject {
	case "site":
	case stoodStill:
		u.StoodStill = true
	default:
		return u, fmt.Errorf("subject %q is neither site nor %s", subject, stoodStill)
	}
	rows, err := q.Query(`SELECT ord, operator, sha256, document FROM lost_order ORDER BY ord`)
	if err != nil {
		return u, err
	}
	defer rows.Close()
	for rows.Next() {
		var o LostOrder
		var doc []byte
		if err := rows.Scan(&o.Order, &o.Operator, &o.SHA256, &doc); err != nil {
			return u, err
		}
		if o.Input, err = s.reading(o.Operator).ParseInput(o.Order+".inp", bytes.NewReader(doc)); err != nil {
			return u, err
		}
		u.Orders = append(u.Orders, o)
	}
	return u, rows.Err()
}

// reading is how the orders of an operator are read: as its contract says.
func (s *Site) reading(operator string) order.Reading {
	if c, err := s.Contract(operator); err == nil {
		return c.Reading()
	}
	return order.Reading{}
}

// unheard is the orders whose keys the module has, or had, and of which this
// database never heard: what the lost time took in.
func (s *Site) unheard(ctx context.Context) ([]string, error) {
	names, err := store.Collect(s.store.Committed(ctx), store.Column[string], `SELECT id FROM key WHERE origin = $1 ORDER BY id`, keys.Found)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, "order/")
		if i := strings.LastIndexByte(rest, '/'); ok && i > 0 {
			all = append(all, rest[:i])
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// maxSaid bounds a list that an act shows.
const maxSaid = 50

func said(list []string) string {
	text := strings.Join(list[:min(len(list), maxSaid)], " ")
	if n := len(list) - maxSaid; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

func (s *Site) proposeUnlock(ctx context.Context, subject string) (map[string]string, error) {
	l := s.Locked()
	if l == nil {
		return nil, fmt.Errorf("site %s is not locked", s.config.Site)
	}
	u, err := s.unlocking(ctx, s.store.Committed(ctx), subject)
	if err != nil {
		return nil, err
	}
	m := map[string]string{"known_up_to_entry": strconv.FormatInt(l.LogSize, 10), "locked": l.Since.UTC().Format(time.RFC3339), "signs": strconv.Itoa(len(l.Signs)), "lost_up_to_entry": "unknown"}
	if n := l.Lost(); n > 0 {
		m["lost_up_to_entry"] = strconv.FormatInt(n, 10)
	}
	for i, sign := range l.Signs[:min(len(l.Signs), 20)] {
		m[fmt.Sprintf("sign_%03d", i+1)] = sign.Text
	}
	doc, err := json.Marshal(l.Signs)
	if err != nil {
		return nil, err
	}
	m["signs_sha256"] = digestOf(doc)
	if u.StoodStill {
		m["stood_still"] = "the signers answer for it that this site made nothing in the time that was lost"
	}
	for i, o := range u.Orders {
		m[fmt.Sprintf("order_%03d", i+1)] = fmt.Sprintf("%s of %s: %d identities are never issued again; file %s", o.Order, o.Operator, o.Input.Quantity(), o.SHA256)
	}
	unheard, err := s.unheard(ctx)
	if err != nil {
		return nil, err
	}
	unheard = slices.DeleteFunc(unheard, func(id string) bool {
		_, err := order.Get(ctx, s.store, id)
		return err == nil || slices.ContainsFunc(u.Orders, func(o LostOrder) bool { return o.Order == id })
	})
	if len(unheard) > 0 {
		return nil, fmt.Errorf("the module shows that the lost time took in the orders %s; ask their operators for the files, and hand them in: ankan site lost ORDER FILE", said(unheard))
	}
	for _, d := range s.parts {
		if d.Lost == nil {
			continue
		}
		more, err := d.Lost(ctx, u)
		if err != nil {
			return nil, err
		}
		for k, v := range more {
			m[k] = v
		}
	}
	return m, nil
}

func (s *Site) doUnlock(ctx context.Context, w custody.Warrant) error {
	l := s.Locked()
	if l == nil {
		return fmt.Errorf("site %s is not locked", s.config.Site)
	}
	a := w.Act()
	ctx = keys.Reconciling(ctx)
	data := map[string]any{"signs": len(l.Signs), "known_up_to_entry": l.LogSize, "lost_up_to_entry": l.Lost()}
	err := w.Use(ctx, "site.unlock", a.Subject, data, func(tx *store.Tx) error {
		u, err := s.unlocking(ctx, tx, a.Subject)
		if err != nil {
			return err
		}
		u.Act = a.ID
		for _, d := range s.parts {
			if d.Unlock == nil {
				continue
			}
			if err := d.Unlock(ctx, tx, u); err != nil {
				return err
			}
		}
		for _, sign := range l.Signs {
			if sign.Checkpoint == "" {
				continue
			}
			_, err := tx.Exec(`INSERT INTO lost_checkpoint (sha256, signed, act) VALUES ($1, $2, $3) ON CONFLICT (sha256) DO NOTHING`,
				digestOf([]byte(sign.Checkpoint)), []byte(sign.Checkpoint), a.ID)
			if err != nil {
				return err
			}
		}
		// Signs that came while people signed are not what they answered for.
		now, err := readLock(tx)
		if err == nil && (now == nil || len(now.Signs) != len(l.Signs)) {
			err = errors.New("there are other signs than when this was approved; ask for it again")
		}
		if err == nil {
			_, err = tx.Exec(`DELETE FROM lost_order`)
		}
		if err == nil {
			_, err = tx.Exec(`DELETE FROM site_lock`)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.lock = nil
	s.mu.Unlock()
	s.guard.Free()
	s.mark(true)
	return nil
}

// postLost takes the file of an order that the lost time took in: its identities
// are never issued again.
func (s *Site) postLost(ctx context.Context, who act.Person, r *http.Request, body []byte) (any, error) {
	var q LostFile
	if err := audit.Strict(body, &q); err != nil {
		return nil, err
	}
	if s.Locked() == nil {
		return nil, fmt.Errorf("site %s is not locked", s.config.Site)
	}
	if q.Order == "" || len(q.Order) > 100 || q.Operator == "" || len(q.Operator) > 100 {
		return nil, errors.New("name the order and its operator")
	}
	in, err := s.reading(q.Operator).ParseInput(q.Order+".inp", strings.NewReader(q.Document))
	if err != nil {
		return nil, err
	}
	sum := digestOf([]byte(q.Document))
	e := audit.Entry{Kind: "site.lost-order", Actor: "person/" + who.ID, Subject: "order/" + q.Order, Data: map[string]any{"operator": q.Operator, "sha256": sum, "identities": in.Quantity()}}
	err = s.store.Change(ctx, e, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO lost_order (ord, operator, sha256, document, person) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (ord) DO UPDATE SET operator = excluded.operator, sha256 = excluded.sha256, document = excluded.document, person = excluded.person`,
			q.Order, q.Operator, sum, []byte(q.Document), who.ID)
		return err
	})
	return map[string]any{"order": q.Order, "operator": q.Operator, "identities": in.Quantity(), "sha256": sum}, err
}

// A LostFile is an order file that was taken in during the lost time.
type LostFile struct {
	Order    string `json:"order"`
	Operator string `json:"operator"`
	Document string `json:"document"`
}

// postWitness looks at a checkpoint that somebody outside keeps.
func (s *Site) postWitness(r *http.Request) (any, error) {
	body, err := ReadBody(r)
	if err != nil {
		return nil, err
	}
	ok, err := s.Witness(r.Context(), body)
	return map[string]any{"continues": ok, "locked": s.Locked() != nil}, err
}

// rollback is the part of every site that looks after its lock.
func (s *Site) rollback() Part {
	return Part{Open: func(context.Context, *Site) (Duties, error) {
		return Duties{Deeds: map[string]Deed{"site.unlock": {Propose: s.proposeUnlock, Do: s.doUnlock}}}, nil
	}}
}
