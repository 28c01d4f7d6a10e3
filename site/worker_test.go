package site

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ankan/hsm"
	"ankan/hsm/soft"
	"ankan/store"
)

// A worker's configuration that is taken; tests change one line of it.
const goodWorker = `site: works
name: second
database:
  url: postgres:///ankan?host=/run/postgresql&user=drawers
  password: ${ANKAN_TEST_CREDENTIALS}/database
token:
  file: data/token
  passphrase: pass
spans: 3
`

func TestParseWorker(t *testing.T) {
	t.Setenv("ANKAN_TEST_CREDENTIALS", "/run/credentials")
	c, err := ParseWorker("/etc/ankan/worker.yaml", []byte(goodWorker))
	if err != nil {
		t.Fatal(err)
	}
	if c.Server.Password != "/run/credentials/database" || c.Token.File != "/etc/ankan/data/token" || c.Token.Passphrase != "/etc/ankan/pass" || c.Spans != 3 || c.Name != "second" {
		t.Errorf("%+v", c)
	}
	hsm := strings.Replace(goodWorker, "  file: data/token\n  passphrase: pass\n", "  pkcs11: {module: p11.so, token: works, pin: pin}\n", 1)
	if c, err = ParseWorker("/etc/ankan/worker.yaml", []byte(hsm)); err != nil || c.Token.PKCS11.PIN != "/etc/ankan/pin" {
		t.Errorf("with an HSM: %v", err)
	}
	short := strings.NewReplacer("name: second\n", "", "spans: 3\n", "").Replace(goodWorker)
	host, _ := os.Hostname()
	if c, err = ParseWorker("/etc/ankan/worker.yaml", []byte(short)); err != nil || c.Name != host || c.Spans != 2 {
		t.Errorf("with what is usual: %+v, %v", c, err)
	}
}

func TestWorkerRefused(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{"site: works\n", "", "worker.yaml: site is missing"},
		{"name: second", "name: the second", `name is "the second", want up to 60 characters without a space or a slash`},
		{"postgres:///ankan?host=/run/postgresql&user=drawers", "data/ankan.db", "database.url is no address of PostgreSQL"},
		{"  url: postgres:///ankan?host=/run/postgresql&user=drawers\n", "", "database.url is no address of PostgreSQL"},
		{"postgres:///ankan?host=/run/postgresql&user=drawers", "postgres://x:secret@/ankan?host=/run", "has a password in it"},
		{"spans: 3", "spans: -1", "spans is -1, want 1 to 64"},
		{"spans: 3", "spans: 65", "spans is 65, want 1 to 64"},
		{"  file: data/token\n", "", "token.file is missing"},
		{"spans: 3", "roles: [bureau]", `unknown field "roles"`},
	} {
		doc := strings.Replace(goodWorker, tt.old, tt.new, 1)
		if doc == goodWorker {
			t.Fatalf("%q is not in the configuration", tt.old)
		}
		c, err := ParseWorker("/c/worker.yaml", []byte(doc))
		if c != nil || err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q instead of %q: %v, want %q", tt.new, tt.old, err, tt.want)
		}
	}
	if _, err := LoadWorker(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// What a worker lacks keeps it from starting, and is named.
func TestRunWorkerRefuses(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put("pass", "a passphrase for tests\n")
	put("other", "another passphrase\n")
	doc := `{site: works, database: {url: "postgres:///none?host=/nowhere&user=x&connect_timeout=1"}, token: {file: token, passphrase: PASS}}`
	run := func(doc string) error {
		c, err := ParseWorker(filepath.Join(dir, "worker.yaml"), []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		return RunWorker(ctx, c, slog.New(slog.DiscardHandler))
	}
	good := strings.Replace(doc, "PASS", "pass", 1)
	if err := run(good); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no token: %v", err)
	}
	token, err := soft.Create(filepath.Join(dir, "token"), []byte("a passphrase for tests"), soft.WithCost(soft.LowestCost()))
	if err != nil {
		t.Fatal(err)
	}
	defer token.Close()
	if err := run(strings.Replace(doc, "PASS", "other", 1)); !errors.Is(err, soft.ErrPassphrase) {
		t.Errorf("another passphrase: %v", err)
	}
	if err := run(strings.Replace(good, "token: {", "token: {require_certified: true, ", 1)); err == nil || !strings.Contains(err.Error(), "require_certified") {
		t.Errorf("a module that is not certified: %v", err)
	}
	if err := run(good); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("a token without the log's key: %v", err)
	}
}

func FuzzParseWorker(f *testing.F) {
	f.Add([]byte(goodWorker))
	f.Add([]byte("site: w\ndatabase: {url: 'postgres:///a?host=/x&user=y'}\ntoken: {pkcs11: {module: m, pin: p, token: t}}\n"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := ParseWorker("/c/worker.yaml", doc)
		if err == nil && (c.Spans < 1 || c.Spans > mostSpans || c.Site == "" || c.Name == "" || !store.IsPostgres(c.Server.URL)) {
			t.Errorf("taken: %+v", c)
		}
	})
}
