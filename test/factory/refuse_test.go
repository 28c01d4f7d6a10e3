package factory

import (
	"bytes"
	"strings"
	"testing"

	"ankan/act"
	"ankan/bureau"
	"ankan/demo"
	"ankan/order"
)

// Two people take an accepted order back before keys are drawn: its operator is
// told why, nothing is left of it, and its identities can be ordered again.
func TestRefuseAccepted(t *testing.T) {
	t.Parallel()
	w := start(t, options{cards: 8, change: wide})
	w.journey(map[string]func(){stageRelease: func() { w.refuseAccepted(t) }})
}

func (w *works) refuseAccepted(t *testing.T) {
	t.Helper()
	c := w.Clients[demo.Bureau]
	first := w.orders(demo.Bureau)[0].ID
	second := w.submit("second.inp", ranged(t, "26112399", 400, 7).text()).ID
	preparer, officer := w.person(demo.Bureau, "data-preparation"), w.person(demo.Bureau, "security-officer")
	ask := func(number string) bureau.Answer {
		t.Helper()
		var a bureau.Answer
		if err := c.Ask(w.ctx, preparer, "/ledger", []byte(`{"number":"`+number+`"}`), &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	number := identity(t, 400)
	if a := ask(number.IMSI.String()); a.Hold != order.Reserved || a.Order != second || a.Operator != demo.Operator || a.Since == nil || a.Kind != order.KindIMSI {
		t.Errorf("the ledger says %+v", a)
	}
	if a := ask(number.ICCID.String()); a.Order != second || a.Kind != order.KindICCID {
		t.Errorf("the ledger says %+v", a)
	}
	for _, wrong := range []string{"", "123", number.ICCID.String() + "0", number.IMSI.String() + "x"} {
		refusedWith(t, "a question about "+wrong, c.Ask(w.ctx, preparer, "/ledger", []byte(`{"number":"`+wrong+`"}`), nil), bureau.ErrNumber.Error())
	}
	refusedWith(t, "a question of who may not ask", c.Ask(w.ctx, w.person(demo.Bureau, "hsm-administrator"), "/ledger", []byte(`{"number":"`+number.IMSI.String()+`"}`), nil), act.ErrNotAllowed.Error())
	refusedWith(t, "a reason that is none", c.Get(w.ctx, "/proposal?kind=order.refuse&subject=order/"+second+"/", nil), "the reason has 0 bytes")

	if err := w.did(demo.Bureau, "order.refuse", "order/"+second+"/the artwork is not agreed", preparer, officer); err != nil {
		t.Fatal(err)
	}
	for _, site := range []string{demo.Bureau, demo.Operator} {
		until(t, "the refusal at "+site, func() bool {
			for _, o := range w.orders(site) {
				if o.ID == second && o.State == order.Refused {
					return strings.Contains(o.Reason, "artwork")
				}
			}
			return false
		})
	}
	if a := ask(number.IMSI.String()); a.Issued {
		t.Errorf("the ledger still says %+v", a)
	}
	refusedWith(t, "a release of what was refused", c.Get(w.ctx, "/proposal?kind=order.release&subject=order/"+second, nil), "is refused, want accepted")
	refusedWith(t, "a second refusal", c.Get(w.ctx, "/proposal?kind=order.refuse&subject=order/"+second+"/again", nil), "is refused, want accepted")
	again := w.submit("third.inp", ranged(t, "26112400", 400, 7).text()).ID
	if a := ask(number.IMSI.String()); a.Order != again {
		t.Errorf("ordered again, and the ledger says %+v", a)
	}
	asked := 0
	for _, e := range w.log(demo.Bureau) {
		if e.Kind == "ledger.asked" {
			asked++
		}
		if leaf := must[[]byte](t)(e.Leaf()); bytes.Contains(leaf, []byte(number.IMSI.String())) || bytes.Contains(leaf, []byte(number.ICCID.String())) {
			t.Errorf("the log names the number: %s", leaf)
		}
	}
	if asked != 4 {
		t.Errorf("the log says that %d questions were asked, want 4", asked)
	}
	if a := ask(identity(t, 0).IMSI.String()); a.Order != first {
		t.Errorf("the first order's number: %+v", a)
	}
}
