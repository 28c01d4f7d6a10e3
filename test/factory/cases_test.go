package factory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ankan/custody"
	"ankan/demo"
	"ankan/durable"
	"ankan/exchange/edge"
	"ankan/factory"
	"ankan/order"
	"ankan/plant"
	"ankan/site"
	"ankan/stock"
)

// The cases that a factory must survive, under the names of
// docs/reference/crash-cases.md.

// TestR05_ThreePulledCards has an operator of the line pull three chips: the
// count differs from the books, the batch does not end, and it takes two people
// who did not count to close the difference. The three are missing from then on.
func TestR05_ThreePulledCards(t *testing.T) {
	t.Parallel()
	const cards, left, pulled = 8, 5, 3
	w := start(t, options{cards: cards})
	c := w.Clients[demo.Plant]
	warehouse, officer, lead := w.person(demo.Plant, "warehouse"), w.person(demo.Plant, "security-officer"), w.person(demo.Plant, "shift-lead")
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var lot string
	waits := func(ord, why string) {
		t.Helper()
		until(t, "a batch that waits: "+why, func() bool {
			var v plant.RunView
			return c.Get(w.ctx, "/runs/"+ord, &v) == nil && strings.Contains(v.Waiting, why)
		})
	}
	w.journey(map[string]func(){
		stageOrder: func() {
			var lots []stock.Lot
			ok(c.Get(w.ctx, "/lots", &lots))
			lot = lots[0].Lot
			w.stop(demo.Plant)
			w.Configs[demo.Plant].Counting = site.CountPeople
			w.start(demo.Plant)
		},
		stageLine: func() {
			ord := w.orders(demo.Bureau)[0].ID
			waits(ord, "no chips of it are at the line")
			ok(w.did(demo.Plant, "stock.move", fmt.Sprintf("move/store/line/%s/%s/%d/issue", lot, ord, cards+left), warehouse, lead))
			waits(ord, "are at the line; count them")
			ok(w.did(demo.Plant, "stock.count", fmt.Sprintf("count/line/%s/%s/%d", lot, ord, left-pulled), lead))
			var open []stock.Discrepancy
			ok(c.Get(w.ctx, "/stock/discrepancies", &open))
			if len(open) != 1 || open[0].Found != left-pulled || open[0].Book != left || open[0].State != stock.Open {
				t.Fatalf("discrepancies: %+v", open)
			}
			// The batch stands.
			var v plant.RunView
			if ok(c.Get(w.ctx, "/runs/"+ord, &v)); v.State != "finished" || v.Waiting == "" {
				t.Errorf("the batch is %s (%s) with chips that nobody found, want it to wait", v.State, v.Waiting)
			}
			subject := fmt.Sprintf("discrepancy/%d", open[0].ID)
			ok(w.did(demo.Plant, "discrepancy.explain", subject+"/three chips were pulled and are not found", warehouse))
			if err := w.did(demo.Plant, "discrepancy.close", subject, lead); err == nil {
				t.Error("one person closes a discrepancy")
			}
			ok(w.did(demo.Plant, "discrepancy.close", subject, lead, officer))
			ok(w.did(demo.Plant, "stock.move", fmt.Sprintf("move/line/store/%s/%s/%d/left over", lot, ord, left-pulled), warehouse, officer))
		},
	})
	var v plant.StockView
	ok(c.Get(w.ctx, "/stock", &v))
	missing := 0
	for _, b := range v.Balances {
		if b.Account == stock.Missing {
			missing += b.Count
		}
	}
	if missing != pulled {
		t.Errorf("%d chips are missing by the books, want %d: %+v", missing, pulled, v.Balances)
	}
	if r := w.balanced(factory.Works{}); r.Cards != cards {
		t.Errorf("%+v", r)
	}
}

