package datagen

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/iotest"

	"ankan/hsm"
	"ankan/profile"
	"ankan/store"
	"ankan/store/storetest"
)

func TestCreateAndLoad(t *testing.T) {
	f := newBureau(t)
	b := f.batch("A1", 25, 4, 10)
	had, err := Load(t.Context(), f.store, "A1")
	f.must(err)
	if had.Cards != 25 || had.Spares != 4 || had.BlockSize != 10 || had.Blocks() != 3 || !bytes.Equal(had.Wrapped, b.Wrapped) ||
		!bytes.Equal(had.Document, b.Document) || had.Profile.Digest() != b.Profile.Digest() {
		t.Errorf("%+v is not what was created", had)
	}
	_, err = Load(t.Context(), f.store, "A2")
	f.want("no batch", err, ErrNoBatch)
	_, err = NewReader(t.Context(), f.store, f.token, "A2")
	f.want("reader of no batch", err, ErrNoBatch)
	for name, change := range map[string]func(*Batch){
		"no order":     func(b *Batch) { b.Order = "" },
		"no key":       func(b *Batch) { b.KEK = "" },
		"no data key":  func(b *Batch) { b.Wrapped = nil },
		"no document":  func(b *Batch) { b.Document = nil },
		"no profile":   func(b *Batch) { b.Profile = nil },
		"no cards":     func(b *Batch) { b.Cards = 0 },
		"spares < 0":   func(b *Batch) { b.Spares = -1 },
		"no block":     func(b *Batch) { b.BlockSize = 0 },
		"large blocks": func(b *Batch) { b.BlockSize = 1<<16 + 1 },
		"twice":        func(b *Batch) { b.Order = "A1" },
	} {
		other := b
		other.Order = "A3"
		change(&other)
		if err := f.change("batch.created", func(tx *store.Tx) error { return Create(tx, other) }); err == nil {
			t.Errorf("%s: created", name)
		}
	}
}

// A sealed block opens in its place and nowhere else.
func TestBlockIsBound(t *testing.T) {
	f := newBureau(t)
	b := f.generated("A1", 25, 5, 10)
	dk, sealed := f.dataKey(b), f.sealed(b, 1)
	blk, err := open(dk, b, 1, nil, sealed)
	f.must(err)
	if blk.First != 10 || blk.Count != 10 {
		t.Errorf("block 1 has %d key sets from %d", blk.Count, blk.First)
	}
	records := blk.records
	blk.Close()
	if !bytes.Equal(records, make([]byte, len(records))) {
		t.Error("Close leaves records in memory")
	}
	more := f.batch("A2", 25, 5, 10)
	other, err := profile.Parse("other.yaml", bytes.Replace(f.doc, []byte("aes: 256"), []byte("aes: 128"), 1))
	if err != nil || other.Layout().Size == b.Profile.Layout().Size {
		t.Fatalf("no profile with another layout: %v", err)
	}
	for _, c := range []struct {
		name   string
		change func(b *Batch, n *int, sealed []byte)
	}{
		{"another order", func(b *Batch, _ *int, _ []byte) { b.Order = "A2" }},
		{"another place", func(_ *Batch, n *int, _ []byte) { *n = 2 }},
		{"fewer key sets", func(b *Batch, _ *int, _ []byte) { b.Cards, b.Spares = 15, 0 }},
		{"another size of blocks", func(b *Batch, _ *int, _ []byte) { b.BlockSize = 15 }},
		{"another layout", func(b *Batch, _ *int, _ []byte) { b.Profile = other }},
		{"first bit", func(_ *Batch, _ *int, s []byte) { s[0] ^= 1 }},
		{"a bit in the middle", func(_ *Batch, _ *int, s []byte) { s[len(s)/2] ^= 0x10 }},
		{"last bit", func(_ *Batch, _ *int, s []byte) { s[len(s)-1] ^= 0x80 }},
	} {
		b, n, s := b, 1, bytes.Clone(sealed)
		c.change(&b, &n, s)
		_, err := open(dk, b, n, s[:0], s)
		f.want(c.name, err, hsm.ErrSealed)
	}
	_, err = open(f.dataKey(more), b, 1, nil, sealed)
	f.want("another data key", err, hsm.ErrSealed)
	_, err = open(dk, b, 1, nil, nil)
	f.want("nothing", err, hsm.ErrSealed)
	// Rightly sealed, and still not so many records.
	_, err = open(dk, b, 1, nil, dk.Seal(nil, make([]byte, 7), b.aad(1)))
	f.want("short records", err, hsm.ErrSealed)
}

