package stock

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ankan/access"
	"ankan/act"
	"ankan/perso"
	"ankan/store"
)

func TestZeroBook(t *testing.T) {
	var b *Book
	_, err := b.Check(t.Context())
	if _, err2 := new(Book).Balances(t.Context(), "", ""); err == nil || err2 == nil {
		t.Errorf("a book without a store: %v, %v", err, err2)
	}
}

// The journey of two lots through the house, with people who count.
func TestJourney(t *testing.T) {
	h := newHouse(t)
	h.must(h.book.Offer(t.Context(), lotNamed("L1", 100)))
	h.has(Received, "L1", "", 100)
	h.refused("the same lot", h.book.Offer(t.Context(), lotNamed("L1", 100)), "lot L1 is here already; it is offered")

	// Nobody counted it; its vendor is not approved.
	_, err := h.book.AcceptParams(t.Context(), "L1", false)
	h.refused("a lot that nobody counted", err, "nobody counted and inspected it yet")
	h.must(h.do("lot.inspect", "lot/L1/98/10/0/visual and electrical", warehouse))
	h.has(InInspection, "L1", "", 100)
	if h.told(lead, "stock.differs") != 1 || h.told(officer, "stock.differs") != 1 || h.told(warehouse, "stock.differs") != 0 {
		t.Error("a count that differs tells shift lead and security officer, and nobody else")
	}
	_, err = h.book.AcceptParams(t.Context(), "L1", false)
	h.refused("a lot with an open count", err, "discrepancy 1 is open")
	h.refused("counted over it", h.do("lot.inspect", "lot/L1/100/10/0/again", warehouse), "discrepancy 1 of its last count is open")
	h.refused("closed before it is explained", h.do("discrepancy.close", "discrepancy/1", lead, officer), "it is open, want explained")
	h.must(h.do("discrepancy.explain", "discrepancy/1/two short in the reel", warehouse))
	h.must(h.do("discrepancy.close", "discrepancy/1", lead, officer))
	h.has(InInspection, "L1", "", 98)
	h.has(Missing, "L1", "", 2)
	_, err = h.book.AcceptParams(t.Context(), "L1", false)
	h.refused("a vendor that nobody approved", err, "no approved source")
	h.must(h.do("source.approve", "source/Chip Works/on the list of trusted sources", warehouse, officer))
	h.refused("approved twice", h.do("source.approve", "source/Chip Works/again", warehouse, officer), "approved it already")
	m, err := h.book.AcceptParams(t.Context(), "L1", false)
	h.must(err)
	if !strings.Contains(m["inspection"], "counted 98") || m["source"] == "" || m["certificate"] == "" {
		t.Errorf("approvers see %v", m)
	}
	w, err := h.warrant("lot.accept", "lot/L1", warehouse, officer)
	h.must(err)
	h.must(w.Use(t.Context(), "lot.accept", "lot/L1", nil, func(tx *store.Tx) error { return Accept(tx, w, "L1") }))
	h.has(Store, "L1", "", 98)

	// Finishing and back, some spoilt.
	h.must(h.do("stock.move", "move/store/finishing/L1/-/80/embed in 4FF bodies", warehouse, lead))
	h.must(h.do("stock.move", "move/finishing/finished/L1/-/77/good", warehouse, lead))
	h.must(h.do("stock.move", "move/finishing/scrap/L1/-/3/cracked", warehouse, lead))
	h.must(h.do("stock.move", "move/scrap/destroyed/L1/-/3/shredded", warehouse, officer))

	// To the line, and an order that ends.
	h.run("A1")
	h.must(h.do("stock.move", "move/finished/line/L1/A1/60/issue", warehouse, lead))
	h.made("A1", "good", 0, 50)
	h.made("A1", "reject", 50, 2)
	h.made("A1", "aside", 0, 1)
	h.must(h.book.Catch(t.Context(), "A1", false))
	h.has(Rejects, "L1", "A1", 2)
	h.has(Line, "L1", "A1", 7)
	h.destroyed("A1")
	h.must(h.finish("A1", false))
	h.has(Destroyed, "L1", "A1", 2)
	h.refused("an order with chips at the line", h.book.Ended(t.Context(), "A1"), "chips of lot L1 are at the line")
	h.must(h.do("stock.count", "count/line/L1/A1/7", warehouse))
	h.must(h.do("stock.move", "move/line/store/L1/A1/7/left over", warehouse, lead))
	h.must(h.do("stock.move", "move/aside/store/L1/A1/1/of another lot, looked at", warehouse, officer))
	h.must(h.book.Ended(t.Context(), "A1"))

	// Boxes, vault, shipment.
	h.must(h.book.Fill(t.Context(), "test", Box{ID: "B-1", Order: "A1", Pallet: "P-1"}, h.iccids(0, 30)))
	h.must(h.book.Fill(t.Context(), "test", Box{ID: "B-2", Order: "A1"}, h.iccids(30, 20)))
	h.must(h.do("box.close", "box/B-1/30/S-1", warehouse, lead))
	h.must(h.do("box.close", "box/B-2/20/S-2", warehouse, lead))
	h.refused("a shut vault", h.do("box.store", "box/B-1/V1", warehouse), "vault V1: not allowed: it is not open")
	h.must(h.do("vault.open", "vault/V1/to store boxes", warehouse, officer))
	h.refused("opened twice", h.do("vault.open", "vault/V1/again", warehouse, officer), "it is open since")
	h.must(h.do("box.store", "box/B-1/V1", warehouse))
	h.must(h.do("box.store", "box/B-2/V1", warehouse))
	h.refused("stored twice", h.do("box.store", "box/B-2/V1", warehouse), "it is in vault V1")
	h.must(h.do("vault.close", "vault/V1/2", officer))
	h.has(Vault, "L1", "A1", 50)
	h.must(h.book.Draft(t.Context(), "test", Shipment{Number: "S-1", Consignee: "Demo Mobile", Carrier: "van 4", Seal: "T-9"}, []string{"B-1", "B-2"}))
	h.refused("sent out of the vault", h.do("shipment.send", "shipment/S-1", warehouse, officer), "want it closed and out of the vault")
	h.must(h.do("vault.open", "vault/V1/to ship", warehouse, officer))
	h.must(h.do("box.take", "box/B-1/V1", warehouse))
	h.must(h.do("box.take", "box/B-2/V1", warehouse))
	h.must(h.do("vault.close", "vault/V1/1", officer)) // there is none
	h.must(h.do("discrepancy.explain", "discrepancy/2/an empty box was counted", warehouse))
	h.must(h.do("discrepancy.close", "discrepancy/2", lead, officer))
	h.must(h.do("shipment.send", "shipment/S-1", warehouse, officer))
	h.has(Shipped, "L1", "A1", 50)
	h.refused("sent twice", h.do("shipment.send", "shipment/S-1", warehouse, officer), "it is sent")
	h.must(h.do("shipment.receive", "shipment/S-1/49/Nodal officer 0002", warehouse, officer))
	h.has(Shipped, "L1", "A1", 50)
	h.must(h.do("discrepancy.explain", "discrepancy/3/one card is lost", warehouse))
	h.must(h.do("discrepancy.close", "discrepancy/3", lead, officer))
	h.has(Operator, "L1", "A1", 49)
	h.has(Missing, "L1", "A1", 1)

	for _, s := range h.check() {
		if s.Lot == "L1" && s != (Sum{Lot: "L1", In: 100, Out: 2 + 3 + 2 + 49 + 1, OnHand: 43}) {
			t.Errorf("%+v", s)
		}
		if s.Order == "A1" && s.In != 52 {
			t.Errorf("%+v", s)
		}
	}
	counts, err := h.book.Counts(t.Context(), 100)
	h.must(err)
	if len(counts) != 7 || counts[0].Agrees || !counts[len(counts)-2].Agrees {
		t.Errorf("%d counts: %+v", len(counts), counts)
	}
}

