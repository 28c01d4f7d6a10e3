package soft

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ankan/hsm"
)

func openShared(t *testing.T, path string) *Token {
	t.Helper()
	token, err := OpenShared(path, passphrase())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { token.Close() })
	return token
}

// What the holder does is so for who shares the token, from the next use on.
func TestSharedFollows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	holder := create(t, path)
	generate(t, holder, "order/1")
	_, wrapped, err := holder.NewDataKey(ctx, "order/1")
	if err != nil {
		t.Fatal(err)
	}
	a, b := openShared(t, path), openShared(t, path)
	for _, token := range []*Token{a, b} {
		if _, err := token.OpenDataKey(ctx, "order/1", wrapped); err != nil {
			t.Fatal(err)
		}
		if err := token.Check(ctx); err != nil {
			t.Error(err)
		}
	}
	if _, err := holder.Generate(ctx, "site", hsm.SiteSign, hsm.Ed25519); err != nil {
		t.Fatal(err)
	}
	signer, err := a.Signer(ctx, "site")
	if err != nil {
		t.Fatalf("a key that the holder has made since: %v", err)
	}
	if all, err := a.Keys(ctx); err != nil || len(all) != 2 {
		t.Errorf("keys %v, %v, want two", all, err)
	}
	for _, id := range []string{"order/1", "site"} {
		if err := holder.Destroy(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	for _, token := range []*Token{a, b} {
		if _, err := token.OpenDataKey(ctx, "order/1", wrapped); !errors.Is(err, hsm.ErrNoKey) {
			t.Errorf("a key that the holder has destroyed: %v, want ErrNoKey", err)
		}
	}
	if _, err := signer.Sign(nil, []byte("m"), nil); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("a signer whose key the holder has destroyed: %v, want ErrNoKey", err)
	}
	for id, k := range a.token().live {
		t.Errorf("key %s is still in memory: %v", id, k.ID)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if _, err := a.Keys(ctx); !errors.Is(err, hsm.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := holder.Check(ctx); err != nil {
		t.Errorf("the holder's own: %v", err)
	}
}

// A key that is wiped is not the one that somebody is using under its name.
func TestSharedWipes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	holder := create(t, path)
	generate(t, holder, "order/1")
	generate(t, holder, "order/2")
	token := openShared(t, path)
	one, two := token.token().live["order/1"], token.token().live["order/2"]
	if err := holder.Destroy(ctx, "order/2"); err != nil {
		t.Fatal(err)
	}
	if _, err := token.Key(ctx, "order/1"); err != nil {
		t.Fatal(err)
	}
	if token.token().live["order/1"] != one || string(one.secret) == string(make([]byte, 32)) {
		t.Error("a key that stays is another one, or wiped")
	}
	if string(two.secret) != string(make([]byte, 32)) {
		t.Error("a key that is gone is not wiped")
	}
}

// The holder writes the file again and again, and overwrites what it replaced.
func TestSharedWhileChanging(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	holder := create(t, path)
	if _, err := holder.Generate(ctx, "ledger", hsm.Ledger, hsm.HMAC256); err != nil {
		t.Fatal(err)
	}
	want, err := holder.MAC(ctx, "ledger", []byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	token := openShared(t, path)
	var using sync.WaitGroup
	over := make(chan struct{})
	for range 4 {
		using.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				if mac, err := token.MAC(ctx, "ledger", []byte("m")); err != nil || mac != want {
					t.Errorf("MAC %x, %v", mac, err)
					return
				}
			}
		})
	}
	for i := range 40 {
		id := "order/" + strings.Repeat("x", i+1)
		generate(t, holder, id)
		if _, err := token.Key(ctx, id); err != nil {
			t.Errorf("just made: %v", err)
		}
		if err := holder.Destroy(ctx, id); err != nil {
			t.Fatal(err)
		}
		if _, err := token.Key(ctx, id); !errors.Is(err, hsm.ErrNoKey) {
			t.Errorf("just destroyed: %v", err)
		}
	}
	close(over)
	using.Wait()
}

func TestSharedRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	if _, err := OpenShared(path, passphrase()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	holder := create(t, path)
	generate(t, holder, "order/1")
	if _, err := OpenShared(path, []byte("another passphrase")); !errors.Is(err, ErrPassphrase) {
		t.Errorf("wrong passphrase: %v", err)
	}
	token := openShared(t, path)
	_, made := token.Generate(ctx, "order/2", hsm.Order, hsm.AES256)
	_, _, shared := token.GenerateShared(ctx, "ledger", hsm.Ledger, hsm.HMAC256, "set", 2, nil)
	_, imported := token.Import(ctx, nil, hsm.Wrapping{Format: hsm.KW, Key: "x"}, "y", hsm.Transport, hsm.AES256)
	_, taken := token.TakeKey(ctx, "agree", nil, "label", "y", hsm.Transport, hsm.AES256)
	_, combined := token.Combine(ctx, "agree", nil, "y", hsm.Transport, hsm.AES256, hsm.KCV{})
	_, restored := token.Restore(ctx, "agree", nil, "y", hsm.Transport, hsm.AES256)
	for what, err := range map[string]error{"Generate": made, "GenerateShared": shared, "Import": imported, "TakeKey": taken,
		"Combine": combined, "Restore": restored, "Destroy": token.Destroy(ctx, "order/1")} {
		if !errors.Is(err, ErrShared) {
			t.Errorf("%s: %v, want ErrShared", what, err)
		}
	}
	if all, err := holder.Keys(ctx); err != nil || len(all) != 1 {
		t.Errorf("the holder has %v, %v", all, err)
	}

	// Another token in its place.
	other := filepath.Join(dir, "other")
	create(t, other)
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	if _, err := token.Key(ctx, "order/1"); !errors.Is(err, ErrFile) {
		t.Errorf("another token's file: %v, want ErrFile", err)
	}
	// Nothing in its place.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := token.Key(ctx, "order/1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file any more: %v", err)
	}
	// What others can read.
	open := filepath.Join(dir, "open")
	create(t, open)
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenShared(open, passphrase()); !errors.Is(err, ErrFile) {
		t.Errorf("a file for everybody: %v, want ErrFile", err)
	}
}
