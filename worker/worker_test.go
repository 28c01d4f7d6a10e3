package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/audit"
	"ankan/custody"
	"ankan/datagen"
	"ankan/hsm"
	"ankan/hsm/soft"
	"ankan/keys"
	"ankan/notice"
	"ankan/order"
	"ankan/passkey"
	"ankan/profile"
	"ankan/sim"
	"ankan/store"
	"ankan/store/storetest"
	"ankan/worker"
)

const (
	origin     = "ankan/maker"
	passphrase = "a passphrase for tests"
)

// A site is what a bureau's main process has: it holds the token and the tables.
type mainSite struct {
	testing.TB
	address string // of the database
	token   string // the token's file
	holder  *soft.Token
	*process
}

// A process draws for the site, or is the site.
type process struct {
	store  *store.Store
	guard  *keys.Guard
	drawer *worker.Drawer
}

func newSite(t testing.TB, address string) *mainSite {
	t.Helper()
	s := &mainSite{TB: t, address: address, token: filepath.Join(t.TempDir(), "token")}
	var err error
	s.holder, err = soft.Create(s.token, []byte(passphrase), soft.WithCost(soft.LowestCost()))
	s.must(err)
	t.Cleanup(func() { s.holder.Close() })
	_, err = s.holder.Generate(t.Context(), "log", hsm.LogSign, hsm.Ed25519)
	s.must(err)
	s.process = s.open(s.holder, address, false)
	for id, k := range map[string]struct {
		hsm.Purpose
		hsm.Algorithm
	}{"kek": {hsm.Order, hsm.AES256}, "ledger": {hsm.Ledger, hsm.HMAC256}, "op": {hsm.Operator, hsm.AES128}} {
		_, err := s.guard.Generate(t.Context(), id, k.Purpose, k.Algorithm)
		s.must(err)
	}
	return s
}

// beside is a process that works for the site.
func (s *mainSite) beside() *process {
	s.Helper()
	token, err := soft.OpenShared(s.token, []byte(passphrase))
	s.must(err)
	s.Cleanup(func() { token.Close() })
	return s.open(token, s.address, true)
}

func (s *mainSite) open(m hsm.Module, address string, beside bool) *process {
	s.Helper()
	ctx := context.Background()
	sign, err := m.Signer(ctx, "log")
	s.must(err)
	signer, err := audit.NewSigner(origin, sign)
	s.must(err)
	p := &process{}
	schemas := []store.Schema{order.Schema(), datagen.Schema(), keys.Schema()}
	if !beside {
		schemas = append([]store.Schema{access.Schema(), notice.Schema(), custody.Schema()}, schemas...)
	}
	p.store, err = store.Open(ctx, store.Config{Path: address, Origin: origin, Signer: signer, Beside: beside}, schemas...)
	s.must(err)
	s.Cleanup(func() { p.store.Close() })
	people := access.New(p.store)
	register := keys.NewRegister("maker", p.store, people)
	if !beside {
		s.must(people.Found(ctx, founding(s)))
		_, err = register.Reconcile(ctx, m)
		s.must(err)
	}
	p.guard, err = keys.NewGuard(ctx, register, m)
	s.must(err)
	ledger, err := order.NewLedger(p.guard, "ledger")
	s.must(err)
	p.drawer = &worker.Drawer{Store: p.store, Guard: p.guard, Ledger: ledger, Log: slog.New(slog.DiscardHandler)}
	return p
}

