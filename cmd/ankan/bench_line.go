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
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"ankan/aka"
	"ankan/audit"
	"ankan/datagen"
	"ankan/examples"
	"ankan/hsm"
	"ankan/order"
	"ankan/perso"
	"ankan/profile"
	"ankan/scp"
	"ankan/simos"
	"ankan/station"
	"ankan/store"
	"ankan/uicc"
)

// benchLineCmd makes cards of software chips, all else as at a plant: chips in
// this process, or at stations in another one.
type benchLineCmd struct {
	Cards    int    `help:"Cards to make." default:"2000" placeholder:"N"`
	Stations int    `help:"Readers at the line." default:"50" placeholder:"S"`
	Profile  string `help:"Built-in profile of the cards." default:"in-5g-usim-isim" placeholder:"NAME"`
	Remote   bool   `help:"Stations with the chips in a process of their own, each with one reader, over TLS."`
	JSON     bool   `help:"Print JSON."`

	benchDatabase
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
	w, err := newWorkshop(ctx, c.Database)
	if err != nil {
		return nil, err
	}
	defer w.close()
	ord, err := w.receive(ctx, c.Profile, c.Cards)
	if err != nil {
		return nil, err
	}
	// A chip may be out of the feeder when another station took the last card.
	lot, err := newChipLot(c.Cards + c.Stations)
	if err != nil {
		return nil, err
	}
	product, err := w.accept(ctx, lot)
	if err != nil {
		return nil, err
	}
	line, err := perso.New(w.store, w.token, product)
	if err != nil {
		return nil, err
	}
	var chips *tray
	var places <-chan perso.Station
	if c.Remote {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if places, err = w.remote(ctx, lot, c.Stations); err != nil {
			return nil, err
		}
	} else {
		chips = &tray{lot: lot}
		places = chips.stations(c.Stations)
	}
	cpu := cpuTime()
	began := time.Now()
	if err := line.Run(ctx, ord, places); err != nil {
		return nil, err
	}
	took := time.Since(began)
	cpu = cpuTime() - cpu
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
	if c.Remote {
		r.add("plant_cpu_ms_per_card", round(float64(cpu.Microseconds())/1000/float64(c.Cards)))
	} else if err := w.wire(ctx, &r, ord, chips, c.Cards); err != nil {
		return nil, err
	}
	r.add("peer", "none here")
	return r, r.machine()
}

// wire adds what crossed the contacts, and how long it takes at a speed that
// most chips offer: TA1 96, 16 cycles a bit, with a clock of 5 MHz.
func (w *workshop) wire(ctx context.Context, r *result, ord string, chips *tray, cards int) error {
	b, err := datagen.Load(ctx, w.store, ord)
	if err != nil {
		return err
	}
	script, err := profile.Compile(b.Profile)
	if err != nil {
		return err
	}
	speed, err := uicc.SpeedOf(0x96, 5e6)
	if err != nil {
		return err
	}
	all, write := chips.crossed(), script.Wire(scp.Commands)
	of := func(n int) float64 { return round(float64(n) / float64(cards)) }
	r.add("profile", b.Profile.Name)
	r.add("content_bytes", script.Content())
	r.add("write_bytes", write.Bytes())
	r.add("write_to_content", round(float64(write.Bytes())/float64(script.Content())))
	r.add("write_seconds_at_ta1_96_5mhz", round(write.Time(speed).Seconds()))
	r.add("apdus_per_card", of(all.Commands))
	r.add("bytes_per_card", of(all.Bytes()))
	r.add("seconds_per_card_at_ta1_96_5mhz", round(all.Time(speed).Seconds()/float64(cards)))
	return nil
}

// cpuTime is what this process has used of the cores so far.
func cpuTime() time.Duration { return usedBy(syscall.RUSAGE_SELF) }

// childTime is what programs that it started, and that ended, have used.
func childTime() time.Duration { return usedBy(syscall.RUSAGE_CHILDREN) }

