package perso

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ankan/act"
	"ankan/custody"
	"ankan/hsm"
	"ankan/scp"
	"ankan/simos"
	"ankan/station"
	"ankan/store"
	"ankan/uicc"
)

func TestRun(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 30, 3)
	f.load(32)
	f.must(f.run(t.Context(), "A1", 3))
	if c := f.counts("A1", 30); c != (Counts{Cards: 30, Good: 30}) {
		t.Errorf("%+v", c)
	}
	f.check("A1", 30)
	run, err := GetRun(t.Context(), f.store, "A1")
	f.must(err)
	if run.State != "finished" || run.Started.IsZero() || run.Finished.Before(run.Started) {
		t.Errorf("%+v", run)
	}
	var unknown int
	f.must(f.store.QueryRow(t.Context(), `SELECT count(*) FROM card WHERE lot = ''`).Scan(&unknown))
	if unknown != 0 {
		t.Errorf("%d cards know no lot", unknown)
	}
	intents, outcomes := f.entries("card.intent"), f.entries("card.good")
	if len(intents) != 30 || len(outcomes) != 30 || len(f.entries("batch.finished")) != 1 {
		t.Errorf("%d intents and %d outcomes", len(intents), len(outcomes))
	}
	if err := f.run(t.Context(), "A1", 1); err == nil || !strings.Contains(err.Error(), "is finished") {
		t.Errorf("a finished batch runs again: %v", err)
	}
}

func TestRunRefuses(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 1, 0)
	for name, l := range map[string]*Line{"nil": nil, "zero": {}} {
		if err := l.Run(t.Context(), "A1", These(f.tray.station("st"))); err == nil {
			t.Errorf("the %s Line runs", name)
		}
	}
	for name, change := range map[string]func(*Product){
		"lot": func(p *Product) { p.Lot = "" }, "lot key": func(p *Product) { p.LotKey = "" }, "image": func(p *Product) { p.Image = nil },
	} {
		p := f.product
		change(&p)
		if _, err := New(f.store, f.token, p); err == nil {
			t.Errorf("a line without %s is made", name)
		}
	}
	if err := f.line().Run(t.Context(), "A1", These()); err == nil {
		t.Error("a line without stations runs")
	}
	f.want("another order", f.run(t.Context(), "A2", 1), ErrNoRun)
	f.must(f.change("test.offer", func(tx *store.Tx) error { return Offer(tx, Run{Order: "A3"}) }))
	if err := f.run(t.Context(), "A3", 1); err == nil || !strings.Contains(err.Error(), "offered, want received") {
		t.Errorf("a batch that is not here runs: %v", err)
	}
	f.want("no chips", f.run(t.Context(), "A1", 2), station.ErrNoChips)
	dead := Station{Name: "st", Open: func(context.Context) (station.Reader, error) { return nil, errSlot }}
	f.want("no reader", f.line().Run(t.Context(), "A1", These(dead)), errSlot)
	f.load(1)
	f.must(f.run(t.Context(), "A1", 1))
}

// More chips, and the line goes on where it was.
func TestChipsRunOut(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 10, 0)
	f.load(4)
	f.want("four chips", f.run(t.Context(), "A1", 3), station.ErrNoChips)
	if c := f.counts("A1", 10); c.Good != 4 || c.Waiting != 6 || c.Doubt != 0 {
		t.Errorf("%+v, want 4 good and none in doubt", c)
	}
	f.load(6)
	f.must(f.run(t.Context(), "A1", 3))
	f.check("A1", 10)
}

// Faults, struck from a chip's n-th command on. A fresh chip is reset and
// asked by six commands before the intent.
var (
	mute   = func(_ context.Context, _ int) ([]byte, error) { return nil, station.ErrMute }
	broken = func(_ context.Context, _ int) ([]byte, error) { return []byte{0x6F, 0x00}, nil }
	late   = func(ctx context.Context, _ int) ([]byte, error) { <-ctx.Done(); return nil, context.Cause(ctx) }
	noise  = func(_ context.Context, _ int) ([]byte, error) { return []byte{1}, nil }
	lost   = func(_ context.Context, _ int) ([]byte, error) { return nil, errors.New("the cable is out") }
)

