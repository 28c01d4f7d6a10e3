package perso

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"ankan/station"
)

// stationsOver is a plant's door for stations, and stations that connect to it
// over TLS with slots of the tray.
type stationsOver struct {
	*plant
	hub  *station.Hub
	addr string
	key  station.Fingerprint
	dirs map[string]string
}

func (f *plant) openDoor(names ...string) *stationsOver {
	f.Helper()
	d := &stationsOver{plant: f, dirs: map[string]string{}}
	known := map[station.Fingerprint]string{}
	for _, name := range names {
		d.dirs[name] = f.TempDir()
		key, err := station.NewIdentity(d.dirs[name], name)
		f.must(err)
		known[key] = name
	}
	dir := f.TempDir()
	_, err := station.NewIdentity(dir, "plant")
	f.must(err)
	own, key, err := station.LoadIdentity(dir)
	f.must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	f.must(err)
	d.hub, d.addr, d.key = station.NewHub(known), l.Addr().String(), key
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.hub.Serve(ctx, tls.NewListener(l, station.TLSConfig(own, nil))) }()
	f.Cleanup(func() { cancel(); f.must(<-ended) })
	return d
}

// attend is a station until the context ends, or it fails.
func (d *stationsOver) attend(ctx context.Context, name string, readers int) error {
	own, _, err := station.LoadIdentity(d.dirs[name])
	if err != nil {
		return err
	}
	conn, err := (&tls.Dialer{Config: station.TLSConfig(own, &d.key)}).DialContext(ctx, "tcp", d.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	var slots []station.Slot
	for i := range readers {
		slots = append(slots, station.Slot{Name: fmt.Sprint(i + 1), Open: func(context.Context) (station.Reader, error) { return &slot{tray: d.tray}, nil }})
	}
	return station.Attend(ctx, conn, "test", slots)
}

func (d *stationsOver) places(ctx context.Context) <-chan Station {
	return Coming(ctx, d.hub.Places(ctx))
}

func TestRemoteStation(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 12, 0)
	d := f.openDoor("st-a")
	f.want("nobody is there", f.line().Run(t.Context(), "A1", d.places(t.Context())), errNobody)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { gone <- d.attend(ctx, "st-a", 3) }()
	for len(d.hub.Here()) == 0 {
		time.Sleep(time.Millisecond)
	}
	f.want("no chips", f.line().Run(t.Context(), "A1", d.places(t.Context())), station.ErrNoChips)
	f.load(12)
	f.must(f.line().Run(t.Context(), "A1", d.places(t.Context())))
	f.check("A1", 12)
	cancel()
	f.want("the station leaves", <-gone, context.Canceled)
}

// Stations die at any moment and come back, and so does the plant: each card
// is good, a reject or in doubt, and what is in doubt is resolved by reading.
func TestStationsKilled(t *testing.T) {
	f := newPlant(t)
	const cards = 30
	f.batch("A1", cards, 10)
	f.load(3 * cards) // a chip that was just taken when its station died is out of the feeder
	names := []string{"st-a", "st-b", "st-c"}
	d := f.openDoor(names...)
	over, stop := context.WithCancel(t.Context())
	var stations sync.WaitGroup
	random := func(most time.Duration) time.Duration { return time.Duration(rand.Int64N(int64(most))) }
	for _, name := range names {
		stations.Go(func() {
			for over.Err() == nil {
				ctx, cancel := context.WithTimeout(over, 5*time.Millisecond+random(150*time.Millisecond))
				_ = d.attend(ctx, name, 2) // it ends when it is killed
				cancel()
			}
		})
	}
	defer func() { stop(); stations.Wait() }()
	deaths := 0
	for deadline := time.Now().Add(2 * time.Minute); ; {
		if time.Now().After(deadline) {
			t.Fatalf("the order does not come to an end: %+v", f.counts("A1", cards))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond+random(300*time.Millisecond))
		err := f.line().Run(ctx, "A1", d.places(ctx))
		cancel()
		if err == nil {
			break
		}
		if errors.Is(err, ErrRejects) {
			f.destroy("A1")
		}
		deaths++
		f.counts("A1", cards) // it fails if they do not balance
	}
	stop()
	stations.Wait()
	t.Logf("%d runs", deaths)
	f.check("A1", cards)
}
