package perso

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"ankan/access"
	"ankan/act"
	"ankan/aka"
	"ankan/audit"
	"ankan/custody"
	"ankan/datagen"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/hsm/soft"
	"ankan/notice"
	"ankan/order"
	"ankan/passkey"
	"ankan/profile"
	"ankan/sim"
	"ankan/simos"
	"ankan/station"
	"ankan/store"
	"ankan/store/storetest"
	"ankan/uicc"
)

const (
	origin  = "plant.example/log"
	lotName = "LOT-1"
)

// A plant is a site as far as this package needs it.
type plant struct {
	testing.TB
	path    string
	token   *soft.Token
	signer  *audit.Signer
	store   *store.Store
	ledger  *order.Ledger
	profile *profile.Profile
	doc     []byte
	wrapped hsm.Wrapped
	product Product
	master  []byte // of the lot; the chip maker's
	maker   ed25519.PublicKey
	vendor  ed25519.PrivateKey
	tray    *tray
	made    uint32 // chips so far
	desk    *custody.Desk
	keys    map[string]*passkey.Soft

	policy act.Policy // read once, since it is a long document
}

func newPlant(t testing.TB) *plant {
	t.Helper()
	f := &plant{TB: t, path: storetest.New(t), token: hsmtest.Soft(t, nil), master: bytes.Repeat([]byte{0x5A}, 32), tray: newTray()}
	for id, k := range map[string]struct {
		hsm.Purpose
		hsm.Algorithm
	}{"kek": {hsm.Order, hsm.AES256}, "ledger": {hsm.Ledger, hsm.HMAC256}, "log": {hsm.LogSign, hsm.Ed25519}, "agree": {hsm.Agree, hsm.P521}, "op": {hsm.Operator, hsm.AES128}, "top": {hsm.Operator, hsm.AES256}} {
		_, err := f.token.Generate(t.Context(), id, k.Purpose, k.Algorithm)
		f.must(err)
	}
	key, err := f.token.Signer(t.Context(), "log")
	f.must(err)
	f.signer, err = audit.NewSigner(origin, key)
	f.must(err)
	f.openStore()
	f.ledger, err = order.NewLedger(f.token, "ledger")
	f.must(err)
	f.as("in-5g-usim")
	dk, wrapped, err := f.token.NewDataKey(t.Context(), "kek")
	f.must(err)
	dk.Close()
	f.wrapped = wrapped
	f.addLot()
	return f
}

// as has the cards made of a built-in profile.
func (f *plant) as(name string) {
	f.Helper()
	p, err := profile.Builtin(name)
	f.must(err)
	f.doc = []byte(p.String())
	f.profile, err = profile.Parse("profile.yaml", f.doc)
	f.must(err)
}

func (f *plant) openStore() {
	f.Helper()
	s, err := store.Open(f.Context(), store.Config{Path: f.path, Origin: origin, Signer: f.signer},
		access.Schema(), notice.Schema(), custody.Schema(), order.Schema(), datagen.Schema(), Schema())
	f.must(err)
	f.Cleanup(func() { s.Close() })
	f.store = s
}

// addLot is the chip maker: its operating system, and the lot's key for the plant.
func (f *plant) addLot() {
	f.Helper()
	var err error
	f.maker, f.vendor, err = ed25519.GenerateKey(nil)
	f.must(err)
	f.product = f.productOf("1.0")
	agree, err := f.token.Key(f.Context(), "agree")
	f.must(err)
	given, err := hsm.Give(agree.Public, hsm.KeyContent(hsm.Lot, hsm.AES256), "lot", f.master)
	f.must(err)
	_, err = f.token.TakeKey(f.Context(), "agree", given, "lot", f.product.LotKey, hsm.Lot, hsm.AES256)
	f.must(err)
}

func (f *plant) productOf(version string) Product {
	f.Helper()
	image := simos.Image{Name: "reference", Version: version, Algorithms: []string{"MILENAGE", "TUAK", "XOR"}, Body: []byte("operating system")}
	signed, err := image.Sign(f.vendor)
	f.must(err)
	digest, err := image.Digest()
	f.must(err)
	return Product{Lot: lotName, LotKey: "lot/1", Image: signed, Digest: digest, Algorithms: []aka.Algorithm{aka.MILENAGE, aka.TUAK, aka.XOR}}
}