func usedBy(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// receive puts a batch where a plant has it.
func (w *workshop) receive(ctx context.Context, of string, cards int) (string, error) {
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
	b, err := w.batch(ctx, id, of, cards)
	if err != nil {
		return "", err
	}
	if err := w.generate(ctx, b, in.Read); err != nil {
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

// A chipLot is what a chip maker delivers: blank chips, their operating system,
// and the lot's key.
type chipLot struct {
	Chips  int               `json:"chips"`
	Master []byte            `json:"master"`
	Vendor ed25519.PublicKey `json:"vendor"`
	image  simos.Image
	signed []byte
}

func newChipLot(chips int) (*chipLot, error) {
	l := &chipLot{Chips: chips, Master: make([]byte, 32)}
	rand.Read(l.Master)
	vendor, signer, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	l.Vendor = vendor
	l.image = simos.Image{Name: "ankan-reference", Version: "1.0", Algorithms: []string{"MILENAGE", "TUAK", "XOR"}, Body: []byte("reference operating system")}
	l.signed, err = l.image.Sign(signer)
	return l, err
}

// accept takes the lot's key into the security module.
func (w *workshop) accept(ctx context.Context, l *chipLot) (p perso.Product, err error) {
	chip, err := l.chip(0)
	if err != nil {
		return p, err
	}
	p = perso.Product{Lot: benchLot, LotKey: "lot/" + benchLot, Image: l.signed,
		Marks: perso.Marks{ATR: chip.Reset(), Serials: []perso.Range{{First: benchSerial(0), Last: benchSerial(l.Chips - 1)}}}}
	for _, a := range l.image.Algorithms {
		p.Algorithms = append(p.Algorithms, aka.Algorithm(a))
	}
	if p.Digest, err = l.image.Digest(); err != nil {
		return p, err
	}
	agree, err := w.token.Key(ctx, "agree")
	if err != nil {
		return p, err
	}
	given, err := hsm.Give(agree.Public, hsm.KeyContent(hsm.Lot, hsm.AES256), benchLot, l.Master)
	if err != nil {
		return p, err
	}
	_, err = w.token.TakeKey(ctx, "agree", given, benchLot, p.LotKey, hsm.Lot, hsm.AES256)
	return p, err
}

// chip is the lot's n-th chip, blank.
func (l *chipLot) chip(n int) (*simos.Chip, error) {
	serial := benchSerial(n)
	keys, err := hsm.DiversifyChip(l.Master, serial[:])
	if err != nil {
		return nil, err
	}
	var seed [32]byte
	rand.Read(seed[:])
	return simos.NewChip(simos.Config{Serial: serial, Lot: benchLot, Keys: keys, Vendor: l.Vendor, Seed: seed[:], Direct: true})
}

func benchSerial(n int) simos.Serial {
	serial := simos.Serial{0x63}
	binary.BigEndian.PutUint32(serial[2:6], uint32(n+1))
	return serial
}

// A tray holds fresh chips. Stations take them one by one. Each is made when it
// is taken: chips that wait are no memory of a plant.
type tray struct {
	lot  *chipLot
	mu   sync.Mutex
	next int
	wire uicc.Wire
}

func (t *tray) stations(n int) <-chan perso.Station {
	var all []perso.Station
	for i := range n {
		all = append(all, perso.Station{Name: fmt.Sprintf("station-%d", i+1), Open: t.open})
	}
	return perso.These(all...)
}

func (t *tray) open(context.Context) (station.Reader, error) { return &chipReader{tray: t}, nil }

func (t *tray) take() (*simos.Chip, error) {
	t.mu.Lock()
	n := t.next
	t.next++
	t.mu.Unlock()
	if n >= t.lot.Chips {
		return nil, station.ErrNoChips
	}
	return t.lot.chip(n)
}

func (t *tray) crossed() uicc.Wire {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wire
}

// A chipReader is a reader whose chips are in this process.
type chipReader struct {
	tray *tray
	chip *simos.Chip
	wire uicc.Wire // that the tray does not know of
}

var errNoChip = errors.New("no chip in the reader")

// Take implements station.Reader.
func (r *chipReader) Take(context.Context) (err error) {
	r.chip, err = r.tray.take()
	return err
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
	t, w := &r.tray.wire, r.wire
	t.Commands, t.Sent, t.Received, t.Turns = t.Commands+w.Commands, t.Sent+w.Sent, t.Received+w.Received, t.Turns+w.Turns
	r.wire = uicc.Wire{}
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
	answer, err := r.chip.Transmit(ctx, cmd)
	r.wire.Count(cmd, len(answer)-2)
	return answer, err
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
		seen ^= v.RES()[0]
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
		seen ^= v.RES()[0]
	}
	opened := time.Since(began)
	// TUAK as stores call it, through aka.Set; a tenth, for it takes as much longer.
	tuak := max(1, c.Vectors/10)
	sets := make([]aka.Set, subscribers)
	parameters := aka.Parameters{Algorithm: aka.TUAK, Tuak: aka.TuakParameters{K: 256, MAC: 64, RES: 64, CK: 128, IK: 128, Iterations: 1}}
	for i := range sets {
		var err error
		if sets[i], err = parameters.Open(append(keys[i][:], opcs[i][:]...), append(opcs[i][:], rands[i][:]...)); err != nil {
			return nil, err
		}
	}
	began = time.Now()
	for i := range tuak {
		n := i % subscribers
		v := sets[n].Vector(aka.RAND(rands[n]), aka.SQN(i+1)<<5, aka.EPS())
		seen ^= v.RES()[0]
	}
	other := time.Since(began)
	runtime.KeepAlive(seen)
	var r result
	r.add("vectors", c.Vectors)
	r.add("seconds", round(took.Seconds()))
	r.add("vectors_per_second", round(float64(c.Vectors)/took.Seconds()))
	r.add("vectors_per_second_per_core", round(float64(c.Vectors)/took.Seconds()))
	r.add("with_key_schedule_seconds", round(opened.Seconds()))
	r.add("with_key_schedule_per_second_per_core", round(float64(c.Vectors)/opened.Seconds()))
	r.add("tuak_vectors", tuak)
	r.add("tuak_seconds", round(other.Seconds()))
	r.add("tuak_vectors_per_second_per_core", round(float64(tuak)/other.Seconds()))
	r.add("cores_used", 1)
	r.add("peer", "none here") // osmo-auc-gen is a process for each vector: nothing to compare
	return r, r.machine()
}

// benchAuditCmd appends entries to a store, each on disk when it counts.
type benchAuditCmd struct {
	Entries int  `help:"Entries with many writers; a tenth of it one at a time." default:"50000" placeholder:"N"`
	Writers int  `help:"Writers at the same time." default:"64" placeholder:"W"`
	JSON    bool `help:"Print JSON."`

	benchDatabase
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
	w, err := newWorkshop(ctx, c.Database)
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