func from(first int, f fault) fault { return between(first, 1<<30, f) }

func between(first, last int, f fault) fault {
	return func(ctx context.Context, n int) ([]byte, error) {
		if n < first || n > last {
			return nil, nil
		}
		return f(ctx, n)
	}
}

func twice(a, b int, f fault) fault {
	return func(ctx context.Context, n int) ([]byte, error) {
		if n != a && n != b {
			return nil, nil
		}
		return f(ctx, n)
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault fault
		want  Reason // of the reject, or of what was set aside
		aside bool
		tries int
	}{
		{"mute at once", from(1, mute), NoAnswer, true, 0},
		{"mute before the intent", from(4, mute), NoAnswer, true, 0},
		{"mute mid-way", from(60, mute), NoAnswer, false, 3},
		{"6F00 at once", from(1, broken), BadStatus, true, 0},
		{"6F00 mid-way", from(60, broken), BadStatus, false, 3},
		{"late at once", from(1, late), TooLate, true, 0},
		{"late mid-way", from(60, late), TooLate, false, 1},
		{"noise at once", from(2, noise), BadAnswer, true, 0},
		{"noise mid-way", from(60, noise), BadAnswer, false, 3},
		{"one bad contact when asked", between(3, 3, mute), "", false, 1},
		{"one bad contact mid-way", between(60, 60, mute), "", false, 2},
		{"two bad contacts", twice(60, 80, mute), "", false, 3},
		{"one 6F00 mid-way", between(60, 60, broken), "", false, 2},
		{"reader lost once", between(60, 60, lost), "", false, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newPlant(t)
			f.batch("A1", 2, 1)
			serial := f.load(4)[0].String()
			f.tray.order[0].fault = c.fault
			if c.want == TooLate {
				f.tray.limit = time.Second / 2
			}
			err := f.run(t.Context(), "A1", 1)
			rejected := c.want != "" && !c.aside
			if rejected {
				f.want("run", err, ErrRejects)
			} else {
				f.must(err)
			}
			if got := f.aside("A1"); c.aside && (len(got) != 1 || !strings.HasSuffix(got[0], string(c.want))) || !c.aside && len(got) > 0 {
				t.Errorf("set aside %q, want %q", got, c.want)
			}
			for _, w := range f.rows("A1") {
				if w.chip != serial && (w.state != "good" || w.tries != 1) {
					t.Errorf("another chip has trouble: %+v", w)
				}
				if w.chip == serial && (w.tries != c.tries || w.reason != string(c.want) || (w.state == "reject") != rejected) {
					t.Errorf("%+v, want %q after %d tries", w, c.want, c.tries)
				}
			}
			f.check("A1", 2)
		})
	}
}

// A station that waits for a late chip goes on, and so do the others.
func TestLate(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 10, 0)
	f.load(12)
	f.tray.order[3].fault = from(100, late)
	opened := 0
	f.tray.limit = time.Second / 2
	st := f.tray.station("st")
	open := st.Open
	st.Open = func(ctx context.Context) (station.Reader, error) { opened++; return open(ctx) }
	start := time.Now()
	f.want("run", f.line().Run(t.Context(), "A1", These(st)), ErrRejects)
	if d := time.Since(start); d < st.Answer || d > st.Answer+10*time.Second {
		t.Errorf("it took %v with a limit of %v", d, st.Answer)
	}
	if c := f.counts("A1", 10); c.Good != 9 || c.Reject != 1 || opened != 2 {
		t.Errorf("%+v with a reader opened %d times, want 9 good and 2 times", c, opened)
	}
}