// plant is another site that holds the batch's data key.
func (f *bureau) plant(b Batch) (*bureau, Batch) {
	f.Helper()
	p := newBureau(f.TB)
	agree, err := p.token.Generate(f.Context(), "agree", hsm.Agree, hsm.P521)
	f.must(err)
	given, err := f.token.GiveDataKey(f.Context(), b.KEK, b.Wrapped, agree.Public, "label")
	f.must(err)
	b.Wrapped, err = p.token.TakeDataKey(f.Context(), "agree", given, "label", "kek")
	f.must(err)
	f.must(p.change("batch.created", func(tx *store.Tx) error { return Create(tx, b) }))
	return p, b
}

func (f *bureau) exported(b Batch) []byte {
	f.Helper()
	var out bytes.Buffer
	f.must(Export(f.Context(), f.store, b, &out))
	return out.Bytes()
}

func TestExportImport(t *testing.T) {
	f := newBureau(t)
	b := f.generated("A1", 25, 5, 10)
	file := f.exported(b)
	p, pb := f.plant(b)
	dk := p.dataKey(pb)
	// Cut short after two blocks, then once more, then whole.
	for _, n := range []int{len(file) * 3 / 4, 10} {
		p.want("cut file", Import(t.Context(), p.store, dk, pb, bytes.NewReader(file[:n])), ErrBlocks)
	}
	if got := p.have("A1"); got != "[0 1]" {
		t.Errorf("blocks %s of a cut file, want 0 and 1", got)
	}
	p.must(Import(t.Context(), p.store, dk, pb, iotest.OneByteReader(bytes.NewReader(file))))
	p.must(Import(t.Context(), p.store, dk, pb, bytes.NewReader(file)))
	if !bytes.Equal(p.exported(pb), file) {
		t.Error("what was imported is not what was exported")
	}
	here, err := NewReader(t.Context(), f.store, f.token, "A1")
	f.must(err)
	defer here.Close()
	there, err := NewReader(t.Context(), p.store, p.token, "A1")
	p.must(err)
	defer there.Close()
	for k := range 30 {
		x, err := here.Record(t.Context(), nil, k)
		f.must(err)
		y, err := there.Record(t.Context(), nil, k)
		p.must(err)
		if !bytes.Equal(x, y) {
			t.Errorf("key set %d differs", k)
		}
	}
}

