package hsm

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"ankan/scp"
)

func ecdhKey(t testing.TB, c ecdh.Curve) *ecdh.PrivateKey {
	t.Helper()
	k, err := c.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func opener(k *ecdh.PrivateKey) Opener {
	return func(given Given, what Content, label string) ([]byte, error) {
		return Take(given, what, label, k.PublicKey(), k.ECDH)
	}
}

// strong is n bytes without a pattern, always the same for a name.
func strong(name string, n int) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:n]
}

func random(b []byte) error {
	_, err := rand.Read(b)
	return err
}

func TestVectorsXOR(t *testing.T) {
	type vector struct {
		Parts []struct{ Part, GP, CMAC hexBytes }
		Key   hexBytes
	}
	for _, v := range load[vector](t, "xor.json") {
		var parts [][]byte
		for _, p := range v.Parts {
			parts = append(parts, p.Part)
			for method, want := range map[KCVMethod]hexBytes{GP: p.GP, CMAC: p.CMAC} {
				if got, err := AESKCV(method, p.Part); err != nil || got.value != string(want) {
					t.Errorf("%v, %v, want %x", got, err, want)
				}
			}
		}
		if got := combineXOR(parts); !bytes.Equal(got, v.Key) {
			t.Errorf("%x, want %x", got, v.Key)
		}
		// What is drawn first, and the last part is what is left.
		rest := parts
		split, err := splitXOR(v.Key, len(parts), func(b []byte) error {
			copy(b, rest[0])
			rest = rest[1:]
			return nil
		})
		if err != nil || !slices.EqualFunc(split, parts, bytes.Equal) {
			t.Errorf("%x, %v, want %x", split, err, parts)
		}
	}
}

func TestVectorsKeyWrapPad(t *testing.T) {
	for _, v := range load[struct{ KEK, Key, Wrapped hexBytes }](t, "keywrappad.json") {
		kek, err := aes.NewCipher(v.KEK)
		if err != nil {
			t.Fatal(err)
		}
		wrapped, err := WrapKeyPad(kek, v.Key)
		if err != nil || !bytes.Equal(wrapped, v.Wrapped) {
			t.Errorf("%x, %v, want %x", wrapped, err, v.Wrapped)
		}
		key, err := UnwrapKeyPad(kek, v.Wrapped)
		if err != nil || !bytes.Equal(key, v.Key) {
			t.Errorf("%x, %v, want %x", key, err, v.Key)
		}
	}
}

func TestKeyWrapPadRefuses(t *testing.T) {
	kek, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, maxPadded + 1} {
		if _, err := WrapKeyPad(kek, make([]byte, n)); err == nil {
			t.Errorf("key of %d bytes is not refused", n)
		}
	}
	for _, n := range []int{0, 8, 15, 17, 16, 24, maxPadded + 16} {
		if _, err := UnwrapKeyPad(kek, make([]byte, n)); !errors.Is(err, ErrSealed) {
			t.Errorf("%d bytes: %v, want ErrSealed", n, err)
		}
	}
	// What is made well but for one thing.
	for name, c := range map[string]struct {
		iv  uint64
		key []byte
	}{
		"another constant": {0xA65959A7<<32 | 17, make([]byte, 24)},
		"RFC 3394":         {keyWrapIV, make([]byte, 24)},
		"too short":        {padIV<<32 | 16, make([]byte, 24)},
		"too long":         {padIV<<32 | 25, make([]byte, 24)},
		"huge":             {padIV<<32 | 0xFFFFFFFF, make([]byte, 24)},
		"padding":          {padIV<<32 | 17, append(make([]byte, 23), 1)},
	} {
		b := append(make([]byte, 8), c.key...)
		wrap(kek, c.iv, b)
		if key, err := UnwrapKeyPad(kek, b); !errors.Is(err, ErrSealed) || key != nil {
			t.Errorf("%s: %x, %v, want ErrSealed", name, key, err)
		}
	}
}

func FuzzUnwrapKeyPad(f *testing.F) {
	v := load[struct{ KEK, Key, Wrapped hexBytes }](f, "keywrappad.json")
	kek, err := aes.NewCipher(v[0].KEK)
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range v {
		f.Add([]byte(v.Wrapped))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		key, err := UnwrapKeyPad(kek, b)
		if err != nil {
			return
		}
		if again, err := WrapKeyPad(kek, key); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x comes back as %x, %v", b, again, err)
		}
	})
}

