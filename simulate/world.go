package simulate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"ankan/client"
	"ankan/demo"
	"ankan/durable"
	"ankan/exchange/edge"
	"ankan/hsm"
	"ankan/hsm/soft"
	"ankan/simos"
	"ankan/site"
)

// A clock is a site's: its time of day is stepped, and time passes on it.
type clock struct {
	day     time.Time
	elapsed time.Duration
}

func (c *clock) Now() time.Time         { return c.day }
func (c *clock) Elapsed() time.Duration { return c.elapsed }

// pass lets time pass.
func (c *clock) pass(d time.Duration) {
	c.day = c.day.Add(d)
	c.elapsed += d
}

// step sets the time of day.
func (c *clock) step(d time.Duration) { c.day = c.day.Add(d) }

// A place is one site of a factory.
type place struct {
	name   string
	config *site.Config
	clock  *clock
	token  *soft.Token
	site   *site.Site // nil while it is dead
	client *client.Client
	spool  *edge.Spool
	people map[string]client.Signer // by role
	script *durable.Script          // of the steps that the site takes now
	news   bool                     // something happened that it may have waited for
}

// A world is a factory while it runs.
type world struct {
	base   *Base
	dir    string
	log    *slog.Logger
	places map[string]*place
	rack   *simos.Rack
	lot    []string           // files of the chips that were not fed to the line yet
	stop   context.CancelFunc // of the rack
	served chan error
}

// world opens a factory that lies in dir.
func (b *Base) world(ctx context.Context, dir string, log *slog.Logger) (_ *world, err error) {
	w := &world{base: b, dir: dir, log: log, places: map[string]*place{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if w.rack, err = simos.NewRack(""); err != nil {
		return nil, err
	}
	if w.lot, err = filepath.Glob(filepath.Join(b.dir, "chips", "*.chip")); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", filepath.Join(dir, "chips.sock"))
	if err != nil {
		return nil, err
	}
	var serving context.Context
	serving, w.stop = context.WithCancel(ctx)
	w.served = make(chan error, 1)
	go func() { w.served <- w.rack.Serve(serving, l) }()
	for _, name := range Sites() {
		p := &place{name: name, clock: &clock{day: b.began}, script: &durable.Script{}, people: map[string]client.Signer{}}
		w.places[name] = p
		if err := writeConfig(dir, name); err != nil {
			return nil, err
		}
		if p.config, err = site.LoadConfig(filepath.Join(dir, name, "site.yaml")); err != nil {
			return nil, err
		}
		p.config.Clock, p.config.Steps = p.clock, p.step
		for _, role := range cast(name) {
			if p.people[role], err = signer(dir, name, role); err != nil {
				return nil, err
			}
		}
		if err := w.open(ctx, p); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// open opens a site from what lies in its folder.
func (w *world) open(ctx context.Context, p *place) (err error) {
	if p.token == nil {
		if p.token, err = soft.Open(p.config.Token.File, []byte(pass), soft.WithSteps(p.step)); err != nil {
			return fmt.Errorf("token of %s: %w", p.name, err)
		}
	}
	if p.spool == nil {
		if p.spool, err = edge.OpenSpool(p.config.SpoolDir()); err != nil {
			return err
		}
		if err := p.spool.Recover(); err != nil {
			return err
		}
	}
	var module hsm.Module = p.token
	if w.base.module != nil {
		module = w.base.module(p.name, module)
	}
	p.site, err = site.Open(ctx, p.config, module, w.log.With("site", p.name), w.base.parts...)
	if err != nil {
		return fmt.Errorf("opening %s: %w", p.name, err)
	}
	p.client = client.Within(p.site.Control())
	p.client.Now, p.news = p.clock.Now, true
	return nil
}

// step is a durable step of the site, which goes as the script has it.
func (p *place) step(name string, do func() error) error { return p.script.Steps().Do(name, do) }

// shut closes a site.
func (p *place) shut() error {
	if p == nil {
		return nil
	}
	var errs []error
	if p.site != nil {
		errs = append(errs, p.site.Close())
	}
	if p.spool != nil {
		errs = append(errs, p.spool.Close())
	}
	if p.token != nil {
		errs = append(errs, p.token.Close())
	}
	p.site, p.spool, p.token = nil, nil, nil
	return errors.Join(errs...)
}

// Close closes all sites.
func (w *world) Close() error {
	var errs []error
	for _, name := range Sites() {
		errs = append(errs, w.places[name].shut())
	}
	if w.stop != nil {
		w.stop()
		errs = append(errs, <-w.served)
	}
	return errors.Join(errs...)
}

// crew is the people of a site.
func (w *world) crew(name string) demo.Crew {
	p := w.places[name]
	return demo.Crew{Client: p.client, As: func(role string) client.Signer { return p.people[role] }, Note: func(string, ...any) {}}
}

// turns bounds how often a site may find something to do without anything new.
const turns = 200

// settle lets every site do what it can and carries every file, until nothing
// is left to do but by people.
func (w *world) settle(ctx context.Context) error {
	for range turns {
		busy := false
		for _, name := range Sites() {
			p := w.places[name]
			p.clock.pass(time.Second)
			did, err := p.site.Turn(ctx)
			w.rack.Rest()
			if err != nil {
				return fmt.Errorf("site %s: %w", name, err)
			}
			busy = busy || did
		}
		for _, l := range links() {
			n, err := w.carryAll(l[0], l[1])
			if err != nil {
				return err
			}
			busy = busy || n > 0
		}
		if !busy {
			return nil
		}
	}
	return fmt.Errorf("the factory does not come to rest in %d rounds", turns)
}

// feed puts the next n chips of the lot into the reader's drawer.
func (w *world) feed(n int) error {
	for _, path := range w.lot[:min(n, len(w.lot))] {
		c, err := simos.LoadChip(path)
		if err != nil {
			return err
		}
		if err := w.rack.Add(c); err != nil {
			return err
		}
	}
	w.lot = w.lot[min(n, len(w.lot)):]
	return nil
}

// carryAll carries all files from one site to another.
func (w *world) carryAll(from, to string) (n int, err error) {
	files, err := w.outgoing(from, to)
	for _, m := range files {
		if err := w.carry(from, to, m); err != nil {
			return n, err
		}
		n++
	}
	return n, err
}

// outgoing is what waits to be carried from one site to another, by name.
func (w *world) outgoing(from, to string) (files []edge.Meta, err error) {
	all, err := w.places[from].spool.Outgoing()
	for _, m := range all {
		if m.Partner == to {
			files = append(files, m)
		}
	}
	return files, err
}

// carry brings a file to where it belongs, and notes that it is there.
func (w *world) carry(from, to string, m edge.Meta) error {
	if err := w.bring(from, to, m); err != nil {
		return err
	}
	return w.places[from].spool.Carried(m, to)
}

// bring brings a file; one that was brought before is there.
func (w *world) bring(from, to string, m edge.Meta) error {
	r, err := w.places[from].spool.Content(m)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	w.places[to].news = true
	if err := w.places[to].spool.Bring(from, m.Name, "carrier", r); !errors.Is(err, edge.ErrUsed) {
		return err
	}
	return nil
}
