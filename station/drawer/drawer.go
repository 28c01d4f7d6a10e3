// Package drawer makes a drawer of software chips a reader of the line.
package drawer

import (
	"context"
	"errors"
	"fmt"

	"ankan/simos"
	"ankan/station"
	"ankan/uicc"
)

// Dial takes a slot of the drawer that is served at an address; network is tcp
// or unix.
func Dial(ctx context.Context, network, address string) (station.Reader, error) {
	slot, err := simos.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return reader{slot}, nil
}

// reader says what the line branches on in the line's own errors.
type reader struct{ *simos.Reader }

func (r reader) Take(ctx context.Context) error {
	_, err := r.Reader.Take(ctx)
	if errors.Is(err, simos.ErrNoChip) {
		return fmt.Errorf("%w: %w", station.ErrNoChips, err)
	}
	return err
}

func (r reader) Insert(ctx context.Context, serial [8]byte) error {
	err := r.Reader.Insert(ctx, serial)
	if errors.Is(err, simos.ErrNoChip) {
		return fmt.Errorf("%w: %w", station.ErrAway, err)
	}
	return err
}

func (r reader) Reset(ctx context.Context) (uicc.ATR, error) {
	atr, err := r.Reader.Reset(ctx)
	return atr, mute(err)
}

func (r reader) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	answer, err := r.Reader.Transmit(ctx, cmd)
	return answer, mute(err)
}

func mute(err error) error {
	if errors.Is(err, simos.ErrMute) {
		return fmt.Errorf("%w: %w", station.ErrMute, err)
	}
	return err
}
