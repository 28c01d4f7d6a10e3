package order

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"ankan/hsm"
	"ankan/store"
)

// The operator's own text is kept sealed under the order's data key, in pieces.

const textPiece = 1 << 20

func textAAD(ord string, n int) []byte {
	return binary.BigEndian.AppendUint64([]byte("ankan/order-text/v1\x00"+ord+"\x00"), uint64(n))
}

// KEKName names the key that wraps an order's data key. Names of keys are
// used once: the same order in another file has another.
func KEKName(ord, file string) string { return fmt.Sprintf("order/%s/%.8s", ord, file) }

// A SealedText is an order's content, sealed, and the data key that sealed it.
type SealedText struct {
	wrapped hsm.Wrapped
	pieces  [][]byte
}

// SealText makes the order's key in the module, if a try before this one did
// not, and seals the order's content.
func SealText(ctx context.Context, token hsm.Token, ord, kek string, in *Input) (SealedText, error) {
	var t SealedText
	if _, err := token.Generate(ctx, kek, hsm.Order, hsm.AES256); err != nil && !errors.Is(err, hsm.ErrKeyExists) {
		return t, err
	}
	dk, wrapped, err := token.NewDataKey(ctx, kek)
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

// Put keeps the sealed text. Piece -1 is the wrapped data key.
func (t SealedText) Put(tx *store.Tx, ord string) error {
	if err := PutText(tx, ord, -1, t.wrapped); err != nil {
		return err
	}
	for n, p := range t.pieces {
		if err := PutText(tx, ord, n, p); err != nil {
			return err
		}
	}
	return nil
}

// OpenText opens an order's content and reads it again.
func OpenText(ctx context.Context, s *store.Store, token hsm.Token, o Order, rd Reading) (*Input, error) {
	wrapped, pieces, err := SealedPieces(ctx, s, o.ID)
	if err != nil {
		return nil, err
	}
	dk, err := token.OpenDataKey(ctx, o.KEK, wrapped)
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

// SealedPieces is the wrapped data key of an order and the pieces of its
// content that it sealed.
func SealedPieces(ctx context.Context, s *store.Store, ord string) (hsm.Wrapped, [][]byte, error) {
	pieces, err := Text(ctx, s, ord)
	if err != nil {
		return nil, nil, err
	}
	if len(pieces) < 2 {
		return nil, nil, fmt.Errorf("order %s: its content is not here, or was destroyed", ord)
	}
	return pieces[0], pieces[1:], nil
}
