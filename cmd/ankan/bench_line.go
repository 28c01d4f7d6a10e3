package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ankan/aka"
	"ankan/audit"
	"ankan/examples"
	"ankan/hsm"
	"ankan/order"
	"ankan/perso"
	"ankan/simos"
	"ankan/station"
	"ankan/store"
	"ankan/uicc"
)

// benchLineCmd makes cards of software chips in this process: no socket, all
// else as at a plant.
type benchLineCmd struct {
	Cards    int  `help:"Cards to make." default:"2000" placeholder:"N"`
	Stations int  `help:"Readers at the line." default:"8" placeholder:"S"`
	JSON     bool `help:"Print JSON."`
}

func (c benchLineCmd) Run(a *app) error {
	r, err := c.measure(a.ctx)
	if err != nil {
		return err
	}
	return a.printResult(c.JSON, r)
}

const benchLot = "BENCH"

func (c benchLineCmd) measure(ctx context.Context) (result, error) {
	if c.Cards < 1 || c.Stations < 1 {
		return nil, fmt.Errorf("%d cards at %d stations, want at least one of each", c.Cards, c.Stations)
	}
	w, err := newWorkshop(ctx)
	if err != nil {
		return nil, err
	}
	defer w.close()
	ord, err := w.receive(ctx, c.Cards)
	if err != nil {
		return nil, err
	}
	product, chips, err := w.lot(ctx, c.Cards)
	if err != nil {
		return nil, err
	}
	line, err := perso.New(w.store, w.token, product)
	if err != nil {
		return nil, err
	}
	var stations []perso.Station
	for i := range c.Stations {
		stations = append(stations, perso.Station{Name: fmt.Sprintf("station-%d", i+1), Open: func(context.Context) (station.Reader, error) {
			return &chipReader{tray: chips}, nil
		}})
	}
	began := time.Now()
	if err := line.Run(ctx, ord, perso.These(stations...)); err != nil {
		return nil, err
	}
	took := time.Since(began)
	counts, err := perso.Count(ctx, w.store, ord, c.Cards)
	if err != nil {
		return nil, err
	}
	if counts.Good != c.Cards {
		return nil, fmt.Errorf("%d good cards, want %d", counts.Good, c.Cards)
	}
	var r result
	r.rate("cards", c.Cards, took)
	r.add("stations", c.Stations)
	r.add("apdus_per_card", round(float64(chips.commands())/float64(c.Cards)))
	r.add("peer", "none here")
	return r, r.machine()
}

// receive puts a batch where a plant has it.
func (w *workshop) receive(ctx context.Context, cards int) (string, error) {
	in, err := order.ParseInput("order.inp", bytes.NewReader(examples.Order()))
	if err != nil {
		return "", err
	}
	doc, err := in.WithQuantity(cards)
	if err != nil {
		return "", err
	}
	if in, err = order.ParseInput("order.inp", bytes.NewReader(doc)); err != nil {
		return "", err
	}
	const id = "bench"
	b, err := w.batch(ctx, id, cards)
	if err != nil {
		return "", err
	}
	if err := w.generate(ctx, b, in.At); err != nil {
		return "", err
	}
	e := audit.Entry{Kind: "batch.received", Actor: "partner/bureau", Subject: "order/" + id}
	return id, w.store.Change(ctx, e, func(tx *store.Tx) error {
		if err := perso.Offer(tx, perso.Run{Order: id, Bureau: "bureau", Agree: "agree", KEK: "order"}); err != nil {
			return err
		}
		return perso.MoveRun(tx, id, "offered", "received")
	})
}

