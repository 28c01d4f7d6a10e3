package stock

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"ankan/act"
	"ankan/keys"
	"ankan/store"
)

// proof is an act of a site as its requester signed it.
func (h *house) proof(kind, subject, by string) keys.FormAnswer {
	h.Helper()
	w, err := h.warrant(kind, subject, by, officer)
	h.must(err)
	st, err := h.desk.Get(h.Context(), w.Act().ID)
	h.must(err)
	for _, sig := range st.Signatures {
		if sig.Verb == act.Request {
			who := act.Person{ID: by, Name: "Person " + by, Credential: h.keys[by].Credential}
			return keys.FormAnswer{Act: string(st.Act.Canonical()), Signature: sig, Person: who}
		}
	}
	h.Fatal("nobody asked")
	return keys.FormAnswer{}
}

// shipped is a plant that sent boxes B-1 with 30 cards and B-2 with 20 to "op",
// by the partner "bureau", and the first part of their form.
func shipped(t *testing.T) (*house, Advice) {
	t.Helper()
	h := newHouse(t)
	h.accepted("L1", 100)
	h.run("A1")
	h.must(h.do("stock.move", "move/store/line/L1/A1/50/issue", warehouse, lead))
	h.made("A1", "good", 0, 50)
	h.must(h.finish("A1", false))
	h.must(h.book.Fill(t.Context(), "test", Box{ID: "B-1", Order: "A1"}, h.iccids(0, 30)))
	h.must(h.book.Fill(t.Context(), "test", Box{ID: "B-2", Order: "A1"}, h.iccids(30, 20)))
	h.must(h.do("box.close", "box/B-1/30/S-1", warehouse, lead))
	h.must(h.do("box.close", "box/B-2/20/S-2", warehouse, lead))
	h.must(h.book.Draft(t.Context(), "test", Shipment{Number: "SH-1", Consignee: "Demo Mobile", Carrier: "van 4", Seal: "T-9", Operator: "op", Via: "bureau"}, []string{"B-1", "B-2"}))
	waits, err := h.book.ToAdvise(t.Context())
	h.must(err)
	if len(waits) != 0 {
		t.Fatal("a draft is advised")
	}
	handed := h.proof("shipment.send", "shipment/SH-1", warehouse)
	a, err := act.Parse([]byte(handed.Act))
	h.must(err)
	w, err := h.desk.Warrant(t.Context(), a.ID)
	h.must(err)
	h.must(h.deeds["shipment.send"].Do(t.Context(), w))
	waits, err = h.book.ToAdvise(t.Context())
	h.must(err)
	if len(waits) != 1 || waits[0].Act != a.ID {
		t.Fatalf("%+v", waits)
	}
	h.must(h.change(waits[0].Left))
	if waits, err = h.book.ToAdvise(t.Context()); err != nil || len(waits) != 0 {
		t.Fatal("advised twice", err)
	}
	sh, err := h.book.Shipment(t.Context(), "SH-1")
	h.must(err)
	advice := sh.Advice("plant", handed)
	h.must(advice.Check())
	return h, advice
}

func (h *house) advised(partner, state string, a Advice, ordered int) error {
	return h.change(func(tx *store.Tx) error {
		return h.book.Advised(h.Context(), tx, partner, state, a, map[string]int{"A1": ordered})
	})
}

func (h *house) answered(partner, number string, an keys.FormAnswer) error {
	return h.change(func(tx *store.Tx) error {
		return h.book.TakeAnswer(h.Context(), tx, partner, "plant", number, an)
	})
}

