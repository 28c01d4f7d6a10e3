package site

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"ankan/act"
	"ankan/custody"
	"ankan/hsm"
	"ankan/order"
	"ankan/perso"
)

// Every deed refuses a subject that is not its own, whoever sent it.
func TestProposalsRefused(t *testing.T) {
	c := configOf(t, "works", "operator, bureau, plant", "")
	s := openSite(t, c, initSite(t, c))
	what := map[string]string{
		"key.share": "key", "key.accept": "key", "lot.accept": "lot",
		"order.submit": "order", "hlr.load": "order", "order.acknowledge": "order", "order.release": "order",
		"order.destroy": "order", "chip.destroy": "order", "batch.destroy": "order",
	}
	unknown := map[string]struct {
		text string
		is   error
	}{
		"key.share":         {`"none" is no partner`, nil},
		"key.accept":        {"keys 7 of none: no such key; the operator has not sent them", hsm.ErrNoKey},
		"lot.accept":        {`lot "none/7" is not here; run: ankan lot receive FILE`, nil},
		"order.submit":      {`order "none/7": no such order`, order.ErrNoOrder},
		"hlr.load":          {`order "none/7": no such order`, order.ErrNoOrder},
		"order.acknowledge": {`order "none/7": no such order`, order.ErrNoOrder},
		"order.release":     {`order "none/7": no such order`, order.ErrNoOrder},
		"order.destroy":     {`order "none/7": no such order`, order.ErrNoOrder},
		"chip.destroy":      {"order none/7 has no rejected chip that waits for destruction", nil},
		"batch.destroy":     {"order none/7: ", perso.ErrNoRun},
	}
	deeds := s.deeds()
	if len(deeds) != len(what) {
		t.Errorf("%d deeds, the test knows %d", len(deeds), len(what))
	}
	policy := must[act.Policy](t)(s.people.Policy(t.Context()))
	for kind := range deeds {
		if _, err := policy.Rule(kind); err != nil {
			t.Errorf("the policy: %v", err)
		}
		for _, subject := range []string{"", "order", "order/", "key", "key/", "key/x", "key//1", "key/x/", "key/x/y", "key/x/01", "key/x/+1", "key/x/99999999999999999999", "lot", "lot/", "lots/x", "batch/x", "/", "x", "Order/x"} {
			if strings.HasPrefix(subject, what[kind]+"/") && what[kind] != "key" && len(subject) > len(what[kind])+1 {
				continue
			}
			params, err := s.propose(t.Context(), kind, subject)
			if params != nil || err == nil || !strings.HasPrefix(err.Error(), `subject "`+subject+`" is not `+what[kind]+"/") {
				t.Errorf("%s of %q: %v, %v", kind, subject, params, err)
			}
		}
		want := unknown[kind]
		params, err := s.propose(t.Context(), kind, what[kind]+"/none/7")
		if params != nil || err == nil || !strings.HasPrefix(err.Error(), want.text) || want.is != nil && !errors.Is(err, want.is) {
			t.Errorf("%s of what is not here: %v, %v, want %s", kind, params, err, want.text)
		}
	}
	for _, kind := range []string{"", "order", "order.release ", "policy.change"} {
		if _, err := s.propose(t.Context(), kind, "order/x"); !errors.Is(err, act.ErrNotAllowed) {
			t.Errorf("%q: %v", kind, err)
		}
	}
	if err := s.do(t.Context(), "none"); !errors.Is(err, custody.ErrNoAct) {
		t.Errorf("an act that nobody asked for: %v", err)
	}
}

// A site does the deeds of its roles and no other's.
func TestRolesRefused(t *testing.T) {
	c := configOf(t, "op", "operator", "")
	token := initSite(t, c)
	s := openSite(t, c, token)
	doc := lotNote(t, "L1")
	if _, err := s.AddLot(t.Context(), doc); !errors.Is(err, act.ErrNotAllowed) || err.Error() != "site op is no plant: not allowed to receive chips" {
		t.Errorf("a lot: %v", err)
	}
	if _, _, err := s.lot(t.Context(), "L1"); err == nil {
		t.Error("the lot is here all the same")
	}
	for _, kind := range []string{"order.release", "lot.accept", "key.accept"} {
		if _, err := s.propose(t.Context(), kind, "order/x"); !errors.Is(err, act.ErrNotAllowed) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if _, err := s.NewKeys(t.Context(), "maker", 11, hsm.AES256); err == nil || err.Error() != `"maker" is no partner` {
		t.Errorf("keys for a stranger: %v", err)
	}
	if _, err := s.Draft(t.Context(), "a.inp", strings.NewReader("")); err == nil || !strings.HasPrefix(err.Error(), "no contract of this operator with a partner that is a bureau") {
		t.Errorf("a draft without a manufacturer: %v", err)
	}
	s.config = &Config{Site: "line", Roles: []string{Plant}}
	if _, err := s.NewKeys(t.Context(), "maker", 11, hsm.AES256); !errors.Is(err, act.ErrNotAllowed) {
		t.Errorf("keys at a plant: %v", err)
	}
}

func lotNote(t testing.TB, name string) []byte {
	t.Helper()
	return must[[]byte](t)(json.Marshal(Lot{Lot: name, Vendor: "v", Chip: "c", Quantity: 5, OS: "o 1", Image: []byte("not an image"), OSMaker: make([]byte, 32), KCV: "C35280 GP", Given: []byte{1}}))
}

func TestLot(t *testing.T) {
	c := configOf(t, "line", "plant", "")
	s := openSite(t, c, initSite(t, c))
	for doc, want := range map[string]string{
		"":                     "lot: ",
		"{}":                   "lot: name, quantity, os, image and wrapped key must be there",
		`{"lot":"L1","new":1}`: "lot: ",
		strings.Replace(string(lotNote(t, "L1")), `"quantity":5`, `"quantity":-5`, 1): "lot: name, quantity",
	} {
		if _, err := s.AddLot(t.Context(), []byte(doc)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
	if l, err := s.AddLot(t.Context(), lotNote(t, "L1")); err != nil || l.Lot != "L1" {
		t.Fatal(l, err)
	}
	if _, err := s.AddLot(t.Context(), lotNote(t, "L1")); err == nil || err.Error() != "lot L1 is here already; it is offered" {
		t.Errorf("the lot again: %v", err)
	}
	if _, err := s.propose(t.Context(), "lot.accept", "lot/L1"); err == nil || !strings.HasPrefix(err.Error(), "lot L1: ") {
		t.Errorf("a lot whose image nobody signed: %v", err)
	}
	if _, err := s.product(t.Context(), "o 1"); err == nil || err.Error() != "no accepted lot has chips for o 1; receive one: ankan lot receive FILE" {
		t.Errorf("chips that nobody accepted: %v", err)
	}
}