func (f *plant) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// want reports an error that is not target.
func (f *plant) want(what string, err, target error) {
	f.Helper()
	if !errors.Is(err, target) {
		f.Errorf("%s: %v, want %v", what, err, target)
	}
}

func (f *plant) change(kind string, fn func(*store.Tx) error) error {
	return f.store.Change(context.WithoutCancel(f.Context()), audit.Entry{Kind: kind, Actor: "test"}, fn)
}

// batch is a batch on the line.
func (f *plant) batch(ord string, cards, spares int) {
	f.Helper()
	b := datagen.Batch{Order: ord, KEK: "kek", Wrapped: f.wrapped, Document: f.doc, Profile: f.profile, Cards: cards, Spares: spares, BlockSize: 100}
	f.must(f.change("test.batch", func(tx *store.Tx) error {
		if err := Offer(tx, Run{Order: ord, Bureau: "bureau", Agree: "agree", KEK: "kek"}); err != nil {
			return err
		}
		if err := MoveRun(tx, ord, "offered", "received"); err != nil {
			return err
		}
		return datagen.Create(tx, b)
	}))
	name := "op"
	if f.profile.Parameters().Algorithm == aka.TUAK {
		name = "top"
	}
	op, err := f.token.OP(f.Context(), name)
	f.must(err)
	defer op.Close()
	iccid, err := sim.ICCIDFromBody("899100000000000000")
	f.must(err)
	imsi, err := sim.ParseIMSI("404990000000000")
	f.must(err)
	ids, err := sim.NewIdentityRange(sim.Identity{ICCID: iccid, IMSI: imsi}, 1e6)
	f.must(err)
	g := datagen.Generator{Store: f.store, Token: f.token, Ledger: f.ledger, OP: op}
	f.must(g.Run(f.Context(), b, func(out []sim.Identity, first int) error {
		for i := range out {
			out[i] = ids.At(uint64(first + i))
		}
		return nil
	}, nil))
}

// load puts n fresh chips of the lot into the tray and returns their serials.
func (f *plant) load(n int) []simos.Serial {
	f.Helper()
	var all []simos.Serial
	for range n {
		all = append(all, f.chip(lotName, f.master))
	}
	return all
}

func (f *plant) chip(lot string, master []byte) simos.Serial {
	f.Helper()
	var s simos.Serial
	f.made++
	binary.BigEndian.PutUint32(s[2:], f.made)
	s[0], s[7] = 0x63, 0x47
	keys, err := hsm.DiversifyChip(master, s[:])
	f.must(err)
	c, err := simos.NewChip(simos.Config{Serial: s, Lot: lot, Keys: keys, Vendor: f.maker, Seed: append([]byte("a seed for tests"), s[:]...), Direct: true})
	f.must(err)
	f.tray.add(c)
	return s
}

func (f *plant) line() *Line {
	f.Helper()
	l, err := New(f.store, f.token, f.product)
	f.must(err)
	return l
}

// run is a line with this many stations.
func (f *plant) run(ctx context.Context, ord string, stations int) error {
	f.Helper()
	var all []Station
	for i := range stations {
		all = append(all, f.tray.station(fmt.Sprint("st", i)))
	}
	return f.line().Run(ctx, ord, These(all...))
}

func (f *plant) counts(ord string, cards int) Counts {
	f.Helper()
	c, err := Count(f.Context(), f.store, ord, cards)
	f.must(err)
	return c
}

// A row is a row of the line's book.
type row struct {
	card, keyset, tries int
	chip, state, reason string
}

func (f *plant) rows(ord string) []row {
	f.Helper()
	rows, err := f.store.Query(f.Context(), `SELECT card, keyset, tries, chip, state, reason FROM card WHERE ord = $1 ORDER BY card, keyset`, ord)
	f.must(err)
	defer rows.Close()
	var all []row
	for rows.Next() {
		var r row
		f.must(rows.Scan(&r.card, &r.keyset, &r.tries, &r.chip, &r.state, &r.reason))
		all = append(all, r)
	}
	f.must(rows.Err())
	return all
}

// aside is the reasons of the chips that were set aside.
func (f *plant) aside(ord string) []string {
	f.Helper()
	rows, err := f.store.Query(f.Context(), `SELECT chip, reason FROM set_aside WHERE ord = $1 ORDER BY at`, ord)
	f.must(err)
	defer rows.Close()
	all := []string{}
	for rows.Next() {
		var chip, reason string
		f.must(rows.Scan(&chip, &reason))
		all = append(all, chip+" "+reason)
	}
	f.must(rows.Err())
	return all
}

