package worker_test

import (
	"database/sql"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"ankan/store/storetest"
	"ankan/worker"
)

// asRole is the address for another role.
func asRole(t *testing.T, address, role string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("user", role)
	u.RawQuery = q.Encode()
	return u.String()
}

// A role with these grants draws, and does nothing else.
func TestGrants(t *testing.T) {
	s := newSite(t, storetest.Postgres(t))
	lead := s.queue(s.process, worker.Options{Name: "site", Leads: true})
	owner := storetest.Open(t, s.address)
	exec := func(db *sql.DB, query string, args ...any) error {
		_, err := db.Exec(query, args...)
		return err
	}
	const role = `drawers"of"maker`
	quoted := `"` + strings.ReplaceAll(role, `"`, `""`) + `"`
	s.must(exec(owner, "CREATE ROLE "+quoted+" LOGIN"))
	t.Cleanup(func() {
		_ = exec(owner, "DROP OWNED BY "+quoted)
		if err := exec(owner, "DROP ROLE "+quoted); err != nil {
			t.Error(err)
		}
	})
	before := s.address
	s.address = asRole(t, before, role)
	t.Cleanup(func() { s.address = before })
	var schema string
	s.must(owner.QueryRow(`SELECT current_schema()`).Scan(&schema))
	grants := worker.Grants(schema, role)
	for _, g := range grants {
		s.must(exec(owner, g))
	}

	// It suffices: for ranges and lists of identities, for jobs, for the uses of keys.
	p := s.beside()
	q, err := worker.Open(t.Context(), p.drawer, worker.Options{Address: s.address, Name: "one", Spans: 2, Log: slog.New(slog.DiscardHandler)})
	s.must(err)
	b := s.batch("A1", 950, 10)
	list := s.listed("A2", 2500)
	s.offer(lead, b)
	s.offer(lead, list)
	q.Close()
	s.must(p.guard.Flush(t.Context()))
	var uses int
	s.must(owner.QueryRow(`SELECT uses FROM key WHERE id = 'kek'`).Scan(&uses))
	if uses == 0 {
		t.Error("the uses of the order's key were not written")
	}
	s.drawn(b, list)

	// It is all there is: everything else that is in the database is closed.
	db := storetest.Open(t, s.address)
	denied := func(query string, args ...any) {
		t.Helper()
		var said *pgconn.PgError
		if err := exec(db, query, args...); !errors.As(err, &said) || said.Code != "42501" {
			t.Errorf("%s: %v, want permission denied", query, err)
		}
	}
	open := map[string]bool{}
	for _, g := range grants {
		if _, on, ok := strings.Cut(g, ` ON "`+schema+`".`); ok {
			table, _, _ := strings.Cut(on, " TO ")
			open[strings.Trim(table, `"`)] = true
		}
	}
	rows, err := owner.Query(`SELECT relname, has_any_column_privilege($1, oid, 'SELECT, INSERT, UPDATE, REFERENCES') OR has_table_privilege($1, oid, 'DELETE, TRUNCATE, TRIGGER')
		FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v', 'p')`, role)
	s.must(err)
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var name string
		var may bool
		s.must(rows.Scan(&name, &may))
		if may != open[name] {
			t.Errorf("table %s: the role may %v, its grants say %v", name, may, open[name])
		}
		tables = append(tables, name)
	}
	s.must(rows.Err())
	for _, must := range []string{"orders", "order_text", "person", "act", "log_primary", "log_schema", "river_leader"} {
		if !slices.Contains(tables, must) {
			t.Errorf("there is no table %s; this test looks at the wrong ones", must)
		}
	}
	for _, name := range tables {
		table := `"` + name + `"`
		if !open[name] {
			denied("SELECT * FROM " + table)
		}
		denied("DELETE FROM " + table)
		denied("TRUNCATE " + table)
		denied("DROP TABLE " + table)
	}
	// Nor does it do with its own tables what it does not need.
	denied(`SELECT sealed FROM block`)
	denied(`UPDATE block SET n = n + 1`)
	denied(`UPDATE batch SET cards = 1`)
	denied(`UPDATE key SET state = 'active'`)
	denied(`SELECT owner FROM key`)
	denied(`INSERT INTO key (id) VALUES ('x')`)
	denied(`UPDATE log_entry SET leaf = ''`)
	denied(`UPDATE log_tile SET hashes = ''`)
	denied(`UPDATE ledger_fingerprint SET fingerprint = ''`)
	denied(`INSERT INTO river_job (kind, max_attempts) VALUES ('x', 1)`)
	denied(`CREATE TABLE x (n INT)`)
}
