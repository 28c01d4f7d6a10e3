package factory

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ankan/act"
	"ankan/audit"
	"ankan/client"
	"ankan/custody"
	"ankan/demo"
	"ankan/order"
	"ankan/passkey"
	"ankan/site"
	"ankan/store/storetest"
)

// TestActs has people try what they may not, at the moment when the bureau
// could release an order. The journey goes on afterwards.
func TestActs(t *testing.T) {
	t.Parallel()
	w := start(t, options{cards: 8})
	var late string // an act that was approved and not done in time
	sum := w.journey(map[string]func(){stageRelease: func() { late = w.acts(t) }})
	c := w.Clients[demo.Bureau]
	refusedWith(t, "an act that was approved before the order moved on", c.Post(w.ctx, "/acts/"+late+"/do", struct{}{}, nil), "is certified, want accepted")
	var used []custody.Status
	if err := c.Get(w.ctx, "/acts?state=used", &used); err != nil || len(used) != 3 {
		t.Fatalf("bureau: %d acts were used (%v), want 3", len(used), err)
	}
	for _, st := range used {
		refusedWith(t, st.Act.Kind+" a second time", c.Post(w.ctx, "/acts/"+st.Act.ID+"/do", struct{}{}, nil), act.ErrUsed.Error())
	}
	if !sum.Destroyed {
		t.Error("the journey did not end")
	}
}

// A plea is an act that somebody asks for, and what is not as it should be.
type plea struct {
	by     client.Signer
	change func(*act.Act)
}

// ask asks the bureau for the release of an order.
func (w *works) askRelease(ord string, p plea) (act.Act, error) {
	w.t.Helper()
	c := w.Clients[demo.Bureau]
	var prop site.Proposal
	if err := c.Get(w.ctx, "/proposal?kind=order.release&subject=order/"+ord, &prop); err != nil {
		w.t.Fatal(err)
	}
	a := act.New(prop.Site, prop.Kind, prop.Subject, p.by.Person, prop.Params, prop.Rule, time.Now())
	if p.change != nil {
		p.change(&a)
	}
	return a, c.Post(w.ctx, "/acts", site.SignedRequest{Act: string(a.Canonical()), Signature: w.signature(p.by, a, act.Request)}, nil)
}

func (w *works) signature(by client.Signer, a act.Act, v act.Verb) act.Signature {
	w.t.Helper()
	assertion := must[passkey.Assertion](w.t)(by.Key.Sign(a.Challenge(v)))
	return act.Signature{Person: by.Person, Verb: v, At: time.Now().UTC().Truncate(time.Second), Assertion: assertion}
}