// What a person counts is entered without the books' figure: it is in nothing
// that they are shown or sign, and in no refusal.
func TestBlind(t *testing.T) {
	h := newHouse(t)
	h.must(h.book.Offer(t.Context(), lotNamed("L1", 7391)))
	m, err := h.deeds["lot.inspect"].Propose(t.Context(), "lot/L1/5/1/0/r")
	h.must(err)
	if strings.Contains(fmt.Sprint(m), "7391") {
		t.Errorf("inspection shows %v", m)
	}
	h.accepted("L2", 8462)
	m, err = h.deeds["stock.count"].Propose(t.Context(), "count/store/L2/-/5")
	h.must(err)
	err = h.do("stock.move", "move/store/finishing/L2/-/9000/try", warehouse, lead)
	h.refused("more than there are", err, "9000 are to leave store, which has fewer")
	if !errors.Is(err, ErrBalance) || strings.Contains(fmt.Sprint(m, err), "8462") {
		t.Errorf("%v, %v", m, err)
	}
	policy := access.DefaultPolicy()
	for _, role := range policy.Acts["stock.count"].Request {
		if policy.May(act.Person{ID: "1", Roles: []string{role}}, "stock.read") {
			t.Errorf("%s counts, and may read the figures", role)
		}
	}
	h.must(h.do("stock.count", "count/store/L2/-/8461", warehouse))
	h.refused("counted again before it is explained", h.do("stock.count", "count/store/L2/-/8462", lead), "discrepancy 1 of the last one is open")
	h.must(h.do("discrepancy.explain", "discrepancy/1/one lies below the shelf", warehouse))
	h.must(h.do("discrepancy.close", "discrepancy/1", lead, officer))
	h.has(Store, "L2", "", 8461)
	h.must(h.do("stock.count", "count/store/L2/-/8462", lead))
	h.must(h.do("discrepancy.explain", "discrepancy/2/it was found again", warehouse))
	h.must(h.do("discrepancy.close", "discrepancy/2", lead, officer))
	h.has(Store, "L2", "", 8462)
	h.has(Found, "L2", "", -1)
	h.check()
}

