package pkcs11

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"ankan/hsm"
)

// records are one of each kind.
func records(t testing.TB) []record {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	kcv, err := hsm.AESKCV(hsm.GP, make([]byte, 32))
	must(err)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	must(err)
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	must(err)
	rsaKey := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 3071, 1), E: 65537}
	created := time.Date(2026, 11, 25, 16, 3, 40, 0, time.UTC)
	id := keyIDPrefix + strings.Repeat("\x07", 16)
	all := []record{}
	for _, k := range []hsm.Key{
		{Purpose: hsm.Order, Algorithm: hsm.AES256, KCV: kcv},
		{Purpose: hsm.Transport, Algorithm: hsm.AES128, KCV: kcv, Exportable: true},
		{Purpose: hsm.Ledger, Algorithm: hsm.HMAC256},
		{Purpose: hsm.MailSign, Algorithm: hsm.P256, Public: &p256.PublicKey},
		{Purpose: hsm.Agree, Algorithm: hsm.P521, Public: &p521.PublicKey},
		{Purpose: hsm.SiteSign, Algorithm: hsm.Ed25519, Public: ed},
		{Purpose: hsm.Unwrap, Algorithm: hsm.RSA3072, Public: rsaKey},
	} {
		k.ID, k.Created = "order/1", created
		all = append(all, record{id: id, key: k}, record{id: id, key: k, gone: true})
	}
	return all
}

func TestRecord(t *testing.T) {
	for _, r := range records(t) {
		b, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseRecord("order/1", b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		k, want := got.key, r.key
		same, _ := k.KCV.Matches(want.KCV)
		if got.id != r.id || got.gone != r.gone || k.ID != want.ID || k.Purpose != want.Purpose || k.Algorithm != want.Algorithm ||
			!k.Created.Equal(want.Created) || k.Exportable != want.Exportable || !want.KCV.IsZero() && !same {
			t.Errorf("%s reads as %+v", b, got)
		}
		if pub, ok := k.Public.(interface{ Equal(crypto.PublicKey) bool }); ok && !pub.Equal(want.Public) {
			t.Errorf("%s: another public key", b)
		}
	}
}

func TestRecordRefuses(t *testing.T) {
	all := records(t)
	order, err := all[0].encode()
	if err != nil {
		t.Fatal(err)
	}
	site, err := all[10].encode()
	if err != nil {
		t.Fatal(err)
	}
	change := func(b []byte, old, now string) string {
		s := strings.Replace(string(b), old, now, 1)
		if s == string(b) {
			t.Fatalf("%q is not in %s", old, b)
		}
		return s
	}
	for name, text := range map[string]string{
		"empty":             "",
		"first line":        change(order, firstLive, "ankan key 2"),
		"id":                change(order, "id 616e", "id 626e"),
		"short id":          change(order, "07\n", "\n"),
		"purpose":           change(order, "purpose order", "purpose orders"),
		"algorithm":         change(order, "AES-256", "AES-128"),
		"time":              change(order, "16:03:40Z", "16:03:40"),
		"time of elsewhere": change(order, "16:03:40Z", "16:03:40+00:00"),
		"an order leaves":   change(order, "exportable no", "exportable yes"),
		"exportable":        change(order, "exportable no", "exportable No"),
		"kcv":               change(order, " GP", " GPS"),
		"kcv by CMAC":       change(order, " GP", " CMAC"),
		"no kcv":            change(order, string(order[bytes.Index(order, []byte("kcv")):]), ""),
		"more":              string(order) + "more x\n",
		"no last line":      strings.TrimSuffix(string(order), "\n"),
		"twice":             string(order) + "purpose order\n",
		"base64":            change(site, "public ", "public !"),
		"no key":            change(site, string(site[bytes.Index(site, []byte("public")):]), "public AAAA\n"),
		"no public":         change(site, string(site[bytes.Index(site, []byte("public")):]), ""),
		"a kcv too":         change(site, "public", "kcv C35280 GP\npublic"),
	} {
		if r, err := parseRecord("order/1", []byte(text)); !errors.Is(err, errRecord) {
			t.Errorf("%s: %+v, %v, want errRecord", name, r, err)
		}
	}
	if _, err := parseRecord("order 1", order); !errors.Is(err, errRecord) {
		t.Errorf("a name with a space: %v, want errRecord", err)
	}
	// Each public key with another's algorithm.
	for _, r := range all {
		for _, other := range all {
			if r.key.Algorithm != other.key.Algorithm && (r.key.Public != nil || other.key.Public != nil) {
				k := r.key
				k.Public = other.key.Public
				if describes(&k) {
					t.Errorf("%T describes a key of %s", k.Public, k.Algorithm)
				}
			}
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	for _, r := range records(f) {
		b, err := r.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add("order/1", b)
	}
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		r, err := parseRecord(name, b)
		if err != nil {
			return
		}
		if again, err := r.encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q is written again as %q, %v", b, again, err)
		}
	})
}

