package format

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A partner is files as one partner might send them: a layout that somebody wrote
// from the documentation, an order, and what is read of it and written in answer.
type partner struct {
	dir      string
	layout   *Layout
	document []byte
	name     string // of the order
	order    []byte
}

// partners are those of testdata; there must be some.
func partners(t testing.TB) []partner {
	t.Helper()
	var all []partner
	paths, err := filepath.Glob("testdata/partners/*/layout.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d partners, want some (%v)", len(paths), err)
	}
	for _, path := range paths {
		dir, doc := filepath.Dir(path), must(os.ReadFile(path))
		l, err := Parse(path, doc)
		if err != nil {
			t.Fatal(err)
		}
		orders, err := filepath.Glob(filepath.Join(dir, "order", "*"))
		if err != nil || len(orders) != 1 {
			t.Fatalf("%s: %d orders, want 1 (%v)", dir, len(orders), err)
		}
		all = append(all, partner{dir, l, doc, orders[0], must(os.ReadFile(orders[0]))})
	}
	return all
}

// TestPartners reads each partner's order, and answers it: what it says and what is
// answered stand in answer.txt, which somebody compared with the order by eye.
func TestPartners(t *testing.T) {
	all := partners(t)
	if len(all) < 10 {
		t.Errorf("%d partners, want at least 10", len(all))
	}
	for _, p := range all {
		t.Run(p.layout.Name(), func(t *testing.T) {
			s := &Sample{Layout: p.layout}
			if err := s.Take(p.name, bytes.NewReader(p.order)); err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for f, value := range s.Header().Fields() {
				fmt.Fprintf(&got, "%s: %s\n", f, value)
			}
			for _, run := range s.runs {
				fmt.Fprintf(&got, "%s %s %s x %d\n", run.First.ICCID, run.First.IMSI, run.First.MSISDN, run.Count)
			}
			for _, o := range p.layout.Outputs() {
				f, err := s.Response(o)
				if err != nil {
					t.Fatalf("%s: %v", o.Name(), err)
				}
				lines := strings.SplitAfter(f.Shown(p.layout), "\n")
				if len(lines) > 30 {
					lines = append(append(lines[:20:20], "...\n"), lines[len(lines)-5:]...)
				}
				fmt.Fprintf(&got, "\n=== %s, %d bytes\n%s", f.Name, len(f.Text), strings.Join(lines, ""))
			}
			path := filepath.Join(p.dir, "answer.txt")
			if want := must(os.ReadFile(path)); got.String() != string(want) {
				t.Errorf("%s: got\n%s\nwant\n%s", path, got.String(), want)
			}
		})
	}
}

// Codings of a byte a character are what iconv makes of them.
func TestCodings(t *testing.T) {
	if _, err := exec.LookPath("iconv"); err != nil {
		t.Fatal("iconv is missing: it is in the package libc-bin")
	}
	for name, theirs := range map[string]string{"latin-1": "ISO-8859-1", "windows-1252": "CP1252"} {
		c := codings()[name]
		taken := 0
		for b := 0x80; b < 0x100; b++ {
			iconv := exec.Command("iconv", "-f", theirs, "-t", "UTF-8")
			iconv.Stdin = bytes.NewReader([]byte{byte(b)})
			want, err := iconv.Output()
			s := scan("f", bytes.NewReader([]byte{byte(b), '\n'}), 0)
			s.coding = c
			ok := s.next()
			if ok != (err == nil && badByte(string(want)) < 0) {
				t.Errorf("%s: byte %02X is taken: %t, iconv has %q (%v)", name, b, ok, want, err)
				continue
			}
			if !ok {
				continue
			}
			taken++
			if string(s.text) != string(want) {
				t.Errorf("%s: byte %02X is %q, iconv has %q", name, b, s.text, want)
			}
			if back, err := c.encode(bytes.Clone(s.text), 0); err != nil || !bytes.Equal(back, []byte{byte(b)}) {
				t.Errorf("%s: byte %02X is written as %X (%v)", name, b, back, err)
			}
		}
		if taken < 96 {
			t.Errorf("%s: %d bytes are taken, want at least 96", name, taken)
		}
		if _, err := c.encode([]byte("अ"), 0); err == nil {
			t.Errorf("%s: a character that it does not have is written", name)
		}
	}
}

