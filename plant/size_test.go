package plant

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ankan/bureau"
	"ankan/datagen"
	"ankan/hsm"
	"ankan/message"
	"ankan/order"
	"ankan/perso"
	"ankan/profile"
	"ankan/sim"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/stock"
	"ankan/store"
)

// The batch of TestSize. Two million take some minutes and 3 GB of disk:
//
//	go test ./plant -run TestSize -timeout 3h -v -args -cards 2000000
var sizeCards = flag.Int("cards", 6_000, "cards of TestSize")

// mostMemory is what one process may have resident, with a plant and the bureau
// that draws for it in it, whatever the batch's size.
const mostMemory = 256 << 20

// TestSize takes a batch from its file to its destruction, all but the cards
// themselves, whose rows are written as the line writes them, and looks at the
// memory of the process, which is one of its own for that.
func TestSize(t *testing.T) {
	if !sitetest.OwnProcess(t, "-cards", strconv.Itoa(*sizeCards)) {
		return
	}
	r := newSizeRig(t, *sizeCards)
	r.at("keys drawn, file sealed")
	if err := sitetest.Hand(t, r.maker, r.Site, r.ord+".batch.pgp"); err != nil {
		t.Fatal(err)
	}
	r.at("batch taken in")

	good, remade, retired := r.make()
	r.at("cards in the books")
	view := sitetest.Must[RunView](t)(r.runView(t.Context(), r.ord))
	if c := view.Counts; c.Good != good || c.Remade != remade || c.Retired != retired || c.Destroyed != remade+retired || c.Waiting != 0 || len(view.Rejects) != 0 {
		t.Fatalf("%+v; want %d good, %d of them remade, %d retired", c, good, remade, retired)
	}
	sitetest.Change(t, r.Site, func(tx *store.Tx) error { return stock.Finish(tx, r.ord, true) })
	r.at("stock settled")

	// A box by numbers, and one by what was scanned, from all over the order.
	r.box(fmt.Sprintf(`{"box": "BX-1", "order": %q, "from": 1, "to": 401}`, r.ord))
	r.at("a box of 400")
	var scanned []string
	for i := range 200 {
		if card := 401 + i*(r.cards-401)/200; card%1000 != 0 {
			scanned = append(scanned, r.identity(card).ICCID.String())
		}
	}
	list := string(sitetest.Must[[]byte](t)(json.Marshal(scanned)))
	r.box(fmt.Sprintf(`{"box": "BX-2", "order": %q, "iccids": %s}`, r.ord, list))
	r.at("a box of cards from all over the order")
	r.refused(`{"box": "BX-3", "order": "`+r.ord+`", "iccids": ["`+stranger+`"]}`, "are not of order")
	r.refused(fmt.Sprintf(`{"box": "BX-3", "order": %q, "from": 0, "to": 10001}`, r.ord), "want 1 to 10000")
	r.refused(fmt.Sprintf(`{"box": "BX-3", "order": %q, "from": 400, "to": 402}`, r.ord), "is in box BX-1")
	r.print()
	r.at("boxes refused, some printed")

	r.report(good, remade, retired)
	r.at("report read")
	if wrong, err := perso.Recount(r.Store().Committed(t.Context())); err != nil || len(wrong) > 0 {
		t.Errorf("%v, %v", wrong, err)
	}
	r.at("every card counted")
	if _, err := r.stock.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if wrong, err := stock.Recount(r.Store().Committed(t.Context())); err != nil || len(wrong) > 0 {
		t.Errorf("%v, %v", wrong, err)
	}

	proof := sitetest.Must[[]byte](t)(json.Marshal(message.DestroyProof{Order: r.ord}))
	sitetest.Change(t, r.Site, func(tx *store.Tx) error {
		var errs []error
		for from, to := range map[string]string{"received": "finished"} {
			errs = append(errs, perso.MoveRun(tx, r.ord, from, to))
		}
		return errors.Join(append(errs, perso.MoveRun(tx, r.ord, "finished", "reported"), perso.MoveRun(tx, r.ord, "reported", "condemned"),
			perso.SetProof(tx, r.ord, proof), perso.MoveRun(tx, r.ord, "condemned", "destroying"))...)
	})
	if err := r.empty(t.Context(), sitetest.Must[perso.Run](t)(perso.GetRun(t.Context(), r.Store(), r.ord))); err != nil {
		t.Fatal(err)
	}
	if n := sitetest.Must[int](t)(datagen.Have(t.Context(), r.Store(), r.ord)); n != 0 {
		t.Errorf("%d blocks are left", n)
	}
	if err := r.Store().Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.at("wiped")
	if peak := sitetest.Peak(t); peak > mostMemory {
		t.Errorf("the process had %d MiB resident, want at most %d", peak>>20, mostMemory>>20)
	}
}

