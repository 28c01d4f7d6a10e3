package site

import (
	"bytes"
	"context"
	"database/sql"
	"io"

	"ankan/exchange"
	"ankan/message"
	"ankan/store"
)

// Owe has the sender of a file answered, in the transaction that takes the file
// in or refuses it; see Owe.
func (a *Arrival) Owe(tx *store.Tx, name string, v any) error { return Owe(tx, a.Partner, name, v) }

// Owe has a message sent to a partner for what a transaction does: soon after
// it, once by its name, wherever the site stops in between. It holds no secret.
func Owe(tx *store.Tx, to, name string, v any) error {
	var b bytes.Buffer
	if err := message.JSON(v)(&b); err != nil {
		return err
	}
	_, err := tx.Exec(`INSERT INTO owed (partner, name, document) VALUES ($1, $2, $3) ON CONFLICT (partner, name) DO NOTHING`, to, name, b.Bytes())
	return err
}

// owed is an answer that is not in the spool yet.
type owed struct {
	partner, name string
	document      []byte
}

func (s *Site) owed(ctx context.Context) ([]owed, error) {
	return store.Collect(s.store.Committed(ctx), func(rows *sql.Rows) (o owed, err error) {
		return o, rows.Scan(&o.partner, &o.name, &o.document)
	}, `SELECT partner, name, document FROM owed ORDER BY partner, name LIMIT 100`)
}

// pay sends an answer that is owed.
func (s *Site) pay(ctx context.Context, o owed) error {
	write := func(w io.Writer) error {
		_, err := w.Write(o.document)
		return err
	}
	return s.seal(ctx, exchange.Seal, o.partner, o.name, write, func(tx *store.Tx) error {
		_, err := tx.Exec(`DELETE FROM owed WHERE partner = $1 AND name = $2`, o.partner, o.name)
		return err
	})
}
