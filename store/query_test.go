package store

import (
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ankan/audit"
)

// The same question gives the same rows to a change, to a view and to whoever
// asks what is committed; and what fails in the middle gives none.
func TestCollect(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "db"))
	const ids, values = `SELECT id FROM item ORDER BY id`, `SELECT v FROM item ORDER BY id`
	if got, err := Collect(s.Committed(t.Context()), Column[string], ids); err != nil || got == nil || len(got) != 0 {
		t.Errorf("of nothing: %#v, %v", got, err)
	}
	want := []string{"a", "b"}
	ask := func(q Querier) {
		t.Helper()
		if got, err := Collect(q, Column[string], ids); err != nil || !cmp.Equal(got, want) {
			t.Errorf("got %v, %v", got, err)
		}
	}
	if err := s.Change(t.Context(), audit.Entry{Kind: "test.set", Actor: "system:test", Subject: "item"}, func(tx *Tx) error {
		if _, err := tx.Exec(`INSERT INTO item (id, v) VALUES ('a', '{"n": 1}'), ('b', 'no JSON')`); err != nil {
			return err
		}
		ask(tx)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	ask(s.Committed(t.Context()))
	if err := s.View(t.Context(), func(tx *ReadTx) error { ask(tx); return nil }); err != nil {
		t.Fatal(err)
	}
	type doc struct{ N int }
	if got, err := Collect(s.Committed(t.Context()), Document[doc], values+` LIMIT 1`); err != nil || !cmp.Equal(got, []doc{{1}}) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := Collect(s.Committed(t.Context()), Document[doc], values); err == nil || got != nil {
		t.Errorf("what is no JSON: %v, %v", got, err)
	}
	if _, err := Collect(s.Committed(t.Context()), Column[string], `DELETE FROM item`); err == nil {
		t.Error("a question changed something")
	}
	wrong := errors.New("wrong")
	if got, err := Collect(s.Committed(t.Context()), func(*sql.Rows) (int, error) { return 1, wrong }, ids); !errors.Is(err, wrong) || got != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestStamp(t *testing.T) {
	at := time.Date(2026, 11, 25, 19, 2, 26, 900, time.FixedZone("IST", 19800))
	if got, err := ParseStamp(Stamp(at)); err != nil || !got.Equal(at.Truncate(time.Second)) || got.Location() != time.UTC {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := ParseStamp(""); err != nil || !got.IsZero() {
		t.Errorf("of nothing: %v, %v", got, err)
	}
	if _, err := ParseStamp("25 Nov"); err == nil {
		t.Error("25 Nov is taken")
	}
}
