package factory

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/exchange/edge"
	"ankan/hsm"
	"ankan/keys"
	"ankan/order"
	"ankan/perso"
	"ankan/site"
	"ankan/stock"
	"ankan/store"
)

// rows asks a site's database for rows of text.
func (b *books) rows(n int, query string, args ...any) ([][]string, error) {
	return store.Collect(b.store.Committed(b.ctx), func(rows *sql.Rows) ([]string, error) {
		row, to := make([]sql.NullString, n), make([]any, n)
		for i := range row {
			to[i] = &row[i]
		}
		err := rows.Scan(to...)
		all := make([]string, n)
		for i, v := range row {
			all[i] = v.String
		}
		return all, err
	}, query, args...)
}

func (b *books) number(query string, args ...any) (n int, err error) {
	err = b.store.QueryRow(b.ctx, query, args...).Scan(&n)
	return n, err
}

// field is a value of an entry's data as text.
func field(e audit.Entry, name string) string {
	if v, ok := e.Data[name]; ok {
		return fmt.Sprint(v)
	}
	return ""
}

// acts compares the acts of the database with those of the log: the same ones,
// each used as often, with as many signatures.
func (b *books) acts() error {
	used, signed := map[string]int{}, map[string]int{}
	for _, e := range b.all {
		switch e.Kind {
		case act.ActUsed:
			used[field(e, "id")]++
		case act.ActRequested, act.ActApproved, act.ActRejected:
			signed[field(e, "id")]++
		}
	}
	rows, err := b.rows(3, `SELECT id, state, (SELECT count(*) FROM act_signature WHERE act = act.id) FROM act`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		want := 0
		if r[1] == "used" {
			want = 1
		}
		if used[r[0]] != want {
			b.finding("act %s is %s, and was used %d times by the log", r[0], r[1], used[r[0]])
		}
		if fmt.Sprint(signed[r[0]]) != r[2] {
			b.finding("act %s has %s signatures, %d by the log", r[0], r[2], signed[r[0]])
		}
		delete(used, r[0])
		delete(signed, r[0])
	}
	for id := range used {
		b.finding("act %s was used by the log, and is not in the database", id)
	}
	for id := range signed {
		b.finding("act %s was signed by the log, and is not in the database", id)
	}
	b.report.Rows += len(rows)
	return nil
}

// moment is a subject at a time to the nanosecond.
type moment struct {
	subject string
	at      int64
}

// entries compares tables with the log: what they say happened has its entry.
func (b *books) entries() error {
	at := map[moment]bool{}
	for _, e := range b.all {
		at[moment{e.Subject, e.Time.UnixNano()}] = true
		at[moment{"", e.Time.UnixNano()}] = true
	}
	for _, t := range []struct{ what, query string }{
		{"order_step", `SELECT 'order/' || ord, at FROM order_step`},
		{"orders", `SELECT 'order/' || id, changed FROM orders`},
		{"received", `SELECT '', at FROM received`},
	} {
		rows, err := b.rows(2, t.query)
		if err != nil {
			return err
		}
		for _, r := range rows {
			when, err := time.Parse(time.RFC3339Nano, r[1])
			if err != nil || !at[moment{r[0], when.UnixNano()}] {
				b.finding("%s: a row of %s has no entry at %s (%v)", t.what, r[0], r[1], err)
			}
		}
		b.report.Rows += len(rows)
	}
	for _, t := range []struct{ what, query string }{
		{"key_event", `SELECT entry, at FROM key_event`},
		{"stock_posting", `SELECT entry, at FROM stock_posting WHERE at <> ''`},
	} {
		rows, err := b.rows(2, t.query)
		if err != nil {
			return err
		}
		for _, r := range rows {
			var i int
			if _, err := fmt.Sscan(r[0], &i); err != nil || i < 0 || i >= len(b.all) || store.Stamp(b.all[i].Time) != r[1] {
				b.finding("%s: a row of %s names entry %s, which is of another time or not there", t.what, r[1], r[0])
			}
		}
		b.report.Rows += len(rows)
	}
	return errors.Join(b.cards(), b.loads(), b.blocks(), b.holds())
}

