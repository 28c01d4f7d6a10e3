package factory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/client"
	"ankan/custody"
	"ankan/demo"
	"ankan/examples"
	"ankan/exchange"
	"ankan/exchange/edge"
	"ankan/factory"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/hsm/soft"
	"ankan/order"
	"ankan/parts"
	"ankan/passkey"
	"ankan/site"
	"ankan/store"
	"ankan/store/storetest"
)

// patience is how long anything may take that is waited for.
const patience = 60 * time.Second

// until looks until done, and ends the test when that takes too long.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen in %s", what, patience)
		}
	}
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A works is three sites that run in this process, and a drawer of chips.
type works struct {
	*demo.Factory
	t      *testing.T
	ctx    context.Context
	tokens map[string]*soft.Token
	up     map[string]*running
}

type running struct {
	stop context.CancelFunc
	done chan error
}

// options is how a works differs from the demonstration.
type options struct {
	cards    int
	document []byte // the order file; nil: the example
	faults   bool
	file     bool                                 // databases are files, whatever the suite runs on
	database string                               // of a PostgreSQL server, whatever the suite runs on; empty: the suite's
	random   func(site string) io.Reader          // the modules' source; nil: the usual one
	change   func(path string, doc string) string // of contract.yaml and each site.yaml before the sites start
}

// wide gives the operator more identities than it orders first, and a key that
// is agreed but was never shared.
func wide(path, doc string) string {
	if filepath.Base(path) != "contract.yaml" {
		return doc
	}
	lines := strings.Split(doc, "\n")
	for i, l := range lines {
		switch {
		case strings.Contains(l, "{iccid: "):
			lines[i] = "  - {iccid: 899199900000100000-899199900000109999, imsi: 404990000100000-404990000109999}"
		case strings.HasPrefix(l, "max_quantity:"):
			lines[i] = "max_quantity: 5000"
		case strings.Contains(l, "{index: 11}"):
			lines[i] = l + "\n  - {index: 12}"
		}
	}
	return strings.Join(lines, "\n")
}

// hosts counts the loopback addresses that were taken.
var hosts atomic.Uint32

// host is a loopback address that no other test has, of this process or of
// another: a port that one found free is taken by nobody before it listens.
func host() string {
	return fmt.Sprintf("127.%d.%d.%d", 1+os.Getpid()>>8&0x7f, os.Getpid()&0xff, hosts.Add(1))
}

// start sets a works up and runs it until the test ends.
func start(t *testing.T, o options) *works {
	t.Helper()
	// A unix socket's name is short, so the folder's must be.
	dir := must[string](t)(os.MkdirTemp("", "ankan"))
	t.Cleanup(func() { os.RemoveAll(dir) })
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	if o.document == nil {
		o.document = examples.Order()
	}
	w := &works{t: t, ctx: ctx, tokens: map[string]*soft.Token{}, up: map[string]*running{}}
	database := o.database
	if database == "" && storetest.OnPostgres() && !o.file {
		database = storetest.Database(t)
	}
	w.Factory = must[*demo.Factory](t)(demo.SetUp(ctx, demo.Plan{
		Dir: dir, Order: "order.inp", Document: o.document, Cards: o.cards, Stations: 4, Faults: o.faults, Database: database, Host: host(),
		Token: func(c *site.Config) (hsm.Module, error) {
			var random io.Reader
			if o.random != nil {
				random = o.random(c.Site)
			}
			w.tokens[c.Site] = hsmtest.Soft(t, random)
			return w.tokens[c.Site], nil
		},
	}))
	w.change(o.change)
	w.serveChips()
	for _, name := range demo.Sites() {
		w.start(name)
	}
	t.Cleanup(func() {
		for name := range w.up {
			w.stop(name)
		}
	})
	return w
}

