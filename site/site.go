package site

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/exchange"
	"ankan/exchange/edge"
	"ankan/hlr"
	"ankan/hsm"
	"ankan/order"
	"ankan/profile"
	"ankan/store"
)

//go:embed migrations
var migrations embed.FS

// Schema is the tables that this package owns.
func Schema() store.Schema { return store.Embedded("site", migrations) }

// A Site is a running installation. Only Open makes one.
type Site struct {
	config    *Config
	log       *slog.Logger
	token     hsm.Token
	store     *store.Store
	people    *access.Directory
	desk      *custody.Desk
	mail      *exchange.Identity
	partners  map[string]*exchange.Partner
	contracts []*order.Contract
	profiles  map[string]*profile.Profile // by name
	spool     *edge.Spool
	ledger    *order.Ledger // bureau
	auc       *hlr.AuC      // operator

	wake chan struct{}
	mu   sync.Mutex
	busy map[string]*work
}

// work is what is being done for one order or batch.
type work struct {
	running bool
	failed  int       // times in a row
	next    time.Time // not before
	note    string    // why it waits, for people
}

// Open opens a site that Init set up. The token stays the caller's to close.
func Open(ctx context.Context, c *Config, token hsm.Token, log *slog.Logger) (_ *Site, err error) {
	if _, err := os.Stat(c.CardFile()); err != nil {
		return nil, fmt.Errorf("site %s is not set up; run: ankan site init -c %s", c.Site, c.file)
	}
	s := &Site{config: c, token: token, log: log, wake: make(chan struct{}, 1), busy: map[string]*work{}, profiles: map[string]*profile.Profile{}}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.partners, err = loadPartners(c); err != nil {
		return nil, err
	}
	if s.mail, err = loadMailKey(ctx, c, s.token); err != nil {
		return nil, err
	}
	if s.store, err = openStore(ctx, c, s.token); err != nil {
		return nil, err
	}
	s.people = access.New(s.store)
	s.desk = custody.New(c.Site, s.store, s.people)
	if err := s.loadDocuments(); err != nil {
		return nil, err
	}
	if s.spool, err = edge.OpenSpool(c.SpoolDir()); err != nil {
		return nil, err
	}
	if c.Is(Bureau) {
		if s.ledger, err = order.NewLedger(s.token, keyLedger); err != nil {
			return nil, err
		}
	}
	if c.Is(Operator) {
		if s.auc, err = hlr.Open(ctx, s.store, s.token, keySubscriber); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// loadDocuments reads contracts and profiles. Each profile must be without findings.
func (s *Site) loadDocuments() error {
	for _, path := range s.config.Contracts {
		doc, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		c, err := order.ParseContract(path, doc)
		if err != nil {
			return err
		}
		s.contracts = append(s.contracts, c)
	}
	for _, name := range s.config.Profiles {
		p, err := readProfile(name)
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

func readProfile(name string) (*profile.Profile, error) {
	if b, ok := builtin(name); ok {
		return profile.Builtin(b)
	}
	doc, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return profile.Parse(name, doc)
}

// Close closes the database and wipes what is open.
func (s *Site) Close() error {
	var errs []error
	if s.auc != nil {
		s.auc.Close()
	}
	if s.spool != nil {
		errs = append(errs, s.spool.Close())
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}

// tick is how often the site looks for work that nobody announced.
const tick = 100 * time.Millisecond

// Run serves until ctx ends: the edge (unless it is separate), the files that
// arrive, the orders that can go on by themselves, and the control socket.
func (s *Site) Run(ctx context.Context) error {
	control, err := s.listenControl()
	if err != nil {
		return err
	}
	defer control.Close()
	pinned := map[string]any{}
	for name, p := range s.partners {
		pinned[name] = fmt.Sprintf("%x", p.Digest())
	}
	e := audit.Entry{Kind: "site.started", Actor: "system:site", Subject: "site/" + s.config.Site,
		Data: map[string]any{"token": s.token.Info().Model, "certificate": s.token.Info().Certificate, "listen": s.config.Edge.Listen,
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
		t := time.NewTicker(tick)
		defer t.Stop()
		for {
			if err := s.round(ctx, g); err != nil && ctx.Err() == nil {
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
	var peers []edge.Peer
	for _, p := range partners {
		peers = append(peers, edge.Peer{Name: p.Name(), Certificate: p.Certificate(), SSH: p.SSH(), Address: p.Card().Address})
	}
	e, err := edge.New(edge.Config{Name: c.Site, Listen: c.Edge.Listen, Keys: keys, Spool: spool, Peers: peers})
	if err != nil {
		return err
	}
	log.Info("edge", "listen", e.Addr(), "partners", len(peers))
	return e.Run(ctx)
}

// poke has the next round begin at once.
func (s *Site) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// round takes in what has arrived, logs transfers, and lets every order go on.
func (s *Site) round(ctx context.Context, g *errgroup.Group) error {
	if err := s.logTransfers(ctx); err != nil {
		return err
	}
	files, err := s.spool.Waiting()
	if err != nil {
		return err
	}
	for _, f := range files {
		s.begin(ctx, g, "file "+f.Path, func(ctx context.Context) error { return s.takeIn(ctx, f) })
	}
	return s.advance(ctx, g)
}

// errIdle is returned by work that found nothing to do but wait.
var errIdle = errors.New("nothing to do")

// idle is how long such work rests if nothing happens.
const idle = time.Second

// begin starts a piece of work unless it is under way or waits after a failure.
func (s *Site) begin(ctx context.Context, g *errgroup.Group, name string, do func(context.Context) error) {
	s.mu.Lock()
	w := s.busy[name]
	if w == nil {
		w = &work{}
		s.busy[name] = w
	}
	if w.running || time.Now().Before(w.next) {
		s.mu.Unlock()
		return
	}
	w.running = true
	s.mu.Unlock()
	g.Go(func() error {
		err := do(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		w.running = false
		switch {
		case err == nil:
			delete(s.busy, name)
			s.poke()
			return nil
		case errors.Is(err, errIdle):
			w.next = time.Now().Add(idle)
			return nil
		case ctx.Err() != nil:
			return nil
		}
		if w.note != err.Error() {
			s.log.Warn(name, "err", err)
		}
		w.failed++
		w.note = err.Error()
		w.next = time.Now().Add(min(time.Duration(w.failed)*time.Second, 30*time.Second))
		return nil
	})
}

// hurry lets waiting work go on in the next round: something happened that it
// may have waited for.
func (s *Site) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.busy {
		w.next = time.Time{}
	}
	s.poke()
}

// waiting says why a piece of work waits; "" if it does not.
func (s *Site) waiting(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.busy[name]; w != nil {
		return w.note
	}
	return ""
}

// advance lets every order and batch take its next step, if it can by itself.
func (s *Site) advance(ctx context.Context, g *errgroup.Group) error {
	orders, err := order.Active(ctx, s.store)
	if err != nil {
		return err
	}
	for _, o := range orders {
		if step := s.orderStep(o); step != nil {
			s.begin(ctx, g, "order "+o.ID, func(ctx context.Context) error {
				// The list may be older than the step that ended just now.
				if now, err := order.Get(ctx, s.store, o.ID); err != nil || now.State != o.State {
					return err
				}
				return step(ctx, o)
			})
		}
	}
	if s.config.Is(Operator) {
		s.begin(ctx, g, "keys", s.sendKeys)
	}
	if s.config.Is(Plant) {
		return s.advanceRuns(ctx, g)
	}
	return nil
}

// orderStep is what the site does by itself for an order in its state.
func (s *Site) orderStep(o order.Order) func(context.Context, order.Order) error {
	steps := map[order.State]func(context.Context, order.Order) error{}
	if s.config.Is(Operator) {
		steps[order.Submitted] = s.sendOrder
		steps[order.Loading] = s.load
		steps[order.Acknowledged] = s.sendAck
	}
	if s.config.Is(Bureau) {
		steps[order.Released] = s.generate
		steps[order.Generated] = s.offer
		steps[order.Offered] = s.sendBatch
		steps[order.Made] = s.respond
		steps[order.Destroying] = s.condemn
		steps[order.Emptied] = s.destroy
		steps[order.Destroyed] = s.certify
	}
	return steps[o.State]
}

// refusal ends the life of a file: what it says cannot be done, and why.
type refusal struct {
	reasons []string
	digest  string // of the order's content, if it could be read
}

func (r *refusal) Error() string {
	if len(r.reasons) == 1 {
		return r.reasons[0]
	}
	return fmt.Sprintf("%s (and %d more)", r.reasons[0], len(r.reasons)-1)
}

func refused(format string, args ...any) error {
	return &refusal{reasons: []string{fmt.Sprintf(format, args...)}}
}

// An arrival is a file that is complete, verified, and from a pinned partner.
type arrival struct {
	*edge.File
	partner *exchange.Partner
	message *exchange.Message
	site    *Site
}

// taken records the file in the transaction that does what it asks for.
func (a *arrival) taken(tx *store.Tx) error {
	tx.Note("file", a.Name)
	tx.Note("file_sha256", a.SHA256)
	tx.Note("partner", a.Partner)
	return a.record(tx)
}

// place is where the file lies in the spool, the same in every process.
func (a *arrival) place() string { return filepath.Base(a.Path) }

func (a *arrival) record(tx *store.Tx) error {
	_, err := tx.Exec(`INSERT INTO received (sha256, partner, name, spool, at) VALUES ($1, $2, $3, $4, $5)`,
		a.SHA256, a.Partner, a.Name, a.place(), tx.Time().Format(time.RFC3339Nano))
	return err
}

// json reads the message as one JSON document.
func (a *arrival) json(v any) error {
	err := a.message.Read(func(r io.Reader) error { return readJSON(r, v) })
	if err != nil {
		return refused("%s: %v", a.Name, err)
	}
	return nil
}

// limits bound what one file may hold.
func limits() exchange.Limits { return exchange.Limits{MaxCipher: 64 << 30, MaxPlain: 64 << 30} }

// takeIn opens a file that arrived, checks who sent it, and hands it to what
// it is for. It is refused, or done, or tried again later: never half done.
func (s *Site) takeIn(ctx context.Context, f *edge.File) error {
	if _, err := os.Stat(f.Path); errors.Is(err, os.ErrNotExist) {
		return nil // the list was older than the file's end
	}
	a := &arrival{File: f, partner: s.partners[f.Partner], site: s}
	err := s.dispatch(ctx, a)
	var r *refusal
	var e *exchange.Refusal
	switch {
	case err == nil:
		s.hurry()
		return s.spool.Done(f)
	case errors.As(err, &e):
		// The refusal names the place in our spool, which is not the partner's business.
		r = &refusal{reasons: []string{f.Name + ": " + e.Text}}
	case !errors.As(err, &r):
		return err
	}
	s.log.Warn("file refused", "partner", f.Partner, "file", f.Name, "why", r.Error())
	if err := s.refuse(ctx, a, r); err != nil {
		return err
	}
	return s.spool.Quarantine(f, r.Error())
}

var errSeen = errors.New("seen")

func (s *Site) dispatch(ctx context.Context, a *arrival) error {
	if a.partner == nil {
		return refused("%s: from %q, who is no partner", a.Name, a.Partner)
	}
	switch err := s.replayed(ctx, a); {
	case errors.Is(err, errSeen):
		return nil
	case err != nil:
		return err
	}
	k, ok := kindOf(a.Name)
	if !ok {
		return refused("%s: the name must end in .KIND.pgp, for an order .inp.pgp", a.Name)
	}
	handler := s.handler(k, a.partner)
	if handler == nil {
		return refused("%s: this site takes no %q files from %s", a.Name, k, a.Partner)
	}
	var err error
	if a.message, err = exchange.Open(a.Path, s.mail, []*exchange.Partner{a.partner}, limits()); err != nil {
		return err
	}
	return handler(ctx, a)
}

// replayed refuses a file that was taken in before. The same file in the same
// place is no replay: the site stopped between taking it and clearing it away.
func (s *Site) replayed(ctx context.Context, a *arrival) error {
	var spool, at string
	err := s.store.QueryRow(ctx, `SELECT spool, at FROM received WHERE sha256 = $1`, a.SHA256).Scan(&spool, &at)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	case spool == a.place():
		return errSeen
	}
	return refused("%s: the same file (SHA-256 %.12s…) came at %s and was dealt with; a file is taken once", a.Name, a.SHA256, at)
}

// handler is what this site does with a kind of file from a partner; nil if it
// lacks the role to take it, or the partner the role to send it.
func (s *Site) handler(k kind, from *exchange.Partner) func(context.Context, *arrival) error {
	r := map[kind]struct {
		me, them string
		take     func(context.Context, *arrival) error
	}{
		kindOrder:       {Bureau, Operator, s.takeOrder},
		kindKeys:        {Bureau, Operator, s.takeKeys},
		kindSlot:        {Bureau, Plant, s.takeSlot},
		kindReport:      {Bureau, Plant, s.takeReport},
		kindAck:         {Bureau, Operator, s.takeAck},
		kindDestroyed:   {Bureau, Plant, s.takeDestroyed},
		kindOffer:       {Plant, Bureau, s.takeOffer},
		kindBatch:       {Plant, Bureau, s.takeBatch},
		kindDestroy:     {Plant, Bureau, s.takeDestroy},
		kindReceipt:     {Operator, Bureau, s.takeReceipt},
		kindResponse:    {Operator, Bureau, s.takeResponse},
		kindCertificate: {Operator, Bureau, s.takeCertificate},
	}[k]
	if r.take == nil || !s.config.Is(r.me) || !from.Has(r.them) {
		return nil
	}
	return r.take
}

// refuse logs a refusal and remembers the file. A refused order is answered.
func (s *Site) refuse(ctx context.Context, a *arrival, r *refusal) error {
	e := audit.Entry{Kind: "file.refused", Actor: "partner/" + a.Partner, Subject: "file/" + a.SHA256,
		Data: map[string]any{"file": a.Name, "size": a.Size, "reasons": first(r.reasons, 20), "count": len(r.reasons)}}
	err := s.store.Change(ctx, e, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO received (sha256, partner, name, spool, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (sha256) DO NOTHING`,
			a.SHA256, a.Partner, a.Name, a.place(), tx.Time().Format(time.RFC3339Nano))
		return err
	})
	if err != nil {
		return err
	}
	if k, _ := kindOf(a.Name); k != kindOrder || !s.config.Is(Bureau) || a.partner == nil {
		return nil
	}
	return s.sendReceipt(ctx, a, receipt{Digest: r.digest, Reasons: first(r.reasons, 1000)})
}

func first(list []string, n int) []string { return list[:min(len(list), n)] }

// sealing is exchange.Seal or exchange.SealForOfficers.
type sealing func(w io.Writer, from *exchange.Identity, to *exchange.Partner, name string) (io.WriteCloser, error)

// send seals a file to a partner and puts it into the spool, once by its name.
func (s *Site) send(ctx context.Context, to, name string, write func(io.Writer) error) error {
	return s.sendBy(ctx, exchange.Seal, to, name, write)
}

// sendBy is send with the sealing that a kind of file asks for.
func (s *Site) sendBy(ctx context.Context, seal sealing, to, name string, write func(io.Writer) error) error {
	p := s.partners[to]
	if p == nil {
		return fmt.Errorf("%s: %q is no partner; add its card to partners in the configuration", name, to)
	}
	sum, size, err := s.spool.Put(to, name, func(w io.Writer) error {
		sealed, err := seal(w, s.mail, p, name)
		if err != nil {
			return err
		}
		if err := write(sealed); err != nil {
			return err
		}
		return sealed.Close()
	})
	if errors.Is(err, edge.ErrUsed) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return s.store.Enter(ctx, audit.Entry{Kind: "file.sealed", Actor: "system:site", Subject: fmt.Sprintf("file/%x", sum),
		Data: map[string]any{"partner": to, "file": name, "size": size}})
}

// logTransfers moves the edge's transfer records into the audit log.
func (s *Site) logTransfers(ctx context.Context) error {
	records, err := s.spool.Records()
	if err != nil {
		return err
	}
	for _, r := range records {
		e := audit.Entry{Kind: "transfer." + r.Outcome, Actor: "partner/" + r.Partner, Subject: "file/" + r.SHA256,
			Data: map[string]any{"direction": r.Direction, "file": r.File, "size": r.Size, "text": r.Text, "remote": r.Remote}}
		if err := s.store.Enter(ctx, e); err != nil {
			return err
		}
		if err := s.spool.Forget(r); err != nil {
			return err
		}
	}
	return nil
}

// propose is what an act of this kind about this subject would say: the
// parameters that its approvers see, made from what is so now.
func (s *Site) propose(ctx context.Context, kind, subject string) (map[string]string, error) {
	d := s.deeds()[kind]
	if d.propose == nil {
		return nil, fmt.Errorf("%s: %w: this site does no such act", kind, act.ErrNotAllowed)
	}
	return d.propose(ctx, subject)
}

// A deed is how a kind of act is proposed and done.
type deed struct {
	propose func(ctx context.Context, subject string) (map[string]string, error)
	do      func(ctx context.Context, w custody.Warrant) error
}

func (s *Site) deeds() map[string]deed {
	all := map[string]deed{}
	if s.config.Is(Operator) {
		all["key.share"] = deed{s.proposeShare, s.doShare}
		all["order.submit"] = deed{s.proposeSubmit, s.doSubmit}
		all["hlr.load"] = deed{s.proposeLoad, s.doLoad}
		all["order.acknowledge"] = deed{s.proposeAck, s.doAck}
	}
	if s.config.Is(Bureau) {
		all["key.accept"] = deed{s.proposeAccept, s.doAccept}
		all["order.release"] = deed{s.proposeRelease, s.doRelease}
		all["order.destroy"] = deed{s.proposeDestroy, s.doDestroy}
	}
	if s.config.Is(Plant) {
		all["lot.accept"] = deed{s.proposeLot, s.doLot}
		all["chip.destroy"] = deed{s.proposeChips, s.doChips}
		all["batch.destroy"] = deed{s.proposeEmpty, s.doEmpty}
	}
	return all
}

// do does an approved act, if it is still about what is so: an act that was
// approved and whose order was changed since is refused.
func (s *Site) do(ctx context.Context, id string) error {
	w, err := s.desk.Warrant(ctx, id)
	if err != nil {
		return err
	}
	a := w.Act()
	now, err := s.propose(ctx, a.Kind, a.Subject)
	if err == nil {
		err = sameParams(a, now)
	}
	if err == nil {
		err = s.deeds()[a.Kind].do(ctx, w)
	}
	if err != nil {
		e := audit.Entry{Kind: "act.failed", Actor: "person/" + a.Requester, Subject: a.Subject, Data: map[string]any{"id": a.ID, "kind": a.Kind, "why": err.Error()}}
		return errors.Join(err, s.store.Enter(ctx, e))
	}
	s.hurry()
	return nil
}

func sameParams(a act.Act, now map[string]string) error {
	for k, v := range now {
		if a.Params[k] != v {
			return fmt.Errorf("act %s: %w: %s was %q when it was signed and is %q now; ask again", a.ID, act.ErrNotAllowed, k, a.Params[k], v)
		}
	}
	if len(a.Params) != len(now) {
		return fmt.Errorf("act %s: %w: it has %d parameters, want %d", a.ID, act.ErrNotAllowed, len(a.Params), len(now))
	}
	return nil
}

// subjectOf cuts "order/ID" and the like.
func subjectOf(subject, what string) (string, error) {
	if len(subject) > len(what)+1 && subject[:len(what)+1] == what+"/" {
		return subject[len(what)+1:], nil
	}
	return "", fmt.Errorf("subject %q is not %s/…", subject, what)
}

// contract is the contract with an operator.
func (s *Site) contract(operator string) (*order.Contract, error) {
	for _, c := range s.contracts {
		if c.Operator == operator {
			return c, nil
		}
	}
	return nil, fmt.Errorf("no contract with %q", operator)
}

// heldPath is where a sealed file is kept that is needed again.
func (s *Site) heldPath(name string) string {
	return filepath.Join(s.config.path("held"), filepath.Base(name))
}
