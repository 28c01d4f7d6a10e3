package stock

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ankan/act"
	"ankan/custody"
	"ankan/notice"
	"ankan/perso"
	"ankan/store"
)

// The states of a discrepancy.
const (
	Open      = "open"
	Explained = "explained"
	Closed    = "closed"
)

// A Discrepancy is a count that is not what the books say.
type Discrepancy struct {
	ID int64 `json:"id"`
	// Subject is what was counted: count/ACCOUNT/LOT/ORDER, lot/NAME, box/ID,
	// vault/NAME, shipment/NUMBER or one BOX of it, delivery/SITE/NUMBER/BOX;
	// for seals that are whole seal/NUMBER, seal/SITE/NUMBER, or one box's.
	Subject string  `json:"subject"`
	Account Account `json:"account,omitempty"` // that the difference is posted to; "" if none is
	Lot     string  `json:"lot,omitempty"`
	Order   string  `json:"order,omitempty"`
	Book    int     `json:"book"`
	Found   int     `json:"found"`
	State   string  `json:"state"`

	Opened    time.Time `json:"opened"`
	Person    string    `json:"person"` // who counted
	Why       string    `json:"why,omitempty"`
	Explained time.Time `json:"explained,omitzero"`
	Explainer string    `json:"explainer,omitempty"`
	Closed    time.Time `json:"closed,omitzero"`
	Act       string    `json:"act,omitempty"` // that closed it
}

func discrepancies(q store.Querier, where string, args ...any) ([]Discrepancy, error) {
	return store.Collect(q, func(rows *sql.Rows) (d Discrepancy, err error) {
		var opened, explained, closed string
		if err = rows.Scan(&d.ID, &d.Subject, &d.Account, &d.Lot, &d.Order, &d.Book, &d.Found, &d.State, &opened, &d.Person, &d.Why, &explained, &d.Explainer, &closed, &d.Act); err != nil {
			return d, err
		}
		return d, stamps([]string{opened, explained, closed}, &d.Opened, &d.Explained, &d.Closed)
	}, `SELECT id, subject, account, lot, ord, book, found, state, opened, person, why, explained, explainer, closed, act
		FROM stock_discrepancy WHERE `+where+` ORDER BY id DESC`, args...)
}

// stamps reads several of what store.Stamp wrote, in their order.
func stamps(texts []string, to ...*time.Time) (err error) {
	for i, text := range texts {
		if *to[i], err = store.ParseStamp(text); err != nil {
			return err
		}
	}
	return nil
}

// Discrepancies is all of them in a state, newest first; "" takes all.
func (b *Book) Discrepancies(ctx context.Context, state string) ([]Discrepancy, error) {
	if err := b.ready(); err != nil {
		return nil, err
	}
	return discrepancies(b.store.Committed(ctx), `$1 = '' OR state = $1`, state)
}

// A Count is one count by a person.
type Count struct {
	At      time.Time `json:"at"`
	Person  string    `json:"person"`
	Subject string    `json:"subject"`
	Found   int       `json:"found"`
	Agrees  bool      `json:"agrees"` // with the books; what they say is not told
}

// Counts is the last n counts, newest first.
func (b *Book) Counts(ctx context.Context, n int) ([]Count, error) {
	if err := b.ready(); err != nil {
		return nil, err
	}
	return store.Collect(b.store.Committed(ctx), func(rows *sql.Rows) (c Count, err error) {
		var at string
		if err = rows.Scan(&at, &c.Person, &c.Subject, &c.Found, &c.Agrees); err == nil {
			c.At, err = store.ParseStamp(at)
		}
		return c, err
	}, `SELECT at, person, subject, found, found = book FROM stock_count ORDER BY id DESC LIMIT $1`, n)
}

// compare is record, and says in the log entry what came of it.
func (b *Book) compare(ctx context.Context, tx *store.Tx, d Discrepancy) error {
	id, err := b.record(ctx, tx, d)
	if err != nil {
		return err
	}
	tx.Note("agrees", id == 0)
	if id != 0 {
		tx.Note("discrepancy", id)
	}
	return nil
}

