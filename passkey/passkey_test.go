package passkey

import (
	"bytes"
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

func TestSoftKeepsItsKey(t *testing.T) {
	s := soft(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, s); got != "passkey.Soft(private)" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	holder := struct{ s *Soft }{s}
	secret, err := s.key().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		got := fmt.Sprintf(verb, holder)
		for _, form := range []string{fmt.Sprintf("%x", secret), fmt.Sprintf("%d", secret), string(secret)} {
			if strings.Contains(got, form) {
				t.Errorf("%s of a struct that holds it prints the key", verb)
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
	for _, bad := range []string{"", "{}", string(doc) + "{}", strings.Replace(string(doc), `"private_key": "`, `"private_key": "AA`, 1)} {
		if _, err := parseSoft([]byte(bad)); err == nil {
			t.Errorf("%.20q taken", bad)
		}
	}
}

func FuzzSoftFile(f *testing.F) {
	f.Add([]byte(`{"credential":{"id":"AA"},"private_key":"AA"}`))
	f.Fuzz(func(t *testing.T, doc []byte) { parseSoft(doc) })
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
