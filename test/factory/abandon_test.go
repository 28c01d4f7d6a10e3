package factory

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ankan/bureau"
	"ankan/demo"
	"ankan/factory"
	"ankan/hsm"
	"ankan/order"
	"ankan/plant"
	"ankan/site"
	"ankan/stock"
)

// An order is abandoned when its cards are good and its chips are not in balance, so
// that its batch does not end; another is withdrawn by its operator. Both come to
// their end, nothing of the first is issued again, and the order beside them is
// delivered.
func TestAbandon(t *testing.T) {
	const cards, gone, issued = 4, 7, 3
	w := start(t, options{cards: cards, change: wide})
	b, p := w.Clients[demo.Bureau], w.Clients[demo.Plant]
	warehouse, lead := w.person(demo.Plant, "warehouse"), w.person(demo.Plant, "shift-lead")
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var lot, first, second, third string
	run := func(ord string) (v plant.RunView) {
		if p.Get(w.ctx, "/runs/"+ord, &v) != nil {
			return plant.RunView{}
		}
		return v
	}
	state := func(site, ord string) order.State { return w.view(site, ord).State }
	propose := func(site, kind, subject string) error {
		return w.Clients[site].Get(w.ctx, "/proposal?kind="+kind+"&subject="+strings.ReplaceAll(subject, " ", "%20"), nil)
	}
	issue := func(ord string, n int) {
		until(t, "a batch that waits for chips", func() bool { return strings.Contains(run(ord).Waiting, "no chips of it are at the line") })
		ok(w.did(demo.Plant, "stock.move", fmt.Sprintf("move/store/line/%s/%s/%d/issue", lot, ord, n), warehouse, lead))
	}
	w.journey(map[string]func(){
		stageOrder: func() {
			var lots []stock.Lot
			ok(p.Get(w.ctx, "/lots", &lots))
			lot = lots[0].Lot
			w.stop(demo.Plant)
			w.Configs[demo.Plant].Counting = site.CountPeople
			w.start(demo.Plant)
		},
		stageRelease: func() {
			first = w.orders(demo.Bureau)[0].ID
			second = w.submit("second.inp", ranged(t, "26112501", 400, gone).text()).ID
			refusedWith(t, "abandoning an order without keys", propose(demo.Bureau, "order.abandon", "order/"+second+"/why"), "refuse it, and its identities are free again: order.refuse")
			w.approved(demo.Bureau, "order.release", "order/"+second, "data-preparation", "key-manager", "security-officer")
			issue(second, issued)
			until(t, "cards of more chips than were issued", func() bool {
				v := run(second)
				return v.Counts.Good == gone && strings.Contains(v.Waiting, stock.ErrBalance.Error())
			})

			kek := w.view(demo.Bureau, second).KEK
			subject := "order/" + second + "/the artwork is not agreed"
			w.approved(demo.Bureau, "order.abandon", subject, "key-manager", "hsm-administrator", "security-officer", "witness")
			until(t, "the operator's knowledge", func() bool { return state(demo.Operator, second) == order.Abandoned })
			until(t, "the end of the order's key", func() bool { _, err := w.tokens[demo.Bureau].Key(w.ctx, kek); return errors.Is(err, hsm.ErrNoKey) })
			until(t, "the plant's knowledge", func() bool { return run(second).State == "abandoned" })
			refusedWith(t, "abandoning it again", propose(demo.Bureau, "order.abandon", subject), "it has come to its end, or is on the way there")
			refusedWith(t, "withdrawing it", propose(demo.Operator, "order.withdraw", "order/"+second+"/why"), "it is abandoned")
			refusedWith(t, "a box of it", p.Post(w.ctx, "/boxes", plant.NewBox{Box: "AB-1", Order: second, To: 3}, nil), "its bureau abandoned it")
			refusedWith(t, "destroying its batch with cards of it here", propose(demo.Plant, "batch.destroy", "order/"+second), "good cards among them")
			until(t, "a line that rests", func() bool { return propose(demo.Plant, "chip.destroy", "order/"+second) == nil })
			var open []stock.Discrepancy
			ok(p.Get(w.ctx, "/stock/discrepancies", &open))
			if len(open) != 1 || open[0].Found != gone || open[0].Book != issued {
				t.Fatalf("discrepancies: %+v", open)
			}
			ok(w.did(demo.Plant, "discrepancy.explain", fmt.Sprintf("discrepancy/%d/they were taken from the shelf", open[0].ID), warehouse))
			ok(w.did(demo.Plant, "discrepancy.close", fmt.Sprintf("discrepancy/%d", open[0].ID), lead, w.person(demo.Plant, "security-officer")))
			w.approved(demo.Plant, "chip.destroy", "order/"+second, "shift-lead", "warehouse", "security-officer")
			w.approved(demo.Plant, "batch.destroy", "order/"+second, "system-administrator", "security-officer", "witness")
			until(t, "its end", func() bool {
				return state(demo.Operator, second) == order.Closed && state(demo.Bureau, second) == order.Certified && run(second).State == "closed"
			})
			w.certifiesAbandoned(t, second, gone)
			var a bureau.Answer
			ok(b.Ask(w.ctx, w.person(demo.Bureau, "data-preparation"), "/ledger", []byte(`{"number":"`+identity(t, 400).IMSI.String()+`"}`), &a))
			if a.Hold != order.Retired || a.Order != second {
				t.Errorf("the ledger says %+v", a)
			}
			if v := w.submit("again.inp", ranged(t, "26112502", 405, 3).text()); v.State != order.Refused || !strings.Contains(v.Reason, "was issued before") {
				t.Errorf("its identities were ordered again: %s, %s", v.State, v.Reason)
			}

			third = w.submit("third.inp", ranged(t, "26112503", 500, 2).text()).ID
			w.approved(demo.Operator, "order.withdraw", "order/"+third+"/not wanted any more", "sourcing", "nodal-officer")
			until(t, "the bureau's knowledge", func() bool {
				var n int
				w.ask(demo.Bureau, `SELECT count(*) FROM order_paper WHERE ord = $1 AND kind = 'withdrawn'`, &n, third)
				return n == 1
			})
			w.approved(demo.Bureau, "order.refuse", "order/"+third+"/as its operator asks", "key-manager", "security-officer")
			until(t, "the end of the withdrawn order", func() bool {
				return state(demo.Operator, third) == order.Refused && state(demo.Bureau, third) == order.Refused
			})
		},
		stageLine: func() { issue(first, cards) },
	})
	if r := w.balanced(factory.Works{}); r.Cards != cards || r.Abandoned != 1 || r.Certified != 2 || r.Rejects != gone {
		t.Errorf("%+v", r)
	}
}

// certifiesAbandoned reads the certificate that the operator has.
func (w *works) certifiesAbandoned(t *testing.T, ord string, cards int) {
	t.Helper()
	doc := must[[]byte](t)(os.ReadFile(filepath.Join(w.Configs[demo.Operator].Path("certificates"), "CoD-"+ord+".json")))
	c, err := order.OpenCertificate(doc, w.partner(demo.Bureau).Site())
	if err != nil {
		t.Fatal(err)
	}
	if c.Abandoned != "the artwork is not agreed" || c.Cards != (order.CardCounts{Ordered: cards, Retired: cards}) || len(c.Keys) != 3 || len(c.Approvers) != 2 || c.Witness.Role != "witness" {
		t.Errorf("%+v", c)
	}
}
