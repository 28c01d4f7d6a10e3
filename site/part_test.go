package site_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"

	"ankan/message"
	"ankan/order"
	"ankan/parts"
	"ankan/site"
	"ankan/site/sitetest"
)

// does is a part of every site with these duties.
func does(d site.Duties) site.Part {
	return site.Part{Open: func(context.Context, *site.Site) (site.Duties, error) { return d, nil }}
}

// No two parts do the same, and every role has a part.
func TestPartsRefused(t *testing.T) {
	c := sitetest.Config(t, "op", site.Operator)
	token := sitetest.Init(t, c, parts.All()...)
	route := func(pattern string) map[string]site.Route {
		return map[string]site.Route{pattern: {Permission: "site.read", Handler: http.NotFoundHandler()}}
	}
	step := func(context.Context, order.Order) error { return nil }
	broken := errors.New("broken")
	for _, tt := range []struct {
		part site.Part
		want string
	}{
		{does(site.Duties{Files: map[message.Kind]site.Handler{message.KindReceipt: {}}}), `site: two parts have the files "receipt"`},
		{does(site.Duties{Deeds: map[string]site.Deed{"hlr.load": {}}}), `site: two parts have the deed "hlr.load"`},
		{does(site.Duties{Steps: map[order.State]func(context.Context, order.Order) error{order.Submitted: step}}), `site: two parts have the step "submitted"`},
		{does(site.Duties{Routes: route("POST /v1/prove")}), `site: two parts have the route "POST /v1/prove"`},
		{does(site.Duties{Routes: route("GET /v1/status")}), `site: two parts have the route "GET /v1/status"`},
		{does(site.Duties{Routes: route("GET /v1/log")}), `site: two parts have the route "GET /v1/log"`},
		{site.Part{Open: func(context.Context, *site.Site) (site.Duties, error) { return site.Duties{}, broken }}, "broken"},
	} {
		s, err := site.Open(t.Context(), c, token, slog.New(slog.DiscardHandler), append(parts.All(), tt.part)...)
		if s != nil || err == nil || err.Error() != tt.want {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
	want := "site op: this program has no part for the role operator"
	if _, err := site.Open(t.Context(), c, token, nil, site.Part{Role: site.Plant}); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	young := sitetest.Config(t, "op", site.Operator)
	if err := site.Init(t.Context(), young, token, sitetest.Founders(t).Founding(t, young), func(string) {}, site.Part{}); err == nil || err.Error() != want {
		t.Errorf("set up: %v, want %s", err, want)
	}
	if _, err := os.Stat(young.Data); !os.IsNotExist(err) {
		t.Errorf("the refusal left %s behind (%v)", young.Data, err)
	}
}

// A part that is no role does its work at every site; a role that the site
// lacks does nothing but say so.
func TestPartsOfASite(t *testing.T) {
	deed := func(kind string) map[string]site.Deed {
		return map[string]site.Deed{kind: {Propose: func(context.Context, string) (map[string]string, error) {
			return map[string]string{"kind": kind}, nil
		}}}
	}
	answer := func(text string) map[string]site.Route {
		return map[string]site.Route{"GET /v1/" + text: {Permission: "site.read", Handler: site.Answer(func(*http.Request) (any, error) { return text, nil })}}
	}
	closed := 0
	done := make(chan struct{})
	counted := sync.OnceFunc(func() { close(done) })
	anywhere := does(site.Duties{
		Deeds: deed("key.count"), Routes: answer("curios"), Close: func() { closed++ },
		View: func(_ context.Context, v *site.OrderView) error { v.Generated = 7; return nil },
		Round: func(_ context.Context, begin site.Begin) error {
			begin("count", func(context.Context) error {
				counted()
				return site.ErrIdle
			})
			return nil
		},
	})
	elsewhere := does(site.Duties{
		Deeds: deed("lot.accept"), Routes: answer("lots"), Close: func() { closed++ },
		View:  func(context.Context, *site.OrderView) error { return errors.New("called") },
		Round: func(context.Context, site.Begin) error { return errors.New("called") },
	})
	elsewhere.Role = site.Plant
	t.Run("open", func(t *testing.T) {
		s := sitetest.New(t, "op", site.Operator, site.Part{Role: site.Operator}, anywhere, elsewhere)
		if got := s.Acts(); !slices.Contains(got, "key.count") || slices.Contains(got, "lot.accept") {
			t.Errorf("it does %q, want key.count and not lot.accept", got)
		}
		if params, err := s.Propose(t.Context(), "key.count", ""); err != nil || params["kind"] != "key.count" {
			t.Error(params, err)
		}
		sitetest.Put(t, s, order.Order{ID: "op-1"}, order.Drafted)
		if v, err := s.Order(t.Context(), "op-1"); err != nil || v.Generated != 7 {
			t.Error(v, err)
		}
		at := serve(t, s)
		<-done
		for _, text := range []string{"curios", "lots"} {
			if status, got := at.ask("GET", "/v1/"+text, nil); status != http.StatusOK || got != `"`+text+`"`+"\n" {
				t.Errorf("%s: %d %s", text, status, got)
			}
		}
	})
	if closed != 2 {
		t.Errorf("%d parts were closed, want 2", closed)
	}
}