func TestPoint(t *testing.T) {
	point := append([]byte{4}, bytes.Repeat([]byte{9}, 64)...)
	octets, err := asn1.Marshal(point)
	if err != nil {
		t.Fatal(err)
	}
	bits, err := asn1.Marshal(asn1.BitString{Bytes: point, BitLength: 8 * len(point)})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"bare": point, "OCTET STRING": octets, "BIT STRING": bits} {
		if got, err := parsePoint(b, 65); err != nil || !bytes.Equal(got, point) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	for name, b := range map[string][]byte{
		"empty": nil, "short": point[:64], "cut": octets[:66], "more": append(slices.Clone(octets), 0), "short bits": bits[:len(bits)-1],
	} {
		if got, err := parsePoint(b, 65); err == nil {
			t.Errorf("%s: %x", name, got)
		}
	}
}

func FuzzPoint(f *testing.F) {
	f.Add([]byte{4, 32, 1}, 32)
	f.Add(make([]byte, 32), 32)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		if got, err := parsePoint(b, size); err == nil && len(got) != size {
			t.Errorf("%d bytes, want %d", len(got), size)
		}
	})
}

func TestUnpad(t *testing.T) {
	sealed, instead := hsm.ErrSealed, []byte("instead 12345678")
	message := []byte("session key 1234")
	pad := func(ps int, m []byte) []byte {
		b := append([]byte{0, 2}, bytes.Repeat([]byte{0xAA}, ps)...)
		return append(append(b, 0), m...)
	}
	good := pad(384-3-16, message)
	for name, c := range map[string]struct {
		padded  []byte
		length  int
		want    []byte
		refused bool
	}{
		"good":              {good, 16, message, false},
		"good, any length":  {good, 0, message, false},
		"another length":    {good, 15, instead[:15], false},
		"a longer one":      {pad(384-3-32, make([]byte, 32)), 16, instead, false},
		"block type 1":      {append([]byte{0, 1}, good[2:]...), 16, instead, false},
		"first byte":        {append([]byte{1}, good[1:]...), 16, instead, false},
		"type 1, any":       {append([]byte{0, 1}, good[2:]...), 0, nil, true},
		"short padding":     {append(pad(7, nil), bytes.Repeat([]byte{1}, 374)...), 0, nil, true},
		"no end":            {append([]byte{0, 2}, bytes.Repeat([]byte{1}, 382)...), 0, nil, true},
		"no end, length":    {append([]byte{0, 2}, bytes.Repeat([]byte{1}, 382)...), 16, instead, false},
		"empty, any length": {pad(381, nil), 0, []byte{}, false},
	} {
		got, err := unpad(c.padded, c.length, slices.Clone(instead[:c.length]), sealed)
		if c.refused != errors.Is(err, hsm.ErrSealed) || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
}

// bare is RSA without padding, as a token computes it.
func bare(k *rsa.PrivateKey, c []byte) []byte {
	m := new(big.Int).Exp(new(big.Int).SetBytes(c), k.D, k.N)
	return m.FillBytes(make([]byte, k.Size()))
}

func TestUnpadOAEP(t *testing.T) {
	k, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range [][]byte{{}, {1}, {0, 0, 1}, bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{1}, 384-2-64)} {
		sealed, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &k.PublicKey, message, []byte("label"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := unpadOAEP(bare(k, sealed), "label"); err != nil || !bytes.Equal(got, message) {
			t.Errorf("%x, %v, want %x", got, err, message)
		}
		if got, err := unpadOAEP(bare(k, sealed), "other"); !errors.Is(err, hsm.ErrSealed) {
			t.Errorf("another label: %x, %v", got, err)
		}
		for _, i := range []int{0, 1, 40, 383} {
			padded := bare(k, sealed)
			padded[i] ^= 1
			if got, err := unpadOAEP(padded, "label"); !errors.Is(err, hsm.ErrSealed) {
				// One bit of the message itself is not seen by OAEP but by what is in it.
				if i != 383 || len(message) == 0 {
					t.Errorf("byte %d changed: %x, %v", i, got, err)
				}
			}
		}
	}
}

func FuzzUnpad(f *testing.F) {
	f.Add(append([]byte{0, 2}, bytes.Repeat([]byte{1}, 382)...), 16)
	f.Fuzz(func(t *testing.T, b []byte, length int) {
		padded := make([]byte, 384)
		copy(padded, b)
		length = min(max(length, 0), 384-11)
		if got, err := unpad(slices.Clone(padded), length, make([]byte, length), hsm.ErrSealed); err == nil && length > 0 && len(got) != length {
			t.Errorf("%d bytes, want %d", len(got), length)
		}
		_, _ = unpadOAEP(padded, "label")
	})
}

func TestSignatureASN1(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("message"))
	for range 20 {
		r, s, err := ecdsa.Sign(rand.Reader, k, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		raw := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		if sig, err := signatureASN1(raw); err != nil || !ecdsa.VerifyASN1(&k.PublicKey, digest[:], sig) {
			t.Errorf("%x, %v", sig, err)
		}
	}
	if _, err := signatureASN1(make([]byte, 63)); err == nil {
		t.Error("63 bytes are taken")
	}
}
