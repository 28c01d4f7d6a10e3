package store

import (
	"context"
	"fmt"

	"ankan/audit"
)

// Retile computes the log's tiles anew from its entries, if these are the ones
// that the checkpoint signs. Nothing else of a database can be derived. The
// database must not be open.
func Retile(ctx context.Context, c Config) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("computing the tiles of %s: %w", c.Path, err)
		}
	}()
	engine, err := newEngine(c)
	if err != nil {
		return err
	}
	defer engine.close()
	db, err := engine.open(ctx)
	if err != nil {
		return err
	}
	f := &Filling{c: c, ctx: context.WithoutCancel(ctx)}
	if f.conn, err = db.Conn(ctx); err != nil {
		return err
	}
	defer f.conn.Close()
	var signed []byte
	if err := f.conn.QueryRowContext(ctx, "SELECT signed FROM log_checkpoint WHERE id = 1").Scan(&signed); err != nil {
		return err
	}
	want, err := audit.OpenCheckpoint(signed, c.Signer.VerifierKey())
	if err != nil {
		return err
	}
	// Before a tile is touched, the entries must be the right ones.
	tree := new(audit.Tree)
	for leaf, err := range leaves(asker{f.ctx, f.conn}, 0, want.Size) {
		if err == nil {
			err = tree.Append(audit.LeafHash(leaf), func(audit.Tile) error { return nil })
		}
		if err != nil {
			return err
		}
	}
	if tree.Size() != want.Size || tree.Root() != want.Root {
		return fmt.Errorf("%w: %w: its %d entries give the root %s, its checkpoint signs %s over %d", ErrTampered, audit.Rewritten, tree.Size(), tree.Root(), want.Root, want.Size)
	}
	_, err = f.tiles(want.Size)
	return err
}
