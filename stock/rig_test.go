package stock

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/notice"
	"ankan/passkey"
	"ankan/perso"
	"ankan/sim"
	"ankan/store"
	"ankan/store/storetest"
)

const (
	lead      = "2001"
	warehouse = "2002"
	officer   = "2003"
)

// A house is a plant as far as this package needs it.
type house struct {
	testing.TB
	site  string
	store *store.Store
	book  *Book
	desk  *custody.Desk
	keys  map[string]*passkey.Soft
	deeds map[string]custody.Deed
	path  string
	sign  *audit.Signer
}

func newHouse(t testing.TB) *house { return newHouseAt(t, "plant") }

func newHouseAt(t testing.TB, site string) *house {
	t.Helper()
	h := &house{TB: t, site: site, keys: map[string]*passkey.Soft{}, path: storetest.New(t)}
	_, key, err := ed25519.GenerateKey(nil)
	h.must(err)
	h.sign, err = audit.NewSigner("plant.example/log", key)
	h.must(err)
	h.open()
	var all []act.Person
	keys := map[string]act.Key{}
	for id, role := range map[string]string{lead: "shift-lead", warehouse: "warehouse", officer: "security-officer"} {
		k, err := passkey.NewSoft("plant.example", "https://plant.example")
		h.must(err)
		h.keys[id], keys[id] = k, k
		all = append(all, act.Person{ID: id, Name: "Person " + id, Roles: []string{role}, Employment: act.Permanent, Credential: k.Credential})
	}
	people := access.New(h.store)
	founding, err := act.Found(site, access.DefaultPolicy(), all, keys, h.store.Now())
	h.must(err)
	h.must(people.Found(t.Context(), access.Founding{Founding: founding}))
	h.desk = custody.New(site, h.store, people)
	h.deeds = h.book.Deeds()
	maps.Copy(h.deeds, h.book.OwnDeeds())
	return h
}

func (h *house) open() {
	h.Helper()
	s, err := store.Open(h.Context(), store.Config{Path: h.path, Origin: "plant.example/log", Signer: h.sign},
		access.Schema(), notice.Schema(), custody.Schema(), perso.Schema(), Schema())
	h.must(err)
	h.Cleanup(func() { s.Close() })
	h.store, h.book = s, New(s)
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// refused wants an error that says so.
func (h *house) refused(what string, err error, want string) {
	h.Helper()
	if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
		h.Errorf("%s: %v, want %q", what, err, want)
	}
}

func (h *house) change(fn func(*store.Tx) error) error {
	return h.store.Change(context.WithoutCancel(h.Context()), audit.Entry{Kind: "test", Actor: "test"}, fn)
}

// warrant is leave for an act that all of these people signed.
func (h *house) warrant(kind, subject, by string, approve ...string) (custody.Warrant, error) {
	h.Helper()
	params := map[string]string{}
	if d, ok := h.deeds[kind]; ok {
		var err error
		if params, err = d.Propose(h.Context(), subject); err != nil {
			return custody.Warrant{}, err
		}
	}
	rule, err := access.DefaultPolicy().Rule(kind)
	h.must(err)
	a := act.New(h.site, kind, subject, by, params, rule, h.store.Now())
	sign := func(who string, v act.Verb) act.Signature {
		assertion, err := h.keys[who].Sign(a.Challenge(v))
		h.must(err)
		return act.Signature{Person: who, Verb: v, At: h.store.Now().UTC().Truncate(time.Second), Assertion: assertion}
	}
	if err := h.desk.Request(h.Context(), a.Canonical(), sign(by, act.Request)); err != nil {
		return custody.Warrant{}, err
	}
	for _, who := range approve {
		if err := h.desk.Sign(h.Context(), a.ID, sign(who, act.Approve)); err != nil {
			return custody.Warrant{}, err
		}
	}
	return h.desk.Warrant(h.Context(), a.ID)
}

// do asks for an act, has it approved and does it.
func (h *house) do(kind, subject, by string, approve ...string) error {
	h.Helper()
	w, err := h.warrant(kind, subject, by, approve...)
	if err != nil {
		return err
	}
	return h.deeds[kind].Do(h.Context(), w)
}

func (h *house) has(a Account, lot, ord string, want int) {
	h.Helper()
	n, err := balance(h.store.Committed(h.Context()), a, lot, ord)
	h.must(err)
	if n != want {
		h.Errorf("%s of lot %s, order %q: %d, want %d", a, lot, ord, n, want)
	}
}

// check proves the books.
func (h *house) check() []Sum {
	h.Helper()
	all, err := h.book.Check(h.Context())
	h.must(err)
	return all
}

func lotNamed(name string, n int) Lot {
	return Lot{Lot: name, Vendor: "Chip Works", Chip: "c1", Quantity: n, OS: "os 1", Image: []byte{1}, Given: []byte{1}, KCV: "C35280 GP", FormFactor: "4FF", Certificate: "BSI-DSZ-CC-0000", Provenance: []string{"fab", "packager"}}
}

// accepted is a lot in the warehouse.
func (h *house) accepted(name string, n int) {
	h.Helper()
	h.must(h.book.Offer(h.Context(), lotNamed(name, n)))
	w, err := h.warrant("lot.accept", "lot/"+name, warehouse, officer)
	h.must(err)
	h.must(w.Use(h.Context(), "lot.accept", "lot/"+name, nil, func(tx *store.Tx) error { return Accept(tx, w, name) }))
}

// run is an order that the line works on.
func (h *house) run(ord string) {
	h.Helper()
	h.must(h.change(func(tx *store.Tx) error {
		if err := perso.Offer(tx, perso.Run{Order: ord, Bureau: "bureau", Agree: "a", KEK: "k"}); err != nil {
			return err
		}
		return perso.MoveRun(tx, ord, "offered", "received")
	}))
}

// made writes into the line's books what it did with chips.
func (h *house) made(ord, state string, from, n int) {
	h.Helper()
	h.must(h.change(func(tx *store.Tx) error {
		for i := range n {
			chip := fmt.Sprintf("%s-%s-%d", ord, state, from+i)
			var err error
			if state == "aside" {
				_, err = tx.Exec(`INSERT INTO set_aside (chip, ord, reason, at) VALUES ($1, $2, 'wrong lot', '')`, chip, ord)
			} else {
				_, err = tx.Exec(`INSERT INTO card (ord, card, keyset, chip, state, tries, reason, station, at) VALUES ($1, $2, $3, $4, $5, 1, '', 's', '')`, ord, from+i, from+i, chip, state)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

func (h *house) destroyed(ord string) {
	h.Helper()
	h.must(h.change(func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE card SET state = 'destroyed' WHERE ord = $1 AND state = 'reject'`, ord)
		return err
	}))
}

func (h *house) finish(ord string, itself bool) error {
	return h.change(func(tx *store.Tx) error {
		if err := Finish(tx, ord, itself); err != nil {
			return err
		}
		return perso.MoveRun(tx, ord, "received", "finished")
	})
}

// iccids is cards of an order with their numbers.
func (h *house) iccids(from, n int) (all []BoxCard) {
	h.Helper()
	for i := range n {
		id, err := sim.ICCIDFromBody(fmt.Sprintf("8991000000%08d", from+i))
		h.must(err)
		all = append(all, BoxCard{Card: from + i, ICCID: id.String()})
	}
	return all
}

func (h *house) told(person, kind string) int {
	h.Helper()
	all, err := notice.New(h.store).For(h.Context(), person, false, 100)
	h.must(err)
	n := 0
	for _, one := range all {
		if one.Kind == kind {
			n++
		}
	}
	return n
}
