package uicc

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// fileRow is what the reference says of a file, in a table of its directory.
func fileRow(ef EF) string {
	id, sfi, size, service := "any", "", "", ""
	if ef.ID != 0 {
		id = ef.ID.String()
	}
	if ef.SFI != 0 {
		sfi = fmt.Sprintf("%02X", ef.SFI)
	}
	if ef.Size != 0 {
		size = fmt.Sprint(ef.Size)
	}
	if len(ef.Services) > 0 {
		service = strings.ReplaceAll(strings.Trim(fmt.Sprint(ef.Services), "[]"), " ", ", ")
		for _, n := range ef.With {
			service += fmt.Sprintf(" + %d", n)
		}
	}
	if ef.Mandatory {
		service = "always"
	}
	as := "value"
	if !ef.Codec.Known() {
		as = "hex"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s, %s | %s | %s | %s |", ef.Name, id, sfi, ef.Kind, size, ef.Read, ef.Update, service, as, ef.Clause)
}

// The reference lists every file of the table as it is, and no other.
func TestFilesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/reference/card-files.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, ef := range EFs() {
		_, section, ok := strings.Cut(string(doc), "\n## "+ef.Dir+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		if row := fileRow(ef); !ok || !strings.Contains(section, "\n"+row+"\n") {
			t.Errorf("%s has no row\n%s", ef.Dir, row)
		}
	}
	if rows := strings.Count(string(doc), "\n| `EF."); rows != len(EFs()) {
		t.Errorf("%d rows, the table has %d files", rows, len(EFs()))
	}
}