// What may be wrong in partners' orders, each by one change, with its place.
func TestPartnersRefused(t *testing.T) {
	by := map[string]partner{}
	for _, p := range partners(t) {
		by[p.layout.Name()] = p
	}
	for want, change := range map[string][3]string{
		":5:12: crc32 does not fit what stands above, want ":                                         {"meridian", "404990000000044", "404990000000045"},
		":5:3: lines does not fit what stands above, want 000000005":                                 {"meridian", "99000000005", "99000000004"},
		":3:1: serial is 3, want 2":                                                                  {"meridian", "50000000002", "50000000003"},
		":1:37: transport_key is not a number":                                                       {"meridian", "07000000003", "7 000000003"},
		":1:1: file does not begin with a byte order mark":                                           {"excel", "\uFEFF", ""},
		":5:25: profile is none of \"5G USIM, nano\", \"4G USIM, nano\"":                             {"excel", "5G USIM, nano", "6G USIM, nano"},
		":10:1: 2 rows of identities, want 3 (quantity)":                                             {"excel", `nano","2"`, `nano","3"`},
		":10:1: more than 2 rows of identities, want 2 (quantity)":                                   {"excel", "# end", "end"},
		":5:41: quantity is written in another way than the layout's ${quantity | thousands(\",\")}": {"excel", `nano","2"`, `nano","2,00,000,00"`},
		":16:7: quantity is not what the file says elsewhere: 1502":                                  {"brackets", "Cards=1,502", "Cards=1,503"},
		":15:8: rows does not fit what stands above, want 3":                                         {"brackets", "Ranges=3", "Ranges=4"},
		":6:12: Quantity is written in another way than the layout's ${quantity | thousands(\",\")}": {"brackets", "= 1,502", "= 1502"},
		":15:1: file ends without a line Anfangsnummern=, so it is of another layout than deutsch":   {"deutsch", "Anfangsnummern =", "Anfangsnummern"},
		":2:20: byte 81 is no character of the layout's text":                                        {"deutsch", "Ostbahn Telefon f", "Ost\x81"},
		":12:13: ICCID has the check digit":                                                          {"deutsch", "8991999000000000013", "8991999000000000014"},
		":6:1: from the first IMSI to the last are 1251 cards, and the row says 1250":                {"francais", "40499 00000 01250", "40499 00000 01251"},
		":6:1: the last ICCID does not come after the first":                                         {"francais", "Dernier ICCID    : 899199900000001250", "Dernier ICCID    : 899199900000000000"},
		":10:21: quantity is not what the file says elsewhere: 1250":                                 {"francais", "1\u202f250", "1\u202f251"},
		":1:15: date has no month of three letters":                                                  {"oracle", "25-NOV-26", "25-NOX-26"},
		":4:10: last line ends, want it without a line end":                                          {"oracle", "EOF~2~100", "EOF~2~100\n"},
		":4:5: rows does not fit what stands above, want 2":                                          {"oracle", "EOF~2", "EOF~3"},
		":2:1: from the first IMSI to the last are 98 cards, and the row says 99":                    {"oracle", "404990000000099", "404990000000098"},
		":11:1: 2 rows in this table, want 3 as in the first":                                        {"lists", "3 404990000000012\n", ""},
		":11:1: serial is 2, want 3":                                                                 {"lists", "3 404990000000012", "2 404990000000012"},
		":8:12: quantity is not what the file says elsewhere: 3":                                     {"lists", "BEGIN IMSI 3", "BEGIN IMSI 4"},
		":13:14: rows does not fit what stands above, want 3":                                        {"lists", "BEGIN MSISDN 3", "BEGIN MSISDN 4"},
	} {
		p := by[change[0]]
		text := strings.Replace(string(p.order), change[1], change[2], 1)
		if text == string(p.order) {
			t.Errorf("%s: the test changes nothing", want)
		}
		err := (&Sample{Layout: p.layout}).Take(p.name, strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", change[0], err, want)
		}
	}
}
