package order

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"ankan/audit"
	"ankan/hsm"
	"ankan/sim"
	"ankan/store"
)

// The operator's own text is kept sealed under the order's data key, in pieces,
// and the identities of a list beside it, in blocks.

const textPiece = 1 << 20

func textAAD(ord string, n int) []byte {
	return binary.BigEndian.AppendUint64([]byte("ankan/order-text/v1\x00"+ord+"\x00"), uint64(n))
}

func identitiesAAD(ord string, n int) []byte {
	return binary.BigEndian.AppendUint64([]byte("ankan/order-identities/v1\x00"+ord+"\x00"), uint64(n))
}

// KEKName names the key that wraps an order's data key. Names of keys are
// used once: the same order in another file has another.
func KEKName(ord, file string) string { return fmt.Sprintf("order/%s/%.8s", ord, file) }

// A Staged is an order file that was read and is kept nowhere yet. Its text and
// the identities of a list lie in a file that has no name, sealed under a key
// that is in this process alone: a crash leaves nothing of it. Close drops both.
type Staged struct {
	*Input
	file   *os.File
	key    *hsm.DataKey
	end    int64
	text   []frame
	blocks []frame
	buf    []byte
}

// A frame is where something sealed lies in the file.
type frame struct {
	at   int64
	size int
}

