package suci_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"ankan/suci"
)

type vector struct {
	Profile                            string
	Private                            string `json:"hn_private"`
	Public                             string `json:"hn_public"`
	Ephemeral                          string `json:"eph_private"`
	Point                              string `json:"eph_public"`
	Shared, Plaintext, Ciphertext, MAC string
}

func vectors(t testing.TB) []vector {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata: %d vector files, %v", len(files), err)
	}
	var all []vector
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var f struct{ Vectors []vector }
		if err := json.Unmarshal(b, &f); err != nil || len(f.Vectors) == 0 {
			t.Fatalf("%s: %d vectors, %v", name, len(f.Vectors), err)
		}
		all = append(all, f.Vectors...)
	}
	return all
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		s := map[string]suci.Scheme{"A": suci.ProfileA, "B": suci.ProfileB}[v.Profile]
		home, err := s.PublicKey(unhex(t, v.Public))
		if err != nil {
			t.Fatal(err)
		}
		ephemeral, err := s.PrivateKey(unhex(t, v.Ephemeral))
		if err != nil {
			t.Fatal(err)
		}
		want := unhex(t, v.Point+v.Ciphertext+v.MAC)
		got, err := suci.Conceal(nil, s, home, ephemeral, unhex(t, v.Plaintext))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %X, %v; want %X", s, got, err, want)
		}
		private, err := s.PrivateKey(unhex(t, v.Private))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := suci.Deconceal(s, private, want)
		if err != nil || !bytes.Equal(plain, unhex(t, v.Plaintext)) {
			t.Errorf("%s: opens to %X, %v", s, plain, err)
		}
		for i := range want {
			bad := bytes.Clone(want)
			bad[i] ^= 1
			if plain, err := suci.Deconceal(s, private, bad); err == nil {
				t.Errorf("%s: byte %d changed, opens to %X", s, i, plain)
			}
		}
		if _, err := suci.Deconceal(s, private, want[:len(want)-len(v.Ciphertext)/2-1]); !errors.Is(err, suci.ErrOutput) {
			t.Errorf("%s: cut: %v", s, err)
		}
	}
}

func TestNull(t *testing.T) {
	out, err := suci.Conceal([]byte{9}, suci.Null, nil, nil, []byte{1, 2})
	if err != nil || !bytes.Equal(out, []byte{9, 1, 2}) {
		t.Errorf("%X %v", out, err)
	}
	if out, err = suci.Deconceal(suci.Null, nil, []byte{1, 2}); err != nil || !bytes.Equal(out, []byte{1, 2}) {
		t.Errorf("%X %v", out, err)
	}
}

func TestRefuses(t *testing.T) {
	if _, err := suci.Scheme(3).PublicKey(nil); !errors.Is(err, suci.ErrScheme) {
		t.Error(err)
	}
	if _, err := suci.Scheme(3).PrivateKey(nil); !errors.Is(err, suci.ErrScheme) {
		t.Error(err)
	}
	if _, err := suci.Conceal(nil, 3, nil, nil, nil); !errors.Is(err, suci.ErrScheme) {
		t.Error(err)
	}
	if _, err := suci.Deconceal(3, nil, nil); !errors.Is(err, suci.ErrScheme) {
		t.Error(err)
	}
	for s, key := range map[suci.Scheme][]byte{
		suci.ProfileA: make([]byte, 31), suci.ProfileB: append([]byte{5}, make([]byte, 32)...),
	} {
		if _, err := s.PublicKey(key); !errors.Is(err, suci.ErrKey) {
			t.Errorf("%s: %v", s, err)
		}
	}
	if _, err := suci.ProfileB.PublicKey(bytes.Repeat([]byte{4}, 65)); !errors.Is(err, suci.ErrKey) {
		t.Error(err)
	}
	// A point of small order gives no secret.
	low, err := suci.ProfileA.PublicKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	ephemeral, _ := suci.ProfileA.PrivateKey(bytes.Repeat([]byte{7}, 32))
	if _, err := suci.Conceal(nil, suci.ProfileA, low, ephemeral, nil); !errors.Is(err, suci.ErrKey) {
		t.Error(err)
	}
	if _, err := suci.Deconceal(suci.ProfileA, ephemeral, make([]byte, 40)); !errors.Is(err, suci.ErrKey) {
		t.Error(err)
	}
	for s, want := range map[suci.Scheme]string{suci.Null: "null", suci.ProfileA: "profile-a", suci.ProfileB: "profile-b", 9: "scheme 9"} {
		if s.String() != want {
			t.Error(s)
		}
	}
}

// No output makes Deconceal panic or open to what the key did not make.
func FuzzDeconceal(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Profile == "A", unhex(f, v.Point+v.Ciphertext+v.MAC))
	}
	f.Add(true, make([]byte, 40))
	f.Fuzz(func(t *testing.T, a bool, out []byte) {
		s := suci.ProfileB
		if a {
			s = suci.ProfileA
		}
		home, err := s.PrivateKey(bytes.Repeat([]byte{0x42}, 32))
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := suci.Deconceal(s, home, out); err == nil {
			t.Fatalf("%X opens to %X", out, plain)
		}
	})
}
