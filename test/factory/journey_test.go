package factory

import (
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ankan/access"
	"ankan/act"
	"ankan/demo"
	"ankan/factory"
	"ankan/keys"
	"ankan/message"
	"ankan/operator"
	"ankan/order"
	"ankan/perso"
)

// TestJourney drives an order through with chips that fail, and then checks the
// books from outside.
func TestJourney(t *testing.T) {
	t.Parallel()
	const cards = 60 // the chips that fail among them: 4 is of another lot, 11 flaky, 23 mute, 57 broken
	w := start(t, options{cards: cards, faults: true})
	sum := w.journey(nil)
	want := demo.Summary{
		Order: sum.Order, Ordered: cards, Accepted: cards, Generated: cards,
		Personalised: cards + 2, ReadBack: cards, Authenticated: cards, Rejected: 2, Aside: 1, Remade: 2,
		Responded: cards, Loaded: cards, Proved: 5, Destroyed: true,
	}
	got := sum
	got.Signatures, got.Entries, got.Stages, got.Artefacts = 0, nil, nil, nil
	if !equalSummary(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	t.Run("cards", func(t *testing.T) { w.everyCard(t, sum) })
	t.Run("certificate", func(t *testing.T) { w.certificatePage(t, sum) })
	t.Run("logs", func(t *testing.T) { w.logs(t, sum, 0) })
	t.Run("books from outside", func(t *testing.T) {
		r := w.balanced(factory.Works{})
		if r.Cards != cards || r.Subscribers != cards || r.Rejects != 2 || r.Aside != 1 || r.Orders != 2 || r.Certified != 1 || r.Destroyed < 3 || r.Warrants < 9 || r.Rows < 150 || r.Postings < 5 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("books", func(t *testing.T) { w.books(t, sum) })
	t.Run("genealogy", func(t *testing.T) { w.genealogy(t, sum) })
}

// genealogy checks that the registers know what each key was for: a compromise
// tells of it, and whom to tell.
func (w *works) genealogy(t *testing.T, sum demo.Summary) {
	for _, l := range []struct{ site, key, what string }{
		{demo.Operator, "transport/operator/11", "partner/" + demo.Bureau}, {demo.Operator, "op/operator/11", "partner/" + demo.Bureau},
		{demo.Operator, "transport/operator/11", "order/" + sum.Order},
		{demo.Bureau, "transport/operator/11", "partner/" + demo.Operator}, {demo.Bureau, "op/operator/11", "partner/" + demo.Operator},
		{demo.Bureau, "transport/operator/11", "order/" + sum.Order}, {demo.Bureau, "op/operator/11", "order/" + sum.Order},
		{demo.Plant, "batch/" + sum.Order, "order/" + sum.Order}, {demo.Plant, "slot/" + sum.Order, "order/" + sum.Order},
	} {
		var n int
		if w.ask(l.site, `SELECT count(*) FROM key_link WHERE key = $1 AND what = $2`, &n, l.key, l.what); n != 1 {
			t.Errorf("%s: %s does not know %s", l.site, l.key, l.what)
		}
	}
}

// equalSummary compares the counts: summaries hold maps.
func equalSummary(a, b demo.Summary) bool {
	count := func(s demo.Summary) [14]int {
		return [...]int{s.Ordered, s.Accepted, s.Generated, s.Personalised, s.ReadBack, s.Authenticated, s.Rejected,
			s.Aside, s.Remade, s.Retired, s.Responded, s.Loaded, s.Proved, s.Signatures}
	}
	return a.Order == b.Order && a.Destroyed == b.Destroyed && count(a) == count(b)
}

// input is the order as the operator wrote it.
func (w *works) input(t testing.TB) *order.Input {
	t.Helper()
	f := must[*os.File](t)(os.Open(w.OrderFile))
	defer f.Close()
	return must[*order.Input](t)(order.ParseInput(filepath.Base(w.OrderFile), f))
}

// everyCard has every good card answer the subscriber store. Each carries
// another identity of the order, and together they carry all.
func (w *works) everyCard(t *testing.T, sum demo.Summary) {
	in := w.input(t)
	var cards []perso.Card
	if err := w.Clients[demo.Plant].Get(w.ctx, "/runs/"+url.PathEscape(sum.Order)+"/cards?samples=1000", &cards); err != nil {
		t.Fatal(err)
	}
	chips, carried := map[string]bool{}, map[int]bool{}
	for _, c := range cards {
		var p operator.Proof
		err := w.Clients[demo.Operator].Post(w.ctx, "/prove", map[string]string{"network": "tcp", "address": w.ChipsAddr, "chip": c.Chip}, &p)
		if err != nil {
			t.Fatalf("card %d, chip %s: %v", c.Card, c.Chip, err)
		}
		if id := in.At(c.Card); p.ICCID != id.ICCID.Masked() || p.IMSI != id.IMSI.Masked() {
			t.Errorf("chip %s carries %s and %s, want those of card %d", c.Chip, p.ICCID, p.IMSI, c.Card)
		}
		chips[c.Chip], carried[c.Card] = true, true
	}
	if len(cards) != sum.Responded || len(chips) != len(cards) || len(carried) != len(cards) {
		t.Errorf("%d cards on %d chips carry %d identities, want %d of each", len(cards), len(chips), len(carried), sum.Responded)
	}
}

// certificatePage reads the page that people get.
func (w *works) certificatePage(t *testing.T, sum demo.Summary) {
	text, err := exec.Command("pdftotext", "-layout", sum.Artefacts["certificate-pdf"], "-").Output()
	if err != nil {
		t.Fatalf("pdftotext (package poppler-utils): %v", err)
	}
	missing := false
	for _, want := range []string{"CoD-" + sum.Order, "60 ordered = 60 delivered + 0 retired", "Demo Mobile Ltd", "Ankan Demo Cards",
		"batch/" + sum.Order, "order/" + sum.Order, "1003", "1004", "Witnessed as", "1005"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page does not say %q", want)
			missing = true
		}
	}
	if missing {
		t.Logf("%s", text)
	}
}

// logs verifies what the journey exported, with nothing but public keys. again is
// how often people may have asked for what was done already.
func (w *works) logs(t *testing.T, sum demo.Summary, again int) {
	// Every kind that takes the order on, once each and in this order.
	want := map[string][]string{
		demo.Operator: {"key.shared", "key.sent", "order.drafted", "order.submitted", "order.accepted", "order.answered", "hlr.load-begun", "hlr.loaded",
			"order.acknowledged", "order.closed"},
		demo.Bureau: {"key.accepted", "order.accepted", "order.released", "batch.created", "order.generated", "order.offered", "batch.slot", "order.sent",
			"order.made", "order.responded", "order.received", "order.destruction-begun", "order.emptied", "order.destroyed", "certificate.signed", "order.certified"},
		demo.Plant: {"lot.offered", "lot.accepted", "release.drafted", "release.registered", "release.integrated", "release.tested", "release.approved",
			"batch.offered", "batch.created", "batch.received", "release.loaded", "batch.reported", "batch.condemned",
			"batch.destruction-begun", "batch.emptied", "batch.closed"},
	}
	for _, name := range demo.Sites() {
		entries := readLog(t, sum.Artefacts["log-"+name], w.card(name).Log)
		if int64(len(entries)) != sum.Entries[name] {
			t.Errorf("%s: %d entries, the summary says %d", name, len(entries), sum.Entries[name])
		}
		var got []string
		warrants, refusals := 0, 0
		for _, e := range entries {
			switch {
			case slices.Contains(want[name], e.Kind):
				got = append(got, e.Kind)
			case e.Kind == act.ActUsed:
				warrants++
			case strings.HasSuffix(e.Kind, ".refused") || e.Kind == "act.failed":
				refusals++
			}
		}
		if !slices.Equal(got, want[name]) {
			t.Errorf("%s: log has %v, want %v", name, got, want[name])
		}
		if min := map[string]int{demo.Operator: 4, demo.Bureau: 3, demo.Plant: 3}[name]; warrants < min {
			t.Errorf("%s: %d warrants were spent, want %d or more", name, warrants, min)
		}
		if refusals > again {
			t.Errorf("%s: %d refusals on a good journey, want %d at most", name, refusals, again)
		}
		// A log with another site's key does not verify: the check can fail.
		if _, _, err := demo.VerifyLog(os.DirFS(sum.Artefacts["log-"+name]), w.card(other(name)).Log); err == nil {
			t.Errorf("%s: the log verifies with the key of %s", name, other(name))
		}
	}
}

func other(name string) string {
	if name == demo.Bureau {
		return demo.Plant
	}
	return demo.Bureau
}

// books opens the databases of the stopped sites.
func (w *works) books(t *testing.T, sum demo.Summary) {
	stores := map[string]*storeOf{}
	for _, name := range demo.Sites() {
		stores[name] = &storeOf{w.open(name, w.Configs[name].Database())}
		if r, err := stores[name].Fsck(w.ctx, w.card(name).Log); err != nil {
			t.Errorf("%s: %v after %d entries", name, err, r.Entries)
		}
		checkpoint := must[[]byte](t)(os.ReadFile(filepath.Join(sum.Artefacts["log-"+name], "checkpoint")))
		if err := stores[name].Continues(w.ctx, checkpoint); err != nil {
			t.Errorf("%s: the log does not continue the one that was exported: %v", name, err)
		}
	}
	for name, want := range map[string]order.State{demo.Operator: order.Closed, demo.Bureau: order.Certified} {
		all := must[[]order.Order](t)(order.List(w.ctx, stores[name].Store))
		// Each site knows with whom it shares the keys of this order.
		partner := other(name)
		if name == demo.Bureau {
			partner = demo.Operator
		}
		for _, id := range []string{message.TransportKey(demo.Operator, all[0].Transport), message.OPKey(demo.Operator, all[0].Transport)} {
			k, err := keys.NewRegister(name, stores[name].Store, access.New(stores[name].Store)).Key(w.ctx, id)
			if err != nil || !slices.Equal(k.Parties, []string{partner}) {
				t.Errorf("%s: key %s is shared with %v, %v", name, id, k.Parties, err)
			}
		}
		if len(all) != 1 || all[0].State != want || all[0].Good+all[0].Retired != sum.Ordered {
			t.Errorf("%s: orders %+v, want one, %s", name, all, want)
		}
	}
	runs := must[[]perso.Run](t)(perso.Runs(w.ctx, stores[demo.Plant].Store))
	if len(runs) != 1 || runs[0].State != "closed" {
		t.Errorf("plant: runs %+v, want one, closed", runs)
	}
	w.identities(t, sum, stores)
	w.issued(t, sum, stores[demo.Bureau])
}

// identities checks that every identity of the order is in exactly one state,
// and that chips and identities balance.
func (w *works) identities(t *testing.T, sum demo.Summary, stores map[string]*storeOf) {
	in := w.input(t)
	c := must[perso.Counts](t)(perso.Count(w.ctx, stores[demo.Plant].Store, sum.Order, sum.Ordered))
	if c.Waiting != 0 || c.Doubt != 0 || c.Reject != 0 || c.Good+c.Retired != sum.Ordered || c.Destroyed != sum.Rejected || c.Aside != sum.Aside {
		t.Errorf("plant: %+v does not balance with %+v", c, sum)
	}
	plant := stores[demo.Plant]
	if n := plant.number(t, `SELECT count(DISTINCT chip) FROM (SELECT chip FROM card UNION ALL SELECT chip FROM set_aside) AS seen`); n != c.Good+c.Destroyed+c.Aside {
		t.Errorf("plant: %d chips were taken, want %d good, %d destroyed and %d aside", n, c.Good, c.Destroyed, c.Aside)
	}
	if n := plant.number(t, `SELECT count(DISTINCT keyset) FROM card`); n != c.Good+c.Destroyed {
		t.Errorf("plant: %d chips had %d key sets, want one each", c.Good+c.Destroyed, n)
	}
	remakes := must[map[int]int](t)(order.Remakes(w.ctx, stores[demo.Bureau].Store, sum.Order))
	for i := range sum.Ordered {
		live := plant.number(t, `SELECT count(*) FROM card WHERE card = $1 AND state <> 'destroyed'`, i)
		retired := plant.number(t, `SELECT count(*) FROM retired WHERE card = $1`, i)
		loaded := stores[demo.Operator].number(t, `SELECT count(*) FROM subscriber WHERE imsi = $1 AND iccid = $2`, in.At(i).IMSI.String(), in.At(i).ICCID.String())
		keyset, remade := remakes[i]
		if live+retired != 1 || loaded != live || remade != (retired == 1 || plant.number(t, `SELECT keyset FROM card WHERE card = $1 AND state = 'good'`, i) != i) {
			t.Errorf("card %d: %d live, %d retired, %d loaded, key set %d at the bureau", i, live, retired, loaded, keyset)
		}
	}
	if n := stores[demo.Operator].number(t, `SELECT count(*) FROM subscriber`); n != sum.Loaded {
		t.Errorf("operator: %d subscribers, want %d", n, sum.Loaded)
	}
	if len(remakes) != sum.Remade+sum.Retired {
		t.Errorf("bureau: remakes %v, want %d", slices.Sorted(maps.Keys(remakes)), sum.Remade+sum.Retired)
	}
}

// issued checks the ledger: all that was ordered, and nothing beside it.
func (w *works) issued(t *testing.T, sum demo.Summary, bureau *storeOf) {
	ledger := must[*order.Ledger](t)(order.NewLedger(w.tokens[demo.Bureau], "ledger"))
	in, out := w.input(t), 0
	for i := range sum.Ordered {
		id := in.At(i)
		iccid := must[*order.Issue](t)(ledger.FindICCID(w.ctx, bureau.Store, id.ICCID))
		imsi := must[*order.Issue](t)(ledger.FindIMSI(w.ctx, bureau.Store, id.IMSI))
		if iccid == nil || imsi == nil || iccid.Hold != imsi.Hold || iccid.Hold != order.Issued && iccid.Hold != order.Retired {
			t.Errorf("card %d: ICCID %+v, IMSI %+v", i, iccid, imsi)
		} else if iccid.Hold == order.Retired {
			out++
		}
	}
	if out != sum.Retired {
		t.Errorf("the ledger retired %d identities, want %d", out, sum.Retired)
	}
	beside := identity(t, sum.Ordered)
	if must[*order.Issue](t)(ledger.FindICCID(w.ctx, bureau.Store, beside.ICCID)) != nil || must[*order.Issue](t)(ledger.FindIMSI(w.ctx, bureau.Store, beside.IMSI)) != nil {
		t.Error("the ledger has an identity that nobody ordered")
	}
}
