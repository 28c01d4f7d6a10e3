package factory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ankan/demo"
	"ankan/message"
)

// TestListInFiles takes an order that lists its identities through all three
// sites, with chips that fail and a response in files of 25 rows. The operator
// stops while files are on their way.
func TestListInFiles(t *testing.T) {
	t.Parallel()
	const cards = 60
	w := start(t, options{document: []byte(listed(t, "26112309", spread(cards, 7)...).text()), faults: true, change: func(path, doc string) string {
		if filepath.Base(path) != "contract.yaml" {
			return doc
		}
		return strings.Replace(doc, "\nfiles:\n", "\nfiles:\n  max_rows: 25\n", 1)
	}})
	sum := w.journey(map[string]func(){
		stageResponse: func() {
			w.stop(demo.Operator)
			w.start(demo.Operator)
		},
	})
	if sum.Ordered != cards || sum.Responded != cards || sum.Loaded != cards || !sum.Destroyed {
		t.Errorf("%+v", sum)
	}
	for i := range 3 {
		name := message.ResponseName(sum.Order, i+1, 3)
		if _, err := os.Stat(filepath.Join(w.Configs[demo.Operator].Data, "held", name)); err != nil {
			t.Error(err)
		}
		if left, err := filepath.Glob(filepath.Join(w.Configs[demo.Bureau].SpoolDir(), "out", "*", name+"*")); err != nil || len(left) > 0 {
			t.Errorf("the bureau has %v after the destruction (%v)", left, err)
		}
	}
	kinds := map[string]int{}
	for _, name := range []string{demo.Operator, demo.Bureau} {
		for _, e := range w.log(name) {
			kinds[name+" "+e.Kind]++
		}
	}
	for what, want := range map[string]int{"bureau response.written": 3, "operator response.received": 3, "operator order.answered": 1, "bureau order.received": 1} {
		if kinds[what] != want {
			t.Errorf("%s is %d times in the log, want %d", what, kinds[what], want)
		}
	}
	t.Run("cards", func(t *testing.T) { w.everyCard(t, sum) })
	for _, name := range demo.Sites() {
		w.stop(name)
	}
	t.Run("books", func(t *testing.T) { w.books(t, sum) })
	for _, table := range []string{"order_text", "order_identity", "block"} {
		var n int
		if w.ask(demo.Bureau, `SELECT count(*) FROM `+table, &n); n != 0 {
			t.Errorf("%s has %d rows at the bureau after the destruction, want none", table, n)
		}
	}
	// The operator keeps what it ordered, sealed.
	var n int
	if w.ask(demo.Operator, `SELECT count(*) FROM order_identity`, &n); n != 1 {
		t.Errorf("%d blocks of identities at the operator, want 1", n)
	}
}

// spread is n numbers, so far apart.
func spread(n, step int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i * step
	}
	return all
}