// holds compares the identity ledger with the orders: each order holds its
// identities as its state says, and nobody else does.
func (b *books) holds() error {
	rows, err := b.rows(3, `SELECT l.ord, l.state, o.state FROM ledger_order l LEFT JOIN orders o ON o.id = l.ord`)
	if err != nil {
		return err
	}
	abandoned, err := b.abandoned()
	if err != nil {
		return err
	}
	held := map[string]bool{}
	for _, r := range rows {
		held[r[0]] = true
		hold, is := order.Hold(r[1]), order.State(r[2])
		drawn, err := b.number(`SELECT count(*) FROM ledger_share s JOIN ledger_order l ON l.n = s.ord WHERE l.ord = $1`, r[0])
		if err != nil {
			return err
		}
		switch early := is == order.Accepted || is == order.Released; {
		case drawn == 0,
			hold == order.Reserving && (is != "" || b.works.Settled),
			hold == order.Reserved && !early,
			(hold == order.Retired) != abandoned[r[0]],
			hold == order.Issued && (is == "" || is == order.Accepted || is == order.Refused || is == order.Refusing):
			b.finding("ledger: order %s is %s with %d blocks, and is %q", r[0], hold, drawn, is)
		}
	}
	if !b.config.Is(site.Bureau) {
		return nil
	}
	for _, o := range b.orders {
		if o.Partner != b.name && o.State != order.Refused && o.State != order.Refusing && !held[o.ID] {
			b.finding("ledger: order %s is %s, and holds no identity", o.ID, o.State)
		}
	}
	b.report.Rows += len(rows)
	return nil
}

// abandoned is the orders that were here and were given up.
func (b *books) abandoned() (map[string]bool, error) {
	rows, err := b.rows(1, `SELECT ord FROM order_abandoned WHERE was <> ''`)
	all := map[string]bool{}
	for _, r := range rows {
		all[r[0]] = true
	}
	return all, err
}

// tally counts things by name, up in the log and down in the database.
type tally map[string]int

func (b *books) even(what string, t tally) {
	for name, n := range t {
		if n > 0 {
			b.finding("%s: %s is in the log %d times more than in the database", what, name, n)
		} else if n < 0 {
			b.finding("%s: %s is in the database %d times more than in the log", what, name, -n)
		}
	}
}

// cards compares the line's books with the log, card by card: one intent for
// each chip that a card was begun on, one outcome for each that has one.
func (b *books) cards() error {
	if !b.is(site.Plant) {
		return nil
	}
	begun, ended, aside, retired, lost := tally{}, tally{}, tally{}, tally{}, tally{}
	good := map[string]int{}
	for _, e := range b.all {
		ord := strings.TrimPrefix(e.Subject, "order/")
		name := func(more ...string) string { return strings.Join(append([]string{ord}, more...), " ") }
		card, keyset, chip := field(e, "card"), field(e, "keyset"), field(e, "chip")
		switch e.Kind {
		case "card.intent":
			begun[name(card, keyset, chip)]++
		case "card.good":
			ended[name(card, keyset, chip, "good")]++
			if good[name(card)]++; good[name(card)] > 1 {
				b.finding("order %s: card %s became good %d times", ord, card, good[name(card)])
			}
		case "card.reject":
			ended[name(card, keyset, chip, "reject")]++
		case "chip.set-aside":
			aside[name(chip)]++
			if keyset != "" { // the intent was taken back
				begun[name(card, keyset, chip)]--
			}
		case "card.retired":
			retired[name(card)]++
		case "chips.lost":
			lost[field(e, "order")+" "+chip]++
		case "chips.destroyed": // one that was lost may be found
			chips, _ := e.Data["chips"].([]any)
			of, _, _ := strings.Cut(ord, "/")
			for _, c := range chips {
				if n := of + " " + fmt.Sprint(c); lost[n] > 0 {
					lost[n]--
				}
			}
		}
	}
	abandoned, err := b.abandoned()
	if err != nil {
		return err
	}
	rows, err := b.rows(6, `SELECT ord, card, keyset, chip, state, reason FROM card`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		begun[strings.Join(r[:4], " ")]--
		switch {
		case r[4] == "lost":
			lost[r[0]+" "+r[3]]--
		case r[4] == "destroyed" && abandoned[r[0]] && ended[strings.Join(r[:4], " ")+" good"] > 0:
			r[4] = "good" // and then its order was given up
		}
		switch { // one that was destroyed or lost in doubt has no reason: it never had an outcome
		case r[4] == "doubt" || (r[4] == "destroyed" || r[4] == "lost") && r[5] == "":
			continue
		case r[4] == "destroyed" || r[4] == "lost":
			r[4] = "reject"
		}
		ended[strings.Join(r[:5], " ")]--
	}
	set, err := b.rows(2, `SELECT ord, chip FROM set_aside`)
	if err != nil {
		return err
	}
	for _, r := range set {
		aside[strings.Join(r, " ")]--
	}
	gone, err := b.rows(2, `SELECT ord, card FROM retired`)
	if err != nil {
		return err
	}
	for _, r := range gone {
		retired[strings.Join(r, " ")]--
	}
	b.even("intents of cards", begun)
	b.even("outcomes of cards", ended)
	b.even("chips set aside", aside)
	b.even("identities retired", retired)
	b.even("chips lost", lost)
	b.report.Rows += len(rows) + len(set) + len(gone)
	return nil
}

