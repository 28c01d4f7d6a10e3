package site

import (
	"context"
	"crypto/sha256"
	"hash"

	"ankan/datagen"
	"ankan/hsm"
	"ankan/order"
	"ankan/profile"
)

func newDigest() hash.Hash { return sha256.New() }

// rowMaker makes the rows of a response, a block of cards at a time: it lays
// the values of each key column side by side and has the security module
// encrypt them in one call.
type rowMaker struct {
	token   hsm.Token
	key     string
	layout  *profile.Layout
	columns []order.Column
	slots   []profile.SlotID // of each column
	cards   []int            // of the rows
	cells   [][]byte         // one column after the other
	row     [][]byte
}

func newRowMaker(t hsm.Token, key string, p *profile.Profile, columns []order.Column) *rowMaker {
	m := &rowMaker{token: t, key: key, layout: p.Layout(), columns: columns, cells: make([][]byte, len(columns)), row: make([][]byte, len(columns))}
	names := map[string]profile.SlotID{}
	for _, s := range p.Slots() {
		names[s.Name] = s.ID
	}
	for _, c := range columns {
		m.slots = append(m.slots, names[c.Slot()])
	}
	return m
}

// width is the bytes of a column's value in a record; 0 if the value is the identity's.
func (m *rowMaker) width(i int) int {
	if m.columns[i].Derived() || m.columns[i].Slot() == "" {
		return 0
	}
	return m.layout.Len[m.slots[i]]
}

// load reads cards first to last, without the retired, and encrypts.
func (m *rowMaker) load(ctx context.Context, r *datagen.Reader, first, last int, remakes map[int]int) error {
	m.close()
	m.cards = m.cards[:0]
	var record []byte
	defer func() { clear(record[:cap(record)]) }()
	for card := first; card < last; card++ {
		keyset, remade := remakes[card]
		if !remade {
			keyset = card
		}
		if keyset < 0 {
			continue
		}
		var err error
		if record, err = r.Record(ctx, record[:0], keyset); err != nil {
			return err
		}
		m.cards = append(m.cards, card)
		for i := range m.columns {
			if m.width(i) > 0 {
				m.cells[i] = append(m.cells[i], m.layout.Of(record, m.slots[i])...)
			}
		}
	}
	for i, c := range m.columns {
		if c.Sealed() && len(m.cells[i]) > 0 {
			if err := m.token.SealColumn(ctx, m.key, m.cells[i], m.cells[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *rowMaker) write(out *order.ResponseWriter, in *order.Input) error {
	for n, card := range m.cards {
		for i := range m.columns {
			w := m.width(i)
			m.row[i] = m.cells[i][n*w : (n+1)*w]
		}
		if err := out.Row(in.At(card), m.row); err != nil {
			return err
		}
	}
	return nil
}

// close wipes the values. Growing slices may have left copies behind in memory
// that the runtime frees; nothing of them is written anywhere.
func (m *rowMaker) close() {
	for i := range m.cells {
		clear(m.cells[i][:cap(m.cells[i])])
		m.cells[i] = m.cells[i][:0]
	}
}
