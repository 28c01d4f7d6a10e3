// Package datagen draws the keys and codes of an order's cards into sealed
// blocks, and reads such blocks. Card data is rows of nothing: a few hundred
// to a few thousand key sets lie in one AES-256-GCM block under the order's
// data key. Erasing the key that wraps it erases order, copies and backups.
package datagen

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"ankan/audit"
	"ankan/hsm"
	"ankan/profile"
	"ankan/store"
)

//go:embed migrations
var migrations embed.FS

// Schema is the tables that this package owns.
func Schema() store.Schema { return store.Embedded("datagen", migrations) }

// BlockSize is the number of key sets in a block of a new batch.
const BlockSize = 1000

// Errors that callers branch on.
var (
	// ErrNoBatch is wrapped where an order has no batch, or had one and it was destroyed.
	ErrNoBatch = errors.New("no batch")
	// ErrBlocks is wrapped by Import if what it reads is not the batch's blocks.
	ErrBlocks = errors.New("these are not the batch's blocks")
)

// A Batch is what an order's blocks have in common. It holds no clear key.
//
// Key set k of an order lies in block k / BlockSize. Key sets below Cards carry
// the identity of the order's k-th card; the others are spares for remakes.
type Batch struct {
	Order                    string
	KEK                      string // name of the Order key in the module
	Wrapped                  hsm.Wrapped
	Document                 []byte           // the electrical profile as it was written
	Profile                  *profile.Profile // read from Document
	Cards, Spares, BlockSize int

	// For those who draw: the name of the operator's OP in the module, empty if
	// the algorithm has none; and the identities if they are a range (SealRange).
	OP    string
	Range []byte
	old   bool // it has neither, from a program that kept them elsewhere
}

// Blocks is the number of blocks.
func (b Batch) Blocks() int { return (b.Cards + b.Spares + b.BlockSize - 1) / b.BlockSize }

// span is the first key set of block n and how many there are.
func (b Batch) span(n int) (first, count int) {
	first = n * b.BlockSize
	return first, min(b.BlockSize, b.Cards+b.Spares-first)
}

// aad binds a sealed block to its order, place, size and layout.
func (b Batch) aad(n int) []byte {
	first, count := b.span(n)
	h := sha256.New()
	for _, s := range b.Profile.Slots() {
		fmt.Fprintf(h, "%s %d\n", s.Name, s.Len)
	}
	a := append([]byte("ankan/block/v1\x00"), b.Order...)
	a = append(a, 0)
	for _, v := range []int{n, first, count} {
		a = binary.BigEndian.AppendUint64(a, uint64(v))
	}
	return h.Sum(a)
}

func (b Batch) check() error {
	switch {
	case b.Order == "" || b.KEK == "" || len(b.Wrapped) == 0 || b.Profile == nil || len(b.Document) == 0:
		return errors.New("batch: order, key and profile must be there")
	case b.Cards <= 0 || b.Spares < 0 || b.BlockSize <= 0 || b.BlockSize > 1<<16:
		return fmt.Errorf("batch %s: %d cards, %d spares in blocks of %d", b.Order, b.Cards, b.Spares, b.BlockSize)
	}
	return nil
}

