package hlr

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"ankan/aka"
	"ankan/audit"
	"ankan/sim"
	"ankan/store"
)

// A Record is a subscriber on the way in. Sealed is K || OPc or TOPc under the AuC's
// data key with AAD(IMSI), as Token.Translate makes it from the columns of a
// response file; nobody outside the modules has seen the keys.
type Record struct {
	IMSI   sim.IMSI
	ICCID  sim.ICCID
	Sealed []byte
}

// Source says where the records of one load come from and what holds for all.
type Source struct {
	Order          string         // the order's id
	Actor          string         // the person who loads
	Authentication aka.Parameters // of the cards' profile
	AMF            aka.AMF        // for their vectors; aka.EPS for LTE and 5G
	SQN            aka.SQN        // the last one that the cards may have seen, at the line
}

// A Loader takes one response file's records, in batches of any size. What it
// took is durable when Load returns. After a crash, load the same file again:
// what is there already from the same order with the same keys is counted and
// left as it is, SQN included. It is used by one goroutine at a time.
type Loader struct {
	auc         *AuC
	source      Source
	loaded, had int
}

// Rows are inserted by statements of stepRows and committed by chunks of
// chunkRows, each with one entry in the log. SQLite looks a parameter's name up
// in a list at every bind, so that longer statements are slower again.
const (
	stepRows  = 40
	chunkRows = 10_000
)

// Loader begins a load.
func (a *AuC) Loader(s Source) (*Loader, error) {
	if s.Order == "" || s.Actor == "" {
		return nil, errors.New("load without an order or an actor")
	}
	if err := s.Authentication.Check(); err != nil {
		return nil, fmt.Errorf("load of order %s: %w", s.Order, err)
	}
	return &Loader{auc: a, source: s}, nil
}

// Counts is how many subscribers were added, and how many were there already.
func (l *Loader) Counts() (added, already int) { return l.loaded, l.had }

// Load adds records. It refuses, with everything else of the same chunk: a
// record that does not open for its IMSI, and an IMSI or ICCID that is there
// with other data (ErrTaken). Chunks before it stay; the error says which
// record it was, counted from the first of this Load as 1, and is logged.
func (l *Loader) Load(ctx context.Context, records []Record) error {
	for first := 0; first < len(records); first += chunkRows {
		chunk := records[first:min(first+chunkRows, len(records))]
		if i, err := l.chunk(ctx, chunk); err != nil {
			return l.refuse(ctx, fmt.Errorf("load of order %s, record %d: %w", l.source.Order, first+i+1, err))
		}
	}
	return nil
}

// refuse logs why a load ends, and returns it.
func (l *Loader) refuse(ctx context.Context, why error) error {
	e := audit.Entry{Kind: "hlr.load-refused", Actor: l.source.Actor, Subject: "order/" + l.source.Order,
		Data: map[string]any{"reason": why.Error()}}
	if err := l.auc.store.Enter(ctx, e); err != nil {
		return errors.Join(why, err)
	}
	return why
}

// chunk commits records. With an error it returns where among them it was.
func (l *Loader) chunk(ctx context.Context, records []Record) (int, error) {
	// Before the transaction: opening takes longer than inserting, and others
	// wait for the writer.
	for i, r := range records {
		if err := l.check(r); err != nil {
			return i, err
		}
	}
	var at, added int
	e := audit.Entry{Kind: "hlr.load", Actor: l.source.Actor, Subject: "order/" + l.source.Order, Data: map[string]any{
		"algorithm": l.source.Authentication.String(), "count": len(records),
		"first": records[0].IMSI.String(), "last": records[len(records)-1].IMSI.String(),
	}}
	err := l.auc.store.Change(ctx, e, func(tx *store.Tx) error {
		added = 0
		for at = 0; at < len(records); at += stepRows {
			n, wrong, err := l.insert(tx, records[at:min(at+stepRows, len(records))])
			if err != nil {
				at += wrong
				return err
			}
			added += n
		}
		tx.Note("added", added)
		return nil
	})
	if err != nil {
		return at, err
	}
	l.loaded += added
	l.had += len(records) - added
	return 0, nil
}