func (f *plant) entries(kind string) []audit.Entry {
	f.Helper()
	all, err := f.store.Entries(f.Context(), 0, int(f.store.Size()))
	f.must(err)
	return slices.DeleteFunc(all, func(e audit.Entry) bool { return e.Kind != kind })
}

// check looks from outside: the books against what the chips hold.
func (f *plant) check(ord string, cards int) {
	f.Helper()
	r, err := datagen.NewReader(f.Context(), f.store, f.token, ord)
	f.must(err)
	defer r.Close()
	c := f.counts(ord, cards)
	good, chips, keysets := map[int]bool{}, map[string]bool{}, map[int]bool{}
	for _, w := range f.rows(ord) {
		if chips[w.chip] || keysets[w.keyset] || w.state == "good" && good[w.card] {
			f.Errorf("%+v: the chip, key set or identity is there twice", w)
		}
		chips[w.chip], keysets[w.keyset] = true, true
		if w.state == "good" {
			good[w.card] = true
			f.isCard(r, w)
		}
	}
	if len(good) != c.Good || len(chips) != c.Good+c.Doubt+c.Reject+c.Destroyed || c.Cards != c.Good+c.Doubt+c.Reject+c.Waiting+c.Retired {
		f.Errorf("%+v do not balance with %d chips, %d of them good", c, len(chips), len(good))
	}
	f.noTwins()
}

// record is what a row's chip should hold.
func (f *plant) record(r *datagen.Reader, w row) []byte {
	f.Helper()
	rec, err := r.Record(f.Context(), nil, w.keyset)
	f.must(err)
	of, err := r.Record(f.Context(), nil, w.card)
	f.must(err)
	datagen.CopyIdentity(r.Batch.Profile.Layout(), rec, of)
	return rec
}

// isCard reads a good card as a phone and a network would, with code of its own.
func (f *plant) isCard(r *datagen.Reader, w row) {
	f.Helper()
	rec, l := f.record(r, w), r.Batch.Profile.Layout()
	c := f.tray.clone(w.chip)
	if c.Life() != simos.Secured {
		f.Errorf("%+v: chip is %v", w, c.Life())
	}
	id, err := Identify(f.Context(), bench{c}, bytes.TrimRight(l.Of(rec, profile.SlotPIN1), "\xFF"))
	f.must(err)
	want, err := datagen.Identity(l, rec)
	f.must(err)
	if id.ICCID != want.ICCID || id.IMSI != want.IMSI {
		f.Errorf("%+v: chip carries %v, want %v", w, id, want)
	}
	if err := answers(c, r.Batch.Profile.Parameters(), l.Of(rec, profile.SlotK), l.Of(rec, profile.SlotOPC)); err != nil {
		f.Errorf("%+v: %v", w, err)
	}
	all := r.Batch.Cards + r.Batch.Spares
	if all == 1 {
		return
	}
	other, err := r.Record(f.Context(), nil, (w.keyset+1)%all)
	f.must(err)
	if err := answers(c, r.Batch.Profile.Parameters(), l.Of(other, profile.SlotK), l.Of(other, profile.SlotOPC)); !errors.Is(err, uicc.SWWrongMAC) {
		f.Errorf("%+v takes the vector of another key set: %v", w, err)
	}
}

// answers has a card, its USIM selected and PIN1 verified, answer a vector.
func answers(c *simos.Chip, p aka.Parameters, k, opc []byte) error {
	alg, err := p.Open(k, opc)
	if err != nil {
		return err
	}
	v := alg.Vector(aka.RAND{1, 2, 3}, 1<<20, aka.EPS())
	b, err := uicc.NewSession(c).Authenticate(context.Background(), v.RAND, v.AUTN)
	if err != nil {
		return err
	}
	if len(b) < 10 || b[0] != 0xDB {
		return fmt.Errorf("answer of %d bytes is none", len(b))
	}
	return v.Verify(b[2 : 2+b[1]])
}

// noTwins compares what all chips of the tray hold: those that took keys never
// hold the same ones. A subscriber key that was written lies in a chip's memory.
func (f *plant) noTwins() {
	f.Helper()
	for ord, all := range f.subscriberKeys() {
		for n, key := range all {
			var holders []string
			for _, b := range f.tray.order {
				if bytes.Contains(b.chip.Marshal(), key) {
					holders = append(holders, b.chip.Serial().String())
				}
			}
			if len(holders) > 1 {
				f.Errorf("order %s: key set %d is on chips %v", ord, n, holders)
			}
		}
	}
}

