package hsm

import (
	"bytes"
	"crypto/aes"
	"crypto/des"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// load reads a file of vectors; one without any fails the test.
func load[V any](t testing.TB, name string) []V {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var f struct{ Vectors []V }
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Vectors) == 0 {
		t.Fatalf("testdata/%s holds no vectors", name)
	}
	return f.Vectors
}

func TestVectorsKCV(t *testing.T) {
	type vector struct {
		Key, KCV          hexBytes
		Algorithm, Method string
	}
	for _, v := range load[vector](t, "kcv.json") {
		method := map[string]KCVMethod{"globalplatform": GP, "ecb-zeros": ECBZeros, "cmac": CMAC}[strings.Fields(v.Method)[0]]
		block, err := aes.NewCipher(v.Key)
		if v.Algorithm == "2-key 3DES" {
			block, err = des.NewTripleDESCipher(append(v.Key, v.Key[:8]...))
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := NewKCV(method, block)
		if err != nil || got.value != string(v.KCV) {
			t.Errorf("%s, %s: %v, %v, want %x", v.Algorithm, v.Method, got, err, v.KCV)
		}
	}
}

func TestVectorsKeyWrap(t *testing.T) {
	for _, v := range load[struct{ KEK, Key, Wrapped hexBytes }](t, "keywrap.json") {
		kek, err := aes.NewCipher(v.KEK)
		if err != nil {
			t.Fatal(err)
		}
		wrapped, err := WrapKey(kek, v.Key)
		if err != nil || !bytes.Equal(wrapped, v.Wrapped) {
			t.Errorf("%x, %v, want %x", wrapped, err, v.Wrapped)
		}
		key, err := UnwrapKey(kek, v.Wrapped)
		if err != nil || !bytes.Equal(key, v.Key) {
			t.Errorf("%x, %v, want %x", key, err, v.Key)
		}
	}
}

func TestVectorsChip(t *testing.T) {
	for _, v := range load[struct{ Master, Serial, ENC, MAC, DEK hexBytes }](t, "chip.json") {
		ks, err := DiversifyChip(v.Master, v.Serial)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ks.Reveal(nil)
		if want := bytes.Join([][]byte{v.ENC, v.MAC, v.DEK}, nil); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%x, %v, want %x", got, err, want)
		}
	}
}
