package plant

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"ankan/act"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/stock"
)

// newPlant is a site with what this part keeps of it.
func newPlant(t testing.TB, name, roles string, parts ...site.Part) *plant {
	t.Helper()
	at := sitetest.New(t, name, roles, parts...)
	return &plant{Site: at, stock: stock.New(at.Store())}
}

func lotNote(t testing.TB, name string) []byte {
	t.Helper()
	return sitetest.Must[[]byte](t)(json.Marshal(stock.Lot{Lot: name, Vendor: "v", Chip: "c", Quantity: 5, OS: "o 1", Image: []byte("not an image"), OSMaker: make([]byte, 32), KCV: "C35280 GP", Given: []byte{1}}))
}

func TestLot(t *testing.T) {
	s := newPlant(t, "line", site.Plant, Part())
	for doc, want := range map[string]string{
		"":                     "lot: ",
		"{}":                   "lot: name, quantity, os, image and wrapped key must be there",
		`{"lot":"L1","new":1}`: "lot: ",
		string(lotNote(t, "L1")) + string(lotNote(t, "L1")):                           "lot: ",
		"[" + string(lotNote(t, "L1")) + "]":                                          "lot: ",
		strings.TrimSuffix(string(lotNote(t, "L1")), "}"):                             "lot: ",
		strings.Replace(string(lotNote(t, "L1")), `"quantity":5`, `"quantity":-5`, 1): "lot: name, quantity",
	} {
		if _, err := s.addLot(t.Context(), []byte(doc)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
	if l, err := s.addLot(t.Context(), lotNote(t, "L1")); err != nil || l.Lot != "L1" {
		t.Fatal(l, err)
	}
	if _, err := s.addLot(t.Context(), lotNote(t, "L1")); err == nil || err.Error() != "lot L1 is here already; it is offered" {
		t.Errorf("the lot again: %v", err)
	}
	if _, err := s.Propose(t.Context(), "lot.accept", "lot/L1"); err == nil || !strings.HasPrefix(err.Error(), "lot L1: ") {
		t.Errorf("a lot whose image nobody signed: %v", err)
	}
	if _, err := s.product(t.Context(), "o 1"); err == nil || err.Error() != "no accepted lot has chips for o 1; receive one: ankan lot receive FILE" {
		t.Errorf("chips that nobody accepted: %v", err)
	}
}

// A site without the role receives no chips.
func TestNoPlant(t *testing.T) {
	s := newPlant(t, "op", site.Operator, site.Part{Role: site.Operator}, Part())
	if _, err := s.addLot(t.Context(), lotNote(t, "L1")); !errors.Is(err, act.ErrNotAllowed) || err.Error() != "site op is no plant: not allowed to receive chips" {
		t.Errorf("a lot: %v", err)
	}
	if _, _, err := s.stock.Lot(t.Context(), "L1"); err == nil {
		t.Error("the lot is here all the same")
	}
}

func FuzzLot(f *testing.F) {
	f.Add(lotNote(f, "L1"))
	f.Add([]byte(`{"lot":1}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		one, err := stock.ReadLot(doc)
		if err != nil {
			return
		}
		again := sitetest.Must[[]byte](t)(json.Marshal(one))
		if _, err := stock.ReadLot(again); err != nil {
			t.Errorf("%s is taken and %s is not: %v", doc, again, err)
		}
	})
}
