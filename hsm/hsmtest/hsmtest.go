// Package hsmtest tests that a security module does what hsm.Module says, and
// makes tokens and custodians for tests of other packages.
package hsmtest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"

	"ankan/aka"
	"ankan/hsm"
)

// Run runs the conformance tests. open gives an empty module, a new one for
// each call, and closes it when its test ends.
func Run(t *testing.T, open func(t *testing.T) hsm.Module) {
	tests := []struct {
		name string
		run  func(*suite)
	}{
		{"Info", (*suite).info},
		{"Check", (*suite).check},
		{"Random", (*suite).random},
		{"Generate", (*suite).generate},
		{"Destroy", (*suite).destroy},
		{"Purpose", (*suite).purpose},
		{"Cancelled", (*suite).cancelled},
		{"Sign", (*suite).sign},
		{"Decrypt", (*suite).decrypt},
		{"MAC", (*suite).mac},
		{"DataKey", (*suite).dataKey},
		{"GiveDataKey", (*suite).giveDataKey},
		{"GiveKey", (*suite).giveKey},
		{"SealColumn", (*suite).sealColumn},
		{"TripleDES", (*suite).tripleDES},
		{"Translate", (*suite).translate},
		{"OP", (*suite).op},
		{"ChipKeys", (*suite).chipKeys},
		{"Combine", (*suite).combine},
		{"CombineRefuses", (*suite).combineRefuses},
		{"Split", (*suite).split},
		{"Shares", (*suite).shares},
		{"SharesRefuse", (*suite).sharesRefuse},
		{"Export", (*suite).export},
		{"Import", (*suite).imports},
		{"ImportRefuses", (*suite).importRefuses},
		{"Weaker", (*suite).weaker},
		{"Master", (*suite).master},
		{"Rewrap", (*suite).rewrap},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.run(&suite{T: t, Module: open(t), ctx: context.Background(), open: open})
		})
	}
}

type suite struct {
	*testing.T
	hsm.Module
	ctx  context.Context
	open func(*testing.T) hsm.Module
}

// another is another module.
func (s *suite) another() *suite {
	return &suite{T: s.T, Module: s.open(s.T), ctx: s.ctx, open: s.open}
}