func TestImportRefuses(t *testing.T) {
	f := newBureau(t)
	b := f.generated("A1", 25, 5, 10)
	file := f.exported(b)
	foreign := f.exported(f.generated("A2", 25, 5, 10))
	block := 4 + len(f.sealed(b, 0))
	flipped := bytes.Clone(file)
	flipped[block+100] ^= 1
	long := bytes.Clone(file)
	binary.BigEndian.PutUint32(long[block:], uint32(block))
	for _, c := range []struct {
		name string
		file []byte
		have string
	}{
		{"empty", nil, "[]"},
		{"half a length", file[:2], "[]"},
		{"a length", file[:4], "[]"},
		{"one byte missing", file[:len(file)-1], "[0 1]"},
		{"one block missing", file[:2*block], "[0 1]"},
		{"one byte more", append(bytes.Clone(file), 0), "[0 1 2]"},
		{"one block more", append(bytes.Clone(file), file[:block]...), "[0 1 2]"},
		{"wrong order", slices.Concat(file[block:2*block], file[:block], file[2*block:]), "[]"},
		{"twice the same", slices.Concat(file[:block], file), "[0]"},
		{"another order's", foreign, "[]"},
		{"flipped bit", flipped, "[0]"},
		{"longer than a block", long, "[0]"},
		{"4 GiB", []byte{0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3}, "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, pb := (&bureau{TB: t, token: f.token, store: f.store}).plant(b)
			p.want("import", Import(t.Context(), p.store, p.dataKey(pb), pb, bytes.NewReader(c.file)), ErrBlocks)
			if got := p.have("A1"); got != c.have {
				t.Errorf("blocks %s were stored, want %s", got, c.have)
			}
		})
	}
	// A disk that fails is no reason to refuse the file.
	p, pb := f.plant(b)
	dk := p.dataKey(pb)
	for _, n := range []int{0, 100, len(file)} {
		r := io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(errBroken))
		if err := Import(t.Context(), p.store, dk, pb, r); !errors.Is(err, errBroken) || errors.Is(err, ErrBlocks) {
			t.Errorf("a failing disk: %v", err)
		}
	}
	p.want("closed key", Import(t.Context(), p.store, new(hsm.DataKey), pb, bytes.NewReader(file)), hsm.ErrClosed)
	if err := Import(t.Context(), p.store, dk, Batch{}, bytes.NewReader(file)); err == nil {
		t.Error("the zero Batch is imported")
	}
	// Export of a batch that is not all there.
	if err := Export(t.Context(), f.store, f.batch("A3", 10, 0, 10), io.Discard); err == nil {
		t.Error("a batch without blocks is exported")
	}
	f.want("a full disk", Export(t.Context(), f.store, b, full{}), errBroken)
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errBroken }

func FuzzImport(f *testing.F) {
	p := newBureau(f)
	b := p.generated("A1", 5, 1, 3)
	dk, file := p.dataKey(b), p.exported(b)
	f.Add(file)
	f.Add(file[:len(file)-1])
	f.Add(append(bytes.Clone(file), 0))
	f.Add([]byte{0, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		// All blocks are there already, so nothing is written.
		err := Import(context.Background(), p.store, dk, b, bytes.NewReader(in))
		if (err == nil) != bytes.Equal(in, file) {
			t.Errorf("%d bytes: %v", len(in), err)
		}
		if err != nil && !errors.Is(err, ErrBlocks) {
			t.Errorf("%v does not say that the text is wrong", err)
		}
	})
}

func TestReader(t *testing.T) {
	f := newBureau(t)
	f.generated("A1", 95, 5, 10)
	r, err := NewReader(t.Context(), f.store, f.token, "A1")
	f.must(err)
	want := map[int][]byte{}
	for k := range 100 {
		want[k], err = r.Record(t.Context(), []byte{7}, k)
		f.must(err)
		if want[k][0] != 7 {
			t.Fatal("Record does not append")
		}
	}
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			buf := make([]byte, 0, 1000)
			for i := range 200 {
				k := (i*37 + w*13) % 100
				got, err := r.Record(context.Background(), append(buf[:0], 7), k)
				if err != nil || !bytes.Equal(got, want[k]) {
					t.Errorf("key set %d: another record at the same time (%v)", k, err)
				}
			}
		})
	}
	all.Wait()
	for _, k := range []int{-1, 100} {
		if _, err := r.Record(t.Context(), nil, k); err == nil {
			t.Errorf("key set %d of 100 is there", k)
		}
	}
	if len(r.held) != keepOpen {
		t.Errorf("%d blocks are open, want %d", len(r.held), keepOpen)
	}
	held := slices.Clone(r.held)
	r.Close()
	r.Close()
	for _, b := range held {
		if !bytes.Equal(b.records, make([]byte, len(b.records))) {
			t.Error("Close leaves records in memory")
		}
	}
	_, err = r.Record(t.Context(), nil, 0)
	f.want("closed reader", err, hsm.ErrClosed)
}