// Chips that do not belong here.
func TestForeignChips(t *testing.T) {
	f := newPlant(t)
	f.batch("A0", 1, 0)
	f.batch("A1", 3, 0)
	other := f.productOf("2.0")
	wrongLot := f.chip("LOT-2", f.master)
	wrongKeys := f.chip(lotName, bytes.Repeat([]byte{1}, 32))
	made := f.load(1)[0]
	wrongOS := f.load(1)[0]
	f.load(3)
	// One is another order's card already, one has another operating system.
	f.tray.next = 2
	f.must(f.run(t.Context(), "A0", 1))
	f.tray.find(made.String()).taken = false
	f.loadOS(wrongOS, other)
	f.tray.find(wrongOS.String()).taken = false
	f.tray.next = 0
	f.must(f.run(t.Context(), "A1", 1))
	want := []string{wrongLot.String() + " wrong lot", wrongKeys.String() + " wrong transport keys", made.String() + " already personalised", wrongOS.String() + " wrong OS"}
	if got := f.aside("A1"); !slices.Equal(got, want) {
		t.Errorf("set aside %q, want %q", got, want)
	}
	if c := f.counts("A1", 3); c != (Counts{Cards: 3, Good: 3, Aside: 4}) {
		t.Errorf("%+v", c)
	}
	f.check("A1", 3)
	// A chip with foreign keys cost an intent, and nothing else.
	if n := len(f.entries("card.intent")); n != 1+3+1 {
		t.Errorf("%d intents, want 5", n)
	}
	if life := f.tray.clone(wrongKeys.String()).Life(); life != simos.Blank {
		t.Errorf("the chip with foreign keys is %v", life)
	}
}

// loadOS gives a chip an operating system, as another plant did.
func (f *plant) loadOS(serial simos.Serial, p Product) {
	f.Helper()
	reader := &slot{tray: f.tray}
	defer reader.Close()
	f.must(reader.Insert(f.Context(), serial))
	_, err := reader.Reset(f.Context())
	f.must(err)
	keys, err := f.token.ChipKeys(f.Context(), p.LotKey, serial[:])
	f.must(err)
	defer keys.Close()
	channel, err := scp.Open(f.Context(), reader, keys, scp.Options{KeyVersion: isdKeyVersion, Level: scp.Commands, AID: isdAID[:]})
	f.must(err)
	cmd := uicc.Command{CLA: 0x80, INS: uicc.INSLoad, P1: 0x80, Data: p.Image}
	_, err = uicc.NewSession(channel).Do(f.Context(), cmd)
	f.must(err)
}

// A chip that is blank, of our books, and personalised elsewhere meanwhile; see
// also TestForeignChips for one that another batch has made a card of.
func TestR07_ChipSeenBefore(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 1, 0)
	f.batch("A2", 1, 0)
	s := f.load(2)[0]
	blank := f.tray.order[0].chip.Clone()
	f.must(f.run(t.Context(), "A1", 1))
	f.tray.order[0] = &bay{chip: blank, name: s.String()} // a twin, blank as the first one was
	f.tray.next = 0
	f.must(f.run(t.Context(), "A2", 1))
	if got := f.aside("A2"); len(got) != 1 || got[0] != s.String()+" already personalised" {
		t.Errorf("set aside %q", got)
	}
}

// noChipKeys is a module that goes away when the keys of a chip are wanted.
type noChipKeys struct{ hsm.Token }

func (noChipKeys) ChipKeys(context.Context, string, []byte) (*hsm.ChipKeys, error) {
	return nil, hsm.ErrClosed
}

// What is not the chip's fault rejects no chip.
func TestR15_ModuleDropsAtTheLine(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 3, 0)
	f.load(3)
	f.product.LotKey = "lot/2"
	f.want("no lot key", f.run(t.Context(), "A1", 1), hsm.ErrNoKey)
	if c := f.counts("A1", 3); c.Doubt != 0 || f.tray.sent != 0 {
		t.Errorf("%+v after %d commands, want no chip taken", c, f.tray.sent)
	}
	f.product.LotKey = "lot/1"
	l, err := New(f.store, noChipKeys{f.token}, f.product)
	f.must(err)
	f.want("module is gone", l.Run(t.Context(), "A1", These(f.tray.station("st"))), hsm.ErrClosed)
	if c := f.counts("A1", 3); c.Doubt != 1 || c.Reject != 0 {
		t.Errorf("%+v, want one in doubt", c)
	}
	f.must(f.run(t.Context(), "A1", 1))
	f.check("A1", 3)
}

