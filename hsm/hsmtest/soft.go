package hsmtest

import (
	"io"
	"path/filepath"
	"testing"

	"ankan/hsm/internal/testrandom"
	"ankan/hsm/soft"
)

// Soft is a new soft token for one test, in a folder that goes with it, at the
// lowest cost of a passphrase. If random is not nil, symmetric keys, data keys
// and Random come from it, so that a test can plant secrets that it knows. The
// test's end closes it.
func Soft(t testing.TB, random io.Reader) *soft.Token {
	t.Helper()
	token, err := soft.Create(filepath.Join(t.TempDir(), "token"), []byte("a passphrase for tests"),
		soft.WithCost(soft.LowestCost()), soft.WithTestRandom(testrandom.Source{R: random}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { token.Close() })
	return token
}