// change rewrites the documents that the sites read when they start.
func (w *works) change(f func(path, doc string) string) {
	w.t.Helper()
	if f == nil {
		return
	}
	paths := []string{filepath.Join(w.Dir, "contract.yaml")}
	for _, name := range demo.Sites() {
		paths = append(paths, filepath.Join(w.Dir, name, "site.yaml"))
	}
	for _, path := range paths {
		doc := f(path, string(must[[]byte](w.t)(os.ReadFile(path))))
		if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, name := range demo.Sites() {
		w.Configs[name] = must[*site.Config](w.t)(site.LoadConfig(filepath.Join(w.Dir, name, "site.yaml")))
	}
}

func (w *works) serveChips() {
	l := must[net.Listener](w.t)(net.Listen("tcp", w.ChipsAddr))
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(w.ctx)
	go func() { done <- demo.ServeChips(ctx, w.ChipsDir, l) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			w.t.Errorf("chips: %v", err)
		}
	})
}

// start runs a site.
func (w *works) start(name string) {
	w.t.Helper()
	if err := w.run(name); err != nil {
		w.t.Fatal(err)
	}
}

// run runs a site. What it says goes to a file in its folder.
func (w *works) run(name string) error {
	out, err := os.OpenFile(filepath.Join(w.Dir, name, "stderr.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(out, nil)).With("site", name)
	s, err := site.Open(w.ctx, w.Configs[name], w.tokens[name], log, parts.All()...)
	if err != nil {
		return errors.Join(err, out.Close())
	}
	ctx, stop := context.WithCancel(w.ctx)
	r := &running{stop: stop, done: make(chan error, 1)}
	go func() {
		err := s.Run(ctx)
		r.done <- errors.Join(err, s.Close(), out.Close())
	}()
	w.up[name] = r
	return nil
}

// stop ends a site, if it runs.
func (w *works) stop(name string) {
	w.t.Helper()
	r := w.up[name]
	if r == nil {
		return
	}
	delete(w.up, name)
	r.stop()
	if err := <-r.done; err != nil {
		w.t.Errorf("site %s: %v", name, err)
	}
}

// stages is a demo.Reporter that does something when a stage begins.
type stages struct {
	t   *testing.T
	do  map[string]func() // by the stage's name
	ran map[string]bool
}

// The stages of the journey at whose beginning tests do something.
const (
	stageOrder       = "order, from operator to bureau"
	stageRelease     = "key sets"
	stageLine        = "cards"
	stageResponse    = "response, from bureau to operator"
	stageProof       = "cards that answer the subscriber store"
	stageDestruction = "destruction of the manufacturer's copy"
)

func (s *stages) Stage(name string, _ int) {
	if f := s.do[name]; f != nil {
		s.ran[name] = true
		f()
	}
}
func (s *stages) Progress(int)                    {}
func (s *stages) Note(format string, args ...any) { s.t.Logf(format, args...) }

// journey drives the order through; do is done when a stage begins.
func (w *works) journey(do map[string]func()) demo.Summary {
	w.t.Helper()
	r := &stages{w.t, do, map[string]bool{}}
	sum, err := w.Run(w.ctx, r)
	if err != nil {
		w.t.Fatal(err)
	}
	for name := range do {
		if !r.ran[name] {
			w.t.Fatalf("no stage %q began", name)
		}
	}
	return sum
}

// person is who holds a role at a site.
func (w *works) person(name, role string) client.Signer {
	w.t.Helper()
	dir := filepath.Join(w.Dir, name)
	for _, p := range must[[]act.Person](w.t)(site.LoadPeople(filepath.Join(dir, "people.json"))) {
		if p.Has(role) {
			return client.Signer{Person: p.ID, Key: must[*passkey.Soft](w.t)(passkey.LoadSoft(filepath.Join(dir, "people", p.ID+".passkey")))}
		}
	}
	w.t.Fatalf("nobody at %s is %s", name, role)
	return client.Signer{}
}

// approved has an act asked for, signed and done.
func (w *works) approved(name, kind, subject, requester string, approvers ...string) {
	w.t.Helper()
	st := must[custody.Status](w.t)(w.Clients[name].Request(w.ctx, w.person(name, requester), kind, subject))
	for _, role := range approvers {
		must[custody.Status](w.t)(w.Clients[name].Sign(w.ctx, w.person(name, role), st.Act.ID, act.Approve, "compared"))
	}
	if err := w.Clients[name].Do(w.ctx, st.Act.ID); err != nil {
		w.t.Fatal(err)
	}
}

// orders is the orders of a site.
func (w *works) orders(name string) []order.Order {
	w.t.Helper()
	var all []order.Order
	if err := w.Clients[name].Get(w.ctx, "/orders", &all); err != nil {
		w.t.Fatal(err)
	}
	return all
}

// view is one order of a site.
func (w *works) view(name, id string) site.OrderView {
	w.t.Helper()
	var v site.OrderView
	if err := w.Clients[name].Get(w.ctx, "/orders/"+url.PathEscape(id), &v); err != nil {
		w.t.Fatal(err)
	}
	return v
}

// submit places an order as the operator's people do, and waits for its answer.
func (w *works) submit(name, text string) site.OrderView {
	w.t.Helper()
	var o order.Order
	if err := w.Clients[demo.Operator].Send(w.ctx, "/orders?name="+url.QueryEscape(name), strings.NewReader(text), &o); err != nil {
		w.t.Fatal(err)
	}
	w.approved(demo.Operator, "order.submit", "order/"+o.ID, "sourcing", "nodal-officer")
	var v site.OrderView
	until(w.t, "the bureau's answer to "+name, func() bool {
		v = w.view(demo.Operator, o.ID)
		return v.State != order.Drafted && v.State != order.Submitted
	})
	return v
}

// log exports a site's audit log, verifies it as a stranger would, and returns
// its entries.
func (w *works) log(name string) []audit.Entry {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), name)
	if err := w.Clients[name].ExportLog(w.ctx, dir); err != nil {
		w.t.Fatal(err)
	}
	return readLog(w.t, dir, w.card(name).Log)
}

