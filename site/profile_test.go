package site

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ankan/profile"
)

// A profile on disk brings the CAP files that it names, from its own folder alone.
func TestReadProfile(t *testing.T) {
	component := func(tag byte, v ...byte) []byte { return append([]byte{tag, byte(len(v) >> 8), byte(len(v))}, v...) }
	parts := [][]byte{
		component(1, 0xDE, 0xCA, 0xFF, 0xED, 1, 2, 4, 3, 1, 6, 0xF0, 0, 0, 0, 1, 1), component(2, make([]byte, 31)...), component(4, 0),
		component(3, 1, 6, 0xF0, 0, 0, 0, 1, 2, 0, 20), component(6, 0), component(7, 0), component(8, make([]byte, 10)...), component(5, 0, 0), component(9, 0, 0, 0, 0),
	}
	names := []string{1: "Header", 2: "Directory", 3: "Applet", 4: "Import", 5: "ConstantPool", 6: "Class", 7: "Method", 8: "StaticField", 9: "RefLocation"}
	for _, p := range parts {
		copy(parts[1][3+2*(p[0]-1):], p[1:3])
	}
	parts[1][3+29] = 1
	var jar bytes.Buffer
	z := zip.NewWriter(&jar)
	for _, p := range parts {
		w, err := z.Create("a/javacard/" + names[p[0]] + ".cap")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := profile.Builtin("in-5g-usim")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	name := filepath.Join(dir, "in", "wallet.yaml")
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	doc := func(path string) {
		write(name, []byte(strings.Replace(p.String(), "\nfiles:", "\napplications:\n- {load-file: F00000000101, cap: "+path+"}\nfiles:", 1)))
	}
	write(filepath.Join(dir, "in", "apps", "wallet.cap"), jar.Bytes())
	write(filepath.Join(dir, "wallet.cap"), jar.Bytes())
	if err := os.Symlink("../wallet.cap", filepath.Join(dir, "in", "out.cap")); err != nil {
		t.Fatal(err)
	}
	doc("apps/wallet.cap")
	q, err := ReadProfile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(q.Check()) > 0 || string(q.Applications[0].Code) != string(slices.Concat(parts...)) {
		t.Errorf("findings %v, code %X", q.Check(), q.Applications[0].Code)
	}
	for _, path := range []string{"../wallet.cap", "out.cap", filepath.Join(dir, "wallet.cap"), "none.cap"} {
		doc(path)
		if _, err := ReadProfile(name); err == nil || !strings.Contains(err.Error(), "want a path from the document's folder downwards") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := ReadProfile(filepath.Join(dir, "none.yaml")); !os.IsNotExist(err) {
		t.Errorf("no such file: %v", err)
	}
	if b, err := ReadProfile("builtin:in-5g-usim"); err != nil || b.Digest() != p.Digest() {
		t.Errorf("a built-in profile: %v", err)
	}
}
