package datagen

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"ankan/aka"
	"ankan/hsm"
	"ankan/order"
	"ankan/profile"
	"ankan/sim"
	"ankan/store"
)

// A Generator draws the key sets of batches. Its zero value refuses.
type Generator struct {
	Store  *store.Store
	Token  hsm.Token
	Ledger *order.Ledger
	OP     OP // the operator's variant; nil for an algorithm that has none
}

// OP computes OPc, or TOPc, from a subscriber's K. A security module has it.
type OP interface {
	OPc(dst, k []byte, p aka.Parameters) ([]byte, error)
}

// Identities fills ids with the identities of the order's cards from number
// first on (order.Input.Read). Blocks ask for theirs side by side.
type Identities func(ids []sim.Identity, first int) error

// Run draws all blocks of b that are not stored yet: Draw of all of them.
func (g *Generator) Run(ctx context.Context, b Batch, ids Identities, stored func(sets int)) error {
	if err := b.check(); err != nil {
		return err
	}
	return g.Draw(ctx, b, Span{0, b.Blocks()}, ids, stored)
}

// Draw draws the blocks of b in a span that are not stored yet, and stores a
// few with each change, in any order. It may be cut short, and others may draw
// and store in the same span at the same time: a block is stored once, whoever
// comes first, and Draw ends when none is missing. Each block's first key has a
// keyed fingerprint in the ledger; a repeated random stream is refused.
// stored, which may be nil, is told how many key sets were stored with each
// change.
func (g *Generator) Draw(ctx context.Context, b Batch, in Span, ids Identities, stored func(sets int)) error {
	if err := b.check(); err != nil {
		return err
	}
	if g.Store == nil || g.Token == nil || g.Ledger == nil {
		return errors.New("datagen: store, security module and ledger must be there")
	}
	if g.OP == nil && b.Profile.Parameters().VariantSize() > 0 {
		return fmt.Errorf("datagen: OP must be there: cards have %s", b.Profile.Algorithm)
	}
	for {
		missing, err := Missing(ctx, g.Store, b, in)
		if err != nil || len(missing) == 0 {
			return err
		}
		if err := g.draw(ctx, b, missing, ids, stored); !errors.Is(err, errStored) {
			return err
		}
	}
}

// Blocks that are stored in one change, at most, are some 8 MB; those that are
// drawn or wait for the disk, at most, some 32 MB.
const (
	perCommit = 32
	underWay  = 128
)

// draw draws what is missing in a span. Blocks are drawn side by side, on all
// processors, and others wait for the disk meanwhile.
func (g *Generator) draw(ctx context.Context, b Batch, missing []Span, ids Identities, stored func(sets int)) error {
	dk, err := g.Token.OpenDataKey(ctx, b.KEK, b.Wrapped)
	if err != nil {
		return err
	}
	defer dk.Close()
	todo := 0
	for _, m := range missing {
		todo += m.Len()
	}
	processors := runtime.GOMAXPROCS(0)
	share := max(1, min(perCommit, underWay/(2*processors), todo/processors))
	drawing := make(chan struct{}, processors)
	var telling sync.Mutex
	// What is being drawn ends before the keys are closed, here and at the caller.
	eg, drawn := errgroup.WithContext(ctx)
	eg.SetLimit(2 * processors)
	for piece := range pieces(missing, share) {
		if drawn.Err() != nil {
			break
		}
		eg.Go(func() error {
			drawing <- struct{}{}
			blocks, err := g.blocks(drawn, dk, b, piece, ids)
			<-drawing
			if err == nil {
				err = g.put(drawn, b, piece.From, blocks)
			}
			if err != nil || stored == nil {
				return err
			}
			telling.Lock()
			defer telling.Unlock()
			stored(b.sets(piece))
			return nil
		})
	}
	return cmp.Or(eg.Wait(), ctx.Err())
}

// blocks draws the blocks of one change.
func (g *Generator) blocks(ctx context.Context, dk *hsm.DataKey, b Batch, piece Span, ids Identities) (all []sealedBlock, err error) {
	records := make([]byte, b.BlockSize*b.Profile.Layout().Size) // one after the other
	for n := piece.From; n < piece.To; n++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var s sealedBlock
		if s.sealed, s.fingerprint, err = g.block(ctx, dk, b, n, records, ids); err != nil {
			return nil, err
		}
		s.sum = sha256.Sum256(s.sealed)
		all = append(all, s)
	}
	return all, nil
}

