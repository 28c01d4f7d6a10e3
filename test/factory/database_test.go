package factory

import (
	"strings"
	"sync"
	"testing"

	"ankan/client"
	"ankan/demo"
	"ankan/store"
	"ankan/store/storetest"
)

// TestDatabaseDies kills the PostgreSQL server of all three sites at every stage
// of an order's journey, and has it started again while they work. Nobody
// restarts a site; the journey ends, and the books balance.
func TestDatabaseDies(t *testing.T) {
	t.Parallel()
	server := storetest.Start(t)
	w := start(t, options{cards: 8, faults: true, database: server.New(t)})
	// People whom a site tells that its database went while it did what they asked
	// ask again.
	for _, c := range w.Clients {
		c.Again = func(r *client.Refusal) bool { return strings.Contains(r.Text, store.ErrAway.Error()) }
	}
	var one sync.Mutex
	kills := 0
	kill := func() {
		one.Lock()
		defer one.Unlock()
		kills++
		server.Kill()
		if err := server.Run(); err != nil {
			t.Error(err)
		}
	}
	var wait []chan struct{}
	hooks := map[string]func(){}
	for _, stage := range []string{stageOrder, stageRelease, stageLine, stageResponse, stageProof, stageDestruction} {
		hooks[stage] = func() {
			done := make(chan struct{})
			wait = append(wait, done)
			go func() { // while the sites work
				defer close(done)
				kill()
			}()
		}
	}
	sum := w.journey(hooks)
	for _, done := range wait {
		<-done
	}
	if kills != len(hooks) {
		t.Errorf("the server was killed %d times, want %d", kills, len(hooks))
	}
	for _, name := range demo.Sites() {
		w.stop(name)
	}
	w.logs(t, sum, kills) // what was asked for again may have been done
	w.books(t, sum)
}
