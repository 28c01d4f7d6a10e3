// Package plant is the production house: it receives lots of chips and sealed
// batches, lets the line make the cards, reports, and destroys its copy.
package plant

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"ankan/act"
	"ankan/aka"
	"ankan/audit"
	"ankan/custody"
	"ankan/datagen"
	"ankan/exchange"
	"ankan/hsm"
	"ankan/keys"
	"ankan/message"
	"ankan/order"
	"ankan/perso"
	"ankan/profile"
	"ankan/release"
	"ankan/site"
	"ankan/stock"
	"ankan/store"
)

// Part is the role plant.
func Part() site.Part {
	return site.Part{Role: site.Plant, Schemas: []store.Schema{datagen.Schema(), perso.Schema(), release.Schema()}, Open: open}
}

// A plant is a site in this role.
type plant struct {
	*site.Site
	line    *line
	stock   *stock.Book
	reaches reaches
}

func open(_ context.Context, at *site.Site) (site.Duties, error) {
	s := &plant{Site: at, stock: stock.New(at.Store())}
	var err error
	if s.line, err = newLine(at); err != nil {
		return site.Duties{}, err
	}
	d := site.Duties{
		Files: map[message.Kind]site.Handler{
			message.KindOffer:   {From: site.Bureau, Begins: true, Take: s.takeOffer},
			message.KindBatch:   {From: site.Bureau, Begins: true, Take: s.takeBatch},
			message.KindDestroy: {From: site.Bureau, Take: s.takeDestroy},
		},
		Deeds: map[string]site.Deed{
			"lot.accept":    {Propose: s.proposeLot, Do: s.doLot},
			"chip.destroy":  {Propose: s.proposeChips, Do: s.doChips},
			"chip.lost":     {Propose: s.proposeLost, Do: s.doLost},
			"batch.destroy": {Propose: s.proposeEmpty, Do: s.doEmpty},
		},
		Round:  s.round,
		Lost:   s.lost,
		Unlock: s.unlock,
		Routes: map[string]site.Route{
			"GET /v1/runs": {Permission: "line.read", Handler: site.Answer(func(r *http.Request) (any, error) { return perso.Runs(r.Context(), s.Store()) })},
			"GET /v1/runs/{id}": {Permission: "line.read", Handler: site.Answer(func(r *http.Request) (any, error) {
				return s.runView(r.Context(), r.PathValue("id"))
			})},
			"GET /v1/runs/{id}/cards": {Permission: "line.read", Handler: site.Answer(s.getCards)},
			"GET /v1/stations":        {Permission: "line.read", Handler: site.Answer(func(*http.Request) (any, error) { return s.stations() })},
			"GET /v1/lots": {Permission: "lots.read", Handler: site.Answer(func(r *http.Request) (any, error) {
				return s.stock.Lots(r.Context(), "accepted")
			})},
			"POST /v1/lots": {Permission: "lots.add", Handler: site.Answer(s.postLot)},
		},
	}
	maps.Copy(d.Deeds, s.stock.Deeds())
	maps.Copy(d.Routes, s.stockRoutes())
	return d, nil
}

// A RunView is a batch on the line as its site shows it.
type RunView struct {
	perso.Run
	Counts  perso.Counts     `json:"counts"`
	Rejects []perso.Rejected `json:"rejects"`
	Waiting string           `json:"waiting,omitempty"`

	Lost      []perso.Rejected   `json:"lost,omitempty"`
	Doubts    []perso.Doubtful   `json:"doubts,omitempty"`
	Abandoned *order.Abandonment `json:"abandoned,omitempty"` // its bureau gave it up
}