// lot is the chip maker: blank chips, their operating system, and the lot's key
// in the security module.
func (w *workshop) lot(ctx context.Context, chips int) (perso.Product, *tray, error) {
	var p perso.Product
	var master [32]byte
	rand.Read(master[:])
	defer clear(master[:])
	vendor, signer, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return p, nil, err
	}
	image := simos.Image{Name: "ankan-reference", Version: "1.0", Algorithms: []string{"MILENAGE"}, Body: []byte("reference operating system")}
	p = perso.Product{Lot: benchLot, LotKey: "lot/" + benchLot}
	if p.Image, err = image.Sign(signer); err != nil {
		return p, nil, err
	}
	if p.Digest, err = image.Digest(); err != nil {
		return p, nil, err
	}
	agree, err := w.token.Key(ctx, "agree")
	if err != nil {
		return p, nil, err
	}
	given, err := hsm.Give(agree.Public, hsm.KeyContent(hsm.Lot, hsm.AES256), benchLot, master[:])
	if err != nil {
		return p, nil, err
	}
	if _, err := w.token.TakeKey(ctx, "agree", given, benchLot, p.LotKey, hsm.Lot, hsm.AES256); err != nil {
		return p, nil, err
	}
	t := &tray{chips: make([]*simos.Chip, chips)}
	for i := range t.chips {
		var serial simos.Serial
		serial[0] = 0x63
		binary.BigEndian.PutUint32(serial[2:6], uint32(i+1))
		keys, err := hsm.DiversifyChip(master[:], serial[:])
		if err != nil {
			return p, nil, err
		}
		var seed [32]byte
		rand.Read(seed[:])
		if t.chips[i], err = simos.NewChip(simos.Config{Serial: serial, Lot: benchLot, Keys: keys, Vendor: vendor, Seed: seed[:], Direct: true}); err != nil {
			return p, nil, err
		}
	}
	return p, t, nil
}

// A tray holds fresh chips. Stations take them one by one.
type tray struct {
	mu    sync.Mutex
	chips []*simos.Chip
	sent  int // commands
}

func (t *tray) take(sent int) *simos.Chip {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent += sent
	if len(t.chips) == 0 {
		return nil
	}
	c := t.chips[0]
	t.chips[0], t.chips = nil, t.chips[1:]
	return c
}

func (t *tray) commands() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sent
}

// A chipReader is a reader whose chips are in this process.
type chipReader struct {
	tray *tray
	chip *simos.Chip
	sent int
}

var errNoChip = errors.New("no chip in the reader")

// Take implements station.Reader.
func (r *chipReader) Take(context.Context) error {
	if r.chip = r.tray.take(0); r.chip == nil {
		return station.ErrNoChips
	}
	return nil
}

// Insert implements station.Reader: no chip comes back here.
func (r *chipReader) Insert(_ context.Context, serial [8]byte) error {
	return fmt.Errorf("chip %x: %w", serial, errNoChip)
}

// Eject implements station.Reader. The card is let go.
func (r *chipReader) Eject(context.Context) error {
	r.chip = nil
	r.tray.mu.Lock()
	defer r.tray.mu.Unlock()
	r.tray.sent, r.sent = r.tray.sent+r.sent, 0
	return nil
}

// Close implements station.Reader.
func (r *chipReader) Close() error { return r.Eject(context.Background()) }

// Reset implements station.Reader.
func (r *chipReader) Reset(context.Context) (uicc.ATR, error) {
	if r.chip == nil {
		return nil, errNoChip
	}
	return r.chip.Reset(), nil
}

// Transmit implements uicc.Card.
func (r *chipReader) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	if r.chip == nil {
		return nil, errNoChip
	}
	r.sent++
	return r.chip.Transmit(ctx, cmd)
}

// benchVectorsCmd makes authentication vectors on one core.
type benchVectorsCmd struct {
	Vectors int  `help:"Vectors to make, each way." default:"2000000" placeholder:"N"`
	JSON    bool `help:"Print JSON."`
}

func (c benchVectorsCmd) Run(a *app) error {
	r, err := c.measure()
	if err != nil {
		return err
	}
	return a.printResult(c.JSON, r)
}