func TestCopyIdentity(t *testing.T) {
	f := newBureau(t)
	f.generated("A1", 1, 1, 10)
	r, err := NewReader(t.Context(), f.store, f.token, "A1")
	f.must(err)
	defer r.Close()
	card, err := r.Record(t.Context(), nil, 0)
	f.must(err)
	spare, err := r.Record(t.Context(), nil, 1)
	f.must(err)
	remade := bytes.Clone(spare)
	l := r.Batch.Profile.Layout()
	CopyIdentity(l, remade, card)
	for _, s := range r.Batch.Profile.Slots() {
		from := spare
		if s.Kind == profile.Identity || s.ID == profile.SlotACC {
			from = card
		}
		if !bytes.Equal(l.Of(remade, s.ID), l.Of(from, s.ID)) {
			t.Errorf("%s of a remade card is not where it should come from", s.Name)
		}
	}
}

// After its key is destroyed nothing opens, also not from a copy that was made
// before; after Delete nothing is there.
func TestDestruction(t *testing.T) {
	f := newBureau(t)
	b := f.generated("A1", 25, 5, 10)
	f.must(f.store.Close())
	copied := storetest.Copy(t, f.path)
	f.store = f.open(f.path)
	old := f.open(copied)
	r, err := NewReader(t.Context(), old, f.token, "A1")
	f.must(err) // the copy is a good one
	r.Close()

	f.must(f.token.Destroy(t.Context(), "kek"))
	for _, s := range []*store.Store{f.store, old} {
		_, err := NewReader(t.Context(), s, f.token, "A1")
		f.want("reader", err, hsm.ErrNoKey)
	}
	// Nor under another key of the module.
	_, err = f.token.Generate(t.Context(), "kek2", hsm.Order, hsm.AES256)
	f.must(err)
	_, err = f.token.OpenDataKey(t.Context(), "kek2", b.Wrapped)
	f.want("another key", err, hsm.ErrSealed)

	f.must(f.change("batch.deleted", func(tx *store.Tx) error { return Delete(tx, "A1") }))
	if got := f.have("A1"); got != "[]" {
		t.Errorf("blocks %s are left", got)
	}
	_, err = Load(t.Context(), f.store, "A1")
	f.want("load", err, ErrNoBatch)
}

// A great batch is wiped a few blocks in each change, and goes on where it was.
func TestWipe(t *testing.T) {
	f := newBureau(t)
	f.generated("A1", 3*perWipe, 5, 1)
	f.generated("B2", perWipe+3, 0, 1)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	f.want("after the end", Wipe(ended, f.store, "A1"), context.Canceled)
	before := f.store.Size()
	f.must(Wipe(t.Context(), f.store, "A1"))
	n, err := Have(t.Context(), f.store, "A1")
	f.must(err)
	if changes := f.store.Size() - before; n != perWipe || changes != 3 {
		t.Errorf("%d blocks are left after %d changes, want %d after 3", n, changes, perWipe)
	}
	f.must(Wipe(t.Context(), f.store, "A1"))
	f.must(Wipe(t.Context(), f.store, "none"))
	if f.store.Size() != before+3 {
		t.Error("what was wiped is wiped again")
	}
	f.must(f.change("batch.deleted", func(tx *store.Tx) error { return Delete(tx, "A1") }))
	if n, err := Have(t.Context(), f.store, "A1"); err != nil || n > 0 {
		t.Errorf("%d blocks are left (%v)", n, err)
	}
	if n, err := Have(t.Context(), f.store, "B2"); err != nil || n != perWipe+3 {
		t.Errorf("another batch has %d blocks (%v), want %d", n, err, perWipe+3)
	}
}
