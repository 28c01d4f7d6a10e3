// Package store is the database, with one door in: every write carries its
// entry in the audit log, and both commit together or not at all.
//
// Changes that wait at the same time are committed as a group: one transaction,
// one signed checkpoint, one flush to disk. Each package owns its tables and
// migrations; store knows only those of the log.
//
// The database is a file of SQLite, which one process holds, or a PostgreSQL
// server, where others may write beside the site's main process. The SQL is one
// text for both, and so are the promises.
package store