type sizeRig struct {
	*testing.T
	*plant
	maker *site.Site
	ord   string
	cards int
	at    func(stage string)
}

// stranger is an ICCID of no card of the order.
var stranger = func() string {
	id, err := sim.ICCIDFromBody("899199999999999999")
	if err != nil {
		panic(err)
	}
	return id.String()
}()

const sizeSpares = 10 // of a thousand

// newSizeRig is a plant that waits for the batch of an order, and a bureau that
// has put it into its spool.
func newSizeRig(t *testing.T, cards int) *sizeRig {
	t.Helper()
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	key := sitetest.Must[hsm.Key](t)
	all := []site.Part{Part(), bureau.Part()}
	a, b := sitetest.Config(t, "maker", site.Bureau), sitetest.Config(t, "plant", site.Plant)
	ta, tb := sitetest.Init(t, a, all...), sitetest.Init(t, b, all...)
	a.Partners, b.Partners = []string{b.CardFile()}, []string{a.CardFile()}
	maker, at := sitetest.Open(t, a, ta, all...), sitetest.Open(t, b, tb, all...)
	r := &sizeRig{T: t, plant: &plant{Site: at, stock: stock.New(at.Store())}, maker: maker, ord: "op-1", cards: cards, at: sitetest.Watch(t)}

	// The bureau draws.
	ctx := t.Context()
	key(maker.Token().Generate(ctx, "order/op-1", hsm.Order, hsm.AES256))
	key(maker.Token().Generate(ctx, "the-op", hsm.Operator, hsm.AES128))
	dk, wrapped, err := maker.Token().NewDataKey(ctx, "order/op-1")
	must(err)
	dk.Close()
	doc := []byte(sitetest.Must[*profile.Profile](t)(profile.Builtin("in-5g-usim")).String())
	drawn := datagen.Batch{Order: r.ord, KEK: "order/op-1", Wrapped: wrapped, Document: doc, Profile: sitetest.Must[*profile.Profile](t)(profile.Parse("p.yaml", doc)),
		Cards: cards, Spares: max(1, cards*sizeSpares/1000), BlockSize: datagen.BlockSize}
	sitetest.Change(t, maker, func(tx *store.Tx) error { return datagen.Create(tx, drawn) })
	op, err := maker.Token().OP(ctx, "the-op")
	must(err)
	defer op.Close()
	ledger := sitetest.Must[*order.Ledger](t)(order.NewLedger(maker.Token(), "ledger"))
	g := datagen.Generator{Store: maker.Store(), Token: maker.Token(), Ledger: ledger, OP: op}
	must(g.Run(ctx, drawn, func(ids []sim.Identity, first int) error {
		for i := range ids {
			ids[i] = r.identity(first + i)
		}
		return nil
	}, nil))

	// The plant awaits it.
	agree := key(at.Token().Generate(ctx, slotKey(r.ord), hsm.Agree, hsm.P521))
	key(at.Token().Generate(ctx, batchKey(r.ord), hsm.Order, hsm.AES256))
	sitetest.Change(t, at, func(tx *store.Tx) error {
		return perso.Offer(tx, perso.Run{Order: r.ord, Bureau: "maker", Agree: slotKey(r.ord), KEK: batchKey(r.ord)})
	})
	given, err := maker.Token().GiveDataKey(ctx, drawn.KEK, drawn.Wrapped, agree.Public.(*ecdsa.PublicKey), message.BatchLabel(r.ord))
	must(err)
	head := message.BatchHead{Format: message.BatchFormat, Order: r.ord, Cards: cards, Spares: drawn.Spares, BlockSize: drawn.BlockSize, OS: "reference 1.0", Profile: string(doc), Given: given}
	must(maker.Send(ctx, "plant", r.ord+".batch.pgp", func(w io.Writer) error {
		return errors.Join(message.JSON(head)(w), datagen.Export(ctx, maker.Store(), drawn, w))
	}))
	return r
}

