package order

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/bits"
	"slices"
	"strings"

	"ankan/hsm"
	"ankan/sim"
	"ankan/store"
)

// A Ledger remembers every identity that was ever issued, across all operators
// and for ever, also after the orders are destroyed. Numbers lie in blocks of
// a thousand under a keyed hash: consecutive identities cost little, and a
// stolen ledger tells nothing. The zero Ledger refuses.
type Ledger struct {
	token  hsm.Token
	key    string
	window int // blocks in memory at a time
}

// NewLedger is the ledger under a key of purpose hsm.Ledger. With another key
// it is another ledger, which knows nothing of the first.
func NewLedger(token hsm.Token, keyID string) (*Ledger, error) {
	if token == nil || keyID == "" {
		return nil, ErrNoLedger
	}
	return &Ledger{token, keyID, maxBlocks}, nil
}

// A Kind is what a number of the ledger names.
type Kind string

// The kinds of numbers.
const (
	KindICCID Kind = "ICCID"
	KindIMSI  Kind = "IMSI"
)

// A Clash is an identity that may not be issued again.
type Clash struct {
	Kind     Kind
	Value    string // all digits
	Position int    // in the order, from 0
	Inside   bool   // it was there before in the same order
}

// Error names the identity and its place.
func (c *Clash) Error() string {
	if c.Inside {
		return fmt.Sprintf("%s %s of card %d is twice in this order", c.Kind, c.Value, c.Position+1)
	}
	return fmt.Sprintf("%s %s of card %d was issued before", c.Kind, c.Value, c.Position+1)
}

// Clashes is why Reserve refused: the first ten clashes, in the order's order.
type Clashes []*Clash

const maxClashes = 10