// record writes down what somebody counted beside what the books say; where they
// differ, a discrepancy is open from then on, and people are told. id is 0 where
// they agree.
func (b *Book) record(ctx context.Context, tx *store.Tx, d Discrepancy) (id int64, err error) {
	if d.Account != "" {
		if d.Book, err = balance(tx, d.Account, d.Lot, d.Order); err != nil {
			return 0, err
		}
	}
	at := store.Stamp(tx.Time())
	if _, err := tx.Exec(`INSERT INTO stock_count (at, person, subject, found, book) VALUES ($1, $2, $3, $4, $5)`, at, d.Person, d.Subject, d.Found, d.Book); err != nil {
		return 0, err
	}
	if d.Found == d.Book {
		return 0, nil
	}
	err = tx.QueryRow(`INSERT INTO stock_discrepancy (subject, account, lot, ord, book, found, state, opened, person, why, explained, explainer, closed, act)
		VALUES ($1, $2, $3, $4, $5, $6, 'open', $7, $8, '', '', '', '', '') RETURNING id`, d.Subject, string(d.Account), d.Lot, d.Order, d.Book, d.Found, at, d.Person).Scan(&id)
	if err != nil {
		return 0, err
	}
	return id, notice.TellHolders(ctx, tx, notice.Notice{Kind: "stock.differs", Subject: fmt.Sprintf("discrepancy/%d", id), Link: "/discrepancies",
		Text: fmt.Sprintf("%s: what was counted is not what the books say. Discrepancy %d is open: have it counted again by somebody else, and explain it (discrepancy.explain).", d.Subject, id)},
		"shift-lead", "security-officer", act.Nodal, act.Alternate)
}

type counting struct {
	account Account
	lot     string
	ord     string
	found   int
}

// checkCount is about count/ACCOUNT/LOT/ORDER/FOUND; ORDER is - for none. What
// the books say is not among what is shown.
func (b *Book) checkCount(_ context.Context, q store.Querier, subject string) (c counting, m map[string]string, err error) {
	part, err := cut(subject, "count", "ACCOUNT", "LOT", "ORDER", "FOUND")
	if err != nil {
		return c, nil, err
	}
	var one, two error
	c.account, one = parseAccount(part[0])
	c.found, two = number("what was found", part[3])
	c.lot = part[1]
	if part[2] != "-" {
		c.ord = part[2]
	}
	if err := errors.Join(one, two); err != nil {
		return c, nil, err
	}
	if _, _, err := lotBy(q, c.lot); err != nil {
		return c, nil, err
	}
	switch {
	case c.account.source() || c.account.out() || c.account == Shipped:
		return c, nil, fmt.Errorf("count of %s: %w: nothing lies there to be counted", c.account, act.ErrNotAllowed)
	case c.account == Received || c.account == InInspection:
		return c, nil, fmt.Errorf("count of %s: %w: a delivery is counted by its inspection: lot.inspect", c.account, act.ErrNotAllowed)
	case c.account.ofOrder() != (c.ord != ""):
		return c, nil, fmt.Errorf("count of %s: %w: order is %q; want one for what belongs to orders, else -", c.account, act.ErrNotAllowed, part[2])
	}
	open, err := discrepancies(q, `subject = $1 AND state <> 'closed'`, strings.Join(append([]string{"count"}, part[:3]...), "/"))
	if err == nil && len(open) > 0 {
		err = fmt.Errorf("count of %s: %w: discrepancy %d of the last one is %s", c.account, act.ErrNotAllowed, open[0].ID, open[0].State)
	}
	return c, map[string]string{"account": part[0], "lot": part[1], "order": part[2], "found": part[3]}, err
}

func (b *Book) doCount(ctx context.Context, tx *store.Tx, w custody.Warrant, c counting) error {
	if c.account == Line {
		// What is in a reader, or in doubt, cannot be counted.
		now, err := perso.Chips(tx, c.ord)
		if err != nil {
			return err
		}
		if now.Doubt > 0 {
			return fmt.Errorf("order %s: %w: %d of its cards are at stations or in doubt; count when the line stands", c.ord, act.ErrNotAllowed, now.Doubt)
		}
		if err := Settle(tx, c.ord, false); err != nil {
			return err
		}
	}
	subject, _, _ := cutLast(w.Act().Subject)
	return b.compare(ctx, tx, Discrepancy{Subject: subject, Account: c.account, Lot: c.lot, Order: c.ord, Found: c.found, Person: w.Act().Requester})
}

// cutLast cuts the last part off a subject.
func cutLast(subject string) (before, last string, ok bool) {
	i := strings.LastIndexByte(subject, '/')
	if i < 0 {
		return subject, "", false
	}
	return subject[:i], subject[i+1:], true
}