func readLog(t testing.TB, dir, vkey string) []audit.Entry {
	t.Helper()
	var book act.Book
	var all []audit.Entry
	_, err := audit.Verify(os.DirFS(dir), vkey, audit.Options{Visit: func(_ int64, e audit.Entry) error {
		all = append(all, e)
		data, err := e.DataJSON()
		if err != nil {
			return err
		}
		return book.Apply(e.Kind, e.Subject, e.Time, data)
	}})
	if err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	return all
}

// card is a site's partner card.
func (w *works) card(name string) exchange.Card {
	w.t.Helper()
	return w.partner(name).Card()
}

// partner is a site as its partners know it.
func (w *works) partner(name string) *exchange.Partner {
	w.t.Helper()
	path := w.Configs[name].CardFile()
	return must[*exchange.Partner](w.t)(exchange.ParsePartner(path, must[[]byte](w.t)(os.ReadFile(path))))
}

// mail is a site's own OpenPGP identity.
func (w *works) mail(name string) *exchange.Identity {
	w.t.Helper()
	armored := must[[]byte](w.t)(os.ReadFile(filepath.Join(w.Configs[name].Data, "openpgp.asc")))
	t := w.tokens[name]
	signer, err := t.Signer(w.ctx, "pgp-sign")
	if err != nil {
		w.t.Fatal(err)
	}
	opener, err := t.Decrypter(w.ctx, "pgp-open")
	if err != nil {
		w.t.Fatal(err)
	}
	return must[*exchange.Identity](w.t)(exchange.LoadIdentity(string(armored), signer, opener))
}

