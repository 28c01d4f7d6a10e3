package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"ankan/perso"
	"ankan/station"
)

// benchStationsCmd is stations with software chips, for bench line --remote.
type benchStationsCmd struct{}

// benchStations is what it is told on its standard input.
type benchStations struct {
	Lot     chipLot  `json:"lot"`
	Plant   string   `json:"plant"`
	Key     string   `json:"key"`
	Folders []string `json:"folders"` // of the stations' keys
}

// remote has a process of its own be n stations with the lot's chips.
func (w *workshop) remote(ctx context.Context, lot *chipLot, n int) (<-chan perso.Station, error) {
	var q benchStations
	known := map[station.Fingerprint]string{}
	for i := range n {
		name := fmt.Sprintf("station-%d", i+1)
		dir := filepath.Join(w.dir, name)
		key, err := station.NewIdentity(dir, name)
		if err != nil {
			return nil, err
		}
		known[key] = name
		q.Folders = append(q.Folders, dir)
	}
	dir := filepath.Join(w.dir, "line")
	if _, err := station.NewIdentity(dir, "plant"); err != nil {
		return nil, err
	}
	own, key, err := station.LoadIdentity(dir)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	q.Lot, q.Plant, q.Key = *lot, l.Addr().String(), key.String()
	hub := station.NewHub(known)
	go hub.Serve(ctx, tls.NewListener(l, station.TLSConfig(own, nil))) // it ends with the context
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	doc, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "bench", "stations")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(doc), os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for len(hub.Here()) < n {
		select {
		case err := <-ended:
			return nil, fmt.Errorf("the stations' process ended: %w", errors.Join(err, ctx.Err()))
		case <-time.After(10 * time.Millisecond):
		}
	}
	return perso.Coming(ctx, hub.Places(ctx)), nil
}

func (benchStationsCmd) Run(a *app) error {
	var q benchStations
	if err := json.NewDecoder(os.Stdin).Decode(&q); err != nil {
		return fmt.Errorf("bench stations is started by bench line --remote: %w", err)
	}
	key, err := station.ParseFingerprint(q.Key)
	if err != nil {
		return err
	}
	chips := &tray{lot: &q.Lot}
	g, ctx := errgroup.WithContext(a.ctx)
	for _, dir := range q.Folders {
		own, _, err := station.LoadIdentity(dir)
		if err != nil {
			return err
		}
		conn, err := tls.Dial("tcp", q.Plant, station.TLSConfig(own, &key))
		if err != nil {
			return err
		}
		g.Go(func() error {
			err := station.Attend(ctx, conn, version, []station.Slot{{Name: "1", Open: chips.open}})
			if errors.Is(err, io.EOF) {
				return nil // the plant is done
			}
			return err
		})
	}
	return g.Wait()
}