// TestCases drives an order through while files come that must not be taken, and
// while sites are away at the worst moments.
func TestCases(t *testing.T) {
	t.Parallel()
	const cards = 8
	w := start(t, options{cards: cards, change: wide})
	var resealed []byte // the order again, signed and sealed anew
	half := make(chan string, 1)
	drops := &durable.Script{
		Match: func(step string) bool {
			return strings.HasPrefix(step, durable.Use+"hsm.") && step != durable.Use+"hsm.sign"
		},
		Fail: []durable.Event{{Step: 1, Shape: durable.Before}, {Step: 3, Shape: durable.After}, {Step: 5, Shape: durable.Before}, {Step: 8, Shape: durable.After}},
	}
	sum := w.journey(map[string]func(){
		stageRelease: func() {
			text := string(must[[]byte](t)(os.ReadFile(w.OrderFile)))
			id := w.orders(demo.Bureau)[0].ID
			var b bytes.Buffer
			if err := w.sealed(demo.Operator, plain(text))(&b); err != nil {
				t.Fatal(err)
			}
			resealed = b.Bytes()
			t.Run("R08 the same order, signed again under another name", func(t *testing.T) {
				w.refused(t, "renamed.inp.pgp", plain(string(resealed)), `renamed\.inp\.pgp: this order was taken already, as `+id+`; it is accepted`)
			})
			t.Run("R08 the same file, under another name", func(t *testing.T) {
				w.refused(t, "copied.inp.pgp", plain(string(resealed)), `copied\.inp\.pgp: the same file \(SHA-256 [0-9a-f]{12}…\) came at `)
				if n := w.alarms(t); n != 0 {
					t.Errorf("%d alarms over an order that came twice, want none", n)
				}
			})
			t.Run("R08 the same number, other content", func(t *testing.T) {
				other := ranged(t, "26112301", 300, 4)
				w.refused(t, "other.inp.pgp", w.sealed(demo.Operator, plain(other.text())), `other\.inp\.pgp: batch 26112301 was ordered already with other content, as `+id)
				if n := w.alarms(t); n != 1 {
					t.Errorf("%d alarms, want one: somebody orders in an order's name", n)
				}
			})
			t.Run("R09 an identity of an order that is under way", func(t *testing.T) {
				overlap := listed(t, "9", 502, 503)
				overlap.pairs[0][1] = identity(t, cards-1).ICCID.String()
				w.refused(t, "overlap.inp.pgp", w.sealed(demo.Operator, plain(overlap.text())),
					`overlap\.inp\.pgp: ICCID `+identity(t, cards-1).ICCID.String()+` of card 1 was issued before`)
				mixed := listed(t, "10", 500, 501)
				mixed.pairs[1][0] = identity(t, 2).IMSI.String()
				w.refused(t, "mixed.inp.pgp", w.sealed(demo.Operator, plain(mixed.text())), `mixed\.inp\.pgp: IMSI `+identity(t, 2).IMSI.String()+` of card 2 was issued before`)
			})
			t.Run("R11 a signer who is another partner", func(t *testing.T) {
				w.refused(t, "signer.inp.pgp", w.sealed(demo.Plant, plain(ranged(t, "11", 600, 2).text())), `signer\.inp\.pgp: message is signed by key [0-9A-F]{16}, want `)
			})
			// R15: while keys are drawn, and later while they are sealed and sent, the
			// bureau's module drops out of uses, and does one and says it did not.
			w.stop(demo.Bureau)
			w.Configs[demo.Bureau].Steps = drops.Steps()
			w.start(demo.Bureau)
		},
		stageDestruction: func() {
			t.Run("R17 the response again", func(t *testing.T) { w.responseAgain(t) })
			// The plant is away when the bureau is told to destroy.
			w.stop(demo.Plant)
			go func() { half <- w.halfDestroyed() }()
		},
	})
	t.Run("R15 the module drops while keys are drawn", func(t *testing.T) {
		if n := drops.Count().All; n < 8 || sum.Generated != cards || sum.Responded != cards {
			t.Errorf("%d uses of the module, %d key sets drawn and %d answered, want more than 8 uses and %d of each", n, sum.Generated, sum.Responded, cards)
		}
		drawn := map[string]int{}
		for _, e := range w.log(demo.Bureau) {
			if e.Kind == "batch.block-generated" {
				drawn[fmt.Sprint(e.Data["block"])]++
			}
		}
		if len(drawn) != 1 || drawn["0"] != 1 {
			t.Errorf("blocks were drawn %v times, want each once", drawn)
		}
	})
	t.Run("R18 half destroyed", func(t *testing.T) {
		if why := <-half; why != "" {
			t.Error(why)
		}
		if !sum.Destroyed {
			t.Error("the journey did not end")
		}
	})
	t.Run("R08 the same order, when it is destroyed", func(t *testing.T) {
		var b bytes.Buffer
		if err := w.sealed(demo.Operator, plain(string(must[[]byte](t)(os.ReadFile(w.OrderFile)))))(&b); err != nil {
			t.Fatal(err)
		}
		w.refused(t, "late.inp.pgp", plain(b.String()), `late\.inp\.pgp: this order was taken already, as `+sum.Order+`; it is certified`)
	})
	t.Run("R09 an identity of an order that is destroyed", func(t *testing.T) {
		overlap := listed(t, "12", 504, 505)
		overlap.pairs[0][1] = identity(t, cards-1).ICCID.String()
		w.refused(t, "archived.inp.pgp", w.sealed(demo.Operator, plain(overlap.text())),
			`archived\.inp\.pgp: ICCID `+identity(t, cards-1).ICCID.String()+` of card 1 was issued before`)
	})
	if r := w.balanced(factory.Works{}); r.Certified != 1 || r.Cards != cards {
		t.Errorf("%+v", r)
	}
}