// acts tries what is not allowed; it returns an act that is approved and was
// not done, because the order had been edited.
func (w *works) acts(t *testing.T) (leftOver string) {
	c := w.Clients[demo.Bureau]
	ord := w.orders(demo.Bureau)[0].ID
	who := func(role string) client.Signer { return w.person(demo.Bureau, role) }
	preparer, manager, officer := who("data-preparation"), who("key-manager"), who("security-officer")
	sign := func(p client.Signer, a act.Act, v act.Verb) error {
		return c.Post(w.ctx, "/acts/"+a.ID+"/sign", site.SignedRequest{Signature: w.signature(p, a, v)}, nil)
	}
	do := func(a act.Act) error { return c.Post(w.ctx, "/acts/"+a.ID+"/do", struct{}{}, nil) }
	asked := func(change func(*act.Act)) act.Act {
		t.Helper()
		return must[act.Act](t)(w.askRelease(ord, plea{preparer, change}))
	}
	approved := func(change func(*act.Act)) act.Act {
		t.Helper()
		a := asked(change)
		for _, p := range []client.Signer{manager, officer} {
			if err := sign(p, a, act.Approve); err != nil {
				t.Fatal(err)
			}
		}
		return a
	}
	state := func(a act.Act) string {
		var st custody.Status
		if err := c.Get(w.ctx, "/acts/"+a.ID, &st); err != nil {
			t.Fatal(err)
		}
		return st.State
	}

	t.Run("who asks", func(t *testing.T) {
		stranger := client.Signer{Person: "9999", Key: preparer.Key}
		impostor := client.Signer{Person: preparer.Person, Key: manager.Key}
		for _, test := range []struct {
			name string
			plea plea
			want string
		}{
			{"wrong role", plea{by: officer}, "person 1004 is security-officer; it takes data-preparation"},
			{"stranger", plea{by: stranger}, "9999"},
			{"another's name", plea{by: impostor}, "1001"},
			{"in another's name", plea{manager, func(a *act.Act) { a.Requester = preparer.Person }}, "requested in the name of 1001, signed by 1002"},
			{"another site", plea{preparer, func(a *act.Act) { a.Site = demo.Plant }}, `it is for site "plant", this is "bureau"`},
			{"longer clocks", plea{preparer, func(a *act.Act) { a.UseWithin++ }}, "the clocks are longer than the policy's"},
			{"too late", plea{preparer, func(a *act.Act) { *a = earlier(*a, 48*time.Hour) }}, act.ErrTooLate.Error()},
			{"unknown kind", plea{preparer, func(a *act.Act) { a.Kind = "order.steal" }}, "the policy has no such act"},
		} {
			a, err := w.askRelease(ord, test.plea)
			refusedWith(t, test.name, err, test.want)
			refusedWith(t, test.name+": done all the same", do(a), custody.ErrNoAct.Error())
		}
	})
	t.Run("who approves", func(t *testing.T) {
		a := asked(nil)
		refusedWith(t, "done without approval", do(a), act.ErrOpen.Error())
		refusedWith(t, "requester approves", sign(preparer, a, act.Approve), "person 1001 asked for it; somebody else must approve")
		refusedWith(t, "wrong role", sign(who("hsm-administrator"), a, act.Approve), "person 1003 is hsm-administrator; what is still open takes key-manager; security-officer")
		refusedWith(t, "another's key", sign(client.Signer{Person: manager.Person, Key: officer.Key}, a, act.Approve), "1002")
		other := asked(nil)
		if err := c.Post(w.ctx, "/acts/"+a.ID+"/sign", site.SignedRequest{Signature: w.signature(manager, other, act.Approve)}, nil); err == nil {
			t.Error("a signature over another act is taken")
		}
		if err := sign(manager, a, act.Approve); err != nil {
			t.Fatal(err)
		}
		refusedWith(t, "approved twice by one", sign(manager, a, act.Approve), "person 1002 has signed already; one person, one vote")
		refusedWith(t, "done with half of the approvals", do(a), act.ErrOpen.Error())
		if err := sign(officer, a, act.Reject); err != nil {
			t.Fatal(err)
		}
		refusedWith(t, "approved after a rejection", sign(officer, a, act.Approve), act.ErrRejected.Error())
		refusedWith(t, "done after a rejection", do(a), act.ErrRejected.Error())
	})
	t.Run("clocks", func(t *testing.T) {
		slow := asked(func(a *act.Act) { a.ApproveBy = a.At.Add(2 * time.Second) })
		hasty := approved(func(a *act.Act) { a.UseWithin = 1 })
		for _, a := range []act.Act{slow, hasty} {
			until(t, "the end of an act's time", func() bool { return state(a) == "late" })
		}
		refusedWith(t, "approved too late", sign(manager, slow, act.Approve), act.ErrTooLate.Error())
		refusedWith(t, "done too late", do(hasty), act.ErrTooLate.Error())
	})
	t.Run("what is approved", func(t *testing.T) {
		other := approved(func(a *act.Act) { a.Params["quantity"] = "1" })
		refusedWith(t, "other parameters than the order's", do(other), `quantity was "1" when it was signed and is "8" now`)
		more := approved(func(a *act.Act) { a.Params["note"] = "as agreed on the telephone" })
		refusedWith(t, "a parameter too many", do(more), "it has 10 parameters, want 9")
		edited := approved(nil)
		w.edit(ord, "profile", "in-5g-usim-cheap")
		refusedWith(t, "order edited after approval", do(edited), `profile was "in-5g-usim" when it was signed and is "in-5g-usim-cheap" now`)
		w.edit(ord, "profile", "in-5g-usim")
		leftOver = edited.ID
	})
	if s := w.view(demo.Bureau, ord).State; s != order.Accepted {
		t.Errorf("the order is %s, want %s", s, order.Accepted)
	}
	w.refusalsLogged(t)
	return leftOver
}

// earlier is the act as if it had been asked for before.
func earlier(a act.Act, d time.Duration) act.Act {
	a.At, a.ApproveBy = a.At.Add(-d), a.ApproveBy.Add(-d)
	return a
}

// edit changes a row of the bureau's database behind its back.
func (w *works) edit(ord, column, value string) {
	w.t.Helper()
	db := storetest.Open(w.t, w.Configs[demo.Bureau].Database())
	defer db.Close()
	if _, err := db.Exec(`UPDATE orders SET `+column+` = $1 WHERE id = $2`, value, ord); err != nil {
		w.t.Fatal(err)
	}
}

// refusalsLogged checks that every attempt left an entry with its reason.
func (w *works) refusalsLogged(t *testing.T) {
	t.Helper()
	entries := w.log(demo.Bureau)
	for kind, reasons := range map[string][]string{
		"act.refused": {"security-officer; it takes", "asked for it", "one person, one vote", "rejected", "too late"},
		"act.failed":  {`quantity was "1"`, `profile was "in-5g-usim"`, "parameters, want"},
	} {
		for _, want := range reasons {
			if !slices.ContainsFunc(entries, func(e audit.Entry) bool { return e.Kind == kind && strings.Contains(fmt.Sprint(e.Data["why"]), want) }) {
				t.Errorf("the log has no %s that says %q", kind, want)
			}
		}
	}
}