func (f *plant) subscriberKeys() map[string][][]byte {
	f.Helper()
	runs, err := Runs(f.Context(), f.store)
	f.must(err)
	all := map[string][][]byte{}
	for _, run := range runs[max(0, len(runs)-1):] { // the last order: older chips are other chips
		r, err := datagen.NewReader(f.Context(), f.store, f.token, run.Order)
		f.must(err)
		for k := range r.Batch.Cards + r.Batch.Spares {
			rec, err := r.Record(f.Context(), nil, k)
			f.must(err)
			all[run.Order] = append(all[run.Order], r.Batch.Profile.Layout().Of(rec, profile.SlotK))
		}
		r.Close()
	}
	return all
}

// bench is a chip on a table, as a Reader for Identify.
type bench struct{ *simos.Chip }

func (b bench) Reset(context.Context) (uicc.ATR, error) { return b.Chip.Reset(), nil }
func (bench) Take(context.Context) error                { return station.ErrNoChips }
func (bench) Insert(context.Context, [8]byte) error     { return nil }
func (bench) Eject(context.Context) error               { return nil }
func (bench) Close() error                              { return nil }

// A tray is chips in the test's process. Slots of it are Readers.
type tray struct {
	mu    sync.Mutex
	order []*bay
	next  int
	sent  int           // commands and resets so far
	limit time.Duration // of its stations
	// cut, if not nil, is asked before and after each command; an error is
	// what the reader then gives.
	cut func(n int, after bool) error
}

// A bay holds one chip and what goes wrong with it.
type bay struct {
	chip  *simos.Chip
	name  string // its serial number, for it is in use while others are looked for
	seen  int    // commands and resets
	fault fault
	taken bool
	inUse bool
}

// fault gives another answer than the chip's to its n-th command or reset, or
// none at all; nil for the chip's own.
type fault func(ctx context.Context, n int) ([]byte, error)

func newTray() *tray { return new(tray) }

func (t *tray) add(c *simos.Chip) {
	t.order = append(t.order, &bay{chip: c, name: c.Serial().String()})
}

func (t *tray) find(serial string) *bay {
	for _, b := range t.order {
		if b.name == serial {
			return b
		}
	}
	return nil
}

func (t *tray) clone(serial string) *simos.Chip { return t.find(serial).chip.Clone() }

// remove takes a chip away, as somebody does who drops it.
func (t *tray) remove(serial string) *bay {
	i := slices.Index(t.order, t.find(serial))
	b := t.order[i]
	t.order = slices.Delete(t.order, i, i+1)
	if i < t.next {
		t.next--
	}
	return b
}

func (t *tray) station(name string) Station {
	return Station{Name: name, Answer: t.limit, Open: func(context.Context) (station.Reader, error) { return &slot{tray: t}, nil }}
}

var errSlot = errors.New("the slot is not as it should be")

type slot struct {
	tray   *tray
	bay    *bay
	broken error
}

func (s *slot) put(b *bay) error {
	if s.broken != nil {
		return s.broken
	}
	if s.bay != nil || b.inUse {
		return errSlot
	}
	b.taken, b.inUse, s.bay = true, true, b
	return nil
}

func (s *slot) Take(context.Context) error {
	s.tray.mu.Lock()
	defer s.tray.mu.Unlock()
	for ; s.tray.next < len(s.tray.order); s.tray.next++ {
		if b := s.tray.order[s.tray.next]; !b.taken {
			return s.put(b)
		}
	}
	return station.ErrNoChips
}

func (s *slot) Insert(_ context.Context, serial [8]byte) error {
	s.tray.mu.Lock()
	defer s.tray.mu.Unlock()
	if b := s.tray.find(simos.Serial(serial).String()); b != nil {
		return s.put(b)
	}
	return station.ErrAway
}

func (s *slot) Eject(context.Context) error {
	s.tray.mu.Lock()
	defer s.tray.mu.Unlock()
	if s.bay != nil {
		s.bay.chip.Off()
		s.bay.inUse = false
	}
	s.bay = nil
	return s.broken
}

func (s *slot) Close() error { return s.Eject(context.Background()) }