// A batch does not end out of balance.
func TestOutOfBalance(t *testing.T) {
	h := newHouse(t)
	h.accepted("L1", 100)
	h.accepted("L2", 100)
	h.run("A1")
	h.must(h.do("stock.move", "move/store/line/L1/A1/10/issue", warehouse, lead))
	h.refused("two lots at once", h.do("stock.move", "move/store/line/L2/A1/10/issue", warehouse, lead), "one lot at a time")
	h.made("A1", "good", 0, 12)
	err := h.finish("A1", false)
	if !errors.Is(err, ErrBalance) {
		t.Errorf("12 cards of 10 chips: %v", err)
	}
	if err := h.book.Catch(t.Context(), "A1", false); !errors.Is(err, ErrBalance) {
		t.Errorf("12 cards of 10 chips: %v", err)
	}
	h.has(Good, "L1", "A1", 0)
	for range 2 {
		h.must(h.change(func(tx *store.Tx) error { return h.book.Differ(t.Context(), tx, "A1") }))
	}
	open, err := h.book.Discrepancies(t.Context(), Open)
	h.must(err)
	if len(open) != 1 || open[0].Book != 10 || open[0].Found != 12 {
		t.Fatalf("%+v", open)
	}
	h.must(h.do("discrepancy.explain", "discrepancy/1/miscounted at issue", lead))
	h.must(h.do("discrepancy.close", "discrepancy/1", warehouse, officer))
	h.must(h.finish("A1", false))
	h.has(Good, "L1", "A1", 12)
	h.must(h.book.Ended(t.Context(), "A1"))
	h.check()
}