// loads compares subscribers with the entries of their loading.
func (b *books) loads() error {
	if !b.is(site.Operator) {
		return nil
	}
	t := tally{}
	for _, e := range b.all {
		if e.Kind == "hlr.load" {
			var n int
			if _, err := fmt.Sscan(field(e, "added"), &n); err != nil {
				return fmt.Errorf("entry hlr.load of %s: %w", e.Subject, err)
			}
			t[strings.TrimPrefix(e.Subject, "order/")] += n
		}
	}
	rows, err := b.rows(2, `SELECT ord, count(*) FROM subscriber GROUP BY ord`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		var n int
		if _, err := fmt.Sscan(r[1], &n); err != nil {
			return err
		}
		t[r[0]] -= n
		b.report.Subscribers += n
	}
	b.even("subscribers by order", t)
	return nil
}

// blocks compares the sealed blocks that are there with their entries.
func (b *books) blocks() error {
	if !b.is(site.Bureau) && !b.is(site.Plant) {
		return nil
	}
	t := tally{}
	for _, e := range b.all {
		if e.Kind == "batch.block-generated" || e.Kind == "batch.block-received" {
			t[strings.TrimPrefix(e.Subject, "order/")+" "+field(e, "block")]++
		}
	}
	rows, err := b.rows(2, `SELECT ord, n FROM block`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if name := strings.Join(r, " "); t[name] != 1 {
			b.finding("block %s is here, and %d times in the log", name, t[name])
		}
	}
	for name, n := range t {
		if n != 1 {
			b.finding("block %s was stored %d times by the log", name, n)
		}
	}
	b.report.Rows += len(rows)
	return nil
}

// keys compares the register with the module.
func (b *books) keys() error {
	have, err := b.module.Keys(b.ctx)
	if err != nil {
		return err
	}
	in := map[string]hsm.Key{}
	for _, k := range have {
		in[k.ID] = k
	}
	known, _, err := keys.NewRegister(b.name, b.store, access.New(b.store)).Keys(b.ctx, keys.Filter{})
	if err != nil {
		return err
	}
	for _, k := range known {
		_, there := in[k.ID]
		switch {
		case k.State == keys.Destroyed && there:
			b.finding("key %s was destroyed, and is in the module", k.ID)
		case k.State == keys.Destroyed:
			b.report.Destroyed++
		case k.State == keys.Making:
			if b.works.Settled {
				b.finding("key %s is being made for ever", k.ID)
			}
		case !there:
			b.finding("key %s is %s, and not in the module", k.ID, k.State)
		}
		delete(in, k.ID)
	}
	for id := range in {
		b.finding("key %s is in the module, and not in the register", id)
	}
	b.report.Keys += len(have)
	return nil
}

// spool looks at what waits.
func (b *books) spool() error {
	if !b.works.Settled {
		return nil
	}
	s, err := edge.OpenSpool(b.config.SpoolDir())
	if err != nil {
		return err
	}
	defer s.Close()
	in, err := s.Waiting()
	if err != nil {
		return err
	}
	for _, f := range in {
		b.finding("file %s of %s waits to be taken in", f.Name, f.Partner)
	}
	out, err := s.Outgoing()
	if err != nil {
		return err
	}
	for _, f := range out {
		b.finding("file %s for %s waits to be sent", f.Name, f.Partner)
	}
	owed, err := b.rows(2, `SELECT partner, name FROM owed`)
	for _, r := range owed {
		b.finding("answer %s is owed to %s", r[1], r[0])
	}
	return err
}

