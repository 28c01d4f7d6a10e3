//go:build cgo

package pkcs11

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ck "github.com/miekg/pkcs11"

	"ankan/hsm"
	"ankan/hsm/hsmtest"
)

// faults stands between the package and the library. It counts calls and lets
// them fail.
type faults struct {
	cryptoki
	mu    sync.Mutex
	trace []string
	// decide is asked before each call, the n-th since reset: an error to give
	// instead of the call's answer, and whether the call is made nevertheless.
	decide func(n int, call string) (err error, made bool)
}

func (f *faults) reset(decide func(n int, call string) (error, bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trace, f.decide = nil, decide
}

// calls are the calls since reset.
func (f *faults) calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.trace)
}

func (f *faults) do(call string, make func() error) error {
	f.mu.Lock()
	n := len(f.trace)
	f.trace = append(f.trace, call)
	decide := f.decide
	f.mu.Unlock()
	if decide != nil {
		if err, made := decide(n, call); err != nil {
			if made {
				if err := make(); err != nil {
					return err
				}
			}
			return err
		}
	}
	return make()
}

// get is do for a call with a result.
func get[T any](f *faults, call string, make func() (T, error)) (got T, err error) {
	var kept T
	err = f.do(call, func() error { kept, err = make(); return err })
	if err != nil {
		return got, err
	}
	return kept, nil
}

