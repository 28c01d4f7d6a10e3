package order

import (
	"crypto/ed25519"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"ankan/audit"
	"ankan/hsm"
	"ankan/hsm/soft"
	"ankan/sim"
	"ankan/store"
	"ankan/store/storetest"
)

// An abandoned order keeps its identities for ever, all of them retired.
func TestLedgerAbandon(t *testing.T) {
	l, s := testLedger(t)
	h := Holder{"op-1", "op"}
	abandon := func(id string) error {
		return change(t, s, func(tx *store.Tx) error { return l.Abandon(tx, id) })
	}
	if err := abandon(h.Order); !errors.Is(err, ErrHeld) {
		t.Errorf("abandoned what holds nothing: %v", err)
	}
	if err := l.Reserve(t.Context(), s, h, span(0, 1500)); err != nil {
		t.Fatal(err)
	}
	if err := abandon(h.Order); !errors.Is(err, ErrHeld) {
		t.Errorf("abandoned before it was accepted: %v", err)
	}
	for _, fn := range []func(*store.Tx, string) error{l.Accept, l.Confirm, l.Abandon} {
		if err := change(t, s, func(tx *store.Tx) error { return fn(tx, h.Order) }); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := l.FindIMSI(t.Context(), s, identity(1200, 1200).IMSI); err != nil || found == nil || found.Hold != Retired || found.Holder != h {
		t.Errorf("%+v, %v", found, err)
	}
	for name, fn := range map[string]func(*store.Tx, string) error{"released": l.Release, "confirmed": l.Confirm, "abandoned again": l.Abandon} {
		if err := change(t, s, func(tx *store.Tx) error { return fn(tx, h.Order) }); !errors.Is(err, ErrHeld) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var clashes Clashes
	if err := l.Reserve(t.Context(), s, Holder{"op-2", "op"}, span(1499, 1)); !errors.As(err, &clashes) {
		t.Errorf("issued again: %v", err)
	}
}

// before is the tables as they were before the ledger kept orders.
func before(t *testing.T) store.Schema {
	old := fstest.MapFS{}
	for _, name := range []string{"00001_ledger.sql", "00010_orders.sql", "00011_identities.sql"} {
		doc, err := migrations.ReadFile("migrations/" + name)
		if err != nil {
			t.Fatal(err)
		}
		old[name] = &fstest.MapFile{Data: doc, Mode: fs.FileMode(0o600)}
	}
	return store.Schema{Name: "orders", Files: old}
}

// TestLedgerBefore opens a database of a program whose ledger kept no orders: an
// order that was accepted by it is taken over, and can be confirmed or released;
// what was issued beside it stays issued.
func TestLedgerBefore(t *testing.T) {
	signer, err := audit.NewSigner("test", ed25519.NewKeyFromSeed(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	token, err := soft.Create(filepath.Join(t.TempDir(), "token"), []byte("a long passphrase"), soft.WithCost(soft.LowestCost()))
	if err != nil {
		t.Fatal(err)
	}
	defer token.Close()
	if _, err := token.Generate(t.Context(), "ledger", hsm.Ledger, hsm.HMAC256); err != nil {
		t.Fatal(err)
	}
	l, err := NewLedger(token, "ledger")
	if err != nil {
		t.Fatal(err)
	}
	path := storetest.New(t)
	open := func(schema store.Schema) *store.Store {
		s, err := store.Open(t.Context(), store.Config{Path: path, Origin: "test", Signer: signer, Now: time.Now}, schema)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open(before(t))
	// The old code kept one row for each block of a thousand: two bytes for each of
	// its numbers, the offset; or, when that is longer, a bit each. Here numbers 990
	// to 1009 are of the order, the rest of the first two blocks was issued before.
	err = s.Change(t.Context(), audit.Entry{Kind: "test", Actor: "test"}, func(tx *store.Tx) error {
		for _, n := range []number{iccidNumber(identity(0, 0).ICCID), imsiNumber(identity(0, 0).IMSI)} {
			for block := range uint64(2) {
				name, err := l.name(t.Context(), blockID{n.space, n.v/perBlock + block})
				if err != nil {
					return err
				}
				stored := []byte{0, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9} // 1000 to 1009
				if block == 0 {
					stored = make([]byte, bitBytes)
					for i := range stored {
						stored[i] = 0xFF // 0 to 999
					}
				}
				if _, err := tx.Exec(`INSERT INTO ledger_block (block, issued) VALUES ($1, $2)`, name[:], stored); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}

	s = open(Schema())
	defer func() { s.Close() }()
	h := Holder{"op-1", "op"}
	find := func(n uint64) Issue {
		t.Helper()
		for _, look := range []func() (*Issue, error){
			func() (*Issue, error) { return l.FindIMSI(t.Context(), s, identity(n, n).IMSI) },
			func() (*Issue, error) { return l.FindICCID(t.Context(), s, identity(n, n).ICCID) },
		} {
			if i, err := look(); err != nil || i == nil {
				t.Fatalf("number %d: %+v, %v", n, i, err)
			} else if i.Kind == KindICCID {
				return *i
			}
		}
		return Issue{}
	}
	enter := func(h Holder, from, n uint64) error {
		return change(t, s, func(tx *store.Tx) error { return l.Enter(t.Context(), tx, h, span(from, n)) })
	}
	if err := change(t, s, func(tx *store.Tx) error { return l.Confirm(tx, h.Order) }); !errors.Is(err, ErrHeld) {
		t.Fatalf("an order that the ledger does not have is confirmed: %v", err)
	}
	if err := enter(h, 995, 16); !errors.Is(err, ErrHeld) {
		t.Errorf("took over a number that was never issued: %v", err)
	}
	if find(1000).Order != "" {
		t.Error("a refusal left something behind")
	}
	for range 2 { // the second time it has the order
		if err := enter(h, 990, 20); err != nil {
			t.Fatal(err)
		}
	}
	for n, want := range map[uint64]Issue{989: {Hold: Issued}, 990: {Holder: h, Hold: Reserved}, 1009: {Holder: h, Hold: Reserved}, 0: {Hold: Issued}} {
		if got := find(n); got.Holder != want.Holder || got.Hold != want.Hold {
			t.Errorf("number %d is %+v, want %+v", n, got, want)
		}
	}
	if err := enter(Holder{"op-2", "op"}, 1005, 1); !errors.Is(err, ErrHeld) {
		t.Errorf("another order took over what the first has: %v", err)
	}
	if err := change(t, s, func(tx *store.Tx) error { return l.Release(tx, h.Order) }); err != nil {
		t.Fatal(err)
	}
	if i, err := l.FindIMSI(t.Context(), s, identity(1000, 1000).IMSI); err != nil || i != nil {
		t.Errorf("after its release: %+v, %v", i, err)
	}
	if err := l.Reserve(t.Context(), s, Holder{"op-3", "op"}, span(985, 5)); err == nil {
		t.Error("what was issued before is issued again")
	}
	if err := new(Ledger).Enter(t.Context(), nil, h, func(func(int, sim.Identity) bool) {}); !errors.Is(err, ErrNoLedger) {
		t.Errorf("the zero ledger: %v", err)
	}
}

func TestAbandonment(t *testing.T) {
	_, s := testLedger(t)
	err := change(t, s, func(tx *store.Tx) error {
		if err := Insert(tx, Order{ID: "op-1", State: Accepted}); err != nil {
			return err
		}
		if err := Stop(tx, "op-1", "7", "time was lost"); err != nil {
			return err
		}
		return Abandon(tx, "op-1", Abandonment{Act: "00", Why: "nobody wants it", Was: Accepted})
	})
	if err != nil {
		t.Fatal(err)
	}
	q := s.Committed(t.Context())
	if a, err := WhyAbandoned(q, "op-1"); err != nil || a == nil || a.Why != "nobody wants it" || a.Was != Accepted || a.At.IsZero() {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := WhyAbandoned(q, "op-2"); a != nil || err != nil {
		t.Errorf("%+v, %v", a, err)
	}
	if err := Stopped(q, "op-1"); err != nil {
		t.Errorf("it is stopped still, and does not come to its end: %v", err)
	}
	if err := change(t, s, func(tx *store.Tx) error { return Abandon(tx, "op-1", Abandonment{Why: "again"}) }); err == nil {
		t.Error("abandoned twice")
	}
	for id, want := range map[string]error{"op-1": ErrState, "op-2": ErrNoOrder} {
		if err := In(q, id, Made); !errors.Is(err, want) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if err := In(q, "op-1", Accepted); err != nil {
		t.Error(err)
	}
	for id, want := range map[string]bool{"op-0123456789ab": true, "op-0123456789AB": false, "op-0123": false, "op2-0123456789ab": false, "op-0123456789abcd": false, "": false} {
		if Of(id, "op") != want {
			t.Errorf("%q is of op: %t", id, !want)
		}
	}
	for _, tt := range []struct {
		from State
		to   []State
	}{{Received, []State{Abandoning}}, {Destroying, []State{Abandoning}}, {Loading, []State{Withdrawn, Abandoned}}, {Acknowledged, []State{Withdrawn, Abandoned}}, {Withdrawn, []State{Closed, Submitted}}, {Abandoning, []State{Made, Certified}}} {
		for _, to := range tt.to {
			if err := allowed("op-1", tt.from, to); !errors.Is(err, ErrState) {
				t.Errorf("from %s to %s: %v", tt.from, to, err)
			}
		}
	}
}

// A certificate says what was lost, and why an order was abandoned.
func TestCertificateOfAbandoned(t *testing.T) {
	for what, spoil := range map[string]func(*Certificate){
		"more lost than retired": func(c *Certificate) { c.Cards.Lost = 13 },
		"less than none lost":    func(c *Certificate) { c.Cards.Lost = -1 },
		"delivered":              func(c *Certificate) { c.Abandoned = "why" },
	} {
		c := certificate()
		if spoil(c); c.Check() == nil {
			t.Errorf("%s: it passes", what)
		}
	}
	c := certificate()
	c.Cards = CardCounts{Ordered: 5, Retired: 5, Lost: 2}
	c.Abandoned = "the artwork is not agreed"
	payload, err := c.Payload()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ParseCertificate(payload); err != nil || again.Abandoned != c.Abandoned || again.Cards != c.Cards {
		t.Errorf("%+v, %v", again, err)
	}
	var pdf strings.Builder
	if err := RenderPDF(&pdf, c); err != nil || !strings.HasPrefix(pdf.String(), "%PDF") {
		t.Error(err)
	}
}
