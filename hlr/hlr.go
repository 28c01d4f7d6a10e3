// Package hlr is the operator's subscriber store, the authentication centre of
// a home network, for any algorithm: it keeps K and OPc or TOPc sealed, gives authentication vectors whose
// sequence numbers never repeat, and resynchronises with cards.
package hlr

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"

	"ankan/aka"
	"ankan/audit"
	"ankan/hsm"
	"ankan/sim"
	"ankan/store"
)

//go:embed migrations
var migrations embed.FS

// Schema is the tables that this package owns.
func Schema() store.Schema { return store.Embedded("hlr", migrations) }

// Errors that callers branch on.
var (
	// ErrUnknown: no subscriber has this IMSI.
	ErrUnknown = errors.New("no such subscriber")
	// ErrTaken: the IMSI or ICCID is there already, with something else.
	ErrTaken = errors.New("another subscriber is there already")
)

// KeysSize is the size of a subscriber's record, K || OPc or TOPc, in bytes.
func KeysSize(p aka.Parameters) int { return p.KeySize() + p.VariantSize() }

// maxVectors is the most vectors of one request: a card tells as many slots
// apart (TS 33.102, C.1.1.1), so more could not be used out of order.
const maxVectors = 32

// AuC is an authentication centre. Its methods may be called at the same time.
// The zero AuC panics; it comes from Open.
type AuC struct {
	store  *store.Store
	random func([]byte) error
	key    *hsm.DataKey
}