// Where the site counts by itself, the same postings are made.
func TestItself(t *testing.T) {
	h := newHouse(t)
	h.accepted("L1", 12)
	h.run("A1")
	h.must(h.book.Issue(t.Context(), "L1", "A1", 10))
	h.made("A1", "good", 0, 9)
	h.made("A1", "aside", 0, 2)
	h.made("A1", "doubt", 9, 1)
	h.must(h.book.Catch(t.Context(), "A1", true))
	h.has(Line, "L1", "A1", 1) // in doubt
	h.has(Store, "L1", "", 0)
	// More chips than were delivered are refused, and said.
	h.made("A1", "good", 100, 1)
	h.refused("a chip more than the lot has", h.book.Catch(t.Context(), "A1", true), "more chips of lot L1 than are left of the 12 that were delivered")
	h.must(h.change(func(tx *store.Tx) error {
		_, err := tx.Exec(`DELETE FROM card WHERE card = 100`)
		return err
	}))
	h.must(h.change(func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE card SET state = 'good' WHERE state = 'doubt'`)
		return err
	}))
	h.must(h.finish("A1", true))
	h.has(Good, "L1", "A1", 10)
	h.must(h.book.Ended(t.Context(), "A1"))
	h.check()
	h.run("A2")
	if err := h.book.Issue(t.Context(), "L1", "A2", 1); !errors.Is(err, ErrBalance) {
		t.Errorf("from an empty warehouse: %v", err)
	}
	// The line's books are the truth: who changes them behind its back is found out.
	h.must(h.change(func(tx *store.Tx) error {
		_, err := tx.Exec(`DELETE FROM card WHERE card = 3`)
		return err
	}))
	_, err := h.book.Check(t.Context())
	h.refused("a card that is gone from the line's books", err, "the line's books have 9 good")
}

// The database refuses what would not balance, whoever writes it.
func TestDatabase(t *testing.T) {
	h := newHouse(t)
	h.accepted("L1", 5)
	insert := `INSERT INTO stock_posting (entry, at, actor, why, act, lot, ord, source, destination, n) VALUES (1, '', 'x', 'x', '', 'L1', '', `
	for query, want := range map[string]string{
		insert + `'store', 'finishing', 6)`:                        "stock_below_zero",
		insert + `'store', 'finishing', 0)`:                        "check constraint",
		insert + `'store', 'finishing', -1)`:                       "check constraint",
		insert + `'store', 'store', 1)`:                            "check constraint",
		insert + `'store', 'pocket', 1)`:                           "foreign key constraint",
		`UPDATE stock_posting SET n = 4`:                           "never changed",
		`DELETE FROM stock_posting`:                                "never deleted",
		`UPDATE stock_balance SET n = -1`:                          "stock_below_zero",
		insert + `'finished', 'line', 1)`:                          "stock_below_zero",
		`INSERT INTO stock_box_card VALUES ('A1', 1, '1', 'none')`: "foreign key constraint",
	} {
		err := h.change(func(tx *store.Tx) error {
			_, err := tx.Exec(query)
			return err
		})
		h.refused(query, err, want)
	}
	h.check()
	h.must(h.change(func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE stock_balance SET n = 4 WHERE account = 'store'`)
		return err
	}))
	_, err := h.book.Check(t.Context())
	h.refused("a sum that is none", err, "are not the sums of their postings")
}

// Movements at random keep every account at or above nothing, and every lot whole.
func TestRandomMovements(t *testing.T) {
	h := newHouse(t)
	h.accepted("L1", 50)
	h.run("A1")
	rapid.Check(t, func(r *rapid.T) {
		m := rapid.SampledFrom(moves()).Draw(r, "move")
		p := Posting{Actor: "test", Why: "test", Lot: "L1", From: m[0], To: m[1], Count: rapid.IntRange(1, 60).Draw(r, "n")}
		if p.From.needsOrder() || p.To.needsOrder() {
			p.Order = "A1"
		}
		err := h.change(func(tx *store.Tx) error { return post(tx, p) })
		if err != nil && !errors.Is(err, ErrBalance) {
			r.Fatal(err)
		}
		all, err := h.book.Check(t.Context())
		if err != nil || all[0].In != 50 {
			r.Fatal(all, err)
		}
	})
}

