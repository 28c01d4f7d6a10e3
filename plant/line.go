package plant

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"sync"
	"time"

	"ankan/audit"
	"ankan/datagen"
	"ankan/keys"
	"ankan/order"
	"ankan/perso"
	"ankan/release"
	"ankan/site"
	"ankan/station"
	"ankan/station/drawer"
	"ankan/stock"
	"ankan/store"
)

// A line is the plant's one line: it makes one batch at a time.
type line struct {
	hub *station.Hub // nil if no station can connect

	mu   sync.Mutex
	ord  string          // that it makes; empty while it rests
	held map[string]bool // orders whose chips are being counted for destruction
}

func newLine(at *site.Site) (*line, error) {
	l := &line{held: map[string]bool{}}
	if at.Config().Line.Listen == "" {
		return l, nil
	}
	known, err := at.Config().Line.Known()
	if err != nil {
		return nil, err
	}
	l.hub = station.NewHub(known)
	return l, nil
}

// take has the line work for an order; it reports false while it works, or
// while that order's chips are being counted.
func (l *line) take(ord string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ord != "" || l.held[ord] {
		return false
	}
	l.ord = ord
	return true
}

func (l *line) rest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ord = ""
}

// hold keeps the line from an order while f counts its chips. It waits a little
// for the line to rest from that order, and then refuses: any card of it may be
// in doubt while cards are made.
func (l *line) hold(ctx context.Context, ord string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !l.freeze(ord) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("order %s: its cards are being made; wait until the line rests", ord)
		case <-time.After(20 * time.Millisecond):
		}
	}
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.held, ord)
	}()
	return f()
}

// patience is how long the line may take to rest.
const patience = 3 * time.Second

func (l *line) freeze(ord string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ord == ord || l.held[ord] {
		return false
	}
	l.held[ord] = true
	return true
}

// run lets the line make the batch's cards.
func (s *plant) run(ctx context.Context, r perso.Run) error {
	if !s.line.take(r.Order) {
		return site.ErrIdle // until the batch that it makes ends, or waits
	}
	defer s.line.rest()
	if err := order.Stopped(s.Store().Committed(ctx), r.Order); err != nil {
		return err
	}
	p, err := s.feed(ctx, r)
	if err != nil {
		return err
	}
	line, err := perso.New(s.Store(), s.Token(), p)
	if err != nil {
		return err
	}
	l, _, err := s.stock.Lot(ctx, p.Lot)
	if err != nil {
		return err
	}
	mayLoad := seldom(time.Second, func(ctx context.Context) error { return s.mayLoad(ctx, r, p.Image, l.Chip) })
	goesOn := seldom(time.Second, func(ctx context.Context) error { return s.goesOn(ctx, r.Order) })
	line.May = func(ctx context.Context) error { return errors.Join(s.MayBegin(), mayLoad(ctx), goesOn(ctx)) }
	line.Again = func(err error) bool { return errors.Is(err, store.ErrFull) && s.MakeRoom() }
	if err := line.May(ctx); err != nil {
		return err
	}
	line.Steps = s.Config().Steps
	line.Ends = func(tx *store.Tx, ord string) error { return stock.Finish(tx, ord, s.counts()) }
	ctx, cancel := context.WithCancel(keys.For(ctx, "order/"+r.Order))
	defer cancel()
	err = line.Run(ctx, r.Order, s.places(ctx))
	if err != nil && ctx.Err() == nil {
		err = errors.Join(err, s.catch(ctx, r.Order))
	}
	return err
}

// seldom asks again what was answered longer ago than every.
func seldom(every time.Duration, ask func(context.Context) error) func(context.Context) error {
	var mu sync.Mutex
	var asked time.Time
	var answer error
	return func(ctx context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(asked) >= every {
			answer, asked = ask(ctx), time.Now()
		}
		return answer
	}
}

// mayLoad refuses an operating system that is not approved for the batch's
// operator and profile (SOP 5.ii).
func (s *plant) mayLoad(ctx context.Context, r perso.Run, image []byte, chip string) error {
	b, err := datagen.Load(ctx, s.Store(), r.Order)
	if err != nil {
		return err
	}
	return release.Check(ctx, s.Store(), s.Config().Country, release.Load{Order: r.Order, OS: r.OS, Profile: b.Profile.Digest(), Image: image, Chip: chip})
}

