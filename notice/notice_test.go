package notice

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ankan/audit"
	"ankan/store"
	"ankan/store/storetest"
)

// A hall is a site's board, at a time that the test sets.
type hall struct {
	*testing.T
	path  string
	store *store.Store
	board *Board

	mu    sync.Mutex
	clock time.Time
}

func newHall(t *testing.T) *hall {
	t.Helper()
	h := &hall{T: t, path: storetest.New(t), clock: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	h.open()
	t.Cleanup(func() { h.store.Close() })
	return h
}

// open opens the site, also after it was killed.
func (h *hall) open() {
	h.Helper()
	signer, err := audit.NewSigner("bureau.example/log", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	h.must(err)
	h.store, err = store.Open(h.Context(), store.Config{Path: h.path, Origin: "bureau.example/log", Signer: signer, Now: h.now}, Schema())
	h.must(err)
	h.board = New(h.store)
}

func (h *hall) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clock
}

func (h *hall) wait(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock = h.clock.Add(d)
}

func (h *hall) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *hall) change(fn func(*store.Tx) error) error {
	return h.store.Change(h.Context(), audit.Entry{Kind: "test.changed", Actor: "test"}, fn)
}

// tell tells each of these people of one order.
func (h *hall) tell(subject string, people ...string) {
	h.Helper()
	h.must(h.change(func(tx *store.Tx) error {
		return Tell(tx, people, Notice{Kind: "act.waits", Subject: subject, Text: "It waits for your signature.", Link: "/acts/1"})
	}))
}

// left are the entries since from, after the log was looked at from outside.
func (h *hall) left(from int64) []audit.Entry {
	h.Helper()
	_, err := h.store.Fsck(h.Context(), h.store.VerifierKey())
	h.must(err)
	all, err := h.store.Entries(h.Context(), from, 10000)
	h.must(err)
	return all
}

func kinds(all []audit.Entry) (kinds []string) {
	for _, e := range all {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func TestTell(t *testing.T) {
	h := newHall(t)
	ctx := t.Context()
	h.tell("order/1", "b", "a", "b")
	h.wait(time.Second)
	h.tell("order/2", "a")
	subjects := func(person string, unread bool, n int) (all []string) {
		t.Helper()
		notices, err := h.board.For(ctx, person, unread, n)
		h.must(err)
		for _, n := range notices {
			if n.Person != person {
				t.Errorf("%+v", n)
			}
			all = append(all, n.Subject)
		}
		return all
	}
	for _, c := range []struct {
		person string
		n      int
		want   []string
	}{{"a", 10, []string{"order/2", "order/1"}}, {"a", 1, []string{"order/2"}}, {"b", 10, []string{"order/1"}}, {"c", 10, nil}, {"", 10, nil}} {
		if got := subjects(c.person, false, c.n); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.person, got, c.want)
		}
	}
	// What did not happen is not told.
	boom := errors.New("boom")
	if err := h.change(func(tx *store.Tx) error {
		return errors.Join(Tell(tx, []string{"a"}, Notice{Kind: "x", Subject: "order/3"}), boom)
	}); !errors.Is(err, boom) {
		t.Error(err)
	}
	if n, err := h.board.Unread(ctx, "a"); err != nil || n != 2 {
		t.Errorf("%d unread, %v", n, err)
	}
	if err := Tell(&store.Tx{}, []string{"a"}, Notice{}); err == nil {
		t.Error("told outside a change")
	}
	all, err := h.board.For(ctx, "a", false, 10)
	h.must(err)
	if n := all[1]; n.Kind != "act.waits" || n.Text != "It waits for your signature." || n.Link != "/acts/1" || !n.At.Equal(h.clock.Add(-time.Second)) || !n.Read.IsZero() {
		t.Errorf("%+v", n)
	}
	before := h.store.Size()
	h.must(h.board.Read(ctx, "a", all[1].ID))
	if got := h.left(before); len(got) != 1 || got[0].Kind != "notice.read" || got[0].Actor != "person/a" {
		t.Errorf("%v", got)
	}
	if got := subjects("a", true, 10); !slices.Equal(got, []string{"order/2"}) {
		t.Errorf("unread: %v", got)
	}
	if got := subjects("b", true, 10); !slices.Equal(got, []string{"order/1"}) {
		t.Errorf("another's were read: %v", got)
	}
	read, err := h.board.For(ctx, "a", false, 10)
	if err != nil || !read[1].Read.Equal(h.clock) {
		t.Errorf("%+v, %v", read, err)
	}
	h.wait(time.Hour)
	h.must(h.board.Read(ctx, "a", all[0].ID)) // what was read stays read since then
	if read, err = h.board.For(ctx, "a", false, 10); err != nil || !read[1].Read.Equal(h.clock.Add(-time.Hour)) || !read[0].Read.Equal(h.clock) {
		t.Errorf("%+v, %v", read, err)
	}
	h.must(h.change(func(tx *store.Tx) error {
		_, err := tx.Exec("UPDATE notice SET at = 'now' WHERE subject = 'order/2'")
		return err
	}))
	if _, err := h.board.For(ctx, "a", false, 10); err == nil || !strings.Contains(err.Error(), "notice 3") {
		t.Errorf("a broken time is taken: %v", err)
	}
	if err := h.board.Deliver(ctx, Config{}, nobody); err == nil || !strings.Contains(err.Error(), "notice 3") {
		t.Errorf("a broken time is delivered: %v", err)
	}
}