func (c benchVectorsCmd) measure() (result, error) {
	if c.Vectors < 1 {
		return nil, fmt.Errorf("%d vectors, want at least one", c.Vectors)
	}
	// Subscribers and challenges in turn, as an HLR has them.
	const subscribers = 1024
	var keys, opcs, rands [subscribers][16]byte
	ready := make([]aka.Milenage, subscribers)
	for i := range ready {
		rand.Read(keys[i][:])
		rand.Read(opcs[i][:])
		rand.Read(rands[i][:])
		var err error
		if ready[i], err = aka.New(keys[i][:], opcs[i][:]); err != nil {
			return nil, err
		}
	}
	// Every vector counts, so that none can be left out.
	var seen byte
	began := time.Now()
	for i := range c.Vectors {
		n := i % subscribers
		v := ready[n].Vector(aka.RAND(rands[n]), aka.SQN(i+1)<<5, aka.EPS())
		seen ^= v.RES[0]
	}
	took := time.Since(began)
	began = time.Now()
	for i := range c.Vectors {
		n := i % subscribers
		m, err := aka.New(keys[n][:], opcs[n][:])
		if err != nil {
			return nil, err
		}
		v := m.Vector(aka.RAND(rands[n]), aka.SQN(i+1)<<5, aka.EPS())
		seen ^= v.RES[0]
	}
	opened := time.Since(began)
	runtime.KeepAlive(seen)
	var r result
	r.add("vectors", c.Vectors)
	r.add("seconds", round(took.Seconds()))
	r.add("vectors_per_second", round(float64(c.Vectors)/took.Seconds()))
	r.add("vectors_per_second_per_core", round(float64(c.Vectors)/took.Seconds()))
	r.add("with_key_schedule_seconds", round(opened.Seconds()))
	r.add("with_key_schedule_per_second_per_core", round(float64(c.Vectors)/opened.Seconds()))
	r.add("cores_used", 1)
	r.add("peer", "none here") // osmo-auc-gen is a process for each vector: nothing to compare
	return r, r.machine()
}

// benchAuditCmd appends entries to a store, each on disk when it counts.
type benchAuditCmd struct {
	Entries int  `help:"Entries with many writers; a tenth of it one at a time." default:"50000" placeholder:"N"`
	Writers int  `help:"Writers at the same time." default:"64" placeholder:"W"`
	JSON    bool `help:"Print JSON."`
}

func (c benchAuditCmd) Run(a *app) error {
	r, err := c.measure(a.ctx)
	if err != nil {
		return err
	}
	return a.printResult(c.JSON, r)
}

func (c benchAuditCmd) measure(ctx context.Context) (result, error) {
	if c.Entries < 10 || c.Writers < 1 {
		return nil, fmt.Errorf("%d entries by %d writers, want at least 10 by one", c.Entries, c.Writers)
	}
	w, err := newWorkshop(ctx)
	if err != nil {
		return nil, err
	}
	defer w.close()
	before := w.store.Size()
	began := time.Now()
	if err := w.append(ctx, c.Writers, c.Entries); err != nil {
		return nil, err
	}
	grouped := time.Since(began)
	began = time.Now()
	if err := w.append(ctx, 1, c.Entries/10); err != nil {
		return nil, err
	}
	single := time.Since(began)
	if added := w.store.Size() - before; added != int64(c.Entries+c.Entries/10) {
		return nil, fmt.Errorf("the log grew by %d entries, want %d", added, c.Entries+c.Entries/10)
	}
	var r result
	r.rate("entries", c.Entries, grouped)
	r.add("writers", c.Writers)
	r.add("one_at_a_time_per_second", round(float64(c.Entries/10)/single.Seconds()))
	r.add("peer", "none here")
	return r, r.machine()
}

// append has writers append n entries, one after the other each.
func (w *workshop) append(ctx context.Context, writers, n int) error {
	g, ctx := errgroup.WithContext(ctx)
	for i := range writers {
		g.Go(func() error {
			for k := i; k < n; k += writers {
				e := audit.Entry{Kind: "card.good", Actor: "station/bench", Subject: "order/bench", Data: map[string]any{"card": k, "chip": "6327000000000047"}}
				if err := w.store.Change(ctx, e, nil); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}