// An image that the chips do not take, or that is not the one it should be.
func TestWrongImage(t *testing.T) {
	f := newPlant(t)
	good := f.product
	for i, c := range []struct {
		change func(p *Product)
		want   Reason
	}{
		{func(p *Product) { p.Image = slices.Clone(p.Image); p.Image[40] ^= 1 }, BadStatus},
		{func(p *Product) { p.Digest[0] ^= 1 }, WrongOS},
	} {
		ord := fmt.Sprint("A", i)
		f.batch(ord, 1, 0)
		f.load(1)
		f.product = good
		c.change(&f.product)
		f.want("run", f.run(t.Context(), ord, 1), ErrRejects)
		if w := f.rows(ord); len(w) != 1 || w[0].state != "reject" || w[0].reason != string(c.want) {
			t.Errorf("%+v, want %q", w, c.want)
		}
	}
}

func TestRejectsAndRemakes(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 6, 2)
	chips := f.load(12)
	for _, i := range []int{1, 4} {
		f.tray.order[i].fault = from(150, mute)
	}
	f.want("run", f.run(t.Context(), "A1", 1), ErrRejects)
	f.want("run again", f.run(t.Context(), "A1", 1), ErrRejects) // nobody destroyed anything
	if c := f.counts("A1", 6); c != (Counts{Cards: 6, Good: 4, Reject: 2}) {
		t.Errorf("%+v", c)
	}
	rejects, err := Rejects(t.Context(), f.store, "A1")
	f.must(err)
	if len(rejects) != 2 || rejects[0] != (Rejected{Card: 1, Chip: chips[1].String(), Reason: string(NoAnswer)}) {
		t.Fatalf("%+v", rejects)
	}
	if got := f.destroy("A1"); len(got) != 2 {
		t.Errorf("destroyed %v", got)
	}
	f.must(f.run(t.Context(), "A1", 1))
	if c := f.counts("A1", 6); c != (Counts{Cards: 6, Good: 6, Destroyed: 2, Remade: 2}) {
		t.Errorf("%+v", c)
	}
	f.check("A1", 6) // also that no key is on two chips, the destroyed ones included
	for _, w := range f.rows("A1") {
		if remade := w.card == 1 || w.card == 4; w.state == "good" && remade != (w.keyset >= 6) {
			t.Errorf("%+v: only a remade card has a spare key set", w)
		}
	}
	samples, err := Samples(t.Context(), f.store, "A1", 3)
	f.must(err)
	if len(samples) != 3 || samples[0].KeySet != 7 || samples[1].KeySet != 6 || samples[2].KeySet != 5 {
		t.Errorf("samples %+v, want the remade first", samples)
	}
}

// A remake may fail too. When no spare key set is left, the identity is retired.
func TestRetired(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 3, 1)
	f.load(8)
	for _, i := range []int{0, 1, 3} { // two of the first three, and the first remake
		f.tray.order[i].fault = from(150, mute)
	}
	f.want("run", f.run(t.Context(), "A1", 1), ErrRejects)
	f.destroy("A1")
	f.want("remake", f.run(t.Context(), "A1", 1), ErrRejects)
	f.check("A1", 3)
	if c := f.counts("A1", 3); c != (Counts{Cards: 3, Good: 1, Reject: 1, Destroyed: 2, Retired: 1}) {
		t.Errorf("%+v", c)
	}
	f.destroy("A1")
	f.must(f.run(t.Context(), "A1", 1))
	if c := f.counts("A1", 3); c != (Counts{Cards: 3, Good: 1, Destroyed: 3, Retired: 2}) {
		t.Errorf("%+v", c)
	}
	f.check("A1", 3)
	if n := len(f.entries("card.retired")); n != 2 {
		t.Errorf("%d entries for 2 retired identities", n)
	}
}

