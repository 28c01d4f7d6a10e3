package site

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"ankan/hsm"
	"ankan/order"
	"ankan/store"
)

// The operator's own text is kept sealed under the order's data key, in pieces.

const textPiece = 1 << 20

func textAAD(ord string, n int) []byte {
	return binary.BigEndian.AppendUint64([]byte("ankan/order-text/v1\x00"+ord+"\x00"), uint64(n))
}

// orderKEK names the key that wraps an order's data key. Names of keys are
// used once: the same order in another file has another.
func orderKEK(ord, file string) string { return fmt.Sprintf("order/%s/%.8s", ord, file) }

// sealedText is an order's content, sealed, and the data key that sealed it.
type sealedText struct {
	wrapped hsm.Wrapped
	pieces  [][]byte
}

// sealText makes the order's key in the module, if a try before this one did
// not, and seals the order's content.
func (s *Site) sealText(ctx context.Context, ord, kek string, in *order.Input) (sealedText, error) {
	var t sealedText
	if _, err := s.token.Generate(ctx, kek, hsm.Order, hsm.AES256); err != nil && !errors.Is(err, hsm.ErrKeyExists) {
		return t, err
	}
	dk, wrapped, err := s.token.NewDataKey(ctx, kek)
	if err != nil {
		return t, err
	}
	defer dk.Close()
	t.wrapped = wrapped
	var text bytes.Buffer
	if err := in.Render(&text); err != nil {
		return t, err
	}
	for n := 0; text.Len() > 0; n++ {
		t.pieces = append(t.pieces, dk.Seal(nil, text.Next(textPiece), textAAD(ord, n)))
	}
	return t, nil
}

// put keeps the sealed text. Piece -1 is the wrapped data key.
func (t sealedText) put(tx *store.Tx, ord string) error {
	if err := order.PutText(tx, ord, -1, t.wrapped); err != nil {
		return err
	}
	for n, p := range t.pieces {
		if err := order.PutText(tx, ord, n, p); err != nil {
			return err
		}
	}
	return nil
}

// orderText opens an order's content and reads it again.
func (s *Site) orderText(ctx context.Context, o order.Order, rd order.Reading) (*order.Input, error) {
	wrapped, pieces, err := s.textPieces(ctx, o.ID)
	if err != nil {
		return nil, err
	}
	dk, err := s.token.OpenDataKey(ctx, o.KEK, wrapped)
	if err != nil {
		return nil, fmt.Errorf("order %s: %w", o.ID, err)
	}
	defer dk.Close()
	r, w := io.Pipe()
	go func() {
		for n, p := range pieces {
			text, err := dk.Open(nil, p, textAAD(o.ID, n))
			if err == nil {
				_, err = w.Write(text)
			}
			if err != nil {
				w.CloseWithError(err)
				return
			}
		}
		w.Close()
	}()
	in, err := rd.ParseInput(o.Name, r)
	r.Close()
	return in, err
}

func (s *Site) textPieces(ctx context.Context, ord string) (hsm.Wrapped, [][]byte, error) {
	pieces, err := order.Text(ctx, s.store, ord)
	if err != nil {
		return nil, nil, err
	}
	if len(pieces) < 2 {
		return nil, nil, fmt.Errorf("order %s: its content is not here, or was destroyed", ord)
	}
	return pieces[0], pieces[1:], nil
}