func (s *plant) runView(ctx context.Context, ord string) (RunView, error) {
	r, err := perso.GetRun(ctx, s.Store(), ord)
	if err != nil {
		return RunView{}, err
	}
	v := RunView{Run: r, Waiting: s.Waiting("run " + ord)}
	if v.Abandoned, err = order.WhyAbandoned(s.Store().Committed(ctx), ord); err != nil {
		return v, err
	}
	if r.State == "abandoned" {
		v.Waiting = "its batch is to be destroyed: ankan act request batch.destroy order/" + ord
		if left := s.left(ctx, r); left != nil {
			v.Waiting = left.Error()
		}
	}
	if v.Lost, err = perso.Lost(ctx, s.Store(), ord); err != nil {
		return v, err
	}
	b, err := datagen.Load(ctx, s.Store(), ord)
	if errors.Is(err, datagen.ErrNoBatch) {
		return v, nil
	}
	if err != nil {
		return v, err
	}
	if v.Counts, err = perso.Count(ctx, s.Store(), ord, b.Cards); err != nil {
		return v, err
	}
	if v.Doubts, err = perso.Doubts(ctx, s.Store(), ord); err != nil {
		return v, err
	}
	v.Rejects, err = perso.Rejects(ctx, s.Store(), ord)
	return v, err
}

// getCards is a sample of the cards that a batch made.
func (s *plant) getCards(r *http.Request) (any, error) {
	n, err := strconv.Atoi(r.FormValue("samples"))
	if err != nil || n < 1 || n > 1000 {
		return nil, fmt.Errorf("samples is %q, want 1 to 1000", r.FormValue("samples"))
	}
	return perso.Samples(r.Context(), s.Store(), r.PathValue("id"), n)
}

// ---- batches

func slotKey(ord string) string  { return "slot/" + ord }
func batchKey(ord string) string { return "batch/" + ord }

func (s *plant) takeOffer(ctx context.Context, a *site.Arrival) error {
	var m message.Offer
	if err := a.JSON(&m); err != nil {
		return err
	}
	if m.Order == "" || strings.ContainsAny(m.Order, "/. ") || m.Cards <= 0 || m.Spares < 0 {
		return site.Refused("%s: an offer of %d cards for order %q", a.Name, m.Cards, m.Order)
	}
	if late, err := s.late(ctx, a, m.Order); late || err != nil {
		return err
	}
	if _, err := perso.GetRun(ctx, s.Store(), m.Order); err == nil {
		return site.Refused("%s: order %s was offered already", a.Name, m.Order)
	}
	if _, err := s.product(ctx, m.OS); err != nil {
		return err // not refused: a lot may be accepted any minute
	}
	if err := release.Expect(ctx, s.Store(), s.Config().Country, m.Operator, m.OS); err != nil {
		return err // likewise: its operating system may be approved
	}
	for id, k := range map[string]struct {
		hsm.Purpose
		hsm.Algorithm
	}{slotKey(m.Order): {hsm.Agree, hsm.P521}, batchKey(m.Order): {hsm.Order, hsm.AES256}} {
		if _, err := s.Token().Generate(keys.For(ctx, "order/"+m.Order), id, k.Purpose, k.Algorithm); err != nil && !errors.Is(err, hsm.ErrKeyExists) {
			return fmt.Errorf("key %s: %w", id, err)
		}
	}
	e := audit.Entry{Kind: "batch.offered", Actor: "partner/" + a.Partner, Subject: "order/" + m.Order,
		Data: map[string]any{"operator": m.Operator, "cards": m.Cards, "spares": m.Spares, "profile": m.Profile, "os": m.OS}}
	return s.Store().Change(ctx, e, func(tx *store.Tx) error {
		if err := a.Taken(tx); err != nil {
			return err
		}
		if err := release.Offered(tx, m.Order, m.Operator); err != nil {
			return err
		}
		return perso.Offer(tx, perso.Run{Order: m.Order, Bureau: a.Partner, Agree: slotKey(m.Order), KEK: batchKey(m.Order)})
	})
}

