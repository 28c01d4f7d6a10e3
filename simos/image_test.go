package simos_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ankan/simos"
	"ankan/uicc"
)

func TestImage(t *testing.T) {
	i := testImage()
	signed, err := i.Sign(vendorKey())
	if err != nil {
		t.Fatal(err)
	}
	got, err := simos.OpenImage(signed, vendorKey().Public().(ed25519.PublicKey))
	if err != nil || cmp.Diff(i, got) != "" {
		t.Fatalf("%v %v", got, err)
	}
	a, err := i.Digest()
	b, _ := got.Digest()
	if a != b || err != nil {
		t.Error("the digests differ")
	}
	other, _ := i.Sign(otherKey())
	again, _ := simos.OpenImage(other, otherKey().Public().(ed25519.PublicKey))
	if d, _ := again.Digest(); d != a {
		t.Error("the digest depends on who signed")
	}
}

func TestImageRefuses(t *testing.T) {
	for name, i := range map[string]simos.Image{
		"no name":      {Version: "1"},
		"long version": {Name: "x", Version: strings.Repeat("1", 33)},
		"bell":         {Name: "x", Version: "\a"},
		"no algorithm": {Name: "x", Version: "1", Algorithms: []string{""}},
		"large":        {Name: "x", Version: "1", Body: make([]byte, 50<<10)},
	} {
		if _, err := i.Sign(vendorKey()); !errors.Is(err, simos.ErrImage) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := i.Digest(); !errors.Is(err, simos.ErrImage) {
			t.Errorf("%s: digest: %v", name, err)
		}
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := testImage().Sign(ec); !errors.Is(err, simos.ErrImage) {
		t.Errorf("P-256 key: %v", err)
	}
	// Signed by the vendor, but not in the one form.
	sign := func(body string) []byte {
		b := uicc.AppendTLV(nil, 0xE1, unhex(t, body)...)
		return uicc.AppendTLV(b, 0x9E, ed25519.Sign(vendorKey(), append([]byte("ankan os image 1\n"), b...))...)
	}
	good, _ := testImage().Sign(vendorKey())
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":        {nil, simos.ErrImage},
		"no signature": {good[:len(good)-66], simos.ErrImage},
		"behind it":    {append(bytes.Clone(good), 0), simos.ErrImage},
		"other tag":    {append([]byte{0xE2}, good[1:]...), simos.ErrImage},
		"changed":      {append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1), simos.ErrSignature},
		"order":        {sign("810131 800178 830100"), simos.ErrImage},
		"unknown":      {sign("800178 810131 830100 850100"), simos.ErrImage},
		"twice":        {sign("800178 800179 810131 830100"), simos.ErrImage},
		"malformed":    {sign("8002"), simos.ErrImage},
	} {
		if _, err := simos.OpenImage(c.b, vendorKey().Public().(ed25519.PublicKey)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := simos.OpenImage(good, nil); !errors.Is(err, simos.ErrSignature) {
		t.Errorf("no vendor: %v", err)
	}
	if _, err := simos.OpenImage(sign("800178 810131 830100"), vendorKey().Public().(ed25519.PublicKey)); err != nil {
		t.Errorf("the smallest image: %v", err)
	}
}

func FuzzOpenImage(f *testing.F) {
	good, _ := testImage().Sign(vendorKey())
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		simos.OpenImage(b, vendorKey().Public().(ed25519.PublicKey))
	})
}
