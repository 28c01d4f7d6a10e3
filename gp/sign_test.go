package gp

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/des"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ankan/scp"
)

// everyKey is a signing and a verifying key of each scheme.
func everyKey(t *testing.T) map[string][2]Key {
	t.Helper()
	all := map[string][2]Key{}
	for _, n := range []int{16, 24, 32} {
		k, err := AESKey(bytes.Repeat([]byte{7}, n))
		if err != nil {
			t.Fatal(err)
		}
		all[fmt.Sprint("AES ", n)] = [2]Key{k, k}
	}
	k, err := DESKey([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	all["DES"] = [2]Key{k, k}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pair := func(name string, s crypto.Signer, h crypto.Hash) {
		t.Helper()
		private, err := PrivateKey(s, h)
		if err != nil {
			t.Fatal(err)
		}
		public, err := PublicKey(s.Public(), h)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = [2]Key{private, public}
	}
	pair("RSA SHA-1", r, crypto.SHA1)
	pair("RSA SHA-256", r, crypto.SHA256)
	for curve, h := range map[elliptic.Curve]crypto.Hash{elliptic.P256(): crypto.SHA256, elliptic.P384(): crypto.SHA384, elliptic.P521(): crypto.SHA512} {
		e, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		pair(curve.Params().Name, e, h)
	}
	return all
}

func TestSignatures(t *testing.T) {
	code := []byte("a load file data block")
	for name, k := range everyKey(t) {
		hash, err := LoadFileHash(code, crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		signature, err := k[0].Sign(hash)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := k[1].Verify(hash, signature); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for what, err := range map[string]error{
			"another file":  k[1].Verify(append([]byte{1}, hash...), signature),
			"changed":       k[1].Verify(hash, append([]byte{signature[0] ^ 1}, signature[1:]...)),
			"short":         k[1].Verify(hash, signature[1:]),
			"no signature":  k[1].Verify(hash, nil),
			"the zero key":  Key{}.Verify(hash, signature),
			"zero, nothing": Key{}.Verify(nil, nil),
		} {
			if !errors.Is(err, ErrSignature) {
				t.Errorf("%s, %s: %v, want ErrSignature", name, what, err)
			}
		}
		j, err := json.Marshal(k[0])
		if out := fmt.Sprintf("%v %+v %#v %x %s %v", k[0], k[0], k[0], k[0], j, err); strings.Contains(out, "0x") || !strings.Contains(out, "[key]") {
			t.Errorf("%s prints %s", name, out)
		}
		type holder struct{ key Key }
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			// An address is all that may show.
			if out := fmt.Sprintf(verb, holder{k[0]}); len(out) > 60 {
				t.Errorf("%s in a struct prints %s", name, out)
			}
		}
	}
}

// OpenSSL agrees.
func TestSignaturesAgainstOpenSSL(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	message := []byte("what is signed")
	in := file("message", message)
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		s    crypto.Signer
		h    crypto.Hash
		name string
	}{{r, crypto.SHA1, "-sha1"}, {r, crypto.SHA256, "-sha256"}, {e, crypto.SHA256, "-sha256"}} {
		k, err := PrivateKey(c.s, c.h)
		if err != nil {
			t.Fatal(err)
		}
		signature, err := k.Sign(message)
		if err != nil {
			t.Fatal(err)
		}
		if c.s == e {
			x, y := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
			signature = asn1(0x30, append(asn1(0x02, signed(x)), asn1(0x02, signed(y))...))
		}
		der, err := x509.MarshalPKIXPublicKey(c.s.Public())
		if err != nil {
			t.Fatal(err)
		}
		public := file("public", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		if out, err := exec.Command("openssl", "dgst", c.name, "-verify", public, "-signature", file("signature", signature), in).CombinedOutput(); err != nil {
			t.Errorf("%T %s: %v, %s", c.s, c.name, err, out)
		}
	}
}

func asn1(tag byte, v []byte) []byte { return append([]byte{tag, byte(len(v))}, v...) }

func signed(n *big.Int) []byte {
	b := n.Bytes()
	if len(b) > 0 && b[0] >= 0x80 {
		b = append([]byte{0}, b...)
	}
	return b
}

// A signer that fails, or gives something else.
type oddSigner struct {
	crypto.PublicKey
	signature []byte
}

func (s oddSigner) Public() crypto.PublicKey { return s.PublicKey }

func (s oddSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	if s.signature == nil {
		return nil, errors.New("module is gone")
	}
	return s.signature, nil
}

func TestKeysRefuse(t *testing.T) {
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	short := &rsa.PublicKey{N: big.NewInt(1).Lsh(big.NewInt(1), 600), E: 65537}
	long := &rsa.PublicKey{N: big.NewInt(1).Lsh(big.NewInt(1), 2000), E: 65537}
	for name, f := range map[string]func() error{
		"AES of 15":      func() error { _, err := AESKey(make([]byte, 15)); return err },
		"DES of 8":       func() error { _, err := DESKey(make([]byte, 8)); return err },
		"single DES":     func() error { _, err := DESKey(make([]byte, 16)); return err },
		"Ed25519":        func() error { _, err := PublicKey(ed, crypto.SHA256); return err },
		"RSA of 600":     func() error { _, err := PublicKey(short, crypto.SHA256); return err },
		"RSA SHA-512":    func() error { _, err := PublicKey(long, crypto.SHA512); return err },
		"ECDSA SHA-1":    func() error { _, err := PublicKey(&e.PublicKey, crypto.SHA1); return err },
		"hash":           func() error { _, err := LoadFileHash(nil, crypto.MD5); return err },
		"zero key signs": func() error { _, err := Key{}.Sign(nil); return err },
		"public key signs": func() error {
			k, err := PublicKey(&e.PublicKey, crypto.SHA256)
			if err != nil {
				return nil
			}
			_, err = k.Sign(nil)
			return err
		},
		"module is gone": func() error {
			k, _ := PrivateKey(oddSigner{&e.PublicKey, nil}, crypto.SHA256)
			_, err := k.Sign(nil)
			return err
		},
		"no sequence": func() error {
			k, _ := PrivateKey(oddSigner{&e.PublicKey, []byte{1}}, crypto.SHA256)
			_, err := k.Sign(nil)
			return err
		},
		"one number": func() error {
			k, _ := PrivateKey(oddSigner{&e.PublicKey, []byte{0x30, 3, 2, 1, 1}}, crypto.SHA256)
			_, err := k.Sign(nil)
			return err
		},
		"long number": func() error {
			k, _ := PrivateKey(oddSigner{&e.PublicKey, asn1(0x30, asn1(2, bytes.Repeat([]byte{1}, 33)))}, crypto.SHA256)
			_, err := k.Sign(nil)
			return err
		},
	} {
		if f() == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}

func TestHash(t *testing.T) {
	want := sha256.Sum256([]byte("code"))
	if got, err := LoadFileHash([]byte("code"), crypto.SHA256); err != nil || !bytes.Equal(got, want[:]) {
		t.Errorf("%x, %v, want %x", got, err, want)
	}
}

func TestConfirmation(t *testing.T) {
	k, err := AESKey(bytes.Repeat([]byte{3}, 16))
	if err != nil {
		t.Fatal(err)
	}
	pkg, domain := []byte(packageAID), []byte(domainAID)
	signed := append([]byte{2, 0, 5, 3}, "uid"...)
	receipt, err := k.Sign(appendLV(appendLV(bytes.Clone(signed), pkg), domain))
	if err != nil {
		t.Fatal(err)
	}
	answer := appendLV(nil, append(appendLV(nil, receipt), signed...))
	c, err := ParseConfirmation(answer)
	if err != nil || !bytes.Equal(c.Counter, []byte{0, 5}) || string(c.Unique) != "uid" {
		t.Fatalf("%+v, %v", c, err)
	}
	if err := c.Verify(k, pkg, domain); err != nil {
		t.Error(err)
	}
	if err := c.Verify(k, domain, pkg); !errors.Is(err, ErrSignature) {
		t.Errorf("another act: %v, want ErrSignature", err)
	}
	for _, b := range [][]byte{nil, {0}} {
		c, err := ParseConfirmation(b)
		if err != nil || !errors.Is(c.Verify(k), ErrSignature) {
			t.Errorf("no receipt: %v, %v", err, c.Verify(k))
		}
	}
	// A token's identifier may follow.
	if _, err := ParseConfirmation(appendLV(nil, append(append(appendLV(nil, receipt), signed...), 1, 9))); err != nil {
		t.Error(err)
	}
	for _, s := range []string{"05", "0000", "0101", "020101", "0301010200", "04010100ff", "8001"} {
		if _, err := ParseConfirmation(unhex(t, s)); !errors.Is(err, ErrData) {
			t.Errorf("%s: %v, want ErrData", s, err)
		}
	}
}

func TestVectorsDiversify(t *testing.T) {
	var f struct {
		Vectors []struct {
			Method            Method
			Master, Data, Enc hexBytes
			KCV               []hexBytes
		}
	}
	load(t, "diversify.json", &f)
	if len(f.Vectors) == 0 {
		t.Fatal("testdata/diversify.json holds no vectors")
	}
	for _, v := range f.Vectors {
		data := [10]byte(v.Data)
		var revealed []byte
		var kcv func([]byte) ([3]byte, error)
		if v.Method == KDF3 {
			b, err := aes.NewCipher(v.Master)
			if err != nil {
				t.Fatal(err)
			}
			keys, err := DiversifyAES(v.Method, data, len(v.Master), func(m []byte) ([]byte, error) { s := scp.SumCMAC(b, m); return s[:], nil })
			if err != nil {
				t.Fatal(err)
			}
			revealed, _ = keys.Reveal(nil)
			kcv = scp.CheckValue
		} else {
			b, err := des.NewTripleDESCipher(append(bytes.Clone(v.Master), v.Master[:8]...))
			if err != nil {
				t.Fatal(err)
			}
			keys, err := DiversifyDES(v.Method, data, func(p []byte) error { b.Encrypt(p, p); b.Encrypt(p[8:], p[8:]); return nil })
			if err != nil {
				t.Fatal(err)
			}
			revealed, _ = keys.Reveal(nil)
			kcv = scp.DESCheckValue
		}
		n := len(v.Master)
		for i, want := range v.KCV {
			if got, err := kcv(revealed[i*n : (i+1)*n]); err != nil || !bytes.Equal(got[:], want) {
				t.Errorf("%s, %d bytes, key %d: %x, %v, want %x", v.Method, n, i+1, got, err, want)
			}
		}
		if len(v.Enc) > 0 && !bytes.Equal(revealed[:n], v.Enc) {
			t.Errorf("%s: ENC %x, want %x", v.Method, revealed[:n], v.Enc)
		}
	}
}

func TestDiversifyRefuses(t *testing.T) {
	gone := errors.New("module is gone")
	if _, err := DiversifyDES(KDF3, [10]byte{}, nil); !errors.Is(err, ErrCommand) {
		t.Errorf("kdf3 with DES: %v, want ErrCommand", err)
	}
	if _, err := DiversifyAES(EMV, [10]byte{}, 16, nil); !errors.Is(err, ErrCommand) {
		t.Errorf("emv with AES: %v, want ErrCommand", err)
	}
	if _, err := DiversifyDES(EMV, [10]byte{}, func([]byte) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("%v, want the module's error", err)
	}
	if _, err := DiversifyAES(KDF3, [10]byte{}, 16, func([]byte) ([]byte, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Errorf("%v, want the module's error", err)
	}
	if _, err := DiversifyAES(KDF3, [10]byte{}, 16, func([]byte) ([]byte, error) { return make([]byte, 8), nil }); err == nil {
		t.Error("a CMAC of 8 bytes is not refused")
	}
	if _, err := DiversifyAES(KDF3, [10]byte{}, 17, func([]byte) ([]byte, error) { return make([]byte, 16), nil }); err == nil {
		t.Error("keys of 17 bytes are not refused")
	}
}