// A remake that finds no chip keeps its key set, and nobody is retired for it.
func TestRemakeWaits(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 2, 2)
	f.load(2)
	f.tray.order[0].fault, f.tray.order[1].fault = from(150, mute), from(150, mute)
	f.want("run", f.run(t.Context(), "A1", 2), ErrRejects)
	f.destroy("A1")
	for range 3 {
		f.want("no chips", f.run(t.Context(), "A1", 2), station.ErrNoChips)
	}
	f.load(2)
	f.must(f.run(t.Context(), "A1", 2))
	if c := f.counts("A1", 2); c.Remade != 2 || c.Retired != 0 {
		t.Errorf("%+v, want 2 remade", c)
	}
	f.check("A1", 2)
}

func TestGiveBack(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 4, 2)
	r, err := f.line().open(t.Context(), "A1")
	f.must(err)
	defer r.reader.Close()
	r.taken[1], r.taken[3], r.remake = true, true, []int{1, 3}
	claim := func() task {
		t.Helper()
		got, ok := r.claim()
		if !ok {
			t.Fatal("nothing to claim")
		}
		r.settled()
		return got
	}
	a, b := claim(), claim()
	r.giveBack(a)
	if c := claim(); a != (task{0, 0}) || b != (task{2, 2}) || c != a {
		t.Errorf("claimed %v, %v, then %v", a, b, c)
	}
	a, b = claim(), claim()
	r.giveBack(a) // not the last spare, and not lost for that
	r.giveBack(b)
	x, y := claim(), claim()
	if a != (task{1, 4}) || b != (task{3, 5}) || x != b || y != a {
		t.Errorf("claimed %v, %v, then %v, %v", a, b, x, y)
	}
	if got, ok := r.claim(); ok {
		t.Errorf("claimed %v of nothing", got)
	}
}

func TestDestroyChipsRefuses(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 3, 1)
	f.batch("A2", 1, 1)
	chips := f.load(5)
	f.tray.order[0].fault, f.tray.order[3].fault = from(150, mute), from(150, mute)
	f.want("run", f.run(t.Context(), "A1", 1), ErrRejects)
	f.want("run", f.run(t.Context(), "A2", 1), ErrRejects)
	reject, good, others := chips[0].String(), chips[1].String(), chips[3].String()
	destroy := func(w custody.Warrant, ord string, chips ...string) error {
		return DestroyChips(t.Context(), f.store, w, ord, chips, nil)
	}
	f.want("no warrant", destroy(custody.Warrant{}, "A1", reject), act.ErrNotAllowed)
	f.want("another order's warrant", destroy(f.warrant("A2", reject), "A1", reject), act.ErrNotAllowed)
	f.want("other chips", destroy(f.warrant("A1", others), "A1", reject), act.ErrNotAllowed)
	f.want("one chip more", destroy(f.warrant("A1", reject), "A1", reject, others), act.ErrNotAllowed)
	for name, chips := range map[string][]string{
		"no chips": nil, "a good card": {good}, "another order's reject": {others}, "an unknown chip": {"0000000000000000"},
		"a reject and a good card": {reject, good}, "twice the same": {reject, reject},
	} {
		if err := destroy(f.warrant("A1", chips...), "A1", chips...); err == nil {
			t.Errorf("%s: recorded as destroyed", name)
		}
	}
	if c := f.counts("A1", 3); c.Destroyed != 0 || c.Reject != 1 {
		t.Errorf("%+v, want nothing destroyed", c)
	}
	w := f.warrant("A1", reject)
	f.must(destroy(w, "A1", reject))
	f.want("used warrant", destroy(w, "A1", reject), act.ErrUsed)
	if n := len(f.entries("chips.destroyed")); n != 1 {
		t.Errorf("%d entries for one destruction", n)
	}
}

