package ankan

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// importOrder reads the list of packages out of ARCHITECTURE.md.
func importOrder(t *testing.T) []string {
	t.Helper()
	doc, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "<!-- import order: read by architecture_test.go -->\n```\n")
	if !ok {
		t.Fatal("ARCHITECTURE.md has no list of packages after its marker")
	}
	list, _, _ := strings.Cut(rest, "```")
	var all []string
	for line := range strings.Lines(list) {
		all = append(all, strings.Fields(line)[0])
	}
	return all
}

type listed struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// A package imports only what stands above it.
func TestImportOrder(t *testing.T) {
	place := map[string]int{}
	for i, name := range importOrder(t) {
		if _, twice := place[name]; twice {
			t.Errorf("%s stands twice in ARCHITECTURE.md", name)
		}
		place[name] = i
	}
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name, ours := strings.CutPrefix(p.ImportPath, "ankan/")
		if !ours {
			continue // this package holds only this test
		}
		at, ok := place[name]
		if !ok {
			t.Errorf("package %s is not in ARCHITECTURE.md", name)
			continue
		}
		seen++
		for _, imp := range p.Imports {
			below, ours := strings.CutPrefix(imp, "ankan/")
			if !ours {
				continue
			}
			if place[below] >= at {
				t.Errorf("%s imports %s, which does not stand above it in ARCHITECTURE.md", name, below)
			}
		}
		for _, imp := range append(append(p.Imports, p.TestImports...), p.XTestImports...) {
			if imp == "golang.org/x/crypto/openpgp" || strings.HasPrefix(imp, "golang.org/x/crypto/openpgp/") {
				t.Errorf("%s imports %s, which is not maintained", name, imp)
			}
		}
	}
	if seen < 20 {
		t.Errorf("%d packages were looked at: the test does not see the repository", seen)
	}
}