// Open opens the subscriber store in st. The first time it makes the data key,
// wrapped under kek, a Subscriber key of the token; afterwards kek must be the
// same. Close it to wipe the data key.
func Open(ctx context.Context, st *store.Store, token hsm.Token, kek string) (*AuC, error) {
	wrapped, err := storedKey(ctx, st, kek)
	if errors.Is(err, sql.ErrNoRows) {
		if err = makeKey(ctx, st, token, kek); err == nil {
			wrapped, err = storedKey(ctx, st, kek)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the subscriber store: %w", err)
	}
	key, err := token.OpenDataKey(ctx, kek, wrapped)
	if err != nil {
		return nil, fmt.Errorf("opening the subscriber store under the key %s: %w", kek, err)
	}
	return &AuC{st, token.Random, key}, nil
}

func storedKey(ctx context.Context, st *store.Store, kek string) (hsm.Wrapped, error) {
	var under string
	var wrapped []byte
	if err := st.QueryRow(ctx, `SELECT kek, wrapped FROM subscriber_key WHERE id = 1`).Scan(&under, &wrapped); err != nil {
		return nil, err
	}
	if under != kek {
		return nil, fmt.Errorf("its data key is under the key %s, not %s", under, kek)
	}
	return wrapped, nil
}

func makeKey(ctx context.Context, st *store.Store, token hsm.Token, kek string) error {
	key, wrapped, err := token.NewDataKey(ctx, kek)
	if err != nil {
		return err
	}
	key.Close()
	e := audit.Entry{Kind: "hlr.datakey", Actor: actor, Subject: "key/" + kek}
	return st.Change(ctx, e, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO subscriber_key (id, kek, wrapped) VALUES (1, $1, $2)`, kek, []byte(wrapped))
		return err
	})
}

// actor is who gives vectors: nobody asks for them by hand.
const actor = "system:hlr"

// Close wipes the data key. The AuC refuses afterwards.
func (a *AuC) Close() { a.key.Close() }

// DataKey is what Token.Translate seals the records of a Loader under.
func (a *AuC) DataKey() *hsm.DataKey { return a.key }

// AAD is the associated data of a subscriber's sealed record. It binds the
// record to its IMSI: a row that is copied over another does not open.
func AAD(id sim.IMSI) []byte { return id.Append([]byte("ankan/subscriber/v1\x00")) }

// Count is the number of subscribers, of one order, or of all for "".
func (a *AuC) Count(ctx context.Context, order string) (int, error) {
	var n int
	err := a.store.QueryRow(ctx, `SELECT count(*) FROM subscriber WHERE ord = $1 OR $1 = ''`, order).Scan(&n)
	return n, err
}

// subscriber is a row as authentication needs it.
type subscriber struct {
	keys aka.Set
	amf  aka.AMF
	sqn  aka.SQN
}

// read opens the subscriber's row in tx.
func (a *AuC) read(tx *store.Tx, id sim.IMSI) (subscriber, error) {
	var algorithm string
	var sealed []byte
	var amf, sqn uint64
	err := tx.QueryRow(`SELECT algorithm, sealed, amf, sqn FROM subscriber WHERE imsi = $1`, id.String()).
		Scan(&algorithm, &sealed, &amf, &sqn)
	if errors.Is(err, sql.ErrNoRows) {
		return subscriber{}, fmt.Errorf("IMSI %s: %w", id.Masked(), ErrUnknown)
	}
	if err != nil {
		return subscriber{}, err
	}
	p, err := aka.ParseParameters(algorithm)
	if err != nil {
		return subscriber{}, fmt.Errorf("IMSI %s: %w", id.Masked(), err)
	}
	last, err := aka.ParseSQN(sqn)
	if err != nil {
		return subscriber{}, fmt.Errorf("IMSI %s: %w", id.Masked(), err)
	}
	record, err := a.open(id, p, sealed)
	if err != nil {
		return subscriber{}, err
	}
	defer clear(record)
	keys, err := p.Open(record[:p.KeySize()], record[p.KeySize():])
	if err != nil {
		return subscriber{}, err
	}
	return subscriber{keys, aka.AMF{byte(amf >> 8), byte(amf)}, last}, nil
}

// open is the subscriber's K || OPc or TOPc. The caller clears it.
func (a *AuC) open(id sim.IMSI, p aka.Parameters, sealed []byte) ([]byte, error) {
	record, err := a.key.Open(nil, sealed, AAD(id))
	if err != nil {
		return nil, fmt.Errorf("keys of IMSI %s: %w", id.Masked(), err)
	}
	if n := KeysSize(p); len(record) != n {
		clear(record)
		return nil, fmt.Errorf("keys of IMSI %s have %d bytes, want %d of %s", id.Masked(), len(record), n, p)
	}
	return record, nil
}

// advance counts the subscriber's SQN up from one value to another. Two
// requests at one time cannot both succeed from the same value.
func advance(tx *store.Tx, id sim.IMSI, from, to aka.SQN) error {
	r, err := tx.Exec(`UPDATE subscriber SET sqn = $1 WHERE imsi = $2 AND sqn = $3`, int64(to), id.String(), int64(from))
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("IMSI %s: its SQN was changed meanwhile (%d rows): %w", id.Masked(), n, err)
	}
	return nil
}

// Vectors gives n authentication vectors, 1 to 32, with fresh sequence numbers
// and RANDs. The sequence numbers are reserved durably before the first vector
// exists: a crash loses numbers and never repeats one.
func (a *AuC) Vectors(ctx context.Context, id sim.IMSI, n int) ([]aka.Vector, error) {
	if n < 1 || n > maxVectors {
		return nil, fmt.Errorf("%d vectors, want 1 to %d", n, maxVectors)
	}
	challenges := make([]byte, 16*n)
	if err := a.random(challenges); err != nil {
		return nil, err
	}
	var s subscriber
	e := audit.Entry{Kind: "hlr.vectors", Actor: actor, Subject: "subscriber/" + id.String(), Data: map[string]any{"count": n}}
	err := a.store.Change(ctx, e, func(tx *store.Tx) error {
		var err error
		if s, err = a.read(tx, id); err != nil {
			return err
		}
		last, err := s.sqn.Add(uint64(n))
		if err != nil {
			return fmt.Errorf("IMSI %s: %w", id.Masked(), err)
		}
		return advance(tx, id, s.sqn, last)
	})
	if err != nil {
		return nil, err
	}
	vectors := make([]aka.Vector, n)
	for i := range vectors {
		sqn, err := s.sqn.Add(uint64(i) + 1)
		if err != nil {
			return nil, err
		}
		vectors[i] = s.keys.Vector(aka.RAND(challenges[16*i:]), sqn, s.amf)
	}
	return vectors, nil
}

// Resync takes a card's AUTS for a challenge (TS 33.102, 6.3.5): the next
// vectors are ones that the card accepts. It returns aka.ErrMAC for a token
// that is not the card's; the attempt is logged either way.
func (a *AuC) Resync(ctx context.Context, id sim.IMSI, rand aka.RAND, auts aka.AUTS) error {
	var refused error
	e := audit.Entry{Kind: "hlr.resync", Actor: actor, Subject: "subscriber/" + id.String()}
	err := a.store.Change(ctx, e, func(tx *store.Tx) error {
		s, err := a.read(tx, id)
		if err != nil {
			return err
		}
		to, err := resynchronised(s, rand, auts)
		if refused = err; refused != nil {
			tx.Note("outcome", "refused")
			return nil
		}
		if to == s.sqn {
			tx.Note("outcome", "ahead already")
			return nil
		}
		tx.Note("outcome", "advanced")
		return advance(tx, id, s.sqn, to)
	})
	if err == nil && refused != nil {
		err = fmt.Errorf("AUTS of IMSI %s: %w", id.Masked(), refused)
	}
	return err
}

func resynchronised(s subscriber, rand aka.RAND, auts aka.AUTS) (aka.SQN, error) {
	highest, err := s.keys.Resync(rand, auts)
	if err != nil {
		return 0, err
	}
	return s.sqn.Advance(highest)
}

// Verify compares a card's response to a challenge and logs the outcome: the
// proof that the card and this store hold the same keys. It returns aka.ErrRES.
func (a *AuC) Verify(ctx context.Context, id sim.IMSI, rand aka.RAND, res []byte) error {
	var refused error
	e := audit.Entry{Kind: "hlr.proof", Actor: actor, Subject: "subscriber/" + id.String(),
		Data: map[string]any{"rand": fmt.Sprintf("%x", rand[:])}}
	err := a.store.Change(ctx, e, func(tx *store.Tx) error {
		s, err := a.read(tx, id)
		if err != nil {
			return err
		}
		session, _ := s.keys.Session(rand)
		if refused = session.Verify(res); refused != nil {
			tx.Note("outcome", "refused")
		} else {
			tx.Note("outcome", "answered")
		}
		return nil
	})
	if err == nil && refused != nil {
		err = fmt.Errorf("response of IMSI %s: %w", id.Masked(), refused)
	}
	return err
}
