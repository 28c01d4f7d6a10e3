package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestIndex compares the page of cases with the tests that it names: each case is
// there once, and each name is that of a test.
func TestIndex(t *testing.T) {
	root := filepath.Join("..", "..")
	doc, err := os.ReadFile(filepath.Join(root, "docs", "reference", "crash-cases.md"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []string
	named := regexp.MustCompile("`([a-z/0-9]+) (Test[A-Za-z0-9_]+)`")
	for line := range strings.Lines(string(doc)) {
		for _, n := range named.FindAllStringSubmatch(line, -1) {
			if !hasTest(t, filepath.Join(root, n[1]), n[2]) {
				t.Errorf("%.40s: package %s has no test %s", line, n[1], n[2])
			}
		}
		if !strings.HasPrefix(line, "| R") {
			continue
		}
		columns := strings.Split(line, " | ")
		if len(columns) != 4 {
			t.Errorf("%q has %d columns, want 4", line, len(columns))
			continue
		}
		cases = append(cases, strings.TrimPrefix(columns[0], "| "))
		tests := named.FindAllStringSubmatch(columns[3], -1)
		if len(tests) == 0 || len(tests) != strings.Count(columns[3], "`")/2 {
			t.Errorf("%s names %d tests in %q", columns[0], len(tests), columns[3])
		}
	}
	var want []string
	for n := range 22 {
		want = append(want, fmt.Sprintf("R%d", n+1))
	}
	if !slices.Equal(cases, want) {
		t.Errorf("the page has the cases %v, want %v", cases, want)
	}
}

func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(t *testing.T) {\n") {
			return true
		}
	}
	return false
}
