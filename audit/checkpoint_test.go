package audit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

func TestCheckpoint(t *testing.T) {
	s := testSigner(t, "example.in/bureau", 1)
	c := Checkpoint{Origin: s.Name(), Size: 7, Root: LeafHash(nil)}
	signed, err := c.Sign(s)
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenCheckpoint(signed, s.VerifierKey()+"\n")
	if err != nil || got != c {
		t.Fatalf("%+v, %v, want %+v", got, err, c)
	}
	// A witness adds its line.
	w := testSigner(t, "witness.example", 9)
	n, err := note.Open(signed, note.VerifierList(s.ver))
	if err != nil {
		t.Fatal(err)
	}
	if signed, err = note.Sign(n, w); err != nil {
		t.Fatal(err)
	}
	for _, vkey := range []string{s.VerifierKey()} {
		if _, err := OpenCheckpoint(signed, vkey); err != nil {
			t.Error(err)
		}
	}
	// The witness's own key does not make it the witness's log.
	if _, err := OpenCheckpoint(signed, w.VerifierKey()); !errors.Is(err, WrongKey) {
		t.Errorf("error %v, want %q", err, WrongKey)
	}
}

func TestCheckpointRefuses(t *testing.T) {
	s := testSigner(t, "log", 1)
	root := LeafHash(nil).String()
	for name, text := range map[string]string{
		"two lines":  "log\n1\n",
		"extension":  "log\n1\n" + root + "\nmore\n",
		"no number":  "log\nx\n" + root + "\n",
		"negative":   "log\n-1\n" + root + "\n",
		"zero first": "log\n01\n" + root + "\n",
		"plus":       "log\n+1\n" + root + "\n",
		"short root": "log\n1\nAAAA\n",
		"other log":  "other\n1\n" + root + "\n",
	} {
		signed, err := note.Sign(&note.Note{Text: text}, s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenCheckpoint(signed, s.VerifierKey()); err == nil {
			t.Errorf("%s: the checkpoint was opened", name)
		}
	}
	if _, err := OpenCheckpoint(nil, "log+1+x"); err == nil || !strings.Contains(err.Error(), "verifier key") {
		t.Errorf("error %v with a broken key", err)
	}
	if _, err := (Checkpoint{Origin: "other"}).Sign(s); err == nil {
		t.Error("a checkpoint of another log was signed")
	}
}

// brokenKey is a security module that answers with nonsense or not at all.
type brokenKey struct {
	crypto.Signer
	err error
}

func (k brokenKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return make([]byte, ed25519.SignatureSize), k.err
}

func TestSignerRefuses(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "a b", "a+b", "a\xffb"} {
		if _, err := NewSigner(name, key); err == nil {
			t.Errorf("a log may be called %q", name)
		}
	}
	if _, err := NewSigner("log", p256); err == nil {
		t.Error("a P-256 key may sign checkpoints")
	}
	if _, err := VerifierKey("log", key.Public().(ed25519.PublicKey)[1:]); err == nil {
		t.Error("a short key has a verifier key")
	}
	away := errors.New("module is away")
	for _, err := range []error{nil, away} {
		s, err2 := NewSigner("log", brokenKey{key, err})
		if err2 != nil {
			t.Fatal(err2)
		}
		if _, got := (Checkpoint{Origin: "log"}).Sign(s); got == nil || err != nil && !errors.Is(got, err) {
			t.Errorf("error %v", got)
		}
	}
}

func TestPublicKey(t *testing.T) {
	s := testSigner(t, "log", 1)
	pub, err := PublicKey(s.VerifierKey())
	if err != nil || !pub.Equal(s.key.Public()) {
		t.Errorf("%x, %v", pub, err)
	}
	if _, err := PublicKey("log+00000000+AAAA"); err == nil {
		t.Error("a verifier key with a wrong hash was read")
	}
}

func FuzzOpenCheckpoint(f *testing.F) {
	s := testSigner(f, "log", 1)
	f.Add(string(signedOver(f, s, testLeaves(f, 3))))
	f.Add("log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— log AAAA\n")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := parseCheckpoint(text); err == nil && c.text() != text {
			t.Fatalf("%q renders as %q", text, c.text())
		}
		_, _ = OpenCheckpoint([]byte(text), s.VerifierKey())
	})
}