// A shipment is advised, counted blind and answered; a box that lacks a card and
// a broken seal are open on both sides, and the rest is the operator's at once.
func TestDelivery(t *testing.T) {
	plant, advice := shipped(t)
	op := newHouseAt(t, "op")
	for _, state := range []string{Announced, Passing} {
		op.refused("more than were ordered", op.advised("bureau", state, advice, 49), "with it 50 cards of order A1 are sent, 49 were ordered")
	}
	op.must(op.advised("bureau", Announced, advice, 50))
	if op.told(warehouse, "delivery.announced") != 1 {
		t.Error("nobody was told")
	}
	op.refused("advised twice", op.advised("bureau", Announced, advice, 50), "it was advised before")
	again := advice
	again.Number = "SH-2"
	op.refused("a box that came", op.advised("bureau", Announced, again, 100), "box B-1 came with shipment SH-1")

	d, err := op.book.Delivery(t.Context(), "plant", "SH-1")
	op.must(err)
	blind := d.Blind()
	if blind.Cards != 0 || blind.Boxes[0] != (AdvisedBox{Box: "B-1", Seal: "S-1", Order: "A1"}) || blind.Handed.Act != "" || d.Boxes[0].Cards != 30 {
		t.Errorf("whoever counts is shown %+v", blind)
	}
	const ref = "delivery/plant/SH-1/"
	for subject, want := range map[string]string{
		"delivery/plant/SH-1":                           "is not delivery/SITE/NUMBER/SEAL",
		"delivery/plant/SH-9/whole/B-1:30:whole":        `shipment "SH-9" of "plant" is not here`,
		ref + "intact/B-1:30:whole,B-2:20:whole":        `a seal is "intact"`,
		ref + "whole/B-1:30:whole":                      "1 boxes were looked at, the form has 2",
		ref + "whole/B-2:20:whole,B-1:30:whole":         "box 1 of the finding is B-2, of the form B-1",
		ref + "whole/B-1:30:whole,B-1:20:whole":         "box 2 of the finding is B-1, of the form B-2",
		ref + "whole/B-1:030:whole,B-2:20:whole":        "want a number",
		ref + "whole/B-1:30:whole,B-2:20":               "want BOX:CARDS:whole or BOX:CARDS:broken",
		ref + "whole/B-1:30:whole,B-2:20:torn":          `a seal is "torn"`,
		ref + "whole/" + strings.Repeat(",", mostBoxes): "more than 200 boxes",
		ref + "whole/B 1:30:whole,B-2:20:whole":         "box is",
		"delivery/nobody/SH-1/whole/B-1:30:whole":       `of "nobody" is not here`,
	} {
		_, err := op.deeds["delivery.receive"].Propose(t.Context(), subject)
		op.refused(subject, err, want)
	}
	shown, err := op.deeds["delivery.receive"].Propose(t.Context(), ref+"whole/B-1:30:whole,B-2:19:broken")
	op.must(err)
	if shown["cards"] != "49" || shown["broken"] != "1" || shown["boxes"] != "2" {
		t.Errorf("%v", shown)
	}
	op.refused("received by one", op.do("delivery.receive", ref+"whole/B-1:30:whole,B-2:19:broken", warehouse), "")
	answer := op.proof("delivery.receive", ref+"whole/B-1:30:whole,B-2:19:broken", warehouse)
	signed, err := act.Parse([]byte(answer.Act))
	op.must(err)
	w, err := op.desk.Warrant(t.Context(), signed.ID)
	op.must(err)
	op.must(op.deeds["delivery.receive"].Do(t.Context(), w))
	op.refused("received twice", op.do("delivery.receive", ref+"whole/B-1:30:whole,B-2:20:whole", warehouse, officer), "it is received, want announced")
	if d, err = op.book.Delivery(t.Context(), "plant", "SH-1"); err != nil || d.Found == nil || d.Blind().Cards != 50 || d.Shipment().Got != 49 {
		t.Errorf("%+v, %v", d, err)
	}
	open, err := op.book.Discrepancies(t.Context(), Open)
	op.must(err)
	if len(open) != 2 || open[1].Subject != "delivery/plant/SH-1/B-2" || open[1].Book != 20 || open[1].Found != 19 || open[0].Subject != "seal/plant/SH-1/B-2" || op.told(officer, "stock.differs") != 2 {
		t.Errorf("%+v", open)
	}
	op.must(op.do("discrepancy.explain", "discrepancy/1/the plant was told", warehouse))
	op.must(op.do("discrepancy.close", "discrepancy/1", lead, officer))

	// The answer goes through a bureau, which takes only that of what it passed on.
	bureau := newHouseAt(t, "bureau")
	back := func(partner, number string) error {
		return bureau.change(func(tx *store.Tx) error { return bureau.book.Returned(tx, partner, "plant", number, answer) })
	}
	bureau.refused("of nothing", back("op", "SH-1"), "none of this number is awaited from op")
	bureau.must(bureau.advised("plant", Passing, advice, 50))
	if all, err := bureau.book.Deliveries(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("what is passed on is shown: %v, %v", all, err)
	}
	bureau.refused("from another", back("other", "SH-1"), "none of this number is awaited from other")
	bureau.must(back("op", "SH-1"))
	bureau.refused("twice", back("op", "SH-1"), "none of this number is awaited from op")

	bureau.refused("from a state that is over", bureau.change(func(tx *store.Tx) error { return Delivery{Advice: advice, State: Passing}.Move(tx, Passed, nil) }), "it is not passing any more")

	// At the plant.
	plant.refused("of no shipment", plant.answered("bureau", "SH-9", answer), "none of this number is awaited from bureau")
	plant.refused("from another partner", plant.answered("other", "SH-1", answer), "none of this number is awaited from other")
	plant.has(Shipped, "L1", "A1", 50)
	plant.must(plant.answered("bureau", "SH-1", answer))
	plant.refused("twice", plant.answered("bureau", "SH-1", answer), "it is received already")
	plant.has(Shipped, "L1", "A1", 20)
	plant.has(Operator, "L1", "A1", 30)
	sh, err := plant.book.Shipment(t.Context(), "SH-1")
	plant.must(err)
	if sh.State != Accepted || sh.Receiver != "Person "+warehouse || sh.Got != 49 || sh.Boxes[0].State != BoxReceived || sh.Boxes[1].State != BoxShipped || plant.told(officer, "stock.differs") != 2 {
		t.Errorf("%+v", sh)
	}
	if open, err = plant.book.Discrepancies(t.Context(), Open); err != nil || len(open) != 2 || open[1].Subject != "shipment/SH-1/B-2" || open[0].Subject != "seal/SH-1/B-2" {
		t.Fatalf("%+v, %v", open, err)
	}
	plant.must(plant.do("discrepancy.explain", "discrepancy/1/lost on the way", warehouse))
	plant.must(plant.do("discrepancy.close", "discrepancy/1", lead, officer))
	plant.has(Operator, "L1", "A1", 49)
	plant.has(Missing, "L1", "A1", 1)
	plant.has(Shipped, "L1", "A1", 0)
	plant.check()
}