// put stores blocks, unless the fingerprint of one is known. errStored if
// somebody else has stored one of them.
func (g *Generator) put(ctx context.Context, b Batch, n int, blocks []sealedBlock) error {
	err := putBlocks(ctx, g.Store, b, n, blocks, "batch.block-generated", func(tx *store.Tx, s sealedBlock) error {
		return g.Ledger.InsertFingerprint(tx, s.fingerprint)
	})
	if err != nil {
		return fmt.Errorf("order %s: blocks %d to %d: %w", b.Order, n, n+len(blocks)-1, err)
	}
	return nil
}

// block draws one block and seals it. records is memory for it, wiped before and
// after: the clear records live in this call.
func (g *Generator) block(ctx context.Context, dk *hsm.DataKey, b Batch, n int, records []byte, ids Identities) (sealed []byte, fingerprint [32]byte, err error) {
	first, count := b.span(n)
	layout, slots := b.Profile.Layout(), b.Profile.Slots()
	records = records[:count*layout.Size]
	defer clear(records)
	cards := make([]sim.Identity, max(0, min(count, b.Cards-first))) // spares have none
	if len(cards) > 0 {
		if err := ids(cards, first); err != nil {
			return nil, fingerprint, err
		}
	}
	random, err := newDRBG(g.Token, b.aad(n))
	if err != nil {
		return nil, fingerprint, err
	}
	defer random.Close()
	for i := range count {
		r := records[i*layout.Size : (i+1)*layout.Size]
		if err := g.record(r, b.Profile.Parameters(), layout, slots, random); err != nil {
			return nil, fingerprint, err
		}
		if i < len(cards) {
			putIdentity(r, layout, cards[i])
		}
	}
	fingerprint, err = g.Ledger.Fingerprint(ctx, layout.Of(records, profile.SlotK))
	if err != nil {
		return nil, fingerprint, err
	}
	return dk.Seal(nil, records, b.aad(n)), fingerprint, nil
}

// record draws the keys and codes of one key set.
func (g *Generator) record(r []byte, p aka.Parameters, layout *profile.Layout, slots []profile.Slot, random *drbg) error {
	for _, s := range slots {
		field := layout.Of(r, s.ID)
		switch s.Kind {
		case profile.RandomKey:
			random.fill(field)
		case profile.RandomDigits:
			for i := copy(field, s.Fixed); i < len(field); i++ {
				field[i] = 0xFF
			}
			if s.Fixed == "" {
				random.digits(field[:s.Digits])
			}
		}
	}
	opc := layout.Of(r, profile.SlotOPC)
	if opc == nil {
		return nil
	}
	_, err := g.OP.OPc(opc[:0], layout.Of(r, profile.SlotK), p)
	return err
}

// putIdentity writes an identity as the card's files have it.
func putIdentity(r []byte, layout *profile.Layout, id sim.Identity) {
	iccid, imsi := id.ICCID.EF(), id.IMSI.EF()
	copy(layout.Of(r, profile.SlotICCID), iccid[:])
	copy(layout.Of(r, profile.SlotIMSI), imsi[:])
	acc := id.IMSI.ACC()
	if f := layout.Of(r, profile.SlotACC); f != nil {
		f[0], f[1] = byte(acc>>8), byte(acc)
	}
	if f := layout.Of(r, profile.SlotMSISDN); f != nil {
		for i := range f {
			f[i] = 0xFF
		}
		if !id.MSISDN.IsZero() {
			id.MSISDN.Append(f[:0])
		}
	}
}

// CopyIdentity gives the record dst the identity of the record src: a remake
// has its card's identity and a spare's keys.
func CopyIdentity(layout *profile.Layout, dst, src []byte) {
	for _, s := range []profile.SlotID{profile.SlotICCID, profile.SlotIMSI, profile.SlotMSISDN, profile.SlotACC} {
		copy(layout.Of(dst, s), layout.Of(src, s))
	}
}

// Identity reads the identity of a record. A spare has none.
func Identity(layout *profile.Layout, r []byte) (sim.Identity, error) {
	iccid, err := sim.ICCIDFromEF([10]byte(layout.Of(r, profile.SlotICCID)))
	if err != nil {
		return sim.Identity{}, err
	}
	imsi, err := sim.IMSIFromEF([9]byte(layout.Of(r, profile.SlotIMSI)))
	if err != nil {
		return sim.Identity{}, err
	}
	return sim.Identity{ICCID: iccid, IMSI: imsi}, nil
}