func (f *faults) Initialize() error { return f.do("Initialize", f.cryptoki.Initialize) }
func (f *faults) Finalize() error   { return f.do("Finalize", f.cryptoki.Finalize) }
func (f *faults) GetSlotList() ([]uint, error) {
	return get(f, "GetSlotList", f.cryptoki.GetSlotList)
}
func (f *faults) GetTokenInfo(slot uint) (tokenInfo, error) {
	return get(f, "GetTokenInfo", func() (tokenInfo, error) { return f.cryptoki.GetTokenInfo(slot) })
}
func (f *faults) GetMechanismInfo(slot, m uint) (uint, error) {
	return get(f, "GetMechanismInfo", func() (uint, error) { return f.cryptoki.GetMechanismInfo(slot, m) })
}
func (f *faults) OpenSession(slot uint) (sessionHandle, error) {
	return get(f, "OpenSession", func() (sessionHandle, error) { return f.cryptoki.OpenSession(slot) })
}
func (f *faults) CloseSession(s sessionHandle) error {
	return f.do("CloseSession", func() error { return f.cryptoki.CloseSession(s) })
}
func (f *faults) GetSessionInfo(s sessionHandle) (uint, error) {
	return get(f, "GetSessionInfo", func() (uint, error) { return f.cryptoki.GetSessionInfo(s) })
}
func (f *faults) Login(s sessionHandle, pin []byte) error {
	return f.do("Login", func() error { return f.cryptoki.Login(s, pin) })
}
func (f *faults) GenerateRandom(s sessionHandle, n int) ([]byte, error) {
	return get(f, "GenerateRandom", func() ([]byte, error) { return f.cryptoki.GenerateRandom(s, n) })
}
func (f *faults) CreateObject(s sessionHandle, template []attribute) (objectHandle, error) {
	return get(f, "CreateObject", func() (objectHandle, error) { return f.cryptoki.CreateObject(s, template) })
}
func (f *faults) CopyObject(s sessionHandle, o objectHandle, template []attribute) (objectHandle, error) {
	return get(f, "CopyObject", func() (objectHandle, error) { return f.cryptoki.CopyObject(s, o, template) })
}
func (f *faults) DestroyObject(s sessionHandle, o objectHandle) error {
	return f.do("DestroyObject", func() error { return f.cryptoki.DestroyObject(s, o) })
}
func (f *faults) GetAttributeValue(s sessionHandle, o objectHandle, types ...uint) ([][]byte, error) {
	return get(f, "GetAttributeValue", func() ([][]byte, error) { return f.cryptoki.GetAttributeValue(s, o, types...) })
}
func (f *faults) FindObjectsInit(s sessionHandle, template []attribute) error {
	return f.do("FindObjectsInit", func() error { return f.cryptoki.FindObjectsInit(s, template) })
}
func (f *faults) FindObjects(s sessionHandle, limit int) ([]objectHandle, error) {
	return get(f, "FindObjects", func() ([]objectHandle, error) { return f.cryptoki.FindObjects(s, limit) })
}
func (f *faults) FindObjectsFinal(s sessionHandle) error {
	return f.do("FindObjectsFinal", func() error { return f.cryptoki.FindObjectsFinal(s) })
}
func (f *faults) EncryptInit(s sessionHandle, m mechanism, key objectHandle) error {
	return f.do("EncryptInit", func() error { return f.cryptoki.EncryptInit(s, m, key) })
}
func (f *faults) Encrypt(s sessionHandle, data []byte) ([]byte, error) {
	return get(f, "Encrypt", func() ([]byte, error) { return f.cryptoki.Encrypt(s, data) })
}
func (f *faults) DecryptInit(s sessionHandle, m mechanism, key objectHandle) error {
	return f.do("DecryptInit", func() error { return f.cryptoki.DecryptInit(s, m, key) })
}
func (f *faults) Decrypt(s sessionHandle, data []byte) ([]byte, error) {
	return get(f, "Decrypt", func() ([]byte, error) { return f.cryptoki.Decrypt(s, data) })
}
func (f *faults) SignInit(s sessionHandle, m mechanism, key objectHandle) error {
	return f.do("SignInit", func() error { return f.cryptoki.SignInit(s, m, key) })
}
func (f *faults) Sign(s sessionHandle, data []byte) ([]byte, error) {
	return get(f, "Sign", func() ([]byte, error) { return f.cryptoki.Sign(s, data) })
}
func (f *faults) GenerateKey(s sessionHandle, m mechanism, template []attribute) (objectHandle, error) {
	return get(f, "GenerateKey", func() (objectHandle, error) { return f.cryptoki.GenerateKey(s, m, template) })
}
func (f *faults) GenerateKeyPair(s sessionHandle, m mechanism, public, private []attribute) (pub, priv objectHandle, err error) {
	pair, err := get(f, "GenerateKeyPair", func() (p [2]objectHandle, err error) {
		p[0], p[1], err = f.cryptoki.GenerateKeyPair(s, m, public, private)
		return p, err
	})
	return pair[0], pair[1], err
}
func (f *faults) WrapKey(s sessionHandle, m mechanism, with, key objectHandle) ([]byte, error) {
	return get(f, "WrapKey", func() ([]byte, error) { return f.cryptoki.WrapKey(s, m, with, key) })
}
func (f *faults) UnwrapKey(s sessionHandle, m mechanism, with objectHandle, wrapped []byte, template []attribute) (objectHandle, error) {
	return get(f, "UnwrapKey", func() (objectHandle, error) { return f.cryptoki.UnwrapKey(s, m, with, wrapped, template) })
}
func (f *faults) DeriveKey(s sessionHandle, m mechanism, base objectHandle, template []attribute) (objectHandle, error) {
	return get(f, "DeriveKey", func() (objectHandle, error) { return f.cryptoki.DeriveKey(s, m, base, template) })
}

// faulty opens a new token behind faults.
func faulty(t testing.TB, c Config) (*Token, *faults) {
	t.Helper()
	f := &faults{}
	token := openToken(t, c, func(api cryptoki) cryptoki { f.cryptoki = api; return f })
	t.Cleanup(func() { f.reset(nil) })
	return token, f
}

// at lets the n-th call fail once.
func at(n int, err error, made bool) func(int, string) (error, bool) {
	return func(i int, _ string) (error, bool) {
		if i == n {
			return err, made
		}
		return nil, false
	}
}

// from lets the n-th call fail, and all after it.
func from(n int, err error, made bool) func(int, string) (error, bool) {
	return func(i int, _ string) (error, bool) {
		if i < n {
			return nil, false
		}
		return err, made && i == n
	}
}

