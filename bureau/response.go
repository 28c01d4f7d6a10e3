package bureau

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"ankan/datagen"
	"ankan/format"
	"ankan/hsm"
	"ankan/order"
	"ankan/profile"
	"ankan/sim"
	"ankan/store"
)

// A Response is what a response file is written from, besides the batch in the
// store.
type Response struct {
	Order   string       // whose batch it is
	Input   *order.Input // the order as it was placed
	Key     string       // name of the transport key in the security module
	First   int          // card of the order that the file begins with
	End     int          // card before which it ends; 0: with the last
	Good    int          // rows: those of them that are not retired
	Remakes map[int]int  // cards with the keys of a spare; -1: retired
	Columns []order.Column
	Variant sim.ICCIDVariant // how the file writes ICCIDs

	Output *format.Output         // nil: the first of the order's layout
	Keys   map[string]string      // names of the transport keys of named receivers
	Values map[order.Field]string // what the file says beside the order's own header
}

// delivery is what the file says before its rows, and the names of the keys in the
// module by their receivers.
func (r Response) delivery(ctx context.Context, t hsm.Token) (order.Delivery, map[string]string, error) {
	d := order.Delivery{Output: r.Output, Header: r.Input.Header, First: r.Input.First(), Quantity: r.Good, Columns: r.Columns, Variant: r.Variant, Values: r.Values}
	ids := map[string]string{}
	if r.Key != "" {
		key, err := t.Key(ctx, r.Key)
		if err != nil {
			return d, nil, err
		}
		d.KCV, ids[""] = key.KCV, key.ID
	}
	for receiver, name := range r.Keys {
		key, err := t.Key(ctx, name)
		if err != nil {
			return d, nil, err
		}
		if d.KCVs == nil {
			d.KCVs = map[string]hsm.KCV{}
		}
		d.KCVs[receiver], ids[receiver] = key.KCV, key.ID
	}
	return d, ids, nil
}

// fileName is what the layout calls the file; "" if it does not say it.
func (r Response) fileName(ctx context.Context, t hsm.Token) (string, error) {
	d, _, err := r.delivery(ctx, t)
	if err != nil {
		return "", err
	}
	return d.FileName()
}