// Error is one clash a line.
func (c Clashes) Error() string {
	lines := make([]string, len(c), len(c)+1)
	for i, clash := range c {
		lines[i] = clash.Error()
	}
	if len(c) == maxClashes {
		lines = append(lines, "there may be more")
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find the first Clash.
func (c Clashes) Unwrap() []error {
	errs := make([]error, len(c))
	for i, clash := range c {
		errs[i] = clash
	}
	return errs
}

// Errors that callers branch on.
var (
	ErrNoLedger       = errors.New("the ledger has no security module and no key")
	ErrNotIssued      = errors.New("identity was not issued, so it cannot be released")
	ErrRepeatedRandom = errors.New("random numbers repeat: this block was drawn before")
)

// Reserve issues the ICCIDs and IMSIs of ids. If one of them was issued before
// or is there twice, the error is Clashes and the change must fail: fn of
// store.Change returns it, and nothing is left of the reservation. ids may be
// ranged over twice. Memory is bounded; consecutive numbers are fastest.
func (l *Ledger) Reserve(ctx context.Context, tx *store.Tx, ids iter.Seq2[int, sim.Identity]) error {
	return l.each(ctx, tx, ids, func(w *window) error { return w.reserve(ids) })
}

// Release takes back what Reserve issued for an order that was refused before
// anything was drawn for it. It must never be called for an order with keys.
// ErrNotIssued, and the change must fail, if one identity is not issued.
func (l *Ledger) Release(ctx context.Context, tx *store.Tx, ids iter.Seq2[int, sim.Identity]) error {
	return l.each(ctx, tx, ids, (*window).release)
}

// each cuts ids into windows that fit in memory, and lets act make of each
// window's stored and new bits the bits to store.
func (l *Ledger) each(ctx context.Context, tx *store.Tx, ids iter.Seq2[int, sim.Identity], act func(*window) error) error {
	if l.token == nil {
		return ErrNoLedger
	}
	w := newWindow(0)
	flush := func() error {
		if err := l.load(ctx, tx, w); err != nil {
			return err
		}
		if err := act(w); err != nil {
			return err
		}
		return w.save(tx)
	}
	for i, id := range ids {
		w.mark(iccidNumber(id.ICCID))
		w.mark(imsiNumber(id.IMSI))
		if len(w.blocks) >= l.window {
			if err := flush(); err != nil {
				return err
			}
			w = newWindow(i + 1)
		}
	}
	return flush()
}

// A space is a set of numbers of its own: IMSIs, ICCIDs of 19 digits, ICCIDs
// of 20.
type space uint8

const (
	imsis space = iota
	iccids19
	iccids20
)

func (s space) kind() Kind {
	if s == imsis {
		return KindIMSI
	}
	return KindICCID
}

// A number is a number of a space.
type number struct {
	space space
	v     uint64
}

func imsiNumber(id sim.IMSI) number { return number{imsis, id.Value()} }

func iccidNumber(id sim.ICCID) number {
	if id.Digits() == 19 {
		return number{iccids19, id.Body()}
	}
	return number{iccids20, id.Body()}
}

const (
	perBlock  = 1000    // numbers
	bitBytes  = 125     // of a block
	maxBlocks = 1 << 16 // of a window: some 30 MB
	batch     = 32      // blocks in one statement: the driver's work grows with the square
)

func (n number) block() blockID { return blockID{n.space, n.v / perBlock} }
func (n number) bit() (at int, mask byte) {
	k := n.v % perBlock
	return int(k / 8), 1 << (k % 8)
}

// A blockID names a block in memory; only its keyed hash is stored.
type blockID struct {
	space  space
	prefix uint64
}

type bitmap [bitBytes]byte

// append appends the stored form: the bitmap, or each number of a block with
// few in two bytes, so that scattered identities do not cost a bitmap each.
func (b *bitmap) append(dst []byte) []byte {
	from := len(dst)
	for i, v := range b {
		for ; v != 0; v &= v - 1 {
			if len(dst)-from+2 > bitBytes {
				return append(dst[:from], b[:]...)
			}
			dst = binary.BigEndian.AppendUint16(dst, uint16(i*8+bits.TrailingZeros8(v)))
		}
	}
	return dst
}

// read reads the stored form; false if it is none.
func (b *bitmap) read(stored []byte) bool {
	if len(stored) == bitBytes {
		*b = bitmap(stored)
		return true
	}
	for ; len(stored) >= 2; stored = stored[2:] {
		n := binary.BigEndian.Uint16(stored)
		if n >= perBlock {
			return false
		}
		b[n/8] |= 1 << (n % 8)
	}
	return len(stored) == 0
}

// errBlock is a block that this package did not write.
var errBlock = errors.New("identity ledger: a block is malformed; the database was changed by something else")

// A block is a thousand numbers.
type block struct {
	name  [16]byte // keyed hash
	old   bitmap   // as stored
	marks bitmap   // by this window
	twice bitmap   // marked twice by this window
}

// A window is what is under way in memory.
type window struct {
	start  int // position of its first identity
	blocks map[blockID]*block
	last   [3]struct { // the last block of each space: most numbers follow each other
		prefix uint64
		*block
	}
	again bool // something was marked twice
}

func newWindow(start int) *window { return &window{start: start, blocks: make(map[blockID]*block)} }

func (w *window) mark(n number) {
	b := w.last[n.space].block
	if id := n.block(); b == nil || w.last[n.space].prefix != id.prefix {
		if b = w.blocks[id]; b == nil {
			b = new(block)
			w.blocks[id] = b
		}
		w.last[n.space].prefix, w.last[n.space].block = id.prefix, b
	}
	at, mask := n.bit()
	if b.marks[at]&mask != 0 {
		b.twice[at] |= mask
		w.again = true
	}
	b.marks[at] |= mask
}

// sorted is the blocks in the order of the table, so that neighbours are
// written together.
func (w *window) sorted() []*block {
	return slices.SortedFunc(maps.Values(w.blocks), func(a, b *block) int { return bytes.Compare(a.name[:], b.name[:]) })
}

// load names the blocks and reads what is stored of them.
func (l *Ledger) load(ctx context.Context, tx *store.Tx, w *window) error {
	for id, b := range w.blocks {
		name, err := l.name(ctx, id)
		if err != nil {
			return err
		}
		b.name = name
	}
	all := w.sorted()
	for len(all) > 0 {
		part := all[:min(batch, len(all))]
		all = all[len(part):]
		if err := loadBatch(tx, part); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) name(ctx context.Context, id blockID) ([16]byte, error) {
	var prefix [9]byte
	prefix[0] = byte(id.space)
	binary.BigEndian.PutUint64(prefix[1:], id.prefix)
	mac, err := l.token.MAC(ctx, l.key, []byte("ankan ledger block\x00"), prefix[:])
	if err != nil {
		return [16]byte{}, fmt.Errorf("identity ledger: %w", err)
	}
	return [16]byte(mac[:16]), nil
}

// loadBatch reads blocks that are sorted by name.
func loadBatch(tx *store.Tx, part []*block) error {
	args := make([]any, len(part))
	for i, b := range part {
		args[i] = b.name[:]
	}
	rows, err := tx.Query(`SELECT block, issued FROM ledger_block WHERE block IN (`+places(len(part), 1)+`)`, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var name, issued sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&name, &issued); err != nil {
			return err
		}
		i, ok := slices.BinarySearchFunc(part, []byte(name), func(b *block, name []byte) int { return bytes.Compare(b.name[:], name) })
		if !ok || !part[i].old.read(issued) {
			return errBlock
		}
	}
	return rows.Err()
}

// save writes all blocks of the window.
func (w *window) save(tx *store.Tx) error {
	all := w.sorted()
	args := make([]any, 0, 2*batch)
	stored := make([]byte, 0, batch*bitBytes+bitBytes)
	for len(all) > 0 {
		part := all[:min(batch, len(all))]
		all = all[len(part):]
		args, stored = args[:0], stored[:0]
		for _, b := range part {
			from := len(stored)
			stored = b.marks.append(stored)
			args = append(args, b.name[:], stored[from:])
		}
		_, err := tx.Exec(`INSERT INTO ledger_block (block, issued) VALUES `+places(len(part), 2)+
			` ON CONFLICT (block) DO UPDATE SET issued = excluded.issued`, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// places is the placeholders of rows with width values: "($1, $2), ($3, $4)";
// of width 1 without brackets.
func places(rows, width int) string {
	var b strings.Builder
	for i := range rows * width {
		if i > 0 {
			b.WriteByte(',')
		}
		if width > 1 && i%width == 0 {
			b.WriteByte('(')
		}
		fmt.Fprintf(&b, "$%d", i+1)
		if width > 1 && i%width == width-1 {
			b.WriteByte(')')
		}
	}
	return b.String()
}

// reserve adds the window's marks to what is stored.
func (w *window) reserve(ids iter.Seq2[int, sim.Identity]) error {
	clash := w.again
	for _, b := range w.blocks {
		for i := range b.marks {
			clash = clash || b.marks[i]&b.old[i] != 0
			b.marks[i] |= b.old[i]
		}
	}
	if clash {
		return w.clashes(ids)
	}
	return nil
}

// release takes the window's marks from what is stored.
func (w *window) release() error {
	for _, b := range w.blocks {
		for i, m := range b.marks {
			if m&^b.old[i] != 0 {
				return fmt.Errorf("identity ledger: %w", ErrNotIssued)
			}
			b.marks[i] = b.old[i] &^ m
		}
	}
	return nil
}

// clashes goes over the order again and names what clashed, once the window
// says that something did. The windows before this one had no clash.
func (w *window) clashes(ids iter.Seq2[int, sim.Identity]) error {
	seen := make(map[blockID]*bitmap)
	var found Clashes
	for i, id := range ids {
		for _, n := range []number{iccidNumber(id.ICCID), imsiNumber(id.IMSI)} {
			b := w.blocks[n.block()]
			if b == nil {
				continue
			}
			if seen[n.block()] == nil {
				seen[n.block()] = new(bitmap)
			}
			at, mask := n.bit()
			before := seen[n.block()][at]&mask != 0
			seen[n.block()][at] |= mask
			// What an earlier window of this order stored is seen before.
			if before || i >= w.start && b.old[at]&mask != 0 {
				text := id.IMSI.String()
				if n.space.kind() == KindICCID {
					text = id.ICCID.String()
				}
				found = append(found, &Clash{n.space.kind(), text, i, before})
			}
		}
		if len(found) >= maxClashes {
			break
		}
	}
	return found[:min(len(found), maxClashes)]
}

// IssuedICCID reports whether an ICCID was ever issued.
func (l *Ledger) IssuedICCID(ctx context.Context, s *store.Store, id sim.ICCID) (bool, error) {
	return l.issued(ctx, s, iccidNumber(id))
}

// IssuedIMSI reports whether an IMSI was ever issued.
func (l *Ledger) IssuedIMSI(ctx context.Context, s *store.Store, id sim.IMSI) (bool, error) {
	return l.issued(ctx, s, imsiNumber(id))
}

func (l *Ledger) issued(ctx context.Context, s *store.Store, n number) (bool, error) {
	if l.token == nil {
		return false, ErrNoLedger
	}
	name, err := l.name(ctx, n.block())
	if err != nil {
		return false, err
	}
	var stored []byte
	err = s.QueryRow(ctx, `SELECT issued FROM ledger_block WHERE block = $1`, name[:]).Scan(&stored)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, err
	}
	var issued bitmap
	if !issued.read(stored) {
		return false, errBlock
	}
	at, mask := n.bit()
	return issued[at]&mask != 0, nil
}

// Fingerprint is the keyed fingerprint of the first key that was drawn for a
// block of key sets. It asks the security module, so call it before the change.
func (l *Ledger) Fingerprint(ctx context.Context, firstKey []byte) (mac [32]byte, err error) {
	if l.token == nil {
		return mac, ErrNoLedger
	}
	if len(firstKey) < 16 {
		return mac, fmt.Errorf("fingerprint of a key of %d bytes, want at least 16", len(firstKey))
	}
	if mac, err = l.token.MAC(ctx, l.key, []byte("ankan ledger fingerprint\x00"), firstKey); err != nil {
		return mac, fmt.Errorf("fingerprint of a block: %w", err)
	}
	return mac, nil
}

// InsertFingerprint remembers a Fingerprint. ErrRepeatedRandom, and the change
// must fail, if it is there already: the random stream repeats, as that of a
// restored snapshot does.
func (l *Ledger) InsertFingerprint(tx *store.Tx, fingerprint [32]byte) error {
	if l.token == nil {
		return ErrNoLedger
	}
	res, err := tx.Exec(`INSERT INTO ledger_fingerprint (fingerprint) VALUES ($1) ON CONFLICT (fingerprint) DO NOTHING`, fingerprint[:16])
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n != 1 {
		err = ErrRepeatedRandom
	}
	return err
}
