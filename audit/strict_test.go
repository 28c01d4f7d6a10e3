package audit

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

type strictBase struct {
	Warrant string `json:"warrant,omitempty"`
}

type strictDoc struct {
	strictBase
	Act   string                 `json:"act"`
	Plain int                    // under its own name
	At    time.Time              `json:"at,omitzero"`
	Inner *strictBase            `json:"inner,omitempty"`
	List  []strictBase           `json:"list,omitempty"`
	Named map[string]strictBase  `json:"named,omitempty"`
	Free  map[string]any         `json:"free,omitempty"`
	Raw   json.RawMessage        `json:"raw,omitempty"`
	Pairs [2][]map[string]string `json:"pairs,omitzero"`
}

const strictGood = `{"warrant":"w","act":"a","Plain":1,"at":"2026-11-23T09:00:00Z","inner":{"warrant":"x"},"list":[{"warrant":"y"},{}],` +
	`"named":{"a":{},"A":{"warrant":"z"}},"free":{"x":{"y":[{"z":1}]},"X":null},"raw":{"a":[1]},"pairs":[[{"k":"v","K":"w"}],null]}`

func TestStrict(t *testing.T) {
	var v strictDoc
	if err := Strict([]byte(strictGood), &v); err != nil || v.Named["A"].Warrant != "z" || v.Pairs[0][0]["K"] != "w" {
		t.Fatal(v, err)
	}
	for doc, why := range map[string]string{
		`{"act":"a","act":"b"}`:                           `key "act" is there twice`,
		`{"act":"a","ACT":"b"}`:                           `key "ACT" is there twice, or is written otherwise`,
		`{"Act":"a"}`:                                     `key "Act"`,
		`{"plain":1}`:                                     `key "plain"`,
		`{"Warrant":"a"}`:                                 `key "Warrant"`,
		`{"inner":{"WARRANT":"a"}}`:                       `key "WARRANT"`,
		`{"list":[{},{"warrant":"a","warrant":"a"}]}`:     `key "warrant"`,
		`{"named":{"a":{},"a":{}}}`:                       `key "a"`,
		`{"named":{"a":{"wArrant":""}}}`:                  `key "wArrant"`,
		`{"free":{"x":[{"y":1,"y":2}]}}`:                  `key "y"`,
		`{"raw":{"y":1,"\u0079":2}}`:                      `key "y"`,
		`{"pairs":[[{"k":"v","k":"w"}],null]}`:            `key "k"`,
		`{"other":1}`:                                     "unknown field",
		`{} {}`:                                           "more follows",
		`{`:                                               "EOF",
		`{"free":` + strings.Repeat(`{"a":`, 20_000):      "depth",
		`{"act":"a"}` + "\x00":                            "more follows",
		`{"act":"a","warrant":"b","strictBase":{}}`:       "unknown field",
		`{"at":"2026-11-23T09:00:00Z","at":"2026-11-24"}`: "",
	} {
		var v strictDoc
		if err := Strict([]byte(doc), &v); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.60s: %v, want %s", doc, err, why)
		}
	}
}

// What is taken says the same to a reader that takes the first of two keys, keeps
// letters apart and knows no types.
func FuzzStrict(f *testing.F) {
	f.Add([]byte(strictGood))
	f.Add([]byte(`{"act":"a","Act":"b","act":"c"}`))
	f.Add([]byte(`{"free":{"a":1,"a":{"a":[]}}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var one, two strictDoc
		if Strict(doc, &one) != nil {
			return
		}
		var free map[string]any
		if json.Unmarshal(doc, &free) != nil || free == nil {
			return // null
		}
		for key := range free {
			if !strings.Contains(" warrant act Plain at inner list named free raw pairs ", " "+key+" ") {
				t.Errorf("%q: key %q is taken", doc, key)
			}
		}
		if act, ok := free["act"].(string); one.Act != act && ok {
			t.Errorf("%q: reads as %q", doc, one.Act)
		}
		again, err := json.Marshal(one)
		if err != nil {
			t.Fatal(err)
		}
		if err := Strict(again, &two); err != nil {
			t.Errorf("%q is taken and %q is not: %v", doc, again, err)
		}
	})
}