// places is the readers at the line: the drawers of the configuration, and
// those of the stations that are connected or will be.
func (s *plant) places(ctx context.Context) <-chan perso.Station {
	var fixed []perso.Station
	for _, c := range s.Config().Stations {
		fixed = append(fixed, perso.Station{Name: c.Name, Open: func(ctx context.Context) (station.Reader, error) {
			return drawer.Dial(ctx, c.Network, c.Address)
		}})
	}
	if s.line.hub == nil {
		return perso.These(fixed...)
	}
	return perso.Coming(ctx, s.line.hub.Places(ctx), fixed...)
}

// serveStations takes stations in as long as the site runs.
func (s *plant) serveStations(ctx context.Context) error {
	own, key, err := s.lineKey()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.Config().Line.Listen)
	if err != nil {
		return fmt.Errorf("line.listen: %w", err)
	}
	e := audit.Entry{Kind: "line.listening", Actor: "system:site", Subject: "site/" + s.Config().Site,
		Data: map[string]any{"listen": l.Addr().String(), "key": key.String(), "stations": len(s.Config().Line.Stations)}}
	if err := s.Store().Change(ctx, e, perso.NobodyHere); err != nil {
		l.Close()
		return err
	}
	s.line.hub.Tell = func(e station.Event) { s.tell(context.WithoutCancel(ctx), e) }
	return s.line.hub.Serve(ctx, tls.NewListener(l, station.TLSConfig(own, nil)))
}

// lineKey is the key by which stations know the plant; it is made when it is
// needed first.
func (s *plant) lineKey() (tls.Certificate, station.Fingerprint, error) {
	s.line.mu.Lock() // two who need it first make it once
	defer s.line.mu.Unlock()
	dir := s.Config().LineDir()
	own, key, err := station.LoadIdentity(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := station.NewIdentity(dir, s.Config().Site); err != nil {
			return own, key, err
		}
		own, key, err = station.LoadIdentity(dir)
	}
	return own, key, err
}

// tell logs a station that came, went or was refused.
func (s *plant) tell(ctx context.Context, e station.Event) {
	name, kind, data := e.Station, "station.connected", map[string]any{"from": e.From, "key": e.Key.String()}
	if name == "" {
		name = "unknown"
	}
	switch {
	case e.Gone:
		kind = "station.gone"
	case e.Err != nil:
		kind = "station.refused"
	default:
		data["readers"], data["version"] = len(e.Readers), e.Version
	}
	if e.Err != nil {
		data["why"] = e.Err.Error()
	}
	entry := audit.Entry{Kind: kind, Actor: "station/" + name, Subject: "site/" + s.Config().Site, Data: data}
	err := s.Store().Change(ctx, entry, func(tx *store.Tx) error {
		if kind == "station.refused" || e.Back {
			return nil
		}
		return perso.PutPresence(tx, perso.Presence{Name: name, Readers: len(e.Readers), Version: e.Version, Here: !e.Gone})
	})
	if err != nil {
		s.Logger().Error("station", "kind", kind, "err", err)
	}
}

// A Stations is what can make cards at a plant.
type Stations struct {
	Listen  string             `json:"listen,omitempty"`
	Key     string             `json:"key,omitempty"` // of the plant, for ankan-station
	Here    []station.Presence `json:"here"`
	Away    []string           `json:"away"` // configured, and not connected
	Drawers []string           `json:"drawers"`
	Order   string             `json:"order,omitempty"` // that the line makes now
}

// stations is the stations that are connected and those that are not.
func (s *plant) stations() (Stations, error) {
	c := s.Config()
	v := Stations{Listen: c.Line.Listen, Here: []station.Presence{}, Away: []string{}, Drawers: []string{}}
	for _, d := range c.Stations {
		v.Drawers = append(v.Drawers, d.Name)
	}
	s.line.mu.Lock()
	v.Order = s.line.ord
	s.line.mu.Unlock()
	if s.line.hub == nil {
		return v, nil
	}
	_, key, err := s.lineKey()
	if err != nil {
		return v, err
	}
	v.Key, v.Here = key.String(), append(v.Here, s.line.hub.Here()...)
	for name := range c.Line.Stations {
		if !slices.ContainsFunc(v.Here, func(p station.Presence) bool { return p.Station == name }) {
			v.Away = append(v.Away, name)
		}
	}
	slices.Sort(v.Away)
	return v, nil
}
