package access

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestPassword(t *testing.T) {
	h := newHasher()
	phc, err := h.password("correct horse battery", 12)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(phc, "$argon2id$v=19$m=65536,t=3,p=4$") {
		t.Error(phc)
	}
	again, err := h.password("correct horse battery", 12)
	if err != nil || again == phc {
		t.Error("the salt is the same", err)
	}
	if !h.check(phc, "correct horse battery") || h.check(phc, "correct horse batterz") || h.check(phc, "") || h.check("", "") {
		t.Error("it does not tell right from wrong")
	}
	if _, err := h.password("correct horse", 14); !errors.Is(err, ErrPassword) || strings.Contains(err.Error(), "horse") {
		t.Error(err)
	}
}

// Whatever is asked about whoever, it is one hash: how long the answer takes
// says nothing.
func TestPasswordCostsOneHash(t *testing.T) {
	n := 0
	h := hasher{make(chan struct{}, 1), func(password, salt []byte) []byte {
		n++
		if len(salt) != passwordSalt || len(password) > maxPassword {
			t.Errorf("%d bytes with %d of salt", len(password), len(salt))
		}
		return bytes.Repeat([]byte{7}, passwordKey)
	}}
	phc, err := h.password("x", 0)
	if err != nil || n != 1 {
		t.Fatal(n, err)
	}
	for name, c := range map[string]struct {
		phc, password string
		right         bool
	}{
		"right": {phc, "x", true}, "no hash": {"", "x", false}, "broken": {phc[:40], "x", false}, "endless": {phc, strings.Repeat("x", 1<<20), true},
	} {
		n = 0
		if got := h.check(c.phc, c.password); got != c.right || n != 1 {
			t.Errorf("%s: %v after %d hashes", name, got, n)
		}
	}
}

func TestParsePHC(t *testing.T) {
	h := newHasher()
	h.derive = func(_, _ []byte) []byte { return make([]byte, passwordKey) }
	good, err := h.password("x", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := parsePHC(good); !ok {
		t.Errorf("%s is not taken", good)
	}
	for name, bad := range map[string]string{
		"empty":     "",
		"plain":     "x",
		"variant":   strings.Replace(good, "argon2id", "argon2i", 1),
		"version":   strings.Replace(good, "v=19", "v=16", 1),
		"memory":    strings.Replace(good, "m=65536", "m=8", 1),
		"passes":    strings.Replace(good, "t=3", "t=1", 1),
		"lanes":     strings.Replace(good, "p=4", "p=1", 1),
		"no key":    good[:strings.LastIndex(good, "$")],
		"short key": good[:len(good)-4],
		"long key":  good + "AAAA",
		"padding":   good + "=",
		"third":     good + "$AAAA",
		"loose end": good[:len(good)-1] + "B", // bits that no byte has
		"space":     good + " ",
		"new line":  good + "\n",
	} {
		if _, _, ok := parsePHC(bad); ok || bad == good {
			t.Errorf("%s: %q is taken", name, bad)
		}
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=65536,t=3,p=4$$")
	f.Add("")
	f.Fuzz(func(t *testing.T, phc string) {
		salt, key, ok := parsePHC(phc)
		if !ok {
			return
		}
		h := hasher{make(chan struct{}, 1), func(_, _ []byte) []byte { return key }}
		if len(salt) != passwordSalt || len(key) != passwordKey || !h.check(phc, "x") {
			t.Errorf("%q is taken: salt %x, key %x", phc, salt, key)
		}
	})
}
