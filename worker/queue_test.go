package worker_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"ankan/datagen"
	"ankan/keys"
	"ankan/store"
	"ankan/store/storetest"
	"ankan/worker"
)

func (s *mainSite) queue(p *process, o worker.Options) *worker.Queue {
	s.Helper()
	o.Address = s.address
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	q, err := worker.Open(s.Context(), p.drawer, o)
	s.must(err)
	s.Cleanup(q.Close)
	return q
}

// offer offers a batch until it is drawn, as a site does.
func (s *mainSite) offer(q *worker.Queue, b datagen.Batch) {
	s.Helper()
	for until := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		missing, err := q.Offer(s.Context(), b)
		if err == nil && missing == 0 {
			return
		}
		if time.Now().After(until) {
			s.Fatalf("order %s: %d blocks are missing after a minute, %v", b.Order, missing, err)
		}
	}
}

// A site hands out what several draw, and draws nothing itself. One leaves in
// the middle and another comes.
func TestQueue(t *testing.T) {
	s := newSite(t, storetest.Postgres(t))
	lead := s.queue(s.process, worker.Options{Name: "site", Leads: true})
	one, two := s.batch("A1", 3000, 10), s.batch("A2", 950, 10)
	first := s.queue(s.beside(), worker.Options{Name: "one", Spans: 2})
	s.queue(s.beside(), worker.Options{Name: "two", Spans: 1})
	var both sync.WaitGroup
	for _, b := range []datagen.Batch{one, two} {
		both.Go(func() { s.offer(lead, b) })
	}
	first.Close() // it finishes what it has begun
	s.queue(s.beside(), worker.Options{Name: "three", Spans: 2})
	both.Wait()
	s.drawn(one, two)
	if missing, err := lead.Offer(t.Context(), one); missing != 0 || err != nil {
		t.Errorf("offered again: %d missing, %v", missing, err)
	}
}

// What keeps workers from drawing is told to who offers, and is over when it is
// over.
func TestQueueTellsTrouble(t *testing.T) {
	s := newSite(t, storetest.Postgres(t))
	b := s.batch("A1", 95, 10)
	s.state("kek", keys.Suspended)
	lead := s.queue(s.process, worker.Options{Name: "site", Leads: true, Spans: 1})
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		missing, err := lead.Offer(t.Context(), b)
		if err != nil {
			if missing != b.Blocks() || !strings.Contains(err.Error(), "kek") || !strings.Contains(err.Error(), "suspended") {
				t.Errorf("%d missing, %v", missing, err)
			}
			break
		}
		if time.Now().After(until) {
			t.Fatal("a suspended key is no trouble")
		}
	}
	s.state("kek", keys.Live)
	s.offer(lead, b)
	s.drawn(b)
}

// An order that is no more has its jobs cancelled, not tried for ever.
func TestQueueOfNoBatch(t *testing.T) {
	s := newSite(t, storetest.Postgres(t))
	b := s.batch("A1", 95, 10)
	lead := s.queue(s.process, worker.Options{Name: "site", Leads: true})
	if missing, err := lead.Offer(t.Context(), b); missing != b.Blocks() || err != nil {
		t.Fatalf("%d missing, %v", missing, err)
	}
	s.change(func(tx *store.Tx) error { return datagen.Delete(tx, "A1") })
	s.queue(s.beside(), worker.Options{Name: "one", Spans: 1})
	db := storetest.Open(t, s.address)
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var open int
		s.must(db.QueryRow(`SELECT count(*) FROM river_job WHERE state <> 'cancelled'`).Scan(&open))
		if open == 0 {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("%d jobs of no batch are still tried", open)
		}
	}
}

// A worker that was given blocks and is gone has them taken over; one that was
// only slow and comes back stores nothing twice.
func TestQueueTakesOver(t *testing.T) {
	s := newSite(t, storetest.Postgres(t))
	b := s.batch("A1", 95, 10)
	lead := s.queue(s.process, worker.Options{Name: "site", Leads: true})
	if _, err := lead.Offer(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	// What the queue looks like when a worker died over all that there is.
	db := storetest.Open(t, s.address)
	if _, err := db.Exec(`UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now(), attempted_by = '{gone-1}'`); err != nil {
		t.Fatal(err)
	}
	slow := s.beside()
	s.queue(s.beside(), worker.Options{Name: "one", Spans: 1})
	var late sync.WaitGroup
	late.Go(func() {
		if err := slow.drawer.Draw(context.Background(), "A1", datagen.Span{To: 5}); err != nil {
			t.Errorf("a worker that was slow: %v", err)
		}
	})
	s.offer(lead, b)
	late.Wait()
	s.drawn(b)
}

func TestQueueRefuses(t *testing.T) {
	s := newSite(t, storetest.Postgres(t))
	log := slog.New(slog.DiscardHandler)
	for name, o := range map[string]worker.Options{
		"no PostgreSQL":             {Address: "/var/lib/site.db", Name: "w", Log: log},
		"no name":                   {Address: s.address, Log: log},
		"no log":                    {Address: s.address, Name: "w"},
		"a password in the address": {Address: "postgres://x:secret@/y?host=/tmp", Name: "w", Log: log},
		"nobody there":              {Address: "postgres:///x?host=/nowhere&user=x", Name: "w", Log: log},
	} {
		q, err := worker.Open(t.Context(), s.drawer, o)
		if err == nil {
			q.Close()
			t.Errorf("%s: opened", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
	if _, err := worker.Open(t.Context(), nil, worker.Options{Address: s.address, Name: "w", Log: log}); err == nil {
		t.Error("opened without a drawer")
	}
}
