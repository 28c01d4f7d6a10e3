// Package factory looks at whole factories from outside: at the folders,
// databases and modules of sites that do not run. It knows what must be so
// whatever happened before: CheckBooks.
package factory

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"ankan/act"
	"ankan/audit"
	"ankan/exchange"
	"ankan/hsm"
	"ankan/order"
	"ankan/perso"
	"ankan/site"
	"ankan/store"
)

// A Site is one site of a factory. It does not run.
type Site struct {
	Config *site.Config
	Module hsm.Module  // its security module, open; it stays the caller's
	Parts  []site.Part // that it is opened with
}

// Works is a factory whose books are to be checked.
type Works struct {
	Sites []Site
	// Secrets are looked for in every file under Dirs that Except does not name.
	Secrets *Secrets
	Dirs    []string
	Except  func(path string) bool
	// Settled says that nothing is under way any more: no file is on its way, no
	// card in doubt, no answer owed.
	Settled bool
}

// A Report is how much was looked at, so that nobody takes a look at nothing for
// books that balance.
type Report struct {
	Entries     int // of all logs
	Signatures  int // of people, verified
	Warrants    int // spent, each once
	Orders      int // at all sites
	Certified   int // orders with a certificate of destruction that verifies
	Cards       int // good ones
	Rejects     int // destroyed ones
	Aside       int // chips that got no identity
	Lost        int // chips that were lost
	Abandoned   int // orders that were given up, at all sites
	Subscribers int
	Postings    int // of the stock
	Keys        int // in the modules
	Destroyed   int // keys that were, and are not there
	Rows        int // of tables that were compared with the log
	Files       int // searched for secrets
}

// ErrBooks is wrapped by every finding of CheckBooks.
var ErrBooks = errors.New("the books do not balance")

// CheckBooks opens each site's database and compares what lies at all sites:
//
//   - each log verifies, entry by entry, and its acts replay: nothing was done
//     without leave, and no warrant was used twice;
//   - what a table says happened has its entry, and each entry of a card, an act
//     or a load has its row;
//   - an identity is in one state, and on one card at most; no chip and no key
//     set is on two; what an operator has loaded was issued by the bureau;
//   - cards, stock, reports, responses and loaded subscribers are the same
//     numbers;
//   - modules hold what registers say; the keys of what was destroyed are gone,
//     and so are its rows; each destroyed order has its certificate;
//   - no secret lies in any file.
//
// Its error joins what it found; each wraps ErrBooks. An error that does not
// says that it could not look.
func CheckBooks(ctx context.Context, w Works) (Report, error) {
	c := &check{ctx: ctx, works: w}
	if len(w.Sites) == 0 {
		return c.report, errors.New("checking books: there are no sites")
	}
	for _, s := range w.Sites {
		b, err := c.open(s)
		if err != nil {
			return c.report, errors.Join(fmt.Errorf("checking books of %s: %w", s.Config.Site, err), c.close())
		}
		c.books = append(c.books, b)
	}
	steps := []func(*books) error{(*books).log, (*books).acts, (*books).entries, (*books).keys, (*books).spool, (*books).stock, (*books).destroyed}
	for _, b := range c.books {
		for _, step := range steps {
			if err := step(b); err != nil {
				return c.report, errors.Join(fmt.Errorf("checking books of %s: %w", b.name, err), c.close())
			}
		}
	}
	err := errors.Join(c.across(), c.secrets(), c.close())
	if err != nil {
		return c.report, fmt.Errorf("checking books: %w", err)
	}
	return c.report, errors.Join(c.found...)
}

type check struct {
	ctx    context.Context
	works  Works
	books  []*books
	report Report
	found  []error
}

// books are those of one site.
type books struct {
	*check
	name   string
	config *site.Config
	module hsm.Module
	card   *exchange.Partner
	store  *store.Store
	all    []audit.Entry
	orders []order.Order
	runs   []perso.Run
}

func (c *check) finding(where, format string, args ...any) {
	c.found = append(c.found, fmt.Errorf("%w: %s: %s", ErrBooks, where, fmt.Sprintf(format, args...)))
}

func (b *books) finding(format string, args ...any) { b.check.finding(b.name, format, args...) }

func (c *check) open(s Site) (*books, error) {
	b := &books{check: c, name: s.Config.Site, config: s.Config, module: s.Module}
	doc, err := os.ReadFile(s.Config.CardFile())
	if err != nil {
		return nil, err
	}
	if b.card, err = exchange.ParsePartner(s.Config.CardFile(), doc); err != nil {
		return nil, err
	}
	if b.store, err = site.OpenStore(c.ctx, s.Config, s.Module, s.Parts...); err != nil {
		return nil, err
	}
	b.all, b.orders, b.runs, err = b.read()
	return b, err
}

const manyEntries = 1000

func (b *books) read() (all []audit.Entry, orders []order.Order, runs []perso.Run, err error) {
	for {
		some, err := b.store.Entries(b.ctx, int64(len(all)), manyEntries)
		if err != nil {
			return nil, nil, nil, err
		}
		if all = append(all, some...); len(some) < manyEntries {
			break
		}
	}
	if orders, err = order.List(b.ctx, b.store); err != nil {
		return nil, nil, nil, err
	}
	if b.is(site.Plant) {
		runs, err = perso.Runs(b.ctx, b.store)
	}
	return all, orders, runs, err
}

func (b *books) is(role string) bool { return slices.Contains(b.config.Roles, role) }

func (c *check) close() error {
	var errs []error
	for _, b := range c.books {
		errs = append(errs, b.store.Close())
	}
	c.books = nil
	return errors.Join(errs...)
}

// log verifies the log as a stranger does: with the key on the site's card.
func (b *books) log() error {
	r, err := b.store.Fsck(b.ctx, b.card.Card().Log)
	if err != nil {
		b.finding("the log: %v", err)
	}
	if r.Size != int64(len(b.all)) {
		b.finding("the log has %d entries, %d can be read", r.Size, len(b.all))
	}
	b.report.Entries += len(b.all)
	var book act.Book
	for i, e := range b.all {
		data, err := e.DataJSON()
		if err == nil {
			err = book.Apply(e.Kind, e.Subject, e.Time, data)
		}
		if err != nil {
			b.finding("entry %d, %s: %v", i, e.Kind, err)
			return nil
		}
	}
	if err := book.End(); err != nil {
		b.finding("the log: %v", err)
	}
	b.report.Signatures += book.Signatures
	b.report.Warrants += book.Used
	return nil
}

// secrets looks for them in every file.
func (c *check) secrets() error {
	if c.works.Secrets == nil {
		return nil
	}
	files, found, err := c.works.Secrets.Search(c.works.Except, c.works.Dirs...)
	c.report.Files = files
	for _, what := range found {
		c.found = append(c.found, fmt.Errorf("%w: a secret lies in the clear: %s", ErrBooks, what))
	}
	return err
}