// make makes a key or ends the test.
func (s *suite) make(id string, p hsm.Purpose, a hsm.Algorithm) hsm.Key {
	s.Helper()
	k, err := s.Generate(s.ctx, id, p, a)
	s.must(err)
	return k
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// want reports an error that is not target.
func (s *suite) want(what string, err, target error) {
	s.Helper()
	if !errors.Is(err, target) {
		s.Errorf("%s: %v, want %v", what, err, target)
	}
}

func (s *suite) info() {
	i := s.Info()
	if i.Model == "" || i.Certificate == "" {
		s.Errorf("%+v leaves something unsaid", i)
	}
}

func (s *suite) check() {
	s.must(s.Check(s.ctx))
	s.make("order", hsm.Order, hsm.AES256)
	s.must(s.Check(s.ctx))
	s.must(s.Module.Destroy(s.ctx, "order"))
	s.must(s.Check(s.ctx))
}

func (s *suite) random() {
	a, b := make([]byte, 64), make([]byte, 64)
	s.must(s.Module.Random(a))
	s.must(s.Module.Random(b))
	if bytes.Equal(a, b) || bytes.Equal(a, make([]byte, 64)) {
		s.Errorf("%x and %x are not random", a, b)
	}
}

type kind struct {
	p hsm.Purpose
	a hsm.Algorithm
}

// travellers are the kinds of keys that leave one module for another.
var travellers = []kind{
	{hsm.Transport, hsm.AES128}, {hsm.Transport, hsm.AES256}, {hsm.Transport, hsm.TDES}, {hsm.Transport, hsm.TDES3},
	{hsm.Operator, hsm.AES128}, {hsm.Operator, hsm.AES256}, {hsm.Exchange, hsm.AES256},
}

// one is a key for every purpose.
var one = []kind{
	{hsm.Order, hsm.AES256}, {hsm.Subscriber, hsm.AES256}, {hsm.Transport, hsm.AES128}, {hsm.Transport, hsm.AES256}, {hsm.Transport, hsm.TDES}, {hsm.Transport, hsm.TDES3},
	{hsm.Operator, hsm.AES128}, {hsm.Operator, hsm.AES256}, {hsm.Ledger, hsm.HMAC256}, {hsm.Lot, hsm.AES256}, {hsm.Exchange, hsm.AES256}, {hsm.Unwrap, hsm.RSA3072}, {hsm.Agree, hsm.P521}, {hsm.LogSign, hsm.Ed25519},
	{hsm.SiteSign, hsm.Ed25519}, {hsm.MailSign, hsm.P256}, {hsm.MailOpen, hsm.RSA3072},
}

func (s *suite) generate() {
	if keys, err := s.Keys(s.ctx); err != nil || len(keys) != 0 {
		s.Fatalf("a new token has keys %v, %v", keys, err)
	}
	var ids []string
	for _, k := range one {
		id := string(k.p) + "/" + string(k.a)
		ids = append(ids, id)
		made := s.make(id, k.p, k.a)
		found, err := s.Key(s.ctx, id)
		s.must(err)
		for _, got := range []hsm.Key{made, found} {
			if got.ID != id || got.Purpose != k.p || got.Algorithm != k.a || got.Created.IsZero() || got.Exportable != k.p.Exports() {
				s.Errorf("%+v, want %s for %s that leaves: %t", got, k.a, k.p, k.p.Exports())
			}
			s.describes(got)
		}
		_, err = s.Generate(s.ctx, id, k.p, k.a)
		s.want("the same name again", err, hsm.ErrKeyExists)
	}
	keys, err := s.Keys(s.ctx)
	s.must(err)
	slices.Sort(ids)
	if !slices.EqualFunc(keys, ids, func(k hsm.Key, id string) bool { return k.ID == id }) {
		s.Errorf("keys %v, want %v", keys, ids)
	}
	_, err = s.Generate(s.ctx, "x", hsm.Order, hsm.AES128)
	s.want("an algorithm that does not fit", err, hsm.ErrPurpose)
	_, err = s.Generate(s.ctx, "x", "", hsm.AES128)
	s.want("no purpose", err, hsm.ErrPurpose)
	for _, id := range []string{"", "a b", "a\n"} {
		if _, err := s.Generate(s.ctx, id, hsm.Order, hsm.AES256); err == nil {
			s.Errorf("name %q is not refused", id)
		}
	}
	_, err = s.Key(s.ctx, "x")
	s.want("a key that there is not", err, hsm.ErrNoKey)
}

// describes checks that a key says of itself what its algorithm calls for.
func (s *suite) describes(k hsm.Key) {
	ok := false
	switch k.Algorithm {
	case hsm.AES128, hsm.AES256:
		ok = k.KCV.Method() == hsm.GP && k.Public == nil
	case hsm.TDES, hsm.TDES3:
		ok = k.KCV.Method() == hsm.ECBZeros && k.Public == nil
	case hsm.HMAC256:
		ok = k.KCV.IsZero() && k.Public == nil
	case hsm.P256, hsm.P521:
		pub, is := k.Public.(*ecdsa.PublicKey)
		ok = is && pub.Curve.Params().Name == string(k.Algorithm)
	case hsm.RSA3072:
		pub, is := k.Public.(*rsa.PublicKey)
		ok = is && pub.N.BitLen() == 3072
	case hsm.Ed25519:
		_, ok = k.Public.(ed25519.PublicKey)
	}
	if !ok {
		s.Errorf("%s describes itself by %v and %T", k.Algorithm, k.KCV, k.Public)
	}
}

func (s *suite) destroy() {
	before, err := s.Destroyed(s.ctx)
	s.must(err)
	destroyed := func(want ...string) {
		s.Helper()
		want = slices.Sorted(slices.Values(append(want, before...)))
		if names, err := s.Destroyed(s.ctx); err != nil || !slices.Equal(names, want) {
			s.Errorf("destroyed are %v, %v, want %v", names, err, want)
		}
	}
	destroyed()
	s.make("order", hsm.Order, hsm.AES256)
	dk, wrapped, err := s.NewDataKey(s.ctx, "order")
	s.must(err)
	dk.Close()
	s.must(s.Module.Destroy(s.ctx, "order"))
	s.want("a second time", s.Module.Destroy(s.ctx, "order"), hsm.ErrNoKey)
	_, err = s.Key(s.ctx, "order")
	s.want("Key", err, hsm.ErrNoKey)
	_, err = s.OpenDataKey(s.ctx, "order", wrapped)
	s.want("OpenDataKey", err, hsm.ErrNoKey)
	_, err = s.Generate(s.ctx, "order", hsm.Order, hsm.AES256)
	s.want("its name again", err, hsm.ErrKeyExists)
	if keys, err := s.Keys(s.ctx); err != nil || len(keys) != 0 {
		s.Errorf("%v, %v, want none", keys, err)
	}
	s.make("site", hsm.SiteSign, hsm.Ed25519)
	signer, err := s.Signer(s.ctx, "site")
	s.must(err)
	s.must(s.Module.Destroy(s.ctx, "site"))
	_, err = signer.Sign(rand.Reader, []byte("message"), crypto.Hash(0))
	s.want("a signer that was taken before", err, hsm.ErrNoKey)
	destroyed("order", "site")
}

// A use is one use of a key by its name, with the purposes that allow it.
type use struct {
	allowed []hsm.Purpose
	do      func(id string) error
}

func (s *suite) uses(dk *hsm.DataKey) map[string]use {
	agree := s.make("uses/agree", hsm.Agree, hsm.P521)
	given, err := hsm.Give(agree.Public, hsm.DataKeyContent, "label", make([]byte, 32))
	s.must(err)
	block := make([]byte, 16)
	data := []hsm.Purpose{hsm.Order, hsm.Subscriber}
	return map[string]use{
		"Signer": {[]hsm.Purpose{hsm.LogSign, hsm.SiteSign, hsm.MailSign}, func(id string) error {
			_, err := s.Signer(s.ctx, id)
			return err
		}},
		"Decrypter": {[]hsm.Purpose{hsm.MailOpen}, func(id string) error {
			_, err := s.Decrypter(s.ctx, id)
			return err
		}},
		"MAC": {[]hsm.Purpose{hsm.Ledger}, func(id string) error {
			_, err := s.MAC(s.ctx, id, block)
			return err
		}},
		"NewDataKey": {data, func(id string) error {
			_, _, err := s.NewDataKey(s.ctx, id)
			return err
		}},
		"OpenDataKey": {data, func(id string) error {
			_, err := s.OpenDataKey(s.ctx, id, nil)
			return ignore(err, hsm.ErrSealed)
		}},
		"GiveDataKey": {data, func(id string) error {
			_, err := s.GiveDataKey(s.ctx, id, nil, agree.Public, "label")
			return ignore(err, hsm.ErrSealed)
		}},
		"TakeDataKey into": {data, func(id string) error {
			_, err := s.TakeDataKey(s.ctx, "uses/agree", given, "label", id)
			return err
		}},
		"TakeDataKey by": {[]hsm.Purpose{hsm.Agree}, func(id string) error {
			_, err := s.TakeDataKey(s.ctx, id, nil, "label", "uses/order")
			return ignore(err, hsm.ErrSealed)
		}},
		"TakeKey": {[]hsm.Purpose{hsm.Agree}, func(id string) error {
			_, err := s.TakeKey(s.ctx, id, nil, "label", "uses/new", hsm.Transport, hsm.AES256)
			return ignore(err, hsm.ErrSealed)
		}},
		"Rewrap from": {data, func(id string) error {
			_, err := s.Rewrap(s.ctx, id, nil, "uses/order")
			return ignore(err, hsm.ErrSealed)
		}},
		"Rewrap to": {data, func(id string) error {
			_, err := s.Rewrap(s.ctx, "uses/order", nil, id)
			return ignore(err, hsm.ErrSealed)
		}},
		"CheckComponent": {[]hsm.Purpose{hsm.Agree}, func(id string) error {
			return ignore(s.CheckComponent(s.ctx, id, places(2)[0]), hsm.ErrSealed)
		}},
		"Combine": {[]hsm.Purpose{hsm.Agree}, func(id string) error {
			_, err := s.Combine(s.ctx, id, places(2), "uses/new", hsm.Transport, hsm.AES256, hsm.KCV{})
			return ignore(err, hsm.ErrSealed)
		}},
		"CheckShare": {[]hsm.Purpose{hsm.Agree}, func(id string) error {
			return ignore(s.CheckShare(s.ctx, id, sharePlaces(2)[0]), hsm.ErrSealed)
		}},
		"Restore": {[]hsm.Purpose{hsm.Agree}, func(id string) error {
			_, err := s.Restore(s.ctx, id, sharePlaces(2), "uses/new", hsm.Transport, hsm.AES256)
			return ignore(err, hsm.ErrSealed)
		}},
		"Import by AES-KW":  {[]hsm.Purpose{hsm.Exchange}, s.importBy(hsm.KW)},
		"Import by AES-KWP": {[]hsm.Purpose{hsm.Exchange}, s.importBy(hsm.KWP)},
		"Import by TR-31":   {[]hsm.Purpose{hsm.Exchange}, s.importBy(hsm.TR31)},
		"Import by OAEP":    {[]hsm.Purpose{hsm.Unwrap}, s.importBy(hsm.OAEP)},
		"Import by ECDH":    {[]hsm.Purpose{hsm.Agree}, s.importBy(hsm.ECDH)},
		"Export under": {[]hsm.Purpose{hsm.Exchange}, func(id string) error {
			_, err := s.Export(s.ctx, "uses/transport", hsm.Wrapping{Format: hsm.KW, Key: id})
			return err
		}},
		"SealColumn": {[]hsm.Purpose{hsm.Transport}, func(id string) error {
			return s.SealColumn(s.ctx, id, make([]byte, 16), block)
		}},
		"Translate": {[]hsm.Purpose{hsm.Transport}, func(id string) error {
			_, err := s.Module.Translate(s.ctx, id, block, 16, dk, func(int) []byte { return nil })
			return err
		}},
		"OP": {[]hsm.Purpose{hsm.Operator}, func(id string) error {
			_, err := s.Module.OP(s.ctx, id)
			return err
		}},
		"ChipKeys": {[]hsm.Purpose{hsm.Lot}, func(id string) error {
			_, err := s.Module.ChipKeys(s.ctx, id, []byte("serial"))
			return err
		}},
	}
}

// leaves is every way in which a key leaves a module.
func (s *suite) leaves(agree hsm.Key) map[string]func(id string) error {
	export := func(w hsm.Wrapping) func(id string) error {
		return func(id string) error {
			_, err := s.Export(s.ctx, id, w)
			return err
		}
	}
	to := []hsm.Holder{NewHolder("1001").Holder, NewHolder("1002").Holder}
	return map[string]func(id string) error{
		"GiveKey": func(id string) error {
			_, err := s.GiveKey(s.ctx, id, agree.Public, "label")
			return err
		},
		"Split": func(id string) error {
			_, err := s.Split(s.ctx, id, "set", hsm.ECBZeros, to) // which AES has too
			return err
		},
		"Export by AES-KW":  export(hsm.Wrapping{Format: hsm.KW, Key: "uses/exchange"}),
		"Export by AES-KWP": export(hsm.Wrapping{Format: hsm.KWP, Key: "uses/exchange"}),
		"Export by TR-31":   export(hsm.Wrapping{Format: hsm.TR31, Key: "uses/exchange"}),
		"Export by ECDH":    export(hsm.Wrapping{Format: hsm.ECDH, To: agree.Public, Label: "label"}),
	}
}

func (s *suite) importBy(f hsm.Format) func(id string) error {
	return func(id string) error {
		label := ""
		if f == hsm.ECDH {
			label = "label"
		}
		_, err := s.Import(s.ctx, nil, hsm.Wrapping{Format: f, Key: id, Label: label}, "uses/new", hsm.Transport, hsm.AES128)
		return ignore(err, hsm.ErrSealed)
	}
}

func ignore(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return err
}

// purpose tries every use on a key of every purpose, and on none.
func (s *suite) purpose() {
	s.make("uses/order", hsm.Order, hsm.AES256)
	s.make("uses/transport", hsm.Transport, hsm.AES128)
	dk, _, err := s.NewDataKey(s.ctx, "uses/order")
	s.must(err)
	defer dk.Close()
	for _, k := range one {
		s.make(string(k.p)+"/"+string(k.a), k.p, k.a)
	}
	for name, use := range s.uses(dk) {
		s.want(name+" of no key", use.do("none"), hsm.ErrNoKey)
		for _, k := range one {
			err := use.do(string(k.p) + "/" + string(k.a))
			if slices.Contains(use.allowed, k.p) {
				if err != nil {
					s.Errorf("%s with a key for %s: %v", name, k.p, err)
				}
				continue
			}
			s.want(name+" with a key for "+string(k.p), err, hsm.ErrPurpose)
		}
	}
	for _, k := range one {
		if k.p.Arrives() {
			continue
		}
		_, err := s.TakeKey(s.ctx, "uses/agree", nil, "label", "uses/new", k.p, k.a)
		s.want("TakeKey of a key for "+string(k.p), err, hsm.ErrPurpose)
	}
	_, err = s.TakeKey(s.ctx, "uses/agree", nil, "label", "uses/new", hsm.Lot, hsm.AES128)
	s.want("TakeKey of a lot key of AES-128", err, hsm.ErrPurpose)
}

func (s *suite) cancelled() {
	s.make("uses/order", hsm.Order, hsm.AES256)
	dk, _, err := s.NewDataKey(s.ctx, "uses/order")
	s.must(err)
	uses := s.uses(dk)
	leaves := s.leaves(s.make("agree", hsm.Agree, hsm.P521))
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	s.ctx = ctx
	for name, use := range uses {
		s.want(name, use.do("uses/order"), context.Canceled)
	}
	for name, leave := range leaves {
		s.want(name, leave("uses/order"), context.Canceled)
	}
	to := []hsm.Holder{NewHolder("1001").Holder, NewHolder("1002").Holder, NewHolder("1003").Holder}
	_, _, err = s.GenerateShared(ctx, "new", hsm.Ledger, hsm.HMAC256, "set", 2, to)
	s.want("GenerateShared", err, context.Canceled)
	_, err = s.Generate(ctx, "new", hsm.Order, hsm.AES256)
	s.want("Generate", err, context.Canceled)
	s.want("Destroy", s.Module.Destroy(ctx, "uses/order"), context.Canceled)
	_, err = s.Key(ctx, "uses/order")
	s.want("Key", err, context.Canceled)
	_, err = s.Keys(ctx)
	s.want("Keys", err, context.Canceled)
	s.want("Check", s.Check(ctx), context.Canceled)
}

func (s *suite) sign() {
	digest := sha256.Sum256([]byte("message"))
	for _, p := range []hsm.Purpose{hsm.LogSign, hsm.SiteSign} {
		k := s.make(string(p), p, hsm.Ed25519)
		signer, err := s.Signer(s.ctx, string(p))
		s.must(err)
		sig, err := signer.Sign(rand.Reader, []byte("message"), crypto.Hash(0))
		s.must(err)
		if !ed25519.Verify(k.Public.(ed25519.PublicKey), []byte("message"), sig) || !k.Public.(ed25519.PublicKey).Equal(signer.Public()) {
			s.Errorf("%s: signature does not verify", p)
		}
	}
	k := s.make("mail", hsm.MailSign, hsm.P256)
	signer, err := s.Signer(s.ctx, "mail")
	s.must(err)
	sig, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	s.must(err)
	pub := k.Public.(*ecdsa.PublicKey)
	if !ecdsa.VerifyASN1(pub, digest[:], sig) || !pub.Equal(signer.Public()) {
		s.Error("ECDSA signature does not verify")
	}
	for _, c := range []struct {
		digest []byte
		opts   crypto.SignerOpts
	}{{digest[:31], crypto.SHA256}, {digest[:], crypto.Hash(0)}, {digest[:], nil}} {
		if _, err := signer.Sign(rand.Reader, c.digest, c.opts); err == nil {
			s.Errorf("digest of %d bytes with %v is not refused", len(c.digest), c.opts)
		}
	}
}

func (s *suite) decrypt() {
	k := s.make("open", hsm.MailOpen, hsm.RSA3072)
	d, err := s.Decrypter(s.ctx, "open")
	s.must(err)
	pub := k.Public.(*rsa.PublicKey)
	if !pub.Equal(d.Public()) {
		s.Error("Public is another key's")
	}
	//lint:ignore SA1019 OpenPGP knows no other padding
	sealed, err := rsa.EncryptPKCS1v15(rand.Reader, pub, []byte("session key 1234"))
	s.must(err)
	//lint:ignore SA1019 OpenPGP knows no other padding
	for _, opts := range []crypto.DecrypterOpts{nil, &rsa.PKCS1v15DecryptOptions{SessionKeyLen: 16}} {
		plain, err := d.Decrypt(rand.Reader, sealed, opts)
		if err != nil || string(plain) != "session key 1234" {
			s.Errorf("%q, %v", plain, err)
		}
	}
	sealed[0] ^= 1
	_, err = d.Decrypt(rand.Reader, sealed, nil)
	s.want("changed", err, hsm.ErrSealed)
	_, err = d.Decrypt(rand.Reader, sealed, &rsa.OAEPOptions{Hash: crypto.SHA256})
	s.want("OAEP", err, hsm.ErrPurpose)
}

func (s *suite) mac() {
	s.make("a", hsm.Ledger, hsm.HMAC256)
	s.make("b", hsm.Ledger, hsm.HMAC256)
	mac := func(id string, parts ...[]byte) [32]byte {
		m, err := s.MAC(s.ctx, id, parts...)
		s.must(err)
		return m
	}
	first := mac("a", []byte("one"), []byte("two"))
	if mac("a", []byte("onetwo")) != first {
		s.Error("parts are not concatenated")
	}
	if mac("a", []byte("onetwo"), nil) != first || mac("a") == first || mac("b", []byte("onetwo")) == first {
		s.Error("MACs are not of key and message")
	}
}

func (s *suite) dataKey() {
	s.make("order", hsm.Order, hsm.AES256)
	s.make("other", hsm.Subscriber, hsm.AES256)
	dk, wrapped, err := s.NewDataKey(s.ctx, "order")
	s.must(err)
	sealed := dk.Seal(nil, []byte("block"), []byte("aad"))
	dk.Close()
	again, err := s.OpenDataKey(s.ctx, "order", wrapped)
	s.must(err)
	defer again.Close()
	if plain, err := again.Open(nil, sealed, []byte("aad")); err != nil || string(plain) != "block" {
		s.Errorf("%q, %v", plain, err)
	}
	second, _, err := s.NewDataKey(s.ctx, "order")
	s.must(err)
	defer second.Close()
	_, err = second.Open(nil, sealed, []byte("aad"))
	s.want("another data key", err, hsm.ErrSealed)
	_, err = s.OpenDataKey(s.ctx, "other", wrapped)
	s.want("another kek", err, hsm.ErrSealed)
	for i := range wrapped {
		bad := bytes.Clone(wrapped)
		bad[i] ^= 1
		_, err = s.OpenDataKey(s.ctx, "order", bad)
		s.want("changed", err, hsm.ErrSealed)
	}
	_, err = s.OpenDataKey(s.ctx, "order", wrapped[:len(wrapped)-8])
	s.want("cut", err, hsm.ErrSealed)
}

func (s *suite) giveDataKey() {
	there := s.another()
	s.make("order", hsm.Order, hsm.AES256)
	agree := there.make("agree", hsm.Agree, hsm.P521)
	there.make("batch", hsm.Order, hsm.AES256)
	there.make("agree2", hsm.Agree, hsm.P521)

	dk, wrapped, err := s.NewDataKey(s.ctx, "order")
	s.must(err)
	defer dk.Close()
	given, err := s.GiveDataKey(s.ctx, "order", wrapped, agree.Public, "order 1")
	s.must(err)
	wrapped2, err := there.TakeDataKey(s.ctx, "agree", given, "order 1", "batch")
	s.must(err)
	dk2, err := there.OpenDataKey(s.ctx, "batch", wrapped2)
	s.must(err)
	defer dk2.Close()
	if plain, err := dk2.Open(nil, dk.Seal(nil, []byte("block"), nil), nil); err != nil || string(plain) != "block" {
		s.Errorf("%q, %v", plain, err)
	}
	_, err = there.TakeDataKey(s.ctx, "agree", given, "order 2", "batch")
	s.want("another label", err, hsm.ErrSealed)
	_, err = there.TakeDataKey(s.ctx, "agree2", given, "order 1", "batch")
	s.want("another agree key", err, hsm.ErrSealed)
	_, err = there.TakeKey(s.ctx, "agree", given, "order 1", "transport", hsm.Transport, hsm.AES256)
	s.want("as a transport key", err, hsm.ErrSealed)
	short, err := hsm.Give(agree.Public, hsm.DataKeyContent, "order 1", make([]byte, 16))
	s.must(err)
	_, err = there.TakeDataKey(s.ctx, "agree", short, "order 1", "batch")
	s.want("a short data key", err, hsm.ErrSealed)
	_, err = s.GiveDataKey(s.ctx, "order", wrapped, there.make("log", hsm.LogSign, hsm.Ed25519).Public, "order 1")
	s.want("to a key that cannot agree", err, hsm.ErrPublicKey)
}

func (s *suite) giveKey() {
	there := s.another()
	agree := there.make("agree", hsm.Agree, hsm.P521)
	for _, k := range travellers {
		id := string(k.p) + "/" + string(k.a)
		mine := s.make(id, k.p, k.a)
		given, err := s.GiveKey(s.ctx, id, agree.Public, "k4")
		s.must(err)
		for _, other := range travellers {
			if other != k {
				_, err = there.TakeKey(s.ctx, "agree", given, "k4", id, other.p, other.a)
				s.want(id+" as another key", err, hsm.ErrSealed)
			}
		}
		_, err = there.TakeKey(s.ctx, "agree", given, "k5", id, k.p, k.a)
		s.want("another label", err, hsm.ErrSealed)
		taken, err := there.TakeKey(s.ctx, "agree", given, "k4", id, k.p, k.a)
		s.must(err)
		there.came(taken, mine)
		_, err = there.TakeKey(s.ctx, "agree", given, "k4", id, k.p, k.a)
		s.want("a second time", err, hsm.ErrKeyExists)
		s.must(there.Module.Destroy(s.ctx, id))
		_, err = there.TakeKey(s.ctx, "agree", given, "k4", id, k.p, k.a)
		s.want("after its destruction", err, hsm.ErrKeyExists)
	}
}

func (s *suite) sealColumn() {
	known := bytes.Repeat([]byte{7}, 16)
	agree := s.make("agree", hsm.Agree, hsm.P521)
	given, err := hsm.Give(agree.Public, hsm.KeyContent(hsm.Transport, hsm.AES128), "k4", known)
	s.must(err)
	_, err = s.TakeKey(s.ctx, "agree", given, "k4", "k4", hsm.Transport, hsm.AES128)
	s.must(err)
	src := make([]byte, 64)
	for i := range src {
		src[i] = byte(i)
	}
	b, err := aes.NewCipher(known)
	s.must(err)
	want := make([]byte, 64)
	for i := 0; i < 64; i += 16 {
		b.Encrypt(want[i:], src[i:])
	}
	dst := make([]byte, 64)
	s.must(s.SealColumn(s.ctx, "k4", dst, src))
	if !bytes.Equal(dst, want) {
		s.Errorf("%x, want %x", dst, want)
	}
	s.must(s.SealColumn(s.ctx, "k4", src, src))
	if !bytes.Equal(src, want) {
		s.Errorf("in place %x, want %x", src, want)
	}
	for _, c := range [][2]int{{17, 17}, {16, 32}, {32, 16}} {
		if err := s.SealColumn(s.ctx, "k4", make([]byte, c[0]), make([]byte, c[1])); err == nil {
			s.Errorf("%d bytes into %d are not refused", c[1], c[0])
		}
	}
}

func (s *suite) translate() {
	for _, a := range []hsm.Algorithm{hsm.AES256, hsm.TDES, hsm.TDES3} {
		s.translateFrom("k4/"+string(a), a)
	}
}

func (s *suite) translateFrom(k4 string, a hsm.Algorithm) {
	s.make(k4, hsm.Transport, a)
	s.make(k4+"/auc", hsm.Subscriber, hsm.AES256)
	dk, _, err := s.NewDataKey(s.ctx, k4+"/auc")
	s.must(err)
	plain := make([]byte, 5*32)
	s.must(s.Module.Random(plain))
	column := make([]byte, len(plain))
	s.must(s.SealColumn(s.ctx, k4, column, plain))
	aad := func(i int) []byte { return []byte{byte(i)} }
	sealed, err := s.Module.Translate(s.ctx, k4, column, 32, dk, aad)
	s.must(err)
	if len(sealed) != 5 {
		s.Fatalf("%d records, want 5", len(sealed))
	}
	for i, record := range sealed {
		got, err := dk.Open(nil, record, aad(i))
		if err != nil || !bytes.Equal(got, plain[32*i:32*i+32]) {
			s.Errorf("record %d: %v", i, err)
		}
		_, err = dk.Open(nil, record, aad(i+1))
		s.want("a record in another's place", err, hsm.ErrSealed)
	}
	for _, c := range []struct{ n, size int }{{32, 0}, {32, -16}, {40, 20}, {40, 16}, {36, 12}} {
		if _, err := s.Module.Translate(s.ctx, k4, make([]byte, c.n), c.size, dk, aad); err == nil {
			s.Errorf("%d bytes in records of %d are not refused", c.n, c.size)
		}
	}
	dk.Close()
	for _, closed := range []*hsm.DataKey{dk, {}, nil} {
		_, err = s.Module.Translate(s.ctx, k4, column, 32, closed, aad)
		s.want("a closed data key", err, hsm.ErrClosed)
	}
}

// op shares the OP of TS 35.208, test set 1, and the TOP of TS 35.233, test set
// 6, and computes their OPc and TOPc on the other side.
func (s *suite) op() {
	unhex := func(text string) []byte {
		b, err := hex.DecodeString(text)
		s.must(err)
		return b
	}
	agree := s.make("agree", hsm.Agree, hsm.P521)
	milenage := aka.Parameters{Algorithm: aka.MILENAGE}
	tuak := aka.Parameters{Algorithm: aka.TUAK, Tuak: aka.TuakParameters{K: 256, MAC: 64, RES: 64, CK: 128, IK: 128, Iterations: 2}}
	for i, v := range []struct {
		p, otherwise aka.Parameters
		a            hsm.Algorithm
		op, k, want  string
	}{
		{p: milenage, a: hsm.AES128, op: "cdc202d5123e20f62b6d676ac72cb318", k: "465b5ce8b199b49faa5f0a2ee238a6bc",
			want: "cd63cb71954a9f4e48a5994e37a02baf", otherwise: tuak},
		{p: tuak, a: hsm.AES256, op: "e59f6eb10ea406813f4991b0b9e02f181edf4c7e17b480f66d34da35ee88c95e",
			k:    "1574ca56881d05c189c82880f789c9cd4244955f4426aa2b69c29f15770e5aa5",
			want: "b04a66f26c62fcd6c82de22a179ab65506ecf47f56245cd149966cfa9cec7a51", otherwise: milenage},
	} {
		id := fmt.Sprintf("op%d", i)
		given, err := hsm.Give(agree.Public, hsm.KeyContent(hsm.Operator, v.a), "op 1", unhex(v.op))
		s.must(err)
		_, err = s.TakeKey(s.ctx, "agree", given, "op 1", id, hsm.Operator, v.a)
		s.must(err)
		op, err := s.Module.OP(s.ctx, id)
		s.must(err)
		if opc, err := op.OPc(nil, unhex(v.k), v.p); err != nil || hex.EncodeToString(opc) != v.want {
			s.Errorf("OPc of %s is %x, %v, want %s", v.p, opc, err, v.want)
		}
		if _, err := op.OPc(nil, make([]byte, v.otherwise.KeySize()), v.otherwise); err == nil {
			s.Errorf("the OP of %s is taken for one of %s", v.p, v.otherwise)
		}
		op.Close()
		for _, closed := range []*hsm.OP{op, {}, nil} {
			_, err := closed.OPc(nil, unhex(v.k), v.p)
			s.want("a closed OP", err, hsm.ErrClosed)
		}
	}
	for _, n := range []int{0, 15, 24, 33} {
		if _, err := hsm.NewOP(make([]byte, n)); err == nil {
			s.Errorf("an OP of %d bytes is taken", n)
		}
	}
}

func (s *suite) chipKeys() {
	master, serial := bytes.Repeat([]byte{9}, 32), []byte("serial")
	agree := s.make("agree", hsm.Agree, hsm.P521)
	given, err := hsm.Give(agree.Public, hsm.KeyContent(hsm.Lot, hsm.AES256), "lot 7", master)
	s.must(err)
	_, err = s.TakeKey(s.ctx, "agree", given, "lot 7", "lot7", hsm.Lot, hsm.AES256)
	s.must(err)
	ours, err := s.Module.ChipKeys(s.ctx, "lot7", serial)
	s.must(err)
	defer ours.Close()
	theirs, err := hsm.DiversifyChip(master, serial)
	s.must(err)
	key := bytes.Repeat([]byte{5}, 32)
	sealed, err := ours.SealKey(nil, key)
	s.must(err)
	if opened, err := theirs.OpenKey(nil, sealed); err != nil || !bytes.Equal(opened, key) {
		s.Errorf("the chip opens %x, %v", opened, err)
	}
	if _, err := s.Module.ChipKeys(s.ctx, "lot7", nil); err == nil {
		s.Error("no serial number is not refused")
	}
	for _, a := range []hsm.Algorithm{hsm.LotEMV, hsm.LotVISA2, hsm.LotNone3DES, hsm.LotKDF3, hsm.LotKDF3Short, hsm.LotNone, hsm.LotNoneShort} {
		s.chipKeysBy(a)
	}
}

// chipKeysBy checks a lot's key with a method of others. A module that cannot
// keep the key inside with it may refuse it.
func (s *suite) chipKeysBy(a hsm.Algorithm) {
	master, data := strong("lot "+string(a), 32), []byte("ten bytes!")
	if a.Cipher() != hsm.AES256 {
		master = master[:16]
	}
	agree, id := s.make("agree/"+string(a), hsm.Agree, hsm.P521), "lot/"+string(a)
	given, err := hsm.Give(agree.Public, hsm.KeyContent(hsm.Lot, a), "lot", master)
	s.must(err)
	k, err := s.TakeKey(s.ctx, agree.ID, given, "lot", id, hsm.Lot, a)
	if errors.Is(err, hsm.ErrAlgorithm) && hsm.MethodStaysInside(a) != nil {
		return
	}
	s.must(err)
	if k.Algorithm != a || k.KCV.IsZero() {
		s.Errorf("%s: taken as %s, check value %v", a, k.Algorithm, k.KCV)
	}
	ours, err := s.Module.ChipKeys(s.ctx, id, data)
	s.must(err)
	defer ours.Close()
	theirs, err := hsm.NewChipKeys(a, master, data)
	s.must(err)
	defer theirs.Close()
	if a.Cipher() == hsm.TDES {
		_, err1 := ours.DESSessionKeys(1)
		_, err2 := theirs.DESSessionKeys(1)
		s.must(errors.Join(err1, err2))
		return
	}
	one, err := ours.SealKey(nil, make([]byte, 16))
	s.must(err)
	two, err := theirs.SealKey(nil, make([]byte, 16))
	s.must(err)
	if !bytes.Equal(one, two) {
		s.Errorf("%s: the module derives other keys", a)
	}
}