func TestRefusals(t *testing.T) {
	h := newHouse(t)
	h.accepted("L1", 100)
	h.must(h.book.Offer(t.Context(), lotNamed("L2", 100)))
	h.run("A1")
	h.must(h.do("stock.move", "move/store/line/L1/A1/20/issue", warehouse, lead))
	h.made("A1", "good", 0, 20)
	h.must(h.finish("A1", false))
	h.must(h.book.Fill(t.Context(), "test", Box{ID: "B-1", Order: "A1"}, h.iccids(0, 10)))
	for _, tt := range []struct{ kind, subject, want string }{
		{"stock.move", "move/store/line", "is not move/FROM/TO/LOT/ORDER/COUNT/WHY"},
		{"stock.move", "move/store/pocket/L1/-/1/w", `account "pocket"`},
		{"stock.move", "move/store/finishing/L1/-/01/w", "want a number"},
		{"stock.move", "move/store/finishing/L1/-/-1/w", "want a number"},
		{"stock.move", "move/store/finishing/L1/-/0/w", "nothing is to move"},
		{"stock.move", "move/store/finishing/L1/-/1/", "why is"},
		{"stock.move", "move/store/finishing/L9/-/1/w", `lot "L9" is not here`},
		{"stock.move", "move/received/store/L2/-/1/w", "people move nothing there by hand"},
		{"stock.move", "move/line/good/L1/A1/1/w", "people move nothing there by hand"},
		{"stock.move", "move/store/finishing/L2/-/1/w", "lot L2 is offered"},
		{"stock.move", "move/store/finishing/L1/A1/1/w", `order is "A1"`},
		{"stock.move", "move/store/line/L1/-/1/w", `order is ""`},
		{"stock.move", "move/store/line/L1/A9/1/w", "order A9 is not at the line"},
		{"stock.move", "move/store/line/L1/A1/1/w", "order A1 is not at the line"},
		{"stock.count", "count/operator/L1/A1/1", "nothing lies there to be counted"},
		{"stock.count", "count/maker/L1/-/1", "nothing lies there to be counted"},
		{"stock.count", "count/received/L2/-/1", "counted by its inspection"},
		{"stock.count", "count/line/L1/-/1", `order is "-"`},
		{"stock.count", "count/store/L1/A1/1", `order is "A1"`},
		{"lot.inspect", "lot/L1/1/1/0/r", "it is accepted already"},
		{"lot.inspect", "lot/L2/1/2/0/r", "of a sample of 2"},
		{"lot.inspect", "lot/L2/9/2/3/r", "3 of a sample of 2 failed"},
		{"lot.inspect", "lot/L2/9/x/3/r", "the sample is"},
		{"lot.refuse", "lot/L1/w", "it is accepted already"},
		{"lot.refuse", "lot/L2", "is not lot/NAME/WHY"},
		{"source.approve", "source/V", "is not source/VENDOR/WHY"},
		{"discrepancy.explain", "discrepancy/9/w", "discrepancy 9 is not here"},
		{"discrepancy.explain", "discrepancy/x/w", "want its number"},
		{"box.close", "box/B-9/1/S", "box \"B-9\" is not here"},
		{"box.close", "box/B-1/1/S/S", "seal is"},
		{"box.store", "box/B-1/V1", "it is open, want closed"},
		{"vault.open", "vault/V 1/w", "vault is"},
		{"vault.close", "vault/V1/1", "it is not open"},
		{"shipment.send", "shipment/S-9", "not here"},
		{"shipment.receive", "shipment/S-9/1/w", "not here"},
	} {
		if _, err := h.deeds[tt.kind].Propose(t.Context(), tt.subject); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s of %s: %v, want %q", tt.kind, tt.subject, err, tt.want)
		}
	}
	fill := func(id, ord string, cards []BoxCard) error {
		return h.book.Fill(t.Context(), "test", Box{ID: id, Order: ord}, cards)
	}
	h.refused("a card in two boxes", fill("B-2", "A1", h.iccids(9, 2)), "is in box B-1")
	h.refused("a card that is not there", fill("B-2", "A1", h.iccids(19, 2)), "is no good card")
	h.refused("a box's number twice", fill("B-1", "A1", h.iccids(12, 2)), "is here already")
	h.refused("an empty box", fill("B-2", "A1", nil), "0 cards")
	h.refused("no ICCID", fill("B-2", "A1", []BoxCard{{12, "1234"}}), "card 12")
	h.refused("a box with a stroke", fill("B/2", "A1", h.iccids(12, 2)), "its number is")
	draft := func(number string, boxes ...string) error {
		return h.book.Draft(t.Context(), "test", Shipment{Number: number, Consignee: "op", Carrier: "c", Seal: "T"}, boxes)
	}
	h.refused("an open box sent", draft("S-1", "B-1"), "box B-1 is open")
	h.refused("no boxes", draft("S-1"), "it has no boxes")
	h.refused("too many boxes", draft("S-1", make([]string, mostBoxes+1)...), "it has 201 boxes, want at most 200; draft two")
	h.refused("a box that is not there", draft("S-1", "B-9"), "not here")

	// A box whose count differs stays open; it is emptied, and packed again.
	h.must(h.do("box.close", "box/B-1/9/S-1", warehouse, lead))
	h.refused("a box counted over it", h.do("box.close", "box/B-1/10/S-1", warehouse, lead), "discrepancy 1 of its last count is open")
	h.must(h.do("discrepancy.explain", "discrepancy/1/one lay beside it", warehouse))
	h.must(h.do("discrepancy.close", "discrepancy/1", lead, officer))
	h.must(h.book.Empty(t.Context(), "test", "B-1"))
	h.must(fill("B-1", "A1", h.iccids(0, 10)))
	h.must(h.do("box.close", "box/B-1/10/S-1", warehouse, lead))
	h.refused("a closed box emptied", h.book.Empty(t.Context(), "test", "B-1"), "it is closed")
	h.must(fill("B-2", "A1", h.iccids(10, 10)))
	h.refused("a seal used twice", h.do("box.close", "box/B-2/10/S-1", warehouse, lead), "seal S-1 is on box B-1")
	h.must(draft("S-1", "B-1"))
	h.refused("a shipment's number twice", draft("S-1", "B-1"), "is here already")
	h.refused("a box in two shipments", draft("S-2", "B-1"), `in shipment "S-1"`)
	h.must(h.do("lot.refuse", "lot/L2/seals broken", warehouse, officer))
	h.has(Returned, "L2", "", 100)
	h.check()
}