// identity is what a card of the order carries: ranges of fifty, each a thousand
// after the one before it, the last first.
func (r *sizeRig) identity(card int) sim.Identity {
	r.Helper()
	n := uint64((r.cards-1-card)/50*1000 + card%50)
	iccid, err := sim.ICCIDFromBody(fmt.Sprintf("89919990%010d", n))
	imsi, err2 := sim.ParseIMSI(fmt.Sprintf("40499%010d", n))
	if err := errors.Join(err, err2); err != nil {
		r.Fatal(err)
	}
	return sim.Identity{ICCID: iccid, IMSI: imsi}
}

// make writes the line's books: of a thousand cards five are made again with the
// keys of spares, and one more is retired.
func (r *sizeRig) make() (good, remade, retired int) {
	r.Helper()
	const perChange = 20_000
	for first := 0; first < r.cards; first += perChange {
		sitetest.Change(r.T, r.Site, func(tx *store.Tx) error {
			for card := first; card < min(first+perChange, r.cards); card++ {
				bad := card%1000 < 6
				state, reason := "good", ""
				if bad {
					state, reason = "destroyed", "status"
				}
				if err := put(tx, r.ord, card, card, state, reason); err != nil {
					return err
				}
				switch {
				case !bad:
				case card%1000 == 0:
					if _, err := tx.Exec(`INSERT INTO retired (ord, card) VALUES ($1, $2)`, r.ord, card); err != nil {
						return err
					}
					retired++
					continue
				default:
					if err := put(tx, r.ord, card, r.cards+remade, "good", ""); err != nil {
						return err
					}
					remade++
				}
				good++
			}
			return nil
		})
	}
	sitetest.Change(r.T, r.Site, func(tx *store.Tx) error {
		var errs []error
		for _, way := range [][2]string{{"maker", "store"}, {"store", "line"}} {
			_, err := tx.Exec(`INSERT INTO stock_posting (entry, at, actor, why, act, lot, ord, source, destination, n) VALUES ($1, $2, 'test', '', '', 'L1', $3, $4, $5, $6)`,
				tx.Index(), store.Stamp(tx.Time()), r.ord, way[0], way[1], r.cards+remade)
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	return good, remade, retired
}

func put(tx *store.Tx, ord string, card, keyset int, state, reason string) error {
	// As the line does: the intent, then the outcome.
	_, err := tx.Exec(`INSERT INTO card (ord, card, keyset, chip, lot, state, tries, reason, station, at) VALUES ($1, $2, $3, $4, 'L1', 'doubt', 0, '', 's', $5)`,
		ord, card, keyset, fmt.Sprintf("%016x", uint64(keyset)*0x9E3779B97F4A7C15), store.Stamp(tx.Time()))
	if err == nil {
		_, err = tx.Exec(`UPDATE card SET state = $1, tries = 1, reason = $2 WHERE ord = $3 AND keyset = $4 AND state = 'doubt'`, state, reason, ord, keyset)
	}
	return err
}

// ask asks the plant's own route, which finds cards as at work.
func (r *sizeRig) ask(answer site.Answer, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	q := httptest.NewRequest(method, path, strings.NewReader(body))
	q.SetPathValue("id", r.ord)
	answer.ServeHTTP(w, q)
	return w
}

func (r *sizeRig) box(body string) {
	r.Helper()
	if w := r.ask(r.postBox, "POST", "/v1/boxes", body); w.Code != http.StatusOK {
		r.Fatalf("%.200s: %d %s", body, w.Code, w.Body)
	}
}

func (r *sizeRig) refused(body, why string) {
	r.Helper()
	if w := r.ask(r.postBox, "POST", "/v1/boxes", body); w.Code == http.StatusOK || !strings.Contains(w.Body.String(), why) {
		r.Errorf("%.200s: %d %s, want %q", body, w.Code, w.Body, why)
	}
}

// print asks for what is printed on some cards, and compares it with what is in
// them; and for more than one file has, from outside the order, and with no
// reference.
func (r *sizeRig) print() {
	r.Helper()
	w := r.ask(r.getPrint, "GET", fmt.Sprintf("/v1/runs/x/print?artwork=AW-7&from=%d&to=%d", r.cards-3, r.cards), "")
	var d site.Document
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || w.Code != http.StatusOK {
		r.Fatalf("%d %s", w.Code, w.Body)
	}
	lines := strings.Split(strings.TrimSpace(string(d.Content)), "\n")
	if id := r.identity(r.cards - 1).ICCID.String(); len(lines) != 4 || !strings.HasSuffix(lines[3], ","+id+",AW-7") || !strings.HasPrefix(lines[3], fmt.Sprint(r.cards-1)+",") {
		r.Errorf("printed %q", lines)
	}
	for query, why := range map[string]string{"from=-1&to=5": "cards -1 to 5", "from=5&to=5": "cards 5 to 5", fmt.Sprintf("to=%d", r.cards+1): "it has", "from=x": "invalid syntax"} {
		if w := r.ask(r.getPrint, "GET", "/v1/runs/x/print?artwork=AW-7&"+query, ""); w.Code == http.StatusOK || !strings.Contains(w.Body.String(), why) {
			r.Errorf("%s: %d %s, want %q", query, w.Code, w.Body, why)
		}
	}
	if r.cards > mostPrinted {
		if w := r.ask(r.getPrint, "GET", "/v1/runs/x/print?artwork=AW-7", ""); !strings.Contains(w.Body.String(), "--from 0 --to 250000") {
			r.Errorf("all cards in one file: %d %s", w.Code, w.Body)
		}
	}
	one, two := r.identity(7).ICCID.String(), r.identity(r.cards-1).ICCID.String()
	w = r.ask(r.postScan, "POST", "/v1/runs/x/scan", "iccid,printed\n"+one+","+one+"\n"+two+","+one+"\n"+stranger+","+stranger+"\n")
	var scan Scan
	if err := json.Unmarshal(w.Body.Bytes(), &scan); err != nil || scan.Cards != 3 || len(scan.Mismatches) != 2 || scan.Mismatches[0].Card != r.cards-1 || scan.Mismatches[1].Card != -1 {
		r.Errorf("%d %s, %v", w.Code, w.Body, err)
	}
}

// report writes the report and reads it as the bureau does.
func (r *sizeRig) report(good, remade, retired int) {
	r.Helper()
	counts := sitetest.Must[perso.Counts](r.T)(perso.Count(r.Context(), r.Store(), r.ord, r.cards))
	rep := perso.Report{Format: perso.ReportFormat, Order: r.ord, Site: "plant", Counts: counts, OS: "00", Rows: counts.Remade + counts.Retired}
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(perso.WriteReport(context.WithoutCancel(r.Context()), r.Store(), pw, rep)) }()
	rows := 0
	got, err := perso.ParseReport(pr, func(int, int) error { rows++; return nil })
	if err != nil || rows != remade+retired || got.Counts.Good != good {
		r.Errorf("%d rows, %+v, %v", rows, got, err)
	}
}

// More chips than one act can take are destroyed by several acts, rejects first.
func TestManyRejects(t *testing.T) {
	at := sitetest.New(t, "plant", site.Plant, Part())
	s := &plant{Site: at, stock: stock.New(at.Store()), line: sitetest.Must[*line](t)(newLine(at))}
	sitetest.Change(t, at, func(tx *store.Tx) error {
		if err := perso.Offer(tx, perso.Run{Order: "A1", Bureau: "b", Agree: "a", KEK: "k"}); err != nil {
			return err
		}
		for card := range 25 {
			if err := put(tx, "A1", card, card, "reject", "status"); err != nil {
				return err
			}
		}
		_, err := tx.Exec(`INSERT INTO card (ord, card, keyset, chip, lot, state, tries, reason, station, at) VALUES ('A1', 9000, 9000, 'ff', 'L1', 'doubt', 0, '', 's', '')`)
		return err
	})
	first, doubts, err := s.condemned(t.Context(), "A1", 20)
	if err != nil || len(first) != 20 || doubts != 0 {
		t.Errorf("%d chips, %d in doubt, %v", len(first), doubts, err)
	}
	sitetest.Change(t, at, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE card SET state = 'destroyed' WHERE card < 20`)
		return err
	})
	params := sitetest.Must[map[string]string](t)(s.proposeChips(t.Context(), "order/A1"))
	if params["count"] != "6" || params["in_doubt"] != "1" {
		t.Errorf("%v", params)
	}
	rest, doubts, err := s.condemned(t.Context(), "A1", 20)
	if err != nil || doubts != 1 || slices.ContainsFunc(rest, func(c string) bool { return slices.Contains(first, c) }) || rest[5] != "ff" {
		t.Errorf("%v, %d in doubt, %v", rest, doubts, err)
	}
}