// Create records a batch without blocks, in the transaction of the caller.
func Create(tx *store.Tx, b Batch) error {
	if err := b.check(); err != nil {
		return err
	}
	_, err := tx.Exec(`INSERT INTO batch (ord, kek, wrapped, profile, cards, spares, block_size, op, identities) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		b.Order, b.KEK, []byte(b.Wrapped), b.Document, b.Cards, b.Spares, b.BlockSize, b.OP, b.Range)
	return err
}

// Drawable says whether the batch has what whoever draws it needs: one of an
// older program has not.
func (b Batch) Drawable() bool { return !b.old }

// Complete adds to a batch of an older program what whoever draws it needs, in
// the transaction of the caller.
func Complete(tx *store.Tx, b Batch) error {
	_, err := tx.Exec(`UPDATE batch SET op = $1, identities = $2 WHERE ord = $3`, b.OP, b.Range, b.Order)
	return err
}

// Load is the batch of an order; ErrNoBatch if there is none.
func Load(ctx context.Context, s *store.Store, ord string) (Batch, error) {
	b := Batch{Order: ord}
	var wrapped []byte
	var op sql.NullString
	err := s.QueryRow(ctx, `SELECT kek, wrapped, profile, cards, spares, block_size, op, identities FROM batch WHERE ord = $1`, ord).
		Scan(&b.KEK, &wrapped, &b.Document, &b.Cards, &b.Spares, &b.BlockSize, &op, &b.Range)
	if errors.Is(err, sql.ErrNoRows) {
		return b, fmt.Errorf("order %s: %w", ord, ErrNoBatch)
	}
	if err != nil {
		return b, err
	}
	b.Wrapped, b.OP, b.old = wrapped, op.String, !op.Valid
	if b.Profile, err = profile.Parse(ord+".profile.yaml", b.Document); err != nil {
		return b, err
	}
	return b, b.check()
}

// perWipe is how many blocks are overwritten in one change: some 3 MB.
const perWipe = 8

// Wipe deletes the blocks of a batch but for the last few, which Delete takes.
// It does so a few in each change, each with its entry: a database keeps in
// memory what one change overwrites. Cut short, it is called again.
func Wipe(ctx context.Context, s *store.Store, ord string) error {
	for {
		have, err := Have(ctx, s, ord)
		if err != nil || have <= perWipe {
			return err
		}
		first := max(perWipe, have-perWipe)
		e := audit.Entry{Kind: "batch.blocks-wiped", Actor: "system:datagen", Subject: "order/" + ord, Data: map[string]any{"first": first, "count": have - first}}
		err = s.Change(ctx, e, func(tx *store.Tx) error {
			_, err := tx.Exec(`DELETE FROM block WHERE ord = $1 AND n >= $2`, ord, first)
			return err
		})
		if err != nil {
			return err
		}
	}
}

// Delete removes a batch and its blocks, in the transaction of the caller. The
// key is destroyed in the module before, and of a great batch most blocks
// (Wipe).
func Delete(tx *store.Tx, ord string) error {
	_, err := tx.Exec(`DELETE FROM batch WHERE ord = $1`, ord)
	return err
}

// A Span is blocks of a batch: From, and those up to To, which is not among them.
type Span struct{ From, To int }

// Len is how many blocks it has.
func (s Span) Len() int { return s.To - s.From }

// pieces cuts spans into pieces of at most n blocks.
func pieces(spans []Span, n int) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		for _, s := range spans {
			for at := s.From; at < s.To; at += n {
				if !yield(Span{at, min(at+n, s.To)}) {
					return
				}
			}
		}
	}
}

// sets is how many key sets lie in the blocks of a span.
func (b Batch) sets(s Span) int {
	return min(s.To*b.BlockSize, b.Cards+b.Spares) - s.From*b.BlockSize
}

// Missing is the blocks of b in a span that are not stored, in order.
func Missing(ctx context.Context, s *store.Store, b Batch, in Span) ([]Span, error) {
	if in.From < 0 || in.From > in.To || in.To > b.Blocks() {
		return nil, fmt.Errorf("order %s: blocks %d to %d: it has %d", b.Order, in.From, in.To, b.Blocks())
	}
	rows, err := s.Query(ctx, `SELECT n FROM block WHERE ord = $1 AND n >= $2 AND n < $3 ORDER BY n`, b.Order, in.From, in.To)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var missing []Span
	at := in.From
	until := func(n int) {
		if at < n {
			missing = append(missing, Span{at, n})
		}
		at = n + 1
	}
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		until(n)
	}
	until(in.To)
	return missing, rows.Err()
}

// Have is how many blocks of an order are stored, wherever they lie.
func Have(ctx context.Context, s *store.Store, ord string) (int, error) {
	var n int
	err := s.QueryRow(ctx, `SELECT count(*) FROM block WHERE ord = $1`, ord).Scan(&n)
	return n, err
}

// A sealedBlock is a block on its way into the store.
type sealedBlock struct {
	sealed      []byte
	sum         [sha256.Size]byte
	fingerprint [32]byte // of a block that was drawn here
}

// errStored is that a block is there already: another process has drawn it.
var errStored = errors.New("the block is stored already")

// putBlocks stores blocks from block n on in one change, each with its entry;
// all or none. errStored if one is there already.
func putBlocks(ctx context.Context, s *store.Store, b Batch, n int, blocks []sealedBlock, kind string, also func(*store.Tx, sealedBlock) error) error {
	entry := func(i int) audit.Entry {
		first, count := b.span(n + i)
		return audit.Entry{Kind: kind, Actor: "system:datagen", Subject: "order/" + b.Order,
			Data: map[string]any{"block": n + i, "first": first, "count": count, "sha256": hex.EncodeToString(blocks[i].sum[:])}}
	}
	return s.Apart(ctx, entry(0), func(tx *store.Tx) error {
		for i, block := range blocks {
			if i > 0 {
				if err := tx.Append(entry(i)); err != nil {
					return err
				}
			}
			res, err := tx.Exec(`INSERT INTO block (ord, n, sealed) VALUES ($1, $2, $3) ON CONFLICT (ord, n) DO NOTHING`, b.Order, n+i, block.sealed)
			if err != nil {
				return err
			}
			if stored, err := res.RowsAffected(); err != nil || stored == 0 {
				return cmp.Or(err, errStored)
			}
			if also != nil {
				if err := also(tx, block); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Export writes the sealed blocks of b to w, each with its length in four
// bytes before it. Nothing is opened.
func Export(ctx context.Context, s *store.Store, b Batch, w io.Writer) error {
	for n := range b.Blocks() {
		var sealed []byte
		if err := s.QueryRow(ctx, `SELECT sealed FROM block WHERE ord = $1 AND n = $2`, b.Order, n).Scan(&sealed); err != nil {
			return fmt.Errorf("order %s: block %d: %w", b.Order, n, err)
		}
		if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(sealed)))); err != nil {
			return err
		}
		if _, err := w.Write(sealed); err != nil {
			return err
		}
	}
	return nil
}

// Import stores the blocks that Export wrote for a batch that Create recorded.
// Each must open under the data key; ErrBlocks if one does not, or the text is
// too short or too long. Blocks that are there already are passed over, so that
// an import that was cut short goes on.
func Import(ctx context.Context, s *store.Store, dk *hsm.DataKey, b Batch, r io.Reader) error {
	if err := b.check(); err != nil {
		return err
	}
	missing, err := Missing(ctx, s, b, Span{0, b.Blocks()})
	if err != nil {
		return err
	}
	var group []sealedBlock      // to be stored in one change
	put := func(end int) error { // the group, which ends before block end
		if len(group) == 0 {
			return nil
		}
		err := putBlocks(ctx, s, b, end-len(group), group, "batch.block-received", nil)
		group = group[:0]
		return err
	}
	for n := range b.Blocks() {
		sealed, err := b.take(dk, r, n)
		if err != nil {
			return cmp.Or(put(n), err)
		}
		if len(missing) > 0 && n == missing[0].To {
			missing = missing[1:]
		}
		if len(missing) > 0 && n >= missing[0].From {
			group = append(group, sealedBlock{sealed: sealed, sum: sha256.Sum256(sealed)})
			if len(group) < perCommit {
				continue
			}
			n++
		}
		if err := put(n); err != nil {
			return err
		}
	}
	if err := put(b.Blocks()); err != nil {
		return err
	}
	switch _, err := io.ReadFull(r, make([]byte, 1)); err {
	case io.EOF:
		return nil
	case nil:
		return fmt.Errorf("order %s: %w: more follows after the last of %d", b.Order, ErrBlocks, b.Blocks())
	default:
		return fmt.Errorf("order %s: after the last block: %w", b.Order, err)
	}
}

// take reads sealed block n and opens it, to see that it is one.
func (b Batch) take(dk *hsm.DataKey, r io.Reader, n int) ([]byte, error) {
	sealed, err := b.read(r, n)
	if err != nil {
		return nil, fmt.Errorf("order %s: block %d of %d: %w", b.Order, n, b.Blocks(), err)
	}
	blk, err := open(dk, b, n, nil, sealed)
	if errors.Is(err, hsm.ErrSealed) {
		return nil, fmt.Errorf("%w: %w", ErrBlocks, err)
	}
	if err != nil {
		return nil, err
	}
	blk.Close()
	return sealed, nil
}

// read reads sealed block n. Its length is known before.
func (b Batch) read(r io.Reader, n int) ([]byte, error) {
	_, count := b.span(n)
	want := count*b.Profile.Layout().Size + hsm.SealOverhead
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, cut(err)
	}
	if size := binary.BigEndian.Uint32(head[:]); int64(size) != int64(want) {
		return nil, fmt.Errorf("%w: it has %d bytes, want %d", ErrBlocks, size, want)
	}
	sealed := make([]byte, want)
	_, err := io.ReadFull(r, sealed)
	return sealed, cut(err)
}

// cut says that a text which ends too early is none of the batch's.
func cut(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: it is cut short", ErrBlocks)
	}
	return err
}

// A Block is an open block: the one place outside the security module where
// keys are in the clear, for as long as it is worked on. Close wipes it.
type Block struct {
	First, Count int // key sets
	size         int
	records      []byte
	pool         *sync.Pool // where the memory comes from; nil: nowhere
}

// Record is the record of key set k, in the layout of the profile. It is valid
// until Close.
func (b *Block) Record(k int) []byte {
	i := k - b.First
	return b.records[i*b.size : (i+1)*b.size : (i+1)*b.size]
}

// Close wipes the block; it has no records from here on.
func (b *Block) Close() {
	clear(b.records)
	if records := b.records; b.pool != nil {
		b.pool.Put(&records)
	}
	b.records, b.pool = nil, nil
}

// open opens a sealed block and appends its records to dst, which may be
// sealed[:0].
func open(dk *hsm.DataKey, b Batch, n int, dst, sealed []byte) (*Block, error) {
	first, count := b.span(n)
	records, err := dk.Open(dst, sealed, b.aad(n))
	if err != nil {
		return nil, fmt.Errorf("order %s: block %d: %w", b.Order, n, err)
	}
	size := b.Profile.Layout().Size
	if len(records) != count*size {
		clear(records)
		return nil, fmt.Errorf("order %s: block %d: %w: %d bytes, want %d", b.Order, n, hsm.ErrSealed, len(records), count*size)
	}
	return &Block{First: first, Count: count, size: size, records: records}, nil
}

// keepOpen is how many blocks a Reader holds open: stations work side by side
// in one or two, remakes in one of the spares.
const keepOpen = 4

// A Reader opens the blocks of one order. It may be used at the same time.
// Close wipes what it holds.
type Reader struct {
	Batch Batch

	store *store.Store
	dk    *hsm.DataKey
	mu    sync.Mutex
	held  []*Block  // newest last
	free  sync.Pool // of *[]byte: wiped memory of blocks
}

// NewReader opens the data key of an order.
func NewReader(ctx context.Context, s *store.Store, t hsm.Token, ord string) (*Reader, error) {
	b, err := Load(ctx, s, ord)
	if err != nil {
		return nil, err
	}
	dk, err := t.OpenDataKey(ctx, b.KEK, b.Wrapped)
	if err != nil {
		return nil, fmt.Errorf("order %s: data key: %w", ord, err)
	}
	return &Reader{Batch: b, store: s, dk: dk}, nil
}

// Block opens block n. The caller closes it.
func (r *Reader) Block(ctx context.Context, n int) (*Block, error) {
	sealed := r.memory()
	err := r.store.QueryRow(ctx, `SELECT sealed FROM block WHERE ord = $1 AND n = $2`, r.Batch.Order, n).Scan((*into)(&sealed))
	if err != nil {
		return nil, fmt.Errorf("order %s: block %d: %w", r.Batch.Order, n, err)
	}
	b, err := open(r.dk, r.Batch, n, sealed[:0], sealed)
	if err == nil {
		b.pool = &r.free
	}
	return b, err
}

// memory is for a sealed block.
func (r *Reader) memory() []byte {
	if b, ok := r.free.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return nil
}

// into is memory that a column of bytes is read into.
type into []byte

// Scan implements sql.Scanner.
func (p *into) Scan(column any) error {
	b, ok := column.([]byte)
	if !ok {
		return fmt.Errorf("found a %T, want bytes", column)
	}
	*p = append((*p)[:0], b...)
	return nil
}

// Record appends the record of key set k to dst. The caller wipes it.
func (r *Reader) Record(ctx context.Context, dst []byte, k int) ([]byte, error) {
	if k < 0 || k >= r.Batch.Cards+r.Batch.Spares {
		return dst, fmt.Errorf("order %s: key set %d, there are %d", r.Batch.Order, k, r.Batch.Cards+r.Batch.Spares)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.held {
		if k >= b.First && k < b.First+b.Count {
			return append(dst, b.Record(k)...), nil
		}
	}
	b, err := r.Block(ctx, k/r.Batch.BlockSize)
	if err != nil {
		return dst, err
	}
	if len(r.held) == keepOpen {
		r.held[0].Close()
		r.held = append(r.held[:0], r.held[1:]...)
	}
	r.held = append(r.held, b)
	return append(dst, b.Record(k)...), nil
}

// Close wipes all open blocks and the data key.
func (r *Reader) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.held {
		b.Close()
	}
	r.held = nil
	r.dk.Close()
}