// cold makes the token forget its idle sessions and the keys that it looked up,
// so that each try makes the same calls.
func (t *Token) cold() {
	s := t.token()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line == nil {
		return
	}
	for _, idle := range s.line.idle {
		s.module.api.CloseSession(idle.handle)
	}
	s.line.idle = nil
	clear(s.line.keys)
}

// cases are the faults that a call is tried with: it finds the session lost, or
// fails in one that works on. What writes fails before and after its work.
func cases(call string) []fault {
	all := []fault{{ckr(ck.CKR_DEVICE_REMOVED), false}, {ckr(ck.CKR_GENERAL_ERROR), false}}
	switch call {
	case "CreateObject", "CopyObject", "UnwrapKey", "DestroyObject", "GenerateKey", "GenerateKeyPair", "DeriveKey":
		all = append(all, fault{ckr(ck.CKR_SESSION_HANDLE_INVALID), true}, fault{ckr(ck.CKR_GENERAL_ERROR), true})
	}
	return all
}

type fault struct {
	err  error
	made bool // the call did its work all the same
}

// soon takes the pause of a lost token away.
func (t *Token) soon() {
	s := t.token()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = time.Time{}
}

// books counts the objects of a name that lie in the token.
type books struct{ live, gone, keys int }

func count(t testing.TB, token *Token, id string) (b books) {
	t.Helper()
	err := token.token().do(ctx, func(s *session) error {
		b = books{}
		data, err := s.find(number(ck.CKA_CLASS, ck.CKO_DATA), text(ck.CKA_LABEL, id))
		if err != nil {
			return err
		}
		for _, o := range data {
			v, err := s.read(o, ck.CKA_VALUE)
			if err != nil {
				return err
			}
			if strings.HasPrefix(string(v[0]), firstGone+"\n") {
				b.gone++
			} else {
				b.live++
			}
		}
		for _, class := range []uint{ck.CKO_SECRET_KEY, ck.CKO_PRIVATE_KEY, ck.CKO_PUBLIC_KEY} {
			keys, err := s.find(number(ck.CKA_CLASS, class), text(ck.CKA_LABEL, id))
			if err != nil {
				return err
			}
			b.keys += len(keys)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// scrub removes all that a name has left in the token: SoftHSM looks at every
// object for each search.
func scrub(t testing.TB, token *Token, ids ...string) {
	t.Helper()
	err := token.token().do(ctx, func(s *session) error {
		for _, id := range ids {
			found, err := s.find(flag(ck.CKA_TOKEN, true), text(ck.CKA_LABEL, id))
			if err != nil {
				return err
			}
			for _, o := range found {
				if err := s.api.DestroyObject(s.handle, o); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sessionObjects counts what lies in sessions and should be gone.
func sessionObjects(t testing.TB, token *Token) (n int) {
	t.Helper()
	err := token.token().do(ctx, func(s *session) error {
		n = 0
		for _, class := range []uint{ck.CKO_SECRET_KEY, ck.CKO_PRIVATE_KEY, ck.CKO_PUBLIC_KEY} {
			found, err := s.find(number(ck.CKA_CLASS, class), flag(ck.CKA_TOKEN, false))
			if err != nil {
				return err
			}
			n += len(found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// makers are the ways by which a key comes to be.
func makers(t *testing.T, token *Token) map[string]func(id string) error {
	agree, err := token.Generate(ctx, "agree", hsm.Agree, hsm.P521)
	if err != nil {
		t.Fatal(err)
	}
	given, err := hsm.Give(agree.Public, hsm.KeyContent(hsm.Lot, hsm.AES256), "lot", bytes.Repeat([]byte{1, 2, 3, 4}, 8))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]func(id string) error{
		"order": func(id string) error { _, err := token.Generate(ctx, id, hsm.Order, hsm.AES256); return err },
		"site":  func(id string) error { _, err := token.Generate(ctx, id, hsm.SiteSign, hsm.Ed25519); return err },
		"lot": func(id string) error {
			_, err := token.TakeKey(ctx, "agree", given, "lot", id, hsm.Lot, hsm.AES256)
			return err
		},
	}
}

// One call of a making fails, before or after it did its work. The key is
// there and whole, or nothing of it is and its name can be used.
func TestMakingFailsOnce(t *testing.T) {
	for _, name := range []string{"order", "site", "lot"} {
		token, f := faulty(t, configure(newLabel(t)))
		make := makers(t, token)[name]
		token.cold()
		f.reset(nil)
		if err := make("model"); err != nil {
			t.Fatal(err)
		}
		for n, call := range f.calls() {
			for i, c := range cases(call) {
				id := fmt.Sprintf("%d/%d", n, i)
				token.cold()
				f.reset(at(n, c.err, c.made))
				err := make(id)
				f.reset(nil)
				if lost(c.err) && err != nil {
					t.Errorf("%s: call %d, %s, lost by %+v: %v", name, n, call, c, err)
				}
				whole(t, token, id, err, func() error { return make(id) })
				token.cold()
				if n := sessionObjects(t, token); n > 0 {
					t.Errorf("%s: call %d, %s, %+v: %d objects are left in sessions", name, n, call, c, n)
				}
			}
		}
	}
}

// whole looks whether a key is there wholly or not at all, and is made by a
// second try if it was not.
func whole(t *testing.T, token *Token, id string, err error, again func() error) {
	t.Helper()
	if err != nil {
		if err := again(); err != nil && !errors.Is(err, hsm.ErrKeyExists) {
			t.Errorf("%s: second try: %v", id, err)
		}
	}
	if b := count(t, token, id); b != (books{live: 1, keys: 1}) {
		t.Errorf("%s: after %v the token has %+v, want one record and one key", id, err, b)
	}
	if _, err := token.Key(ctx, id); err != nil {
		t.Errorf("%s: %v", id, err)
	}
	if err := again(); !errors.Is(err, hsm.ErrKeyExists) {
		t.Errorf("%s: again: %v, want ErrKeyExists", id, err)
	}
	scrub(t, token, id)
}

// Whatever fails while a key is made with a backup: if there is a key, its
// shares are those of it and of no other.
func TestSharesFailOnce(t *testing.T) {
	token, f := faulty(t, configure(newLabel(t)))
	agree, err := token.Generate(ctx, "agree", hsm.Agree, hsm.P521)
	if err != nil {
		t.Fatal(err)
	}
	var holders []hsmtest.Holder
	var to []hsm.Holder
	for _, name := range []string{"p1", "p2", "p3"} {
		h := hsmtest.NewHolder(name)
		holders, to = append(holders, h), append(to, h.Holder)
	}
	generate := func(id string) (hsm.Key, []hsm.Share, error) {
		token.cold()
		return token.GenerateShared(ctx, id, hsm.Subscriber, hsm.AES256, "set", 2, to)
	}
	f.reset(nil)
	if _, _, err := generate("model"); err != nil {
		t.Fatal(err)
	}
	for n, call := range f.calls() {
		for i, c := range cases(call) {
			id := fmt.Sprintf("%d/%d", n, i)
			f.reset(at(n, c.err, c.made))
			key, shares, err := generate(id)
			f.reset(nil)
			if err != nil {
				if lost(c.err) || shares != nil {
					t.Errorf("call %d, %s, %+v: %v, with %d shares", n, call, c, err, len(shares))
				}
				if _, err := token.Key(ctx, id); !errors.Is(err, hsm.ErrNoKey) {
					t.Errorf("call %d, %s, %+v: a key without a backup: %v", n, call, c, err)
				}
				continue
			}
			for j := range shares {
				if shares[j], err = holders[j].PassShare(shares[j], agree.Public); err != nil {
					t.Fatal(err)
				}
			}
			back, err := token.Restore(ctx, "agree", shares[1:], id+"/back", hsm.Subscriber, hsm.AES256)
			if err != nil {
				t.Fatal(err)
			}
			if same, err := back.KCV.Matches(key.KCV); err != nil || !same {
				t.Errorf("call %d, %s, %+v: the shares give %v, the key is %v", n, call, c, back.KCV, key.KCV)
			}
			if k, err := token.Key(ctx, id); err != nil || k.KCV.String() != key.KCV.String() {
				t.Errorf("call %d, %s, %+v: the token has %v, %v", n, call, c, k.KCV, err)
			}
			scrub(t, token, id, id+"/back")
		}
	}
}

// The token goes away in the middle of a making and comes back later.
func TestTokenGoesWhileMaking(t *testing.T) {
	token, f := faulty(t, configure(newLabel(t)))
	for name, make := range makers(t, token) {
		token.cold()
		f.reset(nil)
		if err := make(name + "/model"); err != nil {
			t.Fatal(err)
		}
		model := f.calls()
		for n, call := range model {
			id := fmt.Sprintf("%s/%d", name, n)
			token.cold()
			f.reset(from(n, ckr(ck.CKR_DEVICE_REMOVED), n%2 == 0))
			err := make(id)
			if !errors.Is(err, ErrGone) && call != "DestroyObject" {
				t.Errorf("%s: call %d of %d, %s: %v, want ErrGone", name, n, len(model), call, err)
			}
			if err := token.Check(ctx); !errors.Is(err, ErrGone) {
				t.Errorf("%s: Check: %v, want ErrGone", id, err)
			}
			f.reset(nil)
			token.soon()
			whole(t, token, id, err, func() error { return make(id) })
		}
	}
}

// Each call of a destruction fails in each shape; then the destruction is
// asked for again, or the token is opened anew. Either ends it.
func TestDestroyFails(t *testing.T) {
	c := configure(newLabel(t))
	token, f := faulty(t, c)
	generate := func(id string) {
		t.Helper()
		if _, err := token.Generate(ctx, id, hsm.Order, hsm.AES256); err != nil {
			t.Fatal(err)
		}
	}
	generate("model")
	token.cold()
	f.reset(nil)
	if err := token.Destroy(ctx, "model"); err != nil {
		t.Fatal(err)
	}
	for n, call := range f.calls() {
		for i, c := range cases(call) {
			for _, forever := range []bool{false, true} {
				id := fmt.Sprintf("%d/%d/%t", n, i, forever)
				generate(id)
				token.cold()
				f.reset(at(n, c.err, c.made))
				if forever {
					f.reset(from(n, c.err, c.made))
				}
				err := token.Destroy(ctx, id)
				f.reset(nil)
				token.soon()
				if !forever && lost(c.err) && err != nil {
					t.Errorf("call %d, %s, lost by %+v: %v", n, call, c, err)
				}
				destroyed(t, token, id, err, n%2 == 0)
			}
		}
	}
}

// destroyed looks whether a destruction that gave err is ended by a second try,
// or, if it had begun, by opening the token.
func destroyed(t *testing.T, token *Token, id string, err error, again bool) {
	t.Helper()
	begun := count(t, token, id).gone > 0
	if begun {
		if _, err := token.Key(ctx, id); !errors.Is(err, hsm.ErrNoKey) {
			t.Errorf("%s: there is a tombstone, and Key gives %v", id, err)
		}
		if _, err := token.OpenDataKey(ctx, id, nil); !errors.Is(err, hsm.ErrNoKey) {
			t.Errorf("%s: there is a tombstone, and OpenDataKey gives %v", id, err)
		}
	}
	switch {
	case err == nil:
	case again || !begun:
		if err := token.Destroy(ctx, id); err != nil && !errors.Is(err, hsm.ErrNoKey) {
			t.Errorf("%s: second try: %v", id, err)
		}
	default:
		if err := openToken(t, token.token().cfg).Close(); err != nil {
			t.Error(err)
		}
	}
	if b := count(t, token, id); b.live != 0 || b.keys != 0 || b.gone == 0 {
		t.Errorf("%s: after %v the token has %+v, want a tombstone", id, err, b)
	}
	if _, err := token.Generate(ctx, id, hsm.Order, hsm.AES256); !errors.Is(err, hsm.ErrKeyExists) {
		t.Errorf("%s: its name again: %v, want ErrKeyExists", id, err)
	}
	scrub(t, token, id)
}

// users are all that a token does and that changes nothing in it.
func users(t *testing.T, token *Token) map[string]func() error {
	t.Helper()
	for id, k := range map[string]struct {
		p hsm.Purpose
		a hsm.Algorithm
	}{
		"order": {hsm.Order, hsm.AES256}, "k4": {hsm.Transport, hsm.AES256}, "op": {hsm.Operator, hsm.AES128},
		"ledger": {hsm.Ledger, hsm.HMAC256}, "lot": {hsm.Lot, hsm.AES256}, "agree": {hsm.Agree, hsm.P521},
		"site": {hsm.SiteSign, hsm.Ed25519}, "mail": {hsm.MailSign, hsm.P256}, "open": {hsm.MailOpen, hsm.RSA3072},
		"auc": {hsm.Subscriber, hsm.AES256}, "kek": {hsm.Exchange, hsm.AES256},
	} {
		if _, err := token.Generate(ctx, id, k.p, k.a); err != nil {
			t.Fatal(err)
		}
	}
	agree, err := token.Key(ctx, "agree")
	if err != nil {
		t.Fatal(err)
	}
	given, err := hsm.Give(agree.Public, hsm.DataKeyContent, "label", make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	dk, wrapped, err := token.NewDataKey(ctx, "order")
	if err != nil {
		t.Fatal(err)
	}
	open, err := token.Key(ctx, "open")
	if err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1019 OpenPGP knows no other padding
	sealed, err := rsa.EncryptPKCS1v15(rand.Reader, open.Public.(*rsa.PublicKey), []byte("session key"))
	if err != nil {
		t.Fatal(err)
	}
	sign := func(id string, digest []byte, h crypto.Hash) error {
		signer, err := token.Signer(ctx, id)
		if err != nil {
			return err
		}
		_, err = signer.Sign(rand.Reader, digest, h)
		return err
	}
	holders := []hsm.Holder{hsmtest.NewHolder("p1").Holder, hsmtest.NewHolder("p2").Holder}
	component := hsm.Component{Set: "set", Index: 1, Of: 2, Holder: "p1", Algorithm: hsm.AES256}
	component, err = component.Seal(agree.Public, hsm.GP, randomBytes(32))
	if err != nil {
		t.Fatal(err)
	}
	column := make([]byte, 3*chunk)
	return map[string]func() error{
		"Check":  func() error { return token.Check(ctx) },
		"Random": func() error { return token.Random(make([]byte, chunk+1)) },
		"Key":    func() error { _, err := token.Key(ctx, "order"); return err },
		"Keys": func() error {
			keys, err := token.Keys(ctx)
			if err == nil && len(keys) != 11 {
				err = fmt.Errorf("%d keys, want 11", len(keys))
			}
			return err
		},
		"Sign Ed25519": func() error { return sign("site", []byte("message"), 0) },
		"Sign P-256":   func() error { return sign("mail", make([]byte, 32), crypto.SHA256) },
		"Decrypt": func() error {
			d, err := token.Decrypter(ctx, "open")
			if err != nil {
				return err
			}
			plain, err := d.Decrypt(rand.Reader, sealed, nil)
			if err == nil && string(plain) != "session key" {
				err = fmt.Errorf("%q", plain)
			}
			return err
		},
		"MAC":         func() error { _, err := token.MAC(ctx, "ledger", []byte("x")); return err },
		"NewDataKey":  func() error { _, _, err := token.NewDataKey(ctx, "order"); return err },
		"OpenDataKey": func() error { _, err := token.OpenDataKey(ctx, "order", wrapped); return err },
		"GiveDataKey": func() error {
			_, err := token.GiveDataKey(ctx, "order", wrapped, agree.Public, "label")
			return err
		},
		"TakeDataKey": func() error { _, err := token.TakeDataKey(ctx, "agree", given, "label", "order"); return err },
		"GiveKey":     func() error { _, err := token.GiveKey(ctx, "k4", agree.Public, "label"); return err },
		"SealColumn":  func() error { return token.SealColumn(ctx, "k4", make([]byte, len(column)), column) },
		"Translate": func() error {
			_, err := token.Translate(ctx, "k4", column, 48<<10, dk, func(int) []byte { return nil })
			return err
		},
		"OP":             func() error { _, err := token.OP(ctx, "op"); return err },
		"CheckComponent": func() error { return token.CheckComponent(ctx, "agree", component) },
		"Split":          func() error { _, err := token.Split(ctx, "k4", "set", hsm.GP, holders); return err },
		"Rewrap":         func() error { _, err := token.Rewrap(ctx, "order", wrapped, "auc"); return err },
		"Export": func() error {
			for _, f := range []hsm.Format{hsm.KW, hsm.KWP, hsm.TR31} {
				if _, err := token.Export(ctx, "k4", hsm.Wrapping{Format: f, Key: "kek"}); err != nil {
					return err
				}
			}
			return nil
		},
		"ChipKeys": func() error { _, err := token.ChipKeys(ctx, "lot", []byte("serial")); return err },
	}
}

// What changes nothing works though a call finds the session lost, and gives
// the call's own error if it works on.
func TestUseFails(t *testing.T) {
	token, f := faulty(t, configure(newLabel(t)))
	losses := []error{ckr(ck.CKR_DEVICE_REMOVED), ckr(ck.CKR_TOKEN_NOT_PRESENT), ckr(ck.CKR_SESSION_HANDLE_INVALID),
		ckr(ck.CKR_USER_NOT_LOGGED_IN), ckr(ck.CKR_DEVICE_ERROR), ckr(ck.CKR_CRYPTOKI_NOT_INITIALIZED)}
	for name, use := range users(t, token) {
		token.cold()
		f.reset(nil)
		if err := use(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for n, call := range f.calls() {
			for _, loss := range losses {
				token.cold()
				f.reset(at(n, loss, n%2 == 0))
				if err := use(); err != nil {
					t.Errorf("%s: call %d, %s, lost by %v: %v", name, n, call, loss, err)
				}
			}
			// What tidies up may fail; what does not open is tried again.
			tidies := call == "DestroyObject" || call == "CloseSession"
			again := name == "OpenDataKey" || name == "GiveDataKey" || name == "Rewrap"
			token.cold()
			f.reset(at(n, ckr(ck.CKR_FUNCTION_FAILED), false))
			if err := use(); is(err, ck.CKR_FUNCTION_FAILED) == tidies && !(again && call == "UnwrapKey" && err == nil) {
				t.Errorf("%s: call %d, %s, fails: %v", name, n, call, err)
			}
			token.cold()
			f.reset(from(n, ckr(ck.CKR_TOKEN_NOT_PRESENT), false))
			if err := use(); !errors.Is(err, ErrGone) && !tidies {
				t.Errorf("%s: call %d, %s, and all later ones fail: %v, want ErrGone", name, n, call, err)
			}
			f.reset(nil)
			token.soon()
			if err := use(); err != nil {
				t.Errorf("%s: the token is back: %v", name, err)
			}
		}
	}
}

// A column that is encrypted in place is not encrypted twice.
func TestSealColumnInPlace(t *testing.T) {
	token, f := faulty(t, configure(newLabel(t)))
	if _, err := token.Generate(ctx, "k4", hsm.Transport, hsm.AES128); err != nil {
		t.Fatal(err)
	}
	plain := make([]byte, 3*chunk+16)
	rand.Read(plain)
	want := make([]byte, len(plain))
	f.reset(nil)
	if err := token.SealColumn(ctx, "k4", want, plain); err != nil {
		t.Fatal(err)
	}
	for n := range f.calls() {
		for _, made := range []bool{false, true} {
			got := bytes.Clone(plain)
			f.reset(at(n, ckr(ck.CKR_DEVICE_ERROR), made))
			if err := token.SealColumn(ctx, "k4", got, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("call %d: %v; the column is right: %t", n, err, bytes.Equal(got, want))
			}
		}
	}
}

// Opening fails at each call, and works after.
func TestOpenFails(t *testing.T) {
	c := configure(newLabel(t))
	f := &faults{}
	between := func(api cryptoki) cryptoki { f.cryptoki = api; return f }
	if err := openToken(t, c, between).Close(); err != nil {
		t.Fatal(err)
	}
	for n, call := range f.calls() {
		for _, made := range []bool{false, true} {
			f.reset(at(n, ckr(ck.CKR_FUNCTION_FAILED), made))
			token, err := open(ctx, c, between)
			if token != nil {
				err = errors.Join(err, token.Close())
			}
			// Another token's slot may be broken.
			if !is(err, ck.CKR_FUNCTION_FAILED) && call != "GetTokenInfo" && call != "CloseSession" {
				t.Errorf("call %d, %s: %v", n, call, err)
			}
		}
	}
	f.reset(nil)
	openToken(t, c)
}

// A token that stays away is asked in growing pauses only.
func TestPauses(t *testing.T) {
	token, f := faulty(t, configure(newLabel(t)))
	f.reset(from(0, ckr(ck.CKR_TOKEN_NOT_PRESENT), false))
	if err := token.Check(ctx); !errors.Is(err, ErrGone) {
		t.Fatalf("%v, want ErrGone", err)
	}
	asked := len(f.calls())
	if err := token.Check(ctx); !errors.Is(err, ErrGone) || len(f.calls()) != asked {
		t.Errorf("%v, want ErrGone without a call; %d calls", err, len(f.calls())-asked)
	}
	s := token.token()
	for range 12 {
		token.soon()
		if err := token.Check(ctx); !errors.Is(err, ErrGone) {
			t.Fatalf("%v, want ErrGone", err)
		}
	}
	if pause := time.Until(s.after); pause < maxPause/2 || pause > maxPause {
		t.Errorf("after 13 failures the pause is %v, want %v", pause, maxPause)
	}
	f.reset(nil)
	token.soon()
	if err := token.Check(ctx); err != nil {
		t.Error(err)
	}
	if s.failures != 0 {
		t.Errorf("%d failures are remembered", s.failures)
	}
}

// The PIN is changed while the token is away: it is tried once and never
// again, or the token would lock it.
func TestPINChanged(t *testing.T) {
	c := configure(newLabel(t))
	pin := []byte(userPIN)
	var given [][]byte
	c.PIN = func() ([]byte, error) {
		p := bytes.Clone(pin)
		given = append(given, p)
		return p, nil
	}
	token, f := faulty(t, c)
	pin = []byte("13572468")
	logins := 0
	f.reset(func(n int, call string) (error, bool) {
		if call == "Login" {
			logins++
		}
		if n == 0 {
			return ckr(ck.CKR_SESSION_HANDLE_INVALID), false
		}
		return nil, false
	})
	for range 3 {
		token.soon()
		if err := token.Check(ctx); !errors.Is(err, ErrPIN) {
			t.Errorf("%v, want ErrPIN", err)
		}
	}
	if logins != 1 {
		t.Errorf("the PIN was tried %d times, want once", logins)
	}
	for _, p := range given {
		if !bytes.Equal(p, make([]byte, len(p))) {
			t.Errorf("a PIN was not wiped")
		}
	}
}

// A call that hangs keeps its session; others go on, and the wait for a
// session ends with the context.
func TestSessionsAreBounded(t *testing.T) {
	c := configure(newLabel(t))
	c.Sessions = 2
	token, f := faulty(t, c)
	hang, hanging := make(chan struct{}), make(chan struct{}, 2)
	f.reset(func(_ int, call string) (error, bool) {
		if call == "GenerateRandom" {
			hanging <- struct{}{}
			<-hang
		}
		return nil, false
	})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if err := token.Random(make([]byte, 8)); err != nil {
				t.Error(err)
			}
		})
		<-hanging
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if err := token.Check(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the deadline", err)
	}
	close(hang)
	wg.Wait()
	f.reset(nil)
	if err := token.Check(ctx); err != nil {
		t.Error(err)
	}
}
