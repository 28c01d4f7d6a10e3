package site_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ankan/audit"
	"ankan/hsm"
	"ankan/order"
	"ankan/parts"
	"ankan/site"
	"ankan/site/sitetest"
	"ankan/store/storetest"
)

// stopped is a site that was set up, ran a little and does not run.
func stopped(t *testing.T) (*site.Config, hsm.Module) {
	t.Helper()
	c := sitetest.Config(t, "maker", site.Bureau)
	token := sitetest.Init(t, c, parts.All()...)
	s := sitetest.Open(t, c, token, parts.All()...)
	for i := range 600 {
		err := s.Store().Change(t.Context(), audit.Entry{Kind: "test.noted", Actor: "test", Subject: "test", Data: map[string]any{"i": i}}, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return c, token
}

func fsck(t *testing.T, c *site.Config, token hsm.Module, repair bool) site.FsckReport {
	t.Helper()
	r, err := site.Fsck(t.Context(), c, token, repair, parts.All()...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// harmed runs statements on a site's database, past its store.
func harmed(t *testing.T, c *site.Config, statements ...string) {
	t.Helper()
	db := storetest.Open(t, c.Database())
	for _, q := range statements {
		if _, err := db.Exec(q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFsck(t *testing.T) {
	c, token := stopped(t)
	r := fsck(t, c, token, false)
	if len(r.Findings) > 0 || r.Entries < 600 || r.Keys == 0 || r.Files == 0 {
		t.Fatalf("a whole site: %+v", r)
	}
	s := sitetest.Open(t, c, token, parts.All()...)
	if _, err := site.Fsck(t.Context(), c, token, false, parts.All()...); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("of a site that runs: %v", err)
	}
	s.Close()
}

func TestR20_FsckFinds(t *testing.T) {
	for name, tt := range map[string]struct {
		harm        func(t *testing.T, c *site.Config, token hsm.Module)
		check, what string
		repaired    bool // by --repair
	}{
		"a tile that is gone": {harm: func(t *testing.T, c *site.Config, _ hsm.Module) {
			harmed(t, c, "DELETE FROM log_tile WHERE level = 0 AND n = 1")
		}, check: "database", what: "tile", repaired: true},
		"a tile with another hash": {harm: func(t *testing.T, c *site.Config, _ hsm.Module) {
			harmed(t, c, "UPDATE log_tile SET hashes = (SELECT hashes FROM log_tile WHERE level = 0 AND n = 1) WHERE level = 0 AND n = 0")
		}, check: "database", what: "root", repaired: true},
		"an entry that was rewritten": {harm: func(t *testing.T, c *site.Config, _ hsm.Module) {
			drop := "DROP TRIGGER log_entry_stays"
			if storetest.OnPostgres() {
				drop += " ON log_entry"
			}
			harmed(t, c, drop, "UPDATE log_entry SET leaf = (SELECT leaf FROM log_entry WHERE idx = 100) WHERE idx = 50")
		}, check: "log", what: ""},
		"a checkpoint that is gone": {harm: func(t *testing.T, c *site.Config, _ hsm.Module) {
			harmed(t, c, "DELETE FROM log_checkpoint")
		}, check: "database", what: "missing"},
		"a sum of the stock": {harm: func(t *testing.T, c *site.Config, _ hsm.Module) {
			harmed(t, c, "INSERT INTO stock_balance (account, lot, ord, n) VALUES ('store', 'L', '', 5)")
		}, check: "stock", what: "account store of lot L has 5, its postings give 0"},
		"a person's record": {harm: func(t *testing.T, c *site.Config, _ hsm.Module) {
			harmed(t, c, `UPDATE person SET document = (SELECT document FROM person WHERE id = '0002') WHERE id = '0001'`)
		}, check: "entries", what: "person 0001 is not what the log says"},
		"a person whom nobody enrolled": {harm: func(t *testing.T, c *site.Config, _ hsm.Module) {
			harmed(t, c, `INSERT INTO person (id, document) SELECT '0009', document FROM person WHERE id = '0001'`)
		}, check: "entries", what: "person 0009 is there"},
		"an event of no entry": {harm: func(t *testing.T, c *site.Config, _ hsm.Module) {
			harmed(t, c, "INSERT INTO key_event (key, entry, at, actor, what) VALUES ('log', 99999, '', '', '')")
		}, check: "entries", what: "99999"},
		"an order that the ledger does not know": {harm: func(t *testing.T, c *site.Config, token hsm.Module) {
			s := sitetest.Open(t, c, token, parts.All()...)
			sitetest.Put(t, s, order.Order{ID: "op-1", Partner: "op", Name: "a.inp", Batch: "1", Digest: "00", Quantity: 1, KEK: "ledger"}, order.Accepted)
			s.Close()
		}, check: "ledger", what: "op-1"},
		"a key that is gone from the module": {harm: func(t *testing.T, c *site.Config, token hsm.Module) {
			if err := token.Destroy(t.Context(), "ledger"); err != nil {
				t.Fatal(err)
			}
		}, check: "keys", what: "key ledger is active in the register"},
		"a key that nobody knows": {harm: func(t *testing.T, c *site.Config, token hsm.Module) {
			if _, err := token.Generate(t.Context(), "order/x/1", hsm.Order, hsm.AES256); err != nil {
				t.Fatal(err)
			}
		}, check: "rollback", what: "order/x/1"},
		"a file that others read": {harm: func(t *testing.T, c *site.Config, _ hsm.Module) {
			if err := os.Chmod(c.Database(), 0o644); err != nil {
				t.Fatal(err)
			}
		}, check: "files", what: "mode 644"},
		"an orphan in the spool": {harm: func(t *testing.T, c *site.Config, _ hsm.Module) {
			dir := filepath.Join(c.SpoolDir(), "in", "op")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "1-a.data"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, check: "spool", what: "1-a.data"},
		"a restore that was cut short": {harm: func(t *testing.T, c *site.Config, _ hsm.Module) {
			if err := os.Mkdir(c.Path("restoring"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, check: "files", what: "cut short"},
		"no database": {harm: func(t *testing.T, c *site.Config, _ hsm.Module) {
			if err := os.Remove(c.Database()); err != nil {
				t.Fatal(err)
			}
		}, check: "database", what: "not there"},
	} {
		t.Run(name, func(t *testing.T) {
			if storetest.OnPostgres() && (name == "a file that others read" || name == "no database") {
				return // the server's
			}
			c, token := stopped(t)
			tt.harm(t, c, token)
			r := fsck(t, c, token, false)
			found := false
			for _, f := range r.Findings {
				found = found || f.Check == tt.check && strings.Contains(f.What, tt.what) && f.Next != ""
			}
			if !found && !(tt.check == "log" && len(r.Findings) > 0) {
				t.Fatalf("found %+v, want %s: %s", r.Findings, tt.check, tt.what)
			}
			r = fsck(t, c, token, true)
			if whole := len(r.Findings) == 0; whole != tt.repaired || whole && len(r.Repaired) == 0 {
				t.Errorf("repaired: %v, found %+v; want repaired: %t", r.Repaired, r.Findings, tt.repaired)
			}
			if tt.repaired {
				if r := fsck(t, c, token, false); len(r.Findings) > 0 {
					t.Errorf("afterwards: %+v", r.Findings)
				}
			}
		})
	}
}

// TestBitFlips flips a bit in every page of the database, and tears pages: each
// is found, or was of no account: what the log says is what it said.
func TestBitFlips(t *testing.T) {
	c, token := stopped(t)
	if storetest.OnPostgres() {
		return // pages are the server's, which has checksums for that
	}
	whole := func() []byte { return sitetest.Must[[]byte](t)(os.ReadFile(c.Database())) }
	before := whole()
	const page = 4096
	tries, silent := 0, 0
	try := func(b []byte) {
		t.Helper()
		for _, end := range []string{"-wal", "-shm"} {
			os.Remove(c.Database() + end)
		}
		if err := os.WriteFile(c.Database(), b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := site.Fsck(t.Context(), c, token, false, parts.All()...)
		tries++
		if err == nil && len(r.Findings) == 0 {
			silent++
		}
	}
	for at := 0; at < len(before); at += 3 * page {
		if before[at+page-7] == 0 { // a page that is empty, or nothing
			continue
		}
		b := bytes.Clone(before)
		b[at+page-7] ^= 0x10 // where rows are
		try(b)
	}
	torn := bytes.Clone(before)
	clear(torn[8*page+page/2 : 9*page])
	try(torn)
	try(before[:len(before)-page])
	// What is free in a page says nothing, and neither do values of no account;
	// most pages are full of entries, of which none changes unnoticed.
	if silent > tries/3 {
		t.Errorf("%d of %d were not found", silent, tries)
	}
	try(before)
	if r := fsck(t, c, token, false); len(r.Findings) > 0 {
		t.Errorf("as it was: %+v", r.Findings)
	}
}
