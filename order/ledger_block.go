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
	"time"

	"ankan/sim"
	"ankan/store"
)

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
	maxBlocks = 1 << 15 // of a window: a page of the database each, which SQLite holds in memory
	maxCards  = 1 << 18 // of a window
	batch     = 32      // blocks in one statement: the driver's work grows with the square
	runFlag   = 1 << 15 // of the first number of a run, when its last follows
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

func (b *bitmap) has(n number) bool {
	at, mask := n.bit()
	return b[at]&mask != 0
}

func (b *bitmap) add(other *bitmap) {
	for i, v := range other {
		b[i] |= v
	}
}

// append appends the stored form: the numbers that are set, two bytes each, or
// the first and the last of a run of them, and the whole bitmap when that is
// shorter. Neither consecutive identities nor scattered ones cost a bitmap.
func (b *bitmap) append(dst []byte) []byte {
	from := len(dst)
	for n := b.next(0, 0); n < perBlock; {
		end := b.next(n, 0xFF)
		if len(dst)-from+4 > bitBytes {
			return append(dst[:from], b[:]...)
		}
		switch end - n {
		case 1:
			dst = binary.BigEndian.AppendUint16(dst, uint16(n))
		default:
			dst = binary.BigEndian.AppendUint16(dst, uint16(n)|runFlag)
			dst = binary.BigEndian.AppendUint16(dst, uint16(end-1))
		}
		n = b.next(end, 0)
	}
	return dst
}

// next is the first number from n on that is set (flip 0) or not set (flip
// 0xFF); perBlock if there is none.
func (b *bitmap) next(n int, flip byte) int {
	for n < perBlock {
		if v := (b[n/8] ^ flip) >> (n % 8); v != 0 {
			return n + bits.TrailingZeros8(v)
		}
		n = n/8*8 + 8
	}
	return perBlock
}

// read adds what is stored; false if that is no stored form.
func (b *bitmap) read(stored []byte) bool {
	if len(stored) == bitBytes {
		b.add((*bitmap)(stored))
		return true
	}
	for ; len(stored) >= 2; stored = stored[2:] {
		first := binary.BigEndian.Uint16(stored)
		last := first
		if first&runFlag != 0 {
			if len(stored) < 4 {
				return false
			}
			stored = stored[2:]
			first, last = first&^runFlag, binary.BigEndian.Uint16(stored)
		}
		if first > last || last >= perBlock {
			return false
		}
		for n := first; n <= last; n++ {
			b[n/8] |= 1 << (n % 8)
		}
	}
	return len(stored) == 0
}

// errBlock is a block that this package did not write; errClash that a window
// holds something which may not be issued.
var (
	errBlock = errors.New("identity ledger: a block is malformed; the database was changed by something else")
	errClash = errors.New("identity ledger: an identity clashes")
)

// A block is a thousand numbers.
type block struct {
	name  [16]byte // keyed hash
	marks bitmap   // by this window
	own   bitmap   // stored for the same order
}

// A window is what is under way in memory.
type window struct {
	cards  int
	blocks map[blockID]*block
	last   [3]struct { // the last block of each space: most numbers follow each other
		prefix uint64
		*block
	}
	again bool // something was marked twice
}

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
	w.again = w.again || b.marks[at]&mask != 0
	b.marks[at] |= mask
}

