package saip

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Every line of the table is read, in every version of its template, and says
// each thing once.
func TestTemplates(t *testing.T) {
	if len(templateTexts) == 0 {
		t.Fatal("no templates")
	}
	for _, text := range templateTexts {
		if !slices.Contains(choices[:], text.choice) {
			t.Errorf("%s is no profile element", text.choice)
		}
		for _, oid := range []string{text.oid, text.oid + ".2", text.oid + ".3", text.oid + ".9"} {
			x, err := findTemplate(text.choice, oid)
			if err != nil {
				t.Fatal(err)
			}
			fields, places := map[string]bool{}, map[string]string{}
			dir := ""
			for _, e := range x.entries {
				if fields[e.field] {
					t.Errorf("%s: %s stands twice", text.choice, e.field)
				}
				fields[e.field] = true
				if e.kind.Dedicated() {
					dir = e.name
				}
				place := fmt.Sprint(dir, e.id)
				if e.id != 0 && places[place] != "" {
					t.Errorf("%s: %s has the identifier %s of %s", text.choice, e.name, e.id, places[place])
				}
				places[place] = e.name
				if e.rule < 1 || e.rule > 14 || e.sfi > 30 || e.size > 255 {
					t.Errorf("%s: %s: rule %d, SFI %d, %d bytes", text.choice, e.name, e.rule, e.sfi, e.size)
				}
			}
			if x.under == "" && text.choice != "mf" && x.entries[0].kind.String() != "ADF" {
				t.Errorf("%s lies nowhere", text.choice)
			}
		}
	}
	for _, c := range []struct{ choice, oid, want string }{
		{"rfm", "2.23.143.1.2.1", "there is no template of rfm"},
		{"usim", "2.23.143.1.2.5", "is not one of usim"},
		{"usim", "2.23.143.1.2.4.1", "is not one of usim"},
		{"usim", "2.23.143.1.2.4.x", "is not one of usim"},
	} {
		if _, err := findTemplate(c.choice, c.oid); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %s", c.choice, c.oid, err, c.want)
		}
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want string
	}{
		{"-", 3, "FFFFFF"}, {"00FF..", 4, "00FFFFFF"}, {"FF..07", 4, "FFFFFF07"}, {"FF..000001", 5, "FFFF000001"}, {"0A", 1, "0A"},
		{"0A", 3, "0AFFFF"}, {"(FFFFFF0000)", 10, "FFFFFF0000FFFFFF0000"}, {"(FFFFFF0000)", 7, "FFFFFF0000FFFF"}, {"00..", 2, "0000"},
		{"FF..000001", 2, "0001"},
	} {
		p, err := parsePattern(c.text)
		if got := fmt.Sprintf("%X", p.body(c.n)); err != nil || got != c.want {
			t.Errorf("%s of %d bytes is %s, %v, want %s", c.text, c.n, got, err, c.want)
		}
	}
	for _, s := range []string{"", "..", "0", "XX..", "00..X", "(0)"} {
		if _, err := parsePattern(s); err == nil {
			t.Errorf("%q is a pattern", s)
		}
	}
	for i := 1; i <= 14; i++ {
		if len(standardRule(i)) == 0 {
			t.Errorf("no access rule %d", i)
		}
	}
	for _, columns := range [][]string{nil, strings.Fields("a b c d e f g h i"), strings.Fields("a b XX TR - - - - -")} {
		if _, err := parseEntry(columns, 1); err == nil {
			t.Errorf("%v is an entry", columns)
		}
	}
}
