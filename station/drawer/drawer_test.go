package drawer

import (
	"context"
	"errors"
	"net"
	"testing"

	"ankan/simos"
	"ankan/station"
)

// The line finds its own errors in those of the drawer.
func TestErrors(t *testing.T) {
	rack, err := simos.NewRack("")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", t.TempDir()+"/rack")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- rack.Serve(ctx, l) }()
	defer func() { cancel(); <-served }()
	r, err := Dial(t.Context(), "unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Take(t.Context()); !errors.Is(err, station.ErrNoChips) {
		t.Errorf("an empty drawer: %v", err)
	}
	if err := r.Insert(t.Context(), [8]byte{1}); err == nil || errors.Is(err, station.ErrMute) {
		t.Errorf("a chip that is not there: %v", err)
	}
	if err := mute(simos.ErrMute); !errors.Is(err, station.ErrMute) || !errors.Is(err, simos.ErrMute) {
		t.Errorf("a mute chip: %v", err)
	}
	if r, err := Dial(t.Context(), "unix", t.TempDir()+"/none"); r != nil || err == nil {
		t.Errorf("no drawer: %v, %v", r, err)
	}
}
