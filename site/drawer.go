package site

import (
	"context"
	"errors"
	"fmt"

	"ankan/perso"
	"ankan/simos"
	"ankan/uicc"
)

// drawer makes a slot of a drawer of software chips a reader of the line.
type drawer struct{ *simos.Reader }

func (d drawer) Take(ctx context.Context) error {
	_, err := d.Reader.Take(ctx)
	if errors.Is(err, simos.ErrNoChip) {
		return fmt.Errorf("%w: %w", perso.ErrNoChips, err)
	}
	return err
}

func (d drawer) Insert(ctx context.Context, serial [8]byte) error {
	return d.Reader.Insert(ctx, serial)
}

func (d drawer) Reset(ctx context.Context) (uicc.ATR, error) {
	atr, err := d.Reader.Reset(ctx)
	return atr, mute(err)
}

func (d drawer) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	answer, err := d.Reader.Transmit(ctx, cmd)
	return answer, mute(err)
}

func mute(err error) error {
	if errors.Is(err, simos.ErrMute) {
		return fmt.Errorf("%w: %w", perso.ErrMute, err)
	}
	return err
}

var _ perso.Reader = drawer{}
