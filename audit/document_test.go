package audit

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"testing"
)

func TestPreAuthVector(t *testing.T) {
	var v struct{ Payload, PayloadType, PAE, X, Y, Sig string }
	readVectors(t, "dsse.json", &v)
	if got := string(preAuth(v.PayloadType, []byte(v.Payload))); got != v.PAE || got == "" {
		t.Errorf("%q, want %q", got, v.PAE)
	}
	x, _ := new(big.Int).SetString(v.X, 10)
	y, _ := new(big.Int).SetString(v.Y, 10)
	point := append(append([]byte{4}, x.FillBytes(make([]byte, 32))...), y.FillBytes(make([]byte, 32))...)
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(v.Sig)
	if err != nil || len(raw) != 64 {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])})
	if err != nil {
		t.Fatal(err)
	}
	d := Document{Type: v.PayloadType, Payload: []byte(v.Payload), sig: der}
	if err := d.verify(pub); err != nil {
		t.Error(err)
	}
}

const testType = "application/vnd.ankan.destruction+json"

func TestDocument(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{
		"Ed25519": ed25519.NewKeyFromSeed(make([]byte, 32)),
		"P-256":   p256,
	} {
		t.Run(name, func(t *testing.T) {
			payload := []byte(`{"order":"O-1","cards":100}`)
			data, err := SignDocument(testType, payload, "site", key)
			if err != nil {
				t.Fatal(err)
			}
			d, err := OpenDocument(data, testType, key.Public())
			if err != nil || !bytes.Equal(d.Payload, payload) || d.KeyName != "site" || d.Type != testType {
				t.Errorf("%+v, %v", d, err)
			}
		})
	}
}

func TestDocumentRefuses(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	data, err := SignDocument(testType, []byte(`{"cards":100}`), "site", key)
	if err != nil {
		t.Fatal(err)
	}
	good := string(data)
	for name, tc := range map[string]struct{ old, new, say string }{
		"payload":        {base64.StdEncoding.EncodeToString([]byte(`{"cards":100}`)), base64.StdEncoding.EncodeToString([]byte(`{"cards":101}`)), "forged"},
		"not JSON":       {base64.StdEncoding.EncodeToString([]byte(`{"cards":100}`)), "AAAA", "in JSON"},
		"type":           {testType, "application/json", "want"},
		"no type":        {testType, "", "needs a type"},
		"no key name":    {`"site"`, `""`, "needs a type"},
		"space":          {":[", ": [", "canonically"},
		"more after it":  {"\n", "\n\n", "canonically"},
		"two signatures": {"]}", `,{"keyid":"x","sig":""}]}`, "2 signatures"},
		"none":           {`"signatures":[`, `"signatures":[],"x":[`, "0 signatures"},
		"foreign key":    {`]}`, `],"x":1}`, "canonically"},
		"not an object":  {"{", "", "envelope"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(good, tc.old, tc.new, 1)
			if bad == good {
				t.Fatal("nothing was changed")
			}
			_, err := OpenDocument([]byte(bad), testType, key.Public())
			if err == nil || !strings.Contains(err.Error(), tc.say) {
				t.Errorf("error %v, want one that says %q", err, tc.say)
			}
		})
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDocument(data, testType, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)).Public()); !errors.Is(err, Forged) {
		t.Errorf("error %v with another key, want %q", err, Forged)
	}
	for name, pub := range map[string]crypto.PublicKey{"none": nil, "P-384": p384.Public(), "RSA": &rsa.PublicKey{}, "short": ed25519.PublicKey("x")} {
		if _, err := OpenDocument(data, testType, pub); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	if _, err := ReadDocument(make([]byte, maxDocument+1)); err == nil {
		t.Error("a document of more than 16 MiB was read")
	}
	away := errors.New("module is away")
	for name, sign := range map[string]func() ([]byte, error){
		"not JSON":    func() ([]byte, error) { return SignDocument(testType, []byte("x"), "site", key) },
		"no type":     func() ([]byte, error) { return SignDocument("", []byte("{}"), "site", key) },
		"no key name": func() ([]byte, error) { return SignDocument(testType, []byte("{}"), "", key) },
		"not UTF-8":   func() ([]byte, error) { return SignDocument(testType, []byte("{}"), "\xff", key) },
		"P-384":       func() ([]byte, error) { return SignDocument(testType, []byte("{}"), "site", p384) },
		"broken":      func() ([]byte, error) { return SignDocument(testType, []byte("{}"), "site", brokenKey{key, nil}) },
		"away":        func() ([]byte, error) { return SignDocument(testType, []byte("{}"), "site", brokenKey{key, away}) },
	} {
		if _, err := sign(); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

func FuzzReadDocument(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	data, err := SignDocument(testType, []byte(`{"cards":100}`), "site", key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"payloadType":"a","payload":"e30=","signatures":[{"keyid":"k","sig":""}]}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ReadDocument(data)
		if err != nil {
			return
		}
		if again, err := d.bytes(); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%q renders as %q, %v", data, again, err)
		}
	})
}
