// Package stock counts every chip and card once, by double entry: a movement is
// one posting from an account to another, written with its log entry, and what
// is in an account is the sum of its postings. The line's own books (perso) are
// the truth for what the line did; they are tied in by totals, in the
// transaction that ends a batch, not card by card.
//
// Whoever counts enters what they found without being shown what the books say;
// a difference opens a discrepancy, which one person explains and two close.
package stock

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"ankan/store"
)

//go:embed migrations
var migrations embed.FS

// Schema is the tables that this package owns.
func Schema() store.Schema { return store.Embedded("stock", migrations) }

// An Account is where chips and cards are, or where they came from or went.
type Account string

// The accounts. From Line to Operator, and in Missing and Found, what is there
// belongs to an order; the others know only lots.
const (
	Maker        Account = "maker"      // source: the chip maker
	Received     Account = "received"   // delivered, not counted yet
	InInspection Account = "inspection" // counted, not accepted yet
	Returned     Account = "returned"   // refused, and gone back
	Store        Account = "store"      // the warehouse
	Finishing    Account = "finishing"  // being milled, embedded, printed
	Finished     Account = "finished"   // finished and good
	Scrap        Account = "scrap"      // spoilt by finishing, to be destroyed
	Line         Account = "line"       // issued to the line for an order
	Good         Account = "good"       // good cards, not in a box
	Rejects      Account = "reject"     // to be destroyed
	Aside        Account = "aside"      // set aside before they got an identity
	Destroyed    Account = "destroyed"
	Lost         Account = "lost"  // declared lost: they may carry keys, and cannot be destroyed
	Boxed        Account = "boxed" // in closed boxes outside the vault
	Vault        Account = "vault"
	Shipped      Account = "shipped"
	Operator     Account = "operator" // received by the operator
	Missing      Account = "missing"  // not found by a count
	Found        Account = "found"    // source: found by a count, and in no book
)

// Accounts is all accounts, in the order in which a chip goes through them.
func Accounts() []Account {
	return []Account{Maker, Received, InInspection, Returned, Store, Finishing, Finished, Scrap, Line, Good, Rejects, Aside, Destroyed, Lost, Boxed, Vault, Shipped, Operator, Missing, Found}
}

// ofOrder says whether what is in the account belongs to an order.
func (a Account) ofOrder() bool {
	switch a {
	case Maker, Received, InInspection, Returned, Store, Finishing, Finished, Scrap:
		return false
	}
	return true
}

// needsOrder says whether nothing is in the account but for an order. Chips
// that no order took can be destroyed, missing and found as well.
func (a Account) needsOrder() bool {
	return a.ofOrder() && a != Destroyed && a != Missing && a != Found
}

// out says whether what is in the account has left the site for good.
func (a Account) out() bool {
	return a == Returned || a == Destroyed || a == Lost || a == Operator || a == Missing
}

// source says whether the account only gives.
func (a Account) source() bool { return a == Maker || a == Found }

func parseAccount(s string) (Account, error) {
	for _, a := range Accounts() {
		if string(a) == s {
			return a, nil
		}
	}
	return "", fmt.Errorf("account %.40q: want one of %v", s, Accounts())
}

var (
	// ErrBalance is wrapped where more would leave an account than is in it.
	ErrBalance = errors.New("the stock does not balance")
	// ErrNone is wrapped where the stock has no such lot, box, shipment or discrepancy.
	ErrNone = errors.New("not here")
)

// A Posting is one movement.
type Posting struct {
	ID    int64     `json:"id"`
	Entry int64     `json:"entry"` // of the log
	At    time.Time `json:"at"`
	Actor string    `json:"actor"`
	Why   string    `json:"why"`
	Act   string    `json:"act,omitempty"`
	Lot   string    `json:"lot"`
	Order string    `json:"order,omitempty"`
	From  Account   `json:"from"`
	To    Account   `json:"to"`
	Count int       `json:"count"`
}

