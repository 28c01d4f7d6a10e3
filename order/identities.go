package order

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"sync"

	"ankan/sim"
)

// The identities of an order are a range, or a list. A list lies in blocks of a
// thousand, beside the blocks of key sets, and is never held as a whole unless
// the caller asked for that (ParseInput).

// perList is how many identities of a list lie in one block.
const perList = 1000

// An identityList is the identities that an order file lists. It may be used by many
// goroutines.
type identityList struct {
	n     int                         // identities
	open  func(n int) ([]byte, error) // block n, in the clear; nil if they were not kept
	close func()                      // what open works with; may be nil

	mu    sync.Mutex
	held  []sim.Identity // of the block that at opened last
	block int            // its number
	err   error          // the first one of at and of Identities
}

var errNotKept = errors.New("order: the identities of its list were read and not kept")

// read fills ids with identities from number first on.
func (l *identityList) read(ids []sim.Identity, first int) error {
	if l.open == nil {
		return errNotKept
	}
	if first < 0 || first+len(ids) > l.n {
		return fmt.Errorf("order: identities %d to %d of a list of %d", first, first+len(ids)-1, l.n)
	}
	for len(ids) > 0 {
		n := first / perList
		block, err := l.open(n)
		if err != nil {
			return err
		}
		got, err := readBlock(block, ids, first%perList, min(perList, l.n-n*perList))
		if err != nil {
			return fmt.Errorf("order: block %d of the identities: %w", n, err)
		}
		ids, first = ids[got:], first+got
	}
	return nil
}

// at is identity i. A block that cannot be opened gives the zero identity, and
// err says why.
func (l *identityList) at(i int) sim.Identity {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := i / perList; len(l.held) == 0 || n != l.block {
		l.block, l.held = n, make([]sim.Identity, max(0, min(perList, l.n-n*perList)))
		if err := l.read(l.held, n*perList); err != nil {
			l.held = nil
			l.fail(err)
			return sim.Identity{}
		}
	}
	return l.held[i%perList]
}

// fail keeps the first error; mu is held.
func (l *identityList) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// A block of a list is the number of digits of its ICCIDs, the length of an
// entry, and the entries: body of the ICCID, IMSI and, if any card has one,
// MSISDN, each in eight bytes.
const blockHead, shortEntry, longEntry = 2, 16, 24

// readBlock reads entries of a block of count from number first on, as many as
// there are and ids has room for.
func readBlock(block []byte, ids []sim.Identity, first, count int) (n int, err error) {
	if len(block) < blockHead {
		return 0, errors.New("it is empty")
	}
	digits, size := int(block[0]), int(block[1])
	if size != shortEntry && size != longEntry || len(block) != blockHead+count*size {
		return 0, fmt.Errorf("it has %d bytes with entries of %d, want %d entries", len(block), size, count)
	}
	for n = 0; n < len(ids) && first+n < count; n++ {
		entry := block[blockHead+(first+n)*size:][:size]
		id := &ids[n]
		*id = sim.Identity{}
		if id.ICCID, err = sim.NewICCID(binary.BigEndian.Uint64(entry), digits); err == nil {
			id.IMSI, err = sim.NewIMSI(binary.BigEndian.Uint64(entry[8:]))
		}
		if err == nil && size == longEntry {
			if v := binary.BigEndian.Uint64(entry[16:]); v != 0 {
				id.MSISDN, err = sim.NewMSISDN(v)
			}
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// A listWriter cuts the identities of a list into blocks.
type listWriter struct {
	put  func(block []byte) error // may not keep it
	ids  []sim.Identity           // of the block under way
	buf  []byte
	size int
}

func (w *listWriter) add(id sim.Identity) error {
	w.ids = append(w.ids, id)
	if !id.MSISDN.IsZero() {
		w.size = longEntry
	}
	if len(w.ids) < perList {
		return nil
	}
	return w.flush()
}

func (w *listWriter) flush() error {
	if len(w.ids) == 0 {
		return nil
	}
	digits := w.ids[0].ICCID.Digits()
	size := max(w.size, shortEntry)
	w.buf = append(w.buf[:0], byte(digits), byte(size))
	for _, id := range w.ids {
		if id.ICCID.Digits() != digits {
			return fmt.Errorf("order: a list with ICCIDs of %d and of %d digits", digits, id.ICCID.Digits())
		}
		w.buf = binary.BigEndian.AppendUint64(w.buf, id.ICCID.Body())
		w.buf = binary.BigEndian.AppendUint64(w.buf, id.IMSI.Value())
		if size == longEntry {
			w.buf = binary.BigEndian.AppendUint64(w.buf, id.MSISDN.Value())
		}
	}
	w.ids, w.size = w.ids[:0], 0
	return w.put(w.buf)
}

// First is the first identity.
func (in *Input) First() sim.Identity { return in.first }

// Range is the identities as a range; false if the file lists each.
func (in *Input) Range() (sim.IdentityRange, bool) { return in.span, in.list == nil }

// At is the identity of the order's i-th card, from 0. It panics if i is out of
// range. If the block of a list cannot be opened it is the zero identity, and
// Err says why; Read has the error at once.
func (in *Input) At(i int) sim.Identity {
	if in.list == nil {
		return in.span.At(uint64(i))
	}
	if i < 0 || i >= in.list.n {
		panic(fmt.Sprintf("order: identity %d of a list of %d", i, in.list.n))
	}
	return in.list.at(i)
}

// Read fills ids with the identities of the order's cards from number first on.
// It may be called by many goroutines; a thousand from a multiple of a thousand
// are fastest.
func (in *Input) Read(ids []sim.Identity, first int) error {
	if in.list != nil {
		return in.list.read(ids, first)
	}
	if first < 0 || first+len(ids) > int(in.span.Len()) {
		return fmt.Errorf("order: identities %d to %d of a range of %d", first, first+len(ids)-1, in.span.Len())
	}
	for i := range ids {
		ids[i] = in.span.At(uint64(first + i))
	}
	return nil
}

// Identities yields every identity that the order asks for with its position,
// from 0, in the file's order. It can be repeated. It ends early if the
// identities of a list cannot be read: whoever counts on all of them asks Err
// after it.
func (in *Input) Identities() iter.Seq2[int, sim.Identity] {
	return func(yield func(int, sim.Identity) bool) {
		n := int(in.span.Len())
		if in.list != nil {
			n = in.list.n
		}
		ids := make([]sim.Identity, min(n, perList))
		for first := 0; first < n; first += len(ids) {
			ids = ids[:min(len(ids), n-first)]
			if err := in.Read(ids, first); err != nil {
				in.list.mu.Lock()
				in.list.fail(err)
				in.list.mu.Unlock()
				return
			}
			for i, id := range ids {
				if !yield(first+i, id) {
					return
				}
			}
		}
	}
}

// Err is why At gave a zero identity or Identities ended early; nil if neither
// did.
func (in *Input) Err() error {
	if in.list == nil {
		return nil
	}
	in.list.mu.Lock()
	defer in.list.mu.Unlock()
	return in.list.err
}

// Close drops the key of an order whose identities lie sealed (OpenText). They
// cannot be read any more.
func (in *Input) Close() {
	if in.list != nil && in.list.close != nil {
		in.list.close()
	}
}
