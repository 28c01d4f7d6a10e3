package site_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"ankan/act"
	"ankan/custody"
	"ankan/format"
	"ankan/hsm"
	"ankan/order"
	"ankan/parts"
	"ankan/perso"
	"ankan/site"
	"ankan/site/sitetest"
)

// Every deed refuses a subject that is not its own, whoever sent it.
func TestProposalsRefused(t *testing.T) {
	s := sitetest.New(t, "works", "operator, bureau, plant", parts.All()...)
	what := map[string]string{
		"key.share": "key", "key.accept": "key", "lot.accept": "lot",
		"order.submit": "order", "hlr.load": "order", "order.acknowledge": "order", "order.release": "order",
		"order.refuse": "order", "order.destroy": "order", "chip.destroy": "order", "batch.destroy": "order",
		"order.withdraw": "order", "order.abandon": "order", "chip.lost": "chip",
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
		"order.refuse":      {`order "none": no such order`, order.ErrNoOrder},
		"order.destroy":     {`order "none/7": no such order`, order.ErrNoOrder},
		"chip.destroy":      {`order none has no chip "7" that waits for destruction or was lost`, nil},
		"chip.lost":         {`subject "chip/none/7": the reason has 0 bytes`, nil},
		"order.withdraw":    {`order "none": no such order`, order.ErrNoOrder},
		"order.abandon":     {`order "none": no such order`, order.ErrNoOrder},
		"batch.destroy":     {"order none/7: ", perso.ErrNoRun},
	}
	acts := s.Acts()
	for kind := range what {
		if !slices.Contains(acts, kind) {
			t.Errorf("no part does %s", kind)
		}
	}
	policy := sitetest.Must[act.Policy](t)(s.People().Policy(t.Context()))
	for _, kind := range acts {
		if _, err := policy.Rule(kind); err != nil {
			t.Errorf("the policy: %v", err)
		}
		if what[kind] == "" { // about people, policy and keys: every site's
			for _, subject := range []string{"", "/", "x", "order/x", "person/", "key/", "ceremony/"} {
				if params, err := s.Propose(t.Context(), kind, subject); err == nil {
					t.Errorf("%s of %q: %v", kind, subject, params)
				}
			}
			continue
		}
		for _, subject := range []string{"", "order", "order/", "key", "key/", "key/x", "key//1", "key/x/", "key/x/y", "key/x/01", "key/x/+1", "key/x/99999999999999999999", "lot", "lot/", "lots/x", "batch/x", "/", "x", "Order/x"} {
			if strings.HasPrefix(subject, what[kind]+"/") && what[kind] != "key" && len(subject) > len(what[kind])+1 {
				continue
			}
			params, err := s.Propose(t.Context(), kind, subject)
			if params != nil || err == nil || !strings.HasPrefix(err.Error(), `subject "`+subject+`" is not `+what[kind]+"/") {
				t.Errorf("%s of %q: %v, %v", kind, subject, params, err)
			}
		}
		want := unknown[kind]
		params, err := s.Propose(t.Context(), kind, what[kind]+"/none/7")
		if params != nil || err == nil || !strings.HasPrefix(err.Error(), want.text) || want.is != nil && !errors.Is(err, want.is) {
			t.Errorf("%s of what is not here: %v, %v, want %s", kind, params, err, want.text)
		}
	}
	for _, kind := range []string{"", "order", "order.release ", "policy.change"} {
		if _, err := s.Propose(t.Context(), kind, "order/x"); !errors.Is(err, act.ErrNotAllowed) {
			t.Errorf("%q: %v", kind, err)
		}
	}
	if err := s.Do(t.Context(), "none"); !errors.Is(err, custody.ErrNoAct) {
		t.Errorf("an act that nobody asked for: %v", err)
	}
}

// A site does the acts of its roles and no other's.
func TestRolesRefused(t *testing.T) {
	s := sitetest.New(t, "op", site.Operator, parts.All()...)
	for _, kind := range []string{"hlr.load", "key.share", "order.acknowledge", "order.submit"} {
		if !slices.Contains(s.Acts(), kind) {
			t.Errorf("an operator does not %s", kind)
		}
	}
	for _, kind := range []string{"order.release", "lot.accept", "key.accept"} {
		if _, err := s.Propose(t.Context(), kind, "order/x"); !errors.Is(err, act.ErrNotAllowed) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// Approvers see each key that an order's response will be encrypted under.
func TestShowTransport(t *testing.T) {
	s := sitetest.New(t, "works", "operator, bureau, plant", parts.All()...)
	layout := sitetest.Must[*format.Layout](t)(format.Set(nil).Find("positional"))
	h := sitetest.Must[*format.Header](t)(format.ParseHeader(layout, "a.inp", []byte("26112301 261126101500 20 in-5g-usim 1 11 12\n")))
	params := map[string]string{}
	if err := s.ShowTransport(t.Context(), "op", h.TransportKeys(), params); err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"transport_key.auc": "transport/op/11", "transport_key.ota": "transport/op/12"}; !maps.Equal(params, want) {
		t.Errorf("approvers see %v, want %v", params, want)
	}
}

// A site knows what its policy, which is older than the program, has no rule for.
func TestUnruled(t *testing.T) {
	newer := site.Part{Open: func(context.Context, *site.Site) (site.Duties, error) {
		return site.Duties{Deeds: map[string]site.Deed{"card.sing": {}}}, nil
	}}
	for want, all := range map[string][]site.Part{"[]": parts.All(), "[card.sing]": append(parts.All(), newer)} {
		s := sitetest.New(t, "op", site.Operator, all...)
		if got := fmt.Sprint(sitetest.Must[[]string](t)(s.Unruled(t.Context()))); got != want {
			t.Errorf("without a rule: %s, want %s", got, want)
		}
	}
}