// product finds chips of an accepted lot that take an operating system; of lots
// with chips in the warehouse, if there are any.
func (s *plant) product(ctx context.Context, os string) (perso.Product, error) {
	lots, err := s.stock.Lots(ctx, "accepted")
	if err != nil {
		return perso.Product{}, err
	}
	var found *stock.Lot
	for _, l := range slices.Backward(lots) {
		if l.OS != os {
			continue
		}
		if n, err := s.stock.Ready(ctx, l.Lot); err != nil || n > 0 {
			return productOf(l, err)
		}
		if found == nil {
			found = &l
		}
	}
	if found == nil {
		return perso.Product{}, fmt.Errorf("no accepted lot has chips for %s; receive one: ankan lot receive FILE", os)
	}
	return productOf(*found, nil)
}

// productOf is the chips of a lot.
func productOf(l stock.Lot, err error) (perso.Product, error) {
	if err != nil {
		return perso.Product{}, err
	}
	p := perso.Product{Lot: l.Lot, LotKey: lotKey(l.Lot), Image: l.Image}
	i, digest, err := image(l)
	if err != nil {
		return p, err
	}
	p.Digest = digest
	for _, a := range i.Algorithms {
		p.Algorithms = append(p.Algorithms, aka.Algorithm(a))
	}
	p.Marks, err = l.Marks()
	return p, err
}

// round lets each batch at the plant take its next step.
func (s *plant) round(ctx context.Context, begin site.Begin) error {
	if s.line.hub != nil {
		begin("stations", s.serveStations)
	}
	runs, err := perso.Active(ctx, s.Store())
	if err != nil {
		return err
	}
	steps := map[string]func(context.Context, perso.Run) error{
		"offered": s.sendSlot, "received": s.run, "finished": s.report, "destroying": s.empty, "emptied": s.prove,
	}
	for _, r := range runs {
		if step := steps[r.State]; step != nil {
			begin("run "+r.Order, func(ctx context.Context) error {
				if now, err := perso.GetRun(ctx, s.Store(), r.Order); err != nil || now.State != r.State {
					return err
				}
				return step(ctx, r)
			})
		}
	}
	return nil
}

func (s *plant) sendSlot(ctx context.Context, r perso.Run) error {
	k, err := s.Token().Key(ctx, r.Agree)
	if err != nil {
		return err
	}
	text, err := exchange.MarshalPublicKey(k.Public)
	if err != nil {
		return err
	}
	if err := s.Send(ctx, r.Bureau, r.Order+".slot.pgp", message.JSON(message.Slot{Order: r.Order, Agree: text})); err != nil {
		return err
	}
	return site.ErrIdle // until the batch is here
}

// maxProfile bounds the profile document in a batch, in bytes.
const maxProfile = 4 << 20

func (s *plant) takeBatch(ctx context.Context, a *site.Arrival) error {
	err := a.Read(func(r io.Reader) error { return s.readBatch(ctx, a, bufio.NewReaderSize(r, maxProfile)) })
	if err != nil {
		return err
	}
	return nil
}

