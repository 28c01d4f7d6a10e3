package hlr

import (
	"path/filepath"
	"testing"

	"ankan/audit"
	"ankan/hsm"
	"ankan/hsm/soft"
	"ankan/store"
	"ankan/store/storetest"
)

// factory is an operator's site as far as this package needs it.
type factory struct {
	dir   string
	path  string // of the database
	token *soft.Token
	store *store.Store
	auc   *AuC
}

func newFactory(t testing.TB) *factory {
	t.Helper()
	f := newFactoryWithout(t)
	f.open(t)
	return f
}

// newFactoryWithout is a site whose subscriber store was never opened.
func newFactoryWithout(t testing.TB) *factory {
	t.Helper()
	f := &factory{dir: t.TempDir(), path: storetest.New(t)}
	var err error
	if f.token, err = soft.Create(filepath.Join(f.dir, "token"), []byte("a passphrase for tests"), soft.WithCost(soft.LowestCost())); err != nil {
		t.Fatal(err)
	}
	for id, k := range map[string]struct {
		p hsm.Purpose
		a hsm.Algorithm
	}{
		"subscriber": {hsm.Subscriber, hsm.AES256},
		"transport":  {hsm.Transport, hsm.AES128},
		"log":        {hsm.LogSign, hsm.Ed25519},
	} {
		if _, err := f.token.Generate(t.Context(), id, k.p, k.a); err != nil {
			t.Fatal(err)
		}
	}
	f.openStore(t)
	return f
}

func (f *factory) openStore(t testing.TB) {
	t.Helper()
	key, err := f.token.Signer(t.Context(), "log")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := audit.NewSigner("operator.example/log", key)
	if err != nil {
		t.Fatal(err)
	}
	c := store.Config{Path: f.path, Origin: "operator.example/log", Signer: signer}
	if f.store, err = store.Open(t.Context(), c, Schema()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.store.Close() })
}

func (f *factory) open(t testing.TB) {
	t.Helper()
	var err error
	if f.auc, err = Open(t.Context(), f.store, f.token, "subscriber"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.auc.Close)
}

// reopen is a restart of the process.
func (f *factory) reopen(t testing.TB) {
	t.Helper()
	f.auc.Close()
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}
	f.openStore(t)
	f.open(t)
}

// entries are the log's entries of one kind.
func (f *factory) entries(t testing.TB, kind string) []audit.Entry {
	t.Helper()
	all, err := f.store.Entries(t.Context(), 0, int(f.store.Size()))
	if err != nil {
		t.Fatal(err)
	}
	var found []audit.Entry
	for _, e := range all {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

// outcomes is what the entries of one kind say about how it went.
func (f *factory) outcomes(t testing.TB, kind string) []string {
	t.Helper()
	var found []string
	for _, e := range f.entries(t, kind) {
		s, _ := e.Data["outcome"].(string)
		found = append(found, s)
	}
	return found
}