// check opens a record, so that nothing is stored that gives no vectors later.
func (l *Loader) check(r Record) error {
	if r.IMSI.IsZero() || r.ICCID.IsZero() {
		return errors.New("record without an IMSI or an ICCID")
	}
	keys, err := l.auc.open(r.IMSI, l.source.Authentication, r.Sealed)
	if err != nil {
		return err
	}
	clear(keys)
	return nil
}

// insertSQL inserts n rows and passes over those whose IMSI or ICCID is taken.
// What all rows share are the parameters 1 to 5.
func insertSQL(n int) string {
	var b strings.Builder
	b.WriteString(`INSERT INTO subscriber (imsi, iccid, sealed, algorithm, amf, ord, loaded_at, sqn) VALUES `)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		p := 3*i + 6
		fmt.Fprintf(&b, "($%d,$%d,$%d,$1,$2,$3,$4,$5)", p, p+1, p+2)
	}
	b.WriteString(` ON CONFLICT DO NOTHING`)
	return b.String()
}

// insert adds up to stepRows records and returns how many were new. With an
// error it returns where among them it was.
func (l *Loader) insert(tx *store.Tx, records []Record) (added, at int, err error) {
	now := tx.Time().UTC().Format("2006-01-02T15:04:05.000000000Z")
	args := append(make([]any, 0, 5+3*len(records)), l.source.Authentication.String(), l.amf(), l.source.Order, now, int64(l.source.SQN))
	for _, r := range records {
		args = append(args, r.IMSI.String(), r.ICCID.String(), r.Sealed)
	}
	result, err := tx.Exec(insertSQL(len(records)), args...)
	if err != nil {
		return 0, 0, err
	}
	n, err := result.RowsAffected()
	if err != nil || int(n) == len(records) {
		return int(n), 0, err
	}
	for i, r := range records {
		if err := l.compare(tx, r); err != nil {
			return 0, i, err
		}
	}
	return int(n), 0, nil
}

// amf is the AMF as its column has it.
func (l *Loader) amf() int64 { return int64(l.source.AMF[0])<<8 | int64(l.source.AMF[1]) }

// compare refuses a record whose row in the store is not this very record.
// Seals of the same keys differ, so both are opened.
func (l *Loader) compare(tx *store.Tx, r Record) error {
	var iccid, algorithm, order string
	var sealed []byte
	var amf int64
	err := tx.QueryRow(`SELECT iccid, algorithm, sealed, amf, ord FROM subscriber WHERE imsi = $1`, r.IMSI.String()).
		Scan(&iccid, &algorithm, &sealed, &amf, &order)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("ICCID %s: %w, with another IMSI", r.ICCID.Masked(), ErrTaken)
	}
	if err != nil {
		return err
	}
	name := r.IMSI.Masked()
	switch {
	case order != l.source.Order:
		return fmt.Errorf("IMSI %s: %w, from the order %s", name, ErrTaken, order)
	case iccid != r.ICCID.String():
		return fmt.Errorf("IMSI %s: %w, with another ICCID", name, ErrTaken)
	case algorithm != l.source.Authentication.String() || amf != l.amf():
		return fmt.Errorf("IMSI %s: %w, with %s and the AMF %04X", name, ErrTaken, algorithm, amf)
	}
	there, err := l.auc.open(r.IMSI, l.source.Authentication, sealed)
	if err != nil {
		return err
	}
	defer clear(there)
	here, err := l.auc.open(r.IMSI, l.source.Authentication, r.Sealed)
	if err != nil {
		return err
	}
	defer clear(here)
	if subtle.ConstantTimeCompare(there, here) != 1 {
		return fmt.Errorf("IMSI %s: %w, with other keys", name, ErrTaken)
	}
	return nil
}
