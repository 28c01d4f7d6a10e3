package document

import (
	"errors"
	"strings"
	"testing"
)

type sample struct {
	Name string `yaml:"name"`
	List []struct {
		Size int `yaml:"size"`
	} `yaml:"list"`
}

func TestRead(t *testing.T) {
	var v sample
	tree, err := Read("f", []byte("# a sample\nname: n\nlist:\n  - {size: 1}\n  - size: 2\n"), &v)
	if err != nil || v.Name != "n" || len(v.List) != 2 || v.List[1].Size != 2 {
		t.Fatal(v, err)
	}
	for path, want := range map[string][2]int{"$.name": {2, 7}, "$.list[1].size": {5, 11}, "$.list[1].none": {5, 5}, "$.list[7]": {4, 3}, "$.none": {2, 1}, "": {1, 1}} {
		if line, column := tree.Place(path); [2]int{line, column} != want {
			t.Errorf("%s stands at %d:%d, want %v", path, line, column, want)
		}
	}
}

func TestRefused(t *testing.T) {
	for doc, want := range map[string]string{
		"":                                                "f:1:1: the document is empty",
		"name: n\n---\nname: m\n":                         "f:1:1: 2 YAML documents, want 1",
		"name: n\nother: 1\n":                             "f:2:1: unknown field",
		"name: n\nname: m\n":                              "f:2:1: ",
		"name: [\n":                                       "f:1:",
		"list: [{size: x}]":                               "f:1:15: ",
		strings.Repeat("#", MaxSize+1):                    "f:1:1: 1048577 bytes",
		"list: &a [{size: 1}]":                            "f:1:7: & is an anchor, alias or tag",
		"name: n\nlist: *a":                               "f:2:7: * is an anchor, alias or tag",
		"list:\n- {<<: {size: 1}}":                        "f:2:4: << is an anchor, alias or tag",
		"name: !!str 1":                                   "f:1:7: !!str is an anchor, alias or tag",
		"name: " + strings.Repeat("[", 1000):              "f:1:71: lists and mappings lie more than 64 deep",
		"name: " + strings.Repeat("[{a: ", 1000):          "f:1:167: lists and mappings lie more than 64 deep",
		"name:\n" + strings.Repeat("- ", 1000) + "a":      "f:2:131: lists and mappings lie more than 64 deep",
		"list:\n" + strings.Repeat("- size: 1\n", 30_000): "f:25001:7: more than 100000 words and signs",
	} {
		var v sample
		_, err := Read("f", []byte(doc), &v)
		var e *Error
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.20q: %v, want %s", doc, err, want)
		}
	}
}

// The library panics over an array that is too long.
func TestSurvives(t *testing.T) {
	var v struct{ List [1]int }
	if _, err := Read("f", []byte("list: [1, 2]"), &v); err == nil || err.Error() != "f:1:1: not YAML that can be read" {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("name: n\nlist:\n  - {size: 1}\n"))
	f.Add([]byte("name: !00\n00"))
	f.Add([]byte("name: &a [b]\nlist: [*a, {<<: *a}]"))
	f.Add([]byte("? name\n: |\n  n\n# a remark\nlist: [{size: 0x1}, {size: \"1\"}]"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var v sample
		tree, err := Read("f", doc, &v)
		var e *Error
		if err == nil {
			tree.Place("$.list[0].size")
		} else if !errors.As(err, &e) || e.Line < 1 || e.Column < 0 {
			t.Errorf("%q: %v has no place", doc, err)
		}
	})
}