// What is wrong with an advice by itself is refused.
func TestAdviceRefused(t *testing.T) {
	h, good := shipped(t)
	for want, spoil := range map[string]func(*Advice){
		"its number is":                     func(a *Advice) { a.Number = "SH/1" },
		`from site "Plant"`:                 func(a *Advice) { a.Site = "Plant" },
		`to "plant"`:                        func(a *Advice) { a.Operator = "plant" },
		`to "op" at`:                        func(a *Advice) { a.Sent = time.Time{} },
		"consignee is":                      func(a *Advice) { a.Consignee = "" },
		"carrier is":                        func(a *Advice) { a.Carrier = "a\nb" },
		`seal is ""`:                        func(a *Advice) { a.Seal = "" },
		"0 boxes":                           func(a *Advice) { a.Boxes = nil },
		"201 boxes":                         func(a *Advice) { a.Boxes = make([]AdvisedBox, mostBoxes+1) },
		"box B-1 or its seal S-2 is there":  func(a *Advice) { a.Boxes[1].Box = "B-1" },
		"box B-2 or its seal S-1 is there":  func(a *Advice) { a.Boxes[1].Seal = "S-1" },
		"order is":                          func(a *Advice) { a.Boxes[1].Order = "" },
		"box B-1: ICCID":                    func(a *Advice) { a.Boxes[0].First = "1" },
		"box B-1: 31 cards":                 func(a *Advice) { a.Boxes[0].Cards++ },
		"box B-1: 0 cards":                  func(a *Advice) { a.Boxes[0].Cards = 0 },
		"box B-1: 30 cards from":            func(a *Advice) { a.Boxes[0].First, a.Boxes[0].Last = a.Boxes[0].Last, a.Boxes[0].First },
		"hold 50 cards together, it says 5": func(a *Advice) { a.Cards = 5 },
		"hold 49 cards together":            func(a *Advice) { a.Boxes[0].Cards-- },
		"this is not the list":              func(a *Advice) { a.Boxes[0].Seal = "S-7" },
		`signed: digest`:                    func(a *Advice) { a.Operator = "other" },
		"shipment.send of shipment/SH-1 at": func(a *Advice) { a.Number = "SH-2" },
		"want shipment.send of shipment/SH-1 at bureau": func(a *Advice) { a.Site = "bureau" },
		"act:":                         func(a *Advice) { a.Handed.Act = "{}" },
		"the act has 65537 bytes":      func(a *Advice) { a.Handed.Act = strings.Repeat(" ", mostProof+1) },
		`signed by 2001`:               func(a *Advice) { a.Handed.Person.ID = lead },
		`signed by 2002, ""`:           func(a *Advice) { a.Handed.Person.Name = "" },
		"person 2002: ":                func(a *Advice) { a.Handed.Person.Credential = h.keys[lead].Credential },
		`the signature says "approve"`: func(a *Advice) { a.Handed.Signature.Verb = act.Approve },
	} {
		a := good
		a.Boxes = append([]AdvisedBox(nil), good.Boxes...)
		spoil(&a)
		h.refused(want, a.Check(), want)
	}
	h.must(good.Check())
	// A second part over another list, or of another act.
	op := newHouseAt(t, "op")
	op.must(op.advised("plant", Announced, good, 50))
	an := op.proof("delivery.receive", "delivery/plant/SH-1/whole/B-1:30:whole,B-2:20:whole", warehouse)
	other := good
	other.Seal = "T-8"
	_, err := other.CheckAnswer(an)
	h.refused("another list", err, "signed for the list with digest")
	_, err = good.CheckAnswer(good.Handed)
	h.refused("another act", err, "want delivery.receive of delivery/plant/SH-1 at op")
	other.Boxes = good.Boxes[:1]
	_, err = other.CheckAnswer(an)
	h.refused("another number of boxes", err, "2 boxes were looked at, the form has 1")
}