// Stage reads an order file as ReadInput does and stages it in a file below
// dir, which it makes if it is not there.
func (rd Reading) Stage(dir, name string, r io.Reader) (*Staged, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	t := new(Staged)
	if err := t.open(dir); err != nil {
		return nil, err
	}
	text := &pieceWriter{put: func(piece []byte) error { return t.add(&t.text, piece) }}
	ids := &listWriter{put: func(block []byte) error { return t.add(&t.blocks, block) }}
	in, err := rd.ReadInput(name, io.TeeReader(r, text), ids.add)
	if err == nil {
		err = errors.Join(ids.flush(), text.flush())
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	t.Input = in
	if in.list != nil {
		in.list.open = func(n int) ([]byte, error) { return t.get(nil, t.blocks[n]) }
	}
	return t, nil
}

func (t *Staged) open(dir string) (err error) {
	var key [32]byte
	defer clear(key[:])
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	if t.key, err = hsm.NewDataKey(key[:]); err != nil {
		return err
	}
	if t.file, err = os.CreateTemp(dir, "order-"); err != nil {
		return err
	}
	if err := os.Remove(t.file.Name()); err != nil {
		t.Close()
		return err
	}
	return nil
}

func (t *Staged) add(to *[]frame, plain []byte) error {
	t.buf = t.key.Seal(t.buf[:0], plain, nil)
	if _, err := t.file.WriteAt(t.buf, t.end); err != nil {
		return fmt.Errorf("staging an order: %w", err)
	}
	*to = append(*to, frame{t.end, len(t.buf)})
	t.end += int64(len(t.buf))
	return nil
}

func (t *Staged) get(dst []byte, f frame) ([]byte, error) {
	sealed := make([]byte, f.size)
	if _, err := t.file.ReadAt(sealed, f.at); err != nil {
		return nil, fmt.Errorf("reading a staged order: %w", err)
	}
	return t.key.Open(dst, sealed, nil)
}

// Close drops the file and its key.
func (t *Staged) Close() {
	t.key.Close()
	t.file.Close()
}

// A pieceWriter cuts a text into pieces.
type pieceWriter struct {
	put func(piece []byte) error // may not keep it
	buf []byte
}

func (w *pieceWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k := min(len(p), textPiece-len(w.buf))
		w.buf, p = append(w.buf, p[:k]...), p[k:]
		if len(w.buf) == textPiece {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (w *pieceWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	defer func() { w.buf = w.buf[:0] }()
	return w.put(w.buf)
}

// A SealedText is the data key under which Put seals a staged order's content.
// Close drops it.
type SealedText struct {
	staged  *Staged
	key     *hsm.DataKey
	wrapped hsm.Wrapped
}

// SealText makes the order's key in the module, if a try before this one did
// not, and a data key for the order's content.
func SealText(ctx context.Context, token hsm.Token, ord, kek string, staged *Staged) (*SealedText, error) {
	if _, err := token.Generate(ctx, kek, hsm.Order, hsm.AES256); err != nil && !errors.Is(err, hsm.ErrKeyExists) {
		return nil, err
	}
	dk, wrapped, err := token.NewDataKey(ctx, kek)
	if err != nil {
		return nil, err
	}
	return &SealedText{staged, dk, wrapped}, nil
}

// Put keeps the order's content, sealed. Piece -1 of the text is the wrapped
// data key.
func (t *SealedText) Put(tx *store.Tx, ord string) error {
	const text = `INSERT INTO order_text (ord, n, sealed) VALUES ($1, $2, $3)`
	const identity = `INSERT INTO order_identity (ord, n, sealed) VALUES ($1, $2, $3)`
	if _, err := tx.Exec(text, ord, -1, []byte(t.wrapped)); err != nil {
		return err
	}
	put := func(insert string, frames []frame, aad func(string, int) []byte) error {
		var plain, sealed []byte
		for n, f := range frames {
			var err error
			if plain, err = t.staged.get(plain[:0], f); err != nil {
				return err
			}
			sealed = t.key.Seal(sealed[:0], plain, aad(ord, n))
			if _, err := tx.Exec(insert, ord, n, sealed); err != nil {
				return err
			}
		}
		return nil
	}
	if err := put(text, t.staged.text, textAAD); err != nil {
		return err
	}
	return put(identity, t.staged.blocks, identitiesAAD)
}

// Close drops the data key.
func (t *SealedText) Close() { t.key.Close() }

// Wrapped is the wrapped data key of an order's content.
func Wrapped(ctx context.Context, s *store.Store, ord string) (hsm.Wrapped, error) {
	var w []byte
	err := s.QueryRow(ctx, `SELECT sealed FROM order_text WHERE ord = $1 AND n = -1`, ord).Scan(&w)
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("order %s: its content is not here, or was destroyed", ord)
	}
	return w, err
}

// openText opens an order's data key and its text.
func openText(ctx context.Context, s *store.Store, token hsm.Token, o Order) (*hsm.DataKey, *textReader, error) {
	wrapped, err := Wrapped(ctx, s, o.ID)
	if err != nil {
		return nil, nil, err
	}
	dk, err := token.OpenDataKey(ctx, o.KEK, wrapped)
	if err != nil {
		return nil, nil, fmt.Errorf("order %s: %w", o.ID, err)
	}
	return dk, &textReader{ctx: ctx, store: s, key: dk, ord: o.ID}, nil
}

// OpenText opens an order's content and reads it again: all of it for a range,
// the head for a list, whose identities are opened a block at a time while they
// are asked for. The caller closes it.
func OpenText(ctx context.Context, s *store.Store, token hsm.Token, o Order, rd Reading) (*Input, error) {
	dk, text, err := openText(ctx, s, token, o)
	if err != nil {
		return nil, err
	}
	var blocks int
	if err := s.QueryRow(ctx, `SELECT count(*) FROM order_identity WHERE ord = $1`, o.ID).Scan(&blocks); err != nil {
		dk.Close()
		return nil, err
	}
	if blocks == 0 {
		defer dk.Close()
		return rd.ParseInput(o.Name, text)
	}
	in, err := rd.readFirst(o.Name, text)
	if err == nil {
		in.Count(o.Quantity)
	}
	if err == nil && blocks != (o.Quantity+perList-1)/perList {
		err = fmt.Errorf("order %s: %d blocks of identities, which is not %d cards", o.ID, blocks, o.Quantity)
	}
	if err != nil {
		dk.Close()
		return nil, err
	}
	in.list = keptList(ctx, s, dk, o.ID, o.Quantity)
	in.list.close = dk.Close
	var first [1]sim.Identity
	if err := in.Read(first[:], 0); err != nil || first[0] != in.first {
		in.Close()
		return nil, errors.Join(fmt.Errorf("order %s: its list does not begin with the first identity of its text", o.ID), err)
	}
	return in, nil
}

// keptList is the list of n identities that Put kept for an order.
func keptList(ctx context.Context, s *store.Store, dk *hsm.DataKey, ord string, n int) *identityList {
	return &identityList{n: n, open: func(n int) ([]byte, error) {
		var sealed []byte
		if err := s.QueryRow(ctx, `SELECT sealed FROM order_identity WHERE ord = $1 AND n = $2`, ord, n).Scan(&sealed); err != nil {
			return nil, fmt.Errorf("order %s: block %d of its identities: %w", ord, n, err)
		}
		block, err := dk.Open(nil, sealed, identitiesAAD(ord, n))
		if err != nil {
			return nil, fmt.Errorf("order %s: block %d of its identities: %w", ord, n, err)
		}
		return block, nil
	}}
}

// ReadList reads the n identities that an order lists without its text, for
// those who have no more than its data key: it fills ids as Input.Read does.
func ReadList(ctx context.Context, s *store.Store, dk *hsm.DataKey, ord string, n int) func(ids []sim.Identity, first int) error {
	return keptList(ctx, s, dk, ord, n).read
}

// CopyText writes an order's content as it was taken in, byte for byte.
func CopyText(ctx context.Context, s *store.Store, token hsm.Token, o Order, w io.Writer) error {
	dk, text, err := openText(ctx, s, token, o)
	if err != nil {
		return err
	}
	defer dk.Close()
	_, err = io.Copy(w, text)
	return err
}

// Rows that are wiped in one change: a database keeps in memory what a change
// overwrites.
const wipeText, wipeBlocks = 4, 200

// Wipe deletes an order's content but for its beginning, which WipeText takes,
// a few rows in each change, each with its entry. Cut short, it is called again.
func Wipe(ctx context.Context, s *store.Store, ord string) error {
	for _, t := range []struct {
		what, last, wipe string
		most             int
	}{
		{"identities", `SELECT COALESCE(max(n), 0) FROM order_identity WHERE ord = $1`, `DELETE FROM order_identity WHERE ord = $1 AND n >= $2`, wipeBlocks},
		{"text", `SELECT COALESCE(max(n), 0) FROM order_text WHERE ord = $1`, `DELETE FROM order_text WHERE ord = $1 AND n >= $2`, wipeText},
	} {
		for {
			var last int
			if err := s.QueryRow(ctx, t.last, ord).Scan(&last); err != nil {
				return err
			}
			if last < t.most {
				break
			}
			first := max(t.most, last+1-t.most)
			e := audit.Entry{Kind: "order.content-wiped", Actor: "system:site", Subject: "order/" + ord, Data: map[string]any{"what": t.what, "first": first, "count": last + 1 - first}}
			err := s.Change(ctx, e, func(tx *store.Tx) error {
				_, err := tx.Exec(t.wipe, ord, first)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// WipeText deletes the order's content; of a great order Wipe took most of it
// before.
func WipeText(tx *store.Tx, ord string) error {
	if _, err := tx.Exec(`DELETE FROM order_identity WHERE ord = $1`, ord); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM order_text WHERE ord = $1`, ord)
	return err
}

// A textReader reads the pieces of an order's text, one after the other.
type textReader struct {
	ctx   context.Context
	store *store.Store
	key   *hsm.DataKey
	ord   string
	n     int // the next piece
	buf   []byte
	rest  []byte
}

func (r *textReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		var sealed []byte
		err := r.store.QueryRow(r.ctx, `SELECT sealed FROM order_text WHERE ord = $1 AND n = $2`, r.ord, r.n).Scan(&sealed)
		switch {
		case errors.Is(err, sql.ErrNoRows) && r.n > 0:
			return 0, io.EOF
		case err != nil:
			return 0, fmt.Errorf("order %s: piece %d of its text: %w", r.ord, r.n, err)
		}
		if r.buf, err = r.key.Open(r.buf[:0], sealed, textAAD(r.ord, r.n)); err != nil {
			return 0, fmt.Errorf("order %s: piece %d of its text: %w", r.ord, r.n, err)
		}
		r.rest = r.buf
		r.n++
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
