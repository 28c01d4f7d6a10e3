package passkey

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-webauthn/webauthn/protocol"
)

func soft(t *testing.T) *Soft {
	t.Helper()
	s, err := NewSoft("bureau.example", "https://bureau.example")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVerify(t *testing.T) {
	s, challenge := soft(t), [32]byte{1, 2, 3}
	good, err := s.Sign(challenge)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Credential.Verify(good, challenge)
	if err != nil || !p.UserVerified || !p.UserPresent {
		t.Fatal(p, err)
	}
	clientData := func(old, new string) func(*Assertion, *Credential) {
		return func(a *Assertion, _ *Credential) {
			a.ClientDataJSON = bytes.Replace(a.ClientDataJSON, []byte(old), []byte(new), 1)
		}
	}
	for name, spoil := range map[string]func(*Assertion, *Credential){
		"zero credential": func(_ *Assertion, c *Credential) { *c = Credential{} },
		"credential":      func(a *Assertion, _ *Credential) { a.CredentialID = []byte("other") },
		"no json":         func(a *Assertion, _ *Credential) { a.ClientDataJSON = []byte("{") },
		"type":            clientData("webauthn.get", "webauthn.create"),
		"origin":          clientData("https://bureau", "https://evil"),
		"cross origin":    clientData(`"crossOrigin":false`, `"crossOrigin":true`),
		"short":           func(a *Assertion, _ *Credential) { a.AuthenticatorData = a.AuthenticatorData[:36] },
		"relying party":   func(a *Assertion, c *Credential) { c.RPID = "evil.example" },
		"not verified":    func(a *Assertion, _ *Credential) { a.AuthenticatorData[32] &^= flagUV },
		"not present":     func(a *Assertion, _ *Credential) { a.AuthenticatorData[32] &^= flagUP },
		"became eligible": func(a *Assertion, _ *Credential) { a.AuthenticatorData[32] |= flagBE },
		"backed up":       func(a *Assertion, _ *Credential) { a.AuthenticatorData[32] |= flagBS },
		"was eligible":    func(_ *Assertion, c *Credential) { c.BackupEligible = true },
		"count":           func(a *Assertion, _ *Credential) { a.AuthenticatorData[36]++ },
		"signature":       func(a *Assertion, _ *Credential) { a.Signature[8] ^= 1 },
		"key":             func(_ *Assertion, c *Credential) { c.Public = soft(t).Credential.Public },
		"no key":          func(_ *Assertion, c *Credential) { c.Public = []byte("key") },
	} {
		a, c := good, s.Credential
		for _, b := range []*Bytes{&a.AuthenticatorData, &a.ClientDataJSON, &a.Signature} {
			*b = bytes.Clone(*b)
		}
		spoil(&a, &c)
		if _, err := c.Verify(a, challenge); !errors.Is(err, ErrAssertion) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Credential.Verify(good, [32]byte{1}); !errors.Is(err, ErrAssertion) {
		t.Error("taken for another challenge")
	}
	if _, err := (*Soft)(nil).Sign(challenge); err == nil {
		t.Error("no passkey signs")
	}
}

// A library that we did not write takes our assertions.
func TestGoWebauthn(t *testing.T) {
	s, challenge := soft(t), [32]byte{9}
	a, err := s.Sign(challenge)
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	body, err := json.Marshal(map[string]any{
		"id": enc(a.CredentialID), "rawId": enc(a.CredentialID), "type": "public-key",
		"response": map[string]string{"authenticatorData": enc(a.AuthenticatorData), "clientDataJSON": enc(a.ClientDataJSON), "signature": enc(a.Signature)},
	})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(body)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := s.Credential.publicKey()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := pub.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	// COSE_Key (RFC 9053, 7.1): EC2, ES256, P-256, x, y.
	cose := slices.Concat([]byte{0xA5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32}, raw[1:33], []byte{0x22, 0x58, 32}, raw[33:])
	if err := parsed.Verify(enc(challenge[:]), s.Credential.RPID, "", []string{s.Credential.Origin}, nil, nil, protocol.TopOriginExplicitVerificationMode, false, true, true, cose, protocol.SignaturePolicy{}); err != nil {
		t.Fatal(err)
	}
}

// resign makes a again with other flags.
func resign(t *testing.T, s *Soft, a Assertion, flags byte) Assertion {
	t.Helper()
	a.AuthenticatorData = bytes.Clone(a.AuthenticatorData)
	a.AuthenticatorData[32] = flags
	sig, err := ecdsa.SignASN1(rand.Reader, s.key(), signedDigest(a.AuthenticatorData, a.ClientDataJSON))
	if err != nil {
		t.Fatal(err)
	}
	a.Signature = sig
	return a
}

// The flags are refused for themselves, not for a signature that broke.
func TestFlags(t *testing.T) {
	s, challenge := soft(t), [32]byte{4}
	a, err := s.Sign(challenge)
	if err != nil {
		t.Fatal(err)
	}
	synced := s.Credential
	synced.BackupEligible = true
	for _, tc := range []struct {
		c     Credential
		flags byte
		want  string // "": taken
	}{
		{s.Credential, flagUP | flagUV, ""},
		{s.Credential, flagUP, "not verified"},
		{s.Credential, flagUV, "not verified"},
		{s.Credential, flagUP | flagUV | flagBS, "backed up"},
		{synced, flagUP | flagUV | flagBS, "backed up"},
		{s.Credential, flagUP | flagUV | flagBE, "changed since"},
		{synced, flagUP | flagUV, "changed since"},
		{synced, flagUP | flagUV | flagBE, ""},
		{synced, flagUP | flagUV | flagBE | flagBS, ""},
	} {
		p, err := tc.c.Verify(resign(t, s, a, tc.flags), challenge)
		if tc.want == "" {
			if err != nil || p.BackupEligible != (tc.flags&flagBE != 0) || p.BackedUp != (tc.flags&flagBS != 0) {
				t.Errorf("%08b: %+v, %v", tc.flags, p, err)
			}
		} else if !errors.Is(err, ErrAssertion) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%08b: %v, want %q", tc.flags, err, tc.want)
		}
	}
}

func TestCounter(t *testing.T) {
	for _, tc := range []struct {
		last, now uint32
		ok        bool
	}{{0, 0, true}, {0, 1, true}, {5, 6, true}, {5, 5, false}, {5, 4, false}, {5, 0, false}, {1<<32 - 1, 0, false}} {
		if err := CheckCounter(tc.last, tc.now); tc.ok != (err == nil) || err != nil && !errors.Is(err, ErrCloned) {
			t.Errorf("%d, %d: %v", tc.last, tc.now, err)
		}
	}
	// A copy of a passkey is found out by the second of the two that signs.
	path := filepath.Join(t.TempDir(), "p.json")
	if err := soft(t).Save(path); err != nil {
		t.Fatal(err)
	}
	var last uint32
	for i, want := range []error{nil, ErrCloned} {
		s, err := LoadSoft(path)
		if err != nil {
			t.Fatal(err)
		}
		s.Count(40)
		a, err := s.Sign([32]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Credential.Verify(a, [32]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckCounter(last, p.SignCount); !errors.Is(err, want) {
			t.Errorf("passkey %d: %v, want %v", i, err, want)
		}
		last = p.SignCount
	}
}

func TestMethod(t *testing.T) {
	for _, m := range []Method{Biometric, BiometricOrPIN, PIN, UnknownMethod, Software} {
		doc, err := json.Marshal(Credential{Method: m})
		if err != nil {
			t.Fatal(err)
		}
		var c Credential
		if err := json.Unmarshal(doc, &c); err != nil || c.Method != m {
			t.Error(m, c.Method, err)
		}
	}
	var c Credential
	if err := json.Unmarshal([]byte(`{"method":"Biometric"}`), &c); err == nil {
		t.Error("a method that is none is taken")
	}
}

// The log holds credentials: their form does not change.
func TestCredentialForm(t *testing.T) {
	c := Credential{ID: Bytes{1}, RPID: "a", Origin: "https://a", Public: Bytes{2}, Model: "m", AAGUID: Bytes{3}, Method: PIN, BackupEligible: true,
		Seal: &Sealing{Public: Bytes{4}, Wrapped: Bytes{5}}}
	const want = `{"id":"AQ","rp_id":"a","origin":"https://a","public_key":"Ag","model":"m","aaguid":"Aw","method":"PIN","backup_eligible":true,"seal":{"public_key":"BA","wrapped":"BQ"}}`
	got, err := json.Marshal(c)
	if err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

func TestSealing(t *testing.T) {
	s := soft(t)
	key, err := s.OpenSealing()
	if err != nil {
		t.Fatal(err)
	}
	public, err := s.Credential.Seal.Key()
	if err != nil || !public.Equal(key.Public()) {
		t.Fatal("the halves are not of one pair", err)
	}
	peer, err := ecdh.P521().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := key.ECDH(peer.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := peer.ECDH(public)
	if err != nil || !bytes.Equal(ours, theirs) || len(ours) != 66 {
		t.Error("the two sides do not agree", err)
	}
	other := soft(t)
	p256, err := x509.MarshalPKIXPublicKey(&s.key().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaPublic, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	wrap := func(public, private []byte) Sealing {
		aead, err := sealingCipher(s.prf(SealingSalt))
		if err != nil {
			t.Fatal(err)
		}
		return Sealing{Public: public, Wrapped: aead.Seal(nil, nil, private, public)}
	}
	private := func(k any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	good := *s.Credential.Seal
	for name, bad := range map[string]Sealing{
		"empty":          {},
		"short":          {Public: good.Public, Wrapped: good.Wrapped[:90]},
		"long":           {Public: good.Public, Wrapped: make([]byte, 2000)},
		"changed":        {Public: good.Public, Wrapped: append(bytes.Clone(good.Wrapped[:len(good.Wrapped)-1]), good.Wrapped[len(good.Wrapped)-1]^1)},
		"other public":   {Public: other.Credential.Seal.Public, Wrapped: good.Wrapped},
		"other passkey":  *other.Credential.Seal,
		"P-256":          {Public: p256, Wrapped: good.Wrapped},
		"RSA":            {Public: rsaPublic, Wrapped: good.Wrapped},
		"no key":         {Public: []byte("key"), Wrapped: good.Wrapped},
		"not PKCS #8":    wrap(good.Public, make([]byte, 200)),
		"Ed25519 inside": wrap(good.Public, private(ed25519.NewKeyFromSeed(make([]byte, 32)))),
		"P-256 inside":   wrap(good.Public, private(s.key())),
		"halves":         wrap(good.Public, private(peer)),
	} {
		c := &Soft{Credential: s.Credential, key: s.key, secret: s.secret}
		c.Credential.Seal = &bad
		if _, err := c.OpenSealing(); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	if p256, err := s.key().PublicKey.ECDH(); err != nil {
		t.Error(err)
	} else if _, err := key.ECDH(p256); err == nil {
		t.Error("agrees with a P-256 key")
	}
	if _, err := (*SealingKey)(nil).ECDH(peer.PublicKey()); err == nil {
		t.Error("no key agrees")
	}
	if _, err := (*Soft)(nil).OpenSealing(); err == nil {
		t.Error("no passkey opens")
	}
}

func TestSoftKeepsItsKey(t *testing.T) {
	s := soft(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, s); got != "passkey.Soft(private)" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	holder := struct{ s *Soft }{s}
	private, err := s.key().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		got := fmt.Sprintf(verb, holder)
		for _, secret := range [][]byte{private, s.secret()} {
			for _, form := range []string{fmt.Sprintf("%x", secret), fmt.Sprintf("%d", secret), string(secret)} {
				if strings.Contains(got, form) {
					t.Errorf("%s of a struct that holds it prints the key", verb)
				}
			}
		}
	}
	if _, err := json.Marshal(s); err == nil {
		t.Error("JSON takes it")
	}
	path := filepath.Join(t.TempDir(), "p.json")
	if err := s.Save(path); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(path); !errors.Is(err, os.ErrExist) {
		t.Error("a passkey is overwritten:", err)
	}
	if fi, _ := os.Stat(path); fi.Mode().Perm() != 0o600 {
		t.Error(fi.Mode())
	}
	back, err := LoadSoft(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := back.Sign([32]byte{5})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Credential.Verify(a, [32]byte{5}); err != nil {
		t.Error(err)
	}
	if _, err := LoadSoft(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("loaded from nowhere")
	}
	doc, _ := os.ReadFile(path)
	change := func(old, new string) string {
		bad := strings.Replace(string(doc), old, new, 1)
		if bad == string(doc) {
			t.Fatalf("the file has no %s", old)
		}
		return bad
	}
	for i, bad := range []string{
		"", "{}", string(doc) + "{}",
		change(`"private_key": "`, `"private_key": "AA`),
		change(`"prf_secret": "`, `"prf_secret": "AAAA`),
		change(`"method": "software: nobody was verified"`, `"method": "biometric"`),
		change(`"aaguid": "`, `"aaguid": "AAAA`),
		change(`"id": "`, `"id": "AAAA`),
		change(`"seal"`, `"sell"`),
		change(`"wrapped": "`, `"wrapped": "AAAA`),
	} {
		if _, err := parseSoft([]byte(bad)); err == nil {
			t.Errorf("spoiled file %d is taken", i)
		}
	}
}

func FuzzSoftFile(f *testing.F) {
	s, err := NewSoft("a", "https://a")
	if err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(f.TempDir(), "p.json")
	if err := s.Save(path); err != nil {
		f.Fatal(err)
	}
	doc, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(doc)
	f.Add([]byte(`{"credential":{"id":"AA"},"private_key":"AA"}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, err := parseSoft(doc)
		if err != nil {
			return
		}
		a, err := s.Sign([32]byte{7})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Credential.Verify(a, [32]byte{7}); err != nil {
			t.Error("a file is taken whose passkey cannot sign:", err)
		}
	})
}

func FuzzAssertion(f *testing.F) {
	s, err := NewSoft("a", "https://a")
	if err != nil {
		f.Fatal(err)
	}
	a, _ := s.Sign([32]byte{})
	f.Add([]byte(a.AuthenticatorData), []byte(a.ClientDataJSON), []byte(a.Signature))
	f.Fuzz(func(t *testing.T, ad, cd, sig []byte) {
		_, err := s.Credential.Verify(Assertion{s.Credential.ID, ad, cd, sig}, [32]byte{1})
		if err == nil {
			t.Error("a forged signature is taken")
		}
	})
}
