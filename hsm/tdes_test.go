package hsm

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

type tdesVector struct {
	Source, Mode           string
	Key, IV, Plain, Sealed hexBytes
}

func (v tdesVector) algorithm() Algorithm {
	if len(v.Key) == 16 {
		return TDES
	}
	return TDES3
}

// What is chained says of each block what ECB makes of it.
func (v tdesVector) ecb(t *testing.T, encrypt func(dst, src []byte)) {
	t.Helper()
	feed, out := []byte(v.IV), make([]byte, 8)
	for i := 0; i < len(v.Plain); i += 8 {
		plain, sealed, in := v.Plain[i:i+8], v.Sealed[i:i+8], make([]byte, 8)
		switch v.Mode {
		case "ECB":
			encrypt(out, plain)
			feed = out
		case "CBC":
			subtle.XORBytes(in, plain, feed)
			encrypt(out, in)
			feed = sealed
		case "OFB":
			encrypt(in, feed)
			feed = in
			subtle.XORBytes(out, in, plain)
		default:
			t.Fatalf("%s: mode %q", v.Source, v.Mode)
		}
		if !bytes.Equal(out, sealed) {
			t.Errorf("%s: block %d is %x, want %x", v.Source, i/8, out, sealed)
		}
	}
}

func TestVectorsTripleDES(t *testing.T) {
	for _, v := range load[tdesVector](t, "tdes.json") {
		b, err := NewCipher(v.algorithm(), v.Key)
		if err != nil {
			t.Fatal(err)
		}
		v.ecb(t, b.Encrypt)
		plain := make([]byte, 8)
		if b.Decrypt(plain, v.Sealed[:8]); v.Mode == "ECB" && !bytes.Equal(plain, v.Plain[:8]) {
			t.Errorf("%s: opened %x, want %x", v.Source, plain, v.Plain[:8])
		}
	}
}

// OpenSSL computes the same, check values too.
func TestTripleDESBesideOpenSSL(t *testing.T) {
	for _, v := range load[tdesVector](t, "tdes.json") {
		b, err := NewCipher(v.algorithm(), v.Key)
		if err != nil {
			t.Fatal(err)
		}
		name := map[Algorithm]string{TDES: "des-ede", TDES3: "des-ede3"}[v.algorithm()]
		peer := func(in []byte) []byte {
			cmd := exec.Command("openssl", "enc", "-e", "-"+name+"-ecb", "-nopad", "-K", fmt.Sprintf("%x", v.Key))
			cmd.Stdin = bytes.NewReader(in)
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("openssl (scripts/packages installs it): %v", err)
			}
			return out
		}
		in := append(make([]byte, 8), v.Plain...)
		want, got := peer(in), make([]byte, len(in))
		for i := 0; i < len(in); i += 8 {
			b.Encrypt(got[i:], in[i:i+8])
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %x, openssl has %x", v.Source, got, want)
		}
		kcv, err := KeyKCV(ECBZeros, v.algorithm(), v.Key)
		if err != nil || kcv.String() != fmt.Sprintf("%X ECB-ZEROS", want[:3]) {
			t.Errorf("%s: %v, %v, openssl has %X", v.Source, kcv, err, want[:3])
		}
	}
}

func TestWeakDES(t *testing.T) {
	kinds := map[string]int{}
	strong := []byte{0x8C, 0xA1, 0x10, 0x45, 0x4A, 0x1A, 0x6E, 0x57}
	for _, v := range load[struct {
		Key  hexBytes
		Kind string
	}](t, "desweak.json") {
		kinds[v.Kind]++
		for _, parity := range []byte{0, 1} {
			for i := range v.Key {
				v.Key[i] = v.Key[i]&0xFE | parity
			}
			if weakDES(v.Key) != 1 {
				t.Errorf("%s key %x is not found", v.Kind, v.Key)
			}
			if err := CheckKey(append(bytes.Clone(v.Key), strong...), TDES); !errors.Is(err, ErrWeakKey) {
				t.Errorf("%s half %x: %v", v.Kind, v.Key, err)
			}
			if err := CheckKey(append(append(bytes.Clone(strong), 0xC5, 1, 2, 4, 9, 0x77, 0x32, 0xAB), v.Key...), TDES3); !errors.Is(err, ErrWeakKey) {
				t.Errorf("%s third part %x: %v", v.Kind, v.Key, err)
			}
		}
		for bit := range 64 { // no two of them are a bit apart
			near := bytes.Clone(v.Key)
			near[bit/8] ^= 1 << (bit % 8)
			if bit%8 != 0 && weakDES(near) == 1 {
				t.Errorf("%x, a bit from %x, is taken for weak", near, v.Key)
			}
		}
	}
	if kinds["weak"] != 4 || kinds["semi-weak"] != 12 || kinds["possibly weak"] != 48 {
		t.Errorf("%v, want 4, 12 and 48", kinds)
	}
}

