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