// A box's cards are posted by the lots that they are of.
func TestBoxOfTrueLot(t *testing.T) {
	h := newHouse(t)
	h.accepted("L1", 30)
	h.accepted("L2", 30)
	h.run("A1")
	of := func(lot string, from, n int) {
		h.must(h.do("stock.move", "move/store/line/"+lot+"/A1/30/issue", warehouse, lead))
		h.made("A1", "good", from, n)
		h.must(h.change(func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE card SET lot = $1 WHERE lot = ''`, lot)
			return err
		}))
		h.must(h.book.Catch(t.Context(), "A1", false))
	}
	of("L1", 0, 30)
	of("L2", 30, 30)
	h.must(h.finish("A1", false))
	h.must(h.book.Fill(t.Context(), "test", Box{ID: "B-2", Order: "A1"}, h.iccids(25, 25)))
	h.must(h.do("box.close", "box/B-2/25/S-2", warehouse, lead))
	h.has(Boxed, "L1", "A1", 5)
	h.has(Boxed, "L2", "A1", 20)
	h.has(Good, "L1", "A1", 25)
	h.must(h.book.Draft(t.Context(), "test", Shipment{Number: "SH-1", Consignee: "op", Carrier: "c", Seal: "T"}, []string{"B-2"}))
	h.must(h.do("shipment.send", "shipment/SH-1", warehouse, officer))
	h.must(h.do("shipment.receive", "shipment/SH-1/22/Nodal officer", warehouse, officer))
	h.must(h.do("discrepancy.explain", "discrepancy/1/three are lost", warehouse))
	h.must(h.do("discrepancy.close", "discrepancy/1", lead, officer))
	h.has(Operator, "L1", "A1", 5)
	h.has(Operator, "L2", "A1", 17)
	h.has(Missing, "L2", "A1", 3)
	h.check()
}

func TestUnsetDeliveries(t *testing.T) {
	var b *Book
	_, one := b.Delivery(t.Context(), "plant", "1")
	_, two := b.Deliveries(t.Context())
	_, three := b.ToAdvise(t.Context())
	for _, err := range []error{one, two, three} {
		if err == nil || errors.Is(err, ErrNone) {
			t.Errorf("a book that is none answers: %v", err)
		}
	}
}

func FuzzFinding(f *testing.F) {
	f.Add("whole/B-1:30:whole,B-2:19:broken")
	f.Add("broken/B-1:0:broken")
	f.Add("whole/")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseFinding(text)
		if err != nil {
			return
		}
		if got.String() != text {
			t.Errorf("%q is %q", text, got)
		}
	})
}

// Whatever a partner writes as an advice or its answer is refused or is one.
func FuzzAdvice(f *testing.F) {
	f.Add([]byte(`{"site":"plant","number":"SH-1","operator":"op","consignee":"c","carrier":"c","seal":"T","sent":"2026-01-02T03:04:05Z","cards":1,"boxes":[{"box":"B","seal":"S","order":"A1","cards":1,"first":"8991000000000000018","last":"8991000000000000018"}]}`), "{}")
	f.Add([]byte(`{"boxes":[{}]}`), `{"format":"ankan/act/v1"}`)
	f.Fuzz(func(t *testing.T, doc []byte, signed string) {
		var a Advice
		if json.Unmarshal(doc, &a) != nil {
			return
		}
		a.Handed.Act = signed
		if a.Check() == nil {
			t.Errorf("nobody signed %s", doc)
		}
		if _, err := a.CheckAnswer(a.Handed); err == nil {
			t.Errorf("nobody answered %s", doc)
		}
	})
}