func TestCheckDES(t *testing.T) {
	one, two, three := "8ca110454a1a6e57", "7ca110454a1a6e57", "9ca110454a1a6e58"
	turned := "8da011444b1b6f56" // one, of the other parity
	for name, c := range map[string]struct {
		key  string
		a    Algorithm
		want string
	}{
		"two":              {one + two, TDES, ""},
		"three":            {one + two + three, TDES3, ""},
		"equal":            {one + one, TDES, "second half repeats the first"},
		"equal but parity": {one + turned, TDES, "no more than single DES"},
		"first two":        {one + turned + two, TDES3, "no more than single DES"},
		"last two":         {two + one + turned, TDES3, "no more than single DES"},
		"outer two":        {one + two + turned, TDES3, "it is of two keys: it is 3DES"},
		"40..":             {"404142434445464748494a4b4c4d4e4f", TDES, "even steps"},
		"40.. with parity": {"404043434545464649494a4a4c4c4f4f", TDES, "part 1 of it is a weak key of DES, or has a pattern"},
		"third in steps":   {one + two + "0022446688aaccee", TDES3, "part 3 of it"},
		"of NIST":          {"0123456789abcdef23456789abcdef01456789abcdef0123", TDES3, "it is printed in NIST SP 800-67"},
		"24 for two":       {one + two + three, TDES, "24 bytes, want 16 of 3DES"},
		"16 for three":     {one + two, TDES3, "16 bytes, want 24 of 3DES-3KEY"},
		"8":                {one, TDES, "8 bytes, want 16 of 3DES"},
		"of a lot":         {one + one, LotEMV, "second half repeats the first"},
	} {
		var key hexBytes
		if err := key.UnmarshalText([]byte(c.key)); err != nil {
			t.Fatal(err)
		}
		err := CheckKey(key, c.a)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestSetParity(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, a := range []Algorithm{TDES, TDES3} {
		got := bytes.Clone(all)
		SetParity(a, got)
		for i, b := range got {
			ones := 0
			for ; b > 0; b >>= 1 {
				ones += int(b & 1)
			}
			if ones%2 != 1 || got[i]&0xFE != byte(i)&0xFE {
				t.Errorf("%02X becomes %02X", i, got[i])
			}
		}
	}
	for _, a := range []Algorithm{AES128, AES256, HMAC256, LotEMV, LotNone3DES, ""} {
		got := bytes.Clone(all)
		if SetParity(a, got); !bytes.Equal(got, all) {
			t.Errorf("%q has parity", a)
		}
	}
}

func TestNewCipherRefuses(t *testing.T) {
	for _, a := range []Algorithm{HMAC256, P256, RSA3072, "DES", "3DES-2KEY", ""} {
		for _, n := range []int{0, 8, 16, 24, 32} {
			if b, err := NewCipher(a, make([]byte, n)); b != nil || !errors.Is(err, ErrAlgorithm) {
				t.Errorf("%q of %d bytes: %v", a, n, err)
			}
		}
		if a.NeedsWaiver() || a.CheckMethod() != "" {
			t.Errorf("%q needs a waiver or has a check value", a)
		}
	}
	for _, m := range []KCVMethod{GP, CMAC, ""} {
		if k, err := KeyKCV(m, TDES, make([]byte, 16)); !errors.Is(err, ErrKCV) {
			t.Errorf("%q of triple DES: %v, %v", m, k, err)
		}
	}
}
