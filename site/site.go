package site

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"ankan/access"
	"ankan/audit"
	"ankan/ceremony"
	"ankan/custody"
	"ankan/exchange"
	"ankan/exchange/edge"
	"ankan/format"
	"ankan/hsm"
	"ankan/keys"
	"ankan/message"
	"ankan/notice"
	"ankan/order"
	"ankan/profile"
	"ankan/stock"
	"ankan/store"
)

//go:embed migrations
var migrations embed.FS

// A Site is a running installation. Only Open makes one.
type Site struct {
	config     *Config
	clock      Clock
	keeper     *keeper     // of the site's time
	stood      atomic.Bool // the site's time did not follow its clock when it was last looked at
	discipline *discipline // of the clock
	disks      *disks
	log        *slog.Logger
	guard      *keys.Guard // what all parts take for the security module
	register   *keys.Register
	runner     *ceremony.Runner
	gate       *access.Gate
	board      *notice.Board
	store      *store.Store
	schemas    []store.Schema
	people     *access.Directory
	desk       *custody.Desk
	mail       *exchange.Identity
	partners   map[string]*exchange.Partner
	stock      *stock.Book
	contracts  []*order.Contract
	profiles   map[string]*profile.Profile // by name
	spool      *edge.Spool

	// What the parts do.
	parts  []Duties
	files  map[message.Kind]Handler
	deeds  map[string]Deed
	steps  map[order.State]func(context.Context, order.Order) error
	routes map[string]Route
	nonces nonces    // of signed requests
	opened time.Time // signed requests from before are not taken

	high highWater

	wake  chan struct{}
	mu    sync.Mutex
	heard map[string]bool // files that a locked site has listened to, by their place
	lock  *Lock           // why the site issues nothing; nil: it is not locked
	busy  map[string]*work
	// taking holds an element for each file that is being taken in.
	taking chan struct{}
	house  time.Duration // of the clock: when the site next looks after what time brings
}

// work is what is being done for one order or batch.
type work struct {
	running bool
	failed  int           // times in a row
	next    time.Duration // of the site's clock: not before
	note    string        // why it waits, for people
}

// Open opens a site that Init set up, with the parts that it is made of (package
// parts has them all). Each of its roles needs one. The token stays the caller's
// to close.
func Open(ctx context.Context, c *Config, token hsm.Module, log *slog.Logger, parts ...Part) (_ *Site, err error) {
	if err := c.CheckSetUp(); err != nil {
		return nil, err
	}
	if err := c.tidyRestored(); err != nil { // of a restore that was cut short behind its end
		return nil, err
	}
	s := &Site{
		config: c, clock: c.clock(), keeper: newKeeper(c.clock(), c.Time.leap()), disks: newDisks(c), log: log, profiles: map[string]*profile.Profile{},
		files: map[message.Kind]Handler{}, deeds: map[string]Deed{}, steps: map[order.State]func(context.Context, order.Order) error{},
		wake: make(chan struct{}, 1), busy: map[string]*work{}, heard: map[string]bool{}, taking: make(chan struct{}, mostTaking),
	}
	s.routes = s.ownRoutes()
	s.discipline = newDiscipline(c, s.keeper.Now)
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	token = hsm.Stepped(token, c.Steps)
	if s.partners, err = loadPartners(c); err != nil {
		return nil, err
	}
	if s.store, err = openStore(ctx, c, s.keeper.Now, token, parts); err != nil {
		return nil, err
	}
	s.keeper.from(s.store.Now())
	s.high.path, s.high.steps, s.high.clock, s.schemas = c.HighWaterFile(), c.Steps, s.clock, Schemas(parts...)
	s.people, s.opened = access.New(s.store), s.store.Now()
	s.stock = stock.New(s.store)
	s.desk = custody.New(c.Site, s.store, s.people)
	if err := s.guardKeys(ctx, token); err != nil {
		return nil, err
	}
	if s.mail, err = loadMailKey(ctx, c, s.guard); err != nil {
		return nil, err
	}
	if err := s.loadDocuments(); err != nil {
		return nil, err
	}
	if s.spool, err = edge.OpenSpool(c.SpoolDir()); err != nil {
		return nil, err
	}
	s.spool.Steps = c.Steps
	if err := s.plug(ctx, append([]Part{s.keyRoom(), s.staff(), s.shipments(), s.rollback()}, parts...)); err != nil {
		return nil, err
	}
	// After the parts have opened what they need to show what is so.
	if l := s.Locked(); l != nil {
		s.guard.Hold(l.Why())
	}
	return s, nil
}