func TestCheckWeak(t *testing.T) {
	weak := map[string]string{
		"all zero": strings.Repeat("00", 16), "all zero, long": strings.Repeat("00", 32), "all one": strings.Repeat("ff", 16),
		"ascending": "000102030405060708090a0b0c0d0e0f", "GlobalPlatform": "404142434445464748494a4b4c4d4e4f",
		"descending": "0f0e0d0c0b0a09080706050403020100", "nibbles": "0123456789abcdeffedcba9876543210",
		"elevens": "00112233445566778899aabbccddeeff", "wraps around": "f8f9fafbfcfdfeff0001020304050607",
		"ascending, long":      "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"two parts the same":   hex.EncodeToString(append(strong("a", 16), strong("a", 16)...)),
		"single DES":           hex.EncodeToString(append(strong("a", 8), strong("a", 8)...)),
		"half repeats":         hex.EncodeToString(slices.Concat(strong("a", 16), strong("b", 8), strong("b", 8))),
		"half zero":            hex.EncodeToString(append(strong("a", 16), make([]byte, 16)...)),
		"DES weak":             "e0e0e0e0f1f1f1f11f1f1f1f0e0e0e0e",
		"DES weak, no parity":  "e1e1e1e1f0f0f0f01e1e1e1e0f0f0f0f",
		"DES semi-weak":        "01fe01fe01fe01fee01fe01ff10ef10e",
		"FIPS 197, long":       "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
		"a known key and more": "465b5ce8b199b49faa5f0a2ee238a6bc" + hex.EncodeToString(strong("a", 16)),
		"more and a known key": hex.EncodeToString(strong("a", 16)) + "2b7e151628aed2a6abf7158809cf4f3c",
	}
	for _, known := range knownKeys {
		weak[known.source+" "+known.key] = known.key
		if known.source == "" || len(known.key) != 32 && len(known.key) != 64 {
			t.Errorf("%q of %q: want 16 or 32 bytes and where they stand", known.key, known.source)
		}
	}
	for name, text := range weak {
		key, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(name, err)
		}
		if err := CheckWeak(key); !errors.Is(err, ErrWeakKey) {
			t.Errorf("%s: %v, want ErrWeakKey", name, err)
		}
	}
	// A weak part of 8 bytes makes no key weak.
	for name, key := range map[string][]byte{
		"16":               strong("a", 16),
		"32":               strong("a", 32),
		"8 zeros":          append(strong("a", 8), make([]byte, 8)...),
		"8 zeros first":    append(make([]byte, 8), strong("a", 8)...),
		"8 bytes of DES":   append([]byte{0xE0, 0xE0, 0xE0, 0xE0, 0xF1, 0xF1, 0xF1, 0xF1}, strong("a", 8)...),
		"nearly ascending": {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16},
	} {
		if err := CheckWeak(key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, n := range []int{0, 8, 15, 23, 25, 33} {
		if err := CheckWeak(make([]byte, n)); !errors.Is(err, ErrAlgorithm) {
			t.Errorf("%d bytes: %v, want ErrAlgorithm", n, err)
		}
	}
	// The known key's bytes are not in the error.
	if err := CheckWeak(make([]byte, 16)); strings.Contains(err.Error(), "00") {
		t.Error(err)
	}
}

func FuzzCheckWeak(f *testing.F) {
	f.Add(make([]byte, 16))
	f.Add(strong("a", 32))
	f.Fuzz(func(t *testing.T, key []byte) {
		err := CheckWeak(key)
		if len(key) != 16 && len(key) != 24 && len(key) != 32 {
			if !errors.Is(err, ErrAlgorithm) {
				t.Errorf("%d bytes: %v, want ErrAlgorithm", len(key), err)
			}
			return
		}
		if err != nil && !errors.Is(err, ErrWeakKey) {
			t.Error(err)
		}
		if all := bytes.Repeat(key[:1], len(key)); bytes.Equal(key, all) && err == nil {
			t.Errorf("%x is taken", key)
		}
	})
}

// holders are n custodians and their private keys.
func holders(t testing.TB, n int) ([]Holder, []*ecdh.PrivateKey) {
	t.Helper()
	var who []Holder
	var keys []*ecdh.PrivateKey
	for i := range n {
		k := ecdhKey(t, ecdh.P521())
		who, keys = append(who, Holder{Name: fmt.Sprint(1001 + i), Key: k.PublicKey()}), append(keys, k)
	}
	return who, keys
}

// each opens what is of any of these keys.
func each(keys []*ecdh.PrivateKey) Opener {
	return func(given Given, what Content, label string) ([]byte, error) {
		for _, k := range keys {
			if b, err := opener(k)(given, what, label); err == nil {
				return b, nil
			}
		}
		return nil, ErrSealed
	}
}

func TestComponents(t *testing.T) {
	who, keys := holders(t, 3)
	for _, a := range []Algorithm{AES128, AES256} {
		key := strong("key", a.KeyLen())
		for n := 2; n <= 3; n++ {
			parts, err := SplitComponents(key, a, "ceremony/7", CMAC, who[:n], random)
			if err != nil {
				t.Fatal(err)
			}
			want, err := AESKCV(GP, key)
			if err != nil {
				t.Fatal(err)
			}
			slices.Reverse(parts)
			got, err := CombineComponents(parts, a, want, each(keys))
			if err != nil || !bytes.Equal(got, key) {
				t.Errorf("%x, %v, want %x", got, err, key)
			}
		}
	}
}

func TestSplitComponentsRefuses(t *testing.T) {
	who, _ := holders(t, 4)
	key := strong("key", 16)
	same := []Holder{who[0], {Name: who[0].Name, Key: who[1].Key}}
	sameKey := []Holder{who[0], {Name: "1009", Key: who[0].Key}}
	weak := []Holder{who[0], {Name: "1009", Key: ecdhKey(t, ecdh.P256()).PublicKey()}}
	for name, c := range map[string]struct {
		key    []byte
		a      Algorithm
		set    string
		method KCVMethod
		to     []Holder
		random func([]byte) error
		want   error
	}{
		"one holder":      {key, AES128, "s", GP, who[:1], random, nil},
		"four holders":    {key, AES128, "s", GP, who, random, nil},
		"same person":     {key, AES128, "s", GP, same, random, ErrTwice},
		"same credential": {key, AES128, "s", GP, sameKey, random, ErrTwice},
		"P-256":           {key, AES128, "s", GP, weak, random, ErrPublicKey},
		"no name":         {key, AES128, "s", GP, []Holder{who[0], {Key: who[1].Key}}, random, nil},
		"no set":          {key, AES128, "", GP, who[:2], random, nil},
		"set with space":  {key, AES128, "s 1/2", GP, who[:2], random, nil},
		"long set":        {key, AES128, strings.Repeat("s", 101), GP, who[:2], random, nil},
		"method":          {key, AES128, "s", "SHA", who[:2], random, ErrKCV},
		"length":          {key, AES256, "s", GP, who[:2], random, ErrAlgorithm},
		"HMAC":            {strong("key", 32), HMAC256, "s", GP, who[:2], random, ErrAlgorithm},
		"RSA":             {key, RSA3072, "s", GP, who[:2], random, ErrAlgorithm},
		"no randomness":   {key, AES128, "s", GP, who[:2], func([]byte) error { return ErrClosed }, ErrClosed},
		"bad randomness":  {key, AES128, "s", GP, who[:2], func([]byte) error { return nil }, ErrWeakKey},
	} {
		parts, err := SplitComponents(c.key, c.a, c.set, c.method, c.to, c.random)
		if err == nil || parts != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// What else can be wrong with components is in hsmtest, which tries it on
// every module.
func TestComponentPlace(t *testing.T) {
	good := Component{Set: "s", Index: 1, Of: 2, Holder: "1001", Algorithm: AES128}
	k := ecdhKey(t, ecdh.P521())
	for name, change := range map[string]func(*Component){
		"number 0":  func(c *Component) { c.Index = 0 },
		"number 3":  func(c *Component) { c.Index = 3 },
		"of 1":      func(c *Component) { c.Of = 1 },
		"of 4":      func(c *Component) { c.Of = 4 },
		"set":       func(c *Component) { c.Set = "a b" },
		"holder":    func(c *Component) { c.Holder = "" },
		"algorithm": func(c *Component) { c.Algorithm = HMAC256 },
	} {
		c := good
		change(&c)
		_, err := c.Seal(k.PublicKey(), GP, strong("part", 16))
		_, err2 := c.Open(opener(k))
		for _, err := range []error{err, err2} {
			var wrong *ComponentError
			if !errors.As(err, &wrong) || wrong.Index != c.Index || wrong.Holder != c.Holder {
				t.Errorf("%s: %v, want a ComponentError", name, err)
			}
		}
	}
	broken := errors.New("the module is gone")
	var wrong *ComponentError
	if _, err := good.Open(func(Given, Content, string) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) || errors.As(err, &wrong) {
		t.Errorf("%v, want the module's error and no component's", err)
	}
}

// What is sealed to a component opens as it, whatever the key; nothing else does.
func FuzzComponent(f *testing.F) {
	who, keys := holders(f, 3)
	f.Add(strong("key", 16), "ceremony/7", 3)
	f.Add(strong("key", 32), "s", 2)
	f.Fuzz(func(t *testing.T, key []byte, set string, n int) {
		a := AES128
		if len(key) == 32 {
			a = AES256
		}
		if n < 0 || n > 3 {
			return
		}
		parts, err := SplitComponents(key, a, set, GP, who[:n], random)
		if err != nil {
			return
		}
		got, err := CombineComponents(parts, a, KCV{}, each(keys))
		if !errors.Is(err, ErrWeakKey) && (err != nil || !bytes.Equal(got, key)) {
			t.Errorf("%x, %v, want %x", got, err, key)
		}
	})
}

type sharesVector struct {
	Set            string
	Threshold      int
	Secret, Random hexBytes
	Shares         []struct {
		Y, Content hexBytes
		Check      string
	}
}

func TestVectorsShares(t *testing.T) {
	for _, v := range load[sharesVector](t, "shares.json") {
		who, keys := holders(t, len(v.Shares))
		a := AES128
		if len(v.Secret) == 32 {
			a = AES256
		}
		shares, err := SplitShares(v.Secret, a, v.Set, v.Threshold, who, func(b []byte) error {
			if copy(b, v.Random) != len(v.Random) || len(b) != len(v.Random) {
				t.Errorf("%d random bytes are drawn, want %d", len(b), len(v.Random))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range shares {
			content, err := s.Open(opener(keys[i]))
			if err != nil || !bytes.Equal(content, v.Shares[i].Content) || s.Check != v.Shares[i].Check {
				t.Errorf("share %d: %x, %s, %v, want %x, %s", s.Index, content, s.Check, err, v.Shares[i].Content, v.Shares[i].Check)
			}
		}
		xs, ys := []byte{}, [][]byte{}
		for i := len(v.Shares); i > len(v.Shares)-v.Threshold; i-- {
			xs, ys = append(xs, byte(i)), append(ys, v.Shares[i-1].Y)
		}
		if got := interpolate(xs, ys, 0); !bytes.Equal(got, v.Secret) {
			t.Errorf("%x, want %x", got, v.Secret)
		}
	}
}

// FIPS 197, 4.2 and 4.2.1, and every value against its inverse.
func TestField(t *testing.T) {
	for _, c := range [][3]byte{{0x57, 0x83, 0xC1}, {0x57, 0x13, 0xFE}, {0x57, 2, 0xAE}, {0x57, 4, 0x47}, {0x57, 8, 0x8E}, {0x57, 0x10, 7}} {
		if got := mul(c[0], c[1]); got != c[2] || mul(c[1], c[0]) != got {
			t.Errorf("%02x times %02x is %02x, want %02x", c[0], c[1], got, c[2])
		}
	}
	for a := 1; a < 256; a++ {
		if got := mul(byte(a), inverse(byte(a))); got != 1 {
			t.Errorf("%02x times its inverse is %02x", a, got)
		}
	}
}

func TestShares(t *testing.T) {
	who, keys := holders(t, 4)
	for _, a := range []Algorithm{AES128, AES256, HMAC256} {
		key := strong("key", a.KeyLen())
		shares, err := SplitShares(key, a, "backup/1", 2, who, random)
		if err != nil {
			t.Fatal(err)
		}
		for i := range shares {
			for j := range shares {
				if i == j {
					continue
				}
				got, err := JoinShares([]Share{shares[i], shares[j]}, a, each(keys))
				if err != nil || !bytes.Equal(got, key) {
					t.Errorf("%s, %d and %d: %x, %v, want %x", a, i+1, j+1, got, err, key)
				}
			}
		}
		if got, err := JoinShares(shares, a, each(keys)); err != nil || !bytes.Equal(got, key) {
			t.Errorf("all: %x, %v, want %x", got, err, key)
		}
	}
}

func TestSplitSharesRefuses(t *testing.T) {
	who, _ := holders(t, 17)
	key := strong("key", 16)
	for name, c := range map[string]struct {
		a         Algorithm
		set       string
		threshold int
		to        []Holder
		random    func([]byte) error
		want      error
	}{
		"threshold 1":   {AES128, "s", 1, who[:3], random, nil},
		"all needed":    {AES128, "s", 3, who[:3], random, nil},
		"17 holders":    {AES128, "s", 2, who, random, nil},
		"no holders":    {AES128, "s", 2, nil, random, nil},
		"same person":   {AES128, "s", 2, []Holder{who[0], who[1], who[0]}, random, ErrTwice},
		"P-256":         {AES128, "s", 2, []Holder{who[0], who[1], {Name: "1", Key: ecdhKey(t, ecdh.P256()).PublicKey()}}, random, ErrPublicKey},
		"set":           {AES128, "a b", 2, who[:3], random, nil},
		"length":        {AES256, "s", 2, who[:3], random, ErrAlgorithm},
		"algorithm":     {Ed25519, "s", 2, who[:3], random, ErrAlgorithm},
		"no randomness": {AES128, "s", 2, who[:3], func([]byte) error { return ErrClosed }, ErrClosed},
	} {
		shares, err := SplitShares(key, c.a, c.set, c.threshold, c.to, c.random)
		if err == nil || shares != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// A share whose inside was made wrong, which only its maker could do.
func TestShareInside(t *testing.T) {
	who, keys := holders(t, 3)
	key, other := strong("key", 16), strong("other key", 16)
	make3 := func(key []byte, set string) []Share {
		shares, err := SplitShares(key, AES128, set, 2, who, random)
		if err != nil {
			t.Fatal(err)
		}
		return shares
	}
	good := make3(key, "s")
	open := each(keys)
	// forge gives the first share other content, and the check of that.
	forge := func(s Share, change func([]byte) []byte) Share {
		content, err := s.Open(open)
		if err != nil {
			t.Fatal(err)
		}
		content = change(content)
		s.Check = contentCheck(content)
		if s.Given, err = Give(who[s.Index-1].Key, s.Content(), s.Label(), content); err != nil {
			t.Fatal(err)
		}
		return s
	}
	at := func(i int) func([]byte) []byte {
		return func(b []byte) []byte {
			b[i] ^= 1
			return b
		}
	}
	for name, c := range map[string]struct {
		shares []Share
		want   error
		named  bool // the error names a share
	}{
		"version":           {[]Share{forge(good[0], at(0)), good[1]}, ErrSet, true},
		"threshold":         {[]Share{forge(good[0], at(1)), good[1]}, ErrSet, true},
		"number":            {[]Share{forge(good[0], at(2)), good[1]}, ErrSet, true},
		"of":                {[]Share{forge(good[0], at(3)), good[1]}, ErrSet, true},
		"set inside":        {[]Share{forge(good[0], at(4)), good[1]}, ErrSet, true},
		"y":                 {[]Share{forge(good[0], at(8)), good[1]}, ErrKCV, false},
		"y of an extra one": {[]Share{good[0], good[1], forge(good[2], at(9))}, ErrKCV, true},
		"check of the key":  {[]Share{good[0], forge(good[1], at(31))}, ErrSet, true},
		"longer":            {[]Share{forge(good[0], func(b []byte) []byte { return append(b, make([]byte, 8)...) }), good[1]}, ErrAlgorithm, true},
		"another set":       {[]Share{good[0], make3(key, "s2")[1]}, ErrSet, true},
		"another key":       {[]Share{good[0], make3(other, "s")[1]}, ErrSet, true},
		"KCV beside":        {[]Share{good[0], func() Share { s := good[1]; s.KCV = KCV{}; return s }()}, ErrKCV, true},
		"another KCV":       {[]Share{func() Share { s := good[0]; s.KCV = make3(other, "s")[0].KCV; return s }(), good[1]}, ErrKCV, true},
		"weak key":          {make3(make([]byte, 16), "s"), ErrWeakKey, false},
	} {
		got, err := JoinShares(c.shares, AES128, open)
		var wrong *ComponentError
		if !errors.Is(err, c.want) || got != nil || errors.As(err, &wrong) != c.named {
			t.Errorf("%s: %x, %v, want %v that names a share: %t", name, got, err, c.want, c.named)
		}
	}
	four, keys := holders(t, 4)
	two, err := SplitShares(key, AES128, "s", 2, four, random)
	if err != nil {
		t.Fatal(err)
	}
	three, err := SplitShares(key, AES128, "s", 3, four, random)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := JoinShares([]Share{two[0], three[1], three[2]}, AES128, each(keys)); !errors.Is(err, ErrSet) {
		t.Errorf("thresholds 2 and 3: %v, want ErrSet", err)
	}
	mac, err := SplitShares(strong("key", 32), HMAC256, "s", 2, who, random)
	if err != nil {
		t.Fatal(err)
	}
	mac[0].KCV = good[0].KCV
	if _, err := JoinShares(mac, HMAC256, open); !errors.Is(err, ErrKCV) {
		t.Errorf("check value of an HMAC key: %v, want ErrKCV", err)
	}
	for name, change := range map[string]func(*Share){
		"number 0": func(s *Share) { s.Index = 0 }, "number 4": func(s *Share) { s.Index = 4 },
		"threshold 1": func(s *Share) { s.Threshold = 1 }, "threshold 3": func(s *Share) { s.Threshold = 3 },
		"of 17": func(s *Share) { s.Of = 17 }, "set": func(s *Share) { s.Set = "" }, "holder": func(s *Share) { s.Holder = "a b" },
		"algorithm": func(s *Share) { s.Algorithm = RSA3072 },
	} {
		s := good[0]
		change(&s)
		var wrong *ComponentError
		if _, err := s.Open(open); !errors.As(err, &wrong) {
			t.Errorf("%s: %v, want a ComponentError", name, err)
		}
	}
	broken := errors.New("the module is gone")
	var wrong *ComponentError
	if _, err := JoinShares(good, AES128, func(Given, Content, string) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) || errors.As(err, &wrong) {
		t.Errorf("%v, want the module's error and no share's", err)
	}
}

// FuzzShare gives the parser of a share's content anything.
func FuzzShare(f *testing.F) {
	v := load[sharesVector](f, "shares.json")[0]
	for _, s := range v.Shares {
		f.Add([]byte(s.Content))
	}
	second := Share{Set: v.Set, Index: 2, Of: 3, Threshold: 2, Holder: "1002", Algorithm: AES128, Check: v.Shares[1].Check}
	kcv, err := AESKCV(GP, v.Secret)
	if err != nil {
		f.Fatal(err)
	}
	second.KCV = kcv
	f.Fuzz(func(t *testing.T, content []byte) {
		first := second
		first.Index, first.Holder, first.Check = 1, "1001", contentCheck(content)
		key, err := JoinShares([]Share{first, second}, AES128, func(_ Given, _ Content, label string) ([]byte, error) {
			if label == second.Label() {
				return bytes.Clone(v.Shares[1].Content), nil
			}
			return bytes.Clone(content), nil
		})
		if (err == nil) != bytes.Equal(content, v.Shares[0].Content) || err == nil && !bytes.Equal(key, v.Secret) {
			t.Errorf("%x: %x, %v", content, key, err)
		}
	})
}

func macOf(t testing.TB, key []byte) (MACFunc, Algorithm) {
	t.Helper()
	b, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	return func(m []byte) ([16]byte, error) { return scp.SumCMAC(b, m), nil },
		map[int]Algorithm{16: AES128, 24: "AES-192", 32: AES256}[len(key)]
}

type blockVector struct {
	Source    string
	KBPK, Key hexBytes
	Block     string
}

func TestVectorsTR31(t *testing.T) {
	for _, v := range load[blockVector](t, "tr31.json") {
		mac, kbpk := macOf(t, v.KBPK)
		h, key, err := openBlock(mac, kbpk, v.Block)
		if err != nil || !bytes.Equal(key, v.Key) {
			t.Errorf("%s: %+v, %x, %v, want %x", v.Source, h, key, err, v.Key)
		}
		for i := range v.Block {
			bad := []byte(v.Block)
			bad[i] ^= 1
			if _, key, err := openBlock(mac, kbpk, string(bad)); !errors.Is(err, ErrSealed) || key != nil {
				t.Errorf("%s: character %d changed: %v, want ErrSealed", v.Source, i, err)
			}
		}
	}
}

func TestTR31(t *testing.T) {
	mac, kbpk := macOf(t, strong("kbpk", 32))
	for _, c := range []struct {
		p    Purpose
		a    Algorithm
		head string
	}{
		{Transport, AES128, "D0112D0AB00N0000"}, {Transport, AES256, "D0144D0AB00N0000"},
		{Exchange, AES256, "D0144K0AB00N0000"}, {Operator, AES128, "D011210AE00N0000"}, {Operator, AES256, "D014410AE00N0000"},
	} {
		key := strong("key", c.a.KeyLen())
		block, err := WrapTR31(mac, kbpk, c.p, c.a, key)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(block), c.head) {
			t.Errorf("%s of %s: %s, want %s", c.a, c.p, block, c.head)
		}
		got, err := UnwrapTR31(mac, kbpk, block, c.p, c.a)
		if err != nil || !bytes.Equal(got, key) {
			t.Errorf("%s of %s: %x, %v, want %x", c.a, c.p, got, err, key)
		}
		for _, p := range []Purpose{Transport, Exchange, Operator, Lot} {
			if p == c.p {
				continue
			}
			if _, err := UnwrapTR31(mac, kbpk, block, p, c.a); !errors.Is(err, ErrPurpose) {
				t.Errorf("%s as %s: %v, want ErrPurpose", c.p, p, err)
			}
		}
	}
	key := strong("key", 32)
	weaker, k128 := macOf(t, strong("kbpk", 16))
	if _, err := WrapTR31(weaker, k128, Transport, AES256, key); !errors.Is(err, ErrWeaker) {
		t.Errorf("under AES-128: %v, want ErrWeaker", err)
	}
	if _, err := UnwrapTR31(weaker, k128, nil, Transport, AES256); !errors.Is(err, ErrWeaker) {
		t.Errorf("under AES-128: %v, want ErrWeaker", err)
	}
	if _, err := WrapTR31(mac, HMAC256, Transport, AES256, key); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("under an HMAC key: %v, want ErrAlgorithm", err)
	}
	if _, err := WrapTR31(mac, kbpk, Transport, AES128, key); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("length: %v, want ErrAlgorithm", err)
	}
	if _, err := WrapTR31(mac, kbpk, Lot, AES256, key); !errors.Is(err, ErrPurpose) {
		t.Errorf("lot key: %v, want ErrPurpose", err)
	}
	gone := func([]byte) ([16]byte, error) { return [16]byte{}, ErrClosed }
	if _, err := WrapTR31(gone, kbpk, Transport, AES256, key); !errors.Is(err, ErrClosed) {
		t.Errorf("%v, want the module's error", err)
	}
	good, err := WrapTR31(mac, kbpk, Transport, AES256, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := UnwrapTR31(gone, kbpk, good, Transport, AES256); !errors.Is(err, ErrClosed) {
		t.Errorf("%v, want the module's error", err)
	}
	if _, err := UnwrapTR31(mac, kbpk, good, Transport, AES128); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("as AES-128: %v, want ErrAlgorithm", err)
	}
	// A DES key under usage D0, and a PIN key, of other makers.
	for _, v := range load[blockVector](t, "tr31.json")[:3] {
		mac, kbpk := macOf(t, v.KBPK)
		_, err := UnwrapTR31(mac, kbpk, []byte(v.Block), Transport, map[int]Algorithm{16: AES128, 32: AES256}[len(v.Key)])
		want := map[string]error{"P0A": ErrPurpose, "B0T": ErrPurpose, "D0A": nil}[v.Block[5:8]]
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", v.Block[:16], err, want)
		}
	}
	for _, c := range []struct {
		head string
		want error
	}{{"D0112D0AE00N0000", ErrPurpose}, {"D0112D0TB00N0000", ErrAlgorithm}, {"D0112D0AN00N0000", nil}, {"D0112D0AB00E0020", nil}} {
		block := sealBlock(t, mac, kbpk, c.head, append([]byte{0, 128}, strong("x", 30)...))
		if _, err := UnwrapTR31(mac, kbpk, []byte(block), Transport, AES128); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.head, err, c.want)
		}
	}
}

// sealBlock makes a key block of any header and payload.
func sealBlock(t testing.TB, mac MACFunc, kbpk Algorithm, head string, payload []byte) string {
	t.Helper()
	enc, auth, err := blockKeys(mac, kbpk)
	if err != nil {
		t.Fatal(err)
	}
	sum := blockSum(auth, head, payload)
	return fmt.Sprintf("%s%X%X", head, encryptCBC(enc, sum, payload), sum)
}

func TestTR31Malformed(t *testing.T) {
	mac, kbpk := macOf(t, strong("kbpk", 32))
	payload := append([]byte{0, 128}, strong("x", 30)...)
	pad := func(opts string) string { return opts + strings.Repeat("x", max(0, 16-len(opts))) }
	for name, block := range map[string]string{
		"empty":                     "",
		"short":                     strings.Repeat("D", 79),
		"long":                      strings.Repeat("D", 10000),
		"version":                   sealBlock(t, mac, kbpk, "C0112D0AB00N0000", payload),
		"length":                    sealBlock(t, mac, kbpk, "D0113D0AB00N0000", payload),
		"length with blank":         sealBlock(t, mac, kbpk, "D 112D0AB00N0000", payload),
		"context":                   sealBlock(t, mac, kbpk, "D0112D0AB00N0010", payload),
		"reserved":                  sealBlock(t, mac, kbpk, "D0112D0AB00N0001", payload),
		"number of blocks":          sealBlock(t, mac, kbpk, "D0112D0AB00N+100", payload),
		"a block that is not there": sealBlock(t, mac, kbpk, "D0112D0AB00N0100", payload),
		"payload of no key":         sealBlock(t, mac, kbpk, "D0112D0AB00N0000", make([]byte, 32)),
		"key longer than payload":   sealBlock(t, mac, kbpk, "D0112D0AB00N0000", append([]byte{1, 0}, make([]byte, 30)...)),
		"key of 7 bits":             sealBlock(t, mac, kbpk, "D0112D0AB00N0000", append([]byte{0, 127}, make([]byte, 30)...)),
		"small letters":             strings.ToLower(sealBlock(t, mac, kbpk, "D0112D0AB00N0000", payload)[16:]),
		"block without end":         sealBlock(t, mac, kbpk, "D0128D0AB00N0100"+pad("KSFF"), payload),
		"block of 3":                sealBlock(t, mac, kbpk, "D0128D0AB00N0100"+pad("KS03"), payload),
		"block not of 16":           sealBlock(t, mac, kbpk, "D0120D0AB00N0100"+"KS08xxxx", payload),
		"name of block":             sealBlock(t, mac, kbpk, "D0128D0AB00N0100"+pad("k$10"), payload),
		"length of block":           sealBlock(t, mac, kbpk, "D0128D0AB00N0100"+pad("KS1g"), payload),
		"no digits":                 sealBlock(t, mac, kbpk, "D0128D0AB00N0100"+pad("KS0000"), payload),
		"odd digits":                sealBlock(t, mac, kbpk, "D0128D0AB00N0100"+pad("KS0003010"), payload),
		"many digits":               sealBlock(t, mac, kbpk, "D0128D0AB00N0100"+pad("KS00FE"), payload),
		"huge length":               sealBlock(t, mac, kbpk, "D0128D0AB00N0100"+pad("KS0008FFFFFFFF"), payload),
		"99 blocks":                 sealBlock(t, mac, kbpk, "D0128D0AB00N9900"+pad("KS10"), payload),
	} {
		if _, key, err := openBlock(mac, kbpk, block); !errors.Is(err, ErrSealed) || key != nil {
			t.Errorf("%s: %v, want ErrSealed", name, err)
		}
	}
	small := sealBlock(t, mac, kbpk, "D0112D0AB00N0000", payload)
	if _, _, err := openBlock(mac, kbpk, small[:16]+strings.ToLower(small[16:])); !errors.Is(err, ErrSealed) {
		t.Errorf("small letters: %v, want ErrSealed", err)
	}
}

func FuzzTR31(f *testing.F) {
	vectors := load[blockVector](f, "tr31.json")
	known := map[string]bool{}
	for _, v := range vectors {
		f.Add(v.Block)
		known[v.Block] = true
	}
	f.Add("D0128D0AB00N0100KS0008FFFFFFFFxx")
	mac, kbpk := macOf(f, vectors[0].KBPK)
	f.Fuzz(func(t *testing.T, block string) {
		if _, key, err := openBlock(mac, kbpk, block); err == nil && !known[block] {
			t.Errorf("%q opens as %x", block, key)
		}
	})
}

func TestVectorsOAEP(t *testing.T) {
	type vector struct {
		Private, Key, Wrapped hexBytes
		Label                 string
	}
	for _, v := range load[vector](t, "oaep.json") {
		priv, err := x509.ParsePKCS1PrivateKey(v.Private)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := UnwrapOAEP(priv, v.Label, v.Wrapped); err != nil || !bytes.Equal(got, v.Key) {
			t.Errorf("%x, %v, want %x", got, err, v.Key)
		}
		if _, err := UnwrapOAEP(priv, v.Label+"x", v.Wrapped); !errors.Is(err, ErrSealed) {
			t.Errorf("another label: %v, want ErrSealed", err)
		}
		wrapped, err := WrapOAEP(&priv.PublicKey, v.Label, v.Key)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := UnwrapOAEP(priv, v.Label, wrapped); err != nil || !bytes.Equal(got, v.Key) {
			t.Errorf("%x, %v, want %x", got, err, v.Key)
		}
		wrapped[100] ^= 1
		if _, err := UnwrapOAEP(priv, v.Label, wrapped); !errors.Is(err, ErrSealed) {
			t.Errorf("changed: %v, want ErrSealed", err)
		}
	}
	for _, to := range []any{nil, (*rsa.PublicKey)(nil), "key", ecdhKey(t, ecdh.P521()).PublicKey()} {
		if _, err := WrapOAEP(to, "", strong("key", 16)); err == nil {
			t.Errorf("%T is not refused", to)
		}
	}
}

func TestWrapping(t *testing.T) {
	p521, p256 := ecdhKey(t, ecdh.P521()).PublicKey(), ecdhKey(t, ecdh.P256()).PublicKey()
	rsa3072 := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 3071), E: 65537}
	for name, c := range map[string]struct {
		w    Wrapping
		a    Algorithm
		want error // nil: any
	}{
		"format":              {Wrapping{Format: "DES", Key: "k"}, AES128, errWrapping},
		"no format":           {Wrapping{}, AES128, errWrapping},
		"KW without key":      {Wrapping{Format: KW}, AES128, errWrapping},
		"KWP to a public key": {Wrapping{Format: KWP, Key: "k", To: p521}, AES128, errWrapping},
		"TR31 with label":     {Wrapping{Format: TR31, Key: "k", Label: "l"}, AES128, errWrapping},
		"OAEP without key":    {Wrapping{Format: OAEP}, AES128, errWrapping},
		"ECDH under a key":    {Wrapping{Format: ECDH, Key: "k", To: p521}, AES128, errWrapping},
		"OAEP of AES-256":     {Wrapping{Format: OAEP, To: rsa3072}, AES256, ErrWeaker},
		"ECDH of AES-256":     {Wrapping{Format: ECDH, To: p256, Label: "l"}, AES256, ErrWeaker},
	} {
		if err := c.w.CheckExport(c.a); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for _, w := range []Wrapping{{Format: KW, Key: "k"}, {Format: KWP, Key: "k"}, {Format: TR31, Key: "k"}, {Format: OAEP, To: rsa3072}, {Format: ECDH, To: p521, Label: "l"}} {
		if err := w.CheckExport(AES128); err != nil {
			t.Errorf("%s: %v", w.Format, err)
		}
		w.Key, w.To = "k", nil
		if err := w.CheckImport(); err != nil {
			t.Errorf("%s: %v", w.Format, err)
		}
	}
	for name, w := range map[string]Wrapping{
		"format": {Format: "DES", Key: "k"}, "no key": {Format: KW}, "public key": {Format: OAEP, Key: "k", To: rsa3072}, "label": {Format: KW, Key: "k", Label: "l"},
	} {
		if err := w.CheckImport(); !errors.Is(err, errWrapping) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
}

func TestPurposes(t *testing.T) {
	for p, want := range map[Purpose][3]bool{ // exports, arrives, backs up
		Order: {}, Subscriber: {false, false, true}, Transport: {true, true, true}, Operator: {true, true, true}, Ledger: {false, false, true},
		Lot: {false, true, true}, Exchange: {true, true, true}, Unwrap: {}, Agree: {}, LogSign: {}, SiteSign: {}, MailSign: {}, MailOpen: {}, "": {},
	} {
		if got := [3]bool{p.Exports(), p.Arrives(), p.BacksUp()}; got != want {
			t.Errorf("%s: %v, want %v", p, got, want)
		}
	}
}

func BenchmarkTR31(b *testing.B) {
	mac, kbpk := macOf(b, strong("kbpk", 32))
	key := strong("key", 32)
	b.ReportAllocs()
	for b.Loop() {
		block, err := WrapTR31(mac, kbpk, Transport, AES256, key)
		if err == nil {
			_, err = UnwrapTR31(mac, kbpk, block, Transport, AES256)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func encryptCBC(b cipher.Block, iv [16]byte, p []byte) []byte {
	out := make([]byte, len(p))
	cipher.NewCBCEncrypter(b, iv[:]).CryptBlocks(out, p)
	return out
}