// stock adds up the movements of chips and cards again, and compares them with
// the line's books.
func (b *books) stock() error {
	if !b.is(site.Plant) {
		return nil
	}
	moved := map[string]int{}
	rows, err := b.rows(5, `SELECT source, destination, lot, ord, n FROM stock_posting`)
	if err != nil {
		return err
	}
	orders := map[string]bool{}
	accounts, err := b.rows(2, `SELECT name, orders FROM stock_account`)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		orders[a[0]] = a[1] == "1"
	}
	name := func(account, lot, ord string) string {
		if !orders[account] {
			ord = ""
		}
		return account + " " + lot + " " + ord
	}
	for _, r := range rows {
		var n int
		if _, err := fmt.Sscan(r[4], &n); err != nil {
			return err
		}
		moved[name(r[0], r[2], r[3])] -= n
		moved[name(r[1], r[2], r[3])] += n
	}
	b.report.Postings += len(rows)
	wrong, err := stock.Recount(b.store.Committed(b.ctx))
	if err != nil {
		return err
	}
	for _, what := range wrong {
		b.finding("stock: %s", what)
	}
	kept, err := b.rows(4, `SELECT account, lot, ord, n FROM stock_balance`)
	if err != nil {
		return err
	}
	sum, at := 0, map[[2]string]int{} // by account and order
	for _, r := range kept {
		var n int
		if _, err := fmt.Sscan(r[3], &n); err != nil {
			return err
		}
		if key := r[0] + " " + r[1] + " " + r[2]; moved[key] != n {
			b.finding("stock: %s has %d, its movements make %d", key, n, moved[key])
		}
		sum += n
		at[[2]string{r[0], r[2]}] += n
	}
	if sum != 0 {
		b.finding("stock: all accounts together have %d, want nothing: what leaves one comes to another", sum)
	}
	if b.is(site.Plant) {
		if wrong, err = perso.Recount(b.store.Committed(b.ctx)); err != nil {
			return err
		}
		for _, what := range wrong {
			b.finding("%s", what)
		}
	}
	for _, r := range b.runs {
		c, err := perso.Chips(b.store.Committed(b.ctx), r.Order)
		if err != nil {
			return err
		}
		b.report.Cards += c.Good
		b.report.Rejects += c.Destroyed
		b.report.Aside += c.Aside
		if r.State == "offered" || r.State == "received" || r.State == "abandoned" {
			continue
		}
		in := func(accounts ...string) (n int) {
			for _, a := range accounts {
				n += at[[2]string{a, r.Order}]
			}
			return n
		}
		if n := in("line"); n != 0 {
			b.finding("order %s: %d chips are at a line that has finished", r.Order, n)
		}
		if c.Doubt != 0 || c.Reject != 0 {
			b.finding("order %s: the line has finished with %d chips in doubt and %d rejects", r.Order, c.Doubt, c.Reject)
		}
		if n := in("good", "boxed", "vault", "shipped", "operator"); n != c.Good {
			b.finding("order %s: %d good cards in stock, the line made %d", r.Order, n, c.Good)
		}
		if n := in("destroyed", "reject"); n != c.Destroyed {
			b.finding("order %s: %d rejects in stock, the line has %d destroyed", r.Order, n, c.Destroyed)
		}
		if n := in("lost"); n != c.Lost {
			b.finding("order %s: %d lost chips in stock, the line has %d", r.Order, n, c.Lost)
		}
		b.report.Lost += c.Lost
		if n := in("aside"); n != c.Aside {
			b.finding("order %s: %d chips aside in stock, the line put %d aside", r.Order, n, c.Aside)
		}
	}
	return nil
}

// destroyed makes sure that what was destroyed is: the keys in the module, and
// the rows.
func (b *books) destroyed() error {
	b.report.Orders += len(b.orders)
	gone := map[string][]string{}
	if b.is(site.Bureau) {
		for _, o := range b.orders {
			if o.State == order.Destroyed || o.State == order.Certified {
				gone[o.ID] = append(gone[o.ID], o.KEK)
			}
		}
	}
	for _, r := range b.runs {
		if r.State == "emptied" || r.State == "closed" {
			gone[r.Order] = append(gone[r.Order], r.Agree, r.KEK)
		}
	}
	for ord, ids := range gone {
		for _, id := range ids {
			if id == "" {
				continue
			}
			if _, err := b.module.Key(b.ctx, id); !errors.Is(err, hsm.ErrNoKey) {
				b.finding("order %s is destroyed, and its key %s is not (%v)", ord, id, err)
			}
		}
		tables := []string{"block", "batch"}
		if b.is(site.Bureau) {
			tables = append(tables, "order_text", "order_identity")
		}
		for _, table := range tables {
			n, err := b.number(`SELECT count(*) FROM `+table+` WHERE ord = $1`, ord)
			if err != nil {
				return err
			}
			if n != 0 {
				b.finding("order %s is destroyed, and %d rows of %s are not", ord, n, table)
			}
		}
	}
	return nil
}