// A card in doubt is resolved with its own chip. If that cannot be found, the
// line says which one it wants, and assumes nothing.
func TestDoubt(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 3, 1)
	chips := f.load(6)
	ctx, cancel := context.WithCancel(t.Context())
	f.tray.cut = func(n int, _ bool) error {
		if n == 300 {
			cancel()
			return context.Canceled
		}
		return nil
	}
	f.want("cut", f.run(ctx, "A1", 1), context.Canceled)
	f.tray.cut = nil
	c := f.counts("A1", 3)
	if c.Doubt != 1 {
		t.Fatalf("%+v, want one in doubt", c)
	}
	doubtful := chips[c.Good].String()
	b := f.tray.remove(doubtful)
	for range 2 {
		err := f.run(t.Context(), "A1", 1)
		f.want("chip is away", err, ErrDoubt)
		c = Counts{Cards: 3, Good: 2, Doubt: 1} // the other cards do not wait for it
		if err == nil || !strings.Contains(err.Error(), doubtful) || f.counts("A1", 3) != c {
			t.Errorf("%v: want it to name chip %s, and nothing assumed: %+v", err, doubtful, f.counts("A1", 3))
		}
	}
	// Another chip under that number is not it.
	wrong := f.tray.order[len(f.tray.order)-1]
	wrong.fault = nil
	f.tray.order = append(f.tray.order, b)
	b.fault = between(1, 1<<30, impostor(wrong.chip.Clone()))
	f.want("another chip", f.run(t.Context(), "A1", 1), errLine)
	if f.counts("A1", 3) != c {
		t.Errorf("%+v, want %+v", f.counts("A1", 3), c)
	}
	b.fault = nil
	f.must(f.run(t.Context(), "A1", 1))
	f.check("A1", 3)
	for _, w := range f.rows("A1") {
		if w.chip == doubtful && w.state != "good" {
			t.Errorf("%+v", w)
		}
	}
}

// impostor answers to resets and to what look asks with another chip.
func impostor(other *simos.Chip) fault {
	asked := [][]byte{
		uicc.Command{INS: uicc.INSSelect, P1: 0x04, Data: isdAID[:], Le: 256}.Append(nil),
		{0x80, uicc.INSGetData, 0x9F, 0x7F, 0}, {0x80, uicc.INSGetData, 0xDF, 0x22, 0}, {0x80, uicc.INSGetData, 0xDF, 0x20, 0},
	}
	return func(ctx context.Context, n int) ([]byte, error) {
		step := (n - 1) % 5
		if step == 0 {
			return other.Reset(), nil
		}
		return other.Transmit(ctx, asked[step-1])
	}
}

// A chip in doubt goes back to the station where it was.
func TestDoubtAtItsStation(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 4, 0)
	// One more than each half needs: the cut may come when a chip is out of the
	// feeder and has no card yet.
	f.load(3)
	away := newTray()
	for _, s := range f.load(3) {
		away.order = append(away.order, f.tray.remove(s.String()))
	}
	ctx, cancel := context.WithCancel(t.Context())
	away.cut = func(n int, _ bool) error {
		if n == 100 {
			cancel()
			return context.Canceled
		}
		return nil
	}
	stations := []Station{f.tray.station("here"), away.station("there")}
	f.want("cut", f.line().Run(ctx, "A1", These(stations...)), context.Canceled)
	away.cut = nil
	if f.counts("A1", 4).Doubt == 0 {
		t.Fatal("nothing is in doubt")
	}
	f.must(f.line().Run(t.Context(), "A1", These(stations...)))
	f.tray.order = append(f.tray.order, away.order...)
	f.check("A1", 4)
}

// What the line may do can end in the middle of a batch: then the cards that
// are being made are finished, and no other one is begun.
func TestMayNoMore(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 12, 0)
	f.load(12)
	cause := errors.New("the operating system was withdrawn")
	asked := 0
	l := f.line()
	var mu sync.Mutex
	l.May = func(context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if asked++; asked > 7 {
			return cause
		}
		return nil
	}
	f.want("withdrawn", l.Run(t.Context(), "A1", These(f.tray.station("st0"), f.tray.station("st1"))), cause)
	c := f.counts("A1", 12)
	if c.Good == 0 || c.Good > 7 || c.Doubt != 0 || c.Waiting != 12-c.Good {
		t.Errorf("%+v, want up to 7 good and none in doubt", c)
	}
	f.want("still withdrawn", l.Run(t.Context(), "A1", These(f.tray.station("st0"))), cause)
	if f.counts("A1", 12) != c {
		t.Errorf("%+v, then %+v", c, f.counts("A1", 12))
	}
	f.must(f.run(t.Context(), "A1", 2))
	f.check("A1", 12)
}