// A lost chip is in an account of its own until it is found and destroyed; good
// cards of an abandoned order come out of their boxes and are destroyed, and of no
// other order.
func TestLostAndAbandoned(t *testing.T) {
	h := newHouse(t)
	h.accepted("L1", 100)
	h.run("A1")
	h.must(h.do("stock.move", "move/store/line/L1/A1/10/issue", warehouse, lead))
	h.made("A1", "good", 0, 6)
	h.made("A1", "reject", 6, 3)
	set := func(state, where string) {
		h.must(h.change(func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE card SET state = $1 WHERE ord = 'A1' AND `+where, state)
			return err
		}))
	}
	catch := func(good, rejects, destroyed, lost int) {
		t.Helper()
		h.must(h.book.Catch(t.Context(), "A1", false))
		for a, n := range map[Account]int{Good: good, Rejects: rejects, Destroyed: destroyed, Lost: lost} {
			h.has(a, "L1", "A1", n)
		}
		h.check()
	}
	catch(6, 3, 0, 0)
	set("lost", "card = 6")
	catch(6, 2, 0, 1)
	set("destroyed", "card = 7")
	catch(6, 1, 1, 1)
	set("destroyed", "card = 6") // it was found
	catch(6, 1, 2, 0)
	set("lost", "card = 8")
	catch(6, 0, 2, 1)
	h.must(h.book.Fill(t.Context(), "test", Box{ID: "B-1", Order: "A1"}, h.iccids(0, 2)))
	h.must(h.do("box.close", "box/B-1/2/S-1", warehouse, lead))
	h.must(h.book.Fill(t.Context(), "test", Box{ID: "B-2", Order: "A1"}, h.iccids(2, 1)))
	if here, out, err := h.book.Whereabouts(t.Context(), "A1"); err != nil || len(here) != 2 || len(out) != 0 {
		t.Errorf("%+v, %v, %v", here, out, err)
	}
	set("destroyed", "card < 6")
	if err := h.book.Catch(t.Context(), "A1", false); !errors.Is(err, ErrBalance) {
		t.Errorf("good cards are destroyed of an order that goes on: %v", err)
	}
	h.must(h.change(func(tx *store.Tx) error { return perso.MoveRun(tx, "A1", "received", "abandoned") }))
	if err := h.book.Catch(t.Context(), "A1", false); !errors.Is(err, ErrBalance) {
		t.Errorf("cards in a closed box are destroyed: %v", err)
	}
	h.must(h.change(func(tx *store.Tx) error { return Unbox(tx, "A1") }))
	if _, _, err := h.book.Box(t.Context(), "B-1"); !errors.Is(err, ErrNone) {
		t.Errorf("the box is there still: %v", err)
	}
	catch(0, 0, 8, 1)
}
