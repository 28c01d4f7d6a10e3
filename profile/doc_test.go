package profile

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The reference lists every rule with its clause, and no other.
func TestNormsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/reference/profile-rules.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range Norms() {
		if !strings.Contains(string(doc), "\n| `"+n.Name+"` | ") || !strings.Contains(string(doc), fmt.Sprintf(" | %s |\n", n.Clause)) {
			t.Errorf("no row for %s, %s", n.Name, n.Clause)
		}
	}
	if rows := strings.Count(string(doc), "\n| `"); rows != len(Norms()) {
		t.Errorf("%d rows, there are %d rules", rows, len(Norms()))
	}
}