// A station without chips leaves its part to the others. Only when none has
// chips does the line wait for some.
func TestEmptyStation(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 4, 0)
	f.load(3)
	stations := []Station{newTray().station("empty"), f.tray.station("here")}
	f.want("three chips for four cards", f.line().Run(t.Context(), "A1", These(stations...)), station.ErrNoChips)
	f.load(1)
	f.must(f.line().Run(t.Context(), "A1", These(stations...)))
	f.check("A1", 4)
}

// drawer makes a rack's slot a Reader, as a site does.
type drawer struct{ *simos.Reader }

func (d drawer) Take(ctx context.Context) error {
	_, err := d.Reader.Take(ctx)
	if errors.Is(err, simos.ErrNoChip) {
		return station.ErrNoChips
	}
	return err
}

func (d drawer) Insert(ctx context.Context, serial [8]byte) error {
	return d.Reader.Insert(ctx, serial)
}

func (d drawer) Reset(ctx context.Context) (uicc.ATR, error) {
	atr, err := d.Reader.Reset(ctx)
	if errors.Is(err, simos.ErrMute) {
		err = station.ErrMute
	}
	return atr, err
}

func (d drawer) Transmit(ctx context.Context, cmd []byte) ([]byte, error) {
	b, err := d.Reader.Transmit(ctx, cmd)
	if errors.Is(err, simos.ErrMute) {
		err = station.ErrMute
	}
	return b, err
}

// The same through a socket, with the rack's own faults.
func TestRack(t *testing.T) {
	f := newPlant(t)
	f.batch("A1", 10, 2)
	chips := f.load(16)
	rack, err := simos.NewRack("")
	f.must(err)
	for _, b := range f.tray.order {
		f.must(rack.Add(b.chip))
	}
	for i, fault := range map[int]simos.Fault{
		1: {Kind: simos.WrongLot},
		2: {Kind: simos.Flaky, After: 30},
		3: {Kind: simos.Mute, After: 60},
		4: {Kind: simos.Broken, After: 20},
		5: {Kind: simos.Late, After: 40, Delay: 2 * time.Second},
	} {
		f.must(rack.SetFault(chips[i], fault))
	}
	l, err := net.Listen("unix", t.TempDir()+"/rack")
	f.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- rack.Serve(ctx, l) }()
	var stations []Station
	for i := range 2 {
		stations = append(stations, Station{Name: fmt.Sprint("st", i), Answer: time.Second, Open: func(ctx context.Context) (station.Reader, error) {
			r, err := simos.Dial(ctx, "unix", l.Addr().String())
			return drawer{r}, err
		}})
	}
	f.want("run", f.line().Run(t.Context(), "A1", These(stations...)), ErrRejects)
	reasons := map[string]string{}
	for _, w := range f.rows("A1") {
		if w.state == "reject" {
			reasons[w.chip] = w.reason
		}
	}
	if len(reasons) != 3 || reasons[chips[3].String()] != string(NoAnswer) || reasons[chips[4].String()] != string(BadStatus) || reasons[chips[5].String()] != string(TooLate) {
		t.Errorf("rejects %v", reasons)
	}
	f.destroy("A1")
	f.must(f.line().Run(t.Context(), "A1", These(stations...)))
	if c := f.counts("A1", 10); c != (Counts{Cards: 10, Good: 9, Destroyed: 3, Aside: 1, Remade: 2, Retired: 1}) {
		t.Errorf("%+v", c)
	}
	cancel()
	f.must(<-served)
	f.check("A1", 10)
}
