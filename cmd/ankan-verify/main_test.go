package main

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ankan/audit"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ankan-verify": main})
}

func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	testscript.Run(t, testscript.Params{
		Files: files,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"makelog": makeLog, "makedoc": makeDocument, "edit": edit,
		},
	})
}

func testKey(seed byte) crypto.Signer {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

// makeLog writes a log: makelog DIR ENTRIES [SEED]. Its key goes into DIR.key.
func makeLog(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	seed := byte(1)
	if len(args) > 2 {
		seed = args[2][0]
	}
	s, err := audit.NewSigner("example.in/bureau", testKey(seed))
	ts.Check(err)
	var tree audit.Tree
	var leaves [][]byte
	for i := range n {
		e := audit.Entry{Time: time.Date(2026, 7, 1, 9, 30, i, 0, time.UTC), Kind: "card.made", Actor: "station/1",
			Subject: fmt.Sprintf("8991%015d", i), Data: map[string]any{"n": i}}
		if i%10 == 0 {
			e.Kind, e.Actor = "card.rejected", "station/\x1b[31m2"
		}
		leaf, err := e.Leaf()
		ts.Check(err)
		leaves = append(leaves, leaf)
		ts.Check(tree.Append(audit.LeafHash(leaf), nil))
	}
	signed, err := audit.Checkpoint{Origin: s.Name(), Size: tree.Size(), Root: tree.Root()}.Sign(s)
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	_, err = audit.Export(signed, s.VerifierKey(), func(yield func([]byte, error) bool) {
		for _, leaf := range leaves {
			if !yield(leaf, nil) {
				return
			}
		}
	}, func(path string, data []byte) error {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o644)
	})
	ts.Check(err)
	ts.Check(os.WriteFile(dir+".key", []byte(s.VerifierKey()+"\n"), 0o644))
}

// makeDocument writes a document and its key in PEM: makedoc FILE.
func makeDocument(ts *testscript.TestScript, _ bool, args []string) {
	key := testKey(1)
	file := ts.MkAbs(args[0])
	data, err := audit.SignDocument("application/vnd.ankan.destruction+json", []byte(`{"order":"O-1","cards":100}`), "example.in/bureau", key)
	ts.Check(err)
	ts.Check(os.WriteFile(file, data, 0o644))
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	ts.Check(err)
	for name, block := range map[string]*pem.Block{
		".pem": {Type: "PUBLIC KEY", Bytes: der}, ".bad.pem": {Type: "PUBLIC KEY", Bytes: der[1:]}, ".cert.pem": {Type: "CERTIFICATE", Bytes: der},
	} {
		ts.Check(os.WriteFile(file+name, pem.EncodeToMemory(block), 0o644))
	}
}

// edit replaces text in a file: edit FILE OLD NEW.
func edit(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	data, err := os.ReadFile(file)
	ts.Check(err)
	changed := bytes.Replace(data, []byte(args[1]), []byte(args[2]), 1)
	if bytes.Equal(changed, data) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(file, changed, 0o644))
}

// TestImports: whoever verifies must not depend on what is verified.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	ours := []string{"ankan/audit", "ankan/passkey", "ankan/act", "ankan/cmd/ankan-verify"}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "ankan/audit") {
		t.Fatalf("dependencies %v, want ankan/audit among them", deps)
	}
	for _, dep := range deps {
		if strings.HasPrefix(dep, "ankan/") && !slices.Contains(ours, dep) {
			t.Errorf("ankan-verify imports %s, want only %v", dep, ours)
		}
		if dep == "database/sql" || dep == "net/http" || dep == "os/exec" {
			t.Errorf("ankan-verify imports %s: it opens no database, no connection and no program", dep)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}
