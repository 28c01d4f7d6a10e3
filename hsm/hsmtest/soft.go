package hsmtest

import (
	"crypto/rand"
	"crypto/rsa"
	"io"
	"path/filepath"
	"sync"
	"testing"

	"ankan/hsm/internal/testrandom"
	"ankan/hsm/soft"
)

// Soft is a new soft token for one test, in a folder that goes with it, at the
// lowest cost of a passphrase. If random is not nil, symmetric keys, data keys
// and Random come from it, so that a test can plant secrets that it knows. Its
// first RSA keys are of those that the test process drew before: to draw one
// takes longer than the rest of a site's founding. The test's end closes it.
func Soft(t testing.TB, random io.Reader) *soft.Token {
	t.Helper()
	token, err := soft.Create(filepath.Join(t.TempDir(), "token"), []byte("a passphrase for tests"),
		soft.WithCost(soft.LowestCost()), soft.WithTestRandom(testrandom.Source{R: random, RSA: pairs.hand()}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { token.Close() })
	return token
}

// pairs are the RSA keys of the test process.
var pairs hoard

// A hoard keeps RSA keys and hands them out in turn, so that tokens that are
// made one after another hold different ones.
type hoard struct {
	mu   sync.Mutex
	keys [8]*rsa.PrivateKey
	next int
}

// hand is what draws the RSA keys of one token: never one twice.
func (h *hoard) hand() func() (*rsa.PrivateKey, error) {
	var had [len(h.keys)]bool
	return func() (*rsa.PrivateKey, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		for range h.keys {
			i := h.next
			h.next = (i + 1) % len(h.keys)
			if had[i] {
				continue
			}
			if h.keys[i] == nil {
				var err error
				if h.keys[i], err = rsa.GenerateKey(rand.Reader, 3072); err != nil {
					return nil, err
				}
			}
			had[i] = true
			return h.keys[i], nil
		}
		return rsa.GenerateKey(rand.Reader, 3072)
	}
}