// windows cuts ids into windows that fit in memory and names their blocks.
func (l *Ledger) windows(ctx context.Context, ids iter.Seq2[int, sim.Identity], act func(*window) error) error {
	w := &window{blocks: map[blockID]*block{}}
	flush := func() error {
		for id, b := range w.blocks {
			name, err := l.name(ctx, id)
			if err != nil {
				return err
			}
			b.name = name
		}
		return act(w)
	}
	for _, id := range ids {
		w.mark(iccidNumber(id.ICCID))
		w.mark(imsiNumber(id.IMSI))
		w.cards++
		if len(w.blocks) >= l.window || w.cards == maxCards {
			if err := flush(); err != nil {
				return err
			}
			w = &window{blocks: map[blockID]*block{}}
		}
	}
	if w.cards == 0 {
		return nil
	}
	return flush()
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

// batches is the blocks in the order of the table, so that neighbours are read
// and written together.
func (w *window) batches() iter.Seq[[]*block] {
	all := slices.SortedFunc(maps.Values(w.blocks), func(a, b *block) int { return bytes.Compare(a.name[:], b.name[:]) })
	return slices.Chunk(all, batch)
}

// An asker is a change or the database as committed.
type asker func(query string, args ...any) (*sql.Rows, error)

// shares yields what orders hold of a batch of blocks: the block, the order's
// number, and the two stored forms, which are valid until the next.
func shares(ask asker, part []*block, each func(b *block, ord int64, issued, retired []byte) error) error {
	args := make([]any, len(part))
	for i, b := range part {
		args[i] = b.name[:]
	}
	rows, err := ask(`SELECT block, ord, issued, retired FROM ledger_share WHERE block IN (`+places(len(part), 1)+`)`, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var name, issued, retired sql.RawBytes
	var ord int64
	for rows.Next() {
		if err := rows.Scan(&name, &ord, &issued, &retired); err != nil {
			return err
		}
		i, ok := slices.BinarySearchFunc(part, []byte(name), func(b *block, name []byte) int { return bytes.Compare(b.name[:], name) })
		if !ok {
			return errBlock
		}
		if err := each(part[i], ord, issued, retired); err != nil {
			return err
		}
	}
	return rows.Err()
}

// holder is the number of an order in the ledger, which first makes.
func holder(tx *store.Tx, h Holder, hold Hold, first bool) (n int64, err error) {
	if first {
		_, err = tx.Exec(`INSERT INTO ledger_order (n, ord, operator, state, at) SELECT coalesce(max(n), 0) + 1, $1, $2, $3, $4 FROM ledger_order`,
			h.Order, h.Operator, string(hold), tx.Time().Format(time.RFC3339Nano))
	}
	if err == nil {
		err = tx.QueryRow(`SELECT n FROM ledger_order WHERE ord = $1 AND state = $2`, h.Order, string(hold)).Scan(&n)
	}
	return n, err
}

// reserve adds the window's marks to what the order holds. errClash if one of
// them is another's, or was marked before.
func (w *window) reserve(tx *store.Tx, h Holder, first bool) error {
	if w.again {
		return errClash
	}
	n, err := holder(tx, h, Reserving, first)
	if err != nil {
		return err
	}
	for part := range w.batches() {
		err := shares(tx.Query, part, func(b *block, ord int64, issued, _ []byte) error {
			var held bitmap
			if !held.read(issued) {
				return errBlock
			}
			if ord == n {
				b.own = held
			}
			for i, m := range b.marks {
				if m&held[i] != 0 {
					return errClash
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, b := range part {
			b.own.add(&b.marks)
		}
		if err := save(tx, n, part); err != nil {
			return err
		}
	}
	return nil
}

// save writes what an order holds of a batch of blocks.
func save(tx *store.Tx, n int64, part []*block) error {
	args := make([]any, 0, 3*batch)
	stored := make([]byte, 0, batch*bitBytes+bitBytes)
	for _, b := range part {
		from := len(stored)
		stored = b.own.append(stored)
		args = append(args, b.name[:], n, stored[from:])
	}
	_, err := tx.Exec(`INSERT INTO ledger_share (block, ord, issued) VALUES `+places(len(part), 3)+
		` ON CONFLICT (block, ord) DO UPDATE SET issued = excluded.issued`, args...)
	return err
}

// nobody is the number of what was issued before orders were kept.
const nobody = 0

// takeOver gives an order the window's numbers, which nobody holds.
func (w *window) takeOver(tx *store.Tx, n int64, h Holder) error {
	for part := range w.batches() {
		rest := map[*block]*bitmap{}
		err := shares(tx.Query, part, func(b *block, ord int64, issued, _ []byte) error {
			var held bitmap
			switch {
			case !held.read(issued):
				return errBlock
			case ord == n:
				b.own = held // of another window
			case ord == nobody:
				rest[b] = &held
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, b := range part {
			held := rest[b]
			for i, m := range b.marks {
				if held == nil || m&^held[i] != 0 {
					return fmt.Errorf("order %s: %w: some of its identities were not issued before orders were kept", h.Order, ErrHeld)
				}
				held[i] &^= m
			}
			b.own.add(&b.marks)
			if _, err := tx.Exec(`UPDATE ledger_share SET issued = $1 WHERE block = $2 AND ord = $3`, held.append([]byte{}), b.name[:], int64(nobody)); err != nil {
				return err
			}
		}
		if err := save(tx, n, part); err != nil {
			return err
		}
	}
	_, err := tx.Exec(`DELETE FROM ledger_share WHERE ord = $1 AND length(issued) = 0`, int64(nobody))
	return err
}

// retire marks the window's numbers as retired, each where it is held; what
// nobody holds is h's.
func (w *window) retire(tx *store.Tx, h Holder) error {
	type change struct {
		b   *block
		ord int64
		out bitmap
	}
	for part := range w.batches() {
		var held []change
		err := shares(tx.Query, part, func(b *block, ord int64, issued, retired []byte) error {
			c := change{b: b, ord: ord}
			var in bitmap
			if !in.read(issued) || !c.out.read(retired) {
				return errBlock
			}
			for i := range in {
				in[i] &= b.marks[i]
				b.marks[i] &^= in[i]
			}
			if in != (bitmap{}) {
				c.out.add(&in)
				held = append(held, c)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, c := range held {
			if _, err := tx.Exec(`UPDATE ledger_share SET retired = $1 WHERE block = $2 AND ord = $3`, c.out.append(nil), c.b.name[:], c.ord); err != nil {
				return err
			}
		}
		for _, b := range part {
			if b.marks == (bitmap{}) {
				continue
			}
			if err := keep(tx, h, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// keep gives h the numbers of a block that nobody holds, retired.
func keep(tx *store.Tx, h Holder, b *block) error {
	n, err := holder(tx, h, Issued, false)
	if errors.Is(err, sql.ErrNoRows) {
		n, err = holder(tx, h, Issued, true)
	}
	if err != nil {
		return err
	}
	var out bitmap
	err = shares(tx.Query, []*block{b}, func(b *block, ord int64, issued, retired []byte) error {
		if ord == n && (!b.own.read(issued) || !out.read(retired)) {
			return errBlock
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.own.add(&b.marks)
	out.add(&b.marks)
	_, err = tx.Exec(`INSERT INTO ledger_share (block, ord, issued, retired) VALUES ($1, $2, $3, $4)
		ON CONFLICT (block, ord) DO UPDATE SET issued = excluded.issued, retired = excluded.retired`, b.name[:], n, b.own.append(nil), out.append(nil))
	return err
}

// clashes goes over the order again and names what clashed, once the window
// after so many that were entered has said that something did. What is twice in
// windows further on is named when the order comes without what is named now.
func (l *Ledger) clashes(ctx context.Context, s *store.Store, h Holder, ids iter.Seq2[int, sim.Identity], entered int) (Clashes, error) {
	var own int64 = -1
	err := s.QueryRow(ctx, `SELECT n FROM ledger_order WHERE ord = $1`, h.Order).Scan(&own)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	type card struct {
		at int
		id sim.Identity
	}
	var cards []card // of the window
	var found Clashes
	ask := func(query string, args ...any) (*sql.Rows, error) { return s.Query(ctx, query, args...) }
	look := func(w *window) error {
		defer func() { cards, entered = cards[:0], entered-1 }()
		if entered > 0 {
			return nil
		}
		others := map[*block]*bitmap{}
		for part := range w.batches() {
			err := shares(ask, part, func(b *block, ord int64, issued, _ []byte) error {
				held := &b.own
				if ord != own {
					if others[b] == nil {
						others[b] = new(bitmap)
					}
					held = others[b]
				}
				if !held.read(issued) {
					return errBlock
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		for _, c := range cards {
			for _, n := range []number{iccidNumber(c.id.ICCID), imsiNumber(c.id.IMSI)} {
				b := w.blocks[n.block()]
				before := b.own.has(n)
				at, mask := n.bit()
				b.own[at] |= mask
				if o := others[b]; before || o != nil && o.has(n) {
					text := c.id.IMSI.String()
					if n.space.kind() == KindICCID {
						text = c.id.ICCID.String()
					}
					found = append(found, &Clash{n.space.kind(), text, c.at, before})
				}
			}
			if len(found) >= maxClashes {
				return errClash
			}
		}
		return nil
	}
	err = l.windows(ctx, func(yield func(int, sim.Identity) bool) {
		for i, id := range ids {
			cards = append(cards, card{i, id})
			if !yield(i, id) {
				return
			}
		}
	}, look)
	if errors.Is(err, errClash) {
		err = nil
	}
	return found[:min(len(found), maxClashes)], err
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