func (s *plant) readBatch(ctx context.Context, a *site.Arrival, r *bufio.Reader) error {
	head, err := readBatchHead(a.Name, r)
	if err != nil {
		return err
	}
	if late, err := s.late(ctx, a, head.Order); late || err != nil {
		return err
	}
	run, err := perso.GetRun(ctx, s.Store(), head.Order)
	if errors.Is(err, perso.ErrNoRun) || err == nil && (run.Bureau != a.Partner || run.State != "offered") {
		return site.Refused("%s: order %s is not awaited from %s", a.Name, head.Order, a.Partner)
	}
	if err != nil {
		return err
	}
	document := []byte(head.Profile)
	b := datagen.Batch{Order: head.Order, KEK: run.KEK, Document: document, Cards: head.Cards, Spares: head.Spares, BlockSize: head.BlockSize}
	if b.Profile, err = profile.Parse(head.Order+".profile.yaml", document); err != nil {
		return site.Refused("%s: %v", a.Name, err)
	}
	if p, err := s.product(ctx, head.OS); err == nil { // without chips now, the line says it
		if err := p.Computes(b.Profile); err != nil {
			return site.Refused("%s: %v", a.Name, err)
		}
	}
	if err := s.createBatch(ctx, run, &b, head); err != nil {
		return err
	}
	ctx = keys.For(ctx, "order/"+b.Order)
	dk, err := s.Token().OpenDataKey(ctx, b.KEK, b.Wrapped)
	if err != nil {
		return err
	}
	defer dk.Close()
	if err := datagen.Import(ctx, s.Store(), dk, b, r); err != nil {
		if errors.Is(err, datagen.ErrBlocks) {
			return site.Refused("%s: %v", a.Name, err)
		}
		return err
	}
	e := audit.Entry{Kind: "batch.received", Actor: "partner/" + a.Partner, Subject: "order/" + b.Order,
		Data: map[string]any{"cards": b.Cards, "spares": b.Spares, "blocks": b.Blocks(), "profile": b.Profile.Name, "os": head.OS}}
	return s.Store().Change(ctx, e, func(tx *store.Tx) error {
		if err := a.Taken(tx); err != nil {
			return err
		}
		if err := perso.SetOS(tx, b.Order, head.OS); err != nil {
			return err
		}
		return perso.MoveRun(tx, b.Order, "offered", "received")
	})
}

// readBatchHead reads a batch file up to its blocks.
func readBatchHead(name string, r *bufio.Reader) (message.BatchHead, error) {
	var head message.BatchHead
	line, err := r.ReadSlice('\n')
	if err != nil {
		return head, site.Refused("%s: its first line: %v", name, err)
	}
	if err := message.Read(bytes.NewReader(line), &head); err != nil {
		return head, site.Refused("%s: its first line: %v", name, err)
	}
	if head.Format != message.BatchFormat {
		return head, site.Refused("%s: format is %q, want %q", name, head.Format, message.BatchFormat)
	}
	if head.Cards < 1 || head.Cards > order.MaxQuantity || head.Spares < 0 || head.Spares > order.MaxQuantity || head.BlockSize < 1 {
		return head, site.Refused("%s: %d cards and %d spares in blocks of %d", name, head.Cards, head.Spares, head.BlockSize)
	}
	return head, nil
}

// createBatch takes the data key into the module and records the batch, unless
// a try before this one did.
func (s *plant) createBatch(ctx context.Context, run perso.Run, b *datagen.Batch, head message.BatchHead) error {
	had, err := datagen.Load(ctx, s.Store(), b.Order)
	if err == nil {
		b.Wrapped = had.Wrapped
		return nil
	}
	if !errors.Is(err, datagen.ErrNoBatch) {
		return err
	}
	if b.Wrapped, err = s.Token().TakeDataKey(keys.For(ctx, "order/"+b.Order), run.Agree, head.Given, message.BatchLabel(b.Order), b.KEK); err != nil {
		if !errors.Is(err, hsm.ErrSealed) && !errors.Is(err, hsm.ErrPublicKey) {
			return err // the module's trouble, not the file's
		}
		return site.Refused("order %s: its data key: %v", b.Order, err)
	}
	e := audit.Entry{Kind: "batch.created", Actor: "system:site", Subject: "order/" + b.Order, Data: map[string]any{"cards": b.Cards, "spares": b.Spares}}
	return s.Store().Change(ctx, e, func(tx *store.Tx) error { return datagen.Create(tx, *b) })
}

