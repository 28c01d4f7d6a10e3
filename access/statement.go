package access

import (
	"embed"
	"slices"
	"strings"
)

//go:embed statements
var statements embed.FS

// Statements are the names of the statements that people sign (SOP 6.4.b).
func Statements() []string {
	files, err := statements.ReadDir("statements")
	if err != nil {
		panic("access: " + err.Error())
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".txt"))
	}
	slices.Sort(names)
	return names
}

// StatementText is what whoever signs a statement says; "" if there is none of
// the name.
func StatementText(name string) string {
	if !slices.Contains(Statements(), name) {
		return ""
	}
	text, err := statements.ReadFile("statements/" + name + ".txt")
	if err != nil {
		panic("access: " + err.Error())
	}
	return strings.TrimSpace(string(text))
}
