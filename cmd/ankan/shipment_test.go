package main

import (
	"strings"
	"testing"

	"ankan/stock"
)

func TestFinding(t *testing.T) {
	d := stock.Delivery{Advice: stock.Advice{Boxes: []stock.AdvisedBox{{Box: "B-1"}, {Box: "B-2"}}}}
	f, err := finding(d, []string{"B-2=19,broken", "B-1=30"})
	if f.Whole = true; err != nil || f.String() != "whole/B-1:30:whole,B-2:19:broken" {
		t.Errorf("%s, %v", f, err)
	}
	for typed, want := range map[string]string{
		"B-1=30":             "box B-2 is not among what you counted; one that did not come is B-2=0,broken",
		"B-1=30 B-1=30":      "box B-1 is there twice",
		"B-1=30 B-2=1 B-3=1": "box B-3 is none of its boxes",
		"B-1=thirty B-2=1":   `"B-1=thirty" is not BOX=CARDS or BOX=CARDS,broken`,
		"B-1=-1 B-2=1":       `"B-1=-1" is not`,
		"B-1=30,whole B-2=1": `"B-1=30,whole" is not`,
		"B-1 B-2=1":          `"B-1" is not`,
	} {
		if _, err := finding(d, strings.Fields(typed)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", typed, err, want)
		}
	}
}