func (s *plant) report(ctx context.Context, r perso.Run) error {
	if err := s.stock.Ended(ctx, r.Order); err != nil {
		return err
	}
	b, err := datagen.Load(ctx, s.Store(), r.Order)
	if err != nil {
		return err
	}
	counts, err := perso.Count(ctx, s.Store(), r.Order, b.Cards)
	if err != nil {
		return err
	}
	p, err := s.productFor(ctx, r)
	if err != nil {
		return err
	}
	rep := perso.Report{Format: perso.ReportFormat, Order: r.Order, Site: s.Config().Site, Counts: counts, OS: fmt.Sprintf("%x", p.Digest), Rows: counts.Remade + counts.Retired}
	err = s.Send(ctx, r.Bureau, r.Order+".report.pgp", func(w io.Writer) error { return perso.WriteReport(ctx, s.Store(), w, rep) })
	if err != nil {
		return err
	}
	return s.moveRun(ctx, r, "batch.reported", "finished", "reported", nil)
}

func (s *plant) moveRun(ctx context.Context, r perso.Run, kind, from, to string, also func(*store.Tx) error) error {
	e := audit.Entry{Kind: kind, Actor: "system:site", Subject: "order/" + r.Order}
	return s.Store().Change(ctx, e, func(tx *store.Tx) error {
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		return perso.MoveRun(tx, r.Order, from, to)
	})
}

// ---- destruction

func (s *plant) takeDestroy(ctx context.Context, a *site.Arrival) error {
	var m message.DestroyOrder
	if err := a.JSON(&m); err != nil {
		return err
	}
	if m.Abandoned != "" {
		return s.takeAbandon(ctx, a, m)
	}
	run, err := perso.GetRun(ctx, s.Store(), m.Order)
	if err == nil && run.Bureau == a.Partner && run.State == "finished" {
		return fmt.Errorf("%s: the report of order %s is sent and not noted yet; the file is taken then", a.Name, m.Order)
	}
	if errors.Is(err, perso.ErrNoRun) || err == nil && (run.Bureau != a.Partner || run.State != "reported") {
		return site.Refused("%s: order %s is not one that %s may have destroyed now", a.Name, m.Order, a.Partner)
	}
	if err != nil {
		return err
	}
	e := audit.Entry{Kind: "batch.condemned", Actor: "partner/" + a.Partner, Subject: "order/" + m.Order, Data: map[string]any{"act": m.Act}}
	return s.Store().Change(ctx, e, func(tx *store.Tx) error {
		if err := a.Taken(tx); err != nil {
			return err
		}
		return perso.MoveRun(tx, m.Order, "reported", "condemned")
	})
}

func (s *plant) proposeEmpty(ctx context.Context, subject string) (map[string]string, error) {
	ord, err := site.SubjectOf(subject, "order")
	if err != nil {
		return nil, err
	}
	run, err := perso.GetRun(ctx, s.Store(), ord)
	if err != nil {
		return nil, err
	}
	if run.State == "abandoned" {
		err = s.left(ctx, run)
	} else if run.State != "condemned" {
		err = fmt.Errorf("batch %s is %s; its bureau has not asked for its destruction", ord, run.State)
	}
	if err != nil {
		return nil, err
	}
	b, err := datagen.Load(ctx, s.Store(), ord)
	if err != nil && (run.State != "abandoned" || !errors.Is(err, datagen.ErrNoBatch)) {
		return nil, err
	}
	params := map[string]string{"bureau": run.Bureau, "keys": run.KEK + " " + run.Agree, "blocks": "0", "cards": strconv.Itoa(b.Cards)}
	if err == nil {
		params["blocks"] = strconv.Itoa(b.Blocks())
	}
	return params, s.showAbandoned(ctx, run, params)
}