// Write writes a row for each good card, in the order's order. Columns of keys
// are encrypted in the security module, a block of cards in one call. Blocks
// are opened and laid out side by side and written one after the other; memory
// is that of a few blocks.
func (r Response) Write(ctx context.Context, s *store.Store, t hsm.Token, w io.Writer) error {
	reader, err := datagen.NewReader(ctx, s, t, r.Order)
	if err != nil {
		return err
	}
	defer reader.Close()
	d, keys, err := r.delivery(ctx, t)
	if err != nil {
		return err
	}
	out, err := format.NewResponse(w, d)
	if err != nil {
		return err
	}
	workers := runtime.GOMAXPROCS(0)
	free := make(chan *rowMaker, workers+1)
	for range cap(free) {
		m := newRowMaker(t, keys, reader.Batch.Profile, r.Columns)
		defer m.close()
		free <- m
	}
	queue := make(chan chan *rowMaker, workers)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(queue)
		for n := r.First / reader.Batch.BlockSize; n*reader.Batch.BlockSize < r.end(); n++ {
			var m *rowMaker
			select {
			case m = <-free:
			case <-ctx.Done():
				return ctx.Err()
			}
			done := make(chan *rowMaker, 1)
			queue <- done
			g.Go(func() error {
				err := m.make(ctx, reader, n, r, out)
				m.err = err
				done <- m // from here on it is not ours
				return err
			})
		}
		return nil
	})
	g.Go(func() error {
		for done := range queue {
			m := <-done
			if m.err == nil {
				m.err = out.Rows(m.rows, len(m.cards))
			}
			if m.err != nil {
				return m.err
			}
			free <- m
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return out.Close()
}

// end is the card before which the file ends.
func (r Response) end() int {
	if r.End == 0 {
		return r.Input.Quantity()
	}
	return min(r.End, r.Input.Quantity())
}

// A rowMaker makes the rows of a block of cards: it lays the values of each key
// column side by side and has the security module encrypt them in one call.
type rowMaker struct {
	token   hsm.Token
	keys    map[string]string // transport keys by receiver
	layout  *profile.Layout
	columns []order.Column
	from    []source       // of each column
	cards   []int          // of the rows
	ids     []sim.Identity // of the block
	cells   [][]byte       // one column after the other
	row     [][]byte
	rows    []byte
	mixed   []byte // of a column in CBC mode
	spare   []byte // record of a spare key set
	err     error
}

// A source is where a column's value comes from in a record.
type source struct {
	slot  profile.SlotID
	width int           // bytes of the value; 0: it is the identity's
	kcv   hsm.KCVMethod // of a check value of what is there; "": what is there itself
}

func newRowMaker(t hsm.Token, keys map[string]string, p *profile.Profile, columns []order.Column) *rowMaker {
	m := &rowMaker{token: t, keys: keys, layout: p.Layout(), columns: columns, cells: make([][]byte, len(columns)), row: make([][]byte, len(columns))}
	names := map[string]profile.SlotID{}
	for _, s := range p.Slots() {
		names[s.Name] = s.ID
	}
	for _, c := range columns {
		from := source{slot: names[c.Slot()], kcv: c.KCV()}
		switch {
		case from.kcv != "":
			from.width = c.KCVBytes()
		case !c.Derived():
			from.width = m.layout.Len[from.slot]
		}
		m.from = append(m.from, from)
	}
	return m
}

// value appends a column's value of a record to its cells.
func (m *rowMaker) value(i int, from source, record []byte) error {
	of := m.layout.Of(record, from.slot)
	if from.kcv == "" {
		m.cells[i] = append(m.cells[i], of...)
		return nil
	}
	kcv, err := hsm.AESKCV(from.kcv, of)
	if err != nil {
		return fmt.Errorf("column %s: %w", m.columns[i], err)
	}
	m.cells[i] = kcv.AppendBytes(m.cells[i])
	return nil
}

// seal encrypts a column of keys.
func (m *rowMaker) seal(ctx context.Context, i int) error {
	key, ok := m.keys[m.columns[i].Receiver()]
	if !ok {
		return fmt.Errorf("column %s: the order names no transport key of %q", m.columns[i], m.columns[i].Receiver())
	}
	cells, iv := m.cells[i], m.columns[i].IV()
	if iv == nil {
		return m.token.SealColumn(ctx, key, cells, cells)
	}
	// CBC is ECB of each block mixed with the one before it: the module encrypts
	// the first blocks of all values, then the second ones.
	w := m.from[i].width
	defer func() { clear(m.mixed[:cap(m.mixed)]) }()
	for at := 0; at < w; at += len(iv) {
		m.mixed = m.mixed[:0]
		for v := 0; v < len(cells); v += w {
			before := iv
			if at > 0 {
				before = cells[v+at-len(iv) : v+at]
			}
			m.mixed = append(m.mixed, cells[v+at:v+at+len(iv)]...)
			block := m.mixed[len(m.mixed)-len(iv):]
			subtle.XORBytes(block, block, before)
		}
		if err := m.token.SealColumn(ctx, key, m.mixed, m.mixed); err != nil {
			return err
		}
		for n, v := 0, 0; v < len(cells); n, v = n+len(iv), v+w {
			copy(cells[v+at:v+at+len(iv)], m.mixed[n:])
		}
	}
	return nil
}

// make makes the rows of the cards of block n, without the retired.
func (m *rowMaker) make(ctx context.Context, reader *datagen.Reader, n int, r Response, out *order.ResponseWriter) error {
	m.close()
	block, err := reader.Block(ctx, n)
	if err != nil {
		return err
	}
	defer block.Close()
	first, end := max(block.First, r.First), min(block.First+block.Count, r.end())
	m.ids = slices.Grow(m.ids[:0], end-first)[:end-first]
	if err := r.Input.Read(m.ids, first); err != nil {
		return err
	}
	for card := first; card < end; card++ {
		record := block.Record(card)
		if keyset, remade := r.Remakes[card]; remade {
			if keyset < 0 {
				continue
			}
			if m.spare, err = reader.Record(ctx, m.spare[:0], keyset); err != nil {
				return err
			}
			record = m.spare
		}
		m.cards = append(m.cards, card)
		for i, from := range m.from {
			if from.width > 0 {
				if err := m.value(i, from, record); err != nil {
					return err
				}
			}
		}
	}
	for i, c := range m.columns {
		if c.Sealed() && len(m.cells[i]) > 0 {
			if err := m.seal(ctx, i); err != nil {
				return err
			}
		}
	}
	return m.append(first, out)
}

// append lays the rows out; the first identity is that of card first.
func (m *rowMaker) append(first int, out *order.ResponseWriter) (err error) {
	for n, card := range m.cards {
		for i, from := range m.from {
			w := from.width
			m.row[i] = m.cells[i][n*w : (n+1)*w]
		}
		if m.rows, err = out.AppendRow(m.rows, card+1, m.ids[card-first], m.row); err != nil {
			return fmt.Errorf("response: card %d: %w", card+1, err)
		}
	}
	return nil
}

// close wipes the values. Growing slices may have left copies behind in memory
// that the runtime frees; nothing of them is written anywhere.
func (m *rowMaker) close() {
	m.cards = m.cards[:0]
	for i := range m.cells {
		clear(m.cells[i][:cap(m.cells[i])])
		m.cells[i] = m.cells[i][:0]
	}
	clear(m.spare[:cap(m.spare)])
	clear(m.rows[:cap(m.rows)])
	m.rows = m.rows[:0]
}