// post writes a posting in a change. What would take an account below nothing
// is refused here with its figures, and by the database whoever writes.
func post(tx *store.Tx, p Posting) error {
	if p.Lot == "" || p.Count <= 0 {
		return fmt.Errorf("posting from %s to %s: %d chips of lot %q; want a lot and 1 or more", p.From, p.To, p.Count, p.Lot)
	}
	if p.Order == "" && (p.From.needsOrder() || p.To.needsOrder()) {
		return fmt.Errorf("posting from %s to %s: it names no order", p.From, p.To)
	}
	if !p.From.source() {
		has, err := balance(tx, p.From, p.Lot, p.Order)
		if err != nil {
			return err
		}
		if has < p.Count {
			// How many there are is not said: whoever is to count them may read this.
			return fmt.Errorf("lot %s%s: %w: %d are to leave %s, which has fewer", p.Lot, forOrder(p.Order), ErrBalance, p.Count, p.From)
		}
	}
	_, err := tx.Exec(`INSERT INTO stock_posting (entry, at, actor, why, act, lot, ord, source, destination, n) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		tx.Index(), store.Stamp(tx.Time()), p.Actor, p.Why, p.Act, p.Lot, p.Order, string(p.From), string(p.To), p.Count)
	return err
}

func forOrder(ord string) string {
	if ord == "" {
		return ""
	}
	return " for order " + ord
}

// balance is how much of a lot is in an account, for an order where the account
// knows orders.
func balance(q store.Querier, a Account, lot, ord string) (n int, err error) {
	if !a.ofOrder() {
		ord = ""
	}
	err = q.QueryRow(`SELECT coalesce(sum(n), 0) FROM stock_balance WHERE account = $1 AND lot = $2 AND ord = $3`, string(a), lot, ord).Scan(&n)
	return n, err
}

// A Share is what one lot has in an account.
type Share struct {
	Lot   string
	Count int
}

// shares is what an account has for an order, by lot, in the order in which the
// lots came into it.
func shares(q store.Querier, a Account, ord string) ([]Share, error) {
	return store.Collect(q, func(rows *sql.Rows) (s Share, err error) {
		err = rows.Scan(&s.Lot, &s.Count)
		return s, err
	}, `SELECT lot, n FROM stock_balance AS b WHERE account = $1 AND ord = $2 AND n > 0
		ORDER BY (SELECT min(id) FROM stock_posting AS p WHERE p.lot = b.lot AND p.destination = b.account AND (b.ord = '' OR p.ord = b.ord)), lot`, string(a), ord)
}

// shift posts n cards of an order from one account to another, of whatever lots
// are there.
func shift(tx *store.Tx, p Posting, n int) error {
	all, err := shares(tx, p.From, p.Order)
	if err != nil {
		return err
	}
	left := n
	for _, s := range all {
		if left == 0 {
			break
		}
		p.Lot, p.Count = s.Lot, min(left, s.Count)
		if err := post(tx, p); err != nil {
			return err
		}
		left -= p.Count
	}
	if left > 0 {
		return fmt.Errorf("order %s: %w: %d are to leave %s, which has fewer", p.Order, ErrBalance, n, p.From)
	}
	return nil
}

// shiftBox is shift of n cards of a box after the first skip of them, of the
// lots that the line's books have for them. Cards that were made before these
// kept lots are of whatever lots are there.
func shiftBox(tx *store.Tx, p Posting, box string, skip, n int) error {
	of, err := store.Collect(tx, func(rows *sql.Rows) (s Share, err error) {
		err = rows.Scan(&s.Lot, &s.Count)
		return s, err
	}, `SELECT c.lot, count(*) FROM stock_box_card b JOIN card c ON c.ord = b.ord AND c.card = b.card AND c.state <> 'destroyed' AND c.state = 'good'
		WHERE b.box = $1 AND c.lot <> '' GROUP BY c.lot ORDER BY c.lot`, box)
	if err != nil {
		return err
	}
	for _, s := range of {
		has, err := balance(tx, p.From, s.Lot, p.Order)
		if err != nil {
			return err
		}
		over := min(skip, s.Count)
		skip -= over
		p.Lot, p.Count = s.Lot, min(n, s.Count-over, has)
		if p.Count <= 0 {
			continue
		}
		if err := post(tx, p); err != nil {
			return err
		}
		n -= p.Count
	}
	if n == 0 {
		return nil
	}
	return shift(tx, p, n)
}

// A Balance is one account of one lot, for one order where the account knows orders.
type Balance struct {
	Account Account `json:"account"`
	Lot     string  `json:"lot"`
	Order   string  `json:"order,omitempty"`
	Count   int     `json:"count"`
}

// Balances is what is in the accounts of a lot and an order; "" takes all.
func (b *Book) Balances(ctx context.Context, lot, ord string) ([]Balance, error) {
	if err := b.ready(); err != nil {
		return nil, err
	}
	return balances(b.store.Committed(ctx), lot, ord)
}

func balances(q store.Querier, lot, ord string) ([]Balance, error) {
	return store.Collect(q, func(rows *sql.Rows) (v Balance, err error) {
		err = rows.Scan(&v.Account, &v.Lot, &v.Order, &v.Count)
		return v, err
	}, `SELECT account, lot, ord, n FROM stock_balance WHERE n <> 0 AND ($1 = '' OR lot = $1) AND ($2 = '' OR ord = $2) ORDER BY lot, ord, account`, lot, ord)
}

// Postings is the last n movements, newest first, of a lot and an order; "" takes all.
func (b *Book) Postings(ctx context.Context, lot, ord string, n int) ([]Posting, error) {
	if err := b.ready(); err != nil {
		return nil, err
	}
	where, args := only(lot, ord)
	return store.Collect(b.store.Committed(ctx), func(rows *sql.Rows) (p Posting, err error) {
		var at string
		if err = rows.Scan(&p.ID, &p.Entry, &at, &p.Actor, &p.Why, &p.Act, &p.Lot, &p.Order, &p.From, &p.To, &p.Count); err == nil {
			p.At, err = store.ParseStamp(at)
		}
		return p, err
	}, `SELECT id, entry, at, actor, why, act, lot, ord, source, destination, n FROM stock_posting
		`+where+` ORDER BY id DESC LIMIT `+strconv.Itoa(n), args...)
}

// only is a condition for a lot and an order, "" takes all, and what it is given.
func only(lot, ord string) (where string, args []any) {
	and := " WHERE "
	for _, c := range []struct{ column, value string }{{"lot", lot}, {"ord", ord}} {
		if c.value != "" {
			args = append(args, c.value)
			where, and = where+and+c.column+" = $"+strconv.Itoa(len(args)), " AND "
		}
	}
	return where, args
}

// A Sum is what came in, went out and is on hand, of a lot or for an order:
// In = Out + OnHand.
type Sum struct {
	Lot    string `json:"lot,omitempty"`
	Order  string `json:"order,omitempty"`
	In     int    `json:"in"`      // from the maker or issued to the order, or found
	Out    int    `json:"out"`     // gone back, destroyed, lost, received by the operator, or missing
	OnHand int    `json:"on_hand"` // everywhere else
}

// Check proves that nothing is counted twice or lost: it adds up what went from
// one account to another, and refuses if a lot or an order does not balance, or if
// what is kept as what is in an account is another. For an order that is finished
// the totals are the line's own. Each posting on its own is added up by Recount.
func (b *Book) Check(ctx context.Context) (all []Sum, err error) {
	if err := b.ready(); err != nil {
		return nil, err
	}
	err = b.store.View(ctx, func(tx *store.ReadTx) error {
		wrong, err := store.Collect(tx, store.Column[string], differ(`stock_moved`))
		if err != nil {
			return err
		}
		if len(wrong) > 0 {
			return fmt.Errorf("%w: %d accounts are not the sums of their postings; somebody wrote to the database beside the site", ErrBalance, len(wrong))
		}
		lots, err := sums(tx, `SELECT lot, '', source, destination, sum(n) FROM stock_moved GROUP BY lot, source, destination ORDER BY lot`, func(a Account) bool { return !a.source() })
		if err != nil {
			return err
		}
		// For an order the accounts that know no order lie outside.
		orders, err := sums(tx, `SELECT '', ord, source, destination, sum(n) FROM stock_moved WHERE ord <> '' GROUP BY ord, source, destination ORDER BY ord`,
			func(a Account) bool { return a.ofOrder() && !a.source() })
		if err != nil {
			return err
		}
		for _, s := range append(lots, orders...) {
			if s.In != s.Out+s.OnHand || s.OnHand < 0 {
				return fmt.Errorf("lot %q, order %q: %w: %d in, %d out, %d on hand", s.Lot, s.Order, ErrBalance, s.In, s.Out, s.OnHand)
			}
			all = append(all, s)
		}
		return b.checkLine(tx, orders)
	})
	return all, err
}

// differ asks which accounts are not what came to them less what left them, by
// the postings or by their sums.
func differ(by string) string {
	return `WITH moved AS (
		SELECT destination AS account, lot, ord, n FROM ` + by + ` UNION ALL SELECT source, lot, ord, -n FROM ` + by + `),
	added AS (SELECT m.account AS account, m.lot AS lot, CASE a.orders WHEN 1 THEN m.ord ELSE '' END AS ord, sum(m.n) AS n
		FROM moved m JOIN stock_account a ON a.name = m.account GROUP BY 1, 2, 3)
	SELECT 'account ' || b.account || ' of lot ' || b.lot || ' has ' || b.n || ', its postings give ' || coalesce(a.n, 0)
		FROM stock_balance b LEFT JOIN added a ON a.account = b.account AND a.lot = b.lot AND a.ord = b.ord WHERE b.n <> coalesce(a.n, 0)
	UNION ALL SELECT 'account ' || a.account || ' of lot ' || a.lot || ' is missing, its postings give ' || a.n
		FROM added a WHERE a.n <> 0 AND NOT EXISTS (SELECT 1 FROM stock_balance b WHERE a.account = b.account AND a.lot = b.lot AND a.ord = b.ord)`
}

// Recount adds all postings up anew, and says of each account and each sum by how
// much it is another. It takes as long as the plant's history is.
func Recount(q store.Querier) ([]string, error) {
	return store.Collect(q, store.Column[string], differ(`stock_posting`)+`
	UNION ALL SELECT 'from ' || source || ' to ' || destination || ' of lot ' || lot || ' the sum is ' || sum(n) || ' more than its postings' FROM (
		SELECT lot, ord, source, destination, n FROM stock_moved UNION ALL SELECT lot, ord, source, destination, -n FROM stock_posting) AS counted
		GROUP BY lot, ord, source, destination HAVING sum(n) <> 0`)
}

// sums adds postings up: In is what crossed from outside, less what went back
// there, Out and OnHand are what the accounts inside have. The two are added up
// on their own.
func sums(q store.Querier, query string, inside func(Account) bool) ([]Sum, error) {
	var all []Sum
	_, err := store.Collect(q, func(rows *sql.Rows) (struct{}, error) {
		var lot, ord string
		var from, to Account
		var n int
		if err := rows.Scan(&lot, &ord, &from, &to, &n); err != nil {
			return struct{}{}, err
		}
		if k := len(all); k == 0 || all[k-1].Lot != lot || all[k-1].Order != ord {
			all = append(all, Sum{Lot: lot, Order: ord})
		}
		s := &all[len(all)-1]
		if inside(to) != inside(from) {
			if inside(to) {
				s.In += n
			} else {
				s.In -= n
			}
		}
		for _, side := range []struct {
			a Account
			n int
		}{{to, n}, {from, -n}} {
			switch {
			case !inside(side.a):
			case side.a.out():
				s.Out += side.n
			default:
				s.OnHand += side.n
			}
		}
		return struct{}{}, nil
	}, query)
	return all, err
}

// A Book is the stock of a site. Its zero value refuses.
type Book struct {
	store *store.Store
}

// New is the stock kept in s.
func New(s *store.Store) *Book { return &Book{s} }

func (b *Book) ready() error {
	if b == nil || b.store == nil {
		return errors.New("stock: not set up")
	}
	return nil
}

var naming = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$`)

// checkName refuses what cannot stand in a subject or on a label.
func checkName(what, s string) error {
	if !naming.MatchString(s) {
		return fmt.Errorf("%s is %.60q, want up to 40 letters, digits, ., _ and -", what, s)
	}
	return nil
}

// checkText refuses what is not some printable characters.
func checkText(what, s string) error {
	const most = 500
	if s == "" || len(s) > most || strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("%s is %.40q, want 1 to %d printable bytes, no space at the ends", what, s, most)
	}
	return nil
}

// number reads a count in its one form.
func number(what, s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > most || strconv.Itoa(n) != s {
		return 0, fmt.Errorf("%s is %.40q, want a number from 0 to %d", what, s, most)
	}
	return n, nil
}

// most is the most chips that are counted at once.
const most = 100_000_000

// cut takes a subject apart: what it begins with, then so many parts, the last
// of which may hold anything.
func cut(subject, what string, parts ...string) ([]string, error) {
	all := strings.SplitN(subject, "/", len(parts)+1)
	if len(all) != len(parts)+1 || all[0] != what {
		return nil, fmt.Errorf("subject %.100q is not %s/%s", subject, what, strings.Join(parts, "/"))
	}
	return all[1:], nil
}