func (s *slot) Reset(ctx context.Context) (uicc.ATR, error) {
	return s.do(ctx, func() ([]byte, error) { return s.bay.chip.Reset(), nil })
}

func (s *slot) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	return s.do(ctx, func() ([]byte, error) {
		b, err := s.bay.chip.Transmit(ctx, cmd)
		if err != nil {
			err = fmt.Errorf("%w: %w", station.ErrMute, err)
		}
		return b, err
	})
}

func (s *slot) do(ctx context.Context, chip func() ([]byte, error)) ([]byte, error) {
	if s.broken != nil || s.bay == nil {
		return nil, errors.Join(s.broken, errSlot)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	n, cut := s.tray.count()
	if cut != nil {
		if err := cut(n, false); err != nil {
			return nil, s.fails(err)
		}
	}
	answer, err := s.answer(ctx, chip)
	if cut != nil {
		if dead := cut(n, true); dead != nil {
			err = dead
		}
	}
	return answer, s.fails(err)
}

func (t *tray) count() (int, func(int, bool) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent++
	return t.sent, t.cut
}

func (s *slot) answer(ctx context.Context, chip func() ([]byte, error)) ([]byte, error) {
	s.bay.seen++
	if s.bay.fault != nil {
		if b, err := s.bay.fault(ctx, s.bay.seen); b != nil || err != nil {
			return b, err
		}
	}
	return chip()
}

// fails breaks the slot unless the error is only the chip's.
func (s *slot) fails(err error) error {
	if err != nil && !errors.Is(err, station.ErrMute) {
		s.broken = err
	}
	return err
}

// ---- people

const (
	lead      = "2001"
	warehouse = "2002"
	officer   = "2003"
)

// hire founds the plant's people.
func (f *plant) hire() {
	f.Helper()
	f.keys = map[string]*passkey.Soft{}
	var all []act.Person
	for id, role := range map[string]string{lead: "shift-lead", warehouse: "warehouse", officer: "security-officer"} {
		k, err := passkey.NewSoft("plant.example", "https://plant.example")
		f.must(err)
		f.keys[id] = k
		all = append(all, act.Person{ID: id, Name: "Person " + id, Roles: []string{role}, Employment: act.Permanent, Credential: k.Credential})
	}
	people := access.New(f.store)
	keys := map[string]act.Key{}
	for id, k := range f.keys {
		keys[id] = k
	}
	f.policy = access.DefaultPolicy()
	founding, err := act.Found("plant", f.policy, all, keys, f.store.Now())
	f.must(err)
	f.must(people.Found(f.Context(), access.Founding{Founding: founding}))
	f.desk = custody.New("plant", f.store, people)
}

// warrant is leave to record that chips of an order were destroyed.
func (f *plant) warrant(ord string, chips ...string) custody.Warrant {
	f.Helper()
	return f.leave("chip.destroy", "order/"+ord, map[string]string{"chips_sha256": ChipsDigest(chips)})
}

// leave is leave to do an act about chips.
func (f *plant) leave(kind, subject string, params map[string]string) custody.Warrant {
	f.Helper()
	if f.desk == nil {
		f.hire()
	}
	rule, err := f.policy.Rule(kind)
	f.must(err)
	a := act.New("plant", kind, subject, lead, params, rule, f.store.Now())
	sign := func(who string, v act.Verb) act.Signature {
		assertion, err := f.keys[who].Sign(a.Challenge(v))
		f.must(err)
		return act.Signature{Person: who, Verb: v, At: f.store.Now(), Assertion: assertion}
	}
	f.must(f.desk.Request(f.Context(), a.Canonical(), sign(lead, act.Request)))
	f.must(f.desk.Sign(f.Context(), a.ID, sign(warehouse, act.Approve)))
	f.must(f.desk.Sign(f.Context(), a.ID, sign(officer, act.Approve)))
	w, err := f.desk.Warrant(f.Context(), a.ID)
	f.must(err)
	return w
}

// destroy has the people destroy all rejects of an order.
func (f *plant) destroy(ord string) []string {
	f.Helper()
	rejects, err := Rejects(f.Context(), f.store, ord)
	f.must(err)
	var chips []string
	for _, r := range rejects {
		chips = append(chips, r.Chip)
	}
	f.must(DestroyChips(f.Context(), f.store, f.warrant(ord, chips...), ord, chips, nil))
	return chips
}