// showAbandoned adds why a batch was abandoned to what people sign for, and what
// of it is not here.
func (s *plant) showAbandoned(ctx context.Context, run perso.Run, params map[string]string) error {
	gone, err := order.WhyAbandoned(s.Store().Committed(ctx), run.Order)
	if err != nil || gone == nil {
		return err
	}
	_, out, err := s.stock.Whereabouts(ctx, run.Order)
	if err != nil {
		return err
	}
	params["abandoned"], params["cards_out"] = gone.Why, strconv.Itoa(len(out))
	for _, id := range []string{run.KEK, run.Agree} {
		if _, err := s.DescribeKey(ctx, id); errors.Is(err, hsm.ErrNoKey) {
			params["not_here"] = strings.TrimSpace(params["not_here"] + " " + id)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (s *plant) doEmpty(ctx context.Context, w custody.Warrant) error {
	ord, err := site.SubjectOf(w.Act().Subject, "order")
	if err != nil {
		return err
	}
	run, err := perso.GetRun(ctx, s.Store(), ord)
	if err != nil {
		return err
	}
	st, err := s.Desk().Get(ctx, w.Act().ID)
	if err != nil {
		return err
	}
	proof := message.DestroyProof{Order: ord, Site: s.Config().Site, Act: st.Digest}
	if run.State == "abandoned" {
		_, out, err := s.stock.Whereabouts(ctx, ord)
		if err != nil {
			return err
		}
		proof.Out = len(out)
	}
	for _, id := range []string{run.KEK, run.Agree} {
		k, err := s.DescribeKey(ctx, id)
		if errors.Is(err, hsm.ErrNoKey) && run.State == "abandoned" {
			continue // it was never made, or is gone: the act says so
		}
		if err != nil {
			return err
		}
		proof.Keys = append(proof.Keys, k)
	}
	for _, sig := range st.Signatures {
		if sig.Verb == act.Approve {
			who, err := s.People().Person(ctx, sig.Person)
			if err != nil {
				return err
			}
			proof.Approvers = append(proof.Approvers, who.ID+" "+who.Roles[0])
		}
	}
	return w.Use(ctx, "batch.destroy", w.Act().Subject, nil, func(tx *store.Tx) error {
		if err := setProof(tx, ord, proof); err != nil {
			return err
		}
		if run.State == "abandoned" {
			if err := stock.Finish(tx, ord, s.counts()); err != nil {
				return err
			}
		}
		return perso.MoveRun(tx, ord, run.State, "destroying")
	})
}

func setProof(tx *store.Tx, ord string, p message.DestroyProof) error {
	doc, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return perso.SetProof(tx, ord, doc)
}

// empty erases the batch's keys in the module and its blocks in the database.
func (s *plant) empty(ctx context.Context, r perso.Run) error {
	var proof message.DestroyProof
	if err := json.Unmarshal(r.Proof, &proof); err != nil {
		return err
	}
	if err := s.DestroyKeys(ctx, proof.Keys); err != nil {
		return err
	}
	switch b, err := datagen.Load(ctx, s.Store(), r.Order); {
	case err == nil:
		proof.Blocks = b.Blocks()
	case !errors.Is(err, datagen.ErrNoBatch): // of an abandoned order it may not have come
		return err
	}
	s.reaches.forget(r.Order)
	if err := datagen.Wipe(ctx, s.Store(), r.Order); err != nil {
		return err
	}
	return s.moveRun(ctx, r, "batch.emptied", "destroying", "emptied", func(tx *store.Tx) error {
		tx.Note("keys", len(proof.Keys))
		tx.Note("blocks", proof.Blocks)
		proof.LogIndex, proof.At = tx.Index(), tx.Time()
		for i := range proof.Keys {
			proof.Keys[i].At = proof.At
		}
		if err := datagen.Delete(tx, r.Order); err != nil {
			return err
		}
		return setProof(tx, r.Order, proof)
	})
}

// prove clears what deletion leaves behind and sends the proof.
func (s *plant) prove(ctx context.Context, r perso.Run) error {
	if err := s.Store().Scrub(ctx); err != nil {
		return err
	}
	err := s.Send(ctx, r.Bureau, r.Order+".destroyed.pgp", func(w io.Writer) error {
		_, err := w.Write(r.Proof)
		return err
	})
	if err != nil {
		return err
	}
	return s.moveRun(ctx, r, "batch.closed", "emptied", "closed", nil)
}
