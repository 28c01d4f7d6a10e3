package exchange

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/mod/sumdb/note"
)

// moduleSigner and moduleDecrypter show nothing of a key but what a security
// module does.
type moduleSigner struct{ crypto.Signer }
type moduleDecrypter struct{ crypto.Decrypter }

// keysOf makes RSA keys once per name: they are slow.
var keysOf = func() func(name string) (crypto.Signer, crypto.Decrypter) {
	type pair struct {
		sign *ecdsa.PrivateKey
		open *rsa.PrivateKey
	}
	var mu sync.Mutex
	made := map[string]pair{}
	return func(name string) (crypto.Signer, crypto.Decrypter) {
		mu.Lock()
		defer mu.Unlock()
		k, ok := made[name]
		if !ok {
			k.sign, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			k.open, _ = rsa.GenerateKey(rand.Reader, 3072)
			made[name] = k
		}
		return moduleSigner{k.sign}, moduleDecrypter{k.open}
	}
}()

func newIdentity(t testing.TB, name string) *Identity {
	t.Helper()
	sign, open := keysOf(name)
	id, err := NewIdentity("Ankan "+name, time.Now().Add(-time.Hour), sign, open)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// newCard is a card of a partner with this OpenPGP key.
func newCard(t testing.TB, name, armored string) Card {
	t.Helper()
	siteKey, _, _ := ed25519.GenerateKey(rand.Reader)
	site, err := MarshalPublicKey(siteKey)
	if err != nil {
		t.Fatal(err)
	}
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p521, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	agree, err := MarshalPublicKey(&p521.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	host, _ := ssh.NewPublicKey(siteKey)
	_, vkey, _ := note.GenerateKey(rand.Reader, name+".example/log")
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
	}, &x509.Certificate{Subject: pkix.Name{CommonName: name}}, &p256.PublicKey, p256)
	if err != nil {
		t.Fatal(err)
	}
	return Card{
		Name: name, Display: "Site " + name, Roles: []string{"bureau", "plant"}, Country: "IN",
		Address: "edge." + name + ".example:8022", OpenPGP: armored,
		TLS:   string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		SSH:   strings.TrimSpace(string(ssh.MarshalAuthorizedKey(host))),
		Log:   vkey,
		Agree: agree, Site: site,
	}
}

func newPartner(t testing.TB, name, armored string) *Partner {
	t.Helper()
	doc, err := newCard(t, name, armored).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParsePartner(name+".yaml", doc)
	if err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	return p
}

// two sites that know each other.
func bureauAndOperator(t testing.TB) (bureau, operator *Identity, toBureau, toOperator *Partner) {
	bureau, operator = newIdentity(t, "bureau"), newIdentity(t, "operator")
	return bureau, operator, newPartner(t, "bureau", bureau.PublicKey()), newPartner(t, "operator", operator.PublicKey())
}

var testLimits = Limits{MaxPlain: 64 << 20, MaxCipher: 64 << 20}

func seal(t testing.TB, from *Identity, to *Partner, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := Seal(&b, from, to, "order.inp")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func writeFile(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func readAll(t testing.TB, m *Message) []byte {
	t.Helper()
	var got []byte
	if err := m.Read(func(r io.Reader) (err error) { got, err = io.ReadAll(r); return err }); err != nil {
		t.Fatal(err)
	}
	return got
}

// wantRefusal checks the reason, that the file is named, and that the text is
// of use.
func wantRefusal(t testing.TB, err error, reason Reason) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("got error %v, want refusal %s", err, reason)
	}
	if r.Reason != reason || r.File == "" || len(r.Text) < 20 {
		t.Fatalf("got refusal %s %q of %q, want %s", r.Reason, r.Text, r.File, reason)
	}
}
