package factory

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ankan/demo"
	"ankan/factory"
	"ankan/hsm"
	"ankan/parts"
	"ankan/site"
	"ankan/store/storetest"
)

// TestBooks changes what lies at a site, behind its back, and has the check of
// the books find it.
func TestBooks(t *testing.T) {
	t.Parallel()
	w := start(t, options{cards: 60, faults: true, file: true})
	sum := w.journey(nil)
	if r := w.balanced(factory.Works{}); r.Certified != 1 {
		t.Fatalf("%+v", r)
	}
	for _, test := range []struct{ name, site, change, want string }{
		{"an order that took no step", demo.Bureau, `UPDATE orders SET changed = '2026-01-01T00:00:00Z'`, "has no entry at 2026-01-01"},
		{"a step that nobody took", demo.Operator, `INSERT INTO order_step (ord, state, at) SELECT id, 'loaded', '2026-01-01T00:00:00Z' FROM orders`, "has no entry at 2026-01-01"},
		{"a file that never came", demo.Bureau, `INSERT INTO received (sha256, partner, name, spool, at) VALUES ('00', 'operator', 'a', 'a', '2026-01-01T00:00:00Z')`, "received: a row of  has no entry"},
		{"a warrant not used", demo.Bureau, `UPDATE act SET state = 'approved' WHERE kind = 'order.release'`, "is approved, and was used 1 times by the log"},
		{"an act less", demo.Plant, `DELETE FROM act WHERE kind = 'chip.destroy'`, "was used by the log, and is not in the database"},
		{"a signature more", demo.Plant, `INSERT INTO act_signature (act, person, verb, signature) SELECT id, '9999', 'approve', '{}' FROM act WHERE kind = 'chip.destroy'`, "has 4 signatures, 3 by the log"},
		{"an event of another time", demo.Plant, `UPDATE key_event SET at = '2026-01-01T00:00:00Z' WHERE what = 'key.erased'`, "key_event: a row of 2026-01-01T00:00:00Z names entry"},
		{"a card more", demo.Plant, `INSERT INTO card (ord, card, keyset, chip, lot, state, tries, reason, station, at) SELECT ord, 0, 999, 'ff', '', 'destroyed', 0, '', '', '' FROM run`, "is in the database 1 times more than in the log"},
		{"a card less", demo.Plant, `DELETE FROM card WHERE card = 7`, "is in the log 1 times more than in the database"},
		{"a reject that became good", demo.Plant, `UPDATE card SET state = 'good', card = 60 WHERE chip = (SELECT min(chip) FROM card WHERE state = 'destroyed')`, "identity 60 is on two cards, on one and retired, or not of the order"},
		{"an identity retired, and on a card", demo.Plant, `INSERT INTO retired (ord, card) SELECT ord, 3 FROM run`, "identity 3 is on two cards"},
		{"a chip aside less", demo.Plant, `DELETE FROM set_aside`, "chips set aside"},
		{"another key set at the line", demo.Plant, `UPDATE card SET keyset = 65 WHERE keyset = 60`, "by the report"},
		{"a total of the line that is another", demo.Plant, `UPDATE tally SET n = n - 1 WHERE what = 'good'`, "the total of good  is -1 more than its rows"},
		{"a block of the line that is another", demo.Plant, `UPDATE made SET n = n + 1`, "the total of block 0 is 1 more than its rows"},
		{"a stock that does not add up", demo.Plant, `UPDATE stock_balance SET n = n + 1 WHERE account = 'good'`, "its movements make"},
		{"a movement of a card that is not", demo.Plant, `INSERT INTO stock_posting (entry, at, actor, why, act, lot, ord, source, destination, n) SELECT 0, '', '', '', '', lot, ord, 'good', destination, 1 FROM stock_posting WHERE destination = 'aside'`, "chips aside in stock"},
		{"a subscriber less", demo.Operator, `DELETE FROM subscriber WHERE imsi = (SELECT min(imsi) FROM subscriber)`, "59 subscribers are loaded"},
		{"a subscriber whom nobody issued", demo.Operator, `UPDATE subscriber SET imsi = '404999999999999' WHERE imsi = (SELECT min(imsi) FROM subscriber)`, "the ledger of bureau does not know it"},
		{"another count at the operator", demo.Operator, `UPDATE orders SET good = 59, retired = 1`, "59, 1"},
		{"identities that the ledger takes for free", demo.Bureau, `DELETE FROM ledger_share; DELETE FROM ledger_order`, "its identities are free in the ledger"},
		{"rows of what is destroyed", demo.Bureau, `INSERT INTO order_text (ord, n, sealed) SELECT id, 0, x'00' FROM orders`, "1 rows of order_text are not"},
		{"a key that the module has not", demo.Plant, `UPDATE key SET state = 'active' WHERE id LIKE 'batch/%'`, "is active, and not in the module"},
		{"a key destroyed in the register alone", demo.Bureau, `UPDATE key SET state = 'destroyed' WHERE id = 'ledger'`, "key ledger was destroyed, and is in the module"},
		{"a key that the register forgot", demo.Operator, `DELETE FROM key WHERE id = 'site'`, "is in the module, and not in the register"},
		{"a certificate of another order", demo.Operator, `UPDATE order_paper SET document = x'7b7d' WHERE kind = 'certificate'`, "its certificate"},
		{"an order that the bureau lost", demo.Bureau, `UPDATE orders SET state = 'received'`, "is closed, and received at bureau"},
		{"an answer that is owed", demo.Operator, `INSERT INTO owed (partner, name, document) VALUES ('bureau', 'late', x'7b7d')`, "answer late is owed to bureau"},
		{"a block stored beside the log", demo.Plant, `INSERT INTO batch (ord, kek, wrapped, profile, cards, spares, block_size) VALUES ('x', '', x'', x'', 1, 0, 1); INSERT INTO block (ord, n, sealed) VALUES ('x', 0, x'')`, "block x 0 is here, and 0 times in the log"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := w.Configs[test.site].Database()
			before := must[[]byte](t)(os.ReadFile(path))
			defer func() {
				if err := os.WriteFile(path, before, 0o600); err != nil {
					t.Fatal(err)
				}
			}()
			db := storetest.Open(t, path)
			for _, q := range []string{`PRAGMA foreign_keys = off`, test.change, `PRAGMA wal_checkpoint(TRUNCATE)`} {
				if _, err := db.Exec(q); err != nil {
					t.Fatalf("%s: %v", q, err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			w.unbalanced(t, factory.Works{}, test.want)
		})
	}
	t.Run("a certificate lost", func(t *testing.T) {
		path := sum.Artefacts["certificate"]
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		defer os.Rename(path+".away", path)
		w.unbalanced(t, factory.Works{}, "its certificate")
	})
	t.Run("a file on its way", func(t *testing.T) {
		w.send("late.inp.pgp", plain("late"))
		w.unbalanced(t, factory.Works{}, "file late.inp.pgp for bureau waits to be sent")
		out := filepath.Join(w.Configs[demo.Operator].SpoolDir(), "out", demo.Bureau)
		for _, ext := range []string{".json", ".data"} {
			if err := os.Remove(filepath.Join(out, "late.inp.pgp"+ext)); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("a secret", func(t *testing.T) {
		var s factory.Secrets
		s.Text("a password", []byte("correct horse"))
		path := filepath.Join(w.Dir, "note")
		if err := os.WriteFile(path, []byte("it is correct horse, I think"), 0o600); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(path)
		w.unbalanced(t, factory.Works{Secrets: &s, Dirs: []string{w.Dir}}, "note: a password")
	})
	if r := w.balanced(factory.Works{}); r.Certified != 1 {
		t.Errorf("what was changed was not put back: %+v", r)
	}
	t.Run("an order from before the ledger kept orders", func(t *testing.T) {
		w.ofOldLedger(t, sum.Order)
		w.stop(demo.Bureau)
		findings := func() string {
			t.Helper()
			r := must[site.FsckReport](t)(site.Fsck(w.ctx, w.Configs[demo.Bureau], w.tokens[demo.Bureau], false, parts.All()...))
			return fmt.Sprint(r.Findings)
		}
		if got := findings(); got != "[]" {
			t.Errorf("fsck: %s", got)
		}
		db := storetest.Open(t, w.Configs[demo.Bureau].Database())
		if _, err := db.Exec(`INSERT INTO ledger_order (n, ord, operator, state, at) VALUES (1, 'earlier', '', 'issued', '2026-01-01T00:00:00Z')`); err != nil {
			t.Fatal(err)
		}
		if got := findings(); !strings.Contains(got, "the ledger holds no identity of it") {
			t.Errorf("fsck of an order that the ledger forgot: %s", got)
		}
	})
	// It leaves a mark in the module that no site explains, so it comes last.
	t.Run("a key that is destroyed by nobody", func(t *testing.T) {
		token := w.tokens[demo.Bureau]
		if _, err := token.Generate(w.ctx, "stray", hsm.Order, hsm.AES256); err != nil {
			t.Fatal(err)
		}
		w.unbalanced(t, factory.Works{}, "key stray is in the module, and not in the register")
		if err := token.Destroy(w.ctx, "stray"); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := factory.CheckBooks(w.ctx, factory.Works{}); err == nil {
		t.Error("no sites at all balance")
	}
}

// unbalanced wants the check of the books to find something.
func (w *works) unbalanced(t *testing.T, b factory.Works, want string) {
	t.Helper()
	for _, name := range demo.Sites() {
		b.Sites = append(b.Sites, factory.Site{Config: w.Configs[name], Module: w.tokens[name], Parts: parts.All()})
	}
	b.Settled = true
	_, err := factory.CheckBooks(w.ctx, b)
	if !errors.Is(err, factory.ErrBooks) || !slices.ContainsFunc(strings.Split(err.Error(), "\n"), func(line string) bool { return strings.Contains(line, want) }) {
		t.Errorf("got %v, want a finding that says %q", err, want)
	}
}
