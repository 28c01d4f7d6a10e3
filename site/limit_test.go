package site_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"ankan/audit"
	"ankan/order"
	"ankan/parts"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/store"
)

// A daily is a clock whose time of day and whose passing are set by a test.
type daily struct {
	day     time.Time
	elapsed time.Duration
}

func (d *daily) Now() time.Time         { return d.day }
func (d *daily) Elapsed() time.Duration { return d.elapsed }

func (d *daily) pass(by time.Duration) { d.day, d.elapsed = d.day.Add(by), d.elapsed+by }

// People and the contract's contacts are warned once before an order's limit of
// destruction and once when it has passed, by the site's time: not because a
// clock leapt.
func TestLimitsAreWarnedOf(t *testing.T) {
	for _, tt := range []struct {
		name, site, roles, partner string
		states                     []order.State
	}{
		{"bureau", "maker", site.Bureau, "op", []order.State{order.Accepted, order.Released, order.Generated, order.Offered, order.Sent, order.Made, order.Responded, order.Received}},
		{"operator", "op", site.Operator, "maker", []order.State{order.Drafted, order.Submitted, order.Accepted, order.Answered, order.Loading, order.Loaded, order.Acknowledged}},
		{"abandoned", "maker", site.Bureau, "op", []order.State{order.Accepted, order.Released, order.Abandoning}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clock := &daily{day: time.Now().UTC().Round(0)}
			c := sitetest.Config(t, tt.site, tt.roles)
			c.Clock = clock
			token := sitetest.Init(t, c, parts.All()...)
			s := sitetest.Open(t, c, token, parts.All()...)
			clock.pass(time.Hour)
			o := order.Order{ID: "op-0123456789ab", Partner: tt.partner, Name: "x.inp", Batch: "1", Quantity: 5, KEK: "kek"}
			sitetest.Put(t, s, o, tt.states...)
			limit := s.Contracts()[0].DestructionLimit
			want := func(what string, near, passed int) {
				t.Helper()
				if err := s.KeepHouse(t.Context()); err != nil {
					t.Fatal(err)
				}
				for kind, n := range map[string]int{"order.limit-near": near, "order.limit-passed": passed} {
					var told, contacts int
					for query, to := range map[string]*int{`SELECT count(*) FROM notice WHERE kind = $1 AND person = 'contact:noc@operator.example'`: &contacts,
						`SELECT count(*) FROM notice WHERE kind = $1 AND person NOT LIKE 'contact:%'`: &told} {
						if err := s.Store().QueryRow(t.Context(), query, kind).Scan(to); err != nil {
							t.Fatal(err)
						}
					}
					if contacts != n || told < n || told > 5*n {
						t.Errorf("%s: %s was told to %d contacts and %d people, want %d and some", what, kind, contacts, told, n)
					}
				}
			}
			want("at the beginning", 0, 0)
			clock.pass(limit / 2)
			want("half way", 0, 0)
			clock.day = clock.day.Add(limit) // it leaps, and no time passes
			want("after a leap of the clock", 0, 0)
			clock.day = clock.day.Add(-limit)
			clock.pass(limit/4 + time.Minute)
			want("near the end", 1, 0)
			clock.pass(time.Minute)
			want("near the end, again", 1, 0)
			clock.pass(limit / 4)
			want("at the end", 1, 1)
			clock.pass(limit)
			want("long after", 1, 1)
			all := sitetest.Must[[]audit.Entry](t)(s.Store().Entries(t.Context(), 0, int(s.Store().Size())))
			for _, kind := range []string{"order.limit-near", "order.limit-passed"} {
				if !slices.ContainsFunc(all, func(e audit.Entry) bool { return e.Kind == kind && fmt.Sprint(e.Data["contacts"]) == "1" }) {
					t.Errorf("no entry %s", kind)
				}
			}
			// An order whose data is gone is none to be warned of.
			end := map[string][]order.State{"bureau": {order.Destroying, order.Emptied, order.Destroyed}, "operator": {order.Closed}, "abandoned": {order.Emptied, order.Destroyed}}[tt.name]
			sitetest.Change(t, s, func(tx *store.Tx) error {
				from := tt.states[len(tt.states)-1]
				for _, to := range end {
					if err := order.Move(tx, o.ID, from, to); err != nil {
						return err
					}
					from = to
				}
				_, err := tx.Exec(`DELETE FROM order_paper WHERE ord = $1`, o.ID)
				return err
			})
			want("when it is destroyed", 1, 1)
			if v := sitetest.Must[site.OrderView](t)(s.Order(t.Context(), o.ID)); !v.Due.IsZero() {
				t.Errorf("a destroyed order is due at %s", v.Due)
			}
		})
	}
}
