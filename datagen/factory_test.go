package datagen

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"ankan/audit"
	"ankan/hsm"
	"ankan/hsm/hsmtest"
	"ankan/hsm/soft"
	"ankan/order"
	"ankan/profile"
	"ankan/sim"
	"ankan/store"
	"ankan/store/storetest"
)

const origin = "bureau.example/log"

// A bureau is a site as far as this package needs it.
type bureau struct {
	testing.TB
	path   string
	token  *soft.Token
	signer *audit.Signer
	store  *store.Store
	ledger *order.Ledger
	doc    []byte
	prof   *profile.Profile
}

// theOP is what the tests know and the token does not tell.
var theOP = [16]byte{0xCD, 0xC2, 0x02, 0xD5, 0x12, 0x3E, 0x20, 0xF6, 0x2B, 0x6D, 0x67, 0x6A, 0xC7, 0x2C, 0xB3, 0x18}

func newBureau(t testing.TB) *bureau {
	t.Helper()
	f := &bureau{TB: t, path: storetest.New(t), token: hsmtest.Soft(t, nil)}
	for id, k := range map[string]struct {
		hsm.Purpose
		hsm.Algorithm
	}{"kek": {hsm.Order, hsm.AES256}, "ledger": {hsm.Ledger, hsm.HMAC256}, "log": {hsm.LogSign, hsm.Ed25519}} {
		_, err := f.token.Generate(t.Context(), id, k.Purpose, k.Algorithm)
		f.must(err)
	}
	key, err := f.token.Signer(t.Context(), "log")
	f.must(err)
	f.signer, err = audit.NewSigner(origin, key)
	f.must(err)
	f.store = f.open(f.path)
	f.ledger, err = order.NewLedger(f.token, "ledger")
	f.must(err)
	p, err := profile.Builtin("in-5g-usim")
	f.must(err)
	f.doc = []byte(p.String())
	f.prof, err = profile.Parse("profile.yaml", f.doc)
	f.must(err)
	return f
}

func (f *bureau) open(path string) *store.Store {
	f.Helper()
	s, err := store.Open(f.Context(), store.Config{Path: path, Origin: origin, Signer: f.signer}, order.Schema(), Schema())
	f.must(err)
	f.Cleanup(func() { s.Close() })
	return s
}

func (f *bureau) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// want reports an error that is not target.
func (f *bureau) want(what string, err, target error) {
	f.Helper()
	if !errors.Is(err, target) {
		f.Errorf("%s: %v, want %v", what, err, target)
	}
}

// generator is one whose OP the tests know.
func (f *bureau) generator() *Generator {
	f.Helper()
	op, err := hsm.NewOP(theOP[:])
	f.must(err)
	return &Generator{Store: f.store, Token: f.token, Ledger: f.ledger, OP: op}
}

// batch is a new batch without blocks.
func (f *bureau) batch(ord string, cards, spares, blockSize int) Batch {
	f.Helper()
	dk, wrapped, err := f.token.NewDataKey(f.Context(), "kek")
	f.must(err)
	dk.Close()
	b := Batch{Order: ord, KEK: "kek", Wrapped: wrapped, Document: f.doc, Profile: f.prof, Cards: cards, Spares: spares, BlockSize: blockSize}
	f.must(f.change("batch.created", func(tx *store.Tx) error { return Create(tx, b) }))
	return b
}

func (f *bureau) change(kind string, fn func(*store.Tx) error) error {
	return f.store.Change(context.WithoutCancel(f.Context()), audit.Entry{Kind: kind, Actor: "test"}, fn)
}

// generated is a batch with all its blocks.
func (f *bureau) generated(ord string, cards, spares, blockSize int) Batch {
	f.Helper()
	b := f.batch(ord, cards, spares, blockSize)
	f.must(f.generator().Run(f.Context(), b, f.identities(), nil))
	return b
}

// identities count on from the first ones of a test network.
func (f *bureau) identities() Identities {
	f.Helper()
	iccid, err := sim.ICCIDFromBody("899100000000000000")
	f.must(err)
	imsi, err := sim.ParseIMSI("001010000000000")
	f.must(err)
	msisdn, err := sim.ParseMSISDN("910000000000")
	f.must(err)
	r, err := sim.NewIdentityRange(sim.Identity{ICCID: iccid, IMSI: imsi, MSISDN: msisdn}, 1e9)
	f.must(err)
	return inRange(r)
}

// identityOf is that of card i.
func (f *bureau) identityOf(i int) sim.Identity {
	f.Helper()
	id := make([]sim.Identity, 1)
	f.must(f.identities()(id, i))
	return id[0]
}

func (f *bureau) dataKey(b Batch) *hsm.DataKey {
	f.Helper()
	dk, err := f.token.OpenDataKey(f.Context(), b.KEK, b.Wrapped)
	f.must(err)
	f.Cleanup(dk.Close)
	return dk
}

func (f *bureau) sealed(b Batch, n int) (sealed []byte) {
	f.Helper()
	f.must(f.store.QueryRow(f.Context(), `SELECT sealed FROM block WHERE ord = $1 AND n = $2`, b.Order, n).Scan(&sealed))
	return sealed
}

// have says which blocks of an order are stored, in order.
func (f *bureau) have(ord string) string {
	f.Helper()
	rows, err := f.store.Query(f.Context(), `SELECT n FROM block WHERE ord = $1 ORDER BY n`, ord)
	f.must(err)
	defer rows.Close()
	all := []int{}
	for rows.Next() {
		var n int
		f.must(rows.Scan(&n))
		all = append(all, n)
	}
	f.must(rows.Err())
	return fmt.Sprint(all)
}
