package plant

import (
	"strings"
	"testing"
)

func TestGrouped(t *testing.T) {
	for in, want := range map[string]string{"": "", "89910": "89910", "8991000000000000018": "89910 00000 00000 0018"} {
		if got := grouped(in); got != want {
			t.Errorf("%s is printed as %q, want %q", in, got, want)
		}
	}
}

func TestReadScan(t *testing.T) {
	for doc, want := range map[string]string{
		"": "want iccid,printed", "a,b\n": "want iccid,printed", "iccid,printed\n1,2,3\n": "wrong number of fields", "iccid,printed\n12,12\n": "line 2",
	} {
		if _, err := readScan(strings.NewReader(doc)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", doc, err, want)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add("iccid,printed\n8991000000000000018,89910 00000 00000 0018\n")
	f.Add("iccid,printed\n")
	f.Fuzz(func(t *testing.T, doc string) {
		rows, err := readScan(strings.NewReader(doc))
		if err != nil {
			return
		}
		for _, row := range rows {
			if strings.Contains(row[0]+row[1], " ") {
				t.Errorf("%q has spaces", row)
			}
		}
	})
}
