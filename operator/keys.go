package operator

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"ankan/act"
	"ankan/aka"
	"ankan/audit"
	"ankan/custody"
	"ankan/hsm"
	"ankan/keys"
	"ankan/message"
	"ankan/site"
	"ankan/store"
)

// Making a transport key and an OP under one index, for one manufacturer: an act
// of the nodal officer that the security officer approves (SOP 6.4.e.i).

// keyPair is the names of the two keys of an index.
func (s *operator) keyPair(index int) []string {
	return []string{message.TransportKey(s.Config().Site, index), message.OPKey(s.Config().Site, index)}
}

// pair is what an act of key.make is about.
type pair struct {
	Partner   string        `json:"partner"`
	Index     int           `json:"index"`
	Algorithm hsm.Algorithm `json:"algorithm"`      // of the transport key
	TUAK      bool          `json:"tuak,omitempty"` // the OP is a TOP of TUAK
}

// op is the form of the pair's OP: 128 bits, or the 256 of a TOP.
func (p pair) op() hsm.Algorithm {
	if p.TUAK {
		return hsm.AES256
	}
	return hsm.AES128
}

// makeSubject cuts "key/PARTNER/INDEX" and "key/PARTNER/INDEX/ALGORITHM", each
// with "/TUAK" behind it for a TOP instead of an OP.
func makeSubject(subject string) (pair, error) {
	p := pair{Algorithm: hsm.AES256}
	subject, p.TUAK = strings.CutSuffix(subject, "/"+string(aka.TUAK))
	for _, a := range []hsm.Algorithm{hsm.AES128, hsm.AES256, hsm.TDES, hsm.TDES3} {
		if rest, ok := strings.CutSuffix(subject, "/"+string(a)); ok {
			subject, p.Algorithm = rest, a
			break
		}
	}
	var err error
	if p.Partner, p.Index, err = site.KeySubject(subject); err != nil {
		return p, fmt.Errorf("%w, nor key/PARTNER/INDEX/ALGORITHM with %s, %s, or under a waiver %s or %s, with /%s behind it for a TOP", err, hsm.AES128, hsm.AES256, hsm.TDES, hsm.TDES3, aka.TUAK)
	}
	if p.Index < 1 || p.Index > 99 {
		return p, fmt.Errorf("index is %d, want 1 to 99; 0 means not encrypted", p.Index)
	}
	return p, nil
}

func (s *operator) proposeMake(ctx context.Context, subject string) (map[string]string, error) {
	p, err := makeSubject(subject)
	if err != nil {
		return nil, err
	}
	if s.Partner(p.Partner) == nil {
		return nil, fmt.Errorf("%q is no partner", p.Partner)
	}
	for _, id := range s.keyPair(p.Index) {
		switch k, err := s.Register().Key(ctx, id); {
		case err == nil:
			return nil, fmt.Errorf("key %s: %w: it is %s; keys are never overwritten; take another index", id, act.ErrNotAllowed, k.State)
		case !errors.Is(err, keys.ErrNoKey):
			return nil, err
		}
	}
	params := map[string]string{
		"partner": p.Partner, "index": fmt.Sprint(p.Index),
		"transport.key": message.TransportKey(s.Config().Site, p.Index), "transport.algorithm": string(p.Algorithm),
		"op.key": message.OPKey(s.Config().Site, p.Index), "op.algorithm": string(p.op()),
	}
	return params, s.WaiverOf(ctx, params["transport.key"], p.Algorithm, params)
}

// doMake spends the warrant and writes the intent; then the module makes the
// keys. What a crash leaves undone a round of the site does.
func (s *operator) doMake(ctx context.Context, w custody.Warrant) error {
	p, err := makeSubject(w.Act().Subject)
	if err != nil {
		return err
	}
	doc, err := json.Marshal(p)
	if err != nil {
		return err
	}
	s.making.Lock()
	defer s.making.Unlock()
	err = w.Use(ctx, "key.make", w.Act().Subject, map[string]any{"keys": s.keyPair(p.Index)}, func(tx *store.Tx) error {
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM offered_key WHERE purpose = 'make' AND idx = $1`, p.Index).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("index %d: %w: keys under it are being made already", p.Index, act.ErrNotAllowed)
		}
		_, err := tx.Exec(`INSERT INTO offered_key (partner, idx, purpose, document, state) VALUES ($1, $2, 'make', $3, 'making')`, p.Partner, p.Index, doc)
		return err
	})
	if err != nil {
		return err
	}
	return s.makePair(context.WithoutCancel(ctx), p)
}

// makeKeys goes on where the site stopped after a warrant was spent.
func (s *operator) makeKeys(ctx context.Context) error {
	s.making.Lock()
	defer s.making.Unlock()
	var doc []byte
	err := s.Store().QueryRow(ctx, `SELECT document FROM offered_key WHERE purpose = 'make' AND state = 'making' ORDER BY idx LIMIT 1`).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return site.ErrIdle
	}
	if err != nil {
		return err
	}
	var p pair
	if err := json.Unmarshal(doc, &p); err != nil {
		return err
	}
	return s.makePair(ctx, p)
}

// makePair has the module make both keys, unless a try before this one did, and
// writes the outcome. Both belong to the partner from their first day.
func (s *operator) makePair(ctx context.Context, p pair) error {
	data := map[string]any{"partner": p.Partner, "index": p.Index}
	for id, k := range map[string]struct {
		purpose   hsm.Purpose
		algorithm hsm.Algorithm
	}{message.TransportKey(s.Config().Site, p.Index): {hsm.Transport, p.Algorithm}, message.OPKey(s.Config().Site, p.Index): {hsm.Operator, p.op()}} {
		made, err := s.Token().Generate(keys.For(ctx, "partner/"+p.Partner), id, k.purpose, k.algorithm)
		if errors.Is(err, hsm.ErrKeyExists) {
			made, err = s.Token().Key(ctx, id)
		}
		if err != nil {
			return fmt.Errorf("key %s: %w", id, err)
		}
		data[id] = made.KCV.String()
	}
	e := audit.Entry{Kind: "key.pair-made", Actor: "system:site", Subject: fmt.Sprintf("key/%s/%d", p.Partner, p.Index), Data: data}
	return s.Store().Change(ctx, e, func(tx *store.Tx) error {
		for _, id := range s.keyPair(p.Index) {
			if err := keys.PutLink(tx, id, "partner/"+p.Partner, 0); err != nil {
				return err
			}
		}
		_, err := tx.Exec(`UPDATE offered_key SET state = 'made' WHERE purpose = 'make' AND partner = $1 AND idx = $2`, p.Partner, p.Index)
		return err
	})
}