// Differ opens a discrepancy over chips that the line took for an order and was
// not issued, once.
func (b *Book) Differ(ctx context.Context, tx *store.Tx, ord string) error {
	now, err := booked(tx, ord)
	if err != nil {
		return err
	}
	had, err := posted(tx, ord)
	if err != nil {
		return err
	}
	took := now.Good + now.Bad + now.Aside - had.Good - had.Bad - had.Aside
	lot, err := lotOf(tx, ord)
	if err != nil {
		return err
	}
	d := Discrepancy{Subject: "count/line/" + lot + "/" + ord, Account: Line, Lot: lot, Order: ord, Found: took, Person: "system:line"}
	open, err := discrepancies(tx, `subject = $1 AND state <> 'closed'`, d.Subject)
	if err != nil || len(open) > 0 || lot == "" {
		return err
	}
	return b.compare(ctx, tx, d)
}

// discrepancyOf is the discrepancy that a subject begins with.
func discrepancyOf(q store.Querier, id, state string) (d Discrepancy, err error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != id {
		return d, fmt.Errorf("discrepancy %.40q: want its number", id)
	}
	all, err := discrepancies(q, `id = $1`, n)
	switch {
	case err != nil:
		return d, err
	case len(all) == 0:
		return d, fmt.Errorf("discrepancy %d is %w", n, ErrNone)
	case all[0].State != state:
		return d, fmt.Errorf("discrepancy %d: %w: it is %s, want %s", n, act.ErrNotAllowed, all[0].State, state)
	}
	return all[0], nil
}

type explaining struct {
	Discrepancy
	why string
}

// checkExplain is about discrepancy/NUMBER/WHY.
func (b *Book) checkExplain(_ context.Context, q store.Querier, subject string) (e explaining, m map[string]string, err error) {
	part, err := cut(subject, "discrepancy", "NUMBER", "WHY")
	if err != nil {
		return e, nil, err
	}
	if e.Discrepancy, err = discrepancyOf(q, part[0], Open); err != nil {
		return e, nil, err
	}
	e.why = part[1]
	return e, map[string]string{"counted": e.Subject, "why": e.why}, checkText("why", e.why)
}

func (b *Book) doExplain(_ context.Context, tx *store.Tx, w custody.Warrant, e explaining) error {
	_, err := tx.Exec(`UPDATE stock_discrepancy SET state = 'explained', why = $1, explained = $2, explainer = $3 WHERE id = $4`,
		e.why, store.Stamp(tx.Time()), w.Act().Requester, e.ID)
	return err
}

// checkClose is about discrepancy/NUMBER. Its approvers see both figures.
func (b *Book) checkClose(_ context.Context, q store.Querier, subject string) (d Discrepancy, m map[string]string, err error) {
	part, err := cut(subject, "discrepancy", "NUMBER")
	if err != nil {
		return d, nil, err
	}
	if d, err = discrepancyOf(q, part[0], Explained); err != nil {
		return d, nil, err
	}
	m = map[string]string{"counted": d.Subject, "book": strconv.Itoa(d.Book), "found": strconv.Itoa(d.Found), "why": d.Why, act.ParamEditors: d.Explainer}
	return d, m, nil
}

// doClose posts the difference: what was not found goes to missing, what was
// found and in no book comes from found.
func (b *Book) doClose(_ context.Context, tx *store.Tx, w custody.Warrant, d Discrepancy) error {
	if d.Account != "" {
		p := under(w, Posting{Why: d.Why, Lot: d.Lot, Order: d.Order, From: d.Account, To: Missing, Count: d.Book - d.Found})
		if d.Found > d.Book {
			p.From, p.To, p.Count = Found, d.Account, d.Found-d.Book
		}
		if err := post(tx, p); err != nil {
			return err
		}
	}
	if rest, ok := strings.CutPrefix(d.Subject, "shipment/"); ok {
		number, box, one := strings.Cut(rest, "/")
		s, err := shipmentBy(tx, number)
		if err != nil {
			return err
		}
		if one {
			err = s.came(tx, w, box, d.Found, d.Why)
		} else {
			err = s.arrived(tx, w, d.Why)
		}
		if err != nil {
			return err
		}
	}
	_, err := tx.Exec(`UPDATE stock_discrepancy SET state = 'closed', closed = $1, act = $2 WHERE id = $3`, store.Stamp(tx.Time()), w.Act().ID, d.ID)
	return err
}