// readFormats reads layouts of files.
func readFormats(paths []string) (format.Set, error) {
	var all format.Set
	for _, path := range paths {
		doc, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		l, err := format.Parse(path, doc)
		if err != nil {
			return nil, err
		}
		if all, err = all.Add(l); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return all, nil
}

// loadDocuments reads layouts, contracts and profiles. Each profile must be without findings.
func (s *Site) loadDocuments() error {
	formats, err := readFormats(s.config.Formats)
	if err != nil {
		return err
	}
	for _, path := range s.config.Contracts {
		doc, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		c, err := order.ParseContract(path, doc, formats...)
		if err != nil {
			return err
		}
		s.contracts = append(s.contracts, c)
	}
	for _, name := range s.config.Profiles {
		p, err := ReadProfile(name)
		if err != nil {
			return err
		}
		if findings := p.Check(); len(findings) > 0 {
			return fmt.Errorf("%s: profile has %d findings, the first: %s; run: ankan profile check %s", name, len(findings), findings[0], name)
		}
		s.profiles[p.Name] = p
	}
	return nil
}

// ReadProfile reads a profile of the program, builtin:NAME, or a document with the
// CAP files that it names, which lie in its folder or below.
func ReadProfile(name string) (*profile.Profile, error) {
	if b, ok := builtin(name); ok {
		return profile.Builtin(b)
	}
	doc, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	folder, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return profile.ParseIn(folder.FS(), name, doc)
}

// Profiles is the site's electrical profiles, by name.
func (s *Site) Profiles() []*profile.Profile {
	return slices.SortedFunc(maps.Values(s.profiles), func(a, b *profile.Profile) int { return cmp.Compare(a.Name, b.Name) })
}

// Close closes the parts and the database.
func (s *Site) Close() error {
	var errs []error
	for _, p := range s.parts {
		if p.Close != nil {
			p.Close()
		}
	}
	if s.guard != nil {
		errs = append(errs, s.guard.Flush(context.Background()))
	}
	if s.spool != nil {
		errs = append(errs, s.spool.Close())
	}
	if s.store != nil {
		s.mark(true)
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}

// Config is the site's configuration.
func (s *Site) Config() *Config { return s.config }

// Token is the site's security module, behind the guard of the key register.
func (s *Site) Token() hsm.Module { return s.guard }

// Guard is the guard before the security module.
func (s *Site) Guard() *keys.Guard { return s.guard }

// Register is the register of the site's keys.
func (s *Site) Register() *keys.Register { return s.register }

// Ceremonies runs the site's key ceremonies.
func (s *Site) Ceremonies() *ceremony.Runner { return s.runner }

// Gate is where the site's people sign in.
func (s *Site) Gate() *access.Gate { return s.gate }

// Board is what the site's people were told.
func (s *Site) Board() *notice.Board { return s.board }

// Logger is the program's own log, for what no entry can be made of.
func (s *Site) Logger() *slog.Logger { return s.log }

// Store is the site's database.
func (s *Site) Store() *store.Store { return s.store }

// People is who may do what at the site, and the policy in force.
func (s *Site) People() *access.Directory { return s.people }

// Desk is where acts are asked for, signed and looked at.
func (s *Site) Desk() *custody.Desk { return s.desk }

// Partner is a partner by its name; nil if there is none.
func (s *Site) Partner(name string) *exchange.Partner { return s.partners[name] }

// Contracts are the contracts of the configuration.
func (s *Site) Contracts() []*order.Contract { return s.contracts }

// Contract is the contract with an operator.
func (s *Site) Contract(operator string) (*order.Contract, error) {
	for _, c := range s.contracts {
		if c.Operator == operator {
			return c, nil
		}
	}
	return nil, fmt.Errorf("no contract with %q", operator)
}

// contractOf is the contract that an order is under, at either of its sites; nil
// if there is none.
func (s *Site) contractOf(o order.Order) *order.Contract {
	for _, c := range s.contracts {
		if c.Operator == o.Partner || c.Operator == s.config.Site && c.Manufacturer == o.Partner {
			return c
		}
	}
	return nil
}

// Profile is an electrical profile by its name; nil if the site has none.
func (s *Site) Profile(name string) *profile.Profile { return s.profiles[name] }

// tick is how often the site looks for work that nobody announced.
const tick = 100 * time.Millisecond

// Run serves until ctx ends: the edge (unless it is separate), the files that
// arrive, the orders that can go on by themselves, and the control socket.
func (s *Site) Run(ctx context.Context) error {
	control, err := s.listenControl(ctx)
	if err != nil {
		return err
	}
	defer control.Close()
	switch unruled, err := s.Unruled(ctx); {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	case len(unruled) > 0:
		s.log.Warn("the policy has no rule for acts that this program does", "acts", unruled, "next", "ankan policy builtin has them: draft a policy with those that the site wants")
	}
	token, pinned := s.guard.Info(), map[string]any{}
	for name, p := range s.partners {
		pinned[name] = fmt.Sprintf("%x", p.Digest())
	}
	e := audit.Entry{Kind: "site.started", Actor: "system:site", Subject: "site/" + s.config.Site,
		Data: map[string]any{"token": token.Model, "serial": token.Serial, "firmware": token.Firmware, "certificate": token.Certificate, "listen": s.config.Edge.Listen,
			"edge_separate": s.config.Edge.Separate, "partners": pinned}}
	if err := s.store.Enter(ctx, e); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	if !s.config.Edge.Separate {
		g.Go(func() error { return RunEdge(ctx, s.config, s.log) })
	}
	g.Go(func() error { return s.serveControl(ctx, control) })
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-s.store.Failed():
			return store.ErrInDoubt // whoever runs the program starts it again
		}
	})
	g.Go(func() error {
		t := time.NewTicker(tick)
		defer t.Stop()
		for {
			if err := s.round(ctx, g.Go); err != nil && ctx.Err() == nil {
				s.log.Error("round", "err", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-t.C:
			case <-s.wake:
			}
		}
	})
	err = g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// RunEdge runs the edge of a site. It opens neither database nor security module.
func RunEdge(ctx context.Context, c *Config, log *slog.Logger) error {
	partners, err := loadPartners(c)
	if err != nil {
		return err
	}
	keys, err := edge.Load(c.EdgeDir())
	if err != nil {
		return err
	}
	spool, err := edge.OpenSpool(c.SpoolDir())
	if err != nil {
		return err
	}
	defer spool.Close()
	spool.Steps = c.Steps
	var peers []edge.Peer
	for _, p := range partners {
		peers = append(peers, edge.Peer{Name: p.Name(), Certificate: p.Certificate(), SSH: p.SSH(), Address: p.Card().Address})
	}
	disk := c.Disk.withDefaults()
	e, err := edge.New(edge.Config{Name: c.Site, Listen: c.Edge.Listen, Keys: keys, Spool: spool, Peers: peers,
		Limits: edge.Limits{Free: disk.Stop, Enough: int64(disk.Enough) << 20}})
	if err != nil {
		return err
	}
	log.Info("edge", "listen", e.Addr(), "partners", len(peers))
	return e.Run(ctx)
}

// Turn is one round of Run without Run, for who has the site take its steps one
// by one: the same work in the same order, each piece at its end before the next
// begins. It reports whether any was done, and not only found that it waits.
// What rests after it failed, or for something to happen, rests by the site's
// clock.
func (s *Site) Turn(ctx context.Context) (done bool, err error) {
	err = s.round(ctx, func(work func() error) {
		work() // it keeps its error itself
	})
	select {
	case <-s.wake:
		done = true
	default:
	}
	return done, err
}

// poke has the next round begin at once.
func (s *Site) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// round takes in what has arrived, logs transfers, and lets every order go on.
func (s *Site) round(ctx context.Context, run func(work func() error)) error {
	// First, and whatever becomes of the rest: people must hear of it.
	if err := errors.Join(s.watchClock(ctx), s.watchDisks(ctx)); err != nil {
		s.log.Error("watching clock and disks", "err", err)
	}
	if err := s.logTransfers(ctx); err != nil {
		return err
	}
	s.mark(false)
	begin := func(name string, do func(context.Context) error) { s.begin(ctx, run, name, do) }
	files, err := s.spool.Waiting()
	if err != nil {
		return err
	}
	if s.Locked() != nil {
		begin("housekeeping", s.keepHouse)
		begin("notices", s.deliver)
		for _, f := range files {
			begin("witness "+f.Path, func(ctx context.Context) error { return s.listen(ctx, f) })
		}
		return nil
	}
	for _, f := range files {
		s.begin(ctx, run, "file "+f.Path, func(ctx context.Context) error { return s.takeIn(ctx, f) })
	}
	answers, err := s.owed(ctx)
	if err != nil {
		return err
	}
	for _, o := range answers {
		s.begin(ctx, run, "answer "+o.partner+" "+o.name, func(ctx context.Context) error { return s.pay(ctx, o) })
	}
	orders, err := order.Active(ctx, s.store)
	if err != nil {
		return err
	}
	for _, o := range orders {
		if step := s.steps[o.State]; step != nil {
			s.begin(ctx, run, "order "+o.ID, func(ctx context.Context) error {
				// The list may be older than the step that ended just now.
				if now, err := order.Get(ctx, s.store, o.ID); err != nil || now.State != o.State {
					return err
				}
				if err := order.Stopped(s.store.Committed(ctx), o.ID); err != nil {
					return err
				}
				return step(ctx, o)
			})
		}
	}
	for _, p := range s.parts {
		if p.Round == nil {
			continue
		}
		if err := p.Round(ctx, begin); err != nil {
			return err
		}
	}
	return nil
}

// ErrIdle is returned by work that found nothing to do but wait.
var ErrIdle = errors.New("nothing to do")

// idle is how long such work rests if nothing happens.
const idle = time.Second

// begin starts a piece of work unless it is under way or waits after a failure.
func (s *Site) begin(ctx context.Context, run func(work func() error), name string, do func(context.Context) error) {
	s.mu.Lock()
	w := s.busy[name]
	if w == nil {
		w = &work{}
		s.busy[name] = w
	}
	if w.running || s.clock.Elapsed() < w.next {
		s.mu.Unlock()
		return
	}
	w.running = true
	s.mu.Unlock()
	run(func() error {
		err := do(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		w.running = false
		switch {
		case err == nil:
			delete(s.busy, name)
			s.poke()
			return nil
		case errors.Is(err, ErrIdle):
			w.next = s.clock.Elapsed() + idle
			return nil
		case ctx.Err() != nil:
			return nil
		}
		if w.note != err.Error() {
			s.log.Warn(name, "err", err)
		}
		w.failed++
		w.note = err.Error()
		w.next = s.clock.Elapsed() + min(time.Duration(w.failed)*time.Second, 30*time.Second)
		return nil
	})
}

// hurry lets waiting work go on in the next round: something happened that it
// may have waited for.
func (s *Site) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.busy {
		w.next = 0
	}
	s.poke()
}

// Waiting says why a piece of work waits; "" if it does not.
func (s *Site) Waiting(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.busy[name]; w != nil {
		return w.note
	}
	return ""
}