// send puts a file for the bureau into the operator's spool, from where the
// operator's edge sends it. It returns the file's SHA-256 in hex.
func (w *works) send(name string, write func(io.Writer) error) string {
	w.t.Helper()
	spool := must[*edge.Spool](w.t)(edge.OpenSpool(w.Configs[demo.Operator].SpoolDir()))
	defer spool.Close()
	sum, _, err := spool.Put(demo.Bureau, name, write)
	if err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum)
}

// sealed writes text as an OpenPGP message from one site to the bureau.
func (w *works) sealed(from string, write func(io.Writer) error) func(io.Writer) error {
	return func(out io.Writer) error {
		m, err := exchange.Seal(out, w.mail(from), w.partner(demo.Bureau), "order.inp")
		if err != nil {
			return err
		}
		return errors.Join(write(m), m.Close())
	}
}

func plain(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

// ask reads one row of a site's database, which may be in use.
func (w *works) ask(name, query string, v any, args ...any) {
	w.t.Helper()
	db := storetest.Open(w.t, w.Configs[name].Database())
	defer db.Close()
	if err := db.QueryRow(query, args...).Scan(v); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
}

// copied is a backup of a site's database as it is now.
func (w *works) copied(name string) string {
	w.t.Helper()
	return storetest.Snapshot(w.t, w.Configs[name].Database())
}

// open opens a site's database, or a copy of it, with the site's own token.
func (w *works) open(name, path string) *store.Store {
	w.t.Helper()
	origin := "ankan/" + name
	key, err := w.tokens[name].Signer(w.ctx, "log")
	if err != nil {
		w.t.Fatal(err)
	}
	signer := must[*audit.Signer](w.t)(audit.NewSigner(origin, key))
	s := must[*store.Store](w.t)(store.Open(w.ctx, store.Config{Path: path, Origin: origin, Signer: signer}, site.Schemas(parts.All()...)...))
	w.t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
			w.t.Error(err)
		}
	})
	return s
}

// balanced checks the books of all sites, which are stopped for it.
func (w *works) balanced(b factory.Works) factory.Report {
	w.t.Helper()
	if len(w.up) == len(demo.Sites()) {
		until(w.t, "the end of what is on its way", w.quiet)
	}
	for _, name := range demo.Sites() {
		w.stop(name)
		b.Sites = append(b.Sites, factory.Site{Config: w.Configs[name], Module: w.tokens[name], Parts: parts.All()})
	}
	b.Settled = true
	r, err := factory.CheckBooks(w.ctx, b)
	if err != nil {
		w.t.Error(err)
	}
	// What a site says of itself agrees with who looks from outside.
	for _, of := range b.Sites {
		own, err := site.Fsck(w.ctx, of.Config, of.Module, false, of.Parts...)
		if err != nil || len(own.Findings) > 0 {
			w.t.Errorf("%s: fsck: %+v, %v", of.Config.Site, own.Findings, err)
		}
	}
	return r
}

// quiet says whether no file lies in a spool to be sent or taken in.
func (w *works) quiet() bool {
	w.t.Helper()
	for _, name := range demo.Sites() {
		s := must[*edge.Spool](w.t)(edge.OpenSpool(w.Configs[name].SpoolDir()))
		in := must[[]*edge.File](w.t)(s.Waiting())
		out := must[[]edge.Meta](w.t)(s.Outgoing())
		if s.Close(); len(in)+len(out) > 0 {
			return false
		}
	}
	return true
}

// refusedWith checks that a site refused, and why.
func refusedWith(t testing.TB, what string, err error, want string) {
	t.Helper()
	var r *client.Refusal
	if !errors.As(err, &r) || !strings.Contains(r.Text, want) {
		t.Errorf("%s: got %v, want a refusal that says %q", what, err, want)
	}
}

// sealedTo writes text as a message from the operator to a site.
func (w *works) sealedTo(name string, out io.Writer, text string) error {
	m, err := exchange.Seal(out, w.mail(demo.Operator), w.partner(name), "order.inp")
	if err != nil {
		return err
	}
	return errors.Join(plain(text)(m), m.Close())
}