// alarms is how often the bureau's security officer was told of a file.
func (w *works) alarms(t *testing.T) (n int) {
	t.Helper()
	w.ask(demo.Bureau, `SELECT count(*) FROM notice WHERE kind = 'file.refused'`, &n)
	return n
}

// responseAgain gives the operator a response that it has: under its name, which
// is used up, and under another. It is answered once.
func (w *works) responseAgain(t *testing.T) {
	id := w.orders(demo.Operator)[0].ID
	bytesOf := must[[]byte](t)(os.ReadFile(filepath.Join(w.Configs[demo.Operator].Data, "held", id+".out.pgp")))
	spool := must[*edge.Spool](t)(edge.OpenSpool(w.Configs[demo.Bureau].SpoolDir()))
	defer spool.Close()
	put := func(name string) error {
		_, _, err := spool.Put(demo.Operator, name, func(out io.Writer) error { _, err := out.Write(bytesOf); return err })
		return err
	}
	if err := put(id + ".out.pgp"); !errors.Is(err, edge.ErrUsed) {
		t.Errorf("the same file under its own name: %v, want %v", err, edge.ErrUsed)
	}
	if err := put("again.out.pgp"); err != nil {
		t.Fatal(err)
	}
	until(t, "the refusal of the response", func() bool {
		for _, e := range w.log(demo.Operator) {
			if e.Kind == "file.refused" && e.Data["file"] == "again.out.pgp" {
				return strings.Contains(fmt.Sprint(e.Data["reasons"]), "the same file")
			}
		}
		return false
	})
	answered, sealed := 0, 0
	for _, e := range w.log(demo.Operator) {
		if e.Kind == "order.answered" {
			answered++
		}
	}
	for _, e := range w.log(demo.Bureau) {
		if e.Kind == "file.sealed" && e.Data["file"] == id+".out.pgp" {
			sealed++
		}
	}
	if answered != 1 || sealed != 1 {
		t.Errorf("the response was sealed %d times and taken %d times, want once each", sealed, answered)
	}
}

// halfDestroyed waits until the bureau is to destroy, while the plant is away and
// has its copy, restarts the bureau, and brings the plant back. It says what was
// not as it should be.
func (w *works) halfDestroyed() (why string) {
	id := w.orders(demo.Bureau)[0].ID
	until(w.t, "the bureau's destruction", func() bool { return w.view(demo.Bureau, id).State == order.Destroying })
	w.stop(demo.Bureau)
	if err := w.run(demo.Bureau); err != nil {
		return err.Error()
	}
	var certificates int
	w.ask(demo.Bureau, `SELECT count(*) FROM order_paper WHERE kind = 'certificate'`, &certificates)
	v := w.view(demo.Bureau, id)
	if certificates != 0 || v.State != order.Destroying {
		why = fmt.Sprintf("with a copy at the plant the order is %s and has %d certificates, want destroying and none", v.State, certificates)
	}
	var st custody.Status
	err := w.Clients[demo.Bureau].Get(w.ctx, "/proposal?kind=order.destroy&subject=order/"+id, &st)
	if err == nil {
		why += "; its destruction can be asked for again"
	}
	for _, e := range w.log(demo.Bureau) {
		if e.Kind == "certificate.signed" {
			why += "; a certificate is signed"
		}
	}
	if err := w.run(demo.Plant); err != nil {
		why += err.Error()
	}
	return why
}
