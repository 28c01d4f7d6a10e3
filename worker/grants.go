package worker

import (
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Grants are the statements by which the owner of a site's tables, which lie in
// the schema, lets a role draw and no more. The role reads batches, sealed
// lists of identities, the states of keys and their waivers; it adds blocks, which it cannot
// read again, fingerprints and entries of the log; and it takes jobs. It reads
// no order, act or person, and changes and deletes nothing but jobs, counts of
// uses, and the log's checkpoint.
func Grants(schema, role string) []string {
	to := pgx.Identifier{role}.Sanitize()
	in := pgx.Identifier{schema}.Sanitize()
	var all []string
	all = append(all, fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s", in, to))
	for _, g := range []struct{ what, table string }{
		{"SELECT", "batch"},
		{"SELECT (ord, n), INSERT", "block"},
		{"SELECT", "order_identity"},
		{"SELECT (fingerprint), INSERT", "ledger_fingerprint"},
		{"SELECT (id, state, expires, purpose, algorithm, uses), UPDATE (uses)", "key"},
		{"SELECT", "key_waiver"},
		{"SELECT, INSERT, UPDATE (uses)", "key_link"},
		{"SELECT, INSERT", "log_entry"},
		{"SELECT, INSERT", "log_tile"},
		{"SELECT, INSERT, UPDATE", "log_checkpoint"},
		{"SELECT", "schema_log"},
		{"SELECT", "schema_orders"},
		{"SELECT", "schema_datagen"},
		{"SELECT", "schema_keys"},
		{"SELECT, UPDATE", "river_job"},
		{"SELECT, INSERT, UPDATE", "river_queue"},
	} {
		all = append(all, fmt.Sprintf("GRANT %s ON %s.%s TO %s", g.what, in, pgx.Identifier{g.table}.Sanitize(), to))
	}
	return all
}
