package audit

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// readVectors reads a file of testdata into v; what is not there fails the test.
func readVectors(t testing.TB, name string, v any) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

type entryVector struct{ Name, Leaf, Refused string }

func entryVectors(t testing.TB) []entryVector {
	var v struct{ Entries []entryVector }
	readVectors(t, "entries.json", &v)
	if len(v.Entries) < 20 {
		t.Fatalf("%d entries in testdata/entries.json, want at least 20", len(v.Entries))
	}
	return v.Entries
}

func TestParseEntry(t *testing.T) {
	for _, v := range entryVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			e, err := ParseEntry([]byte(v.Leaf))
			if v.Refused != "" {
				if err == nil || !strings.Contains(err.Error(), v.Refused) {
					t.Fatalf("error %v, want one that says %q", err, v.Refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if leaf, err := e.Leaf(); err != nil || string(leaf) != v.Leaf {
				t.Fatalf("leaf %s, %v, want %s", leaf, err, v.Leaf)
			}
		})
	}
}

// upper is a named type, as the ones that identify things in other packages.
type upper string

func (u upper) MarshalText() ([]byte, error) { return []byte(strings.ToUpper(string(u))), nil }

func TestLeafOfGoValues(t *testing.T) {
	india := time.FixedZone("IST", 5*3600+1800)
	e := Entry{
		Time: time.Date(2026, 7, 1, 15, 0, 0, 1, india), Kind: "test.values", Actor: "anita", Subject: "s",
		Data: map[string]any{
			"int": 1, "int8": int8(-1), "uint32": uint32(7), "duration": time.Duration(5), "flag": true,
			"list": []string{"a", "b"}, "counts": map[upper]int{"x": 1}, "at": time.Date(2026, 7, 1, 0, 0, 0, 0, india),
			"text": upper("iccid"), "nothing": nil, "nested": map[string]any{"b": []int{1, 2}, "a": [2]bool{true, false}},
		},
	}
	const want = `{"actor":"anita","data":{"at":"2026-06-30T18:30:00.000000000Z","counts":{"x":1},"duration":5,` +
		`"flag":true,"int":1,"int8":-1,"list":["a","b"],"nested":{"a":[true,false],"b":[1,2]},"nothing":null,` +
		`"text":"ICCID","uint32":7},"kind":"test.values","subject":"s","time":"2026-07-01T09:30:00.000000001Z"}`
	leaf, err := e.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(leaf)); diff != "" {
		t.Error(diff)
	}
}

func TestLeafRefuses(t *testing.T) {
	loop := map[string]any{}
	loop["again"] = loop
	list := []any{nil}
	list[0] = list
	for name, tc := range map[string]struct {
		data any
		say  string
	}{
		"fraction":      {1.5, "float64 cannot be logged"},
		"bytes":         {[]byte("key"), "[]uint8 cannot be logged"},
		"array":         {[2]byte{1}, "[2]uint8 cannot be logged"},
		"struct":        {struct{ A int }{1}, "cannot be logged"},
		"pointer":       {new(int), "cannot be logged"},
		"map of ints":   {map[int]int{1: 1}, "cannot be logged"},
		"not UTF-8":     {"\xff", "not UTF-8"},
		"deep map":      {loop, "nests deeper"},
		"deep list":     {list, "nests deeper"},
		"too long":      {strings.Repeat("x", MaxEntry), "want at most 65535"},
		"inside a list": {[]any{1.5}, "[0]"},
		"year 10000":    {time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), "year"},
	} {
		t.Run(name, func(t *testing.T) {
			e := testEntry(0)
			e.Data = map[string]any{"x": tc.data}
			dst := []byte("kept")
			got, err := e.AppendLeaf(dst)
			if err == nil || !strings.Contains(err.Error(), tc.say) {
				t.Errorf("error %v, want one that says %q", err, tc.say)
			}
			if string(got) != "kept" {
				t.Errorf("half an entry was appended: %q", got)
			}
		})
	}
	if _, err := ParseEntry(make([]byte, MaxEntry+1)); err == nil {
		t.Error("an entry longer than a bundle can hold was parsed")
	}
	if _, err := (Entry{Kind: "k", Actor: "a"}).Leaf(); err == nil {
		t.Error("an entry without time has a leaf")
	}
	if _, err := (Entry{}).Leaf(); err == nil {
		t.Error("the zero entry has a leaf")
	}
}

func TestLongestEntry(t *testing.T) {
	e := testEntry(0)
	e.Data = map[string]any{"x": ""}
	leaf, err := e.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	e.Data["x"] = strings.Repeat("x", MaxEntry-len(leaf))
	if leaf, err = e.Leaf(); err != nil || len(leaf) != MaxEntry {
		t.Fatalf("%d bytes, %v, want %d", len(leaf), err, MaxEntry)
	}
}

func FuzzParseEntry(f *testing.F) {
	for _, v := range entryVectors(f) {
		f.Add([]byte(v.Leaf))
	}
	f.Fuzz(func(t *testing.T, leaf []byte) {
		e, err := ParseEntry(leaf)
		if err != nil {
			return
		}
		again, err := e.Leaf()
		if err != nil || !bytes.Equal(again, leaf) {
			t.Fatalf("%q parses, but renders as %q, %v", leaf, again, err)
		}
	})
}

func BenchmarkLeaf(b *testing.B) {
	e := testEntry(1)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = e.AppendLeaf(buf[:0])
	}
}

func BenchmarkParseEntry(b *testing.B) {
	leaf, err := testEntry(1).Leaf()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseEntry(leaf); err != nil {
			b.Fatal(err)
		}
	}
}

func TestDataOf(t *testing.T) {
	type inner struct {
		Big uint64    `json:"big"`
		At  time.Time `json:"at"`
	}
	in := struct {
		Name  string  `json:"name"`
		Inner []inner `json:"inner"`
	}{"<x>", []inner{{1<<64 - 1, testStart}}}
	m, err := DataOf(in)
	if err != nil {
		t.Fatal(err)
	}
	e := testEntry(0)
	e.Data = m
	leaf, err := e.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	if e, err = ParseEntry(leaf); err != nil {
		t.Fatal(err)
	}
	got, err := e.DataJSON()
	if want := `{"inner":[{"at":"2026-07-01T09:30:00Z","big":18446744073709551615}],"name":"<x>"}`; err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	if got, err := (Entry{}).DataJSON(); err != nil || string(got) != "{}" {
		t.Errorf("%s, %v, want {}", got, err)
	}
	for name, v := range map[string]any{
		"list": []int{1}, "text": "x", "nothing": nil, "fraction": map[string]any{"x": 0.5}, "channel": make(chan int),
	} {
		if m, err := DataOf(v); err == nil {
			t.Errorf("%s: %v", name, m)
		}
	}
}
