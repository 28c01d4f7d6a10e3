package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"ankan/format"
)

// Many faults are shown by their kinds; whoever does not read a terminal gets all.
func TestSomeFaults(t *testing.T) {
	var faults format.Faults
	for i := range 1000 {
		text := "IMSI has 14 digits, want 15"
		if i%4 == 3 {
			text = "ICCID has the check digit 0, want 3"
		}
		if i < 12 {
			text = fmt.Sprintf("serial is %d, want 1", i+2)
		}
		faults = append(faults, &format.Fault{File: "o", Line: i + 5, Column: 3, Text: text})
	}
	faults[999].Text += format.MoreFaults
	got := someFaults(faults)
	for _, want := range []string{
		"o:5:3: serial is 2, want 1\n", "\n... and 980 more; reading stopped at line 1004, and what follows may have others\n",
		"\n   741  lines 17 to 1003: IMSI has 14 digits, want 15\n   247  lines 20 to 1004: ICCID has the check digit 0, want 3\n     1  line 5: serial is 2, want 1\n",
		"\n  and 4 others\nnext: 2> faults.txt behind",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant %q", got, want)
		}
	}
	if n := strings.Count(got, "\n"); n > 40 {
		t.Errorf("%d lines, want a page", n)
	}
	if got := errorText(new(bytes.Buffer), faults); strings.Count(got, "\n") != 999 {
		t.Errorf("a file gets %d lines, want all", strings.Count(got, "\n")+1)
	}
}

func TestSomeLines(t *testing.T) {
	text := strings.Repeat("x\n", 100) + "end\n"
	if got := someLines(text, 40); strings.Count(got, "\n") != 40 || !strings.Contains(got, "\n... 62 lines more; --to FOLDER") || !strings.HasSuffix(got, "x\nend\n") {
		t.Errorf("got %s", got)
	}
	if got := someLines("a\nb\n", 40); got != "a\nb\n" {
		t.Errorf("got %q", got)
	}
}