// founding is of two people, whom the key register asks for.
func founding(t testing.TB) access.Founding {
	t.Helper()
	signers := map[string]act.Key{}
	var people []act.Person
	for id, role := range map[string]string{"1001": "key-manager", "1002": "security-officer"} {
		k, err := passkey.NewSoft("site.example", "https://site.example")
		if err != nil {
			t.Fatal(err)
		}
		signers[id] = k
		people = append(people, act.Person{ID: id, Name: "Person " + id, Roles: []string{role}, Employment: act.Permanent, Credential: k.Credential})
	}
	f, err := act.Found("maker", access.DefaultPolicy(), people, signers, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return access.Founding{Founding: f}
}

func (s *mainSite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *mainSite) want(what string, err, target error) {
	s.Helper()
	if !errors.Is(err, target) {
		s.Errorf("%s: %v, want %v", what, err, target)
	}
}

func (s *mainSite) change(fn func(*store.Tx) error) {
	s.Helper()
	s.must(s.store.Change(context.Background(), audit.Entry{Kind: "test.changed", Actor: "test"}, fn))
}

// state sets a key's state as another process does: no guard hears of it.
func (s *mainSite) state(id string, to keys.State) {
	s.Helper()
	s.change(func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE key SET state = $1 WHERE id = $2`, string(to), id)
		return err
	})
}

func ids(t testing.TB, cards int) sim.IdentityRange {
	t.Helper()
	iccid, err1 := sim.ICCIDFromBody("899100000000000000")
	imsi, err2 := sim.ParseIMSI("001010000000000")
	r, err3 := sim.NewIdentityRange(sim.Identity{ICCID: iccid, IMSI: imsi}, uint64(cards))
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return r
}

// batch records an order's batch, which is to be drawn.
func (s *mainSite) batch(ord string, cards, blockSize int) datagen.Batch {
	s.Helper()
	p, err := profile.Builtin("in-5g-usim")
	s.must(err)
	dk, wrapped, err := s.guard.NewDataKey(s.Context(), "kek")
	s.must(err)
	defer dk.Close()
	b := datagen.Batch{Order: ord, KEK: "kek", Wrapped: wrapped, Document: []byte(p.String()), Profile: p, Cards: cards, Spares: 7, BlockSize: blockSize, OP: "op"}
	b.Range, err = datagen.SealRange(dk, ord, ids(s, cards))
	s.must(err)
	s.change(func(tx *store.Tx) error { return datagen.Create(tx, b) })
	return b
}

// listed records the batch of an order that lists its identities, which are kept
// beside it as they are when an order is taken in.
func (s *mainSite) listed(ord string, cards int) datagen.Batch {
	s.Helper()
	var file strings.Builder
	fmt.Fprintf(&file, "Customer: Op\nQuantity: %d\nType: in-5g-usim\nProfile: 1.0\nBatch: 1\nTransport_key: 1\nPO_ref_number: 1\nVar_In_List:\n", cards)
	for _, id := range ids(s, cards).All() {
		fmt.Fprintf(&file, "IMSI:%s\nSer_nb:%s\n", id.IMSI, id.ICCID)
	}
	staged, err := order.Reading{}.Stage(s.TempDir(), "order.inp", strings.NewReader(file.String()))
	s.must(err)
	defer staged.Close()
	text, err := order.SealText(s.Context(), s.guard, ord, "kek/"+ord, staged)
	s.must(err)
	defer text.Close()
	o := order.Order{ID: ord, Partner: "op", Name: "order.inp", Batch: "1", Quantity: cards, State: order.Accepted, KEK: "kek/" + ord}
	s.change(func(tx *store.Tx) error { return errors.Join(order.Insert(tx, o), text.Put(tx, ord)) })
	p, err := profile.Builtin("in-5g-usim")
	s.must(err)
	wrapped, err := order.Wrapped(s.Context(), s.store, ord)
	s.must(err)
	b := datagen.Batch{Order: ord, KEK: "kek/" + ord, Wrapped: wrapped, Document: []byte(p.String()), Profile: p, Cards: cards, Spares: 7, BlockSize: 100, OP: "op"}
	s.change(func(tx *store.Tx) error { return datagen.Create(tx, b) })
	return b
}

// drawn checks that every block of the batches is there once, with its one entry
// and its fingerprint, that the log verifies, and that every card has its own
// identity and keys.
func (s *mainSite) drawn(batches ...datagen.Batch) {
	s.Helper()
	want := 0
	seen := map[string]bool{}
	for _, b := range batches {
		want += b.Blocks()
		r, err := datagen.NewReader(context.Background(), s.store, s.holder, b.Order)
		s.must(err)
		l, all := b.Profile.Layout(), ids(s, b.Cards)
		for k := range b.Cards + b.Spares {
			rec, err := r.Record(context.Background(), nil, k)
			s.must(err)
			key := string(l.Of(rec, profile.SlotK))
			if seen[key] {
				s.Errorf("order %s: key set %d is there twice", b.Order, k)
			}
			seen[key] = true
			if k >= b.Cards {
				continue
			}
			if id, err := datagen.Identity(l, rec); err != nil || id != all.At(uint64(k)) {
				s.Errorf("order %s: card %d has identity %v, %v", b.Order, k, id, err)
			}
		}
		r.Close()
	}
	entries := map[string]int{}
	for from := int64(0); ; from += 1000 {
		e, err := s.store.Entries(context.Background(), from, 1000)
		s.must(err)
		if len(e) == 0 {
			break
		}
		for _, e := range e {
			if e.Kind == "batch.block-generated" {
				entries[fmt.Sprint(e.Subject, " block ", e.Data["block"])]++
			}
		}
	}
	for what, n := range entries {
		if n != 1 {
			s.Errorf("%s has %d entries", what, n)
		}
	}
	var fingerprints int
	s.must(s.store.QueryRow(context.Background(), `SELECT count(*) FROM ledger_fingerprint`).Scan(&fingerprints))
	if len(entries) != want || fingerprints != want {
		s.Errorf("%d entries and %d fingerprints, want %d of each", len(entries), fingerprints, want)
	}
	if _, err := s.store.Fsck(context.Background(), s.store.VerifierKey()); err != nil {
		s.Errorf("fsck: %v", err)
	}
}

// Whoever draws needs no more than the batch, on either database.
func TestDrawer(t *testing.T) {
	s := newSite(t, storetest.New(t))
	b := s.batch("A1", 95, 10)
	s.want("no batch", s.drawer.Draw(t.Context(), "A9", datagen.Span{}), datagen.ErrNoBatch)
	s.must(s.drawer.Draw(t.Context(), "A1", datagen.Span{From: 2, To: 4}))
	for id, state := range map[string]keys.State{"kek": keys.Suspended, "op": keys.Compromised, "ledger": keys.Suspended} {
		s.state(id, state)
		s.want("key "+id+" is "+string(state), s.drawer.Draw(t.Context(), "A1", datagen.Span{To: 1}), keys.ErrState)
		s.state(id, keys.Live)
	}
	if n, err := datagen.Have(t.Context(), s.store, "A1"); err != nil || n != 2 {
		t.Errorf("%d blocks, %v: a key that does nothing has drawn some", n, err)
	}
	s.must(s.drawer.Draw(t.Context(), "A1", datagen.Span{To: b.Blocks()}))
	s.drawn(b)
	if err := new(worker.Drawer).Draw(t.Context(), "A1", datagen.Span{}); err == nil {
		t.Error("the zero Drawer draws")
	}
	uses := s.guard.Uses()
	if uses["kek"] == 0 || uses["op"] == 0 || uses["ledger"] == 0 {
		t.Errorf("uses %v: some are not counted", uses)
	}
}
